//! What uses a machine: it asks for what the scenario is about, and keeps what it was told, for the properties.

use super::scenario::{GRID, address};
use xxnet_core::connection::{
    ConnectionCommand, ConnectionEvent, ConnectionKind, ConnectionNotice, DisconnectReason, KindId, LinkRule,
    Role,
};
use xxnet_core::executor::{ExecutorCommand, ExecutorNotice, TaskSpec};
use xxnet_core::message::Placement;
use xxnet_core::pack::{DataPack, PackType};
use xxnet_core::registry::RegistryCommand;
use xxnet_core::{Address, ConnectionId, Instant, Token};

/// The application of one node.
#[derive(Clone, Debug, Hash)]
pub(super) enum Application {
    /// Starts its machine, and no more.
    Idle { node: usize },
    /// Publishes one task.
    Publisher { node: usize, asked: bool, ended: u8 },
    /// One of a pair.
    Peer(Peer),
}

/// Connects to the other one, sends it messages, and takes what comes.
#[derive(Clone, Debug, Hash)]
pub(super) struct Peer {
    pub(super) node: usize,
    other: usize,
    incarnation: u8,
    asked: bool,
    listener: Option<ConnectionId>,
    made: Option<ConnectionId>,
    /// Sessions that live, the newest last: one may be with an instance that is dead.
    pub(super) sessions: Vec<ConnectionId>,
    /// How many messages it sends, and has sent.
    messages: u8,
    pub(super) sent: u8,
    taking: Option<(ConnectionId, u64)>,
    /// What has come, in order: the sender's incarnation and number.
    pub(super) received: Vec<[u8; 2]>,
    /// What was reported as not acknowledged.
    pub(super) undelivered: Vec<[u8; 2]>,
    /// Whether its session was ever without a link.
    pub(super) interrupted: bool,
    /// When it connects again, because it has no session.
    retry: Option<Instant>,
}

/// The first command of every application: the machine is started.
pub(super) const START: u8 = 0;
/// The application's own first step: publish, or connect.
pub(super) const BEGIN: u8 = 1;
/// A peer sends its next message.
pub(super) const SEND: u8 = 2;
const REGISTER: u8 = 3;
const CREATE_LISTENER: u8 = 4;
const LISTEN: u8 = 5;
const ADVERTISE: u8 = 6;
const CREATE: u8 = 7;
const TAKE: u8 = 8;

/// How a peer comes up, before anything is explored: one step after the other.
pub(super) const PEER_SETUP: &[u8] = &[START, REGISTER, CREATE_LISTENER, LISTEN, ADVERTISE, CREATE];

/// The kind that listens, of a pair.
const LISTENER: ConnectionKind = ConnectionKind::plain(KindId(40), LinkRule::Many, Role::Listen);
/// The kind of their sessions.
const PAIR: ConnectionKind = ConnectionKind::session(KindId(41), LinkRule::OnePerPair, Role::Both);

impl Application {
    pub(super) fn peer(node: usize, incarnation: u8, messages: u8) -> Self {
        Self::Peer(Peer {
            node,
            other: 1 - node,
            incarnation,
            asked: false,
            listener: None,
            made: None,
            sessions: Vec::new(),
            messages,
            sent: 0,
            taking: None,
            received: Vec::new(),
            undelivered: Vec::new(),
            interrupted: false,
            retry: None,
        })
    }

    /// What it has yet to do, at any moment.
    pub(super) fn open(&self) -> Option<u8> {
        match self {
            Self::Publisher { asked: false, .. } => Some(BEGIN),
            Self::Peer(peer) if !peer.asked => Some(BEGIN),
            Self::Peer(peer) if !peer.sessions.is_empty() && peer.sent < peer.messages => Some(SEND),
            Self::Idle { .. } | Self::Publisher { .. } | Self::Peer(_) => None,
        }
    }

    /// Whether it is through with all that it wanted to ask.
    pub(super) fn is_done(&self) -> bool {
        match self {
            Self::Idle { .. } => true,
            Self::Publisher { asked, .. } => *asked,
            Self::Peer(peer) => peer.asked && peer.sent == peer.messages,
        }
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        match self {
            Self::Peer(peer) => peer.retry,
            Self::Idle { .. } | Self::Publisher { .. } => None,
        }
    }

    /// What is due now.
    pub(super) fn due(&mut self, now: Instant) -> Option<u8> {
        match self {
            Self::Peer(peer) => peer.retry.take_if(|at| *at <= now).map(|_| BEGIN),
            Self::Idle { .. } | Self::Publisher { .. } => None,
        }
    }

    pub(super) fn of_registry(&self, number: u8) -> Option<RegistryCommand> {
        match self {
            Self::Idle { node } if number == START => Some(RegistryCommand::Listen(address(*node))),
            _ => None,
        }
    }

