//! The seed's chapter 2 through its public face, on real sockets: both ends in one thread, each driven in turn.

mod accepting;
mod closing;
mod operations;
mod traffic;

use super::*;
use std::io;
use std::net::SocketAddr;
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use std::time::Instant;
use xxnet_core::pack::DataPack;
use xxnet_core::pack::PackType;

const MANY: KindId = KindId(1024);
const ONE: KindId = KindId(1025);
const PAIR: KindId = KindId(1026);
const DOOR: KindId = KindId(1027);
const DIAL_ONLY: KindId = KindId(1028);
const ACCEPT_ONLY: KindId = KindId(1029);
/// Longer than anything here takes; only a failure waits so long.
const PATIENCE: Duration = Duration::from_secs(30);
const NOBODY: ConnectionId = ConnectionId(4711);

/// What was heard, in order.
#[derive(Debug, PartialEq)]
enum Heard {
    Connect(ConnectionId),
    Accept(ConnectionId, ConnectionId),
    Receive(ConnectionId, Message),
    Disconnect(ConnectionId, DisconnectReason),
    Undelivered(ConnectionId, Vec<Message>),
    Acknowledged(ConnectionId, u64),
    Writable(ConnectionId),
    Interrupted(ConnectionId),
    Resumed(ConnectionId),
    Pong(ConnectionId),
    TurnedAway(DisconnectReason),
}

/// Writes everything down.
#[derive(Default)]
struct Log(Vec<Heard>);

impl Handler for Log {
    fn on_connect(&mut self, connections: &mut ConnectionManager, id: ConnectionId, peer: &PeerInfo) {
        assert_eq!(connections.peer(id), Some(peer));
        self.0.push(Heard::Connect(id));
    }

    fn on_accept(
        &mut self,
        connections: &mut ConnectionManager,
        id: ConnectionId,
        peer: &PeerInfo,
        listener: ConnectionId,
    ) {
        assert_eq!(connections.peer(id), Some(peer));
        self.0.push(Heard::Accept(id, listener));
    }

    fn on_receive(&mut self, connections: &mut ConnectionManager, id: ConnectionId, message: Message) {
        assert!(connections.kind(id).is_some() && connections.peer(id).is_some(), "{id} is known to the end");
        self.0.push(Heard::Receive(id, message));
    }

    fn on_disconnect(&mut self, _: &mut ConnectionManager, id: ConnectionId, reason: DisconnectReason) {
        self.0.push(Heard::Disconnect(id, reason));
    }

    fn on_undelivered(&mut self, _: &mut ConnectionManager, id: ConnectionId, messages: Vec<Message>) {
        self.0.push(Heard::Undelivered(id, messages));
    }

    fn on_acknowledged(&mut self, _: &mut ConnectionManager, id: ConnectionId, sequence: u64) {
        self.0.push(Heard::Acknowledged(id, sequence));
    }

    fn on_writable(&mut self, _: &mut ConnectionManager, id: ConnectionId) {
        self.0.push(Heard::Writable(id));
    }

    fn on_interrupted(&mut self, _: &mut ConnectionManager, id: ConnectionId, _: DisconnectReason) {
        self.0.push(Heard::Interrupted(id));
    }

    fn on_resumed(&mut self, _: &mut ConnectionManager, id: ConnectionId) {
        self.0.push(Heard::Resumed(id));
    }

    fn on_pong(&mut self, _: &mut ConnectionManager, id: ConnectionId, _: Duration) {
        self.0.push(Heard::Pong(id));
    }

    fn on_turned_away(
        &mut self,
        _: &mut ConnectionManager,
        _: xxnet_core::net::Endpoint,
        reason: DisconnectReason,
    ) {
        self.0.push(Heard::TurnedAway(reason));
    }
}

fn manager_with(change: impl FnOnce(&mut ManagerOptions)) -> ConnectionManager {
    let mut options = ManagerOptions::new(ClusterKey([3; 32]));
    change(&mut options);
    let mut manager = ConnectionManager::new(options).unwrap();
    for kind in [
        ConnectionKind::plain(MANY, LinkRule::Many, Role::Both),
        ConnectionKind::plain(ONE, LinkRule::OnePerDialler, Role::Both),
        ConnectionKind::session(PAIR, LinkRule::OnePerPair, Role::Both),
        ConnectionKind::plain(DOOR, LinkRule::Many, Role::Listen),
        ConnectionKind::plain(DIAL_ONLY, LinkRule::Many, Role::Dial),
        ConnectionKind::plain(ACCEPT_ONLY, LinkRule::Many, Role::Accept),
    ] {
        manager.register(kind).unwrap();
    }
    manager
}

