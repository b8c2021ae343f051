//! What one application knows of its connections, and what each may tell next.

use crate::mesh::Kinds;
use crate::script::{fill, is_filler};
use std::collections::{BTreeMap, BTreeSet};
use xxnet_core::connection::{ConnectionEvent, KindId, LinkRule, PeerInfo};
use xxnet_core::pack::DataPack;
use xxnet_core::{ConnectionId, InstanceId, Token};

/// A connection.
#[derive(Debug)]
pub(super) struct Row {
    pub(super) kind: Option<KindId>,
    accepted: bool,
    /// The other end, while it is up.
    pub(super) peer: Option<PeerInfo>,
    pub(super) expect: Option<InstanceId>,
    /// We have asked for it to be connected.
    asked: bool,
    /// We have closed it, and were not told yet that it is over.
    closing: bool,
    /// Messages given to it since it came up.
    sent: u64,
    /// The number that the next message must have.
    next: u64,
}

/// All connections of one application.
#[derive(Debug, Default)]
pub(super) struct Table {
    rows: BTreeMap<ConnectionId, Row>,
    /// Who must answer, by the command that creates a connection.
    creating: BTreeMap<Token, Option<InstanceId>>,
    /// The one that listens.
    listener: Option<ConnectionId>,
    ended: BTreeSet<ConnectionId>,
    /// Forgotten by us: what was on its way may still be told.
    discarded: BTreeSet<ConnectionId>,
}

