//! Questions that only a publisher can answer: asked of it under request ids of our own, answered back to the asker.

use crate::message::Question;
use crate::time::Instant;
use crate::timers::Timers;
use crate::{ConnectionId, InstanceId, TaskId};
use alloc::collections::{BTreeMap, BTreeSet};
use core::time::Duration;
use serde::{Deserialize, Serialize};

/// Questions under way at most; one more is turned away.
const MAX_OUTSTANDING: usize = 1024;

/// One question under way.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(super) struct Pending {
    /// Who wants to know.
    pub(super) asker: ConnectionId,
    /// The asker's own number for it.
    pub(super) request: u64,
    /// What it is about; its publisher is asked.
    pub(super) task: TaskId,
    pub(super) question: Question,
}

/// All questions under way, one an asker.
#[derive(Clone, Debug, Hash, Serialize, Deserialize)]
pub(super) struct Questions {
    patience: Duration,
    pending: BTreeMap<u64, Pending>,
    askers: BTreeMap<ConnectionId, u64>,
    by_publisher: BTreeSet<(InstanceId, u64)>,
    timers: Timers<u64>,
    requests: u64,
}

impl Questions {
    pub(super) fn new(patience: Duration) -> Self {
        Self {
            patience,
            pending: BTreeMap::new(),
            askers: BTreeMap::new(),
            by_publisher: BTreeSet::new(),
            timers: Timers::new(),
            requests: 0,
        }
    }

    /// Enters a question; our number for it, or `None` if there is no room for more.
    pub(super) fn ask(&mut self, now: Instant, pending: Pending) -> Option<u64> {
        if self.pending.len() >= MAX_OUTSTANDING || self.is_asking(pending.asker) {
            return None;
        }
        self.requests += 1;
        let request = self.requests;
        self.askers.insert(pending.asker, request);
        self.by_publisher.insert((pending.task.publisher, request));
        self.timers.set(request, now + self.patience);
        self.pending.insert(request, pending);
        Some(request)
    }

    /// How many are under way.
    pub(super) fn len(&self) -> usize {
        self.pending.len()
    }

    /// Whether this connection waits for an answer.
    pub(super) fn is_asking(&self, asker: ConnectionId) -> bool {
        self.askers.contains_key(&asker)
    }

    /// A publisher answers; `None` if it was not asked (any more), or somebody else was.
    pub(super) fn answered(&mut self, publisher: InstanceId, request: u64) -> Option<Pending> {
        self.pending.get(&request).filter(|pending| pending.task.publisher == publisher)?;
        self.remove(request)
    }

    /// The asker has gone.
    pub(super) fn forget(&mut self, asker: ConnectionId) {
        if let Some(request) = self.askers.get(&asker).copied() {
            self.remove(request);
        }
    }

    /// Takes the next question whose publisher did not answer in time.
    pub(super) fn due(&mut self, now: Instant) -> Option<Pending> {
        let request = self.timers.pop_due(now)?;
        self.remove(request)
    }

    /// Takes a question of a publisher that will never answer.
    pub(super) fn take_of(&mut self, publisher: InstanceId) -> Option<Pending> {
        let request = self.of(publisher).next().map(|(request, _)| request)?;
        self.remove(request)
    }

    /// What a publisher has not answered: asked again when it registers again, since its link may have lost it.
    pub(super) fn of(&self, publisher: InstanceId) -> impl Iterator<Item = (u64, &Pending)> + '_ {
        let all = self.by_publisher.range((publisher, 0)..=(publisher, u64::MAX));
        all.filter_map(|(_, request)| Some((*request, self.pending.get(request)?)))
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        self.timers.next()
    }

    fn remove(&mut self, request: u64) -> Option<Pending> {
        let pending = self.pending.remove(&request)?;
        self.askers.remove(&pending.asker);
        self.by_publisher.remove(&(pending.task.publisher, request));
        self.timers.clear(&request);
        Some(pending)
    }

    /// Panics if the indexes are not what a recount gives.
    pub(super) fn check_invariants(&self) {
        assert!(self.pending.len() <= MAX_OUTSTANDING);
        assert_eq!(self.askers.len(), self.pending.len());
        assert_eq!(self.by_publisher.len(), self.pending.len());
        assert_eq!(self.timers.len(), self.pending.len());
        for (request, pending) in &self.pending {
            assert_eq!(self.askers.get(&pending.asker), Some(request));
            assert!(self.by_publisher.contains(&(pending.task.publisher, *request)));
            assert!(self.timers.at(request).is_some(), "{request}: nobody would notice the silence");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::TaskName;

    fn pending(asker: u64, publisher: u8) -> Pending {
        let task = TaskId { publisher: InstanceId([publisher; 16]), number: 1 };
        let question = Question::Why(TaskName { publisher: "1".into(), number: 1 });
        Pending { asker: ConnectionId(asker), request: 7, task, question }
    }

    const NOW: Instant = Instant::ZERO;
    const P: InstanceId = InstanceId([1; 16]);
    const Q: InstanceId = InstanceId([2; 16]);

    #[test]
    fn an_answer_comes_once_and_only_from_whoever_was_asked() {
        let mut questions = Questions::new(Duration::from_secs(10));
        let request = questions.ask(NOW, pending(1, 1)).unwrap();
        assert_eq!(questions.ask(NOW, pending(1, 2)), None, "one at a time");
        assert_eq!(questions.answered(Q, request), None);
        assert_eq!(questions.answered(P, request), Some(pending(1, 1)));
        assert_eq!(questions.answered(P, request), None);
        questions.check_invariants();
    }

    #[test]
    fn silence_ends_at_the_deadline_and_a_gone_asker_is_forgotten() {
        let mut questions = Questions::new(Duration::from_secs(10));
        questions.ask(NOW, pending(1, 1)).unwrap();
        questions.ask(NOW, pending(2, 1)).unwrap();
        questions.forget(ConnectionId(2));
        assert_eq!(questions.of(P).count(), 1);
        assert_eq!(questions.due(NOW + Duration::from_millis(9_999)), None);
        assert_eq!(questions.due(NOW + Duration::from_secs(10)), Some(pending(1, 1)));
        assert_eq!(questions.deadline(), None);
        questions.check_invariants();
    }

    #[test]
    fn questions_under_way_are_bounded() {
        let mut questions = Questions::new(Duration::from_secs(10));
        for asker in 0..MAX_OUTSTANDING as u64 {
            assert!(questions.ask(NOW, pending(asker, 1)).is_some());
        }
        assert_eq!(questions.ask(NOW, pending(5_000, 1)), None);
        while questions.take_of(P).is_some() {}
        assert!(questions.ask(NOW, pending(5_000, 1)).is_some());
        questions.check_invariants();
    }
}
