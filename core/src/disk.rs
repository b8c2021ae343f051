//! The disk as the machines see it: files and folders as verified streams.
//!
//! A *tree* is one file, or one folder with all that is in it, read or written as one stream of bytes:
//!
//! ```text
//! | encoded manifest | contents of every regular file, in the manifest's order |
//!   manifest_len       the rest of stream_len
//! ```
//!
//! The stream is cut into blocks of [`BLOCK`] bytes (the last one may be shorter), each hashed with BLAKE3 as it is read
//! and as it arrives, on the disk's side and never inside `handle`. The root hash is the BLAKE3 of all block hashes, in
//! order; it comes last, so that the first byte leaves before the last one is hashed. Ten thousand small files cost a
//! handful of blocks, and a transfer resumes at a block number (seed §3.1.2; ledger F6, F11).

use crate::system::SystemError;
use crate::{FolderId, InstanceId, OpId, TreeId};
use alloc::{string::String, vec::Vec};
use bytes::Bytes;
use core::fmt;
use serde::{Deserialize, Serialize};

/// Bytes a block.
pub const BLOCK: u64 = 1 << 20;

/// A BLAKE3 hash.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Hash(pub [u8; 32]);

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().take(6).try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// A request to the disk; each gets exactly one [`DiskEvent`] with its `op`. Requests may complete in any order; the
/// machines keep the order that matters by waiting.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
pub struct DiskAction {
    /// Names the completion.
    pub op: OpId,
    /// What is asked.
    pub request: DiskRequest,
}

/// What a machine asks of the disk.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
pub enum DiskRequest {
    /// Make an attempt's empty private folder → [`DiskDone::Nothing`].
    MakeFolder {
        /// Which.
        folder: FolderId,
    },
    /// Remove an attempt's folder with all that is in it; one that is not there is removed already →
    /// [`DiskDone::Nothing`].
    RemoveFolder {
        /// Which.
        folder: FolderId,
    },
    /// Scan a source and keep it open for reading → [`DiskDone::Opened`].
    OpenSource {
        /// The new tree; does not exist if this fails.
        tree: TreeId,
        /// What to read.
        source: Source,
    },
    /// Read and hash one block → [`DiskDone::Block`]. A file that has changed since the scan is
    /// [`FileErrorKind::Changed`].
    ReadBlock {
        /// An open source.
        tree: TreeId,
        /// Which block.
        index: u64,
    },
    /// The root hash of a source; blocks that were not read are read now → [`DiskDone::Root`].
    ReadRoot {
        /// An open source.
        tree: TreeId,
    },
    /// Prepare to receive a tree → [`DiskDone::Nothing`], or [`FileErrorKind::NoSpace`] if that is known beforehand. If the
    /// disk has kept blocks of the same content it takes them up, verified anew → [`DiskDone::Resumed`].
    OpenTarget {
        /// The new tree; does not exist if this fails.
        tree: TreeId,
        /// Where it goes.
        target: Target,
        /// Its stream's length in bytes.
        stream_len: u64,
        /// The length of the manifest at the stream's start.
        manifest_len: u64,
        /// What it is received from, if that is known: with the lengths it tells which content this is.
        origin: Option<Origin>,
    },
    /// Verify one block and write it → [`DiskDone::Nothing`], or [`FileErrorKind::Mismatch`]. Block 0 (and on, while the
    /// manifest lasts) is written before any later one is asked for.
    WriteBlock {
        /// An open target.
        tree: TreeId,
        /// Which block.
        index: u64,
        /// The block's bytes, in pieces as they came from the socket.
        data: Vec<Bytes>,
        /// What they must hash to.
        hash: Hash,
    },
    /// Check the root hash, set modes and times, make links, and make the tree visible under its name →
    /// [`DiskDone::Committed`].
    Commit {
        /// An open target that has every block.
        tree: TreeId,
        /// What the blocks' hashes must hash to.
        root: Hash,
    },
    /// As [`Commit`](Self::Commit), but of a copy, for another attempt that waits for the same content: the tree stays as it
    /// is → [`DiskDone::Committed`].
    CommitCopy {
        /// An open target that has every block.
        tree: TreeId,
        /// What the blocks' hashes must hash to.
        root: Hash,
        /// The other attempt's folder.
        folder: FolderId,
        /// The name that the copy gets there.
        name: Vec<u8>,
    },
    /// Forget a tree; what an uncommitted target staged is removed, or kept → [`DiskDone::Nothing`].
    CloseTree {
        /// An open tree.
        tree: TreeId,
        /// Whether the blocks of an uncommitted target may be of use to the next one of the same origin. Then they stay, as
        /// do those of a process that was killed: for a while, and no more than so many bytes, both the disk's to say.
        keep: bool,
    },
}

