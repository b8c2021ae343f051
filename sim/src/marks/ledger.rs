//! The file that says which marks are reached: `sim/marks.txt`. What was reached once stays reached, or somebody says why not.
//!
//! A mark that n of so many seeds have reached is missed by as many other seeds with a chance of e^-n: so only what enough of
//! them reach is demanded of seeds, and any number of seeds can be held against the file. The corpus must reach what it has
//! reached.

use super::{Mark, Reached};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

/// Seeds that must be expected to reach a mark before it is demanded of them.
const SURE: u64 = 14;

/// What stands behind a mark.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Entry {
    /// So many seeds have reached it.
    Seeds(u64),
    /// No seed has, but a plan of the corpus.
    Corpus,
    /// Nobody has, and why.
    Never(String),
}

/// The file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ledger {
    seeds: u64,
    entries: BTreeMap<String, Entry>,
}

/// How runs compare with it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    /// What used to be reached and is not.
    pub lost: Vec<String>,
    /// Marks that the file does not have.
    pub new: Vec<String>,
    /// Marks of the file that there are none of any more.
    pub gone: Vec<String>,
    /// Marks that the file says nobody reaches, and that were.
    pub found: Vec<String>,
}

impl Verdict {
    /// Whether the file is right.
    pub fn is_well(&self) -> bool {
        *self == Self::default()
    }
}

impl std::fmt::Display for Verdict {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { lost, new, gone, found } = self;
        lost.iter().try_for_each(|mark| writeln!(f, "no longer reached: {mark}"))?;
        new.iter().try_for_each(|mark| writeln!(f, "not in the list of marks: {mark}"))?;
        gone.iter().try_for_each(|mark| writeln!(f, "in the list, and no mark: {mark}"))?;
        found.iter().try_for_each(|mark| writeln!(f, "reached, and the list says that it never is: {mark}"))
    }
}

const HEAD: &str = "\
# What the seeds and the plans of the corpus reach (sim/README.md, Marks). Written by `xxnet-sim run --marks-file sim/marks.txt --update`.
# `<n>`: so many seeds do. `corpus`: no seed does, a plan of the corpus does. `never`: nobody does; why stands behind `|`.
";

const UNKNOWN: &str = "?";

