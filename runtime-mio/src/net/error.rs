//! The system's numbers as the machines' words.

use std::io;
use std::net::SocketAddr;
use xxnet_core::net::{Endpoint, NetError};

/// What a caller can act on; the number itself for all else.
pub(crate) fn net_error(error: &io::Error) -> NetError {
    let Some(number) = error.raw_os_error() else {
        return match error.kind() {
            io::ErrorKind::UnexpectedEof | io::ErrorKind::WriteZero => NetError::Reset,
            io::ErrorKind::TimedOut => NetError::TimedOut,
            _ => NetError::Other(0),
        };
    };
    match number {
        libc::ECONNREFUSED => NetError::Refused,
        libc::ETIMEDOUT => NetError::TimedOut,
        libc::EHOSTUNREACH | libc::ENETUNREACH | libc::ENETDOWN | libc::EHOSTDOWN => NetError::Unreachable,
        libc::ECONNRESET | libc::EPIPE | libc::ECONNABORTED | libc::ENOTCONN => NetError::Reset,
        libc::EADDRINUSE => NetError::AddressInUse,
        libc::EADDRNOTAVAIL | libc::EAFNOSUPPORT => NetError::AddressNotAvailable,
        libc::EACCES | libc::EPERM => NetError::PermissionDenied,
        libc::EMFILE | libc::ENFILE | libc::ENOBUFS | libc::ENOMEM => NetError::Exhausted,
        other => NetError::Other(other),
    }
}

/// As [`net_error`], for a listener: there may be no such folder for a Unix socket, or the path is too long for the system.
pub(super) fn listen_error(error: &io::Error) -> NetError {
    match error.kind() {
        io::ErrorKind::NotFound
        | io::ErrorKind::NotADirectory
        | io::ErrorKind::InvalidInput
        | io::ErrorKind::InvalidFilename => NetError::AddressNotAvailable,
        io::ErrorKind::ReadOnlyFilesystem => NetError::PermissionDenied,
        _ => net_error(error),
    }
}

/// As [`net_error`], for a dial: a host without that address family has no way there, a path without a socket has nobody who
/// listens, and a Unix socket whose backlog is full does not answer. Over IPv4, no address to dial from means that no port is left;
/// over IPv6 a host may have none at all.
pub(crate) fn dial_error(error: &io::Error, to: &Endpoint) -> NetError {
    match error.raw_os_error() {
        Some(libc::EADDRNOTAVAIL) if matches!(to, Endpoint::Ip(SocketAddr::V4(_))) => NetError::Exhausted,
        Some(libc::EAFNOSUPPORT) => NetError::Unreachable,
        Some(libc::ENOENT | libc::ENOTDIR) => NetError::Refused,
        Some(libc::EAGAIN) => NetError::TimedOut,
        None if error.kind() == io::ErrorKind::InvalidInput => NetError::AddressNotAvailable,
        _ => net_error(error),
    }
}

#[cfg(test)]
mod tests {
    use super::{dial_error, net_error};
    use std::io;
    use xxnet_core::net::{Endpoint, NetError};

    #[test]
    fn each_word_has_its_numbers() {
        let of = |number| net_error(&io::Error::from_raw_os_error(number));
        assert_eq!(of(libc::ECONNREFUSED), NetError::Refused);
        assert_eq!(of(libc::ENETUNREACH), NetError::Unreachable);
        assert_eq!(of(libc::EMFILE), NetError::Exhausted);
        assert_eq!(of(libc::EXDEV), NetError::Other(libc::EXDEV));
    }

    #[test]
    fn x5_a_dial_that_finds_no_port_is_a_want_of_this_hosts_own() {
        let of = |number, to: &str| {
            let to = Endpoint::Ip(to.parse().unwrap());
            dial_error(&io::Error::from_raw_os_error(number), &to)
        };
        assert_eq!(of(libc::EADDRNOTAVAIL, "10.0.0.1:7"), NetError::Exhausted);
        assert_eq!(of(libc::EADDRNOTAVAIL, "[fd00::1]:7"), NetError::AddressNotAvailable);
        assert_eq!(of(libc::EMFILE, "10.0.0.1:7"), NetError::Exhausted);
        assert_eq!(of(libc::EAFNOSUPPORT, "[::1]:7"), NetError::Unreachable);
    }
}
