//! Recordings: all that a daemon's machine was given, in a file, to run the same machine over it again.
//!
//! A machine decides everything and has no clock, socket, file or randomness of its own: whoever gives it the same events at the
//! same times gets the same actions. So a failure on a real network can be taken home and looked at.
//!
//! ```text
//! | "xxnet recording 1\n" | header |         event | actions | event | actions | … | end |      the first part
//! | "xxnet recording 1\n" | header | state | event | actions | event | actions | … | end |      every other one
//! ```
//!
//! Each piece is a frame with checksums. The header is JSON, which every version reads; events and states are bytes of the
//! version that wrote them. An event is in the file before the machine is given it: what a killed or crashed daemon had last is
//! there, and only the end is missing. Of actions the file has a hash each, to compare, and the first words, to read. The state
//! is hashed now and then, and at the end.
//!
//! The cluster key is not in the file; handshakes depend on it, so whoever replays needs it, and a hash tells whether it is the
//! right one. Everything else is in it: commands, their environment and input, the bytes of files. It is for its owner alone.
//!
//! A recording is a ring of two parts, as logs rotate ([`files`]): when the newest is full, it is put in the place of the one
//! before, and the next begins with the whole state of the machine ([`xxnet_core::state`]). So what is held begins with a state
//! from which the same machine goes on, and reaches to the last event; it is at least the newer half of what the limit allows.
//! A state or an event that does not fit into half a part is a pause, and no end: as soon as it fits, the next part begins.

mod digest;
pub mod files;
mod frame;
mod header;
mod part;
mod recorder;
mod replay;
#[cfg(test)]
mod tests;

pub use digest::{ActionDigest, StateHash};
pub use files::{Files, FilesError};
pub use frame::{End, MAGIC, Reader, Record, Tail};
pub use header::{Header, HeaderError, Subject};
pub use part::{Part, PartError};
pub use recorder::{LEAST, Recorder, Shelf, Told};
pub use replay::{Difference, Divergence, Report, Verdict, replay};
