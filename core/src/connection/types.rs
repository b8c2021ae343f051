//! The words of the connection layer.

use crate::disk::FileErrorKind;
use crate::net::{Endpoint, NetError};
use crate::pack::{DataPack, PackType, ValueError};
use crate::state;
use crate::{Address, ConnectionId, InstanceId};
use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use core::time::Duration;
use serde::{Deserialize, Serialize};

/// Names a kind on the wire; both ends of a connection have the same.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct KindId(pub u16);

impl KindId {
    /// Executor to registry (the seed's Exe2Reg and ExeInReg).
    pub const REGISTRATION: Self = Self(1);
    /// Assignee to publisher (Exe2Exe and ExeInExe).
    pub const TASK: Self = Self(2);
    /// Assignee to the publisher's file service (FileExe2Exe and FileExeInExe).
    pub const FILE: Self = Self(3);
    /// Command line to registry.
    pub const QUERY: Self = Self(4);
    /// Who is there? Every manager that listens takes these by itself, tells nobody, and keeps them until the prober or the
    /// listener is closed. A publisher asks so whether an executor is still the one (PROTOCOL A8).
    pub const PROBE: Self = Self(5);
    /// Between two messengers (the seed's xx_net).
    pub const MESSAGES: Self = Self(7);
    /// First number for a library user's own kinds.
    pub const FIRST_FREE: Self = Self(1024);
}

impl fmt::Debug for KindId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::REGISTRATION => f.write_str("registration"),
            Self::TASK => f.write_str("task"),
            Self::FILE => f.write_str("file"),
            Self::QUERY => f.write_str("query"),
            Self::PROBE => f.write_str("probe"),
            Self::MESSAGES => f.write_str("messages"),
            Self(other) => write!(f, "kind-{other}"),
        }
    }
}

impl fmt::Display for KindId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// What a second link to the same peer means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum LinkRule {
    /// Each is another connection, told apart by the dialler's connection id.
    Many,
    /// One a dialler and kind: a newer epoch replaces the older link, an old or equal one is a duplicate and dropped.
    OnePerDialler,
    /// One a pair of instances, whoever dials: of two links that cross, the instance with the smaller id chooses one, and
    /// both ends keep that. Sessions only: what was on its way on the other link is sent again.
    OnePerPair,
}

/// What a kind promises of its messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Delivery {
    /// A connection is its link. What is under way when that breaks is lost, and whoever uses the kind repeats it.
    Plain,
    /// A connection is a session that outlives its links: each message arrives once and in order, across any number of
    /// breaks, while both instances live and no break outlasts the session's timeout. What was not acknowledged when the
    /// session ends is told as [`ConnectionEvent::Undelivered`].
    Session,
}

/// Which ends of a kind this node may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Role {
    /// Only dial.
    Dial,
    /// Only be dialled.
    Accept,
    /// Both.
    Both,
    /// A listening connection: takes newcomers of every registered kind that may be accepted.
    Listen,
}

/// A kind of connection, registered before any connection of it is made.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ConnectionKind {
    /// Its number on the wire.
    pub id: KindId,
    /// What a second link means.
    pub rule: LinkRule,
    /// What is promised of its messages.
    pub delivery: Delivery,
    /// What this node does with it.
    pub role: Role,
    /// Whether this very instance may be at both ends (a task that its publisher runs itself).
    pub allow_self: bool,
}

impl ConnectionKind {
    /// A kind whose connections are their links.
    pub const fn plain(id: KindId, rule: LinkRule, role: Role) -> Self {
        Self { id, rule, delivery: Delivery::Plain, role, allow_self: false }
    }

    /// A kind whose connections are sessions.
    pub const fn session(id: KindId, rule: LinkRule, role: Role) -> Self {
        Self { id, rule, delivery: Delivery::Session, role, allow_self: false }
    }

    /// Whether it can be meant.
    pub(super) fn check(&self) -> Result<(), ConnectionError> {
        if self.rule == LinkRule::OnePerPair && self.delivery == Delivery::Plain {
            return Err(ConnectionError::BadKind("one link a pair needs sessions"));
        }
        if self.rule == LinkRule::OnePerPair && self.allow_self {
            return Err(ConnectionError::BadKind("a pair is two instances: no session with oneself"));
        }
        if self.delivery == Delivery::Session && self.role == Role::Listen {
            return Err(ConnectionError::BadKind("a kind that listens has no messages of its own"));
        }
        Ok(())
    }
}

/// Where a connection stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ConnectionState {
    /// As created: it may connect or listen.
    Idle,
    /// Resolving, dialling or shaking hands.
    Connecting,
    /// Up.
    Connected,
    /// Its listener is being opened or is open.
    Listening,
    /// Closed by us; its rest is being sent.
    Closing,
}

