//! The worker: proposals, claims, and the attempts this executor holds (PROTOCOL A).
//!
//! ```text
//! Proposed ─slot free─► Wanted ─Granted─► Folder ─► Fetching ─► Spawning ─► Running ─► Packing ─► Finished ─Done─► Leaving
//!     │                   │                  └──────────┴───────────┴──────────┴─────────┴──────────┴─► Stopping ─► Leaving
//!     └─Withdraw, Decline─┴─Refused, gone──────────────────────────────────────────────────────────────────────► (none)
//! ```
//! A slot is held from `Wanted` until every process is reaped.

use super::output::OutStream;
use crate::disk::{Content, FileError};
use crate::message::{Exit, Spec, StopReason, Times};
use crate::states::{AttemptState, Key, Row};
use crate::timers::Timers;
use crate::{AttemptNumber, CallbackId, ClaimNumber, FolderId, InstanceId, Instant, RunId, TaskId, TreeId};
use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::vec::Vec;
use bytes::Bytes;
use serde::{Deserialize, Serialize};

/// Proposals kept at most; one more is given back.
pub(super) const MAX_PROPOSALS: usize = 4096;

/// What a timer of an entry is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(super) enum EntryTimer {
    /// The attempt must be over, unless a renewal moves this (PROTOCOL A6).
    Deadline,
    /// The command has run for as long as its task allows.
    Timeout,
    /// A claim has waited too long for its answer.
    Claim,
    /// Its folder could not be removed, and is to be tried again.
    Removal,
}

impl EntryTimer {
    const ALL: [Self; 4] = [Self::Deadline, Self::Timeout, Self::Claim, Self::Removal];
}

/// One task here. At most one entry a task (PROTOCOL A2).
#[derive(Clone, Debug, Hash, Serialize, Deserialize)]
pub(super) enum Entry {
    /// Waits for a slot.
    Proposed,
    /// Claimed, not answered.
    Wanted { claim: ClaimNumber, since: Instant },
    /// Granted.
    Held(Box<Held>),
}

/// An attempt that we hold.
#[derive(Clone, Debug, Hash, Serialize, Deserialize)]
pub(super) struct Held {
    pub(super) number: AttemptNumber,
    pub(super) claim: ClaimNumber,
    pub(super) spec: Spec,
    /// What each input holds, if the publisher has said so.
    pub(super) contents: Vec<Content>,
    pub(super) phase: Phase,
    /// Whether the publisher has answered our claim on the present link. Until then nothing of the attempt goes out there: only
    /// the answer says how much output had come before the last link broke.
    pub(super) known: bool,
    pub(super) run: Option<RunId>,
    /// Inputs that are not verified yet.
    pub(super) fetching: BTreeSet<CallbackId>,
    /// Inputs that the disk may still bring into the folder: it stays until they are settled.
    pub(super) unsettled: BTreeSet<CallbackId>,
    /// Each declared output, once it is scanned: its tree, or why there is none.
    pub(super) outputs: Vec<Output>,
    pub(super) streams: [OutStream; 2],
    pub(super) input: InStream,
    /// How the command ended, once all its processes are reaped.
    pub(super) exit: Option<Exit>,
    /// The timeout has killed it.
    pub(super) timed_out: bool,
    /// Why it must not go on; set once.
    pub(super) stop: Option<StopReason>,
    /// The disk has answered for the folder: it may be removed.
    pub(super) folder_ready: bool,
    /// The command was started.
    pub(super) spawned: bool,
    /// The publisher needs no more word of it: `Stopped` was sent, or `Done` has come.
    pub(super) told: bool,
    /// How often its folder could not be removed.
    pub(super) removals: u32,
    pub(super) phase_since: Instant,
    pub(super) times: Times,
}

