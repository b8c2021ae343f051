//! Commands on real processes: the backend of [`ProcessAction`], fed by the [`supervisor`](crate::supervisor).
//!
//! The pipes are made and kept here; the command's ends of them travel to the supervisor with the spawn. Everything is
//! edge-triggered on the driver's poll: an armed read is tried at once, and again whenever its pipe has something new.

mod pipes;

use crate::supervisor::Supervisor;
use crate::supervisor::packet::{HEAD, MAX_INLINE, Message, encode_spec};
use crate::supervisor::sys;
use mio::unix::SourceFd;
use mio::{Interest, Registry, Token};
use pipes::{Input, Output, Scratch};
use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::PathBuf;
use xxnet_core::process::{ExitStatus, ProcessAction, ProcessEvent, RunSpec, SpawnError, Stream};
use xxnet_core::{FolderId, Instant, RunId};

/// Set in every token of this backend, and in no other.
pub const TOKEN_BIT: usize = 1 << 62;

const SUPERVISOR: Token = Token(TOKEN_BIT | 3);

/// Which of a run's pipes a token means; 3 is the supervisor's socket.
const STDOUT: usize = 0;
const STDERR: usize = 1;
const STDIN: usize = 2;

fn token(run: RunId, pipe: usize) -> Token {
    // Runs are counted from 1: 60 bits last for ever.
    Token(TOKEN_BIT | (run.0 as usize) << 2 | pipe)
}

/// The processes of one executor.
#[derive(Debug)]
pub struct Processes {
    /// `None` once the supervisor is gone.
    socket: Option<OwnedFd>,
    registry: Option<Registry>,
    /// What the supervisor's full socket did not take yet.
    outbox: VecDeque<Packet>,
    runs: BTreeMap<RunId, Run>,
    /// Spawns that the system did not take, to be told.
    refused: VecDeque<ProcessEvent>,
    /// `PATH`, `HOME` and `LANG`: all that commands get of this process's environment.
    clean: Vec<(Vec<u8>, Vec<u8>)>,
    scratch: Scratch,
    packet: Vec<u8>,
}

#[derive(Debug)]
struct Packet {
    bytes: Vec<u8>,
    fds: Vec<OwnedFd>,
    /// The run that it starts.
    run: Option<RunId>,
}

impl Packet {
    fn of(message: Message, fds: Vec<OwnedFd>) -> Self {
        Self { bytes: message.encode().to_vec(), fds, run: None }
    }
}

/// One run, until its exit and the end of both streams are told.
#[derive(Debug)]
struct Run {
    state: State,
    input: Input,
    outputs: [Output; 2],
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Starting,
    Running,
    Exited,
}

impl Processes {
    /// Commands that `supervisor` starts.
    pub fn new(supervisor: Supervisor) -> Self {
        let of = |name: &str, default: &str| {
            let value = std::env::var_os(name).filter(|value| !value.is_empty());
            let value = value.map_or_else(|| default.as_bytes().to_vec(), |value| value.as_bytes().to_vec());
            (name.as_bytes().to_vec(), value)
        };
        let clean = vec![
            of("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"),
            of("HOME", "/"),
            of("LANG", "C.UTF-8"),
        ];
        // A command that closed its standard input must be an answer here, not the end of the daemon.
        sys::dispose(libc::SIGPIPE, &sys::Disposition::Ignore);
        Self {
            socket: Some(supervisor.socket),
            registry: None,
            outbox: VecDeque::new(),
            runs: BTreeMap::new(),
            refused: VecDeque::new(),
            clean,
            scratch: Scratch::default(),
            packet: vec![0; HEAD],
        }
    }

    /// Names the poll that wakes the driver. Before anything else.
    ///
    /// # Errors
    /// The supervisor's socket could not be registered.
    pub fn attach(&mut self, registry: Registry) -> io::Result<()> {
        if let Some(socket) = &self.socket {
            let both = Interest::READABLE | Interest::WRITABLE;
            registry.register(&mut SourceFd(&socket.as_raw_fd()), SUPERVISOR, both)?;
        }
        self.registry = Some(registry);
        Ok(())
    }

