//! `Members`: who is registered (the seed's ExecutorMgr), and how long each has been silent.

use crate::needs::Label;
use crate::states::{Key, MemberState, Row};
use crate::time::Instant;
use crate::timers::Timers;
use crate::{Address, ConnectionId, InstanceId, TaskId};
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::time::Duration;
use serde::{Deserialize, Serialize};

/// One member.
#[derive(Clone, Debug, Hash, Serialize, Deserialize)]
pub(super) struct Member {
    /// For people; shared with the tasks it publishes.
    pub(super) name: Arc<str>,
    /// Where others dial it, completed.
    pub(super) address: Address,
    /// Where its tasks are claimed, completed; as its last publication said.
    pub(super) claims_at: Address,
    pub(super) slots: u32,
    pub(super) client: bool,
    /// What tasks that state their needs are matched by.
    pub(super) labels: Vec<Label>,
    /// Its registration connection; `None` since that broke.
    pub(super) connection: Option<ConnectionId>,
    /// When it was last heard of.
    pub(super) heard: Instant,
    /// Silent for so long that it gets no new work.
    pub(super) suspect: bool,
    /// When it registered.
    joined: Instant,
    /// Proposals that it says it holds for tasks that are not known here (a restarted registry): adopted when their publisher
    /// publishes them, dropped with the link, or once a publisher that lives would long have published them.
    pub(super) listed: BTreeSet<TaskId>,
}

impl Member {
    /// Whether it is there and may get work.
    pub(super) fn is_able(&self) -> bool {
        self.connection.is_some() && !self.suspect && !self.client
    }
}

/// What a registration brings.
#[derive(Clone, Debug, Hash)]
pub(super) struct Registration {
    pub(super) name: String,
    pub(super) address: Address,
    pub(super) slots: u32,
    pub(super) client: bool,
    pub(super) labels: Vec<Label>,
}

/// What became of a registration.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[must_use]
pub(super) enum Joined {
    /// It stands in the table.
    Member {
        /// It had been there.
        again: bool,
        /// Another living member that has its name.
        shared: Option<InstanceId>,
    },
    /// There is no room.
    Full,
}

/// What a member's silence has come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Silence {
    /// No new work.
    Suspect(InstanceId),
    /// To be removed.
    Gone(InstanceId),
}

/// The table.
#[derive(Clone, Debug, Hash, Serialize, Deserialize)]
pub(super) struct Members {
    max: usize,
    suspect: Duration,
    lease: Duration,
    members: BTreeMap<InstanceId, Member>,
    /// Executors by name, to notice a name that is claimed twice.
    names: BTreeSet<(Arc<str>, InstanceId)>,
    /// Tasks that somebody lists; see [`Member::listed`].
    listed: BTreeMap<TaskId, InstanceId>,
    /// When to look at a member's silence; set lazily, so that hearing of it costs nothing.
    timers: Timers<InstanceId>,
}

impl Members {
    pub(super) fn new(max: usize, suspect: Duration, lease: Duration) -> Self {
        Self {
            max,
            suspect,
            lease,
            members: BTreeMap::new(),
            names: BTreeSet::new(),
            listed: BTreeMap::new(),
            timers: Timers::new(),
        }
    }

    /// What the member says of itself.
    pub(super) fn labels(&self, member: InstanceId) -> &[Label] {
        self.members.get(&member).map(|member| &member.labels[..]).unwrap_or_default()
    }

    /// Records a member under its connection; a known one is replaced.
    pub(super) fn register(
        &mut self,
        now: Instant,
        id: InstanceId,
        connection: ConnectionId,
        registration: Registration,
    ) -> Joined {
        let known = self.members.contains_key(&id);
        if !known && self.members.len() >= self.max {
            return Joined::Full;
        }
        self.remove(id);
        let Registration { name, address, slots, client, labels } = registration;
        let name: Arc<str> = name.into();
        let shared = if client { None } else { self.living_namesake(&name) };
        if !client {
            self.names.insert((Arc::clone(&name), id));
        }
        self.timers.set(id, now + self.suspect);
        let member = Member {
            name,
            claims_at: address.clone(),
            address,
            slots,
            client,
            labels,
            connection: Some(connection),
            heard: now,
            suspect: false,
            joined: now,
            listed: BTreeSet::new(),
        };
        self.members.insert(id, member);
        Joined::Member { again: known, shared }
    }

