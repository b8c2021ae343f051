//! What the tests share: the bodies of the fuzz targets, and a proxy that breaks links.

pub mod fuzz;
pub mod proxy;
