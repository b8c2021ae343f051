//! Connections alone: a handful of nodes that dial, send, pause, close and forget in any order, over links that break; then
//! peace, in which everybody reaches everybody and both ends of everything agree.
//!
//! | oracle | promise |
//! | --- | --- |
//! | `events` | each connection comes up once and ends once; nothing is heard of it before or after (K7, K8, K10) |
//! | `order` | what arrives on a link is what was sent on it, from the first, in order, each once |
//! | `one` | `OnePerDialler`: never two accepted connections of one dialler and kind (N3) |
//! | `agree` | in peace, what one end believes to be up is up at the other |
//! | `reach` | in peace, every node reaches every other |
//! | `unfinished` | in peace, nothing waits or is under way: queues, buffers, look-ups, handshakes, links without connection |
//! | `leak` | after destroy nothing is left: no socket, no timer (K7) |

mod table;

use crate::choices::Choices;
use crate::clock::{Clock, MILLI, Micros, SECOND};
use crate::cluster::Report;
use crate::context::{Context, HostId, ProcId};
use crate::failure::{Failure, FailureKind};
use crate::fault::{Fault, Swarm};
use crate::machine::{Adapter, Command, Notice};
use crate::world::{Happening, World};
use table::{Row, Table};
use xxnet_core::config::{ClusterKey, Config};
use xxnet_core::connection::{
    ConnectionCommand, ConnectionEvent, ConnectionKind, ConnectionNotice, Connections, KindId, LinkRule, Role,
};
use xxnet_core::pack::{DataPack, PackType};
use xxnet_core::{Address, ConnectionId, InstanceId, Token};

const MANY: KindId = KindId(1024);
const ONE: KindId = KindId(1025);
const LISTENER: KindId = KindId(1026);
const PORT: u16 = 9000;
/// After peace, everybody must have reached everybody within this.
const BOUND: Micros = 60 * SECOND;

#[derive(Debug)]
struct Node {
    host: HostId,
    proc: Option<ProcId>,
    instance: InstanceId,
    table: Table,
    listening: bool,
    returning: bool,
}

/// Nodes that have nothing but connections.
pub(crate) struct Mesh {
    world: World,
    nodes: Vec<Node>,
    next_token: u64,
    horizon: Micros,
    received: u64,
    made: u64,
}

/// Steps of this scenario, as numbers of the queue: a node acts, a node comes back, the ways between hosts change.
const ACT: u32 = 0;
const RETURN: u32 = 1;
const THAW: u32 = 2;
const MEND: u32 = 3;

impl Mesh {
    pub(crate) fn draw(seed: u64, keep_trace: bool) -> Self {
        let mut choices = Choices::seeded(seed, 2);
        let swarm = Swarm::draw(&mut choices);
        let count = choices.between(2, 4) as usize;
        let horizon = choices.between(10, 60) * SECOND;
        let mut ctx = Context::new(Choices::seeded(seed, 3), swarm, keep_trace);
        let hosts: Vec<HostId> = (0..count)
            .map(|at| {
                let clock = Clock::draw(&mut ctx.choices);
                ctx.add_host(format!("node-{at}"), clock)
            })
            .collect();
        let node = |host| Node {
            host,
            proc: None,
            instance: InstanceId::NONE,
            table: Table::default(),
            listening: false,
            returning: false,
        };
        let nodes = hosts.into_iter().map(node).collect();
        let mut mesh = Self { world: World::new(ctx), nodes, next_token: 0, horizon, received: 0, made: 0 };
        for at in 0..count {
            mesh.start(at);
        }
        mesh
    }

    /// The whole life.
    pub(crate) fn live(&mut self) -> Result<(), Failure> {
        self.run(self.horizon)?;
        self.world.heal();
        for at in 0..self.nodes.len() {
            self.world.power_on(self.nodes[at].host);
            if self.nodes[at].proc.is_none() {
                self.start(at);
            }
        }
        self.reach()?;
        self.agree()?;
        self.rests()?;
        self.destroy()
    }

    pub(crate) fn report(&mut self) -> (Report, Vec<String>) {
        let report = Report {
            faults: self.world.ctx.counts.clone(),
            connections: self.made,
            packs: self.received,
            simulated: self.world.ctx.now,
            events: self.world.handled,
            hash: self.world.ctx.trace.hash(),
            ..Report::default()
        };
        (report, self.world.ctx.trace.take_lines())
    }

