//! Pings that are measured, and probes: who is there?

use crate::peer::{self, Hello};
use crate::world::*;
use std::time::Duration;
use xxnet_core::connection::*;
use xxnet_core::pack::{DataPack, PackType};
use xxnet_core::*;

const AT: &str = "10.0.0.2:7000";
const MILLI: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

impl World {
    fn ping(&mut self, node: usize, id: ConnectionId) -> Result<(), ConnectionError> {
        let token = self.token(node);
        self.command(node, ConnectionCommand::Ping { token, id });
        match self.nodes[node].notices.last() {
            Some(ConnectionNotice::Rejected { token: answered, error }) if *answered == token => {
                let error = error.clone();
                self.nodes[node].notices.pop();
                Err(error)
            }
            _ => Ok(()),
        }
    }

    /// A connection that only asks who listens there.
    fn probe(&mut self, node: usize, at: &str) -> ConnectionId {
        let token = self.token(node);
        let kind = ConnectionKind::plain(KindId::PROBE, LinkRule::Many, Role::Dial);
        self.command(node, ConnectionCommand::Register { token, kind });
        self.nodes[node].notices.retain(|notice| !matches!(notice, ConnectionNotice::Rejected { .. }));
        let id = self.create_to(node, KindId::PROBE, at, None).unwrap();
        self.connect(node, id, None).unwrap();
        self.run();
        id
    }
}

fn pong(id: ConnectionId, round_trip: Duration) -> ConnectionEvent {
    ConnectionEvent::Pong { id, round_trip }
}

#[test]
fn a_ping_tells_its_round_trip_at_the_end_that_asked() {
    let mut world = World::new(2);
    world.listener(1, AT);
    for kind in [MANY, ONE, PAIR] {
        let (a, b) = world.join(0, 1, kind, AT);
        for (node, id) in [(0, a), (1, b)] {
            world.ping(node, id).unwrap();
            world.now += 7 * MILLI;
            world.run();
            assert_eq!(world.take(node), [pong(id, 7 * MILLI)], "{kind}");
            assert!(world.take(1 - node).is_empty());
        }
    }
}

#[test]
fn only_the_answer_to_the_measured_ping_counts() {
    let mut world = World::new(1);
    world.listener(0, AT);
    let mut raw = world.raw_join(AT, &Hello::new(MANY, 1));
    let id = world.take_accepted(0);
    // One to keep the link alive is measured, too, and nobody is told.
    let number = |n: u64| n.to_le_bytes().to_vec();
    world.pass(3 * SECOND);
    assert_eq!(world.raw_next(&mut raw), Some(DataPack::new(PackType::PING, number(1))));
    world.ping(0, id).unwrap();
    // A second one asks nothing new, and one to keep the link alive carries the same number.
    world.ping(0, id).unwrap();
    world.raw_pack(&raw, &DataPack::new(PackType::PONG, vec![]));
    world.raw_pack(&raw, &DataPack::new(PackType::PONG, number(1)));
    world.pass(3 * SECOND);
    for _ in 0..2 {
        assert_eq!(world.raw_next(&mut raw), Some(DataPack::new(PackType::PING, number(2))));
    }
    world.raw_pack(&raw, &DataPack::new(PackType::PONG, number(3)));
    assert!(world.take(0).is_empty());
    world.raw_pack(&raw, &DataPack::new(PackType::PONG, number(2)));
    assert_eq!(world.take(0), [pong(id, 3 * SECOND)]);
    // The next one is another, and a late answer to the last is not its own.
    world.ping(0, id).unwrap();
    world.raw_pack(&raw, &DataPack::new(PackType::PONG, number(2)));
    assert!(world.take(0).is_empty());
    assert_eq!(world.raw_next(&mut raw), Some(DataPack::new(PackType::PING, number(3))));
    world.raw_pack(&raw, &DataPack::new(PackType::PONG, number(3)));
    assert_eq!(world.take(0), [pong(id, Duration::ZERO)]);
}

#[test]
fn a_pings_data_comes_back_and_of_several_the_newest() {
    let mut world = World::new(1);
    world.listener(0, AT);
    let mut raw = world.raw_join(AT, &Hello::new(MANY, 1));
    let id = world.take_accepted(0);
    for data in [vec![], vec![1, 2, 3], vec![9; 8]] {
        world.raw_pack(&raw, &DataPack::new(PackType::PING, data.clone()));
        assert_eq!(world.raw_next(&mut raw), Some(DataPack::new(PackType::PONG, data)));
    }
    let end = world.ends[raw.end].other;
    world.stick(end, true);
    for n in 0..9 {
        world.raw_pack(&raw, &DataPack::new(PackType::PING, vec![n; usize::from(n)]));
    }
    world.stick(end, false);
    world.run();
    // The first one was under way; the last answers the others.
    assert_eq!(world.raw_next(&mut raw), Some(DataPack::new(PackType::PONG, vec![])));
    assert_eq!(world.raw_next(&mut raw), Some(DataPack::new(PackType::PONG, vec![8; 8])));
    assert_eq!(world.raw_next(&mut raw), None);
    world.raw_pack(&raw, &DataPack::new(PackType::PING, vec![0; 9]));
    assert!(matches!(world.take_reason(0, id), DisconnectReason::Malformed(_)));
}

