//! Watching what a world reaches: its machines' rows, and what faults hit.

use super::World;
use crate::context::ProcId;
use crate::marks::{Marks, Moment, Reach, Seen};
use crate::process::{RunItem, RunKey};

impl World {
    /// Watches from now on what is reached.
    pub(crate) fn watch(&mut self) {
        self.marks = Some(Marks::new());
        self.ctx.hits.watched = true;
        let procs: Vec<ProcId> = self.procs.iter().map(|(id, _)| id).collect();
        procs.into_iter().for_each(|proc| self.look(proc));
    }

    /// Also keeps when each state was come to.
    pub(crate) fn keep_moments(&mut self) {
        self.watch();
        self.marks.iter_mut().for_each(|marks| marks.moments = Some(Vec::new()));
    }

    /// These moments.
    pub(crate) fn moments(&mut self) -> Vec<Moment> {
        self.marks.as_mut().and_then(|marks| marks.moments.take()).unwrap_or_default()
    }

    /// What was reached so far.
    pub(crate) fn seen(&mut self) -> Seen {
        self.judge_hits();
        self.marks.as_ref().map(|marks| marks.seen(&self.ctx.counts)).unwrap_or_default()
    }

    /// A machine has begun or is gone.
    pub(super) fn look(&mut self, proc: ProcId) {
        let Some(marks) = &mut self.marks else { return };
        match self.procs.get(proc).and_then(|proc| proc.brain.as_deref()) {
            Some(brain) => marks.look((self.ctx.now, proc), brain, Reach::All, &[]),
            None => marks.forget(proc),
        }
    }

    /// What faults have hit, before any machine goes on.
    pub(super) fn judge_hits(&mut self) {
        let (Some(marks), false) = (&mut self.marks, self.ctx.hits.is_empty()) else { return };
        let (procs, net) = (&self.procs, &self.net);
        let on = |host| procs.iter().filter(|(_, proc)| proc.host == host).map(|(id, _)| id).collect();
        for (fault, targets) in self.ctx.hits.take() {
            for target in targets {
                marks.hit(fault, target, on, |from, to| net.links_between(from, to));
            }
        }
    }
}

/// Which run something is about.
pub(super) fn run_of(item: &RunItem) -> Option<RunKey> {
    match item {
        RunItem::Start(run) | RunItem::Awake(run) | RunItem::Deadline(run) | RunItem::Reaped(run) => {
            Some(*run)
        }
        RunItem::Orphaned(_) | RunItem::Released(_) => None,
    }
}
