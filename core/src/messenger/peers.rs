//! Whom a messenger knows, by address and by connection.

use super::ledger::Ledger;
use crate::backoff::Backoff;
use crate::pack::DataPack;
use crate::states::{Key, PeerState, Row};
use crate::{Address, ConnectionId, Instant, Token};
use alloc::collections::{BTreeMap, VecDeque};
use alloc::vec::Vec;

/// Names a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct PeerId(u64);

/// One peer: connected, or waited for.
#[derive(Debug)]
pub(super) struct Peer {
    /// Where it is dialled.
    pub(super) address: Address,
    /// Every address that means it.
    aliases: Vec<Address>,
    /// The connection of our own that dials it, if one was ever needed.
    pub(super) dial: Option<ConnectionId>,
    pub(super) dialling: bool,
    /// The connection that has its session.
    pub(super) session: Option<ConnectionId>,
    /// What waits for a session, and its bytes.
    pub(super) waiting: VecDeque<(Token, DataPack)>,
    pub(super) waiting_bytes: usize,
    /// What was sent on the session.
    pub(super) ledger: Ledger,
    /// What its session had not delivered, on its way to be told.
    pub(super) undelivered: Vec<DataPack>,
    pub(super) backoff: Backoff,
    /// Since when something waits for a session.
    pub(super) since: Option<Instant>,
    /// Whether that was told.
    pub(super) warned: bool,
    /// It turned out to be ourselves.
    pub(super) is_here: bool,
}

/// All peers.
#[derive(Debug, Default)]
pub(super) struct Peers {
    rows: BTreeMap<PeerId, Peer>,
    by_address: BTreeMap<Address, PeerId>,
    by_connection: BTreeMap<ConnectionId, PeerId>,
    /// Who says that it listens at another one's address, while that one is asked whether it still lives: the newest of each.
    claims: BTreeMap<Address, PeerId>,
    last: u64,
}

impl Peers {
    /// A peer at an address; if another was known there, the address is this one's from now on.
    pub(super) fn add(&mut self, address: Address, backoff: Backoff) -> PeerId {
        self.last += 1;
        let id = PeerId(self.last);
        let peer = Peer {
            address: address.clone(),
            aliases: Vec::new(),
            dial: None,
            dialling: false,
            session: None,
            waiting: VecDeque::new(),
            waiting_bytes: 0,
            ledger: Ledger::default(),
            undelivered: Vec::new(),
            backoff,
            since: None,
            warned: false,
            is_here: false,
        };
        self.rows.insert(id, peer);
        self.alias(id, address);
        id
    }

    /// Another address means this peer, too.
    pub(super) fn alias(&mut self, id: PeerId, address: Address) {
        let before = self.by_address.insert(address.clone(), id);
        if before == Some(id) {
            return;
        }
        if let Some(old) = before.and_then(|old| self.rows.get_mut(&old)) {
            old.aliases.retain(|alias| *alias != address);
        }
        if let Some(row) = self.rows.get_mut(&id) {
            row.aliases.push(address);
        }
    }

    /// A peer says that it listens where another one does, who was asked whether it still lives.
    pub(super) fn claim(&mut self, claimer: PeerId, address: Address) {
        self.claims.insert(address, claimer);
    }

    /// A peer lives: what others say of its addresses is wrong.
    pub(super) fn deny_claims(&mut self, holder: PeerId) {
        self.take_claims(holder);
    }

    /// A peer cannot be reached: its addresses are those of the peers that say so, if any do.
    pub(super) fn yield_claims(&mut self, holder: PeerId) {
        for (address, claimer) in self.take_claims(holder) {
            self.alias(claimer, address);
        }
    }

    fn take_claims(&mut self, holder: PeerId) -> Vec<(Address, PeerId)> {
        let held = |(address, _): &(&Address, &PeerId)| self.by_address.get(*address) == Some(&holder);
        let claims = self.claims.iter().filter(held).map(|(address, claimer)| (address.clone(), *claimer));
        let claims: Vec<_> = claims.collect();
        claims.iter().for_each(|(address, _)| _ = self.claims.remove(address));
        claims
    }

    /// What this connection tells is about this peer.
    pub(super) fn connects(&mut self, id: PeerId, connection: ConnectionId) {
        self.by_connection.insert(connection, id);
    }

    pub(super) fn at(&self, address: &Address) -> Option<PeerId> {
        self.by_address.get(address).copied()
    }

    pub(super) fn of(&self, connection: ConnectionId) -> Option<PeerId> {
        self.by_connection.get(&connection).copied()
    }

