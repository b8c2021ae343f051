//! A cluster's life from the storm to the end, and what must be true then (ledger X2, X3).

use super::{Cluster, Role};
use crate::clock::{Micros, SECOND};
use crate::context::ProcId;
use crate::failure::{Failure, FailureKind};
use crate::machine::Command;
use crate::workload::TaskPlan;
use xxnet_core::Token;
use xxnet_core::executor::{Ending, ExecutorCommand};
use xxnet_core::message::Exit;
use xxnet_core::process::ExitStatus;
use xxnet_core::registry::RegistryCommand;

/// After peace, every task must have ended within this.
const BOUND: Micros = 1_200 * SECOND;
/// After that, what they left must be gone within this.
const SETTLED: Micros = 120 * SECOND;
/// Tokens of the tasks that ask a healed cluster whether it still works.
const PROBES: u64 = 1_000_000;

impl Cluster {
    /// Peace, and all that must be true after it.
    pub(crate) fn end_well(&mut self) -> Result<(), Failure> {
        self.peace();
        self.all_ends()?;
        self.probe()?;
        self.settles()?;
        self.stops()
    }

    /// Every task that a living publisher has published ends.
    pub(crate) fn all_ends(&mut self) -> Result<(), Failure> {
        let limit = self.world.ctx.now + BOUND;
        let ended =
            self.run(limit, |cluster| cluster.given() && cluster.oracles.open(&cluster.world).is_empty())?;
        if ended {
            return Ok(());
        }
        let open = self.oracles.open(&self.world);
        let proc = open.first().map_or(ProcId(0), |task| self.oracles.tasks[task].proc);
        let what = format!("{} s after peace these have not ended: {open:?}", BOUND / SECOND);
        Err(self.world.failure(proc, FailureKind::Liveness, "ends", what))
    }

    /// Whether every task was given to a publisher, and each that lives has answered.
    fn given(&self) -> bool {
        !self.planned.values().any(|planned| matches!(planned, super::Planned::Publish(_)))
            && self.nodes.iter().all(|node| node.proc.is_some() && node.goes.is_none())
            && self.asked.values().all(|proc| !self.world.is_alive(*proc))
    }

    /// A cluster in peace works: one more task of each publisher is done, by its first or second attempt.
    pub(crate) fn probe(&mut self) -> Result<(), Failure> {
        let first = self.plans.len();
        for publisher in self.of_role("publisher") {
            let plan = TaskPlan::plain(PROBES + publisher as u64);
            self.task(publisher, 0, plan);
        }
        let limit = self.world.ctx.now + SETTLED;
        self.run(limit, |cluster| cluster.given() && cluster.oracles.open(&cluster.world).is_empty())?;
        let done = Exit::Status(ExitStatus::Code(0));
        for plan in first..self.plans.len() {
            let token = Token(self.plans[plan].token.0);
            let task = self.oracles.tasks.iter().find(|(_, task)| task.plan == plan);
            let good = task.is_some_and(
                |(_, task)| matches!(&task.ended, Some(Ending::Done { exit, .. }) if *exit == done),
            );
            if !good {
                let how = task.map(|(id, task)| (id, &task.ended));
                let proc = self.nodes[self.publisher_of[plan]].proc.unwrap_or(ProcId(0));
                let what =
                    format!("{token}, asked in peace, is not done within {} s: {how:?}", SETTLED / SECOND);
                return Err(self.world.failure(proc, FailureKind::Liveness, "probe", what));
            }
        }
        Ok(())
    }

    /// What tasks have left behind is gone: callbacks have fired; folders, trees and commands are no more; every table, queue and
    /// buffer is empty; nobody has another link than those to the registries.
    pub(crate) fn settles(&mut self) -> Result<(), Failure> {
        let limit = self.world.ctx.now + SETTLED;
        loop {
            self.run(self.world.ctx.now + SECOND / 2, |_| false)?;
            match self.left() {
                None => return Ok(()),
                Some((proc, oracle, what)) if self.world.ctx.now >= limit => {
                    return Err(self.world.failure(proc, FailureKind::Liveness, oracle, what));
                }
                Some(_) => {}
            }
        }
    }

