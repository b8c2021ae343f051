//! Sessions and their links: the only place that moves packs between the two (PROTOCOL B).
//!
//! ```text
//! Welcome ─▶ session_answer ──┐                    ┌─▶ flush: numbered packs, within the peer's window
//! Confirm ─▶ session_confirmed┴─▶ strand_up ───────┤
//!                                 strand_over ─▶ redial, or session_due: expired
//! packs   ─▶ session_pack: Use, Using, acknowledgements, messages
//! close   ─▶ close_session ─▶ leave: goodbye once all is acknowledged, or time is up
//! ```

use super::diallers::DiallerKey;
use super::manager::ConnectionManager;
use super::pairs::{Pair, PairKey};
use super::session::{Arrival, Chosen, Session};
use super::tables::{Connection, Due, Origin, Owner, State};
use super::types::{ConnectionEvent, DisconnectReason, KindId, LinkRule, PeerInfo, Role};
use crate::handshake::{Hello, Resume};
use crate::machine::Actions;
use crate::pack::{DataPack, PackType};
use crate::{Address, ConnectionId, Instant, LinkId};
use alloc::boxed::Box;
use alloc::vec::Vec;
use bytes::Bytes;
use core::time::Duration;

impl ConnectionManager {
    pub(super) fn session(&self, id: ConnectionId) -> Option<&Session> {
        self.connections.get(&id)?.session()
    }

    pub(super) fn session_mut(&mut self, id: ConnectionId) -> Option<&mut Session> {
        self.connections.get_mut(&id)?.session_mut()
    }

    /// What every session of ours promises.
    fn terms(&self) -> Resume {
        let limits = &self.config.limits;
        let timeout = u32::try_from(limits.session_timeout.as_millis()).unwrap_or(u32::MAX);
        Resume { window: limits.session_window, timeout, ..Resume::default() }
    }

    /// Where the session that this dialler may have with us stands, for the Welcome.
    pub(super) fn standing(&self, rule: LinkRule, hello: &Hello) -> Resume {
        let pair = self.pairs.at(&PairKey::of_newcomer(hello, rule));
        let session = pair.session.and_then(|id| self.session(id));
        let received = session.map_or(0, |session| session.incoming.received());
        Resume { generation: pair.mine, known: pair.known, received, ..self.terms() }
    }

    /// The right one has answered a dial of a session kind: it continues a session, or begins one.
    pub(super) fn session_answer<N>(
        &mut self,
        now: Instant,
        id: ConnectionId,
        link: LinkId,
        peer: PeerInfo,
        max_data: u32,
        theirs: &Resume,
        actions: &mut Actions<N>,
    ) {
        let Some((kind, rule)) = self.kind_and_rule(id) else { return };
        let key = PairKey::new(kind, rule, peer.instance, true, id);
        let pair = self.pairs.at(&key);
        if theirs.generation == 0 || theirs.window == 0 {
            let reason = DisconnectReason::Malformed("no session");
            return self.reject_answer(now, id, link, reason, actions);
        }
        if theirs.generation < pair.known {
            return self.reject_answer(now, id, link, DisconnectReason::Stale, actions);
        }
        let ended = pair.session.filter(|_| theirs.generation > pair.known);
        if let Some(holder) = ended {
            self.end_session(now, holder, DisconnectReason::Stale, false, Some(theirs.generation), actions);
            if holder == id {
                // Its dial went with it; whoever needs the peer connects anew.
                return;
            }
        }
        // What counts in another session than ours is nothing here.
        let count = if ended.is_none() && theirs.known == pair.mine { theirs.received } else { 0 };
        let holder = self.pairs.at(&key).session;
        let sent = holder.and_then(|holder| self.session(holder)).map_or(0, |session| session.out.sent());
        if count > sent {
            let reason = DisconnectReason::Malformed("more received than was sent");
            return self.reject_answer(now, id, link, reason, actions);
        }
        if let Some(connection) = self.connections.get_mut(&id) {
            connection.dial = None;
        }
        let holder = match holder {
            Some(holder) => holder,
            None => {
                self.pairs.begin(key, self.pairs.at(&key).mine, theirs.generation, id);
                self.begin(id, key, rule, peer.clone(), max_data, theirs);
                self.events.push_back(ConnectionEvent::Connected { id, kind, peer: Box::new(peer.clone()) });
                id
            }
        };
        if holder != id {
            if let Some(entry) = self.links.get_mut(&link) {
                entry.owner = Owner::Connection(holder);
            }
            self.finish(id, DisconnectReason::ConnectedAs(holder));
        }
        let Some(session) = self.session_mut(holder) else { return };
        session.peer = peer;
        let received = session.incoming.received();
        let mine = self.pairs.at(&key).mine;
        let resume = Resume { generation: mine, known: theirs.generation, received, ..self.terms() };
        self.act(now, link, actions, |link, io| link.confirm(resume, io));
        self.strand_up(now, holder, link, None, count, actions);
    }

