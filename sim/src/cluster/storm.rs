//! The storm: what strikes hosts, processes and the ways between them until the horizon.

use super::{Cluster, Planned, Role};
use crate::clock::{MILLI, SECOND};
use crate::fault::Fault;
use crate::oracles::AFTER_WAKING;

/// What a strike can be.
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

impl Cluster {
    /// The first strike is planned.
    pub(super) fn begin_storm(&mut self) {
        if STRIKES.iter().any(|kind| self.world.ctx.swarm.enabled(*kind)) {
            let delay = self.world.ctx.choices.scaled(100 * MILLI, 15 * SECOND);
            self.plan(delay, Planned::Strike);
        }
    }

    /// One of the enabled kinds strikes, and the next strike is planned.
    pub(super) fn strike(&mut self) {
        if !self.world.ctx.faulty {
            return;
        }
        let kinds: Vec<Fault> =
            STRIKES.into_iter().filter(|kind| self.world.ctx.swarm.enabled(*kind)).collect();
        if kinds.is_empty() {
            return;
        }
        let kind = *self.world.ctx.choices.pick(&kinds);
        self.strike_with(kind);
        let delay = self.world.ctx.choices.scaled(100 * MILLI, 20 * SECOND);
        self.plan(delay, Planned::Strike);
    }

    fn strike_with(&mut self, kind: Fault) {
        let candidates: Vec<usize> = (0..self.nodes.len())
            .filter(|at| {
                let role = self.nodes[*at].role;
                match kind {
                    Fault::ExecutorCrash => matches!(role, Role::Executor(_)),
                    Fault::RegistryCrash => role == Role::Registry,
                    Fault::PublisherCrash => role == Role::Publisher,
                    _ => true,
                }
            })
            .collect();
        if candidates.is_empty() {
            return;
        }
        let at = *self.world.ctx.choices.pick(&candidates);
        let delay = self.world.ctx.choices.scaled(50 * MILLI, 60 * SECOND);
        let Some(proc) = self.nodes[at].proc else { return };
        let host = self.nodes[at].host;
        self.world.ctx.count(kind);
        let name = self.nodes[at].name.clone();
        self.world.ctx.trace.note(self.world.ctx.now, || format!("{kind} strikes {name} for {delay} us"));
        match kind {
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
            _ => self.part(at, kind == Fault::Partition, delay),
        }
    }

    /// Nothing passes between a host and one other, or all others, for a while.
    fn part(&mut self, at: usize, both_ways: bool, delay: u64) {
        let host = self.nodes[at].host;
        let from_all = self.world.ctx.choices.chance(400);
        let mut others: Vec<usize> = (0..self.nodes.len()).filter(|other| *other != at).collect();
        if !from_all {
            others = vec![*self.world.ctx.choices.pick(&others)];
        }
        let outwards = self.world.ctx.choices.chance(500);
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
        self.world.heal();
        self.bring_back();
        self.plan(AFTER_WAKING, Planned::LookForCopies);
    }
}