/// Who is at the other end of an established connection.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct PeerInfo {
    /// Which run of which process.
    pub instance: InstanceId,
    /// Its name for people.
    pub name: String,
    /// Where it can be dialled: what it advertised, completed with the host we saw; `None` if it does not listen.
    pub address: Option<Address>,
    /// The address of its socket; of one that has dialled a Unix socket a name, `unix:#7`, while it is connected.
    pub socket: Endpoint,
    /// Our own address on this link: of an accepted peer, where it has reached us.
    pub local: Endpoint,
    /// The id of this connection at its end.
    pub connection: ConnectionId,
}

/// The caller's fault; nothing has changed.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ConnectionError {
    /// No kind of that number is registered.
    UnknownKind(KindId),
    /// A kind of that number is registered already.
    KindTaken(KindId),
    /// The kind contradicts itself; says how.
    BadKind(&'static str),
    /// No connection has that id (any more).
    UnknownConnection(ConnectionId),
    /// Connections of this kind do not dial, or do not listen.
    WrongRole(KindId),
    /// The connection is in this state, and the operation needs another.
    WrongState(ConnectionState),
    /// Another connection of ours listens on this address, or on the same port with a wildcard.
    AlreadyListening(Endpoint),
    /// Names cannot be listened on: a host's must be resolved first, and a passing one (`unix:#7`) is a peer's.
    NotASocketAddress,
    /// No target was given, at creation or now.
    NoTarget,
    /// The outbox is full; the connection is being closed, because its peer does not read.
    OutboxFull,
    /// The session keeps as much as it may of what the peer has not taken; `Writable` will come.
    QueueFull,
    /// The session has no link at this moment.
    NoLink,
    /// The pack is larger than the peer takes.
    TooLarge {
        /// Bytes of data.
        size: usize,
        /// Bytes the peer takes.
        limit: u32,
    },
    /// The data cannot be written as a dict.
    Data(ValueError),
    /// Pack types below 16 are the link's own.
    ReservedPackType(PackType),
    /// The manager is destroyed.
    Destroyed,
}

impl fmt::Display for ConnectionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownKind(kind) => write!(f, "connection kind {kind} is not registered"),
            Self::KindTaken(kind) => write!(f, "connection kind {kind} is registered already"),
            Self::UnknownConnection(id) => write!(f, "there is no {id}"),
            Self::WrongRole(kind) => write!(f, "connections of kind {kind} cannot do this"),
            Self::WrongState(state) => write!(f, "the connection is {state:?}"),
            Self::AlreadyListening(address) => write!(f, "{address} is listened on already"),
            Self::NotASocketAddress => {
                f.write_str("only a socket address or the path of a Unix socket can be listened on")
            }
            Self::NoTarget => f.write_str("the connection has no target"),
            Self::BadKind(why) => f.write_str(why),
            Self::QueueFull => f.write_str("the queue is full: the peer has not taken what was sent before"),
            Self::NoLink => f.write_str("the session has no link at this moment"),
            Self::OutboxFull => f.write_str("the peer does not read; its connection is being closed"),
            Self::TooLarge { size, limit } => {
                write!(f, "{size} bytes in one message, the peer takes {limit}")
            }
            Self::Data(error) => fmt::Display::fmt(error, f),
            Self::ReservedPackType(pack_type) => write!(f, "{pack_type:?} is the link's own"),
            Self::Destroyed => f.write_str("all connections are destroyed"),
        }
    }
}

impl core::error::Error for ConnectionError {}

/// What the layer tells the machine above it, each exactly once.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum ConnectionEvent {
    /// A listening connection is open.
    Listening {
        /// Which.
        id: ConnectionId,
        /// Where, with the port that was chosen.
        address: Endpoint,
    },
    /// The system refused the address; the connection is idle again.
    ListenFailed {
        /// Which.
        id: ConnectionId,
        /// Where it should have been.
        address: Endpoint,
        /// Why.
        error: NetError,
    },
    /// A connection that we dialled is up (the seed's OnConnect).
    Connected {
        /// Which.
        id: ConnectionId,
        /// Its kind.
        kind: KindId,
        /// The other end.
        peer: Box<PeerInfo>,
    },
    /// A peer's connection is up.
    Accepted {
        /// Its new id at this end.
        id: ConnectionId,
        /// Its kind.
        kind: KindId,
        /// The listening connection that it came through.
        listener: ConnectionId,
        /// The other end.
        peer: Box<PeerInfo>,
    },
    /// A pack has come.
    Received {
        /// On which connection.
        id: ConnectionId,
        /// The pack.
        pack: DataPack,
    },
    /// The outbox of a connection that was not writable is below its high-water mark again.
    Writable {
        /// Which.
        id: ConnectionId,
    },
    /// The peer has answered a ping.
    Pong {
        /// On which connection.
        id: ConnectionId,
        /// From the ping to its answer.
        round_trip: Duration,
    },
    /// A session has lost its last link; it goes on with the next one. For the log.
    Interrupted {
        /// Which.
        id: ConnectionId,
        /// Why.
        reason: DisconnectReason,
    },
    /// A session has a link again. For the log.
    Resumed {
        /// Which.
        id: ConnectionId,
    },
    /// The peer's application has taken our messages up to this one.
    Acknowledged {
        /// On which connection.
        id: ConnectionId,
        /// What `send` answered for it.
        sequence: u64,
    },
    /// These messages of a session that is over were not acknowledged: they may or may not have been delivered. Told right
    /// before its `Disconnected`.
    Undelivered {
        /// On which connection.
        id: ConnectionId,
        /// The messages, oldest first; each knows its sequence.
        packs: Vec<DataPack>,
    },
    /// A connection that was connecting or connected is over (the seed's OnDisconnect). One that we created is idle again
    /// under its id; one that was accepted is gone.
    Disconnected {
        /// Which.
        id: ConnectionId,
        /// Its kind.
        kind: KindId,
        /// Why.
        reason: DisconnectReason,
    },
    /// A newcomer was turned away before it was a connection. For the log.
    TurnedAway {
        /// Where it came from.
        from: Endpoint,
        /// Why.
        reason: DisconnectReason,
    },
    /// Accepting fails (no descriptors); it is tried again after a pause, once announced.
    AcceptFailing {
        /// The listening connection.
        listener: ConnectionId,
        /// Why.
        error: NetError,
    },
}

