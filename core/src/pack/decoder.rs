//! From bytes in any pieces to packs.

use super::header::{SIZE_FIELD, checksum, header_crc};
use super::rope::Rope;
use super::{DataHeader, DataPack};
use alloc::vec::Vec;
use bytes::{Buf, Bytes};
use core::fmt;
use crc32fast::Hasher;
use serde::{Deserialize, Serialize};

/// Least and most bytes that [`Decoder::wanted`] asks for.
const WANTED: (usize, usize) = (64 << 10, 1 << 20);

/// The peer's fault; the stream cannot be read on, so each later call answers the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum DecodeError {
    /// The stream does not go on with a header: a `headersize` below [`DataHeader::SIZE`] or above
    /// [`DataHeader::MAX_SIZE`].
    BadHeaderSize {
        /// The two bytes that stand there.
        first: [u8; 2],
    },
    /// More data than we take.
    TooLarge {
        /// What the header says.
        size: u32,
        /// What we take.
        limit: u32,
    },
    /// More checked data than data.
    BadCheckedSize {
        /// What the header says is checked.
        checked: u32,
        /// What the header says there is.
        size: u32,
    },
    /// Flags that the negotiated version does not have.
    UnknownFlags(u16),
    /// The checksum is another: some bit of the header or of the checked data has changed.
    Checksum,
}

impl DecodeError {
    /// What the peer seems to speak instead, by the first bytes it sent: "HTTP", "TLS", "SSH", or nothing.
    ///
    /// Two bytes are enough: all of these are nonsense as a `headersize`. Means something only for a stream's first pack.
    pub fn hint(&self) -> &'static str {
        let Self::BadHeaderSize { first } = self else { return "" };
        match first {
            // Requests by their method (PRI opens HTTP/2), answers by "HTTP/1.1".
            b"GE" | b"HE" | b"PO" | b"PU" | b"DE" | b"CO" | b"OP" | b"TR" | b"PA" | b"PR" | b"HT" => "HTTP",
            // A record of type 20 to 23, version 3.x.
            [20..=23, 3] => "TLS",
            b"SS" => "SSH",
            _ => "",
        }
    }
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::BadHeaderSize { first } => {
                write!(f, "a header of {} bytes", u16::from_le_bytes(first))
            }
            Self::TooLarge { size, limit } => {
                write!(f, "{size} bytes of data in one pack, {limit} are taken")
            }
            Self::BadCheckedSize { checked, size } => {
                write!(f, "{checked} checked bytes among {size} bytes of data")
            }
            Self::UnknownFlags(flags) => write!(f, "unknown flags {flags:#06x}"),
            Self::Checksum => f.write_str("the checksum does not match"),
        }
    }
}

impl core::error::Error for DecodeError {}

/// What the decoder waits for.
#[derive(Clone, Debug, Hash, Serialize, Deserialize)]
enum Stage {
    /// The header's size.
    Size,
    /// The header, of this size without the size field.
    Header(usize),
    /// The checked data behind this header; the checksum so far is the header's.
    Head(DataHeader, u32),
    /// The bulk behind this header and checked data.
    Bulk(DataHeader, Bytes),
    /// Nothing, ever.
    Failed(DecodeError),
}

/// Cuts a stream into packs, however it comes in pieces.
///
/// Feed it what has come, then take packs until there is none: it then holds at most one unfinished pack, so no more than
/// `2 + 512 + max_data` bytes. Pieces that it holds are kept as they came, or joined if they are short; the memory for
/// them is at most twice their bytes, 64 KiB, and whatever larger buffers the received pieces are part of. Nothing is
/// allocated on a header's word: a size over the limit is refused, and below it only bytes that have come take room.
///
/// `head` is a part of the piece that it came in, copied together only where it lies in several; `bulk` is always the
/// pieces themselves.
#[derive(Clone, Debug, Hash, Serialize, Deserialize)]
pub struct Decoder {
    max_data: u32,
    received: Rope,
    stage: Stage,
}

impl Decoder {
    /// At the start of a stream; packs with more than `max_data` bytes of data are refused.
    pub fn new(max_data: u32) -> Self {
        Self { max_data, received: Rope::default(), stage: Stage::Size }
    }

    /// Another limit, for the headers that are read from now on.
    pub fn set_max_data(&mut self, max_data: u32) {
        self.max_data = max_data;
    }

    /// Takes bytes that have come. After an error they are dropped.
    pub fn feed(&mut self, bytes: Bytes) {
        if !matches!(self.stage, Stage::Failed(_)) {
            self.received.push(bytes);
        }
    }

    /// The next pack, once it is complete.
    ///
    /// # Errors
    /// The stream is broken; every further call answers the same.
    // Not an iterator: `None` means "not yet".
    #[allow(clippy::should_implement_trait)]
    pub fn next(&mut self) -> Result<Option<DataPack>, DecodeError> {
        self.step().inspect_err(|&error| {
            self.stage = Stage::Failed(error);
            self.received = Rope::default();
        })
    }

