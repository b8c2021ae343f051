//! Who gets which proposal: matching, moving to whoever is idle, taking back, and telling publishers what their tasks wait
//! for. All of it happens within the `handle` in which something changed.

use super::members::Members;
use super::pairs::Pairs;
use super::queue::{Class, State};
use super::waits::TOLD;
use super::{Out, Registry, RegistryNotice};
use crate::message::{Assign, Placement, WaitReason, Waits, Withdraw};
use crate::{InstanceId, Instant, TaskId};
use alloc::vec::Vec;

/// How often an unclaimed task is moved to somebody idle at most, until it is held or free again: no flapping.
const MAX_MOVES: u8 = 4;
/// Looked at for one move at most: idle members, members with too much, proposals of each.
const MOVE_SCAN: (usize, usize, usize) = (8, 4, 8);

impl Registry {
    /// Brings proposals and what was told in line with what has changed.
    pub(super) fn settle(&mut self, now: Instant, out: &mut Out) {
        if core::mem::take(&mut self.unsettled) {
            self.assign(now, out);
            // A move leaves room where the task came from. Each fills an idle slot, so this ends.
            while self.rebalance(now, out) {
                self.assign(now, out);
            }
            // What these two changed themselves they have brought in line.
            self.unsettled = false;
        }
        self.tell_waits(now, out);
    }

    /// Proposes waiting tasks, publisher by publisher, as long as anybody has room and anything can go anywhere.
    fn assign(&mut self, now: Instant, out: &mut Out) {
        let mut misses = 0;
        while self.capacity.any_room() && misses < self.queue.waiting_publishers() {
            let Some(publisher) = self.queue.next_publisher(self.turn) else { break };
            self.turn = publisher;
            match self.match_one(publisher) {
                Some((task, to)) => {
                    misses = 0;
                    self.propose(now, task, to, true, out);
                }
                None => misses += 1,
            }
        }
    }

    /// The publisher's first task that anybody with room may get, and the best of those.
    fn match_one(&mut self, publisher: InstanceId) -> Option<(TaskId, InstanceId)> {
        let Self { queue, capacity, pairs, members, looked, .. } = self;
        *looked += 1;
        queue.heads(publisher).find_map(|(class, task)| {
            *looked += 1;
            let admitted = |member| admits(pairs, members, class, publisher, member);
            let to = match class.placement {
                Placement::Publisher => {
                    Some(publisher).filter(|member| capacity.has_room(*member) && admitted(*member))
                }
                Placement::Others | Placement::Anyone => capacity.pick(admitted),
            };
            Some((task, to?))
        })
    }

    /// Moves a proposal that waits for a slot to a member whose slot waits for a proposal. False: there is none.
    fn rebalance(&mut self, now: Instant, out: &mut Out) -> bool {
        let Some((task, from, to)) = self.find_move() else { return false };
        self.take_back(now, task, from, out);
        self.queue.moved(task);
        self.propose(now, task, to, true, out);
        true
    }

    fn find_move(&self) -> Option<(TaskId, InstanceId, InstanceId)> {
        if !self.capacity.unbalanced() {
            return None;
        }
        let (idle, members, each) = MOVE_SCAN;
        self.capacity.idle().take(idle).find_map(|to| {
            self.capacity.movable(members, each).find_map(|(from, task)| {
                let may_move = self.queue.task(task).is_some_and(|entry| entry.moves < MAX_MOVES);
                (may_move && self.may_get(task, to)).then_some((task, from, to))
            })
        })
    }

    /// Whether the member may get the task at all.
    pub(super) fn may_get(&self, task: TaskId, member: InstanceId) -> bool {
        let class = self.queue.class(task);
        class.is_some_and(|class| self.admits(&class, task.publisher, member))
    }

    /// Proposes a waiting task. `tell`: the member does not know of it yet.
    pub(super) fn propose(&mut self, now: Instant, task: TaskId, to: InstanceId, tell: bool, out: &mut Out) {
        let Some(publisher) = self.members.member(task.publisher).map(|member| member.claims_at.clone())
        else {
            return;
        };
        let Some(name) = self.members.member(to).map(|member| member.name.as_ref().into()) else { return };
        let Some(number) = self.capacity.propose(to, task) else { return };
        self.set(now, task, State::Proposed { to, number });
        // Looked at then: an executor that ignores it must not keep it for ever.
        self.queue.arm(task, now + self.limits.lease);
        let link = self.members.connection(to).filter(|_| tell);
        if let Some((link, session)) = link.and_then(|link| Some((link, self.sessions.session(link)?))) {
            self.send(now, link, Assign { task, publisher: session.told(&publisher) }, out);
        }
        out.notify(RegistryNotice::TaskProposed { task, to, name });
    }

    /// Moves a task to another state, on all sides. Returns the state it left, if it did.
    pub(super) fn set(&mut self, now: Instant, task: TaskId, state: State) -> Option<State> {
        let old = self.queue.set(now, task, state)?;
        if old == state || matches!(old, State::Ended(_)) {
            return None;
        }
        match old {
            State::Proposed { to, number } => self.capacity.proposal_over(to, number),
            State::Taken { by, .. } => self.capacity.released(by),
            State::Waiting | State::Ended(_) => {}
        }
        if let State::Taken { by, .. } = state {
            self.capacity.taken(by);
        }
        self.unsettled = true;
        self.waits.touch(task.publisher);
        Some(old)
    }

