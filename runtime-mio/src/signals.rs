//! The signals that ask a daemon to end.
//!
//! A handler may do next to nothing, so it only writes a byte into a pipe; a thread reads it and tells the application.
//! Handlers do not outlive an `exec`, so commands start with the system's defaults. `SIGPIPE` is the application's own
//! matter: the runtime never raises it.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{FromRawFd, IntoRawFd, OwnedFd};
use std::sync::atomic::{AtomicI32, Ordering};
use std::thread;

/// Which signal came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// `SIGINT`: Ctrl-C.
    Interrupt,
    /// `SIGTERM`.
    Terminate,
    /// `SIGHUP`: the terminal is gone.
    Hangup,
}

impl Signal {
    const ALL: [Self; 3] = [Self::Interrupt, Self::Terminate, Self::Hangup];

    /// Its number: a process that ends by it exits with 128 more.
    pub const fn number(self) -> i32 {
        match self {
            Self::Interrupt => libc::SIGINT,
            Self::Terminate => libc::SIGTERM,
            Self::Hangup => libc::SIGHUP,
        }
    }
}

/// The writing end of the pipe; −1 before the first [`watch`].
static PIPE: AtomicI32 = AtomicI32::new(-1);

/// Calls `told` for each of these signals from now on, on a thread of its own, with how many have come so far, this one
/// included: the second one usually means "at once". A signal that is ignored already (`nohup`) stays ignored.
///
/// Once a process.
///
/// # Errors
/// The system's; `AlreadyExists` the second time.
pub fn watch(mut told: impl FnMut(Signal, u32) + Send + 'static) -> io::Result<()> {
    let (read, write) = io::pipe()?;
    let write = OwnedFd::from(write);
    // A handler must not wait, not even when thousands of signals come at once.
    // SAFETY: takes no pointers.
    if unsafe { libc::fcntl(std::os::fd::AsRawFd::as_raw_fd(&write), libc::F_SETFL, libc::O_NONBLOCK) } != 0 {
        return Err(io::Error::last_os_error());
    }
    let raw = write.into_raw_fd();
    if PIPE.compare_exchange(-1, raw, Ordering::AcqRel, Ordering::Acquire).is_err() {
        // SAFETY: the descriptor was ours until here, and nobody else has seen it.
        drop(unsafe { OwnedFd::from_raw_fd(raw) });
        return Err(io::Error::new(io::ErrorKind::AlreadyExists, "signals are watched already"));
    }
    let mut read = File::from(OwnedFd::from(read));
    thread::Builder::new().name("xxnet-signals".into()).spawn(move || {
        let mut count = 0;
        let mut byte = [0];
        while read.read_exact(&mut byte).is_ok() {
            let came = Signal::ALL.into_iter().find(|signal| signal.number() == i32::from(byte[0]));
            if let Some(signal) = came {
                count += 1;
                told(signal, count);
            }
        }
    })?;
    Signal::ALL.into_iter().try_for_each(install)
}

fn install(signal: Signal) -> io::Result<()> {
    // SAFETY: all zero is a valid action; the handler is async-signal-safe; both places live through the calls.
    unsafe {
        let mut old: libc::sigaction = std::mem::zeroed();
        if libc::sigaction(signal.number(), std::ptr::null(), &raw mut old) != 0 {
            return Err(io::Error::last_os_error());
        }
        if old.sa_sigaction == libc::SIG_IGN {
            return Ok(());
        }
        let mut new: libc::sigaction = std::mem::zeroed();
        new.sa_sigaction = note as *const () as libc::sighandler_t;
        new.sa_flags = libc::SA_RESTART;
        libc::sigemptyset(&raw mut new.sa_mask);
        if libc::sigaction(signal.number(), &raw const new, std::ptr::null_mut()) != 0 {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(())
}

extern "C" fn note(signal: libc::c_int) {
    let byte = signal as u8;
    // SAFETY: `write` is async-signal-safe and the byte lives through it; errno is the interrupted code's, and is kept.
    unsafe {
        #[cfg(target_os = "linux")]
        let errno = libc::__errno_location();
        #[cfg(not(target_os = "linux"))]
        let errno = libc::__error();
        let before = *errno;
        libc::write(PIPE.load(Ordering::Acquire), (&raw const byte).cast(), 1);
        *errno = before;
    }
}

#[cfg(test)]
mod tests {
    use super::{Signal, watch};
    use std::sync::mpsc;

    #[test]
    fn t9_a_second_signal_can_be_told_from_the_first() {
        let (send, receive) = mpsc::channel();
        watch(move |signal, count| send.send((signal, count)).expect("the test listens")).expect("watch");
        for (number, signal) in [(1, Signal::Hangup), (2, Signal::Hangup), (3, Signal::Terminate)] {
            // SAFETY: takes no pointers; the handler is installed.
            assert_eq!(unsafe { libc::raise(signal.number()) }, 0);
            assert_eq!(receive.recv().expect("told"), (signal, number));
        }
        assert!(watch(|_, _| {}).is_err());
    }
}
