//! Commands as a machine sees them, under the same contract: what it asks of runs that are there, and what they answer.

use super::source::Source;
use bytes::Bytes;
use std::collections::BTreeMap;
use xxnet_core::RunId;
use xxnet_core::process::{ExitStatus, ProcessAction, ProcessEvent, SpawnError, Stream};

/// All runs that are not over.
#[derive(Debug, Default)]
pub(super) struct Runs {
    all: BTreeMap<RunId, Run>,
    last: u64,
}

#[derive(Debug, Default)]
struct Run {
    spawned: bool,
    stdin: bool,
    input_closed: bool,
    exited: bool,
    killed: bool,
    reads: [Option<usize>; 2],
    ended: [bool; 2],
    write: bool,
}

impl Run {
    /// Whether nothing can be asked of it any more.
    fn is_over(&self) -> bool {
        self.exited && self.reads == [None; 2] && !self.write
    }
}

impl Runs {
    pub(super) fn len(&self) -> usize {
        self.all.values().filter(|run| !run.exited).count()
    }

    /// The machine asks something about a run.
    pub(super) fn asked(&mut self, action: &ProcessAction) {
        match action {
            ProcessAction::Spawn { run, spec, .. } => {
                assert!(run.0 > self.last, "{run} is used again");
                assert!(!spec.argv.is_empty(), "{run} has no command");
                self.last = run.0;
                self.all.insert(*run, Run { stdin: spec.stdin, ..Run::default() });
            }
            // Harmless of one that has ended.
            ProcessAction::Extend { run, .. } => assert!(run.0 <= self.last),
            ProcessAction::Kill { run } => {
                assert!(run.0 <= self.last);
                if let Some(run) = self.all.get_mut(run) {
                    run.killed = true;
                }
            }
            ProcessAction::ReadOutput { run, stream, max } => {
                assert!(*max >= 1, "an empty read of {run}");
                let at = self.at(*run, action);
                assert!(at.reads[stream.index()].is_none(), "a second read of {run}");
                assert!(!at.ended[stream.index()], "a read of {run} behind its end");
                at.reads[stream.index()] = Some(*max);
            }
            ProcessAction::WriteInput { run, data } => {
                assert!(!data.is_empty(), "nothing to write to {run}");
                let at = self.at(*run, action);
                assert!(at.stdin && !at.write && !at.input_closed, "a write to {run}: {at:?}");
                at.write = true;
            }
            ProcessAction::CloseInput { run } => {
                let at = self.at(*run, action);
                assert!(at.stdin && !at.write, "the input of {run} is closed: {at:?}");
                at.input_closed = true;
            }
        }
    }

    fn at(&mut self, run: RunId, action: &ProcessAction) -> &mut Run {
        self.all
            .get_mut(&run)
            .filter(|run| run.spawned)
            .unwrap_or_else(|| panic!("{action:?}: it has not been started, or is long over"))
    }

    /// What one of the runs does next, well if nothing speaks against it.
    pub(super) fn next(&mut self, source: &mut Source<'_>) -> Option<ProcessEvent> {
        let ids: Vec<RunId> = self.all.keys().copied().collect();
        if ids.is_empty() {
            return None;
        }
        let id = source.one(&ids);
        let choice = source.byte();
        let event = self.event(id, choice);
        self.all.retain(|_, run| !run.is_over() || run.ended != [true; 2]);
        event
    }

    /// What must happen of itself: a start is answered, a killed run ends, what is outstanding on an ended one completes.
    pub(super) fn due(&mut self, all: bool) -> Option<ProcessEvent> {
        let due = |run: &Run| {
            !run.spawned || (!run.exited && (run.killed || all)) || (run.exited && !run.is_over())
        };
        let id = self.all.iter().find_map(|(id, run)| due(run).then_some(*id))?;
        self.event(id, if self.all[&id].exited { 2 } else { 0 })
    }

    fn event(&mut self, run: RunId, choice: u8) -> Option<ProcessEvent> {
        let at = self.all.get_mut(&run)?;
        if !at.spawned {
            if choice % 4 == 3 {
                self.all.remove(&run);
                let errors = [SpawnError::NotFound, SpawnError::Late, SpawnError::System(7)];
                return Some(ProcessEvent::SpawnFailed { run, error: errors[usize::from(choice / 4) % 3] });
            }
            at.spawned = true;
            return Some(ProcessEvent::Spawned { run });
        }
        let stream = Stream::BOTH[usize::from(choice / 8 % 2)];
        match choice % 8 {
            0 if !at.exited => {
                at.exited = true;
                let status = match choice {
                    0..=127 => ExitStatus::Code(0),
                    _ => ExitStatus::Signal(9),
                };
                return Some(ProcessEvent::Exited { run, status });
            }
            1 | 3 | 5 if !at.exited => {
                let max = at.reads[stream.index()].take()?;
                let data = Bytes::from(vec![b'o'; usize::from(choice).min(max).max(1)]);
                return Some(ProcessEvent::Output { run, stream, data });
            }
            4 | 6 if at.write && !at.exited => {
                at.write = false;
                return Some(ProcessEvent::InputTaken { run });
            }
            _ => {}
        }
        if at.write && (at.exited || choice % 8 == 7) {
            at.write = false;
            return Some(ProcessEvent::InputClosed { run });
        }
        let stream = Stream::BOTH.into_iter().find(|stream| at.reads[stream.index()].is_some())?;
        at.reads[stream.index()] = None;
        at.ended[stream.index()] = true;
        Some(ProcessEvent::OutputEnded { run, stream })
    }
}
