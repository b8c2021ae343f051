//! The publisher: lock server of its own tasks (PROTOCOL A). It alone decides who holds a task, and how it ends.
//!
//! | event | free | held, lease runs | held, lease over (still current) | ended |
//! | --- | --- | --- | --- | --- |
//! | `Claim` by the holder, same number | grant | the same grant, lease anew | the same grant, lease anew | refused |
//! | `Claim` by the holder, larger number | grant | old attempt over, grant n + 1 | grant n + 1 | refused |
//! | `Claim` by another | grant | refused: elsewhere | grant n + 1 | refused |
//! | `Renew` of the current attempt | - | lease anew | lease anew | no |
//! | `Renew` of another attempt | no | no | no | no |
//! | `Stopped`, proof of death | - | free | free, not current any more | - |
//! | `Finished` of the current attempt | - | taken | taken | forget it |

use super::notice::{OutputFile, TaskSpec};
use super::stdin::Stdin;
use crate::disk::FileError;
use crate::message::{Blob, EndKind, Exit, OutputName, RefuseReason, Spec, Times, WaitReason};
use crate::states::{Key, Row, TaskState};
use crate::timers::Timers;
use crate::{Address, AttemptNumber, ClaimNumber, InstanceId, Instant, Limits, TaskId, Token, TreeId};
use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::string::String;
use alloc::vec::Vec;
use serde::{Deserialize, Serialize};

/// What a timer of a task is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(super) enum TaskTimer {
    /// The lease ends.
    Lease,
    /// The wait for a first executor ends.
    Patience,
}

/// One of our tasks that has not ended.
#[derive(Clone, Debug, Hash, Serialize, Deserialize)]
pub(super) struct Task {
    pub(super) token: Token,
    pub(super) spec: TaskSpec,
    pub(super) wire: Spec,
    pub(super) title: String,
    /// The scanned inputs, in the spec's order; open until the task ends.
    pub(super) sources: Vec<TreeId>,
    /// Scans under way; the task is published once there are none.
    pub(super) opening: usize,
    /// Set by the first scan that failed.
    pub(super) open_error: Option<FileError>,
    pub(super) last_attempt: AttemptNumber,
    /// The attempt that is current: until a newer one is granted or it is known to be over, also after its lease.
    pub(super) current: Option<Attempt>,
    /// One line for each attempt that is over.
    pub(super) lost: Vec<String>,
    /// Executors that died under it.
    pub(super) deaths: BTreeSet<InstanceId>,
    /// Executors that should not get it again.
    pub(super) avoid: BTreeSet<InstanceId>,
    /// When the present state began.
    pub(super) since: Instant,
    pub(super) waiting: Option<WaitReason>,
    pub(super) stdin: Stdin,
}

/// A granted attempt.
#[derive(Clone, Debug, Hash, Serialize, Deserialize)]
pub(super) struct Attempt {
    pub(super) number: AttemptNumber,
    pub(super) claim: ClaimNumber,
    pub(super) holder: InstanceId,
    pub(super) name: String,
    /// Where the holder can be asked whether it lives.
    pub(super) address: Option<Address>,
    /// Whether the lease has run out: anybody else may have the task now.
    pub(super) lapsed: bool,
    pub(super) running: bool,
    /// Output bytes that have come, and that the application has taken.
    pub(super) received: [u64; 2],
    pub(super) taken: [u64; 2],
    pub(super) result: Option<Collecting>,
}

/// A finished attempt whose results are being pulled.
#[derive(Clone, Debug, Hash, Serialize, Deserialize)]
pub(super) struct Collecting {
    pub(super) exit: Exit,
    pub(super) times: Times,
    /// Each output, once it is here or known not to come.
    pub(super) outputs: Vec<Option<Result<(), FileError>>>,
}

/// The answer to a claim.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum ClaimAnswer {
    Refused(RefuseReason),
    /// The grant it had.
    Same(AttemptNumber),
    /// A new attempt; any current one must have been ended before.
    New(AttemptNumber),
    /// The current attempt is over by this claim: end it, then claim again.
    Supersedes(&'static str),
}

/// The answer to a result.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum FinishAnswer {
    /// Not current, or not from its holder: forget it.
    Forget,
    /// It was taken before; its files are still on their way.
    Again,
    /// It is taken.
    Taken,
}

/// All of our tasks.
#[derive(Clone, Debug, Default, Hash, Serialize, Deserialize)]
pub(super) struct Publisher {
    tasks: BTreeMap<TaskId, Task>,
    /// Tasks held by each executor, lapsed ones included.
    held: BTreeMap<InstanceId, BTreeSet<TaskId>>,
    ended: BTreeMap<TaskId, EndKind>,
    ended_order: VecDeque<(Instant, TaskId)>,
    next_number: u64,
    pub(super) timers: Timers<(TaskId, TaskTimer)>,
}

