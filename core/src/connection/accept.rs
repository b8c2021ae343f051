//! Listeners, and newcomers from their first byte to Confirm.

use super::diallers::DiallerKey;
use super::manager::ConnectionManager;
use super::pairs::PairKey;
use super::tables::{Connection, Due, Entry, Listener, ListenerPhase, Origin, Owner, State};
use super::types::{
    ConnectionEvent, ConnectionKind, Delivery, DisconnectReason, KindId, LinkRule, PeerInfo, Role,
};
use crate::handshake::{Hello, Resume, VERSION, Welcome};
use crate::link::Link;
use crate::machine::Actions;
use crate::net::{Endpoint, NetAction, NetError};
use crate::{ConnectionId, InstanceId, Instant, LinkId, ListenerId};
use alloc::boxed::Box;
use alloc::format;
use alloc::vec::Vec;
use rand::Rng;

/// What every listener takes, registered or not.
const PROBE: ConnectionKind = ConnectionKind::plain(KindId::PROBE, LinkRule::Many, Role::Accept);

impl ConnectionManager {
    /// The listener of ours that stands in the way of this address: the same, or one of them is the wildcard of its family
    /// on one port. Port 0 is never in the way, and a path only in its own.
    pub(super) fn collides(&self, address: &Endpoint) -> Option<&Endpoint> {
        let in_the_way = |held: &&Endpoint| {
            let (Endpoint::Ip(_), Endpoint::Ip(_)) = (held, address) else { return *held == address };
            let (ip, wanted) = (held.host(), address.host());
            let wildcard =
                ip.is_ipv4() == wanted.is_ipv4() && (ip.is_unspecified() || wanted.is_unspecified());
            held.port() == address.port() && address.port() != 0 && (ip == wanted || wildcard)
        };
        // One that is being closed is out of the way: the system does what it is asked in order.
        let held = self.listeners.values().filter(|listener| listener.phase != ListenerPhase::Closing);
        held.map(|listener| &listener.address).find(in_the_way)
    }

    pub(super) fn open_listener<N>(&mut self, id: ConnectionId, address: Endpoint, actions: &mut Actions<N>) {
        let listener = ListenerId::next(&mut self.last.listener);
        let phase = ListenerPhase::Opening;
        self.listeners.insert(
            listener,
            Listener { connection: Some(id), address: address.clone(), phase, accept: None, failing: false },
        );
        if let Some(connection) = self.connections.get_mut(&id) {
            connection.state = State::Listening { listener };
        }
        actions.net(NetAction::Listen { listener, address });
    }

    /// Stops listening. Who is shaking hands or probes there is dropped; connections that were accepted live on (ledger K8).
    pub(super) fn close_listener<N>(&mut self, now: Instant, id: ListenerId, actions: &mut Actions<N>) {
        let Some(listener) = self.listeners.get_mut(&id) else { return };
        listener.shut(id, actions);
        self.timers.clear(&Due::Accept(id));
        let Some(connection) = listener.connection else { return };
        let through = |link: &LinkId| {
            self.links.get(link).is_some_and(|entry| entry.owner == Owner::Newcomer(connection))
        };
        for link in self.newcomers.iter().copied().filter(through).collect::<Vec<_>>() {
            self.disown(link);
            self.touch(now, link, actions, Link::abandon);
        }
        let through = |link: &LinkId| {
            self.links.get(link).is_some_and(|entry| entry.owner == Owner::Prober(connection))
        };
        for link in self.probers.iter().copied().filter(through).collect::<Vec<_>>() {
            self.disown(link);
            self.touch(now, link, actions, |link, io| link.close(None, io));
            self.limit_orphans(now, link, actions);
            self.settle(link);
        }
    }

    pub(super) fn listening<N>(&mut self, id: ListenerId, address: Endpoint, actions: &mut Actions<N>) {
        let Some(listener) = self.listeners.get_mut(&id) else {
            self.ignored += 1;
            return;
        };
        match (listener.phase, listener.connection) {
            (ListenerPhase::Opening, Some(connection)) => {
                listener.phase = ListenerPhase::Open;
                listener.address = address.clone();
                self.events.push_back(ConnectionEvent::Listening { id: connection, address });
                self.arm_accept(id, actions);
            }
            (ListenerPhase::Opening, None) | (ListenerPhase::Unwanted, _) => {
                listener.phase = ListenerPhase::Open;
                listener.shut(id, actions);
            }
            (ListenerPhase::Open | ListenerPhase::Closing, _) => self.ignored += 1,
        }
    }

    pub(super) fn listen_failed(&mut self, id: ListenerId, error: NetError) {
        let opening = |l: &&Listener| matches!(l.phase, ListenerPhase::Opening | ListenerPhase::Unwanted);
        let Some(listener) = self.listeners.get(&id).filter(opening) else {
            self.ignored += 1;
            return;
        };
        let (address, connection) = (listener.address.clone(), listener.connection);
        self.listeners.remove(&id);
        let Some(id) = connection else { return };
        match self.connections.get_mut(&id).map(|connection| &mut connection.state) {
            Some(state @ State::Listening { .. }) => {
                *state = State::Idle;
                self.events.push_back(ConnectionEvent::ListenFailed { id, address, error });
            }
            Some(State::Unlistening { .. }) => self.finish(id, DisconnectReason::Closed),
            _ => {}
        }
    }

