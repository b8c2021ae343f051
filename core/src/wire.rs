//! bincode, behind this one door.

use alloc::vec::Vec;
use core::fmt;
use serde::{Serialize, de::DeserializeOwned};

/// Why a payload is not what its pack type says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WireError {
    /// No message has this pack type.
    UnknownPackType(u16),
    /// The payload is malformed or truncated.
    Malformed,
    /// Bytes are left over.
    Trailing,
    /// Bulk bytes where the pack type has none.
    UnexpectedBulk,
}

impl fmt::Display for WireError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownPackType(number) => write!(f, "unknown pack type {number}"),
            Self::Malformed => f.write_str("malformed payload"),
            Self::Trailing => f.write_str("bytes left over behind the payload"),
            Self::UnexpectedBulk => f.write_str("bulk bytes where none belong"),
        }
    }
}

impl core::error::Error for WireError {}

const FORMAT: bincode::config::Configuration<bincode::config::LittleEndian, bincode::config::Fixint> =
    bincode::config::standard().with_fixed_int_encoding();

/// Fixed-width little-endian bytes of a message.
pub(crate) fn encode<T: Serialize>(message: &T) -> Vec<u8> {
    // Our own message types hold nothing that serde can refuse.
    bincode::serde::encode_to_vec(message, FORMAT).unwrap_or_default()
}

/// One message from exactly these bytes.
///
/// # Errors
/// `Malformed` or `Trailing`.
pub(crate) fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, WireError> {
    let (message, read) =
        bincode::serde::decode_from_slice(bytes, FORMAT).map_err(|_| WireError::Malformed)?;
    if read == bytes.len() { Ok(message) } else { Err(WireError::Trailing) }
}
