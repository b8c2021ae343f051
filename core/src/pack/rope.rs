//! Bytes as they came, in pieces.

use alloc::{collections::VecDeque, vec::Vec};
use bytes::{Buf, Bytes, BytesMut};
use serde::{Deserialize, Serialize};

/// Shorter pieces behind others are joined, so that a peer that drips single bytes costs their number and not a buffer
/// each.
const JOIN_BELOW: usize = 4 << 10;
/// Joined pieces are kept in buffers of this size at most.
const JOINED_MAX: usize = 64 << 10;

/// A queue of bytes: pieces go in at the back, exact lengths come out at the front, and no byte is copied that need not be.
#[derive(Clone, Debug, Default, Hash, Serialize, Deserialize)]
pub(super) struct Rope {
    pieces: VecDeque<Bytes>,
    /// The last bytes of the rope, joined from short pieces.
    joined: BytesMut,
    len: usize,
}

impl Rope {
    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn push(&mut self, piece: Bytes) {
        if piece.is_empty() {
            return;
        }
        // The first piece stays as it is: a pack that lies within it is then never copied.
        let join = self.len > 0 && piece.len() < JOIN_BELOW;
        self.len += piece.len();
        if !join {
            self.close_joined();
            self.pieces.push_back(piece);
            return;
        }
        if self.joined.len() + piece.len() > JOINED_MAX {
            self.close_joined();
        }
        self.joined.extend_from_slice(&piece);
    }

    /// The first piece, as far as it came in one; it may be empty although there are bytes.
    pub(super) fn front(&self) -> &[u8] {
        self.pieces.front().map_or(&[], |piece| piece)
    }

    /// Takes the first `n` bytes; the caller has looked that they lie in the first piece.
    pub(super) fn take_front(&mut self, n: usize) -> Bytes {
        let Some(front) = self.pieces.front_mut().filter(|front| front.len() >= n) else {
            return Bytes::new();
        };
        self.len -= n;
        if front.len() > n {
            return front.split_to(n);
        }
        self.pieces.pop_front().unwrap_or_default()
    }

    /// Fills `out` with the first bytes, which stay; false if there are not so many.
    pub(super) fn peek(&self, out: &mut [u8]) -> bool {
        if out.len() > self.len {
            return false;
        }
        let mut rest = out;
        for piece in self.pieces.iter().map(|piece| &piece[..]).chain([&self.joined[..]]) {
            let n = rest.len().min(piece.len());
            let (now, later) = rest.split_at_mut(n);
            now.copy_from_slice(&piece[..n]);
            rest = later;
            if rest.is_empty() {
                break;
            }
        }
        true
    }

    /// Takes the first `n` bytes away; the caller has looked that there are so many.
    pub(super) fn skip(&mut self, n: usize) {
        self.take_with(n, |_| ());
    }

    /// Takes the first `n` bytes as one: copied only if they lie in several pieces.
    pub(super) fn take_joined(&mut self, n: usize) -> Bytes {
        let whole = self.pieces.front().map_or(self.joined.len(), Bytes::len) >= n;
        if whole {
            let mut one = Bytes::new();
            self.take_with(n, |piece| one = piece);
            return one;
        }
        let mut all = BytesMut::with_capacity(n.min(self.len));
        self.take_with(n, |piece| all.extend_from_slice(&piece));
        all.freeze()
    }

    /// Takes the first `n` bytes in the pieces that they came in.
    pub(super) fn take_pieces(&mut self, n: usize) -> Vec<Bytes> {
        let mut pieces = Vec::new();
        self.take_with(n, |piece| pieces.push(piece));
        pieces
    }

    /// Hands the first `n` bytes to `each`, piece by piece, none empty.
    fn take_with(&mut self, n: usize, mut each: impl FnMut(Bytes)) {
        let mut left = n.min(self.len);
        self.len -= left;
        while left > 0 {
            let Some(front) = self.pieces.front_mut() else {
                self.close_joined();
                continue;
            };
            if front.len() > left {
                each(front.split_to(left));
                return;
            }
            left -= front.remaining();
            if let Some(whole) = self.pieces.pop_front() {
                each(whole);
            }
        }
    }

    fn close_joined(&mut self) {
        if !self.joined.is_empty() {
            self.pieces.push_back(core::mem::take(&mut self.joined).freeze());
        }
    }
}
