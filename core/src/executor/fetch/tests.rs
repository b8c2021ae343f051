use super::*;
use crate::FolderId;
use crate::disk::{DiskAction, DiskRequest};
use crate::machine::Action;

const LINK: ConnectionId = ConnectionId(5);

fn content(blocks: u64) -> Content {
    Content { stream_len: blocks * BLOCK, manifest_len: 100, stamp: 7 }
}

struct Rig {
    fetches: Fetches,
    ops: Ops,
    out: Actions<()>,
    limits: Limits,
    now: Instant,
    id: CallbackId,
}

impl Rig {
    fn new() -> Self {
        let task = TaskId { publisher: InstanceId([1; 16]), number: 1 };
        let attempt = AttemptNumber(1);
        let target = Target::Work { folder: FolderId { task, attempt }, name: b"data".to_vec() };
        let peer = InstanceId([1; 16]);
        let label = String::from("data");
        let wanted = Wanted { task, attempt, file: 0, peer, side: Side::Dialled, target, label };
        let (limits, now) = (Limits::default(), Instant::ZERO);
        let id = CallbackId(0);
        let (fetches, ops, out) = (Fetches::default(), Ops::default(), Actions::new());
        let mut rig = Self { fetches, ops, out, limits, now, id };
        rig.add(wanted, None);
        rig
    }

    /// One more fetch: from here on it is the one.
    fn add(&mut self, wanted: Wanted, content: Option<Content>) -> Added {
        let added = self.fetches.add(self.now, wanted, content, &self.limits, &mut self.ops, &mut self.out);
        self.id = added.callback;
        added
    }

    fn tree(&self) -> TreeId {
        self.fetches.rows[&self.id].tree
    }

    /// The disk has opened the target, and so much is there.
    fn opened(&mut self, blocks: u64) {
        let tree = self.tree();
        let opened = self.fetches.opened(tree, Ok(blocks), &self.limits, &mut self.ops, &mut self.out);
        assert!(matches!(opened, FetchOutcome::None));
    }

    fn fail(&mut self, id: CallbackId, keep: bool) -> FetchOutcome {
        self.fetches.fail(id, FileErrorKind::Cancelled, keep, &mut self.ops, &mut self.out)
    }

    /// The source says what comes, and the target is open.
    fn begin(&mut self, blocks: u64) {
        self.fetches.request(self.id, LINK);
        self.says(blocks);
        self.opened(0);
    }

    /// The source says what comes.
    fn says(&mut self, blocks: u64) {
        let begun = self.fetches.begin(self.id, LINK, content(blocks), &mut self.ops, &mut self.out);
        assert!(matches!(begun, FetchOutcome::None));
    }

    /// One more block comes and is verified.
    fn block(&mut self, index: u64) {
        let data = alloc::vec![Bytes::from(alloc::vec![0; 1 << 20])];
        let hash = Hash([0; 32]);
        let taken =
            self.fetches.block(self.id, LINK, index, data, hash, &self.limits, &mut self.ops, &mut self.out);
        assert_eq!(taken, Ok(()));
        let tree = self.tree();
        let _ = self.fetches.written(tree, index, Ok(()), &self.limits, &mut self.ops, &mut self.out);
        self.fetches.check_invariants();
    }

    /// The window ends: whether the callback has fired, and with what.
    fn window(&mut self) -> Option<FileErrorKind> {
        self.now += self.limits.file_window;
        assert_eq!(self.fetches.timers.pop_due(self.now), Some(self.id), "a window lasts its five minutes");
        let outcome = self.fetches.window_over(self.now, self.id, &self.limits, &mut self.ops, &mut self.out);
        self.fetches.check_invariants();
        match outcome {
            FetchOutcome::Fired { result: Err(error), .. } => Some(error.kind),
            FetchOutcome::None => None,
            other => panic!("{other:?}"),
        }
    }

    fn closes(&mut self) -> usize {
        let close = |action: &Action<()>| {
            matches!(action, Action::Disk(DiskAction { request: DiskRequest::CloseTree { .. }, .. }))
        };
        self.out.drain().filter(close).count()
    }
}

#[test]
fn f2_a_source_that_sends_nothing_for_five_minutes_is_a_timeout_once() {
    let mut rig = Rig::new();
    assert_eq!(rig.limits.file_window.as_secs(), 300);
    assert_eq!(rig.window(), Some(FileErrorKind::TimedOut));
    assert!(rig.fetches.timers.is_empty(), "it cannot fire again");
    let late = rig.fail(rig.id, false);
    assert!(matches!(late, FetchOutcome::None));
}

#[test]
fn f2_what_comes_after_the_timeout_is_ignored_and_leaves_nothing_behind() {
    let mut rig = Rig::new();
    rig.begin(100);
    assert_eq!(rig.window(), Some(FileErrorKind::TimedOut));
    assert_eq!(rig.closes(), 1, "what was staged is let go");
    let data = alloc::vec![Bytes::from(alloc::vec![0; 1 << 20])];
    let hash = Hash([0; 32]);
    let late = rig.fetches.block(rig.id, LINK, 0, data, hash, &rig.limits, &mut rig.ops, &mut rig.out);
    assert_eq!(late, Ok(()));
    assert!(rig.out.is_empty(), "nothing of it reaches the disk");
    assert!(matches!(rig.fetches.settle(rig.id), FetchOutcome::Settled { .. }));
    rig.fetches.closed(TreeId(1));
    assert!(rig.fetches.is_empty());
}

