//! A tree on its way in: its files are written where nobody looks, under the name that they will be moved from.

use super::blocks::{read_at, slice, write_at};
use super::error::{About, below, entry_name};
use super::scan::join_time;
use crate::alarm::lock;
use crate::fs::{Cursor, Dir, set_mode_and_time, try_lock};
use bytes::{Bytes, BytesMut};
use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex};
use xxnet_core::disk::FileError;
use xxnet_core::manifest::{EntryKind, Layout, Manifest};

/// Files that are held open because more of them is to come.
const OPEN_FILES: usize = 16;
/// Files from this size on get their space at once, in one piece.
const PREALLOCATED: u64 = 8 << 20;

/// The staged tree of a manifest.
#[derive(Debug)]
pub(super) struct Staged {
    /// For people: what it is going to be.
    name: String,
    pub(super) manifest: Manifest,
    /// The same, as it came.
    pub(super) encoded: Bytes,
    layout: Layout,
    files: Mutex<Files>,
    /// One writes at a time, while others verify: the system lets only one into a file, and has the rest spin.
    writing: Mutex<()>,
}

#[derive(Debug)]
struct Files {
    way: Way,
    /// Keeps the staged root locked for as long as it is staged: whoever finds one that is not may remove it.
    _lock: Option<OwnedFd>,
    /// Of each entry: bytes that are not written yet; and whether the file was made.
    states: Vec<(u64, bool)>,
    open: VecDeque<(usize, Arc<File>)>,
}

/// How an entry is found.
#[derive(Debug)]
enum Way {
    /// The tree is one file: this name in this folder.
    One(Dir, Vec<u8>),
    /// Everything is below this folder.
    Tree(Cursor),
}

impl Staged {
    /// Makes the staged root, `root` in `parent`, and every folder of the manifest in it, for their owner alone.
    pub(super) fn new(
        manifest: Manifest,
        encoded: &Bytes,
        name: &str,
        parent: &Dir,
        root: &[u8],
    ) -> Result<Self, FileError> {
        if !is_file(&manifest) {
            parent.make_dir(root).about(|| name.to_owned())?;
            let mut cursor = Cursor::new(parent.dir(root).about(|| name.to_owned())?);
            for entry in manifest.entries.iter().skip(1) {
                if let EntryKind::Folder { .. } = entry.kind {
                    let at = cursor.at(&entry.path);
                    at.and_then(|(dir, leaf)| dir.make_dir(leaf)).about(|| below(name, &entry.path))?;
                }
            }
        }
        Self::resume(manifest, encoded, name, parent, root)
    }

    /// Takes up a staged root with all of its folders; what is in them is not looked at.
    pub(super) fn resume(
        manifest: Manifest,
        encoded: &Bytes,
        name: &str,
        parent: &Dir,
        root: &[u8],
    ) -> Result<Self, FileError> {
        let about = || name.to_owned();
        let (way, lock) = if is_file(&manifest) {
            (Way::One(parent.try_clone().about(about)?, root.to_vec()), None)
        } else {
            let folder = parent.dir(root).about(about)?;
            // Some network file systems have no locks; there a killed process's leftovers are the user's to remove.
            let _ = folder.try_lock();
            let lock = Some(folder.try_clone().about(about)?.into_fd());
            (Way::Tree(Cursor::new(folder)), lock)
        };
        let states = manifest.entries.iter().map(|entry| (entry.content_len(), false)).collect();
        let files = Mutex::new(Files { way, _lock: lock, states, open: VecDeque::new() });
        Ok(Self {
            name: name.to_owned(),
            layout: manifest.layout(),
            manifest,
            encoded: encoded.clone(),
            files,
            writing: Mutex::new(()),
        })
    }

    /// Writes verified content: `pieces` from `skip` on stand at `offset` in the content.
    pub(super) fn write(
        &self,
        pieces: &[Bytes],
        skip: usize,
        offset: u64,
        len: u64,
    ) -> Result<(), FileError> {
        let _turn = lock(&self.writing);
        let mut at = skip;
        for segment in self.layout.segments(offset, len) {
            let about = || entry_name(&self.name, &self.manifest, segment.entry);
            let part = slice(pieces, at, segment.len as usize);
            at += segment.len as usize;
            let file = self.file(segment.entry).about(about)?;
            write_at(&file, &part, segment.offset).about(about)?;
            self.wrote(segment.entry, segment.len, &file).about(about)?;
        }
        Ok(())
    }

    /// Reads content as it was written.
    pub(super) fn read(&self, into: &mut BytesMut, offset: u64, len: u64) -> Result<(), FileError> {
        for segment in self.layout.segments(offset, len) {
            let path = &self.manifest.entries[segment.entry].path;
            let opened = lock(&self.files).at(path).and_then(|(dir, leaf)| dir.read(leaf));
            let about = || entry_name(&self.name, &self.manifest, segment.entry);
            let file = opened.about(about)?;
            read_at(&file, into, segment.len as usize, segment.offset).about(about)?;
        }
        Ok(())
    }

