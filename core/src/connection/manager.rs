//! The manager: all connections by id, and the doors to them.

use super::diallers::Diallers;
use super::pairs::Pairs;
use super::permit::{Operation, permit};
use super::tables::{Connection, Due, Entry, Last, Listener, Origin, State};
use super::types::{
    ConnectionError, ConnectionEvent, ConnectionKind, ConnectionState, DisconnectReason, KindId, PeerInfo,
    Role,
};
use crate::id_map::IdMap;
use crate::link::{Io, Link};
use crate::machine::Actions;
use crate::net::Endpoint;
use crate::pack::{DataPack, PackType};
use crate::random::Random;
use crate::time::earliest;
use crate::timers::Timers;
use crate::{
    Address, ClusterKey, Config, ConnectionId, Dict, InstanceId, Instant, LinkId, ListenerId, QueryId,
};
use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::vec;
use alloc::vec::Vec;
use core::time::Duration;
use serde::{Deserialize, Serialize};

/// All connections of a node.
///
/// Each `connect` is answered once, by `Connected` or `Disconnected`; each `Connected` and `Accepted` is followed by one
/// `Disconnected`, unless the connection was discarded.
#[derive(Clone, Debug, Hash, Serialize, Deserialize)]
pub struct ConnectionManager {
    pub(super) config: Config,
    pub(super) rng: Random,
    pub(super) kinds: BTreeMap<KindId, ConnectionKind>,
    pub(super) advertised: Option<Address>,
    /// Whether peers may begin sessions.
    pub(super) admits: bool,
    pub(super) connections: IdMap<ConnectionId, Connection>,
    pub(super) links: IdMap<LinkId, Entry>,
    /// Accepted links that are still shaking hands.
    pub(super) newcomers: BTreeSet<LinkId>,
    /// Links of those who only want to know who is there.
    pub(super) probers: BTreeSet<LinkId>,
    /// Links that belong to nothing any more and say their last words, or wait to be reported closed.
    pub(super) orphans: BTreeSet<LinkId>,
    pub(super) listeners: BTreeMap<ListenerId, Listener>,
    /// Look-ups under way; those nobody waits for any more are kept until they are answered.
    pub(super) queries: BTreeMap<QueryId, Option<ConnectionId>>,
    pub(super) diallers: Diallers,
    pub(super) pairs: Pairs,
    pub(super) timers: Timers<Due>,
    /// Sessions that owe an acknowledgement, and when it is sent alone: oldest first, since all wait equally long.
    pub(super) acknowledgements: VecDeque<(Instant, ConnectionId)>,
    pub(super) last: Last,
    pub(super) events: VecDeque<ConnectionEvent>,
    pub(super) ignored: u64,
    pub(super) destroyed: bool,
}

impl ConnectionManager {
    /// No connections yet.
    pub fn new(config: &Config) -> Self {
        let mut seed = *b"........xxnet core connections..";
        seed[..8].copy_from_slice(&config.seed.to_le_bytes());
        Self {
            config: config.clone(),
            rng: Random::from_seed(seed),
            kinds: BTreeMap::new(),
            advertised: None,
            admits: true,
            connections: IdMap::new(),
            links: IdMap::new(),
            newcomers: BTreeSet::new(),
            probers: BTreeSet::new(),
            orphans: BTreeSet::new(),
            listeners: BTreeMap::new(),
            queries: BTreeMap::new(),
            diallers: Diallers::default(),
            pairs: Pairs::default(),
            timers: Timers::new(),
            acknowledgements: VecDeque::new(),
            last: Last::default(),
            events: VecDeque::new(),
            ignored: 0,
            destroyed: false,
        }
    }

    /// Registers a kind (seed: 需要提前注册好类型).
    ///
    /// # Errors
    /// `KindTaken`, `Destroyed`; `BadKind` for one link a pair without sessions or with oneself, and for a session that
    /// only listens.
    pub fn register(&mut self, kind: ConnectionKind) -> Result<(), ConnectionError> {
        self.alive()?;
        kind.check()?;
        if self.kinds.contains_key(&kind.id) {
            return Err(ConnectionError::KindTaken(kind.id));
        }
        self.kinds.insert(kind.id, kind);
        Ok(())
    }

    /// What Hello and Welcome tell the peer about where we listen; `None`: we do not.
    pub fn advertise(&mut self, address: Option<Address>) {
        self.advertised = address;
    }

