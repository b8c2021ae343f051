//! Where connections, sessions, links and listeners stand, for whoever looks on.

use super::manager::ConnectionManager;
use super::session::Session;
use super::tables::{Connection, Dialing, Entry, Listener, ListenerPhase, Owner, State};
use crate::LinkId;
use crate::link::Phase;
use crate::states::{Key, LineState, LinkState, ListenerState, Row, SessionState};
use alloc::vec::Vec;

impl ConnectionManager {
    /// Where everything of it stands, for whoever looks on.
    pub fn rows(&self, rows: &mut Vec<Row>) {
        for (id, connection) in self.connections.iter() {
            rows.push(Row::new(Key::Connection(id), connection.line()).on(id));
            if let Some(session) = connection.session() {
                let dials = connection.dial.is_some();
                rows.push(Row::new(Key::Connection(id), session.standing(dials)).on(id));
            }
        }
        rows.reserve(self.links.len() + self.listeners.len());
        rows.extend(self.links.iter().map(|(id, entry)| {
            let on = match entry.owner {
                Owner::Connection(id) => Some(id),
                Owner::Newcomer(_) | Owner::Prober(_) | Owner::Nobody => None,
            };
            Row::new(Key::Link(id), entry.standing()).on(on)
        }));
        let listeners = self.listeners.iter();
        rows.extend(listeners.map(|(id, listener)| Row::new(Key::Listener(*id), listener.standing())));
    }

    /// Where one link stands, while it exists.
    pub fn link_state(&self, id: LinkId) -> Option<LinkState> {
        self.links.get(&id).map(|entry| entry.standing())
    }
}

impl Connection {
    fn line(&self) -> LineState {
        match (&self.state, &self.dial) {
            (State::Idle, _) => LineState::Idle,
            (State::Connecting, Some(Dialing::Resolving { .. })) => LineState::Resolving,
            (State::Connecting, Some(Dialing::Dialling { .. }) | None) => LineState::Dialling,
            (State::Connected { .. }, _) => LineState::Connected,
            (State::Session(_), _) => LineState::Session,
            (State::Listening { .. }, _) => LineState::Listening,
            (State::Closing { .. }, _) => LineState::Closing,
            (State::Unlistening { .. }, _) => LineState::Unlistening,
        }
    }
}

impl Session {
    fn standing(&self, dials: bool) -> SessionState {
        match self.strands.len() {
            _ if self.closing => SessionState::Closing,
            0 if dials => SessionState::Redialling,
            0 => SessionState::Cut,
            1 => SessionState::Linked,
            _ => SessionState::Several,
        }
    }
}

impl Entry {
    fn standing(&self) -> LinkState {
        match self.link.phase() {
            Phase::Dialling => LinkState::Dialling,
            Phase::HelloSent => LinkState::HelloSent,
            Phase::AwaitHello => LinkState::AwaitHello,
            Phase::WelcomeSent => LinkState::WelcomeSent,
            Phase::Established => LinkState::Established,
            Phase::Flushing => LinkState::Flushing,
            Phase::Ending => LinkState::Ending,
            Phase::Draining => LinkState::Draining,
            // One that is gone is not kept.
            Phase::Closed | Phase::Gone => LinkState::Closed,
        }
    }
}

impl Listener {
    fn standing(&self) -> ListenerState {
        match self.phase {
            ListenerPhase::Opening => ListenerState::Opening,
            ListenerPhase::Unwanted => ListenerState::Unwanted,
            ListenerPhase::Open if self.failing => ListenerState::Failing,
            ListenerPhase::Open => ListenerState::Open,
            ListenerPhase::Closing => ListenerState::Closing,
        }
    }
}
