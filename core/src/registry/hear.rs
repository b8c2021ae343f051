//! What members say: they register, publish, give back, tell what became of their tasks, and leave.

use super::members::{Joined, Registration};
use super::queue::{Publication, Published, State};
use super::sessions::{Session, Standing};
use super::{Out, Registry, RegistryNotice};
use crate::message::{
    Accepted, Decline, DeclineReason, Ended, Heartbeat, Message, Open, Publish, PublishNeeding, Register,
    Registered, Taken,
};
use crate::needs::{MAX_BYTES, MAX_LABELS, MAX_NEEDS, Need};
use crate::{Config, ConnectionId, InstanceId, Instant, TaskId};
use alloc::collections::BTreeSet;
use alloc::sync::Arc;
use alloc::vec::Vec;

/// What may not be said of where a node listens.
const UNREACHABLE: &str = "named an address that no other host can dial";
/// Slots of one member at most.
const MAX_SLOTS: u32 = 65_536;
/// Unclaimed proposals that a member may list for tasks that are not known yet; soft state, so more are not remembered.
const MAX_LISTED: usize = 4096;

impl Registry {
    /// Takes a message by what its connection may say.
    pub(super) fn message(
        &mut self,
        now: Instant,
        id: ConnectionId,
        session: Session,
        message: Message,
        out: &mut Out,
    ) {
        match (session.standing, message) {
            (Standing::Newcomer | Standing::Member, Message::Register(register)) => {
                self.register(now, id, session, register, out);
            }
            (Standing::Newcomer, _) => self.misbehaved(now, id, "spoke before it registered", out),
            (Standing::Member, message) => {
                if self.members.heard(now, session.peer) {
                    self.back_in_work(session.peer);
                }
                self.member_message(now, id, session, message, out);
            }
            (Standing::Asker, Message::Ask(ask)) => self.asked(now, id, session, ask, out),
            (Standing::Asker, _) => self.misbehaved(now, id, "sent something else than a question", out),
        }
    }

    fn member_message(
        &mut self,
        now: Instant,
        id: ConnectionId,
        session: Session,
        message: Message,
        out: &mut Out,
    ) {
        let member = session.peer;
        match message {
            Message::Heartbeat(Heartbeat { free }) => {
                self.capacity.heartbeat(member, free);
                self.unsettled = true;
            }
            Message::Leave(_) => self.gone(now, member, true, out),
            Message::Publish(publish) => self.published(now, id, session, publish, Vec::new(), out),
            Message::PublishNeeding(PublishNeeding { publish, needs }) => {
                self.published(now, id, session, publish, needs, out);
            }
            Message::Decline(decline) => self.declined(now, member, &decline, out),
            Message::Taken(Taken { task, by, attempt }) if task.publisher == member => {
                self.queue.confirm(task);
                self.taken(now, task, State::Taken { by, attempt }, out);
            }
            Message::Open(Open { task, avoid }) if task.publisher == member => {
                self.queue.confirm(task);
                self.queue.avoid(task, avoid);
                self.open(now, task, out);
            }
            Message::Ended(ended) if ended.task.publisher == member => self.ended(now, &ended, out),
            Message::Taken(_) | Message::Open(_) | Message::Ended(_) => {
                self.misbehaved(now, id, "spoke for a task of another publisher", out);
            }
            Message::Answer(answer) => self.publisher_answered(now, id, member, answer, out),
            _ => self.misbehaved(now, id, "sent a message that no registry takes", out),
        }
    }

    // ---- members come and go ----

    fn register(
        &mut self,
        now: Instant,
        id: ConnectionId,
        session: Session,
        register: Register,
        out: &mut Out,
    ) {
        if let Some(what) = flaw(&register) {
            self.misbehaved(now, id, what, out);
            return;
        }
        let Register { name, address, slots, client, labels, running, proposed } = register;
        let member = session.peer;
        let Some(address) = session.reached_at(&address) else {
            self.misbehaved(now, id, UNREACHABLE, out);
            return;
        };
        // Not even a link that the layer below still believes in counts beside the one it registers on.
        let old = self.members.connection(member);
        let new_link = old != Some(id);
        if let Some(old) = old.filter(|_| new_link) {
            self.sessions.remove(old);
            self.manager.discard(now, old, out);
        }
        let registration =
            Registration { name: name.clone(), address: address.clone(), slots, client, labels };
        let (again, shared) = match self.members.register(now, member, id, registration) {
            Joined::Member { again, shared } => (again, shared),
            Joined::Full => {
                self.turn_away(now, id, session, out);
                return;
            }
        };
        self.sessions.promote(id);
        self.send(now, id, Registered { address: address.clone() }, out);
        out.notify(RegistryNotice::MemberJoined {
            member,
            name: name.clone(),
            address,
            slots,
            client,
            again,
        });
        if let Some(first) = shared {
            out.notify(RegistryNotice::NameShared { name, first, second: member });
        }
        let running = u32::try_from(running.len()).unwrap_or(u32::MAX);
        self.capacity.seat(member, if client { 0 } else { slots }, self.queue.held(member), running);
        self.reconcile(now, member, proposed, out);
        self.back_in_work(member);
        self.waits.forget(member);
        self.ask_again(now, member, out);
        if new_link && self.queue.doubt(member) {
            self.doubts.set(member, now + self.limits.lease);
        }
    }

