//! The network as the machines see it: requests and their completions.

use crate::{Address, LinkId, ListenerId, QueryId};
use alloc::{string::String, vec::Vec};
use bytes::Bytes;
use core::fmt;
use core::net::{IpAddr, Ipv4Addr, SocketAddr};
use serde::{Deserialize, Serialize};

/// One end of a link, or where a listener is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Endpoint {
    /// An IPv4 or IPv6 address and a port.
    Ip(#[serde(with = "whole")] SocketAddr),
    /// The path of a Unix socket. Empty: an end without an address.
    Unix(String),
}

impl Endpoint {
    /// The address of its host, IPv4 as such; loopback for a Unix socket, both of whose ends are on this host.
    pub fn host(&self) -> IpAddr {
        self.socket().map_or(IpAddr::V4(Ipv4Addr::LOCALHOST), |socket| socket.ip().to_canonical())
    }

    /// The port; 0 for a Unix socket, which has none.
    pub fn port(&self) -> u16 {
        self.socket().map_or(0, |socket| socket.port())
    }

    /// The socket address, if it is one.
    pub fn socket(&self) -> Option<SocketAddr> {
        if let Self::Ip(socket) = self { Some(*socket) } else { None }
    }
}

impl From<SocketAddr> for Endpoint {
    fn from(socket: SocketAddr) -> Self {
        Self::Ip(socket)
    }
}

impl From<Endpoint> for Address {
    fn from(endpoint: Endpoint) -> Self {
        match endpoint {
            Endpoint::Ip(socket) => Self::Socket(socket),
            Endpoint::Unix(path) => Self::Unix(path),
        }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(socket) => write!(f, "{socket}"),
            Self::Unix(path) => write!(f, "unix:{path}"),
        }
    }
}

/// A request to the network. Each gets exactly one completion, named beside it; `Close` and `Broken` also complete
/// whatever was outstanding on their link, `Unlisten` whatever was outstanding on its listener.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
pub enum NetAction {
    /// Look a name up → [`NetEvent::Resolved`]. Never on the loop's thread.
    Resolve {
        /// Names the completion.
        query: QueryId,
        /// A host name.
        host: String,
        /// Goes unchanged into the result.
        port: u16,
    },
    /// Listen on an address; port 0 takes any free one → [`NetEvent::Listening`] or [`NetEvent::ListenFailed`].
    /// IPv6 wildcards listen on IPv6 alone unless the system cannot. A Unix socket's file is its owner's alone, replaces one
    /// that nobody listens at any more, and goes with the listener; a runtime without such sockets answers
    /// [`NetError::AddressNotAvailable`], here and to a `Dial`.
    Listen {
        /// The new listener.
        listener: ListenerId,
        /// Where.
        address: Endpoint,
    },
    /// Take the next connection → [`NetEvent::Accepted`] or [`NetEvent::AcceptFailed`]. At most one is armed a listener;
    /// not arming it leaves newcomers in the system's backlog.
    Accept {
        /// An open listener.
        listener: ListenerId,
        /// The id that the accepted link gets.
        link: LinkId,
    },
    /// Stop listening → [`NetEvent::Unlistened`].
    Unlisten {
        /// An open listener.
        listener: ListenerId,
    },
    /// Connect → [`NetEvent::Dialed`] or [`NetEvent::DialFailed`].
    Dial {
        /// The new link.
        link: LinkId,
        /// Where to.
        address: Endpoint,
    },
    /// Write all of `buffers`, in order → [`NetEvent::Sent`] once the system has taken every byte. At most one is
    /// outstanding a link.
    Send {
        /// An open link.
        link: LinkId,
        /// What to write; together never empty.
        buffers: Vec<Bytes>,
    },
    /// Read up to `max` bytes as soon as there are any → [`NetEvent::Received`] or [`NetEvent::PeerClosed`]. At most one
    /// is armed a link; not arming it is backpressure. The runtime allocates only when bytes are there.
    Recv {
        /// An open link.
        link: LinkId,
        /// At least 1.
        max: usize,
    },
    /// No more will be sent: the peer reads the end of the stream → [`NetEvent::ShutdownDone`].
    Shutdown {
        /// An open link with no send outstanding.
        link: LinkId,
    },
    /// End the link now → [`NetEvent::Closed`]. Also ends a dial under way.
    Close {
        /// A link that was not yet reported as failed or broken.
        link: LinkId,
    },
}

