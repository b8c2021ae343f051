//! The file service (the seed's FileExe): serves sources, block by block, each request in turn.

use super::ops::{Op, Ops};
use crate::disk::{BLOCK, Content, DiskRequest, FileError, FileErrorKind, Hash};
use crate::machine::Actions;
use crate::message::{Block, FileBegin, FileEnd, FileFailed, Message};
use crate::states::{Key, Row, ServeState};
use crate::{CallbackId, ConnectionId, Limits, TaskId, TreeId};
use alloc::collections::{BTreeMap, VecDeque};
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;
use bytes::Bytes;
use serde::{Deserialize, Serialize};

/// A scanned tree that can be served.
#[derive(Clone, Copy, Debug, Hash, Serialize, Deserialize)]
pub(super) struct SourceInfo {
    pub(super) stream_len: u64,
    pub(super) manifest_len: u64,
    pub(super) stamp: u64,
}

impl SourceInfo {
    /// For those who may know it already.
    pub(super) fn content(self) -> Content {
        let Self { stream_len, manifest_len, stamp } = self;
        Content { stream_len, manifest_len, stamp }
    }
}

/// What one request is about, for notices.
#[derive(Clone, Debug, Hash, Serialize, Deserialize)]
pub(super) struct Served {
    pub(super) task: TaskId,
    pub(super) label: String,
    pub(super) tree: TreeId,
}

#[derive(Clone, Debug, Hash, Serialize, Deserialize)]
struct Serve {
    what: Served,
    info: SourceInfo,
    next_read: u64,
    next_send: u64,
    ready: BTreeMap<u64, (Bytes, Hash)>,
    reading: usize,
    root_asked: bool,
}

/// One file connection that we serve on.
#[derive(Clone, Debug, Default, Hash, Serialize, Deserialize)]
struct Line {
    serves: BTreeMap<CallbackId, Serve>,
    /// Whose turn it is.
    turns: VecDeque<CallbackId>,
    reading: usize,
}

/// Bytes sent for a request, for progress.
pub(super) struct Sent {
    pub(super) what: Served,
    pub(super) done: u64,
    pub(super) total: u64,
    /// Everything is sent.
    pub(super) complete: bool,
}

/// All sources and requests.
#[derive(Clone, Debug, Default, Hash, Serialize, Deserialize)]
pub(super) struct FileService {
    sources: BTreeMap<TreeId, SourceInfo>,
    lines: BTreeMap<ConnectionId, Line>,
}

impl FileService {
    /// A source can be asked for from now on.
    pub(super) fn add_source(&mut self, tree: TreeId, info: SourceInfo) {
        self.sources.insert(tree, info);
    }

    /// Whether this source was scanned and can be served.
    pub(super) fn is_open(&self, tree: TreeId) -> bool {
        self.sources.contains_key(&tree)
    }

    /// What was scanned.
    pub(super) fn source(&self, tree: TreeId) -> Option<SourceInfo> {
        self.sources.get(&tree).copied()
    }

    /// A source is withdrawn; what is being sent of it ends. The messages say so to their connections.
    pub(super) fn remove_source(&mut self, tree: TreeId) -> Vec<(ConnectionId, Message)> {
        self.sources.remove(&tree);
        let mut told = Vec::new();
        for (connection, line) in &mut self.lines {
            let of_tree = |(id, serve): (&CallbackId, &Serve)| (serve.what.tree == tree).then_some(*id);
            let ids: Vec<_> = line.serves.iter().filter_map(of_tree).collect();
            for callback in ids {
                line.end(callback);
                let error = FileError::new(FileErrorKind::Cancelled, "");
                told.push((*connection, FileFailed { callback, error }.into()));
            }
        }
        self.lines.retain(|_, line| !line.is_idle());
        told
    }

