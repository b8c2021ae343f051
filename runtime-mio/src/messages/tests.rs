//! The threaded handle on real sockets, both ends in one process.

use super::*;
use std::collections::BTreeMap;
use std::thread;
use xxnet_core::Dict;
use xxnet_core::connection::DisconnectReason;

const WAIT: Duration = Duration::from_secs(30);

fn net() -> Net {
    net_with(|_| {})
}

fn net_with(change: impl FnOnce(&mut NetOptions)) -> Net {
    let mut options = NetOptions::new(ClusterKey([3; 32]));
    change(&mut options);
    Net::start(options).unwrap()
}

fn number(n: u64) -> Vec<u8> {
    n.to_le_bytes().to_vec()
}

fn read(message: &Message) -> u64 {
    u64::from_le_bytes(message.bytes()[..8].try_into().unwrap())
}

fn event(net: &Net, wanted: impl Fn(&NetEvent) -> bool) -> NetEvent {
    let until = Instant::now() + WAIT;
    loop {
        let left = until.saturating_duration_since(Instant::now());
        let event = net.events().next_timeout(left).expect("the event that is waited for");
        if wanted(&event) {
            return event;
        }
    }
}

#[test]
fn n1_without_a_connection_it_is_dialled_and_what_was_sent_goes_in_order() {
    let (server, client) = (net(), net());
    let to = server.listen("127.0.0.1:0").unwrap();
    for n in 0..1000 {
        client.send(&to, number(n)).unwrap();
    }
    for n in 0..1000 {
        assert_eq!(read(&server.recv_timeout(WAIT).unwrap()), n);
    }
    client.flush(WAIT).unwrap();
    assert_eq!(client.shutdown(WAIT), 0);
}

#[test]
fn n1_an_answer_goes_over_the_link_that_is_there() {
    let (server, client) = (net(), net());
    let to = server.listen("127.0.0.1:0").unwrap();
    client.send(&to, b"ask".as_slice()).unwrap();
    let asked = server.recv_timeout(WAIT).unwrap();
    // The client listens nowhere: there is no other way to it.
    server.send(asked.from(), b"answer".as_slice()).unwrap();
    let answer = client.recv_timeout(WAIT).unwrap();
    assert_eq!((&answer.bytes()[..], answer.from()), (&b"answer"[..], &to));
}

#[test]
fn n1_peers_that_listen_are_known_by_where_they_listen() {
    let (one, two) = (net(), net());
    let (at_one, at_two) = (one.listen("127.0.0.1:0").unwrap(), two.listen("127.0.0.1:0").unwrap());
    one.send(&at_two, b"there".as_slice()).unwrap();
    let came = two.recv_timeout(WAIT).unwrap();
    assert_eq!(came.from(), &at_one);
    two.send(&at_one, b"back".as_slice()).unwrap();
    assert_eq!(one.recv_timeout(WAIT).unwrap().from(), &at_two);
    // One session each way: nobody was dialled back.
    let connects = |net: &Net| {
        std::iter::from_fn(|| net.events().try_next().ok())
            .filter(|event| matches!(event, NetEvent::Connected { .. }))
            .count()
    };
    assert_eq!((connects(&one), connects(&two)), (1, 1));
}

#[test]
fn n2_listening_twice_is_an_error_and_the_first_is_unharmed() {
    let (server, client) = (net(), net());
    let to = server.listen("127.0.0.1:0").unwrap();
    assert!(matches!(server.listen(&to), Err(ListenError::AlreadyListening(held)) if held == to));
    assert!(matches!(client.listen(&to), Err(ListenError::System(at, _)) if at == to));
    client.send(&to, b"still there".as_slice()).unwrap();
    server.recv_timeout(WAIT).unwrap();
    server.unlisten(&to);
    // The address is free as soon as the system has closed it.
    let until = Instant::now() + WAIT;
    while client.listen(&to).is_err() {
        assert!(Instant::now() < until, "never free again");
        thread::yield_now();
    }
}

