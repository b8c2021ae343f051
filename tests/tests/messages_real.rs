//! Messages by address on real sockets, through a proxy that cuts, splits and stalls what passes.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, Instant};
use xxnet_core::{Address, ClusterKey};
use xxnet_runtime_mio::Net;
use xxnet_runtime_mio::messages::{Message, NetEvent, NetOptions, Payload};
use xxnet_tests::proxy::{Plan, Proxy};

const WAIT: Duration = Duration::from_secs(60);

fn net_with(change: impl FnOnce(&mut NetOptions)) -> Net {
    let mut options = NetOptions::new(ClusterKey([9; 32]));
    change(&mut options);
    Net::start(options).unwrap()
}

fn net() -> Net {
    net_with(|_| {})
}

fn numbered(n: u64, size: usize) -> Vec<u8> {
    let mut bytes = n.to_le_bytes().to_vec();
    bytes.resize(8 + size, n as u8);
    bytes
}

fn read(message: &Message) -> u64 {
    let bytes = message.bytes();
    let n = u64::from_le_bytes(bytes[..8].try_into().unwrap());
    assert!(bytes[8..].iter().all(|byte| *byte == n as u8), "the bytes of message {n}");
    n
}

fn listen(net: &Net) -> SocketAddr {
    net.listen("127.0.0.1:0").unwrap().socket().unwrap()
}

/// Sends that many one way and half as many back, and checks that each arrives once and in order.
fn there_and_back(to: SocketAddr, server: &Net, client: &Net, count: u64, size: usize) {
    let taken = server.clone();
    let server = thread::spawn(move || {
        for n in 0..count {
            let message = taken.recv_timeout(WAIT).unwrap();
            assert_eq!(read(&message), n, "there");
            if n % 2 == 0 {
                taken.send(message.from(), numbered(n / 2, size)).unwrap();
            }
        }
        taken.flush(WAIT).unwrap();
    });
    let sending = client.clone();
    let sender = thread::spawn(move || {
        let sender = sending.to(to).unwrap();
        (0..count).for_each(|n| sender.send(numbered(n, size)).unwrap());
    });
    for n in 0..count.div_ceil(2) {
        assert_eq!(read(&client.recv_timeout(WAIT).unwrap()), n, "back");
    }
    sender.join().unwrap();
    server.join().unwrap();
    client.flush(WAIT).unwrap();
}

#[test]
fn n4_a_hundred_cuts_and_each_message_once_and_in_order() {
    // With a small window no link can carry much more than its cut lets through, in any order of threads: together the
    // hundred carry less than all there is to say.
    let small = |options: &mut NetOptions| options.limits.session_window = 32 << 10;
    let (server, client) = (net_with(small), net_with(small));
    let at = listen(&server);
    // Each link is cut at another byte, now on its way there, now on its way back; the last ones live.
    let proxy = Proxy::start(at, |link| {
        let bytes = 2_000 + link * 7_919 % 150_000;
        match link {
            100.. => Plan::default(),
            _ if link % 2 == 0 => Plan { cut_there: Some(bytes), ..Plan::default() },
            _ => Plan { cut_back: Some(bytes / 4), ..Plan::default() },
        }
    });
    there_and_back(proxy.address(), &server, &client, 150_000, 40);
    assert!(proxy.links() > 100, "only {} links were needed", proxy.links());
    assert_eq!((client.shutdown(WAIT), server.shutdown(WAIT)), (0, 0));
}

#[test]
fn n4_a_cut_at_every_byte_of_the_first_thousand() {
    let (server, client) = (net(), net());
    let at = listen(&server);
    // The handshake among them: a dial that is cut is made again.
    let proxy = Proxy::start(at, |link| match link {
        0..=199 => Plan { cut_there: Some(1 + link * 5), ..Plan::default() },
        200..=399 => Plan { cut_back: Some(1 + (link - 200) * 5), ..Plan::default() },
        _ => Plan::default(),
    });
    // Dials that are cut one after the other are given a pause each; 400 of them would take minutes.
    let quick = net_with(|options| {
        options.limits.backoff = (Duration::from_millis(1), Duration::from_millis(2));
    });
    there_and_back(proxy.address(), &server, &quick, 2_000, 100);
    assert!(proxy.links() > 200, "only {} links were made", proxy.links());
    drop(client);
}

#[test]
fn n4_n6_split_into_single_bytes_and_held_up() {
    let (server, client) = (net(), net());
    let at = listen(&server);
    let proxy = Proxy::start(at, |_| Plan { piece: 1, ..Plan::default() });
    there_and_back(proxy.address(), &server, &client, 300, 20);
    let slow = net();
    let proxy =
        Proxy::start(at, |_| Plan { piece: 4096, delay: Duration::from_millis(1), ..Plan::default() });
    there_and_back(proxy.address(), &server, &slow, 300, 1000);
}

#[test]
fn n3_both_dial_at_once_through_proxies_and_nothing_is_lost() {
    for round in 0..20 {
        let (one, two) = (net(), net());
        let (at_one, at_two) = (listen(&one), listen(&two));
        let to_two = Proxy::start(at_two, move |_| Plan {
            delay: Duration::from_micros(50 * (round % 5)),
            ..Plan::default()
        });
        let to_one = Proxy::start(at_one, |_| Plan::default());
        let senders = [(one.clone(), to_two.address()), (two.clone(), to_one.address())].map(|(net, to)| {
            thread::spawn(move || (0..500).for_each(|n| net.send(to, numbered(n, 10)).unwrap()))
        });
        for net in [&one, &two] {
            for n in 0..500 {
                assert_eq!(read(&net.recv_timeout(WAIT).unwrap()), n, "round {round}");
            }
        }
        senders.into_iter().for_each(|sender| sender.join().unwrap());
        one.flush(WAIT).unwrap();
        two.flush(WAIT).unwrap();
    }
}

