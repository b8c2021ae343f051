//! Messages by address, for any program (seed §1): [`Net`].
//!
//! ```
//! use std::time::Duration;
//! use xxnet_core::{Address, ClusterKey, Dict};
//! use xxnet_runtime_mio::{Net, messages::NetOptions};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! // Both ends have the same key; who has not is refused.
//! let key = || NetOptions::new(ClusterKey([7; 32]));
//! let (server, client) = (Net::start(key())?, Net::start(key())?);
//! let address = server.listen("127.0.0.1:0")?;
//!
//! client.send(&address, &Dict::from([("question", "6 x 7".into())]))?;
//!
//! let asked = server.recv()?;
//! assert_eq!(asked.dict()?.get("question"), Some(&"6 x 7".into()));
//! // The answer goes over the link that is there: the client listens nowhere.
//! server.send(asked.from(), &Dict::from([("answer", 42.into())]))?;
//!
//! assert_eq!(client.recv()?.dict()?.get("answer"), Some(&42.into()));
//! // What is not taken when the time is up was not lost silently: it is counted, and told as events.
//! assert_eq!(client.shutdown(Duration::from_secs(1)), 0);
//! # Ok(())
//! # }
//! ```
//!
//! A `Net` is one node: it sends and receives, listens or not, and knows its peers by address. Nobody connects by hand: a message to
//! an address where no connection is makes one. Where connections are to be named and opened one by one, there is
//! [`ConnectionManager`](crate::ConnectionManager).
//!
//! # Who does what
//!
//! One thread does all input and output. Any thread may listen, send and receive; none of them ever waits for the network.
//!
//! - **Sending** puts a message into a queue, and is done. Messages to one address leave in the order in which they were sent,
//!   many of them together in one system call. A queue holds so many bytes ([`NetOptions::queue`]) of what its peer has not
//!   taken; then [`send`](Net::send) waits, and [`try_send`](Net::try_send) says [`SendError::Full`]. A peer that takes
//!   nothing therefore holds back those who send to it, and nobody else.
//! - **Receiving** takes the next message of any peer, in each peer's order. A message counts as taken, and is acknowledged to
//!   its sender, when `recv` returns it; or later, when you say so ([`recv_held`](Net::recv_held)). A peer may send so many
//!   bytes ahead (`Limits::session_window`).
//! - **Delivery** is exactly once and in order across any number of broken links, while both processes live and no break lasts
//!   longer than `Limits::session_timeout`. What was sent and not acknowledged when a session ends is told as
//!   [`NetEvent::Undelivered`]: it may or may not have arrived.
//! - **Addresses** are where a peer listens, which it tells when it connects, so that an answer takes the link that is there. A
//!   peer that listens nowhere goes by its socket's address while it is connected. A message to an address of one's own
//!   does not touch the network. They are written `HOST:PORT`, `192.0.2.1:7000`, `[2001:db8::1]:7000`, or `unix:/PATH` for a
//!   Unix socket: within one host, faster, and for one user alone.
//! - **The end**: [`shutdown`](Net::shutdown) waits for acknowledgements, and counts what got none. Dropping the last `Net`
//!   ends all at once.
//!
//! # Which call
//!
//! | you want | call |
//! | --- | --- |
//! | to wait for room, for ever · for so long · not at all | [`send`](Net::send) · [`send_timeout`](Net::send_timeout) · [`try_send`](Net::try_send) |
//! | to send to one address often | [`to`](Net::to), once |
//! | to wait for a message, for ever · for so long · not at all | [`recv`](Net::recv) · [`recv_timeout`](Net::recv_timeout) · [`try_recv`](Net::try_recv) |
//! | to put a message in safety before it counts as taken | [`recv_held`](Net::recv_held) |
//! | to know that everything arrived | [`flush`](Net::flush), or [`shutdown`](Net::shutdown) |
//! | to know what did not, and who comes and goes | [`events`](Net::events) |
//!
//! # Types of your own, and what was not delivered
//!
//! A message is a dict, which any serde type becomes and comes back from, or raw bytes, which are not copied on their way.
//!
//! ```
//! use serde::{Deserialize, Serialize};
//! use std::time::Duration;
//! use xxnet_core::{ClusterKey, Dict};
//! use xxnet_runtime_mio::Net;
//! use xxnet_runtime_mio::messages::{NetEvent, NetOptions, Payload};
//!
//! #[derive(Serialize, Deserialize, Debug, PartialEq)]
//! struct Job {
//!     number: u32,
//!     command: String,
//! }
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let key = || NetOptions::new(ClusterKey([7; 32]));
//! let (server, client) = (Net::start(key())?, Net::start(key())?);
//! let address = server.listen("127.0.0.1:0")?;
//!
//! let job = Job { number: 7, command: "make".into() };
//! client.send(&address, Dict::from_serialize(&job)?)?;
//! assert_eq!(server.recv()?.dict()?.deserialize::<Job>()?, job);
//! // It was received, so it is acknowledged.
//! client.flush(Duration::from_secs(10))?;
//!
//! // From now on nobody is there. A message waits for somebody to come, here not for long.
//! server.shutdown(Duration::ZERO);
//! client.send(address, b"still there?".as_slice())?;
//! assert_eq!(client.shutdown(Duration::from_millis(50)), 1);
//! let lost = std::iter::from_fn(|| client.events().try_next().ok()).find_map(|event| match event {
//!     NetEvent::Undelivered { messages, .. } => Some(messages),
//!     _ => None,
//! });
//! assert_eq!(lost, Some(vec![Payload::Raw(b"still there?".as_slice().into())]));
//! # Ok(())
//! # }
//! ```
//!
//! # The seed's words
//!
//! | the seed says | here |
//! | --- | --- |
//! | xx_net, xx_socket_mgr | [`Net`]; its machine is [`Messenger`] |
//! | Listen(ip, port) · Send(ip, port, dictData) | [`Net::listen`] · [`Net::send`] |
//! | HandleRecv, _RequireGetRecvData | [`Net::recv`] and its kin |
//! | m_queueListenData, m_queueSendData, m_queueRecvData | the three queues between your threads and the one that does input and output |
//! | accept: a connection is there, so the newcomer is dropped and logged | one session a pair, whoever dials ([`OnePerPair`](xxnet_core::connection::LinkRule::OnePerPair)) |

