//! The values of `messages.hex`, in its order.

use bytes::Bytes;
use xxnet_core::disk::{Content, FileError, FileErrorKind as Kind, Hash};
use xxnet_core::message::*;
use xxnet_core::process::{ExitStatus, SpawnError, Stream};
use xxnet_core::{
    Address, AttemptNumber, CallbackId, ClaimNumber, ConnectionId, InstanceId, Instant, TaskId, TaskName,
};

/// Every message's number.
pub(crate) const NUMBERS: &[(u16, &str)] = &[
    (32, "Register"),
    (33, "Registered"),
    (34, "Heartbeat"),
    (35, "Leave"),
    (36, "Publish"),
    (37, "Accepted"),
    (38, "Assign"),
    (39, "Withdraw"),
    (40, "Decline"),
    (41, "Taken"),
    (42, "Open"),
    (43, "Ended"),
    (44, "Waits"),
    (45, "PublishNeeding"),
    (64, "Ask"),
    (65, "Answer"),
    (96, "Claim"),
    (97, "Granted"),
    (98, "Refused"),
    (99, "Renew"),
    (100, "Renewed"),
    (101, "Stopped"),
    (102, "Finished"),
    (103, "Done"),
    (104, "Started"),
    (105, "Output"),
    (106, "OutputTaken"),
    (107, "Input"),
    (108, "InputTaken"),
    (109, "FileRequest"),
    (110, "FileRefused"),
    (111, "Stop"),
    (112, "GrantedFiles"),
    (128, "FileBegin"),
    (129, "Block"),
    (130, "FileEnd"),
    (131, "FileFailed"),
    (132, "FileCancel"),
];

const ATTEMPT: AttemptNumber = AttemptNumber(3);
const CLAIM: ClaimNumber = ClaimNumber(4);
const CALLBACK: CallbackId = CallbackId(12);
const STAMP: Instant = Instant::from_micros(1_000_000);

fn instance(byte: u8) -> InstanceId {
    InstanceId([byte; 16])
}

fn task_of(publisher: u8, number: u64) -> TaskId {
    TaskId { publisher: instance(publisher), number }
}

fn address(text: &str) -> Address {
    text.parse().unwrap()
}

/// Each with what its vector's name adds to the message's name and number.
pub(crate) fn samples() -> Vec<(String, Message)> {
    let mut all = Vec::new();
    registration(&mut all);
    questions(&mut all);
    tasks(&mut all);
    streams(&mut all);
    files(&mut all);
    all
}

type Samples = Vec<(String, Message)>;

fn add(all: &mut Samples, what: &str, message: impl Into<Message>) {
    all.push((what.into(), message.into()));
}

fn registration(all: &mut Samples) {
    let task = task_of(1, 7);
    add(
        all,
        "",
        Register {
            name: "node-1".into(),
            address: address("192.0.2.1:7700"),
            slots: 4,
            client: false,
            labels: vec![("zone".into(), "a".into())],
            running: vec![(task, ATTEMPT)],
            proposed: vec![task_of(1, 8), task_of(2, 9)],
        },
    );
    add(
        all,
        "client",
        Register {
            name: String::new(),
            address: address("h:1"),
            slots: 0,
            client: true,
            labels: vec![],
            running: vec![],
            proposed: vec![],
        },
    );
    add(all, "", Registered { address: address("[2001:db8::1]:7700") });
    add(all, "", Heartbeat { free: 3 });
    add(all, "", Leave {});
    let publish = |placement| Publish {
        task,
        title: "sh -c true".into(),
        placement,
        publisher: address("0.0.0.0:0"),
        taken: None,
        avoid: vec![],
    };
    let taken = Some((instance(2), ATTEMPT));
    add(
        all,
        "others",
        Publish { taken, avoid: vec![instance(3), instance(4)], ..publish(Placement::Others) },
    );
    add(all, "anyone", publish(Placement::Anyone));
    add(all, "publisher", publish(Placement::Publisher));
    add(all, "", Accepted { task });
    add(all, "", Assign { task, publisher: address("192.0.2.1:7700") });
    add(all, "", Withdraw { task });
    for why in [DeclineReason::Unreachable, DeclineReason::Refused, DeclineReason::Busy] {
        add(all, &format!("{why:?}"), Decline { task, why });
    }
    add(all, "", Taken { task, by: instance(2), attempt: ATTEMPT });
    add(all, "", Open { task, avoid: vec![instance(2)] });
    for how in [EndKind::Done, EndKind::Failed, EndKind::Cancelled, EndKind::Expired] {
        add(all, &format!("{how:?}"), Ended { task, how });
    }
    add(all, "NoExecutor", Waits { task, reason: WaitReason::NoExecutor });
    add(all, "NoFreeSlot", Waits { task, reason: WaitReason::NoFreeSlot });
    add(all, "Proposed", Waits { task, reason: WaitReason::Proposed(instance(2)) });
    add(all, "AllAvoided", Waits { task, reason: WaitReason::AllAvoided });
    add(all, "NeedsUnmet", Waits { task, reason: WaitReason::NeedsUnmet });
    let needs = ["gpu", "os=linux"].map(|need| need.parse().unwrap()).to_vec();
    add(all, "", PublishNeeding { publish: publish(Placement::Anyone), needs });
}

