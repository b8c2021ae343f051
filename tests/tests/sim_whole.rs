//! The ledger's cases about the whole (X), and about links (N, K), in the simulated world.

use std::collections::BTreeSet;
use xxnet_sim::Setup;
use xxnet_sim::fault::{Fault, Swarm};
use xxnet_sim::lab::{Lab, Task};
use xxnet_sim::plan::Kind;
use xxnet_sim::runner::{Outcome, run_kind, run_one, run_setup};
use xxnet_sim::script::{Step, content};

/// Runs that all must be well; the faults that they have injected together.
fn all_well(outcomes: impl Iterator<Item = Outcome>) -> Vec<Outcome> {
    outcomes
        .inspect(|outcome| {
            if let Err(failure) = &outcome.result {
                panic!("seed {}: {failure}", outcome.seed);
            }
        })
        .collect()
}

fn injected(outcomes: &[Outcome], kind: Fault) -> u64 {
    outcomes.iter().map(|outcome| outcome.report.faults.of(kind)).sum()
}

/// Everything that the swarm can do to clusters and connections, and every oracle.
#[test]
fn x2_a_hundred_and_fifty_seeds_end_well() {
    let outcomes = all_well((5000..5150).map(|seed| run_one(seed, false)));
    let missing: Vec<_> = Fault::ALL.iter().filter(|kind| injected(&outcomes, **kind) == 0).collect();
    assert!(missing.len() <= 3, "these were never injected: {missing:?}");
    let done: u64 = outcomes.iter().map(|outcome| outcome.report.endings[0]).sum();
    assert!(done > 300, "only {done} tasks were done");
}

/// Far from those that every change is tried with. (Runs that once failed are kept as plans, in `sim/corpus`: what a seed draws
/// changes with the simulator.)
#[test]
fn x2_seeds_from_all_over_end_well() {
    all_well([160, 166, 201, 243, 256, 385, 986, 5010].into_iter().map(|seed| run_one(seed, false)));
}

/// In this process; the command line is compared with it in another one by `x1_one_seed_has_one_trace_in_every_process`.
#[test]
fn x1_one_seed_gives_one_trace() {
    let hashes: BTreeSet<u64> = (0..8)
        .map(|seed| {
            let (first, second) = (run_one(seed, false), run_one(seed, true));
            assert_eq!(first.report.hash, second.report.hash, "seed {seed}");
            assert_eq!(first.report.events, second.report.events);
            first.report.hash
        })
        .collect();
    assert_eq!(hashes.len(), 8, "other seeds have other traces");
}

/// What every run ends with, after storms that leave much behind: no link, listener, command, folder, tree or deadline.
#[test]
fn x3_nothing_is_held_after_crashes_and_broken_links() {
    let kinds = [
        Fault::ExecutorCrash,
        Fault::PublisherCrash,
        Fault::RegistryCrash,
        Fault::HalfOpen,
        Fault::AcceptanceLost,
        Fault::AnswerLost,
        Fault::NoSpaceDuring,
        Fault::SpawnFails,
    ];
    let outcomes = all_well((0..40).map(|seed| run_setup(seed, Setup::calm(2, &[2, 1, 1]).with(&kinds))));
    for kind in kinds {
        assert!(injected(&outcomes, kind) > 0, "{kind} was never injected");
    }
}

/// The tables, queues and buffers of living machines: they fill while tasks run over breaking links, and behind the last task all
/// of them are empty again, and nobody has another socket than before the first.
#[test]
fn x3_tables_queues_and_buffers_return_to_their_start_count() {
    let secs = core::time::Duration::from_secs;
    let nodes = ["registry-1", "publisher-1", "publisher-2", "executor-1", "executor-2"];
    let mut lab = Lab::settled(33, Setup::calm(2, &[2, 1]));
    let rests = |lab: &Lab| nodes.iter().all(|node| lab.unfinished(node).is_empty());
    lab.run_until("nothing is under way", secs(10), rests);
    let start = nodes.map(|node| lab.sockets(node));
    lab.only(&[Fault::ResetBoth, Fault::ResetSender, Fault::HalfOpen], 100);
    let tasks: Vec<_> = (0..30)
        .map(|number| {
            let copy = Step::Copy(b"in".to_vec(), b"out".to_vec());
            let script =
                vec![copy, Step::Cat, Step::Out(number, 300_000), Step::Sleep(number * 50_000), Step::Who];
            let task = Task::new(script).input(b"in", content(number, 1_200_000)).output(b"out");
            let task = task.stdin(content(number, 60_000)).will_be_cancelled();
            lab.publish(if number % 2 == 0 { "publisher-1" } else { "publisher-2" }, task)
        })
        .collect();
    lab.run_for(secs(1));
    [3, 10, 28].into_iter().for_each(|number| lab.cancel(tasks[number]));
    let mut seen = BTreeSet::new();
    lab.run_until("every task has ended", secs(300), |lab| {
        seen.extend(nodes.iter().flat_map(|node| lab.unfinished(node)).map(|(name, _)| name));
        tasks.iter().all(|task| lab.ending(*task).is_some())
    });
    let filled = [
        "tasks",
        "entries",
        "queued proposals",
        "proposals",
        "fetches",
        "sources",
        "peers",
        "bytes to be sent",
    ];
    let missing: Vec<_> = filled.iter().filter(|name| !seen.contains(**name)).collect();
    assert!(missing.is_empty(), "{missing:?} were never there, only {seen:?}");
    lab.no_faults();
    lab.run_until("all is as it was", secs(60), |lab| {
        rests(lab) && nodes.map(|node| lab.sockets(node)) == start
    });
    lab.finish();
}

