//! Sessions (PROTOCOL B): what two instances owe each other, case by case. Whatever happens to their links is in
//! `session_chaos.rs`.

use crate::peer::*;
use crate::world::*;
use std::time::Duration;
use xxnet_core::connection::*;
use xxnet_core::net::{NetError, NetEvent};
use xxnet_core::pack::{DataPack, PackType};
use xxnet_core::*;

const A: &str = "10.0.0.1:7000";
const B: &str = "10.0.0.2:7000";

/// Two nodes that listen, and say where.
pub fn two() -> World {
    listening(2)
}

pub fn listening(nodes: usize) -> World {
    let mut world = World::new(nodes);
    for node in 0..nodes {
        let at = format!("10.0.0.{}:7000", node + 1);
        world.listener(node, &at);
        world.command(node, ConnectionCommand::Advertise { address: Some(address(&at)) });
    }
    world
}

impl World {
    /// What was received on a connection since the last time, taken by the application; all else that was told.
    pub fn receive(&mut self, node: usize) -> (Vec<String>, Vec<ConnectionEvent>) {
        let (mut texts, mut rest) = (Vec::new(), Vec::new());
        for event in self.take(node) {
            match event {
                ConnectionEvent::Received { id, pack } => {
                    let sequence = pack.sequence;
                    texts.push(text(pack));
                    self.command(node, ConnectionCommand::Taken { id, sequence });
                }
                other => rest.push(other),
            }
        }
        (texts, rest)
    }

    /// Texts alone.
    pub fn texts(&mut self, node: usize) -> Vec<String> {
        self.receive(node).0
    }

    /// Time for an acknowledgement to go out.
    pub fn acknowledge(&mut self) {
        self.pass(Duration::from_millis(2));
    }

    /// Sends many, none refused.
    pub fn send_all(&mut self, node: usize, id: ConnectionId, texts: &[&str]) {
        texts.iter().for_each(|text| self.send(node, id, text).unwrap());
    }
}

pub fn text(pack: DataPack) -> String {
    let dict = Dict::from_pack(&pack).unwrap();
    dict.get("text").unwrap().as_str().unwrap().to_owned()
}

fn undelivered(events: &[ConnectionEvent]) -> Vec<String> {
    let packs = events.iter().filter_map(|event| match event {
        ConnectionEvent::Undelivered { packs, .. } => Some(packs.clone()),
        _ => None,
    });
    packs.flatten().map(text).collect()
}

fn reason(events: &[ConnectionEvent]) -> Option<DisconnectReason> {
    events.iter().find_map(|event| match event {
        ConnectionEvent::Disconnected { reason, .. } => Some(reason.clone()),
        _ => None,
    })
}

#[test]
fn a_kind_that_contradicts_itself_is_refused() {
    let mut world = World::new(1);
    for kind in [
        ConnectionKind::plain(KindId(2000), LinkRule::OnePerPair, Role::Both),
        ConnectionKind {
            allow_self: true,
            ..ConnectionKind::session(KindId(2000), LinkRule::OnePerPair, Role::Both)
        },
        ConnectionKind::session(KindId(2000), LinkRule::Many, Role::Listen),
    ] {
        let token = world.token(0);
        world.command(0, ConnectionCommand::Register { token, kind });
        let told = world.nodes[0].notices.pop();
        let bad = |error: &ConnectionError| matches!(error, ConnectionError::BadKind(_));
        assert!(matches!(&told, Some(ConnectionNotice::Rejected { error, .. }) if bad(error)), "{told:?}");
    }
}

#[test]
fn n4_after_a_break_each_message_arrives_once_and_in_order() {
    for kind in [PAIR, ONE_SESSION, SESSIONS] {
        let mut world = two();
        let (a, b) = world.join(0, 1, kind, B);
        world.send_all(0, a, &["1", "2"]);
        world.run();
        assert_eq!(world.texts(1), ["1", "2"]);
        // Nobody has heard of the acknowledgement when the link breaks, with one more under way.
        world.send_all(0, a, &["3"]);
        world.break_link(world.newest_end(0));
        world.send_all(0, a, &["4", "5"]);
        world.send_all(1, b, &["back"]);
        world.pass(Duration::from_secs(1));
        assert_eq!(world.texts(1), ["3", "4", "5"], "{kind}");
        assert_eq!(world.texts(0), ["back"]);
        world.acknowledge();
        let told = world.take(0);
        assert!(
            matches!(told.last(), Some(ConnectionEvent::Acknowledged { sequence: 5, .. })),
            "{kind}: {told:?}"
        );
        // The same connection all along.
        assert_eq!(world.state(0, a), Some(ConnectionState::Connected));
        assert_eq!(world.state(1, b), Some(ConnectionState::Connected));
    }
}

