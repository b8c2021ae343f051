//! All tasks that publishers have made known: where each stands, and those that wait, in a fair order.
//!
//! Waiting tasks of one publisher with the same demands (placement, members to avoid) form a *class*. A class that nobody
//! can serve is passed over as a whole, so that matching never costs tasks × members. Publishers are served in turn;
//! within one publisher the task that was published first goes first, also after it was given back.

use crate::message::{EndKind, Placement};
use crate::needs::{Label, Need};
use crate::states::{Key, QueueState, Row};
use crate::time::earliest;
use crate::timers::Timers;
use crate::{AttemptNumber, InstanceId, Instant, TaskId, TaskName};
use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::ops::Bound;
use core::time::Duration;
use serde::{Deserialize, Serialize};

/// Ended tasks that are remembered at most.
pub(super) const MAX_REMEMBERED: usize = 10_000;
/// Members that a task is kept from at most, of those that the publisher names; soft state, so more are cut off.
const MAX_AVOID: usize = 64;
/// Members that gave a task back and are remembered for it; with so many, it rests until the first of them may be asked again.
const MAX_DECLINED: usize = 8;
/// Bytes of a title that are kept.
const MAX_TITLE: usize = 200;

/// Where a task stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(super) enum State {
    /// Nobody has it.
    Waiting,
    /// It is proposed, and not claimed as far as is known; `number` names the proposal.
    Proposed { to: InstanceId, number: u64 },
    /// Its publisher says that it is held.
    Taken { by: InstanceId, attempt: AttemptNumber },
    /// Its publisher says that it has ended.
    Ended(EndKind),
}

/// One task. A few hundred bytes: its spec stays with the publisher.
#[derive(Clone, Debug, Hash, Serialize, Deserialize)]
pub(super) struct Task {
    /// Its place in the order of publication; never changes.
    order: u64,
    /// For lists.
    pub(super) title: Box<str>,
    /// Its publisher's name, shared; kept for lists after the publisher has gone.
    pub(super) publisher: Arc<str>,
    placement: Placement,
    /// Sorted.
    avoid: Vec<InstanceId>,
    /// Sorted.
    needs: Arc<[Need]>,
    /// Who gave it back, and until when each is left alone with it.
    declined: Vec<(InstanceId, Instant)>,
    /// How often it was given back in a row: makes the pauses longer.
    declines: u32,
    /// How often it was moved to somebody idle since it was last free: bounds the moves.
    pub(super) moves: u8,
    pub(super) state: State,
    /// Since when it stands there.
    pub(super) since: Instant,
}

/// What waiting tasks of one publisher have in common.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(super) struct Class {
    /// Who may run them.
    pub(super) placement: Placement,
    /// Who must not; sorted.
    pub(super) avoid: Vec<InstanceId>,
    /// What they must have; sorted.
    pub(super) needs: Arc<[Need]>,
}

/// What one publisher has here that has not ended.
#[derive(Clone, Debug, Default, Hash, Serialize, Deserialize)]
struct Publisher {
    tasks: usize,
    /// Waiting or proposed, by order.
    open: BTreeMap<u64, u64>,
    /// Waiting tasks by class, by order. No class is empty.
    classes: BTreeMap<Class, BTreeMap<u64, u64>>,
    /// The first of each class.
    heads: BTreeMap<u64, Class>,
    /// Tasks it has said nothing of since it registered again.
    doubted: BTreeSet<u64>,
}

/// What a publication brings.
#[derive(Clone, Debug, Hash)]
pub(super) struct Published {
    pub(super) title: String,
    pub(super) publisher: Arc<str>,
    pub(super) placement: Placement,
    pub(super) avoid: Vec<InstanceId>,
    pub(super) needs: Vec<Need>,
}

/// What became of a publication.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Publication {
    /// It is new.
    New,
    /// It was known.
    Again,
    /// There is no room; nothing is kept.
    Full,
}

