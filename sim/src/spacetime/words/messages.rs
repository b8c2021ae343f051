//! The cluster's messages in words.

use super::packs::Told;
use super::{bytes, command_line, counted, field, span};
use xxnet_core::message::{
    DeclineReason, EndKind, Exit, Granted, Message, Publish, Question, RefuseReason, Reply, Spec, StopReason,
    Times, WaitReason,
};
use xxnet_core::needs::Need;
use xxnet_core::process::{ExitStatus, Stream};
use xxnet_core::{AttemptNumber, TaskId};

pub(super) fn message(message: &Message) -> Told {
    match message {
        Message::Register(_)
        | Message::Registered(_)
        | Message::Heartbeat(_)
        | Message::Leave(_)
        | Message::Publish(_)
        | Message::PublishNeeding(_)
        | Message::Accepted(_)
        | Message::Assign(_)
        | Message::Withdraw(_)
        | Message::Decline(_)
        | Message::Taken(_)
        | Message::Open(_)
        | Message::Ended(_)
        | Message::Waits(_) => registration(message),
        Message::Ask(m) => Told::new("Ask", question(&m.question)).with("request", m.request.to_string()),
        Message::Answer(m) => Told::new("Answer", reply(&m.reply)).with("reply", field(&m.reply)),
        Message::FileBegin(_)
        | Message::Block(_)
        | Message::FileEnd(_)
        | Message::FileFailed(_)
        | Message::FileCancel(_)
        | Message::FileRequest(_)
        | Message::FileRefused(_) => file(message),
        Message::Claim(_)
        | Message::Granted(_)
        | Message::GrantedFiles(_)
        | Message::Refused(_)
        | Message::Renew(_)
        | Message::Renewed(_)
        | Message::Stopped(_)
        | Message::Finished(_)
        | Message::Done(_)
        | Message::Started(_)
        | Message::Output(_)
        | Message::OutputTaken(_)
        | Message::Input(_)
        | Message::InputTaken(_)
        | Message::Stop(_) => attempt(message),
    }
}

/// Between an executor and a registry.
fn registration(message: &Message) -> Told {
    let told = |say: String| Told::new(message.name(), say);
    match message {
        Message::Register(m) => {
            let what = if m.client { "a client".to_owned() } else { counted(m.slots as usize, "slot") };
            told(format!("registers as {}, with {what}", m.name))
                .label(&*m.name)
                .with("listens at", m.address.to_string())
                .with("runs", field(&m.running))
                .with("has proposed to it", field(&m.proposed))
                .with("labels", field(&m.labels))
        }
        Message::Registered(m) => {
            told(format!("says that it is registered, and that others will dial it at {}", m.address))
        }
        Message::Heartbeat(m) => told(format!("lives, and has {} free", counted(m.free as usize, "slot")))
            .label(format!("{} free", m.free)),
        Message::Leave(_) => told("leaves on purpose".to_owned()),
        Message::Publish(m) => publish(message.name(), m, &[]),
        Message::PublishNeeding(m) => publish(message.name(), &m.publish, &m.needs),
        Message::Accepted(m) => told(format!("has task {} on its list", m.task)).label(m.task.to_string()),
        Message::Assign(m) => {
            told(format!("proposes task {}; it is to be claimed at {}", m.task, m.publisher))
                .label(m.task.to_string())
                .with("publisher", m.publisher.to_string())
        }
        Message::Withdraw(m) => {
            told(format!("takes its proposal of task {} back", m.task)).label(m.task.to_string())
        }
        Message::Decline(m) => {
            let why = match m.why {
                DeclineReason::Unreachable => "its publisher cannot be reached",
                DeclineReason::Refused => "its publisher refused",
                DeclineReason::Busy => "it has no room for it",
            };
            told(format!("gives the proposal of task {} back: {why}", m.task)).label(m.task.to_string())
        }
        Message::Taken(m) => told(format!("says that task {} is held by {}, as {}", m.task, m.by, m.attempt))
            .label(m.task.to_string()),
        Message::Open(m) => told(format!("says that task {} is free again", m.task))
            .label(m.task.to_string())
            .with("not to", field(&m.avoid)),
        Message::Ended(m) => told(format!("says that task {} has ended: {}", m.task, end_kind(m.how)))
            .label(format!("{} {}", m.task, end_kind(m.how))),
        Message::Waits(m) => told(format!("says what task {} waits for: {}", m.task, waits(m.reason)))
            .label(m.task.to_string()),
        _ => told(String::new()),
    }
}

