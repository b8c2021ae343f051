//! What an application hears.

use super::{ConnectionManager, Message};
use std::time::Duration;
use xxnet_core::ConnectionId;
use xxnet_core::connection::{ConnectionEvent, DisconnectReason, PeerInfo};
use xxnet_core::net::Endpoint;
use xxnet_core::net::NetError;

/// What happens to connections, told from inside [`update`](ConnectionManager::update) and nowhere else.
///
/// Each method does nothing unless it is written. Every one gets the manager: it may send, close, connect again, create,
/// discard or destroy right there. All of one connection comes in the order in which it happened; what a call from inside
/// brings about is told later.
#[allow(unused_variables)]
pub trait Handler {
    /// A connection that we dialled is up (the seed's OnConnect).
    fn on_connect(&mut self, connections: &mut ConnectionManager, id: ConnectionId, peer: &PeerInfo) {}

    /// A peer's connection is up, under a new id. It came through that listening connection, and is of the kind that its dialler
    /// named ([`kind`](ConnectionManager::kind)).
    fn on_accept(
        &mut self,
        connections: &mut ConnectionManager,
        id: ConnectionId,
        peer: &PeerInfo,
        listener: ConnectionId,
    ) {
    }

    /// A message has come. On a session kind it counts as taken, and is acknowledged, when this returns, or when this closes its
    /// connection; later if it is [held](ConnectionManager::hold).
    fn on_receive(&mut self, connections: &mut ConnectionManager, id: ConnectionId, message: Message) {}

    /// A connection is over, or never came to be, or a listener is closed (the seed's OnDisconnect). One that we created is idle
    /// again, and may connect at once; one that was accepted is gone. Told once for each connect and each accept.
    fn on_disconnect(
        &mut self,
        connections: &mut ConnectionManager,
        id: ConnectionId,
        reason: DisconnectReason,
    ) {
    }

    /// These messages of ours were not acknowledged by a session that is over: they may or may not have been taken. Told right
    /// before its `on_disconnect`, oldest first; [`Message::sequence`] is what `send` answered.
    fn on_undelivered(
        &mut self,
        connections: &mut ConnectionManager,
        id: ConnectionId,
        messages: Vec<Message>,
    ) {
    }

    /// The peer's application has taken our messages up to this one; the number is what `send` answered for it.
    fn on_acknowledged(&mut self, connections: &mut ConnectionManager, id: ConnectionId, sequence: u64) {}

    /// There is room again on a connection that was not [`writable`](ConnectionManager::writable), or whose queue was full.
    fn on_writable(&mut self, connections: &mut ConnectionManager, id: ConnectionId) {}

    /// A session has lost its link; it goes on by itself with the next one. For the log.
    fn on_interrupted(
        &mut self,
        connections: &mut ConnectionManager,
        id: ConnectionId,
        reason: DisconnectReason,
    ) {
    }

    /// A session has a link again. For the log.
    fn on_resumed(&mut self, connections: &mut ConnectionManager, id: ConnectionId) {}

    /// The peer has answered a [`ping`](ConnectionManager::ping).
    fn on_pong(&mut self, connections: &mut ConnectionManager, id: ConnectionId, round_trip: Duration) {}

    /// A newcomer was turned away before it was a connection: a wrong key, another protocol, an unknown kind. For the log.
    fn on_turned_away(
        &mut self,
        connections: &mut ConnectionManager,
        from: Endpoint,
        reason: DisconnectReason,
    ) {
    }

    /// Accepting fails for want of descriptors. Told once; it is tried again by itself.
    fn on_accept_failing(
        &mut self,
        connections: &mut ConnectionManager,
        listener: ConnectionId,
        error: NetError,
    ) {
    }
}

/// Who only wants to drive, and hears nothing.
impl Handler for () {}

/// Tells one event.
pub(super) fn tell<H: Handler + ?Sized>(
    handler: &mut H,
    connections: &mut ConnectionManager,
    epoch: u64,
    event: ConnectionEvent,
) {
    match event {
        ConnectionEvent::Connected { id, peer, .. } => handler.on_connect(connections, id, &peer),
        ConnectionEvent::Accepted { id, listener, peer, .. } => {
            handler.on_accept(connections, id, &peer, listener);
        }
        ConnectionEvent::Received { id, pack } => {
            let message = Message::new(id, epoch, pack);
            connections.begin(&message);
            handler.on_receive(connections, id, message);
            connections.settle();
        }
        ConnectionEvent::Disconnected { id, reason, .. } => {
            handler.on_disconnect(connections, id, reason);
            connections.over(id, epoch);
        }
        ConnectionEvent::Undelivered { id, packs } => {
            let messages = packs.into_iter().map(|pack| Message::new(id, epoch, pack)).collect();
            handler.on_undelivered(connections, id, messages);
        }
        ConnectionEvent::Acknowledged { id, sequence } => {
            handler.on_acknowledged(connections, id, sequence);
        }
        ConnectionEvent::Writable { id } => handler.on_writable(connections, id),
        ConnectionEvent::Interrupted { id, reason } => handler.on_interrupted(connections, id, reason),
        ConnectionEvent::Resumed { id } => handler.on_resumed(connections, id),
        ConnectionEvent::Pong { id, round_trip } => handler.on_pong(connections, id, round_trip),
        ConnectionEvent::TurnedAway { from, reason } => handler.on_turned_away(connections, from, reason),
        ConnectionEvent::AcceptFailing { listener, error } => {
            handler.on_accept_failing(connections, listener, error);
        }
        // These are what `listen` answers.
        ConnectionEvent::Listening { .. } | ConnectionEvent::ListenFailed { .. } => {}
    }
}
