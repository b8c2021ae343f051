//! One process: a machine as the binary runs it, and what its runtime owes it.
//!
//! Whatever the runtime can answer at once and alone it does within the step: a send is taken, a close is done, a folder is
//! made, a command is started. None of that can be told from a runtime that takes longer but by the order of what comes from
//! elsewhere, and that order is explored anyway.

use super::application::Application;
use std::collections::{BTreeMap, VecDeque};
use xxnet_core::connection::Connections;
use xxnet_core::disk::{DiskAction, DiskDone, DiskEvent};
use xxnet_core::executor::Executor;
use xxnet_core::net::{Endpoint, NetAction, NetEvent};
use xxnet_core::process::{ExitStatus, ProcessAction, ProcessEvent, SpawnError, Stream};
use xxnet_core::registry::Registry;
use xxnet_core::{Action, Actions, Event, Instant, LinkId, ListenerId, Machine, RunId};

/// A machine.
#[derive(Clone, Debug, Hash)]
pub(super) enum Brain {
    Registry(Box<Registry>),
    Executor(Box<Executor>),
    Connections(Box<Connections>),
}

/// A command that was started.
#[derive(Clone, Copy, Debug, Hash)]
pub(super) struct Run {
    pub(super) since: Instant,
    /// When the supervisor kills it by itself.
    pub(super) deadline: Instant,
    pub(super) killed: bool,
    /// Every process of it is reaped.
    pub(super) over: bool,
    armed: [bool; 2],
    ended: [bool; 2],
}

/// A process.
#[derive(Clone, Debug, Hash)]
pub(super) struct Node {
    pub(super) brain: Brain,
    pub(super) application: Application,
    /// Links on which a read is armed, and for how many bytes.
    pub(super) reads: BTreeMap<LinkId, usize>,
    pub(super) accept: Option<(ListenerId, LinkId)>,
    pub(super) runs: BTreeMap<RunId, Run>,
}

/// What comes to a process from outside.
#[derive(Clone, Debug)]
pub(super) enum Input {
    Tick,
    Net(NetEvent),
    Disk(DiskEvent),
    Process(ProcessEvent),
    /// A command ends by itself, or what was killed is reaped.
    Exit(RunId),
    /// The application does what it has yet to do, by number.
    Command(u8),
}

/// What a process does to the world between the processes.
#[derive(Clone, Debug)]
pub(super) enum Effect {
    Dial(LinkId, Endpoint),
    Send(LinkId, Vec<u8>),
    Shutdown(LinkId),
    Close(LinkId),
}

type Queue = VecDeque<Input>;

impl Node {
    pub(super) fn new(brain: Brain, application: Application) -> Self {
        Self { brain, application, reads: BTreeMap::new(), accept: None, runs: BTreeMap::new() }
    }

