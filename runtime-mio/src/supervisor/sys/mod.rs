//! Every raw system call of the supervisor, the keepers and the process backend, behind safe functions.
//!
//! Nothing here decides anything; it only turns the system's numbers into `io::Result`s and owned descriptors.
#![allow(unsafe_code)]

mod channel;

pub(crate) use channel::{
    MAX_FDS, memory_file, packet_pair, pipe, read, receive, send, set_nonblocking, write,
};

use std::ffi::{CStr, c_int, c_void};
use std::io;
use std::mem::{MaybeUninit, size_of};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::ptr;
use std::time::Duration;
use xxnet_core::Instant;

/// A process id.
pub(crate) type Pid = libc::pid_t;

/// What `-1` means, in Rust.
fn check(result: c_int) -> io::Result<c_int> {
    if result == -1 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

/// The same for calls that count bytes.
fn check_len(result: isize) -> io::Result<usize> {
    usize::try_from(result).map_err(|_| io::Error::last_os_error())
}

/// Takes a descriptor that a call has just returned.
fn owned(fd: c_int) -> io::Result<OwnedFd> {
    let fd = check(fd)?;
    // SAFETY: the call that returned it made it for us alone; nobody else closes it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

// --- time ---

/// A timer on the machines' clock; it is due at once after a sleep that passed its time.
pub(crate) fn timer() -> io::Result<OwnedFd> {
    // SAFETY: takes no memory of ours.
    owned(unsafe { libc::timerfd_create(crate::clock::CLOCK, libc::TFD_CLOEXEC | libc::TFD_NONBLOCK) })
}

/// Sets a [`timer`] to a moment.
pub(crate) fn set_timer(timer: BorrowedFd<'_>, at: Instant) -> io::Result<()> {
    // Zero would disarm it; a moment long ago is due at once just the same.
    let micros = at.as_micros().clamp(1, i64::MAX as u64);
    let value = libc::timespec {
        tv_sec: (micros / 1_000_000) as libc::time_t,
        tv_nsec: (micros % 1_000_000 * 1_000) as libc::c_long,
    };
    let every = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    let setting = libc::itimerspec { it_interval: every, it_value: value };
    // SAFETY: `setting` outlives the call.
    check(unsafe {
        libc::timerfd_settime(timer.as_raw_fd(), libc::TFD_TIMER_ABSTIME, &raw const setting, ptr::null_mut())
    })?;
    Ok(())
}

// --- listening sockets ---

/// Identifies a socket, however often it was duplicated.
pub(crate) fn socket_identity(fd: BorrowedFd<'_>) -> io::Result<u64> {
    let mut stat = MaybeUninit::<libc::stat>::zeroed();
    // SAFETY: `stat` is a valid place to write to, and all zero is a valid value of it.
    let stat = unsafe {
        check(libc::fstat(fd.as_raw_fd(), stat.as_mut_ptr()))?;
        stat.assume_init()
    };
    Ok(stat.st_ino)
}

/// Ends the listening of a socket through all its duplicates, at once.
pub(crate) fn stop_listening(fd: BorrowedFd<'_>) {
    // SAFETY: takes no memory of ours; the worst answer is that it was not listening.
    unsafe { libc::shutdown(fd.as_raw_fd(), libc::SHUT_RDWR) };
}

// --- processes ---

/// Forks. `None` in the child.
///
/// Only for a process that has a single thread: then all code may run in the child.
pub(crate) fn fork() -> io::Result<Option<Pid>> {
    // SAFETY: the callers have a single thread (`start` checks it, and its two children never start one before they
    // fork), so no lock is held by a thread that does not exist in the child.
    let pid = check(unsafe { libc::fork() })?;
    Ok((pid != 0).then_some(pid))
}

/// Ends this process at once, without destructors or handlers that belong to the process it was forked from.
pub(crate) fn exit(code: i32) -> ! {
    // SAFETY: never returns, touches no memory.
    unsafe { libc::_exit(code) }
}

/// This process.
pub(crate) fn pid() -> Pid {
    // SAFETY: always succeeds.
    unsafe { libc::getpid() }
}

/// Sends a signal to a process, or, with a negative number, to a group. A target that is gone is no error.
pub(crate) fn kill(pid: Pid, signal: c_int) {
    // 0 and -1 would mean this process's own group, and everybody.
    debug_assert!(!(-1..=0).contains(&pid));
    // SAFETY: takes no memory of ours.
    unsafe { libc::kill(pid, signal) };
}

/// Kills a process found by its number, if it is still the one that was meant.
///
/// A number read from `/proc` may be another process by now; the handle pins whom we mean, and only then is the
/// relation checked again.
pub(crate) fn kill_if(pid: Pid, still_ours: impl FnOnce() -> bool) {
    // SAFETY: takes no memory of ours.
    let handle = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) };
    let Ok(handle) = owned(handle as c_int) else { return };
    if still_ours() {
        // SAFETY: takes no memory of ours beyond the null that stands for "as kill does it".
        unsafe {
            libc::syscall(
                libc::SYS_pidfd_send_signal,
                handle.as_raw_fd(),
                libc::SIGKILL,
                ptr::null::<c_void>(),
                0,
            );
        }
    }
}

