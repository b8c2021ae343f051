//! The promises of the whole, each checked as things happen.
//!
//! | oracle | promise |
//! | --- | --- |
//! | `copies` | never two live copies of a task, but for the second that a woken supervisor needs |
//! | `stale-start` | no attempt starts once a newer one is granted, or its task is done |
//! | `slots` | no executor runs more commands than it has slots |
//! | `needs` | no task starts on an executor without the labels that it needs |
//! | `ended-once` | a task ends at its publisher exactly once |
//! | `late-result` | a result comes from the attempt that was granted last |
//! | `result` | what comes back is what the command made, byte for byte |
//! | `output` | standard output and error come in order, without gap or repetition within an attempt |
//! | `callback` | each callback fires exactly once |
//! | `excuse` | a file that does not come is said to have a fault that was injected: no bytes mismatch where no bit was flipped |
//! | `calm` | without faults, every task ends as its command says |
//!
//! Those of an hour without a registry stand in `outage.rs`, those of a crowd in `crowd.rs`.
//!
//! What must be true in the end (`ends`, `callbacks-fire`, `leak`, `unfinished`, `stops`, `probe`) is asked by the scenario.

pub(crate) mod crowd;
pub(crate) mod outage;
mod result;

use crate::clock::{Micros, SECOND};
use crate::context::ProcId;
use crate::failure::{Failure, FailureKind};
use crate::fault::{Counts, Fault};
use crate::process::Live;
use crate::workload::TaskPlan;
use crate::world::World;
use bytes::BytesMut;
use std::collections::{BTreeMap, BTreeSet};
use xxnet_core::disk::FileErrorKind;
use xxnet_core::executor::{Ending, ExecutorNotice, FileStep};
use xxnet_core::message::EndKind;
use xxnet_core::needs::Label;
use xxnet_core::process::Stream;
use xxnet_core::{AttemptNumber, CallbackId, TaskId};

/// A task as its publisher's application sees it.
#[derive(Debug)]
pub(crate) struct Published {
    pub(crate) plan: usize,
    pub(crate) proc: ProcId,
    /// The newest attempt and who has it.
    pub(crate) granted: Option<(AttemptNumber, String)>,
    pub(crate) output: [BytesMut; 2],
    pub(crate) output_of: AttemptNumber,
    pub(crate) input_given: usize,
    pub(crate) ended: Option<Ending>,
}

/// How often a callback was asked for and has fired.
#[derive(Clone, Copy, Debug, Default)]
struct Called {
    asked: u32,
    fired: u32,
}

/// Everything that the oracles remember.
#[derive(Debug, Default)]
pub(crate) struct Oracles {
    pub(crate) outage: outage::Outage,
    pub(crate) tasks: BTreeMap<TaskId, Published>,
    callbacks: BTreeMap<(ProcId, CallbackId), Called>,
    /// Attempts that an executor holds.
    held: BTreeSet<(ProcId, TaskId, AttemptNumber)>,
    /// Runs of each task, ever.
    pub(crate) runs: BTreeMap<TaskId, u32>,
    executors: BTreeMap<ProcId, (u32, Vec<Label>)>,
    /// Endings by kind: done, failed, cancelled, expired.
    pub(crate) endings: [u64; 4],
    /// File requests that were answered with the file.
    pub(crate) delivered: u64,
    /// File requests that shared the transfer of another.
    pub(crate) shared: u64,
}

/// A woken supervisor needs so long.
pub(crate) const AFTER_WAKING: Micros = SECOND;

/// Why nothing in this run can have brought an error about.
fn unexcused(error: FileErrorKind, counts: &Counts) -> Option<&'static str> {
    let none = |kinds: &[Fault]| kinds.iter().all(|kind| counts.of(*kind) == 0);
    match error {
        FileErrorKind::Mismatch | FileErrorKind::BadManifest => {
            none(&[Fault::BitFlip]).then_some("no bit was flipped")
        }
        FileErrorKind::Changed => none(&[Fault::Changed]).then_some("no source has changed"),
        FileErrorKind::NoSpace => {
            none(&[Fault::NoSpaceBefore, Fault::NoSpaceDuring]).then_some("there was space")
        }
        FileErrorKind::PermissionDenied => none(&[Fault::Unreadable]).then_some("all can be read"),
        FileErrorKind::Special | FileErrorKind::Escapes | FileErrorKind::InTheWay => {
            Some("there is nothing of that kind")
        }
        // A link that is reset, and both ends notice, is replaced at once.
        FileErrorKind::TimedOut => {
            let harmless = [Fault::ResetBoth, Fault::Cancel, Fault::DoubledCommand, Fault::SpuriousTick];
            let hindered = Fault::ALL.iter().any(|kind| counts.of(*kind) > 0 && !harmless.contains(kind));
            (!hindered).then_some("nothing stood in its way for long")
        }
        FileErrorKind::NotFound
        | FileErrorKind::Disconnected
        | FileErrorKind::Unreachable
        | FileErrorKind::Cancelled
        | FileErrorKind::UnknownConnection
        | FileErrorKind::UnknownFile
        | FileErrorKind::Busy
        | FileErrorKind::System(_) => None,
    }
}

