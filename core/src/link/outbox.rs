//! What a link has yet to send: bounded, one send under way, the rest leaves together.

use crate::config::Limits;
use crate::pack::{DataHeader, DataPack, Encoder, PackType};
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
    /// The answer to pings that goes behind the queue: one answers them all, with what the newest carried.
    pong: Option<DataPack>,
    /// The acknowledgement that goes behind the queue; the newest is worth all before it.
    ack: Option<u64>,
    /// The word about which link counts that goes before it; likewise.
    choice: Option<DataPack>,
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

    /// Has this answered to the pings so far, in place of an answer that waits: a peer that pings and never reads costs
    /// nothing.
    pub(super) fn set_pong(&mut self, pack: DataPack) {
        self.waiting += wire_len(&pack);
        if let Some(old) = self.pong.replace(pack) {
            self.waiting -= wire_len(&old);
        }
    }

    /// Has this acknowledged behind all that waits, in place of what was to be acknowledged: a peer that never reads costs
    /// nothing.
    pub(super) fn set_ack(&mut self, taken: u64) {
        if self.ack.replace(taken).is_none() {
            self.waiting += DataHeader::WIRE_LEN;
        }
    }

    /// Has this said behind all that waits, in place of what was to be said before about which link counts.
    pub(super) fn set_choice(&mut self, pack: DataPack) {
        self.waiting += wire_len(&pack);
        if let Some(old) = self.choice.replace(pack) {
            self.waiting -= wire_len(&old);
        }
    }

    /// Forgets what waits; what is under way cannot be taken back.
    pub(super) fn drop_waiting(&mut self) {
        self.queue.clear();
        (self.ack, self.choice, self.pong) = (None, None, None);
        self.waiting = 0;
    }

    /// All that waits as the buffers of one send, unless one is under way or nothing waits.
    pub(super) fn take(&mut self) -> Option<Vec<Bytes>> {
        if self.under_way() || self.waiting == 0 {
            return None;
        }
        let mut encoder = Encoder::new();
        let ack = self.ack.take().map(|taken| {
            let mut pack = DataPack::new(PackType::ACK, Bytes::new());
            pack.acknowledgement = taken;
            pack
        });
        for pack in self.queue.drain(..).chain(self.pong.take()).chain(self.choice.take()).chain(ack) {
            // Fails above 4 GiB alone; no peer takes that much, so no such pack was queued.
            let pushed = encoder.push(&pack);
            debug_assert!(pushed.is_ok());
        }
        self.queue.shrink_to(16);
        self.waiting = 0;
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
        let words = self.choice.iter().chain(&self.pong).map(wire_len).sum::<usize>();
        let own = self.ack.map_or(0, |_| DataHeader::WIRE_LEN) + words;
        assert_eq!(self.waiting, self.queue.iter().map(wire_len).sum::<usize>() + own, "bytes of an outbox");
        // The link's own packs are few and small.
        assert!(self.bytes() <= limits.max_outbox + 4096, "an outbox over its limit");
    }
}

fn wire_len(pack: &DataPack) -> usize {
    DataHeader::WIRE_LEN + pack.data_len()
}
