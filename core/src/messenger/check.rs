//! What a messenger has not finished, for leak checks.

use super::{Messenger, Stage};
use alloc::vec::Vec;

impl Messenger {
    /// What is under way or waits, by name: all zero once nothing goes on. Not counted: sessions, where each token sends to, and
    /// which addresses turned out to be one's own.
    pub fn unfinished(&self) -> Vec<(&'static str, usize)> {
        let mut all = self.connections().unfinished();
        let rows = || self.peers.ids().into_iter().filter_map(|id| self.peers.get(id));
        let without = rows().filter(|row| row.session.is_none() && !row.is_here).count();
        all.extend([
            ("peers without a session", without),
            ("messages that wait for a session", rows().map(|row| row.waiting.len()).sum()),
            (
                "peers with messages that were not acknowledged",
                rows().filter(|row| !row.ledger.is_empty()).count(),
            ),
            ("bytes to ourselves", self.local.bytes()),
            ("timers of peers", rows().count().min(usize::from(!self.timers.is_empty()))),
        ]);
        if self.stage == Stage::Down {
            all.push(("peers", rows().count()));
        }
        all
    }
}
