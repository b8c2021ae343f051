//! The network as it really behaves: listeners with backlogs, connects in three steps that can each be lost, streams with
//! delay, window and odd pieces, and every way in which they end.
//!
//! It knows bytes and addresses and nothing of the protocol. A connect request, its answer and the acceptance are separate:
//! so *refused*, *no answer* and *only one end believes it is connected* are three things.

mod dial;
mod end;
mod stream;
mod tables;

pub(crate) use stream::Direction;

use crate::choices::Place;
use crate::clock::{MILLI, Micros, SECOND};
use crate::context::{Context, HostId, Item, ProcId};
use crate::fault::Fault;
use bytes::Bytes;
use core::net::SocketAddr;
use std::collections::{BTreeMap, VecDeque};
use tables::{Links, Streams};
use xxnet_core::net::{Endpoint, NetAction, NetError, NetEvent};
use xxnet_core::{Event, LinkId, ListenerId};

/// A TCP connection of the world, from the connect request on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct StreamId(u64);

/// Inside the network.
#[derive(Clone, Copy, Debug)]
pub(crate) enum NetItem {
    /// A connect request arrives; how often it was sent.
    Request(StreamId, u32),
    /// Its answer arrives.
    Answer(StreamId, Answer),
    /// The dialler's acceptance of the answer arrives.
    Acceptance(StreamId),
    /// The first bytes in a direction arrive.
    Flow(StreamId, usize, u32),
    /// A sender that waits for room hears of what was read: its end.
    Room(StreamId, usize),
    /// A reset arrives at an end.
    Reset(StreamId, usize),
    /// What a dialler sent is sent again by a stranger.
    Replay(StreamId),
}

impl NetItem {
    pub(crate) fn stream(self) -> StreamId {
        match self {
            Self::Request(id, _)
            | Self::Answer(id, _)
            | Self::Acceptance(id)
            | Self::Flow(id, ..)
            | Self::Room(id, _)
            | Self::Reset(id, _)
            | Self::Replay(id) => id,
        }
    }
}

/// What a machine is told now.
pub(crate) type Told = (ProcId, NetEvent);

/// What a connect request is answered with.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Answer {
    Taken,
    Refused,
    Unreachable,
}

/// Who holds an end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Holder {
    /// A machine's link.
    Machine(ProcId, LinkId),
    /// The kernel: connected, not accepted yet.
    Backlog,
    /// A stranger of the world's own, who sends and never reads.
    Stranger,
    /// Nobody: closed, broken, or its process or host is gone.
    Nobody,
}

/// Where an end stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum EndState {
    /// Waiting for the answer (dialler) or the acceptance (acceptor).
    Opening,
    Open,
    Gone,
}

#[derive(Debug)]
struct End {
    host: HostId,
    holder: Holder,
    state: EndState,
    address: SocketAddr,
    /// Arrived and not read.
    inbox: VecDeque<Bytes>,
    inbox_len: usize,
    /// The peer's end of stream has arrived.
    ended: bool,
    end_told: bool,
    /// An armed read.
    recv: Option<usize>,
    /// The rest of the send under way, which no window has taken yet.
    outgoing: VecDeque<Bytes>,
    sending: bool,
    /// No event of this link is delivered before this moment: order within a link.
    told_at: Micros,
}

#[derive(Debug)]
struct Stream {
    ends: [End; 2],
    /// `ways[i]` carries what `ends[i]` sends.
    ways: [Direction; 2],
    /// The dial was answered by an accident of its own.
    fate: Fate,
    /// What the dialler sent first, for a replay.
    recorded: Vec<Bytes>,
    /// Where its draws belong.
    place: Place,
}

impl Stream {
    /// The machines' links at its ends.
    fn held(&self) -> impl Iterator<Item = (ProcId, LinkId)> {
        self.ends.iter().filter_map(|end| match end.holder {
            Holder::Machine(proc, link) => Some((proc, link)),
            Holder::Backlog | Holder::Stranger | Holder::Nobody => None,
        })
    }
}

/// What happens to a dial.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Normal,
    Refused,
    Hangs,
    AnswerLost,
    AcceptanceLost,
}

#[derive(Debug)]
struct Listener {
    owner: ProcId,
    host: HostId,
    id: ListenerId,
    address: SocketAddr,
    backlog: VecDeque<StreamId>,
    armed: Option<LinkId>,
    /// When the last newcomer is told: that it is closed comes behind.
    told_at: Micros,
    capacity: usize,
}

/// All sockets of the world.
#[derive(Debug, Default)]
pub(crate) struct Net {
    streams: Streams,
    links: Links,
    listeners: Vec<Listener>,
    names: BTreeMap<String, HostId>,
    /// How often one host has dialled another.
    dials: BTreeMap<(HostId, HostId), u64>,
    last_port: u16,
}

/// Ports given out to diallers and to listeners on port 0.
const FIRST_PORT: u16 = 32_768;
const BACKLOG: usize = 16;

