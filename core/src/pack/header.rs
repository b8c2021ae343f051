//! The header: what a pack is, how long it is, and what its checksum covers.

use super::{DataPack, DecodeError, EncodeError, PackType};
use crc32fast::Hasher;
use serde::{Deserialize, Serialize};

/// What stands before a pack's data (the seed's XxDataHeader).
///
/// On the wire, little-endian, directly behind `headersize: u16`, which counts the header's bytes without itself:
///
/// | bytes | field | |
/// | --- | --- | --- |
/// | 0–3 | `data_size` | bytes of data behind the header |
/// | 4–7 | `checked_size` | how many of them, from the first, the checksum covers |
/// | 8–9 | `pack_type` | what the data is |
/// | 10–11 | `flags` | 0; a bit is set only between peers whose negotiated version knows it |
/// | 12–19 | `sequence` | counts the packs of a session; 0 on plain kinds |
/// | 20–27 | `acknowledgement` | packs of the peer that were taken; 0 on plain kinds |
/// | 28–31 | `checksum` | CRC-32 as in zlib |
/// | 32– | | fields of a newer peer: covered by the checksum, otherwise skipped |
///
/// The checksum covers, in this order: the two bytes of `headersize`, header bytes 0 to 27, header bytes 32 to the
/// header's end, and the first `checked_size` bytes of data. It therefore can be told as soon as those have come, before
/// any bulk bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct DataHeader {
    /// Bytes of data behind the header.
    pub data_size: u32,
    /// How many of them the checksum covers: all, but for bulk packs.
    pub checked_size: u32,
    /// What the data is.
    pub pack_type: PackType,
    /// Reserved: 0.
    pub flags: u16,
    /// Counts the packs of a session; 0 on plain kinds.
    pub sequence: u64,
    /// How many of the peer's packs were taken; 0 on plain kinds.
    pub acknowledgement: u64,
    /// CRC-32 of everything but itself and the bulk.
    pub checksum: u32,
}

/// Bytes of the `headersize` field.
pub(super) const SIZE_FIELD: usize = 2;
/// Where the checksum stands, counted from `headersize`'s first byte.
const CHECKSUM_AT: usize = 30;

impl DataHeader {
    /// The `headersize` of this version: bytes of the header without that field.
    pub const SIZE: u16 = 32;
    /// The largest `headersize` that is taken from a newer peer.
    pub const MAX_SIZE: u16 = 512;
    /// Bytes of this version's header on the wire, `headersize` included.
    pub const WIRE_LEN: usize = SIZE_FIELD + Self::SIZE as usize;

    /// The header of a pack, its checksum computed.
    ///
    /// # Errors
    /// If the pack's data is longer than the header can say.
    pub fn of(pack: &DataPack) -> Result<Self, EncodeError> {
        Self::encoded(pack, pack.acknowledgement).map(|bytes| Self::from_bytes(&bytes))
    }

    /// The header of a pack as it stands on the wire, with this acknowledgement.
    pub(super) fn encoded(
        pack: &DataPack,
        acknowledgement: u64,
    ) -> Result<[u8; Self::WIRE_LEN], EncodeError> {
        let size = pack.data_len();
        let too_large = |_| EncodeError::TooLarge { size };
        let mut bytes = Self {
            data_size: u32::try_from(size).map_err(too_large)?,
            checked_size: u32::try_from(pack.head.len()).map_err(too_large)?,
            pack_type: pack.pack_type,
            flags: 0,
            sequence: pack.sequence,
            acknowledgement,
            checksum: 0,
        }
        .to_bytes();
        let checksum = checksum(&bytes, &pack.head);
        bytes[CHECKSUM_AT..].copy_from_slice(&checksum.to_le_bytes());
        Ok(bytes)
    }

    /// As it stands on the wire, `headersize` first.
    pub fn to_bytes(&self) -> [u8; Self::WIRE_LEN] {
        let mut bytes = [0; Self::WIRE_LEN];
        let mut at = 0;
        let mut put = |field: &[u8]| {
            bytes[at..at + field.len()].copy_from_slice(field);
            at += field.len();
        };
        put(&Self::SIZE.to_le_bytes());
        put(&self.data_size.to_le_bytes());
        put(&self.checked_size.to_le_bytes());
        put(&self.pack_type.0.to_le_bytes());
        put(&self.flags.to_le_bytes());
        put(&self.sequence.to_le_bytes());
        put(&self.acknowledgement.to_le_bytes());
        put(&self.checksum.to_le_bytes());
        bytes
    }

    /// Reads a header, `headersize` included; a newer peer's further fields are left out. Says nothing about the sizes:
    /// that is [`check`](Self::check)'s.
    pub fn from_bytes(bytes: &[u8; Self::WIRE_LEN]) -> Self {
        let mut rest = &bytes[SIZE_FIELD..];
        Self {
            data_size: u32::from_le_bytes(take(&mut rest)),
            checked_size: u32::from_le_bytes(take(&mut rest)),
            pack_type: PackType(u16::from_le_bytes(take(&mut rest))),
            flags: u16::from_le_bytes(take(&mut rest)),
            sequence: u64::from_le_bytes(take(&mut rest)),
            acknowledgement: u64::from_le_bytes(take(&mut rest)),
            checksum: u32::from_le_bytes(take(&mut rest)),
        }
    }

    /// Whether the header can be meant, before anything is kept for it.
    ///
    /// # Errors
    /// Data over the limit, more checked data than data, or flags that nobody agreed on.
    pub fn check(&self, max_data: u32) -> Result<(), DecodeError> {
        if self.data_size > max_data {
            return Err(DecodeError::TooLarge { size: self.data_size, limit: max_data });
        }
        if self.checked_size > self.data_size {
            return Err(DecodeError::BadCheckedSize { checked: self.checked_size, size: self.data_size });
        }
        if self.flags != 0 {
            return Err(DecodeError::UnknownFlags(self.flags));
        }
        Ok(())
    }
}

/// The checksum of a header of this version and of the data behind it.
pub(super) fn checksum(header: &[u8; DataHeader::WIRE_LEN], data: &[u8]) -> u32 {
    // Small data is put behind the header first: to begin once more costs more than to copy it.
    let mut joined = [0; 128];
    let end = CHECKSUM_AT + data.len();
    let Some(room) = joined.get_mut(CHECKSUM_AT..end) else {
        let mut crc = header_crc(header);
        crc.update(data);
        return crc.finalize();
    };
    room.copy_from_slice(data);
    joined[..CHECKSUM_AT].copy_from_slice(&header[..CHECKSUM_AT]);
    crc32fast::hash(&joined[..end])
}

/// The checksum so far, of a header with `headersize` and all its further fields; the checked data follows.
pub(super) fn header_crc(header: &[u8]) -> Hasher {
    let mut crc = Hasher::new();
    crc.update(header.get(..CHECKSUM_AT).unwrap_or_default());
    if let Some(further) = header.get(DataHeader::WIRE_LEN..).filter(|further| !further.is_empty()) {
        crc.update(further);
    }
    crc
}

/// The next `N` bytes; the caller's slice has a constant length that holds them all.
fn take<const N: usize>(rest: &mut &[u8]) -> [u8; N] {
    let (field, behind) = rest.split_first_chunk().unwrap_or((&[0; N], &[]));
    *rest = behind;
    *field
}