/// Where an attempt stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(super) enum Phase {
    /// Its folder is being made.
    Folder,
    /// Its inputs are on their way.
    Fetching,
    /// The command is being started.
    Spawning,
    /// The command runs, or its output is still being read.
    Running,
    /// Its declared outputs are being scanned.
    Packing,
    /// The publisher may pull the results; waits for `Done`.
    Finished,
    /// Being killed, or waiting for the disk to let go.
    Stopping,
    /// Its folder is being removed; nothing else is left.
    Leaving,
}

/// A declared output of a finished attempt.
#[derive(Clone, Debug, Hash, Serialize, Deserialize)]
pub(super) struct Output {
    pub(super) tree: TreeId,
    /// Scanned, or why not; `None` while the scan is under way.
    pub(super) scanned: Option<Result<(), FileError>>,
}

/// The command's standard input at this end.
#[derive(Clone, Debug, Default, Hash, Serialize, Deserialize)]
pub(super) struct InStream {
    /// Bytes that have come, and that the command has taken.
    pub(super) received: u64,
    pub(super) taken: u64,
    /// Waiting for the command to take what it was given.
    pub(super) waiting: VecDeque<Bytes>,
    /// Bytes of the write under way.
    pub(super) writing: Option<u64>,
    pub(super) last: bool,
    pub(super) closed: bool,
}

/// All tasks here.
#[derive(Clone, Debug, Hash, Serialize, Deserialize)]
pub(super) struct Worker {
    pub(super) slots: u32,
    entries: BTreeMap<TaskId, Entry>,
    queue: VecDeque<TaskId>,
    busy: BTreeSet<TaskId>,
    runs: BTreeMap<RunId, TaskId>,
    /// Entries of each publisher.
    by_publisher: BTreeMap<InstanceId, BTreeSet<TaskId>>,
    next_claim: u64,
    pub(super) timers: Timers<(TaskId, EntryTimer)>,
}

impl Worker {
    pub(super) fn new(slots: u32) -> Self {
        Self {
            slots,
            entries: BTreeMap::new(),
            queue: VecDeque::new(),
            busy: BTreeSet::new(),
            runs: BTreeMap::new(),
            by_publisher: BTreeMap::new(),
            next_claim: 0,
            timers: Timers::new(),
        }
    }

    /// Slots with no attempt.
    pub(super) fn free(&self) -> u32 {
        self.slots.saturating_sub(u32::try_from(self.busy.len()).unwrap_or(u32::MAX))
    }

    /// Whether a slot is free and nothing waits for it.
    pub(super) fn is_hungry(&self) -> bool {
        self.free() > 0 && self.queue.is_empty()
    }

    /// A proposal. `false`: there is no room for it, or an earlier attempt at it is still being cleared away. One that is
    /// known is ignored.
    pub(super) fn propose(&mut self, task: TaskId) -> bool {
        match self.entries.get(&task) {
            None => {}
            Some(Entry::Held(held)) => return !matches!(held.phase, Phase::Stopping | Phase::Leaving),
            Some(Entry::Proposed | Entry::Wanted { .. }) => return true,
        }
        if self.queue.len() >= MAX_PROPOSALS {
            return false;
        }
        self.entries.insert(task, Entry::Proposed);
        self.by_publisher.entry(task.publisher).or_default().insert(task);
        self.queue.push_back(task);
        true
    }

    /// The next proposal, if a slot is free for it: it is wanted now, under a fresh claim number.
    pub(super) fn want_next(&mut self, now: Instant) -> Option<TaskId> {
        if self.free() == 0 {
            return None;
        }
        while let Some(task) = self.queue.pop_front() {
            if let Some(entry @ Entry::Proposed) = self.entries.get_mut(&task) {
                *entry = Entry::Wanted { claim: ClaimNumber::next(&mut self.next_claim), since: now };
                self.busy.insert(task);
                return Some(task);
            }
        }
        None
    }

    pub(super) fn entry(&mut self, task: TaskId) -> Option<&mut Entry> {
        self.entries.get_mut(&task)
    }

