//! What one application knows of its connections, and what each may tell next.

use crate::script::content;
use std::collections::{BTreeMap, BTreeSet};
use xxnet_core::connection::{ConnectionEvent, KindId, PeerInfo};
use xxnet_core::pack::DataPack;
use xxnet_core::{ConnectionId, InstanceId, Token};

/// A connection.
#[derive(Debug)]
pub(super) struct Row {
    kind: Option<KindId>,
    accepted: bool,
    /// The other end, while it is up.
    pub(super) peer: Option<PeerInfo>,
    pub(super) expect: Option<InstanceId>,
    /// Messages given to it since it came up.
    sent: u64,
    /// The number that the next message must have.
    next: u64,
}

/// All connections of one application.
#[derive(Debug, Default)]
pub(super) struct Table {
    rows: BTreeMap<ConnectionId, Row>,
    creating: BTreeMap<Token, usize>,
    /// The one that listens.
    listener: Option<ConnectionId>,
    ended: BTreeSet<ConnectionId>,
    /// Forgotten by us: what was on its way may still be told.
    discarded: BTreeSet<ConnectionId>,
}

type Verdict = Result<(), (&'static str, String)>;

impl Row {
    fn new(accepted: bool) -> Self {
        Self { kind: None, accepted, peer: None, expect: None, sent: 0, next: 0 }
    }
}

impl Table {
    pub(super) fn ids(&self) -> Vec<ConnectionId> {
        self.rows.keys().copied().collect()
    }

    pub(super) fn row(&self, id: ConnectionId) -> Option<&Row> {
        self.rows.get(&id)
    }

    pub(super) fn up(&self) -> impl Iterator<Item = (ConnectionId, &Row)> {
        self.rows.iter().filter(|(_, row)| row.peer.is_some()).map(|(id, row)| (*id, row))
    }

    pub(super) fn creating(&mut self, token: Token, other: usize) {
        self.creating.insert(token, other);
    }

    pub(super) fn rejected(&mut self, token: Token) {
        self.creating.remove(&token);
    }

    /// Whom a new connection is for; `None`: nobody asked for it as a dial.
    pub(super) fn created(&mut self, token: Token, id: ConnectionId) -> Option<usize> {
        let Some(other) = self.creating.remove(&token) else {
            self.listener = Some(id);
            return None;
        };
        self.rows.insert(id, Row::new(false));
        Some(other)
    }

    /// Forgets a connection, if it is known.
    pub(super) fn discard(&mut self, id: ConnectionId) -> bool {
        self.discarded.insert(id);
        self.rows.remove(&id).is_some()
    }

    /// Whether a dialled connection of this kind to this instance is up.
    pub(super) fn reaches(&self, kind: KindId, instance: InstanceId) -> bool {
        self.up().any(|(_, row)| {
            !row.accepted
                && row.kind == Some(kind)
                && row.peer.as_ref().is_some_and(|p| p.instance == instance)
        })
    }

    /// The next message on a connection that is up: who sends it, its number, and something behind.
    pub(super) fn next_message(&mut self, id: ConnectionId, filler: usize) -> Option<Vec<u8>> {
        let row = self.rows.get_mut(&id).filter(|row| row.peer.is_some())?;
        let mut message = Vec::with_capacity(16 + filler);
        message.extend(id.0.to_le_bytes());
        message.extend(row.sent.to_le_bytes());
        message.extend(content(id.0 ^ row.sent, filler));
        row.sent += 1;
        Some(message)
    }

    /// What a connection tells.
    pub(super) fn event(&mut self, event: ConnectionEvent, one: KindId) -> Verdict {
        match event {
            ConnectionEvent::Connected { id, kind, peer } => {
                if self.discarded.contains(&id) {
                    return Ok(());
                }
                let Some(row) = self.rows.get_mut(&id) else {
                    return Err(("events", format!("{id} comes up, and was never created")));
                };
                if row.peer.is_some() {
                    return Err(("events", format!("{id} comes up twice")));
                }
                (row.kind, row.peer, row.sent, row.next) = (Some(kind), Some(*peer), 0, 0);
                Ok(())
            }
            ConnectionEvent::Accepted { id, kind, peer, .. } => self.accepted(id, kind, *peer, one),
            ConnectionEvent::Received { id, pack } => self.received(id, &pack),
            ConnectionEvent::Disconnected { id, .. } => {
                if self.discarded.contains(&id) || self.listener == Some(id) {
                    return Ok(());
                }
                let Some(row) = self.rows.get_mut(&id) else {
                    return Err(("events", format!("{id} ends, and was not there")));
                };
                row.peer = None;
                if row.accepted {
                    self.rows.remove(&id);
                    self.ended.insert(id);
                }
                Ok(())
            }
            ConnectionEvent::Listening { .. }
            | ConnectionEvent::ListenFailed { .. }
            | ConnectionEvent::Pong { .. }
            | ConnectionEvent::Interrupted { .. }
            | ConnectionEvent::Resumed { .. }
            | ConnectionEvent::Acknowledged { .. }
            | ConnectionEvent::Undelivered { .. }
            | ConnectionEvent::Writable { .. }
            | ConnectionEvent::TurnedAway { .. }
            | ConnectionEvent::AcceptFailing { .. } => Ok(()),
        }
    }

    fn accepted(&mut self, id: ConnectionId, kind: KindId, peer: PeerInfo, one: KindId) -> Verdict {
        if self.rows.contains_key(&id) || self.ended.contains(&id) {
            return Err(("events", format!("{id} is accepted under an id that was used before")));
        }
        let twin = self.rows.iter().find(|(_, row)| {
            row.accepted
                && row.kind == Some(one)
                && row.peer.as_ref().is_some_and(|p| p.instance == peer.instance)
        });
        if let Some((twin, _)) = twin.filter(|_| kind == one) {
            return Err(("one", format!("{id} is accepted while {twin} of the same dialler is up")));
        }
        let mut row = Row::new(true);
        (row.kind, row.peer) = (Some(kind), Some(peer));
        self.rows.insert(id, row);
        Ok(())
    }

    fn received(&mut self, id: ConnectionId, pack: &DataPack) -> Verdict {
        if self.discarded.contains(&id) {
            return Ok(());
        }
        let Some(row) = self.rows.get_mut(&id) else {
            return Err(("events", format!("{id} receives, and is not there")));
        };
        let Some(peer) = &row.peer else {
            return Err(("events", format!("{id} receives, and is not up")));
        };
        let number = |at: usize| {
            let bytes = pack.head.get(at..at + 8).and_then(|bytes| bytes.first_chunk());
            bytes.map_or(u64::MAX, |bytes| u64::from_le_bytes(*bytes))
        };
        let (from, count) = (number(0), number(8));
        if from != peer.connection.0 || count != row.next {
            let want = (peer.connection, row.next);
            return Err(("order", format!("{id} brings message {count} of connection-{from}, not {want:?}")));
        }
        if pack.head[16..] != content(from ^ count, pack.head.len() - 16)[..] {
            return Err(("order", format!("{id} brings message {count} with other bytes")));
        }
        row.next += 1;
        Ok(())
    }
}