#[test]
fn a_ping_needs_a_link() {
    let mut world = World::new(2);
    let listener = world.listener(1, AT);
    assert_eq!(world.ping(1, listener), Err(ConnectionError::WrongState(ConnectionState::Listening)));
    assert_eq!(world.ping(0, ConnectionId(99)), Err(ConnectionError::UnknownConnection(ConnectionId(99))));
    let id = world.create_to(0, MANY, AT, None).unwrap();
    assert_eq!(world.ping(0, id), Err(ConnectionError::WrongState(ConnectionState::Idle)));
    world.connect(0, id, None).unwrap();
    assert_eq!(world.ping(0, id), Err(ConnectionError::WrongState(ConnectionState::Connecting)));
    world.run();
    world.take(0);
    world.take(1);
    // A link that breaks first takes the ping along.
    world.ping(0, id).unwrap();
    let end = world.newest_end(0);
    world.break_link(end);
    world.run();
    assert_eq!(world.take_reason(0, id), DisconnectReason::Net(net::NetError::Reset));
    world.take(1);
    // A session has none for a while, then another.
    let (session, _) = world.join(0, 1, PAIR, AT);
    world.pass(SECOND);
    world.ping(0, session).unwrap();
    let end = world.newest_end(0);
    world.break_link(end);
    world.run();
    assert_eq!(world.ping(0, session), Err(ConnectionError::NoLink));
    world.pass(SECOND);
    let told = world.take(0);
    assert!(
        matches!(told[..], [ConnectionEvent::Interrupted { .. }, ConnectionEvent::Resumed { .. }]),
        "{told:?}"
    );
    world.ping(0, session).unwrap();
    world.run();
    assert_eq!(world.take(0), [pong(session, Duration::ZERO)]);
    world.command(0, ConnectionCommand::Destroy);
    world.take(0);
    assert_eq!(world.ping(0, session), Err(ConnectionError::Destroyed));
}

#[test]
fn every_listener_answers_a_probe_and_tells_nobody() {
    let mut world = World::new(2);
    let listener = world.listener(1, AT);
    let before = world.census(1);
    let id = world.probe(0, AT);
    let told = world.take(0);
    let [ConnectionEvent::Connected { peer, .. }] = &told[..] else { panic!("{told:?}") };
    assert_eq!((peer.instance, &peer.name[..]), (world.nodes[1].config.instance, "node-1"));
    // It stays, with signs of life, and can be measured.
    world.pass(60 * SECOND);
    world.ping(0, id).unwrap();
    world.now += MILLI;
    world.run();
    assert_eq!(world.take(0), [pong(id, MILLI)]);
    world.close(0, id).unwrap();
    world.run();
    assert_eq!(world.take_reason(0, id), DisconnectReason::Closed);
    assert_eq!(world.census(1), before, "something is left of the prober");
    // With its listener it ends.
    world.connect(0, id, None).unwrap();
    world.run();
    world.take(0);
    world.close(1, listener).unwrap();
    world.run();
    assert_eq!(world.take_reason(0, id), DisconnectReason::ClosedByPeer);
    assert_eq!(world.take_reason(1, listener), DisconnectReason::Closed);
    assert_eq!(world.census(1)[..3], [0; 3]);
}

#[test]
fn a_prober_that_falls_silent_or_speaks_is_dropped() {
    let mut world = World::new(2);
    world.listener(1, AT);
    let before = world.census(1);
    world.probe(0, AT);
    world.freeze(0);
    world.pass(20 * SECOND);
    assert_eq!(world.census(1), before, "a silent prober is kept");
    let mut raw = world.raw_join(AT, &Hello::new(KindId::PROBE, 1));
    world.raw_pack(&raw, &dict("hello").to_pack().unwrap());
    assert_eq!(peer::refusal(&world.raw_next(&mut raw).unwrap()), 8);
    world.raw_close(&raw);
    assert_eq!(world.census(1), before);
    assert!(world.take(1).is_empty());
}

#[test]
fn n12_a_prober_needs_the_key() {
    let mut world = World::new(2);
    world.listener(1, AT);
    let hello = Hello::new(KindId::PROBE, 1);
    let (mut raw, welcome) = world.raw_hello(AT, &hello);
    world.raw_pack(&raw, &peer::confirm(&ClusterKey([1; 32]), &hello.bytes(), &welcome.head));
    assert_eq!(peer::refusal(&world.raw_next(&mut raw).unwrap()), 1);
    let told = world.take(1);
    assert!(
        matches!(told[..], [ConnectionEvent::TurnedAway { reason: DisconnectReason::WrongKey, .. }]),
        "{told:?}"
    );
}

#[test]
fn probers_are_bounded_and_their_places_come_back() {
    let mut world = World::new(1);
    let node = world.add(|config| config.limits.max_handshakes = 3);
    world.listener(node, AT);
    let probers: Vec<_> = (0..3).map(|_| world.probe(0, AT)).collect();
    world.take(0);
    let late = world.probe(0, AT);
    assert_eq!(world.take_reason(0, late), DisconnectReason::Full);
    // Others are not kept out by them.
    world.take(node);
    world.join(0, node, MANY, AT);
    world.close(0, probers[0]).unwrap();
    world.run();
    world.take(0);
    world.connect(0, late, None).unwrap();
    world.run();
    assert!(matches!(world.take(0)[..], [ConnectionEvent::Connected { .. }]));
}
