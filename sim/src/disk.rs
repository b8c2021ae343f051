//! A disk in memory: the users' files and the attempts' folders of every host, with real bytes and real hashes.

mod kept;
mod tree;

use crate::clock::{MILLI, Micros, SECOND};
use crate::context::{Context, HostId, Item, ProcId};
use crate::fault::Fault;
use bytes::Bytes;
use kept::{KeptBlocks, Key};
use std::collections::{BTreeMap, BTreeSet};
pub(crate) use tree::{FOLDER, Files, Node, file};
use tree::{SourceTree, TargetTree};
use xxnet_core::disk::{
    Beside, DiskAction, DiskDone, DiskEvent, DiskRequest, FileError, FileErrorKind, Source, Target,
};
use xxnet_core::{Event, FolderId, TreeId};

/// An attempt's folder.
#[derive(Debug)]
struct Folder {
    owner: ProcId,
    files: Files,
    /// What arrived as `.`, to tell what the task has changed.
    arrived: Files,
    /// So often its removal fails from now on; `None`: nobody has tried yet.
    stuck: Option<u64>,
    /// Its owner has said that it stays.
    told: bool,
}

#[derive(Debug)]
enum Tree {
    Source(SourceTree),
    Target(TargetTree, Target),
}

const BUSY: i32 = 16;
const NO_DESCRIPTOR: i32 = 24;

/// All disks of the world.
#[derive(Debug, Default)]
pub(crate) struct Disk {
    users: BTreeMap<(HostId, Vec<u8>), Files>,
    folders: BTreeMap<(HostId, FolderId), Folder>,
    trees: BTreeMap<(ProcId, TreeId), Tree>,
    /// Trees whose close is under way.
    closing: BTreeSet<(ProcId, TreeId)>,
    /// Blocks of contents that did not come whole, on every host.
    kept: KeptBlocks,
    /// Targets that went on from kept blocks.
    pub(crate) resumed: u64,
}

impl Disk {
    /// Takes a request; it is carried out later, in any order. What it names must be open now.
    pub(crate) fn act(&mut self, ctx: &mut Context, proc: ProcId, action: DiskAction) {
        match &action.request {
            DiskRequest::ReadBlock { tree, .. }
            | DiskRequest::ReadRoot { tree }
            | DiskRequest::WriteBlock { tree, .. }
            | DiskRequest::Commit { tree, .. }
            | DiskRequest::CommitCopy { tree, .. } => self.must_be_open(proc, *tree),
            DiskRequest::CloseTree { tree, .. } => {
                self.must_be_open(proc, *tree);
                self.closing.insert((proc, *tree));
            }
            DiskRequest::MakeFolder { .. }
            | DiskRequest::RemoveFolder { .. }
            | DiskRequest::OpenSource { .. }
            | DiskRequest::OpenTarget { .. } => {}
        }
        let mut delay: Micros = ctx.choices.between(20, 2 * MILLI);
        if ctx.fault(Fault::SlowDisk, 30) {
            delay += ctx.scaled_value(100 * MILLI, 4 * SECOND);
        }
        ctx.after(delay, Item::Disk(proc, action));
    }

    fn must_be_open(&self, proc: ProcId, tree: TreeId) {
        assert!(self.trees.contains_key(&(proc, tree)), "{tree} is not open");
        assert!(!self.closing.contains(&(proc, tree)), "{tree} is being closed");
    }

    /// Carries a request out and tells its machine.
    pub(crate) fn proceed(&mut self, ctx: &mut Context, proc: ProcId, host: HostId, action: DiskAction) {
        let result = self.perform(ctx, proc, host, action.request);
        let lag = ctx.lag();
        ctx.after(lag, Item::Deliver(proc, Event::Disk(DiskEvent { op: action.op, result })));
    }

