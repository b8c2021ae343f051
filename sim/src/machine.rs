//! The very machines that a daemon runs, behind one door, so that a world can hold all of them.

use crate::swap;
use core::fmt::Debug;
use xxnet_core::client::{ClientCommand, ClientNotice};
use xxnet_core::connection::{ConnectionCommand, ConnectionNotice, Connections};
use xxnet_core::executor::{ExecutorCommand, ExecutorNotice};
use xxnet_core::messenger::{MessengerCommand, MessengerNotice};
use xxnet_core::registry::{RegistryCommand, RegistryNotice};
use xxnet_core::states::{Row, State};
use xxnet_core::{Action, Actions, Event, Instant, LinkId, Machine};

/// What any machine of the world is asked.
#[derive(Clone, Debug, PartialEq)]
pub enum Command {
    /// An executor; boxed, since a task is much larger than all that is asked often.
    Executor(Box<ExecutorCommand>),
    /// A registry.
    Registry(RegistryCommand),
    /// A client.
    Client(ClientCommand),
    /// Connections alone.
    Connections(ConnectionCommand),
    /// A messenger.
    Messenger(MessengerCommand),
}

/// What any machine of the world tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// An executor.
    Executor(ExecutorNotice),
    /// A registry.
    Registry(RegistryNotice),
    /// A client; boxed, as a task is above.
    Client(Box<ClientNotice>),
    /// Connections alone.
    Connections(ConnectionNotice),
    /// A messenger.
    Messenger(MessengerNotice),
}

/// A machine whose commands and notices the world knows.
pub trait Known: Machine {
    /// The world's command as the machine's own; `None` if it is for another machine.
    fn command(command: Command) -> Option<Self::Command>;
    /// The machine's notice as the world's.
    fn notice(notice: Self::Notice) -> Notice;
    /// The sockets that it holds, for leak checks: links, listeners, look-ups, connections.
    fn census(&self) -> [usize; 4];
    /// What is under way, waits or is owed; all zero once nothing is to do.
    fn unfinished(&self) -> Vec<(&'static str, usize)>;
    /// Where everything of it stands.
    fn rows(&self, rows: &mut Vec<Row>);
    /// Where one link stands, if bytes on a link can change nothing that is not told or done on it.
    fn link_state(&self, _link: LinkId) -> Option<State> {
        None
    }
    /// Whether it can tell what an event of one link can have changed; if not, all of it must be looked at.
    const CHECKS_LINKS: bool = false;
    /// Panics if the machine contradicts itself in what an event of this link can have changed.
    fn check_link(&self, _link: LinkId) {}
    /// Steps that it took so far, if it counts them.
    fn effort(&self) -> u64 {
        0
    }
    /// A copy that was written to bytes and read again; `None` if it is a machine that cannot.
    fn rewritten(&self) -> Option<Self>
    where
        Self: Sized,
    {
        None
    }
}

/// Any machine of the world.
pub trait Brain: Debug {
    /// As [`Machine::handle`].
    fn handle(&mut self, now: Instant, event: Event<Command>, actions: &mut Vec<Action<Notice>>);
    /// As [`Machine::deadline`].
    fn deadline(&self) -> Option<Instant>;
    /// As [`Machine::check_invariants`].
    fn check_invariants(&self);
    /// As [`Known::CHECKS_LINKS`].
    fn checks_links(&self) -> bool {
        false
    }
    /// As [`Known::check_link`].
    fn check_link(&self, _link: LinkId) {}
    /// As [`Known::census`].
    fn census(&self) -> [usize; 4];
    /// As [`Known::unfinished`].
    fn unfinished(&self) -> Vec<(&'static str, usize)>;
    /// As [`Known::effort`].
    fn effort(&self) -> u64 {
        0
    }
    /// As [`Known::rows`].
    fn rows(&self, _rows: &mut Vec<Row>) {}
    /// As [`Known::link_state`].
    fn link_state(&self, _link: LinkId) -> Option<State> {
        None
    }
}

/// A machine and the sink that it fills.
#[derive(Debug)]
pub struct Adapter<M: Machine> {
    machine: M,
    actions: Actions<M::Notice>,
}

impl<M: Machine> Adapter<M> {
    /// Wraps a machine.
    pub fn new(machine: M) -> Self {
        Self { machine, actions: Actions::new() }
    }
}

impl<M: Known + Debug> Brain for Adapter<M>
where
    M::Notice: Debug,
{
    fn handle(&mut self, now: Instant, event: Event<Command>, actions: &mut Vec<Action<Notice>>) {
        let event = match event {
            Event::Tick => Event::Tick,
            Event::Net(event) => Event::Net(event),
            Event::Disk(event) => Event::Disk(event),
            Event::Process(event) => Event::Process(event),
            Event::Command(command) => match M::command(command) {
                Some(command) => Event::Command(command),
                None => return,
            },
        };
        if swap::is_due()
            && let Some(copy) = self.machine.rewritten()
        {
            self.machine = copy;
        }
        self.machine.handle(now, event, &mut self.actions);
        actions.extend(self.actions.drain().map(|action| match action {
            Action::Net(action) => Action::Net(action),
            Action::Disk(action) => Action::Disk(action),
            Action::Process(action) => Action::Process(action),
            Action::Notify(notice) => Action::Notify(M::notice(notice)),
        }));
    }

    fn deadline(&self) -> Option<Instant> {
        self.machine.deadline()
    }

    fn check_invariants(&self) {
        self.machine.check_invariants();
    }

    fn checks_links(&self) -> bool {
        M::CHECKS_LINKS
    }

    fn check_link(&self, link: LinkId) {
        M::check_link(&self.machine, link);
    }

    fn census(&self) -> [usize; 4] {
        M::census(&self.machine)
    }

    fn unfinished(&self) -> Vec<(&'static str, usize)> {
        M::unfinished(&self.machine)
    }

    fn effort(&self) -> u64 {
        M::effort(&self.machine)
    }
    fn rows(&self, rows: &mut Vec<Row>) {
        M::rows(&self.machine, rows);
    }

    fn link_state(&self, link: LinkId) -> Option<State> {
        M::link_state(&self.machine, link)
    }
}

impl Known for xxnet_core::executor::Executor {
    fn command(command: Command) -> Option<ExecutorCommand> {
        match command {
            Command::Executor(command) => Some(*command),
            Command::Registry(_) | Command::Client(_) | Command::Connections(_) | Command::Messenger(_) => {
                None
            }
        }
    }