/// The table.
#[derive(Clone, Debug, Hash, Serialize, Deserialize)]
pub(super) struct Queue {
    max_tasks: usize,
    remember: Duration,
    /// First and longest pause before a task goes to a member that gave it back.
    pause: (Duration, Duration),
    tasks: BTreeMap<TaskId, Task>,
    /// Every task by its place in the order of publication.
    by_order: BTreeMap<u64, TaskId>,
    orders: u64,
    publishers: BTreeMap<InstanceId, Publisher>,
    /// Publishers with waiting tasks.
    waiting: BTreeSet<InstanceId>,
    /// Attempts each executor holds, registered or not.
    held: BTreeMap<InstanceId, u32>,
    /// Tasks that have not ended.
    live: usize,
    /// Ended tasks, oldest first, and when each ended.
    ended: VecDeque<(Instant, TaskId)>,
    /// When a task is looked at next: a waiting one's earliest decliner, a proposal's check.
    timers: Timers<TaskId>,
}

impl Queue {
    pub(super) fn new(max_tasks: usize, remember: Duration, pause: (Duration, Duration)) -> Self {
        Self {
            max_tasks,
            remember,
            pause,
            tasks: BTreeMap::new(),
            by_order: BTreeMap::new(),
            orders: 0,
            publishers: BTreeMap::new(),
            waiting: BTreeSet::new(),
            held: BTreeMap::new(),
            live: 0,
            ended: VecDeque::new(),
            timers: Timers::new(),
        }
    }

    // ---- what publishers say ----

    /// Takes a publication. A known task keeps its place and state; its demands become those given now.
    pub(super) fn publish(&mut self, now: Instant, id: TaskId, published: Published) -> Publication {
        let Published { mut title, publisher, placement, avoid, mut needs } = published;
        needs.sort_unstable();
        needs.dedup();
        self.confirm(id);
        if self.tasks.contains_key(&id) {
            self.redemand(id, |task| {
                task.placement = placement;
                task.avoid = bounded(avoid);
                task.needs = needs.into();
            });
            return Publication::Again;
        }
        if self.live >= self.max_tasks {
            return Publication::Full;
        }
        let mut end = title.len().min(MAX_TITLE);
        while !title.is_char_boundary(end) {
            end -= 1;
        }
        title.truncate(end);
        self.orders += 1;
        let task = Task {
            order: self.orders,
            title: title.into_boxed_str(),
            publisher,
            placement,
            avoid: bounded(avoid),
            needs: needs.into(),
            declined: Vec::new(),
            declines: 0,
            moves: 0,
            state: State::Waiting,
            since: now,
        };
        self.by_order.insert(task.order, id);
        self.tasks.insert(id, task);
        self.live += 1;
        self.publishers.entry(id.publisher).or_default().tasks += 1;
        self.file(id);
        Publication::New
    }

    /// The publisher says anew who must not get it.
    pub(super) fn avoid(&mut self, id: TaskId, avoid: Vec<InstanceId>) {
        self.redemand(id, |task| task.avoid = bounded(avoid));
    }

    /// A member gave the task back: it is left alone with it for a pause that grows with each decline in a row.
    pub(super) fn declined(&mut self, now: Instant, id: TaskId, by: InstanceId) {
        let (first, longest) = self.pause;
        self.redemand(id, |task| {
            let pause = (first * 2_u32.pow(task.declines.min(8))).min(longest);
            task.declines += 1;
            task.declined.retain(|(member, until)| *member != by && *until > now);
            task.declined.push((by, now + pause));
        });
    }

    /// Moves a task to another state; returns the one it was in. An ended task stays so.
    pub(super) fn set(&mut self, now: Instant, id: TaskId, state: State) -> Option<State> {
        let old = self.tasks.get(&id)?.state;
        if matches!(old, State::Ended(_)) || old == state {
            return Some(old);
        }
        self.unfile(id);
        self.timers.clear(&id);
        let task = self.tasks.get_mut(&id)?;
        task.state = state;
        task.since = now;
        match state {
            State::Waiting | State::Proposed { .. } => {}
            State::Taken { .. } | State::Ended(_) => {
                task.declined = Vec::new();
                task.declines = 0;
                task.moves = 0;
            }
        }
        if let State::Taken { by, .. } = old {
            self.release(by);
        }
        if let State::Taken { by, .. } = state {
            *self.held.entry(by).or_default() += 1;
        }
        if let State::Ended(_) = state {
            self.confirm(id);
            self.ended.push_back((now, id));
            self.live -= 1;
            self.publisher_less(id.publisher);
            while self.ended.len() > MAX_REMEMBERED {
                self.forget_oldest();
            }
        }
        self.file(id);
        Some(old)
    }