    /// A publisher that registered again has been publishing for as long as it had anything to publish: what it did not name
    /// has ended, and the word of it was lost with its old link (ledger R6).
    pub(super) fn said_all(&mut self, now: Instant, publisher: InstanceId, out: &mut Out) {
        let gone = self.queue.remove_doubted(publisher);
        self.tasks_gone(now, gone, out);
        self.waits.touch(publisher);
        self.unsettled = true;
        self.call_back(now, out);
    }

    /// Lets go of tasks that are out of the table.
    fn tasks_gone(&mut self, now: Instant, gone: Vec<(TaskId, State)>, out: &mut Out) {
        for (task, state) in gone {
            match state {
                State::Proposed { to, number } => {
                    self.capacity.proposal_over(to, number);
                    self.withdraw(now, task, to, out);
                }
                State::Taken { by, .. } => self.capacity.released(by),
                State::Waiting | State::Ended(_) => {}
            }
            out.notify(RegistryNotice::TaskEnded(task, None));
        }
    }

    /// Brings together what the member says it has not claimed and what is known here (ledger R6).
    fn reconcile(&mut self, now: Instant, member: InstanceId, proposed: Vec<TaskId>, out: &mut Out) {
        let proposed: BTreeSet<TaskId> = proposed.into_iter().take(MAX_LISTED).collect();
        for task in self.capacity.proposals(member) {
            if !proposed.contains(&task) {
                self.returned(now, task, member, out);
            }
        }
        // From now on it may be given tasks; before, `able` would contradict those that it keeps.
        self.capacity.set_able(member, true);
        for task in proposed {
            match self.queue.task(task).map(|entry| entry.state) {
                None => self.members.list(member, task),
                Some(State::Waiting) if self.may_get(task, member) && self.capacity.is_able(member) => {
                    self.propose(now, task, member, false, out);
                }
                Some(State::Proposed { to, .. }) if to == member => {}
                Some(State::Waiting | State::Proposed { .. } | State::Taken { .. } | State::Ended(_)) => {
                    self.send_to(now, member, crate::message::Withdraw { task }, out);
                }
            }
        }
    }

    /// The member is there (again).
    fn back_in_work(&mut self, member: InstanceId) {
        let able = self.members.member(member).is_some_and(super::members::Member::is_able);
        self.capacity.set_able(member, able);
        self.touch_all();
    }

    /// A member is out: it left, or was silent for too long. Its tasks end with it, since nobody else may end them.
    pub(super) fn gone(&mut self, now: Instant, member: InstanceId, left: bool, out: &mut Out) {
        self.out_of_work(now, member, out);
        self.doubts.clear(&member);
        let gone = self.queue.remove_publisher(member);
        self.tasks_gone(now, gone, out);
        while let Some(pending) = self.questions.take_of(member) {
            self.publisher_silent(now, &pending, out);
        }
        self.capacity.unseat(member);
        self.pairs.forget_executor(member);
        self.waits.forget(member);
        self.told_full.remove(&member);
        if let Some(entry) = self.members.remove(member) {
            if let Some(connection) = entry.connection {
                self.sessions.remove(connection);
                self.manager.discard(now, connection, out);
            }
            out.notify(RegistryNotice::MemberGone { member, name: entry.name.as_ref().into(), left });
        }
        self.call_back(now, out);
        self.touch_all();
    }

    // ---- tasks ----

