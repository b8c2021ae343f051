//! What the manager keeps of each link, connection and listener.

use super::diallers::DiallerKey;
use super::session::Session;
use super::types::{ConnectionState, DisconnectReason, KindId, PeerInfo};
use crate::link::Link;
use crate::machine::Actions;
use crate::net::{Endpoint, NetAction};
use crate::pack::DataPack;
use crate::{Address, ConnectionId, InstanceId, Instant, LinkId, ListenerId, QueryId};
use alloc::boxed::Box;
use alloc::collections::VecDeque;
use serde::{Deserialize, Serialize};

/// The newest of each id, and the epoch of the newest dial.
#[derive(Clone, Debug, Default, Hash, Serialize, Deserialize)]
pub(super) struct Last {
    pub(super) connection: u64,
    pub(super) link: u64,
    pub(super) listener: u64,
    pub(super) query: u64,
    pub(super) epoch: u64,
}

/// What a deadline belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(super) enum Due {
    /// A link's own.
    Link(LinkId),
    /// Accepting is tried again.
    Accept(ListenerId),
    /// A name is not resolved in time.
    Lookup(QueryId),
    /// A session without a link dials again.
    Redial(ConnectionId),
    /// A session without a link, or one that is being closed, is over.
    End(ConnectionId),
}

/// A link and whose it is.
#[derive(Clone, Debug, Hash, Serialize, Deserialize)]
pub(super) struct Entry {
    pub(super) link: Link,
    pub(super) owner: Owner,
    /// Its deadline as it stands among the timers, so that nobody need look there.
    pub(super) set: Option<Instant>,
}

/// Whose a link is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(super) enum Owner {
    /// A connection's.
    Connection(ConnectionId),
    /// It came through this listening connection and is shaking hands.
    Newcomer(ConnectionId),
    /// It came through this listening connection and only wants to know who is there ([`KindId::PROBE`]).
    Prober(ConnectionId),
    /// Nobody's: it only ends.
    Nobody,
}

/// One connection.
#[derive(Clone, Debug, Hash, Serialize, Deserialize)]
pub(super) struct Connection {
    pub(super) kind: KindId,
    pub(super) origin: Origin,
    pub(super) target: Option<Address>,
    /// Sent first whenever it is connected.
    pub(super) first: Option<Box<DataPack>>,
    /// The connect under way: of a connecting one, or of a session that has lost its link.
    pub(super) dial: Option<Dialing>,
    pub(super) state: State,
}

/// How a connection came to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(super) enum Origin {
    /// We made it: it outlives its links.
    Created,
    /// A peer dialled it: it ends with its link.
    Accepted(DiallerKey),
    /// A peer dialled it: it ends with its session.
    AcceptedSession,
}

/// Where a connection stands, and what belongs to that.
#[derive(Clone, Debug, Hash, Serialize, Deserialize)]
pub(super) enum State {
    Idle,
    /// The first link is being made.
    Connecting,
    /// On a plain kind: the link is up.
    Connected {
        link: LinkId,
        peer: PeerInfo,
        max_data: u32,
    },
    /// On a session kind: it has begun; there may be no link, one, or several.
    Session(Box<Session>),
    Listening {
        listener: ListenerId,
    },
    /// The last words are on their way.
    Closing {
        link: LinkId,
    },
    Unlistening {
        listener: ListenerId,
    },
}

/// A connect under way.
#[derive(Clone, Debug, Hash, Serialize, Deserialize)]
pub(super) enum Dialing {
    Resolving { query: QueryId, expect: Option<InstanceId> },
    Dialling { link: LinkId, dial: Dial },
}

/// One address after the other.
#[derive(Clone, Debug, Hash, Serialize, Deserialize)]
pub(super) struct Dial {
    pub(super) expect: Option<InstanceId>,
    /// Addresses that were not tried yet.
    pub(super) rest: VecDeque<Endpoint>,
    /// What the first address that answered at all had to say; tells more than that another one did not answer.
    pub(super) answered: Option<DisconnectReason>,
}

/// One listening socket.
#[derive(Clone, Debug, Hash, Serialize, Deserialize)]
pub(super) struct Listener {
    /// Its connection, until that is discarded.
    pub(super) connection: Option<ConnectionId>,
    /// What was asked for, then where it is.
    pub(super) address: Endpoint,
    pub(super) phase: ListenerPhase,
    /// The accept that is armed.
    pub(super) accept: Option<LinkId>,
    /// Whether accepting fails, and was announced to.
    pub(super) failing: bool,
}

/// Where a listener stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
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
    /// A connection with nothing under way.
    pub(super) fn new(kind: KindId, origin: Origin, state: State) -> Self {
        Self { kind, origin, target: None, first: None, dial: None, state }
    }

    pub(super) fn state(&self) -> ConnectionState {
        match &self.state {
            State::Idle => ConnectionState::Idle,
            State::Connecting => ConnectionState::Connecting,
            State::Connected { .. } => ConnectionState::Connected,
            State::Session(session) if session.closing => ConnectionState::Closing,
            State::Session(_) => ConnectionState::Connected,
            State::Listening { .. } => ConnectionState::Listening,
            State::Closing { .. } | State::Unlistening { .. } => ConnectionState::Closing,
        }
    }

    pub(super) fn session(&self) -> Option<&Session> {
        if let State::Session(session) = &self.state { Some(session) } else { None }
    }

    pub(super) fn session_mut(&mut self) -> Option<&mut Session> {
        if let State::Session(session) = &mut self.state { Some(session) } else { None }
    }

    /// The link that is being dialled.
    pub(super) fn dialled(&self) -> Option<LinkId> {
        match &self.dial {
            Some(Dialing::Dialling { link, .. }) => Some(*link),
            Some(Dialing::Resolving { .. }) | None => None,
        }
    }

    /// Every link that is this connection's.
    pub(super) fn links(&self) -> impl Iterator<Item = LinkId> {
        let (one, strands) = match &self.state {
            State::Connected { link, .. } | State::Closing { link } => (Some(*link), &[][..]),
            State::Session(session) => (None, &session.strands[..]),
            State::Idle | State::Connecting | State::Listening { .. } | State::Unlistening { .. } => {
                (None, &[][..])
            }
        };
        self.dialled().into_iter().chain(one).chain(strands.iter().map(|strand| strand.link))
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
