//! What the command line asks. Lists are answered here; what concerns one task, its publisher answers (it alone knows).

use super::questions::Pending;
use super::queue::State;
use super::sessions::Session;
use super::{Out, Registry, RegistryNotice};
use crate::connection::DisconnectReason;
use crate::message::{Answer, Ask, MAX_ROWS, NodeRow, Question, Reply, TaskRow, TaskState};
use crate::needs::Label;
use crate::time::Instant;
use crate::{Address, ConnectionId, InstanceId, TaskId, TaskName};
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::time::Duration;

/// Tasks that an ambiguous name lists at most.
const MAX_AMBIGUOUS: usize = 16;
/// Bytes of a list at most: every peer takes packs of this size.
const MAX_LIST: usize = (2 << 20) - (16 << 10);

/// What a task's name means.
enum Meant {
    /// One task that has not ended.
    Task(TaskId),
    /// Nothing that could be forwarded; this is to be said.
    Reply(Reply),
}

impl Registry {
    pub(super) fn asked(
        &mut self,
        now: Instant,
        id: ConnectionId,
        session: Session,
        ask: Ask,
        out: &mut Out,
    ) {
        if self.questions.is_asking(id) {
            self.misbehaved(now, id, "asked again before it was answered", out);
            return;
        }
        let Ask { request, question } = ask;
        let reply = match &question {
            Question::Nodes => Some(self.nodes(now, &session)),
            Question::Tasks => Some(self.tasks(now)),
            Question::Labels => Some(self.labels()),
            Question::Cancel(name) | Question::Why(name) => match self.meant(name) {
                Meant::Task(task) => {
                    let pending = Pending { asker: id, request, task, question };
                    self.forward(now, session, pending, out);
                    None
                }
                Meant::Reply(reply) => Some(reply),
            },
        };
        if let Some(reply) = reply {
            self.reply(now, id, request, reply, out);
        }
    }

    /// The one task of that name that has not ended, or what to say instead.
    fn meant(&self, name: &TaskName) -> Meant {
        let mut found = self.queue.named(name, MAX_AMBIGUOUS);
        match (found.pop(), found.is_empty()) {
            (None, _) => Meant::Reply(Reply::NoSuchTask),
            (Some(task), true) => match self.queue.task(task).map(|entry| entry.state) {
                Some(State::Ended(how)) => Meant::Reply(Reply::AlreadyEnded(task, how)),
                Some(State::Waiting | State::Proposed { .. } | State::Taken { .. }) => Meant::Task(task),
                None => Meant::Reply(Reply::NoSuchTask),
            },
            (Some(task), false) => {
                found.push(task);
                Meant::Reply(Reply::Ambiguous(found))
            }
        }
    }

    fn forward(&mut self, now: Instant, session: Session, pending: Pending, out: &mut Out) {
        let (asker, task) = (pending.asker, pending.task);
        let question = spelled_out(&pending.question, task);
        match self.questions.ask(now, pending) {
            Some(request) => {
                self.sessions.expect(asker, None);
                self.send_to(now, task.publisher, Ask { request, question }, out);
            }
            None => self.turn_away(now, asker, session, out),
        }
    }

    /// A publisher has registered again: its old link may have lost what it was asked.
    pub(super) fn ask_again(&mut self, now: Instant, publisher: InstanceId, out: &mut Out) {
        let asked: Vec<Ask> = self
            .questions
            .of(publisher)
            .map(|(request, pending)| Ask { request, question: spelled_out(&pending.question, pending.task) })
            .collect();
        for ask in asked {
            self.send_to(now, publisher, ask, out);
        }
    }

    pub(super) fn publisher_answered(
        &mut self,
        now: Instant,
        id: ConnectionId,
        publisher: InstanceId,
        answer: Answer,
        out: &mut Out,
    ) {
        let Answer { request, reply } = answer;
        match reply {
            Reply::Cancelled(_) | Reply::Why(_) | Reply::AlreadyEnded(..) | Reply::NoSuchTask => {}
            Reply::Nodes(_)
            | Reply::Tasks { .. }
            | Reply::Labels(_)
            | Reply::Ambiguous(_)
            | Reply::PublisherSilent(_) => {
                self.misbehaved(now, id, "answered what it was not asked", out);
                return;
            }
        }
        if let Some(pending) = self.questions.answered(publisher, request) {
            self.reply(now, pending.asker, pending.request, reply, out);
        }
    }