    /// Something came from the member. True if it had been suspect.
    pub(super) fn heard(&mut self, now: Instant, id: InstanceId) -> bool {
        let Some(member) = self.members.get_mut(&id) else { return false };
        member.heard = now;
        let was_suspect = core::mem::take(&mut member.suspect);
        if was_suspect {
            self.timers.set(id, now + self.suspect);
        }
        was_suspect
    }

    /// The member's connection is over. False if that was not its current one. `silent`: the end is no sign of life.
    pub(super) fn unlink(
        &mut self,
        now: Instant,
        id: InstanceId,
        connection: ConnectionId,
        silent: bool,
    ) -> bool {
        let Some(member) = self.members.get_mut(&id).filter(|member| member.connection == Some(connection))
        else {
            return false;
        };
        member.connection = None;
        if !silent && !member.suspect {
            member.heard = now;
        }
        self.unlist(id);
        true
    }

    /// Where each stands.
    pub(super) fn rows(&self) -> impl Iterator<Item = Row> {
        self.members.iter().map(|(id, member)| {
            let state = match (member.connection, member.suspect) {
                (Some(_), false) => MemberState::Present,
                (Some(_), true) => MemberState::Suspect,
                (None, false) => MemberState::Away,
                (None, true) => MemberState::Silent,
            };
            Row::new(Key::Peer(*id), state).on(member.connection)
        })
    }

    /// For leak checks; all zero once every member is there and every publisher has published what it has.
    pub(super) fn unfinished(&self) -> [(&'static str, usize); 2] {
        let away = |member: &&Member| member.connection.is_none() || member.suspect;
        [
            ("members that are away", self.members.values().filter(away).count()),
            ("listed tasks that nobody has published", self.listed.len()),
        ]
    }

    /// Takes a member out.
    pub(super) fn remove(&mut self, id: InstanceId) -> Option<Member> {
        self.unlist(id);
        let member = self.members.remove(&id)?;
        self.names.remove(&(Arc::clone(&member.name), id));
        self.timers.clear(&id);
        Some(member)
    }

    /// Remembers that a member says it holds a proposal for a task that is not known here.
    pub(super) fn list(&mut self, id: InstanceId, task: TaskId) {
        if let Some(member) = self.members.get_mut(&id)
            && !self.listed.contains_key(&task)
        {
            member.listed.insert(task);
            self.listed.insert(task, id);
        }
    }

    /// Who listed this task; forgotten thereby.
    pub(super) fn take_listed(&mut self, task: TaskId) -> Option<InstanceId> {
        let id = self.listed.remove(&task)?;
        if let Some(member) = self.members.get_mut(&id) {
            member.listed.remove(&task);
        }
        Some(id)
    }

    /// Takes the next member whose silence has come to something.
    pub(super) fn due(&mut self, now: Instant) -> Option<Silence> {
        while let Some(id) = self.timers.pop_due(now) {
            let Some(member) = self.members.get_mut(&id) else { continue };
            let gone = member.heard + self.lease;
            if member.suspect {
                if gone <= now {
                    self.timers.set(id, gone);
                    return Some(Silence::Gone(id));
                }
                self.timers.set(id, gone);
            } else if member.heard + self.suspect <= now {
                member.suspect = true;
                self.timers.set(id, gone);
                return Some(Silence::Suspect(id));
            } else {
                self.timers.set(id, member.heard + self.suspect);
                if member.joined + self.lease <= now {
                    self.unlist(id);
                }
            }
        }
        None
    }

    /// When `due` is wanted.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.timers.next()
    }

    pub(super) fn member(&self, id: InstanceId) -> Option<&Member> {
        self.members.get(&id)
    }

    /// Where the member's tasks are claimed from now on.
    pub(super) fn set_claims_at(&mut self, id: InstanceId, address: Address) {
        if let Some(member) = self.members.get_mut(&id) {
            member.claims_at = address;
        }
    }

    /// The member's connection, while it has one.
    pub(super) fn connection(&self, id: InstanceId) -> Option<ConnectionId> {
        self.members.get(&id)?.connection
    }

