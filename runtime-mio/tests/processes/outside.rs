//! Cases that kill executors, supervisors and keepers from outside.

use crate::look::{self, LEFT, leaves_behind, marked, marker, sleepers};
use crate::rig::until;
use std::fs;
use std::io::{BufRead as _, BufReader, ErrorKind};
use std::net::TcpStream;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant as Wall};

pub(crate) const CASES: &[(&str, fn())] = &[
    ("t7_killed_executor_takes_all_along_and_refuses_only_then", killed_executor),
    ("t7_killed_supervisor_takes_all_along", killed_supervisor),
    ("t7_killed_process_group_takes_all_along", killed_group),
    ("t7_frozen_executor_is_overruled_at_the_deadline", frozen_executor),
    ("t14_frozen_executor_and_supervisor_are_overruled_too", all_frozen),
    ("t14_death_is_proven_by_refusal", refusal_is_proof),
    ("t14_killed_supervisor_over_a_stopped_keeper", stopped_keeper_orphaned),
    ("x4_the_exit_status_is_the_executors", exit_status),
    ("n14_each_signal_arrives_once", signals_once),
    ("n14_ctrl_z_stops_and_resumes", stop_and_resume),
];

struct Daemon {
    /// The pid that a user sees. Its standard input is held open: the daemon ends with it.
    supervisor: Child,
    executor: i32,
    port: u16,
    lines: std::io::Lines<BufReader<ChildStdout>>,
    folder: tempfile::TempDir,
    marker: String,
}

impl Daemon {
    /// With a command that has left processes in every way there is.
    fn start(deadline: Duration) -> Self {
        let marker = marker();
        let mut daemon = Self::start_with(deadline, &leaves_behind(&marker), marker.clone());
        daemon.hears("spawned");
        until("all of them sleep", || sleepers(&marker) == LEFT);
        daemon
    }

