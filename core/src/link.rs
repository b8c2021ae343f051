//! One TCP stream: dials, shakes hands, frames, keeps alive, closes; dies once.
//!
//! A leaf: it knows nothing of connections, kinds or other links. Whoever owns it gives it the network's events, then
//! calls [`next`](Link::next) until that has nothing more to tell. What each event means in each phase is the table
//! [`step`], what each pack means is the table [`reading`](table::reading).

mod alive;
mod outbox;
mod packs;
mod table;

use crate::config::{ClusterKey, Limits};
use crate::connection::{DisconnectReason, Traffic};
use crate::handshake::{self, Hello, HelloSent, Refuse, Resume, Welcome, WelcomeSent};
use crate::net::{Endpoint, NetAction, NetError};
use crate::pack::{DataPack, Decoder, PackType};
use crate::time::Instant;
use crate::{Actions, InstanceId, LinkId};
use alloc::boxed::Box;
use alloc::string::String;
use bytes::Bytes;
use core::time::Duration;
use outbox::Outbox;
use serde::{Deserialize, Serialize};
pub(crate) use table::{LinkEvent, Phase};
use table::{Step, step};

/// Bytes read at once from a stranger.
const STRANGER_READ: usize = 4096;
/// Bytes read at once from a closing link, only to be thrown away.
const DRAIN_READ: usize = 64 << 10;

/// What a link may use while it handles something.
pub(crate) struct Io<'a, N> {
    pub(crate) now: Instant,
    pub(crate) me: InstanceId,
    pub(crate) key: &'a ClusterKey,
    pub(crate) limits: &'a Limits,
    pub(crate) actions: &'a mut Actions<N>,
}

/// What a link tells its owner.
#[derive(Clone, Debug, Hash)]
#[must_use]
pub(crate) enum Heard {
    /// A stranger's first words; to be answered with [`Link::welcome`] or [`Link::refuse`].
    Hello(Box<Hello>),
    /// An authentic answer to ours; to be answered with [`Link::confirm`] or [`Link::refuse`].
    Welcome(Box<Welcome>),
    /// An authentic proof, and where the dialler's session stands; to be answered with [`Link::establish`] or
    /// [`Link::refuse`].
    Confirm(Resume),
    /// A pack for the layers above, or for the session that the link belongs to.
    Pack(DataPack),
    /// Our ping was answered, after so long.
    Pong(Duration),
    /// The outbox is below its high-water mark again.
    Writable,
    /// The link is over for its owner, told once; it may still be sending its last words.
    Over(DisconnectReason),
}

/// What each phase holds.
#[derive(Clone, Debug, Hash, Serialize, Deserialize)]
enum State {
    /// The dial is under way; Hello is what will be said.
    Dialling(Box<Hello>),
    /// Dialler: waits for Welcome; with its exact bytes once it is here and the owner judges.
    HelloSent(Box<HelloSent>, Bytes),
    /// Acceptor: waits for Hello; with its exact bytes once it is here and the owner judges.
    AwaitHello(Bytes),
    /// Acceptor: waits for Confirm.
    WelcomeSent(Box<WelcomeSent>),
    /// Both ends have proven the key.
    Established,
    /// Closing: the outbox goes first.
    Flushing,
    /// Closing: the end of our stream is being told.
    Ending,
    /// Closing: reads until the peer's end, so that our last words are not destroyed by a reset.
    Draining,
    /// The network was asked to close it, and has yet to answer.
    Closed,
    /// Nothing is left, not even a completion to wait for.
    Gone,
}

