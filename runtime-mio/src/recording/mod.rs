//! Recordings: all that a daemon's machine was given, in a file, to run the same machine over it again.
//!
//! A machine decides everything and has no clock, socket, file or randomness of its own: whoever gives it the same events at the
//! same times gets the same actions. So a failure on a real network can be taken home and looked at.
//!
//! ```text
//! | "xxnet recording 1\n" | header | event | actions | event | actions | … | end |
//! ```
//!
//! Each part is a frame with checksums. The header is JSON, which every version reads; events are bytes of the version that
//! wrote them. An event is in the file before the machine is given it: what a killed or crashed daemon had last is there, and
//! only the end is missing. Of actions the file has a hash each, to compare, and the first words, to read. The state is hashed
//! now and then, and at the end.
//!
//! The cluster key is not in the file; handshakes depend on it, so whoever replays needs it, and a hash tells whether it is the
//! right one. Everything else is in it: commands, their environment and input, the bytes of files. It is for its owner alone.
//!
//! A recording that has reached its limit stops, and keeps what it has. It is no ring of the newest events, because these mean
//! nothing to a machine without the state before them, and a state cannot be written to a file.

mod digest;
mod frame;
mod header;
mod recorder;
mod replay;
#[cfg(test)]
mod tests;

pub use digest::{ActionDigest, StateHash};
pub use frame::{MAGIC, Reader, Record, Tail};
pub use header::{Header, HeaderError, Subject};
pub use recorder::{LEAST, Recorder, Stopped};
pub use replay::{Difference, Divergence, Report, Verdict, replay};