mod account;
mod events;
mod inbox;
pub(crate) mod message;
mod shared;
mod thread;

pub use account::Sender;
pub use events::{Events, NetEvent};
pub use message::{Held, IntoPayload, Message, Payload, ToAddress};
pub use xxnet_core::messenger::PeerReport;

use crate::{Driver, Options, SocketOptions};
use shared::{Lifeline, Shared};
use std::fmt;
use std::io;
use std::net::ToSocketAddrs;
use std::sync::Arc;
use std::time::{Duration, Instant};
use xxnet_core::address::AddressError;
use xxnet_core::config::LimitsError;
use xxnet_core::messenger::{Messenger, MessengerError};
use xxnet_core::net::{Endpoint, NetError};
use xxnet_core::pack::ValueError;
use xxnet_core::{Address, ClusterKey, Config, InstanceId, Limits};

/// How a [`Net`] works.
#[derive(Clone, Debug)]
pub struct NetOptions {
    /// The secret that all who may connect have.
    pub key: ClusterKey,
    /// What peers are told as its name, for people.
    pub name: String,
    /// Bytes that wait for one peer to take them, at most (32 MiB).
    pub queue: usize,
    /// Bytes that wait to be received, of all peers together (256 MiB): while there are more, no new peer may begin, and tries
    /// again. Each that is connected may always send its `session_window` ahead.
    pub inbox: usize,
    /// Everything else that is counted.
    pub limits: Limits,
    /// How the sockets of links are set.
    pub sockets: SocketOptions,
}

