//! One output stream of a command: read under credit, kept until the publisher has taken it, sent again on a new link.

use alloc::collections::VecDeque;
use bytes::Bytes;
use serde::{Deserialize, Serialize};

/// Largest piece that is read, and travels, at once.
pub(super) const PIECE: u64 = 64 << 10;

/// What was read and is not taken yet.
#[derive(Clone, Debug, Default, Hash, Serialize, Deserialize)]
pub(super) struct OutStream {
    pieces: VecDeque<Bytes>,
    /// Offset of the first kept byte.
    start: u64,
    /// Bytes read in all.
    end: u64,
    /// Bytes that went out on the present link.
    sent: u64,
    /// A read is armed.
    pub(super) armed: bool,
    /// The stream has ended.
    pub(super) ended: bool,
}

impl OutStream {
    /// Bytes read in all.
    pub(super) fn written(&self) -> u64 {
        self.end
    }

    /// How much to read now, if anything; marks the read as armed.
    pub(super) fn arm(&mut self, credit: u64) -> Option<usize> {
        let room = credit.saturating_sub(self.end - self.start).min(PIECE);
        if self.armed || self.ended || room == 0 {
            return None;
        }
        self.armed = true;
        usize::try_from(room).ok()
    }

    /// A read brought this.
    pub(super) fn push(&mut self, data: Bytes) {
        self.armed = false;
        self.end += data.len() as u64;
        self.pieces.push_back(data);
    }

    /// The publisher has everything up to here; what it has not taken goes again from here on.
    pub(super) fn rewind(&mut self, received: u64) {
        self.sent = received.clamp(self.start, self.end);
    }

    /// The application has taken everything up to here.
    pub(super) fn taken(&mut self, upto: u64) {
        while let Some(first) = self.pieces.front() {
            let after = self.start + first.len() as u64;
            if after > upto.min(self.sent) {
                break;
            }
            self.start = after;
            self.pieces.pop_front();
        }
    }

    /// The next piece to send: its offset and bytes.
    pub(super) fn next(&mut self) -> Option<(u64, Bytes)> {
        let mut start = self.start;
        for piece in &self.pieces {
            let end = start + piece.len() as u64;
            if self.sent < end {
                let offset = self.sent;
                self.sent = end;
                return Some((offset, piece.slice(usize::try_from(offset - start).unwrap_or(0)..)));
            }
            start = end;
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn t6_output_goes_again_from_what_the_publisher_has() {
        let mut out = OutStream::default();
        assert_eq!(out.arm(8), Some(8));
        assert_eq!(out.arm(8), None, "one read at a time");
        out.push(Bytes::from_static(b"abcd"));
        assert_eq!(out.next(), Some((0, Bytes::from_static(b"abcd"))));
        assert_eq!(out.next(), None);
        out.rewind(2);
        assert_eq!(out.next(), Some((2, Bytes::from_static(b"cd"))));
        assert_eq!(out.arm(8), Some(4), "what is not taken counts against the credit");
        out.push(Bytes::from_static(b"efgh"));
        assert_eq!(out.arm(8), None, "no credit is left");
        out.taken(4);
        assert_eq!(out.next(), Some((4, Bytes::from_static(b"efgh"))));
        assert_eq!(out.arm(8), Some(4));
        assert_eq!(out.written(), 8);
    }
}
