//! What `listen` and `send` share.

use super::Common;
use super::daemon::host_name;
use super::errors::{Failure, Outcome};
use xxnet_runtime_mio::Net;
use xxnet_runtime_mio::messages::NetOptions;

impl Common {
    /// The options of messages: the cluster's key, and this name or the host's.
    pub(crate) fn messages(&self, name: Option<String>) -> Outcome<NetOptions> {
        let config = self.config(name.unwrap_or_else(host_name))?;
        Ok(NetOptions { name: config.name, ..NetOptions::new(config.key) })
    }
}

/// Starts it.
pub(crate) fn start(options: NetOptions) -> Outcome<Net> {
    Net::start(options).map_err(|error| Failure::new(format!("cannot start the network loop: {error}")))
}

/// What to say when it ended by itself.
pub(crate) fn broke_off() -> Failure {
    Failure::new("the network loop failed")
}
