//! The ledger's cases about sessions (N) in the simulated world: nodes with every kind of connection, plain and with sessions,
//! some with slow applications, small windows and short timeouts. What is promised stands in `sim/src/mesh.rs`; after each
//! storm comes peace, in which everything must be delivered, both ends dial on, and half of all is closed.

use xxnet_sim::Sessions;
use xxnet_sim::fault::{Fault, Swarm};
use xxnet_sim::plan::Kind;
use xxnet_sim::runner::{Outcome, run_kind};

const RESETS: [Fault; 3] = [Fault::ResetBoth, Fault::ResetSender, Fault::ResetReceiver];

/// Runs that all must be well; what happened to their sessions, together.
fn all_well(outcomes: impl Iterator<Item = Outcome>) -> (Sessions, Vec<Outcome>) {
    let mut sum = Sessions::default();
    let outcomes = outcomes
        .inspect(|outcome| {
            if let Err(failure) = &outcome.result {
                panic!("seed {}: {failure}", outcome.seed);
            }
            sum.merge(&outcome.report.sessions);
        })
        .collect();
    (sum, outcomes)
}

fn under(seeds: std::ops::Range<u64>, kinds: &[Fault]) -> (Sessions, Vec<Outcome>) {
    let swarm = Swarm::only(kinds).eager(150);
    let (sum, outcomes) = all_well(seeds.map(|seed| run_kind(seed, Kind::Connections, Some(swarm.clone()))));
    for kind in kinds {
        let injected: u64 = outcomes.iter().map(|outcome| outcome.report.faults.of(*kind)).sum();
        assert!(injected > 0, "{kind} was never injected");
    }
    (sum, outcomes)
}

/// Crossing dials, also while a session lives, under whatever the network can do to a dial: connect requests, answers and
/// acceptances that are lost, dials that hang, accepts that fail, words of dead ones repeated (oracles `pair`, `session`).
#[test]
fn n3_one_link_a_pair_whoever_dials_and_whatever_happens_to_the_dials() {
    let kinds = [
        Fault::SynLost,
        Fault::DialHangs,
        Fault::DialRefused,
        Fault::AnswerLost,
        Fault::AcceptanceLost,
        Fault::AcceptFails,
        Fault::Replay,
        Fault::SlowLink,
    ];
    let (sessions, _) = under(0..40, &kinds);
    assert!(sessions.begun > 1500, "{sessions:?}");
}

/// A link breaks at any byte; each end notices at once, or not for seconds (oracles `session`, `acknowledged`, `blame`, `pair`).
#[test]
fn n4_whatever_breaks_each_message_arrives_once_and_in_order() {
    let slow = [Fault::HalfOpen, Fault::OneWay, Fault::SmallWindow, Fault::OddPieces, Fault::SlowApplication];
    let (sessions, outcomes) = under(100..140, &[&RESETS[..], &slow].concat());
    let packs: u64 = outcomes.iter().map(|outcome| outcome.report.packs).sum();
    assert!(sessions.resumed > 400 && packs > 10_000, "{packs} packs, {sessions:?}");
}

/// No link for longer than a session's timeout: what was not acknowledged is told, neither less nor more (oracle `report`).
#[test]
fn n4_gone_for_longer_than_the_timeout_is_reported() {
    let (sessions, _) = under(200..240, &[Fault::Partition, Fault::HostCrash, Fault::SlowApplication]);
    assert!(sessions.expired > 20 && sessions.undelivered > 200, "{sessions:?}");
}

/// A process is killed and started again between two sends: another instance, which gets nothing of the old session, and
/// whoever had one with it is told what was not acknowledged (oracles `crash`, `report`).
#[test]
fn n11_the_old_session_of_a_restarted_peer_ends_with_a_report_and_nothing_of_it_reaches_the_new_one() {
    let (sessions, outcomes) = under(300..340, &[Fault::ExecutorCrash, Fault::HostCrash, Fault::SlowLink]);
    let crashes: u64 = outcomes.iter().map(|outcome| outcome.report.faults.of(Fault::ExecutorCrash)).sum();
    assert!(crashes > 30 && sessions.replaced > 30 && sessions.undelivered > 100, "{sessions:?}");
}

/// One end has lost a link, or given the session up, and the other does not know (oracles `pair`, `session`, `blame`).
#[test]
fn n13_ends_that_disagree_about_a_link_or_a_session_agree_again() {
    let apart = [
        Fault::AcceptanceLost,
        Fault::HalfOpen,
        Fault::OneWayPartition,
        Fault::Partition,
        Fault::ProcessFreeze,
        Fault::HostFreeze,
    ];
    let (sessions, _) = under(400..440, &[&RESETS[..], &apart].concat());
    assert!(sessions.stale > 20 && sessions.expired > 20, "{sessions:?}");
}

/// One end notices that a link has broken, and the other does not for seconds: whoever dials gets through at once, link there or not
/// (PROTOCOL B2), so that hardly any session is without a link for as long as that takes.
#[test]
fn n13_a_redial_gets_through_while_the_other_end_is_half_open() {
    let (sessions, _) = under(450..480, &[Fault::ResetSender, Fault::ResetReceiver]);
    assert!(sessions.resumed > 700 && sessions.expired * 5 < sessions.resumed, "{sessions:?}");
}

/// Nothing disturbs: sessions that are closed while messages are under way lose none, at either end, and are over in time.
#[test]
fn n14_a_close_in_peace_loses_nothing_and_is_over_in_time() {
    let (sessions, _) =
        all_well((500..530).map(|seed| run_kind(seed, Kind::Connections, Some(Swarm::none()))));
    assert!(sessions.begun > 1000, "{sessions:?}");
    assert_eq!((sessions.broken, sessions.expired, sessions.stale), (0, 0, 0), "{sessions:?}");
}

/// Closed under faults, with peers that take slowly: what was accepted is delivered or reported (oracle `report`).
#[test]
fn n14_what_is_closed_is_delivered_or_reported() {
    let kinds = [Fault::SlowApplication, Fault::SlowLink, Fault::ResetBoth];
    let (sessions, _) = under(600..630, &kinds);
    assert!(sessions.undelivered > 0, "{sessions:?}");
}

/// All faults together.
#[test]
fn n4_n13_every_fault_of_the_swarm_at_once() {
    let (sessions, _) = all_well((700..740).map(|seed| run_kind(seed, Kind::Connections, None)));
    assert!(sessions.broken > 200 && sessions.resumed > 100, "{sessions:?}");
}
