//! Commands as the machines see them: started, streamed, killed whole, reaped.

use crate::system::SystemError;
use crate::time::Instant;
use crate::{FolderId, RunId};
use alloc::vec::Vec;
use bytes::Bytes;
use core::fmt;
use serde::{Deserialize, Serialize};

/// Which of a command's two output streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, Hash)]
pub enum Stream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

impl Stream {
    /// Both, in order.
    pub const BOTH: [Self; 2] = [Self::Stdout, Self::Stderr];

    /// 0 or 1: its place in an array of both.
    pub const fn index(self) -> usize {
        match self {
            Self::Stdout => 0,
            Self::Stderr => 1,
        }
    }
}

/// What to run, where.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
pub struct RunSpec {
    /// The command and its arguments, as bytes; at least one. Found by the run's own `PATH`.
    pub argv: Vec<Vec<u8>>,
    /// Added to the clean environment (`PATH`, `HOME`, `LANG` of the executor), overriding it.
    pub env: Vec<(Vec<u8>, Vec<u8>)>,
    /// The private folder it runs in.
    pub folder: FolderId,
    /// Whether standard input is a pipe that we feed; otherwise it is empty.
    pub stdin: bool,
}

/// A request about a process.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
pub enum ProcessAction {
    /// Start a command in a process group of its own → [`ProcessEvent::Spawned`], and later [`ProcessEvent::Exited`]; or
    /// [`ProcessEvent::SpawnFailed`]. Refused if the deadline has passed when it would start (PROTOCOL A6).
    Spawn {
        /// The new run.
        run: RunId,
        /// What to run.
        spec: RunSpec,
        /// When the supervisor kills it by itself, should nobody move the deadline.
        deadline: Instant,
    },
    /// Move a run's deadline. The one request without a completion: each overrides the last.
    Extend {
        /// A run.
        run: RunId,
        /// The new deadline, never earlier than the old one.
        deadline: Instant,
    },
    /// Kill every process of the run; [`ProcessEvent::Exited`] comes once all are reaped. Harmless if it has ended.
    Kill {
        /// A run.
        run: RunId,
    },
    /// Read up to `max` bytes of output as soon as there are any → [`ProcessEvent::Output`] or
    /// [`ProcessEvent::OutputEnded`]. At most one is armed a stream; not arming it is backpressure.
    ReadOutput {
        /// A spawned run.
        run: RunId,
        /// Which stream.
        stream: Stream,
        /// At least 1.
        max: usize,
    },
    /// Write all of `data` to standard input → [`ProcessEvent::InputTaken`] or [`ProcessEvent::InputClosed`]. At most one
    /// is outstanding.
    WriteInput {
        /// A spawned run with `stdin`.
        run: RunId,
        /// Never empty.
        data: Bytes,
    },
    /// Close standard input: the command reads its end. No completion, nothing can fail.
    CloseInput {
        /// A spawned run with `stdin` and no write outstanding.
        run: RunId,
    },
}

/// What happens to a run.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum ProcessEvent {
    /// The command runs.
    Spawned {
        /// Which run.
        run: RunId,
    },
    /// It could not be started; the run is over, nothing is left of it.
    SpawnFailed {
        /// Which run.
        run: RunId,
        /// Why.
        error: SpawnError,
    },
    /// Output has come; never empty.
    Output {
        /// Which run.
        run: RunId,
        /// Which stream.
        stream: Stream,
        /// The bytes.
        data: Bytes,
    },
    /// That stream has ended: every process that held it is gone or has closed it.
    OutputEnded {
        /// Which run.
        run: RunId,
        /// Which stream.
        stream: Stream,
    },
    /// Standard input has taken all of the write.
    InputTaken {
        /// Which run.
        run: RunId,
    },
    /// Standard input is closed on the command's side; what was written is lost, as in any pipe.
    InputClosed {
        /// Which run.
        run: RunId,
    },
    /// The command has ended, and *every process of the run is reaped*. Output that was written before may still be read.
    Exited {
        /// Which run.
        run: RunId,
        /// How the command itself ended.
        status: ExitStatus,
    },
}

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, Hash)]
pub enum ExitStatus {
    /// By itself, with a code of 0 to 255.
    Code(i32),
    /// By a signal.
    Signal(i32),
}

/// Why a command could not be started.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, Hash)]
pub enum SpawnError {
    /// No such command.
    NotFound,
    /// It is there but cannot be executed.
    NotExecutable,
    /// The deadline had passed.
    Late,
    /// No processes, memory or descriptors are left, or the supervisor is gone; by the system's number.
    System(i32),
}

impl fmt::Display for SpawnError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotFound => f.write_str("command not found"),
            Self::NotExecutable => f.write_str("the file is there but cannot be executed"),
            Self::Late => f.write_str("its lease had run out before it could start"),
            Self::System(number) => write!(f, "the system could not start it: {}", SystemError(*number)),
        }
    }
}
