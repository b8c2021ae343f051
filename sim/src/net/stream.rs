//! One direction of a stream: bytes in order, with delay, window and pieces, and its planned break.

use super::{EndState, Holder, Net, NetItem, Stream, StreamId, Told, deliver};
use crate::clock::{MILLI, Micros, SECOND};
use crate::context::{Context, HostId, Item, ProcId};
use crate::fault::Fault;
use crate::marks::Target;
use bytes::{Bytes, BytesMut};
use std::collections::VecDeque;
use xxnet_core::LinkId;
use xxnet_core::net::{NetError, NetEvent};

/// How a direction cuts what it carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pieces {
    /// As large as the window takes.
    Whole,
    /// One byte at a time.
    Single,
    /// Any size up to this.
    Odd(usize),
    /// A byte before each end of a send, so that the first byte of the next one comes with the last of this.
    Border,
}

/// How a stream breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Break {
    Both,
    Sender,
    Receiver,
    Dark,
    DarkOneWay,
}

#[derive(Debug)]
enum Chunk {
    Data(Bytes),
    End,
}

/// Bytes after which odd pieces and small windows give way: nobody needs a megabyte in single bytes.
const PATIENCE: u64 = 6_000;
/// A stream breaks by this byte, if at all.
const DEEP: u64 = 6 << 20;
const WIDE: usize = 256 << 10;
/// How often a kernel sends again before it gives an orphaned stream up.
const MAX_TRIES: u32 = 60;

/// One direction of a stream.
#[derive(Debug)]
pub(crate) struct Direction {
    flight: VecDeque<(Micros, Chunk)>,
    flowing: bool,
    window: usize,
    /// Taken from the sender, and as far as its kernel knows not read by the receiver yet.
    unread: usize,
    /// When the sender's kernel hears of how many bytes that were read. It is looked at when somebody waits for room.
    read: VecDeque<(Micros, usize)>,
    /// Whether somebody does.
    waiting: bool,
    taken: u64,
    arrived: u64,
    pieces: Pieces,
    extra_delay: Micros,
    last_at: Micros,
    ended: bool,
    dark: bool,
    break_at: Option<(u64, Break)>,
    flip_at: Option<u64>,
}

impl Direction {
    pub(super) fn draw(ctx: &mut Context) -> Self {
        let pieces = if ctx.fault(Fault::SingleBytes, 80) {
            Pieces::Single
        } else if ctx.fault(Fault::OddPieces, 200) {
            match ctx.scaled_value(1, 4096) as usize {
                1 => Pieces::Border,
                most => Pieces::Odd(most),
            }
        } else {
            Pieces::Whole
        };
        let window =
            if ctx.fault(Fault::SmallWindow, 100) { ctx.scaled_value(1, 4096) as usize } else { WIDE };
        let extra_delay =
            if ctx.fault(Fault::SlowLink, 80) { ctx.scaled_value(10 * MILLI, 2 * SECOND) } else { 0 };
        Self {
            flight: VecDeque::new(),
            flowing: false,
            window,
            unread: 0,
            read: VecDeque::new(),
            waiting: false,
            taken: 0,
            arrived: 0,
            pieces,
            extra_delay,
            last_at: 0,
            ended: false,
            dark: false,
            break_at: draw_break(ctx),
            flip_at: ctx.draws(Fault::BitFlip, 40).then(|| ctx.scaled_value(1, 1 << 20)),
        }
    }

    pub(super) fn heal(&mut self) {
        self.break_at = None;
        self.flip_at = None;
        self.extra_delay = 0;
        self.window = WIDE;
    }

    pub(super) fn go_dark(&mut self) {
        self.dark = true;
        self.flight.clear();
    }

    pub(super) fn is_dark(&self) -> bool {
        self.dark
    }

    pub(super) fn is_empty(&self) -> bool {
        self.flight.is_empty()
    }

    pub(super) fn clear(&mut self) {
        self.flight.clear();
    }

