//! What the disk is asked for on behalf of fetches, and what follows from its answers.

use super::transfer::{Transfer, Tree};
use super::{FetchOutcome, Fetches};
use crate::disk::{BLOCK, Content, DiskRequest, FileError, Target};
use crate::executor::ops::{Op, Ops};
use crate::machine::Actions;
use crate::{CallbackId, Limits, TreeId};

impl Fetches {
    /// The disk has opened the target, with so many blocks there already; or not.
    pub(in crate::executor) fn opened<N>(
        &mut self,
        tree: TreeId,
        result: Result<u64, FileError>,
        limits: &Limits,
        ops: &mut Ops,
        actions: &mut Actions<N>,
    ) -> FetchOutcome {
        let Some(transfer) = self.transfers.get_mut(&tree) else { return FetchOutcome::None };
        let waits = transfer.waiting_opener();
        let opener = transfer.opener.take();
        match result {
            Ok(there) => {
                transfer.tree = Tree::Open;
                transfer.opener = waits;
                transfer.verified = there.min(transfer.blocks());
                let done = transfer.done();
                for member in &transfer.members {
                    if let Some(fetch) = self.rows.get_mut(member) {
                        fetch.window_start = done;
                    }
                }
                self.write_on(tree, limits, ops, actions);
                self.close_if_idle(tree, ops, actions);
                // One that has ended meanwhile had to wait for this.
                opener.map_or(FetchOutcome::None, |opener| self.settle(opener))
            }
            Err(error) => {
                transfer.tree = Tree::None;
                let outcome = match (waits, opener) {
                    (Some(waits), _) => self.fire_with(waits, Err(error), false, ops, actions),
                    (None, Some(over)) => self.settle(over),
                    (None, None) => FetchOutcome::None,
                };
                self.open(tree, ops, actions);
                self.close_if_idle(tree, ops, actions);
                outcome
            }
        }
    }

    /// Asks the disk to open a target: the opener's, or else that of the first who waits.
    pub(super) fn open<N>(&mut self, tree: TreeId, ops: &mut Ops, actions: &mut Actions<N>) {
        let Some(transfer) = self.transfers.get_mut(&tree) else { return };
        let opener = transfer.opener.or(transfer.members.first().copied());
        let fetch = opener.and_then(|opener| self.rows.get(&opener));
        let (Some(fetch), Some(Content { stream_len, manifest_len, .. })) = (fetch, transfer.begun) else {
            return;
        };
        (transfer.opener, transfer.tree) = (opener, Tree::Opening);
        let (target, origin) = (fetch.wanted.target.clone(), transfer.origin());
        let request = DiskRequest::OpenTarget { tree, target, stream_len, manifest_len, origin };
        ops.ask(Op::FetchOpen { tree }, request, actions);
    }

    /// The disk has verified and written a block, or not.
    pub(in crate::executor) fn written<N>(
        &mut self,
        tree: TreeId,
        index: u64,
        result: Result<(), FileError>,
        limits: &Limits,
        ops: &mut Ops,
        actions: &mut Actions<N>,
    ) -> FetchOutcome {
        let Some(transfer) = self.transfers.get_mut(&tree) else { return FetchOutcome::None };
        transfer.writing = transfer.writing.saturating_sub(1);
        let Some(callback) = transfer.spokesman() else {
            self.close_if_idle(tree, ops, actions);
            return FetchOutcome::None;
        };
        if let Err(error) = result {
            return self.fire_with(callback, Err(error), false, ops, actions);
        }
        transfer.wrote(index);
        let outcome = FetchOutcome::Progress { callback, done: transfer.done(), total: transfer.total() };
        self.write_on(tree, limits, ops, actions);
        self.place(tree, ops, actions);
        outcome
    }

    /// The disk has made a tree visible, or not.
    pub(in crate::executor) fn committed<N>(
        &mut self,
        tree: TreeId,
        result: Result<(), FileError>,
        ops: &mut Ops,
        actions: &mut Actions<N>,
    ) -> FetchOutcome {
        let Some(transfer) = self.transfers.get_mut(&tree) else { return FetchOutcome::None };
        transfer.tree = Tree::Open;
        let Some(opener) = transfer.opener else { return FetchOutcome::None };
        let target = self.wanted(opener).map(|wanted| wanted.target.clone());
        let outcome = self.placed(tree, opener, result, ops, actions);
        // Another one may have waited for its turn at the same target.
        let waits = |(other, transfer): (&TreeId, &Transfer)| {
            let same = self.opener(*other).map(|wanted| &wanted.target) == target.as_ref();
            (transfer.is_ready() && same && *other != tree).then_some(*other)
        };
        if let Some(next) = self.transfers.iter().find_map(waits) {
            self.place(next, ops, actions);
        }
        outcome
    }

