//! What a trace file holds: JSON lines, made to be read by any tool.
//!
//! ```text
//! {"xxnet-trace":1,"node":"executor-1","role":"executor","instance":"3fa9c1d2","clock":"…","at":1000,"wall":1764316800000000}
//! {"t":1042,"e":"dial","link":1,"to":"10.0.0.2:7700"}
//! {"t":1377,"e":"sent","link":1,"end":212,"len":178,"sum":96,"pack":{"name":"Hello","kind":"registration",…}}
//! ```
//!
//! - The first line is a [`Header`]: whose trace this is. A file may hold those of several nodes, or of several runs of one: each
//!   has a header, and a record says by `n` to which it belongs (0, the first, if it does not say).
//! - Each further line is one [`Record`]: `t` is when, in microseconds of the header's clock; `e` is what ([`What`]); the rest
//!   depends on that.
//! - Records of one node stand in the order in which they happened.
//! - A reader skips fields that it does not know. A last line that is cut off (the process was killed) is no error.
//!
//! What is said in a trace: messages in words, with addresses, names, command lines and the dicts that programs send. Not in it:
//! what files hold, what commands read and print, the values of environment variables, and more of a nonce or a proof than its
//! first bytes.

use serde::{Deserialize, Serialize};

/// The version of the format.
pub const VERSION: u32 = 1;

/// Whose trace it is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    /// [`VERSION`]; this field is what tells a trace from other files.
    #[serde(rename = "xxnet-trace")]
    pub version: u32,
    /// The node's name.
    pub node: String,
    /// "registry", "executor", …
    #[serde(default)]
    pub role: String,
    /// The first eight digits of its instance id; empty if it is told by what it says.
    #[serde(default)]
    pub instance: String,
    /// Traces with the same clock can be compared as they are: one boot of one host, or one simulated world.
    #[serde(default)]
    pub clock: String,
    /// When this was written, on that clock, in microseconds.
    #[serde(default)]
    pub at: u64,
    /// The same moment in microseconds since 1970; none in a simulated world.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wall: Option<u64>,
}

/// One thing that happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// When, in microseconds of its header's clock.
    pub t: u64,
    /// To which of the file's headers it belongs, counted from 0.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub n: u32,
    /// What.
    #[serde(flatten)]
    pub what: What,
}

#[allow(clippy::trivially_copy_pass_by_ref)]
fn is_zero(number: &u32) -> bool {
    *number == 0
}

/// What can happen. `link` counts the TCP streams of one node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "e", rename_all = "kebab-case")]
pub enum What {
    /// It asks for a connection.
    Dial {
        /// Which link it will be.
        link: u64,
        /// The address.
        to: String,
    },
    /// It is there.
    Dialed {
        /// Which link.
        link: u64,
        /// This end's address.
        local: String,
        /// The other end's.
        peer: String,
    },
    /// It is not there.
    DialFailed {
        /// Which link.
        link: u64,
        /// In words.
        why: String,
    },
    /// Somebody else's has come.
    Accepted {
        /// Which link.
        link: u64,
        /// This end's address.
        local: String,
        /// The other end's.
        peer: String,
    },
    /// A link that was there before this file began.
    Known {
        /// Which link.
        link: u64,
        /// This end's address.
        local: String,
        /// The other end's.
        peer: String,
        /// Whether this end has dialled it.
        dialled: bool,
        /// Its kind of connection, if that was said.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        kind: String,
    },
    /// A whole message was handed to the network.
    Sent(Passed),
    /// A whole message has come and was handed to the machine.
    Got(Passed),
    /// Bytes that are no message; what follows on this link in this direction cannot be read either.
    Unreadable {
        /// Which link.
        link: u64,
        /// Whether this end was sending.
        #[serde(default)]
        sending: bool,
        /// Where the stream could be read up to.
        end: u64,
        /// In words.
        why: String,
    },
    /// This end closes the link.
    Close {
        /// Which link.
        link: u64,
    },
    /// The other end will send no more.
    PeerClosed {
        /// Which link.
        link: u64,
    },
    /// The network says that the link is dead.
    Broken {
        /// Which link.
        link: u64,
        /// In words.
        why: String,
    },
    /// A timer was due, and something came of it.
    Timer,
    /// The application asked for something.
    Command(Said),
    /// The application was told something.
    Notice(Said),
    /// The disk was asked for, or has done, something.
    Disk(Said),
    /// A command starts.
    Spawn {
        /// Which run of this node.
        run: u64,
        /// In words.
        say: String,
    },
    /// A command has ended, or could not start.
    Exit {
        /// Which run of this node.
        run: u64,
        /// In words.
        say: String,
    },
    /// The node itself stops for a while, or goes on.
    State {
        /// "frozen", "asleep", "running".
        state: String,
    },
    /// The node's process is no more.
    Gone {
        /// In words.
        why: String,
    },
    /// A fault was injected. With `n` of no header it struck the world and no node.
    Fault(Said),
    /// A remark of whoever wrote the trace.
    Remark(Said),
    /// A promise was broken; the run ends with it.
    Failure(Said),
    /// So many records were left out here, to keep the trace within its bound.
    LeftOut {
        /// How many.
        count: u64,
    },
}

/// `n` of what happens to no node in particular.
pub const WORLD: u32 = u32::MAX;

/// Something in words.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Said {
    /// In a word or two.
    pub name: String,
    /// As a sentence.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub say: String,
    /// 0: routine; 1: worth a look; 2: something went wrong.
    #[serde(default, skip_serializing_if = "is_routine")]
    pub weight: u8,
}

#[allow(clippy::trivially_copy_pass_by_ref)]
fn is_routine(weight: &u8) -> bool {
    *weight == 0
}

/// A message on a link.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Passed {
    /// Which link.
    pub link: u64,
    /// Where its last byte stands in the link's stream of this direction.
    pub end: u64,
    /// Bytes on the wire.
    pub len: u64,
    /// The checksum in its header: with `end` it tells one message from another.
    pub sum: u32,
    /// The message.
    pub pack: Pack,
}

/// A message in words.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pack {
    /// What it is called.
    pub name: String,
    /// The kind of connection that it goes over; empty if that is not known.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub kind: String,
    /// Its sequence number; 0 where there is none.
    #[serde(default, skip_serializing_if = "is_none")]
    pub seq: u64,
    /// How many of the peer's messages it acknowledges; 0 where there is none.
    #[serde(default, skip_serializing_if = "is_none")]
    pub ack: u64,
    /// For an arrow: the name, and the one thing that tells it from the next.
    pub label: String,
    /// What its sender says with it, as "… asks for …", without the sender.
    pub say: String,
    /// Its fields.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub more: Vec<(String, String)>,
    /// Who the sender says it is: instance and name (handshake).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub who: Option<(String, String)>,
}

#[allow(clippy::trivially_copy_pass_by_ref)]
fn is_none(number: &u64) -> bool {
    *number == 0
}
