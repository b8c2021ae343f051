//! Routing of what we run for others: proposal, claim, folder, inputs, command, outputs, result.

use super::fetch::{Added, Wanted};
use super::ops::Op;
use super::peers::{Lane, Side};
use super::service::SourceInfo;
use super::worker::{Entry, EntryTimer, Held, Output, Phase};
use super::{Executor, ExecutorNotice, FileStep, Out, Stage, TaskStep};
use crate::disk::{Content, DiskDone, DiskRequest, FileError, FileErrorKind, Source, Target};
use crate::manifest;
use crate::message::{
    Assign, Blob, Decline, DeclineReason, Exit, Finished, Granted, OutputName, RefuseReason, Started,
    StopReason, Stopped,
};
use crate::process::{ExitStatus, ProcessAction, RunSpec, SpawnError, Stream};
use crate::{AttemptNumber, ConnectionId, Instant, RunId, TaskId};
use alloc::vec::Vec;
use core::time::Duration;

/// How often the removal of a folder is tried.
pub(super) const REMOVALS: u32 = 8;

impl Executor {
    // ---- proposal and claim ----

    /// A registry proposes a task (seed 3.1.2 step 2).
    pub(super) fn assigned(&mut self, now: Instant, on: Option<ConnectionId>, assign: Assign, out: &mut Out) {
        let Assign { task, publisher } = assign;
        let step = TaskStep::Assigned;
        out.notify(ExecutorNotice::Step {
            step,
            task: Some(task),
            peer: Some(task.publisher),
            connection: on,
        });
        if self.stage != Stage::Running || self.settings.slots == 0 || !self.worker.propose(task) {
            self.tell_registries(now, &Decline { task, why: DeclineReason::Busy }.into(), out);
            return;
        }
        self.peers.learn(task.publisher, publisher);
        self.claim_next(now, out);
    }

    /// A registry takes a proposal back; a claim that is out stays.
    pub(super) fn withdrawn(&mut self, now: Instant, task: TaskId) {
        if matches!(self.worker.peek(task), Some(Entry::Proposed)) {
            self.worker.remove(task);
            self.peer_idle(now, task.publisher);
        }
    }

    /// Claims proposals as long as slots are free.
    pub(super) fn claim_next(&mut self, now: Instant, out: &mut Out) {
        if self.stage == Stage::Running {
            while let Some(task) = self.worker.want_next(now) {
                self.worker.timers.set((task, EntryTimer::Claim), now + self.config.limits.lease);
                self.want_lane(now, task.publisher, Lane::Task, task, out);
                self.send_claim(now, task, out);
            }
        }
        self.tell_hunger(now, out);
    }

    /// Gives an unclaimed or unanswered proposal back.
    pub(super) fn decline(&mut self, now: Instant, task: TaskId, why: DeclineReason, out: &mut Out) {
        self.worker.remove(task);
        self.tell_registries(now, &Decline { task, why }.into(), out);
        self.peer_idle(now, task.publisher);
        self.offer_again(now, task, out);
    }

    pub(super) fn refused(
        &mut self,
        now: Instant,
        task: TaskId,
        claim: crate::ClaimNumber,
        _why: RefuseReason,
        out: &mut Out,
    ) {
        match self.worker.peek(task) {
            Some(Entry::Wanted { claim: ours, .. }) if *ours == claim => {
                self.decline(now, task, DeclineReason::Refused, out);
                self.claim_next(now, out);
            }
            Some(Entry::Held(held)) if held.claim == claim => {
                self.stop_attempt(now, task, StopReason::Told, out);
            }
            Some(Entry::Proposed | Entry::Wanted { .. } | Entry::Held(_)) | None => {}
        }
    }