/// One TCP stream.
#[derive(Clone, Debug, Hash, Serialize, Deserialize)]
pub(crate) struct Link {
    id: LinkId,
    state: State,
    /// The other end's socket.
    peer: Endpoint,
    /// Our end's; nobody's until a dial has succeeded.
    local: Endpoint,
    decoder: Decoder,
    outbox: Outbox,
    /// Whether a `Recv` is outstanding.
    armed: bool,
    /// Whether the owner wants no more for now.
    paused: bool,
    /// Whether the peer's end of the stream was read.
    peer_ended: bool,
    /// Whether the peer has said goodbye: it means more than this link.
    goodbye: bool,
    /// When the present deadline began to run: the dial, the opening, or the close.
    since: Instant,
    /// When bytes last came, or reading last began.
    heard: Instant,
    /// When bytes were last given to the network.
    sent: Instant,
    /// Since when a sign of life is asked for; cleared by any byte that comes.
    asked: Option<Instant>,
    /// When the ping went out that has not been answered, and whether its round trip was asked for.
    pinged: Option<(Instant, bool)>,
    /// How many pings there were; the newest one's number.
    pings: u64,
    round_trip: Option<Duration>,
    traffic: Traffic,
    /// What to tell once a close is through.
    report: Option<DisconnectReason>,
    /// What has yet to be told.
    over: Option<DisconnectReason>,
    writable: bool,
}

impl Link {
    /// Starts a dial.
    pub(crate) fn dial<N>(id: LinkId, address: Endpoint, hello: Hello, io: &mut Io<'_, N>) -> Self {
        io.actions.net(NetAction::Dial { link: id, address: address.clone() });
        let nowhere = Endpoint::Unix(String::new());
        Self::new(id, (address, nowhere), State::Dialling(Box::new(hello)), io.now)
    }

    /// Takes a link that a listener has accepted. It reads from the first [`next`](Self::next) on.
    pub(crate) fn accepted(id: LinkId, peer: Endpoint, local: Endpoint, now: Instant) -> Self {
        Self::new(id, (peer, local), State::AwaitHello(Bytes::new()), now)
    }

    fn new(id: LinkId, (peer, local): (Endpoint, Endpoint), state: State, now: Instant) -> Self {
        Self {
            id,
            state,
            peer,
            local,
            decoder: Decoder::new(handshake::MAX_PAYLOAD),
            outbox: Outbox::default(),
            armed: false,
            paused: false,
            peer_ended: false,
            goodbye: false,
            since: now,
            heard: now,
            sent: now,
            asked: None,
            pinged: None,
            pings: 0,
            round_trip: None,
            traffic: Traffic::default(),
            report: None,
            over: None,
            writable: false,
        }
    }

    /// Takes an event of this link's; false if it means nothing here (late, doubled or never asked for).
    pub(crate) fn handle<N>(&mut self, event: LinkEvent, io: &mut Io<'_, N>) -> bool {
        match step(self.phase(), event.name()) {
            Step::Stray => return false,
            Step::Greet => self.greet(event, io),
            Step::Sent => return self.sent(io),
            Step::Read => return self.read(event, io.now),
            Step::Discard => {
                let expected = core::mem::take(&mut self.armed);
                self.arm(io);
                return expected;
            }
            Step::PeerEnded => {
                self.armed = false;
                self.peer_ended = true;
                self.cut(DisconnectReason::ClosedByPeer, io);
            }
            Step::NoteEnd => {
                self.armed = false;
                self.peer_ended = true;
            }
            Step::Drain => {
                self.state = State::Draining;
                if self.peer_ended {
                    self.close_now(io);
                }
            }
            Step::Close => self.close_now(io),
            Step::Broke => {
                let reason = event.error().map_or(DisconnectReason::ClosedByPeer, DisconnectReason::Net);
                self.over = Some(self.report.take().unwrap_or(reason));
                self.release(State::Gone);
            }
            Step::Gone => self.release(State::Gone),
            Step::GiveUp => self.cut(DisconnectReason::Net(NetError::TimedOut), io),
            Step::Silent => self.cut(DisconnectReason::Silent, io),
            Step::Keepalive => self.keepalive(io),
        }
        true
    }

    /// What there is to tell next; called until `None` after anything was done with the link. Reading goes on then.
    pub(crate) fn next<N>(&mut self, io: &mut Io<'_, N>) -> Option<Heard> {
        loop {
            if let Some(reason) = self.over.take() {
                return Some(Heard::Over(reason));
            }
            if core::mem::take(&mut self.writable) {
                return Some(Heard::Writable);
            }
            if !self.reads() {
                break;
            }
            match self.decoder.next() {
                Ok(Some(pack)) => {
                    self.traffic.received.packs += 1;
                    match self.take(pack, io) {
                        None => {}
                        heard => return heard,
                    }
                }
                Ok(None) => break,
                Err(error) => self.fail(self.undecodable(error), io),
            }
        }
        self.arm(io);
        None
    }

