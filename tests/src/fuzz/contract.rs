//! The contract between a machine and its runtime, as an audit of what the machine asks: it panics at the first request that
//! no runtime need understand. What it counts as owed is what a runtime has yet to complete.

use std::collections::{BTreeMap, BTreeSet};
use xxnet_core::disk::{DiskAction, DiskRequest};
use xxnet_core::net::{NetAction, NetEvent};
use xxnet_core::{Limits, LinkId, ListenerId, OpId, QueryId, TreeId};

/// Most bytes that one read may ask for.
const MAX_READ: usize = 8 << 20;

/// Knows what is open and what is under way at a machine's network and disk.
#[derive(Debug)]
pub struct Contract {
    links: BTreeMap<LinkId, Link>,
    listeners: BTreeMap<ListenerId, Listener>,
    queries: BTreeSet<QueryId>,
    disk: BTreeSet<OpId>,
    trees: BTreeSet<TreeId>,
    /// Newest of each kind of id: none is used twice.
    last: (LinkId, ListenerId, QueryId, OpId),
    max_send: usize,
}

#[derive(Debug, Default)]
struct Link {
    dialling: bool,
    send: bool,
    recv: Option<usize>,
    /// The peer's end was read.
    ended: bool,
    /// Our end was told, or is being told.
    shut: bool,
    shutting: bool,
    closing: bool,
}

#[derive(Debug, Default)]
struct Listener {
    open: bool,
    armed: Option<LinkId>,
    closing: bool,
}

/// An id that must be newer than all before it.
fn fresh<I: Ord + Copy + std::fmt::Debug>(last: &mut I, id: I) {
    assert!(id > *last, "{id:?} is used again");
    *last = id;
}

impl Contract {
    /// Nothing is open. No more than these limits allow may be sent at once.
    pub fn new(limits: &Limits) -> Self {
        Self {
            links: BTreeMap::new(),
            listeners: BTreeMap::new(),
            queries: BTreeSet::new(),
            disk: BTreeSet::new(),
            trees: BTreeSet::new(),
            last: (LinkId(0), ListenerId(0), QueryId(0), OpId(0)),
            // What is sent at once was in the outbox; a link's own words (pong, goodbye, acknowledgement) come on top.
            max_send: limits.max_outbox + (64 << 10),
        }
    }

    /// Links, listeners, look-ups and disk requests that are open or under way.
    pub fn owed(&self) -> [usize; 4] {
        [self.links.len(), self.listeners.len(), self.queries.len(), self.disk.len()]
    }

    /// What may be read from a link now.
    pub fn armed(&self, link: LinkId) -> Option<usize> {
        self.links.get(&link).filter(|link| !link.closing).and_then(|link| link.recv)
    }

    /// The listeners that wait for a newcomer, and the id it gets.
    pub fn accepting(&self) -> Option<(ListenerId, LinkId)> {
        let armed = |(id, listener): (&ListenerId, &Listener)| {
            listener.armed.filter(|_| listener.open && !listener.closing).map(|link| (*id, link))
        };
        self.listeners.iter().find_map(armed)
    }

    /// Whether the link is open or has yet to end.
    pub fn knows(&self, link: LinkId) -> bool {
        self.links.contains_key(&link)
    }

    /// Links that are open.
    pub fn open_links(&self) -> Vec<LinkId> {
        let open = |(id, link): (&LinkId, &Link)| (!link.dialling && !link.closing).then_some(*id);
        self.links.iter().filter_map(open).collect()
    }

    /// Whether a completion is what the machine waits for; anything else it must ignore.
    pub fn awaits(&self, event: &NetEvent) -> bool {
        let link = |id: &LinkId| self.links.get(id).filter(|link| !link.closing);
        match event {
            NetEvent::Resolved { query, .. } => self.queries.contains(query),
            NetEvent::Listening { listener, .. } | NetEvent::ListenFailed { listener, .. } => {
                self.listeners.get(listener).is_some_and(|listener| !listener.open)
            }
            NetEvent::Accepted { listener, link, .. } | NetEvent::AcceptFailed { listener, link, .. } => {
                self.listeners.get(listener).is_some_and(|at| at.open && at.armed == Some(*link))
            }
            NetEvent::Unlistened { listener } => self.listeners.get(listener).is_some_and(|at| at.closing),
            NetEvent::Dialed { link: id, .. } | NetEvent::DialFailed { link: id, .. } => {
                link(id).is_some_and(|link| link.dialling)
            }
            NetEvent::Sent { link: id } => link(id).is_some_and(|link| link.send),
            NetEvent::Received { link: id, .. } | NetEvent::PeerClosed { link: id } => {
                link(id).is_some_and(|link| link.recv.is_some())
            }
            NetEvent::ShutdownDone { link: id } => link(id).is_some_and(|link| link.shutting),
            NetEvent::Broken { link: id, .. } => link(id).is_some_and(|link| !link.dialling),
            NetEvent::Closed { link: id } => self.links.get(id).is_some_and(|link| link.closing),
        }
    }

