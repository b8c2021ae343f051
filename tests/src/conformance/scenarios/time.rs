//! Time, and what else is not of the network.

use crate::conformance::stage::{LONG, MOMENT};
use crate::conformance::{Command, Node, Notice, Request, Stage};
use std::time::Duration;
use xxnet_core::disk::{DiskAction, DiskRequest};
use xxnet_core::process::{ProcessAction, ProcessEvent, RunSpec};
use xxnet_core::{AttemptNumber, FolderId, InstanceId, Instant, OpId, RunId, TaskId};

/// A tick may come so late on a machine that has much to do.
const LATE: Duration = Duration::from_secs(2);

fn wake(stage: &mut Stage<'_>, node: Node, after: Option<Duration>) {
    stage.command(node, Command::Raw(vec![Request::Wake(after)]));
}

fn is_woke(notice: &Notice) -> bool {
    matches!(notice, Notice::Woke { .. })
}

/// Waits for a tick, and checks that it is neither early nor late.
fn woken(stage: &mut Stage<'_>, node: Node) -> Instant {
    match stage.wait(node, "a tick", is_woke) {
        Notice::Woke { due, now } => {
            assert!(now >= due, "a tick at {now:?}, due at {due:?}");
            assert!(now.since(due) < LATE, "a tick at {now:?}, due at {due:?}");
            now
        }
        other => unreachable!("{other:?}"),
    }
}

pub(crate) fn a_deadline_is_kept_and_not_before_its_time(stage: &mut Stage<'_>) {
    let node = stage.raw();
    let mut last = stage.report(node).now;
    for millis in [0, 1, 10, 150, 1, 0] {
        let after = Duration::from_millis(millis);
        wake(stage, node, Some(after));
        let now = woken(stage, node);
        assert!(now.since(last) >= after, "{after:?} later is not {now:?}");
        last = now;
    }
    // One that is longer than a second.
    wake(stage, node, Some(Duration::from_millis(1200)));
    woken(stage, node);
}

pub(crate) fn a_deadline_can_move_and_go(stage: &mut Stage<'_>) {
    let node = stage.raw();
    // Forward, although the loop sleeps already.
    wake(stage, node, Some(LONG * 10));
    stage.quiet(node, MOMENT / 5, is_woke);
    wake(stage, node, Some(Duration::from_millis(20)));
    woken(stage, node);
    // Back, and away.
    wake(stage, node, Some(MOMENT));
    wake(stage, node, Some(LONG));
    stage.quiet(node, MOMENT * 2, is_woke);
    wake(stage, node, Some(MOMENT));
    wake(stage, node, None);
    stage.quiet(node, MOMENT * 2, is_woke);
}

pub(crate) fn a_deadline_is_kept_on_a_busy_link(stage: &mut Stage<'_>) {
    let pair = stage.pair();
    // An event every few microseconds, for longer than the deadline.
    wake(stage, pair.to, Some(Duration::from_millis(50)));
    let begin = stage.report(pair.to).now;
    while stage.report(pair.to).now.since(begin) < Duration::from_millis(200) {
        stage.sent(pair.from, pair.near, "busy");
        stage.read(pair.to, pair.far, 4, 4);
    }
    let now = woken(stage, pair.to);
    assert!(now.since(begin) < Duration::from_millis(200), "only once nothing else was to do");
}

pub(crate) fn an_idle_node_is_left_alone(stage: &mut Stage<'_>) {
    let pair = stage.pair();
    wake(stage, pair.from, Some(LONG * 10));
    let before = [pair.from, pair.to].map(|node| stage.report(node).calls);
    stage.quiet(pair.from, MOMENT * 3, |_| true);
    let after = [pair.from, pair.to].map(|node| stage.report(node).calls);
    for (before, after) in before.into_iter().zip(after) {
        // The report itself, and a tick too many now and then; not a loop that spins.
        assert!(after - before < 20, "{} calls and nothing to do", after - before);
    }
}

pub(crate) fn requests_to_disk_and_processes_are_answered_once(stage: &mut Stage<'_>) {
    let node = stage.raw();
    let task = TaskId { publisher: InstanceId([1; 16]), number: 1 };
    // A folder that is not there is removed already, and a command that is not there does not start; a runtime without disk or
    // processes says that it has none. All are answers.
    for number in 1..=3 {
        let folder = FolderId { task, attempt: AttemptNumber(number) };
        let op = OpId(number);
        let remove = DiskAction { op, request: DiskRequest::RemoveFolder { folder } };
        let argv = vec![b"no-such-command-anywhere".to_vec()];
        let spec = RunSpec { argv, env: Vec::new(), folder, stdin: false };
        let run = RunId(number);
        let spawn = ProcessAction::Spawn { run, spec, deadline: Instant::FAR_FUTURE };
        stage.command(node, Command::Raw(vec![Request::Disk(remove), Request::Process(spawn)]));
        let told = stage.wait(node, "the disk's answer", |notice| matches!(notice, Notice::Disk(_)));
        assert!(matches!(told, Notice::Disk(event) if event.op == op));
        let told = stage.wait(node, "the answer to a start", |notice| matches!(notice, Notice::Process(_)));
        assert!(
            matches!(&told, Notice::Process(ProcessEvent::SpawnFailed { run: told, .. }) if *told == run),
            "{told:?}"
        );
    }
    stage.quiet(node, MOMENT, |notice| matches!(notice, Notice::Disk(_) | Notice::Process(_)));
    assert_eq!(stage.report(node).owed, [0; 4]);
}
