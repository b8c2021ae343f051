//! What is outstanding at a machine's door, and whatever the runtime does there that it must not.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use xxnet_core::disk::DiskAction;
use xxnet_core::net::{Endpoint, NetAction, NetEvent};
use xxnet_core::process::{ProcessAction, ProcessEvent};
use xxnet_core::{Event, Instant, LinkId, ListenerId, OpId, QueryId, RunId};

/// A deadline that has passed for so long without a tick, while other events came, is missed. Long: the machine may be busy.
const MISSED: Duration = Duration::from_secs(8);

/// Knows what was asked and what was answered.
#[derive(Debug, Default)]
pub(super) struct Audit {
    links: BTreeMap<LinkId, Link>,
    listeners: BTreeMap<ListenerId, Listener>,
    queries: BTreeMap<QueryId, u16>,
    disk: BTreeSet<OpId>,
    /// Runs that have not started yet.
    spawns: BTreeSet<RunId>,
    last: Option<Instant>,
    violations: Vec<String>,
}

#[derive(Debug, Default)]
struct Link {
    /// Where to, while the dial is under way.
    dialling: Option<Endpoint>,
    recv: Option<usize>,
    send: bool,
    shutdown: bool,
    ended: bool,
    closing: bool,
}

#[derive(Debug)]
struct Listener {
    asked: Endpoint,
    open: bool,
    closing: bool,
    armed: Option<LinkId>,
}

impl Audit {
    /// What was found since the last time.
    pub(super) fn violations(&mut self) -> Vec<String> {
        std::mem::take(&mut self.violations)
    }

    /// Links, listeners, look-ups, and requests to the disk or to start a process, that are open or under way.
    pub(super) fn owed(&self) -> [usize; 4] {
        [self.links.len(), self.listeners.len(), self.queries.len(), self.disk.len() + self.spawns.len()]
    }

    fn must(&mut self, holds: bool, what: impl FnOnce() -> String) {
        if !holds {
            self.violations.push(what());
        }
    }

    /// Whether a request is about a link that is there, or about none.
    pub(super) fn has_link_of(&self, action: &NetAction) -> bool {
        match action {
            NetAction::Send { link, .. }
            | NetAction::Recv { link, .. }
            | NetAction::Shutdown { link }
            | NetAction::Close { link } => self.links.contains_key(link),
            NetAction::Resolve { .. }
            | NetAction::Listen { .. }
            | NetAction::Accept { .. }
            | NetAction::Unlisten { .. }
            | NetAction::Dial { .. } => true,
        }
    }

    /// The machine asks something of the network. (That it asks nothing it must not is the machine's own matter.)
    pub(super) fn asked(&mut self, action: &NetAction) {
        match action {
            NetAction::Resolve { query, port, .. } => _ = self.queries.insert(*query, *port),
            NetAction::Listen { listener, address } => {
                let new = Listener { asked: address.clone(), open: false, closing: false, armed: None };
                self.listeners.insert(*listener, new);
            }
            NetAction::Accept { listener, link } => {
                if let Some(open) = self.listeners.get_mut(listener) {
                    open.armed = Some(*link);
                }
            }
            NetAction::Unlisten { listener } => {
                if let Some(open) = self.listeners.get_mut(listener) {
                    open.closing = true;
                }
            }
            NetAction::Dial { link, address } => {
                self.links.insert(*link, Link { dialling: Some(address.clone()), ..Link::default() });
            }
            NetAction::Send { link, .. } => self.at(*link, |link| link.send = true),
            NetAction::Recv { link, max } => self.at(*link, |link| link.recv = Some(*max)),
            NetAction::Shutdown { link } => self.at(*link, |link| link.shutdown = true),
            NetAction::Close { link } => self.at(*link, |link| link.closing = true),
        }
    }

    /// The machine asks something of the disk.
    pub(super) fn asked_disk(&mut self, action: &DiskAction) {
        self.disk.insert(action.op);
    }

    /// The machine asks something about a process.
    pub(super) fn asked_process(&mut self, action: &ProcessAction) {
        if let ProcessAction::Spawn { run, .. } = action {
            self.spawns.insert(*run);
        }
    }

    fn at(&mut self, link: LinkId, change: impl FnOnce(&mut Link)) {
        if let Some(link) = self.links.get_mut(&link) {
            change(link);
        }
    }

    /// The runtime hands the machine an event.
    pub(super) fn enter<C>(&mut self, now: Instant, event: &Event<C>, deadline: Option<Instant>) {
        let last = *self.last.get_or_insert(now);
        self.must(now >= last, || format!("time goes back, from {last:?} to {now:?}"));
        self.last = Some(now.max(last));
        let missed = deadline.filter(|due| *due + MISSED < now && !matches!(event, Event::Tick));
        self.must(missed.is_none(), || format!("no tick at {missed:?}, and it is {now:?}"));
        match event {
            Event::Net(event) => self.net(event),
            Event::Disk(event) => {
                let op = event.op;
                let asked = self.disk.remove(&op);
                self.must(asked, || format!("a completion of {op} that nobody waits for"));
            }
            Event::Process(ProcessEvent::Spawned { run } | ProcessEvent::SpawnFailed { run, .. }) => {
                let (run, asked) = (*run, self.spawns.remove(run));
                self.must(asked, || format!("a start of {run} that nobody waits for"));
            }
            // What a run says later is its machine's matter.
            Event::Tick | Event::Process(_) | Event::Command(_) => {}
        }
    }

