//! Routing of files: requests, the file service, callbacks.

use super::fetch::{FetchOutcome, Wanted};
use super::ops::Op;
use super::peers::{Lane, Side};
use super::service::{Sent, Served};
use super::{Executor, ExecutorNotice, FileStep, Out};
use crate::disk::{Beside, Content, DiskDone, DiskRequest, FileError, FileErrorKind};
use crate::message::{Block, FileBegin, FileCancel, FileEnd, FileFailed, FileRefused, FileRequest, Message};
use crate::{CallbackId, ConnectionId, InstanceId, Instant, TreeId};
use alloc::format;
use alloc::string::String;

impl Executor {
    // ---- asking ----

    /// Sends what is to be asked of this peer, if both connections are up (file request step 1).
    pub(super) fn request_files(&mut self, now: Instant, peer: InstanceId, side: Side, out: &mut Out) {
        let (Some(task_link), Some(file_link)) =
            (self.peers.up(peer, Lane::Task, side), self.peers.up(peer, Lane::File, side))
        else {
            return;
        };
        let Some(connection) = self.manager.peer(file_link).map(|info| info.connection) else { return };
        for callback in self.fetches.unrequested(peer, side) {
            let from = self.fetches.request(callback, file_link);
            let Some(Wanted { task, attempt, file, label, .. }) = self.fetches.wanted(callback).cloned()
            else {
                continue;
            };
            self.send(now, task_link, FileRequest { task, attempt, file, connection, callback, from }, out);
            let step = FileStep::Requested;
            out.notify(ExecutorNotice::FileStep { step, task, file: label, callback, peer, bytes: 0 });
        }
    }

    /// What a fetch has come to: the callback fires here, once.
    pub(super) fn fetch_outcome(&mut self, now: Instant, outcome: FetchOutcome, out: &mut Out) {
        match outcome {
            FetchOutcome::None => {}
            FetchOutcome::Progress { callback, done, total } => {
                if let Some(wanted) = self.fetches.wanted(callback) {
                    let (task, file, result) =
                        (wanted.task, wanted.label.clone(), wanted.side == Side::Accepted);
                    out.notify(ExecutorNotice::Progress { task, file, result, done, total });
                }
            }
            FetchOutcome::Fired { callback, result, cancel, total } => {
                let Some(wanted) = self.fetches.wanted(callback).cloned() else { return };
                if let Some(link) = cancel {
                    self.send(now, link, FileCancel { callback }, out);
                    self.manager.resume(now, link, out);
                }
                let Wanted { task, peer, label: file, .. } = wanted.clone();
                if result.is_ok() {
                    let step = FileStep::Delivered;
                    out.notify(ExecutorNotice::FileStep { step, task, file, callback, peer, bytes: total });
                }
                out.notify(ExecutorNotice::Callback { callback, task, result: result.clone() });
                match wanted.side {
                    Side::Dialled => self.input_fetched(now, callback, &wanted, result, out),
                    Side::Accepted => self.output_fetched(now, &wanted, result, out),
                }
                self.request_files(now, peer, wanted.side, out);
                let settled = self.fetches.settle(callback);
                self.fetch_outcome(now, settled, out);
            }
            FetchOutcome::Settled { callback, wanted } => self.settled(now, callback, &wanted, out),
        }
    }

    /// The disk has opened a target, or not: what is there already is not asked for.
    pub(super) fn target_opened(
        &mut self,
        now: Instant,
        tree: TreeId,
        result: Result<DiskDone, FileError>,
        out: &mut Out,
    ) {
        let there = result.map(|done| if let DiskDone::Resumed { blocks } = done { blocks } else { 0 });
        let source = self.fetches.source(tree);
        let outcome = self.fetches.opened(tree, there, &self.config.limits, &mut self.ops, out);
        self.fetch_outcome(now, outcome, out);
        if let Some((peer, side)) = source {
            self.request_files(now, peer, side, out);
        }
    }

