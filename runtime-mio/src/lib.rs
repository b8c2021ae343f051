//! Drives the machines of `xxnet-core` on real sockets, files and processes.
//!
//! [`Driver`] is the whole of it: it owns a machine, turns what the system reports into events, and does what the machine's
//! actions say. One thread runs the machine and all sockets; names, files and hashing have a few of their own.
//!
//! Two faces of it are for programs that only want to talk: [`Net`], messages by address from any thread, and
//! [`ConnectionManager`], connections by id that the caller drives. The rest is for whole machines.
//!
//! A registry, and all that it takes:
//!
//! ```no_run
//! use xxnet_core::registry::{Registry, RegistryCommand, RegistryNotice};
//! use xxnet_core::{ClusterKey, Config, InstanceId};
//! use xxnet_runtime_mio::{Driver, Flow, Options};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let (random, key, seed) = ([1; 16], [2; 32], 3);
//! let config = Config::new(InstanceId(random), "registry", ClusterKey(key), seed);
//! let mut driver = Driver::new(Registry::new(config), Options::default())?;
//! // Commands from any thread; `handle` is for those that live longer than this function.
//! let handle = driver.handle();
//! handle.send(RegistryCommand::Listen("127.0.0.1:7700".parse()?))?;
//! // Blocks. Commands from inside go into the second argument.
//! driver.run(|notice, _commands| match notice {
//!     RegistryNotice::Stopped => Flow::Stop,
//!     other => {
//!         println!("{other:?}");
//!         Flow::Continue
//!     }
//! })?;
//! # Ok(())
//! # }
//! ```
//!
//! An executor needs more: [`Options::disk`] with a [`WorkDir`] for its attempts, and [`Options::processes`] with a
//! [`Supervisor`] that was started before any thread.

mod alarm;
mod chunks;
pub mod clock;
pub mod connections;
pub mod disk;
mod driver;
mod fs;
mod handle;
mod instance;
pub mod messages;
mod names;
mod net;
#[cfg(target_os = "linux")]
pub mod process;
#[cfg(not(target_os = "linux"))]
#[path = "process/elsewhere.rs"]
pub mod process;
pub mod recording;
pub mod signals;
pub mod supervisor;
mod timer;
pub mod workdir;
mod workers;

pub use connections::ConnectionManager;
pub use disk::DiskOptions;
pub use driver::{Driver, Flow, Observer, Options};
pub use handle::{Handle, MAILBOX, SendError};
pub use messages::Net;
pub use net::SocketOptions;
pub use process::Processes;
pub use supervisor::Supervisor;
pub use workdir::WorkDir;
