//! A whole runtime, on tokio: the guide to writing one.
//!
//! It drives any [`Machine`] for the network and for time. Read it from top to bottom; each part begins with the duty that it
//! fulfils, and [`conformance`](crate::conformance) is the suite that shows whether a runtime of your own fulfils them all. What
//! the words mean stands beside each of them in `core/src/net.rs`.
//!
//! **Disk, processes and Unix sockets it does not have**, and says so: each request about the first two is answered with
//! `System(ENOSYS)`, as the runtime on mio does when it was given neither, and a Unix socket's path is an address that is not
//! available. So it can carry connections, messengers, clients and registries; an executor on it publishes, but runs nothing.
//!
//! ```
//! use tokio::sync::mpsc;
//! use xxnet_core::client::{Client, ClientCommand, ClientNotice};
//! use xxnet_core::message::Question;
//! use xxnet_core::{ClusterKey, Config, InstanceId};
//! use xxnet_tests::tokio_runtime;
//!
//! # let nobody = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?;
//! let machine = Client::new(Config::new(InstanceId([7; 16]), "me", ClusterKey([0; 32]), 1));
//! let (commands, waiting) = mpsc::channel(16);
//! let question = Question::Nodes;
//! commands.try_send(ClientCommand::Ask { registry: nobody.into(), question })?;
//! let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
//! let mut commands = Some(commands);
//! runtime.block_on(tokio_runtime::run(machine, waiting, |notice| {
//!     assert!(matches!(notice, ClientNotice::Failed(_)));
//!     commands = None; // Nobody can ask any more: the loop ends.
//! }));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use bytes::{Buf, Bytes};
use socket2::{Domain, Protocol, SockRef, Socket, Type};
use std::collections::{HashMap, VecDeque};
use std::io::{self, ErrorKind, IoSlice};
use std::net::{Shutdown, SocketAddr};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream, lookup_host};
use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};
use xxnet_core::disk::{DiskAction, DiskEvent, FileError, FileErrorKind};
use xxnet_core::net::{Endpoint, NetAction, NetError, NetEvent};
use xxnet_core::process::{ProcessAction, ProcessEvent, SpawnError};
use xxnet_core::{Action, Actions, Event, Instant, LinkId, ListenerId, Machine};

/// What a task tells the loop; a newcomer's stream comes with its event.
type Told = (NetEvent, Option<TcpStream>);

/// How it tells it.
#[derive(Clone)]
struct Tell(UnboundedSender<Told>);

impl Tell {
    fn event(&self, event: NetEvent) {
        // Nobody listens any more once the machine is given back.
        _ = self.0.send((event, None));
    }
}

/// Runs a machine until nobody can send it commands any more, and gives it back once every socket is closed.
///
/// **The loop.** One event at a time goes in at the machine's one door, and what comes out of it is done in order, before the next
/// event. Nothing here blocks: whatever takes time is a task of its own, which tells its end through one channel. So the machine needs
/// no lock, and events of one link come in the order in which its task told them.
pub async fn run<M: Machine>(
    mut machine: M,
    mut commands: mpsc::Receiver<M::Command>,
    mut on_notice: impl FnMut(M::Notice),
) -> M {
    let (tell, mut told) = mpsc::unbounded_channel();
    let mut net = Net { tell: Tell(tell), links: HashMap::new(), listeners: HashMap::new() };
    let mut answers = VecDeque::new();
    let mut actions = Actions::new();
    loop {
        let event = if machine.deadline().is_some_and(|deadline| deadline <= now()) {
            Event::Tick
        } else if let Some(answer) = answers.pop_front() {
            answer
        } else {
            // Whichever is ready, by lot: commands cannot starve the network, nor the network commands.
            tokio::select! {
                Some(told) = told.recv() => match net.news(told) {
                    Some(event) => Event::Net(event),
                    None => continue,
                },
                command = commands.recv() => match command {
                    Some(command) => Event::Command(command),
                    None => break,
                },
                () = until(machine.deadline()) => continue,
            }
        };
        machine.handle(now(), event, &mut actions);
        for action in actions.drain() {
            match action {
                Action::Net(action) => net.act(action),
                Action::Disk(action) => answers.push_back(Event::Disk(no_disk(action))),
                Action::Process(action) => answers.extend(no_processes(action).map(Event::Process)),
                Action::Notify(notice) => on_notice(notice),
            }
        }
    }
    // Every task holds a `tell` and ends once nothing can be requested of it: when the last has ended, all is closed.
    drop(net);
    while told.recv().await.is_some() {}
    machine
}

