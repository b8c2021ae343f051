//! The ledger's task cases (T) in the simulated world: each forces its case and asserts its clauses. The oracles watch as in any
//! seed: never two live copies, one end a task, slots, late results, output, callbacks; and `finish` asks for leaks.

use core::time::Duration;
use xxnet_core::executor::{Ending, ExecutorNotice, TaskStep};
use xxnet_core::message::{Exit, Placement, StopReason, WaitReason};
use xxnet_core::process::{ExitStatus, Stream};
use xxnet_sim::Setup;
use xxnet_sim::fault::{Fault, Swarm};
use xxnet_sim::lab::{Given, Lab, Task};
use xxnet_sim::machine::Notice;
use xxnet_sim::runner::{Outcome, run_setup};
use xxnet_sim::script::Step;

const fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

const SECOND: u64 = 1_000_000;

fn cluster(seed: u64, slots: &[u32]) -> Lab {
    Lab::settled(seed, Setup::calm(1, slots))
}

fn swarm(kinds: &[Fault], eagerness: u32, seeds: core::ops::Range<u64>) -> Vec<Outcome> {
    let setup = || Setup { swarm: Swarm::only(kinds).eager(eagerness), ..Setup::calm(2, &[1, 2, 1]) };
    let run = |seed| {
        let outcome = run_setup(seed, setup());
        if let Err(failure) = &outcome.result {
            panic!("seed {seed}: {failure}");
        }
        outcome
    };
    let outcomes: Vec<_> = seeds.map(run).collect();
    for kind in kinds {
        assert!(
            outcomes.iter().any(|outcome| outcome.report.faults.of(*kind) > 0),
            "{kind} was never injected"
        );
    }
    outcomes
}

/// When the publisher's application was told of the grant of an attempt.
fn granted_at(lab: &Lab, given: Given, wanted: u64) -> Option<u64> {
    let id = lab.id(given)?;
    let is = |told: &&xxnet_sim::lab::Told| matches!(&told.notice, Notice::Executor(ExecutorNotice::Granted { task, attempt, .. }) if *task == id && attempt.0 == wanted);
    lab.log().iter().find(is).map(|told| told.at)
}

fn runs_somewhere(lab: &mut Lab, given: Given) -> String {
    lab.run_until("its command runs", secs(30), |lab| {
        lab.id(given).is_some_and(|id| lab.alive().iter().any(|alive| alive.task == id))
    });
    lab.holder(given).expect("held").1
}

fn other_than(node: &str) -> &'static str {
    if node == "executor-1" { "executor-2" } else { "executor-1" }
}

#[test]
fn t1_the_ten_steps_with_files() {
    let mut lab = cluster(1, &[1, 1]);
    let script = vec![Step::Copy(b"in".to_vec(), b"out".to_vec()), Step::Who];
    let task = lab.publish("publisher-1", Task::new(script).input(b"in", vec![7; 5000]).output(b"out"));
    lab.done(task, secs(10));
    use TaskStep::*;
    let at = |step| lab.step(step).unwrap_or_else(|| panic!("{step:?} was not told"));
    assert!(at(Assigned) <= at(TaskConnectionMade) && at(TaskConnectionMade) <= at(TaskDialled));
    assert!(at(TaskDialled) < at(TaskAccepted) && at(TaskDialled) < at(TaskLinked));
    assert!(at(TaskLinked) <= at(FileConnectionMade) && at(FileConnectionMade) <= at(FileDialled));
    assert!(at(FileDialled) < at(FileAccepted) && at(FileDialled) < at(FileLinked));
    assert!(at(Published) > 0);
    assert!(lab.output_file(task, 0));
    assert_eq!(lab.runs(task), 1);
    lab.finish();
}

#[test]
fn t1_without_files_there_is_no_file_connection() {
    let mut lab = cluster(2, &[1]);
    let task = lab.publish("publisher-1", Task::sleeping(secs(1)));
    lab.done(task, secs(10));
    assert!(lab.step(TaskStep::TaskLinked).is_some());
    assert_eq!(lab.step(TaskStep::FileConnectionMade), None);
    assert_eq!(lab.output(task, Stream::Stdout), b"attempt 1\n");
    lab.finish();
}

