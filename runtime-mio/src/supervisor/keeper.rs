//! The keeper: a process that runs one attempt at a time and answers for every process of it.
//!
//! It is child subreaper, so whatever the command leaves behind becomes the keeper's own child. It says `Ended` when
//! `waitpid` tells it that it has no child left: the proof that every process of the attempt is gone and reaped. Nothing
//! of an attempt survives that word, so the same keeper then takes the next attempt, and the cost of a fork is saved.
//!
//! It watches the deadline itself, beside the supervisor, for the case that the supervisor is stopped; it ends what it
//! has when the supervisor ends (its socket says so); and it keeps the executor's socket open, so that the executor sees
//! the end of the supervisor only once every keeper is gone, with all that they kept.

use super::exec::Launcher;
use super::family::{exit_status, kill_descendants};
use super::packet::{MAX_PACKET, Message, Spec};
use super::sys::{self, Disposition, Pid, Reaped, Signals};
use crate::clock;
use std::fs::File;
use std::io::Read as _;
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};
use std::time::Duration;
use xxnet_core::process::{ExitStatus, SpawnError};
use xxnet_core::{Instant, RunId};

/// How long the command's process group may take to die before the keeper looks for who left it.
const GROUP_GRACE: Duration = Duration::from_millis(2);
/// Between two looks, as long as each finds others.
const SHORTEST_PAUSE: Duration = Duration::from_millis(1);
/// Between two looks, when all that is left is slow to die.
const LONGEST_PAUSE: Duration = Duration::from_millis(50);

/// What a keeper holds.
pub(super) struct Keeper {
    /// Commands come from here, ends are told here.
    supervisor: OwnedFd,
    /// The supervisor's end of the executor's socket: `Spawned` goes straight to the executor.
    executor: OwnedFd,
    null: OwnedFd,
    launcher: Launcher,
    buffer: Vec<u8>,
    /// What a wait for the end of a child does not block.
    waiting: Signals,
}

/// An attempt's command, until it is reaped.
struct Run {
    id: RunId,
    command: Pid,
    deadline: Instant,
    /// How the command ended, once it is reaped.
    status: Option<ExitStatus>,
}

/// Why an attempt's watch ended.
enum End {
    /// The command ended, or is to be ended.
    Over,
    /// The supervisor is gone.
    Orphaned,
}

/// The life of a keeper: from the fork in the supervisor until that one has gone.
pub(super) fn run(supervisor: OwnedFd, executor: OwnedFd, null: OwnedFd) -> ! {
    // Everything else that the supervisor has open is its own: the ends of other keepers' sockets above all.
    sys::close_all_but(&[supervisor.as_raw_fd(), executor.as_raw_fd(), null.as_raw_fd()]);
    // The daemon's own standard streams must not stay open for our sake; a panic may still be read.
    sys::put(null.as_fd(), 0);
    sys::put(null.as_fd(), 1);
    sys::set_name(c"xxn-keeper");
    // Whoever kills the supervisor's process group must not kill those who clean up behind it.
    sys::own_session();
    // No signal reaches a keeper but those that cannot be blocked; the dispositions are what its commands start with.
    Signals::all().block();
    sys::dispose_all_default();
    sys::dispose(libc::SIGCHLD, &Disposition::Interrupt);
    // A keeper that somebody stopped must wake up to see the end of the supervisor.
    sys::on_parent_death(libc::SIGCONT);
    if sys::become_subreaper().is_err() {
        sys::exit(1);
    }
    let keeper = Keeper {
        supervisor,
        executor,
        null,
        launcher: Launcher::new(),
        buffer: vec![0; MAX_PACKET],
        waiting: Signals::all_but(libc::SIGCHLD),
    };
    keeper.serve()
}

impl Keeper {
    fn serve(mut self) -> ! {
        loop {
            match sys::receive(self.supervisor.as_fd(), &mut self.buffer, true) {
                Ok(received) if received.len > 0 => {
                    self.attempt(received.len, received.fds, received.fds_lost);
                }
                // The end of the supervisor, or its wish.
                Ok(_) | Err(_) => sys::exit(0),
            }
        }
    }

    /// Runs one command from its packet to the last of its processes. Anything but a spawn is about an attempt that has
    /// ended already.
    fn attempt(&mut self, len: usize, fds: Vec<OwnedFd>, fds_lost: bool) {
        let Some((Message::Spawn { run, deadline, stdin, large }, spec)) =
            Message::decode(&self.buffer[..len])
        else {
            return;
        };
        let launched = if fds_lost {
            Err(SpawnError::System(libc::EMFILE))
        } else if clock::now() >= deadline {
            Err(SpawnError::Late)
        } else {
            launch(&mut self.launcher, spec, &fds, &self.null, stdin, large)
        };
        // The command alone has its ends of the pipes from here on.
        drop(fds);
        match launched {
            Err(error) => self.tell_supervisor(Message::Failed { run, error }),
            Ok(command) => {
                self.tell_executor(Message::Spawned { run });
                let mut run = Run { id: run, command, deadline, status: None };
                let end = self.watch(&mut run);
                self.clear(&mut run);
                if matches!(end, End::Orphaned) {
                    sys::exit(0);
                }
                let status = run.status.unwrap_or(ExitStatus::Signal(libc::SIGKILL));
                self.tell_supervisor(Message::Ended { run: run.id, status });
            }
        }
    }

