//! The manager: all connections by id. (Being built: signatures only.)
#![allow(unused_variables, clippy::needless_pass_by_value)]

use super::types::{ConnectionError, ConnectionEvent, ConnectionKind, ConnectionState, KindId, PeerInfo};
use crate::machine::Actions;
use crate::net::NetEvent;
use crate::pack::DataPack;
use crate::{Address, Config, ConnectionId, Dict, InstanceId, Instant};

/// All connections of a node.
#[derive(Debug)]
pub struct ConnectionManager {}

impl ConnectionManager {
    /// No connections yet.
    pub fn new(config: &Config) -> Self {
        unimplemented!()
    }

    /// Registers a kind (seed: 需要提前注册好类型).
    pub fn register(&mut self, kind: ConnectionKind) -> Result<(), ConnectionError> {
        unimplemented!()
    }

    /// What Hello and Welcome tell the peer about where we listen; `None`: we do not.
    pub fn advertise(&mut self, address: Option<Address>) {
        unimplemented!()
    }

    /// The seed's first form: a connection of a kind, with no target yet.
    pub fn create(&mut self, kind: KindId) -> Result<ConnectionId, ConnectionError> {
        unimplemented!()
    }

    /// The seed's second form: with its target, and data that is sent first once it is connected.
    pub fn create_to(
        &mut self,
        kind: KindId,
        target: Address,
        data: Option<Dict>,
    ) -> Result<ConnectionId, ConnectionError> {
        unimplemented!()
    }

    /// Opens a listener for a connection whose kind listens.
    pub fn listen<N>(
        &mut self,
        now: Instant,
        id: ConnectionId,
        address: Address,
        actions: &mut Actions<N>,
    ) -> Result<(), ConnectionError> {
        unimplemented!()
    }

    /// Dials the target that the connection was created with or has from an earlier connect.
    /// `expect`: the instance that must answer, if that is known.
    pub fn connect<N>(
        &mut self,
        now: Instant,
        id: ConnectionId,
        target: Option<Address>,
        expect: Option<InstanceId>,
        actions: &mut Actions<N>,
    ) -> Result<(), ConnectionError> {
        unimplemented!()
    }

    /// Queues a pack.
    pub fn send<N>(
        &mut self,
        now: Instant,
        id: ConnectionId,
        pack: DataPack,
        actions: &mut Actions<N>,
    ) -> Result<(), ConnectionError> {
        unimplemented!()
    }

    /// Whether the outbox is below its high-water mark; if not, `Writable` will come.
    pub fn writable(&self, id: ConnectionId) -> bool {
        unimplemented!()
    }

    /// Stops reading from a connection (backpressure), until `resume`.
    pub fn pause(&mut self, id: ConnectionId) {
        unimplemented!()
    }

    /// Reads again.
    pub fn resume<N>(&mut self, now: Instant, id: ConnectionId, actions: &mut Actions<N>) {
        unimplemented!()
    }

    /// Closes a connection: what is queued is sent first, within `close`. It is idle again at once for an idle or connecting
    /// one, else after `Disconnected`. Closing an idle one is harmless.
    pub fn close<N>(
        &mut self,
        now: Instant,
        id: ConnectionId,
        actions: &mut Actions<N>,
    ) -> Result<(), ConnectionError> {
        unimplemented!()
    }

    /// Forgets an idle connection's id, or closes and then forgets it, without a `Disconnected`.
    pub fn discard<N>(&mut self, now: Instant, id: ConnectionId, actions: &mut Actions<N>) {
        unimplemented!()
    }

    /// Ends everything at once.
    pub fn destroy<N>(&mut self, now: Instant, actions: &mut Actions<N>) {
        unimplemented!()
    }

    /// Where a connection stands; `None` if there is none of that id.
    pub fn state(&self, id: ConnectionId) -> Option<ConnectionState> {
        unimplemented!()
    }

    /// Who is at the other end, while it is connected.
    pub fn peer(&self, id: ConnectionId) -> Option<&PeerInfo> {
        unimplemented!()
    }

    /// The kind of a connection.
    pub fn kind(&self, id: ConnectionId) -> Option<KindId> {
        unimplemented!()
    }

    /// Takes a completion of the network.
    pub fn handle_net<N>(&mut self, now: Instant, event: NetEvent, actions: &mut Actions<N>) {
        unimplemented!()
    }

    /// Does what is due.
    pub fn tick<N>(&mut self, now: Instant, actions: &mut Actions<N>) {
        unimplemented!()
    }

    /// When `tick` is wanted.
    pub fn deadline(&self) -> Option<Instant> {
        unimplemented!()
    }

    /// What happened; the machine above takes all of it before its `handle` returns.
    pub fn next_event(&mut self) -> Option<ConnectionEvent> {
        unimplemented!()
    }

    /// Panics if the tables contradict each other.
    pub fn check_invariants(&self) {
        unimplemented!()
    }

    /// Links, listeners, look-ups and connections that exist, for leak checks.
    pub fn census(&self) -> [usize; 4] {
        unimplemented!()
    }
}