    /// Does what is due.
    pub(crate) fn tick<N>(&mut self, io: &mut Io<'_, N>) {
        if self.deadline(io.limits).is_some_and(|at| at <= io.now) {
            self.handle(LinkEvent::Due, io);
        }
    }

    /// When [`tick`](Self::tick) is wanted.
    pub(crate) fn deadline(&self, limits: &Limits) -> Option<Instant> {
        match self.phase() {
            Phase::Dialling => Some(self.since + limits.connect),
            Phase::HelloSent | Phase::AwaitHello | Phase::WelcomeSent => Some(self.since + limits.handshake),
            Phase::Established => Some(match self.asked {
                Some(asked) if !self.paused => {
                    (asked + limits.suspect.saturating_sub(limits.heartbeat)).min(self.ping_at(limits))
                }
                _ => self.ping_at(limits),
            }),
            Phase::Flushing | Phase::Ending | Phase::Draining => Some(self.since + limits.close),
            Phase::Closed | Phase::Gone => None,
        }
    }

    /// Acceptor: says Welcome to the Hello that [`next`](Self::next) told.
    pub(crate) fn welcome<N>(&mut self, hello: Hello, welcome: &Welcome, io: &mut Io<'_, N>) {
        if let State::AwaitHello(hello_bytes) = &mut self.state {
            let bytes = core::mem::take(hello_bytes);
            let (state, pack) = WelcomeSent::new(io.key, hello, bytes, welcome);
            self.state = State::WelcomeSent(Box::new(state));
            self.say(pack, io);
        }
    }

    /// Dialler: agrees to the Welcome that [`next`](Self::next) told; the link is established.
    pub(crate) fn confirm<N>(&mut self, resume: Resume, io: &mut Io<'_, N>) {
        if let State::HelloSent(sent, welcome) = &self.state {
            let confirm = sent.confirm(io.key, welcome, resume);
            self.establish(io);
            self.say(confirm, io);
        }
    }

    /// The link is established (the acceptor's side, after Confirm).
    pub(crate) fn establish<N>(&mut self, io: &mut Io<'_, N>) {
        self.decoder.set_max_data(io.limits.max_data);
        self.heard = io.now;
        self.state = State::Established;
    }

    /// Dialler: the Hello that was or will be said.
    pub(crate) fn own_hello(&self) -> Option<&Hello> {
        match &self.state {
            State::Dialling(hello) => Some(hello),
            State::HelloSent(sent, _) => Some(&sent.hello),
            _ => None,
        }
    }

    /// Acceptor: the handshake that Confirm ends.
    pub(crate) fn pending(&self) -> Option<&WelcomeSent> {
        if let State::WelcomeSent(state) = &self.state { Some(state) } else { None }
    }

    /// As [`pending`](Self::pending), to change.
    pub(crate) fn pending_mut(&mut self) -> Option<&mut WelcomeSent> {
        if let State::WelcomeSent(state) = &mut self.state { Some(state) } else { None }
    }

    /// Queues a pack; it leaves at once if nothing is under way. False, and nothing is queued, if the outbox is full.
    pub(crate) fn send<N>(&mut self, pack: DataPack, io: &mut Io<'_, N>) -> bool {
        let fits = self.outbox.push(&pack, io.limits);
        self.flush(io);
        fits
    }

    /// Whether the outbox is below its high-water mark.
    pub(crate) fn is_writable(&self, limits: &Limits) -> bool {
        self.outbox.bytes() < limits.high_water
    }

    /// No further read is armed; what was read before is still told.
    pub(crate) fn pause(&mut self) {
        self.paused = true;
    }

    /// Reads again, from the next [`next`](Self::next) on. Silence counts from here: until now nobody listened.
    pub(crate) fn resume(&mut self, now: Instant) {
        if core::mem::take(&mut self.paused) {
            self.heard = now;
            self.asked = None;
        }
    }

