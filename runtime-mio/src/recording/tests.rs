//! Recordings of a registry, without a daemon.

use super::*;
use crate::driver::Observer;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use std::io::{self, Write};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use xxnet_core::machine::{Actions, Event, Machine};
use xxnet_core::net::{Endpoint, NetAction, NetEvent};
use xxnet_core::registry::{Registry, RegistryCommand, RegistryNotice};
use xxnet_core::state::Kept;
use xxnet_core::{Action, ClusterKey, Config, ExecutorConfig, InstanceId, Instant, LinkId, ListenerId};

const KEY: ClusterKey = ClusterKey([0xc5; 32]);

fn config() -> Config {
    Config::new(InstanceId([7; 16]), "seven", KEY, 11)
}

fn header() -> Header {
    Header::new(&config(), Subject::Registry, 1_700_000_000_000_000, Instant::from_micros(5_000_000))
}

type Paper = Arc<Mutex<Vec<u8>>>;

/// A shelf on a disk that takes only so many bytes.
#[derive(Clone, Default)]
struct Disk {
    /// The newest part, the one before, and the one that is begun.
    papers: Arc<Mutex<[Paper; 3]>>,
    room: usize,
}

impl Disk {
    fn new(room: usize) -> Self {
        Self { room, ..Self::default() }
    }

    fn part(&self, at: usize) -> Vec<u8> {
        self.papers.lock().unwrap()[at].lock().unwrap().clone()
    }

    fn bytes(&self) -> Vec<u8> {
        self.part(0)
    }

    /// Both parts, oldest first.
    fn both(&self) -> [Vec<u8>; 2] {
        [self.part(1), self.part(0)]
    }
}

impl Shelf for Disk {
    type Part = Pen;

    fn begin(&mut self) -> io::Result<Pen> {
        let mut papers = self.papers.lock().unwrap();
        (papers[1], papers[2]) = (Paper::default(), Paper::default());
        Ok(Pen { paper: Arc::clone(&papers[2]), disk: self.clone() })
    }

    fn turn(&mut self) -> io::Result<()> {
        let mut papers = self.papers.lock().unwrap();
        papers.rotate_right(1);
        papers[2] = Paper::default();
        Ok(())
    }
}

struct Pen {
    paper: Paper,
    disk: Disk,
}