    /// A newcomer has proven itself on a session kind: its link continues a session, or begins one. `fresh`: the id of a
    /// connection that it may become, and which generation of ours it was told.
    pub(super) fn session_confirmed<N>(
        &mut self,
        now: Instant,
        link: LinkId,
        listener: ConnectionId,
        (fresh, told): (ConnectionId, u64),
        hello: &Hello,
        peer: PeerInfo,
        theirs: &Resume,
        actions: &mut Actions<N>,
    ) {
        let kind = KindId(hello.kind);
        let Some(rule) = self.kinds.get(&kind).map(|kind| kind.rule) else { return };
        let key = PairKey::of_newcomer(hello, rule);
        let pair = self.pairs.at_told(&key, told);
        if theirs.known != pair.mine || theirs.generation < pair.known {
            return self.turn_away(now, link, DisconnectReason::Stale, actions);
        }
        if theirs.generation == 0 || theirs.window == 0 {
            return self.turn_away(now, link, DisconnectReason::Malformed("no session"), actions);
        }
        if let Some(holder) = pair.session.filter(|_| theirs.generation > pair.known) {
            self.end_session(now, holder, DisconnectReason::Stale, false, Some(theirs.generation), actions);
        }
        let count = if theirs.generation == pair.known { theirs.received } else { 0 };
        let Pair { mine, session: holder, .. } = self.pairs.at_told(&key, told);
        let sent = holder.and_then(|holder| self.session(holder)).map_or(0, |session| session.out.sent());
        if count > sent {
            let reason = DisconnectReason::Malformed("more received than was sent");
            return self.turn_away(now, link, reason, actions);
        }
        self.diallers.note(DiallerKey::of(hello, rule), hello.epoch);
        let holder = match holder {
            Some(holder) => {
                self.enter(now, link, Owner::Connection(holder), actions);
                if let Some(session) = self.session_mut(holder) {
                    session.peer = peer;
                }
                holder
            }
            None => {
                self.enter(now, link, Owner::Connection(fresh), actions);
                self.pairs.begin(key, mine, theirs.generation, fresh);
                let connection = Connection::new(kind, Origin::AcceptedSession, State::Idle);
                self.connections.insert(fresh, connection);
                self.begin(fresh, key, rule, peer.clone(), hello.max_data, theirs);
                self.events.push_back(ConnectionEvent::Accepted {
                    id: fresh,
                    kind,
                    listener,
                    peer: Box::new(peer),
                });
                fresh
            }
        };
        self.strand_up(now, holder, link, Some(hello.epoch), count, actions);
        // The dialler has given its older links up (PROTOCOL B 4), unless it is the one who chooses: it may have chosen one of
        // them, whose Confirm came before a newer one's, and closes the others itself.
        let Some(session) = self.session_mut(holder).filter(|session| !session.choice.follows()) else {
            return;
        };
        let older = session.strands.iter().filter(|strand| strand.link != link && strand.epoch.is_some());
        for old in older.map(|strand| strand.link).collect::<Vec<_>>() {
            self.retire(now, holder, old, &DisconnectReason::Replaced, actions);
        }
    }

    /// The connection is a session from now on; what was to be sent first is.
    fn begin(
        &mut self,
        id: ConnectionId,
        key: PairKey,
        rule: LinkRule,
        peer: PeerInfo,
        max_data: u32,
        theirs: &Resume,
    ) {
        let (me, limits) = (self.config.instance, &self.config.limits);
        let Some(connection) = self.connections.get_mut(&id) else { return };
        let mut session = Session::new(key, peer, max_data, theirs, rule, me, limits);
        if let Some(first) = connection.first.clone() {
            session.out.push(*first, limits.high_water);
        }
        connection.state = State::Session(Box::new(session));
    }