#[test]
fn n3_a_black_holed_dial_does_not_hold_up_a_session_that_is_there() {
    let (one, two) = (net(), net());
    let at_one = listen(&one);
    let hole = Proxy::start(at_one, |_| Plan { silent: true, ..Plan::default() });
    two.send(at_one, numbered(1, 0)).unwrap();
    let from = one.recv_timeout(WAIT).unwrap();
    // To another address of the same, which never answers: that message waits, the session does not.
    two.send(hole.address(), numbered(7, 0)).unwrap();
    one.send(from.from(), numbered(2, 0)).unwrap();
    assert_eq!(read(&two.recv_timeout(WAIT).unwrap()), 2);
    assert_eq!(two.shutdown(Duration::from_millis(200)), 1, "what went into the hole is counted");
}

#[test]
fn n4_n11_gone_for_good_is_reported_exactly() {
    let quick = |options: &mut NetOptions| options.limits.session_timeout = Duration::from_millis(500);
    let (server, client) = (net_with(quick), net_with(quick));
    let at = listen(&server);
    // One link, which is cut; every later one is swallowed.
    let proxy = Proxy::start(at, |link| match link {
        0 => Plan { cut_there: Some(40_000), ..Plan::default() },
        _ => Plan { silent: true, ..Plan::default() },
    });
    for n in 0..1000 {
        client.send(proxy.address(), numbered(n, 40)).unwrap();
    }
    let mut taken = BTreeSet::new();
    let until = Instant::now() + WAIT;
    let undelivered = loop {
        while let Ok(message) = server.try_recv() {
            taken.insert(read(&message));
        }
        match client.events().next_timeout(Duration::from_millis(20)) {
            Ok(NetEvent::Undelivered { messages, .. }) => break messages,
            _ => assert!(Instant::now() < until, "no report"),
        }
    };
    let number = |payload: &Payload| match payload {
        Payload::Raw(bytes) => u64::from_le_bytes(bytes[..8].try_into().unwrap()),
        Payload::Dict(_) => panic!("a dict"),
    };
    let reported: Vec<u64> = undelivered.iter().map(number).collect();
    // All from the first that was not acknowledged on; everything before it was taken.
    assert!(reported.iter().copied().eq(reported[0]..1000), "{reported:?}");
    assert!((0..reported[0]).all(|n| taken.contains(&n)), "acknowledged means taken");
}

/// One that the server knows at an address, and another one that says that it listens there: what came of it.
fn two_at_one_address(
    change: impl Fn(&mut NetOptions),
    through: impl Fn(SocketAddr) -> Option<Proxy>,
) -> (Net, [Net; 2], SocketAddr, Option<Proxy>, Address) {
    let server = net_with(change);
    let to = listen(&server);
    let proxy = through(to);
    let (one, two) = (net(), net());
    let address = listen(&one);
    one.send(proxy.as_ref().map_or(to, Proxy::address), b"one".as_slice()).unwrap();
    assert_eq!(server.recv_timeout(WAIT).unwrap().from(), &address.into());
    one.flush(WAIT).unwrap();
    if let Some(proxy) = &proxy {
        proxy.freeze();
    }
    one.unlisten(&address.into());
    while two.listen(address).is_err() {
        thread::yield_now();
    }
    two.send(to, b"two".as_slice()).unwrap();
    let from = server.recv_timeout(WAIT).unwrap().from().clone();
    (server, [one, two], address, proxy, from)
}

#[test]
fn n3_an_address_stays_with_the_one_that_lives_and_each_gets_its_answers() {
    let (server, [one, two], address, _, from) = two_at_one_address(|_| {}, |_| None);
    assert_ne!(from, address.into(), "somebody else is known there");
    server.send(&from, b"to two".as_slice()).unwrap();
    assert_eq!(&two.recv_timeout(WAIT).unwrap().bytes()[..], b"to two");
    // By then the one that was known has said that it lives.
    server.send(address, b"to one".as_slice()).unwrap();
    assert_eq!(&one.recv_timeout(WAIT).unwrap().bytes()[..], b"to one");
    server.flush(WAIT).unwrap();
}

#[test]
fn n3_an_address_is_the_newcomers_once_the_one_before_it_does_not_answer() {
    let soon = |options: &mut NetOptions| {
        (options.limits.heartbeat, options.limits.suspect) =
            (Duration::from_millis(300), Duration::from_secs(1));
    };
    let (server, [_one, two], address, _proxy, from) =
        two_at_one_address(soon, |to| Some(Proxy::start(to, |_| Plan::default())));
    server.send(&from, b"at once".as_slice()).unwrap();
    assert_eq!(&two.recv_timeout(WAIT).unwrap().bytes()[..], b"at once");
    while !matches!(server.events().next_timeout(WAIT).unwrap(), NetEvent::Interrupted { .. }) {}
    server.send(address, b"at its own".as_slice()).unwrap();
    assert_eq!(&two.recv_timeout(WAIT).unwrap().bytes()[..], b"at its own");
}
