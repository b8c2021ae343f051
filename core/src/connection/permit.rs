//! What each operation may be asked in each state (ledger K2, K3, K5, K6): a table, every pair named.

use super::types::{ConnectionError, ConnectionState};

/// What a caller can ask of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Operation {
    Listen,
    Connect,
    Send,
}

/// Whether the state lets the operation through.
pub(super) fn permit(state: ConnectionState, operation: Operation) -> Result<(), ConnectionError> {
    use ConnectionState as S;
    match (state, operation) {
        (S::Idle, Operation::Listen | Operation::Connect) | (S::Connected, Operation::Send) => Ok(()),
        (S::Idle, Operation::Send)
        | (S::Connected, Operation::Listen | Operation::Connect)
        | (
            S::Connecting | S::Listening | S::Closing,
            Operation::Listen | Operation::Connect | Operation::Send,
        ) => Err(ConnectionError::WrongState(state)),
    }
}
