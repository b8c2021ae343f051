//! What the tests share: the bodies of the fuzz targets, a proxy that breaks links, the suite that every runtime must pass, and
//! a second runtime, on tokio, that is the guide to writing one.

pub mod conformance;
#[cfg(feature = "fuzz")]
pub mod fuzz;
pub mod proxy;
#[cfg(feature = "tokio")]
pub mod tokio_runtime;