    /// A grant (PROTOCOL A4): taken only for the entry that wants this claim, and only before its deadline.
    pub(super) fn granted(
        &mut self,
        now: Instant,
        link: ConnectionId,
        granted: Granted,
        contents: Vec<Content>,
        out: &mut Out,
    ) {
        let Granted { task, claim, attempt, stamp, spec, received } = granted;
        let deadline = stamp.min(now) + self.config.limits.attempt_deadline;
        match self.worker.entry(task) {
            Some(Entry::Wanted { claim: ours, since, .. }) if *ours == claim && now < deadline => {
                let waited = micros(now.since(*since));
                self.hold(now, task, Held::new(attempt, claim, spec, contents, now, waited), deadline, out);
            }
            Some(Entry::Held(held)) if held.claim == claim && held.number == attempt => {
                held.known = true;
                for stream in Stream::BOTH {
                    held.streams[stream.index()].rewind(received[stream.index()]);
                }
                if held.stop.is_none() {
                    self.extend(now, task, deadline, out);
                    self.send_output(now, task, out);
                    self.tell_input_taken(now, task, out);
                    self.send_result(now, task, out);
                }
            }
            entry => {
                // Nothing wants it, or it comes too late: nothing is started (PROTOCOL A4).
                let wanted = matches!(entry, Some(Entry::Wanted { claim: ours, .. }) if *ours == claim);
                self.send(now, link, Stopped { task, attempt, why: StopReason::LateGrant }, out);
                if wanted {
                    self.decline(now, task, DeclineReason::Busy, out);
                    self.claim_next(now, out);
                }
            }
        }
    }

    fn hold(&mut self, now: Instant, task: TaskId, held: Held, deadline: Instant, out: &mut Out) {
        let (attempt, folder) = (held.number, held.folder_id(task));
        let names = held.spec.inputs.iter().chain(held.spec.outputs.iter().filter_map(named));
        let bad = names.map(|name| &name.0).find(|name| manifest::check_name(name).is_err()).cloned();
        let files = !held.spec.inputs.is_empty() || !held.spec.outputs.is_empty();
        let no_command = held.spec.argv.is_empty();
        self.worker.hold(task, held);
        self.worker.timers.set((task, EntryTimer::Deadline), deadline);
        out.notify(ExecutorNotice::AttemptGranted { task, attempt, publisher: task.publisher });
        self.ops.ask(Op::MakeFolder { task, attempt }, DiskRequest::MakeFolder { folder }, out);
        if let Some(name) = bad {
            let error = FileError::new(FileErrorKind::Escapes, Blob(name).display());
            self.stop_attempt(now, task, StopReason::Input(error), out);
        } else if no_command {
            self.stop_attempt(now, task, StopReason::Spawn(SpawnError::NotFound), out);
        } else if files {
            self.want_lane(now, task.publisher, Lane::File, task, out);
        }
    }

    /// Moves an attempt's deadline, never back (PROTOCOL A5).
    pub(super) fn extend(&mut self, now: Instant, task: TaskId, deadline: Instant, out: &mut Out) {
        let Some(before) = self.worker.timers.at(&(task, EntryTimer::Deadline)) else { return };
        if deadline <= before || before <= now {
            return;
        }
        self.worker.timers.set((task, EntryTimer::Deadline), deadline);
        if let Some(run) = self.worker.held(task).filter(|held| held.exit.is_none()).and_then(|held| held.run)
        {
            out.process(ProcessAction::Extend { run, deadline });
        }
    }

    /// The answer to a renewal (PROTOCOL A5).
    pub(super) fn renewed(
        &mut self,
        now: Instant,
        stamp: Instant,
        current: Vec<(TaskId, AttemptNumber)>,
        not: Vec<(TaskId, AttemptNumber)>,
        out: &mut Out,
    ) {
        let deadline = stamp.min(now) + self.config.limits.attempt_deadline;
        for (task, attempt) in current {
            if self.worker.attempt(task, attempt).is_some() {
                self.extend(now, task, deadline, out);
            }
        }
        for (task, attempt) in not {
            if self.worker.attempt(task, attempt).is_some() {
                self.stop_attempt(now, task, StopReason::Told, out);
            }
        }
    }

