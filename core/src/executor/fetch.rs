//! Files on their way to us: each a callback that fires exactly once (seed 3.1.2, file request steps 1 and 4).
//!
//! A fetch fires when its tree is verified and visible, or when it is known not to come. After that it only waits for the
//! disk to let go of it, and is then *settled*.

use super::ops::{Op, Ops};
use super::peers::Side;
use crate::disk::{BLOCK, DiskRequest, FileError, FileErrorKind, Hash, Target};
use crate::machine::Actions;
use crate::states::{FetchState, Key, Row};
use crate::timers::Timers;
use crate::{AttemptNumber, CallbackId, ConnectionId, InstanceId, Instant, Limits, TaskId, TreeId};
use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::string::String;
use alloc::vec::Vec;
use bytes::Bytes;
use serde::{Deserialize, Serialize};

/// Requests under way to one peer: fewer than any source takes, so that none is ever too many.
const REQUESTS: usize = 128;
/// Bytes of a manifest at most.
const MAX_MANIFEST: u64 = 256 << 20;

/// What is fetched, from whom, for what.
#[derive(Clone, Debug, Hash, Serialize, Deserialize)]
pub(super) struct Wanted {
    pub(super) task: TaskId,
    pub(super) attempt: AttemptNumber,
    pub(super) file: u32,
    pub(super) peer: InstanceId,
    pub(super) side: Side,
    pub(super) target: Target,
    /// For people.
    pub(super) label: String,
}

/// What a fetch has come to.
#[derive(Clone, Debug, Hash)]
#[must_use]
pub(super) enum FetchOutcome {
    /// Nothing that others need to know.
    None,
    /// More bytes are verified.
    Progress { done: u64, total: u64 },
    /// It fires: here and verified, or why not. `cancel`: the source should be told on this connection.
    Fired { result: Result<(), FileError>, cancel: Option<ConnectionId>, total: u64 },
    /// It had fired, and the disk has let go of it.
    Settled(Wanted),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
enum Tree {
    None,
    Opening,
    Open,
    Committing,
    Closing,
}

#[derive(Clone, Debug, Hash, Serialize, Deserialize)]
struct Fetch {
    wanted: Wanted,
    id: TreeId,
    tree: Tree,
    /// Stream length, manifest length and state of the source, once it began.
    begun: Option<(u64, u64, u64)>,
    /// The file connection that the present request runs on.
    on: Option<ConnectionId>,
    /// The link of the last request has ended, and there was none since to ask again on. Whatever ends the fetch then, a
    /// disconnect is why.
    lost: bool,
    /// The present request was answered: blocks may come.
    answered: bool,
    requested_from: u64,
    /// Next block that may come.
    expected: u64,
    queue: VecDeque<(u64, Vec<Bytes>, Hash)>,
    writing: usize,
    /// Blocks without gaps from the start that are verified and written, and those beyond.
    verified: u64,
    beyond: BTreeSet<u64>,
    root: Option<Hash>,
    fired: bool,
    window_start: u64,
}

/// All files on their way to us.
#[derive(Clone, Debug, Default, Hash, Serialize, Deserialize)]
pub(super) struct Fetches {
    rows: BTreeMap<CallbackId, Fetch>,
    next: u64,
    /// Ends of windows.
    pub(super) timers: Timers<CallbackId>,
}

impl Fetch {
    fn blocks(&self) -> u64 {
        self.begun.map_or(0, |(len, ..)| len.div_ceil(BLOCK))
    }

    fn total(&self) -> u64 {
        self.begun.map_or(0, |(len, ..)| len)
    }

    fn done(&self) -> u64 {
        (self.verified * BLOCK).min(self.total())
    }

    fn complete(&self) -> bool {
        self.begun.is_some() && self.verified == self.blocks()
    }

    fn state(&self) -> FetchState {
        match (self.tree, self.on) {
            _ if self.fired => FetchState::Closing,
            (Tree::Committing, _) => FetchState::Committing,
            (Tree::None | Tree::Opening | Tree::Open | Tree::Closing, on) => match on {
                _ if self.is_ready() => FetchState::Arrived,
                None if self.lost => FetchState::Broken,
                None => FetchState::Waiting,
                Some(_) if self.answered => FetchState::Receiving,
                Some(_) => FetchState::Requested,
            },
        }
    }

