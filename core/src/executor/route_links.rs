//! Routing of connections: registrations, lanes to peers, probes.

use super::peers::{Lane, PeerTimer, Side};
use super::probe::{self, Verdict};
use super::registrations::Stage as Registered;
use super::worker::{Entry, EntryTimer};
use super::{Executor, ExecutorNotice, LISTENER, Out, Stage, TaskStep};
use crate::backoff::Backoff;
use crate::connection::{ConnectionEvent, DisconnectReason, KindId, PeerInfo};
use crate::message::{Claim, DeclineReason, Ended, Heartbeat, Leave, Message, Register, Renew};
use crate::net::NetError;
use crate::{Address, ConnectionId, InstanceId, Instant, TaskId};

/// Dials of a publisher that may fail in a row before its proposals are given back.
const DIALS: u32 = 2;

impl Executor {
    pub(super) fn start(&mut self, now: Instant, out: &mut Out) {
        if self.stage != Stage::New {
            return;
        }
        self.stage = Stage::Running;
        let wanted = self.settings.listen;
        let Ok(id) = self.manager.create(LISTENER) else { return };
        self.listener = Some(id);
        let listening = self.manager.listen(now, id, Address::Socket(wanted), out);
        debug_assert!(listening.is_ok(), "the first listener cannot collide");
    }

    fn listening(&mut self, now: Instant, address: core::net::SocketAddr, out: &mut Out) {
        self.address = Some(address);
        let advertised = self.settings.advertise.clone().unwrap_or(Address::Socket(address));
        self.manager.advertise(Some(advertised));
        out.notify(ExecutorNotice::Listening(address));
        for registry in self.settings.registries.clone() {
            if let Ok(id) = self.manager.create_to(KindId::REGISTRATION, registry.clone(), None) {
                self.registrations.add(id, registry, Backoff::new(self.config.limits.backoff));
                self.dial_registry(now, id, out);
            }
        }
    }

    /// Routes what the connection layer tells.
    pub(super) fn connection(&mut self, now: Instant, event: ConnectionEvent, out: &mut Out) {
        match event {
            // It listens on nothing but socket addresses.
            ConnectionEvent::Listening { address, .. } => {
                address.socket().into_iter().for_each(|address| self.listening(now, address, out));
            }
            ConnectionEvent::ListenFailed { address, error, .. } => {
                let address = address.socket().into_iter();
                address.for_each(|address| out.notify(ExecutorNotice::ListenFailed(address, error)));
            }
            ConnectionEvent::Connected { id, kind, peer } => match kind {
                KindId::REGISTRATION => self.registration_linked(now, id, out),
                KindId::PROBE => self.probe_answered(now, id, out),
                _ => self.lane_up(now, id, &peer, out),
            },
            ConnectionEvent::Accepted { id, kind, peer, .. } => self.accepted(now, id, kind, &peer, out),
            ConnectionEvent::Received { id, pack } => match Message::from_pack(pack) {
                Ok(message) => self.message(now, id, message, out),
                Err(_) => self.misbehaved(now, id, "a message that is none", out),
            },
            ConnectionEvent::Writable { id } => self.serve_on(now, id, out),
            ConnectionEvent::Disconnected { id, kind, reason } => match kind {
                KindId::REGISTRATION => self.registration_lost(now, id, reason, out),
                KindId::PROBE => self.probe_ended(now, id, &reason, out),
                _ => self.lane_down(now, id, &reason, out),
            },
            ConnectionEvent::TurnedAway { from, reason } => {
                out.notify(ExecutorNotice::TurnedAway { from, reason });
            }
            ConnectionEvent::AcceptFailing { error, .. } => out.notify(ExecutorNotice::AcceptFailing(error)),
            // It pings nobody, and the cluster's kinds have no sessions.
            ConnectionEvent::Interrupted { .. }
            | ConnectionEvent::Pong { .. }
            | ConnectionEvent::Resumed { .. }
            | ConnectionEvent::Acknowledged { .. }
            | ConnectionEvent::Undelivered { .. } => {}
        }
    }

    /// A peer broke the protocol: that one connection ends.
    pub(super) fn misbehaved(&mut self, now: Instant, id: ConnectionId, what: &'static str, out: &mut Out) {
        if let Some(peer) = self.manager.peer(id) {
            out.notify(ExecutorNotice::Misbehaved { peer: peer.instance, what });
        }
        let _ = self.manager.close(now, id, out);
    }

    // ---- registrations ----

