//! What each end of each session has sent, received, taken and been told, and what that must be.
//!
//! It sees both ends, of the dead too, and knows nothing of links: what a session promises does not depend on them.

use crate::context::ProcId;
use crate::mesh::table::Verdict;
use crate::script::{fill, is_filler};
use core::fmt;
use xxnet_core::connection::{ConnectionError, ConnectionEvent, DisconnectReason, KindId, PeerInfo};
use xxnet_core::pack::DataPack;
use xxnet_core::{ConnectionId, InstanceId, Token};

/// Names one end of one session: its process, its connection, and how many sessions that connection had before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Key {
    pub(super) proc: ProcId,
    pub(super) id: ConnectionId,
    nth: u64,
    /// Where it stands among all ends.
    row: usize,
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "session {} of {} at process {}", self.nth, self.id, self.proc.0)
    }
}

/// One end of a session.
#[derive(Debug)]
pub(super) struct End {
    key: Key,
    pub(super) kind: KindId,
    me: InstanceId,
    pub(super) peer: InstanceId,
    /// The other end, once a message has come from there or arrived there.
    pub(super) partner: Option<Key>,
    sent: Sent,
    acknowledged: u64,
    /// Messages that were told as undelivered; nothing but the end may be told after that.
    undelivered: Option<u64>,
    /// Sent and accounted for, once it is over: whatever was offered besides must be refused.
    total: Option<u64>,
    received: u64,
    taken: u64,
    /// A message was refused because the queue is full, and nothing was heard since.
    full: bool,
    /// It has lost its last link and has no new one.
    interrupted: bool,
}

impl End {
    fn new(key: Key, kind: KindId, me: InstanceId, peer: InstanceId) -> Self {
        Self {
            key,
            kind,
            me,
            peer,
            partner: None,
            sent: Sent::default(),
            acknowledged: 0,
            undelivered: None,
            total: None,
            received: 0,
            taken: 0,
            full: false,
            interrupted: false,
        }
    }

    /// What keeps it from being at rest: everything that was sent is acknowledged, over a link.
    pub(super) fn unrest(&self) -> Option<(&'static str, String)> {
        let (acknowledged, sent) = (self.acknowledged, self.sent.count());
        if self.interrupted {
            return Some(("pair", format!("has no link to {}", self.peer)));
        }
        if acknowledged < sent {
            return Some(("pair", format!("was acknowledged {acknowledged} of {sent}")));
        }
        self.full.then(|| ("writable", "was refused a message and never told that there is room".to_owned()))
    }
}

/// The messages that were offered and not refused: numbered from 0, those refused left out.
#[derive(Debug, Default)]
struct Sent {
    offered: u64,
    refused: Vec<u64>,
}

impl Sent {
    fn count(&self) -> u64 {
        self.offered - self.refused.len() as u64
    }

    /// The number of the next one.
    fn offer(&mut self) -> u64 {
        self.offered += 1;
        self.offered - 1
    }

    /// One is refused after all: how many sent ones were offered before it.
    fn refuse(&mut self, number: u64) -> Option<u64> {
        let at = self.refused.binary_search(&number).err()?;
        self.refused.insert(at, number);
        Some(number - at as u64)
    }

    /// The number of the `nth` one, from 0.
    fn number(&self, nth: u64) -> Option<u64> {
        let before = |(at, refused): (usize, &u64)| refused - at as u64 <= nth;
        let skipped =
            self.refused.iter().enumerate().rev().find(|entry| before(*entry)).map_or(0, |(at, _)| at + 1);
        let number = nth + skipped as u64;
        (number < self.offered).then_some(number)
    }
}

/// Every end of every session that there ever was.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    ends: Vec<End>,
    /// By process and connection: where the end stands that is up, and how many ends there were.
    connections: Vec<Vec<(Option<usize>, u64)>>,
    pub(super) counts: Sessions,
}

/// The application's name for a message that it offers: which end's, and its number there.
fn token(row: usize, number: u64) -> Token {
    Token(OFFER | (row as u64) << NUMBER | number)
}

/// No other token is as large.
const OFFER: u64 = 1 << 63;
/// Bits of a message's number in its token.
const NUMBER: u32 = 40;

