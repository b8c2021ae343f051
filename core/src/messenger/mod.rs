//! Messages by address (seed §1): listen, send to an address, receive with the sender's.
//!
//! A machine over [`ConnectionManager`]: whoever sends to an address gets a session with what listens there. If there is
//! none, it is dialled, and what is sent meanwhile waits in order; if the peer has dialled us, its session is used, for
//! peers are known by the address at which they listen, which they tell in the handshake. Each message arrives once and in
//! order while both processes live; what cannot be known to have been taken is told as [`MessengerNotice::Undelivered`].
//!
//! ```
//! use xxnet_core::messenger::{Messenger, MessengerCommand, MessengerNotice};
//! use xxnet_core::{Action, Actions, Address, ClusterKey, Config, Dict, Event, Instant, InstanceId, Machine, Token};
//!
//! let config = Config::new(InstanceId([7; 16]), "node", ClusterKey([0; 32]), 1);
//! let mut messenger = Messenger::new(config);
//! let mut actions = Actions::new();
//! let now = Instant::from_micros(0);
//! let to: Address = "10.0.0.2:7000".parse()?;
//! let token = Token(1);
//! messenger.handle(now, Event::Command(MessengerCommand::Open { token, to }), &mut actions);
//! let packs = vec![Dict::from([("hello", "there".into())]).to_pack()?];
//! messenger.handle(now, Event::Command(MessengerCommand::Send { token, packs }), &mut actions);
//! // Nobody is connected there: the network is asked to dial.
//! assert!(matches!(actions.drain().next(), Some(Action::Net(_))));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod check;
mod ending;
mod ledger;
mod listeners;
mod peers;
mod sending;
mod words;

pub use words::{LOCAL, MessengerCommand, MessengerError, MessengerNotice, PeerReport};

use crate::backoff::Backoff;
use crate::connection::{
    ConnectionEvent, ConnectionKind, ConnectionManager, ConnectionState, DisconnectReason, KindId, LinkRule,
    PeerInfo, Role, Volume,
};
use crate::machine::{Actions, Event, Machine};
use crate::pack::{DataHeader, DataPack};
use crate::states::{Key, MessengerState, Row};
use crate::time::earliest;
use crate::timers::Timers;
use crate::{Address, Config, ConnectionId, Instant, Token};
use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use ledger::Ledger;
use listeners::Listeners;
use peers::{PeerId, Peers};
use rand::SeedableRng;
use rand::rngs::ChaCha8Rng;

/// The kind of a listener: it takes newcomers of [`KindId::MESSAGES`].
const LISTENER: KindId = KindId(6);

/// What the machine tells goes in here.
type Out = Actions<MessengerNotice>;

/// Whether it still works.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Running,
    /// Everything that was sent is to be acknowledged or reported by then.
    Closing(Instant),
    Down,
}

/// Messages by address.
#[derive(Debug)]
pub struct Messenger {
    config: Config,
    manager: ConnectionManager,
    rng: ChaCha8Rng,
    listeners: Listeners,
    peers: Peers,
    /// Where each token sends to.
    routes: BTreeMap<Token, Address>,
    /// What was sent to ourselves and not taken.
    local: Ledger,
    local_sent: u64,
    timers: Timers<PeerId>,
    /// A listener of ours has just turned away a dial of ours.
    met_myself: bool,
    /// The application has room for messages of new peers.
    admits: bool,
    stage: Stage,
}

impl Messenger {
    /// A messenger that listens nowhere.
    pub fn new(config: Config) -> Self {
        let mut manager = ConnectionManager::new(&config);
        for kind in [
            ConnectionKind::session(KindId::MESSAGES, LinkRule::OnePerPair, Role::Both),
            ConnectionKind::plain(LISTENER, LinkRule::Many, Role::Listen),
        ] {
            let registered = manager.register(kind);
            debug_assert!(registered.is_ok(), "each kind once");
        }
        let mut seed = *b"........xxnet core messenger....";
        seed[..8].copy_from_slice(&config.seed.to_le_bytes());
        Self {
            manager,
            rng: ChaCha8Rng::from_seed(seed),
            listeners: Listeners::default(),
            peers: Peers::default(),
            routes: BTreeMap::new(),
            local: Ledger::default(),
            local_sent: 0,
            timers: Timers::new(),
            met_myself: false,
            admits: true,
            stage: Stage::Running,
            config,
        }
    }

    /// The connections under it, to look at.
    pub fn connections(&self) -> &ConnectionManager {
        &self.manager
    }

