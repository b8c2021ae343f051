//! N3: what a second link to the same peer means (`Many` and `OnePerDialler`).

use crate::peer::{self, Hello};
use crate::world::*;
use std::time::Duration;
use xxnet_core::connection::*;
use xxnet_core::net::{NetAction, NetError};
use xxnet_core::*;

const AT: &str = "10.0.0.2:7000";
const BACK: &str = "10.0.0.1:7000";
const SECOND: Duration = Duration::from_secs(1);

#[test]
fn n3_many_are_told_apart_by_the_diallers_connection() {
    let mut world = World::new(2);
    world.listener(1, AT);
    let pairs: Vec<_> = (0..5).map(|_| world.join(0, 1, MANY, AT)).collect();
    world.run();
    assert!(world.take(0).is_empty() && world.take(1).is_empty());
    for (n, (a, b)) in pairs.iter().enumerate() {
        assert_eq!(world.nodes[1].machine.manager().peer(*b).unwrap().connection, *a);
        world.send(0, *a, &format!("{n}")).unwrap();
        world.run();
        let events = world.take(1);
        let [ConnectionEvent::Received { id, pack }] = &events[..] else { panic!("{events:?}") };
        assert_eq!((*id, Dict::from_pack(pack).unwrap()), (*b, dict(&format!("{n}"))));
    }
}

#[test]
fn n3_simultaneous_dial_of_one_a_dialler_keeps_one_link_each_way() {
    let mut world = World::new(2);
    world.listener(0, BACK);
    world.listener(1, AT);
    let a = world.create_to(0, ONE, AT, None).unwrap();
    let b = world.create_to(1, ONE, BACK, None).unwrap();
    world.connect(0, a, None).unwrap();
    world.connect(1, b, None).unwrap();
    world.run();
    for node in [0, 1] {
        let events = world.take(node);
        let connected = events.iter().filter(|e| matches!(e, ConnectionEvent::Connected { .. })).count();
        let accepted = events.iter().filter(|e| matches!(e, ConnectionEvent::Accepted { .. })).count();
        assert_eq!((connected, accepted, events.len()), (1, 1, 2), "{events:?}");
        assert_eq!(world.census(node), [2, 1, 0, 3]);
    }
    world.pass(60 * SECOND);
    assert!(world.take(0).is_empty() && world.take(1).is_empty());
}

#[test]
fn n3_one_of_two_crossed_dials_hangs_for_ever() {
    let mut world = World::new(2);
    world.listener(0, BACK);
    world.listener(1, AT);
    world.dialling.insert(socket(BACK), Dialling::Never);
    let a = world.create_to(0, ONE, AT, None).unwrap();
    let b = world.create_to(1, ONE, BACK, None).unwrap();
    world.connect(0, a, None).unwrap();
    world.connect(1, b, None).unwrap();
    world.pass(20 * SECOND);
    assert!(matches!(world.take(0)[..], [ConnectionEvent::Connected { .. }]));
    let events = world.take(1);
    assert!(matches!(
        events[..],
        [
            ConnectionEvent::Accepted { .. },
            ConnectionEvent::Disconnected { reason: DisconnectReason::Net(NetError::TimedOut), .. }
        ]
    ));
    assert_eq!((world.census(0)[0], world.census(1)[0]), (1, 1));
}

#[test]
fn n3_a_newer_dial_replaces_the_link_whose_other_end_is_half_open() {
    for kind in [ONE, MANY] {
        let mut world = World::new(2);
        world.listener(1, AT);
        let (a, old) = world.join(0, 1, kind, AT);
        // Only the dialler learns that the link is dead.
        world.reset(world.newest_end(0));
        world.run();
        assert_eq!(world.take_reason(0, a), DisconnectReason::Net(NetError::Reset));
        assert!(world.take(1).is_empty());
        assert_eq!(world.state(1, old), Some(ConnectionState::Connected));
        world.connect(0, a, None).unwrap();
        world.run();
        assert!(matches!(world.take(0)[..], [ConnectionEvent::Connected { .. }]));
        let events = world.take(1);
        let [
            ConnectionEvent::Disconnected { id: ended, reason: DisconnectReason::Replaced, .. },
            ConnectionEvent::Accepted { id: new, .. },
        ] = events[..]
        else {
            panic!("{events:?}")
        };
        assert_eq!(ended, old);
        assert_ne!(new, old);
        world.pass(20 * SECOND);
        assert!(world.take(0).is_empty() && world.take(1).is_empty());
        assert_eq!(world.census(1), [1, 1, 0, 2]);
    }
}

