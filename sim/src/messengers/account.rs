//! What became of each message, and what that must be.
//!
//! It sees all nodes, of the dead too, and knows nothing of connections: what is promised does not depend on them.

use super::PORT;
use super::temper::Temper;
use crate::clock::Micros;
use crate::context::{HostId, ProcId};
use crate::mesh::Sessions;
use crate::script::{fill, is_filler};
use crate::weather;
use core::fmt;
use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};
use xxnet_core::connection::{ConnectionError, DisconnectReason, PeerInfo};
use xxnet_core::messenger::{LOCAL, MessengerError, MessengerNotice};
use xxnet_core::pack::{DataHeader, DataPack};
use xxnet_core::{Address, ConnectionId, InstanceId, Token};

/// What an oracle has to say: its name, and what it saw.
pub(super) type Verdict = Result<(), (&'static str, String)>;

/// What became of the messages of a run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Messages {
    /// Given to a messenger.
    pub sent: u64,
    /// Given to an application.
    pub received: u64,
    /// Told as undelivered when a session ended.
    pub undelivered: u64,
    /// Told as undelivered because nobody could be reached.
    pub given_up: u64,
    /// Rejected.
    pub rejected: u64,
    /// Shutdowns that were over.
    pub downs: u64,
}

impl Messages {
    /// Those of another run too.
    pub fn merge(&mut self, other: &Self) {
        self.sent += other.sent;
        self.received += other.received;
        self.undelivered += other.undelivered;
        self.given_up += other.given_up;
        self.rejected += other.rejected;
        self.downs += other.downs;
    }
}

/// Names one end of one session: its process, its connection, and how many sessions that connection had before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    proc: ProcId,
    on: ConnectionId,
    nth: u64,
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "session {} of {} at process {}", self.nth, self.on, self.proc.0)
    }
}

/// What a messenger has said of a message to its sender.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Told {
    Nothing,
    /// A session ended without an acknowledgement.
    Undelivered,
    /// It was never on a session.
    Unsent,
}

#[derive(Debug)]
struct Message {
    from: ProcId,
    token: Token,
    to: Address,
    bytes: usize,
    at: Micros,
    told: Told,
    /// Where it has come, as its how manieth.
    came: Option<(Key, u64)>,
}

/// One end of a session.
#[derive(Debug)]
struct End {
    peer: InstanceId,
    /// What has come, by number; `taken` of them are the application's.
    came: Vec<usize>,
    taken: usize,
    /// Bytes that have come and were not taken.
    waiting: usize,
    interrupted: bool,
}

impl End {
    fn new(peer: InstanceId) -> Self {
        Self { peer, came: Vec::new(), taken: 0, waiting: 0, interrupted: false }
    }
}

/// Messages and their bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Sum {
    count: u64,
    bytes: usize,
}

impl Sum {
    fn add(&mut self, count: u64, bytes: usize) {
        self.count += count;
        self.bytes += bytes;
    }

    /// Takes so much away, unless there is less.
    fn less(&mut self, count: u64, bytes: usize) -> bool {
        let enough = self.count >= count && self.bytes >= bytes;
        if enough {
            (self.count, self.bytes) = (self.count - count, self.bytes - bytes);
        }
        enough
    }
}

/// What one token of one process owes.
#[derive(Clone, Copy, Debug, Default)]
struct Debt {
    /// Offered and not settled.
    open: Sum,
    /// Told as undelivered or rejected, and not settled yet.
    told: Sum,
    /// Taken by an application, and not settled yet.
    taken: Sum,
}

#[derive(Debug)]
struct Process {
    node: usize,
    instance: InstanceId,
    debts: BTreeMap<Token, Debt>,
    /// Which nodes each address has meant, where it is nobody's listener.
    callers: BTreeMap<Address, BTreeSet<usize>>,
    addresses: BTreeSet<Address>,
    open_bytes: usize,
    /// It has parted with somebody: an address may be given up, and a session that ends takes nothing more.
    parts: bool,
    /// It has closed a listener, and with it who was at its door.
    unlistens: bool,
    closes: bool,
}