fn publish(name: &'static str, m: &Publish, needs: &[Need]) -> Told {
    let told = Told::new(name, format!("publishes task {}: {}", m.task, m.title))
        .label(m.task.to_string())
        .with("command", &*m.title)
        .with("publisher", m.publisher.to_string())
        .with("who may run it", field(&m.placement))
        .with(
            "held by",
            m.taken.map_or_else(|| "nobody".to_owned(), |(by, attempt)| format!("{by}, {attempt}")),
        )
        .with("not to", field(&m.avoid));
    if needs.is_empty() { told } else { told.with("needs", field(&needs)) }
}

fn question(question: &Question) -> String {
    match question {
        Question::Nodes => "asks who is registered".to_owned(),
        Question::Tasks => "asks which tasks there are".to_owned(),
        Question::Cancel(name) => format!("asks to end task {}-{}", name.publisher, name.number),
        Question::Why(name) => format!("asks what task {}-{} waits for", name.publisher, name.number),
        Question::Labels => "asks which labels executors have".to_owned(),
    }
}

fn reply(reply: &Reply) -> String {
    match reply {
        Reply::Nodes(rows) => format!("answers with {}", counted(rows.len(), "node")),
        Reply::Tasks { rows, .. } => format!("answers with {}", counted(rows.len(), "task")),
        Reply::Cancelled(task) => format!("answers that task {task} is cancelled"),
        Reply::Why(row) => format!("answers that task {} is {}", row.task, row.state),
        Reply::AlreadyEnded(task, how) => format!("answers that task {task} had ended: {}", end_kind(*how)),
        Reply::NoSuchTask => "answers that there is no such task".to_owned(),
        Reply::Ambiguous(tasks) => format!("answers that {} have that name", counted(tasks.len(), "task")),
        Reply::PublisherSilent(task) => format!("answers that the publisher of {task} is silent"),
        Reply::Labels(rows) => format!("answers with the labels of {}", counted(rows.len(), "node")),
    }
}