impl Net {
    /// A host name that resolves.
    pub(crate) fn name(&mut self, name: impl Into<String>, host: HostId) {
        self.names.insert(name.into(), host);
    }

    /// Carries out a request.
    pub(crate) fn act(&mut self, ctx: &mut Context, proc: ProcId, host: HostId, action: NetAction) {
        match action {
            NetAction::Resolve { query, host: name, port } => {
                let mut delay = ctx.choices.between(200, 5 * MILLI);
                let mut result = match self.names.get(&name) {
                    Some(host) => Ok(vec![host.socket(port)]),
                    None => Err(NetError::NameNotFound),
                };
                if ctx.fault(Fault::NameFails, 50) {
                    delay += ctx.value(0, 8 * SECOND);
                    if ctx.value(0, 9) >= 3 {
                        result = Err(NetError::NameNotFound);
                    }
                }
                ctx.after(delay, deliver(proc, NetEvent::Resolved { query, result }));
            }
            NetAction::Listen { listener, address: Endpoint::Ip(address) } => {
                self.listen(ctx, proc, host, listener, address);
            }
            // There are no Unix sockets in this world.
            NetAction::Listen { listener, address: Endpoint::Unix(_) } => {
                let lag = ctx.lag();
                let error = NetError::AddressNotAvailable;
                ctx.after(lag, deliver(proc, NetEvent::ListenFailed { listener, error }));
            }
            NetAction::Dial { link, address: Endpoint::Unix(_) } => {
                self.links.insert(proc, link, (StreamId(0), 0));
                let lag = ctx.lag();
                let error = NetError::AddressNotAvailable;
                ctx.after(lag, deliver(proc, NetEvent::DialFailed { link, error }));
            }
            NetAction::Accept { listener, link } => {
                let found = self.listeners.iter_mut().find(|l| l.owner == proc && l.id == listener);
                if let Some(entry) = found {
                    assert!(entry.armed.is_none(), "{listener}: a second accept is armed");
                    entry.armed = Some(link);
                    self.accept(ctx, proc, listener);
                }
            }
            NetAction::Unlisten { listener } => {
                let found = self.listeners.iter().find(|l| l.owner == proc && l.id == listener);
                let told_at = found.map_or(0, |entry| entry.told_at);
                self.drop_listener(ctx, proc, Some(listener));
                let at = told_at.max(ctx.now + ctx.lag());
                ctx.at(at, deliver(proc, NetEvent::Unlistened { listener }));
            }
            NetAction::Dial { link, address: Endpoint::Ip(address) } => {
                self.dial(ctx, proc, host, link, address);
            }
            NetAction::Send { link, buffers } => self.send(ctx, proc, link, buffers),
            NetAction::Recv { link, max } => self.recv(ctx, proc, link, max),
            NetAction::Shutdown { link } => self.shutdown(ctx, proc, link),
            NetAction::Close { link } => self.close(ctx, proc, link),
        }
    }

    /// Something inside goes on. Answers what a machine is told of it at once.
    pub(crate) fn proceed(&mut self, ctx: &mut Context, item: NetItem) -> Option<Told> {
        if let Some(stream) = self.streams.get(item.stream()) {
            ctx.choices.enter(stream.place);
        }
        let mut told = None;
        match item {
            NetItem::Request(id, sent) => self.request_arrives(ctx, id, sent),
            NetItem::Answer(id, answer) => self.answer_arrives(ctx, id, answer),
            NetItem::Acceptance(id) => self.acceptance_arrives(ctx, id),
            NetItem::Flow(id, way, tries) => told = self.flow(ctx, id, way, tries),
            NetItem::Room(id, end) => self.room(ctx, id, end),
            NetItem::Reset(id, end) => self.reset_arrives(ctx, id, end),
            NetItem::Replay(id) => self.replay(ctx, id),
        }
        if let NetItem::Flow(id, ..) | NetItem::Reset(id, _) | NetItem::Answer(id, _) = item {
            self.forget_if_over(id);
        }
        told
    }

    /// Whether an event still reaches its machine, now that it would: nothing but its end is told of a link that was closed.
    pub(crate) fn delivers(&mut self, proc: ProcId, event: &NetEvent) -> bool {
        match event {
            NetEvent::Received { link, .. }
            | NetEvent::Sent { link }
            | NetEvent::PeerClosed { link }
            | NetEvent::ShutdownDone { link }
            | NetEvent::Dialed { link, .. } => self.links.get(proc, *link).is_some(),
            // Its last word, unless it was closed before it came.
            NetEvent::Broken { link, .. } | NetEvent::DialFailed { link, .. } => {
                self.links.remove(proc, *link).is_some()
            }
            NetEvent::Resolved { .. }
            | NetEvent::Listening { .. }
            | NetEvent::ListenFailed { .. }
            | NetEvent::Accepted { .. }
            | NetEvent::AcceptFailed { .. }
            | NetEvent::Unlistened { .. }
            | NetEvent::Closed { .. } => true,
        }
    }