/// Every message that was ever sent, and every end of every session that there ever was.
#[derive(Debug)]
pub(super) struct Account {
    messages: Vec<Message>,
    processes: BTreeMap<ProcId, Process>,
    ends: BTreeMap<Key, End>,
    live: BTreeMap<(ProcId, ConnectionId), Key>,
    used: BTreeMap<(ProcId, ConnectionId), u64>,
    /// The last message that came of a process and an address.
    last: BTreeMap<(ProcId, Address), usize>,
    queue: usize,
    /// Bytes that a session may have under way.
    window: usize,
    largest: usize,
    timeout: Duration,
    pub(super) counts: Messages,
    pub(super) sessions: Sessions,
}

/// Bytes in front of a message's filler: its number.
const HEAD: usize = 8;

/// The number that a message bears.
pub(super) fn number(pack: &DataPack) -> usize {
    let bytes = pack.head.get(..HEAD).and_then(|bytes| bytes.first_chunk());
    bytes.map_or(usize::MAX, |bytes| u64::from_le_bytes(*bytes) as usize)
}

impl Account {
    pub(super) fn new(temper: &Temper) -> Self {
        Self {
            messages: Vec::new(),
            processes: BTreeMap::new(),
            ends: BTreeMap::new(),
            live: BTreeMap::new(),
            used: BTreeMap::new(),
            last: BTreeMap::new(),
            queue: temper.limits.session_queue,
            window: temper.limits.session_window as usize,
            largest: temper.largest as usize + HEAD + DataHeader::WIRE_LEN,
            timeout: temper.limits.session_timeout,
            counts: Messages::default(),
            sessions: Sessions::default(),
        }
    }

    // ---- what applications do ----

    pub(super) fn started(&mut self, proc: ProcId, node: usize, instance: InstanceId) {
        let process = Process {
            node,
            instance,
            debts: BTreeMap::new(),
            callers: BTreeMap::new(),
            addresses: BTreeSet::new(),
            open_bytes: 0,
            parts: false,
            unlistens: false,
            closes: false,
        };
        self.processes.insert(proc, process);
        self.begin(proc, LOCAL, instance);
    }

    /// A process is gone, with all that it had.
    pub(super) fn died(&mut self, proc: ProcId) {
        self.processes.remove(&proc);
        self.live.retain(|(owner, _), _| *owner != proc);
    }

    pub(super) fn parts(&mut self, proc: ProcId) {
        if let Some(process) = self.processes.get_mut(&proc) {
            process.parts = true;
        }
    }

    pub(super) fn unlistens(&mut self, proc: ProcId) {
        if let Some(process) = self.processes.get_mut(&proc) {
            process.unlistens = true;
        }
    }

    pub(super) fn closes(&mut self, proc: ProcId) {
        if let Some(process) = self.processes.get_mut(&proc) {
            process.closes = true;
        }
        // What it has sent to itself is its own.
        self.take(proc, LOCAL, None);
    }

    /// Whether the other end of a session stays, as far as it knows.
    pub(super) fn stays(&self, proc: ProcId, on: ConnectionId) -> bool {
        let end = self.live.get(&(proc, on)).and_then(|key| self.ends.get(key));
        let other = end.and_then(|end| self.processes.values().find(|other| other.instance == end.peer));
        other.is_some_and(|other| !other.parts && !other.unlistens && !other.closes)
    }

    /// The number of the next message.
    pub(super) fn next(&self) -> usize {
        self.messages.len()
    }

    /// The next message of a process: its bytes.
    pub(super) fn offer(
        &mut self,
        from: ProcId,
        at: Micros,
        token: Token,
        to: &Address,
        filler: usize,
    ) -> Vec<u8> {
        let id = self.messages.len();
        let mut message = Vec::with_capacity(HEAD + filler);
        message.extend((id as u64).to_le_bytes());
        fill(&mut message, id as u64, filler);
        let bytes = DataHeader::WIRE_LEN + message.len();
        let (told, came) = (Told::Nothing, None);
        self.messages.push(Message { from, token, to: to.clone(), bytes, at, told, came });
        if let Some(process) = self.processes.get_mut(&from) {
            process.debts.entry(token).or_default().open.add(1, bytes);
            process.addresses.insert(to.clone());
            process.open_bytes += bytes;
        }
        self.counts.sent += 1;
        message
    }

