//! A machine among hostile peers, on a network, a disk and processes that do as the bytes say.
//!
//! Everything that the machine asks waits in a list until the bytes choose that it completes, well or not; most steps are
//! followed by a *settling*, in which all completes well and in order, so that the deep states are reached.

mod completions;
mod peers;

use super::contract::Contract;
use super::peer::{self, Peer};
use super::runs::Runs;
use super::source::Source;
use super::stream::Stream;
use super::words;
use bytes::Bytes;
use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;
use xxnet_core::connection::{Connections, KindId};
use xxnet_core::disk::DiskAction;
use xxnet_core::net::{NetAction, NetError, NetEvent};
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