/// Between the executor that runs a task and the one that has published it.
fn attempt(message: &Message) -> Told {
    let told = |say: String| Told::new(message.name(), say);
    match message {
        Message::Claim(m) => told(format!("wants task {} ({})", m.task, m.claim)).label(m.task.to_string()),
        Message::Granted(m) => granted("Granted", m),
        Message::GrantedFiles(m) => {
            let sizes: Vec<String> = m.contents.iter().map(|content| bytes(content.stream_len)).collect();
            granted("GrantedFiles", &m.granted).with("sizes of the inputs", sizes.join(", "))
        }
        Message::Refused(m) => {
            let why = match m.why {
                RefuseReason::Elsewhere => "another executor holds it",
                RefuseReason::Ended => "it is unknown or has ended",
            };
            told(format!("refuses task {} ({}): {why}", m.task, m.claim)).label(m.task.to_string())
        }
        Message::Renew(m) => {
            told(format!("still holds {}, and asks for its lease anew", attempts(&m.attempts)))
                .label(format!("×{}", m.attempts.len()))
                .with("attempts", field(&m.attempts))
        }
        Message::Renewed(m) => {
            let mut say = format!("renews the lease of {}", attempts(&m.current));
            if !m.not.is_empty() {
                say.push_str(&format!("; {} must stop", attempts(&m.not)));
            }
            told(say)
                .label(format!("×{}", m.current.len()))
                .with("current", field(&m.current))
                .with("not", field(&m.not))
        }
        Message::Stopped(m) => of(message, m.task, m.attempt, |what| {
            format!("has stopped {what}, and nothing of it runs any more: {}", stop_reason(&m.why))
        }),
        Message::Finished(m) => {
            of(message, m.task, m.attempt, |what| format!("has finished {what}: {}", exit_words(m.exit)))
                .with("exit", exit_words(m.exit))
                .with("results", field(&m.outputs))
                .with("written", format!("{} and {}", bytes(m.written[0]), bytes(m.written[1])))
                .with("took", times(m.times))
        }
        Message::Done(m) => {
            of(message, m.task, m.attempt, |what| format!("has everything of {what}: forget it"))
        }
        Message::Started(m) => of(message, m.task, m.attempt, |what| format!("runs the command of {what}")),
        Message::Output(m) => {
            let (size, to) = (bytes(m.data.0.len() as u64), stream(m.stream));
            of(message, m.task, m.attempt, |what| format!("sends {size} that {what} wrote to {to}"))
                .label(size)
                .with("stream", to)
                .with("from byte", m.offset.to_string())
        }
        Message::OutputTaken(m) => {
            let (size, of_stream) = (bytes(m.upto), stream(m.stream));
            of(message, m.task, m.attempt, |what| format!("has taken {size} of the {of_stream} of {what}"))
                .label(format!("up to {size}"))
        }
        Message::Input(m) => {
            let (size, end) = (bytes(m.data.0.len() as u64), if m.last { ", and that is all" } else { "" });
            of(message, m.task, m.attempt, |what| format!("sends {size} of standard input for {what}{end}"))
                .label(size)
                .with("from byte", m.offset.to_string())
        }
        Message::InputTaken(m) if m.upto == u64::MAX => of(message, m.task, m.attempt, |what| {
            format!("says that {what} reads no standard input any more")
        }),
        Message::InputTaken(m) => of(message, m.task, m.attempt, |what| {
            format!("says that {what} has read {} of standard input", bytes(m.upto))
        })
        .label(format!("up to {}", bytes(m.upto))),
        Message::Stop(m) => {
            of(message, m.task, m.attempt, |what| format!("says that {what} is not wanted any more"))
        }
        _ => told(String::new()),
    }
}

fn of(message: &Message, task: TaskId, attempt: AttemptNumber, say: impl FnOnce(String) -> String) -> Told {
    Told::new(message.name(), say(format!("task {task} ({attempt})"))).label(task.to_string())
}

fn granted(name: &'static str, m: &Granted) -> Told {
    let Spec { argv, env, inputs, outputs, stdin, timeout } = &m.spec;
    let command = command_line(argv.iter().map(|word| &word.0[..]));
    // Values may be secrets; names are not.
    let names: Vec<String> = env.iter().map(|(name, _)| name.display()).collect();
    let limit = timeout.map_or_else(|| "none".to_owned(), span);
    Told::new(name, format!("grants task {} as {}, under a lease: {command}", m.task, m.attempt))
        .label(format!("{} {}", m.task, m.attempt))
        .with("claim", m.claim.to_string())
        .with("command", command)
        .with("environment", names.join(" "))
        .with("inputs", field(inputs))
        .with("outputs", field(outputs))
        .with("standard input", if *stdin { "forwarded" } else { "empty" })
        .with("time limit", limit)
        .with("output here already", format!("{} and {}", bytes(m.received[0]), bytes(m.received[1])))
}

