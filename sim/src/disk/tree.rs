//! Files and folders as maps, and as the verified streams that travel.

use super::kept::{Blocks, Key};
use bytes::{Bytes, BytesMut};
use std::collections::BTreeMap;
use xxnet_core::disk::{BLOCK, Beside, DiskDone, FileError, FileErrorKind, Hash};
use xxnet_core::manifest::{Entry, EntryKind, Manifest, Mtime};

/// One thing in a tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Node {
    File { bytes: Bytes, mode: u32, mtime: Mtime },
    Folder { mode: u32 },
    Link(Vec<u8>),
    Deleted,
}

/// A tree: what stands at its root has the empty name, what stands below it its path.
pub(crate) type Files = BTreeMap<Vec<u8>, Node>;

pub(crate) fn file(bytes: Bytes) -> Files {
    Files::from([(Vec::new(), Node::File { bytes, mode: 0o644, mtime: (0, 0) })])
}

pub(crate) fn empty_folder() -> Files {
    Files::from([(Vec::new(), FOLDER)])
}

/// The part of a tree that stands at `name`, as a tree of its own.
pub(crate) fn below(files: &Files, name: &[u8]) -> Option<Files> {
    if name == b"." {
        return Some(files.clone());
    }
    let root = files.get(name)?;
    let mut found = Files::from([(Vec::new(), root.clone())]);
    let prefix = [name, b"/"].concat();
    let inside = files.range(prefix.clone()..).take_while(|(path, _)| path.starts_with(&prefix));
    found.extend(inside.map(|(path, node)| (path[prefix.len()..].to_vec(), node.clone())));
    Some(found)
}

/// Puts a tree into another one at `name`, with the folders above it.
pub(crate) fn place(files: &mut Files, name: &[u8], what: &Files) {
    let name = if name == b"." { &b""[..] } else { name };
    for (at, _) in name.iter().enumerate().filter(|(_, byte)| **byte == b'/') {
        files.entry(name[..at].to_vec()).or_insert(FOLDER);
    }
    for (path, node) in what {
        let full = match (name.is_empty(), path.is_empty()) {
            (true, _) => path.clone(),
            (false, true) => name.to_vec(),
            (false, false) => [name, b"/", &path[..]].concat(),
        };
        files.insert(full, node.clone());
    }
}

/// What differs between two states of a folder.
pub(crate) fn changes(before: &Files, after: &Files) -> Files {
    let mut found = empty_folder();
    found.extend(
        after
            .iter()
            .filter(|(path, node)| before.get(*path) != Some(node))
            .map(|(p, n)| (p.clone(), n.clone())),
    );
    let gone = before.keys().filter(|path| !after.contains_key(*path));
    found.extend(gone.map(|path| (path.clone(), Node::Deleted)));
    found
}

/// Applies changes; what has changed here since it was shipped is left alone, and the new one lands beside it.
pub(crate) fn merge(here: &mut Files, shipped: &Files, changes: &Files) -> Beside {
    let mut beside = Beside::default();
    for (path, node) in changes {
        match (here.get(path) == shipped.get(path), node) {
            (true, Node::Deleted) => {
                here.remove(path);
            }
            (true, _) => {
                here.insert(path.clone(), node.clone());
            }
            (false, Node::Deleted) => {}
            (false, Node::Folder { .. }) if matches!(here.get(path), Some(Node::Folder { .. })) => {}
            (false, _) => {
                let aside = [path, &b".xxnet-new"[..]].concat();
                beside.push(|| lossy(path), || lossy(&aside));
                here.insert(aside, node.clone());
            }
        }
    }
    beside
}

fn lossy(path: &[u8]) -> String {
    String::from_utf8_lossy(path).into_owned()
}

/// A tree that is open for reading.
#[derive(Debug)]
pub(crate) struct SourceTree {
    /// As it was scanned.
    pub(crate) files: Files,
    stream: Bytes,
    manifest_len: u64,
    stamp: u64,
    /// From this block on it is found changed.
    pub(crate) changes_at: Option<u64>,
}

impl SourceTree {
    pub(crate) fn new(files: &Files) -> Result<Self, FileError> {
        let (stream, manifest_len) = encode(files)?;
        let stamp = hash(&stream).0.first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes));
        Ok(Self { files: files.clone(), stream, manifest_len, stamp, changes_at: None })
    }

    pub(crate) fn lengths(&self) -> (u64, u64, u64) {
        (self.stream.len() as u64, self.manifest_len, self.stamp)
    }

    pub(crate) fn blocks(&self) -> u64 {
        (self.stream.len() as u64).div_ceil(BLOCK)
    }

    pub(crate) fn block(&self, index: u64) -> Result<DiskDone, FileError> {
        assert!(index < self.blocks(), "a read of block {index} of {}", self.blocks());
        if self.changes_at.is_some_and(|at| at <= index) {
            return Err(FileError::new(FileErrorKind::Changed, "source"));
        }
        let data = self.slice(index);
        let hash = hash(&data);
        Ok(DiskDone::Block { data, hash })
    }

    pub(crate) fn root(&self) -> Result<DiskDone, FileError> {
        if self.changes_at.is_some() {
            return Err(FileError::new(FileErrorKind::Changed, "source"));
        }
        let root = root_of((0..self.blocks()).map(|index| hash(&self.slice(index))));
        Ok(DiskDone::Root { root })
    }

    fn slice(&self, index: u64) -> Bytes {
        let begin = (index * BLOCK) as usize;
        self.stream.slice(begin..self.stream.len().min(begin + BLOCK as usize))
    }
}

