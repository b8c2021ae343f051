//! A tiny deterministic network between a few `Connections` machines, and raw peers that say whatever a test wants.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::time::Duration;
use xxnet_core::connection::*;
use xxnet_core::net::{Endpoint, NetAction, NetError, NetEvent};
use xxnet_core::pack::{DataPack, Decoder, encode};
use xxnet_core::*;

pub const KEY: ClusterKey = ClusterKey(*b"a cluster key that is 32 bytes !");
pub const MANY: KindId = KindId(1024);
pub const ONE: KindId = KindId(1025);
pub const LISTENER: KindId = KindId(1026);
pub const SELF: KindId = KindId(1027);
pub const DIAL_ONLY: KindId = KindId(1028);
pub const ACCEPT_ONLY: KindId = KindId(1029);
/// Sessions: one a pair, one a dialler, and any number.
pub const PAIR: KindId = KindId(1030);
pub const ONE_SESSION: KindId = KindId(1031);
pub const SESSIONS: KindId = KindId(1032);

/// The actor that is no node: the test itself.
const RAW: usize = usize::MAX;

pub fn socket(text: &str) -> Endpoint {
    match address(text) {
        Address::Socket(socket) => Endpoint::Ip(socket),
        Address::Unix(path) => Endpoint::Unix(path),
        Address::Name(..) => panic!("{text} is a name"),
    }
}

pub fn address(text: &str) -> Address {
    text.parse().unwrap()
}

pub fn dict(text: &str) -> Dict {
    Dict::from([("text", text.into())])
}

/// One end of a stream.
#[derive(Debug)]
pub struct End {
    actor: usize,
    link: LinkId,
    pub other: usize,
    open: bool,
    /// Bytes on their way to this end.
    inbox: VecDeque<u8>,
    /// The other end sends no more.
    fin: bool,
    told_fin: bool,
    /// The other end was closed with bytes unread.
    reset: bool,
    armed: Option<usize>,
    /// This end's system takes no more bytes: `Sent` does not come.
    stuck: bool,
    /// A send that waits for that.
    sending: bool,
}

#[derive(Debug, Default)]
struct Hub {
    node: usize,
    id: Option<ListenerId>,
    accept: Option<LinkId>,
    backlog: VecDeque<usize>,
}

pub struct Node {
    pub machine: Connections,
    pub config: Config,
    pub notices: Vec<ConnectionNotice>,
    tokens: u64,
    pub dead: bool,
}

/// What the network does with a dial.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialling {
    /// Fails at once.
    Fails(NetError),
    /// Is never answered.
    Never,
}

pub struct World {
    pub now: Instant,
    pub nodes: Vec<Node>,
    pub ends: Vec<End>,
    by_link: BTreeMap<(usize, LinkId), usize>,
    listeners: BTreeMap<Endpoint, Hub>,
    pub events: VecDeque<(usize, NetEvent)>,
    pub dialling: BTreeMap<Endpoint, Dialling>,
    pub listening: BTreeMap<Endpoint, NetError>,
    pub names: BTreeMap<String, Result<Vec<&'static str>, NetError>>,
    /// Look-ups that were asked for and not answered, when `names` has nothing.
    pub queries: Vec<(usize, QueryId)>,
    /// Dials that hang.
    pub hanging: Vec<(usize, LinkId)>,
    /// Everything that was ever sent.
    pub wire: Vec<u8>,
    /// At most so many bytes in one read.
    pub chunk: usize,
    /// Accepts fail with this.
    pub accept_error: Option<NetError>,
    /// Every action that was asked for, by node.
    pub log: Vec<(usize, NetAction)>,
    /// Nodes whose accepts wait.
    pub slow_accept: bool,
    next_port: u16,
}

impl World {
    pub fn new(nodes: usize) -> Self {
        let mut world = Self {
            now: Instant::from_micros(1_000_000),
            nodes: Vec::new(),
            ends: Vec::new(),
            by_link: BTreeMap::new(),
            listeners: BTreeMap::new(),
            events: VecDeque::new(),
            dialling: BTreeMap::new(),
            listening: BTreeMap::new(),
            names: BTreeMap::new(),
            queries: Vec::new(),
            hanging: Vec::new(),
            wire: Vec::new(),
            chunk: usize::MAX,
            accept_error: None,
            log: Vec::new(),
            slow_accept: false,
            next_port: 40_000,
        };
        (0..nodes).for_each(|_| {
            world.add(|_| {});
        });
        world
    }