    /// Room for the next piece and its size; `None`: the window is full.
    fn piece(&self, ctx: &mut Context, front: usize) -> Option<usize> {
        let patient = self.taken < PATIENCE;
        let window = if patient { self.window } else { self.window.max(WIDE) };
        let room = window.checked_sub(self.unread).filter(|room| *room > 0)?;
        let wanted = match self.pieces {
            Pieces::Single if patient => 1,
            Pieces::Odd(most) if patient => ctx.choices.between(1, most as u64) as usize,
            Pieces::Border if front > 1 => front - 1,
            Pieces::Whole | Pieces::Single | Pieces::Odd(_) | Pieces::Border => front,
        };
        Some(wanted.min(room).min(front))
    }
}

fn draw_break(ctx: &mut Context) -> Option<(u64, Break)> {
    // It is counted when it happens.
    let kind = Break::draw(ctx, 70)?;
    // Most streams are short; but a file must be broken in its middle, too.
    let at = ctx.drawn_value(0, DEEP, |choices| {
        if choices.chance(400) { choices.below(DEEP) } else { choices.scaled(1, 1 << 20) - 1 }
    });
    Some((at, kind))
}

impl Break {
    const ALL: [Self; 5] = [Self::Both, Self::Sender, Self::Receiver, Self::Dark, Self::DarkOneWay];

    fn of(fault: Fault) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.fault() == fault)
    }

    /// The first kind that wants to, each with this chance.
    fn draw(ctx: &mut Context, per_mille: u64) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| ctx.draws(kind.fault(), per_mille))
    }

    fn fault(self) -> Fault {
        match self {
            Self::Both => Fault::ResetBoth,
            Self::Sender => Fault::ResetSender,
            Self::Receiver => Fault::ResetReceiver,
            Self::Dark => Fault::HalfOpen,
            Self::DarkOneWay => Fault::OneWay,
        }
    }
}

impl Net {
    /// A machine's request to write.
    pub(super) fn send(&mut self, ctx: &mut Context, proc: ProcId, link: LinkId, buffers: Vec<Bytes>) {
        let Some((id, i)) = self.links.get(proc, link) else { return };
        let Some(stream) = self.streams.get_mut(id) else { return };
        let end = &mut stream.ends[i];
        if end.state == EndState::Gone {
            return;
        }
        assert!(end.state == EndState::Open, "{link}: a send before it is open");
        assert!(!end.sending, "{link}: a second send under way");
        assert!(!stream.ways[i].ended, "{link}: a send after shutdown");
        let total: usize = buffers.iter().map(Bytes::len).sum();
        assert!(total > 0, "{link}: an empty send");
        if i == 0 && stream.recorded.len() < 6 && ctx.may(Fault::Replay) {
            stream.recorded.extend(buffers.iter().filter(|buffer| buffer.len() < 4096).cloned());
        }
        end.outgoing.extend(buffers.into_iter().filter(|buffer| !buffer.is_empty()));
        end.sending = true;
        self.pump(ctx, id, i);
    }

    /// Takes from a send what its window has room for.
    pub(super) fn pump(&mut self, ctx: &mut Context, id: StreamId, i: usize) {
        let Some(stream) = self.streams.get_mut(id) else { return };
        let (from, to) = (stream.ends[i].host, stream.ends[1 - i].host);
        let way = &mut stream.ways[i];
        if ctx.reaches(to, from) {
            way.hear_of_reads(ctx.now);
        }
        let end = &mut stream.ends[i];
        while let Some(front) = end.outgoing.front_mut() {
            let Some(size) = way.piece(ctx, front.len()) else { break };
            let piece = if size == front.len() { core::mem::take(front) } else { front.split_to(size) };
            if front.is_empty() {
                end.outgoing.pop_front();
            }
            way.taken += size as u64;
            way.unread += size;
            if !way.dark {
                let at = (ctx.now + ctx.travel(from, to) + way.extra_delay).max(way.last_at);
                way.last_at = at;
                way.flight.push_back((at, Chunk::Data(piece)));
            }
        }
        if end.sending && end.outgoing.is_empty() {
            end.sending = false;
            end.tell_soon(ctx, |link| NetEvent::Sent { link });
        }
        self.await_room(ctx, id, i);
        self.start_flow(ctx, id, i);
    }

