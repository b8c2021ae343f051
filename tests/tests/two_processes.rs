//! Numbered messages between two processes, through a proxy that cuts: all arrive once and in order; and if the receiver is killed, its
//! sender is told which were not acknowledged.
#![allow(clippy::unwrap_used)]

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Lines, Read, Write};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};
use xxnet_core::ClusterKey;
use xxnet_core::pack::DataHeader;
use xxnet_runtime_mio::Net;
use xxnet_runtime_mio::messages::{NetEvent, NetOptions, Payload, RecvError};
use xxnet_tests::proxy::{Plan, Proxy};

/// Longer than anything here takes; only a failure waits so long.
const PATIENCE: Duration = Duration::from_secs(120);
/// So far a sender may be ahead of what its receiver has taken. Small, so that no link carries much behind its cut.
const WINDOW: u32 = 64 << 10;
/// Bytes of a message behind its number.
const FILL: usize = 40;
/// Every tenth message is answered.
const ANSWERED: u64 = 10;
/// What the receiving process is told through.
const RECEIVE: &str = "XXNET_TEST_RECEIVE";
const WRITE_DOWN: &str = "XXNET_TEST_WRITE_DOWN";
/// What its lines begin with, among those of the test harness.
const MARK: &str = "receiver: ";

fn net(change: impl FnOnce(&mut NetOptions)) -> Net {
    let mut options = NetOptions::new(ClusterKey([8; 32]));
    options.limits.session_window = WINDOW;
    change(&mut options);
    Net::start(options).unwrap()
}

fn numbered(n: u64) -> Vec<u8> {
    let mut bytes = n.to_le_bytes().to_vec();
    bytes.resize(8 + FILL, n as u8);
    bytes
}

fn number(bytes: &[u8]) -> u64 {
    let n = u64::from_le_bytes(bytes[..8].try_into().unwrap());
    assert!(bytes.len() == 8 + FILL && bytes[8..].iter().all(|byte| *byte == n as u8), "the bytes of {n}");
    n
}

/// Sends so many to another process, through a proxy that cuts so many links behind about so many bytes each.
fn exchange(count: u64, cuts: u64, bytes: u64) {
    let mut receiver = Receiver::start(&[(RECEIVE, count.to_string())]);
    // Now on its way there, now on its way back; the last links live. One answer goes back for ten messages.
    let proxy = Proxy::start(receiver.at, move |link| {
        let at = bytes / 2 + link * 7_919 % bytes;
        match link {
            _ if link >= cuts => Plan::default(),
            _ if link % 2 == 0 => Plan { cut_there: Some(at), ..Plan::default() },
            _ => Plan { cut_back: Some(at / 10), ..Plan::default() },
        }
    });
    let net = net(|_| {});
    let (to, sending) = (proxy.address(), net.clone());
    let sender = thread::spawn(move || {
        let sender = sending.to(to).unwrap();
        (0..count).for_each(|n| sender.send(numbered(n)).unwrap());
    });
    for n in 0..count.div_ceil(ANSWERED) {
        assert_eq!(number(&net.recv_timeout(PATIENCE).unwrap().bytes()), n, "back");
    }
    sender.join().unwrap();
    net.flush(PATIENCE).unwrap();
    assert_eq!(
        receiver.line(),
        format!("received {count}"),
        "each once and in order, or it says which was not"
    );
    assert!(proxy.links() > cuts, "only {} links were needed", proxy.links());
    assert_eq!(net.shutdown(PATIENCE), 0);
    receiver.end();
}

#[test]
fn n4_two_processes_and_thirty_cuts_and_each_message_once_and_in_order() {
    exchange(50_000, 30, 60_000);
}

/// Two seconds on two cores, not optimised.
#[test]
fn n4_a_million_messages_between_two_processes_through_a_hundred_cuts() {
    exchange(1_000_000, 100, 600_000);
}

#[test]
fn n4_the_receiver_is_killed_while_it_takes_and_the_sender_is_told_which_were_not_acknowledged() {
    // Half of them is more than it can have taken by then, however slow this process is.
    kill_the_receiver(25_000, |_, taken| {
        wait("some were taken", || fs::metadata(taken).is_ok_and(|file| file.len() >= 5_000 * 8));
    });
}

#[test]
fn n4_the_receiver_is_killed_with_messages_that_it_never_took_and_the_sender_is_told_exactly_which() {
    // Its last word says how much it took; a window more has arrived by then, which is not to be acknowledged.
    kill_the_receiver(10_000, |net, _| _ = net.recv_timeout(PATIENCE).unwrap());
}

