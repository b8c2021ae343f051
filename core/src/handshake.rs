//! Hello, Welcome, Confirm: who is there, and whether it has the cluster key (ledger N12).
//!
//! ```text
//! dialler                                    acceptor
//!   Hello{who, whom, kind, epoch, nonce}  ─▶            makes no state but this
//!         ◀─  Welcome{who, nonce, proof}                proof over Hello and Welcome
//!   Confirm{proof}                        ─▶            proof over Hello, Welcome and Confirm
//! ```
//!
//! The key itself is never sent. Each proof is HMAC-SHA256, by the cluster key, over a label and the exact bytes of all that was
//! said so far, both fresh nonces among them: a recorded proof fits no other conversation, and one end's proof is never
//! the other's. Whoever lacks the key is refused before a connection is made.
//!
//! Pure functions and payloads; The link says when, the connection manager says whether.

use crate::connection::DisconnectReason;
use crate::pack::{DataPack, PackType};
use crate::wire;
use crate::{Address, ClusterKey, Config, ConnectionId, InstanceId};
use alloc::string::String;
use alloc::vec::Vec;
use bytes::Bytes;
use hmac::{Hmac, KeyInit, Mac};
use serde::{Deserialize, Serialize};
use sha2::Sha256;

/// The version of the protocol that this crate speaks.
pub const VERSION: u16 = 1;
/// First bytes of a Hello's payload.
pub const MAGIC: [u8; 4] = *b"xxn1";
/// Largest payload of a handshake pack: a stranger makes us keep no more.
pub const MAX_PAYLOAD: u32 = 2048;
/// Longest sentence in a [`Refuse`].
const MAX_TEXT: usize = 256;

const WELCOME_LABEL: &[u8] = b"xxnet welcome";
const CONFIRM_LABEL: &[u8] = b"xxnet confirm";

/// A proof: HMAC-SHA256.
type Proof = [u8; 32];
/// Bytes at the end of Welcome and Confirm that are the proof.
const PROOF_LEN: usize = 32;

/// The dialler's first words. Magic and version stay where they are in every version.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Hash)]
pub struct Hello {
    /// [`MAGIC`].
    pub magic: [u8; 4],
    /// [`VERSION`].
    pub version: u16,
    /// Who dials.
    pub instance: InstanceId,
    /// Who must answer; [`InstanceId::NONE`]: whoever does.
    pub expected: InstanceId,
    /// The kind of the connection.
    pub kind: u16,
    /// Grows with each dial of this instance.
    pub epoch: u64,
    /// The connection's id at the dialler.
    pub connection: ConnectionId,
    /// Where the dialler listens, as it advertises it.
    pub address: Option<Address>,
    /// Its name for people.
    pub name: String,
    /// Largest data of a pack that it takes.
    pub max_data: u32,
    /// Fresh random bytes.
    pub nonce: [u8; 32],
}

impl Hello {
    /// From a pack's payload, for whoever reads along: nothing in it is judged.
    ///
    /// # Errors
    /// [`WireError`](wire::WireError) if the payload is no Hello.
    pub fn decode(head: &[u8]) -> Result<Self, wire::WireError> {
        wire::decode(head)
    }
}

/// Where a session stands; all zero on plain kinds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, Hash)]
pub struct Resume {
    /// The sender's generation of the session.
    pub generation: u64,
    /// The peer's generation as the sender knows it.
    pub known: u64,
    /// Packs of the peer's that the sender has received; a count of another session means nothing.
    pub received: u64,
    /// Wire bytes of packs that the sender keeps until its application takes them; the peer sends no new pack while so
    /// many are not acknowledged.
    pub window: u32,
    /// Milliseconds for which the sender keeps a session that has no link; the shorter of both ends' counts.
    pub timeout: u32,
}

/// The acceptor's answer. The proof is the payload's last 32 bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Hash)]
pub struct Welcome {
    /// [`VERSION`].
    pub version: u16,
    /// Who answers.
    pub instance: InstanceId,
    /// The id that the connection gets at the acceptor.
    pub connection: ConnectionId,
    /// Where the acceptor listens, as it advertises it.
    pub address: Option<Address>,
    /// Its name for people.
    pub name: String,
    /// Largest data of a pack that it takes.
    pub max_data: u32,
    /// Fresh random bytes.
    pub nonce: [u8; 32],
    /// Where the session stands at the acceptor.
    pub resume: Resume,
    /// HMAC-SHA256 over "xxnet welcome", Hello and Welcome without these 32 bytes.
    pub proof: Proof,
}