/// One state of one source of one publisher. Its blocks are of use to nobody else: what another publisher sends is received
/// anew, whatever it claims to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Origin {
    /// Who has it.
    pub publisher: InstanceId,
    /// The state it is in; [`DiskDone::Opened`] says so where it is read.
    pub stamp: u64,
}

/// What a source holds, as it was scanned: two of one publisher with the same are the same content.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Content {
    /// Bytes of the whole stream.
    pub stream_len: u64,
    /// Bytes of the manifest at its start.
    pub manifest_len: u64,
    /// Identifies this state of the source: a reader that resumes must find the same.
    pub stamp: u64,
}

/// What a tree is read from.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
pub enum Source {
    /// A file or folder of the user's, by its path on this machine.
    Path {
        /// The path's bytes.
        path: Vec<u8>,
    },
    /// A result in an attempt's folder.
    Output {
        /// The attempt's folder.
        folder: FolderId,
        /// Relative, checked as [`manifest::check_name`](crate::manifest::check_name) does.
        name: Vec<u8>,
    },
    /// What differs in an attempt's folder from what arrived there as `.` (`run -C`): new and changed entries, and
    /// [`Entry::Deleted`](crate::manifest::EntryKind::Deleted) for those that are gone.
    Changes {
        /// The attempt's folder.
        folder: FolderId,
    },
}

/// Where a tree is written to.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Target {
    /// Into an attempt's folder, which nobody sees before the task starts.
    Work {
        /// The attempt's folder.
        folder: FolderId,
        /// The name that the tree gets there; `.` is the folder itself.
        name: Vec<u8>,
    },
    /// To a path of the user's: staged beside it, renamed once verified, so that no half-written byte is ever seen.
    Path {
        /// The path's bytes.
        path: Vec<u8>,
    },
    /// Changes into a folder of the user's (`run -C`): staged inside, then applied entry by entry. An entry that the user
    /// changed since `shipped` was scanned is left alone, and the new one lands beside it as `NAME.xxnet-new`, which the
    /// completion says.
    Merge {
        /// The folder's path.
        path: Vec<u8>,
        /// The source that the folder was shipped from.
        shipped: TreeId,
    },
}

/// The one completion of a [`DiskAction`].
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct DiskEvent {
    /// Which request.
    pub op: OpId,
    /// What came of it.
    pub result: Result<DiskDone, FileError>,
}

/// What a disk request brings back.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum DiskDone {
    /// It is done.
    Nothing,
    /// A source is open.
    Opened {
        /// Bytes of the whole stream.
        stream_len: u64,
        /// Bytes of the manifest at its start.
        manifest_len: u64,
        /// Identifies this state of the source: a reader that resumes must find the same.
        stamp: u64,
    },
    /// A tree is visible under its name.
    Committed {
        /// Changes that could not replace the user's own; none but of a [`Target::Merge`].
        beside: Beside,
    },
    /// One block.
    Block {
        /// Its bytes.
        data: Bytes,
        /// Their hash.
        hash: Hash,
    },
    /// The root hash.
    Root {
        /// BLAKE3 of all block hashes in order.
        root: Hash,
    },
    /// A target is open, and the first blocks of its stream are there already.
    Resumed {
        /// How many.
        blocks: u64,
    },
}

