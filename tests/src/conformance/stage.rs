//! What scenarios are written with: nodes, what they are asked, and waits for what must come.

use super::{Command, Kind, Node, Notice, RelayCommand, RelayNotice, Report, Request, Runtime, Subject};
use bytes::{Bytes, BytesMut};
use std::collections::VecDeque;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;
use xxnet_core::net::{Endpoint, NetAction, NetError, NetEvent};
use xxnet_core::{ClusterKey, Config, InstanceId, LinkId, ListenerId};

/// For deadlines and drains that are never reached.
pub(super) const LONG: Duration = Duration::from_secs(20);
/// How long something that must not come is waited for.
pub(super) const MOMENT: Duration = Duration::from_millis(100);

/// A scenario's nodes, on the runtime under test.
pub struct Stage<'a> {
    runtime: &'a mut dyn Runtime,
    nodes: Vec<Mailbox>,
    ids: u64,
}

/// What a node has told and no scenario has asked for yet.
#[derive(Default)]
struct Mailbox {
    waiting: VecDeque<Notice>,
    stopped: bool,
}

impl fmt::Debug for Stage<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stage").field("nodes", &self.nodes.len()).finish_non_exhaustive()
    }
}

impl<'a> Stage<'a> {
    pub(super) fn new(runtime: &'a mut dyn Runtime) -> Self {
        Self { runtime, nodes: Vec::new(), ids: 0 }
    }

    /// Nothing that the runtime did was wrong, seen or not.
    pub(super) fn end(mut self) {
        for node in 0..self.nodes.len() {
            if !self.nodes[node].stopped {
                self.report(node);
            }
        }
        for node in 0..self.nodes.len() {
            self.stop(node);
        }
    }

    pub(super) fn start(&mut self, kind: Kind) -> Node {
        self.runtime.start(Subject::new(kind));
        self.nodes.push(Mailbox::default());
        self.nodes.len() - 1
    }

    pub(super) fn stop(&mut self, node: Node) {
        if !std::mem::replace(&mut self.nodes[node].stopped, true) {
            self.runtime.stop(node);
        }
    }

    pub(super) fn command(&mut self, node: Node, command: Command) {
        self.runtime.command(node, command);
    }

    pub(super) fn ip(&self) -> IpAddr {
        self.runtime.ip()
    }

    pub(super) fn name(&self) -> String {
        self.runtime.name()
    }

    pub(super) fn has_ipv6(&self) -> bool {
        self.runtime.has_ipv6()
    }

    pub(super) fn socket_file(&self) -> Option<String> {
        self.runtime.socket_file()
    }

    /// Any free port.
    pub(super) fn any(&self) -> SocketAddr {
        SocketAddr::new(self.ip(), 0)
    }

    pub(super) fn id(&mut self) -> u64 {
        self.ids += 1;
        self.ids
    }

    // ---- waiting ----

    fn next(&mut self, node: Node, within: Duration) -> Option<Notice> {
        let notice = self.runtime.next(node, within)?;
        if let Notice::Violation(what) = &notice {
            panic!("node {node}: the runtime must not do this: {what}");
        }
        Some(notice)
    }

    /// The first notice that is wanted, of those that wait and those that come; the others go on waiting.
    pub(super) fn wait(&mut self, node: Node, what: &str, mut wanted: impl FnMut(&Notice) -> bool) -> Notice {
        if let Some(at) = self.nodes[node].waiting.iter().position(&mut wanted)
            && let Some(notice) = self.nodes[node].waiting.remove(at)
        {
            return notice;
        }
        let end = self.runtime.now() + self.runtime.patience();
        loop {
            let Some(notice) = self.next(node, end.saturating_sub(self.runtime.now())) else {
                panic!("node {node}: {what} did not come, only\n{}", self.told())
            };
            if wanted(&notice) {
                return notice;
            }
            self.nodes[node].waiting.push_back(notice);
        }
    }

    /// What all nodes have told and nobody has asked for, for whoever reads of a failure.
    fn told(&mut self) -> String {
        let mut text = String::new();
        for node in 0..self.nodes.len() {
            while let Some(notice) = self.runtime.next(node, Duration::ZERO) {
                self.nodes[node].waiting.push_back(notice);
            }
            let line = format!("node {node}: {:?}", self.nodes[node].waiting);
            text.extend(line.chars().take(1000).chain(['\n']));
        }
        text
    }

