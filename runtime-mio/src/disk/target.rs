//! A file or folder that is being received: verified block by block, visible only when all of it is.

use super::apply::{Policy, apply, settle};
use super::blocks::{hash_of, root_of, slice};
use super::error::{About, arrival_error, below, shown};
use super::folders::{Baseline, Folders};
use super::kept::{self, Content, Journal, Part};
use super::scan::{STAGING, is_staging, join_time};
use super::source::SourceTree;
use super::staged::Staged;
use crate::alarm::lock;
use crate::fs::{Cursor, Dir, Kind, path_of, random_name, remove_tree, split, try_lock};
use bytes::{Bytes, BytesMut};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::{Arc, Mutex, OnceLock, PoisonError, RwLock};
use std::time::{Duration, SystemTime};
use xxnet_core::FolderId;
use xxnet_core::disk::{BLOCK, Beside, FileError, FileErrorKind, Hash, Origin, Target};
use xxnet_core::manifest::{EntryKind, Manifest, clean_name};

/// An open target.
#[derive(Debug)]
pub(super) struct TargetTree {
    /// For people.
    name: String,
    place: Place,
    stream_len: u64,
    manifest_len: u64,
    /// Holds the staged tree, under `stage_name`.
    stage: Dir,
    stage_name: Vec<u8>,
    /// The folder that is `stage`, if the blocks may be of use to others.
    part: Option<Mutex<Part>>,
    progress: Mutex<Progress>,
    /// There once the manifest is.
    staged: OnceLock<Staged>,
    /// Blocks are written side by side under the reading side; commit and removal have it alone.
    over: RwLock<bool>,
}

/// Where the tree goes.
#[derive(Debug)]
enum Place {
    /// A name in an attempt's folder.
    Work { folder: FolderId, name: Vec<u8> },
    /// A name in a folder; what stands there may be a file, or nothing yet.
    Beside { folder: Dir, name: Vec<u8> },
    /// Into a folder that is there.
    Into(Dir),
    /// Changes into a folder that is there.
    Merge(Dir, Arc<SourceTree>),
}

#[derive(Debug, Default)]
struct Progress {
    hashes: Vec<Option<Hash>>,
    /// As much of it as has come.
    manifest: Vec<u8>,
}

impl Progress {
    fn remember(&mut self, index: u64, hash: Hash) {
        let index = index as usize;
        if self.hashes.len() <= index {
            self.hashes.resize(index + 1, None);
        }
        self.hashes[index] = Some(hash);
    }

    fn known(&self) -> impl Iterator<Item = (u64, &Hash)> {
        (0..).zip(&self.hashes).filter_map(|(index, hash)| Some((index, hash.as_ref()?)))
    }
}

impl TargetTree {
    /// Finds the place and a staging name beside it; the staged tree is not made yet, unless blocks of this content were kept. Says
    /// how many.
    pub(super) fn open(
        target: Target,
        (stream_len, manifest_len): (u64, u64),
        origin: Option<Origin>,
        folders: &Folders,
        source: impl FnOnce() -> Option<Arc<SourceTree>>,
    ) -> Result<(Self, u64), FileError> {
        let (name, place, stage) = match target {
            Target::Work { folder, name } => {
                let label = shown(&name);
                let clean =
                    clean_name(&name).map_err(|_| FileError::new(FileErrorKind::Escapes, label.clone()))?;
                // Looked up now, so that a folder that is not there is known at once.
                folders.open(folder).about(|| label.clone())?;
                let stage = folders.base().about(|| label.clone())?;
                (label, Place::Work { folder, name: clean }, stage)
            }
            Target::Path { path } => find_place(&path)?,
            Target::Merge { path, .. } => {
                let label = shown(&path);
                let folder = Dir::at_path(path_of(&path)).about(|| label.clone())?;
                let stage = writable(&folder, &label)?;
                let lost = || FileError::new(FileErrorKind::System(libc::EBADF), label.clone());
                let shipped = source().ok_or_else(lost)?;
                (label, Place::Merge(folder, shipped), stage)
            }
        };
        if manifest_len == 0 || manifest_len > stream_len || manifest_len > Manifest::MAX_LEN {
            return Err(FileError::new(FileErrorKind::BadManifest, name));
        }
        folders.once_in(&stage, |folder| sweep(folder, YOUNG));
        let stage_name = random_name(STAGING).about(|| name.clone())?;
        let mut tree = Self {
            name,
            place,
            stream_len,
            manifest_len,
            stage,
            stage_name,
            part: None,
            progress: Mutex::default(),
            staged: OnceLock::new(),
            over: RwLock::new(false),
        };
        let there = match origin.filter(|_| folders.kept().is_some() && stream_len > BLOCK) {
            Some(origin) => tree.open_part(Content { origin, stream_len, manifest_len }, folders)?,
            None => 0,
        };
        let content = stream_len - manifest_len.max(there * BLOCK).min(stream_len);
        let free = || tree.stage.free_space();
        let mut enough = free().map(|free| free >= content);
        if let (Ok(false), Some(kept)) = (&enough, folders.kept()) {
            kept::clear(kept);
            enough = free().map(|free| free >= content);
        }
        if enough.about(|| tree.name.clone())? {
            return Ok((tree, there));
        }
        tree.close(None)?;
        Err(FileError::new(FileErrorKind::NoSpace, tree.name))
    }

