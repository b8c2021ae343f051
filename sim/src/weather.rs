//! What befalls the nodes of a world in which every node is one process that is its own application: it is killed, stopped or
//! put to sleep, its host loses its power, a link breaks, two hosts cannot reach each other.

use crate::clock::{MILLI, Micros, SECOND};
use crate::context::{HostId, ProcId};
use crate::fault::Fault;
use crate::world::World;
use xxnet_core::InstanceId;

/// A node comes back; the rest of these steps is nobody else's business.
pub(crate) const RETURN: u32 = 0;
const THAW: u32 = 1;
const WAKE: u32 = 2;
const MEND: u32 = 3;
/// From here on, steps are a scenario's own.
pub(crate) const FREE: u32 = 4;

/// Plans a step of a node, or of two.
pub(crate) fn plan(world: &mut World, delay: Micros, what: u32, at: usize, other: usize) {
    let number = what | (at as u32) << 8 | (other as u32) << 16;
    world.plan(world.ctx.now + delay, number);
}

/// A new run of a node's process is a new instance.
pub(crate) fn instance(world: &mut World, at: usize) -> InstanceId {
    let mut id = [0; 16];
    id[..8].copy_from_slice(&world.ctx.choices.word().to_be_bytes());
    id[8] = at as u8;
    InstanceId(id)
}

/// Which node an instance is a run of.
pub(crate) fn node(instance: InstanceId) -> usize {
    usize::from(instance.0[8])
}

/// How long what has just struck lasts.
fn how_long(world: &mut World) -> Micros {
    world.ctx.scaled_value(50 * MILLI, 30 * SECOND)
}

#[derive(Debug)]
struct Body {
    host: HostId,
    proc: Option<ProcId>,
    returning: bool,
    /// Its process is stopped, or its host asleep.
    still: bool,
}

/// The bodies of all nodes.
#[derive(Debug)]
pub(crate) struct Weather {
    nodes: Vec<Body>,
    /// Whose each process is or was, by its number.
    owners: Vec<usize>,
}

impl Weather {
    pub(crate) fn new(hosts: Vec<HostId>) -> Self {
        let body = |host| Body { host, proc: None, returning: false, still: false };
        Self { nodes: hosts.into_iter().map(body).collect(), owners: Vec::new() }
    }

    pub(crate) fn host(&self, at: usize) -> HostId {
        self.nodes[at].host
    }

    /// The node's process, unless it is gone.
    pub(crate) fn proc(&self, at: usize) -> Option<ProcId> {
        self.nodes[at].proc
    }

    pub(crate) fn procs(&self) -> impl Iterator<Item = ProcId> {
        self.nodes.iter().filter_map(|node| node.proc)
    }

    /// Whose process this is now.
    pub(crate) fn at(&self, proc: ProcId) -> Option<usize> {
        let at = *self.owners.get(proc.0 as usize)?;
        (self.nodes.get(at)?.proc == Some(proc)).then_some(at)
    }

    pub(crate) fn is_still(&self, at: usize) -> bool {
        self.nodes[at].still
    }

    /// The world has healed: nobody is stopped or asleep any more.
    pub(crate) fn clears(&mut self) {
        self.nodes.iter_mut().for_each(|node| node.still = false);
    }

    /// A planned step: what, whose, and the other node. Its own steps are done.
    pub(crate) fn due(&mut self, world: &mut World, number: u32) -> (u32, usize, usize) {
        let (what, count) = (number & 0xff, self.nodes.len());
        let [at, other] = [8, 16].map(|shift| (number >> shift & 0xff) as usize % count);
        let name = format!("application of {}", world.ctx.host(self.nodes[at].host).name);
        let place = world.ctx.place(name);
        world.ctx.choices.enter(place);
        match what {
            THAW => {
                self.nodes[at].still = false;
                if let Some(proc) = self.nodes[at].proc {
                    world.thaw(proc);
                }
            }
            WAKE => {
                self.nodes[at].still = false;
                world.wake(self.nodes[at].host);
            }
            MEND => world.ctx.mend(self.nodes[at].host, self.nodes[other].host),
            _ => {}
        }
        (what, at, other)
    }