    /// A link of a session is established (PROTOCOL B 3 to 5). The peer has received `count` of our messages.
    fn strand_up<N>(
        &mut self,
        now: Instant,
        id: ConnectionId,
        link: LinkId,
        epoch: Option<u64>,
        count: u64,
        actions: &mut Actions<N>,
    ) {
        let Some(session) = self.session_mut(id) else { return };
        let interrupted = core::mem::take(&mut session.interrupted);
        let closing = session.closing;
        session.add(link, epoch, count);
        self.timers.clear(&Due::Redial(id));
        if !closing {
            self.timers.clear(&Due::End(id));
        }
        if interrupted {
            self.events.push_back(ConnectionEvent::Resumed { id });
        }
        self.choose(now, id, link, actions);
        self.flush(now, id, actions);
        self.after_taking(now, id, actions);
        // A peer that does not choose between its links piles up no more of them than this: any link may break at any time.
        if let Some(oldest) = self.session(id).and_then(Session::excess) {
            self.retire(now, id, oldest, &DisconnectReason::Retired, actions);
        }
    }

    /// A link of a session is over. With none left, the session waits for another, and dials if it can.
    pub(super) fn strand_over<N>(
        &mut self,
        now: Instant,
        id: ConnectionId,
        link: LinkId,
        reason: DisconnectReason,
        actions: &mut Actions<N>,
    ) {
        let Some(connection) = self.connections.get_mut(&id) else { return };
        let dialling = connection.dial.is_some();
        let Some(session) = connection.session_mut() else { return };
        session.remove(link);
        if !session.strands.is_empty() {
            if session.choice.is_open_after(link, session.strands.len())
                && let Some(next) = session.sends_on()
            {
                self.choose(now, id, next, actions);
            }
            self.flush(now, id, actions);
            return self.after_taking(now, id, actions);
        }
        session.breaks += 1;
        session.interrupted = true;
        // At once after a link that was of use; one that breaks before anything has come or was acknowledged costs a pause.
        let pause = if session.progress {
            session.backoff.reset();
            Duration::ZERO
        } else {
            session.backoff.pause(&mut self.rng)
        };
        let (closing, end) = (session.closing, now + session.timeout);
        if !closing {
            self.timers.set(Due::End(id), end);
        }
        if !dialling {
            self.timers.set(Due::Redial(id), now + pause);
        }
        self.events.push_back(ConnectionEvent::Interrupted { id, reason });
    }

    /// Dials for a session that has no link.
    pub(super) fn redial<N>(&mut self, now: Instant, id: ConnectionId, actions: &mut Actions<N>) {
        let Some(target) = self.redial_target(id) else { return };
        let Some(connection) = self.connections.get(&id) else { return };
        let Some(session) = connection.session() else { return };
        if session.strands.is_empty() && connection.dial.is_none() {
            let expect = session.peer.instance;
            self.start_connect(now, id, target, Some(expect), actions);
        }
    }

    /// Where the peer of a session can be dialled, if that is ours to do: who made the connection dials again, and either of
    /// a pair.
    fn redial_target(&self, id: ConnectionId) -> Option<Address> {
        let connection = self.connections.get(&id)?;
        let kind = self.kinds.get(&connection.kind)?;
        if !matches!(kind.role, Role::Dial | Role::Both) {
            return None;
        }
        let listens = || connection.session()?.peer.address.clone();
        let paired = kind.rule == LinkRule::OnePerPair;
        connection.target.clone().or_else(|| listens().filter(|_| paired))
    }

    /// A session's dial has failed: again later, unless what answers shows that the peer is no more.
    pub(super) fn redial_failed<N>(
        &mut self,
        now: Instant,
        id: ConnectionId,
        reason: DisconnectReason,
        actions: &mut Actions<N>,
    ) {
        // Where a peer that dialled us says that it listens was never proven to be its own.
        let proven = self.connections.get(&id).is_some_and(|connection| connection.target.is_some());
        let over = proven
            && matches!(
                reason,
                DisconnectReason::OtherInstance(_)
                    | DisconnectReason::Myself
                    | DisconnectReason::WrongKey
                    | DisconnectReason::KindRefused
                    | DisconnectReason::Version(_)
            );
        let Some(connection) = self.connections.get_mut(&id) else { return };
        let Some(session) = connection.session_mut() else { return };
        if !session.strands.is_empty() {
            return;
        }
        if over {
            return self.end_session(now, id, reason, true, None, actions);
        }
        let pause = session.backoff.pause(&mut self.rng);
        self.timers.set(Due::Redial(id), now + pause);
    }