impl NetOptions {
    /// The defaults.
    pub fn new(key: ClusterKey) -> Self {
        let limits = Limits::default();
        Self {
            key,
            name: String::new(),
            queue: limits.session_queue,
            inbox: 256 << 20,
            limits,
            sockets: SocketOptions::default(),
        }
    }
}

/// Messages by address. Clones share everything, and may be used from any thread. The [module](self) is its guide.
#[derive(Clone)]
pub struct Net {
    shared: Arc<Shared>,
    /// Ends the thread with the last clone.
    _lifeline: Arc<Lifeline>,
}

impl fmt::Debug for Net {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Net").finish_non_exhaustive()
    }
}

impl Net {
    /// Starts the thread that does all input and output; nothing listens yet.
    ///
    /// # Errors
    /// [`StartError`]: limits that contradict each other, options that the system does not take, or no descriptors, thread or random bytes to be had.
    pub fn start(options: NetOptions) -> Result<Self, StartError> {
        let mut limits = options.limits;
        // The queue is counted where messages are sent from; the machine behind it never has to refuse one.
        limits.session_queue = usize::MAX / 4;
        limits.validate().map_err(StartError::Limits)?;
        let mut random = [0; 24];
        getrandom::fill(&mut random).map_err(|error| StartError::Io(io::Error::other(error)))?;
        let mut instance = [0; 16];
        instance.copy_from_slice(&random[..16]);
        let mut seed = [0; 8];
        seed.copy_from_slice(&random[16..]);
        let config = Config {
            instance: InstanceId(instance),
            name: options.name,
            key: options.key,
            seed: u64::from_le_bytes(seed),
            limits: limits.clone(),
        };
        let driver =
            Driver::new(Messenger::new(config), Options { sockets: options.sockets, ..Options::default() })
                .map_err(StartError::Io)?;
        let shared = Arc::new(Shared::new(driver.alarm(), options.queue, options.inbox, &limits));
        thread::start(driver, Arc::clone(&shared)).map_err(StartError::Io)?;
        Ok(Self { _lifeline: Arc::new(Lifeline::new(Arc::clone(&shared))), shared })
    }

    /// Listens on an address, and answers it with the port that was chosen, and the whole of a path. The first one is what
    /// peers are told; a Unix socket only if there is nothing else. A name is looked up now.
    ///
    /// # Errors
    /// [`ListenError`]. On an address that is listened on already nothing changes, and it is logged (ledger N2).
    pub fn listen(&self, address: impl ToAddress) -> Result<Address, ListenError> {
        let address = address.to_address().map_err(ListenError::Address)?;
        let answer = self.shared.listen(endpoint(&address)?).ok_or(ListenError::Closed)?;
        answer.recv().unwrap_or(Err(ListenError::Closed))
    }

    /// Stops listening where `listen` said that it does; who is connected stays so. Elsewhere there is nothing to stop.
    pub fn unlisten(&self, address: &Address) {
        match address {
            Address::Socket(socket) => self.shared.unlisten(Endpoint::Ip(*socket)),
            Address::Unix(path) => self.shared.unlisten(Endpoint::Unix(path.clone())),
            Address::Name(..) => {}
        }
    }

    /// A door to one address, for whoever sends there often.
    ///
    /// # Errors
    /// [`SendError::Address`].
    pub fn to(&self, to: impl ToAddress) -> Result<Sender, SendError> {
        let account = self.shared.account(to.to_address().map_err(SendError::Address)?);
        Ok(Sender::new(Arc::clone(&self.shared), account))
    }

    /// Sends a message, behind all that was sent to that address before. Waits while the queue to that peer is full.
    ///
    /// # Errors
    /// [`SendError`], but for `Full`.
    pub fn send(&self, to: impl ToAddress, payload: impl IntoPayload) -> Result<(), SendError> {
        self.to(to)?.send(payload)
    }