/// Links of every kind break at any byte, at one end, at both, or silently: every task ends once, with the right bytes.
#[test]
fn t2_links_break_after_any_step() {
    let kinds = [Fault::ResetBoth, Fault::ResetSender, Fault::ResetReceiver, Fault::HalfOpen, Fault::OneWay];
    let outcomes = swarm(&kinds, 300, 100..130);
    let done: u64 = outcomes.iter().map(|outcome| outcome.report.endings[0]).sum();
    assert!(done >= 100, "{done} tasks were done");
}

/// Commands doubled, whole dials repeated, packs delayed past what comes after them on other links.
#[test]
fn t3_doubled_and_delayed() {
    swarm(
        &[Fault::DoubledCommand, Fault::Replay, Fault::SlowLink, Fault::Cancel, Fault::SlowApplication],
        400,
        200..225,
    );
}

#[test]
fn t4_a_task_waits_for_an_executor_and_says_so() {
    let mut lab = cluster(4, &[1]);
    lab.kill("executor-1");
    lab.run_for(secs(30));
    let task = lab.publish("publisher-1", Task::sleeping(secs(1)));
    let hasty = lab.publish("publisher-1", Task::sleeping(secs(1)).patience(secs(5)));
    lab.run_until("it says what it waits for", secs(5), |lab| {
        lab.count("publisher-1", |n| {
            matches!(n, ExecutorNotice::Waiting { reason: WaitReason::NoExecutor, .. })
        }) == 2
    });
    assert_eq!(lab.end_of(hasty, secs(10)), Ending::Expired);
    assert!(lab.ending(task).is_none());
    lab.start("executor-1");
    lab.done(task, secs(10));
    assert_eq!(lab.runs(hasty), 0);
    lab.finish();
}

#[test]
fn t5_a_publisher_is_not_assigned_its_own_task_unless_it_asks() {
    let mut lab = cluster(5, &[1]);
    // The one executor publishes itself.
    let foreign = lab.publish("executor-1", Task::sleeping(secs(1)));
    lab.run_for(secs(20));
    assert_eq!(lab.runs(foreign), 0);
    let own = lab.publish("executor-1", Task::sleeping(secs(1)).placement(Placement::Anyone));
    lab.done(own, secs(10));
    assert_eq!(lab.holder(own).expect("held").1, "executor-1");
    let alone = lab.publish("executor-1", Task::sleeping(secs(1)).placement(Placement::Publisher));
    lab.done(alone, secs(10));
    assert_eq!(lab.runs(foreign), 0);
    lab.cancel(foreign);
    assert_eq!(lab.end_of(foreign, secs(5)), Ending::Cancelled);
    lab.finish();
}

#[test]
fn t6_a_publisher_that_never_comes_back_ends_its_attempt_and_folder() {
    for (seed, moment) in [(60, 100), (61, 1_000), (62, 2_990)] {
        let mut lab = cluster(seed, &[1]);
        let script = vec![Step::Sleep(3 * SECOND), Step::Make(b"out".to_vec(), 1, 1000)];
        lab.publish("publisher-1", Task::new(script).input(b"in", vec![1; 10]).output(b"out"));
        lab.run_for(Duration::from_millis(moment));
        lab.kill("publisher-1");
        lab.run_until("no process of it is left", secs(15), |lab| lab.alive().is_empty());
        lab.run_until("its folder is gone", secs(17), |lab| lab.held_on_disk("executor-1") == (0, 0));
        lab.finish();
    }
}

#[test]
fn t6_a_publisher_that_goes_after_the_run_leaves_nothing_either() {
    let mut lab = cluster(63, &[1]);
    let script = vec![Step::Make(b"out".to_vec(), 1, 1000)];
    let task = lab.publish("publisher-1", Task::new(script).output(b"out"));
    // Cut off before it can take the result.
    let node = runs_somewhere(&mut lab, task);
    lab.part("publisher-1", &node);
    lab.run_until("the command has ended", secs(5), |lab| lab.alive().is_empty());
    lab.kill("publisher-1");
    lab.run_until("its folder is gone", secs(17), |lab| lab.held_on_disk(&node) == (0, 0));
    lab.finish();
}