/// A tree that is being received.
#[derive(Debug)]
pub(crate) struct TargetTree {
    stream_len: u64,
    manifest_len: u64,
    blocks: Blocks,
    /// Which content it is, if that is known.
    pub(super) key: Option<Key>,
}

impl TargetTree {
    pub(crate) fn new(stream_len: u64, manifest_len: u64) -> Self {
        Self { stream_len, manifest_len, blocks: Blocks::new(), key: None }
    }

    /// Takes up what was kept of the same content, as far as it is still right: so many blocks from the first on.
    pub(super) fn take_up(&mut self, kept: Blocks) -> u64 {
        let right = |(expected, (index, (data, wanted))): &(u64, (u64, (Bytes, Hash)))| {
            expected == index && hash(data) == *wanted
        };
        self.blocks = (0..).zip(kept).take_while(right).map(|(_, block)| block).collect();
        self.blocks.len() as u64
    }

    pub(super) fn into_blocks(self) -> Blocks {
        self.blocks
    }

    pub(super) fn is_of_many_blocks(&self) -> bool {
        self.stream_len > BLOCK
    }

    pub(crate) fn write(&mut self, index: u64, data: &[Bytes], wanted: Hash) -> Result<DiskDone, FileError> {
        let mut all = BytesMut::new();
        data.iter().for_each(|piece| all.extend_from_slice(piece));
        let all = all.freeze();
        let begin = index * BLOCK;
        let right_size = begin < self.stream_len && all.len() as u64 == BLOCK.min(self.stream_len - begin);
        if !right_size || hash(&all) != wanted {
            return Err(FileError::new(FileErrorKind::Mismatch, "block"));
        }
        if begin >= self.manifest_len {
            let needed = self.manifest_len.div_ceil(BLOCK);
            let there = self.blocks.range(..needed).count() as u64;
            assert_eq!(there, needed, "block {index} is written before the manifest");
        }
        self.blocks.insert(index, (all, wanted));
        Ok(DiskDone::Nothing)
    }

    pub(crate) fn finish(&self, wanted: Hash) -> Result<Files, FileError> {
        let whole = self.blocks.len() as u64 == self.stream_len.div_ceil(BLOCK);
        assert!(whole, "a commit with {} blocks of {} bytes", self.blocks.len(), self.stream_len);
        if root_of(self.blocks.values().map(|(_, hash)| *hash)) != wanted {
            return Err(FileError::new(FileErrorKind::Mismatch, "tree"));
        }
        let mut stream = BytesMut::with_capacity(self.stream_len as usize);
        self.blocks.values().for_each(|(data, _)| stream.extend_from_slice(data));
        decode(&stream.freeze(), self.manifest_len)
    }
}

fn hash(bytes: &[u8]) -> Hash {
    Hash(*blake3::hash(bytes).as_bytes())
}

fn root_of(hashes: impl Iterator<Item = Hash>) -> Hash {
    let mut hasher = blake3::Hasher::new();
    hashes.for_each(|hash| {
        hasher.update(&hash.0);
    });
    Hash(*hasher.finalize().as_bytes())
}

fn malformed() -> FileError {
    FileError::new(FileErrorKind::BadManifest, "tree")
}

/// The stream of a tree, and the length of the manifest at its start.
fn encode(files: &Files) -> Result<(Bytes, u64), FileError> {
    let entry = |(path, node): (&Vec<u8>, &Node)| Entry { path: path.clone(), kind: node.kind() };
    let manifest = Manifest::new(files.iter().map(entry).collect()).map_err(|_| malformed())?;
    let mut stream = manifest.encode().map_err(|_| malformed())?;
    let len = stream.len() as u64;
    for node in files.values() {
        if let Node::File { bytes, .. } = node {
            stream.extend_from_slice(bytes);
        }
    }
    Ok((stream.into(), len))
}

fn decode(stream: &Bytes, manifest_len: u64) -> Result<Files, FileError> {
    let split = usize::try_from(manifest_len).ok().filter(|at| *at <= stream.len()).ok_or_else(malformed)?;
    let manifest = Manifest::decode(&stream[..split]).map_err(|_| malformed())?;
    let mut content = stream.slice(split..);
    if manifest.content_len() != content.len() as u64 {
        return Err(malformed());
    }
    let mut files = Files::new();
    for Entry { path, kind } in manifest.entries {
        let node = match kind {
            EntryKind::File { size, mode, mtime } => {
                Node::File { bytes: content.split_to(size as usize), mode, mtime }
            }
            EntryKind::Folder { mode, .. } => Node::Folder { mode },
            EntryKind::Link { target } => Node::Link(target),
            EntryKind::Deleted => Node::Deleted,
        };
        files.insert(path, node);
    }
    Ok(files)
}

impl Node {
    fn kind(&self) -> EntryKind {
        match self {
            Self::File { bytes, mode, mtime } => {
                EntryKind::File { size: bytes.len() as u64, mode: *mode, mtime: *mtime }
            }
            Self::Folder { mode } => EntryKind::Folder { mode: *mode, mtime: (0, 0) },
            Self::Link(target) => EntryKind::Link { target: target.clone() },
            Self::Deleted => EntryKind::Deleted,
        }
    }
}

/// A folder with the usual permissions.
pub(crate) const FOLDER: Node = Node::Folder { mode: 0o755 };
