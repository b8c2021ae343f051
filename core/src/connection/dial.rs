//! From `connect` to Welcome: names, addresses one after the other, and who may answer.

use super::manager::ConnectionManager;
use super::tables::{Dial, Dialing, Due, Entry, Owner, State};
use super::types::{ConnectionEvent, Delivery, DisconnectReason, PeerInfo};
use crate::handshake::{Hello, MAGIC, Resume, VERSION, Welcome};
use crate::link::Link;
use crate::machine::Actions;
use crate::net::{Endpoint, NetAction, NetError};
use crate::{Address, ConnectionId, InstanceId, Instant, LinkId, QueryId};
use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::net::SocketAddr;
use rand::Rng;

/// Addresses of one name that are tried, at most.
const MAX_ADDRESSES: usize = 16;

impl ConnectionManager {
    /// The connection is idle, or a session without a link or a dial, and has a kind that dials.
    pub(super) fn start_connect<N>(
        &mut self,
        now: Instant,
        id: ConnectionId,
        target: Address,
        expect: Option<InstanceId>,
        actions: &mut Actions<N>,
    ) {
        let Some(connection) = self.connections.get_mut(&id) else { return };
        match target {
            Address::Socket(address) => {
                let rest = VecDeque::from([address.into()]);
                self.dial_next(
                    now,
                    id,
                    Dial { expect, rest, answered: None },
                    NetError::Unreachable,
                    actions,
                );
            }
            Address::Unix(ref path) => {
                // Whoever has nothing but a name has dialled us, and is gone.
                let rest = (!target.is_passing()).then(|| Endpoint::Unix(path.clone())).into_iter().collect();
                self.dial_next(
                    now,
                    id,
                    Dial { expect, rest, answered: None },
                    NetError::AddressNotAvailable,
                    actions,
                );
            }
            Address::Name(host, port) => {
                let query = QueryId::next(&mut self.last.query);
                connection.dial = Some(Dialing::Resolving { query, expect });
                self.queries.insert(query, Some(id));
                self.timers.set(Due::Lookup(query), now + self.config.limits.connect);
                actions.net(NetAction::Resolve { query, host, port });
            }
        }
    }

    /// A look-up has ended.
    pub(super) fn resolved<N>(
        &mut self,
        now: Instant,
        query: QueryId,
        result: Result<Vec<SocketAddr>, NetError>,
        actions: &mut Actions<N>,
    ) {
        let Some(waiting) = self.queries.remove(&query) else {
            self.ignored += 1;
            return;
        };
        self.timers.clear(&Due::Lookup(query));
        let Some((id, expect)) = waiting.and_then(|id| Some((id, self.resolving(id)?))) else { return };
        match result {
            Ok(addresses) => {
                let rest = addresses.into_iter().take(MAX_ADDRESSES).map(Endpoint::Ip).collect();
                self.dial_next(
                    now,
                    id,
                    Dial { expect, rest, answered: None },
                    NetError::NameNotFound,
                    actions,
                );
            }
            Err(error) => self.dial_over(now, id, DisconnectReason::Net(error), actions),
        }
    }

    /// The name service does not answer in time; its late answer will mean nothing.
    pub(super) fn lookup_due<N>(&mut self, now: Instant, query: QueryId, actions: &mut Actions<N>) {
        if let Some(id) = self.queries.get_mut(&query).and_then(Option::take) {
            self.dial_over(now, id, DisconnectReason::Net(NetError::TimedOut), actions);
        }
    }

    fn resolving(&self, id: ConnectionId) -> Option<Option<InstanceId>> {
        match self.connections.get(&id)?.dial {
            Some(Dialing::Resolving { expect, .. }) => Some(expect),
            Some(Dialing::Dialling { .. }) | None => None,
        }
    }

    /// No address is left: a connecting connection is idle again, a session tries again later.
    fn dial_over<N>(
        &mut self,
        now: Instant,
        id: ConnectionId,
        reason: DisconnectReason,
        actions: &mut Actions<N>,
    ) {
        let Some(connection) = self.connections.get_mut(&id) else { return };
        connection.dial = None;
        match connection.state {
            State::Session(_) => self.redial_failed(now, id, reason, actions),
            State::Idle
            | State::Connecting
            | State::Connected { .. }
            | State::Listening { .. }
            | State::Closing { .. }
            | State::Unlistening { .. } => self.finish(id, reason),
        }
    }

    /// Dials the next address; with none left the connect has failed, with `error` unless an address answered.
    fn dial_next<N>(
        &mut self,
        now: Instant,
        id: ConnectionId,
        mut dial: Dial,
        error: NetError,
        actions: &mut Actions<N>,
    ) {
        let Some(address) = dial.rest.pop_front() else {
            self.dial_over(now, id, dial.answered.unwrap_or(DisconnectReason::Net(error)), actions);
            return;
        };
        let Some(kind) = self.kind(id) else { return };
        let mut nonce = [0; 32];
        self.rng.fill_bytes(&mut nonce);
        self.last.epoch += 1;
        let hello = Hello {
            magic: MAGIC,
            version: VERSION,
            instance: self.config.instance,
            expected: dial.expect.unwrap_or(InstanceId::NONE),
            kind: kind.0,
            epoch: self.last.epoch,
            connection: id,
            address: self.advertised.clone(),
            name: self.config.name.clone(),
            max_data: self.config.limits.max_data,
            nonce,
        };
        let link = LinkId::next(&mut self.last.link);
        if let Some(connection) = self.connections.get_mut(&id) {
            connection.dial = Some(Dialing::Dialling { link, dial });
        }
        // A placeholder is not needed: `dial` only asks for the action and remembers.
        let (me, key, limits) = (self.config.instance, &self.config.key, &self.config.limits);
        let mut io = crate::link::Io { now, me, key, limits, actions };
        let (link_of, owner) = (Link::dial(link, address, hello, &mut io), Owner::Connection(id));
        let entry = Entry { link: link_of, owner, set: None };
        self.links.insert(link, entry);
        self.pump(now, link, actions);
    }