    fn dial_registry(&mut self, now: Instant, id: ConnectionId, out: &mut Out) {
        let Some(row) = self.registrations.row(id) else { return };
        if row.stage != Registered::Waiting || self.stage != Stage::Running {
            return;
        }
        row.stage = Registered::Dialling;
        out.notify(ExecutorNotice::Registering(row.address.clone()));
        let dialled = self.manager.connect(now, id, None, None, out);
        debug_assert!(dialled.is_ok(), "a waiting registration is idle");
    }

    fn registration_linked(&mut self, now: Instant, id: ConnectionId, out: &mut Out) {
        let Some(row) = self.registrations.row(id) else { return };
        row.stage = Registered::Linked;
        let (running, proposed) = self.worker.inventory();
        let address = self.settings.advertise.clone().or(self.address.map(Address::Socket));
        let register = Register {
            name: self.config.name.clone(),
            address: address.unwrap_or(Address::Socket(self.settings.listen)),
            slots: self.settings.slots,
            client: self.settings.client,
            labels: self.settings.labels.clone(),
            running,
            proposed,
        };
        self.send(now, id, register, out);
        self.registrations.timers.set(id, now + self.config.limits.heartbeat);
    }

    /// The registry has us: it is told of every task of ours.
    pub(super) fn registered(&mut self, now: Instant, id: ConnectionId, address: Address, out: &mut Out) {
        let Some(row) = self.registrations.row(id) else { return };
        row.stage = Registered::Registered;
        row.backoff.reset();
        row.told = None;
        out.notify(ExecutorNotice::Registered { registry: row.address.clone(), address });
        for (task, how) in self.registrations.missed(id) {
            self.send(now, id, Ended { task, how }, out);
        }
        self.registrations.publish_all(id, self.publisher.published());
        self.publish_on(now, id, out);
        self.heartbeat(now, id, out);
    }

    fn registration_lost(&mut self, now: Instant, id: ConnectionId, reason: DisconnectReason, out: &mut Out) {
        let Some(row) = self.registrations.row(id) else { return };
        row.stage = Registered::Waiting;
        if self.stage != Stage::Running {
            self.registrations.timers.clear(&id);
            return;
        }
        let retry = row.backoff.pause(&mut self.rng);
        if row.told.as_ref() != Some(&reason) {
            row.told = Some(reason.clone());
            out.notify(ExecutorNotice::RegistryLost { registry: row.address.clone(), reason, retry });
        }
        self.registrations.timers.set(id, now + retry);
    }

    pub(super) fn registration_due(&mut self, now: Instant, id: ConnectionId, out: &mut Out) {
        match self.registrations.row(id).map(|row| row.stage) {
            Some(Registered::Waiting) => self.dial_registry(now, id, out),
            Some(Registered::Linked | Registered::Registered) => self.heartbeat(now, id, out),
            Some(Registered::Dialling) | None => {}
        }
    }

    fn heartbeat(&mut self, now: Instant, id: ConnectionId, out: &mut Out) {
        let free = self.worker.free();
        self.send(now, id, Heartbeat { free }, out);
        self.registrations.timers.set(id, now + self.config.limits.heartbeat);
    }

    /// Tells the registries at once when a slot has nothing to do, or no longer so. While proposals wait here, the
    /// registries need no word: what is taken and ended they hear from the publishers.
    pub(super) fn tell_hunger(&mut self, now: Instant, out: &mut Out) {
        let hungry = self.worker.is_hungry();
        if hungry != self.told_hungry {
            self.told_hungry = hungry;
            for id in self.registrations.registered() {
                self.heartbeat(now, id, out);
            }
        }
    }

    /// Says something to every registry that has us.
    pub(super) fn tell_registries(&mut self, now: Instant, message: &Message, out: &mut Out) {
        for id in self.registrations.registered() {
            self.send(now, id, message.clone(), out);
        }
    }

    // ---- lanes: task and file connections ----

    fn accepted(&mut self, now: Instant, id: ConnectionId, kind: KindId, peer: &PeerInfo, out: &mut Out) {
        let (lane, step) = match kind {
            KindId::TASK => (Lane::Task, TaskStep::TaskAccepted),
            KindId::FILE => (Lane::File, TaskStep::FileAccepted),
            _ => return self.manager.discard(now, id, out),
        };
        if matches!(self.stage, Stage::Closing | Stage::Stopped) {
            return self.manager.discard(now, id, out);
        }
        self.peers.add_accepted(peer.instance, lane, id);
        out.notify(ExecutorNotice::Step {
            step,
            task: None,
            peer: Some(peer.instance),
            connection: Some(id),
        });
        match lane {
            Lane::Task => self.end_probe(now, peer.instance, out),
            Lane::File => self.judge_early(now, out),
        }
        self.request_files(now, peer.instance, Side::Accepted, out);
    }