    /// The application takes messages up to this one, or all.
    pub(super) fn take(&mut self, proc: ProcId, on: ConnectionId, most: Option<u64>) -> Option<u64> {
        let end = self.ends.get_mut(self.live.get(&(proc, on))?)?;
        let most = most.map_or(end.came.len(), |most| most as usize);
        let news = end.came.get(end.taken..most).filter(|news| !news.is_empty())?.to_vec();
        end.taken = most;
        end.waiting = end.came[most..].iter().map(|id| self.messages[*id].bytes).sum();
        news.into_iter().for_each(|id| self.taken(id));
        Some(most as u64)
    }

    fn taken(&mut self, id: usize) {
        let Message { from, token, bytes, told, .. } = self.messages[id];
        let Some(process) = self.processes.get_mut(&from).filter(|_| told == Told::Nothing) else { return };
        process.debts.entry(token).or_default().taken.add(1, bytes);
    }

    // ---- what can be asked ----

    /// The ends that are up in a process.
    pub(super) fn of(&self, proc: ProcId) -> Vec<ConnectionId> {
        self.live.keys().filter(|(owner, _)| *owner == proc).map(|(_, on)| *on).collect()
    }

    /// Messages that have come and were not taken: the last taken, the last received.
    pub(super) fn waiting(&self, proc: ProcId, on: ConnectionId) -> Option<(u64, u64)> {
        let end = self.ends.get(self.live.get(&(proc, on))?)?;
        (end.taken < end.came.len()).then_some((end.taken as u64, end.came.len() as u64))
    }

    /// The node to whose listener a message was sent.
    pub(super) fn node_of(&self, pack: &DataPack) -> Option<usize> {
        let message = self.messages.get(number(pack))?;
        self.listener(message.from, &message.to)
    }

    /// A message, for people.
    pub(super) fn describe(&self, pack: &DataPack) -> String {
        let id = number(pack);
        self.messages.get(id).map_or_else(|| format!("something unknown, {id}"), |_| self.named(id))
    }

    fn named(&self, id: usize) -> String {
        let message = &self.messages[id];
        format!("message {id} of process {} to {}", message.from.0, message.to)
    }

    /// What keeps a process from being at rest: everything is settled, and each session has a link and another end.
    pub(super) fn unrest(&self, proc: ProcId) -> Option<(&'static str, String)> {
        let process = self.processes.get(&proc)?;
        if let Some((token, debt)) = process.debts.iter().find(|(_, debt)| debt.open.count > 0) {
            let what = format!("has {} messages of {token} that are not settled", debt.open.count);
            return Some(("stuck", what));
        }
        for (on, key) in self.live.iter().filter(|((owner, on), _)| *owner == proc && *on != LOCAL) {
            let Some(end) = self.ends.get(key) else { continue };
            let other = self.processes.iter().find(|(_, other)| other.instance == end.peer);
            let Some((other, _)) = other else {
                let what = format!("still has a session with {}, which is no more", end.peer);
                return Some(("crash", what));
            };
            let agrees = |key: &Key| self.ends.get(key).is_some_and(|back| back.peer == process.instance);
            let back = self.live.iter().any(|((owner, _), key)| owner == other && agrees(key));
            if end.interrupted || !back {
                let what = format!("{} has no link to {}, or not at both ends", on.1, end.peer);
                return Some(("pair", what));
            }
        }
        None
    }

    // ---- what messengers tell ----

    pub(super) fn notice(
        &mut self,
        proc: ProcId,
        now: Micros,
        flipped: bool,
        notice: &MessengerNotice,
    ) -> Verdict {
        match notice {
            MessengerNotice::Connected { on, at, peer } => self.connected(proc, *on, at, peer),
            MessengerNotice::Received { on, pack } => self.received(proc, *on, pack),
            MessengerNotice::Settled { token, count, bytes } => self.settled(proc, *token, *count, *bytes),
            MessengerNotice::Rejected { token, error, pack } => match pack {
                Some(pack) => self.rejected(proc, *token, error, pack),
                None => Ok(()),
            },
            MessengerNotice::Disconnected { on, reason, undelivered } => {
                self.disconnected(proc, *on, reason, undelivered)
            }
            MessengerNotice::Undelivered { reason, packs, .. } => {
                self.given_up(proc, now, flipped, reason, packs)
            }
            MessengerNotice::Interrupted { on, .. } => {
                self.sessions.broken += 1;
                self.link(proc, *on, true)
            }
            MessengerNotice::Resumed { on } => {
                self.sessions.resumed += 1;
                self.link(proc, *on, false)
            }
            MessengerNotice::Listening { .. }
            | MessengerNotice::ListenFailed { .. }
            | MessengerNotice::Retrying { .. }
            | MessengerNotice::TurnedAway { .. }
            | MessengerNotice::AcceptFailing { .. }
            | MessengerNotice::Marked { .. }
            | MessengerNotice::Peers { .. }
            | MessengerNotice::Down => Ok(()),
        }
    }

