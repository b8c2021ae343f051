//! The special workloads of the simulator over seeds, each with the oracles that are its own.

use xxnet_sim::Setup;
use xxnet_sim::fault::{Fault, Swarm};
use xxnet_sim::plan::{Kind, Plan, Scenario};
use xxnet_sim::runner::{Outcome, run_kind, run_plan};
use xxnet_sim::talk::Talk;

/// Seeds of a kind, all of which must be well.
fn well(kind: Kind, seeds: core::ops::Range<u64>, swarm: Option<&Swarm>) -> Vec<Outcome> {
    let run = |seed| {
        let outcome = run_kind(seed, kind, swarm.cloned());
        if let Err(failure) = &outcome.result {
            panic!("{kind:?}, seed {seed}: {failure}");
        }
        outcome
    };
    seeds.map(run).collect()
}

fn cluster(outcome: &Outcome) -> &Setup {
    match &outcome.plan.scenario {
        Scenario::Cluster(setup) => setup,
        other => panic!("no cluster: {other:?}"),
    }
}

#[test]
fn r5_no_registry_for_an_hour() {
    let outcomes = well(Kind::NoRegistry, 0..12, None);
    for outcome in &outcomes {
        let away = cluster(outcome).away.expect("it is away");
        assert!(away.for_us >= 3_600_000_000);
        assert!(outcome.report.simulated > away.end());
    }
    // What is promised of the hour is asked where nothing else happens.
    assert!(outcomes.iter().any(|outcome| outcome.plan.faults.is_empty() && outcome.report.endings[0] > 0));
    assert!(outcomes.iter().any(|outcome| !outcome.plan.faults.is_empty()));
}

#[test]
fn r7_an_old_registry_lives_on_beside_its_replacement() {
    let outcomes = well(Kind::TwoRegistries, 0..20, None);
    let replaced = |outcome: &Outcome| cluster(outcome).replaced.expect("it is replaced");
    assert!(outcomes.iter().any(|outcome| replaced(outcome).frozen_us > 0));
    assert!(outcomes.iter().any(|outcome| replaced(outcome).turns_us.is_some()));
}

/// A going publisher takes its tasks along; what a going executor had is done by others.
#[test]
fn t7_nodes_that_go_by_themselves_and_come_back() {
    let outcomes = well(Kind::Cluster, 0..40, Some(&Swarm::none()));
    let going = |outcome: &&Outcome| !cluster(outcome).goings.is_empty();
    assert!(outcomes.iter().filter(going).count() > 5);
    assert!(outcomes.iter().any(|outcome| cluster(outcome).goings.iter().any(|going| going.vanishes)));
}

#[test]
fn r3_hundreds_of_executors_arrive_at_once() {
    let text = include_str!("../../sim/corpus/storm.json");
    let plan = Plan::parse(text).expect("it is a plan");
    let outcome = run_plan(&plan, false);
    assert_eq!(outcome.result, Ok(()));
    assert_eq!(outcome.report.endings[0], outcome.report.tasks, "each task is done");
    let Scenario::Cluster(setup) = &plan.scenario else { panic!("no cluster") };
    assert!(setup.crowd.is_some_and(|crowd| crowd.executors >= 200));
}

#[test]
fn n4_n8_what_is_said_in_a_room_comes_to_each_member_once_and_in_order() {
    let outcomes = well(Kind::Chat, 0..8, None);
    let received: u64 = outcomes.iter().map(|outcome| outcome.report.messages.received).sum();
    assert!(received > 500, "only {received} messages");
}

#[test]
fn n8_small_messages_come_at_once_beside_bulk() {
    let outcomes = well(Kind::Bulk, 0..8, None);
    let largest = |outcome: &Outcome| match &outcome.plan.scenario {
        Scenario::Messages(nodes) => matches!(nodes.talk, Some(Talk::Bulk(bytes)) if bytes > 4_000_000),
        _ => false,
    };
    let calm = outcomes.iter().filter(|outcome| outcome.plan.faults.is_empty());
    assert!(calm.clone().count() > 1 && calm.clone().any(largest), "the clock is looked at in calm runs");
}

#[test]
fn n8_slow_readers_keep_no_more_than_their_windows() {
    let outcomes = well(Kind::SlowReaders, 0..10, None);
    let rejected: u64 = outcomes.iter().map(|outcome| outcome.report.messages.rejected).sum();
    assert!(rejected > 0, "senders are never held back");
}

/// The oracle `leak` counts folders; it excuses those alone that were held and told.
#[test]
fn x5_folders_that_cannot_be_removed_are_removed_later_or_told() {
    let swarm = Swarm::only(&[Fault::FolderStays, Fault::DialExhausted]).eager(800);
    let outcomes = well(Kind::Cluster, 0..25, Some(&swarm));
    let injected = |kind| outcomes.iter().map(|outcome| outcome.report.faults.of(kind)).sum::<u64>();
    assert!(injected(Fault::FolderStays) > 10 && injected(Fault::DialExhausted) > 10);
}
