//! Connections by id, driven by the caller (seed §2): [`ConnectionManager`].
//!
//! A client that asks and closes once it has its answer, and a server that answers and waits for the other end to close:
//!
//! ```
//! use std::time::Duration;
//! use xxnet_runtime_mio::connections::*;
//!
//! const TALK: KindId = KindId::FIRST_FREE;
//! const DOOR: KindId = KindId(KindId::FIRST_FREE.0 + 1);
//!
//! #[derive(Default)]
//! struct Client(Option<Dict>);
//! impl Handler for Client {
//!     fn on_receive(&mut self, connections: &mut ConnectionManager, id: ConnectionId, message: Message) {
//!         self.0 = message.dict().ok();
//!         connections.close(id).unwrap();
//!     }
//! }
//!
//! #[derive(Default)]
//! struct Server(Option<DisconnectReason>);
//! impl Handler for Server {
//!     fn on_receive(&mut self, connections: &mut ConnectionManager, id: ConnectionId, message: Message) {
//!         let asked = message.dict().unwrap();
//!         connections.send(id, Dict::from([("you said", asked.into())])).unwrap();
//!     }
//!     fn on_disconnect(&mut self, _: &mut ConnectionManager, _: ConnectionId, reason: DisconnectReason) {
//!         self.0 = Some(reason);
//!     }
//! }
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! // Both ends have the same key; who has not is refused.
//! let options = || ManagerOptions::new(ClusterKey([7; 32]));
//! let (mut near, mut far) = (ConnectionManager::new(options())?, ConnectionManager::new(options())?);
//! near.register(ConnectionKind::plain(TALK, LinkRule::Many, Role::Dial))?;
//! far.register(ConnectionKind::plain(TALK, LinkRule::Many, Role::Accept))?;
//! far.register(ConnectionKind::plain(DOOR, LinkRule::Many, Role::Listen))?;
//!
//! let door = far.create(DOOR)?;
//! let address = far.listen(door, "127.0.0.1:0".parse::<Address>()?)?;
//! // With its target, and with data that is sent first.
//! let id = near.create_to(TALK, address, Dict::from([("question", "are you there?".into())]))?;
//! near.connect(id)?;
//!
//! let (mut client, mut server) = (Client::default(), Server::default());
//! while server.0.is_none() {
//!     near.update(Duration::from_millis(1), &mut client)?;
//!     far.update(Duration::from_millis(1), &mut server)?;
//! }
//! assert!(client.0.is_some_and(|answer| answer.get("you said").is_some()));
//! assert_eq!(server.0, Some(DisconnectReason::ClosedByPeer));
//! # Ok(())
//! # }
//! ```
//!
//! # Who does what
//!
//! - **You drive.** Operations act at once, and one that is not allowed is the `Err` of that very call. Everything else, input
//!   from the network as well as timeouts, happens in [`update`](ConnectionManager::update), and only there are your
//!   [`Handler`]'s methods called. Call it often, at the least every second or so: a peer that hears nothing from you, not
//!   even an answer to its pings, gives the connection up after `Limits::suspect` (9 s).
//! - **Handlers may do anything** with the manager that they are given: reply, close, connect again from `on_disconnect`, create,
//!   discard, destroy. Only `update` says no.
//! - **One thread.** There is no handle for others, and nothing but its time ends an `update` that waits. For many threads,
//!   and for peers that are named by their addresses, there is [`Net`](crate::Net).
//! - **The end.** [`close`](ConnectionManager::close) what should end well and update until you hear of it;
//!   [`destroy`](ConnectionManager::destroy) ends everything at once, and so, in silence, does dropping the manager.
//!
//! # The seed's words
//!
//! | the seed says | here |
//! | --- | --- |
//! | XxConnectionMgr, XxConnectionFactory | [`ConnectionManager`] |
//! | CreateConnection(type) · types registered beforehand | [`create`](ConnectionManager::create) · [`register`](ConnectionManager::register), [`ConnectionKind`] |
//! | CreateConnection(szTargetIp, nTargetPort, dictData) + Connect(nConnectionID) | [`create_to`](ConnectionManager::create_to) + [`connect`](ConnectionManager::connect) |
//! | Connect(nConnectionID, szTargetIp, nTargetPort) | [`connect_to`](ConnectionManager::connect_to) |
//! | Listen(nConnectionID, szIp, nPort) | [`listen`](ConnectionManager::listen) |
//! | Send(nConnectionID, dictData) | [`send`](ConnectionManager::send) |
//! | Update() | [`update`](ConnectionManager::update) |
//! | Close(nConnectionID) · Destroy() | [`close`](ConnectionManager::close) · [`destroy`](ConnectionManager::destroy) |
//! | OnConnect, OnDisconnect | [`Handler::on_connect`], [`Handler::on_disconnect`] |
//! | XxDispatcher, BufferDispatcher | a link, below: one TCP stream and its buffers |
//!
//! # States
//!
//! ```text
//!   create, create_to                           on_accept
//!          │                                        │
//!          ▼      connect             on_connect    ▼    close
//!        Idle ───────────▶ Connecting ──────────▶ Connected ───────▶ Closing
//!        │  ▲                  │                    │                 │
//! listen │  └──────────────────┴────────────────────┴─────────────────┘
//!        ▼             on_disconnect: a created one is Idle again, an accepted one is gone
//!    Listening ──▶ Closing ──▶ on_disconnect
//!             close
//! ```
//!
//! Each operation looks first whether the manager is destroyed (`Destroyed`), whether there is such an id
//! (`UnknownConnection`) and whether its kind does such a thing (`WrongRole`); then at the state:
//!
//! | | Idle | Connecting | Connected | Listening | Closing |
//! | --- | --- | --- | --- | --- | --- |
//! | `listen` | yes | `WrongRole` | `WrongRole` | `WrongState` | `WrongState` |
//! | `connect`, `connect_to` | yes | `WrongState` | `WrongState` | `WrongRole` | `WrongState` |
//! | `send`, `ping`, `pause`, `resume` | `WrongState` | `WrongState` | yes | `WrongState` | `WrongState` |
//! | `close` | nothing happens | yes | yes | yes | nothing happens |
//! | `discard` | yes | yes | yes | yes | yes |
//!
//! Beside that, `listen` answers `AlreadyListening` if another connection of ours listens there, and `connect` answers `NoTarget`
//! if it was never told one.
//!
//! The state is what holds now, handlers hear what was: a peer may have closed while its last message waits for `on_receive`,
//! and the reply is then refused. That is no fault of anybody; `on_disconnect` follows.
//!
//! # Kinds
//!
//! Both ends register the same kinds, by number. A kind says what a second link between the same two means, and what becomes of
//! messages when a link breaks:
//!
//! ```
//! # use xxnet_runtime_mio::connections::*;
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let mut manager = ConnectionManager::new(ManagerOptions::new(ClusterKey([7; 32])))?;
//! // Each connection stands for itself: requests, transfers.
//! manager.register(ConnectionKind::plain(KindId(1024), LinkRule::Many, Role::Both))?;
//! // One from each peer that dials: when it dials again, what is left of its old link goes (`Replaced`).
//! manager.register(ConnectionKind::plain(KindId(1025), LinkRule::OnePerDialler, Role::Both))?;
//! // One between two peers, whoever dials, and also if both do at once. Sessions alone can do that.
//! manager.register(ConnectionKind::session(KindId(1026), LinkRule::OnePerPair, Role::Both))?;
//! // A listening connection has no messages. It takes newcomers of every kind that may be accepted.
//! manager.register(ConnectionKind::plain(KindId(1027), LinkRule::Many, Role::Listen))?;
//!
//! let contradiction = ConnectionKind::plain(KindId(1028), LinkRule::OnePerPair, Role::Both);
//! assert!(matches!(manager.register(contradiction), Err(ConnectionError::BadKind(_))));
//! # Ok(())
//! # }
//! ```
//!
//! - **Plain**: a connection is its link. What is under way when that breaks is lost, you hear `on_disconnect`, and connect
//!   again. Right for requests that you would repeat anyway.
//! - **Session**: a connection outlives its links. It dials again by itself, and every message arrives once and in order, as long
//!   as both processes live and no break lasts longer than `Limits::session_timeout` (60 s); `on_interrupted` and `on_resumed`
//!   are for the log. Each message is acknowledged when the peer's `on_receive` has returned, or when the peer has
//!   [taken](ConnectionManager::take) it if it was [held](ConnectionManager::hold). What has no acknowledgement when the session
//!   ends is told as `on_undelivered`: it may or may not have been taken.
//!
//! # Why a connection is over
//!
//! | reason | what it means |
//! | --- | --- |
//! | `Closed` · `ClosedByPeer` | one end wanted it so |
//! | `Net(error)` | the network refused the dial, broke the link or never answered: try again later |
//! | `Silent` | no sign of life for `Limits::suspect`, or no handshake in time |
//! | `WrongKey`, `NotOurProtocol`, `Version`, `KindRefused` | who answers is not whom you want: trying again helps nobody |
//! | `OtherInstance`, `Myself`, `ConnectedAs` | another run of that process, this very one, or one that is connected already |
//! | `Replaced`, `Duplicate` | `OnePerDialler`: a newer link of the same dialler counts |
//! | `Expired` · `Stale` | a session had no link for too long · the other end has ended it |
//! | `SlowPeer`, `Full`, `Malformed` | the peer does not read · has no room · sent what is no pack |
//!
//! # Backpressure
//!
//! Every queue has an end. A session keeps what its peer has not taken, up to `Limits::session_queue` (32 MiB): then `send`
//! answers `QueueFull`, nothing is lost, and `on_writable` says when there is room. A plain connection whose peer does not read is
//! closed when `Limits::max_outbox` (16 MiB) wait (`OutboxFull`, then `SlowPeer`): whoever sends much there asks
//! [`writable`](ConnectionManager::writable) and waits for `on_writable`. Receivers hold a sender back by
//! [holding](ConnectionManager::hold) messages of a session, or by [`pause`](ConnectionManager::pause) on a plain kind.

mod handler;
mod manager;
mod message;
mod options;
mod told;

pub use crate::messages::{IntoPayload, Payload, StartError};
pub use handler::Handler;
pub use manager::ConnectionManager;
pub use message::{Held, Message};
pub use options::{ListenError, ManagerOptions};
pub use xxnet_core::connection::{
    ConnectionError, ConnectionKind, ConnectionState, Delivery, DisconnectReason, KindId, LinkRule, PeerInfo,
    Role, Statistics,
};
pub use xxnet_core::net::NetError;
pub use xxnet_core::{Address, ClusterKey, ConnectionId, Dict, InstanceId, Limits};

#[cfg(test)]
mod tests;