    /// When something is due: of the machine, or of its application.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let machine = match &self.brain {
            Brain::Registry(machine) => machine.deadline(),
            Brain::Executor(machine) => machine.deadline(),
            Brain::Connections(machine) => machine.deadline(),
        };
        machine.into_iter().chain(self.application.deadline()).min()
    }

    /// Takes one input, and all completions that follow from it at once.
    pub(super) fn step(&mut self, now: Instant, input: Input) -> Vec<Effect> {
        let mut effects = Vec::new();
        let mut queue = Queue::from([input]);
        while let Some(input) = queue.pop_front() {
            self.take(now, input, &mut queue, &mut effects);
        }
        match &self.brain {
            Brain::Registry(machine) => machine.check_invariants(),
            Brain::Executor(machine) => machine.check_invariants(),
            Brain::Connections(machine) => machine.check_invariants(),
        }
        effects
    }

    fn take(&mut self, now: Instant, input: Input, queue: &mut Queue, effects: &mut Vec<Effect>) {
        match input {
            Input::Tick => {
                if let Some(command) = self.application.due(now) {
                    self.command(now, command, queue, effects);
                }
                self.handle(now, Event::Tick, queue, effects);
            }
            Input::Net(event) => {
                match &event {
                    NetEvent::Received { link, .. }
                    | NetEvent::PeerClosed { link }
                    | NetEvent::Broken { link, .. } => {
                        self.reads.remove(link);
                    }
                    NetEvent::Accepted { .. } => self.accept = None,
                    _ => {}
                }
                self.handle(now, Event::Net(event), queue, effects);
            }
            Input::Disk(event) => self.handle(now, Event::Disk(event), queue, effects),
            Input::Process(event) => self.handle(now, Event::Process(event), queue, effects),
            Input::Exit(run) => self.exit(now, run, queue),
            Input::Command(number) => self.command(now, number, queue, effects),
        }
    }

    fn command(&mut self, now: Instant, number: u8, queue: &mut Queue, effects: &mut Vec<Effect>) {
        match &mut self.brain {
            Brain::Registry(machine) => {
                let command = self.application.of_registry(number);
                let mut actions = Actions::new();
                if let Some(command) = command {
                    machine.handle(now, Event::Command(command), &mut actions);
                }
                self.obey(now, actions, queue, effects, |_, _, _| {});
            }
            Brain::Executor(machine) => {
                let command = self.application.of_executor(number);
                let mut actions = Actions::new();
                if let Some(command) = command {
                    machine.handle(now, Event::Command(command), &mut actions);
                }
                self.obey(now, actions, queue, effects, |application, notice, _| {
                    application.executor_tells(&notice);
                });
            }
            Brain::Connections(machine) => {
                let command = self.application.of_connections(number);
                let mut actions = Actions::new();
                if let Some(command) = command {
                    machine.handle(now, Event::Command(command), &mut actions);
                }
                self.obey(now, actions, queue, effects, |application, notice, queue| {
                    queue.extend(application.connections_tell(now, notice).map(Input::Command));
                });
            }
        }
    }

    /// Gives an event that is no command to the machine.
    fn handle(&mut self, now: Instant, event: Event<()>, queue: &mut Queue, effects: &mut Vec<Effect>) {
        match &mut self.brain {
            Brain::Registry(machine) => {
                let mut actions = Actions::new();
                of(event, |event| machine.handle(now, event, &mut actions));
                self.obey(now, actions, queue, effects, |_, _, _| {});
            }
            Brain::Executor(machine) => {
                let mut actions = Actions::new();
                of(event, |event| machine.handle(now, event, &mut actions));
                self.obey(now, actions, queue, effects, |application, notice, _| {
                    application.executor_tells(&notice);
                });
            }
            Brain::Connections(machine) => {
                let mut actions = Actions::new();
                of(event, |event| machine.handle(now, event, &mut actions));
                self.obey(now, actions, queue, effects, |application, notice, queue| {
                    queue.extend(application.connections_tell(now, notice).map(Input::Command));
                });
            }
        }
    }

    fn obey<N>(
        &mut self,
        now: Instant,
        mut actions: Actions<N>,
        queue: &mut Queue,
        effects: &mut Vec<Effect>,
        tell: impl Fn(&mut Application, N, &mut Queue),
    ) {
        let all: Vec<Action<N>> = actions.drain().collect();
        for action in all {
            match action {
                Action::Net(action) => self.net(action, queue, effects),
                Action::Process(action) => self.process(now, action, queue),
                Action::Disk(DiskAction { op, .. }) => {
                    // Only folders are asked for: there are no files.
                    let event = DiskEvent { op, result: Ok(DiskDone::Nothing) };
                    queue.push_back(Input::Disk(event));
                }
                Action::Notify(notice) => tell(&mut self.application, notice, queue),
            }
        }
    }

    fn net(&mut self, action: NetAction, queue: &mut Queue, effects: &mut Vec<Effect>) {
        let done = match action {
            NetAction::Listen { listener, address } => NetEvent::Listening { listener, address },
            NetAction::Unlisten { listener } => {
                self.accept = None;
                NetEvent::Unlistened { listener }
            }
            NetAction::Accept { listener, link } => {
                self.accept = Some((listener, link));
                return;
            }
            NetAction::Dial { link, address } => return effects.push(Effect::Dial(link, address)),
            NetAction::Send { link, buffers } => {
                effects.push(Effect::Send(link, buffers.concat()));
                NetEvent::Sent { link }
            }
            NetAction::Recv { link, max } => {
                self.reads.insert(link, max);
                return;
            }
            NetAction::Shutdown { link } => {
                effects.push(Effect::Shutdown(link));
                NetEvent::ShutdownDone { link }
            }
            NetAction::Close { link } => {
                self.reads.remove(&link);
                effects.push(Effect::Close(link));
                NetEvent::Closed { link }
            }
            NetAction::Resolve { host, .. } => unreachable!("there are no names here, and {host} is one"),
        };
        queue.push_back(Input::Net(done));
    }

    fn process(&mut self, now: Instant, action: ProcessAction, queue: &mut Queue) {
        match action {
            ProcessAction::Spawn { run, deadline, .. } => {
                let event = if deadline > now {
                    let (armed, ended) = ([false; 2], [false; 2]);
                    self.runs
                        .insert(run, Run { since: now, deadline, killed: false, over: false, armed, ended });
                    ProcessEvent::Spawned { run }
                } else {
                    ProcessEvent::SpawnFailed { run, error: SpawnError::Late }
                };
                queue.push_back(Input::Process(event));
            }
            ProcessAction::Extend { run, deadline } => {
                if let Some(run) = self.runs.get_mut(&run) {
                    run.deadline = deadline;
                }
            }
            ProcessAction::Kill { run } => {
                if let Some(run) = self.runs.get_mut(&run) {
                    run.killed = true;
                }
            }
            ProcessAction::ReadOutput { run, stream, .. } => {
                if let Some(run) = self.runs.get_mut(&run) {
                    run.armed[stream.index()] = true;
                }
                self.end_output(run, queue);
            }
            // No task here reads its standard input.
            ProcessAction::WriteInput { .. } | ProcessAction::CloseInput { .. } => {}
        }
    }

    /// A command ends, with all its processes; nothing was written.
    fn exit(&mut self, now: Instant, id: RunId, queue: &mut Queue) {
        let Some(run) = self.runs.get_mut(&id) else { return };
        run.over = true;
        let killed = run.killed || run.deadline <= now;
        let status = if killed { ExitStatus::Signal(9) } else { ExitStatus::Code(0) };
        queue.push_back(Input::Process(ProcessEvent::Exited { run: id, status }));
        self.end_output(id, queue);
    }

    fn end_output(&mut self, id: RunId, queue: &mut Queue) {
        for stream in Stream::BOTH {
            let Some(run) = self.runs.get_mut(&id).filter(|run| run.over) else { return };
            if core::mem::take(&mut run.armed[stream.index()]) {
                run.ended[stream.index()] = true;
                if run.ended == [true; 2] {
                    self.runs.remove(&id);
                }
                queue.push_back(Input::Process(ProcessEvent::OutputEnded { run: id, stream }));
            }
        }
    }
}

fn of<C>(event: Event<()>, handle: impl FnOnce(Event<C>)) {
    match event {
        Event::Tick => handle(Event::Tick),
        Event::Net(event) => handle(Event::Net(event)),
        Event::Disk(event) => handle(Event::Disk(event)),
        Event::Process(event) => handle(Event::Process(event)),
        Event::Command(()) => {}
    }
}
