//! The seed's chapter 2 through its public face, on real sockets: both ends in one thread, each driven in turn.

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

#[test]
fn k1_kinds_and_both_forms_of_create_through_the_face() {
    let mut manager = manager();
    let again = ConnectionKind::plain(MANY, LinkRule::Many, Role::Both);
    assert_eq!(manager.register(again), Err(ConnectionError::KindTaken(MANY)));
    let bad = ConnectionKind::plain(KindId(2000), LinkRule::OnePerPair, Role::Both);
    assert!(matches!(manager.register(bad), Err(ConnectionError::BadKind(_))));
    assert_eq!(manager.create(KindId(2000)), Err(ConnectionError::UnknownKind(KindId(2000))));
    assert_eq!(manager.create(ACCEPT_ONLY), Err(ConnectionError::WrongRole(ACCEPT_ONLY)));
    assert_eq!(manager.create_to(DOOR, any_port(), None), Err(ConnectionError::WrongRole(DOOR)));
    let much = Dict::from([("much", "x".repeat(5 << 20).into())]);
    let refused = manager.create_to(MANY, any_port(), much);
    assert!(matches!(refused, Err(ConnectionError::TooLarge { .. })), "{refused:?}");
    let (one, two) = (manager.create(MANY).unwrap(), manager.create_to(MANY, any_port(), None).unwrap());
    assert_ne!(one, two);
    assert_eq!((manager.state(one), manager.kind(two)), (Some(ConnectionState::Idle), Some(MANY)));
    assert_eq!(manager.update(Duration::ZERO, &mut ()).unwrap(), 0);
}

#[test]
fn k2_n2_listen_answers_at_once_and_says_why_not() {
    let mut manager = manager();
    let (door, at) = listening(&mut manager);
    assert_ne!(at.port(), 0);
    assert_eq!(manager.state(door), Some(ConnectionState::Listening));
    let refused = |answer: Result<Address, ListenError>| match answer {
        Err(ListenError::Refused(error)) => error,
        other => panic!("{other:?}"),
    };
    assert_eq!(refused(manager.listen(NOBODY, any_port())), ConnectionError::UnknownConnection(NOBODY));
    let talker = manager.create(MANY).unwrap();
    assert_eq!(refused(manager.listen(talker, any_port())), ConnectionError::WrongRole(MANY));
    let twice = manager.listen(door, any_port());
    assert_eq!(refused(twice), ConnectionError::WrongState(ConnectionState::Listening));
    let other = manager.create(DOOR).unwrap();
    assert_eq!(refused(manager.listen(other, at)), ConnectionError::AlreadyListening(at.into()));
    let name: Address = "localhost:0".parse().unwrap();
    assert_eq!(refused(manager.listen(other, name)), ConnectionError::NotASocketAddress);
    let taken = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let holder = TcpListener::bind(taken).unwrap();
    let by_the_system = manager.listen(other, taken);
    assert!(
        matches!(&by_the_system, Err(ListenError::System(at, NetError::AddressInUse)) if *at == taken.into()),
        "{by_the_system:?}"
    );
    // The connection is idle again, and may listen elsewhere or, later, there.
    drop(holder);
    assert_eq!(manager.listen(other, taken).unwrap(), taken.into());
    // After its close an address can be listened on again, by the same connection.
    manager.close(door).unwrap();
    let mut heard = Log::default();
    while heard.0.is_empty() {
        manager.update(PATIENCE, &mut heard).unwrap();
    }
    assert_eq!(heard.0, [Heard::Disconnect(door, DisconnectReason::Closed)]);
    assert_eq!(manager.listen(door, at).unwrap(), at.into());
}

#[test]
fn k3_connect_only_when_idle_through_the_face() {
    let mut both = Both::new(MANY);
    let (near, id) = (&mut both.near, both.id);
    let wrong = |state| Err(ConnectionError::WrongState(state));
    assert_eq!(near.connect(id), wrong(ConnectionState::Connected));
    assert_eq!(near.connect(NOBODY), Err(ConnectionError::UnknownConnection(NOBODY)));
    let fresh = near.create(MANY).unwrap();
    assert_eq!(near.connect(fresh), Err(ConnectionError::NoTarget));
    near.connect_to(fresh, both.at).unwrap();
    assert_eq!(near.connect(fresh), wrong(ConnectionState::Connecting));
    let (door, _) = listening(near);
    assert_eq!(near.connect_to(door, both.at), Err(ConnectionError::WrongRole(DOOR)));
    near.close(id).unwrap();
    assert_eq!(near.connect(id), wrong(ConnectionState::Closing));
    let far_id = both.far_id;
    assert_eq!(both.far.connect_to(far_id, both.at), wrong(ConnectionState::Connected), "an accepted one");
}

