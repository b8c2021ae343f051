//! Every raw system call of the supervisor, the keepers and the process backend, behind safe functions.
//!
//! Nothing here decides anything; it only turns the system's numbers into `io::Result`s and owned descriptors.
#![allow(unsafe_code)]

use std::ffi::{CStr, c_int, c_void};
use std::io;
use std::mem::{MaybeUninit, size_of};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::ptr;
use std::time::Duration;
use xxnet_core::Instant;

/// A process id.
pub(crate) type Pid = libc::pid_t;

/// Descriptors one packet carries at most: standard output, error and input, and a large spec.
pub(crate) const MAX_FDS: usize = 4;

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

// --- packets between the processes ---

/// Two connected ends that keep packets apart. Both are close-on-exec.
pub(crate) fn packet_pair() -> io::Result<(OwnedFd, OwnedFd)> {
    let mut fds = [0; 2];
    // SAFETY: `fds` has room for the two descriptors.
    check(unsafe {
        libc::socketpair(libc::AF_UNIX, libc::SOCK_SEQPACKET | libc::SOCK_CLOEXEC, 0, fds.as_mut_ptr())
    })?;
    Ok((owned(fds[0])?, owned(fds[1])?))
}

/// Room for the control part of a packet, aligned as the system wants it.
#[repr(C, align(8))]
struct Control([u8; 64]);

/// Sends one whole packet or nothing; never waits.
pub(crate) fn send(socket: BorrowedFd<'_>, packet: &[u8], fds: &[RawFd]) -> io::Result<()> {
    debug_assert!(fds.len() <= MAX_FDS);
    let mut part = libc::iovec { iov_base: packet.as_ptr().cast_mut().cast(), iov_len: packet.len() };
    let mut control = Control([0; 64]);
    // SAFETY: all zero is a valid, empty header.
    let mut message: libc::msghdr = unsafe { MaybeUninit::zeroed().assume_init() };
    message.msg_iov = &raw mut part;
    message.msg_iovlen = 1;
    if !fds.is_empty() {
        let bytes = size_of_val(fds) as u32;
        // SAFETY: `control` holds at least CMSG_SPACE(4 descriptors) = 32 bytes, aligned; the header written here is the
        // first in it, and its data has room for `bytes`.
        unsafe {
            message.msg_control = control.0.as_mut_ptr().cast();
            message.msg_controllen = libc::CMSG_SPACE(bytes) as _;
            let header = libc::CMSG_FIRSTHDR(&raw const message);
            (*header).cmsg_level = libc::SOL_SOCKET;
            (*header).cmsg_type = libc::SCM_RIGHTS;
            (*header).cmsg_len = libc::CMSG_LEN(bytes) as _;
            ptr::copy_nonoverlapping(fds.as_ptr().cast::<u8>(), libc::CMSG_DATA(header), bytes as usize);
        }
    }
    loop {
        // SAFETY: `message` points to `packet` and `control`, which outlive the call; the packet is only read.
        let result = check_len(unsafe {
            libc::sendmsg(socket.as_raw_fd(), &raw const message, libc::MSG_NOSIGNAL | libc::MSG_DONTWAIT)
        });
        match result {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            other => return other.map(drop),
        }
    }
}

/// What came with a packet.
pub(crate) struct Received {
    /// Bytes of it in the buffer; 0 is the end.
    pub(crate) len: usize,
    /// Its descriptors.
    pub(crate) fds: Vec<OwnedFd>,
    /// Whether descriptors were lost because this process may not open more.
    pub(crate) fds_lost: bool,
}