    fn run(&mut self, limit: Micros) -> Result<(), Failure> {
        while let Some(happening) = self.world.step(limit)? {
            if let Happening::Due(number) = happening {
                let at = (number >> 8) as usize % self.nodes.len();
                let other = (number >> 16) as usize % self.nodes.len();
                match number & 0xff {
                    ACT => self.act(at)?,
                    RETURN => self.start(at),
                    THAW => {
                        if let Some(proc) = self.nodes[at].proc {
                            self.world.thaw(proc);
                        }
                    }
                    _ => self.world.ctx.mend(self.nodes[at].host, self.nodes[other].host),
                }
            }
            while let Some((proc, notice)) = self.world.notices.pop_front() {
                if let Notice::Connections(notice) = notice {
                    self.hear(proc, notice)?;
                }
            }
        }
        self.world.ctx.now = limit;
        Ok(())
    }

    fn plan(&mut self, delay: Micros, what: u32, at: usize, other: usize) {
        let number = what | (at as u32) << 8 | (other as u32) << 16;
        self.world.plan(self.world.ctx.now + delay, number);
    }

    fn start(&mut self, at: usize) {
        self.nodes[at].returning = false;
        if self.nodes[at].proc.is_some_and(|proc| self.world.is_alive(proc)) {
            return;
        }
        let host = self.nodes[at].host;
        self.world.power_on(host);
        let mut id = [0; 16];
        id[..8].copy_from_slice(&self.world.ctx.choices.word().to_be_bytes());
        id[8] = at as u8;
        let instance = InstanceId(id);
        let config =
            Config::new(instance, format!("node-{at}"), ClusterKey([9; 32]), self.world.ctx.choices.word());
        let brain = Box::new(Adapter::new(Connections::new(&config)));
        let proc = self.world.start(host, format!("node-{at}"), brain, false);
        let node = &mut self.nodes[at];
        (node.proc, node.instance, node.listening) = (Some(proc), instance, false);
        node.table = Table::default();
        for (id, rule, role) in [
            (MANY, LinkRule::Many, Role::Both),
            (ONE, LinkRule::OnePerDialler, Role::Both),
            (LISTENER, LinkRule::Many, Role::Listen),
        ] {
            let kind = ConnectionKind::plain(id, rule, role);
            let token = self.token();
            self.tell(proc, ConnectionCommand::Register { token, kind });
        }
        let address = Some(host.socket(PORT).into());
        self.tell(proc, ConnectionCommand::Advertise { address });
        let token = self.token();
        self.tell(proc, ConnectionCommand::Create { token, kind: LISTENER });
        self.plan(MILLI, ACT, at, 0);
    }

    fn token(&mut self) -> Token {
        Token::next(&mut self.next_token)
    }

    fn tell(&mut self, proc: ProcId, command: ConnectionCommand) {
        self.world.command(proc, 1, Command::Connections(command));
    }

    /// A node does something, and will again.
    fn act(&mut self, at: usize) -> Result<(), Failure> {
        if !self.world.ctx.faulty {
            return Ok(());
        }
        let delay = self.world.ctx.choices.scaled(MILLI, 4 * SECOND);
        self.plan(delay, ACT, at, 0);
        let Some(proc) = self.nodes[at].proc.filter(|proc| self.world.is_alive(*proc)) else { return Ok(()) };
        self.strike(at, proc);
        let known = self.nodes[at].table.ids();
        let one = (!known.is_empty()).then(|| *self.world.ctx.choices.pick(&known));
        let token = self.token();
        match (self.world.ctx.choices.below(10), one) {
            (0..=4, Some(id)) => {
                for _ in 0..self.world.ctx.choices.scaled(1, 8) {
                    self.send(at, proc, id);
                }
            }
            (5, Some(id)) => self.tell(proc, ConnectionCommand::Close { token, id }),
            (6, Some(id)) => {
                if self.nodes[at].table.discard(id) {
                    self.tell(proc, ConnectionCommand::Discard { id });
                }
            }
            (7, Some(id)) => {
                self.tell(proc, ConnectionCommand::Pause { id });
                let wake = self.world.ctx.choices.scaled(MILLI, 2 * SECOND);
                let command = Command::Connections(ConnectionCommand::Resume { id });
                self.world.command(proc, wake, command);
            }
            (8, Some(id)) => {
                // Also one that is up already: it must be told, and nothing must change.
                let expect = self.nodes[at].table.row(id).and_then(|row| row.expect);
                self.tell(proc, ConnectionCommand::Connect { token, id, target: None, expect });
            }
            _ => self.dial(at, proc),
        }
        Ok(())
    }

