//! How the sockets of links are set.

use socket2::{Domain, Protocol, Socket, TcpKeepalive, Type};
use std::io;
use std::time::Duration;

/// How the sockets of all links of a driver are set. The defaults are good for nearly everybody.
///
/// They are tried when the driver starts: what this system does not know is an error there, and not a surprise later.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SocketOptions {
    /// `TCP_NODELAY` (set): what is written leaves at once. Messages are gathered before they are written, so that the system
    /// need not; without it an answer may wait for 40 ms.
    pub nodelay: bool,
    /// `SO_KEEPALIVE` (off): after so long without a byte the system asks the peer's for a sign of life, and again as often.
    /// The protocol has its own pings, which also see a process that hangs; set it where something between the two forgets
    /// links that are quiet for less than `Limits::heartbeat`. Whole seconds.
    pub keepalive: Option<Duration>,
    /// `SO_SNDBUF` (the system's choice, which grows by itself on most): bytes that the system takes before it lets a writer
    /// wait. Set it to bound the memory of many links, or for a long way that is faster than the system's bound allows.
    pub send_buffer: Option<usize>,
    /// `SO_RCVBUF` (as above): bytes that the system keeps for a reader. What was set no longer grows by itself.
    pub receive_buffer: Option<usize>,
    /// `TCP_CONGESTION`, on Linux: the congestion control, as the system calls it (`cubic`, `bbr`; see
    /// `net.ipv4.tcp_available_congestion_control`). None: reno within this host, where nothing is congested and one that paces
    /// (BBR) costs a third of a transfer's time; elsewhere the system's choice.
    pub congestion: Option<String>,
}

impl Default for SocketOptions {
    fn default() -> Self {
        Self { nodelay: true, keepalive: None, send_buffer: None, receive_buffer: None, congestion: None }
    }
}

impl SocketOptions {
    /// Whether the system takes all of them.
    pub(crate) fn check(&self) -> io::Result<()> {
        if *self == Self::default() {
            return Ok(());
        }
        let wrong = |what: String| Err(io::Error::new(io::ErrorKind::InvalidInput, what));
        if self.keepalive.is_some_and(|time| time.as_secs() == 0 || time.subsec_nanos() != 0) {
            return wrong("keepalive is whole seconds, 1 or more".to_owned());
        }
        let size = |size: usize| !(1..=1 << 30).contains(&size);
        if self.send_buffer.is_some_and(size) || self.receive_buffer.is_some_and(size) {
            return wrong("a socket's buffer has 1 byte to 1 GiB".to_owned());
        }
        let named = |what: &str, set: io::Result<()>| {
            set.map_err(|error| io::Error::new(error.kind(), format!("{what}: {error}")))
        };
        // Any host has one of the two.
        let socket = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP))
            .or_else(|_| Socket::new(Domain::IPV6, Type::STREAM, Some(Protocol::TCP)))?;
        named("the buffers of a socket", self.size(&socket))?;
        if let Some(name) = &self.congestion {
            named(
                &format!("the congestion control '{name}' cannot be had here"),
                set_congestion(&socket, name),
            )?;
        }
        named("the options of a socket", self.tune(&socket, false))
    }

    /// Buffers: before a socket connects or listens, for the window that TCP offers is agreed on then.
    pub(super) fn size(&self, socket: &Socket) -> io::Result<()> {
        if let Some(size) = self.send_buffer {
            socket.set_send_buffer_size(size)?;
        }
        if let Some(size) = self.receive_buffer {
            socket.set_recv_buffer_size(size)?;
        }
        Ok(())
    }

    /// What only TCP has, of one link.
    pub(super) fn tune(&self, socket: &Socket, within_host: bool) -> io::Result<()> {
        socket.set_tcp_nodelay(self.nodelay)?;
        if let Some(time) = self.keepalive {
            socket.set_tcp_keepalive(&TcpKeepalive::new().with_time(time).with_interval(time))?;
        }
        let congestion = self.congestion.as_deref().or(within_host.then_some("reno"));
        if let Some(name) = congestion {
            // It was there when we started; a link works without it, too.
            let _ = set_congestion(socket, name);
        }
        Ok(())
    }
}

#[cfg(target_os = "linux")]
fn set_congestion(socket: &Socket, name: &str) -> io::Result<()> {
    socket.set_tcp_congestion(name.as_bytes())
}

#[cfg(not(target_os = "linux"))]
fn set_congestion(_: &Socket, _: &str) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}
