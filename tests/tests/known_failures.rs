//! What other libraries are known to get wrong, each as a test of ours on real sockets. Each says what the other one does.
#![allow(clippy::unwrap_used)]

use bytes::Bytes;
use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::{Duration, Instant};
use xxnet_core::Address;
use xxnet_core::pack::Decoder;
use xxnet_runtime_mio::Net;
use xxnet_runtime_mio::connections::{
    ClusterKey, ConnectionId, ConnectionKind, ConnectionManager, DisconnectReason, Handler, KindId, LinkRule,
    ManagerOptions, Message, PeerInfo, Role,
};
use xxnet_runtime_mio::messages::{NetEvent, NetOptions, SendError};

/// Longer than anything here takes; only a failure waits so long.
const PATIENCE: Duration = Duration::from_secs(60);
const KEY: ClusterKey = ClusterKey([9; 32]);

fn net_with(change: impl FnOnce(&mut NetOptions)) -> Net {
    let mut options = NetOptions::new(KEY);
    change(&mut options);
    Net::start(options).unwrap()
}

fn net() -> Net {
    net_with(|_| {})
}

/// A message that can be told from every other, and shows if a byte of it is another's.
fn message(sender: u32, number: u32, size: usize) -> Vec<u8> {
    let mut bytes = [sender.to_le_bytes(), number.to_le_bytes()].concat();
    bytes.resize(8 + size, fill(sender, number));
    bytes
}

fn fill(sender: u32, number: u32) -> u8 {
    (sender * 31 + number) as u8
}

/// Who sent it, and its number.
fn read(bytes: &[u8]) -> (u32, u32) {
    let word = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap());
    let (sender, number) = (word(0), word(4));
    assert!(bytes[8..].iter().all(|byte| *byte == fill(sender, number)), "the bytes of {sender}'s {number}");
    (sender, number)
}

/// message-io: two threads that send on one connection at once write into one another's messages; the stream is corrupt in three of
/// four runs. Here they go through one queue, and a thread of its own writes.
#[test]
fn n7_known_of_message_io_two_threads_that_send_at_once_corrupt_the_stream() {
    const THREADS: u32 = 4;
    const EACH: u32 = 500;
    let (server, client) = (net(), net());
    let to = server.listen("127.0.0.1:0").unwrap().socket().unwrap();
    let start = Arc::new(Barrier::new(THREADS as usize));
    let senders: Vec<_> = (0..THREADS)
        .map(|sender| {
            let (client, start) = (client.clone(), Arc::clone(&start));
            thread::spawn(move || {
                start.wait();
                for number in 0..EACH {
                    // From a few bytes to more than any buffer of the system's takes at once.
                    let size = if number % 50 == 7 { 1 << 20 } else { (number as usize * 37) % 3000 };
                    client.send(to, message(sender, number, size)).unwrap();
                }
            })
        })
        .collect();
    let mut next = BTreeMap::new();
    for _ in 0..THREADS * EACH {
        let (sender, number) = read(&server.recv_timeout(PATIENCE).unwrap().bytes());
        let expected = next.entry(sender).or_insert(0);
        assert_eq!(number, *expected, "the next of {sender}");
        *expected += 1;
    }
    senders.into_iter().for_each(|sender| sender.join().unwrap());
    assert_eq!(client.shutdown(PATIENCE), 0);
}

/// message-io: two peers that only echo stop for ever once the buffers between them are full, each busy writing and neither reading.
/// Here what is received makes room for what is sent: both go on, and not one message is lost on the way.
#[test]
fn n8_known_of_message_io_two_peers_that_only_echo_under_full_buffers_never_go_on() {
    /// Each message has passed so often on average.
    const ROUNDS: u64 = 20;
    let small = |options: &mut NetOptions| {
        options.queue = 64 << 10;
        options.limits.session_window = 16 << 10;
    };
    let (one, two) = (net_with(small), net_with(small));
    let (at_one, at_two) = (
        one.listen("127.0.0.1:0").unwrap().socket().unwrap(),
        two.listen("127.0.0.1:0").unwrap().socket().unwrap(),
    );
    // Nobody receives yet: both fill everything that there is between them.
    let mut sent = BTreeSet::new();
    for (net, to, sender) in [(&one, at_two, 1), (&two, at_one, 2)] {
        for number in 0.. {
            match net.try_send(to, message(sender, number, 1000)) {
                Ok(()) => assert!(sent.insert((sender, number))),
                Err(SendError::Full(_)) => break,
                Err(error) => panic!("{error}"),
            }
        }
    }
    assert!(sent.len() > 100, "{} messages fill it", sent.len());
    let (passed, last) = (Arc::new(AtomicU64::new(0)), ROUNDS * sent.len() as u64);
    let (gather, gathered) = channel();
    let echoes = [one, two].map(|net| {
        let (passed, gather) = (Arc::clone(&passed), gather.clone());
        thread::spawn(move || {
            // Waits for room as long as it takes, like the program that hung.
            while let Ok(message) = net.recv_timeout(PATIENCE) {
                if passed.fetch_add(1, Ordering::SeqCst) < last {
                    net.send(message.from(), message.bytes()).unwrap();
                } else if gather.send(read(&message.bytes())).is_err() {
                    break;
                }
            }
        })
    });
    for _ in 0..sent.len() {
        let came = gathered.recv_timeout(PATIENCE).expect("it goes on");
        assert!(sent.remove(&came), "{came:?} came twice");
    }
    // Who still waits for a message hears of the end by the next one.
    drop((gathered, gather));
    let closing = net();
    for at in [at_one, at_two] {
        closing.send(at, message(0, 0, 0)).unwrap();
    }
    echoes.into_iter().for_each(|echo| echo.join().unwrap());
}