fn manager() -> ConnectionManager {
    manager_with(|_| {})
}

fn any_port() -> Address {
    "127.0.0.1:0".parse().unwrap()
}

fn listening(manager: &mut ConnectionManager) -> (ConnectionId, SocketAddr) {
    let door = manager.create(DOOR).unwrap();
    let at = manager.listen(door, any_port()).unwrap().socket().unwrap();
    (door, at)
}

/// Drives two ends until it is so.
fn drive<A: Handler, B: Handler>(
    (near, client): (&mut ConnectionManager, &mut A),
    (far, server): (&mut ConnectionManager, &mut B),
    mut until: impl FnMut(&A, &B) -> bool,
) {
    let end = Instant::now() + PATIENCE;
    while !until(client, server) {
        assert!(Instant::now() < end, "it never came to be");
        near.update(Duration::from_millis(1), client).unwrap();
        far.update(Duration::from_millis(1), server).unwrap();
    }
}

/// Two ends with one connection of a kind, and what has been heard.
struct Both {
    near: ConnectionManager,
    far: ConnectionManager,
    heard: Log,
    heard_far: Log,
    id: ConnectionId,
    far_id: ConnectionId,
    at: SocketAddr,
}

impl Both {
    fn new(kind: KindId) -> Self {
        Self::with(kind, |_| {})
    }

    fn with(kind: KindId, change: impl Fn(&mut ManagerOptions)) -> Self {
        let (mut near, mut far) = (manager_with(&change), manager_with(&change));
        let (_, at) = listening(&mut far);
        let id = near.create(kind).unwrap();
        near.connect_to(id, at).unwrap();
        let mut both =
            Self { near, far, heard: Log::default(), heard_far: Log::default(), id, far_id: NOBODY, at };
        both.until(|near, far| !near.is_empty() && !far.is_empty());
        assert_eq!(both.heard.0, [Heard::Connect(id)]);
        let Heard::Accept(far_id, _) = both.heard_far.0[0] else { panic!("{:?}", both.heard_far.0) };
        both.far_id = far_id;
        both.clear();
        both
    }

    fn until(&mut self, mut is_so: impl FnMut(&[Heard], &[Heard]) -> bool) {
        drive((&mut self.near, &mut self.heard), (&mut self.far, &mut self.heard_far), |near, far| {
            is_so(&near.0, &far.0)
        });
    }

    fn clear(&mut self) {
        self.heard.0.clear();
        self.heard_far.0.clear();
    }
}

fn numbered(n: u64) -> Vec<u8> {
    n.to_le_bytes().to_vec()
}

fn number(message: &Message) -> u64 {
    u64::from_le_bytes(message.bytes()[..8].try_into().unwrap())
}

fn numbers(heard: &[Heard]) -> Vec<u64> {
    let of = |heard: &Heard| match heard {
        Heard::Receive(_, message) => Some(number(message)),
        _ => None,
    };
    heard.iter().filter_map(of).collect()
}

fn ended(heard: &[Heard]) -> bool {
    heard.iter().any(|heard| matches!(heard, Heard::Disconnect(..)))
}

#[test]
fn it_can_be_moved_to_another_thread() {
    fn is_send<T: Send>() {}
    is_send::<ConnectionManager>();
    is_send::<Message>();
    is_send::<Held>();
}

/// Does something once, from inside one of its methods.
struct Inside<F> {
    at: &'static str,
    act: Option<F>,
    log: Log,
}

impl<F: FnOnce(&mut ConnectionManager, ConnectionId)> Inside<F> {
    fn new(at: &'static str, act: F) -> Self {
        Self { at, act: Some(act), log: Log::default() }
    }

    fn act(&mut self, at: &str, connections: &mut ConnectionManager, id: ConnectionId) {
        if self.at == at
            && let Some(act) = self.act.take()
        {
            act(connections, id);
        }
    }
}

impl<F: FnOnce(&mut ConnectionManager, ConnectionId)> Handler for Inside<F> {
    fn on_connect(&mut self, connections: &mut ConnectionManager, id: ConnectionId, peer: &PeerInfo) {
        self.log.on_connect(connections, id, peer);
        self.act("on_connect", connections, id);
    }

