//! The executor machine: publishes tasks, runs tasks, serves and fetches files.
//!
//! Parts that do not know each other, and this folder's `route_*` files, which alone route between them:
//!
//! | part | what it holds |
//! | --- | --- |
//! | `registrations` | one connection a registry, dialled for ever |
//! | `peers` | task and file connections to other executors |
//! | `publisher` | our tasks and who holds them: the lock server (PROTOCOL A1 to A10) |
//! | `worker` | proposals, claims, the attempts that we hold |
//! | `fetch` | files on their way to us: pending callbacks and their windows |
//! | `service` | files that we serve |
//! | `probe` | whether an executor whose link has ended is dead |

mod fetch;
mod notice;
mod ops;
mod output;
mod peers;
mod probe;
mod publisher;
mod registrations;
mod route_attempts;
mod route_files;
mod route_links;
mod route_messages;
mod route_results;
mod route_streams;
mod route_tasks;
mod service;
mod stdin;
#[cfg(test)]
mod tests;
mod why;
mod worker;

pub use notice::{
    Ending, ExecutorCommand, ExecutorNotice, FileStep, InputFile, OutputFile, PublishError, TaskSpec,
    TaskStep,
};

use crate::config::{ClusterKey, Config, ExecutorConfig};
use crate::connection::{ConnectionKind, ConnectionManager, KindId, LinkRule, Role};
use crate::disk::{DiskDone, DiskEvent, FileError};
use crate::machine::{Actions, Event, Machine};
use crate::message::{FileRequest, Message};
use crate::process::ProcessEvent;
use crate::random::Random;
use crate::state::Kept;
use crate::states::{ExecutorState, Key, Row};
use crate::time::earliest;
use crate::{ConnectionId, Instant, RunId};
use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::net::SocketAddr;
use fetch::Fetches;
use ops::{Op, Ops};
use peers::Peers;
use probe::Probes;
use publisher::Publisher;
use registrations::Registrations;
use serde::{Deserialize, Serialize};
use service::FileService;
use worker::Worker;

type Out = Actions<ExecutorNotice>;

/// Our listening connection's kind; never on the wire.
const LISTENER: KindId = KindId(6);

/// Whether the machine takes on new things.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
enum Stage {
    /// Before `Start`.
    New,
    Running,
    /// `Shutdown` was asked: attempts and files are being ended.
    Ending,
    /// Nothing is left but connections that send their rest.
    Closing,
    Stopped,
}

/// Publishes tasks, runs tasks, serves and fetches files.
#[derive(Clone, Debug, Hash, Serialize, Deserialize)]
pub struct Executor {
    config: Config,
    settings: ExecutorConfig,
    stage: Stage,
    rng: Random,
    manager: ConnectionManager,
    listener: Option<ConnectionId>,
    address: Option<SocketAddr>,
    registrations: Registrations,
    peers: Peers,
    publisher: Publisher,
    worker: Worker,
    fetches: Fetches,
    service: FileService,
    probes: Probes,
    ops: Ops,
    /// File requests that name a connection which is still being made: until when they wait, and whose they are.
    early: VecDeque<(Instant, ConnectionId, FileRequest)>,
    next_run: u64,
    /// Whether the registries were last told that a slot has nothing to do.
    told_hungry: bool,
}

impl Executor {
    /// An executor that does nothing until [`ExecutorCommand::Start`].
    pub fn new(config: Config, settings: ExecutorConfig) -> Self {
        let mut manager = ConnectionManager::new(&config);
        let one = LinkRule::OnePerDialler;
        let kinds = [
            (LISTENER, LinkRule::Many, Role::Listen, false),
            (KindId::REGISTRATION, one, Role::Dial, false),
            (KindId::TASK, one, Role::Both, true),
            (KindId::FILE, one, Role::Both, true),
            (KindId::PROBE, LinkRule::Many, Role::Dial, false),
        ];
        for (id, rule, role, allow_self) in kinds {
            let registered =
                manager.register(ConnectionKind { allow_self, ..ConnectionKind::plain(id, rule, role) });
            debug_assert!(registered.is_ok(), "each kind is registered once");
        }
        Self {
            stage: Stage::New,
            // A stream of its own, so that one more draw elsewhere does not shift the draws here.
            rng: Random::seed_from_u64(config.seed ^ 0x6578_6563_7574_6f72),
            manager,
            listener: None,
            address: None,
            registrations: Registrations::default(),
            peers: Peers::default(),
            publisher: Publisher::default(),
            worker: Worker::new(settings.slots),
            fetches: Fetches::default(),
            service: FileService::default(),
            probes: Probes::default(),
            ops: Ops::default(),
            early: VecDeque::new(),
            next_run: 0,
            told_hungry: settings.slots > 0,
            config,
            settings,
        }
    }

