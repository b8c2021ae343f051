//! From the network's events to connections: the only place that knows whose a link is.

use super::manager::ConnectionManager;
use super::tables::{Dialing, Due, Origin, Owner, State};
use super::types::{ConnectionEvent, DisconnectReason};
use crate::link::{Heard, Io, Link, LinkEvent, Phase};
use crate::machine::Actions;
use crate::net::NetEvent;
use crate::pack::{DataPack, PackType};
use crate::{ConnectionId, Instant, LinkId};
use alloc::vec::Vec;

impl ConnectionManager {
    /// Takes a completion of the network. One that is late, doubled or was never asked for is counted and has no effect.
    pub fn handle_net<N>(&mut self, now: Instant, event: NetEvent, actions: &mut Actions<N>) {
        match LinkEvent::of(event) {
            Ok((link, event)) => {
                let mut known = false;
                self.act(now, link, actions, |link, io| known = link.handle(event, io));
                self.ignored += u64::from(!known);
                self.pump(now, link, actions);
            }
            Err(NetEvent::Resolved { query, result }) => self.resolved(now, query, result, actions),
            Err(NetEvent::Listening { listener, address }) => self.listening(listener, address, actions),
            Err(NetEvent::ListenFailed { listener, error }) => self.listen_failed(listener, error),
            Err(NetEvent::Accepted { listener, link, peer, local }) => {
                self.accepted(now, listener, link, (peer, local), actions);
            }
            Err(NetEvent::AcceptFailed { listener, link, error }) => {
                self.accept_failed(now, listener, link, error);
            }
            Err(NetEvent::Unlistened { listener }) => self.unlistened(listener),
            // All others are a link's.
            Err(
                NetEvent::Dialed { .. }
                | NetEvent::DialFailed { .. }
                | NetEvent::Sent { .. }
                | NetEvent::Received { .. }
                | NetEvent::PeerClosed { .. }
                | NetEvent::ShutdownDone { .. }
                | NetEvent::Broken { .. }
                | NetEvent::Closed { .. },
            ) => self.ignored += 1,
        }
    }

    /// Does what is due.
    pub fn tick<N>(&mut self, now: Instant, actions: &mut Actions<N>) {
        self.acknowledge_due(now, actions);
        // Collected first: whatever a deadline sets anew is for the next tick.
        let due: Vec<Due> = core::iter::from_fn(|| self.timers.pop_due(now)).collect();
        for due in due {
            match due {
                Due::Link(link) => {
                    if let Some(entry) = self.links.get_mut(&link) {
                        entry.set = None;
                    }
                    self.touch(now, link, actions, Link::tick);
                }
                Due::Accept(listener) => self.arm_accept(listener, actions),
                Due::Lookup(query) => self.lookup_due(now, query, actions),
                Due::Redial(id) => self.redial(now, id, actions),
                Due::End(id) => self.session_due(now, id, actions),
            }
        }
    }

    /// Takes all that a link has to tell, then looks after its deadline and its end.
    pub(super) fn pump<N>(&mut self, now: Instant, id: LinkId, actions: &mut Actions<N>) {
        while let Some(entry) = self.links.get_mut(&id) {
            let (me, key, limits) = (self.config.instance, &self.config.key, &self.config.limits);
            let heard = entry.link.next(&mut Io { now, me, key, limits, actions });
            let owner = entry.owner;
            match heard {
                Some(heard) => self.heard(now, id, owner, heard, actions),
                None => break,
            }
        }
        self.settle(id);
    }