    /// Whether the supervisor has ended. All runs are over, and have been told so; a new one is impossible, and the
    /// executor should end too.
    pub fn supervisor_gone(&self) -> bool {
        self.socket.is_none()
    }

    /// Has the supervisor keep a listening socket open until the last command is reaped, whatever happens to this
    /// process (PROTOCOL A8).
    ///
    /// # Errors
    /// The socket could not be duplicated.
    pub fn hold_listener(&mut self, fd: BorrowedFd<'_>) -> io::Result<()> {
        let socket = sys::socket_identity(fd)?;
        let fds = vec![fd.try_clone_to_owned()?];
        self.send(Packet::of(Message::Hold { socket }, fds));
        Ok(())
    }

    /// Ends the listening of a held socket and has the supervisor let go of it. Call it before closing the socket; its
    /// address can be listened on again at once (by a socket with `SO_REUSEADDR`, as listeners have).
    pub fn release_listener(&mut self, fd: BorrowedFd<'_>) {
        if let Ok(socket) = sys::socket_identity(fd) {
            sys::stop_listening(fd);
            self.send(Packet::of(Message::Release { socket }, Vec::new()));
        }
    }

    /// Does what a machine asks.
    pub fn act(
        &mut self,
        now: Instant,
        action: ProcessAction,
        folder_path: &dyn Fn(FolderId) -> PathBuf,
        out: &mut VecDeque<ProcessEvent>,
    ) {
        match action {
            ProcessAction::Spawn { run, spec, deadline } => {
                let spawned = if now >= deadline {
                    Err(SpawnError::Late)
                } else {
                    self.spawn(run, &spec, deadline, &folder_path(spec.folder))
                };
                if let Err(error) = spawned {
                    out.push_back(ProcessEvent::SpawnFailed { run, error });
                }
            }
            ProcessAction::Extend { run, deadline } => self.about(run, Message::Extend { run, deadline }),
            ProcessAction::Kill { run } => self.about(run, Message::Kill { run }),
            ProcessAction::ReadOutput { run, stream, max } => {
                // A stream whose end was told, or is in `out` already, has no more to say.
                let Some(held) = self.runs.get_mut(&run) else { return };
                held.outputs[stream.index()].arm(max);
                self.read(run, stream, out);
            }
            ProcessAction::WriteInput { run, data } => match self.runs.get_mut(&run) {
                Some(held) => {
                    held.input.give(data);
                    self.write(run, out);
                }
                None => out.push_back(ProcessEvent::InputClosed { run }),
            },
            ProcessAction::CloseInput { run } => {
                if let Some(held) = self.runs.get_mut(&run) {
                    held.input = Input::Closed;
                }
            }
        }
        out.append(&mut self.refused);
    }

    /// Takes an event of the poll whose token has [`TOKEN_BIT`].
    pub fn ready(&mut self, event: &mio::event::Event, out: &mut VecDeque<ProcessEvent>) {
        if event.token() == SUPERVISOR {
            self.send_outbox();
            out.append(&mut self.refused);
            self.hear_supervisor(out);
            return;
        }
        let number = event.token().0 & !TOKEN_BIT;
        let run = RunId((number >> 2) as u64);
        // Anything that happened to a pipe is a reason to try it; late events name a run that is gone.
        match number & 3 {
            STDOUT => self.read(run, Stream::Stdout, out),
            STDERR => self.read(run, Stream::Stderr, out),
            _ => self.write(run, out),
        }
    }

    // --- towards the supervisor ---

    fn spawn(
        &mut self,
        run: RunId,
        spec: &RunSpec,
        deadline: Instant,
        folder: &std::path::Path,
    ) -> Result<(), SpawnError> {
        if self.socket.is_none() {
            return Err(SpawnError::System(libc::EPIPE));
        }
        if self.runs.contains_key(&run) {
            return Err(SpawnError::System(libc::EINVAL));
        }
        let mut body = Vec::new();
        self.encode(folder, spec, &mut body).ok_or(SpawnError::System(libc::EINVAL))?;
        let large = body.len() > MAX_INLINE;
        let (mut packet, held) = connect(spec.stdin).map_err(|error| system(&error))?;
        if large {
            packet.fds.push(sys::memory_file(&body).map_err(|error| system(&error))?);
            body.clear();
        }
        packet.run = Some(run);
        packet.bytes =
            [&Message::Spawn { run, deadline, stdin: spec.stdin, large }.encode()[..], &body].concat();
        self.runs.insert(run, held);
        self.send(packet);
        Ok(())
    }

