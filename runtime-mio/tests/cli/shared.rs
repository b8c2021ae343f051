//! Tasks of one publisher that want one file at the same time on one executor: it crosses the link once (ledger F4).

use crate::harness::*;
use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::{self, JoinHandle};
use xxnet_core::executor::{Ending, Executor, ExecutorCommand, ExecutorNotice, InputFile, TaskSpec};
use xxnet_core::message::{Exit, Placement};
use xxnet_core::process::ExitStatus;
use xxnet_core::{ClusterKey, Config, ExecutorConfig, InstanceId, TaskId, Token};
use xxnet_runtime_mio::{DiskOptions, Driver, Flow, Handle, Options};

const MIB: u64 = 1 << 20;
/// More than lies in a link whose other end does not read.
const SIZE: u64 = 96 * MIB;
/// So much of the file passes before the gate opens.
const BEFORE: u64 = 8 * MIB;

/// The way to the publisher. It counts what comes from there, and no link carries more than [`BEFORE`] until the gate is open.
struct Link {
    address: SocketAddr,
    gate: Arc<Gate>,
}

#[derive(Default)]
struct Gate {
    open: Mutex<bool>,
    opens: Condvar,
    passed: AtomicU64,
    ended: AtomicBool,
}

impl Link {
    fn start(listener: TcpListener, to: SocketAddr) -> Self {
        let (address, gate) = (listener.local_addr().unwrap(), Arc::new(Gate::default()));
        let guard = Arc::clone(&gate);
        thread::spawn(move || {
            for near in listener.incoming().map_while(Result::ok) {
                if guard.ended.load(Ordering::SeqCst) {
                    return;
                }
                let Ok(far) = TcpStream::connect(to) else { continue };
                let (near_too, far_too) = (near.try_clone().unwrap(), far.try_clone().unwrap());
                let guard = Arc::clone(&guard);
                thread::spawn(move || copy(near_too, far_too, |_| ()));
                thread::spawn(move || {
                    let mut on_this = 0;
                    copy(far, near, |bytes| {
                        on_this += bytes;
                        guard.passed.fetch_add(bytes, Ordering::SeqCst);
                        if on_this > BEFORE {
                            guard.wait();
                        }
                    });
                });
            }
        });
        Self { address, gate }
    }

    fn open(&self) {
        *self.gate.open.lock().unwrap() = true;
        self.gate.opens.notify_all();
    }

    fn passed(&self) -> u64 {
        self.gate.passed.load(Ordering::SeqCst)
    }
}

impl Gate {
    fn wait(&self) {
        let open = self.open.lock().unwrap();
        drop(self.opens.wait_timeout_while(open, LONG, |open| !*open).unwrap());
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.gate.ended.store(true, Ordering::SeqCst);
        self.open();
        // Wakes whoever accepts.
        let _ = TcpStream::connect(self.address);
    }
}