    /// Links, listeners, look-ups and connections that exist, for leak checks.
    pub fn census(&self) -> [usize; 4] {
        self.manager.census()
    }

    /// What is under way, waits or is owed, by name, for leak checks: all zero once every task has ended and every registry has
    /// been told. Not counted: how past tasks ended, which is kept on purpose and bounded.
    pub fn unfinished(&self) -> Vec<(&'static str, usize)> {
        let mut all = self.manager.unfinished();
        all.extend(self.registrations.unfinished());
        all.extend(self.peers.unfinished());
        all.extend(self.publisher.unfinished());
        all.extend(self.worker.unfinished());
        all.extend(self.fetches.unfinished());
        all.extend(self.service.unfinished());
        all.extend([
            ("probes", self.probes.len()),
            ("disk requests", self.ops.len()),
            ("early file requests", self.early.len()),
        ]);
        all
    }

    /// Where everything of it stands, for whoever looks on.
    pub fn rows(&self, rows: &mut Vec<Row>) {
        let state = match self.stage {
            Stage::New => ExecutorState::New,
            Stage::Running => ExecutorState::Running,
            Stage::Ending => ExecutorState::Ending,
            Stage::Closing => ExecutorState::Closing,
            Stage::Stopped => ExecutorState::Stopped,
        };
        rows.push(Row::new(Key::Machine, state));
        rows.extend(self.registrations.rows());
        rows.extend(self.peers.rows());
        rows.extend(self.publisher.rows());
        rows.extend(self.probes.rows());
        rows.extend(self.worker.rows());
        rows.extend(self.fetches.rows());
        rows.extend(self.service.rows());
        self.manager.rows(rows);
    }

    fn command(&mut self, now: Instant, command: ExecutorCommand, out: &mut Out) {
        match command {
            ExecutorCommand::Start => self.start(now, out),
            ExecutorCommand::Publish { token, spec } => self.publish(now, token, spec, out),
            ExecutorCommand::Input { task, data, last } => self.input(now, task, data, last, out),
            ExecutorCommand::OutputTaken { task, attempt, stream, upto } => {
                self.output_taken(now, task, attempt, stream, upto, out);
            }
            ExecutorCommand::Cancel(task) => self.cancel(now, task, out),
            ExecutorCommand::Shutdown => self.shutdown(now, out),
        }
    }

    fn disk(&mut self, now: Instant, event: DiskEvent, out: &mut Out) {
        let Some(op) = self.ops.complete(event.op) else { return };
        let result = event.result;
        match op {
            Op::ScanInput { task, tree } => self.input_scanned(now, task, tree, result, out),
            Op::MakeFolder { task, attempt } => self.folder_made(now, task, attempt, nothing(result), out),
            Op::RemoveFolder { task, attempt } => {
                self.folder_removed(now, task, attempt, nothing(result), out);
            }
            Op::ScanOutput { task, attempt, index } => {
                self.output_scanned(now, task, attempt, index, result, out);
            }
            Op::ServeBlock { connection, callback, index } => {
                self.block_read(now, connection, callback, index, result, out);
            }
            Op::ServeRoot { connection, callback } => self.root_read(now, connection, callback, result, out),
            Op::FetchOpen { tree } => self.target_opened(now, tree, result, out),
            Op::FetchWrite { tree, index } => {
                let limits = &self.config.limits;
                let outcome = self.fetches.written(tree, index, nothing(result), limits, &mut self.ops, out);
                self.read_if_room(now, tree, out);
                self.fetch_outcome(now, outcome, out);
            }
            Op::FetchCommit { tree } => {
                if let Ok(DiskDone::Committed { beside }) = &result {
                    self.landed_beside(tree, beside, out);
                }
                let outcome = self.fetches.committed(tree, nothing(result), &mut self.ops, out);
                self.fetch_outcome(now, outcome, out);
            }
            Op::FetchCopy { tree, callback } => {
                let outcome = self.fetches.copied(tree, callback, nothing(result), &mut self.ops, out);
                self.fetch_outcome(now, outcome, out);
            }
            Op::FetchClose { tree } => self.fetches.closed(tree),
            Op::CloseSource => {}
        }
    }

