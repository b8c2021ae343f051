//! The manager: all connections by id, and the doors to them.

use super::diallers::Diallers;
use super::permit::{Operation, permit};
use super::tables::{Connection, Due, Entry, Last, Listener, Origin, State};
use super::types::{
    ConnectionError, ConnectionEvent, ConnectionKind, ConnectionState, DisconnectReason, KindId, PeerInfo,
    Role,
};
use crate::link::{Io, Link};
use crate::machine::Actions;
use crate::pack::{DataPack, PackType};
use crate::timers::Timers;
use crate::{Address, Config, ConnectionId, Dict, InstanceId, Instant, LinkId, ListenerId, QueryId};
use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::vec;
use alloc::vec::Vec;
use rand::SeedableRng;
use rand::rngs::ChaCha8Rng;

/// All connections of a node.
///
/// Each `connect` is answered once, by `Connected` or `Disconnected`; each `Connected` and `Accepted` is followed by one
/// `Disconnected`, unless the connection was discarded.
#[derive(Debug)]
pub struct ConnectionManager {
    pub(super) config: Config,
    pub(super) rng: ChaCha8Rng,
    pub(super) kinds: BTreeMap<KindId, ConnectionKind>,
    pub(super) advertised: Option<Address>,
    pub(super) connections: BTreeMap<ConnectionId, Connection>,
    pub(super) links: BTreeMap<LinkId, Entry>,
    /// Accepted links that are still shaking hands.
    pub(super) newcomers: BTreeSet<LinkId>,
    /// Links that belong to nothing any more and say their last words, or wait to be reported closed.
    pub(super) orphans: BTreeSet<LinkId>,
    pub(super) listeners: BTreeMap<ListenerId, Listener>,
    /// Look-ups under way; those nobody waits for any more are kept until they are answered.
    pub(super) queries: BTreeMap<QueryId, Option<ConnectionId>>,
    pub(super) diallers: Diallers,
    pub(super) timers: Timers<Due>,
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
            rng: ChaCha8Rng::from_seed(seed),
            kinds: BTreeMap::new(),
            advertised: None,
            connections: BTreeMap::new(),
            links: BTreeMap::new(),
            newcomers: BTreeSet::new(),
            orphans: BTreeSet::new(),
            listeners: BTreeMap::new(),
            queries: BTreeMap::new(),
            diallers: Diallers::default(),
            timers: Timers::new(),
            last: Last::default(),
            events: VecDeque::new(),
            ignored: 0,
            destroyed: false,
        }
    }

    /// Registers a kind (seed: 需要提前注册好类型).
    ///
    /// # Errors
    /// `KindTaken`, `Destroyed`.
    pub fn register(&mut self, kind: ConnectionKind) -> Result<(), ConnectionError> {
        self.alive()?;
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
        let state = State::Idle;
        self.connections
            .insert(id, Connection { kind, origin: Origin::Created, target: None, first: None, state });
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
            connection.first = first;
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
        let Address::Socket(address) = address else { return Err(ConnectionError::NotASocketAddress) };
        if let Some(taken) = self.collides(address) {
            return Err(ConnectionError::AlreadyListening(taken));
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
        self.start_connect(now, id, target, expect, actions);
        Ok(())
    }

    /// Queues a pack; it leaves at once if nothing is under way.
    ///
    /// # Errors
    /// `UnknownConnection`, `WrongState`, `ReservedPackType`, `TooLarge`, `Destroyed`; nothing was queued. `OutboxFull`:
    /// nor was it then, and the connection is over, because its peer does not read.
    pub fn send<N>(
        &mut self,
        now: Instant,
        id: ConnectionId,
        pack: DataPack,
        actions: &mut Actions<N>,
    ) -> Result<(), ConnectionError> {
        self.alive()?;
        let connection = self.connections.get(&id).ok_or(ConnectionError::UnknownConnection(id))?;
        permit(connection.state(), Operation::Send)?;
        if pack.pack_type < PackType::DICT {
            return Err(ConnectionError::ReservedPackType(pack.pack_type));
        }
        let State::Connected { link, max_data, .. } = &connection.state else { return Ok(()) };
        let (link, limit, size) = (*link, *max_data, pack.data_len());
        if size > limit as usize {
            return Err(ConnectionError::TooLarge { size, limit });
        }
        let mut fits = true;
        self.touch(now, link, actions, |link, io| {
            fits = link.send(pack, io);
            if !fits {
                link.cut(DisconnectReason::SlowPeer, io);
            }
        });
        if fits { Ok(()) } else { Err(ConnectionError::OutboxFull) }
    }

    /// Whether the outbox is below its high-water mark; if not, `Writable` will come.
    pub fn writable(&self, id: ConnectionId) -> bool {
        match self.connections.get(&id).map(|connection| &connection.state) {
            Some(State::Connected { link, .. }) => {
                self.links.get(link).is_some_and(|entry| entry.link.is_writable(&self.config.limits))
            }
            _ => false,
        }
    }

    /// Stops reading from a connection (backpressure), until `resume`. What has been read before, or is being read, is
    /// still delivered: at most 1 MiB more.
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

    /// Closes a connection: what is queued is sent first, within `close`. It is idle again at once for an idle or connecting
    /// one, else after `Disconnected`. Closing an idle or closing one is harmless. Whatever was connecting, connected or
    /// listening is told its `Disconnected` once, with the reason `Closed`.
    ///
    /// # Errors
    /// `UnknownConnection`, `Destroyed`.
    pub fn close<N>(
        &mut self,
        now: Instant,
        id: ConnectionId,
        actions: &mut Actions<N>,
    ) -> Result<(), ConnectionError> {
        self.alive()?;
        let connection = self.connections.get_mut(&id).ok_or(ConnectionError::UnknownConnection(id))?;
        match connection.state {
            State::Idle | State::Closing { .. } | State::Unlistening { .. } => {}
            State::Resolving { .. } | State::Dialling { .. } => {
                self.detach(now, id, actions);
                self.finish(id, DisconnectReason::Closed);
            }
            State::Connected { link, .. } => {
                connection.state = State::Closing { link };
                self.touch(now, link, actions, |link, io| link.close(Some(DisconnectReason::Closed), io));
            }
            State::Listening { listener } => {
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
        for link in self.links.keys().copied().collect::<Vec<_>>() {
            self.disown(link);
            self.touch(now, link, actions, Link::abandon);
        }
        for (id, connection) in core::mem::take(&mut self.connections) {
            if connection.state() != ConnectionState::Idle {
                let (kind, reason) = (connection.kind, DisconnectReason::Closed);
                self.events.push_back(ConnectionEvent::Disconnected { id, kind, reason });
            }
        }
        self.listeners.values_mut().for_each(|listener| listener.connection = None);
        self.queries.values_mut().for_each(|waiting| *waiting = None);
        self.timers = Timers::new();
        self.diallers.clear();
    }

    /// Where a connection stands; `None` if there is none of that id.
    pub fn state(&self, id: ConnectionId) -> Option<ConnectionState> {
        self.connections.get(&id).map(Connection::state)
    }

    /// Who is at the other end, while it is connected.
    pub fn peer(&self, id: ConnectionId) -> Option<&PeerInfo> {
        match &self.connections.get(&id)?.state {
            State::Connected { peer, .. } => Some(peer),
            _ => None,
        }
    }

    /// The kind of a connection.
    pub fn kind(&self, id: ConnectionId) -> Option<KindId> {
        self.connections.get(&id).map(|connection| connection.kind)
    }

    /// When `tick` is wanted.
    pub fn deadline(&self) -> Option<Instant> {
        self.timers.next()
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
        let links = || self.links.values().map(|entry| &entry.link);
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
