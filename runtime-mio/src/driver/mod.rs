//! The one driver: any [`Machine`] on real sockets, files and processes.

mod observer;

pub use observer::Observer;

use crate::alarm::{Alarm, Completion, Outbox, WAKE};
use crate::clock;
use crate::disk::{Disk, DiskOptions};
use crate::handle::{Handle, MAILBOX, Mailbox};
use crate::net::{Net, SocketOptions, net_error};
use crate::process::Processes;
use crate::timer::{TIMER, Timer};
use mio::{Events, Poll, Token};
use observer::Observers;
use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use xxnet_core::disk::{DiskAction, DiskEvent, FileError, FileErrorKind};
use xxnet_core::machine::{Action, Actions, Event, Machine};
use xxnet_core::net::{NetAction, NetEvent};
use xxnet_core::process::{ProcessAction, ProcessEvent, SpawnError};
use xxnet_core::time::earliest;

/// Events handled between two looks at the poll, so that nothing waits long behind a busy few.
const EVENTS_A_TURN: usize = 512;
/// Events that one poll brings at most.
const POLLED: usize = 256;
/// Tokens with this bit are the process backend's.
const PROCESS_BIT: usize = 1 << 62;

/// What a driver has beside the network.
#[derive(Debug, Default)]
pub struct Options {
    /// The disk; without it each request is answered with `System(ENOSYS)`.
    pub disk: Option<DiskOptions>,
    /// Commands; without it each is answered with `System(ENOSYS)`.
    pub processes: Option<Processes>,
    /// How the sockets of links are set.
    pub sockets: SocketOptions,
}

/// Whether the loop goes on after a notice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flow {
    /// It does.
    Continue,
    /// It ends now: `run` returns.
    Stop,
}

/// A machine and everything that it asks for.
///
/// One thread: `run` polls with the machine's deadline, feeds the machine its events one by one, and does at once, in
/// order, what each brings about. Names, files and hashing are on threads of their own. Dropping a driver closes all.
pub struct Driver<M: Machine> {
    machine: M,
    poll: Poll,
    events: Events,
    timer: Timer,
    net: Net,
    disk: Option<Disk>,
    processes: Option<Processes>,
    alarm: Arc<Alarm>,
    outbox: Outbox,
    mailbox: Arc<Mailbox<M::Command>>,
    /// The mailbox has something that was not taken yet.
    mail: bool,
    queues: Queues<M::Command>,
    actions: Actions<M::Notice>,
    observers: Observers<M>,
    /// Lend their memory; empty between two uses.
    done: Vec<Completion>,
    said: Vec<M::Command>,
}

/// Events that the machine has not been given yet.
struct Queues<C> {
    commands: VecDeque<C>,
    net: VecDeque<NetEvent>,
    disk: VecDeque<DiskEvent>,
    process: VecDeque<ProcessEvent>,
    /// Which queue is asked first next time: none can starve another.
    next: u8,
}

impl<M: Machine> fmt::Debug for Driver<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Driver").field("net", &self.net).finish_non_exhaustive()
    }
}

impl<M: Machine> Driver<M> {
    /// Prepares to run `machine`; nothing happens yet.
    ///
    /// # Errors
    /// The system's, if it has no descriptors left, or the work directory cannot be used; `InvalidInput` and others, if the
    /// system does not take the options of sockets.
    pub fn new(machine: M, options: Options) -> io::Result<Self> {
        options.sockets.check()?;
        let poll = Poll::new()?;
        let alarm = Alarm::new(poll.registry())?;
        let outbox = Outbox::new(Arc::clone(&alarm));
        let mut processes = options.processes;
        if let Some(processes) = &mut processes {
            processes.attach(poll.registry().try_clone()?)?;
        }
        Ok(Self {
            machine,
            events: Events::with_capacity(POLLED),
            timer: Timer::new(poll.registry())?,
            net: Net::new(poll.registry().try_clone()?, outbox.clone(), options.sockets),
            disk: options.disk.map(|options| Disk::new(options, outbox.clone())),
            processes,
            mailbox: Mailbox::new(Arc::clone(&alarm)),
            mail: false,
            alarm,
            outbox,
            queues: Queues::default(),
            actions: Actions::new(),
            observers: Observers::default(),
            done: Vec::new(),
            said: Vec::new(),
            poll,
        })
    }

    /// A door for commands from any thread.
    pub fn handle(&self) -> Handle<M::Command> {
        Handle::new(Arc::clone(&self.mailbox))
    }

    /// From here on `observer` is told every event and every action; who is to see all of them comes before the first turn.
    pub fn observe(&mut self, observer: Box<dyn Observer<M> + Send>) {
        self.observers.add(observer);
    }

