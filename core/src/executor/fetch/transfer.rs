//! One content on its way to us, for as many fetches as want it.
//!
//! ```text
//! None ──open──► Opening ──► Open ──all here, copies made──► Committing ──► Open ──close──► Closing ──► (gone)
//!   ▲                │         └──nobody waits any more────────────────────────────────────────┘
//!   └────failed──────┘
//! ```

use super::super::peers::Side;
use super::Wanted;
use crate::disk::{BLOCK, Content, Hash, Origin};
use crate::states::FetchState;
use crate::{CallbackId, ConnectionId, InstanceId};
use alloc::collections::{BTreeSet, VecDeque};
use alloc::vec::Vec;
use bytes::Bytes;
use serde::{Deserialize, Serialize};

/// Where the disk stands with the tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(super) enum Tree {
    None,
    Opening,
    Open,
    Committing,
    Closing,
}

/// A tree that is received once.
#[derive(Clone, Debug, Hash, Serialize, Deserialize)]
pub(super) struct Transfer {
    pub(super) peer: InstanceId,
    pub(super) side: Side,
    pub(super) tree: Tree,
    /// What it is, once the source has said so; `known` if that was before the request.
    pub(super) begun: Option<Content>,
    pub(super) known: bool,
    /// Fetches that have not fired, and wait for this.
    pub(super) members: BTreeSet<CallbackId>,
    /// For whose target the tree was opened: it gets the tree itself, the others get copies.
    pub(super) opener: Option<CallbackId>,
    /// Whose request the present one is.
    pub(super) asker: Option<CallbackId>,
    /// The file connection that the present request runs on.
    pub(super) on: Option<ConnectionId>,
    /// The link of the last request has ended, and there was none since to ask again on. Whatever ends a fetch then, a
    /// disconnect is why.
    pub(super) lost: bool,
    /// The present request was answered: blocks may come.
    pub(super) answered: bool,
    pub(super) requested_from: u64,
    /// Next block that may come.
    pub(super) expected: u64,
    pub(super) queue: VecDeque<(u64, Vec<Bytes>, Hash)>,
    pub(super) writing: usize,
    /// Blocks without gaps from the start that are verified and written, and those beyond.
    pub(super) verified: u64,
    pub(super) beyond: BTreeSet<u64>,
    pub(super) root: Option<Hash>,
    /// Copies under way at the disk.
    pub(super) copies: usize,
    /// Whether what was verified may be of use once nobody waits for it any more.
    pub(super) keep: bool,
}

impl Transfer {
    pub(super) fn new(wanted: &Wanted, content: Option<Content>, opener: CallbackId) -> Self {
        Self {
            peer: wanted.peer,
            side: wanted.side,
            tree: Tree::None,
            begun: content,
            known: content.is_some(),
            members: BTreeSet::new(),
            opener: Some(opener),
            asker: None,
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
            copies: 0,
            keep: false,
        }
    }

    pub(super) fn blocks(&self) -> u64 {
        self.begun.map_or(0, |content| content.stream_len.div_ceil(BLOCK))
    }

    pub(super) fn total(&self) -> u64 {
        self.begun.map_or(0, |content| content.stream_len)
    }

    pub(super) fn done(&self) -> u64 {
        (self.verified * BLOCK).min(self.total())
    }

    pub(super) fn complete(&self) -> bool {
        self.begun.is_some() && self.verified == self.blocks()
    }

    /// Whether the source has nothing more to say.
    pub(super) fn arrived(&self) -> bool {
        self.complete() && self.root.is_some()
    }

    /// Whether all of it is written, and it is only to be made visible.
    pub(super) fn is_ready(&self) -> bool {
        self.arrived() && self.writing == 0 && self.tree == Tree::Open
    }

    /// Where those stand who wait for it.
    pub(super) fn state(&self) -> FetchState {
        match self.on {
            _ if self.tree == Tree::Committing => FetchState::Committing,
            _ if self.is_ready() => FetchState::Arrived,
            None if self.lost => FetchState::Broken,
            None => FetchState::Waiting,
            Some(_) if self.answered => FetchState::Receiving,
            Some(_) => FetchState::Requested,
        }
    }

    /// Whether a request can go out. What the disk has already is known once it has opened the tree.
    pub(super) fn can_ask(&self) -> bool {
        let opened = !self.known || self.tree == Tree::Open;
        self.on.is_none() && !self.arrived() && !self.members.is_empty() && opened
    }

    /// Who asks, or else is the next to.
    pub(super) fn spokesman(&self) -> Option<CallbackId> {
        self.asker.or(self.members.first().copied())
    }

    /// The opener, if it still waits.
    pub(super) fn waiting_opener(&self) -> Option<CallbackId> {
        self.opener.filter(|opener| self.members.contains(opener))
    }

    /// Where it comes from, if that was known beforehand.
    pub(super) fn origin(&self) -> Option<Origin> {
        let content = self.begun.filter(|_| self.known)?;
        Some(Origin { publisher: self.peer, stamp: content.stamp })
    }

    /// The request goes out now: from which block on.
    pub(super) fn request(&mut self, by: CallbackId, on: ConnectionId) -> u64 {
        (self.asker, self.on, self.lost, self.answered) = (Some(by), Some(on), false, false);
        self.queue.clear();
        self.requested_from = self.verified;
        self.expected = self.verified;
        self.verified
    }

    /// The present request is over; where it ran.
    pub(super) fn let_go(&mut self) -> Option<ConnectionId> {
        self.asker = None;
        self.queue.clear();
        self.on.take()
    }

    /// A block is verified and written.
    pub(super) fn wrote(&mut self, index: u64) {
        if index >= self.verified {
            self.beyond.insert(index);
        }
        while self.beyond.remove(&self.verified) {
            self.verified += 1;
        }
    }

    pub(super) fn check_invariants(&self) {
        assert!(self.queue.len() as u64 <= self.blocks(), "no more blocks wait than there are");
        assert!(!self.complete() || self.beyond.is_empty());
        assert_eq!(self.on.is_some(), self.asker.is_some(), "a request is somebody's");
        let owned = self.asker.is_none_or(|asker| self.members.contains(&asker));
        assert!(owned, "only who waits asks");
    }
}
