//! Names to addresses, off the loop: the system's resolver blocks.

use crate::alarm::{Completion, Outbox};
use crate::net::net_error;
use crate::workers::Workers;
use std::net::{SocketAddr, ToSocketAddrs};
use xxnet_core::QueryId;
use xxnet_core::net::{NetError, NetEvent};

/// Look-ups at once: a dead name server holds a thread for half a minute.
const THREADS: usize = 4;

/// The resolver's threads.
#[derive(Debug)]
pub(crate) struct Names {
    workers: Workers,
    outbox: Outbox,
}

impl Names {
    pub(crate) fn new(outbox: Outbox) -> Self {
        Self { workers: Workers::new("xxnet-names", THREADS), outbox }
    }

    /// Looks `host` up; the completion comes through the outbox.
    pub(crate) fn resolve(&self, query: QueryId, host: String, port: u16) {
        let outbox = self.outbox.clone();
        self.workers.run(move || {
            let result = look_up(&host, port);
            outbox.put(Completion::Net(NetEvent::Resolved { query, result }));
        });
    }
}

fn look_up(host: &str, port: u16) -> Result<Vec<SocketAddr>, NetError> {
    let found = (host, port).to_socket_addrs().map_err(|error| match error.raw_os_error() {
        Some(_) => net_error(&error),
        // The resolver's own errors have no number of the system's.
        None => NetError::NameNotFound,
    })?;
    let mut addresses: Vec<SocketAddr> = Vec::new();
    for address in found {
        if !addresses.contains(&address) {
            addresses.push(address);
        }
    }
    if addresses.is_empty() { Err(NetError::NameNotFound) } else { Ok(addresses) }
}