    /// A new connection to some other node; `Connect` follows once it is created.
    fn dial(&mut self, at: usize, proc: ProcId) {
        let mut other = self.world.ctx.choices.below(self.nodes.len() as u64 - 1) as usize;
        other += usize::from(other >= at);
        let kind = *self.world.ctx.choices.pick(&[MANY, ONE]);
        self.dial_to(at, proc, other, kind);
    }

    fn dial_to(&mut self, at: usize, proc: ProcId, other: usize, kind: KindId) {
        let token = self.token();
        let target: Address = self.nodes[other].host.socket(PORT).into();
        self.nodes[at].table.creating(token, other);
        self.tell(proc, ConnectionCommand::CreateTo { token, kind, target, data: None });
    }

    fn send(&mut self, at: usize, proc: ProcId, id: ConnectionId) {
        let filler = self.world.ctx.choices.scaled(1, 40_000) as usize;
        let Some(head) = self.nodes[at].table.next_message(id, filler) else { return };
        let token = self.token();
        let pack = DataPack::new(PackType::RAW, head);
        self.tell(proc, ConnectionCommand::SendPack { token, id, pack });
    }

    fn strike(&mut self, at: usize, proc: ProcId) {
        let delay = self.world.ctx.choices.scaled(50 * MILLI, 30 * SECOND);
        let host = self.nodes[at].host;
        if self.world.ctx.fault(Fault::ExecutorCrash, 20) {
            self.world.kill(proc);
            self.nodes[at].proc = None;
        } else if self.world.ctx.fault(Fault::HostCrash, 20) {
            self.world.power_off(host);
            self.nodes[at].proc = None;
        } else if self.world.ctx.fault(Fault::ProcessFreeze, 20) {
            self.world.freeze(proc);
            self.plan(delay, THAW, at, 0);
        } else {
            let both = self.world.ctx.fault(Fault::Partition, 30);
            if both || self.world.ctx.fault(Fault::OneWayPartition, 30) {
                let other = (at + 1) % self.nodes.len();
                let there = self.nodes[other].host;
                self.world.ctx.cut(host, there);
                self.plan(delay, MEND, at, other);
                if both {
                    self.world.ctx.cut(there, host);
                    self.plan(delay, MEND, other, at);
                }
            }
        }
        if self.nodes[at].proc.is_none() && !self.nodes[at].returning {
            self.nodes[at].returning = true;
            self.plan(delay, RETURN, at, 0);
        }
    }

    fn hear(&mut self, proc: ProcId, notice: ConnectionNotice) -> Result<(), Failure> {
        let Some(at) = self.nodes.iter().position(|node| node.proc == Some(proc)) else { return Ok(()) };
        let token = self.token();
        let verdict = match notice {
            ConnectionNotice::Created { token: asked, id } => {
                match self.nodes[at].table.created(asked, id) {
                    // Not a dial: it is the listening connection.
                    None => {
                        let address = self.nodes[at].host.socket(PORT).into();
                        self.tell(proc, ConnectionCommand::Listen { token, id, address });
                    }
                    Some(_) => {
                        let command = ConnectionCommand::Connect { token, id, target: None, expect: None };
                        self.tell(proc, command);
                    }
                }
                Ok(())
            }
            // The caller's fault: nothing has changed. Random callers are often at fault.
            ConnectionNotice::Rejected { token, .. } => {
                self.nodes[at].table.rejected(token);
                Ok(())
            }
            ConnectionNotice::Event(event) => {
                match &event {
                    ConnectionEvent::Listening { .. } => self.nodes[at].listening = true,
                    ConnectionEvent::Received { .. } => self.received += 1,
                    ConnectionEvent::Connected { .. } | ConnectionEvent::Accepted { .. } => self.made += 1,
                    _ => {}
                }
                self.nodes[at].table.event(event, ONE)
            }
        };
        verdict.map_err(|(oracle, what)| self.world.failure(proc, FailureKind::Safety, oracle, what))
    }

