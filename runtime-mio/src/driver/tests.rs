//! Whole loops around toy machines.

use super::*;
use crate::handle::SendError;
use std::cell::Cell;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::rc::Rc;
use std::sync::mpsc;
use std::thread;
use xxnet_core::disk::{DiskDone, DiskRequest, Source};
use xxnet_core::net::Endpoint;
use xxnet_core::process::RunSpec;
use xxnet_core::{
    AttemptNumber, FolderId, InstanceId, Instant, LinkId, ListenerId, OpId, RunId, TaskId, TreeId,
};

mod transfer;

const LISTENER: ListenerId = ListenerId(1);

/// Sends back what it gets, on every link.
#[derive(Default)]
struct Echo {
    links: u64,
}

#[derive(Debug)]
enum Ask {
    Listen,
    Stop,
}

#[derive(Debug)]
enum Told {
    Listening(SocketAddr),
    Stopping,
}

impl Echo {
    fn accept(&mut self, actions: &mut Actions<Told>) {
        let link = LinkId::next(&mut self.links);
        actions.net(NetAction::Accept { listener: LISTENER, link });
    }
}

impl Machine for Echo {
    type Command = Ask;
    type Notice = Told;

    fn handle(&mut self, _now: Instant, event: Event<Ask>, actions: &mut Actions<Told>) {
        const MAX: usize = 1 << 20;
        match event {
            Event::Command(Ask::Listen) => {
                let address = Endpoint::Ip((Ipv4Addr::LOCALHOST, 0).into());
                actions.net(NetAction::Listen { listener: LISTENER, address });
            }
            Event::Command(Ask::Stop) => actions.notify(Told::Stopping),
            Event::Net(NetEvent::Listening { address, .. }) => {
                actions.notify(Told::Listening(address.socket().unwrap()));
                self.accept(actions);
            }
            Event::Net(NetEvent::Accepted { link, .. }) => {
                actions.net(NetAction::Recv { link, max: MAX });
                self.accept(actions);
            }
            Event::Net(NetEvent::Received { link, data }) => {
                actions.net(NetAction::Send { link, buffers: vec![data] });
            }
            Event::Net(NetEvent::Sent { link }) => actions.net(NetAction::Recv { link, max: MAX }),
            Event::Net(NetEvent::PeerClosed { link }) => actions.net(NetAction::Close { link }),
            Event::Net(_) | Event::Tick | Event::Disk(_) | Event::Process(_) => {}
        }
    }

    fn deadline(&self) -> Option<Instant> {
        None
    }

    fn check_invariants(&self) {}
}

/// Runs an echo on a thread of its own while `work` has its address.
fn with_echo<T>(work: impl FnOnce(SocketAddr) -> T) -> T {
    let (tell, told) = std::sync::mpsc::channel();
    let run = thread::spawn(move || {
        let mut driver = Driver::new(Echo::default(), Options::default()).unwrap();
        let handle = driver.handle();
        handle.send(Ask::Listen).unwrap();
        driver
            .run(|notice, _| match notice {
                Told::Listening(address) => {
                    tell.send((address, handle.clone())).unwrap();
                    Flow::Continue
                }
                Told::Stopping => Flow::Stop,
            })
            .unwrap();
    });
    let (address, handle) = told.recv().unwrap();
    let result = work(address);
    handle.send(Ask::Stop).unwrap();
    run.join().unwrap();
    assert!(matches!(handle.send(Ask::Stop), Err(SendError::Closed(Ask::Stop))));
    result
}

