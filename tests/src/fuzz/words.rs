//! What a hostile peer says: any message, with ids that mostly exist, or an answer such as an honest peer would give.

use super::peer::{address, instance};
use super::source::Source;
use bytes::Bytes;
use std::time::Duration;
use xxnet_core::disk::{Content, FileError, FileErrorKind, Hash};
use xxnet_core::message::*;
use xxnet_core::needs::{Label, Need};
use xxnet_core::process::{ExitStatus, Stream};
use xxnet_core::{
    Address, AttemptNumber, CallbackId, ClaimNumber, ConnectionId, InstanceId, Instant, TaskId, TaskName,
};

/// Bytes of every file here.
pub(super) const FILE_LEN: u64 = 40;
/// Bytes of the manifest at its start.
pub(super) const MANIFEST_LEN: u64 = 10;

/// A node: the machine itself, one of its peers, or nobody.
pub(super) fn node(source: &mut Source<'_>) -> InstanceId {
    match source.below(6) {
        0 => InstanceId([1; 16]),
        5 => InstanceId([99; 16]),
        peer => instance(peer - 1),
    }
}

pub(super) fn task(source: &mut Source<'_>) -> TaskId {
    TaskId { publisher: node(source), number: source.number() }
}

fn attempt(source: &mut Source<'_>) -> AttemptNumber {
    AttemptNumber(source.number())
}

pub(super) fn file_error(source: &mut Source<'_>) -> FileError {
    use FileErrorKind::*;
    let kind = source.one(&[NotFound, NoSpace, Mismatch, Changed, Busy, Disconnected, Escapes, System(5)]);
    FileError::new(kind, "x".repeat(source.below(3) * 300))
}

fn somewhere(source: &mut Source<'_>) -> Address {
    match source.below(8) {
        0 => Address::Name("host".into(), 7000),
        1 => Address::Unix("#1".into()),
        2 => Address::Socket(([0, 0, 0, 0], 7000).into()),
        3 => Address::Socket(([127, 0, 0, 1], 7000).into()),
        peer => address(peer - 4).into(),
    }
}

fn some_stream(source: &mut Source<'_>) -> Stream {
    source.one(&Stream::BOTH)
}

fn labels(source: &mut Source<'_>) -> Vec<Label> {
    (0..source.below(4)).map(|_| (source.one(&["gpu", "", "big"]).into(), String::new())).collect()
}

pub(super) fn needs(source: &mut Source<'_>) -> Vec<Need> {
    let count = if source.rarely(16) { 20 } else { source.below(2) };
    (0..count).map(|_| Need { name: source.one(&["gpu", "", "none"]).into(), value: None }).collect()
}

fn attempts(source: &mut Source<'_>) -> Vec<(TaskId, AttemptNumber)> {
    (0..source.below(5)).map(|_| (task(source), attempt(source))).collect()
}

fn stamp(source: &mut Source<'_>, now: Instant) -> Instant {
    match source.below(4) {
        0 => Instant::FAR_FUTURE,
        1 => Instant::ZERO,
        _ => now,
    }
}

fn name(source: &mut Source<'_>) -> Blob {
    Blob::from(source.one(&["a", ".", "b/c", "../x", "/etc", "", "a/../b"]))
}

fn spec(source: &mut Source<'_>) -> Spec {
    Spec {
        argv: (0..source.below(3)).map(|_| Blob::from("true")).collect(),
        env: vec![],
        inputs: (0..source.below(3)).map(|_| name(source)).collect(),
        outputs: (0..source.below(3))
            .map(|_| if source.rarely(3) { OutputName::Changes } else { OutputName::Named(name(source)) })
            .collect(),
        stdin: source.rarely(2),
        timeout: source.rarely(4).then(|| source.number()),
    }
}

fn publish(source: &mut Source<'_>) -> Publish {
    Publish {
        task: task(source),
        title: "t".repeat(source.below(4) * 100),
        placement: source.one(&[Placement::Others, Placement::Anyone, Placement::Publisher]),
        publisher: somewhere(source),
        taken: source.rarely(4).then(|| (node(source), attempt(source))),
        avoid: (0..source.below(3)).map(|_| node(source)).collect(),
    }
}

fn task_name(source: &mut Source<'_>) -> TaskName {
    TaskName { publisher: source.one(&["0202", "0", "02020202", "", "zz"]).into(), number: source.number() }
}

pub(super) fn question(source: &mut Source<'_>) -> Question {
    match source.below(5) {
        0 => Question::Nodes,
        1 => Question::Tasks,
        2 => Question::Cancel(task_name(source)),
        3 => Question::Why(task_name(source)),
        _ => Question::Labels,
    }
}

fn reply(source: &mut Source<'_>) -> Reply {
    match source.below(5) {
        0 => Reply::Cancelled(task(source)),
        1 => Reply::AlreadyEnded(task(source), EndKind::Done),
        2 => Reply::NoSuchTask,
        3 => Reply::Ambiguous((0..source.below(3)).map(|_| task(source)).collect()),
        _ => Reply::Nodes(vec![]),
    }
}

