//! A machine's whole state survives being written and read, at any moment of any run: what a recording's ring rests on. In the
//! simulated world machines are replaced by copies that were read from bytes; the copy equals the original, and the run goes
//! on as if nothing had happened, to the last event.

use xxnet_core::ClusterKey;
use xxnet_sim::plan::Kind;
use xxnet_sim::runner::run_seed;
use xxnet_sim::swap::{Swaps, during};

/// Runs each seed twice; what was replaced in the second runs.
fn the_same_with_copies(kind: Kind, key: u8, one_in: u64, seeds: std::ops::Range<u64>) -> Swaps {
    let mut sum = Swaps::default();
    for seed in seeds {
        let plain = run_seed(seed, Some(kind), None, false);
        plain.result.unwrap_or_else(|failure| panic!("seed {seed}: {failure}"));
        let key = ClusterKey([key; 32]);
        let (copied, swaps) = during(seed, one_in, key, || run_seed(seed, Some(kind), None, false));
        copied.result.unwrap_or_else(|failure| panic!("seed {seed}, with copies: {failure}"));
        assert_eq!(copied.report.events, plain.report.events, "seed {seed}: another run");
        assert_eq!(copied.report.hash, plain.report.hash, "seed {seed}: another run");
        sum.machines += swaps.machines;
        sum.bytes += swaps.bytes;
    }
    sum
}

#[test]
fn x1_registries_and_executors_go_on_as_their_copies() {
    let swaps = the_same_with_copies(Kind::Cluster, 7, 60, 0..24);
    assert!(swaps.machines > 500 && swaps.bytes / swaps.machines > 1000, "{swaps:?}");
}

#[test]
fn x1_connections_and_sessions_go_on_as_their_copies() {
    let swaps = the_same_with_copies(Kind::Connections, 9, 60, 0..24);
    assert!(swaps.machines > 500 && swaps.bytes / swaps.machines > 1000, "{swaps:?}");
}

/// In one run every machine is replaced before every event.
#[test]
fn x1_a_run_of_nothing_but_copies() {
    the_same_with_copies(Kind::Cluster, 7, 1, 100..101);
    the_same_with_copies(Kind::Connections, 9, 1, 100..101);
}
