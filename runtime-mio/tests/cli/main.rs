//! The command line, end to end: the real binary, real sockets, files, processes and signals.

mod bad_input;
mod faults;
mod files;
mod harness;
mod lists;
mod run;