/// What happened to the sessions of a run, both ends counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sessions {
    /// Sessions that began.
    pub begun: u64,
    /// How often one lost its last link.
    pub broken: u64,
    /// How often one got a new link.
    pub resumed: u64,
    /// Those that had no link for too long.
    pub expired: u64,
    /// Those that were over because the other end's was.
    pub stale: u64,
    /// Those that were over because another instance answered.
    pub replaced: u64,
    /// Messages that were told as undelivered.
    pub undelivered: u64,
}

impl Sessions {
    /// Those of another run too.
    pub fn merge(&mut self, other: &Self) {
        self.begun += other.begun;
        self.broken += other.broken;
        self.resumed += other.resumed;
        self.expired += other.expired;
        self.stale += other.stale;
        self.replaced += other.replaced;
        self.undelivered += other.undelivered;
    }
}

/// Bytes in front of a message's filler: which end sends it, and its number.
pub(super) const HEAD: usize = 16;

impl Ledger {
    /// The end that is up on a connection.
    pub(super) fn at(&self, proc: ProcId, id: ConnectionId) -> Option<(Key, &End)> {
        let end = self.ends.get(self.up_at(proc, id)?)?;
        Some((end.key, end))
    }

    fn up_at(&self, proc: ProcId, id: ConnectionId) -> Option<usize> {
        self.connections.get(proc.0 as usize)?.get(id.0 as usize)?.0
    }

    /// What is kept of a connection: the machine counts them up from 1.
    fn connection(&mut self, proc: ProcId, id: ConnectionId) -> &mut (Option<usize>, u64) {
        let (proc, id) = (proc.0 as usize, id.0 as usize);
        if self.connections.len() <= proc {
            self.connections.resize_with(proc + 1, Vec::new);
        }
        let own = &mut self.connections[proc];
        if own.len() <= id {
            own.resize(id + 1, (None, 0));
        }
        &mut own[id]
    }

    /// The ends that are up in a process.
    pub(super) fn of(&self, proc: ProcId) -> Vec<ConnectionId> {
        let own = self.connections.get(proc.0 as usize).map_or(&[][..], |own| own);
        let numbered = own.iter().enumerate().filter(|(_, (up, _))| up.is_some());
        numbered.map(|(id, _)| ConnectionId(id as u64)).collect()
    }

    /// Whether this end is up.
    pub(super) fn lives(&self, key: Key) -> bool {
        self.up_at(key.proc, key.id) == Some(key.row)
    }

    fn at_mut(&mut self, proc: ProcId, id: ConnectionId) -> Option<(Key, &mut End)> {
        let row = self.up_at(proc, id)?;
        let end = self.ends.get_mut(row)?;
        Some((end.key, end))
    }

    /// The next message of a session that is up, and its token.
    pub(super) fn offer(
        &mut self,
        proc: ProcId,
        id: ConnectionId,
        filler: usize,
    ) -> Option<(Token, Vec<u8>)> {
        let (key, end) = self.at_mut(proc, id)?;
        let number = end.sent.offer();
        let mut message = Vec::with_capacity(HEAD + filler);
        message.extend((key.row as u64).to_le_bytes());
        message.extend(number.to_le_bytes());
        fill(&mut message, id.0 ^ number, filler);
        Some((token(key.row, number), message))
    }

    /// A command was refused: if it was a message, it is not sent.
    pub(super) fn refused(&mut self, token: Token, error: &ConnectionError) -> Verdict {
        let (row, number) = ((token.0 & !OFFER) >> NUMBER, token.0 & ((1 << NUMBER) - 1));
        let Some(end) = self.ends.get_mut(row as usize).filter(|_| token.0 & OFFER != 0) else {
            return Ok(());
        };
        end.full |= *error == ConnectionError::QueueFull;
        let Some(at) = end.sent.refuse(number) else { return Ok(()) };
        let (key, partner, told) = (end.key, end.partner, end.acknowledged + end.undelivered.unwrap_or(0));
        let came = partner.and_then(|partner| self.ends.get(partner.row)).map_or(0, |other| other.received);
        if at < told.max(came) {
            return Err(("session", format!("{key}: message {number} was refused, and sent")));
        }
        Ok(())
    }

