//! Blocks that outlive their attempt, and their process: of a large input that did not come whole, for the next one who receives
//! the same state of the same source of the same publisher (ledger F10).
//!
//! ```text
//! WORK/xxnet-…/.xxnet-part-…/   a tree on its way in
//!        │ ▲        tree          the staged tree
//!        │ │        journal       which content it is, its manifest, and the hash of each block that is written
//!        ▼ │
//! WORK/kept/NAME/               the same, of nobody: NAME is the content's
//! ```
//!
//! It changes hands by a rename, so that one alone gets it. Blocks are believed only once they were read and hashed anew: a process
//! that is killed leaves what it has written, a host that crashes may not.

use super::blocks::hash_of;
use crate::fs::{Dir, path_of, random_name, remove_tree};
use bytes::Bytes;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::Path;
use std::time::{Duration, SystemTime};
use xxnet_core::InstanceId;
use xxnet_core::disk::{Hash, Origin};

/// What a tree's folder is called in the work directory, before 16 hex digits.
const PART: &str = ".xxnet-part-";
/// The staged tree in it.
pub(super) const TREE: &[u8] = b"tree";
const JOURNAL: &[u8] = b"journal";
const NEW: &[u8] = b"journal.new";
/// What is being removed, and is nobody's any more.
const GONE: &str = "gone-";
const MAGIC: &[u8; 16] = b"xxnet kept 1\n\0\0\0";
/// A block's number and its hash.
const RECORD: usize = 8 + 32;

/// What is kept at most: whole streams are counted, since their space may be taken already.
const MOST: u64 = 16 << 30;
/// For so long at most, from the last block on.
const LONGEST: Duration = Duration::from_secs(3600);

/// Which content a tree is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Content {
    pub(super) origin: Origin,
    pub(super) stream_len: u64,
    pub(super) manifest_len: u64,
}

/// The folder of a tree that may be kept.
#[derive(Debug)]
pub(super) struct Part {
    content: Content,
    work: Dir,
    name: Vec<u8>,
    /// The folder itself.
    pub(super) dir: Dir,
    /// Written from the manifest on; none if it cannot be, for then nothing is kept.
    journal: Option<File>,
}

/// What a journal says.
#[derive(Debug)]
pub(super) struct Journal {
    pub(super) manifest: Bytes,
    pub(super) hashes: BTreeMap<u64, Hash>,
}

impl Content {
    fn header(&self) -> Vec<u8> {
        let numbers = [self.origin.stamp, self.stream_len, self.manifest_len];
        let numbers = numbers.iter().flat_map(|number| number.to_le_bytes());
        MAGIC.iter().copied().chain(self.origin.publisher.0).chain(numbers).collect()
    }

    fn read(file: &mut File) -> Option<Self> {
        let mut header = [0; 16 + 16 + 3 * 8];
        file.read_exact(&mut header).ok()?;
        let number = |at: usize| header[at..].first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes));
        let publisher = InstanceId(*header[16..].first_chunk()?);
        let origin = Origin { publisher, stamp: number(32) };
        let content = Self { origin, stream_len: number(40), manifest_len: number(48) };
        header.starts_with(MAGIC).then_some(content)
    }

    fn name(&self) -> Vec<u8> {
        let header = Bytes::from(self.header());
        let hex = hash_of([&header]).0.iter().take(16).map(|byte| format!("{byte:02x}")).collect::<String>();
        hex.into_bytes()
    }
}

impl Part {
    /// The folder for a content that is about to be received: what was kept of it, or else a new one.
    pub(super) fn open(
        content: Content,
        work: Dir,
        kept: Option<&Path>,
    ) -> io::Result<(Self, Option<Journal>)> {
        let name = random_name(PART)?;
        let found = kept.and_then(|kept| {
            let all = Dir::at_path(kept).ok()?;
            all.rename(&content.name(), &work, &name).ok()?;
            tidy(kept);
            Some(())
        });
        if found.is_none() {
            work.make_dir(&name)?;
        }
        let dir = work.dir(&name)?;
        let journal = found.and_then(|()| {
            let mut file = dir.read(JOURNAL).ok()?;
            (Content::read(&mut file)? == content).then_some(())?;
            Journal::read(file, content.manifest_len)
        });
        Ok((Self { content, work, name, dir, journal: None }, journal))
    }

