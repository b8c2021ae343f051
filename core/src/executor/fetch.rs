//! Files on their way to us: each a callback that fires exactly once (seed 3.1.2, file request steps 1 and 4).
//!
//! A fetch fires when its tree is verified and visible, or when it is known not to come. Once the disk is done with its folder,
//! it is then *settled*. What comes over the link is a [`Transfer`]; fetches that want the same content of the same publisher
//! at the same time are members of one. One of them asks the source; if that one ends, the next goes on from the verified
//! blocks. Each keeps its own window.

mod disk;
mod transfer;

use super::ops::Ops;
use super::peers::Side;
use crate::disk::{BLOCK, Content, FileError, FileErrorKind, Hash, Target};
use crate::machine::Actions;
use crate::states::{FetchState, Key, Row};
use crate::timers::Timers;
use crate::{AttemptNumber, CallbackId, ConnectionId, InstanceId, Instant, Limits, TaskId, TreeId};
use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use transfer::{Transfer, Tree};

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

/// A new fetch.
#[derive(Clone, Copy, Debug)]
pub(super) struct Added {
    pub(super) callback: CallbackId,
    /// Its content is on its way already.
    pub(super) shares: bool,
}

/// What a fetch has come to.
#[derive(Clone, Debug, Hash)]
#[must_use]
pub(super) enum FetchOutcome {
    /// Nothing that others need to know.
    None,
    /// More bytes are verified.
    Progress { callback: CallbackId, done: u64, total: u64 },
    /// It fires: here and verified, or why not. `cancel`: the source should be told on this connection.
    Fired { callback: CallbackId, result: Result<(), FileError>, cancel: Option<ConnectionId>, total: u64 },
    /// It had fired, and the disk brings nothing more of it into its folder.
    Settled { callback: CallbackId, wanted: Wanted },
}

#[derive(Clone, Debug, Hash, Serialize, Deserialize)]
struct Fetch {
    wanted: Wanted,
    /// What brings it.
    tree: TreeId,
    fired: bool,
    /// Its copy is being made.
    copying: bool,
    window_start: u64,
}

/// All files on their way to us.
#[derive(Clone, Debug, Default, Hash, Serialize, Deserialize)]
pub(super) struct Fetches {
    rows: BTreeMap<CallbackId, Fetch>,
    transfers: BTreeMap<TreeId, Transfer>,
    next: u64,
    /// Ends of windows.
    pub(super) timers: Timers<CallbackId>,
}

impl Fetches {
    /// A new fetch. With its content known beforehand it joins a transfer of that, or opens its target at once; else the caller
    /// requests it as soon as both connections are up.
    pub(super) fn add<N>(
        &mut self,
        now: Instant,
        wanted: Wanted,
        content: Option<Content>,
        limits: &Limits,
        ops: &mut Ops,
        actions: &mut Actions<N>,
    ) -> Added {
        let callback = CallbackId::next(&mut self.next);
        let same = |transfer: &Transfer| {
            (transfer.peer, transfer.side, transfer.begun) == (wanted.peer, wanted.side, content)
                && transfer.known
                && !transfer.members.is_empty()
                && !transfer.arrived()
        };
        let shared = self.transfers.iter().find(|(_, transfer)| same(transfer)).map(|(tree, _)| *tree);
        let tree = shared.unwrap_or_else(|| ops.new_tree());
        let transfer =
            self.transfers.entry(tree).or_insert_with(|| Transfer::new(&wanted, content, callback));
        transfer.members.insert(callback);
        let window_start = transfer.done();
        self.rows.insert(callback, Fetch { wanted, tree, fired: false, copying: false, window_start });
        self.timers.set(callback, now + limits.file_window);
        if content.is_some() && shared.is_none() {
            self.open(tree, ops, actions);
        }
        Added { callback, shares: shared.is_some() }
    }

    pub(super) fn wanted(&self, callback: CallbackId) -> Option<&Wanted> {
        self.rows.get(&callback).map(|fetch| &fetch.wanted)
    }

    /// Whose target a tree was opened for.
    pub(super) fn opener(&self, tree: TreeId) -> Option<&Wanted> {
        self.wanted(self.transfers.get(&tree)?.opener?)
    }

    /// Who has what a tree is received from.
    pub(super) fn source(&self, tree: TreeId) -> Option<(InstanceId, Side)> {
        self.transfers.get(&tree).map(|transfer| (transfer.peer, transfer.side))
    }

    /// Fetches over this peer's connections that are to ask now, one a transfer that has no request under way, as many as may.
    pub(super) fn unrequested(&self, peer: InstanceId, side: Side) -> Vec<CallbackId> {
        let of_peer = |transfer: &&Transfer| (transfer.peer, transfer.side) == (peer, side);
        let all = || self.transfers.values().filter(of_peer);
        let under_way = all().filter(|transfer| transfer.on.is_some()).count();
        let mut open: Vec<_> =
            all().filter(|transfer| transfer.can_ask()).filter_map(Transfer::spokesman).collect();
        open.sort_unstable();
        open.truncate(REQUESTS.saturating_sub(under_way));
        open
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
        self.transfer_of(callback).map_or(0, |(_, transfer)| transfer.request(callback, on))
    }

