//! What a messenger is asked and what it tells.

use crate::connection::{ConnectionError, DisconnectReason, PeerInfo, Statistics, Volume};
use crate::net::{Endpoint, NetError};
use crate::pack::DataPack;
use crate::{Address, ConnectionId, Token};
use alloc::boxed::Box;
use alloc::vec::Vec;
use core::fmt;
use core::time::Duration;

/// Stands for the connection of what was sent to an address of one's own.
pub const LOCAL: ConnectionId = ConnectionId(0);

/// What the application asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MessengerCommand {
    /// Listen → [`MessengerNotice::Listening`] or [`MessengerNotice::ListenFailed`]. Where it listens already it is
    /// rejected, and the listener that is there is unharmed.
    Listen {
        /// Named in the answer.
        token: Token,
        /// Where; port 0 takes any free one.
        address: Endpoint,
    },
    /// Stop listening. Who is connected stays so.
    Unlisten {
        /// Where it listens, with the port that was chosen.
        address: Endpoint,
    },
    /// From now on the token sends to this address. Nothing is dialled before something is sent.
    Open {
        /// The sender's name for it.
        token: Token,
        /// A listening peer, a peer that has sent us something, or an address of our own.
        to: Address,
    },
    /// Forget what `Open` said.
    Forget {
        /// The sender's name for it.
        token: Token,
    },
    /// Send, in order → [`MessengerNotice::Settled`] for each.
    Send {
        /// Where to, as `Open` said.
        token: Token,
        /// [`DICT`](crate::pack::PackType::DICT) or [`RAW`](crate::pack::PackType::RAW).
        packs: Vec<DataPack>,
    },
    /// Whether there is room for messages of new peers; there is at first. While there is not, who would begin a session is
    /// refused, and tries again; sessions that are there go on.
    Admit {
        /// Whether there is.
        admits: bool,
    },
    /// Tell when everything before this was handled → [`MessengerNotice::Marked`]: what is rejected after that was sent after it.
    Mark {
        /// Named in the answer.
        token: Token,
    },
    /// The application has taken all messages of a connection up to this one.
    Taken {
        /// Which connection, as `Received` said.
        on: ConnectionId,
        /// The last one's sequence.
        sequence: u64,
    },
    /// Tell how peers fare → [`MessengerNotice::Peers`].
    Look {
        /// Named in the answer.
        token: Token,
        /// Only the one that is sent to there; `None`: all.
        at: Option<Address>,
    },
    /// End the session with a peer: what was sent to it is acknowledged or reported first.
    Disconnect {
        /// Whose.
        to: Address,
    },
    /// End everything: what was sent is acknowledged, or reported when time is up → [`MessengerNotice::Down`]. A second time
    /// is harmless.
    Shutdown {
        /// How long acknowledgements are waited for.
        drain: Duration,
    },
}

/// What the application is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MessengerNotice {
    /// It listens.
    Listening {
        /// The command's.
        token: Token,
        /// Where, with the port that was chosen.
        address: Endpoint,
    },
    /// The system refuses the address.
    ListenFailed {
        /// The command's.
        token: Token,
        /// Where it should have been.
        address: Endpoint,
        /// Why.
        error: NetError,
    },
    /// A command was the caller's fault, or there is no room; nothing has changed.
    Rejected {
        /// The command's.
        token: Token,
        /// Why.
        error: MessengerError,
        /// The message that was not queued, if it was one.
        pack: Option<DataPack>,
    },
    /// All commands before a `Mark` were handled.
    Marked {
        /// The command's.
        token: Token,
    },
    /// How peers fare, at this moment.
    Peers {
        /// The command's.
        token: Token,
        /// Those that are connected or waited for.
        peers: Vec<PeerReport>,
    },
    /// A message has come. It is acknowledged once the application says that it has taken it.
    Received {
        /// On which connection; [`Connected`](Self::Connected) said whose it is. [`LOCAL`] for our own.
        on: ConnectionId,
        /// The message, with its sequence.
        pack: DataPack,
    },
    /// So many messages of a token's are no longer queued: they were acknowledged, or told as undelivered or rejected.
    Settled {
        /// Whose.
        token: Token,
        /// How many.
        count: u64,
        /// What they count in queues: their bytes on the wire.
        bytes: usize,
    },
    /// A session with a peer has begun.
    Connected {
        /// The connection.
        on: ConnectionId,
        /// Where the peer can be sent to: where it listens, or its socket while it is connected.
        at: Address,
        /// Who it is.
        peer: Box<PeerInfo>,
    },
    /// The session's link broke; it goes on with the next one. For the log.
    Interrupted {
        /// The connection.
        on: ConnectionId,
        /// Why.
        reason: DisconnectReason,
    },
    /// The session has a link again. For the log.
    Resumed {
        /// The connection.
        on: ConnectionId,
    },
    /// The session is over.
    Disconnected {
        /// The connection.
        on: ConnectionId,
        /// Why.
        reason: DisconnectReason,
        /// What was sent and not acknowledged: it may or may not have been delivered.
        undelivered: Vec<DataPack>,
    },
    /// Nobody could be reached at an address; it is tried again. Told once.
    Retrying {
        /// Where.
        to: Address,
        /// What went wrong first.
        reason: DisconnectReason,
    },
    /// Nobody could be reached at an address until time was up: these were not delivered.
    Undelivered {
        /// Where.
        to: Address,
        /// What went wrong last.
        reason: DisconnectReason,
        /// The messages, oldest first.
        packs: Vec<DataPack>,
    },
    /// A newcomer was turned away. For the log.
    TurnedAway {
        /// Where it came from.
        from: Endpoint,
        /// Why.
        reason: DisconnectReason,
    },
    /// Accepting fails, and is tried again. For the log.
    AcceptFailing {
        /// Why.
        error: NetError,
    },
    /// Everything is over; nothing more will be told.
    Down,
}

/// How one peer fares.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerReport {
    /// Where it can be sent to.
    pub at: Address,
    /// Who it is, while it is connected.
    pub peer: Option<Box<PeerInfo>>,
    /// Messages that wait for a connection.
    pub waiting: Volume,
    /// What the session has carried, while there is one.
    pub statistics: Option<Statistics>,
}

/// Why a command was rejected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MessengerError {
    /// The token was never opened.
    NotOpen,
    /// It is shut down.
    Closed,
    /// The listener was closed before it was open.
    Unlistened,
    /// As many peers are connected or waited for as may be.
    TooManyPeers,
    /// The connection layer refuses.
    Connection(ConnectionError),
}

impl fmt::Display for MessengerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotOpen => f.write_str("nobody said where to send this to"),
            Self::Closed => f.write_str("the messenger is shut down"),
            Self::Unlistened => f.write_str("it was told to stop listening before it did"),
            Self::TooManyPeers => f.write_str("there is no room for one more peer"),
            Self::Connection(error) => fmt::Display::fmt(error, f),
        }
    }
}

impl core::error::Error for MessengerError {}
