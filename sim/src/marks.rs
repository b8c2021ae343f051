//! State coverage: which states of each machine were reached, which steps of its tables, and which faults have struck in which
//! states.
//!
//! The tables are the core's ([`xxnet_core::states`]). After each event the rows of the machine that had it are compared with
//! what they were; a step that no table has is a finding, for then the table is wrong or the code is. What a fault strikes
//! is told by the part of the world that breaks (`Hits`); which faults are looked at in which states is said in
//! `products.rs`.
//!
//! Off unless somebody watches: a world that nobody watches pays for nothing here but a look at an empty list.

mod hits;
mod ledger;
mod products;
mod quiet;
mod reached;

pub(crate) use hits::{Hits, Target, target, task};
pub use ledger::{Ledger, Verdict};
pub(crate) use quiet::Reach;
pub use reached::{Reached, Seen};

use crate::clock::Micros;
use crate::context::ProcId;
use crate::fault::{Counts, Fault};
use crate::machine::{Brain, Notice};
use core::fmt;
use std::collections::BTreeMap;
use xxnet_core::disk::DiskRequest;
use xxnet_core::states::{Key, Row, State};
use xxnet_core::{Action, LinkId};

/// Something that a run may reach.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Mark {
    /// A row was in this state.
    State(State),
    /// A row began in it.
    Begin(State),
    /// One event made the second of the first.
    Step(State, State),
    /// A row was gone from it.
    End(State),
    /// A fault has struck.
    Fault(Fault),
    /// A fault has struck a row in this state.
    Strike(Fault, State),
    /// The disk was slow with this kind of request.
    Slow(&'static str),
}

impl fmt::Display for Mark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::State(state) => write!(f, "{state}"),
            Self::Begin(state) => write!(f, "{}: > {}", state.table().name, state.name()),
            Self::Step(state, next) => write!(f, "{state} > {}", next.name()),
            Self::End(state) => write!(f, "{state} >"),
            Self::Fault(fault) => write!(f, "fault: {fault}"),
            Self::Strike(fault, state) => write!(f, "{state} + {fault}"),
            Self::Slow(request) => write!(f, "disk: {request} + {}", Fault::SlowDisk),
        }
    }
}

impl Mark {
    /// Every one that a run may reach.
    pub fn all() -> Vec<Self> {
        let states: Vec<State> = State::all().collect();
        let mut all: Vec<Self> = states.iter().copied().map(Self::State).collect();
        all.extend(states.iter().copied().filter(|state| state.may_begin()).map(Self::Begin));
        all.extend(states.iter().copied().filter(|state| state.may_end()).map(Self::End));
        for state in &states {
            let next = states.iter().filter(|next| state.may_become(**next));
            all.extend(next.map(|next| Self::Step(*state, *next)));
        }
        all.extend(Fault::ALL.iter().copied().map(Self::Fault));
        all.extend(products::all().map(|(fault, state)| Self::Strike(fault, state)));
        all.extend(REQUESTS.map(Self::Slow));
        all.sort_unstable();
        all
    }

    /// Whether it is one of those.
    fn is_listed(self) -> bool {
        match self {
            Self::State(_) | Self::Fault(_) | Self::Slow(_) => true,
            Self::Begin(state) => state.may_begin(),
            Self::Step(state, next) => state.may_become(next),
            Self::End(state) => state.may_end(),
            Self::Strike(fault, state) => products::has(fault, state),
        }
    }
}

/// The kinds of disk request.
const REQUESTS: [&str; 10] = [
    "make folder",
    "remove folder",
    "open source",
    "read block",
    "read root",
    "open target",
    "write block",
    "commit",
    "close tree",
    "commit copy",
];

