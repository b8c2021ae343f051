//! Exhaustive search: every order of whole packs, ends of commands and deadlines in a small world, with faults at any moment.
//!
//! The machines are the very ones that the binary runs, each driven through [`Machine::handle`](xxnet_core::Machine::handle);
//! nothing is modelled but what lies between them. `sim/README.md` says what is explored and what is left out.
//!
//! | file | what it is |
//! | --- | --- |
//! | `node` | a process: a machine and what its runtime owes it |
//! | `application` | what uses it |
//! | `engine` | processes and packs by number, and what each input makes of each |
//! | `wire` | a link between two of them |
//! | `world` | a state of everything, and what can happen next |
//! | `scenario` | who is there, and what must hold |
//! | `search` | breadth first, with the shortest way to whatever is wrong |

mod application;
mod command;
mod engine;
mod hash;
mod node;
mod scenario;
mod search;
mod wire;
mod world;

pub use command::Explore;
pub use scenario::Scenario;
pub use search::{Bounds, Search, Seen};