    /// Told even if nobody waits for the files any more: they are on the user's disk.
    pub(super) fn landed_beside(&self, tree: TreeId, beside: &Beside, out: &mut Out) {
        if let Some(Wanted { task, .. }) = self.fetches.opener(tree).filter(|_| beside.count > 0) {
            out.notify(ExecutorNotice::LandedBeside { task: *task, beside: beside.clone() });
        }
    }

    fn settled(&mut self, now: Instant, callback: CallbackId, wanted: &Wanted, out: &mut Out) {
        if wanted.side == Side::Dialled {
            self.input_settled(now, callback, wanted, out);
        }
    }

    /// Too many blocks that wait for the disk stop the reading of their connection; fewer start it again.
    fn pause_if_full(&mut self, link: ConnectionId) {
        if self.fetches.backlog(link) > 2 * self.config.limits.blocks_ahead {
            self.manager.pause(link);
        }
    }

    pub(super) fn read_if_room(&mut self, now: Instant, tree: TreeId, out: &mut Out) {
        let Some(link) = self.fetches.connection(tree) else { return };
        if self.fetches.backlog(link) <= self.config.limits.blocks_ahead {
            self.manager.resume(now, link, out);
        }
    }

    pub(super) fn file_begin(&mut self, now: Instant, link: ConnectionId, begin: &FileBegin, out: &mut Out) {
        let FileBegin { callback, stream_len, manifest_len, stamp } = *begin;
        let content = Content { stream_len, manifest_len, stamp };
        let outcome = self.fetches.begin(callback, link, content, &mut self.ops, out);
        self.fetch_outcome(now, outcome, out);
    }

