//! Every notice of a daemon as one log event: its name and its fields, for both formats.
//!
//! This is the only place that turns notices into words for logs; `xxnet demo` reads them back by these names.

use super::words::{end_kind, exit_words, file_step, publish_error, stop_reason, task_step, wait_reason};
use serde_json::{Value, json};
use tracing::Level;
use xxnet_core::Address;
use xxnet_core::connection::DisconnectReason;
use xxnet_core::disk::FileError;
use xxnet_core::executor::{Ending, ExecutorNotice};
use xxnet_core::process::Stream;
use xxnet_core::registry::RegistryNotice;
use xxnet_runtime_mio::messages::NetEvent;

/// The name of the event that tells one of a task's ten steps.
pub(crate) const TASK_STEP: &str = "task-step";
/// The name of the event that tells one of a file request's four steps.
pub(crate) const FILE_STEP: &str = "file-step";

/// A notice that can be logged.
pub(crate) trait Notable {
    /// How much it matters.
    fn level(&self) -> Level;
    /// Its name and its fields.
    fn describe(&self) -> (&'static str, Value);
}

/// Logs a notice, if anybody listens at its level.
pub(crate) fn log(notice: &impl Notable) {
    let level = notice.level();
    if level > tracing::level_filters::LevelFilter::current() {
        return;
    }
    let (event, fields) = notice.describe();
    let fields = fields.to_string();
    // A level is part of its call site, so there is one call a level. `fields` is what the log writer unpacks.
    match level {
        Level::ERROR => tracing::error!(event, fields),
        Level::WARN => tracing::warn!(event, fields),
        Level::INFO => tracing::info!(event, fields),
        Level::DEBUG => tracing::debug!(event, fields),
        Level::TRACE => tracing::trace!(event, fields),
    }
}

impl Notable for RegistryNotice {
    fn level(&self) -> Level {
        match self {
            Self::MemberSuspect(_)
            | Self::TasksFull(_)
            | Self::NameShared { .. }
            | Self::TurnedAway { .. }
            | Self::Misbehaved { .. }
            | Self::AcceptFailing(_) => Level::WARN,
            Self::Listening(_) | Self::MemberJoined { .. } | Self::MemberGone { .. } | Self::Stopped => {
                Level::INFO
            }
            // What follows from it is the one sentence that is said.
            Self::ListenFailed(..)
            | Self::RegistrationLinked { .. }
            | Self::TaskPublished { .. }
            | Self::TaskProposed { .. }
            | Self::ProposalReturned { .. }
            | Self::TaskTaken { .. }
            | Self::TaskOpen(_)
            | Self::TaskEnded(..) => Level::DEBUG,
        }
    }

    fn describe(&self) -> (&'static str, Value) {
        match self {
            Self::Listening(address) => ("listening", json!({ "address": address.to_string() })),
            Self::ListenFailed(address, error) => {
                ("listen-failed", json!({ "address": address.to_string(), "why": error.to_string() }))
            }
            Self::RegistrationLinked { connection, member } => (
                "registration-linked",
                json!({ "connection": connection.to_string(), "member": member.to_string() }),
            ),
            Self::MemberJoined { member, name, address, slots, client, again } => (
                "member-joined",
                json!({
                    "member": member.to_string(),
                    "name": name,
                    "address": address.to_string(),
                    "slots": slots,
                    "client": client,
                    "again": again,
                }),
            ),
            Self::NameShared { name, first, second } => (
                "name-shared",
                json!({ "name": name, "first": first.to_string(), "second": second.to_string() }),
            ),
            Self::MemberSuspect(member) => ("member-suspect", json!({ "member": member.to_string() })),
            Self::MemberGone { member, name, left } => {
                ("member-gone", json!({ "member": member.to_string(), "name": name, "left": left }))
            }
            Self::TaskPublished { task, again } => {
                ("task-published", json!({ "task": task.to_string(), "again": again }))
            }
            Self::TaskProposed { task, to, name } => {
                ("task-proposed", json!({ "task": task.to_string(), "to": to.to_string(), "name": name }))
            }
            Self::ProposalReturned { task, from } => {
                ("proposal-returned", json!({ "task": task.to_string(), "from": from.to_string() }))
            }
            Self::TaskTaken { task, by, attempt } => (
                "task-taken",
                json!({ "task": task.to_string(), "by": by.to_string(), "attempt": attempt.0 }),
            ),
            Self::TaskOpen(task) => ("task-open", json!({ "task": task.to_string() })),
            Self::TaskEnded(task, how) => (
                "task-ended",
                json!({ "task": task.to_string(), "how": how.map_or("publisher gone", end_kind) }),
            ),
            Self::TasksFull(publisher) => ("tasks-full", json!({ "publisher": publisher.to_string() })),
            Self::TurnedAway { from, reason } => turned_away(from, reason),
            Self::Misbehaved { member, what } => {
                ("misbehaved", json!({ "peer": member.to_string(), "what": what }))
            }
            Self::AcceptFailing(error) => ("accept-failing", json!({ "why": error.to_string() })),
            Self::Stopped => ("stopped", json!({})),
        }
    }
}

impl Notable for NetEvent {
    fn level(&self) -> Level {
        match self {
            Self::Undelivered { .. }
            | Self::Refused { .. }
            | Self::TurnedAway { .. }
            | Self::AcceptFailing(_)
            | Self::Missed { .. } => Level::WARN,
            Self::Connected { .. }
            | Self::Interrupted { .. }
            | Self::Resumed { .. }
            | Self::Disconnected { .. }
            | Self::Retrying { .. } => Level::INFO,
        }
    }