    /// In peace, every node reaches every other with every kind.
    fn reach(&mut self) -> Result<(), Failure> {
        // What is half-open is noticed first; then everybody dials, again where it did not come up.
        let limit = self.world.ctx.now + BOUND;
        loop {
            self.run((self.world.ctx.now + 5 * SECOND).min(limit))?;
            let mut missing = None;
            for at in 0..self.nodes.len() {
                let Some(proc) = self.nodes[at].proc else { continue };
                for other in (0..self.nodes.len()).filter(|other| *other != at) {
                    for kind in [MANY, ONE] {
                        let instance = self.nodes[other].instance;
                        let idle = self.nodes[at].table.reaches(kind, instance);
                        if !idle {
                            missing = Some((proc, format!("node-{other} over {kind}")));
                            self.dial_to(at, proc, other, kind);
                        }
                    }
                }
            }
            match missing {
                None => return Ok(()),
                Some((proc, whom)) if self.world.ctx.now >= limit => {
                    let what = format!("{} s after peace it has not reached {whom}", BOUND / SECOND);
                    return Err(self.world.failure(proc, FailureKind::Liveness, "reach", what));
                }
                Some(_) => {}
            }
        }
    }

    /// In peace, both ends of everything agree.
    fn agree(&mut self) -> Result<(), Failure> {
        self.run(self.world.ctx.now + 30 * SECOND)?;
        for node in &self.nodes {
            for (id, row) in node.table.up() {
                let Row { peer: Some(peer), .. } = row else { continue };
                let other = self.nodes.iter().find(|other| other.instance == peer.instance);
                let same = other
                    .and_then(|other| other.table.row(peer.connection))
                    .and_then(|row| row.peer.as_ref())
                    .is_some_and(|back| back.instance == node.instance && back.connection == id);
                if !same {
                    let proc = node.proc.unwrap_or(ProcId(0));
                    let what =
                        format!("{id} is up here with {} of {}, and not there", peer.connection, peer.name);
                    return Err(self.world.failure(proc, FailureKind::Liveness, "agree", what));
                }
            }
        }
        Ok(())
    }

    /// In peace, nothing waits or is under way: no queue, no buffer, no link but those that are up.
    fn rests(&mut self) -> Result<(), Failure> {
        let limit = self.world.ctx.now + BOUND;
        loop {
            let left = self.nodes.iter().find_map(|node| {
                let proc = node.proc?;
                let (unfinished, [links, listeners, ..]) =
                    (self.world.unfinished(proc), self.world.census(proc));
                let up = node.table.up().count();
                let what =
                    || format!("{up} are up; it has {links} links, {listeners} listeners, {unfinished:?}");
                let rests = unfinished.is_empty() && (links, listeners) == (up, 1);
                (!rests).then(|| (proc, what()))
            });
            match left {
                None => return Ok(()),
                Some((proc, what)) if self.world.ctx.now >= limit => {
                    return Err(self.world.failure(proc, FailureKind::Liveness, "unfinished", what));
                }
                Some(_) => self.run(self.world.ctx.now + SECOND / 2)?,
            }
        }
    }

    fn destroy(&mut self) -> Result<(), Failure> {
        let procs: Vec<ProcId> = self.nodes.iter().filter_map(|node| node.proc).collect();
        for proc in &procs {
            self.tell(*proc, ConnectionCommand::Destroy);
        }
        self.run(self.world.ctx.now + 10 * SECOND)?;
        for proc in procs {
            let (links, listeners) = self.world.net.held_by(proc);
            let (census, deadline) = (self.world.census(proc), self.world.deadline(proc));
            if links + listeners + census.iter().sum::<usize>() > 0 || deadline.is_some() {
                let what = format!(
                    "destroyed, it holds {links} links, {listeners} listeners; its own count is {census:?}, its deadline {deadline:?}"
                );
                return Err(self.world.failure(proc, FailureKind::Safety, "leak", what));
            }
        }
        Ok(())
    }
}