#[test]
fn n3_a_second_connection_of_one_a_dialler_replaces_the_first_and_it_learns_why() {
    let mut world = World::new(2);
    world.listener(1, AT);
    let (first, old) = world.join(0, 1, ONE, AT);
    let second = world.create_to(0, ONE, AT, None).unwrap();
    world.connect(0, second, None).unwrap();
    world.run();
    let events = world.take(0);
    assert_eq!(events.len(), 2);
    assert!(matches!(&events[0], ConnectionEvent::Connected { id, .. } if *id == second));
    assert!(matches!(
        &events[1],
        ConnectionEvent::Disconnected { id, reason: DisconnectReason::Duplicate, .. } if *id == first
    ));
    let events = world.take(1);
    assert!(matches!(
        events[..],
        [
            ConnectionEvent::Disconnected { id, reason: DisconnectReason::Replaced, .. },
            ConnectionEvent::Accepted { .. }
        ] if id == old
    ));
}

#[test]
fn n3_what_was_queued_for_a_replaced_link_is_let_go() {
    let mut world = World::new(1);
    world.listener(0, BACK);
    let mut raw = world.raw_join(BACK, &Hello::new(ONE, 1));
    let id = world.take_accepted(0);
    let end = world.ends[raw.end].other;
    world.stick(end, true);
    for text in ["under way", "queued"] {
        world.send(0, id, text).unwrap();
    }
    world.raw_join(BACK, &Hello::new(ONE, 2));
    world.stick(end, false);
    world.run();
    let first = world.raw_next(&mut raw).unwrap();
    assert_eq!(Dict::from_pack(&first).unwrap(), dict("under way"));
    assert_eq!(peer::refusal(&world.raw_next(&mut raw).unwrap()), 6);
}

#[test]
fn n3_kinds_do_not_replace_each_other() {
    let mut world = World::new(2);
    world.listener(1, AT);
    world.join(0, 1, ONE, AT);
    world.join(0, 1, MANY, AT);
    assert!(world.take(0).is_empty() && world.take(1).is_empty());
    assert_eq!(world.census(1)[0], 2);
}

#[test]
fn n3_an_old_or_equal_epoch_is_a_duplicate_and_told() {
    let mut world = World::new(1);
    world.listener(0, BACK);
    let hello = Hello::new(ONE, 5);
    world.raw_join(BACK, &hello);
    let holder = world.take_accepted(0);
    for epoch in [1, 4, 5] {
        let (_, answer) = world.raw_hello(BACK, &Hello { epoch, connection: epoch, ..hello.clone() });
        assert_eq!(peer::refusal(&answer), 6);
        let events = world.take(0);
        assert!(
            matches!(&events[..], [ConnectionEvent::TurnedAway { reason: DisconnectReason::Duplicate, .. }]),
            "{events:?}"
        );
        assert_eq!(world.state(0, holder), Some(ConnectionState::Connected));
    }
    world.raw_join(BACK, &Hello { epoch: 6, ..hello.clone() });
    assert!(matches!(
        world.take(0)[..],
        [
            ConnectionEvent::Disconnected { reason: DisconnectReason::Replaced, .. },
            ConnectionEvent::Accepted { .. }
        ]
    ));
    // Another instance's epochs are its own.
    world.raw_join(BACK, &Hello { epoch: 1, instance: InstanceId([0x67; 16]), ..hello });
    world.take_accepted(0);
}

