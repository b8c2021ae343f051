//! Commands and the supervisor that reaps them.
//!
//! The supervisor's rules are a runtime's duty (PROTOCOL A6, A8): it refuses a late start, kills at the deadline whether its
//! executor lives, sleeps or is dead, reports an end only once every process is reaped, and closes a dead executor's listening
//! sockets only after the last of its commands is gone.

mod pipe;

use crate::clock::{MILLI, Micros, SECOND};
use crate::context::{Context, HostId, Item, ProcId};
use crate::disk::Disk;
use crate::fault::Fault;
use crate::script::{Script, Step, content, signature, transformed};
use bytes::Bytes;
use pipe::{InputPipe, OutputPipe};
use std::collections::{BTreeMap, BTreeSet};
use xxnet_core::process::{ExitStatus, ProcessAction, ProcessEvent, RunSpec, SpawnError, Stream};
use xxnet_core::{Event, FolderId, Instant, RunId, TaskId};

pub(crate) type RunKey = (ProcId, RunId);

/// Inside a run or its supervisor.
#[derive(Clone, Copy, Debug)]
pub(crate) enum RunItem {
    /// The command starts.
    Start(RunKey),
    /// Its sleep is over.
    Awake(RunKey),
    /// The supervisor looks at a deadline.
    Deadline(RunKey),
    /// Every process of the run is dead.
    Reaped(RunKey),
    /// The supervisor has seen that its executor is dead.
    Orphaned(ProcId),
    /// It gives up what it held for a dead executor.
    Released(ProcId),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Starting,
    Running,
    /// Its command has ended with this; what is left of the run is being killed.
    Dying(ExitStatus),
    /// Reaped; only unread output is left.
    Ended,
}

#[derive(Debug)]
struct Run {
    host: HostId,
    folder: FolderId,
    argv: Vec<Vec<u8>>,
    script: Script,
    next: usize,
    state: State,
    outputs: [OutputPipe; 2],
    /// What the current step still has to write, and where.
    writing: Option<(usize, Bytes)>,
    input: InputPipe,
    deadline: Instant,
    stubborn: Micros,
    /// Killed before it had started.
    killed: bool,
}

/// A command that lives.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Live {
    pub(crate) key: RunKey,
    pub(crate) host: HostId,
    pub(crate) folder: FolderId,
}

/// All commands of the world.
#[derive(Debug, Default)]
pub(crate) struct Processes {
    runs: BTreeMap<RunKey, Run>,
    /// Executors that are dead; their supervisors start nothing more.
    orphaned: BTreeSet<ProcId>,
    /// Runs that have started since the world looked last.
    pub(crate) started: Vec<Live>,
    /// Executors whose last command is reaped since the world looked last.
    pub(crate) released: Vec<ProcId>,
}

