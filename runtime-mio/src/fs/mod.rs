//! Files by open folders: names are looked up in a folder that is held open, one name at a time, and links are never
//! followed, so that nothing that changes meanwhile can lead elsewhere.

mod cursor;
mod remove;
mod stat;

pub(crate) use cursor::{Cursor, split};
pub(crate) use remove::remove_tree;
pub(crate) use stat::{Kind, Stat};

use std::ffi::{CStr, CString, OsStr};
use std::fs::File;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// An open folder.
#[derive(Debug)]
pub(crate) struct Dir {
    fd: OwnedFd,
}

const FOLDER: libc::c_int = libc::O_RDONLY | libc::O_DIRECTORY | libc::O_CLOEXEC;

impl Dir {
    /// Opens a folder by a path that the user gave: links in it are followed.
    pub(crate) fn at_path(path: &Path) -> io::Result<Self> {
        let path = c_string(path.as_os_str().as_bytes())?;
        Ok(Self { fd: open_at(libc::AT_FDCWD, &path, FOLDER, 0)? })
    }

    /// A folder that is open already.
    pub(crate) fn of(fd: OwnedFd) -> Self {
        Self { fd }
    }

    /// Opens a folder in this one; a link is `ELOOP` or `ENOTDIR`.
    pub(crate) fn dir(&self, name: &[u8]) -> io::Result<Self> {
        Ok(Self { fd: open_at(self.raw(), &c_string(name)?, FOLDER | libc::O_NOFOLLOW, 0)? })
    }

    /// Makes a folder in this one, for its owner alone.
    pub(crate) fn make_dir(&self, name: &[u8]) -> io::Result<()> {
        let name = c_string(name)?;
        // SAFETY: the name is a C string that lives through the call.
        check(unsafe { libc::mkdirat(self.raw(), name.as_ptr(), 0o700) })
    }

    /// Opens a file for reading; never a link. A pipe that took its place since does not block us.
    pub(crate) fn read(&self, name: &[u8]) -> io::Result<File> {
        let flags = libc::O_RDONLY | libc::O_NOFOLLOW | libc::O_NONBLOCK | libc::O_NOCTTY | libc::O_CLOEXEC;
        Ok(open_at(self.raw(), &c_string(name)?, flags, 0)?.into())
    }

    /// Makes a file that is not there yet, for its owner alone.
    pub(crate) fn create(&self, name: &[u8]) -> io::Result<File> {
        let flags = libc::O_RDWR | libc::O_CREAT | libc::O_EXCL | libc::O_NOFOLLOW | libc::O_CLOEXEC;
        Ok(open_at(self.raw(), &c_string(name)?, flags, 0o600)?.into())
    }

    /// Opens a file for writing; never a link.
    pub(crate) fn write(&self, name: &[u8]) -> io::Result<File> {
        let flags = libc::O_WRONLY | libc::O_NOFOLLOW | libc::O_NONBLOCK | libc::O_CLOEXEC;
        Ok(open_at(self.raw(), &c_string(name)?, flags, 0)?.into())
    }

    /// What stands under a name; of a link the link itself.
    pub(crate) fn stat(&self, name: &[u8]) -> io::Result<Stat> {
        self.stat_with(name, libc::AT_SYMLINK_NOFOLLOW)
    }