/// Ended tasks that are remembered at most.
const MAX_ENDED: usize = 10_000;

impl Publisher {
    /// Mints a task's id and keeps it; scans are the caller's next step.
    pub(super) fn add(&mut self, now: Instant, me: InstanceId, token: Token, spec: TaskSpec) -> TaskId {
        self.next_number += 1;
        let id = TaskId { publisher: me, number: self.next_number };
        let task = Task {
            token,
            wire: wire_spec(&spec),
            title: title(&spec.argv),
            sources: Vec::new(),
            opening: 0,
            open_error: None,
            last_attempt: AttemptNumber(0),
            current: None,
            lost: Vec::new(),
            deaths: BTreeSet::new(),
            avoid: BTreeSet::new(),
            since: now,
            waiting: None,
            stdin: Stdin::default(),
            spec,
        };
        self.tasks.insert(id, task);
        id
    }

    pub(super) fn len(&self) -> usize {
        self.tasks.len()
    }

    pub(super) fn task(&mut self, id: TaskId) -> Option<&mut Task> {
        self.tasks.get_mut(&id)
    }

    pub(super) fn peek(&self, id: TaskId) -> Option<&Task> {
        self.tasks.get(&id)
    }

    /// Every task that is published and has not ended.
    pub(super) fn published(&self) -> impl Iterator<Item = TaskId> {
        self.tasks.iter().filter(|(_, task)| task.opening == 0).map(|(id, _)| *id)
    }

    pub(super) fn ids(&self) -> Vec<TaskId> {
        self.tasks.keys().copied().collect()
    }

    /// How an ended task ended, while that is remembered.
    pub(super) fn ended(&self, id: TaskId) -> Option<EndKind> {
        self.ended.get(&id).copied()
    }

    /// Tasks that this executor holds, lapsed ones included.
    pub(super) fn held_by(&self, holder: InstanceId) -> Vec<TaskId> {
        self.held.get(&holder).map(|tasks| tasks.iter().copied().collect()).unwrap_or_default()
    }

    /// Judges a claim (PROTOCOL A3); changes nothing but the lease of a grant that stays.
    pub(super) fn claim(
        &mut self,
        now: Instant,
        id: TaskId,
        by: InstanceId,
        claim: ClaimNumber,
        limits: &Limits,
    ) -> ClaimAnswer {
        let Some(task) = self.tasks.get_mut(&id).filter(|task| task.opening == 0) else {
            return ClaimAnswer::Refused(RefuseReason::Ended);
        };
        let lease_over = self.timers.at(&(id, TaskTimer::Lease)).is_none_or(|end| end <= now);
        match &mut task.current {
            None => ClaimAnswer::New(AttemptNumber(task.last_attempt.0 + 1)),
            Some(held) if held.holder == by && held.claim == claim => {
                held.lapsed = false;
                self.timers.set((id, TaskTimer::Lease), now + limits.lease);
                ClaimAnswer::Same(held.number)
            }
            Some(held) if held.holder == by && claim > held.claim => {
                ClaimAnswer::Supersedes("it claimed the task anew")
            }
            Some(_) if lease_over => ClaimAnswer::Supersedes("no word from it until its lease was over"),
            Some(_) => ClaimAnswer::Refused(RefuseReason::Elsewhere),
        }
    }

    /// Records a grant.
    pub(super) fn grant(&mut self, now: Instant, id: TaskId, attempt: Attempt, limits: &Limits) {
        let Some(task) = self.tasks.get_mut(&id) else { return };
        debug_assert!(
            task.current.is_none() && attempt.number > task.last_attempt,
            "attempts grow, one at a time"
        );
        self.held.entry(attempt.holder).or_default().insert(id);
        task.last_attempt = attempt.number;
        task.current = Some(attempt);
        task.since = now;
        task.waiting = None;
        self.timers.set((id, TaskTimer::Lease), now + limits.lease);
        self.timers.clear(&(id, TaskTimer::Patience));
    }

    /// Judges one attempt of a renewal (PROTOCOL A5). `Some(true)`: renewed, and it had lapsed.
    pub(super) fn renew(
        &mut self,
        now: Instant,
        id: TaskId,
        number: AttemptNumber,
        by: InstanceId,
        limits: &Limits,
    ) -> Option<bool> {
        let held = self.tasks.get_mut(&id)?.current.as_mut()?;
        if held.holder != by || held.number != number {
            return None;
        }
        self.timers.set((id, TaskTimer::Lease), now + limits.lease);
        Some(core::mem::replace(&mut held.lapsed, false))
    }