#[test]
fn f2_a_source_that_drips_is_a_timeout_and_one_that_moves_is_not() {
    let mut drips = Rig::new();
    drips.begin(100);
    // 16 KiB a second for 300 seconds are 4.7 blocks.
    (0..4).for_each(|index| drips.block(index));
    assert_eq!(drips.window(), Some(FileErrorKind::TimedOut), "a little is not enough");

    let mut moves = Rig::new();
    moves.begin(100);
    for window in 0..19 {
        (window * 5..window * 5 + 5).for_each(|index| moves.block(index));
        assert_eq!(moves.window(), None, "a large file that moves is not cut off, however long it takes");
    }
    (95..99).for_each(|index| moves.block(index));
    assert_eq!(moves.window(), Some(FileErrorKind::TimedOut), "four of the five blocks that were left");
}

#[test]
fn f2_the_rest_of_a_file_is_enough_but_its_end_must_come_too() {
    let mut rig = Rig::new();
    rig.begin(2);
    (0..2).for_each(|index| rig.block(index));
    assert_eq!(rig.window(), None, "all that was left has come");
    assert_eq!(rig.window(), Some(FileErrorKind::TimedOut), "and then the source never ended it");

    let mut rig = Rig::new();
    rig.begin(1);
    rig.block(0);
    assert!(!rig.fetches.end(rig.id, LINK, Hash([1; 32]), &mut rig.ops, &mut rig.out));
    assert_eq!((rig.window(), rig.window()), (None, None), "only our own disk is waited for");
}

#[test]
fn f6_a_broken_transfer_is_asked_for_from_where_the_verified_blocks_end() {
    let mut rig = Rig::new();
    rig.begin(10);
    (0..3).for_each(|index| rig.block(index));
    rig.fetches.file_link_lost(LINK);
    assert_eq!(rig.fetches.backlog(LINK), 0, "what was not verified is let go");
    assert_eq!(rig.fetches.unrequested(InstanceId([1; 16]), Side::Dialled), [rig.id]);
    assert_eq!(rig.fetches.request(rig.id, ConnectionId(6)), 3);
}

#[test]
fn f6_a_link_that_does_not_come_back_is_a_disconnect() {
    let mut rig = Rig::new();
    rig.begin(10);
    rig.fetches.file_link_lost(LINK);
    assert_eq!(rig.window(), Some(FileErrorKind::Disconnected), "with its window");

    let mut rig = Rig::new();
    rig.begin(10);
    rig.fetches.file_link_lost(LINK);
    let outcome = rig.fail(rig.id, false);
    let is_disconnect = |error: &FileError| error.kind == FileErrorKind::Disconnected;
    assert!(
        matches!(&outcome, FetchOutcome::Fired { result: Err(error), .. } if is_disconnect(error)),
        "or with its attempt: {outcome:?}"
    );

    let mut rig = Rig::new();
    rig.begin(10);
    rig.fetches.file_link_lost(LINK);
    rig.fetches.request(rig.id, ConnectionId(6));
    assert_eq!(
        rig.window(),
        Some(FileErrorKind::TimedOut),
        "one that is back and brings nothing is a timeout"
    );
}

/// An older attempt's fetch was cancelled while its commit is at the disk: the newer one's waits for it, so that the newer
/// bytes are the ones that stay.
#[test]
fn t7_a_commit_waits_for_an_older_one_to_the_same_path() {
    let mut rig = Rig::new();
    let path = Target::Path { path: b"/home/out".to_vec() };
    let wanted = Wanted { target: path, ..rig.fetches.wanted(rig.id).cloned().unwrap() };
    let complete = |rig: &mut Rig| {
        rig.add(wanted.clone(), None);
        rig.begin(1);
        rig.block(0);
        assert!(!rig.fetches.end(rig.id, LINK, Hash([9; 32]), &mut rig.ops, &mut rig.out));
        (rig.id, rig.tree())
    };
    let commits = |rig: &mut Rig| {
        let commit = |action: &Action<()>| {
            matches!(action, Action::Disk(DiskAction { request: DiskRequest::Commit { .. }, .. }))
        };
        rig.out.drain().filter(commit).count()
    };
    let (old, first) = complete(&mut rig);
    assert_eq!(commits(&mut rig), 1);
    let _ = rig.fail(old, false);
    let (_, second) = complete(&mut rig);
    assert_eq!(commits(&mut rig), 0, "the older one is under way");
    let _ = rig.fetches.committed(first, Ok(()), &mut rig.ops, &mut rig.out);
    assert_eq!(commits(&mut rig), 1, "now it is the newer one's turn");
    let outcome = rig.fetches.committed(second, Ok(()), &mut rig.ops, &mut rig.out);
    assert!(matches!(outcome, FetchOutcome::Fired { result: Ok(()), .. }));
}

mod shared;