    /// Sees to it that this lane to a publisher is up or on its way. `task`: for whom, for the notices.
    pub(super) fn want_lane(
        &mut self,
        now: Instant,
        peer: InstanceId,
        lane: Lane,
        task: TaskId,
        out: &mut Out,
    ) {
        let (made, dialled, linked, kind) = steps(lane);
        self.peers.timers.clear(&(peer, PeerTimer::Idle));
        if self.peers.dialled(peer, lane).is_none() {
            let Some(address) = self.peers.address(peer).cloned() else { return };
            let Ok(id) = self.manager.create_to(kind, address, None) else { return };
            self.peers.add_dialled(peer, lane, id, Backoff::new(self.config.limits.backoff));
        }
        let Some(row) = self.peers.dialled(peer, lane) else { return };
        let (id, up, idle) = (row.connection, row.up, !row.up && !row.dialling);
        let step =
            |step| ExecutorNotice::Step { step, task: Some(task), peer: Some(peer), connection: Some(id) };
        out.notify(step(made));
        if up {
            out.notify(step(linked));
        } else {
            out.notify(step(dialled));
        }
        if idle && self.peers.timers.at(&(peer, PeerTimer::Redial(lane))).is_none() {
            self.dial_lane(now, peer, lane, out);
        }
    }

    fn dial_lane(&mut self, now: Instant, peer: InstanceId, lane: Lane, out: &mut Out) {
        let address = self.peers.address(peer).cloned();
        let Some(row) = self.peers.dialled(peer, lane).filter(|row| !row.up && !row.dialling) else { return };
        row.dialling = true;
        let id = row.connection;
        if self.manager.connect(now, id, address, Some(peer), out).is_err() {
            // Still closing: as good as a dial that failed.
            self.lane_down(now, id, &DisconnectReason::Closed, out);
        }
    }

    fn lane_up(&mut self, now: Instant, id: ConnectionId, peer: &PeerInfo, out: &mut Out) {
        let Some((instance, lane, Side::Dialled)) = self.peers.owner(id) else { return };
        if let Some(row) = self.peers.dialled(instance, lane) {
            (row.up, row.dialling, row.failures) = (true, false, 0);
            row.backoff.reset();
        }
        debug_assert_eq!(instance, peer.instance, "the connection layer checks whom it expects");
        let (.., linked, _) = steps(lane);
        for task in self.worker.of(instance) {
            let step = ExecutorNotice::Step {
                step: linked,
                task: Some(task),
                peer: Some(instance),
                connection: Some(id),
            };
            match self.worker.peek(task) {
                Some(Entry::Wanted { .. }) if lane == Lane::Task => out.notify(step),
                Some(Entry::Held(_)) if lane == Lane::File => out.notify(step),
                Some(Entry::Proposed | Entry::Wanted { .. } | Entry::Held(_)) | None => {}
            }
        }
        if lane == Lane::Task {
            for task in self.worker.of(instance) {
                self.send_claim(now, task, out);
            }
            self.peers.timers.set((instance, PeerTimer::Renew), now + self.config.limits.heartbeat);
        } else {
            self.judge_early(now, out);
        }
        self.request_files(now, instance, Side::Dialled, out);
    }

    fn lane_down(&mut self, now: Instant, id: ConnectionId, reason: &DisconnectReason, out: &mut Out) {
        let Some((peer, lane, side)) = self.peers.owner(id) else { return };
        match lane {
            Lane::Task => {
                self.fetches.task_link_lost(peer, side);
                self.early.retain(|(_, link, _)| *link != id);
            }
            Lane::File => {
                self.fetches.file_link_lost(id);
                self.service.link_lost(id);
            }
        }
        match side {
            Side::Accepted => {
                self.peers.remove_accepted(id);
                if lane == Lane::Task {
                    self.holder_lost(now, peer, reason, out);
                }
            }
            Side::Dialled => self.dialled_down(now, peer, lane, reason, out),
        }
    }