#[test]
fn k4_each_connect_is_answered_once_with_the_reason() {
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let (mut near, mut far) = (manager(), manager());
    let (_, at) = listening(&mut far);
    let refused = near.create_to(MANY, free, None).unwrap();
    let named =
        near.create_to(MANY, format!("localhost:{}", at.port()).parse::<Address>().unwrap(), None).unwrap();
    let stranger = near.create_to(MANY, at, None).unwrap();
    near.connect(refused).unwrap();
    near.connect(named).unwrap();
    near.connect_expecting(stranger, InstanceId([9; 16])).unwrap();
    let (mut heard, mut heard_far) = (Log::default(), Log::default());
    drive((&mut near, &mut heard), (&mut far, &mut heard_far), |near, _| near.0.len() >= 3);
    assert!(heard.0.contains(&Heard::Disconnect(refused, DisconnectReason::Net(NetError::Refused))));
    assert!(heard.0.contains(&Heard::Connect(named)));
    let other = DisconnectReason::OtherInstance(far.instance());
    assert!(heard.0.contains(&Heard::Disconnect(stranger, other)), "{:?}", heard.0);
    assert_eq!(heard.0.len(), 3);
    assert_eq!(near.state(refused), Some(ConnectionState::Idle), "and may try again");
}

#[test]
fn k5_send_only_while_connected_and_nothing_of_the_links_own() {
    let mut both = Both::new(MANY);
    let idle = both.near.create(MANY).unwrap();
    let wrong = |state| Err(ConnectionError::WrongState(state));
    let hello = || b"hello".as_slice();
    assert_eq!(both.near.send(idle, hello()), wrong(ConnectionState::Idle));
    assert_eq!(both.near.send(NOBODY, hello()), Err(ConnectionError::UnknownConnection(NOBODY)));
    for reserved in 0..16 {
        let pack = DataPack::new(PackType(reserved), Vec::new());
        let refused = both.near.send_pack(both.id, pack);
        assert_eq!(refused, Err(ConnectionError::ReservedPackType(PackType(reserved))));
    }
    let much = both.near.send(both.id, vec![0; 5 << 20]);
    assert!(matches!(much, Err(ConnectionError::TooLarge { .. })), "{much:?}");
    // None of these was half sent.
    assert_eq!(both.near.send(both.id, hello()), Ok(0));
    assert_eq!(both.near.send(both.id, Dict::from([("n", 1.into())])), Ok(0));
    assert_eq!(both.near.send_pack(both.id, DataPack::new(PackType(99), b"own".to_vec())), Ok(0));
    both.near.close(both.id).unwrap();
    assert_eq!(both.near.send(both.id, hello()), wrong(ConnectionState::Closing));
    both.until(|near, far| ended(near) && ended(far));
    assert_eq!(both.near.send(both.id, hello()), wrong(ConnectionState::Idle));
    let far_id = both.far_id;
    assert_eq!(both.far.send(far_id, hello()), Err(ConnectionError::UnknownConnection(far_id)));
    let [Heard::Receive(_, raw), Heard::Receive(_, dict), Heard::Receive(_, own), Heard::Disconnect(..)] =
        &both.heard_far.0[..]
    else {
        panic!("{:?}", both.heard_far.0)
    };
    assert_eq!((&raw.bytes()[..], raw.is_dict(), raw.on()), (&b"hello"[..], false, far_id));
    assert_eq!(dict.dict().unwrap().get("n"), Some(&1.into()));
    assert_eq!(raw.clone().into_payload().unwrap(), Payload::Raw(b"hello".as_slice().into()));
    assert_eq!(own.clone().into_pack().pack_type, PackType(99));
}