    /// How many bytes to read next: to the end of the pack under way, within 64 KiB and 1 MiB.
    pub fn wanted(&self) -> usize {
        let missing = match &self.stage {
            Stage::Size | Stage::Header(_) | Stage::Failed(_) => 0,
            Stage::Head(header, _) => to_usize(header.data_size),
            Stage::Bulk(header, head) => to_usize(header.data_size).saturating_sub(head.len()),
        };
        missing.saturating_sub(self.received.len()).clamp(WANTED.0, WANTED.1)
    }

    /// Bytes that have come and belong to no pack that was taken: none at a border between packs.
    pub fn buffered(&self) -> usize {
        let begun = match &self.stage {
            Stage::Size | Stage::Header(_) | Stage::Failed(_) => 0,
            Stage::Head(..) => DataHeader::WIRE_LEN,
            Stage::Bulk(_, head) => DataHeader::WIRE_LEN + head.len(),
        };
        begun + self.received.len()
    }

    /// Goes from stage to stage while there are bytes for it.
    fn step(&mut self) -> Result<Option<DataPack>, DecodeError> {
        if let Stage::Size = self.stage
            && let Some(pack) = self.whole()?
        {
            return Ok(Some(pack));
        }
        loop {
            let next = match &self.stage {
                Stage::Size => self.read_size()?,
                Stage::Header(size) => self.read_header(*size)?,
                Stage::Head(header, crc) => self.read_head(*header, *crc)?,
                Stage::Bulk(header, head) => {
                    let bulk = to_usize(header.data_size).saturating_sub(head.len());
                    if self.received.len() < bulk {
                        return Ok(None);
                    }
                    let pack = DataPack {
                        pack_type: header.pack_type,
                        sequence: header.sequence,
                        acknowledgement: header.acknowledgement,
                        head: head.clone(),
                        bulk: self.received.take_pieces(bulk),
                    };
                    self.stage = Stage::Size;
                    return Ok(Some(pack));
                }
                Stage::Failed(error) => return Err(*error),
            };
            match next {
                Some(stage) => self.stage = stage,
                None => return Ok(None),
            }
        }
    }

    /// The next pack if all of it lies in one piece, has this version's header and no bulk, as most messages do: what the
    /// stages below would answer, in one look.
    fn whole(&mut self) -> Result<Option<DataPack>, DecodeError> {
        let front = self.received.front();
        let Some(known) = front.first_chunk::<{ DataHeader::WIRE_LEN }>() else { return Ok(None) };
        if known[..SIZE_FIELD] != DataHeader::SIZE.to_le_bytes() {
            return Ok(None);
        }
        let header = DataHeader::from_bytes(known);
        header.check(self.max_data)?;
        let end = DataHeader::WIRE_LEN + to_usize(header.data_size);
        let Some(data) = front.get(DataHeader::WIRE_LEN..end) else { return Ok(None) };
        if header.checked_size != header.data_size {
            return Ok(None);
        }
        if checksum(known, data) != header.checksum {
            return Err(DecodeError::Checksum);
        }
        let mut head = self.received.take_front(end);
        head.advance(DataHeader::WIRE_LEN);
        Ok(Some(DataPack {
            pack_type: header.pack_type,
            sequence: header.sequence,
            acknowledgement: header.acknowledgement,
            head,
            bulk: Vec::new(),
        }))
    }

    fn read_size(&self) -> Result<Option<Stage>, DecodeError> {
        let mut first = [0; SIZE_FIELD];
        if !self.received.peek(&mut first) {
            return Ok(None);
        }
        let size = u16::from_le_bytes(first);
        if !(DataHeader::SIZE..=DataHeader::MAX_SIZE).contains(&size) {
            return Err(DecodeError::BadHeaderSize { first });
        }
        Ok(Some(Stage::Header(usize::from(size))))
    }

    fn read_header(&mut self, size: usize) -> Result<Option<Stage>, DecodeError> {
        let mut known = [0; DataHeader::WIRE_LEN];
        if !self.received.peek(&mut known) {
            return Ok(None);
        }
        // Judged before a newer peer's further fields have come, and before anything is kept for the data.
        let header = DataHeader::from_bytes(&known);
        header.check(self.max_data)?;
        let mut all = [0; SIZE_FIELD + DataHeader::MAX_SIZE as usize];
        let all = &mut all[..SIZE_FIELD + size];
        if !self.received.peek(all) {
            return Ok(None);
        }
        self.received.skip(all.len());
        Ok(Some(Stage::Head(header, header_crc(all).finalize())))
    }

    /// The checked data: judged as soon as it is here, however much bulk is still to come.
    fn read_head(&mut self, header: DataHeader, so_far: u32) -> Result<Option<Stage>, DecodeError> {
        let checked = to_usize(header.checked_size);
        if self.received.len() < checked {
            return Ok(None);
        }
        let head = self.received.take_joined(checked);
        let mut crc = Hasher::new_with_initial(so_far);
        crc.update(&head);
        if crc.finalize() != header.checksum {
            return Err(DecodeError::Checksum);
        }
        Ok(Some(Stage::Bulk(header, head)))
    }
}