/// libp2p (rust-libp2p #752): both sides dial at once, both drop "the duplicate", and it is another one at each end: no link is left.
/// Here the smaller instance chooses, and nobody closes by preference before: one session, whatever crosses.
#[test]
fn n3_known_of_libp2p_both_sides_drop_the_duplicate_and_no_link_is_left() {
    const ROUNDS: usize = 100;
    const EACH: u32 = 20;
    for round in 0..ROUNDS {
        let (one, two) = (net(), net());
        let (at_one, at_two) = (
            one.listen("127.0.0.1:0").unwrap().socket().unwrap(),
            two.listen("127.0.0.1:0").unwrap().socket().unwrap(),
        );
        let start = Arc::new(Barrier::new(2));
        let ends = [(one, at_two, 1), (two, at_one, 2)].map(|(net, to, sender)| {
            let start = Arc::clone(&start);
            thread::spawn(move || {
                start.wait();
                (0..EACH).for_each(|number| net.send(to, message(sender, number, 10)).unwrap());
                let came: Vec<_> =
                    (0..EACH).map(|_| read(&net.recv_timeout(PATIENCE).unwrap().bytes())).collect();
                net.flush(PATIENCE).unwrap();
                // Both dials have found their end once the choice is made; a message more shows that a link is left.
                net.send(to, message(sender, EACH, 10)).unwrap();
                let last = read(&net.recv_timeout(PATIENCE).unwrap().bytes());
                net.flush(PATIENCE).unwrap();
                (net, came, last)
            })
        });
        // Both live until both were looked at.
        let ends = ends.map(|end| end.join().unwrap());
        for ((net, came, last), other) in ends.iter().zip([2, 1]) {
            assert!(came.iter().copied().eq((0..EACH).map(|number| (other, number))), "round {round}");
            assert_eq!(*last, (other, EACH));
            let happened: Vec<_> = std::iter::from_fn(|| net.events().try_next().ok()).collect();
            let sessions =
                happened.iter().filter(|event| matches!(event, NetEvent::Connected { .. })).count();
            assert_eq!(sessions, 1, "round {round}: {happened:?}");
            let over = |event: &NetEvent| matches!(event, NetEvent::Disconnected { .. });
            assert!(!happened.iter().any(over), "round {round}: {happened:?}");
        }
    }
}

/// ZeroMQ (libzmq #3846): a second connect to the same peer is ignored, or makes a second pipe on which half of the messages are
/// lost. Here an address of the same peer leads to the session that is there, and all arrive.
#[test]
fn n3_known_of_zeromq_half_of_the_messages_are_lost_on_a_double_link() {
    const EACH: u32 = 1000;
    let (server, client) = (net(), net());
    let at = server.listen("127.0.0.1:0").unwrap().socket().unwrap();
    let by_name: Address = format!("localhost:{}", at.port()).parse().unwrap();
    let (detour, _) = tap(at);
    // By three ways to one peer, at the same time and each more than once.
    let ways: [Address; 3] = [at.into(), by_name, detour.into()];
    for number in 0..EACH {
        for (sender, way) in ways.iter().enumerate() {
            client.send(way, message(sender as u32, number, 20)).unwrap();
        }
    }
    let mut next = [0; 3];
    for _ in 0..3 * EACH {
        let (sender, number) = read(&server.recv_timeout(PATIENCE).unwrap().bytes());
        let expected = &mut next[sender as usize];
        assert_eq!(number, *expected, "the next by way {sender}");
        *expected += 1;
    }
    client.flush(PATIENCE).unwrap();
    let happened: Vec<_> = std::iter::from_fn(|| server.events().try_next().ok()).collect();
    let sessions = happened.iter().filter(|event| matches!(event, NetEvent::Connected { .. })).count();
    assert_eq!(sessions, 1, "{happened:?}");
    assert_eq!(client.shutdown(PATIENCE), 0);
}

