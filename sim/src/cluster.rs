//! A whole cluster: registries, publishers, executors; a workload; a storm of faults; then peace, in which everything must end
//! well.

mod application;
mod comings;
mod ending;
mod nodes;
mod storm;

pub(crate) use nodes::{Node, Role};
pub(crate) use storm::is_strike;

use crate::choices::{Choices, Place};
use crate::clock::{Clock, Micros, SECOND};
use crate::context::{Context, HostId, ProcId};
use crate::failure::Failure;
use crate::fault::Counts;
use crate::faults::{Injection, PlannedFault};
use crate::lab::Told;
use crate::marks::Seen;
use crate::mesh::Sessions;
use crate::messengers::Messages;
use crate::oracles::Oracles;
use crate::setup::Setup;
use crate::tap::Tap;
use crate::workload::TaskPlan;
use crate::world::{Happening, World};
use std::collections::BTreeMap;
use xxnet_core::{TaskId, Token};

/// What a run did.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Faults injected.
    pub faults: Counts,
    /// Tasks published.
    pub tasks: u64,
    /// Endings: done, failed, cancelled, expired.
    pub endings: [u64; 4],
    /// Commands started.
    pub runs: u64,
    /// Files that came through a callback.
    pub files: u64,
    /// Requests that shared another's transfer.
    pub shared: u64,
    /// Targets that went on from blocks of another life or attempt.
    pub resumed: u64,
    /// Connections that came up, where connections are all there is.
    pub connections: u64,
    /// Packs that arrived on them.
    pub packs: u64,
    /// What happened to sessions there.
    pub sessions: Sessions,
    /// What became of messages, where messages by address are all there is.
    pub messages: Messages,
    /// Simulated time.
    pub simulated: Micros,
    /// Events that machines handled.
    pub events: u64,
    /// The hash over everything.
    pub hash: u64,
    /// The marks that it reached, if it was watched.
    pub marks: Seen,
}

/// Something that the scenario has planned.
#[derive(Clone, Debug)]
enum Planned {
    /// A task is published.
    Publish(usize),
    /// A task is cancelled, once or twice.
    Cancel(TaskId),
    /// The storm strikes.
    Strike(PlannedFault),
    /// A node whose process or host is gone comes back.
    Restart(usize),
    Thaw(ProcId),
    Wake(HostId),
    Mend(HostId, HostId),
    /// A host woke a second ago.
    LookForCopies,
    /// A node goes by itself.
    Go(usize),
    /// All registries go; have been away for a while; are back; have been back for a while.
    Away,
    Meantime,
    Returned,
    Restored,
    /// Another registry takes the place of the first.
    Replace,
    /// The name of both means the old one, or the new one.
    Turn(bool),
    /// The crowd has come: the registry is looked at.
    Settled,
}

/// A cluster at some moment.
#[derive(Debug)]
pub(crate) struct Cluster {
    pub(crate) world: World,
    pub(crate) oracles: Oracles,
    pub(crate) nodes: Vec<Node>,
    pub(crate) plans: Vec<TaskPlan>,
    /// Which publisher gets which task.
    publisher_of: Vec<usize>,
    planned: BTreeMap<u32, Planned>,
    next_planned: u32,
    setup: Setup,
    /// A registry whose place another one has taken.
    ghost: Option<comings::Ghost>,
    /// Tasks that a publisher was given and has not answered for.
    asked: BTreeMap<Token, ProcId>,
    /// Everything that applications were told, if a test wants to know.
    pub(crate) log: Option<Vec<Told>>,
}

impl Cluster {
    /// The nodes of a setup, started within the first second, and its tasks, planned for their time.
    pub(crate) fn new(choices: Choices, setup: Setup, injection: Injection, keep_trace: bool) -> Self {
        let mut ctx = Context::new(choices, injection, keep_trace);
        let mut nodes = Vec::new();
        let roles = (0..setup.registries)
            .map(|_| Role::Registry)
            .chain((0..setup.publishers).map(|_| Role::Publisher))
            .chain(setup.slots().map(Role::Executor));
        for role in roles {
            let same = nodes.iter().filter(|node: &&Node| node.role.word() == role.word()).count();
            let name = format!("{}-{}", role.word(), same + 1);
            ctx.choices.enter(Place::of(&name));
            let clock = if setup.clocks { Clock::draw(&mut ctx.choices) } else { Clock::exact() };
            let beside = setup.together && role == Role::Publisher && same == 0;
            let host = if beside { nodes[0].host } else { ctx.add_host(&name, clock) };
            nodes.push(Node::new(role, host, name));
        }
        let mut cluster = Self {
            world: World::new(ctx),
            oracles: Oracles::default(),
            nodes,
            plans: Vec::new(),
            publisher_of: Vec::new(),
            planned: BTreeMap::new(),
            next_planned: 0,
            setup,
            ghost: None,
            asked: BTreeMap::new(),
            log: None,
        };
        for at in 0..cluster.nodes.len() {
            let (name, host) = (cluster.nodes[at].name.clone(), cluster.nodes[at].host);
            cluster.world.ctx.choices.enter(Place::of(&name));
            cluster.world.net.name(name, host);
            let delay = cluster.world.ctx.choices.below(SECOND);
            let delay = cluster.arrival(at).unwrap_or(delay);
            cluster.plan(delay, Planned::Restart(at));
        }
        let publishers = cluster.of_role("publisher");
        for task in core::mem::take(&mut cluster.setup.tasks) {
            // A plan was checked when it was read; what is drawn is sound.
            if let (Ok(plan), Some(who)) = (task.build(), publishers.get(task.publisher)) {
                cluster.task(*who, task.at_us, plan);
            }
        }
        cluster.plan_comings();
        cluster
    }