    fn begin(&mut self, proc: ProcId, on: ConnectionId, peer: InstanceId) {
        let used = self.used.entry((proc, on)).or_default();
        let key = Key { proc, on, nth: *used };
        *used += 1;
        self.live.insert((proc, on), key);
        self.ends.insert(key, End::new(peer));
    }

    fn connected(&mut self, proc: ProcId, on: ConnectionId, at: &Address, peer: &PeerInfo) -> Verdict {
        self.sessions.begun += 1;
        if self.live.contains_key(&(proc, on)) {
            return Err(("events", format!("{on} begins twice")));
        }
        let twin = self.live.iter().find(|((owner, on), key)| {
            let same = self.ends.get(key).is_some_and(|end| end.peer == peer.instance);
            *owner == proc && *on != LOCAL && same
        });
        // One that is closing is up until its last words are said.
        let parts = self.processes.get(&proc).is_none_or(|process| process.parts || process.closes);
        if let Some(((_, twin), _)) = twin.filter(|_| !parts) {
            return Err(("pair", format!("{on} is up while {twin} with the same peer is")));
        }
        self.begin(proc, on, peer.instance);
        if let Some(process) = self.processes.get_mut(&proc) {
            for address in [at.clone(), peer.socket.clone().into()] {
                process.callers.entry(address).or_default().insert(weather::node(peer.instance));
            }
        }
        Ok(())
    }

    fn link(&mut self, proc: ProcId, on: ConnectionId, gone: bool) -> Verdict {
        let end = self.live.get(&(proc, on)).and_then(|key| self.ends.get_mut(key));
        let Some(end) = end else {
            return Err(("events", format!("{on} tells of a session, and has none")));
        };
        if core::mem::replace(&mut end.interrupted, gone) == gone {
            return Err(("events", format!("{on} has lost its link, or got it back, twice")));
        }
        Ok(())
    }

    /// The node whose listener an address is.
    fn listener(&self, from: ProcId, to: &Address) -> Option<usize> {
        match to {
            Address::Socket(socket) if socket.port() != PORT => None,
            Address::Socket(socket) if socket.ip().is_loopback() => {
                self.processes.get(&from).map(|process| process.node)
            }
            Address::Socket(socket) => HostId::of(socket.ip()).map(|host| usize::from(host.0)),
            Address::Name(name, _) => name.strip_prefix("node-")?.parse().ok(),
            // The simulated system has none.
            Address::Unix(_) => None,
        }
    }

    /// The next message of a session, as it was sent, once, to whom it was sent, behind what was sent there before.
    fn received(&mut self, proc: ProcId, on: ConnectionId, pack: &DataPack) -> Verdict {
        self.counts.received += 1;
        let id = number(pack);
        let Some(key) = self.live.get(&(proc, on)).copied() else {
            return Err(("events", format!("{on} brings a message, and has no session")));
        };
        let Some(message) = self.messages.get(id) else {
            return Err(("session", format!("{key} brings a message that nobody has sent")));
        };
        let name = self.named(id);
        if message.came.is_some() {
            return Err(("twice", format!("{key} brings {name}, which has come before")));
        }
        if message.told == Told::Unsent {
            return Err(("refused", format!("{key} brings {name}, which was told as never sent")));
        }
        let (Some(end), Some(process)) = (self.ends.get(&key), self.processes.get(&proc)) else {
            return Ok(());
        };
        let count = end.came.len() as u64 + 1;
        let same = pack.head.len() + DataHeader::WIRE_LEN == message.bytes
            && is_filler(id as u64, &pack.head[HEAD..]);
        if pack.sequence != count || !same {
            let what = format!(
                "{key} brings {name} as its {count}th, numbered {}, unchanged: {same}",
                pack.sequence
            );
            return Err(("session", what));
        }
        // Of a process that is gone only its name is left.
        let sender = self.processes.get(&message.from);
        if sender.is_some_and(|sender| sender.instance != end.peer) {
            return Err(("crash", format!("{key} brings {name}, and is with {}", end.peer)));
        }
        let meant = match self.listener(message.from, &message.to) {
            Some(node) => node == process.node,
            None => sender.is_none_or(|sender| {
                sender.callers.get(&message.to).is_some_and(|all| all.contains(&process.node))
            }),
        };
        if !meant {
            return Err(("address", format!("{key} brings {name}")));
        }
        let before = self.last.insert((message.from, message.to.clone()), id);
        if let Some(before) = before.filter(|before| *before > id) {
            return Err(("order", format!("{key} brings {name} behind message {before}")));
        }
        let at_once = on == LOCAL && process.closes;
        self.messages[id].came = Some((key, count));
        let bytes = self.messages[id].bytes;
        let Some(end) = self.ends.get_mut(&key) else { return Ok(()) };
        end.came.push(id);
        // The one that crosses the window is the last.
        if end.waiting >= self.window && on != LOCAL {
            let what = format!("{key} has {} bytes to be taken, and gets {bytes} more", end.waiting);
            return Err(("credit", what));
        }
        end.waiting += bytes;
        if at_once {
            self.take(proc, on, None);
        }
        Ok(())
    }

