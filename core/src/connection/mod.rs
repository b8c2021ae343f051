//! Connections by id (seed §2): kinds registered beforehand, a state each operation checks, one event each change.

mod manager;
mod types;

pub use manager::ConnectionManager;
pub use types::{
    ConnectionError, ConnectionEvent, ConnectionKind, ConnectionState, DisconnectReason, KindId, LinkRule,
    PeerInfo, Role,
};
