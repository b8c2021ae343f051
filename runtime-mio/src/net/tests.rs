//! The backend on real sockets, against plain ones of std's.

use super::*;
use crate::alarm::{Alarm, Completion, WAKE};
use bytes::Bytes;
use mio::{Events, Poll};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener as StdListener, TcpStream as StdStream};
use std::sync::Arc;
use std::time::{Duration, Instant};
use xxnet_core::QueryId;

/// A loop around the backend alone.
struct Loop {
    poll: Poll,
    events: Events,
    alarm: Arc<Alarm>,
    outbox: Outbox,
    net: Net,
    out: VecDeque<NetEvent>,
}

const LISTENER: ListenerId = ListenerId(1);
const LOOPBACK: (Ipv4Addr, u16) = (Ipv4Addr::LOCALHOST, 0);

fn ip(address: impl Into<SocketAddr>) -> Endpoint {
    Endpoint::Ip(address.into())
}

impl Loop {
    fn new() -> Self {
        Self::with(SocketOptions::default())
    }

    fn with(options: SocketOptions) -> Self {
        options.check().unwrap();
        let poll = Poll::new().unwrap();
        let alarm = Alarm::new(poll.registry()).unwrap();
        let outbox = Outbox::new(Arc::clone(&alarm));
        let net = Net::new(poll.registry().try_clone().unwrap(), outbox.clone(), options);
        Self { poll, events: Events::with_capacity(64), alarm, outbox, net, out: VecDeque::new() }
    }

    fn act(&mut self, action: NetAction) {
        self.net.act(action, &mut self.out);
    }

    /// One turn; whether anything was seen.
    fn turn(&mut self, timeout: Duration) -> bool {
        self.poll.poll(&mut self.events, Some(timeout)).unwrap();
        self.net.begin_turn(&mut self.out);
        let mut done = Vec::new();
        for event in &self.events {
            if event.token() == WAKE {
                self.alarm.silence();
                self.outbox.take(&mut done);
            } else {
                self.net.ready(event, &mut self.out);
            }
        }
        for completion in done {
            match completion {
                Completion::Net(event) => self.out.push_back(event),
                Completion::Disk(event) => panic!("{event:?}"),
            }
        }
        !self.events.is_empty()
    }

    /// What the machine would be told next, if it is there already.
    fn told(&mut self) -> Option<NetEvent> {
        while let Some(event) = self.out.pop_front() {
            if self.net.is_news(&event) {
                return Some(event);
            }
        }
        None
    }

    /// What the machine would be told next.
    fn next(&mut self) -> NetEvent {
        let start = Instant::now();
        loop {
            if let Some(event) = self.told() {
                return event;
            }
            assert!(start.elapsed() < Duration::from_secs(20), "nothing came");
            let wait = if self.net.has_deferred() { Duration::ZERO } else { Duration::from_secs(1) };
            self.turn(wait);
        }
    }

    fn listen(&mut self) -> SocketAddr {
        self.act(NetAction::Listen { listener: LISTENER, address: ip(LOOPBACK) });
        match self.next() {
            NetEvent::Listening { listener: LISTENER, address: Endpoint::Ip(address) } => address,
            other => panic!("{other:?}"),
        }
    }

    /// A link that a plain socket has dialled.
    fn accepted(&mut self, link: u64) -> StdStream {
        let address = match self.net.listeners.get(&LISTENER) {
            Some(open) => open.address.socket().unwrap(),
            None => self.listen(),
        };
        let peer = StdStream::connect(address).unwrap();
        let link = LinkId(link);
        self.act(NetAction::Accept { listener: LISTENER, link });
        let (peer_at, local) = (ip(peer.local_addr().unwrap()), ip(address));
        assert_eq!(self.next(), NetEvent::Accepted { listener: LISTENER, link, peer: peer_at, local });
        peer
    }

    fn send(&mut self, link: u64, bytes: impl Into<Bytes>) {
        self.act(NetAction::Send { link: LinkId(link), buffers: vec![bytes.into()] });
    }