    /// Nothing of the unwanted comes for so long.
    pub(super) fn quiet(&mut self, node: Node, time: Duration, mut unwanted: impl FnMut(&Notice) -> bool) {
        let mut check = |notice: &Notice| assert!(!unwanted(notice), "node {node}: unexpected {notice:?}");
        self.nodes[node].waiting.iter().for_each(&mut check);
        let end = self.runtime.now() + time;
        while let Some(notice) = self.next(node, end.saturating_sub(self.runtime.now())) {
            check(&notice);
            self.nodes[node].waiting.push_back(notice);
        }
    }

    pub(super) fn report(&mut self, node: Node) -> Report {
        self.command(node, Command::Report);
        match self.wait(node, "a report", |notice| matches!(notice, Notice::Report(_))) {
            Notice::Report(report) => report,
            other => unreachable!("{other:?}"),
        }
    }

    /// Waits until a node's report is as it should be.
    pub(super) fn until(&mut self, node: Node, what: &str, holds: impl Fn(&Report) -> bool) -> Report {
        let mut report = self.report(node);
        let end = self.runtime.now() + self.runtime.patience();
        while !holds(&report) {
            assert!(self.runtime.now() < end, "node {node}: {what} does not come true: {report:?}");
            self.quiet(node, Duration::from_millis(10), |_| false);
            report = self.report(node);
        }
        report
    }

    // ---- raw nodes ----

    pub(super) fn raw(&mut self) -> Node {
        self.start(Kind::Raw)
    }

    /// Asks all of these in one turn.
    pub(super) fn ask(&mut self, node: Node, actions: impl IntoIterator<Item = NetAction>) {
        let requests = actions.into_iter().map(Request::Net).collect();
        self.command(node, Command::Raw(requests));
    }

    pub(super) fn net(
        &mut self,
        node: Node,
        what: &str,
        mut wanted: impl FnMut(&NetEvent) -> bool,
    ) -> NetEvent {
        let is_wanted = |notice: &Notice| matches!(notice, Notice::Net(event) if wanted(event));
        match self.wait(node, what, is_wanted) {
            Notice::Net(event) => event,
            other => unreachable!("{other:?}"),
        }
    }

    /// What a raw node hears next, whatever it is.
    pub(super) fn any_net(&mut self, node: Node) -> NetEvent {
        self.net(node, "anything", |_| true)
    }

    /// The next thing that a raw node hears is this.
    pub(super) fn hears(&mut self, node: Node, event: NetEvent) {
        let heard = self.any_net(node);
        assert_eq!(heard, event, "node {node}");
    }

    pub(super) fn listen(&mut self, node: Node, address: SocketAddr) -> Result<Place, NetError> {
        let (listener, address) = self.listen_at(node, address.into())?;
        Ok(Place { listener, address: over_ip(&address) })
    }

    pub(super) fn listen_at(
        &mut self,
        node: Node,
        address: Endpoint,
    ) -> Result<(ListenerId, Endpoint), NetError> {
        let listener = ListenerId(self.id());
        self.ask(node, [NetAction::Listen { listener, address }]);
        let is_answer = |event: &NetEvent| matches!(event, NetEvent::Listening { listener: told, .. } | NetEvent::ListenFailed { listener: told, .. } if *told == listener);
        match self.net(node, "the end of a listen", is_answer) {
            NetEvent::Listening { address, .. } => Ok((listener, address)),
            NetEvent::ListenFailed { error, .. } => Err(error),
            other => unreachable!("{other:?}"),
        }
    }

    pub(super) fn unlisten(&mut self, node: Node, listener: ListenerId) {
        self.ask(node, [NetAction::Unlisten { listener }]);
        self.net(node, "the end of a listener", |event| *event == NetEvent::Unlistened { listener });
    }

    pub(super) fn dial(&mut self, node: Node, address: SocketAddr) -> Result<(LinkId, SocketAddr), NetError> {
        let (link, local) = self.dial_to(node, address.into())?;
        Ok((link, over_ip(&local)))
    }

    /// The new link, and the address of our end of it.
    pub(super) fn dial_to(&mut self, node: Node, address: Endpoint) -> Result<(LinkId, Endpoint), NetError> {
        let link = LinkId(self.id());
        self.ask(node, [NetAction::Dial { link, address }]);
        let is_end = |event: &NetEvent| matches!(event, NetEvent::Dialed { link: told, .. } | NetEvent::DialFailed { link: told, .. } if *told == link);
        match self.net(node, "the end of a dial", is_end) {
            NetEvent::Dialed { local, .. } => Ok((link, local)),
            NetEvent::DialFailed { error, .. } => Err(error),
            other => unreachable!("{other:?}"),
        }
    }

