//! What a file request may name (ledger F5), judged without a network.

use super::peers::{Lane, Side};
use super::publisher::Attempt;
use super::*;
use crate::disk::FileErrorKind;
use crate::message::Placement;
use crate::{AttemptNumber, CallbackId, ClaimNumber, ClusterKey, InstanceId, Limits, TaskId, Token};
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
