//! Reads along at the doors of all machines: which message goes over which kind of connection, and when one that a test waits
//! for has passed.
//!
//! The network itself knows bytes and nothing of the protocol; what a test wants to happen behind one certain message is
//! told by this.

use crate::context::ProcId;
use bytes::Bytes;
use std::collections::BTreeMap;
use xxnet_core::connection::KindId;
use xxnet_core::handshake::Hello;
use xxnet_core::message::Message;
use xxnet_core::pack::{DataPack, Decoder, PackType};
use xxnet_core::{Limits, LinkId};

/// Which door a message passes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Door {
    /// Its sender's: it is given to the network, and nothing of it has arrived.
    Sent,
    /// Its receiver's: the machine has handled it, and nothing of what it said to that has arrived.
    Received,
}

impl Door {
    /// Both.
    pub const BOTH: [Self; 2] = [Self::Sent, Self::Received];
}

/// A message by its pack's type.
///
/// # Panics
/// If no message has this name.
pub(crate) fn pack_type(name: &str) -> PackType {
    let handshake =
        [("Hello", PackType::HELLO), ("Welcome", PackType::WELCOME), ("Confirm", PackType::CONFIRM)];
    let messages = Message::ALL.iter().map(|(number, name)| (*name, PackType(*number)));
    let found = handshake.into_iter().chain(messages).find(|(known, _)| *known == name);
    found.unwrap_or_else(|| panic!("no message is called {name}")).1
}

/// What a test waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Wanted {
    pub(crate) door: Door,
    pub(crate) kind: KindId,
    pub(crate) pack_type: PackType,
}

/// A message that has passed.
#[derive(Clone, Debug)]
pub(crate) struct Caught {
    pub(crate) proc: ProcId,
    pub(crate) link: LinkId,
    pub(crate) pack: DataPack,
}

/// Both directions of a link at one of its ends.
#[derive(Debug)]
struct Line {
    /// Known from its Hello on.
    kind: Option<KindId>,
    /// Sent and received; none behind bytes that are no pack.
    decoders: [Option<Decoder>; 2],
}

/// Everything that is known of what passes.
#[derive(Debug, Default)]
pub(crate) struct Tap {
    lines: BTreeMap<(ProcId, LinkId), Line>,
    counts: BTreeMap<(ProcId, Wanted), usize>,
    /// At whose door, if not at anybody's, and what.
    wanted: Option<(Option<ProcId>, Wanted)>,
    caught: Option<Caught>,
}

impl Tap {
    /// Waits for the next of these.
    pub(crate) fn want(&mut self, at: Option<ProcId>, wanted: Wanted) {
        self.wanted = Some((at, wanted));
        self.caught = None;
    }

    /// Whether it has passed.
    pub(crate) fn has_caught(&self) -> bool {
        self.caught.is_some()
    }

    /// What has passed.
    pub(crate) fn take(&mut self) -> Option<Caught> {
        self.wanted = None;
        self.caught.take()
    }

    /// How many of these have passed at a process's door.
    pub(crate) fn count(&self, proc: ProcId, wanted: Wanted) -> usize {
        self.counts.get(&(proc, wanted)).copied().unwrap_or(0)
    }

    /// The links of this kind that a process has had, newest first.
    pub(crate) fn links(&self, proc: ProcId, kind: KindId) -> Vec<LinkId> {
        let lines = self.lines.range((proc, LinkId(0))..=(proc, LinkId(u64::MAX))).rev();
        lines.filter(|(_, line)| line.kind == Some(kind)).map(|((_, link), _)| *link).collect()
    }

    /// Bytes pass.
    pub(crate) fn bytes<'a>(
        &mut self,
        proc: ProcId,
        link: LinkId,
        door: Door,
        pieces: impl IntoIterator<Item = &'a Bytes>,
    ) {
        let line = self.lines.entry((proc, link)).or_insert_with(Line::new);
        let slot = &mut line.decoders[door as usize];
        let Some(decoder) = slot else { return };
        pieces.into_iter().for_each(|piece| decoder.feed(piece.clone()));
        loop {
            let pack = match decoder.next() {
                Ok(Some(pack)) => pack,
                Ok(None) => return,
                // Altered under way, or no peer of ours: nothing behind it can be read.
                Err(_) => {
                    *slot = None;
                    return;
                }
            };
            if pack.pack_type == PackType::HELLO {
                line.kind = Hello::decode(&pack.head).ok().map(|hello| KindId(hello.kind));
            }
            let Some(kind) = line.kind else { continue };
            let what = Wanted { door, kind, pack_type: pack.pack_type };
            *self.counts.entry((proc, what)).or_default() += 1;
            let hit =
                self.wanted.is_some_and(|(at, wanted)| wanted == what && at.is_none_or(|at| at == proc));
            if hit && self.caught.is_none() {
                self.caught = Some(Caught { proc, link, pack });
            }
        }
    }
}

impl Line {
    fn new() -> Self {
        let decoder = || Some(Decoder::new(Limits::default().max_data));
        Self { kind: None, decoders: [decoder(), decoder()] }
    }
}