    fn perform(
        &mut self,
        ctx: &mut Context,
        proc: ProcId,
        host: HostId,
        request: DiskRequest,
    ) -> Result<DiskDone, FileError> {
        match request {
            DiskRequest::MakeFolder { folder } => {
                let entry = Folder {
                    owner: proc,
                    files: tree::empty_folder(),
                    arrived: Files::new(),
                    stuck: None,
                    told: false,
                };
                let before = self.folders.insert((host, folder), entry);
                assert!(before.is_none(), "{folder:?} is made twice");
                Ok(DiskDone::Nothing)
            }
            DiskRequest::RemoveFolder { folder } => self.remove(ctx, host, folder),
            DiskRequest::OpenSource { tree, source } => self.open_source(ctx, proc, host, tree, source),
            DiskRequest::ReadBlock { tree, index } => match self.trees.get(&(proc, tree)) {
                Some(Tree::Source(source)) => source.block(index),
                Some(Tree::Target(..)) | None => Err(closed()),
            },
            DiskRequest::ReadRoot { tree } => match self.trees.get(&(proc, tree)) {
                Some(Tree::Source(source)) => source.root(),
                Some(Tree::Target(..)) | None => Err(closed()),
            },
            DiskRequest::OpenTarget { tree, target, stream_len, manifest_len, origin } => {
                if ctx.fault(Fault::NoSpaceBefore, 30) {
                    return Err(FileError::new(FileErrorKind::NoSpace, "target"));
                }
                if let Target::Work { folder, .. } = &target {
                    assert!(self.folders.contains_key(&(host, *folder)), "{folder:?} is not there");
                }
                let mut entry = TargetTree::new(stream_len, manifest_len);
                let key = origin.map(|origin| Key { host, origin, stream_len, manifest_len });
                let blocks = key.map_or(0, |key| entry.take_up(self.kept.take(ctx.now, key)));
                entry.key = key;
                self.resumed += u64::from(blocks > 0);
                let before = self.trees.insert((proc, tree), Tree::Target(entry, target));
                assert!(before.is_none(), "{tree} is opened twice");
                Ok(if blocks > 0 { DiskDone::Resumed { blocks } } else { DiskDone::Nothing })
            }
            DiskRequest::WriteBlock { tree, index, data, hash } => match self.trees.get_mut(&(proc, tree)) {
                Some(Tree::Target(..)) if ctx.fault(Fault::NoSpaceDuring, 20) => {
                    Err(FileError::new(FileErrorKind::NoSpace, "block"))
                }
                Some(Tree::Target(target, _)) => target.write(index, &data, hash),
                Some(Tree::Source(_)) | None => Err(closed()),
            },
            DiskRequest::Commit { tree, root } => self.commit(proc, host, tree, root),
            DiskRequest::CommitCopy { tree, root, folder, name } => {
                if ctx.fault(Fault::NoSpaceDuring, 20) {
                    return Err(FileError::new(FileErrorKind::NoSpace, "copy"));
                }
                let Some(Tree::Target(entry, _)) = self.trees.get(&(proc, tree)) else {
                    return Err(closed());
                };
                let files = entry.finish(root)?;
                self.place_in_work(host, folder, &name, &files)?;
                Ok(DiskDone::Committed { beside: Beside::default() })
            }
            DiskRequest::CloseTree { tree, keep } => {
                let closed = self.trees.remove(&(proc, tree));
                self.closing.remove(&(proc, tree));
                if let (Some(Tree::Target(entry, _)), true) = (closed, keep) {
                    self.kept.put(ctx.now, entry);
                }
                Ok(DiskDone::Nothing)
            }
        }
    }

    /// Something may hold a folder for some time, or there is no descriptor to look into it.
    fn remove(&mut self, ctx: &mut Context, host: HostId, folder: FolderId) -> Result<DiskDone, FileError> {
        if let Some(entry) = self.folders.get_mut(&(host, folder)) {
            let stuck = match entry.stuck {
                Some(stuck) => stuck,
                None if ctx.fault(Fault::FolderStays, 60) => ctx.value(1, 12),
                None => 0,
            };
            entry.stuck = Some(stuck.saturating_sub(1));
            if stuck > 0 && ctx.faulty {
                let number = if stuck % 2 == 0 { NO_DESCRIPTOR } else { BUSY };
                return Err(FileError::new(FileErrorKind::System(number), "work folder"));
            }
        }
        self.folders.remove(&(host, folder));
        Ok(DiskDone::Nothing)
    }

    /// The owner of a folder has said that it cannot be removed: whether that is so.
    pub(crate) fn stays(&mut self, proc: ProcId, host: HostId, folder: FolderId) -> bool {
        let entry = self.folders.get_mut(&(host, folder)).filter(|entry| entry.owner == proc);
        entry.is_some_and(|entry| {
            entry.told = true;
            entry.stuck.is_some()
        })
    }

    fn open_source(
        &mut self,
        ctx: &mut Context,
        proc: ProcId,
        host: HostId,
        tree: TreeId,
        source: Source,
    ) -> Result<DiskDone, FileError> {
        let missing = |name: &[u8]| FileError::new(FileErrorKind::NotFound, String::from_utf8_lossy(name));
        let files = match &source {
            Source::Path { path } => {
                self.users.get(&(host, path.clone())).cloned().ok_or_else(|| missing(path))?
            }
            Source::Output { folder, name } => {
                let folder = self.folders.get(&(host, *folder)).ok_or_else(|| missing(name))?;
                tree::below(&folder.files, name).ok_or_else(|| missing(name))?
            }
            Source::Changes { folder } => {
                let folder = self.folders.get(&(host, *folder)).ok_or_else(|| missing(b"."))?;
                tree::changes(&folder.arrived, &folder.files)
            }
        };
        if ctx.fault(Fault::Unreadable, 30) {
            return Err(FileError::new(FileErrorKind::PermissionDenied, "source"));
        }
        let mut entry = SourceTree::new(&files)?;
        if ctx.fault(Fault::Changed, 30) {
            entry.changes_at = Some(ctx.value(0, entry.blocks().saturating_sub(1)));
        }
        let (stream_len, manifest_len, stamp) = entry.lengths();
        let before = self.trees.insert((proc, tree), Tree::Source(entry));
        assert!(before.is_none(), "{tree} is opened twice");
        Ok(DiskDone::Opened { stream_len, manifest_len, stamp })
    }

