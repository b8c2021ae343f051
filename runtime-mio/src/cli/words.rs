//! The machines' enums in people's words, one place each.

use xxnet_core::Address;
use xxnet_core::connection::DisconnectReason;
use xxnet_core::executor::{FileStep, PublishError, TaskStep};
use xxnet_core::message::{EndKind, Exit, StopReason, WaitReason};
use xxnet_core::net::NetError;
use xxnet_core::process::ExitStatus;

/// One of a task's ten steps (seed 3.1.2).
pub(crate) fn task_step(step: TaskStep) -> &'static str {
    match step {
        TaskStep::Published => "publishes the task to the registry",
        TaskStep::Assigned => "is assigned the task by the registry",
        TaskStep::TaskConnectionMade => "makes its task connection",
        TaskStep::TaskDialled => "dials the publisher",
        TaskStep::TaskAccepted => "makes its end of the task connection",
        TaskStep::TaskLinked => "is linked for the task",
        TaskStep::FileConnectionMade => "makes its file connection",
        TaskStep::FileDialled => "dials the publisher's file service",
        TaskStep::FileAccepted => "makes the file service's end of it",
        TaskStep::FileLinked => "is linked for files",
    }
}

/// One of a file request's four steps (seed 3.1.2).
pub(crate) fn file_step(step: FileStep) -> &'static str {
    match step {
        FileStep::Requested => "asks for the file",
        FileStep::Told => "tells its file service",
        FileStep::Sent => "sends the file",
        FileStep::Delivered => "has it, verified: the callback fires",
        FileStep::Shared => "waits for the file, which is on its way already for another task",
    }
}

/// Why nobody has a task yet.
pub(crate) fn wait_reason(reason: &WaitReason) -> String {
    match reason {
        WaitReason::NoExecutor => "no executor that may run it is registered".to_owned(),
        WaitReason::NoFreeSlot => "all slots are taken".to_owned(),
        WaitReason::Proposed(to) => format!("proposed to {to}, which has not taken it yet"),
        WaitReason::AllAvoided => {
            "every executor has either died under it or cannot reach its publisher".to_owned()
        }
        WaitReason::NeedsUnmet => "no executor that is there has the labels that it needs".to_owned(),
    }
}

/// How a task ended.
pub(crate) fn end_kind(kind: EndKind) -> &'static str {
    match kind {
        EndKind::Done => "done",
        EndKind::Failed => "failed",
        EndKind::Cancelled => "cancelled",
        EndKind::Expired => "expired",
    }
}

/// How a command ended.
pub(crate) fn exit_words(exit: Exit) -> String {
    match exit {
        Exit::Status(ExitStatus::Code(code)) => format!("code {code}"),
        Exit::Status(ExitStatus::Signal(signal)) => format!("signal {signal}"),
        Exit::TimedOut => "timed out".to_owned(),
        Exit::NotFound => "command not found".to_owned(),
        Exit::NotExecutable => "not executable".to_owned(),
    }
}

/// Why an attempt was stopped.
pub(crate) fn stop_reason(why: &StopReason) -> String {
    match why {
        StopReason::Told => "the publisher said so".to_owned(),
        StopReason::LeaseOver => "its lease ran out: the publisher was not heard in time".to_owned(),
        StopReason::Shutdown => "this executor shuts down".to_owned(),
        StopReason::LateGrant => "the grant came too late".to_owned(),
        StopReason::Input(error) => format!("an input did not arrive: {error}"),
        StopReason::Spawn(error) => format!("it could not be started: {error}"),
        StopReason::Disk(error) => format!("the disk failed: {error}"),
    }
}

/// Why a task was not published.
pub(crate) fn publish_error(error: &PublishError) -> String {
    match error {
        PublishError::Invalid(what) => (*what).to_owned(),
        PublishError::BadName(name) => {
            format!("the name '{name}' leads out of the work folder; names are relative, without ..")
        }
        PublishError::Input(error) => format!("cannot read the input {error}"),
        PublishError::Unmet(need) => {
            format!("only this machine may run it, and it has no label {need}; leave out --local or --need")
        }
        PublishError::TooMany => "too many tasks are published at once".to_owned(),
        PublishError::ShuttingDown => "it is shutting down".to_owned(),
    }
}

/// Why there is no registry at `address`, and what to do.
pub(crate) fn no_registry(address: &Address, reason: &DisconnectReason) -> String {
    match reason {
        DisconnectReason::Net(NetError::Refused) => format!(
            "there is no registry at {address}; start one with `xxnet up` (or `xxnet reg`), or name another with --reg \
             ADDR or XXNET_REG"
        ),
        DisconnectReason::Net(NetError::NameNotFound) => format!(
            "cannot reach the registry {address}: there is no host of that name; check --reg or XXNET_REG"
        ),
        DisconnectReason::Net(NetError::TimedOut | NetError::Unreachable) => format!(
            "cannot reach the registry {address} ({reason}); check the address, and that no firewall is between"
        ),
        DisconnectReason::KindRefused => {
            format!("what answers at {address} is an executor and no registry; check --reg or XXNET_REG")
        }
        DisconnectReason::WrongKey => format!(
            "the registry {address} has another cluster key; copy its ~/.config/xxnet/key to this machine, or name the \
             file with --key-file"
        ),
        DisconnectReason::NotOurProtocol { .. } => {
            format!("there is no registry at {address}: {reason}; check --reg or XXNET_REG")
        }
        other => format!("cannot talk to the registry {address}: {other}"),
    }
}

/// Why nobody can be talked to at `address`, and what to do.
pub(crate) fn no_peer(address: &Address, reason: &DisconnectReason) -> String {
    match reason {
        DisconnectReason::Net(NetError::Refused) => format!("nothing listens at {address}"),
        DisconnectReason::Net(NetError::NameNotFound) => {
            format!("cannot reach {address}: there is no host of that name; check the address")
        }
        DisconnectReason::Net(NetError::TimedOut | NetError::Unreachable) => {
            format!("cannot reach {address} ({reason}); check the address, and that no firewall is between")
        }
        DisconnectReason::KindRefused => {
            format!(
                "what answers at {address} is xxnet, but takes no messages; is it a registry or an executor?"
            )
        }
        DisconnectReason::WrongKey => format!(
            "{address} has another cluster key; copy its ~/.config/xxnet/key to this machine, or name the file with \
             --key-file"
        ),
        DisconnectReason::NotOurProtocol { .. } => {
            format!("there is no xxnet at {address}: {reason}; check the address")
        }
        DisconnectReason::Silent => format!("what is at {address} does not answer"),
        DisconnectReason::Net(error) => format!("the connection to {address} broke: {error}"),
        DisconnectReason::ClosedByPeer => format!("{address} closed the connection"),
        DisconnectReason::OtherInstance(_) | DisconnectReason::Stale => {
            format!("the process at {address} was started anew")
        }
        other => format!("cannot talk to {address}: {other}"),
    }
}

/// Whether waiting cannot help: nothing that starts up or comes back would change it.
pub(crate) fn is_hopeless(reason: &DisconnectReason) -> bool {
    matches!(
        reason,
        DisconnectReason::Net(NetError::NameNotFound)
            | DisconnectReason::KindRefused
            | DisconnectReason::WrongKey
            | DisconnectReason::NotOurProtocol { .. }
            | DisconnectReason::Version(_)
            | DisconnectReason::Myself
    )
}
