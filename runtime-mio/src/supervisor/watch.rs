//! The supervisor's loop: spawns through keepers, deadlines, signals, and the end of everything.

use super::family::{exit_status, kill_descendants};
use super::keeper;
use super::packet::{HEAD, MAX_PACKET, Message};
use super::sys::{self, Epoll, Pid, Reaped, Signals};
use crate::clock;
use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd, RawFd};
use std::time::Duration;
use xxnet_core::process::{ExitStatus, SpawnError};
use xxnet_core::{Instant, RunId};

/// A keeper that has not ended its run this long after it was told to is killed; the supervisor then does its work.
const KEEPER_GRACE: Duration = Duration::from_secs(1);
/// Between two looks for what a killed keeper left.
const LOOK_AGAIN: Duration = Duration::from_millis(10);
/// Keepers that wait for the next run, at most. Each costs a few hundred kilobytes; forking one, a tenth of a
/// millisecond.
const MAX_IDLE: usize = 16;

/// Signals that are read: children's ends, and what is forwarded to the executor.
const SIGNALS: [i32; 9] = [
    libc::SIGCHLD,
    libc::SIGTERM,
    libc::SIGINT,
    libc::SIGHUP,
    libc::SIGQUIT,
    libc::SIGUSR1,
    libc::SIGUSR2,
    libc::SIGTSTP,
    libc::SIGCONT,
];

const EXECUTOR: u64 = 0;
const SIGNAL: u64 = 1;
const TIMER: u64 = 2;
/// Tokens from here on are a keeper's pid more.
const KEEPERS: u64 = 16;

struct Keeper {
    socket: OwnedFd,
    run: Option<Run>,
}

struct Run {
    id: RunId,
    deadline: Instant,
    /// Set once the keeper was told to end it: when the keeper is killed for not doing so.
    patience: Option<Instant>,
}

struct Watch {
    executor: Pid,
    /// How the executor ended.
    ended: Option<ExitStatus>,
    socket: OwnedFd,
    /// The executor hears nothing any more: no run may go on.
    closing: bool,
    /// What its full socket did not take. Bounded: two messages a run, and a frozen executor starts none.
    outbox: VecDeque<[u8; HEAD]>,
    /// The poll tells when its socket takes more.
    waits_to_send: bool,
    keepers: BTreeMap<Pid, Keeper>,
    idle: Vec<Pid>,
    runs: BTreeMap<RunId, Pid>,
    /// Runs whose keeper died: told as ended once no orphan is left.
    bereft: Vec<RunId>,
    /// Whether there may be processes that lost their keeper.
    orphans: bool,
    /// The executor's listening sockets, held to the very end.
    listeners: BTreeMap<u64, OwnedFd>,
    epoll: Epoll,
    signals: OwnedFd,
    timer: OwnedFd,
    /// When the timer is due.
    armed: Instant,
    null: OwnedFd,
}

/// The life of the supervisor. All signals are blocked.
pub(super) fn run(executor: Pid, socket: OwnedFd) -> ! {
    sys::set_name(c"xxn-supervisor");
    match Watch::new(executor, socket) {
        Ok(watch) => watch.serve(),
        Err(error) => {
            eprintln!("xxnet: the supervisor cannot start: {error}");
            sys::kill(executor, libc::SIGKILL);
            sys::exit(1)
        }
    }
}

impl Watch {
    fn new(executor: Pid, socket: OwnedFd) -> io::Result<Self> {
        sys::become_subreaper()?;
        let epoll = Epoll::new()?;
        let signals = Signals::of(&SIGNALS).descriptor()?;
        let timer = sys::timer()?;
        epoll.add(socket.as_fd(), EXECUTOR)?;
        epoll.add(signals.as_fd(), SIGNAL)?;
        epoll.add(timer.as_fd(), TIMER)?;
        Ok(Self {
            executor,
            ended: None,
            socket,
            closing: false,
            outbox: VecDeque::new(),
            waits_to_send: false,
            keepers: BTreeMap::new(),
            idle: Vec::new(),
            runs: BTreeMap::new(),
            bereft: Vec::new(),
            orphans: false,
            listeners: BTreeMap::new(),
            epoll,
            signals,
            timer,
            armed: Instant::FAR_FUTURE,
            null: sys::null()?,
        })
    }

