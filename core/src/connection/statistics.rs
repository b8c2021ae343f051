//! What a connection has carried, and how it fares.

use super::manager::ConnectionManager;
use super::tables::State;
use crate::ConnectionId;
use core::ops::AddAssign;
use core::time::Duration;
use serde::{Deserialize, Serialize};

/// Packs and their bytes on the wire, the protocol's own included.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Volume {
    /// How many.
    pub packs: u64,
    /// Their bytes.
    pub bytes: u64,
}

impl AddAssign for Volume {
    fn add_assign(&mut self, more: Self) {
        self.packs += more.packs;
        self.bytes += more.bytes;
    }
}

/// What went both ways.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Traffic {
    /// Given to the network.
    pub sent: Volume,
    /// Come from it.
    pub received: Volume,
}

impl core::hash::Hash for Traffic {
    /// Nothing: no machine ever looks at what was counted, so that states that differ in nothing else are the same.
    fn hash<H: core::hash::Hasher>(&self, _hasher: &mut H) {}
}

impl AddAssign for Traffic {
    fn add_assign(&mut self, more: Self) {
        self.sent += more.sent;
        self.received += more.received;
    }
}

/// What a connection has carried: a plain one on its present link, one with a session on all links of the session.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Statistics {
    /// What went both ways.
    pub traffic: Traffic,
    /// Messages that wait to be acknowledged; on a plain kind no packs are counted, and the bytes are those that the system has
    /// not taken.
    pub queued: Volume,
    /// Messages that have come and were not taken; sessions alone know.
    pub untaken: Volume,
    /// The newest measurement: of the handshake, or of a ping of ours or the link's own, of which there is at least one a
    /// heartbeat while little is said.
    pub round_trip: Option<Duration>,
    /// Messages that were sent once more, because a link broke.
    pub resent: u64,
    /// How often the session was left without a link.
    pub breaks: u64,
    /// Links that are established at this moment.
    pub links: usize,
}

impl ConnectionManager {
    /// What a connection has carried; `None` if there is none of that id.
    pub fn statistics(&self, id: ConnectionId) -> Option<Statistics> {
        let connection = self.connections.get(&id)?;
        let mut all = Statistics::default();
        for link in connection.links().filter_map(|link| self.links.get(&link)) {
            all.traffic += link.link.traffic();
            all.queued.bytes += link.link.unsent() as u64;
            all.round_trip = link.link.round_trip().or(all.round_trip);
        }
        match &connection.state {
            State::Connected { .. } => all.links = 1,
            State::Session(session) => {
                all.traffic += session.past;
                let ((out, out_bytes), (come, come_bytes)) = (session.out.len(), session.incoming.untaken());
                all.queued = Volume { packs: out as u64, bytes: out_bytes as u64 };
                all.untaken = Volume { packs: come as u64, bytes: come_bytes as u64 };
                let on = session.sends_on().and_then(|on| self.links.get(&on));
                let now = on.and_then(|entry| entry.link.round_trip());
                all.round_trip = now.or(all.round_trip).or(session.round_trip);
                (all.resent, all.breaks, all.links) = (session.resent, session.breaks, session.strands.len());
            }
            State::Idle
            | State::Connecting
            | State::Listening { .. }
            | State::Closing { .. }
            | State::Unlistening { .. } => {}
        }
        Some(all)
    }
}
