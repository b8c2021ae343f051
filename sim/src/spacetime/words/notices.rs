//! What applications ask of machines and are told by them, in words.

use super::messages::{end_kind, exit_words, stop_reason, waits};
use super::{InWords, Words, clip, command_line, counted, field};
use crate::machine::{Command, Notice};
use xxnet_core::client::{ClientCommand, ClientNotice};
use xxnet_core::connection::{ConnectionCommand, ConnectionEvent, ConnectionNotice, DisconnectReason};
use xxnet_core::executor::{Ending, ExecutorCommand, ExecutorNotice, FileStep, TaskStep};
use xxnet_core::messenger::{MessengerCommand, MessengerNotice};
use xxnet_core::registry::{RegistryCommand, RegistryNotice};

impl InWords for Command {
    fn in_words(&self) -> Option<Words> {
        match self {
            Self::Executor(command) => command.in_words(),
            Self::Registry(command) => command.in_words(),
            Self::Client(command) => command.in_words(),
            Self::Connections(command) => command.in_words(),
            Self::Messenger(command) => command.in_words(),
        }
    }
}

impl InWords for Notice {
    fn in_words(&self) -> Option<Words> {
        match self {
            Self::Executor(notice) => notice.in_words(),
            Self::Registry(notice) => notice.in_words(),
            Self::Client(notice) => notice.in_words(),
            Self::Connections(notice) => notice.in_words(),
            Self::Messenger(notice) => notice.in_words(),
        }
    }
}

impl InWords for ExecutorCommand {
    fn in_words(&self) -> Option<Words> {
        Some(match self {
            Self::Start => Words::routine("start", "is told to start"),
            Self::Publish { spec, .. } => {
                let command = command_line(spec.argv.iter().map(|word| &word[..]));
                Words::step("run", format!("is asked to have this run elsewhere: {command}"))
            }
            Self::Cancel(task) => Words::step("cancel", format!("is asked to end task {task}")),
            Self::Shutdown => Words::step("shut down", "is told to shut down"),
            Self::Input { .. } | Self::OutputTaken { .. } => return None,
        })
    }
}

impl InWords for ExecutorNotice {
    fn in_words(&self) -> Option<Words> {
        Some(match self {
            Self::Listening(at) => Words::routine("listening", format!("listens at {at}")),
            Self::ListenFailed(at, error) => {
                Words::wrong("cannot listen", format!("cannot listen at {at}: {error}"))
            }
            Self::Registering(at) => Words::routine("registering", format!("goes to the registry at {at}")),
            Self::Registered { registry, .. } => {
                Words::step("registered", format!("is registered with {registry}"))
            }
            Self::RegistryLost { registry, reason, retry } => Words::wrong(
                "registry lost",
                format!("has lost the registry {registry} ({reason}), and tries again in {retry:?}"),
            ),
            Self::Published { task, .. } => Words::step("published", format!("has published task {task}")),
            Self::PublishFailed { error, .. } => {
                Words::wrong("not published", format!("could not publish: {}", field(error)))
            }
            Self::Waiting { task, reason } => {
                Words::routine("waiting", format!("is told that task {task} waits for {}", waits(*reason)))
            }
            Self::Step { step, task, .. } => step_words(*step, task.map(|task| task.to_string())),
            Self::FileStep { step, file, .. } => file_step(*step, file),
            Self::Callback { callback, result: Ok(()), .. } => {
                Words::step("file arrived", format!("has the file, verified: {callback} fires"))
            }
            Self::Callback { callback, result: Err(error), .. } => {
                Words::wrong("no file", format!("does not get the file: {callback} fires with: {error}"))
            }
            Self::Granted { task, attempt, name, .. } => {
                Words::step("granted", format!("has given task {task} to {name} ({attempt})"))
            }
            Self::Running { task, attempt } => {
                Words::step("running", format!("hears that the command of task {task} ({attempt}) runs"))
            }
            Self::AttemptLost { task, attempt, executor, why, .. } => Words::wrong(
                "attempt lost",
                format!("has lost {attempt} of task {task} at {executor}, without a result: {why}"),
            ),
            Self::InputClosed(task) => {
                Words::routine("input closed", format!("hears that the command of task {task} reads no more"))
            }
            Self::LandedBeside { task, .. } => Words::step(
                "beside",
                format!("keeps both versions of what task {task} and the user have changed"),
            ),
            Self::Ended { task, ending } => ended(&task.to_string(), ending),
            Self::AttemptGranted { task, attempt, .. } => {
                Words::step("holds it", format!("holds task {task} now ({attempt})"))
            }
            Self::AttemptStarted { task, attempt } => {
                Words::routine("started", format!("has started the command of task {task} ({attempt})"))
            }
            Self::AttemptFinished { task, attempt, exit } => Words::step(
                "finished",
                format!("is done with the command of task {task} ({attempt}): {}", exit_words(*exit)),
            ),
            Self::AttemptStopped { task, attempt, why } => Words::wrong(
                "stopped",
                format!("has stopped task {task} ({attempt}) without a result: {}", stop_reason(why)),
            ),
            Self::AttemptDone { task, attempt } => {
                Words::routine("forgotten", format!("forgets task {task} ({attempt}): its publisher has all"))
            }
            Self::FolderStays { task, attempt, error } => Words::wrong(
                "folder stays",
                format!("cannot remove the folder of task {task} ({attempt}): {error}"),
            ),
            Self::Unreachable { address, reason } => {
                Words::wrong("unreachable", format!("cannot reach {address}: {reason}"))
            }
            Self::TurnedAway { from, reason } => turned_away(&from.to_string(), &reason.to_string()),
            Self::Misbehaved { peer, what } => {
                Words::wrong("misbehaved", format!("cuts {peer} off, which broke the protocol: {what}"))
            }
            Self::AcceptFailing(error) => Words::wrong("accept fails", format!("cannot accept: {error}")),
            Self::Stopped => Words::step("stopped", "has ended: all is closed"),
            Self::Output { .. } | Self::InputWanted(_) | Self::Progress { .. } => return None,
        })
    }
}