#[test]
fn t6_a_link_that_comes_back_within_the_lease_costs_nothing() {
    let mut lab = cluster(64, &[1, 1]);
    let script = vec![Step::Out(3, 100_000), Step::Sleep(20 * SECOND), Step::Out(4, 100_000), Step::Who];
    let task = lab.publish("publisher-1", Task::new(script));
    let node = runs_somewhere(&mut lab, task);
    lab.run_for(secs(2));
    lab.part("publisher-1", &node);
    lab.run_for(secs(7));
    lab.mend();
    lab.done(task, secs(40));
    assert_eq!((lab.runs(task), lab.holder(task).expect("held").0), (1, 1));
    assert!(lab.output(task, Stream::Stdout).ends_with(b"attempt 1\n"));
    lab.finish();
}

#[test]
fn t7_an_assignee_that_dies_is_replaced_within_five_seconds() {
    for (seed, moment) in [(70, 0), (71, 40), (72, 1500), (73, 4000)] {
        let mut lab = cluster(seed, &[1, 1]);
        let script = vec![Step::Copy(b"in".to_vec(), b"out".to_vec()), Step::Sleep(8 * SECOND), Step::Who];
        let task =
            lab.publish("publisher-1", Task::new(script).input(b"in", vec![5; 100_000]).output(b"out"));
        lab.run_until("somebody holds it", secs(5), |lab| lab.holder(task).is_some());
        lab.run_for(Duration::from_millis(moment));
        let node = lab.holder(task).expect("held").1;
        lab.kill(&node);
        let killed = lab.now();
        lab.run_until("it is granted anew", secs(5), |lab| {
            lab.holder(task).is_some_and(|(number, _)| number == 2)
        });
        assert!(granted_at(&lab, task, 2).expect("granted") - killed < 5 * SECOND);
        assert!(!lab.alive().iter().any(|alive| alive.node == node), "killed with -9, its command ends too");
        lab.done(task, secs(30));
        assert_eq!(lab.holder(task).expect("held").1, other_than(&node));
        assert_eq!(lab.output(task, Stream::Stdout), b"attempt 2\n");
        lab.finish();
    }
}

#[test]
fn t7_a_silent_host_is_replaced_after_its_lease_and_not_before() {
    let mut lab = cluster(74, &[1, 1]);
    let task = lab.publish("publisher-1", Task::sleeping(secs(60)));
    let node = runs_somewhere(&mut lab, task);
    lab.run_for(secs(4));
    lab.power_off(&node);
    let silent = lab.now();
    lab.run_until("it is granted anew", secs(40), |lab| {
        lab.holder(task).is_some_and(|(number, _)| number == 2)
    });
    let waited = granted_at(&lab, task, 2).expect("granted") - silent;
    // The last renewal has arrived up to a heartbeat before the silence.
    assert!((11 * SECOND..=20 * SECOND).contains(&waited), "granted anew after {waited} us");
    lab.done(task, secs(90));
    lab.finish();
}

#[test]
fn t7_a_frozen_executor_has_no_second_live_copy_and_its_late_result_is_refused() {
    let mut lab = cluster(75, &[1, 1]);
    let task = lab.publish("publisher-1", Task::sleeping(secs(9)));
    let node = runs_somewhere(&mut lab, task);
    lab.run_for(secs(1));
    lab.freeze(&node);
    let frozen = lab.now();
    lab.run_until("it is granted anew", secs(40), |lab| {
        lab.holder(task).is_some_and(|(number, _)| number == 2)
    });
    assert!(granted_at(&lab, task, 2).expect("granted") - frozen >= 11 * SECOND);
    lab.run_for(secs(2));
    lab.thaw(&node);
    lab.done(task, secs(60));
    assert_eq!(lab.output(task, Stream::Stdout), b"attempt 2\n", "the old one's late result is refused");
    lab.finish();
}