    /// A node's process is gone, with all that it had.
    pub(super) fn died(&mut self, proc: ProcId) {
        self.of(proc).into_iter().for_each(|id| self.forget(proc, id));
        for end in self.ends.iter_mut().filter(|end| end.key.proc == proc) {
            end.total = None;
        }
    }

    /// A connection was discarded: nothing more is told of it.
    pub(super) fn forget(&mut self, proc: ProcId, id: ConnectionId) {
        self.connection(proc, id).0 = None;
    }

    /// The application takes messages up to this one, or all.
    pub(super) fn take(&mut self, proc: ProcId, id: ConnectionId, most: Option<u64>) -> Option<u64> {
        let (_, end) = self.at_mut(proc, id)?;
        if end.taken == end.received {
            return None;
        }
        end.taken = most.unwrap_or(end.received).clamp(end.taken + 1, end.received);
        Some(end.taken)
    }

    /// Messages that have come and were not taken: the last taken, the last received.
    pub(super) fn waiting(&self, proc: ProcId, id: ConnectionId) -> Option<(u64, u64)> {
        let (_, end) = self.at(proc, id)?;
        (end.taken < end.received).then_some((end.taken, end.received))
    }

    /// A connection of a session kind is up.
    pub(super) fn begin(
        &mut self,
        proc: ProcId,
        id: ConnectionId,
        kind: KindId,
        me: InstanceId,
        peer: &PeerInfo,
    ) {
        self.counts.begun += 1;
        let row = self.ends.len();
        let (up, used) = self.connection(proc, id);
        let key = Key { proc, id, nth: *used, row };
        *used += 1;
        *up = Some(row);
        self.ends.push(End::new(key, kind, me, peer.instance));
    }

    /// What a process is told of its sessions.
    pub(super) fn event(&mut self, proc: ProcId, event: &ConnectionEvent) -> Verdict {
        match event {
            ConnectionEvent::Received { id, pack } => self.received(proc, *id, pack),
            ConnectionEvent::Acknowledged { id, sequence } => self.acknowledged(proc, *id, *sequence),
            ConnectionEvent::Undelivered { id, packs } => self.reported(proc, *id, packs),
            ConnectionEvent::Disconnected { id, reason, .. } => {
                self.ended(proc, *id, reason);
                Ok(())
            }
            ConnectionEvent::Writable { id } => {
                self.up(proc, *id)?.into_iter().for_each(|(_, end)| end.full = false);
                Ok(())
            }
            ConnectionEvent::Interrupted { id, .. } => {
                self.counts.broken += 1;
                self.link(proc, *id, true)
            }
            ConnectionEvent::Resumed { id } => {
                self.counts.resumed += 1;
                self.link(proc, *id, false)
            }
            ConnectionEvent::Connected { .. }
            | ConnectionEvent::Accepted { .. }
            | ConnectionEvent::Pong { .. }
            | ConnectionEvent::Listening { .. }
            | ConnectionEvent::ListenFailed { .. }
            | ConnectionEvent::TurnedAway { .. }
            | ConnectionEvent::AcceptFailing { .. } => Ok(()),
        }
    }

    /// The end that something is told of. After its report, only that it is over.
    fn up(
        &mut self,
        proc: ProcId,
        id: ConnectionId,
    ) -> Result<Option<(Key, &mut End)>, (&'static str, String)> {
        match self.at_mut(proc, id) {
            Some((key, end)) if end.undelivered.is_some() => {
                Err(("report", format!("{key} goes on after what was not acknowledged was told")))
            }
            found => Ok(found),
        }
    }

    fn link(&mut self, proc: ProcId, id: ConnectionId, gone: bool) -> Verdict {
        match self.up(proc, id)? {
            Some((key, end)) if end.interrupted == gone => {
                Err(("events", format!("{key} has lost its link, or got it back, twice")))
            }
            Some((_, end)) => {
                end.interrupted = gone;
                Ok(())
            }
            None => Ok(()),
        }
    }

