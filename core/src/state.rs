//! A machine's whole state as bytes: to be kept, and to go on from with the same machine of the same version. Never on the wire.
//!
//! What is in it is what the machine is, without a second look: a state that somebody has made up may be one that no machine ever
//! reaches. So keep a checksum with it. Whatever the bytes are, reading them ends, and takes memory as they are long.

use crate::ClusterKey;
use crate::machine::Machine;
use crate::wire::{self, WireError};
use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize};

/// A machine whose state can be kept. The one that is read does from then on what the one that was written does.
pub trait Kept: Machine + Serialize + DeserializeOwned {
    /// Gives every part the cluster's key, which no state contains.
    fn set_key(&mut self, key: &ClusterKey);

    /// All that the machine is, but for the key. Takes as long as the state is large.
    fn to_state(&self) -> Vec<u8> {
        wire::encode(self)
    }

    /// The machine that exactly these bytes stand for, with this key.
    ///
    /// # Errors
    /// They are no state of this machine, or another version's.
    fn from_state(bytes: &[u8], key: &ClusterKey) -> Result<Self, WireError> {
        let mut machine: Self = wire::decode(bytes)?;
        machine.set_key(key);
        Ok(machine)
    }
}

/// A text of the program's own, by a name that `Deserialize` does not take for something to borrow.
pub(crate) type Text = &'static str;

/// Reads a [`Text`]. There are few and short ones, a state is read once, and such a text is compared and shown like
/// any other, so that it may as well live as long as the process.
pub(crate) fn text<'de, D: Deserializer<'de>>(from: D) -> Result<Text, D::Error> {
    let text: Box<str> = String::deserialize(from)?.into_boxed_str();
    Ok(if text.is_empty() { "" } else { Box::leak(text) })
}
