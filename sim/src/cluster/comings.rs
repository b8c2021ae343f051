//! Nodes that go and come back by themselves, registries that are away or doubled: what a setup says besides faults.

use super::{Cluster, Planned, Role};
use crate::clock::{Clock, MILLI, Micros};
use crate::context::{HostId, ProcId};
use crate::failure::{Failure, FailureKind};
use crate::machine::Command;
use crate::oracles::crowd;
use crate::oracles::outage;
use xxnet_core::executor::ExecutorCommand;

/// The old registry, beside the one that has its name now.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ghost {
    proc: ProcId,
    host: HostId,
}

impl Cluster {
    /// Plans all of it.
    pub(super) fn plan_comings(&mut self) {
        for (index, going) in self.setup.goings.iter().enumerate() {
            self.next_planned += 1;
            self.planned.insert(self.next_planned, Planned::Go(index));
            self.world.plan(going.at_us, self.next_planned);
        }
        if let Some(away) = self.setup.away {
            self.plan(away.at_us, Planned::Away);
            self.plan(away.at_us + outage::MEANTIME, Planned::Meantime);
            self.plan(away.end() + 1, Planned::Returned);
            self.plan(away.end() + outage::RETURNED, Planned::Restored);
        }
        if let Some(replaced) = self.setup.replaced {
            self.plan(replaced.at_us, Planned::Replace);
        }
        if let Some(crowd) = self.setup.crowd {
            for later in crowd::LOOKS {
                self.plan(crowd.at_us + later, Planned::Settled);
            }
        }
        // A node that goes is a hand in the run: what its publisher had is cancelled.
        self.world.ctx.calm &= self.setup.goings.is_empty();
    }

    // ---- going ----

    pub(super) fn go(&mut self, index: usize) {
        let Some(going) = self.setup.goings.get(index).cloned() else { return };
        let Some(at) = self.nodes.iter().position(|node| node.name == going.node) else { return };
        let Some(proc) = self.nodes[at].proc.filter(|proc| self.world.is_alive(*proc)) else { return };
        if !self.world.ctx.faulty || self.nodes[at].goes.is_some() {
            return;
        }
        if going.vanishes {
            self.kill(at);
            self.comes_back(at, going.back_after_us);
        } else {
            self.nodes[at].goes = Some(going.back_after_us);
            self.world.command(proc, 0, Command::Executor(Box::new(ExecutorCommand::Shutdown)));
        }
    }

    /// A node has said that all is closed: if it wanted to go, its process ends.
    pub(super) fn gone(&mut self, at: usize) {
        if let Some(back) = self.nodes[at].goes.take() {
            self.kill(at);
            self.comes_back(at, back);
        }
    }

    /// In peace, everybody is back soon.
    fn comes_back(&mut self, at: usize, after: Option<Micros>) {
        let soon = (!self.world.ctx.faulty).then_some(100 * MILLI);
        if let Some(delay) = after.map(|after| soon.map_or(after, |soon| soon.min(after))).or(soon) {
            self.restart_after(at, delay);
        }
    }

    /// Whether a process is told to go, or has gone.
    pub(super) fn leaves(&self, proc: ProcId) -> bool {
        let node = self.nodes.iter().find(|node| node.proc == Some(proc));
        node.is_none_or(|node| node.goes.is_some())
    }

    // ---- no registry ----

    pub(super) fn registries_go(&mut self) {
        self.oracles.outage.begins(&self.oracles.tasks);
        let Some(away) = self.setup.away else { return };
        for at in self.of_role(Role::Registry.word()) {
            self.kill(at);
            self.restart_after(at, away.end() - self.world.ctx.now);
        }
    }

    pub(super) fn meantime(&mut self) -> Result<(), Failure> {
        let verdict = self.oracles.outage.meantime(&self.oracles.tasks, &self.world.ctx.counts);
        self.outage_fails("meantime", verdict)
    }

    pub(super) fn restored(&mut self) -> Result<(), Failure> {
        let verdict = self.oracles.outage.restored(&self.oracles.tasks, &self.world.ctx.counts);
        self.outage_fails("restored", verdict)
    }

    /// Where nodes went by themselves, they took their tasks along.
    fn outage_fails(&self, oracle: &'static str, verdict: Result<(), String>) -> Result<(), Failure> {
        match verdict {
            Err(what) if self.setup.goings.is_empty() => {
                Err(self.world.failure(ProcId(0), FailureKind::Liveness, oracle, what))
            }
            Err(_) | Ok(()) => Ok(()),
        }
    }

    /// When a registry that is to start may do so, if not now.
    pub(super) fn away_until(&self, at: usize) -> Option<Micros> {
        let away = self.setup.away.filter(|_| self.nodes[at].role == Role::Registry)?;
        (away.at_us..away.end()).contains(&self.world.ctx.now).then(|| away.end())
    }

    // ---- two registries ----

    /// The first registry's name and place are another host's from now on; the old one is stopped for a while, and lives on.
    pub(super) fn replace(&mut self) {
        let Some(replaced) = self.setup.replaced.filter(|_| self.world.ctx.faulty) else { return };
        let Some(first) = self.of_role(Role::Registry.word()).first().copied() else { return };
        let (old, name) = (self.nodes[first].host, self.nodes[first].name.clone());
        if let Some(proc) = self.nodes[first].proc.take() {
            self.ghost = Some(Ghost { proc, host: old });
            if replaced.frozen_us > 0 {
                self.world.freeze(proc);
                self.plan(replaced.frozen_us, Planned::Thaw(proc));
            }
        }
        let host = self.world.ctx.add_host(format!("{name} anew"), Clock::exact());
        self.nodes[first].host = host;
        self.world.net.name(name, host);
        self.start(first);
        if let Some(turn) = replaced.turns_us {
            self.plan(replaced.frozen_us + turn, Planned::Turn(true));
        }
    }

    /// The name means the other one of both from now on.
    pub(super) fn turn(&mut self, to_old: bool) {
        let Some(turn) = self.setup.replaced.and_then(|replaced| replaced.turns_us) else { return };
        let Some(ghost) = self.ghost.filter(|_| self.world.ctx.faulty) else { return };
        let Some(first) = self.of_role(Role::Registry.word()).first().copied() else { return };
        let host = if to_old { ghost.host } else { self.nodes[first].host };
        self.world.net.name(self.nodes[first].name.clone(), host);
        self.plan(turn, Planned::Turn(!to_old));
    }

    /// Somebody sees that there are two, and ends the old one.
    pub(super) fn end_ghost(&mut self) {
        let Some(ghost) = self.ghost.take() else { return };
        self.world.kill(ghost.proc);
        if let Some(first) = self.of_role(Role::Registry.word()).first().copied() {
            self.world.net.name(self.nodes[first].name.clone(), self.nodes[first].host);
        }
    }
}

impl Cluster {
    // ---- a crowd ----

    /// What the registries did for the crowd, and what they keep.
    pub(super) fn crowd_is_bounded(&self) -> Result<(), Failure> {
        let tasks = self.plans.len();
        for at in self.of_role(Role::Registry.word()) {
            let Some(proc) = self.nodes[at].proc.filter(|proc| self.world.is_alive(*proc)) else { continue };
            let load = crowd::Load {
                nodes: self.nodes.len(),
                tasks,
                effort: self.world.effort(proc),
                census: self.world.census(proc),
                tables: self.world.unfinished(proc),
            };
            if let Err(what) = load.check() {
                return Err(self.world.failure(proc, FailureKind::Safety, "crowd", what));
            }
        }
        Ok(())
    }
}