impl Processes {
    /// Commands that live: started, and not reaped.
    pub(crate) fn live(&self) -> impl Iterator<Item = Live> + '_ {
        self.runs
            .iter()
            .filter(|(_, run)| matches!(run.state, State::Running | State::Dying(_)))
            .map(|(key, run)| Live { key: *key, host: run.host, folder: run.folder })
    }

    /// For which task a run is.
    pub(crate) fn task_of(&self, key: RunKey) -> Option<TaskId> {
        self.runs.get(&key).map(|run| run.folder.task)
    }

    /// Runs of a process that are not reaped.
    pub(crate) fn held_by(&self, proc: ProcId) -> usize {
        self.range(proc).filter(|(_, run)| run.state != State::Ended).count()
    }

    fn range(&self, proc: ProcId) -> impl Iterator<Item = (RunKey, &Run)> + '_ {
        self.runs.range((proc, RunId(0))..=(proc, RunId(u64::MAX))).map(|(key, run)| (*key, run))
    }

    /// Carries out a request.
    pub(crate) fn act(
        &mut self,
        ctx: &mut Context,
        disk: &mut Disk,
        proc: ProcId,
        host: HostId,
        action: ProcessAction,
    ) {
        match action {
            ProcessAction::Spawn { run, spec, deadline } => {
                self.spawn(ctx, (proc, run), host, spec, deadline);
            }
            ProcessAction::Extend { run, deadline } => {
                if let Some(entry) = self.runs.get_mut(&(proc, run)) {
                    assert!(deadline >= entry.deadline, "{run}: its deadline moves back");
                    entry.deadline = deadline;
                }
            }
            ProcessAction::Kill { run } => self.kill(ctx, (proc, run)),
            ProcessAction::ReadOutput { run, stream, max } => {
                let Some(entry) = self.runs.get_mut(&(proc, run)) else { return };
                entry.outputs[stream.index()].arm(run, max);
                self.move_output(ctx, (proc, run), stream);
                self.go_on(ctx, disk, (proc, run));
            }
            ProcessAction::WriteInput { run, data } => {
                let Some(entry) = self.runs.get_mut(&(proc, run)) else { return };
                entry.input.write(run, data);
                self.move_input(ctx, (proc, run));
                self.go_on(ctx, disk, (proc, run));
            }
            ProcessAction::CloseInput { run } => {
                let Some(entry) = self.runs.get_mut(&(proc, run)) else { return };
                entry.input.end();
                self.go_on(ctx, disk, (proc, run));
            }
        }
    }

    /// Something inside goes on.
    pub(crate) fn proceed(&mut self, ctx: &mut Context, disk: &mut Disk, item: RunItem) {
        match item {
            RunItem::Start(key) => {
                self.start(ctx, key);
                self.go_on(ctx, disk, key);
            }
            RunItem::Awake(key) => {
                if let Some(run) = self.runs.get_mut(&key) {
                    run.next += 1;
                }
                self.go_on(ctx, disk, key);
            }
            RunItem::Deadline(key) => self.deadline(ctx, key),
            RunItem::Reaped(key) => self.reaped(ctx, key),
            RunItem::Orphaned(proc) => self.orphaned(ctx, proc),
            RunItem::Released(proc) => self.released.push(proc),
        }
    }

    /// The executor's process has died; its supervisor will notice.
    pub(crate) fn executor_died(&mut self, ctx: &mut Context, proc: ProcId) {
        self.orphaned.insert(proc);
        let delay = ctx.choices.between(200, 60 * MILLI);
        ctx.after(delay, Item::Run(RunItem::Orphaned(proc)));
    }

    /// The host has lost its power.
    pub(crate) fn host_died(&mut self, host: HostId) {
        self.runs.retain(|_, run| run.host != host);
    }

    fn spawn(&mut self, ctx: &mut Context, key: RunKey, host: HostId, spec: RunSpec, deadline: Instant) {
        let script = Script::parse(&spec.argv).unwrap_or_default();
        let run = Run {
            host,
            folder: spec.folder,
            argv: spec.argv,
            script,
            next: 0,
            state: State::Starting,
            outputs: [OutputPipe::default(), OutputPipe::default()],
            writing: None,
            input: InputPipe::new(spec.stdin),
            deadline,
            stubborn: 0,
            killed: false,
        };
        let known = self.runs.insert(key, run);
        assert!(known.is_none(), "{} was spawned before", key.1);
        let mut delay = ctx.choices.between(200, 5 * MILLI);
        if ctx.fault(Fault::SlowDisk, 50) {
            delay += ctx.value(0, 6 * SECOND);
        }
        ctx.after(delay, Item::Run(RunItem::Start(key)));
    }

    fn start(&mut self, ctx: &mut Context, key: RunKey) {
        let Some(run) = self.runs.get_mut(&key) else { return };
        if run.state != State::Starting {
            return;
        }
        let late = ctx.host(run.host).clock.local(ctx.now) >= run.deadline;
        let error = if self.orphaned.contains(&key.0) {
            Some(SpawnError::System(3))
        } else if late {
            Some(SpawnError::Late)
        } else if ctx.fault(Fault::SpawnFails, 40) {
            Some(SpawnError::System(11))
        } else {
            match run.argv.first().map(Vec::as_slice) {
                Some(b"sim") => None,
                Some(b"not-executable") => Some(SpawnError::NotExecutable),
                Some(_) | None => Some(SpawnError::NotFound),
            }
        };
        if let Some(error) = error {
            self.runs.remove(&key);
            tell(ctx, key.0, ProcessEvent::SpawnFailed { run: key.1, error });
            return;
        }
        run.state = State::Running;
        if ctx.fault(Fault::Hangs, 30) {
            // For much longer than anybody waits, but not for ever: in the end all must be well.
            let time = ctx.value(20 * SECOND, 150 * SECOND);
            run.script.0.insert(0, Step::Sleep(time));
        }
        if ctx.fault(Fault::Stubborn, 100) {
            run.stubborn = ctx.value(0, 8 * SECOND);
        }
        if ctx.fault(Fault::Lingers, 60) {
            let time = ctx.value(0, SECOND);
            run.script.0.insert(0, Step::Linger(time));
        }
        self.started.push(Live { key, host: run.host, folder: run.folder });
        tell(ctx, key.0, ProcessEvent::Spawned { run: key.1 });
        let at = ctx.host(run.host).clock.global(run.deadline);
        ctx.at(at, Item::Run(RunItem::Deadline(key)));
        if run.killed {
            self.ends(ctx, key, ExitStatus::Signal(9));
        }
    }

    /// Plays steps until one takes time.
    fn go_on(&mut self, ctx: &mut Context, disk: &mut Disk, key: RunKey) {
        loop {
            let Some(run) = self.runs.get_mut(&key) else { return };
            if run.state != State::Running {
                return;
            }
            if let Some((stream, rest)) = &mut run.writing {
                let stream = *stream;
                run.outputs[stream].fill(rest);
                let done = rest.is_empty();
                if done {
                    run.writing = None;
                    run.next = run.next.wrapping_add(1);
                }
                self.move_output(ctx, key, Stream::BOTH[stream]);
                if !done {
                    return;
                }
                continue;
            }
            let Some(step) = run.script.0.get(run.next).cloned() else {
                self.ends(ctx, key, ExitStatus::Code(0));
                return;
            };
            match step {
                Step::Out(seed, len) => run.writing = Some((0, content(seed, len).into())),
                Step::Err(seed, len) => run.writing = Some((1, content(seed, len).into())),
                Step::Who => run.writing = Some((0, signature(run.folder.attempt.0).into())),
                Step::Sleep(time) => {
                    if run.sleep_once() {
                        ctx.after(time, Item::Run(RunItem::Awake(key)));
                    }
                    return;
                }
                Step::Copy(from, to) => {
                    let Some(bytes) = disk.read(run.host, run.folder, &from) else {
                        self.ends(ctx, key, ExitStatus::Code(66));
                        return;
                    };
                    disk.write(run.host, run.folder, &to, transformed(&bytes).into());
                    run.next += 1;
                }
                Step::Make(name, seed, len) => {
                    disk.write(run.host, run.folder, &name, content(seed, len).into());
                    run.next += 1;
                }
                Step::Sign(name) => {
                    let text = signature(run.folder.attempt.0);
                    disk.write(run.host, run.folder, &name, text.into());
                    run.next += 1;
                }
                Step::Cat => {
                    let taken = run.input.take();
                    if !taken.is_empty() {
                        run.writing = Some((0, taken));
                        run.next = run.next.wrapping_sub(1);
                        self.move_input(ctx, key);
                    } else if run.input.is_over() {
                        run.next += 1;
                    } else {
                        return;
                    }
                }
                Step::CloseInput => {
                    run.input.close();
                    run.next += 1;
                    self.move_input(ctx, key);
                }
                Step::Hang => return,
                Step::Linger(time) => {
                    run.stubborn = run.stubborn.max(time.min(SECOND / 10));
                    run.next += 1;
                }
                Step::Stubborn(time) => {
                    run.stubborn = time;
                    run.next += 1;
                }
                Step::Exit(code) => {
                    self.ends(ctx, key, ExitStatus::Code(code));
                    return;
                }
                Step::Signal(number) => {
                    self.ends(ctx, key, ExitStatus::Signal(number));
                    return;
                }
            }
        }
    }

    fn kill(&mut self, ctx: &mut Context, key: RunKey) {
        let Some(run) = self.runs.get_mut(&key) else { return };
        match run.state {
            // It is killed as soon as it is there: it never gets to do anything.
            State::Starting => run.killed = true,
            State::Running => self.ends(ctx, key, ExitStatus::Signal(9)),
            State::Dying(_) | State::Ended => {}
        }
    }

    /// The command has ended or was killed; what is left of the run is killed too, and all of it reaped.
    fn ends(&mut self, ctx: &mut Context, key: RunKey, status: ExitStatus) {
        let Some(run) = self.runs.get_mut(&key) else { return };
        run.state = State::Dying(status);
        run.input.close();
        let quick = ctx.choices.between(100, 20 * MILLI);
        // What cannot be killed within the lease's margin breaks the promise that leases rest on; no runtime can help that,
        // so the stubborn ones are gone by the deadline.
        let deadline = ctx.host(run.host).clock.global(run.deadline).max(ctx.now);
        let gone = (ctx.now + quick + run.stubborn).min(deadline + quick);
        ctx.at(gone, Item::Run(RunItem::Reaped(key)));
        self.move_input(ctx, key);
    }

    fn deadline(&mut self, ctx: &mut Context, key: RunKey) {
        let Some(run) = self.runs.get(&key) else { return };
        if run.state != State::Running {
            return;
        }
        let at = ctx.host(run.host).clock.global(run.deadline);
        if at > ctx.now {
            ctx.at(at, Item::Run(RunItem::Deadline(key)));
        } else {
            self.kill(ctx, key);
        }
    }

    fn reaped(&mut self, ctx: &mut Context, key: RunKey) {
        let Some(run) = self.runs.get_mut(&key) else { return };
        let State::Dying(status) = run.state else { return };
        run.state = State::Ended;
        run.outputs.iter_mut().for_each(OutputPipe::close);
        tell(ctx, key.0, ProcessEvent::Exited { run: key.1, status });
        Stream::BOTH.into_iter().for_each(|stream| self.move_output(ctx, key, stream));
        if self.orphaned.contains(&key.0) {
            self.runs.remove(&key);
            self.release_if_empty(ctx, key.0);
        }
    }

    fn orphaned(&mut self, ctx: &mut Context, proc: ProcId) {
        let keys: Vec<RunKey> = self.range(proc).map(|(key, _)| key).collect();
        for key in keys {
            self.kill(ctx, key);
            // What has not started never will.
            let over = |run: &Run| matches!(run.state, State::Starting | State::Ended);
            if self.runs.get(&key).is_some_and(over) {
                self.runs.remove(&key);
            }
        }
        self.release_if_empty(ctx, proc);
    }

    fn release_if_empty(&mut self, ctx: &mut Context, proc: ProcId) {
        if self.range(proc).next().is_none() {
            let delay = ctx.choices.between(100, 30 * MILLI);
            ctx.after(delay, Item::Run(RunItem::Released(proc)));
        }
    }

    fn move_output(&mut self, ctx: &mut Context, key: RunKey, stream: Stream) {
        let Some(run) = self.runs.get_mut(&key) else { return };
        let pipe = &mut run.outputs[stream.index()];
        if let Some(event) = pipe.complete(key.1, stream) {
            tell(ctx, key.0, event);
        }
        // Whoever has read both ends of an ended run has everything.
        let drained = run.state == State::Ended && run.outputs.iter().all(OutputPipe::is_drained);
        if drained {
            self.runs.remove(&key);
        }
    }

    fn move_input(&mut self, ctx: &mut Context, key: RunKey) {
        let Some(run) = self.runs.get_mut(&key) else { return };
        if let Some(event) = run.input.complete(key.1) {
            tell(ctx, key.0, event);
        }
    }
}

impl Run {
    /// Whether a sleep begins now; it is looked at again whenever a pipe moves.
    fn sleep_once(&mut self) -> bool {
        match self.script.0.get_mut(self.next) {
            Some(step @ Step::Sleep(_)) => {
                // The clock of this sleep is running: what is left of the step is to wait for it.
                *step = Step::Hang;
                true
            }
            Some(_) | None => false,
        }
    }
}

/// Tells a machine, after the runtime's lag. All events of a process keep their order.
fn tell(ctx: &mut Context, proc: ProcId, event: ProcessEvent) {
    ctx.after(40, Item::Deliver(proc, Event::Process(event)));
}
