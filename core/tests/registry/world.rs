//! One registry, scripted executors that say whatever a test wants, and clients, on a network without delays.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;
use xxnet_core::client::{Client, ClientCommand, ClientNotice};
use xxnet_core::connection::*;
use xxnet_core::message::*;
use xxnet_core::net::{Endpoint, NetAction, NetError, NetEvent};
use xxnet_core::pack::DataPack;
use xxnet_core::registry::{Registry, RegistryCommand, RegistryNotice};
use xxnet_core::*;

pub const AT: &str = "10.0.0.1:7000";
pub const KEY: ClusterKey = ClusterKey(*b"a cluster key that is 32 bytes !");

/// Who something belongs to: the registry is 0.
pub type Node = usize;

enum Machines {
    Registry(Box<Registry>, Vec<RegistryNotice>),
    Peer(Box<Connections>, Vec<ConnectionNotice>),
    Client(Box<Client>, Vec<ClientNotice>),
}

/// One node.
struct Entry {
    machine: Machines,
    instance: InstanceId,
    /// It is gone without a word: nothing reaches it.
    dead: bool,
    registration: Option<ConnectionId>,
    heard: Vec<Message>,
    tokens: u64,
}

#[derive(Debug, Default)]
struct End {
    other: Option<(Node, LinkId)>,
    inbox: VecDeque<bytes::Bytes>,
    armed: bool,
    fin: bool,
}

pub struct World {
    pub now: Instant,
    pub limits: Limits,
    nodes: Vec<Entry>,
    ends: BTreeMap<(Node, LinkId), End>,
    listener: Option<ListenerId>,
    accept: Option<LinkId>,
    backlog: VecDeque<(Node, LinkId)>,
    events: VecDeque<(Node, NetEvent)>,
    numbers: u64,
    /// Whether machines are checked after each step; off only while a large state is being built up.
    pub checking: bool,
}

pub fn instance(node: Node) -> InstanceId {
    InstanceId([u8::try_from(node).unwrap() + 1; 16])
}

impl World {
    pub fn new() -> Self {
        Self::with(|_| {})
    }

    pub fn with(change: impl FnOnce(&mut Limits)) -> Self {
        let mut limits = Limits::default();
        change(&mut limits);
        let mut world = Self {
            now: Instant::from_micros(1_000_000),
            limits,
            nodes: Vec::new(),
            ends: BTreeMap::new(),
            listener: None,
            accept: None,
            backlog: VecDeque::new(),
            events: VecDeque::new(),
            numbers: 0,
            checking: true,
        };
        let registry = Registry::new(world.config(instance(0), "registry"));
        world.enter(Machines::Registry(Box::new(registry), Vec::new()), instance(0));
        world.command(RegistryCommand::Listen(AT.parse().unwrap()));
        assert!(matches!(world.notices()[..], [RegistryNotice::Listening(_)]));
        world
    }

    fn config(&self, instance: InstanceId, name: &str) -> Config {
        let mut config = Config::new(instance, name, KEY, 7);
        config.limits = self.limits.clone();
        config
    }

    fn enter(&mut self, machine: Machines, instance: InstanceId) -> Node {
        let entry =
            Entry { machine, instance, dead: false, registration: None, heard: Vec::new(), tokens: 0 };
        self.nodes.push(entry);
        self.nodes.len() - 1
    }

    // ---- the registry ----

    pub fn command(&mut self, command: RegistryCommand) {
        self.step(0, Happening::Registry(command));
        self.run();
    }

    /// What the registry told since the last time.
    pub fn notices(&mut self) -> Vec<RegistryNotice> {
        let Machines::Registry(_, notices) = &mut self.nodes[0].machine else { unreachable!() };
        std::mem::take(notices)
    }

    pub fn registry(&self) -> &Registry {
        let Machines::Registry(registry, _) = &self.nodes[0].machine else { unreachable!() };
        registry
    }

    pub fn census(&self) -> [usize; 4] {
        let Machines::Registry(registry, _) = &self.nodes[0].machine else { unreachable!() };
        registry.census()
    }

