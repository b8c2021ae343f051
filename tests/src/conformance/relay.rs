//! A machine that passes links on to another address and breaks them: the suite's own proxy, on the runtime under test itself.

use super::Notice;
use super::stage::over_ip;
use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use xxnet_core::net::{NetAction, NetEvent};
use xxnet_core::{Action, LinkId, ListenerId};

const LISTENER: ListenerId = ListenerId(1);
/// Bytes that are read at once: few, so that a cut is in the middle of something.
const PIECE: usize = 1000;

/// What a relay is asked.
#[derive(Clone, Debug)]
pub enum RelayCommand {
    /// Listen here and pass on to there → [`RelayNotice::Open`].
    Open {
        /// Here.
        listen: SocketAddr,
        /// There.
        to: SocketAddr,
        /// The first link is cut behind so many bytes, both ways together, the second behind so many, and so on; when there are no
        /// more of them, links live.
        cuts: Vec<u64>,
    },
    /// Read nothing any more, and say nothing about it.
    Mute,
}

/// What a relay tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RelayNotice {
    /// It listens.
    Open(SocketAddr),
    /// It has cut a link.
    Cut,
}

/// The machine.
#[derive(Debug, Default)]
pub(super) struct Relay {
    to: Option<SocketAddr>,
    cuts: VecDeque<u64>,
    /// Each link's other half, and what it stands at.
    links: BTreeMap<LinkId, Half>,
    last: u64,
    mute: bool,
}

#[derive(Debug)]
struct Half {
    other: LinkId,
    /// The peer of this half has said its last.
    ended: bool,
    /// Bytes until the cut, kept at both halves.
    left: u64,
}

type Out = Vec<Action<Notice>>;

impl Relay {
    pub(super) fn command(&mut self, command: RelayCommand, out: &mut Out) {
        match command {
            RelayCommand::Open { listen, to, cuts } => {
                self.to = Some(to);
                self.cuts = cuts.into();
                out.push(Action::Net(NetAction::Listen { listener: LISTENER, address: listen.into() }));
            }
            RelayCommand::Mute => self.mute = true,
        }
    }

    pub(super) fn net(&mut self, event: NetEvent, out: &mut Out) {
        match event {
            NetEvent::Listening { address, .. } => {
                out.push(Action::Notify(Notice::Relay(RelayNotice::Open(over_ip(&address)))));
                self.accept(out);
            }
            NetEvent::Accepted { link: near, .. } => {
                self.accept(out);
                let Some(address) = self.to else { return };
                let far = LinkId::next(&mut self.last);
                let left = self.cuts.pop_front().unwrap_or(u64::MAX);
                for (link, other) in [(near, far), (far, near)] {
                    self.links.insert(link, Half { other, ended: false, left });
                }
                out.push(Action::Net(NetAction::Dial { link: far, address: address.into() }));
            }
            NetEvent::Dialed { link: far, .. } => {
                let near = self.links.get(&far).map(|half| half.other);
                self.read(far, out);
                near.into_iter().for_each(|near| self.read(near, out));
            }
            NetEvent::Received { link, data } => {
                let Some(other) = self.passes(link, data.len() as u64) else {
                    self.close(link, out);
                    out.push(Action::Notify(Notice::Relay(RelayNotice::Cut)));
                    return;
                };
                out.push(Action::Net(NetAction::Send { link: other, buffers: vec![data] }));
            }
            NetEvent::Sent { link } => {
                if let Some(half) = self.links.get(&link) {
                    let other = half.other;
                    self.read(other, out);
                }
            }
            NetEvent::PeerClosed { link } => {
                let Some(half) = self.links.get_mut(&link) else { return };
                half.ended = true;
                let other = half.other;
                if self.links.get(&other).is_some_and(|half| half.ended) {
                    self.close(link, out);
                } else {
                    out.push(Action::Net(NetAction::Shutdown { link: other }));
                }
            }
            NetEvent::DialFailed { link, .. } | NetEvent::Broken { link, .. } => {
                if let Some(half) = self.links.remove(&link)
                    && self.links.remove(&half.other).is_some()
                {
                    out.push(Action::Net(NetAction::Close { link: half.other }));
                }
            }
            NetEvent::AcceptFailed { .. } => self.accept(out),
            NetEvent::Resolved { .. }
            | NetEvent::ListenFailed { .. }
            | NetEvent::Unlistened { .. }
            | NetEvent::ShutdownDone { .. }
            | NetEvent::Closed { .. } => {}
        }
    }

    fn accept(&mut self, out: &mut Out) {
        let link = LinkId::next(&mut self.last);
        out.push(Action::Net(NetAction::Accept { listener: LISTENER, link }));
    }

    fn read(&self, link: LinkId, out: &mut Out) {
        if self.links.get(&link).is_some_and(|half| !half.ended) && !self.mute {
            out.push(Action::Net(NetAction::Recv { link, max: PIECE }));
        }
    }

    /// Where so many bytes go; `None`: here the link is cut.
    fn passes(&mut self, link: LinkId, bytes: u64) -> Option<LinkId> {
        let half = self.links.get_mut(&link)?;
        let (other, left) = (half.other, half.left.checked_sub(bytes)?);
        half.left = left;
        self.links.get_mut(&other)?.left = left;
        Some(other)
    }

    fn close(&mut self, link: LinkId, out: &mut Out) {
        let Some(half) = self.links.remove(&link) else { return };
        self.links.remove(&half.other);
        for link in [link, half.other] {
            out.push(Action::Net(NetAction::Close { link }));
        }
    }
}
