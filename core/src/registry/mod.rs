//! The registry machine: who is there, which tasks want an executor, who gets the next proposal.

#![allow(dead_code)]

mod capacity;
mod members;
mod notice;
mod pairs;
mod questions;
mod queue;

pub use notice::{RegistryCommand, RegistryNotice};