    /// Whoever has more to send is called once the next bytes are known to be read.
    fn await_room(&mut self, ctx: &mut Context, id: StreamId, i: usize) {
        let Some(stream) = self.streams.get_mut(id) else { return };
        let way = &mut stream.ways[i];
        if let (false, false, Some((at, _))) =
            (stream.ends[i].outgoing.is_empty(), way.waiting, way.read.front())
        {
            way.waiting = true;
            ctx.at(*at, Item::Net(NetItem::Room(id, i)));
        }
    }

    /// The end of a stream, behind everything that was taken.
    pub(super) fn send_end(&mut self, ctx: &mut Context, id: StreamId, i: usize) {
        let Some(stream) = self.streams.get_mut(id) else { return };
        let (from, to) = (stream.ends[i].host, stream.ends[1 - i].host);
        let way = &mut stream.ways[i];
        if way.ended || way.dark {
            return;
        }
        way.ended = true;
        let at = (ctx.now + ctx.travel(from, to) + way.extra_delay).max(way.last_at);
        way.last_at = at;
        way.flight.push_back((at, Chunk::End));
        self.start_flow(ctx, id, i);
    }

    fn start_flow(&mut self, ctx: &mut Context, id: StreamId, i: usize) {
        let Some(stream) = self.streams.get_mut(id) else { return };
        let way = &mut stream.ways[i];
        if let (false, Some((at, _))) = (way.flowing, way.flight.front()) {
            way.flowing = true;
            let at = *at;
            ctx.at(at, Item::Net(NetItem::Flow(id, i, 0)));
        }
    }

    /// The first bytes of a direction arrive, or are sent again.
    /// Answers what a machine is told of them at once.
    pub(super) fn flow(&mut self, ctx: &mut Context, id: StreamId, i: usize, tries: u32) -> Option<Told> {
        let stream = self.streams.get_mut(id)?;
        let (from, to) = (stream.ends[i].host, stream.ends[1 - i].host);
        let (way, receiver) = (&mut stream.ways[i], &mut stream.ends[1 - i]);
        way.flowing = false;
        if way.flight.is_empty() {
            return None;
        }
        if !ctx.reaches(from, to) || receiver.state == EndState::Opening {
            if tries > MAX_TRIES && stream.ends[i].state == EndState::Gone {
                stream.ways[i].clear();
                return None;
            }
            way.flowing = true;
            let pause = (200 * MILLI) << tries.min(3);
            ctx.after(pause, Item::Net(NetItem::Flow(id, i, tries + 1)));
            return None;
        }
        if receiver.state == EndState::Gone {
            let data = way.flight.iter().any(|(_, chunk)| matches!(chunk, Chunk::Data(_)));
            way.clear();
            if data {
                self.send_reset(ctx, id, i);
            }
            return None;
        }
        let mut broken = None;
        while way.flight.front().is_some_and(|(at, _)| *at <= ctx.now) {
            let Some((_, chunk)) = way.flight.pop_front() else { break };
            let data = match chunk {
                Chunk::End => {
                    receiver.ended = true;
                    continue;
                }
                Chunk::Data(data) => data,
            };
            let (data, broke) = way.pass(ctx, data);
            receiver.inbox_len += data.len();
            if !data.is_empty() {
                receiver.inbox.push_back(data);
            }
            if broke.is_some() {
                broken = broke;
                break;
            }
        }
        if receiver.holder == Holder::Stranger {
            receiver.inbox.clear();
            way.unread -= receiver.inbox_len;
            receiver.inbox_len = 0;
            if receiver.ended {
                self.end_by_kernel(ctx, id, 1 - i);
            }
        }
        if let Some(kind) = broken {
            self.break_stream(ctx, id, i, kind);
        }
        let told = self.hand_over(ctx, id, 1 - i);
        self.start_flow(ctx, id, i);
        let (proc, at, event) = told?;
        if at > ctx.now {
            ctx.at(at, deliver(proc, event));
            return None;
        }
        Some((proc, event))
    }