/// The same by id: a second connection of a pair is not ignored but told what it is, and the first is unharmed; two of a kind whose
/// connections stand for themselves are two.
#[test]
fn n3_known_of_zeromq_a_second_connect_is_ignored() {
    let (mut near, mut far) = (manager(), manager());
    let door = far.create(DOOR).unwrap();
    let at = far.listen(door, "127.0.0.1:0".parse::<Address>().unwrap()).unwrap().socket().unwrap();
    let (mut client, mut server) = (Seen::default(), Seen::default());
    let first = near.create_to(PAIR, at, None).unwrap();
    near.connect(first).unwrap();
    drive((&mut near, &mut client), (&mut far, &mut server), |client, _| client.up.len() == 1);
    let second = near.create_to(PAIR, at, None).unwrap();
    near.connect(second).unwrap();
    drive((&mut near, &mut client), (&mut far, &mut server), |client, _| client.over.len() == 1);
    assert_eq!(client.over, [(second, DisconnectReason::ConnectedAs(first))]);
    let many = [(); 2].map(|()| near.create_to(MANY, at, None).unwrap());
    many.iter().for_each(|id| near.connect(*id).unwrap());
    drive((&mut near, &mut client), (&mut far, &mut server), |client, server| {
        client.up.len() == 3 && server.up.len() == 3
    });
    for (sender, id) in [first, many[0], many[1]].into_iter().enumerate() {
        (0..100).for_each(|number| _ = near.send(id, message(sender as u32, number, 20)).unwrap());
    }
    drive((&mut near, &mut client), (&mut far, &mut server), |_, server| {
        server.came.values().map(Vec::len).sum::<usize>() == 300
    });
    assert_eq!(server.came.len(), 3);
    for came in server.came.values() {
        let sender = came[0].0;
        assert!(came.iter().copied().eq((0..100).map(|number| (sender, number))), "{came:?}");
    }
}

/// message-io and others: header and body leave in two writes, and the second waits for the peer's delayed acknowledgement of the first: 88 ms a
/// round trip by Nagle's algorithm. Here each message leaves in one write: what is read at the other end is always whole packs, and each
/// is one segment.
#[test]
fn n5_known_of_message_io_header_and_body_leave_in_two_writes() {
    const TRIPS: u32 = 200;
    let (mut near, mut far) = (manager(), manager());
    let door = far.create(DOOR).unwrap();
    let at = far.listen(door, "127.0.0.1:0".parse::<Address>().unwrap()).unwrap().socket().unwrap();
    let (detour, reads) = tap(at);
    // A kind without acknowledgements: nothing but messages is on the link.
    let id = near.create_to(MANY, detour, None).unwrap();
    near.connect(id).unwrap();
    let (mut client, mut server) = (Seen::default(), Seen { echo: true, ..Seen::default() });
    drive((&mut near, &mut client), (&mut far, &mut server), |client, server| {
        client.up.len() + server.up.len() == 2
    });
    // The handshake has its own packs.
    let mut decoder = Decoder::new(4 << 20);
    let mut packs = 0;
    let mut take = |segment: &Segment| {
        decoder.feed(segment.bytes.clone());
        let mut whole = 0;
        while decoder.next().unwrap().is_some() {
            whole += 1;
        }
        assert_eq!(decoder.buffered(), 0, "a part of a pack, behind {packs} whole ones");
        packs += whole;
        whole
    };
    let handshake: Vec<_> = reads.try_iter().collect();
    handshake.iter().for_each(|segment| _ = take(segment));
    let before = handshake.last().unwrap().count;
    for number in 0..TRIPS {
        near.send(id, message(1, number, 100)).unwrap();
        drive((&mut near, &mut client), (&mut far, &mut server), |client, _| {
            client.came.get(&id).map_or(0, Vec::len) == number as usize + 1
        });
    }
    let messages: Vec<_> = reads.try_iter().collect();
    for segment in &messages {
        assert_eq!(take(segment), 1, "one message in one read");
    }
    assert_eq!(messages.len(), TRIPS as usize);
    // As the system counts them, where it does; a segment may be sent again, but not each.
    if let (Some(before), Some(after)) = (before, messages.last().unwrap().count) {
        let segments = after - before;
        assert!((TRIPS..TRIPS * 3 / 2).contains(&segments), "{segments} segments of {TRIPS} messages");
    }
    // Many at once leave together.
    let many = 1000;
    (0..many).for_each(|number| _ = near.send(id, message(2, number, 100)).unwrap());
    drive((&mut near, &mut client), (&mut far, &mut server), |client, _| {
        client.came[&id].len() == (TRIPS + many) as usize
    });
    let writes = reads.try_iter().count();
    assert!(writes < many as usize / 10, "{writes} reads of {many} messages");
}

