//! The nodes of a cluster: how each begins, dies and comes back.

use super::{Cluster, Planned};
use crate::choices::Place;
use crate::clock::{MILLI, Micros, SECOND};
use crate::context::{HostId, ProcId};
use crate::machine::{Adapter, Brain, Command};
use core::net::{IpAddr, Ipv4Addr, SocketAddr};
use xxnet_core::config::{ClusterKey, Config, ExecutorConfig};
use xxnet_core::executor::{Executor, ExecutorCommand};
use xxnet_core::registry::{Registry, RegistryCommand};
use xxnet_core::{Address, InstanceId};

/// What a node is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    Registry,
    /// An executor without slots.
    Publisher,
    /// An executor with so many.
    Executor(u32),
}

impl Role {
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Registry => "registry",
            Self::Publisher => "publisher",
            Self::Executor(_) => "executor",
        }
    }
}

/// A node: one host and the process that runs there now, if any.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) role: Role,
    pub(crate) host: HostId,
    pub(crate) name: String,
    pub(crate) proc: Option<ProcId>,
    pub(crate) instance: InstanceId,
    /// A restart is planned.
    pub(crate) returning: bool,
    /// It has said that all is closed.
    pub(crate) stopped: bool,
    /// It was told to go: when it is to come back, if that is known.
    pub(crate) goes: Option<Option<Micros>>,
}

const REGISTRY_PORT: u16 = 7000;
const EXECUTOR_PORT: u16 = 7001;
const KEY: ClusterKey = ClusterKey([7; 32]);

impl Node {
    pub(crate) fn new(role: Role, host: HostId, name: String) -> Self {
        let instance = InstanceId::NONE;
        Self { role, host, name, proc: None, instance, returning: false, stopped: false, goes: None }
    }
}

impl Cluster {
    /// Starts a node's process: another instance each time.
    pub(super) fn start(&mut self, at: usize) {
        let node = &self.nodes[at];
        let (host, role, name) = (node.host, node.role, node.name.clone());
        self.nodes[at].returning = false;
        if node_is_up(self, at) {
            return;
        }
        if let Some(back) = self.away_until(at) {
            self.restart_after(at, back - self.world.ctx.now);
            return;
        }
        self.world.power_on(host);
        self.world.ctx.choices.enter(Place::of(&name));
        let choices = &mut self.world.ctx.choices;
        let mut id = [0; 16];
        id[..8].copy_from_slice(&choices.word().to_be_bytes());
        id[8..].copy_from_slice(&choices.word().to_be_bytes());
        let instance = InstanceId(id);
        let mut config = Config::new(instance, name.clone(), KEY, choices.word());
        config.limits = self.setup.limits();
        let wildcard = self.world.ctx.choices.chance(500) || self.on_host(host).count() > 1;
        let ip = if wildcard { IpAddr::V4(Ipv4Addr::UNSPECIFIED) } else { host.ip() };
        let (brain, supervised): (Box<dyn Brain>, bool) = match role {
            Role::Registry => (Box::new(Adapter::new(Registry::new(config))), false),
            Role::Publisher | Role::Executor(_) => {
                let slots = if let Role::Executor(slots) = role { slots } else { 0 };
                let settings = ExecutorConfig {
                    registries: self.registries(host),
                    listen: SocketAddr::new(ip, if slots == 0 { 0 } else { EXECUTOR_PORT }),
                    advertise: None,
                    slots,
                    client: slots == 0,
                    lease_only: self.setup.lease_only,
                    labels: self.setup.labels_of(self.executor_number(at)),
                };
                (Box::new(Adapter::new(Executor::new(config, settings))), true)
            }
        };
        let proc = self.world.start(host, name, brain, supervised);
        let command = match role {
            Role::Registry => Command::Registry(RegistryCommand::Listen(SocketAddr::new(ip, REGISTRY_PORT))),
            Role::Publisher | Role::Executor(_) => Command::Executor(Box::new(ExecutorCommand::Start)),
        };
        if let Role::Executor(slots) = role {
            let labels = self.setup.labels_of(self.executor_number(at));
            self.oracles.executor(proc, slots, labels);
        }
        self.world.command(proc, 1, command);
        let node = &mut self.nodes[at];
        node.proc = Some(proc);
        node.instance = instance;
        node.stopped = false;
    }

    /// Which of the executors a node is.
    fn executor_number(&self, at: usize) -> usize {
        self.nodes[..at].iter().filter(|node| matches!(node.role, Role::Executor(_))).count()
    }

    /// The nodes that live on a host.
    fn on_host(&self, host: HostId) -> impl Iterator<Item = usize> + '_ {
        (0..self.nodes.len()).filter(move |at| self.nodes[*at].host == host)
    }

    /// As they are dialled from a host.
    fn registries(&mut self, from: HostId) -> Vec<Address> {
        let hosts: Vec<(HostId, String)> = self
            .nodes
            .iter()
            .filter(|node| node.role == Role::Registry)
            .map(|node| (node.host, node.name.clone()))
            .collect();
        let by_name = self.world.ctx.choices.chance(300) || self.setup.replaced.is_some();
        let address = |(host, name): (HostId, String)| {
            if host == from {
                Address::Socket(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), REGISTRY_PORT))
            } else if by_name {
                Address::Name(name, REGISTRY_PORT)
            } else {
                Address::Socket(host.socket(REGISTRY_PORT))
            }
        };
        hosts.into_iter().map(address).collect()
    }

    /// Kills a node's process.
    pub(crate) fn kill(&mut self, at: usize) {
        if let Some(proc) = self.nodes[at].proc.take() {
            self.world.kill(proc);
            self.oracles.died(proc);
            self.nodes[at].goes = None;
        }
    }

    /// Takes a node's power away, and that of all on its host. Who they are.
    pub(crate) fn power_off(&mut self, at: usize) -> Vec<usize> {
        let host = self.nodes[at].host;
        self.world.power_off(host);
        let all: Vec<usize> = self.on_host(host).collect();
        for at in &all {
            if let Some(proc) = self.nodes[*at].proc.take() {
                self.oracles.died(proc);
                self.nodes[*at].goes = None;
            }
        }
        all
    }

    /// Starts a node again, after a while.
    pub(crate) fn restart_after(&mut self, at: usize, delay: Micros) {
        if !self.nodes[at].returning {
            self.nodes[at].returning = true;
            self.plan(delay, Planned::Restart(at));
        }
    }

    /// It cannot listen (its predecessor's supervisor still holds the socket): whoever keeps daemons running tries again.
    pub(super) fn cannot_listen(&mut self, proc: ProcId) {
        let Some(at) = self.nodes.iter().position(|node| node.proc == Some(proc)) else { return };
        self.kill(at);
        self.restart_after(at, SECOND / 2);
    }

    /// Every node that is down comes back soon.
    pub(super) fn bring_back(&mut self) {
        for at in 0..self.nodes.len() {
            if !node_is_up(self, at) {
                let delay = self.world.ctx.choices.between(10 * MILLI, 2 * SECOND);
                self.restart_after(at, delay);
            }
        }
    }
}

fn node_is_up(cluster: &Cluster, at: usize) -> bool {
    cluster.nodes[at].proc.is_some_and(|proc| cluster.world.is_alive(proc))
}