/// Changes that met something of the user's own and stand beside it, under other names.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Beside {
    /// The first [`MOST`](Self::MOST) of them.
    pub first: Vec<Aside>,
    /// How many there are in all.
    pub count: u64,
}

/// One of [`Beside`], for people.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Aside {
    /// Where the user's own stands, or stood if the user has removed it.
    pub own: String,
    /// The name beside it that the change has got.
    pub name: String,
}

impl Beside {
    /// So many are named; more would only scroll away.
    pub const MOST: usize = 10;

    /// One more.
    pub fn push(&mut self, own: impl FnOnce() -> String, name: impl FnOnce() -> String) {
        self.count += 1;
        if self.first.len() < Self::MOST {
            self.first.push(Aside { own: own(), name: name() });
        }
    }
}

/// Why a file did not arrive, or a disk request failed. Travels, so that the other end can say it too.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Hash)]
pub struct FileError {
    /// What went wrong.
    pub kind: FileErrorKind,
    /// The file or folder, for people; at most 512 bytes travel.
    pub name: String,
}

impl FileError {
    /// An error about `name`.
    pub fn new(kind: FileErrorKind, name: impl Into<String>) -> Self {
        Self { kind, name: name.into() }
    }
}

/// The kinds of [`FileError`]; pinned by golden vectors.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, Hash)]
pub enum FileErrorKind {
    /// There is no such file or folder.
    NotFound,
    /// It cannot be read or written for want of permission.
    PermissionDenied,
    /// It is a device, a socket or a pipe.
    Special,
    /// A name or a link leads out of the folder that it belongs in.
    Escapes,
    /// It changed while it was read.
    Changed,
    /// The disk is full, or would be.
    NoSpace,
    /// Bytes do not match their hash or size.
    Mismatch,
    /// The manifest is malformed.
    BadManifest,
    /// A folder is where a file should go, or the other way round.
    InTheWay,
    /// Not enough verified progress within the window (seed: five minutes).
    TimedOut,
    /// The link to the source broke and did not come back before the window or the attempt was over.
    Disconnected,
    /// The source's address cannot be reached.
    Unreachable,
    /// The task or the request was cancelled.
    Cancelled,
    /// The request names a file connection that is not there, is stale, or is another peer's.
    UnknownConnection,
    /// The request names a file that the task does not have.
    UnknownFile,
    /// Too many requests at once.
    Busy,
    /// Any other error of the system, by its number.
    System(i32),
}

impl fmt::Display for FileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self.kind {
            FileErrorKind::NotFound => "no such file or folder",
            FileErrorKind::PermissionDenied => "permission denied",
            FileErrorKind::Special => "is a device, socket or pipe; only files, folders and links can travel",
            FileErrorKind::Escapes => "leads out of its folder",
            FileErrorKind::Changed => "changed while it was read",
            FileErrorKind::NoSpace => "no space left on the disk",
            FileErrorKind::Mismatch => "arrived with other bytes than were sent",
            FileErrorKind::BadManifest => "the file list is malformed",
            FileErrorKind::InTheWay => "a folder and a file are in each other's way",
            FileErrorKind::TimedOut => "did not arrive in time",
            FileErrorKind::Disconnected => "the connection to its source was lost",
            FileErrorKind::Unreachable => "its source cannot be reached",
            FileErrorKind::Cancelled => "was cancelled",
            FileErrorKind::UnknownConnection => "was asked for on an unknown file connection",
            FileErrorKind::UnknownFile => "is no file of this task",
            FileErrorKind::Busy => "too many requests at once",
            FileErrorKind::System(number) => {
                return write!(f, "{}: {}", self.name, SystemError(number));
            }
        };
        if self.name.is_empty() { f.write_str(what) } else { write!(f, "{}: {what}", self.name) }
    }
}

impl core::error::Error for FileError {}