    /// Whether all of it is written, and only a commit is missing.
    fn is_ready(&self) -> bool {
        self.root.is_some() && self.complete() && self.writing == 0 && self.tree == Tree::Open
    }
}

impl Fetches {
    /// A new fetch; the caller requests it as soon as both connections are up.
    pub(super) fn add(&mut self, now: Instant, wanted: Wanted, id: TreeId, limits: &Limits) -> CallbackId {
        let callback = CallbackId::next(&mut self.next);
        let fetch = Fetch {
            wanted,
            id,
            tree: Tree::None,
            begun: None,
            on: None,
            lost: false,
            answered: false,
            requested_from: 0,
            expected: 0,
            queue: VecDeque::new(),
            writing: 0,
            verified: 0,
            beyond: BTreeSet::new(),
            root: None,
            fired: false,
            window_start: 0,
        };
        self.rows.insert(callback, fetch);
        self.timers.set(callback, now + limits.file_window);
        callback
    }

    pub(super) fn wanted(&self, callback: CallbackId) -> Option<&Wanted> {
        self.rows.get(&callback).map(|fetch| &fetch.wanted)
    }

    /// Fetches over this peer's connections that have no request under way, as many as may be asked for now.
    pub(super) fn unrequested(&self, peer: InstanceId, side: Side) -> Vec<CallbackId> {
        let of_peer = |fetch: &&Fetch| (fetch.wanted.peer, fetch.wanted.side) == (peer, side) && !fetch.fired;
        let under_way = self.rows.values().filter(of_peer).filter(|fetch| fetch.on.is_some()).count();
        let open = |fetch: &Fetch| fetch.on.is_none() && !(fetch.complete() && fetch.root.is_some());
        let open = self.rows.iter().filter(|(_, fetch)| of_peer(fetch) && open(fetch));
        open.map(|(id, _)| *id).take(REQUESTS.saturating_sub(under_way)).collect()
    }

    /// Fetches of an attempt that have not fired.
    pub(super) fn of(&self, task: TaskId, attempt: AttemptNumber, side: Side) -> Vec<CallbackId> {
        let same = |fetch: &Fetch| {
            (fetch.wanted.task, fetch.wanted.attempt, fetch.wanted.side) == (task, attempt, side)
                && !fetch.fired
        };
        self.rows.iter().filter(|(_, fetch)| same(fetch)).map(|(id, _)| *id).collect()
    }

    /// The request goes out now: from which block on.
    pub(super) fn request(&mut self, callback: CallbackId, on: ConnectionId) -> u64 {
        let Some(fetch) = self.rows.get_mut(&callback) else { return 0 };
        (fetch.on, fetch.lost) = (Some(on), false);
        fetch.answered = false;
        fetch.queue.clear();
        fetch.requested_from = fetch.verified;
        fetch.expected = fetch.verified;
        fetch.verified
    }

    /// A file connection is gone: what ran on it is asked for again when there is another.
    pub(super) fn file_link_lost(&mut self, connection: ConnectionId) {
        for fetch in self.rows.values_mut().filter(|fetch| fetch.on == Some(connection)) {
            (fetch.on, fetch.lost) = (None, true);
            fetch.queue.clear();
        }
    }

    /// A task connection is gone: requests that were not answered may be lost with it.
    pub(super) fn task_link_lost(&mut self, peer: InstanceId, side: Side) {
        for fetch in self.rows.values_mut() {
            if fetch.wanted.peer == peer && fetch.wanted.side == side && !fetch.answered {
                fetch.lost |= fetch.on.take().is_some();
            }
        }
    }

    /// The source does not have the connection that a request of ours named. That is no reason to give up: the request goes again.
    /// One that it is serving already it has accepted, so its word is about an earlier one. The side to ask again on, if any.
    pub(super) fn unknown_connection(&mut self, callback: CallbackId, peer: InstanceId) -> Option<Side> {
        let fetch = self.rows.get_mut(&callback)?;
        let asked = fetch.on.is_some() && !fetch.answered;
        if fetch.wanted.peer != peer || !asked {
            return None;
        }
        fetch.on = None;
        Some(fetch.wanted.side)
    }

