//! K: connections by id, from create to destroy.

use crate::peer;
use crate::world::*;
use std::time::Duration;
use xxnet_core::connection::*;
use xxnet_core::net::{NetAction, NetError, NetEvent};
use xxnet_core::pack::{DataPack, PackType, Value};
use xxnet_core::*;

const AT: &str = "10.0.0.2:7000";
const SECOND: Duration = Duration::from_secs(1);

fn texts(events: &[ConnectionEvent]) -> Vec<String> {
    let text = |event: &ConnectionEvent| match event {
        ConnectionEvent::Received { pack, .. } if pack.pack_type == PackType::DICT => {
            let dict = Dict::from_pack(pack).unwrap();
            Some(dict.get("text").and_then(Value::as_str).unwrap().to_string())
        }
        _ => None,
    };
    events.iter().filter_map(text).collect()
}

fn wrong(state: ConnectionState) -> Result<(), ConnectionError> {
    Err(ConnectionError::WrongState(state))
}

#[test]
fn k1_kinds_are_registered_once_and_before_use() {
    let mut world = World::new(1);
    let unknown = KindId(4000);
    assert_eq!(world.create(0, unknown), Err(ConnectionError::UnknownKind(unknown)));
    assert_eq!(world.create_to(0, unknown, AT, None), Err(ConnectionError::UnknownKind(unknown)));
    let kind = ConnectionKind::plain(MANY, LinkRule::OnePerDialler, Role::Dial);
    let token = world.token(0);
    world.command(0, ConnectionCommand::Register { token, kind });
    let error = ConnectionError::KindTaken(MANY);
    assert_eq!(world.nodes[0].notices, [ConnectionNotice::Rejected { token, error }]);
    assert_eq!(world.census(0), [0; 4]);
}

#[test]
fn k1_both_forms_of_create() {
    let mut world = World::new(2);
    world.listener(1, AT);
    // By kind: the target comes with the connect.
    let first = world.create(0, MANY).unwrap();
    assert_eq!(world.connect(0, first, None), Err(ConnectionError::NoTarget));
    world.connect(0, first, Some(AT)).unwrap();
    world.run();
    assert!(matches!(world.take(0)[..], [ConnectionEvent::Connected { kind: MANY, .. }]));
    world.take_accepted(1);
    // By target and data: the data goes first, before whatever is sent at once.
    let second = world.create_to(0, MANY, AT, Some(dict("first"))).unwrap();
    world.connect(0, second, None).unwrap();
    while world.state(0, second) != Some(ConnectionState::Connected) {
        assert!(world.run_one());
    }
    world.send(0, second, "second").unwrap();
    world.run();
    assert_eq!(texts(&world.take(1)), ["first", "second"]);
}

#[test]
fn k1_data_that_cannot_be_sent_is_refused_at_create() {
    let mut world = World::new(1);
    let big = Dict::from([("big", Value::Bytes(vec![0; 5 << 20]))]);
    assert!(matches!(
        world.create_to(0, MANY, AT, Some(big)),
        Err(ConnectionError::TooLarge { limit: 4_194_304, .. })
    ));
    let mut deep = Value::List(vec![]);
    (0..100).for_each(|_| deep = Value::List(vec![deep.clone()]));
    let deep = Dict::from([("deep", deep)]);
    assert!(matches!(world.create_to(0, MANY, AT, Some(deep)), Err(ConnectionError::Data(_))));
    assert_eq!(world.create_to(0, LISTENER, AT, None), Err(ConnectionError::WrongRole(LISTENER)));
    assert_eq!(world.create(0, ACCEPT_ONLY), Err(ConnectionError::WrongRole(ACCEPT_ONLY)));
    assert_eq!(world.census(0), [0; 4]);
}

#[test]
fn k2_listen_needs_an_id_and_a_kind_that_listens() {
    let mut world = World::new(1);
    let nobody = ConnectionId(99);
    assert_eq!(world.listen(0, nobody, AT), Err(ConnectionError::UnknownConnection(nobody)));
    let dialler = world.create(0, MANY).unwrap();
    assert_eq!(world.listen(0, dialler, AT), Err(ConnectionError::WrongRole(MANY)));
    let listener = world.create(0, LISTENER).unwrap();
    assert_eq!(world.listen(0, listener, "localhost:1"), Err(ConnectionError::NotASocketAddress));
    world.listen(0, listener, AT).unwrap();
    // Twice on one id: the same address, and another one.
    let taken = Err(ConnectionError::AlreadyListening(socket(AT)));
    assert_eq!(world.listen(0, listener, AT), taken);
    world.run();
    assert_eq!(world.listen(0, listener, AT), taken);
    assert_eq!(world.listen(0, listener, "10.0.0.2:7001"), wrong(ConnectionState::Listening));
    assert!(matches!(world.take(0)[..], [ConnectionEvent::Listening { .. }]));
}

