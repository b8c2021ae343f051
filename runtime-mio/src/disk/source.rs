//! A file or folder that is read as one stream.

use super::blocks::{Blocks, hash_of, read_at, root_of};
use super::error::{About, entry_name, scan_error, shown};
use super::folders::{Baseline, Folders};
use super::scan::{Found, scan};
use crate::alarm::lock;
use crate::fs::{Cursor, Dir, Kind, Stat, path_of};
use bytes::{BufMut, Bytes};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::OpenOptionsExt;
use std::sync::{Arc, Mutex};
use xxnet_core::disk::{BLOCK, DiskDone, FileError, FileErrorKind, Hash, Source};
use xxnet_core::manifest::{Entry, EntryKind, Layout, Manifest, clean_name};

/// Files of one tree that are held open.
const OPEN_FILES: usize = 16;

/// An open source: what was scanned does not change any more, and a file that does is noticed.
#[derive(Debug)]
pub(super) struct SourceTree {
    /// For people.
    name: String,
    manifest: Manifest,
    /// The state of each entry at the scan, in the manifest's order.
    stats: Vec<Stat>,
    encoded: Bytes,
    layout: Layout,
    stream_len: u64,
    stamp: u64,
    hashes: Mutex<Vec<Option<Hash>>>,
    files: Mutex<Files>,
}

/// The way to the files' bytes.
#[derive(Debug)]
enum Files {
    One(Arc<File>),
    Tree { cursor: Cursor, open: VecDeque<(usize, Arc<File>)> },
}

impl SourceTree {
    /// Scans a source.
    pub(super) fn open(source: Source, folders: &Folders) -> Result<Self, FileError> {
        match source {
            Source::Path { path } => {
                let name = shown(&path);
                let (stat, fd) = open_user_path(&path).about(|| name.clone())?;
                Self::from_root(name, stat, fd)
            }
            Source::Output { folder, name: raw } => {
                let label = shown(&raw);
                let escapes = |_| FileError::new(FileErrorKind::Escapes, label.clone());
                let clean = clean_name(&raw).map_err(escapes)?;
                let root = folders.open(folder).about(|| label.clone())?;
                if clean == b"." {
                    return Self::from_folder(label, root);
                }
                let opened = match root.open_inside(&clean) {
                    // A component of the name is a file: the output itself is not there.
                    Err(error) if error.raw_os_error() == Some(libc::ENOTDIR) => {
                        Err(io::Error::from_raw_os_error(libc::ENOENT))
                    }
                    opened => opened,
                };
                let (stat, fd) = opened.about(|| label.clone())?;
                Self::from_root(label, stat, fd)
            }
            Source::Changes { folder } => {
                let root = folders.open(folder).about(|| ".".into())?;
                let found = scan(root.try_clone().about(|| ".".into())?, ".")?;
                let changed = changes(found, &folders.baseline(folder));
                Self::from_entries(".".into(), changed, tree_files(root))
            }
        }
    }

    fn from_root(name: String, stat: Stat, fd: Option<OwnedFd>) -> Result<Self, FileError> {
        match (stat.kind, fd) {
            (Kind::File, Some(fd)) => {
                let root = Found::new(Vec::new(), stat);
                Self::from_entries(name, vec![root], Files::One(Arc::new(fd.into())))
            }
            (Kind::Folder, Some(fd)) => Self::from_folder(name, Dir::of(fd)),
            _ => Err(FileError::new(FileErrorKind::Special, name)),
        }
    }

    fn from_folder(name: String, root: Dir) -> Result<Self, FileError> {
        let found = scan(root.try_clone().about(|| name.clone())?, &name)?;
        Self::from_entries(name, found, tree_files(root))
    }