    pub(super) fn of_executor(&mut self, number: u8) -> Option<ExecutorCommand> {
        match (self, number) {
            (_, START) => Some(ExecutorCommand::Start),
            (Self::Publisher { asked, .. }, BEGIN) => {
                *asked = true;
                Some(ExecutorCommand::Publish { token: Token(1), spec: task() })
            }
            _ => None,
        }
    }

    pub(super) fn executor_tells(&mut self, notice: &ExecutorNotice) {
        if let (Self::Publisher { ended, .. }, ExecutorNotice::Ended { .. }) = (self, notice) {
            *ended += 1;
        }
    }

    pub(super) fn of_connections(&mut self, number: u8) -> Option<ConnectionCommand> {
        let Self::Peer(peer) = self else { return None };
        let token = Token(u64::from(number));
        Some(match number {
            START => ConnectionCommand::Register { token, kind: PAIR },
            REGISTER => ConnectionCommand::Register { token, kind: LISTENER },
            CREATE_LISTENER => ConnectionCommand::Create { token, kind: LISTENER.id },
            LISTEN => {
                let address = Address::Socket(address(peer.node));
                ConnectionCommand::Listen { token, id: peer.listener?, address }
            }
            ADVERTISE => ConnectionCommand::Advertise { address: Some(Address::Socket(address(peer.node))) },
            CREATE => ConnectionCommand::CreateTo {
                token,
                kind: PAIR.id,
                target: Address::Socket(address(peer.other)),
                data: None,
            },
            BEGIN => {
                peer.asked = true;
                let id = peer.made?;
                peer.sessions.is_empty().then_some(ConnectionCommand::Connect {
                    token,
                    id,
                    target: None,
                    expect: None,
                })?
            }
            SEND => {
                let id = *peer.sessions.last()?;
                peer.sent += 1;
                let pack = DataPack::new(PackType::DICT, vec![peer.incarnation, peer.sent]);
                ConnectionCommand::SendPack { token, id, pack }
            }
            TAKE => {
                let (id, sequence) = peer.taking.take()?;
                ConnectionCommand::Taken { id, sequence }
            }
            _ => return None,
        })
    }

    /// Notes what a pair's machine tells; answers what to ask at once.
    pub(super) fn connections_tell(
        &mut self,
        now: Instant,
        notice: ConnectionNotice,
    ) -> impl Iterator<Item = u8> + use<> {
        let Self::Peer(peer) = self else { return None.into_iter() };
        peer.told(now, notice).into_iter()
    }
}

impl Peer {
    fn told(&mut self, now: Instant, notice: ConnectionNotice) -> Option<u8> {
        match notice {
            ConnectionNotice::Created { token, id } if token.0 == u64::from(CREATE_LISTENER) => {
                self.listener = Some(id);
            }
            ConnectionNotice::Created { id, .. } => self.made = Some(id),
            ConnectionNotice::Rejected { .. } => self.look_again(now),
            ConnectionNotice::Event(event) => match event {
                ConnectionEvent::Connected { id, .. } | ConnectionEvent::Accepted { id, .. } => {
                    self.sessions.push(id);
                    self.retry = None;
                    // The first message goes at once, another at any moment.
                    return (self.sent == 0).then_some(SEND);
                }
                ConnectionEvent::Received { id, pack } => {
                    self.received.push(content(&pack));
                    self.taking = Some((id, pack.sequence));
                    return Some(TAKE);
                }
                ConnectionEvent::Undelivered { packs, .. } => {
                    self.undelivered.extend(packs.iter().map(content));
                }
                ConnectionEvent::Interrupted { .. } => self.interrupted = true,
                ConnectionEvent::Disconnected { reason: DisconnectReason::ConnectedAs(id), .. } => {
                    self.sessions.retain(|session| *session != id);
                    self.sessions.push(id);
                    self.retry = None;
                }
                ConnectionEvent::Disconnected { id, .. } => {
                    self.sessions.retain(|session| *session != id);
                    self.look_again(now);
                }
                _ => {}
            },
        }
        None
    }

    /// Connects again after a while, if it has no session.
    fn look_again(&mut self, now: Instant) {
        if self.sessions.is_empty() && self.asked {
            self.retry = Some(now + GRID);
        }
    }
}

fn content(pack: &DataPack) -> [u8; 2] {
    [pack.head.first().copied().unwrap_or(0), pack.head.get(1).copied().unwrap_or(0)]
}

fn task() -> TaskSpec {
    TaskSpec {
        argv: vec![b"true".to_vec()],
        env: Vec::new(),
        inputs: Vec::new(),
        outputs: Vec::new(),
        stdin: false,
        timeout: None,
        patience: None,
        attempts: Some(20),
        placement: Placement::Others,
        needs: Vec::new(),
    }
}