impl Welcome {
    /// From a pack's payload, for whoever reads along: nothing in it is judged.
    ///
    /// # Errors
    /// [`WireError`](wire::WireError) if the payload is no Welcome.
    pub fn decode(head: &[u8]) -> Result<Self, wire::WireError> {
        wire::decode(head)
    }
}

/// The dialler's proof.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Hash)]
pub struct Confirm {
    /// Where the session stands at the dialler, who has read the acceptor's.
    pub resume: Resume,
    /// HMAC-SHA256 over "xxnet confirm", Hello, Welcome and Confirm without these 32 bytes.
    pub proof: Proof,
}

impl Confirm {
    /// From a pack's payload, for whoever reads along: nothing in it is judged.
    ///
    /// # Errors
    /// [`WireError`](wire::WireError) if the payload is no Confirm.
    pub fn decode(head: &[u8]) -> Result<Self, wire::WireError> {
        wire::decode(head)
    }
}

/// No. Sent instead of any of the others, or on an established link that its sender ends.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Hash)]
pub struct Refuse {
    /// The version that the sender speaks.
    pub version: u16,
    /// Who refuses.
    pub instance: InstanceId,
    /// A [`RefuseCode`].
    pub code: u16,
    /// For people.
    pub text: String,
}

/// Why a peer is refused; the numbers are pinned.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[repr(u16)]
pub enum RefuseCode {
    /// The proof does not fit our key.
    WrongKey = 1,
    /// Another version.
    Version = 2,
    /// Connections of this kind are not taken here.
    Kind = 3,
    /// The expected instance is another one than we are.
    OtherInstance = 4,
    /// Dialler and acceptor are the same instance.
    Myself = 5,
    /// A link of a newer (or this very) dial is up.
    Duplicate = 6,
    /// No room.
    Full = 7,
    /// What came cannot be understood.
    Malformed = 8,
    /// Another link of the same session is used; no more than this link is over.
    Retired = 9,
    /// The session that this link is for is over.
    Stale = 10,
}

impl RefuseCode {
    /// Every code, in order.
    pub const ALL: [Self; 10] = [
        Self::WrongKey,
        Self::Version,
        Self::Kind,
        Self::OtherInstance,
        Self::Myself,
        Self::Duplicate,
        Self::Full,
        Self::Malformed,
        Self::Retired,
        Self::Stale,
    ];

    fn text(self) -> &'static str {
        match self {
            Self::WrongKey => "the cluster keys differ",
            Self::Version => "the protocol versions differ",
            Self::Kind => "this kind of connection is not taken here",
            Self::OtherInstance => "another instance runs here",
            Self::Myself => "this is the very process that dials",
            Self::Duplicate => "a newer connection of the same dialler is up",
            Self::Full => "no room for more connections",
            Self::Malformed => "what came cannot be understood",
            Self::Retired => "another link of the session is used",
            Self::Stale => "the session is over",
        }
    }
}

impl Refuse {
    /// From a pack's payload, for whoever reads along: nothing in it is judged.
    ///
    /// # Errors
    /// [`WireError`](wire::WireError) if the payload is no Refuse.
    pub fn decode(head: &[u8]) -> Result<Self, wire::WireError> {
        wire::decode(head)
    }

    /// The pack with which we refuse.
    pub(crate) fn pack(me: InstanceId, code: RefuseCode) -> DataPack {
        let refuse =
            Self { version: VERSION, instance: me, code: code as u16, text: String::from(code.text()) };
        DataPack::new(PackType::REFUSE, wire::encode(&refuse))
    }

    /// What a peer's refusal means to us.
    pub(crate) fn reason(head: &[u8]) -> DisconnectReason {
        let Ok(refuse) = wire::decode::<Self>(head) else {
            return DisconnectReason::Malformed("refusal");
        };
        if refuse.text.len() > MAX_TEXT {
            return DisconnectReason::Malformed("refusal");
        }
        match RefuseCode::ALL.into_iter().find(|code| *code as u16 == refuse.code) {
            Some(RefuseCode::WrongKey) => DisconnectReason::WrongKey,
            Some(RefuseCode::Version) => DisconnectReason::Version(refuse.version),
            Some(RefuseCode::Kind) => DisconnectReason::KindRefused,
            Some(RefuseCode::OtherInstance) => DisconnectReason::OtherInstance(refuse.instance),
            Some(RefuseCode::Myself) => DisconnectReason::Myself,
            Some(RefuseCode::Duplicate) => DisconnectReason::Duplicate,
            Some(RefuseCode::Full) => DisconnectReason::Full,
            Some(RefuseCode::Malformed) => DisconnectReason::Malformed("as the peer says of what we sent"),
            Some(RefuseCode::Retired) => DisconnectReason::Retired,
            Some(RefuseCode::Stale) => DisconnectReason::Stale,
            None => DisconnectReason::RefusedByPeer(refuse.code),
        }
    }
}

