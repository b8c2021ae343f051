//! The end: of what we have with one peer, and of everything.

use super::peers::PeerId;
use super::{Messenger, MessengerNotice, Out, Stage};
use crate::Instant;
use crate::connection::DisconnectReason;
use core::time::Duration;

impl Messenger {
    pub(super) fn shut_down(&mut self, now: Instant, drain: Duration, out: &mut Out) {
        if self.stage != Stage::Running {
            return;
        }
        self.stage = Stage::Closing(now + drain);
        self.forget_here(now, out);
        for id in self.listeners.ids() {
            _ = self.manager.close(now, id, out);
        }
        for peer in self.peers.ids() {
            self.close_peer(now, peer, drain, out);
        }
        self.finish_shutdown(now, out);
    }

    pub(super) fn close_peer(&mut self, now: Instant, peer: PeerId, drain: Duration, out: &mut Out) {
        let Some(row) = self.peers.get_mut(peer) else { return };
        if let Some(session) = row.session {
            // A dial that is no longer needed must not hold up the end.
            let spare = row.dial.filter(|dial| row.dialling && *dial != session);
            spare.into_iter().for_each(|dial| _ = self.manager.close(now, dial, out));
            _ = self.manager.close_within(now, session, drain, out);
        } else if drain.is_zero() || matches!(self.stage, Stage::Running) {
            self.drop_waiting(now, peer, out);
        } else {
            // Its last tries, the next one of which may be due sooner; at the end what waits is reported.
            let end = now + drain;
            let due = self.timers.at(&peer).map_or(end, |due| due.min(end));
            self.timers.set(peer, due);
        }
    }

    /// Gives up a peer without a session: what waits is reported.
    pub(super) fn drop_waiting(&mut self, now: Instant, peer: PeerId, out: &mut Out) {
        self.give_up(peer, &DisconnectReason::Closed, out);
        self.stop_dialling(now, peer, out);
    }

    /// A peer for which nothing waits any more.
    pub(super) fn stop_dialling(&mut self, now: Instant, peer: PeerId, out: &mut Out) {
        self.timers.clear(&peer);
        if let Some(dial) = self.peers.get_mut(peer).and_then(|row| {
            row.dialling = false;
            row.dial
        }) {
            _ = self.manager.close(now, dial, out);
        }
        self.release(now, peer, out);
    }

    pub(super) fn finish_shutdown(&mut self, now: Instant, out: &mut Out) {
        if matches!(self.stage, Stage::Closing(_)) && self.peers.len() == 0 && self.listeners.is_empty() {
            self.stage = Stage::Down;
            // What we sent to ourselves is in the application's hands already.
            core::mem::take(&mut self.local).settle_all(|token, count, bytes| {
                out.notify(MessengerNotice::Settled { token, count, bytes });
            });
            self.manager.destroy(now, out);
            out.notify(MessengerNotice::Down);
        }
    }
}
