//! A peer with the right key: a real connection machine, whose application says whatever the bytes choose.

use bytes::Bytes;
use std::collections::VecDeque;
use xxnet_core::connection::{
    ConnectionCommand, ConnectionEvent, ConnectionKind, ConnectionNotice, Connections, KindId, LinkRule, Role,
};
use xxnet_core::message::Message;
use xxnet_core::net::{Endpoint, NetAction, NetEvent};
use xxnet_core::pack::DataPack;
use xxnet_core::{
    Action, Actions, Address, ConnectionId, Event, InstanceId, Instant, LinkId, ListenerId, Machine, Token,
};

/// The peers' listening kind; never on the wire.
const LISTENER: KindId = KindId(6);
/// A plain kind of a library user.
pub(super) const PLAIN: KindId = KindId(1024);
/// Sessions of a library user.
pub(super) const SESSION: KindId = KindId(1025);
/// Every kind that a peer may dial.
pub(super) const KINDS: [KindId; 8] = [
    KindId::REGISTRATION,
    KindId::TASK,
    KindId::FILE,
    KindId::QUERY,
    KindId::PROBE,
    KindId::MESSAGES,
    PLAIN,
    SESSION,
];
/// Messages that are remembered to be answered.
const KEPT: usize = 12;

#[derive(Debug)]
pub(super) struct Peer {
    machine: Connections,
    /// Where it takes the next newcomer.
    pub(super) accept: Option<(ListenerId, LinkId)>,
    /// What is connected, the newest last, and the last message of a session that was not taken.
    pub(super) connected: Vec<(ConnectionId, KindId, u64)>,
    /// What was heard, the newest last.
    pub(super) heard: VecDeque<(ConnectionId, Message)>,
    /// What every connection is called at the machine's end.
    pub(super) far: Vec<ConnectionId>,
}

/// The instance of a peer, or of nobody that there is.
pub(super) const fn instance(peer: usize) -> InstanceId {
    InstanceId([peer as u8 + 2; 16])
}

/// Where a peer listens.
pub(super) fn address(peer: usize) -> Endpoint {
    Endpoint::Ip(([10, 0, 0, peer as u8 + 2], 7000).into())
}

impl Peer {
    pub(super) fn new(machine: Connections) -> Self {
        Self { machine, accept: None, connected: Vec::new(), heard: VecDeque::new(), far: Vec::new() }
    }

    /// It registers every kind and listens.
    pub(super) fn open(&mut self, number: usize) -> Vec<NetAction> {
        let plain = |id, rule| ConnectionKind::plain(id, rule, Role::Both);
        let token = Token(0);
        let at: Address = address(number).into();
        let mut commands: Vec<_> = [
            ConnectionKind::plain(LISTENER, LinkRule::Many, Role::Listen),
            plain(KindId::REGISTRATION, LinkRule::Many),
            plain(KindId::TASK, LinkRule::Many),
            plain(KindId::FILE, LinkRule::Many),
            plain(KindId::QUERY, LinkRule::Many),
            ConnectionKind::plain(KindId::PROBE, LinkRule::Many, Role::Dial),
            ConnectionKind::session(KindId::MESSAGES, LinkRule::OnePerPair, Role::Both),
            plain(PLAIN, LinkRule::Many),
            ConnectionKind::session(SESSION, LinkRule::OnePerDialler, Role::Both),
        ]
        .into_iter()
        .map(|kind| ConnectionCommand::Register { token, kind })
        .collect();
        commands.push(ConnectionCommand::Create { token, kind: LISTENER });
        commands.push(ConnectionCommand::Advertise { address: Some(at.clone()) });
        commands.push(ConnectionCommand::Listen { token, id: ConnectionId(1), address: at });
        commands.into_iter().flat_map(|command| self.command(Instant::ZERO, command)).collect()
    }

    /// Dials the machine.
    pub(super) fn dial(&mut self, now: Instant, kind: KindId, to: Endpoint) -> Vec<NetAction> {
        let token = Token(1);
        let create = ConnectionCommand::CreateTo { token, kind, target: to.into(), data: None };
        // The answer to `Create` comes at once, and `notice` connects.
        self.command(now, create)
    }

    /// Sends a pack on a connection.
    pub(super) fn send(&mut self, now: Instant, id: ConnectionId, pack: DataPack) -> Vec<NetAction> {
        self.command(now, ConnectionCommand::SendPack { token: Token(0), id, pack })
    }

    pub(super) fn command(&mut self, now: Instant, command: ConnectionCommand) -> Vec<NetAction> {
        self.handle(now, Event::Command(command))
    }

    pub(super) fn net(&mut self, now: Instant, event: NetEvent) -> Vec<NetAction> {
        self.handle(now, Event::Net(event))
    }

    pub(super) fn tick(&mut self, now: Instant) -> Vec<NetAction> {
        if self.machine.deadline().is_some_and(|at| at <= now) {
            self.handle(now, Event::Tick)
        } else {
            vec![]
        }
    }

    fn handle(&mut self, now: Instant, event: Event<ConnectionCommand>) -> Vec<NetAction> {
        let mut actions = Actions::new();
        self.machine.handle(now, event, &mut actions);
        let mut asked = Vec::new();
        let mut next = Vec::new();
        for action in actions.drain() {
            match action {
                Action::Net(action) => asked.push(action),
                Action::Notify(notice) => next.extend(self.notice(notice)),
                Action::Disk(_) | Action::Process(_) => unreachable!("connections ask neither"),
            }
        }
        asked.extend(next.into_iter().flat_map(|command| self.command(now, command)));
        asked
    }

    fn notice(&mut self, notice: ConnectionNotice) -> Option<ConnectionCommand> {
        match notice {
            ConnectionNotice::Created { token: Token(1), id } => {
                return Some(ConnectionCommand::Connect { token: Token(0), id, target: None, expect: None });
            }
            ConnectionNotice::Event(
                ConnectionEvent::Connected { id, kind, peer }
                | ConnectionEvent::Accepted { id, kind, peer, .. },
            ) => {
                self.connected.push((id, kind, 0));
                self.far.push(peer.connection);
            }
            ConnectionNotice::Event(ConnectionEvent::Received { id, pack }) => {
                if let Some(row) = self.connected.iter_mut().find(|row| row.0 == id) {
                    row.2 = pack.sequence;
                }
                if let Ok(message) = Message::from_pack(pack) {
                    self.heard.push_back((id, message));
                    if self.heard.len() > KEPT {
                        self.heard.pop_front();
                    }
                }
            }
            ConnectionNotice::Event(ConnectionEvent::Disconnected { id, .. }) => {
                if let Some(at) = self.connected.iter().position(|row| row.0 == id) {
                    self.connected.remove(at);
                    self.far.remove(at);
                }
                return Some(ConnectionCommand::Discard { id });
            }
            _ => {}
        }
        None
    }
}

/// What a peer sends, in one piece.
pub(super) fn joined(buffers: &[Bytes]) -> Bytes {
    Bytes::from(buffers.concat())
}