/// Which of [`REQUESTS`] it is.
pub(crate) fn request(request: &DiskRequest) -> usize {
    match request {
        DiskRequest::MakeFolder { .. } => 0,
        DiskRequest::RemoveFolder { .. } => 1,
        DiskRequest::OpenSource { .. } => 2,
        DiskRequest::ReadBlock { .. } => 3,
        DiskRequest::ReadRoot { .. } => 4,
        DiskRequest::OpenTarget { .. } => 5,
        DiskRequest::WriteBlock { .. } => 6,
        DiskRequest::Commit { .. } => 7,
        DiskRequest::CloseTree { .. } => 8,
        DiskRequest::CommitCopy { .. } => 9,
    }
}

/// What a run has reached so far, and where its machines stand.
#[derive(Debug)]
pub(crate) struct Marks {
    /// How often each state became each other one; the last one of each is a row's beginning or end.
    steps: Vec<u32>,
    /// How often each fault has struck in each state.
    strikes: Vec<u32>,
    slow: [u32; REQUESTS.len()],
    /// The rows of each process.
    views: BTreeMap<ProcId, Vec<Row>>,
    /// The next view, made here.
    next: Vec<Row>,
    /// When each row came to each state, if somebody wants to know.
    pub(crate) moments: Option<Vec<Moment>>,
}

/// A row of a process came to a state.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Moment {
    pub(crate) at: Micros,
    pub(crate) proc: ProcId,
    pub(crate) state: State,
}

/// States, and what is before and behind all of them.
const STATES: usize = State::COUNT + 1;
/// The number of what is before and behind.
const NONE: usize = State::COUNT;

impl Marks {
    pub(crate) fn new() -> Self {
        Self {
            steps: vec![0; STATES * STATES],
            strikes: vec![0; Fault::ALL.len() * State::COUNT],
            slow: [0; REQUESTS.len()],
            views: BTreeMap::new(),
            next: Vec::new(),
            moments: None,
        }
    }

    /// A machine begins, or has handled an event; what that can have changed, and what it did about it.
    pub(crate) fn look(
        &mut self,
        (at, proc): (Micros, ProcId),
        brain: &dyn Brain,
        reach: Reach,
        actions: &[Action<Notice>],
    ) {
        let view = self.views.entry(proc).or_default();
        if reach.is_quiet(brain, actions, view) {
            return;
        }
        self.next.clear();
        brain.rows(&mut self.next);
        if *view != self.next {
            core::mem::swap(view, &mut self.next);
            compare(&mut self.steps, &self.next, view);
            if let Some(moments) = &mut self.moments {
                let new = view.iter().filter(|row| !self.next.contains(row));
                moments.extend(new.map(|row| Moment { at, proc, state: row.state }));
            }
        }
    }

    /// A process is gone, with all its rows: that is no step of theirs.
    pub(crate) fn forget(&mut self, proc: ProcId) {
        self.views.remove(&proc);
    }

    /// A fault has struck rows of a process.
    fn strike(&mut self, fault: Fault, proc: ProcId, hit: impl Fn(&Row) -> bool) {
        for row in self.views.get(&proc).into_iter().flatten().filter(|row| hit(row)) {
            self.strikes[fault as usize * State::COUNT + row.state.number()] += 1;
        }
    }

    /// A fault has struck a link, and all that hangs on its connection.
    fn strike_link(&mut self, fault: Fault, proc: ProcId, link: LinkId) {
        let own = |row: &&Row| row.key == Key::Link(link);
        let Some(row) = self.views.get(&proc).and_then(|view| view.iter().find(own)) else { return };
        let on = row.on;
        self.strike(fault, proc, |row| {
            row.key == Key::Link(link) || (row.on.is_some() && row.on == on && !is_link(row))
        });
    }

