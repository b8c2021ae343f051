//! Where a messenger listens.

use super::{LISTENER, MessengerError, MessengerNotice, Out, Stage};
use crate::net::{Endpoint, NetError};
use crate::{Address, ConnectionId, Instant, Token};
use alloc::collections::BTreeMap;
use alloc::vec::Vec;

#[derive(Debug)]
struct Listener {
    token: Token,
    address: Endpoint,
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
        let same = |held: &Endpoint| match (held, to) {
            (Endpoint::Ip(held), Address::Socket(to)) => held == to,
            (Endpoint::Unix(held), Address::Unix(to)) => held == to,
            _ => false,
        };
        self.rows.values().any(|row| row.open && same(&row.address))
    }

    pub(super) fn at(&self, address: &Endpoint) -> Option<ConnectionId> {
        self.rows.iter().find(|(_, row)| row.address == *address).map(|(id, _)| *id)
    }

    pub(super) fn has(&self, id: ConnectionId) -> bool {
        self.rows.contains_key(&id)
    }

    pub(super) fn ids(&self) -> Vec<ConnectionId> {
        self.rows.keys().copied().collect()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Where peers can dial us: the listener that was opened first, of those that other hosts can reach, if there are any.
    fn first(&self) -> Option<Address> {
        let open = self.rows.values().filter(|row| row.open).map(|row| &row.address);
        open.min_by_key(|address| address.socket().is_none()).cloned().map(Address::from)
    }
}

impl super::Messenger {
    pub(super) fn listen(&mut self, now: Instant, token: Token, address: Endpoint, out: &mut Out) {
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
        match self.manager.listen(now, id, address.clone().into(), out) {
            Ok(()) => _ = self.listeners.rows.insert(id, Listener { token, address, open: false }),
            Err(error) => {
                self.manager.discard(now, id, out);
                rejected(MessengerError::Connection(error), out);
            }
        }
    }

    pub(super) fn listening(&mut self, now: Instant, id: ConnectionId, address: Endpoint, out: &mut Out) {
        let Some(row) = self.listeners.rows.get_mut(&id) else { return };
        (row.open, row.address) = (true, address.clone());
        out.notify(MessengerNotice::Listening { token: row.token, address: address.clone() });
        self.claim_own(now, &address.into(), out);
        self.advertise();
    }

    /// Tells peers where they can dial us from now on.
    pub(super) fn advertise(&mut self) {
        self.manager.advertise(self.listeners.first());
    }

    /// A listener is closed. Who still waits for it to open is told.
    pub(super) fn unlistened(&mut self, now: Instant, id: ConnectionId, out: &mut Out) {
        if let Some(Listener { token, open: false, .. }) = self.listeners.rows.remove(&id) {
            out.notify(MessengerNotice::Rejected { token, error: MessengerError::Unlistened, pack: None });
        }
        self.manager.discard(now, id, out);
        // Somebody else may listen there now.
        self.forget_here(now, out);
        self.advertise();
        self.finish_shutdown(now, out);
    }

    pub(super) fn listen_failed(&mut self, now: Instant, id: ConnectionId, error: NetError, out: &mut Out) {
        if let Some(row) = self.listeners.rows.remove(&id) {
            out.notify(MessengerNotice::ListenFailed { token: row.token, address: row.address, error });
        }
        self.manager.discard(now, id, out);
        self.finish_shutdown(now, out);
    }
}