fn exit(source: &mut Source<'_>) -> Exit {
    source.one(&[Exit::Status(ExitStatus::Code(0)), Exit::Status(ExitStatus::Signal(9)), Exit::TimedOut])
}

/// A block of a file of zeros; its hash is the right one, or not.
fn block(callback: CallbackId, index: u64, len: usize) -> Block {
    let data = if len == 0 { vec![] } else { vec![Bytes::from(vec![0; len])] };
    Block { callback, index, hash: Hash([7; 32]), data }
}

/// A grant, with what its inputs hold if `odd` says so: mostly as many contents as inputs, and mostly the same ones.
fn grant(granted: Granted, odd: u64) -> Message {
    let inputs = granted.spec.inputs.len() + usize::from(odd % 8 == 7);
    if inputs == 0 || odd % 4 < 2 {
        return granted.into();
    }
    let content = Content { stream_len: FILE_LEN, manifest_len: MANIFEST_LEN, stamp: odd & 1 };
    GrantedFiles { granted, contents: vec![content; inputs] }.into()
}

/// Messages were once this many. The number stays, so that the corpora go on to mean what they meant; a newer one takes a part of
/// the choices of the one that it extends.
const CHOICES: usize = 37;

/// Any message at all.
pub(super) fn any(source: &mut Source<'_>, now: Instant) -> Message {
    let (task, attempt) = (task(source), attempt(source));
    let callback = CallbackId(source.number());
    match source.below(CHOICES) {
        0 => Register {
            name: "n".repeat(source.below(4) * 60),
            address: somewhere(source),
            slots: source.number() as u32,
            client: source.rarely(4),
            labels: labels(source),
            running: attempts(source),
            proposed: (0..source.below(3)).map(|_| self::task(source)).collect(),
        }
        .into(),
        1 => Registered { address: somewhere(source) }.into(),
        2 => Heartbeat { free: source.number() as u32 }.into(),
        3 => Leave {}.into(),
        4 | 14 => publish(source).into(),
        5 => Accepted { task }.into(),
        6 => Assign { task, publisher: somewhere(source) }.into(),
        7 => Withdraw { task }.into(),
        8 => {
            let whys = [DeclineReason::Unreachable, DeclineReason::Refused, DeclineReason::Busy];
            Decline { task, why: source.one(&whys) }.into()
        }
        9 => Taken { task, by: node(source), attempt }.into(),
        10 => Open { task, avoid: (0..source.below(3)).map(|_| node(source)).collect() }.into(),
        11 => Ended { task, how: source.one(&[EndKind::Done, EndKind::Failed, EndKind::Expired]) }.into(),
        12 => Waits { task, reason: WaitReason::Proposed(node(source)) }.into(),
        13 => PublishNeeding { publish: publish(source), needs: needs(source) }.into(),
        15 => Ask { request: source.number(), question: question(source) }.into(),
        16 => Answer { request: source.number(), reply: reply(source) }.into(),
        17 => Claim { task, claim: ClaimNumber(source.number()), stamp: stamp(source, now) }.into(),
        18 => {
            let claim = ClaimNumber(source.number());
            let (stamp, spec) = (stamp(source, now), spec(source));
            let received = [source.number(), source.number()];
            grant(Granted { task, claim, attempt, stamp, spec, received }, claim.0)
        }
        19 => {
            let why = source.one(&[RefuseReason::Elsewhere, RefuseReason::Ended]);
            Refused { task, claim: ClaimNumber(source.number()), why }.into()
        }
        20 => Renew { stamp: stamp(source, now), attempts: attempts(source) }.into(),
        21 => {
            let (current, not) = (attempts(source), attempts(source));
            Renewed { stamp: stamp(source, now), current, not }.into()
        }
        22 => {
            let whys = [
                StopReason::Told,
                StopReason::LeaseOver,
                StopReason::LateGrant,
                StopReason::Input(file_error(source)),
                StopReason::Disk(file_error(source)),
            ];
            Stopped { task, attempt, why: source.one(&whys) }.into()
        }
        23 => Finished {
            task,
            attempt,
            exit: exit(source),
            outputs: (0..source.below(4))
                .map(|_| if source.rarely(3) { Err(file_error(source)) } else { Ok(()) })
                .collect(),
            written: [source.number(), source.number()],
            times: Times { claim: source.number(), fetch: source.number(), run: source.number() },
        }
        .into(),
        24 => Done { task, attempt }.into(),
        25 => Started { task, attempt }.into(),
        26 => {
            let (stream, offset) = (some_stream(source), source.number());
            Output { task, attempt, stream, offset, data: Blob::from(source.bytes(40)) }.into()
        }
        27 => OutputTaken { task, attempt, stream: some_stream(source), upto: source.number() }.into(),
        28 => {
            let data = Blob::from(source.bytes(40));
            Input { task, attempt, offset: source.number(), data, last: source.rarely(3) }.into()
        }
        29 => InputTaken { task, attempt, upto: source.number() }.into(),
        30 => FileRequest {
            task,
            attempt,
            file: source.number() as u32,
            connection: ConnectionId(source.number()),
            callback,
            from: source.number(),
        }
        .into(),
        31 => FileRefused { callback, error: file_error(source) }.into(),
        32 => Stop { task, attempt }.into(),
        33 => FileBegin {
            callback,
            stream_len: source.number(),
            manifest_len: source.number(),
            stamp: source.number(),
        }
        .into(),
        34 => block(callback, source.number(), source.below(100)).into(),
        35 => FileEnd { callback, root: Hash([source.byte(); 32]) }.into(),
        36 => FileFailed { callback, error: file_error(source) }.into(),
        _ => FileCancel { callback }.into(),
    }
}