#[test]
fn n7_many_threads_on_one_connection_and_nothing_is_lost_or_mixed() {
    const THREADS: u64 = 8;
    const EACH: u64 = 2_000;
    let (server, client) = (net(), net());
    let to = server.listen("127.0.0.1:0").unwrap();
    let senders: Vec<_> = (0..THREADS)
        .map(|thread| {
            let sender = client.to(&to).unwrap();
            thread::spawn(move || {
                for n in 0..EACH {
                    let dict = Dict::from([("thread", (thread as i64).into()), ("n", (n as i64).into())]);
                    sender.send(&dict).unwrap();
                }
            })
        })
        .collect();
    let receivers: Vec<_> = (0..2)
        .map(|_| {
            let server = server.clone();
            thread::spawn(move || {
                let mut mine = Vec::new();
                while let Ok(message) = server.recv() {
                    let dict = message.dict().unwrap();
                    let field = |name| dict.get(name).unwrap().as_int().unwrap();
                    mine.push((field("thread"), field("n")));
                }
                mine
            })
        })
        .collect();
    senders.into_iter().for_each(|sender| sender.join().unwrap());
    client.flush(WAIT).unwrap();
    server.shutdown(WAIT);
    let mut seen: BTreeMap<i64, Vec<i64>> = BTreeMap::new();
    for receiver in receivers {
        let mut last: BTreeMap<i64, i64> = BTreeMap::new();
        for (thread, n) in receiver.join().unwrap() {
            // What one receiver takes of one sender is in order.
            assert!(last.insert(thread, n).is_none_or(|before| before < n));
            seen.entry(thread).or_default().push(n);
        }
    }
    for mut numbers in seen.into_values() {
        numbers.sort_unstable();
        assert!(numbers.into_iter().eq(0..EACH as i64));
    }
}

#[test]
fn n7_a_full_queue_is_an_error_or_a_wait_as_the_caller_chose() {
    let client = net_with(|options| options.queue = 10_000);
    let server = net_with(|options| options.limits.session_window = 2_000);
    let to = server.listen("127.0.0.1:0").unwrap();
    let sender = client.to(&to).unwrap();
    let mut sent = 0;
    let full = loop {
        match sender.try_send(vec![7; 966]) {
            Ok(()) => sent += 1,
            Err(error) => break error,
        }
    };
    assert!(matches!(full, SendError::Full(Payload::Raw(bytes)) if bytes.len() == 966));
    assert_eq!(sent, 10, "what the queue holds");
    let waits = thread::spawn(move || (0..20).for_each(|_| sender.send(vec![7; 966]).unwrap()));
    for _ in 0..30 {
        assert_eq!(server.recv_timeout(WAIT).unwrap().bytes().len(), 966);
    }
    waits.join().unwrap();
    client.flush(WAIT).unwrap();
}

#[test]
fn n7_a_wait_for_room_may_have_an_end() {
    let client = net_with(|options| options.queue = 10_000);
    let server = net_with(|options| options.limits.session_window = 2_000);
    let to = server.listen("127.0.0.1:0").unwrap();
    while client.try_send(&to, vec![7; 966]).is_ok() {}
    let full = client.send_timeout(&to, vec![8; 966], Duration::from_millis(20));
    assert!(matches!(full, Err(SendError::Full(Payload::Raw(bytes))) if bytes[..] == [8; 966]));
    let taker = thread::spawn(move || server.iter().take(11).count());
    client.send_timeout(&to, vec![9; 966], WAIT).unwrap();
    assert_eq!(taker.join().unwrap(), 11);
    client.shutdown(Duration::ZERO);
    assert!(matches!(client.send_timeout(&to, vec![9; 966], WAIT), Err(SendError::Closed)));
}

#[test]
fn n4_what_is_held_and_not_taken_is_not_acknowledged() {
    let (server, client) = (net(), net());
    let to = server.listen("127.0.0.1:0").unwrap();
    (0..4).for_each(|n| client.send(&to, number(n)).unwrap());
    let (first, second) = (server.recv_held().unwrap(), server.recv_held().unwrap());
    assert_eq!((read(&first), read(&second)), (0, 1));
    // One stands for all before it, and what is taken late takes nothing back.
    assert_eq!(read(&second.take()), 1);
    assert_eq!(read(&first.take()), 0);
    drop(server.recv_held().unwrap());
    server.shutdown(WAIT);
    let told = event(&client, |event| matches!(event, NetEvent::Undelivered { .. }));
    let NetEvent::Undelivered { messages, .. } = told else { unreachable!() };
    assert_eq!(messages, [2, 3].map(|n| Payload::Raw(number(n).into())));
    assert!(matches!(server.recv_held().map(|held| read(&held)), Ok(3)), "it had come");
    assert!(matches!(server.recv_held(), Err(RecvError::Closed)));
}