    pub(super) fn peek(&self, task: TaskId) -> Option<&Entry> {
        self.entries.get(&task)
    }

    pub(super) fn held(&mut self, task: TaskId) -> Option<&mut Held> {
        match self.entries.get_mut(&task)? {
            Entry::Held(held) => Some(held),
            Entry::Proposed | Entry::Wanted { .. } => None,
        }
    }

    /// The held attempt of this number.
    pub(super) fn attempt(&mut self, task: TaskId, number: AttemptNumber) -> Option<&mut Held> {
        self.held(task).filter(|held| held.number == number)
    }

    /// A wanted entry becomes a held one.
    pub(super) fn hold(&mut self, task: TaskId, held: Held) {
        self.entries.insert(task, Entry::Held(Box::new(held)));
        self.timers.clear(&(task, EntryTimer::Claim));
    }

    /// Every process of it is reaped, or none was ever started: its slot is free.
    pub(super) fn free_slot(&mut self, task: TaskId) {
        self.busy.remove(&task);
    }

    /// Forgets an entry with all that hangs on it.
    pub(super) fn remove(&mut self, task: TaskId) {
        match self.entries.remove(&task) {
            None => return,
            Some(Entry::Held(held)) => {
                held.run.map(|run| self.runs.remove(&run));
            }
            Some(Entry::Proposed) => self.queue.retain(|queued| *queued != task),
            Some(Entry::Wanted { .. }) => {}
        }
        self.busy.remove(&task);
        for timer in EntryTimer::ALL {
            self.timers.clear(&(task, timer));
        }
        if let Some(tasks) = self.by_publisher.get_mut(&task.publisher) {
            tasks.remove(&task);
            if tasks.is_empty() {
                self.by_publisher.remove(&task.publisher);
            }
        }
    }

    pub(super) fn start_run(&mut self, run: RunId, task: TaskId) {
        self.runs.insert(run, task);
    }

    /// Whose run this is.
    pub(super) fn run(&self, run: RunId) -> Option<TaskId> {
        self.runs.get(&run).copied()
    }

    /// Tasks of this publisher.
    pub(super) fn of(&self, publisher: InstanceId) -> Vec<TaskId> {
        self.by_publisher.get(&publisher).map(|tasks| tasks.iter().copied().collect()).unwrap_or_default()
    }

