//! The connection layer's ledger once more, on real sockets.
#![allow(missing_docs, clippy::unwrap_used)]

use socket2::SockRef;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::sync::mpsc::{self, Receiver};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};
use xxnet_core::connection::*;
use xxnet_core::net::NetError;
use xxnet_core::pack::{DataPack, PackType};
use xxnet_core::{Address, ClusterKey, Config, ConnectionId, Dict, InstanceId, Token};
use xxnet_runtime_mio::{Driver, Flow, Handle, Options};

const MANY: KindId = KindId(1024);
const ONE: KindId = KindId(1025);
const LISTENER: KindId = KindId(1026);
/// Longer than anything here takes; only a failure waits so long.
const PATIENCE: Duration = Duration::from_secs(30);
const STOP: Token = Token(u64::MAX);

/// A node on a thread of its own.
struct Node {
    handle: Handle<ConnectionCommand>,
    notices: Receiver<ConnectionNotice>,
    thread: Option<JoinHandle<[usize; 4]>>,
    tokens: u64,
    instance: InstanceId,
}

impl Node {
    fn new(number: u8) -> Self {
        Self::with(number, |_| {})
    }

    fn with(number: u8, change: impl FnOnce(&mut Config)) -> Self {
        let instance = InstanceId([number; 16]);
        let key = ClusterKey(*b"a cluster key that is 32 bytes !");
        let mut config = Config::new(instance, format!("node-{number}"), key, u64::from(number));
        change(&mut config);
        let mut driver = Driver::new(Connections::new(&config), Options::default()).unwrap();
        let handle = driver.handle();
        let (tell, notices) = mpsc::channel();
        let thread = thread::spawn(move || {
            let stop =
                |notice: &ConnectionNotice| matches!(notice, ConnectionNotice::Rejected { token: STOP, .. });
            driver
                .run(|notice, _| {
                    let flow = if stop(&notice) { Flow::Stop } else { Flow::Continue };
                    _ = tell.send(notice);
                    flow
                })
                .unwrap();
            driver.machine().manager().check_invariants();
            driver.machine().manager().census()
        });
        let mut node = Self { handle, notices, thread: Some(thread), tokens: 0, instance };
        for (id, rule, role) in [
            (MANY, LinkRule::Many, Role::Both),
            (ONE, LinkRule::OnePerDialler, Role::Both),
            (LISTENER, LinkRule::Many, Role::Listen),
        ] {
            let token = node.token();
            let kind = ConnectionKind::plain(id, rule, role);
            node.command(ConnectionCommand::Register { token, kind });
        }
        node
    }

    fn token(&mut self) -> Token {
        Token::next(&mut self.tokens)
    }

    fn command(&self, command: ConnectionCommand) {
        self.handle.send(command).unwrap();
    }

    /// The next notice that `wanted` has something to say to; others are passed over.
    fn wait<T>(&self, what: &str, mut wanted: impl FnMut(ConnectionNotice) -> Option<T>) -> T {
        let end = Instant::now() + PATIENCE;
        let mut passed = Vec::new();
        loop {
            let left = end.saturating_duration_since(Instant::now());
            let Ok(notice) = self.notices.recv_timeout(left) else {
                panic!("{what} did not happen, only {passed:?}")
            };
            passed.push(notice.clone());
            if let Some(found) = wanted(notice) {
                return found;
            }
        }
    }

    fn event<T>(&self, what: &str, mut wanted: impl FnMut(ConnectionEvent) -> Option<T>) -> T {
        self.wait(what, |notice| match notice {
            ConnectionNotice::Event(event) => wanted(event),
            _ => None,
        })
    }

    fn create(&mut self, kind: KindId) -> ConnectionId {
        let token = self.token();
        self.command(ConnectionCommand::Create { token, kind });
        self.wait("a create", |notice| match notice {
            ConnectionNotice::Created { token: told, id } if told == token => Some(id),
            _ => None,
        })
    }

    /// What a listen is answered.
    fn listen(&mut self, id: ConnectionId, at: SocketAddr) -> Result<SocketAddr, String> {
        let token = self.token();
        self.command(ConnectionCommand::Listen { token, id, address: at.into() });
        self.wait("a listen", |notice| match notice {
            ConnectionNotice::Rejected { token: told, error } if told == token => {
                Some(Err(format!("{error:?}")))
            }
            ConnectionNotice::Event(ConnectionEvent::Listening { id: told, address }) if told == id => {
                Some(Ok(address.socket().unwrap()))
            }
            ConnectionNotice::Event(ConnectionEvent::ListenFailed { id: told, error, .. }) if told == id => {
                Some(Err(format!("{error:?}")))
            }
            _ => None,
        })
    }

