//! Pairs that could not reach each other: an executor that told us it cannot dial a publisher gets no more of its tasks for
//! a while; they are tried elsewhere.

use crate::InstanceId;
use crate::time::Instant;
use crate::timers::Timers;
use alloc::collections::BTreeSet;
use core::time::Duration;
use serde::{Deserialize, Serialize};

/// Pairs remembered at most; beyond, the one that would be forgotten first is.
const MAX_PAIRS: usize = 100_000;

/// Who cannot reach whom, and until when that is believed.
#[derive(Clone, Debug, Hash, Serialize, Deserialize)]
pub(super) struct Pairs {
    believed: Duration,
    timers: Timers<(InstanceId, InstanceId)>,
    /// The same the other way round, to forget an executor.
    by_executor: BTreeSet<(InstanceId, InstanceId)>,
}

impl Pairs {
    pub(super) fn new(believed: Duration) -> Self {
        Self { believed, timers: Timers::new(), by_executor: BTreeSet::new() }
    }

    /// `executor` could not dial `publisher` just now.
    pub(super) fn cut(&mut self, now: Instant, publisher: InstanceId, executor: InstanceId) {
        self.timers.set((publisher, executor), now + self.believed);
        self.by_executor.insert((executor, publisher));
        if self.timers.len() > MAX_PAIRS {
            self.pop(Instant::FAR_FUTURE);
        }
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.timers.len()
    }

    /// Whether `executor` is not to be sent to `publisher` now.
    pub(super) fn is_cut(&self, publisher: InstanceId, executor: InstanceId) -> bool {
        self.timers.at(&(publisher, executor)).is_some()
    }

    /// Forgets what is no longer believed. True if anything was.
    pub(super) fn expire(&mut self, now: Instant) -> bool {
        let mut any = false;
        while self.pop(now) {
            any = true;
        }
        any
    }

    /// The executor is gone, or dials anew.
    pub(super) fn forget_executor(&mut self, executor: InstanceId) {
        let all = (executor, InstanceId::NONE)..=(executor, InstanceId([u8::MAX; 16]));
        while let Some((_, publisher)) = self.by_executor.range(all.clone()).next().copied() {
            self.by_executor.remove(&(executor, publisher));
            self.timers.clear(&(publisher, executor));
        }
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        self.timers.next()
    }

    fn pop(&mut self, now: Instant) -> bool {
        let Some((publisher, executor)) = self.timers.pop_due(now) else { return false };
        self.by_executor.remove(&(executor, publisher))
    }

    /// Panics if the two sides differ.
    pub(super) fn check_invariants(&self) {
        assert_eq!(self.timers.len(), self.by_executor.len());
        assert!(self.timers.len() <= MAX_PAIRS);
        for ((publisher, executor), _) in self.timers.iter() {
            assert!(self.by_executor.contains(&(*executor, *publisher)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn t4_a_cut_pair_is_believed_for_a_while() {
        let (p, e, f) = (InstanceId([1; 16]), InstanceId([2; 16]), InstanceId([3; 16]));
        let at = |seconds: u64| Instant::from_micros(seconds * 1_000_000);
        let mut pairs = Pairs::new(Duration::from_secs(60));
        pairs.cut(at(0), p, e);
        pairs.cut(at(0), p, f);
        assert!(pairs.is_cut(p, e) && !pairs.is_cut(e, p), "one way");
        pairs.forget_executor(f);
        assert!(!pairs.is_cut(p, f));
        pairs.cut(at(30), p, e);
        assert!(!pairs.expire(at(89)) && pairs.is_cut(p, e));
        assert!(pairs.expire(at(90)) && !pairs.is_cut(p, e));
        assert_eq!(pairs.deadline(), None);
        pairs.check_invariants();
    }
}
