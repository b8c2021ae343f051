//! What a session has received, and how far the application has taken it.

use super::outgoing::cost;
use crate::pack::DataPack;
use alloc::collections::VecDeque;
use serde::{Deserialize, Serialize};

/// Counts of one direction. `told <= taken <= received`.
#[derive(Clone, Debug, Hash, Serialize, Deserialize)]
pub(in crate::connection) struct Incoming {
    received: u64,
    taken: u64,
    /// The last acknowledgement that went out.
    told: u64,
    /// An acknowledgement is owed although nothing was taken since the last: something came twice.
    again: bool,
    /// Wire bytes of each pack that was received and not taken.
    costs: VecDeque<u32>,
    untaken: usize,
    /// Wire bytes that were taken and not acknowledged.
    untold: usize,
    /// What we promised to keep.
    window: usize,
}

/// What a pack of the peer's is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(in crate::connection) enum Arrival {
    /// The next one.
    News,
    /// It came before; to be acknowledged again.
    Again,
    /// A gap, or more than we promised to keep: the peer's fault.
    Wrong(&'static str),
}

impl Incoming {
    pub(super) fn new(window: u32) -> Self {
        Self {
            received: 0,
            taken: 0,
            told: 0,
            again: false,
            costs: VecDeque::new(),
            untaken: 0,
            untold: 0,
            window: usize::try_from(window).unwrap_or(usize::MAX),
        }
    }

    /// Judges a pack by its sequence (PROTOCOL B 10).
    pub(in crate::connection) fn arrive(&mut self, pack: &DataPack) -> Arrival {
        if pack.sequence <= self.received {
            if pack.sequence == 0 {
                return Arrival::Wrong("a message without a sequence");
            }
            self.again = true;
            return Arrival::Again;
        }
        if pack.sequence > self.received + 1 {
            return Arrival::Wrong("a gap in the sequence");
        }
        if self.untaken >= self.window {
            return Arrival::Wrong("more than the window");
        }
        let cost = cost(pack);
        self.received += 1;
        self.untaken += cost;
        self.costs.push_back(u32::try_from(cost).unwrap_or(u32::MAX));
        Arrival::News
    }

    /// The application has taken everything up to `sequence`. What it cannot have taken is left out.
    pub(in crate::connection) fn take(&mut self, sequence: u64) {
        while self.taken < sequence.min(self.received) {
            let cost = self.costs.pop_front().unwrap_or(0) as usize;
            self.untaken -= cost;
            self.untold += cost;
            self.taken += 1;
        }
        if self.costs.is_empty() {
            self.costs.shrink_to(64);
        }
    }

    /// The last acknowledgement is to be said again.
    pub(in crate::connection) fn repeat(&mut self) {
        self.again |= self.taken > 0;
    }

    /// Whether an acknowledgement is owed.
    pub(in crate::connection) fn owes(&self) -> bool {
        self.taken > self.told || self.again
    }

    /// Whether it must not wait: the peer may soon have nothing more that it may send.
    pub(in crate::connection) fn presses(&self) -> bool {
        self.untold >= self.window / 4 && self.untold > 0
    }

    /// The acknowledgement to send with the next pack.
    pub(in crate::connection) fn tell(&mut self) -> u64 {
        (self.told, self.again, self.untold) = (self.taken, false, 0);
        self.taken
    }

    pub(in crate::connection) fn received(&self) -> u64 {
        self.received
    }

    /// Packs and wire bytes that were received and not taken.
    pub(in crate::connection) fn untaken(&self) -> (usize, usize) {
        (self.costs.len(), self.untaken)
    }

    /// Panics if the counts contradict each other.
    pub(super) fn check_invariants(&self, max_pack: usize) {
        assert!(self.told <= self.taken && self.taken <= self.received, "acknowledged before it was taken");
        assert_eq!(self.costs.len() as u64, self.received - self.taken, "costs of what waits");
        assert_eq!(self.untaken, self.costs.iter().map(|cost| *cost as usize).sum::<usize>(), "bytes of it");
        assert!(self.untaken < self.window + max_pack, "more is kept than was promised");
    }
}