    fn published(
        &mut self,
        now: Instant,
        id: ConnectionId,
        session: Session,
        publish: Publish,
        needs: Vec<Need>,
        out: &mut Out,
    ) {
        let Publish { task, title, placement, publisher, taken, avoid } = publish;
        if task.publisher != session.peer {
            self.misbehaved(now, id, "published a task of another publisher", out);
            return;
        }
        if needs.len() > MAX_NEEDS || !needs.iter().all(Need::is_sound) {
            self.misbehaved(now, id, "published a task with too many or too long needs", out);
            return;
        }
        let Some(publisher) = session.reached_at(&publisher) else {
            self.misbehaved(now, id, UNREACHABLE, out);
            return;
        };
        let Some(member) = self.members.member(session.peer) else { return };
        let name = Arc::clone(&member.name);
        self.members.set_claims_at(session.peer, publisher);
        let published = Published { title, publisher: name, placement, avoid, needs };
        let publication = self.queue.publish(now, task, published);
        let again = match publication {
            Publication::New => false,
            Publication::Again => true,
            Publication::Full => {
                if self.told_full.insert(session.peer) {
                    out.notify(RegistryNotice::TasksFull(session.peer));
                }
                return;
            }
        };
        // It is not through yet; more may follow.
        if self.queue.is_in_doubt(session.peer) {
            self.doubts.set(session.peer, now + self.limits.lease);
        } else {
            self.doubts.clear(&session.peer);
        }
        self.send(now, id, Accepted { task }, out);
        out.notify(RegistryNotice::TaskPublished { task, again });
        self.unsettled = true;
        self.waits.touch(session.peer);
        let lister = self.members.take_listed(task);
        match taken {
            Some((by, attempt)) => self.taken(now, task, State::Taken { by, attempt }, out),
            None => {
                self.open(now, task, out);
                self.adopt(now, task, lister, out);
            }
        }
    }

    /// A member said before that it holds a proposal for this task: it keeps it.
    fn adopt(&mut self, now: Instant, task: TaskId, lister: Option<InstanceId>, out: &mut Out) {
        let Some(lister) = lister else { return };
        let waiting = self.queue.task(task).is_some_and(|entry| entry.state == State::Waiting);
        if waiting && self.capacity.is_able(lister) && self.may_get(task, lister) {
            self.propose(now, task, lister, false, out);
        }
    }

    fn declined(&mut self, now: Instant, member: InstanceId, decline: &Decline, out: &mut Out) {
        let Decline { task, why } = *decline;
        let Some(state) = self.queue.task(task).map(|entry| entry.state) else { return };
        if why == DeclineReason::Unreachable && member != task.publisher {
            self.pairs.cut(now, task.publisher, member);
            self.waits.touch(task.publisher);
        }
        if matches!(state, State::Proposed { to, .. } if to == member) {
            self.returned(now, task, member, out);
            self.queue.declined(now, task, member);
        }
    }

    fn taken(&mut self, now: Instant, task: TaskId, state: State, out: &mut Out) {
        let State::Taken { by, attempt } = state else { return };
        match self.set(now, task, state) {
            Some(State::Proposed { to, .. }) if to != by => self.withdraw(now, task, to, out),
            Some(_) => {}
            None => return,
        }
        out.notify(RegistryNotice::TaskTaken { task, by, attempt });
    }

    /// Nobody holds the task, its publisher says.
    fn open(&mut self, now: Instant, task: TaskId, out: &mut Out) {
        match self.queue.task(task).map(|entry| entry.state) {
            Some(State::Taken { .. }) => {
                self.set(now, task, State::Waiting);
                out.notify(RegistryNotice::TaskOpen(task));
            }
            // It may demand something else now.
            Some(State::Proposed { to, .. }) if !self.may_get(task, to) => {
                self.take_back(now, task, to, out);
            }
            Some(State::Waiting | State::Proposed { .. }) => {
                self.unsettled = true;
                self.waits.touch(task.publisher);
            }
            Some(State::Ended(_)) | None => {}
        }
    }

    fn ended(&mut self, now: Instant, ended: &Ended, out: &mut Out) {
        let Ended { task, how } = *ended;
        if let Some(old) = self.set(now, task, State::Ended(how)) {
            if let State::Proposed { to, .. } = old {
                self.withdraw(now, task, to, out);
            }
            out.notify(RegistryNotice::TaskEnded(task, Some(how)));
            self.call_back(now, out);
        }
    }

    /// There is room again for those whose tasks were not accepted: their connections are closed, so that they register and
    /// publish again. Not before a tenth of the table is free, so that it does not happen at every end.
    fn call_back(&mut self, now: Instant, out: &mut Out) {
        if self.told_full.is_empty() || self.queue.live() > self.limits.max_tasks / 10 * 9 {
            return;
        }
        for publisher in core::mem::take(&mut self.told_full) {
            if let Some(id) = self.members.connection(publisher) {
                self.drop_connection(now, id, out);
            }
        }
    }
}

/// What is wrong with a registration, if anything.
fn flaw(register: &Register) -> Option<&'static str> {
    if register.name.is_empty() || register.name.len() > Config::MAX_NAME {
        Some("registered without a name, or with one that is too long")
    } else if register.slots > MAX_SLOTS {
        Some("registered more slots than any machine has")
    } else if register.labels.len() > MAX_LABELS
        || register.labels.iter().any(|(name, value)| name.len() > MAX_BYTES || value.len() > MAX_BYTES)
    {
        Some("registered too many or too long labels")
    } else {
        None
    }
}
