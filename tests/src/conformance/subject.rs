//! The machine that a runtime under test drives: one of four, with an audit at its door.

use super::audit::Audit;
use super::broken::{Breakage, Fault};
use super::relay::{Relay, RelayCommand, RelayNotice};
use std::collections::VecDeque;
use std::time::Duration;
use xxnet_core::connection::{ConnectionCommand, ConnectionNotice, Connections};
use xxnet_core::disk::{DiskAction, DiskEvent};
use xxnet_core::messenger::{Messenger, MessengerCommand, MessengerNotice};
use xxnet_core::net::{NetAction, NetEvent};
use xxnet_core::process::{ProcessAction, ProcessEvent};
use xxnet_core::{Action, Actions, Config, Event, Instant, Machine};

/// What a node of the suite is.
#[derive(Debug)]
pub enum Kind {
    /// Does what it is told and tells what it hears: the network itself.
    Raw,
    /// Connections by id.
    Connections(Box<Config>),
    /// Messages by address.
    Messenger(Box<Config>),
    /// Passes links on to another address, and breaks them.
    Relay,
}

/// What a node is asked.
#[derive(Clone, Debug)]
pub enum Command {
    /// A raw node, in one turn.
    Raw(Vec<Request>),
    /// A node of connections.
    Connections(ConnectionCommand),
    /// A messenger.
    Messenger(MessengerCommand),
    /// A relay.
    Relay(RelayCommand),
    /// Any node → [`Notice::Report`].
    Report,
    /// Any node → [`Notice::Stopping`]: for runtimes that end when they are told something.
    Stop,
}

/// What a raw node is to do.
#[derive(Clone, Debug)]
pub enum Request {
    /// This, on the network.
    Net(NetAction),
    /// This, on the disk.
    Disk(DiskAction),
    /// This, about a process.
    Process(ProcessAction),
    /// Wants its next tick so much later; `None`: none.
    Wake(Option<Duration>),
}

/// What a node tells.
#[derive(Clone, Debug)]
pub enum Notice {
    /// A raw node has heard of the network.
    Net(NetEvent),
    /// A raw node has heard of the disk.
    Disk(DiskEvent),
    /// A raw node has heard of a process.
    Process(ProcessEvent),
    /// A raw node's deadline was reached: when it was, and when the tick came.
    Woke {
        /// The deadline.
        due: Instant,
        /// The runtime's time.
        now: Instant,
    },
    /// Of connections.
    Connections(ConnectionNotice),
    /// Of a messenger.
    Messenger(MessengerNotice),
    /// Of a relay.
    Relay(RelayNotice),
    /// How it stands.
    Report(Report),
    /// As asked: the node may be ended.
    Stopping,
    /// The runtime has done what it must not do.
    Violation(String),
}

/// How a node stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// The runtime's time.
    pub now: Instant,
    /// How often the runtime has called.
    pub calls: u64,
    /// Links, listeners, look-ups, and requests to the disk or to start a process, that the runtime owes something for.
    pub owed: [usize; 4],
    /// Links, listeners, look-ups and connections by the machine's own count; zeros for a raw node.
    pub census: [usize; 4],
    /// What the machine has not finished, by name; only what is not zero.
    pub unfinished: Vec<(&'static str, usize)>,
}

#[derive(Debug)]
enum Inner {
    Raw(Raw),
    Connections(Box<Connections>, Actions<ConnectionNotice>),
    Messenger(Box<Messenger>, Actions<MessengerNotice>),
    Relay(Relay),
}

/// A machine of the suite's.
#[derive(Debug)]
pub struct Subject {
    inner: Inner,
    audit: Audit,
    breakage: Breakage,
    calls: u64,
}

impl Subject {
    /// A node of this kind.
    pub fn new(kind: Kind) -> Self {
        let inner = match kind {
            Kind::Raw => Inner::Raw(Raw::default()),
            Kind::Connections(config) => {
                Inner::Connections(Box::new(Connections::new(&config)), Actions::new())
            }
            Kind::Messenger(config) => Inner::Messenger(Box::new(Messenger::new(*config)), Actions::new()),
            Kind::Relay => Inner::Relay(Relay::default()),
        };
        Self { inner, audit: Audit::default(), breakage: Breakage::default(), calls: 0 }
    }

    /// As if the runtime around it had this fault.
    pub(super) fn break_by(&mut self, fault: Fault) {
        self.breakage.fault = Some(fault);
    }

    fn is_raw(&self) -> bool {
        matches!(self.inner, Inner::Raw(_))
    }

    fn report(&self, now: Instant) -> Report {
        let manager = match &self.inner {
            Inner::Connections(machine, _) => Some(machine.manager()),
            Inner::Messenger(machine, _) => Some(machine.connections()),
            Inner::Raw(_) | Inner::Relay(_) => None,
        };
        let unfinished = manager.map(|manager| manager.unfinished()).unwrap_or_default();
        Report {
            now,
            calls: self.calls,
            owed: self.audit.owed(),
            census: manager.map(|manager| manager.census()).unwrap_or_default(),
            unfinished: unfinished.into_iter().filter(|(_, count)| *count > 0).collect(),
        }
    }

