//! What must hold between the manager's tables after every step.

use super::diallers::Diallers;
use super::manager::ConnectionManager;
use super::pairs::Pairs;
use super::session::{Session, max_cost};
use super::tables::{Connection, Dialing, Due, Entry, ListenerPhase, Origin, Owner, State};
use crate::link::Phase;
use crate::{ConnectionId, Instant, Limits, LinkId};
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

    /// The same of one link alone and the connection that it belongs to: what an event that changes nothing else can break.
    pub fn check_link(&self, id: LinkId) {
        let Some(entry) = self.links.get(&id) else { return };
        Self::check_deadline(id, entry, &self.config.limits);
        if let Some((owner, connection)) = self.check_entry(id, entry) {
            self.check_connection(owner, connection, Some((id, entry)));
        }
    }

    fn check_links(&self) {
        let limits = &self.config.limits;
        for (id, entry) in self.links.iter() {
            self.check_entry(id, entry);
            Self::check_deadline(id, entry, limits);
            assert_eq!(entry.set, self.timers.at(&Due::Link(id)), "{id}'s timer");
        }
        let gone = |id| !self.links.contains_key(id);
        assert!(
            ![&self.newcomers, &self.probers, &self.orphans].into_iter().flatten().any(gone),
            "a link that is not there"
        );
        assert!(self.probers.len() <= limits.max_handshakes, "too many probers");
        assert!(self.newcomers.len() <= limits.max_handshakes, "too many handshakes");
    }

    /// Answers whose it is.
    fn check_entry(&self, id: LinkId, entry: &Entry) -> Option<(ConnectionId, &Connection)> {
        let id = &id;
        entry.link.check_invariants(&self.config.limits);
        let phase = entry.link.phase();
        assert_ne!(phase, Phase::Gone, "{id} is gone and kept");
        assert_eq!(self.orphans.contains(id), entry.owner == Owner::Nobody, "{id} as an orphan");
        let newcomer = matches!(entry.owner, Owner::Newcomer(_));
        assert_eq!(self.newcomers.contains(id), newcomer, "{id} as a newcomer");
        let prober = matches!(entry.owner, Owner::Prober(_));
        assert_eq!(self.probers.contains(id), prober, "{id} as a prober");
        match entry.owner {
            Owner::Connection(owner) => {
                let connection = self.connections.get(&owner);
                let has = |connection: &&Connection| connection.links().any(|link| link == *id);
                let connection = connection.filter(has);
                assert!(connection.is_some(), "{id} says {owner} owns it");
                return connection.map(|connection| (owner, connection));
            }
            Owner::Newcomer(_) => {
                assert!(matches!(phase, Phase::AwaitHello | Phase::WelcomeSent), "{id} is {phase:?}");
            }
            Owner::Prober(_) => assert_eq!(phase, Phase::Established, "{id} probes"),
            Owner::Nobody => assert!(
                matches!(phase, Phase::Flushing | Phase::Ending | Phase::Draining | Phase::Closed),
                "{id} is {phase:?} and nobody's"
            ),
        }
        None
    }

    /// A link that is known need not be looked up again.
    fn check_connection(&self, id: ConnectionId, connection: &Connection, known: Option<(LinkId, &Entry)>) {
        let id = &id;
        let entry = |link: &LinkId| match known {
            Some((own, entry)) if own == *link => Some(entry),
            _ => self.links.get(link),
        };
        for link in connection.links() {
            let owner = entry(&link).map(|entry| entry.owner);
            assert_eq!(owner, Some(Owner::Connection(*id)), "{id} says it owns {link}");
        }
        let phase = |link: &LinkId| entry(link).map(|entry| entry.link.phase());
        self.check_dial(*id, connection);
        match &connection.state {
            State::Idle => {
                assert_eq!(connection.origin, Origin::Created, "{id} was accepted and is idle");
            }
            State::Connecting => assert!(connection.dial.is_some(), "{id} connects and does not dial"),
            State::Connected { link, .. } => {
                assert_eq!(phase(link), Some(Phase::Established), "{id} is connected");
            }
            State::Session(session) => self.check_session(*id, session, phase),
            State::Closing { link } => assert!(
                matches!(phase(link), Some(Phase::Flushing | Phase::Ending | Phase::Draining)),
                "{id} closes: {:?}",
                phase(link)
            ),
            State::Listening { listener } | State::Unlistening { listener } => {
                let held = self.listeners.get(listener).and_then(|listener| listener.connection);
                assert_eq!(held, Some(*id), "{id} says it has {listener}");
            }
        }
    }

    fn check_connections(&self) {
        self.connections.iter().for_each(|(id, connection)| self.check_connection(id, connection, None));
        for (query, waiting) in &self.queries {
            let waits = |id| {
                let dial = self.connections.get(id).and_then(|connection| connection.dial.as_ref());
                matches!(dial, Some(Dialing::Resolving { query: own, .. }) if own == query)
            };
            assert!(waiting.as_ref().is_none_or(waits), "nobody waits for {query}");
        }
        let sessions = self.connections.iter().filter_map(|(id, c)| Some((c.session()?.key, id)));
        let mut sessions: Vec<_> = sessions.collect();
        sessions.sort_unstable();
        assert!(sessions.into_iter().eq(self.pairs.sessions()), "one session a pair");
        let known = self.pairs.len();
        assert!(known <= Pairs::bound(self.connections.len()), "{known} pairs are remembered");
        let accepted = self.connections.iter().filter_map(|(id, connection)| match connection.origin {
            Origin::Accepted(key) => Some((key, id)),
            Origin::Created | Origin::AcceptedSession => None,
        });
        let mut accepted: Vec<_> = accepted.collect();
        accepted.sort_unstable();
        assert!(accepted.into_iter().eq(self.diallers.current()), "one connection a dialler");
    }

    fn check_dial(&self, id: ConnectionId, connection: &Connection) {
        match &connection.dial {
            None => {}
            Some(Dialing::Resolving { query, .. }) => {
                assert_eq!(self.queries.get(query), Some(&Some(id)), "{id} waits for {query}");
            }
            Some(Dialing::Dialling { link, .. }) => {
                let phase = self.links.get(link).map(|entry| entry.link.phase());
                assert!(matches!(phase, Some(Phase::Dialling | Phase::HelloSent)), "{id} dials: {phase:?}");
            }
        }
        let may = matches!(connection.state, State::Connecting | State::Session(_));
        assert!(may || connection.dial.is_none(), "{id} dials for nothing");
    }

    /// Nothing is ever silently stuck: a session has a link, or a deadline.
    fn check_session(&self, id: ConnectionId, session: &Session, phase: impl Fn(&LinkId) -> Option<Phase>) {
        session.check_invariants(max_cost(self.config.limits.max_data));
        for strand in &session.strands {
            assert_eq!(phase(&strand.link), Some(Phase::Established), "{} of {id}", strand.link);
        }
        let ends = || self.timers.at(&Due::End(id)).is_some();
        assert!(!session.strands.is_empty() || ends(), "{id} has no link and no end");
        assert_eq!(session.strands.is_empty(), session.interrupted, "{id} was told of its links");
        let owes = !session.incoming.owes() || session.waits_to_acknowledge.is_some();
        assert!(
            session.waits_to_acknowledge.is_none_or(|at| self.will_acknowledge(at, id)),
            "{id} waits to acknowledge, and is forgotten"
        );
        assert!(owes || session.strands.is_empty(), "{id} owes an acknowledgement");
    }

    /// Whether a session is among the acknowledgements that wait, which are in order of time.
    fn will_acknowledge(&self, at: Instant, id: ConnectionId) -> bool {
        let first = self.acknowledgements.partition_point(|(due, _)| *due < at);
        self.acknowledgements.range(first..).take_while(|(due, _)| *due == at).any(|(_, own)| *own == id)
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
                Due::Redial(id) | Due::End(id) => self.session(*id).is_some(),
                Due::Lookup(query) => self.queries.get(query).is_some_and(Option::is_some),
            };
            assert!(living, "{due:?} is set for nothing");
        }
    }

    fn check_deadline(id: LinkId, entry: &Entry, limits: &Limits) {
        if let Some(at) = entry.link.deadline(limits) {
            let set = entry.set;
            assert!(set.is_some_and(|set| set <= at), "{id} waits for {at:?}, its timer is {set:?}");
        }
    }
}
