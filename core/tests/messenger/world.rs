//! Messengers that talk over a network which does at once what it is asked; dials can be held up.

use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use xxnet_core::messenger::{Messenger, MessengerCommand, MessengerNotice};
use xxnet_core::net::{NetAction, NetError, NetEvent};
use xxnet_core::pack::{DataPack, PackType};
use xxnet_core::{
    Action, Actions, Address, ClusterKey, Config, ConnectionId, Event, InstanceId, Instant, Limits, LinkId,
    ListenerId, Machine, Token,
};

/// The end of a link at a node.
type End = (usize, LinkId);

struct Node {
    machine: Messenger,
    told: Vec<MessengerNotice>,
    /// Where it listens, and the link that the next newcomer gets.
    listener: Option<(ListenerId, core::net::SocketAddr, Option<LinkId>)>,
}

/// Node `n` has the address 10.0.0.n+1; what one does, the others see at once.
pub(crate) struct World {
    now: Instant,
    nodes: Vec<Node>,
    other: BTreeMap<End, End>,
    /// Links whose read is armed, and what has arrived on each.
    armed: BTreeSet<End>,
    inbox: BTreeMap<End, VecDeque<Vec<u8>>>,
    work: VecDeque<(usize, NetAction)>,
    /// Dials are answered only once this is false.
    pub(crate) holds_dials: bool,
    held: Vec<(usize, LinkId, core::net::SocketAddr)>,
}

pub(crate) const SECOND: Duration = Duration::from_secs(1);

pub(crate) fn at(node: usize) -> core::net::SocketAddr {
    core::net::SocketAddr::from(([10, 0, 0, node as u8 + 1], 7000))
}

/// Everything here goes over IP.
fn over_ip(endpoint: &xxnet_core::net::Endpoint) -> core::net::SocketAddr {
    endpoint.socket().expect("an IP address")
}

/// A message that says which it is.
pub(crate) fn message(number: u8) -> DataPack {
    DataPack::new(PackType::RAW, vec![number])
}

impl World {
    /// So many messengers that listen nowhere, with these limits.
    pub(crate) fn new(count: usize, limits: &Limits) -> Self {
        let node = |at| {
            let instance = InstanceId([at as u8 + 1; 16]);
            let mut config = Config::new(instance, format!("node-{at}"), ClusterKey([0; 32]), at as u64);
            config.limits = limits.clone();
            Node { machine: Messenger::new(config), told: Vec::new(), listener: None }
        };
        Self {
            now: Instant::from_micros(1_000_000),
            nodes: (0..count).map(node).collect(),
            other: BTreeMap::new(),
            armed: BTreeSet::new(),
            inbox: BTreeMap::new(),
            work: VecDeque::new(),
            holds_dials: false,
            held: Vec::new(),
        }
    }

    pub(crate) fn tell(&mut self, node: usize, command: MessengerCommand) {
        self.handle(node, Event::Command(command));
        self.settle();
    }

    pub(crate) fn listen(&mut self, node: usize) {
        self.tell(node, MessengerCommand::Listen { token: Token(0), address: at(node).into() });
    }

    pub(crate) fn open(&mut self, node: usize, token: u64, to: impl Into<Address>) {
        self.tell(node, MessengerCommand::Open { token: Token(token), to: to.into() });
    }

    pub(crate) fn send(&mut self, node: usize, token: u64, numbers: impl IntoIterator<Item = u8>) {
        let packs = numbers.into_iter().map(message).collect();
        self.tell(node, MessengerCommand::Send { token: Token(token), packs });
    }

    /// The application takes everything that has come on a connection.
    pub(crate) fn take(&mut self, node: usize, on: ConnectionId, sequence: u64) {
        self.tell(node, MessengerCommand::Taken { on, sequence });
        self.pass(Duration::from_millis(5));
    }