    /// Whether this attempt is the current one of this holder.
    pub(super) fn current(
        &mut self,
        id: TaskId,
        number: AttemptNumber,
        by: InstanceId,
    ) -> Option<&mut Attempt> {
        let held = self.tasks.get_mut(&id)?.current.as_mut()?;
        (held.holder == by && held.number == number).then_some(held)
    }

    /// The lease is over: anybody may have the task, but the attempt stays current (PROTOCOL A1).
    pub(super) fn lapse(&mut self, now: Instant, id: TaskId) -> bool {
        let Some(task) = self.tasks.get_mut(&id) else { return false };
        let Some(held) = task.current.as_mut().filter(|held| !held.lapsed) else { return false };
        held.lapsed = true;
        task.since = now;
        true
    }

    /// The attempt is over for good, and is not current any more.
    pub(super) fn release(&mut self, now: Instant, id: TaskId) -> Option<Attempt> {
        let task = self.tasks.get_mut(&id)?;
        let attempt = task.current.take()?;
        task.since = now;
        self.timers.clear(&(id, TaskTimer::Lease));
        self.unhold(attempt.holder, id);
        Some(attempt)
    }

    /// Judges a result (PROTOCOL A7).
    pub(super) fn finish(
        &mut self,
        now: Instant,
        id: TaskId,
        number: AttemptNumber,
        by: InstanceId,
        result: Collecting,
        limits: &Limits,
    ) -> FinishAnswer {
        let Some(held) = self.current(id, number, by) else { return FinishAnswer::Forget };
        if held.result.is_some() {
            return FinishAnswer::Again;
        }
        held.result = Some(result);
        held.lapsed = false;
        self.timers.set((id, TaskTimer::Lease), now + limits.lease);
        FinishAnswer::Taken
    }

    /// Writes the end, once (PROTOCOL A9).
    pub(super) fn end(&mut self, now: Instant, id: TaskId, how: EndKind, limits: &Limits) -> Option<Task> {
        let task = self.tasks.remove(&id)?;
        for timer in [TaskTimer::Lease, TaskTimer::Patience] {
            self.timers.clear(&(id, timer));
        }
        if let Some(attempt) = &task.current {
            self.unhold(attempt.holder, id);
        }
        self.ended.insert(id, how);
        self.ended_order.push_back((now, id));
        while let Some(&(at, oldest)) = self.ended_order.front() {
            if self.ended_order.len() <= MAX_ENDED && now.since(at) < limits.remember {
                break;
            }
            self.ended_order.pop_front();
            self.ended.remove(&oldest);
        }
        Some(task)
    }

    /// A task that could not be published leaves no trace.
    pub(super) fn withdraw(&mut self, id: TaskId) -> Option<Task> {
        self.tasks.remove(&id)
    }

    fn unhold(&mut self, holder: InstanceId, id: TaskId) {
        if let Some(tasks) = self.held.get_mut(&holder) {
            tasks.remove(&id);
            if tasks.is_empty() {
                self.held.remove(&holder);
            }
        }
    }

    /// Where each task stands.
    pub(super) fn rows(&self) -> impl Iterator<Item = Row> {
        self.tasks.iter().map(|(id, task)| Row::new(Key::Task(*id), task.state()))
    }