    /// As [`send`](Self::send), but waits no longer than that for room.
    ///
    /// # Errors
    /// [`SendError`]; `Full`: there was none in time.
    pub fn send_timeout(
        &self,
        to: impl ToAddress,
        payload: impl IntoPayload,
        timeout: Duration,
    ) -> Result<(), SendError> {
        self.to(to)?.send_timeout(payload, timeout)
    }

    /// As [`send`](Self::send), but never waits.
    ///
    /// # Errors
    /// [`SendError`].
    pub fn try_send(&self, to: impl ToAddress, payload: impl IntoPayload) -> Result<(), SendError> {
        self.to(to)?.try_send(payload)
    }

    /// The next message; waits for one.
    ///
    /// # Errors
    /// [`RecvError::Closed`] once it is shut down and every message that came was taken.
    pub fn recv(&self) -> Result<Message, RecvError> {
        self.shared.inbox.recv(None, &self.shared)
    }

    /// The next message; waits for one, but not longer than that.
    ///
    /// # Errors
    /// [`RecvError`].
    pub fn recv_timeout(&self, timeout: Duration) -> Result<Message, RecvError> {
        self.shared.inbox.recv(Instant::now().checked_add(timeout), &self.shared)
    }

    /// The next message, if one is there.
    ///
    /// # Errors
    /// [`RecvError`]; `Timeout`: none is.
    pub fn try_recv(&self) -> Result<Message, RecvError> {
        self.shared.inbox.try_recv(&self.shared)
    }

    /// As [`recv`](Self::recv), but the message counts as taken only once [`Held::take`] says so: for who must put it in
    /// safety first.
    ///
    /// # Errors
    /// [`RecvError::Closed`], as `recv`.
    pub fn recv_held(&self) -> Result<Held, RecvError> {
        let (peer, pack) = self.shared.inbox.hold()?;
        Ok(Held::new(Message { peer, pack }, Arc::clone(&self.shared)))
    }

    /// Every message, until it is shut down.
    pub fn iter(&self) -> impl Iterator<Item = Message> + '_ {
        std::iter::from_fn(|| self.recv().ok())
    }

    /// What happens to connections, and which messages were not delivered. Whoever does not look at them loses the oldest: of
    /// reports those beyond [`NetOptions::queue`] bytes. How many were lost is counted, and told.
    pub fn events(&self) -> Events {
        Events::new(Arc::clone(&self.shared))
    }

    /// How peers fare that are connected or waited for: what they have carried, what waits, how long a round trip takes.
    pub fn peers(&self) -> Vec<PeerReport> {
        self.shared.look(None)
    }

    /// How the peer at one address fares; `None` if it is neither connected nor waited for.
    ///
    /// # Errors
    /// Not an address.
    pub fn peer(&self, at: impl ToAddress) -> Result<Option<PeerReport>, AddressError> {
        let at = at.to_address()?.into_owned();
        Ok(self.shared.look(Some(at)).pop())
    }

    /// Waits until everything that was sent before was acknowledged or reported as undelivered.
    ///
    /// # Errors
    /// How many messages are still on their way when the time is up.
    pub fn flush(&self, timeout: Duration) -> Result<(), FlushError> {
        self.shared.flush(Instant::now().checked_add(timeout))
    }

    /// Ends everything: what was sent is acknowledged within `drain`, or told as undelivered. Answers how many messages
    /// were not delivered since the start; the events still tell which. A second time is harmless.
    pub fn shutdown(&self, drain: Duration) -> u64 {
        self.shared.shut_down(drain);
        self.shared.wait_until_down();
        self.shared.undelivered()
    }
}

/// Why a [`Net`] did not start.
#[derive(Debug)]
pub enum StartError {
    /// Two limits contradict each other.
    Limits(LimitsError),
    /// The system's word, also on the options of sockets.
    Io(io::Error),
}