    pub fn deadline(&self) -> Option<Instant> {
        self.deadline_of(0)
    }

    /// Killed and started again: every link is reset, everything is forgotten.
    pub fn restart_registry(&mut self) {
        let links: Vec<LinkId> =
            self.ends.keys().filter(|(node, _)| *node == 0).map(|(_, link)| *link).collect();
        for link in links {
            let other = self.ends.remove(&(0, link)).and_then(|end| end.other);
            if let Some((node, link)) = other {
                self.ends.remove(&(node, link));
                self.events.push_back((node, NetEvent::Broken { link, error: NetError::Reset }));
            }
        }
        (self.listener, self.accept) = (None, None);
        self.events.retain(|(node, _)| *node != 0);
        let registry = Registry::new(self.config(InstanceId([99; 16]), "registry"));
        self.nodes[0].machine = Machines::Registry(Box::new(registry), Vec::new());
        self.command(RegistryCommand::Listen(AT.parse().unwrap()));
        self.notices();
    }

    // ---- scripted executors ----

    /// A node that is linked but has said nothing.
    pub fn stranger(&mut self) -> Node {
        let node = self.nodes.len();
        self.stranger_as(instance(node))
    }

    pub fn stranger_as(&mut self, instance: InstanceId) -> Node {
        let machine = Connections::new(&self.config(instance, "peer"));
        let node = self.enter(Machines::Peer(Box::new(machine), Vec::new()), instance);
        for (id, rule) in [(KindId::REGISTRATION, LinkRule::OnePerDialler), (KindId::QUERY, LinkRule::Many)] {
            let kind = ConnectionKind::plain(id, rule, Role::Dial);
            let token = self.token(node);
            self.peer(node, ConnectionCommand::Register { token, kind });
        }
        self.link(node);
        node
    }

    /// Dials the registry (again).
    pub fn link(&mut self, node: Node) {
        let id = self.dial(node, KindId::REGISTRATION);
        self.nodes[node].registration = Some(id);
    }

    /// A connection of that kind to the registry.
    pub fn dial(&mut self, node: Node, kind: KindId) -> ConnectionId {
        let token = self.token(node);
        let target: Address = AT.parse().unwrap();
        self.peer(node, ConnectionCommand::CreateTo { token, kind, target, data: None });
        let Machines::Peer(_, notices) = &mut self.nodes[node].machine else { unreachable!() };
        let Some(ConnectionNotice::Created { id, .. }) = notices.pop() else { panic!("not created") };
        let token = self.token(node);
        self.peer(node, ConnectionCommand::Connect { token, id, target: None, expect: None });
        id
    }

    /// An executor that is registered.
    pub fn executor(&mut self, name: &str, slots: u32) -> Node {
        let node = self.stranger();
        self.register(node, name, slots);
        node
    }

    pub fn register(&mut self, node: Node, name: &str, slots: u32) {
        self.heard(node);
        self.say(node, register(name, slots));
        let heard = self.heard(node);
        assert!(matches!(heard.first(), Some(Message::Registered(_))), "{heard:?}");
    }

    /// Says something on the registration connection.
    pub fn say(&mut self, node: Node, message: impl Into<Message>) {
        self.say_pack(node, message.into().into_pack());
    }

    pub fn say_pack(&mut self, node: Node, pack: DataPack) {
        let id = self.nodes[node].registration.expect("linked");
        self.say_on(node, id, pack);
    }

    pub fn say_on(&mut self, node: Node, id: ConnectionId, pack: DataPack) {
        let token = self.token(node);
        self.peer(node, ConnectionCommand::SendPack { token, id, pack });
    }

    /// What came to the node since the last time, on any of its connections.
    pub fn heard(&mut self, node: Node) -> Vec<Message> {
        std::mem::take(&mut self.nodes[node].heard)
    }

    /// The tasks that were proposed to the node since the last time, all else apart.
    pub fn assigned(&mut self, node: Node) -> Vec<TaskId> {
        let assigned = |message| match message {
            Message::Assign(assign) => Some(assign.task),
            _ => None,
        };
        self.heard(node).into_iter().filter_map(assigned).collect()
    }