    /// All, by instance.
    pub(super) fn iter(&self) -> impl Iterator<Item = (InstanceId, &Member)> + '_ {
        self.members.iter().map(|(id, member)| (*id, member))
    }

    fn living_namesake(&self, name: &Arc<str>) -> Option<InstanceId> {
        let first = (Arc::clone(name), InstanceId::NONE);
        let same = self.names.range(first..).take_while(|(other, _)| other == name);
        same.map(|(_, id)| *id).find(|id| self.members.get(id).is_some_and(Member::is_able))
    }

    fn unlist(&mut self, id: InstanceId) {
        if let Some(member) = self.members.get_mut(&id) {
            for task in core::mem::take(&mut member.listed) {
                self.listed.remove(&task);
            }
        }
    }

    /// Panics if the indexes are not what a recount gives.
    pub(super) fn check_invariants(&self) {
        assert!(self.members.len() <= self.max);
        for (id, member) in &self.members {
            let timer = self.timers.at(id).unwrap_or(Instant::FAR_FUTURE);
            let silence = if member.suspect { self.lease } else { self.suspect };
            assert!(timer <= member.heard + silence, "{id}: its silence would be noticed too late");
            assert_eq!(self.names.contains(&(Arc::clone(&member.name), *id)), !member.client, "{id}: name");
            for task in &member.listed {
                assert_eq!(self.listed.get(task), Some(id), "{task}: listed at one side only");
            }
            assert!(member.connection.is_some() || member.listed.is_empty(), "{id}: lists without a link");
        }
        assert_eq!(self.timers.len(), self.members.len(), "timers");
        assert_eq!(self.names.len(), self.members.values().filter(|member| !member.client).count(), "names");
        let listed: usize = self.members.values().map(|member| member.listed.len()).sum();
        assert_eq!(listed, self.listed.len(), "listed");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::string::ToString;

    fn node(n: u8) -> InstanceId {
        InstanceId([n; 16])
    }

    fn at(millis: u64) -> Instant {
        Instant::from_micros(millis * 1000)
    }

    fn members() -> Members {
        Members::new(4, Duration::from_secs(9), Duration::from_secs(15))
    }

    fn registration(name: &str) -> Registration {
        Registration {
            name: name.to_string(),
            address: "127.0.0.1:7700".parse().unwrap(),
            slots: 2,
            client: false,
            labels: Vec::new(),
        }
    }

    const NEW: Joined = Joined::Member { again: false, shared: None };

    #[test]
    fn x3_a_listed_proposal_that_nobody_publishes_is_forgotten() {
        let mut members = members();
        assert_eq!(members.register(at(0), node(1), ConnectionId(1), registration("a")), NEW);
        let task = |number| TaskId { publisher: node(9), number };
        members.list(node(1), task(1));
        members.list(node(1), task(2));
        for second in 1..30 {
            members.heard(at(1000 * second), node(1));
            assert_eq!(members.due(at(1000 * second)), None);
            members.check_invariants();
            if second == 14 {
                assert_eq!(
                    members.take_listed(task(1)),
                    Some(node(1)),
                    "its publisher has come back in time"
                );
            }
        }
        assert_eq!(members.take_listed(task(2)), None, "its publisher never did");
        assert!(members.unfinished().iter().all(|(_, count)| *count == 0));
    }

    #[test]
    fn r2_the_same_instance_again_is_the_same_member() {
        let mut members = members();
        assert_eq!(members.register(at(0), node(1), ConnectionId(1), registration("a")), NEW);
        let again = members.register(at(5), node(1), ConnectionId(2), registration("b"));
        assert_eq!(again, Joined::Member { again: true, shared: None });
        assert_eq!(members.iter().count(), 1);
        assert_eq!(members.connection(node(1)), Some(ConnectionId(2)));
        assert!(!members.unlink(at(6), node(1), ConnectionId(1), false), "the old link says nothing now");
        assert_eq!(members.connection(node(1)), Some(ConnectionId(2)));
        members.check_invariants();
    }

    #[test]
    fn r2_two_executors_claim_one_name() {
        let mut members = members();
        assert_eq!(members.register(at(0), node(1), ConnectionId(1), registration("a")), NEW);
        let shared = members.register(at(0), node(2), ConnectionId(2), registration("a"));
        assert_eq!(shared, Joined::Member { again: false, shared: Some(node(1)) });
        assert_eq!(members.iter().count(), 2, "both are kept");
        // A restart with a new incarnation: the old one's link is dead, so nobody shares anything.
        members.unlink(at(1), node(1), ConnectionId(1), false);
        members.unlink(at(1), node(2), ConnectionId(2), false);
        assert_eq!(members.register(at(2), node(3), ConnectionId(3), registration("a")), NEW);
        members.check_invariants();
    }

    #[test]
    fn r1_more_than_the_bound_are_refused_and_known_ones_are_not() {
        let mut members = members();
        for n in 1..=4 {
            assert!(!members.register(at(0), node(n), ConnectionId(1), registration("a")).is_full());
        }
        assert_eq!(members.register(at(0), node(5), ConnectionId(1), registration("a")), Joined::Full);
        assert!(!members.register(at(0), node(4), ConnectionId(1), registration("a")).is_full());
        members.check_invariants();
    }

    impl Joined {
        fn is_full(&self) -> bool {
            *self == Self::Full
        }
    }

    #[test]
    fn r3_silence_makes_suspect_then_gone_and_a_word_ends_it() {
        let mut members = members();
        assert_eq!(members.register(at(0), node(1), ConnectionId(1), registration("a")), NEW);
        assert_eq!(members.due(at(8_999)), None);
        assert_eq!(members.due(at(9_000)), Some(Silence::Suspect(node(1))));
        assert!(!members.member(node(1)).unwrap().is_able());
        assert!(members.heard(at(10_000), node(1)));
        assert!(members.member(node(1)).unwrap().is_able());
        assert_eq!(members.due(at(18_999)), None);
        assert_eq!(members.due(at(19_000)), Some(Silence::Suspect(node(1))));
        assert_eq!(members.due(at(24_999)), None);
        assert_eq!(members.due(at(25_000)), Some(Silence::Gone(node(1))));
        members.remove(node(1));
        assert_eq!(members.deadline(), None);
        members.check_invariants();
    }

    #[test]
    fn r3_a_broken_link_is_a_last_sign_of_life_and_a_silent_one_is_none() {
        for (silent, gone) in [(false, 20_000), (true, 15_000)] {
            let mut members = members();
            assert_eq!(members.register(at(0), node(1), ConnectionId(1), registration("a")), NEW);
            assert!(members.unlink(at(5_000), node(1), ConnectionId(1), silent));
            assert_eq!(members.due(at(gone - 1)), Some(Silence::Suspect(node(1))));
            assert_eq!(members.due(at(gone - 1)), None);
            assert_eq!(members.due(at(gone)), Some(Silence::Gone(node(1))));
        }
    }

    #[derive(Clone, Debug)]
    enum Op {
        Register(u8, u64, u8, bool),
        Heard(u8),
        Unlink(u8, u64, bool),
        Remove(u8),
        List(u8, u64),
        TakeListed(u64),
        Later(u64),
    }

    fn op() -> impl Strategy<Value = Op> {
        let who = 1..7u8;
        prop_oneof![
            (who.clone(), 0..3u64, 0..2u8, any::<bool>())
                .prop_map(|(m, c, n, client)| Op::Register(m, c, n, client)),
            who.clone().prop_map(Op::Heard),
            (who.clone(), 0..3u64, any::<bool>()).prop_map(|(m, c, s)| Op::Unlink(m, c, s)),
            who.clone().prop_map(Op::Remove),
            (who, 0..4u64).prop_map(|(m, t)| Op::List(m, t)),
            (0..4u64).prop_map(Op::TakeListed),
            (0..12_000u64).prop_map(Op::Later),
        ]
    }

    proptest! {
        /// Whatever happens in whatever order: the indexes equal a recount, and nobody is silent beyond the lease unnoticed.
        #[test]
        fn r3_random_operations_keep_members_consistent(ops in proptest::collection::vec(op(), 1..200)) {
            let mut members = members();
            let mut now = at(0);
            for op in ops {
                match op {
                    Op::Register(m, c, n, client) => {
                        let registration = Registration { client, ..registration(&n.to_string()) };
                        let _ = members.register(now, node(m), ConnectionId(c), registration);
                    }
                    Op::Heard(m) => { members.heard(now, node(m)); }
                    Op::Unlink(m, c, silent) => { members.unlink(now, node(m), ConnectionId(c), silent); }
                    Op::Remove(m) => { members.remove(node(m)); }
                    Op::List(m, number) => if members.connection(node(m)).is_some() {
                        members.list(node(m), TaskId { publisher: node(9), number });
                    },
                    Op::TakeListed(number) => { members.take_listed(TaskId { publisher: node(9), number }); }
                    Op::Later(millis) => {
                        now += Duration::from_millis(millis);
                        while let Some(silence) = members.due(now) {
                            if let Silence::Gone(id) = silence {
                                members.remove(id);
                            }
                        }
                        prop_assert!(members.iter().all(|(_, m)| now < m.heard + Duration::from_secs(15)));
                    }
                }
                members.check_invariants();
            }
        }
    }
}