fn turned_away(from: &str, reason: &str) -> Words {
    Words::wrong("turned away", format!("turns {from} away: {reason}"))
}

fn step_words(step: TaskStep, task: Option<String>) -> Words {
    let (name, what) = match step {
        TaskStep::Published => ("published", "is published"),
        TaskStep::Assigned => ("assigned", "is assigned here"),
        TaskStep::TaskConnectionMade => ("task connection", "has a task connection here"),
        TaskStep::TaskDialled => ("dials", "makes this node dial its publisher"),
        TaskStep::TaskAccepted => ("accepts", "is to come over a task connection that is accepted"),
        TaskStep::TaskLinked => ("linked", "has a linked task connection"),
        TaskStep::FileConnectionMade => ("file connection", "has a file connection here"),
        TaskStep::FileDialled => ("dials for files", "makes this node dial the file service"),
        TaskStep::FileAccepted => {
            ("accepts for files", "is to get its files over a connection that is accepted")
        }
        TaskStep::FileLinked => ("linked for files", "has a linked file connection"),
    };
    let number = step as u8;
    let task = task.map_or_else(|| "a task".to_owned(), |task| format!("task {task}"));
    Words::routine(format!("step {number}: {name}"), format!("tells step {number} of 10: {task} {what}"))
}

fn file_step(step: FileStep, file: &str) -> Words {
    let (name, what) = match step {
        FileStep::Requested => ("file asked for", "is asked for"),
        FileStep::Told => ("file wanted", "is known to be wanted at its source"),
        FileStep::Sent => ("file sent", "is being sent"),
        FileStep::Delivered => ("file delivered", "is delivered"),
        FileStep::Shared => {
            let what =
                format!("tells that {file} is on its way for another request already, and is waited for");
            return Words::routine("file shared", what);
        }
    };
    Words::routine(name, format!("tells step {} of 4: {file} {what}", step as u8))
}

fn ended(task: &str, ending: &Ending) -> Words {
    match ending {
        Ending::Done { exit, executor, .. } => Words::step(
            "ended: done",
            format!("has the result of task {task}, done by {executor}: {}", exit_words(*exit)),
        ),
        Ending::Failed { attempts, .. } => {
            Words::wrong("ended: failed", format!("gives task {task} up: {}", attempts.join("; ")))
        }
        other => {
            let how = end_kind(other.kind());
            Words::step(format!("ended: {how}"), format!("ends task {task}: {how}"))
        }
    }
}

impl InWords for RegistryCommand {
    fn in_words(&self) -> Option<Words> {
        Some(match self {
            Self::Listen(at) => Words::routine("start", format!("is told to listen at {at}")),
            Self::Shutdown => Words::step("shut down", "is told to shut down"),
        })
    }
}

