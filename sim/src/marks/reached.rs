//! What runs have reached together.

use super::Mark;
use std::collections::BTreeMap;

/// What one run has reached, and how often.
#[derive(Clone, Debug, Default)]
pub struct Seen(pub BTreeMap<Mark, u64>);

/// How many seeds have reached a mark, and the first of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Times {
    /// How many.
    pub seeds: u64,
    /// The smallest.
    pub first: u64,
}

/// What many seeds have reached.
#[derive(Clone, Debug, Default)]
pub struct Reached(BTreeMap<Mark, Times>);

impl Reached {
    /// What one more seed has reached.
    pub fn add(&mut self, seed: u64, seen: &Seen) {
        for mark in seen.0.keys() {
            let times = self.0.entry(*mark).or_insert(Times { seeds: 0, first: seed });
            times.seeds += 1;
            times.first = times.first.min(seed);
        }
    }

    /// How often a mark was reached, if it was.
    pub fn times(&self, mark: Mark) -> Option<Times> {
        self.0.get(&mark).copied()
    }

    /// How many of all marks were reached, and how many there are.
    pub fn counts(&self) -> (usize, usize) {
        let all = Mark::all();
        (all.iter().filter(|mark| self.0.contains_key(mark)).count(), all.len())
    }

    /// Those that were not.
    pub fn never(&self) -> Vec<Mark> {
        Mark::all().into_iter().filter(|mark| !self.0.contains_key(mark)).collect()
    }

    /// Those that at most so many seeds have reached, with one of these.
    pub fn rare(&self, most: u64) -> Vec<(Mark, Times)> {
        let rare = |(_, times): &(&Mark, &Times)| times.seeds <= most;
        self.0.iter().filter(rare).map(|(mark, times)| (*mark, *times)).collect()
    }

    /// Steps that no table has: either a table is wrong or the code is.
    pub fn unlisted(&self) -> Vec<(Mark, Times)> {
        let unlisted = |(mark, _): &(&Mark, &Times)| !mark.is_listed();
        self.0.iter().filter(unlisted).map(|(mark, times)| (*mark, *times)).collect()
    }
}
