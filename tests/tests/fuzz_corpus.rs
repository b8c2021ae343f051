//! The fuzz targets on stable Rust: over the committed corpus, over damaged corpus, and over random bytes.
#![allow(clippy::unwrap_used)]

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;
use std::collections::BTreeSet;
use std::path::Path;
use xxnet_tests::fuzz::{TARGETS, Target, marks};

fn corpus(target: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus").join(target);
    let mut files: Vec<_> = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(files.len() >= 3, "{target} has no corpus");
    files.iter().map(|file| std::fs::read(file).unwrap()).collect()
}

#[test]
fn every_target_takes_its_corpus() {
    for (name, body) in TARGETS {
        corpus(name).iter().for_each(|input| body(input));
    }
}

/// Those that need no world of their own.
fn quick() -> impl Iterator<Item = Target> {
    TARGETS.into_iter().filter(|(name, _)| *name != "cluster")
}

#[test]
fn every_target_takes_every_prefix_of_its_corpus() {
    for (name, body) in quick() {
        // A story's prefix is another story; a few of them do.
        let step = if matches!(name, "connections" | "messenger" | "registry" | "executor" | "client") {
            151
        } else {
            1
        };
        for input in corpus(name).iter().filter(|input| input.len() < 2000) {
            (0..input.len()).step_by(step).for_each(|end| body(&input[..end]));
        }
    }
}

#[test]
fn every_target_has_its_file() {
    for (name, _) in TARGETS {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../fuzz/fuzz_targets/{name}.rs"));
        let text = std::fs::read_to_string(&file).unwrap();
        assert!(text.contains(&format!("xxnet_tests::fuzz::{name}")), "{}", file.display());
    }
}

/// What the corpora make each machine ask and tell stands in `fuzz/marks.txt`: what was reached once stays reached. Written
/// anew with `XXNET_WRITE_MARKS=1`.
#[test]
fn what_the_corpora_reached_they_still_reach() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/marks.txt");
    let reached: BTreeSet<String> = TARGETS
        .into_iter()
        .flat_map(|(name, _)| corpus(name).into_iter().map(move |input| (name, input)))
        .flat_map(|(name, input)| marks(name, &input).into_iter().map(move |mark| format!("{name} {mark}")))
        .collect();
    if std::env::var_os("XXNET_WRITE_MARKS").is_some() {
        let lines: String = reached.iter().map(|mark| format!("{mark}\n")).collect();
        std::fs::write(&file, lines).unwrap();
    }
    let text = std::fs::read_to_string(&file).unwrap();
    assert!(text.lines().count() > 80, "the list is not the whole one");
    let lost: Vec<_> = text.lines().filter(|mark| !reached.contains(*mark)).collect();
    assert!(lost.is_empty(), "no longer reached: {lost:#?}");
}

proptest! {
    #[test]
    fn every_target_takes_random_bytes(input in vec(any::<u8>(), 0..400)) {
        for (_, body) in quick() {
            body(&input);
        }
    }

    #[test]
    fn every_target_takes_damaged_corpus(
        which in any::<Index>(),
        damage in vec((any::<Index>(), any::<u8>()), 1..6),
    ) {
        for (name, body) in quick() {
            let inputs = corpus(name);
            let mut input = which.get(&inputs).clone();
            for (at, byte) in &damage {
                if !input.is_empty() {
                    let at = at.index(input.len());
                    input[at] = *byte;
                }
            }
            body(&input);
        }
    }
}
