//! What a file request may name (ledger F5), judged without a network.

use super::peers::{Lane, Side};
use super::publisher::Attempt;
use super::route_attempts::REMOVALS;
use super::worker::Held;
use super::*;
use crate::disk::{DiskAction, DiskRequest, FileErrorKind};
use crate::message::{Placement, Spec};
use crate::{
    Address, AttemptNumber, CallbackId, ClaimNumber, ClusterKey, FolderId, InstanceId, Limits, OpId, TaskId,
    Token,
};
use alloc::string::String;
use alloc::vec;

const ME: InstanceId = InstanceId([1; 16]);
const ANNE: InstanceId = InstanceId([2; 16]);
const BERT: InstanceId = InstanceId([3; 16]);
const ANNES_TASK_LINK: ConnectionId = ConnectionId(100);
const ANNES_FILES: ConnectionId = ConnectionId(102);
const BERTS_FILES: ConnectionId = ConnectionId(101);

/// A publisher whose one task, with one scanned input, is held by Anne; Bert only has connections.
fn publisher() -> (Executor, TaskId) {
    let settings = ExecutorConfig {
        registries: vec![],
        listen: "127.0.0.1:0".parse().unwrap(),
        advertise: None,
        slots: 0,
        client: true,
        labels: Vec::new(),
        lease_only: false,
    };
    let mut executor = Executor::new(Config::new(ME, "me", ClusterKey([0; 32]), 1), settings);
    let (now, mut out) = (Instant::ZERO, Out::new());
    let input = InputFile { path: b"/data".to_vec(), name: b"data".to_vec() };
    let spec = TaskSpec {
        argv: vec![b"true".to_vec()],
        env: vec![],
        inputs: vec![input],
        outputs: vec![],
        stdin: false,
        timeout: None,
        patience: None,
        attempts: None,
        placement: Placement::Others,
        needs: Vec::new(),
    };
    executor.handle(now, Event::Command(ExecutorCommand::Publish { token: Token(1), spec }), &mut out);
    let op = out.drain().find_map(|action| match action {
        crate::Action::Disk(asked) => Some(asked.op),
        _ => None,
    });
    let opened = DiskDone::Opened { stream_len: 10, manifest_len: 5, stamp: 1 };
    executor.handle(now, Event::Disk(DiskEvent { op: op.unwrap(), result: Ok(opened) }), &mut out);
    let task = TaskId { publisher: ME, number: 1 };
    let attempt = Attempt {
        number: AttemptNumber(1),
        claim: ClaimNumber(1),
        holder: ANNE,
        name: String::from("anne"),
        address: None,
        lapsed: false,
        running: false,
        received: [0; 2],
        taken: [0; 2],
        result: None,
    };
    executor.publisher.grant(now, task, attempt, &Limits::default());
    executor.peers.add_accepted(ANNE, Lane::Task, ANNES_TASK_LINK);
    executor.peers.add_accepted(BERT, Lane::File, BERTS_FILES);
    executor.peers.add_accepted(ANNE, Lane::File, ANNES_FILES);
    (executor, task)
}

fn request(task: TaskId, attempt: u64, file: u32, connection: ConnectionId) -> FileRequest {
    FileRequest { task, attempt: AttemptNumber(attempt), file, connection, callback: CallbackId(9), from: 0 }
}

#[test]
fn f5_a_request_is_served_on_the_askers_own_present_file_connection_alone() {
    let (mut executor, task) = publisher();
    let mut judge = |attempt, file, connection| {
        let asked = request(task, attempt, file, connection);
        executor.servable(ANNES_TASK_LINK, &asked).map(|(line, _)| line).map_err(|error| error.kind)
    };
    assert_eq!(judge(1, 0, ANNES_FILES), Ok(ANNES_FILES));
    assert_eq!(judge(1, 0, BERTS_FILES), Err(FileErrorKind::UnknownConnection), "another peer's");
    assert_eq!(judge(1, 0, ANNES_TASK_LINK), Err(FileErrorKind::UnknownConnection), "no file connection");
    assert_eq!(judge(1, 0, ConnectionId(7)), Err(FileErrorKind::UnknownConnection), "unknown");
    assert_eq!(judge(1, 1, ANNES_FILES), Err(FileErrorKind::UnknownFile), "not declared");
    assert_eq!(judge(2, 0, ANNES_FILES), Err(FileErrorKind::Cancelled), "not the current attempt");
}

