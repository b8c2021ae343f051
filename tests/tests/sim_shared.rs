//! One transfer for all who want the same content (ledger F4), and what a life before has left (F10), in the simulated world. What
//! comes back is compared byte for byte by the oracles in every case, and every callback is counted.

use core::time::Duration;
use xxnet_core::connection::KindId;
use xxnet_core::executor::{ExecutorNotice, FileStep};
use xxnet_core::message::Message;
use xxnet_sim::Setup;
use xxnet_sim::fault::{Fault, Swarm};
use xxnet_sim::lab::{Door, Given, Lab, Task};
use xxnet_sim::script::{Step, content};

const fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

const FILE: KindId = KindId::FILE;
const TASK: KindId = KindId::TASK;
/// A file of as many blocks and a few bytes, which is one block more with the list before it.
const MANY: usize = 8;
const BLOCKS: usize = MANY + 1;

/// Each time the same input, and a result that is made of it.
fn copy(seed: u64) -> Task {
    let script = vec![Step::Copy(b"in".to_vec(), b"out".to_vec())];
    Task::new(script).input(b"in", content(seed, (MANY << 20) + 100)).output(b"out")
}

fn blocks(lab: &Lab, node: &str) -> usize {
    lab.passed(node, Door::Received, FILE, "Block")
}

fn steps(lab: &Lab, node: &str, wanted: FileStep) -> usize {
    lab.count(node, |n| matches!(n, ExecutorNotice::FileStep { step, .. } if *step == wanted))
}

/// Inputs that have arrived at an executor.
fn fired(lab: &Lab, node: &str) -> usize {
    lab.count(node, |n| matches!(n, ExecutorNotice::Callback { result: Ok(()), .. }))
}

fn all_done(lab: &mut Lab, tasks: &[Given]) {
    tasks.iter().for_each(|task| lab.done(*task, secs(60)));
}

#[test]
fn f4_the_same_content_comes_once_and_all_callbacks_fire() {
    let mut lab = Lab::settled(40, Setup::calm(1, &[6]));
    let tasks: Vec<_> = (0..6).map(|_| lab.publish("publisher-1", copy(1))).collect();
    all_done(&mut lab, &tasks);
    assert_eq!(blocks(&lab, "executor-1"), BLOCKS, "one transfer");
    assert_eq!(lab.passed("executor-1", Door::Sent, TASK, "FileRequest"), 1);
    assert_eq!((fired(&lab, "executor-1"), steps(&lab, "executor-1", FileStep::Shared)), (6, 5));
    assert!(tasks.iter().all(|task| lab.output_file(*task, 0)));
    lab.finish();
}

#[test]
fn f4_other_content_and_other_publishers_are_not_shared() {
    let mut lab = Lab::settled(41, Setup::calm(2, &[4]));
    let given = [("publisher-1", 1), ("publisher-1", 2), ("publisher-2", 1), ("publisher-2", 2)];
    let tasks = given.map(|(publisher, seed)| lab.publish(publisher, copy(seed)));
    all_done(&mut lab, &tasks);
    assert_eq!((blocks(&lab, "executor-1"), steps(&lab, "executor-1", FileStep::Shared)), (4 * BLOCKS, 0));
    lab.finish();
}

/// The one that has asked is cancelled: the next asks for the rest.
#[test]
fn f4_if_the_one_that_asked_ends_another_goes_on() {
    let mut lab = Lab::settled(42, Setup::calm(1, &[4]));
    let mut tasks: Vec<_> = (0..4).map(|_| lab.publish("publisher-1", copy(1).will_be_cancelled())).collect();
    lab.run_until("all wait for it", secs(5), |lab| steps(lab, "executor-1", FileStep::Shared) == 3);
    (0..3).for_each(|_| _ = lab.catch(Some("executor-1"), Door::Received, FILE, "Block", secs(1)));
    let asked = lab.log().iter().find_map(|told| match &told.notice {
        xxnet_sim::machine::Notice::Executor(ExecutorNotice::FileStep {
            step: FileStep::Requested,
            task,
            ..
        }) => Some(*task),
        _ => None,
    });
    let at = tasks.iter().position(|task| lab.id(*task) == asked).expect("one of them has asked");
    lab.cancel(tasks.remove(at));
    all_done(&mut lab, &tasks);
    assert_eq!((fired(&lab, "executor-1"), steps(&lab, "executor-1", FileStep::Requested)), (3, 2));
    let came = blocks(&lab, "executor-1");
    assert!(
        (BLOCKS..BLOCKS + MANY).contains(&came),
        "the second request goes on from what is verified: {came}"
    );
    lab.finish();
}

/// Links break, disks are slow and full, nodes are killed: every oracle watches, and all the same less is sent than files are wanted.
#[test]
fn f4_whatever_breaks_every_callback_fires_once() {
    let (mut shared, mut done) = (0, 0);
    for seed in 400..424 {
        let mut setup = Setup::calm(1, &[4]);
        let kinds = [
            Fault::ResetBoth,
            Fault::HalfOpen,
            Fault::SlowDisk,
            Fault::NoSpaceDuring,
            Fault::ProcessFreeze,
            Fault::ExecutorCrash,
        ];
        setup.swarm = Swarm::only(&kinds).eager(300);
        let mut lab = Lab::settled(seed, setup);
        let tasks: Vec<_> = (0..6).map(|_| lab.publish("publisher-1", copy(seed))).collect();
        lab.run_for(secs(20));
        lab.no_faults();
        for task in tasks {
            lab.run_until("it has ended", secs(200), |lab| lab.ending(task).is_some());
            done += usize::from(lab.output_file(task, 0));
        }
        shared += steps(&lab, "executor-1", FileStep::Shared);
        lab.finish();
    }
    assert!(shared > 60 && done > 70, "{shared} were shared, {done} done");
}