    /// Closes in order: the outbox, goodbye, our end, the peer's end; then tells [`Heard::Over`] with `report`, if any.
    pub(crate) fn close<N>(&mut self, report: Option<DisconnectReason>, io: &mut Io<'_, N>) {
        match self.phase() {
            Phase::Established => {
                self.report = report;
                self.wind_up(DataPack::new(PackType::GOODBYE, Bytes::new()), io);
            }
            Phase::Dialling | Phase::HelloSent | Phase::AwaitHello | Phase::WelcomeSent => {
                self.report = report;
                self.close_now(io);
            }
            Phase::Flushing | Phase::Ending | Phase::Draining | Phase::Closed | Phase::Gone => {}
        }
    }

    /// Turns the peer away: with a word that tells it why, if there is one, else at once. Tells nothing to the owner.
    pub(crate) fn refuse<N>(&mut self, reason: &DisconnectReason, io: &mut Io<'_, N>) {
        match (self.phase(), handshake::refusal(reason)) {
            (Phase::HelloSent | Phase::AwaitHello | Phase::WelcomeSent | Phase::Established, Some(code)) => {
                // Whoever is turned away has no use for what else was queued.
                self.outbox.drop_waiting();
                self.wind_up(Refuse::pack(io.me, code), io);
            }
            (Phase::Closed | Phase::Gone, _) => {}
            _ => self.close_now(io),
        }
    }

    /// Ends the link now, whatever is under way, and tells [`Heard::Over`] with `reason`.
    pub(crate) fn cut<N>(&mut self, reason: DisconnectReason, io: &mut Io<'_, N>) {
        self.report.get_or_insert(reason);
        self.close_now(io);
    }

    /// Ends the link now and tells the owner nothing.
    pub(crate) fn abandon<N>(&mut self, io: &mut Io<'_, N>) {
        self.report = None;
        self.close_now(io);
        self.over = None;
    }

    /// Queues a session's message; it leaves with the next [`flush`](Self::flush), all together.
    pub(crate) fn queue_message(&mut self, pack: &DataPack, acknowledgement: u64, limits: &Limits) {
        self.outbox.push_message(pack, acknowledgement, limits);
    }

    /// Has the peer told how many of its messages were taken.
    pub(crate) fn acknowledge<N>(&mut self, taken: u64, io: &mut Io<'_, N>) {
        self.outbox.set_ack(taken);
        self.flush(io);
    }

    /// Has the peer told which link counts.
    pub(crate) fn choose<N>(&mut self, word: DataPack, io: &mut Io<'_, N>) {
        self.outbox.set_choice(word);
        self.flush(io);
    }

    /// Whether the peer has said goodbye.
    pub(crate) fn said_goodbye(&self) -> bool {
        self.goodbye
    }

    /// The other end's socket.
    pub(crate) fn peer(&self) -> &Endpoint {
        &self.peer
    }

    /// Our end's socket.
    pub(crate) fn local(&self) -> &Endpoint {
        &self.local
    }

    /// What it has carried.
    pub(crate) fn traffic(&self) -> Traffic {
        self.traffic
    }

    /// How long the newest question that was measured took to be answered.
    pub(crate) fn round_trip(&self) -> Option<Duration> {
        self.round_trip
    }

    /// Bytes that the system has not taken.
    pub(crate) fn unsent(&self) -> usize {
        self.outbox.bytes()
    }

    /// Bytes that have come and make no whole pack yet.
    pub(crate) fn unread(&self) -> usize {
        self.decoder.buffered()
    }

    /// Where the link stands.
    pub(crate) fn phase(&self) -> Phase {
        match self.state {
            State::Dialling(_) => Phase::Dialling,
            State::HelloSent(..) => Phase::HelloSent,
            State::AwaitHello(_) => Phase::AwaitHello,
            State::WelcomeSent(_) => Phase::WelcomeSent,
            State::Established => Phase::Established,
            State::Flushing => Phase::Flushing,
            State::Ending => Phase::Ending,
            State::Draining => Phase::Draining,
            State::Closed => Phase::Closed,
            State::Gone => Phase::Gone,
        }
    }

