//! From packs to the buffers of one vectored write.

use super::{DataHeader, DataPack};
use alloc::vec::Vec;
use bytes::{Bytes, BytesMut};
use core::fmt;
use serde::{Deserialize, Serialize};

/// Shorter pieces are copied behind the header before them: one more buffer would cost more than the copy.
const COPY_BELOW: usize = 4 << 10;
/// A shared buffer that would grow over this is closed, so that no byte of a long batch is moved more than twice.
const SHARED_MAX: usize = 64 << 10;

/// The caller's fault: such a pack cannot be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EncodeError {
    /// The data is longer than a header can say (4 GiB).
    TooLarge {
        /// Its bytes.
        size: usize,
    },
}

impl fmt::Display for EncodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLarge { size } => write!(f, "{size} bytes of data do not fit into one pack"),
        }
    }
}

impl core::error::Error for EncodeError {}

/// A shared buffer that holds so much is made as large as it may become.
const GROWS_FROM: usize = 2 << 10;

/// Collects packs as buffers for one vectored write: headers and small data share a buffer, large heads and bulk pieces
/// are passed on without a copy.
#[derive(Clone, Debug, Default, Hash, Serialize, Deserialize)]
pub struct Encoder {
    closed: Vec<Bytes>,
    shared: BytesMut,
    len: usize,
}

impl Encoder {
    /// Nothing collected; holds no memory.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a pack behind those that were pushed before.
    ///
    /// # Errors
    /// [`EncodeError`]; nothing was added.
    pub fn push(&mut self, pack: &DataPack) -> Result<(), EncodeError> {
        self.push_with(pack, pack.acknowledgement)
    }

    /// As [`push`](Self::push), with another acknowledgement than the pack's own.
    pub(crate) fn push_with(&mut self, pack: &DataPack, acknowledgement: u64) -> Result<(), EncodeError> {
        let header = DataHeader::encoded(pack, acknowledgement)?;
        if self.shared.is_empty() && pack.head.len() < COPY_BELOW {
            // One that goes alone, as most do, is then one allocation of its own size.
            self.shared.reserve(header.len() + pack.head.len());
        }
        self.copy(&header);
        self.piece(&pack.head);
        pack.bulk.iter().for_each(|piece| self.piece(piece));
        Ok(())
    }

    /// Bytes collected.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether nothing is collected.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Takes what is collected, in order; no buffer is empty, and there is none if nothing was pushed.
    pub fn take(&mut self) -> Vec<Bytes> {
        self.close_shared();
        self.len = 0;
        core::mem::take(&mut self.closed)
    }

    fn piece(&mut self, bytes: &Bytes) {
        if bytes.len() < COPY_BELOW {
            self.copy(bytes);
        } else {
            self.close_shared();
            self.closed.push(bytes.clone());
            self.len += bytes.len();
        }
    }

    fn copy(&mut self, bytes: &[u8]) {
        if self.shared.len() + bytes.len() > SHARED_MAX {
            self.close_shared();
        }
        if self.shared.len() >= GROWS_FROM && self.shared.capacity() < SHARED_MAX {
            // Many are coming: grown once, and not by doubling.
            self.shared.reserve(SHARED_MAX - self.shared.len());
        }
        self.shared.extend_from_slice(bytes);
        self.len += bytes.len();
    }

    fn close_shared(&mut self) {
        if !self.shared.is_empty() {
            // No capacity is kept: an idle link must cost nothing.
            self.closed.push(core::mem::take(&mut self.shared).freeze());
        }
    }
}

/// One pack as buffers: a small one is a single buffer; a large head and the bulk pieces are not copied.
///
/// # Errors
/// As [`Encoder::push`].
pub fn encode(pack: &DataPack) -> Result<Vec<Bytes>, EncodeError> {
    let mut encoder = Encoder::new();
    encoder.push(pack)?;
    Ok(encoder.take())
}

/// Appends one pack to a buffer, bulk and all.
///
/// # Errors
/// As [`Encoder::push`]; nothing was appended.
pub fn encode_into(pack: &DataPack, buffer: &mut BytesMut) -> Result<(), EncodeError> {
    let header = DataHeader::of(pack)?;
    buffer.reserve(DataHeader::WIRE_LEN + pack.data_len());
    buffer.extend_from_slice(&header.to_bytes());
    buffer.extend_from_slice(&pack.head);
    pack.bulk.iter().for_each(|piece| buffer.extend_from_slice(piece));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pack::PackType;

    #[test]
    fn small_packs_share_one_buffer() {
        let mut encoder = Encoder::new();
        for n in 0..10_u8 {
            encoder.push(&DataPack::new(PackType(1), std::vec![n; 10])).unwrap();
        }
        assert_eq!(encoder.len(), 440);
        assert_eq!(encoder.take().len(), 1);
        assert!(encoder.is_empty() && encoder.take().is_empty());
    }

    #[test]
    fn large_pieces_are_passed_on_and_the_order_is_kept() {
        let large = Bytes::from(std::vec![1; COPY_BELOW]);
        let mut pack = DataPack::new(PackType(1), large.clone());
        pack.bulk = std::vec![Bytes::from_static(b"small"), large.clone(), Bytes::new()];
        let buffers = encode(&pack).unwrap();
        let lens: Vec<_> = buffers.iter().map(Bytes::len).collect();
        assert_eq!(lens, [DataHeader::WIRE_LEN, COPY_BELOW, 5, COPY_BELOW]);
        assert_eq!(buffers[1].as_ptr(), large.as_ptr());
        assert_eq!(buffers[3].as_ptr(), large.as_ptr());
        let mut joined = BytesMut::new();
        encode_into(&pack, &mut joined).unwrap();
        assert_eq!(buffers.concat(), joined);
    }

    #[test]
    fn a_long_batch_is_cut_into_buffers() {
        let mut encoder = Encoder::new();
        for _ in 0..200 {
            encoder.push(&DataPack::new(PackType(1), std::vec![0; 1000])).unwrap();
        }
        let buffers = encoder.take();
        assert!(buffers.len() > 1 && buffers.iter().all(|b| b.len() <= SHARED_MAX));
        assert_eq!(buffers.iter().map(Bytes::len).sum::<usize>(), 200 * 1034);
    }
}