    /// Whether peers may begin sessions with us (they may at first). While they may not, a dial that would begin one is refused
    /// with [`DisconnectReason::Full`]; sessions that are there go on, with the links they need.
    pub fn admit(&mut self, admits: bool) {
        self.admits = admits;
    }

    /// Puts the key into a manager that was read ([`crate::state`]).
    pub(crate) fn set_key(&mut self, key: &ClusterKey) {
        self.config.key = key.clone();
    }

    /// The seed's first form: a connection of a kind, with no target yet.
    ///
    /// # Errors
    /// `UnknownKind`, `WrongRole` for a kind that is only accepted, `Destroyed`.
    pub fn create(&mut self, kind: KindId) -> Result<ConnectionId, ConnectionError> {
        self.alive()?;
        let known = self.kinds.get(&kind).ok_or(ConnectionError::UnknownKind(kind))?;
        if known.role == Role::Accept {
            return Err(ConnectionError::WrongRole(kind));
        }
        let id = ConnectionId::next(&mut self.last.connection);
        self.connections.insert(id, Connection::new(kind, Origin::Created, State::Idle));
        Ok(id)
    }

    /// The seed's second form: with its target, and data that is sent first, each time once it is connected.
    ///
    /// # Errors
    /// As [`create`](Self::create); `WrongRole` for a kind that listens; `Data`, `TooLarge` if the data cannot be sent.
    pub fn create_to(
        &mut self,
        kind: KindId,
        target: Address,
        data: Option<Dict>,
    ) -> Result<ConnectionId, ConnectionError> {
        self.alive()?;
        let first = data.as_ref().map(Dict::to_pack).transpose().map_err(ConnectionError::Data)?;
        let limit = self.config.limits.max_data;
        if let Some(size) = first.as_ref().map(DataPack::data_len).filter(|size| *size > limit as usize) {
            return Err(ConnectionError::TooLarge { size, limit });
        }
        if self.kinds.get(&kind).is_some_and(|known| known.role == Role::Listen) {
            return Err(ConnectionError::WrongRole(kind));
        }
        let id = self.create(kind)?;
        if let Some(connection) = self.connections.get_mut(&id) {
            connection.target = Some(target);
            connection.first = first.map(Box::new);
        }
        Ok(id)
    }

    /// Opens a listener for a connection whose kind listens. `Listening` or `ListenFailed` follows.
    ///
    /// # Errors
    /// `UnknownConnection`, `WrongRole`, `NotASocketAddress`, `AlreadyListening`, `WrongState`, `Destroyed`.
    pub fn listen<N>(
        &mut self,
        _now: Instant,
        id: ConnectionId,
        address: Address,
        actions: &mut Actions<N>,
    ) -> Result<(), ConnectionError> {
        self.alive()?;
        let connection = self.connections.get(&id).ok_or(ConnectionError::UnknownConnection(id))?;
        if self.role(connection.kind) != Some(Role::Listen) {
            return Err(ConnectionError::WrongRole(connection.kind));
        }
        let address = match address {
            Address::Socket(address) => Endpoint::Ip(address),
            Address::Unix(path) if !path.starts_with('#') => Endpoint::Unix(path),
            Address::Name(..) | Address::Unix(_) => return Err(ConnectionError::NotASocketAddress),
        };
        if let Some(taken) = self.collides(&address) {
            return Err(ConnectionError::AlreadyListening(taken.clone()));
        }
        permit(connection.state(), Operation::Listen)?;
        self.open_listener(id, address, actions);
        Ok(())
    }

    /// Dials the target that the connection was created with or has from an earlier connect. `Connected` or
    /// `Disconnected` follows. `expect`: the instance that must answer, if that is known.
    ///
    /// # Errors
    /// `UnknownConnection`, `WrongRole`, `WrongState`, `NoTarget`, `Destroyed`.
    pub fn connect<N>(
        &mut self,
        now: Instant,
        id: ConnectionId,
        target: Option<Address>,
        expect: Option<InstanceId>,
        actions: &mut Actions<N>,
    ) -> Result<(), ConnectionError> {
        self.alive()?;
        let connection = self.connections.get(&id).ok_or(ConnectionError::UnknownConnection(id))?;
        if !matches!(self.role(connection.kind), Some(Role::Dial | Role::Both)) {
            return Err(ConnectionError::WrongRole(connection.kind));
        }
        permit(connection.state(), Operation::Connect)?;
        let target = target.or_else(|| connection.target.clone()).ok_or(ConnectionError::NoTarget)?;
        if let Some(connection) = self.connections.get_mut(&id) {
            connection.target = Some(target.clone());
            connection.state = State::Connecting;
        }
        self.start_connect(now, id, target, expect, actions);
        Ok(())
    }