#[test]
fn k3_connect_only_when_idle() {
    let mut world = World::new(2);
    let listener = world.listener(1, AT);
    assert_eq!(world.connect(1, listener, Some(AT)), Err(ConnectionError::WrongRole(LISTENER)));
    let nobody = ConnectionId(99);
    assert_eq!(world.connect(0, nobody, Some(AT)), Err(ConnectionError::UnknownConnection(nobody)));

    let id = world.create_to(0, MANY, AT, None).unwrap();
    world.connect(0, id, None).unwrap();
    assert_eq!(world.connect(0, id, None), wrong(ConnectionState::Connecting));
    world.run();
    assert_eq!(world.connect(0, id, None), wrong(ConnectionState::Connected));
    let accepted = world.take_accepted(1);
    assert_eq!(world.connect(1, accepted, Some(AT)), wrong(ConnectionState::Connected));
    world.close(0, id).unwrap();
    assert_eq!(world.connect(0, id, None), wrong(ConnectionState::Closing));
    world.run();
    // None of them had an effect.
    let events = world.take(0);
    assert!(matches!(events[..], [ConnectionEvent::Connected { .. }, ConnectionEvent::Disconnected { .. }]));
    assert_eq!(world.log.iter().filter(|(_, action)| matches!(action, NetAction::Dial { .. })).count(), 1);
    world.connect(0, id, None).unwrap();

    // A listening connection that is closing, and a look-up that is under way.
    world.close(1, listener).unwrap();
    assert_eq!(world.listen(1, listener, AT), wrong(ConnectionState::Closing));
    let named = world.create_to(0, MANY, "a.host:1", None).unwrap();
    world.connect(0, named, None).unwrap();
    assert_eq!(world.connect(0, named, None), wrong(ConnectionState::Connecting));
}

#[test]
fn k4_a_connect_is_answered_once_whatever_happens() {
    let mut world = World::new(2);
    world.listener(1, AT);
    // At once.
    let (id, _) = world.join(0, 1, MANY, AT);
    assert_eq!(world.state(0, id), Some(ConnectionState::Connected));
    // Later: the acceptor takes its time, but not too much of it.
    world.slow_accept = true;
    let late = world.create_to(0, MANY, AT, None).unwrap();
    world.connect(0, late, None).unwrap();
    world.pass(4 * SECOND);
    assert!(world.take(0).is_empty());
    world.slow_accept = false;
    world.hand_over(socket(AT));
    world.pass(SECOND);
    assert!(matches!(world.take(0)[..], [ConnectionEvent::Connected { id, .. }] if id == late));
    // Refused, unreachable, and whatever else the system says.
    for error in [NetError::Refused, NetError::Unreachable, NetError::PermissionDenied, NetError::Other(5)] {
        let at = "10.0.0.9:1";
        world.dialling.insert(socket(at), Dialling::Fails(error));
        let id = world.create_to(0, MANY, at, None).unwrap();
        world.connect(0, id, None).unwrap();
        world.run();
        assert_eq!(world.take_reason(0, id), DisconnectReason::Net(error));
        assert_eq!(world.state(0, id), Some(ConnectionState::Idle));
    }
    // Never answered.
    world.dialling.insert(socket("10.0.0.8:1"), Dialling::Never);
    let id = world.create_to(0, MANY, "10.0.0.8:1", None).unwrap();
    world.connect(0, id, None).unwrap();
    world.pass(5 * SECOND - Duration::from_micros(1));
    assert!(world.take(0).is_empty());
    world.pass(Duration::from_micros(1));
    assert_eq!(world.take_reason(0, id), DisconnectReason::Net(NetError::TimedOut));
    assert!(world.hanging.is_empty(), "the dial is still under way");
    world.pass(60 * SECOND);
    assert!(world.take(0).is_empty());
    assert_eq!(world.census(0)[0], 2);
}

#[test]
fn k4_names_are_resolved_at_each_dial_and_their_addresses_tried_in_order() {
    let mut world = World::new(2);
    world.listener(1, AT);
    world.names.insert("b.host".into(), Ok(vec!["10.0.0.7", "10.0.0.8", "10.0.0.2"]));
    world.dialling.insert(socket("10.0.0.7:7000"), Dialling::Fails(NetError::Unreachable));
    world.dialling.insert(socket("10.0.0.8:7000"), Dialling::Never);
    let id = world.create_to(0, MANY, "b.host:7000", None).unwrap();
    world.connect(0, id, None).unwrap();
    world.pass(6 * SECOND);
    let events = world.take(0);
    let [ConnectionEvent::Connected { peer, .. }] = &events[..] else { panic!("{events:?}") };
    assert_eq!(peer.socket, socket(AT));
    world.close(0, id).unwrap();
    world.run();
    world.take(0);
    // The name means something else now.
    world.names.insert("b.host".into(), Ok(vec!["10.0.0.7"]));
    world.connect(0, id, None).unwrap();
    world.run();
    assert_eq!(world.take_reason(0, id), DisconnectReason::Net(NetError::Unreachable));
    world.names.insert("b.host".into(), Err(NetError::NameNotFound));
    world.connect(0, id, None).unwrap();
    world.run();
    assert_eq!(world.take_reason(0, id), DisconnectReason::Net(NetError::NameNotFound));
    world.names.insert("b.host".into(), Ok(vec![]));
    world.connect(0, id, None).unwrap();
    world.run();
    assert_eq!(world.take_reason(0, id), DisconnectReason::Net(NetError::NameNotFound));
    // The name service never answers; its late answer means nothing.
    world.names.clear();
    world.connect(0, id, None).unwrap();
    world.pass(5 * SECOND);
    assert_eq!(world.take_reason(0, id), DisconnectReason::Net(NetError::TimedOut));
    let (_, query) = world.queries.pop().unwrap();
    world.inject(0, NetEvent::Resolved { query, result: Ok(vec![AT.parse().unwrap()]) });
    world.run();
    assert!(world.take(0).is_empty());
    assert_eq!(world.census(0), [0, 0, 0, 1]);
}

