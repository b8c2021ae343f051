//! Which of a dialler's dials is the newest that was confirmed (PROTOCOL B 1 to 4).

use super::types::{KindId, LinkRule};
use crate::handshake::Hello;
use crate::{ConnectionId, InstanceId};
use alloc::collections::{BTreeMap, VecDeque};
use serde::{Deserialize, Serialize};

/// Diallers without a connection that are remembered, so that an old dial of theirs changes nothing when it arrives late.
const REMEMBERED: usize = 1024;

/// What at most one link may exist for: a dialler's kind, and under [`LinkRule::Many`] one connection of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(super) struct DiallerKey {
    kind: KindId,
    instance: InstanceId,
    /// The dialler's own id of the connection; zero where that makes no difference.
    connection: ConnectionId,
}

impl DiallerKey {
    pub(super) fn of(hello: &Hello, rule: LinkRule) -> Self {
        let connection = match rule {
            LinkRule::Many => hello.connection,
            LinkRule::OnePerDialler | LinkRule::OnePerPair => ConnectionId(0),
        };
        Self { kind: KindId(hello.kind), instance: hello.instance, connection }
    }
}

/// What is known of one dialler.
#[derive(Clone, Debug, Hash, Serialize, Deserialize)]
struct Dialler {
    /// The highest epoch that was confirmed.
    epoch: u64,
    /// The connection it made, while that lives.
    current: Option<ConnectionId>,
}

/// All diallers with a connection, and those that had one lately.
#[derive(Clone, Debug, Default, Hash, Serialize, Deserialize)]
pub(super) struct Diallers {
    known: BTreeMap<DiallerKey, Dialler>,
    /// Those without a connection, oldest first; some may have one again.
    past: VecDeque<DiallerKey>,
}

impl Diallers {
    /// Whether a dial of this epoch is old news.
    pub(super) fn is_old(&self, key: &DiallerKey, epoch: u64) -> bool {
        self.known.get(key).is_some_and(|known| epoch <= known.epoch)
    }

    /// Records a confirmed dial; answers the connection that it replaces.
    pub(super) fn confirm(&mut self, key: DiallerKey, epoch: u64, id: ConnectionId) -> Option<ConnectionId> {
        self.known.insert(key, Dialler { epoch, current: Some(id) }).and_then(|old| old.current)
    }

    /// Records a confirmed dial whose connection is a session's, and outlives its link.
    pub(super) fn note(&mut self, key: DiallerKey, epoch: u64) {
        if self.known.insert(key, Dialler { epoch, current: None }).is_none() {
            self.remember(key);
        }
    }

    /// The dialler's connection is over.
    pub(super) fn retire(&mut self, key: DiallerKey, id: ConnectionId) {
        let Some(known) = self.known.get_mut(&key).filter(|known| known.current == Some(id)) else { return };
        known.current = None;
        self.remember(key);
    }

    fn remember(&mut self, key: DiallerKey) {
        self.past.push_back(key);
        if self.past.len() > REMEMBERED {
            let forgotten = self.past.pop_front();
            let gone = |key: &DiallerKey| self.known.get(key).is_some_and(|known| known.current.is_none());
            if let Some(key) = forgotten.filter(gone) {
                self.known.remove(&key);
            }
        }
    }

    /// The connections that are the newest of their dialler, with their keys.
    pub(super) fn current(&self) -> impl Iterator<Item = (DiallerKey, ConnectionId)> {
        self.known.iter().filter_map(|(key, known)| Some((*key, known.current?)))
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
