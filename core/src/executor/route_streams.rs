//! Routing of a command's standard streams, at the executor that runs it.

use super::output::PIECE;
use super::peers::{Lane, Side};
use super::worker::Held;
use super::{Executor, Out};
use crate::message::{Blob, Input, InputTaken, Output};
use crate::process::{ProcessAction, Stream};
use crate::{AttemptNumber, ConnectionId, Instant, RunId, TaskId};
use bytes::Bytes;

impl Executor {
    pub(super) fn read_output(&mut self, task: TaskId, out: &mut Out) {
        let credit = self.config.limits.output_credit;
        let Some(held) = self.worker.held(task) else { return };
        let (Some(run), true, discard) = (held.run, held.spawned, held.stop.is_some()) else { return };
        for stream in Stream::BOTH {
            let room = if discard { u64::MAX } else { credit };
            if let Some(max) = held.streams[stream.index()].arm(room) {
                out.process(ProcessAction::ReadOutput { run, stream, max });
            }
        }
    }

    pub(super) fn output(&mut self, now: Instant, run: RunId, stream: Stream, data: Bytes, out: &mut Out) {
        let Some((task, held)) = self.of_run(run) else { return };
        let state = &mut held.streams[stream.index()];
        if held.stop.is_some() {
            state.armed = false;
        } else {
            state.push(data);
            self.send_output(now, task, out);
        }
        self.read_output(task, out);
    }

    pub(super) fn output_ended(&mut self, now: Instant, run: RunId, stream: Stream, out: &mut Out) {
        let Some((task, held)) = self.of_run(run) else { return };
        let state = &mut held.streams[stream.index()];
        (state.armed, state.ended) = (false, true);
        self.pack_if_ready(now, task, out);
        self.advance_stop(now, task, out);
    }

    /// The attempt of a run, also after the command's end while its output is still being read.
    pub(super) fn of_run(&mut self, run: RunId) -> Option<(TaskId, &mut Held)> {
        let task = self.worker.run(run)?;
        self.worker.held(task).map(|held| (task, held))
    }

    /// Sends what was read and not sent, on a link where the publisher knows that we hold the attempt.
    pub(super) fn send_output(&mut self, now: Instant, task: TaskId, out: &mut Out) {
        let Some(link) = self.known_link(task) else { return };
        for stream in Stream::BOTH {
            loop {
                let Some(held) = self.worker.held(task) else { return };
                let attempt = held.number;
                let Some((offset, data)) = held.streams[stream.index()].next() else { break };
                let data = Blob(data.to_vec());
                self.send(now, link, Output { task, attempt, stream, offset, data }, out);
            }
        }
    }

    /// The task link, if the publisher has answered our claim on it.
    pub(super) fn known_link(&mut self, task: TaskId) -> Option<ConnectionId> {
        let link = self.peers.up(task.publisher, Lane::Task, Side::Dialled)?;
        self.worker.held(task).filter(|held| held.known)?;
        Some(link)
    }

    /// The publisher's application has taken output.
    pub(super) fn output_credit(
        &mut self,
        task: TaskId,
        attempt: AttemptNumber,
        stream: Stream,
        upto: u64,
        out: &mut Out,
    ) {
        let Some(held) = self.worker.attempt(task, attempt) else { return };
        held.streams[stream.index()].taken(upto);
        self.read_output(task, out);
    }

    /// Standard input has come. `Err`: the peer breaks the protocol.
    pub(super) fn input_came(&mut self, input: Input, out: &mut Out) -> Result<(), &'static str> {
        let Input { task, attempt, offset, data, last } = input;
        let credit = self.config.limits.output_credit;
        let Some(held) = self.worker.attempt(task, attempt) else { return Ok(()) };
        let stdin = &mut held.input;
        if offset > stdin.received || !held.spec.stdin {
            return Err("standard input with a gap");
        }
        let skip = usize::try_from(stdin.received - offset).unwrap_or(usize::MAX).min(data.0.len());
        let fresh = Bytes::from(data.0).slice(skip..);
        if stdin.received + fresh.len() as u64 > stdin.taken + credit + PIECE {
            return Err("standard input beyond its credit");
        }
        stdin.received += fresh.len() as u64;
        stdin.last |= last;
        if !stdin.closed && !fresh.is_empty() {
            stdin.waiting.push_back(fresh);
        }
        self.feed_input(task, out);
        Ok(())
    }

    pub(super) fn feed_input(&mut self, task: TaskId, out: &mut Out) {
        let Some(held) = self.worker.held(task).filter(|held| held.spawned && held.exit.is_none()) else {
            return;
        };
        let (Some(run), stdin) = (held.run, &mut held.input) else { return };
        if stdin.closed || stdin.writing.is_some() {
            return;
        }
        if let Some(data) = stdin.waiting.pop_front() {
            stdin.writing = Some(data.len() as u64);
            out.process(ProcessAction::WriteInput { run, data });
        } else if stdin.last {
            stdin.closed = true;
            out.process(ProcessAction::CloseInput { run });
        }
    }

    pub(super) fn stdin_taken(&mut self, now: Instant, run: RunId, out: &mut Out) {
        let Some((task, held)) = self.of_run(run) else { return };
        held.input.taken += held.input.writing.take().unwrap_or(0);
        self.tell_input_taken(now, task, out);
        self.feed_input(task, out);
    }

    pub(super) fn stdin_closed(&mut self, now: Instant, run: RunId, out: &mut Out) {
        let Some((task, held)) = self.of_run(run) else { return };
        held.input.closed = true;
        held.input.writing = None;
        held.input.waiting.clear();
        self.tell_input_taken(now, task, out);
    }

    pub(super) fn tell_input_taken(&mut self, now: Instant, task: TaskId, out: &mut Out) {
        let Some(link) = self.known_link(task) else { return };
        let Some(held) = self.worker.held(task).filter(|held| held.spec.stdin) else { return };
        let given_up = held.input.closed && !held.input.last;
        let upto = if given_up { u64::MAX } else { held.input.taken };
        let attempt = held.number;
        self.send(now, link, InputTaken { task, attempt, upto }, out);
    }
}