/// The code that tells a peer why we turn it away; `None` if silence is better (it is gone, or is none of ours).
pub(crate) fn refusal(reason: &DisconnectReason) -> Option<RefuseCode> {
    match reason {
        DisconnectReason::WrongKey => Some(RefuseCode::WrongKey),
        DisconnectReason::Version(_) => Some(RefuseCode::Version),
        DisconnectReason::KindRefused => Some(RefuseCode::Kind),
        DisconnectReason::OtherInstance(_) => Some(RefuseCode::OtherInstance),
        DisconnectReason::Myself => Some(RefuseCode::Myself),
        DisconnectReason::Duplicate | DisconnectReason::Replaced => Some(RefuseCode::Duplicate),
        DisconnectReason::Full => Some(RefuseCode::Full),
        DisconnectReason::Malformed(_) => Some(RefuseCode::Malformed),
        DisconnectReason::Retired => Some(RefuseCode::Retired),
        DisconnectReason::Stale | DisconnectReason::Expired => Some(RefuseCode::Stale),
        DisconnectReason::Closed
        | DisconnectReason::ClosedByPeer
        | DisconnectReason::Net(_)
        | DisconnectReason::Silent
        | DisconnectReason::NotOurProtocol { .. }
        | DisconnectReason::SlowPeer
        | DisconnectReason::ConnectedAs(_)
        | DisconnectReason::RefusedByPeer(_) => None,
    }
}

/// The dialler has said Hello and waits for Welcome.
#[derive(Clone, Debug, Hash, Serialize, Deserialize)]
pub(crate) struct HelloSent {
    pub(crate) hello: Hello,
    hello_bytes: Vec<u8>,
}

impl HelloSent {
    /// The first pack, and what must be remembered of it.
    pub(crate) fn new(hello: Hello) -> (Self, DataPack) {
        let hello_bytes = wire::encode(&hello);
        let pack = DataPack::new(PackType::HELLO, hello_bytes.clone());
        (Self { hello, hello_bytes }, pack)
    }

    /// Judges a Welcome: authentic, or why not.
    pub(crate) fn welcome(&self, key: &ClusterKey, head: &[u8]) -> Result<Welcome, DisconnectReason> {
        const MALFORMED: DisconnectReason = DisconnectReason::Malformed("welcome");
        let welcome: Welcome = wire::decode(head).map_err(|_| MALFORMED)?;
        if welcome.version != VERSION {
            return Err(DisconnectReason::Version(welcome.version));
        }
        let unsigned = &head[..head.len().saturating_sub(PROOF_LEN)];
        verify(key, WELCOME_LABEL, &[&self.hello_bytes, unsigned], &welcome.proof)?;
        if !plausible(welcome.instance, &welcome.name, welcome.address.as_ref()) {
            return Err(MALFORMED);
        }
        Ok(welcome)
    }

    /// Our Confirm, to the Welcome whose exact bytes are `head`.
    pub(crate) fn confirm(&self, key: &ClusterKey, head: &[u8], resume: Resume) -> DataPack {
        let mut confirm = wire::encode(&Confirm { resume, proof: [0; PROOF_LEN] });
        sign(key, CONFIRM_LABEL, &[&self.hello_bytes, head], &mut confirm);
        DataPack::new(PackType::CONFIRM, confirm)
    }
}

