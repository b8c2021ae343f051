//! The disk on real files. Requests are performed here and now; the driver's tests have them on their threads.

use super::*;
use bytes::Bytes;
use std::fs::{self, Permissions};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;
use std::time::{Duration, SystemTime};
use tempfile::TempDir;
use xxnet_core::disk::{BLOCK, Hash, Source, Target};
use xxnet_core::manifest::{Entry, EntryKind, Manifest};
use xxnet_core::{AttemptNumber, InstanceId, TaskId};

mod changes;
mod faults;
mod resumed;
mod trees;

type Done = Result<DiskDone, FileError>;

/// A disk and a folder to play in.
struct World {
    base: TempDir,
    disk: Shared,
    next: std::cell::Cell<u64>,
}

/// A whole stream, as a source gave it.
#[derive(Clone)]
struct Stream {
    len: u64,
    manifest_len: u64,
    blocks: Vec<(Bytes, Hash)>,
    root: Hash,
}

impl World {
    fn new() -> Self {
        let base = tempfile::tempdir().unwrap();
        let work = base.path().join("work");
        fs::create_dir(&work).unwrap();
        let folders = Folders::new(Some(work), Some(base.path().join("kept")));
        let disk = Shared::new(folders);
        Self { base, disk, next: std::cell::Cell::new(0) }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.base.path().join(name)
    }

    fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, content).unwrap();
        path
    }

    fn source(&self, name: &str) -> Source {
        Source::Path { path: bytes_of(&self.path(name)) }
    }

    fn target(&self, name: &str) -> Target {
        Target::Path { path: bytes_of(&self.path(name)) }
    }

    fn tree(&self) -> TreeId {
        self.next.set(self.next.get() + 1);
        TreeId(self.next.get())
    }

    fn open(&self, source: Source) -> Result<(TreeId, u64, u64, u64), FileError> {
        let tree = self.tree();
        match self.disk.perform(DiskRequest::OpenSource { tree, source })? {
            DiskDone::Opened { stream_len, manifest_len, stamp } => {
                Ok((tree, stream_len, manifest_len, stamp))
            }
            other => panic!("{other:?}"),
        }
    }

    fn block(&self, tree: TreeId, index: u64) -> Result<(Bytes, Hash), FileError> {
        match self.disk.perform(DiskRequest::ReadBlock { tree, index })? {
            DiskDone::Block { data, hash } => Ok((data, hash)),
            other => panic!("{other:?}"),
        }
    }

    fn root(&self, tree: TreeId) -> Result<Hash, FileError> {
        match self.disk.perform(DiskRequest::ReadRoot { tree })? {
            DiskDone::Root { root } => Ok(root),
            other => panic!("{other:?}"),
        }
    }

    fn read(&self, source: Source) -> Result<Stream, FileError> {
        let (tree, len, manifest_len, _) = self.open(source)?;
        let blocks =
            (0..len.div_ceil(BLOCK)).map(|index| self.block(tree, index)).collect::<Result<Vec<_>, _>>()?;
        let root = self.root(tree)?;
        self.close(tree);
        Ok(Stream { len, manifest_len, blocks, root })
    }

    fn close(&self, tree: TreeId) {
        assert_eq!(self.disk.perform(DiskRequest::CloseTree { tree, keep: false }), Ok(DiskDone::Nothing));
    }

    fn begin(&self, target: Target, stream: &Stream) -> Result<TreeId, FileError> {
        let (tree, stream_len, manifest_len) = (self.tree(), stream.len, stream.manifest_len);
        let origin = None;
        self.disk.perform(DiskRequest::OpenTarget { tree, target, stream_len, manifest_len, origin })?;
        Ok(tree)
    }

    fn put(&self, tree: TreeId, index: u64, block: &(Bytes, Hash)) -> Done {
        // In odd pieces, as from a socket.
        let data = block.0.chunks(300_007).map(|piece| block.0.slice_ref(piece)).collect();
        self.disk.perform(DiskRequest::WriteBlock { tree, index, data, hash: block.1 })
    }

    fn commit(&self, tree: TreeId, root: Hash) -> Done {
        self.disk.perform(DiskRequest::Commit { tree, root })
    }

    fn receive(&self, target: Target, stream: &Stream) -> Result<(), FileError> {
        let tree = self.begin(target, stream)?;
        let mut result = Ok(DiskDone::Nothing);
        for (index, block) in (0..).zip(&stream.blocks) {
            result = result.and_then(|_| self.put(tree, index, block));
        }
        let result = result.and_then(|_| self.commit(tree, stream.root));
        self.close(tree);
        result.map(|_| ())
    }

    fn copy(&self, source: Source, target: Target) -> Result<(), FileError> {
        self.receive(target, &self.read(source)?)
    }

    fn folder(&self) -> FolderId {
        let task = TaskId { publisher: InstanceId([7; 16]), number: self.tree().0 };
        let folder = FolderId { task, attempt: AttemptNumber(1) };
        self.disk.perform(DiskRequest::MakeFolder { folder }).unwrap();
        folder
    }

    fn assert_nothing_left(&self) {
        assert!(self.leftovers().is_empty(), "{:?}", self.leftovers());
    }

    /// Names that transfers have left anywhere.
    fn leftovers(&self) -> Vec<PathBuf> {
        let mut left = Vec::new();
        let mut folders = vec![self.base.path().to_path_buf()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
                if entry.file_name().as_bytes().starts_with(b".xxnet-") {
                    left.push(entry.path());
                }
                if entry.file_type().unwrap().is_dir() {
                    folders.push(entry.path());
                }
            }
        }
        left
    }
}

/// A stream of this manifest and content, as a peer could send it.
fn stream_of(manifest: &[u8], content: &[u8]) -> Stream {
    let whole = [manifest, content].concat();
    let blocks: Vec<_> = whole
        .chunks(BLOCK as usize)
        .map(|block| (Bytes::copy_from_slice(block), blocks::hash_of([&Bytes::copy_from_slice(block)])))
        .collect();
    let root = blocks::root_of(blocks.iter().map(|(_, hash)| hash));
    Stream { len: whole.len() as u64, manifest_len: manifest.len() as u64, blocks, root }
}

fn bytes_of(path: &Path) -> Vec<u8> {
    path.as_os_str().as_bytes().to_vec()
}

fn kind<T: std::fmt::Debug>(result: Result<T, FileError>) -> FileErrorKind {
    result.unwrap_err().kind
}

/// Bytes that do not repeat.
fn noise(len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    blake3::Hasher::new().update(&len.to_le_bytes()).finalize_xof().fill(&mut bytes);
    bytes
}

/// What this process and its children have used so far.
pub(crate) fn cpu_seconds() -> f64 {
    [libc::RUSAGE_SELF, libc::RUSAGE_CHILDREN]
        .map(|whose| {
            // SAFETY: all zero is a valid value, written by the call.
            let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
            unsafe { libc::getrusage(whose, &raw mut usage) };
            let seconds = |time: libc::timeval| time.tv_sec as f64 + time.tv_usec as f64 / 1e6;
            seconds(usage.ru_utime) + seconds(usage.ru_stime)
        })
        .iter()
        .sum()
}