    /// The source says what comes.
    pub(super) fn begin<N>(
        &mut self,
        callback: CallbackId,
        on: ConnectionId,
        what: (u64, u64, u64),
        ops: &mut Ops,
        actions: &mut Actions<N>,
    ) -> FetchOutcome {
        let Some(fetch) = self.rows.get_mut(&callback).filter(|f| f.on == Some(on) && !f.fired) else {
            return FetchOutcome::None;
        };
        let (stream_len, manifest_len, _) = what;
        if fetch.begun.is_some_and(|before| before != what) {
            return self.fire(callback, Err(FileErrorKind::Changed), ops, actions);
        }
        if manifest_len == 0 || manifest_len > stream_len || manifest_len > MAX_MANIFEST {
            return self.fire(callback, Err(FileErrorKind::BadManifest), ops, actions);
        }
        fetch.answered = true;
        fetch.expected = fetch.requested_from;
        fetch.queue.clear();
        if fetch.begun.replace(what).is_none() {
            fetch.tree = Tree::Opening;
            let target = fetch.wanted.target.clone();
            let request = DiskRequest::OpenTarget { tree: fetch.id, target, stream_len, manifest_len };
            ops.ask(Op::FetchOpen { callback }, request, actions);
        }
        FetchOutcome::None
    }

    /// A block has come. `Err`: the peer breaks the protocol.
    pub(super) fn block<N>(
        &mut self,
        callback: CallbackId,
        on: ConnectionId,
        index: u64,
        data: Vec<Bytes>,
        hash: Hash,
        limits: &Limits,
        ops: &mut Ops,
        actions: &mut Actions<N>,
    ) -> Result<(), &'static str> {
        let Some(fetch) = self.rows.get_mut(&callback).filter(|f| f.on == Some(on) && f.answered && !f.fired)
        else {
            return Ok(());
        };
        // Blocks of an earlier request may still be on the connection; only the next one in order counts.
        if index != fetch.expected || index >= fetch.blocks() {
            return Ok(());
        }
        let wanted = BLOCK.min(fetch.total() - index * BLOCK);
        if data.iter().map(|piece| piece.len() as u64).sum::<u64>() != wanted {
            return Err("a block of another size than announced");
        }
        fetch.expected += 1;
        fetch.queue.push_back((index, data, hash));
        self.write_on(callback, limits, ops, actions);
        Ok(())
    }

    /// The source has sent everything. `true`: not all of it has come, ask again.
    pub(super) fn end<N>(
        &mut self,
        callback: CallbackId,
        on: ConnectionId,
        root: Hash,
        ops: &mut Ops,
        actions: &mut Actions<N>,
    ) -> bool {
        let Some(fetch) = self.rows.get_mut(&callback).filter(|f| f.on == Some(on) && f.answered && !f.fired)
        else {
            return false;
        };
        if fetch.expected != fetch.blocks() {
            fetch.on = None;
            return true;
        }
        fetch.root = Some(root);
        self.commit_if_complete(callback, ops, actions);
        false
    }

    /// Blocks of one connection that wait for the disk: too many stop the reading.
    pub(super) fn backlog(&self, connection: ConnectionId) -> usize {
        self.rows.values().filter(|fetch| fetch.on == Some(connection)).map(|fetch| fetch.queue.len()).sum()
    }

    /// The file connection that a fetch runs on.
    pub(super) fn connection(&self, callback: CallbackId) -> Option<ConnectionId> {
        self.rows.get(&callback)?.on
    }

    /// The disk has opened the target, or not.
    pub(super) fn opened<N>(
        &mut self,
        callback: CallbackId,
        result: Result<(), FileError>,
        limits: &Limits,
        ops: &mut Ops,
        actions: &mut Actions<N>,
    ) -> FetchOutcome {
        let Some(fetch) = self.rows.get_mut(&callback) else { return FetchOutcome::None };
        fetch.tree = if result.is_ok() { Tree::Open } else { Tree::None };
        if fetch.fired {
            return self.close_if_idle(callback, ops, actions);
        }
        match result {
            Ok(()) => {
                self.write_on(callback, limits, ops, actions);
                FetchOutcome::None
            }
            Err(error) => self.fire_with(callback, Err(error), ops, actions),
        }
    }

    /// The disk has verified and written a block, or not.
    pub(super) fn written<N>(
        &mut self,
        callback: CallbackId,
        index: u64,
        result: Result<(), FileError>,
        limits: &Limits,
        ops: &mut Ops,
        actions: &mut Actions<N>,
    ) -> FetchOutcome {
        let Some(fetch) = self.rows.get_mut(&callback) else { return FetchOutcome::None };
        fetch.writing = fetch.writing.saturating_sub(1);
        if fetch.fired {
            return self.close_if_idle(callback, ops, actions);
        }
        if let Err(error) = result {
            return self.fire_with(callback, Err(error), ops, actions);
        }
        if index >= fetch.verified {
            fetch.beyond.insert(index);
        }
        while fetch.beyond.remove(&fetch.verified) {
            fetch.verified += 1;
        }
        let outcome = FetchOutcome::Progress { done: fetch.done(), total: fetch.total() };
        self.write_on(callback, limits, ops, actions);
        self.commit_if_complete(callback, ops, actions);
        outcome
    }