#[test]
fn n4_a_break_is_told_and_so_is_its_end() {
    let mut world = two();
    let (a, b) = world.join(0, 1, SESSIONS, B);
    world.break_link(world.newest_end(0));
    world.pass(Duration::from_secs(1));
    for (node, id) in [(0, a), (1, b)] {
        let told = world.take(node);
        let gone = ConnectionEvent::Interrupted { id, reason: DisconnectReason::Net(NetError::Reset) };
        assert_eq!(told, [gone, ConnectionEvent::Resumed { id }], "node {node}");
    }
}

#[test]
fn acknowledged_means_taken_by_the_application() {
    let mut world = two();
    let (a, b) = world.join(0, 1, PAIR, B);
    world.send_all(0, a, &["1", "2"]);
    world.pass(Duration::from_secs(1));
    assert_eq!(world.take(0), [], "received is not taken");
    world.command(1, ConnectionCommand::Taken { id: b, sequence: 1 });
    world.acknowledge();
    assert_eq!(world.take(0), [ConnectionEvent::Acknowledged { id: a, sequence: 1 }]);
    // What cannot have been taken does not count.
    world.command(1, ConnectionCommand::Taken { id: b, sequence: 99 });
    world.acknowledge();
    assert_eq!(world.take(0), [ConnectionEvent::Acknowledged { id: a, sequence: 2 }]);
}

#[test]
fn an_acknowledgement_goes_along_with_a_message() {
    let mut world = two();
    let (a, b) = world.join(0, 1, PAIR, B);
    world.send_all(0, a, &["ask"]);
    world.run();
    assert_eq!(world.texts(1), ["ask"]);
    world.send_all(1, b, &["answer"]);
    world.run();
    let (texts, rest) = world.receive(0);
    assert_eq!(
        (texts, rest),
        (vec!["answer".into()], vec![ConnectionEvent::Acknowledged { id: a, sequence: 1 }])
    );
}

#[test]
fn who_answers_at_once_is_not_woken_for_an_acknowledgement() {
    let mut world = two();
    let (a, b) = world.join(0, 1, PAIR, B);
    let (c, _) = world.join(0, 1, SESSIONS, B);
    world.send_all(0, a, &["ask"]);
    world.run();
    let before = world.nodes[1].machine.deadline();
    assert_eq!(world.texts(1), ["ask"]);
    let waits = world.nodes[1].machine.deadline();
    assert!(waits < before, "an acknowledgement waits for a message to go along with");
    world.send_all(1, b, &["answer"]);
    assert!(world.nodes[1].machine.deadline() >= before, "it has gone along");
    // What waits behind another session's is still said in time.
    world.send_all(0, a, &["again"]);
    world.send_all(0, c, &["more"]);
    world.run();
    assert_eq!(world.texts(1), ["again", "more"]);
    world.send_all(1, b, &["answer"]);
    world.acknowledge();
    let told = world.take(0);
    for heard in [
        ConnectionEvent::Acknowledged { id: a, sequence: 2 },
        ConnectionEvent::Acknowledged { id: c, sequence: 1 },
    ] {
        assert!(told.contains(&heard), "{told:?}");
    }
}