    pub(super) fn entry_due(&mut self, now: Instant, task: TaskId, timer: EntryTimer, out: &mut Out) {
        match timer {
            EntryTimer::Deadline => self.stop_attempt(now, task, StopReason::LeaseOver, out),
            EntryTimer::Timeout => {
                if let Some(held) = self.worker.held(task).filter(|held| held.exit.is_none()) {
                    held.timed_out = true;
                    if let Some(run) = held.run {
                        out.process(ProcessAction::Kill { run });
                    }
                }
            }
            EntryTimer::Claim => {
                if matches!(self.worker.peek(task), Some(Entry::Wanted { .. })) {
                    self.decline(now, task, DeclineReason::Unreachable, out);
                    self.claim_next(now, out);
                }
            }
            EntryTimer::Removal => self.remove_again(task, out),
        }
    }

    // ---- folder and inputs ----

    pub(super) fn folder_made(
        &mut self,
        now: Instant,
        task: TaskId,
        attempt: AttemptNumber,
        result: Result<(), FileError>,
        out: &mut Out,
    ) {
        let Some(held) = self.worker.attempt(task, attempt) else { return };
        if held.phase == Phase::Folder {
            held.phase = Phase::Fetching;
        }
        held.folder_ready = true;
        if let Err(error) = result {
            self.stop_attempt(now, task, StopReason::Disk(error), out);
        } else if held.stop.is_none() {
            self.fetch_inputs(now, task, out);
        }
        self.advance_stop(now, task, out);
    }

    fn fetch_inputs(&mut self, now: Instant, task: TaskId, out: &mut Out) {
        let Some(held) = self.worker.held(task) else { return };
        let (attempt, folder) = (held.number, held.folder_id(task));
        let (names, contents) = (held.spec.inputs.clone(), held.contents.clone());
        for (index, name) in names.into_iter().enumerate() {
            let (peer, label) = (task.publisher, name.display());
            let wanted = Wanted {
                task,
                attempt,
                file: u32::try_from(index).unwrap_or(u32::MAX),
                peer,
                side: Side::Dialled,
                label: label.clone(),
                target: Target::Work { folder, name: name.0 },
            };
            let content = contents.get(index).copied();
            let added = self.fetches.add(now, wanted, content, &self.config.limits, &mut self.ops, out);
            let Added { callback, shares } = added;
            if let Some(held) = self.worker.held(task) {
                held.fetching.insert(callback);
                held.unsettled.insert(callback);
            }
            if shares {
                let step = FileStep::Shared;
                out.notify(ExecutorNotice::FileStep { step, task, file: label, callback, peer, bytes: 0 });
            }
        }
        self.request_files(now, task.publisher, Side::Dialled, out);
        self.spawn_if_ready(now, task, out);
    }

    /// An input is here, or will not come.
    pub(super) fn input_fetched(
        &mut self,
        now: Instant,
        callback: crate::CallbackId,
        wanted: &Wanted,
        result: Result<(), FileError>,
        out: &mut Out,
    ) {
        let Some(held) = self.worker.attempt(wanted.task, wanted.attempt) else { return };
        held.fetching.remove(&callback);
        match result {
            Ok(()) => self.spawn_if_ready(now, wanted.task, out),
            Err(error) => self.stop_attempt(now, wanted.task, StopReason::Input(error), out),
        }
        self.advance_stop(now, wanted.task, out);
    }

    /// The disk brings nothing more of an input into its folder.
    pub(super) fn input_settled(
        &mut self,
        now: Instant,
        callback: crate::CallbackId,
        wanted: &Wanted,
        out: &mut Out,
    ) {
        if let Some(held) = self.worker.attempt(wanted.task, wanted.attempt) {
            held.unsettled.remove(&callback);
            self.advance_stop(now, wanted.task, out);
            self.leave_if_settled(now, wanted.task, out);
        }
    }

    // ---- the command ----

    fn spawn_if_ready(&mut self, now: Instant, task: TaskId, out: &mut Out) {
        let run = self.new_run();
        let deadline = self.worker.timers.at(&(task, EntryTimer::Deadline));
        let Some(held) = self.worker.held(task) else { return };
        let ready = held.phase == Phase::Fetching && held.fetching.is_empty() && held.stop.is_none();
        let Some(deadline) = deadline.filter(|_| ready) else { return };
        held.times.fetch = micros(now.since(held.phase_since));
        (held.phase, held.phase_since, held.run) = (Phase::Spawning, now, Some(run));
        let bytes = |blob: &Blob| blob.0.clone();
        let spec = RunSpec {
            argv: held.spec.argv.iter().map(bytes).collect(),
            env: held.spec.env.iter().map(|(key, value)| (bytes(key), bytes(value))).collect(),
            folder: held.folder_id(task),
            stdin: held.spec.stdin,
        };
        self.worker.start_run(run, task);
        out.process(ProcessAction::Spawn { run, spec, deadline });
    }

