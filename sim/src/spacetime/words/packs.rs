//! Packs in words: the handshake, what links say to each other, a library user's own, and the cluster's messages.

use super::{bytes, clip, field, messages};
use crate::spacetime::record::Pack;
use xxnet_core::connection::KindId;
use xxnet_core::handshake::{Confirm, Hello, Refuse, Resume, Welcome};
use xxnet_core::message::Message;
use xxnet_core::pack::{DataPack, PackType};
use xxnet_core::{Address, Dict, InstanceId};

/// What there is to tell of a message.
#[derive(Debug, Default)]
pub(super) struct Told {
    pub(super) name: &'static str,
    /// Behind the name, on an arrow.
    pub(super) label: String,
    pub(super) say: String,
    pub(super) more: Vec<(String, String)>,
    pub(super) who: Option<(InstanceId, String)>,
}

impl Told {
    pub(super) fn new(name: &'static str, say: impl Into<String>) -> Self {
        Self { name, say: say.into(), ..Self::default() }
    }

    pub(super) fn label(mut self, label: impl Into<String>) -> Self {
        self.label = label.into();
        self
    }

    pub(super) fn with(mut self, name: &str, value: impl Into<String>) -> Self {
        self.more.push((name.to_owned(), clip(&value.into(), super::FIELD)));
        self
    }
}

/// A pack in words. `kind` is the connection's, as far as its Hello has been seen.
pub(in crate::spacetime) fn pack(pack: &DataPack, kind: Option<KindId>) -> Pack {
    let told = tell(pack);
    let label = if told.label.is_empty() {
        told.name.to_owned()
    } else {
        format!("{} {}", told.name, clip(&told.label, 48))
    };
    Pack {
        name: told.name.to_owned(),
        kind: kind.map_or_else(String::new, |kind| kind.to_string()),
        seq: pack.sequence,
        ack: pack.acknowledgement,
        label,
        say: clip(&told.say, super::SAID),
        more: told.more,
        who: told.who.map(|(instance, name)| (instance.to_string(), clip(&name, 80))),
    }
}

fn tell(pack: &DataPack) -> Told {
    let head = &pack.head[..];
    match pack.pack_type {
        PackType::HELLO => hello(head),
        PackType::WELCOME => welcome(head),
        PackType::CONFIRM => confirm(head),
        PackType::REFUSE => refuse(head),
        PackType::PING => Told::new("Ping", "asks whether anybody is there"),
        PackType::PONG => Told::new("Pong", "says that it is there"),
        PackType::GOODBYE => Told::new("Goodbye", "ends the connection on purpose"),
        PackType::USE => {
            let number = number(head);
            Told::new("Use", format!("chooses this link of the pair's links (choice {number})"))
                .label(format!("this link ({number})"))
        }
        PackType::USING => {
            let number = number(head);
            Told::new("Using", format!("agrees to use this link from now on (choice {number})"))
                .label(format!("it ({number})"))
        }
        PackType::ACK => Told::new(
            "Ack",
            format!("says that its application has taken the messages up to {}", pack.acknowledgement),
        )
        .label(format!("up to {}", pack.acknowledgement)),
        PackType::DICT => dict(head, pack.sequence),
        PackType::RAW => raw(head, pack.sequence),
        _ => message(pack),
    }
}

fn malformed(name: &'static str, head: &[u8]) -> Told {
    Told::new(name, format!("says something that cannot be read as a {name} ({})", bytes(head.len() as u64)))
}

fn hello(head: &[u8]) -> Told {
    let Ok(hello) = Hello::decode(head) else { return malformed("Hello", head) };
    let kind = KindId(hello.kind);
    let whom = match hello.expected {
        InstanceId::NONE => "whoever answers".to_owned(),
        expected => format!("instance {expected}"),
    };
    let say = format!("introduces itself as {} and wants a {kind} connection with {whom}", hello.name);
    let mut told = Told::new("Hello", say)
        .label(format!("for {kind}"))
        .with("instance", hello.instance.to_string())
        .with("kind", kind.to_string())
        .with("dial number", hello.epoch.to_string())
        .with("expects", whom)
        .with("connection id there", hello.connection.to_string())
        .with(LISTENS_AT, listens_at(hello.address.as_ref()))
        .with("version", hello.version.to_string())
        .with("nonce", secret(&hello.nonce));
    told.who = Some((hello.instance, hello.name));
    told
}