    fn recv(&mut self, link: u64, max: usize) {
        self.act(NetAction::Recv { link: LinkId(link), max });
    }
}

fn noise(len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    blake3::Hasher::new().finalize_xof().fill(&mut bytes);
    bytes
}

#[test]
fn n5_a_partial_write_keeps_exactly_the_rest_and_does_not_spin() {
    let mut run = Loop::new();
    let mut peer = run.accepted(1);
    let bytes = noise(16 << 20);
    // In pieces of all sizes, some of them empty, more than one call can take.
    let mut rest = Bytes::from(bytes.clone());
    let mut buffers = Vec::new();
    for size in (0..300).chain(std::iter::repeat(70_001)) {
        if rest.is_empty() {
            break;
        }
        buffers.push(rest.split_to(size.min(rest.len())));
    }
    run.act(NetAction::Send { link: LinkId(1), buffers });
    // The first report of a fresh socket's writability may still be under way; then silence, although bytes wait.
    while run.turn(Duration::from_millis(100)) {}
    assert_eq!(run.told(), None, "the peer has not read");
    assert!(run.net.links[&LinkId(1)].sending());

    let reader = std::thread::spawn(move || {
        let mut got = vec![0; 16 << 20];
        peer.read_exact(&mut got).unwrap();
        (got, peer)
    });
    assert_eq!(run.next(), NetEvent::Sent { link: LinkId(1) });
    let (got, mut peer) = reader.join().unwrap();
    assert!(got == bytes, "every byte once, in order");

    // All is written: only reading is of interest, and nothing wakes the loop.
    while run.turn(Duration::from_millis(50)) {}
    assert!(!run.turn(Duration::from_millis(100)));
    assert_eq!(run.told(), None);
    run.send(1, "next");
    assert_eq!(run.told(), Some(NetEvent::Sent { link: LinkId(1) }), "at once, without a poll");
    let mut next = [0; 4];
    peer.read_exact(&mut next).unwrap();
    assert_eq!(&next, b"next");
}

#[test]
fn n6_what_is_not_asked_for_stays_in_the_system() {
    let mut run = Loop::new();
    let mut peers = [run.accepted(1), run.accepted(2)];
    let bytes = noise(100_000);
    peers[0].write_all(&bytes).unwrap();
    peers[1].write_all(b"other").unwrap();
    run.recv(1, 7);
    let NetEvent::Received { link: LinkId(1), data } = run.next() else { panic!("received") };
    assert_eq!(data[..], bytes[..7]);
    // Nobody has asked for more, and the other link's bytes are the other link's.
    while run.turn(Duration::from_millis(50)) {}
    assert_eq!(run.told(), None);
    run.recv(2, 1 << 20);
    assert_eq!(run.next(), NetEvent::Received { link: LinkId(2), data: Bytes::from_static(b"other") });
    let mut got = data.to_vec();
    while got.len() < bytes.len() {
        run.recv(1, 10_000);
        let NetEvent::Received { data, .. } = run.next() else { panic!("received") };
        assert!(!data.is_empty() && data.len() <= 10_000);
        got.extend_from_slice(&data);
    }
    assert!(got == bytes);
}

#[test]
fn n8_a_fast_peer_does_not_keep_the_loop_to_itself() {
    let mut run = Loop::new();
    let mut fast = run.accepted(1);
    fast.write_all(&noise(100_000)).unwrap();
    run.recv(1, 10);
    let mut in_one_turn = 0;
    // As a machine that asks for more with each answer, without a look at the poll.
    while let Some(event) = run.told().or_else(|| (in_one_turn == 0).then(|| run.next())) {
        assert!(matches!(event, NetEvent::Received { .. }));
        in_one_turn += 1;
        run.recv(1, 10);
    }
    assert!((2..=64).contains(&in_one_turn), "{in_one_turn}");
    assert!(run.net.has_deferred());
    run.turn(Duration::ZERO);
    assert!(matches!(run.told(), Some(NetEvent::Received { .. })), "and goes on in the next turn");
}