impl Oracles {
    /// An executor that may run so many commands at once, and says this of itself.
    pub(crate) fn executor(&mut self, proc: ProcId, slots: u32, labels: Vec<Label>) {
        self.executors.insert(proc, (slots, labels));
    }

    /// A process has died: what it alone knew is over.
    pub(crate) fn died(&mut self, proc: ProcId) {
        self.callbacks.retain(|(owner, _), _| *owner != proc);
        self.held.retain(|(owner, ..)| *owner != proc);
    }

    /// Commands that have just started.
    pub(crate) fn started(
        &mut self,
        world: &World,
        plans: &[TaskPlan],
        started: &[Live],
    ) -> Result<(), Failure> {
        for live in started {
            let (proc, task) = (live.key.0, live.folder.task);
            *self.runs.entry(task).or_default() += 1;
            let safety = |oracle, what| Err(world.failure(proc, FailureKind::Safety, oracle, what));
            let (slots, labels) =
                self.executors.get(&proc).map_or((0, [].as_slice()), |(slots, labels)| (*slots, labels));
            if let Some(published) = self.tasks.get(&task) {
                let mut needs = plans[published.plan].spec.needs.iter();
                if let Some(need) = needs.find(|need| !need.is_met_by(labels)) {
                    return safety("needs", format!("{task} needs {need} and starts where there is none"));
                }
                if matches!(published.ended, Some(Ending::Done { .. })) {
                    return safety("stale-start", format!("{task} starts again, although it is done"));
                }
                if let Some((newest, who)) = &published.granted
                    && *newest > live.folder.attempt
                {
                    let old = live.folder.attempt;
                    return safety(
                        "stale-start",
                        format!("{old} of {task} starts after {newest} was granted to {who}"),
                    );
                }
            }
            let slots = slots as usize;
            let running = world.processes.live().filter(|other| other.key.0 == proc).count();
            if running > slots {
                return safety("slots", format!("{running} commands run on {slots} slots"));
            }
        }
        self.copies(world)
    }

    /// Never two live copies.
    pub(crate) fn copies(&self, world: &World) -> Result<(), Failure> {
        let now = world.ctx.now;
        let mut seen: BTreeMap<TaskId, Live> = BTreeMap::new();
        for live in world.processes.live() {
            let host = world.ctx.host(live.host);
            // A command on a sleeping host does nothing; its supervisor has a second once it wakes.
            if host.asleep || host.woke.is_some_and(|woke| now < woke + AFTER_WAKING) {
                continue;
            }
            let task = live.folder.task;
            if let Some(first) = seen.insert(task, live) {
                let (one, two) = (world.name(first.key.0), world.name(live.key.0));
                let (a, b) = (first.folder.attempt, live.folder.attempt);
                let what = format!("{task} lives twice: {a} on {one} and {b} on {two}");
                return Err(world.failure(live.key.0, FailureKind::Safety, "copies", what));
            }
        }
        Ok(())
    }