/// Sizes on the wire are 32 bits; a `usize` that is smaller could not hold the data anyway.
fn to_usize(size: u32) -> usize {
    usize::try_from(size).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pack::{PackType, encode_into};
    use bytes::BytesMut;

    fn wire(pack: &DataPack) -> Bytes {
        let mut buffer = BytesMut::new();
        encode_into(pack, &mut buffer).unwrap();
        buffer.freeze()
    }

    fn bulk_pack(head: usize, bulk: &[usize]) -> DataPack {
        let mut pack = DataPack::new(PackType(129), std::vec![7; head]);
        pack.bulk = bulk.iter().map(|n| Bytes::from(std::vec![9; *n])).collect();
        pack
    }

    #[test]
    fn a_pack_within_one_piece_is_not_copied() {
        let piece = wire(&bulk_pack(100, &[50]));
        let range = piece.as_ptr() as usize..piece.as_ptr() as usize + piece.len();
        let mut decoder = Decoder::new(1000);
        decoder.feed(piece);
        let pack = decoder.next().unwrap().unwrap();
        assert!(range.contains(&(pack.head.as_ptr() as usize)));
        assert!(range.contains(&(pack.bulk[0].as_ptr() as usize)));
        assert_eq!(decoder.buffered(), 0);
    }

    #[test]
    fn bulk_stays_in_the_pieces_it_came_in() {
        let whole = wire(&bulk_pack(10, &[25_000]));
        let mut decoder = Decoder::new(1 << 20);
        let cuts = [0, 50, 8_000, 16_000, whole.len()];
        for cut in cuts.windows(2) {
            decoder.feed(whole.slice(cut[0]..cut[1]));
        }
        let pack = decoder.next().unwrap().unwrap();
        let starts: Vec<_> = pack.bulk.iter().map(|piece| piece.as_ptr() as usize).collect();
        let base = whole.as_ptr() as usize;
        assert_eq!(starts, [base + 44, base + 50, base + 8_000, base + 16_000]);
    }

    #[test]
    fn single_bytes_are_joined_and_not_kept_one_by_one() {
        let whole = wire(&bulk_pack(10, &[200_000]));
        let mut decoder = Decoder::new(1 << 20);
        for byte in whole.iter() {
            assert_eq!(decoder.next(), Ok(None));
            decoder.feed(Bytes::copy_from_slice(&[*byte]));
        }
        let pack = decoder.next().unwrap().unwrap();
        assert!(pack.bulk.len() <= 5, "{} pieces", pack.bulk.len());
        assert_eq!(pack.data_len(), 200_010);
    }

    #[test]
    fn wanted_reaches_to_the_end_of_the_pack_under_way() {
        let whole = wire(&bulk_pack(10, &[3 << 20]));
        let mut decoder = Decoder::new(4 << 20);
        assert_eq!(decoder.wanted(), 64 << 10);
        decoder.feed(whole.slice(..100));
        assert_eq!(decoder.next(), Ok(None));
        assert_eq!(decoder.wanted(), 1 << 20);
        decoder.feed(whole.slice(100..whole.len() - 100_000));
        assert_eq!(decoder.next(), Ok(None));
        assert_eq!(decoder.wanted(), 100_000);
        decoder.feed(whole.slice(whole.len() - 100_000..whole.len() - 1));
        assert_eq!(decoder.next(), Ok(None));
        assert_eq!(decoder.wanted(), 64 << 10);
        assert_eq!(decoder.buffered(), whole.len() - 1);
    }

    #[test]
    fn an_error_is_repeated_and_holds_nothing() {
        let mut decoder = Decoder::new(1000);
        decoder.feed(Bytes::from_static(b"HTTP/1.1 400 Bad Request\r\n"));
        let error = DecodeError::BadHeaderSize { first: *b"HT" };
        assert_eq!(error.hint(), "HTTP");
        assert_eq!(decoder.next(), Err(error));
        assert_eq!(decoder.buffered(), 0);
        decoder.feed(wire(&bulk_pack(10, &[])));
        assert_eq!(decoder.buffered(), 0);
        assert_eq!(decoder.next(), Err(error));
    }

    #[test]
    fn what_else_may_speak_there_is_recognised() {
        let hint = |text: &[u8; 2]| DecodeError::BadHeaderSize { first: *text }.hint();
        assert_eq!(hint(b"GE"), "HTTP");
        assert_eq!(hint(&[22, 3]), "TLS");
        assert_eq!(hint(&[21, 3]), "TLS");
        assert_eq!(hint(b"SS"), "SSH");
        assert_eq!(hint(b"22"), "");
        assert_eq!(DecodeError::Checksum.hint(), "");
    }
}