    fn from_entries(name: String, found: Vec<Found>, files: Files) -> Result<Self, FileError> {
        let (entries, stats): (Vec<Entry>, Vec<Stat>) =
            found.into_iter().map(|found| (found.entry, found.stat)).unzip();
        let paths: Vec<Vec<u8>> = entries.iter().map(|entry| entry.path.clone()).collect();
        let refused = |error| scan_error(error, &name, |index| paths.get(index).map(Vec::as_slice));
        let manifest = Manifest::new(entries).map_err(refused)?;
        let encoded = Bytes::from(manifest.encode().map_err(refused)?);
        let layout = manifest.layout();
        let stream_len = encoded.len() as u64 + layout.content_len();
        let stamp = stamp(&encoded, &stats);
        let files = Mutex::new(files);
        Ok(Self {
            name,
            manifest,
            stats,
            encoded,
            layout,
            stream_len,
            stamp,
            hashes: Mutex::default(),
            files,
        })
    }

    /// What the machine is told of it.
    pub(super) fn opened(&self) -> DiskDone {
        let (stream_len, manifest_len) = (self.stream_len, self.encoded.len() as u64);
        DiskDone::Opened { stream_len, manifest_len, stamp: self.stamp }
    }

    /// The state of a path when it was scanned.
    pub(super) fn state_of(&self, path: &[u8]) -> Option<&Stat> {
        let entries = &self.manifest.entries;
        let at = entries.binary_search_by(|entry| entry.path.as_slice().cmp(path)).ok()?;
        self.stats.get(at)
    }

    /// Reads and hashes a block.
    pub(super) fn read_block(&self, index: u64, blocks: &Blocks) -> Result<(Bytes, Hash), FileError> {
        let start = index.checked_mul(BLOCK).filter(|start| *start < self.stream_len);
        let Some(start) = start else {
            return Err(FileError::new(FileErrorKind::Mismatch, self.name.clone()));
        };
        let len = BLOCK.min(self.stream_len - start) as usize;
        let mut memory = blocks.take(len);
        let manifest_len = self.encoded.len() as u64;
        if start < manifest_len {
            let part = &self.encoded[start as usize..];
            memory.put_slice(&part[..part.len().min(len)]);
        }
        let content = (start + memory.len() as u64).saturating_sub(manifest_len);
        let rest = (len - memory.len()) as u64;
        for segment in self.layout.segments(content, rest) {
            let about = || entry_name(&self.name, &self.manifest, segment.entry);
            let file = self.file(segment.entry, segment.offset + segment.len).about(about)?;
            let read = read_at(&file, &mut memory, segment.len as usize, segment.offset);
            // Looked at after the read: what was read is what was scanned (ledger F9).
            let same = Stat::of(&*file).about(about)? == self.stats[segment.entry];
            if !same {
                return Err(FileError::new(FileErrorKind::Changed, about()));
            }
            read.about(about)?;
        }
        let data = blocks.freeze(memory);
        let hash = hash_of([&data]);
        self.remember(index, hash);
        Ok((data, hash))
    }

    /// The root hash; reads the blocks that nobody has read.
    pub(super) fn root(&self, blocks: &Blocks) -> Result<Hash, FileError> {
        let count = self.stream_len.div_ceil(BLOCK);
        for index in 0..count {
            let known = lock(&self.hashes).get(index as usize).copied().flatten();
            if known.is_none() {
                self.read_block(index, blocks)?;
            }
        }
        Ok(root_of(lock(&self.hashes).iter().flatten()))
    }

    fn remember(&self, index: u64, hash: Hash) {
        let mut hashes = lock(&self.hashes);
        let index = index as usize;
        if hashes.len() <= index {
            hashes.resize(index + 1, None);
        }
        hashes[index] = Some(hash);
    }

    /// An entry's file. `upto`: how far it is about to be read; one that is read to its end is not kept open.
    fn file(&self, entry: usize, upto: u64) -> io::Result<Arc<File>> {
        let mut files = lock(&self.files);
        match &mut *files {
            Files::One(file) => Ok(Arc::clone(file)),
            Files::Tree { cursor, open } => {
                if let Some(at) = open.iter().position(|(held, _)| *held == entry) {
                    let file = Arc::clone(&open[at].1);
                    return Ok(file);
                }
                let (dir, name) = cursor.at(&self.manifest.entries[entry].path)?;
                let opened = dir.read(name).map_err(|error| match error.raw_os_error() {
                    // It was there when it was scanned.
                    Some(libc::ENOENT | libc::ELOOP) => io::ErrorKind::UnexpectedEof.into(),
                    _ => error,
                });
                let file = Arc::new(opened?);
                if upto < self.stats[entry].size {
                    if open.len() >= OPEN_FILES {
                        open.pop_front();
                    }
                    open.push_back((entry, Arc::clone(&file)));
                }
                Ok(file)
            }
        }
    }
}

