//! What the system says about a file.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::AsRawFd;

/// What an entry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    File,
    Folder,
    Link,
    /// A device, socket or pipe.
    Special,
}

/// An entry's state. Two that are equal mean that nobody has touched it between them, as far as the system can tell: any
/// write moves the change time, which nobody can set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stat {
    pub(crate) kind: Kind,
    /// Permission bits.
    pub(crate) mode: u32,
    pub(crate) size: u64,
    /// Nanoseconds since 1970.
    pub(crate) mtime: i64,
    pub(crate) ctime: i64,
    pub(crate) device: u64,
    pub(crate) inode: u64,
}

impl Stat {
    /// Of an open file.
    pub(crate) fn of(fd: &impl AsRawFd) -> io::Result<Self> {
        let mut stat = MaybeUninit::<libc::stat>::uninit();
        // SAFETY: `stat` is written if the call succeeds.
        unsafe {
            if libc::fstat(fd.as_raw_fd(), stat.as_mut_ptr()) != 0 {
                return Err(io::Error::last_os_error());
            }
            Ok(Self::from(&stat.assume_init()))
        }
    }

    /// Everything that identifies the state, as bytes to be hashed.
    pub(crate) fn identity(&self) -> [u8; 40] {
        let mut bytes = [0; 40];
        let words = [self.device, self.inode, self.size, self.mtime as u64, self.ctime as u64];
        for (place, word) in bytes.chunks_exact_mut(8).zip(words) {
            place.copy_from_slice(&word.to_le_bytes());
        }
        bytes
    }
}

#[allow(
    clippy::unnecessary_cast,
    clippy::useless_conversion,
    reason = "the fields' types differ from system to system"
)]
impl From<&libc::stat> for Stat {
    fn from(stat: &libc::stat) -> Self {
        let kind = match stat.st_mode as u32 & libc::S_IFMT as u32 {
            kind if kind == libc::S_IFREG as u32 => Kind::File,
            kind if kind == libc::S_IFDIR as u32 => Kind::Folder,
            kind if kind == libc::S_IFLNK as u32 => Kind::Link,
            _ => Kind::Special,
        };
        let nanos = |seconds: i64, nanos: i64| seconds.saturating_mul(1_000_000_000).saturating_add(nanos);
        Self {
            kind,
            mode: stat.st_mode as u32 & 0o7777,
            size: u64::try_from(stat.st_size).unwrap_or(0),
            mtime: nanos(stat.st_mtime as i64, stat.st_mtime_nsec as i64),
            ctime: nanos(stat.st_ctime as i64, stat.st_ctime_nsec as i64),
            device: stat.st_dev as u64,
            inode: stat.st_ino as u64,
        }
    }
}