    /// Stages where it can be kept, and takes up what was.
    fn open_part(&mut self, content: Content, folders: &Folders) -> Result<u64, FileError> {
        let about = || self.name.clone();
        let work = self.stage.try_clone().about(about)?;
        let (part, journal) = Part::open(content, work, folders.kept()).about(about)?;
        self.stage = part.dir.try_clone().about(about)?;
        self.stage_name = kept::TREE.to_vec();
        self.part = Some(Mutex::new(part));
        let there = journal.and_then(|journal| self.take_up(&journal).ok()).unwrap_or(0);
        if there == 0 {
            self.staged = OnceLock::new();
            self.progress = Mutex::default();
            if let Some(part) = &self.part {
                lock(part).forget();
            }
            remove_tree(&self.stage, kept::TREE).about(|| self.name.clone())?;
        }
        Ok(there)
    }

    /// Reads the kept blocks, and believes those that have their hash, as far as there is none missing between them.
    fn take_up(&self, journal: &Journal) -> Result<u64, FileError> {
        let manifest = self.check_manifest(&journal.manifest)?;
        let staged = Staged::resume(manifest, &journal.manifest, &self.name, &self.stage, &self.stage_name)?;
        let staged = self.staged.get_or_init(|| staged);
        let mut progress = lock(&self.progress);
        let mut there = 0;
        while let Some(hash) = journal.hashes.get(&there) {
            let Ok(data) = self.read_block(staged, there) else { break };
            if hash_of([&data]) != *hash {
                break;
            }
            progress.remember(there, *hash);
            there += 1;
        }
        if there * BLOCK < self.manifest_len.min(self.stream_len) {
            return Ok(0);
        }
        staged.keep_only((there * BLOCK).min(self.stream_len) - self.manifest_len)?;
        if let Some(part) = &self.part {
            lock(part).begin(&journal.manifest, progress.known());
        }
        Ok(there)
    }

    /// A block as it was written.
    fn read_block(&self, staged: &Staged, index: u64) -> Result<Bytes, FileError> {
        let start = index * BLOCK;
        let len = BLOCK.min(self.stream_len.saturating_sub(start)) as usize;
        let mut data = BytesMut::with_capacity(len);
        let manifest = staged.encoded.get(start as usize..).unwrap_or_default();
        data.extend_from_slice(&manifest[..manifest.len().min(len)]);
        let offset = (start + data.len() as u64).saturating_sub(self.manifest_len);
        let rest = (len - data.len()) as u64;
        staged.read(&mut data, offset, rest)?;
        Ok(data.freeze())
    }

