//! What a link has yet to send: bounded, one send under way, the rest leaves together.

use crate::config::Limits;
use crate::connection::Volume;
use crate::pack::{DataHeader, DataPack, Encoder, PackType};
use alloc::boxed::Box;
use alloc::vec::Vec;
use bytes::Bytes;
use serde::{Deserialize, Serialize};

/// Bytes in order, and how many of them are not yet taken by the system.
///
/// A pack is encoded when it is queued: a small one leaves nothing behind but its bytes beside its neighbours', a large one
/// is shared and not copied.
#[derive(Clone, Debug, Default, Hash, Serialize, Deserialize)]
pub(super) struct Outbox {
    waiting: Encoder,
    /// How many packs wait.
    packs: u64,
    /// Bytes of the send under way; 0 if there is none.
    under_way: usize,
    /// Whether it has risen to the high-water mark and not fallen below since.
    high: bool,
    /// The answer to pings that goes behind all that waits: one answers them all, with what the newest carried.
    pong: Option<Box<DataPack>>,
    /// The acknowledgement that goes behind all that waits; the newest is worth all before it.
    ack: Option<u64>,
    /// The word about which link counts that goes before it; likewise.
    choice: Option<Box<DataPack>>,
}

impl Outbox {
    /// Queues a pack; false if the outbox would be over its limit.
    pub(super) fn push(&mut self, pack: &DataPack, limits: &Limits) -> bool {
        if self.bytes() + wire_len(pack) > limits.max_outbox {
            return false;
        }
        self.push_own(pack);
        self.high |= self.bytes() >= limits.high_water;
        true
    }

    /// Queues a session's message, with the acknowledgement that goes along.
    pub(super) fn push_message(&mut self, pack: &DataPack, acknowledgement: u64, limits: &Limits) {
        self.encode(pack, acknowledgement);
        self.high |= self.bytes() >= limits.high_water;
    }

    /// Queues one of the link's own packs, limit or not.
    pub(super) fn push_own(&mut self, pack: &DataPack) {
        self.encode(pack, pack.acknowledgement);
    }

    fn encode(&mut self, pack: &DataPack, acknowledgement: u64) {
        // Fails above 4 GiB alone; no peer takes that much, so no such pack is queued.
        let pushed = self.waiting.push_with(pack, acknowledgement);
        self.packs += 1;
        debug_assert!(pushed.is_ok());
    }

    /// Has this answered to the pings so far, in place of an answer that waits: a peer that pings and never reads costs
    /// nothing.
    pub(super) fn set_pong(&mut self, pack: DataPack) {
        self.pong = Some(Box::new(pack));
    }

    /// Has this acknowledged behind all that waits, in place of what was to be acknowledged: a peer that never reads costs
    /// nothing.
    pub(super) fn set_ack(&mut self, taken: u64) {
        self.ack = Some(taken);
    }

    /// Has this said behind all that waits, in place of what was to be said before about which link counts.
    pub(super) fn set_choice(&mut self, pack: DataPack) {
        self.choice = Some(Box::new(pack));
    }

    /// Forgets what waits; what is under way cannot be taken back.
    pub(super) fn drop_waiting(&mut self) {
        (self.waiting, self.packs) = (Encoder::new(), 0);
        (self.ack, self.choice, self.pong) = (None, None, None);
    }

    /// All that waits as the buffers of one send, unless one is under way or nothing waits.
    pub(super) fn take(&mut self) -> Option<(Vec<Bytes>, Volume)> {
        if self.under_way() {
            return None;
        }
        self.close_words();
        if self.waiting.is_empty() {
            return None;
        }
        self.under_way = self.waiting.len();
        let packs = core::mem::take(&mut self.packs);
        Some((self.waiting.take(), Volume { packs, bytes: self.under_way as u64 }))
    }

    /// Puts what is said behind all that waits in its place: nothing goes before it any more.
    pub(super) fn close_words(&mut self) {
        if self.pong.is_none() && self.choice.is_none() && self.ack.is_none() {
            return;
        }
        for word in [self.pong.take(), self.choice.take()].into_iter().flatten() {
            self.push_own(&word);
        }
        if let Some(taken) = self.ack.take() {
            self.encode(&DataPack::new(PackType::ACK, Bytes::new()), taken);
        }
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
        self.waiting.len() + self.under_way
    }

    /// Whether a send is under way.
    pub(super) fn under_way(&self) -> bool {
        self.under_way > 0
    }

    /// Whether nothing waits or is under way.
    pub(super) fn is_empty(&self) -> bool {
        self.bytes() == 0 && self.ack.is_none() && self.choice.is_none() && self.pong.is_none()
    }

    /// Panics if it is over its limit.
    pub(super) fn check_invariants(&self, limits: &Limits) {
        // The link's own packs are few and small.
        assert!(self.bytes() <= limits.max_outbox + 4096, "an outbox over its limit");
    }
}

fn wire_len(pack: &DataPack) -> usize {
    DataHeader::WIRE_LEN + pack.data_len()
}