    fn serve(mut self) -> ! {
        let mut events = sys::epoll_events();
        let mut packet = vec![0; MAX_PACKET];
        loop {
            let tokens: Vec<u64> = self.epoll.wait(&mut events).collect();
            for token in tokens {
                match token {
                    EXECUTOR => self.hear_executor(&mut packet),
                    SIGNAL => self.take_signals(),
                    TIMER => self.look_at_clock(),
                    keeper => {
                        let pid = keeper.checked_sub(KEEPERS).and_then(|pid| Pid::try_from(pid).ok());
                        pid.into_iter().for_each(|pid| self.hear_keeper(pid, &mut packet));
                    }
                }
            }
            if let Some(status) = self.ended.filter(|_| self.keepers.is_empty() && !self.orphans) {
                // The held listeners close here, as the last thing of all (PROTOCOL A8).
                sys::exit(match status {
                    ExitStatus::Code(code) => code,
                    ExitStatus::Signal(signal) => 128 + signal,
                });
            }
        }
    }

    // --- the executor ---

    fn hear_executor(&mut self, packet: &mut [u8]) {
        self.send_outbox();
        match sys::receive(self.socket.as_fd(), packet, false) {
            Ok(received) if received.len > 0 => {
                let packet = &packet[..received.len];
                if let Some((message, _)) = Message::decode(packet) {
                    self.obey(message, packet, received.fds, received.fds_lost);
                }
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Ok(_) | Err(_) => self.close(),
        }
    }

    fn obey(&mut self, message: Message, packet: &[u8], mut fds: Vec<OwnedFd>, fds_lost: bool) {
        match message {
            Message::Spawn { run, deadline, .. } => {
                let spawned = if fds_lost {
                    Err(SpawnError::System(libc::EMFILE))
                } else {
                    self.spawn(run, deadline, packet, &fds)
                };
                if let Err(error) = spawned {
                    self.tell(Message::Failed { run, error });
                }
            }
            Message::Extend { run, deadline } => {
                let Some(keeper) = self.runs.get(&run).and_then(|pid| self.keepers.get_mut(pid)) else {
                    return;
                };
                // A keeper that does not read loses this, and ends its run at the older deadline.
                let _ = sys::send(keeper.socket.as_fd(), packet, &[]);
                if let Some(run) = &mut keeper.run {
                    // The timer stays as it is: when it is due it looks again.
                    run.deadline = run.deadline.max(deadline);
                }
            }
            Message::Kill { run } => {
                if let Some(&pid) = self.runs.get(&run) {
                    self.end(pid);
                }
            }
            Message::Hold { socket } => {
                if let Some(fd) = fds.pop() {
                    self.listeners.insert(socket, fd);
                }
            }
            Message::Release { socket } => {
                self.listeners.remove(&socket);
            }
            // Only ever sent the other way.
            Message::Spawned { .. } | Message::Failed { .. } | Message::Ended { .. } => {}
        }
    }

    /// Tells the executor something, now or as soon as its socket takes it.
    fn tell(&mut self, message: Message) {
        self.outbox.push_back(message.encode());
        if self.outbox.len() == 1 {
            self.send_outbox();
        }
    }

    fn send_outbox(&mut self) {
        while let Some(packet) = self.outbox.front() {
            match sys::send(self.socket.as_fd(), packet, &[]) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                // Taken, or nobody is there to take anything.
                Ok(()) | Err(_) => self.outbox.pop_front(),
            };
        }
        let waits = !self.outbox.is_empty();
        if waits != self.waits_to_send && !self.closing {
            self.waits_to_send = waits;
            let _ = self.epoll.want_write(self.socket.as_fd(), EXECUTOR, waits);
        }
    }

    /// The executor is gone, or wants nothing any more: all that runs is ended. The socket itself stays open, as the
    /// keepers' copies of it do: its end at the other side means that all are gone.
    fn close(&mut self) {
        if self.closing {
            return;
        }
        self.closing = true;
        self.epoll.remove(self.socket.as_fd());
        let running: Vec<Pid> = self.runs.values().copied().collect();
        for pid in running {
            self.end(pid);
        }
        for pid in std::mem::take(&mut self.idle) {
            sys::kill(pid, libc::SIGKILL);
        }
    }

    // --- keepers ---

