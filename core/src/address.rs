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
    /// The path of a Unix socket on this host. One that begins with `#` is a name: of a peer that has dialled a Unix socket,
    /// and so has no address. It can be sent to while it is connected, and not be dialled.
    Unix(String),
}

/// What stands before the path of a Unix socket.
const UNIX: &str = "unix:";
/// Bytes of such a path, at most: what systems take.
const MAX_PATH: usize = 107;
/// Bytes of a host's name, at most.
const MAX_HOST: usize = 253;

impl Address {
    /// The port; 0 for a Unix socket, which has none.
    pub fn port(&self) -> u16 {
        match self {
            Self::Socket(socket) => socket.port(),
            Self::Name(_, port) => *port,
            Self::Unix(_) => 0,
        }
    }

    /// The socket address, if it is one.
    pub fn socket(&self) -> Option<SocketAddr> {
        if let Self::Socket(socket) = self { Some(*socket) } else { None }
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
            Self::Unix(_) => true,
        }
    }

    /// Whether it is the path of a Unix socket.
    pub fn is_unix(&self) -> bool {
        matches!(self, Self::Unix(_))
    }

    /// Whether it only names a connected peer (`unix:#7`), and so cannot be dialled.
    pub fn is_passing(&self) -> bool {
        matches!(self, Self::Unix(path) if path.starts_with('#'))
    }

    /// Whether somebody can be told to dial it: it has a port, or a path.
    pub fn can_be_told(&self) -> bool {
        match self {
            Self::Socket(socket) => socket.port() != 0,
            Self::Name(name, port) => (1..=MAX_HOST).contains(&name.len()) && *port != 0,
            Self::Unix(path) => is_path(path) && !self.is_passing(),
        }
    }

    /// What another host should dial, given that this address was advertised by a peer seen at `seen`: a wildcard, or a
    /// loopback that arrived from elsewhere, gets the host that was seen. `None`: a Unix socket of another host.
    pub fn completed(&self, seen: IpAddr) -> Option<Self> {
        let replace = self.is_wildcard() || (self.is_loopback() && !seen.is_loopback());
        match self {
            Self::Unix(_) if replace => None,
            _ if replace => Some(Self::Socket(SocketAddr::new(seen, self.port()))),
            _ => Some(self.clone()),
        }
    }

    /// What a peer on host `from`, which has reached us at `local`, should dial, given that this is the address of somebody
    /// we can dial ourselves: our loopback means nothing on another host, which knows this one as `local`. A peer on our own
    /// host calls from the very address that it calls. A Unix socket stays one: nobody elsewhere should be told of it.
    pub fn as_seen_from(&self, from: IpAddr, local: IpAddr) -> Self {
        let replace = self.is_loopback() && !self.is_unix() && !local.is_loopback() && from != local;
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
            Self::Unix(path) => write!(f, "{UNIX}{path}"),
        }
    }
}

/// Why a text is no address; says what one looks like.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct AddressError(pub String);

impl fmt::Display for AddressError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "'{}' is no address; write HOST:PORT, 192.0.2.1:7700, [2001:db8::1]:7700 or unix:/PATH",
            self.0
        )
    }
}

impl core::error::Error for AddressError {}

impl FromStr for Address {
    type Err = AddressError;

    /// `HOST:PORT`, `IPV4:PORT`, `[IPV6]:PORT`, `:PORT` (every interface), `unix:/PATH`, `unix:./PATH` or `unix:../PATH`.
    fn from_str(text: &str) -> Result<Self, AddressError> {
        if let Ok(socket) = text.parse::<SocketAddr>() {
            return Ok(Self::Socket(socket));
        }
        // `unix:7700` is a host of that name.
        if let Some(path) = text.strip_prefix(UNIX).filter(|path| is_path(path)) {
            return Ok(Self::Unix(path.to_string()));
        }
        let wrong = || AddressError(text.to_string());
        let (host, port) = text.rsplit_once(':').ok_or_else(wrong)?;
        let port: u16 = port.parse().map_err(|_| wrong())?;
        if host.is_empty() {
            return Ok(Self::Socket(SocketAddr::new(IpAddr::from([0; 4]), port)));
        }
        let good = |c: char| c.is_alphanumeric() || matches!(c, '-' | '.' | '_');
        let numeric = host.chars().all(|c| c.is_ascii_digit() || c == '.');
        if host.len() > MAX_HOST || numeric || !host.chars().all(good) {
            return Err(wrong());
        }
        Ok(Self::Name(host.to_string(), port))
    }
}

/// Whether a text is the path of a Unix socket, or such a peer's name, and is read back as what it is.
fn is_path(text: &str) -> bool {
    let begins = ["/", "./", "../", "#"]
        .iter()
        .any(|begin| text.strip_prefix(begin).is_some_and(|rest| !rest.is_empty()));
    begins && text.len() <= MAX_PATH && !text.contains('\0')
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::format;

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
    #[test]
    fn n2_the_path_of_a_unix_socket_is_read_back() {
        let long = format!("/{}", "x".repeat(MAX_PATH - 1));
        for path in ["/run/x.sock", "./x.sock", "../x", "/with:colon 7", "#7", long.as_str()] {
            let text = format!("unix:{path}");
            let address: Address = text.parse().expect(path);
            assert_eq!((&address, address.to_string()), (&Address::Unix(path.into()), text));
            assert_eq!((address.port(), address.is_loopback(), address.is_wildcard()), (0, true, false));
            assert_eq!((address.is_passing(), address.can_be_told()), (path == "#7", path != "#7"));
        }
        for path in ["", "/", "./", "x.sock", "#", "/nul\0", "~/x", &format!("{long}x")] {
            let wrong = format!("unix:{path}").parse::<Address>().expect_err(path);
            assert!(wrong.to_string().ends_with("or unix:/PATH"), "{wrong}");
            assert!(!Address::Unix(path.into()).can_be_told(), "{path}");
        }
        // A host may be called so.
        assert_eq!("unix:7700".parse(), Ok(Address::Name("unix".into(), 7700)));
    }

    #[test]
    fn n2_a_unix_socket_is_of_one_host() {
        let address = Address::Unix("/run/x.sock".into());
        let (here, there) = (IpAddr::from([127, 0, 0, 1]), IpAddr::from([10, 0, 0, 7]));
        assert_eq!(address.completed(here), Some(address.clone()));
        assert_eq!(address.completed(there), None);
        assert_eq!(address.as_seen_from(there, IpAddr::from([10, 0, 0, 1])), address);
        // What came over one, came from this host.
        let wild: Address = ":9".parse().expect("an address");
        let seen = crate::net::Endpoint::Unix("#1".into()).host();
        assert_eq!(wild.completed(seen), Some("127.0.0.1:9".parse().expect("an address")));
    }
}