    fn listener(&mut self, at: &str) -> (ConnectionId, SocketAddr) {
        let id = self.create(LISTENER);
        let at = self.listen(id, at.parse().unwrap()).unwrap();
        (id, at)
    }

    fn connect(&mut self, id: ConnectionId, to: impl Into<Address>) {
        let token = self.token();
        self.command(ConnectionCommand::Connect { token, id, target: Some(to.into()), expect: None });
    }

    /// How a connect ends.
    fn connected(&mut self, kind: KindId, to: impl Into<Address>) -> Result<ConnectionId, DisconnectReason> {
        let id = self.create(kind);
        self.connect(id, to);
        self.outcome(id).map(|()| id)
    }

    fn outcome(&self, id: ConnectionId) -> Result<(), DisconnectReason> {
        self.event("the end of a connect", |event| match event {
            ConnectionEvent::Connected { id: told, .. } if told == id => Some(Ok(())),
            ConnectionEvent::Disconnected { id: told, reason, .. } if told == id => Some(Err(reason)),
            _ => None,
        })
    }

    fn accepted(&self) -> (ConnectionId, PeerInfo) {
        self.event("an accept", |event| match event {
            ConnectionEvent::Accepted { id, peer, .. } => Some((id, *peer)),
            _ => None,
        })
    }

    fn disconnected(&self, id: ConnectionId) -> DisconnectReason {
        self.event("an end", |event| match event {
            ConnectionEvent::Disconnected { id: told, reason, .. } if told == id => Some(reason),
            _ => None,
        })
    }

    fn turned_away(&self) -> DisconnectReason {
        self.event("turning somebody away", |event| match event {
            ConnectionEvent::TurnedAway { reason, .. } => Some(reason),
            _ => None,
        })
    }

    fn send(&mut self, id: ConnectionId, pack: DataPack) {
        let token = self.token();
        self.command(ConnectionCommand::SendPack { token, id, pack });
    }

    fn received(&self, id: ConnectionId) -> DataPack {
        self.event("a pack", |event| match event {
            ConnectionEvent::Received { id: told, pack } if told == id => Some(pack),
            _ => None,
        })
    }

    fn close(&mut self, id: ConnectionId) {
        let token = self.token();
        self.command(ConnectionCommand::Close { token, id });
    }

    /// Ends the thread; answers what was left: links, listeners, look-ups, connections.
    fn stop(mut self) -> [usize; 4] {
        self.command(ConnectionCommand::Close { token: STOP, id: ConnectionId(u64::MAX) });
        self.thread.take().unwrap().join().unwrap()
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let id = ConnectionId(u64::MAX);
        if self.handle.send(ConnectionCommand::Close { token: STOP, id }).is_ok()
            && let Some(thread) = self.thread.take()
        {
            _ = thread.join();
        }
    }
}