    fn heard<N>(&mut self, now: Instant, link: LinkId, owner: Owner, heard: Heard, actions: &mut Actions<N>) {
        match (owner, heard) {
            (Owner::Newcomer(_), Heard::Hello(hello)) => self.judge_hello(now, link, *hello, actions),
            (Owner::Newcomer(listener), Heard::Confirm(resume)) => {
                self.judge_confirm(now, link, listener, &resume, actions);
            }
            (Owner::Newcomer(_), Heard::Over(reason)) => {
                if let Some(entry) = self.links.get(&link) {
                    self.turned_away(entry.link.peer().clone(), reason);
                }
                self.disown(link);
                self.limit_orphans(now, link, actions);
            }
            (Owner::Connection(id), Heard::Welcome(welcome)) => {
                self.judge_welcome(now, id, link, *welcome, actions);
            }
            (Owner::Connection(id), Heard::Pack(pack)) => self.pack(now, id, link, pack, actions),
            (Owner::Connection(id), Heard::Pong(round_trip)) => {
                self.events.push_back(ConnectionEvent::Pong { id, round_trip });
            }
            (Owner::Prober(_), Heard::Pack(_)) => {
                self.disown(link);
                let reason = DisconnectReason::Malformed("a message on a probe");
                self.act(now, link, actions, |link, io| link.refuse(&reason, io));
                self.limit_orphans(now, link, actions);
            }
            (Owner::Prober(_), Heard::Over(_)) => {
                self.disown(link);
                self.limit_orphans(now, link, actions);
            }
            (Owner::Connection(id), Heard::Writable) => match self.session(id) {
                Some(_) => self.flush(now, id, actions),
                None => self.events.push_back(ConnectionEvent::Writable { id }),
            },
            (Owner::Connection(id), Heard::Over(reason)) => self.over(now, id, link, reason, actions),
            // A link in a dialler's phases tells no Hello and no Confirm, one in an acceptor's no Welcome, a prober is sent
            // nothing, and nobody cares for what an orphan tells.
            (Owner::Newcomer(_), Heard::Welcome(_) | Heard::Pack(_) | Heard::Pong(_) | Heard::Writable)
            | (Owner::Connection(_), Heard::Hello(_) | Heard::Confirm(_))
            | (
                Owner::Prober(_),
                Heard::Hello(_) | Heard::Welcome(_) | Heard::Confirm(_) | Heard::Pong(_) | Heard::Writable,
            )
            | (Owner::Nobody, _) => {}
        }
    }

    /// A connection's pack: its application's, or its session's own.
    fn pack<N>(
        &mut self,
        now: Instant,
        id: ConnectionId,
        link: LinkId,
        pack: DataPack,
        actions: &mut Actions<N>,
    ) {
        if self.session(id).is_some() {
            self.session_pack(now, id, link, pack, actions);
        } else if pack.pack_type >= PackType::DICT {
            self.events.push_back(ConnectionEvent::Received { id, pack });
        } else {
            let reason = DisconnectReason::Malformed("a session's pack on a plain connection");
            self.blame(now, id, link, reason, actions);
        }
    }

    /// The peer's fault: told to it, and the link is over.
    pub(super) fn blame<N>(
        &mut self,
        now: Instant,
        id: ConnectionId,
        link: LinkId,
        reason: DisconnectReason,
        actions: &mut Actions<N>,
    ) {
        self.act(now, link, actions, |link, io| link.refuse(&reason, io));
        self.over(now, id, link, reason, actions);
    }

    /// A connection's link is over.
    fn over<N>(
        &mut self,
        now: Instant,
        id: ConnectionId,
        link: LinkId,
        reason: DisconnectReason,
        actions: &mut Actions<N>,
    ) {
        let goodbye = self.links.get(&link).is_some_and(|entry| entry.link.said_goodbye());
        self.disown(link);
        self.limit_orphans(now, link, actions);
        let Some(connection) = self.connections.get(&id) else { return };
        if connection.dialled() == Some(link) {
            return self.dial_failed(now, id, reason, actions);
        }
        match &connection.state {
            State::Closing { .. } => self.finish(id, DisconnectReason::Closed),
            State::Session(_) if goodbye => self.session_left(now, id, actions),
            State::Session(_) => self.strand_over(now, id, link, reason, actions),
            State::Idle
            | State::Connecting
            | State::Connected { .. }
            | State::Listening { .. }
            | State::Unlistening { .. } => self.finish(id, reason),
        }
    }

