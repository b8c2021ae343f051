//! Sessions under whatever happens: crossing dials, breaks at any byte, one-sided ones, black holes, slow applications,
//! closes and expiries, in any order. What a receiver was given is a prefix of what was sent in that session, nothing twice;
//! what was not acknowledged is exactly what was reported; and once the network is well again, everything arrives.

use crate::sessions::listening;
use crate::world::*;
use rand::rngs::ChaCha8Rng;
use rand::{RngExt, SeedableRng};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use xxnet_core::connection::*;
use xxnet_core::pack::{DataPack, PackType};
use xxnet_core::*;

const NODES: usize = 3;
const KINDS: [KindId; 3] = [PAIR, ONE_SESSION, SESSIONS];

/// A session as its sender numbers it: node, connection, and how many sessions that connection had before.
type Stream = (u8, u64, u64);

/// One end of a session.
#[derive(Debug, Default)]
struct End {
    /// Messages that `send` took, the last that was acknowledged, whether it was closed or forgotten by us.
    sent: u64,
    acknowledged: u64,
    /// Whose messages come here, and the last that came and that was taken.
    from: Option<Stream>,
    received: u64,
    taken: u64,
    up: bool,
}

#[derive(Default)]
struct Node {
    /// Every connection ever used, and its sessions so far.
    sessions: BTreeMap<ConnectionId, u64>,
    ends: BTreeMap<(ConnectionId, u64), End>,
    dialled: Vec<ConnectionId>,
}

struct Run {
    world: World,
    rng: ChaCha8Rng,
    nodes: Vec<Node>,
    /// Messages that the receiving application has taken, by stream.
    taken: BTreeMap<Stream, u64>,
    seen: BTreeSet<String>,
    delivered: u64,
}

fn at(node: usize) -> String {
    format!("10.0.0.{}:7000", node + 1)
}

fn message((node, id, session): Stream, number: u64, size: usize) -> DataPack {
    let mut bytes = vec![node];
    [id, session, number].iter().for_each(|n| bytes.extend(n.to_le_bytes()));
    bytes.resize(bytes.len() + size, number as u8);
    DataPack::new(PackType::RAW, bytes)
}

fn read(pack: &DataPack) -> (Stream, u64) {
    let number = |at: usize| u64::from_le_bytes(pack.head[at..at + 8].try_into().unwrap());
    assert!(pack.head[25..].iter().all(|byte| *byte == number(17) as u8), "a message's bytes");
    ((pack.head[0], number(1), number(9)), number(17))
}