/// A registration, a task and a file link are each one a dialler: simultaneous dials, dials that hang, late accepts of abandoned
/// dials, the Hello of a dead process in the backlog, ends that are half-open; both ends agree in the end, and no more than
/// one link of a dialler is ever up (oracles `one`, `agree`, `order`, `reach`).
#[test]
fn n3_links_agree_under_every_fault_of_the_network() {
    let outcomes = all_well((0..60).map(|seed| run_kind(seed, Kind::Connections, None)));
    for kind in [
        Fault::DialHangs,
        Fault::AnswerLost,
        Fault::AcceptanceLost,
        Fault::HalfOpen,
        Fault::OneWay,
        Fault::Replay,
    ] {
        assert!(injected(&outcomes, kind) > 0, "{kind} was never injected");
    }
    let made: u64 = outcomes.iter().map(|outcome| outcome.report.connections).sum();
    assert!(made > 1000, "only {made} connections came up");
}

/// A stranger repeats what a dialler has said, word for word: nobody is replaced and no state is made of it.
#[test]
fn n3_a_repeated_dial_of_a_stranger_changes_nothing() {
    let setup = || Setup { swarm: Swarm::only(&[Fault::Replay]).eager(1000), ..Setup::calm(2, &[1, 1]) };
    let outcomes = all_well((0..20).map(|seed| run_setup(seed, setup())));
    assert!(injected(&outcomes, Fault::Replay) > 40);
    // Nothing else went wrong, so nothing may fail or be repeated.
    let failed: u64 = outcomes.iter().map(|outcome| outcome.report.endings[1]).sum();
    assert_eq!(failed, 0, "a task failed");
}

/// An address that refuses, and one that never answers: told apart, tried again, and no task is lost by it.
#[test]
fn n10_addresses_that_refuse_or_never_answer_are_tried_again() {
    for kind in [Fault::DialRefused, Fault::DialHangs] {
        let setup = || Setup { swarm: Swarm::only(&[kind]).eager(500), ..Setup::calm(1, &[1, 1]) };
        let outcomes = all_well((0..15).map(|seed| run_setup(seed, setup())));
        assert!(injected(&outcomes, kind) > 15, "{kind} was hardly injected");
    }
}

/// Bytes in any pieces: one by one, odd, around the borders of packs, through windows of a byte.
#[test]
fn p2_any_fragmentation_on_any_link_gives_the_same_results() {
    let kinds = [Fault::SingleBytes, Fault::OddPieces, Fault::SmallWindow];
    let setup = || Setup { swarm: Swarm::only(&kinds).eager(400), ..Setup::calm(1, &[1, 2]) };
    let outcomes = all_well((0..15).map(|seed| run_setup(seed, setup())));
    kinds.iter().for_each(|kind| assert!(injected(&outcomes, *kind) > 0));
    assert_eq!(outcomes.iter().map(|outcome| outcome.report.endings[1]).sum::<u64>(), 0, "a task failed");
}

/// A flipped bit anywhere on any link is noticed: the link ends, the result does not change.
#[test]
fn p8_flipped_bits_never_reach_a_result() {
    let setup = || Setup { swarm: Swarm::only(&[Fault::BitFlip]).eager(1000), ..Setup::calm(2, &[1, 2]) };
    let outcomes = all_well((0..30).map(|seed| run_setup(seed, setup())));
    assert!(injected(&outcomes, Fault::BitFlip) > 20);
}

#[test]
fn k7_destroy_and_k10_ids_hold_in_every_run_of_connections() {
    let outcomes = all_well((1000..1040).map(|seed| run_kind(seed, Kind::Connections, None)));
    assert!(injected(&outcomes, Fault::ExecutorCrash) + injected(&outcomes, Fault::HostCrash) > 0);
}