#[test]
fn n8_a_peer_that_takes_nothing_is_sent_no_more_than_its_window() {
    let mut world = World::new(0);
    for _ in 0..2 {
        world.add(|config| {
            config.limits.session_window = 1000;
            config.limits.session_queue = 4000;
            config.limits.high_water = 2000;
        });
    }
    world.listener(1, B);
    let (a, b) = world.join(0, 1, SESSIONS, B);
    let pack = || DataPack::new(PackType::RAW, vec![7; 66]);
    let mut sent = 0;
    while world.send_pack(0, a, pack()).is_ok() {
        sent += 1;
    }
    assert_eq!(sent, 40, "what the queue holds, at 100 bytes a message");
    assert_eq!(world.send_pack(0, a, pack()), Err(ConnectionError::QueueFull));
    assert!(!world.nodes[0].machine.manager().writable(a));
    world.pass(Duration::from_secs(30));
    let came = world.take(1);
    assert_eq!(came.len(), 10, "the window, at 100 bytes a message");
    assert_eq!(world.take(0), [], "and the link lives");
    // Whatever is taken makes room for as much.
    world.command(1, ConnectionCommand::Taken { id: b, sequence: 10 });
    world.pass(Duration::from_secs(1));
    assert_eq!(world.take(1).len(), 10);
    world.command(1, ConnectionCommand::Taken { id: b, sequence: 20 });
    world.acknowledge();
    let told = world.take(0);
    assert!(!told.contains(&ConnectionEvent::Writable { id: a }), "at the mark is not below it");
    world.command(1, ConnectionCommand::Taken { id: b, sequence: 21 });
    world.acknowledge();
    let told = world.take(0);
    assert!(told.contains(&ConnectionEvent::Writable { id: a }), "{told:?}");
}

#[test]
fn n8_who_was_refused_a_large_message_is_told_of_room_below_the_mark() {
    let mut world = World::new(0);
    for _ in 0..2 {
        world.add(|config| {
            config.limits.session_queue = 4000;
            config.limits.high_water = 2000;
        });
    }
    world.listener(1, B);
    let (a, b) = world.join(0, 1, SESSIONS, B);
    let pack = |size: usize| DataPack::new(PackType::RAW, vec![7; size - 34]);
    world.send_pack(0, a, pack(1000)).unwrap();
    assert_eq!(world.send_pack(0, a, pack(3500)), Err(ConnectionError::QueueFull));
    world.run();
    world.take(1);
    world.command(1, ConnectionCommand::Taken { id: b, sequence: 1 });
    world.acknowledge();
    let told = world.take(0);
    assert!(told.contains(&ConnectionEvent::Writable { id: a }), "{told:?}");
    world.send_pack(0, a, pack(3500)).unwrap();
}

