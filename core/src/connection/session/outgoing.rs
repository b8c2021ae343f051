//! What a session has yet to have acknowledged: numbered, bounded, sent again on the next link.

use crate::pack::{DataHeader, DataPack};
use alloc::collections::VecDeque;
use alloc::vec::Vec;
use serde::{Deserialize, Serialize};

/// Packs from the first that is not acknowledged to the newest.
///
/// Sequences count from 1. `acknowledged <= sent <= acknowledged + queue`, and what was sent and not acknowledged stays
/// within the peer's window, but for the one pack that crosses it.
#[derive(Clone, Debug, Hash, Serialize, Deserialize)]
pub(in crate::connection) struct Outgoing {
    queue: VecDeque<DataPack>,
    /// Wire bytes of the queue.
    bytes: usize,
    /// The last sequence that the peer's application has taken.
    acknowledged: u64,
    /// The last sequence that was given to any link.
    sent: u64,
    /// Wire bytes of what was sent and not acknowledged.
    in_flight: usize,
    /// Wire bytes that the peer keeps for its application.
    window: usize,
    /// Whether the queue has risen to the high-water mark, or refused a pack, and no room was told of since.
    high: bool,
}

/// The peer acknowledges what was never sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(in crate::connection) struct NeverSent;

impl Outgoing {
    pub(super) fn new(window: u32) -> Self {
        let window = usize::try_from(window).unwrap_or(usize::MAX);
        Self { queue: VecDeque::new(), bytes: 0, acknowledged: 0, sent: 0, in_flight: 0, window, high: false }
    }

    /// Whether a pack may be queued: the queue holds `limit` bytes, or one pack that is larger than that alone. Whoever is
    /// refused is told of room, also where a large pack does not fit below the mark.
    pub(in crate::connection) fn has_room(&mut self, pack: &DataPack, limit: usize) -> bool {
        let fits = self.queue.is_empty() || self.bytes + cost(pack) <= limit;
        self.high |= !fits;
        fits
    }

    /// The sequence of the newest pack; 0 before the first.
    pub(in crate::connection) fn newest(&self) -> u64 {
        self.acknowledged + self.queue.len() as u64
    }

    /// Numbers a pack and keeps it.
    pub(in crate::connection) fn push(&mut self, mut pack: DataPack, high: usize) -> u64 {
        let sequence = self.newest() + 1;
        pack.sequence = sequence;
        self.bytes += cost(&pack);
        self.high |= self.bytes >= high;
        self.queue.push_back(pack);
        sequence
    }

    /// The pack that a link has to send next, whose next sequence would be `cursor`: a part of the unacknowledged tail, or a
    /// new one while the window is open. Moves the cursor.
    pub(in crate::connection) fn next(&mut self, cursor: &mut u64) -> Option<&DataPack> {
        let sequence = (*cursor).max(self.acknowledged + 1);
        let index = usize::try_from(sequence - self.acknowledged - 1).ok()?;
        if sequence > self.sent && self.in_flight >= self.window {
            return None;
        }
        let pack = self.queue.get(index)?;
        if sequence > self.sent {
            self.sent = sequence;
            self.in_flight += cost(pack);
        }
        *cursor = sequence + 1;
        Some(pack)
    }

    /// Whether a link whose next sequence would be `cursor` sends again what another has carried.
    pub(in crate::connection) fn repeats(&self, cursor: u64) -> bool {
        cursor.max(self.acknowledged + 1) <= self.sent
    }

    /// Forgets everything up to `sequence`; answers whether anything was news.
    pub(in crate::connection) fn acknowledge(&mut self, sequence: u64) -> Result<bool, NeverSent> {
        if sequence > self.sent {
            return Err(NeverSent);
        }
        let news = sequence > self.acknowledged;
        while self.acknowledged < sequence {
            if let Some(pack) = self.queue.pop_front() {
                let cost = cost(&pack);
                self.bytes -= cost;
                self.in_flight -= cost;
            }
            self.acknowledged += 1;
        }
        if self.queue.is_empty() {
            // Memory goes back once all of it is acknowledged.
            self.queue.shrink_to(16);
        }
        Ok(news)
    }

    /// Whether there is room to tell of: the queue has just fallen below its high-water mark, or has become shorter since it
    /// refused a pack.
    pub(in crate::connection) fn fell_below(&mut self, high: usize) -> bool {
        let fell = self.high && self.bytes < high;
        self.high &= !fell;
        fell
    }

    /// What was not acknowledged, oldest first; the queue is empty then.
    pub(in crate::connection) fn take(&mut self) -> Vec<DataPack> {
        (self.bytes, self.in_flight) = (0, 0);
        core::mem::take(&mut self.queue).into()
    }

    pub(in crate::connection) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// Packs and wire bytes that are not acknowledged.
    pub(in crate::connection) fn len(&self) -> (usize, usize) {
        (self.queue.len(), self.bytes)
    }

    pub(in crate::connection) fn acknowledged(&self) -> u64 {
        self.acknowledged
    }

    pub(in crate::connection) fn sent(&self) -> u64 {
        self.sent
    }

    /// Panics if the counts do not fit the queue.
    pub(super) fn check_invariants(&self) {
        assert!(self.sent >= self.acknowledged, "acknowledged and never sent");
        let (mut bytes, mut under_way, mut last) = (0, 0, 0);
        for (pack, number) in self.queue.iter().zip(self.acknowledged + 1..) {
            assert_eq!(pack.sequence, number, "numbers");
            bytes += cost(pack);
            if number <= self.sent {
                (under_way, last) = (bytes, cost(pack));
            }
        }
        assert!(self.sent <= self.newest(), "sent and never queued");
        assert_eq!(self.bytes, bytes, "bytes of a session's queue");
        assert_eq!(self.in_flight, under_way, "bytes under way");
        assert!(under_way < self.window + last.max(1), "more under way than the peer keeps");
    }
}

/// What a pack counts in queues and windows: its bytes on the wire.
pub(in crate::connection) fn cost(pack: &DataPack) -> usize {
    DataHeader::WIRE_LEN + pack.data_len()
}