    /// The disk has made the tree visible, or not.
    pub(super) fn committed<N>(
        &mut self,
        callback: CallbackId,
        result: Result<(), FileError>,
        ops: &mut Ops,
        actions: &mut Actions<N>,
    ) -> FetchOutcome {
        let Some(fetch) = self.rows.get_mut(&callback) else { return FetchOutcome::None };
        fetch.tree = Tree::Open;
        let (fired, target) = (fetch.fired, fetch.wanted.target.clone());
        let outcome = if fired {
            self.close_if_idle(callback, ops, actions)
        } else {
            self.fire_with(callback, result, ops, actions)
        };
        let waits = |fetch: &Fetch| !fetch.fired && fetch.wanted.target == target;
        let next = self.rows.iter().find(|(_, fetch)| fetch.is_ready() && waits(fetch));
        if let Some(next) = next.map(|(next, _)| *next) {
            self.commit_if_complete(next, ops, actions);
        }
        outcome
    }

    /// The disk has let go.
    pub(super) fn closed(&mut self, callback: CallbackId) -> FetchOutcome {
        self.rows.remove(&callback).map_or(FetchOutcome::None, |fetch| FetchOutcome::Settled(fetch.wanted))
    }

    /// A window has ended: enough verified progress opens the next one (seed: five minutes; ledger F2).
    pub(super) fn window_over<N>(
        &mut self,
        now: Instant,
        callback: CallbackId,
        limits: &Limits,
        ops: &mut Ops,
        actions: &mut Actions<N>,
    ) -> FetchOutcome {
        let Some(fetch) = self.rows.get_mut(&callback).filter(|fetch| !fetch.fired) else {
            return FetchOutcome::None;
        };
        let (done, total) = (fetch.done(), fetch.total());
        let least = limits.file_min_rate.saturating_mul(limits.file_window.as_secs()).max(1);
        let needed = least.min(total.saturating_sub(fetch.window_start)).max(1);
        // With everything verified and the root known, only our own disk is waited for.
        let arrived = fetch.complete() && fetch.root.is_some();
        if !arrived && (fetch.begun.is_none() || done - fetch.window_start < needed) {
            return self.fire(callback, Err(FileErrorKind::TimedOut), ops, actions);
        }
        fetch.window_start = done;
        self.timers.set(callback, now + limits.file_window);
        FetchOutcome::None
    }

    /// Fires now, for a reason from outside.
    pub(super) fn fail<N>(
        &mut self,
        callback: CallbackId,
        kind: FileErrorKind,
        ops: &mut Ops,
        actions: &mut Actions<N>,
    ) -> FetchOutcome {
        self.fire(callback, Err(kind), ops, actions)
    }

    /// The source refuses, or gives up. Only where the request runs now.
    pub(super) fn refused<N>(
        &mut self,
        callback: CallbackId,
        peer: InstanceId,
        error: FileError,
        ops: &mut Ops,
        actions: &mut Actions<N>,
    ) -> FetchOutcome {
        match self.rows.get(&callback) {
            Some(fetch) if fetch.wanted.peer == peer && fetch.on.is_some() => {
                self.fire_with(callback, Err(error), ops, actions)
            }
            Some(_) | None => FetchOutcome::None,
        }
    }

    fn fire<N>(
        &mut self,
        callback: CallbackId,
        result: Result<(), FileErrorKind>,
        ops: &mut Ops,
        actions: &mut Actions<N>,
    ) -> FetchOutcome {
        let Some(fetch) = self.rows.get(&callback) else { return FetchOutcome::None };
        let (label, lost) = (fetch.wanted.label.clone(), fetch.lost);
        let error = |kind| FileError::new(if lost { FileErrorKind::Disconnected } else { kind }, label);
        self.fire_with(callback, result.map_err(error), ops, actions)
    }