    /// Why the publisher was told since the last time that its tasks wait.
    pub fn waits(&mut self, node: Node) -> Vec<(TaskId, WaitReason)> {
        let waits = |message| match message {
            Message::Waits(Waits { task, reason }) => Some((task, reason)),
            _ => None,
        };
        self.heard(node).into_iter().filter_map(waits).collect()
    }

    /// Publishes a new task that anybody else may run.
    pub fn publish(&mut self, node: Node) -> TaskId {
        let publish = self.publication(node);
        let task = publish.task;
        self.say(node, publish);
        task
    }

    pub fn publication(&mut self, node: Node) -> Publish {
        self.numbers += 1;
        let task = TaskId { publisher: self.nodes[node].instance, number: self.numbers };
        publication(task)
    }

    /// A claim is granted: the publisher tells.
    pub fn take(&mut self, task: TaskId, by: Node, attempt: u64) {
        let publisher = self.node_of(task.publisher);
        let by = self.nodes[by].instance;
        self.say(publisher, Taken { task, by, attempt: AttemptNumber(attempt) });
    }

    pub fn end(&mut self, task: TaskId) {
        let publisher = self.node_of(task.publisher);
        self.say(publisher, Ended { task, how: EndKind::Done });
    }

    fn node_of(&self, instance: InstanceId) -> Node {
        self.nodes.iter().rposition(|entry| entry.instance == instance && !entry.dead).unwrap()
    }

    /// Whether the node's registration connection is up.
    pub fn is_linked(&self, node: Node) -> bool {
        let Machines::Peer(machine, _) = &self.nodes[node].machine else { unreachable!() };
        let state = self.nodes[node].registration.and_then(|id| machine.manager().state(id));
        state == Some(ConnectionState::Connected)
    }

    /// All links of the node are reset, at both ends.
    pub fn cut(&mut self, node: Node) {
        let links: Vec<LinkId> =
            self.ends.keys().filter(|(n, _)| *n == node).map(|(_, link)| *link).collect();
        for link in links {
            let other = self.ends.remove(&(node, link)).and_then(|end| end.other);
            for (node, link) in [Some((node, link)), other].into_iter().flatten() {
                self.ends.remove(&(node, link));
                self.events.push_back((node, NetEvent::Broken { link, error: NetError::Reset }));
            }
        }
        self.run();
    }

    /// Killed: its links are reset, and it says nothing more.
    pub fn kill(&mut self, node: Node) {
        self.cut(node);
        self.nodes[node].dead = true;
    }

    /// Frozen, or its host is gone: its links stay as they are.
    pub fn freeze(&mut self, node: Node) {
        self.nodes[node].dead = true;
    }

    fn token(&mut self, node: Node) -> Token {
        Token::next(&mut self.nodes[node].tokens)
    }

    fn peer(&mut self, node: Node, command: ConnectionCommand) {
        self.step(node, Happening::Peer(command));
        self.run();
    }

    // ---- clients ----

    pub fn client(&mut self) -> Node {
        let node = self.nodes.len();
        let client = Client::new(self.config(instance(node), "client"));
        self.enter(Machines::Client(Box::new(client), Vec::new()), instance(node))
    }

    pub fn ask(&mut self, node: Node, question: Question) {
        let registry = AT.parse().unwrap();
        self.step(node, Happening::Client(ClientCommand::Ask { registry, question }));
        self.run();
    }

    pub fn answers(&mut self, node: Node) -> Vec<ClientNotice> {
        let Machines::Client(_, notices) = &mut self.nodes[node].machine else { unreachable!() };
        std::mem::take(notices)
    }

    /// Asks with a client of its own.
    pub fn answer(&mut self, question: Question) -> Reply {
        let client = self.client();
        self.ask(client, question);
        match &self.answers(client)[..] {
            [ClientNotice::Answered(reply)] => reply.clone(),
            other => panic!("{other:?}"),
        }
    }