    /// Queues a pack; it leaves at once if nothing is under way. Answers its sequence in the session, 0 on a plain kind.
    ///
    /// # Errors
    /// `UnknownConnection`, `WrongState`, `ReservedPackType`, `TooLarge`, `QueueFull`, `Destroyed`; nothing was queued.
    /// `OutboxFull`, on a plain kind: nor was it then, and the connection is over, because its peer does not read.
    pub fn send<N>(
        &mut self,
        now: Instant,
        id: ConnectionId,
        pack: DataPack,
        actions: &mut Actions<N>,
    ) -> Result<u64, ConnectionError> {
        self.may_send(id, &pack)?;
        let Some(connection) = self.connections.get(&id) else { return Ok(0) };
        let State::Connected { link, .. } = connection.state else {
            let sequence = self.queue(id, pack);
            self.flush(now, id, actions);
            return Ok(sequence);
        };
        let mut fits = true;
        self.touch(now, link, actions, |link, io| {
            fits = link.send(pack, io);
            if !fits {
                link.cut(DisconnectReason::SlowPeer, io);
            }
        });
        if fits { Ok(0) } else { Err(ConnectionError::OutboxFull) }
    }

    /// Queues a message of a session that [`may_send`](Self::may_send) let through; [`flush`](Self::flush) lets it leave.
    pub(crate) fn queue(&mut self, id: ConnectionId, pack: DataPack) -> u64 {
        let high = self.config.limits.high_water;
        self.session_mut(id).map_or(0, |session| session.out.push(pack, high))
    }

    /// Whether [`send`](Self::send) would take this pack now.
    ///
    /// # Errors
    /// As `send`, but for `OutboxFull`.
    pub fn may_send(&mut self, id: ConnectionId, pack: &DataPack) -> Result<(), ConnectionError> {
        self.alive()?;
        let connection = self.connections.get_mut(&id).ok_or(ConnectionError::UnknownConnection(id))?;
        permit(connection.state(), Operation::Send)?;
        if pack.pack_type < PackType::DICT {
            return Err(ConnectionError::ReservedPackType(pack.pack_type));
        }
        let size = pack.data_len();
        let limit = match &mut connection.state {
            State::Connected { max_data, .. } => *max_data,
            State::Session(session) if size > session.max_data as usize => session.max_data,
            State::Session(session) => {
                let fits = session.out.has_room(pack, self.config.limits.session_queue);
                return if fits { Ok(()) } else { Err(ConnectionError::QueueFull) };
            }
            State::Idle
            | State::Connecting
            | State::Listening { .. }
            | State::Closing { .. }
            | State::Unlistening { .. } => return Err(ConnectionError::WrongState(connection.state())),
        };
        if size > limit as usize { Err(ConnectionError::TooLarge { size, limit }) } else { Ok(()) }
    }

    /// The application has taken every message of a session up to this sequence: that, and not that they have come, is what
    /// the peer is told. On other kinds it does nothing.
    pub fn taken<N>(&mut self, now: Instant, id: ConnectionId, sequence: u64, actions: &mut Actions<N>) {
        if let Some(session) = self.session_mut(id) {
            session.incoming.take(sequence);
            self.after_taking(now, id, actions);
        }
    }

    /// Asks the peer for an answer on the link that is sent on. `Pong` follows, unless that link breaks first. While one ping
    /// is unanswered another asks nothing new.
    ///
    /// # Errors
    /// `UnknownConnection`, `WrongState`, `Destroyed`; `NoLink` for a session that has none at this moment.
    pub fn ping<N>(
        &mut self,
        now: Instant,
        id: ConnectionId,
        actions: &mut Actions<N>,
    ) -> Result<(), ConnectionError> {
        self.alive()?;
        let connection = self.connections.get(&id).ok_or(ConnectionError::UnknownConnection(id))?;
        permit(connection.state(), Operation::Send)?;
        let link = match &connection.state {
            State::Connected { link, .. } => Some(*link),
            State::Session(session) => session.sends_on(),
            State::Idle
            | State::Connecting
            | State::Listening { .. }
            | State::Closing { .. }
            | State::Unlistening { .. } => None,
        };
        self.touch(now, link.ok_or(ConnectionError::NoLink)?, actions, Link::ping);
        Ok(())
    }