    /// The publisher has registered again: each of its tasks is in doubt until it says something of it. An end may have been
    /// lost with its old link, and what has ended is not published again. True if there is any.
    pub(super) fn doubt(&mut self, publisher: InstanceId) -> bool {
        let live = |task: &Task| !matches!(task.state, State::Ended(_));
        let tasks = self.of(publisher).filter(|(_, task)| live(task)).map(|(id, _)| id.number).collect();
        if let Some(publisher) = self.publishers.get_mut(&publisher) {
            publisher.doubted = tasks;
        }
        self.is_in_doubt(publisher)
    }

    /// The publisher has said something of this task.
    pub(super) fn confirm(&mut self, id: TaskId) {
        if let Some(publisher) = self.publishers.get_mut(&id.publisher) {
            publisher.doubted.remove(&id.number);
        }
    }

    /// Whether any task of this publisher is in doubt.
    pub(super) fn is_in_doubt(&self, publisher: InstanceId) -> bool {
        self.publishers.get(&publisher).is_some_and(|publisher| !publisher.doubted.is_empty())
    }

    /// The publisher has said all: what is still in doubt is gone. What that is, and where it stood.
    pub(super) fn remove_doubted(&mut self, publisher: InstanceId) -> Vec<(TaskId, State)> {
        let doubted =
            self.publishers.get_mut(&publisher).map(|publisher| core::mem::take(&mut publisher.doubted));
        let ids = doubted.into_iter().flatten().map(|number| TaskId { publisher, number });
        let gone = ids.filter_map(|id| Some((id, self.tasks.get(&id)?.state))).collect();
        self.remove(publisher, gone)
    }

    /// The publisher is gone, and with it all that has not ended. What is gone, and where it stood.
    pub(super) fn remove_publisher(&mut self, publisher: InstanceId) -> Vec<(TaskId, State)> {
        let all = self.of(publisher).map(|(id, task)| (id, task.state));
        let gone = all.filter(|(_, state)| !matches!(state, State::Ended(_))).collect();
        self.remove(publisher, gone)
    }

    fn remove(&mut self, publisher: InstanceId, gone: Vec<(TaskId, State)>) -> Vec<(TaskId, State)> {
        for (id, state) in &gone {
            self.unfile(*id);
            self.timers.clear(id);
            if let State::Taken { by, .. } = *state {
                self.release(by);
            }
            if let Some(task) = self.tasks.remove(id) {
                self.by_order.remove(&task.order);
                self.live -= 1;
                self.publisher_less(publisher);
            }
        }
        gone
    }

    /// Where each stands that has not ended, and each ended one that is remembered.
    pub(super) fn rows(&self) -> impl Iterator<Item = Row> {
        self.tasks.iter().map(|(id, task)| {
            let state = match task.state {
                State::Waiting if task.is_resting() => QueueState::Resting,
                State::Waiting => QueueState::Waiting,
                State::Proposed { .. } => QueueState::Proposed,
                State::Taken { .. } => QueueState::Taken,
                State::Ended(_) => QueueState::Ended,
            };
            Row::new(Key::Task(*id), state)
        })
    }