    /// When a node of the crowd begins.
    fn arrival(&self, at: usize) -> Option<Micros> {
        let crowd = self.setup.crowd?;
        (at + crowd.executors >= self.nodes.len()).then_some(crowd.at_us)
    }

    /// Adds a task that its publisher is given after `delay`.
    pub(crate) fn task(&mut self, publisher: usize, delay: Micros, plan: TaskPlan) -> usize {
        self.plans.push(plan);
        self.publisher_of.push(publisher);
        let index = self.plans.len() - 1;
        self.plan(delay, Planned::Publish(index));
        index
    }

    /// The node numbers of a role.
    pub(crate) fn of_role(&self, word: &str) -> Vec<usize> {
        (0..self.nodes.len()).filter(|at| self.nodes[*at].role.word() == word).collect()
    }

    fn plan(&mut self, delay: Micros, what: Planned) {
        self.next_planned += 1;
        self.planned.insert(self.next_planned, what);
        self.world.plan(self.world.ctx.now + delay, self.next_planned);
    }

    /// Which node is given a task.
    pub(crate) fn publisher_of(&self, plan: usize) -> usize {
        self.publisher_of[plan]
    }

    /// How much applications were told, if that is kept.
    pub(crate) fn told(&self) -> usize {
        self.log.as_ref().map_or(0, Vec::len)
    }

    /// Runs until `limit`, or until `until` holds.
    pub(crate) fn run(
        &mut self,
        limit: Micros,
        mut until: impl FnMut(&mut Self) -> bool,
    ) -> Result<bool, Failure> {
        loop {
            let Some(happening) = self.world.step(limit)? else {
                self.world.ctx.now = self.world.ctx.now.max(limit);
                return Ok(until(self));
            };
            let look = match happening {
                Happening::Inside => false,
                Happening::Due(number) => {
                    self.due(number)?;
                    true
                }
                Happening::Handled => !self.world.notices.is_empty(),
            };
            self.hear()?;
            let look = look || self.world.tap.as_ref().is_some_and(Tap::has_caught);
            if look && until(self) {
                return Ok(true);
            }
        }
    }

    /// Takes what machines told and what has started.
    fn hear(&mut self) -> Result<(), Failure> {
        if !self.world.processes.started.is_empty() {
            let started = core::mem::take(&mut self.world.processes.started);
            self.oracles.started(&self.world, &self.plans, &started)?;
        }
        while let Some((proc, notice)) = self.world.notices.pop_front() {
            if let Some(log) = &mut self.log {
                let (at, node) = (self.world.ctx.now, self.world.name(proc).to_owned());
                log.push(Told { at, node, notice: notice.clone() });
            }
            self.application(proc, notice)?;
        }
        Ok(())
    }

    fn due(&mut self, number: u32) -> Result<(), Failure> {
        match self.planned.remove(&number) {
            None => {}
            Some(Planned::Publish(plan)) => self.publish(plan),
            Some(Planned::Cancel(task)) => self.cancel(task),
            Some(Planned::Strike(strike)) => self.strike(strike),
            Some(Planned::Restart(node)) => self.start(node),
            Some(Planned::Thaw(proc)) => self.world.thaw(proc),
            Some(Planned::Wake(host)) => {
                self.world.wake(host);
                self.plan(crate::oracles::AFTER_WAKING, Planned::LookForCopies);
            }
            Some(Planned::Mend(from, to)) => self.world.ctx.mend(from, to),
            Some(Planned::LookForCopies) => self.oracles.copies(&self.world)?,
            Some(Planned::Go(index)) => self.go(index),
            Some(Planned::Away) => self.registries_go(),
            Some(Planned::Meantime) => self.meantime()?,
            Some(Planned::Returned) => self.oracles.outage.ends(&self.oracles.tasks),
            Some(Planned::Restored) => self.restored()?,
            Some(Planned::Replace) => self.replace(),
            Some(Planned::Turn(to_old)) => self.turn(to_old),
            Some(Planned::Settled) => self.crowd_is_bounded()?,
        }
        Ok(())
    }

    /// The faults that were injected.
    pub(crate) fn injected(&mut self) -> Vec<PlannedFault> {
        core::mem::take(&mut self.world.ctx.faults.injected)
    }

    pub(crate) fn report_and_trace(&mut self) -> (Report, Vec<String>) {
        let report = Report { marks: self.world.seen(), ..self.report() };
        (report, self.world.ctx.trace.take_lines())
    }

    /// What the run did so far.
    pub(crate) fn report(&self) -> Report {
        Report {
            faults: self.world.ctx.counts.clone(),
            tasks: self.oracles.tasks.len() as u64,
            endings: self.oracles.endings,
            runs: self.oracles.runs.values().map(|runs| u64::from(*runs)).sum(),
            files: self.oracles.delivered,
            shared: self.oracles.shared,
            resumed: self.world.disk.resumed,
            simulated: self.world.ctx.now,
            events: self.world.handled,
            hash: self.world.ctx.trace.hash(),
            ..Report::default()
        }
    }
}

impl Cluster {
    /// A whole run: the nodes of a setup, the tasks that it names, a storm, peace, the end.
    pub(crate) fn play(&mut self, injection: &Injection) -> Result<(), Failure> {
        let horizon = self.setup.horizon_us;
        let storm = match injection {
            Injection::Drawn(swarm) => {
                self.world.ctx.choices.enter(Place::of("storm"));
                storm::draw(&mut self.world.ctx.choices, swarm, &self.nodes, horizon)
            }
            Injection::Planned(faults) => {
                faults.iter().filter(|fault| fault.at_us.is_some()).cloned().collect()
            }
        };
        self.begin_storm(&storm);
        self.run(horizon, |_| false)?;
        self.end_well()
    }
}
