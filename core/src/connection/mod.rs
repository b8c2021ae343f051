//! Connections by id (seed §2): kinds registered beforehand, a state each operation checks, one event each change.
//!
//! A *connection* is the logical thing an application names; a link is the TCP stream under it, which dies once. The
//! [`ConnectionManager`] owns all of both. It is a leaf for the machines above it; [`Connections`] makes a
//! [`Machine`](crate::Machine) of it alone.

mod accept;
mod check;
mod dial;
mod diallers;
mod machine;
mod manager;
mod pairs;
mod permit;
mod route;
mod rows;
mod session;
mod sessions;
mod statistics;
mod tables;
mod types;

pub use machine::{ConnectionCommand, ConnectionNotice, Connections};
pub use manager::ConnectionManager;
pub use statistics::{Statistics, Traffic, Volume};
pub use types::{
    ConnectionError, ConnectionEvent, ConnectionKind, ConnectionState, Delivery, DisconnectReason, KindId,
    LinkRule, PeerInfo, Role,
};
