//! Small messages beside bulk: where nothing is broken, they come at once, as long as they share no session with the bulk, in
//! which order forbids that they overtake it.
//!
//! | oracle | promise |
//! | --- | --- |
//! | `prompt` | in a calm run, a small message comes within a bound of simulated time over any session that carries no bulk that way |

use super::account::{Verdict, number};
use crate::clock::{MILLI, Micros, SECOND};
use std::collections::BTreeMap;
use xxnet_core::pack::DataPack;

/// There and no longer: a way takes 12 ms at most, and what was sent a moment before is written first.
const BOUND: Micros = 60 * MILLI;
/// Sessions are begun meanwhile.
const WARM: Micros = 3 * SECOND;

/// Small messages under way, by their number.
#[derive(Debug, Default)]
pub(super) struct Prompt {
    sent: BTreeMap<usize, (usize, usize, Micros)>,
}

impl Prompt {
    /// A small message is given to a messenger.
    pub(super) fn sent(&mut self, message: usize, from: usize, to: usize, now: Micros) {
        if now >= WARM && (from, to) != (0, 1) {
            self.sent.insert(message, (from, to, now));
        }
    }

    /// A message has come.
    pub(super) fn came(&mut self, pack: &DataPack, now: Micros) -> Verdict {
        let Some((from, to, at)) = self.sent.remove(&number(pack)) else { return Ok(()) };
        Self::judge(from, to, now - at)
    }

    /// The talk is over: what has not come by now must be younger than the bound.
    pub(super) fn is_over(&self, now: Micros) -> Verdict {
        self.sent.values().try_for_each(|(from, to, at)| Self::judge(*from, *to, now - at))
    }

    fn judge(from: usize, to: usize, took: Micros) -> Verdict {
        if took <= BOUND {
            return Ok(());
        }
        let what =
            format!("a small message from node-{from} to node-{to} takes {} ms beside bulk", took / MILLI);
        Err(("prompt", what))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use xxnet_core::pack::PackType;

    fn pack(number: u64) -> DataPack {
        DataPack::new(PackType::RAW, number.to_le_bytes().to_vec())
    }

    #[test]
    fn what_comes_late_is_seen_and_what_shares_the_bulk_s_way_is_not_asked_for() {
        let mut prompt = Prompt::default();
        for (message, from, to) in [(0, 1, 0), (1, 0, 2), (2, 0, 1), (3, 2, 1)] {
            prompt.sent(message, from, to, WARM);
        }
        assert_eq!(prompt.came(&pack(0), WARM + BOUND), Ok(()));
        assert!(prompt.came(&pack(1), WARM + BOUND + 1).is_err(), "late");
        assert_eq!(prompt.came(&pack(2), WARM + SECOND), Ok(()), "behind the bulk");
        assert_eq!(prompt.is_over(WARM + BOUND), Ok(()), "it may still come");
        assert!(prompt.is_over(WARM + BOUND + 1).is_err(), "it never came");
    }
}