#[test]
fn n8_a_peer_that_takes_nothing_holds_back_nobody_else() {
    let client = net_with(|options| options.queue = 100_000);
    let (lazy, busy) = (net_with(|options| options.limits.session_window = 2_000), net());
    let (to_lazy, to_busy) = (lazy.listen("127.0.0.1:0").unwrap(), busy.listen("127.0.0.1:0").unwrap());
    while client.try_send(&to_lazy, vec![0; 1000]).is_ok() {}
    for n in 0..500 {
        client.send(&to_busy, number(n)).unwrap();
    }
    for n in 0..500 {
        assert_eq!(read(&busy.recv_timeout(WAIT).unwrap()), n);
    }
    assert!(client.try_send(&to_lazy, vec![0; 1000]).is_err(), "and still nothing was taken there");
    assert!(client.shutdown(Duration::from_millis(10)) > 90, "what it never took is counted");
}

#[test]
fn n10_to_oneself_to_an_address_that_refuses_and_to_something_else() {
    let net = net_with(|options| {
        options.limits.session_timeout = Duration::from_millis(300);
        options.limits.connect = Duration::from_millis(200);
    });
    let own = net.listen("127.0.0.1:0").unwrap();
    net.send(&own, b"to myself".as_slice()).unwrap();
    assert_eq!(&net.recv_timeout(WAIT).unwrap().bytes()[..], b"to myself");
    net.flush(WAIT).unwrap();
    // By a name that is not known to be ours: the handshake finds out.
    let wild = net.listen("0.0.0.0:0").unwrap();
    net.send(format!("localhost:{}", wild.port()), b"here too".as_slice()).unwrap();
    assert_eq!(&net.recv_timeout(WAIT).unwrap().bytes()[..], b"here too");
    // Nobody listens there: tried again until time is up, then reported.
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    net.send(free, b"lost".as_slice()).unwrap();
    let told = event(&net, |event| matches!(event, NetEvent::Retrying { .. }));
    assert!(matches!(told, NetEvent::Retrying { to, .. } if to == free.into()));
    let told = event(&net, |event| matches!(event, NetEvent::Undelivered { .. }));
    let NetEvent::Undelivered { to, messages, .. } = told else { unreachable!() };
    assert_eq!((to, messages), (free.into(), vec![Payload::Raw(b"lost".as_slice().into())]));
    net.flush(WAIT).unwrap();
}

#[test]
fn n10_what_answers_speaks_http() {
    use std::io::{Read, Write};
    let http = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let at = http.local_addr().unwrap();
    thread::spawn(move || {
        for stream in http.incoming() {
            let mut stream = stream.unwrap();
            let _ = stream.read(&mut [0; 100]);
            let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n");
        }
    });
    let net = net();
    net.send(at, b"?".as_slice()).unwrap();
    let told = event(&net, |event| matches!(event, NetEvent::Undelivered { .. }));
    let NetEvent::Undelivered { reason, .. } = told else { unreachable!() };
    assert_eq!(reason.to_string(), "what answers there speaks HTTP, not xxnet");
}

#[test]
fn k9_the_seeds_integration_test_by_address() {
    let (server, client) = (net(), net());
    let to = server.listen("127.0.0.1:0").unwrap();
    let serving = thread::spawn(move || {
        let asked = server.recv_timeout(WAIT).unwrap();
        server.send(asked.from(), asked.bytes()).unwrap();
        let ended = event(&server, |event| matches!(event, NetEvent::Disconnected { .. }));
        // The reply was acknowledged: nothing is left when the other end closes.
        (ended, server.shutdown(Duration::ZERO))
    });
    client.send(&to, number(7)).unwrap();
    assert_eq!(read(&client.recv_timeout(WAIT).unwrap()), 7);
    assert_eq!(client.shutdown(WAIT), 0);
    let (ended, undelivered) = serving.join().unwrap();
    assert!(matches!(ended, NetEvent::Disconnected { reason: DisconnectReason::ClosedByPeer, .. }));
    assert_eq!(undelivered, 0);
}

