//! A session: what two instances owe each other across any number of links (PROTOCOL B 5 to 11).
//!
//! A leaf: it knows the names of its links and nothing of what they are. The manager moves packs between the two, in
//! `sessions.rs` beside this folder.

mod choice;
mod incoming;
mod outgoing;

pub(super) use choice::{Choice, Chosen};
pub(super) use incoming::{Arrival, Incoming};
pub(super) use outgoing::Outgoing;

use super::pairs::PairKey;
use super::statistics::Traffic;
use super::types::{LinkRule, PeerInfo};
use crate::backoff::Backoff;
use crate::handshake::Resume;
use crate::pack::DataPack;
use crate::{InstanceId, Instant, Limits, LinkId};
use alloc::vec::Vec;
use core::time::Duration;
use serde::{Deserialize, Serialize};

/// Established links of one session, at most.
const STRANDS: usize = 8;

/// One established link of a session.
#[derive(Clone, Debug, Hash, Serialize, Deserialize)]
pub(super) struct Strand {
    pub(super) link: LinkId,
    /// The epoch of the peer's dial; `None` if we dialled.
    pub(super) epoch: Option<u64>,
    /// The next sequence to send on it. On one link sequences never have a gap, except over what is acknowledged.
    cursor: u64,
}

/// What lives from the first link of two instances until goodbye, expiry or the peer's end.
#[derive(Clone, Debug, Hash, Serialize, Deserialize)]
pub(super) struct Session {
    pub(super) key: PairKey,
    pub(super) peer: PeerInfo,
    pub(super) max_data: u32,
    /// How long it may be without a link: the shorter of both ends' wishes.
    pub(super) timeout: Duration,
    pub(super) out: Outgoing,
    pub(super) incoming: Incoming,
    pub(super) choice: Choice,
    /// Established links, oldest first.
    pub(super) strands: Vec<Strand>,
    /// The one that both ends have agreed on.
    pub(super) active: Option<LinkId>,
    pub(super) backoff: Backoff,
    /// Until when it is among the manager's acknowledgements that wait.
    pub(super) waits_to_acknowledge: Option<Instant>,
    /// Whether anything was received or acknowledged since its newest link was established.
    pub(super) progress: bool,
    /// Whether the application was told that it has no link.
    pub(super) interrupted: bool,
    /// The application has closed it: it ends once everything is acknowledged, or time is up.
    pub(super) closing: bool,
    /// Links that broke, and packs that were sent more than once.
    pub(super) breaks: u64,
    pub(super) resent: u64,
    /// What links carried that it has no more, and the newest round trip of one.
    pub(super) past: Traffic,
    pub(super) round_trip: Option<Duration>,
}

impl Session {
    /// A session with nothing sent or received. `terms` are the peer's.
    pub(super) fn new(
        key: PairKey,
        peer: PeerInfo,
        max_data: u32,
        terms: &Resume,
        rule: LinkRule,
        me: InstanceId,
        limits: &Limits,
    ) -> Self {
        let choice = match rule {
            LinkRule::OnePerPair if me < peer.instance => {
                Choice::Chooses { last: 0, on: None, agreed: false }
            }
            LinkRule::OnePerPair => Choice::Follows { seen: 0 },
            LinkRule::Many | LinkRule::OnePerDialler => Choice::Newest,
        };
        Self {
            key,
            peer,
            max_data,
            timeout: limits.session_timeout.min(Duration::from_millis(terms.timeout.into())),
            out: Outgoing::new(terms.window),
            incoming: Incoming::new(limits.session_window),
            choice,
            strands: Vec::new(),
            active: None,
            backoff: Backoff::new(limits.backoff),
            waits_to_acknowledge: None,
            progress: false,
            interrupted: false,
            closing: false,
            breaks: 0,
            resent: 0,
            past: Traffic::default(),
            round_trip: None,
        }
    }

    /// A link is established; the peer says that it has received `count` packs.
    pub(super) fn add(&mut self, link: LinkId, epoch: Option<u64>, count: u64) {
        self.progress = false;
        self.strands.push(Strand { link, epoch, cursor: count + 1 });
        if matches!(self.choice, Choice::Newest) {
            self.active = Some(link);
        }
    }

    /// A link is over.
    pub(super) fn remove(&mut self, link: LinkId) {
        // What was acknowledged on it may be lost.
        self.incoming.repeat();
        self.strands.retain(|strand| strand.link != link);
        if self.active == Some(link) {
            self.active = match self.choice {
                Choice::Newest => self.strands.last().map(|strand| strand.link),
                Choice::Chooses { .. } | Choice::Follows { .. } => None,
            };
        }
    }

    /// The link to give up first if there are more than any choice between them needs.
    pub(super) fn excess(&self) -> Option<LinkId> {
        let spare = |strand: &&Strand| self.active != Some(strand.link);
        self.strands.iter().find(spare).filter(|_| self.strands.len() > STRANDS).map(|strand| strand.link)
    }

    /// Whether the link is an established one of this session.
    pub(super) fn has(&self, link: LinkId) -> bool {
        self.strands.iter().any(|strand| strand.link == link)
    }

    /// Where to send: on the active link, else on the newest (PROTOCOL B 9).
    pub(super) fn sends_on(&self) -> Option<LinkId> {
        self.active.or_else(|| self.strands.last().map(|strand| strand.link))
    }

    /// The message to send next on `link`, and the acknowledgement that goes along.
    pub(super) fn next_message(&mut self, link: LinkId) -> Option<(&DataPack, u64)> {
        let strand = self.strands.iter_mut().find(|strand| strand.link == link)?;
        let repeats = self.out.repeats(strand.cursor);
        let pack = self.out.next(&mut strand.cursor)?;
        self.resent += u64::from(repeats);
        Some((pack, self.incoming.tell()))
    }

    /// Panics if the session contradicts itself.
    pub(super) fn check_invariants(&self, max_pack: usize) {
        self.out.check_invariants();
        self.incoming.check_invariants(max_pack);
        if let Some(active) = self.active {
            assert!(self.has(active), "{active} is active and not established");
        }
        let newest = self.out.acknowledged() + self.out.len().0 as u64 + 1;
        assert!(self.strands.len() <= STRANDS, "links pile up");
        for strand in &self.strands {
            assert!(strand.cursor <= newest, "{} is ahead of what there is", strand.link);
        }
    }
}

/// The largest that a pack of so much data can count.
pub(super) fn max_cost(max_data: u32) -> usize {
    crate::pack::DataHeader::WIRE_LEN + usize::try_from(max_data).unwrap_or(usize::MAX)
}