    /// So many of a token's are not queued any more: they were told, or else taken.
    fn settled(&mut self, proc: ProcId, token: Token, count: u64, bytes: usize) -> Verdict {
        let Some(process) = self.processes.get_mut(&proc) else { return Ok(()) };
        process.open_bytes = process.open_bytes.saturating_sub(bytes);
        let debt = process.debts.entry(token).or_default();
        let before = *debt;
        // What was told settles right behind that.
        let from = if debt.told.count > 0 { &mut debt.told } else { &mut debt.taken };
        if count == 0 || !from.less(count, bytes) || !debt.open.less(count, bytes) {
            return Err(("settled", format!("{count} of {token}, {bytes} bytes, of {before:?}")));
        }
        Ok(())
    }

    fn told(&mut self, proc: ProcId, pack: &DataPack, told: Told) -> Verdict {
        let id = number(pack);
        let Some(message) = self.messages.get_mut(id).filter(|message| message.from == proc) else {
            return Err(("report", format!("a message is told that process {} has never sent", proc.0)));
        };
        if message.told != Told::Nothing {
            let what = format!("{} is told twice", self.named(id));
            return Err(("report", what));
        }
        message.told = told;
        let (token, bytes, came) = (message.token, message.bytes, message.came);
        if let Some(came) = came.filter(|_| told == Told::Unsent) {
            return Err((
                "refused",
                format!("{} is told as never sent, and came at {}", self.named(id), came.0),
            ));
        }
        let taken = came.and_then(|(key, count)| Some(self.ends.get(&key)?.taken as u64 >= count));
        let Some(process) = self.processes.get_mut(&proc) else { return Ok(()) };
        let debt = process.debts.entry(token).or_default();
        debt.told.add(1, bytes);
        if taken == Some(true) && !debt.taken.less(1, bytes) {
            return Err(("settled", format!("{} is told, and has settled", self.named(id))));
        }
        Ok(())
    }

    fn rejected(&mut self, proc: ProcId, token: Token, error: &MessengerError, pack: &DataPack) -> Verdict {
        self.counts.rejected += 1;
        self.told(proc, pack, Told::Unsent)?;
        let Some(process) = self.processes.get(&proc) else { return Ok(()) };
        let right = match error {
            MessengerError::Closed => process.closes,
            MessengerError::Connection(ConnectionError::QueueFull) => process.open_bytes > self.queue,
            MessengerError::NotOpen
            | MessengerError::Unlistened
            | MessengerError::TooManyPeers
            | MessengerError::Connection(_) => false,
        };
        if right && self.messages[number(pack)].token == token {
            return Ok(());
        }
        Err(("refused", format!("{} is rejected: {error}", self.describe(pack))))
    }