#[test]
fn k4_somebody_else_at_one_of_a_names_addresses_is_not_the_end() {
    let mut world = World::new(2);
    world.listener(1, AT);
    world.raw_listen("10.0.0.7:7000");
    world.names.insert("b.host".into(), Ok(vec!["10.0.0.7", "10.0.0.2"]));
    let id = world.create_to(0, MANY, "b.host:7000", None).unwrap();
    world.connect(0, id, None).unwrap();
    world.run();
    let raw = world.raw_accept("10.0.0.7:7000");
    world.raw_send(&raw, b"HTTP/1.1 400 Bad Request\r\n\r\n");
    assert!(matches!(world.take(0)[..], [ConnectionEvent::Connected { .. }]));
}

#[test]
fn k5_send_only_while_connected() {
    let mut world = World::new(2);
    world.listener(1, AT);
    let nobody = ConnectionId(99);
    assert_eq!(world.send(0, nobody, "x"), Err(ConnectionError::UnknownConnection(nobody)));
    let id = world.create_to(0, MANY, AT, None).unwrap();
    assert_eq!(world.send(0, id, "before"), wrong(ConnectionState::Idle));
    world.connect(0, id, None).unwrap();
    assert_eq!(world.send(0, id, "connecting"), wrong(ConnectionState::Connecting));
    world.run();
    world.send(0, id, "connected").unwrap();
    let big = DataPack::new(PackType::RAW, vec![0; (4 << 20) + 1]);
    let too_large = ConnectionError::TooLarge { size: (4 << 20) + 1, limit: 4 << 20 };
    assert_eq!(world.send_pack(0, id, big), Err(too_large));
    for own in 0..16 {
        let own = PackType(own);
        let pack = DataPack::new(own, vec![]);
        assert_eq!(world.send_pack(0, id, pack), Err(ConnectionError::ReservedPackType(own)));
    }
    world.close(0, id).unwrap();
    assert_eq!(world.send(0, id, "closing"), wrong(ConnectionState::Closing));
    world.run();
    assert_eq!(world.send(0, id, "after"), wrong(ConnectionState::Idle));
    // Nothing of what was refused was sent, not even in part.
    assert_eq!(texts(&world.take(1)), ["connected"]);
}

#[test]
fn k5_what_the_system_did_not_take_waits_and_leaves_together() {
    let mut world = World::new(2);
    world.listener(1, AT);
    let (id, _) = world.join(0, 1, MANY, AT);
    let end = world.newest_end(0);
    world.stick(end, true);
    let words: Vec<String> = (0..50).map(|n| format!("word {n}")).collect();
    let before = world.log.len();
    for word in &words {
        world.send(0, id, word).unwrap();
    }
    world.run();
    let sends = |world: &World| {
        let sends = world.log[before..].iter();
        sends.filter(|(node, action)| *node == 0 && matches!(action, NetAction::Send { .. })).count()
    };
    assert_eq!(sends(&world), 1);
    assert_eq!(texts(&world.take(1)), words[..1]);
    world.stick(end, false);
    world.run();
    assert_eq!(sends(&world), 2);
    assert_eq!(texts(&world.take(1)), words[1..]);
}

#[test]
fn k5_bulk_pieces_are_not_copied_and_arrive_whole() {
    let mut world = World::new(2);
    world.listener(1, AT);
    world.chunk = 10_007;
    let (id, _) = world.join(0, 1, MANY, AT);
    let piece = bytes::Bytes::from((0..1 << 20).map(|n| n as u8).collect::<Vec<_>>());
    let mut pack = DataPack::new(PackType::RAW, vec![1, 2, 3]);
    pack.bulk = vec![piece.clone()];
    world.send_pack(0, id, pack).unwrap();
    let sent = world.log.iter().rev().find_map(|(_, action)| match action {
        NetAction::Send { buffers, .. } => Some(buffers.clone()),
        _ => None,
    });
    assert!(sent.unwrap().iter().any(|buffer| buffer.as_ptr() == piece.as_ptr()), "the block was copied");
    world.run();
    let events = world.take(1);
    let [ConnectionEvent::Received { pack, .. }] = &events[..] else { panic!("{} events", events.len()) };
    assert_eq!((&pack.head[..], pack.bulk.concat() == piece), (&[1u8, 2, 3][..], true));
}

#[test]
fn n8_a_full_outbox_ends_the_connection_and_says_so() {
    let mut world = World::new(2);
    world.listener(1, AT);
    let (id, _) = world.join(0, 1, MANY, AT);
    let (other, _) = world.join(0, 1, MANY, AT);
    world.stick(world.ends.len() - 4, true);
    assert_eq!(world.ends.len(), 4);
    let mut told_full = 0;
    let mut sent = 0;
    loop {
        let manager = world.nodes[0].machine.manager();
        assert_eq!(manager.writable(id), sent < 2 << 20, "after {sent} bytes");
        match world.send_pack(0, id, DataPack::new(PackType::RAW, vec![0; 1 << 20])) {
            Ok(()) => sent += (1 << 20) + 34,
            Err(ConnectionError::OutboxFull) => {
                told_full += 1;
                break;
            }
            Err(other) => panic!("{other}"),
        }
    }
    assert_eq!((told_full, sent), (1, 15 * ((1 << 20) + 34)));
    assert_eq!(world.take_reason(0, id), DisconnectReason::SlowPeer);
    assert_eq!(world.state(0, id), Some(ConnectionState::Idle));
    world.send(0, other, "unharmed").unwrap();
    world.run();
    assert!(texts(&world.take(1)).contains(&"unharmed".to_string()));
}