    /// After a [`resume`](Self::resume): the first `len` bytes of content are here, and nothing else is.
    pub(super) fn keep_only(&self, len: u64) -> Result<(), FileError> {
        let mut files = lock(&self.files);
        for segment in self.layout.segments(0, len) {
            let state = &mut files.states[segment.entry];
            *state = (state.0 - segment.len, true);
        }
        for (index, entry) in self.manifest.entries.iter().enumerate() {
            let about = || entry_name(&self.name, &self.manifest, index);
            let (left, begun) = files.states[index];
            let (dir, leaf) = match entry.kind {
                EntryKind::Folder { .. } | EntryKind::Deleted => continue,
                EntryKind::File { .. } | EntryKind::Link { .. } => files.at(&entry.path).about(about)?,
            };
            match entry.kind {
                EntryKind::File { mode, mtime, .. } if begun && left == 0 => {
                    let file = dir.read(leaf).about(about)?;
                    set_mode_and_time(&file, mode, Some(join_time(mtime))).about(about)?;
                }
                // Blocks behind a gap may have completed it, and given it its mode.
                _ if begun => dir.set_mode(leaf, 0o600).about(about)?,
                _ => match dir.unlink(leaf) {
                    Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                    removed => removed.about(about)?,
                },
            }
        }
        Ok(())
    }

    /// Makes what has no bytes: empty files and links. Then everything but the folders' modes and times is as it will be.
    pub(super) fn complete(&self) -> Result<(), FileError> {
        let mut files = lock(&self.files);
        files.open.clear();
        for (index, entry) in self.manifest.entries.iter().enumerate() {
            let about = || below(&self.name, &entry.path);
            match &entry.kind {
                EntryKind::File { size: 0, mode, mtime } => {
                    if !files.states[index].1 {
                        let file = files.create(&entry.path).about(about)?;
                        set_mode_and_time(&file, *mode, Some(join_time(*mtime))).about(about)?;
                        files.states[index].1 = true;
                    }
                }
                EntryKind::Link { target } => {
                    let (dir, leaf) = files.at(&entry.path).about(about)?;
                    dir.make_link(leaf, target).about(about)?;
                }
                EntryKind::File { .. } | EntryKind::Folder { .. } | EntryKind::Deleted => {}
            }
        }
        Ok(())
    }

    /// The file of an entry, made if this is its first part.
    fn file(&self, entry: usize) -> io::Result<Arc<File>> {
        let mut files = lock(&self.files);
        if let Some((_, file)) = files.open.iter().find(|(held, _)| *held == entry) {
            return Ok(Arc::clone(file));
        }
        let path = &self.manifest.entries[entry].path;
        let size = self.manifest.entries[entry].content_len();
        let file = if files.states[entry].1 {
            let (dir, leaf) = files.at(path)?;
            dir.write(leaf)?
        } else {
            let file = files.create(path)?;
            files.states[entry].1 = true;
            if size >= PREALLOCATED {
                preallocate(&file, size)?;
            }
            file
        };
        let file = Arc::new(file);
        // Kept open until its last byte is written.
        if files.open.len() >= OPEN_FILES {
            files.open.pop_front();
        }
        files.open.push_back((entry, Arc::clone(&file)));
        Ok(file)
    }

    /// A part was written; after the last one the file gets its mode and time, and is closed.
    fn wrote(&self, entry: usize, len: u64, file: &File) -> io::Result<()> {
        let mut files = lock(&self.files);
        let left = &mut files.states[entry].0;
        *left = left.saturating_sub(len);
        if *left > 0 {
            return Ok(());
        }
        files.open.retain(|(held, _)| *held != entry);
        drop(files);
        match self.manifest.entries[entry].kind {
            EntryKind::File { mode, mtime, .. } => set_mode_and_time(file, mode, Some(join_time(mtime))),
            EntryKind::Folder { .. } | EntryKind::Link { .. } | EntryKind::Deleted => Ok(()),
        }
    }
}

fn is_file(manifest: &Manifest) -> bool {
    matches!(manifest.entries.first(), Some(first) if matches!(first.kind, EntryKind::File { .. }))
}

impl Files {
    fn at<'p>(&'p mut self, path: &'p [u8]) -> io::Result<(&'p Dir, &'p [u8])> {
        match &mut self.way {
            Way::One(dir, name) => Ok((dir, name)),
            Way::Tree(cursor) => cursor.at(path),
        }
    }

    fn create(&mut self, path: &[u8]) -> io::Result<File> {
        let (dir, leaf) = self.at(path)?;
        let file = dir.create(leaf)?;
        if let Way::One(..) = self.way {
            let _ = try_lock(&file);
            self._lock = Some(file.try_clone()?.into());
        }
        Ok(file)
    }
}

/// Asks for a file's space at once: a full disk is known before the first byte, and the file lies in few pieces. File
/// systems that cannot do it write as they go.
fn preallocate(file: &File, size: u64) -> io::Result<()> {
    #[cfg(target_os = "linux")]
    {
        use std::os::fd::AsRawFd;
        let Ok(size) = libc::off_t::try_from(size) else { return Ok(()) };
        // SAFETY: takes no pointers.
        if unsafe { libc::fallocate(file.as_raw_fd(), 0, 0, size) } != 0 {
            let error = io::Error::last_os_error();
            if matches!(error.raw_os_error(), Some(libc::ENOSPC | libc::EDQUOT | libc::EFBIG)) {
                return Err(error);
            }
        }
    }
    #[cfg(not(target_os = "linux"))]
    let _ = (file, size);
    Ok(())
}