/// Why a connection is over, or never came to be.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum DisconnectReason {
    /// We closed it.
    Closed,
    /// The peer closed it in order.
    ClosedByPeer,
    /// The network broke it, refused it or never answered.
    Net(NetError),
    /// No sign of life for the whole of `suspect`, or no handshake pack in time.
    Silent,
    /// The peer does not speak our protocol; `hint` says what it seems to speak, if that can be told.
    NotOurProtocol {
        /// "HTTP", "TLS", "SSH", or empty.
        #[serde(deserialize_with = "state::text")]
        hint: state::Text,
    },
    /// A pack was damaged or malformed.
    Malformed(#[serde(deserialize_with = "state::text")] state::Text),
    /// The peer speaks only other versions.
    Version(u16),
    /// The peer does not have our cluster key (or we not its).
    WrongKey,
    /// The peer does not take connections of this kind.
    KindRefused,
    /// Another instance than the expected one answered.
    OtherInstance(InstanceId),
    /// It is ourselves.
    Myself,
    /// A newer link of the same dialler has replaced it.
    Replaced,
    /// An old or repeated dial of a peer whose newer link is up.
    Duplicate,
    /// The peer does not read: its outbox is full.
    SlowPeer,
    /// The peer has no room for more connections.
    Full,
    /// Another link of the same session is used.
    Retired,
    /// The session is another one at the other end: ours is over.
    Stale,
    /// The session had no link for longer than its timeout.
    Expired,
    /// The one that answers is connected already, as this connection.
    ConnectedAs(ConnectionId),
    /// The peer refused with a code that we do not know.
    RefusedByPeer(u16),
}

impl DisconnectReason {
    /// The file error that stands for it when a transfer ends by it.
    pub fn as_file_error(&self) -> FileErrorKind {
        match self {
            Self::Net(NetError::Refused | NetError::Unreachable | NetError::NameNotFound) => {
                FileErrorKind::Unreachable
            }
            _ => FileErrorKind::Disconnected,
        }
    }
}

impl fmt::Display for DisconnectReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed => f.write_str("closed"),
            Self::ClosedByPeer => f.write_str("the other end closed the connection"),
            Self::Net(error) => fmt::Display::fmt(error, f),
            Self::Silent => f.write_str("it accepted the connection but does not answer"),
            Self::NotOurProtocol { hint: "" } => f.write_str("what answers there is no xxnet"),
            Self::NotOurProtocol { hint } => write!(f, "what answers there speaks {hint}, not xxnet"),
            Self::Malformed(what) => write!(f, "it sent a damaged message ({what})"),
            Self::Version(version) => {
                write!(f, "it speaks version {version} of the protocol, we speak another")
            }
            Self::WrongKey => {
                f.write_str("it has another cluster key; give both the same file with --key-file")
            }
            Self::KindRefused => {
                f.write_str("it does not take this kind of connection; is it the right node?")
            }
            Self::OtherInstance(id) => write!(f, "another instance ({id}) answers there now"),
            Self::Myself => f.write_str("that is this very process"),
            Self::Replaced => f.write_str("replaced by a newer connection of the same peer"),
            Self::Duplicate => f.write_str("a repeated dial whose newer connection is up"),
            Self::SlowPeer => f.write_str("it does not read what is sent to it"),
            Self::Full => f.write_str("it has no room for more connections"),
            Self::Retired => f.write_str("another link of the same session is used"),
            Self::Stale => f.write_str("the other end has ended the session"),
            Self::Expired => f.write_str("no link could be had for longer than the session's timeout"),
            Self::ConnectedAs(id) => write!(f, "what answers there is connected as {id}"),
            Self::RefusedByPeer(code) => write!(f, "it refused with code {code}"),
        }
    }
}