fn questions(all: &mut Samples) {
    let task = task_of(1, 7);
    let name = |publisher: &str| TaskName { publisher: publisher.into(), number: 7 };
    add(all, "Nodes", Ask { request: 5, question: Question::Nodes });
    add(all, "Tasks", Ask { request: 5, question: Question::Tasks });
    add(all, "Cancel", Ask { request: 5, question: Question::Cancel(name("01ab")) });
    add(all, "Why", Ask { request: 5, question: Question::Why(name("f")) });
    add(all, "Labels", Ask { request: 5, question: Question::Labels });
    let mut answer = |what: &str, reply| add(all, what, Answer { request: 5, reply });
    let node = NodeRow {
        instance: instance(2),
        name: "node-2".into(),
        address: address("node-2.example:7700"),
        slots: 4,
        running: 2,
        proposed: 1,
        client: false,
        suspect: true,
        silent: 9_000_001,
    };
    answer("Nodes", Reply::Nodes(vec![node]));
    let row = |number, title: &str, state, since, executor: Option<&str>| TaskRow {
        task: task_of(1, number),
        title: title.into(),
        state,
        since,
        executor: executor.map(Into::into),
        publisher: "p".into(),
    };
    let rows = vec![
        row(9, "true", TaskState::Waiting(WaitReason::AllAvoided), 10, None),
        row(8, "make", TaskState::Running(AttemptNumber(2)), 11, Some("node-2")),
        row(7, "wc", TaskState::Ended(EndKind::Cancelled), 12, None),
    ];
    answer("Tasks", Reply::Tasks { rows, more: 100 });
    answer("Cancelled", Reply::Cancelled(task));
    let why = WhyRow {
        task,
        state: "running".into(),
        waits_for: "its end".into(),
        since: 13,
        until: Some(14),
        then: "it is killed".into(),
        attempts: vec!["attempt-1: lost".into()],
    };
    answer("Why", Reply::Why(why));
    answer("AlreadyEnded", Reply::AlreadyEnded(task, EndKind::Failed));
    answer("NoSuchTask", Reply::NoSuchTask);
    answer("Ambiguous", Reply::Ambiguous(vec![task_of(1, 7), task_of(2, 7)]));
    answer("PublisherSilent", Reply::PublisherSilent(task));
    answer("Labels", Reply::Labels(vec![(instance(2), vec![("gpu".into(), String::new())])]));
}

fn granted() -> Granted {
    let spec = Spec {
        argv: vec![Blob::from("cat"), Blob::from([0xff, 0xfe])],
        env: vec![(Blob::from("K"), Blob::from("V=1"))],
        inputs: vec![Blob::from(".")],
        outputs: vec![OutputName::Named(Blob::from("out/a")), OutputName::Changes],
        stdin: true,
        timeout: Some(60_000_000),
    };
    let (task, attempt) = (task_of(1, 7), ATTEMPT);
    Granted { task, claim: CLAIM, attempt, stamp: STAMP, spec, received: [10, 20] }
}