const MANY: KindId = KindId(1024);
const PAIR: KindId = KindId(1025);
const DOOR: KindId = KindId(1026);

fn manager() -> ConnectionManager {
    let mut manager = ConnectionManager::new(ManagerOptions::new(KEY)).unwrap();
    for kind in [
        ConnectionKind::plain(MANY, LinkRule::Many, Role::Both),
        ConnectionKind::session(PAIR, LinkRule::OnePerPair, Role::Both),
        ConnectionKind::plain(DOOR, LinkRule::Many, Role::Listen),
    ] {
        manager.register(kind).unwrap();
    }
    manager
}

/// What one end has heard.
#[derive(Default)]
struct Seen {
    up: Vec<ConnectionId>,
    came: BTreeMap<ConnectionId, Vec<(u32, u32)>>,
    over: Vec<(ConnectionId, DisconnectReason)>,
    echo: bool,
}

impl Handler for Seen {
    fn on_connect(&mut self, _: &mut ConnectionManager, id: ConnectionId, _: &PeerInfo) {
        self.up.push(id);
    }

    fn on_accept(&mut self, _: &mut ConnectionManager, id: ConnectionId, _: &PeerInfo, _: ConnectionId) {
        self.up.push(id);
    }

    fn on_receive(&mut self, connections: &mut ConnectionManager, id: ConnectionId, message: Message) {
        self.came.entry(id).or_default().push(read(&message.bytes()));
        if self.echo {
            connections.send(id, message.bytes()).unwrap();
        }
    }

    fn on_disconnect(&mut self, _: &mut ConnectionManager, id: ConnectionId, reason: DisconnectReason) {
        self.over.push((id, reason));
    }
}

/// Drives two ends in turn until it is so.
fn drive(
    (near, client): (&mut ConnectionManager, &mut Seen),
    (far, server): (&mut ConnectionManager, &mut Seen),
    until: impl Fn(&Seen, &Seen) -> bool,
) {
    let end = Instant::now() + PATIENCE;
    while !until(client, server) {
        assert!(Instant::now() < end, "it never came to be");
        near.update(Duration::from_millis(1), client).unwrap();
        far.update(Duration::from_millis(1), server).unwrap();
    }
}

/// What one read has brought, and how many segments with data the system had received by then, if it says so.
struct Segment {
    bytes: Bytes,
    count: Option<u32>,
}

/// Passes links on, and tells each read of what the dialler sends.
fn tap(to: SocketAddr) -> (SocketAddr, Receiver<Segment>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let at = listener.local_addr().unwrap();
    let (tell, reads) = channel();
    thread::spawn(move || {
        for near in listener.incoming() {
            let (Ok(near), Ok(far)) = (near, TcpStream::connect(to)) else { return };
            let _ = (near.set_nodelay(true), far.set_nodelay(true));
            let (Ok(back_to), Ok(back_from)) = (near.try_clone(), far.try_clone()) else { return };
            let tell = tell.clone();
            thread::spawn(move || {
                pass(near, far, |bytes, from| {
                    let _ =
                        tell.send(Segment { bytes: Bytes::copy_from_slice(bytes), count: segments(from) });
                });
            });
            thread::spawn(move || pass(back_from, back_to, |_, _| {}));
        }
    });
    (at, reads)
}

fn pass(mut from: TcpStream, mut to: TcpStream, see: impl Fn(&[u8], &TcpStream)) {
    let mut buffer = vec![0; 256 << 10];
    while let Ok(read) = from.read(&mut buffer)
        && read > 0
    {
        see(&buffer[..read], &from);
        if to.write_all(&buffer[..read]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Write);
}

/// `tcpi_data_segs_in` of Linux's `struct tcp_info`, which the libc crate knows only the older half of.
fn segments(socket: &TcpStream) -> Option<u32> {
    const DATA_SEGS_IN: usize = 152;
    let mut info = [0_u8; 512];
    let mut size = info.len() as libc::socklen_t;
    // SAFETY: the buffer is as long as `size` says, and both live through the call.
    let failed = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_INFO,
            info.as_mut_ptr().cast(),
            &raw mut size,
        )
    } != 0;
    let known = !failed && size as usize >= DATA_SEGS_IN + 4;
    known.then(|| u32::from_ne_bytes(info[DATA_SEGS_IN..DATA_SEGS_IN + 4].try_into().unwrap()))
}
