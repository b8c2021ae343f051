//! Connections alone: a handful of nodes that dial, send, pause, close and forget in any order, over links that break; then
//! peace, in which everybody reaches everybody and both ends of everything agree.
//!
//! | oracle | promise |
//! | --- | --- |
//! | `events` | each connection comes up once and ends once; nothing is heard of it before or after (K7, K8, K10) |
//! | `order` | what arrives on a link is what was sent on it, from the first, in order, each once |
//! | `one` | `OnePerDialler`: never two accepted connections of one dialler and kind (N3) |
//! | `session` | what a receiver was given is a prefix of what was sent in that session, and of no other (N3, N4) |
//! | `acknowledged` | never more than the application at the other end has taken (N4) |
//! | `report` | what a session ends with as undelivered is what was sent and not acknowledged (N4, N14) |
//! | `crash` | a session with an instance that is no more ends, and nothing of it reaches the next one (N11) |
//! | `pair` | one session a pair; in peace one link for it, which no dial interrupts, and all is acknowledged (N3, N13) |
//! | `writable` | who was refused because a queue is full is told when there is room (N8) |
//! | `blame` | nobody says that the other's words make no sense, unless a bit was flipped |
//! | `agree` | in peace, what one end believes to be up is up at the other |
//! | `reach` | in peace, every node reaches every other |
//! | `unfinished` | in peace, nothing waits or is under way: queues, buffers, look-ups, handshakes, links without connection |
//! | `leak` | after destroy nothing is left: no socket, no timer (K7) |

mod kinds;
mod ledger;
mod peace;
mod table;
mod temper;

use crate::choices::{Choices, Place};
use crate::clock::{Clock, MILLI, Micros, SECOND};
use crate::cluster::Report;
use crate::context::{Context, HostId, ProcId};
use crate::failure::{Failure, FailureKind};
use crate::fault::Fault;
use crate::faults::{Injection, PlannedFault};
use crate::machine::{Adapter, Command, Notice};
use crate::plan::Nodes;
use crate::weather::{self, Weather};
use crate::world::{Happening, World};
use kinds::Kinds;
use ledger::Ledger;
pub use ledger::Sessions;
use table::Table;
use temper::Temper;
use xxnet_core::config::{ClusterKey, Config};
use xxnet_core::connection::{
    ConnectionCommand, ConnectionError, ConnectionEvent, ConnectionNotice, Connections, DisconnectReason,
    KindId,
};
use xxnet_core::pack::{DataPack, PackType};
use xxnet_core::{Address, ConnectionId, InstanceId, Token};

const PORT: u16 = 9000;

#[derive(Debug)]
struct Node {
    instance: InstanceId,
    table: Table,
}

/// Nodes that have nothing but connections.
pub(crate) struct Mesh {
    world: World,
    weather: Weather,
    nodes: Vec<Node>,
    ledger: Ledger,
    temper: Temper,
    next_token: u64,
    horizon: Micros,
    /// How often applications still do something.
    acts: u64,
    received: u64,
    made: u64,
    /// Everything is well and stays so: no session may lose its link.
    calm: bool,
    /// Whoever has dialled a pair serves.
    plays: bool,
}

/// Steps of this scenario, besides those of the weather: a node acts, takes what has come, dials another.
const ACT: u32 = weather::FREE;
const TAKE: u32 = weather::FREE + 1;
const DIAL: u32 = weather::FREE + 2;

impl Mesh {
    /// The nodes of a plan.
    pub(crate) fn new(choices: Choices, plan: &Nodes, injection: Injection, keep_trace: bool) -> Self {
        let mut ctx = Context::new(choices, injection, keep_trace);
        ctx.choices.enter(Place::of("temper"));
        let temper = Temper::draw(&mut ctx.choices);
        Self::with(ctx, plan, temper)
    }

    /// The nodes of a plan, each pair of which plays ping-pong with messages of 64 bytes.
    pub(crate) fn playing(choices: Choices, plan: &Nodes, injection: Injection) -> Self {
        let ctx = Context::new(choices, injection, false);
        let mut mesh = Self::with(ctx, plan, Temper::lively(64));
        mesh.plays = true;
        mesh
    }

