//! What faults hit. The part of the world that breaks says so; which rows that were is looked up before any machine goes on.

use super::{Marks, is_link};
use crate::context::{HostId, ProcId};
use crate::fault::Fault;
use xxnet_core::net::NetAction;
use xxnet_core::process::ProcessAction;
use xxnet_core::states::{Key, LineState};
use xxnet_core::{LinkId, TaskId};

/// What a fault hits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    /// All of a process.
    Proc(ProcId),
    /// All of a host.
    Host(HostId),
    /// A link, and what hangs on its connection.
    Link(ProcId, LinkId),
    /// All links between two hosts.
    Way(HostId, HostId),
    /// A process that looks a name up.
    LookUp(ProcId),
    /// What a process has of a task.
    Task(ProcId, TaskId),
    /// A disk request, by its kind.
    Disk(usize),
}

/// Faults that have struck since somebody looked, and what each has hit.
#[derive(Debug, Default)]
pub(crate) struct Hits {
    /// Whether anybody will look.
    pub(crate) watched: bool,
    all: Vec<(Fault, Vec<Target>)>,
}

impl Hits {
    /// A fault strikes.
    pub(crate) fn fault(&mut self, fault: Fault) {
        if self.watched {
            self.all.push((fault, Vec::new()));
        }
    }

    /// The last one hits this.
    pub(crate) fn at(&mut self, target: Target) {
        if let Some((_, targets)) = self.all.last_mut() {
            targets.push(target);
        }
    }

    /// Whether any has hit nothing yet.
    pub(crate) fn is_open(&self) -> bool {
        self.all.iter().any(|(_, targets)| targets.is_empty())
    }

    /// All that have hit nothing yet hit these.
    pub(crate) fn all_at(&mut self, hit: impl IntoIterator<Item = Target>) {
        if self.is_open() {
            let hit: Vec<Target> = hit.into_iter().collect();
            let open = self.all.iter_mut().filter(|(_, targets)| targets.is_empty());
            open.for_each(|(_, targets)| targets.clone_from(&hit));
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    pub(crate) fn take(&mut self) -> Vec<(Fault, Vec<Target>)> {
        core::mem::take(&mut self.all)
    }
}

/// What a request to the network is about, for faults that strike it at once.
pub(crate) fn target(proc: ProcId, action: &NetAction) -> Option<Target> {
    match action {
        NetAction::Resolve { .. } => Some(Target::LookUp(proc)),
        NetAction::Accept { .. } => Some(Target::Proc(proc)),
        NetAction::Dial { link, .. }
        | NetAction::Send { link, .. }
        | NetAction::Recv { link, .. }
        | NetAction::Shutdown { link }
        | NetAction::Close { link } => Some(Target::Link(proc, *link)),
        NetAction::Listen { .. } | NetAction::Unlisten { .. } => None,
    }
}

/// The same of a command.
pub(crate) fn task(proc: ProcId, action: &ProcessAction) -> Option<Target> {
    match action {
        ProcessAction::Spawn { spec, .. } => Some(Target::Task(proc, spec.folder.task)),
        _ => None,
    }
}

impl Marks {
    /// A fault has hit something; `on`: the processes of a host, `between`: the links between two.
    pub(crate) fn hit(
        &mut self,
        fault: Fault,
        target: Target,
        on: impl Fn(HostId) -> Vec<ProcId>,
        between: impl Fn(HostId, HostId) -> Vec<(ProcId, LinkId)>,
    ) {
        match target {
            Target::Proc(proc) => self.strike(fault, proc, |_| true),
            Target::Host(host) => on(host).into_iter().for_each(|proc| self.strike(fault, proc, |_| true)),
            Target::Link(proc, link) => self.strike_link(fault, proc, link),
            Target::Way(from, to) => {
                between(from, to).into_iter().for_each(|(proc, link)| self.strike_link(fault, proc, link));
            }
            Target::LookUp(proc) => {
                let waits = LineState::Resolving.into();
                let mut view = self.views.get(&proc).into_iter().flatten();
                let Some(on) = view.find(|row| row.state == waits).and_then(|row| row.on) else { return };
                self.strike(fault, proc, |row| row.on == Some(on) && !is_link(row));
            }
            Target::Task(proc, task) => self.strike(fault, proc, |row| row.key == Key::Task(task)),
            Target::Disk(request) => self.slow[request] += u32::from(fault == Fault::SlowDisk),
        }
    }
}