// ---- time ----

/// Now, as machines count: monotone, and **counting the time that the host sleeps**. A lease must not outlive a suspended host, so
/// neither `std`'s nor tokio's clock will do on Linux.
pub fn now() -> Instant {
    #[cfg(target_os = "linux")]
    const CLOCK: libc::clockid_t = libc::CLOCK_BOOTTIME;
    #[cfg(not(target_os = "linux"))]
    const CLOCK: libc::clockid_t = libc::CLOCK_MONOTONIC;
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is a valid place for the answer; the clock exists on every supported system.
    let failed = unsafe { libc::clock_gettime(CLOCK, &raw mut time) } != 0;
    assert!(!failed, "the system has no monotone clock");
    let (seconds, nanos) = (time.tv_sec.unsigned_abs(), time.tv_nsec.unsigned_abs());
    Instant::from_micros(seconds * 1_000_000 + nanos / 1_000)
}

/// **A tick at the deadline.** Waits until then, or a second: tokio's timer stands still while the host sleeps, so the loop looks at
/// the right clock once a second. Ticks too early are harmless, and the loop above gives none.
async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep(deadline.since(now()).min(Duration::from_secs(1))).await,
        None => std::future::pending().await,
    }
}

// ---- the network ----

/// All that is open. A link or listener *is* a task, which owns the socket; its requests are a channel, and that is closed to close it.
struct Net {
    tell: Tell,
    /// `None`: `Close` was asked, and its completion is on its way.
    links: HashMap<LinkId, Option<UnboundedSender<Request>>>,
    listeners: HashMap<ListenerId, UnboundedSender<LinkId>>,
}

/// What a link is asked. The channel needs no bound: one of each is under way at most, which is the machine's duty.
enum Request {
    Send(Vec<Bytes>),
    Recv(usize),
    Shutdown,
}

impl Net {
    /// **Exactly one completion a request.** Each arm begins something that tells one event in the end, whatever happens.
    fn act(&mut self, action: NetAction) {
        match action {
            // Names are looked up **off the loop**: the system's resolver may block for half a minute. Nor does the end wait for it.
            NetAction::Resolve { query, host, port } => {
                let tell = self.tell.0.downgrade();
                tokio::spawn(async move {
                    let result = look_up(&host, port).await;
                    tell.upgrade().map(Tell).inspect(|tell| tell.event(NetEvent::Resolved { query, result }));
                });
            }
            NetAction::Listen { listener, address } => {
                match listening_socket(&address).and_then(|socket| Ok((socket.local_addr()?.into(), socket)))
                {
                    Ok((address, socket)) => {
                        let (arm, armed) = mpsc::unbounded_channel();
                        self.listeners.insert(listener, arm);
                        self.tell.event(NetEvent::Listening { listener, address });
                        tokio::spawn(accept(listener, socket, armed, self.tell.clone()));
                    }
                    Err(error) => {
                        self.tell.event(NetEvent::ListenFailed { listener, error: net_error(&error) });
                    }
                }
            }
            NetAction::Accept { listener, link } => {
                if let Some(arm) = self.listeners.get(&listener) {
                    _ = arm.send(link);
                }
            }
            // The task closes the socket and says so: only then is the address free again.
            NetAction::Unlisten { listener } => drop(self.listeners.remove(&listener)),
            NetAction::Dial { link, address } => {
                let requests = self.open(link);
                tokio::spawn(dial(link, address, requests, self.tell.clone()));
            }
            NetAction::Send { link, buffers } => self.request(link, Request::Send(buffers)),
            NetAction::Recv { link, max } => self.request(link, Request::Recv(max)),
            NetAction::Shutdown { link } => self.request(link, Request::Shutdown),
            NetAction::Close { link } => {
                if let Some(requests) = self.links.get_mut(&link) {
                    *requests = None;
                }
            }
        }
    }