    fn describe(&self) -> (&'static str, Value) {
        let ended = |at: &Address, reason: &DisconnectReason| json!({ "peer": at.to_string(), "why": reason.to_string() });
        match self {
            Self::Connected { at, name } => ("connected", json!({ "peer": at.to_string(), "name": name })),
            Self::Interrupted { at, reason } => ("interrupted", ended(at, reason)),
            Self::Resumed { at } => ("resumed", json!({ "peer": at.to_string() })),
            Self::Disconnected { at, reason } => ("disconnected", ended(at, reason)),
            Self::Retrying { to, reason } => ("retrying", ended(to, reason)),
            Self::Undelivered { to, reason, messages } => (
                "undelivered",
                json!({ "peer": to.to_string(), "why": reason.to_string(), "messages": messages.len() }),
            ),
            Self::Refused { to, error, .. } => {
                ("refused", json!({ "peer": to.to_string(), "why": error.to_string() }))
            }
            Self::TurnedAway { from, reason } => turned_away(from, reason),
            Self::AcceptFailing(error) => ("accept-failing", json!({ "why": error.to_string() })),
            Self::Missed { events, messages } => {
                ("missed", json!({ "events": events, "messages": messages }))
            }
        }
    }
}

impl Notable for ExecutorNotice {
    fn level(&self) -> Level {
        match self {
            Self::RegistryLost { .. }
            | Self::AttemptLost { .. }
            | Self::LandedBeside { .. }
            | Self::FolderStays { .. }
            | Self::Unreachable { .. }
            | Self::TurnedAway { .. }
            | Self::Misbehaved { .. }
            | Self::AcceptFailing(_) => Level::WARN,
            Self::Listening(_)
            | Self::Registered { .. }
            | Self::AttemptStarted { .. }
            | Self::AttemptFinished { .. }
            | Self::AttemptStopped { .. }
            | Self::PublishFailed { .. }
            | Self::Stopped => Level::INFO,
            // What follows from it is the one sentence that is said.
            Self::ListenFailed(..)
            | Self::Registering(_)
            | Self::Published { .. }
            | Self::Waiting { .. }
            | Self::Step { .. }
            | Self::FileStep { .. }
            | Self::Callback { .. }
            | Self::Granted { .. }
            | Self::Running { .. }
            | Self::Ended { .. }
            | Self::AttemptGranted { .. }
            | Self::AttemptDone { .. } => Level::DEBUG,
            Self::Output { .. } | Self::InputWanted(_) | Self::InputClosed(_) | Self::Progress { .. } => {
                Level::TRACE
            }
        }
    }

