//! The two scenarios: who is there, and what must hold.

use super::application::{Application, BEGIN, PEER_SETUP, START};
use super::engine::Engine;
use super::node::{Brain, Node};
use super::world::World;
use std::net::SocketAddr;
use std::time::Duration;
use xxnet_core::connection::Connections;
use xxnet_core::executor::Executor;
use xxnet_core::registry::Registry;
use xxnet_core::{Address, ClusterKey, Config, ExecutorConfig, InstanceId, Limits};

/// Deadlines come on a grid: time goes to the first moment of it at which something is due. All of the protocol's times are
/// multiples of it, or are tried again at the next one; so what jitter draws makes no difference.
pub(super) const GRID: Duration = Duration::from_secs(3);

/// What is explored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scenario {
    /// One publisher, one registry, two executors, one task.
    Lease,
    /// Two peers that dial each other, with sessions and three messages.
    Dials,
}

pub(super) const REGISTRY: usize = 0;
pub(super) const PUBLISHER: usize = 1;

impl Scenario {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Lease, Self::Dials];

    /// As it is called on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Lease => "lease",
            Self::Dials => "dials",
        }
    }

    pub(super) const fn nodes(self) -> usize {
        match self {
            Self::Lease => 4,
            Self::Dials => 2,
        }
    }

    /// For people.
    pub(super) const fn who(self, node: usize) -> &'static str {
        match (self, node) {
            (Self::Lease, REGISTRY) => "registry",
            (Self::Lease, PUBLISHER) => "publisher",
            (Self::Lease, 2) => "anne",
            (Self::Lease, _) => "bert",
            (Self::Dials, 0) => "smaller",
            (Self::Dials, _) => "larger",
        }
    }

    /// A process as it is before its first step. A restarted one is another instance.
    pub(super) fn make(self, node: usize, incarnation: u8) -> Node {
        let mut id = [0; 16];
        (id[0], id[1]) = (node as u8 + 1, incarnation);
        let seed = (node as u64) << 8 | u64::from(incarnation);
        let mut config = Config::new(InstanceId(id), self.who(node), ClusterKey([7; 32]), seed);
        // A pause is never longer than a step of the grid.
        config.limits =
            Limits { backoff: (Duration::from_secs(2), Duration::from_secs(2)), ..Limits::default() };
        match (self, node) {
            (Self::Lease, REGISTRY) => {
                Node::new(Brain::Registry(Box::new(Registry::new(config))), Application::Idle { node })
            }
            (Self::Lease, _) => {
                let publishes = node == PUBLISHER;
                let settings = ExecutorConfig {
                    registries: vec![Address::Socket(address(REGISTRY))],
                    listen: address(node),
                    advertise: None,
                    slots: u32::from(!publishes),
                    client: false,
                    labels: Vec::new(),
                    lease_only: false,
                };
                let application = if publishes && incarnation == 0 {
                    Application::Publisher { node, asked: false, ended: 0 }
                } else {
                    Application::Idle { node }
                };
                Node::new(Brain::Executor(Box::new(Executor::new(config, settings))), application)
            }
            (Self::Dials, _) => {
                let messages = if node == 0 { 2 } else { 1 };
                let application = Application::peer(node, incarnation, messages);
                Node::new(Brain::Connections(Box::new(Connections::new(&config))), application)
            }
        }
    }

    /// What a process is asked when it starts, one after the other.
    pub(super) const fn setup(self, node: usize) -> &'static [u8] {
        match self {
            Self::Lease if node == PUBLISHER => &[START],
            Self::Lease => &[START],
            Self::Dials => PEER_SETUP,
        }
    }

    /// What is asked of a node at the end of the set-up, once everybody is registered.
    pub(super) const fn begins(self) -> Option<(usize, u8)> {
        match self {
            Self::Lease => Some((PUBLISHER, BEGIN)),
            Self::Dials => None,
        }
    }

    /// What must hold in each state; what does not, if something does not.
    pub(super) fn safety(self, engine: &Engine, world: &World) -> Option<String> {
        match self {
            Self::Lease => lease_safety(engine, world),
            Self::Dials => dials_safety(engine, world),
        }
    }

    /// Whether everything has ended well: nothing is under way, and no deadline changes that.
    pub(super) fn settled(self, engine: &Engine, world: &World) -> bool {
        match self {
            Self::Lease => lease_settled(engine, world),
            Self::Dials => dials_settled(engine, world),
        }
    }

    /// Whether faults are of interest in a state that has settled.
    pub(super) const fn goes_on(self) -> bool {
        matches!(self, Self::Dials)
    }

    /// What has not happened by the end of time.
    pub(super) const fn liveness(self) -> &'static str {
        match self {
            Self::Lease => "the task has not ended",
            Self::Dials => "the pair has not one live session with everything delivered",
        }
    }
}