    /// An address failed before the connection was up: the next one, unless the right peer has said no.
    pub(super) fn dial_failed<N>(
        &mut self,
        now: Instant,
        id: ConnectionId,
        reason: DisconnectReason,
        actions: &mut Actions<N>,
    ) {
        let Some(connection) = self.connections.get_mut(&id) else { return };
        let Some(Dialing::Dialling { mut dial, .. }) = connection.dial.take() else { return };
        match reason {
            DisconnectReason::Net(error) => self.dial_next(now, id, dial, error, actions),
            // Somebody else may live at one of a name's addresses (localhost on IPv4 and IPv6).
            DisconnectReason::Silent
            | DisconnectReason::NotOurProtocol { .. }
            | DisconnectReason::OtherInstance(_)
            | DisconnectReason::Myself
            | DisconnectReason::ClosedByPeer => {
                dial.answered.get_or_insert(reason);
                self.dial_next(now, id, dial, NetError::Unreachable, actions);
            }
            DisconnectReason::Closed
            | DisconnectReason::Malformed(_)
            | DisconnectReason::Version(_)
            | DisconnectReason::WrongKey
            | DisconnectReason::KindRefused
            | DisconnectReason::Replaced
            | DisconnectReason::Duplicate
            | DisconnectReason::SlowPeer
            | DisconnectReason::Full
            | DisconnectReason::Retired
            | DisconnectReason::Stale
            | DisconnectReason::Expired
            | DisconnectReason::ConnectedAs(_)
            | DisconnectReason::RefusedByPeer(_) => self.dial_over(now, id, reason, actions),
        }
    }

    /// An authentic Welcome: is it who should answer? Then the connection is up (PROTOCOL B 3).
    pub(super) fn judge_welcome<N>(
        &mut self,
        now: Instant,
        id: ConnectionId,
        link: LinkId,
        welcome: Welcome,
        actions: &mut Actions<N>,
    ) {
        let delivery = match self.may_answer(id, &welcome) {
            Ok(delivery) => delivery,
            Err(reason) => return self.reject_answer(now, id, link, reason, actions),
        };
        let Some(entry) = self.links.get(&link) else { return };
        let (socket, local) = (entry.link.peer().clone(), entry.link.local().clone());
        let peer = PeerInfo {
            instance: welcome.instance,
            address: welcome.address.and_then(|address| address.completed(socket.host())),
            name: welcome.name,
            socket,
            local,
            connection: welcome.connection,
        };
        match delivery {
            Delivery::Plain => self.up(now, id, link, peer, welcome.max_data, actions),
            Delivery::Session => {
                self.session_answer(now, id, link, peer, welcome.max_data, &welcome.resume, actions);
            }
        }
    }

    /// The one who answers is not who should, or what it says does not fit.
    pub(super) fn reject_answer<N>(
        &mut self,
        now: Instant,
        id: ConnectionId,
        link: LinkId,
        reason: DisconnectReason,
        actions: &mut Actions<N>,
    ) {
        self.disown(link);
        self.act(now, link, actions, |link, io| link.refuse(&reason, io));
        self.dial_failed(now, id, reason, actions);
    }

    /// A plain connection is up.
    fn up<N>(
        &mut self,
        now: Instant,
        id: ConnectionId,
        link: LinkId,
        peer: PeerInfo,
        max_data: u32,
        actions: &mut Actions<N>,
    ) {
        let Some(connection) = self.connections.get_mut(&id) else { return };
        let (kind, first) = (connection.kind, connection.first.clone());
        connection.dial = None;
        connection.state = State::Connected { link, peer: peer.clone(), max_data };
        self.act(now, link, actions, |link, io| link.confirm(Resume::default(), io));
        self.events.push_back(ConnectionEvent::Connected { id, kind, peer: Box::new(peer) });
        if let Some(first) = first {
            let reason = DisconnectReason::Malformed("the first data is larger than the peer takes");
            let fits = first.data_len() <= max_data as usize;
            self.act(
                now,
                link,
                actions,
                |link, io| {
                    if fits { _ = link.send(*first, io) } else { link.cut(reason, io) }
                },
            );
        }
    }

    fn may_answer(&self, id: ConnectionId, welcome: &Welcome) -> Result<Delivery, DisconnectReason> {
        let Some(connection) = self.connections.get(&id) else { return Err(DisconnectReason::Closed) };
        let Some(Dialing::Dialling { dial, .. }) = &connection.dial else {
            return Err(DisconnectReason::Closed);
        };
        let Some(kind) = self.kinds.get(&connection.kind) else { return Err(DisconnectReason::Closed) };
        if dial.expect.is_some_and(|expected| expected != InstanceId::NONE && expected != welcome.instance) {
            return Err(DisconnectReason::OtherInstance(welcome.instance));
        }
        if welcome.instance == self.config.instance && !kind.allow_self {
            return Err(DisconnectReason::Myself);
        }
        Ok(kind.delivery)
    }
}