    fn with(mut ctx: Context, plan: &Nodes, temper: Temper) -> Self {
        let (count, horizon) = (plan.nodes, plan.horizon_us);
        let hosts: Vec<HostId> = (0..count)
            .map(|at| {
                let name = format!("node-{at}");
                ctx.choices.enter(Place::of(&name));
                let clock = Clock::draw(&mut ctx.choices);
                ctx.add_host(name, clock)
            })
            .collect();
        let mut mesh = Self {
            world: World::new(ctx),
            nodes: hosts
                .iter()
                .map(|_| Node { instance: InstanceId::NONE, table: Table::default() })
                .collect(),
            weather: Weather::new(hosts),
            ledger: Ledger::default(),
            temper,
            next_token: 0,
            horizon,
            acts: plan.acts.unwrap_or(u64::MAX),
            received: 0,
            made: 0,
            calm: false,
            plays: false,
        };
        for at in 0..count {
            mesh.start(at);
        }
        if plan.together {
            // All of them dial each other in the same moment.
            for at in 0..count {
                for other in (0..count).filter(|other| *other != at) {
                    mesh.plan(5 * MILLI, DIAL, at, other);
                }
            }
        }
        mesh
    }

    /// Marks are looked at from now on.
    pub(crate) fn watch(&mut self) {
        self.world.watch();
    }

    /// The whole life.
    pub(crate) fn live(&mut self) -> Result<(), Failure> {
        self.run(self.horizon)?;
        self.peace()
    }

    /// The faults that were injected.
    pub(crate) fn injected(&mut self) -> Vec<PlannedFault> {
        core::mem::take(&mut self.world.ctx.faults.injected)
    }

    pub(crate) fn report(&mut self) -> (Report, Vec<String>) {
        let report = Report {
            faults: self.world.ctx.counts.clone(),
            connections: self.made,
            packs: self.received,
            sessions: self.ledger.counts,
            simulated: self.world.ctx.now,
            events: self.world.handled,
            hash: self.world.ctx.trace.hash(),
            marks: self.world.seen(),
            ..Report::default()
        };
        (report, self.world.ctx.trace.take_lines())
    }

    /// Goes on until so many more messages have been delivered.
    pub(crate) fn play(&mut self, messages: u64) -> Result<(), Failure> {
        let enough = self.received + messages;
        while self.received < enough && self.step(self.horizon)? {}
        Ok(())
    }

    pub(crate) fn simulated(&self) -> Micros {
        self.world.ctx.now
    }

    fn run(&mut self, limit: Micros) -> Result<(), Failure> {
        while self.step(limit)? {}
        self.world.ctx.now = limit;
        Ok(())
    }

    /// The next thing happens; `false` if nothing does by `limit`.
    fn step(&mut self, limit: Micros) -> Result<bool, Failure> {
        let Some(happening) = self.world.step(limit)? else { return Ok(false) };
        {
            if let Happening::Due(number) = happening {
                self.due(number)?;
            }
            while let Some((proc, notice)) = self.world.notices.pop_front() {
                if let Notice::Connections(notice) = notice {
                    self.hear(proc, notice)?;
                }
            }
        }
        Ok(true)
    }

    fn due(&mut self, number: u32) -> Result<(), Failure> {
        let (what, at, other) = self.weather.due(&mut self.world, number);
        match what {
            ACT => return self.act(at),
            weather::RETURN => self.start(at),
            TAKE => self.take(at),
            DIAL => self.dial_to(at, other, Kinds::PAIR),
            _ => {}
        }
        Ok(())
    }

    fn plan(&mut self, delay: Micros, what: u32, at: usize, other: usize) {
        weather::plan(&mut self.world, delay, what, at, other);
    }

    fn start(&mut self, at: usize) {
        if !self.weather.comes_back(&mut self.world, at) {
            return;
        }
        let host = self.weather.host(at);
        let instance = weather::instance(&mut self.world, at);
        let mut config =
            Config::new(instance, format!("node-{at}"), ClusterKey([9; 32]), self.world.ctx.choices.word());
        config.limits = self.temper.limits.clone();
        let brain = Box::new(Adapter::new(Connections::new(&config)));
        let proc = self.world.start(host, format!("node-{at}"), brain, false);
        self.weather.started(at, proc);
        self.nodes[at] = Node { instance, table: Table::default() };
        for kind in Kinds::all() {
            let token = self.token();
            self.tell(proc, ConnectionCommand::Register { token, kind });
        }
        let address = Some(host.socket(PORT).into());
        self.tell(proc, ConnectionCommand::Advertise { address });
        let token = self.token();
        self.tell(proc, ConnectionCommand::Create { token, kind: Kinds::LISTENER });
        self.plan(MILLI, ACT, at, 0);
    }

    fn alive(&self, at: usize) -> Option<ProcId> {
        self.weather.proc(at).filter(|proc| self.world.is_alive(*proc))
    }

    fn token(&mut self) -> Token {
        Token::next(&mut self.next_token)
    }

