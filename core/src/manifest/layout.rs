//! From bytes of the content to bytes of files.

use super::Manifest;
use alloc::vec::Vec;

/// Where each file's bytes stand in a tree's content: the part of the stream behind the manifest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    /// Every file that is not empty, in order: where its bytes end in the content, and its entry.
    files: Vec<(u64, usize)>,
}

/// A part of the content that lies within one file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    /// The file, by its place in [`Manifest::entries`].
    pub entry: usize,
    /// Where the part begins in the file.
    pub offset: u64,
    /// How long it is; never 0.
    pub len: u64,
}

impl Layout {
    /// Sums up a valid manifest's files once.
    pub fn new(manifest: &Manifest) -> Self {
        let mut end: u64 = 0;
        let sizes = manifest.entries.iter().map(super::Entry::content_len).enumerate();
        let files = sizes.filter(|&(_, size)| size > 0).map(|(entry, size)| {
            end = end.saturating_add(size);
            (end, entry)
        });
        Self { files: files.collect() }
    }

    /// The bytes of all files together.
    pub fn content_len(&self) -> u64 {
        self.files.last().map_or(0, |&(end, _)| end)
    }

    /// The parts of files that `len` bytes of content from `offset` on lie in, in order, without gaps; those behind the
    /// content's end are left out. Found in O(log n), then one step a file. Empty files have no part.
    pub fn segments(&self, offset: u64, len: u64) -> impl Iterator<Item = Segment> + '_ {
        let stop = offset.saturating_add(len);
        let first = self.files.partition_point(|&(end, _)| end <= offset);
        let mut start =
            first.checked_sub(1).and_then(|before| self.files.get(before)).map_or(0, |&(end, _)| end);
        let mut at = offset;
        self.files.iter().skip(first).map_while(move |&(end, entry)| {
            let part_end = end.min(stop);
            let part_len = part_end.checked_sub(at).filter(|&len| len > 0)?;
            let segment = Segment { entry, offset: at - start, len: part_len };
            (start, at) = (end, part_end);
            Some(segment)
        })
    }
}
