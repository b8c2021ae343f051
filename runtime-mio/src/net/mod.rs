//! The network on mio's sockets.
//!
//! Readiness is edge-triggered and remembered: a write is tried at once, a read as soon as it is armed and bytes are known
//! to be there, and the poll is asked only when the system has shown that it has nothing more. No link can keep the loop
//! to itself: after some reads and writes in one turn it waits for the next.

mod error;
mod link;
mod options;
mod unix;

use crate::alarm::Outbox;
use crate::chunks::Chunks;
use crate::names::Names;
use link::{Deferred, Link, Phase};
use mio::unix::SourceFd;
use mio::{Interest, Registry, Token};
use socket2::{Protocol, SockAddr, Socket, Type};
use std::collections::{HashMap, VecDeque};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use unix::SocketFile;
use xxnet_core::net::{Endpoint, NetAction, NetError, NetEvent};
use xxnet_core::{LinkId, ListenerId};

pub(crate) use error::net_error;
pub use options::SocketOptions;

/// Received bytes share pieces of memory of this size.
const CHUNK: usize = 512 << 10;
/// Spent chunks that are remembered for use again: some blocks' worth on their way to the disk.
const KEEP: usize = 12;
/// Connections that wait to be accepted, at most, where the system allows so many.
const BACKLOG: i32 = 1024;
/// The tokens' two lowest ids are the driver's own; counters start at 1.
const LARGEST_ID: u64 = 1 << 60;

/// All sockets of a driver.
#[derive(Debug)]
pub(crate) struct Net {
    registry: Registry,
    options: SocketOptions,
    names: Names,
    links: HashMap<LinkId, Link>,
    listeners: HashMap<ListenerId, Listener>,
    chunks: Chunks,
    /// Links that have spent their budget of this turn.
    deferred: Vec<LinkId>,
    turn: u64,
}

#[derive(Debug)]
struct Listener {
    /// Of a Unix socket; goes before it.
    _file: Option<SocketFile>,
    socket: Socket,
    address: Endpoint,
    /// Newcomers may wait: true until the system has shown otherwise.
    ready: bool,
    armed: Option<LinkId>,
}

impl Net {
    pub(crate) fn new(registry: Registry, outbox: Outbox, options: SocketOptions) -> Self {
        Self {
            registry,
            options,
            names: Names::new(outbox),
            links: HashMap::new(),
            listeners: HashMap::new(),
            chunks: Chunks::new(CHUNK, KEEP),
            deferred: Vec::new(),
            turn: 0,
        }
    }

    /// Does what a machine asks.
    pub(crate) fn act(&mut self, action: NetAction, out: &mut VecDeque<NetEvent>) {
        match action {
            NetAction::Resolve { query, host, port } => self.names.resolve(query, host, port),
            NetAction::Listen { listener, address } => self.listen(listener, address, out),
            NetAction::Accept { listener, link } => match self.listeners.get_mut(&listener) {
                Some(open) => {
                    open.armed = Some(link);
                    self.accept(listener, out);
                }
                None => {
                    out.push_back(NetEvent::AcceptFailed {
                        listener,
                        link,
                        error: NetError::Other(libc::EBADF),
                    });
                }
            },
            NetAction::Unlisten { listener } => {
                self.forget_listener(listener);
                out.push_back(NetEvent::Unlistened { listener });
            }
            NetAction::Dial { link, address } => {
                if let Err(error) = self.dial(link, &address) {
                    out.push_back(NetEvent::DialFailed { link, error: error::dial_error(&error, &address) });
                }
            }
            NetAction::Send { link, buffers } => {
                self.on_link(link, out, |link| link.send(buffers));
            }
            NetAction::Recv { link, max } => self.on_link(link, out, |link| link.recv(max)),
            NetAction::Shutdown { link } => {
                if let Some(open) = self.links.get_mut(&link).filter(|open| open.phase == Phase::Open) {
                    debug_assert!(!open.sending(), "{link}: shutdown with a send outstanding");
                    open.shutdown(out);
                }
            }
            NetAction::Close { link } => {
                // What was on its way to the machine about this link is dropped by `is_news`.
                self.links.remove(&link);
                out.push_back(NetEvent::Closed { link });
            }
        }
    }

