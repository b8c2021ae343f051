//! Who can take a proposal, best first: slots, what is known to fill them, and what is proposed ahead.

use crate::{InstanceId, TaskId};
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;
use serde::{Deserialize, Serialize};

/// The seats of all members, and two orders over them that are kept current: who should get the next proposal, and who
/// holds proposals that an idle member could take over.
#[derive(Clone, Debug, Hash, Serialize, Deserialize)]
pub(super) struct Capacity {
    /// Proposals beyond one a slot that wait at a member, so that no slot waits for a round trip.
    ahead: u32,
    seats: BTreeMap<InstanceId, Seat>,
    /// Those that may get work at all, with or without room: what tells "no executor" from "no free slot".
    able: BTreeSet<InstanceId>,
    /// Those with room, best first.
    order: BTreeSet<Rank>,
    /// Those with more proposals than free slots, most first (the number is negated).
    over: BTreeSet<(i64, InstanceId)>,
    /// Counts proposals given: whoever was served longest ago goes first among equals.
    given: u64,
    /// Candidates looked at so far.
    examined: u64,
}

/// A member's place in the order: what it would wait, then who was served longest ago.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
struct Rank {
    wait: i64,
    served: u64,
    member: InstanceId,
}

/// One member's slots.
#[derive(Clone, Debug, Hash, Serialize, Deserialize)]
struct Seat {
    slots: u32,
    /// Linked, heard of lately, and no mere client.
    able: bool,
    /// Attempts that publishers say it holds.
    held: u32,
    /// What its last heartbeat said beyond that: positive for attempts we have not heard of (another registry's, or a
    /// `Taken` still under way), negative for slots that are free before their publisher has said so.
    unheard: i64,
    /// Proposals it has not claimed, oldest first.
    proposals: BTreeMap<u64, TaskId>,
    /// When it was last given one, by the count.
    served: u64,
    /// Its entries in the two orders, to find them again.
    rank: Option<Rank>,
    over: Option<(i64, InstanceId)>,
}

impl Seat {
    fn busy(&self) -> u32 {
        let busy = (i64::from(self.held) + self.unheard).max(0);
        u32::try_from(busy).unwrap_or(u32::MAX)
    }

    fn free(&self) -> u32 {
        self.slots.saturating_sub(self.busy())
    }

    /// Proposals that wait for a slot. A member that is busier than we have heard is taken to have claimed our oldest
    /// proposals: its heartbeat often comes before the publisher's word.
    fn waiting(&self) -> i64 {
        let claimed = self.unheard.clamp(0, i64::from(self.slots));
        (i64::try_from(self.proposals.len()).unwrap_or(i64::MAX) - claimed).max(0)
    }

    /// Slots left once everything proposed is claimed; negative: so many proposals wait for a slot.
    fn room(&self) -> i64 {
        i64::from(self.free()) - self.waiting()
    }

    fn may_get_more(&self, ahead: u32) -> bool {
        self.able && self.slots > 0 && self.room() > -(i64::from(self.slots) + i64::from(ahead))
    }

    /// Most room first; without any, the shortest queue a slot.
    fn wait(&self) -> i64 {
        let room = self.room();
        if room > 0 { -room } else { -room * 65_536 / i64::from(self.slots.max(1)) }
    }
}

impl Capacity {
    pub(super) fn new(ahead: u32) -> Self {
        Self {
            ahead,
            seats: BTreeMap::new(),
            able: BTreeSet::new(),
            order: BTreeSet::new(),
            over: BTreeSet::new(),
            given: 0,
            examined: 0,
        }
    }