    /// Where everything of it stands, for whoever looks on.
    pub fn rows(&self, rows: &mut Vec<Row>) {
        let state = match self.stage {
            Stage::Running => MessengerState::Running,
            Stage::Closing(_) => MessengerState::Closing,
            Stage::Down => MessengerState::Down,
        };
        rows.push(Row::new(Key::Machine, state));
        rows.extend(self.peers.rows());
        self.manager.rows(rows);
    }

    fn command(&mut self, now: Instant, command: MessengerCommand, out: &mut Out) {
        match command {
            MessengerCommand::Listen { token, address } => self.listen(now, token, address, out),
            MessengerCommand::Unlisten { address } => {
                if let Some(id) = self.listeners.at(&address) {
                    _ = self.manager.close(now, id, out);
                }
            }
            MessengerCommand::Open { token, to } => _ = self.routes.insert(token, to),
            MessengerCommand::Forget { token } => _ = self.routes.remove(&token),
            MessengerCommand::Send { token, packs } => self.send(now, token, packs, out),
            MessengerCommand::Admit { admits } => self.admits = admits,
            MessengerCommand::Look { token, at } => self.look(token, at.as_ref(), out),
            MessengerCommand::Mark { token } => out.notify(MessengerNotice::Marked { token }),
            MessengerCommand::Taken { on: LOCAL, sequence } => {
                self.local.settle(sequence, |token, count, bytes| {
                    out.notify(MessengerNotice::Settled { token, count, bytes });
                });
            }
            MessengerCommand::Taken { on, sequence } => self.manager.taken(now, on, sequence, out),
            MessengerCommand::Disconnect { to } => {
                if let Some(peer) = self.peers.at(&to) {
                    self.close_peer(now, peer, self.config.limits.close, out);
                }
            }
            MessengerCommand::Shutdown { drain } => self.shut_down(now, drain, out),
        }
    }

    // ---- dialling ----

    /// Makes a connection, if something waits for one and none is on its way.
    fn dial(&mut self, now: Instant, peer: PeerId, out: &mut Out) {
        let Some(row) = self.peers.get_mut(peer) else { return };
        if row.session.is_some() || row.dialling || row.waiting.is_empty() || self.timers.at(&peer).is_some()
        {
            return;
        }
        if row.dial.is_none() {
            row.dial = self.manager.create_to(KindId::MESSAGES, row.address.clone(), None).ok();
        }
        let Some(id) = row.dial else { return };
        row.dialling = true;
        if let Stage::Closing(end) = self.stage {
            self.timers.set(peer, end);
        }
        let (expect, target) = (None, Some(row.address.clone()));
        self.peers.connects(peer, id);
        let dialled = self.manager.connect(now, id, target, expect, out);
        debug_assert!(dialled.is_ok(), "an idle connection with a target: {dialled:?}");
    }

    /// We listen at an address from now on: what was sent there before must not come behind what is sent later.
    fn claim_own(&mut self, now: Instant, address: &Address, out: &mut Out) {
        let waits = |peer: &PeerId| self.peers.get(*peer).is_some_and(|row| row.session.is_none());
        if let Some(peer) = self.peers.at(address).filter(waits) {
            self.keep_here(peer, out);
            self.stop_dialling(now, peer, out);
        }
    }

    // ---- connections ----

