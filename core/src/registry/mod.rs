//! The registry machine: who is there, which tasks want an executor, who gets the next proposal.
//!
//! All it knows is soft state: members register again and publishers publish again by themselves, so it can be killed and
//! started at any moment, or two of them can run at once (ledger R4, R7). It decides nothing about a task but to whom it is
//! proposed: the publisher is its task's lock server (PROTOCOL A), and a proposal too many costs one refused claim.
//!
//! | part | what it knows |
//! | --- | --- |
//! | `sessions` | accepted connections, and what each may say |
//! | `members` | who is registered, and how long each has been silent |
//! | `queue` | every task, where it stands, and who is next |
//! | `capacity` | who has slots, and who should get the next proposal |
//! | `pairs` | who cannot reach whom |
//! | `waits` | what publishers were told about why their tasks wait |
//! | `questions` | questions that only a publisher can answer |
//!
//! The parts do not know each other. The routes between them are here: `mod` takes events and timers, `hear` what members say,
//! `assign` matches tasks to members, `answer` serves the command line.

mod answer;
mod assign;
mod capacity;
mod hear;
mod members;
mod notice;
mod pairs;
mod questions;
mod queue;
mod sessions;
#[cfg(test)]
mod tests;
mod waits;

pub use notice::{RegistryCommand, RegistryNotice};

use crate::connection::{
    ConnectionEvent, ConnectionKind, ConnectionManager, DisconnectReason, KindId, LinkRule, PeerInfo, Role,
};
use crate::machine::{Actions, Event, Machine};
use crate::message::Message;
use crate::net::NetError;
use crate::state::Kept;
use crate::states::{Key, RegistryState, Row};
use crate::time::earliest;
use crate::timers::Timers;
use crate::wire::WireError;
use crate::{Address, ClusterKey, Config, ConnectionId, InstanceId, Instant, Limits};
use alloc::collections::BTreeSet;
use alloc::vec::Vec;
use capacity::Capacity;
use core::net::SocketAddr;
use members::{Members, Silence};
use pairs::Pairs;
use questions::Questions;
use queue::{Queue, State};
use serde::{Deserialize, Serialize};
use sessions::{Session, Sessions, Standing};
use waits::Waits;

type Out = Actions<RegistryNotice>;

/// Our listening connection's kind; never on the wire.
const LISTENER: KindId = KindId(6);

/// How far its life has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
enum Stage {
    /// Before `Listen`.
    New,
    Running,
    /// `Shutdown` was asked; links are being closed.
    Ending,
    Stopped,
}

/// Matches the tasks that publishers make known to the executors that are there.
#[derive(Clone, Debug, Hash, Serialize, Deserialize)]
pub struct Registry {
    limits: Limits,
    stage: Stage,
    manager: ConnectionManager,
    sessions: Sessions,
    members: Members,
    queue: Queue,
    capacity: Capacity,
    pairs: Pairs,
    waits: Waits,
    questions: Questions,
    /// When a publisher that registered again is taken to have said all it has to say of its tasks.
    doubts: Timers<InstanceId>,
    /// Whose turn it was last among publishers with waiting tasks.
    turn: InstanceId,
    /// Turns and classes looked at so far.
    looked: u64,
    /// Something has changed that may allow a proposal.
    unsettled: bool,
    /// Publishers with tasks that were not accepted for want of room: told once, called back when there is some.
    told_full: BTreeSet<InstanceId>,
}

impl Registry {
    /// A registry that does nothing until [`RegistryCommand::Listen`].
    pub fn new(config: Config) -> Self {
        let mut manager = ConnectionManager::new(&config);
        let kinds = [
            (LISTENER, LinkRule::Many, Role::Listen),
            (KindId::REGISTRATION, LinkRule::OnePerDialler, Role::Accept),
            (KindId::QUERY, LinkRule::Many, Role::Accept),
        ];
        for (id, rule, role) in kinds {
            let registered = manager.register(ConnectionKind::plain(id, rule, role));
            debug_assert!(registered.is_ok(), "each kind is registered once");
        }
        let limits = config.limits;
        Self {
            stage: Stage::New,
            manager,
            sessions: Sessions::default(),
            members: Members::new(limits.max_members, limits.suspect, limits.lease),
            queue: Queue::new(limits.max_tasks, limits.remember, limits.backoff),
            capacity: Capacity::new(limits.proposals_ahead),
            pairs: Pairs::new(limits.unreachable),
            waits: Waits::default(),
            questions: Questions::new(limits.ask),
            doubts: Timers::new(),
            turn: InstanceId::NONE,
            looked: 0,
            unsettled: false,
            told_full: BTreeSet::new(),
            limits,
        }
    }

