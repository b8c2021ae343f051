//! What the tests share: the bodies of the fuzz targets.

pub mod fuzz;
