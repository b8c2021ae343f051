//! Connecting in three steps: request, answer, acceptance.

use super::end::new_end;
use super::{Answer, BACKLOG, EndState, Fate, Holder, Net, NetItem, Stream, StreamId, deliver};
use crate::clock::SECOND;
use crate::context::{Context, HostId, Item, ProcId};
use crate::fault::Fault;
use crate::net::Direction;
use core::net::SocketAddr;
use xxnet_core::net::{NetError, NetEvent};
use xxnet_core::{LinkId, ListenerId};

/// A connect request is sent again after 1, 2, 4 … s, so often.
const MAX_REQUESTS: u32 = 6;

impl Net {
    pub(super) fn dial(
        &mut self,
        ctx: &mut Context,
        proc: ProcId,
        host: HostId,
        link: LinkId,
        address: SocketAddr,
    ) {
        if ctx.fault(Fault::DialExhausted, 30) {
            self.links.insert(proc, link, (StreamId(0), 0));
            let lag = ctx.lag();
            ctx.after(lag, deliver(proc, NetEvent::DialFailed { link, error: NetError::Exhausted }));
            return;
        }
        let target = if address.ip().is_loopback() { Some(host) } else { HostId::of(address.ip()) };
        let Some(target) = target.filter(|target| usize::from(target.0) < ctx.hosts.len()) else {
            self.links.insert(proc, link, (StreamId(0), 0));
            let lag = ctx.lag();
            ctx.after(lag, deliver(proc, NetEvent::DialFailed { link, error: NetError::Unreachable }));
            return;
        };
        let id = self.new_stream(ctx, host, Holder::Machine(proc, link), target, address);
        let known = self.links.insert(proc, link, (id, 0));
        assert!(known.is_none(), "{link} was dialled before");
        let travel = ctx.travel(host, target);
        ctx.after(travel, Item::Net(NetItem::Request(id, 1)));
    }

    fn new_stream(
        &mut self,
        ctx: &mut Context,
        host: HostId,
        holder: Holder,
        target: HostId,
        address: SocketAddr,
    ) -> StreamId {
        // Over loopback both ends have loopback's address.
        let ip = if address.ip().is_loopback() { address.ip() } else { host.ip() };
        let from = SocketAddr::new(ip, self.next_port());
        let ends = [new_end(host, holder, from), new_end(target, Holder::Nobody, address)];
        let nth = self.dials.entry((host, target)).or_default();
        *nth += 1;
        let name = format!("{} > {} #{nth}", ctx.host(host).name, ctx.host(target).name);
        let before = ctx.choices.place();
        let ways = ["there", "back"].map(|way| {
            let place = ctx.place(format!("{name} {way}"));
            ctx.choices.enter(place);
            Direction::draw(ctx)
        });
        let place = ctx.place(name);
        ctx.choices.enter(place);
        let fate = if holder == Holder::Stranger { Fate::Normal } else { draw_fate(ctx) };
        ctx.choices.enter(before);
        self.streams.add(Stream { ends, ways, fate, recorded: Vec::new(), place })
    }