    pub(super) fn spawned(&mut self, now: Instant, run: RunId, out: &mut Out) {
        let Some((task, held)) = self.of_run(run).filter(|(_, held)| held.exit.is_none() && !held.spawned)
        else {
            return;
        };
        held.spawned = true;
        let (attempt, timeout) = (held.number, held.spec.timeout);
        if held.stop.is_some() {
            out.process(ProcessAction::Kill { run });
        } else {
            held.phase = Phase::Running;
            out.notify(ExecutorNotice::AttemptStarted { task, attempt });
            if let Some(timeout) = timeout {
                self.worker.timers.set((task, EntryTimer::Timeout), now + Duration::from_micros(timeout));
            }
            if let Some(link) = self.peers.up(task.publisher, Lane::Task, Side::Dialled) {
                self.send(now, link, Started { task, attempt }, out);
            }
        }
        self.read_output(task, out);
        self.feed_input(task, out);
    }

    pub(super) fn spawn_failed(&mut self, now: Instant, run: RunId, error: SpawnError, out: &mut Out) {
        let Some((task, held)) = self.of_run(run).filter(|(_, held)| held.exit.is_none() && !held.spawned)
        else {
            return;
        };
        held.streams.iter_mut().for_each(|stream| stream.ended = true);
        let exit = match error {
            SpawnError::NotFound => Exit::NotFound,
            SpawnError::NotExecutable => Exit::NotExecutable,
            SpawnError::Late | SpawnError::System(_) => Exit::Status(ExitStatus::Code(125)),
        };
        held.exit = Some(exit);
        let over = match error {
            SpawnError::NotFound | SpawnError::NotExecutable => None,
            SpawnError::Late => Some(StopReason::LeaseOver),
            SpawnError::System(_) => Some(StopReason::Spawn(error)),
        };
        match over {
            Some(why) => self.stop_attempt(now, task, why, out),
            None => self.run_over(now, task, out),
        }
        self.advance_stop(now, task, out);
    }

    pub(super) fn exited(&mut self, now: Instant, run: RunId, status: ExitStatus, out: &mut Out) {
        let Some((task, held)) = self.of_run(run).filter(|(_, held)| held.exit.is_none()) else { return };
        held.exit = Some(if held.timed_out { Exit::TimedOut } else { Exit::Status(status) });
        held.times.run = micros(now.since(held.phase_since));
        self.worker.timers.clear(&(task, EntryTimer::Timeout));
        self.run_over(now, task, out);
        self.advance_stop(now, task, out);
    }

    /// Every process is reaped: the slot is free; with the last output read, the results are scanned.
    fn run_over(&mut self, now: Instant, task: TaskId, out: &mut Out) {
        self.worker.free_slot(task);
        self.claim_next(now, out);
        self.pack_if_ready(now, task, out);
    }

    // ---- the result ----

    pub(super) fn pack_if_ready(&mut self, now: Instant, task: TaskId, out: &mut Out) {
        let Some(held) = self.worker.held(task) else { return };
        let over = held.exit.is_some() && held.streams.iter().all(|stream| stream.ended);
        if !over || !matches!(held.phase, Phase::Running | Phase::Spawning) || held.stop.is_some() {
            return;
        }
        held.phase = Phase::Packing;
        let (attempt, folder) = (held.number, held.folder_id(task));
        if let Some(exit) = held.exit {
            out.notify(ExecutorNotice::AttemptFinished { task, attempt, exit });
        }
        for (index, output) in held.spec.outputs.clone().into_iter().enumerate() {
            let tree = self.ops.new_tree();
            let source = match output {
                OutputName::Named(name) => Source::Output { folder, name: name.0 },
                OutputName::Changes => Source::Changes { folder },
            };
            if let Some(held) = self.worker.held(task) {
                held.outputs.push(Output { tree, scanned: None });
            }
            self.ops.ask(
                Op::ScanOutput { task, attempt, index },
                DiskRequest::OpenSource { tree, source },
                out,
            );
        }
        self.finish_if_packed(now, task, out);
    }

