//! The registry machine: who is there, which tasks want an executor, who gets the next proposal.

mod capacity;
mod members;
mod notice;
mod pairs;
mod questions;
mod queue;

pub use notice::{RegistryCommand, RegistryNotice};