/// Kills an executor behind some blocks of an input and starts it again; the blocks that came before.
fn killed_in_a_file(lab: &mut Lab) -> usize {
    (0..6).for_each(|_| _ = lab.catch(Some("executor-1"), Door::Received, FILE, "Block", secs(5)));
    let before = blocks(lab, "executor-1");
    lab.kill("executor-1");
    before
}

#[test]
fn f10_after_a_kill_only_the_rest_is_pulled() {
    for (seed, torn) in [(100, false), (101, true)] {
        let mut lab = Lab::settled(seed, Setup::calm(1, &[1]));
        let task = lab.publish("publisher-1", copy(seed));
        let before = killed_in_a_file(&mut lab);
        lab.start("executor-1");
        lab.run_until("it is there again", secs(1), |lab| lab.kept_blocks("executor-1") > 0);
        let kept = lab.kept_blocks("executor-1");
        assert!(kept >= 2 && kept <= before, "{kept} of {before}");
        if torn {
            lab.tear_kept_blocks("executor-1");
        }
        lab.done(task, secs(60));
        assert_eq!(lab.holder(task).expect("held").0, 2);
        assert_eq!(blocks(&lab, "executor-1"), BLOCKS - kept + usize::from(torn));
        assert_eq!(lab.kept_blocks("executor-1"), 0, "what is taken up is kept no more");
        lab.finish();
    }
}

#[test]
fn f10_an_attempt_that_is_replaced_leaves_its_blocks_to_the_next() {
    let mut lab = Lab::settled(102, Setup::calm(1, &[1]));
    let task = lab.publish("publisher-1", copy(3));
    (0..6).for_each(|_| _ = lab.catch(Some("executor-1"), Door::Received, FILE, "Block", secs(5)));
    lab.part("publisher-1", "executor-1");
    lab.run_until("its lease is over", secs(15), |lab| lab.held_on_disk("executor-1") == (0, 0));
    let (kept, before) = (lab.kept_blocks("executor-1"), blocks(&lab, "executor-1"));
    assert!(kept > 0);
    lab.mend();
    lab.done(task, secs(60));
    assert_eq!(lab.holder(task).expect("held").0, 2);
    assert_eq!(blocks(&lab, "executor-1") - before, BLOCKS - kept);
    lab.finish();
}

#[test]
fn f10_what_nobody_will_ask_for_again_is_not_kept() {
    let mut lab = Lab::settled(103, Setup::calm(1, &[1]));
    let task = lab.publish("publisher-1", copy(3).will_be_cancelled());
    (0..6).for_each(|_| _ = lab.catch(Some("executor-1"), Door::Received, FILE, "Block", secs(5)));
    lab.cancel(task);
    lab.run_until("its attempt is gone", secs(5), |lab| lab.held_on_disk("executor-1") == (0, 0));
    assert_eq!(lab.kept_blocks("executor-1"), 0);
    lab.finish();
}

/// A request and answers that name a callback of the life before, on the links of the new one.
#[test]
fn f10_callbacks_of_the_life_before_are_gone() {
    let mut lab = Lab::settled(104, Setup::calm(1, &[1]));
    // Callbacks are counted: after these, the numbers of the old life are not those of the new one.
    for seed in 0..3 {
        let task = Task::new(vec![Step::Sleep(1000)]).input(b"in", content(seed, 100));
        let task = lab.publish("publisher-1", task);
        lab.done(task, secs(10));
    }
    let task = lab.publish("publisher-1", copy(4));
    let request = lab.catch(Some("executor-1"), Door::Sent, TASK, "FileRequest", secs(5)).message();
    let begin = lab.catch(Some("executor-1"), Door::Received, FILE, "FileBegin", secs(5)).message();
    let block = lab.catch(Some("executor-1"), Door::Received, FILE, "Block", secs(5)).message();
    let Message::FileRequest(old) = &request else { panic!("{request:?}") };
    let old = old.callback;
    lab.kill("executor-1");
    lab.start("executor-1");
    lab.run_until("it is there again", secs(1), |lab| lab.sockets("executor-1") != [0; 4]);
    let claim = lab.catch(Some("executor-1"), Door::Sent, TASK, "Claim", secs(60));
    let begun = lab.catch(Some("publisher-1"), Door::Sent, FILE, "FileBegin", secs(5));
    let Message::FileBegin(new) = begun.message() else { panic!("{begun:?}") };
    assert!(new.callback < old, "{old} is nothing here: {}", new.callback);
    lab.say(&claim, request);
    lab.say(&begun, begin);
    lab.say(&begun, block);
    lab.done(task, secs(60));
    assert_eq!(lab.passed("executor-1", Door::Received, TASK, "FileRefused"), 1, "the request is refused");
    assert_eq!(lab.passed("executor-1", Door::Received, FILE, "FileBegin"), 2, "and what comes is ignored");
    let of_old =
        |n: &ExecutorNotice| matches!(n, ExecutorNotice::Callback { callback, .. } if *callback == old);
    assert_eq!(lab.count("executor-1", of_old), 0);
    lab.finish();
}