    fn connection(&mut self, now: Instant, event: ConnectionEvent, out: &mut Out) {
        match event {
            ConnectionEvent::Listening { id, address } => self.listening(now, id, address, out),
            ConnectionEvent::ListenFailed { id, error, .. } => self.listen_failed(now, id, error, out),
            ConnectionEvent::Connected { id, peer, .. } => {
                let Some(mut known) = self.peers.of(id) else { return };
                if self.peers.get(known).is_some_and(|row| row.session.is_some()) {
                    // Somebody else than the one whose session is known here: what is dialled from now on is this one.
                    known = self.peers.split(known, id, Backoff::new(self.config.limits.backoff));
                }
                self.session_up(now, known, id, peer, out);
            }
            ConnectionEvent::Accepted { id, peer, .. } => self.accepted(now, id, peer, out),
            ConnectionEvent::Received { id, pack } => {
                out.notify(MessengerNotice::Received { on: id, pack });
            }
            ConnectionEvent::Acknowledged { id, sequence } => {
                let ledger =
                    self.peers.of(id).and_then(|peer| self.peers.get_mut(peer)).map(|row| &mut row.ledger);
                if let Some(ledger) = ledger {
                    ledger.settle(sequence, |token, count, bytes| {
                        out.notify(MessengerNotice::Settled { token, count, bytes });
                    });
                }
            }
            ConnectionEvent::Undelivered { id, packs } => {
                if let Some(row) = self.peers.of(id).and_then(|peer| self.peers.get_mut(peer)) {
                    row.undelivered = packs;
                }
            }
            ConnectionEvent::Disconnected { id, reason, .. } => self.disconnected(now, id, reason, out),
            ConnectionEvent::Interrupted { id, reason } => {
                self.peers.of(id).into_iter().for_each(|peer| self.peers.yield_claims(peer));
                out.notify(MessengerNotice::Interrupted { on: id, reason });
            }
            ConnectionEvent::Resumed { id } => out.notify(MessengerNotice::Resumed { on: id }),
            ConnectionEvent::TurnedAway { from, reason } => {
                self.met_myself |= reason == DisconnectReason::Myself;
                out.notify(MessengerNotice::TurnedAway { from, reason });
            }
            ConnectionEvent::AcceptFailing { error, .. } => {
                out.notify(MessengerNotice::AcceptFailing { error });
            }
            // It lives: who else says that it listens there is wrong.
            ConnectionEvent::Pong { id, .. } => {
                self.peers.of(id).into_iter().for_each(|peer| self.peers.deny_claims(peer));
            }
            // How much may be sent is counted in `Settled`.
            ConnectionEvent::Writable { .. } => {}
        }
    }

    /// A peer has dialled us: it is the one at its listening address, if somebody waits for that.
    fn accepted(&mut self, now: Instant, id: ConnectionId, info: Box<PeerInfo>, out: &mut Out) {
        if self.stage != Stage::Running {
            _ = self.manager.close(now, id, out);
            return;
        }
        let address = info.address.clone().unwrap_or_else(|| info.socket.clone().into());
        let known = self.peers.at(&address);
        let free =
            |peer: &PeerId| self.peers.get(*peer).is_some_and(|row| row.session.is_none() && !row.is_here);
        let peer = match known.filter(free) {
            Some(peer) => peer,
            None if known.is_some_and(|known| self.is_linked(known)) => {
                // Where somebody else listens who is connected, too, it goes by its socket, at least for now.
                self.peers.add(info.socket.clone().into(), Backoff::new(self.config.limits.backoff))
            }
            None => {
                // If another instance was known there, the newest is now, and what waits for that one's end is for this one.
                let peer = self.peers.add(address, Backoff::new(self.config.limits.backoff));
                known.into_iter().for_each(|known| self.peers.pass_waiting(known, peer));
                peer
            }
        };
        self.peers.connects(peer, id);
        self.session_up(now, peer, id, info, out);
    }

    /// A session with a peer has begun: what waited goes first.
    fn session_up(
        &mut self,
        now: Instant,
        peer: PeerId,
        id: ConnectionId,
        info: Box<PeerInfo>,
        out: &mut Out,
    ) {
        let Some(row) = self.peers.get_mut(peer) else { return };
        row.session = Some(id);
        row.dialling &= row.dial != Some(id);
        (row.since, row.warned) = (None, false);
        row.backoff.reset();
        row.waiting_bytes = 0;
        let mut waiting = core::mem::take(&mut row.waiting);
        self.timers.clear(&peer);
        for address in [Some(info.socket.clone().into()), info.address.clone()].into_iter().flatten() {
            // Who waits for that address waits for this peer: what is sent there later must not overtake it.
            let waits = |row: &peers::Peer| row.session.is_none() || !row.waiting.is_empty();
            let same = self
                .peers
                .at(&address)
                .filter(|other| *other != peer && self.peers.get(*other).is_some_and(waits));
            if let Some(same) = same {
                waiting.append(&mut self.peers.merge(same, peer));
                self.timers.clear(&same);
                self.release(now, same, out);
            }
            self.claim(now, peer, address, out);
        }
        let at = self.known_at(peer, &info);
        out.notify(MessengerNotice::Connected { on: id, at, peer: info });
        self.send_all(now, peer, waiting, out);
        if let Stage::Closing(end) = self.stage {
            self.close_peer(now, peer, end.since(now), out);
        }
    }

    /// Where a connected peer can be sent to: where it says that it listens, if that is not another one's.
    fn known_at(&self, peer: PeerId, info: &PeerInfo) -> Address {
        let is_its = |address: &&Address| self.peers.at(address) == Some(peer);
        let at = || self.peers.get(peer).map(|row| &row.address);
        let at = info.address.as_ref().filter(is_its).or_else(at);
        at.cloned().unwrap_or_else(|| info.socket.clone().into())
    }