    fn start_with(deadline: Duration, script: &str, marker: String) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.arg("--daemon").arg(folder.path()).arg(deadline.as_millis().to_string()).arg(script);
        // As a shell starts a job: in a process group of its own.
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).process_group(0);
        let mut supervisor = command.spawn().unwrap();
        let mut lines = BufReader::new(supervisor.stdout.take().unwrap()).lines();
        let up = lines.next().unwrap().unwrap();
        let mut words = up.split(' ').skip(1);
        let executor = words.next().unwrap().parse().unwrap();
        let port = words.next().unwrap().parse().unwrap();
        Self { supervisor, executor, port, lines, folder, marker }
    }

    fn hears(&mut self, expected: &str) {
        let line = self.lines.next().expect("the daemon says more").unwrap();
        assert_eq!(line, expected);
    }

    fn pid(&self) -> i32 {
        self.supervisor.id().cast_signed()
    }

    fn refuses(&self) -> bool {
        match TcpStream::connect(("127.0.0.1", self.port)) {
            Ok(_) => false,
            Err(error) if error.kind() == ErrorKind::ConnectionRefused => true,
            // Reset: it closed while the dial waited in its backlog. No proof, ask again.
            Err(_) => false,
        }
    }

    /// The proof of death (PROTOCOL A8): whoever sees a refusal may rely on it, at that very moment.
    fn refuses_only_when_all_is_gone(&self, within: Duration) {
        let began = Wall::now();
        while !self.refuses() {
            assert!(began.elapsed() < within, "{:?} are left", marked(&self.marker));
        }
        let left: Vec<_> = marked(&self.marker).into_iter().filter(|one| one.pid != self.pid()).collect();
        let left: Vec<_> = left.into_iter().filter(|one| one.pid != self.executor).collect();
        assert!(left.is_empty(), "{left:?}");
    }

    fn ends(&mut self) -> ExitStatus {
        // `wait` would close its standard input first.
        loop {
            if let Some(status) = self.supervisor.try_wait().unwrap() {
                return status;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.supervisor.kill();
        let _ = self.supervisor.wait();
        if std::thread::panicking() {
            for process in marked(&self.marker) {
                // SAFETY: takes no memory of ours.
                unsafe { libc::kill(process.pid, libc::SIGKILL) };
            }
        }
    }
}

const LONG: Duration = Duration::from_secs(600);

fn killed_executor() {
    let mut daemon = Daemon::start(LONG);
    assert!(!daemon.refuses());
    look::signal(daemon.executor, libc::SIGKILL);
    daemon.refuses_only_when_all_is_gone(Duration::from_secs(5));
    assert_eq!(daemon.ends().code(), Some(128 + libc::SIGKILL));
}

fn refusal_is_proof() {
    // Over and over, with whatever is under way at that moment.
    for round in 0..8_u64 {
        let marker = marker();
        let script = format!("while :; do (setsid sleep {marker} &); sleep 0.02; done");
        let mut daemon = Daemon::start_with(LONG, &script, marker.clone());
        daemon.hears("spawned");
        until("some of them sleep", || sleepers(&marker) > 1);
        std::thread::sleep(Duration::from_millis(round * 3));
        look::signal(daemon.executor, libc::SIGKILL);
        daemon.refuses_only_when_all_is_gone(Duration::from_secs(5));
        daemon.ends();
    }
}

fn killed_supervisor() {
    supervisor_killed_by(|supervisor| look::signal(supervisor, libc::SIGKILL));
}

fn killed_group() {
    supervisor_killed_by(|supervisor| look::signal(-supervisor, libc::SIGKILL));
}

fn supervisor_killed_by(kill: fn(i32)) {
    let mut daemon = Daemon::start(LONG);
    kill(daemon.pid());
    // The executor hears of it when the keepers are through, and its listener is open until it ends by itself.
    daemon.refuses_only_when_all_is_gone(Duration::from_secs(5));
    let mut said: Vec<String> = Vec::new();
    while let Some(Ok(line)) = daemon.lines.next() {
        said.push(line);
    }
    assert_eq!(said, ["exited Signal(9)", "gone"]);
    until("the executor has ended", || look::process(daemon.executor).is_none_or(|one| one.state == 'Z'));
}

fn stopped_keeper_orphaned() {
    let daemon = Daemon::start(LONG);
    let keepers: Vec<_> =
        look::below(daemon.pid()).into_iter().filter(|one| one.name == "xxn-keeper").collect();
    assert_eq!(keepers.len(), 1);
    look::signal(keepers[0].pid, libc::SIGSTOP);
    look::signal(daemon.pid(), libc::SIGKILL);
    daemon.refuses_only_when_all_is_gone(Duration::from_secs(5));
}

fn frozen_executor() {
    let mut daemon = Daemon::start(Duration::from_millis(2_500));
    look::signal(daemon.executor, libc::SIGSTOP);
    until("the supervisor alone ends it", || marked_but(&daemon) == 0);
    assert_eq!(look::process(daemon.executor).unwrap().state, 'T', "the executor did not take part");
    // A frozen host is no dead one: nothing is refused.
    assert!(!daemon.refuses());
    look::signal(daemon.executor, libc::SIGCONT);
    daemon.hears("exited Signal(9)");
    fs::write(daemon.folder.path().join("quit"), "").unwrap();
    assert_eq!(daemon.ends().code(), Some(42));
}

fn all_frozen() {
    let mut daemon = Daemon::start(Duration::from_millis(2_500));
    look::signal(daemon.executor, libc::SIGSTOP);
    look::signal(daemon.pid(), libc::SIGSTOP);
    until("the keeper alone ends it", || marked_but(&daemon) == 0);
    assert_eq!(look::process(daemon.pid()).unwrap().state, 'T');
    look::signal(daemon.pid(), libc::SIGCONT);
    look::signal(daemon.executor, libc::SIGCONT);
    daemon.hears("exited Signal(9)");
}

/// Processes of the command: the daemon's own command line has the marker too.
fn marked_but(daemon: &Daemon) -> usize {
    let own = [daemon.pid(), daemon.executor];
    marked(&daemon.marker).iter().filter(|one| !own.contains(&one.pid) && one.name != "xxn-keeper").count()
}

fn exit_status() {
    let mut daemon = Daemon::start_with(LONG, "exec sleep 600", marker());
    daemon.hears("spawned");
    fs::write(daemon.folder.path().join("quit"), "").unwrap();
    assert_eq!(daemon.ends().code(), Some(42));
    assert!(daemon.refuses());
    let mut daemon = Daemon::start_with(LONG, "exec sleep 600", marker());
    look::signal(daemon.executor, libc::SIGUSR2);
    let status = daemon.ends();
    assert_eq!((status.code(), status.signal()), (Some(128 + libc::SIGUSR2), None));
}

fn signals_once() {
    let mut daemon = Daemon::start_with(LONG, "exec sleep 600", marker());
    daemon.hears("spawned");
    // To the pid that the user sees; to its group, as a terminal and a shell do it.
    look::signal(daemon.pid(), libc::SIGTERM);
    daemon.hears("signals 1");
    look::signal(-daemon.pid(), libc::SIGINT);
    daemon.hears("signals 2");
    look::signal(-daemon.pid(), libc::SIGINT);
    daemon.hears("signals 3");
    // One that it does not handle ends it, and is told.
    look::signal(daemon.pid(), libc::SIGHUP);
    assert_eq!(daemon.ends().code(), Some(128 + libc::SIGHUP));
    assert!(daemon.lines.next().is_none(), "nothing arrived twice");
}

fn stop_and_resume() {
    let mut daemon = Daemon::start_with(LONG, "exec sleep 600", marker());
    daemon.hears("spawned");
    let stopped = |pid: i32| look::process(pid).unwrap().state == 'T';
    look::signal(-daemon.pid(), libc::SIGTSTP);
    until("both have stopped", || stopped(daemon.pid()) && stopped(daemon.executor));
    look::signal(-daemon.pid(), libc::SIGCONT);
    until("both go on", || !stopped(daemon.pid()) && !stopped(daemon.executor));
    fs::write(daemon.folder.path().join("quit"), "").unwrap();
    assert_eq!(daemon.ends().code(), Some(42));
}