    pub(super) fn unlistened(&mut self, id: ListenerId) {
        let closing = |l: &&Listener| l.phase == ListenerPhase::Closing;
        let Some(listener) = self.listeners.get(&id).filter(closing) else {
            self.ignored += 1;
            return;
        };
        let connection = listener.connection;
        self.listeners.remove(&id);
        if let Some(id) = connection {
            self.finish(id, DisconnectReason::Closed);
        }
    }

    pub(super) fn accepted<N>(
        &mut self,
        now: Instant,
        id: ListenerId,
        link: LinkId,
        (peer, local): (Endpoint, Endpoint),
        actions: &mut Actions<N>,
    ) {
        // Who dials a Unix socket has no address; it gets a name that is its own for as long as it is connected.
        let peer = match peer {
            Endpoint::Unix(_) => Endpoint::Unix(format!("#{}", link.0)),
            Endpoint::Ip(_) => peer,
        };
        let armed = |l: &&mut Listener| l.accept == Some(link);
        let Some(listener) = self.listeners.get_mut(&id).filter(armed) else {
            self.ignored += 1;
            return;
        };
        listener.accept = None;
        listener.failing = false;
        let open = listener.phase == ListenerPhase::Open;
        let full = self.newcomers.len() >= self.config.limits.max_handshakes;
        let connection = listener.connection.filter(|_| open && !full);
        let owner = connection.map_or(Owner::Nobody, Owner::Newcomer);
        let entry = Entry { link: Link::accepted(link, peer.clone(), local, now), owner, set: None };
        self.links.insert(link, entry);
        if connection.is_some() {
            self.newcomers.insert(link);
            self.pump(now, link, actions);
        } else {
            self.orphans.insert(link);
            self.touch(now, link, actions, Link::abandon);
            if open {
                self.turned_away(peer, DisconnectReason::Full);
            }
        }
        if open {
            self.arm_accept(id, actions);
        }
    }

    /// Announced once until accepting works again, and tried again after a pause (ledger K12).
    pub(super) fn accept_failed(&mut self, now: Instant, id: ListenerId, link: LinkId, error: NetError) {
        let armed = |l: &&mut Listener| l.accept == Some(link);
        let Some(listener) = self.listeners.get_mut(&id).filter(armed) else {
            self.ignored += 1;
            return;
        };
        listener.accept = None;
        if listener.phase == ListenerPhase::Open {
            self.timers.set(Due::Accept(id), now + self.config.limits.backoff.0);
            if let (false, Some(listener)) =
                (core::mem::replace(&mut listener.failing, true), listener.connection)
            {
                self.events.push_back(ConnectionEvent::AcceptFailing { listener, error });
            }
        }
    }

    pub(super) fn arm_accept<N>(&mut self, id: ListenerId, actions: &mut Actions<N>) {
        if let Some(listener) = self.listeners.get_mut(&id) {
            let link = LinkId::next(&mut self.last.link);
            listener.accept = Some(link);
            actions.net(NetAction::Accept { listener: id, link });
        }
    }

    /// A stranger's Hello: refused, or welcomed. Nothing of ours switches (PROTOCOL B 2).
    pub(super) fn judge_hello<N>(
        &mut self,
        now: Instant,
        link: LinkId,
        hello: Hello,
        actions: &mut Actions<N>,
    ) {
        let resume = match self.may_enter(&hello) {
            Ok(kind) if kind.delivery == Delivery::Session => self.standing(kind.rule, &hello),
            Ok(_) => Resume::default(),
            Err(reason) => return self.turn_away(now, link, reason, actions),
        };
        let mut nonce = [0; 32];
        self.rng.fill_bytes(&mut nonce);
        let welcome = Welcome {
            version: VERSION,
            instance: self.config.instance,
            connection: ConnectionId::next(&mut self.last.connection),
            address: self.advertised.clone(),
            name: self.config.name.clone(),
            max_data: self.config.limits.max_data,
            nonce,
            resume,
            proof: [0; 32],
        };
        self.act(now, link, actions, |link, io| link.welcome(hello, &welcome, io));
    }