    /// Links, listeners, look-ups and connections that exist, for leak checks.
    pub fn census(&self) -> [usize; 4] {
        self.manager.census()
    }

    /// What is under way, waits or is owed, by name, for leak checks: all zero once every task has ended and every member is there.
    /// Not counted: ended tasks, which are kept on purpose for a while.
    pub fn unfinished(&self) -> Vec<(&'static str, usize)> {
        let mut all = self.manager.unfinished();
        all.extend(self.queue.unfinished());
        all.extend(self.capacity.unfinished());
        all.extend(self.members.unfinished());
        all.extend([
            ("strangers", self.sessions.strangers()),
            ("pairs that cannot reach each other", self.pairs.len()),
            ("publishers told what their tasks wait for", self.waits.len()),
            ("questions", self.questions.len()),
            ("doubts", self.doubts.len()),
            ("publishers told that there is no room", self.told_full.len()),
        ]);
        all
    }

    /// Where everything of it stands, for whoever looks on.
    pub fn rows(&self, rows: &mut Vec<Row>) {
        let state = match self.stage {
            Stage::New => RegistryState::New,
            Stage::Running => RegistryState::Running,
            Stage::Ending => RegistryState::Ending,
            Stage::Stopped => RegistryState::Stopped,
        };
        rows.push(Row::new(Key::Machine, state));
        rows.extend(self.members.rows());
        rows.extend(self.queue.rows());
        rows.extend(self.sessions.rows());
        self.manager.rows(rows);
    }

    /// Steps of matching taken so far: publishers, classes and candidates looked at. What would grow faster than the work if a
    /// scheduler were slow.
    pub fn effort(&self) -> u64 {
        self.looked + self.capacity.examined()
    }

    // ---- commands ----

    fn command(&mut self, now: Instant, command: RegistryCommand, out: &mut Out) {
        match command {
            RegistryCommand::Listen(address) => self.listen(now, address, out),
            RegistryCommand::Shutdown => {
                if matches!(self.stage, Stage::New | Stage::Running) {
                    self.stage = Stage::Ending;
                    self.manager.destroy(now, out);
                }
            }
        }
    }

    fn listen(&mut self, now: Instant, address: SocketAddr, out: &mut Out) {
        if self.stage != Stage::New {
            out.notify(RegistryNotice::ListenFailed(address, NetError::AddressInUse));
            return;
        }
        self.stage = Stage::Running;
        let listening = self.manager.create(LISTENER);
        let listening = listening.and_then(|id| self.manager.listen(now, id, Address::Socket(address), out));
        debug_assert!(listening.is_ok(), "the first listener of a new manager");
    }

    // ---- connections ----

    fn connection_event(&mut self, now: Instant, event: ConnectionEvent, out: &mut Out) {
        match event {
            ConnectionEvent::Listening { id: _, address } => {
                // It listens on nothing else.
                let Some(address) = address.socket() else { return };
                self.manager.advertise(Some(Address::Socket(address)));
                out.notify(RegistryNotice::Listening(address));
            }
            ConnectionEvent::ListenFailed { id, address, error } => {
                self.manager.discard(now, id, out);
                let Some(address) = address.socket() else { return };
                out.notify(RegistryNotice::ListenFailed(address, error));
            }
            ConnectionEvent::Accepted { id, kind, listener: _, peer } => {
                self.accepted(now, id, kind, &peer, out);
            }
            ConnectionEvent::Received { id, pack } => {
                let Some(session) = self.sessions.session(id) else { return };
                match Message::from_pack(pack) {
                    Ok(message) => self.message(now, id, session, message, out),
                    Err(error) => self.misbehaved(now, id, flaw(&error), out),
                }
            }
            ConnectionEvent::Disconnected { id, kind: _, reason } => {
                // A link that ended by silence is no sign of life; any other end is.
                let silent = reason == DisconnectReason::Silent;
                self.disconnected(now, id, silent, out);
            }
            ConnectionEvent::TurnedAway { from, reason } => {
                out.notify(RegistryNotice::TurnedAway { from, reason });
            }
            ConnectionEvent::AcceptFailing { listener: _, error } => {
                out.notify(RegistryNotice::AcceptFailing(error));
            }
            // It never dials or pings, what it says to one peer is small, and the cluster's kinds have no sessions.
            ConnectionEvent::Connected { .. }
            | ConnectionEvent::Writable { .. }
            | ConnectionEvent::Interrupted { .. }
            | ConnectionEvent::Pong { .. }
            | ConnectionEvent::Resumed { .. }
            | ConnectionEvent::Acknowledged { .. }
            | ConnectionEvent::Undelivered { .. } => {}
        }
    }