#[test]
fn n8_writable_again_is_told_once() {
    let mut world = World::new(2);
    world.listener(1, AT);
    let (id, _) = world.join(0, 1, MANY, AT);
    let end = world.newest_end(0);
    world.stick(end, true);
    for _ in 0..4 {
        world.send_pack(0, id, DataPack::new(PackType::RAW, vec![0; 1 << 20])).unwrap();
    }
    assert!(!world.nodes[0].machine.manager().writable(id));
    world.run();
    assert!(world.take(0).is_empty());
    world.stick(end, false);
    world.run();
    assert_eq!(world.take(0), [ConnectionEvent::Writable { id }]);
    assert!(world.nodes[0].machine.manager().writable(id));
}

#[test]
fn k6_close_brings_the_connection_back_to_as_created() {
    let mut world = World::new(2);
    world.listener(1, AT);
    let id = world.create_to(0, MANY, AT, Some(dict("first"))).unwrap();
    for _ in 0..3 {
        world.connect(0, id, None).unwrap();
        world.run();
        assert!(matches!(world.take(0)[..], [ConnectionEvent::Connected { .. }]));
        // With data under way: all of it arrives before the end.
        let words: Vec<String> = (0..200).map(|n| format!("word {n}")).collect();
        words.iter().for_each(|word| world.send(0, id, word).unwrap());
        world.close(0, id).unwrap();
        // Twice is harmless.
        world.close(0, id).unwrap();
        world.run();
        assert_eq!(world.take_reason(0, id), DisconnectReason::Closed);
        // So is closing in answer to the Disconnected.
        world.close(0, id).unwrap();
        assert_eq!(world.state(0, id), Some(ConnectionState::Idle));
        assert_eq!(world.census(0), [0, 0, 0, 1]);
        let events = world.take(1);
        let received = texts(&events);
        assert_eq!((&received[..1], &received[1..]), (&["first".to_string()][..], &words[..]));
        let Some(ConnectionEvent::Disconnected { reason, .. }) = events.last() else { panic!("{events:?}") };
        assert_eq!(*reason, DisconnectReason::ClosedByPeer);
        assert_eq!(world.census(1), [0, 1, 0, 1]);
    }
    let nobody = ConnectionId(99);
    assert_eq!(world.close(0, nobody), Err(ConnectionError::UnknownConnection(nobody)));
}

#[test]
fn k6_close_during_look_up_dial_and_handshake() {
    let mut world = World::new(2);
    world.dialling.insert(socket("10.0.0.8:1"), Dialling::Never);
    world.raw_listen("10.0.0.9:1");
    let id = world.create(0, MANY).unwrap();
    for to in ["a.host:1", "10.0.0.8:1", "10.0.0.9:1"] {
        world.connect(0, id, Some(to)).unwrap();
        world.run();
        assert_eq!(world.state(0, id), Some(ConnectionState::Connecting));
        world.close(0, id).unwrap();
        // Idle at once, and told once.
        assert_eq!(world.state(0, id), Some(ConnectionState::Idle));
        assert_eq!(world.take_reason(0, id), DisconnectReason::Closed);
        world.run();
        world.close(0, id).unwrap();
        world.pass(10 * SECOND);
        assert!(world.take(0).is_empty());
        assert_eq!(world.census(0)[0], 0, "a link is left after {to}");
    }
    assert!(world.hanging.is_empty());
    // The same id connects again, and nothing of before comes through.
    world.listener(1, AT);
    world.connect(0, id, Some(AT)).unwrap();
    world.run();
    assert!(matches!(world.take(0)[..], [ConnectionEvent::Connected { .. }]));
    world.take_accepted(1);
    world.send(0, id, "new").unwrap();
    world.run();
    assert_eq!(texts(&world.take(1)), ["new"]);
}

#[test]
fn k6_the_answer_to_an_earlier_look_up_is_not_the_next_ones() {
    let mut world = World::new(2);
    world.listener(1, AT);
    let id = world.create(0, MANY).unwrap();
    world.connect(0, id, Some("old.host:7000")).unwrap();
    world.close(0, id).unwrap();
    assert_eq!(world.take_reason(0, id), DisconnectReason::Closed);
    world.connect(0, id, Some("new.host:7000")).unwrap();
    let [(_, old), (_, new)] = world.queries[..] else { panic!() };
    world.inject(0, NetEvent::Resolved { query: old, result: Ok(vec!["10.0.0.9:7000".parse().unwrap()]) });
    world.run();
    assert!(world.take(0).is_empty());
    assert_eq!(world.state(0, id), Some(ConnectionState::Connecting));
    world.inject(0, NetEvent::Resolved { query: new, result: Ok(vec![AT.parse().unwrap()]) });
    world.run();
    assert!(matches!(world.take(0)[..], [ConnectionEvent::Connected { .. }]));
}

#[test]
fn k6_close_does_not_wait_for_ever_for_a_peer_that_does_not_read() {
    let mut world = World::new(2);
    world.listener(1, AT);
    let (id, b) = world.join(0, 1, MANY, AT);
    let end = world.newest_end(0);
    world.stick(end, true);
    world.send(0, id, "under way").unwrap();
    world.send(0, id, "left in the outbox").unwrap();
    world.close(0, id).unwrap();
    world.pass(2 * SECOND - Duration::from_micros(1));
    assert_eq!(world.state(0, id), Some(ConnectionState::Closing));
    world.pass(Duration::from_micros(1));
    assert_eq!(world.take_reason(0, id), DisconnectReason::Closed);
    world.take(1);
    assert_eq!(world.state(1, b), None);
    // The next link of this id starts with empty buffers.
    world.connect(0, id, None).unwrap();
    world.run();
    world.take(0);
    world.take_accepted(1);
    world.send(0, id, "fresh").unwrap();
    world.run();
    assert_eq!(texts(&world.take(1)), ["fresh"]);
}