#[test]
fn k6_close_brings_it_back_and_the_same_id_connects_again() {
    for kind in [MANY, ONE, PAIR] {
        let mut both = Both::new(kind);
        both.near.send(both.id, numbered(1)).unwrap();
        both.near.close(both.id).unwrap();
        // Twice is harmless.
        both.near.close(both.id).unwrap();
        both.until(|near, far| ended(near) && ended(far));
        assert_eq!(both.heard.0.last(), Some(&Heard::Disconnect(both.id, DisconnectReason::Closed)));
        assert_eq!(numbers(&both.heard_far.0), [1], "what was queued was sent first");
        assert_eq!(
            both.heard_far.0.last(),
            Some(&Heard::Disconnect(both.far_id, DisconnectReason::ClosedByPeer))
        );
        assert_eq!(both.near.state(both.id), Some(ConnectionState::Idle));
        assert_eq!((both.far.state(both.far_id), both.far.kind(both.far_id)), (None, None));
        both.clear();
        both.near.connect(both.id).unwrap();
        both.until(|near, far| !near.is_empty() && !far.is_empty());
        assert_eq!(both.heard.0, [Heard::Connect(both.id)]);
        assert!(!matches!(both.heard_far.0[0], Heard::Accept(id, _) if id == both.far_id), "ids are new");
    }
    let mut manager = manager();
    assert_eq!(manager.close(NOBODY), Err(ConnectionError::UnknownConnection(NOBODY)));
    assert_eq!(manager.discard(NOBODY), Err(ConnectionError::UnknownConnection(NOBODY)));
    // While it is connecting.
    let hole = TcpListener::bind("127.0.0.1:0").unwrap();
    let id = manager.create_to(MANY, hole.local_addr().unwrap(), None).unwrap();
    manager.connect(id).unwrap();
    manager.close(id).unwrap();
    assert_eq!(manager.state(id), Some(ConnectionState::Idle));
    let mut heard = Log::default();
    assert_eq!(manager.update(Duration::ZERO, &mut heard).unwrap(), 1);
    assert_eq!(heard.0, [Heard::Disconnect(id, DisconnectReason::Closed)]);
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

#[test]
fn k6_close_from_inside_on_disconnect() {
    let mut both = Both::new(MANY);
    both.far.close(both.far_id).unwrap();
    let mut near = Inside::new("on_disconnect", |connections, id| {
        assert_eq!(connections.state(id), Some(ConnectionState::Idle), "it is as created already");
        connections.close(id).unwrap();
        connections.close(id).unwrap();
        // And at once again.
        connections.connect(id).unwrap();
        assert_eq!(connections.state(id), Some(ConnectionState::Connecting));
    });
    drive((&mut both.near, &mut near), (&mut both.far, &mut both.heard_far), |near, _| near.log.0.len() >= 2);
    assert_eq!(
        near.log.0,
        [Heard::Disconnect(both.id, DisconnectReason::ClosedByPeer), Heard::Connect(both.id)],
        "told once, and up again"
    );
    // Given up and dialled again in one breath: each is told, in order.
    let mut both = Both::new(MANY);
    both.far.close(both.far_id).unwrap();
    let mut near = Inside::new("on_disconnect", |connections, id| {
        connections.connect(id).unwrap();
        connections.close(id).unwrap();
        connections.connect(id).unwrap();
    });
    let ends = |reason| Heard::Disconnect(both.id, reason);
    drive((&mut both.near, &mut near), (&mut both.far, &mut both.heard_far), |near, _| near.log.0.len() >= 3);
    let (theirs, ours) = (ends(DisconnectReason::ClosedByPeer), ends(DisconnectReason::Closed));
    assert_eq!(near.log.0, [theirs, ours, Heard::Connect(both.id)]);
    // An accepted connection is gone in its on_disconnect.
    let mut both = Both::new(MANY);
    both.near.close(both.id).unwrap();
    let mut far = Inside::new("on_disconnect", |connections, id| {
        assert_eq!(connections.close(id), Err(ConnectionError::UnknownConnection(id)));
        assert!(connections.peer(id).is_some(), "who it was is known until this returns");
    });
    drive((&mut both.near, &mut both.heard), (&mut both.far, &mut far), |_, far| ended(&far.log.0));
    assert_eq!(both.far.peer(both.far_id), None);
}

#[test]
fn k6_close_from_inside_every_other_handler() {
    for at in ["on_connect", "on_accept", "on_receive"] {
        let (mut near, mut far) = (manager(), manager());
        let (_, to) = listening(&mut far);
        let first = Dict::from([("n", 1.into())]);
        let id = near.create_to(MANY, to, first).unwrap();
        near.connect(id).unwrap();
        let close = |connections: &mut ConnectionManager, id| connections.close(id).unwrap();
        let (mut client, mut server) = (Inside::new(at, close), Inside::new(at, close));
        drive((&mut near, &mut client), (&mut far, &mut server), |client, server| {
            ended(&client.log.0) && ended(&server.log.0)
        });
        let ends = |log: &Log| log.0.iter().filter(|heard| matches!(heard, Heard::Disconnect(..))).count();
        assert_eq!((ends(&client.log), ends(&server.log)), (1, 1), "closed in {at}");
        assert_eq!((near.state(id), near.peer(id)), (Some(ConnectionState::Idle), None));
    }
}

#[test]
fn k6_connecting_again_and_again_from_inside_does_not_hold_an_update() {
    struct Again(usize);
    impl Handler for Again {
        fn on_disconnect(
            &mut self,
            connections: &mut ConnectionManager,
            id: ConnectionId,
            _: DisconnectReason,
        ) {
            self.0 += 1;
            // Both answered at once: it would never end if this update told what it brings about.
            connections.connect(id).unwrap();
            connections.close(id).unwrap();
        }
    }
    let hole = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut manager = manager();
    let id = manager.create_to(MANY, hole.local_addr().unwrap(), None).unwrap();
    manager.connect(id).unwrap();
    manager.close(id).unwrap();
    let mut again = Again(0);
    for round in 1..=100 {
        assert_eq!(manager.update(PATIENCE, &mut again).unwrap(), 1);
        assert_eq!(again.0, round);
    }
}

#[test]
fn k7_destroy_ends_everything_once_and_then_all_is_destroyed() {
    let mut both = Both::new(PAIR);
    both.near.send(both.id, numbered(1)).unwrap();
    let dialling = both.near.create_to(MANY, both.at, None).unwrap();
    both.near.connect(dialling).unwrap();
    let (door, at) = listening(&mut both.near);
    let idle = both.near.create(MANY).unwrap();
    both.near.destroy();
    both.near.destroy();
    assert_eq!(both.near.update(Duration::ZERO, &mut both.heard).unwrap(), 4);
    assert_eq!(both.near.update(Duration::ZERO, &mut both.heard).unwrap(), 0, "and nothing more");
    let ends = |id| Heard::Disconnect(id, DisconnectReason::Closed);
    assert!(matches!(&both.heard.0[0], Heard::Undelivered(id, messages)
        if *id == both.id && messages.iter().map(number).eq([1]) && messages[0].sequence() == 1));
    assert_eq!(both.heard.0[1..], [ends(both.id), ends(dialling), ends(door)]);
    let (near, id) = (&mut both.near, both.id);
    let destroyed = || ConnectionError::Destroyed;
    let kind = ConnectionKind::plain(KindId(2000), LinkRule::Many, Role::Both);
    assert_eq!(near.register(kind), Err(destroyed()));
    assert_eq!(near.create(MANY), Err(destroyed()));
    assert_eq!(near.create_to(MANY, at, None), Err(destroyed()));
    for id in [id, dialling, door, idle, NOBODY] {
        assert!(matches!(near.listen(id, at), Err(ListenError::Refused(error)) if error == destroyed()));
        assert_eq!(near.connect(id), Err(destroyed()));
        assert_eq!(near.connect_to(id, at), Err(destroyed()));
        assert_eq!(near.connect_expecting(id, InstanceId([1; 16])), Err(destroyed()));
        assert_eq!(near.send(id, numbered(1)), Err(destroyed()));
        assert_eq!(near.send_pack(id, DataPack::new(PackType::RAW, Vec::new())), Err(destroyed()));
        assert_eq!(near.ping(id), Err(destroyed()));
        assert_eq!(near.pause(id), Err(destroyed()));
        assert_eq!(near.resume(id), Err(destroyed()));
        assert_eq!(near.close(id), Err(destroyed()));
        assert_eq!(near.discard(id), Err(destroyed()));
        assert_eq!((near.state(id), near.kind(id), near.peer(id)), (None, None, None));
        assert!(!near.writable(id));
    }
    // The listener's address is free.
    TcpListener::bind(at).unwrap();
}

#[test]
fn k7_destroy_from_inside_a_handler_and_a_drop_close_everything() {
    let mut both = Both::new(MANY);
    both.far.send(both.far_id, numbered(1)).unwrap();
    both.far.send(both.far_id, numbered(2)).unwrap();
    let mut near = Inside::new("on_receive", |connections: &mut ConnectionManager, _| connections.destroy());
    drive((&mut both.near, &mut near), (&mut both.far, &mut both.heard_far), |near, far| {
        ended(&near.log.0) && ended(&far.0)
    });
    assert_eq!(near.log.0.last(), Some(&Heard::Disconnect(both.id, DisconnectReason::Closed)));
    let Both { near, mut far, mut heard_far, far_id, at, .. } = Both::new(ONE);
    drop(near);
    while !ended(&heard_far.0) {
        far.update(PATIENCE, &mut heard_far).unwrap();
    }
    assert!(matches!(heard_far.0[..], [Heard::Disconnect(id, _)] if id == far_id));
    drop(far);
    TcpListener::bind(at).unwrap();
}

#[test]
fn k8_accepted_ones_are_announced_once_and_outlive_their_listener() {
    let mut both = Both::new(MANY);
    let second = both.near.create_to(ACCEPT_ONLY, both.at, None);
    assert_eq!(second, Err(ConnectionError::WrongRole(ACCEPT_ONLY)));
    let second = both.near.create_to(ONE, both.at, None).unwrap();
    both.near.connect(second).unwrap();
    both.until(|_, far| !far.is_empty());
    let Heard::Accept(far_second, door) = both.heard_far.0[0] else { panic!("{:?}", both.heard_far.0) };
    assert_eq!(both.far.kind(far_second), Some(ONE), "of the kind that the dialler named");
    both.far.close(door).unwrap();
    both.until(|_, far| ended(far));
    both.clear();
    both.near.send(both.id, numbered(1)).unwrap();
    both.near.send(second, numbered(2)).unwrap();
    both.until(|_, far| far.len() >= 2);
    assert_eq!(both.heard_far.0.len(), 2);
    // Nobody else is accepted, and nobody is turned away at the door of a kind that is only dialled.
    let third = both.near.create_to(MANY, both.at, None).unwrap();
    both.near.connect(third).unwrap();
    both.until(|near, _| ended(near));
    assert_eq!(both.heard.0, [Heard::Disconnect(third, DisconnectReason::Net(NetError::Refused))]);
}

#[test]
fn k8_who_is_turned_away_hears_why() {
    let (mut near, mut far) = (manager(), manager());
    let (_, at) = listening(&mut far);
    let mut other = manager_with(|options| options.key = ClusterKey([4; 32]));
    let (mut heard, mut heard_far) = (Log::default(), Log::default());
    let id = other.create_to(MANY, at, None).unwrap();
    other.connect(id).unwrap();
    drive((&mut other, &mut heard), (&mut far, &mut heard_far), |near, far| {
        ended(&near.0) && far.0.len() == 1
    });
    assert_eq!(heard.0, [Heard::Disconnect(id, DisconnectReason::WrongKey)]);
    assert_eq!(heard_far.0, [Heard::TurnedAway(DisconnectReason::WrongKey)]);
    // The other end only dials it too.
    let id = near.create_to(DIAL_ONLY, at, None).unwrap();
    near.connect(id).unwrap();
    heard.0.clear();
    drive((&mut near, &mut heard), (&mut far, &mut heard_far), |near, far| {
        ended(&near.0) && far.0.len() == 2
    });
    assert_eq!(heard.0, [Heard::Disconnect(id, DisconnectReason::KindRefused)]);
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

/// A connection in each of its states, and what must live so that it stays in it.
fn in_state(
    state: ConnectionState,
) -> (ConnectionManager, ConnectionId, Vec<TcpListener>, Option<ConnectionManager>) {
    let mut manager = manager();
    match state {
        ConnectionState::Idle => {
            let id = manager.create_to(MANY, any_port(), None).unwrap();
            (manager, id, vec![], None)
        }
        ConnectionState::Connecting => {
            let silent = TcpListener::bind("127.0.0.1:0").unwrap();
            let id = manager.create_to(MANY, silent.local_addr().unwrap(), None).unwrap();
            manager.connect(id).unwrap();
            (manager, id, vec![silent], None)
        }
        ConnectionState::Connected | ConnectionState::Closing => {
            let Both { mut near, far, id, .. } = Both::new(MANY);
            if state == ConnectionState::Closing {
                near.close(id).unwrap();
            }
            (near, id, vec![], Some(far))
        }
        ConnectionState::Listening => {
            let (id, _) = listening(&mut manager);
            (manager, id, vec![], None)
        }
    }
}

#[test]
fn k2_k3_k5_k6_the_guides_table_of_operations_and_states() {
    use ConnectionState as S;
    type Operation = fn(&mut ConnectionManager, ConnectionId) -> Result<(), ConnectionError>;
    let listen: Operation = |manager, id| match manager.listen(id, any_port()) {
        Ok(_) => Ok(()),
        Err(ListenError::Refused(error)) => Err(error),
        Err(error) => panic!("{error}"),
    };
    let (role, door) = (Err(ConnectionError::WrongRole(MANY)), Err(ConnectionError::WrongRole(DOOR)));
    let wrong = |state| Err(ConnectionError::WrongState(state));
    let up = |state| if state == S::Connected { Ok(()) } else { wrong(state) };
    for state in [S::Idle, S::Connecting, S::Connected, S::Listening, S::Closing] {
        let only_idle = match state {
            S::Idle => Ok(()),
            S::Listening => door.clone(),
            S::Connecting | S::Connected | S::Closing => wrong(state),
        };
        let table: [(&str, Operation, Result<(), ConnectionError>); 9] = [
            ("listen", listen, if state == S::Listening { wrong(state) } else { role.clone() }),
            ("connect", |manager, id| manager.connect(id), only_idle.clone()),
            ("connect_to", |manager, id| manager.connect_to(id, any_port()), only_idle),
            ("send", |manager, id| manager.send(id, numbered(1)).map(drop), up(state)),
            ("ping", |manager, id| manager.ping(id), up(state)),
            ("pause", |manager, id| manager.pause(id), up(state)),
            ("resume", |manager, id| manager.resume(id), up(state)),
            ("close", |manager, id| manager.close(id), Ok(())),
            ("discard", |manager, id| manager.discard(id), Ok(())),
        ];
        for (name, operation, expected) in table {
            let (mut manager, id, _held, _far) = in_state(state);
            assert_eq!(manager.state(id), Some(state));
            assert_eq!(operation(&mut manager, id), expected, "{name} while {state:?}");
            if expected.is_err() {
                assert_eq!(manager.state(id), Some(state), "{name} has changed nothing");
            }
        }
    }
    // A kind that listens, idle and closing.
    let mut manager = manager();
    let (listener, at) = listening(&mut manager);
    manager.close(listener).unwrap();
    assert_eq!(listen(&mut manager, listener), wrong(S::Closing));
    let idle = manager.create(DOOR).unwrap();
    assert_eq!((manager.connect_to(idle, at), listen(&mut manager, idle)), (door, Ok(())));
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

/// Passes links on to an address, until they are cut.
struct Relay {
    at: SocketAddr,
    links: Arc<Mutex<Vec<TcpStream>>>,
}

impl Relay {
    fn start(to: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let at = listener.local_addr().unwrap();
        let links: Arc<Mutex<Vec<TcpStream>>> = Arc::default();
        let kept = Arc::clone(&links);
        std::thread::spawn(move || {
            for near in listener.incoming() {
                let (near, far) = (near.unwrap(), TcpStream::connect(to).unwrap());
                // First, so that whatever has passed can be cut.
                kept.lock().unwrap().extend([near.try_clone().unwrap(), far.try_clone().unwrap()]);
                for (from, into) in [(&near, &far), (&far, &near)] {
                    let (mut from, mut into) = (from.try_clone().unwrap(), into.try_clone().unwrap());
                    std::thread::spawn(move || io::copy(&mut from, &mut into));
                }
            }
        });
        Self { at, links }
    }

    /// Both ends of each link hear of it.
    fn cut(&self) {
        self.links.lock().unwrap().drain(..).for_each(|link| _ = link.shutdown(std::net::Shutdown::Both));
    }
}

#[test]
fn n4_a_session_goes_on_by_itself_when_its_link_is_cut() {
    let (mut near, mut far) = (manager(), manager());
    let (_, at) = listening(&mut far);
    let relay = Relay::start(at);
    let id = near.create_to(PAIR, relay.at, None).unwrap();
    near.connect(id).unwrap();
    let (mut heard, mut heard_far) = (Log::default(), Log::default());
    drive((&mut near, &mut heard), (&mut far, &mut heard_far), |near, far| near.0.len() + far.0.len() == 2);
    let far_id = match heard_far.0[..] {
        [Heard::Accept(far_id, _)] => far_id,
        ref other => panic!("{other:?}"),
    };
    for round in 0..3 {
        (0..50).for_each(|n| _ = near.send(id, numbered(round * 100 + n)).unwrap());
        relay.cut();
        (50..100).for_each(|n| _ = near.send(id, numbered(round * 100 + n)).unwrap());
        let told = |heard: &Log, what: &Heard| heard.0.iter().filter(|heard| *heard == what).count() as u64;
        drive((&mut near, &mut heard), (&mut far, &mut heard_far), |near, far| {
            numbers(&far.0).len() as u64 == (round + 1) * 100
                && told(near, &Heard::Resumed(id)) == round + 1
                && told(far, &Heard::Resumed(far_id)) == round + 1
        });
        assert_eq!(told(&heard, &Heard::Interrupted(id)), round + 1);
        assert_eq!(told(&heard_far, &Heard::Interrupted(far_id)), round + 1);
        // All the while it was connected, whatever its links did.
        assert_eq!([near.state(id), far.state(far_id)], [Some(ConnectionState::Connected); 2]);
    }
    assert!(numbers(&heard_far.0).into_iter().eq(0..300), "each once and in order");
    assert!(!ended(&heard.0) && !ended(&heard_far.0));
    assert_eq!(near.statistics(id).unwrap().breaks, 3);
}

#[test]
fn what_is_held_is_acknowledged_when_it_is_taken() {
    #[derive(Default)]
    struct Holder {
        held: Vec<Held>,
        received: u64,
    }
    impl Handler for Holder {
        fn on_receive(&mut self, connections: &mut ConnectionManager, _: ConnectionId, message: Message) {
            self.received += 1;
            if [2, 4].contains(&message.sequence()) {
                self.held.push(connections.hold(message));
            }
        }
    }
    let mut both = Both::new(PAIR);
    for n in 1..=6 {
        assert_eq!(both.near.send(both.id, numbered(n)), Ok(n), "what will be acknowledged");
    }
    let mut holder = Holder::default();
    let id = both.id;
    let acknowledged = |heard: &Log, sequence| heard.0.contains(&Heard::Acknowledged(id, sequence));
    drive((&mut both.near, &mut both.heard), (&mut both.far, &mut holder), |near, holder| {
        holder.received == 6 && acknowledged(near, 1)
    });
    let two = holder.held.remove(0);
    assert_eq!((number(&two), two.sequence()), (2, 2));
    // Out of order: what is held before it holds it back.
    let four = holder.held.remove(0);
    assert_eq!(number(&both.far.take(four)), 4);
    for _ in 0..20 {
        both.near.update(Duration::from_millis(1), &mut both.heard).unwrap();
        both.far.update(Duration::from_millis(1), &mut holder).unwrap();
    }
    assert_eq!(both.heard.0, [Heard::Acknowledged(id, 1)]);
    both.far.take(two);
    drive((&mut both.near, &mut both.heard), (&mut both.far, &mut holder), |near, _| acknowledged(near, 6));
    assert_eq!(both.near.send(both.id, numbered(7)), Ok(7));
}

#[test]
fn n4_what_is_closed_upon_was_taken() {
    let mut both = Both::new(PAIR);
    both.far.send(both.far_id, numbered(1)).unwrap();
    // Nothing of its own is under way: its goodbye leaves before on_receive has returned.
    let mut near = Inside::new("on_receive", |connections: &mut ConnectionManager, id| {
        connections.close(id).unwrap();
    });
    drive((&mut both.near, &mut near), (&mut both.far, &mut both.heard_far), |near, far| {
        ended(&near.log.0) && ended(&far.0)
    });
    let closed = Heard::Disconnect(both.far_id, DisconnectReason::ClosedByPeer);
    assert_eq!(both.heard_far.0, [Heard::Acknowledged(both.far_id, 1), closed]);
}

#[test]
fn what_is_held_beyond_its_session_says_nothing_to_the_next() {
    struct Holder(Vec<Held>);
    impl Handler for Holder {
        fn on_receive(&mut self, connections: &mut ConnectionManager, _: ConnectionId, message: Message) {
            self.0.push(connections.hold(message));
        }
    }
    let close_soon = |options: &mut ManagerOptions| options.limits.close = Duration::from_millis(50);
    let mut both = Both::with(PAIR, close_soon);
    // The dialler holds: its connection keeps its id from one session to the next.
    both.far.send(both.far_id, numbered(1)).unwrap();
    let mut holder = Holder(vec![]);
    drive((&mut both.near, &mut holder), (&mut both.far, &mut both.heard_far), |holder, _| {
        holder.0.len() == 1
    });
    both.near.close(both.id).unwrap();
    both.until(|near, far| ended(near) && ended(far));
    assert!(both.heard_far.0.iter().any(|heard| matches!(heard, Heard::Undelivered(_, messages)
        if messages.iter().map(number).eq([1]))));
    both.clear();
    both.near.connect(both.id).unwrap();
    both.until(|near, far| !near.is_empty() && !far.is_empty());
    let Heard::Accept(again, _) = both.heard_far.0[0] else { panic!("{:?}", both.heard_far.0) };
    both.far.send(again, numbered(10)).unwrap();
    drive((&mut both.near, &mut holder), (&mut both.far, &mut both.heard_far), |holder, _| {
        holder.0.len() == 2
    });
    // The old one has the same sequence as the new one, and is no word about it.
    both.near.take(holder.0.remove(0));
    for _ in 0..20 {
        both.near.update(Duration::from_millis(1), &mut holder).unwrap();
        both.far.update(Duration::from_millis(1), &mut both.heard_far).unwrap();
    }
    assert!(!both.heard_far.0.contains(&Heard::Acknowledged(again, 1)));
    both.near.take(holder.0.remove(0));
    both.until(|_, far| far.contains(&Heard::Acknowledged(again, 1)));
}

#[test]
fn k7_discard_forgets_what_was_not_told_yet() {
    let mut both = Both::new(MANY);
    for n in 0..10 {
        both.far.send(both.far_id, numbered(n)).unwrap();
    }
    both.far.close(both.far_id).unwrap();
    // All of it is on its way, and comes to the other end at once.
    for _ in 0..10 {
        both.far.update(Duration::from_millis(1), &mut both.heard_far).unwrap();
    }
    let mut near = Inside::new("on_receive", |connections: &mut ConnectionManager, id| {
        connections.discard(id).unwrap();
        assert_eq!((connections.state(id), connections.kind(id), connections.peer(id)), (None, None, None));
        assert_eq!(connections.discard(id), Err(ConnectionError::UnknownConnection(id)));
    });
    drive((&mut both.near, &mut near), (&mut both.far, &mut both.heard_far), |near, far| {
        !near.log.0.is_empty() && ended(&far.0)
    });
    for _ in 0..10 {
        both.near.update(Duration::from_millis(1), &mut near).unwrap();
    }
    assert_eq!(numbers(&near.log.0), [0]);
    assert_eq!(near.log.0.len(), 1, "without a word: {:?}", near.log.0);
}

#[test]
fn an_update_from_inside_a_handler_is_an_error_and_does_nothing() {
    let mut both = Both::new(MANY);
    both.far.send(both.far_id, numbered(1)).unwrap();
    let mut near = Inside::new("on_receive", |connections: &mut ConnectionManager, _| {
        let mut inner = Log::default();
        let error = connections.update(PATIENCE, &mut inner).unwrap_err();
        assert_eq!((error.kind(), inner.0.len()), (io::ErrorKind::Other, 0));
    });
    drive((&mut both.near, &mut near), (&mut both.far, &mut both.heard_far), |near, _| near.act.is_none());
    // Afterwards, and also after a panic in a handler, it works again.
    both.far.send(both.far_id, numbered(2)).unwrap();
    let mut panics = Inside::new("on_receive", |_: &mut ConnectionManager, _| panic!("in a handler"));
    let updates = std::panic::AssertUnwindSafe(|| {
        drive((&mut both.near, &mut panics), (&mut both.far, &mut both.heard_far), |_, _| false);
    });
    assert!(std::panic::catch_unwind(updates).is_err());
    both.far.send(both.far_id, numbered(3)).unwrap();
    both.until(|near, _| numbers(near) == [3]);
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

#[test]
fn n8_a_session_whose_peer_takes_nothing_says_full_and_then_writable() {
    let small = |options: &mut ManagerOptions| {
        options.limits.session_window = 32 << 10;
        options.limits.high_water = 64 << 10;
        options.limits.session_queue = 128 << 10;
    };
    let mut both = Both::with(PAIR, small);
    let mut sent = 0;
    let message = |n: u64| [numbered(n), vec![0; 1000]].concat();
    while both.near.send(both.id, message(sent)).is_ok() {
        sent += 1;
    }
    assert_eq!(both.near.send(both.id, message(sent)), Err(ConnectionError::QueueFull));
    assert!(!both.near.writable(both.id));
    let id = both.id;
    both.until(|near, far| near.contains(&Heard::Writable(id)) && numbers(far).len() as u64 == sent);
    assert!(numbers(&both.heard_far.0).into_iter().eq(0..sent));
    assert!(both.near.writable(id));
    assert!(both.near.send(id, message(sent)).is_ok());
}

#[test]
fn n8_a_plain_connection_can_be_paused_and_an_unread_one_ends() {
    let mut both = Both::new(MANY);
    both.far.pause(both.far_id).unwrap();
    let much = vec![0; 1 << 20];
    let full = loop {
        match both.near.send(both.id, much.clone()) {
            Ok(_) => both.far.update(Duration::ZERO, &mut both.heard_far).map(drop).unwrap(),
            Err(error) => break error,
        }
    };
    assert_eq!(full, ConnectionError::OutboxFull);
    both.until(|near, _| ended(near));
    assert_eq!(both.heard.0.last(), Some(&Heard::Disconnect(both.id, DisconnectReason::SlowPeer)));
    // One that is read again gets all of it.
    let mut both = Both::new(MANY);
    both.far.pause(both.far_id).unwrap();
    for n in 0..10 {
        both.near.send(both.id, [numbered(n), vec![0; 1 << 20]].concat()).unwrap();
    }
    both.far.resume(both.far_id).unwrap();
    both.until(|_, far| numbers(far).len() == 10);
    assert!(numbers(&both.heard_far.0).into_iter().eq(0..10));
    let idle = both.near.create(MANY).unwrap();
    let wrong = Err(ConnectionError::WrongState(ConnectionState::Idle));
    assert_eq!(
        (both.near.pause(idle), both.near.resume(idle), both.near.ping(idle)),
        (wrong.clone(), wrong.clone(), wrong)
    );
    both.near.ping(both.id).unwrap();
    let id = both.id;
    both.until(|near, _| near.contains(&Heard::Pong(id)));
    let now = both.near.statistics(id).unwrap();
    assert!(now.links == 1 && now.traffic.sent.bytes > 10 << 20 && now.round_trip.is_some(), "{now:?}");
    assert_eq!(
        (both.near.statistics(idle), both.near.statistics(NOBODY)),
        (Some(Statistics::default()), None)
    );
}

#[test]
fn k8_one_batch_with_an_accept_a_message_and_the_end_is_whole() {
    let (mut near, mut far) = (manager(), manager());
    let (_, at) = listening(&mut far);
    let id = near.create_to(MANY, at, Dict::from([("n", 1.into())])).unwrap();
    near.connect(id).unwrap();
    let mut client = Inside::new("on_connect", |connections: &mut ConnectionManager, id| {
        connections.close(id).unwrap();
    });
    let mut heard = Log::default();
    drive((&mut near, &mut client), (&mut far, &mut heard), |_, far| ended(&far.0));
    assert!(
        matches!(heard.0[..], [Heard::Accept(a, _), Heard::Receive(b, _), Heard::Disconnect(c, DisconnectReason::ClosedByPeer)]
            if a == b && b == c),
        "{:?}",
        heard.0
    );
}