    /// Another node, all kinds registered.
    pub fn add(&mut self, change: impl FnOnce(&mut Config)) -> usize {
        let number = self.nodes.len();
        let mut config =
            Config::new(InstanceId([number as u8 + 1; 16]), format!("node-{number}"), KEY, number as u64);
        change(&mut config);
        let machine = Connections::new(&config);
        self.nodes.push(Node { machine, config, notices: Vec::new(), tokens: 0, dead: false });
        let kind = |id, rule, role, allow_self| ConnectionKind {
            allow_self,
            ..ConnectionKind::plain(id, rule, role)
        };
        for kind in [
            kind(MANY, LinkRule::Many, Role::Both, false),
            kind(ONE, LinkRule::OnePerDialler, Role::Both, false),
            kind(LISTENER, LinkRule::Many, Role::Listen, false),
            kind(SELF, LinkRule::Many, Role::Both, true),
            kind(DIAL_ONLY, LinkRule::Many, Role::Dial, false),
            kind(ACCEPT_ONLY, LinkRule::Many, Role::Accept, false),
            ConnectionKind::session(PAIR, LinkRule::OnePerPair, Role::Both),
            ConnectionKind::session(ONE_SESSION, LinkRule::OnePerDialler, Role::Both),
            ConnectionKind::session(SESSIONS, LinkRule::Many, Role::Both),
        ] {
            let token = self.token(number);
            self.command(number, ConnectionCommand::Register { token, kind });
        }
        self.nodes[number].notices.clear();
        number
    }

    pub fn token(&mut self, node: usize) -> Token {
        Token::next(&mut self.nodes[node].tokens)
    }

    // ---- what an application does ----

    pub fn command(&mut self, node: usize, command: ConnectionCommand) {
        self.step(node, Event::Command(command));
    }

    pub fn create(&mut self, node: usize, kind: KindId) -> Result<ConnectionId, ConnectionError> {
        let token = self.token(node);
        self.command(node, ConnectionCommand::Create { token, kind });
        self.created(node, token)
    }

    pub fn create_to(
        &mut self,
        node: usize,
        kind: KindId,
        target: &str,
        data: Option<Dict>,
    ) -> Result<ConnectionId, ConnectionError> {
        let token = self.token(node);
        let target = address(target);
        self.command(node, ConnectionCommand::CreateTo { token, kind, target, data });
        self.created(node, token)
    }

    fn created(&mut self, node: usize, token: Token) -> Result<ConnectionId, ConnectionError> {
        match self.nodes[node].notices.pop() {
            Some(ConnectionNotice::Created { token: answered, id }) if answered == token => Ok(id),
            Some(ConnectionNotice::Rejected { token: answered, error }) if answered == token => Err(error),
            other => panic!("no answer to a create, but {other:?}"),
        }
    }

    fn rejected(&mut self, node: usize, token: Token) -> Result<(), ConnectionError> {
        match self.nodes[node].notices.last() {
            Some(ConnectionNotice::Rejected { token: answered, error }) if *answered == token => {
                let error = error.clone();
                self.nodes[node].notices.pop();
                Err(error)
            }
            _ => Ok(()),
        }
    }

    pub fn listen(&mut self, node: usize, id: ConnectionId, at: &str) -> Result<(), ConnectionError> {
        let token = self.token(node);
        self.command(node, ConnectionCommand::Listen { token, id, address: address(at) });
        self.rejected(node, token)
    }

    /// A new listening connection that is open, with nothing left to tell.
    pub fn listener(&mut self, node: usize, at: &str) -> ConnectionId {
        let id = self.create(node, LISTENER).unwrap();
        self.listen(node, id, at).unwrap();
        self.run();
        let events = self.take(node);
        assert!(
            matches!(events[..], [ConnectionEvent::Listening { id: told, .. }] if told == id),
            "{events:?}"
        );
        id
    }

    pub fn connect(
        &mut self,
        node: usize,
        id: ConnectionId,
        to: Option<&str>,
    ) -> Result<(), ConnectionError> {
        self.connect_expecting(node, id, to, None)
    }

    pub fn connect_expecting(
        &mut self,
        node: usize,
        id: ConnectionId,
        to: Option<&str>,
        expect: Option<InstanceId>,
    ) -> Result<(), ConnectionError> {
        let token = self.token(node);
        let target = to.map(address);
        self.command(node, ConnectionCommand::Connect { token, id, target, expect });
        self.rejected(node, token)
    }

