//! The ledger's file cases (F) in the simulated world. What comes back is compared byte for byte by the oracles in every case.

use core::time::Duration;
use xxnet_core::CallbackId;
use xxnet_core::connection::KindId;
use xxnet_core::disk::FileErrorKind;
use xxnet_core::executor::{Ending, ExecutorNotice, FileStep, PublishError};
use xxnet_sim::Setup;
use xxnet_sim::fault::{Fault, Swarm};
use xxnet_sim::lab::{Door, Lab, Task};
use xxnet_sim::machine::Notice;
use xxnet_sim::runner::{Outcome, run_setup};
use xxnet_sim::script::{Step, content, transformed};

const fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn cluster(seed: u64, slots: &[u32]) -> Lab {
    Lab::settled(seed, Setup::calm(1, slots))
}

fn copy(name: &[u8], bytes: Vec<u8>) -> Task {
    Task::new(vec![Step::Copy(name.to_vec(), b"out".to_vec())]).input(name, bytes).output(b"out")
}

/// The steps and results of one callback on a node, in order.
fn story(lab: &Lab, callback: CallbackId) -> Vec<String> {
    let told = lab.log().iter().filter_map(|told| match &told.notice {
        Notice::Executor(ExecutorNotice::FileStep { step, callback: id, .. }) if *id == callback => {
            Some(format!("{step:?} on {}", told.node))
        }
        Notice::Executor(ExecutorNotice::Callback { callback: id, result, .. }) if *id == callback => {
            Some(format!("{} on {}", if result.is_ok() { "fires" } else { "fails" }, told.node))
        }
        _ => None,
    });
    told.collect()
}

fn failures(lab: &Lab, kind: FileErrorKind) -> usize {
    let failed = |n: &ExecutorNotice| matches!(n, ExecutorNotice::Callback { result: Err(error), .. } if error.kind == kind);
    ["executor-1", "executor-2", "publisher-1"]
        .iter()
        .filter(|node| lab.log().iter().any(|t| t.node == **node))
        .map(|node| lab.count(node, failed))
        .sum()
}

