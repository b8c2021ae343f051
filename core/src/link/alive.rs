//! Signs of life, and what must hold of a link that lives.

use super::table::Phase;
use super::{Io, Link};
use crate::config::Limits;
use crate::connection::DisconnectReason;
use crate::pack::{DataPack, PackType};
use crate::time::Instant;
use bytes::Bytes;
use core::time::Duration;

/// Bytes of data that a ping may carry, and its answer repeats.
pub(super) const PING_DATA: usize = 8;

impl Link {
    /// Asks the peer for a sign of life, to tell how long that takes; nothing new while the last one is unanswered.
    pub(crate) fn ping<N>(&mut self, io: &mut Io<'_, N>) {
        if !matches!(self.pinged, Some((_, true))) {
            self.pinged = Some((io.now, true));
            self.pings += 1;
            self.say_ping(io);
        }
    }

    /// How long the answer to our newest ping took, if this is it and somebody wants to know.
    pub(super) fn ponged(&mut self, pong: &DataPack, now: Instant) -> Option<Duration> {
        let (pinged, told) = self.pinged.take_if(|_| pong.head[..] == self.pings.to_le_bytes())?;
        self.round_trip = Some(now.since(pinged));
        self.round_trip.filter(|_| told)
    }

    /// A ping for a sign of life; measured, too, unless one is under way already.
    fn ask<N>(&mut self, io: &mut Io<'_, N>) {
        if self.pinged.is_none() {
            self.pinged = Some((io.now, false));
            self.pings += 1;
        }
        self.say_ping(io);
    }

    /// Any ping carries the number of the measurement under way: one answer may stand for several pings, and must then be known
    /// to stand for that one, too.
    fn say_ping<N>(&mut self, io: &mut Io<'_, N>) {
        let number = Bytes::copy_from_slice(&self.pings.to_le_bytes());
        self.say(DataPack::new(PackType::PING, number), io);
    }

    /// When something must be said, because nothing was for a heartbeat or nothing was heard.
    pub(super) fn ping_at(&self, limits: &Limits) -> Instant {
        let speak = self.sent + limits.heartbeat;
        let ask = self.asked.is_none() && !self.paused;
        if ask { speak.min(self.heard + limits.heartbeat) } else { speak }
    }

    /// Each end says something at least once a heartbeat, so that the other one hears it even while the opposite
    /// direction is blocked, or while we do not read.
    pub(super) fn keepalive<N>(&mut self, io: &mut Io<'_, N>) {
        let answer_by = |asked: Instant| asked + io.limits.suspect.saturating_sub(io.limits.heartbeat);
        if !self.paused && self.asked.is_some_and(|asked| answer_by(asked) <= io.now) {
            return self.cut(DisconnectReason::Silent, io);
        }
        // The peer's time to answer runs from here, not from the last byte: a process that was frozen would
        // otherwise declare dead whoever it did not listen to.
        if !self.paused && self.asked.is_none() && self.heard + io.limits.heartbeat <= io.now {
            self.asked = Some(io.now);
        }
        if self.outbox.is_empty() {
            self.ask(io);
        } else {
            // What is under way is sign enough.
            self.sent = io.now;
        }
    }

    /// Panics if the link contradicts itself.
    pub(crate) fn check_invariants(&self, limits: &Limits) {
        let phase = self.phase();
        self.outbox.check_invariants(limits);
        assert!(self.over.is_none() && !self.writable, "{:?}: something was not told", self.id);
        if matches!(phase, Phase::Dialling | Phase::Ending | Phase::Draining | Phase::Closed | Phase::Gone) {
            assert!(!self.outbox.under_way(), "{:?}: a send in phase {phase:?}", self.id);
        }
        if !matches!(phase, Phase::Dialling | Phase::Closed | Phase::Gone) {
            let excused = self.peer_ended || (self.paused && phase == Phase::Established);
            assert!(self.armed || excused, "{:?}: nothing is read in phase {phase:?}", self.id);
            assert!(
                self.outbox.under_way() || self.outbox.is_empty(),
                "{:?}: an outbox that waits for nothing",
                self.id
            );
        }
    }
}
