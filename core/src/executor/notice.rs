//! What an executor is asked and what it tells.

use crate::connection::DisconnectReason;
use crate::disk::{Beside, FileError};
use crate::message::{EndKind, Exit, Placement, StopReason, Times, WaitReason};
use crate::needs::Need;
use crate::net::{Endpoint, NetError};
use crate::process::Stream;
use crate::{Address, AttemptNumber, CallbackId, ConnectionId, InstanceId, TaskId, Token};
use alloc::{string::String, vec::Vec};
use bytes::Bytes;
use core::net::SocketAddr;
use core::time::Duration;
use serde::{Deserialize, Serialize};

/// One input of a task.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct InputFile {
    /// Path on this machine, as bytes.
    pub path: Vec<u8>,
    /// Name in the work folder; `.` makes the folder's contents the work folder itself.
    pub name: Vec<u8>,
}

/// One result of a task.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum OutputFile {
    /// A file or folder that the task makes.
    Named {
        /// Name in the work folder.
        name: Vec<u8>,
        /// Path on this machine.
        path: Vec<u8>,
    },
    /// What the task changed of the input that arrived as `.`, merged into that input's path.
    Changes,
}

/// A task to publish.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct TaskSpec {
    /// The command and its arguments; at least one.
    pub argv: Vec<Vec<u8>>,
    /// Added to the clean environment.
    pub env: Vec<(Vec<u8>, Vec<u8>)>,
    /// What it reads; at most 1,024.
    pub inputs: Vec<InputFile>,
    /// What it makes; at most 1,024.
    pub outputs: Vec<OutputFile>,
    /// Whether standard input will be given by [`ExecutorCommand::Input`].
    pub stdin: bool,
    /// Longest run of the command.
    pub timeout: Option<Duration>,
    /// Longest wait for a first executor; then the task expires. `None`: it waits.
    pub patience: Option<Duration>,
    /// Attempts at most, if other than the configured number; at least 1.
    pub attempts: Option<u32>,
    /// Who may run it.
    pub placement: Placement,
    /// Labels that its executor must have; at most [`MAX_NEEDS`](crate::needs::MAX_NEEDS).
    pub needs: Vec<Need>,
}

/// What the application asks of an executor.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum ExecutorCommand {
    /// Listen, register, begin; once, first.
    Start,
    /// Publish a task → [`ExecutorNotice::Published`] or [`ExecutorNotice::PublishFailed`], with the token.
    Publish {
        /// Names the answer.
        token: Token,
        /// What to run.
        spec: TaskSpec,
    },
    /// Standard input for a task; more only after [`ExecutorNotice::InputWanted`].
    Input {
        /// The task.
        task: TaskId,
        /// The bytes; may be empty if `last`.
        data: Bytes,
        /// Whether standard input ends behind them.
        last: bool,
    },
    /// The application has taken output of a task up to here; credit for more.
    OutputTaken {
        /// The task.
        task: TaskId,
        /// The attempt, as in [`ExecutorNotice::Output`].
        attempt: AttemptNumber,
        /// Which stream.
        stream: Stream,
        /// Bytes taken in all, of this attempt.
        upto: u64,
    },
    /// End a task. Twice, or of an ended task, is harmless.
    Cancel(TaskId),
    /// End: cancel own tasks, stop attempts and reap them, leave the registries, then [`ExecutorNotice::Stopped`].
    Shutdown,
}