    fn accepted(&mut self, now: Instant, id: ConnectionId, kind: KindId, peer: &PeerInfo, out: &mut Out) {
        let (standing, patience) = if kind == KindId::REGISTRATION {
            out.notify(RegistryNotice::RegistrationLinked { connection: id, member: peer.instance });
            (Standing::Newcomer, self.limits.handshake)
        } else {
            (Standing::Asker, self.limits.ask)
        };
        let (socket, local) = (peer.socket.clone(), peer.local.clone());
        let session = Session { peer: peer.instance, socket, local, standing };
        if !self.sessions.open(id, session.clone(), now + patience) {
            self.turn_away(now, id, session, out);
        }
    }

    /// Closes a connection for want of room.
    fn turn_away(&mut self, now: Instant, id: ConnectionId, session: Session, out: &mut Out) {
        out.notify(RegistryNotice::TurnedAway { from: session.socket, reason: DisconnectReason::Full });
        self.drop_connection(now, id, out);
    }

    /// Closes the connection of a peer that broke the protocol; nothing else is touched.
    fn misbehaved(&mut self, now: Instant, id: ConnectionId, what: &'static str, out: &mut Out) {
        if let Some(session) = self.sessions.session(id) {
            out.notify(RegistryNotice::Misbehaved { member: session.peer, what });
            self.drop_connection(now, id, out);
        }
    }

    fn drop_connection(&mut self, now: Instant, id: ConnectionId, out: &mut Out) {
        self.manager.discard(now, id, out);
        self.disconnected(now, id, false, out);
    }

    fn disconnected(&mut self, now: Instant, id: ConnectionId, silent: bool, out: &mut Out) {
        let Some(session) = self.sessions.remove(id) else { return };
        match session.standing {
            Standing::Newcomer => {}
            Standing::Asker => self.questions.forget(id),
            Standing::Member => {
                if self.members.unlink(now, session.peer, id, silent) {
                    self.out_of_work(now, session.peer, out);
                }
            }
        }
    }

    /// Queues a message. What cannot be queued is lost with its link, whose end is reported by itself.
    fn send(&mut self, now: Instant, id: ConnectionId, message: impl Into<Message>, out: &mut Out) {
        let _ = self.manager.send(now, id, message.into().into_pack(), out);
    }

    fn send_to(&mut self, now: Instant, member: InstanceId, message: impl Into<Message>, out: &mut Out) {
        if let Some(id) = self.members.connection(member) {
            self.send(now, id, message, out);
        }
    }

    // ---- time ----

    fn tick(&mut self, now: Instant, out: &mut Out) {
        self.manager.tick(now, out);
        while let Some(id) = self.sessions.due(now) {
            if let Some(session) = self.sessions.session(id) {
                let reason = DisconnectReason::Silent;
                out.notify(RegistryNotice::TurnedAway { from: session.socket, reason });
                self.drop_connection(now, id, out);
            }
        }
        while let Some(silence) = self.members.due(now) {
            match silence {
                Silence::Suspect(member) => {
                    out.notify(RegistryNotice::MemberSuspect(member));
                    self.out_of_work(now, member, out);
                }
                Silence::Gone(member) => self.gone(now, member, false, out),
            }
        }
        while let Some(task) = self.queue.due(now) {
            self.look_at(now, task, out);
        }
        self.queue.forget_ended(now);
        while let Some(publisher) = self.doubts.pop_due(now) {
            self.said_all(now, publisher, out);
        }
        if self.pairs.expire(now) {
            self.touch_all();
        }
        while let Some(pending) = self.questions.due(now) {
            self.publisher_silent(now, &pending, out);
        }
    }

