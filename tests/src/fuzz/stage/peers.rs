//! What peers do, and what passes between them and the machine.

use super::{PEERS, Stage, Subject};
use crate::fuzz::peer;
use crate::fuzz::source::Source;
use crate::fuzz::stream::Stream;
use crate::fuzz::words::{self, On};
use std::collections::VecDeque;
use xxnet_core::connection::{ConnectionCommand, KindId};
use xxnet_core::net::{Endpoint, NetAction, NetError, NetEvent};
use xxnet_core::pack::{DataPack, PackType};
use xxnet_core::{ConnectionId, LinkId, Token};

impl<M: Subject> Stage<M> {
    pub(super) fn carry_peer(&mut self, i: usize, asked: Vec<NetAction>) {
        let mut todo = VecDeque::from(asked);
        while let Some(action) = todo.pop_front() {
            let at = |link: LinkId| move |stream: &&mut Stream| stream.peer == Some((i, link));
            let event = match action {
                NetAction::Listen { listener, address } => NetEvent::Listening { listener, address },
                NetAction::Unlisten { listener } => NetEvent::Unlistened { listener },
                NetAction::Resolve { query, .. } => {
                    NetEvent::Resolved { query, result: Err(NetError::NameNotFound) }
                }
                NetAction::Accept { listener, link } => {
                    self.peers[i].accept = Some((listener, link));
                    continue;
                }
                NetAction::Dial { link, address } => match self.contract.accepting() {
                    None => NetEvent::DialFailed { link, error: NetError::Refused },
                    Some((listener, accepted)) => {
                        let from = Endpoint::Ip(([10, 0, 0, i as u8 + 2], 40_000).into());
                        self.streams.push(Stream::new(accepted, Some((i, link))));
                        let (peer, local) = (from.clone(), address.clone());
                        self.net(NetEvent::Accepted { listener, link: accepted, peer, local });
                        NetEvent::Dialed { link, peer: address, local: from }
                    }
                },
                NetAction::Send { link, buffers } => {
                    if let Some(stream) = self.streams.iter_mut().find(at(link)) {
                        stream.say(peer::joined(&buffers));
                    }
                    NetEvent::Sent { link }
                }
                NetAction::Recv { link, max } => {
                    if let Some(stream) = self.streams.iter_mut().find(at(link)) {
                        stream.peer_recv = Some(max);
                    }
                    continue;
                }
                NetAction::Shutdown { link } => {
                    if let Some(stream) = self.streams.iter_mut().find(at(link)) {
                        stream.ended = true;
                    }
                    NetEvent::ShutdownDone { link }
                }
                NetAction::Close { link } => {
                    if let Some(stream) = self.streams.iter_mut().find(at(link)) {
                        stream.ended = true;
                        stream.peer = None;
                    }
                    NetEvent::Closed { link }
                }
            };
            todo.extend(self.peers[i].net(self.now, event));
        }
    }

    /// Gives a peer what the machine has said to it; whether there was anything.
    pub(super) fn hear(&mut self, at: usize) -> bool {
        let stream = &mut self.streams[at];
        let Some((i, link)) = stream.peer else { return false };
        let Some(max) = stream.peer_recv else { return false };
        let event = if !stream.to_peer.is_empty() {
            let len = stream.to_peer.len().min(max);
            NetEvent::Received { link, data: stream.to_peer.split_to(len).freeze() }
        } else if stream.machine_ended && !stream.peer_told {
            stream.peer_told = true;
            NetEvent::PeerClosed { link }
        } else {
            return false;
        };
        stream.peer_recv = None;
        let asked = self.peers[i].net(self.now, event);
        self.carry_peer(i, asked);
        true
    }

    /// Gives the machine up to `most` of what was said to it; whether there was anything to give.
    pub(super) fn deliver(&mut self, at: usize, most: usize) -> bool {
        let stream = &mut self.streams[at];
        let link = stream.machine;
        let Some(max) = self.contract.armed(link) else { return false };
        if !stream.to_machine.is_empty() {
            let len = stream.to_machine.len().min(max).min(most.max(1));
            let data = stream.to_machine.split_to(len).freeze();
            self.net(NetEvent::Received { link, data });
        } else if stream.ended && !stream.end_told {
            stream.end_told = true;
            self.net(NetEvent::PeerClosed { link });
        } else {
            return false;
        }
        true
    }

    pub(super) fn peer_dials(&mut self, source: &mut Source<'_>) {
        let kind = if source.rarely(8) { source.one(&peer::KINDS) } else { source.one(M::KINDS) };
        let (i, now) = (source.below(PEERS), self.now);
        let asked = self.peers[i].dial(now, kind, Endpoint::Ip(([10, 0, 0, 1], 7000).into()));
        self.carry_peer(i, asked);
    }

    /// Any message, on any connection.
    pub(super) fn peer_says(&mut self, source: &mut Source<'_>) {
        let (i, now) = (source.below(PEERS), self.now);
        let connected = self.peers[i].connected.clone();
        if connected.is_empty() {
            return;
        }
        let (id, ..) = source.one(&connected);
        let pack = if source.rarely(8) {
            DataPack::new(PackType((source.number() as u16).max(16)), source.bytes(60).to_vec())
        } else {
            words::any(source, now).into_pack()
        };
        let asked = self.peers[i].send(now, id, pack);
        self.carry_peer(i, asked);
    }

    /// What follows from something that was heard.
    pub(super) fn peer_answers(&mut self, source: &mut Source<'_>) {
        let (i, now) = (source.below(PEERS), self.now);
        let peer = &mut self.peers[i];
        if peer.heard.is_empty() {
            return;
        }
        let back = source.below(peer.heard.len().min(4));
        let (on, heard) = peer.heard[peer.heard.len() - 1 - back].clone();
        let files = peer.connected.iter().rposition(|row| row.1 == KindId::FILE);
        let far = files.map_or(ConnectionId(0), |at| peer.far[at]);
        let Some((which, message)) = words::answer(source, now, &heard, far) else { return };
        let id = match which {
            On::Same => on,
            On::Files => files.map_or(on, |at| peer.connected[at].0),
            On::Tasks => peer.connected.iter().rfind(|row| row.1 == KindId::TASK).map_or(on, |row| row.0),
        };
        let asked = peer.send(now, id, message.into_pack());
        self.carry_peer(i, asked);
    }

    /// A peer's application does something to a connection.
    pub(super) fn peer_does(&mut self, source: &mut Source<'_>) {
        let (i, now) = (source.below(PEERS), self.now);
        let connected = self.peers[i].connected.clone();
        if connected.is_empty() {
            return;
        }
        let (id, _, sequence) = source.one(&connected);
        let token = Token(0);
        let command = match source.below(6) {
            0 => ConnectionCommand::Close { token, id },
            1 => ConnectionCommand::Pause { id },
            2 => ConnectionCommand::Resume { id },
            3 => ConnectionCommand::Ping { token, id },
            _ => ConnectionCommand::Taken { id, sequence },
        };
        let asked = self.peers[i].command(now, command);
        self.carry_peer(i, asked);
    }
}