    /// A request that was checked: serves it from block `from` on, in turn. A repeated one starts over from there.
    pub(super) fn serve(
        &mut self,
        connection: ConnectionId,
        callback: CallbackId,
        what: Served,
        from: u64,
        limits: &Limits,
    ) -> Result<Message, FileErrorKind> {
        let info = *self.sources.get(&what.tree).ok_or(FileErrorKind::UnknownFile)?;
        if from > info.stream_len.div_ceil(BLOCK) {
            return Err(FileErrorKind::Changed);
        }
        let line = self.lines.entry(connection).or_default();
        if line.serves.len() >= limits.max_file_requests {
            return Err(FileErrorKind::Busy);
        }
        let reading = line.serves.get(&callback).map_or(0, |before| before.reading);
        let serve = Serve {
            what,
            info,
            next_read: from,
            next_send: from,
            ready: BTreeMap::new(),
            reading,
            root_asked: false,
        };
        if line.serves.insert(callback, serve).is_none() {
            line.turns.push_back(callback);
        }
        let SourceInfo { stream_len, manifest_len, stamp } = info;
        Ok(FileBegin { callback, stream_len, manifest_len, stamp }.into())
    }

    /// Reads ahead, a block of each request in turn, as far as the limits and the connection allow.
    pub(super) fn read_on<N>(
        &mut self,
        connection: ConnectionId,
        writable: bool,
        limits: &Limits,
        ops: &mut Ops,
        actions: &mut Actions<N>,
    ) {
        let Some(line) = self.lines.get_mut(&connection) else { return };
        let mut passed = 0;
        while writable && line.reading < limits.blocks_ahead && passed < line.turns.len() {
            let Some(callback) = line.turns.pop_front() else { break };
            line.turns.push_back(callback);
            let Some(serve) = line.serves.get_mut(&callback) else { break };
            let blocks = serve.info.stream_len.div_ceil(BLOCK);
            let ahead = serve.next_read - serve.next_send < limits.blocks_ahead as u64;
            if serve.next_read < blocks && ahead {
                let index = serve.next_read;
                serve.next_read += 1;
                serve.reading += 1;
                line.reading += 1;
                passed = 0;
                let request = DiskRequest::ReadBlock { tree: serve.what.tree, index };
                ops.ask(Op::ServeBlock { connection, callback, index }, request, actions);
            } else {
                passed += 1;
                if serve.next_send == blocks && serve.reading == 0 && !serve.root_asked {
                    serve.root_asked = true;
                    ops.ask(
                        Op::ServeRoot { connection, callback },
                        DiskRequest::ReadRoot { tree: serve.what.tree },
                        actions,
                    );
                }
            }
        }
    }

    /// A block was read, or not: what goes out now, in order.
    pub(super) fn block_read(
        &mut self,
        connection: ConnectionId,
        callback: CallbackId,
        index: u64,
        result: Result<(Bytes, Hash), FileError>,
    ) -> (Vec<Message>, Option<Sent>) {
        let Some(line) = self.lines.get_mut(&connection) else { return (Vec::new(), None) };
        line.reading = line.reading.saturating_sub(1);
        let Some(serve) = line.serves.get_mut(&callback) else {
            self.drop_if_idle(connection);
            return (Vec::new(), None);
        };
        serve.reading = serve.reading.saturating_sub(1);
        let (data, hash) = match result {
            Ok(block) => block,
            Err(error) => return (vec![self.failed(connection, callback, error)], None),
        };
        // A request that was repeated begins anew, while blocks for the first one are still being read.
        if (serve.next_send..serve.next_read).contains(&index) {
            serve.ready.insert(index, (data, hash));
        }
        let mut messages = Vec::new();
        while let Some((data, hash)) = serve.ready.remove(&serve.next_send) {
            messages.push(Block { callback, index: serve.next_send, hash, data: vec![data] }.into());
            serve.next_send += 1;
        }
        let total = serve.info.stream_len;
        let done = (serve.next_send * BLOCK).min(total);
        (messages, Some(Sent { what: serve.what.clone(), done, total, complete: false }))
    }