    fn open(&mut self, link: LinkId) -> UnboundedReceiver<Request> {
        let (request, requests) = mpsc::unbounded_channel();
        self.links.insert(link, Some(request));
        requests
    }

    fn request(&self, link: LinkId, request: Request) {
        // One that has broken hears nothing any more; that it broke completes the request, too.
        if let Some(Some(requests)) = self.links.get(&link) {
            _ = requests.send(request);
        }
    }

    /// **Nothing of a link after its `Close` but `Closed`, and nothing at all after its end.** What a task had told before it heard of
    /// the close is dropped here, on its way to the machine; if it was the link's own end, that is the completion of the close.
    fn news(&mut self, (event, stream): Told) -> Option<NetEvent> {
        match &event {
            NetEvent::Accepted { link, .. } => {
                let requests = self.open(*link);
                tokio::spawn(carry(*link, stream?, requests, self.tell.clone()));
                Some(event)
            }
            NetEvent::Dialed { link, .. }
            | NetEvent::Sent { link }
            | NetEvent::Received { link, .. }
            | NetEvent::PeerClosed { link }
            | NetEvent::ShutdownDone { link } => self.links.get(link)?.is_some().then_some(event),
            NetEvent::DialFailed { link, .. } | NetEvent::Broken { link, .. } | NetEvent::Closed { link } => {
                let link = *link;
                let closing = self.links.remove(&link)?.is_none();
                Some(if closing { NetEvent::Closed { link } } else { event })
            }
            NetEvent::Resolved { .. }
            | NetEvent::Listening { .. }
            | NetEvent::ListenFailed { .. }
            | NetEvent::AcceptFailed { .. }
            | NetEvent::Unlistened { .. } => Some(event),
        }
    }
}

async fn look_up(host: &str, port: u16) -> Result<Vec<SocketAddr>, NetError> {
    let mut addresses = Vec::new();
    // The resolver's own errors have no number of the system's: there is no such name.
    for address in lookup_host((host, port)).await.map_err(|_| NetError::NameNotFound)? {
        if !addresses.contains(&address) {
            addresses.push(address);
        }
    }
    if addresses.is_empty() { Err(NetError::NameNotFound) } else { Ok(addresses) }
}

/// This runtime has no Unix sockets, and says so as a system without them would.
fn over_ip(address: &Endpoint) -> io::Result<SocketAddr> {
    address.socket().ok_or_else(|| io::ErrorKind::AddrNotAvailable.into())
}

/// **What a listener must be.** Port 0 takes any free one, and `Listening` tells which. `SO_REUSEADDR`: a restarted node gets its port
/// although old connections linger (but not `SO_REUSEPORT`: two nodes would share newcomers). An IPv6 wildcard leaves IPv4 alone.
fn listening_socket(address: &Endpoint) -> io::Result<TcpListener> {
    let address = over_ip(address)?;
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        // Systems that cannot do it keep their own way.
        _ = socket.set_only_v6(true);
    }
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(1024)?;
    TcpListener::from_std(socket.into())
}