impl Write for Pen {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        let used: usize = (0..3).map(|at| self.disk.part(at).len()).sum();
        let fits = data.len().min(self.disk.room - used);
        if fits == 0 && !data.is_empty() {
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.paper.lock().unwrap().extend(&data[..fits]);
        Ok(fits)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A registry that a driver has, with newcomers that talk nonsense, until it was told to end.
struct World {
    registry: Registry,
    recorder: Recorder<Disk>,
    told: Arc<Mutex<Vec<String>>>,
    now: Instant,
    given: u64,
}

impl World {
    fn new(disk: &Disk, limit: u64) -> Self {
        let told = Arc::new(Mutex::new(Vec::new()));
        let list = Arc::clone(&told);
        let recorder = Recorder::new(disk.clone(), &header(), limit, move |what| {
            list.lock().unwrap().push(format!("{what:?}"));
        });
        let now = Instant::from_micros(5_000_000);
        Self { registry: Registry::new(config()), recorder: recorder.unwrap(), told, now, given: 0 }
    }

    fn give(&mut self, event: Event<RegistryCommand>) -> Vec<NetAction> {
        let mut actions = Actions::new();
        self.now += Duration::from_millis(3);
        self.given += 1;
        self.recorder.event(self.now, &self.registry, &event);
        self.registry.handle(self.now, event, &mut actions);
        let mut asked = Vec::new();
        for action in actions.as_slice() {
            Observer::<Registry>::action(&mut self.recorder, self.now, action);
            if let Action::Net(action) = action {
                asked.push(action.clone());
            }
        }
        self.recorder.finished(self.now, &self.registry);
        asked
    }

    /// So many newcomers, each with as many bytes.
    fn newcomers(&mut self, number: u16, bytes: usize) {
        let (listener, mut asked) = self.listen();
        for port in 1..=number {
            self.newcomer(listener, port, bytes, &mut asked);
        }
    }

    fn listen(&mut self) -> (ListenerId, Vec<NetAction>) {
        let at = SocketAddr::from(([127, 0, 0, 1], 7700));
        let asked = self.give(Event::Command(RegistryCommand::Listen(at)));
        let [NetAction::Listen { listener, .. }] = asked[..] else { panic!("{asked:?}") };
        (listener, self.give(Event::Net(NetEvent::Listening { listener, address: at.into() })))
    }

    /// One more of them, on the accept that is armed.
    fn newcomer(&mut self, listener: ListenerId, port: u16, bytes: usize, asked: &mut Vec<NetAction>) {
        let link = self.arrives(listener, port, asked);
        self.give(Event::Net(NetEvent::Received { link, data: vec![b'G'; bytes].into() }));
        self.give(Event::Net(NetEvent::Closed { link }));
        self.give(Event::Tick);
    }

    fn arrives(&mut self, listener: ListenerId, port: u16, asked: &mut Vec<NetAction>) -> LinkId {
        let accept = asked.iter().find_map(|action| match action {
            NetAction::Accept { link, .. } => Some(*link),
            _ => None,
        });
        let link = accept.unwrap();
        let peer = Endpoint::from(SocketAddr::from(([127, 0, 0, 1], port)));
        let local = SocketAddr::from(([127, 0, 0, 1], 7700)).into();
        *asked = self.give(Event::Net(NetEvent::Accepted { listener, link, peer, local }));
        link
    }

    fn end(mut self) -> StateHash {
        self.recorder.ended(&self.registry);
        StateHash::of(&self.registry)
    }
}

/// The whole of a recording of some newcomers, and the state behind it.
fn recorded() -> (Vec<u8>, StateHash) {
    let disk = Disk::new(usize::MAX);
    let mut world = World::new(&disk, 1 << 20);
    world.newcomers(5, 40);
    let state = world.end();
    (disk.bytes(), state)
}

fn again(bytes: &[u8]) -> Option<Report> {
    again_all(&[bytes])
}

/// Parts, oldest first; `None` if the newest has no header.
fn again_all(all: &[&[u8]]) -> Option<Report> {
    let open = |bytes| Part::open(bytes).unwrap().ok();
    let parts = all.iter().map(|bytes| open(*bytes)).collect::<Option<Vec<_>>>()?;
    assert!(parts.iter().all(|part| part.header.part > 0 || part.header == header()));
    let report = replay(|| Registry::new(header().config(KEY).unwrap()), &KEY, parts);
    Some(report.unwrap())
}

/// The frames of a recording, one by one.
fn records(bytes: &[u8]) -> Vec<Record> {
    let mut reader = Reader::new(bytes).unwrap().unwrap();
    std::iter::from_fn(|| reader.read().unwrap()).collect()
}

fn written(records: &[Record]) -> Vec<u8> {
    let mut bytes = MAGIC.to_vec();
    assert!(records.iter().all(|record| record.put(&mut bytes)));
    bytes
}

#[test]
fn a_recorded_registry_does_the_same_again() {
    let (bytes, state) = recorded();
    let report = again(&bytes).unwrap();
    assert_eq!(report.verdict, Verdict::Same);
    assert_eq!((report.tail, report.state), (Tail::Whole, Some(state)));
    assert_eq!((report.events, report.states), (22, 1));
    assert!(report.actions > 10, "{report:?}");
    let (first, last) = report.span.unwrap();
    assert_eq!(last.since(first), Duration::from_millis(63));
    assert_eq!(written(&records(&bytes)), bytes);
}

#[test]
fn the_key_is_not_in_it_and_another_key_is_noticed() {
    let (bytes, _) = recorded();
    assert!(!bytes.windows(8).any(|window| window == &KEY.0[..8]));
    assert!(!String::from_utf8_lossy(&bytes).contains("197, 197"), "as JSON has lists");
    assert_eq!(header().config(ClusterKey([0xc4; 32])).unwrap_err(), HeaderError::WrongKey);
}

#[test]
fn cut_at_any_byte_what_is_whole_is_replayed() {
    let (bytes, _) = recorded();
    let (mut before, mut begun) = (0, 0);
    for cut in 0..bytes.len() {
        let Some(report) = again(&bytes[..cut]) else {
            begun = cut;
            continue;
        };
        assert_eq!(report.verdict, Verdict::Same, "at {cut}");
        assert!(matches!(report.tail, Tail::Cut(at) if at <= cut as u64), "at {cut}: {:?}", report.tail);
        assert!(report.events >= before, "at {cut}");
        before = report.events;
    }
    assert_eq!(before, 22);
    // All but the header is worth something.
    assert_eq!(again(&bytes[..=begun]).map(|report| report.events), Some(0));
}

#[test]
fn a_flipped_bit_is_damage_wherever_it_is() {
    let (bytes, _) = recorded();
    for at in 0..bytes.len() {
        let mut damaged = bytes.clone();
        damaged[at] ^= 1 << (at % 8);
        if let Some(report) = again(&damaged) {
            assert_eq!(report.verdict, Verdict::Same, "what stands before byte {at} is as it was");
            assert!(
                matches!(report.tail, Tail::Damaged(from) if from <= at as u64),
                "{at}: {:?}",
                report.tail
            );
        }
    }
    let report = again(&[&bytes[..], b"more"].concat()).unwrap();
    assert_eq!(report.tail, Tail::Damaged(bytes.len() as u64));
}

#[test]
fn a_frame_that_claims_the_world_takes_no_room() {
    let mut bytes = MAGIC.to_vec();
    for len in [super::frame::MOST, super::frame::MOST + 1, u32::MAX as usize] {
        bytes.truncate(MAGIC.len());
        bytes.extend(u32::try_from(len).unwrap().to_le_bytes());
        bytes.push(b'E');
        let check = crc32fast::hash(&bytes[MAGIC.len()..]);
        bytes.extend(check.to_le_bytes());
        let mut reader = Reader::new(&bytes[..]).unwrap().unwrap();
        assert_eq!(reader.read().unwrap(), None);
        let at = MAGIC.len() as u64;
        let wanted = if len > super::frame::MOST { Tail::Damaged(at) } else { Tail::Cut(at) };
        assert_eq!(reader.tail(), Some(wanted));
    }
}

#[test]
fn an_event_that_is_missing_is_a_divergence_with_a_name() {
    let (bytes, _) = recorded();
    let all = records(&bytes);
    // A tick more or less is harmless.
    let tick = Event::<RegistryCommand>::Tick.to_bytes();
    let is_event = |at: usize| matches!(&all[at], Record::Event { bytes, .. } if *bytes != tick);
    let mut named = 0;
    for gone in (1..all.len()).filter(|at| is_event(*at)) {
        let mut less = all.clone();
        less.drain(gone..gone + 2);
        let report = again(&written(&less)).unwrap();
        let Verdict::Diverged(divergence) = report.verdict else { panic!("{report:?}") };
        // Not before the event that is missing.
        assert!(divergence.event as usize >= (gone - 1) / 2, "{divergence:?}");
        if let Difference::Action { recorded, now, .. } = &divergence.difference {
            assert_ne!(recorded, now);
            named += 1;
        }
    }
    assert!(named > 5, "{named} differ in an action");
}

#[test]
fn what_was_recorded_otherwise_is_shown_beside_what_comes_now() {
    let (bytes, _) = recorded();
    let mut all = records(&bytes);
    let Some(Record::Actions(actions)) = all.iter_mut().find(|record| matches!(record, Record::Actions(_)))
    else {
        panic!("no actions")
    };
    actions[0].hash[3] ^= 1;
    actions[0].words = "Dance".to_owned();
    let report = again(&written(&all)).unwrap();
    let Verdict::Diverged(divergence) = report.verdict else { panic!("{report:?}") };
    assert_eq!((divergence.event, report.events), (1, 1), "nothing is tried behind it");
    assert!(divergence.words.starts_with("Command(Listen(127.0.0.1:7700"), "{divergence:?}");
    let Difference::Action { number: 1, recorded: Some(was), now: Some(is) } = divergence.difference else {
        panic!("{:?}", divergence.difference)
    };
    assert!(was == "Dance" && is.starts_with("Net(Listen"), "{was} {is}");
    assert_eq!(report.tail, Tail::Whole);
}

#[test]
fn an_event_of_another_version_is_told_apart() {
    let (bytes, _) = recorded();
    let mut all = records(&bytes);
    let strange = Record::Event { now: Instant::from_micros(9), bytes: vec![0xff; 9] };
    all.insert(3, strange);
    assert_eq!(again(&written(&all)).unwrap().verdict, Verdict::Unreadable(2));
}

/// A ring that has turned a few times.
fn turned(limit: u64) -> (Disk, u64, StateHash) {
    let disk = Disk::new(usize::MAX);
    let mut world = World::new(&disk, limit);
    world.newcomers(300, 700);
    assert!(world.told.lock().unwrap().is_empty(), "{:?}", world.told);
    let given = world.given;
    (disk, given, world.end())
}

#[test]
fn a_ring_that_has_turned_is_within_its_limit_and_replays_from_its_oldest_state() {
    for limit in [LEAST, LEAST + 977, LEAST + 5000] {
        let (disk, given, state) = turned(limit);
        let [before, newest] = disk.both();
        let part = Part::open(&newest[..]).unwrap().unwrap().header.part;
        assert!(part >= 4, "it has turned {part} times");
        let len = (before.len() + newest.len()) as u64;
        assert!(len <= limit && before.len() as u64 > limit / 2 - 6000, "{len} {limit}");
        let report = again_all(&[&before, &newest]).unwrap();
        assert_eq!((&report.verdict, report.tail, report.gap), (&Verdict::Same, Tail::Whole, None));
        assert_eq!((report.before + report.events, report.state), (given, Some(state)), "{report:?}");
        assert!(report.before > 50 && report.events > 50 && report.states >= 3, "{report:?}");
        // The newest alone.
        let last = again(&newest).unwrap();
        assert_eq!((&last.verdict, last.tail, last.state), (&Verdict::Same, Tail::Whole, Some(state)));
        assert_eq!(last.before + last.events, given);
        // What is between them is compared, too.
        assert!(last.actions < report.actions && last.states < report.states);
    }
}

#[test]
fn x4_cut_anywhere_a_ring_replays_from_its_oldest_state_to_its_last_event() {
    let (disk, ..) = turned(LEAST);
    let [before, newest] = disk.both();
    let first = again(&before).unwrap();
    assert_eq!((&first.verdict, first.tail), (&Verdict::Same, Tail::Turned));
    let mut reached = first.events;
    for cut in (0..newest.len()).step_by(97) {
        let Some(report) = again_all(&[&before, &newest[..cut]]) else { continue };
        assert_eq!((&report.verdict, report.gap), (&Verdict::Same, None), "at {cut}");
        assert!(matches!(report.tail, Tail::Cut(at) if at <= cut as u64), "at {cut}: {:?}", report.tail);
        assert!(report.events >= reached, "at {cut}");
        reached = report.events;
    }
    let whole = again_all(&[&before, &newest]).unwrap();
    assert!(reached > first.events && reached + 2 >= whole.events, "{reached} {whole:?}");
}

#[test]
fn however_many_actions_an_event_has_a_part_stays_within_its_half() {
    let disk = Disk::new(usize::MAX);
    let mut world = World::new(&disk, LEAST);
    let told = Action::Notify(RegistryNotice::Stopped);
    for round in 0..3000 {
        world.now += Duration::from_millis(1);
        world.recorder.event(world.now, &world.registry, &Event::Tick);
        for _ in 0..round % 331 {
            Observer::<Registry>::action(&mut world.recorder, world.now, &told);
        }
        world.recorder.finished(world.now, &world.registry);
        assert!(disk.part(1).len() as u64 <= LEAST / 2, "{round}");
        assert!(disk.bytes().len() as u64 <= LEAST / 2, "{round}");
    }
    assert!(world.told.lock().unwrap().is_empty());
    world.end();
    assert!(disk.bytes().len() as u64 <= LEAST / 2);
    // Nothing asked for that: it is a divergence, and all of it can be read.
    let report = again(&disk.bytes()).unwrap();
    assert!(matches!(report.verdict, Verdict::Diverged(_)) && report.tail == Tail::Whole, "{report:?}");
}

#[test]
fn a_damaged_older_part_is_told_and_the_newest_is_run_from_its_own_state() {
    let (disk, given, state) = turned(LEAST);
    let [before, newest] = disk.both();
    let state_ends = written(&records(&before)[..2]).len();
    for (at, some) in [(state_ends - 9, false), (state_ends + 40, false), (before.len() / 2, true)] {
        let mut damaged = before.clone();
        damaged[at] ^= 4;
        let report = again_all(&[&damaged, &newest]).unwrap();
        assert_eq!((&report.verdict, report.tail), (&Verdict::Same, Tail::Whole), "{at}");
        assert!(matches!(report.gap, Some(Tail::Damaged(from)) if from <= at as u64), "{at}: {report:?}");
        assert_eq!(report.state, Some(state));
        assert_eq!(report.events > again(&newest).unwrap().events, some);
        assert!(report.before + report.events < given);
    }
    let cut = again_all(&[&before[..before.len() / 2], &newest]).unwrap();
    assert!(cut.verdict == Verdict::Same && matches!(cut.gap, Some(Tail::Cut(_))), "{cut:?}");
    // A part that is of the same run, and not the one before.
    let (other, ..) = turned(LEAST + 5000);
    let report = again_all(&[&other.part(0), &newest]).unwrap();
    assert_eq!((&report.verdict, report.gap), (&Verdict::Same, Some(Tail::Whole)));
}

#[test]
fn a_divergence_in_a_later_part_has_the_number_that_the_event_has_in_the_run() {
    let (disk, ..) = turned(LEAST);
    let [before, newest] = disk.both();
    let all = records(&newest);
    let first = Part::open(&newest[..]).unwrap().unwrap().header.events;
    let tick = Event::<RegistryCommand>::Tick.to_bytes();
    let gone = all.iter().rposition(|r| matches!(r, Record::Event { bytes, .. } if *bytes != tick)).unwrap();
    let mut less = all.clone();
    less.drain(gone..gone + 2);
    let number = first + all[..gone].iter().filter(|r| matches!(r, Record::Event { .. })).count() as u64;
    for parts in [&[&before[..], &written(&less)][..], &[&written(&less)[..]]] {
        let Verdict::Diverged(divergence) = again_all(parts).unwrap().verdict else { panic!("the same") };
        assert!(divergence.event >= number && divergence.event <= number + 2, "{number} {divergence:?}");
    }
    // The state that a part begins with is not the one at the end of the part before.
    let mut other = Registry::new(config());
    let mut sink = Actions::new();
    other.handle(Instant::from_micros(1), Event::Command(RegistryCommand::Shutdown), &mut sink);
    let mut strange = all;
    strange[1] = Record::Machine(other.to_state());
    let report = again_all(&[&before, &written(&strange)]).unwrap();
    let Verdict::Diverged(divergence) = report.verdict else { panic!("{report:?}") };
    assert_eq!(divergence.event, first);
    assert!(matches!(divergence.difference, Difference::State { .. }), "{divergence:?}");
    // One that this version does not know.
    strange[1] = Record::Machine(vec![1; 99]);
    let report = again(&written(&strange)).unwrap();
    assert_eq!((report.verdict, report.state), (Verdict::UnreadableState(first + 1), None));
    strange.remove(1);
    assert_eq!(again(&written(&strange)).unwrap().verdict, Verdict::UnreadableState(first + 1));
}

#[test]
fn what_does_not_fit_is_a_pause_and_no_end() {
    let disk = Disk::new(usize::MAX);
    let mut world = World::new(&disk, LEAST);
    world.newcomers(3, 10);
    world.give(Event::Net(NetEvent::Received { link: LinkId(99), data: vec![1; 40_000].into() }));
    assert_eq!(again(&disk.bytes()).unwrap().tail, Tail::Paused);
    for _ in 0..100 {
        world.give(Event::Tick);
    }
    let told = Arc::clone(&world.told);
    assert!(
        told.lock().unwrap().len() == 1 && told.lock().unwrap()[0].starts_with("EventTooLarge(4"),
        "{told:?}"
    );
    world.now += Duration::from_secs(10);
    for _ in 0..30 {
        world.give(Event::Tick);
    }
    assert_eq!(told.lock().unwrap()[1..], ["GoesOn"]);
    let given = world.given;
    let state = world.end();
    let [before, newest] = disk.both();
    let report = again_all(&[&before, &newest]).unwrap();
    assert_eq!((&report.verdict, report.gap), (&Verdict::Same, Some(Tail::Paused)));
    assert_eq!((report.tail, report.state), (Tail::Whole, Some(state)));
    let last = again(&newest).unwrap();
    assert_eq!((last.before + last.events, last.events), (given, 30));
}

#[test]
fn a_state_that_is_too_large_is_a_pause_too() {
    let disk = Disk::new(usize::MAX);
    let mut world = World::new(&disk, LEAST);
    // Newcomers that say nothing and stay.
    let (listener, mut asked) = world.listen();
    for port in 1..=200 {
        world.arrives(listener, port, &mut asked);
    }
    let told = Arc::clone(&world.told);
    assert!(
        told.lock().unwrap().len() == 1 && told.lock().unwrap()[0].starts_with("StateTooLarge"),
        "{told:?}"
    );
    // They are gone after a while, and there is room again.
    for _ in 0..3 {
        world.now += Duration::from_secs(11);
        for action in world.give(Event::Tick) {
            if let NetAction::Close { link } = action {
                world.give(Event::Net(NetEvent::Closed { link }));
            }
        }
    }
    assert_eq!(told.lock().unwrap()[1..], ["GoesOn"]);
    let state = world.end();
    let [before, newest] = disk.both();
    assert!(before.len() + newest.len() <= LEAST as usize);
    let report = again_all(&[&before, &newest]).unwrap();
    assert_eq!(
        (&report.verdict, report.gap, report.state),
        (&Verdict::Same, Some(Tail::Paused), Some(state))
    );
}

#[test]
fn x5_a_disk_that_fills_up_at_a_turn_stops_the_recording_and_nothing_else() {
    let (whole, _, state) = turned(LEAST);
    let most = whole.both().concat().len();
    for room in (LEAST as usize / 2 - 2000..most).step_by(701) {
        let disk = Disk::new(room);
        let mut world = World::new(&disk, LEAST);
        world.newcomers(300, 700);
        let told = Arc::clone(&world.told);
        assert_eq!(world.end(), state, "the machine does what it does");
        let told = told.lock().unwrap();
        // A turn makes room for itself, so that not every disk is too small.
        assert!(told.is_empty() || told.len() == 1 && told[0].contains("StorageFull"), "{room}: {told:?}");
        let [before, newest] = disk.both();
        let parts: Vec<&[u8]> = [&before[..], &newest].into_iter().filter(|part| !part.is_empty()).collect();
        let report = again_all(&parts).unwrap();
        assert_eq!((&report.verdict, report.gap), (&Verdict::Same, None), "{room}");
        assert!(report.events > 50, "{room}: {report:?}");
    }
}

#[test]
fn the_key_is_in_no_state() {
    let (disk, ..) = turned(LEAST);
    for part in disk.both() {
        assert!(matches!(records(&part)[1], Record::Machine(_)));
        assert!(!part.windows(8).any(|window| window == &KEY.0[..8]));
    }
}

#[test]
fn states_are_compared_on_the_way() {
    let disk = Disk::new(usize::MAX);
    let mut world = World::new(&disk, 1 << 24);
    world.newcomers(600, 10);
    world.end();
    let report = again(&disk.bytes()).unwrap();
    assert_eq!(report.verdict, Verdict::Same);
    assert!(report.states >= 2, "{report:?}");
}

#[test]
fn x5_a_disk_that_is_full_stops_the_recording_and_nothing_else() {
    let (whole, state) = recorded();
    let begin = records(&whole);
    let least = written(&begin[..1]).len();
    for room in [least, least + 1, whole.len() / 2, whole.len() - 1] {
        let disk = Disk::new(room);
        let mut world = World::new(&disk, 1 << 20);
        world.newcomers(5, 40);
        let stopped = Arc::clone(&world.told);
        assert_eq!(world.end(), state);
        let stopped = stopped.lock().unwrap();
        assert!(stopped.len() == 1 && stopped[0].contains("StorageFull"), "told once: {stopped:?}");
        let report = again(&disk.bytes()).unwrap();
        assert_eq!(report.verdict, Verdict::Same);
        assert!(matches!(report.tail, Tail::Cut(_)), "{room}: {report:?}");
    }
}

#[test]
fn large_things_are_named_by_their_first_words() {
    let data = Bytes::from(vec![0; 8 << 20]);
    let event: Event<RegistryCommand> = Event::Net(NetEvent::Received { link: LinkId(1), data });
    let words = super::digest::words(&event);
    assert!(words.starts_with("Net(Received") && words.ends_with('…') && words.len() < 300, "{words}");
    let scoped: SocketAddr = "[fe80::1%7]:9".parse().unwrap();
    assert_eq!(super::digest::words(&scoped), "[fe80::1%7]:9");
}

#[test]
fn an_executors_settings_survive_with_their_scopes() {
    let settings = ExecutorConfig {
        registries: vec!["[fe80::1%3]:7700".parse().unwrap(), "host:1".parse().unwrap()],
        listen: "[fe80::2%4]:0".parse().unwrap(),
        advertise: Some("gateway.example:7701".parse().unwrap()),
        slots: 3,
        client: false,
        labels: vec![("gpu".to_owned(), String::new()), ("os".to_owned(), "linux".to_owned())],
        lease_only: true,
    };
    let header = Header::new(&config(), Subject::from(&settings), 1, Instant::ZERO);
    let read = Header::from_json(&header.to_json()).unwrap();
    assert_eq!(read, header);
    assert_eq!(read.subject.settings().unwrap(), Some(settings));
    let (was, is) = (config(), read.config(KEY).unwrap());
    assert_eq!(format!("{was:?}"), format!("{is:?}"));
    assert!(was.key == is.key);
}

#[test]
fn a_header_that_contradicts_itself_is_refused() {
    let text = String::from_utf8(header().to_json()).unwrap();
    assert!(Header::from_json(text.as_bytes()).is_ok());
    let wrong = text.replacen("\"blocks_ahead\":4", "\"blocks_ahead\":0", 1);
    assert_ne!(wrong, text);
    for text in [&wrong[..], "", "{}", "[1]", "null"] {
        assert_eq!(Header::from_json(text.as_bytes()), Err(HeaderError::Unreadable), "{text}");
    }
}

#[test]
fn an_event_is_written_before_the_machine_is_given_it() {
    let disk = Disk::new(usize::MAX);
    let mut world = World::new(&disk, 1 << 20);
    world.newcomers(1, 9);
    let before = StateHash::of(&world.registry);
    let shutdown = Event::Command(RegistryCommand::Shutdown);
    world.recorder.event(world.now, &world.registry, &shutdown);
    // Here the daemon is killed.
    let report = again(&disk.bytes()).unwrap();
    assert_eq!(report.events, 7);
    assert_eq!(report.verdict, Verdict::Same, "what it would have done is not known");
    assert!(matches!(report.tail, Tail::Cut(at) if at == disk.bytes().len() as u64), "{report:?}");
    assert_ne!(report.state, Some(before));
}

/// Panics at its third event.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Fuse {
    burnt: u32,
}

impl Kept for Fuse {
    fn set_key(&mut self, _key: &ClusterKey) {}
}

impl Machine for Fuse {
    type Command = RegistryCommand;
    type Notice = String;