#[test]
fn n3_the_epoch_is_judged_again_at_confirm() {
    let mut world = World::new(1);
    world.listener(0, BACK);
    // Both Hellos are welcome; the newer one confirms first.
    let (older, newer) = (Hello::new(ONE, 5), Hello::new(ONE, 6));
    let (mut late, late_welcome) = world.raw_hello(BACK, &older);
    let (raw, welcome) = world.raw_hello(BACK, &newer);
    let (mut same, same_welcome) = world.raw_hello(BACK, &newer);
    assert!(world.take(0).is_empty());
    world.raw_pack(&raw, &peer::confirm(&KEY, &newer.bytes(), &welcome.head));
    let holder = world.take_accepted(0);
    world.raw_pack(&late, &peer::confirm(&KEY, &older.bytes(), &late_welcome.head));
    world.raw_pack(&same, &peer::confirm(&KEY, &newer.bytes(), &same_welcome.head));
    for raw in [&mut late, &mut same] {
        let answer = world.raw_next(raw).unwrap();
        assert_eq!(peer::refusal(&answer), 6);
    }
    let events = world.take(0);
    assert_eq!(events.len(), 2);
    assert!(events.iter().all(|event| matches!(
        event,
        ConnectionEvent::TurnedAway { reason: DisconnectReason::Duplicate, .. }
    )));
    assert_eq!(world.state(0, holder), Some(ConnectionState::Connected));
}

#[test]
fn n3_a_late_accept_of_an_abandoned_dial_changes_nothing() {
    let mut world = World::new(2);
    world.listener(1, AT);
    world.slow_accept = true;
    let a = world.create_to(0, ONE, AT, None).unwrap();
    world.connect(0, a, None).unwrap();
    world.pass(5 * SECOND);
    assert_eq!(world.take_reason(0, a), DisconnectReason::Silent);
    // The redial gets through; only then the first is accepted, with its Hello and its end.
    world.slow_accept = false;
    world.connect(0, a, None).unwrap();
    world.hand_over(socket(AT));
    world.pass(20 * SECOND);
    assert!(matches!(world.take(0)[..], [ConnectionEvent::Connected { .. }]));
    let events = world.take(1);
    let accepted = events.iter().filter(|event| matches!(event, ConnectionEvent::Accepted { .. })).count();
    let ended = events.iter().filter(|event| matches!(event, ConnectionEvent::Disconnected { .. })).count();
    assert_eq!((accepted, ended), (1, 0), "{events:?}");
    assert_eq!((world.census(0)[0], world.census(1)[0]), (1, 1));
}

#[test]
fn n3_the_hello_of_a_dead_process_in_the_backlog_changes_nothing() {
    let mut world = World::new(1);
    world.listener(0, BACK);
    let hello = Hello::new(ONE, 5);
    world.raw_join(BACK, &hello);
    let holder = world.take_accepted(0);
    // A newer dial of the same dialler that dies behind its Hello: nothing switches.
    let (raw, _) = world.raw_hello(BACK, &Hello { epoch: 9, ..hello });
    assert!(world.take(0).is_empty());
    world.raw_close(&raw);
    let events = world.take(0);
    assert!(matches!(&events[..], [ConnectionEvent::TurnedAway { .. }]), "{events:?}");
    assert_eq!(world.state(0, holder), Some(ConnectionState::Connected));
    assert_eq!(world.census(0)[0], 1);
}

#[test]
fn n3_a_peer_that_dials_a_hundred_times() {
    let mut world = World::new(2);
    world.listener(1, AT);
    // In turn, each time giving the old link up without a word.
    let a = world.create_to(0, ONE, AT, None).unwrap();
    for _ in 0..100 {
        world.connect(0, a, None).unwrap();
        world.run();
        world.reset(world.newest_end(0));
        world.run();
    }
    world.connect(0, a, None).unwrap();
    world.pass(20 * SECOND);
    assert_eq!(world.census(0)[0], 1);
    assert_eq!(world.census(1), [1, 1, 0, 2]);
    let events = world.take(1);
    let accepted = events.iter().filter(|event| matches!(event, ConnectionEvent::Accepted { .. })).count();
    let ended = events.iter().filter(|event| matches!(event, ConnectionEvent::Disconnected { .. })).count();
    assert_eq!((accepted, ended), (101, 100));
    // And at once: the newest stays.
    world.take(0);
    let all: Vec<_> = (0..100).map(|_| world.create_to(0, ONE, AT, None).unwrap()).collect();
    all.iter().for_each(|id| world.connect(0, *id, None).unwrap());
    world.pass(20 * SECOND);
    let up: Vec<_> =
        all.iter().filter(|id| world.state(0, **id) == Some(ConnectionState::Connected)).collect();
    assert_eq!(up, [all.last().unwrap()]);
    assert_eq!((world.census(0)[0], world.census(1)[0]), (1, 1));
}

