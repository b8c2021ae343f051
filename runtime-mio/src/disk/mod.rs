//! The disk, off the loop: attempts' folders, and trees read and written as verified streams.
//!
//! ```text
//! folders   where attempts run, and what arrived there
//! scan      what a folder holds           source   read block by block
//! staged    a tree on its way in          target   written block by block, then made visible
//! kept      what did not come whole
//! apply     entries into a folder that is there already
//! ```

mod apply;
mod blocks;
mod error;
mod folders;
pub(crate) mod kept;
mod scan;
mod source;
mod staged;
mod target;
#[cfg(test)]
mod tests;
#[cfg(test)]
pub(crate) use tests::cpu_seconds;

use crate::alarm::{Completion, Outbox, lock};
use crate::clock;
use crate::workers::Workers;
use blocks::Blocks;
use error::About;
use folders::Folders;
use source::SourceTree;
use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use target::TargetTree;
use xxnet_core::disk::{DiskAction, DiskDone, DiskEvent, DiskRequest, FileError, FileErrorKind};
use xxnet_core::{FolderId, Instant, TreeId};

/// Threads that read, hash and write.
const THREADS: usize = 3;

/// What a disk needs to know.
#[derive(Clone, Debug, Default)]
pub struct DiskOptions {
    /// Where attempts get their folders (a [`WorkDir`](crate::WorkDir)'s path); without it there are none.
    pub work_dir: Option<PathBuf>,
    /// Where blocks of large inputs that did not come whole are kept for the next attempt ([`WorkDir::kept`](crate::WorkDir::kept)):
    /// no more than 16 GiB of inputs, and each for an hour. On the same file system as the folders; without it nothing is kept.
    pub kept: Option<PathBuf>,
}

/// The disk's front: takes requests, answers through the outbox. At most one completion a request, so what is queued here
/// is bounded by what the machine has under way.
#[derive(Debug)]
pub(crate) struct Disk {
    workers: Workers,
    shared: Arc<Shared>,
    outbox: Outbox,
}

/// What the threads share.
#[derive(Debug)]
struct Shared {
    folders: Folders,
    trees: Mutex<HashMap<TreeId, Tree>>,
    blocks: Blocks,
    /// When to look for kept blocks whose time is over.
    tidy_at: Mutex<Option<Instant>>,
}

#[derive(Clone, Debug)]
enum Tree {
    Source(Arc<SourceTree>),
    Target(Arc<TargetTree>),
}

impl Disk {
    pub(crate) fn new(options: DiskOptions, outbox: Outbox) -> Self {
        let shared = Arc::new(Shared::new(Folders::new(options.work_dir, options.kept)));
        shared.tidy();
        Self { workers: Workers::new("xxnet-disk", THREADS), shared, outbox }
    }

    /// Does what a machine asks, on another thread.
    pub(crate) fn act(&self, action: DiskAction) {
        let (shared, outbox) = (Arc::clone(&self.shared), self.outbox.clone());
        self.workers.run(move || {
            let DiskAction { op, request } = action;
            // A request is always answered, whatever goes wrong with it.
            let result = catch_unwind(AssertUnwindSafe(|| shared.perform(request)))
                .unwrap_or_else(|_| Err(FileError::new(FileErrorKind::System(libc::EIO), "")));
            drop(shared);
            outbox.put(Completion::Disk(DiskEvent { op, result }));
        });
    }

    /// Nothing else is to be done at this moment. No machine is silent for long, so this needs no timer of its own.
    pub(crate) fn idle(&self, now: Instant) {
        if self.shared.take_turn(now) {
            let shared = Arc::clone(&self.shared);
            self.workers.run(move || shared.tidy());
        }
    }

    /// Where an attempt's folder is.
    pub(crate) fn folder_path(&self, folder: FolderId) -> PathBuf {
        self.shared.folders.path(folder)
    }
}

impl Drop for Disk {
    /// Waits for what is under way, so that nothing half-written is left when the process ends.
    fn drop(&mut self) {
        self.workers.finish();
    }
}

impl Shared {
    fn new(folders: Folders) -> Self {
        Self { folders, trees: Mutex::default(), blocks: Blocks::default(), tidy_at: Mutex::default() }
    }

