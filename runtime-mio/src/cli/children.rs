//! Daemons as child processes of `up`, `demo` and `bench`: started, heard, ended with us however we end.

use super::errors::{Failure, Outcome, plain};
use super::host;
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read};
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{ChildStdin, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How long children get to shut down in order; the longest step is a kill and its reaping.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long they may take to start; a hundred times what it takes.
const START: Duration = Duration::from_secs(10);

/// Which child.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ChildId(usize);

/// What comes from the children, and from whoever wants us to end.
#[derive(Debug)]
pub(crate) enum Heard {
    /// A daemon has got so far: its answer to `--until-stdin-closes`, however quiet its log is.
    Ready(ChildId, Map<String, Value>),
    /// A line of a child's log.
    Line(ChildId, Map<String, Value>),
    /// Something else that it wrote to standard error.
    Text(ChildId, String),
    /// A line that it wrote to standard output, if that is heard.
    Output(String),
    /// It has ended.
    Gone(ChildId, ExitStatus),
    /// A signal asks us to end, for the so-manieth time.
    Signal(i32, u32),
}

struct Child {
    name: String,
    process: u32,
    /// Its end tells the child to shut down; the system closes it for us if we are killed.
    stdin: Option<ChildStdin>,
    gone: Option<ExitStatus>,
    readers: Vec<JoinHandle<()>>,
}

/// All children of this process.
pub(crate) struct Children {
    program: PathBuf,
    key_file: Option<PathBuf>,
    children: Vec<Child>,
    sender: Sender<Heard>,
    heard: Receiver<Heard>,
}

impl Children {
    /// None yet; signals are heard from now on.
    pub(crate) fn new(key_file: Option<PathBuf>) -> Outcome<Self> {
        // The file itself, even if another one has taken its name since.
        let own = PathBuf::from("/proc/self/exe");
        let program = if own.exists() {
            own
        } else {
            std::env::current_exe().map_err(|error| {
                Failure::new(format!("cannot find this program itself: {}", plain(&error)))
            })?
        };
        let (sender, heard) = channel();
        let signals = sender.clone();
        host::on_signals(move |signal, count| {
            let _ = signals.send(Heard::Signal(signal, count));
        })?;
        Ok(Self { program, key_file, children: Vec::new(), sender, heard })
    }

    /// Starts `xxnet ARGS…` as a daemon that ends with us. Its log is heard as JSON.
    pub(crate) fn daemon(&mut self, name: &str, args: &[String]) -> Outcome<ChildId> {
        let mut command = self.command();
        command.args(args).arg("--until-stdin-closes").stdin(Stdio::piped()).stdout(Stdio::piped());
        self.start(name, command)
    }

    /// This program, with our key and logs as JSON.
    pub(crate) fn command(&self) -> Command {
        let mut command = self.plain_command();
        command.arg("--log-format=json");
        command
    }

    /// This program, with our key.
    pub(crate) fn plain_command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command.arg0("xxnet");
        if let Some(path) = &self.key_file {
            command.arg("--key-file").arg(path);
        }
        command
    }

    /// Starts a prepared command and listens to its standard error.
    pub(crate) fn start(&mut self, name: &str, mut command: Command) -> Outcome<ChildId> {
        // A group of its own: Ctrl-C is ours to pass on, in order.
        let mut child = command
            .stderr(Stdio::piped())
            .process_group(0)
            .spawn()
            .map_err(|error| Failure::new(format!("cannot start {name}: {}", plain(&error))))?;
        let id = ChildId(self.children.len());
        let stderr = child.stderr.take();
        let daemon = child.stdin.is_some();
        let (lines, end) = (self.sender.clone(), self.sender.clone());
        let mut readers = Vec::new();
        if let Some(stdout) = child.stdout.take() {
            let output = self.sender.clone();
            readers.push(std::thread::spawn(move || {
                read(stdout, &output, |text| match serde_json::from_str(&text) {
                    Ok(Value::Object(object)) if daemon => Heard::Ready(id, object),
                    _ => Heard::Output(text),
                });
            }));
        }
        if let Some(stderr) = stderr {
            readers.push(std::thread::spawn(move || {
                read(stderr, &lines, |text| match serde_json::from_str(&text) {
                    Ok(Value::Object(object)) => Heard::Line(id, object),
                    _ => Heard::Text(id, text),
                });
            }));
        }
        self.children.push(Child {
            name: name.to_owned(),
            process: child.id(),
            stdin: child.stdin.take(),
            gone: None,
            readers,
        });
        std::thread::spawn(move || {
            if let Ok(status) = child.wait() {
                let _ = end.send(Heard::Gone(id, status));
            }
        });
        Ok(id)
    }

    /// The child's name.
    pub(crate) fn name(&self, id: ChildId) -> &str {
        &self.children[id.0].name
    }

    /// The child's process.
    pub(crate) fn process(&self, id: ChildId) -> u32 {
        self.children[id.0].process
    }

    /// The next thing heard, or nothing within `patience`.
    pub(crate) fn next(&mut self, patience: Duration) -> Option<Heard> {
        let heard = match self.heard.recv_timeout(patience) {
            Ok(heard) => heard,
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => return None,
        };
        if let Heard::Gone(id, status) = heard {
            self.children[id.0].gone = Some(status);
        }
        Some(heard)
    }

    /// Waits until a daemon has got to `event`; `other` gets everything else.
    ///
    /// # Errors
    /// As [`wait_for_all`](Self::wait_for_all).
    pub(crate) fn wait_for(
        &mut self,
        child: ChildId,
        event: &str,
        other: impl FnMut(&Self, &Heard),
    ) -> Outcome<Map<String, Value>> {
        let found = self.wait_for_all(&[child], event, other)?;
        found.into_iter().next().ok_or_else(|| Failure::new("nothing was waited for"))
    }

    /// Waits until each of these has got to `event`, in whatever order; `other` gets everything else.
    ///
    /// # Errors
    /// One ends before, all take longer than ten seconds, or a signal asks us to end.
    pub(crate) fn wait_for_all(
        &mut self,
        wanted: &[ChildId],
        event: &str,
        mut other: impl FnMut(&Self, &Heard),
    ) -> Outcome<Vec<Map<String, Value>>> {
        let until = Instant::now() + START;
        let mut found: BTreeMap<ChildId, Map<String, Value>> = BTreeMap::new();
        let mut last = String::new();
        while let Some(missing) = wanted.iter().find(|child| !found.contains_key(child)) {
            match self.next(until.saturating_duration_since(Instant::now())) {
                Some(Heard::Ready(id, line)) if wanted.contains(&id) && text(&line, "event") == event => {
                    found.insert(id, line);
                }
                Some(Heard::Signal(signal, _)) => {
                    return Err(Failure::silent(super::run::signal_code(signal)));
                }
                Some(Heard::Gone(id, status)) if wanted.contains(&id) => {
                    self.hear_last(id, &mut last);
                    return Err(Failure::new(match last.trim_start_matches("xxnet: ") {
                        "" => format!("{} has ended at once ({status})", self.name(id)),
                        last => last.to_owned(),
                    }));
                }
                // Not passed on yet: should it be its last, it is what we fail with.
                Some(Heard::Text(id, text)) if wanted.contains(&id) => last = text,
                Some(heard) => other(self, &heard),
                None => {
                    let seconds = START.as_secs();
                    let name = self.name(*missing);
                    return Err(Failure::new(format!(
                        "{name} has not said '{event}' within {seconds} seconds"
                    )));
                }
            }
        }
        Ok(found.into_values().collect())
    }

    /// What a child that has ended said last: its end and its words come by different ways.
    fn hear_last(&mut self, id: ChildId, last: &mut String) {
        for reader in self.children[id.0].readers.drain(..) {
            let _ = reader.join();
        }
        while let Some(heard) = self.next(Duration::ZERO) {
            match heard {
                Heard::Text(from, text) if from == id => *last = text,
                _ => {}
            }
        }
    }

    /// Ends all children in order, the last started first asked; kills what stays. Harmless twice.
    pub(crate) fn end(&mut self) {
        for child in self.children.iter_mut().rev() {
            // A daemon shuts down when its standard input ends; others have to be told.
            if child.stdin.take().is_none() && child.gone.is_none() {
                signal(child.process, libc::SIGTERM);
            }
        }
        let until = Instant::now() + PATIENCE;
        while self.children.iter().any(|child| child.gone.is_none()) {
            match self.next(until.saturating_duration_since(Instant::now())) {
                Some(Heard::Signal(_, 2..)) | None => break,
                Some(_) => {}
            }
        }
        for child in self.children.iter_mut().filter(|child| child.gone.is_none()) {
            signal(child.process, libc::SIGKILL);
        }
        while self.children.iter().any(|child| child.gone.is_none()) {
            if self.next(Duration::from_secs(2)).is_none() {
                break;
            }
        }
        for child in self.children.iter_mut().filter(|child| child.gone.is_some()) {
            for reader in child.readers.drain(..) {
                let _ = reader.join();
            }
        }
    }
}

impl Drop for Children {
    fn drop(&mut self) {
        self.end();
    }
}

fn signal(process: u32, number: i32) {
    if let Ok(process) = libc::pid_t::try_from(process) {
        // SAFETY: no memory is touched.
        unsafe { libc::kill(process, number) };
    }
}

fn read(from: impl Read, heard: &Sender<Heard>, wrap: impl Fn(String) -> Heard) {
    for line in BufReader::new(from).split(b'\n').map_while(Result::ok) {
        if heard.send(wrap(String::from_utf8_lossy(&line).into_owned())).is_err() {
            return;
        }
    }
}

/// A text of a log line; empty if it has none of that name.
pub(crate) fn text<'a>(line: &'a Map<String, Value>, name: &str) -> &'a str {
    line.get(name).and_then(Value::as_str).unwrap_or("")
}

/// A number of a log line.
pub(crate) fn number(line: &Map<String, Value>, name: &str) -> Option<u64> {
    line.get(name).and_then(Value::as_u64)
}
