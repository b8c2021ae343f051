//! What processes say to each other and to their commands: packets with descriptors, files in memory, pipes.

use super::{check, check_len, owned};
use std::io;
use std::mem::{MaybeUninit, size_of};
use std::os::fd::{AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd, RawFd};
use std::ptr;

/// Descriptors one packet carries at most: standard output, error and input, and a large spec.
pub(crate) const MAX_FDS: usize = 4;

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
