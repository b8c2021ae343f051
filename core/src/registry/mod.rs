//! The registry machine: who is there, which tasks want an executor, who gets the next proposal.

mod notice;

pub use notice::{RegistryCommand, RegistryNotice};
