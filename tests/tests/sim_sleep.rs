//! X5: a machine sleeps for an hour, as a laptop does whose lid is closed. Its clock counts that time (PROTOCOL A, assumptions),
//! so that what it believed to hold has run out when it wakes; then it comes back by itself. The oracles watch as in any seed.
#![allow(missing_docs)]

use core::time::Duration;
use xxnet_core::process::Stream;
use xxnet_core::registry::RegistryNotice;
use xxnet_sim::Setup;
use xxnet_sim::lab::{Given, Lab, Task};

const HOUR: Duration = Duration::from_secs(3600);

const fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn cluster(seed: u64, slots: &[u32]) -> Lab {
    Lab::settled(seed, Setup::calm(1, slots))
}

fn runs_somewhere(lab: &mut Lab, given: Given) -> String {
    lab.run_until("its command runs", secs(60), |lab| {
        lab.id(given).is_some_and(|id| lab.alive().iter().any(|alive| alive.task == id))
    });
    lab.holder(given).expect("held").1
}

/// Every executor of two with one slot each works: two tasks run at once.
fn both_work(lab: &mut Lab) {
    // Long enough that one does not run both while the other one still waits for its connect request to be sent again.
    let tasks = [
        lab.publish("publisher-1", Task::sleeping(secs(50))),
        lab.publish("publisher-1", Task::sleeping(secs(50))),
    ];
    lab.run_until("two run at once", secs(60), |lab| lab.alive().len() == 2);
    tasks.into_iter().for_each(|task| lab.done(task, secs(120)));
}

#[test]
fn x5_an_executors_host_sleeps_for_an_hour() {
    let mut lab = cluster(511, &[1, 1]);
    let task = lab.publish("publisher-1", Task::sleeping(secs(50)));
    let node = runs_somewhere(&mut lab, task);
    lab.run_for(secs(2));
    lab.sleep(&node);
    // It is out, its task is done elsewhere, and nobody waits for it.
    lab.done(task, secs(120));
    assert_eq!(lab.output(task, Stream::Stdout), b"attempt 2\n");
    let gone = lab.instance(&node);
    assert!(
        lab.count_registry(|n| matches!(n, RegistryNotice::MemberGone { member, .. } if *member == gone))
            == 1
    );
    lab.run_for(HOUR);
    lab.wake(&node);
    // Nothing of the old attempt goes on.
    lab.run_for(secs(1));
    assert!(lab.alive().is_empty(), "{:?}", lab.alive());
    both_work(&mut lab);
    lab.finish();
}

#[test]
fn x5_a_registrys_host_sleeps_for_an_hour() {
    let mut lab = cluster(512, &[1, 1]);
    let running = lab.publish("publisher-1", Task::sleeping(secs(30)));
    runs_somewhere(&mut lab, running);
    lab.sleep("registry-1");
    // What runs needs no registry.
    lab.done(running, secs(60));
    assert_eq!(lab.output(running, Stream::Stdout), b"attempt 1\n");
    lab.run_for(HOUR);
    let waiting = lab.publish("publisher-1", Task::sleeping(secs(1)));
    lab.run_for(secs(20));
    assert_eq!(lab.runs(waiting), 0, "nobody can propose it");
    lab.wake("registry-1");
    lab.done(waiting, secs(60));
    both_work(&mut lab);
    lab.finish();
}

#[test]
fn x5_a_publishers_host_sleeps_for_an_hour() {
    let mut lab = cluster(513, &[1, 1]);
    let task = lab.publish("publisher-1", Task::sleeping(secs(50)));
    runs_somewhere(&mut lab, task);
    lab.sleep("publisher-1");
    // Without its word the attempt's lease runs out, and the slot is free.
    lab.run_until("the attempt has ended", secs(20), |lab| lab.alive().is_empty());
    lab.run_for(HOUR);
    lab.wake("publisher-1");
    lab.done(task, secs(120));
    assert_eq!(lab.output(task, Stream::Stdout), b"attempt 2\n");
    both_work(&mut lab);
    lab.finish();
}

#[test]
fn x5_everything_sleeps_for_an_hour() {
    let mut lab = cluster(514, &[1, 1]);
    let nodes = ["registry-1", "executor-1", "executor-2", "publisher-1"];
    let task = lab.publish("publisher-1", Task::sleeping(secs(50)));
    runs_somewhere(&mut lab, task);
    nodes.iter().for_each(|node| lab.sleep(node));
    lab.run_for(HOUR);
    nodes.iter().for_each(|node| lab.wake(node));
    lab.done(task, secs(180));
    both_work(&mut lab);
    lab.finish();
}