    /// Says `Use` on a link, if it is ours to choose (PROTOCOL B 5, 8).
    fn choose<N>(&mut self, now: Instant, id: ConnectionId, link: LinkId, actions: &mut Actions<N>) {
        let number = self.session_mut(id).and_then(|session| session.choice.choose(link));
        if let Some(number) = number {
            self.say(now, link, PackType::USE, number, actions);
        }
    }

    fn say<N>(&mut self, now: Instant, link: LinkId, what: PackType, number: u64, actions: &mut Actions<N>) {
        let pack = DataPack::new(what, Bytes::copy_from_slice(&number.to_le_bytes()));
        self.act(now, link, actions, |link, io| link.choose(pack, io));
        self.settle(link);
    }

    /// A link that the session needs no more.
    fn retire<N>(
        &mut self,
        now: Instant,
        id: ConnectionId,
        link: LinkId,
        reason: &DisconnectReason,
        actions: &mut Actions<N>,
    ) {
        if let Some(session) = self.session_mut(id) {
            session.remove(link);
        }
        self.dismiss(now, link, reason, actions);
        self.after_taking(now, id, actions);
    }

    /// Moves messages to the link that they are sent on, as many as it and the peer take (PROTOCOL B 9).
    pub(crate) fn flush<N>(&mut self, now: Instant, id: ConnectionId, actions: &mut Actions<N>) {
        let Some(session) = self.connections.get_mut(&id).and_then(|connection| connection.session_mut())
        else {
            return;
        };
        let Some(on) = session.sends_on() else { return };
        let Some(entry) = self.links.get_mut(&on) else { return };
        let (me, key, limits) = (self.config.instance, &self.config.key, &self.config.limits);
        let mut io = crate::link::Io { now, me, key, limits, actions };
        while entry.link.is_writable(limits)
            && let Some((pack, acknowledgement)) = session.next_message(on)
        {
            entry.link.queue_message(pack, acknowledgement, limits);
        }
        // Whoever answers at once has just begun to wait: nobody need wake up for what went along.
        let waits = session.waits_to_acknowledge.filter(|_| !session.incoming.owes()).map(|at| (at, id));
        if waits.is_some() && self.acknowledgements.back() == waits.as_ref() {
            self.acknowledgements.pop_back();
            session.waits_to_acknowledge = None;
        }
        entry.link.flush(&mut io);
        self.settle(on);
    }

    /// One pack of a session's link.
    pub(super) fn session_pack<N>(
        &mut self,
        now: Instant,
        id: ConnectionId,
        link: LinkId,
        pack: DataPack,
        actions: &mut Actions<N>,
    ) {
        let result = match pack.pack_type {
            PackType::USE | PackType::USING => self.chosen(now, id, link, &pack, actions),
            PackType::ACK if !pack.head.is_empty() => Err("data in an acknowledgement"),
            PackType::ACK => self.acknowledged(now, id, pack.acknowledgement, actions),
            _ => self.message(now, id, pack, actions),
        };
        if let Err(what) = result {
            self.blame(now, id, link, DisconnectReason::Malformed(what), actions);
        }
    }