    /// What is told as undelivered was sent on this session, in this order, behind all that was acknowledged.
    fn disconnected(
        &mut self,
        proc: ProcId,
        on: ConnectionId,
        reason: &DisconnectReason,
        packs: &[DataPack],
    ) -> Verdict {
        match reason {
            DisconnectReason::Expired => self.sessions.expired += 1,
            DisconnectReason::Stale => self.sessions.stale += 1,
            DisconnectReason::OtherInstance(_) => self.sessions.replaced += 1,
            _ => {}
        }
        self.sessions.undelivered += packs.len() as u64;
        self.counts.undelivered += packs.len() as u64;
        let Some(key) = self.live.remove(&(proc, on)) else {
            return Err(("events", format!("{on} ends, and has no session")));
        };
        for pack in packs {
            self.told(proc, pack, Told::Undelivered)?;
        }
        let Some(first) = packs.first().map(|pack| pack.sequence) else { return Ok(()) };
        let partner = packs.iter().find_map(|pack| Some(self.messages[number(pack)].came?.0));
        let other = partner.and_then(|partner| self.ends.get(&partner));
        for (sequence, pack) in (first..).zip(packs) {
            let there = other.and_then(|other| other.came.get(sequence as usize - 1));
            if pack.sequence != sequence || there.is_some_and(|there| *there != number(pack)) {
                let what = format!("{key} ends with {}, numbered {}", self.describe(pack), pack.sequence);
                return Err(("report", what));
            }
        }
        if let Some(other) = other.filter(|other| {
            (other.taken as u64) < first - 1 || other.came.len() as u64 >= first + packs.len() as u64
        }) {
            let what = format!(
                "{key} ends with {} from number {first} on; {} have come, {} were taken",
                packs.len(),
                other.came.len(),
                other.taken
            );
            return Err(("report", what));
        }
        Ok(())
    }

    /// Nobody could be reached for as long as a session lives without a link, or never will be.
    fn given_up(
        &mut self,
        proc: ProcId,
        now: Micros,
        flipped: bool,
        reason: &DisconnectReason,
        packs: &[DataPack],
    ) -> Verdict {
        self.counts.given_up += packs.len() as u64;
        let Some(first) = packs.first().map(number) else {
            return Err(("report", "an address is given up for nothing".to_owned()));
        };
        for pair in packs.windows(2) {
            let [one, other] = [number(&pair[0]), number(&pair[1])];
            let to = |id: usize| self.messages.get(id).map(|message| &message.to);
            if to(one) == to(other) && one > other {
                return Err(("order", format!("message {other} is told behind {one}")));
            }
        }
        for pack in packs {
            self.told(proc, pack, Told::Unsent)?;
        }
        let Some(process) = self.processes.get(&proc) else { return Ok(()) };
        let age = Duration::from_micros(now - self.messages[first].at);
        // Where a bit was flipped, what answers may seem to be no messenger, and clocks differ.
        if !flipped && !process.parts && !process.closes && age < self.timeout * 8 / 10 {
            let what = format!("{} is given up after {age:?}: {reason}", self.named(first));
            return Err(("early", what));
        }
        Ok(())
    }

    /// A process is down: each of its messages has settled, and what was not told was taken.
    pub(super) fn audit(&mut self, proc: ProcId) -> Verdict {
        self.counts.downs += 1;
        if let Some((twin, _)) = self.live.iter().find(|((owner, on), _)| *owner == proc && *on != LOCAL) {
            return Err(("events", format!("it is down, and {} is not over", twin.1)));
        }
        let Some(process) = self.processes.get(&proc) else { return Ok(()) };
        if let Some((token, debt)) = process.debts.iter().find(|(_, debt)| debt.open != Sum::default()) {
            return Err(("settled", format!("it is down, and {token} has {debt:?}")));
        }
        let own = self.messages.iter().enumerate().filter(|(_, message)| message.from == proc);
        for (id, message) in own.filter(|(_, message)| message.told == Told::Nothing) {
            let end = message.came.and_then(|(key, count)| Some((self.ends.get(&key)?, count)));
            if end.is_none_or(|(end, count)| (end.taken as u64) < count) {
                return Err(("settled", format!("{} has settled, and was not taken", self.named(id))));
            }
        }
        Ok(())
    }

    /// No process keeps more than its queues may hold: one for each session, each address that it waits for, and its own.
    pub(super) fn bound(&self, proc: ProcId) -> Verdict {
        let Some(process) = self.processes.get(&proc) else { return Ok(()) };
        let queues = self.of(proc).len() + process.addresses.len();
        let most = queues * (self.queue + self.largest);
        if process.open_bytes > most {
            return Err(("bound", format!("it keeps {} bytes in {queues} queues", process.open_bytes)));
        }
        Ok(())
    }
}