#[test]
fn t8_what_a_command_can_do() {
    let mut lab = cluster(80, &[4]);
    let most = secs(60);
    let exit = |code| Exit::Status(ExitStatus::Code(code));
    let missing = lab.publish("publisher-1", Task::new(vec![]).no_such_command());
    assert_eq!(lab.exit_of(missing, most), Exit::NotFound);
    let locked = lab.publish("publisher-1", Task::new(vec![]).not_executable());
    assert_eq!(lab.exit_of(locked, most), Exit::NotExecutable);
    let failing = lab.publish("publisher-1", Task::new(vec![Step::Err(1, 100), Step::Exit(3)]));
    assert_eq!(lab.exit_of(failing, most), exit(3));
    assert_eq!(lab.runs(failing), 1, "what ran and exited non-zero is done, and is not run again");
    let killed = lab.publish("publisher-1", Task::new(vec![Step::Signal(11)]));
    assert_eq!(lab.exit_of(killed, most), Exit::Status(ExitStatus::Signal(11)));
    let slow = lab.publish("publisher-1", Task::new(vec![Step::Out(1, 100), Step::Hang]).timeout(secs(2)));
    assert_eq!(lab.exit_of(slow, most), Exit::TimedOut);
    assert_eq!(lab.output(slow, Stream::Stdout).len(), 100, "what it wrote before is there");
    let children = lab.publish("publisher-1", Task::new(vec![Step::Linger(SECOND / 20), Step::Exit(0)]));
    assert_eq!(lab.exit_of(children, most), exit(0));
    let chatty = lab.publish("publisher-1", Task::new(vec![Step::Out(9, 12 << 20)]));
    assert_eq!(lab.exit_of(chatty, most), exit(0));
    assert_eq!(lab.output(chatty, Stream::Stdout).len(), 12 << 20);
    lab.finish();
}

#[test]
fn t9_cancel_in_every_state() {
    // After so many milliseconds: unpublished, proposed, fetching, running, packing, after the end.
    for (seed, moment) in (0..).zip([0, 1, 2, 5, 8, 12, 20, 200, 990, 1000, 1003, 1006, 1010, 1020, 3000]) {
        let mut lab = cluster(900 + seed, &[1]);
        let script = vec![Step::Copy(b"in".to_vec(), b"out".to_vec()), Step::Sleep(SECOND)];
        let task = Task::new(script).input(b"in", vec![1; 50_000]).output(b"out").will_be_cancelled();
        let task = lab.publish("publisher-1", task);
        lab.run_until("it is published", secs(1), |lab| lab.id(task).is_some());
        lab.run_for(Duration::from_millis(moment));
        lab.cancel(task);
        lab.cancel(task);
        let ending = lab.end_of(task, secs(5));
        assert!(matches!(ending, Ending::Cancelled | Ending::Done { .. }), "{ending:?}");

        if moment < 900 {
            assert_eq!(ending, Ending::Cancelled, "after {moment} ms");
            lab.run_until("its command is killed", secs(2), |lab| lab.alive().is_empty());
        }
        lab.cancel(task);
        lab.finish();
    }
}

#[test]
fn t10_outputs_that_are_not_as_declared() {
    use xxnet_core::disk::FileErrorKind;
    let mut lab = cluster(100, &[1]);
    let script = vec![Step::Make(b"there".to_vec(), 1, 10), Step::Make(b"folder/deep/file".to_vec(), 2, 20)];
    let task = Task::new(script).output(b"there").output(b"missing").output(b"folder");
    let task = lab.publish("publisher-1", task);
    lab.done(task, secs(10));
    assert_eq!(lab.output_error(task, 1), Some(FileErrorKind::NotFound));
    assert_eq!([0, 1, 2].map(|index| lab.output_file(task, index)), [true, false, true]);
    // One that cannot be read is said to be so.
    lab.only(&[Fault::Unreadable], 100_000);
    let script = vec![Step::Make(b"locked".to_vec(), 1, 10)];
    let task = lab.publish("publisher-1", Task::new(script).output(b"locked"));
    lab.done(task, secs(10));
    assert_eq!(lab.output_error(task, 0), Some(FileErrorKind::PermissionDenied));
    assert!(!lab.output_file(task, 0));
    lab.finish();
}

