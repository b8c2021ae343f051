//! Typed ids. The core mints every one of them, so a late completion can never hit a newer thing (ledger K10).

use alloc::string::String;
use core::fmt;
use serde::{Deserialize, Serialize};

macro_rules! counter_id {
    ($(#[$doc:meta])* $name:ident, $prefix:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub struct $name(pub u64);

        impl $name {
            /// Takes the next id from a counter; ids of one machine are never reused.
            pub fn next(counter: &mut u64) -> Self {
                *counter += 1;
                Self(*counter)
            }
        }

        impl crate::id_map::Counted for $name {
            fn number(self) -> u64 {
                self.0
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!($prefix, "{}"), self.0)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(self, f)
            }
        }
    };
}

counter_id!(
    /// One TCP stream, dialled or accepted; dies once.
    LinkId, "link-"
);
counter_id!(
    /// One listening socket.
    ListenerId, "listener-"
);
counter_id!(
    /// One name look-up under way.
    QueryId, "query-"
);
counter_id!(
    /// A logical connection (seed §2): outlives a broken link, has a kind, a state and a target.
    ConnectionId, "connection-"
);
counter_id!(
    /// One disk request under way.
    OpId, "op-"
);
counter_id!(
    /// A file or folder that is being read or written as one stream; see [`disk`](crate::disk).
    TreeId, "tree-"
);
counter_id!(
    /// One started command, from spawn until every process of it is reaped.
    RunId, "run-"
);
counter_id!(
    /// Names the completion of one file request (the seed's 回调ID); fires exactly once.
    CallbackId, "callback-"
);
counter_id!(
    /// The claim number of an executor's entry for a task; grows within one instance (PROTOCOL A2).
    ClaimNumber, "claim-"
);
counter_id!(
    /// The attempt number of a task; grows with each grant (PROTOCOL A1).
    AttemptNumber, "attempt-"
);
counter_id!(
    /// Names a command of the application, so that its answer or rejection can be told apart.
    Token, "token-"
);

/// One run of one process: 128 random bits. Compared for equality, never for age: a restart is another node.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct InstanceId(pub [u8; 16]);

impl InstanceId {
    /// No node: stands for "whoever answers" in a dial.
    pub const NONE: Self = Self([0; 16]);
}

impl fmt::Display for InstanceId {
    /// The first eight hex digits: enough for people.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().take(4).try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for InstanceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A task, named within its publisher. Publishing twice is publishing once.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct TaskId {
    /// Who published it, and alone decides its end.
    pub publisher: InstanceId,
    /// Counts that publisher's tasks from 1.
    pub number: u64,
}

impl fmt::Display for TaskId {
    /// As people write it on the command line: 8 hex digits, a dash, the number.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.publisher, self.number)
    }
}

impl fmt::Debug for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A task as people name it: the first hex digits of its publisher, a dash, the number.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Hash)]
pub struct TaskName {
    /// The first hex digits of the publisher's instance id, lower case; at least one.
    pub publisher: String,
    /// The task's number at that publisher.
    pub number: u64,
}

impl TaskName {
    /// Parses `1a2b3c4d-7`; `None` if it has another form.
    pub fn parse(text: &str) -> Option<Self> {
        let (publisher, number) = text.trim().rsplit_once('-')?;
        let hex = (1..=32).contains(&publisher.len()) && publisher.bytes().all(|b| b.is_ascii_hexdigit());
        hex.then_some(())?;
        Some(Self { publisher: publisher.to_ascii_lowercase(), number: number.parse().ok()? })
    }

    /// Whether `task` is meant.
    pub fn matches(&self, task: TaskId) -> bool {
        let digits = self.publisher.bytes().enumerate().all(|(i, digit)| {
            let byte = task.publisher.0.get(i / 2).copied().unwrap_or(0);
            let nibble = if i % 2 == 0 { byte >> 4 } else { byte & 15 };
            char::from_digit(u32::from(nibble), 16) == Some(char::from(digit))
        });
        digits && self.number == task.number
    }
}

/// What an attempt's private folder is called: one a task and attempt.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct FolderId {
    /// The task.
    pub task: TaskId,
    /// The attempt at it.
    pub attempt: AttemptNumber,
}
