//! Drives the machines of `xxnet-core` on real sockets, files and processes.
//!
//! [`Driver`] is the whole of it: it owns a machine, turns what the system reports into events, and does what the machine's
//! actions say. One thread runs the machine and all sockets; names, files and hashing have a few of their own.

mod alarm;
mod chunks;
pub mod clock;
pub mod disk;
mod driver;
mod fs;
mod handle;
mod names;
mod net;
#[cfg(target_os = "linux")]
pub mod process;
#[cfg(not(target_os = "linux"))]
#[path = "process/elsewhere.rs"]
pub mod process;
pub mod signals;
pub mod supervisor;
mod timer;
pub mod workdir;
mod workers;

pub use disk::DiskOptions;
pub use driver::{Driver, Flow, Options};
pub use handle::{Handle, MAILBOX, SendError};
pub use process::Processes;
pub use supervisor::Supervisor;
pub use workdir::WorkDir;