    /// `Err`: the peer breaks the protocol.
    pub(super) fn file_block(
        &mut self,
        link: ConnectionId,
        block: Block,
        out: &mut Out,
    ) -> Result<(), &'static str> {
        let Block { callback, index, hash, data } = block;
        let limits = &self.config.limits;
        self.fetches.block(callback, link, index, data, hash, limits, &mut self.ops, out)?;
        self.pause_if_full(link);
        Ok(())
    }

    pub(super) fn file_end(&mut self, now: Instant, link: ConnectionId, end: &FileEnd, out: &mut Out) {
        if self.fetches.end(end.callback, link, end.root, &mut self.ops, out) {
            let Some((peer, side)) = self.fetches.wanted(end.callback).map(|w| (w.peer, w.side)) else {
                return;
            };
            self.request_files(now, peer, side, out);
        }
    }

    /// The source refuses a request, or gives one up.
    pub(super) fn file_refused(
        &mut self,
        now: Instant,
        link: ConnectionId,
        callback: CallbackId,
        error: FileError,
        out: &mut Out,
    ) {
        let Some((peer, ..)) = self.peers.owner(link) else { return };
        if error.kind == FileErrorKind::UnknownConnection {
            // Replaced while the request was on its way, or broken and only the source knows yet.
            if let Some(side) = self.fetches.unknown_connection(callback, peer) {
                self.request_files(now, peer, side, out);
            }
            return;
        }
        let outcome = self.fetches.refused(callback, peer, bounded(error), &mut self.ops, out);
        self.fetch_outcome(now, outcome, out);
    }

    // ---- serving ----

    /// A request has come (file request step 2): it is refused with a reason, or served in turn.
    ///
    /// The asker holds its file connection as soon as we have welcomed it, we only with its `Confirm`; and one that we dial may have
    /// broken before the asker knows. A request that names a connection which is not there yet waits for it, no longer than a
    /// handshake may take.
    pub(super) fn file_requested(
        &mut self,
        now: Instant,
        link: ConnectionId,
        request: FileRequest,
        out: &mut Out,
    ) {
        let waiting = self.early.iter().filter(|(_, from, _)| *from == link).count();
        if waiting < self.config.limits.max_file_requests && self.is_early(link, request.connection) {
            self.early.push_back((now + self.config.limits.handshake, link, request));
        } else {
            self.judge_request(now, link, &request, out);
        }
    }

    /// Whether this may be a connection of the peer's whose `Confirm` is still on its way (newer than the one that is there, and
    /// nobody else's), or ours to the peer while it is down.
    fn is_early(&self, link: ConnectionId, named: ConnectionId) -> bool {
        let Some((peer, _, side)) = self.peers.owner(link) else { return false };
        let present = self.peers.up(peer, Lane::File, side);
        match side {
            Side::Accepted => {
                self.manager.kind(named).is_none() && present.is_none_or(|present| present < named)
            }
            Side::Dialled => present.is_none() && self.peers.owner(named) == Some((peer, Lane::File, side)),
        }
    }

    /// A file connection is there, or a request has waited long enough for one.
    pub(super) fn judge_early(&mut self, now: Instant, out: &mut Out) {
        for (due, link, request) in core::mem::take(&mut self.early) {
            if due > now && self.is_early(link, request.connection) {
                self.early.push_back((due, link, request));
            } else {
                self.judge_request(now, link, &request, out);
            }
        }
    }

    fn judge_request(&mut self, now: Instant, link: ConnectionId, request: &FileRequest, out: &mut Out) {
        let callback = request.callback;
        let served = self.servable(link, request).and_then(|(line, what)| {
            let begin = self.service.serve(line, callback, what.clone(), request.from, &self.config.limits);
            begin.map(|begin| (line, what, begin)).map_err(|kind| FileError::new(kind, ""))
        });
        match served {
            Err(error) => self.send(now, link, FileRefused { callback, error }, out),
            Ok((line, Served { task, label: file, .. }, begin)) => {
                if let Some((peer, ..)) = self.peers.owner(link) {
                    let step = FileStep::Told;
                    out.notify(ExecutorNotice::FileStep { step, task, file, callback, peer, bytes: 0 });
                }
                self.send(now, line, begin, out);
                self.serve_on(now, line, out);
            }
        }
    }

    /// What a request means here: the file connection it names must be that very peer's, the attempt current, the file
    /// declared (ledger F5).
    pub(super) fn servable(
        &mut self,
        link: ConnectionId,
        request: &FileRequest,
    ) -> Result<(ConnectionId, Served), FileError> {
        let refuse = |kind| FileError::new(kind, "");
        let (peer, _, side) = self.peers.owner(link).ok_or(refuse(FileErrorKind::UnknownConnection))?;
        if self.peers.up(peer, Lane::File, side) != Some(request.connection) {
            return Err(refuse(FileErrorKind::UnknownConnection));
        }
        let index = request.file as usize;
        let (tree, label) = match side {
            Side::Accepted => {
                let held = self.publisher.current(request.task, request.attempt, peer).is_some();
                let task = self
                    .publisher
                    .peek(request.task)
                    .filter(|_| held)
                    .ok_or(refuse(FileErrorKind::Cancelled))?;
                let label = task.spec.inputs.get(index).map(|input| lossy(&input.name));
                (task.sources.get(index).copied(), label)
            }
            Side::Dialled => {
                let ours = request.task.publisher == peer;
                let held = self.worker.attempt(request.task, request.attempt).filter(|_| ours);
                let held = held.ok_or(refuse(FileErrorKind::Cancelled))?;
                let output = held.outputs.get(index).filter(|output| matches!(output.scanned, Some(Ok(()))));
                (output.map(|output| output.tree), Some(format!("output {}", index + 1)))
            }
        };
        let (Some(tree), Some(label)) = (tree, label) else { return Err(refuse(FileErrorKind::UnknownFile)) };
        Ok((request.connection, Served { task: request.task, label, tree }))
    }

    /// Reads on for a connection, as far as it takes bytes.
    pub(super) fn serve_on(&mut self, _now: Instant, line: ConnectionId, out: &mut Out) {
        let writable = self.manager.writable(line);
        self.service.read_on(line, writable, &self.config.limits, &mut self.ops, out);
    }

    pub(super) fn block_read(
        &mut self,
        now: Instant,
        line: ConnectionId,
        callback: CallbackId,
        index: u64,
        result: Result<DiskDone, FileError>,
        out: &mut Out,
    ) {
        let block = result.and_then(|done| match done {
            DiskDone::Block { data, hash } => Ok((data, hash)),
            DiskDone::Nothing
            | DiskDone::Opened { .. }
            | DiskDone::Resumed { .. }
            | DiskDone::Root { .. }
            | DiskDone::Committed { .. } => Err(unexpected()),
        });
        let (messages, sent) = self.service.block_read(line, callback, index, block);
        for message in messages {
            self.send(now, line, message, out);
        }
        self.tell_sent(line, callback, sent, out);
        self.serve_on(now, line, out);
    }

    pub(super) fn root_read(
        &mut self,
        now: Instant,
        line: ConnectionId,
        callback: CallbackId,
        result: Result<DiskDone, FileError>,
        out: &mut Out,
    ) {
        let root = result.and_then(|done| match done {
            DiskDone::Root { root } => Ok(root),
            DiskDone::Nothing
            | DiskDone::Opened { .. }
            | DiskDone::Resumed { .. }
            | DiskDone::Block { .. }
            | DiskDone::Committed { .. } => Err(unexpected()),
        });
        let Some((message, sent)) = self.service.root_read(line, callback, root) else { return };
        self.send(now, line, message, out);
        self.tell_sent(line, callback, sent, out);
        self.serve_on(now, line, out);
    }

    /// File request step 3, and progress for a bar.
    fn tell_sent(&mut self, line: ConnectionId, callback: CallbackId, sent: Option<Sent>, out: &mut Out) {
        let (Some(sent), Some((peer, _, side))) = (sent, self.peers.owner(line)) else { return };
        let Sent { what: Served { task, label: file, .. }, done, total, complete } = sent;
        if complete {
            let step = FileStep::Sent;
            out.notify(ExecutorNotice::FileStep { step, task, file, callback, peer, bytes: total });
        } else if side == Side::Accepted {
            out.notify(ExecutorNotice::Progress { task, file, result: false, done, total });
        }
    }

    pub(super) fn file_cancelled(&mut self, link: ConnectionId, callback: CallbackId) {
        self.service.end(link, callback);
    }

    /// A source is not needed any more.
    pub(super) fn close_source(&mut self, now: Instant, tree: TreeId, out: &mut Out) {
        for (line, message) in self.service.remove_source(tree) {
            self.send(now, line, message, out);
        }
        self.ops.ask(Op::CloseSource, DiskRequest::CloseTree { tree, keep: false }, out);
    }

    pub(super) fn file_message(
        &mut self,
        now: Instant,
        id: ConnectionId,
        message: Message,
        out: &mut Out,
    ) -> Result<(), &'static str> {
        match message {
            Message::FileBegin(begin) => self.file_begin(now, id, &begin, out),
            Message::Block(block) => return self.file_block(id, block, out),
            Message::FileEnd(end) => self.file_end(now, id, &end, out),
            Message::FileFailed(FileFailed { callback, error }) => {
                self.file_refused(now, id, callback, error, out);
            }
            Message::FileCancel(FileCancel { callback }) => self.file_cancelled(id, callback),
            _ => return Err("a message that does not belong on a file connection"),
        }
        Ok(())
    }
}

fn unexpected() -> FileError {
    FileError::new(FileErrorKind::System(0), "")
}

fn lossy(name: &[u8]) -> String {
    String::from_utf8_lossy(name).into_owned()
}

/// A peer's error text is kept short.
fn bounded(mut error: FileError) -> FileError {
    let end =
        (0..=error.name.len().min(512)).rev().find(|end| error.name.is_char_boundary(*end)).unwrap_or(0);
    error.name.truncate(end);
    error
}