    fn dialled_down(
        &mut self,
        now: Instant,
        peer: InstanceId,
        lane: Lane,
        reason: &DisconnectReason,
        out: &mut Out,
    ) {
        let address = self.peers.address(peer).cloned();
        let Some(row) = self.peers.dialled(peer, lane) else { return };
        let was_up = row.up;
        (row.up, row.dialling) = (false, false);
        row.failures += u32::from(!was_up);
        let gone = matches!(reason, DisconnectReason::OtherInstance(_));
        let give_back = lane == Lane::Task && (row.failures >= DIALS || gone);
        let pause = row.backoff.pause(&mut self.rng);
        if lane == Lane::Task {
            self.peers.timers.clear(&(peer, PeerTimer::Renew));
        }
        if !was_up
            && row_is_first(give_back, lane)
            && let Some(address) = address
        {
            out.notify(ExecutorNotice::Unreachable { address, reason: reason.clone() });
        }
        // Set before anything is given back: what is offered again meanwhile waits for it, too.
        self.peers.timers.set((peer, PeerTimer::Redial(lane)), now + pause);
        if give_back {
            self.give_back_unclaimed(now, peer, why_given_back(reason), out);
        }
        if self.worker.of(peer).is_empty() {
            self.forget_peer(now, peer, out);
        }
    }

    pub(super) fn peer_due(&mut self, now: Instant, peer: InstanceId, timer: PeerTimer, out: &mut Out) {
        match timer {
            PeerTimer::Redial(lane) => {
                if !self.worker.needs(peer) {
                    // What it was for has ended meanwhile.
                    self.forget_peer(now, peer, out);
                } else if self.stage != Stage::Closing && self.stage != Stage::Stopped {
                    self.dial_lane(now, peer, lane, out);
                }
            }
            PeerTimer::Renew => {
                if let Some(id) = self.peers.up(peer, Lane::Task, Side::Dialled) {
                    let attempts = self.worker.renewable(peer);
                    if !attempts.is_empty() {
                        self.send(now, id, Renew { stamp: now, attempts }, out);
                    }
                    self.peers.timers.set((peer, PeerTimer::Renew), now + self.config.limits.heartbeat);
                }
            }
            PeerTimer::Idle => {
                if self.worker.of(peer).is_empty() {
                    self.forget_peer(now, peer, out);
                }
            }
        }
    }

    /// Nothing is left to do for this publisher: its connections stay a while for its next task.
    pub(super) fn peer_idle(&mut self, now: Instant, peer: InstanceId) {
        if !self.worker.of(peer).is_empty() {
            return;
        }
        if self.peers.dialled(peer, Lane::Task).is_some() {
            self.peers.timers.set((peer, PeerTimer::Idle), now + self.config.limits.suspect);
        } else {
            self.peers.forget_address(peer);
        }
    }

    fn forget_peer(&mut self, now: Instant, peer: InstanceId, out: &mut Out) {
        self.peers.forget_address(peer);
        for id in self.peers.remove_dialled(peer) {
            self.fetches.file_link_lost(id);
            self.service.link_lost(id);
            self.manager.discard(now, id, out);
        }
    }

    /// Claims what is wanted, and says again what we hold: as soon as it is wanted or the link is up, so once on each link
    /// (PROTOCOL A2, A7).
    pub(super) fn send_claim(&mut self, now: Instant, task: TaskId, out: &mut Out) {
        let Some(link) = self.peers.up(task.publisher, Lane::Task, Side::Dialled) else { return };
        let claim = match self.worker.entry(task) {
            Some(Entry::Wanted { claim, .. }) => *claim,
            Some(Entry::Held(held)) if held.stop.is_none() => {
                held.known = false;
                held.claim
            }
            Some(Entry::Proposed | Entry::Held(_)) | None => return,
        };
        self.send(now, link, Claim { task, claim, stamp: now }, out);
    }

    /// The publisher cannot be reached now: what is not held yet goes back to the registries.
    fn give_back_unclaimed(&mut self, now: Instant, peer: InstanceId, why: DeclineReason, out: &mut Out) {
        for task in self.worker.of(peer) {
            if matches!(self.worker.peek(task), Some(Entry::Proposed | Entry::Wanted { .. })) {
                self.decline(now, task, why, out);
            }
        }
        self.claim_next(now, out);
    }

    // ---- proof of death ----

    /// The link to an executor has ended: if it holds tasks of ours, is it dead? (PROTOCOL A8)
    fn holder_lost(&mut self, now: Instant, peer: InstanceId, reason: &DisconnectReason, out: &mut Out) {
        let held = self.publisher.held_by(peer);
        if self.settings.lease_only
            || held.is_empty()
            || self.probes.contains(peer)
            || !probe::may_prove(reason)
        {
            return;
        }
        let known = |task: &TaskId| self.publisher.peek(*task)?.current.as_ref()?.address.clone();
        let Some(address) = held.iter().find_map(known) else { return };
        let Ok(id) = self.manager.create_to(KindId::PROBE, address.clone(), None) else { return };
        self.probes.add(peer, id, address, Backoff::new(self.config.limits.backoff));
        self.probe_due(now, peer, out);
    }