    /// A file connection is gone: what ran on it is asked for again when there is another.
    pub(super) fn file_link_lost(&mut self, connection: ConnectionId) {
        for transfer in self.transfers.values_mut().filter(|transfer| transfer.on == Some(connection)) {
            transfer.let_go();
            transfer.lost = true;
        }
    }

    /// A task connection is gone: requests that were not answered may be lost with it.
    pub(super) fn task_link_lost(&mut self, peer: InstanceId, side: Side) {
        for transfer in self.transfers.values_mut() {
            if (transfer.peer, transfer.side) == (peer, side) && !transfer.answered {
                transfer.lost |= transfer.let_go().is_some();
            }
        }
    }

    /// The source does not have the connection that a request of ours named. That is no reason to give up: the request goes again.
    /// One that it is serving already it has accepted, so its word is about an earlier one. The side to ask again on, if any.
    pub(super) fn unknown_connection(&mut self, callback: CallbackId, peer: InstanceId) -> Option<Side> {
        let (_, transfer) = self.transfer_of(callback)?;
        let asked = transfer.asker == Some(callback) && !transfer.answered;
        if transfer.peer != peer || !asked {
            return None;
        }
        transfer.let_go();
        Some(transfer.side)
    }

    /// The source says what comes.
    pub(super) fn begin<N>(
        &mut self,
        callback: CallbackId,
        on: ConnectionId,
        content: Content,
        ops: &mut Ops,
        actions: &mut Actions<N>,
    ) -> FetchOutcome {
        let Some((tree, transfer)) = self.asked(callback, on) else { return FetchOutcome::None };
        let Content { stream_len, manifest_len, .. } = content;
        if transfer.begun.is_some_and(|before| before != content) {
            return self.fire(callback, FileErrorKind::Changed, false, ops, actions);
        }
        if manifest_len == 0 || manifest_len > stream_len || manifest_len > MAX_MANIFEST {
            return self.fire(callback, FileErrorKind::BadManifest, false, ops, actions);
        }
        transfer.answered = true;
        transfer.expected = transfer.requested_from;
        transfer.queue.clear();
        if transfer.begun.replace(content).is_none() {
            self.open(tree, ops, actions);
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
        let Some((tree, transfer)) = self.asked(callback, on).filter(|(_, transfer)| transfer.answered)
        else {
            return Ok(());
        };
        // Blocks of an earlier request may still be on the connection; only the next one in order counts.
        if index != transfer.expected || index >= transfer.blocks() {
            return Ok(());
        }
        let wanted = BLOCK.min(transfer.total() - index * BLOCK);
        if data.iter().map(|piece| piece.len() as u64).sum::<u64>() != wanted {
            return Err("a block of another size than announced");
        }
        transfer.expected += 1;
        transfer.queue.push_back((index, data, hash));
        self.write_on(tree, limits, ops, actions);
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
        let Some((tree, transfer)) = self.asked(callback, on).filter(|(_, transfer)| transfer.answered)
        else {
            return false;
        };
        if transfer.expected != transfer.blocks() {
            transfer.let_go();
            return true;
        }
        transfer.root = Some(root);
        self.place(tree, ops, actions);
        false
    }

    /// Blocks of one connection that wait for the disk: too many stop the reading.
    pub(super) fn backlog(&self, connection: ConnectionId) -> usize {
        let on_it = self.transfers.values().filter(|transfer| transfer.on == Some(connection));
        on_it.map(|transfer| transfer.queue.len()).sum()
    }

    /// The file connection that a tree comes on.
    pub(super) fn connection(&self, tree: TreeId) -> Option<ConnectionId> {
        self.transfers.get(&tree)?.on
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
        let Some(transfer) = self.transfers.get(&fetch.tree) else { return FetchOutcome::None };
        let (done, total) = (transfer.done(), transfer.total());
        let least = limits.file_min_rate.saturating_mul(limits.file_window.as_secs()).max(1);
        let needed = least.min(total.saturating_sub(fetch.window_start)).max(1);
        let come = done.saturating_sub(fetch.window_start);
        // With everything verified and the root known, only our own disk is waited for.
        if !transfer.arrived() && (transfer.begun.is_none() || come < needed) {
            return self.fire(callback, FileErrorKind::TimedOut, true, ops, actions);
        }
        fetch.window_start = done;
        self.timers.set(callback, now + limits.file_window);
        FetchOutcome::None
    }

    /// Fires now, for a reason from outside. `keep`: the same may be asked for again.
    pub(super) fn fail<N>(
        &mut self,
        callback: CallbackId,
        kind: FileErrorKind,
        keep: bool,
        ops: &mut Ops,
        actions: &mut Actions<N>,
    ) -> FetchOutcome {
        self.fire(callback, kind, keep, ops, actions)
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
        match self.transfer_of(callback) {
            Some((_, transfer)) if transfer.peer == peer && transfer.asker == Some(callback) => {
                self.fire_with(callback, Err(error), false, ops, actions)
            }
            Some(_) | None => FetchOutcome::None,
        }
    }

    fn fire<N>(
        &mut self,
        callback: CallbackId,
        kind: FileErrorKind,
        keep: bool,
        ops: &mut Ops,
        actions: &mut Actions<N>,
    ) -> FetchOutcome {
        let lost = self.transfer_of(callback).is_some_and(|(_, transfer)| transfer.lost);
        let Some(fetch) = self.rows.get(&callback) else { return FetchOutcome::None };
        let kind = if lost { FileErrorKind::Disconnected } else { kind };
        let error = FileError::new(kind, fetch.wanted.label.clone());
        self.fire_with(callback, Err(error), keep, ops, actions)
    }

    /// The one place where a callback fires.
    fn fire_with<N>(
        &mut self,
        callback: CallbackId,
        result: Result<(), FileError>,
        keep: bool,
        ops: &mut Ops,
        actions: &mut Actions<N>,
    ) -> FetchOutcome {
        let Some(fetch) = self.rows.get_mut(&callback).filter(|fetch| !fetch.fired) else {
            return FetchOutcome::None;
        };
        fetch.fired = true;
        self.timers.clear(&callback);
        let tree = fetch.tree;
        let (mut cancel, mut total) = (None, 0);
        if let Some(transfer) = self.transfers.get_mut(&tree) {
            total = transfer.total();
            transfer.members.remove(&callback);
            transfer.keep = keep && transfer.known;
            if transfer.asker == Some(callback) {
                cancel = transfer.let_go().filter(|_| result.is_err());
            }
        }
        // All may be here, and this one have stood in the way of the others.
        self.place(tree, ops, actions);
        // The caller is told of the firing first; the disk lets go behind it.
        self.close_if_idle(tree, ops, actions);
        FetchOutcome::Fired { callback, result, cancel, total }
    }

    /// A fetch that has fired is over, once nothing is put into its folder any more.
    pub(super) fn settle(&mut self, callback: CallbackId) -> FetchOutcome {
        let over = |fetch: &&Fetch| {
            let mine = self.transfers.get(&fetch.tree).filter(|by| by.opener == Some(callback));
            let busy = mine.is_some_and(|by| matches!(by.tree, Tree::Opening | Tree::Committing));
            fetch.fired && !fetch.copying && !busy
        };
        if self.rows.get(&callback).filter(over).is_none() {
            return FetchOutcome::None;
        }
        let settled = self.rows.remove(&callback).map(|fetch| fetch.wanted);
        settled.map_or(FetchOutcome::None, |wanted| FetchOutcome::Settled { callback, wanted })
    }

    /// The transfer that a fetch waits for.
    fn transfer_of(&mut self, callback: CallbackId) -> Option<(TreeId, &mut Transfer)> {
        let tree = self.rows.get(&callback).filter(|fetch| !fetch.fired)?.tree;
        Some((tree, self.transfers.get_mut(&tree)?))
    }

    /// The same, if its present request is this one's and runs on this connection.
    fn asked(&mut self, callback: CallbackId, on: ConnectionId) -> Option<(TreeId, &mut Transfer)> {
        let present = |by: &Transfer| by.asker == Some(callback) && by.on == Some(on);
        self.transfer_of(callback).filter(|(_, transfer)| present(transfer))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.rows.is_empty() && self.transfers.is_empty()
    }

    /// Where each file stands.
    pub(super) fn rows(&self) -> impl Iterator<Item = Row> {
        self.rows.iter().map(|(id, fetch)| {
            let transfer = self.transfers.get(&fetch.tree).filter(|_| !fetch.fired);
            let state = transfer.map_or(FetchState::Closing, Transfer::state);
            Row::new(Key::Callback(*id), state).on(transfer.and_then(|transfer| transfer.on))
        })
    }

    /// For leak checks; all zero once every callback has fired and the disk has let go of its tree.
    pub(super) fn unfinished(&self) -> [(&'static str, usize); 3] {
        [
            ("fetches", self.rows.len()),
            ("transfers", self.transfers.len()),
            ("fetches' windows", self.timers.len()),
        ]
    }

    pub(super) fn check_invariants(&self) {
        for (callback, fetch) in &self.rows {
            let timed = self.timers.at(callback).is_some();
            assert_eq!(timed, !fetch.fired, "a callback has a window until it fires: {callback}");
            let waits = self.transfers.get(&fetch.tree).is_some_and(|by| by.members.contains(callback));
            assert_eq!(waits, !fetch.fired, "what has not fired is on its way: {callback}");
        }
        for (tree, transfer) in &self.transfers {
            transfer.check_invariants();
            let waits = |member| self.rows.get(member).is_some_and(|fetch| fetch.tree == *tree);
            assert!(transfer.members.iter().all(waits), "only fetches wait: {tree}");
            let copying = self.rows.values().filter(|fetch| fetch.tree == *tree && fetch.copying).count();
            assert_eq!(copying, transfer.copies, "copies are counted: {tree}");
        }
    }
}

#[cfg(test)]
mod tests;