impl InWords for RegistryNotice {
    fn in_words(&self) -> Option<Words> {
        Some(match self {
            Self::Listening(at) => Words::routine("listening", format!("listens at {at}")),
            Self::ListenFailed(at, error) => {
                Words::wrong("cannot listen", format!("cannot listen at {at}: {error}"))
            }
            Self::MemberJoined { name, slots, client, again, .. } => {
                let what = if *client { "a client".to_owned() } else { counted(*slots as usize, "slot") };
                let again = if *again { " again" } else { "" };
                Words::step("member", format!("has {name} as a member{again}, with {what}"))
            }
            Self::NameShared { name, .. } => {
                Words::wrong("name shared", format!("has two members that are called {name}"))
            }
            Self::MemberSuspect(member) => Words::wrong(
                "suspect",
                format!("suspects {member}, which has been silent too long to get new work"),
            ),
            Self::MemberGone { name, left, .. } if *left => {
                Words::step("left", format!("takes {name} off its list, which has left"))
            }
            Self::MemberGone { name, .. } => {
                Words::wrong("member gone", format!("takes {name} off its list, which is gone"))
            }
            Self::TaskProposed { task, name, .. } => {
                Words::routine("proposed", format!("proposes task {task} to {name}"))
            }
            Self::ProposalReturned { task, from } => {
                Words::routine("returned", format!("takes its proposal of task {task} to {from} as void"))
            }
            Self::TaskEnded(task, how) => {
                let how = how.map_or("its publisher is gone", end_kind);
                Words::routine("ended", format!("strikes task {task} off its list: {how}"))
            }
            Self::TasksFull(who) => Words::wrong("full", format!("has no room for tasks of {who}")),
            Self::TurnedAway { from, reason } => turned_away(&from.to_string(), &reason.to_string()),
            Self::Misbehaved { member, what } => {
                Words::wrong("misbehaved", format!("cuts {member} off, which broke the protocol: {what}"))
            }
            Self::AcceptFailing(error) => Words::wrong("accept fails", format!("cannot accept: {error}")),
            Self::Stopped => Words::step("stopped", "has ended: all is closed"),
            Self::RegistrationLinked { .. }
            | Self::TaskPublished { .. }
            | Self::TaskTaken { .. }
            | Self::TaskOpen(_) => return None,
        })
    }
}

impl InWords for ClientCommand {
    fn in_words(&self) -> Option<Words> {
        let Self::Ask { registry, question } = self;
        Some(Words::step("ask", format!("is to ask {registry}: {}", field(question))))
    }
}

impl InWords for ClientNotice {
    fn in_words(&self) -> Option<Words> {
        Some(match self {
            Self::Answered(_) => Words::step("answered", "has its answer"),
            Self::Failed(reason) => Words::wrong("no answer", format!("gets no answer: {reason}")),
        })
    }
}

impl InWords for ConnectionCommand {
    fn in_words(&self) -> Option<Words> {
        Some(match self {
            Self::Connect { id, target, .. } => {
                let whom = target.as_ref().map_or_else(|| "its target".to_owned(), ToString::to_string);
                Words::step("connect", format!("is told to connect {id} with {whom}"))
            }
            Self::Listen { address, .. } => {
                Words::routine("listen", format!("is told to listen at {address}"))
            }
            Self::Close { id, .. } => Words::step("close", format!("is told to close {id}")),
            Self::Discard { id } => Words::step("discard", format!("is told to forget {id} without a word")),
            Self::Destroy => Words::step("destroy", "is told to end everything"),
            Self::Pause { id } => Words::routine("pause", format!("is told to read nothing more from {id}")),
            Self::Resume { id } => Words::routine("resume", format!("is told to read from {id} again")),
            Self::Register { .. }
            | Self::Advertise { .. }
            | Self::Admit { .. }
            | Self::Create { .. }
            | Self::CreateTo { .. }
            | Self::Send { .. }
            | Self::SendPack { .. }
            | Self::Taken { .. }
            | Self::Ping { .. } => return None,
        })
    }
}

impl InWords for ConnectionNotice {
    fn in_words(&self) -> Option<Words> {
        match self {
            Self::Created { .. } => None,
            Self::Rejected { error, .. } => {
                Some(Words::routine("rejected", format!("says no to its application: {error}")))
            }
            Self::Event(event) => event.in_words(),
        }
    }
}

