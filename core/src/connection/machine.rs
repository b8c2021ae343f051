//! The connection manager as a machine of its own: for library users, and for the simulator.

use super::manager::ConnectionManager;
use super::types::{ConnectionError, ConnectionEvent, ConnectionKind, KindId};
use crate::machine::{Actions, Event, Machine};
use crate::pack::DataPack;
use crate::state::Kept;
use crate::{Address, ClusterKey, Config, ConnectionId, Dict, InstanceId, Instant, Token};
use serde::{Deserialize, Serialize};

/// All connections of a node, driven by commands.
#[derive(Clone, Debug, Hash, Serialize, Deserialize)]
pub struct Connections {
    manager: ConnectionManager,
}

/// What the application asks.
#[derive(Clone, Debug, PartialEq)]
pub enum ConnectionCommand {
    /// Register a kind.
    Register {
        /// Named if it is rejected.
        token: Token,
        /// The kind.
        kind: ConnectionKind,
    },
    /// What peers are told about where we listen.
    Advertise {
        /// `None`: we do not listen.
        address: Option<Address>,
    },
    /// Whether peers may begin sessions with us; they may at first.
    Admit {
        /// If not, they are refused as [`Full`](super::DisconnectReason::Full).
        admits: bool,
    },
    /// Create a connection of a kind → [`ConnectionNotice::Created`].
    Create {
        /// Named in the answer.
        token: Token,
        /// A registered kind.
        kind: KindId,
    },
    /// Create a connection with its target, and data that is sent first → [`ConnectionNotice::Created`].
    CreateTo {
        /// Named in the answer.
        token: Token,
        /// A registered kind.
        kind: KindId,
        /// What `Connect` dials.
        target: Address,
        /// Sent first once it is connected.
        data: Option<Dict>,
    },
    /// Listen → [`ConnectionEvent::Listening`] or [`ConnectionEvent::ListenFailed`].
    Listen {
        /// Named if it is rejected.
        token: Token,
        /// An idle connection whose kind listens.
        id: ConnectionId,
        /// Where.
        address: Address,
    },
    /// Connect → [`ConnectionEvent::Connected`] or [`ConnectionEvent::Disconnected`].
    Connect {
        /// Named if it is rejected.
        token: Token,
        /// An idle connection.
        id: ConnectionId,
        /// Where to, if it has no target yet or is to have another.
        target: Option<Address>,
        /// Who must answer, if that is known.
        expect: Option<InstanceId>,
    },
    /// Send a dict.
    Send {
        /// Named if it is rejected.
        token: Token,
        /// A connected connection.
        id: ConnectionId,
        /// The data.
        data: Dict,
    },
    /// Send any pack whose type is 16 or more.
    SendPack {
        /// Named if it is rejected.
        token: Token,
        /// A connected connection.
        id: ConnectionId,
        /// The pack.
        pack: DataPack,
    },
    /// The application has taken a session's messages up to this one; only that is acknowledged to the peer.
    Taken {
        /// Which.
        id: ConnectionId,
        /// The last one's sequence.
        sequence: u64,
    },
    /// Ask the peer for an answer → [`ConnectionEvent::Pong`].
    Ping {
        /// Named if it is rejected.
        token: Token,
        /// A connected connection.
        id: ConnectionId,
    },
    /// Stop reading from a plain connection.
    Pause {
        /// Which.
        id: ConnectionId,
    },
    /// Read again.
    Resume {
        /// Which.
        id: ConnectionId,
    },
    /// Close → [`ConnectionEvent::Disconnected`], unless it is idle.
    Close {
        /// Named if it is rejected.
        token: Token,
        /// Which.
        id: ConnectionId,
    },
    /// Close and forget, without a word.
    Discard {
        /// Which.
        id: ConnectionId,
    },
    /// End everything.
    Destroy,
}

/// What the application is told.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ConnectionNotice {
    /// The connection is there, idle.
    Created {
        /// The command's.
        token: Token,
        /// Its id, never used again.
        id: ConnectionId,
    },
    /// A command was the caller's fault; nothing has changed.
    Rejected {
        /// The command's.
        token: Token,
        /// Why.
        error: ConnectionError,
    },
    /// Something happened.
    Event(ConnectionEvent),
}