/// Makes a process the leader of a process group of its own.
pub(crate) fn own_group(pid: Pid) {
    // SAFETY: takes no memory of ours. Fails only if it is done already.
    unsafe { libc::setpgid(pid, pid) };
}

/// Leaves the session and the process group of the parent, and its terminal.
pub(crate) fn own_session() {
    // SAFETY: takes no memory of ours. Fails only for the leader of a group, which a fork is not.
    unsafe { libc::setsid() };
}

/// Descendants whose parent ends become children of this process.
pub(crate) fn become_subreaper() -> io::Result<()> {
    // SAFETY: takes no memory of ours.
    check(unsafe { libc::prctl(libc::PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) })?;
    Ok(())
}

/// Which signal this process gets when its parent ends.
pub(crate) fn on_parent_death(signal: c_int) {
    // SAFETY: takes no memory of ours.
    unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, signal, 0, 0, 0) };
}

/// The name that process lists show.
pub(crate) fn set_name(name: &CStr) {
    // SAFETY: the name is a C string; the system copies at most 16 bytes of it.
    unsafe { libc::prctl(libc::PR_SET_NAME, name.as_ptr(), 0, 0, 0) };
}

/// Which child has ended; it stays to be reaped.
pub(crate) fn peek_ended() -> io::Result<Option<Pid>> {
    // SAFETY: `info` is a valid place to write to, and all zero is a valid value of it.
    unsafe {
        let mut info: libc::siginfo_t = MaybeUninit::zeroed().assume_init();
        check(libc::waitid(libc::P_ALL, 0, &raw mut info, libc::WEXITED | libc::WNOHANG | libc::WNOWAIT))?;
        let pid = info.si_pid();
        Ok((pid != 0).then_some(pid))
    }
}

/// What reaping found.
pub(crate) enum Reaped {
    /// A child has ended, with this wait status.
    Child(Pid, c_int),
    /// Children are there, none has ended.
    NoneEnded,
    /// There is no child at all.
    NoChildren,
}

/// Waits for a child that is about to end, and reaps it.
pub(crate) fn reap_one(pid: Pid) {
    let mut status = 0;
    // SAFETY: `status` is a valid place to write to. All signals are blocked, so nothing interrupts.
    unsafe { libc::waitpid(pid, &raw mut status, 0) };
}

/// Reaps one child that has ended.
pub(crate) fn reap() -> Reaped {
    let mut status = 0;
    // SAFETY: `status` is a valid place to write to.
    match check(unsafe { libc::waitpid(-1, &raw mut status, libc::WNOHANG) }) {
        Ok(0) => Reaped::NoneEnded,
        Ok(pid) => Reaped::Child(pid, status),
        // ECHILD is the only error there can be: WNOHANG is never interrupted.
        Err(_) => Reaped::NoChildren,
    }
}

/// Closes everything from 3 on but `keep`.
pub(crate) fn close_all_but(keep: &[RawFd]) {
    let mut keep: Vec<u32> = keep.iter().filter_map(|fd| u32::try_from(*fd).ok()).collect();
    keep.sort_unstable();
    let mut from = 3;
    for fd in keep {
        if fd > from {
            close_range(from, fd - 1);
        }
        from = from.max(fd + 1);
    }
    close_range(from, u32::MAX);
}

