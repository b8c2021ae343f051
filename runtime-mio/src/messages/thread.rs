//! The thread that does input and output: the machine, its sockets, and the way to the application's queues.

use super::events::{NetEvent, Report};
use super::inbox::Peer;
use super::shared::Shared;
use super::{ListenError, Payload, listen_error};
use crate::{Driver, Flow};
use std::collections::{HashMap, VecDeque};
use std::io;
use std::sync::Arc;
use xxnet_core::connection::DisconnectReason;
use xxnet_core::messenger::{LOCAL, Messenger, MessengerNotice};
use xxnet_core::pack::DataPack;
use xxnet_core::{Address, ConnectionId, InstanceId};

/// Starts it.
pub(super) fn start(driver: Driver<Messenger>, shared: Arc<Shared>) -> io::Result<()> {
    let work = move || {
        // Whatever ends it, those who wait are told.
        let _end = End(Arc::clone(&shared));
        if let Err(error) = run(driver, &shared) {
            tracing::error!(%error, "messages: the loop has ended");
        }
    };
    std::thread::Builder::new().name("xxnet-messages".into()).spawn(work).map(drop)
}

struct End(Arc<Shared>);

impl Drop for End {
    fn drop(&mut self) {
        self.0.end();
    }
}

fn run(mut driver: Driver<Messenger>, shared: &Arc<Shared>) -> io::Result<()> {
    let mut desk = Desk::new(Arc::clone(shared));
    // Whoever has taken something is likely to take more: it is then looked at soon, and need not call for each.
    let mut taken = false;
    loop {
        // With nothing to do it sleeps, and is woken by the next message that is sent or taken.
        let early = !shared.sleep(taken) && shared.collect(driver.commands());
        driver.wait(taken.then_some(shared.ack_delay))?;
        taken = shared.collect(driver.commands()) || early;
        let busy = !driver.commands().is_empty();
        let flow = driver.work(&mut |notice, _| desk.hear(notice))?;
        let delivered = desk.deliver();
        if flow == Flow::Stop {
            return Ok(());
        }
        if busy || delivered {
            // Whoever sends or takes goes on first: then many messages leave together, and on one core they are not
            // handled one by one, with a switch of threads for each.
            std::thread::yield_now();
        }
    }
}

/// Sorts what the machine tells.
struct Desk {
    shared: Arc<Shared>,
    peers: HashMap<ConnectionId, Arc<Peer>>,
    /// The one that was asked for last: most messages come from the same as the one before.
    last: Arc<Peer>,
    come: VecDeque<(Arc<Peer>, DataPack)>,
}

impl Desk {
    fn new(shared: Arc<Shared>) -> Self {
        let nowhere = Address::Socket(([127, 0, 0, 1], 0).into());
        let here = Arc::new(Peer::new(LOCAL, nowhere, InstanceId::NONE, String::new()));
        Self { shared, peers: HashMap::from([(LOCAL, Arc::clone(&here))]), last: here, come: VecDeque::new() }
    }

    fn hear(&mut self, notice: MessengerNotice) -> Flow {
        match notice {
            MessengerNotice::Received { on, pack } => {
                if self.last.on != on {
                    let Some(peer) = self.peers.get(&on) else { return Flow::Continue };
                    self.last = Arc::clone(peer);
                }
                self.come.push_back((Arc::clone(&self.last), pack));
            }
            MessengerNotice::Settled { token, count, bytes } => self.shared.settled(token, count, bytes),
            MessengerNotice::Peers { token, peers } => self.shared.looked(token, peers),
            MessengerNotice::Marked { token } => self.shared.marked(token),
            MessengerNotice::Listening { token, address } => {
                self.shared.answer(token, |_| Ok(address.into()));
            }
            MessengerNotice::ListenFailed { token, error, .. } => {
                self.shared.answer(token, |address| Err(ListenError::System(address, error)));
            }
            MessengerNotice::Rejected { token, error, pack: Some(pack) } => {
                let Some(account) = self.shared.account_of(token) else { return Flow::Continue };
                account.count_refused();
                self.shared.count_undelivered(1);
                let report = Report::of(std::slice::from_ref(&pack));
                if let Ok(message) = Payload::of(pack) {
                    self.report(NetEvent::Refused { to: account.to.clone(), error, message }, report);
                }
            }
            MessengerNotice::Rejected { token, error, pack: None } => {
                // The seed's border 2: what listens already is not harmed, and the request is dropped and logged.
                tracing::warn!(%error, "messages: listen was refused");
                self.shared.answer(token, |address| Err(listen_error(address, error)));
            }
            MessengerNotice::Connected { on, at, peer } => {
                let known = Peer::new(on, at.clone(), peer.instance, peer.name.clone());
                self.peers.insert(on, Arc::new(known));
                self.tell(NetEvent::Connected { at, name: peer.name });
            }
            MessengerNotice::Interrupted { on, reason } => {
                if let Some(at) = self.at(on) {
                    self.tell(NetEvent::Interrupted { at, reason });
                }
            }
            MessengerNotice::Resumed { on } => {
                if let Some(at) = self.at(on) {
                    self.tell(NetEvent::Resumed { at });
                }
            }
            MessengerNotice::Disconnected { on, reason, undelivered } => {
                let Some(at) = self.at(on) else { return Flow::Continue };
                self.undelivered(at.clone(), reason.clone(), undelivered);
                self.tell(NetEvent::Disconnected { at, reason });
                self.peers.remove(&on);
            }
            MessengerNotice::Retrying { to, reason } => self.tell(NetEvent::Retrying { to, reason }),
            MessengerNotice::Undelivered { to, reason, packs } => self.undelivered(to, reason, packs),
            MessengerNotice::TurnedAway { from, reason } => {
                self.tell(NetEvent::TurnedAway { from: from.into(), reason });
            }
            MessengerNotice::AcceptFailing { error } => self.tell(NetEvent::AcceptFailing(error)),
            MessengerNotice::Down => return Flow::Stop,
        }
        Flow::Continue
    }

    fn at(&self, on: ConnectionId) -> Option<Address> {
        self.peers.get(&on).map(|peer| peer.at.clone())
    }

    fn undelivered(&self, to: Address, reason: DisconnectReason, packs: Vec<DataPack>) {
        if packs.is_empty() {
            return;
        }
        self.shared.count_undelivered(packs.len());
        let report = Report::of(&packs);
        // What cannot be read was not written by us.
        let messages = packs.into_iter().filter_map(|pack| Payload::of(pack).ok()).collect();
        self.report(NetEvent::Undelivered { to, reason, messages }, report);
    }

    fn tell(&self, event: NetEvent) {
        self.report(event, Report::default());
    }

    fn report(&self, event: NetEvent, report: Report) {
        tracing::trace!(?event, "messages");
        self.shared.events.put(event, report);
    }

    /// Hands what has come to the application; whether that was anything.
    fn deliver(&mut self) -> bool {
        let any = !self.come.is_empty();
        if any {
            self.shared.inbox.deliver(&mut self.come);
        }
        any
    }
}