    /// A node is to come back: whether it was away.
    pub(crate) fn comes_back(&mut self, world: &mut World, at: usize) -> bool {
        let node = &mut self.nodes[at];
        node.returning = false;
        if node.proc.is_some_and(|proc| world.is_alive(proc)) {
            return false;
        }
        world.power_on(node.host);
        true
    }

    pub(crate) fn started(&mut self, at: usize, proc: ProcId) {
        self.nodes[at].proc = Some(proc);
        let number = proc.0 as usize;
        self.owners.resize(self.owners.len().max(number + 1), usize::MAX);
        self.owners[number] = at;
    }

    /// The node's process has ended by itself, and comes back after a while, or never.
    pub(crate) fn ends(&mut self, world: &mut World, at: usize, delay: Option<Micros>) {
        if let Some(proc) = self.nodes[at].proc.take() {
            world.kill(proc);
        }
        if let Some(delay) = delay {
            self.returns(world, at, delay);
        }
    }

    fn returns(&mut self, world: &mut World, at: usize, delay: Micros) {
        if !core::mem::replace(&mut self.nodes[at].returning, true) {
            plan(world, delay, RETURN, at, 0);
        }
    }

    /// Something may happen to a node; answers whether its process is gone.
    pub(crate) fn strike(&mut self, world: &mut World, at: usize) -> bool {
        let (Some(proc), host, still) = (self.nodes[at].proc, self.nodes[at].host, self.nodes[at].still)
        else {
            return false;
        };
        let mut away = None;
        if world.ctx.fault(Fault::ExecutorCrash, 20) {
            away = Some(how_long(world));
            world.kill(proc);
        } else if world.ctx.fault(Fault::HostCrash, 20) {
            away = Some(how_long(world));
            world.power_off(host);
        } else if !still && world.ctx.fault(Fault::ProcessFreeze, 20) {
            let delay = how_long(world);
            self.nodes[at].still = true;
            world.freeze(proc);
            plan(world, delay, THAW, at, 0);
        } else if !still && world.ctx.fault(Fault::HostFreeze, 20) {
            let delay = how_long(world);
            self.nodes[at].still = true;
            world.sleep(host);
            plan(world, delay, WAKE, at, 0);
        } else {
            self.cut(world, at);
        }
        if let Some(delay) = away {
            self.nodes[at].proc = None;
            self.returns(world, at, delay);
        }
        away.is_some()
    }

    /// A node and the next one may be unable to reach each other for a while, or one of them the other.
    fn cut(&self, world: &mut World, at: usize) {
        let both = world.ctx.fault(Fault::Partition, 30);
        if !both && !world.ctx.fault(Fault::OneWayPartition, 30) {
            return;
        }
        let delay = how_long(world);
        let other = (at + 1) % self.nodes.len();
        let (here, there) = (self.nodes[at].host, self.nodes[other].host);
        world.ctx.cut(here, there);
        plan(world, delay, MEND, at, other);
        if both {
            world.ctx.cut(there, here);
            plan(world, delay, MEND, other, at);
        }
    }

    /// A link breaks, and perhaps no other can be had between its hosts for a while: a session may be over for the end that
    /// has noticed before the other one has.
    pub(crate) fn snap(&self, world: &mut World, brittle: u64) {
        let Some(hosts) = world.net.snap(&mut world.ctx, brittle) else { return };
        if hosts[0] != hosts[1] && world.ctx.fault(Fault::Partition, 300) {
            let delay = world.ctx.value(MILLI, 12 * SECOND);
            for (from, to) in [(0, 1), (1, 0)] {
                world.ctx.cut(hosts[from], hosts[to]);
                plan(world, delay, MEND, usize::from(hosts[from].0), usize::from(hosts[to].0));
            }
        }
    }
}
