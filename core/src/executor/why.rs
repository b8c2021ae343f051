//! Questions that only the publisher can answer: cancel, and what a task waits for.

use super::publisher::{Attempt, Task, TaskTimer};
use super::{Executor, Out};
use crate::message::{EndKind, Question, Reply, WaitReason, WhyRow};
use crate::{Instant, TaskId, TaskName};
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::time::Duration;

impl Executor {
    pub(super) fn answer(&mut self, now: Instant, question: &Question, out: &mut Out) -> Reply {
        match question {
            Question::Cancel(name) => match self.named(name) {
                Some(id) => match self.publisher.ended(id) {
                    Some(EndKind::Cancelled) => Reply::Cancelled(id),
                    Some(how) => Reply::AlreadyEnded(id, how),
                    None => {
                        self.cancel(now, id, out);
                        Reply::Cancelled(id)
                    }
                },
                None => Reply::NoSuchTask,
            },
            Question::Why(name) => match self.named(name) {
                Some(id) => match (self.publisher.ended(id), self.publisher.peek(id)) {
                    (Some(how), _) => Reply::AlreadyEnded(id, how),
                    (None, Some(task)) => Reply::Why(self.why(now, id, task)),
                    (None, None) => Reply::NoSuchTask,
                },
                None => Reply::NoSuchTask,
            },
            Question::Nodes | Question::Tasks | Question::Labels => Reply::NoSuchTask,
        }
    }

    /// The task of ours, living or remembered, that has this name.
    fn named(&self, name: &TaskName) -> Option<TaskId> {
        let id = TaskId { publisher: self.config.instance, number: name.number };
        let known = self.publisher.peek(id).is_some() || self.publisher.ended(id).is_some();
        (known && name.matches(id)).then_some(id)
    }

    fn why(&self, now: Instant, id: TaskId, task: &Task) -> WhyRow {
        let until = |timer| self.publisher.timers.at(&(id, timer)).map(|at| micros(at.since(now)));
        let living = task.current.as_ref().filter(|held| !held.lapsed);
        let (state, waits_for, until, then) = match living {
            Some(held) => {
                let (state, waits_for) = held_text(held, task);
                let then = format!(
                    "if {} is not heard until then, the task is given to another executor",
                    held.name
                );
                (state, waits_for, until(TaskTimer::Lease), then)
            }
            None => {
                let then = match task.spec.patience {
                    Some(_) => "the task expires",
                    None => "it waits as long as it takes",
                };
                let state = if task.opening > 0 { "reading its inputs" } else { "waiting for an executor" };
                (state.to_string(), waiting_text(task), until(TaskTimer::Patience), then.to_string())
            }
        };
        WhyRow {
            task: id,
            state,
            waits_for,
            since: micros(now.since(task.since)),
            until,
            then,
            attempts: task.lost.clone(),
        }
    }
}

fn held_text(held: &Attempt, task: &Task) -> (String, String) {
    let name = &held.name;
    match &held.result {
        Some(result) => {
            let missing: Vec<_> = result.outputs.iter().filter(|output| output.is_none()).collect();
            let of = result.outputs.len();
            (
                format!("finished on {name}"),
                format!("{} of {of} results that are still on their way", missing.len()),
            )
        }
        None if held.running => (format!("running on {name}"), "the command to end".to_string()),
        None if task.spec.inputs.is_empty() => {
            (format!("starting on {name}"), "the command to be started".to_string())
        }
        None => (format!("fetching its inputs on {name}"), "the inputs to arrive there".to_string()),
    }
}

fn waiting_text(task: &Task) -> String {
    match task.waiting {
        None => "a registry to find an executor".to_string(),
        Some(WaitReason::NoExecutor) => "an executor with slots to register".to_string(),
        Some(WaitReason::NoFreeSlot) => "a free slot: all are taken".to_string(),
        Some(WaitReason::Proposed(to)) => format!("executor {to} to claim it"),
        Some(WaitReason::AllAvoided) => {
            "another executor to register: it failed on each of those that are there".to_string()
        }
        Some(WaitReason::NeedsUnmet) => {
            let needs: Vec<_> = task.spec.needs.iter().map(ToString::to_string).collect();
            format!("an executor to register that has {}", needs.join(" and "))
        }
    }
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}