    /// Takes what the poll has seen on one of our tokens.
    pub(crate) fn ready(&mut self, event: &mio::event::Event, out: &mut VecDeque<NetEvent>) {
        let (id, is_listener) = (event.token().0 as u64 >> 1, event.token().0 & 1 == 1);
        if is_listener {
            if let Some(open) = self.listeners.get_mut(&ListenerId(id)) {
                open.ready = true;
                self.accept(ListenerId(id), out);
            }
            return;
        }
        let Some(link) = self.links.get_mut(&LinkId(id)) else { return };
        link.note(event);
        match link.phase {
            Phase::Dialing => out.extend(link.dialled()),
            Phase::Open => {
                let Deferred(again) = link.progress(self.turn, &mut self.chunks, out);
                self.deferred.extend(again.then_some(LinkId(id)));
            }
            Phase::Dead => {}
        }
    }

    /// A new turn of the loop: budgets are full again, and whoever waited for that goes on.
    pub(crate) fn begin_turn(&mut self, out: &mut VecDeque<NetEvent>) {
        self.turn += 1;
        for id in std::mem::take(&mut self.deferred) {
            self.on_link(id, out, |_| {});
        }
    }

    /// Whether somebody waits for the next turn, so that the poll must not block.
    pub(crate) fn has_deferred(&self) -> bool {
        !self.deferred.is_empty()
    }

    /// Whether the machine is still to be told of this event: nothing is told of a link after it was closed but that, and
    /// nothing after it broke.
    pub(crate) fn is_news(&mut self, event: &NetEvent) -> bool {
        match event {
            NetEvent::Broken { link, .. } => self.links.remove(link).is_some(),
            NetEvent::Dialed { link, .. }
            | NetEvent::Sent { link }
            | NetEvent::Received { link, .. }
            | NetEvent::PeerClosed { link }
            | NetEvent::ShutdownDone { link } => self.links.contains_key(link),
            NetEvent::DialFailed { link, .. } => {
                self.links.remove(link);
                true
            }
            NetEvent::Resolved { .. }
            | NetEvent::Listening { .. }
            | NetEvent::ListenFailed { .. }
            | NetEvent::Accepted { .. }
            | NetEvent::AcceptFailed { .. }
            | NetEvent::Unlistened { .. }
            | NetEvent::Closed { .. } => true,
        }
    }

    /// The descriptor of an open listener, for whoever must hold it too.
    pub(crate) fn listening_fd(&self, listener: ListenerId) -> Option<BorrowedFd<'_>> {
        self.listeners.get(&listener).map(|open| open.socket.as_fd())
    }

    /// Closes a listener without a word.
    pub(crate) fn forget_listener(&mut self, listener: ListenerId) {
        if let Some(open) = self.listeners.remove(&listener) {
            // Another process may hold the socket too, so closing it alone would not end its events.
            let _ = self.registry.deregister(&mut SourceFd(&open.socket.as_raw_fd()));
        }
    }

    fn on_link(&mut self, id: LinkId, out: &mut VecDeque<NetEvent>, change: impl FnOnce(&mut Link)) {
        let Some(link) = self.links.get_mut(&id).filter(|link| link.phase == Phase::Open) else { return };
        change(link);
        let Deferred(again) = link.progress(self.turn, &mut self.chunks, out);
        if again && !self.deferred.contains(&id) {
            self.deferred.push(id);
        }
    }

    fn listen(&mut self, listener: ListenerId, address: Endpoint, out: &mut VecDeque<NetEvent>) {
        let opened = Listener::open(address, &self.options).and_then(|open| {
            let token = token(listener.0, true)?;
            self.registry.register(&mut SourceFd(&open.socket.as_raw_fd()), token, Interest::READABLE)?;
            Ok(open)
        });
        match opened {
            Ok(open) => {
                out.push_back(NetEvent::Listening { listener, address: open.address.clone() });
                self.listeners.insert(listener, open);
            }
            Err(error) => {
                out.push_back(NetEvent::ListenFailed { listener, error: error::listen_error(&error) });
            }
        }
    }

    fn accept(&mut self, listener: ListenerId, out: &mut VecDeque<NetEvent>) {
        let Some(open) = self.listeners.get_mut(&listener) else { return };
        let Some(link) = open.armed else { return };
        while open.ready {
            match open.socket.accept() {
                Ok((socket, peer)) => {
                    // A newcomer that is gone already costs its turn, not the listener.
                    let Ok((peer, local)) = open.ends(&socket, &peer) else { continue };
                    let Ok(token) = token(link.0, false) else { continue };
                    open.armed = None;
                    let adopted = socket.set_nonblocking(true).and_then(|()| {
                        // Not every socket has its listener's.
                        self.options.size(&socket)?;
                        adopt(&self.registry, &socket, &peer, token, &self.options)?;
                        self.links.insert(link, Link::new(link, socket, peer.clone(), Phase::Open));
                        Ok(())
                    });
                    out.push_back(match adopted {
                        Ok(()) => NetEvent::Accepted { listener, link, peer, local },
                        Err(error) => NetEvent::AcceptFailed { listener, link, error: net_error(&error) },
                    });
                    return;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => open.ready = false,
                Err(error) if gone_before_accepted(&error) => {}
                Err(error) => {
                    // The newcomer stays in the backlog; `ready` stays too, so that the next `Accept` finds it.
                    open.armed = None;
                    out.push_back(NetEvent::AcceptFailed { listener, link, error: net_error(&error) });
                    return;
                }
            }
        }
    }

    fn dial(&mut self, link: LinkId, address: &Endpoint) -> io::Result<()> {
        let token = token(link.0, false)?;
        let to = match address {
            Endpoint::Ip(socket) => SockAddr::from(*socket),
            Endpoint::Unix(path) => SockAddr::unix(path)?,
        };
        let socket = new_socket(&to, &self.options)?;
        match socket.connect(&to) {
            Err(error) if error.raw_os_error() != Some(libc::EINPROGRESS) => return Err(error),
            Ok(()) | Err(_) => {}
        }
        adopt(&self.registry, &socket, address, token, &self.options)?;
        self.links.insert(link, Link::new(link, socket, address.clone(), Phase::Dialing));
        Ok(())
    }
}