#[test]
fn n14_shutdown_delivers_what_was_accepted_and_a_second_is_harmless() {
    let (server, client) = (net(), net());
    let to = server.listen("127.0.0.1:0").unwrap();
    let taken = server.clone();
    let taker = thread::spawn(move || taken.iter().map(|message| read(&message)).collect::<Vec<_>>());
    for n in 0..5_000 {
        client.send(&to, number(n)).unwrap();
    }
    assert_eq!(client.shutdown(WAIT), 0);
    assert_eq!(client.shutdown(WAIT), 0);
    assert!(matches!(client.send(&to, number(0)), Err(SendError::Closed)));
    assert_eq!(client.recv().unwrap_err(), RecvError::Closed);
    server.shutdown(WAIT);
    assert!(taker.join().unwrap().into_iter().eq(0..5_000));
}

#[test]
fn n14_what_cannot_be_delivered_within_the_drain_is_reported() {
    let (server, client) = (net(), net());
    let to = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    // Sent before anybody listens, they arrive together.
    client.send(to, number(1)).unwrap();
    client.send(to, number(2)).unwrap();
    server.listen(to).unwrap();
    assert_eq!(read(&server.recv_timeout(WAIT).unwrap()), 1);
    // The second one is there, and never taken: that keeps the first from being acknowledged no longer than usual.
    assert_eq!(client.shutdown(Duration::from_secs(1)), 1);
    let told = event(&client, |event| matches!(event, NetEvent::Undelivered { .. }));
    let NetEvent::Undelivered { messages, .. } = told else { unreachable!() };
    assert_eq!(messages, [Payload::Raw(number(2).into())]);
}

#[test]
fn two_that_only_echo_under_full_buffers_go_on() {
    let small = || {
        net_with(|options| {
            options.queue = 20_000;
            options.limits.session_window = 4_000;
        })
    };
    let (one, two) = (small(), small());
    let to = two.listen("127.0.0.1:0").unwrap();
    for n in 0..12 {
        one.send(&to, [number(n), vec![0; 1000]].concat()).unwrap();
    }
    let echo = two.clone();
    let echoing = thread::spawn(move || {
        while let Ok(message) = echo.recv() {
            if echo.send(message.from(), message.bytes()).is_err() {
                return;
            }
        }
    });
    for n in 0..2_000 {
        let message = one.recv_timeout(WAIT).unwrap();
        assert_eq!(read(&message), n % 12);
        one.send(message.from(), message.bytes()).unwrap();
    }
    two.shutdown(Duration::ZERO);
    echoing.join().unwrap();
}

#[test]
fn n10_an_echo_is_not_ourselves_and_shutdown_ends_all_the_same() {
    use std::io::{Read, Write};
    // Whatever is said to it comes back, our own Hello too: nobody has the key there, and nothing may count as delivered.
    let mirror = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let at = mirror.local_addr().unwrap();
    thread::spawn(move || {
        for stream in mirror.incoming() {
            let mut stream = stream.unwrap();
            thread::spawn(move || {
                let mut bytes = [0; 4096];
                while let Ok(read @ 1..) = stream.read(&mut bytes) {
                    if stream.write_all(&bytes[..read]).is_err() {
                        return;
                    }
                }
            });
        }
    });
    let net = net();
    net.send(at, b"?".as_slice()).unwrap();
    event(&net, |event| matches!(event, NetEvent::Retrying { .. }));
    assert_eq!(net.try_recv().unwrap_err(), RecvError::Timeout);
    assert_eq!(net.shutdown(Duration::from_millis(300)), 1, "told as undelivered");
}

#[test]
fn n14_shutdown_ends_while_a_dial_finds_that_it_has_reached_ourselves() {
    for _ in 0..20 {
        let net = net();
        let wild = net.listen("0.0.0.0:0").unwrap();
        net.send(format!("127.0.0.1:{}", wild.port()), b"here".as_slice()).unwrap();
        net.shutdown(Duration::from_millis(50));
        assert!(net.flush(WAIT).is_ok(), "everything is settled");
    }
}

