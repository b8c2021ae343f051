//! Blocks as they are read: their memory, their hashes.

use crate::alarm::lock;
use bytes::{Bytes, BytesMut};
use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::sync::Mutex;
use xxnet_core::disk::{BLOCK, Hash};

/// Memory of blocks that is remembered for use again.
const KEEP: usize = 12;
/// Below this, memory of the right size is taken instead.
const WORTH_KEEPING: usize = 256 << 10;

/// Memory for blocks: used again once the block's last reader has dropped it, so that a long transfer neither asks the
/// system for pages nor has them zeroed, time and again.
#[derive(Debug, Default)]
pub(super) struct Blocks {
    spent: Mutex<Vec<BytesMut>>,
}

impl Blocks {
    /// Empty memory with room for `len` bytes, at most a block's.
    pub(super) fn take(&self, len: usize) -> BytesMut {
        if len < WORTH_KEEPING {
            return BytesMut::with_capacity(len);
        }
        let mut spent = lock(&self.spent);
        let free = spent.iter_mut().position(|memory| memory.try_reclaim(BLOCK as usize));
        match free {
            Some(index) => spent.swap_remove(index),
            None => BytesMut::with_capacity(BLOCK as usize),
        }
    }

    /// The filled part, to be handed on; the memory behind it is remembered.
    pub(super) fn freeze(&self, mut memory: BytesMut) -> Bytes {
        let bytes = memory.split().freeze();
        if bytes.len() >= WORTH_KEEPING {
            let mut spent = lock(&self.spent);
            if spent.len() >= KEEP {
                spent.remove(0);
            }
            spent.push(memory);
        }
        bytes
    }
}

/// Appends `len` bytes of a file from `offset` on. `UnexpectedEof` if the file is shorter.
pub(super) fn read_at(file: &File, into: &mut BytesMut, mut len: usize, mut offset: u64) -> io::Result<()> {
    while len > 0 {
        let at = libc::off_t::try_from(offset).map_err(|_| io::Error::from_raw_os_error(libc::EFBIG))?;
        let spare = into.spare_capacity_mut();
        let room = spare.len().min(len);
        // SAFETY: the memory has room for as many bytes as are stated.
        let got = unsafe { libc::pread(file.as_raw_fd(), spare.as_mut_ptr().cast(), room, at) };
        match usize::try_from(got) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(got) => {
                // SAFETY: the system has just written them.
                unsafe { into.set_len(into.len() + got) };
                len -= got;
                offset += got as u64;
            }
            Err(_) => match io::Error::last_os_error() {
                error if error.kind() == io::ErrorKind::Interrupted => {}
                error => return Err(error),
            },
        }
    }
    Ok(())
}

/// Writes all of `pieces` to a file from `offset` on.
pub(super) fn write_at(file: &File, pieces: &[Bytes], mut offset: u64) -> io::Result<()> {
    /// Pieces in one system call.
    const MOST: usize = 64;
    let mut first = 0;
    // Bytes of the first piece that are written already.
    let mut skip = 0;
    while first < pieces.len() {
        let at = libc::off_t::try_from(offset).map_err(|_| io::Error::from_raw_os_error(libc::EFBIG))?;
        let mut slices = [libc::iovec { iov_base: std::ptr::null_mut(), iov_len: 0 }; MOST];
        let mut count = 0;
        for (slice, piece) in slices.iter_mut().zip(&pieces[first..]) {
            let part = &piece[if count == 0 { skip } else { 0 }..];
            *slice = libc::iovec { iov_base: part.as_ptr().cast_mut().cast(), iov_len: part.len() };
            count += 1;
        }
        // SAFETY: the slices lie in `pieces`, which outlives the call and is only read.
        let wrote = unsafe { libc::pwritev(file.as_raw_fd(), slices.as_ptr(), count, at) };
        let Ok(mut wrote) = usize::try_from(wrote) else {
            match io::Error::last_os_error() {
                error if error.kind() == io::ErrorKind::Interrupted => continue,
                error => return Err(error),
            }
        };
        if wrote == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        offset += wrote as u64;
        wrote += skip;
        while let Some(piece) = pieces.get(first).filter(|piece| piece.len() <= wrote) {
            wrote -= piece.len();
            first += 1;
        }
        skip = wrote;
    }
    Ok(())
}

/// The hash of a block in pieces.
pub(super) fn hash_of<'a>(pieces: impl IntoIterator<Item = &'a Bytes>) -> Hash {
    let mut hasher = blake3::Hasher::new();
    for piece in pieces {
        hasher.update(piece);
    }
    Hash(*hasher.finalize().as_bytes())
}

/// The root hash over all blocks' hashes, in order.
pub(super) fn root_of<'a>(hashes: impl IntoIterator<Item = &'a Hash>) -> Hash {
    let mut hasher = blake3::Hasher::new();
    for hash in hashes {
        hasher.update(&hash.0);
    }
    Hash(*hasher.finalize().as_bytes())
}

/// `len` bytes from `offset` on, of bytes in pieces; without copying any.
pub(super) fn slice(pieces: &[Bytes], mut offset: usize, mut len: usize) -> Vec<Bytes> {
    let mut part = Vec::new();
    for piece in pieces {
        if len == 0 {
            break;
        }
        if offset >= piece.len() {
            offset -= piece.len();
            continue;
        }
        let end = piece.len().min(offset + len);
        part.push(piece.slice(offset..end));
        len -= end - offset;
        offset = 0;
    }
    part
}

#[cfg(test)]
mod tests {
    use super::{Blocks, slice, write_at};
    use bytes::Bytes;
    use std::io::Read;

    #[test]
    fn slices_cut_anywhere_are_the_same_bytes() {
        let whole: Vec<u8> = (0..20).collect();
        let pieces: Vec<Bytes> =
            [0..5, 5..6, 6..6, 6..20].map(|r| Bytes::copy_from_slice(&whole[r])).to_vec();
        for start in 0..20 {
            for len in 0..=20 - start {
                let part = slice(&pieces, start, len).concat();
                assert_eq!(part, whole[start..start + len]);
            }
        }
    }

    #[test]
    fn many_pieces_are_written_whole() {
        let pieces: Vec<Bytes> = (0..300_u32).map(|n| Bytes::from(vec![n as u8; n as usize % 7])).collect();
        let mut file = tempfile::tempfile().unwrap();
        write_at(&file, &pieces, 3).unwrap();
        let mut read = Vec::new();
        file.read_to_end(&mut read).unwrap();
        assert_eq!(read[3..], pieces.concat());
    }

    #[test]
    fn memory_is_used_again_only_after_its_block_is_dropped() {
        let blocks = Blocks::default();
        let fill = |byte| {
            let mut memory = blocks.take(1 << 20);
            memory.resize(1 << 20, byte);
            blocks.freeze(memory)
        };
        let (first, second) = (fill(1), fill(2));
        assert_ne!(first.as_ptr(), second.as_ptr());
        let place = first.as_ptr();
        drop(first);
        assert_eq!(fill(3).as_ptr(), place);
        assert!(second.iter().all(|byte| *byte == 2));
    }
}