#[test]
fn k6_the_peers_last_words_are_not_destroyed_by_a_reset() {
    let mut world = World::new(2);
    world.listener(1, AT);
    let (a, b) = world.join(0, 1, MANY, AT);
    // The other end is slow to read: it takes what its armed read brings, and no more for now.
    world.command(1, ConnectionCommand::Pause { id: b });
    world.send(0, a, "first").unwrap();
    world.run();
    world.send(0, a, "last words").unwrap();
    // It has said much that this one will not read, and says more behind the close.
    for n in 0..5 {
        world.send_pack(1, b, DataPack::new(PackType::RAW, vec![0; 1 << 20])).unwrap();
        if n == 2 {
            world.close(0, a).unwrap();
        }
    }
    world.run();
    assert_eq!(texts(&world.take(1)), ["first"]);
    world.command(1, ConnectionCommand::Resume { id: b });
    world.run();
    let events = world.take(1);
    assert_eq!(texts(&events), ["last words"]);
    let [.., ConnectionEvent::Disconnected { reason, .. }] = &events[..] else { panic!("{events:?}") };
    assert_eq!(*reason, DisconnectReason::ClosedByPeer);
}

#[test]
fn k6_both_close_at_once() {
    let mut world = World::new(2);
    world.listener(1, AT);
    let (a, b) = world.join(0, 1, MANY, AT);
    world.close(0, a).unwrap();
    world.close(1, b).unwrap();
    world.run();
    assert_eq!(world.take_reason(0, a), DisconnectReason::Closed);
    assert_eq!(world.take_reason(1, b), DisconnectReason::Closed);
    assert_eq!((world.census(0), world.census(1)), ([0, 0, 0, 1], [0, 1, 0, 1]));
}

#[test]
fn k7_destroy_ends_everything_once_and_leaves_nothing() {
    let mut world = World::new(2);
    world.dialling.insert(socket("10.0.0.8:1"), Dialling::Never);
    world.listener(1, AT);
    let listener = world.listener(0, "10.0.0.1:7000");
    let (connected, _) = world.join(0, 1, MANY, AT);
    let end = world.newest_end(0);
    world.stick(end, true);
    world.send(0, connected, "never leaves").unwrap();
    world.send(0, connected, "nor this").unwrap();
    let dialled = world.create_to(1, MANY, "10.0.0.1:7000", None).unwrap();
    world.connect(1, dialled, None).unwrap();
    world.run();
    let accepted = world.take_accepted(0);
    let dialling = world.create_to(0, MANY, "10.0.0.8:1", None).unwrap();
    world.connect(0, dialling, None).unwrap();
    let resolving = world.create_to(0, MANY, "a.host:1", None).unwrap();
    world.connect(0, resolving, None).unwrap();
    let newcomer = world.raw_dial("10.0.0.1:7000");
    let opening = world.create(0, LISTENER).unwrap();
    world.listen(0, opening, "10.0.0.1:7001").unwrap();
    let idle = world.create(0, MANY).unwrap();

    world.command(0, ConnectionCommand::Destroy);
    world.run();
    let ended: Vec<ConnectionId> = world
        .take(0)
        .into_iter()
        .map(|event| match event {
            ConnectionEvent::Disconnected { id, reason: DisconnectReason::Closed, .. } => id,
            other => panic!("{other:?}"),
        })
        .collect();
    let mut expected = [listener, connected, accepted, dialling, resolving, opening];
    expected.sort();
    assert_eq!(ended, expected);
    assert!(world.raw_ended(&newcomer));
    assert_eq!(world.open_ends(0), 0);
    assert!(world.hanging.is_empty());
    assert_eq!(world.nodes[0].machine.deadline(), None);
    let (_, query) = world.queries.pop().unwrap();
    world.inject(0, NetEvent::Resolved { query, result: Ok(vec![AT.parse().unwrap()]) });
    assert_eq!(world.census(0), [0; 4]);

    // Every command is answered, and does nothing.
    let gone = ConnectionError::Destroyed;
    assert_eq!(world.create(0, MANY), Err(gone.clone()));
    assert_eq!(world.create_to(0, MANY, AT, None), Err(gone.clone()));
    assert_eq!(world.listen(0, listener, AT), Err(gone.clone()));
    assert_eq!(world.connect(0, idle, Some(AT)), Err(gone.clone()));
    assert_eq!(world.send(0, connected, "x"), Err(gone.clone()));
    assert_eq!(world.close(0, connected), Err(gone.clone()));
    world.log.clear();
    world.command(0, ConnectionCommand::Destroy);
    world.command(0, ConnectionCommand::Resume { id: connected });
    world.command(0, ConnectionCommand::Pause { id: connected });
    world.command(0, ConnectionCommand::Discard { id: connected });
    assert!(world.log.is_empty() && world.take(0).is_empty());
    let token = world.token(0);
    let kind = ConnectionKind::plain(KindId(5000), LinkRule::Many, Role::Both);
    world.command(0, ConnectionCommand::Register { token, kind });
    assert_eq!(world.nodes[0].notices, [ConnectionNotice::Rejected { token, error: gone }]);
}

