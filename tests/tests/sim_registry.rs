//! The ledger's registry cases (R) in the simulated world: each forces its case and asserts each clause.

use core::time::Duration;
use xxnet_core::connection::KindId;
use xxnet_core::executor::ExecutorNotice;
use xxnet_core::message::{Message, RefuseReason, Refused};
use xxnet_core::registry::RegistryNotice;
use xxnet_sim::Setup;
use xxnet_sim::fault::Fault;
use xxnet_sim::lab::{Door, Lab, Task};
use xxnet_sim::runner::run_setup;

const fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// One registry, one publisher, so many executors of one slot.
fn cluster(seed: u64, executors: usize) -> Lab {
    Lab::settled(seed, Setup::calm(1, &vec![1; executors]))
}

fn joined(lab: &Lab, node: &str) -> usize {
    let instance = lab.instance(node);
    lab.count_registry(
        |notice| matches!(notice, RegistryNotice::MemberJoined { member, .. } if *member == instance),
    )
}

fn registered(lab: &Lab, node: &str) -> usize {
    lab.count(node, |notice| matches!(notice, ExecutorNotice::Registered { .. }))
}

#[test]
fn r1_registration_takes_its_three_steps_in_order() {
    let lab = cluster(1, 2);
    let at = |node: &str, like: &dyn Fn(&xxnet_sim::machine::Notice) -> bool| {
        lab.log().iter().position(|told| told.node == node && like(&told.notice)).expect("the step is told")
    };
    use xxnet_sim::machine::Notice::{Executor, Registry};
    let instance = lab.instance("executor-1");
    let dials = at("executor-1", &|n| matches!(n, Executor(ExecutorNotice::Registering(_))));
    let linked = at(
        "registry-1",
        &|n| matches!(n, Registry(RegistryNotice::RegistrationLinked { member, .. }) if *member == instance),
    );
    let stands = at("registry-1", &|n| {
        matches!(n, Registry(RegistryNotice::MemberJoined { member, name, slots: 1, client: false, again: false, .. })
            if *member == instance && name == "executor-1")
    });
    let told = at("executor-1", &|n| matches!(n, Executor(ExecutorNotice::Registered { .. })));
    assert!(dials < linked && linked < stands && stands < told);
    // The member's information stands there: a publisher is listed as a client.
    let publisher = lab.instance("publisher-1");
    assert_eq!(
        lab.count_registry(|n| matches!(n, RegistryNotice::MemberJoined { member, client: true, slots: 0, .. } if *member == publisher)),
        1
    );
    lab.finish();
}

/// Where it stands in the registry's table is its host's loopback, which to everybody else is their own host.
#[test]
fn r1_a_publisher_that_registers_over_loopback_is_found_from_other_hosts() {
    for seed in 0..6 {
        let mut lab = Lab::settled(seed, Setup { together: true, ..Setup::calm(2, &[1, 1]) });
        let loopback = |n: &RegistryNotice| matches!(n, RegistryNotice::MemberJoined { address, .. } if address.is_loopback());
        assert_eq!(lab.count_registry(loopback), 1);
        let tasks = ["publisher-1", "publisher-2", "publisher-1"]
            .map(|publisher| lab.publish(publisher, Task::sleeping(secs(1))));
        for task in tasks {
            lab.done(task, secs(20));
        }
        for node in ["executor-1", "executor-2"] {
            let astray = lab.count(node, |n| matches!(n, ExecutorNotice::Unreachable { .. }));
            assert_eq!(astray, 0, "{node} dialled where no publisher is");
        }
        lab.finish();
    }
}

#[test]
fn r1_a_publisher_beside_its_registry_ends_well_under_faults() {
    let kinds =
        [Fault::HostCrash, Fault::RegistryCrash, Fault::PublisherCrash, Fault::Partition, Fault::HalfOpen];
    for seed in 0..20 {
        let setup = Setup { together: true, ..Setup::calm(2, &[2, 1]).with(&kinds) };
        let outcome = run_setup(seed, setup);
        assert!(outcome.result.is_ok(), "seed {seed}: {:?}", outcome.result);
    }
}

#[test]
fn r2_registering_again_after_a_broken_link_is_the_same_member() {
    let mut lab = cluster(2, 1);
    lab.part("executor-1", "registry-1");
    lab.run_for(secs(12));
    lab.mend();
    lab.run_until("it is registered again", secs(30), |lab| registered(lab, "executor-1") >= 2);
    assert_eq!(joined(&lab, "executor-1"), 2, "the same instance joins, and joins again");
    let again = lab.count_registry(
        |n| matches!(n, RegistryNotice::MemberJoined { again: true, name, .. } if name == "executor-1"),
    );
    assert_eq!(again, 1);
    let task = lab.publish("publisher-1", Task::sleeping(secs(1)));
    lab.done(task, secs(20));
    lab.finish();
}

