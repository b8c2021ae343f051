//! Routing of what comes back of our tasks: output, standard input, results, the one end.

use super::fetch::Wanted;
use super::peers::{Lane, Side};
use super::publisher::{Collecting, FinishAnswer};
use super::route_tasks::whole_folder;
use super::{Ending, Executor, ExecutorNotice, Out, OutputFile, PublishError};
use crate::disk::{FileError, FileErrorKind, Target};
use crate::message::{
    Blob, Done, Ended, Finished, Input, InputTaken, Message, Output, OutputTaken, Placement, Started, Stop,
};
use crate::process::Stream;
use crate::{AttemptNumber, ConnectionId, InstanceId, Instant, TaskId};
use alloc::string::String;
use alloc::vec::Vec;
use bytes::Bytes;

impl Executor {
    pub(super) fn started(&mut self, link: ConnectionId, message: &Started, out: &mut Out) {
        let Some(by) = self.manager.peer(link).map(|peer| peer.instance) else { return };
        let Started { task, attempt } = *message;
        if let Some(held) = self.publisher.current(task, attempt, by).filter(|held| !held.running) {
            held.running = true;
            out.notify(ExecutorNotice::Running { task, attempt });
        }
    }

    /// `Err`: the peer breaks the protocol.
    pub(super) fn output_came(
        &mut self,
        link: ConnectionId,
        message: Output,
        out: &mut Out,
    ) -> Result<(), &'static str> {
        let Some(by) = self.manager.peer(link).map(|peer| peer.instance) else { return Ok(()) };
        let Output { task, attempt, stream, offset, data } = message;
        let credit = self.config.limits.output_credit;
        let Some(held) = self.publisher.current(task, attempt, by) else { return Ok(()) };
        let (received, taken) = (&mut held.received[stream.index()], held.taken[stream.index()]);
        let Some(skip) = received.checked_sub(offset) else { return Err("output with a gap") };
        let skip = usize::try_from(skip).unwrap_or(usize::MAX).min(data.0.len());
        let fresh = Bytes::from(data.0).slice(skip..);
        if *received + fresh.len() as u64 > taken + credit {
            return Err("output beyond its credit");
        }
        if !fresh.is_empty() {
            let offset = *received;
            *received += fresh.len() as u64;
            out.notify(ExecutorNotice::Output { task, attempt, stream, offset, data: fresh });
        }
        Ok(())
    }

    /// The application has taken output: the executor may read on.
    pub(super) fn output_taken(
        &mut self,
        now: Instant,
        task: TaskId,
        attempt: AttemptNumber,
        stream: Stream,
        upto: u64,
        out: &mut Out,
    ) {
        let held = self.publisher.task(task).and_then(|task| task.current.as_mut());
        let Some(held) = held.filter(|held| held.number == attempt) else { return };
        let upto = upto.min(held.received[stream.index()]);
        held.taken[stream.index()] = held.taken[stream.index()].max(upto);
        if let Some(link) = self.peers.up(held.holder, Lane::Task, Side::Accepted) {
            self.send(now, link, OutputTaken { task, attempt, stream, upto }, out);
        }
    }

    pub(super) fn input(&mut self, now: Instant, id: TaskId, data: Bytes, last: bool, out: &mut Out) {
        let replay = self.config.limits.input_replay;
        let Some(task) = self.publisher.task(id).filter(|task| task.spec.stdin) else { return };
        if task.stdin.push(data, last, replay) {
            self.send_input(now, id, out);
            self.ask_input(id, out);
        }
    }

    pub(super) fn ask_input(&mut self, id: TaskId, out: &mut Out) {
        let replay = self.config.limits.input_replay;
        if self.publisher.task(id).is_some_and(|task| task.spec.stdin && task.stdin.ask(replay)) {
            out.notify(ExecutorNotice::InputWanted(id));
        }
    }

    pub(super) fn send_input(&mut self, now: Instant, id: TaskId, out: &mut Out) {
        let credit = self.config.limits.output_credit;
        loop {
            let Some(task) = self.publisher.task(id).filter(|task| task.spec.stdin) else { return };
            let Some(held) = &task.current else { return };
            let (attempt, holder) = (held.number, held.holder);
            let Some(link) = self.peers.up(holder, Lane::Task, Side::Accepted) else { return };
            let Some((offset, data, last)) = task.stdin.next(credit) else { return };
            self.send(now, link, Input { task: id, attempt, offset, data: Blob(data.to_vec()), last }, out);
        }
    }

    pub(super) fn input_taken(
        &mut self,
        now: Instant,
        link: ConnectionId,
        message: &InputTaken,
        out: &mut Out,
    ) {
        let Some(by) = self.manager.peer(link).map(|peer| peer.instance) else { return };
        let InputTaken { task: id, attempt, upto } = *message;
        let replay = self.config.limits.input_replay;
        if self.publisher.current(id, attempt, by).is_none() {
            return;
        }
        if upto == u64::MAX {
            out.notify(ExecutorNotice::InputClosed(id));
            return;
        }
        if let Some(task) = self.publisher.task(id) {
            task.stdin.taken(upto, replay);
        }
        self.send_input(now, id, out);
        self.ask_input(id, out);
    }

    // ---- results and the end ----

    /// `Err`: the peer breaks the protocol.
    pub(super) fn finished(
        &mut self,
        now: Instant,
        link: ConnectionId,
        message: Finished,
        out: &mut Out,
    ) -> Result<(), &'static str> {
        let Some(by) = self.manager.peer(link).map(|peer| peer.instance) else { return Ok(()) };
        let Finished { task: id, attempt, exit, outputs, written, times } = message;
        if let Some(held) = self.publisher.current(id, attempt, by) {
            if held.received != written {
                return Err("a result before all of its output");
            }
            if self.publisher.peek(id).is_some_and(|task| task.spec.outputs.len() != outputs.len()) {
                return Err("a result with other outputs than declared");
            }
        }
        let waiting = outputs.into_iter().map(|output| output.err().map(Err)).collect();
        let result = Collecting { exit, times, outputs: waiting };
        match self.publisher.finish(now, id, attempt, by, result, &self.config.limits) {
            FinishAnswer::Forget => self.send(now, link, Done { task: id, attempt }, out),
            FinishAnswer::Again => self.request_files(now, by, Side::Accepted, out),
            FinishAnswer::Taken => {
                self.fetch_outputs(now, id, attempt, by, out);
                self.end_if_collected(now, id, out);
            }
        }
        Ok(())
    }

    fn fetch_outputs(
        &mut self,
        now: Instant,
        id: TaskId,
        attempt: AttemptNumber,
        peer: InstanceId,
        out: &mut Out,
    ) {
        let Some(task) = self.publisher.peek(id) else { return };
        let whole = whole_folder(&task.spec);
        let merge = whole
            .and_then(|index| Some((task.spec.inputs.get(index)?.path.clone(), *task.sources.get(index)?)));
        let collecting = task.current.as_ref().and_then(|held| held.result.as_ref());
        let wanted: Vec<_> = collecting
            .into_iter()
            .flat_map(|result| (0u32..).zip(&result.outputs))
            .filter(|(_, done)| done.is_none())
            .map(|(file, _)| file)
            .collect();
        for file in wanted {
            let Some(output) = self.publisher.peek(id).and_then(|task| task.spec.outputs.get(file as usize))
            else {
                continue;
            };
            let (target, label) = match (output, &merge) {
                (OutputFile::Named { name, path }, _) => (Target::Path { path: path.clone() }, name.clone()),
                (OutputFile::Changes, Some((path, shipped))) => {
                    (Target::Merge { path: path.clone(), shipped: *shipped }, path.clone())
                }
                (OutputFile::Changes, None) => continue,
            };
            let label = String::from_utf8_lossy(&label).into_owned();
            let wanted = Wanted { task: id, attempt, file, peer, side: Side::Accepted, target, label };
            self.fetches.add(now, wanted, None, &self.config.limits, &mut self.ops, out);
        }
        self.request_files(now, peer, Side::Accepted, out);
    }

    /// An output is here, or will not come.
    pub(super) fn output_fetched(
        &mut self,
        now: Instant,
        wanted: &Wanted,
        result: Result<(), FileError>,
        out: &mut Out,
    ) {
        let Some(held) = self.publisher.current(wanted.task, wanted.attempt, wanted.peer) else { return };
        let slot = held.result.as_mut().and_then(|result| result.outputs.get_mut(wanted.file as usize));
        if let Some(slot) = slot {
            *slot = Some(result);
        }
        self.end_if_collected(now, wanted.task, out);
    }

    fn end_if_collected(&mut self, now: Instant, id: TaskId, out: &mut Out) {
        let Some(held) = self.publisher.peek(id).and_then(|task| task.current.as_ref()) else { return };
        let Some(result) = held.result.as_ref().filter(|result| result.outputs.iter().all(Option::is_some))
        else {
            return;
        };
        let ending = Ending::Done {
            exit: result.exit,
            executor: held.name.clone(),
            outputs: result.outputs.iter().flatten().cloned().collect(),
            times: result.times,
        };
        self.end(now, id, ending, out);
    }

    pub(super) fn cancel(&mut self, now: Instant, id: TaskId, out: &mut Out) {
        self.end(now, id, Ending::Cancelled, out);
    }

    /// The one place where a task ends (PROTOCOL A9).
    pub(super) fn end(&mut self, now: Instant, id: TaskId, ending: Ending, out: &mut Out) {
        let Some(task) = self.publisher.end(now, id, ending.kind(), &self.config.limits) else { return };
        if task.opening > 0 {
            // Never published: only its publisher knows of it, and by its token alone.
            let error = PublishError::ShuttingDown;
            out.notify(ExecutorNotice::PublishFailed { token: task.token, error });
        }
        if let Some(held) = &task.current {
            self.cancel_fetches(now, id, held.number, out);
            if let Some(link) = self.peers.up(held.holder, Lane::Task, Side::Accepted) {
                let attempt = held.number;
                let word: Message = match ending {
                    Ending::Done { .. } => Done { task: id, attempt }.into(),
                    Ending::Failed { .. } | Ending::Cancelled | Ending::Expired => {
                        Stop { task: id, attempt }.into()
                    }
                };
                self.send(now, link, word, out);
            }
        }
        // Scans under way close what they opened when they end.
        for tree in task.sources.into_iter().filter(|tree| self.service.is_open(*tree)).collect::<Vec<_>>() {
            self.close_source(now, tree, out);
        }
        if task.spec.placement == Placement::Publisher {
            self.withdrawn(now, id);
        } else {
            self.registrations.ended(id, ending.kind());
            self.tell_registries(now, &Ended { task: id, how: ending.kind() }.into(), out);
        }
        if task.opening == 0 {
            out.notify(ExecutorNotice::Ended { task: id, ending });
        }
        for registry in self.registrations.registered() {
            self.publish_on(now, registry, out);
        }
    }

    pub(super) fn cancel_fetches(&mut self, now: Instant, id: TaskId, attempt: AttemptNumber, out: &mut Out) {
        if id.publisher != self.config.instance {
            return;
        }
        for callback in self.fetches.of(id, attempt, Side::Accepted) {
            let outcome = self.fetches.fail(callback, FileErrorKind::Cancelled, false, &mut self.ops, out);
            self.fetch_outcome(now, outcome, out);
        }
    }
}