    /// Gives a run to a keeper, whole as the executor sent it.
    fn spawn(
        &mut self,
        run: RunId,
        deadline: Instant,
        packet: &[u8],
        fds: &[OwnedFd],
    ) -> Result<(), SpawnError> {
        let raw: Vec<RawFd> = fds.iter().map(|fd| fd.as_raw_fd()).collect();
        if clock::now() >= deadline {
            return Err(SpawnError::Late);
        }
        if self.closing || self.runs.contains_key(&run) {
            return Err(SpawnError::System(libc::EINVAL));
        }
        // An idle keeper may have been killed by somebody; there may be only dead ones.
        loop {
            let (pid, fresh) = match self.idle.pop() {
                Some(pid) => (pid, false),
                None => (self.fork_keeper().map_err(|error| keeper::system(&error))?, true),
            };
            let Some(keeper) = self.keepers.get_mut(&pid) else { continue };
            match sys::send(keeper.socket.as_fd(), packet, &raw) {
                Ok(()) => {
                    keeper.run = Some(Run { id: run, deadline, patience: None });
                    self.runs.insert(run, pid);
                    self.wake_at(deadline);
                    return Ok(());
                }
                Err(error) => {
                    sys::kill(pid, libc::SIGKILL);
                    if fresh {
                        return Err(keeper::system(&error));
                    }
                }
            }
        }
    }

    fn fork_keeper(&mut self) -> io::Result<Pid> {
        let (ours, theirs) = sys::packet_pair()?;
        let (socket, null) = (self.socket.try_clone()?, self.null.try_clone()?);
        let Some(pid) = sys::fork()? else { keeper::run(theirs, socket, null) };
        if let Err(error) = self.epoll.add(ours.as_fd(), KEEPERS + u64::from(pid.cast_unsigned())) {
            sys::kill(pid, libc::SIGKILL);
            return Err(error);
        }
        self.keepers.insert(pid, Keeper { socket: ours, run: None });
        Ok(pid)
    }

    /// Takes one message of a keeper.
    fn hear_keeper(&mut self, pid: Pid, packet: &mut [u8]) {
        let Some(keeper) = self.keepers.get_mut(&pid) else { return };
        match keeper.hear(packet) {
            Heard::Nothing => {}
            Heard::About(message) => self.tell(message),
            Heard::Over(run, message) => {
                self.runs.remove(&run);
                self.tell(message);
                self.rest(pid);
            }
            Heard::Gone => {
                // It is dead, as the system is about to say, or of no use.
                self.epoll.remove(keeper.socket.as_fd());
                sys::kill(pid, libc::SIGKILL);
            }
        }
    }

    /// A keeper without a run waits for the next, unless enough do.
    fn rest(&mut self, pid: Pid) {
        if self.closing || self.idle.len() >= MAX_IDLE {
            sys::kill(pid, libc::SIGKILL);
        } else {
            self.idle.push(pid);
        }
    }

    /// Has a keeper end its run: all that it is told now is to hurry.
    fn end(&mut self, pid: Pid) {
        let Some(keeper) = self.keepers.get_mut(&pid) else { return };
        let Some(run) = &mut keeper.run else { return };
        if run.patience.is_none() {
            let patience = clock::now() + KEEPER_GRACE;
            run.patience = Some(patience);
            // One that does not take it, or was stopped for good, meets the end of our patience.
            let _ = sys::send(keeper.socket.as_fd(), &Message::Kill { run: run.id }.encode(), &[]);
            sys::kill(pid, libc::SIGCONT);
            self.wake_at(patience);
        }
    }

    // --- time ---

    /// Wakes up at a moment at the latest.
    fn wake_at(&mut self, at: Instant) {
        if at < self.armed && sys::set_timer(self.timer.as_fd(), at).is_ok() {
            self.armed = at;
        }
    }