    /// Waits until the attempt is to be cleared away. The command is not reaped here: until then its number, which is its
    /// group's number too, belongs to nobody else.
    fn watch(&mut self, run: &mut Run) -> End {
        loop {
            loop {
                match sys::peek_ended() {
                    Ok(Some(pid)) if pid == run.command => return End::Over,
                    // A process that the command left behind has ended by itself.
                    Ok(Some(pid)) => sys::reap_one(pid),
                    Ok(None) => break,
                    Err(_) => return End::Over,
                }
            }
            let now = clock::now();
            if now >= run.deadline {
                return End::Over;
            }
            let left = Some(run.deadline.since(now));
            if sys::wait_readable(Some(self.supervisor.as_fd()), left, &self.waiting) {
                match sys::receive(self.supervisor.as_fd(), &mut self.buffer, false) {
                    Ok(received) if received.len == 0 => return End::Orphaned,
                    Ok(received) => match Message::decode(&self.buffer[..received.len]) {
                        Some((Message::Kill { run: id }, _)) if id == run.id => return End::Over,
                        Some((Message::Extend { run: id, deadline }, _)) if id == run.id => {
                            run.deadline = run.deadline.max(deadline);
                        }
                        _ => {}
                    },
                    Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
                    Err(_) => return End::Orphaned,
                }
            }
        }
    }

    /// Kills and reaps until the system says that there is no child.
    ///
    /// A process that cannot be killed (another user's, or stuck in a device) keeps the attempt from counting as ended:
    /// that is the promise.
    fn clear(&self, run: &mut Run) {
        // In one stroke, so that nobody in the group can fork away from it.
        sys::kill(-run.command, libc::SIGKILL);
        if self.reap_for(run, GROUP_GRACE) {
            return;
        }
        let mut pause = SHORTEST_PAUSE;
        let mut before = 0;
        loop {
            let found = kill_descendants(&|_| false);
            // Whoever forks on must be met again soon; who is only slow to die need not be looked for all the time.
            pause = if found == before { LONGEST_PAUSE.min(pause * 2) } else { SHORTEST_PAUSE };
            before = found;
            if self.reap_for(run, pause) {
                return;
            }
        }
    }

    /// Reaps whatever ends within a time; true as soon as no child is left.
    fn reap_for(&self, run: &mut Run, time: Duration) -> bool {
        let mut began = None;
        loop {
            if reap_all(run) {
                return true;
            }
            let now = clock::now();
            let spent = now.since(*began.get_or_insert(now));
            if spent >= time {
                return false;
            }
            sys::wait_readable(None, Some(time - spent), &self.waiting);
        }
    }

    fn tell_supervisor(&self, message: Message) {
        // The supervisor takes at most two messages an attempt; if they do not fit, it is about to end us.
        if sys::send(self.supervisor.as_fd(), &message.encode(), &[]).is_err() {
            sys::exit(1);
        }
    }

    /// One hop less for the message that a publisher waits for; through the supervisor if the executor is so far behind
    /// that its socket is full.
    fn tell_executor(&self, message: Message) {
        let packet = message.encode();
        if sys::send(self.executor.as_fd(), &packet, &[]).is_err() {
            // If that fails too, everybody is gone, as the watch is about to see.
            let _ = sys::send(self.supervisor.as_fd(), &packet, &[]);
        }
    }
}

/// Starts the command of a spawn packet.
fn launch(
    launcher: &mut Launcher,
    spec: &[u8],
    fds: &[OwnedFd],
    null: &OwnedFd,
    stdin: bool,
    large: bool,
) -> Result<Pid, SpawnError> {
    let malformed = SpawnError::System(libc::EINVAL);
    let mut fds = fds.iter();
    let (stdout, stderr) = fds.next().zip(fds.next()).ok_or(malformed)?;
    let stdin = if stdin { fds.next().ok_or(malformed)? } else { null };
    let mut whole = Vec::new();
    let spec = if large {
        let mut file = File::from(fds.next().ok_or(malformed)?.try_clone().map_err(|_| malformed)?);
        file.read_to_end(&mut whole).map_err(|error| system(&error))?;
        &whole
    } else {
        spec
    };
    let spec = Spec::decode(spec).ok_or(malformed)?;
    launcher.launch(&spec, [stdin.as_raw_fd(), stdout.as_raw_fd(), stderr.as_raw_fd()])
}

/// An error by the system's number.
pub(super) fn system(error: &std::io::Error) -> SpawnError {
    SpawnError::System(error.raw_os_error().unwrap_or(libc::EIO))
}

/// Reaps what has ended; true if no child is left.
fn reap_all(run: &mut Run) -> bool {
    loop {
        match sys::reap() {
            Reaped::Child(pid, status) if pid == run.command => run.status = Some(exit_status(status)),
            Reaped::Child(..) => {}
            Reaped::NoneEnded => return false,
            Reaped::NoChildren => return true,
        }
    }
}