/// Writes down in one word what it is shown.
struct Clerk(std::sync::mpsc::Sender<&'static str>);

impl Observer<Echo> for Clerk {
    fn event(&mut self, _now: Instant, _: &Echo, event: &Event<Ask>) {
        let word = match event {
            Event::Command(_) => "command",
            Event::Net(_) => "net event",
            Event::Tick | Event::Disk(_) | Event::Process(_) => "other event",
        };
        self.0.send(word).unwrap();
    }

    fn action(&mut self, _now: Instant, action: &Action<Told>) {
        self.0.send(if matches!(action, Action::Notify(_)) { "notice" } else { "action" }).unwrap();
    }

    fn idle(&mut self) {
        self.0.send("idle").unwrap();
    }
}

#[test]
fn an_observer_is_shown_each_event_before_what_follows_from_it() {
    let (tell, told) = std::sync::mpsc::channel();
    let mut driver = Driver::new(Echo::default(), Options::default()).unwrap();
    driver.observe(Box::new(Clerk(tell)));
    let handle = driver.handle();
    handle.send(Ask::Listen).unwrap();
    driver
        .run(|notice, commands| {
            if matches!(notice, Told::Stopping) {
                return Flow::Stop;
            }
            commands.push(Ask::Stop);
            Flow::Continue
        })
        .unwrap();
    let all: Vec<_> = told.try_iter().collect();
    assert!(all.contains(&"idle"), "{all:?}");
    let shown: Vec<_> = all.into_iter().filter(|word| *word != "idle").collect();
    assert_eq!(shown, ["command", "action", "net event", "notice", "action", "command", "notice"]);
}

#[test]
fn an_echo_of_many_at_once() {
    with_echo(|address| {
        let clients: Vec<_> = (0..20_u8)
            .map(|client| {
                thread::spawn(move || {
                    let mut stream = TcpStream::connect(address).unwrap();
                    for size in [1, 10, 5_000, 300_000, 3] {
                        let sent: Vec<u8> = (0..size).map(|n: usize| n as u8 ^ client).collect();
                        let mut writer = stream.try_clone().unwrap();
                        let expected = sent.clone();
                        let write = thread::spawn(move || writer.write_all(&sent).unwrap());
                        let mut got = vec![0; size];
                        stream.read_exact(&mut got).unwrap();
                        assert!(got == expected);
                        write.join().unwrap();
                    }
                })
            })
            .collect();
        clients.into_iter().for_each(|client| client.join().unwrap());
    });
}

/// Figures for people; see `bench_disk`.
#[test]
#[ignore = "a measurement"]
fn bench_echo() {
    with_echo(|address| {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.set_nodelay(true).unwrap();
        let start = std::time::Instant::now();
        let rounds = 20_000;
        for _ in 0..rounds {
            stream.write_all(&[1; 64]).unwrap();
            stream.read_exact(&mut [0; 64]).unwrap();
        }
        println!(
            "{:.1} µs a round trip of 64 bytes",
            start.elapsed().as_secs_f64() * 1e6 / f64::from(rounds)
        );
    });
}

/// Counts how often it is called, and asks for three ticks.
struct Clockwork {
    ticks: Vec<Instant>,
    wanted: Vec<Instant>,
    calls: Rc<Cell<u32>>,
}

impl Machine for Clockwork {
    type Command = ();
    type Notice = usize;

    fn handle(&mut self, now: Instant, event: Event<()>, actions: &mut Actions<usize>) {
        self.calls.set(self.calls.get() + 1);
        if event == Event::Tick && self.deadline().is_some_and(|deadline| deadline <= now) {
            self.ticks.push(now);
            actions.notify(self.ticks.len());
        }
    }

    fn deadline(&self) -> Option<Instant> {
        self.wanted.get(self.ticks.len()).copied()
    }

    fn check_invariants(&self) {}
}

#[test]
fn wakes_for_its_deadlines_and_for_nothing_else() {
    let start = clock::now();
    let wanted: Vec<Instant> = [20, 20, 90].map(|millis| start + Duration::from_millis(millis)).to_vec();
    let calls = Rc::new(Cell::new(0));
    let machine = Clockwork { ticks: Vec::new(), wanted: wanted.clone(), calls: Rc::clone(&calls) };
    let mut driver = Driver::new(machine, Options::default()).unwrap();
    driver.run(|count, _| if count == 3 { Flow::Stop } else { Flow::Continue }).unwrap();
    assert_eq!(calls.get(), 3);
    for (tick, wanted) in driver.machine().ticks.iter().zip(wanted) {
        assert!(*tick >= wanted, "never early: {tick:?} {wanted:?}");
    }
}

/// Asks for whatever it is told to, and tells what comes.
struct Relay;

impl Machine for Relay {
    type Command = Action<Event<()>>;
    type Notice = Event<()>;

    fn handle(&mut self, _now: Instant, event: Event<Self::Command>, actions: &mut Actions<Event<()>>) {
        match event {
            Event::Command(Action::Net(action)) => actions.net(action),
            Event::Command(Action::Disk(action)) => actions.disk(action),
            Event::Command(Action::Process(action)) => actions.process(action),
            Event::Command(Action::Notify(notice)) => actions.notify(notice),
            Event::Net(event) => actions.notify(Event::Net(event)),
            Event::Disk(event) => actions.notify(Event::Disk(event)),
            Event::Process(event) => actions.notify(Event::Process(event)),
            Event::Tick => {}
        }
    }

    fn deadline(&self) -> Option<Instant> {
        None
    }

    fn check_invariants(&self) {}
}

fn folder() -> FolderId {
    FolderId { task: TaskId { publisher: InstanceId([3; 16]), number: 1 }, attempt: AttemptNumber(1) }
}

fn spawn() -> ProcessAction {
    let spec = RunSpec { argv: vec![b"true".to_vec()], env: Vec::new(), folder: folder(), stdin: false };
    ProcessAction::Spawn { run: RunId(1), spec, deadline: Instant::FAR_FUTURE }
}

#[test]
fn what_a_driver_does_not_have_is_answered_all_the_same() {
    let mut driver = Driver::new(Relay, Options::default()).unwrap();
    let handle = driver.handle();
    let request = DiskRequest::MakeFolder { folder: folder() };
    handle.send(Action::Disk(DiskAction { op: OpId(7), request })).unwrap();
    handle.send(Action::Process(spawn())).unwrap();
    let mut told = Vec::new();
    let run = driver.run(|notice, _| {
        told.push(notice);
        if told.len() == 2 { Flow::Stop } else { Flow::Continue }
    });
    run.unwrap();
    let error = FileError::new(FileErrorKind::System(libc::ENOSYS), "");
    assert!(told.contains(&Event::Disk(DiskEvent { op: OpId(7), result: Err(error) })));
    let error = SpawnError::System(libc::ENOSYS);
    assert!(told.contains(&Event::Process(ProcessEvent::SpawnFailed { run: RunId(1), error })));
}

#[test]
fn the_disk_answers_each_request_once_off_the_loop() {
    let base = tempfile::tempdir().unwrap();
    std::fs::write(base.path().join("in"), vec![7; 3 << 20]).unwrap();
    let options = Options {
        disk: Some(DiskOptions { work_dir: Some(base.path().into()), kept: None }),
        ..Options::default()
    };
    let mut driver = Driver::new(Relay, options).unwrap();
    let ask = |op, request| Action::Disk(DiskAction { op: OpId(op), request });
    let path = base.path().join("in").into_os_string().into_encoded_bytes();
    let source = Source::Path { path };
    driver.handle().send(ask(1, DiskRequest::OpenSource { tree: TreeId(1), source })).unwrap();
    let mut done = Vec::new();
    let run = driver.run(|notice, say| {
        let Event::Disk(DiskEvent { op, result }) = notice else { panic!("{notice:?}") };
        if op == OpId(1) {
            say.extend(
                (0..4).map(|index| ask(10 + index, DiskRequest::ReadBlock { tree: TreeId(1), index })),
            );
        }
        done.push((op, result));
        if done.len() == 5 { Flow::Stop } else { Flow::Continue }
    });
    run.unwrap();
    done.sort_by_key(|(op, _)| *op);
    let bytes: usize = done
        .iter()
        .map(|(_, result)| match result {
            Ok(DiskDone::Block { data, .. }) => data.len(),
            Ok(_) => 0,
            Err(error) => panic!("{error}"),
        })
        .sum();
    let Ok(DiskDone::Opened { stream_len, .. }) = done[0].1 else { panic!("opened first") };
    assert_eq!(bytes as u64, stream_len);
    assert!(done.iter().map(|(op, _)| op.0).eq([1, 10, 11, 12, 13]));
}

#[test]
fn commands_of_one_sender_keep_their_order_and_a_full_mailbox_says_so() {
    let mut driver = Driver::new(Relay, Options::default()).unwrap();
    let handle = driver.handle();
    let token = |n: u64| {
        let error = FileError::new(FileErrorKind::Busy, "");
        Action::Notify(Event::Disk(DiskEvent { op: OpId(n), result: Err(error) }))
    };
    let most = MAILBOX as u64;
    for n in 0..most {
        handle.try_send(token(n)).unwrap();
    }
    assert!(matches!(handle.try_send(token(0)), Err(SendError::Full(_))));
    // Waits for room, and gets it.
    let sender = thread::spawn(move || (most..3 * most).for_each(|n| handle.send(token(n)).unwrap()));
    let mut next = 0;
    let run = driver.run(|notice, _| {
        let Event::Disk(DiskEvent { op, .. }) = notice else { panic!("{notice:?}") };
        assert_eq!(op, OpId(next));
        next += 1;
        if next == 3 * most { Flow::Stop } else { Flow::Continue }
    });
    run.unwrap();
    sender.join().unwrap();
}

#[test]
fn a_command_from_inside_the_loop_never_waits() {
    let mut driver = Driver::new(Relay, Options::default()).unwrap();
    let handle = driver.handle();
    let resolved = |n: u64| {
        let error = FileError::new(FileErrorKind::Busy, "");
        Action::Notify(Event::Disk(DiskEvent { op: OpId(n), result: Err(error) }))
    };
    handle.send(resolved(0)).unwrap();
    let mut heard = 0;
    let run = driver.run(|_, _| {
        if heard == 0 {
            (0..2 * MAILBOX as u64).for_each(|n| handle.send(resolved(n)).unwrap());
        }
        heard += 1;
        if heard == 1 + 2 * MAILBOX { Flow::Stop } else { Flow::Continue }
    });
    run.unwrap();
}

#[test]
fn a_driver_that_is_dropped_releases_who_waits_for_it() {
    let driver = Driver::new(Relay, Options::default()).unwrap();
    let handle = driver.handle();
    for _ in 0..MAILBOX {
        handle.send(Action::Process(spawn())).unwrap();
    }
    let waiting = thread::spawn(move || handle.send(Action::Process(spawn())));
    drop(driver);
    assert!(matches!(waiting.join().unwrap(), Err(SendError::Closed(_))));
}

/// Tells a channel what it is told.
struct Witness(mpsc::Sender<String>);

impl Observer<Relay> for Witness {
    fn event(&mut self, _now: Instant, _machine: &Relay, event: &Event<Action<Event<()>>>) {
        self.0.send(format!("given {event:?}")).unwrap();
    }

    fn action(&mut self, _now: Instant, action: &Action<Event<()>>) {
        self.0.send(format!("asks {action:?}")).unwrap();
    }

    fn finished(&mut self, _now: Instant, _machine: &Relay) {
        self.0.send("finished".to_owned()).unwrap();
    }

    fn ended(&mut self, _machine: &Relay) {
        self.0.send("ended".to_owned()).unwrap();
    }
}

#[test]
fn observers_are_told_each_event_before_its_actions() {
    let mut driver = Driver::new(Relay, Options::default()).unwrap();
    let (one, first) = mpsc::channel();
    let (two, second) = mpsc::channel();
    driver.observe(Box::new(Witness(one)));
    driver.observe(Box::new(Witness(two)));
    let command = Action::Process(spawn());
    driver.handle().send(command.clone()).unwrap();
    driver.run(|_, _| Flow::Stop).unwrap();
    drop(driver);
    let failed = ProcessEvent::SpawnFailed { run: RunId(1), error: SpawnError::System(libc::ENOSYS) };
    let failed: Event<()> = Event::Process(failed);
    let wanted = [
        format!("given {:?}", Event::Command::<Action<Event<()>>>(command.clone())),
        format!("asks {command:?}"),
        "finished".to_owned(),
        format!("given {failed:?}"),
        format!("asks {:?}", Action::Notify(failed)),
        "finished".to_owned(),
        "ended".to_owned(),
    ];
    assert_eq!(first.try_iter().collect::<Vec<_>>(), wanted);
    assert_eq!(second.try_iter().collect::<Vec<_>>(), wanted);
}