#[test]
fn r2_a_restart_is_a_new_member_that_gets_work() {
    let mut lab = cluster(3, 1);
    let first = lab.instance("executor-1");
    lab.kill("executor-1");
    lab.run_for(secs(1));
    lab.start("executor-1");
    lab.run_until("the new one is registered", secs(30), |lab| {
        lab.instance("executor-1") != first && joined(lab, "executor-1") == 1
    });
    let task = lab.publish("publisher-1", Task::sleeping(secs(1)));
    lab.done(task, secs(20));
    lab.finish();
}

#[test]
fn r3_a_silent_member_is_suspect_then_gone_and_its_proposals_move() {
    let mut lab = cluster(4, 2);
    // Both executors are busy, so that the next task waits as somebody's proposal.
    let busy = [
        lab.publish("publisher-1", Task::sleeping(secs(60))),
        lab.publish("publisher-1", Task::sleeping(secs(8))),
    ];
    lab.run_until("both run", secs(5), |lab| lab.alive().len() == 2);
    let long = lab.holder(busy[0]).expect("held").1;
    let other = if long == "executor-1" { "executor-2" } else { "executor-1" };
    let waiting: Vec<_> = (0..6).map(|_| lab.publish("publisher-1", Task::sleeping(secs(1)))).collect();
    lab.run_for(secs(1));
    let silent = lab.instance(&long);
    // The one with the long task falls silent towards the registry alone.
    lab.part(&long, "registry-1");
    lab.run_until("it is suspect", secs(15), |lab| {
        lab.count_registry(|n| matches!(n, RegistryNotice::MemberSuspect(member) if *member == silent)) == 1
    });
    lab.run_until("it is gone", secs(20), |lab| {
        lab.count_registry(
            |n| matches!(n, RegistryNotice::MemberGone { member, left: false, .. } if *member == silent),
        ) == 1
    });
    for task in waiting {
        lab.done(task, secs(40));
        assert_eq!(lab.holder(task).expect("held").1, other, "unclaimed proposals move to whoever is there");
    }
    // What it holds is between it and the publisher: the registry's opinion does not touch it.
    lab.run_until("the long task is done", secs(90), |lab| lab.ending(busy[0]).is_some());
    assert_eq!(lab.runs(busy[0]), 1);
    lab.finish();
}

#[test]
fn r4_a_killed_registry_comes_back_and_nothing_runs_twice() {
    for seed in 0..6 {
        let mut lab = cluster(10 + seed, 3);
        let tasks: Vec<_> = (0..20)
            .map(|number| {
                lab.publish("publisher-1", Task::sleeping(Duration::from_millis(300 + 97 * number)))
            })
            .collect();
        // At any moment: before the first grant, while some run, after some are done.
        lab.run_for(Duration::from_millis(1 + 700 * seed));
        lab.kill("registry-1");
        lab.run_for(secs(1 + seed));
        lab.start("registry-1");
        for task in tasks {
            lab.done(task, secs(60));
            assert_eq!(lab.runs(task), 1, "seed {seed}: each task has run exactly once");
        }
        lab.run_until("members register again by themselves", secs(20), |lab| {
            ["executor-1", "executor-2", "executor-3"].iter().all(|node| joined(lab, node) == 2)
        });
        lab.finish();
    }
}

#[test]
fn r5_executors_go_on_without_a_registry_and_do_not_stampede() {
    let mut lab = cluster(20, 4);
    let task = lab.publish("publisher-1", Task::sleeping(secs(100)));
    lab.run_until("it runs", secs(5), |lab| lab.alive().len() == 1);
    lab.kill("registry-1");
    // It is away for an hour: the running task ends all the same, and is not run again.
    lab.done(task, secs(120));
    assert_eq!(lab.runs(task), 1);
    lab.run_for(secs(3600));
    let tries = |lab: &Lab, node: &str| lab.count(node, |n| matches!(n, ExecutorNotice::Registering(_)));
    for node in ["executor-1", "executor-2", "executor-3", "executor-4"] {
        let tried = tries(&lab, node);
        assert!(tried >= 180, "{node} has tried only {tried} times in an hour");
        assert!(tried <= 1500, "{node} has tried {tried} times in an hour: no backoff");
        let told = lab.count(node, |n| matches!(n, ExecutorNotice::RegistryLost { .. }));
        assert!((1..=3).contains(&told), "{node} says {told} times that the registry is lost");
    }
    // No stampede: their dials do not fall on one moment.
    let last: Vec<u64> = ["executor-1", "executor-2", "executor-3", "executor-4"]
        .iter()
        .filter_map(|node| {
            let told = lab.log().iter().rev().find(|told| {
                told.node == *node
                    && matches!(
                        &told.notice,
                        xxnet_sim::machine::Notice::Executor(ExecutorNotice::Registering(_))
                    )
            });
            told.map(|told| told.at)
        })
        .collect();
    let spread = last.iter().max().zip(last.iter().min()).map_or(0, |(high, low)| high - low);
    assert!(spread > 50_000, "their last dials are {spread} us apart");
    lab.start("registry-1");
    lab.run_until("all are registered", secs(25), |lab| registered(lab, "executor-1") == 2);
    let task = lab.publish("publisher-1", Task::sleeping(secs(1)));
    lab.done(task, secs(30));
    lab.finish();
}