    /// The runtime completes or reports something that the machine awaits.
    pub fn completed(&mut self, event: &NetEvent) {
        let mut at = |id: &LinkId, change: fn(&mut Link)| {
            if let Some(link) = self.links.get_mut(id) {
                change(link);
            }
        };
        match event {
            NetEvent::Resolved { query, .. } => _ = self.queries.remove(query),
            NetEvent::Listening { listener, .. } => {
                if let Some(listener) = self.listeners.get_mut(listener) {
                    listener.open = true;
                }
            }
            NetEvent::ListenFailed { listener, .. } | NetEvent::Unlistened { listener } => {
                self.listeners.remove(listener);
            }
            NetEvent::Accepted { listener, link, .. } => {
                if let Some(listener) = self.listeners.get_mut(listener) {
                    listener.armed = None;
                }
                self.links.insert(*link, Link::default());
            }
            NetEvent::AcceptFailed { listener, .. } => {
                if let Some(listener) = self.listeners.get_mut(listener) {
                    listener.armed = None;
                }
            }
            NetEvent::Dialed { link, .. } => at(link, |link| link.dialling = false),
            NetEvent::Sent { link } => at(link, |link| link.send = false),
            NetEvent::Received { link, .. } => at(link, |link| link.recv = None),
            NetEvent::PeerClosed { link } => at(link, |link| (link.recv, link.ended) = (None, true)),
            NetEvent::ShutdownDone { link } => at(link, |link| link.shutting = false),
            NetEvent::DialFailed { link, .. } | NetEvent::Broken { link, .. } | NetEvent::Closed { link } => {
                _ = self.links.remove(link);
            }
        }
    }

    /// The machine asks something of the network.
    pub fn asked(&mut self, action: &NetAction) {
        match action {
            NetAction::Resolve { query, .. } => {
                fresh(&mut self.last.2, *query);
                self.queries.insert(*query);
            }
            NetAction::Listen { listener, .. } => {
                fresh(&mut self.last.1, *listener);
                self.listeners.insert(*listener, Listener::default());
            }
            NetAction::Accept { listener, link } => {
                fresh(&mut self.last.0, *link);
                let at = self.listeners.get_mut(listener).expect("an accept at no listener");
                assert!(at.open && !at.closing, "an accept at {listener}, which is not open");
                assert!(at.armed.is_none(), "a second accept at {listener}");
                at.armed = Some(*link);
            }
            NetAction::Unlisten { listener } => {
                let at = self.listeners.get_mut(listener).expect("no listener to close");
                assert!(at.open && !at.closing, "{listener} is not open");
                at.closing = true;
            }
            NetAction::Dial { link, .. } => {
                fresh(&mut self.last.0, *link);
                self.links.insert(*link, Link { dialling: true, ..Link::default() });
            }
            NetAction::Send { link, buffers } => {
                let len: usize = buffers.iter().map(|buffer| buffer.len()).sum();
                assert!((1..=self.max_send).contains(&len), "{len} bytes sent at once on {link}");
                let at = self.open(*link, action);
                assert!(!at.send, "a send on {link} while one is under way");
                assert!(!at.shut, "a send on {link} behind its end");
                at.send = true;
            }
            NetAction::Recv { link, max } => {
                assert!((1..=MAX_READ).contains(max), "a read of {max} bytes on {link}");
                let at = self.open(*link, action);
                assert!(at.recv.is_none(), "a second read on {link}");
                assert!(!at.ended, "a read on {link} behind its end");
                at.recv = Some(*max);
            }
            NetAction::Shutdown { link } => {
                let at = self.open(*link, action);
                assert!(!at.send, "{link} shut down with a send under way");
                assert!(!at.shut, "{link} shut down twice");
                (at.shut, at.shutting) = (true, true);
            }
            NetAction::Close { link } => {
                let at = self.links.get_mut(link).expect("no link to close");
                assert!(!at.closing, "{link} closed twice");
                at.closing = true;
            }
        }
    }

    fn open(&mut self, link: LinkId, action: &NetAction) -> &mut Link {
        let at = self.links.get_mut(&link);
        at.filter(|at| !at.dialling && !at.closing)
            .unwrap_or_else(|| panic!("{action:?}: the link is not open"))
    }

    /// The machine asks something of the disk.
    pub fn asked_disk(&mut self, action: &DiskAction) {
        fresh(&mut self.last.3, action.op);
        self.disk.insert(action.op);
        match &action.request {
            DiskRequest::OpenSource { tree, .. } | DiskRequest::OpenTarget { tree, .. } => {
                assert!(self.trees.insert(*tree), "{tree} is opened twice");
            }
            DiskRequest::ReadBlock { tree, .. }
            | DiskRequest::ReadRoot { tree }
            | DiskRequest::WriteBlock { tree, .. }
            | DiskRequest::Commit { tree, .. }
            | DiskRequest::CommitCopy { tree, .. } => {
                assert!(self.trees.contains(tree), "{:?}: the tree is not open", action.request);
            }
            DiskRequest::CloseTree { tree, .. } => {
                assert!(self.trees.remove(tree), "{tree} is closed, and not open");
            }
            DiskRequest::MakeFolder { .. } | DiskRequest::RemoveFolder { .. } => {}
        }
    }

    /// The disk has completed a request; false if nobody waits for it.
    pub fn completed_disk(&mut self, op: OpId) -> bool {
        self.disk.remove(&op)
    }

    /// An open of this tree has failed: it does not exist.
    pub fn not_opened(&mut self, tree: TreeId) {
        self.trees.remove(&tree);
    }
}