    /// An authentic Confirm: judged again, then it is a connection, or a link of one (PROTOCOL B 4).
    pub(super) fn judge_confirm<N>(
        &mut self,
        now: Instant,
        link: LinkId,
        listener: ConnectionId,
        resume: &Resume,
        actions: &mut Actions<N>,
    ) {
        let Some(entry) = self.links.get_mut(&link) else { return };
        let (socket, local) = (entry.link.peer().clone(), entry.link.local().clone());
        let Some(pending) = entry.link.pending() else { return };
        let (hello, id, told) = (pending.hello.clone(), pending.connection, pending.generation);
        let (rule, delivery) = match self.may_enter(&hello) {
            Ok(kind) => (kind.rule, kind.delivery),
            Err(reason) => return self.turn_away(now, link, reason, actions),
        };
        let key = DiallerKey::of(&hello, rule);
        let kind = KindId(hello.kind);
        if kind == KindId::PROBE {
            self.enter(now, link, Owner::Prober(listener), actions);
            self.probers.insert(link);
            return;
        }
        let peer = PeerInfo {
            instance: hello.instance,
            address: hello.address.as_ref().and_then(|address| address.completed(socket.host())),
            name: hello.name.clone(),
            socket,
            local,
            connection: hello.connection,
        };
        if delivery == Delivery::Session {
            return self.session_confirmed(now, link, listener, (id, told), &hello, peer, resume, actions);
        }
        self.enter(now, link, Owner::Connection(id), actions);
        if let Some(old) = self.diallers.confirm(key, hello.epoch, id) {
            self.replace(now, old, actions);
        }
        let state = State::Connected { link, peer: peer.clone(), max_data: hello.max_data };
        let connection = Connection::new(kind, Origin::Accepted(key), state);
        self.connections.insert(id, connection);
        self.events.push_back(ConnectionEvent::Accepted { id, kind, listener, peer: Box::new(peer) });
    }

    /// A newcomer's link has this owner from now on, and is established.
    pub(super) fn enter<N>(&mut self, now: Instant, link: LinkId, owner: Owner, actions: &mut Actions<N>) {
        let Some(entry) = self.links.get_mut(&link) else { return };
        entry.owner = owner;
        self.newcomers.remove(&link);
        self.act(now, link, actions, Link::establish);
    }

    fn may_enter(&self, hello: &Hello) -> Result<&ConnectionKind, DisconnectReason> {
        let taken = |kind: &&ConnectionKind| matches!(kind.role, Role::Accept | Role::Both);
        let kind = match KindId(hello.kind) {
            KindId::PROBE if self.probers.len() >= self.config.limits.max_handshakes => {
                return Err(DisconnectReason::Full);
            }
            KindId::PROBE => &PROBE,
            kind => self.kinds.get(&kind).filter(taken).ok_or(DisconnectReason::KindRefused)?,
        };
        if hello.expected != InstanceId::NONE && hello.expected != self.config.instance {
            return Err(DisconnectReason::OtherInstance(hello.expected));
        }
        if hello.instance == self.config.instance && !kind.allow_self {
            return Err(DisconnectReason::Myself);
        }
        if self.diallers.is_old(&DiallerKey::of(hello, kind.rule), hello.epoch) {
            return Err(DisconnectReason::Duplicate);
        }
        if kind.delivery == Delivery::Session && !self.admits {
            let key = PairKey::of_newcomer(hello, kind.rule);
            self.pairs.at(&key).session.ok_or(DisconnectReason::Full)?;
        }
        Ok(kind)
    }

    /// The dialler has given its old connection up; tells it so, if it can still hear.
    fn replace<N>(&mut self, now: Instant, old: ConnectionId, actions: &mut Actions<N>) {
        let Some(connection) = self.connections.get(&old) else { return };
        let closing = matches!(connection.state, State::Closing { .. });
        for link in connection.links().collect::<Vec<_>>() {
            self.dismiss(now, link, &DisconnectReason::Replaced, actions);
        }
        self.finish(old, if closing { DisconnectReason::Closed } else { DisconnectReason::Replaced });
    }

    /// A link is not wanted any more, and its peer is told why if it can still hear.
    pub(super) fn dismiss<N>(
        &mut self,
        now: Instant,
        link: LinkId,
        reason: &DisconnectReason,
        actions: &mut Actions<N>,
    ) {
        self.disown(link);
        self.touch(now, link, actions, |link, io| link.refuse(reason, io));
        self.limit_orphans(now, link, actions);
        self.settle(link);
    }

    /// Refuses a newcomer, from within [`pump`](Self::pump).
    pub(super) fn turn_away<N>(
        &mut self,
        now: Instant,
        link: LinkId,
        reason: DisconnectReason,
        actions: &mut Actions<N>,
    ) {
        if let Some(entry) = self.links.get(&link) {
            self.turned_away(entry.link.peer().clone(), reason.clone());
        }
        self.disown(link);
        self.act(now, link, actions, |link, io| link.refuse(&reason, io));
        self.limit_orphans(now, link, actions);
    }

    /// Links that say their last words are no more than may shake hands; one more is cut.
    pub(super) fn limit_orphans<N>(&mut self, now: Instant, link: LinkId, actions: &mut Actions<N>) {
        if self.orphans.len() > self.config.limits.max_handshakes {
            self.act(now, link, actions, Link::abandon);
        }
    }

    pub(super) fn turned_away(&mut self, from: Endpoint, reason: DisconnectReason) {
        self.events.push_back(ConnectionEvent::TurnedAway { from, reason });
    }
}