    /// One of the streams between machines breaks now, with all that is on its way, if the run has such faults. Answers the
    /// hosts of its ends.
    pub(crate) fn snap(&mut self, ctx: &mut Context, per_mille: u64) -> Option<[HostId; 2]> {
        let kind = Break::draw(ctx, per_mille)?;
        let open = |stream: &Stream| {
            stream.ends.iter().all(|end| matches!(end.holder, Holder::Machine(..)))
                && !stream.ways.iter().any(Direction::is_dark)
        };
        let open = self.streams.iter().filter(|(_, stream)| open(stream));
        let open: Vec<_> =
            open.map(|(id, stream)| (id, [stream.ends[0].host, stream.ends[1].host])).collect();
        if open.is_empty() {
            return None;
        }
        let (id, hosts) = open[ctx.value(0, open.len() as u64 - 1) as usize];
        let sender = ctx.value(0, 1) as usize;
        self.break_stream(ctx, id, sender, kind);
        Some(hosts)
    }

    fn break_stream(&mut self, ctx: &mut Context, id: StreamId, sender: usize, kind: Break) {
        ctx.count(kind.fault());
        let Some(stream) = self.streams.get_mut(id) else { return };
        stream.held().for_each(|(proc, link)| ctx.hits.at(Target::Link(proc, link)));
        stream.ways[sender].go_dark();
        if kind != Break::DarkOneWay {
            stream.ways[1 - sender].go_dark();
        }
        if matches!(kind, Break::Both | Break::Sender) {
            self.break_end(ctx, id, sender, NetError::Reset);
        }
        if matches!(kind, Break::Both | Break::Receiver) {
            self.break_end(ctx, id, 1 - sender, NetError::Reset);
        }
    }

    /// A machine's link breaks now, in the way that a fault says. `false`: it is not up.
    pub(crate) fn break_link(&mut self, ctx: &mut Context, proc: ProcId, link: LinkId, how: Fault) -> bool {
        let Some((id, i)) = self.links.get(proc, link) else { return false };
        let up = self.streams.get(id).is_some_and(|stream| stream.ends[i].state == EndState::Open);
        if let (true, Some(kind)) = (up, Break::of(how)) {
            self.break_stream(ctx, id, i, kind);
        }
        up
    }

    /// Bytes that a machine never sent go out behind those that it has. `false`: its link is not up.
    pub(crate) fn slip_in(&mut self, ctx: &mut Context, proc: ProcId, link: LinkId, bytes: Bytes) -> bool {
        let Some((id, i)) = self.links.get(proc, link) else { return false };
        let Some(stream) = self.streams.get_mut(id) else { return false };
        let up = stream.ends[i].state == EndState::Open && !stream.ways[i].ended;
        if up {
            stream.ends[i].outgoing.push_back(bytes);
            self.pump(ctx, id, i);
        }
        up
    }

    /// A machine's request to read.
    pub(super) fn recv(&mut self, ctx: &mut Context, proc: ProcId, link: LinkId, max: usize) {
        let Some((id, i)) = self.links.get(proc, link) else { return };
        let Some(stream) = self.streams.get_mut(id) else { return };
        let end = &mut stream.ends[i];
        if end.state == EndState::Gone {
            return;
        }
        assert!(end.state == EndState::Open, "{link}: a read before it is open");
        assert!(end.recv.is_none(), "{link}: a second read is armed");
        assert!(max > 0, "{link}: a read of nothing");
        end.recv = Some(max);
        if let Some((proc, at, event)) = self.hand_over(ctx, id, i) {
            let at = at + ctx.lag();
            if let Some(stream) = self.streams.get_mut(id) {
                stream.ends[i].told_at = at;
            }
            ctx.at(at, deliver(proc, event));
        }
    }

