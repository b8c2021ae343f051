//! The space-time diagram: what passed between nodes, looked at by people.
//!
//! ```text
//! Event, Action ─▶ Scribe ─▶ Record, as JSON lines ─▶ merge ─▶ Story ─▶ one HTML page
//! (one machine's)            (simulator or daemon)    (many files, many clocks)
//! ```
//!
//! [`Scribe`] stands at the two doors of one machine and writes down what a person wants to know of it; it knows nothing of the
//! machine. [`record`] says what a line looks like. [`merge::Story`] finds for each message that was sent the one that arrived,
//! and says what became of the others. [`page::page`] writes the diagram: a file that needs nothing but a browser.

pub mod chronicle;
pub mod merge;
pub mod page;
pub mod read;
pub mod record;
mod scribe;
mod words;

pub use chronicle::Chronicle;
pub use merge::{Story, Wanted};
pub use scribe::Scribe;
pub use words::{InWords, Weight, Words};

#[cfg(test)]
mod tests;