    pub(super) fn get(&self, id: PeerId) -> Option<&Peer> {
        self.rows.get(&id)
    }

    pub(super) fn get_mut(&mut self, id: PeerId) -> Option<&mut Peer> {
        self.rows.get_mut(&id)
    }

    pub(super) fn ids(&self) -> Vec<PeerId> {
        self.rows.keys().copied().collect()
    }

    pub(super) fn len(&self) -> usize {
        self.rows.len()
    }

    /// The peer's dialling connection has reached somebody else: that one is another peer, and the address is its own.
    pub(super) fn split(&mut self, from: PeerId, connection: ConnectionId, backoff: Backoff) -> PeerId {
        let Some(row) = self.rows.get_mut(&from) else { return from };
        row.dial = row.dial.filter(|dial| *dial != connection);
        row.dialling = false;
        let address = row.address.clone();
        let id = self.add(address, backoff);
        if let Some(row) = self.rows.get_mut(&id) {
            row.dial = Some(connection);
        }
        self.connects(id, connection);
        id
    }

    /// Two turn out to be one: the first one's addresses mean the second from now on. Answers what waited for the first.
    pub(super) fn merge(&mut self, from: PeerId, into: PeerId) -> VecDeque<(Token, DataPack)> {
        let Some(row) = self.rows.get_mut(&from) else { return VecDeque::new() };
        row.waiting_bytes = 0;
        let (waiting, aliases) = (core::mem::take(&mut row.waiting), core::mem::take(&mut row.aliases));
        for address in aliases {
            self.alias(into, address);
        }
        waiting
    }

    /// What waits for one peer waits for another, behind what waits for that.
    pub(super) fn pass_waiting(&mut self, from: PeerId, into: PeerId) {
        let Some(row) = self.rows.get_mut(&from) else { return };
        let (mut waiting, bytes) =
            (core::mem::take(&mut row.waiting), core::mem::take(&mut row.waiting_bytes));
        if let Some(row) = self.rows.get_mut(&into) {
            row.waiting.append(&mut waiting);
            row.waiting_bytes += bytes;
        }
    }

    /// This connection tells nothing more.
    pub(super) fn disconnects(&mut self, connection: ConnectionId) {
        self.by_connection.remove(&connection);
    }

    /// Forgets which addresses turned out to be our own; answers the connections that dialled them.
    pub(super) fn forget_here(&mut self) -> Vec<ConnectionId> {
        let here = self.rows.iter().filter(|(_, row)| row.is_here && row.session.is_none());
        let here: Vec<_> = here.map(|(id, _)| *id).collect();
        here.into_iter().filter_map(|id| self.remove(id)).collect()
    }

    /// Forgets a peer without a session; answers the connection that dialled it.
    pub(super) fn remove(&mut self, id: PeerId) -> Option<ConnectionId> {
        let row = self.rows.remove(&id)?;
        self.claims.retain(|_, claimer| *claimer != id);
        for address in row.aliases {
            self.by_address.remove(&address);
        }
        if let Some(dial) = row.dial {
            self.by_connection.remove(&dial);
        }
        row.dial
    }

    /// Where each stands.
    pub(super) fn rows(&self) -> impl Iterator<Item = Row> {
        self.rows.iter().map(|(id, row)| {
            let (state, on) = match (row.session, row.dialling) {
                (Some(session), _) => (PeerState::Connected, Some(session)),
                (None, true) => (PeerState::Dialling, row.dial),
                (None, false) if row.is_here => (PeerState::Here, None),
                (None, false) => (PeerState::Waiting, None),
            };
            Row::new(Key::Number(id.0), state).on(on)
        })
    }

    pub(super) fn check_invariants(&self) {
        for (address, id) in &self.by_address {
            let knows = self.rows.get(id).is_some_and(|row| row.aliases.contains(address));
            assert!(knows, "{address} leads to a peer that does not know it");
        }
        for (address, id) in &self.claims {
            assert!(self.rows.contains_key(id), "{address} is claimed by nobody");
            assert!(self.by_address.contains_key(address), "{address} is claimed and free");
        }
        for (connection, id) in &self.by_connection {
            let row = self.rows.get(id);
            let knows = row.is_some_and(|row| [row.dial, row.session].contains(&Some(*connection)));
            assert!(knows, "{connection} leads to a peer that does not know it");
        }
        for row in self.rows.values() {
            let bytes: usize = row.waiting.iter().map(|(_, pack)| super::cost(pack)).sum();
            assert_eq!(bytes, row.waiting_bytes, "bytes that wait for {}", row.address);
        }
    }
}