    fn tell(&mut self, proc: ProcId, command: ConnectionCommand) {
        self.world.command(proc, 1, Command::Connections(command));
    }

    /// The same at once: what an application does with what it has just been told.
    fn say(&mut self, proc: ProcId, command: ConnectionCommand) {
        self.world.command(proc, 0, Command::Connections(command));
    }

    /// A node does something, and will again.
    fn act(&mut self, at: usize) -> Result<(), Failure> {
        if !self.world.ctx.faulty || self.acts == 0 {
            return Ok(());
        }
        self.acts -= 1;
        let delay = self.world.ctx.choices.scaled(MILLI, 4 * SECOND);
        self.plan(delay, ACT, at, 0);
        let Some(proc) = self.alive(at) else { return Ok(()) };
        self.strike(at, proc);
        let known = self.nodes[at].table.ids();
        let one = (!known.is_empty()).then(|| *self.world.ctx.choices.pick(&known));
        let token = self.token();
        match (self.world.ctx.choices.below(16), one) {
            (0..=7, Some(id)) if !(self.temper.one_way && self.nodes[at].table.accepted_session(id)) => {
                for _ in 0..self.world.ctx.choices.scaled(1, 16) {
                    self.send(at, proc, id);
                }
            }
            (8 | 9, Some(id))
                if self.temper.loyal
                    && self.ledger.at(proc, id).is_some()
                    && !self.world.ctx.choices.chance(100) => {}
            (8, Some(id)) => {
                self.nodes[at].table.close(id);
                self.tell(proc, ConnectionCommand::Close { token, id });
            }
            (9, Some(id)) => {
                if self.nodes[at].table.discard(id) {
                    self.ledger.forget(proc, id);
                    self.tell(proc, ConnectionCommand::Discard { id });
                }
            }
            (10, Some(id)) => {
                self.tell(proc, ConnectionCommand::Pause { id });
                let wake = self.world.ctx.choices.scaled(MILLI, 2 * SECOND);
                let command = Command::Connections(ConnectionCommand::Resume { id });
                self.world.command(proc, wake, command);
            }
            (11, Some(id)) => {
                // Also one that is up already: it must be told, and nothing must change.
                let expect = self.nodes[at].table.connect(id);
                self.tell(proc, ConnectionCommand::Connect { token, id, target: None, expect });
            }
            (12 | 13, Some(_)) => self.cross(at),
            (0..=7, Some(_)) => {}
            _ => {
                let other = self.other(at);
                let kind = *self.world.ctx.choices.pick(&Kinds::DIALLED);
                self.dial_to(at, other, kind);
            }
        }
        Ok(())
    }

    fn other(&mut self, at: usize) -> usize {
        let other = self.world.ctx.choices.below(self.nodes.len() as u64 - 1) as usize;
        other + usize::from(other >= at)
    }

    /// Two nodes dial each other, some more than once, so that the dials cross somewhere.
    fn cross(&mut self, at: usize) {
        let other = self.other(at);
        for (from, to) in [(at, other), (other, at)] {
            for _ in 0..self.world.ctx.choices.between(1, 3) {
                let delay = self.world.ctx.choices.below(20 * MILLI);
                self.plan(delay, DIAL, from, to);
            }
        }
    }

    /// A new connection to another node; `Connect` follows once it is created.
    fn dial_to(&mut self, at: usize, other: usize, kind: KindId) {
        let Some(proc) = self.alive(at) else { return };
        let token = self.token();
        let target: Address = self.weather.host(other).socket(PORT).into();
        let expect = self.world.ctx.choices.chance(200).then_some(self.nodes[other].instance);
        self.nodes[at].table.creating(token, expect);
        self.tell(proc, ConnectionCommand::CreateTo { token, kind, target, data: None });
    }

    fn send(&mut self, at: usize, proc: ProcId, id: ConnectionId) {
        let message = if self.ledger.at(proc, id).is_some() {
            let filler = self.temper.filler(&mut self.world.ctx.choices);
            self.ledger.offer(proc, id, filler)
        } else {
            let filler = self.world.ctx.choices.scaled(1, 40_000) as usize;
            let token = self.token();
            self.nodes[at].table.next_message(id, filler).map(|message| (token, message))
        };
        let Some((token, message)) = message else { return };
        let pack = DataPack::new(PackType::RAW, message);
        self.say(proc, ConnectionCommand::SendPack { token, id, pack });
    }