    pub(super) fn output_scanned(
        &mut self,
        now: Instant,
        task: TaskId,
        attempt: AttemptNumber,
        index: usize,
        result: Result<DiskDone, FileError>,
        out: &mut Out,
    ) {
        let Some(held) = self.worker.attempt(task, attempt) else { return };
        let Some(output) = held.outputs.get_mut(index) else { return };
        let tree = output.tree;
        output.scanned = Some(match result {
            Ok(DiskDone::Opened { stream_len, manifest_len, stamp }) => {
                self.service.add_source(tree, SourceInfo { stream_len, manifest_len, stamp });
                Ok(())
            }
            Ok(_) => Err(FileError::new(FileErrorKind::System(0), "")),
            Err(error) => Err(error),
        });
        self.finish_if_packed(now, task, out);
        self.advance_stop(now, task, out);
    }

    fn finish_if_packed(&mut self, now: Instant, task: TaskId, out: &mut Out) {
        let Some(held) = self.worker.held(task) else { return };
        if held.phase == Phase::Packing
            && held.stop.is_none()
            && held.outputs.iter().all(|output| output.scanned.is_some())
        {
            held.phase = Phase::Finished;
            self.send_result(now, task, out);
        }
    }

    /// The result, on every new link until `Done` (PROTOCOL A7); all output goes before it.
    pub(super) fn send_result(&mut self, now: Instant, task: TaskId, out: &mut Out) {
        self.send_output(now, task, out);
        let Some(link) = self.known_link(task) else { return };
        let Some(held) = self.worker.held(task).filter(|held| held.phase == Phase::Finished) else { return };
        let Some(exit) = held.exit else { return };
        let finished = Finished {
            task,
            attempt: held.number,
            exit,
            outputs: held.outputs.iter().filter_map(|output| output.scanned.clone()).collect(),
            written: [held.streams[0].written(), held.streams[1].written()],
            times: held.times,
        };
        self.send(now, link, finished, out);
    }

    /// The publisher has everything, or wants nothing of it: forget it.
    pub(super) fn done(&mut self, now: Instant, task: TaskId, attempt: AttemptNumber, out: &mut Out) {
        let Some(held) = self.worker.attempt(task, attempt) else { return };
        if held.phase == Phase::Finished {
            out.notify(ExecutorNotice::AttemptDone { task, attempt });
            held.phase = Phase::Stopping;
            held.told = true;
            self.leave_if_settled(now, task, out);
        } else {
            self.stop_attempt(now, task, StopReason::Told, out);
        }
    }

    // ---- stopping ----

    pub(super) fn told_to_stop(&mut self, now: Instant, task: TaskId, attempt: AttemptNumber, out: &mut Out) {
        if self.worker.attempt(task, attempt).is_some() {
            self.stop_attempt(now, task, StopReason::Told, out);
        }
    }

    /// Ends an attempt without a result: everything of it is killed, reaped, closed and removed, in that order.
    pub(super) fn stop_attempt(&mut self, now: Instant, task: TaskId, why: StopReason, out: &mut Out) {
        let Some(held) = self.worker.held(task) else { return };
        if held.stop.is_some() || matches!(held.phase, Phase::Stopping | Phase::Leaving) {
            return;
        }
        // Where another attempt may follow, here or after a restart, what has come of its inputs is of use to that.
        let keep = matches!(why, StopReason::LeaseOver | StopReason::Input(_));
        held.stop = Some(why);
        held.phase = Phase::Stopping;
        let (attempt, run) = (held.number, held.run.filter(|_| held.exit.is_none()));
        self.worker.timers.clear(&(task, EntryTimer::Deadline));
        self.worker.timers.clear(&(task, EntryTimer::Timeout));
        if let Some(run) = run {
            out.process(ProcessAction::Kill { run });
        }
        // What it still writes is read and thrown away: its streams must end.
        self.read_output(task, out);
        for callback in self.fetches.of(task, attempt, Side::Dialled) {
            let outcome = self.fetches.fail(callback, FileErrorKind::Cancelled, keep, &mut self.ops, out);
            self.fetch_outcome(now, outcome, out);
        }
        self.advance_stop(now, task, out);
    }