    /// An executor, publisher or worker, says something.
    pub(crate) fn notice(
        &mut self,
        world: &World,
        plans: &[TaskPlan],
        proc: ProcId,
        notice: &ExecutorNotice,
    ) -> Result<(), Failure> {
        let safety = |oracle, what: String| Err(world.failure(proc, FailureKind::Safety, oracle, what));
        match notice {
            ExecutorNotice::Published { token, task } => {
                let Some(plan) = plans.iter().position(|plan| plan.token == *token) else {
                    return safety("ended-once", format!("{token} was never given"));
                };
                let entry = Published {
                    plan,
                    proc,
                    granted: None,
                    output: [BytesMut::new(), BytesMut::new()],
                    output_of: AttemptNumber(0),
                    input_given: 0,
                    ended: None,
                };
                if self.tasks.insert(*task, entry).is_some() {
                    return safety("ended-once", format!("{task} is published twice"));
                }
            }
            ExecutorNotice::Granted { task, attempt, name, .. } => {
                let Some(published) = self.tasks.get_mut(task) else { return Ok(()) };
                if published.ended.is_some() {
                    return safety("late-result", format!("{task} is granted after its end"));
                }
                if published.granted.as_ref().is_some_and(|(newest, _)| newest >= attempt) {
                    return safety("late-result", format!("{attempt} of {task} is granted again"));
                }
                published.granted = Some((*attempt, name.clone()));
            }
            ExecutorNotice::Output { task, attempt, stream, offset, data } => {
                self.output(*task, *attempt, *stream, *offset, data)
                    .or_else(|what| safety("output", what))?;
            }
            ExecutorNotice::Ended { task, ending } => self.ended(world, plans, proc, *task, ending)?,
            ExecutorNotice::FileStep {
                step: step @ (FileStep::Requested | FileStep::Shared),
                callback,
                ..
            } => {
                self.shared += u64::from(*step == FileStep::Shared);
                self.callbacks.entry((proc, *callback)).or_default().asked += 1;
            }
            ExecutorNotice::Callback { callback, result, .. } => {
                let called = self.callbacks.entry((proc, *callback)).or_default();
                called.fired += 1;
                if called.fired > 1 {
                    return safety("callback", format!("{callback} fires {} times", called.fired));
                }
                // A test's own hands are no fault that is counted.
                let alone = world.tap.is_none();
                if let (Err(error), true) = (result, alone)
                    && let Some(missing) = unexcused(error.kind, &world.ctx.counts)
                {
                    return safety("excuse", format!("{callback} brings {error}, but {missing}"));
                }
                if result.is_ok() {
                    self.delivered += 1;
                    if called.asked == 0 {
                        return safety("callback", format!("{callback} fires with a file nobody asked for"));
                    }
                }
            }
            ExecutorNotice::AttemptGranted { task, attempt, .. } => {
                self.held.insert((proc, *task, *attempt));
            }
            ExecutorNotice::AttemptDone { task, attempt }
            | ExecutorNotice::AttemptStopped { task, attempt, .. }
                if !self.held.remove(&(proc, *task, *attempt)) =>
            {
                return safety("ended-once", format!("{attempt} of {task} ends here without a grant"));
            }
            // The rest is for people; nothing is promised that another oracle does not see.
            _ => {}
        }
        Ok(())
    }

    fn output(
        &mut self,
        task: TaskId,
        attempt: AttemptNumber,
        stream: Stream,
        offset: u64,
        data: &[u8],
    ) -> Result<(), String> {
        let Some(published) = self.tasks.get_mut(&task) else {
            return Err(format!("output of {task}, which nobody published"));
        };
        let newest = published.granted.as_ref().map_or(AttemptNumber(0), |(newest, _)| *newest);
        if attempt != newest {
            return Err(format!("output of {attempt} of {task}, but {newest} is current"));
        }
        if published.ended.is_some() {
            return Err(format!("output of {task} after its end"));
        }
        if published.output_of != attempt {
            published.output_of = attempt;
            published.output.iter_mut().for_each(BytesMut::clear);
        }
        let have = &mut published.output[stream.index()];
        if offset != have.len() as u64 {
            return Err(format!("{stream:?} of {task} goes on at {offset} after {} bytes", have.len()));
        }
        have.extend_from_slice(data);
        Ok(())
    }

    fn ended(
        &mut self,
        world: &World,
        plans: &[TaskPlan],
        proc: ProcId,
        task: TaskId,
        ending: &Ending,
    ) -> Result<(), Failure> {
        let safety = |oracle, what: String| Err(world.failure(proc, FailureKind::Safety, oracle, what));
        let Some(published) = self.tasks.get_mut(&task).filter(|published| published.proc == proc) else {
            return safety("ended-once", format!("{task} ends at a node that never published it"));
        };
        if let Some(before) = &published.ended {
            return safety("ended-once", format!("{task} ends {ending:?} after it has ended {before:?}"));
        }
        published.ended = Some(ending.clone());
        self.endings[match ending.kind() {
            EndKind::Done => 0,
            EndKind::Failed => 1,
            EndKind::Cancelled => 2,
            EndKind::Expired => 3,
        }] += 1;
        let plan = &plans[published.plan];
        result::check(world, plan, published, ending)
            .or_else(|(oracle, what)| safety(oracle, format!("{task}: {what}")))
    }

    /// Tasks of living publishers that have not ended.
    pub(crate) fn open(&self, world: &World) -> Vec<TaskId> {
        let open = self.tasks.iter().filter(|(_, task)| task.ended.is_none() && world.is_alive(task.proc));
        open.map(|(id, _)| *id).collect()
    }

    /// Callbacks and attempts that living processes still owe.
    pub(crate) fn owed(&self) -> Option<(ProcId, String)> {
        let silent = self.callbacks.iter().find(|(_, called)| called.fired == 0);
        let callback = silent.map(|((proc, id), _)| (*proc, format!("{id} was asked for and never fired")));
        let held = self.held.first();
        callback.or(held.map(|(proc, task, number)| (*proc, format!("{number} of {task} never ended here"))))
    }
}