    pub fn client_census(&self, node: Node) -> [usize; 4] {
        let Machines::Client(client, _) = &self.nodes[node].machine else { unreachable!() };
        client.census()
    }

    // ---- time ----

    /// Lets time pass; `beating` send a heartbeat with that many free slots every three seconds.
    pub fn pass(&mut self, seconds: f64, beating: &[(Node, u32)]) {
        let end = self.now + Duration::from_secs_f64(seconds);
        while self.now < end {
            let step = (self.now + Duration::from_secs(3)).min(end);
            self.advance(step);
            for (node, free) in beating {
                self.say(*node, Heartbeat { free: *free });
            }
        }
    }

    fn advance(&mut self, to: Instant) {
        let mut steps = 0;
        loop {
            let live = (0..self.nodes.len()).filter(|node| !self.nodes[*node].dead);
            let next = live.filter_map(|node| Some((self.deadline_of(node)?, node))).min();
            let Some((at, node)) = next.filter(|(at, _)| *at <= to) else { break };
            steps += 1;
            assert!(steps < 100_000, "a deadline that never moves on: node {node}");
            self.now = self.now.max(at);
            self.step(node, Happening::Tick);
            self.run();
        }
        self.now = to;
    }

    fn deadline_of(&self, node: Node) -> Option<Instant> {
        match &self.nodes[node].machine {
            Machines::Registry(machine, _) => machine.deadline(),
            Machines::Peer(machine, _) => machine.deadline(),
            Machines::Client(machine, _) => machine.deadline(),
        }
    }

    // ---- the pump ----

    pub fn run(&mut self) {
        while let Some((node, event)) = self.events.pop_front() {
            if !self.nodes[node].dead {
                self.step(node, Happening::Net(event));
            }
        }
    }

    fn step(&mut self, node: Node, happening: Happening) {
        let now = self.now;
        let entry = &mut self.nodes[node];
        let mut todo = Vec::new();
        match &mut entry.machine {
            Machines::Registry(machine, notices) => {
                let event = happening.event(|h| match h {
                    Happening::Registry(command) => command,
                    other => panic!("{other:?}"),
                });
                drive(machine.as_mut(), now, event, notices, &mut todo, self.checking);
            }
            Machines::Peer(machine, notices) => {
                let event = happening.event(|h| match h {
                    Happening::Peer(command) => command,
                    other => panic!("{other:?}"),
                });
                drive(machine.as_mut(), now, event, notices, &mut todo, self.checking);
                for notice in &*notices {
                    if let ConnectionNotice::Event(ConnectionEvent::Received { pack, .. }) = notice {
                        entry.heard.push(Message::from_pack(pack.clone()).unwrap());
                    }
                }
                notices.retain(|notice| matches!(notice, ConnectionNotice::Created { .. }));
            }
            Machines::Client(machine, notices) => {
                let event = happening.event(|h| match h {
                    Happening::Client(command) => command,
                    other => panic!("{other:?}"),
                });
                drive(machine.as_mut(), now, event, notices, &mut todo, self.checking);
            }
        }
        for action in todo {
            self.act(node, action);
        }
    }

    fn act(&mut self, node: Node, action: NetAction) {
        match action {
            NetAction::Listen { listener, address } => {
                assert_eq!(node, 0);
                self.listener = Some(listener);
                self.events.push_back((node, NetEvent::Listening { listener, address }));
            }
            NetAction::Accept { link, .. } => {
                self.accept = Some(link);
                self.hand_over();
            }
            NetAction::Unlisten { listener } => {
                (self.listener, self.accept) = (None, None);
                self.events.push_back((node, NetEvent::Unlistened { listener }));
            }
            NetAction::Dial { link, .. } => {
                if self.listener.is_some() {
                    self.ends.insert((node, link), End::default());
                    self.backlog.push_back((node, link));
                    self.hand_over();
                } else {
                    let error = NetError::Refused;
                    self.events.push_back((node, NetEvent::DialFailed { link, error }));
                }
            }
            NetAction::Send { link, buffers } => {
                if let Some(other) = self.ends.get(&(node, link)).and_then(|end| end.other) {
                    if let Some(end) = self.ends.get_mut(&other) {
                        end.inbox.extend(buffers);
                    }
                    self.events.push_back((node, NetEvent::Sent { link }));
                    self.deliver(other);
                }
            }
            NetAction::Recv { link, .. } => {
                if let Some(end) = self.ends.get_mut(&(node, link)) {
                    end.armed = true;
                    self.deliver((node, link));
                }
            }
            NetAction::Shutdown { link } => {
                self.finish((node, link));
                self.events.push_back((node, NetEvent::ShutdownDone { link }));
            }
            NetAction::Close { link } => {
                self.finish((node, link));
                self.ends.remove(&(node, link));
                self.events.push_back((node, NetEvent::Closed { link }));
            }
            NetAction::Resolve { .. } => panic!("nobody uses names here"),
        }
    }

