//! A deterministic world for the machines of [`xxnet_core`].
//!
//! It stands for what a runtime does (TCP, names, disk, processes, clocks) and knows nothing of the protocol. Every decision
//! is drawn from one seed, so a run can be repeated exactly; every run injects its own mixture of faults, checks each machine's
//! invariants after each event and the promises of the whole, and at the end demands that everything has ended well.
#![forbid(unsafe_code)]

pub mod aim;
pub mod bench;
pub mod calm;
pub mod choices;
pub mod clock;
pub mod comings;
pub mod command;
pub mod context;
pub mod explore;
pub mod failure;
pub mod fault;
pub mod faults;
pub mod lab;
pub mod machine;
pub mod marks;
pub mod plan;
pub mod runner;
pub mod script;
pub mod setup;
pub mod shrink;
pub mod spacetime;
pub mod swap;
pub mod talk;
pub mod tap;
pub mod task;
pub mod trace;

#[cfg(test)]
mod beside;
mod cluster;
mod disk;
mod mesh;
mod messengers;
mod net;
mod oracles;
mod process;
mod queue;
mod weather;
mod workload;
mod world;

pub use cluster::Report;
pub use mesh::Sessions;
pub use messengers::Messages;
pub use setup::Setup;
