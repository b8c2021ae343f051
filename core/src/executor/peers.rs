//! Other executors: the task and file connections to each, dialled by us or accepted from it.
//!
//! The assignee dials the publisher (seed 3.1.2 steps 3 to 10), so what an executor does for a publisher runs over its
//! *dialled* connections, and what a publisher does with an executor over *accepted* ones. Two executors that work for each
//! other have one of each.

use crate::backoff::Backoff;
use crate::states::{FileLane, Key, Row, TaskLane};
use crate::timers::Timers;
use crate::{Address, ConnectionId, InstanceId};
use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use serde::{Deserialize, Serialize};

/// Which of a peer's connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(super) enum Lane {
    Task,
    File,
}

/// Who dialled it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(super) enum Side {
    /// We, working for the peer.
    Dialled,
    /// The peer, working for us.
    Accepted,
}

/// What a timer of a peer is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(super) enum PeerTimer {
    /// Dial this lane again.
    Redial(Lane),
    /// Renew the leases of what we hold for it.
    Renew,
    /// Nothing is left to do for it: close what we dialled.
    Idle,
}

/// A connection that we dial.
#[derive(Clone, Debug, Hash, Serialize, Deserialize)]
pub(super) struct Dialled {
    pub(super) connection: ConnectionId,
    pub(super) up: bool,
    pub(super) dialling: bool,
    /// Dials in a row that failed.
    pub(super) failures: u32,
    pub(super) backoff: Backoff,
}

#[derive(Clone, Debug, Default, Hash, Serialize, Deserialize)]
struct Peer {
    dialled: BTreeMap<Lane, Dialled>,
    accepted: BTreeMap<Lane, ConnectionId>,
}

/// All other executors that we have, or want, a connection with.
#[derive(Clone, Debug, Default, Hash, Serialize, Deserialize)]
pub(super) struct Peers {
    by_instance: BTreeMap<InstanceId, Peer>,
    /// Where the publishers that we have something to do for are to be dialled.
    addresses: BTreeMap<InstanceId, Address>,
    owners: BTreeMap<ConnectionId, (InstanceId, Lane, Side)>,
    pub(super) timers: Timers<(InstanceId, PeerTimer)>,
}

impl Dialled {
    fn task_lane(&self) -> TaskLane {
        match (self.up, self.dialling) {
            (true, _) => TaskLane::Up,
            (false, true) => TaskLane::Dialling,
            (false, false) => TaskLane::Resting,
        }
    }

    fn file_lane(&self) -> FileLane {
        match (self.up, self.dialling) {
            (true, _) => FileLane::Up,
            (false, true) => FileLane::Dialling,
            (false, false) => FileLane::Resting,
        }
    }
}

impl Peers {
    /// Whose connection this is.
    pub(super) fn owner(&self, connection: ConnectionId) -> Option<(InstanceId, Lane, Side)> {
        self.owners.get(&connection).copied()
    }

    /// The peer's connection that is up now.
    pub(super) fn up(&self, peer: InstanceId, lane: Lane, side: Side) -> Option<ConnectionId> {
        let row = self.by_instance.get(&peer)?;
        match side {
            Side::Accepted => row.accepted.get(&lane).copied(),
            Side::Dialled => row.dialled.get(&lane).filter(|dialled| dialled.up).map(|d| d.connection),
        }
    }

    /// Where the peer is to be dialled.
    pub(super) fn address(&self, peer: InstanceId) -> Option<&Address> {
        self.addresses.get(&peer)
    }

    /// Learns, or learns anew, where the peer is to be dialled.
    pub(super) fn learn(&mut self, peer: InstanceId, address: Address) {
        self.addresses.insert(peer, address);
    }

    /// Nothing is left to do for this publisher.
    pub(super) fn forget_address(&mut self, peer: InstanceId) {
        self.addresses.remove(&peer);
    }

    /// The connection that we dial on this lane, if it was made.
    pub(super) fn dialled(&mut self, peer: InstanceId, lane: Lane) -> Option<&mut Dialled> {
        self.by_instance.get_mut(&peer)?.dialled.get_mut(&lane)
    }