fn close_range(from: u32, to: u32) {
    // SAFETY: the caller is a keeper that has just been forked: what it closes belongs to nobody in this process.
    let closed = check(unsafe { libc::syscall(libc::SYS_close_range, from, to, 0) } as c_int);
    if closed.is_err() {
        // Older than Linux 5.9: one by one.
        for fd in from..to.min(65_536) {
            // SAFETY: as above.
            unsafe { libc::close(fd as RawFd) };
        }
    }
}

/// `/dev/null`, to read and write.
pub(crate) fn null() -> io::Result<OwnedFd> {
    Ok(std::fs::OpenOptions::new().read(true).write(true).open("/dev/null")?.into())
}

/// Puts `fd` in the place of `place` (0, 1 or 2).
pub(crate) fn put(fd: BorrowedFd<'_>, place: RawFd) {
    // SAFETY: only called by a keeper for its standard streams, which nothing in it uses.
    unsafe { libc::dup2(fd.as_raw_fd(), place) };
}

// --- signals ---

/// A set of signals.
#[derive(Clone, Copy)]
pub(crate) struct Signals(libc::sigset_t);

impl Signals {
    /// None.
    pub(crate) fn none() -> Self {
        let mut set = MaybeUninit::uninit();
        // SAFETY: `sigemptyset` initialises the set.
        Self(unsafe {
            libc::sigemptyset(set.as_mut_ptr());
            set.assume_init()
        })
    }

    /// Every one.
    pub(crate) fn all() -> Self {
        let mut set = Self::none();
        // SAFETY: the set is valid.
        unsafe { libc::sigfillset(&raw mut set.0) };
        set
    }

    /// These.
    pub(crate) fn of(signals: &[c_int]) -> Self {
        let mut set = Self::none();
        for &signal in signals {
            // SAFETY: the set is valid; an invalid number changes nothing.
            unsafe { libc::sigaddset(&raw mut set.0, signal) };
        }
        set
    }

    /// All but one.
    pub(crate) fn all_but(signal: c_int) -> Self {
        let mut set = Self::all();
        // SAFETY: the set is valid.
        unsafe { libc::sigdelset(&raw mut set.0, signal) };
        set
    }

    /// Blocks exactly these in this thread; returns what was blocked before.
    pub(crate) fn block(&self) -> Self {
        let mut before = Self::none();
        // SAFETY: both sets are valid.
        unsafe { libc::sigprocmask(libc::SIG_SETMASK, &raw const self.0, &raw mut before.0) };
        before
    }

    /// A descriptor that these, while blocked, are read from.
    pub(crate) fn descriptor(&self) -> io::Result<OwnedFd> {
        // SAFETY: the set is valid.
        owned(unsafe { libc::signalfd(-1, &raw const self.0, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK) })
    }
}

/// The next signal at a [`Signals::descriptor`].
pub(crate) fn next_signal(fd: BorrowedFd<'_>) -> Option<c_int> {
    let mut buffer = Vec::with_capacity(size_of::<libc::signalfd_siginfo>());
    read(fd, &mut buffer, size_of::<libc::signalfd_siginfo>()).ok()?;
    // The number is the first field.
    let number = buffer.first_chunk::<4>()?;
    c_int::try_from(u32::from_ne_bytes(*number)).ok()
}

/// What happens at a signal.
pub(crate) enum Disposition {
    /// What the system does by itself.
    Default,
    /// Nothing.
    Ignore,
    /// Nothing, but a call that waits is interrupted.
    Interrupt,
}

extern "C" fn interrupt(_: c_int) {}

/// Sets what happens at a signal; those that cannot be changed stay.
pub(crate) fn dispose(signal: c_int, disposition: &Disposition) {
    // SAFETY: all zero is a valid action (no flags, empty mask); the handler does nothing, so it may run at any moment.
    unsafe {
        let mut action: libc::sigaction = MaybeUninit::zeroed().assume_init();
        action.sa_sigaction = match disposition {
            Disposition::Default => libc::SIG_DFL,
            Disposition::Ignore => libc::SIG_IGN,
            Disposition::Interrupt => interrupt as extern "C" fn(c_int) as libc::sighandler_t,
        };
        libc::sigaction(signal, &raw const action, ptr::null_mut());
    }
}

