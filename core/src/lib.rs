//! Pure state machines of xxnet. (Front page: written with the rest of the house.)
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;
#[cfg(test)]
extern crate std;

pub mod address;
pub mod client;
pub mod config;
pub mod connection;
pub mod disk;
pub mod executor;
pub mod handshake;
pub mod id;
mod link;
pub mod machine;
pub mod manifest;
pub mod message;
pub mod net;
pub mod pack;
pub mod process;
pub mod registry;
pub mod time;
pub mod timers;
pub mod wire;

pub use address::Address;
pub use config::{ClusterKey, Config, ExecutorConfig, Limits};
pub use id::*;
pub use machine::{Action, Actions, Event, Machine};
pub use pack::Dict;
pub use time::Instant;