#[test]
fn r5_an_executor_that_starts_before_its_registry_finds_it() {
    let mut lab = Lab::new(21, Setup::calm(1, &[1]));
    lab.kill("registry-1");
    lab.run_for(secs(1));
    lab.kill("registry-1");
    lab.run_for(secs(30));
    let task = lab.publish("publisher-1", Task::sleeping(secs(1)));
    lab.run_for(secs(5));
    assert_eq!(lab.runs(task), 0);
    lab.start("registry-1");
    lab.done(task, secs(30));
    lab.finish();
}

#[test]
fn r6_what_registry_and_executors_disagree_about_is_reconciled() {
    // A registry that knows nothing meets an executor that holds a task, one that has finished one, and a publisher with one
    // that nobody has yet.
    let mut lab = cluster(30, 2);
    let long = lab.publish("publisher-1", Task::sleeping(secs(40)));
    let short = lab.publish("publisher-1", Task::sleeping(secs(3)));
    lab.run_until("both run", secs(5), |lab| lab.alive().len() == 2);
    let waiting = lab.publish("publisher-1", Task::sleeping(secs(1)));
    lab.run_for(Duration::from_millis(200));
    lab.kill("registry-1");
    // Finished, never heard.
    lab.done(short, secs(10));
    lab.start("registry-1");
    lab.done(waiting, secs(40));
    lab.done(long, secs(60));
    assert_eq!([lab.runs(long), lab.runs(short), lab.runs(waiting)], [1, 1, 1]);
    let id = lab.id(long).expect("published");
    let told = lab.count_registry(|n| matches!(n, RegistryNotice::TaskTaken { task, .. } if *task == id));
    assert!(told >= 2, "the new registry hears who holds it");
    lab.finish();
}

#[test]
fn r6_a_proposal_that_never_arrived_is_made_again() {
    let mut lab = cluster(31, 1);
    // The way to the executor is cut at the moment of the proposal; the registry believes that it is proposed.
    lab.cut("registry-1", "executor-1");
    let task = lab.publish("publisher-1", Task::sleeping(secs(1)));
    lab.run_for(secs(4));
    assert_eq!(lab.runs(task), 0);
    lab.kill("executor-1");
    lab.mend();
    lab.run_for(secs(1));
    lab.start("executor-1");
    lab.done(task, secs(60));
    assert_eq!(lab.runs(task), 1);
    lab.finish();
}

#[test]
fn r7_two_registries_propose_one_task_to_two_executors_and_it_runs_once() {
    for seed in 0..8 {
        let mut setup = Setup::calm(1, &[1, 1]);
        setup.registries = 2;
        let mut lab = Lab::settled(40 + seed, setup);
        let tasks: Vec<_> = (0..10).map(|_| lab.publish("publisher-1", Task::sleeping(secs(1)))).collect();
        for task in &tasks {
            lab.done(*task, secs(60));
        }
        for task in tasks {
            assert_eq!(lab.runs(task), 1, "seed {seed}");
            let id = lab.id(task).expect("published");
            let granted = lab
                .count("publisher-1", |n| matches!(n, ExecutorNotice::Granted { task, .. } if *task == id));
            assert_eq!(granted, 1, "seed {seed}: one is granted");
        }
        let refused = lab.count_registry(|n| matches!(n, RegistryNotice::TaskProposed { .. }));
        assert!(refused > 10, "seed {seed}: {refused} proposals: both registries have proposed");
        lab.finish();
    }
}

/// Each registry knows one executor and not the other's: both executors claim the task, and the publisher refuses the second.
#[test]
fn r7_the_second_of_two_executors_that_claim_is_refused() {
    let mut setup = Setup::calm(1, &[1, 1]);
    setup.registries = 2;
    let mut lab = Lab::new(48, setup);
    lab.part("registry-1", "executor-2");
    lab.part("registry-2", "executor-1");
    lab.run_for(secs(2));
    let task = lab.publish("publisher-1", Task::sleeping(secs(1)));
    let refused = lab.catch(Some("publisher-1"), Door::Sent, KindId::TASK, "Refused", secs(2));
    let id = lab.id(task).expect("published");
    assert!(matches!(
        refused.message(),
        Message::Refused(Refused { task, why: RefuseReason::Elsewhere, .. }) if task == id
    ));
    for registry in ["registry-1", "registry-2"] {
        assert_eq!(
            lab.passed(registry, Door::Sent, KindId::REGISTRATION, "Assign"),
            1,
            "{registry} proposes it"
        );
    }
    let (_, holder) = lab.holder(task).expect("held");
    let other = if holder == "executor-1" { "executor-2" } else { "executor-1" };
    lab.done(task, secs(5));
    let said = |name| lab.passed("publisher-1", Door::Sent, KindId::TASK, name);
    assert_eq!((said("Granted"), said("Refused")), (1, 1), "one is granted, the other refused");
    let heard = |node| lab.passed(node, Door::Received, KindId::TASK, "Refused");
    assert_eq!((heard(other), heard(&holder), lab.runs(task)), (1, 0, 1));
    lab.mend();
    lab.finish();
}