fn swarm(kinds: &[Fault], eagerness: u32, seeds: core::ops::Range<u64>) -> Vec<Outcome> {
    let setup = || Setup { swarm: Swarm::only(kinds).eager(eagerness), ..Setup::calm(1, &[1, 2]) };
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

#[test]
fn f1_the_four_steps_and_the_callback() {
    let mut lab = cluster(1, &[1]);
    let task = lab.publish("publisher-1", copy(b"in", content(1, 70_000)));
    lab.done(task, secs(10));
    let requests: Vec<(String, CallbackId)> = lab
        .log()
        .iter()
        .filter_map(|told| match &told.notice {
            Notice::Executor(ExecutorNotice::FileStep { step: FileStep::Requested, callback, .. }) => {
                Some((told.node.clone(), *callback))
            }
            _ => None,
        })
        .collect();
    assert_eq!(requests.len(), 2, "the input by the executor, the output by the publisher: {requests:?}");
    for (asker, callback) in requests {
        let source = if asker == "publisher-1" { "executor-1" } else { "publisher-1" };
        // Both ends count their callbacks on their own: only the lines of this pair and direction.
        let lines = story(&lab, callback);
        let wanted = [
            format!("Requested on {asker}"),
            format!("Told on {source}"),
            format!("Sent on {source}"),
            format!("Delivered on {asker}"),
            format!("fires on {asker}"),
        ];
        let mut from = lines.iter();
        for line in &wanted {
            assert!(from.any(|told| told == line), "{line} is missing or out of order in {lines:?}");
        }
    }
    lab.finish();
}

#[test]
fn f2_a_window_without_progress_fires_the_callback_once_with_timeout() {
    let mut setup = Setup::calm(1, &[1]);
    setup.file_window_us = Some(4_000_000);
    let mut lab = Lab::settled(2, setup);
    let task = lab.publish("publisher-1", copy(b"in", content(2, 3 << 20)));
    lab.run_until("the file is asked for", secs(5), |lab| {
        lab.count("executor-1", |n| matches!(n, ExecutorNotice::FileStep { step: FileStep::Requested, .. }))
            == 1
    });
    // The source stops in its tracks, for longer than a window and less than a lease.
    lab.freeze("publisher-1");
    lab.run_for(secs(6));
    assert_eq!(failures(&lab, FileErrorKind::TimedOut), 1);
    lab.thaw("publisher-1");
    // What comes later is ignored; the task is done by another attempt, and nothing is left behind.
    lab.done(task, secs(60));
    assert_eq!(failures(&lab, FileErrorKind::TimedOut), 1);
    assert!(lab.holder(task).expect("held").0 >= 2);
    lab.finish();
}

#[test]
fn f2_a_large_file_that_moves_is_not_cut_off() {
    let mut longest = 0;
    for seed in 20..40 {
        let mut setup = Setup::calm(1, &[1]);
        setup.file_window_us = Some(20_000_000);
        setup.swarm = Swarm::only(&[Fault::SlowLink]).eager(100_000);
        setup.horizon_us = 600_000_000;
        let mut lab = Lab::settled(seed, setup);
        lab.run_for(secs(30));
        let began = lab.now();
        let task = lab.publish("publisher-1", copy(b"in", content(seed, 3 << 20)));
        let ending = lab.end_of(task, secs(900));
        if matches!(ending, Ending::Done { .. }) && failures(&lab, FileErrorKind::TimedOut) == 0 {
            longest = longest.max(lab.now() - began);
        }
        lab.no_faults();
        lab.finish();
    }
    assert!(longest > 25_000_000, "none of the slow transfers took longer than a window: {longest} us");
}

/// Whatever is doubled, delayed or broken (oracle `callback`, and `callbacks-fire` at the end).
#[test]
fn f3_callbacks_fire_exactly_once() {
    let kinds = [
        Fault::ResetBoth,
        Fault::HalfOpen,
        Fault::SlowDisk,
        Fault::ExecutorCrash,
        Fault::ProcessFreeze,
        Fault::NoSpaceDuring,
        Fault::DoubledCommand,
    ];
    let outcomes = swarm(&kinds, 300, 300..330);
    assert!(outcomes.iter().map(|outcome| outcome.report.files).sum::<u64>() > 60);
}

#[test]
fn f6_a_link_that_breaks_in_a_file_is_resumed() {
    let (mut asked_again, mut done) = (0, 0);
    for seed in 600..612 {
        let mut setup = Setup::calm(1, &[1, 1]);
        setup.swarm = Swarm::only(&[Fault::ResetBoth, Fault::ResetReceiver]).eager(400);
        let mut lab = Lab::settled(seed, setup);
        let task = lab.publish("publisher-1", copy(b"in", content(seed, 3 << 20)));
        lab.run_for(secs(20));
        lab.no_faults();
        if let Ending::Done { .. } = lab.end_of(task, secs(200)) {
            done += 1;
        }
        let mut requests = std::collections::BTreeMap::new();
        for told in lab.log() {
            if let Notice::Executor(ExecutorNotice::FileStep {
                step: FileStep::Requested, callback, ..
            }) = &told.notice
            {
                *requests.entry((told.node.clone(), *callback)).or_insert(0) += 1;
            }
        }
        asked_again += requests.values().filter(|times| **times > 1).count();
        lab.finish();
    }
    assert!(done >= 10, "{done} tasks were done");
    assert!(asked_again > 0, "no transfer was ever resumed");
}

/// The link breaks in the middle of a file and never comes back: the callback fires once and says so, and nothing of the file stays.
#[test]
fn f6_a_link_that_never_comes_back_is_a_disconnect_at_the_callback() {
    // An input: the publisher is out of reach until the lease is over.
    let mut lab = cluster(620, &[1]);
    let task = lab.publish("publisher-1", copy(b"in", content(1, 3 << 20)));
    lab.catch(Some("executor-1"), Door::Received, KindId::FILE, "Block", secs(5));
    lab.part("publisher-1", "executor-1");
    lab.run_until("the callback fires", secs(15), |lab| failures(lab, FileErrorKind::Disconnected) == 1);
    lab.run_until("nothing of it is left", secs(2), |lab| lab.held_on_disk("executor-1") == (0, 0));
    lab.mend();
    lab.done(task, secs(60));
    lab.finish();

    // An output: its executor dies while the publisher pulls it.
    let mut lab = cluster(621, &[1, 1]);
    let task = lab.publish("publisher-1", copy(b"in", content(2, 3 << 20)));
    lab.catch(Some("publisher-1"), Door::Received, KindId::FILE, "Block", secs(5));
    let node = lab.holder(task).expect("held").1;
    lab.kill(&node);
    lab.run_until("the callback fires", secs(5), |lab| failures(lab, FileErrorKind::Disconnected) == 1);
    // But for the task's input, which stays open until its end.
    lab.run_until("nothing of it is left", secs(1), |lab| lab.held_on_disk("publisher-1").1 == 1);
    assert!(!lab.output_file(task, 0));
    lab.done(task, secs(60));
    lab.finish();

    // The file connection alone: its window is over while the task connection lives.
    let mut setup = Setup::calm(1, &[1]);
    setup.file_window_us = Some(20_000_000);
    let mut lab = Lab::settled(622, setup);
    let task = lab.publish("publisher-1", copy(b"in", content(3, 3 << 20)));
    lab.catch(Some("executor-1"), Door::Received, KindId::FILE, "FileBegin", secs(5));
    lab.only(&[Fault::DialHangs], 100_000);
    assert!(lab.break_link("executor-1", KindId::FILE, Fault::ResetBoth));
    let broken = lab.now();
    lab.run_until("the callback fires", secs(21), |lab| failures(lab, FileErrorKind::Disconnected) == 1);
    assert!(lab.now() > broken + 19_000_000, "the window is waited for");
    lab.no_faults();
    lab.done(task, secs(60));
    assert_eq!(failures(&lab, FileErrorKind::Disconnected), 1);
    lab.finish();
}

/// A block altered under way is a mismatch; nothing of it becomes visible.
#[test]
fn f7_an_altered_block_is_a_mismatch() {
    let mut seen = 0;
    for seed in 700..740 {
        let mut setup = Setup::calm(1, &[1, 1]);
        setup.swarm = Swarm::only(&[Fault::BitFlip]).eager(500);
        let mut lab = Lab::settled(seed, setup);
        let task = lab.publish("publisher-1", copy(b"in", content(seed, 2 << 20)));
        lab.run_for(secs(20));
        lab.no_faults();
        lab.end_of(task, secs(200));
        seen += failures(&lab, FileErrorKind::Mismatch);
        lab.finish();
    }
    assert!(seen > 0, "no flipped bit was ever seen by the hash");
}

#[test]
fn f8_no_space_is_said_and_cleaned_up() {
    for (seed, kind) in [(80, Fault::NoSpaceBefore), (81, Fault::NoSpaceDuring)] {
        let mut lab = cluster(seed, &[1, 1]);
        lab.only(&[kind], 100_000);
        let task = lab.publish("publisher-1", copy(b"in", content(3, 3000)).attempts(2));
        match lab.end_of(task, secs(60)) {
            Ending::Failed { attempts, .. } => {
                assert_eq!(attempts.len(), 2);
                assert!(attempts.iter().all(|line| line.contains("no space")), "{attempts:?}");
            }
            other => panic!("{other:?}"),
        }
        assert!(failures(&lab, FileErrorKind::NoSpace) >= 2);
        lab.run_until("no folder and no tree is left", secs(5), |lab| {
            lab.held_on_disk("executor-1") == (0, 0) && lab.held_on_disk("executor-2") == (0, 0)
        });
        lab.no_faults();
        lab.finish();
    }
}

#[test]
fn f8_no_space_for_a_result_leaves_nothing_half_written() {
    let mut lab = cluster(82, &[1]);
    let script = vec![Step::Sleep(1_000_000), Step::Make(b"out".to_vec(), 1, 4000)];
    let task = lab.publish("publisher-1", Task::new(script).output(b"out"));
    lab.run_until("it runs", secs(5), |lab| lab.alive().len() == 1);
    lab.only(&[Fault::NoSpaceDuring], 100_000);
    lab.done(task, secs(20));
    assert_eq!(lab.output_error(task, 0), Some(FileErrorKind::NoSpace));
    assert!(!lab.output_file(task, 0));
    lab.no_faults();
    lab.finish();
}

#[test]
fn f9_sources_that_are_missing_unreadable_or_change() {
    let mut lab = cluster(90, &[1]);
    let missing = lab.publish("publisher-1", Task::sleeping(secs(1)).missing_input(b"in"));
    lab.run_for(secs(1));
    assert_eq!(lab.id(missing), None);
    let refused = |kind: FileErrorKind| move |n: &ExecutorNotice| matches!(n, ExecutorNotice::PublishFailed { error: PublishError::Input(error), .. } if error.kind == kind);
    assert_eq!(lab.count("publisher-1", refused(FileErrorKind::NotFound)), 1);
    lab.only(&[Fault::Unreadable], 100_000);
    lab.publish("publisher-1", copy(b"in", content(1, 100)));
    lab.run_for(secs(1));
    assert_eq!(lab.count("publisher-1", refused(FileErrorKind::PermissionDenied)), 1);
    // One that changes while it is read is said to have changed; no attempt starts on half of it.
    lab.only(&[Fault::Changed], 100_000);
    let changed = lab.publish("publisher-1", copy(b"in", content(1, 100)).attempts(2));
    assert!(matches!(lab.end_of(changed, secs(60)), Ending::Failed { .. }));
    assert!(failures(&lab, FileErrorKind::Changed) >= 1);
    assert_eq!(lab.runs(changed), 0);
    lab.no_faults();
    lab.finish();
}

#[test]
fn f11_every_size_and_name() {
    let block = 1 << 20;
    let mut lab = cluster(11, &[2]);
    for len in [0, 1, block - 60, block - 1, block, block + 1, 2 * block] {
        let task = lab.publish("publisher-1", copy(b"in", content(len as u64, len)));
        lab.done(task, secs(30));
        assert!(lab.output_file(task, 0), "{len} bytes came back");
    }
    let names: [&[u8]; 6] =
        [b"a b", b"-rf", b"\xff\xfe", "\u{4f60}\u{597d}".as_bytes(), b".hidden", b"n'\"$"];
    for name in names {
        let script = vec![Step::Copy(name.to_vec(), [name, b"2"].concat())];
        let task = Task::new(script).input(name, content(5, 500)).output(&[name, b"2"].concat());
        let task = lab.publish("publisher-1", task);
        lab.done(task, secs(10));
        assert!(lab.output_file(task, 0), "{name:?} came back");
    }
    lab.finish();
}

#[test]
fn f11_ten_thousand_small_files_over_links() {
    let mut lab = cluster(12, &[1]);
    let names: Vec<Vec<u8>> = (0..10_000).map(|number| format!("file-{number:05}").into_bytes()).collect();
    let files: Vec<(&[u8], Vec<u8>)> = names
        .iter()
        .enumerate()
        .map(|(number, name)| (&name[..], content(number as u64, number % 7)))
        .collect();
    let script = vec![Step::Copy(b"many/file-09999".to_vec(), b"last".to_vec())];
    let task = Task::new(script).input_folder(b"many", &files).output(b"last");
    let task = lab.publish("publisher-1", task);
    lab.run_until("it has ended", secs(30), |lab| lab.ending(task).is_some());
    assert!(lab.output_file(task, 0));
    lab.finish();
}

#[test]
fn f12_names_that_lead_out_of_the_folder_are_refused() {
    let mut lab = cluster(13, &[1]);
    let bad: [&[u8]; 4] = [b"../escape", b"/etc/passwd", b"a/../../b", b".."];
    for name in bad {
        let input = lab.publish("publisher-1", Task::sleeping(secs(1)).input(name, vec![1]));
        let output = lab.publish("publisher-1", Task::sleeping(secs(1)).output(name));
        lab.run_for(secs(1));
        assert_eq!((lab.id(input), lab.id(output)), (None, None), "{name:?}");
    }
    let refused = lab.count("publisher-1", |n| {
        matches!(n, ExecutorNotice::PublishFailed { error: PublishError::BadName(_), .. })
    });
    assert_eq!(refused, 8);
    lab.finish();
}

#[test]
fn f13_a_change_that_meets_the_users_own_lands_beside_it_and_is_said() {
    let mut lab = cluster(14, &[1]);
    let script = vec![
        Step::Sleep(2_000_000),
        Step::Copy(b"data".to_vec(), b"both".to_vec()),
        Step::Copy(b"data".to_vec(), b"data".to_vec()),
        Step::Make(b"fresh".to_vec(), 4, 500),
    ];
    let folder: [(&[u8], Vec<u8>); 2] = [(b"data", content(1, 3000)), (b"both", content(2, 3000))];
    let task = lab.publish("publisher-1", Task::new(script).ship(&folder));
    lab.run_until("it runs", secs(5), |lab| lab.alive().len() == 1);
    lab.user_writes(task, 0, b"both", content(3, 10));
    lab.done(task, secs(20));
    let file = |name: &[u8]| lab.user_file(task, 0, name);
    assert_eq!(file(b"both"), Some(content(3, 10)), "the user's own is left alone");
    assert_eq!(file(b"both.xxnet-new"), Some(transformed(&content(1, 3000))));
    assert_eq!(file(b"data"), Some(transformed(&content(1, 3000))), "what nobody else changed is replaced");
    assert_eq!(file(b"fresh"), Some(content(4, 500)));
    let told: Vec<&ExecutorNotice> = lab
        .log()
        .iter()
        .filter_map(|told| match &told.notice {
            Notice::Executor(
                notice @ (ExecutorNotice::LandedBeside { .. } | ExecutorNotice::Ended { .. }),
            ) => Some(notice),
            _ => None,
        })
        .collect();
    let [ExecutorNotice::LandedBeside { beside, .. }, ExecutorNotice::Ended { .. }] = &told[..] else {
        panic!("said once, and before the end: {told:?}");
    };
    assert_eq!((beside.count, beside.first[0].name.as_str()), (1, "both.xxnet-new"));
    lab.finish();
}
