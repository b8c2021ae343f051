//! What is said in rooms: each utterance goes to all others of its room, as a message for each of them.
//!
//! It knows nothing of addresses and sessions: only who said what where, in which order, and who heard it.
//!
//! | oracle | promise |
//! | --- | --- |
//! | `room` | nobody hears what is said in a room that it is not in, or what it says itself |
//! | `chat-order` | of each speaker, a member hears the room's utterances in their order, and none twice |
//! | `chat-lost` | in peace, each utterance has come to each member that is still the same process, unless its speaker was told that it has not |
//!
//! Whatever comes to a wrong node breaks `address` first, which is asked before `room`; what `room` adds is that it holds without
//! knowing what an address means.

use super::account::{Verdict, number};
use crate::context::ProcId;
use std::collections::{BTreeMap, BTreeSet};
use xxnet_core::pack::DataPack;

/// An utterance, for one member.
#[derive(Clone, Copy, Debug)]
struct Said {
    room: usize,
    utterance: u64,
    from: ProcId,
    to: usize,
    /// The member's process then, if it had one.
    ears: Option<ProcId>,
    heard: bool,
    told: bool,
}

/// All that was ever said.
#[derive(Debug)]
pub(super) struct Chat {
    rooms: Vec<BTreeSet<usize>>,
    /// By the number of the message.
    said: BTreeMap<usize, Said>,
    utterances: u64,
    /// What a process has heard last of a speaker in a room.
    last: BTreeMap<(ProcId, ProcId, usize), u64>,
}

impl Chat {
    pub(super) fn new(rooms: &[Vec<usize>]) -> Self {
        let rooms = rooms.iter().map(|room| room.iter().copied().collect()).collect();
        Self { rooms, said: BTreeMap::new(), utterances: 0, last: BTreeMap::new() }
    }

    /// The rooms that a node is in.
    pub(super) fn rooms_of(&self, node: usize) -> Vec<usize> {
        (0..self.rooms.len()).filter(|room| self.rooms[*room].contains(&node)).collect()
    }

    /// Who hears what a node says in a room.
    pub(super) fn others(&self, room: usize, node: usize) -> Vec<usize> {
        self.rooms[room].iter().copied().filter(|member| *member != node).collect()
    }

    /// Somebody says something: its number.
    pub(super) fn utterance(&mut self) -> u64 {
        self.utterances += 1;
        self.utterances
    }

    /// It goes to one member as this message.
    pub(super) fn says(
        &mut self,
        message: usize,
        (room, utterance): (usize, u64),
        from: ProcId,
        (to, ears): (usize, Option<ProcId>),
    ) {
        self.said.insert(message, Said { room, utterance, from, to, ears, heard: false, told: false });
    }

    /// A message has come to a node's process.
    pub(super) fn heard(&mut self, node: usize, proc: ProcId, pack: &DataPack) -> Verdict {
        let Some(said) = self.said.get_mut(&number(pack)) else { return Ok(()) };
        if said.to != node || !self.rooms[said.room].contains(&node) {
            return Err(("room", format!("node-{node} hears what was said in room {}", said.room)));
        }
        said.heard = true;
        let Said { room, utterance, from, .. } = *said;
        let last = self.last.insert((proc, from, room), utterance);
        if let Some(last) = last.filter(|last| *last >= utterance) {
            let what =
                format!("utterance {utterance} of process {} comes behind {last} in room {room}", from.0);
            return Err(("chat-order", what));
        }
        Ok(())
    }

    /// Its speaker is told that these have not come, or may not have.
    pub(super) fn told(&mut self, packs: &[DataPack]) {
        for pack in packs {
            if let Some(said) = self.said.get_mut(&number(pack)) {
                said.told = true;
            }
        }
    }

    /// In peace, once all has settled.
    pub(super) fn is_complete(&self, alive: impl Fn(ProcId) -> bool) -> Verdict {
        let lost = self.said.iter().find(|(_, said)| {
            let same = alive(said.from) && said.ears.is_some_and(&alive);
            same && !said.heard && !said.told
        });
        match lost {
            Some((message, Said { room, utterance, to, .. })) => {
                let what = format!(
                    "utterance {utterance} in room {room} never came to node-{to} (message {message})"
                );
                Err(("chat-lost", what))
            }
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use xxnet_core::pack::PackType;

    const SPEAKER: ProcId = ProcId(1);
    const HEARER: ProcId = ProcId(2);

    fn message(number: u64) -> DataPack {
        DataPack::new(PackType::RAW, Bytes::copy_from_slice(&number.to_le_bytes()))
    }

    /// Node 0 says two things to node 1 in the room of both; node 2 is in another one.
    fn chat() -> Chat {
        let mut chat = Chat::new(&[vec![0, 1], vec![0, 2]]);
        for message in [10, 11] {
            let utterance = chat.utterance();
            chat.says(message, (0, utterance), SPEAKER, (1, Some(HEARER)));
        }
        chat
    }

    fn broken(verdict: Verdict) -> Option<&'static str> {
        verdict.err().map(|(oracle, _)| oracle)
    }

    #[test]
    fn nobody_hears_another_room_or_itself() {
        let mut chat = chat();
        assert_eq!(chat.others(0, 0), [1]);
        assert_eq!((chat.rooms_of(0), chat.rooms_of(2)), (vec![0, 1], vec![1]));
        assert_eq!(broken(chat.heard(2, ProcId(3), &message(10))), Some("room"));
        assert_eq!(broken(chat.heard(0, SPEAKER, &message(10))), Some("room"));
        assert_eq!(broken(chat.heard(1, HEARER, &message(10))), None);
        assert_eq!(broken(chat.heard(2, ProcId(3), &message(99))), None, "no utterance at all");
    }

    #[test]
    fn a_speaker_is_heard_in_order_and_once() {
        let mut chat = chat();
        assert_eq!(broken(chat.heard(1, HEARER, &message(11))), None);
        assert_eq!(broken(chat.heard(1, HEARER, &message(10))), Some("chat-order"));
        assert_eq!(broken(chat.heard(1, HEARER, &message(10))), Some("chat-order"), "twice");
    }

    #[test]
    fn what_never_came_is_lost_unless_that_was_told_or_somebody_is_gone() {
        let mut chat = chat();
        chat.heard(1, HEARER, &message(10)).expect("the first one");
        assert_eq!(broken(chat.is_complete(|_| true)), Some("chat-lost"));
        assert_eq!(broken(chat.is_complete(|proc| proc != HEARER)), None);
        chat.told(&[message(11)]);
        assert_eq!(broken(chat.is_complete(|_| true)), None);
    }
}