    fn process(&mut self, now: Instant, event: ProcessEvent, out: &mut Out) {
        match event {
            ProcessEvent::Spawned { run } => self.spawned(now, run, out),
            ProcessEvent::SpawnFailed { run, error } => self.spawn_failed(now, run, error, out),
            ProcessEvent::Output { run, stream, data } => self.output(now, run, stream, data, out),
            ProcessEvent::OutputEnded { run, stream } => self.output_ended(now, run, stream, out),
            ProcessEvent::InputTaken { run } => self.stdin_taken(now, run, out),
            ProcessEvent::InputClosed { run } => self.stdin_closed(now, run, out),
            ProcessEvent::Exited { run, status } => self.exited(now, run, status, out),
        }
    }

    fn tick(&mut self, now: Instant, out: &mut Out) {
        self.manager.tick(now, out);
        while let Some(id) = self.registrations.timers.pop_due(now) {
            self.registration_due(now, id, out);
        }
        while let Some((peer, timer)) = self.peers.timers.pop_due(now) {
            self.peer_due(now, peer, timer, out);
        }
        while let Some((task, timer)) = self.publisher.timers.pop_due(now) {
            self.task_due(now, task, timer, out);
        }
        while let Some((task, timer)) = self.worker.timers.pop_due(now) {
            self.entry_due(now, task, timer, out);
        }
        while let Some(callback) = self.fetches.timers.pop_due(now) {
            let outcome = self.fetches.window_over(now, callback, &self.config.limits, &mut self.ops, out);
            self.fetch_outcome(now, outcome, out);
        }
        while let Some(peer) = self.probes.timers.pop_due(now) {
            self.probe_due(now, peer, out);
        }
        if self.early.front().is_some_and(|(due, ..)| *due <= now) {
            self.judge_early(now, out);
        }
    }

    /// Queues a message on a connection. One that is gone or full loses it: what matters is said again on the next link.
    fn send(&mut self, now: Instant, connection: ConnectionId, message: impl Into<Message>, out: &mut Out) {
        let _ = self.manager.send(now, connection, message.into().into_pack(), out);
    }

    fn new_run(&mut self) -> RunId {
        RunId::next(&mut self.next_run)
    }

    /// Once nothing is left to end, closes; once nothing is left to close, says so.
    fn end_if_done(&mut self, now: Instant, out: &mut Out) {
        if self.stage == Stage::Ending
            && self.worker.is_empty()
            && self.fetches.is_empty()
            && self.ops.is_empty()
        {
            self.stage = Stage::Closing;
            self.close_all(now, out);
        }
        if self.stage == Stage::Closing && self.manager.census()[..3] == [0; 3] {
            self.stage = Stage::Stopped;
            out.notify(ExecutorNotice::Stopped);
        }
    }
}

impl Kept for Executor {
    fn set_key(&mut self, key: &ClusterKey) {
        self.config.key = key.clone();
        self.manager.set_key(key);
    }
}

impl Machine for Executor {
    type Command = ExecutorCommand;
    type Notice = ExecutorNotice;

    fn handle(&mut self, now: Instant, event: Event<ExecutorCommand>, out: &mut Out) {
        match event {
            Event::Tick => self.tick(now, out),
            Event::Net(event) => self.manager.handle_net(now, event, out),
            Event::Disk(event) => self.disk(now, event, out),
            Event::Process(event) => self.process(now, event, out),
            Event::Command(command) => self.command(now, command, out),
        }
        while let Some(event) = self.manager.next_event() {
            self.connection(now, event, out);
        }
        self.end_if_done(now, out);
        while let Some(event) = self.manager.next_event() {
            self.connection(now, event, out);
        }
    }

    fn deadline(&self) -> Option<Instant> {
        [
            self.manager.deadline(),
            self.registrations.deadline(),
            self.peers.timers.next(),
            self.publisher.timers.next(),
            self.worker.timers.next(),
            self.fetches.timers.next(),
            self.probes.timers.next(),
            self.early.front().map(|(due, ..)| *due),
        ]
        .into_iter()
        .fold(None, earliest)
    }

    fn check_invariants(&self) {
        self.manager.check_invariants();
        self.peers.check_invariants();
        self.publisher.check_invariants();
        self.worker.check_invariants();
        self.fetches.check_invariants();
        self.service.check_invariants(&self.config.limits);
    }
}

/// A disk result that brings nothing back.
fn nothing(result: Result<DiskDone, FileError>) -> Result<(), FileError> {
    result.map(|_| ())
}