    /// Whether it has a link at this moment: a session may have none.
    pub fn is_linked(&self, id: ConnectionId) -> bool {
        match self.connections.get(&id).map(|connection| &connection.state) {
            Some(State::Connected { .. }) => true,
            Some(State::Session(session)) => !session.strands.is_empty(),
            _ => false,
        }
    }

    /// Whether the outbox, or a session's queue, is below its high-water mark; if not, `Writable` will come.
    pub fn writable(&self, id: ConnectionId) -> bool {
        match self.connections.get(&id).map(|connection| &connection.state) {
            Some(State::Connected { link, .. }) => {
                self.links.get(link).is_some_and(|entry| entry.link.is_writable(&self.config.limits))
            }
            Some(State::Session(session)) => session.out.len().1 < self.config.limits.high_water,
            _ => false,
        }
    }

    /// Stops reading from a plain connection (backpressure), until `resume`. What has been read before, or is being read, is
    /// still delivered: at most 1 MiB more. A session needs no such thing: its peer sends no more than is taken.
    pub fn pause(&mut self, id: ConnectionId) {
        if let Some(State::Connected { link, .. }) = self.connections.get(&id).map(|c| &c.state)
            && let Some(entry) = self.links.get_mut(link)
        {
            entry.link.pause();
        }
    }

    /// Reads again.
    pub fn resume<N>(&mut self, now: Instant, id: ConnectionId, actions: &mut Actions<N>) {
        if let Some(State::Connected { link, .. }) = self.connections.get(&id).map(|c| &c.state) {
            let link = *link;
            self.touch(now, link, actions, |link, io| link.resume(io.now));
        }
    }

    /// Closes a connection: what is queued is sent first, and a session's is acknowledged, within `close`. It is idle again
    /// at once for an idle or connecting one, else after `Disconnected`. Closing an idle or closing one is harmless. Whatever
    /// was connecting, connected or listening is told its `Disconnected` once, with the reason `Closed`.
    ///
    /// # Errors
    /// `UnknownConnection`, `Destroyed`.
    pub fn close<N>(
        &mut self,
        now: Instant,
        id: ConnectionId,
        actions: &mut Actions<N>,
    ) -> Result<(), ConnectionError> {
        self.close_within(now, id, self.config.limits.close, actions)
    }

    /// [`close`](Self::close), with another time for a session's messages to be acknowledged.
    ///
    /// # Errors
    /// As [`close`](Self::close).
    pub fn close_within<N>(
        &mut self,
        now: Instant,
        id: ConnectionId,
        drain: Duration,
        actions: &mut Actions<N>,
    ) -> Result<(), ConnectionError> {
        self.alive()?;
        let connection = self.connections.get_mut(&id).ok_or(ConnectionError::UnknownConnection(id))?;
        match &mut connection.state {
            State::Idle | State::Closing { .. } | State::Unlistening { .. } => {}
            State::Connecting => {
                self.detach(now, id, actions);
                self.finish(id, DisconnectReason::Closed);
            }
            State::Connected { link, .. } => {
                let link = *link;
                connection.state = State::Closing { link };
                self.touch(now, link, actions, |link, io| link.close(Some(DisconnectReason::Closed), io));
            }
            State::Session(session) => {
                if !core::mem::replace(&mut session.closing, true) {
                    self.close_session(now, id, drain, actions);
                }
            }
            State::Listening { listener } => {
                let listener = *listener;
                connection.state = State::Unlistening { listener };
                self.close_listener(now, listener, actions);
            }
        }
        Ok(())
    }

    /// Forgets an idle connection's id, or closes and then forgets it, without a `Disconnected`.
    pub fn discard<N>(&mut self, now: Instant, id: ConnectionId, actions: &mut Actions<N>) {
        if self.connections.contains_key(&id) {
            self.detach(now, id, actions);
            self.forget(id);
        }
    }