/// A listener's life. **One newcomer for each `Accept`**: the others wait in the system's backlog, which is how the machine keeps
/// a crowd out. That the channel is closed is the `Unlisten`, also while a newcomer is waited for.
async fn accept(id: ListenerId, socket: TcpListener, mut armed: UnboundedReceiver<LinkId>, tell: Tell) {
    while let Some(link) = armed.recv().await {
        let told = tokio::select! {
            came = newcomer(&socket) => match came {
                Ok((stream, peer, local)) => {
                    (NetEvent::Accepted { listener: id, link, peer: peer.into(), local: local.into() }, Some(stream))
                }
                Err(error) => (NetEvent::AcceptFailed { listener: id, link, error: net_error(&error) }, None),
            },
            _ = armed.recv() => break,
        };
        _ = tell.0.send(told);
    }
    drop(socket);
    tell.event(NetEvent::Unlistened { listener: id });
}

/// The next one that is still there: one that has gone while it waited costs its turn, not the listener.
async fn newcomer(socket: &TcpListener) -> io::Result<(TcpStream, SocketAddr, SocketAddr)> {
    loop {
        match socket.accept().await.and_then(opened) {
            Err(error) if matches!(net_error(&error), NetError::Reset | NetError::Unreachable) => {}
            came => return came,
        }
    }
}

/// A link's life begins by an `Accept`, or by a dial, which a `Close` can end.
async fn dial(link: LinkId, address: Endpoint, mut requests: UnboundedReceiver<Request>, tell: Tell) {
    let connect = async {
        let address = over_ip(&address)?;
        TcpStream::connect(address).await.and_then(|stream| opened((stream, address)))
    };
    let dialled = tokio::select! {
        dialled = connect => dialled,
        _ = requests.recv() => return tell.event(NetEvent::Closed { link }),
    };
    match dialled {
        Ok((stream, peer, local)) => {
            tell.event(NetEvent::Dialed { link, peer: peer.into(), local: local.into() });
            carry(link, stream, requests, tell).await;
        }
        Err(error) => tell.event(NetEvent::DialFailed { link, error: net_error(&error) }),
    }
}

/// **Messages leave when they are sent** (`TCP_NODELAY`): batching is the machine's, which has seen all there is to say.
fn opened((stream, peer): (TcpStream, SocketAddr)) -> io::Result<(TcpStream, SocketAddr, SocketAddr)> {
    stream.set_nodelay(true)?;
    let local = stream.local_addr()?;
    Ok((stream, peer, local))
}

/// **Order within a link**: one task reads, writes and tells. It reads only what was asked for (not asking is how the machine holds
/// a fast peer back), completes a send when the system has the last byte, and can send the end of the stream while it goes on reading.
async fn carry(link: LinkId, stream: TcpStream, mut requests: UnboundedReceiver<Request>, tell: Tell) {
    let (mut recv, mut send, mut failed) = (None, None, None);
    let error = loop {
        // What the peer said before it reset the link may say why: a failed write waits until that is read.
        if failed.is_some() && recv.is_none() && nothing_unread(&stream) {
            break failed;
        }
        let event = tokio::select! {
            request = requests.recv() => match request {
                Some(Request::Recv(max)) => {
                    recv = Some(max);
                    continue;
                }
                Some(Request::Send(buffers)) => {
                    send = Some(VecDeque::from(buffers));
                    continue;
                }
                Some(Request::Shutdown) => match SockRef::from(&stream).shutdown(Shutdown::Write) {
                    Ok(()) => NetEvent::ShutdownDone { link },
                    Err(error) => break Some(error),
                },
                None => break None,
            },
            got = read(&stream, recv.unwrap_or(1)), if recv.is_some() => match got {
                Ok(data) if !data.is_empty() => {
                    recv = None;
                    NetEvent::Received { link, data }
                }
                Ok(_) if failed.is_some() => break failed,
                Ok(_) => {
                    recv = None;
                    NetEvent::PeerClosed { link }
                }
                Err(error) => break failed.or(Some(error)),
            },
            wrote = write(&stream, send.as_mut()), if send.is_some() && failed.is_none() => match wrote {
                Ok(()) => {
                    send = None;
                    NetEvent::Sent { link }
                }
                Err(error) => {
                    failed = Some(error);
                    continue;
                }
            },
        };
        tell.event(event);
    };
    drop(stream);
    tell.event(match error {
        Some(error) => NetEvent::Broken { link, error: net_error(&error) },
        None => NetEvent::Closed { link },
    });
}

