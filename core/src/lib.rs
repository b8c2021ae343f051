//! Pure state machines of xxnet: the DataPack codec, links, connections by id, the registry, the executor.
//!
//! Nothing here has a clock, a socket, a file, a thread or randomness of its own. A runtime hands a machine one [`Event`]
//! at a time and does what it says; the same machine runs in the daemon on mio, on tokio, under a seeded simulator and under
//! fuzzers.
//!
//! # One door in, one door out
//!
//! ```
//! use xxnet_core::client::{Client, ClientCommand, ClientNotice};
//! use xxnet_core::message::Question;
//! use xxnet_core::net::{NetAction, NetError, NetEvent};
//! use xxnet_core::{Action, Actions, ClusterKey, Config, Event, InstanceId, Instant, Machine};
//!
//! let config = Config::new(InstanceId([7; 16]), "me", ClusterKey([0; 32]), 1);
//! let mut machine = Client::new(config);
//! let mut actions = Actions::new();
//! let mut events = vec![Event::Command(ClientCommand::Ask {
//!     registry: "192.0.2.1:7700".parse().unwrap(),
//!     question: Question::Nodes,
//! })];
//! let mut told = None;
//! // The whole of a runtime: take an event, do what comes back, bring its completion.
//! while let Some(event) = events.pop() {
//!     machine.handle(Instant::from_micros(0), event, &mut actions);
//!     for action in actions.drain() {
//!         match action {
//!             Action::Net(NetAction::Dial { link, .. }) => {
//!                 events.push(Event::Net(NetEvent::DialFailed { link, error: NetError::Refused }));
//!             }
//!             Action::Net(other) => panic!("nothing else is asked of this network: {other:?}"),
//!             Action::Disk(_) | Action::Process(_) => unreachable!("a client has neither"),
//!             Action::Notify(notice) => told = Some(notice),
//!         }
//!     }
//! }
//! assert!(matches!(told, Some(ClientNotice::Failed(_))));
//! ```
//!
//! 1. [`Machine::handle`] is infallible and never blocks. All that can be done now is in the actions when it returns; what
//!    stays inside waits for a named completion, a peer's credit or a deadline, and is bounded.
//! 2. Actions are requests, and the core mints every id. Each request gets exactly one terminal completion as an event;
//!    closing something completes what was outstanding on it. A late, repeated or unknown completion changes nothing.
//! 3. One `Send` a link is outstanding at a time; the rest waits in a bounded outbox and leaves together at `Sent`. Reads
//!    are armed, so *not re-arming is backpressure*.
//! 4. Time is an argument ([`Instant`]); randomness is one seed in the [`Config`].
//! 5. Same events, same actions, on any machine, in any process.
//! 6. The caller's fault is a typed error to the command; the peer's fault closes that one link with a reason; the
//!    environment's fault arrives as an event. Nothing a peer sends can panic, allocate beyond a stated bound, or reach
//!    another peer's state.
//! 7. Every limit and timeout is a field of [`Limits`].
//!
//! A runtime owes four things: a monotone `now` that counts time asleep; exactly one completion a request; order within
//! a link; a `Tick` at [`Machine::deadline`]. `tests/src/tokio_runtime.rs` in this repository is the guide to writing one: small, whole, a
//! duty a paragraph. `xxnet_tests::conformance` is the suite that tells whether a runtime fulfils them.
//!
//! # On the wire
//!
//! [`protocol`] is the page for whoever writes a client in another language: packs, dicts, the handshake, sessions, and one session as hex.
//!
//! # The seed's words
//!
//! | the seed says | here |
//! | --- | --- |
//! | XxDataPack, XxDataHeader | [`pack::DataPack`], [`pack::DataHeader`] |
//! | dictData | [`Dict`], [`pack::Value`] |
//! | XxConnection, XxConnectionMgr | a connection by its [`ConnectionId`], [`connection::ConnectionManager`] |
//! | XxDispatcher, BufferDispatcher | a *link*: one TCP stream and its buffers |
//! | Reg, Exe, ExecutorMgr | [`registry::Registry`], [`executor::Executor`], the registry's members |
//! | Exe2Reg / ExeInReg | the two ends of a *registration* connection |
//! | Exe2Exe / ExeInExe | the two ends of a *task* connection |
//! | FileExe2Exe / FileExeInExe | the two ends of a *file* connection |
//! | 回调ID | [`CallbackId`] |

#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;
#[cfg(test)]
extern crate std;

pub mod address;
mod backoff;
pub mod client;
pub mod config;
pub mod connection;
pub mod disk;
pub mod executor;
pub mod handshake;
pub mod id;
mod id_map;
mod link;
pub mod machine;
pub mod manifest;
pub mod message;
pub mod messenger;
pub mod needs;
pub mod net;
pub mod pack;
pub mod process;
mod random;
#[doc = include_str!("../WIRE.md")]
pub mod protocol {}
pub mod registry;
pub mod state;
pub mod states;
mod system;
pub mod time;
pub mod timers;
pub mod wire;

pub use address::Address;
pub use config::{ClusterKey, Config, ExecutorConfig, Limits};
pub use id::*;
pub use machine::{Action, Actions, Event, Machine};
pub use pack::Dict;
pub use time::Instant;