    /// For leak checks; all zero once nothing is proposed or held.
    pub(super) fn unfinished(&self) -> [(&'static str, usize); 2] {
        let seats = || self.seats.values();
        [
            ("proposals", seats().map(|seat| seat.proposals.len()).sum()),
            ("busy slots", seats().map(|seat| seat.busy() as usize).sum()),
        ]
    }

    /// A member sits down, or says its slots anew. `held`: attempts that publishers say it holds; `running`: those that it
    /// says it holds. Its proposals stay.
    pub(super) fn seat(&mut self, member: InstanceId, slots: u32, held: u32, running: u32) {
        let seat = self.seats.entry(member).or_insert_with(|| Seat {
            slots: 0,
            able: false,
            held: 0,
            unheard: 0,
            proposals: BTreeMap::new(),
            served: 0,
            rank: None,
            over: None,
        });
        seat.slots = slots;
        seat.held = held;
        seat.unheard = i64::from(running) - i64::from(held);
        self.refresh(member);
    }

    /// A member gets up; its proposals must have been returned before.
    pub(super) fn unseat(&mut self, member: InstanceId) {
        self.set_able(member, false);
        if let Some(over) = self.seats.remove(&member).and_then(|seat| seat.over) {
            self.over.remove(&over);
        }
    }

    /// Whether the member may get new work. True if that changed anything.
    pub(super) fn set_able(&mut self, member: InstanceId, able: bool) -> bool {
        let Some(seat) = self.seats.get_mut(&member) else { return false };
        if seat.able == able {
            return false;
        }
        seat.able = able;
        self.refresh(member)
    }

    /// A heartbeat: what the member itself says is free.
    pub(super) fn heartbeat(&mut self, member: InstanceId, free: u32) {
        if let Some(seat) = self.seats.get_mut(&member) {
            let busy = seat.slots.saturating_sub(free);
            seat.unheard = i64::from(busy) - i64::from(seat.held);
            self.refresh(member);
        }
    }

    /// A publisher says that the member holds one more.
    pub(super) fn taken(&mut self, member: InstanceId) {
        if let Some(seat) = self.seats.get_mut(&member) {
            seat.held += 1;
            // The heartbeat that counted it already came before the publisher's word.
            seat.unheard -= i64::from(seat.unheard > 0);
            self.refresh(member);
        }
    }

    /// A publisher says that the member holds one less.
    pub(super) fn released(&mut self, member: InstanceId) {
        if let Some(seat) = self.seats.get_mut(&member) {
            seat.held = seat.held.saturating_sub(1);
            seat.unheard += i64::from(seat.unheard < 0);
            self.refresh(member);
        }
    }

    /// A task is proposed to the member. The number names the proposal; `None`: no such member.
    pub(super) fn propose(&mut self, member: InstanceId, task: TaskId) -> Option<u64> {
        let seat = self.seats.get_mut(&member)?;
        self.given += 1;
        seat.served = self.given;
        seat.proposals.insert(self.given, task);
        let number = self.given;
        self.refresh(member);
        Some(number)
    }

    /// A proposal is over: claimed, given back or taken back.
    pub(super) fn proposal_over(&mut self, member: InstanceId, number: u64) {
        if let Some(seat) = self.seats.get_mut(&member) {
            seat.proposals.remove(&number);
            self.refresh(member);
        }
    }

    /// The member that should get the next proposal, of those that `admits` admits.
    pub(super) fn pick(&mut self, mut admits: impl FnMut(InstanceId) -> bool) -> Option<InstanceId> {
        let mut examined = 0;
        let found = self.order.iter().map(|rank| rank.member).find(|member| {
            examined += 1;
            admits(*member)
        });
        self.examined += examined;
        found
    }

    /// Whether anybody has room.
    pub(super) fn any_room(&self) -> bool {
        !self.order.is_empty()
    }

    /// Whether this member has room for one more.
    pub(super) fn has_room(&self, member: InstanceId) -> bool {
        self.seats.get(&member).is_some_and(|seat| seat.rank.is_some())
    }

    /// Those that may get work, with or without room.
    pub(super) fn able(&self) -> impl Iterator<Item = InstanceId> + '_ {
        self.able.iter().copied()
    }

    /// Whether this one may get work, with or without room.
    pub(super) fn is_able(&self, member: InstanceId) -> bool {
        self.able.contains(&member)
    }