fn local(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

fn raw(bytes: Vec<u8>) -> DataPack {
    DataPack::new(PackType::RAW, bytes)
}

/// A program that answers whoever calls with these bytes, and keeps the line open until the caller hangs up.
fn foreign_server(answer: &'static [u8]) -> (SocketAddr, JoinHandle<()>) {
    let server = TcpListener::bind(local(0)).unwrap();
    let at = server.local_addr().unwrap();
    let thread = thread::spawn(move || {
        let (mut caller, _) = server.accept().unwrap();
        _ = caller.write_all(answer);
        _ = caller.read_to_end(&mut Vec::new());
    });
    (at, thread)
}

#[test]
fn k9_the_seeds_integration_test_on_real_sockets() {
    let (mut server, mut client) = (Node::new(1), Node::new(2));
    let (listener, at) = server.listener("127.0.0.1:0");
    let token = client.token();
    let data = Some(Dict::from([("hello", "there".into())]));
    client.command(ConnectionCommand::CreateTo { token, kind: MANY, target: at.into(), data });
    let id = client.wait("a create", |notice| match notice {
        ConnectionNotice::Created { id, .. } => Some(id),
        _ => None,
    });
    client.connect(id, at);
    client.outcome(id).unwrap();
    let (accepted, peer) = server.accepted();
    assert_eq!((peer.instance, peer.connection), (client.instance, id));
    let first = server.received(accepted);
    assert_eq!(Dict::from_pack(&first).unwrap(), Dict::from([("hello", "there".into())]));
    // Much in both directions at once, whole and in order, and all of it before the end.
    let piece = |n: usize| (0..1 << 20).map(|i| (i * 7 + n) as u8).collect::<Vec<_>>();
    for n in 0..8 {
        client.send(id, raw(piece(n)));
        server.send(accepted, raw(piece(n + 8)));
    }
    for n in 0..8 {
        assert!(server.received(accepted).head == piece(n));
        assert!(client.received(id).head == piece(n + 8));
    }
    client.send(id, raw(vec![9; 3 << 20]));
    client.close(id);
    assert_eq!(server.received(accepted).head.len(), 3 << 20);
    assert_eq!(server.disconnected(accepted), DisconnectReason::ClosedByPeer);
    assert_eq!(client.disconnected(id), DisconnectReason::Closed);
    // Back to as created: the same id connects again.
    client.connect(id, at);
    client.outcome(id).unwrap();
    let (again, _) = server.accepted();
    assert_ne!(again, accepted);
    client.close(id);
    client.disconnected(id);
    server.disconnected(again);
    server.close(listener);
    server.disconnected(listener);
    assert_eq!((client.stop(), server.stop()), ([0, 0, 0, 1], [0, 0, 0, 1]));
}

#[test]
fn n2_what_the_real_system_refuses() {
    let mut node = Node::new(1);
    let other_program = TcpListener::bind(local(0)).unwrap();
    let taken = other_program.local_addr().unwrap();
    let id = node.create(LISTENER);
    assert_eq!(node.listen(id, taken), Err("AddressInUse".into()));
    // A documentation address that no host has.
    assert_eq!(node.listen(id, "192.0.2.1:0".parse().unwrap()), Err("AddressNotAvailable".into()));
    // SAFETY: asks who we are, and nothing else.
    if unsafe { libc::geteuid() } != 0 {
        assert_eq!(node.listen(id, local(1)), Err("PermissionDenied".into()));
    }
    // None of this was the end of the connection: once the other program has gone, it works.
    drop(other_program);
    assert_eq!(node.listen(id, taken), Ok(taken));
    assert_eq!(node.stop(), [0, 1, 0, 1]);
}

#[test]
fn n2_twice_wildcards_families_and_again_on_real_sockets() {
    let (mut node, mut client) = (Node::new(1), Node::new(2));
    let (first, at) = node.listener("127.0.0.1:0");
    let second = node.create(LISTENER);
    let already = Err(format!("AlreadyListening(Ip({at}))"));
    assert_eq!(node.listen(second, at), already);
    assert_eq!(node.listen(second, SocketAddr::from(([0, 0, 0, 0], at.port()))), already);
    // Another specific address on the same port, and the other family, are other addresses.
    let neighbour = SocketAddr::from(([127, 0, 0, 2], at.port()));
    assert_eq!(node.listen(second, neighbour), Ok(neighbour));
    client.connected(MANY, neighbour).unwrap();
    client.connected(MANY, at).unwrap();
    if TcpListener::bind("[::1]:0").is_ok() {
        let third = node.create(LISTENER);
        let v6 = format!("[::1]:{}", at.port()).parse().unwrap();
        assert_eq!(node.listen(third, v6), Ok(v6));
        client.connected(MANY, v6).unwrap();
        let fourth = node.create(LISTENER);
        let v6_wildcard = format!("[::]:{}", at.port()).parse().unwrap();
        assert_eq!(node.listen(fourth, v6_wildcard), Err(format!("AlreadyListening(Ip({v6}))")));
        // An IPv6 wildcard takes nothing from IPv4.
        let (_, wide) = node.listener("[::]:0");
        let fifth = node.create(LISTENER);
        let narrow = local(wide.port());
        assert_eq!(node.listen(fifth, narrow), Ok(narrow));
    }
    // After close it works again, even while connections of the old listener are up.
    node.close(first);
    node.disconnected(first);
    assert_eq!(client.connected(MANY, at), Err(DisconnectReason::Net(NetError::Refused)));
    assert_eq!(node.listen(first, at), Ok(at));
    client.connected(MANY, at).unwrap();
}

#[test]
fn n3_both_dial_at_once_on_real_sockets() {
    let (mut a, mut b) = (Node::new(1), Node::new(2));
    let ((_, at_a), (_, at_b)) = (a.listener("127.0.0.1:0"), b.listener("127.0.0.1:0"));
    let (to_b, to_a) = (a.create(ONE), b.create(ONE));
    a.connect(to_b, at_b);
    b.connect(to_a, at_a);
    for (node, dialled) in [(&a, to_b), (&b, to_a)] {
        let (mut up, mut taken) = (false, false);
        node.event("a link each way", |event| {
            match event {
                ConnectionEvent::Connected { id, .. } => up |= id == dialled,
                ConnectionEvent::Accepted { .. } => taken = true,
                other => panic!("{other:?}"),
            }
            (up && taken).then_some(())
        });
    }
    // Both links live, and there is no third.
    a.send(to_b, raw(b"from a".to_vec()));
    b.send(to_a, raw(b"from b".to_vec()));
    for (node, text) in [(&b, &b"from a"[..]), (&a, &b"from b"[..])] {
        let pack = node.event("a pack", |event| match event {
            ConnectionEvent::Received { pack, .. } => Some(pack),
            other => panic!("{other:?}"),
        });
        assert_eq!(&pack.head[..], text);
    }
    assert_eq!(a.stop(), [2, 1, 0, 3]);
}

#[test]
fn n3_a_peer_that_dials_a_hundred_times_on_real_sockets() {
    let (mut server, mut client) = (Node::new(1), Node::new(2));
    let (_, at) = server.listener("127.0.0.1:0");
    let mut newest = None;
    for _ in 0..100 {
        let id = client.connected(ONE, at).unwrap();
        if let Some(old) = newest.replace(id) {
            // The older one is told why it had to go.
            assert_eq!(client.disconnected(old), DisconnectReason::Duplicate);
        }
    }
    let (mut accepted, mut replaced) = (0, 0);
    server.event("a hundred dials", |event| {
        match event {
            ConnectionEvent::Accepted { .. } => accepted += 1,
            ConnectionEvent::Disconnected { reason: DisconnectReason::Replaced, .. } => replaced += 1,
            other => panic!("{other:?}"),
        }
        (accepted == 100).then_some(())
    });
    assert_eq!(replaced, 99);
    client.send(newest.unwrap(), raw(b"alive".to_vec()));
    server.event("a pack", |event| matches!(event, ConnectionEvent::Received { .. }).then_some(()));
    assert_eq!(client.stop()[0], 1);
}

#[test]
fn n10_refused_silent_and_black_holed_on_real_sockets() {
    let mut node = Node::with(1, |config| {
        config.limits.connect = Duration::from_millis(500);
        config.limits.handshake = Duration::from_millis(500);
    });
    // Nobody listens.
    let gone = TcpListener::bind(local(0)).unwrap().local_addr().unwrap();
    assert_eq!(node.connected(MANY, gone), Err(DisconnectReason::Net(NetError::Refused)));
    // The system accepts, and nobody speaks.
    let mute = TcpListener::bind(local(0)).unwrap();
    let at = mute.local_addr().unwrap();
    assert_eq!(node.connected(MANY, at), Err(DisconnectReason::Silent));
    // The system does not even accept: its backlog is full.
    let full = TcpListener::bind(local(0)).unwrap();
    // SAFETY: listens again on a socket that is ours, with the shortest backlog.
    assert_eq!(unsafe { libc::listen(full.as_raw_fd(), 0) }, 0);
    let at = full.local_addr().unwrap();
    let mut held = Vec::new();
    while let Ok(stream) = TcpStream::connect_timeout(&at, Duration::from_millis(300)) {
        held.push(stream);
        assert!(held.len() < 100, "the backlog is never full");
    }
    assert_eq!(node.connected(MANY, at), Err(DisconnectReason::Net(NetError::TimedOut)));
    assert_eq!(node.stop()[0], 0);
}

/// No stream leads to a multicast address, whatever networks a host has.
#[cfg(target_os = "linux")]
#[test]
fn k4_an_unreachable_address_on_real_sockets() {
    let mut node = Node::new(1);
    let nowhere = SocketAddr::from(([224, 0, 0, 1], 9));
    assert_eq!(node.connected(MANY, nowhere), Err(DisconnectReason::Net(NetError::Unreachable)));
    assert_eq!(node.stop()[0], 0);
}

#[test]
fn n10_oneself_on_real_sockets() {
    let mut node = Node::new(1);
    let (_, at) = node.listener("127.0.0.1:0");
    let id = node.create(MANY);
    node.connect(id, at);
    let (mut dialler, mut acceptor) = (false, false);
    node.event("two refusals", |event| {
        match event {
            ConnectionEvent::Disconnected { reason, .. } => dialler = reason == DisconnectReason::Myself,
            ConnectionEvent::TurnedAway { reason, .. } => acceptor = reason == DisconnectReason::Myself,
            other => panic!("{other:?}"),
        }
        (dialler && acceptor).then_some(())
    });
}

#[test]
fn n10_what_answers_in_another_protocol_on_real_sockets() {
    let mut node = Node::new(1);
    for (answer, hint) in [
        (&b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n"[..], "HTTP"),
        (&[0x15, 0x03, 0x01, 0x00, 0x02, 0x02, 0x46], "TLS"),
        (&[0x9f; 300], ""),
    ] {
        let (at, server) = foreign_server(answer);
        assert_eq!(node.connected(MANY, at), Err(DisconnectReason::NotOurProtocol { hint }));
        // It was hung up on, not left waiting.
        server.join().unwrap();
    }
}

#[test]
fn n10_who_calls_in_another_protocol_on_real_sockets() {
    let (mut server, mut client) = (Node::new(1), Node::new(2));
    let (_, at) = server.listener("127.0.0.1:0");
    let id = client.connected(MANY, at).unwrap();
    let (living, _) = server.accepted();
    for (call, hint) in [
        (&b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"[..], "HTTP"),
        (&[0x16, 0x03, 0x01, 0x02, 0x00, 0x01, 0x00, 0x01, 0xfc, 0x03, 0x03], "TLS"),
        (&[0xc3; 5000], ""),
    ] {
        let mut caller = TcpStream::connect(at).unwrap();
        caller.set_read_timeout(Some(PATIENCE)).unwrap();
        caller.write_all(call).unwrap();
        assert_eq!(server.turned_away(), DisconnectReason::NotOurProtocol { hint });
        // The end, or a reset: but not a byte, and at once.
        assert_eq!(caller.read_to_end(&mut Vec::new()).unwrap_or(0), 0);
    }
    // One that calls and says nothing, and one that hangs up.
    drop(TcpStream::connect(at).unwrap());
    assert_eq!(server.turned_away(), DisconnectReason::ClosedByPeer);
    client.send(id, raw(b"unharmed".to_vec()));
    assert_eq!(&server.received(living).head[..], b"unharmed");
}

#[test]
fn n9_slow_handshakes_are_dropped_on_real_sockets() {
    let mut server = Node::with(1, |config| {
        config.limits.handshake = Duration::from_millis(700);
        config.limits.max_handshakes = 2;
    });
    let (_, at) = server.listener("127.0.0.1:0");
    let began = Instant::now();
    let _silent = TcpStream::connect(at).unwrap();
    let mut slow = TcpStream::connect(at).unwrap();
    // A third finds no room.
    let _third = TcpStream::connect(at).unwrap();
    assert_eq!(server.turned_away(), DisconnectReason::Full);
    slow.write_all(&[32]).unwrap();
    assert_eq!(server.turned_away(), DisconnectReason::Silent);
    assert_eq!(server.turned_away(), DisconnectReason::Silent);
    assert!(began.elapsed() >= Duration::from_millis(700));
    // Their places are free again.
    Node::new(2).connected(MANY, at).unwrap();
}

#[test]
fn n12_different_keys_on_real_sockets() {
    let mut server = Node::new(1);
    let mut client = Node::with(2, |config| config.key = ClusterKey([7; 32]));
    let (_, at) = server.listener("127.0.0.1:0");
    assert_eq!(client.connected(MANY, at), Err(DisconnectReason::WrongKey));
    assert_eq!(server.turned_away(), DisconnectReason::WrongKey);
    assert_eq!(server.stop()[3], 1);
}

#[test]
fn n8_a_peer_that_does_not_read_on_real_sockets() {
    let (mut server, mut client) = (Node::new(1), Node::new(2));
    let (_, at) = server.listener("127.0.0.1:0");
    let slow = client.connected(MANY, at).unwrap();
    let (deaf, _) = server.accepted();
    let good = client.connected(MANY, at).unwrap();
    let (hears, _) = server.accepted();
    server.command(ConnectionCommand::Pause { id: deaf });
    // What the sockets hold, and then the outbox: 16 MiB.
    for _ in 0..64 {
        client.send(slow, raw(vec![1; 1 << 20]));
    }
    assert_eq!(client.disconnected(slow), DisconnectReason::SlowPeer);
    client.send(good, raw(b"unharmed".to_vec()));
    assert_eq!(&server.received(hears).head[..], b"unharmed");
}

#[test]
fn k4_names_on_real_sockets() {
    let (mut server, mut client) = (Node::new(1), Node::new(2));
    let (_, at) = server.listener("127.0.0.1:0");
    // `localhost` may be ::1 first, where nobody listens: the next address is tried.
    client.connected(MANY, Address::Name("localhost".into(), at.port())).unwrap();
    server.accepted();
    assert_eq!(client.stop(), [1, 0, 0, 1]);
}

/// Which way of a link is counted.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    Up,
    Down,
}

/// Passes bytes on, and cuts the link in both directions behind the `most`th of one way: with an end, or with a reset.
fn cutting_proxy(to: SocketAddr, way: Way, most: usize) -> SocketAddr {
    let listener = TcpListener::bind(local(0)).unwrap();
    let at = listener.local_addr().unwrap();
    thread::spawn(move || {
        let (caller, _) = listener.accept().unwrap();
        let called = TcpStream::connect(to).unwrap();
        let ends = [caller, called];
        // A shut reading side wakes the other direction and is not told to anybody: then the reset is the first word.
        let shut = if most.is_multiple_of(2) { Shutdown::Both } else { Shutdown::Read };
        if shut == Shutdown::Read {
            for end in &ends {
                SockRef::from(end).set_linger(Some(Duration::ZERO)).unwrap();
            }
        }
        let [up, mut down] = [Way::Up, Way::Down].map(|this| {
            let [mut from, mut to] = ends.each_ref().map(|end| end.try_clone().unwrap());
            if this == Way::Down {
                std::mem::swap(&mut from, &mut to);
            }
            let mut left = if this == way { most } else { usize::MAX };
            move || {
                let mut buffer = [0; 4096];
                while left > 0 {
                    let room = left.min(buffer.len());
                    let Ok(read @ 1..) = from.read(&mut buffer[..room]) else { break };
                    if to.write_all(&buffer[..read]).is_err() {
                        break;
                    }
                    left -= read;
                }
                _ = from.shutdown(shut);
                _ = to.shutdown(shut);
            }
        });
        drop(ends);
        let up = thread::spawn(up);
        down();
        drop(down);
        _ = up.join();
    });
    at
}

#[test]
fn n4_a_link_cut_at_any_byte_is_noticed_by_its_ends_alone_on_real_sockets() {
    let (mut server, mut client, mut neighbour) = (Node::new(1), Node::new(2), Node::new(3));
    let (_, at) = server.listener("127.0.0.1:0");
    let beside = neighbour.connected(MANY, at).unwrap();
    let (from_beside, _) = server.accepted();
    let words = raw(b"words that are cut somewhere".to_vec());
    for way in [Way::Up, Way::Down] {
        // There and back, cut one byte later each time, until it is not cut any more.
        for most in 0.. {
            let ping = raw(vec![most as u8; 10]);
            neighbour.send(beside, ping.clone());
            let id = client.create(MANY);
            client.connect(id, cutting_proxy(at, way, most));
            let connected = client.outcome(id).is_ok();
            if connected {
                client.send(id, words.clone());
            }
            let (mut accepted, mut heard) = (None, false);
            // What the server is told of the cut link: its words, or its end.
            let mut told = || {
                server.event("the words or the end", |event| match event {
                    ConnectionEvent::Accepted { id, .. } => {
                        accepted = Some(id);
                        None
                    }
                    ConnectionEvent::Received { id, pack } if id == from_beside => {
                        assert!(pack == ping && !heard);
                        heard = true;
                        None
                    }
                    ConnectionEvent::Received { id, pack } => {
                        assert_eq!((Some(id), &pack), (accepted, &words), "whole, or not at all");
                        Some(Some(id))
                    }
                    ConnectionEvent::Disconnected { id, .. } => {
                        assert_eq!(Some(id), accepted);
                        Some(None)
                    }
                    ConnectionEvent::TurnedAway { .. } => Some(None),
                    other => panic!("{other:?}"),
                })
            };
            let came = told();
            if let Some(accepted) = came {
                let token = Token(most as u64);
                let pack = words.clone();
                server.command(ConnectionCommand::SendPack { token, id: accepted, pack });
            }
            let whole = connected
                && client.event("an answer or the end", |event| match event {
                    ConnectionEvent::Received { pack, .. } => {
                        assert_eq!(pack, words, "whole, or not at all");
                        Some(true)
                    }
                    ConnectionEvent::Disconnected { .. } => Some(false),
                    other => panic!("{other:?}"),
                });
            if came.is_some() && !whole {
                assert_eq!(told(), None, "words came twice");
            }
            if !heard {
                assert_eq!(server.received(from_beside), ping);
            }
            server.send(from_beside, ping.clone());
            neighbour.event("an answer", |event| match event {
                ConnectionEvent::Received { pack, .. } if pack == ping => Some(()),
                other => panic!("the neighbour notices: {other:?}"),
            });
            if whole {
                assert!(most > 200, "{most} bytes are less than a handshake");
                client.close(id);
                server.disconnected(came.unwrap());
                break;
            }
        }
    }
}

/// As many descriptors as this process may have.
fn descriptors() -> u64 {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: both fill or read a struct of its own; only raises this process's limit.
    unsafe {
        assert_eq!(libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit), 0);
        limit.rlim_cur = limit.rlim_max;
        assert_eq!(libc::setrlimit(libc::RLIMIT_NOFILE, &limit), 0);
    }
    limit.rlim_cur
}

#[test]
fn k12_a_thousand_connections_opened_and_closed_leave_nothing_on_real_sockets() {
    const ALL: usize = 1000;
    // All at once, each with two descriptors here, or in waves.
    let wave = if descriptors() >= 4 * ALL as u64 { ALL } else { ALL / 5 };
    let (mut server, mut client) = (Node::new(1), Node::new(2));
    let (listener, at) = server.listener("127.0.0.1:0");
    let ids: Vec<_> = (0..ALL).map(|_| client.create(MANY)).collect();
    for ids in ids.chunks(wave) {
        for id in ids {
            client.connect(*id, at);
        }
        let mut up = 0;
        client.event("all connected", |event| {
            up += usize::from(matches!(event, ConnectionEvent::Connected { .. }));
            (up == wave).then_some(())
        });
        for id in ids {
            client.close(*id);
        }
        let mut ended = 0;
        client.event("all closed", |event| {
            ended += usize::from(matches!(
                event,
                ConnectionEvent::Disconnected { reason: DisconnectReason::Closed, .. }
            ));
            (ended == wave).then_some(())
        });
    }
    let (mut came, mut gone) = (0, 0);
    server.event("all gone", |event| {
        came += usize::from(matches!(event, ConnectionEvent::Accepted { .. }));
        gone += usize::from(matches!(event, ConnectionEvent::Disconnected { .. }));
        (gone == ALL).then_some(())
    });
    assert_eq!(came, ALL);
    server.close(listener);
    server.disconnected(listener);
    assert_eq!(server.stop(), [0, 0, 0, 1]);
    // Every link has been hung up by now; what the client hears of this dial it hears behind that.
    assert_eq!(client.connected(MANY, at), Err(DisconnectReason::Net(NetError::Refused)));
    assert_eq!(client.stop(), [0, 0, 0, ALL + 1]);
}

#[test]
fn k7_destroy_on_real_sockets() {
    let (mut server, mut client) = (Node::new(1), Node::new(2));
    let (_, at) = server.listener("127.0.0.1:0");
    let id = client.connected(MANY, at).unwrap();
    let (accepted, _) = server.accepted();
    server.command(ConnectionCommand::Destroy);
    assert_eq!(server.disconnected(accepted), DisconnectReason::Closed);
    let reason = client.disconnected(id);
    assert!(matches!(reason, DisconnectReason::ClosedByPeer | DisconnectReason::Net(NetError::Reset)));
    // The address is free, and the system says so.
    assert_eq!(client.connected(MANY, at), Err(DisconnectReason::Net(NetError::Refused)));
    assert_eq!(server.stop(), [0, 0, 0, 0]);
}
