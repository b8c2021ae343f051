//! Two connections of one pair, one busy with bulk: what the other one carries is not held up, and what shares the busy one keeps
//! its order. One machine has both; where it let one link wait for another, this would see it.

use crate::choices::{Choices, Place};
use crate::clock::{Clock, MILLI, Micros, SECOND};
use crate::context::{Context, HostId, ProcId};
use crate::faults::Injection;
use crate::machine::{Adapter, Command, Notice};
use crate::world::{Happening, World};
use std::collections::BTreeMap;
use xxnet_core::config::{ClusterKey, Config};
use xxnet_core::connection::{
    ConnectionCommand, ConnectionEvent, ConnectionKind, ConnectionNotice, Connections, KindId, LinkRule, Role,
};
use xxnet_core::pack::{DataPack, PackType};
use xxnet_core::{ConnectionId, InstanceId, Token};

const LISTENER: KindId = KindId(1024);
const BULK: KindId = KindId(1025);
const CONTROL: KindId = KindId(1026);
const PORT: u16 = 9000;
/// A small message each time that so much is over.
const EVERY: Micros = 10 * MILLI;
/// There and no longer, as in `messengers/prompt.rs`.
const BOUND: Micros = 30 * MILLI;

/// One dials, the other one listens.
struct Pair {
    world: World,
    procs: [ProcId; 2],
    /// The dialler's connections, by kind; the acceptor's likewise.
    dialled: BTreeMap<KindId, ConnectionId>,
    accepted: BTreeMap<ConnectionId, KindId>,
    /// Bytes of bulk that were given to the machine and have not come.
    under_way: usize,
    bulks: usize,
    /// What has come on each: its number, and how long it took.
    came: BTreeMap<KindId, Vec<(u64, Micros)>>,
    next: u64,
}

impl Pair {
    fn new(seed: u64) -> Self {
        let mut ctx = Context::new(Choices::seeded(seed, "beside"), Injection::Planned(Vec::new()), false);
        ctx.choices.enter(Place::of("beside"));
        for name in ["dialler", "acceptor"] {
            ctx.add_host(name, Clock::exact());
        }
        let mut world = World::new(ctx);
        let procs = [0, 1].map(|at: u8| {
            let config = Config::new(InstanceId([at + 1; 16]), "node", ClusterKey([3; 32]), seed);
            let brain = Box::new(Adapter::new(Connections::new(&config)));
            world.start(HostId(u16::from(at)), format!("node-{at}"), brain, false)
        });
        let (dialled, accepted, came) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        let mut pair = Self { world, procs, dialled, accepted, under_way: 0, bulks: 0, came, next: 0 };
        for at in [0, 1] {
            for (id, role) in [(LISTENER, Role::Listen), (BULK, Role::Both), (CONTROL, Role::Both)] {
                let kind = ConnectionKind::plain(id, LinkRule::Many, role);
                pair.tell(at, ConnectionCommand::Register { token: Token(1), kind });
            }
        }
        pair.tell(1, ConnectionCommand::Create { token: Token(1), kind: LISTENER });
        pair
    }

    fn tell(&mut self, at: usize, command: ConnectionCommand) {
        self.world.command(self.procs[at], 0, Command::Connections(command));
    }

    fn run(&mut self, limit: Micros, largest: usize) {
        while let Some(happening) = self.world.step(limit).expect("nothing breaks") {
            if matches!(happening, Happening::Due(_)) {
                self.control();
            }
            while let Some((proc, notice)) = self.world.notices.pop_front() {
                let Notice::Connections(notice) = notice else { continue };
                self.hear(usize::from(proc == self.procs[1]), notice, largest);
            }
        }
    }

    fn hear(&mut self, at: usize, notice: ConnectionNotice, largest: usize) {
        let to = HostId(1).socket(PORT);
        match notice {
            ConnectionNotice::Created { id, .. } if at == 1 => {
                self.tell(1, ConnectionCommand::Listen { token: Token(1), id, address: to.into() });
            }
            ConnectionNotice::Created { id, .. } => {
                let kind = if self.dialled.is_empty() { BULK } else { CONTROL };
                self.dialled.insert(kind, id);
                self.tell(0, ConnectionCommand::Connect { token: Token(1), id, target: None, expect: None });
            }
            ConnectionNotice::Event(ConnectionEvent::Listening { .. }) => {
                for kind in [BULK, CONTROL] {
                    let (token, target) = (Token(1), to.into());
                    self.tell(0, ConnectionCommand::CreateTo { token, kind, target, data: None });
                }
            }
            ConnectionNotice::Event(ConnectionEvent::Accepted { id, kind, .. }) => {
                self.accepted.insert(id, kind);
                if self.accepted.len() == 2 {
                    self.bulk(largest);
                    self.world.plan(self.world.ctx.now + EVERY, 0);
                }
            }
            ConnectionNotice::Event(ConnectionEvent::Received { id, pack }) => {
                let bytes = pack.head.len();
                if bytes == 16 {
                    let word = |range: core::ops::Range<usize>| {
                        u64::from_le_bytes(pack.head[range].try_into().expect("eight bytes"))
                    };
                    let took = self.world.ctx.now - word(8..16);
                    self.came.entry(self.accepted[&id]).or_default().push((word(0..8), took));
                } else {
                    self.under_way -= bytes;
                    self.bulks += 1;
                    self.bulk(largest);
                }
            }
            ConnectionNotice::Event(ConnectionEvent::Connected { .. } | ConnectionEvent::Writable { .. }) => {
            }
            other => panic!("{other:?}"),
        }
    }

    /// The busy connection has one message and a half before it, always.
    fn bulk(&mut self, largest: usize) {
        while self.under_way <= largest {
            self.under_way += largest;
            self.send(BULK, vec![7; largest]);
        }
    }

    /// A small message on each.
    fn control(&mut self) {
        for kind in [BULK, CONTROL] {
            self.next += 1;
            self.send(kind, [self.next.to_le_bytes(), self.world.ctx.now.to_le_bytes()].concat());
        }
        self.world.plan(self.world.ctx.now + EVERY, 0);
    }

    fn send(&mut self, kind: KindId, bytes: Vec<u8>) {
        let (id, pack) = (self.dialled[&kind], DataPack::new(PackType::RAW, bytes));
        self.tell(0, ConnectionCommand::SendPack { token: Token(1), id, pack });
    }
}

#[test]
fn n8_control_on_a_connection_of_its_own_is_not_held_up_by_bulk() {
    let mut shared_is_slower = 0;
    for seed in 0..20 {
        let mut pair = Pair::new(seed);
        // The largest message that there may be.
        pair.run(3 * SECOND, 2 << 20);
        let slowest = |kind| pair.came[&kind].iter().map(|(_, took)| *took).max().unwrap_or(0);
        for (kind, came) in &pair.came {
            let ordered = came.windows(2).all(|two| two[0].0 < two[1].0);
            assert!(ordered, "seed {seed}: small messages overtake each other on {kind:?}");
        }
        assert!(pair.bulks > 10, "seed {seed}: {} bulk messages", pair.bulks);
        assert!(pair.came[&CONTROL].len() > 200, "seed {seed}");
        let took = slowest(CONTROL);
        assert!(took <= BOUND, "seed {seed}: a small message takes {} ms beside bulk", took / MILLI);
        shared_is_slower += u64::from(slowest(BULK) > took);
    }
    assert!(shared_is_slower > 10, "the bulk that others are measured beside is none");
}
