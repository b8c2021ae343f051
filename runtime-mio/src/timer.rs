//! When the loop wakes although nothing happens.
//!
//! The poll's own timeout stands still while the host sleeps, and is rounded to milliseconds; a lease needs neither. On
//! Linux one timer descriptor on the boot clock does it, set only when a deadline comes nearer.

use mio::{Registry, Token};
use std::io;
use std::time::Duration;
use xxnet_core::Instant;

/// The timer's own token.
pub(crate) const TIMER: Token = Token(0);

#[cfg(target_os = "linux")]
#[derive(Debug)]
pub(crate) struct Timer {
    fd: std::os::fd::OwnedFd,
    armed: Option<Instant>,
}

#[cfg(target_os = "linux")]
impl Timer {
    pub(crate) fn new(registry: &Registry) -> io::Result<Self> {
        use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
        // SAFETY: no pointers are passed.
        let fd = unsafe { libc::timerfd_create(crate::clock::CLOCK, libc::TFD_CLOEXEC | libc::TFD_NONBLOCK) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the descriptor is fresh and nobody else's.
        let fd = unsafe { OwnedFd::from_raw_fd(fd) };
        registry.register(&mut mio::unix::SourceFd(&fd.as_raw_fd()), TIMER, mio::Interest::READABLE)?;
        Ok(Self { fd, armed: None })
    }

    /// How long the poll may wait so that it ends at `deadline`: here for ever, because the timer ends it.
    ///
    /// # Errors
    /// The system's, if the timer cannot be set.
    pub(crate) fn wait(&mut self, now: Instant, deadline: Option<Instant>) -> io::Result<Option<Duration>> {
        use std::os::fd::AsRawFd;
        self.armed = self.armed.filter(|armed| *armed > now);
        let Some(deadline) = deadline else { return Ok(None) };
        // A timer that is set for earlier wakes us once for nothing; that is cheaper than setting it each time a deadline
        // moves away.
        if self.armed.is_some_and(|armed| armed <= deadline) {
            return Ok(None);
        }
        let micros = deadline.as_micros().max(1);
        let time = libc::timespec {
            tv_sec: libc::time_t::try_from(micros / 1_000_000).unwrap_or(libc::time_t::MAX),
            tv_nsec: libc::c_long::try_from(micros % 1_000_000).unwrap_or(0) * 1_000,
        };
        let once = libc::itimerspec { it_interval: libc::timespec { tv_sec: 0, tv_nsec: 0 }, it_value: time };
        // SAFETY: `once` lives through the call; the old value is not asked for.
        let failed = unsafe {
            libc::timerfd_settime(
                self.fd.as_raw_fd(),
                libc::TFD_TIMER_ABSTIME,
                &raw const once,
                std::ptr::null_mut(),
            )
        } != 0;
        if failed {
            return Err(io::Error::last_os_error());
        }
        self.armed = Some(deadline);
        Ok(None)
    }
}

#[cfg(not(target_os = "linux"))]
#[derive(Debug)]
pub(crate) struct Timer;

#[cfg(not(target_os = "linux"))]
impl Timer {
    pub(crate) fn new(_registry: &Registry) -> io::Result<Self> {
        Ok(Self)
    }

    /// How long the poll may wait so that it ends at `deadline`.
    pub(crate) fn wait(&mut self, now: Instant, deadline: Option<Instant>) -> io::Result<Option<Duration>> {
        Ok(deadline.map(|deadline| deadline.since(now).min(Duration::from_secs(86_400))))
    }
}