    /// An application takes some of what has come, and the rest later.
    fn take(&mut self, at: usize) {
        let Some(proc) = self.alive(at) else { return };
        for id in self.ledger.of(proc) {
            let Some((taken, received)) = self.ledger.waiting(proc, id) else { continue };
            let most = self.world.ctx.choices.between(taken + 1, received);
            self.take_to(proc, id, Some(most));
            if most < received {
                self.plan_taking(at);
            }
        }
    }

    fn plan_taking(&mut self, at: usize) {
        let delay = self.world.ctx.choices.scaled(MILLI, 10 * SECOND);
        self.plan(delay, TAKE, at, 0);
    }

    fn take_to(&mut self, proc: ProcId, id: ConnectionId, most: Option<u64>) {
        if let Some(sequence) = self.ledger.take(proc, id, most) {
            self.say(proc, ConnectionCommand::Taken { id, sequence });
        }
    }

    /// A message of a session has come: taken at once or some time later, and answered perhaps.
    fn came(&mut self, at: usize, proc: ProcId, id: ConnectionId) {
        if self.world.ctx.fault(Fault::SlowApplication, self.temper.slow) {
            self.plan_taking(at);
        } else {
            self.take_to(proc, id, None);
        }
        let answers = self.world.ctx.faulty && !self.temper.one_way;
        if answers && self.world.ctx.choices.chance(self.temper.chatty) {
            self.send(at, proc, id);
        }
    }

    fn strike(&mut self, at: usize, proc: ProcId) {
        self.weather.snap(&mut self.world, self.temper.brittle);
        if self.weather.strike(&mut self.world, at) {
            self.ledger.died(proc);
        }
    }

    fn hear(&mut self, proc: ProcId, notice: ConnectionNotice) -> Result<(), Failure> {
        let Some(at) = self.weather.at(proc) else { return Ok(()) };
        let verdict = match notice {
            ConnectionNotice::Created { token: asked, id } => {
                let token = self.token();
                let command = if self.nodes[at].table.created(asked, id) {
                    let expect = self.nodes[at].table.connect(id);
                    ConnectionCommand::Connect { token, id, target: None, expect }
                } else {
                    let address = self.weather.host(at).socket(PORT).into();
                    ConnectionCommand::Listen { token, id, address }
                };
                self.tell(proc, command);
                Ok(())
            }
            // The caller's fault: nothing has changed. Random callers are often at fault.
            ConnectionNotice::Rejected { token, error } => self.rejected(at, token, &error),
            ConnectionNotice::Event(event) => self.event(at, proc, &event),
        };
        verdict.map_err(|(oracle, what)| self.world.failure(proc, FailureKind::Safety, oracle, what))
    }

    fn rejected(&mut self, at: usize, token: Token, error: &ConnectionError) -> table::Verdict {
        self.nodes[at].table.rejected(token);
        self.ledger.refused(token, error)
    }

    fn event(&mut self, at: usize, proc: ProcId, event: &ConnectionEvent) -> table::Verdict {
        self.blame(event)?;
        let node = &mut self.nodes[at];
        node.table.event(event)?;
        match event {
            ConnectionEvent::Connected { id, kind, peer }
            | ConnectionEvent::Accepted { id, kind, peer, .. } => {
                self.made += 1;
                if Kinds::is_session(*kind) && !node.table.is_discarded(*id) {
                    self.ledger.begin(proc, *id, *kind, node.instance, peer);
                }
            }
            ConnectionEvent::Interrupted { id, reason } if self.calm || self.world.ctx.calm => {
                return Err(("pair", format!("{id} has lost its link in peace: {reason}")));
            }
            ConnectionEvent::Undelivered { id, .. } if self.calm => {
                return Err(("report", format!("{id} was closed in peace, and has lost messages")));
            }
            _ => {}
        }
        self.ledger.event(proc, event)?;
        if let (ConnectionEvent::Connected { id, .. }, true) = (event, self.plays) {
            self.send(at, proc, *id);
        }
        if let ConnectionEvent::Received { id, .. } = event {
            self.received += 1;
            if self.ledger.at(proc, *id).is_some() {
                self.came(at, proc, *id);
            }
        }
        Ok(())
    }

    /// Whoever sends what cannot be understood has been given other bits by the network.
    fn blame(&self, event: &ConnectionEvent) -> table::Verdict {
        let (ConnectionEvent::Interrupted { reason, .. }
        | ConnectionEvent::Disconnected { reason, .. }
        | ConnectionEvent::TurnedAway { reason, .. }) = event
        else {
            return Ok(());
        };
        if matches!(reason, DisconnectReason::Malformed(_)) && self.world.ctx.counts.of(Fault::BitFlip) == 0 {
            return Err(("blame", format!("no bit was flipped, and yet {reason}")));
        }
        Ok(())
    }
}