    pub(super) fn publisher_silent(&mut self, now: Instant, pending: &Pending, out: &mut Out) {
        self.reply(now, pending.asker, pending.request, Reply::PublisherSilent(pending.task), out);
    }

    /// Answers; from then on the asker has so long to close.
    fn reply(&mut self, now: Instant, asker: ConnectionId, request: u64, reply: Reply, out: &mut Out) {
        let Some(session) = self.sessions.session(asker) else { return };
        self.sessions.expect(asker, Some(now + self.limits.ask));
        let pack = crate::message::Message::from(Answer { request, reply }).into_pack();
        if self.manager.send(now, asker, pack, out).is_err() {
            // It takes smaller packs than we do; it is not to wait for an answer that cannot come.
            out.notify(RegistryNotice::TurnedAway {
                from: session.socket,
                reason: DisconnectReason::SlowPeer,
            });
            self.drop_connection(now, asker, out);
        }
    }

    fn nodes(&self, now: Instant, asker: &Session) -> Reply {
        let rows = self.members.iter().map(|(instance, member)| {
            let (running, proposed) = self.capacity.load(instance);
            NodeRow {
                instance,
                name: member.name.as_ref().into(),
                address: asker.told(&member.address),
                slots: member.slots,
                running,
                proposed,
                client: member.client,
                suspect: member.suspect || member.connection.is_none(),
                silent: micros(now.since(member.heard)),
            }
        });
        let mut room = MAX_LIST;
        Reply::Nodes(rows.take(MAX_ROWS).take_while(|row| fits(&mut room, node_size(row))).collect())
    }

    /// Of those that `nodes` lists.
    fn labels(&self) -> Reply {
        let rows = self.members.iter().take(MAX_ROWS);
        let labelled = rows.filter(|(_, member)| !member.labels.is_empty());
        let mut room = MAX_LIST;
        let size = |labels: &[Label]| {
            labels.iter().map(|(name, value)| 16 + name.len() + value.len()).sum::<usize>()
        };
        let labels = labelled.map(|(instance, member)| (instance, member.labels.clone()));
        Reply::Labels(labels.take_while(|(_, labels)| fits(&mut room, 32 + size(labels))).collect())
    }

    fn tasks(&self, now: Instant) -> Reply {
        let mut room = MAX_LIST;
        let name = |id: InstanceId| match self.members.member(id) {
            Some(member) => member.name.as_ref().into(),
            None => id.to_string(),
        };
        let rows = self.queue.newest().take(MAX_ROWS).map(|(task, entry)| {
            let (state, executor) = match entry.state {
                State::Waiting => (TaskState::Waiting(self.reason(task)), None),
                State::Proposed { to, .. } => (TaskState::Waiting(self.reason(task)), Some(name(to))),
                State::Taken { by, attempt } => (TaskState::Running(attempt), Some(name(by))),
                State::Ended(how) => (TaskState::Ended(how), None),
            };
            TaskRow {
                task,
                title: entry.title.as_ref().into(),
                state,
                since: micros(now.since(entry.since)),
                executor,
                publisher: entry.publisher.as_ref().into(),
            }
        });
        let rows: Vec<TaskRow> = rows.take_while(|row| fits(&mut room, task_size(row))).collect();
        let more = u64::try_from(self.queue.len() - rows.len()).unwrap_or(u64::MAX);
        Reply::Tasks { rows, more }
    }
}

/// The question as it goes to the publisher: with the whole name, so that it cannot be mistaken.
fn spelled_out(question: &Question, task: TaskId) -> Question {
    let digits = task.publisher.0.iter().flat_map(|byte| [byte >> 4, byte & 15]);
    let publisher: String = digits.filter_map(|digit| char::from_digit(u32::from(digit), 16)).collect();
    let name = TaskName { publisher, number: task.number };
    match question {
        Question::Cancel(_) => Question::Cancel(name),
        Question::Why(_) => Question::Why(name),
        Question::Nodes | Question::Tasks | Question::Labels => question.clone(),
    }
}

fn fits(room: &mut usize, size: usize) -> bool {
    let fits = size <= *room;
    *room = room.saturating_sub(size);
    fits
}

/// Bytes of a row, rounded up.
fn node_size(row: &NodeRow) -> usize {
    let address = match &row.address {
        Address::Socket(_) => 0,
        Address::Name(text, _) | Address::Unix(text) => text.len(),
    };
    128 + row.name.len() + address
}

fn task_size(row: &TaskRow) -> usize {
    128 + row.title.len() + row.publisher.len() + row.executor.as_ref().map_or(0, String::len)
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}