/// Takes one packet; `wait` says whether to wait for it.
pub(crate) fn receive(socket: BorrowedFd<'_>, buffer: &mut [u8], wait: bool) -> io::Result<Received> {
    let mut part = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() };
    let mut control = Control([0; 64]);
    // SAFETY: all zero is a valid, empty header.
    let mut message: libc::msghdr = unsafe { MaybeUninit::zeroed().assume_init() };
    message.msg_iov = &raw mut part;
    message.msg_iovlen = 1;
    message.msg_control = control.0.as_mut_ptr().cast();
    message.msg_controllen = control.0.len() as _;
    let flags = libc::MSG_CMSG_CLOEXEC | if wait { 0 } else { libc::MSG_DONTWAIT };
    let len = loop {
        // SAFETY: `message` points to `buffer` and `control`, which outlive the call and have the lengths it states.
        let result = check_len(unsafe { libc::recvmsg(socket.as_raw_fd(), &raw mut message, flags) });
        match result {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            other => break other?,
        }
    };
    let mut fds = Vec::new();
    // SAFETY: the system filled `control` up to the length it left in `message`; the macros walk within it, and each
    // descriptor in it was made for this process alone.
    unsafe {
        let mut header = libc::CMSG_FIRSTHDR(&raw const message);
        while !header.is_null() {
            if (*header).cmsg_level == libc::SOL_SOCKET && (*header).cmsg_type == libc::SCM_RIGHTS {
                let bytes = (*header).cmsg_len as usize - libc::CMSG_LEN(0) as usize;
                let data = libc::CMSG_DATA(header).cast::<RawFd>();
                for index in 0..bytes / size_of::<RawFd>() {
                    fds.push(OwnedFd::from_raw_fd(data.add(index).read_unaligned()));
                }
            }
            header = libc::CMSG_NXTHDR(&raw const message, header);
        }
    }
    Ok(Received { len, fds, fds_lost: message.msg_flags & libc::MSG_CTRUNC != 0 })
}

/// A file in memory that holds `bytes`, read from its start.
pub(crate) fn memory_file(bytes: &[u8]) -> io::Result<OwnedFd> {
    use std::io::{Seek as _, Write as _};
    // SAFETY: the name is a constant C string.
    let fd = owned(unsafe { libc::memfd_create(c"xxnet-spec".as_ptr(), libc::MFD_CLOEXEC) })?;
    let mut file = std::fs::File::from(fd);
    file.write_all(bytes)?;
    file.rewind()?;
    Ok(file.into())
}

// --- pipes ---

/// A pipe: the end to read from, the end to write to. Both wait, both are close-on-exec.
pub(crate) fn pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    let mut fds = [0; 2];
    // SAFETY: `fds` has room for the two descriptors.
    check(unsafe { libc::pipe2(fds.as_mut_ptr(), libc::O_CLOEXEC) })?;
    Ok((owned(fds[0])?, owned(fds[1])?))
}

/// This end no longer waits. The other end of a pipe is not touched: a command expects pipes that wait.
pub(crate) fn set_nonblocking(fd: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: changes a flag of an open descriptor; pipes and sockets made here have no other flags to keep.
    check(unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_SETFL, libc::O_NONBLOCK) })?;
    Ok(())
}

/// Reads once, appending at most `max` bytes to `buffer`. 0 is the end.
pub(crate) fn read(fd: BorrowedFd<'_>, buffer: &mut Vec<u8>, max: usize) -> io::Result<usize> {
    buffer.reserve(max);
    loop {
        let room = buffer.spare_capacity_mut();
        let len = room.len().min(max);
        // SAFETY: `room` has `len` bytes to write to.
        let result = check_len(unsafe { libc::read(fd.as_raw_fd(), room.as_mut_ptr().cast(), len) });
        match result {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
            Ok(count) => {
                // SAFETY: the system has just written `count` bytes there.
                unsafe { buffer.set_len(buffer.len() + count) };
                return Ok(count);
            }
        }
    }
}

/// Writes once; tells how much was taken.
pub(crate) fn write(fd: BorrowedFd<'_>, bytes: &[u8]) -> io::Result<usize> {
    loop {
        // SAFETY: `bytes` is valid for reading over its length.
        let result = check_len(unsafe { libc::write(fd.as_raw_fd(), bytes.as_ptr().cast(), bytes.len()) });
        match result {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            other => return other,
        }
    }
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