    pub(super) fn ids(&self) -> Vec<TaskId> {
        self.entries.keys().copied().collect()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Whether anything here still has to be said to this publisher: an attempt whose folder alone is left has not.
    pub(super) fn needs(&self, publisher: InstanceId) -> bool {
        self.by_publisher.get(&publisher).into_iter().flatten().any(|task| match self.entries.get(task) {
            Some(Entry::Held(held)) => !matches!(held.phase, Phase::Leaving),
            Some(Entry::Proposed | Entry::Wanted { .. }) => true,
            None => false,
        })
    }

    /// Attempts of this publisher that a renewal names: until every process is reaped, unless the publisher wants it
    /// no more or the lease is over in any case.
    pub(super) fn renewable(&self, publisher: InstanceId) -> Vec<(TaskId, AttemptNumber)> {
        let tasks = self.by_publisher.get(&publisher).into_iter().flatten();
        let renewable = tasks.filter_map(|task| match self.entries.get(task)? {
            Entry::Held(held) => {
                let given_up = matches!(held.stop, Some(StopReason::Told | StopReason::LeaseOver));
                (!held.told && !given_up).then_some((*task, held.number))
            }
            Entry::Proposed | Entry::Wanted { .. } => None,
        });
        renewable.collect()
    }

    /// What a registration tells: attempts held, and proposals not claimed.
    pub(super) fn inventory(&self) -> (Vec<(TaskId, AttemptNumber)>, Vec<TaskId>) {
        let (mut held_ids, mut proposed) = (Vec::new(), Vec::new());
        for (task, entry) in &self.entries {
            match entry {
                Entry::Proposed | Entry::Wanted { .. } => proposed.push(*task),
                Entry::Held(held) if matches!(held.phase, Phase::Stopping | Phase::Leaving) => {}
                Entry::Held(held) => held_ids.push((*task, held.number)),
            }
        }
        (held_ids, proposed)
    }

    /// Where each entry stands.
    pub(super) fn rows(&self) -> impl Iterator<Item = Row> {
        self.entries.iter().map(|(task, entry)| Row::new(Key::Task(*task), entry.state()))
    }

    /// For leak checks; all zero once nothing is proposed or held.
    pub(super) fn unfinished(&self) -> [(&'static str, usize); 6] {
        [
            ("entries", self.entries.len()),
            ("queued proposals", self.queue.len()),
            ("busy slots", self.busy.len()),
            ("runs", self.runs.len()),
            ("publishers worked for", self.by_publisher.len()),
            ("entries' timers", self.timers.len()),
        ]
    }

    pub(super) fn check_invariants(&self) {
        assert!(self.busy.len() <= self.slots as usize, "slots are never over-committed");
        for task in &self.busy {
            assert!(
                !matches!(self.entries.get(task), None | Some(Entry::Proposed)),
                "only claimed tasks hold slots"
            );
        }
        for (task, entry) in &self.entries {
            assert!(self.by_publisher.get(&task.publisher).is_some_and(|tasks| tasks.contains(task)));
            match entry {
                Entry::Proposed => {}
                Entry::Wanted { .. } => assert!(self.busy.contains(task), "a claim holds a slot"),
                Entry::Held(held) => {
                    let due = self.timers.at(&(*task, EntryTimer::Deadline)).is_some();
                    let over = matches!(held.phase, Phase::Stopping | Phase::Leaving);
                    assert!(due || over, "a living attempt has a deadline: {task} {:?}", held.phase);
                    if let Some(run) = held.run {
                        assert_eq!(self.runs.get(&run), Some(task), "a run has its task");
                    }
                    let alive = held.run.is_some() && held.exit.is_none();
                    assert!(!alive || self.busy.contains(task), "a living command holds a slot");
                }
            }
        }
        for task in self.runs.values() {
            assert!(matches!(self.entries.get(task), Some(Entry::Held(_))), "no run without its attempt");
        }
    }
}

impl Entry {
    fn state(&self) -> AttemptState {
        match self {
            Self::Proposed => AttemptState::Proposed,
            Self::Wanted { .. } => AttemptState::Wanted,
            Self::Held(held) => match held.phase {
                Phase::Folder => AttemptState::Folder,
                Phase::Fetching => AttemptState::Fetching,
                Phase::Spawning => AttemptState::Spawning,
                Phase::Running => AttemptState::Running,
                Phase::Packing => AttemptState::Packing,
                Phase::Finished => AttemptState::Finished,
                Phase::Stopping => AttemptState::Stopping,
                Phase::Leaving => AttemptState::Leaving,
            },
        }
    }
}

impl Held {
    /// A fresh grant.
    pub(super) fn new(
        number: AttemptNumber,
        claim: ClaimNumber,
        spec: Spec,
        contents: Vec<Content>,
        now: Instant,
        waited: u64,
    ) -> Self {
        Self {
            number,
            claim,
            spec,
            contents,
            phase: Phase::Folder,
            known: true,
            run: None,
            fetching: BTreeSet::new(),
            unsettled: BTreeSet::new(),
            outputs: Vec::new(),
            streams: [OutStream::default(), OutStream::default()],
            input: InStream::default(),
            exit: None,
            timed_out: false,
            stop: None,
            folder_ready: false,
            spawned: false,
            told: false,
            removals: 0,
            phase_since: now,
            times: Times { claim: waited, fetch: 0, run: 0 },
        }
    }

    pub(super) fn folder_id(&self, task: TaskId) -> FolderId {
        FolderId { task, attempt: self.number }
    }
}