    pub(super) fn request_arrives(&mut self, ctx: &mut Context, id: StreamId, sent: u32) {
        let Some(stream) = self.streams.get(id) else { return };
        let [dialler, acceptor] = &stream.ends;
        if dialler.state == EndState::Gone {
            self.streams.remove(id);
            return;
        }
        let (from, to, fate, address) = (dialler.host, acceptor.host, stream.fate, acceptor.address);
        let lost = fate == Fate::Hangs || !ctx.reaches(from, to) || ctx.fault(Fault::SynLost, 30);
        if lost {
            let no_host = fate != Fate::Hangs && !ctx.host(to).up && ctx.choices.chance(500);
            if no_host || sent >= MAX_REQUESTS {
                // The last router says that nobody answers for that address.
                let answer = Answer::Unreachable;
                ctx.after(if no_host { 3 * SECOND } else { SECOND }, Item::Net(NetItem::Answer(id, answer)));
            } else {
                ctx.after(SECOND << (sent - 1), Item::Net(NetItem::Request(id, sent + 1)));
            }
            return;
        }
        let listener = self.listeners.iter().position(|listener| {
            let reached = listener.address.ip().is_unspecified() || listener.address.ip() == address.ip();
            listener.host == to && reached && listener.address.port() == address.port()
        });
        let back = ctx.travel(to, from);
        match listener.filter(|_| fate != Fate::Refused) {
            None => ctx.after(back, Item::Net(NetItem::Answer(id, Answer::Refused))),
            Some(at) if self.listeners[at].backlog.len() >= self.listeners[at].capacity => {
                // A full backlog drops the request; it is sent again.
                if sent < MAX_REQUESTS {
                    ctx.after(SECOND << (sent - 1), Item::Net(NetItem::Request(id, sent + 1)));
                }
            }
            Some(_) if fate == Fate::AnswerLost => self.enter_backlog(ctx, id),
            Some(_) => ctx.after(back, Item::Net(NetItem::Answer(id, Answer::Taken))),
        }
    }

    pub(super) fn answer_arrives(&mut self, ctx: &mut Context, id: StreamId, answer: Answer) {
        let Some(stream) = self.streams.get_mut(id) else { return };
        let fate = stream.fate;
        let [dialler, acceptor] = &mut stream.ends;
        let (from, to) = (dialler.host, acceptor.host);
        let unreachable = matches!(answer, Answer::Unreachable);
        if !unreachable && !ctx.reaches(to, from) {
            // As if the request itself were lost: it is sent again, and answered again.
            ctx.after(SECOND, Item::Net(NetItem::Request(id, 2)));
            return;
        }
        match dialler.holder {
            Holder::Machine(proc, link) if dialler.state == EndState::Opening => {
                let error = match answer {
                    Answer::Taken => None,
                    Answer::Refused => Some(NetError::Refused),
                    Answer::Unreachable if fate == Fate::Hangs => Some(NetError::TimedOut),
                    Answer::Unreachable => Some(NetError::Unreachable),
                };
                let lag = ctx.lag();
                if let Some(error) = error {
                    dialler.vanish();
                    acceptor.vanish();
                    ctx.after(lag, deliver(proc, NetEvent::DialFailed { link, error }));
                    return;
                }
                dialler.state = EndState::Open;
                dialler.told_at = ctx.now + lag;
                let (peer, local) = (acceptor.address.into(), dialler.address.into());
                ctx.after(lag, deliver(proc, NetEvent::Dialed { link, peer, local }));
            }
            Holder::Stranger if matches!(answer, Answer::Taken) => {
                dialler.state = EndState::Open;
            }
            Holder::Machine(..) | Holder::Backlog | Holder::Stranger | Holder::Nobody => {
                dialler.vanish();
                acceptor.vanish();
                return;
            }
        }
        if fate == Fate::AcceptanceLost {
            // From here on the dialler talks to nobody.
            acceptor.vanish();
            stream.ways.iter_mut().for_each(Direction::go_dark);
            return;
        }
        let travel = ctx.travel(from, to);
        ctx.after(travel, Item::Net(NetItem::Acceptance(id)));
    }

    pub(super) fn acceptance_arrives(&mut self, ctx: &mut Context, id: StreamId) {
        let Some(stream) = self.streams.get(id) else { return };
        let [dialler, acceptor] = &stream.ends;
        if !ctx.reaches(dialler.host, acceptor.host) {
            ctx.after(SECOND, Item::Net(NetItem::Acceptance(id)));
            return;
        }
        self.enter_backlog(ctx, id);
    }