    /// Members with a slot that nothing will fill, emptiest first.
    pub(super) fn idle(&self) -> impl Iterator<Item = InstanceId> + '_ {
        self.order.iter().take_while(|rank| rank.wait < 0).map(|rank| rank.member)
    }

    /// Whether proposals wait for a slot somewhere while a slot elsewhere waits for one.
    pub(super) fn unbalanced(&self) -> bool {
        !self.over.is_empty() && self.order.first().is_some_and(|rank| rank.wait < 0)
    }

    /// The newest proposals that wait for a slot, of the members with most of them: at most `each` of at most `members`.
    pub(super) fn movable(
        &self,
        members: usize,
        each: usize,
    ) -> impl Iterator<Item = (InstanceId, TaskId)> + '_ {
        self.over.iter().take(members).flat_map(move |(waiting, member)| {
            let beyond = usize::try_from(-waiting).unwrap_or(0).min(each);
            let proposals = self.seats.get(member).map(|seat| seat.proposals.values().rev().take(beyond));
            proposals.into_iter().flatten().map(|task| (*member, *task))
        })
    }

    /// Slots that the member has free, as far as is known.
    pub(super) fn free(&self, member: InstanceId) -> u32 {
        self.seats.get(&member).map_or(0, Seat::free)
    }

    /// Attempts the member holds, as far as is known, and proposals it has not claimed.
    pub(super) fn load(&self, member: InstanceId) -> (u32, u32) {
        let proposals = |seat: &Seat| u32::try_from(seat.proposals.len()).unwrap_or(u32::MAX);
        self.seats.get(&member).map_or((0, 0), |seat| (seat.busy(), proposals(seat)))
    }

    /// The proposals that the member has not claimed, oldest first.
    pub(super) fn proposals(&self, member: InstanceId) -> Vec<TaskId> {
        self.seats.get(&member).map(|seat| seat.proposals.values().copied().collect()).unwrap_or_default()
    }

    /// Candidates looked at so far.
    pub(super) fn examined(&self) -> u64 {
        self.examined
    }

    /// Puts a seat where it belongs in the orders. True if the set of those that may get work has changed.
    fn refresh(&mut self, member: InstanceId) -> bool {
        let Some(seat) = self.seats.get_mut(&member) else { return false };
        let rank =
            seat.may_get_more(self.ahead).then(|| Rank { wait: seat.wait(), served: seat.served, member });
        if rank != seat.rank {
            if let Some(old) = seat.rank.take() {
                self.order.remove(&old);
            }
            self.order.extend(rank);
            seat.rank = rank;
        }
        let over = (seat.room() < 0).then(|| (seat.room(), member));
        if over != seat.over {
            if let Some(old) = seat.over.take() {
                self.over.remove(&old);
            }
            self.over.extend(over);
            seat.over = over;
        }
        if seat.able && seat.slots > 0 { self.able.insert(member) } else { self.able.remove(&member) }
    }

    /// Panics if the orders are not what a recount gives. `held` and `proposed`: what the tasks say.
    pub(super) fn check_invariants(
        &self,
        held: impl Fn(InstanceId) -> u32,
        proposed: impl Fn(TaskId) -> Option<(InstanceId, u64)>,
    ) {
        for (member, seat) in &self.seats {
            assert_eq!(seat.held, held(*member), "{member}: attempts held");
            for (number, task) in &seat.proposals {
                assert_eq!(proposed(*task), Some((*member, *number)), "{task}: proposed at one side only");
            }
            assert_eq!(seat.rank.is_some(), seat.may_get_more(self.ahead), "{member}: room");
            assert_eq!(self.able.contains(member), seat.able && seat.slots > 0, "{member}: able");
            assert_eq!(seat.over.is_some(), seat.room() < 0, "{member}: over");
            if let Some(rank) = seat.rank {
                assert_eq!(rank, Rank { wait: seat.wait(), served: seat.served, member: *member });
                assert!(self.order.contains(&rank), "{member}: not in the order");
            }
            if let Some(over) = seat.over {
                assert_eq!(over.0, seat.room(), "{member}: over by another number");
                assert!(self.over.contains(&over), "{member}: not among those over");
            }
        }
        assert_eq!(self.order.len(), self.seats.values().filter(|seat| seat.rank.is_some()).count());
        assert_eq!(self.over.len(), self.seats.values().filter(|seat| seat.over.is_some()).count());
        assert!(self.able.iter().all(|member| self.seats.contains_key(member)), "able without a seat");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn member(n: u8) -> InstanceId {
        InstanceId([n; 16])
    }

    fn task(number: u64) -> TaskId {
        TaskId { publisher: member(200), number }
    }

    fn with(slots: &[u32]) -> Capacity {
        let mut capacity = Capacity::new(2);
        for (n, slots) in (1..).zip(slots) {
            capacity.seat(member(n), *slots, 0, 0);
            capacity.set_able(member(n), true);
        }
        capacity
    }

    /// Gives tasks out until nobody has room; who got how many.
    fn fill(capacity: &mut Capacity, most: u64) -> BTreeMap<InstanceId, u32> {
        let mut got = BTreeMap::new();
        for number in 1..=most {
            let Some(to) = capacity.pick(|_| true) else { break };
            capacity.propose(to, task(number));
            *got.entry(to).or_insert(0) += 1;
        }
        got
    }

    #[test]
    fn t13_four_tasks_on_two_idle_members_with_two_slots_go_two_and_two() {
        let mut capacity = with(&[2, 2]);
        let got = fill(&mut capacity, 4);
        assert_eq!(got, BTreeMap::from([(member(1), 2), (member(2), 2)]));
    }

    #[test]
    fn t13_the_larger_member_fills_first_and_proposals_ahead_are_bounded() {
        let mut capacity = with(&[4, 1]);
        let got = fill(&mut capacity, 3);
        assert_eq!(got, BTreeMap::from([(member(1), 3)]), "most free first");
        fill(&mut capacity, 1_000);
        assert_eq!(capacity.load(member(1)), (0, 4 + 4 + 2));
        assert_eq!(capacity.load(member(2)), (0, 1 + 1 + 2));
        assert!(!capacity.any_room());
    }

    #[test]
    fn t13_a_held_attempt_takes_its_slot_and_gives_it_back() {
        let mut capacity = with(&[1]);
        let number = capacity.propose(member(1), task(1)).unwrap();
        capacity.proposal_over(member(1), number);
        capacity.taken(member(1));
        assert_eq!(capacity.free(member(1)), 0);
        assert!(capacity.has_room(member(1)), "one may wait there");
        capacity.released(member(1));
        assert_eq!(capacity.free(member(1)), 1);
    }

    #[test]
    fn t13_a_heartbeat_before_the_publishers_word_is_not_counted_twice() {
        let mut capacity = with(&[2]);
        capacity.heartbeat(member(1), 1);
        capacity.taken(member(1));
        assert_eq!(capacity.load(member(1)).0, 1);
        // And the other way round: the slot is free before the publisher says that the task has ended.
        capacity.heartbeat(member(1), 2);
        assert_eq!(capacity.free(member(1)), 2);
        capacity.released(member(1));
        assert_eq!(capacity.free(member(1)), 2);
    }

    #[test]
    fn t13_a_claim_under_way_is_not_taken_for_a_proposal_that_waits() {
        let mut capacity = with(&[1, 1]);
        let number = capacity.propose(member(1), task(1)).unwrap();
        capacity.heartbeat(member(1), 0);
        assert!(!capacity.unbalanced(), "or each task of an idle cluster would be moved once");
        capacity.proposal_over(member(1), number);
        capacity.taken(member(1));
        assert_eq!(capacity.load(member(1)), (1, 0));
    }

    #[test]
    fn t13_attempts_of_another_registry_are_seen_by_the_heartbeat() {
        let mut capacity = with(&[2, 2]);
        capacity.heartbeat(member(1), 0);
        assert_eq!(fill(&mut capacity, 2), BTreeMap::from([(member(2), 2)]));
    }

    #[test]
    fn t13_among_equals_whoever_was_served_longest_ago_goes_first() {
        let mut capacity = with(&[1, 1, 1]);
        let mut order = Vec::new();
        for number in 1..=6 {
            let to = capacity.pick(|_| true).unwrap();
            let proposal = capacity.propose(to, task(number)).unwrap();
            capacity.proposal_over(to, proposal);
            order.push(to);
        }
        assert_eq!(order, [1, 2, 3, 1, 2, 3].map(member));
    }

    #[test]
    fn r3_who_may_get_no_work_is_in_no_order() {
        let mut capacity = with(&[2]);
        assert!(capacity.set_able(member(1), false));
        assert!(!capacity.set_able(member(1), false));
        assert!(!capacity.any_room());
        assert_eq!(capacity.able().count(), 0);
        assert!(capacity.set_able(member(1), true));
        assert_eq!(capacity.pick(|_| true), Some(member(1)));
    }

    #[test]
    fn t13_what_waits_for_a_slot_can_be_moved_newest_first() {
        let mut capacity = with(&[1]);
        fill(&mut capacity, 3);
        assert!(!capacity.unbalanced(), "nobody is idle");
        capacity.seat(member(2), 1, 0, 0);
        capacity.set_able(member(2), true);
        assert!(capacity.unbalanced());
        assert_eq!(capacity.idle().collect::<Vec<_>>(), [member(2)]);
        let movable: Vec<_> = capacity.movable(4, 8).collect();
        assert_eq!(movable, [(member(1), task(3)), (member(1), task(2))], "the first has its slot");
    }

    #[derive(Clone, Debug)]
    enum Op {
        Seat(u8, u32, u32),
        Unseat(u8),
        Able(u8, bool),
        Heartbeat(u8, u32),
        Taken(u8),
        Released(u8),
        Give,
        Over(u8),
    }

    fn op() -> impl Strategy<Value = Op> {
        let who = 1..6u8;
        prop_oneof![
            (who.clone(), 0..5u32, 0..7u32).prop_map(|(m, s, r)| Op::Seat(m, s, r)),
            who.clone().prop_map(Op::Unseat),
            (who.clone(), any::<bool>()).prop_map(|(m, a)| Op::Able(m, a)),
            (who.clone(), 0..7u32).prop_map(|(m, f)| Op::Heartbeat(m, f)),
            who.clone().prop_map(Op::Taken),
            who.clone().prop_map(Op::Released),
            Just(Op::Give),
            who.prop_map(Op::Over),
        ]
    }

    proptest! {
        /// Whatever happens in whatever order: the orders equal a recount, and nobody gets more than its bound.
        #[test]
        fn t13_random_operations_keep_the_seats_consistent(ops in proptest::collection::vec(op(), 1..200)) {
            let mut capacity = Capacity::new(2);
            let mut held: BTreeMap<InstanceId, u32> = BTreeMap::new();
            let mut proposed: BTreeMap<TaskId, (InstanceId, u64)> = BTreeMap::new();
            let mut next = 0;
            for op in ops {
                match op {
                    Op::Seat(m, slots, running) => {
                        capacity.seat(member(m), slots, held.get(&member(m)).copied().unwrap_or(0), running);
                    }
                    Op::Unseat(m) => {
                        for task in capacity.proposals(member(m)) {
                            let (to, number) = proposed.remove(&task).unwrap();
                            capacity.proposal_over(to, number);
                        }
                        capacity.unseat(member(m));
                    }
                    Op::Able(m, able) => { capacity.set_able(member(m), able); }
                    Op::Heartbeat(m, free) => capacity.heartbeat(member(m), free),
                    Op::Taken(m) => {
                        *held.entry(member(m)).or_default() += 1;
                        capacity.taken(member(m));
                    }
                    Op::Released(m) => if let Some(n) = held.get_mut(&member(m)).filter(|n| **n > 0) {
                        *n -= 1;
                        capacity.released(member(m));
                    },
                    Op::Give => if let Some(to) = capacity.pick(|_| true) {
                        next += 1;
                        let number = capacity.propose(to, task(next)).unwrap();
                        proposed.insert(task(next), (to, number));
                        let (_, waiting) = capacity.load(to);
                        let seat = &capacity.seats[&to];
                        prop_assert!(waiting <= 3 * seat.slots + 2);
                    },
                    Op::Over(m) => if let Some(task) = capacity.proposals(member(m)).first() {
                        let (to, number) = proposed.remove(task).unwrap();
                        capacity.proposal_over(to, number);
                    },
                }
                capacity.check_invariants(|m| held.get(&m).copied().unwrap_or(0), |t| proposed.get(&t).copied());
            }
        }
    }
}