#[test]
fn k7_discard_forgets_in_every_state_without_a_word() {
    let mut world = World::new(2);
    world.dialling.insert(socket("10.0.0.8:1"), Dialling::Never);
    let listener = world.listener(1, AT);
    let (connected, accepted) = world.join(0, 1, MANY, AT);
    let idle = world.create(0, MANY).unwrap();
    let dialling = world.create_to(0, MANY, "10.0.0.8:1", None).unwrap();
    world.connect(0, dialling, None).unwrap();
    let resolving = world.create_to(0, MANY, "a.host:1", None).unwrap();
    world.connect(0, resolving, None).unwrap();
    let (closing, other) = world.join(0, 1, MANY, AT);
    world.close(0, closing).unwrap();
    world.send(0, connected, "still arrives").unwrap();
    for id in [connected, idle, dialling, resolving, closing, ConnectionId(99)] {
        world.command(0, ConnectionCommand::Discard { id });
        assert_eq!(world.state(0, id), None);
    }
    world.command(1, ConnectionCommand::Discard { id: listener });
    world.pass(3 * SECOND);
    assert!(world.take(0).is_empty());
    assert_eq!(world.census(0), [0, 0, 1, 0]);
    let events = world.take(1);
    assert_eq!(texts(&events), ["still arrives"]);
    let ended: Vec<_> = events
        .iter()
        .filter_map(|event| match event {
            ConnectionEvent::Disconnected { id, .. } => Some(*id),
            _ => None,
        })
        .collect();
    assert_eq!(ended.len(), 2);
    assert!(ended.contains(&accepted) && ended.contains(&other));
    assert_eq!(world.census(1), [0; 4]);
}

#[test]
fn k8_accepted_connections_are_announced_once_and_outlive_their_listener() {
    let mut world = World::new(3);
    let listener = world.listener(1, AT);
    world.command(0, ConnectionCommand::Advertise { address: Some(address("0.0.0.0:9")) });
    let id = world.create_to(0, ONE, AT, None).unwrap();
    world.connect(0, id, None).unwrap();
    world.run();
    let events = world.take(1);
    let [ConnectionEvent::Accepted { id: b, kind, listener: through, peer }] = &events[..] else {
        panic!("{events:?}")
    };
    // The newcomer's kind, not the listener's; and what it advertised, completed with the host that was seen.
    assert_eq!((*kind, *through), (ONE, listener));
    assert_eq!(world.nodes[1].machine.manager().kind(*b), Some(ONE));
    let expected = PeerInfo {
        instance: world.nodes[0].config.instance,
        name: "node-0".into(),
        address: Some(address("10.0.0.1:9")),
        socket: world.address_of(0),
        local: socket(AT),
        connection: id,
    };
    assert_eq!(**peer, expected);
    assert_eq!(world.nodes[1].machine.manager().peer(*b), Some(&expected));
    let seen = world.nodes[0].machine.manager().peer(id).unwrap();
    assert_eq!((seen.connection, &seen.address, &seen.name[..]), (*b, &None, "node-1"));
    let b = *b;
    world.take(0);

    // One that still shakes hands goes with the listener; the accepted one lives on.
    let stranger = world.raw_dial(AT);
    world.close(1, listener).unwrap();
    world.run();
    assert_eq!(world.take_reason(1, listener), DisconnectReason::Closed);
    assert!(world.raw_ended(&stranger));
    world.command(1, ConnectionCommand::Discard { id: listener });
    world.send(0, id, "there?").unwrap();
    world.send(1, b, "here").unwrap();
    world.run();
    assert_eq!((texts(&world.take(1)), texts(&world.take(0))), (vec!["there?".into()], vec!["here".into()]));
    // It ends with its link, once, and its id is gone.
    world.break_link(world.newest_end(0));
    world.run();
    assert_eq!(world.take_reason(1, b), DisconnectReason::Net(NetError::Reset));
    assert_eq!(world.take_reason(0, id), DisconnectReason::Net(NetError::Reset));
    assert_eq!((world.state(1, b), world.state(0, id)), (None, Some(ConnectionState::Idle)));
    assert_eq!(world.send(1, b, "x"), Err(ConnectionError::UnknownConnection(b)));
}

#[test]
fn k10_late_events_of_dead_links_touch_nothing() {
    let mut world = World::new(2);
    world.listener(1, AT);
    let (a, b) = world.join(0, 1, MANY, AT);
    let old = world.link_of(world.newest_end(0));
    world.close(0, a).unwrap();
    world.run();
    world.connect(0, a, None).unwrap();
    world.run();
    let new = world.link_of(world.newest_end(0));
    assert!(new > old, "a link's id was used again");
    world.take(0);
    let Some(ConnectionEvent::Accepted { id: b2, .. }) = world.take(1).pop() else { panic!() };
    assert!(b2 > b, "a connection's id was used again");

    let data = bytes::Bytes::from_static(b"late");
    let (peer, local, error) = (socket(AT), socket(AT), NetError::Reset);
    let listener = ListenerId(77);
    let late = |link| {
        [
            NetEvent::Dialed { link, peer: peer.clone(), local: local.clone() },
            NetEvent::DialFailed { link, error },
            NetEvent::Sent { link },
            NetEvent::Received { link, data: data.clone() },
            NetEvent::PeerClosed { link },
            NetEvent::ShutdownDone { link },
            NetEvent::Broken { link, error },
            NetEvent::Closed { link },
            NetEvent::Accepted { listener, link, peer: peer.clone(), local: local.clone() },
            NetEvent::AcceptFailed { listener, link, error },
            NetEvent::Unlistened { listener },
            NetEvent::Listening { listener, address: local.clone() },
            NetEvent::ListenFailed { listener, error },
            NetEvent::Resolved { query: QueryId(55), result: Ok(vec![]) },
        ]
    };
    let before = world.ignored(0);
    world.log.clear();
    for link in [old, LinkId(4711)] {
        for event in late(link) {
            world.inject(0, event);
        }
    }
    assert_eq!(world.ignored(0) - before, 28);
    assert!(world.log.is_empty() && world.take(0).is_empty());
    // On the living link: what was not asked for, or is answered already.
    for event in [
        NetEvent::Dialed { link: new, peer: peer.clone(), local: local.clone() },
        NetEvent::DialFailed { link: new, error },
        NetEvent::Sent { link: new },
        NetEvent::ShutdownDone { link: new },
        NetEvent::Closed { link: new },
    ] {
        world.inject(0, event);
    }
    assert_eq!(world.ignored(0) - before, 33);
    world.send(0, a, "alive").unwrap();
    world.run();
    assert_eq!(texts(&world.take(1)), ["alive"]);
    assert!(world.log.iter().all(|(_, action)| !matches!(action, NetAction::Close { .. })));
}

