//! What the manager keeps of each link, connection and listener.

use super::diallers::DiallerKey;
use super::types::{ConnectionState, DisconnectReason, KindId, PeerInfo};
use crate::link::Link;
use crate::machine::Actions;
use crate::net::NetAction;
use crate::pack::DataPack;
use crate::{Address, ConnectionId, InstanceId, LinkId, ListenerId, QueryId};
use alloc::collections::VecDeque;
use core::net::SocketAddr;

/// The newest of each id, and the epoch of the newest dial.
#[derive(Debug, Default)]
pub(super) struct Last {
    pub(super) connection: u64,
    pub(super) link: u64,
    pub(super) listener: u64,
    pub(super) query: u64,
    pub(super) epoch: u64,
}

/// What a deadline belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Due {
    /// A link's own.
    Link(LinkId),
    /// Accepting is tried again.
    Accept(ListenerId),
    /// A name is not resolved in time.
    Lookup(QueryId),
}

/// A link and whose it is.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) link: Link,
    pub(super) owner: Owner,
}

/// Whose a link is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Owner {
    /// A connection's.
    Connection(ConnectionId),
    /// It came through this listening connection and is shaking hands.
    Newcomer(ConnectionId),
    /// Nobody's: it only ends.
    Nobody,
}

/// One connection.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) kind: KindId,
    pub(super) origin: Origin,
    pub(super) target: Option<Address>,
    /// Sent first whenever it is connected.
    pub(super) first: Option<DataPack>,
    pub(super) state: State,
}

/// How a connection came to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    /// We made it: it outlives its links.
    Created,
    /// A peer dialled it: it ends with its link.
    Accepted(DiallerKey),
}

/// Where a connection stands, and what belongs to that.
#[derive(Debug)]
pub(super) enum State {
    Idle,
    Resolving { query: QueryId, expect: Option<InstanceId> },
    Dialling { link: LinkId, dial: Dial },
    Connected { link: LinkId, peer: PeerInfo, max_data: u32 },
    Listening { listener: ListenerId },
    Closing { link: LinkId },
    Unlistening { listener: ListenerId },
}

/// A connect under way: one address after the other.
#[derive(Debug)]
pub(super) struct Dial {
    pub(super) expect: Option<InstanceId>,
    /// Addresses that were not tried yet.
    pub(super) rest: VecDeque<SocketAddr>,
    /// What the first address that answered at all had to say; tells more than that another one did not answer.
    pub(super) answered: Option<DisconnectReason>,
}

/// One listening socket.
#[derive(Debug)]
pub(super) struct Listener {
    /// Its connection, until that is discarded.
    pub(super) connection: Option<ConnectionId>,
    /// What was asked for, then where it is.
    pub(super) address: SocketAddr,
    pub(super) phase: ListenerPhase,
    /// The accept that is armed.
    pub(super) accept: Option<LinkId>,
    /// Whether accepting fails, and was announced to.
    pub(super) failing: bool,
}

/// Where a listener stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ListenerPhase {
    /// The system has yet to answer.
    Opening,
    /// As `Opening`, and it is to be closed as soon as it is open.
    Unwanted,
    Open,
    /// The system was asked to close it.
    Closing,
}

impl Connection {
    pub(super) fn state(&self) -> ConnectionState {
        match self.state {
            State::Idle => ConnectionState::Idle,
            State::Resolving { .. } | State::Dialling { .. } => ConnectionState::Connecting,
            State::Connected { .. } => ConnectionState::Connected,
            State::Listening { .. } => ConnectionState::Listening,
            State::Closing { .. } | State::Unlistening { .. } => ConnectionState::Closing,
        }
    }

    /// The link that is this connection's.
    pub(super) fn link(&self) -> Option<LinkId> {
        match self.state {
            State::Dialling { link, .. } | State::Connected { link, .. } | State::Closing { link } => {
                Some(link)
            }
            State::Idle | State::Resolving { .. } | State::Listening { .. } | State::Unlistening { .. } => {
                None
            }
        }
    }
}

/// A request that belongs to nobody any more still ends.
impl Listener {
    /// Asks the system to close it, once it is open.
    pub(super) fn shut<N>(&mut self, id: ListenerId, actions: &mut Actions<N>) {
        match self.phase {
            ListenerPhase::Opening => self.phase = ListenerPhase::Unwanted,
            ListenerPhase::Open => {
                self.phase = ListenerPhase::Closing;
                actions.net(NetAction::Unlisten { listener: id });
            }
            ListenerPhase::Unwanted | ListenerPhase::Closing => {}
        }
    }
}