impl InWords for ConnectionEvent {
    fn in_words(&self) -> Option<Words> {
        Some(match self {
            Self::Listening { address, .. } => Words::routine("listening", format!("listens at {address}")),
            Self::ListenFailed { address, error, .. } => {
                Words::wrong("cannot listen", format!("cannot listen at {address}: {error}"))
            }
            Self::Connected { id, kind, peer } => {
                Words::step("connected", format!("has a {kind} connection with {} now ({id})", peer.name))
            }
            Self::Accepted { id, kind, peer, .. } => {
                Words::step("accepted", format!("has taken a {kind} connection of {} ({id})", peer.name))
            }
            Self::Interrupted { id, reason } => Words::wrong(
                "interrupted",
                format!(
                    "has no link any more for the session of {id} ({reason}); it goes on with the next one"
                ),
            ),
            Self::Resumed { id } => {
                Words::step("resumed", format!("has a link again for the session of {id}"))
            }
            Self::Undelivered { id, packs } => Words::wrong(
                "undelivered",
                format!("cannot say whether {} of {id} arrived", counted(packs.len(), "message")),
            ),
            Self::Disconnected {
                id,
                kind,
                reason: reason @ (DisconnectReason::Closed | DisconnectReason::ClosedByPeer),
            } => Words::step("disconnected", format!("is done with the {kind} connection {id}: {reason}")),
            Self::Disconnected { id, kind, reason } => {
                Words::wrong("disconnected", format!("has lost the {kind} connection {id}: {reason}"))
            }
            Self::TurnedAway { from, reason } => turned_away(&from.to_string(), &reason.to_string()),
            Self::AcceptFailing { error, .. } => {
                Words::wrong("accept fails", format!("cannot accept: {error}"))
            }
            Self::Received { .. } | Self::Writable { .. } | Self::Pong { .. } | Self::Acknowledged { .. } => {
                return None;
            }
        })
    }
}

impl InWords for MessengerCommand {
    fn in_words(&self) -> Option<Words> {
        Some(match self {
            Self::Listen { address, .. } => {
                Words::routine("listen", format!("is told to listen at {address}"))
            }
            Self::Open { token, to } => {
                Words::routine("open", format!("is told that {token} stands for {to} from now on"))
            }
            Self::Send { token, packs } => {
                Words::routine("send", format!("is given {} for {token}", counted(packs.len(), "message")))
            }
            Self::Disconnect { to } => {
                Words::step("disconnect", format!("is told to end the session with {to}"))
            }
            Self::Shutdown { .. } => Words::step("shut down", "is told to shut down"),
            Self::Unlisten { .. }
            | Self::Forget { .. }
            | Self::Admit { .. }
            | Self::Mark { .. }
            | Self::Taken { .. }
            | Self::Look { .. } => return None,
        })
    }
}

impl InWords for MessengerNotice {
    fn in_words(&self) -> Option<Words> {
        Some(match self {
            Self::Listening { address, .. } => Words::routine("listening", format!("listens at {address}")),
            Self::ListenFailed { address, error, .. } => {
                Words::wrong("cannot listen", format!("cannot listen at {address}: {error}"))
            }
            Self::Rejected { error, .. } => {
                Words::wrong("rejected", format!("says no to its application: {error}"))
            }
            Self::Connected { at, peer, .. } => {
                Words::step("connected", format!("has a session with {} at {at}", peer.name))
            }
            Self::Interrupted { on, reason } => Words::wrong(
                "interrupted",
                format!(
                    "has no link any more for the session of {on} ({reason}); it goes on with the next one"
                ),
            ),
            Self::Resumed { on } => {
                Words::step("resumed", format!("has a link again for the session of {on}"))
            }
            Self::Disconnected { on, reason, undelivered } if undelivered.is_empty() => {
                Words::step("session over", format!("ends the session of {on}: {reason}"))
            }
            Self::Disconnected { on, reason, undelivered } => Words::wrong(
                "session over",
                clip(
                    &format!(
                        "ends the session of {on} ({reason}), and cannot say whether {} arrived",
                        counted(undelivered.len(), "message")
                    ),
                    240,
                ),
            ),
            Self::Retrying { to, reason } => {
                Words::wrong("retrying", format!("cannot reach {to}: {reason}; tries again"))
            }
            Self::Undelivered { to, reason, packs } => Words::wrong(
                "undelivered",
                format!("gives {} for {to} up: {reason}", counted(packs.len(), "message")),
            ),
            Self::TurnedAway { from, reason } => turned_away(&from.to_string(), &reason.to_string()),
            Self::AcceptFailing { error } => Words::wrong("accept fails", format!("cannot accept: {error}")),
            Self::Down => Words::step("down", "has ended: all is closed"),
            Self::Marked { .. } | Self::Peers { .. } | Self::Received { .. } | Self::Settled { .. } => {
                return None;
            }
        })
    }
}