    /// For leak checks; all zero once every task has ended.
    pub(super) fn unfinished(&self) -> [(&'static str, usize); 5] {
        [
            ("tasks", self.live),
            ("tasks in no list of ended ones", self.tasks.len() - self.ended.len()),
            ("publishers with tasks", self.publishers.len() + self.waiting.len()),
            ("executors that hold tasks", self.held.len()),
            ("tasks' timers", self.timers.len()),
        ]
    }

    // ---- timers ----

    /// Has the task looked at then (again).
    pub(super) fn arm(&mut self, id: TaskId, at: Instant) {
        self.timers.set(id, at);
    }

    /// Takes the next task that is due. A waiting one has been freed of its decliners whose pause is over; a proposed one is the
    /// caller's to judge.
    pub(super) fn due(&mut self, now: Instant) -> Option<TaskId> {
        let id = self.timers.pop_due(now)?;
        self.redemand(id, |task| {
            if task.state == State::Waiting {
                task.declined.retain(|(_, until)| *until > now);
            }
        });
        Some(id)
    }

    /// Forgets what has been over for long enough.
    pub(super) fn forget_ended(&mut self, now: Instant) {
        while self.ended.front().is_some_and(|(at, _)| *at + self.remember <= now) {
            self.forget_oldest();
        }
    }

    /// When `due` or `forget_ended` is wanted.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let ended = self.ended.front().map(|(at, _)| *at + self.remember);
        earliest(ended, self.timers.next())
    }

    // ---- questions ----

    pub(super) fn task(&self, id: TaskId) -> Option<&Task> {
        self.tasks.get(&id)
    }

    /// Counts a move of the task to somebody idle.
    pub(super) fn moved(&mut self, id: TaskId) {
        if let Some(task) = self.tasks.get_mut(&id) {
            task.moves = task.moves.saturating_add(1);
        }
    }

    /// What the task demands now.
    pub(super) fn class(&self, id: TaskId) -> Option<Class> {
        self.tasks.get(&id).map(Task::class)
    }

    /// Attempts that publishers say this executor holds.
    pub(super) fn held(&self, by: InstanceId) -> u32 {
        self.held.get(&by).copied().unwrap_or(0)
    }

    /// Tasks that have not ended.
    pub(super) fn live(&self) -> usize {
        self.live
    }

    /// Publishers with waiting tasks.
    pub(super) fn waiting_publishers(&self) -> usize {
        self.waiting.len()
    }

    /// The next publisher in turn that has waiting tasks.
    pub(super) fn next_publisher(&self, after: InstanceId) -> Option<InstanceId> {
        let next = self.waiting.range((Bound::Excluded(after), Bound::Unbounded)).next();
        next.or_else(|| self.waiting.first()).copied()
    }