    /// Verifies a block, then writes it. A block that is there already is not written again.
    pub(super) fn write_block(&self, index: u64, data: &[Bytes], hash: Hash) -> Result<(), FileError> {
        let over = self.over.read().unwrap_or_else(PoisonError::into_inner);
        let mismatch = || FileError::new(FileErrorKind::Mismatch, self.name.clone());
        let start = index.checked_mul(BLOCK).filter(|start| *start < self.stream_len && !*over);
        let start = start.ok_or_else(mismatch)?;
        let len = BLOCK.min(self.stream_len - start);
        if data.iter().map(Bytes::len).sum::<usize>() as u64 != len || hash_of(data) != hash {
            return Err(mismatch());
        }
        match lock(&self.progress).hashes.get(index as usize).copied().flatten() {
            Some(before) if before == hash => return Ok(()),
            Some(_) => return Err(mismatch()),
            None => {}
        }
        // The first bytes may belong to the manifest.
        let skip = self.manifest_len.saturating_sub(start).min(len) as usize;
        if skip > 0 {
            self.take_manifest(start, slice(data, 0, skip))?;
        }
        let content_len = len - skip as u64;
        if content_len > 0 {
            let missing = || FileError::new(FileErrorKind::BadManifest, self.name.clone());
            let staged = self.staged.get().ok_or_else(missing)?;
            let offset = start + skip as u64 - self.manifest_len;
            staged.write(data, skip, offset, content_len)?;
        }
        lock(&self.progress).remember(index, hash);
        if let Some(part) = &self.part {
            lock(part).wrote(index, hash);
        }
        Ok(())
    }

    /// A part of the manifest; with the last one it is read, and the staged tree is made.
    fn take_manifest(&self, start: u64, part: Vec<Bytes>) -> Result<(), FileError> {
        let mut progress = lock(&self.progress);
        // They come one after the other; one that comes again after a failure is taken again.
        if progress.manifest.len() as u64 > start {
            progress.manifest.truncate(start as usize);
        }
        if progress.manifest.len() as u64 != start {
            return Err(FileError::new(FileErrorKind::BadManifest, self.name.clone()));
        }
        part.iter().for_each(|piece| progress.manifest.extend_from_slice(piece));
        if (progress.manifest.len() as u64) < self.manifest_len || self.staged.get().is_some() {
            return Ok(());
        }
        let bytes = Bytes::from(std::mem::take(&mut progress.manifest));
        let manifest = self.check_manifest(&bytes)?;
        let staged = Staged::new(manifest, &bytes, &self.name, &self.stage, &self.stage_name)?;
        // Manifest blocks come one by one, so nobody else can have set it.
        let _ = self.staged.set(staged);
        if let Some(part) = &self.part {
            lock(part).begin(&bytes, progress.known());
        }
        Ok(())
    }

    fn check_manifest(&self, bytes: &[u8]) -> Result<Manifest, FileError> {
        let manifest = Manifest::decode(bytes).map_err(|error| arrival_error(error, &self.name))?;
        if manifest.content_len() != self.stream_len - self.manifest_len {
            return Err(FileError::new(FileErrorKind::BadManifest, self.name.clone()));
        }
        let deletes = manifest.entries.iter().any(|entry| entry.kind == EntryKind::Deleted);
        if deletes && !matches!(self.place, Place::Merge(..)) {
            return Err(FileError::new(FileErrorKind::BadManifest, self.name.clone()));
        }
        // Known now, so said now and not after all of it has come.
        let is_file = matches!(manifest.entries[0].kind, EntryKind::File { .. });
        if is_file && matches!(self.place, Place::Into(_) | Place::Merge(..)) {
            return Err(FileError::new(FileErrorKind::InTheWay, self.name.clone()));
        }
        Ok(manifest)
    }

    /// Checks the whole and makes it visible; says what landed beside the user's own.
    pub(super) fn commit(&self, root: Hash, folders: &Folders) -> Result<Beside, FileError> {
        let mut over = self.over.write().unwrap_or_else(PoisonError::into_inner);
        let staged = self.whole(root, *over)?;
        if let Some(part) = &self.part {
            lock(part).forget();
        }
        staged.complete()?;
        let mut beside = Beside::default();
        match &self.place {
            Place::Beside { folder, name } => self.place_beside(staged, folder, name)?,
            Place::Into(folder) => self.fill(staged, folder)?,
            Place::Merge(folder, shipped) => {
                beside = self.place_into(staged, folder, Policy::Careful(shipped))?;
            }
            Place::Work { folder, name } => self.place_in_work(staged, *folder, name, folders)?,
        }
        *over = true;
        if let Some(part) = &self.part {
            lock(part).close(None).about(|| self.name.clone())?;
        }
        Ok(beside)
    }

