//! The scenarios, by the duty that they look at.

mod connections;
mod links;
mod listeners;
mod sessions;
mod time;

pub(super) use connections::*;
pub(super) use links::*;
pub(super) use listeners::*;
pub(super) use sessions::*;
pub(super) use time::*;