    /// Does all that can be done now: takes what the connections tell, then matches, until nothing is left.
    fn work(&mut self, now: Instant, out: &mut Out) {
        loop {
            let mut any = false;
            while let Some(event) = self.manager.next_event() {
                any = true;
                if matches!(self.stage, Stage::New | Stage::Running) {
                    self.connection_event(now, event, out);
                }
            }
            if !any && !self.unsettled && self.waits.is_settled() {
                break;
            }
            self.settle(now, out);
        }
        if self.stage == Stage::Ending && self.manager.census().iter().sum::<usize>() == 0 {
            self.stage = Stage::Stopped;
            out.notify(RegistryNotice::Stopped);
        }
    }
}

/// What was wrong with a message, for the log.
fn flaw(error: &WireError) -> &'static str {
    match error {
        WireError::UnknownPackType(_) => "sent a pack type that is not known here",
        WireError::Malformed => "sent a malformed message",
        WireError::Trailing => "sent bytes left over behind a message",
        WireError::UnexpectedBulk => "sent bulk bytes where none belong",
    }
}

impl Kept for Registry {
    fn set_key(&mut self, key: &ClusterKey) {
        self.manager.set_key(key);
    }
}

impl Machine for Registry {
    type Command = RegistryCommand;
    type Notice = RegistryNotice;

    fn handle(&mut self, now: Instant, event: Event<RegistryCommand>, out: &mut Out) {
        match event {
            Event::Tick if self.stage == Stage::Running => self.tick(now, out),
            Event::Tick => self.manager.tick(now, out),
            Event::Net(event) => self.manager.handle_net(now, event, out),
            Event::Command(command) => self.command(now, command, out),
            // It asks nothing of disks or processes.
            Event::Disk(_) | Event::Process(_) => {}
        }
        self.work(now, out);
    }

    fn deadline(&self) -> Option<Instant> {
        let own = [
            self.sessions.deadline(),
            self.members.deadline(),
            self.queue.deadline(),
            self.doubts.next(),
            self.pairs.deadline(),
            self.questions.deadline(),
        ];
        let own = own.into_iter().filter(|_| self.stage == Stage::Running).flatten().min();
        earliest(own, self.manager.deadline())
    }

    fn check_invariants(&self) {
        self.manager.check_invariants();
        if self.stage != Stage::Running {
            return;
        }
        assert!(!self.unsettled && self.waits.is_settled(), "work was left undone");
        self.sessions.check_invariants();
        self.members.check_invariants();
        self.pairs.check_invariants();
        self.questions.check_invariants();
        self.queue.check_invariants(|publisher| self.members.member(publisher).is_some());
        self.capacity.check_invariants(
            |member| self.queue.held(member),
            |task| match self.queue.task(task)?.state {
                State::Proposed { to, number } => Some((to, number)),
                State::Waiting | State::Taken { .. } | State::Ended(_) => None,
            },
        );
        self.check_routes();
        self.check_matched();
    }
}

impl Registry {
    /// What no part can check alone.
    fn check_routes(&self) {
        let mut proposed = 0;
        for (task, entry) in self.queue.newest() {
            if let State::Proposed { to, .. } = entry.state {
                proposed += 1;
                assert!(self.capacity.is_able(to), "{task} is proposed to {to}, who may get no work");
                assert!(self.capacity.proposals(to).contains(&task), "{task}: proposed at one side only");
            }
        }
        let mut held = 0;
        for (id, member) in self.members.iter() {
            held += self.capacity.proposals(id).len();
            assert_eq!(self.capacity.is_able(id), member.is_able() && member.slots > 0, "{id}: able");
            if let Some(connection) = member.connection {
                let session = self.sessions.session(connection);
                assert!(
                    session.is_some_and(|session| session.peer == id && session.standing == Standing::Member),
                    "{id}: its connection is not known as its own"
                );
            }
        }
        assert_eq!(proposed, held, "proposals stand on both sides");
        for (id, session) in self.sessions.iter() {
            assert!(self.manager.peer(id).is_some(), "{id}: a session without a connection");
            if session.standing == Standing::Member {
                let current = self.members.connection(session.peer);
                assert_eq!(current, Some(id), "{id}: a member's connection that is not its current one");
            }
        }
        for publisher in self.queue.publishers() {
            let linked = self.members.connection(publisher).is_some();
            let timed = self.doubts.at(&publisher).is_some();
            assert!(timed || !linked || !self.queue.is_in_doubt(publisher), "{publisher}: in doubt for ever");
            if linked {
                assert_eq!(
                    self.waits.told(publisher),
                    self.reasons(publisher),
                    "{publisher}: told otherwise"
                );
            }
        }
    }
}