impl Connections {
    /// No connections yet.
    pub fn new(config: &Config) -> Self {
        Self { manager: ConnectionManager::new(config) }
    }

    /// The manager, to look at.
    pub fn manager(&self) -> &ConnectionManager {
        &self.manager
    }

    fn command(
        &mut self,
        now: Instant,
        command: ConnectionCommand,
        actions: &mut Actions<ConnectionNotice>,
    ) -> Result<(), (Token, ConnectionError)> {
        let manager = &mut self.manager;
        match command {
            ConnectionCommand::Register { token, kind } => {
                manager.register(kind).map_err(|error| (token, error))
            }
            ConnectionCommand::Advertise { address } => {
                manager.advertise(address);
                Ok(())
            }
            ConnectionCommand::Admit { admits } => {
                manager.admit(admits);
                Ok(())
            }
            ConnectionCommand::Create { token, kind } => {
                let id = manager.create(kind).map_err(|error| (token, error))?;
                actions.notify(ConnectionNotice::Created { token, id });
                Ok(())
            }
            ConnectionCommand::CreateTo { token, kind, target, data } => {
                let id = manager.create_to(kind, target, data).map_err(|error| (token, error))?;
                actions.notify(ConnectionNotice::Created { token, id });
                Ok(())
            }
            ConnectionCommand::Listen { token, id, address } => {
                manager.listen(now, id, address, actions).map_err(|error| (token, error))
            }
            ConnectionCommand::Connect { token, id, target, expect } => {
                manager.connect(now, id, target, expect, actions).map_err(|error| (token, error))
            }
            ConnectionCommand::Send { token, id, data } => {
                let pack = data.to_pack().map_err(|error| (token, ConnectionError::Data(error)))?;
                manager.send(now, id, pack, actions).map(|_| ()).map_err(|error| (token, error))
            }
            ConnectionCommand::SendPack { token, id, pack } => {
                manager.send(now, id, pack, actions).map(|_| ()).map_err(|error| (token, error))
            }
            ConnectionCommand::Taken { id, sequence } => {
                manager.taken(now, id, sequence, actions);
                Ok(())
            }
            ConnectionCommand::Ping { token, id } => {
                manager.ping(now, id, actions).map_err(|error| (token, error))
            }
            ConnectionCommand::Pause { id } => {
                manager.pause(id);
                Ok(())
            }
            ConnectionCommand::Resume { id } => {
                manager.resume(now, id, actions);
                Ok(())
            }
            ConnectionCommand::Close { token, id } => {
                manager.close(now, id, actions).map_err(|error| (token, error))
            }
            ConnectionCommand::Discard { id } => {
                manager.discard(now, id, actions);
                Ok(())
            }
            ConnectionCommand::Destroy => {
                manager.destroy(now, actions);
                Ok(())
            }
        }
    }
}

impl Kept for Connections {
    fn set_key(&mut self, key: &ClusterKey) {
        self.manager.set_key(key);
    }
}

impl Machine for Connections {
    type Command = ConnectionCommand;
    type Notice = ConnectionNotice;

    fn handle(
        &mut self,
        now: Instant,
        event: Event<ConnectionCommand>,
        actions: &mut Actions<ConnectionNotice>,
    ) {
        let rejected = match event {
            Event::Tick => {
                self.manager.tick(now, actions);
                None
            }
            Event::Net(event) => {
                self.manager.handle_net(now, event, actions);
                None
            }
            Event::Command(command) => self.command(now, command, actions).err(),
            // It asks nothing of disks or processes.
            Event::Disk(_) | Event::Process(_) => None,
        };
        while let Some(event) = self.manager.next_event() {
            actions.notify(ConnectionNotice::Event(event));
        }
        if let Some((token, error)) = rejected {
            actions.notify(ConnectionNotice::Rejected { token, error });
        }
    }

    fn deadline(&self) -> Option<Instant> {
        self.manager.deadline()
    }

    fn check_invariants(&self) {
        self.manager.check_invariants();
    }
}