    pub(super) fn probe_due(&mut self, now: Instant, peer: InstanceId, out: &mut Out) {
        if self.publisher.held_by(peer).is_empty() {
            self.end_probe(now, peer, out);
        } else if let Some((id, address)) = self.probes.target(peer) {
            let _ = self.manager.connect(now, id, Some(address), Some(peer), out);
        }
    }

    fn probe_answered(&mut self, now: Instant, id: ConnectionId, out: &mut Out) {
        // It lives: it will be back by itself, or its leases run out.
        if let Some(peer) = self.probes.owner(id) {
            self.end_probe(now, peer, out);
        }
    }

    fn probe_ended(&mut self, now: Instant, id: ConnectionId, reason: &DisconnectReason, out: &mut Out) {
        let Some(peer) = self.probes.owner(id) else { return };
        match probe::judge(reason) {
            Verdict::Dead => {
                self.end_probe(now, peer, out);
                for task in self.publisher.held_by(peer) {
                    self.lose(now, task, "its executor died", Some(peer), out);
                }
            }
            Verdict::Unknown => {
                let pause = self.probes.backoff(peer).map(|backoff| backoff.pause(&mut self.rng));
                self.probes.timers.set(peer, now + pause.unwrap_or_default());
            }
        }
    }

    fn end_probe(&mut self, now: Instant, peer: InstanceId, out: &mut Out) {
        if let Some(id) = self.probes.remove(peer) {
            self.manager.discard(now, id, out);
        }
    }

    // ---- the end ----

    pub(super) fn shutdown(&mut self, now: Instant, out: &mut Out) {
        if !matches!(self.stage, Stage::New | Stage::Running) {
            return;
        }
        self.stage = Stage::Ending;
        for task in self.publisher.ids() {
            self.cancel(now, task, out);
        }
        self.tell_registries(now, &Message::Leave(Leave {}), out);
        for task in self.worker.ids() {
            match self.worker.peek(task) {
                Some(Entry::Held(_)) => {
                    self.stop_attempt(now, task, crate::message::StopReason::Shutdown, out);
                    // A folder that could not be removed is tried at once, for the last time.
                    if self.worker.timers.at(&(task, EntryTimer::Removal)).is_some() {
                        self.worker.timers.set((task, EntryTimer::Removal), now);
                    }
                }
                Some(Entry::Proposed | Entry::Wanted { .. }) | None => self.worker.remove(task),
            }
        }
        for id in self.registrations.ids() {
            self.registrations.timers.clear(&id);
        }
    }

    pub(super) fn close_all(&mut self, now: Instant, out: &mut Out) {
        for peer in self.probes.peers() {
            self.end_probe(now, peer, out);
        }
        for peer in self.peers.instances() {
            for lane in [Lane::Task, Lane::File] {
                if let Some(id) = self.peers.up(peer, lane, Side::Accepted) {
                    let _ = self.manager.close(now, id, out);
                }
            }
            self.forget_peer(now, peer, out);
        }
        for id in self.registrations.ids() {
            self.manager.discard(now, id, out);
        }
        if let Some(id) = self.listener.take() {
            self.manager.discard(now, id, out);
        }
    }
}

/// What the registries are told after dials that failed. A want of this host's own says nothing about the way to the peer, which
/// others would be kept from for a minute.
fn why_given_back(reason: &DisconnectReason) -> DeclineReason {
    match reason {
        DisconnectReason::Net(NetError::Exhausted) => DeclineReason::Busy,
        _ => DeclineReason::Unreachable,
    }
}

/// Whether a failed dial is worth a notice: once a row, when it is given back or concerns files.
fn row_is_first(give_back: bool, lane: Lane) -> bool {
    give_back || lane == Lane::File
}

/// The three steps that a lane goes through at its dialler, and its kind.
fn steps(lane: Lane) -> (TaskStep, TaskStep, TaskStep, KindId) {
    match lane {
        Lane::Task => {
            (TaskStep::TaskConnectionMade, TaskStep::TaskDialled, TaskStep::TaskLinked, KindId::TASK)
        }
        Lane::File => {
            (TaskStep::FileConnectionMade, TaskStep::FileDialled, TaskStep::FileLinked, KindId::FILE)
        }
    }
}
