//! Plain random search over the fuzz targets, from a fixed seed: what a fuzzer would stumble over in its first second.
#![allow(clippy::unwrap_used)]

use rand::rngs::ChaCha8Rng;
use rand::{Rng, RngExt, SeedableRng};
use std::panic::{AssertUnwindSafe, catch_unwind};
use xxnet_tests::fuzz::TARGETS;

/// The inputs of a target; `XXNET_FUZZ_INPUTS` says how many, for a longer search by hand.
fn search(target: &str) {
    // A whole world takes a thousand times as long.
    let few = if target == "cluster" { 20 } else { 1_000 };
    let inputs = std::env::var("XXNET_FUZZ_INPUTS").ok().map_or(few, |count| count.parse().unwrap());
    let (_, body) = TARGETS.into_iter().find(|(name, _)| *name == target).unwrap();
    for seed in 0..inputs {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut input = vec![0; rng.random_range(0..900)];
        rng.fill_bytes(&mut input);
        if catch_unwind(AssertUnwindSafe(|| body(&input))).is_err() {
            let hex: String = input.iter().map(|byte| format!("{byte:02x}")).collect();
            panic!("{target} falls over input {seed}: {hex}");
        }
    }
}

macro_rules! searches {
    ($($name:ident)*) => {
        $(#[test] fn $name() { search(stringify!($name)); })*

        #[test]
        fn every_target_is_searched() {
            assert_eq!(TARGETS.map(|(name, _)| name), [$(stringify!($name)),*]);
        }
    };
}

searches!(pack_decoder value_decoder message_decoder manifest_decoder connections messenger registry executor client cluster);