/// Every signal does again what the system does by itself.
pub(crate) fn dispose_all_default() {
    for signal in 1..=libc::SIGRTMAX() {
        dispose(signal, &Disposition::Default);
    }
}

// --- waiting ---

/// Waits until `fd` can be read (true), or a signal that is not in `blocked` came, or the time is over.
pub(crate) fn wait_readable(
    fd: Option<BorrowedFd<'_>>,
    timeout: Option<Duration>,
    blocked: &Signals,
) -> bool {
    // The system passes over a negative descriptor.
    let fd = fd.map_or(-1, |fd| fd.as_raw_fd());
    let mut poll = libc::pollfd { fd, events: libc::POLLIN, revents: 0 };
    let timeout = timeout.map(|timeout| libc::timespec {
        tv_sec: libc::time_t::try_from(timeout.as_secs()).unwrap_or(libc::time_t::MAX),
        tv_nsec: libc::c_long::from(timeout.subsec_nanos() as i32),
    });
    let timeout = timeout.as_ref().map_or(ptr::null(), ptr::from_ref);
    // SAFETY: one `pollfd`, and a time and a set that outlive the call.
    unsafe { libc::ppoll(&raw mut poll, 1, timeout, &raw const blocked.0) > 0 }
}

/// Waits on many descriptors.
pub(crate) struct Epoll(OwnedFd);

/// What [`Epoll::wait`] returns, for as many as one call may.
pub(crate) type EpollEvents = [libc::epoll_event; 32];

impl Epoll {
    /// An empty one.
    pub(crate) fn new() -> io::Result<Self> {
        // SAFETY: takes no memory of ours.
        Ok(Self(owned(unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) })?))
    }

    /// Watches a descriptor until it is closed.
    pub(crate) fn add(&self, fd: BorrowedFd<'_>, token: u64) -> io::Result<()> {
        self.control(libc::EPOLL_CTL_ADD, fd, token, false)
    }

    /// Also waits until it can be written to, or no longer.
    pub(crate) fn want_write(&self, fd: BorrowedFd<'_>, token: u64, write: bool) -> io::Result<()> {
        self.control(libc::EPOLL_CTL_MOD, fd, token, write)
    }

    fn control(&self, what: c_int, fd: BorrowedFd<'_>, token: u64, write: bool) -> io::Result<()> {
        let events = if write { libc::EPOLLIN | libc::EPOLLOUT } else { libc::EPOLLIN };
        let mut event = libc::epoll_event { events: events as u32, u64: token };
        // SAFETY: `event` outlives the call.
        check(unsafe { libc::epoll_ctl(self.0.as_raw_fd(), what, fd.as_raw_fd(), &raw mut event) })?;
        Ok(())
    }

    /// Stops watching a descriptor; its end-of-stream would be told for ever.
    pub(crate) fn remove(&self, fd: BorrowedFd<'_>) {
        // SAFETY: a null event is allowed here.
        unsafe { libc::epoll_ctl(self.0.as_raw_fd(), libc::EPOLL_CTL_DEL, fd.as_raw_fd(), ptr::null_mut()) };
    }

    /// Waits until something can be done; the tokens of what.
    pub(crate) fn wait<'e>(&self, events: &'e mut EpollEvents) -> impl Iterator<Item = u64> + 'e {
        // SAFETY: the system writes at most the stated number of events.
        let count = check(unsafe {
            libc::epoll_wait(self.0.as_raw_fd(), events.as_mut_ptr(), events.len() as c_int, -1)
        });
        // Interrupted: by nothing, as all signals are blocked, but then the next wait says it again.
        let count = usize::try_from(count.unwrap_or(0)).unwrap_or(0);
        events[..count].iter().map(|event| event.u64)
    }
}

impl AsFd for Epoll {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Room for [`Epoll::wait`].
pub(crate) fn epoll_events() -> EpollEvents {
    [libc::epoll_event { events: 0, u64: 0 }; 32]
}
