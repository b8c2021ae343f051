//! What every runtime owes, of each that there is; and that the suite sees one that is broken.
#![allow(clippy::unwrap_used)]

mod broken;
mod on_mio;
#[cfg(feature = "tokio")]
mod on_tokio;
mod simulated;