    /// Adds the connection that we will dial on this lane.
    pub(super) fn add_dialled(&mut self, peer: InstanceId, lane: Lane, id: ConnectionId, backoff: Backoff) {
        let row = Dialled { connection: id, up: false, dialling: false, failures: 0, backoff };
        self.by_instance.entry(peer).or_default().dialled.insert(lane, row);
        self.owners.insert(id, (peer, lane, Side::Dialled));
    }

    /// A connection was accepted; an older one of the same peer and lane has ended before.
    pub(super) fn add_accepted(&mut self, peer: InstanceId, lane: Lane, id: ConnectionId) {
        self.by_instance.entry(peer).or_default().accepted.insert(lane, id);
        self.owners.insert(id, (peer, lane, Side::Accepted));
    }

    /// An accepted connection is gone.
    pub(super) fn remove_accepted(&mut self, id: ConnectionId) {
        let Some((peer, lane, Side::Accepted)) = self.owners.remove(&id) else { return };
        if let Some(row) = self.by_instance.get_mut(&peer) {
            if row.accepted.get(&lane) == Some(&id) {
                row.accepted.remove(&lane);
            }
            self.drop_if_unused(peer);
        }
    }

    /// Forgets what we dialled to this peer; the caller discards the connections.
    pub(super) fn remove_dialled(&mut self, peer: InstanceId) -> Vec<ConnectionId> {
        for timer in
            [PeerTimer::Redial(Lane::Task), PeerTimer::Redial(Lane::File), PeerTimer::Renew, PeerTimer::Idle]
        {
            self.timers.clear(&(peer, timer));
        }
        let Some(row) = self.by_instance.get_mut(&peer) else { return Vec::new() };
        let ids: Vec<_> = core::mem::take(&mut row.dialled).into_values().map(|d| d.connection).collect();
        for id in &ids {
            self.owners.remove(id);
        }
        self.drop_if_unused(peer);
        ids
    }

    fn drop_if_unused(&mut self, peer: InstanceId) {
        if self.by_instance.get(&peer).is_some_and(|row| row.dialled.is_empty() && row.accepted.is_empty()) {
            self.by_instance.remove(&peer);
        }
    }

    /// Peers with at least one connection or dial.
    pub(super) fn instances(&self) -> Vec<InstanceId> {
        self.by_instance.keys().copied().collect()
    }

    /// Where each lane stands.
    pub(super) fn rows(&self) -> impl Iterator<Item = Row> {
        self.by_instance.iter().flat_map(|(peer, row)| {
            let dialled = row.dialled.iter().map(move |(lane, row)| match lane {
                Lane::Task => Row::new(Key::Dialled(*peer), row.task_lane()).on(row.connection),
                Lane::File => Row::new(Key::Dialled(*peer), row.file_lane()).on(row.connection),
            });
            let accepted = row.accepted.iter().map(move |(lane, id)| match lane {
                Lane::Task => Row::new(Key::Accepted(*peer), TaskLane::Accepted).on(*id),
                Lane::File => Row::new(Key::Accepted(*peer), FileLane::Accepted).on(*id),
            });
            dialled.chain(accepted)
        })
    }

    /// For leak checks; all zero once nothing was to do with anybody for a while.
    pub(super) fn unfinished(&self) -> [(&'static str, usize); 4] {
        [
            ("peers", self.by_instance.len()),
            ("peers' addresses", self.addresses.len()),
            ("peers' connections", self.owners.len()),
            ("peers' timers", self.timers.len()),
        ]
    }

    pub(super) fn check_invariants(&self) {
        for (id, (peer, lane, side)) in &self.owners {
            let row = self.by_instance.get(peer).expect("a connection's peer is known");
            let there = match side {
                Side::Dialled => row.dialled.get(lane).map(|d| d.connection),
                Side::Accepted => row.accepted.get(lane).copied(),
            };
            assert_eq!(there, Some(*id), "both tables name the same connection");
        }
    }
}