    /// The acceptor's kernel holds the connection now; it waits for an accept.
    fn enter_backlog(&mut self, ctx: &mut Context, id: StreamId) {
        let Some(stream) = self.streams.get_mut(id) else { return };
        let to = &mut stream.ends[1];
        if to.state != EndState::Opening || to.holder != Holder::Nobody {
            return;
        }
        let (host, address) = (to.host, to.address);
        let found = self.listeners.iter_mut().find(|listener| {
            let reached = listener.address.ip().is_unspecified() || listener.address.ip() == address.ip();
            listener.host == host && reached && listener.address.port() == address.port()
        });
        let Some(listener) = found else {
            // It was closed in between.
            to.vanish();
            self.send_reset(ctx, id, 0);
            return;
        };
        to.holder = Holder::Backlog;
        to.state = EndState::Open;
        listener.backlog.push_back(id);
        let (owner, listener) = (listener.owner, listener.id);
        if stream.fate == Fate::AnswerLost {
            stream.ways.iter_mut().for_each(Direction::go_dark);
        }
        self.accept(ctx, owner, listener);
    }

    /// Hands the first newcomer to an armed accept.
    pub(super) fn accept(&mut self, ctx: &mut Context, proc: ProcId, listener: ListenerId) {
        let Some(entry) = self.listeners.iter_mut().find(|l| l.owner == proc && l.id == listener) else {
            return;
        };
        // Those that both ends have given up are gone without a trace.
        let streams = &self.streams;
        entry.backlog.retain(|id| streams.get(*id).is_some());
        let (Some(link), Some(id)) = (entry.armed, entry.backlog.front().copied()) else { return };
        entry.armed = None;
        let lag = ctx.lag();
        entry.told_at = ctx.now + lag;
        if ctx.fault(Fault::AcceptFails, 20) {
            let error = NetError::Exhausted;
            ctx.after(lag, deliver(proc, NetEvent::AcceptFailed { listener, link, error }));
            return;
        }
        entry.backlog.pop_front();
        let Some(stream) = self.streams.get_mut(id) else { return };
        let [dialler, acceptor] = &mut stream.ends;
        let (peer, local) = (dialler.address.into(), acceptor.address.into());
        if acceptor.state == EndState::Gone {
            // It was reset while it waited: accepted all the same, and found broken.
            self.links.insert(proc, link, (id, 1));
            let event = NetEvent::Accepted { listener, link, peer, local };
            ctx.after(lag, deliver(proc, event));
            ctx.after(lag, deliver(proc, NetEvent::Broken { link, error: NetError::Reset }));
            return;
        }
        acceptor.holder = Holder::Machine(proc, link);
        acceptor.told_at = ctx.now + lag;
        self.links.insert(proc, link, (id, 1));
        ctx.after(lag, deliver(proc, NetEvent::Accepted { listener, link, peer, local }));
        if dialler.holder != Holder::Stranger && ctx.fault(Fault::Replay, 40) {
            let delay = ctx.scaled_value(1_000, 20 * SECOND);
            ctx.after(delay, Item::Net(NetItem::Replay(id)));
        }
    }

    /// A stranger dials where a machine dialled, and sends what that one sent.
    pub(super) fn replay(&mut self, ctx: &mut Context, id: StreamId) {
        let Some(stream) = self.streams.get(id) else { return };
        let [dialler, acceptor] = &stream.ends;
        let (host, target, address) = (dialler.host, acceptor.host, acceptor.address);
        let recorded = stream.recorded.clone();
        if recorded.is_empty() || !ctx.host(host).up {
            return;
        }
        let copy = self.new_stream(ctx, host, Holder::Stranger, target, address);
        if let Some(stream) = self.streams.get_mut(copy) {
            stream.ends[0].outgoing = recorded.into();
        }
        let travel = ctx.travel(host, target);
        ctx.after(travel, Item::Net(NetItem::Request(copy, 1)));
        self.pump(ctx, copy, 0);
    }
}

fn draw_fate(ctx: &mut Context) -> Fate {
    if ctx.fault(Fault::DialHangs, 40) {
        Fate::Hangs
    } else if ctx.fault(Fault::DialRefused, 30) {
        Fate::Refused
    } else if ctx.fault(Fault::AnswerLost, 30) {
        Fate::AnswerLost
    } else if ctx.fault(Fault::AcceptanceLost, 30) {
        Fate::AcceptanceLost
    } else {
        Fate::Normal
    }
}

const _: () = assert!(BACKLOG > 1);