#[test]
fn n1_two_names_of_one_peer_keep_each_address_in_order() {
    let (server, client) = (net(), net());
    // Nobody listens yet: both addresses wait, each with its own pause.
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let name = format!("localhost:{}", free.port());
    for n in 0..50 {
        client.send(&name, number(2 * n)).unwrap();
        client.send(free, number(2 * n + 1)).unwrap();
    }
    event(&client, |event| matches!(event, NetEvent::Retrying { .. }));
    server.listen(free).unwrap();
    let mut last = [None, None];
    for round in 0..100 {
        let message = read(&server.recv_timeout(WAIT).unwrap());
        // As soon as one of the two is through, more is sent to the other.
        if round < 50 {
            client.send(free, number(101 + 2 * round)).unwrap();
        }
        let last = &mut last[(message % 2) as usize];
        assert!(last.is_none_or(|before| before < message), "{message} came behind {last:?}");
        *last = Some(message);
    }
}

#[test]
fn n7_times_without_end_are_waits_without_end() {
    let (server, client) = (net(), net());
    let to = server.listen("127.0.0.1:0").unwrap();
    client.send(&to, number(1)).unwrap();
    assert_eq!(read(&server.recv_timeout(Duration::MAX).unwrap()), 1);
    client.flush(Duration::MAX).unwrap();
}

#[test]
fn n8_peers_that_come_and_go_fill_no_more_than_the_inbox() {
    let room = 1 << 20;
    let server = net_with(|options| options.inbox = room);
    let to = server.listen("127.0.0.1:0").unwrap().socket().unwrap();
    let full = |event: &NetEvent| matches!(event, NetEvent::Retrying { reason: DisconnectReason::Full, .. });
    // Each leaves as soon as it is in, and what it has sent by then stays.
    let mut sent = 0;
    let waits = loop {
        let client = net();
        client.send(to, vec![7; 64 << 10]).unwrap();
        let first = event(&client, |event| full(event) || matches!(event, NetEvent::Connected { .. }));
        if full(&first) {
            break client;
        }
        sent += 1;
        assert!(sent < 1000, "everybody was let in");
        // What it said before it left is there once the next one is.
        client.shutdown(Duration::ZERO);
    };
    event(&server, |event| matches!(event, NetEvent::TurnedAway { reason: DisconnectReason::Full, .. }));
    // Nothing is lost: who was refused is let in once there is room.
    let flushed = thread::spawn(move || waits.flush(WAIT).map(|()| waits));
    while !flushed.is_finished() {
        if let Ok(message) = server.recv_timeout(Duration::from_millis(10)) {
            assert_eq!(message.bytes().len(), 64 << 10);
        }
    }
    flushed.join().unwrap().unwrap();
}

#[test]
fn n8_addresses_that_nobody_needs_are_forgotten() {
    let (server, client) = (net(), net());
    let to = server.listen("127.0.0.1:0").unwrap().socket().unwrap();
    let kept = client.to(to).unwrap();
    for n in 0..10_000_u32 {
        client.to(std::net::SocketAddr::from((n.to_be_bytes(), 1))).unwrap();
    }
    assert!(client.shared.counts().0 < 200, "{:?}", client.shared.counts());
    // A door that is held still leads there, and so does a new one.
    kept.send(number(1)).unwrap();
    client.send(to, number(2)).unwrap();
    assert_eq!([(); 2].map(|()| read(&server.recv_timeout(WAIT).unwrap())), [1, 2]);
}

#[test]
fn n7_a_flush_waits_for_what_was_sent_before_it_and_not_for_as_many_others() {
    let server = net_with(|options| options.limits.max_data = 2 << 20);
    let client = net();
    let to = server.listen("127.0.0.1:0").unwrap().socket().unwrap();
    client.send(to, number(1)).unwrap();
    event(&client, |event| matches!(event, NetEvent::Connected { .. }));
    let flush = thread::spawn({
        let client = client.clone();
        move || client.flush(WAIT)
    });
    while client.shared.counts().1 == 0 {
        thread::yield_now();
    }
    // More than this peer takes, sent after the flush began: settled at once, and the first still is not.
    client.send(to, vec![0; 3 << 20]).unwrap();
    event(&client, |event| matches!(event, NetEvent::Refused { .. }));
    // That it has settled comes behind the word that it was refused.
    while client.shared.counts().1 > 1 {
        thread::yield_now();
    }
    assert_eq!(client.flush(Duration::from_millis(1)), Err(FlushError { outstanding: 1 }));
    assert!(!flush.is_finished(), "it went by the number");
    assert_eq!(read(&server.recv_timeout(WAIT).unwrap()), 1);
    flush.join().unwrap().unwrap();
    assert_eq!(client.shared.counts().1, 0);
}

