//! The registry and the client against their ledger, on a tiny deterministic network with scripted executors.
#![allow(missing_docs, clippy::unwrap_used, unreachable_pub)]

mod hostile;
mod members;
mod questions;
mod random;
mod state;
mod tasks;
mod world;
