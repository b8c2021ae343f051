//! Where a messenger listens.

use super::{LISTENER, MessengerError, MessengerNotice, Out, Stage};
use crate::net::NetError;
use crate::{Address, ConnectionId, Instant, Token};
use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::net::SocketAddr;

#[derive(Debug)]
struct Listener {
    token: Token,
    address: SocketAddr,
    open: bool,
}

/// Listening connections.
#[derive(Debug, Default)]
pub(super) struct Listeners {
    rows: BTreeMap<ConnectionId, Listener>,
}

impl Listeners {
    /// Whether something sent there would come back to us. A wildcard is known to be ours only once it was dialled.
    pub(super) fn is_own(&self, to: &Address) -> bool {
        let Address::Socket(to) = to else { return false };
        self.rows.values().any(|row| row.open && row.address == *to)
    }

    pub(super) fn at(&self, address: SocketAddr) -> Option<ConnectionId> {
        self.rows.iter().find(|(_, row)| row.address == address).map(|(id, _)| *id)
    }

    pub(super) fn remove(&mut self, id: ConnectionId) -> bool {
        self.rows.remove(&id).is_some()
    }

    pub(super) fn ids(&self) -> Vec<ConnectionId> {
        self.rows.keys().copied().collect()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Where peers can dial us: the listener that was opened first.
    fn first(&self) -> Option<SocketAddr> {
        self.rows.values().find(|row| row.open).map(|row| row.address)
    }
}

impl super::Messenger {
    pub(super) fn listen(&mut self, now: Instant, token: Token, address: SocketAddr, out: &mut Out) {
        let rejected = |error, out: &mut Out| {
            out.notify(MessengerNotice::Rejected { token, error, pack: None });
        };
        if self.stage != Stage::Running {
            return rejected(MessengerError::Closed, out);
        }
        let id = match self.manager.create(LISTENER) {
            Ok(id) => id,
            Err(error) => return rejected(MessengerError::Connection(error), out),
        };
        match self.manager.listen(now, id, Address::Socket(address), out) {
            Ok(()) => _ = self.listeners.rows.insert(id, Listener { token, address, open: false }),
            Err(error) => {
                self.manager.discard(now, id, out);
                rejected(MessengerError::Connection(error), out);
            }
        }
    }

    pub(super) fn listening(&mut self, now: Instant, id: ConnectionId, address: SocketAddr, out: &mut Out) {
        let Some(row) = self.listeners.rows.get_mut(&id) else { return };
        (row.open, row.address) = (true, address);
        out.notify(MessengerNotice::Listening { token: row.token, address });
        self.claim_own(now, &Address::Socket(address), out);
        self.advertise();
    }

    /// Tells peers where they can dial us from now on.
    pub(super) fn advertise(&mut self) {
        self.manager.advertise(self.listeners.first().map(Address::Socket));
    }

    pub(super) fn listen_failed(&mut self, now: Instant, id: ConnectionId, error: NetError, out: &mut Out) {
        if let Some(row) = self.listeners.rows.remove(&id) {
            out.notify(MessengerNotice::ListenFailed { token: row.token, address: row.address, error });
        }
        self.manager.discard(now, id, out);
        self.finish_shutdown(now, out);
    }
}