#[test]
fn how_peers_fare_is_told_while_they_are_known() {
    let (server, client) = (net(), net());
    let to = server.listen("127.0.0.1:0").unwrap().socket().unwrap();
    assert_eq!((client.peers(), client.peer(to).unwrap()), (vec![], None));
    client.send(to, number(1)).unwrap();
    client.send(to, number(2)).unwrap();
    let come = server.recv_timeout(WAIT).unwrap();
    event(&client, |event| matches!(event, NetEvent::Connected { .. }));
    let report = server.peer(come.from()).unwrap().unwrap();
    assert_eq!((&report.at, report.peer.unwrap().instance), (come.from(), come.instance()));
    server.recv_timeout(WAIT).unwrap();
    client.flush(WAIT).unwrap();
    let report = client.peer(to).unwrap().unwrap();
    let statistics = report.statistics.unwrap();
    assert_eq!((statistics.links, statistics.queued.packs, report.waiting.packs), (1, 0, 0));
    assert!(statistics.traffic.sent.packs >= 4, "Hello, Confirm and two messages: {statistics:?}");
    assert!(statistics.round_trip.is_some());
    assert_eq!(client.peers().len(), 1);
    // What waits for somebody who is not there is counted, too.
    client.send("127.0.0.1:1", number(3)).unwrap();
    assert_eq!(client.peer("127.0.0.1:1").unwrap().unwrap().waiting.packs, 1);
    client.shutdown(Duration::ZERO);
    assert_eq!(client.peers(), []);
}

#[test]
fn n2_n6_a_unix_socket_carries_sessions_and_answers() {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("x.sock");
    let text = format!("unix:{}", path.display());
    let (server, client) = (net(), net());
    let at = server.listen(&text).unwrap();
    assert_eq!(at.to_string(), text);
    assert!(matches!(server.listen(&text), Err(ListenError::AlreadyListening(held)) if held == at));
    assert!(matches!(client.listen(&at), Err(ListenError::System(_, NetError::AddressInUse))));
    // The client listens nowhere, and has no address: it is answered all the same, by its name, written or not.
    let echo = server.clone();
    let serving = thread::spawn(move || {
        for _ in 0..2_000 {
            let asked = echo.recv().unwrap();
            assert!(asked.from().is_passing(), "{}", asked.from());
            echo.send(asked.from().to_string(), asked.bytes().to_vec()).unwrap();
        }
    });
    let ask = client.to(&text).unwrap();
    for n in 0..2_000 {
        ask.send(number(n)).unwrap();
    }
    for n in 0..2_000 {
        assert_eq!(read(&client.recv_timeout(WAIT).unwrap()), n);
    }
    serving.join().unwrap();

    // The server goes, and its file with it; what comes in its place is another, and gets what is sent from then on.
    assert_eq!(server.shutdown(WAIT), 0);
    event(&client, |event| matches!(event, NetEvent::Disconnected { .. }));
    assert!(path.symlink_metadata().is_err());
    ask.send(number(7)).unwrap();
    let next = net();
    next.listen(&at).unwrap();
    assert_eq!(read(&next.recv_timeout(WAIT).unwrap()), 7);
    client.flush(WAIT).unwrap();

    // Who has gone and had no address is not waited for.
    next.send("unix:#999999", number(8)).unwrap();
    let lost = event(&next, |event| matches!(event, NetEvent::Undelivered { .. }));
    let NetEvent::Undelivered { to, messages, .. } = lost else { panic!() };
    assert_eq!((to.to_string().as_str(), messages.len()), ("unix:#999999", 1));
}
