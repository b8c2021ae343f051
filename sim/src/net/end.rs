//! How an end of a stream begins and ends: closed, shut down, reset, broken, or simply gone.

use super::{End, EndState, Holder, Net, NetItem, StreamId, deliver};
use crate::clock::Micros;
use crate::context::{Context, HostId, Item, ProcId};
use crate::fault::Fault;
use core::net::SocketAddr;
use std::collections::VecDeque;
use xxnet_core::LinkId;
use xxnet_core::net::{NetError, NetEvent};

pub(super) fn new_end(host: HostId, holder: Holder, address: SocketAddr) -> End {
    End {
        host,
        holder,
        state: EndState::Opening,
        address,
        inbox: VecDeque::new(),
        inbox_len: 0,
        ended: false,
        end_told: false,
        recv: None,
        outgoing: VecDeque::new(),
        sending: false,
        told_at: 0,
    }
}

impl End {
    /// Nobody holds it any more; nobody is told.
    pub(super) fn vanish(&mut self) {
        self.state = EndState::Gone;
        self.holder = Holder::Nobody;
        self.inbox.clear();
        self.inbox_len = 0;
        self.recv = None;
        self.outgoing.clear();
        self.sending = false;
    }

    /// Tells its machine, in order within the link.
    pub(super) fn tell(&mut self, ctx: &mut Context, event: impl FnOnce(LinkId) -> NetEvent) {
        if let Holder::Machine(proc, link) = self.holder {
            let at = (ctx.now + ctx.lag()).max(self.told_at);
            self.told_at = at;
            ctx.at(at, deliver(proc, event(link)));
        }
    }

    /// The same of what the kernel has done within the call that asked for it: often the runtime tells it at once.
    pub(super) fn tell_soon(&mut self, ctx: &mut Context, event: impl FnOnce(LinkId) -> NetEvent) {
        if self.told_at > ctx.now || ctx.choices.chance(150) {
            return self.tell(ctx, event);
        }
        if let Holder::Machine(proc, link) = self.holder {
            ctx.at(ctx.now, deliver(proc, event(link)));
        }
    }

    /// Whom to tell, not before when, what.
    pub(super) fn would_tell(
        &self,
        now: Micros,
        event: impl FnOnce(LinkId) -> NetEvent,
    ) -> Option<(ProcId, Micros, NetEvent)> {
        match self.holder {
            Holder::Machine(proc, link) => Some((proc, self.told_at.max(now), event(link))),
            Holder::Backlog | Holder::Stranger | Holder::Nobody => None,
        }
    }
}

impl Net {
    /// A machine's request to end its link now.
    pub(super) fn close(&mut self, ctx: &mut Context, proc: ProcId, link: LinkId) {
        let Some((id, end)) = self.links.remove(proc, link) else {
            // It was reported broken, or closed before: there is nothing to complete.
            return;
        };
        let lag = ctx.lag();
        ctx.after(lag, deliver(proc, NetEvent::Closed { link }));
        self.end_by_kernel(ctx, id, end);
    }

    /// A machine's request to send no more.
    pub(super) fn shutdown(&mut self, ctx: &mut Context, proc: ProcId, link: LinkId) {
        let Some((id, i)) = self.links.get(proc, link) else { return };
        let Some(stream) = self.streams.get_mut(id) else { return };
        if stream.ends[i].state != EndState::Open {
            return;
        }
        assert!(!stream.ends[i].sending, "{link}: shut down with a send under way");
        stream.ends[i].tell(ctx, |link| NetEvent::ShutdownDone { link });
        self.send_end(ctx, id, i);
    }

    /// What a kernel does with an end that its process gives up: it sends the end of the stream behind what it has taken, or
    /// a reset if something arrived that nobody will read.
    pub(super) fn end_by_kernel(&mut self, ctx: &mut Context, id: StreamId, i: usize) {
        let Some(stream) = self.streams.get_mut(id) else { return };
        let end = &mut stream.ends[i];
        let (state, unread) = (end.state, end.inbox_len > 0);
        end.vanish();
        if state == EndState::Open {
            if unread || ctx.fault(Fault::ResetAtClose, 100) {
                stream.ways[i].clear();
                self.send_reset(ctx, id, 1 - i);
            } else {
                self.send_end(ctx, id, i);
            }
        }
        self.forget_if_over(id);
    }

    /// Sends a reset to an end. Unlike data it is sent once: if it is lost, that end stays half-open.
    pub(super) fn send_reset(&mut self, ctx: &mut Context, id: StreamId, to: usize) {
        let Some(stream) = self.streams.get(id) else { return };
        let (from_host, to_host) = (stream.ends[1 - to].host, stream.ends[to].host);
        if stream.ways[1 - to].is_dark() || !ctx.reaches(from_host, to_host) {
            return;
        }
        let travel = ctx.travel(from_host, to_host);
        ctx.after(travel, Item::Net(NetItem::Reset(id, to)));
    }

    pub(super) fn reset_arrives(&mut self, ctx: &mut Context, id: StreamId, i: usize) {
        let Some(stream) = self.streams.get(id) else { return };
        let (from, to) = (stream.ends[1 - i].host, stream.ends[i].host);
        if ctx.reaches(from, to) {
            self.break_end(ctx, id, i, NetError::Reset);
        }
    }

    /// An end learns that its stream is dead.
    pub(super) fn break_end(&mut self, ctx: &mut Context, id: StreamId, i: usize, error: NetError) {
        let Some(stream) = self.streams.get_mut(id) else { return };
        stream.ways[i].clear();
        let end = &mut stream.ends[i];
        match end.state {
            EndState::Gone => {}
            EndState::Opening | EndState::Open => {
                let dialling = end.state == EndState::Opening;
                end.tell(ctx, |link| {
                    if dialling {
                        NetEvent::DialFailed { link, error }
                    } else {
                        NetEvent::Broken { link, error }
                    }
                });
                end.vanish();
            }
        }
        self.forget_if_over(id);
    }
}