/// Reads a Hello: ours to judge, or why not.
pub(crate) fn read_hello(head: &[u8]) -> Result<Hello, DisconnectReason> {
    const MALFORMED: DisconnectReason = DisconnectReason::Malformed("hello");
    let (magic, rest) = head.split_first_chunk::<4>().ok_or(MALFORMED)?;
    let (version, _) = rest.split_first_chunk::<2>().ok_or(MALFORMED)?;
    let version = u16::from_le_bytes(*version);
    if *magic != MAGIC {
        return Err(DisconnectReason::NotOurProtocol { hint: "" });
    }
    // Behind these six bytes another version may say anything.
    if version != VERSION {
        return Err(DisconnectReason::Version(version));
    }
    let hello: Hello = wire::decode(head).map_err(|_| MALFORMED)?;
    plausible(hello.instance, &hello.name, hello.address.as_ref()).then_some(hello).ok_or(MALFORMED)
}

/// The acceptor has said Welcome and waits for Confirm. Holds all that is known of a peer until then.
#[derive(Clone, Debug, Hash, Serialize, Deserialize)]
pub(crate) struct WelcomeSent {
    pub(crate) hello: Hello,
    /// The id that the connection gets if it comes to be.
    pub(crate) connection: ConnectionId,
    /// The generation of ours that the Welcome told; 0 if it means nothing any more.
    pub(crate) generation: u64,
    hello_bytes: Bytes,
    welcome_bytes: Vec<u8>,
}

impl WelcomeSent {
    /// The answer to a Hello (whose exact bytes are `hello_bytes`), and what must be remembered of it. The proof in
    /// `welcome` is filled in.
    pub(crate) fn new(
        key: &ClusterKey,
        hello: Hello,
        hello_bytes: Bytes,
        welcome: &Welcome,
    ) -> (Self, DataPack) {
        let mut welcome_bytes = wire::encode(welcome);
        sign(key, WELCOME_LABEL, &[&hello_bytes], &mut welcome_bytes);
        let pack = DataPack::new(PackType::WELCOME, welcome_bytes.clone());
        let (connection, generation) = (welcome.connection, welcome.resume.generation);
        (Self { hello, connection, generation, hello_bytes, welcome_bytes }, pack)
    }

    /// Judges a Confirm.
    pub(crate) fn confirm(&self, key: &ClusterKey, head: &[u8]) -> Result<Resume, DisconnectReason> {
        let confirm: Confirm = wire::decode(head).map_err(|_| DisconnectReason::Malformed("confirm"))?;
        let unsigned = &head[..head.len().saturating_sub(PROOF_LEN)];
        verify(key, CONFIRM_LABEL, &[&self.hello_bytes, &self.welcome_bytes, unsigned], &confirm.proof)?;
        Ok(confirm.resume)
    }
}

/// Puts the proof over the label, `said` and the payload's own bytes into the payload's last 32 bytes.
fn sign(key: &ClusterKey, label: &[u8], said: &[&[u8]], payload: &mut [u8]) {
    if let Some((unsigned, proof)) = payload.split_last_chunk_mut::<PROOF_LEN>() {
        let mut mac = mac(key, label, said);
        absorb(&mut mac, unsigned);
        proof.copy_from_slice(&mac.finalize().into_bytes());
    }
}

/// Compares in constant time.
fn verify(key: &ClusterKey, label: &[u8], said: &[&[u8]], proof: &Proof) -> Result<(), DisconnectReason> {
    mac(key, label, said).verify_slice(proof).map_err(|_| DisconnectReason::WrongKey)
}

fn mac(key: &ClusterKey, label: &[u8], said: &[&[u8]]) -> Hmac<Sha256> {
    let mut mac = <Hmac<Sha256> as KeyInit>::new(&block(key));
    mac.update(label);
    said.iter().for_each(|part| absorb(&mut mac, part));
    mac
}

/// Each part behind its length, so that no bytes can move from one part to the next.
fn absorb(mac: &mut Hmac<Sha256>, part: &[u8]) {
    mac.update(&u32::try_from(part.len()).unwrap_or(u32::MAX).to_le_bytes());
    mac.update(part);
}

/// HMAC pads a short key with zeros to one block; done here because the fixed-size constructor cannot fail.
fn block(key: &ClusterKey) -> hmac::digest::Key<Hmac<Sha256>> {
    let mut block = hmac::digest::Key::<Hmac<Sha256>>::default();
    block.iter_mut().zip(key.0).for_each(|(to, from)| *to = from);
    block
}

/// Whether a peer says of itself what a node can be.
fn plausible(instance: InstanceId, name: &str, address: Option<&Address>) -> bool {
    let reachable = address.is_none_or(Address::can_be_told);
    instance != InstanceId::NONE && name.len() <= Config::MAX_NAME && reachable
}