    fn handle(&mut self, _now: Instant, _event: Event<RegistryCommand>, actions: &mut Actions<String>) {
        self.burnt += 1;
        actions.notify("Sparks".to_owned());
        assert!(self.burnt < 3, "the fuse is burnt");
    }

    fn deadline(&self) -> Option<Instant> {
        None
    }

    fn check_invariants(&self) {}
}

#[test]
fn a_panic_is_told_with_its_event_and_its_words() {
    let bytes = Event::<RegistryCommand>::Tick.to_bytes();
    let tick = |at| Record::Event { now: Instant::from_micros(at), bytes: bytes.clone() };
    let sparks = Record::Actions(vec![ActionDigest::of(&Action::Notify("Sparks".to_owned()), true)]);
    let header = Record::Header(header().to_json());
    let bytes = written(&[header, tick(1), sparks.clone(), tick(2), sparks, tick(3)]);
    let part = Part::open(&bytes[..]).unwrap().unwrap();
    let report = replay(Fuse::default, &KEY, vec![part]).unwrap();
    let Verdict::Diverged(divergence) = report.verdict else { panic!("{report:?}") };
    assert_eq!((divergence.event, divergence.words.as_str()), (3, "Tick"));
    assert_eq!(divergence.difference, Difference::Panic { text: "the fuse is burnt".to_owned() });
    assert_eq!((report.actions, report.state), (2, None));
}