#[test]
fn n2_an_address_that_the_system_refuses() {
    let mut run = Loop::new();
    let taken = StdListener::bind(LOOPBACK).unwrap();
    let refused = |run: &mut Loop, address: SocketAddr| {
        run.act(NetAction::Listen { listener: ListenerId(9), address: ip(address) });
        match run.told() {
            Some(NetEvent::ListenFailed { listener: ListenerId(9), error }) => error,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(refused(&mut run, taken.local_addr().unwrap()), NetError::AddressInUse);
    let wildcard = (Ipv4Addr::UNSPECIFIED, taken.local_addr().unwrap().port()).into();
    assert_eq!(refused(&mut run, wildcard), NetError::AddressInUse);
    assert_eq!(refused(&mut run, (Ipv4Addr::new(192, 0, 2, 1), 0).into()), NetError::AddressNotAvailable);
}

#[test]
fn n2_after_close_an_address_works_again() {
    let mut run = Loop::new();
    let address = run.listen();
    run.act(NetAction::Accept { listener: LISTENER, link: LinkId(5) });
    // A connection of it lives on, and one waits in TIME_WAIT.
    let peer = StdStream::connect(address).unwrap();
    assert!(matches!(run.next(), NetEvent::Accepted { link: LinkId(5), .. }));
    run.act(NetAction::Unlisten { listener: LISTENER });
    assert_eq!(run.next(), NetEvent::Unlistened { listener: LISTENER });
    assert!(StdStream::connect(address).is_err(), "closed");
    run.act(NetAction::Listen { listener: ListenerId(2), address: ip(address) });
    assert_eq!(run.next(), NetEvent::Listening { listener: ListenerId(2), address: ip(address) });
    drop(peer);
}

#[test]
fn n2_ipv4_and_ipv6_wildcards_share_a_port() {
    let mut run = Loop::new();
    if StdListener::bind((Ipv6Addr::LOCALHOST, 0)).is_err() {
        return; // A host without IPv6 has nothing to show.
    }
    run.act(NetAction::Listen { listener: ListenerId(1), address: ip((Ipv6Addr::UNSPECIFIED, 0)) });
    let NetEvent::Listening { address, .. } = run.next() else { panic!("listening") };
    let other = ip((Ipv4Addr::UNSPECIFIED, address.port()));
    run.act(NetAction::Listen { listener: ListenerId(2), address: other.clone() });
    assert_eq!(run.next(), NetEvent::Listening { listener: ListenerId(2), address: other });
    let dialled = StdStream::connect((Ipv6Addr::LOCALHOST, address.port())).unwrap();
    run.act(NetAction::Accept { listener: ListenerId(1), link: LinkId(3) });
    let NetEvent::Accepted { peer, .. } = run.next() else { panic!("accepted") };
    assert_eq!(peer, ip(dialled.local_addr().unwrap()));
}

fn unix(path: &std::path::Path) -> Endpoint {
    Endpoint::Unix(path.to_str().unwrap().into())
}

/// What a listen on a path is answered at once.
fn listen_at(run: &mut Loop, listener: u64, path: &std::path::Path) -> Result<Endpoint, NetError> {
    let listener = ListenerId(listener);
    run.act(NetAction::Listen { listener, address: unix(path) });
    match run.told() {
        Some(NetEvent::Listening { listener: told, address }) if told == listener => Ok(address),
        Some(NetEvent::ListenFailed { listener: told, error }) if told == listener => Err(error),
        other => panic!("{other:?}"),
    }
}

#[test]
fn n2_a_unix_socket_takes_links_and_goes_with_its_listener() {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("x.sock");
    let mut run = Loop::new();
    assert_eq!(listen_at(&mut run, 1, &path), Ok(unix(&path)));
    let mode = std::os::unix::fs::PermissionsExt::mode(&path.metadata().unwrap().permissions());
    assert_eq!(mode & 0o777, 0o600);
    run.act(NetAction::Accept { listener: LISTENER, link: LinkId(1) });
    run.act(NetAction::Dial { link: LinkId(2), address: unix(&path) });
    let nameless = Endpoint::Unix(String::new());
    let mut both = [run.next(), run.next()];
    both.sort_by_key(|event| matches!(event, NetEvent::Dialed { .. }));
    let (peer, local) = (nameless.clone(), unix(&path));
    assert_eq!(both[0], NetEvent::Accepted { listener: LISTENER, link: LinkId(1), peer, local });
    assert_eq!(both[1], NetEvent::Dialed { link: LinkId(2), peer: unix(&path), local: nameless });

    // Far more than fits at once, in one send.
    let sent = noise(3 << 20);
    run.send(2, sent.clone());
    let mut got = Vec::new();
    run.recv(1, 1 << 20);
    while got.len() < sent.len() {
        match run.next() {
            NetEvent::Received { link: LinkId(1), data } => {
                got.extend_from_slice(&data);
                run.recv(1, 1 << 20);
            }
            NetEvent::Sent { link: LinkId(2) } => {}
            other => panic!("{other:?}"),
        }
    }
    assert!(got == sent, "other bytes");
    // One side ends, the other goes on to send.
    run.act(NetAction::Shutdown { link: LinkId(2) });
    let mut seen = Vec::new();
    while !seen.contains(&NetEvent::PeerClosed { link: LinkId(1) }) {
        seen.push(run.next());
    }
    assert!(seen.contains(&NetEvent::ShutdownDone { link: LinkId(2) }));
    run.recv(2, 10);
    run.send(1, "bye");
    assert_eq!(run.next(), NetEvent::Sent { link: LinkId(1) });
    assert_eq!(run.next(), NetEvent::Received { link: LinkId(2), data: "bye".into() });

    run.act(NetAction::Unlisten { listener: LISTENER });
    assert_eq!(run.next(), NetEvent::Unlistened { listener: LISTENER });
    assert!(path.symlink_metadata().is_err(), "the file goes with the listener");
    run.act(NetAction::Dial { link: LinkId(3), address: unix(&path) });
    assert_eq!(run.next(), NetEvent::DialFailed { link: LinkId(3), error: NetError::Refused });
    // Also when the whole loop goes.
    assert!(listen_at(&mut run, 2, &path).is_ok());
    drop(run);
    assert!(path.symlink_metadata().is_err());
}

#[test]
fn n2_a_path_is_taken_over_only_from_the_dead() {
    let place = tempfile::tempdir().unwrap();
    let path = |name: &str| place.path().join(name);
    let mut run = Loop::new();
    // A socket that nobody listens at any more, as a killed process leaves it.
    drop(std::os::unix::net::UnixListener::bind(path("dead")).unwrap());
    assert!(listen_at(&mut run, 1, &path("dead")).is_ok());
    std::os::unix::net::UnixStream::connect(path("dead")).unwrap();
    // One that is listened at, by us or by another, and what is no socket.
    let other = std::os::unix::net::UnixListener::bind(path("alive")).unwrap();
    let datagrams = std::os::unix::net::UnixDatagram::bind(path("datagrams")).unwrap();
    std::fs::write(path("file"), "precious").unwrap();
    std::fs::create_dir(path("folder")).unwrap();
    std::os::unix::fs::symlink(path("dead"), path("link")).unwrap();
    for name in ["dead", "alive", "datagrams", "file", "folder", "link"] {
        assert_eq!(listen_at(&mut run, 2, &path(name)), Err(NetError::AddressInUse), "{name}");
        assert!(path(name).symlink_metadata().is_ok(), "{name} is gone");
    }
    assert_eq!(std::fs::read(path("file")).unwrap(), b"precious");
    drop((other, datagrams));
    // No such folder, and more than a path of a socket may have.
    assert_eq!(listen_at(&mut run, 2, &path("none/x")), Err(NetError::AddressNotAvailable));
    assert_eq!(listen_at(&mut run, 2, &path(&"x".repeat(110))), Err(NetError::AddressNotAvailable));
    run.act(NetAction::Dial { link: LinkId(1), address: unix(&path("file")) });
    assert_eq!(run.next(), NetEvent::DialFailed { link: LinkId(1), error: NetError::Refused });

    // Another took the path meanwhile: its file stays.
    std::fs::remove_file(path("dead")).unwrap();
    let heir = std::os::unix::net::UnixListener::bind(path("dead")).unwrap();
    run.act(NetAction::Unlisten { listener: ListenerId(1) });
    assert_eq!(run.next(), NetEvent::Unlistened { listener: ListenerId(1) });
    assert!(path("dead").symlink_metadata().is_ok(), "the file of another");
    drop(heir);
}

#[test]
fn accepts_only_as_often_as_asked() {
    let mut run = Loop::new();
    let address = run.listen();
    let peers: Vec<_> = (0..5).map(|_| StdStream::connect(address).unwrap()).collect();
    while run.turn(Duration::from_millis(50)) {}
    assert_eq!(run.told(), None, "newcomers wait in the backlog");
    for (number, peer) in (1..).zip(&peers) {
        run.act(NetAction::Accept { listener: LISTENER, link: LinkId(number) });
        let NetEvent::Accepted { link, peer: seen, .. } = run.next() else { panic!("accepted") };
        assert_eq!((link, seen), (LinkId(number), ip(peer.local_addr().unwrap())));
        assert_eq!(run.told(), None);
    }
}

#[test]
fn k4_a_dial_connects_or_says_why_not() {
    let mut run = Loop::new();
    let listener = StdListener::bind(LOOPBACK).unwrap();
    let address = listener.local_addr().unwrap();
    run.act(NetAction::Dial { link: LinkId(1), address: ip(address) });
    let NetEvent::Dialed { link: LinkId(1), peer, local } = run.next() else { panic!("dialled") };
    let (mut accepted, from) = listener.accept().unwrap();
    assert_eq!((peer, local), (ip(address), ip(from)));
    run.send(1, "hello");
    assert_eq!(run.next(), NetEvent::Sent { link: LinkId(1) });
    let mut hello = [0; 5];
    accepted.read_exact(&mut hello).unwrap();
    assert_eq!(&hello, b"hello");

    drop(listener);
    run.act(NetAction::Dial { link: LinkId(2), address: ip(address) });
    assert_eq!(run.next(), NetEvent::DialFailed { link: LinkId(2), error: NetError::Refused });
    assert!(run.net.links.contains_key(&LinkId(1)) && !run.net.links.contains_key(&LinkId(2)));
}

#[test]
fn k6_a_dial_under_way_can_be_closed() {
    let mut run = Loop::new();
    let listener = StdListener::bind(LOOPBACK).unwrap();
    run.act(NetAction::Dial { link: LinkId(1), address: ip(listener.local_addr().unwrap()) });
    run.act(NetAction::Close { link: LinkId(1) });
    assert_eq!(run.next(), NetEvent::Closed { link: LinkId(1) });
    while run.turn(Duration::from_millis(50)) {}
    assert_eq!(run.told(), None);
    assert!(run.net.links.is_empty());
}

#[test]
fn k10_nothing_is_told_of_a_link_after_it_was_closed() {
    let mut run = Loop::new();
    let mut peer = run.accepted(1);
    peer.write_all(b"late").unwrap();
    run.recv(1, 100);
    while run.out.is_empty() {
        run.turn(Duration::from_secs(1));
    }
    // `Received` waits for the machine, which closes before it hears of it. A newer link is not touched.
    run.act(NetAction::Close { link: LinkId(1) });
    assert_eq!(run.told(), Some(NetEvent::Closed { link: LinkId(1) }));
    assert_eq!(run.told(), None);
    let mut second = run.accepted(2);
    run.recv(1, 100);
    run.send(1, "nowhere");
    run.recv(2, 100);
    second.write_all(b"mine").unwrap();
    assert_eq!(run.next(), NetEvent::Received { link: LinkId(2), data: Bytes::from_static(b"mine") });
    assert_eq!(peer.read(&mut [0; 10]).unwrap_or(0), 0, "closed at the other end");
}

#[test]
fn k11_each_side_of_a_stream_ends_by_itself() {
    let mut run = Loop::new();
    let mut peer = run.accepted(1);
    peer.write_all(b"last words").unwrap();
    peer.shutdown(std::net::Shutdown::Write).unwrap();
    run.recv(1, 4);
    let mut heard = Vec::new();
    loop {
        match run.next() {
            NetEvent::Received { data, .. } => heard.extend_from_slice(&data),
            NetEvent::PeerClosed { link: LinkId(1) } => break,
            other => panic!("{other:?}"),
        }
        run.recv(1, 4);
    }
    assert_eq!(heard, b"last words");
    // We still may speak.
    run.send(1, "answer");
    assert_eq!(run.next(), NetEvent::Sent { link: LinkId(1) });
    run.act(NetAction::Shutdown { link: LinkId(1) });
    assert_eq!(run.next(), NetEvent::ShutdownDone { link: LinkId(1) });
    let mut answer = Vec::new();
    peer.read_to_end(&mut answer).unwrap();
    assert_eq!(answer, b"answer");
}

fn reset(peer: StdStream) {
    socket2::SockRef::from(&peer).set_linger(Some(Duration::ZERO)).unwrap();
}

#[test]
fn a_reset_is_told_once_whatever_is_outstanding() {
    for (reads, sends) in [(true, false), (false, true), (false, false), (true, true)] {
        let mut run = Loop::new();
        let peer = run.accepted(1);
        if reads {
            run.recv(1, 100);
        }
        if sends {
            run.send(1, noise(32 << 20));
        }
        while run.turn(Duration::from_millis(20)) {}
        reset(peer);
        let broken = NetEvent::Broken { link: LinkId(1), error: NetError::Reset };
        assert_eq!(run.next(), broken, "reads {reads}, sends {sends}");
        while run.turn(Duration::from_millis(20)) {}
        assert_eq!(run.told(), None);
        assert!(run.net.links.is_empty());
    }
}

#[test]
fn what_a_peer_said_before_it_reset_the_link_is_still_heard() {
    let mut run = Loop::new();
    let mut peer = run.accepted(1);
    run.recv(1, 6);
    // It leaves with bytes unread, which is a reset, but not before it has said why.
    run.send(1, "unread");
    assert_eq!(run.next(), NetEvent::Sent { link: LinkId(1) });
    peer.write_all(b"reason: no room").unwrap();
    drop(peer);
    // Once the reset is there, the next write fails.
    run.turn(Duration::from_secs(20));
    run.send(1, "more");
    let mut heard = Vec::new();
    loop {
        match run.next() {
            NetEvent::Received { data, .. } => heard.extend_from_slice(&data),
            NetEvent::Sent { .. } => {}
            NetEvent::Broken { error: NetError::Reset, .. } => break,
            other => panic!("{other:?}"),
        }
        run.recv(1, 6);
    }
    assert_eq!(heard, b"reason: no room");
}

#[test]
fn k12_accepting_resumes_when_descriptors_are_there_again() {
    const CHILD: &str = "XXNET_TEST_FEW_DESCRIPTORS";
    if std::env::var_os(CHILD).is_none() {
        // The limit holds for a whole process, so this test runs again in one of its own.
        let me = std::env::current_exe().unwrap();
        let name = "net::tests::k12_accepting_resumes_when_descriptors_are_there_again";
        let run = std::process::Command::new(me).args(["--exact", name]).env(CHILD, "1").output().unwrap();
        let text = String::from_utf8_lossy(&run.stdout);
        assert!(run.status.success() && text.contains("1 passed"), "{text}");
        return;
    }
    let mut run = Loop::new();
    let mut lives = run.accepted(1);
    let address = run.net.listeners[&LISTENER].address.socket().unwrap();
    let newcomer = StdStream::connect(address).unwrap();
    while run.turn(Duration::from_millis(20)) {}
    let mut hoard = Vec::new();
    while let Ok(file) = std::fs::File::open("/dev/null") {
        hoard.push(file);
    }
    for link in [2, 3] {
        run.act(NetAction::Accept { listener: LISTENER, link: LinkId(link) });
        let failed =
            NetEvent::AcceptFailed { listener: LISTENER, link: LinkId(link), error: NetError::Exhausted };
        assert_eq!(run.next(), failed);
    }
    run.act(NetAction::Dial { link: LinkId(4), address: ip(address) });
    assert_eq!(run.next(), NetEvent::DialFailed { link: LinkId(4), error: NetError::Exhausted });
    run.recv(1, 10);
    lives.write_all(b"alive").unwrap();
    assert!(matches!(run.next(), NetEvent::Received { link: LinkId(1), .. }));
    hoard.truncate(1);
    run.act(NetAction::Accept { listener: LISTENER, link: LinkId(5) });
    let NetEvent::Accepted { link: LinkId(5), peer, .. } = run.next() else { panic!("accepted") };
    assert_eq!(peer, ip(newcomer.local_addr().unwrap()));
}

#[test]
fn names_are_resolved_off_the_loop() {
    let mut run = Loop::new();
    run.act(NetAction::Resolve { query: QueryId(1), host: "localhost".into(), port: 4711 });
    // No label may be that long, so nobody is asked.
    run.act(NetAction::Resolve { query: QueryId(2), host: "x".repeat(64), port: 1 });
    let mut answers = [run.next(), run.next()];
    answers.sort_by_key(|answer| matches!(answer, NetEvent::Resolved { query: QueryId(2), .. }));
    let NetEvent::Resolved { query: QueryId(1), result: Ok(addresses) } = &answers[0] else {
        panic!("{answers:?}")
    };
    assert!(addresses.iter().all(|address| address.ip().is_loopback() && address.port() == 4711));
    let missing = NetEvent::Resolved { query: QueryId(2), result: Err(NetError::NameNotFound) };
    assert_eq!(answers[1], missing);
}

#[test]
fn an_idle_link_holds_no_buffer() {
    let mut run = Loop::new();
    let _peers: Vec<_> = (1..50).map(|link| run.accepted(link)).collect();
    (1..50).for_each(|link| run.recv(link, 1 << 20));
    while run.turn(Duration::from_millis(20)) {}
    // Known to be there is not the same as allocated: no byte has come.
    let idle = format!("{:?}", run.net.chunks);
    assert!(idle.contains("spent: []"), "{idle}");
}

#[test]
fn every_socket_is_close_on_exec_and_sends_at_once() {
    let mut run = Loop::new();
    let _peer = run.accepted(1);
    let listener = StdListener::bind(LOOPBACK).unwrap();
    run.act(NetAction::Dial { link: LinkId(2), address: ip(listener.local_addr().unwrap()) });
    assert!(matches!(run.next(), NetEvent::Dialed { .. }));
    for link in run.net.links.values() {
        assert!(link.socket.tcp_nodelay().unwrap());
        #[cfg(target_os = "linux")]
        assert!(link.socket.tcp_congestion().unwrap().starts_with(b"reno"));
    }
    use std::os::fd::AsRawFd;
    let mut descriptors: Vec<_> = run.net.links.values().map(|link| link.socket.as_raw_fd()).collect();
    descriptors.push(run.net.listening_fd(LISTENER).unwrap().as_raw_fd());
    for fd in descriptors {
        // SAFETY: takes no pointers.
        assert_eq!(unsafe { libc::fcntl(fd, libc::F_GETFD) } & libc::FD_CLOEXEC, libc::FD_CLOEXEC);
    }
}

/// The sockets of a link that was dialled, of one that was accepted, and of two over a Unix socket.
fn sockets_with(options: SocketOptions, look: impl Fn(&Socket, bool)) {
    let mut run = Loop::with(options);
    let _peer = run.accepted(1);
    let listener = StdListener::bind(LOOPBACK).unwrap();
    run.act(NetAction::Dial { link: LinkId(2), address: ip(listener.local_addr().unwrap()) });
    assert!(matches!(run.next(), NetEvent::Dialed { .. }));
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("x");
    listen_at(&mut run, 2, &path).unwrap();
    run.act(NetAction::Accept { listener: ListenerId(2), link: LinkId(3) });
    run.act(NetAction::Dial { link: LinkId(4), address: unix(&path) });
    assert!(!matches!(
        (run.next(), run.next()),
        (NetEvent::DialFailed { .. }, _) | (_, NetEvent::DialFailed { .. })
    ));
    assert_eq!(run.net.links.len(), 4);
    run.net.links.iter().for_each(|(link, open)| look(&open.socket, link.0 <= 2));
}

#[test]
fn every_option_reaches_the_sockets() {
    let plain = SocketOptions::default();
    sockets_with(plain.clone(), |socket, tcp| {
        assert!(!tcp || socket.tcp_nodelay().unwrap());
        assert!(!socket.keepalive().unwrap());
    });
    sockets_with(SocketOptions { nodelay: false, ..plain.clone() }, |socket, tcp| {
        assert!(!tcp || !socket.tcp_nodelay().unwrap());
    });
    let keepalive = Some(Duration::from_secs(77));
    sockets_with(SocketOptions { keepalive, ..plain.clone() }, |socket, tcp| {
        assert_eq!(socket.keepalive().unwrap(), tcp);
        if tcp {
            assert_eq!(Some(socket.tcp_keepalive_time().unwrap()), keepalive);
            assert_eq!(Some(socket.tcp_keepalive_interval().unwrap()), keepalive);
        }
    });
    // Linux doubles what is asked for; without it, these are not what a socket has.
    let (send_buffer, receive_buffer) = (Some(20_000), Some(30_000));
    sockets_with(SocketOptions { send_buffer, receive_buffer, ..plain }, |socket, _| {
        assert!((20_000..=40_000).contains(&socket.send_buffer_size().unwrap()));
        assert!((30_000..=60_000).contains(&socket.recv_buffer_size().unwrap()));
    });
}

#[cfg(target_os = "linux")]
#[test]
fn the_congestion_control_is_the_one_that_was_chosen() {
    let name = |socket: &Socket| {
        let name = socket.tcp_congestion().unwrap();
        String::from_utf8(name).unwrap().trim_end_matches('\0').to_owned()
    };
    let system = name(&Socket::new(socket2::Domain::IPV4, Type::STREAM, None).unwrap());
    for (chosen, expected) in
        [(None, "reno"), (Some(system.clone()), &*system), (Some("reno".into()), "reno")]
    {
        let options = SocketOptions { congestion: chosen, ..SocketOptions::default() };
        sockets_with(options, |socket, tcp| assert!(!tcp || name(socket) == expected));
    }
    // Within this host alone, unless it was chosen.
    let socket = Socket::new(socket2::Domain::IPV4, Type::STREAM, None).unwrap();
    SocketOptions::default().tune(&socket, false).unwrap();
    assert_eq!(name(&socket), system);
}

#[test]
fn what_the_system_does_not_take_is_an_error_at_the_start() {
    let plain = SocketOptions::default();
    let says = |options: SocketOptions| options.check().unwrap_err().to_string();
    let none = SocketOptions { congestion: Some("no-such".into()), ..plain };
    assert!(says(none.clone()).starts_with("the congestion control 'no-such' cannot be had here: "));
    for time in [Duration::ZERO, Duration::from_millis(1500)] {
        assert!(says(SocketOptions { keepalive: Some(time), ..plain.clone() }).starts_with("keepalive is"));
    }
    for size in [0, usize::MAX] {
        assert!(says(SocketOptions { send_buffer: Some(size), ..plain.clone() }).contains("1 GiB"));
        assert!(says(SocketOptions { receive_buffer: Some(size), ..plain.clone() }).contains("1 GiB"));
    }
    // The driver asks, and `Net` hands it on.
    let mut options = crate::messages::NetOptions::new(xxnet_core::ClusterKey([1; 32]));
    options.sockets = none;
    let failed = crate::messages::Net::start(options).unwrap_err();
    assert!(failed.to_string().contains("'no-such'"), "{failed}");
}
