//! The storm: what strikes hosts, processes and the ways between them until the horizon.

use super::{Cluster, Node, Planned, Role};
use crate::choices::Choices;
use crate::clock::{MILLI, Micros, SECOND};
use crate::fault::{Fault, Swarm};
use crate::faults::PlannedFault;
use crate::oracles::AFTER_WAKING;

/// What a strike can be. Its values are for how long it lasts and, where ways are cut, which other node is out of reach (0:
/// all of them) and whether, of a one-way cut, it is what the node sends that is lost.
const STRIKES: [Fault; 8] = [
    Fault::Partition,
    Fault::OneWayPartition,
    Fault::HostCrash,
    Fault::ExecutorCrash,
    Fault::RegistryCrash,
    Fault::PublisherCrash,
    Fault::ProcessFreeze,
    Fault::HostFreeze,
];

/// Whether it strikes a node, at some time.
pub(crate) fn is_strike(fault: Fault) -> bool {
    STRIKES.contains(&fault)
}

/// The strikes of a run, drawn before it begins: those of each kind at a place of its own.
pub(super) fn draw(
    choices: &mut Choices,
    swarm: &Swarm,
    nodes: &[Node],
    horizon: Micros,
) -> Vec<PlannedFault> {
    let kinds = STRIKES.into_iter().filter(|kind| swarm.enabled(*kind));
    kinds
        .flat_map(|kind| {
            choices.aside(kind.name(), |choices| draw_kind(choices, kind, swarm, nodes, horizon))
        })
        .collect()
}

fn draw_kind(
    choices: &mut Choices,
    fault: Fault,
    swarm: &Swarm,
    nodes: &[Node],
    horizon: Micros,
) -> Vec<PlannedFault> {
    let suits = |node: &&Node| match fault {
        Fault::ExecutorCrash => matches!(node.role, Role::Executor(_)),
        Fault::RegistryCrash => node.role == Role::Registry,
        Fault::PublisherCrash => node.role == Role::Publisher,
        _ => true,
    };
    let suited: Vec<&Node> = nodes.iter().filter(suits).collect();
    let mut all = Vec::new();
    // A longer life has not more of them.
    let eager = swarm.eagerness(fault).max(1);
    let pause = |choices: &mut Choices| {
        choices.scaled(SECOND, 60 * SECOND) * (horizon / (90 * SECOND)).max(1) * 100 / eager
    };
    let mut at = pause(choices);
    while at < horizon && !suited.is_empty() {
        let place = choices.pick(&suited).name.clone();
        let mut values = vec![choices.scaled(50 * MILLI, 60 * SECOND)];
        if matches!(fault, Fault::Partition | Fault::OneWayPartition) {
            let others = choices.chance(600).then(|| 1 + choices.below(nodes.len() as u64 - 1));
            values.extend([others.unwrap_or(0), choices.below(2)]);
        }
        all.push(PlannedFault { fault, place, nth: None, at_us: Some(at), values });
        at += pause(choices);
    }
    all
}

impl Cluster {
    /// Each strike is planned for its time.
    pub(super) fn begin_storm(&mut self, strikes: &[PlannedFault]) {
        for strike in strikes {
            let delay = strike.at_us.unwrap_or(0).saturating_sub(self.world.ctx.now);
            self.plan(delay, Planned::Strike(strike.clone()));
        }
    }

    pub(super) fn strike(&mut self, strike: PlannedFault) {
        let Some(at) = self.nodes.iter().position(|node| node.name == strike.place) else { return };
        let Some(proc) = self.nodes[at].proc.filter(|_| self.world.ctx.faulty) else { return };
        let host = self.nodes[at].host;
        let value = |index: usize| strike.values.get(index).copied().unwrap_or(0);
        let (fault, delay) = (strike.fault, value(0).max(1));
        self.world.ctx.count(fault);
        let name = &self.nodes[at].name;
        self.world.ctx.trace.note(self.world.ctx.now, || format!("{fault} strikes {name} for {delay} us"));
        match fault {
            Fault::ExecutorCrash | Fault::RegistryCrash | Fault::PublisherCrash => {
                self.kill(at);
                self.restart_after(at, delay);
            }
            Fault::HostCrash => {
                for at in self.power_off(at) {
                    self.restart_after(at, delay);
                }
            }
            Fault::ProcessFreeze => {
                self.world.freeze(proc);
                self.plan(delay, Planned::Thaw(proc));
            }
            Fault::HostFreeze => {
                self.world.sleep(host);
                self.plan(delay, Planned::Wake(host));
            }
            _ => self.part(at, fault == Fault::Partition, delay, value(1), value(2) == 0),
        }
        self.world.ctx.faults.injected.push(strike);
    }

    /// Nothing passes between a node's host and that of one other (the 1st, 2nd … of the rest), or of all (0), for a while.
    fn part(&mut self, at: usize, both_ways: bool, delay: Micros, other: u64, outwards: bool) {
        let host = self.nodes[at].host;
        let rest: Vec<usize> = (0..self.nodes.len()).filter(|other| *other != at).collect();
        let others = match (other as usize).checked_sub(1) {
            None => rest,
            Some(index) => rest.get(index).copied().into_iter().collect(),
        };
        for other in others {
            let other = self.nodes[other].host;
            let ways = [(host, other), (other, host)];
            for (index, (from, to)) in ways.into_iter().enumerate() {
                if both_ways || outwards == (index == 0) {
                    self.world.ctx.cut(from, to);
                    self.plan(delay, Planned::Mend(from, to));
                }
            }
        }
    }

    /// The storm is over: everything wakes, thaws, mends and comes back.
    pub(super) fn peace(&mut self) {
        self.world.ctx.trace.note(self.world.ctx.now, || "peace".to_owned());
        self.end_ghost();
        self.world.heal();
        self.bring_back();
        self.plan(AFTER_WAKING, Planned::LookForCopies);
    }
}