fn tree_files(root: Dir) -> Files {
    Files::Tree { cursor: Cursor::new(root), open: VecDeque::new() }
}

/// What the user named: links in the path and the link that it may be are followed.
fn open_user_path(path: &[u8]) -> io::Result<(Stat, Option<OwnedFd>)> {
    use std::os::unix::fs::{FileTypeExt, MetadataExt};
    let path = path_of(path);
    let seen = std::fs::metadata(path)?;
    let kind = seen.file_type();
    let special = kind.is_fifo() || kind.is_socket() || kind.is_block_device() || kind.is_char_device();
    let fd = if special {
        None
    } else {
        let flags = libc::O_NONBLOCK | libc::O_NOCTTY;
        Some(OwnedFd::from(std::fs::OpenOptions::new().read(true).custom_flags(flags).open(path)?))
    };
    let stat = match &fd {
        Some(fd) => Stat::of(fd)?,
        None => Stat {
            kind: Kind::Special,
            mode: 0,
            size: 0,
            mtime: 0,
            ctime: 0,
            device: seen.dev(),
            inode: seen.ino(),
        },
    };
    Ok((stat, fd))
}

/// Identifies the source's state: its list, and every entry's identity and times.
fn stamp(encoded: &[u8], stats: &[Stat]) -> u64 {
    let mut hasher = blake3::Hasher::new();
    hasher.update(encoded);
    for stat in stats.iter().filter(|stat| stat.kind == Kind::File) {
        hasher.update(&stat.identity());
    }
    let mut first = [0; 8];
    first.copy_from_slice(&hasher.finalize().as_bytes()[..8]);
    u64::from_le_bytes(first)
}

/// What differs from what arrived: new and changed entries with the folders on the way to them, and the topmost of those
/// that are gone.
fn changes(found: Vec<Found>, baseline: &Baseline) -> Vec<Found> {
    let now: BTreeMap<&[u8], &Found> =
        found.iter().map(|found| (found.entry.path.as_slice(), found)).collect();
    let mut wanted: BTreeSet<Vec<u8>> = BTreeSet::new();
    let mut with_folders = |path: &[u8], itself: bool| {
        let mut path = path;
        if itself {
            wanted.insert(path.to_vec());
        }
        while !path.is_empty() {
            path = crate::fs::split(path).0;
            if !wanted.insert(path.to_vec()) {
                break;
            }
        }
    };
    with_folders(b"", true);
    for found in &found {
        let same = baseline.get(&found.entry.path).is_some_and(|before| match found.stat.kind {
            // A folder's times change with what is in it.
            Kind::Folder => before.kind == Kind::Folder && before.mode == found.stat.mode,
            Kind::File | Kind::Link | Kind::Special => *before == found.stat,
        });
        if !same && !found.entry.path.is_empty() {
            with_folders(&found.entry.path, true);
        }
    }
    let mut gone = Vec::new();
    for (path, stat) in baseline.iter().filter(|(path, _)| !now.contains_key(path.as_slice())) {
        let parent = now.get(crate::fs::split(path).0);
        if parent.is_some_and(|parent| parent.stat.kind == Kind::Folder) {
            with_folders(path, false);
            let entry = Entry { path: path.clone(), kind: EntryKind::Deleted };
            gone.push(Found { entry, stat: *stat });
        }
    }
    drop(now);
    let mut changed: Vec<Found> =
        found.into_iter().filter(|found| wanted.contains(&found.entry.path)).collect();
    changed.append(&mut gone);
    changed.sort_by(|a, b| a.entry.path.cmp(&b.entry.path));
    changed
}