    /// The machine, to look at.
    pub fn machine(&self) -> &M {
        &self.machine
    }

    /// Runs until `on_notice` returns [`Flow::Stop`]. Commands that it pushes are handled in order, before anything
    /// that comes later. It can be called again to go on.
    ///
    /// # Errors
    /// The poll's own, or `BrokenPipe` as soon as the supervisor of the commands is gone; whatever could be killed then
    /// has been.
    pub fn run(
        &mut self,
        mut on_notice: impl FnMut(M::Notice, &mut Vec<M::Command>) -> Flow,
    ) -> io::Result<()> {
        self.mailbox.run_here();
        loop {
            self.wait(None)?;
            if self.work(&mut on_notice)? == Flow::Stop {
                return Ok(());
            }
        }
    }

    /// The second half of a turn: what has come is handled, up to a limit, so that no side waits long.
    pub(crate) fn work(
        &mut self,
        on_notice: &mut impl FnMut(M::Notice, &mut Vec<M::Command>) -> Flow,
    ) -> io::Result<Flow> {
        if self.machine.deadline().is_some_and(|deadline| deadline <= clock::now())
            && self.step(Event::Tick, on_notice)? == Flow::Stop
        {
            return Ok(Flow::Stop);
        }
        for _ in 0..EVENTS_A_TURN {
            let Some(event) = self.next_event()? else { break };
            if self.step(event, on_notice)? == Flow::Stop {
                return Ok(Flow::Stop);
            }
        }
        Ok(Flow::Continue)
    }

    /// Gives the machine a command at once, before whatever waits for it; what follows from it is done when this returns.
    pub(crate) fn command(
        &mut self,
        command: M::Command,
        on_notice: &mut impl FnMut(M::Notice, &mut Vec<M::Command>) -> Flow,
    ) -> io::Result<Flow> {
        self.step(Event::Command(command), on_notice)
    }

    /// Commands that are handled in the coming half turn, before whatever comes later.
    pub(crate) fn commands(&mut self) -> &mut VecDeque<M::Command> {
        &mut self.queues.commands
    }

    /// What wakes the loop.
    pub(crate) fn alarm(&self) -> Arc<Alarm> {
        Arc::clone(&self.alarm)
    }