    /// Removes kept blocks whose time is over, and remembers when there will be more.
    fn tidy(&self) {
        // One at a time: who has looked earlier must not hide what a later one found.
        let mut tidy_at = lock(&self.tidy_at);
        let left = self.folders.kept().and_then(kept::tidy);
        // A pause, for ages are told by another clock.
        *tidy_at = left.map(|left| clock::now() + left + Duration::from_secs(1));
    }

    /// Whether it is time to tidy; then nobody else is told so. Never waits: whoever has the lock tidies.
    fn take_turn(&self, now: Instant) -> bool {
        self.tidy_at.try_lock().is_ok_and(|mut at| at.take_if(|at| *at <= now).is_some())
    }

    fn perform(&self, request: DiskRequest) -> Result<DiskDone, FileError> {
        match request {
            DiskRequest::MakeFolder { folder } => {
                self.folders.make(folder).about(|| self.folder_name(folder))?;
            }
            DiskRequest::RemoveFolder { folder } => {
                self.folders.remove(folder).about(|| self.folder_name(folder))?;
                self.tidy();
            }
            DiskRequest::OpenSource { tree, source } => {
                let source = SourceTree::open(source, &self.folders)?;
                let opened = source.opened();
                lock(&self.trees).insert(tree, Tree::Source(Arc::new(source)));
                return Ok(opened);
            }
            DiskRequest::ReadBlock { tree, index } => {
                let (data, hash) = self.source(tree)?.read_block(index, &self.blocks)?;
                return Ok(DiskDone::Block { data, hash });
            }
            DiskRequest::ReadRoot { tree } => {
                let root = self.source(tree)?.root(&self.blocks)?;
                return Ok(DiskDone::Root { root });
            }
            DiskRequest::OpenTarget { tree, target, stream_len, manifest_len, origin } => {
                let shipped = match &target {
                    xxnet_core::disk::Target::Merge { shipped, .. } => Some(*shipped),
                    _ => None,
                };
                let source = || shipped.and_then(|shipped| self.source(shipped).ok());
                let lengths = (stream_len, manifest_len);
                let (target, blocks) = TargetTree::open(target, lengths, origin, &self.folders, source)?;
                lock(&self.trees).insert(tree, Tree::Target(Arc::new(target)));
                if blocks > 0 {
                    return Ok(DiskDone::Resumed { blocks });
                }
            }
            DiskRequest::WriteBlock { tree, index, data, hash } => {
                self.target(tree)?.write_block(index, &data, hash)?;
            }
            DiskRequest::Commit { tree, root } => {
                let beside = self.target(tree)?.commit(root, &self.folders)?;
                return Ok(DiskDone::Committed { beside });
            }
            DiskRequest::CommitCopy { tree, root, folder, name } => {
                let beside = self.target(tree)?.commit_copy(root, folder, name, &self.folders)?;
                return Ok(DiskDone::Committed { beside });
            }
            DiskRequest::CloseTree { tree, keep } => {
                let closed = lock(&self.trees).remove(&tree);
                if let Some(Tree::Target(target)) = closed {
                    target.close(self.folders.kept().filter(|_| keep))?;
                    if keep {
                        self.tidy();
                    }
                }
            }
        }
        Ok(DiskDone::Nothing)
    }

    fn folder_name(&self, folder: FolderId) -> String {
        self.folders.path(folder).display().to_string()
    }

    fn source(&self, tree: TreeId) -> Result<Arc<SourceTree>, FileError> {
        match lock(&self.trees).get(&tree) {
            Some(Tree::Source(source)) => Ok(Arc::clone(source)),
            Some(Tree::Target(_)) | None => Err(unknown(tree)),
        }
    }

    fn target(&self, tree: TreeId) -> Result<Arc<TargetTree>, FileError> {
        match lock(&self.trees).get(&tree) {
            Some(Tree::Target(target)) => Ok(Arc::clone(target)),
            Some(Tree::Source(_)) | None => Err(unknown(tree)),
        }
    }
}

impl Drop for Shared {
    /// A driver that ends in the middle of a transfer leaves nothing half-written.
    fn drop(&mut self) {
        for tree in lock(&self.trees).values() {
            if let Tree::Target(target) = tree {
                let _ = target.close(None);
            }
        }
    }
}

fn unknown(tree: TreeId) -> FileError {
    FileError::new(FileErrorKind::System(libc::EBADF), tree.to_string())
}
