//! The files of Unix sockets.

use socket2::{Domain, SockAddr, Socket, Type};
use std::fs::{self, Metadata, Permissions};
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::PathBuf;

/// Bytes of a path, at most (core's bound of an address).
const MAX_PATH: usize = 107;

/// The file of a listener, which goes with it unless another has taken its place.
#[derive(Debug)]
pub(super) struct SocketFile {
    path: PathBuf,
    inode: (u64, u64),
}

impl SocketFile {
    fn of(path: &str) -> io::Result<Self> {
        Ok(Self { path: path.into(), inode: inode(&fs::symlink_metadata(path)?) })
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        // The socket still holds its inode, so no other file has the same number.
        if fs::symlink_metadata(&self.path).is_ok_and(|found| inode(&found) == self.inode) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Binds to a path, in place of a socket that nobody listens at any more. Answers the whole of the path.
///
/// Two processes that find the same dead socket in the same moment may both believe that the path is theirs.
pub(super) fn bind(socket: &Socket, path: &str) -> io::Result<(String, SocketFile)> {
    let path = whole(path);
    let address = SockAddr::unix(&path)?;
    match socket.bind(&address) {
        Err(error) if error.raw_os_error() == Some(libc::EADDRINUSE) && remove_dead(&path, &address) => {
            socket.bind(&address)?;
        }
        bound => bound?,
    }
    let file = SocketFile::of(&path)?;
    // Nobody can connect before it listens, so nobody was let in by other rights.
    fs::set_permissions(&path, Permissions::from_mode(0o600))?;
    Ok((path, file))
}

/// Removes a socket's file that nobody listens at; whether it did.
fn remove_dead(path: &str, address: &SockAddr) -> bool {
    let Ok(found) = fs::symlink_metadata(path) else { return false };
    if !found.file_type().is_socket() || !refuses(address) {
        return false;
    }
    // Still the one that was asked, not another's new one.
    let same = fs::symlink_metadata(path).is_ok_and(|now| inode(&now) == inode(&found));
    same && fs::remove_file(path).is_ok()
}

fn refuses(address: &SockAddr) -> bool {
    let asked = Socket::new(Domain::UNIX, Type::STREAM, None).and_then(|socket| {
        // One that listens and is busy must not hold us up.
        socket.set_nonblocking(true)?;
        socket.connect(address)
    });
    asked.is_err_and(|error| error.raw_os_error() == Some(libc::ECONNREFUSED))
}

/// From the root on, so that it means the same to others; as it is if that would be too long.
fn whole(path: &str) -> String {
    let whole = std::path::absolute(path).ok().and_then(|path| path.into_os_string().into_string().ok());
    whole.filter(|path| path.len() <= MAX_PATH).unwrap_or_else(|| path.to_owned())
}

fn inode(found: &Metadata) -> (u64, u64) {
    (found.dev(), found.ino())
}

#[cfg(test)]
mod tests {
    use super::{MAX_PATH, whole};

    #[test]
    fn n2_a_path_is_told_from_the_root_on() {
        assert_eq!(whole("/run/x.sock"), "/run/x.sock");
        let here = std::env::current_dir().unwrap().join("x.sock").into_os_string().into_string().unwrap();
        assert_eq!(whole("./x.sock"), if here.len() <= MAX_PATH { &here } else { "./x.sock" });
        let long = format!("./{}", "x".repeat(MAX_PATH - 2));
        assert_eq!(whole(&long), long, "no system takes more");
    }
}