    fn greet<N>(&mut self, event: LinkEvent, io: &mut Io<'_, N>) {
        let State::Dialling(hello) = core::mem::replace(&mut self.state, State::Gone) else { return };
        if let LinkEvent::Dialed { peer, local } = event {
            (self.peer, self.local) = (peer, local);
        }
        let (state, pack) = HelloSent::new(*hello);
        self.state = State::HelloSent(Box::new(state), Bytes::new());
        self.since = io.now;
        self.say(pack, io);
    }

    fn sent<N>(&mut self, io: &mut Io<'_, N>) -> bool {
        if !self.outbox.sent() {
            return false;
        }
        self.sent = io.now;
        self.writable = self.outbox.fell_below(io.limits) && self.phase() == Phase::Established;
        self.flush(io);
        true
    }

    fn read(&mut self, event: LinkEvent, now: Instant) -> bool {
        let expected = core::mem::take(&mut self.armed);
        if let (true, LinkEvent::Received { data }) = (expected, event) {
            self.heard = now;
            self.asked = None;
            self.traffic.received.bytes += data.len() as u64;
            self.decoder.feed(data);
        }
        expected
    }

    /// The peer's fault: told to it if that can help, and to the owner.
    fn fail<N>(&mut self, reason: DisconnectReason, io: &mut Io<'_, N>) {
        self.refuse(&reason, io);
        self.report = None;
        self.over = Some(reason);
    }

    /// Queues one of the link's own small packs; these are too few to need a limit.
    fn say<N>(&mut self, pack: DataPack, io: &mut Io<'_, N>) {
        self.outbox.push_own(&pack);
        self.flush(io);
    }

    /// Sends what waits; a closing link with nothing left goes on with its end.
    pub(crate) fn flush<N>(&mut self, io: &mut Io<'_, N>) {
        if let Some((buffers, volume)) = self.outbox.take() {
            self.sent = io.now;
            self.traffic.sent += volume;
            io.actions.net(NetAction::Send { link: self.id, buffers });
        } else if self.phase() == Phase::Flushing && !self.outbox.under_way() {
            self.state = State::Ending;
            io.actions.net(NetAction::Shutdown { link: self.id });
        }
    }

    /// Begins an orderly end whose last words are `last`.
    fn wind_up<N>(&mut self, last: DataPack, io: &mut Io<'_, N>) {
        // The last acknowledgement before it, or the peer would never hear it.
        self.outbox.close_words();
        self.outbox.push_own(&last);
        self.state = State::Flushing;
        self.since = io.now;
        self.paused = false;
        // Nothing of it will be looked at any more.
        self.decoder = Decoder::new(0);
        self.flush(io);
    }

    fn close_now<N>(&mut self, io: &mut Io<'_, N>) {
        if !matches!(self.state, State::Closed | State::Gone) {
            io.actions.net(NetAction::Close { link: self.id });
            self.over = self.report.take();
            self.release(State::Closed);
        }
    }

    /// Enters a last state and lets all memory go.
    fn release(&mut self, state: State) {
        self.state = state;
        self.decoder = Decoder::new(0);
        self.outbox = Outbox::default();
        self.armed = false;
        self.writable = false;
    }

    /// Whether packs are looked at.
    fn reads(&self) -> bool {
        matches!(self.phase(), Phase::HelloSent | Phase::AwaitHello | Phase::WelcomeSent | Phase::Established)
    }

    fn arm<N>(&mut self, io: &mut Io<'_, N>) {
        let max = match self.phase() {
            Phase::HelloSent | Phase::AwaitHello | Phase::WelcomeSent => STRANGER_READ,
            Phase::Established if self.paused => return,
            Phase::Established => self.decoder.wanted(),
            Phase::Flushing | Phase::Ending | Phase::Draining => DRAIN_READ,
            Phase::Dialling | Phase::Closed | Phase::Gone => return,
        };
        if !self.armed && !self.peer_ended {
            self.armed = true;
            io.actions.net(NetAction::Recv { link: self.id, max });
        }
    }
}