    fn hand_over(&mut self) {
        let Some(listener) = self.listener else { return };
        let Some(link) = self.accept.take_if(|_| !self.backlog.is_empty()) else { return };
        let from = self.backlog.pop_front().unwrap();
        let Some(end) = self.ends.get_mut(&from) else { return };
        end.other = Some((0, link));
        self.ends.insert((0, link), End { other: Some(from), ..End::default() });
        let at = Endpoint::Ip(AT.parse().unwrap());
        let host = u8::try_from(from.0).unwrap() + 10;
        let socket = Endpoint::Ip(([10, 0, 0, host], 50_000).into());
        let (node, dialled) = from;
        self.events
            .push_back((node, NetEvent::Dialed { link: dialled, peer: at.clone(), local: socket.clone() }));
        self.events.push_back((0, NetEvent::Accepted { listener, link, peer: socket, local: at }));
    }

    fn finish(&mut self, from: (Node, LinkId)) {
        if let Some(other) = self.ends.get(&from).and_then(|end| end.other) {
            if let Some(end) = self.ends.get_mut(&other) {
                end.fin = true;
            }
            self.deliver(other);
        }
    }

    fn deliver(&mut self, to: (Node, LinkId)) {
        let (node, link) = to;
        let Some(end) = self.ends.get_mut(&to).filter(|end| end.armed) else { return };
        if let Some(data) = end.inbox.pop_front() {
            end.armed = false;
            self.events.push_back((node, NetEvent::Received { link, data }));
        } else if end.fin {
            end.armed = false;
            self.events.push_back((node, NetEvent::PeerClosed { link }));
        }
    }
}

#[derive(Debug)]
enum Happening {
    Tick,
    Net(NetEvent),
    Registry(RegistryCommand),
    Peer(ConnectionCommand),
    Client(ClientCommand),
}

impl Happening {
    fn event<C>(self, command: impl FnOnce(Self) -> C) -> Event<C> {
        match self {
            Self::Tick => Event::Tick,
            Self::Net(event) => Event::Net(event),
            other => Event::Command(command(other)),
        }
    }
}

fn drive<M: Machine>(
    machine: &mut M,
    now: Instant,
    event: Event<M::Command>,
    notices: &mut Vec<M::Notice>,
    todo: &mut Vec<NetAction>,
    checking: bool,
) {
    let mut actions = Actions::new();
    machine.handle(now, event, &mut actions);
    for action in actions.drain() {
        match action {
            Action::Net(action) => todo.push(action),
            Action::Notify(notice) => notices.push(notice),
            other => panic!("unexpected {other:?}"),
        }
    }
    if checking {
        machine.check_invariants();
    }
}

pub fn register(name: &str, slots: u32) -> Register {
    Register {
        name: name.into(),
        address: "0.0.0.0:7700".parse().unwrap(),
        slots,
        client: false,
        labels: Vec::new(),
        running: Vec::new(),
        proposed: Vec::new(),
    }
}

pub fn publication(task: TaskId) -> Publish {
    Publish {
        task,
        title: "true".into(),
        placement: Placement::Others,
        publisher: "0.0.0.0:7700".parse().unwrap(),
        taken: None,
        avoid: Vec::new(),
    }
}
