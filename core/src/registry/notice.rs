//! What a registry is asked and what it tells.

use crate::connection::DisconnectReason;
use crate::message::EndKind;
use crate::net::{Endpoint, NetError};
use crate::{Address, AttemptNumber, ConnectionId, InstanceId, TaskId};
use alloc::string::String;
use core::net::SocketAddr;
use serde::{Deserialize, Serialize};

/// What the application asks of a registry.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum RegistryCommand {
    /// Listen, and on nothing else; once, first.
    Listen(#[serde(with = "crate::net::whole")] SocketAddr),
    /// End: close everything, then [`RegistryNotice::Stopped`].
    Shutdown,
}

/// What a registry tells the application.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
pub enum RegistryNotice {
    /// It can be dialled.
    Listening(SocketAddr),
    /// It cannot listen; nothing else will happen.
    ListenFailed(SocketAddr, NetError),
    /// A connection of an executor is there (seed 3.1.1 step 2: ExeInReg is made).
    RegistrationLinked {
        /// The connection.
        connection: ConnectionId,
        /// Whose.
        member: InstanceId,
    },
    /// An executor stands in `Members` (seed 3.1.1 step 3).
    MemberJoined {
        /// Who.
        member: InstanceId,
        /// Its name.
        name: String,
        /// Where others dial it.
        address: Address,
        /// Its slots.
        slots: u32,
        /// A command-line client.
        client: bool,
        /// Whether it had been registered before.
        again: bool,
    },
    /// Another living member has the same name; both are kept apart by instance.
    NameShared {
        /// The name.
        name: String,
        /// Who had it.
        first: InstanceId,
        /// Who has it too.
        second: InstanceId,
    },
    /// Silent too long for new work.
    MemberSuspect(InstanceId),
    /// Out of `Members`.
    MemberGone {
        /// Who.
        member: InstanceId,
        /// Its name.
        name: String,
        /// It said goodbye.
        left: bool,
    },
    /// A task is published here (seed 3.1.2 step 1).
    TaskPublished {
        /// The task.
        task: TaskId,
        /// Whether it had been published before.
        again: bool,
    },
    /// A task is proposed to an executor (seed 3.1.2 step 2).
    TaskProposed {
        /// The task.
        task: TaskId,
        /// To whom.
        to: InstanceId,
        /// Its name.
        name: String,
    },
    /// A proposal was taken back, given back, or lost with its executor.
    ProposalReturned {
        /// The task.
        task: TaskId,
        /// From whom.
        from: InstanceId,
    },
    /// A publisher says that its task is held.
    TaskTaken {
        /// The task.
        task: TaskId,
        /// By whom.
        by: InstanceId,
        /// The attempt.
        attempt: AttemptNumber,
    },
    /// A publisher says that its task is free again.
    TaskOpen(TaskId),
    /// A task has ended; `None`: its publisher is gone, or is back and knows nothing of it any more.
    TaskEnded(TaskId, Option<EndKind>),
    /// The table is full ([`Limits::max_tasks`](crate::Limits::max_tasks)): what this publisher publishes is not accepted until
    /// other tasks end. Told once until a tenth of the table is free; then its connection is closed, so that it registers and
    /// publishes again by itself.
    TasksFull(InstanceId),
    /// Somebody was turned away.
    TurnedAway {
        /// From where.
        from: Endpoint,
        /// Why.
        reason: DisconnectReason,
    },
    /// A member broke the protocol; its connection was closed.
    Misbehaved {
        /// Who.
        member: InstanceId,
        /// How.
        what: &'static str,
    },
    /// Accepting fails for want of descriptors.
    AcceptFailing(NetError),
    /// All is closed.
    Stopped,
}