#[test]
fn n3_both_dial_at_once_and_one_link_is_left() {
    // Every order in which the events of the crossing dials can come is `session_chaos.rs`'s; here is the plainest.
    let mut world = two();
    let a = world.create_to(0, PAIR, B, None).unwrap();
    let b = world.create_to(1, PAIR, A, None).unwrap();
    world.connect(0, a, None).unwrap();
    world.connect(1, b, None).unwrap();
    world.pass(Duration::from_secs(1));
    assert_eq!((world.open_ends(0), world.open_ends(1)), (1, 1), "one link");
    // At each end one connection has the session, whichever it is.
    let mut up = Vec::new();
    for node in 0..2 {
        let mut live = Vec::new();
        for event in world.take(node) {
            match event {
                ConnectionEvent::Connected { id, .. } | ConnectionEvent::Accepted { id, .. } => live.push(id),
                ConnectionEvent::Disconnected {
                    id, reason: DisconnectReason::ConnectedAs(other), ..
                } => {
                    assert!(live.contains(&other) && !live.contains(&id));
                }
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(live.len(), 1, "node {node}");
        up.push(live[0]);
    }
    world.send_all(0, up[0], &["there"]);
    world.send_all(1, up[1], &["and back"]);
    world.run();
    assert_eq!((world.texts(0), world.texts(1)), (vec!["and back".into()], vec!["there".into()]));
}

#[test]
fn n3_one_of_two_crossing_dials_is_black_holed_for_ever() {
    for silent in [A, B] {
        let mut world = two();
        world.dialling.insert(socket(silent), Dialling::Never);
        let a = world.create_to(0, PAIR, B, None).unwrap();
        let b = world.create_to(1, PAIR, A, None).unwrap();
        world.connect(0, a, None).unwrap();
        world.connect(1, b, None).unwrap();
        world.pass(Duration::from_secs(20));
        let up = |world: &mut World, node| {
            world.take(node).into_iter().find_map(|event| match event {
                ConnectionEvent::Connected { id, .. } | ConnectionEvent::Accepted { id, .. } => Some(id),
                _ => None,
            })
        };
        let (a, b) = (up(&mut world, 0).unwrap(), up(&mut world, 1).unwrap());
        world.send_all(0, a, &["there"]);
        world.send_all(1, b, &["and back"]);
        world.run();
        assert_eq!((world.texts(0).len(), world.texts(1).len()), (1, 1));
    }
}

#[test]
fn n3_a_second_connect_to_a_pair_joins_the_first() {
    let mut world = two();
    let (a, _) = world.join(0, 1, PAIR, B);
    let again = world.create_to(0, PAIR, B, None).unwrap();
    world.connect(0, again, None).unwrap();
    world.pass(Duration::from_secs(1));
    assert_eq!(world.take_reason(0, again), DisconnectReason::ConnectedAs(a));
    assert_eq!(world.open_ends(0), 1);
    world.send_all(0, a, &["on"]);
    world.run();
    assert_eq!(world.texts(1), ["on"]);
}

#[test]
fn n3_n13_the_other_end_is_half_open() {
    for kind in [PAIR, ONE_SESSION, SESSIONS] {
        let mut world = two();
        let (a, b) = world.join(0, 1, kind, B);
        // The acceptor knows nothing of the end, and holds an established link when the dialler comes again.
        world.reset(world.newest_end(0));
        world.send_all(0, a, &["1"]);
        world.send_all(1, b, &["2"]);
        world.pass(Duration::from_secs(1));
        assert_eq!((world.texts(0), world.texts(1)), (vec!["2".into()], vec!["1".into()]), "{kind}");
        assert_eq!((world.open_ends(0), world.open_ends(1)), (1, 1));
    }
}

/// The dialler is established with the Welcome; its Confirm comes to an end that is gone, and nobody tells it. The other end has no
/// session, and dials by itself.
#[test]
fn n13_established_at_one_end_only() {
    // The dialler is the one who chooses, or the one who follows.
    for (here, there) in [(0, 1), (1, 0)] {
        let at = [A, B];
        let mut world = two();
        let a = world.create_to(here, PAIR, at[there], None).unwrap();
        world.connect(here, a, None).unwrap();
        while world.state(here, a) != Some(ConnectionState::Connected) {
            assert!(world.run_one(), "a dial that is answered");
        }
        world.send_all(here, a, &["1", "2"]);
        world.events.retain(|(node, event)| *node != there || !matches!(event, NetEvent::Received { .. }));
        world.reset(world.newest_end(there));
        let b = world.create_to(there, PAIR, at[here], None).unwrap();
        world.connect(there, b, None).unwrap();
        world.run();
        let (texts, told) = world.receive(there);
        assert!(matches!(told[0], ConnectionEvent::TurnedAway { .. }), "it was never there: {told:?}");
        assert_eq!(texts, ["1", "2"], "what was sent on the link that was one end's alone");
        assert_eq!(world.state(there, b), Some(ConnectionState::Connected));
        world.send_all(there, b, &["back"]);
        world.pass(Duration::from_secs(1));
        assert_eq!((world.texts(there), world.texts(here)), (vec![], vec!["back".into()]), "nothing twice");
        assert_eq!((world.open_ends(here), world.open_ends(there)), (1, 1), "one link is left");
        assert_eq!(world.state(here, a), Some(ConnectionState::Connected), "the same session all along");
    }
}

#[test]
fn n13_the_acceptor_of_a_pair_dials_too() {
    let mut world = two();
    let (_, b) = world.join(0, 1, PAIR, B);
    // Whoever dialled cannot any more.
    world.dialling.insert(socket(B), Dialling::Fails(NetError::Unreachable));
    world.break_link(world.newest_end(0));
    world.send_all(1, b, &["still here"]);
    world.pass(Duration::from_secs(5));
    assert_eq!(world.texts(0), ["still here"]);
}

#[test]
fn n4_n13_gone_for_longer_than_the_timeout_is_reported() {
    for kind in [PAIR, ONE_SESSION, SESSIONS] {
        let mut world = two();
        let (a, b) = world.join(0, 1, kind, B);
        world.send_all(0, a, &["1", "2"]);
        world.run();
        assert_eq!(world.texts(1), ["1", "2"]);
        world.acknowledge();
        world.take(0);
        for at in [A, B] {
            world.dialling.insert(socket(at), Dialling::Never);
        }
        world.break_link(world.newest_end(0));
        world.send_all(0, a, &["3", "4"]);
        world.pass(Duration::from_secs(59));
        assert_eq!(world.state(0, a), Some(ConnectionState::Connected), "not before its time");
        world.pass(Duration::from_secs(2));
        let told = world.take(0);
        assert_eq!(undelivered(&told), ["3", "4"], "{kind}");
        assert_eq!(reason(&told), Some(DisconnectReason::Expired));
        assert_eq!(reason(&world.take(1)), Some(DisconnectReason::Expired));
        assert_eq!((world.state(0, a), world.state(1, b)), (Some(ConnectionState::Idle), None));
        // The next session starts clean.
        world.dialling.clear();
        world.connect(0, a, None).unwrap();
        world.pass(Duration::from_secs(1));
        world.take(0);
        world.send_all(0, a, &["5"]);
        world.run();
        assert_eq!(world.texts(1), ["5"]);
    }
}

#[test]
fn n13_a_session_that_expired_at_one_end_only() {
    for kind in [PAIR, ONE_SESSION, SESSIONS] {
        let mut world = two();
        let (a, b) = world.join(0, 1, kind, B);
        // The dialler hears nothing of the end for a minute; the acceptor's session expires meanwhile.
        let held = world.newest_end(0);
        world.reset(world.ends[held].other);
        world.dialling.insert(socket(A), Dialling::Never);
        // It pings, and would notice: its system takes what it writes, and nothing comes back.
        world.send_all(1, b, &["lost"]);
        world.nodes[0].dead = true;
        world.pass(Duration::from_secs(61));
        let told = world.take(1);
        assert_eq!(
            (undelivered(&told), reason(&told)),
            (vec!["lost".into()], Some(DisconnectReason::Expired))
        );
        world.nodes[0].dead = false;
        world.send_all(0, a, &["of the old session"]);
        world.break_link(held);
        world.pass(Duration::from_secs(2));
        // The acceptor's new generation says so: the old session is over here too, and nothing of it is delivered.
        let told = world.take(0);
        assert_eq!(undelivered(&told), ["of the old session"], "{kind}");
        assert_eq!(reason(&told), Some(DisconnectReason::Stale), "{kind}");
        assert_eq!(world.texts(1), [] as [&str; 0]);
        world.connect(0, a, None).unwrap();
        world.pass(Duration::from_secs(1));
        world.take(0);
        world.send_all(0, a, &["of the new one"]);
        world.run();
        assert_eq!(world.texts(1), ["of the new one"], "{kind}");
    }
}

#[test]
fn n11_a_peer_that_was_started_again_is_another() {
    let mut world = two();
    let (a, _) = world.join(0, 1, PAIR, B);
    world.send_all(0, a, &["1"]);
    world.run();
    // Killed without taking it; another instance listens there.
    world.crash(1);
    let again = world.add(|config| config.instance = InstanceId([9; 16]));
    world.listener(again, B);
    world.send_all(0, a, &["2"]);
    world.pass(Duration::from_secs(2));
    let told = world.take(0);
    assert_eq!(undelivered(&told), ["1", "2"]);
    assert_eq!(reason(&told), Some(DisconnectReason::OtherInstance(InstanceId([9; 16]))));
    world.connect(0, a, None).unwrap();
    world.pass(Duration::from_secs(1));
    world.send_all(0, a, &["3"]);
    world.run();
    assert_eq!(world.texts(again), ["3"]);
}

#[test]
fn n14_close_waits_until_all_is_acknowledged_and_says_goodbye() {
    let mut world = two();
    let (a, b) = world.join(0, 1, PAIR, B);
    world.send_all(0, a, &["1", "2"]);
    world.close(0, a).unwrap();
    assert_eq!(world.send(0, a, "3"), Err(ConnectionError::WrongState(ConnectionState::Closing)));
    world.run();
    assert_eq!(world.state(0, a), Some(ConnectionState::Closing));
    assert_eq!(world.texts(1), ["1", "2"]);
    world.pass(Duration::from_secs(1));
    let told = world.take(0);
    assert_eq!(undelivered(&told), [] as [&str; 0]);
    assert_eq!(reason(&told), Some(DisconnectReason::Closed));
    assert_eq!(world.take_reason(1, b), DisconnectReason::ClosedByPeer);
    assert_eq!(world.census(0)[0], 0);
}

#[test]
fn n14_what_is_not_acknowledged_within_the_drain_is_reported() {
    let mut world = two();
    let (a, b) = world.join(0, 1, PAIR, B);
    world.send_all(0, a, &["1", "2"]);
    world.run();
    world.command(1, ConnectionCommand::Taken { id: b, sequence: 1 });
    world.close(0, a).unwrap();
    world.pass(Duration::from_secs(3));
    let told = world.take(0);
    assert_eq!((undelivered(&told), reason(&told)), (vec!["2".into()], Some(DisconnectReason::Closed)));
}

#[test]
fn n14_a_session_without_a_link_closes_in_time_too() {
    let mut world = two();
    let (a, _) = world.join(0, 1, PAIR, B);
    world.dialling.insert(socket(B), Dialling::Never);
    world.dialling.insert(socket(A), Dialling::Never);
    world.break_link(world.newest_end(0));
    world.send_all(0, a, &["1"]);
    world.run();
    world.close(0, a).unwrap();
    world.pass(Duration::from_secs(3));
    let told = world.take(0);
    assert_eq!((undelivered(&told), reason(&told)), (vec!["1".into()], Some(DisconnectReason::Closed)));
    assert_eq!(world.census(0), [0, 1, 0, 2]);
}

#[test]
fn k8_an_accepted_connection_ends_with_its_session_and_not_with_a_link() {
    let mut world = two();
    let (a, b) = world.join(0, 1, SESSIONS, B);
    for _ in 0..3 {
        world.break_link(world.newest_end(0));
        world.pass(Duration::from_secs(1));
        assert_eq!(world.state(1, b), Some(ConnectionState::Connected));
    }
    world.take(1);
    world.close(0, a).unwrap();
    world.run();
    assert_eq!(world.take_reason(1, b), DisconnectReason::ClosedByPeer);
    assert_eq!(world.state(1, b), None);
}

#[test]
fn k11_the_peer_shuts_its_write_side_while_we_send() {
    let mut world = two();
    let (a, _) = world.join(0, 1, PAIR, B);
    let end = world.newest_end(0);
    world.stick(end, true);
    world.send_all(0, a, &["1", "2", "3"]);
    // The end of the peer's stream, while our write is under way.
    world.inject(0, xxnet_core::net::NetEvent::PeerClosed { link: world.link_of(end) });
    world.pass(Duration::from_secs(1));
    assert_eq!(world.texts(1), ["1", "2", "3"], "once each, over the next link");
}

#[test]
fn n13_a_sequence_with_a_gap_closes_the_link_and_nothing_else() {
    let mut world = two();
    let mut hello = Hello::new(SESSIONS, 1);
    hello.instance = InstanceId([0x66; 16]);
    let join = |world: &mut World, hello: &Hello, received: u64| {
        let (raw, welcome) = world.raw_hello(B, hello);
        assert_eq!(welcome.pack_type, PackType::WELCOME);
        let known = u64::from_le_bytes(field(&welcome, 64));
        let resume = resume(1, known, received);
        world.raw_pack(&raw, &confirm_with(&KEY, &hello.bytes(), &welcome.head, &resume));
        (raw, welcome)
    };
    let (raw, welcome) = join(&mut world, &hello, 0);
    assert_eq!(u64::from_le_bytes(field(&welcome, 48)), 0, "nothing received so far");
    let id = world.take_accepted(1);
    let message = |sequence, text| {
        let mut pack = dict(text).to_pack().unwrap();
        pack.sequence = sequence;
        pack
    };
    world.raw_pack(&raw, &message(1, "1"));
    world.raw_pack(&raw, &message(3, "3"));
    let (texts, rest) = world.receive(1);
    assert_eq!(texts, ["1"]);
    let gap = DisconnectReason::Malformed("a gap in the sequence");
    assert_eq!(rest, [ConnectionEvent::Interrupted { id, reason: gap }]);
    // The session goes on; what came is counted, what comes again is not told again.
    hello.epoch = 2;
    let (raw, welcome) = join(&mut world, &hello, 0);
    assert_eq!(u64::from_le_bytes(field(&welcome, 48)), 1, "one received");
    world.raw_pack(&raw, &message(1, "1"));
    world.raw_pack(&raw, &message(2, "2"));
    assert_eq!(world.texts(1), ["2"]);
}

#[test]
fn n14_who_says_goodbye_and_dials_at_once_has_a_new_session() {
    for (generation, taken) in [(2, true), (1, false)] {
        let mut world = two();
        let first = chooser(&mut world, 1, 0);
        let id = world.take_accepted(1);
        // Welcomed while the session lives, it ends that, and confirms.
        let mut hello = Hello::new(PAIR, 2);
        hello.instance = InstanceId([1; 16]);
        let (raw, welcome) = world.raw_hello(B, &hello);
        let known = u64::from_le_bytes(field(&welcome, 64));
        world.raw_pack(&first, &DataPack::new(PackType::GOODBYE, vec![]));
        assert_eq!(world.take_reason(1, id), DisconnectReason::ClosedByPeer);
        let resume = resume(generation, known, 0);
        world.raw_pack(&raw, &confirm_with(&KEY, &hello.bytes(), &welcome.head, &resume));
        let told = world.take(1);
        let accepted = matches!(told[..], [ConnectionEvent::Accepted { .. }]);
        let refused =
            matches!(told[..], [ConnectionEvent::TurnedAway { reason: DisconnectReason::Stale, .. }]);
        // What it said before it ended the session is of no account.
        assert_eq!((accepted, refused), (taken, !taken), "{generation}: {told:?}");
    }
}

#[test]
fn n14_goodbye_is_said_on_each_link() {
    let mut world = two();
    let mut first = chooser(&mut world, 1, 0);
    let id = world.take_accepted(1);
    choose(&mut world, &mut first, 1);
    // The other end may be about to use the second link, and to close the first with all that is on its way there.
    let mut second = chooser(&mut world, 2, 0);
    world.close(1, id).unwrap();
    world.run();
    for raw in [&mut first, &mut second] {
        let said: Vec<_> = std::iter::from_fn(|| world.raw_next(raw)).map(|pack| pack.pack_type).collect();
        assert_eq!(said, [PackType::GOODBYE]);
    }
}

#[test]
fn n14_the_last_acknowledgement_is_said_before_goodbye() {
    let mut world = two();
    let mut raw = chooser(&mut world, 1, 0);
    let id = world.take_accepted(1);
    choose(&mut world, &mut raw, 1);
    // Taken and closed while the system still has not taken what was sent before.
    let end = world.newest_end(1);
    world.stick(end, true);
    world.send_all(1, id, &["2"]);
    let mut message = dict("1").to_pack().unwrap();
    message.sequence = 1;
    world.raw_pack(&raw, &message);
    assert_eq!(world.texts(1), ["1"]);
    world.close(1, id).unwrap();
    let mut ack = DataPack::new(PackType::ACK, vec![]);
    ack.acknowledgement = 1;
    world.raw_pack(&raw, &ack);
    world.stick(end, false);
    world.run();
    let said: Vec<_> = std::iter::from_fn(|| world.raw_next(&mut raw)).collect();
    let said: Vec<_> = said.iter().map(|pack| (pack.pack_type, pack.acknowledgement)).collect();
    assert_eq!(said, [(PackType::DICT, 0), (PackType::ACK, 1), (PackType::GOODBYE, 0)]);
}

/// A stranger with the smaller id, who chooses, dials once more: its end, established.
fn chooser(world: &mut World, epoch: u64, received: u64) -> Raw {
    let mut hello = Hello::new(PAIR, epoch);
    hello.instance = InstanceId([1; 16]);
    let (raw, welcome) = world.raw_hello(B, &hello);
    assert_eq!(welcome.pack_type, PackType::WELCOME);
    let known = u64::from_le_bytes(field(&welcome, 64));
    let confirm = confirm_with(&KEY, &hello.bytes(), &welcome.head, &resume(1, known, received));
    world.raw_pack(&raw, &confirm);
    raw
}

/// Has the other end use a link, and hears that it does.
fn choose(world: &mut World, raw: &mut Raw, number: u64) {
    world.raw_pack(raw, &DataPack::new(PackType::USE, number.to_le_bytes().to_vec()));
    let answer = world.raw_next(raw).expect("an answer");
    assert_eq!((answer.pack_type, &answer.head[..]), (PackType::USING, &number.to_le_bytes()[..]));
}

#[test]
fn n13_the_end_that_follows_closes_no_established_link() {
    let mut world = two();
    let mut first = chooser(&mut world, 1, 0);
    let id = world.take_accepted(1);
    choose(&mut world, &mut first, 1);
    // Two dials of the one who chooses, and it has chosen the older one when the newer one's Confirm comes.
    let mut second = chooser(&mut world, 2, 0);
    choose(&mut world, &mut second, 2);
    let third = chooser(&mut world, 3, 0);
    assert_eq!(world.open_ends(1), 3, "who has chosen closes the others");
    world.raw_close(&third);
    world.raw_close(&first);
    assert_eq!(world.take(1), [], "the chosen one is left");
    world.send_all(1, id, &["on"]);
    world.run();
    assert_eq!(world.raw_next(&mut second).map(text), Some("on".into()));
}

#[test]
fn n4_an_acknowledgement_that_is_lost_with_one_of_two_links_is_said_again() {
    let mut world = two();
    let mut first = chooser(&mut world, 1, 0);
    let id = world.take_accepted(1);
    choose(&mut world, &mut first, 1);
    let mut second = chooser(&mut world, 2, 0);
    world.acknowledge();
    let mut message = dict("1").to_pack().unwrap();
    message.sequence = 1;
    world.raw_pack(&first, &message);
    assert_eq!(world.texts(1), ["1"]);
    world.acknowledge();
    // The acknowledgement is on its way on the link that is used; nobody will read it.
    let inbox = world.ends_inbox(first.end);
    assert!(inbox > 0 && world.raw_next(&mut second).is_none());
    world.raw_close(&first);
    world.acknowledge();
    let said = world.raw_next(&mut second).expect("said again");
    assert_eq!((said.pack_type, said.acknowledgement), (PackType::ACK, 1));
    assert_eq!(world.state(1, id), Some(ConnectionState::Connected));
}

/// Eight bytes of a Welcome's resume, counted from the proof backwards.
fn field(welcome: &DataPack, before_end: usize) -> [u8; 8] {
    let at = welcome.head.len() - before_end;
    welcome.head[at..at + 8].try_into().unwrap()
}

#[test]
fn n13_words_that_are_not_a_peers_close_its_link() {
    for (pack_type, head, ack) in [
        (PackType::USING, 1_u64.to_le_bytes().to_vec(), 0),
        (PackType::USE, vec![1], 0),
        (PackType::ACK, vec![1], 0),
        (PackType::ACK, vec![], 7),
        (PackType::RAW, vec![], 0),
    ] {
        let mut world = two();
        // The smaller id chooses: this one only follows.
        let mut hello = Hello::new(PAIR, 1);
        hello.instance = InstanceId([0x66; 16]);
        let (mut raw, welcome) = world.raw_hello(B, &hello);
        let known = u64::from_le_bytes(field(&welcome, 64));
        let resume = resume(1, known, 0);
        world.raw_pack(&raw, &confirm_with(&KEY, &hello.bytes(), &welcome.head, &resume));
        let id = world.take_accepted(1);
        assert_eq!(world.raw_next(&mut raw).map(|pack| pack.pack_type), Some(PackType::USE));
        let mut pack = DataPack::new(pack_type, head);
        pack.acknowledgement = ack;
        // A `Using` must be the answer to the last `Use`: 2 was never said.
        if pack_type == PackType::USING {
            pack.head = 2_u64.to_le_bytes().to_vec().into();
        }
        world.raw_pack(&raw, &pack);
        let told = world.take(1);
        assert!(
            matches!(&told[..], [ConnectionEvent::Interrupted { id: told, reason: DisconnectReason::Malformed(_) }] if *told == id),
            "{pack_type:?}: {told:?}"
        );
    }
}

#[test]
fn a_sessions_pack_on_a_plain_connection_closes_it() {
    let mut world = two();
    let raw = world.raw_join(B, &Hello::new(MANY, 1));
    let id = world.take_accepted(1);
    world.raw_pack(&raw, &DataPack::new(PackType::ACK, vec![]));
    let reason = DisconnectReason::Malformed("a session's pack on a plain connection");
    assert_eq!(world.take_reason(1, id), reason);
}

#[test]
fn a_confirm_with_a_wrong_idea_of_the_session_is_turned_away() {
    let mut world = two();
    let hello = Hello::new(PAIR, 1);
    let (mut raw, welcome) = world.raw_hello(B, &hello);
    let known = u64::from_le_bytes(field(&welcome, 64));
    let stale = resume(1, known + 1, 0);
    world.raw_pack(&raw, &confirm_with(&KEY, &hello.bytes(), &welcome.head, &stale));
    assert_eq!(refusal(&world.raw_next(&mut raw).unwrap()), 10);
    let told = world.take(1);
    assert!(matches!(told[..], [ConnectionEvent::TurnedAway { reason: DisconnectReason::Stale, .. }]));
}