    /// The one place where a callback fires.
    fn fire_with<N>(
        &mut self,
        callback: CallbackId,
        result: Result<(), FileError>,
        ops: &mut Ops,
        actions: &mut Actions<N>,
    ) -> FetchOutcome {
        let Some(fetch) = self.rows.get_mut(&callback).filter(|fetch| !fetch.fired) else {
            return FetchOutcome::None;
        };
        fetch.fired = true;
        fetch.queue.clear();
        self.timers.clear(&callback);
        let cancel = if result.is_ok() { None } else { fetch.on };
        let total = fetch.total();
        fetch.on = None;
        // The caller is told of the firing first; the disk lets go behind it.
        if let Some(request) = Self::close_request(fetch) {
            ops.ask(Op::FetchClose { callback }, request, actions);
        }
        FetchOutcome::Fired { result, cancel, total }
    }

    /// Fired fetches whose tree never came to be are settled at once.
    pub(super) fn settle_treeless(&mut self, callback: CallbackId) -> FetchOutcome {
        let treeless = |fetch: &Fetch| fetch.fired && fetch.tree == Tree::None && fetch.writing == 0;
        if self.rows.get(&callback).is_some_and(treeless) {
            self.closed(callback)
        } else {
            FetchOutcome::None
        }
    }

    fn close_if_idle<N>(
        &mut self,
        callback: CallbackId,
        ops: &mut Ops,
        actions: &mut Actions<N>,
    ) -> FetchOutcome {
        let Some(fetch) = self.rows.get_mut(&callback) else { return FetchOutcome::None };
        if let Some(request) = Self::close_request(fetch) {
            ops.ask(Op::FetchClose { callback }, request, actions);
        }
        self.settle_treeless(callback)
    }

    fn close_request(fetch: &mut Fetch) -> Option<DiskRequest> {
        if fetch.tree != Tree::Open || fetch.writing > 0 {
            return None;
        }
        fetch.tree = Tree::Closing;
        Some(DiskRequest::CloseTree { tree: fetch.id })
    }

    /// Gives the disk what it may write now: the manifest's blocks one by one, the rest side by side.
    fn write_on<N>(
        &mut self,
        callback: CallbackId,
        limits: &Limits,
        ops: &mut Ops,
        actions: &mut Actions<N>,
    ) {
        let Some(fetch) = self.rows.get_mut(&callback).filter(|fetch| fetch.tree == Tree::Open) else {
            return;
        };
        let manifest_blocks = fetch.begun.map_or(0, |(_, manifest_len, _)| manifest_len.div_ceil(BLOCK));
        loop {
            let ahead = if fetch.verified < manifest_blocks { 1 } else { limits.blocks_ahead };
            if fetch.writing >= ahead {
                break;
            }
            let Some((index, data, hash)) = fetch.queue.pop_front() else { break };
            fetch.writing += 1;
            let request = DiskRequest::WriteBlock { tree: fetch.id, index, data, hash };
            ops.ask(Op::FetchWrite { callback, index }, request, actions);
        }
    }

    /// One commit to a target at a time: that of an older attempt may still be with the disk, and its bytes must not land last.
    fn commit_if_complete<N>(&mut self, callback: CallbackId, ops: &mut Ops, actions: &mut Actions<N>) {
        let Some(fetch) = self.rows.get(&callback).filter(|fetch| fetch.is_ready()) else { return };
        let target = &fetch.wanted.target;
        let mut others = self.rows.values();
        if others.any(|other| other.tree == Tree::Committing && other.wanted.target == *target) {
            return;
        }
        let Some(fetch) = self.rows.get_mut(&callback) else { return };
        let Some(root) = fetch.root else { return };
        fetch.tree = Tree::Committing;
        ops.ask(Op::FetchCommit { callback }, DiskRequest::Commit { tree: fetch.id, root }, actions);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Where each file stands.
    pub(super) fn rows(&self) -> impl Iterator<Item = Row> {
        let row =
            |(id, fetch): (&CallbackId, &Fetch)| Row::new(Key::Callback(*id), fetch.state()).on(fetch.on);
        self.rows.iter().map(row)
    }

    /// For leak checks; all zero once every callback has fired and the disk has let go of its tree.
    pub(super) fn unfinished(&self) -> [(&'static str, usize); 2] {
        [("fetches", self.rows.len()), ("fetches' windows", self.timers.len())]
    }

    pub(super) fn check_invariants(&self) {
        for (callback, fetch) in &self.rows {
            let timed = self.timers.at(callback).is_some();
            assert_eq!(timed, !fetch.fired, "a callback has a window until it fires: {callback}");
            assert!(fetch.queue.len() as u64 <= fetch.blocks(), "no more blocks wait than there are");
            assert!(!fetch.complete() || fetch.beyond.is_empty());
        }
    }
}

#[cfg(test)]
mod tests;