    /// What stands under a name, `None` if nothing does.
    pub(crate) fn find(&self, name: &[u8]) -> io::Result<Option<Stat>> {
        match self.stat(name) {
            Ok(stat) => Ok(Some(stat)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn stat_with(&self, name: &[u8], flags: libc::c_int) -> io::Result<Stat> {
        let name = c_string(name)?;
        let mut stat = MaybeUninit::<libc::stat>::uninit();
        // SAFETY: the name lives through the call, and `stat` is written if it succeeds.
        let stat = unsafe {
            check(libc::fstatat(self.raw(), name.as_ptr(), stat.as_mut_ptr(), flags))?;
            stat.assume_init()
        };
        Ok(Stat::from(&stat))
    }

    /// The folder itself.
    pub(crate) fn stat_self(&self) -> io::Result<Stat> {
        Stat::of(&self.fd)
    }

    /// Whether we may do `how` (`R_OK`, `W_OK`, `X_OK`) with what stands under a name.
    pub(crate) fn access(&self, name: &[u8], how: libc::c_int) -> io::Result<()> {
        let name = c_string(name)?;
        // SAFETY: the name lives through the call.
        check(unsafe { libc::faccessat(self.raw(), name.as_ptr(), how, libc::AT_EACCESS) })
    }

    /// Where a link points.
    pub(crate) fn read_link(&self, name: &[u8]) -> io::Result<Vec<u8>> {
        let name = c_string(name)?;
        let mut target = vec![0_u8; 4096];
        // SAFETY: the buffer has as many bytes as are stated, the name lives through the call.
        let length =
            unsafe { libc::readlinkat(self.raw(), name.as_ptr(), target.as_mut_ptr().cast(), target.len()) };
        let length = usize::try_from(length).map_err(|_| io::Error::last_os_error())?;
        target.truncate(length);
        Ok(target)
    }

    /// Makes a link.
    pub(crate) fn make_link(&self, name: &[u8], target: &[u8]) -> io::Result<()> {
        let (name, target) = (c_string(name)?, c_string(target)?);
        // SAFETY: both strings live through the call.
        check(unsafe { libc::symlinkat(target.as_ptr(), self.raw(), name.as_ptr()) })
    }

    /// Moves `name` to `to` in another folder, over what stands there.
    pub(crate) fn rename(&self, name: &[u8], other: &Self, to: &[u8]) -> io::Result<()> {
        let (name, to) = (c_string(name)?, c_string(to)?);
        // SAFETY: both strings live through the call.
        check(unsafe { libc::renameat(self.raw(), name.as_ptr(), other.raw(), to.as_ptr()) })
    }

    /// Removes a file or link.
    pub(crate) fn unlink(&self, name: &[u8]) -> io::Result<()> {
        self.unlink_with(name, 0)
    }

    /// Removes an empty folder.
    pub(crate) fn remove_dir(&self, name: &[u8]) -> io::Result<()> {
        self.unlink_with(name, libc::AT_REMOVEDIR)
    }

    fn unlink_with(&self, name: &[u8], flags: libc::c_int) -> io::Result<()> {
        let name = c_string(name)?;
        // SAFETY: the name lives through the call.
        check(unsafe { libc::unlinkat(self.raw(), name.as_ptr(), flags) })
    }

    /// Sets the mode of an entry that is known not to be a link.
    pub(crate) fn set_mode(&self, name: &[u8], mode: u32) -> io::Result<()> {
        let name = c_string(name)?;
        // SAFETY: the name lives through the call.
        check(unsafe { libc::fchmodat(self.raw(), name.as_ptr(), mode as libc::mode_t, 0) })
    }

    /// Sets this folder's own mode and modification time.
    pub(crate) fn set_own(&self, mode: u32, mtime: Option<i64>) -> io::Result<()> {
        set_mode_and_time(&self.fd, mode, mtime)
    }

    /// Names of all entries but `.` and `..`, sorted.
    pub(crate) fn names(&self) -> io::Result<Vec<Vec<u8>>> {
        // A description of its own: reading must not move the position that `self` has.
        let own = open_at(self.raw(), c".", FOLDER, 0)?;
        // SAFETY: the descriptor is a folder's, and `fdopendir` takes it over only if it succeeds.
        let stream = unsafe { libc::fdopendir(own.as_raw_fd()) };
        if stream.is_null() {
            return Err(io::Error::last_os_error());
        }
        std::mem::forget(own);
        let mut names = Vec::new();
        let result = loop {
            // `readdir` tells an error from the end by this alone.
            set_errno(0);
            // SAFETY: the stream is open and ours alone.
            let entry = unsafe { libc::readdir(stream) };
            if entry.is_null() {
                let error = io::Error::last_os_error();
                break if error.raw_os_error() == Some(0) { Ok(()) } else { Err(error) };
            }
            // SAFETY: the entry is valid until the next `readdir`, its name ends in a zero.
            let name = unsafe { CStr::from_ptr((*entry).d_name.as_ptr()) }.to_bytes();
            if name != b"." && name != b".." {
                names.push(name.to_vec());
            }
        };
        // SAFETY: closes the stream and its descriptor, once.
        unsafe { libc::closedir(stream) };
        result?;
        names.sort_unstable();
        Ok(names)
    }

    /// Bytes that this user may still write on this file system.
    pub(crate) fn free_space(&self) -> io::Result<u64> {
        let mut answer = MaybeUninit::<libc::statvfs>::uninit();
        // SAFETY: `answer` is written if the call succeeds.
        let answer = unsafe {
            check(libc::fstatvfs(self.raw(), answer.as_mut_ptr()))?;
            answer.assume_init()
        };
        #[allow(clippy::unnecessary_cast, reason = "the fields' types differ from system to system")]
        Ok((answer.f_bavail as u64).saturating_mul(answer.f_frsize as u64))
    }

    /// Tries to take the lock of this folder; it is free again when every copy of the descriptor is closed.
    pub(crate) fn try_lock(&self) -> io::Result<()> {
        try_lock(&self.fd)
    }

    /// Waits for the lock of this folder.
    pub(crate) fn lock(&self) -> io::Result<()> {
        // SAFETY: takes no pointers.
        check(unsafe { libc::flock(self.raw(), libc::LOCK_EX) })
    }

    /// Another descriptor of the same open folder.
    pub(crate) fn try_clone(&self) -> io::Result<Self> {
        Ok(Self { fd: self.fd.try_clone()? })
    }

    /// Opens what a path inside this folder leads to, links included as long as they stay inside. `EXDEV` if they do not.
    #[cfg(target_os = "linux")]
    fn resolve(&self, path: &[u8], flags: libc::c_int) -> io::Result<OwnedFd> {
        let path_string = c_string(path)?;
        // SAFETY: all zero is a valid value.
        let mut how: libc::open_how = unsafe { std::mem::zeroed() };
        how.flags = (flags | libc::O_CLOEXEC) as u64;
        how.resolve = libc::RESOLVE_BENEATH | libc::RESOLVE_NO_MAGICLINKS;
        // SAFETY: path and `how` live through the call, and the size is that of `how`.
        let fd = unsafe {
            libc::syscall(
                libc::SYS_openat2,
                self.raw(),
                path_string.as_ptr(),
                &raw const how,
                size_of::<libc::open_how>(),
            )
        };
        match i32::try_from(fd) {
            // SAFETY: the descriptor is fresh and nobody else's.
            Ok(fd) if fd >= 0 => Ok(unsafe { OwnedFd::from_raw_fd(fd) }),
            _ => match io::Error::last_os_error() {
                // Kernels before 5.6, and some sandboxes.
                error if matches!(error.raw_os_error(), Some(libc::ENOSYS | libc::EPERM)) => {
                    self.resolve_plainly(path, flags)
                }
                error => Err(error),
            },
        }
    }

    /// Elsewhere: no link is followed at all.
    #[cfg(not(target_os = "linux"))]
    fn resolve(&self, path: &[u8], flags: libc::c_int) -> io::Result<OwnedFd> {
        self.resolve_plainly(path, flags)
    }

    /// For systems and kernels that cannot follow links and stay inside: a link is `ELOOP`.
    fn resolve_plainly(&self, path: &[u8], flags: libc::c_int) -> io::Result<OwnedFd> {
        let mut cursor = Cursor::new(self.try_clone()?);
        let (folder, name) = cursor.at(path)?;
        open_at(folder.raw(), &c_string(name)?, flags | libc::O_NOFOLLOW | libc::O_CLOEXEC, 0)
    }

    /// Opens for reading what a path inside this folder leads to; see [`resolve`](Self::resolve). Special files are not
    /// opened; their state alone is returned.
    pub(crate) fn open_inside(&self, path: &[u8]) -> io::Result<(Stat, Option<OwnedFd>)> {
        #[cfg(target_os = "linux")]
        let look = libc::O_PATH;
        #[cfg(not(target_os = "linux"))]
        let look = libc::O_RDONLY | libc::O_NONBLOCK;
        let stat = Stat::of(&self.resolve(path, look)?)?;
        if matches!(stat.kind, Kind::Special | Kind::Link) {
            return Ok((stat, None));
        }
        let fd = self.resolve(path, libc::O_RDONLY | libc::O_NONBLOCK | libc::O_NOCTTY)?;
        let opened = Stat::of(&fd)?;
        // Nobody else is at work in the folder by now; if somebody is, what was opened must at least be what was seen.
        let same = (opened.device, opened.inode, opened.kind) == (stat.device, stat.inode, stat.kind);
        if same { Ok((opened, Some(fd))) } else { Err(io::Error::from_raw_os_error(libc::ESTALE)) }
    }

    /// The descriptor.
    pub(crate) fn into_fd(self) -> OwnedFd {
        self.fd
    }

    fn raw(&self) -> libc::c_int {
        self.fd.as_raw_fd()
    }
}

/// Sets the mode, and the modification time if there is one, of an open file or folder.
pub(crate) fn set_mode_and_time(fd: &impl AsRawFd, mode: u32, mtime: Option<i64>) -> io::Result<()> {
    // SAFETY: takes no pointers.
    check(unsafe { libc::fchmod(fd.as_raw_fd(), mode as libc::mode_t) })?;
    let Some(mtime) = mtime else { return Ok(()) };
    let times = [OMIT, timespec(mtime)];
    // SAFETY: `times` lives through the call.
    check(unsafe { libc::futimens(fd.as_raw_fd(), times.as_ptr()) })
}

/// Tries to take the lock of an open file or folder.
pub(crate) fn try_lock(fd: &impl AsRawFd) -> io::Result<()> {
    // SAFETY: takes no pointers.
    check(unsafe { libc::flock(fd.as_raw_fd(), libc::LOCK_EX | libc::LOCK_NB) })
}

/// A random name that starts with `prefix`.
pub(crate) fn random_name(prefix: &str) -> io::Result<Vec<u8>> {
    let number = getrandom::u64().map_err(|error| io::Error::other(error.to_string()))?;
    Ok(format!("{prefix}{number:016x}").into_bytes())
}

/// Bytes of a path.
pub(crate) fn path_of(bytes: &[u8]) -> &Path {
    Path::new(OsStr::from_bytes(bytes))
}

const OMIT: libc::timespec = libc::timespec { tv_sec: 0, tv_nsec: libc::UTIME_OMIT };

fn timespec(nanos: i64) -> libc::timespec {
    let (seconds, rest) = (nanos.div_euclid(1_000_000_000), nanos.rem_euclid(1_000_000_000));
    libc::timespec { tv_sec: seconds as libc::time_t, tv_nsec: rest as libc::c_long }
}

fn open_at(dir: libc::c_int, name: &CStr, flags: libc::c_int, mode: libc::c_uint) -> io::Result<OwnedFd> {
    // SAFETY: the name lives through the call.
    let fd = unsafe { libc::openat(dir, name.as_ptr(), flags, mode) };
    check(fd.min(0))?;
    // SAFETY: the descriptor is fresh and nobody else's.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

fn check(result: libc::c_int) -> io::Result<()> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

fn set_errno(number: libc::c_int) {
    #[cfg(target_os = "linux")]
    // SAFETY: the place is this thread's own.
    unsafe {
        *libc::__errno_location() = number;
    }
    #[cfg(target_vendor = "apple")]
    // SAFETY: the place is this thread's own.
    unsafe {
        *libc::__error() = number;
    }
}

fn c_string(bytes: &[u8]) -> io::Result<CString> {
    CString::new(bytes).map_err(|_| io::Error::from_raw_os_error(libc::EINVAL))
}
