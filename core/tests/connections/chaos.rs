//! Whatever the application, the network and strangers do, in any order: the tables agree after each step, each
//! connection's story makes sense, and in the end nothing is left.

use crate::peer::Hello;
use crate::world::*;
use rand::rngs::ChaCha8Rng;
use rand::{RngExt, SeedableRng};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use xxnet_core::connection::*;
use xxnet_core::net::{NetError, NetEvent};
use xxnet_core::pack::{DataPack, PackType};
use xxnet_core::*;

const KINDS: [KindId; 3] = [MANY, ONE, SELF];

fn at(node: usize) -> String {
    format!("10.0.0.{}:7000", node + 1)
}

/// What one node was told, checked as it comes.
#[derive(Default)]
struct Story {
    up: BTreeMap<ConnectionId, KindId>,
    told: u64,
    /// Reasons that were given, by name.
    reasons: BTreeSet<String>,
}

impl Story {
    fn read(&mut self, node: usize, events: Vec<ConnectionEvent>) {
        for event in events {
            self.told += 1;
            match event {
                ConnectionEvent::Connected { id, kind, .. } | ConnectionEvent::Accepted { id, kind, .. } => {
                    assert_eq!(self.up.insert(id, kind), None, "node {node}: {id} is up twice");
                }
                ConnectionEvent::Disconnected { id, kind, reason } => {
                    self.reasons.insert(format!("{reason:?}"));
                    if let Some(known) = self.up.remove(&id) {
                        assert_eq!(known, kind);
                    }
                }
                ConnectionEvent::Received { id, .. } | ConnectionEvent::Writable { id } => {
                    assert!(self.up.contains_key(&id), "node {node}: {id} is told of and not up");
                }
                ConnectionEvent::TurnedAway { reason, .. } => {
                    self.reasons.insert(format!("turned away: {reason:?}"));
                }
                // It pings nobody, and its kinds have no sessions.
                ConnectionEvent::Pong { .. }
                | ConnectionEvent::Interrupted { .. }
                | ConnectionEvent::Resumed { .. }
                | ConnectionEvent::Acknowledged { .. }
                | ConnectionEvent::Undelivered { .. } => panic!("node {node}: {event:?}"),
                ConnectionEvent::Listening { .. }
                | ConnectionEvent::ListenFailed { .. }
                | ConnectionEvent::AcceptFailing { .. } => {}
            }
        }
    }
}

struct Run {
    world: World,
    rng: ChaCha8Rng,
    ids: Vec<Vec<ConnectionId>>,
    stories: Vec<Story>,
    strangers: Vec<Raw>,
}

impl Run {
    fn new(seed: u64) -> Self {
        let mut world = World::new(0);
        for _ in 0..3 {
            world.add(|config| {
                config.limits.max_handshakes = 4;
                config.limits.max_outbox = 40 << 10;
                config.limits.high_water = 16 << 10;
            });
        }
        let ids = (0..3).map(|node| vec![world.listener(node, &at(node))]).collect();
        world.names.insert("some.host".into(), Ok(vec!["10.0.0.2", "10.0.0.3"]));
        let stories = (0..3).map(|_| Story::default()).collect();
        Self { world, rng: ChaCha8Rng::seed_from_u64(seed), ids, stories, strangers: Vec::new() }
    }

    fn pick(&mut self, below: usize) -> usize {
        self.rng.random_range(0..below)
    }

    fn step(&mut self) {
        let node = self.pick(3);
        let pick = self.pick(self.ids[node].len());
        let id = self.ids[node][pick];
        let world = &mut self.world;
        match self.rng.random_range(0..24) {
            0 | 1 => {
                let kind = KINDS[self.rng.random_range(0..3)];
                let to = self.rng.random_range(0..4);
                let to = if to == 3 { "some.host:7000".into() } else { at(to) };
                let data = self.rng.random_bool(0.5).then(|| dict("first"));
                let id = world.create_to(node, kind, &to, data).unwrap();
                self.ids[node].push(id);
            }
            2..=6 => _ = world.connect(node, id, None),
            7..=10 => {
                let size = self.rng.random_range(0..30_000);
                _ = world.send_pack(node, id, DataPack::new(PackType::RAW, vec![0; size]));
            }
            11 => _ = world.close(node, id),
            12 if pick > 0 => {
                world.command(node, ConnectionCommand::Discard { id });
                self.ids[node].swap_remove(pick);
                self.stories[node].up.remove(&id);
            }
            13 => world.command(node, ConnectionCommand::Pause { id }),
            14 => world.command(node, ConnectionCommand::Resume { id }),
            15 => {
                let to = &at(node);
                _ = world.listen(node, self.ids[node][0], to);
            }
            16 => self.break_something(),
            17 => {
                let ends = world.ends.len();
                if ends > 0 {
                    let end = self.rng.random_range(0..ends);
                    let stuck = self.rng.random();
                    world.stick(end, stuck);
                }
            }
            18 => self.stranger(node),
            19 => {
                // Of a link that never was: every event a runtime could be late with.
                let (link, listener) = (LinkId(1_000_000), ListenerId(1_000_000));
                let (peer, local) = (socket(&at(0)), socket(&at(1)));
                let event = match self.rng.random_range(0..5) {
                    0 => NetEvent::Sent { link },
                    1 => NetEvent::Closed { link },
                    2 => NetEvent::Dialed { link, peer, local },
                    3 => NetEvent::Accepted { listener, link, peer, local },
                    _ => NetEvent::Broken { link, error: NetError::Reset },
                };
                world.inject(node, event);
            }
            20 => world.chunk = self.rng.random_range(1..5000),
            21 => {
                let time = Duration::from_millis(self.rng.random_range(0..4000));
                world.pass(time);
            }
            _ => {
                for _ in 0..self.rng.random_range(0..40) {
                    world.run_one();
                }
            }
        }
        self.read();
    }