    /// A prefix of what the other end has sent in this session: nothing else, twice or in another order.
    fn received(&mut self, proc: ProcId, id: ConnectionId, pack: &DataPack) -> Verdict {
        let Some((key, end)) = self.up(proc, id)? else { return Ok(()) };
        end.received += 1;
        let (count, me, peer, kind, partner) = (end.received, end.me, end.peer, end.kind, end.partner);
        let part = |at: usize| {
            let bytes = pack.head.get(at * 8..).and_then(|bytes| bytes.first_chunk());
            bytes.map_or(u64::MAX, |bytes| u64::from_le_bytes(*bytes))
        };
        let (row, number) = (part(0), part(1));
        let sender = usize::try_from(row).ok().and_then(|row| self.ends.get_mut(row));
        let Some(sender) = sender else {
            return Err(("session", format!("{key} brings a message that nobody has sent")));
        };
        let from = sender.key;
        if (sender.peer, sender.me) != (me, peer) {
            return Err(("crash", format!("{key} brings a message of {from}, which is for {}", sender.peer)));
        }
        let other = partner.unwrap_or(from) != from || sender.partner.unwrap_or(key) != key;
        if other || sender.kind != kind {
            return Err(("session", format!("{key} brings a message of another session, {from}")));
        }
        if pack.sequence != count || sender.sent.number(count - 1) != Some(number) {
            let what = format!("{key} brings message {number} as its {count}th, numbered {}", pack.sequence);
            return Err(("session", what));
        }
        if !is_filler(from.id.0 ^ number, &pack.head[HEAD..]) {
            return Err(("session", format!("{key} brings message {number} with other bytes")));
        }
        sender.partner = Some(key);
        self.ends[key.row].partner = Some(from);
        Ok(())
    }

    /// No more than the application at the other end has taken.
    fn acknowledged(&mut self, proc: ProcId, id: ConnectionId, sequence: u64) -> Verdict {
        let Some((key, end)) = self.up(proc, id)? else { return Ok(()) };
        let before = core::mem::replace(&mut end.acknowledged, sequence);
        let (sent, partner) = (end.sent.count(), end.partner);
        let taken = partner.and_then(|partner| self.ends.get(partner.row)).map_or(0, |other| other.taken);
        if sequence <= before || sequence > sent.min(taken) {
            let what =
                format!("{key}: {sequence} acknowledged after {before}, of {sent} sent, {taken} taken");
            return Err(("acknowledged", what));
        }
        Ok(())
    }

    /// What is told as undelivered comes right behind what was acknowledged.
    fn reported(&mut self, proc: ProcId, id: ConnectionId, packs: &[DataPack]) -> Verdict {
        let Some((key, end)) = self.up(proc, id)? else { return Ok(()) };
        let numbers = packs.iter().map(|pack| {
            let bytes = pack.head.get(8..).and_then(|bytes| bytes.first_chunk());
            bytes.map_or(u64::MAX, |bytes| u64::from_le_bytes(*bytes))
        });
        let owed: Vec<u64> =
            (end.acknowledged..end.sent.count()).filter_map(|nth| end.sent.number(nth)).collect();
        end.undelivered = Some(packs.len() as u64);
        let own = numbers.clone().eq(owed.iter().take(packs.len()).copied());
        let what = || {
            let told: Vec<u64> = numbers.collect();
            format!("{key} ends with {} acknowledged; {told:?} are told, {owed:?} are owed", end.acknowledged)
        };
        if packs.is_empty() || !own {
            return Err(("report", what()));
        }
        self.counts.undelivered += packs.len() as u64;
        Ok(())
    }

    /// Everything that it has sent is acknowledged or reported. What was offered in the same moment may still be refused.
    fn ended(&mut self, proc: ProcId, id: ConnectionId, reason: &DisconnectReason) {
        if let Some((_, end)) = self.at_mut(proc, id) {
            end.total = Some(end.acknowledged + end.undelivered.unwrap_or(0));
            self.connection(proc, id).0 = None;
            match reason {
                DisconnectReason::Expired => self.counts.expired += 1,
                DisconnectReason::Stale => self.counts.stale += 1,
                DisconnectReason::OtherInstance(_) => self.counts.replaced += 1,
                _ => {}
            }
        }
    }

    /// Everything that living processes have heard to the end: each message was acknowledged, reported or refused.
    pub(super) fn audit(&self) -> Result<(), (ProcId, String)> {
        for end in &self.ends {
            let (key, sent) = (end.key, end.sent.count());
            if let Some(total) = end.total.filter(|total| *total != sent) {
                let what = format!("{key} is over; of {sent} messages {total} are accounted for");
                return Err((key.proc, what));
            }
        }
        Ok(())
    }
}