    /// The staged tree, if it is whole and what the source says.
    fn whole(&self, root: Hash, over: bool) -> Result<&Staged, FileError> {
        let progress = lock(&self.progress);
        let complete = progress.hashes.len() as u64 == self.stream_len.div_ceil(BLOCK)
            && progress.hashes.iter().all(Option::is_some)
            && root_of(progress.hashes.iter().flatten()) == root;
        let staged = self.staged.get().filter(|_| complete && !over);
        staged.ok_or_else(|| FileError::new(FileErrorKind::Mismatch, self.name.clone()))
    }

    /// Makes a copy visible in another attempt's folder, each block of it verified again; the tree stays.
    pub(super) fn commit_copy(
        &self,
        root: Hash,
        folder: FolderId,
        name: Vec<u8>,
        folders: &Folders,
    ) -> Result<Beside, FileError> {
        let over = self.over.read().unwrap_or_else(PoisonError::into_inner);
        let staged = self.whole(root, *over)?;
        let target = Target::Work { folder, name };
        let (copy, _) = Self::open(target, (self.stream_len, self.manifest_len), None, folders, || None)?;
        let hashes: Vec<(u64, Hash)> =
            lock(&self.progress).known().map(|(index, hash)| (index, *hash)).collect();
        let written = hashes
            .into_iter()
            .try_for_each(|(index, hash)| copy.write_block(index, &[self.read_block(staged, index)?], hash));
        let beside = written.and_then(|()| copy.commit(root, folders));
        copy.close(None)?;
        beside
    }

    /// Removes what is staged, or leaves it where the next one finds it.
    pub(super) fn close(&self, keep: Option<&Path>) -> Result<(), FileError> {
        let mut over = self.over.write().unwrap_or_else(PoisonError::into_inner);
        if std::mem::replace(&mut *over, true) {
            return Ok(());
        }
        match &self.part {
            Some(part) => lock(part).close(keep),
            None => remove_tree(&self.stage, &self.stage_name),
        }
        .about(|| self.name.clone())
    }

    /// As one name in a folder: a file or link there is replaced, a folder there is filled.
    fn place_beside(&self, staged: &Staged, folder: &Dir, name: &[u8]) -> Result<(), FileError> {
        let about = || self.name.clone();
        let in_the_way = || FileError::new(FileErrorKind::InTheWay, self.name.clone());
        let there = folder.find(name).about(about)?.map(|stat| stat.kind);
        match (&staged.manifest.entries[0].kind, there) {
            (EntryKind::Folder { .. }, Some(Kind::Folder)) => {
                self.fill(staged, &folder.dir(name).about(about)?)
            }
            (EntryKind::Folder { mode, mtime }, None) => {
                let root = self.stage.dir(&self.stage_name).about(about)?;
                let mut cursor = Cursor::new(root.try_clone().about(about)?);
                settle(&staged.manifest, &mut cursor, b"").about(about)?;
                self.stage.rename(&self.stage_name, folder, name).about(about)?;
                // Only now: moving a folder needs the right to write to it.
                root.set_own(*mode, Some(join_time(*mtime))).about(about)
            }
            (EntryKind::Folder { .. }, Some(_)) | (_, Some(Kind::Folder)) => Err(in_the_way()),
            _ => self.stage.rename(&self.stage_name, folder, name).about(about),
        }
    }

    /// Into a folder that is there; files there are replaced.
    fn fill(&self, staged: &Staged, folder: &Dir) -> Result<(), FileError> {
        self.place_into(staged, folder, Policy::Replace).map(|_| ())
    }

    fn place_into(&self, staged: &Staged, folder: &Dir, policy: Policy<'_>) -> Result<Beside, FileError> {
        let about = || self.name.clone();
        if !matches!(staged.manifest.entries[0].kind, EntryKind::Folder { .. }) {
            return Err(FileError::new(FileErrorKind::InTheWay, self.name.clone()));
        }
        let from = self.stage.dir(&self.stage_name).about(about)?;
        let to = folder.try_clone().about(about)?;
        let beside = apply(&staged.manifest, from, to, &self.name, policy)?;
        // What is left are folders that were there already, and names that changes had deleted.
        remove_tree(&self.stage, &self.stage_name).about(about)?;
        Ok(beside)
    }