impl Listener {
    fn open(address: Endpoint, options: &SocketOptions) -> io::Result<Self> {
        let (socket, file, address) = match address {
            Endpoint::Ip(at) => {
                let socket = new_socket(&at.into(), options)?;
                if at.is_ipv6() {
                    // An IPv6 wildcard beside an IPv4 one on the same port; systems that cannot do it keep their own way.
                    let _ = socket.set_only_v6(true);
                }
                // A restarted daemon gets its port although old connections are still in TIME_WAIT. Not REUSEPORT: two
                // daemons on one port would share newcomers without knowing it.
                socket.set_reuse_address(true)?;
                socket.bind(&at.into())?;
                let at = socket.local_addr()?.as_socket().ok_or(io::ErrorKind::AddrNotAvailable)?;
                (socket, None, Endpoint::Ip(at))
            }
            Endpoint::Unix(path) => {
                let socket = new_socket(&SockAddr::unix(&path)?, options)?;
                let (path, file) = unix::bind(&socket, &path)?;
                (socket, Some(file), Endpoint::Unix(path))
            }
        };
        socket.listen(BACKLOG)?;
        Ok(Self { _file: file, socket, address, ready: false, armed: None })
    }

    /// The addresses of a newcomer, its own and the one that it reached us at.
    fn ends(&self, newcomer: &Socket, peer: &SockAddr) -> io::Result<(Endpoint, Endpoint)> {
        match &self.address {
            Endpoint::Ip(_) => {
                let ends = peer.as_socket().zip(newcomer.local_addr()?.as_socket());
                let (peer, local) = ends.ok_or(io::ErrorKind::NotConnected)?;
                Ok((peer.into(), local.into()))
            }
            Endpoint::Unix(path) => Ok((Endpoint::Unix(String::new()), Endpoint::Unix(path.clone()))),
        }
    }
}

fn new_socket(address: &SockAddr, options: &SocketOptions) -> io::Result<Socket> {
    let protocol = if address.is_unix() { None } else { Some(Protocol::TCP) };
    let socket = Socket::new(address.domain(), Type::STREAM, protocol)?;
    socket.set_nonblocking(true)?;
    options.size(&socket)?;
    Ok(socket)
}

/// A link's socket as we want it, and seen by the poll.
fn adopt(
    registry: &Registry,
    socket: &Socket,
    peer: &Endpoint,
    token: Token,
    options: &SocketOptions,
) -> io::Result<()> {
    if let Endpoint::Ip(_) = peer {
        options.tune(socket, peer.host().is_loopback())?;
    }
    registry.register(&mut SourceFd(&socket.as_raw_fd()), token, Interest::READABLE | Interest::WRITABLE)
}

/// Errors that Linux passes on from the newcomer's own connection.
fn gone_before_accepted(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(
            libc::ECONNABORTED
                | libc::EINTR
                | libc::EPROTO
                | libc::ENETDOWN
                | libc::EHOSTUNREACH
                | libc::ENETUNREACH
        )
    )
}

fn token(id: u64, is_listener: bool) -> io::Result<Token> {
    if id == 0 || id >= LARGEST_ID {
        return Err(io::Error::from_raw_os_error(libc::EINVAL));
    }
    Ok(Token((id as usize) << 1 | usize::from(is_listener)))
}

#[cfg(test)]
mod tests;
