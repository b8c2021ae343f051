//! The connection layer against its ledger, on a tiny deterministic network.
#![allow(missing_docs, clippy::unwrap_used, unreachable_pub)]

mod chaos;
mod damaged;
mod lifecycle;
mod listening;
mod peer;
mod ping;
mod recorded;
mod rules;
mod session_chaos;
mod sessions;
mod statistics;
mod strangers;
mod world;
mod wrong_order;
