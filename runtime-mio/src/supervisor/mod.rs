//! The small process above every executor: it starts the commands, watches their deadlines, and proves their end.
//!
//! ```text
//!   supervisor (the pid that the user sees; one thread, small)
//!   ├── executor (the daemon itself: sockets, files, the machine)
//!   ├── keeper ── command ── whatever it starts      one keeper a running attempt;
//!   └── keeper ── command ── …                       idle ones wait for the next
//! ```
//!
//! What it promises (PROTOCOL A6, A8; ledger T7, T8, T14):
//! - `Exited` is told only once every process of the run is gone *and reaped*, one that called `setsid`, forked twice or
//!   cleared its environment too: the keeper is child subreaper of its one attempt, so nothing can leave it.
//! - A spawn whose deadline has passed is refused, and at its deadline a run is killed, also while the executor is frozen
//!   or dead, and at once after the host slept. If the supervisor itself is stopped, the keepers do it.
//! - If the executor dies, every run is killed and reaped first; only then is the listening socket closed, so that
//!   "connection refused" proves that nothing of it runs any more.
//! - If the supervisor dies, the keepers end their runs and themselves; the executor sees the end of its socket only after
//!   the last of them. If a keeper dies, the supervisor inherits what it kept, kills and reaps it, and tells so.
//!
//! What it cannot do: kill a process that became another user's (`sudo`), or one in an uninterruptible sleep; such a run
//! does not count as ended. If supervisor and keeper are both killed with SIGKILL in the same moment, the command dies, but
//! what the command had started in sessions of their own does not.
//!
//! Signals: the executor has a process group of its own, so each signal to the pid that the user sees, to its group or from
//! the terminal reaches the executor exactly once, from the supervisor; a second Ctrl-C is a second signal. Ctrl-Z stops
//! both, and `fg` wakes both.

use std::io;

#[cfg(target_os = "linux")]
mod exec;
#[cfg(target_os = "linux")]
mod family;
#[cfg(target_os = "linux")]
mod keeper;
#[cfg(target_os = "linux")]
pub(crate) mod packet;
#[cfg(target_os = "linux")]
pub(crate) mod sys;
#[cfg(target_os = "linux")]
mod watch;

/// The executor's side of its supervisor: hand it to [`Processes`](crate::process::Processes).
///
/// When it is dropped, every run that is still there is killed.
#[derive(Debug)]
pub struct Supervisor {
    #[cfg(target_os = "linux")]
    pub(crate) socket: std::os::fd::OwnedFd,
    #[cfg(not(target_os = "linux"))]
    pub(crate) never: std::convert::Infallible,
}

/// Puts a supervisor above this process. Call it first in `main`, before any thread exists.
///
/// It forks: the calling process stays behind as the supervisor and never returns from here, but exits with the exit
/// status of its child, in which the call returns (128 + N if signal N ended it).
///
/// # Errors
/// Another thread exists already, or no descriptor or process is left.
#[cfg(target_os = "linux")]
pub fn start() -> io::Result<Supervisor> {
    use sys::{Disposition, Signals};
    if std::fs::read_dir("/proc/self/task").is_ok_and(|threads| threads.count() > 1) {
        return Err(io::Error::other("the supervisor must be started before any thread"));
    }
    let (socket, other) = sys::packet_pair()?;
    // Nobody can be reaped while this is ignored, and a parent may have left it so.
    sys::dispose(libc::SIGCHLD, &Disposition::Default);
    let before = Signals::all().block();
    match sys::fork() {
        Ok(Some(executor)) => {
            drop(socket);
            sys::own_group(executor);
            watch::run(executor, other)
        }
        Ok(None) => {
            sys::own_group(sys::pid());
            // A frozen executor must wake up to see that its supervisor is gone.
            sys::on_parent_death(libc::SIGCONT);
            // In a background group, writing to the terminal must not stop us, and reading from it must not hang.
            for signal in [libc::SIGTTIN, libc::SIGTTOU, libc::SIGPIPE] {
                sys::dispose(signal, &Disposition::Ignore);
            }
            before.block();
            drop(other);
            sys::set_nonblocking(std::os::fd::AsFd::as_fd(&socket))?;
            Ok(Supervisor { socket })
        }
        Err(error) => {
            before.block();
            Err(error)
        }
    }
}

/// Commands can so far be run on Linux only: no other system lets a process adopt all its descendants.
///
/// # Errors
/// Always.
#[cfg(not(target_os = "linux"))]
pub fn start() -> io::Result<Supervisor> {
    Err(io::Error::new(io::ErrorKind::Unsupported, "commands can be run on Linux only"))
}
