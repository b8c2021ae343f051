//! What is sent and received.

use super::SendError;
use super::inbox::Peer;
use super::shared::Shared;
use bytes::Bytes;
use std::borrow::Cow;
use std::fmt;
use std::net::SocketAddr;
use std::ops::Deref;
use std::sync::Arc;
use xxnet_core::address::AddressError;
use xxnet_core::pack::{DataPack, Dict, PackType, ValueError};
use xxnet_core::{Address, InstanceId};

/// What a message carries.
#[derive(Clone, Debug, PartialEq)]
pub enum Payload {
    /// String keys to values.
    Dict(Dict),
    /// Bytes that mean something to their reader. They are passed on without a copy.
    Raw(Bytes),
}

/// What can be sent.
pub trait IntoPayload {
    /// As it travels.
    ///
    /// # Errors
    /// [`SendError::Data`] for a dict that cannot be written.
    fn into_pack(self) -> Result<DataPack, SendError>;
}

impl IntoPayload for &Dict {
    fn into_pack(self) -> Result<DataPack, SendError> {
        self.to_pack().map_err(SendError::Data)
    }
}

impl IntoPayload for Dict {
    fn into_pack(self) -> Result<DataPack, SendError> {
        (&self).into_pack()
    }
}

impl IntoPayload for Bytes {
    fn into_pack(self) -> Result<DataPack, SendError> {
        Ok(DataPack::new(PackType::RAW, self))
    }
}

impl IntoPayload for Vec<u8> {
    fn into_pack(self) -> Result<DataPack, SendError> {
        Bytes::from(self).into_pack()
    }
}

impl IntoPayload for &'static [u8] {
    fn into_pack(self) -> Result<DataPack, SendError> {
        Bytes::from_static(self).into_pack()
    }
}

impl IntoPayload for Payload {
    fn into_pack(self) -> Result<DataPack, SendError> {
        match self {
            Self::Dict(dict) => dict.into_pack(),
            Self::Raw(bytes) => bytes.into_pack(),
        }
    }
}

impl Payload {
    /// What a pack carries; one that is neither is shown as its bytes.
    pub(crate) fn of(pack: DataPack) -> Result<Self, ValueError> {
        if pack.pack_type == PackType::DICT {
            Dict::from_pack(&pack).map(Self::Dict)
        } else {
            Ok(Self::Raw(bytes_of(pack)))
        }
    }
}

/// All data of a pack as one piece; copied only if it lies in several.
pub(crate) fn bytes_of(pack: DataPack) -> Bytes {
    if pack.bulk.is_empty() {
        return pack.head;
    }
    let mut all = bytes::BytesMut::with_capacity(pack.data_len());
    all.extend_from_slice(&pack.head);
    pack.bulk.iter().for_each(|piece| all.extend_from_slice(piece));
    all.freeze()
}

/// A message that has come.
#[derive(Clone, Debug)]
pub struct Message {
    pub(super) peer: Arc<Peer>,
    pub(super) pack: DataPack,
}

impl Message {
    /// Where its sender can be sent to.
    pub fn from(&self) -> &Address {
        &self.peer.at
    }

    /// Which run of which process sent it.
    pub fn instance(&self) -> InstanceId {
        self.peer.instance
    }

    /// The sender's name, for people; may be empty.
    pub fn name(&self) -> &str {
        &self.peer.name
    }

    /// Whether it is a dict.
    pub fn is_dict(&self) -> bool {
        self.pack.pack_type == PackType::DICT
    }

    /// The dict.
    ///
    /// # Errors
    /// It is none: raw bytes, or a dict that its sender wrote wrongly.
    pub fn dict(&self) -> Result<Dict, ValueError> {
        Dict::from_pack(&self.pack)
    }

    /// The data as bytes: of a raw message what was sent, of a dict how it is written.
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
}

/// A message that has come and does not count as taken yet: its sender goes on to count it as not acknowledged.
///
/// What is dropped instead of taken stays so, unless a later message of the same peer is taken: an acknowledgement is for all
/// that came before.
pub struct Held {
    message: Message,
    shared: Arc<Shared>,
}

impl Held {
    pub(super) fn new(message: Message, shared: Arc<Shared>) -> Self {
        Self { message, shared }
    }

    /// It is taken, with all that came before it from the same peer.
    pub fn take(self) -> Message {
        self.shared.inbox.take(&self.message.peer, &self.message.pack, &self.shared);
        self.message
    }
}

impl Deref for Held {
    type Target = Message;

    fn deref(&self) -> &Message {
        &self.message
    }
}

impl fmt::Debug for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Held").field(&self.message).finish()
    }
}

/// What can be sent to.
pub trait ToAddress {
    /// The address.
    ///
    /// # Errors
    /// It is none.
    fn to_address(&self) -> Result<Cow<'_, Address>, AddressError>;
}

impl ToAddress for Address {
    fn to_address(&self) -> Result<Cow<'_, Address>, AddressError> {
        Ok(Cow::Borrowed(self))
    }
}

impl ToAddress for SocketAddr {
    fn to_address(&self) -> Result<Cow<'_, Address>, AddressError> {
        Ok(Cow::Owned(Address::Socket(*self)))
    }
}

impl ToAddress for str {
    fn to_address(&self) -> Result<Cow<'_, Address>, AddressError> {
        self.parse().map(Cow::Owned)
    }
}

impl ToAddress for String {
    fn to_address(&self) -> Result<Cow<'_, Address>, AddressError> {
        self.as_str().to_address()
    }
}

impl<T: ToAddress + ?Sized> ToAddress for &T {
    fn to_address(&self) -> Result<Cow<'_, Address>, AddressError> {
        (**self).to_address()
    }
}