    fn break_something(&mut self) {
        let open: Vec<usize> = (0..self.world.ends.len()).filter(|end| self.world.is_open(*end)).collect();
        if !open.is_empty() {
            let end = open[self.pick(open.len())];
            if self.rng.random() { self.world.reset(end) } else { self.world.break_link(end) }
        }
    }

    fn stranger(&mut self, node: usize) {
        if !self.world.is_listening(&at(node)) {
            return;
        }
        let raw = self.world.raw_dial(&at(node));
        match self.pick(4) {
            0 => {
                let bytes: Vec<u8> = (0..self.pick(200)).map(|_| self.rng.random()).collect();
                self.world.raw_send(&raw, &bytes);
            }
            1 => self.world.raw_pack(&raw, &Hello::new(ONE, self.rng.random_range(0..9)).pack()),
            2 => {
                let bytes: Vec<u8> = (0..self.pick(200)).map(|_| self.rng.random()).collect();
                let pack = DataPack::new(PackType(self.rng.random_range(0..20)), bytes);
                self.world.raw_pack(&raw, &pack);
            }
            _ => {}
        }
        self.strangers.push(raw);
    }

    fn read(&mut self) {
        for node in 0..3 {
            let events = self.world.take(node);
            self.stories[node].read(node, events);
        }
    }

    /// Everything is let go: nothing may be left.
    fn finish(mut self, reasons: &mut BTreeSet<String>) -> u64 {
        self.world.chunk = usize::MAX;
        for end in 0..self.world.ends.len() {
            self.world.stick(end, false);
        }
        // Two nodes close in order, the third is destroyed.
        for node in 0..2 {
            for id in self.ids[node].clone() {
                self.world.close(node, id).unwrap();
            }
        }
        self.world.command(2, ConnectionCommand::Destroy);
        self.world.pass(Duration::from_secs(60));
        self.read();
        for node in 0..3 {
            // What was accepted from a node that is still there was closed by it; the rest by its own end.
            let story = &self.stories[node];
            assert!(story.up.is_empty(), "node {node}: {:?} is up for ever", story.up);
            let [links, listeners, queries, connections] = self.world.census(node);
            assert_eq!((links, listeners, queries), (0, 0, 0), "node {node}");
            assert_eq!(connections, if node == 2 { 0 } else { self.ids[node].len() }, "node {node}");
            assert_eq!(self.world.open_ends(node), 0, "node {node}");
            assert_eq!(self.world.nodes[node].machine.deadline(), None, "node {node}");
        }
        self.stories.iter_mut().for_each(|story| reasons.append(&mut story.reasons));
        self.stories.iter().map(|story| story.told).sum()
    }
}

#[test]
fn k10_n3_k7_whatever_happens_the_tables_agree_and_nothing_is_left() {
    let (mut told, mut reasons) = (0, BTreeSet::new());
    for seed in 0..150 {
        let mut run = Run::new(seed);
        let steps = run.rng.random_range(20..400);
        for _ in 0..steps {
            run.step();
        }
        told += run.finish(&mut reasons);
    }
    assert!(told > 5_000, "little happened: {told}");
    // The rare paths were taken.
    for reason in [
        "Closed",
        "ClosedByPeer",
        "Replaced",
        "Duplicate",
        "Myself",
        "SlowPeer",
        "Silent",
        "Net(Reset)",
        "Net(Refused)",
        "turned away: Silent",
        "turned away: Full",
        "turned away: ClosedByPeer",
        "turned away: Myself",
        "turned away: NotOurProtocol { hint: \"\" }",
    ] {
        assert!(reasons.contains(reason), "{reason} never happened, only {reasons:?}");
    }
}

#[test]
fn x1_the_same_events_give_the_same_actions() {
    let trace = |seed| {
        let mut run = Run::new(seed);
        (0..300).for_each(|_| run.step());
        format!("{:?} {:?}", run.world.log, run.world.wire)
    };
    assert!(trace(7) == trace(7));
    assert!(trace(7) != trace(8));
}