#[test]
fn t11_retries_end_at_their_limit_with_every_reason() {
    let mut lab = cluster(110, &[1, 1, 1]);
    lab.only(&[Fault::SpawnFails], 100_000);
    let task = lab.publish("publisher-1", Task::sleeping(secs(1)).attempts(3));
    match lab.end_of(task, secs(60)) {
        Ending::Failed { attempts, set_aside: false } => {
            assert_eq!(attempts.len(), 3, "{attempts:?}");
            assert!(attempts.iter().all(|line| line.starts_with("executor-")), "{attempts:?}");
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(lab.runs(task), 0);
    lab.no_faults();
    lab.finish();
}

#[test]
fn t11_a_task_that_three_executors_died_under_is_set_aside() {
    let mut lab = cluster(111, &[1, 1, 1, 1]);
    let task = lab.publish("publisher-1", Task::sleeping(secs(100)));
    for attempt in 1..=3 {
        lab.run_until("the attempt runs", secs(10), |lab| {
            lab.holder(task).is_some_and(|(number, _)| number == attempt) && lab.alive().len() == 1
        });
        let node = lab.holder(task).expect("held").1;
        lab.kill(&node);
    }
    match lab.end_of(task, secs(20)) {
        Ending::Failed { attempts, set_aside } => {
            assert!(set_aside);
            assert_eq!(attempts.len(), 3, "{attempts:?}");
        }
        other => panic!("{other:?}"),
    }
    lab.finish();
}

#[test]
fn t13_slots_are_never_over_committed_and_never_leak() {
    let mut lab = cluster(130, &[2, 1]);
    let tasks: Vec<_> = (0..30)
        .map(|number| {
            lab.publish(
                "publisher-1",
                Task::sleeping(Duration::from_millis(50 + 31 * number)).will_be_cancelled(),
            )
        })
        .collect();
    let mut most = 0;
    for round in 0..200 {
        lab.run_for(Duration::from_millis(50));
        let alive = lab.alive();
        assert!(alive.iter().filter(|alive| alive.node == "executor-1").count() <= 2);
        assert!(alive.iter().filter(|alive| alive.node == "executor-2").count() <= 1);
        most = most.max(alive.len());
        if round % 10 == 3 {
            lab.cancel(tasks[round / 10]);
        }
    }
    assert_eq!(most, 3, "every slot is used");
    lab.run_until("all have ended", secs(30), |lab| tasks.iter().all(|task| lab.ending(*task).is_some()));
    // No slot is lost: three at once again.
    let again: Vec<_> = (0..3).map(|_| lab.publish("publisher-1", Task::sleeping(secs(3)))).collect();
    lab.run_until("three run at once", secs(2), |lab| lab.alive().len() == 3);
    again.into_iter().for_each(|task| lab.done(task, secs(10)));
    lab.finish();
}

/// A grant that arrives 12 s after its claim was sent starts nothing.
#[test]
fn t14_a_late_grant_starts_nothing() {
    let mut lab = cluster(140, &[1]);
    let task = lab.publish("publisher-1", Task::sleeping(secs(1)));
    // The claim is out and granted; the one who claimed sleeps through it.
    lab.run_until("it is granted", secs(5), |lab| lab.holder(task).is_some());
    lab.freeze("executor-1");
    lab.run_for(secs(13));
    assert_eq!(lab.runs(task), 0);
    lab.thaw("executor-1");
    lab.done(task, secs(60));
    let late = lab.count("executor-1", |n| {
        matches!(n, ExecutorNotice::AttemptStopped { why: StopReason::LateGrant, .. })
    });
    let first = lab.count(
        "executor-1",
        |n| matches!(n, ExecutorNotice::AttemptStarted { attempt, .. } if attempt.0 == 1),
    );
    assert_eq!(first, 0, "the late grant started a copy");
    assert!(late <= 1 && lab.holder(task).expect("held").0 >= 2);
    lab.finish();
}

/// Renewals under way while grants, ends and new attempts happen: nothing that is current is buried, nothing buried goes on.
#[test]
fn t14_renewals_under_way_on_slow_links() {
    let outcomes = swarm(&[Fault::SlowLink, Fault::OneWayPartition, Fault::ProcessFreeze], 600, 300..320);
    assert!(outcomes.iter().map(|outcome| outcome.report.endings[0]).sum::<u64>() > 50);
}

/// The executor's word that it has stopped is lost, and its renewal comes late: the task is freed once, by its lease.
#[test]
fn t14_a_lost_stopped_and_a_late_renewal() {
    let mut lab = cluster(142, &[1, 1]);
    let task = lab.publish("publisher-1", Task::sleeping(secs(30)));
    let node = runs_somewhere(&mut lab, task);
    lab.run_for(secs(4));
    // Nothing of it reaches the publisher any more; the publisher's words still reach it, but for renewals there are none.
    lab.cut(&node, "publisher-1");
    lab.run_until("it has ended its attempt", secs(14), |lab| lab.alive().is_empty());
    lab.run_until("it is granted anew", secs(20), |lab| {
        lab.holder(task).is_some_and(|(number, _)| number == 2)
    });
    lab.mend();
    lab.done(task, secs(90));
    assert_eq!(lab.output(task, Stream::Stdout), b"attempt 2\n");
    lab.finish();
}

/// An end of stream alone is no proof of death: the redial is answered by the same instance, and the attempt goes on.
#[test]
fn t14_a_broken_link_is_no_death() {
    let mut lab = cluster(143, &[1, 1]);
    let task = lab.publish("publisher-1", Task::sleeping(secs(20)));
    runs_somewhere(&mut lab, task);
    lab.only(&[Fault::ResetBoth, Fault::ResetSender], 3000);
    lab.run_for(secs(10));
    lab.no_faults();
    lab.done(task, secs(40));
    assert_eq!((lab.runs(task), lab.holder(task).expect("held").0), (1, 1));
    lab.finish();
}

/// A command outlives its executor for a moment, and the listening socket stays as long: nobody takes the task meanwhile.
#[test]
fn t14_a_command_that_outlives_its_executor_holds_the_task() {
    let mut lab = cluster(144, &[1, 1]);
    let task = lab.publish(
        "publisher-1",
        Task::new(vec![Step::Stubborn(3 * SECOND), Step::Sleep(30 * SECOND), Step::Who]),
    );
    let node = runs_somewhere(&mut lab, task);
    lab.run_for(secs(1));
    lab.kill(&node);
    let killed = lab.now();
    lab.run_until("a second attempt runs", secs(30), |lab| lab.runs(task) == 2);
    assert!(lab.now() - killed >= 3 * SECOND, "the first copy lived until 3 s after the kill");
    lab.done(task, secs(60));
    lab.finish();
}

/// A host sleeps for a minute with a running command: within a second of its waking that command is dead, and the task is done
/// once, elsewhere.
#[test]
fn t14_a_host_that_slept() {
    let mut lab = cluster(145, &[1, 1]);
    let task = lab.publish("publisher-1", Task::sleeping(secs(50)));
    let node = runs_somewhere(&mut lab, task);
    lab.run_for(secs(2));
    lab.sleep(&node);
    lab.run_for(secs(30));
    lab.wake(&node);
    lab.run_for(secs(1));
    assert!(!lab.alive().iter().any(|alive| alive.node == node && alive.attempt == 1));
    lab.done(task, secs(120));
    assert!(lab.holder(task).expect("held").0 >= 2);
    lab.finish();
}

/// A task that is free again is announced to every registry, also to one that was away when it happened.
#[test]
fn t14_a_freed_task_is_announced() {
    let mut lab = cluster(146, &[1, 1]);
    let task = lab.publish("publisher-1", Task::sleeping(secs(5)));
    let node = runs_somewhere(&mut lab, task);
    lab.kill("registry-1");
    lab.kill(&node);
    lab.run_until("the attempt is lost", secs(20), |lab| {
        lab.count("publisher-1", |n| matches!(n, ExecutorNotice::AttemptLost { .. })) == 1
    });
    lab.start("registry-1");
    lab.done(task, secs(40));
    assert_eq!(lab.holder(task).expect("held").1, other_than(&node));
    lab.finish();
}

/// An executor that has no descriptor for its dials cannot reach any publisher, and that says nothing about the publisher: the
/// pair is not set aside for a minute.
#[test]
fn x5_a_dial_that_finds_no_descriptor_is_no_evidence_against_the_peer() {
    for seed in 0..8 {
        let mut lab = cluster(seed, &[1]);
        lab.only(&[Fault::DialExhausted], 1_000_000);
        let task = lab.publish("publisher-1", Task::sleeping(secs(1)));
        let failing = |lab: &Lab| lab.injected(Fault::DialExhausted) >= 2;
        lab.run_until("its dials find no descriptor", secs(60), failing);
        lab.no_faults();
        lab.done(task, secs(20));
        lab.finish();
    }
}
