//! The bodies of the fuzz targets: each takes arbitrary bytes and panics if a promise is broken. Stable tests run them over the
//! committed corpus and over random bytes; `cargo fuzz` looks for more.
//!
//! `decoders` reads the bytes as they are. All others read them as a story: a machine stands on a `stage` among peers that have
//! the right key and say what they like, when they like, on a network, a disk and processes that fail as the bytes say. The
//! `contract` watches what it asks of them.

mod cluster;
mod contract;
mod decoders;
mod machines;
mod peer;
mod runs;
mod source;
mod stage;
mod stream;
mod words;

pub use cluster::cluster;
pub use contract::Contract;
pub use decoders::{manifest_decoder, message_decoder, pack_decoder, value_decoder};
pub use machines::{client, connections, executor, marks, messenger, registry};
pub use source::Source;

/// A target's name, as in `fuzz/fuzz_targets` and `fuzz/corpus`, and its body.
pub type Target = (&'static str, fn(&[u8]));

/// All targets.
pub const TARGETS: [Target; 10] = [
    ("pack_decoder", pack_decoder),
    ("value_decoder", value_decoder),
    ("message_decoder", message_decoder),
    ("manifest_decoder", manifest_decoder),
    ("connections", connections),
    ("messenger", messenger),
    ("registry", registry),
    ("executor", executor),
    ("client", client),
    ("cluster", cluster),
];