    /// Completes an armed read if there is something to read: whom to tell, not before when, what.
    fn hand_over(&mut self, ctx: &mut Context, id: StreamId, i: usize) -> Option<(ProcId, Micros, NetEvent)> {
        let stream = self.streams.get_mut(id)?;
        let end = &mut stream.ends[i];
        let max = end.recv?;
        if end.inbox_len == 0 {
            if end.ended && !end.end_told {
                end.recv = None;
                end.end_told = true;
                return end.would_tell(ctx.now, |link| NetEvent::PeerClosed { link });
            }
            return None;
        }
        end.recv = None;
        let merge = stream.ways[1 - i].pieces == Pieces::Whole;
        let data = take(&mut end.inbox, max, merge);
        end.inbox_len -= data.len();
        let (len, reader, writer) = (data.len(), end.host, 1 - i);
        let told = end.would_tell(ctx.now, |link| NetEvent::Received { link, data });
        let at = ctx.now + ctx.travel(reader, stream.ends[writer].host);
        let way = &mut stream.ways[writer];
        let at = way.read.back().map_or(at, |(last, _)| at.max(*last));
        way.read.push_back((at, len));
        self.await_room(ctx, id, writer);
        told
    }

    /// A sender who waits for room learns what was read, unless no word gets through.
    pub(super) fn room(&mut self, ctx: &mut Context, id: StreamId, sender: usize) {
        let Some(stream) = self.streams.get_mut(id) else { return };
        stream.ways[sender].waiting = false;
        if stream.ways[1 - sender].dark || stream.ways[sender].dark {
            return;
        }
        let (reader, writer) = (stream.ends[1 - sender].host, stream.ends[sender].host);
        if !ctx.reaches(reader, writer) {
            if stream.ends[sender].state == EndState::Open {
                stream.ways[sender].waiting = true;
                ctx.after(500 * MILLI, Item::Net(NetItem::Room(id, sender)));
            }
            return;
        }
        self.pump(ctx, id, sender);
    }
}

impl Direction {
    /// The sender's kernel knows what was read, as far as word of it has come.
    fn hear_of_reads(&mut self, now: Micros) {
        while let Some((at, bytes)) = self.read.front()
            && *at <= now
        {
            self.unread = self.unread.saturating_sub(*bytes);
            self.read.pop_front();
        }
    }

    /// Bytes pass the place where this direction flips a bit or breaks.
    fn pass(&mut self, ctx: &mut Context, mut data: Bytes) -> (Bytes, Option<Break>) {
        let begin = self.arrived;
        self.arrived += data.len() as u64;
        if let Some(at) = self.flip_at.filter(|at| (begin..self.arrived).contains(at)) {
            self.flip_at = None;
            ctx.count(Fault::BitFlip);
            let mut copy = BytesMut::from(&data[..]);
            copy[(at - begin) as usize] ^= 1 << ctx.choices.below(8);
            data = copy.freeze();
        }
        match self.break_at {
            Some((at, kind)) if at < self.arrived => {
                self.break_at = None;
                data.truncate(at.saturating_sub(begin) as usize);
                (data, Some(kind))
            }
            Some(_) | None => (data, None),
        }
    }
}

/// Up to `max` bytes from the front; whole pieces together if `merge`.
fn take(inbox: &mut VecDeque<Bytes>, max: usize, merge: bool) -> Bytes {
    let Some(mut first) = inbox.pop_front() else { return Bytes::new() };
    if first.len() > max {
        let rest = first.split_off(max);
        inbox.push_front(rest);
        return first;
    }
    if !merge || inbox.is_empty() {
        return first;
    }
    let mut all = BytesMut::from(first);
    while inbox.front().is_some_and(|next| all.len() + next.len() <= max) {
        all.extend_from_slice(&inbox.pop_front().unwrap_or_default());
    }
    all.freeze()
}