    /// Time passes, with a tick whenever one is due.
    pub(crate) fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        loop {
            let due =
                self.nodes.iter().enumerate().filter_map(|(at, node)| Some((node.machine.deadline()?, at)));
            match due.min().filter(|(due, _)| *due <= end) {
                Some((due, node)) => {
                    self.now = self.now.max(due);
                    self.handle(node, Event::Tick);
                    self.settle();
                }
                None => break,
            }
        }
        self.now = end;
    }

    /// What a node was told since it was asked last.
    pub(crate) fn told(&mut self, node: usize) -> Vec<MessengerNotice> {
        core::mem::take(&mut self.nodes[node].told)
    }

    /// The numbers of the messages that a node was given since it was asked last, and on which connection the last came.
    pub(crate) fn received(&mut self, node: usize) -> (Vec<u8>, ConnectionId) {
        let mut on = ConnectionId(0);
        let told = self.told(node);
        let numbers = told.iter().filter_map(|notice| match notice {
            MessengerNotice::Received { on: connection, pack } => {
                on = *connection;
                Some(pack.head[0])
            }
            _ => None,
        });
        (numbers.collect(), on)
    }

    /// Every dial that was held up is answered.
    pub(crate) fn release_dials(&mut self) {
        self.holds_dials = false;
        for (node, link, address) in core::mem::take(&mut self.held) {
            self.dial(node, link, address);
        }
        self.settle();
    }

    /// The dials that are held up are refused.
    pub(crate) fn refuse_dials(&mut self) {
        for (node, link, _) in core::mem::take(&mut self.held) {
            self.net(node, NetEvent::DialFailed { link, error: NetError::TimedOut });
        }
        self.settle();
    }

    fn handle(&mut self, node: usize, event: Event<MessengerCommand>) {
        let mut out = Actions::new();
        let entry = &mut self.nodes[node];
        entry.machine.handle(self.now, event, &mut out);
        entry.machine.check_invariants();
        for action in out.drain() {
            match action {
                Action::Net(action) => self.work.push_back((node, action)),
                Action::Notify(notice) => entry.told.push(notice),
                Action::Disk(_) | Action::Process(_) => panic!("a messenger has no disk and no commands"),
            }
        }
    }

    fn net(&mut self, node: usize, event: NetEvent) {
        self.handle(node, Event::Net(event));
    }

    fn settle(&mut self) {
        while let Some((node, action)) = self.work.pop_front() {
            self.act(node, action);
        }
    }

    fn act(&mut self, node: usize, action: NetAction) {
        match action {
            NetAction::Resolve { query, port, host } => {
                let number = host.strip_prefix("node-").and_then(|number| number.parse().ok());
                let result = number.map(|node: usize| vec![core::net::SocketAddr::new(at(node).ip(), port)]);
                self.net(node, NetEvent::Resolved { query, result: result.ok_or(NetError::NameNotFound) });
            }
            NetAction::Listen { listener, address } => {
                self.nodes[node].listener = Some((listener, over_ip(&address), None));
                self.net(node, NetEvent::Listening { listener, address });
            }
            NetAction::Accept { link, .. } => {
                if let Some((_, _, armed)) = &mut self.nodes[node].listener {
                    *armed = Some(link);
                }
            }
            NetAction::Unlisten { listener } => {
                self.nodes[node].listener = None;
                self.net(node, NetEvent::Unlistened { listener });
            }
            NetAction::Dial { link, address } if self.holds_dials => {
                self.held.push((node, link, over_ip(&address)));
            }
            NetAction::Dial { link, address } => self.dial(node, link, over_ip(&address)),
            NetAction::Send { link, buffers } => {
                self.net(node, NetEvent::Sent { link });
                if let Some(other) = self.other.get(&(node, link)).copied() {
                    let bytes = buffers.iter().flat_map(|buffer| buffer.to_vec()).collect();
                    self.inbox.entry(other).or_default().push_back(bytes);
                    self.deliver(other);
                }
            }
            NetAction::Recv { link, .. } => {
                self.armed.insert((node, link));
                self.deliver((node, link));
            }
            NetAction::Shutdown { link } => {
                self.net(node, NetEvent::ShutdownDone { link });
                self.end((node, link));
            }
            NetAction::Close { link } => {
                self.held.retain(|(owner, held, _)| (*owner, *held) != (node, link));
                self.net(node, NetEvent::Closed { link });
                self.end((node, link));
            }
        }
    }

    fn dial(&mut self, node: usize, link: LinkId, address: core::net::SocketAddr) {
        let found = self.nodes.iter_mut().enumerate().find_map(|(other, entry)| {
            let (listener, listens, armed) =
                entry.listener.as_mut().filter(|(_, listens, _)| *listens == address)?;
            Some((other, *listener, *listens, armed.take()?))
        });
        let Some((other, listener, peer, theirs)) = found else {
            return self.net(node, NetEvent::DialFailed { link, error: NetError::Refused });
        };
        let mut local = at(node);
        local.set_port(40_000 + link.0 as u16);
        self.other.insert((node, link), (other, theirs));
        self.other.insert((other, theirs), (node, link));
        self.net(
            other,
            NetEvent::Accepted { listener, link: theirs, peer: local.into(), local: peer.into() },
        );
        self.net(node, NetEvent::Dialed { link, peer: peer.into(), local: local.into() });
    }

    /// What has arrived is read, if a read is armed; behind the last comes the end.
    fn deliver(&mut self, to: End) {
        if !self.armed.contains(&to) {
            return;
        }
        let next = self.inbox.get_mut(&to).and_then(VecDeque::pop_front);
        let Some(bytes) = next else { return };
        self.armed.remove(&to);
        let (node, link) = to;
        match bytes.is_empty() {
            true => self.net(node, NetEvent::PeerClosed { link }),
            false => self.net(node, NetEvent::Received { link, data: bytes.into() }),
        }
    }

    fn end(&mut self, from: End) {
        if let Some(other) = self.other.remove(&from) {
            self.inbox.entry(other).or_default().push_back(Vec::new());
            self.deliver(other);
        }
    }
}
