//! The command line, end to end: the real binary, real sockets, files, processes and signals.
// The helpers are test code too, which the linter cannot see.
#![allow(clippy::unwrap_used)]

mod bad_input;
mod descriptors;
mod faults;
mod files;
mod full_disk;
mod harness;
mod hosts;
mod large;
mod lists;
mod messages;
mod namespace;
mod ping;
mod recordings;
mod restarts;
mod run;
mod shared;
mod storm;
mod trace;
