//! What is sent: to a session, to whoever will be connected, or to ourselves.

use super::peers::PeerId;
use super::{LOCAL, Messenger, MessengerError, MessengerNotice, Out, Stage, cost};
use crate::backoff::Backoff;
use crate::connection::ConnectionError;
use crate::pack::{DataPack, PackType};
use crate::{Instant, Token};
use alloc::vec::Vec;

impl Messenger {
    pub(super) fn send(&mut self, now: Instant, token: Token, packs: Vec<DataPack>, out: &mut Out) {
        let Some(to) = self.routes.get(&token).filter(|_| self.stage == Stage::Running) else {
            let error = match self.stage {
                Stage::Running => MessengerError::NotOpen,
                Stage::Closing(_) | Stage::Down => MessengerError::Closed,
            };
            packs.into_iter().for_each(|pack| reject(token, error.clone(), pack, out));
            return;
        };
        if self.listeners.is_own(to) {
            return packs.into_iter().for_each(|pack| self.send_here(token, pack, out));
        }
        let peer = match self.peers.at(to) {
            Some(peer) => peer,
            None if self.peers.len() >= self.config.limits.max_members => {
                let full = MessengerError::TooManyPeers;
                return packs.into_iter().for_each(|pack| reject(token, full.clone(), pack, out));
            }
            None => self.peers.add(to.clone(), Backoff::new(self.config.limits.backoff)),
        };
        self.send_all(now, peer, packs.into_iter().map(|pack| (token, pack)), out);
        // Forgotten again if nothing of it could be queued.
        self.release(now, peer, out);
    }

    /// Queues all, then lets them leave together.
    pub(super) fn send_all(
        &mut self,
        now: Instant,
        peer: PeerId,
        packs: impl IntoIterator<Item = (Token, DataPack)>,
        out: &mut Out,
    ) {
        packs.into_iter().for_each(|(token, pack)| self.send_to(now, peer, token, pack, out));
        if let Some(session) = self.peers.get(peer).and_then(|row| row.session) {
            self.manager.flush(now, session, out);
        }
    }

    fn send_to(&mut self, now: Instant, peer: PeerId, token: Token, pack: DataPack, out: &mut Out) {
        let limits = &self.config.limits;
        if !matches!(pack.pack_type, PackType::DICT | PackType::RAW) {
            let error = MessengerError::Connection(ConnectionError::ReservedPackType(pack.pack_type));
            return reject(token, error, pack, out);
        }
        let Some(row) = self.peers.get_mut(peer) else { return };
        let bytes = cost(&pack);
        if let Some(session) = row.session {
            match self.manager.may_send(session, &pack) {
                Ok(()) => {
                    self.manager.queue(session, pack);
                    return row.ledger.push(token, bytes);
                }
                // It is ending, or over and about to say so: for the next one.
                Err(ConnectionError::WrongState(_) | ConnectionError::UnknownConnection(_)) => {}
                Err(error) => return reject(token, MessengerError::Connection(error), pack, out),
            }
        } else if row.is_here {
            return self.send_here(token, pack, out);
        }
        if pack.data_len() > limits.max_data as usize {
            let (size, limit) = (pack.data_len(), limits.max_data);
            let error = MessengerError::Connection(ConnectionError::TooLarge { size, limit });
            return reject(token, error, pack, out);
        }
        if row.waiting_bytes + bytes > limits.session_queue && !row.waiting.is_empty() {
            return reject(token, MessengerError::Connection(ConnectionError::QueueFull), pack, out);
        }
        row.since.get_or_insert(now);
        row.waiting_bytes += bytes;
        row.waiting.push_back((token, pack));
    }

    /// To an address of our own: no network, the same promises.
    pub(super) fn send_here(&mut self, token: Token, mut pack: DataPack, out: &mut Out) {
        let bytes = cost(&pack);
        if self.local.bytes() + bytes > self.config.limits.session_queue && !self.local.is_empty() {
            return reject(token, MessengerError::Connection(ConnectionError::QueueFull), pack, out);
        }
        self.local_sent += 1;
        self.local.push(token, bytes);
        pack.sequence = self.local_sent;
        out.notify(MessengerNotice::Received { on: LOCAL, pack });
    }

    /// A peer has turned out to be ourselves: what waits for it is here.
    pub(super) fn keep_here(&mut self, peer: PeerId, out: &mut Out) {
        let Some(row) = self.peers.get_mut(peer) else { return };
        row.waiting_bytes = 0;
        for (token, pack) in core::mem::take(&mut row.waiting) {
            self.send_here(token, pack, out);
        }
    }
}

/// The message is given back, and no longer queued.
fn reject(token: Token, error: MessengerError, pack: DataPack, out: &mut Out) {
    let bytes = cost(&pack);
    out.notify(MessengerNotice::Rejected { token, error, pack: Some(pack) });
    out.notify(MessengerNotice::Settled { token, count: 1, bytes });
}