    /// A link between two raw nodes, through a place where the second listens.
    pub(super) fn link(&mut self, from: Node, to: Node, place: Place) -> Pair {
        let link = LinkId(self.id());
        self.ask(to, [NetAction::Accept { listener: place.listener, link }]);
        let (dialled, local) = self.dial(from, place.address).expect("somebody listens");
        match self.net(to, "a newcomer", |event| matches!(event, NetEvent::Accepted { .. })) {
            NetEvent::Accepted { link: told, peer, local: here, listener } => {
                assert_eq!((told, listener), (link, place.listener));
                assert_eq!(peer, local.into(), "each end knows the other's address");
                assert_eq!(here, place.address.into());
            }
            other => unreachable!("{other:?}"),
        }
        Pair { from, near: dialled, to, far: link }
    }

    /// Two raw nodes and a link.
    pub(super) fn pair(&mut self) -> Pair {
        let (from, to) = (self.raw(), self.raw());
        let any = self.any();
        let place = self.listen(to, any).expect("a free port");
        self.link(from, to, place)
    }

    pub(super) fn send(&mut self, node: Node, link: LinkId, bytes: impl Into<Bytes>) {
        self.ask(node, [NetAction::Send { link, buffers: vec![bytes.into()] }]);
    }

    /// Sends, and waits until all is taken.
    pub(super) fn sent(&mut self, node: Node, link: LinkId, bytes: impl Into<Bytes>) {
        self.send(node, link, bytes);
        self.net(node, "the end of a send", |event| *event == NetEvent::Sent { link });
    }

    /// Reads exactly so many bytes, at most `max` at once.
    pub(super) fn read(&mut self, node: Node, link: LinkId, count: usize, max: usize) -> Bytes {
        let mut got = BytesMut::with_capacity(count);
        while got.len() < count {
            let max = max.min(count - got.len());
            self.ask(node, [NetAction::Recv { link, max }]);
            let is_data =
                |event: &NetEvent| matches!(event, NetEvent::Received { link: told, .. } if *told == link);
            match self.net(node, "bytes", is_data) {
                NetEvent::Received { data, .. } => got.extend_from_slice(&data),
                other => unreachable!("{other:?}"),
            }
        }
        got.freeze()
    }

    /// Closes a link, unless the other end was quicker to end it.
    pub(super) fn close(&mut self, node: Node, link: LinkId) {
        self.ask(node, [NetAction::Close { link }]);
        self.net(
            node,
            "the end of a link",
            |event| matches!(event, NetEvent::Closed { link: told } | NetEvent::Broken { link: told, .. } if *told == link),
        );
    }

    // ---- relays ----

    /// A relay to somewhere, and where it listens.
    pub(super) fn relay(&mut self, to: SocketAddr, cuts: Vec<u64>) -> (Node, SocketAddr) {
        let node = self.start(Kind::Relay);
        let listen = self.any();
        self.command(node, Command::Relay(RelayCommand::Open { listen, to, cuts }));
        match self.wait(node, "a relay", |notice| matches!(notice, Notice::Relay(RelayNotice::Open(_)))) {
            Notice::Relay(RelayNotice::Open(at)) => (node, at),
            other => unreachable!("{other:?}"),
        }
    }

    // ---- the core's machines ----

    /// What a node of the core's machines is: its number is its name, its instance and its seed.
    pub(super) fn config(&self, change: impl FnOnce(&mut Config)) -> Box<Config> {
        let number = self.nodes.len() as u8 + 1;
        let key = ClusterKey(*b"a cluster key that is 32 bytes !");
        let mut config =
            Config::new(InstanceId([number; 16]), format!("node-{number}"), key, u64::from(number));
        change(&mut config);
        Box::new(config)
    }
}

/// Where a raw node listens.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    pub(super) listener: ListenerId,
    pub(super) address: SocketAddr,
}

/// A link between two raw nodes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pair {
    pub(super) from: Node,
    pub(super) near: LinkId,
    pub(super) to: Node,
    pub(super) far: LinkId,
}

/// Bytes that are not alike anywhere.
pub(super) fn noise(len: usize, seed: u64) -> Bytes {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut bytes = Vec::with_capacity(len + 8);
    while bytes.len() < len {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(len);
    bytes.into()
}

/// Of what goes over IP.
pub(super) fn over_ip(endpoint: &Endpoint) -> SocketAddr {
    endpoint.socket().expect("an IP address")
}