#[test]
fn f5_a_stale_file_connection_is_refused() {
    let (mut executor, task) = publisher();
    executor.peers.remove_accepted(ANNES_FILES);
    executor.peers.add_accepted(ANNE, Lane::File, ConnectionId(103));
    let stale = executor.servable(ANNES_TASK_LINK, &request(task, 1, 0, ANNES_FILES));
    assert_eq!(stale.map(|_| ()).map_err(|error| error.kind), Err(FileErrorKind::UnknownConnection));
}

#[test]
fn f5_a_request_before_its_connections_confirm_waits_for_it_and_not_for_ever() {
    let (mut executor, task) = publisher();
    let (now, mut out) = (Instant::ZERO, Out::new());
    let early = ConnectionId(104);
    executor.file_requested(now, ANNES_TASK_LINK, request(task, 1, 0, early), &mut out);
    executor.file_requested(now, ANNES_TASK_LINK, request(task, 1, 0, BERTS_FILES), &mut out);
    assert_eq!(executor.early.len(), 1, "an older one is refused at once");
    assert_eq!(executor.service.serving(), 0);
    executor.peers.remove_accepted(ANNES_FILES);
    executor.peers.add_accepted(ANNE, Lane::File, early);
    executor.judge_early(now, &mut out);
    assert_eq!((executor.early.len(), executor.service.serving()), (0, 1), "it is there: served");

    executor.file_requested(now, ANNES_TASK_LINK, request(task, 1, 0, ConnectionId(900)), &mut out);
    let due = executor.deadline().unwrap();
    assert_eq!(due, now + executor.config.limits.handshake);
    executor.tick(due, &mut out);
    assert!(executor.early.is_empty(), "it never came: refused");
    assert_eq!(executor.peers.up(ANNE, Lane::File, Side::Accepted), Some(early));
}

/// An executor with a slot, whose one attempt has been told to stop and has nothing left but its folder; and the removal that
/// it has asked for.
fn leaving() -> (Executor, TaskId, OpId) {
    let settings = ExecutorConfig {
        registries: vec![],
        listen: "127.0.0.1:0".parse().unwrap(),
        advertise: None,
        slots: 1,
        client: false,
        labels: Vec::new(),
        lease_only: false,
    };
    let mut executor = Executor::new(Config::new(ME, "me", ClusterKey([0; 32]), 1), settings);
    let (now, mut out) = (Instant::ZERO, Out::new());
    executor.stage = Stage::Running;
    let (task, attempt) = (TaskId { publisher: ANNE, number: 1 }, AttemptNumber(1));
    executor.peers.learn(ANNE, Address::Socket("127.0.0.1:9".parse().unwrap()));
    assert!(executor.worker.propose(task));
    assert_eq!(executor.worker.want_next(now), Some(task));
    let spec =
        Spec { argv: vec![], env: vec![], inputs: vec![], outputs: vec![], stdin: false, timeout: None };
    let held = Held::new(attempt, ClaimNumber(1), spec, Vec::new(), now, 0);
    executor.worker.hold(task, held);
    executor.ops.ask(
        Op::MakeFolder { task, attempt },
        DiskRequest::MakeFolder { folder: FolderId { task, attempt } },
        &mut out,
    );
    executor.told_to_stop(now, task, attempt, &mut out);
    let made = asked(&mut out).unwrap().op;
    executor.handle(now, completed(made, Ok(DiskDone::Nothing)), &mut out);
    let removal = removal(&mut out).unwrap();
    (executor, task, removal)
}

