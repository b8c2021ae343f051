//! What is received.

use crate::messages::Payload;
use crate::messages::message::bytes_of;
use bytes::Bytes;
use std::ops::Deref;
use xxnet_core::pack::{DataPack, PackType, ValueError};
use xxnet_core::{ConnectionId, Dict};

/// A message: one that has come, or one of ours that was not acknowledged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    pub(super) on: ConnectionId,
    /// Which session or link of that connection.
    pub(super) epoch: u64,
    pub(super) pack: DataPack,
}

impl Message {
    pub(super) fn new(on: ConnectionId, epoch: u64, pack: DataPack) -> Self {
        Self { on, epoch, pack }
    }

    /// The connection that it came or went on.
    pub fn on(&self) -> ConnectionId {
        self.on
    }

    /// Counts a session's messages from 1, each way; 0 on a plain kind.
    pub fn sequence(&self) -> u64 {
        self.pack.sequence
    }

    /// Whether it is a dict.
    pub fn is_dict(&self) -> bool {
        self.pack.pack_type == PackType::DICT
    }

    /// The dict; [`Dict::deserialize`] makes any serde type of it.
    ///
    /// # Errors
    /// It is none: raw bytes, or a dict that its sender wrote wrongly.
    pub fn dict(&self) -> Result<Dict, ValueError> {
        Dict::from_pack(&self.pack)
    }

    /// The data as bytes, as they lie where they were read: of a raw message what was sent, of a dict how it is written.
    pub fn bytes(&self) -> Bytes {
        bytes_of(self.pack.clone())
    }

    /// What it carries.
    ///
    /// # Errors
    /// A dict that its sender wrote wrongly.
    pub fn into_payload(self) -> Result<Payload, ValueError> {
        Payload::of(self.pack)
    }

    /// The pack itself, for pack types of one's own.
    pub fn into_pack(self) -> DataPack {
        self.pack
    }
}

/// A message that does not count as taken yet: its sender goes on to count it as not acknowledged, and everything behind it.
///
/// [`ConnectionManager::take`](super::ConnectionManager::take) says that it is taken. One that is dropped instead never is, and
/// is told to its sender as undelivered when the session ends.
#[derive(Debug, PartialEq, Eq)]
#[must_use = "what is held and never taken holds back every acknowledgement behind it"]
pub struct Held(pub(super) Message);

impl Deref for Held {
    type Target = Message;

    fn deref(&self) -> &Message {
        &self.0
    }
}