#[test]
fn n3_epochs_grow_with_each_dial_of_the_node() {
    let mut world = World::new(1);
    world.raw_listen(AT);
    let mut last = 0;
    for kind in [ONE, MANY, ONE] {
        let id = world.create_to(0, kind, AT, None).unwrap();
        for _ in 0..2 {
            world.connect(0, id, None).unwrap();
            world.run();
            let mut raw = world.raw_accept(AT);
            let hello = world.raw_next(&mut raw).unwrap();
            // Behind magic, version, both instances and the kind.
            let epoch = u64::from_le_bytes(hello.head[40..48].try_into().unwrap());
            assert!(epoch > last);
            last = epoch;
            world.close(0, id).unwrap();
            world.run();
        }
    }
}

#[test]
fn n3_another_instance_than_the_expected_one_is_refused_at_either_end() {
    let mut world = World::new(2);
    world.listener(1, AT);
    let (me, other) = (world.nodes[1].config.instance, InstanceId([0x99; 16]));
    let id = world.create_to(0, MANY, AT, None).unwrap();
    world.connect_expecting(0, id, None, Some(other)).unwrap();
    world.run();
    // The acceptor says so itself; that it tells who it is comes with it.
    assert_eq!(world.take_reason(0, id), DisconnectReason::OtherInstance(me));
    let events = world.take(1);
    assert!(matches!(&events[..], [ConnectionEvent::TurnedAway { reason, .. }]
        if *reason == DisconnectReason::OtherInstance(other)));
    world.connect_expecting(0, id, None, Some(me)).unwrap();
    world.run();
    assert!(matches!(world.take(0)[..], [ConnectionEvent::Connected { .. }]));
    // One that welcomes in spite of it.
    world.raw_listen("10.0.0.9:1");
    let id = world.create_to(0, MANY, "10.0.0.9:1", None).unwrap();
    world.connect_expecting(0, id, None, Some(me)).unwrap();
    world.run();
    let mut raw = world.raw_accept("10.0.0.9:1");
    let hello = world.raw_next(&mut raw).unwrap();
    world.raw_pack(&raw, &peer::welcome(&KEY, &hello.head, other));
    assert_eq!(world.take_reason(0, id), DisconnectReason::OtherInstance(other));
    let answer = world.raw_next(&mut raw).unwrap();
    assert_eq!(peer::refusal(&answer), 4);
}

#[test]
fn n3_what_is_remembered_of_past_diallers_is_bounded() {
    let mut world = World::new(1);
    world.listener(0, BACK);
    let hello = |n: u16| {
        let mut instance = [0x66; 16];
        instance[..2].copy_from_slice(&n.to_le_bytes());
        Hello { instance: InstanceId(instance), ..Hello::new(ONE, 5) }
    };
    // `check_invariants` counts after every step.
    for n in 0..1100 {
        let raw = world.raw_join(BACK, &hello(n));
        world.raw_close(&raw);
    }
    world.take(0);
    let (_, answer) = world.raw_hello(BACK, &hello(1099));
    assert_eq!(peer::refusal(&answer), 6);
    assert_eq!(world.census(0)[3], 1);
}

#[test]
fn n13_a_replaced_link_cannot_hurt_the_newer_one() {
    let mut world = World::new(2);
    world.listener(1, AT);
    let (a, _) = world.join(0, 1, ONE, AT);
    let old = world.newest_end(1);
    world.reset(world.newest_end(0));
    world.run();
    world.take(0);
    world.connect(0, a, None).unwrap();
    world.run();
    world.take(0);
    world.take(1);
    // The old end breaks only now.
    world.reset(old);
    world.run();
    world.send(0, a, "alive").unwrap();
    world.run();
    assert!(matches!(world.take(1)[..], [ConnectionEvent::Received { .. }]));
    let closes = world.log.iter().filter(|(n, action)| *n == 1 && matches!(action, NetAction::Close { .. }));
    assert!(closes.count() <= 1);
}