/// Why a task was not published; nothing has changed.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
pub enum PublishError {
    /// No command was given, or a limit of [`TaskSpec`] is exceeded; says which.
    Invalid(&'static str),
    /// A name leads out of the work folder.
    BadName(String),
    /// An input cannot be read.
    Input(FileError),
    /// Only this executor may run it, and it has not the label that the task needs.
    Unmet(Need),
    /// Too many tasks are published here.
    TooMany,
    /// The executor is shutting down.
    ShuttingDown,
}

/// The ten steps of a task (seed 3.1.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
pub enum TaskStep {
    /// 1: the publisher's registration connection publishes.
    Published = 1,
    /// 2: the assignee's registration connection is assigned the task.
    Assigned = 2,
    /// 3: the assignee makes its task connection (or finds the one that is there).
    TaskConnectionMade = 3,
    /// 4: it dials the publisher.
    TaskDialled = 4,
    /// 5: the publisher makes its end.
    TaskAccepted = 5,
    /// 6: both ends are linked.
    TaskLinked = 6,
    /// 7: the task needs files: the assignee makes its file connection.
    FileConnectionMade = 7,
    /// 8: it dials the publisher's file service.
    FileDialled = 8,
    /// 9: the file service makes its end.
    FileAccepted = 9,
    /// 10: both are linked; the dialler knows the acceptor's file-connection id.
    FileLinked = 10,
}

/// The four steps of a file request (seed 3.1.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
pub enum FileStep {
    /// 1: asked for on the task connection, with the file-connection id and the callback id.
    Requested = 1,
    /// 2: the task connection's other end tells the file service.
    Told = 2,
    /// 3: the file service sends.
    Sent = 3,
    /// 4: complete and verified, the callback fires.
    Delivered = 4,
    /// Instead of 1 to 3: the same content is on its way already, for another request, and this one waits for it.
    Shared = 5,
}

/// How a task ended, in full.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
pub enum Ending {
    /// It ran.
    Done {
        /// How the command ended.
        exit: Exit,
        /// Who ran it.
        executor: String,
        /// Each declared output, in order: here, or why not.
        outputs: Vec<Result<(), FileError>>,
        /// Where the executor's time went.
        times: Times,
    },
    /// The system could not run it; each attempt's executor and reason. `set_aside`: too many executors died under it.
    Failed {
        /// One line an attempt.
        attempts: Vec<String>,
        /// Too many executors died under it.
        set_aside: bool,
    },
    /// It was cancelled.
    Cancelled,
    /// Nobody took it within its patience.
    Expired,
}

impl Ending {
    /// The short form that travels.
    pub fn kind(&self) -> EndKind {
        match self {
            Self::Done { .. } => EndKind::Done,
            Self::Failed { .. } => EndKind::Failed,
            Self::Cancelled => EndKind::Cancelled,
            Self::Expired => EndKind::Expired,
        }
    }
}

/// What an executor tells the application.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
pub enum ExecutorNotice {
    /// It can be dialled.
    Listening(SocketAddr),
    /// It cannot listen; nothing else will happen.
    ListenFailed(SocketAddr, NetError),
    /// A registry's connection is being dialled (seed 3.1.1 step 1).
    Registering(Address),
    /// Registered (seed 3.1.1 step 3), under this address.
    Registered {
        /// With whom.
        registry: Address,
        /// Our address as others will dial it.
        address: Address,
    },
    /// A registry is not there, or went away; tried again after `retry`. Told at the first failure of a row and whenever the
    /// reason changes.
    RegistryLost {
        /// Which.
        registry: Address,
        /// Why.
        reason: DisconnectReason,
        /// Pause before the next try.
        retry: Duration,
    },
    /// A task is published, and waits.
    Published {
        /// Of the command.
        token: Token,
        /// The task.
        task: TaskId,
    },
    /// A task was not published.
    PublishFailed {
        /// Of the command.
        token: Token,
        /// Why.
        error: PublishError,
    },
    /// What one of our tasks waits for.
    Waiting {
        /// The task.
        task: TaskId,
        /// Why nobody has it.
        reason: WaitReason,
    },
    /// One of a task's ten steps.
    Step {
        /// Which step.
        step: TaskStep,
        /// The task; `None` where only the connection is known (5, 9).
        task: Option<TaskId>,
        /// The other node, where there is one.
        peer: Option<InstanceId>,
        /// Our end's connection.
        connection: Option<ConnectionId>,
    },
    /// One of a file request's four steps.
    FileStep {
        /// Which step.
        step: FileStep,
        /// The task.
        task: TaskId,
        /// Which file, for people.
        file: String,
        /// The callback.
        callback: CallbackId,
        /// The other node.
        peer: InstanceId,
        /// Bytes of the stream, once known.
        bytes: u64,
    },
    /// A callback has fired: exactly once a request.
    Callback {
        /// Which.
        callback: CallbackId,
        /// The task.
        task: TaskId,
        /// Here and verified, or why not.
        result: Result<(), FileError>,
    },
    /// One of our tasks is held by an executor.
    Granted {
        /// The task.
        task: TaskId,
        /// The attempt.
        attempt: AttemptNumber,
        /// Who has it.
        executor: InstanceId,
        /// Its name.
        name: String,
    },
    /// The command of one of our tasks runs.
    Running {
        /// The task.
        task: TaskId,
        /// The attempt.
        attempt: AttemptNumber,
    },
    /// An attempt at one of our tasks is over without a result, and the task is open again or will end.
    AttemptLost {
        /// The task.
        task: TaskId,
        /// The attempt.
        attempt: AttemptNumber,
        /// Who had it.
        executor: String,
        /// Why, for people.
        why: String,
        /// Whether output of it was already given to the application.
        output_shown: bool,
    },
    /// Output of one of our tasks; answered with [`ExecutorCommand::OutputTaken`].
    Output {
        /// The task.
        task: TaskId,
        /// The attempt.
        attempt: AttemptNumber,
        /// Which stream.
        stream: Stream,
        /// Where in the attempt's stream these bytes stand.
        offset: u64,
        /// The bytes.
        data: Bytes,
    },
    /// More standard input can be given for this task.
    InputWanted(TaskId),
    /// The command of this task has closed its standard input: no more is wanted.
    InputClosed(TaskId),
    /// Bytes of a task's files that have moved so far; for a progress bar.
    Progress {
        /// The task.
        task: TaskId,
        /// Which file, for people.
        file: String,
        /// Whether it is a result that comes back.
        result: bool,
        /// Bytes that were verified (or sent).
        done: u64,
        /// Bytes in all.
        total: u64,
    },
    /// Changes of one of our tasks have met something that the user changed meanwhile: that is left alone, and they stand
    /// beside it.
    LandedBeside {
        /// The task.
        task: TaskId,
        /// Which.
        beside: Beside,
    },
    /// One of our tasks has ended: exactly once a task.
    Ended {
        /// The task.
        task: TaskId,
        /// How.
        ending: Ending,
    },
    /// We hold an attempt now.
    AttemptGranted {
        /// The task.
        task: TaskId,
        /// The attempt.
        attempt: AttemptNumber,
        /// Whose task it is.
        publisher: InstanceId,
    },
    /// The command of an attempt of ours was started.
    AttemptStarted {
        /// The task.
        task: TaskId,
        /// The attempt.
        attempt: AttemptNumber,
    },
    /// The command of an attempt of ours has ended, and all its processes are reaped.
    AttemptFinished {
        /// The task.
        task: TaskId,
        /// The attempt.
        attempt: AttemptNumber,
        /// How.
        exit: Exit,
    },
    /// An attempt of ours was stopped without a result.
    AttemptStopped {
        /// The task.
        task: TaskId,
        /// The attempt.
        attempt: AttemptNumber,
        /// Why.
        why: StopReason,
    },
    /// The publisher has everything; the attempt is forgotten and its folder is to be removed.
    AttemptDone {
        /// The task.
        task: TaskId,
        /// The attempt.
        attempt: AttemptNumber,
    },
    /// The folder of an attempt that is over could not be removed, however often that was tried: it stays.
    FolderStays {
        /// The task.
        task: TaskId,
        /// The attempt.
        attempt: AttemptNumber,
        /// Why, the last time.
        error: FileError,
    },
    /// A peer could not be reached.
    Unreachable {
        /// Where.
        address: Address,
        /// Why.
        reason: DisconnectReason,
    },
    /// Somebody was turned away.
    TurnedAway {
        /// From where.
        from: Endpoint,
        /// Why.
        reason: DisconnectReason,
    },
    /// A peer broke the protocol; its connection was closed.
    Misbehaved {
        /// Who.
        peer: InstanceId,
        /// How.
        what: &'static str,
    },
    /// Accepting fails for want of descriptors.
    AcceptFailing(NetError),
    /// All is closed and reaped.
    Stopped,
}