    fn describe(&self) -> (&'static str, Value) {
        match self {
            Self::Listening(address) => ("listening", json!({ "address": address.to_string() })),
            Self::ListenFailed(address, error) => {
                ("listen-failed", json!({ "address": address.to_string(), "why": error.to_string() }))
            }
            Self::Registering(registry) => ("registering", json!({ "registry": registry.to_string() })),
            Self::Registered { registry, address } => {
                ("registered", json!({ "registry": registry.to_string(), "address": address.to_string() }))
            }
            Self::RegistryLost { registry, reason, retry } => (
                "registry-lost",
                json!({
                    "registry": registry.to_string(),
                    "why": reason.to_string(),
                    "retry_seconds": retry.as_secs_f64(),
                }),
            ),
            Self::Published { token, task } => {
                ("published", json!({ "token": token.0, "task": task.to_string() }))
            }
            Self::PublishFailed { token, error } => {
                ("publish-failed", json!({ "token": token.0, "why": publish_error(error) }))
            }
            Self::Waiting { task, reason } => {
                ("waiting", json!({ "task": task.to_string(), "why": wait_reason(reason) }))
            }
            Self::Step { step, task, peer, connection } => (
                TASK_STEP,
                json!({
                    "step": *step as u8,
                    "what": task_step(*step),
                    "task": task.map(|task| task.to_string()),
                    "peer": peer.map(|peer| peer.to_string()),
                    "connection": connection.map(|connection| connection.to_string()),
                }),
            ),
            Self::FileStep { step, task, file, callback, peer, bytes } => (
                FILE_STEP,
                json!({
                    "step": *step as u8,
                    "what": file_step(*step),
                    "task": task.to_string(),
                    "file": file,
                    "callback": callback.0,
                    "peer": peer.to_string(),
                    "bytes": bytes,
                }),
            ),
            Self::Callback { callback, task, result } => (
                "callback",
                json!({ "callback": callback.0, "task": task.to_string(), "error": file_error(result) }),
            ),
            Self::Granted { task, attempt, executor, name } => (
                "granted",
                json!({
                    "task": task.to_string(),
                    "attempt": attempt.0,
                    "executor": executor.to_string(),
                    "name": name,
                }),
            ),
            Self::Running { task, attempt } => {
                ("running", json!({ "task": task.to_string(), "attempt": attempt.0 }))
            }
            Self::AttemptLost { task, attempt, executor, why, output_shown } => (
                "attempt-lost",
                json!({
                    "task": task.to_string(),
                    "attempt": attempt.0,
                    "executor": executor,
                    "why": why,
                    "output_shown": output_shown,
                }),
            ),
            Self::Output { task, attempt, stream, offset, data } => (
                "output",
                json!({
                    "task": task.to_string(),
                    "attempt": attempt.0,
                    "stream": stream_name(*stream),
                    "offset": offset,
                    "bytes": data.len(),
                }),
            ),
            Self::InputWanted(task) => ("input-wanted", json!({ "task": task.to_string() })),
            Self::InputClosed(task) => ("input-closed", json!({ "task": task.to_string() })),
            Self::Progress { task, file, result, done, total } => (
                "progress",
                json!({
                    "task": task.to_string(),
                    "file": file,
                    "result": result,
                    "done": done,
                    "total": total,
                }),
            ),
            Self::LandedBeside { task, beside } => (
                "landed-beside",
                json!({
                    "task": task.to_string(),
                    "count": beside.count,
                    "first": beside.first.iter().map(|aside| [&aside.own, &aside.name]).collect::<Vec<_>>(),
                }),
            ),
            Self::Ended { task, ending } => {
                let mut fields = ending_fields(ending);
                fields["task"] = task.to_string().into();
                ("ended", fields)
            }
            Self::AttemptGranted { task, attempt, publisher } => (
                "attempt-granted",
                json!({ "task": task.to_string(), "attempt": attempt.0, "publisher": publisher.to_string() }),
            ),
            Self::AttemptStarted { task, attempt } => {
                ("attempt-started", json!({ "task": task.to_string(), "attempt": attempt.0 }))
            }
            Self::AttemptFinished { task, attempt, exit } => (
                "attempt-finished",
                json!({ "task": task.to_string(), "attempt": attempt.0, "exit": exit_words(*exit) }),
            ),
            Self::AttemptStopped { task, attempt, why } => (
                "attempt-stopped",
                json!({ "task": task.to_string(), "attempt": attempt.0, "why": stop_reason(why) }),
            ),
            Self::AttemptDone { task, attempt } => {
                ("attempt-done", json!({ "task": task.to_string(), "attempt": attempt.0 }))
            }
            Self::FolderStays { task, attempt, error } => (
                "folder-stays",
                json!({ "task": task.to_string(), "attempt": attempt.0, "why": error.to_string() }),
            ),
            Self::Unreachable { address, reason } => {
                ("unreachable", json!({ "address": address.to_string(), "why": reason.to_string() }))
            }
            Self::TurnedAway { from, reason } => turned_away(from, reason),
            Self::Misbehaved { peer, what } => {
                ("misbehaved", json!({ "peer": peer.to_string(), "what": what }))
            }
            Self::AcceptFailing(error) => ("accept-failing", json!({ "why": error.to_string() })),
            Self::Stopped => ("stopped", json!({})),
        }
    }
}

fn turned_away(from: &impl std::fmt::Display, reason: &DisconnectReason) -> (&'static str, Value) {
    ("turned-away", json!({ "from": from.to_string(), "why": reason.to_string() }))
}

fn ending_fields(ending: &Ending) -> Value {
    let how = end_kind(ending.kind());
    match ending {
        Ending::Done { exit, executor, outputs, times } => json!({
            "how": how,
            "exit": exit_words(*exit),
            "executor": executor,
            "output_errors": outputs.iter().map(file_error).collect::<Vec<_>>(),
            "claim_us": times.claim,
            "fetch_us": times.fetch,
            "run_us": times.run,
        }),
        Ending::Failed { attempts, set_aside } => {
            json!({ "how": how, "attempts": attempts, "set_aside": set_aside })
        }
        Ending::Cancelled | Ending::Expired => json!({ "how": how }),
    }
}

fn file_error(result: &Result<(), FileError>) -> Option<String> {
    result.as_ref().err().map(ToString::to_string)
}

fn stream_name(stream: Stream) -> &'static str {
    match stream {
        Stream::Stdout => "stdout",
        Stream::Stderr => "stderr",
    }
}
