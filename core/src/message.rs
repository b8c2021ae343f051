//! What the cluster's machines say to each other: one pack type a message, flat and typed.
//!
//! Payloads do not evolve: a new field means a new pack type. The numbers and bytes are pinned by golden vectors.

use crate::disk::{Content, FileError, Hash};
use crate::needs::{Label, Need};
use crate::pack::{DataPack, PackType};
use crate::process::ExitStatus;
use crate::time::Instant;
use crate::wire::{self, WireError};
use crate::{Address, AttemptNumber, CallbackId, ClaimNumber, ConnectionId, InstanceId, TaskId, TaskName};
use alloc::{string::String, vec::Vec};
use bytes::Bytes;
use serde::{Deserialize, Serialize};

/// A moment of its sender's clock. Whoever gets one only ever echoes it.
pub type Stamp = Instant;

/// Bytes that need not be UTF-8: paths, arguments, environment.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub struct Blob(#[serde(with = "serde_bytes")] pub Vec<u8>);

impl Blob {
    /// For people: what is no UTF-8 is replaced.
    pub fn display(&self) -> String {
        String::from_utf8_lossy(&self.0).into_owned()
    }
}

impl core::fmt::Debug for Blob {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "{:?}", self.display())
    }
}

impl<T: Into<Vec<u8>>> From<T> for Blob {
    fn from(bytes: T) -> Self {
        Self(bytes.into())
    }
}