    fn net(&mut self, event: &NetEvent) {
        let wrong = match event {
            NetEvent::Resolved { query, result } => match (self.queries.remove(query), result) {
                (None, _) => Some("nobody waits for it"),
                (Some(_), Ok(found)) if found.is_empty() => Some("no address, and no error"),
                (Some(port), Ok(found)) if found.iter().any(|address| address.port() != port) => {
                    Some("another port than asked for")
                }
                (Some(_), Ok(_) | Err(_)) => None,
            },
            NetEvent::Listening { listener, address } => match self.listeners.get_mut(listener) {
                Some(known) if !known.open => {
                    known.open = true;
                    let as_asked = match (&known.asked, address) {
                        (Endpoint::Ip(asked), Endpoint::Ip(told)) => {
                            let same_port = asked.port() == 0 || asked.port() == told.port();
                            told.port() != 0 && same_port && asked.ip() == told.ip()
                        }
                        (Endpoint::Unix(asked), Endpoint::Unix(told)) => asked == told,
                        (Endpoint::Ip(_), Endpoint::Unix(_)) | (Endpoint::Unix(_), Endpoint::Ip(_)) => false,
                    };
                    (!as_asked).then_some("another address than asked for, or no port")
                }
                Some(_) | None => Some("nobody waits for it"),
            },
            NetEvent::ListenFailed { listener, .. } => match self.listeners.remove(listener) {
                Some(known) if !known.open => None,
                Some(_) | None => Some("nobody waits for it"),
            },
            NetEvent::Accepted { listener, link, .. } => match self.listeners.get_mut(listener) {
                // It may have crossed with an `Unlisten`.
                Some(known) if known.open && known.armed == Some(*link) => {
                    known.armed = None;
                    self.links.insert(*link, Link::default());
                    None
                }
                Some(_) | None => Some("no accept is armed"),
            },
            NetEvent::AcceptFailed { listener, link, .. } => match self.listeners.get_mut(listener) {
                Some(known) if known.open && known.armed == Some(*link) => {
                    known.armed = None;
                    None
                }
                Some(_) | None => Some("no accept is armed"),
            },
            NetEvent::Unlistened { listener } => match self.listeners.remove(listener) {
                Some(known) if known.closing => None,
                Some(_) | None => Some("nobody waits for it"),
            },
            NetEvent::Dialed { link, peer, .. } => self.living(*link, |link| {
                link.dialling.take().is_some_and(|address| address == *peer).then_some(())
            }),
            NetEvent::DialFailed { link, .. } => match self.links.remove(link) {
                Some(known) if known.dialling.is_some() && !known.closing => None,
                Some(_) | None => Some("no dial is under way"),
            },
            NetEvent::Sent { link } => {
                self.living(*link, |link| std::mem::take(&mut link.send).then_some(()))
            }
            NetEvent::Received { link, data } => self.living(*link, |link| {
                let max = link.recv.take().filter(|_| !link.ended)?;
                (1..=max).contains(&data.len()).then_some(())
            }),
            NetEvent::PeerClosed { link } => self.living(*link, |link| {
                let first = !std::mem::replace(&mut link.ended, true);
                link.recv.take().filter(|_| first).map(|_| ())
            }),
            NetEvent::ShutdownDone { link } => {
                self.living(*link, |link| std::mem::take(&mut link.shutdown).then_some(()))
            }
            NetEvent::Broken { link, .. } => match self.links.remove(link) {
                Some(known) if known.dialling.is_none() && !known.closing => None,
                Some(known) if known.closing => Some("its close was asked for: only that is told"),
                Some(_) | None => Some("it is not open"),
            },
            NetEvent::Closed { link } => match self.links.remove(link) {
                Some(known) if known.closing => None,
                Some(_) | None => Some("nobody has closed it, or it was over before"),
            },
        };
        if let Some(wrong) = wrong {
            self.violations.push(format!("{event:?}: {wrong}"));
        }
    }

    /// For a link that lives and is not being closed: whether what came was asked for, and is as it was asked for.
    fn living(&mut self, link: LinkId, asked: impl FnOnce(&mut Link) -> Option<()>) -> Option<&'static str> {
        match self.links.get_mut(&link) {
            None => Some("the link is over, or never was"),
            Some(link) if link.closing => Some("its close was asked for: only that is told"),
            Some(link) => match asked(link) {
                Some(()) => None,
                None => Some("it was not asked for, or not so"),
            },
        }
    }
}
