//! bincode, behind this one door, with its dangers guarded.
//!
//! - It accepts bytes behind a message: the length read is compared.
//! - Without a limit it allocates whatever length a string claims, and a claim of 2^60 ends the process. Its limits are
//!   constants, so there is a ladder of them: a message of n bytes can claim at most 16 n bytes, or 4 KiB, and for no
//!   longer than the decoding fails. Sequences are serde's, which makes room for at most 1 MiB ahead.
//! - It never ends reading a sequence of things without bytes that claims 2^60 of them: no message has one.
//! - It nests as deep as a type does: no message type contains itself (that is what [`Dict`](crate::Dict) is for).

use alloc::vec::Vec;
use core::fmt;
use serde::{Serialize, de::DeserializeOwned};

/// Why a payload is not what its pack type says.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
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
    const KIB: usize = 1 << 10;
    const MIB: usize = 1 << 20;
    let decode = match bytes.len() {
        ..=4_096 => decode_within::<T, { 4 * KIB }>,
        4_097..=65_536 => decode_within::<T, { 64 * KIB }>,
        65_537..=1_048_576 => decode_within::<T, MIB>,
        1_048_577..=16_777_216 => decode_within::<T, { 16 * MIB }>,
        16_777_217..=268_435_456 => decode_within::<T, { 256 * MIB }>,
        _ => return Err(WireError::Malformed),
    };
    decode(bytes)
}

/// One message that claims at most `LIMIT` bytes.
fn decode_within<T: DeserializeOwned, const LIMIT: usize>(bytes: &[u8]) -> Result<T, WireError> {
    let (message, read) = bincode::serde::decode_from_slice(bytes, FORMAT.with_limit::<LIMIT>())
        .map_err(|_| WireError::Malformed)?;
    if read == bytes.len() { Ok(message) } else { Err(WireError::Trailing) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::String;

    #[test]
    fn p7_a_string_that_claims_the_world_is_malformed() {
        for claim in [1_u64 << 60, u64::MAX, 1 << 32, 4097] {
            assert_eq!(decode::<String>(&claim.to_le_bytes()), Err(WireError::Malformed), "{claim}");
            assert_eq!(decode::<Vec<u64>>(&claim.to_le_bytes()), Err(WireError::Malformed), "{claim}");
        }
    }

    #[test]
    fn messages_of_every_rung_survive() {
        for len in [0, 4_088, 4_089, 65_528, 65_529, 1_048_568, 1_048_569, 16_777_208, 16_777_209] {
            let text = "x".repeat(len);
            assert_eq!(decode::<String>(&encode(&text)), Ok(text), "{len}");
        }
    }

    #[test]
    fn left_over_bytes_are_noticed() {
        assert_eq!(decode::<u8>(&[1, 2]), Err(WireError::Trailing));
        assert_eq!(decode::<u8>(&[]), Err(WireError::Malformed));
    }
}