    /// Anything that living processes still hold for tasks that have ended, and which oracle says so.
    fn left(&self) -> Option<(ProcId, &'static str, String)> {
        if let Some((proc, what)) = self.oracles.owed() {
            return Some((proc, "callbacks-fire", what));
        }
        if !self.world.disk.keeps_within_bounds() {
            let proc = self.nodes.iter().find_map(|node| node.proc)?;
            return Some((proc, "leak", "more blocks are kept than may be".to_owned()));
        }
        let registries = self.of_role(Role::Registry.word()).len();
        self.nodes.iter().find_map(|node| {
            let proc = node.proc?;
            let (folders, trees) = self.world.disk.held_by(proc);
            let runs = self.world.processes.held_by(proc);
            if folders + trees + runs > 0 {
                let what = format!("{folders} folders, {trees} open trees and {runs} commands are left");
                return Some((proc, "leak", what));
            }
            let unfinished = self.world.unfinished(proc);
            if !unfinished.is_empty() {
                return Some((
                    proc,
                    "unfinished",
                    format!("every task has ended, and it has {unfinished:?}"),
                ));
            }
            let links = if node.role == Role::Registry { self.nodes.len() - registries } else { registries };
            let (census, due) = (self.world.census(proc), [links, 1, 0, links + 1]);
            let what = || format!("links, listeners, look-ups, connections: {census:?} and not {due:?}");
            (census != due).then(|| (proc, "unfinished", what()))
        })
    }

    /// Every machine stops when it is told to, and nothing of it is left.
    pub(crate) fn stops(&mut self) -> Result<(), Failure> {
        let procs: Vec<(usize, ProcId)> =
            self.nodes.iter().enumerate().filter_map(|(at, node)| Some((at, node.proc?))).collect();
        for (at, proc) in &procs {
            let command = match self.nodes[*at].role {
                Role::Registry => Command::Registry(RegistryCommand::Shutdown),
                Role::Publisher | Role::Executor(_) => Command::Executor(Box::new(ExecutorCommand::Shutdown)),
            };
            let delay = self.world.ctx.choices.below(2 * SECOND);
            self.world.command(*proc, delay, command.clone());
            if self.world.ctx.choices.chance(200) {
                self.world.command(*proc, delay + SECOND / 3, command);
            }
        }
        let limit = self.world.ctx.now + SETTLED;
        let stopped = self.run(limit, |cluster| cluster.nodes.iter().all(|node| node.stopped))?;
        if !stopped {
            let node = self.nodes.iter().find(|node| !node.stopped);
            let proc = node.and_then(|node| node.proc).unwrap_or(ProcId(0));
            let census = self.world.census(proc);
            let unfinished = self.world.unfinished(proc);
            let what = format!(
                "it was told to stop {} s ago; it holds {census:?}, {unfinished:?}",
                SETTLED / SECOND
            );
            return Err(self.world.failure(proc, FailureKind::Liveness, "stops", what));
        }
        let quiet = self.world.ctx.now + 30 * SECOND;
        self.run(quiet, |_| false)?;
        for (_, proc) in procs {
            self.holds_nothing(proc)?;
            if let Some(deadline) = self.world.deadline(proc) {
                let what = format!("it has stopped, and wants a tick at {deadline:?}");
                return Err(self.world.failure(proc, FailureKind::Safety, "leak", what));
            }
        }
        Ok(())
    }

    /// A process that has stopped has let go of all that it had; a timer may still be due.
    pub(super) fn holds_nothing(&self, proc: ProcId) -> Result<(), Failure> {
        let (links, listeners) = self.world.net.held_by(proc);
        let (folders, trees) = self.world.disk.held_by(proc);
        let runs = self.world.processes.held_by(proc);
        let held = [links, listeners, folders, trees, runs];
        if held.iter().sum::<usize>() > 0 {
            let what =
                format!("it has stopped, and holds links, listeners, folders, trees, commands {held:?}");
            return Err(self.world.failure(proc, FailureKind::Safety, "leak", what));
        }
        Ok(())
    }
}