    fn look(&self, token: Token, at: Option<&Address>, out: &mut Out) {
        let ids = at.map_or_else(|| self.peers.ids(), |at| self.peers.at(at).into_iter().collect());
        let report = |id| {
            let row = self.peers.get(id)?;
            let info = row.session.and_then(|session| self.manager.peer(session));
            Some(PeerReport {
                at: info.map_or_else(|| row.address.clone(), |info| self.known_at(id, info)),
                peer: info.cloned().map(Box::new),
                waiting: Volume { packs: row.waiting.len() as u64, bytes: row.waiting_bytes as u64 },
                statistics: row.session.and_then(|session| self.manager.statistics(session)),
            })
        };
        let peers = ids.into_iter().filter_map(report).collect();
        out.notify(MessengerNotice::Peers { token, peers });
    }

    /// A peer says that it listens there. If another one does, too, that one is asked whether it still lives: the address is the
    /// newcomer's only if it does not (two behind one address translation, or one that was started again).
    fn claim(&mut self, now: Instant, peer: PeerId, address: Address, out: &mut Out) {
        let holder = self.peers.at(&address).filter(|holder| *holder != peer && self.is_linked(*holder));
        let session = holder.and_then(|holder| self.peers.get(holder)).and_then(|row| row.session);
        match session.map(|session| self.manager.ping(now, session, out)) {
            Some(Ok(())) => self.peers.claim(peer, address),
            Some(Err(_)) | None => self.peers.alias(peer, address),
        }
    }

    /// Whether a peer has a session that has a link, and is not being closed.
    fn is_linked(&self, peer: PeerId) -> bool {
        let session = self.peers.get(peer).and_then(|row| row.session);
        session.is_some_and(|session| {
            self.manager.is_linked(session) && self.manager.state(session) == Some(ConnectionState::Connected)
        })
    }

    fn disconnected(&mut self, now: Instant, id: ConnectionId, reason: DisconnectReason, out: &mut Out) {
        if self.listeners.has(id) {
            return self.unlistened(now, id, out);
        }
        let Some(peer) = self.peers.of(id) else { return };
        let Some(row) = self.peers.get_mut(peer) else { return };
        if row.dial == Some(id) {
            row.dialling = false;
        }
        if row.session == Some(id) {
            row.session = None;
            let forget = row.dial != Some(id);
            let packs = core::mem::take(&mut row.undelivered);
            let ledger = core::mem::take(&mut row.ledger);
            out.notify(MessengerNotice::Disconnected { on: id, reason: reason.clone(), undelivered: packs });
            ledger.settle_all(|token, count, bytes| {
                out.notify(MessengerNotice::Settled { token, count, bytes });
            });
            if forget {
                self.peers.disconnects(id);
            }
            self.peers.yield_claims(peer);
        } else if row.session.is_none() {
            self.connect_failed(now, peer, &reason, out);
        }
        self.release(now, peer, out);
    }

    /// A connect has failed: again later, unless no try can do better.
    fn connect_failed(&mut self, now: Instant, peer: PeerId, reason: &DisconnectReason, out: &mut Out) {
        let Some(row) = self.peers.get_mut(peer) else { return };
        match reason {
            DisconnectReason::ConnectedAs(other) => {
                // It is somebody we know: one peer with two addresses.
                let Some(known) = self.peers.of(*other).filter(|known| *known != peer) else { return };
                let moved = self.peers.merge(peer, known);
                self.timers.clear(&peer);
                self.send_all(now, known, moved, out);
            }
            // Anybody can say that; it is so if our own listener has turned us away just before.
            DisconnectReason::Myself if core::mem::take(&mut self.met_myself) => {
                row.is_here = true;
                self.keep_here(peer, out);
            }
            _ => {
                let end = row.since.map_or(now, |since| since + self.config.limits.session_timeout);
                let end = if let Stage::Closing(end) = self.stage { end } else { end };
                let hopeless = matches!(
                    reason,
                    DisconnectReason::WrongKey
                        | DisconnectReason::KindRefused
                        | DisconnectReason::Version(_)
                        | DisconnectReason::NotOurProtocol { .. }
                        | DisconnectReason::Closed
                );
                // Whoever has no address and is gone can only come back by itself.
                let hopeless = hopeless || row.address.is_passing();
                if hopeless || now >= end {
                    return self.give_up(peer, reason, out);
                }
                if !core::mem::replace(&mut row.warned, true) && !row.waiting.is_empty() {
                    let (to, reason) = (row.address.clone(), reason.clone());
                    out.notify(MessengerNotice::Retrying { to, reason });
                }
                let pause = row.backoff.pause(&mut self.rng);
                self.timers.set(peer, (now + pause).min(end));
            }
        }
    }

