//! Routing of messages: which part of the machine each one is for, and on which kind of connection it may come.

use super::peers::{Lane, Side};
use super::{Executor, Out};
use crate::connection::KindId;
use crate::message::{Answer, FileRefused, GrantedFiles, Message};
use crate::{ConnectionId, Instant};
use alloc::vec::Vec;

impl Executor {
    /// One message of a peer. What does not belong on its connection ends that connection, and nothing else.
    pub(super) fn message(&mut self, now: Instant, id: ConnectionId, message: Message, out: &mut Out) {
        let result = match self.manager.kind(id) {
            Some(KindId::REGISTRATION) => self.registry_message(now, id, message, out),
            _ => match self.peers.owner(id) {
                Some((_, Lane::Task, Side::Accepted)) => self.executor_message(now, id, message, out),
                Some((_, Lane::Task, Side::Dialled)) => self.publisher_message(now, id, message, out),
                Some((_, Lane::File, _)) => self.file_message(now, id, message, out),
                None => Err("a message on a connection that takes none"),
            },
        };
        if let Err(what) = result {
            self.misbehaved(now, id, what, out);
        }
    }

    fn registry_message(
        &mut self,
        now: Instant,
        id: ConnectionId,
        message: Message,
        out: &mut Out,
    ) -> Result<(), &'static str> {
        match message {
            Message::Registered(registered) => self.registered(now, id, registered.address, out),
            Message::Accepted(accepted) => self.task_accepted(now, id, accepted.task, out),
            Message::Assign(assign) => self.assigned(now, Some(id), assign, out),
            Message::Withdraw(withdraw) => self.withdrawn(now, withdraw.task),
            Message::Waits(waits) => self.waits(now, waits.task, waits.reason, out),
            Message::Ask(ask) => {
                let reply = self.answer(now, &ask.question, out);
                self.send(now, id, Answer { request: ask.request, reply }, out);
            }
            _ => return Err("a message that does not belong on a registration"),
        }
        Ok(())
    }

    /// From an executor that works, or wants to work, for us.
    fn executor_message(
        &mut self,
        now: Instant,
        id: ConnectionId,
        message: Message,
        out: &mut Out,
    ) -> Result<(), &'static str> {
        match message {
            Message::Claim(claim) => self.claimed(now, id, &claim, out),
            Message::Renew(renew) => self.renew(now, id, renew, out),
            Message::Stopped(stopped) => self.stopped(now, id, stopped, out),
            Message::Finished(finished) => return self.finished(now, id, finished, out),
            Message::Started(started) => self.started(id, &started, out),
            Message::Output(output) => return self.output_came(id, output, out),
            Message::InputTaken(taken) => self.input_taken(now, id, &taken, out),
            Message::FileRequest(request) => self.file_requested(now, id, request, out),
            Message::FileRefused(FileRefused { callback, error }) => {
                self.file_refused(now, id, callback, error, out);
            }
            _ => return Err("a message that an executor does not send"),
        }
        Ok(())
    }

    /// From a publisher that we work for.
    fn publisher_message(
        &mut self,
        now: Instant,
        id: ConnectionId,
        message: Message,
        out: &mut Out,
    ) -> Result<(), &'static str> {
        let Some((publisher, ..)) = self.peers.owner(id) else { return Ok(()) };
        if message.task().is_some_and(|task| task.publisher != publisher) {
            return Err("word about another publisher's task");
        }
        match message {
            Message::Granted(granted) => self.granted(now, id, granted, Vec::new(), out),
            Message::GrantedFiles(GrantedFiles { granted, contents }) => {
                if contents.len() != granted.spec.inputs.len() {
                    return Err("a grant with other contents than inputs");
                }
                self.granted(now, id, granted, contents, out);
            }
            Message::Refused(refused) => self.refused(now, refused.task, refused.claim, refused.why, out),
            Message::Renewed(renewed) => {
                let theirs = |(task, _): &(crate::TaskId, _)| task.publisher == publisher;
                if !renewed.current.iter().chain(&renewed.not).all(theirs) {
                    return Err("word about another publisher's task");
                }
                self.renewed(now, renewed.stamp, renewed.current, renewed.not, out);
            }
            Message::Done(done) => self.done(now, done.task, done.attempt, out),
            Message::Stop(stop) => self.told_to_stop(now, stop.task, stop.attempt, out),
            Message::OutputTaken(taken) => {
                self.output_credit(taken.task, taken.attempt, taken.stream, taken.upto, out);
            }
            Message::Input(input) => return self.input_came(input, out),
            Message::FileRequest(request) => self.file_requested(now, id, request, out),
            Message::FileRefused(FileRefused { callback, error }) => {
                self.file_refused(now, id, callback, error, out);
            }
            _ => return Err("a message that a publisher does not send"),
        }
        Ok(())
    }
}

impl Message {
    /// The task that a publisher's message is about.
    fn task(&self) -> Option<crate::TaskId> {
        match self {
            Self::Granted(m) => Some(m.task),
            Self::GrantedFiles(m) => Some(m.granted.task),
            Self::Refused(m) => Some(m.task),
            Self::Done(m) => Some(m.task),
            Self::Stop(m) => Some(m.task),
            Self::OutputTaken(m) => Some(m.task),
            Self::Input(m) => Some(m.task),
            Self::FileRequest(m) => Some(m.task),
            _ => None,
        }
    }
}