    pub fn send(&mut self, node: usize, id: ConnectionId, text: &str) -> Result<(), ConnectionError> {
        let token = self.token(node);
        self.command(node, ConnectionCommand::Send { token, id, data: dict(text) });
        self.rejected(node, token)
    }

    pub fn send_pack(
        &mut self,
        node: usize,
        id: ConnectionId,
        pack: DataPack,
    ) -> Result<(), ConnectionError> {
        let token = self.token(node);
        self.command(node, ConnectionCommand::SendPack { token, id, pack });
        self.rejected(node, token)
    }

    pub fn close(&mut self, node: usize, id: ConnectionId) -> Result<(), ConnectionError> {
        let token = self.token(node);
        self.command(node, ConnectionCommand::Close { token, id });
        self.rejected(node, token)
    }

    pub fn state(&self, node: usize, id: ConnectionId) -> Option<ConnectionState> {
        self.nodes[node].machine.manager().state(id)
    }

    pub fn census(&self, node: usize) -> [usize; 4] {
        self.nodes[node].machine.manager().census()
    }

    pub fn ignored(&self, node: usize) -> u64 {
        self.nodes[node].machine.manager().ignored()
    }

    /// What a node was told since the last time.
    pub fn take(&mut self, node: usize) -> Vec<ConnectionEvent> {
        let told = std::mem::take(&mut self.nodes[node].notices);
        told.into_iter()
            .map(|notice| match notice {
                ConnectionNotice::Event(event) => event,
                other => panic!("unexpected {other:?}"),
            })
            .collect()
    }

    /// The ids of both ends of a new connection from `from` to `to`, who listens at `at`.
    pub fn join(&mut self, from: usize, to: usize, kind: KindId, at: &str) -> (ConnectionId, ConnectionId) {
        let id = self.create_to(from, kind, at, None).unwrap();
        self.connect(from, id, None).unwrap();
        self.run();
        let events = self.take(from);
        assert!(
            matches!(events[..], [ConnectionEvent::Connected { id: told, .. }] if told == id),
            "{events:?}"
        );
        (id, self.take_accepted(to))
    }

    /// The one connection that was accepted, and nothing else told.
    pub fn take_accepted(&mut self, node: usize) -> ConnectionId {
        let events = self.take(node);
        let [ConnectionEvent::Accepted { id, .. }] = events[..] else { panic!("{events:?}") };
        id
    }

    /// Why the one connection ended, and nothing else told.
    pub fn take_reason(&mut self, node: usize, id: ConnectionId) -> DisconnectReason {
        let events = self.take(node);
        let [ConnectionEvent::Disconnected { id: told, reason, .. }] = &events[..] else {
            panic!("{events:?}")
        };
        assert_eq!(*told, id);
        reason.clone()
    }

    // ---- time and events ----

    /// Gives a node one event, then checks it and does what it asks.
    pub fn step(&mut self, node: usize, event: Event<ConnectionCommand>) {
        let mut actions = Actions::new();
        let it = &mut self.nodes[node];
        if it.dead {
            return;
        }
        it.machine.handle(self.now, event, &mut actions);
        it.machine.check_invariants();
        let actions: Vec<_> = actions.drain().collect();
        for action in actions {
            match action {
                Action::Net(action) => {
                    self.log.push((node, action.clone()));
                    self.perform(node, action);
                }
                Action::Notify(notice) => self.nodes[node].notices.push(notice),
                other => panic!("{other:?} from connections"),
            }
        }
    }

    /// One pending event; false if there is none.
    pub fn run_one(&mut self) -> bool {
        let Some((node, event)) = self.events.pop_front() else { return false };
        self.step(node, Event::Net(event));
        true
    }

    /// Until nothing is under way at this moment.
    pub fn run(&mut self) {
        let mut steps = 0;
        while self.run_one() {
            steps += 1;
            assert!(steps < 1_000_000, "it never comes to rest");
        }
    }