    /// The spec with its whole environment: the clean one, overridden by the task's, and the task's names.
    fn encode(&self, folder: &std::path::Path, spec: &RunSpec, into: &mut Vec<u8>) -> Option<()> {
        let task = spec.folder.task.to_string();
        let attempt = spec.folder.attempt.0.to_string();
        let own: [(&[u8], &[u8]); 2] =
            [(b"XXNET_TASK", task.as_bytes()), (b"XXNET_ATTEMPT", attempt.as_bytes())];
        let pair = |(name, value): &'_ (Vec<u8>, Vec<u8>)| (name.clone(), value.clone());
        let mut env: BTreeMap<Vec<u8>, Vec<u8>> = self.clean.iter().map(pair).collect();
        env.extend(spec.env.iter().map(pair));
        env.extend(own.map(|(name, value)| (name.to_vec(), value.to_vec())));
        let env: Vec<(&[u8], &[u8])> = env.iter().map(|(name, value)| (&name[..], &value[..])).collect();
        encode_spec(folder.as_os_str().as_bytes(), spec, &env, into)
    }

    /// Says something about a run that has not ended.
    fn about(&mut self, run: RunId, message: Message) {
        if self.runs.get(&run).is_some_and(|held| held.state != State::Exited) {
            self.send(Packet::of(message, Vec::new()));
        }
    }

    fn send(&mut self, packet: Packet) {
        if self.socket.is_some() {
            self.outbox.push_back(packet);
            if self.outbox.len() == 1 {
                self.send_outbox();
            }
        }
    }

    fn send_outbox(&mut self) {
        let Some(socket) = &self.socket else { return };
        while let Some(packet) = self.outbox.front() {
            let fds: Vec<RawFd> = packet.fds.iter().map(|fd| fd.as_raw_fd()).collect();
            match sys::send(socket.as_fd(), &packet.bytes, &fds) {
                Ok(()) => {}
                // The supervisor is dying, as the end of its socket will say once all is reaped.
                Err(error) if matches!(error.raw_os_error(), Some(libc::EPIPE | libc::ECONNRESET)) => {}
                // It becomes writable, and `ready` goes on.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                // Too many descriptors are under way, or there is no memory: a spawn is refused, all else tried again.
                Err(error) => match packet.run {
                    Some(run) => {
                        self.runs.remove(&run);
                        self.refused.push_back(ProcessEvent::SpawnFailed { run, error: system(&error) });
                    }
                    None => return,
                },
            }
            self.outbox.pop_front();
        }
    }

    // --- from the supervisor ---

