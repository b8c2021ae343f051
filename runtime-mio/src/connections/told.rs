//! What the machine has told and no handler has heard, and what is known of those it is about.

use super::Message;
use std::collections::{BTreeSet, HashMap, VecDeque};
use xxnet_core::ConnectionId;
use xxnet_core::connection::{ConnectionEvent, KindId, PeerInfo};
use xxnet_core::net::{Endpoint, NetError};

/// Events in their order.
#[derive(Debug, Default)]
pub(super) struct Told {
    events: VecDeque<(u64, ConnectionEvent)>,
    known: HashMap<ConnectionId, Known>,
    /// The newest session or link of any connection.
    epoch: u64,
    /// The answer to the one `listen` that is under way.
    listened: Option<Result<Endpoint, (Endpoint, NetError)>>,
}

/// A connection that is or was up, until its end was heard.
///
/// Events are heard later than they happen: the machine may have forgotten an accepted connection, or have a newer session
/// under the same id, while handlers still hear of the old one. The epoch tells the two apart.
#[derive(Debug)]
struct Known {
    epoch: u64,
    kind: KindId,
    peer: PeerInfo,
    /// The last sequence that was taken, and those before it that are held.
    taken: u64,
    held: BTreeSet<u64>,
}

impl Told {
    pub(super) fn put(&mut self, event: ConnectionEvent) {
        match &event {
            ConnectionEvent::Connected { id, kind, peer }
            | ConnectionEvent::Accepted { id, kind, peer, .. } => {
                self.epoch += 1;
                let (epoch, kind, peer) = (self.epoch, *kind, PeerInfo::clone(peer));
                self.known.insert(*id, Known { epoch, kind, peer, taken: 0, held: BTreeSet::new() });
            }
            ConnectionEvent::Listening { address, .. } => {
                self.listened = Some(Ok(address.clone()));
                return;
            }
            ConnectionEvent::ListenFailed { address, error, .. } => {
                self.listened = Some(Err((address.clone(), *error)));
                return;
            }
            _ => {}
        }
        let epoch = about(&event).and_then(|id| self.known.get(&id)).map_or(0, |known| known.epoch);
        self.events.push_back((epoch, event));
    }

    pub(super) fn next(&mut self) -> Option<(u64, ConnectionEvent)> {
        self.events.pop_front()
    }

    pub(super) fn len(&self) -> usize {
        self.events.len()
    }

    pub(super) fn listened(&mut self) -> Option<Result<Endpoint, (Endpoint, NetError)>> {
        self.listened.take()
    }

    /// Nothing more is told of this connection.
    pub(super) fn discard(&mut self, id: ConnectionId) {
        self.known.remove(&id);
        self.events.retain(|(_, event)| about(event) != Some(id));
    }

    /// The end of this session or link was heard.
    pub(super) fn over(&mut self, id: ConnectionId, epoch: u64) {
        if self.known.get(&id).is_some_and(|known| known.epoch == epoch) {
            self.known.remove(&id);
        }
    }

    pub(super) fn kind(&self, id: ConnectionId) -> Option<KindId> {
        self.known.get(&id).map(|known| known.kind)
    }

    pub(super) fn peer(&self, id: ConnectionId) -> Option<&PeerInfo> {
        self.known.get(&id).map(|known| &known.peer)
    }

    /// A message is not to count as taken yet.
    pub(super) fn hold(&mut self, mark: Mark) {
        if let Some(known) = self.current(mark) {
            known.held.insert(mark.sequence);
        }
    }

    /// A message is taken: up to which sequence the peer may be told so. What is held holds back all that is behind it.
    pub(super) fn take(&mut self, mark: Mark) -> Option<u64> {
        let known = self.current(mark)?;
        known.held.remove(&mark.sequence);
        known.taken = known.taken.max(mark.sequence);
        Some(known.held.first().map_or(known.taken, |first| known.taken.min(first - 1)))
    }

    /// What is known of a message's session, if that is still the connection's. A plain kind's has nothing to be told.
    fn current(&mut self, mark: Mark) -> Option<&mut Known> {
        self.known.get_mut(&mark.on).filter(|known| known.epoch == mark.epoch && mark.sequence > 0)
    }
}

/// One received message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Mark {
    pub(super) on: ConnectionId,
    epoch: u64,
    sequence: u64,
}

impl Mark {
    pub(super) fn of(message: &Message) -> Self {
        Self { on: message.on, epoch: message.epoch, sequence: message.pack.sequence }
    }
}

/// The connection that an event is about.
fn about(event: &ConnectionEvent) -> Option<ConnectionId> {
    match event {
        ConnectionEvent::Listening { id, .. }
        | ConnectionEvent::ListenFailed { id, .. }
        | ConnectionEvent::Connected { id, .. }
        | ConnectionEvent::Accepted { id, .. }
        | ConnectionEvent::Received { id, .. }
        | ConnectionEvent::Writable { id }
        | ConnectionEvent::Pong { id, .. }
        | ConnectionEvent::Interrupted { id, .. }
        | ConnectionEvent::Resumed { id }
        | ConnectionEvent::Acknowledged { id, .. }
        | ConnectionEvent::Undelivered { id, .. }
        | ConnectionEvent::Disconnected { id, .. } => Some(*id),
        ConnectionEvent::AcceptFailing { listener, .. } => Some(*listener),
        ConnectionEvent::TurnedAway { .. } => None,
    }
}