    /// What waits for a peer is not going to be sent.
    fn give_up(&mut self, peer: PeerId, reason: &DisconnectReason, out: &mut Out) {
        let Some(row) = self.peers.get_mut(peer) else { return };
        (row.since, row.warned) = (None, false);
        row.backoff.reset();
        row.waiting_bytes = 0;
        let waiting = core::mem::take(&mut row.waiting);
        if waiting.is_empty() {
            return;
        }
        let mut ledger = Ledger::default();
        waiting.iter().for_each(|(token, pack)| ledger.push(*token, cost(pack)));
        let packs = waiting.into_iter().map(|(_, pack)| pack).collect();
        out.notify(MessengerNotice::Undelivered { to: row.address.clone(), reason: reason.clone(), packs });
        ledger.settle_all(|token, count, bytes| out.notify(MessengerNotice::Settled { token, count, bytes }));
    }

    /// Forgets a peer that nothing is owed to and nothing is known of; dials for one that something waits for.
    fn release(&mut self, now: Instant, peer: PeerId, out: &mut Out) {
        self.dial(now, peer, out);
        let running = self.stage == Stage::Running;
        let idle = |row: &peers::Peer| {
            // That it is ourselves is worth knowing only while more may be sent there.
            let kept = row.is_here && running;
            row.session.is_none() && !row.dialling && row.waiting.is_empty() && !kept
        };
        if self.peers.get(peer).is_some_and(idle) {
            self.timers.clear(&peer);
            if let Some(dial) = self.peers.remove(peer) {
                self.manager.discard(now, dial, out);
            }
        }
        self.finish_shutdown(now, out);
    }

    fn forget_here(&mut self, now: Instant, out: &mut Out) {
        for dial in self.peers.forget_here() {
            self.manager.discard(now, dial, out);
        }
    }

    fn due(&mut self, now: Instant, peer: PeerId, out: &mut Out) {
        match self.stage {
            Stage::Closing(end) if now >= end => self.drop_waiting(now, peer, out),
            Stage::Running | Stage::Closing(_) | Stage::Down => self.dial(now, peer, out),
        }
    }
}

/// What a message counts in queues: its bytes on the wire.
fn cost(pack: &DataPack) -> usize {
    DataHeader::WIRE_LEN + pack.data_len()
}

impl Machine for Messenger {
    type Command = MessengerCommand;
    type Notice = MessengerNotice;

    fn handle(&mut self, now: Instant, event: Event<MessengerCommand>, out: &mut Out) {
        match event {
            Event::Tick => {
                self.manager.tick(now, out);
                let due: Vec<_> = core::iter::from_fn(|| self.timers.pop_due(now)).collect();
                for peer in due {
                    self.due(now, peer, out);
                }
            }
            Event::Net(event) => self.manager.handle_net(now, event, out),
            Event::Command(command) => self.command(now, command, out),
            // It asks nothing of disks or processes.
            Event::Disk(_) | Event::Process(_) => {}
        }
        while let Some(event) = self.manager.next_event() {
            self.connection(now, event, out);
        }
        self.manager.admit(self.admits && self.peers.len() < self.config.limits.max_members);
    }

    fn deadline(&self) -> Option<Instant> {
        earliest(self.manager.deadline(), self.timers.next())
    }

    fn check_invariants(&self) {
        self.manager.check_invariants();
        self.peers.check_invariants();
        for id in self.peers.ids() {
            let Some(row) = self.peers.get(id) else { continue };
            // Nothing is ever silently stuck.
            let moves = row.session.is_some() || row.dialling || self.timers.at(&id).is_some();
            assert!(moves || (row.is_here && row.waiting.is_empty()), "{:?} waits for nothing", row.address);
            let open = row
                .session
                .is_some_and(|session| self.manager.state(session) == Some(ConnectionState::Connected));
            assert!(!open || row.waiting.is_empty(), "{:?} is connected, and waits", row.address);
        }
        if self.stage == Stage::Down {
            assert!(self.peers.len() == 0 && self.timers.is_empty(), "something outlived the end");
        }
    }
}
