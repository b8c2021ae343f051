//! One part of a recording, its header read.

use super::frame::{Reader, Record};
use super::header::{Header, HeaderError};
use std::fmt;
use std::io::{self, Read};

/// A part that can be replayed.
#[derive(Debug)]
pub struct Part<R> {
    /// Of which machine it is, and which part.
    pub header: Header,
    pub(super) reader: Reader<R>,
}

/// Why something is no part of a recording.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PartError {
    /// It does not begin as one.
    NoRecording,
    /// There is no whole first frame.
    Damaged,
    /// The first frame is no header.
    Headless,
    /// The header says nothing that can be used.
    Header(HeaderError),
}

impl fmt::Display for PartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoRecording => f.write_str("it is no recording of xxnet"),
            Self::Damaged => f.write_str("its beginning is damaged or not there"),
            Self::Headless => f.write_str("it does not say of which machine it is"),
            Self::Header(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for PartError {}

impl<R: Read> Part<R> {
    /// Reads the header.
    ///
    /// # Errors
    /// The system's, then the file's.
    pub fn open(from: R) -> io::Result<Result<Self, PartError>> {
        let Some(mut reader) = Reader::new(from)? else { return Ok(Err(PartError::NoRecording)) };
        let header = match reader.read()? {
            Some(Record::Header(json)) => Header::from_json(&json).map_err(PartError::Header),
            Some(_) => Err(PartError::Headless),
            None => Err(PartError::Damaged),
        };
        Ok(header.map(|header| Self { header, reader }))
    }
}