    /// Into an attempt's folder, whose state is remembered so that changes can be told later.
    fn place_in_work(
        &self,
        staged: &Staged,
        id: FolderId,
        name: &[u8],
        folders: &Folders,
    ) -> Result<(), FileError> {
        let about = || self.name.clone();
        let root = folders.open(id).about(about)?;
        let mut arrived = Baseline::new();
        let prefix: &[u8] = if name == b"." { b"" } else { name };
        if prefix.is_empty() {
            self.fill(staged, &root)?;
        } else {
            let mut cursor = Cursor::new(root.try_clone().about(about)?);
            let (parent, leaf) = split(prefix);
            let made =
                if parent.is_empty() { Vec::new() } else { cursor.make_folder(parent).about(about)? };
            self.place_beside(staged, cursor.folder(parent).about(about)?, leaf)?;
            let mut cursor = Cursor::new(root.try_clone().about(about)?);
            for path in made {
                let stat = cursor.folder(&path).and_then(Dir::stat_self).about(about)?;
                arrived.insert(path, stat);
            }
        }
        let mut cursor = Cursor::new(root);
        for entry in &staged.manifest.entries {
            let path = match (prefix, entry.path.as_slice()) {
                ([], []) => continue,
                (prefix, []) => prefix.to_vec(),
                ([], path) => path.to_vec(),
                (prefix, path) => [prefix, b"/", path].concat(),
            };
            let stat = cursor.at(&path).and_then(|(dir, leaf)| dir.stat(leaf));
            arrived.insert(path.clone(), stat.about(|| below("", &path))?);
        }
        folders.arrived(id, arrived);
        Ok(())
    }
}

/// Where a path of the user's leads: into the folder that it is, or to a name in the folder that it is in.
fn find_place(path: &[u8]) -> Result<(String, Place, Dir), FileError> {
    let label = shown(path);
    let path = path_of(path);
    if path.is_dir() {
        let folder = Dir::at_path(path).about(|| label.clone())?;
        let stage = writable(&folder, &label)?;
        return Ok((label, Place::Into(folder), stage));
    }
    let Some(name) = path.file_name() else {
        return Err(FileError::new(FileErrorKind::NotFound, label));
    };
    let parent = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let parent_label = shown(parent.as_os_str().as_bytes());
    let folder = Dir::at_path(parent).map_err(|error| match error.raw_os_error() {
        Some(libc::ENOTDIR) => io::Error::from_raw_os_error(libc::ENOENT),
        _ => error,
    });
    let folder = folder.about(|| parent_label.clone())?;
    let stage = writable(&folder, &parent_label)?;
    Ok((label, Place::Beside { folder, name: name.as_bytes().to_vec() }, stage))
}

/// A second handle on a folder that we may make entries in.
fn writable(folder: &Dir, label: &str) -> Result<Dir, FileError> {
    folder.access(b".", libc::W_OK | libc::X_OK).about(|| label.to_owned())?;
    folder.try_clone().about(|| label.to_owned())
}

/// A staged tree is locked just after it was made; until it is this old, nobody takes it for a dead one's.
const YOUNG: Duration = Duration::from_secs(60);

/// Removes what processes that were killed have left half-written in a folder: staged trees that nobody holds locked, and
/// that have not changed for longer than `young`.
pub(super) fn sweep(folder: &Dir, young: Duration) {
    let Ok(now) = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH) else { return };
    for name in folder.names().unwrap_or_default().into_iter().filter(|name| is_staging(name)) {
        let Ok(stat) = folder.stat(&name) else { continue };
        let born = Duration::from_nanos(u64::try_from(stat.ctime).unwrap_or(0));
        let free = match stat.kind {
            Kind::Folder => folder.dir(&name).and_then(|dir| dir.try_lock()),
            Kind::File => folder.read(&name).and_then(|file| try_lock(&file)),
            Kind::Link | Kind::Special => continue,
        };
        if free.is_ok() && now.saturating_sub(born) >= young {
            let _ = remove_tree(folder, &name);
        }
    }
}