    /// For leak checks; all zero once every task has ended.
    pub(super) fn unfinished(&self) -> [(&'static str, usize); 3] {
        [("tasks", self.tasks.len()), ("holders", self.held.len()), ("tasks' timers", self.timers.len())]
    }

    pub(super) fn check_invariants(&self) {
        for (id, task) in &self.tasks {
            assert!(!self.ended.contains_key(id), "a task has ended or has not");
            let leased = self.timers.at(&(*id, TaskTimer::Lease)).is_some();
            let due = task.current.as_ref().is_some_and(|held| !held.lapsed);
            assert_eq!(leased, due, "a lease runs exactly while an attempt holds it: {id}");
            if let Some(held) = &task.current {
                assert_eq!(held.number, task.last_attempt, "the current attempt is the newest");
                assert!(self.held.get(&held.holder).is_some_and(|tasks| tasks.contains(id)));
                assert!(held.taken[0] <= held.received[0] && held.taken[1] <= held.received[1]);
            }
        }
        assert_eq!(
            self.held.values().map(BTreeSet::len).sum::<usize>(),
            self.tasks.values().filter(|task| task.current.is_some()).count(),
            "every held task has its holder, and no other"
        );
    }
}

impl Task {
    fn state(&self) -> TaskState {
        match &self.current {
            None if self.opening > 0 => TaskState::Opening,
            None => TaskState::Free,
            Some(held) if held.lapsed => TaskState::Lapsed,
            Some(held) if held.result.is_some() => TaskState::Collecting,
            Some(held) if held.running => TaskState::Running,
            Some(_) => TaskState::Granted,
        }
    }
}

fn wire_spec(spec: &TaskSpec) -> Spec {
    let blobs = |items: &[Vec<u8>]| items.iter().cloned().map(Blob).collect();
    Spec {
        argv: blobs(&spec.argv),
        env: spec.env.iter().map(|(key, value)| (Blob(key.clone()), Blob(value.clone()))).collect(),
        inputs: spec.inputs.iter().map(|input| Blob(input.name.clone())).collect(),
        outputs: spec
            .outputs
            .iter()
            .map(|output| match output {
                OutputFile::Named { name, .. } => OutputName::Named(Blob(name.clone())),
                OutputFile::Changes => OutputName::Changes,
            })
            .collect(),
        stdin: spec.stdin,
        timeout: spec.timeout.map(|time| u64::try_from(time.as_micros()).unwrap_or(u64::MAX)),
    }
}

/// The command as people read it in lists.
fn title(argv: &[Vec<u8>]) -> String {
    let mut text = String::new();
    for word in argv {
        if !text.is_empty() {
            text.push(' ');
        }
        text.extend(String::from_utf8_lossy(word).chars().map(|c| if c.is_control() { ' ' } else { c }));
        if text.len() > 160 {
            break;
        }
    }
    let end = (0..=text.len().min(160)).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
    if end < text.len() {
        text.truncate(end);
        text.push('…');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::Placement;
    use alloc::vec;
    use core::time::Duration;

    const ME: InstanceId = InstanceId([1; 16]);
    const ANNE: InstanceId = InstanceId([2; 16]);
    const BERT: InstanceId = InstanceId([3; 16]);

    struct Rig {
        publisher: Publisher,
        limits: Limits,
        now: Instant,
        id: TaskId,
    }

    impl Rig {
        fn new() -> Self {
            let spec = TaskSpec {
                argv: vec![b"true".to_vec()],
                env: vec![],
                inputs: vec![],
                outputs: vec![],
                stdin: false,
                timeout: None,
                patience: None,
                attempts: None,
                placement: Placement::Others,
                needs: Vec::new(),
            };
            let (mut publisher, now) = (Publisher::default(), Instant::from_micros(1_000_000));
            let id = publisher.add(now, ME, Token(1), spec);
            Self { publisher, limits: Limits::default(), now, id }
        }

        fn after(&mut self, seconds: u64) -> &mut Self {
            self.now += Duration::from_secs(seconds);
            self
        }

        fn claim(&mut self, by: InstanceId, claim: u64) -> ClaimAnswer {
            let answer = self.publisher.claim(self.now, self.id, by, ClaimNumber(claim), &self.limits);
            if let ClaimAnswer::New(number) = answer {
                let attempt = Attempt {
                    number,
                    claim: ClaimNumber(claim),
                    holder: by,
                    name: String::new(),
                    address: None,
                    lapsed: false,
                    running: false,
                    received: [0; 2],
                    taken: [0; 2],
                    result: None,
                };
                self.publisher.grant(self.now, self.id, attempt, &self.limits);
            }
            self.publisher.check_invariants();
            answer
        }

        fn renew(&mut self, by: InstanceId, attempt: u64) -> Option<bool> {
            self.publisher.renew(self.now, self.id, AttemptNumber(attempt), by, &self.limits)
        }

        fn finish(&mut self, by: InstanceId, attempt: u64) -> FinishAnswer {
            let exit = Exit::Status(crate::process::ExitStatus::Code(0));
            let result = Collecting { exit, times: Times::default(), outputs: vec![] };
            self.publisher.finish(self.now, self.id, AttemptNumber(attempt), by, result, &self.limits)
        }
    }

    #[test]
    fn t3_a_claim_of_an_unknown_or_ended_task_is_refused() {
        let mut rig = Rig::new();
        let other = TaskId { publisher: ME, number: 99 };
        let answer = rig.publisher.claim(rig.now, other, ANNE, ClaimNumber(1), &rig.limits);
        assert_eq!(answer, ClaimAnswer::Refused(RefuseReason::Ended));
        rig.publisher.end(rig.now, rig.id, EndKind::Done, &rig.limits);
        assert_eq!(rig.claim(ANNE, 1), ClaimAnswer::Refused(RefuseReason::Ended));
        assert!(
            rig.publisher.end(rig.now, rig.id, EndKind::Failed, &rig.limits).is_none(),
            "the end is written once"
        );
        assert_eq!(rig.publisher.ended(rig.id), Some(EndKind::Done));
    }

    #[test]
    fn t3_a_doubled_claim_gets_the_same_grant_and_a_new_lease() {
        let mut rig = Rig::new();
        assert_eq!(rig.claim(ANNE, 7), ClaimAnswer::New(AttemptNumber(1)));
        assert_eq!(rig.after(14).claim(ANNE, 7), ClaimAnswer::Same(AttemptNumber(1)));
        assert_eq!(
            rig.after(14).claim(BERT, 1),
            ClaimAnswer::Refused(RefuseReason::Elsewhere),
            "the lease began anew"
        );
    }

    #[test]
    fn t14_a_larger_claim_of_the_holder_ends_its_old_attempt() {
        let mut rig = Rig::new();
        rig.claim(ANNE, 7);
        assert!(matches!(rig.claim(ANNE, 8), ClaimAnswer::Supersedes(_)));
        assert_eq!(
            rig.claim(ANNE, 6),
            ClaimAnswer::Refused(RefuseReason::Elsewhere),
            "an old claim ends nothing"
        );
        rig.publisher.release(rig.now, rig.id);
        assert_eq!(rig.claim(ANNE, 8), ClaimAnswer::New(AttemptNumber(2)));
    }

    #[test]
    fn t14_expiry_is_judged_at_the_claim_and_not_only_at_a_tick() {
        let mut rig = Rig::new();
        rig.claim(ANNE, 1);
        assert_eq!(rig.after(14).claim(BERT, 1), ClaimAnswer::Refused(RefuseReason::Elsewhere));
        assert!(matches!(rig.after(1).claim(BERT, 1), ClaimAnswer::Supersedes(_)));
    }

    #[test]
    fn t14_an_attempt_stays_current_after_its_lease_until_a_newer_one_is_granted() {
        let mut rig = Rig::new();
        rig.claim(ANNE, 1);
        rig.after(15);
        let due = rig.publisher.timers.pop_due(rig.now);
        assert_eq!(due, Some((rig.id, TaskTimer::Lease)));
        assert!(rig.publisher.lapse(rig.now, rig.id));
        assert_eq!(rig.renew(ANNE, 1), Some(true), "a late renewal finds it current");
        assert_eq!(
            rig.claim(BERT, 1),
            ClaimAnswer::Refused(RefuseReason::Elsewhere),
            "and it holds the lease again"
        );
        rig.after(15);
        rig.publisher.timers.pop_due(rig.now);
        rig.publisher.lapse(rig.now, rig.id);
        assert!(matches!(rig.claim(BERT, 1), ClaimAnswer::Supersedes(_)));
        rig.publisher.release(rig.now, rig.id);
        assert_eq!(rig.claim(BERT, 1), ClaimAnswer::New(AttemptNumber(2)));
        assert_eq!(rig.renew(ANNE, 1), None, "an old attempt is told to stop");
        assert_eq!(rig.renew(ANNE, 2), None, "and nobody renews another's");
        assert_eq!(rig.renew(BERT, 2), Some(false));
    }

    #[test]
    fn t7_a_late_result_of_an_older_attempt_is_refused() {
        let mut rig = Rig::new();
        rig.claim(ANNE, 1);
        rig.publisher.release(rig.now, rig.id);
        rig.claim(BERT, 1);
        assert_eq!(rig.finish(ANNE, 1), FinishAnswer::Forget);
        assert_eq!(rig.finish(ANNE, 2), FinishAnswer::Forget, "the number alone does not make it theirs");
        assert_eq!(rig.finish(BERT, 2), FinishAnswer::Taken);
        assert_eq!(rig.finish(BERT, 2), FinishAnswer::Again);
    }

    #[test]
    fn t6_a_result_is_taken_after_the_lease_while_nobody_else_holds_the_task() {
        let mut rig = Rig::new();
        rig.claim(ANNE, 1);
        rig.after(20);
        rig.publisher.timers.pop_due(rig.now);
        rig.publisher.lapse(rig.now, rig.id);
        assert_eq!(rig.finish(ANNE, 1), FinishAnswer::Taken);
        rig.publisher.check_invariants();
    }

    #[test]
    fn a_title_is_short_and_one_line() {
        assert_eq!(title(&[b"a\nb".to_vec(), b"c".to_vec()]), "a b c");
        assert!(title(&[vec![b'x'; 500]]).len() <= 164);
        assert!(title(&["ü".repeat(200).into_bytes()]).ends_with('…'));
    }
}
