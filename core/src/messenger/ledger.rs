//! Who sent what is under way on one session: runs of messages in order, so that their senders learn when they are settled.

use crate::Token;
use alloc::collections::VecDeque;

/// Messages of one token in a row.
#[derive(Clone, Copy, Debug)]
struct Run {
    token: Token,
    count: u64,
    bytes: usize,
    /// Bytes of each, if all have the same; else 0, and only whole runs are settled by bytes.
    each: usize,
}

/// Messages that were sent and are not settled, as runs of one sender's messages of one size.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    runs: VecDeque<Run>,
    /// The sequence of the last message that is settled.
    settled: u64,
    bytes: usize,
}

impl Ledger {
    pub(super) fn push(&mut self, token: Token, bytes: usize) {
        self.bytes += bytes;
        match self.runs.back_mut().filter(|run| run.token == token && run.each == bytes) {
            Some(run) => {
                run.count += 1;
                run.bytes += bytes;
            }
            None => self.runs.push_back(Run { token, count: 1, bytes, each: bytes }),
        }
    }

    /// All up to this sequence are settled; tells whose they are, how many, and their bytes.
    pub(super) fn settle(&mut self, sequence: u64, mut tell: impl FnMut(Token, u64, usize)) {
        while self.settled < sequence
            && let Some(run) = self.runs.front_mut()
        {
            let count = run.count.min(sequence - self.settled);
            let bytes =
                if count == run.count { run.bytes } else { run.each * usize::try_from(count).unwrap_or(0) };
            run.count -= count;
            run.bytes -= bytes;
            self.bytes -= bytes;
            self.settled += count;
            tell(run.token, count, bytes);
            if run.count == 0 {
                self.runs.pop_front();
            }
        }
    }

    /// The session is over: nothing more of it will be acknowledged.
    pub(super) fn settle_all(mut self, tell: impl FnMut(Token, u64, usize)) {
        self.settle(u64::MAX, tell);
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn is_empty(&self) -> bool {
        self.runs.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::Ledger;
    use crate::Token;
    use std::vec;
    use std::vec::Vec;

    #[test]
    fn every_sender_learns_of_its_own() {
        let mut ledger = Ledger::default();
        for (token, bytes) in [(1, 10), (1, 10), (1, 20), (2, 20), (1, 10)] {
            ledger.push(Token(token), bytes);
        }
        assert_eq!(ledger.bytes(), 70);
        let mut told = Vec::new();
        ledger.settle(1, |token, count, bytes| told.push((token.0, count, bytes)));
        ledger.settle(1, |_, _, _| panic!("settled twice"));
        ledger.settle(4, |token, count, bytes| told.push((token.0, count, bytes)));
        assert_eq!(told, vec![(1, 1, 10), (1, 1, 10), (1, 1, 20), (2, 1, 20)]);
        assert_eq!(ledger.bytes(), 10);
        let mut rest = Vec::new();
        ledger.settle_all(|token, count, bytes| rest.push((token.0, count, bytes)));
        assert_eq!(rest, vec![(1, 1, 10)]);
    }
}
