//! The connections that were accepted: who is at the other end, and what it may say.

use crate::net::Endpoint;
use crate::states::{Key, Row, StandingState};
use crate::time::Instant;
use crate::timers::Timers;
use crate::{Address, ConnectionId, InstanceId};
use alloc::collections::BTreeMap;
use serde::{Deserialize, Serialize};

/// Connections of nobody registered at most: those that have not registered yet, and askers.
const MAX_STRANGERS: usize = 2048;

/// What a connection may say.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(super) enum Standing {
    /// It may register, and has to soon.
    Newcomer,
    /// A member's registration connection.
    Member,
    /// It may ask; it has to soon, and to close once it is answered.
    Asker,
}

/// One accepted connection.
#[derive(Clone, Debug, Hash, Serialize, Deserialize)]
pub(super) struct Session {
    pub(super) peer: InstanceId,
    pub(super) socket: Endpoint,
    /// Where it has reached us.
    pub(super) local: Endpoint,
    pub(super) standing: Standing,
}

impl Session {
    /// What the other end should dial for this address of a member's.
    pub(super) fn told(&self, address: &Address) -> Address {
        address.as_seen_from(self.socket.host(), self.local.host())
    }

    /// Where this address of its own can be dialled from any host; `None`: nowhere.
    pub(super) fn reached_at(&self, address: &Address) -> Option<Address> {
        address.completed(self.socket.host()).filter(|address| !address.is_unix())
    }
}

/// All of them. Whoever has to do something soon has a deadline, so that no place is held for ever (ledger N9).
#[derive(Clone, Debug, Default, Hash, Serialize, Deserialize)]
pub(super) struct Sessions {
    sessions: BTreeMap<ConnectionId, Session>,
    strangers: usize,
    timers: Timers<ConnectionId>,
}

impl Sessions {
    /// A connection that has until `deadline` to say something. False: there is no room for it.
    pub(super) fn open(&mut self, id: ConnectionId, session: Session, deadline: Instant) -> bool {
        if self.strangers >= MAX_STRANGERS {
            return false;
        }
        self.strangers += 1;
        self.sessions.insert(id, session);
        self.timers.set(id, deadline);
        true
    }

    /// Connections that have yet to say what they are.
    pub(super) fn strangers(&self) -> usize {
        self.strangers
    }

    /// It has registered.
    pub(super) fn promote(&mut self, id: ConnectionId) {
        if let Some(session) = self.sessions.get_mut(&id)
            && session.standing != Standing::Member
        {
            session.standing = Standing::Member;
            self.strangers -= 1;
            self.timers.clear(&id);
        }
    }

    /// It has to do something until then; `None`: it is our turn.
    pub(super) fn expect(&mut self, id: ConnectionId, deadline: Option<Instant>) {
        match deadline.filter(|_| self.sessions.contains_key(&id)) {
            Some(deadline) => self.timers.set(id, deadline),
            None => self.timers.clear(&id),
        }
    }

    pub(super) fn session(&self, id: ConnectionId) -> Option<Session> {
        self.sessions.get(&id).cloned()
    }

    /// It is over.
    pub(super) fn remove(&mut self, id: ConnectionId) -> Option<Session> {
        let session = self.sessions.remove(&id)?;
        self.timers.clear(&id);
        if session.standing != Standing::Member {
            self.strangers -= 1;
        }
        Some(session)
    }

    /// Takes the next that has let its deadline pass; the caller ends it.
    pub(super) fn due(&mut self, now: Instant) -> Option<ConnectionId> {
        self.timers.pop_due(now)
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        self.timers.next()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (ConnectionId, Session)> + '_ {
        self.sessions.iter().map(|(id, session)| (*id, session.clone()))
    }

    /// What each is.
    pub(super) fn rows(&self) -> impl Iterator<Item = Row> {
        self.sessions.iter().map(|(id, session)| {
            let state = match session.standing {
                Standing::Newcomer => StandingState::Newcomer,
                Standing::Member => StandingState::Member,
                Standing::Asker => StandingState::Asker,
            };
            Row::new(Key::Connection(*id), state).on(*id)
        })
    }

    /// Panics if the counts are wrong.
    pub(super) fn check_invariants(&self) {
        let strangers = self.sessions.values().filter(|session| session.standing != Standing::Member).count();
        assert_eq!(strangers, self.strangers);
        assert!(strangers <= MAX_STRANGERS);
        for (id, session) in &self.sessions {
            let timed = self.timers.at(id).is_some();
            match session.standing {
                Standing::Newcomer => assert!(timed, "{id}: a newcomer may stay silent for ever"),
                Standing::Member => assert!(!timed, "{id}: a member has no such deadline"),
                // Not while we owe it an answer.
                Standing::Asker => {}
            }
        }
        assert!(self.timers.iter().all(|(id, _)| self.sessions.contains_key(id)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn r1_a_unix_socket_is_no_address_for_others() {
        // Not even of a member on the registry's own host: others are elsewhere.
        let [socket, local] =
            ["127.0.0.1:5000", "127.0.0.1:7000"].map(|at| Endpoint::Ip(at.parse().unwrap()));
        let session = Session { peer: InstanceId([7; 16]), socket, local, standing: Standing::Newcomer };
        assert_eq!(session.reached_at(&Address::Unix("/run/x.sock".into())), None);
        let wild: Address = ":7000".parse().unwrap();
        assert_eq!(session.reached_at(&wild), Some("127.0.0.1:7000".parse().unwrap()));
    }
}
