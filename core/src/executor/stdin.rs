//! A task's standard input at its publisher: kept for a repeated attempt as long as that is bounded.

use alloc::collections::VecDeque;
use bytes::Bytes;
use serde::{Deserialize, Serialize};

/// Bytes that may wait here unsent before the application is asked for more.
const AHEAD: u64 = 1 << 20;
/// Largest piece that travels in one message.
const PIECE: u64 = 64 << 10;

/// What the application gave, from `base` on.
#[derive(Clone, Debug, Default, Hash, Serialize, Deserialize)]
pub(super) struct Stdin {
    pieces: VecDeque<Bytes>,
    /// Bytes that were dropped because an attempt had taken them and too much was kept.
    base: u64,
    end: u64,
    ended: bool,
    /// The application was asked and has not answered.
    asked: bool,
    /// What the present attempt was sent, and what its command has taken.
    sent: u64,
    taken: u64,
    /// The end was sent to the present attempt.
    end_sent: bool,
}

impl Stdin {
    /// Whether the application shall be asked for more now.
    pub(super) fn ask(&mut self, replay: u64) -> bool {
        let room = self.end - self.sent.max(self.base) < AHEAD && self.end - self.base < replay + AHEAD;
        let ask = !self.ended && !self.asked && room;
        self.asked |= ask;
        ask
    }

    /// The application gives more. `false`: it gave what was not asked for, and too much of it.
    pub(super) fn push(&mut self, data: Bytes, last: bool, replay: u64) -> bool {
        if self.ended || self.end - self.base + data.len() as u64 > 2 * (replay + AHEAD) {
            return false;
        }
        self.asked = false;
        self.ended = last;
        self.end += data.len() as u64;
        if !data.is_empty() {
            self.pieces.push_back(data);
        }
        true
    }

    /// A new attempt reads from the beginning. `false`: the beginning is gone.
    pub(super) fn rewind(&mut self) -> bool {
        (self.sent, self.taken, self.end_sent) = (0, 0, false);
        self.base == 0
    }

    /// A new link to the same attempt: what was not taken goes again.
    pub(super) fn resend(&mut self) {
        self.sent = self.taken.max(self.base);
        self.end_sent = false;
    }

    /// The next message, within the credit: offset, bytes, last.
    pub(super) fn next(&mut self, credit: u64) -> Option<(u64, Bytes, bool)> {
        let room = credit.saturating_sub(self.sent - self.taken.min(self.sent));
        let data = self.piece_at(self.sent, room.min(PIECE));
        let (offset, after) = (self.sent, self.sent + data.len() as u64);
        let last = self.ended && after == self.end;
        if data.is_empty() && (!last || self.end_sent) {
            return None;
        }
        self.sent = after;
        self.end_sent |= last;
        Some((offset, data, last))
    }

    /// The attempt's command has taken it up to here; what is kept for a repetition stays bounded.
    pub(super) fn taken(&mut self, upto: u64, replay: u64) {
        self.taken = self.taken.max(upto.min(self.sent));
        while self.end - self.base > replay {
            let Some(first) = self.pieces.front() else { break };
            let length = first.len() as u64;
            if self.base + length > self.taken {
                break;
            }
            self.base += length;
            self.pieces.pop_front();
        }
    }

    fn piece_at(&self, offset: u64, at_most: u64) -> Bytes {
        let mut start = self.base;
        for piece in &self.pieces {
            let end = start + piece.len() as u64;
            if offset < end && offset >= start {
                let from = usize::try_from(offset - start).unwrap_or(0);
                let length = (end - offset).min(at_most);
                return piece.slice(from..from + usize::try_from(length).unwrap_or(0));
            }
            start = end;
        }
        Bytes::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn give(stdin: &mut Stdin, data: &'static [u8], last: bool) {
        assert!(stdin.push(Bytes::from_static(data), last, 8));
    }

    #[test]
    fn t6_standard_input_goes_again_from_what_was_taken() {
        let mut stdin = Stdin::default();
        assert!(stdin.ask(8) && !stdin.ask(8));
        give(&mut stdin, b"abcdef", true);
        assert_eq!(stdin.next(4), Some((0, Bytes::from_static(b"abcd"), false)));
        assert_eq!(stdin.next(4), None, "no credit is left");
        stdin.taken(2, 8);
        stdin.resend();
        assert_eq!(stdin.next(8), Some((2, Bytes::from_static(b"cdef"), true)));
        assert_eq!(stdin.next(8), None, "the end is sent once");
        assert!(stdin.rewind());
        assert_eq!(stdin.next(8), Some((0, Bytes::from_static(b"abcdef"), true)));
    }

    #[test]
    fn t6_what_an_attempt_consumed_beyond_the_bound_cannot_be_repeated() {
        let mut stdin = Stdin::default();
        give(&mut stdin, b"abcdef", false);
        give(&mut stdin, b"ghijkl", true);
        while stdin.next(100).is_some() {}
        stdin.taken(12, 8);
        assert!(!stdin.rewind(), "the first piece is dropped");
    }

    #[test]
    fn t6_an_empty_standard_input_is_one_end() {
        let mut stdin = Stdin::default();
        give(&mut stdin, b"", true);
        assert_eq!(stdin.next(10), Some((0, Bytes::new(), true)));
        assert_eq!(stdin.next(10), None);
    }
}
