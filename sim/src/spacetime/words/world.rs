//! The disk and commands in words.

use super::messages::status_words;
use super::{Words, bytes, command_line};
use xxnet_core::disk::{DiskDone, DiskEvent, DiskRequest, Source, Target};
use xxnet_core::process::{ProcessEvent, RunSpec};

fn path(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// What a tree is opened for; requests about blocks are told by the messages that carry them.
pub(in crate::spacetime) fn disk_request(request: &DiskRequest) -> Option<Words> {
    match request {
        DiskRequest::OpenSource { tree, source } => {
            let what = match source {
                Source::Path { path: at } => path(at),
                Source::Output { folder, name } => format!("the result {} of {}", path(name), folder.task),
                Source::Changes { folder } => format!("what {} has changed", folder.task),
            };
            Some(Words::routine("read", format!("opens {what} to read it ({tree})")))
        }
        DiskRequest::OpenTarget { tree, target, stream_len, .. } => {
            let size = bytes(*stream_len);
            let what = match target {
                Target::Work { folder, name } => format!("the input {} of {}", path(name), folder.task),
                Target::Path { path: at } => path(at),
                Target::Merge { path: at, .. } => format!("changes in {}", path(at)),
            };
            Some(Words::routine("write", format!("makes room for {what}, {size} ({tree})")))
        }
        DiskRequest::Commit { tree, .. } => {
            Some(Words::routine("verify", format!("checks {tree} as a whole, to put it under its name")))
        }
        DiskRequest::CommitCopy { tree, folder, .. } => Some(Words::routine(
            "copy",
            format!("copies {tree} for {}, which waits for the same", folder.task),
        )),
        DiskRequest::MakeFolder { .. }
        | DiskRequest::RemoveFolder { .. }
        | DiskRequest::ReadBlock { .. }
        | DiskRequest::ReadRoot { .. }
        | DiskRequest::WriteBlock { .. }
        | DiskRequest::CloseTree { .. } => None,
    }
}

/// What came of a request, where a reader looks for it.
pub(in crate::spacetime) fn disk_done(event: &DiskEvent) -> Option<Words> {
    match &event.result {
        Ok(DiskDone::Committed { .. }) => {
            Some(Words::step("file there", "has the file whole, verified and under its name"))
        }
        Ok(DiskDone::Resumed { blocks }) => {
            Some(Words::step("goes on", format!("has {blocks} blocks of it already, and asks for the rest")))
        }
        Ok(DiskDone::Nothing | DiskDone::Opened { .. } | DiskDone::Block { .. } | DiskDone::Root { .. }) => {
            None
        }
        Err(error) => Some(Words::wrong("disk", format!("hears no from its disk: {error}"))),
    }
}

pub(in crate::spacetime) fn spawn(spec: &RunSpec) -> String {
    let command = command_line(spec.argv.iter().map(|word| &word[..]));
    format!("starts the command of task {} ({}): {command}", spec.folder.task, spec.folder.attempt)
}

/// How a run ended; `None` as long as it goes on.
pub(in crate::spacetime) fn exit(event: &ProcessEvent) -> Option<String> {
    match event {
        ProcessEvent::SpawnFailed { error, .. } => Some(format!("cannot start the command: {error}")),
        ProcessEvent::Exited { status, .. } => {
            Some(format!("has reaped every process of the command: {}", status_words(*status)))
        }
        ProcessEvent::Spawned { .. }
        | ProcessEvent::Output { .. }
        | ProcessEvent::OutputEnded { .. }
        | ProcessEvent::InputTaken { .. }
        | ProcessEvent::InputClosed { .. } => None,
    }
}