/// Up to `max` bytes, once there are any; **memory is taken only then**, so that an idle link costs none. None: the end of the stream.
/// It can be given up at any `await` without losing a byte, as `select!` does.
async fn read(stream: &TcpStream, max: usize) -> io::Result<Bytes> {
    loop {
        stream.readable().await?;
        let mut room = vec![0; max.min(64 << 10)];
        match stream.try_read(&mut room) {
            Ok(count) => {
                room.truncate(count);
                return Ok(room.into_boxed_slice().into());
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
}

/// Writes **all** of the buffers, in order, as many in one call as there are; what is written is forgotten at once, so that it can be
/// given up at any `await`, too.
async fn write(stream: &TcpStream, buffers: Option<&mut VecDeque<Bytes>>) -> io::Result<()> {
    let Some(buffers) = buffers else { return Ok(()) };
    loop {
        while buffers.front().is_some_and(Bytes::is_empty) {
            buffers.pop_front();
        }
        if buffers.is_empty() {
            return Ok(());
        }
        stream.writable().await?;
        let slices: Vec<_> = buffers.iter().take(64).map(|buffer| IoSlice::new(buffer)).collect();
        match stream.try_write_vectored(&slices) {
            Ok(mut count) => {
                for buffer in buffers.iter_mut() {
                    let part = count.min(buffer.len());
                    buffer.advance(part);
                    count -= part;
                }
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
}

fn nothing_unread(stream: &TcpStream) -> bool {
    !matches!(SockRef::from(stream).peek(&mut [std::mem::MaybeUninit::uninit()]), Ok(1..))
}

// ---- the system's words ----

/// **Errors that a machine can act on** are told apart; of all else the number.
fn net_error(error: &io::Error) -> NetError {
    match error.kind() {
        ErrorKind::ConnectionRefused => NetError::Refused,
        ErrorKind::TimedOut => NetError::TimedOut,
        ErrorKind::HostUnreachable | ErrorKind::NetworkUnreachable | ErrorKind::NetworkDown => {
            NetError::Unreachable
        }
        ErrorKind::ConnectionReset
        | ErrorKind::ConnectionAborted
        | ErrorKind::NotConnected
        | ErrorKind::BrokenPipe => NetError::Reset,
        ErrorKind::AddrInUse => NetError::AddressInUse,
        ErrorKind::AddrNotAvailable => NetError::AddressNotAvailable,
        ErrorKind::PermissionDenied => NetError::PermissionDenied,
        _ => match error.raw_os_error().unwrap_or(0) {
            // A host without that family of addresses.
            libc::EAFNOSUPPORT => NetError::AddressNotAvailable,
            libc::EMFILE | libc::ENFILE | libc::ENOBUFS | libc::ENOMEM => NetError::Exhausted,
            number => NetError::Other(number),
        },
    }
}

// ---- what is not here ----

fn no_disk(action: DiskAction) -> DiskEvent {
    DiskEvent { op: action.op, result: Err(FileError::new(FileErrorKind::System(libc::ENOSYS), "")) }
}

/// Only a spawn is answered: without one there is no run that anything else could be about.
fn no_processes(action: ProcessAction) -> Option<ProcessEvent> {
    match action {
        ProcessAction::Spawn { run, .. } => {
            Some(ProcessEvent::SpawnFailed { run, error: SpawnError::System(libc::ENOSYS) })
        }
        ProcessAction::Extend { .. }
        | ProcessAction::Kill { .. }
        | ProcessAction::ReadOutput { .. }
        | ProcessAction::WriteInput { .. }
        | ProcessAction::CloseInput { .. } => None,
    }
}
