//! Generations: which session of a pair a count belongs to (PROTOCOL B 10 and 11).
//!
//! A pair's generation stays the same until one of its sessions ends here, whether a session exists or not: both of two
//! crossing dials then find the same one. Pairs without a session are remembered, and what is forgotten can do no harm,
//! because whatever starts from nothing starts above every generation that was forgotten.

use super::types::{KindId, LinkRule};
use crate::handshake::Hello;
use crate::{ConnectionId, InstanceId};
use alloc::collections::{BTreeMap, VecDeque};
use serde::{Deserialize, Serialize};

/// Pairs without a session that are remembered.
const REMEMBERED: usize = 1024;

/// What one session may exist for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(super) struct PairKey {
    kind: KindId,
    peer: InstanceId,
    /// Who dials; of no account where both may.
    by_us: bool,
    /// The dialler's own id of the connection, under [`LinkRule::Many`]; else zero.
    connection: ConnectionId,
}

impl PairKey {
    /// The pair of a dial of ours (`by_us`) or of the peer's.
    pub(super) fn new(
        kind: KindId,
        rule: LinkRule,
        peer: InstanceId,
        by_us: bool,
        dialler: ConnectionId,
    ) -> Self {
        let connection = if rule == LinkRule::Many { dialler } else { ConnectionId(0) };
        Self { kind, peer, by_us: by_us && rule != LinkRule::OnePerPair, connection }
    }

    /// The pair that a peer's dial is for.
    pub(super) fn of_newcomer(hello: &Hello, rule: LinkRule) -> Self {
        Self::new(KindId(hello.kind), rule, hello.instance, false, hello.connection)
    }
}

/// What is known of one pair.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(super) struct Pair {
    /// Our generation.
    pub(super) mine: u64,
    /// The peer's, as far as we know; 0 before the first.
    pub(super) known: u64,
    /// The connection whose session it is, while there is one.
    pub(super) session: Option<ConnectionId>,
}

/// All pairs with a session, and those that had one lately.
#[derive(Clone, Debug, Default, Hash, Serialize, Deserialize)]
pub(super) struct Pairs {
    known: BTreeMap<PairKey, Pair>,
    /// Those without a session, oldest first; some may have one again.
    past: VecDeque<PairKey>,
    /// The highest generation that was forgotten.
    forgotten: u64,
}

impl Pairs {
    /// What is known of a pair.
    pub(super) fn at(&self, key: &PairKey) -> Pair {
        let unknown = Pair { mine: self.forgotten + 1, known: 0, session: None };
        self.known.get(key).copied().unwrap_or(unknown)
    }

    /// As [`at`](Self::at), for a newcomer who was told our generation when it was welcomed: of a pair that is not known that one
    /// still holds, whatever was forgotten of others meanwhile. 0: the pair itself was forgotten since.
    pub(super) fn at_told(&self, key: &PairKey, told: u64) -> Pair {
        match self.known.get(key) {
            None if told > 0 => Pair { mine: told, known: 0, session: None },
            Some(_) | None => self.at(key),
        }
    }

    /// A session begins: in this generation of ours, and with the peer in that one.
    pub(super) fn begin(&mut self, key: PairKey, mine: u64, known: u64, id: ConnectionId) {
        self.known.insert(key, Pair { mine, known, session: Some(id) });
    }

    /// The pair's session is over. `by_us`: our generation rises, so that the peer learns of it. `known`: the peer's newer
    /// one, if that is why. Answers the pair that is forgotten for it, if one is.
    #[must_use]
    pub(super) fn end(&mut self, key: PairKey, by_us: bool, known: Option<u64>) -> Option<PairKey> {
        let pair = self.known.get_mut(&key)?;
        pair.session = None;
        pair.mine += u64::from(by_us);
        pair.known = known.unwrap_or(pair.known);
        self.past.push_back(key);
        if self.past.len() <= REMEMBERED {
            return None;
        }
        let oldest = self.past.pop_front()?;
        let pair = self.known.get(&oldest).filter(|pair| pair.session.is_none())?;
        self.forgotten = self.forgotten.max(pair.mine);
        self.known.remove(&oldest);
        Some(oldest)
    }

    /// Every session with its pair.
    pub(super) fn sessions(&self) -> impl Iterator<Item = (PairKey, ConnectionId)> {
        self.known.iter().filter_map(|(key, pair)| Some((*key, pair.session?)))
    }

    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    /// How many are remembered.
    pub(super) fn len(&self) -> usize {
        self.known.len()
    }

    /// How many can be remembered with so many connections.
    pub(super) fn bound(connections: usize) -> usize {
        connections + REMEMBERED
    }
}
