//! What is counted of a connection.

use crate::world::*;
use std::time::Duration;
use xxnet_core::connection::*;
use xxnet_core::pack::DataHeader;
use xxnet_core::*;

const B: &str = "10.0.0.2:7000";

impl World {
    fn statistics(&self, node: usize, id: ConnectionId) -> Statistics {
        self.nodes[node].machine.manager().statistics(id).unwrap()
    }
}

/// Message `n` on the wire.
fn bytes(texts: &[&str]) -> u64 {
    texts.iter().map(|text| (DataHeader::WIRE_LEN + dict(text).to_pack().unwrap().data_len()) as u64).sum()
}

#[test]
fn what_one_end_sends_the_other_receives_whatever_the_kind() {
    for kind in [PAIR, ONE_SESSION, SESSIONS, ONE] {
        let mut world = crate::sessions::two();
        let (a, b) = world.join(0, 1, kind, B);
        world.run();
        let before = [world.statistics(0, a), world.statistics(1, b)];
        assert_eq!(before[0].traffic.sent, before[1].traffic.received, "the handshake of {kind}");
        world.send_all(0, a, &["one", "two", "three"]);
        world.run();
        let after = [world.statistics(0, a), world.statistics(1, b)];
        let sent = [before, after].map(|[a, _]| a.traffic.sent);
        assert_eq!(sent[1].packs - sent[0].packs, 3);
        assert_eq!(sent[1].bytes - sent[0].bytes, bytes(&["one", "two", "three"]));
        for (one, other) in [(0, 1), (1, 0)] {
            assert_eq!(after[one].traffic.sent, after[other].traffic.received, "{kind}");
            assert_eq!((after[one].links, after[one].breaks, after[one].resent), (1, 0, 0));
        }
    }
}

#[test]
fn what_waits_is_counted_until_it_is_acknowledged_or_taken() {
    let mut world = crate::sessions::two();
    let (a, b) = world.join(0, 1, SESSIONS, B);
    world.send_all(0, a, &["one", "two"]);
    world.run();
    let waits = Volume { packs: 2, bytes: bytes(&["one", "two"]) };
    assert_eq!((world.statistics(0, a).queued, world.statistics(0, a).untaken), (waits, Volume::default()));
    assert_eq!((world.statistics(1, b).queued, world.statistics(1, b).untaken), (Volume::default(), waits));
    assert_eq!(world.texts(1), ["one", "two"]);
    assert_eq!(world.statistics(1, b).untaken, Volume::default());
    assert_eq!(world.statistics(0, a).queued, waits, "nobody has said so yet");
    world.acknowledge();
    assert_eq!(world.statistics(0, a).queued, Volume::default());
}

#[test]
fn n4_a_break_and_what_was_sent_again_are_counted_and_nothing_carried_is_forgotten() {
    let mut world = crate::sessions::two();
    let (a, b) = world.join(0, 1, SESSIONS, B);
    world.send_all(0, a, &["one", "two"]);
    world.run();
    let before = world.statistics(0, a);
    world.break_link(world.newest_end(0));
    world.run();
    let broken = world.statistics(0, a);
    assert_eq!((broken.breaks, broken.links), (1, 0));
    assert_eq!(broken.traffic, before.traffic);
    assert_eq!(broken.round_trip, before.round_trip);
    world.pass(Duration::from_secs(1));
    let after = world.statistics(0, a);
    // They had come, and Confirm said so: nothing had to be sent again.
    assert_eq!((after.breaks, after.resent, after.links), (1, 0, 1));
    assert!(after.traffic.sent.bytes > before.traffic.sent.bytes, "another handshake");
    // Of two one is still on its way to the system when the link breaks.
    world.stick(world.newest_end(0), true);
    world.send_all(0, a, &["three"]);
    world.send_all(0, a, &["four"]);
    world.break_link(world.newest_end(0));
    world.pass(Duration::from_secs(1));
    let again = world.statistics(0, a);
    assert_eq!((again.breaks, again.resent, again.links), (2, 1, 1));
    assert_eq!(world.texts(1), ["one", "two", "three", "four"]);
    assert_eq!(world.statistics(1, b).breaks, 2);
}

#[test]
fn the_round_trip_is_known_from_the_handshake_and_measured_again_while_nothing_is_said() {
    let mut world = crate::sessions::two();
    let (a, b) = world.join(0, 1, ONE, B);
    let known = |world: &World| [world.statistics(0, a).round_trip, world.statistics(1, b).round_trip];
    // Nothing takes any time in this world.
    assert_eq!(known(&world), [Some(Duration::ZERO); 2]);
    // A heartbeat later it asks, and what it asks takes its time.
    world.now += Duration::from_secs(3);
    world.step(0, Event::Tick);
    world.now += Duration::from_millis(40);
    world.run();
    assert_eq!(world.statistics(0, a).round_trip, Some(Duration::from_millis(40)));
    // Nobody asked for it, so nobody is told.
    assert_eq!(world.take(0), []);
}

#[test]
fn an_idle_connection_has_carried_nothing_and_an_unknown_one_is_none() {
    let mut world = crate::sessions::two();
    let (a, b) = world.join(0, 1, PAIR, B);
    world.close(0, a).unwrap();
    world.pass(Duration::from_secs(1));
    assert_eq!(world.statistics(0, a), Statistics::default());
    assert_eq!(world.nodes[1].machine.manager().statistics(b), None);
}
