//! Memory for bytes that come in: shared, handed on without a copy, and used again.

use bytes::{Bytes, BytesMut};
use std::io;
use std::mem::MaybeUninit;

/// Large pieces of memory from which received bytes are split off. A chunk whose bytes have all been dropped is used
/// again, so that a bulk transfer neither asks the system for pages nor has them zeroed, time and again.
#[derive(Debug)]
pub(crate) struct Chunks {
    size: usize,
    /// The one that is being filled; empty until the first byte comes.
    current: BytesMut,
    /// Spent ones, whose bytes may still be in use.
    spent: Vec<BytesMut>,
    keep: usize,
}

impl Chunks {
    /// Chunks of `size` bytes; at most `keep` spent ones are remembered.
    pub(crate) fn new(size: usize, keep: usize) -> Self {
        Self { size, current: BytesMut::new(), spent: Vec::new(), keep }
    }

    /// Offers between 1 and `max` bytes of memory to `fill`, which says how many it has filled; these are returned.
    /// Up to `copied` bytes are copied out, so that a small message does not keep a whole chunk in memory.
    ///
    /// # Safety
    /// `fill` must have written as many bytes as it says, from the start.
    pub(crate) unsafe fn fill(
        &mut self,
        max: usize,
        copied: usize,
        fill: impl FnOnce(&mut [MaybeUninit<u8>]) -> io::Result<usize>,
    ) -> io::Result<(Bytes, bool)> {
        self.make_room(max);
        let spare = self.current.spare_capacity_mut();
        let offered = spare.len().min(max);
        let filled = fill(&mut spare[..offered])?;
        let all = filled == offered;
        debug_assert!(filled <= offered && self.current.is_empty());
        // SAFETY: `fill` has written this many bytes behind the current length, which is 0.
        unsafe { self.current.set_len(filled) };
        let bytes = if filled <= copied {
            let bytes = Bytes::copy_from_slice(&self.current);
            self.current.clear();
            bytes
        } else {
            self.current.split().freeze()
        };
        Ok((bytes, all))
    }

    /// A chunk with room for `max` bytes, or for as many as are worth a system call.
    fn make_room(&mut self, max: usize) {
        if self.current.capacity() >= max.clamp(1, self.size / 4) {
            return;
        }
        let full = std::mem::take(&mut self.current);
        self.spent.push(full);
        let size = self.size;
        if let Some(index) = self.spent.iter_mut().position(|chunk| chunk.try_reclaim(size)) {
            self.current = self.spent.swap_remove(index);
        } else {
            self.current = BytesMut::with_capacity(size);
            if self.spent.len() > self.keep {
                self.spent.remove(0);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Chunks;
    use bytes::Bytes;

    fn put(chunks: &mut Chunks, max: usize, copied: usize, byte: u8) -> Bytes {
        // SAFETY: every offered byte is written.
        let filled = unsafe {
            chunks.fill(max, copied, |room| {
                room.iter_mut().for_each(|place| {
                    place.write(byte);
                });
                Ok(room.len())
            })
        };
        filled.expect("fill cannot fail here").0
    }

    #[test]
    fn splits_off_without_copying_and_never_twice() {
        let mut chunks = Chunks::new(1000, 4);
        let first = put(&mut chunks, 300, 0, 1);
        let second = put(&mut chunks, 300, 0, 2);
        assert_eq!(second.as_ptr() as usize, first.as_ptr() as usize + 300);
        assert!(first.iter().all(|b| *b == 1) && second.iter().all(|b| *b == 2));
    }

    #[test]
    fn small_reads_are_copied_out() {
        let mut chunks = Chunks::new(1000, 4);
        let small = put(&mut chunks, 10, 10, 1);
        let next = put(&mut chunks, 10, 10, 2);
        assert_eq!((&small[..], &next[..]), (&[1; 10][..], &[2; 10][..]));
        assert_eq!(chunks.current.capacity(), 1000);
    }

    #[test]
    fn a_dropped_chunk_is_used_again() {
        let mut chunks = Chunks::new(1000, 4);
        let place = put(&mut chunks, 1000, 0, 1).as_ptr();
        assert_eq!(put(&mut chunks, 1000, 0, 2).as_ptr(), place);
        let held = put(&mut chunks, 1000, 0, 3);
        assert_ne!(put(&mut chunks, 1000, 0, 4).as_ptr(), held.as_ptr());
        assert!(held.iter().all(|b| *b == 3));
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let mut chunks = Chunks::new(100, 4);
        let held: Vec<_> = (0..50).map(|byte| put(&mut chunks, 100, 0, byte)).collect();
        assert!(chunks.spent.len() <= 5, "{}", chunks.spent.len());
        assert!(held.iter().zip(0..).all(|(bytes, byte)| bytes.iter().all(|b| *b == byte)));
    }
}