    /// Feeds the machine inside one event.
    fn feed(&mut self, now: Instant, event: Event<Command>, out: &mut Vec<Action<Notice>>) {
        match (&mut self.inner, event) {
            (_, Event::Command(Command::Report)) => {
                self.check_invariants();
                out.push(Action::Notify(Notice::Report(self.report(now))));
            }
            (_, Event::Command(Command::Stop)) => out.push(Action::Notify(Notice::Stopping)),
            (Inner::Raw(raw), event) => raw.handle(now, event, out),
            (Inner::Relay(relay), Event::Net(event)) => relay.net(event, out),
            (Inner::Relay(relay), Event::Command(Command::Relay(command))) => relay.command(command, out),
            (Inner::Connections(machine, sink), event) => {
                let command = |command| match command {
                    Command::Connections(command) => Some(command),
                    _ => None,
                };
                pass(&mut **machine, sink, now, event, command, Notice::Connections, out);
            }
            (Inner::Messenger(machine, sink), event) => {
                let command = |command| match command {
                    Command::Messenger(command) => Some(command),
                    _ => None,
                };
                pass(&mut **machine, sink, now, event, command, Notice::Messenger, out);
            }
            (Inner::Relay(_), _) => {}
        }
    }
}

/// One event for one of the core's machines, and what comes of it in the suite's words.
fn pass<M: Machine>(
    machine: &mut M,
    sink: &mut Actions<M::Notice>,
    now: Instant,
    event: Event<Command>,
    command: impl Fn(Command) -> Option<M::Command>,
    notice: impl Fn(M::Notice) -> Notice,
    out: &mut Vec<Action<Notice>>,
) {
    let event = match event {
        Event::Tick => Event::Tick,
        Event::Net(event) => Event::Net(event),
        Event::Disk(event) => Event::Disk(event),
        Event::Process(event) => Event::Process(event),
        Event::Command(asked) => match command(asked) {
            Some(command) => Event::Command(command),
            None => return,
        },
    };
    machine.handle(now, event, sink);
    out.extend(sink.drain().map(|action| match action {
        Action::Net(action) => Action::Net(action),
        Action::Disk(action) => Action::Disk(action),
        Action::Process(action) => Action::Process(action),
        Action::Notify(told) => Action::Notify(notice(told)),
    }));
}

impl Machine for Subject {
    type Command = Command;
    type Notice = Notice;

    fn handle(&mut self, now: Instant, event: Event<Command>, actions: &mut Actions<Notice>) {
        self.calls += 1;
        let now = self.breakage.time(now);
        let mut events: VecDeque<_> = self.breakage.enter(event).into();
        let mut out = Vec::new();
        while let Some(event) = events.pop_front() {
            let deadline = self.own_deadline();
            self.audit.enter(now, &event, deadline);
            self.feed(now, event, &mut out);
            for action in out.drain(..) {
                match action {
                    // A scenario may ask something of a link that it does not know to be over yet; a machine would not.
                    Action::Net(action) if self.is_raw() && !self.audit.has_link_of(&action) => {}
                    Action::Net(action) => {
                        self.audit.asked(&action);
                        match self.breakage.leave(action) {
                            Ok(action) => actions.net(action),
                            Err(answer) => events.push_back(Event::Net(answer)),
                        }
                    }
                    Action::Disk(action) => {
                        self.audit.asked_disk(&action);
                        actions.disk(action);
                    }
                    Action::Process(action) => {
                        self.audit.asked_process(&action);
                        actions.process(action);
                    }
                    Action::Notify(notice) => actions.notify(notice),
                }
            }
        }
        for what in self.audit.violations() {
            actions.notify(Notice::Violation(what));
        }
    }

    fn deadline(&self) -> Option<Instant> {
        self.breakage.deadline(self.own_deadline())
    }

    fn check_invariants(&self) {
        match &self.inner {
            Inner::Connections(machine, _) => machine.check_invariants(),
            Inner::Messenger(machine, _) => machine.check_invariants(),
            Inner::Raw(_) | Inner::Relay(_) => {}
        }
    }
}

impl Subject {
    fn own_deadline(&self) -> Option<Instant> {
        match &self.inner {
            Inner::Raw(raw) => raw.due,
            Inner::Connections(machine, _) => machine.deadline(),
            Inner::Messenger(machine, _) => machine.deadline(),
            Inner::Relay(_) => None,
        }
    }
}

/// Does what it is told, tells what it hears.
#[derive(Debug, Default)]
struct Raw {
    due: Option<Instant>,
}

impl Raw {
    fn handle(&mut self, now: Instant, event: Event<Command>, out: &mut Vec<Action<Notice>>) {
        match event {
            Event::Tick => {
                if let Some(due) = self.due.take_if(|due| *due <= now) {
                    out.push(Action::Notify(Notice::Woke { due, now }));
                }
            }
            Event::Net(event) => out.push(Action::Notify(Notice::Net(event))),
            Event::Disk(event) => out.push(Action::Notify(Notice::Disk(event))),
            Event::Command(Command::Raw(requests)) => {
                for request in requests {
                    match request {
                        Request::Net(action) => out.push(Action::Net(action)),
                        Request::Disk(action) => out.push(Action::Disk(action)),
                        Request::Process(action) => out.push(Action::Process(action)),
                        Request::Wake(after) => self.due = after.map(|after| now + after),
                    }
                }
            }
            Event::Process(event) => out.push(Action::Notify(Notice::Process(event))),
            Event::Command(_) => {}
        }
    }
}
