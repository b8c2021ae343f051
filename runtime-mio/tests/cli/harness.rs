//! Starts the real binary in a home of its own, never waits without a limit, leaves nothing behind.

use serde_json::Value;
use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// Far more than anything here takes; a test that reaches it has failed.
pub(crate) const LONG: Duration = Duration::from_secs(60);

/// A user of this machine: a home with a key in it, a folder to be in.
pub(crate) struct Home {
    dir: TempDir,
}

impl Home {
    pub(crate) fn new() -> Self {
        let dir = TempDir::new().unwrap();
        for name in ["here", "work", "tmp"] {
            std::fs::create_dir(dir.path().join(name)).unwrap();
        }
        Self { dir }
    }

    /// Something in the folder that commands are started in.
    pub(crate) fn here(&self, name: &str) -> PathBuf {
        self.dir.path().join("here").join(name)
    }

    /// Something in the home itself.
    pub(crate) fn at(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, text: impl AsRef<[u8]>) {
        std::fs::write(self.here(name), text).unwrap();
    }

    pub(crate) fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.here(name)).unwrap()
    }

    /// `xxnet ARGS…` as this user.
    pub(crate) fn xxnet<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_xxnet"));
        command.args(args).current_dir(self.here("")).stdin(Stdio::null());
        for name in ["XXNET_REG", "XXNET_KEY_FILE", "XDG_CONFIG_HOME", "XDG_CACHE_HOME", "NO_COLOR"] {
            command.env_remove(name);
        }
        command.env("HOME", self.dir.path()).env("TMPDIR", self.at("tmp"));
        // Tests that a shell runs in its background ignore Ctrl-C, and their children would inherit that.
        // SAFETY: only resets a signal, which is safe between fork and exec.
        unsafe {
            command.pre_exec(|| {
                libc::signal(libc::SIGINT, libc::SIG_DFL);
                Ok(())
            });
        }
        command
    }

    /// Work folders of tasks that are still there.
    pub(crate) fn work_folders(&self) -> Vec<PathBuf> {
        let within = |path: &Path| {
            std::fs::read_dir(path)
                .map(|d| d.flatten().map(|e| e.path()).collect::<Vec<_>>())
                .unwrap_or_default()
        };
        let executors = within(&self.at("work")).into_iter().filter(|path| *path != self.kept());
        executors.flat_map(|executor| within(&executor)).collect()
    }

    /// Where executors leave blocks of inputs that did not come whole; not there if there are none.
    pub(crate) fn kept(&self) -> PathBuf {
        self.at("work/kept")
    }
}

/// A registry and executors, each a process of its own, and a user.
pub(crate) struct Cluster {
    pub(crate) home: Home,
    pub(crate) registry: Daemon,
    pub(crate) executors: Vec<Daemon>,
}

impl Cluster {
    /// With so many executors of so many slots.
    pub(crate) fn new(executors: usize, slots: usize) -> Self {
        let home = Home::new();
        let registry = Daemon::registry(&home, "127.0.0.1:0");
        let executors =
            (1..=executors).map(|n| Daemon::executor(&home, &registry.address, n, slots)).collect();
        Self { home, registry, executors }
    }

    /// `xxnet ARGS…` with this cluster's registry.
    pub(crate) fn xxnet<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Command {
        let mut command = self.home.xxnet(args);
        command.env("XXNET_REG", &self.registry.address);
        command
    }

    /// `xxnet run ARGS…`, to its end.
    pub(crate) fn run(&self, args: &[&str]) -> Ended {
        finish(self.xxnet(["run"].iter().chain(args)))
    }

    /// `xxnet LIST --json`.
    pub(crate) fn json(&self, args: &[&str]) -> Value {
        let ended = finish(self.xxnet(args.iter().chain(&["--json"])));
        ended.expect(0);
        serde_json::from_str(&ended.out).unwrap()
    }

    /// Waits until `wanted` is true of the tasks' list.
    pub(crate) fn until_tasks(&self, wanted: impl Fn(&[Value]) -> bool) -> Vec<Value> {
        let mut last = Vec::new();
        until("the tasks' list to show it", || {
            last = self.json(&["tasks"])["tasks"].as_array().cloned().unwrap();
            wanted(&last)
        });
        last
    }
}