    /// The first waiting task of each of the publisher's classes, first published first.
    pub(super) fn heads(&self, publisher: InstanceId) -> impl Iterator<Item = (&Class, TaskId)> + '_ {
        let heads = self.publishers.get(&publisher).map(|publisher| publisher.heads.iter());
        heads.into_iter().flatten().filter_map(|(order, class)| Some((class, *self.by_order.get(order)?)))
    }

    /// The publisher's tasks that nobody holds, first published first.
    pub(super) fn open(&self, publisher: InstanceId) -> impl Iterator<Item = TaskId> + '_ {
        let open = self.publishers.get(&publisher).map(|publisher| publisher.open.values());
        open.into_iter().flatten().map(move |number| TaskId { publisher, number: *number })
    }

    /// All publishers that have tasks here that have not ended.
    pub(super) fn publishers(&self) -> impl Iterator<Item = InstanceId> + '_ {
        self.publishers.keys().copied()
    }

    /// All tasks, newest first.
    pub(super) fn newest(&self) -> impl Iterator<Item = (TaskId, &Task)> + '_ {
        self.by_order.values().rev().filter_map(|id| Some((*id, self.tasks.get(id)?)))
    }

    /// Tasks in the table, ended ones too.
    pub(super) fn len(&self) -> usize {
        self.tasks.len()
    }

    /// The tasks that a name can mean, at most `most`.
    pub(super) fn named(&self, name: &TaskName, most: usize) -> Vec<TaskId> {
        let mut found = Vec::new();
        // From publisher to publisher, so that the number of tasks does not matter.
        let mut from = Bound::Unbounded;
        while let Some((id, _)) = self.tasks.range((from, Bound::Unbounded)).next() {
            let publisher = id.publisher;
            let meant = TaskId { publisher, number: name.number };
            if name.matches(meant) && self.tasks.contains_key(&meant) {
                found.push(meant);
                if found.len() == most {
                    break;
                }
            }
            from = Bound::Excluded(TaskId { publisher, number: u64::MAX });
        }
        found
    }

    // ---- inside ----

    fn of(&self, publisher: InstanceId) -> impl Iterator<Item = (TaskId, &Task)> + '_ {
        let first = TaskId { publisher, number: 0 };
        let last = TaskId { publisher, number: u64::MAX };
        self.tasks.range(first..=last).map(|(id, task)| (*id, task))
    }

    /// Changes what decides a task's class, with the task taken out of its class meanwhile.
    fn redemand(&mut self, id: TaskId, change: impl FnOnce(&mut Task)) {
        self.unfile(id);
        if let Some(task) = self.tasks.get_mut(&id) {
            change(task);
            self.file(id);
        }
    }

    /// Enters an open task in its publisher's orders. A waiting one with decliners is looked at when the first pause ends.
    fn file(&mut self, id: TaskId) {
        let Some(task) = self.tasks.get(&id) else { return };
        let Some(publisher) = self.publishers.get_mut(&id.publisher) else { return };
        let (order, state, resting) = (task.order, task.state, task.is_resting());
        let wake = task.declined.iter().map(|(_, until)| *until).min();
        match state {
            State::Taken { .. } | State::Ended(_) => return,
            State::Proposed { .. } => {
                publisher.open.insert(order, id.number);
                return;
            }
            State::Waiting => {
                publisher.open.insert(order, id.number);
            }
        }
        if !resting {
            let class = task.class();
            let tasks = publisher.classes.entry(class.clone()).or_default();
            let head = tasks.first_key_value().map(|(order, _)| *order);
            tasks.insert(order, id.number);
            if head.is_none_or(|head| order < head) {
                head.map(|head| publisher.heads.remove(&head));
                publisher.heads.insert(order, class);
            }
            self.waiting.insert(id.publisher);
        }
        if let Some(wake) = wake {
            self.timers.set(id, wake);
        }
    }

    /// The reverse of `file`; harmless for a task that is not filed.
    fn unfile(&mut self, id: TaskId) {
        let Some(task) = self.tasks.get(&id) else { return };
        let Some(publisher) = self.publishers.get_mut(&id.publisher) else { return };
        publisher.open.remove(&task.order);
        if task.state != State::Waiting || task.is_resting() {
            return;
        }
        let class = task.class();
        let Some(tasks) = publisher.classes.get_mut(&class) else { return };
        tasks.remove(&task.order);
        let head = tasks.first_key_value().map(|(order, _)| *order);
        if publisher.heads.remove(&task.order).is_some() {
            match head {
                Some(head) => {
                    publisher.heads.insert(head, class);
                }
                None => {
                    publisher.classes.remove(&class);
                }
            }
        }
        if publisher.classes.is_empty() {
            self.waiting.remove(&id.publisher);
        }
    }

    fn release(&mut self, by: InstanceId) {
        if let Some(held) = self.held.get_mut(&by) {
            *held -= 1;
            if *held == 0 {
                self.held.remove(&by);
            }
        }
    }

    fn publisher_less(&mut self, id: InstanceId) {
        if let Some(publisher) = self.publishers.get_mut(&id) {
            publisher.tasks -= 1;
            if publisher.tasks == 0 {
                self.publishers.remove(&id);
            }
        }
    }

    fn forget_oldest(&mut self) {
        let oldest = self.ended.pop_front().and_then(|(_, id)| self.tasks.remove(&id));
        if let Some(task) = oldest {
            self.by_order.remove(&task.order);
        }
    }

    /// Panics if the indexes are not what a recount gives. `is_member`: whether a publisher is registered.
    pub(super) fn check_invariants(&self, is_member: impl Fn(InstanceId) -> bool) {
        let mut held: BTreeMap<InstanceId, u32> = BTreeMap::new();
        let (mut ended, mut filed, mut open, mut timers) = (0, 0, 0, 0);
        for (id, task) in &self.tasks {
            assert_eq!(self.by_order.get(&task.order), Some(id), "{id}: order");
            let timer = self.timers.at(id);
            timers += usize::from(timer.is_some());
            let publisher = self.publishers.get(&id.publisher);
            match task.state {
                State::Ended(_) => ended += 1,
                State::Taken { by, .. } => *held.entry(by).or_default() += 1,
                State::Proposed { .. } => {
                    open += 1;
                    assert!(timer.is_some(), "{id}: proposed, and nobody will look at it");
                    assert_eq!(publisher.and_then(|p| p.open.get(&task.order)), Some(&id.number), "{id}");
                }
                State::Waiting => {
                    open += 1;
                    assert_eq!(publisher.and_then(|p| p.open.get(&task.order)), Some(&id.number), "{id}");
                    assert_eq!(timer.is_some(), !task.declined.is_empty(), "{id}: decliners' timer");
                    if !task.is_resting() {
                        filed += 1;
                        let class = publisher.and_then(|p| p.classes.get(&task.class()));
                        assert!(class.is_some_and(|tasks| tasks.contains_key(&task.order)), "{id}: class");
                    }
                }
            }
            if !matches!(task.state, State::Ended(_)) {
                assert!(is_member(id.publisher), "{id}: no such publisher");
            }
        }
        assert_eq!(held, self.held, "attempts held");
        assert_eq!(ended, self.ended.len(), "ended");
        assert!(ended <= MAX_REMEMBERED);
        assert_eq!(self.live + ended, self.tasks.len(), "live");
        assert_eq!(self.by_order.len(), self.tasks.len(), "orders");
        assert_eq!(timers, self.timers.len(), "timers");
        let publishers = self.publishers.values();
        assert_eq!(publishers.clone().map(|p| p.tasks).sum::<usize>(), self.live, "tasks of publishers");
        assert_eq!(publishers.clone().map(|p| p.open.len()).sum::<usize>(), open, "open");
        assert_eq!(publishers.flat_map(|p| p.classes.values()).map(BTreeMap::len).sum::<usize>(), filed);
        for (id, publisher) in &self.publishers {
            assert_eq!(self.waiting.contains(id), !publisher.classes.is_empty(), "{id}: in turn");
            assert_eq!(publisher.heads.len(), publisher.classes.len(), "{id}: heads");
            for number in &publisher.doubted {
                let task = self.tasks.get(&TaskId { publisher: *id, number: *number });
                let live = task.is_some_and(|task| !matches!(task.state, State::Ended(_)));
                assert!(live, "{id}-{number}: in doubt, and not there");
            }
            for (class, tasks) in &publisher.classes {
                let head = tasks.first_key_value().map(|(order, _)| *order);
                assert_eq!(head.and_then(|head| publisher.heads.get(&head)), Some(class), "{id}: head");
            }
        }
        assert!(self.waiting.iter().all(|id| self.publishers.contains_key(id)), "no such publisher in turn");
    }
}

impl Task {
    /// Too many gave it back: it goes to nobody until the first of them may be asked again.
    fn is_resting(&self) -> bool {
        self.declined.len() >= MAX_DECLINED
    }

    fn class(&self) -> Class {
        let mut avoid = self.avoid.clone();
        if !self.declined.is_empty() {
            avoid.extend(self.declined.iter().map(|(member, _)| *member));
            avoid.sort_unstable();
            avoid.dedup();
        }
        Class { placement: self.placement, avoid, needs: Arc::clone(&self.needs) }
    }
}

impl Class {
    /// Whether the member is to be left alone with these tasks.
    pub(super) fn avoids(&self, member: InstanceId) -> bool {
        self.avoid.binary_search(&member).is_ok()
    }

    /// Whether these labels are all that they need.
    pub(super) fn is_met_by(&self, labels: &[Label]) -> bool {
        self.needs.iter().all(|need| need.is_met_by(labels))
    }
}

fn bounded(mut avoid: Vec<InstanceId>) -> Vec<InstanceId> {
    avoid.truncate(MAX_AVOID);
    avoid.sort_unstable();
    avoid.dedup();
    avoid.shrink_to_fit();
    avoid
}

#[cfg(test)]
mod tests;