#[test]
fn k10_bytes_that_nobody_asked_for_are_not_read() {
    let mut world = World::new(2);
    world.listener(1, AT);
    let (a, b) = world.join(0, 1, MANY, AT);
    let link = world.link_of(world.newest_end(1));
    // No read is armed once the one that was has brought something.
    world.command(1, ConnectionCommand::Pause { id: b });
    world.send(0, a, "first").unwrap();
    world.run();
    world.inject(1, NetEvent::Received { link, data: vec![0xff; 100].into() });
    assert_eq!(world.ignored(1), 1);
    world.command(1, ConnectionCommand::Resume { id: b });
    world.send(0, a, "second").unwrap();
    world.run();
    assert_eq!(texts(&world.take(1)), ["first", "second"]);
}

#[test]
fn k10_ids_are_never_reused() {
    let mut world = World::new(2);
    world.listener(1, AT);
    let mut seen = std::collections::BTreeSet::new();
    for _ in 0..20 {
        let (a, b) = world.join(0, 1, MANY, AT);
        assert!(seen.insert((0, a)) && seen.insert((1, b)));
        world.command(0, ConnectionCommand::Discard { id: a });
        world.run();
        world.take(1);
    }
    let dialled: Vec<LinkId> = world
        .log
        .iter()
        .filter_map(|(_, action)| match action {
            NetAction::Dial { link, .. } => Some(*link),
            _ => None,
        })
        .collect();
    assert!(dialled.windows(2).all(|pair| pair[0] < pair[1]));
}

#[test]
fn k9_the_seeds_integration_test() {
    let mut world = World::new(2);
    world.listener(1, AT);
    let client = world.create_to(0, MANY, AT, Some(dict("ping"))).unwrap();
    world.connect(0, client, None).unwrap();
    world.run();
    let events = world.take(1);
    let server = match &events[..] {
        [ConnectionEvent::Accepted { id, .. }, ConnectionEvent::Received { .. }] => *id,
        other => panic!("{other:?}"),
    };
    world.send(1, server, "pong").unwrap();
    world.run();
    assert_eq!(texts(&world.take(0)), ["pong"]);
    world.close(0, client).unwrap();
    world.run();
    assert_eq!(world.take_reason(0, client), DisconnectReason::Closed);
    assert_eq!(world.take_reason(1, server), DisconnectReason::ClosedByPeer);
    assert_eq!((world.census(0), world.census(1)), ([0, 0, 0, 1], [0, 1, 0, 1]));
}

#[test]
fn k12_accepting_that_fails_is_told_once_and_resumes() {
    let mut world = World::new(2);
    let listener = world.listener(1, AT);
    let (a, b) = world.join(0, 1, MANY, AT);
    // The next accepts fail, though one is armed already.
    world.accept_error = Some(NetError::Exhausted);
    let last = world.create_to(0, MANY, AT, None).unwrap();
    world.connect(0, last, None).unwrap();
    world.pass(SECOND);
    assert!(matches!(world.take(0)[..], [ConnectionEvent::Connected { .. }]));
    let events = world.take(1);
    let failing = ConnectionEvent::AcceptFailing { listener, error: NetError::Exhausted };
    assert_eq!(events.iter().filter(|event| **event == failing).count(), 1);
    assert!(matches!(events[..], [_, ConnectionEvent::Accepted { .. }]));
    let fails = world.log.iter().filter(|(n, action)| *n == 1 && matches!(action, NetAction::Accept { .. }));
    assert!((5..12).contains(&fails.count()), "it is tried again after a pause");
    // Existing connections live on.
    world.send(0, a, "alive").unwrap();
    world.run();
    assert!(matches!(&world.take(1)[..], [ConnectionEvent::Received { id, .. }] if *id == b));
    // Accepting resumes, and is announced anew when it fails again.
    let waiting = world.create_to(0, MANY, AT, None).unwrap();
    world.connect(0, waiting, None).unwrap();
    world.run();
    assert!(world.take(0).is_empty());
    world.accept_error = None;
    world.pass(SECOND);
    assert!(matches!(world.take(0)[..], [ConnectionEvent::Connected { id, .. }] if id == waiting));
    world.take_accepted(1);
    world.accept_error = Some(NetError::Exhausted);
    world.join_failing(0, AT);
    world.pass(SECOND);
    let events = world.take(1);
    let told = events.iter().filter(|event| matches!(event, ConnectionEvent::AcceptFailing { .. }));
    assert_eq!(told.count(), 1, "{events:?}");
    // Closing in the middle of it leaves no timer.
    world.close(1, listener).unwrap();
    world.run();
    assert_eq!(world.census(1)[1], 0);
}

