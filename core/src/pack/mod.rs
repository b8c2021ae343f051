//! The DataPack codec (seed §2.2 XxDataPack): `headersize | header | data`.
//!
//! [`Encoder`] makes buffers of packs, [`Decoder`] makes packs of whatever pieces arrive; [`DataHeader`] has the layout.
//! Neither knows what a pack means.

mod decoder;
mod encoder;
mod header;
mod rope;
mod value;
mod value_convert;
mod value_de;
mod value_keys;
mod value_ser;
mod value_wire;

pub use decoder::{DecodeError, Decoder};
pub use encoder::{EncodeError, Encoder, encode, encode_into};
pub use header::DataHeader;
pub use value::{Dict, Value, ValueError};
pub use value_convert::{ConvertError, ConvertReason};

use alloc::vec::Vec;
use bytes::Bytes;
use core::fmt;
use serde::{Deserialize, Serialize};

/// What a pack is, as its header says. The numbers are pinned by golden vectors.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct PackType(pub u16);

impl fmt::Debug for PackType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "pack-type-{}", self.0)
    }
}

impl PackType {
    /// First pack of the dialler.
    pub const HELLO: Self = Self(1);
    /// The acceptor's answer.
    pub const WELCOME: Self = Self(2);
    /// The dialler's proof; nothing switches before it.
    pub const CONFIRM: Self = Self(3);
    /// The other end is refused, with a code and a sentence.
    pub const REFUSE: Self = Self(4);
    /// Is anybody there? Up to 8 bytes of data come back with the answer.
    pub const PING: Self = Self(5);
    /// Yes; with the data of the newest ping that it answers.
    pub const PONG: Self = Self(6);
    /// The sender ends the connection on purpose.
    pub const GOODBYE: Self = Self(7);
    /// The chooser of a pair's links has chosen this one; `u64` number (PROTOCOL B 5).
    pub const USE: Self = Self(8);
    /// The other end agrees; `u64` number.
    pub const USING: Self = Self(9);
    /// Nothing but the header's acknowledgement.
    pub const ACK: Self = Self(10);
    /// A [`Dict`] of a library user.
    pub const DICT: Self = Self(16);
    /// Raw bytes of a library user.
    pub const RAW: Self = Self(17);
}

/// One framed message.
///
/// `head` is covered by the header's checksum. `bulk` is not: it is what a hash inside `head` vouches for (blocks), and
/// travels from socket to file in the pieces it came in.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct DataPack {
    /// What it is.
    pub pack_type: PackType,
    /// Counts the messages of a session from 1; 0 on plain kinds, and on packs that are no messages.
    pub sequence: u64,
    /// On session kinds: how many of the peer's messages the application has taken; 0 on plain kinds.
    pub acknowledgement: u64,
    /// The checked part of the data.
    pub head: Bytes,
    /// The rest of the data; empty for all but bulk packs.
    pub bulk: Vec<Bytes>,
}

impl DataPack {
    /// A pack of checked data alone.
    pub fn new(pack_type: PackType, head: impl Into<Bytes>) -> Self {
        Self { pack_type, sequence: 0, acknowledgement: 0, head: head.into(), bulk: Vec::new() }
    }

    /// Bytes of data, head and bulk together.
    pub fn data_len(&self) -> usize {
        self.head.len() + self.bulk.iter().map(Bytes::len).sum::<usize>()
    }
}
