//! From `connect` to Welcome: names, addresses one after the other, and who may answer.

use super::manager::ConnectionManager;
use super::tables::{Dial, Due, Entry, Owner, State};
use super::types::{ConnectionEvent, DisconnectReason, PeerInfo};
use crate::handshake::{Hello, MAGIC, VERSION, Welcome};
use crate::link::Link;
use crate::machine::Actions;
use crate::net::{NetAction, NetError};
use crate::{Address, ConnectionId, InstanceId, Instant, LinkId, QueryId};
use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::net::SocketAddr;
use rand::Rng;

/// Addresses of one name that are tried, at most.
const MAX_ADDRESSES: usize = 16;

impl ConnectionManager {
    /// The connection is idle and has a kind that dials.
    pub(super) fn start_connect<N>(
        &mut self,
        now: Instant,
        id: ConnectionId,
        target: Address,
        expect: Option<InstanceId>,
        actions: &mut Actions<N>,
    ) {
        let Some(connection) = self.connections.get_mut(&id) else { return };
        connection.target = Some(target.clone());
        match target {
            Address::Socket(address) => {
                let rest = VecDeque::from([address]);
                self.dial_next(
                    now,
                    id,
                    Dial { expect, rest, answered: None },
                    NetError::Unreachable,
                    actions,
                );
            }
            Address::Name(host, port) => {
                let query = QueryId::next(&mut self.last.query);
                connection.state = State::Resolving { query, expect };
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
                let rest = addresses.into_iter().take(MAX_ADDRESSES).collect();
                self.dial_next(
                    now,
                    id,
                    Dial { expect, rest, answered: None },
                    NetError::NameNotFound,
                    actions,
                );
            }
            Err(error) => self.finish(id, DisconnectReason::Net(error)),
        }
    }

    /// The name service does not answer in time; its late answer will mean nothing.
    pub(super) fn lookup_due(&mut self, query: QueryId) {
        if let Some(id) = self.queries.get_mut(&query).and_then(Option::take) {
            self.finish(id, DisconnectReason::Net(NetError::TimedOut));
        }
    }

    fn resolving(&self, id: ConnectionId) -> Option<Option<InstanceId>> {
        match self.connections.get(&id)?.state {
            State::Resolving { expect, .. } => Some(expect),
            _ => None,
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
            self.finish(id, dial.answered.unwrap_or(DisconnectReason::Net(error)));
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
            connection.state = State::Dialling { link, dial };
        }
        // A placeholder is not needed: `dial` only asks for the action and remembers.
        let (me, key, limits) = (self.config.instance, &self.config.key, &self.config.limits);
        let mut io = crate::link::Io { now, me, key, limits, actions };
        let entry = Entry { link: Link::dial(link, address, hello, &mut io), owner: Owner::Connection(id) };
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
        let State::Dialling { mut dial, .. } = core::mem::replace(&mut connection.state, State::Idle) else {
            return;
        };
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
            | DisconnectReason::RefusedByPeer(_) => self.finish(id, reason),
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
        if let Err(reason) = self.may_answer(id, &welcome) {
            self.disown(link);
            self.act(now, link, actions, |link, io| link.refuse(&reason, io));
            self.dial_failed(now, id, reason, actions);
            return;
        }
        let Some(entry) = self.links.get(&link) else { return };
        let (socket, local) = (entry.link.peer(), entry.link.local());
        let Some(connection) = self.connections.get_mut(&id) else { return };
        let peer = PeerInfo {
            instance: welcome.instance,
            address: welcome.address.map(|address| address.completed(socket.ip().to_canonical())),
            name: welcome.name,
            socket,
            local,
            connection: welcome.connection,
        };
        let (kind, first) = (connection.kind, connection.first.clone());
        connection.state = State::Connected { link, peer: peer.clone(), max_data: welcome.max_data };
        self.act(now, link, actions, Link::confirm);
        self.events.push_back(ConnectionEvent::Connected { id, kind, peer });
        if let Some(first) = first {
            let reason = DisconnectReason::Malformed("the first data is larger than the peer takes");
            let fits = first.data_len() <= welcome.max_data as usize;
            self.act(
                now,
                link,
                actions,
                |link, io| {
                    if fits { _ = link.send(first, io) } else { link.cut(reason, io) }
                },
            );
        }
    }

    fn may_answer(&self, id: ConnectionId, welcome: &Welcome) -> Result<(), DisconnectReason> {
        let Some(connection) = self.connections.get(&id) else { return Err(DisconnectReason::Closed) };
        let State::Dialling { dial, .. } = &connection.state else { return Err(DisconnectReason::Closed) };
        let allow_self = self.kinds.get(&connection.kind).is_some_and(|kind| kind.allow_self);
        if dial.expect.is_some_and(|expected| expected != InstanceId::NONE && expected != welcome.instance) {
            return Err(DisconnectReason::OtherInstance(welcome.instance));
        }
        if welcome.instance == self.config.instance && !allow_self {
            return Err(DisconnectReason::Myself);
        }
        Ok(())
    }
}