fn copy(mut from: TcpStream, mut to: TcpStream, mut passes: impl FnMut(u64)) {
    let mut buffer = vec![0; 64 << 10];
    while let Ok(read @ 1..) = from.read(&mut buffer) {
        passes(read as u64);
        if to.write_all(&buffer[..read]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(std::net::Shutdown::Write);
    let _ = from.shutdown(std::net::Shutdown::Read);
}

/// Publishes several tasks, which `xxnet run` does not.
struct Publisher {
    link: Link,
    door: Handle<ExecutorCommand>,
    notices: Receiver<ExecutorNotice>,
    running: Option<JoinHandle<()>>,
}

impl Publisher {
    fn start(cluster: &Cluster) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let hex = std::fs::read_to_string(cluster.home.at(".config/xxnet/key")).unwrap();
        let key = std::array::from_fn(|n| u8::from_str_radix(&hex[2 * n..2 * n + 2], 16).unwrap());
        let settings = ExecutorConfig {
            registries: vec![cluster.registry.address.parse().unwrap()],
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            advertise: Some(listener.local_addr().unwrap().into()),
            slots: 0,
            client: true,
            labels: Vec::new(),
            lease_only: false,
        };
        let config = Config::new(InstanceId([7; 16]), "publisher", ClusterKey(key), 7);
        let options = Options { disk: Some(DiskOptions::default()), ..Options::default() };
        let mut driver = Driver::new(Executor::new(config, settings), options).unwrap();
        let door = driver.handle();
        let (told, notices) = channel();
        let running = thread::spawn(move || {
            let tell = |notice: ExecutorNotice| {
                let flow =
                    if matches!(notice, ExecutorNotice::Stopped) { Flow::Stop } else { Flow::Continue };
                let _ = told.send(notice);
                flow
            };
            driver.run(|notice, _| tell(notice)).unwrap();
        });
        door.send(ExecutorCommand::Start).unwrap();
        let address = loop {
            if let ExecutorNotice::Listening(address) = notices.recv_timeout(LONG).unwrap() {
                break address;
            }
        };
        Self { link: Link::start(listener, address), door, notices, running: Some(running) }
    }

    /// Tasks that are over well if their input is what it is here.
    fn publish(&self, cluster: &Cluster, tasks: usize) {
        let path = cluster.home.here("in");
        let argv =
            [b"cmp", b"in".as_slice(), cluster.home.here("right").as_os_str().as_bytes()].map(<[u8]>::to_vec);
        let spec = TaskSpec {
            argv: argv.to_vec(),
            env: Vec::new(),
            inputs: vec![InputFile { path: path.as_os_str().as_bytes().to_vec(), name: b"in".to_vec() }],
            outputs: Vec::new(),
            stdin: false,
            timeout: None,
            patience: None,
            attempts: Some(1),
            placement: Placement::Others,
            needs: Vec::new(),
        };
        for n in 1..=tasks {
            let publish = ExecutorCommand::Publish { token: Token(n as u64), spec: spec.clone() };
            self.door.send(publish).unwrap();
        }
    }

    /// The next task that ends.
    fn ended(&self) -> (TaskId, Ending) {
        loop {
            match self.notices.recv_timeout(LONG).expect("a task ends") {
                ExecutorNotice::Ended { task, ending } => return (task, ending),
                ExecutorNotice::PublishFailed { error, .. } => panic!("{error:?}"),
                _ => {}
            }
        }
    }
}

impl Drop for Publisher {
    fn drop(&mut self) {
        let _ = self.door.send(ExecutorCommand::Shutdown);
        if let Some(running) = self.running.take() {
            let _ = running.join();
        }
    }
}

/// A cluster of one executor, and tasks whose one transfer is under way: who of them asked for it, and who waits for it.
fn under_way(tasks: usize) -> (Cluster, Publisher, String, BTreeSet<String>) {
    let cluster = Cluster::new(1, tasks);
    for name in ["in", "right"] {
        let file = std::fs::File::create(cluster.home.here(name)).unwrap();
        file.set_len(SIZE).unwrap();
        (0..SIZE / MIB).for_each(|n| file.write_all_at(&n.to_le_bytes(), n * MIB + 77 * n).unwrap());
    }
    let publisher = Publisher::start(&cluster);
    publisher.publish(&cluster, tasks);
    let (mut asked, mut waits) = (None, BTreeSet::new());
    while asked.is_none() || waits.len() + 1 < tasks {
        let line = cluster.executors[0].wait_for("file-step");
        let task = line["task"].as_str().unwrap().to_owned();
        match line["step"].as_u64().unwrap() {
            1 => assert_eq!(asked.replace(task), None, "it is asked for once"),
            5 => assert!(waits.insert(task)),
            _ => {}
        }
    }
    until("a part of the file to have come", || publisher.link.passed() > BEFORE);
    (cluster, publisher, asked.unwrap(), waits)
}

fn is_well(ending: &Ending) -> bool {
    matches!(ending, Ending::Done { exit: Exit::Status(ExitStatus::Code(0)), .. })
}

#[test]
fn f4_one_file_for_three_tasks_crosses_the_link_once() {
    let (_cluster, publisher, asked, waits) = under_way(3);
    publisher.link.open();
    let ended: Vec<_> = (0..3).map(|_| publisher.ended()).collect();
    assert!(ended.iter().all(|(_, ending)| is_well(ending)), "{ended:?}");
    let tasks: BTreeSet<_> = ended.iter().map(|(task, _)| task.to_string()).collect();
    assert_eq!(tasks, &waits | &BTreeSet::from([asked]));
    let passed = publisher.link.passed();
    assert!((SIZE..SIZE + MIB).contains(&passed), "{passed} bytes, for a file of {SIZE}");
}

#[test]
fn f4_if_the_task_that_asked_is_cancelled_another_gets_the_rest() {
    let (cluster, publisher, asked, waits) = under_way(2);
    let mut published = publisher.notices.try_iter().filter_map(|notice| match notice {
        ExecutorNotice::Published { task, .. } => Some(task),
        _ => None,
    });
    let cancelled = published.find(|task| task.to_string() == asked).unwrap();
    publisher.door.send(ExecutorCommand::Cancel(cancelled)).unwrap();
    let (task, ending) = publisher.ended();
    assert_eq!((task, ending), (cancelled, Ending::Cancelled));
    assert_eq!(cluster.executors[0].wait_for("attempt-stopped")["task"], asked);
    publisher.link.open();
    let (task, ending) = publisher.ended();
    assert!(waits.contains(&task.to_string()) && is_well(&ending), "{task}: {ending:?}");
    // What was on the link when it was cancelled comes again, and no more than that.
    let passed = publisher.link.passed();
    assert!((SIZE..SIZE * 3 / 2).contains(&passed), "{passed} bytes, for a file of {SIZE}");
}

#[test]
fn f4_a_file_that_goes_away_is_said_to_each_who_waits_for_it() {
    let (cluster, publisher, ..) = under_way(2);
    std::fs::remove_file(cluster.home.here("in")).unwrap();
    publisher.link.open();
    for _ in 0..2 {
        let (task, ending) = publisher.ended();
        let Ending::Failed { attempts, .. } = &ending else { panic!("{task}: {ending:?}") };
        assert!(
            attempts.len() == 1 && attempts[0].contains("here/in: changed while it was read"),
            "{attempts:?}"
        );
    }
    until("the attempts' folders to be gone", || cluster.home.work_folders().is_empty());
}