/// Why an address cannot be listened on.
#[derive(Debug)]
pub enum ListenError {
    /// It is no address.
    Address(AddressError),
    /// Its name cannot be resolved.
    Name(Address, io::Error),
    /// This `Net` listens there already; that listener is unharmed.
    AlreadyListening(Address),
    /// The system refuses.
    System(Address, NetError),
    /// It is nothing that can be listened on.
    Refused(Address, MessengerError),
    /// It is shut down, or was told to stop listening there before it did.
    Closed,
}

/// Why a message was not taken.
#[derive(Debug)]
pub enum SendError {
    /// Not an address.
    Address(AddressError),
    /// The data cannot be written as a dict.
    Data(ValueError),
    /// Larger than a message may be.
    TooLarge {
        /// Bytes of data.
        size: usize,
        /// Bytes at most.
        limit: u32,
    },
    /// The queue to this peer is full: it has not taken what was sent before.
    Full(Payload),
    /// It is shut down.
    Closed,
}

/// Why there is no message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecvError {
    /// None has come in time.
    Timeout,
    /// It is shut down, and no more will come.
    Closed,
}

/// So many messages are still on their way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FlushError {
    /// How many.
    pub outstanding: u64,
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Limits(error) => fmt::Display::fmt(error, f),
            Self::Io(error) => fmt::Display::fmt(error, f),
        }
    }
}

impl fmt::Display for ListenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(error) => fmt::Display::fmt(error, f),
            Self::Name(address, error) => write!(f, "cannot listen on {address}: {error}"),
            Self::AlreadyListening(address) => write!(f, "{address} is listened on already"),
            Self::System(address, error) => write!(f, "cannot listen on {address}: {error}"),
            Self::Refused(address, error) => write!(f, "cannot listen on {address}: {error}"),
            Self::Closed => f.write_str("it is shut down"),
        }
    }
}

impl fmt::Display for SendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(error) => fmt::Display::fmt(error, f),
            Self::Data(error) => fmt::Display::fmt(error, f),
            Self::TooLarge { size, limit } => {
                write!(f, "{size} bytes in one message, at most {limit} may be")
            }
            Self::Full(_) => f.write_str("the queue is full: the peer has not taken what was sent before"),
            Self::Closed => f.write_str("it is shut down"),
        }
    }
}

impl fmt::Display for RecvError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Timeout => "no message has come in time",
            Self::Closed => "it is shut down",
        })
    }
}

impl fmt::Display for FlushError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} messages are still on their way", self.outstanding)
    }
}

impl std::error::Error for StartError {}
impl std::error::Error for ListenError {}
impl std::error::Error for SendError {}
impl std::error::Error for RecvError {}
impl std::error::Error for FlushError {}

/// Tells a caller why the machine did not listen.
fn listen_error(address: Address, error: MessengerError) -> ListenError {
    match error {
        MessengerError::Connection(xxnet_core::connection::ConnectionError::AlreadyListening(held)) => {
            ListenError::AlreadyListening(held.into())
        }
        MessengerError::Closed | MessengerError::Unlistened => ListenError::Closed,
        other => ListenError::Refused(address, other),
    }
}

/// Where to listen; asks the name service, if it is a name.
fn endpoint(address: &Address) -> Result<Endpoint, ListenError> {
    match address {
        Address::Socket(socket) => Ok(Endpoint::Ip(*socket)),
        Address::Unix(path) => Ok(Endpoint::Unix(path.clone())),
        Address::Name(name, port) => {
            let unknown = |error| ListenError::Name(address.clone(), error);
            let mut found = (name.as_str(), *port).to_socket_addrs().map_err(unknown)?;
            found.next().map(Endpoint::Ip).ok_or_else(|| unknown(io::ErrorKind::NotFound.into()))
        }
    }
}

#[cfg(test)]
mod tests;