    /// The disk has made a copy of a tree visible, or not.
    pub(in crate::executor) fn copied<N>(
        &mut self,
        tree: TreeId,
        callback: CallbackId,
        result: Result<(), FileError>,
        ops: &mut Ops,
        actions: &mut Actions<N>,
    ) -> FetchOutcome {
        if let Some(transfer) = self.transfers.get_mut(&tree) {
            transfer.copies = transfer.copies.saturating_sub(1);
        }
        if let Some(fetch) = self.rows.get_mut(&callback) {
            fetch.copying = false;
        }
        self.placed(tree, callback, result, ops, actions)
    }

    /// What was asked for a fetch at the end is done, or not: it fires now, if it has not before.
    fn placed<N>(
        &mut self,
        tree: TreeId,
        callback: CallbackId,
        result: Result<(), FileError>,
        ops: &mut Ops,
        actions: &mut Actions<N>,
    ) -> FetchOutcome {
        let outcome = match self.rows.get(&callback) {
            Some(fetch) if fetch.fired => {
                // It may have stood in the way of the others.
                self.place(tree, ops, actions);
                self.settle(callback)
            }
            Some(_) => self.fire_with(callback, result, false, ops, actions),
            None => FetchOutcome::None,
        };
        self.close_if_idle(tree, ops, actions);
        outcome
    }

    /// The disk has let go.
    pub(in crate::executor) fn closed(&mut self, tree: TreeId) {
        self.transfers.remove(&tree);
    }

    /// Gives the disk what it may write now: the manifest's blocks one by one, the rest side by side.
    pub(super) fn write_on<N>(
        &mut self,
        tree: TreeId,
        limits: &Limits,
        ops: &mut Ops,
        actions: &mut Actions<N>,
    ) {
        let Some(transfer) = self.transfers.get_mut(&tree).filter(|by| by.tree == Tree::Open) else { return };
        let manifest_blocks = transfer.begun.map_or(0, |content| content.manifest_len.div_ceil(BLOCK));
        loop {
            let ahead = if transfer.verified < manifest_blocks { 1 } else { limits.blocks_ahead };
            if transfer.writing >= ahead {
                break;
            }
            let Some((index, data, hash)) = transfer.queue.pop_front() else { break };
            transfer.writing += 1;
            let request = DiskRequest::WriteBlock { tree, index, data, hash };
            ops.ask(Op::FetchWrite { tree, index }, request, actions);
        }
    }

    /// What is all here goes where it is wanted: first copies for all but the opener, then the tree itself for that. One commit to a
    /// target at a time: that of an older attempt may still be with the disk, and its bytes must not land last.
    pub(super) fn place<N>(&mut self, tree: TreeId, ops: &mut Ops, actions: &mut Actions<N>) {
        let Some(transfer) = self.transfers.get_mut(&tree).filter(|by| by.is_ready()) else { return };
        let Some(root) = transfer.root else { return };
        let opener = transfer.waiting_opener();
        for callback in transfer.members.iter().copied().filter(|member| Some(*member) != opener) {
            let Some(fetch) = self.rows.get_mut(&callback).filter(|fetch| !fetch.copying) else { continue };
            let Target::Work { folder, name } = fetch.wanted.target.clone() else { continue };
            fetch.copying = true;
            transfer.copies += 1;
            let request = DiskRequest::CommitCopy { tree, root, folder, name };
            ops.ask(Op::FetchCopy { tree, callback }, request, actions);
        }
        if transfer.copies > 0 || opener.is_none() {
            return;
        }
        let target = self.opener(tree).map(|wanted| &wanted.target);
        let taken = |(other, transfer): (&TreeId, &Transfer)| {
            transfer.tree == Tree::Committing && self.opener(*other).map(|wanted| &wanted.target) == target
        };
        if self.transfers.iter().any(taken) {
            return;
        }
        if let Some(transfer) = self.transfers.get_mut(&tree) {
            transfer.tree = Tree::Committing;
            ops.ask(Op::FetchCommit { tree }, DiskRequest::Commit { tree, root }, actions);
        }
    }

    /// A tree that nobody waits for is closed, once the disk does nothing with it.
    pub(super) fn close_if_idle<N>(&mut self, tree: TreeId, ops: &mut Ops, actions: &mut Actions<N>) {
        let Some(transfer) = self.transfers.get_mut(&tree) else { return };
        if !transfer.members.is_empty() || transfer.writing > 0 || transfer.copies > 0 {
            return;
        }
        match transfer.tree {
            Tree::None => {
                self.transfers.remove(&tree);
            }
            Tree::Open => {
                transfer.tree = Tree::Closing;
                let keep = transfer.keep && transfer.verified > 0;
                ops.ask(Op::FetchClose { tree }, DiskRequest::CloseTree { tree, keep }, actions);
            }
            Tree::Opening | Tree::Committing | Tree::Closing => {}
        }
    }
}
