//! Where a node listens, as people write it and as it travels.

use alloc::string::{String, ToString};
use core::fmt;
use core::net::{IpAddr, SocketAddr};
use core::str::FromStr;
use serde::{Deserialize, Serialize};

/// A place to dial or to listen at. Names are resolved at each dial.
///
/// The variant numbers are pinned by golden vectors; a relay gets the next one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Address {
    /// An IPv4 or IPv6 address and a port.
    Socket(SocketAddr),
    /// A host name and a port.
    Name(String, u16),
}

impl Address {
    /// The port.
    pub fn port(&self) -> u16 {
        match self {
            Self::Socket(socket) => socket.port(),
            Self::Name(_, port) => *port,
        }
    }

    /// Whether it stands for "every interface", and so cannot be dialled.
    pub fn is_wildcard(&self) -> bool {
        matches!(self, Self::Socket(socket) if socket.ip().is_unspecified())
    }

    /// Whether only this very host can reach it.
    pub fn is_loopback(&self) -> bool {
        match self {
            Self::Socket(socket) => socket.ip().is_loopback(),
            Self::Name(name, _) => name == "localhost",
        }
    }

    /// What another host should dial, given that this address was advertised by a peer seen at `seen`: a wildcard, or a
    /// loopback that arrived from elsewhere, gets the host that was seen.
    pub fn completed(&self, seen: IpAddr) -> Self {
        let replace = self.is_wildcard() || (self.is_loopback() && !seen.is_loopback());
        if replace { Self::Socket(SocketAddr::new(seen, self.port())) } else { self.clone() }
    }

    /// What a peer on host `from`, which has reached us at `local`, should dial, given that this is the address of somebody
    /// we can dial ourselves: our loopback means nothing on another host, which knows this one as `local`. A peer on our own
    /// host calls from the very address that it calls.
    pub fn as_seen_from(&self, from: IpAddr, local: IpAddr) -> Self {
        let replace = self.is_loopback() && !local.is_loopback() && from != local;
        if replace { Self::Socket(SocketAddr::new(local, self.port())) } else { self.clone() }
    }
}

impl From<SocketAddr> for Address {
    fn from(socket: SocketAddr) -> Self {
        Self::Socket(socket)
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Socket(socket) => write!(f, "{socket}"),
            Self::Name(name, port) => write!(f, "{name}:{port}"),
        }
    }
}

/// Why a text is no address; says what one looks like.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AddressError(pub String);

impl fmt::Display for AddressError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "'{}' is no address; write HOST:PORT, 192.0.2.1:7700 or [2001:db8::1]:7700", self.0)
    }
}

impl core::error::Error for AddressError {}

impl FromStr for Address {
    type Err = AddressError;

    /// `HOST:PORT`, `IPV4:PORT`, `[IPV6]:PORT` or `:PORT` (every interface).
    fn from_str(text: &str) -> Result<Self, AddressError> {
        if let Ok(socket) = text.parse::<SocketAddr>() {
            return Ok(Self::Socket(socket));
        }
        let wrong = || AddressError(text.to_string());
        let (host, port) = text.rsplit_once(':').ok_or_else(wrong)?;
        let port: u16 = port.parse().map_err(|_| wrong())?;
        if host.is_empty() {
            return Ok(Self::Socket(SocketAddr::new(IpAddr::from([0; 4]), port)));
        }
        let good = |c: char| c.is_alphanumeric() || matches!(c, '-' | '.' | '_');
        let numeric = host.chars().all(|c| c.is_ascii_digit() || c == '.');
        if host.len() > 253 || numeric || !host.chars().all(good) {
            return Err(wrong());
        }
        Ok(Self::Name(host.to_string(), port))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn r1_loopback_is_told_to_nobody_elsewhere() {
        let seen = |address: &str, from: &str, local: &str| {
            let address: Address = address.parse().expect("an address");
            address.as_seen_from(from.parse().expect("a host"), local.parse().expect("a host")).to_string()
        };
        assert_eq!(seen("127.0.0.1:9", "10.0.0.7", "10.0.0.1"), "10.0.0.1:9");
        assert_eq!(seen("[::1]:9", "2001:db8::7", "2001:db8::1"), "[2001:db8::1]:9");
        assert_eq!(seen("localhost:9", "10.0.0.7", "10.0.0.1"), "10.0.0.1:9");
        // On this very host loopback is as good, and may be all there is.
        assert_eq!(seen("127.0.0.1:9", "10.0.0.1", "10.0.0.1"), "127.0.0.1:9");
        assert_eq!(seen("127.0.0.1:9", "127.0.0.1", "127.0.0.2"), "127.0.0.1:9");
        // Anything else is the same for everybody.
        assert_eq!(seen("10.0.0.9:9", "10.0.0.7", "10.0.0.1"), "10.0.0.9:9");
        assert_eq!(seen("one:9", "10.0.0.7", "10.0.0.1"), "one:9");
    }
}