    /// Lets time pass, stopping at each deadline.
    pub fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        self.run();
        let mut idle = 0;
        while let Some(at) =
            self.living().filter_map(|n| self.nodes[n].machine.deadline()).min().filter(|at| *at <= end)
        {
            idle = if at <= self.now { idle + 1 } else { 0 };
            assert!(idle < 100, "a deadline that does not move");
            self.now = self.now.max(at);
            for node in self.living().collect::<Vec<_>>() {
                self.step(node, Event::Tick);
            }
            self.run();
        }
        self.now = end;
    }

    fn living(&self) -> impl Iterator<Item = usize> + '_ {
        (0..self.nodes.len()).filter(|n| !self.nodes[*n].dead)
    }

    pub fn inject(&mut self, node: usize, event: NetEvent) {
        self.step(node, Event::Net(event));
    }

    // ---- the network ----

    fn perform(&mut self, node: usize, action: NetAction) {
        match action {
            NetAction::Resolve { query, host, port } => match self.names.get(&host) {
                Some(found) => {
                    let result = found.clone().map(|list| {
                        list.iter().map(|ip| SocketAddr::new(ip.parse().unwrap(), port)).collect()
                    });
                    self.events.push_back((node, NetEvent::Resolved { query, result }));
                }
                None => self.queries.push((node, query)),
            },
            NetAction::Listen { listener, address } => self.open(node, listener, address),
            NetAction::Accept { listener, link } => {
                if let Some(error) = self.accept_error {
                    self.events.push_back((node, NetEvent::AcceptFailed { listener, link, error }));
                    return;
                }
                let at = self.hub(node, listener).expect("accept at a listener that is not open");
                let hub = self.listeners.get_mut(&at).unwrap();
                assert_eq!(hub.accept.replace(link), None, "two accepts at once");
                if !self.slow_accept {
                    self.hand_over(at);
                }
            }
            NetAction::Unlisten { listener } => {
                let at = self.hub(node, listener).expect("unlisten of a listener that is not open");
                let hub = self.listeners.remove(&at).unwrap();
                for end in hub.backlog {
                    self.reset(end);
                }
                self.events.push_back((node, NetEvent::Unlistened { listener }));
            }
            NetAction::Dial { link, address } => self.dial(node, link, address),
            NetAction::Send { link, buffers } => {
                let end = self.by_link[&(node, link)];
                if self.ends[end].reset {
                    return;
                }
                assert!(self.ends[end].open && !self.ends[end].sending, "a send on a closed or sending link");
                assert!(!buffers.is_empty() && buffers.iter().all(|b| !b.is_empty()), "an empty send");
                for bytes in buffers {
                    self.wire.extend_from_slice(&bytes);
                    self.put(end, &bytes);
                }
                if self.ends[end].stuck {
                    self.ends[end].sending = true;
                } else {
                    self.events.push_back((node, NetEvent::Sent { link }));
                }
            }
            NetAction::Recv { link, max } => {
                let end = self.by_link[&(node, link)];
                // Of a link that has just been reset, the machine has yet to hear.
                if self.ends[end].reset {
                    return;
                }
                assert!(max > 0 && self.ends[end].open, "recv on a closed link");
                assert_eq!(self.ends[end].armed.replace(max), None, "two reads at once");
                self.deliver(end);
            }
            NetAction::Shutdown { link } => {
                let end = self.by_link[&(node, link)];
                if self.ends[end].reset {
                    return;
                }
                assert!(!self.ends[end].sending, "shutdown while sending");
                self.finish_stream(end);
                self.events.push_back((node, NetEvent::ShutdownDone { link }));
            }
            NetAction::Close { link } => {
                if let Some(end) = self.by_link.get(&(node, link)).copied() {
                    self.shut(end);
                }
                self.hanging.retain(|hung| *hung != (node, link));
                self.events.push_back((node, NetEvent::Closed { link }));
            }
        }
    }

    fn open(&mut self, node: usize, listener: ListenerId, mut address: Endpoint) {
        if let Some(error) = self.listening.get(&address).copied() {
            self.events.push_back((node, NetEvent::ListenFailed { listener, error }));
            return;
        }
        if let Endpoint::Ip(socket) = &mut address
            && socket.port() == 0
        {
            self.next_port += 1;
            socket.set_port(self.next_port);
        }
        if self.listeners.contains_key(&address) {
            let error = NetError::AddressInUse;
            self.events.push_back((node, NetEvent::ListenFailed { listener, error }));
            return;
        }
        self.listeners.insert(address.clone(), Hub { node, id: Some(listener), ..Hub::default() });
        self.events.push_back((node, NetEvent::Listening { listener, address }));
    }

    fn hub(&self, node: usize, listener: ListenerId) -> Option<Endpoint> {
        self.listeners
            .iter()
            .find(|(_, hub)| hub.node == node && hub.id == Some(listener))
            .map(|(at, _)| at.clone())
    }

    fn dial(&mut self, node: usize, link: LinkId, address: Endpoint) {
        match self.dialling.get(&address) {
            Some(Dialling::Fails(error)) => {
                self.events.push_back((node, NetEvent::DialFailed { link, error: *error }));
                return;
            }
            Some(Dialling::Never) => {
                self.hanging.push((node, link));
                return;
            }
            None => {}
        }
        let wildcard = |at: &Endpoint| at.host().is_unspecified() && at.port() == address.port();
        let found = self.listeners.keys().find(|at| **at == address || wildcard(at)).cloned();
        let Some(at) = found else {
            let error = NetError::Refused;
            self.events.push_back((node, NetEvent::DialFailed { link, error }));
            return;
        };
        let end = self.pair(node, link, RAW, LinkId(0));
        let local = self.dials_from(node, &address);
        self.events.push_back((node, NetEvent::Dialed { link, peer: address, local }));
        let other = self.ends[end].other;
        self.listeners.get_mut(&at).unwrap().backlog.push_back(other);
        if !self.slow_accept {
            self.hand_over(at);
        }
    }

    /// The address that a node dials from.
    pub fn address_of(&self, node: usize) -> Endpoint {
        let host = if node == RAW { 66 } else { node as u8 + 1 };
        SocketAddr::from(([10, 0, 0, host], 50_000)).into()
    }

    fn dials_from(&self, node: usize, to: &Endpoint) -> Endpoint {
        match to {
            Endpoint::Ip(_) => self.address_of(node),
            Endpoint::Unix(_) => Endpoint::Unix(String::new()),
        }
    }

    fn pair(&mut self, a: usize, a_link: LinkId, b: usize, b_link: LinkId) -> usize {
        let first = self.ends.len();
        for (actor, link, other) in [(a, a_link, first + 1), (b, b_link, first)] {
            self.by_link.insert((actor, link), self.ends.len());
            self.ends.push(End {
                actor,
                link,
                other,
                open: true,
                inbox: VecDeque::new(),
                fin: false,
                told_fin: false,
                reset: false,
                armed: None,
                stuck: false,
                sending: false,
            });
        }
        first
    }

    /// Accepts what waits, if an accept is armed.
    pub fn hand_over(&mut self, at: Endpoint) {
        let Some(hub) = self.listeners.get_mut(&at) else { return };
        let (Some(link), Some(end)) = (hub.accept, hub.backlog.front().copied()) else { return };
        hub.backlog.pop_front();
        hub.accept = None;
        let (node, listener) = (hub.node, hub.id.unwrap());
        self.ends[end].actor = node;
        self.ends[end].link = link;
        self.by_link.insert((node, link), end);
        let dialler = self.ends[self.ends[end].other].actor;
        let peer = self.dials_from(dialler, &at);
        self.events.push_back((node, NetEvent::Accepted { listener, link, peer, local: at }));
    }

    fn put(&mut self, from: usize, bytes: &[u8]) {
        let to = self.ends[from].other;
        if self.ends[to].open {
            self.ends[to].inbox.extend(bytes);
            self.deliver(to);
        } else {
            // The other end is closed: it answers with a reset.
            self.reset(from);
        }
    }

    fn deliver(&mut self, end: usize) {
        let chunk = self.chunk;
        let it = &mut self.ends[end];
        let Some(max) = it.armed.filter(|_| it.open && it.actor != RAW) else { return };
        let (node, link) = (it.actor, it.link);
        if !it.inbox.is_empty() {
            let n = max.min(chunk).min(it.inbox.len());
            let data: Vec<u8> = it.inbox.drain(..n).collect();
            it.armed = None;
            self.events.push_back((node, NetEvent::Received { link, data: data.into() }));
        } else if it.fin && !it.told_fin {
            it.told_fin = true;
            it.armed = None;
            self.events.push_back((node, NetEvent::PeerClosed { link }));
        }
    }

    fn finish_stream(&mut self, from: usize) {
        let to = self.ends[from].other;
        self.ends[to].fin = true;
        self.deliver(to);
    }

    /// Closes an end as a system does: with bytes unread the other one gets a reset, and loses what it had not read.
    fn shut(&mut self, end: usize) {
        let unread = !self.ends[end].inbox.is_empty();
        self.ends[end].open = false;
        self.ends[end].armed = None;
        let other = self.ends[end].other;
        if unread { self.reset(other) } else { self.finish_stream(end) }
    }

    /// An end learns that its link was reset.
    pub fn reset(&mut self, end: usize) {
        let it = &mut self.ends[end];
        it.reset = true;
        if it.open && it.actor != RAW {
            it.open = false;
            it.inbox.clear();
            it.armed = None;
            let (node, link) = (it.actor, it.link);
            self.events.push_back((node, NetEvent::Broken { link, error: NetError::Reset }));
        }
        self.ends[end].open = false;
    }

    /// Both ends learn that the link is dead.
    pub fn break_link(&mut self, end: usize) {
        let other = self.ends[end].other;
        self.reset(end);
        self.reset(other);
    }

    /// The newest open end of a node.
    pub fn newest_end(&self, node: usize) -> usize {
        self.ends.iter().rposition(|end| end.actor == node && end.open).expect("an open end")
    }

    pub fn link_of(&self, end: usize) -> LinkId {
        self.ends[end].link
    }

    /// This end's system takes no more bytes, or takes them again.
    pub fn stick(&mut self, end: usize, stuck: bool) {
        let it = &mut self.ends[end];
        it.stuck = stuck;
        if !stuck && std::mem::take(&mut it.sending) {
            let (node, link) = (it.actor, it.link);
            self.events.push_back((node, NetEvent::Sent { link }));
        }
    }

    /// The process is gone without a word: its ends stay as they are.
    pub fn freeze(&mut self, node: usize) {
        self.nodes[node].dead = true;
    }

    /// The process is killed: its system closes what it held, and its address is free.
    pub fn crash(&mut self, node: usize) {
        self.nodes[node].dead = true;
        for end in 0..self.ends.len() {
            if self.ends[end].actor == node && self.ends[end].open {
                self.shut(end);
            }
        }
        self.listeners.retain(|_, hub| hub.node != node);
    }

    pub fn open_ends(&self, node: usize) -> usize {
        self.ends.iter().filter(|end| end.actor == node && end.open).count()
    }

    // ---- raw peers ----

    /// A stranger dials; answers its end.
    pub fn raw_dial(&mut self, at: &str) -> Raw {
        let end = self.pair(RAW, LinkId(self.ends.len() as u64), RAW, LinkId(self.ends.len() as u64 + 1));
        let at = socket(at);
        let other = self.ends[end].other;
        self.listeners.get_mut(&at).expect("somebody listens").backlog.push_back(other);
        self.hand_over(at);
        self.run();
        Raw { end, decoder: Decoder::new(1 << 20) }
    }

    /// A stranger listens.
    pub fn raw_listen(&mut self, at: &str) {
        self.listeners.insert(socket(at), Hub { node: RAW, ..Hub::default() });
    }

    /// The stranger's end of the oldest link that was dialled to it.
    pub fn raw_accept(&mut self, at: &str) -> Raw {
        let end = self.listeners.get_mut(&socket(at)).unwrap().backlog.pop_front().expect("a dial");
        Raw { end, decoder: Decoder::new(1 << 20) }
    }

    pub fn raw_send(&mut self, raw: &Raw, bytes: &[u8]) {
        self.put(raw.end, bytes);
        self.run();
    }

    pub fn raw_pack(&mut self, raw: &Raw, pack: &DataPack) {
        let bytes = encode(pack).unwrap().concat();
        self.raw_send(raw, &bytes);
    }

    /// The next pack that has come to the stranger.
    pub fn raw_next(&mut self, raw: &mut Raw) -> Option<DataPack> {
        let bytes: Vec<u8> = self.ends[raw.end].inbox.drain(..).collect();
        if !bytes.is_empty() {
            raw.decoder.feed(bytes.into());
        }
        raw.decoder.next().expect("packs")
    }

    /// Whether the stranger was told the end of the stream.
    pub fn raw_ended(&self, raw: &Raw) -> bool {
        self.ends[raw.end].fin || self.ends[raw.end].reset
    }

    pub fn raw_close(&mut self, raw: &Raw) {
        self.shut(raw.end);
        self.run();
    }
}

/// A stranger's end of a link.
#[derive(Debug)]
pub struct Raw {
    pub end: usize,
    pub decoder: Decoder,
}

impl World {
    /// Bytes on their way to an end.
    pub fn ends_inbox(&self, end: usize) -> usize {
        self.ends[end].inbox.len()
    }

    /// A dial whose outcome does not matter.
    pub fn join_failing(&mut self, from: usize, at: &str) {
        let id = self.create_to(from, MANY, at, None).unwrap();
        self.connect(from, id, None).unwrap();
        self.run();
        self.take(from);
    }
}

impl World {
    pub fn is_open(&self, end: usize) -> bool {
        self.ends[end].open && self.ends[end].actor != RAW
    }

    pub fn is_listening(&self, at: &str) -> bool {
        self.listeners.contains_key(&socket(at))
    }
}
