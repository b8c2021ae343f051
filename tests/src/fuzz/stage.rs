//! A machine among hostile peers, on a network, a disk and processes that do as the bytes say.
//!
//! Everything that the machine asks waits in a list until the bytes choose that it completes, well or not; most steps are
//! followed by a *settling*, in which all completes well and in order, so that the deep states are reached.

use super::contract::Contract;
use super::peer::{self, Peer};
use super::runs::Runs;
use super::source::Source;
use super::stream::Stream;
use super::words::{self, FILE_LEN, MANIFEST_LEN, On};
use bytes::Bytes;
use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;
use xxnet_core::connection::{ConnectionCommand, Connections, KindId};
use xxnet_core::disk::{BLOCK, Beside, DiskAction, DiskDone, DiskEvent, DiskRequest, Hash};
use xxnet_core::net::{Endpoint, NetAction, NetError, NetEvent};
use xxnet_core::pack::{DataPack, PackType};
use xxnet_core::{Action, Actions, ClusterKey, Config, Event, InstanceId, Instant, Limits, LinkId, Machine};

/// Steps of one story at most.
const STEPS: usize = 600;
/// Completions of one settling at most: two that answer each other for ever are cut short.
const SETTLING: usize = 400;
/// What a machine may have under way or keep waiting, whatever it is told, with the limits below.
const BOUND: usize = 2_000;
/// Peers with the right key.
const PEERS: usize = 3;