fn tasks(all: &mut Samples) {
    let task = task_of(1, 7);
    let attempt = ATTEMPT;
    add(all, "", Claim { task, claim: CLAIM, stamp: STAMP });
    add(all, "", granted());
    add(all, "Elsewhere", Refused { task, claim: CLAIM, why: RefuseReason::Elsewhere });
    add(all, "Ended", Refused { task, claim: CLAIM, why: RefuseReason::Ended });
    let other = (task_of(1, 8), AttemptNumber(1));
    add(all, "", Renew { stamp: STAMP, attempts: vec![(task, attempt), other] });
    add(all, "", Renewed { stamp: STAMP, current: vec![(task, attempt)], not: vec![other] });
    let mut stopped = |what: &str, why| add(all, what, Stopped { task, attempt, why });
    stopped("Told", StopReason::Told);
    stopped("LeaseOver", StopReason::LeaseOver);
    stopped("Shutdown", StopReason::Shutdown);
    stopped("LateGrant", StopReason::LateGrant);
    stopped("Input", StopReason::Input(FileError::new(Kind::TimedOut, "data.bin")));
    stopped("Spawn NotFound", StopReason::Spawn(SpawnError::NotFound));
    stopped("Spawn NotExecutable", StopReason::Spawn(SpawnError::NotExecutable));
    stopped("Spawn Late", StopReason::Spawn(SpawnError::Late));
    stopped("Spawn System", StopReason::Spawn(SpawnError::System(-11)));
    stopped("Disk", StopReason::Disk(FileError::new(Kind::NoSpace, "")));
    let mut finished = |what: &str, exit| {
        let outputs = vec![Ok(()), Err(FileError::new(Kind::NotFound, "n.txt"))];
        let times = Times { claim: 1, fetch: 2, run: 3 };
        add(all, what, Finished { task, attempt, exit, outputs, written: [10, 20], times });
    };
    finished("Code", Exit::Status(ExitStatus::Code(3)));
    finished("Signal", Exit::Status(ExitStatus::Signal(9)));
    finished("TimedOut", Exit::TimedOut);
    finished("NotFound", Exit::NotFound);
    finished("NotExecutable", Exit::NotExecutable);
    add(all, "", Done { task, attempt });
    add(all, "", Started { task, attempt });
}

fn streams(all: &mut Samples) {
    let task = task_of(1, 7);
    let attempt = ATTEMPT;
    let data = Blob::from(*b"a\n\0\xff");
    add(all, "Stdout", Output { task, attempt, stream: Stream::Stdout, offset: 4096, data });
    let data = Blob::default();
    add(all, "Stderr", Output { task, attempt, stream: Stream::Stderr, offset: 0, data });
    add(all, "", OutputTaken { task, attempt, stream: Stream::Stderr, upto: 4100 });
    add(all, "", Input { task, attempt, offset: 0, data: Blob::from("line\n"), last: true });
    add(all, "", InputTaken { task, attempt, upto: u64::MAX });
}

fn files(all: &mut Samples) {
    let task = task_of(1, 7);
    let attempt = ATTEMPT;
    let callback = CALLBACK;
    add(all, "", FileRequest { task, attempt, file: 2, connection: ConnectionId(11), callback, from: 13 });
    let kinds = [
        ("NotFound", Kind::NotFound),
        ("PermissionDenied", Kind::PermissionDenied),
        ("Special", Kind::Special),
        ("Escapes", Kind::Escapes),
        ("Changed", Kind::Changed),
        ("NoSpace", Kind::NoSpace),
        ("Mismatch", Kind::Mismatch),
        ("BadManifest", Kind::BadManifest),
        ("InTheWay", Kind::InTheWay),
        ("TimedOut", Kind::TimedOut),
        ("Disconnected", Kind::Disconnected),
        ("Unreachable", Kind::Unreachable),
        ("Cancelled", Kind::Cancelled),
        ("UnknownConnection", Kind::UnknownConnection),
        ("UnknownFile", Kind::UnknownFile),
        ("Busy", Kind::Busy),
        ("System", Kind::System(5)),
    ];
    for (name, kind) in kinds {
        add(all, name, FileRefused { callback, error: FileError::new(kind, "x") });
    }
    add(all, "", Stop { task, attempt });
    let stamp = 0x0123_4567_89ab_cdef;
    let content = Content { stream_len: 2_000_000, manifest_len: 100, stamp };
    add(all, "", GrantedFiles { granted: granted(), contents: vec![content] });
    add(all, "", FileBegin { callback, stream_len: 2_000_000, manifest_len: 100, stamp });
    let data = vec![Bytes::from_static(b"bulk")];
    add(all, "", Block { callback, index: 13, hash: Hash([0xab; 32]), data });
    add(all, "", FileEnd { callback, root: Hash([0xcd; 32]) });
    add(all, "", FileFailed { callback, error: FileError::new(Kind::Changed, "big") });
    add(all, "", FileCancel { callback });
}