/// Kills a receiver that takes no more than so many, when it is time. What it has written down and what is reported must be
/// everything.
fn kill_the_receiver(takes: u64, when: impl FnOnce(&Net, &Path)) {
    const COUNT: u64 = 50_000;
    let folder = tempfile::tempdir().unwrap();
    let taken = folder.path().join("taken");
    let mut receiver =
        Receiver::start(&[(RECEIVE, takes.to_string()), (WRITE_DOWN, taken.to_str().unwrap().into())]);
    let proxy = Proxy::start(receiver.at, |link| match link {
        0..=2 => Plan { cut_there: Some(100_000 + link * 7_919), ..Plan::default() },
        _ => Plan::default(),
    });
    let net = net(|options| options.limits.session_timeout = Duration::from_secs(1));
    (0..COUNT).for_each(|n| net.send(proxy.address(), numbered(n)).unwrap());
    when(&net, &taken);
    // SIGKILL: nothing of it runs any more, and nobody says goodbye.
    receiver.child.kill().unwrap();
    receiver.child.wait().unwrap();

    assert!(net.flush(PATIENCE).is_ok(), "all is acknowledged or reported");
    let mut reported = Vec::new();
    while let Ok(event) = net.events().try_next() {
        if let NetEvent::Undelivered { messages, .. } = event {
            reported.extend(messages.into_iter().map(|message| match message {
                Payload::Raw(bytes) => number(&bytes),
                Payload::Dict(dict) => panic!("{dict:?}"),
            }));
        }
    }
    let written = read_back(&taken);
    let count = written.len() as u64;
    assert!(written.into_iter().eq(0..count), "taken once and in order");
    // Everything from the first that was not acknowledged on, and nothing else; all before it was written down.
    let first = *reported.first().expect("a report");
    assert!(reported.into_iter().eq(first..COUNT), "from {first} on, each once");
    assert!(first <= count, "{first} were acknowledged, and only {count} written down");
    // A message may be taken and yet reported: no more of them than may be under way.
    let size = (DataHeader::WIRE_LEN + 8 + FILL) as u64;
    assert!((count - first) * size <= u64::from(WINDOW) + size, "{} were taken and reported", count - first);
    assert_eq!(net.shutdown(PATIENCE), COUNT - first);
}

fn read_back(path: &Path) -> Vec<u64> {
    let bytes = fs::read(path).unwrap();
    bytes.chunks_exact(8).map(|number| u64::from_le_bytes(number.try_into().unwrap())).collect()
}

fn wait(what: &str, is_so: impl Fn() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < end, "{what}: never");
        thread::sleep(Duration::from_millis(1));
    }
}

/// The other process: this very program, as the test below.
struct Receiver {
    child: Child,
    /// It ends when this is closed, which is at the latest when this process ends.
    _lifeline: ChildStdin,
    lines: Lines<BufReader<ChildStdout>>,
    at: SocketAddr,
}

impl Receiver {
    fn start(told: &[(&str, String)]) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--ignored", "--exact", "--nocapture", "receiving_process"])
            .envs(told.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let lifeline = child.stdin.take().unwrap();
        let mut receiver = Self { child, _lifeline: lifeline, lines, at: ([0; 4], 0).into() };
        receiver.at = receiver.line().parse().unwrap();
        receiver
    }

    /// The next that it says.
    fn line(&mut self) -> String {
        let said = self.lines.find_map(|line| Some(line.unwrap().split_once(MARK)?.1.to_owned()));
        said.expect("it says why above")
    }

    /// It ends by itself, and well.
    fn end(mut self) {
        assert!(self.child.wait().unwrap().success());
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Takes so many numbered messages, in order, or says which was not; with a file, writes each down before it counts as taken, and then
/// waits to be killed.
#[test]
#[ignore = "the other process of the tests here"]
fn receiving_process() {
    let Ok(count) = std::env::var(RECEIVE) else { return };
    let count: u64 = count.parse().unwrap();
    // Whoever started it may be gone before it is done.
    thread::spawn(|| {
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
        std::process::exit(1);
    });
    let net = net(|_| {});
    println!("\n{MARK}{}", net.listen("127.0.0.1:0").unwrap().socket().unwrap());
    if let Ok(path) = std::env::var(WRITE_DOWN) {
        let mut file = File::create(path).unwrap();
        for n in 0..count {
            let held = net.recv_held().unwrap();
            assert_eq!(number(&held.bytes()), n);
            file.write_all(&n.to_le_bytes()).unwrap();
            let message = held.take();
            if n + 1 == count {
                net.send(message.from(), numbered(n)).unwrap();
            }
        }
        loop {
            thread::park();
        }
    }
    for n in 0..count {
        let message = net.recv_timeout(PATIENCE).unwrap();
        assert_eq!(number(&message.bytes()), n, "there");
        if n % ANSWERED == 0 {
            net.send(message.from(), numbered(n / ANSWERED)).unwrap();
        }
    }
    net.flush(PATIENCE).unwrap();
    println!("{MARK}received {count}");
    // Nothing comes twice: the sender leaves without another word.
    while !matches!(net.events().next_timeout(PATIENCE).unwrap(), NetEvent::Disconnected { .. }) {}
    assert!(matches!(net.try_recv(), Err(RecvError::Timeout)));
    assert_eq!(net.shutdown(PATIENCE), 0);
}
