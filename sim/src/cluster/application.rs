//! The application on each node: what a command line or a daemon does with what its machine tells.

use super::{Cluster, Planned};
use crate::clock::{MILLI, Micros, SECOND};
use crate::context::{HostId, ProcId};
use crate::failure::{Failure, FailureKind};
use crate::fault::Fault;
use crate::machine::{Command, Notice};
use crate::marks::Target;
use bytes::Bytes;
use xxnet_core::executor::{ExecutorCommand, ExecutorNotice, PublishError};
use xxnet_core::registry::RegistryNotice;
use xxnet_core::{FolderId, TaskId};

/// Standard input is given in pieces of this size.
const PIECE: usize = 50_000;

impl Cluster {
    pub(super) fn application(&mut self, proc: ProcId, notice: Notice) -> Result<(), Failure> {
        match notice {
            Notice::Executor(notice) => {
                self.oracles.notice(&self.world, &self.plans, proc, &notice)?;
                self.executor(proc, notice)
            }
            Notice::Registry(RegistryNotice::ListenFailed(..)) => {
                self.cannot_listen(proc);
                Ok(())
            }
            Notice::Registry(RegistryNotice::Stopped) => self.stopped(proc),
            Notice::Registry(_) | Notice::Client(_) | Notice::Connections(_) | Notice::Messenger(_) => Ok(()),
        }
    }

    fn executor(&mut self, proc: ProcId, notice: ExecutorNotice) -> Result<(), Failure> {
        match notice {
            ExecutorNotice::Published { token, task } => {
                self.asked.remove(&token);
                let plan = self.plans.iter().find(|plan| plan.token == token);
                if let Some(delay) = plan.and_then(|plan| plan.cancel_after) {
                    self.plan(delay, Planned::Cancel(task));
                }
            }
            ExecutorNotice::PublishFailed { token, error } => {
                self.asked.remove(&token);
                let plan = self.plans.iter().find(|plan| plan.token == token);
                let due = plan.is_some_and(|plan| plan.is_refused());
                let fault = self.world.ctx.counts.of(Fault::Unreadable) > 0;
                let excused = fault && matches!(error, PublishError::Input(_));
                if !due && !excused && !self.leaves(proc) {
                    let what = format!("{token} is not published: {error:?}");
                    return Err(self.world.failure(proc, FailureKind::Safety, "result", what));
                }
            }
            ExecutorNotice::Output { task, attempt, stream, offset, data } => {
                let upto = offset + data.len() as u64;
                let taken = ExecutorCommand::OutputTaken { task, attempt, stream, upto };
                let mut delay: Micros = self.world.ctx.choices.below(2 * MILLI);
                if self.world.ctx.fault(Fault::SlowApplication, 50) {
                    delay += self.world.ctx.value(0, 3 * SECOND);
                }
                self.tell(proc, delay, taken);
            }
            ExecutorNotice::InputWanted(task) => self.give_input(proc, task),
            ExecutorNotice::FolderStays { task, attempt, .. } => {
                let host = self.world.host_of(proc).unwrap_or(HostId(0));
                if !self.world.disk.stays(proc, host, FolderId { task, attempt }) {
                    let what =
                        format!("the folder of {attempt} of {task} is said to stay, and nobody held it");
                    return Err(self.world.failure(proc, FailureKind::Safety, "leak", what));
                }
            }
            ExecutorNotice::ListenFailed(..) => self.cannot_listen(proc),
            ExecutorNotice::Stopped => return self.stopped(proc),
            // For people, and for the oracles.
            _ => {}
        }
        Ok(())
    }

    /// Gives a command, sometimes twice: it must not matter.
    fn tell(&mut self, proc: ProcId, delay: Micros, command: ExecutorCommand) {
        let twice = !matches!(command, ExecutorCommand::Input { .. } | ExecutorCommand::Publish { .. });
        if twice && self.world.ctx.fault(Fault::DoubledCommand, 100) {
            let later = delay + self.world.ctx.value(0, SECOND);
            self.world.command(proc, later, Command::Executor(Box::new(command.clone())));
        }
        self.world.command(proc, delay, Command::Executor(Box::new(command)));
    }

    fn give_input(&mut self, proc: ProcId, task: TaskId) {
        let Some(published) = self.oracles.tasks.get_mut(&task) else { return };
        let Some(all) = &self.plans[published.plan].stdin else { return };
        let begin = published.input_given;
        let end = all.len().min(begin + PIECE);
        published.input_given = end;
        let (data, last): (Bytes, bool) = (all.slice(begin..end), end == all.len());
        let delay = self.world.ctx.choices.below(20 * MILLI);
        self.tell(proc, delay, ExecutorCommand::Input { task, data, last });
    }

    pub(crate) fn cancel(&mut self, task: TaskId) {
        let Some(published) = self.oracles.tasks.get(&task) else { return };
        let proc = published.proc;
        self.world.ctx.count(Fault::Cancel);
        self.world.ctx.hits.all_at([Target::Task(proc, task)]);
        self.tell(proc, 0, ExecutorCommand::Cancel(task));
    }

    /// A task is given to its publisher; if that is not there, a little later.
    pub(super) fn publish(&mut self, plan: usize) {
        let node = &self.nodes[self.publisher_of[plan]];
        let there = node.proc.filter(|proc| node.goes.is_none() && self.world.is_alive(*proc));
        let Some(proc) = there else {
            self.plan(SECOND, Planned::Publish(plan));
            return;
        };
        let host = node.host;
        for (path, files) in &self.plans[plan].inputs {
            self.world.disk.put(host, path, files.clone());
        }
        let (token, spec) = (self.plans[plan].token, self.plans[plan].spec.clone());
        self.asked.insert(token, proc);
        self.world.command(proc, 0, Command::Executor(Box::new(ExecutorCommand::Publish { token, spec })));
    }

    /// A node says that all is closed, amid work or in the end: what it holds by then, nobody would let go of.
    fn stopped(&mut self, proc: ProcId) -> Result<(), Failure> {
        self.holds_nothing(proc)?;
        if let Some(at) = self.nodes.iter().position(|node| node.proc == Some(proc)) {
            self.nodes[at].stopped = true;
            self.gone(at);
        }
        Ok(())
    }
}