/// What files travel in.
fn file(message: &Message) -> Told {
    let told = |say: String| Told::new(message.name(), say);
    match message {
        Message::FileRequest(m) => {
            let from = if m.from == 0 { String::new() } else { format!(", from block {} on", m.from) };
            told(format!("asks for file {} of task {}{from} ({})", m.file, m.task, m.callback))
                .label(if m.from == 0 {
                    format!("{}", m.file)
                } else {
                    format!("{} from block {}", m.file, m.from)
                })
                .with("task", format!("{} {}", m.task, m.attempt))
                .with("first block wanted", m.from.to_string())
                .with("to come on", m.connection.to_string())
                .with("callback", m.callback.to_string())
        }
        Message::FileRefused(m) => told(format!("refuses the file ({}): {}", m.callback, m.error)),
        Message::FileBegin(m) => {
            told(format!("begins to send a file of {} ({})", bytes(m.stream_len), m.callback))
                .label(bytes(m.stream_len))
                .with("whole stream", bytes(m.stream_len))
                .with("manifest in it", bytes(m.manifest_len))
                .with("state of the source", format!("{:x}", m.stamp))
        }
        Message::Block(m) => {
            let size = bytes(m.data.iter().map(|piece| piece.len() as u64).sum());
            told(format!("sends block {} of the file, {size} ({})", m.index, m.callback))
                .label(format!("{} · {size}", m.index))
                .with("callback", m.callback.to_string())
                .with("hash", format!("{:?}", m.hash))
        }
        Message::FileEnd(m) => told(format!("has sent all of the file ({})", m.callback))
            .with("callback", m.callback.to_string())
            .with("root hash", format!("{:?}", m.root)),
        Message::FileFailed(m) => told(format!("sends no more of the file ({}): {}", m.callback, m.error)),
        Message::FileCancel(m) => told(format!("wants no more of the file ({})", m.callback)),
        _ => told(String::new()),
    }
}

fn attempts(attempts: &[(TaskId, AttemptNumber)]) -> String {
    match attempts {
        [(task, attempt)] => format!("task {task} ({attempt})"),
        several => counted(several.len(), "attempt"),
    }
}

fn stream(stream: Stream) -> &'static str {
    match stream {
        Stream::Stdout => "standard output",
        Stream::Stderr => "standard error",
    }
}

fn times(times: Times) -> String {
    format!("claim {}, files {}, run {}", span(times.claim), span(times.fetch), span(times.run))
}

pub(super) fn end_kind(kind: EndKind) -> &'static str {
    match kind {
        EndKind::Done => "done",
        EndKind::Failed => "failed",
        EndKind::Cancelled => "cancelled",
        EndKind::Expired => "expired",
    }
}

pub(super) fn exit_words(exit: Exit) -> String {
    match exit {
        Exit::Status(status) => status_words(status),
        Exit::TimedOut => "it was killed at its time limit".to_owned(),
        Exit::NotFound => "there is no such command".to_owned(),
        Exit::NotExecutable => "it cannot be executed".to_owned(),
    }
}

pub(super) fn status_words(status: ExitStatus) -> String {
    match status {
        ExitStatus::Code(code) => format!("exit code {code}"),
        ExitStatus::Signal(signal) => format!("signal {signal}"),
    }
}

pub(super) fn waits(reason: WaitReason) -> String {
    match reason {
        WaitReason::NoExecutor => "an executor that may run it".to_owned(),
        WaitReason::NoFreeSlot => "a free slot".to_owned(),
        WaitReason::Proposed(to) => format!("{to}, to which it is proposed"),
        WaitReason::AllAvoided => "another executor than those that failed with it".to_owned(),
        WaitReason::NeedsUnmet => "an executor with the labels that it needs".to_owned(),
    }
}

pub(super) fn stop_reason(why: &StopReason) -> String {
    match why {
        StopReason::Told => "the publisher said so".to_owned(),
        StopReason::LeaseOver => "its lease had run out".to_owned(),
        StopReason::Shutdown => "the executor shuts down".to_owned(),
        StopReason::LateGrant => "the grant came too late".to_owned(),
        StopReason::Input(error) => format!("an input did not arrive: {error}"),
        StopReason::Spawn(error) => format!("it could not be started: {error}"),
        StopReason::Disk(error) => format!("the disk failed: {error}"),
    }
}