/// What an oracle has to say: its name, and what it saw.
pub(super) type Verdict = Result<(), (&'static str, String)>;

impl Row {
    fn new(accepted: bool) -> Self {
        Self {
            kind: None,
            accepted,
            peer: None,
            expect: None,
            asked: false,
            closing: false,
            sent: 0,
            next: 0,
        }
    }

    /// Whether it is up, of this kind, with this instance.
    fn is(&self, kind: KindId, instance: InstanceId) -> bool {
        self.kind == Some(kind) && self.peer.as_ref().is_some_and(|peer| peer.instance == instance)
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

    pub(super) fn creating(&mut self, token: Token, expect: Option<InstanceId>) {
        self.creating.insert(token, expect);
    }

    pub(super) fn rejected(&mut self, token: Token) {
        self.creating.remove(&token);
    }

    /// Whether a new connection is a dial; else it is the one that listens.
    pub(super) fn created(&mut self, token: Token, id: ConnectionId) -> bool {
        let Some(expect) = self.creating.remove(&token) else {
            self.listener = Some(id);
            return false;
        };
        self.rows.insert(id, Row { expect, ..Row::new(false) });
        true
    }

    /// We close it: a session's connection, which is up until its last words are said, may have a successor already.
    pub(super) fn close(&mut self, id: ConnectionId) {
        if let Some(row) = self.rows.get_mut(&id) {
            row.closing |= row.asked || row.peer.is_some();
        }
    }

    /// We connect it; says who must answer.
    pub(super) fn connect(&mut self, id: ConnectionId) -> Option<InstanceId> {
        let row = self.rows.get_mut(&id)?;
        row.asked = true;
        row.expect
    }

    /// Whether a peer dialled it, and it is a session.
    pub(super) fn accepted_session(&self, id: ConnectionId) -> bool {
        self.rows.get(&id).is_some_and(|row| row.accepted && row.kind.is_some_and(Kinds::is_session))
    }

    pub(super) fn is_discarded(&self, id: ConnectionId) -> bool {
        self.discarded.contains(&id)
    }

    /// Forgets a connection, if it is known.
    pub(super) fn discard(&mut self, id: ConnectionId) -> bool {
        self.discarded.insert(id);
        self.rows.remove(&id).is_some()
    }

    /// Whether a connection of this kind to this instance is up: one that we dialled, or either of a pair.
    pub(super) fn reaches(&self, kind: KindId, instance: InstanceId) -> bool {
        let pair = Kinds::rule(kind) == LinkRule::OnePerPair;
        self.rows.values().any(|row| row.is(kind, instance) && (pair || !row.accepted))
    }

    /// The next message on a connection that is up: who sends it, its number, and something behind.
    pub(super) fn next_message(&mut self, id: ConnectionId, filler: usize) -> Option<Vec<u8>> {
        let row = self.rows.get_mut(&id).filter(|row| row.peer.is_some())?;
        let mut message = Vec::with_capacity(16 + filler);
        message.extend(id.0.to_le_bytes());
        message.extend(row.sent.to_le_bytes());
        fill(&mut message, id.0 ^ row.sent, filler);
        row.sent += 1;
        Some(message)
    }

    /// What a connection tells.
    pub(super) fn event(&mut self, event: &ConnectionEvent) -> Verdict {
        match event {
            ConnectionEvent::Connected { id, kind, peer } => self.connected(*id, *kind, peer),
            ConnectionEvent::Accepted { id, kind, peer, .. } => self.accepted(*id, *kind, peer),
            ConnectionEvent::Received { id, pack } => self.received(*id, pack),
            ConnectionEvent::Disconnected { id, .. } => {
                if self.discarded.contains(id) || self.listener == Some(*id) {
                    return Ok(());
                }
                let Some(row) = self.rows.get_mut(id) else {
                    return Err(("events", format!("{id} ends, and was not there")));
                };
                (row.peer, row.asked, row.closing) = (None, false, false);
                if row.accepted {
                    self.rows.remove(id);
                    self.ended.insert(*id);
                }
                Ok(())
            }
            ConnectionEvent::Interrupted { id, .. }
            | ConnectionEvent::Resumed { id }
            | ConnectionEvent::Acknowledged { id, .. }
            | ConnectionEvent::Undelivered { id, .. } => {
                let session = |row: &Row| row.peer.is_some() && row.kind.is_some_and(Kinds::is_session);
                if self.discarded.contains(id) || self.rows.get(id).is_some_and(session) {
                    return Ok(());
                }
                Err(("events", format!("{id} tells of a session, and has none")))
            }
            ConnectionEvent::Listening { .. }
            | ConnectionEvent::ListenFailed { .. }
            | ConnectionEvent::Pong { .. }
            | ConnectionEvent::Writable { .. }
            | ConnectionEvent::TurnedAway { .. }
            | ConnectionEvent::AcceptFailing { .. } => Ok(()),
        }
    }

    fn connected(&mut self, id: ConnectionId, kind: KindId, peer: &PeerInfo) -> Verdict {
        if self.discarded.contains(&id) {
            return Ok(());
        }
        self.alone(id, kind, peer, false)?;
        let Some(row) = self.rows.get_mut(&id) else {
            return Err(("events", format!("{id} comes up, and was never created")));
        };
        if row.peer.is_some() {
            return Err(("events", format!("{id} comes up twice")));
        }
        (row.kind, row.peer, row.sent, row.next) = (Some(kind), Some(peer.clone()), 0, 0);
        Ok(())
    }

    fn accepted(&mut self, id: ConnectionId, kind: KindId, peer: &PeerInfo) -> Verdict {
        if self.rows.contains_key(&id) || self.ended.contains(&id) {
            return Err(("events", format!("{id} is accepted under an id that was used before")));
        }
        self.alone(id, kind, peer, true)?;
        let row = Row { kind: Some(kind), peer: Some(peer.clone()), ..Row::new(true) };
        self.rows.insert(id, row);
        Ok(())
    }

    /// No other connection is up where the kind allows one.
    fn alone(&self, id: ConnectionId, kind: KindId, peer: &PeerInfo, accepted: bool) -> Verdict {
        let twin = |oracle: &'static str, counts: &dyn Fn(&Row) -> bool| {
            let leaves = |row: &Row| row.closing && Kinds::is_session(kind);
            let same = |row: &Row| row.is(kind, peer.instance) && !leaves(row) && counts(row);
            match self.rows.iter().find(|(_, row)| same(row)) {
                Some((twin, _)) => {
                    Err((oracle, format!("{id} is up while {twin} of the same kind and peer is")))
                }
                None => Ok(()),
            }
        };
        match Kinds::rule(kind) {
            LinkRule::Many => Ok(()),
            // A plain dialler may have several for a moment: it is for the acceptor to judge.
            LinkRule::OnePerDialler if accepted || Kinds::is_session(kind) => {
                twin("one", &|row| row.accepted == accepted)
            }
            LinkRule::OnePerDialler => Ok(()),
            LinkRule::OnePerPair => twin("pair", &|_| true),
        }
    }

    /// On a plain kind, what was sent on this link, from the first, in order, each once.
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
        if row.kind.is_some_and(Kinds::is_session) {
            return Ok(());
        }
        let number = |at: usize| {
            let bytes = pack.head.get(at..at + 8).and_then(|bytes| bytes.first_chunk());
            bytes.map_or(u64::MAX, |bytes| u64::from_le_bytes(*bytes))
        };
        let (from, count) = (number(0), number(8));
        if from != peer.connection.0 || count != row.next {
            let want = (peer.connection, row.next);
            return Err(("order", format!("{id} brings message {count} of connection-{from}, not {want:?}")));
        }
        if !is_filler(from ^ count, &pack.head[16..]) {
            return Err(("order", format!("{id} brings message {count} with other bytes")));
        }
        row.next += 1;
        Ok(())
    }
}
