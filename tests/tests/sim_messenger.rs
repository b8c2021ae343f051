//! The ledger's cases about messages by address (N) in the simulated world: messengers that listen or do not, whose applications
//! send to whomever they know of, take slowly, part and shut down. What is promised stands in `sim/src/messengers.rs`; after each
//! storm comes peace, in which all that is sent to somebody who listens is taken, and everybody shuts down.

use xxnet_sim::fault::{Fault, Swarm};
use xxnet_sim::plan::Kind;
use xxnet_sim::runner::{Outcome, run_kind};
use xxnet_sim::{Messages, Sessions};

const RESETS: [Fault; 3] = [Fault::ResetBoth, Fault::ResetSender, Fault::ResetReceiver];

/// What runs did together, all of which must be well.
#[derive(Default)]
struct Sum {
    messages: Messages,
    sessions: Sessions,
    crashes: u64,
}

fn all_well(outcomes: impl Iterator<Item = Outcome>) -> (Sum, Vec<Outcome>) {
    let mut sum = Sum::default();
    let outcomes = outcomes
        .inspect(|outcome| {
            if let Err(failure) = &outcome.result {
                panic!("seed {}: {failure}", outcome.seed);
            }
            sum.messages.merge(&outcome.report.messages);
            sum.sessions.merge(&outcome.report.sessions);
            sum.crashes += outcome.report.faults.of(Fault::ExecutorCrash);
        })
        .collect();
    (sum, outcomes)
}

fn under(seeds: std::ops::Range<u64>, kinds: &[Fault]) -> Sum {
    let swarm = Swarm::only(kinds).eager(150);
    let (sum, outcomes) = all_well(seeds.map(|seed| run_kind(seed, Kind::Messages, Some(swarm.clone()))));
    for kind in kinds {
        let injected: u64 = outcomes.iter().map(|outcome| outcome.report.faults.of(*kind)).sum();
        assert!(injected > 0, "{kind} was never injected");
    }
    sum
}

/// Dials that cross, hang, are refused or lost, names that do not resolve: what is sent to one address comes in order, what had
/// to wait first (oracles `order`, `session`, `twice`, `pair`), to whom it was sent and nobody else (`address`).
#[test]
fn n1_n3_whatever_happens_to_the_dials_each_address_gets_its_messages_in_order() {
    let kinds = [
        Fault::SynLost,
        Fault::DialHangs,
        Fault::DialRefused,
        Fault::AnswerLost,
        Fault::AcceptanceLost,
        Fault::AcceptFails,
        Fault::NameFails,
        Fault::Replay,
        Fault::SlowLink,
    ];
    let sum = under(0..25, &kinds);
    assert!(sum.sessions.begun > 250 && sum.messages.received > 10_000, "{:?}", sum.messages);
}

/// Links that break at any byte, hosts that cannot reach each other: each message is taken, or told as undelivered, or rejected,
/// and settles once (oracles `settled`, `report`, `early`).
#[test]
fn n4_whatever_breaks_each_message_is_taken_or_told_once() {
    let kinds = [Fault::HalfOpen, Fault::OneWay, Fault::Partition, Fault::OneWayPartition, Fault::SlowLink];
    let sum = under(100..125, &[&RESETS[..], &kinds].concat());
    assert!(sum.sessions.resumed > 40 && sum.messages.undelivered > 200, "{:?}", sum.messages);
}

/// Applications that take little: no node keeps more than its queues may hold, and what is refused has a reason (oracles `bound`,
/// `refused`, `settled`).
#[test]
fn n8_slow_readers_hold_back_their_senders_alone() {
    let sum = under(200..220, &[Fault::SlowApplication, Fault::SmallWindow, Fault::SlowLink]);
    assert!(sum.messages.rejected > 1000, "{:?}", sum.messages);
}

/// Every run sends to itself, by its address, by loopback and by its name, before it listens there and after; to a port where
/// nobody listens, a host that is not there, a name that means nothing (oracles `order`, `early`, `stuck`).
#[test]
fn n10_oneself_and_nobody() {
    let (sum, _) = all_well((300..320).map(|seed| run_kind(seed, Kind::Messages, Some(Swarm::none()))));
    assert!(sum.messages.given_up > 500, "{:?}", sum.messages);
    assert_eq!((sum.sessions.expired, sum.sessions.stale), (0, 0), "{:?}", sum.sessions);
}

/// Processes and hosts that die and come back as another instance, others that stand still (oracles `crash`, `report`, `order`).
#[test]
fn n11_a_peer_that_was_started_again_is_another() {
    let kinds = [Fault::ExecutorCrash, Fault::HostCrash, Fault::ProcessFreeze, Fault::HostFreeze];
    let sum = under(400..425, &kinds);
    assert!(sum.crashes > 10 && sum.messages.undelivered > 100, "{:?}", sum.messages);
}

/// Shut down in the middle of it all: over within the drain, everything settled, nothing left (oracles `down`, `settled`, `leak`).
#[test]
fn n14_a_shutdown_ends_in_time_with_everything_told() {
    let kinds = [Fault::SlowApplication, Fault::SlowLink, Fault::DialHangs, Fault::HalfOpen];
    let sum = under(500..525, &[&RESETS[..], &kinds].concat());
    assert!(sum.messages.downs > 80, "{:?}", sum.messages);
}

/// All faults together.
#[test]
fn n1_n4_n11_n14_every_fault_of_the_swarm_at_once() {
    let (sum, _) = all_well((700..725).map(|seed| run_kind(seed, Kind::Messages, None)));
    assert!(sum.sessions.broken > 50 && sum.messages.received > 10_000, "{:?}", sum.messages);
}

/// Far from those that every change is tried with.
#[test]
fn n1_n10_n14_seeds_from_all_over_end_well() {
    all_well(
        [13, 65, 67, 69, 89, 91, 368, 1543, 10339, 20309, 20320]
            .into_iter()
            .map(|seed| run_kind(seed, Kind::Messages, None)),
    );
}

#[test]
fn x1_one_seed_gives_one_trace() {
    for seed in [1, 2] {
        let (first, second) = (run_kind(seed, Kind::Messages, None), run_kind(seed, Kind::Messages, None));
        assert_eq!((first.report.hash, first.report.events), (second.report.hash, second.report.events));
    }
}
