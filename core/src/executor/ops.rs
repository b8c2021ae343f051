//! Disk requests under way: who waits for which.

use crate::disk::{DiskAction, DiskRequest};
use crate::machine::Actions;
use crate::{AttemptNumber, CallbackId, ConnectionId, OpId, TaskId, TreeId};
use alloc::collections::BTreeMap;
use serde::{Deserialize, Serialize};

/// What a disk request was for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(super) enum Op {
    /// Scan of one of our task's inputs.
    ScanInput { task: TaskId, tree: TreeId },
    /// An attempt's folder is made.
    MakeFolder { task: TaskId, attempt: AttemptNumber },
    /// An attempt's folder is removed.
    RemoveFolder { task: TaskId, attempt: AttemptNumber },
    /// Scan of a declared output.
    ScanOutput { task: TaskId, attempt: AttemptNumber, index: usize },
    /// A block is read for a peer.
    ServeBlock { connection: ConnectionId, callback: CallbackId, index: u64 },
    /// The root hash is read for a peer.
    ServeRoot { connection: ConnectionId, callback: CallbackId },
    /// A target is opened.
    FetchOpen { tree: TreeId },
    /// A block is verified and written.
    FetchWrite { tree: TreeId, index: u64 },
    /// A target is made visible.
    FetchCommit { tree: TreeId },
    /// A copy of it is made visible.
    FetchCopy { tree: TreeId, callback: CallbackId },
    /// A target is forgotten.
    FetchClose { tree: TreeId },
    /// A source is forgotten; nobody waits.
    CloseSource,
}

/// All of them, by id.
#[derive(Clone, Debug, Default, Hash, Serialize, Deserialize)]
pub(super) struct Ops {
    next: u64,
    next_tree: u64,
    table: BTreeMap<OpId, Op>,
}

impl Ops {
    /// Asks the disk.
    pub(super) fn ask<N>(&mut self, op: Op, request: DiskRequest, actions: &mut Actions<N>) {
        let id = OpId::next(&mut self.next);
        self.table.insert(id, op);
        actions.disk(DiskAction { op: id, request });
    }

    /// A completion: what it was for. `None`: late, repeated or unknown.
    pub(super) fn complete(&mut self, id: OpId) -> Option<Op> {
        self.table.remove(&id)
    }

    pub(super) fn new_tree(&mut self) -> TreeId {
        TreeId::next(&mut self.next_tree)
    }

    pub(super) fn len(&self) -> usize {
        self.table.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.table.is_empty()
    }
}
