//! Recordings of a registry, without a daemon.

use super::*;
use crate::driver::Observer;
use bytes::Bytes;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use xxnet_core::machine::{Actions, Event, Machine};
use xxnet_core::net::{Endpoint, NetAction, NetEvent};
use xxnet_core::registry::{Registry, RegistryCommand};
use xxnet_core::{Action, ClusterKey, Config, ExecutorConfig, InstanceId, Instant};

const KEY: ClusterKey = ClusterKey([0xc5; 32]);

fn config() -> Config {
    Config::new(InstanceId([7; 16]), "seven", KEY, 11)
}

fn header() -> Header {
    Header::new(&config(), Subject::Registry, 1_700_000_000_000_000)
}

/// A file that takes only so many bytes.
#[derive(Clone, Default)]
struct Disk {
    bytes: Arc<Mutex<Vec<u8>>>,
    room: usize,
}

impl Disk {
    fn new(room: usize) -> Self {
        Self { room, ..Self::default() }
    }

    fn bytes(&self) -> Vec<u8> {
        self.bytes.lock().unwrap().clone()
    }
}

impl Write for Disk {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        let mut bytes = self.bytes.lock().unwrap();
        let fits = data.len().min(self.room - bytes.len());
        if fits == 0 && !data.is_empty() {
            return Err(io::ErrorKind::StorageFull.into());
        }
        bytes.extend(&data[..fits]);
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
    stopped: Arc<Mutex<Vec<String>>>,
    now: Instant,
}

impl World {
    fn new(disk: &Disk, limit: u64) -> Self {
        let stopped = Arc::new(Mutex::new(Vec::new()));
        let told = Arc::clone(&stopped);
        let recorder = Recorder::new(disk.clone(), &header(), limit, move |why| {
            told.lock().unwrap().push(format!("{why:?}"));
        });
        let now = Instant::from_micros(5_000_000);
        Self { registry: Registry::new(config()), recorder: recorder.unwrap(), stopped, now }
    }

    fn give(&mut self, event: Event<RegistryCommand>) -> Vec<NetAction> {
        let mut actions = Actions::new();
        self.now += Duration::from_millis(3);
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
        let at = SocketAddr::from(([127, 0, 0, 1], 7700));
        let asked = self.give(Event::Command(RegistryCommand::Listen(at)));
        let [NetAction::Listen { listener, .. }] = asked[..] else { panic!("{asked:?}") };
        let mut asked = self.give(Event::Net(NetEvent::Listening { listener, address: at.into() }));
        for port in 1..=number {
            let accept = asked.iter().find_map(|action| match action {
                NetAction::Accept { link, .. } => Some(*link),
                _ => None,
            });
            let link = accept.unwrap();
            let peer = Endpoint::from(SocketAddr::from(([127, 0, 0, 1], port)));
            asked = self.give(Event::Net(NetEvent::Accepted { listener, link, peer, local: at.into() }));
            let again = asked.clone();
            self.give(Event::Net(NetEvent::Received { link, data: vec![b'G'; bytes].into() }));
            self.give(Event::Net(NetEvent::Closed { link }));
            self.give(Event::Tick);
            asked = again;
        }
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
    let mut reader = Reader::new(bytes).unwrap()?;
    let Some(Record::Header(json)) = reader.read().unwrap() else { return None };
    assert_eq!(Header::from_json(&json).unwrap(), header());
    Some(replay(Registry::new(header().config(KEY).unwrap()), &mut reader).unwrap())
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

#[test]
fn a_full_recording_stops_within_its_limit_and_replays() {
    for limit in [LEAST, LEAST + 977, LEAST + 5000] {
        let disk = Disk::new(usize::MAX);
        let mut world = World::new(&disk, limit);
        world.newcomers(300, 700);
        assert_eq!(*world.stopped.lock().unwrap(), ["Full"]);
        world.end();
        let bytes = disk.bytes();
        assert!(bytes.len() as u64 <= limit && bytes.len() as u64 > limit - 2000, "{} {limit}", bytes.len());
        let report = again(&bytes).unwrap();
        assert_eq!((report.verdict, report.tail), (Verdict::Same, Tail::Full));
        assert!(report.events > 50 && report.states >= 1);
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
        let stopped = Arc::clone(&world.stopped);
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
    let event: Event<RegistryCommand> = Event::Net(NetEvent::Received { link: xxnet_core::LinkId(1), data });
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
    let header = Header::new(&config(), Subject::from(&settings), 1);
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
#[derive(Debug, Default)]
struct Fuse {
    burnt: u32,
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
    let all = [tick(1), sparks.clone(), tick(2), sparks, tick(3)];
    let bytes = written(&all);
    let mut reader = Reader::new(&bytes[..]).unwrap().unwrap();
    let report = replay(Fuse::default(), &mut reader).unwrap();
    let Verdict::Diverged(divergence) = report.verdict else { panic!("{report:?}") };
    assert_eq!((divergence.event, divergence.words.as_str()), (3, "Tick"));
    assert_eq!(divergence.difference, Difference::Panic { text: "the fuse is burnt".to_owned() });
    assert_eq!((report.actions, report.state), (2, None));
}