    /// What was reached.
    pub(crate) fn seen(&self, faults: &Counts) -> Seen {
        let states: Vec<State> = State::all().collect();
        let mut seen = BTreeMap::new();
        let mut add = |mark, times: u32| {
            if times > 0 {
                *seen.entry(mark).or_default() += u64::from(times);
            }
        };
        for (at, times) in self.steps.iter().enumerate().filter(|(_, times)| **times > 0) {
            let (from, to) = (states.get(at / STATES).copied(), states.get(at % STATES).copied());
            to.into_iter().for_each(|to| add(Mark::State(to), *times));
            let mark = match (from, to) {
                (None, Some(to)) => Mark::Begin(to),
                (Some(from), Some(to)) => Mark::Step(from, to),
                (Some(from), None) => Mark::End(from),
                (None, None) => continue,
            };
            add(mark, *times);
        }
        for (at, times) in self.strikes.iter().enumerate().filter(|(_, times)| **times > 0) {
            let mark = Mark::Strike(Fault::ALL[at / State::COUNT], states[at % State::COUNT]);
            if mark.is_listed() {
                add(mark, *times);
            }
        }
        REQUESTS.iter().zip(self.slow).for_each(|(request, times)| add(Mark::Slow(request), times));
        for fault in Fault::ALL {
            add(Mark::Fault(*fault), u32::try_from(faults.of(*fault)).unwrap_or(u32::MAX));
        }
        Seen(seen)
    }
}

fn is_link(row: &Row) -> bool {
    matches!(row.key, Key::Link(_))
}

/// Counts what has become of each row. Machines tell their rows in an order that stays, so most are where they were.
fn compare(steps: &mut [u32], before: &[Row], after: &[Row]) {
    let same = before.iter().zip(after).take_while(|(before, after)| before == after).count();
    let (before, after) = (&before[same..], &after[same..]);
    let same =
        before.iter().rev().zip(after.iter().rev()).take_while(|(before, after)| before == after).count();
    let mut before = before[..before.len() - same].to_vec();
    let mut after = after[..after.len() - same].to_vec();
    [&mut before, &mut after].into_iter().for_each(|rows| rows.sort_unstable_by_key(Row::name));
    let mut count = |from: Option<&Row>, to: Option<&Row>| {
        let [from, to] = [from, to].map(|row| row.map_or(NONE, |row| row.state.number()));
        if from != to {
            steps[from * STATES + to] += 1;
        }
    };
    let (mut old, mut new) = (before.iter().peekable(), after.iter().peekable());
    loop {
        let order = match (old.peek(), new.peek()) {
            (None, None) => return,
            (Some(_), None) => core::cmp::Ordering::Less,
            (None, Some(_)) => core::cmp::Ordering::Greater,
            (Some(old), Some(new)) => old.name().cmp(&new.name()),
        };
        match order {
            core::cmp::Ordering::Less => count(old.next(), None),
            core::cmp::Ordering::Greater => count(None, new.next()),
            core::cmp::Ordering::Equal => count(old.next(), new.next()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;
    use xxnet_core::states::{AttemptState, LinkState};

    #[test]
    fn every_mark_has_a_name_of_its_own() {
        let all = Mark::all();
        let names: BTreeSet<String> = all.iter().map(ToString::to_string).collect();
        assert_eq!(names.len(), all.len());
        assert!(all.iter().all(|mark| mark.is_listed()));
    }

    #[test]
    fn what_has_become_of_each_row_is_counted_in_any_order() {
        let link = |number, state: LinkState| Row::new(Key::Link(LinkId(number)), state);
        let machine = |state: AttemptState| Row::new(Key::Machine, state);
        let before = [
            machine(AttemptState::Folder),
            link(1, LinkState::Dialling),
            link(2, LinkState::Established),
            link(3, LinkState::Closed),
        ];
        let after = [
            machine(AttemptState::Folder),
            link(4, LinkState::AwaitHello),
            link(2, LinkState::Established),
            link(1, LinkState::HelloSent),
        ];
        let mut marks = Marks::new();
        compare(&mut marks.steps, &before, &after);
        let seen: Vec<String> = marks.seen(&Counts::default()).0.keys().map(ToString::to_string).collect();
        let expected = [
            "link: hello-sent",
            "link: await-hello",
            "link: > await-hello",
            "link: dialling > hello-sent",
            "link: closed >",
        ];
        assert_eq!(seen, expected);
    }
}
