//! The smallest machine: asks a registry one question, tells the answer.

use crate::connection::{
    ConnectionEvent, ConnectionKind, ConnectionManager, DisconnectReason, KindId, LinkRule, Role,
};
use crate::machine::{Actions, Event, Machine};
use crate::message::{Answer, Ask, Message, Question, Reply};
use crate::time::{Instant, earliest};
use crate::timers::Timers;
use crate::{Address, Config, ConnectionId};
use alloc::collections::BTreeMap;
use core::time::Duration;

/// What the application asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClientCommand {
    /// Dial the registry and ask; once.
    Ask {
        /// Which registry.
        registry: Address,
        /// What.
        question: Question,
    },
}

/// What the application is told: exactly one a question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClientNotice {
    /// The answer.
    Answered(Reply),
    /// The registry cannot be reached, or broke off.
    Failed(DisconnectReason),
}

type Out = Actions<ClientNotice>;

/// The number of the one question on each connection.
const REQUEST: u64 = 1;

/// Asks registries. Each question has a connection of its own and is answered once, within
/// [`Limits::connect`](crate::Limits::connect) and [`Limits::ask`](crate::Limits::ask) together.
#[derive(Debug)]
pub struct Client {
    manager: ConnectionManager,
    patience: Duration,
    /// Questions that are not answered yet.
    pending: BTreeMap<ConnectionId, Question>,
    timers: Timers<ConnectionId>,
}

impl Client {
    /// A client that has asked nothing yet.
    pub fn new(config: Config) -> Self {
        let mut manager = ConnectionManager::new(&config);
        let registered = manager.register(ConnectionKind::plain(KindId::QUERY, LinkRule::Many, Role::Dial));
        debug_assert!(registered.is_ok(), "the only kind");
        Self {
            manager,
            patience: config.limits.connect + config.limits.ask,
            pending: BTreeMap::new(),
            timers: Timers::new(),
        }
    }

    /// Links, listeners, look-ups and connections that exist, for leak checks.
    pub fn census(&self) -> [usize; 4] {
        self.manager.census()
    }

    fn ask(&mut self, now: Instant, registry: Address, question: Question, out: &mut Out) {
        let Ok(id) = self.manager.create_to(KindId::QUERY, registry, None) else {
            out.notify(ClientNotice::Failed(DisconnectReason::Closed));
            return;
        };
        self.pending.insert(id, question);
        self.timers.set(id, now + self.patience);
        if self.manager.connect(now, id, None, None, out).is_err() {
            self.end(now, id, ClientNotice::Failed(DisconnectReason::Closed), out);
        }
    }

    fn connection_event(&mut self, now: Instant, event: ConnectionEvent, out: &mut Out) {
        match event {
            ConnectionEvent::Connected { id, .. } => {
                if let Some(question) = self.pending.get(&id) {
                    let ask = Ask { request: REQUEST, question: question.clone() };
                    // If it cannot be queued, the end of the connection says so.
                    let _ = self.manager.send(now, id, Message::from(ask).into_pack(), out);
                }
            }
            ConnectionEvent::Received { id, pack } => match Message::from_pack(pack) {
                Ok(Message::Answer(Answer { request: REQUEST, reply })) => {
                    self.end(now, id, ClientNotice::Answered(reply), out);
                }
                Ok(_) => {
                    let reason = DisconnectReason::Malformed("not the answer to what was asked");
                    self.end(now, id, ClientNotice::Failed(reason), out);
                }
                Err(_) => {
                    let reason = DisconnectReason::Malformed("no message of the cluster");
                    self.end(now, id, ClientNotice::Failed(reason), out);
                }
            },
            ConnectionEvent::Disconnected { id, reason, .. } => {
                self.end(now, id, ClientNotice::Failed(reason), out);
            }
            // It does not listen, sends one small message, pings nobody, and its kind has no sessions.
            ConnectionEvent::Interrupted { .. }
            | ConnectionEvent::Pong { .. }
            | ConnectionEvent::Resumed { .. }
            | ConnectionEvent::Acknowledged { .. }
            | ConnectionEvent::Undelivered { .. }
            | ConnectionEvent::Listening { .. }
            | ConnectionEvent::ListenFailed { .. }
            | ConnectionEvent::Accepted { .. }
            | ConnectionEvent::Writable { .. }
            | ConnectionEvent::TurnedAway { .. }
            | ConnectionEvent::AcceptFailing { .. } => {}
        }
    }

    /// Tells how a question ended, once, and closes its connection.
    fn end(&mut self, now: Instant, id: ConnectionId, notice: ClientNotice, out: &mut Out) {
        if self.pending.remove(&id).is_some() {
            self.timers.clear(&id);
            self.manager.discard(now, id, out);
            out.notify(notice);
        }
    }
}

impl Machine for Client {
    type Command = ClientCommand;
    type Notice = ClientNotice;

    fn handle(&mut self, now: Instant, event: Event<ClientCommand>, out: &mut Out) {
        match event {
            Event::Tick => {
                self.manager.tick(now, out);
                while let Some(id) = self.timers.pop_due(now) {
                    self.end(now, id, ClientNotice::Failed(DisconnectReason::Silent), out);
                }
            }
            Event::Net(event) => self.manager.handle_net(now, event, out),
            Event::Command(ClientCommand::Ask { registry, question }) => {
                self.ask(now, registry, question, out);
            }
            // It asks nothing of disks or processes.
            Event::Disk(_) | Event::Process(_) => {}
        }
        while let Some(event) = self.manager.next_event() {
            self.connection_event(now, event, out);
        }
    }

    fn deadline(&self) -> Option<Instant> {
        earliest(self.timers.next(), self.manager.deadline())
    }

    fn check_invariants(&self) {
        self.manager.check_invariants();
        assert_eq!(self.pending.len(), self.timers.len(), "a question without a deadline");
        for id in self.pending.keys() {
            assert!(self.manager.state(*id).is_some(), "{id}: a question without a connection");
            assert!(self.timers.at(id).is_some(), "{id}: a question without a deadline");
        }
    }
}