impl Run {
    fn new(seed: u64) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut world = listening(0);
        for node in 0..NODES {
            // Either order of ids, so that both ends of a pair get to choose.
            let id = rng.random();
            world.add(|config| {
                config.instance = InstanceId([id, node as u8 + 1].repeat(8).try_into().unwrap());
                config.limits.session_window = 600;
                config.limits.session_queue = 8_000;
                config.limits.high_water = 3_000;
                config.limits.session_timeout = Duration::from_secs(20);
            });
            world.listener(node, &at(node));
            let address = Some(address(&at(node)));
            world.command(node, ConnectionCommand::Advertise { address });
        }
        let nodes = (0..NODES).map(|_| Node::default()).collect();
        Self { world, rng, nodes, taken: BTreeMap::new(), seen: BTreeSet::new(), delivered: 0 }
    }

    fn pick(&mut self, below: usize) -> usize {
        self.rng.random_range(0..below)
    }

    /// A connection of this node that is up.
    fn some_up(&mut self, node: usize) -> Option<(ConnectionId, u64)> {
        let up: Vec<_> =
            self.nodes[node].ends.iter().filter(|(_, end)| end.up).map(|(key, _)| *key).collect();
        (!up.is_empty()).then(|| up[self.pick(up.len())])
    }

    fn step(&mut self) {
        let node = self.pick(NODES);
        match self.rng.random_range(0..30) {
            0 | 1 => self.dial(node),
            2 => {
                let dialled = &self.nodes[node].dialled;
                if !dialled.is_empty() {
                    let id = dialled[self.rng.random_range(0..dialled.len())];
                    _ = self.world.connect(node, id, None);
                }
            }
            3..=10 => {
                for _ in 0..self.pick(4) {
                    self.send(node);
                }
            }
            11..=13 => self.break_something(),
            14 => {
                let ends = self.world.ends.len();
                if ends > 0 {
                    let (end, stuck) = (self.rng.random_range(0..ends), self.rng.random());
                    self.world.stick(end, stuck);
                }
            }
            15 => {
                let to = socket(&at(self.pick(NODES)));
                if self.rng.random_bool(0.5) {
                    self.world.dialling.remove(&to);
                } else {
                    self.world.dialling.insert(to, Dialling::Never);
                }
            }
            16 => self.world.chunk = self.rng.random_range(1..400),
            17 => self.world.slow_accept = self.rng.random(),
            18 => (0..NODES).for_each(|node| self.world.hand_over(socket(&at(node)))),
            19 => {
                let time = Duration::from_millis(self.rng.random_range(0..3_000));
                self.world.pass(time);
            }
            20 if self.rng.random_bool(0.15) => self.world.pass(Duration::from_secs(25)),
            21 if self.rng.random_bool(0.3) => {
                if let Some((id, _)) = self.some_up(node) {
                    self.world.close(node, id).unwrap();
                }
            }
            22..=24 => self.take(node),
            _ => {
                for _ in 0..self.rng.random_range(0..30) {
                    self.world.run_one();
                }
            }
        }
        self.listen();
    }

    fn dial(&mut self, node: usize) {
        let to = (node + 1 + self.pick(NODES - 1)) % NODES;
        let kind = KINDS[self.pick(KINDS.len())];
        let id = self.world.create_to(node, kind, &at(to), None).unwrap();
        self.nodes[node].dialled.push(id);
        self.world.connect(node, id, None).unwrap();
    }

    fn send(&mut self, node: usize) {
        let Some((id, session)) = self.some_up(node) else { return };
        let size = self.rng.random_range(0..200);
        let end = self.nodes[node].ends.get_mut(&(id, session)).unwrap();
        let pack = message((node as u8, id.0, session), end.sent + 1, size);
        match self.world.send_pack(node, id, pack) {
            Ok(()) => end.sent += 1,
            Err(ConnectionError::QueueFull | ConnectionError::WrongState(ConnectionState::Closing)) => {}
            Err(error) => panic!("{error:?}"),
        }
    }

    /// The application takes some of what has come.
    fn take(&mut self, node: usize) {
        let Some(key) = self.some_up(node) else { return };
        let end = self.nodes[node].ends.get_mut(&key).unwrap();
        if end.taken < end.received {
            end.taken = self.rng.random_range(end.taken + 1..=end.received);
            let from = end.from.unwrap();
            self.taken.insert(from, end.taken);
            self.world.command(node, ConnectionCommand::Taken { id: key.0, sequence: end.taken });
        }
    }

    fn break_something(&mut self) {
        let open: Vec<usize> = (0..self.world.ends.len()).filter(|end| self.world.is_open(*end)).collect();
        if !open.is_empty() {
            let end = open[self.pick(open.len())];
            if self.rng.random() { self.world.reset(end) } else { self.world.break_link(end) }
        }
    }

    /// Checks all that was told.
    fn listen(&mut self) {
        for node in 0..NODES {
            for event in self.world.take(node) {
                self.hear(node, event);
            }
        }
    }

    fn hear(&mut self, node: usize, event: ConnectionEvent) {
        let it = &mut self.nodes[node];
        let now = |it: &Node, id| (id, it.sessions.get(&id).copied().unwrap_or(0));
        match event {
            ConnectionEvent::Connected { id, .. } | ConnectionEvent::Accepted { id, .. } => {
                let end = it.ends.entry(now(it, id)).or_default();
                assert!(!std::mem::replace(&mut end.up, true), "up twice");
            }
            ConnectionEvent::Received { id, pack } => {
                let end = it.ends.get_mut(&now(it, id)).unwrap();
                let (from, number) = read(&pack);
                assert!(end.up, "received on what is not up");
                assert_eq!(*end.from.get_or_insert(from), from, "two sessions' messages on one");
                assert_eq!((number, pack.sequence), (end.received + 1, end.received + 1), "once, in order");
                end.received += 1;
                self.delivered += 1;
            }
            ConnectionEvent::Acknowledged { id, sequence } => {
                let key = now(it, id);
                let end = it.ends.get_mut(&key).unwrap();
                assert!(sequence > end.acknowledged && sequence <= end.sent);
                end.acknowledged = sequence;
                let stream = (node as u8, key.0.0, key.1);
                let taken = self.taken.get(&stream).copied().unwrap_or(0);
                assert!(sequence <= taken, "{sequence} acknowledged of {taken} taken");
            }
            ConnectionEvent::Undelivered { id, packs } => {
                let end = it.ends.get(&now(it, id)).unwrap();
                let numbers: Vec<u64> = packs.iter().map(|pack| read(pack).1).collect();
                assert!(numbers.iter().copied().eq(end.acknowledged + 1..=end.sent), "what is reported");
                self.seen.insert("undelivered".into());
                // Told as lost; counted, so that the end of the session can be checked.
                it.ends.get_mut(&now(it, id)).unwrap().acknowledged += numbers.len() as u64;
            }
            ConnectionEvent::Disconnected { id, reason, .. } => {
                self.seen.insert(format!("{reason:?}").split('(').next().unwrap().into());
                let key = now(it, id);
                if let Some(end) = it.ends.get_mut(&key).filter(|end| end.up) {
                    end.up = false;
                    assert_eq!(end.acknowledged, end.sent, "neither acknowledged nor reported");
                    *it.sessions.entry(id).or_default() += 1;
                }
            }
            ConnectionEvent::Interrupted { reason, .. } => {
                self.seen.insert(format!("interrupted: {reason:?}").split('(').next().unwrap().into());
            }
            ConnectionEvent::Resumed { .. } => _ = self.seen.insert("resumed".into()),
            ConnectionEvent::TurnedAway { reason, .. } => {
                self.seen.insert(format!("turned away: {reason:?}").split('(').next().unwrap().into());
            }
            ConnectionEvent::Writable { .. } => _ = self.seen.insert("writable".into()),
            ConnectionEvent::Listening { .. }
            | ConnectionEvent::ListenFailed { .. }
            | ConnectionEvent::Pong { .. }
            | ConnectionEvent::AcceptFailing { .. } => {}
        }
    }

    /// The network is well, and every application takes what comes: all that is up gets all that was sent to it.
    fn heal(&mut self) {
        self.world.dialling.clear();
        self.world.slow_accept = false;
        self.world.chunk = usize::MAX;
        for end in 0..self.world.ends.len() {
            self.world.stick(end, false);
        }
        for node in 0..NODES {
            for _ in 0..20 {
                self.world.hand_over(socket(&at(node)));
                self.world.run();
            }
        }
        for _ in 0..60 {
            self.world.pass(Duration::from_secs(1));
            self.listen();
            for node in 0..NODES {
                let up: Vec<_> =
                    self.nodes[node].ends.iter().filter(|(_, end)| end.up).map(|(k, _)| *k).collect();
                for key in up {
                    let end = self.nodes[node].ends.get_mut(&key).unwrap();
                    if end.taken < end.received {
                        end.taken = end.received;
                        self.taken.insert(end.from.unwrap(), end.taken);
                        let command = ConnectionCommand::Taken { id: key.0, sequence: end.taken };
                        self.world.command(node, command);
                    }
                }
            }
            self.listen();
        }
        for (number, node) in self.nodes.iter().enumerate() {
            for (key, end) in node.ends.iter().filter(|(_, end)| end.up) {
                assert_eq!(end.acknowledged, end.sent, "node {number}: {key:?} is stuck: {end:?}");
            }
        }
        // One link a session, agreed on by both.
        for node in 0..NODES {
            let up = self.nodes[node].ends.values().filter(|end| end.up).count();
            assert_eq!(self.world.open_ends(node), up, "node {node}: a link for each session");
        }
    }
}

#[test]
fn n3_n4_n13_whatever_happens_sessions_keep_their_promise() {
    let (mut delivered, mut seen) = (0, BTreeSet::new());
    for seed in 0..300 {
        let mut run = Run::new(seed);
        for _ in 0..run.rng.random_range(20..400) {
            run.step();
        }
        run.heal();
        delivered += run.delivered;
        seen.append(&mut run.seen);
    }
    assert!(delivered > 5_000, "little happened: {delivered}");
    for rare in [
        "Closed",
        "ClosedByPeer",
        "ConnectedAs",
        "Expired",
        "Stale",
        "undelivered",
        "resumed",
        "writable",
        "interrupted: Net",
        "interrupted: Silent",
    ] {
        assert!(seen.contains(rare), "{rare} never happened, only {seen:?}");
    }
}
