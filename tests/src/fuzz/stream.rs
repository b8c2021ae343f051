//! One TCP stream between the machine and a peer, or a stranger whose bytes are the fuzzer's.

use bytes::{Bytes, BytesMut};
use xxnet_core::LinkId;
use xxnet_core::pack::{DataPack, encode_into};

/// Packs of a peer that are kept to be said again.
const KEPT: usize = 16;

#[derive(Debug)]
pub(super) struct Stream {
    /// The machine's end.
    pub(super) machine: LinkId,
    /// The peer's, unless it is a stranger or has given it up.
    pub(super) peer: Option<(usize, LinkId)>,
    pub(super) to_machine: BytesMut,
    /// The peer will say no more.
    pub(super) ended: bool,
    pub(super) end_told: bool,
    pub(super) to_peer: BytesMut,
    /// The machine will say no more.
    pub(super) machine_ended: bool,
    pub(super) peer_told: bool,
    pub(super) peer_recv: Option<usize>,
    said: Vec<Bytes>,
}

impl Stream {
    pub(super) fn new(machine: LinkId, peer: Option<(usize, LinkId)>) -> Self {
        Self {
            machine,
            peer,
            to_machine: BytesMut::new(),
            ended: false,
            end_told: false,
            to_peer: BytesMut::new(),
            machine_ended: false,
            peer_told: false,
            peer_recv: None,
            said: Vec::new(),
        }
    }

    /// The peer says something whole.
    pub(super) fn say(&mut self, bytes: Bytes) {
        if !self.ended {
            self.to_machine.extend_from_slice(&bytes);
            self.said.truncate(KEPT - 1);
            self.said.insert(0, bytes);
        }
    }

    /// A pack that the peer's machine would never say.
    pub(super) fn inject(&mut self, pack: &DataPack) {
        if !self.ended && encode_into(pack, &mut self.to_machine).is_err() {
            self.ended = true;
        }
    }

    /// Something that was said is said again.
    pub(super) fn replay(&mut self, which: usize) {
        if let Some(bytes) = self.said.get(which).filter(|_| !self.ended) {
            self.to_machine.extend_from_slice(bytes);
        }
    }
}