    fn look_at_clock(&mut self) {
        let _ = sys::read(self.timer.as_fd(), &mut Vec::new(), 8);
        self.armed = Instant::FAR_FUTURE;
        let now = clock::now();
        let mut next = Instant::FAR_FUTURE;
        let mut late = Vec::new();
        for (pid, keeper) in &mut self.keepers {
            let Some(run) = &mut keeper.run else { continue };
            match run.patience {
                Some(patience) if patience <= now => {
                    // Its children become ours as it dies; they are found when it is reaped.
                    sys::kill(*pid, libc::SIGKILL);
                    run.patience = Some(Instant::FAR_FUTURE);
                }
                Some(patience) => next = next.min(patience),
                None if run.deadline <= now => late.push(*pid),
                None => next = next.min(run.deadline),
            }
        }
        self.wake_at(next);
        for pid in late {
            self.end(pid);
        }
        self.clear_orphans();
    }

    // --- signals and ends ---

    fn take_signals(&mut self) {
        while let Some(signal) = sys::next_signal(self.signals.as_fd()) {
            match signal {
                libc::SIGCHLD => self.reap(),
                _ if self.ended.is_some() => {}
                libc::SIGTSTP => {
                    sys::kill(self.executor, libc::SIGSTOP);
                    // The deadlines are the keepers' to watch from here until SIGCONT.
                    sys::kill(sys::pid(), libc::SIGSTOP);
                }
                other => sys::kill(self.executor, other),
            }
        }
    }

    fn reap(&mut self) {
        loop {
            match sys::reap() {
                Reaped::Child(pid, status) if pid == self.executor && self.ended.is_none() => {
                    self.ended = Some(exit_status(status));
                    // What it may have started by itself is ours now.
                    self.orphans = true;
                    self.close();
                }
                // An orphan, if it is no keeper.
                Reaped::Child(pid, _) => self.bury_keeper(pid),
                Reaped::NoneEnded => return self.clear_orphans(),
                Reaped::NoChildren => return self.no_orphans(),
            }
        }
    }

    /// A keeper was reaped. If that was before the end of its run, what it kept became ours as it died. Its number is no
    /// longer its own.
    fn bury_keeper(&mut self, pid: Pid) {
        let Some(mut keeper) = self.keepers.remove(&pid) else { return };
        self.epoll.remove(keeper.socket.as_fd());
        self.idle.retain(|idle| *idle != pid);
        let mut packet = [0; HEAD];
        loop {
            // Its last words count.
            match keeper.hear(&mut packet) {
                Heard::About(message) => self.tell(message),
                Heard::Over(run, message) => {
                    self.runs.remove(&run);
                    self.tell(message);
                }
                Heard::Nothing | Heard::Gone => break,
            }
        }
        if let Some(run) = keeper.run {
            self.runs.remove(&run.id);
            self.bereft.push(run.id);
            self.orphans = true;
        }
    }

    /// Kills the processes that lost their keeper, if there are any.
    fn clear_orphans(&mut self) {
        // At the end of all, the keepers go first: what the executor left can wait for them.
        let keepers_first = self.closing && self.bereft.is_empty() && !self.keepers.is_empty();
        if !self.orphans || keepers_first {
            return;
        }
        let spared =
            |pid: Pid| self.keepers.contains_key(&pid) || (pid == self.executor && self.ended.is_none());
        if kill_descendants(&spared) > 0 {
            self.wake_at(clock::now() + LOOK_AGAIN);
        } else {
            self.no_orphans();
        }
    }

    /// Every process that lost its keeper is reaped.
    fn no_orphans(&mut self) {
        self.orphans = false;
        for run in std::mem::take(&mut self.bereft) {
            self.tell(Message::Ended { run, status: ExitStatus::Signal(libc::SIGKILL) });
        }
    }
}

/// What a keeper said.
enum Heard {
    Nothing,
    /// Something to pass on.
    About(Message),
    /// That its run is over, to pass on.
    Over(RunId, Message),
    /// It will say no more.
    Gone,
}

impl Keeper {
    fn hear(&mut self, packet: &mut [u8]) -> Heard {
        let received = match sys::receive(self.socket.as_fd(), packet, false) {
            Ok(received) if received.len > 0 => received,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Heard::Nothing,
            Ok(_) | Err(_) => return Heard::Gone,
        };
        match Message::decode(&packet[..received.len]) {
            Some((message @ (Message::Ended { run, .. } | Message::Failed { run, .. }), _)) => {
                self.run.take_if(|held| held.id == run).map_or(Heard::Nothing, |_| Heard::Over(run, message))
            }
            Some((message @ Message::Spawned { .. }, _)) => Heard::About(message),
            _ => Heard::Nothing,
        }
    }
}