/// One registry or executor.
pub(crate) struct Daemon {
    pub(crate) address: String,
    /// The process that a user sees; of an executor this is the supervisor.
    pub(crate) process: u32,
    /// The daemon itself.
    pub(crate) inner: u32,
    child: Child,
    _stdin: Option<ChildStdin>,
    lines: Receiver<Value>,
}

impl Daemon {
    pub(crate) fn registry(home: &Home, listen: &str) -> Self {
        Self::start(Self::registry_command(home, listen), "listening")
    }

    pub(crate) fn registry_command(home: &Home, listen: &str) -> Command {
        let mut command = home.xxnet(["--log-format=json", "-v", "reg", "--until-stdin-closes"]);
        command.arg(format!("--listen={listen}"));
        command
    }

    pub(crate) fn executor(home: &Home, registry: &str, number: usize, slots: usize) -> Self {
        Self::start(Self::executor_command(home, registry, number, slots), "registered")
    }

    pub(crate) fn executor_command(home: &Home, registry: &str, number: usize, slots: usize) -> Command {
        let mut command = home.xxnet(["--log-format=json", "-v", "exe", "--until-stdin-closes"]);
        command.arg(format!("--reg={registry}")).arg(format!("--name=node-{number}"));
        command.arg(format!("--slots={slots}")).arg("--work-dir").arg(home.at("work"));
        command
    }