/// Which kind of connection the answer goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum On {
    /// The one that the question came on.
    Same,
    /// A task connection.
    Tasks,
    /// A file connection.
    Files,
}

/// What an honest peer would say next to what it has heard; with one of its fields wrong, now and then.
pub(super) fn answer(
    source: &mut Source<'_>,
    now: Instant,
    heard: &Message,
    far: ConnectionId,
) -> Option<(On, Message)> {
    let same = |message| Some((On::Same, message));
    match heard.clone() {
        Message::Publish(Publish { task, .. }) => match source.below(4) {
            0 => same(Accepted { task }.into()),
            1 => same(Assign { task, publisher: somewhere(source) }.into()),
            _ => {
                let claim = ClaimNumber(source.number());
                Some((On::Tasks, Claim { task, claim, stamp: now }.into()))
            }
        },
        Message::Register(_) | Message::Heartbeat(_) if source.rarely(2) => {
            let (peer, number) = (source.below(3), 1 + source.below(3) as u64);
            let task = TaskId { publisher: instance(peer), number };
            same(Assign { task, publisher: address(peer).into() }.into())
        }
        Message::Assign(Assign { task, .. }) => {
            same(Taken { task, by: node(source), attempt: attempt(source) }.into())
        }
        Message::Register(_) => same(Registered { address: somewhere(source) }.into()),
        Message::Claim(Claim { task, claim, stamp }) => {
            let number = AttemptNumber(source.number());
            let (spec, received) = (spec(source), [0, source.below(2) as u64]);
            let granted = Granted { task, claim, attempt: number, stamp, spec, received };
            same(grant(granted, number.0))
        }
        Message::Renew(Renew { stamp, attempts }) => {
            let (current, not) = if source.rarely(4) { (vec![], attempts) } else { (attempts, vec![]) };
            same(Renewed { stamp, current, not }.into())
        }
        Message::FileRequest(FileRequest { callback, from, .. }) => match source.below(6) {
            0 | 1 => {
                let (stream_len, manifest_len) = (FILE_LEN, MANIFEST_LEN);
                let stamp = u64::from(source.rarely(4));
                Some((On::Files, FileBegin { callback, stream_len, manifest_len, stamp }.into()))
            }
            2 | 3 => Some((On::Files, block(callback, from, FILE_LEN as usize).into())),
            4 => Some((On::Files, FileEnd { callback, root: Hash([7; 32]) }.into())),
            _ => same(FileRefused { callback, error: file_error(source) }.into()),
        },
        Message::Granted(Granted { task, attempt, .. })
        | Message::GrantedFiles(GrantedFiles { granted: Granted { task, attempt, .. }, .. }) => {
            match source.below(6) {
                0 => same(Started { task, attempt }.into()),
                1 => {
                    let callback = CallbackId(source.number());
                    let file = source.below(2) as u32;
                    same(FileRequest { task, attempt, file, connection: far, callback, from: 0 }.into())
                }
                2 => same(Renew { stamp: now, attempts: vec![(task, attempt)] }.into()),
                3 => {
                    let (exit, outputs) = (exit(source), vec![Ok(()); source.below(3)]);
                    let (written, times) = ([source.below(3) as u64, 0], Times::default());
                    same(Finished { task, attempt, exit, outputs, written, times }.into())
                }
                4 => {
                    let data = Blob::from("output".as_bytes());
                    same(Output { task, attempt, stream: Stream::Stdout, offset: 0, data }.into())
                }
                _ => same(Stopped { task, attempt, why: StopReason::Told }.into()),
            }
        }
        Message::Finished(Finished { task, attempt, outputs, .. }) => match source.below(3) {
            0 => same(Done { task, attempt }.into()),
            _ => {
                let file = source.below(outputs.len().max(1)) as u32;
                let callback = CallbackId(source.number());
                same(FileRequest { task, attempt, file, connection: far, callback, from: 0 }.into())
            }
        },
        Message::Output(Output { task, attempt, stream, offset, data }) => {
            let upto = offset + data.0.len() as u64;
            same(OutputTaken { task, attempt, stream, upto }.into())
        }
        Message::Ask(Ask { request, .. }) => same(Answer { request, reply: reply(source) }.into()),
        Message::FileBegin(FileBegin { callback, .. }) => same(FileCancel { callback }.into()),
        _ => None,
    }
}

/// A pause, from nothing to far beyond every timeout.
pub(super) fn pause(source: &mut Source<'_>) -> Duration {
    let millis = [0, 1, 50, 300, 1_000, 3_000, 5_000, 9_000, 15_000, 60_000, 700_000];
    Duration::from_millis(source.one(&millis))
}