    /// Goes on with an end that was begun, as far as it can: `Stopped` once all is reaped, then the folder.
    pub(super) fn advance_stop(&mut self, now: Instant, task: TaskId, out: &mut Out) {
        let link = self.peers.up(task.publisher, Lane::Task, Side::Dialled);
        let Some(held) = self.worker.held(task).filter(|held| held.phase == Phase::Stopping) else { return };
        let reaped = held.run.is_none() || held.exit.is_some();
        let Some(why) = held.stop.clone().filter(|_| reaped && !held.told) else {
            self.leave_if_settled(now, task, out);
            return;
        };
        held.told = true;
        let attempt = held.number;
        out.notify(ExecutorNotice::AttemptStopped { task, attempt, why: why.clone() });
        if let Some(link) = link {
            self.send(now, link, Stopped { task, attempt, why }, out);
        }
        self.worker.free_slot(task);
        self.leave_if_settled(now, task, out);
        self.claim_next(now, out);
    }

    /// The last step of every attempt: its trees are closed and its folder is removed, once nothing uses them any more.
    fn leave_if_settled(&mut self, now: Instant, task: TaskId, out: &mut Out) {
        let Some(held) = self.worker.held(task).filter(|held| held.phase == Phase::Stopping && held.told)
        else {
            return;
        };
        let read = held.run.is_none() || held.streams.iter().all(|stream| stream.ended);
        let scanned = held.outputs.iter().all(|output| output.scanned.is_some());
        if !read || !scanned || !held.folder_ready || !held.unsettled.is_empty() || !held.fetching.is_empty()
        {
            return;
        }
        held.phase = Phase::Leaving;
        let (attempt, folder) = (held.number, held.folder_id(task));
        let trees: Vec<_> = held
            .outputs
            .iter()
            .filter(|o| matches!(o.scanned, Some(Ok(()))))
            .map(|output| output.tree)
            .collect();
        self.worker.timers.clear(&(task, EntryTimer::Deadline));
        for tree in trees {
            self.close_source(now, tree, out);
        }
        self.ops.ask(Op::RemoveFolder { task, attempt }, DiskRequest::RemoveFolder { folder }, out);
    }

    /// The disk has answered for the removal. What stood in its way (no descriptor, a folder in use) may pass, so it is tried
    /// again some times; an executor that is ending waits for nothing.
    pub(super) fn folder_removed(
        &mut self,
        now: Instant,
        task: TaskId,
        attempt: AttemptNumber,
        result: Result<(), FileError>,
        out: &mut Out,
    ) {
        let Some(held) = self.worker.attempt(task, attempt).filter(|held| held.phase == Phase::Leaving)
        else {
            return;
        };
        if let Err(error) = result {
            held.removals += 1;
            if held.removals < REMOVALS && self.stage == Stage::Running {
                let (first, longest) = self.config.limits.backoff;
                let pause = (first * 2_u32.pow(held.removals - 1)).min(longest);
                self.worker.timers.set((task, EntryTimer::Removal), now + pause);
                return;
            }
            out.notify(ExecutorNotice::FolderStays { task, attempt, error });
        }
        self.worker.remove(task);
        self.peer_idle(now, task.publisher);
        self.claim_next(now, out);
        self.offer_again(now, task, out);
    }

    fn remove_again(&mut self, task: TaskId, out: &mut Out) {
        if let Some(held) = self.worker.held(task) {
            let (attempt, folder) = (held.number, held.folder_id(task));
            self.ops.ask(Op::RemoveFolder { task, attempt }, DiskRequest::RemoveFolder { folder }, out);
        }
    }
}

fn named(output: &OutputName) -> Option<&Blob> {
    match output {
        OutputName::Named(name) => Some(name),
        OutputName::Changes => None,
    }
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}
