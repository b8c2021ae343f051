//! The smallest machine: asks a registry one question, tells the answer.

use crate::Address;
use crate::connection::DisconnectReason;
use crate::message::{Question, Reply};

/// What the application asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClientCommand {
    /// Dial the registry and ask; once.
    Ask {
        /// Which registry.
        registry: Address,
        /// What.
        question: Question,
    },
}

/// What the application is told: exactly one a question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClientNotice {
    /// The answer.
    Answered(Reply),
    /// The registry cannot be reached, or broke off.
    Failed(DisconnectReason),
}
