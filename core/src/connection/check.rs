//! What must hold between the manager's tables after every step.

use super::diallers::Diallers;
use super::manager::ConnectionManager;
use super::tables::{Due, ListenerPhase, Origin, Owner, State};
use crate::link::Phase;
use alloc::vec::Vec;

impl ConnectionManager {
    /// Panics if the tables contradict each other.
    pub fn check_invariants(&self) {
        self.check_links();
        self.check_connections();
        self.check_listeners();
        self.check_timers();
        let known = self.diallers.len();
        assert!(known <= Diallers::bound(self.connections.len()), "{known} diallers are remembered");
        if self.destroyed {
            assert!(self.connections.is_empty() && self.timers.is_empty(), "something outlived destroy");
        }
    }

    fn check_links(&self) {
        let limits = &self.config.limits;
        for (id, entry) in &self.links {
            entry.link.check_invariants(limits);
            let phase = entry.link.phase();
            assert_ne!(phase, Phase::Gone, "{id} is gone and kept");
            assert_eq!(self.orphans.contains(id), entry.owner == Owner::Nobody, "{id} as an orphan");
            let newcomer = matches!(entry.owner, Owner::Newcomer(_));
            assert_eq!(self.newcomers.contains(id), newcomer, "{id} as a newcomer");
            match entry.owner {
                Owner::Connection(owner) => {
                    let owns = self.connections.get(&owner).and_then(|connection| connection.link());
                    assert_eq!(owns, Some(*id), "{id} says {owner} owns it");
                }
                Owner::Newcomer(_) => {
                    assert!(matches!(phase, Phase::AwaitHello | Phase::WelcomeSent), "{id} is {phase:?}");
                }
                Owner::Nobody => assert!(
                    matches!(phase, Phase::Flushing | Phase::Ending | Phase::Draining | Phase::Closed),
                    "{id} is {phase:?} and nobody's"
                ),
            }
        }
        let gone = |id| !self.links.contains_key(id);
        assert!(
            !self.newcomers.iter().any(gone) && !self.orphans.iter().any(gone),
            "a link that is not there"
        );
        assert!(self.newcomers.len() <= limits.max_handshakes, "too many handshakes");
    }

    fn check_connections(&self) {
        for (id, connection) in &self.connections {
            let phase = connection.link().map(|link| {
                let entry = self.links.get(&link);
                assert_eq!(entry.map(|e| e.owner), Some(Owner::Connection(*id)), "{id} says it owns {link}");
                entry.map(|e| e.link.phase())
            });
            let phase = phase.flatten();
            match &connection.state {
                State::Idle => {
                    assert_eq!(connection.origin, Origin::Created, "{id} was accepted and is idle");
                }
                State::Resolving { query, .. } => {
                    assert_eq!(self.queries.get(query), Some(&Some(*id)), "{id} waits for {query}");
                }
                State::Dialling { .. } => {
                    assert!(
                        matches!(phase, Some(Phase::Dialling | Phase::HelloSent)),
                        "{id} dials: {phase:?}"
                    );
                }
                State::Connected { .. } => assert_eq!(phase, Some(Phase::Established), "{id} is connected"),
                State::Closing { .. } => assert!(
                    matches!(phase, Some(Phase::Flushing | Phase::Ending | Phase::Draining)),
                    "{id} closes: {phase:?}"
                ),
                State::Listening { listener } | State::Unlistening { listener } => {
                    let held = self.listeners.get(listener).and_then(|listener| listener.connection);
                    assert_eq!(held, Some(*id), "{id} says it has {listener}");
                }
            }
        }
        for (query, waiting) in &self.queries {
            let waits = |id| matches!(self.connections.get(id).map(|c| &c.state), Some(State::Resolving { query: own, .. }) if own == query);
            assert!(waiting.as_ref().is_none_or(waits), "nobody waits for {query}");
        }
        let accepted = self.connections.iter().filter_map(|(id, connection)| match connection.origin {
            Origin::Accepted(key) => Some((key, *id)),
            Origin::Created => None,
        });
        let mut accepted: Vec<_> = accepted.collect();
        accepted.sort_unstable();
        assert!(accepted.into_iter().eq(self.diallers.current()), "one connection a dialler");
    }

    fn check_listeners(&self) {
        for (id, listener) in &self.listeners {
            let retrying = self.timers.at(&Due::Accept(*id)).is_some();
            match listener.phase {
                ListenerPhase::Open => {
                    assert_ne!(listener.accept.is_some(), retrying, "{id} accepts or is about to");
                    assert!(listener.connection.is_some(), "{id} is nobody's and open");
                }
                ListenerPhase::Opening => {
                    assert!(listener.accept.is_none() && listener.connection.is_some(), "{id} is opening");
                }
                ListenerPhase::Unwanted | ListenerPhase::Closing => assert!(!retrying, "{id} is closing"),
            }
        }
    }

    fn check_timers(&self) {
        for (due, _) in self.timers.iter() {
            let living = match due {
                Due::Link(link) => {
                    self.links.get(link).is_some_and(|entry| entry.link.phase() != Phase::Closed)
                }
                Due::Accept(listener) => self.listeners.contains_key(listener),
                Due::Lookup(query) => self.queries.get(query).is_some_and(Option::is_some),
            };
            assert!(living, "{due:?} is set for nothing");
        }
        for (id, entry) in &self.links {
            if let Some(at) = entry.link.deadline(&self.config.limits) {
                let set = self.timers.at(&Due::Link(*id));
                assert!(set.is_some_and(|set| set <= at), "{id} waits for {at:?}, its timer is {set:?}");
            }
        }
    }
}
