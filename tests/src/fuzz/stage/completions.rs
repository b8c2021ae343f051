//! What the machine has asked for completes, well or not.

use super::{PEERS, Pending, Stage, Subject, link_of};
use crate::fuzz::peer;
use crate::fuzz::source::Source;
use crate::fuzz::stream::Stream;
use crate::fuzz::words::{self, FILE_LEN, MANIFEST_LEN};
use bytes::Bytes;
use xxnet_core::disk::{BLOCK, Beside, DiskAction, DiskDone, DiskEvent, DiskRequest, Hash};
use xxnet_core::net::{Endpoint, NetAction, NetError, NetEvent};
use xxnet_core::{Event, LinkId};

impl<M: Subject> Stage<M> {
    pub(super) fn complete(&mut self, at: usize, source: Option<&mut Source<'_>>) {
        let Some(pending) = self.pending.remove(at) else { return };
        match pending {
            Pending::Net(action) => self.complete_net(action, source),
            Pending::Disk(action) => self.complete_disk(action, source),
        }
    }

    /// Well, unless a source says otherwise.
    fn complete_net(&mut self, action: NetAction, source: Option<&mut Source<'_>>) {
        let error = source.and_then(|source| {
            let errors = [NetError::Refused, NetError::TimedOut, NetError::Exhausted, NetError::Reset];
            source.rarely(3).then(|| source.one(&errors))
        });
        match (action, error) {
            (NetAction::Resolve { query, port, .. }, error) => {
                let found = match port {
                    7000 => vec![([10, 0, 0, 3], 7000).into(), ([10, 0, 0, 9], 7000).into()],
                    _ => vec![([10, 0, 0, 9], port).into()],
                };
                self.net(NetEvent::Resolved { query, result: error.map_or(Ok(found), Err) });
            }
            (NetAction::Listen { listener, address }, None) => {
                self.net(NetEvent::Listening { listener, address });
            }
            (NetAction::Listen { listener, .. }, Some(error)) => {
                self.net(NetEvent::ListenFailed { listener, error });
            }
            (NetAction::Unlisten { listener }, _) => self.net(NetEvent::Unlistened { listener }),
            (NetAction::Dial { link, address }, None) => self.dialled(link, address),
            (NetAction::Dial { link, .. }, Some(error)) => self.net(NetEvent::DialFailed { link, error }),
            (NetAction::Send { link, .. }, Some(error)) => self.broke(link, error),
            (NetAction::Send { link, .. }, None) => self.net(NetEvent::Sent { link }),
            (NetAction::Shutdown { link }, _) => self.net(NetEvent::ShutdownDone { link }),
            (NetAction::Close { link }, _) => self.net(NetEvent::Closed { link }),
            (NetAction::Recv { .. } | NetAction::Accept { .. }, _) => {}
        }
    }

    /// The machine's dial succeeds: at a peer that listens there, or at a stranger.
    fn dialled(&mut self, link: LinkId, address: Endpoint) {
        let local = Endpoint::Ip(([10, 0, 0, 1], 40_000 + (link.0 % 10_000) as u16).into());
        let at = (0..PEERS).find(|i| peer::address(*i) == address);
        let accepting = at.and_then(|i| self.peers[i].accept.take().map(|armed| (i, armed)));
        let event = NetEvent::Dialed { link, peer: address.clone(), local: local.clone() };
        if !self.contract.awaits(&event) {
            return;
        }
        let end = accepting.map(|(i, (_, link))| (i, link));
        self.streams.push(Stream::new(link, end));
        if let Some((i, (listener, link))) = accepting {
            let asked = self.peers[i]
                .net(self.now, NetEvent::Accepted { listener, link, peer: local, local: address });
            self.carry_peer(i, asked);
        }
        self.net(event);
    }

    /// A link breaks; its peer learns it as an end.
    pub(super) fn broke(&mut self, link: LinkId, error: NetError) {
        self.pending
            .retain(|pending| !matches!(pending, Pending::Net(other) if link_of(other) == Some(link)));
        self.end(link);
        self.net(NetEvent::Broken { link, error });
    }

    fn complete_disk(&mut self, action: DiskAction, source: Option<&mut Source<'_>>) {
        let mut odd = 0;
        let error = source.and_then(|source| {
            odd = source.number();
            source.rarely(3).then(|| words::file_error(source))
        });
        let opened = match &action.request {
            DiskRequest::OpenSource { tree, .. } | DiskRequest::OpenTarget { tree, .. } => Some(*tree),
            _ => None,
        };
        let done = match action.request {
            DiskRequest::OpenSource { .. } => DiskDone::Opened {
                // Sometimes a file of many blocks.
                stream_len: FILE_LEN + (odd % 3) * BLOCK,
                manifest_len: MANIFEST_LEN,
                stamp: odd,
            },
            DiskRequest::ReadBlock { .. } => {
                DiskDone::Block { data: Bytes::from(vec![0; FILE_LEN as usize]), hash: Hash([7; 32]) }
            }
            DiskRequest::ReadRoot { .. } => DiskDone::Root { root: Hash([7; 32]) },
            DiskRequest::Commit { .. } | DiskRequest::CommitCopy { .. } => {
                DiskDone::Committed { beside: Beside::default() }
            }
            // Sometimes there is something, and sometimes more than that.
            DiskRequest::OpenTarget { origin: Some(_), .. } if odd % 2 == 1 => {
                DiskDone::Resumed { blocks: odd % 5 }
            }
            DiskRequest::MakeFolder { .. }
            | DiskRequest::RemoveFolder { .. }
            | DiskRequest::OpenTarget { .. }
            | DiskRequest::WriteBlock { .. }
            | DiskRequest::CloseTree { .. } => DiskDone::Nothing,
        };
        if let (Some(tree), Some(_)) = (opened, &error) {
            self.contract.not_opened(tree);
        }
        assert!(self.contract.completed_disk(action.op));
        let result = error.map_or(Ok(done), Err);
        self.feed(Event::Disk(DiskEvent { op: action.op, result }));
    }
}