    fn hear_supervisor(&mut self, out: &mut VecDeque<ProcessEvent>) {
        while let Some(socket) = &self.socket {
            match sys::receive(socket.as_fd(), &mut self.packet, false) {
                Ok(received) if received.len > 0 => {
                    if let Some((message, _)) = Message::decode(&self.packet[..received.len]) {
                        self.take(message, out);
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Ok(_) | Err(_) => self.supervisor_ended(out),
            }
        }
    }

    fn take(&mut self, message: Message, out: &mut VecDeque<ProcessEvent>) {
        match message {
            Message::Spawned { run } => {
                if let Some(held) = self.runs.get_mut(&run).filter(|held| held.state == State::Starting) {
                    held.state = State::Running;
                    out.push_back(ProcessEvent::Spawned { run });
                }
            }
            Message::Failed { run, error } => {
                if self.runs.remove(&run).is_some() {
                    out.push_back(ProcessEvent::SpawnFailed { run, error });
                }
            }
            Message::Ended { run, status } => self.exited(run, status, out),
            // Only ever sent the other way.
            Message::Spawn { .. }
            | Message::Extend { .. }
            | Message::Kill { .. }
            | Message::Hold { .. }
            | Message::Release { .. } => {}
        }
    }

    /// Every process of the run is reaped. What is left in its pipes is taken out now, so that none stays open for a
    /// reader who takes its time.
    fn exited(&mut self, run: RunId, status: ExitStatus, out: &mut VecDeque<ProcessEvent>) {
        let Some(held) = self.runs.get_mut(&run) else { return };
        if held.state == State::Starting {
            // Its keeper was killed before it could say whether the command runs; nothing of it is left.
            self.runs.remove(&run);
            out.push_back(ProcessEvent::SpawnFailed { run, error: SpawnError::System(libc::ECHILD) });
            return;
        }
        held.state = State::Exited;
        if held.input.close() {
            out.push_back(ProcessEvent::InputClosed { run });
        }
        for output in &mut held.outputs {
            output.drain();
        }
        out.push_back(ProcessEvent::Exited { run, status });
        for stream in Stream::BOTH {
            self.read(run, stream, out);
        }
    }

    /// The socket ended: the supervisor is gone and, as every keeper holds its end of the socket too, so is every keeper
    /// with all that it kept.
    fn supervisor_ended(&mut self, out: &mut VecDeque<ProcessEvent>) {
        if let (Some(registry), Some(socket)) = (&self.registry, &self.socket) {
            let _ = registry.deregister(&mut SourceFd(&socket.as_raw_fd()));
        }
        self.socket = None;
        self.outbox.clear();
        let over: Vec<RunId> =
            self.runs.iter().filter(|(_, held)| held.state != State::Exited).map(|(run, _)| *run).collect();
        for run in over {
            self.exited(run, ExitStatus::Signal(libc::SIGKILL), out);
        }
    }

    // --- pipes ---

    fn read(&mut self, run: RunId, stream: Stream, out: &mut VecDeque<ProcessEvent>) {
        let Some(held) = self.runs.get_mut(&run) else { return };
        let output = &mut held.outputs[stream.index()];
        let pipe = if stream == Stream::Stdout { STDOUT } else { STDERR };
        if let Some(data) = output.read(token(run, pipe), self.registry.as_ref(), &mut self.scratch) {
            out.push_back(ProcessEvent::Output { run, stream, data });
        }
        if output.take_end() {
            out.push_back(ProcessEvent::OutputEnded { run, stream });
        }
        if held.state == State::Exited && held.outputs.iter().all(Output::is_over) {
            self.runs.remove(&run);
        }
    }

    fn write(&mut self, run: RunId, out: &mut VecDeque<ProcessEvent>) {
        let Some(held) = self.runs.get_mut(&run) else { return };
        match held.input.write(token(run, STDIN), self.registry.as_ref()) {
            pipes::Written::Waits => {}
            pipes::Written::All => out.push_back(ProcessEvent::InputTaken { run }),
            pipes::Written::Closed => out.push_back(ProcessEvent::InputClosed { run }),
        }
    }
}

/// The pipes of a run: the command's ends in a packet, ours in the run.
fn connect(stdin: bool) -> io::Result<(Packet, Run)> {
    let mut fds = Vec::with_capacity(sys::MAX_FDS);
    let mut output = || {
        let (ours, theirs) = sys::pipe()?;
        sys::set_nonblocking(ours.as_fd())?;
        fds.push(theirs);
        io::Result::Ok(Output::new(ours))
    };
    let outputs = [output()?, output()?];
    let input = if stdin {
        let (theirs, ours) = sys::pipe()?;
        sys::set_nonblocking(ours.as_fd())?;
        fds.push(theirs);
        Input::new(ours)
    } else {
        Input::Closed
    };
    Ok((Packet { bytes: Vec::new(), fds, run: None }, Run { state: State::Starting, input, outputs }))
}

fn system(error: &io::Error) -> SpawnError {
    SpawnError::System(error.raw_os_error().unwrap_or(libc::EIO))
}
