//! What each end of each session has sent, received, taken and been told, and what that must be.
//!
//! It sees both ends, of the dead too, and knows nothing of links: what a session promises does not depend on them.

use crate::context::ProcId;
use crate::mesh::table::Verdict;
use crate::script::content;
use core::fmt;
use std::collections::BTreeMap;
use xxnet_core::connection::{ConnectionError, ConnectionEvent, DisconnectReason, KindId, PeerInfo};
use xxnet_core::pack::DataPack;
use xxnet_core::{ConnectionId, InstanceId, Token};

/// Names one end of one session: its process, its connection, and how many sessions that connection had before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Key {
    pub(super) proc: ProcId,
    pub(super) id: ConnectionId,
    nth: u64,
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "session {} of {} at process {}", self.nth, self.id, self.proc.0)
    }
}

/// One end of a session.
#[derive(Debug)]
pub(super) struct End {
    pub(super) kind: KindId,
    me: InstanceId,
    pub(super) peer: InstanceId,
    /// The other end, once a message has come from there or arrived there.
    pub(super) partner: Option<Key>,
    /// Numbers of the messages that were offered and not refused, oldest first.
    sent: Vec<u64>,
    offered: u64,
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
    fn new(kind: KindId, me: InstanceId, peer: InstanceId) -> Self {
        Self {
            kind,
            me,
            peer,
            partner: None,
            sent: Vec::new(),
            offered: 0,
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
        let (acknowledged, sent) = (self.acknowledged, self.sent.len());
        if self.interrupted {
            return Some(("pair", format!("has no link to {}", self.peer)));
        }
        if acknowledged < sent as u64 {
            return Some(("pair", format!("was acknowledged {acknowledged} of {sent}")));
        }
        self.full.then(|| ("writable", "was refused a message and never told that there is room".to_owned()))
    }
}

/// Every end of every session that there ever was.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    ends: BTreeMap<Key, End>,
    /// Those that are up, and how many each connection had.
    live: BTreeMap<(ProcId, ConnectionId), Key>,
    used: BTreeMap<(ProcId, ConnectionId), u64>,
    offers: BTreeMap<Token, (Key, u64)>,
    pub(super) counts: Sessions,
}

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

/// Bytes in front of a message's filler: process, connection, session and number.
const HEAD: usize = 32;

impl Ledger {
    /// The end that is up on a connection.
    pub(super) fn at(&self, proc: ProcId, id: ConnectionId) -> Option<(Key, &End)> {
        let key = self.live.get(&(proc, id))?;
        Some((*key, self.ends.get(key)?))
    }

    /// The ends that are up in a process.
    pub(super) fn of(&self, proc: ProcId) -> Vec<ConnectionId> {
        self.live.keys().filter(|(owner, _)| *owner == proc).map(|(_, id)| *id).collect()
    }

    /// Whether this end is up.
    pub(super) fn lives(&self, key: Key) -> bool {
        self.live.get(&(key.proc, key.id)) == Some(&key)
    }

    fn at_mut(&mut self, proc: ProcId, id: ConnectionId) -> Option<(Key, &mut End)> {
        let key = self.live.get(&(proc, id))?;
        Some((*key, self.ends.get_mut(key)?))
    }

    /// The next message of a session that is up.
    pub(super) fn offer(
        &mut self,
        proc: ProcId,
        id: ConnectionId,
        token: Token,
        filler: usize,
    ) -> Option<Vec<u8>> {
        let (key, end) = self.at_mut(proc, id)?;
        let number = end.offered;
        end.offered += 1;
        end.sent.push(number);
        self.offers.insert(token, (key, number));
        let mut message = Vec::with_capacity(HEAD + filler);
        for part in [u64::from(proc.0), id.0, key.nth, number] {
            message.extend(part.to_le_bytes());
        }
        message.extend(content(id.0 ^ number, filler));
        Some(message)
    }

