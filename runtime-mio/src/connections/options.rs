//! How a manager is made, and why an address cannot be listened on.

use crate::Options;
use std::fmt;
use std::io;
use xxnet_core::connection::ConnectionError;
use xxnet_core::net::NetError;
use xxnet_core::{Address, ClusterKey, Limits};

/// How a [`ConnectionManager`](super::ConnectionManager) works.
#[derive(Debug)]
pub struct ManagerOptions {
    /// The secret that all who may connect have.
    pub key: ClusterKey,
    /// What peers are told as its name, for people; at most 128 bytes.
    pub name: String,
    /// Every limit and timeout.
    pub limits: Limits,
    /// What the driver can be given; connections need nothing of it.
    pub driver: Options,
}

impl ManagerOptions {
    /// The defaults.
    pub fn new(key: ClusterKey) -> Self {
        Self { key, name: String::new(), limits: Limits::default(), driver: Options::default() }
    }
}

/// Why an address cannot be listened on.
#[derive(Debug)]
pub enum ListenError {
    /// The operation is not allowed; nothing has changed.
    Refused(ConnectionError),
    /// The system refuses this address.
    System(Address, NetError),
    /// As [`update`](super::ConnectionManager::update)'s.
    Io(io::Error),
}

impl From<ConnectionError> for ListenError {
    fn from(error: ConnectionError) -> Self {
        Self::Refused(error)
    }
}

impl fmt::Display for ListenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(error) => fmt::Display::fmt(error, f),
            Self::System(address, error) => write!(f, "cannot listen on {address}: {error}"),
            Self::Io(error) => fmt::Display::fmt(error, f),
        }
    }
}

impl std::error::Error for ListenError {}