    fn on_accept(
        &mut self,
        connections: &mut ConnectionManager,
        id: ConnectionId,
        peer: &PeerInfo,
        listener: ConnectionId,
    ) {
        self.log.on_accept(connections, id, peer, listener);
        self.act("on_accept", connections, id);
    }

    fn on_receive(&mut self, connections: &mut ConnectionManager, id: ConnectionId, message: Message) {
        self.log.on_receive(connections, id, message);
        self.act("on_receive", connections, id);
    }

    fn on_disconnect(
        &mut self,
        connections: &mut ConnectionManager,
        id: ConnectionId,
        reason: DisconnectReason,
    ) {
        self.log.on_disconnect(connections, id, reason);
        self.act("on_disconnect", connections, id);
    }
}

/// The seed's client: connects, sends, receives, closes at once.
#[derive(Default)]
struct Client {
    answer: Option<Dict>,
    over: Option<DisconnectReason>,
    undelivered: usize,
}

impl Handler for Client {
    fn on_connect(&mut self, connections: &mut ConnectionManager, id: ConnectionId, _: &PeerInfo) {
        connections.send(id, Dict::from([("question", "6 x 7".into())])).unwrap();
    }

    fn on_receive(&mut self, connections: &mut ConnectionManager, id: ConnectionId, message: Message) {
        self.answer = Some(message.dict().unwrap());
        connections.close(id).unwrap();
    }

    fn on_disconnect(&mut self, _: &mut ConnectionManager, _: ConnectionId, reason: DisconnectReason) {
        assert_eq!(self.over.replace(reason), None, "once");
    }

    fn on_undelivered(&mut self, _: &mut ConnectionManager, _: ConnectionId, messages: Vec<Message>) {
        self.undelivered += messages.len();
    }
}

/// The seed's server: accepts, receives, replies, waits for the other end to close.
#[derive(Default)]
struct Server(Client);

impl Handler for Server {
    fn on_receive(&mut self, connections: &mut ConnectionManager, id: ConnectionId, message: Message) {
        self.0.answer = Some(message.dict().unwrap());
        connections.send(id, Dict::from([("answer", 42.into())])).unwrap();
    }

    fn on_disconnect(
        &mut self,
        connections: &mut ConnectionManager,
        id: ConnectionId,
        reason: DisconnectReason,
    ) {
        self.0.on_disconnect(connections, id, reason);
    }

    fn on_undelivered(
        &mut self,
        connections: &mut ConnectionManager,
        id: ConnectionId,
        messages: Vec<Message>,
    ) {
        self.0.on_undelivered(connections, id, messages);
    }
}

#[test]
fn k9_the_seeds_integration_test_through_the_face() {
    for kind in [MANY, ONE, PAIR] {
        let (mut near, mut far) = (manager(), manager());
        let (_, at) = listening(&mut far);
        let id = near.create_to(kind, at, None).unwrap();
        near.connect(id).unwrap();
        let (mut client, mut server) = (Client::default(), Server::default());
        drive((&mut near, &mut client), (&mut far, &mut server), |client, server| {
            client.over.is_some() && server.0.over.is_some()
        });
        assert_eq!(client.answer, Some(Dict::from([("answer", 42.into())])));
        assert_eq!(server.0.answer, Some(Dict::from([("question", "6 x 7".into())])));
        assert_eq!(client.over, Some(DisconnectReason::Closed));
        assert_eq!(server.0.over, Some(DisconnectReason::ClosedByPeer));
        // The client closed from inside on_receive: it has received, and the server knows.
        assert_eq!((client.undelivered, server.0.undelivered), (0, 0), "{kind}");
    }
}

#[test]
fn an_update_waits_no_longer_than_it_is_told() {
    let mut manager = manager();
    let (_, at) = listening(&mut manager);
    // A newcomer that has said nothing yet wakes it, and is nothing to be told.
    let _newcomer = TcpStream::connect(at).unwrap();
    let begun = Instant::now();
    assert_eq!(manager.update(Duration::from_millis(30), &mut ()).unwrap(), 0);
    assert!(begun.elapsed() >= Duration::from_millis(29));
    // For ever, if nothing has happened; here something has.
    let mut both = Both::new(MANY);
    both.far.send(both.far_id, numbered(1)).unwrap();
    assert_eq!(both.near.update(Duration::MAX, &mut both.heard).unwrap(), 1);
}