    /// The manifest is there, and these blocks are: from now on the part is of use to others.
    pub(super) fn begin<'a>(&mut self, manifest: &[u8], hashes: impl IntoIterator<Item = (u64, &'a Hash)>) {
        let mut bytes = self.content.header();
        bytes.extend_from_slice(manifest);
        hashes.into_iter().for_each(|(index, hash)| bytes.extend_from_slice(&record(index, *hash)));
        // Over the old one, which holds until the new one is whole.
        let _ = self.dir.unlink(NEW);
        let written = self.dir.create(NEW).and_then(|mut file| {
            file.write_all(&bytes)?;
            self.dir.rename(NEW, &self.dir, JOURNAL)?;
            Ok(file)
        });
        self.journal = written.ok();
    }

    /// A block is verified and written.
    pub(super) fn wrote(&mut self, index: u64, hash: Hash) {
        let written = self.journal.as_mut().map(|file| file.write_all(&record(index, hash)));
        if let Some(Err(_)) = written {
            self.forget();
        }
    }

    /// From now on the tree is not what the journal says.
    pub(super) fn forget(&mut self) {
        self.journal = None;
        let _ = self.dir.unlink(JOURNAL);
    }

    /// Removes it, or leaves it to the next one.
    pub(super) fn close(&mut self, keep: Option<&Path>) -> io::Result<()> {
        if let Some(kept) = keep.filter(|_| self.journal.is_some()) {
            put(&self.work, &self.name, &self.content, kept);
        }
        remove_tree(&self.work, &self.name)
    }
}

impl Journal {
    /// Whatever stands behind the header; of a record that was not written whole nothing is taken.
    fn read(mut file: File, manifest_len: u64) -> Option<Self> {
        let mut manifest = vec![0; usize::try_from(manifest_len).ok()?];
        file.read_exact(&mut manifest).ok()?;
        let mut records = Vec::new();
        file.read_to_end(&mut records).ok()?;
        let split = |record: &[u8]| {
            let (index, hash) = record.split_first_chunk()?;
            Some((u64::from_le_bytes(*index), Hash(*hash.first_chunk()?)))
        };
        let hashes = records.chunks_exact(RECORD).filter_map(split).collect();
        Some(Self { manifest: manifest.into(), hashes })
    }
}

fn record(index: u64, hash: Hash) -> Vec<u8> {
    [&index.to_le_bytes()[..], &hash.0].concat()
}

/// Saves from a dead executor's work directory what is of use to the next one.
pub(crate) fn save(work: &Dir, kept: &Path) {
    for name in work.names().unwrap_or_default() {
        if !name.starts_with(PART.as_bytes()) {
            continue;
        }
        let journal = work.dir(&name).and_then(|dir| dir.read(JOURNAL));
        if let Some(content) = journal.ok().as_mut().and_then(Content::read) {
            put(work, &name, &content, kept);
        }
    }
}

/// What cannot be put there is lost, which nobody needs to know.
fn put(work: &Dir, name: &[u8], content: &Content, kept: &Path) {
    let Some(parent) = kept.parent().and_then(|parent| Dir::at_path(parent).ok()) else { return };
    let _ = kept.file_name().map(|name| parent.make_dir(name.as_encoded_bytes()));
    let Ok(all) = Dir::at_path(kept) else { return };
    // An older one of the same content gives way.
    take_away(&all, &content.name());
    let _ = work.rename(name, &all, &content.name());
    tidy(kept);
}

/// Removes what is too old, and the oldest of what is too much. Says how long it is until the next is too old, if any is left.
pub(crate) fn tidy(kept: &Path) -> Option<Duration> {
    tidy_to(kept, MOST, LONGEST)
}

/// Removes everything: its space is needed.
pub(super) fn clear(kept: &Path) {
    tidy_to(kept, 0, LONGEST);
}

pub(super) fn tidy_to(kept: &Path, most: u64, longest: Duration) -> Option<Duration> {
    let all = Dir::at_path(kept).ok()?;
    let now = SystemTime::now();
    let mut there = Vec::new();
    for name in all.names().unwrap_or_default() {
        let journal = all.dir(&name).and_then(|dir| dir.read(JOURNAL));
        let known = journal.ok().and_then(|mut file| {
            let since = file.metadata().and_then(|data| data.modified()).ok()?;
            let age = now.duration_since(since).unwrap_or_default();
            Some((age, Content::read(&mut file)?.stream_len, name.clone()))
        });
        match known.filter(|(age, ..)| *age < longest) {
            Some(known) => there.push(known),
            None => take_away(&all, &name),
        }
    }
    there.sort_unstable();
    let (mut sum, mut oldest) = (0_u64, None);
    for (age, size, name) in there {
        sum = sum.saturating_add(size);
        if sum > most {
            take_away(&all, &name);
        } else {
            oldest = Some(age);
        }
    }
    // Gone with the last one, if that was the last.
    if let (Some(parent), Some(name)) = (kept.parent(), kept.file_name()) {
        let _ = Dir::at_path(parent).and_then(|parent| parent.remove_dir(name.as_encoded_bytes()));
    }
    oldest.map(|age| longest.saturating_sub(age))
}

/// Renamed first: whoever takes it up at this moment has it whole or not at all.
fn take_away(all: &Dir, name: &[u8]) {
    let Ok(gone) = random_name(GONE) else { return };
    if all.rename(name, all, &gone).is_ok() {
        let _ = remove_tree(all, &gone);
    }
}

/// Where the kept blocks of a work folder are.
pub(crate) fn place(work: &Path) -> std::path::PathBuf {
    work.join(path_of(b"kept"))
}