/// Declares [`Message`]: each variant is one pack type with one payload struct. `bulk` marks those whose last part travels
/// outside the checked head.
macro_rules! messages {
    ($($(#[$doc:meta])* $number:literal $name:ident { $($(#[$fdoc:meta])* $field:ident: $type:ty,)* } $(bulk $bulk:ident)?;)*) => {
        /// Every message of the cluster.
        #[derive(Clone, Debug, PartialEq, Eq, Hash)]
        pub enum Message {
            $($(#[$doc])* $name($name),)*
        }

        $(
            $(#[$doc])*
            #[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Hash)]
            pub struct $name {
                $($(#[$fdoc])* pub $field: $type,)*
                $(
                    /// The bytes themselves, in the pieces they came in.
                    #[serde(skip)]
                    pub $bulk: Vec<Bytes>,
                )?
            }

            impl From<$name> for Message {
                fn from(message: $name) -> Self {
                    Self::$name(message)
                }
            }
        )*

        impl Message {
            /// The numbers and names of all messages, in order.
            pub const ALL: &'static [(u16, &'static str)] = &[$(($number, stringify!($name)),)*];

            /// The message's name, for logs.
            pub fn name(&self) -> &'static str {
                match self {
                    $(Self::$name(_) => stringify!($name),)*
                }
            }

            /// As a pack.
            pub fn into_pack(self) -> DataPack {
                match self {
                    $(Self::$name(message) => {
                        #[allow(unused_mut)]
                        let mut pack = DataPack::new(PackType($number), wire::encode(&message));
                        $(pack.bulk = message.$bulk;)?
                        pack
                    })*
                }
            }

            /// From a pack.
            ///
            /// # Errors
            /// [`WireError`] if the pack type is unknown, or the payload is not exactly one such message.
            pub fn from_pack(pack: DataPack) -> Result<Self, WireError> {
                match pack.pack_type.0 {
                    $($number => {
                        #[allow(unused_mut)]
                        let mut message: $name = wire::decode(&pack.head)?;
                        let bulk_allowed = false $(|| { message.$bulk = pack.bulk.clone(); true })?;
                        if !bulk_allowed && !pack.bulk.is_empty() {
                            return Err(WireError::UnexpectedBulk);
                        }
                        Ok(Self::$name(message))
                    })*
                    other => Err(WireError::UnknownPackType(other)),
                }
            }
        }
    };
}

messages! {
    // ---- registration connections: executor to registry and back ----

    /// Who the executor is (seed 3.1.1 step 1); first on each registration connection.
    32 Register {
        /// For people.
        name: String,
        /// Where it listens, as it advertises it; the registry completes it with the host it saw.
        address: Address,
        /// Commands it runs at once.
        slots: u32,
        /// A command-line client: listed as such, gets no work.
        client: bool,
        /// For needs and labels.
        labels: Vec<Label>,
        /// Attempts that it holds now (wanted ones excepted), for reconciliation (ledger R6).
        running: Vec<(TaskId, AttemptNumber)>,
        /// Proposals that it holds and has not claimed yet.
        proposed: Vec<TaskId>,
    };
    /// The member stands in the registry's `Members` (seed 3.1.1 step 3).
    33 Registered {
        /// The executor's address as others will dial it.
        address: Address,
    };
    /// The executor lives; sent each heartbeat, and at once when a slot runs out of proposals or gets one again.
    34 Heartbeat {
        /// Slots with no attempt.
        free: u32,
    };
    /// The executor leaves on purpose: nobody needs to wait for it.
    35 Leave {};
    /// Publishes a task (seed 3.1.2 step 1), again after each reconnect until it has ended.
    36 Publish {
        /// The task.
        task: TaskId,
        /// For lists: the command as people read it, at most 200 bytes.
        title: String,
        /// Who may run it.
        placement: Placement,
        /// Where the publisher listens; completed like [`Register::address`].
        publisher: Address,
        /// Who holds it now, if anybody.
        taken: Option<(InstanceId, AttemptNumber)>,
        /// Executors that must not get it again: they died under it or could not reach the publisher.
        avoid: Vec<InstanceId>,
    };
    /// The registry has the task.
    37 Accepted {
        /// The task.
        task: TaskId,
    };
    /// A proposal (seed 3.1.2 step 2).
    38 Assign {
        /// The task.
        task: TaskId,
        /// Where to claim it.
        publisher: Address,
    };
    /// A proposal is taken back; harmless if it is claimed already.
    39 Withdraw {
        /// The task.
        task: TaskId,
    };
    /// A proposal is given back.
    40 Decline {
        /// The task.
        task: TaskId,
        /// Why.
        why: DeclineReason,
    };
    /// Publisher to registry: the task is held (PROTOCOL A10).
    41 Taken {
        /// The task.
        task: TaskId,
        /// By whom.
        by: InstanceId,
        /// The attempt.
        attempt: AttemptNumber,
    };
    /// Publisher to registry: the task is free again (PROTOCOL A10).
    42 Open {
        /// The task.
        task: TaskId,
        /// As in [`Publish::avoid`].
        avoid: Vec<InstanceId>,
    };
    /// Publisher to registry: the task has ended (PROTOCOL A10).
    43 Ended {
        /// The task.
        task: TaskId,
        /// How.
        how: EndKind,
    };
    /// Registry to publisher: what the task waits for; sent when it changes.
    44 Waits {
        /// The task.
        task: TaskId,
        /// Why nobody has it yet.
        reason: WaitReason,
    };

    /// As [`Publish`], of a task that needs an executor with certain labels (ledger T12).
    45 PublishNeeding {
        /// The rest.
        publish: Publish,
        /// What it needs; at most [`needs::MAX_NEEDS`](crate::needs::MAX_NEEDS).
        needs: Vec<Need>,
    };

    // ---- questions: command line to registry, registry to publisher ----

    /// A question, and from the registry to a publisher a question that only it can answer.
    64 Ask {
        /// Chosen by the asker, echoed in the answer.
        request: u64,
        /// What.
        question: Question,
    };
    /// The answer.
    65 Answer {
        /// As in the question.
        request: u64,
        /// What was found.
        reply: Reply,
    };

    // ---- task connections: assignee to publisher and back ----

    /// "I want it" (PROTOCOL A2): sent once on each link while wanted or held without a result.
    96 Claim {
        /// The task.
        task: TaskId,
        /// The entry's claim number.
        claim: ClaimNumber,
        /// When it was sent.
        stamp: Stamp,
    };
    /// "It is yours" (PROTOCOL A3, A4).
    97 Granted {
        /// The task.
        task: TaskId,
        /// The claim that this answers.
        claim: ClaimNumber,
        /// The attempt.
        attempt: AttemptNumber,
        /// The claim's stamp.
        stamp: Stamp,
        /// What to run.
        spec: Spec,
        /// Bytes of standard output and error that the publisher has of this attempt: stream on from there.
        received: [u64; 2],
    };
    /// "It is not" (PROTOCOL A3).
    98 Refused {
        /// The task.
        task: TaskId,
        /// The claim that this answers.
        claim: ClaimNumber,
        /// Why.
        why: RefuseReason,
    };
    /// Renews every attempt of this publisher's that the executor holds, running or finished (PROTOCOL A5).
    99 Renew {
        /// When it was sent.
        stamp: Stamp,
        /// The attempts.
        attempts: Vec<(TaskId, AttemptNumber)>,
    };
    /// Which of them are current, and which must stop (PROTOCOL A5).
    100 Renewed {
        /// The renewal's stamp.
        stamp: Stamp,
        /// Renewed.
        current: Vec<(TaskId, AttemptNumber)>,
        /// Not theirs any more: stop.
        not: Vec<(TaskId, AttemptNumber)>,
    };
    /// Every process of the attempt is reaped, or none was ever started (PROTOCOL A6); there is no result.
    101 Stopped {
        /// The task.
        task: TaskId,
        /// The attempt.
        attempt: AttemptNumber,
        /// Why.
        why: StopReason,
    };
    /// The attempt's result (PROTOCOL A7): sent on every new link until `Done`. All output was sent before it.
    102 Finished {
        /// The task.
        task: TaskId,
        /// The attempt.
        attempt: AttemptNumber,
        /// How the command ended.
        exit: Exit,
        /// Declared outputs, in the spec's order: there to be pulled, or why not.
        outputs: Vec<Result<(), FileError>>,
        /// Bytes of standard output and error in all.
        written: [u64; 2],
        /// Where the time went, on the executor's clock.
        times: Times,
    };
    /// The publisher needs nothing more of the attempt: forget it (PROTOCOL A7).
    103 Done {
        /// The task.
        task: TaskId,
        /// The attempt.
        attempt: AttemptNumber,
    };
    /// The command runs; for lists only.
    104 Started {
        /// The task.
        task: TaskId,
        /// The attempt.
        attempt: AttemptNumber,
    };
    /// Output of the command, at most [`Limits::output_credit`](crate::config::Limits::output_credit) ahead of
    /// [`OutputTaken`].
    105 Output {
        /// The task.
        task: TaskId,
        /// The attempt.
        attempt: AttemptNumber,
        /// Which stream.
        stream: crate::process::Stream,
        /// Where in the stream these bytes stand.
        offset: u64,
        /// The bytes.
        data: Blob,
    };
    /// The application has taken output up to here.
    106 OutputTaken {
        /// The task.
        task: TaskId,
        /// The attempt.
        attempt: AttemptNumber,
        /// Which stream.
        stream: crate::process::Stream,
        /// Bytes taken in all.
        upto: u64,
    };
    /// Standard input for the command.
    107 Input {
        /// The task.
        task: TaskId,
        /// The attempt.
        attempt: AttemptNumber,
        /// Where in the stream these bytes stand.
        offset: u64,
        /// The bytes; may be empty if `last`.
        data: Blob,
        /// Whether the stream ends behind them.
        last: bool,
    };
    /// The command has taken standard input up to here.
    108 InputTaken {
        /// The task.
        task: TaskId,
        /// The attempt.
        attempt: AttemptNumber,
        /// Bytes taken in all; `u64::MAX` if it has closed its standard input.
        upto: u64,
    };
    /// Asks for a file (file request step 1): of the publisher an input, of the executor an output.
    109 FileRequest {
        /// The task.
        task: TaskId,
        /// The attempt.
        attempt: AttemptNumber,
        /// Which input or output, counted from 0 in the spec's order.
        file: u32,
        /// The file connection it shall come on, by the id at the end that is asked.
        connection: ConnectionId,
        /// Fires at the asker when the file is there, or why not.
        callback: CallbackId,
        /// First block wanted; those before are verified already.
        from: u64,
    };
    /// The request is refused before anything flows (ledger F5).
    110 FileRefused {
        /// The request's.
        callback: CallbackId,
        /// Why.
        error: FileError,
    };
    /// Publisher to executor: stop this attempt, it is not wanted any more (cancel, or another one is current).
    111 Stop {
        /// The task.
        task: TaskId,
        /// The attempt.
        attempt: AttemptNumber,
    };
    /// As [`Granted`], of a task with inputs: says what each of them holds, so that the assignee knows before it asks what is
    /// on its way already, or there (ledger F4, F10).
    112 GrantedFiles {
        /// The rest.
        granted: Granted,
        /// Of each input, in the spec's order.
        contents: Vec<Content>,
    };

    // ---- file connections: from whoever has the file ----

    /// What comes.
    128 FileBegin {
        /// The request's.
        callback: CallbackId,
        /// Bytes of the whole stream.
        stream_len: u64,
        /// Bytes of the manifest at its start.
        manifest_len: u64,
        /// The state of the source; another one after a resume means it changed.
        stamp: u64,
    };
    /// One block.
    129 Block {
        /// The request's.
        callback: CallbackId,
        /// Its number in the stream, from the request's `from` on, without gaps.
        index: u64,
        /// Its hash.
        hash: Hash,
    } bulk data;
    /// All blocks were sent.
    130 FileEnd {
        /// The request's.
        callback: CallbackId,
        /// BLAKE3 of all block hashes in order, those before `from` too.
        root: Hash,
    };
    /// No more will come.
    131 FileFailed {
        /// The request's.
        callback: CallbackId,
        /// Why.
        error: FileError,
    };
    /// The asker wants no more of it.
    132 FileCancel {
        /// The request's.
        callback: CallbackId,
    };
}

/// Who may run a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, Hash)]
pub enum Placement {
    /// Any executor but the publisher (ledger T5).
    Others,
    /// Any, the publisher too if it has slots.
    Anyone,
    /// The publisher alone (`run --local`).
    Publisher,
}

/// Why a proposal is given back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, Hash)]
pub enum DeclineReason {
    /// The publisher cannot be reached from here.
    Unreachable,
    /// The publisher refused: another holds it, or it has ended.
    Refused,
    /// The executor is shutting down, holds too many proposals, or has no descriptors left.
    Busy,
}

/// Why a claim is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, Hash)]
pub enum RefuseReason {
    /// Another executor holds it.
    Elsewhere,
    /// It is unknown or has ended.
    Ended,
}

/// What a task needs to run, as the publisher tells the assignee.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Hash)]
pub struct Spec {
    /// The command and its arguments.
    pub argv: Vec<Blob>,
    /// Added to the clean environment.
    pub env: Vec<(Blob, Blob)>,
    /// The names that the inputs get in the work folder; `.` is the folder itself.
    pub inputs: Vec<Blob>,
    /// The results wanted.
    pub outputs: Vec<OutputName>,
    /// Whether standard input is forwarded; otherwise it is empty.
    pub stdin: bool,
    /// Longest run of the command in microseconds; then it is killed.
    pub timeout: Option<u64>,
}

/// One declared result.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Hash)]
pub enum OutputName {
    /// A file or folder by its name in the work folder.
    Named(Blob),
    /// Whatever differs in the work folder from what arrived as `.`.
    Changes,
}

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, Hash)]
pub enum Exit {
    /// By itself or by a signal.
    Status(ExitStatus),
    /// Killed at its timeout.
    TimedOut,
    /// No such command.
    NotFound,
    /// The command cannot be executed.
    NotExecutable,
}

/// Why an attempt has stopped without a result.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Hash)]
pub enum StopReason {
    /// The publisher said so.
    Told,
    /// Its lease had run out on the executor's clock.
    LeaseOver,
    /// The executor shuts down.
    Shutdown,
    /// The grant came too late, or for an entry that is gone.
    LateGrant,
    /// An input did not arrive.
    Input(FileError),
    /// The executor could not make the work folder, or start the command.
    Spawn(crate::process::SpawnError),
    /// The executor's disk.
    Disk(FileError),
}

/// Where an attempt's time went, in microseconds on the executor's clock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, Hash)]
pub struct Times {
    /// From the claim to the grant.
    pub claim: u64,
    /// From the grant to the last verified input.
    pub fetch: u64,
    /// From the spawn to the last reaped process.
    pub run: u64,
}

/// How a task ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, Hash)]
pub enum EndKind {
    /// It ran; its exit code may be anything.
    Done,
    /// The system could not run it.
    Failed,
    /// It was cancelled.
    Cancelled,
    /// Nobody took it in time.
    Expired,
}

/// Why nobody has a task yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, Hash)]
pub enum WaitReason {
    /// No executor with slots is registered that may run it.
    NoExecutor,
    /// All slots are taken.
    NoFreeSlot,
    /// It is proposed to an executor that has not claimed it yet.
    Proposed(InstanceId),
    /// Every executor there is to be avoided: each died under it, or cannot reach the publisher.
    AllAvoided,
    /// No executor there has the labels that it needs.
    NeedsUnmet,
}

/// What the command line can ask.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Hash)]
pub enum Question {
    /// Who is registered.
    Nodes,
    /// Which tasks there are.
    Tasks,
    /// End this task.
    Cancel(TaskName),
    /// What does this task wait for.
    Why(TaskName),
    /// Which labels executors have.
    Labels,
}

/// What the command line is answered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Hash)]
pub enum Reply {
    /// The members.
    Nodes(Vec<NodeRow>),
    /// The newest tasks first; `more` further ones are left out.
    Tasks {
        /// At most [`MAX_ROWS`].
        rows: Vec<TaskRow>,
        /// How many more there are.
        more: u64,
    },
    /// The task is cancelled now (or had been before).
    Cancelled(TaskId),
    /// What it waits for.
    Why(WhyRow),
    /// It had ended before, in this way.
    AlreadyEnded(TaskId, EndKind),
    /// No task of that name.
    NoSuchTask,
    /// Several tasks have that name: write more digits.
    Ambiguous(Vec<TaskId>),
    /// Its publisher did not answer in time.
    PublisherSilent(TaskId),
    /// The labels of those that have any, in the order of [`Nodes`](Self::Nodes).
    Labels(Vec<(InstanceId, Vec<Label>)>),
}

/// Rows of a list that travel at most.
pub const MAX_ROWS: usize = 10_000;

/// One member.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Hash)]
pub struct NodeRow {
    /// Which run of which process.
    pub instance: InstanceId,
    /// For people.
    pub name: String,
    /// Where others dial it.
    pub address: Address,
    /// Commands it runs at once.
    pub slots: u32,
    /// Attempts it holds, as far as the registry has heard.
    pub running: u32,
    /// Proposals it has not claimed.
    pub proposed: u32,
    /// A command-line client.
    pub client: bool,
    /// Silent for so long that it gets no new work.
    pub suspect: bool,
    /// Microseconds since it was last heard.
    pub silent: u64,
}

/// One task.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Hash)]
pub struct TaskRow {
    /// The task.
    pub task: TaskId,
    /// The command as people read it.
    pub title: String,
    /// Where it stands.
    pub state: TaskState,
    /// Microseconds since that began, on the registry's clock.
    pub since: u64,
    /// Name of the executor that holds it or has it proposed, if any.
    pub executor: Option<String>,
    /// Name of the publisher.
    pub publisher: String,
}

/// Where a task stands, as the registry knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, Hash)]
pub enum TaskState {
    /// Nobody has it.
    Waiting(WaitReason),
    /// An executor holds it.
    Running(AttemptNumber),
    /// It has ended.
    Ended(EndKind),
}

/// What a task waits for, in the publisher's words.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Hash)]
pub struct WhyRow {
    /// The task.
    pub task: TaskId,
    /// Where it stands: "waiting for an executor", "fetching its inputs", "running on node-2", …
    pub state: String,
    /// What has to happen next.
    pub waits_for: String,
    /// Microseconds since this began.
    pub since: u64,
    /// Microseconds until the deadline, if there is one.
    pub until: Option<u64>,
    /// What happens then.
    pub then: String,
    /// Each past attempt: who, and why it ended.
    pub attempts: Vec<String>,
}