    /// The link is nobody's from now on.
    pub(super) fn disown(&mut self, link: LinkId) {
        if let Some(entry) = self.links.get_mut(&link) {
            let owner = core::mem::replace(&mut entry.owner, Owner::Nobody);
            if let Owner::Connection(id) = owner
                && let Some(session) =
                    self.connections.get_mut(&id).and_then(|connection| connection.session_mut())
            {
                session.past += entry.link.traffic();
                session.round_trip = entry.link.round_trip().or(session.round_trip);
            }
            self.newcomers.remove(&link);
            self.probers.remove(&link);
            self.orphans.insert(link);
        }
    }

    /// Takes a connection off whatever it is doing, without a word to the application.
    pub(super) fn detach<N>(&mut self, now: Instant, id: ConnectionId, actions: &mut Actions<N>) {
        self.drop_dial(now, id, actions);
        let Some(connection) = self.connections.get_mut(&id) else { return };
        match core::mem::replace(&mut connection.state, State::Idle) {
            State::Idle | State::Connecting => {}
            State::Connected { link, .. } | State::Closing { link } => {
                self.disown(link);
                self.touch(now, link, actions, |link, io| link.close(None, io));
                self.limit_orphans(now, link, actions);
                self.settle(link);
            }
            State::Session(session) => self.leave(now, id, *session, None, actions),
            State::Listening { listener } | State::Unlistening { listener } => {
                self.close_listener(now, listener, actions);
                if let Some(listener) = self.listeners.get_mut(&listener) {
                    listener.connection = None;
                }
            }
        }
    }

    /// Gives up the connect that is under way, if one is.
    pub(super) fn drop_dial<N>(&mut self, now: Instant, id: ConnectionId, actions: &mut Actions<N>) {
        match self.connections.get_mut(&id).and_then(|connection| connection.dial.take()) {
            Some(Dialing::Resolving { query, .. }) => {
                self.queries.insert(query, None);
                self.timers.clear(&Due::Lookup(query));
            }
            Some(Dialing::Dialling { link, .. }) => {
                self.disown(link);
                self.touch(now, link, actions, |link, io| link.close(None, io));
                self.limit_orphans(now, link, actions);
                self.settle(link);
            }
            None => {}
        }
    }

    /// A connection is over: idle again if we made it, gone if it was accepted. Told once.
    pub(super) fn finish(&mut self, id: ConnectionId, reason: DisconnectReason) {
        let Some(connection) = self.connections.get_mut(&id) else { return };
        let kind = connection.kind;
        connection.state = State::Idle;
        connection.dial = None;
        if connection.origin != Origin::Created {
            self.forget(id);
        }
        self.events.push_back(ConnectionEvent::Disconnected { id, kind, reason });
    }

    /// Removes a connection that has let go of everything.
    pub(super) fn forget(&mut self, id: ConnectionId) {
        if let Some(connection) = self.connections.remove(&id)
            && let Origin::Accepted(key) = connection.origin
        {
            self.diallers.retire(key, id);
        }
    }

    /// Sets a link's deadline, or forgets a link that is gone. A deadline that has moved away stays as it was set: it is
    /// then set anew when it comes, instead of at each pack.
    pub(super) fn settle(&mut self, id: LinkId) {
        let Some(entry) = self.links.get_mut(&id) else { return };
        let due = Due::Link(id);
        if entry.link.phase() == Phase::Gone {
            self.links.remove(&id);
            self.newcomers.remove(&id);
            self.probers.remove(&id);
            self.orphans.remove(&id);
            self.timers.clear(&due);
            return;
        }
        let wanted = entry.link.deadline(&self.config.limits);
        match (entry.set, wanted) {
            (Some(_), None) => self.timers.clear(&due),
            (Some(set), Some(at)) if at < set => self.timers.set(due, at),
            (None, Some(at)) => self.timers.set(due, at),
            (Some(_), Some(_)) | (None, None) => return,
        }
        entry.set = wanted;
    }
}