    /// The machines' links at the ends of a stream.
    pub(crate) fn links_of(&self, id: StreamId) -> Vec<(ProcId, LinkId)> {
        self.streams.get(id).into_iter().flat_map(Stream::held).collect()
    }

    /// The machines' links between two hosts.
    pub(crate) fn links_between(&self, from: HostId, to: HostId) -> Vec<(ProcId, LinkId)> {
        let between = |stream: &&Stream| {
            let hosts = [stream.ends[0].host, stream.ends[1].host];
            hosts == [from, to] || hosts == [to, from]
        };
        self.streams.iter().map(|(_, stream)| stream).filter(between).flat_map(Stream::held).collect()
    }

    /// Links and listeners that a process holds.
    pub(crate) fn held_by(&self, proc: ProcId) -> (usize, usize) {
        (self.links.count(proc), self.listeners.iter().filter(|listener| listener.owner == proc).count())
    }

    /// A process has died. Its kernel ends its streams at once; its listening sockets stay with its supervisor.
    pub(crate) fn process_died(&mut self, ctx: &mut Context, proc: ProcId) {
        for (id, end) in self.links.take(proc) {
            self.end_by_kernel(ctx, id, end);
        }
        for listener in self.listeners.iter_mut().filter(|listener| listener.owner == proc) {
            listener.armed = None;
        }
    }

    /// A host has lost its power: nobody is told.
    pub(crate) fn host_died(&mut self, host: HostId, procs: &[ProcId]) {
        for stream in self.streams.values_mut() {
            for end in &mut stream.ends {
                if end.host == host {
                    end.vanish();
                }
            }
        }
        procs.iter().for_each(|proc| drop(self.links.take(*proc)));
        self.listeners.retain(|listener| listener.host != host);
    }

    /// The listening sockets of a process are closed; who waits in their backlogs is reset.
    pub(crate) fn close_listeners(&mut self, ctx: &mut Context, proc: ProcId) {
        self.drop_listener(ctx, proc, None);
    }

    /// The world heals: plans for later breaks are void, what is black-holed stays so.
    pub(crate) fn heal(&mut self) {
        for stream in self.streams.values_mut() {
            stream.ways.iter_mut().for_each(Direction::heal);
        }
    }

    fn listen(
        &mut self,
        ctx: &mut Context,
        proc: ProcId,
        host: HostId,
        listener: ListenerId,
        address: SocketAddr,
    ) {
        let mut address = address;
        if address.port() == 0 {
            address.set_port(self.next_port());
        }
        let local = address.ip().is_unspecified() || address.ip() == host.ip();
        let taken = self.listeners.iter().any(|other| {
            let same_ip = other.address.ip() == address.ip()
                || other.address.ip().is_unspecified()
                || address.ip().is_unspecified();
            other.host == host && other.address.port() == address.port() && same_ip
        });
        let event = if !local {
            NetEvent::ListenFailed { listener, error: NetError::AddressNotAvailable }
        } else if taken {
            NetEvent::ListenFailed { listener, error: NetError::AddressInUse }
        } else {
            self.listeners.push(Listener {
                owner: proc,
                host,
                id: listener,
                address,
                backlog: VecDeque::new(),
                armed: None,
                told_at: 0,
                capacity: BACKLOG,
            });
            NetEvent::Listening { listener, address: address.into() }
        };
        let lag = ctx.lag();
        ctx.after(lag, deliver(proc, event));
    }

    fn drop_listener(&mut self, ctx: &mut Context, proc: ProcId, which: Option<ListenerId>) {
        let gone = |l: &Listener| l.owner == proc && which.is_none_or(|id| id == l.id);
        let waiting: Vec<StreamId> =
            self.listeners.iter().filter(|l| gone(l)).flat_map(|l| l.backlog.iter().copied()).collect();
        self.listeners.retain(|listener| !gone(listener));
        for id in waiting {
            self.end_by_kernel(ctx, id, 1);
        }
    }

    fn next_port(&mut self) -> u16 {
        self.last_port =
            if self.last_port < FIRST_PORT { FIRST_PORT } else { self.last_port.wrapping_add(1) };
        self.last_port.max(FIRST_PORT)
    }

    /// A stream is over when nobody holds an end and nothing is under way.
    fn forget_if_over(&mut self, id: StreamId) {
        let over = self.streams.get(id).is_some_and(|stream| {
            stream.ends.iter().all(|end| end.state == EndState::Gone)
                && stream.ways.iter().all(Direction::is_empty)
        });
        if over {
            self.streams.remove(id);
        }
    }
}

/// An event on its way to a machine.
fn deliver(proc: ProcId, event: NetEvent) -> Item {
    Item::Deliver(proc, Event::Net(event))
}