    /// A proposal is lost with its executor, or was given back: the task waits again.
    pub(super) fn returned(&mut self, now: Instant, task: TaskId, from: InstanceId, out: &mut Out) {
        self.set(now, task, State::Waiting);
        out.notify(RegistryNotice::ProposalReturned { task, from });
    }

    /// Takes a proposal back; harmless if it is claimed already.
    pub(super) fn take_back(&mut self, now: Instant, task: TaskId, from: InstanceId, out: &mut Out) {
        self.withdraw(now, task, from, out);
        self.set(now, task, State::Waiting);
    }

    /// Tells a member that its proposal is over.
    pub(super) fn withdraw(&mut self, now: Instant, task: TaskId, from: InstanceId, out: &mut Out) {
        self.send_to(now, from, Withdraw { task }, out);
        out.notify(RegistryNotice::ProposalReturned { task, from });
    }

    /// Returns all that the member has not claimed, and gives it nothing more. Claims are arbitrated by the publisher, so a
    /// proposal that it claims all the same costs one refusal, while waiting for it to come back would cost its whole silence.
    pub(super) fn out_of_work(&mut self, now: Instant, member: InstanceId, out: &mut Out) {
        for task in self.capacity.proposals(member) {
            self.take_back(now, task, member, out);
        }
        if self.capacity.set_able(member, false) {
            self.touch_all();
        }
    }

    /// A task's timer: a decliner may be asked again, or a proposal has stood unclaimed for a whole lease. The latter is right
    /// while its member's slots are full and nobody else has one.
    pub(super) fn look_at(&mut self, now: Instant, task: TaskId, out: &mut Out) {
        match self.queue.task(task).map(|entry| entry.state) {
            Some(State::Waiting) => {
                self.unsettled = true;
                self.waits.touch(task.publisher);
            }
            Some(State::Proposed { to, .. }) => {
                let elsewhere = |other: InstanceId| other != to && self.may_get(task, other);
                if self.capacity.free(to) > 0 || self.capacity.idle().take(MOVE_SCAN.0).any(elsewhere) {
                    self.take_back(now, task, to, out);
                    self.queue.declined(now, task, to);
                } else {
                    self.queue.arm(task, now + self.limits.lease);
                }
            }
            Some(State::Taken { .. } | State::Ended(_)) | None => {}
        }
    }

    /// Panics if a waiting task could be proposed now.
    pub(super) fn check_matched(&self) {
        let room = |member: &InstanceId| self.capacity.has_room(*member);
        for publisher in self.queue.publishers() {
            for (class, task) in self.queue.heads(publisher) {
                let mut candidates = self.capacity.able().filter(room);
                let missed = candidates.find(|member| self.admits(class, publisher, *member));
                assert_eq!(missed, None, "{task} waits for nothing");
            }
        }
    }

    // ---- what tasks wait for ----

    /// Who may get work at all has changed: every reason may have.
    pub(super) fn touch_all(&mut self) {
        self.unsettled = true;
        for publisher in self.queue.publishers() {
            self.waits.touch(publisher);
        }
    }

    fn tell_waits(&mut self, now: Instant, out: &mut Out) {
        while let Some(publisher) = self.waits.next() {
            if self.members.connection(publisher).is_none() {
                self.waits.forget(publisher);
                continue;
            }
            let current = self.reasons(publisher);
            for (task, reason) in self.waits.update(publisher, current) {
                self.send_to(now, publisher, Waits { task, reason }, out);
            }
        }
    }

    /// The publisher's first open tasks, and why each waits.
    pub(super) fn reasons(&self, publisher: InstanceId) -> Vec<(TaskId, WaitReason)> {
        self.queue.open(publisher).take(TOLD).map(|task| (task, self.reason(task))).collect()
    }

    /// Why nobody has the task.
    pub(super) fn reason(&self, task: TaskId) -> WaitReason {
        if let Some(State::Proposed { to, .. }) = self.queue.task(task).map(|entry| entry.state) {
            return WaitReason::Proposed(to);
        }
        let Some(class) = self.queue.class(task) else { return WaitReason::NoExecutor };
        let publisher = task.publisher;
        let mut reason = WaitReason::NoExecutor;
        for member in self.capacity.able().filter(|member| places(class.placement, publisher, *member)) {
            if self.admits(&class, publisher, member) {
                return WaitReason::NoFreeSlot;
            }
            if class.is_met_by(self.members.labels(member)) {
                reason = WaitReason::AllAvoided;
            } else if reason == WaitReason::NoExecutor {
                reason = WaitReason::NeedsUnmet;
            }
        }
        reason
    }

    fn admits(&self, class: &Class, publisher: InstanceId, member: InstanceId) -> bool {
        admits(&self.pairs, &self.members, class, publisher, member)
    }
}

fn places(placement: Placement, publisher: InstanceId, member: InstanceId) -> bool {
    match placement {
        Placement::Others => member != publisher,
        Placement::Anyone => true,
        Placement::Publisher => member == publisher,
    }
}

/// Whether a task of this class may go to the member now.
fn admits(
    pairs: &Pairs,
    members: &Members,
    class: &Class,
    publisher: InstanceId,
    member: InstanceId,
) -> bool {
    places(class.placement, publisher, member)
        && class.is_met_by(members.labels(member))
        && !class.avoids(member)
        && !pairs.is_cut(publisher, member)
}