    fn notice(notice: ExecutorNotice) -> Notice {
        Notice::Executor(notice)
    }

    fn census(&self) -> [usize; 4] {
        Self::census(self)
    }

    fn unfinished(&self) -> Vec<(&'static str, usize)> {
        Self::unfinished(self)
    }

    fn rewritten(&self) -> Option<Self> {
        swap::copy(self)
    }
    fn rows(&self, rows: &mut Vec<Row>) {
        Self::rows(self, rows);
    }
}

impl Known for xxnet_core::registry::Registry {
    fn command(command: Command) -> Option<RegistryCommand> {
        match command {
            Command::Registry(command) => Some(command),
            Command::Executor(_) | Command::Client(_) | Command::Connections(_) | Command::Messenger(_) => {
                None
            }
        }
    }

    fn notice(notice: RegistryNotice) -> Notice {
        Notice::Registry(notice)
    }

    fn effort(&self) -> u64 {
        Self::effort(self)
    }

    fn census(&self) -> [usize; 4] {
        Self::census(self)
    }

    fn unfinished(&self) -> Vec<(&'static str, usize)> {
        Self::unfinished(self)
    }

    fn rewritten(&self) -> Option<Self> {
        swap::copy(self)
    }
    fn rows(&self, rows: &mut Vec<Row>) {
        Self::rows(self, rows);
    }
}

impl Known for Connections {
    fn command(command: Command) -> Option<ConnectionCommand> {
        match command {
            Command::Connections(command) => Some(command),
            Command::Executor(_) | Command::Registry(_) | Command::Client(_) | Command::Messenger(_) => None,
        }
    }

    fn notice(notice: ConnectionNotice) -> Notice {
        Notice::Connections(notice)
    }

    fn census(&self) -> [usize; 4] {
        self.manager().census()
    }

    const CHECKS_LINKS: bool = true;

    fn check_link(&self, link: LinkId) {
        self.manager().check_link(link);
    }

    fn unfinished(&self) -> Vec<(&'static str, usize)> {
        self.manager().unfinished()
    }

    fn rewritten(&self) -> Option<Self> {
        swap::copy(self)
    }
    fn rows(&self, rows: &mut Vec<Row>) {
        self.manager().rows(rows);
    }

    fn link_state(&self, link: LinkId) -> Option<State> {
        self.manager().link_state(link).map(State::from)
    }
}

impl Known for xxnet_core::messenger::Messenger {
    fn command(command: Command) -> Option<MessengerCommand> {
        match command {
            Command::Messenger(command) => Some(command),
            Command::Executor(_) | Command::Registry(_) | Command::Client(_) | Command::Connections(_) => {
                None
            }
        }
    }

    fn notice(notice: MessengerNotice) -> Notice {
        Notice::Messenger(notice)
    }

    fn census(&self) -> [usize; 4] {
        self.connections().census()
    }

    fn unfinished(&self) -> Vec<(&'static str, usize)> {
        Self::unfinished(self)
    }

    fn rows(&self, rows: &mut Vec<Row>) {
        Self::rows(self, rows);
    }
}