    /// Ends everything at once: each connection that was not idle is told `Disconnected`, and none is left. What comes
    /// later is answered with `Destroyed`. A second time is harmless.
    pub fn destroy<N>(&mut self, now: Instant, actions: &mut Actions<N>) {
        self.destroyed = true;
        for listener in self.listeners.keys().copied().collect::<Vec<_>>() {
            self.close_listener(now, listener, actions);
        }
        for link in self.links.iter().map(|(id, _)| id).collect::<Vec<_>>() {
            self.disown(link);
            self.touch(now, link, actions, Link::abandon);
        }
        for (id, mut connection) in core::mem::take(&mut self.connections).into_all() {
            let packs = connection.session_mut().map(|session| session.out.take()).unwrap_or_default();
            if !packs.is_empty() {
                self.events.push_back(ConnectionEvent::Undelivered { id, packs });
            }
            if connection.state() != ConnectionState::Idle {
                let (kind, reason) = (connection.kind, DisconnectReason::Closed);
                self.events.push_back(ConnectionEvent::Disconnected { id, kind, reason });
            }
        }
        self.listeners.values_mut().for_each(|listener| listener.connection = None);
        self.queries.values_mut().for_each(|waiting| *waiting = None);
        self.timers = Timers::new();
        self.acknowledgements.clear();
        self.diallers.clear();
        self.pairs.clear();
    }

    /// Where a connection stands; `None` if there is none of that id.
    pub fn state(&self, id: ConnectionId) -> Option<ConnectionState> {
        self.connections.get(&id).map(|connection| connection.state())
    }

    /// Who is at the other end, while it is connected.
    pub fn peer(&self, id: ConnectionId) -> Option<&PeerInfo> {
        match &self.connections.get(&id)?.state {
            State::Connected { peer, .. } => Some(peer),
            State::Session(session) => Some(&session.peer),
            _ => None,
        }
    }

    /// The sequence of the newest message that a session was given to send; 0 if there is no session.
    pub fn last_sequence(&self, id: ConnectionId) -> u64 {
        self.connections
            .get(&id)
            .and_then(|connection| connection.session())
            .map_or(0, |session| session.out.newest())
    }

    /// The kind of a connection.
    pub fn kind(&self, id: ConnectionId) -> Option<KindId> {
        self.connections.get(&id).map(|connection| connection.kind)
    }

    /// When `tick` is wanted.
    pub fn deadline(&self) -> Option<Instant> {
        earliest(self.timers.next(), self.acknowledgements.front().map(|(at, _)| *at))
    }

    /// What happened; the machine above takes all of it before its `handle` returns.
    pub fn next_event(&mut self) -> Option<ConnectionEvent> {
        self.events.pop_front()
    }

    /// Links, listeners, look-ups and connections that exist, for leak checks.
    pub fn census(&self) -> [usize; 4] {
        [self.links.len(), self.listeners.len(), self.queries.len(), self.connections.len()]
    }

    /// What is under way or waits, by name, for leak checks: all zero once nothing goes on. Not counted: the epochs of past
    /// diallers, which are kept on purpose and bounded.
    pub fn unfinished(&self) -> Vec<(&'static str, usize)> {
        let links = || self.links.iter().map(|(_, entry)| &entry.link);
        vec![
            ("look-ups", self.queries.len()),
            ("handshakes", self.newcomers.len()),
            ("ending links", self.orphans.len()),
            ("events nobody took", self.events.len()),
            ("bytes to be sent", links().map(Link::unsent).sum()),
            ("bytes of unfinished packs", links().map(Link::unread).sum()),
        ]
    }

    /// Completions of the network that meant nothing: late, doubled or never asked for.
    pub fn ignored(&self) -> u64 {
        self.ignored
    }

    fn alive(&self) -> Result<(), ConnectionError> {
        if self.destroyed { Err(ConnectionError::Destroyed) } else { Ok(()) }
    }

    fn role(&self, kind: KindId) -> Option<Role> {
        self.kinds.get(&kind).map(|known| known.role)
    }

    /// Does something with a link, then all that follows from it.
    pub(super) fn touch<N>(
        &mut self,
        now: Instant,
        id: LinkId,
        actions: &mut Actions<N>,
        work: impl FnOnce(&mut Link, &mut Io<'_, N>),
    ) {
        self.act(now, id, actions, work);
        self.pump(now, id, actions);
    }

    /// Does something with a link and no more: for use from within [`pump`](Self::pump).
    pub(super) fn act<N>(
        &mut self,
        now: Instant,
        id: LinkId,
        actions: &mut Actions<N>,
        work: impl FnOnce(&mut Link, &mut Io<'_, N>),
    ) {
        if let Some(entry) = self.links.get_mut(&id) {
            let (me, key, limits) = (self.config.instance, &self.config.key, &self.config.limits);
            work(&mut entry.link, &mut Io { now, me, key, limits, actions });
        }
    }
}