impl Ledger {
    /// Reads it.
    ///
    /// # Errors
    /// Which line makes no sense.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut ledger = Self { seeds: 0, entries: BTreeMap::new() };
        let lines = text.lines().filter(|line| !line.starts_with('#') && !line.trim().is_empty());
        for line in lines {
            let wrong = || format!("{line:?} is no line of a list of marks");
            let (word, rest) = line.split_once(' ').ok_or_else(wrong)?;
            let rest = rest.trim();
            if word == "seeds" {
                ledger.seeds = rest.parse().map_err(|_| wrong())?;
                continue;
            }
            let (mark, entry) = match word {
                "corpus" => (rest, Entry::Corpus),
                "never" => {
                    let (mark, why) = rest.split_once('|').ok_or_else(wrong)?;
                    (mark.trim(), Entry::Never(why.trim().to_owned()))
                }
                number => (rest, Entry::Seeds(number.parse().map_err(|_| wrong())?)),
            };
            if ledger.entries.insert(mark.to_owned(), entry).is_some() {
                return Err(format!("{mark:?} stands there twice"));
            }
        }
        Ok(ledger)
    }

    /// What runs have reached, with the reasons that an older file gives for what nobody reaches.
    pub fn of(seeds: u64, reached: &Reached, corpus: &Reached, older: Option<&Self>) -> Self {
        let entry = |mark: &Mark| match (reached.times(*mark), corpus.times(*mark)) {
            (Some(times), _) => Entry::Seeds(times.seeds),
            (None, Some(_)) => Entry::Corpus,
            (None, None) => match older.and_then(|older| older.entries.get(&mark.to_string())) {
                Some(Entry::Never(why)) => Entry::Never(why.clone()),
                Some(Entry::Seeds(_) | Entry::Corpus) | None => Entry::Never(UNKNOWN.to_owned()),
            },
        };
        let entries = Mark::all().iter().map(|mark| (mark.to_string(), entry(mark))).collect();
        Self { seeds, entries }
    }

    /// As it stands in the file.
    pub fn text(&self) -> String {
        let mut text = format!("{HEAD}seeds {}\n", self.seeds);
        for (mark, entry) in &self.entries {
            _ = match entry {
                Entry::Seeds(seeds) => writeln!(text, "{seeds:<6} {mark}"),
                Entry::Corpus => writeln!(text, "corpus {mark}"),
                Entry::Never(why) => writeln!(text, "never  {mark} | {why}"),
            };
        }
        text
    }

    /// Whether it says that nobody reaches a mark.
    pub fn is_never(&self, mark: &str) -> bool {
        matches!(self.entries.get(mark), Some(Entry::Never(_)))
    }

    /// What is never reached without a reason.
    pub fn unexplained(&self) -> Vec<&str> {
        let unexplained = |(_, entry): &(&String, &Entry)| **entry == Entry::Never(UNKNOWN.to_owned());
        self.entries.iter().filter(unexplained).map(|(mark, _)| mark.as_str()).collect()
    }

    /// Compares what so many seeds and the corpus have reached with it.
    pub fn judge(&self, seeds: u64, reached: &Reached, corpus: &Reached) -> Verdict {
        let all: BTreeMap<String, Mark> =
            Mark::all().into_iter().map(|mark| (mark.to_string(), mark)).collect();
        let mut verdict = Verdict::default();
        for (name, entry) in &self.entries {
            let Some(mark) = all.get(name).copied() else {
                verdict.gone.push(name.clone());
                continue;
            };
            let (by_seeds, by_corpus) = (reached.times(mark).is_some(), corpus.times(mark).is_some());
            match entry {
                Entry::Seeds(before) if before * seeds >= SURE * self.seeds.max(1) && !by_seeds => {
                    verdict.lost.push(format!("{name} (of {} seeds, {before} did)", self.seeds));
                }
                Entry::Corpus if !by_corpus && !by_seeds => {
                    verdict.lost.push(format!("{name} (the corpus did)"));
                }
                // Rare things happen; a file is written anew when there is more to it.
                Entry::Never(_) if by_corpus => verdict.found.push(name.clone()),
                Entry::Seeds(_) | Entry::Corpus | Entry::Never(_) => {}
            }
        }
        let known: BTreeSet<&String> = self.entries.keys().collect();
        verdict.new = all.into_keys().filter(|name| !known.contains(name)).collect();
        verdict
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault::Fault;
    use crate::marks::Seen;

    fn reached(seeds: u64, marks: &[Mark]) -> Reached {
        let mut reached = Reached::default();
        let seen = Seen(marks.iter().map(|mark| (*mark, 1)).collect());
        (0..seeds).for_each(|seed| reached.add(seed, &seen));
        reached
    }

    const FLIP: Mark = Mark::Fault(Fault::BitFlip);
    const CRASH: Mark = Mark::Fault(Fault::HostCrash);
    const CANCEL: Mark = Mark::Fault(Fault::Cancel);

    #[test]
    fn a_mark_that_used_to_be_reached_and_is_not_is_named() {
        let none = Reached::default();
        let ledger = Ledger::of(100, &reached(50, &[FLIP]), &reached(1, &[CRASH]), None);
        let ledger = Ledger::parse(&ledger.text()).expect("it is a list");
        assert_eq!(ledger.judge(100, &reached(1, &[FLIP, CRASH]), &none), Verdict::default());
        let lost = ledger.judge(100, &reached(1, &[CANCEL]), &none).lost;
        assert_eq!(lost, ["fault: bit flipped (of 100 seeds, 50 did)", "fault: host crash (the corpus did)"]);
        // A few seeds may miss it.
        assert!(ledger.judge(10, &reached(1, &[CRASH]), &none).is_well());
    }

    #[test]
    fn a_list_has_every_mark_and_a_reason_for_those_that_nobody_reaches() {
        let none = Reached::default();
        let ledger = Ledger::of(100, &none, &none, None);
        assert_eq!(ledger.unexplained().len(), Mark::all().len());
        let text = ledger.text().replace("fault: cancel | ?", "fault: cancel | nobody does");
        let ledger = Ledger::parse(&text).expect("it is a list");
        let again = Ledger::of(100, &none, &none, Some(&ledger));
        assert_eq!(again, ledger);
        assert!(!again.unexplained().contains(&"fault: cancel"));
        assert_eq!(ledger.judge(1, &none, &reached(1, &[CANCEL])).found, ["fault: cancel"]);
        let short: String = text
            .lines()
            .filter(|line| !line.contains("fault: cancel"))
            .fold(String::new(), |a, b| a + b + "\n");
        let short = Ledger::parse(&(short + "never  link: none | x\n")).expect("it is a list");
        let verdict = short.judge(1, &none, &none);
        assert_eq!(
            (verdict.new, verdict.gone),
            (vec!["fault: cancel".to_owned()], vec!["link: none".to_owned()])
        );
    }
}