    /// A message: told if it is the next one.
    fn message<N>(
        &mut self,
        now: Instant,
        id: ConnectionId,
        pack: DataPack,
        actions: &mut Actions<N>,
    ) -> Result<(), &'static str> {
        self.acknowledged(now, id, pack.acknowledgement, actions)?;
        // What it acknowledged may have ended the session.
        let Some(session) = self.session_mut(id) else { return Ok(()) };
        match session.incoming.arrive(&pack) {
            Arrival::News => {
                session.progress = true;
                self.events.push_back(ConnectionEvent::Received { id, pack });
            }
            Arrival::Again => self.after_taking(now, id, actions),
            Arrival::Wrong(what) => return Err(what),
        }
        Ok(())
    }

    /// The peer's application has taken messages of ours.
    fn acknowledged<N>(
        &mut self,
        now: Instant,
        id: ConnectionId,
        sequence: u64,
        actions: &mut Actions<N>,
    ) -> Result<(), &'static str> {
        let high = self.config.limits.high_water;
        let Some(session) = self.session_mut(id) else { return Ok(()) };
        let never_sent = |_| "an acknowledgement of what was not sent";
        if !session.out.acknowledge(sequence).map_err(never_sent)? {
            return Ok(());
        }
        session.progress = true;
        let writable = session.out.fell_below(high) && !session.closing;
        let done = session.closing && session.out.is_empty();
        // Room in the peer's window is of use to what waits for it alone.
        let waits = session.out.sent() < session.out.newest();
        self.events.push_back(ConnectionEvent::Acknowledged { id, sequence });
        if writable {
            self.events.push_back(ConnectionEvent::Writable { id });
        }
        if done {
            self.goodbye(now, id, actions);
        } else if waits {
            self.flush(now, id, actions);
        }
        Ok(())
    }

    /// A word about which link counts (PROTOCOL B 6, 7).
    fn chosen<N>(
        &mut self,
        now: Instant,
        id: ConnectionId,
        link: LinkId,
        pack: &DataPack,
        actions: &mut Actions<N>,
    ) -> Result<(), &'static str> {
        let number: [u8; 8] = pack.head[..].try_into().map_err(|_| "a number of another size")?;
        let number = u64::from_le_bytes(number);
        let Some(session) = self.session_mut(id) else { return Ok(()) };
        let chosen = match pack.pack_type {
            PackType::USE => session.choice.use_link(number),
            _ => session.choice.using(number, link),
        };
        match chosen {
            Chosen::Ignored => return Ok(()),
            Chosen::Wrong => return Err("a word that is the other end's"),
            Chosen::Follow(number) => {
                session.active = Some(link);
                self.say(now, link, PackType::USING, number, actions);
            }
            Chosen::Agreed => {
                session.active = Some(link);
                let others = session.strands.iter().map(|strand| strand.link).filter(|other| *other != link);
                for other in others.collect::<Vec<_>>() {
                    self.retire(now, id, other, &DisconnectReason::Retired, actions);
                }
            }
        }
        self.drop_dial(now, id, actions);
        self.flush(now, id, actions);
        Ok(())
    }

    /// Sees to it that what was taken is acknowledged: with the next message, after a while, or at once if it is much.
    pub(super) fn after_taking<N>(&mut self, now: Instant, id: ConnectionId, actions: &mut Actions<N>) {
        let at = now + self.config.limits.ack_delay;
        let Some(session) = self.session_mut(id) else { return };
        if session.incoming.presses() {
            self.acknowledge(now, id, actions);
        } else if session.incoming.owes() && session.waits_to_acknowledge.is_none() {
            session.waits_to_acknowledge = Some(at);
            self.acknowledgements.push_back((at, id));
        }
    }

    /// Acknowledgements that have waited long enough and went along with no message. All wait equally long, so the oldest is
    /// in front.
    pub(super) fn acknowledge_due<N>(&mut self, now: Instant, actions: &mut Actions<N>) {
        while let Some((at, id)) = self.acknowledgements.front().copied()
            && at <= now
        {
            self.acknowledgements.pop_front();
            let Some(session) = self.session_mut(id) else { continue };
            session.waits_to_acknowledge = None;
            if session.incoming.owes() {
                self.acknowledge(now, id, actions);
            }
        }
    }

    fn acknowledge<N>(&mut self, now: Instant, id: ConnectionId, actions: &mut Actions<N>) {
        let Some(session) = self.session_mut(id) else { return };
        // Without a link it goes with the next one.
        let Some(on) = session.sends_on() else { return };
        let taken = session.incoming.tell();
        self.act(now, on, actions, |link, io| link.acknowledge(taken, io));
        self.settle(on);
    }

    /// The application wants no more of a session: it ends once all is acknowledged, or after `drain`.
    pub(super) fn close_session<N>(
        &mut self,
        now: Instant,
        id: ConnectionId,
        drain: Duration,
        actions: &mut Actions<N>,
    ) {
        if self.session(id).is_some_and(|session| session.out.is_empty()) {
            self.goodbye(now, id, actions);
        } else {
            self.timers.set(Due::End(id), now + drain);
        }
    }

    /// A session's time is up: its drain, or its life without a link.
    pub(super) fn session_due<N>(&mut self, now: Instant, id: ConnectionId, actions: &mut Actions<N>) {
        match self.session(id) {
            Some(session) if session.closing => self.goodbye(now, id, actions),
            Some(_) => self.end_session(now, id, DisconnectReason::Expired, true, None, actions),
            None => {}
        }
    }

    /// The peer has said goodbye: its generation is the next one. Ours stays, because the peer may be dialling again already.
    pub(super) fn session_left<N>(&mut self, now: Instant, id: ConnectionId, actions: &mut Actions<N>) {
        let known = self.session(id).map(|session| self.pairs.at(&session.key).known + 1);
        self.end_session(now, id, DisconnectReason::ClosedByPeer, false, known, actions);
    }

    /// Our goodbye: on the link that is sent on, after all that it carries.
    fn goodbye<N>(&mut self, now: Instant, id: ConnectionId, actions: &mut Actions<N>) {
        let Some(connection) = self.connections.get_mut(&id) else { return };
        if let State::Session(session) = core::mem::replace(&mut connection.state, State::Idle) {
            self.leave(now, id, *session, Some(DisconnectReason::Closed), actions);
        }
    }

    /// Ends a session that was taken off its connection, on purpose. With a `report` the application is told, once the link
    /// is closed.
    pub(super) fn leave<N>(
        &mut self,
        now: Instant,
        id: ConnectionId,
        mut session: Session,
        report: Option<DisconnectReason>,
        actions: &mut Actions<N>,
    ) {
        self.forget_session(now, id, session.key, true, None, actions);
        let on = session.sends_on();
        if report.is_some() {
            self.tell_undelivered(id, &mut session);
        }
        // On each link: the peer may be closing any of them, with all that is on its way there.
        let owes = session.incoming.owes();
        let taken = session.incoming.tell();
        for link in session.strands.iter().map(|strand| strand.link) {
            if taken > 0 && (owes || Some(link) != on) {
                self.act(now, link, actions, |link, io| link.acknowledge(taken, io));
            }
            match self.connections.get_mut(&id).filter(|_| Some(link) == on && report.is_some()) {
                Some(connection) => {
                    connection.state = State::Closing { link };
                    self.touch(now, link, actions, |link, io| link.close(report.clone(), io));
                }
                None => {
                    self.disown(link);
                    self.touch(now, link, actions, |link, io| link.close(None, io));
                    self.limit_orphans(now, link, actions);
                }
            }
            self.settle(link);
        }
        if on.is_none() && report.is_some() {
            self.finish(id, DisconnectReason::Closed);
        }
    }

    /// A session is over, and not because we close it. `by_us`: the peer may not know yet. `known`: its newer generation.
    pub(super) fn end_session<N>(
        &mut self,
        now: Instant,
        id: ConnectionId,
        reason: DisconnectReason,
        by_us: bool,
        known: Option<u64>,
        actions: &mut Actions<N>,
    ) {
        let Some(connection) = self.connections.get_mut(&id) else { return };
        let State::Session(mut session) = core::mem::replace(&mut connection.state, State::Idle) else {
            return;
        };
        self.forget_session(now, id, session.key, by_us, known, actions);
        for strand in &session.strands {
            self.dismiss(now, strand.link, &DisconnectReason::Stale, actions);
        }
        self.tell_undelivered(id, &mut session);
        self.finish(id, if session.closing { DisconnectReason::Closed } else { reason });
    }

    /// What every end of a session does to the tables.
    fn forget_session<N>(
        &mut self,
        now: Instant,
        id: ConnectionId,
        key: PairKey,
        by_us: bool,
        known: Option<u64>,
        actions: &mut Actions<N>,
    ) {
        self.drop_dial(now, id, actions);
        for due in [Due::Redial(id), Due::End(id)] {
            self.timers.clear(&due);
        }
        let Some(forgotten) = self.pairs.end(key, by_us, known) else { return };
        for link in &self.newcomers {
            let Some(entry) = self.links.get_mut(link) else { continue };
            let Some(pending) = entry.link.pending_mut() else { continue };
            let rule = self.kinds.get(&KindId(pending.hello.kind)).map(|kind| kind.rule);
            if rule.is_some_and(|rule| PairKey::of_newcomer(&pending.hello, rule) == forgotten) {
                pending.generation = 0;
            }
        }
    }

    fn tell_undelivered(&mut self, id: ConnectionId, session: &mut Session) {
        let packs = session.out.take();
        if !packs.is_empty() {
            self.events.push_back(ConnectionEvent::Undelivered { id, packs });
        }
    }

    fn kind_and_rule(&self, id: ConnectionId) -> Option<(KindId, LinkRule)> {
        let kind = self.kinds.get(&self.connections.get(&id)?.kind)?;
        Some((kind.id, kind.rule))
    }
}