    fn commit(
        &mut self,
        proc: ProcId,
        host: HostId,
        tree: TreeId,
        root: xxnet_core::disk::Hash,
    ) -> Result<DiskDone, FileError> {
        let Some(Tree::Target(entry, target)) = self.trees.get_mut(&(proc, tree)) else {
            return Err(closed());
        };
        // What is moved is not there any more for anybody else.
        entry.key = None;
        let files = entry.finish(root)?;
        let mut beside = Beside::default();
        match target.clone() {
            Target::Work { folder, name } => self.place_in_work(host, folder, &name, &files)?,
            Target::Path { path } => {
                self.users.insert((host, path), files);
            }
            Target::Merge { path, shipped } => {
                let Some(Tree::Source(shipped)) = self.trees.get(&(proc, shipped)) else {
                    return Err(closed());
                };
                let here = self.users.entry((host, path)).or_default();
                beside = tree::merge(here, &shipped.files, &files);
            }
        }
        Ok(DiskDone::Committed { beside })
    }

    fn place_in_work(
        &mut self,
        host: HostId,
        folder: FolderId,
        name: &[u8],
        files: &Files,
    ) -> Result<(), FileError> {
        let Some(folder) = self.folders.get_mut(&(host, folder)) else {
            return Err(FileError::new(FileErrorKind::NotFound, "work folder"));
        };
        tree::place(&mut folder.files, name, files);
        if name == b"." {
            folder.arrived = folder.files.clone();
        }
        Ok(())
    }

    /// A file of a user's.
    pub(crate) fn put(&mut self, host: HostId, path: &[u8], files: Files) {
        self.users.insert((host, path.to_vec()), files);
    }

    /// What stands under a user's path.
    pub(crate) fn at(&self, host: HostId, path: &[u8]) -> Option<&Files> {
        self.users.get(&(host, path.to_vec()))
    }

    /// A command reads a file.
    pub(crate) fn read(&self, host: HostId, folder: FolderId, name: &[u8]) -> Option<Bytes> {
        match self.folders.get(&(host, folder))?.files.get(name)? {
            Node::File { bytes, .. } => Some(bytes.clone()),
            Node::Folder { .. } | Node::Link(_) | Node::Deleted => None,
        }
    }

    /// A command writes a file.
    pub(crate) fn write(&mut self, host: HostId, folder: FolderId, name: &[u8], bytes: Bytes) {
        if let Some(folder) = self.folders.get_mut(&(host, folder)) {
            tree::place(&mut folder.files, name, &tree::file(bytes));
        }
    }

    /// A process begins: what earlier ones left on its host is swept, and what they had open is gone. Blocks that they were
    /// receiving are kept.
    pub(crate) fn sweep(&mut self, now: Micros, host: HostId, gone: impl Fn(ProcId) -> bool) {
        self.folders.retain(|(at, _), folder| *at != host || !gone(folder.owner));
        let over: Vec<_> = self.trees.keys().filter(|(proc, _)| gone(*proc)).copied().collect();
        for tree in over {
            if let Some(Tree::Target(entry, _)) = self.trees.remove(&tree) {
                self.kept.put(now, entry);
            }
        }
        self.closing.retain(|(proc, _)| !gone(*proc));
    }

    /// Blocks that are kept on a host.
    pub(crate) fn kept_on(&self, host: HostId) -> usize {
        self.kept.on(host)
    }

    /// Spoils the last block that is kept of each content, as a host does that crashes before all of it is on the disk.
    pub(crate) fn tear(&mut self, host: HostId) {
        self.kept.tear(host);
    }

    /// What is kept is within its bounds, in bytes and in age.
    pub(crate) fn keeps_within_bounds(&self) -> bool {
        self.kept.is_within_bounds()
    }

    /// Folders and open trees of a process, but for those folders that it has said will stay.
    pub(crate) fn held_by(&self, proc: ProcId) -> (usize, usize) {
        let folders = self.folders.values().filter(|folder| folder.owner == proc && !folder.told).count();
        let trees = self.trees.keys().filter(|(owner, _)| *owner == proc).count();
        (folders, trees)
    }
}

/// The tree was closed before the request's turn came, as any disk would say.
fn closed() -> FileError {
    FileError::new(FileErrorKind::System(9), "closed")
}