/// A machine, as the stage needs it.
pub(super) trait Subject: Machine + Sized {
    /// Kinds that peers dial it by.
    const KINDS: &'static [KindId];
    /// The machine.
    fn new(config: Config) -> Self;
    /// What its application asks at first.
    fn opening() -> Vec<Self::Command>;
    /// Anything that an application can ask later.
    fn command(source: &mut Source<'_>) -> Self::Command;
    /// What ends it; `None`: it ends by itself.
    fn closing() -> Option<Self::Command>;
    /// Links, listeners, look-ups and connections.
    fn census(&self) -> [usize; 4];
    /// What is under way.
    fn unfinished(&self) -> Vec<(&'static str, usize)>;
}

/// A request of the machine that has not completed.
#[derive(Debug)]
enum Pending {
    Net(NetAction),
    Disk(DiskAction),
}

struct Stage<M: Subject> {
    machine: M,
    now: Instant,
    contract: Contract,
    actions: Actions<M::Notice>,
    pending: VecDeque<Pending>,
    runs: Runs,
    peers: Vec<Peer>,
    streams: Vec<Stream>,
    /// Ids that a stray completion may name.
    links_seen: u64,
    /// What was asked and told so far, by name, if anybody wants to know.
    marks: Option<BTreeSet<String>>,
}

/// Limits that a short story can reach.
fn limits() -> Limits {
    let limits = Limits {
        max_data: 2 << 20,
        max_outbox: (2 << 20) + (64 << 10),
        high_water: 16 << 10,
        max_handshakes: 4,
        session_window: 4_096,
        session_queue: 48 << 10,
        max_file_requests: 3,
        output_credit: 64,
        input_replay: 128,
        max_tasks: 6,
        max_members: 3,
        ..Limits::default()
    };
    assert_eq!(limits.validate(), Ok(()));
    limits
}

fn config(instance: InstanceId, limits: &Limits) -> Config {
    let mut config = Config::new(instance, "node", ClusterKey([5; 32]), u64::from(instance.0[0]));
    config.limits = limits.clone();
    config
}

/// Plays the story that the bytes tell, then ends the machine and sees that nothing is left of it.
pub(super) fn play<M: Subject>(data: &[u8]) {
    _ = Stage::<M>::open(false).play(data);
}

/// The same, and tells what was asked and told on the way: how deep the story leads.
pub(super) fn marks<M: Subject>(data: &[u8]) -> BTreeSet<String> {
    Stage::<M>::open(true).play(data)
}

/// `Net(Send` of `Net(Send { link: …`; `Notify(Event(Received` of a notice within a notice.
fn mark(action: &impl std::fmt::Debug) -> String {
    // A disk request stands behind its number.
    let text = format!("{action:?}");
    let text = text.split_once("request: ").map_or(text.clone(), |(_, request)| format!("Disk({request}"));
    let names = text.split(|c: char| !c.is_alphanumeric() && c != '(').next().unwrap_or_default();
    names.trim_end_matches(|c: char| c == '(' || c.is_numeric()).to_string()
}

impl<M: Subject> Stage<M> {
    fn play(mut self, data: &[u8]) -> BTreeSet<String> {
        let mut source = Source::new(data);
        for _ in 0..STEPS {
            if source.is_empty() {
                break;
            }
            self.step(&mut source);
        }
        self.close()
    }

    fn open(marked: bool) -> Self {
        let limits = limits();
        let peer = |i| Peer::new(Connections::new(&config(peer::instance(i), &Limits::default())));
        let mut stage = Self {
            machine: M::new(config(InstanceId([1; 16]), &limits)),
            now: Instant::from_micros(1_000_000),
            contract: Contract::new(&limits),
            actions: Actions::new(),
            pending: VecDeque::new(),
            runs: Runs::default(),
            peers: (0..PEERS).map(peer).collect(),
            streams: Vec::new(),
            links_seen: 0,
            marks: marked.then(BTreeSet::new),
        };
        for i in 0..PEERS {
            let asked = stage.peers[i].open(i);
            stage.carry_peer(i, asked);
        }
        for command in M::opening() {
            stage.feed(Event::Command(command));
        }
        stage.settle();
        stage
    }

    // ---- the machine ----

    fn feed(&mut self, event: Event<M::Command>) {
        self.machine.handle(self.now, event, &mut self.actions);
        let asked: Vec<_> = self.actions.drain().collect();
        for action in asked {
            if let Some(marks) = &mut self.marks {
                marks.insert(mark(&action));
            }
            match action {
                Action::Net(action) => self.asked(action),
                Action::Disk(action) => {
                    self.contract.asked_disk(&action);
                    self.pending.push_back(Pending::Disk(action));
                }
                Action::Process(action) => self.runs.asked(&action),
                Action::Notify(_) => {}
            }
        }
        self.machine.check_invariants();
        let bytes = |what: &str| what.contains("bytes");
        let unfinished = self.machine.unfinished();
        let counts = unfinished.iter().filter(|(what, _)| !bytes(what)).map(|(_, count)| count);
        assert!(counts.sum::<usize>() < BOUND, "{unfinished:?}");
        let census = self.machine.census();
        assert!(census.iter().sum::<usize>() < BOUND, "{census:?}");
    }

    /// Something awaited, or nothing at all, happens on the network.
    fn net(&mut self, event: NetEvent) {
        if self.contract.awaits(&event) {
            self.contract.completed(&event);
            self.feed(Event::Net(event));
        }
    }

    fn asked(&mut self, action: NetAction) {
        self.contract.asked(&action);
        match &action {
            NetAction::Recv { .. } | NetAction::Accept { .. } => return,
            NetAction::Send { link, buffers } => {
                if let Some(stream) = self.streams.iter_mut().find(|stream| stream.machine == *link) {
                    buffers.iter().for_each(|buffer| stream.to_peer.extend_from_slice(buffer));
                }
            }
            NetAction::Close { link } => {
                self.links_seen = self.links_seen.max(link.0);
                self.pending.retain(
                    |pending| !matches!(pending, Pending::Net(other) if link_of(other) == Some(*link)),
                );
                self.end(*link);
            }
            NetAction::Shutdown { link } => self.end(*link),
            NetAction::Resolve { .. }
            | NetAction::Listen { .. }
            | NetAction::Unlisten { .. }
            | NetAction::Dial { .. } => {}
        }
        self.pending.push_back(Pending::Net(action));
    }

    /// The machine will say no more on this link.
    fn end(&mut self, link: LinkId) {
        if let Some(stream) = self.streams.iter_mut().find(|stream| stream.machine == link) {
            stream.machine_ended = true;
        }
    }

    // ---- completions ----

    fn complete(&mut self, at: usize, source: Option<&mut Source<'_>>) {
        let Some(pending) = self.pending.remove(at) else { return };
        match pending {
            Pending::Net(action) => self.complete_net(action, source),
            Pending::Disk(action) => self.complete_disk(action, source),
        }
    }

    /// Well, unless a source says otherwise.
    fn complete_net(&mut self, action: NetAction, source: Option<&mut Source<'_>>) {
        let error = source.and_then(|source| {
            let errors = [NetError::Refused, NetError::TimedOut, NetError::Exhausted, NetError::Reset];
            source.rarely(3).then(|| source.one(&errors))
        });
        match (action, error) {
            (NetAction::Resolve { query, port, .. }, error) => {
                let found = match port {
                    7000 => vec![([10, 0, 0, 3], 7000).into(), ([10, 0, 0, 9], 7000).into()],
                    _ => vec![([10, 0, 0, 9], port).into()],
                };
                self.net(NetEvent::Resolved { query, result: error.map_or(Ok(found), Err) });
            }
            (NetAction::Listen { listener, address }, None) => {
                self.net(NetEvent::Listening { listener, address });
            }
            (NetAction::Listen { listener, .. }, Some(error)) => {
                self.net(NetEvent::ListenFailed { listener, error });
            }
            (NetAction::Unlisten { listener }, _) => self.net(NetEvent::Unlistened { listener }),
            (NetAction::Dial { link, address }, None) => self.dialled(link, address),
            (NetAction::Dial { link, .. }, Some(error)) => self.net(NetEvent::DialFailed { link, error }),
            (NetAction::Send { link, .. }, Some(error)) => self.broke(link, error),
            (NetAction::Send { link, .. }, None) => self.net(NetEvent::Sent { link }),
            (NetAction::Shutdown { link }, _) => self.net(NetEvent::ShutdownDone { link }),
            (NetAction::Close { link }, _) => self.net(NetEvent::Closed { link }),
            (NetAction::Recv { .. } | NetAction::Accept { .. }, _) => {}
        }
    }

    /// The machine's dial succeeds: at a peer that listens there, or at a stranger.
    fn dialled(&mut self, link: LinkId, address: Endpoint) {
        let local = Endpoint::Ip(([10, 0, 0, 1], 40_000 + (link.0 % 10_000) as u16).into());
        let at = (0..PEERS).find(|i| peer::address(*i) == address);
        let accepting = at.and_then(|i| self.peers[i].accept.take().map(|armed| (i, armed)));
        let event = NetEvent::Dialed { link, peer: address.clone(), local: local.clone() };
        if !self.contract.awaits(&event) {
            return;
        }
        let end = accepting.map(|(i, (_, link))| (i, link));
        self.streams.push(Stream::new(link, end));
        if let Some((i, (listener, link))) = accepting {
            let asked = self.peers[i]
                .net(self.now, NetEvent::Accepted { listener, link, peer: local, local: address });
            self.carry_peer(i, asked);
        }
        self.net(event);
    }

    /// A link breaks; its peer learns it as an end.
    fn broke(&mut self, link: LinkId, error: NetError) {
        self.pending
            .retain(|pending| !matches!(pending, Pending::Net(other) if link_of(other) == Some(link)));
        self.end(link);
        self.net(NetEvent::Broken { link, error });
    }

    fn complete_disk(&mut self, action: DiskAction, source: Option<&mut Source<'_>>) {
        let mut odd = 0;
        let error = source.and_then(|source| {
            odd = source.number();
            source.rarely(3).then(|| words::file_error(source))
        });
        let opened = match &action.request {
            DiskRequest::OpenSource { tree, .. } | DiskRequest::OpenTarget { tree, .. } => Some(*tree),
            _ => None,
        };
        let done = match action.request {
            DiskRequest::OpenSource { .. } => DiskDone::Opened {
                // Sometimes a file of many blocks.
                stream_len: FILE_LEN + (odd % 3) * BLOCK,
                manifest_len: MANIFEST_LEN,
                stamp: odd,
            },
            DiskRequest::ReadBlock { .. } => {
                DiskDone::Block { data: Bytes::from(vec![0; FILE_LEN as usize]), hash: Hash([7; 32]) }
            }
            DiskRequest::ReadRoot { .. } => DiskDone::Root { root: Hash([7; 32]) },
            DiskRequest::Commit { .. } | DiskRequest::CommitCopy { .. } => {
                DiskDone::Committed { beside: Beside::default() }
            }
            // Sometimes there is something, and sometimes more than that.
            DiskRequest::OpenTarget { origin: Some(_), .. } if odd % 2 == 1 => {
                DiskDone::Resumed { blocks: odd % 5 }
            }
            DiskRequest::MakeFolder { .. }
            | DiskRequest::RemoveFolder { .. }
            | DiskRequest::OpenTarget { .. }
            | DiskRequest::WriteBlock { .. }
            | DiskRequest::CloseTree { .. } => DiskDone::Nothing,
        };
        if let (Some(tree), Some(_)) = (opened, &error) {
            self.contract.not_opened(tree);
        }
        assert!(self.contract.completed_disk(action.op));
        let result = error.map_or(Ok(done), Err);
        self.feed(Event::Disk(DiskEvent { op: action.op, result }));
    }

    // ---- the peers ----

    fn carry_peer(&mut self, i: usize, asked: Vec<NetAction>) {
        let mut todo = VecDeque::from(asked);
        while let Some(action) = todo.pop_front() {
            let at = |link: LinkId| move |stream: &&mut Stream| stream.peer == Some((i, link));
            let event = match action {
                NetAction::Listen { listener, address } => NetEvent::Listening { listener, address },
                NetAction::Unlisten { listener } => NetEvent::Unlistened { listener },
                NetAction::Resolve { query, .. } => {
                    NetEvent::Resolved { query, result: Err(NetError::NameNotFound) }
                }
                NetAction::Accept { listener, link } => {
                    self.peers[i].accept = Some((listener, link));
                    continue;
                }
                NetAction::Dial { link, address } => match self.contract.accepting() {
                    None => NetEvent::DialFailed { link, error: NetError::Refused },
                    Some((listener, accepted)) => {
                        let from = Endpoint::Ip(([10, 0, 0, i as u8 + 2], 40_000).into());
                        self.streams.push(Stream::new(accepted, Some((i, link))));
                        let (peer, local) = (from.clone(), address.clone());
                        self.net(NetEvent::Accepted { listener, link: accepted, peer, local });
                        NetEvent::Dialed { link, peer: address, local: from }
                    }
                },
                NetAction::Send { link, buffers } => {
                    if let Some(stream) = self.streams.iter_mut().find(at(link)) {
                        stream.say(peer::joined(&buffers));
                    }
                    NetEvent::Sent { link }
                }
                NetAction::Recv { link, max } => {
                    if let Some(stream) = self.streams.iter_mut().find(at(link)) {
                        stream.peer_recv = Some(max);
                    }
                    continue;
                }
                NetAction::Shutdown { link } => {
                    if let Some(stream) = self.streams.iter_mut().find(at(link)) {
                        stream.ended = true;
                    }
                    NetEvent::ShutdownDone { link }
                }
                NetAction::Close { link } => {
                    if let Some(stream) = self.streams.iter_mut().find(at(link)) {
                        stream.ended = true;
                        stream.peer = None;
                    }
                    NetEvent::Closed { link }
                }
            };
            todo.extend(self.peers[i].net(self.now, event));
        }
    }

    /// Gives a peer what the machine has said to it; whether there was anything.
    fn hear(&mut self, at: usize) -> bool {
        let stream = &mut self.streams[at];
        let Some((i, link)) = stream.peer else { return false };
        let Some(max) = stream.peer_recv else { return false };
        let event = if !stream.to_peer.is_empty() {
            let len = stream.to_peer.len().min(max);
            NetEvent::Received { link, data: stream.to_peer.split_to(len).freeze() }
        } else if stream.machine_ended && !stream.peer_told {
            stream.peer_told = true;
            NetEvent::PeerClosed { link }
        } else {
            return false;
        };
        stream.peer_recv = None;
        let asked = self.peers[i].net(self.now, event);
        self.carry_peer(i, asked);
        true
    }

    /// Gives the machine up to `most` of what was said to it; whether there was anything to give.
    fn deliver(&mut self, at: usize, most: usize) -> bool {
        let stream = &mut self.streams[at];
        let link = stream.machine;
        let Some(max) = self.contract.armed(link) else { return false };
        if !stream.to_machine.is_empty() {
            let len = stream.to_machine.len().min(max).min(most.max(1));
            let data = stream.to_machine.split_to(len).freeze();
            self.net(NetEvent::Received { link, data });
        } else if stream.ended && !stream.end_told {
            stream.end_told = true;
            self.net(NetEvent::PeerClosed { link });
        } else {
            return false;
        }
        true
    }

    /// Everything completes well, in order, until nothing is left to do.
    fn settle(&mut self) {
        for _ in 0..SETTLING {
            let mut went_on = !self.pending.is_empty();
            self.complete(0, None);
            for at in 0..self.streams.len() {
                went_on |= self.hear(at);
                went_on |= self.deliver(at, usize::MAX);
            }
            if let Some(event) = self.runs.due(false) {
                self.feed(Event::Process(event));
                went_on = true;
            }
            if !went_on {
                break;
            }
        }
        let open = self.contract.open_links();
        self.streams
            .retain(|stream| open.contains(&stream.machine) || (stream.peer.is_some() && !stream.peer_told));
    }

    fn tick(&mut self) {
        for _ in 0..50 {
            self.feed(Event::Tick);
            if self.machine.deadline().is_none_or(|at| at > self.now) {
                for i in 0..PEERS {
                    let asked = self.peers[i].tick(self.now);
                    self.carry_peer(i, asked);
                }
                return;
            }
        }
        panic!("it spins: {:?} at {:?}", self.machine.deadline(), self.now);
    }

    // ---- the story ----

    fn step(&mut self, source: &mut Source<'_>) {
        let choice = source.byte();
        match choice & 31 {
            0..=3 => {
                let command = M::command(source);
                self.feed(Event::Command(command));
            }
            4..=6 => self.peer_dials(source),
            7..=11 => self.peer_says(source),
            12..=17 => self.peer_answers(source),
            18 => {
                let at = source.below(self.pending.len());
                self.complete(at, Some(source));
            }
            19 => {
                if let Some(event) = self.runs.next(source) {
                    self.feed(Event::Process(event));
                }
            }
            20 => {
                let due = self.machine.deadline().unwrap_or(self.now);
                self.now = self.now.max(due);
                self.tick();
            }
            21 => {
                self.now += words::pause(source);
                self.tick();
            }
            // A tick too many is harmless.
            22 => self.tick(),
            23 => self.on_stream(source, |stream, source| stream.inject(&odd_pack(source))),
            24 => self.on_stream(source, |stream, source| stream.replay(source.below(8))),
            25 => self.on_stream(source, |stream, source| {
                let at = source.below(256);
                if let Some(byte) = stream.to_machine.get_mut(at) {
                    *byte ^= 1 << source.below(8);
                }
            }),
            26 => {
                self.on_stream(source, |stream, source| {
                    stream.to_machine.extend_from_slice(source.bytes(60));
                });
            }
            27 => self.on_stream(source, |stream, _| stream.ended = true),
            28 => {
                let open = self.contract.open_links();
                if !open.is_empty() {
                    self.broke(source.one(&open), NetError::Reset);
                }
            }
            29 if !self.streams.is_empty() => {
                let at = source.below(self.streams.len());
                let most = source.below(40);
                self.deliver(at, most);
            }
            30 => self.stray(source),
            _ => self.peer_does(source),
        }
        if choice < 192 {
            self.settle();
        }
    }

    fn on_stream(&mut self, source: &mut Source<'_>, change: impl FnOnce(&mut Stream, &mut Source<'_>)) {
        if !self.streams.is_empty() {
            let at = source.below(self.streams.len());
            change(&mut self.streams[at], source);
        }
    }

    fn peer_dials(&mut self, source: &mut Source<'_>) {
        let kind = if source.rarely(8) { source.one(&peer::KINDS) } else { source.one(M::KINDS) };
        let (i, now) = (source.below(PEERS), self.now);
        let asked = self.peers[i].dial(now, kind, Endpoint::Ip(([10, 0, 0, 1], 7000).into()));
        self.carry_peer(i, asked);
    }

    /// Any message, on any connection.
    fn peer_says(&mut self, source: &mut Source<'_>) {
        let (i, now) = (source.below(PEERS), self.now);
        let connected = self.peers[i].connected.clone();
        if connected.is_empty() {
            return;
        }
        let (id, ..) = source.one(&connected);
        let pack = if source.rarely(8) {
            DataPack::new(PackType((source.number() as u16).max(16)), source.bytes(60).to_vec())
        } else {
            words::any(source, now).into_pack()
        };
        let asked = self.peers[i].send(now, id, pack);
        self.carry_peer(i, asked);
    }

    /// What follows from something that was heard.
    fn peer_answers(&mut self, source: &mut Source<'_>) {
        let (i, now) = (source.below(PEERS), self.now);
        let peer = &mut self.peers[i];
        if peer.heard.is_empty() {
            return;
        }
        let back = source.below(peer.heard.len().min(4));
        let (on, heard) = peer.heard[peer.heard.len() - 1 - back].clone();
        let files = peer.connected.iter().rposition(|row| row.1 == KindId::FILE);
        let far = files.map_or(xxnet_core::ConnectionId(0), |at| peer.far[at]);
        let Some((which, message)) = words::answer(source, now, &heard, far) else { return };
        let id = match which {
            On::Same => on,
            On::Files => files.map_or(on, |at| peer.connected[at].0),
            On::Tasks => peer.connected.iter().rfind(|row| row.1 == KindId::TASK).map_or(on, |row| row.0),
        };
        let asked = peer.send(now, id, message.into_pack());
        self.carry_peer(i, asked);
    }

    /// A peer's application does something to a connection.
    fn peer_does(&mut self, source: &mut Source<'_>) {
        let (i, now) = (source.below(PEERS), self.now);
        let connected = self.peers[i].connected.clone();
        if connected.is_empty() {
            return;
        }
        let (id, _, sequence) = source.one(&connected);
        let token = xxnet_core::Token(0);
        let command = match source.below(6) {
            0 => ConnectionCommand::Close { token, id },
            1 => ConnectionCommand::Pause { id },
            2 => ConnectionCommand::Resume { id },
            3 => ConnectionCommand::Ping { token, id },
            _ => ConnectionCommand::Taken { id, sequence },
        };
        let asked = self.peers[i].command(now, command);
        self.carry_peer(i, asked);
    }

    /// A completion that nobody waits for changes nothing.
    fn stray(&mut self, source: &mut Source<'_>) {
        let link = LinkId(source.number().min(self.links_seen + 2));
        let event = match source.below(6) {
            0 => NetEvent::Sent { link },
            1 => NetEvent::Closed { link },
            2 => NetEvent::ShutdownDone { link },
            3 => NetEvent::Broken { link, error: NetError::Reset },
            4 => NetEvent::DialFailed { link, error: NetError::Refused },
            _ => NetEvent::Received { link, data: Bytes::from_static(b"late") },
        };
        // A link that is there may hear much at any time, and one that is being closed only that.
        if !self.contract.knows(link) {
            self.feed(Event::Net(event));
        }
    }

    // ---- the end ----

    /// The machine is ended; with everything completed, nothing may be left.
    fn close(mut self) -> BTreeSet<String> {
        self.settle();
        if let Some(command) = M::closing() {
            self.feed(Event::Command(command));
        }
        for _ in 0..3_000 {
            self.settle();
            if self.pending.is_empty()
                && self.runs.len() == 0
                && self.machine.census()[..3] == [0; 3]
                && self.contract.owed() == [0; 4]
            {
                return self.marks.unwrap_or_default();
            }
            if let Some(event) = self.runs.due(true) {
                self.feed(Event::Process(event));
                continue;
            }
            let wait = Duration::from_secs(1);
            self.now = self.machine.deadline().map_or(self.now + wait, |due| due.max(self.now));
            self.tick();
        }
        let (census, owed) = (self.machine.census(), self.contract.owed());
        panic!(
            "it never ends: {census:?}, {owed:?}, {} runs, {:?}",
            self.runs.len(),
            self.machine.unfinished()
        );
    }
}

/// A link's own pack that an honest machine would not say now.
fn odd_pack(source: &mut Source<'_>) -> DataPack {
    let mut pack = DataPack::new(PackType(u16::from(source.byte() % 18)), source.bytes(40).to_vec());
    if source.rarely(2) {
        pack.head = Bytes::copy_from_slice(&source.number().to_le_bytes());
    }
    (pack.sequence, pack.acknowledgement) = (source.number(), source.number());
    if source.rarely(8) {
        pack.bulk.push(Bytes::from_static(b"bulk"));
    }
    pack
}

fn link_of(action: &NetAction) -> Option<LinkId> {
    match action {
        NetAction::Dial { link, .. }
        | NetAction::Send { link, .. }
        | NetAction::Recv { link, .. }
        | NetAction::Shutdown { link }
        | NetAction::Close { link }
        | NetAction::Accept { link, .. } => Some(*link),
        NetAction::Resolve { .. } | NetAction::Listen { .. } | NetAction::Unlisten { .. } => None,
    }
}
