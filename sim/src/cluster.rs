//! A whole cluster: registries, publishers, executors; a workload; a storm of faults; then peace, in which everything must end
//! well.

mod application;
mod ending;
mod nodes;
mod storm;

pub(crate) use nodes::{Node, Role};

use crate::choices::Choices;
use crate::clock::{Clock, Micros, SECOND};
use crate::context::{Context, HostId, ProcId};
use crate::failure::Failure;
use crate::fault::{Counts, Fault, Swarm};
use crate::lab::Told;
use crate::mesh::Sessions;
use crate::messengers::Messages;
use crate::oracles::Oracles;
use crate::tap::Tap;
use crate::workload::{TaskPlan, Taste};
use crate::world::{Happening, World};
use std::collections::BTreeMap;
use xxnet_core::config::Limits;
use xxnet_core::{TaskId, Token};

/// What a cluster consists of, and what happens to it.
#[derive(Clone, Debug)]
pub struct Setup {
    /// How many registries.
    pub registries: usize,
    /// How many nodes that only publish.
    pub publishers: usize,
    /// Slots of each executor.
    pub executors: Vec<u32>,
    /// Which faults may be injected.
    pub swarm: Swarm,
    /// Faults stop then.
    pub horizon: Micros,
    /// Longest file window.
    pub limits: Limits,
    /// Whether clocks differ.
    pub clocks: bool,
    /// Whether the first publisher lives on the first registry's host and registers there over loopback.
    pub together: bool,
}

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
}

/// Something that the scenario has planned.
#[derive(Clone, Debug)]
enum Planned {
    /// A task is published.
    Publish(usize),
    /// A task is cancelled, once or twice.
    Cancel(TaskId),
    /// The storm strikes.
    Strike,
    /// A node whose process or host is gone comes back.
    Restart(usize),
    Thaw(ProcId),
    Wake(HostId),
    Mend(HostId, HostId),
    /// A host woke a second ago.
    LookForCopies,
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
    /// Tasks that a publisher was given and has not answered for.
    asked: BTreeMap<Token, ProcId>,
    /// Everything that applications were told, if a test wants to know.
    pub(crate) log: Option<Vec<Told>>,
}

impl Setup {
    /// Some cluster.
    pub(crate) fn draw(choices: &mut Choices) -> Self {
        let swarm = Swarm::draw(choices);
        let registries = if choices.chance(250) { 2 } else { 1 };
        let publishers = choices.between(1, 3) as usize;
        let executors = (0..choices.between(2, 5)).map(|_| choices.between(1, 3) as u32).collect();
        let mut limits = Limits::default();
        if choices.chance(500) {
            limits.file_window = core::time::Duration::from_secs(choices.between(10, 60));
        }
        if choices.chance(300) {
            limits.output_credit = choices.scaled(4 << 10, 256 << 10);
        }
        let horizon = choices.between(20, 90) * SECOND;
        let clocks = choices.chance(600);
        Self { registries, publishers, executors, swarm, horizon, limits, clocks, together: false }
    }

    /// A small cluster without faults.
    pub fn calm(publishers: usize, executors: &[u32]) -> Self {
        Self {
            registries: 1,
            publishers,
            executors: executors.to_vec(),
            swarm: Swarm::none(),
            horizon: 60 * SECOND,
            limits: Limits::default(),
            clocks: false,
            together: false,
        }
    }

    /// With these faults.
    #[must_use]
    pub fn with(mut self, kinds: &[Fault]) -> Self {
        self.swarm = Swarm::only(kinds);
        self
    }
}

impl Cluster {
    /// The nodes of a setup, started within the first second.
    pub(crate) fn new(seed: u64, setup: Setup, keep_trace: bool) -> Self {
        let choices = Choices::seeded(seed, 1);
        let mut ctx = Context::new(choices, setup.swarm.clone(), keep_trace);
        let mut nodes = Vec::new();
        let roles = (0..setup.registries)
            .map(|_| Role::Registry)
            .chain((0..setup.publishers).map(|_| Role::Publisher))
            .chain(setup.executors.iter().map(|slots| Role::Executor(*slots)));
        for role in roles {
            let clock = if setup.clocks { Clock::draw(&mut ctx.choices) } else { Clock::exact() };
            let same = nodes.iter().filter(|node: &&Node| node.role.word() == role.word()).count();
            let name = format!("{}-{}", role.word(), same + 1);
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
            asked: BTreeMap::new(),
            log: None,
        };
        for at in 0..cluster.nodes.len() {
            let (name, host) = (cluster.nodes[at].name.clone(), cluster.nodes[at].host);
            cluster.world.net.name(name, host);
            let delay = cluster.world.ctx.choices.below(SECOND);
            cluster.plan(delay, Planned::Restart(at));
        }
        cluster
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
            self.oracles.started(&self.world, &started)?;
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
            Some(Planned::Strike) => self.strike(),
            Some(Planned::Restart(node)) => self.start(node),
            Some(Planned::Thaw(proc)) => self.world.thaw(proc),
            Some(Planned::Wake(host)) => {
                self.world.wake(host);
                self.plan(crate::oracles::AFTER_WAKING, Planned::LookForCopies);
            }
            Some(Planned::Mend(from, to)) => self.world.ctx.mend(from, to),
            Some(Planned::LookForCopies) => self.oracles.copies(&self.world)?,
        }
        Ok(())
    }

    /// What the run did so far.
    pub(crate) fn report(&self) -> Report {
        Report {
            faults: self.world.ctx.counts.clone(),
            tasks: self.oracles.tasks.len() as u64,
            endings: self.oracles.endings,
            runs: self.oracles.runs.values().map(|runs| u64::from(*runs)).sum(),
            files: self.oracles.delivered,
            simulated: self.world.ctx.now,
            events: self.world.handled,
            hash: self.world.ctx.trace.hash(),
            ..Report::default()
        }
    }
}

/// One whole run of a seed: some cluster, some workload, a storm, peace, the end.
pub(crate) fn run_seed(seed: u64, keep_trace: bool) -> (Result<(), Failure>, Report, Vec<String>) {
    let mut cluster = draw(seed, keep_trace);
    let result = crate::failure::guard(|| cluster.live());
    let report = cluster.report();
    (result, report, cluster.world.ctx.trace.take_lines())
}

/// The same in a given setup: its nodes, its faults.
pub(crate) fn run_setup(seed: u64, setup: Setup) -> (Result<(), Failure>, Report) {
    let mut choices = Choices::seeded(seed, 0);
    let mut cluster = fill(seed, &mut choices, setup, false);
    let result = crate::failure::guard(|| cluster.live());
    (result, cluster.report())
}

fn draw(seed: u64, keep_trace: bool) -> Cluster {
    let mut choices = Choices::seeded(seed, 0);
    let setup = Setup::draw(&mut choices);
    fill(seed, &mut choices, setup, keep_trace)
}

/// A cluster with a workload.
fn fill(seed: u64, choices: &mut Choices, setup: Setup, keep_trace: bool) -> Cluster {
    let horizon = setup.horizon;
    let publishers = setup.publishers;
    let mut cluster = Cluster::new(seed, setup, keep_trace);
    let publishers: Vec<usize> = cluster.of_role("publisher").into_iter().take(publishers).collect();
    let mut taste = Taste::default();
    if choices.chance(80) {
        taste.largest = 3 << 20;
    }
    for number in 1..=choices.between(1, 12) {
        let plan = TaskPlan::draw(choices, number, taste);
        let who = *choices.pick(&publishers);
        let delay = choices.below(horizon * 2 / 3);
        cluster.task(who, delay, plan);
    }
    cluster
}