fn completed(op: OpId, result: Result<DiskDone, FileError>) -> Event<ExecutorCommand> {
    Event::Disk(DiskEvent { op, result })
}

/// The first disk request among what the machine asks.
fn asked(out: &mut Out) -> Option<DiskAction> {
    let all: Vec<_> = out.drain().collect();
    all.into_iter().find_map(|action| match action {
        crate::Action::Disk(asked) => Some(asked),
        _ => None,
    })
}

fn removal(out: &mut Out) -> Option<OpId> {
    asked(out).filter(|asked| matches!(asked.request, DiskRequest::RemoveFolder { .. })).map(|asked| asked.op)
}

fn no_descriptors() -> Result<DiskDone, FileError> {
    Err(FileError::new(FileErrorKind::System(24), "work"))
}

#[test]
fn x5_a_folder_whose_removal_fails_is_removed_a_little_later() {
    let (mut executor, task, first) = leaving();
    let (now, mut out) = (Instant::ZERO, Out::new());
    executor.handle(now, completed(first, no_descriptors()), &mut out);
    assert_eq!(removal(&mut out), None, "not at once: nothing has changed yet");
    assert!(executor.worker.peek(task).is_some(), "the attempt is not forgotten");
    assert_eq!(executor.worker.free(), 1, "and holds no slot");
    let due = executor.deadline().unwrap();
    executor.handle(due, Event::Tick, &mut out);
    let second = removal(&mut out).unwrap();
    executor.handle(due, completed(second, Ok(DiskDone::Nothing)), &mut out);
    assert!(executor.worker.peek(task).is_none());
    assert_eq!(executor.unfinished().iter().map(|(_, count)| count).sum::<usize>(), 0);
}

#[test]
fn x5_a_folder_that_cannot_be_removed_is_told_and_holds_nothing_for_ever() {
    let (mut executor, task, mut op) = leaving();
    let (mut now, mut out) = (Instant::ZERO, Out::new());
    let told = |out: &mut Out| -> Vec<_> { out.drain().collect() };
    let mut tries = 1;
    let last = loop {
        executor.handle(now, completed(op, no_descriptors()), &mut out);
        let Some(due) = executor.deadline() else { break told(&mut out) };
        assert!(out.drain().all(|action| !matches!(action, crate::Action::Notify(_))), "said too early");
        (now, tries) = (due, tries + 1);
        executor.handle(now, Event::Tick, &mut out);
        op = removal(&mut out).unwrap();
    };
    let error = no_descriptors().unwrap_err();
    let stays = ExecutorNotice::FolderStays { task, attempt: AttemptNumber(1), error };
    assert!(last.iter().any(|action| matches!(action, crate::Action::Notify(notice) if *notice == stays)));
    assert_eq!(tries, REMOVALS);
    assert!(now <= Instant::ZERO + core::time::Duration::from_secs(60), "a bound of time, too");
    assert!(executor.worker.peek(task).is_none());
    assert_eq!(executor.unfinished().iter().map(|(_, count)| count).sum::<usize>(), 0);
}

#[test]
fn x5_a_shutdown_does_not_wait_for_a_folder_that_cannot_be_removed() {
    let (mut executor, task, op) = leaving();
    let (now, mut out) = (Instant::ZERO, Out::new());
    executor.handle(now, completed(op, no_descriptors()), &mut out);
    executor.handle(now, Event::Command(ExecutorCommand::Shutdown), &mut out);
    assert_eq!(executor.deadline(), Some(now), "at once, and for the last time");
    out.drain().for_each(drop);
    executor.handle(now, Event::Tick, &mut out);
    let again = removal(&mut out).unwrap();
    executor.handle(now, completed(again, no_descriptors()), &mut out);
    assert!(executor.worker.peek(task).is_none());
    assert!(out.drain().any(|action| matches!(action, crate::Action::Notify(ExecutorNotice::Stopped))));
}
