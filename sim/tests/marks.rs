//! What was reached once stays reached: the corpus and a few seeds against `sim/marks.txt`. Many seeds are held against it by
//! `xxnet-sim run --marks-file` (`.ci/run`), which also writes it anew.

use std::path::Path;
use xxnet_sim::marks::{Ledger, Reached};
use xxnet_sim::runner::{run_corpus, run_one};

/// Few enough for a debug build.
const SEEDS: u64 = 150;

#[test]
fn marks_that_were_reached_are_reached() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(folder.join("marks.txt")).expect("the list of marks is there");
    let ledger = Ledger::parse(&text).expect("it is a list of marks");
    let unexplained = ledger.unexplained();
    assert!(unexplained.is_empty(), "never reached, and nobody says why: {unexplained:#?}");
    let corpus = run_corpus(&folder.join("corpus")).expect("the corpus is there");
    let mut reached = Reached::default();
    (0..SEEDS).for_each(|seed| reached.add(seed, &run_one(seed, false).report.marks));
    let verdict = ledger.judge(SEEDS, &reached, &corpus);
    assert!(verdict.is_well(), "{verdict}");
    let unlisted: Vec<String> = [reached, corpus]
        .iter()
        .flat_map(Reached::unlisted)
        .map(|(mark, times)| format!("{mark} (seed {})", times.first))
        .collect();
    assert!(unlisted.is_empty(), "steps that no table has: {unlisted:#?}");
}