    /// The first half of a turn: polls, without blocking if there is anything to do already, and sorts what has come into the
    /// queues. Waits no longer than `at_most`, if that is given.
    pub(crate) fn wait(&mut self, at_most: Option<Duration>) -> io::Result<()> {
        let now = clock::now();
        let deadline = earliest(self.machine.deadline(), at_most.map(|at_most| now + at_most));
        let busy = !self.queues.is_empty()
            || self.net.has_deferred()
            || deadline.is_some_and(|deadline| deadline <= now);
        if !busy {
            self.observers.idle();
            self.disk.iter().for_each(|disk| disk.idle(now));
        }
        let timeout = if busy { Some(Duration::ZERO) } else { self.timer.wait(now, deadline)? };
        match self.poll.poll(&mut self.events, timeout) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => self.events.clear(),
            polled => polled?,
        }
        self.net.begin_turn(&mut self.queues.net);
        for event in &self.events {
            match event.token() {
                WAKE => {
                    self.alarm.silence();
                    self.mail = true;
                    self.outbox.take(&mut self.done);
                    for completion in self.done.drain(..) {
                        match completion {
                            Completion::Net(event) => self.queues.net.push_back(event),
                            Completion::Disk(event) => self.queues.disk.push_back(event),
                        }
                    }
                }
                TIMER => {}
                Token(token) if token & PROCESS_BIT != 0 => {
                    if let Some(processes) = &mut self.processes {
                        processes.ready(event, &mut self.queues.process);
                    }
                }
                Token(_) => self.net.ready(event, &mut self.queues.net),
            }
        }
        // What is left in the mailbox holds its senders back until the machine has caught up.
        if self.mail && self.queues.commands.len() < MAILBOX {
            self.mail = false;
            self.mailbox.take(&mut self.queues.commands);
        }
        self.check_supervisor()
    }

    /// The next event that is still news to the machine.
    fn next_event(&mut self) -> io::Result<Option<Event<M::Command>>> {
        while let Some(event) = self.queues.pop() {
            let Event::Net(event) = event else { return Ok(Some(event)) };
            if self.net.is_news(&event) {
                return Ok(Some(Event::Net(self.hold(event)?)));
            }
        }
        Ok(None)
    }

    /// A listener that is about to be announced is first given to the supervisor, which holds it open for as long as a
    /// command lives (PROTOCOL A8): only so does a refused dial prove that all of them are dead.
    fn hold(&mut self, event: NetEvent) -> io::Result<NetEvent> {
        let NetEvent::Listening { listener, .. } = event else { return Ok(event) };
        let (Some(processes), Some(fd)) = (&mut self.processes, self.net.listening_fd(listener)) else {
            return Ok(event);
        };
        let Err(error) = processes.hold_listener(fd) else { return Ok(event) };
        self.check_supervisor()?;
        self.net.forget_listener(listener);
        Ok(NetEvent::ListenFailed { listener, error: net_error(&error) })
    }

    /// Gives the machine one event and does what follows from it.
    fn step(
        &mut self,
        event: Event<M::Command>,
        on_notice: &mut impl FnMut(M::Notice, &mut Vec<M::Command>) -> Flow,
    ) -> io::Result<Flow> {
        let now = clock::now();
        self.observers.event(now, &self.machine, &event);
        self.machine.handle(now, event, &mut self.actions);
        self.observers.finished(now, &self.machine, self.actions.as_slice());
        let mut flow = Flow::Continue;
        for action in self.actions.drain() {
            match action {
                Action::Net(action) => {
                    let_go(&action, &self.net, self.processes.as_mut());
                    self.net.act(action, &mut self.queues.net);
                }
                Action::Disk(action) => match &self.disk {
                    Some(disk) => disk.act(action),
                    None => self.queues.disk.push_back(no_disk(action)),
                },
                Action::Process(action) => match &mut self.processes {
                    Some(processes) => {
                        let disk = self.disk.as_ref();
                        let folder = |id| disk.map_or_else(PathBuf::new, |disk| disk.folder_path(id));
                        processes.act(now, action, &folder, &mut self.queues.process);
                    }
                    None => self.queues.process.extend(no_processes(action)),
                },
                Action::Notify(notice) => {
                    if on_notice(notice, &mut self.said) == Flow::Stop {
                        flow = Flow::Stop;
                    }
                    self.queues.commands.extend(self.said.drain(..));
                }
            }
        }
        self.check_supervisor()?;
        Ok(flow)
    }

    fn check_supervisor(&self) -> io::Result<()> {
        match &self.processes {
            Some(processes) if processes.supervisor_gone() => {
                Err(io::Error::new(io::ErrorKind::BrokenPipe, "the supervisor of the commands has ended"))
            }
            _ => Ok(()),
        }
    }
}

impl<M: Machine> Drop for Driver<M> {
    fn drop(&mut self) {
        self.mailbox.close();
        self.observers.ended(&self.machine);
    }
}

impl<C> Default for Queues<C> {
    fn default() -> Self {
        Self {
            commands: VecDeque::new(),
            net: VecDeque::new(),
            disk: VecDeque::new(),
            process: VecDeque::new(),
            next: 0,
        }
    }
}

impl<C> Queues<C> {
    fn is_empty(&self) -> bool {
        self.commands.is_empty() && self.net.is_empty() && self.disk.is_empty() && self.process.is_empty()
    }

    /// One event, from each queue in turn.
    fn pop(&mut self) -> Option<Event<C>> {
        (0..4).find_map(|_| {
            let queue = self.next;
            self.next = (queue + 1) % 4;
            match queue {
                0 => self.commands.pop_front().map(Event::Command),
                1 => self.process.pop_front().map(Event::Process),
                2 => self.disk.pop_front().map(Event::Disk),
                _ => self.net.pop_front().map(Event::Net),
            }
        })
    }
}

/// A listener that is about to be closed is closed at the supervisor too, so that its address is free again.
fn let_go(action: &NetAction, net: &Net, processes: Option<&mut Processes>) {
    if let NetAction::Unlisten { listener } = action
        && let Some(processes) = processes
        && let Some(fd) = net.listening_fd(*listener)
    {
        processes.release_listener(fd);
    }
}

fn no_disk(action: DiskAction) -> DiskEvent {
    DiskEvent { op: action.op, result: Err(FileError::new(FileErrorKind::System(libc::ENOSYS), "")) }
}

/// Only a spawn is answered: without one there is no run that anything else could be about.
fn no_processes(action: ProcessAction) -> Option<ProcessEvent> {
    match action {
        ProcessAction::Spawn { run, .. } => {
            Some(ProcessEvent::SpawnFailed { run, error: SpawnError::System(libc::ENOSYS) })
        }
        ProcessAction::Extend { .. }
        | ProcessAction::Kill { .. }
        | ProcessAction::ReadOutput { .. }
        | ProcessAction::WriteInput { .. }
        | ProcessAction::CloseInput { .. } => None,
    }
}

#[cfg(test)]
mod tests;