    /// The root hash was read, or not: the request is served.
    pub(super) fn root_read(
        &mut self,
        connection: ConnectionId,
        callback: CallbackId,
        result: Result<Hash, FileError>,
    ) -> Option<(Message, Option<Sent>)> {
        let serve = self.lines.get(&connection)?.serves.get(&callback)?;
        if !serve.root_asked {
            // The request was repeated meanwhile; its root is asked for again at its end.
            return None;
        }
        let total = serve.info.stream_len;
        let sent = Sent { what: serve.what.clone(), done: total, total, complete: true };
        match result {
            Ok(root) => {
                self.end(connection, callback);
                Some((FileEnd { callback, root }.into(), Some(sent)))
            }
            Err(error) => Some((self.failed(connection, callback, error), None)),
        }
    }

    fn failed(&mut self, connection: ConnectionId, callback: CallbackId, error: FileError) -> Message {
        self.end(connection, callback);
        FileFailed { callback, error }.into()
    }

    /// The asker wants no more of it.
    pub(super) fn end(&mut self, connection: ConnectionId, callback: CallbackId) {
        if let Some(line) = self.lines.get_mut(&connection) {
            line.end(callback);
        }
        self.drop_if_idle(connection);
    }

    /// A file connection is gone, with all its requests.
    pub(super) fn link_lost(&mut self, connection: ConnectionId) {
        self.lines.remove(&connection);
    }

    fn drop_if_idle(&mut self, connection: ConnectionId) {
        if self.lines.get(&connection).is_some_and(Line::is_idle) {
            self.lines.remove(&connection);
        }
    }

    pub(super) fn check_invariants(&self, limits: &Limits) {
        for line in self.lines.values() {
            assert!(line.reading <= limits.blocks_ahead, "reading ahead is bounded");
            assert_eq!(line.turns.len(), line.serves.len(), "every request has its turn");
            for serve in line.serves.values() {
                assert!(self.sources.contains_key(&serve.what.tree), "only open sources are served");
                assert!(serve.next_send <= serve.next_read);
            }
        }
    }

    /// Where each request that is being served stands.
    pub(super) fn rows(&self) -> impl Iterator<Item = Row> {
        self.lines.iter().flat_map(|(connection, line)| {
            line.serves.iter().map(|(callback, serve)| {
                let state = if serve.root_asked { ServeState::Root } else { ServeState::Reading };
                Row::new(Key::Serve(*connection, *callback), state).on(*connection)
            })
        })
    }

    /// For leak checks; all zero once no source is needed any more.
    pub(super) fn unfinished(&self) -> [(&'static str, usize); 2] {
        [("sources", self.sources.len()), ("file connections served", self.lines.len())]
    }

    /// Requests that are being served.
    #[cfg(test)]
    pub(super) fn serving(&self) -> usize {
        self.lines.values().map(|line| line.serves.len()).sum()
    }
}

impl Line {
    fn end(&mut self, callback: CallbackId) {
        self.serves.remove(&callback);
        self.turns.retain(|id| *id != callback);
    }

    fn is_idle(&self) -> bool {
        self.serves.is_empty() && self.reading == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::InstanceId;

    #[test]
    fn f3_a_block_that_was_read_for_a_request_before_it_was_repeated_is_not_the_repeated_ones() {
        let (limits, tree) = (Limits::default(), TreeId(1));
        let (connection, callback) = (ConnectionId(1), CallbackId(1));
        let what = || {
            let task = TaskId { publisher: InstanceId([1; 16]), number: 1 };
            Served { task, label: String::new(), tree }
        };
        let mut service = FileService::default();
        service.add_source(tree, SourceInfo { stream_len: 3 * BLOCK, manifest_len: 0, stamp: 0 });
        for _ in 0..2 {
            assert!(service.serve(connection, callback, what(), 0, &limits).is_ok());
        }
        // Asked for by the first; the second has asked for nothing yet.
        let block = (Bytes::from_static(b"block"), Hash([0; 32]));
        let (messages, _) = service.block_read(connection, callback, 0, Ok(block));
        assert!(messages.is_empty(), "{messages:?}");
        service.check_invariants(&limits);
    }
}