/// What the network answers or reports.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum NetEvent {
    /// A look-up ended: at least one address in the system's order of preference, or why not.
    Resolved {
        /// Which look-up.
        query: QueryId,
        /// What it found.
        #[serde(with = "whole::found")]
        result: Result<Vec<SocketAddr>, NetError>,
    },
    /// The listener is open; `address` has the port that was chosen, and the whole of a path.
    Listening {
        /// Which listener.
        listener: ListenerId,
        /// Where it listens.
        address: Endpoint,
    },
    /// The system refused the address; the listener does not exist.
    ListenFailed {
        /// Which listener.
        listener: ListenerId,
        /// Why.
        error: NetError,
    },
    /// A newcomer; its link is open.
    Accepted {
        /// At which listener.
        listener: ListenerId,
        /// The id that the `Accept` gave.
        link: LinkId,
        /// The newcomer's own address; an empty path on a Unix socket, where it has none.
        peer: Endpoint,
        /// The address that it reached us at.
        local: Endpoint,
    },
    /// Nothing could be accepted (no descriptors); the listener stays open, the link does not exist.
    AcceptFailed {
        /// At which listener.
        listener: ListenerId,
        /// The id that the `Accept` gave.
        link: LinkId,
        /// Why.
        error: NetError,
    },
    /// The listener is closed.
    Unlistened {
        /// Which listener.
        listener: ListenerId,
    },
    /// The dialled link is open.
    Dialed {
        /// Which link.
        link: LinkId,
        /// The address reached.
        peer: Endpoint,
        /// Our own address on it; an empty path on a Unix socket.
        local: Endpoint,
    },
    /// The dial failed; the link does not exist.
    DialFailed {
        /// Which link.
        link: LinkId,
        /// Why.
        error: NetError,
    },
    /// The system has taken every byte of the send.
    Sent {
        /// On which link.
        link: LinkId,
    },
    /// Bytes have come; never empty.
    Received {
        /// On which link.
        link: LinkId,
        /// The bytes.
        data: Bytes,
    },
    /// The peer will send no more (it may still read).
    PeerClosed {
        /// On which link.
        link: LinkId,
    },
    /// Our end of the stream has been told to the peer.
    ShutdownDone {
        /// On which link.
        link: LinkId,
    },
    /// The link is dead; completes all that was outstanding on it.
    Broken {
        /// Which link.
        link: LinkId,
        /// Why.
        error: NetError,
    },
    /// The link is closed as asked; completes all that was outstanding on it.
    Closed {
        /// Which link.
        link: LinkId,
    },
}

/// What a network can answer, apart as far as a caller can act on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, Hash)]
pub enum NetError {
    /// Nobody listens there.
    Refused,
    /// No answer came.
    TimedOut,
    /// No route, or the network is down.
    Unreachable,
    /// The peer, or something between, reset the link.
    Reset,
    /// Another process listens on that address.
    AddressInUse,
    /// This host has no such address.
    AddressNotAvailable,
    /// The system forbids it (a port below 1024, a firewall).
    PermissionDenied,
    /// The name does not exist, or has no address.
    NameNotFound,
    /// No descriptors, ports or buffers are left: a want of this host's own.
    Exhausted,
    /// Any other, by the system's number.
    Other(i32),
}

impl fmt::Display for NetError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Refused => "connection refused: nothing listens there",
            Self::TimedOut => "no answer",
            Self::Unreachable => "no route to it",
            Self::Reset => "the connection was reset",
            Self::AddressInUse => "the address is in use by another program",
            Self::AddressNotAvailable => "this host has no such address",
            Self::PermissionDenied => "permission denied",
            Self::NameNotFound => "the name does not resolve to an address",
            Self::Exhausted => "no file descriptors, ports or buffers are left",
            Self::Other(number) => return write!(f, "system error {number}"),
        })
    }
}

impl core::error::Error for NetError {}

/// Socket addresses with all that they hold: as serde writes one it has lost the scope, without which a link-local address
/// leads nowhere. For what a runtime keeps to itself; never on the wire.
pub(crate) mod whole {
    use core::net::{IpAddr, SocketAddr, SocketAddrV6};
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    #[derive(Serialize, Deserialize)]
    struct Whole {
        ip: IpAddr,
        port: u16,
        flow: u32,
        scope: u32,
    }

    impl From<SocketAddr> for Whole {
        fn from(socket: SocketAddr) -> Self {
            let (flow, scope) = match socket {
                SocketAddr::V4(_) => (0, 0),
                SocketAddr::V6(socket) => (socket.flowinfo(), socket.scope_id()),
            };
            Self { ip: socket.ip(), port: socket.port(), flow, scope }
        }
    }

    impl From<Whole> for SocketAddr {
        fn from(whole: Whole) -> Self {
            match whole.ip {
                IpAddr::V4(ip) => Self::from((ip, whole.port)),
                IpAddr::V6(ip) => Self::V6(SocketAddrV6::new(ip, whole.port, whole.flow, whole.scope)),
            }
        }
    }

    pub(crate) fn serialize<S: Serializer>(socket: &SocketAddr, to: S) -> Result<S::Ok, S::Error> {
        Whole::from(*socket).serialize(to)
    }

    pub(crate) fn deserialize<'a, D: Deserializer<'a>>(from: D) -> Result<SocketAddr, D::Error> {
        Whole::deserialize(from).map(SocketAddr::from)
    }

    /// What a look-up found.
    pub(crate) mod found {
        use super::Whole;
        use crate::net::NetError;
        use alloc::vec::Vec;
        use core::net::SocketAddr;
        use serde::{Deserialize, Deserializer, Serialize, Serializer};

        type Found<T> = Result<Vec<T>, NetError>;

        pub(crate) fn serialize<S: Serializer>(found: &Found<SocketAddr>, to: S) -> Result<S::Ok, S::Error> {
            let whole: Found<Whole> = found
                .as_ref()
                .map(|all| all.iter().map(|socket| Whole::from(*socket)).collect())
                .map_err(|e| *e);
            whole.serialize(to)
        }

        pub(crate) fn deserialize<'a, D: Deserializer<'a>>(from: D) -> Result<Found<SocketAddr>, D::Error> {
            let whole = Found::<Whole>::deserialize(from)?;
            Ok(whole.map(|all| all.into_iter().map(SocketAddr::from).collect()))
        }
    }
}
