//! What the handshake's vectors stand for, and that their proofs are what WIRE.md says.

use crate::vectors::{compare, read};
use bincode::config::{Configuration, Fixint, LittleEndian};
use hmac::{Hmac, KeyInit, Mac};
use serde::{Serialize, de::DeserializeOwned};
use sha2::Sha256;
use xxnet_core::handshake::{Confirm, Hello, MAGIC, Refuse, RefuseCode, Resume, VERSION, Welcome};
use xxnet_core::{Address, ConnectionId, InstanceId};

const KEY: &[u8; 32] = b"a cluster key that is 32 bytes !";
const FORMAT: Configuration<LittleEndian, Fixint> = bincode::config::standard().with_fixed_int_encoding();

/// Bytes that count up.
fn up<const N: usize>(from: u8) -> [u8; N] {
    std::array::from_fn(|n| from + n as u8)
}

const fn resume(generation: u64, known: u64, received: u64, window: u32, timeout: u32) -> Resume {
    Resume { generation, known, received, window, timeout }
}

fn address(text: &str) -> Option<Address> {
    (!text.is_empty()).then(|| text.parse().unwrap())
}

#[derive(Clone, Debug, PartialEq)]
enum Word {
    Hello(Hello),
    Welcome(Welcome),
    Confirm(Confirm),
    Refuse(Refuse),
}

fn decode<T: DeserializeOwned>(bytes: &[u8]) -> T {
    let (value, read) = bincode::serde::decode_from_slice(bytes, FORMAT).unwrap();
    assert_eq!(read, bytes.len());
    value
}

fn encode<T: Serialize>(value: &T) -> Vec<u8> {
    bincode::serde::encode_to_vec(value, FORMAT).unwrap()
}

fn proof(label: &[u8], parts: &[&[u8]]) -> [u8; 32] {
    let mut mac = Hmac::<Sha256>::new_from_slice(KEY).unwrap();
    mac.update(label);
    for part in parts {
        mac.update(&u32::try_from(part.len()).unwrap().to_le_bytes());
        mac.update(part);
    }
    mac.finalize().into_bytes().into()
}

/// The last 32 bytes of a vector.
fn last(vectors: &[(String, Vec<u8>)], name: &str) -> [u8; 32] {
    *of(vectors, name).last_chunk().unwrap()
}

fn of<'a>(vectors: &'a [(String, Vec<u8>)], name: &str) -> &'a [u8] {
    &vectors.iter().find(|(other, _)| other == name).unwrap().1
}

fn expected(vectors: &[(String, Vec<u8>)]) -> Vec<(String, Word)> {
    const ZERO: [u8; 16] = [0; 16];
    let (a, b) = (up(1), up(0x11));
    let (n1, n2): ([u8; 32], [u8; 32]) = (up(0x40), up(0x80));
    let hello = |expected, kind, epoch, connection, at, name: &str, max_data, nonce| Hello {
        magic: MAGIC,
        version: VERSION,
        instance: InstanceId(a),
        expected: InstanceId(expected),
        kind,
        epoch,
        connection: ConnectionId(connection),
        address: address(at),
        name: name.into(),
        max_data,
        nonce,
    };
    let welcome = |connection, at, name: &str, max_data, nonce, resume| Welcome {
        version: VERSION,
        instance: InstanceId(b),
        connection: ConnectionId(connection),
        address: address(at),
        name: name.into(),
        max_data,
        nonce,
        resume,
        proof: [0; 32],
    };
    let nothing = Resume::default();
    let minute = 60_000;
    let shaken = [
        (
            "plain",
            hello(ZERO, 1024, 1, 1, "", "", 1 << 20, n1),
            welcome(2, "", "", 1 << 20, n2, nothing),
            nothing,
        ),
        (
            "session",
            hello(ZERO, 7, 1, 3, "192.0.2.1:7700", "node-1", 4 << 20, n1),
            welcome(9, "[2001:db8::1]:7700", "grüße", 4 << 20, n2, resume(1, 0, 0, 4 << 20, minute)),
            resume(1, 1, 0, 1 << 20, minute / 2),
        ),
        (
            "resumed",
            hello(b, 7, 258, 3, "node-1.example:65535", "node-1", 4 << 20, n2),
            welcome(10, "0.0.0.0:7700", "node-2", 4 << 20, n1, resume(3, 2, 1 << 40, 4 << 20, minute)),
            resume(2, 3, 77, 1 << 20, minute / 2),
        ),
    ];
    let mut words = Vec::new();
    for (name, hello, mut welcome, resume) in shaken {
        let [hello_name, welcome_name, confirm_name] =
            ["HELLO", "WELCOME", "CONFIRM"].map(|word| format!("{word} {name}"));
        // That the proofs are right is told below.
        welcome.proof = last(vectors, &welcome_name);
        let confirm = Confirm { resume, proof: last(vectors, &confirm_name) };
        words.extend([
            (hello_name, Word::Hello(hello)),
            (welcome_name, Word::Welcome(welcome)),
            (confirm_name, Word::Confirm(confirm)),
        ]);
    }
    let texts = [
        "the cluster keys differ",
        "the protocol versions differ",
        "this kind of connection is not taken here",
        "another instance runs here",
        "this is the very process that dials",
        "a newer connection of the same dialler is up",
        "no room for more connections",
        "what came cannot be understood",
        "another link of the session is used",
        "the session is over",
    ];
    words.extend(RefuseCode::ALL.into_iter().zip(texts).map(|(code, text)| {
        let code = code as u16;
        let refuse = Refuse { version: VERSION, instance: InstanceId(b), code, text: text.into() };
        (format!("REFUSE {code}"), Word::Refuse(refuse))
    }));
    words
}

#[test]
fn p9_handshakes_and_refusals_byte_for_byte() {
    let expected = expected(&read("handshake.hex"));
    let decode = |name: &str, bytes: &[u8]| match name.split(' ').next() {
        Some("HELLO") => Word::Hello(decode(bytes)),
        Some("WELCOME") => Word::Welcome(decode(bytes)),
        Some("CONFIRM") => Word::Confirm(decode(bytes)),
        _ => Word::Refuse(decode(bytes)),
    };
    compare("handshake.hex", expected, decode, |word| match word {
        Word::Hello(hello) => encode(hello),
        Word::Welcome(welcome) => encode(welcome),
        Word::Confirm(confirm) => encode(confirm),
        Word::Refuse(refuse) => encode(refuse),
    });
}

#[test]
fn p9_the_proofs_in_the_vectors_are_what_the_page_says() {
    let vectors = read("handshake.hex");
    for name in ["plain", "session", "resumed"] {
        let [hello, welcome, confirm] =
            ["HELLO", "WELCOME", "CONFIRM"].map(|word| of(&vectors, &format!("{word} {name}")));
        let (unsigned, proven) = welcome.split_last_chunk().unwrap();
        assert_eq!(*proven, proof(b"xxnet welcome", &[hello, unsigned]), "WELCOME {name}");
        let (unsigned, proven) = confirm.split_last_chunk().unwrap();
        assert_eq!(*proven, proof(b"xxnet confirm", &[hello, welcome, unsigned]), "CONFIRM {name}");
    }
}