#[test]
fn an_idle_connection_stays_up_and_a_dead_peer_is_noticed() {
    let mut world = World::new(2);
    world.listener(1, AT);
    let (a, b) = world.join(0, 1, MANY, AT);
    world.pass(600 * SECOND);
    assert!(world.take(0).is_empty() && world.take(1).is_empty());
    // A ping and its answer each way a heartbeat, no more.
    let pings = world.log.iter().filter(|(_, action)| matches!(action, NetAction::Send { .. })).count();
    assert!(pings <= 4 * 200 + 10, "{pings} packs in 600 s");
    world.freeze(1);
    world.pass(10 * SECOND);
    assert_eq!(world.take_reason(0, a), DisconnectReason::Silent);
    _ = b;
}

#[test]
fn a_dead_peer_is_noticed_after_suspect_and_not_before() {
    let mut world = World::new(2);
    world.listener(1, AT);
    let (a, _) = world.join(0, 1, MANY, AT);
    world.freeze(1);
    world.pass(9 * SECOND - Duration::from_micros(1));
    assert!(world.take(0).is_empty());
    world.pass(Duration::from_micros(1));
    assert_eq!(world.take_reason(0, a), DisconnectReason::Silent);
}

#[test]
fn a_paused_connection_is_alive_at_both_ends() {
    let mut world = World::new(2);
    world.listener(1, AT);
    let (a, b) = world.join(0, 1, MANY, AT);
    world.command(1, ConnectionCommand::Pause { id: b });
    for n in 0..3 {
        // What the armed read brings is still told; then no more is read.
        world.send_pack(0, a, DataPack::new(PackType::RAW, vec![n; 1 << 20])).unwrap();
        world.run();
    }
    let end = world.newest_end(1);
    let held = world.ends_inbox(end);
    assert!(held > 1 << 20, "it reads on while paused");
    world.pass(60 * SECOND);
    assert!(world.take(0).is_empty(), "the reader was declared dead");
    let told = world.take(1).len();
    assert!(told <= 1, "the sender was declared dead, or it reads on");
    world.command(1, ConnectionCommand::Resume { id: b });
    world.pass(60 * SECOND);
    assert_eq!(world.take(1).len(), 3 - told);
    assert!(world.take(0).is_empty());
    // Silence counts from the resume.
    world.command(1, ConnectionCommand::Pause { id: b });
    world.pass(SECOND);
    world.freeze(0);
    world.pass(60 * SECOND);
    assert!(world.take(1).is_empty());
    world.command(1, ConnectionCommand::Resume { id: b });
    world.pass(20 * SECOND);
    assert_eq!(world.take_reason(1, b), DisconnectReason::Silent);
}

#[test]
fn a_pause_in_the_middle_of_a_silence_counts_from_the_resume() {
    let mut world = World::new(2);
    world.listener(1, AT);
    let (_, b) = world.join(0, 1, MANY, AT);
    world.freeze(0);
    // It was asked for a sign of life already.
    world.pass(4 * SECOND);
    world.command(1, ConnectionCommand::Pause { id: b });
    world.pass(60 * SECOND);
    assert!(world.take(1).is_empty());
    world.command(1, ConnectionCommand::Resume { id: b });
    world.pass(9 * SECOND - Duration::from_micros(1));
    assert!(world.take(1).is_empty());
    world.pass(Duration::from_micros(1));
    assert_eq!(world.take_reason(1, b), DisconnectReason::Silent);
}

#[test]
fn a_thawed_process_asks_before_it_declares_the_others_dead() {
    let mut world = World::new(2);
    world.listener(1, AT);
    let (a, _) = world.join(0, 1, MANY, AT);
    // Nobody ran for a minute; both are there.
    world.now += 60 * SECOND;
    world.step(0, Event::Tick);
    world.step(1, Event::Tick);
    world.pass(60 * SECOND);
    assert!(world.take(0).is_empty() && world.take(1).is_empty());
    assert_eq!(world.state(0, a), Some(ConnectionState::Connected));
}

#[test]
fn a_blocked_direction_does_not_kill_a_link_whose_other_direction_lives() {
    let mut world = World::new(2);
    world.listener(1, AT);
    let (a, _) = world.join(0, 1, MANY, AT);
    let end = world.newest_end(0);
    world.stick(end, true);
    world.send(0, a, "takes very long").unwrap();
    world.pass(8 * SECOND);
    world.stick(end, false);
    world.pass(60 * SECOND);
    assert!(world.take(0).is_empty());
    assert_eq!(world.take(1).len(), 1);
}

#[test]
fn the_welcome_of_another_language_is_understood() {
    let mut world = World::new(1);
    world.raw_listen("10.0.0.9:1");
    let id = world.create_to(0, MANY, "10.0.0.9:1", None).unwrap();
    world.connect(0, id, None).unwrap();
    world.run();
    let mut raw = world.raw_accept("10.0.0.9:1");
    let hello = world.raw_next(&mut raw).unwrap();
    let welcome = peer::welcome(&KEY, &hello.head, InstanceId([0x77; 16]));
    world.raw_pack(&raw, &welcome);
    let events = world.take(0);
    let [ConnectionEvent::Connected { peer, .. }] = &events[..] else { panic!("{events:?}") };
    assert_eq!(
        (peer.instance, &peer.name[..], peer.connection),
        (InstanceId([0x77; 16]), "fake", ConnectionId(77))
    );
    let confirm = world.raw_next(&mut raw).unwrap();
    assert_eq!(confirm, peer::confirm(&KEY, &hello.head, &welcome.head));
}
