//! Where everything in a machine stands, for whoever looks on: an operator, a log, the simulator's coverage.
//!
//! Each part of a machine whose rows move through states has a table here: its states, which of them a row begins in, which
//! follow each other and which a row may be gone from. A *step* is what one event does, seen from outside after it: it may
//! pass through several of the states that a part's own documentation tells of. A machine answers with one [`Row`] for each
//! row of each part; the parts map what they hold to these states in matches that name every case, so that a state which is
//! new there has to be given a place here. Parts whose rows have a single state have no table.

use crate::id::*;
use core::fmt;

/// A part whose rows move through states.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Table {
    /// The machine and the part.
    pub name: &'static str,
    /// Its states, by their numbers in the other fields.
    pub states: &'static [&'static str],
    /// What rows begin in.
    pub begins: &'static [usize],
    /// Which state one event may make of which.
    pub steps: &'static [(usize, usize)],
    /// From where a row may be gone with one event.
    pub ends: &'static [usize],
}

/// A state of some table.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct State {
    table: u8,
    state: u8,
}

/// Which row of a part. Rows keep their key from beginning to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Key {
    /// The machine itself.
    Machine,
    /// A task, or what an executor has of it.
    Task(TaskId),
    /// A connection, or what hangs on it alone.
    Connection(ConnectionId),
    /// A link.
    Link(LinkId),
    /// A listening socket.
    Listener(ListenerId),
    /// A file on its way to us.
    Callback(CallbackId),
    /// A file on its way from us: the connection, and the other end's number for it.
    Serve(ConnectionId, CallbackId),
    /// Another instance.
    Peer(InstanceId),
    /// What we dial to another instance for tasks or files.
    Dialled(InstanceId),
    /// What another instance has dialled for that.
    Accepted(InstanceId),
    /// A row without a name of its own, by its number.
    Number(u64),
}

/// Where one row stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Row {
    /// In which state of which table.
    pub state: State,
    /// Which row.
    pub key: Key,
    /// The connection that it hangs on, if it does on one: what befalls that befalls the row.
    pub on: Option<ConnectionId>,
}

impl Row {
    /// What tells it from all other rows of its machine, whatever its state.
    pub fn name(&self) -> (u8, Key) {
        (self.state.table, self.key)
    }

    /// A row that hangs on no connection.
    pub fn new(key: Key, state: impl Into<State>) -> Self {
        Self { state: state.into(), key, on: None }
    }

    /// The same row, on a connection.
    #[must_use]
    pub fn on(self, connection: impl Into<Option<ConnectionId>>) -> Self {
        Self { on: connection.into(), ..self }
    }
}

/// How many states the tables before each one have, and all of them.
const FIRST: [usize; TABLES.len() + 1] = {
    let mut first = [0; TABLES.len() + 1];
    let mut at = 0;
    while at < TABLES.len() {
        first[at + 1] = first[at] + TABLES[at].states.len();
        at += 1;
    }
    first
};

impl State {
    /// How many there are in all tables.
    pub const COUNT: usize = FIRST[TABLES.len()];

    /// Its table.
    pub fn table(self) -> &'static Table {
        &TABLES[usize::from(self.table)]
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        self.table().states[usize::from(self.state)]
    }

    /// Its number among all states of all tables.
    pub fn number(self) -> usize {
        FIRST[usize::from(self.table)] + usize::from(self.state)
    }

    /// Every state, by number.
    pub fn all() -> impl Iterator<Item = Self> {
        let tables = (0..).zip(TABLES);
        tables.flat_map(|(table, row)| (0..).zip(row.states).map(move |(state, _)| Self { table, state }))
    }

    /// Whether two are of one table.
    pub fn is_beside(self, other: Self) -> bool {
        self.table == other.table
    }

    /// Whether a row may begin in it.
    pub fn may_begin(self) -> bool {
        self.table().begins.contains(&usize::from(self.state))
    }

    /// Whether a row may be gone from it with one event.
    pub fn may_end(self) -> bool {
        self.table().ends.contains(&usize::from(self.state))
    }

    /// Whether one event may make `next` of it.
    pub fn may_become(self, next: Self) -> bool {
        let step = (usize::from(self.state), usize::from(next.state));
        self.is_beside(next) && self.table().steps.contains(&step)
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.table().name, self.name())
    }
}

impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

macro_rules! tables {
    ($(
        $(#[$doc:meta])*
        $table:ident = $name:literal, begins [$($first:ident)*] {
            $($(#[$state_doc:meta])* $state:ident = $text:literal => [$($next:ident)*] $($gone:ident)?;)*
        }
    )*) => {
        /// All tables.
        pub const TABLES: &[Table] = &[$(Table {
            name: $name,
            states: &[$($text),*],
            begins: &[$($table::$first as usize),*],
            steps: &[$($(($table::$state as usize, $table::$next as usize),)*)*],
            ends: &[$($(tables!(@$gone $table::$state as usize),)?)*],
        }),*];

        #[derive(Clone, Copy)]
        enum Number {
            $($table,)*
        }

        $(
            $(#[$doc])*
            #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
            pub enum $table {
                $($(#[$state_doc])* $state,)*
            }

            impl From<$table> for State {
                fn from(state: $table) -> Self {
                    Self { table: Number::$table as u8, state: state as u8 }
                }
            }
        )*
    };
    (@gone $state:expr) => { $state };
}

// `=>` what one event may make of it; `gone`: a row may be gone from there.
tables! {
    /// An executor as a whole.
    ExecutorState = "executor", begins [New] {
        /// It was not told to start.
        New = "new" => [Running Stopped];
        /// It works.
        Running = "running" => [Ending Closing];
        /// It was told to stop: attempts and files are being ended.
        Ending = "ending" => [Closing];
        /// Only connections are left.
        Closing = "closing" => [Stopped];
        /// Nothing is left.
        Stopped = "stopped" => [];
    }

    /// What an executor has with one registry.
    RegistrationState = "executor.registration", begins [Dialling Waiting] {
        /// A pause before the next dial; or for good, if the executor was to end before it listened.
        Waiting = "waiting" => [Dialling];
        /// Dialling or shaking hands.
        Dialling = "dialling" => [Waiting Linked];
        /// It has said who it is.
        Linked = "linked" => [Waiting Registered];
        /// The registry has it.
        Registered = "registered" => [Waiting];
    }

    /// The task connection with another executor.
    TaskLane = "executor.task-lane", begins [Dialling Accepted] {
        /// A pause before the next dial.
        Resting = "resting" => [Dialling] gone;
        /// Dialling or shaking hands.
        Dialling = "dialling" => [Resting Up] gone;
        /// We dialled, and it is up.
        Up = "up" => [Resting] gone;
        /// The other one dialled, and it is up.
        Accepted = "accepted" => [] gone;
    }

    /// The file connection with another executor.
    FileLane = "executor.file-lane", begins [Dialling Accepted] {
        /// A pause before the next dial.
        Resting = "resting" => [Dialling] gone;
        /// Dialling or shaking hands.
        Dialling = "dialling" => [Resting Up] gone;
        /// We dialled, and it is up.
        Up = "up" => [Resting] gone;
        /// The other one dialled, and it is up.
        Accepted = "accepted" => [] gone;
    }

    /// A task at its publisher.
    TaskState = "publisher.task", begins [Opening Free] {
        /// Its inputs are being scanned.
        Opening = "opening" => [Free] gone;
        /// Nobody holds it.
        Free = "free" => [Granted] gone;
        /// Held; its command was not reported to run.
        Granted = "granted" => [Free Running Collecting Lapsed] gone;
        /// Held; its command runs.
        Running = "running" => [Free Granted Collecting Lapsed] gone;
        /// Held; its results are being pulled.
        Collecting = "collecting" => [Free Granted Lapsed] gone;
        /// Held, but the lease has run out: anybody may have it.
        Lapsed = "lapsed" => [Free Granted Running Collecting] gone;
    }

    /// Whether an executor that holds tasks of ours, and whose link has ended, is dead.
    ProbeState = "publisher.probe", begins [Asking] {
        /// A pause before the next dial.
        Resting = "resting" => [Asking] gone;
        /// Its address is being dialled.
        Asking = "asking" => [Resting] gone;
    }

    /// What an executor has of a task that it was proposed.
    AttemptState = "worker.attempt", begins [Proposed Wanted] {
        /// Waits for a slot.
        Proposed = "proposed" => [Wanted] gone;
        /// Claimed, not answered.
        Wanted = "wanted" => [Folder Stopping] gone;
        /// Its folder is being made.
        Folder = "folder" => [Fetching Spawning Stopping Leaving];
        /// Its inputs are on their way.
        Fetching = "fetching" => [Spawning Stopping Leaving];
        /// The command is being started.
        Spawning = "spawning" => [Running Packing Finished Stopping Leaving];
        /// The command runs, or its output is still being read.
        Running = "running" => [Packing Finished Stopping];
        /// Its outputs are being scanned.
        Packing = "packing" => [Finished Stopping];
        /// The publisher may pull the results.
        Finished = "finished" => [Stopping Leaving];
        /// Being killed, or waiting for the disk to let go.
        Stopping = "stopping" => [Leaving];
        /// Its folder is being removed.
        Leaving = "leaving" => [Wanted Proposed] gone;
    }

    /// A file on its way to us.
    FetchState = "executor.fetch", begins [Waiting Requested Receiving Broken] {
        /// Not asked for: there is no connection for it.
        Waiting = "waiting" => [Requested Closing] gone;
        /// Asked for, not answered.
        Requested = "requested" => [Broken Receiving Committing Closing] gone;
        /// Blocks come.
        Receiving = "receiving" => [Requested Broken Arrived Committing Closing] gone;
        /// The link has ended before all was known to be here. The answer to an earlier request may come along with the next link.
        Broken = "broken" => [Requested Receiving Committing Closing] gone;
        /// All of it is verified; another file of the same name is still being made visible, or copies are for others.
        Arrived = "arrived" => [Committing Closing] gone;
        /// It is being made visible.
        Committing = "committing" => [Closing] gone;
        /// Its callback has fired; the disk lets go of it.
        Closing = "closing" => [] gone;
    }

    /// A file on its way from us.
    ServeState = "executor.serve", begins [Reading Root] {
        /// Blocks are being read.
        Reading = "reading" => [Root] gone;
        /// Its root hash is being read.
        Root = "root" => [Reading] gone;
    }

    /// A registry as a whole.
    RegistryState = "registry", begins [New] {
        /// It was not told where to listen.
        New = "new" => [Running Stopped];
        /// It works.
        Running = "running" => [Ending];
        /// Connections are being closed.
        Ending = "ending" => [Stopped];
        /// Nothing is left.
        Stopped = "stopped" => [];
    }

    /// A member of a registry.
    MemberState = "registry.member", begins [Present] {
        /// Connected, and heard of.
        Present = "present" => [Away Suspect Silent] gone;
        /// Its connection is gone.
        Away = "away" => [Present Silent] gone;
        /// Connected, and silent for long.
        Suspect = "suspect" => [Present Silent] gone;
        /// Its connection is gone, for long.
        Silent = "silent" => [Present] gone;
    }

    /// A task as a registry knows it.
    QueueState = "registry.task", begins [Waiting Proposed Taken Ended] {
        /// Nobody has it.
        Waiting = "waiting" => [Resting Proposed Taken Ended] gone;
        /// So many gave it back that nobody is asked for a while.
        Resting = "resting" => [Waiting Proposed Taken Ended] gone;
        /// It is proposed to somebody.
        Proposed = "proposed" => [Waiting Resting Taken Ended] gone;
        /// Its publisher says that it is held.
        Taken = "taken" => [Waiting Proposed Ended] gone;
        /// Its publisher says that it has ended.
        Ended = "ended" => [] gone;
    }

    /// A connection that a registry has accepted.
    StandingState = "registry.session", begins [Newcomer Member Asker] {
        /// It has to register.
        Newcomer = "newcomer" => [Member] gone;
        /// A member's.
        Member = "member" => [] gone;
        /// It may ask.
        Asker = "asker" => [] gone;
    }

    /// A connection by its id.
    LineState = "connection", begins [Idle Resolving Dialling Connected Session Listening] {
        /// Nothing is under way.
        Idle = "idle" => [Resolving Dialling Listening] gone;
        /// A name is being looked up for its first link.
        Resolving = "resolving" => [Idle Dialling] gone;
        /// Its first link is being made.
        Dialling = "dialling" => [Idle Connected Session Closing] gone;
        /// Of a plain kind: its link is up.
        Connected = "connected" => [Idle Closing] gone;
        /// Of a kind with sessions: its session has begun.
        Session = "session" => [Idle Resolving Dialling Closing] gone;
        /// It listens, or is about to.
        Listening = "listening" => [Idle Unlistening] gone;
        /// Its last words are on their way.
        Closing = "closing" => [Idle Resolving Dialling] gone;
        /// Its listening socket is being closed.
        Unlistening = "unlistening" => [Idle] gone;
    }

    /// A session.
    SessionState = "connection.session", begins [Linked Cut Closing] {
        /// It has one link.
        Linked = "linked" => [Several Cut Redialling Closing] gone;
        /// It has more than one.
        Several = "several" => [Linked Cut Closing] gone;
        /// It has none, and does not dial.
        Cut = "cut" => [Linked Redialling Closing] gone;
        /// It has none, and dials.
        Redialling = "redialling" => [Linked Cut Closing] gone;
        /// The application has closed it; something is not acknowledged yet.
        Closing = "closing" => [] gone;
    }

    /// A link.
    LinkState = "link", begins [Dialling AwaitHello Closed] {
        /// TCP connects.
        Dialling = "dialling" => [HelloSent Closed] gone;
        /// Dialler: Welcome is awaited.
        HelloSent = "hello-sent" => [Established Flushing Closed] gone;
        /// Acceptor: Hello is awaited.
        AwaitHello = "await-hello" => [WelcomeSent Flushing Closed] gone;
        /// Acceptor: Confirm is awaited.
        WelcomeSent = "welcome-sent" => [Established Flushing Closed] gone;
        /// Both ends have proven the key. Where nothing is to be sent any more, the end is told at once.
        Established = "established" => [Flushing Ending Closed] gone;
        /// Closing: the outbox goes first.
        Flushing = "flushing" => [Ending Closed] gone;
        /// Closing: our end is being told.
        Ending = "ending" => [Draining Closed] gone;
        /// Closing: the peer's end is awaited.
        Draining = "draining" => [Closed] gone;
        /// The network was asked to close it.
        Closed = "closed" => [] gone;
    }

    /// A listening socket.
    ListenerState = "listener", begins [Opening] {
        /// The system has yet to answer.
        Opening = "opening" => [Unwanted Open] gone;
        /// The same, and it is to be closed as soon as it is open.
        Unwanted = "unwanted" => [Closing] gone;
        /// It accepts.
        Open = "open" => [Failing Closing];
        /// Accepting has failed, and is tried again.
        Failing = "failing" => [Open Closing];
        /// The system was asked to close it.
        Closing = "closing" => [] gone;
    }

    /// A messenger as a whole.
    MessengerState = "messenger", begins [Running] {
        /// It works.
        Running = "running" => [Closing Down];
        /// What was sent is to be acknowledged or reported.
        Closing = "closing" => [Down];
        /// Nothing is left.
        Down = "down" => [];
    }

    /// A peer of a messenger.
    PeerState = "messenger.peer", begins [Dialling Connected] {
        /// No session, and a pause before the next dial.
        Waiting = "waiting" => [Dialling Connected] gone;
        /// No session, and it is being dialled.
        Dialling = "dialling" => [Waiting Connected Here] gone;
        /// It has a session.
        Connected = "connected" => [Dialling] gone;
        /// It turned out to be ourselves.
        Here = "here" => [] gone;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::collections::BTreeSet;
    use alloc::string::ToString;

    #[test]
    fn every_state_has_its_number_and_its_name() {
        let all: alloc::vec::Vec<State> = State::all().collect();
        assert_eq!(all.len(), State::COUNT);
        assert!((0..).zip(&all).all(|(at, state)| state.number() == at));
        let names: BTreeSet<_> = all.iter().map(ToString::to_string).collect();
        assert_eq!(names.len(), all.len(), "two states share a name");
    }

    #[test]
    fn every_state_can_be_come_to() {
        for state in State::all() {
            let comes = state.may_begin() || State::all().any(|before| before.may_become(state));
            assert!(comes, "nothing leads to {state}");
            assert!(!state.may_become(state), "{state} is no step");
        }
    }
}