    /// A command was refused: if it was a message, it is not sent.
    pub(super) fn refused(&mut self, token: Token, error: &ConnectionError) -> Verdict {
        let Some((key, number)) = self.offers.remove(&token) else { return Ok(()) };
        let Some(end) = self.ends.get_mut(&key) else { return Ok(()) };
        end.full |= *error == ConnectionError::QueueFull;
        let Ok(at) = end.sent.binary_search(&number) else { return Ok(()) };
        end.sent.remove(at);
        let told = end.acknowledged + end.undelivered.unwrap_or(0);
        let came = end.partner.and_then(|partner| self.ends.get(&partner)).map_or(0, |other| other.received);
        if (at as u64) < told.max(came) {
            return Err(("session", format!("{key}: message {number} was refused, and sent")));
        }
        Ok(())
    }

    /// A node's process is gone, with all that it had.
    pub(super) fn died(&mut self, proc: ProcId) {
        self.of(proc).into_iter().for_each(|id| self.forget(proc, id));
        self.offers.retain(|_, (key, _)| key.proc != proc);
        for (_, end) in self.ends.iter_mut().filter(|(key, _)| key.proc == proc) {
            end.total = None;
        }
    }

    /// A connection was discarded: nothing more is told of it.
    pub(super) fn forget(&mut self, proc: ProcId, id: ConnectionId) {
        self.live.remove(&(proc, id));
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
        let used = self.used.entry((proc, id)).or_default();
        let key = Key { proc, id, nth: *used };
        *used += 1;
        self.live.insert((proc, id), key);
        self.ends.insert(key, End::new(kind, me, peer.instance));
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
        let (number, origin) = (part(3), u32::try_from(part(0)).unwrap_or(u32::MAX));
        let from = Key { proc: ProcId(origin), id: ConnectionId(part(1)), nth: part(2) };
        let Some(sender) = self.ends.get_mut(&from) else {
            return Err(("session", format!("{key} brings a message that nobody has sent")));
        };
        if (sender.peer, sender.me) != (me, peer) {
            return Err(("crash", format!("{key} brings a message of {from}, which is for {}", sender.peer)));
        }
        let other = partner.unwrap_or(from) != from || sender.partner.unwrap_or(key) != key;
        if other || sender.kind != kind {
            return Err(("session", format!("{key} brings a message of another session, {from}")));
        }
        let want = sender.sent.get(count as usize - 1);
        if pack.sequence != count || want != Some(&number) {
            let what = format!("{key} brings message {number} as its {count}th, numbered {}", pack.sequence);
            return Err(("session", what));
        }
        if pack.head[HEAD..] != content(from.id.0 ^ number, pack.head.len() - HEAD)[..] {
            return Err(("session", format!("{key} brings message {number} with other bytes")));
        }
        sender.partner = Some(key);
        if let Some(end) = self.ends.get_mut(&key) {
            end.partner = Some(from);
        }
        Ok(())
    }

    /// No more than the application at the other end has taken.
    fn acknowledged(&mut self, proc: ProcId, id: ConnectionId, sequence: u64) -> Verdict {
        let Some((key, end)) = self.up(proc, id)? else { return Ok(()) };
        let before = core::mem::replace(&mut end.acknowledged, sequence);
        let (sent, partner) = (end.sent.len() as u64, end.partner);
        let taken = partner.and_then(|partner| self.ends.get(&partner)).map_or(0, |other| other.taken);
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
            let bytes = pack.head.get(24..).and_then(|bytes| bytes.first_chunk());
            bytes.map_or(u64::MAX, |bytes| u64::from_le_bytes(*bytes))
        });
        let owed = end.sent.get(end.acknowledged as usize..).unwrap_or(&[]);
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
            self.live.remove(&(proc, id));
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
        for (key, end) in &self.ends {
            if let Some(total) = end.total.filter(|total| *total != end.sent.len() as u64) {
                let what = format!("{key} is over; of {} messages {total} are accounted for", end.sent.len());
                return Err((key.proc, what));
            }
        }
        Ok(())
    }
}
