//! The smallest driver: a poll, the backend, and what it said.

use mio::{Events, Poll};
use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant as Wall};
use xxnet_core::process::{ExitStatus, ProcessAction, ProcessEvent, RunSpec, SpawnError, Stream};
use xxnet_core::{AttemptNumber, FolderId, InstanceId, Instant, RunId, TaskId};
pub(crate) use xxnet_runtime_mio::clock::now;
use xxnet_runtime_mio::process::Processes;
use xxnet_runtime_mio::supervisor::Supervisor;

/// Long enough for a loaded machine; nothing waits for it when all is well.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) struct Rig {
    poll: Poll,
    pub(crate) processes: Processes,
    pub(crate) folder: PathBuf,
    _temporary: Option<tempfile::TempDir>,
    out: VecDeque<ProcessEvent>,
    next: u64,
}

/// All that a run said.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Outcome {
    pub(crate) status: Option<ExitStatus>,
    pub(crate) error: Option<SpawnError>,
    pub(crate) output: [Vec<u8>; 2],
}

impl Outcome {
    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.output[0]).unwrap()
    }
}

pub(crate) fn spec(argv: &[&str]) -> RunSpec {
    let task = TaskId { publisher: InstanceId([0xab; 16]), number: 7 };
    RunSpec {
        argv: argv.iter().map(|argument| argument.as_bytes().to_vec()).collect(),
        env: Vec::new(),
        folder: FolderId { task, attempt: AttemptNumber(3) },
        stdin: false,
    }
}

impl Rig {
    /// With a folder of its own.
    pub(crate) fn new(supervisor: Supervisor) -> Self {
        let temporary = tempfile::tempdir().unwrap();
        let folder = temporary.path().to_owned();
        Self { _temporary: Some(temporary), ..Self::within(supervisor, folder) }
    }

    /// With a folder that somebody else removes.
    pub(crate) fn within(supervisor: Supervisor, folder: PathBuf) -> Self {
        let poll = Poll::new().unwrap();
        let mut processes = Processes::new(supervisor);
        processes.attach(poll.registry().try_clone().unwrap()).unwrap();
        Self { poll, processes, folder, _temporary: None, out: VecDeque::new(), next: 0 }
    }

    pub(crate) fn act(&mut self, action: ProcessAction) {
        self.act_at(now(), action);
    }

    pub(crate) fn act_at(&mut self, now: Instant, action: ProcessAction) {
        let folder = self.folder.clone();
        self.processes.act(now, action, &|_| folder.clone(), &mut self.out);
    }

    /// Starts a command that has a minute.
    pub(crate) fn spawn(&mut self, spec: RunSpec) -> RunId {
        self.spawn_until(spec, now() + Duration::from_secs(60))
    }

    pub(crate) fn spawn_until(&mut self, spec: RunSpec, deadline: Instant) -> RunId {
        let run = RunId::next(&mut self.next);
        self.act(ProcessAction::Spawn { run, spec, deadline });
        run
    }

    pub(crate) fn arm(&mut self, run: RunId, stream: Stream) {
        self.act(ProcessAction::ReadOutput { run, stream, max: 64 << 10 });
    }

    /// The next thing that happens within a time.
    pub(crate) fn event_within(&mut self, time: Duration) -> Option<ProcessEvent> {
        let end = Wall::now() + time;
        let mut events = Events::with_capacity(64);
        loop {
            if let Some(event) = self.out.pop_front() {
                return Some(event);
            }
            let left = end.saturating_duration_since(Wall::now());
            if left.is_zero() {
                return None;
            }
            match self.poll.poll(&mut events, Some(left)) {
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                other => other.unwrap(),
            }
            for event in &events {
                self.processes.ready(event, &mut self.out);
            }
            if self.processes.supervisor_gone() && self.out.is_empty() {
                return None;
            }
        }
    }

    pub(crate) fn event(&mut self) -> ProcessEvent {
        self.event_within(PATIENCE).expect("something happens")
    }

    pub(crate) fn expect(&mut self, expected: ProcessEvent) {
        assert_eq!(self.event(), expected);
    }

    pub(crate) fn spawned(&mut self, spec: RunSpec) -> RunId {
        let run = self.spawn(spec);
        self.expect(ProcessEvent::Spawned { run });
        run
    }

    /// Reads both streams to their ends and waits for the exit of a run that was just started.
    pub(crate) fn finish(&mut self, run: RunId) -> Outcome {
        let mut outcome = Outcome::default();
        let mut ends = 0;
        while outcome.status.is_none() || ends < 2 {
            match self.event() {
                ProcessEvent::Spawned { run: about } => {
                    assert_eq!(about, run);
                    Stream::BOTH.into_iter().for_each(|stream| self.arm(run, stream));
                }
                ProcessEvent::SpawnFailed { run: about, error } => {
                    assert_eq!(about, run);
                    outcome.error = Some(error);
                    return outcome;
                }
                ProcessEvent::Output { run: about, stream, data } => {
                    assert_eq!(about, run);
                    assert!(!data.is_empty());
                    outcome.output[stream.index()].extend_from_slice(&data);
                    self.arm(run, stream);
                }
                ProcessEvent::OutputEnded { .. } => ends += 1,
                ProcessEvent::Exited { status, .. } => assert_eq!(outcome.status.replace(status), None),
                other => panic!("unexpected {other:?}"),
            }
        }
        outcome
    }

    /// The same for one whose start was told.
    pub(crate) fn finish_started(&mut self, run: RunId) -> Outcome {
        Stream::BOTH.into_iter().for_each(|stream| self.arm(run, stream));
        self.finish(run)
    }

    pub(crate) fn run(&mut self, argv: &[&str]) -> Outcome {
        let run = self.spawn(spec(argv));
        self.finish(run)
    }

    pub(crate) fn sh(&mut self, script: &str) -> Outcome {
        self.run(&["sh", "-c", script])
    }

    /// Waits for the exit alone; what the streams say is passed over, their ends too.
    pub(crate) fn exited(&mut self, run: RunId) -> ExitStatus {
        loop {
            match self.event() {
                ProcessEvent::Exited { run: about, status } if about == run => {
                    // The ends of streams without a rest come with the exit.
                    let ends = Stream::BOTH.map(|stream| ProcessEvent::OutputEnded { run, stream });
                    self.out.retain(|event| !ends.contains(event));
                    return status;
                }
                ProcessEvent::Output { .. }
                | ProcessEvent::OutputEnded { .. }
                | ProcessEvent::Spawned { .. } => {}
                other => panic!("unexpected {other:?}"),
            }
        }
    }

    /// Waits for a file that a command makes.
    pub(crate) fn wait_for(&mut self, name: &str) {
        wait_for(&self.folder.join(name));
    }
}

pub(crate) fn wait_for(path: &Path) {
    until(&format!("{} is there", path.display()), || path.exists());
}

/// Polls for something that only the system knows.
pub(crate) fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let end = Wall::now() + PATIENCE;
    while !condition() {
        assert!(Wall::now() < end, "waited in vain: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}
