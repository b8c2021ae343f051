//! What a link has yet to send: bounded, one send under way, the rest leaves together.

use crate::config::Limits;
use crate::pack::{DataHeader, DataPack, Encoder};
use alloc::collections::VecDeque;
use alloc::vec::Vec;
use bytes::Bytes;

/// Packs in order, and how many bytes of them are not yet taken by the system.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    queue: VecDeque<DataPack>,
    /// Bytes of the queue.
    waiting: usize,
    /// Bytes of the send under way; 0 if there is none.
    under_way: usize,
    /// Whether it has risen to the high-water mark and not fallen below since.
    high: bool,
    /// Whether the queue holds an answer to a ping: one answers them all.
    pong: bool,
}

impl Outbox {
    /// Queues a pack; false if the outbox would be over its limit.
    pub(super) fn push(&mut self, pack: DataPack, limits: &Limits) -> bool {
        if self.bytes() + wire_len(&pack) > limits.max_outbox {
            return false;
        }
        self.push_own(pack);
        self.high |= self.bytes() >= limits.high_water;
        true
    }

    /// Queues one of the link's own packs, limit or not.
    pub(super) fn push_own(&mut self, pack: DataPack) {
        self.waiting += wire_len(&pack);
        self.queue.push_back(pack);
    }

    /// Queues the answer to a ping, unless one waits already: a peer that pings and never reads costs nothing.
    pub(super) fn push_pong(&mut self, pack: DataPack) -> bool {
        let first = !core::mem::replace(&mut self.pong, true);
        if first {
            self.push_own(pack);
        }
        first
    }

    /// Forgets what waits; what is under way cannot be taken back.
    pub(super) fn drop_waiting(&mut self) {
        self.queue.clear();
        self.waiting = 0;
    }

    /// All that waits as the buffers of one send, unless one is under way or nothing waits.
    pub(super) fn take(&mut self) -> Option<Vec<Bytes>> {
        if self.under_way() || self.queue.is_empty() {
            return None;
        }
        let mut encoder = Encoder::new();
        for pack in self.queue.drain(..) {
            // Fails above 4 GiB alone; no peer takes that much, so no such pack was queued.
            let pushed = encoder.push(&pack);
            debug_assert!(pushed.is_ok());
        }
        self.queue.shrink_to(16);
        self.waiting = 0;
        self.pong = false;
        self.under_way = encoder.len();
        Some(encoder.take())
    }

    /// The send under way is complete; false if there was none.
    pub(super) fn sent(&mut self) -> bool {
        core::mem::take(&mut self.under_way) > 0
    }

    /// Whether it has just fallen below its high-water mark.
    pub(super) fn fell_below(&mut self, limits: &Limits) -> bool {
        let fell = self.high && self.bytes() < limits.high_water;
        self.high &= !fell;
        fell
    }

    /// Bytes that the system has not taken yet.
    pub(super) fn bytes(&self) -> usize {
        self.waiting + self.under_way
    }

    /// Whether a send is under way.
    pub(super) fn under_way(&self) -> bool {
        self.under_way > 0
    }

    /// Whether nothing waits or is under way.
    pub(super) fn is_empty(&self) -> bool {
        self.bytes() == 0
    }

    /// Panics if the counts do not fit the queue.
    pub(super) fn check_invariants(&self, limits: &Limits) {
        assert_eq!(self.waiting, self.queue.iter().map(wire_len).sum::<usize>(), "bytes of an outbox");
        // The link's own packs are few and small.
        assert!(self.bytes() <= limits.max_outbox + 4096, "an outbox over its limit");
    }
}

fn wire_len(pack: &DataPack) -> usize {
    DataHeader::WIRE_LEN + pack.data_len()
}