/// Under this name a handshake's fields say where its sender can be dialled.
pub(in crate::spacetime) const LISTENS_AT: &str = "listens at";

fn listens_at(address: Option<&Address>) -> String {
    address.map_or_else(|| "nowhere".to_owned(), ToString::to_string)
}

fn welcome(head: &[u8]) -> Told {
    let Ok(welcome) = Welcome::decode(head) else { return malformed("Welcome", head) };
    let say = format!("answers as {} and proves that it has the cluster key", welcome.name);
    let mut told = resume(Told::new("Welcome", say), &welcome.resume)
        .with("instance", welcome.instance.to_string())
        .with(LISTENS_AT, listens_at(welcome.address.as_ref()))
        .with("connection id there", welcome.connection.to_string())
        .with("nonce", secret(&welcome.nonce))
        .with("proof", secret(&welcome.proof));
    told.who = Some((welcome.instance, welcome.name));
    told
}

fn confirm(head: &[u8]) -> Told {
    let Ok(confirm) = Confirm::decode(head) else { return malformed("Confirm", head) };
    let told = Told::new("Confirm", "proves the cluster key too: from here on the link is established");
    resume(told, &confirm.resume).with("proof", secret(&confirm.proof))
}

/// Where a session stands, where there is one.
fn resume(mut told: Told, resume: &Resume) -> Told {
    if *resume == Resume::default() {
        return told;
    }
    told.say.push_str(&format!("; it has received {} of the other's messages so far", resume.received));
    told.label(format!("· has {} so far", resume.received))
        .with("received so far", resume.received.to_string())
        .with("session generation", format!("{} here, {} there", resume.generation, resume.known))
        .with("window", bytes(u64::from(resume.window)))
        .with("session timeout", format!("{} ms", resume.timeout))
}

fn refuse(head: &[u8]) -> Told {
    let Ok(refuse) = Refuse::decode(head) else { return malformed("Refuse", head) };
    Told::new("Refuse", format!("says no: {}", refuse.text))
        .label(format!("· {}", clip(&refuse.text, 40)))
        .with("code", refuse.code.to_string())
        .with("instance", refuse.instance.to_string())
}

fn dict(head: &[u8], sequence: u64) -> Told {
    let Ok(dict) = Dict::decode(head) else {
        return numbered(malformed("Message", head), "", head, sequence);
    };
    let text = field(&dict);
    let told = Told::new("Message", format!("sends a message: {text}")).with("dict", &*text);
    numbered(told, &clip(&text, 24), head, sequence)
}

fn raw(head: &[u8], sequence: u64) -> Told {
    let told = Told::new("Message", format!("sends {} of its own", bytes(head.len() as u64)));
    let begins = match core::str::from_utf8(&head[..head.len().min(48)]) {
        Ok(text) if !text.chars().any(char::is_control) => text.to_owned(),
        _ => hex(&head[..head.len().min(16)]),
    };
    numbered(told.with("begins with", begins), "", head, sequence)
}

/// A message of a library user: by its number in the session, and how it begins.
fn numbered(told: Told, begins: &str, head: &[u8], sequence: u64) -> Told {
    let number = if sequence == 0 { String::new() } else { format!("#{sequence}") };
    told.with("size", bytes(head.len() as u64)).label(format!("{number} {begins}").trim())
}

fn message(pack: &DataPack) -> Told {
    match Message::from_pack(pack.clone()) {
        Ok(message) => messages::message(&message),
        Err(error) if Message::ALL.iter().any(|(number, _)| *number == pack.pack_type.0) => {
            Told::new("Malformed", format!("says something that cannot be read: {error}"))
        }
        Err(_) => {
            let own = format!("type {}", pack.pack_type.0);
            let say = format!("sends {} of its own ({own})", bytes(pack.data_len() as u64));
            numbered(Told::new("Message", say).with("pack type", own), "", &pack.head, pack.sequence)
        }
    }
}

fn number(head: &[u8]) -> String {
    head.first_chunk().map_or_else(|| "?".to_owned(), |bytes| u64::from_le_bytes(*bytes).to_string())
}

/// Enough to compare two by, and no more.
fn secret(bytes: &[u8]) -> String {
    format!("{}… ({} bytes)", hex(&bytes[..bytes.len().min(3)]), bytes.len())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