fn lease_safety(engine: &Engine, world: &World) -> Option<String> {
    let copies = world.copies(engine);
    if copies > 1 {
        return Some(format!("{copies} live copies of the task"));
    }
    match engine.application(world, PUBLISHER) {
        Some(Application::Publisher { ended, .. }) if *ended > 1 => {
            Some(format!("the task has ended {ended} times"))
        }
        _ => None,
    }
}

fn lease_settled(engine: &Engine, world: &World) -> bool {
    let ended = match engine.application(world, PUBLISHER) {
        Some(Application::Publisher { ended, .. }) => *ended > 0,
        // A publisher that was restarted knows nothing of the task: its executors have to end it.
        Some(Application::Idle { .. }) => true,
        Some(Application::Peer(_)) | None => false,
    };
    ended && world.copies(engine) == 0 && world.is_quiet(engine)
}

fn dials_safety(engine: &Engine, world: &World) -> Option<String> {
    for node in 0..2 {
        let Some(Application::Peer(peer)) = engine.application(world, node) else { continue };
        if peer.interrupted && world.faultless() {
            return Some(format!(
                "{} has lost every link, and nothing has broken",
                Scenario::Dials.who(node)
            ));
        }
        // Messages are numbered from 1 by each instance, and nothing is said of the order between instances.
        for incarnation in 0..=world.incarnation(1 - node) {
            let of: Vec<u8> = peer
                .received
                .iter()
                .filter(|[from, _]| *from == incarnation)
                .map(|[_, number]| *number)
                .collect();
            let prefix = world.faultless() && !of.is_empty() && of[0] != 1;
            if prefix || !of.is_sorted_by(|a, b| a < b) {
                return Some(format!("{} has received {of:?}", Scenario::Dials.who(node)));
            }
        }
    }
    None
}

fn dials_settled(engine: &Engine, world: &World) -> bool {
    let peers: Vec<_> = (0..2)
        .filter_map(|node| match engine.node(world, node)? {
            Node { brain: Brain::Connections(machine), application: Application::Peer(peer), .. } => {
                Some((machine, peer))
            }
            _ => None,
        })
        .collect();
    let [(_, one), (_, two)] = peers[..] else { return false };
    let linked = peers.iter().all(|(machine, peer)| {
        let alone = machine.manager().census()[0] == 1;
        alone && matches!(peer.sessions[..], [id] if machine.manager().is_linked(id))
    });
    linked
        && world.is_quiet(engine)
        && world.has_one_whole_link()
        && engine.all_done(world)
        && (world.restarted() || (delivered(one, two) && delivered(two, one)))
}

/// Whether each message has come, or was reported as perhaps lost.
fn delivered(from: &super::application::Peer, to: &super::application::Peer) -> bool {
    (1..=from.sent).all(|n| {
        let message = [0, n];
        to.received.contains(&message) || from.undelivered.contains(&message)
    })
}

/// Where a node listens.
pub(super) fn address(node: usize) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, node as u8 + 1], 1000))
}
