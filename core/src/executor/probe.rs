//! Proof of death (PROTOCOL A8): the link to an executor has ended, and its address refuses us or is another's.

use crate::backoff::Backoff;
use crate::connection::DisconnectReason;
use crate::net::NetError;
use crate::states::{Key, ProbeState, Row};
use crate::timers::Timers;
use crate::{Address, ConnectionId, InstanceId};
use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use serde::{Deserialize, Serialize};

/// What a probe's end says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Verdict {
    /// Its processes are gone: whoever holds its listening socket closes it only after the last is reaped.
    Dead,
    /// Nothing is proven: ask again.
    Unknown,
}

/// Whether an ended link allows to ask at all: silence alone proves nothing.
pub(super) fn may_prove(reason: &DisconnectReason) -> bool {
    matches!(reason, DisconnectReason::ClosedByPeer | DisconnectReason::Net(NetError::Reset))
}

/// What the end of a probe proves.
pub(super) fn judge(reason: &DisconnectReason) -> Verdict {
    match reason {
        DisconnectReason::Net(NetError::Refused) | DisconnectReason::OtherInstance(_) => Verdict::Dead,
        _ => Verdict::Unknown,
    }
}

#[derive(Clone, Debug, Hash, Serialize, Deserialize)]
struct Probe {
    connection: ConnectionId,
    address: Address,
    backoff: Backoff,
}

/// Probes under way, one an executor.
#[derive(Clone, Debug, Default, Hash, Serialize, Deserialize)]
pub(super) struct Probes {
    rows: BTreeMap<InstanceId, Probe>,
    by_connection: BTreeMap<ConnectionId, InstanceId>,
    /// Next dials.
    pub(super) timers: Timers<InstanceId>,
}

impl Probes {
    pub(super) fn contains(&self, peer: InstanceId) -> bool {
        self.rows.contains_key(&peer)
    }

    pub(super) fn add(
        &mut self,
        peer: InstanceId,
        connection: ConnectionId,
        address: Address,
        backoff: Backoff,
    ) {
        self.by_connection.insert(connection, peer);
        self.rows.insert(peer, Probe { connection, address, backoff });
    }

    /// Whose probe this connection is.
    pub(super) fn owner(&self, connection: ConnectionId) -> Option<InstanceId> {
        self.by_connection.get(&connection).copied()
    }

    pub(super) fn target(&self, peer: InstanceId) -> Option<(ConnectionId, Address)> {
        self.rows.get(&peer).map(|probe| (probe.connection, probe.address.clone()))
    }

    pub(super) fn backoff(&mut self, peer: InstanceId) -> Option<&mut Backoff> {
        self.rows.get_mut(&peer).map(|probe| &mut probe.backoff)
    }

    /// The probe is over; its connection is to be discarded.
    pub(super) fn remove(&mut self, peer: InstanceId) -> Option<ConnectionId> {
        self.timers.clear(&peer);
        let probe = self.rows.remove(&peer)?;
        self.by_connection.remove(&probe.connection);
        Some(probe.connection)
    }

    /// Where each stands.
    pub(super) fn rows(&self) -> impl Iterator<Item = Row> {
        self.rows.iter().map(|(peer, probe)| {
            let rests = self.timers.at(peer).is_some();
            let state = if rests { ProbeState::Resting } else { ProbeState::Asking };
            Row::new(Key::Peer(*peer), state).on(probe.connection)
        })
    }

    /// How many are under way.
    pub(super) fn len(&self) -> usize {
        self.rows.len()
    }

    pub(super) fn peers(&self) -> Vec<InstanceId> {
        self.rows.keys().copied().collect()
    }
}