    /// Starts it and waits until it says `ready`, with an address.
    pub(crate) fn start(mut command: Command, ready: &str) -> Self {
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            for line in stderr.lines().map_while(Result::ok) {
                let value = serde_json::from_str(&line).unwrap_or(Value::String(line));
                if sender.send(value).is_err() {
                    return;
                }
            }
        });
        let stdin = child.stdin.take();
        let mut daemon =
            Self { address: String::new(), process: child.id(), inner: 0, child, _stdin: stdin, lines };
        let starting = daemon.wait_for("starting");
        daemon.inner = u32::try_from(starting["process"].as_u64().unwrap()).unwrap();
        daemon.address = daemon.wait_for(ready)["address"].as_str().unwrap().to_owned();
        daemon
    }

    /// The next log line of that event.
    pub(crate) fn wait_for(&self, event: &str) -> Value {
        let until = Instant::now() + LONG;
        let mut seen = String::new();
        loop {
            let left = until.saturating_duration_since(Instant::now());
            let Ok(line) = self.lines.recv_timeout(left) else { panic!("no {event}; it said:\n{seen}") };
            if line["event"] == event {
                return line;
            }
            seen.push_str(&format!("{line}\n"));
        }
    }

    /// Whether it still runs.
    pub(crate) fn lives(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// SIGKILL to the daemon itself, and waits for its end.
    pub(crate) fn kill(&mut self) {
        signal(self.inner, libc::SIGKILL);
        wait(&mut self.child, LONG);
    }

    /// Its whole life in order: exit status after SIGTERM.
    pub(crate) fn terminate(&mut self) -> ExitStatus {
        signal(self.process, libc::SIGTERM);
        wait(&mut self.child, LONG)
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if self.lives() {
            signal(self.process, libc::SIGTERM);
            let until = Instant::now() + Duration::from_secs(5);
            while self.lives() && Instant::now() < until {
                std::thread::sleep(Duration::from_millis(2));
            }
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

/// A command that has ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) status: ExitStatus,
    pub(crate) out: String,
    pub(crate) err: String,
    pub(crate) took: Duration,
}

impl Ended {
    pub(crate) fn code(&self) -> i32 {
        self.status.code().unwrap_or(-1)
    }

    /// It must have exited with this.
    #[track_caller]
    pub(crate) fn expect(&self, code: i32) -> &Self {
        assert_eq!(self.code(), code, "stdout:\n{}\nstderr:\n{}", self.out, self.err);
        self
    }

    /// Standard error must be one sentence of ours, and say this.
    #[track_caller]
    pub(crate) fn says(&self, what: &str) -> &Self {
        assert!(self.err.starts_with("xxnet: "), "not ours:\n{}", self.err);
        assert_eq!(self.err.lines().count(), 1, "more than one line:\n{}", self.err);
        assert!(self.err.contains(what), "does not say '{what}':\n{}", self.err);
        self
    }
}

/// Runs a command to its end, within a limit.
#[track_caller]
pub(crate) fn finish(command: Command) -> Ended {
    Running::start(command).finish()
}

/// A command under way.
pub(crate) struct Running {
    child: Option<Child>,
    began: Instant,
    out: Receiver<(Instant, Vec<u8>)>,
    err: Receiver<(Instant, Vec<u8>)>,
    seen: [Vec<u8>; 2],
}

impl Running {
    pub(crate) fn start(command: Command) -> Self {
        let (mut running, out) = Self::unread(command);
        running.out = pieces(out);
        running
    }

    /// Its standard output is the caller's to read.
    pub(crate) fn unread(mut command: Command) -> (Self, ChildStdout) {
        let began = Instant::now();
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let out = child.stdout.take().unwrap();
        let err = pieces(child.stderr.take().unwrap());
        (Self { child: Some(child), began, out: channel().1, err, seen: [Vec::new(), Vec::new()] }, out)
    }

    pub(crate) fn process(&self) -> u32 {
        self.child.as_ref().unwrap().id()
    }

    /// Whether it still runs.
    pub(crate) fn lives(&mut self) -> bool {
        self.child.as_mut().unwrap().try_wait().unwrap().is_none()
    }

    pub(crate) fn stdin(&mut self) -> ChildStdin {
        self.child.as_mut().unwrap().stdin.take().unwrap()
    }

    /// Waits until standard output holds `text`; returns when that piece came.
    #[track_caller]
    pub(crate) fn until_out(&mut self, text: &str) -> Instant {
        wait_text(&self.out, &mut self.seen[0], text)
    }

    /// Waits until standard error holds `text`.
    #[track_caller]
    pub(crate) fn until_err(&mut self, text: &str) -> Instant {
        wait_text(&self.err, &mut self.seen[1], text)
    }

    /// Waits until standard output has so many lines; returns when the last one came.
    #[track_caller]
    pub(crate) fn until_lines(&mut self, count: usize) -> Instant {
        let until = Instant::now() + LONG;
        let mut at = Instant::now();
        while self.seen[0].iter().filter(|b| **b == b'\n').count() < count {
            let left = until.saturating_duration_since(Instant::now());
            let (when, piece) = self.out.recv_timeout(left).expect("one more line");
            at = when;
            self.seen[0].extend(piece);
        }
        at
    }

    /// Standard output so far.
    pub(crate) fn out(&self) -> String {
        String::from_utf8_lossy(&self.seen[0]).into_owned()
    }

    /// Standard error so far.
    pub(crate) fn err(&self) -> String {
        String::from_utf8_lossy(&self.seen[1]).into_owned()
    }

    /// Nobody reads standard output any more.
    pub(crate) fn close_out(&mut self) {
        self.out = channel().1;
    }

    pub(crate) fn signal(&self, number: i32) {
        signal(self.process(), number);
    }

    #[track_caller]
    pub(crate) fn finish(mut self) -> Ended {
        let mut child = self.child.take().unwrap();
        drop(child.stdin.take());
        let until = Instant::now() + LONG;
        let status = loop {
            if let Some(status) = child.try_wait().unwrap() {
                break status;
            }
            if Instant::now() > until {
                let _ = child.kill();
                let _ = child.wait();
                self.drain();
                panic!(
                    "it has not ended;\nstdout:\n{}\nstderr:\n{}",
                    String::from_utf8_lossy(&self.seen[0]),
                    String::from_utf8_lossy(&self.seen[1])
                );
            }
            std::thread::sleep(Duration::from_millis(1));
        };
        let took = self.began.elapsed();
        self.drain();
        let [out, err] =
            std::mem::take(&mut self.seen).map(|seen| String::from_utf8_lossy(&seen).into_owned());
        Ended { status, out, err, took }
    }

    /// Takes what is left, until both streams have ended.
    fn drain(&mut self) {
        for (pieces, seen) in [(&self.out, 0), (&self.err, 1)] {
            while let Ok((_, piece)) = pieces.recv_timeout(Duration::from_secs(5)) {
                self.seen[seen].extend(piece);
            }
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn pieces(mut from: impl Read + Send + 'static) -> Receiver<(Instant, Vec<u8>)> {
    let (sender, pieces) = channel();
    std::thread::spawn(move || {
        let mut buffer = [0; 65536];
        while let Ok(read @ 1..) = from.read(&mut buffer) {
            if sender.send((Instant::now(), buffer[..read].to_vec())).is_err() {
                return;
            }
        }
    });
    pieces
}

#[track_caller]
fn wait_text(pieces: &Receiver<(Instant, Vec<u8>)>, seen: &mut Vec<u8>, text: &str) -> Instant {
    let until = Instant::now() + LONG;
    let mut at = Instant::now();
    while !String::from_utf8_lossy(seen).contains(text) {
        match pieces.recv_timeout(until.saturating_duration_since(Instant::now())) {
            Ok((when, piece)) => {
                at = when;
                seen.extend(piece);
            }
            Err(_) => panic!("'{text}' never came, only:\n{}", String::from_utf8_lossy(seen)),
        }
    }
    at
}

/// Waits until something is true, looking often.
#[track_caller]
pub(crate) fn until(what: &str, wanted: impl FnMut() -> bool) {
    within(LONG, what, wanted);
}

/// As [`until`], with a limit of one's own.
#[track_caller]
pub(crate) fn within(limit: Duration, what: &str, mut wanted: impl FnMut() -> bool) -> Duration {
    let began = Instant::now();
    while !wanted() {
        assert!(began.elapsed() < limit, "waited {limit:?} for {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
    began.elapsed()
}

pub(crate) fn signal(process: u32, number: i32) {
    unsafe { libc::kill(i32::try_from(process).unwrap(), number) };
}

fn wait(child: &mut Child, limit: Duration) -> ExitStatus {
    let until = Instant::now() + limit;
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return status;
        }
        assert!(Instant::now() < until, "the daemon does not end");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Processes whose command line holds `mark`, this test's own excepted.
pub(crate) fn processes(mark: &str) -> Vec<u32> {
    let own = std::process::id();
    std::fs::read_dir("/proc")
        .unwrap()
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter(|process| *process != own)
        .filter(|process| {
            let line = std::fs::read(format!("/proc/{process}/cmdline")).unwrap_or_default();
            line.windows(mark.len()).any(|window| window == mark.as_bytes())
        })
        .collect()
}

/// The children of a process.
pub(crate) fn children(process: u32) -> Vec<u32> {
    let tasks = std::fs::read_dir(format!("/proc/{process}/task")).into_iter().flatten().flatten();
    tasks
        .flat_map(|task| {
            let list = std::fs::read_to_string(task.path().join("children")).unwrap_or_default();
            list.split_whitespace().filter_map(|child| child.parse().ok()).collect::<Vec<u32>>()
        })
        .collect()
}

/// A process and all that descend from it.
pub(crate) fn family(process: u32) -> Vec<u32> {
    let mut all = vec![process];
    let mut at = 0;
    while let Some(process) = all.get(at) {
        all.extend(children(*process));
        at += 1;
    }
    all
}

/// Whether the process is one of ours and not a command.
pub(crate) fn is_ours(process: u32) -> bool {
    let program = std::fs::canonicalize(env!("CARGO_BIN_EXE_xxnet")).unwrap();
    std::fs::read_link(format!("/proc/{process}/exe")).is_ok_and(|exe| exe == program)
}

/// Whether all of a process is over, so that nothing is open or locked by it any more: it is not there, or waits for whoever
/// has to take note of its end.
pub(crate) fn is_gone(process: u32) -> bool {
    let Ok(tasks) = std::fs::read_dir(format!("/proc/{process}/task")) else { return true };
    tasks.flatten().all(|task| {
        let stat = std::fs::read_to_string(task.path().join("stat")).unwrap_or_default();
        stat.rsplit_once(") ").is_none_or(|(_, rest)| rest.starts_with(['Z', 'X']))
    })
}

/// The most memory that a process has had at once, in bytes.
pub(crate) fn peak_memory(process: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().strip_suffix(" kB").unwrap().parse::<u64>().unwrap() << 10
}

/// A port that nothing listens on, for now.
pub(crate) fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// Speaks to a port as no peer does.
pub(crate) fn babble(address: &str, bytes: &[u8]) {
    let mut stream = std::net::TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(LONG)).unwrap();
    let _ = stream.write_all(bytes);
    // It is turned away: the stream ends.
    let mut rest = Vec::new();
    let _ = stream.read_to_end(&mut rest);
}
