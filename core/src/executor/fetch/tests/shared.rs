//! One transfer for several fetches, and what is taken up again (ledger F4, F10).

use super::*;
use alloc::vec;

/// Attempts of as many tasks that want the same content of the same publisher, before anything has come.
fn rig(count: u64) -> (Rig, Vec<CallbackId>) {
    let mut rig = Rig::new();
    let first = rig.fetches.wanted(rig.id).cloned().unwrap();
    let wanted = |number| {
        let task = TaskId { publisher: first.peer, number };
        let folder = FolderId { task, attempt: first.attempt };
        let target = Target::Work { folder, name: b"data".to_vec() };
        Wanted { task, target, ..first.clone() }
    };
    let before = rig.id;
    let _ = rig.fail(before, false);
    let _ = rig.fetches.settle(before);
    rig.out.drain().for_each(drop);
    let ids = (1..=count).map(|number| rig.add(wanted(number), Some(content(4))).callback).collect();
    (rig, ids)
}

impl Rig {
    fn asks(&self) -> Vec<CallbackId> {
        self.fetches.unrequested(InstanceId([1; 16]), Side::Dialled)
    }

    fn requests(&mut self) -> Vec<DiskRequest> {
        let disk = |action| if let Action::Disk(asked) = action { Some(asked.request) } else { None };
        self.out.drain().filter_map(disk).collect()
    }

    /// The rest of the four blocks and the end come for this one.
    fn rest(&mut self, id: CallbackId, from: u64) {
        self.id = id;
        assert_eq!(self.fetches.request(id, LINK), from);
        self.says(4);
        (from..4).for_each(|index| self.block(index));
        assert!(!self.fetches.end(id, LINK, Hash([9; 32]), &mut self.ops, &mut self.out));
    }

    fn copied(&mut self, id: CallbackId, result: Result<(), FileError>) -> FetchOutcome {
        let tree = self.fetches.rows[&id].tree;
        self.fetches.copied(tree, id, result, &mut self.ops, &mut self.out)
    }
}

fn is_done(outcome: &FetchOutcome) -> bool {
    matches!(outcome, FetchOutcome::Fired { result: Ok(()), .. })
}

#[test]
fn f4_the_same_content_comes_once_and_every_callback_fires() {
    let (mut rig, ids) = rig(3);
    assert!(matches!(rig.requests()[..], [DiskRequest::OpenTarget { origin: Some(_), .. }]), "one target");
    assert_eq!(rig.asks(), [], "nothing is asked for before the disk has said what is there");
    rig.opened(0);
    assert_eq!(rig.asks(), [ids[0]], "one asks");
    rig.rest(ids[0], 0);
    assert_eq!(rig.asks(), []);
    let copies = rig.requests().into_iter().filter(|asked| matches!(asked, DiskRequest::CommitCopy { .. }));
    assert_eq!(copies.count(), 2, "the others get copies, and the tree stays until they have them");
    assert!(is_done(&rig.copied(ids[2], Ok(()))));
    assert!(rig.requests().is_empty(), "one copy is still being made");
    assert!(is_done(&rig.copied(ids[1], Ok(()))));
    assert!(matches!(rig.requests()[..], [DiskRequest::Commit { .. }]), "the tree itself goes last");
    let tree = rig.fetches.rows[&ids[0]].tree;
    assert!(is_done(&rig.fetches.committed(tree, Ok(()), &mut rig.ops, &mut rig.out)));
    for id in ids {
        assert!(matches!(rig.fetches.settle(id), FetchOutcome::Settled { .. }));
    }
    assert!(matches!(rig.requests()[..], [DiskRequest::CloseTree { keep: false, .. }]));
    rig.fetches.closed(tree);
    assert!(rig.fetches.is_empty() && rig.fetches.timers.is_empty());
}

#[test]
fn f4_another_publishers_content_is_never_shared() {
    let (mut rig, ids) = rig(1);
    let wanted = rig.fetches.wanted(ids[0]).cloned().unwrap();
    let peer = InstanceId([2; 16]);
    assert!(!rig.add(Wanted { peer, ..wanted.clone() }, Some(content(4))).shares);
    assert!(!rig.add(Wanted { side: Side::Accepted, ..wanted.clone() }, Some(content(4))).shares);
    let other = Content { stamp: 8, ..content(4) };
    assert!(!rig.add(wanted.clone(), Some(other)).shares, "nor another state");
    assert!(rig.add(wanted, Some(content(4))).shares);
}

#[test]
fn f4_if_the_one_that_asked_ends_the_next_goes_on_from_what_is_verified() {
    let (mut rig, ids) = rig(3);
    rig.id = ids[0];
    rig.opened(0);
    rig.fetches.request(ids[0], LINK);
    rig.says(4);
    (0..2).for_each(|index| rig.block(index));
    let outcome = rig.fail(ids[0], false);
    let cancelled =
        matches!(outcome, FetchOutcome::Fired { callback, cancel: Some(LINK), .. } if callback == ids[0]);
    assert!(cancelled, "the source is told: {outcome:?}");
    assert!(
        matches!(rig.fetches.settle(ids[0]), FetchOutcome::Settled { .. }),
        "its folder is needed no more"
    );
    assert!(!rig.requests().iter().any(|asked| matches!(asked, DiskRequest::CloseTree { .. })));
    assert_eq!(rig.asks(), [ids[1]]);
    rig.rest(ids[1], 2);
    // The tree was opened for the one that has ended: copies for both, and then it is closed.
    for id in &ids[1..] {
        assert!(is_done(&rig.copied(*id, Ok(()))));
    }
    let asked = rig.requests();
    assert!(!asked.iter().any(|asked| matches!(asked, DiskRequest::Commit { .. })));
    assert!(matches!(asked.last(), Some(DiskRequest::CloseTree { keep: false, .. })), "{asked:?}");
}

#[test]
fn f4_each_has_its_own_window() {
    let (mut rig, ids) = rig(1);
    rig.opened(0);
    rig.fetches.request(ids[0], LINK);
    rig.says(4);
    let wanted = rig.fetches.wanted(ids[0]).cloned().unwrap();
    let start = rig.now;
    rig.now += rig.limits.file_window / 2;
    let late = rig.add(wanted, Some(content(4))).callback;
    rig.now = start;
    rig.id = ids[0];
    assert_eq!(rig.window(), Some(FileErrorKind::TimedOut));
    assert_eq!(rig.asks(), [late], "the later one has half of its window left, and asks anew");
    rig.rest(late, 0);
    assert!(is_done(&rig.copied(late, Ok(()))));
}

#[test]
fn f4_an_error_of_the_disk_is_told_to_each_in_its_turn() {
    let (mut rig, ids) = rig(2);
    let tree = rig.tree();
    let full = || Err(FileError::new(FileErrorKind::NoSpace, ""));
    for id in ids {
        let opens = rig.requests();
        assert!(matches!(opens[..], [DiskRequest::OpenTarget { .. }]), "{opens:?}");
        let outcome = rig.fetches.opened(tree, full(), &rig.limits, &mut rig.ops, &mut rig.out);
        let fired = matches!(outcome, FetchOutcome::Fired { callback, result: Err(_), .. } if callback == id);
        assert!(fired, "{outcome:?}");
        rig.fetches.check_invariants();
        assert!(matches!(rig.fetches.settle(id), FetchOutcome::Settled { .. }));
    }
    assert!(rig.fetches.is_empty() && rig.requests().is_empty());
}

#[test]
fn f4_a_folder_stays_until_the_disk_puts_nothing_into_it() {
    let (mut rig, ids) = rig(2);
    let _ = rig.fail(ids[0], false);
    assert!(matches!(rig.fetches.settle(ids[0]), FetchOutcome::None), "its target is being opened");
    let tree = rig.fetches.rows[&ids[1]].tree;
    let opened = rig.fetches.opened(tree, Ok(0), &rig.limits, &mut rig.ops, &mut rig.out);
    assert!(matches!(opened, FetchOutcome::Settled { callback, .. } if callback == ids[0]));
    rig.rest(ids[1], 0);
    let _ = rig.fail(ids[1], false);
    assert!(matches!(rig.fetches.settle(ids[1]), FetchOutcome::None), "its copy is being made");
    assert!(matches!(rig.copied(ids[1], Ok(())), FetchOutcome::Settled { .. }), "and it fires only once");
}

#[test]
fn f10_what_is_there_is_not_asked_for_again() {
    let (mut rig, ids) = rig(1);
    rig.opened(3);
    rig.requests();
    rig.rest(ids[0], 3);
    assert!(matches!(
        rig.requests()[..],
        [DiskRequest::WriteBlock { index: 3, .. }, DiskRequest::Commit { .. }]
    ));
}

#[test]
fn f10_all_of_it_is_there_and_only_the_root_is_asked_for() {
    let (mut rig, ids) = rig(1);
    rig.opened(4);
    assert_eq!(rig.asks(), ids, "whether it is still the source's is for the source to say");
    rig.rest(ids[0], 4);
    assert!(matches!(rig.requests().last(), Some(DiskRequest::Commit { .. })));
}

#[test]
fn f10_what_another_attempt_may_want_is_kept() {
    for (keep, blocks, kept) in [(true, 2, true), (true, 0, false), (false, 2, false)] {
        let (mut rig, ids) = rig(1);
        rig.opened(0);
        rig.fetches.request(ids[0], LINK);
        rig.says(4);
        (0..blocks).for_each(|index| rig.block(index));
        let _ = rig.fail(ids[0], keep);
        assert_eq!(rig.requests().last(), Some(&DiskRequest::CloseTree { tree: rig.tree(), keep: kept }));
    }
}

#[test]
fn f10_a_callback_that_is_not_known_is_ignored_and_leaves_nothing() {
    let (mut rig, ids) = rig(1);
    rig.opened(0);
    rig.fetches.request(ids[0], LINK);
    rig.says(4);
    rig.requests();
    let stranger = CallbackId(900);
    let before = alloc::format!("{:?}", rig.fetches);
    let begun = rig.fetches.begin(stranger, LINK, content(4), &mut rig.ops, &mut rig.out);
    assert!(matches!(begun, FetchOutcome::None));
    let data = vec![Bytes::from(vec![0; 1 << 20])];
    let (hash, limits) = (Hash([0; 32]), rig.limits.clone());
    let taken = rig.fetches.block(stranger, LINK, 0, data.clone(), hash, &limits, &mut rig.ops, &mut rig.out);
    assert_eq!(taken, Ok(()));
    // Nor is the number alone enough: it names a request on one connection.
    let elsewhere = ConnectionId(6);
    let taken = rig.fetches.block(ids[0], elsewhere, 0, data, hash, &limits, &mut rig.ops, &mut rig.out);
    assert_eq!(taken, Ok(()));
    assert!(!rig.fetches.end(stranger, LINK, hash, &mut rig.ops, &mut rig.out));
    let refused = FileError::new(FileErrorKind::NotFound, "");
    let peer = InstanceId([1; 16]);
    let outcome = rig.fetches.refused(stranger, peer, refused, &mut rig.ops, &mut rig.out);
    assert!(matches!(outcome, FetchOutcome::None));
    assert_eq!((rig.requests(), alloc::format!("{:?}", rig.fetches)), (vec![], before));
}

/// Blocks that were there before a fetch began are not its progress (ledger F2): neither those that the disk had kept, nor those
/// that had come for another.
#[test]
fn f4_what_was_there_before_is_not_its_progress() {
    let (mut rig, ids) = rig(1);
    let wanted = rig.fetches.wanted(ids[0]).cloned().unwrap();
    let _ = rig.fail(ids[0], false);
    let first = rig.add(wanted.clone(), Some(content(100))).callback;
    rig.opened(50);
    assert_eq!(rig.fetches.request(first, LINK), 50);
    rig.says(100);
    let late = rig.add(wanted.clone(), Some(content(100)));
    assert!(late.shares);
    for id in [first, late.callback] {
        rig.id = id;
        let outcome = rig.fetches.window_over(rig.now, id, &rig.limits, &mut rig.ops, &mut rig.out);
        assert!(
            matches!(outcome, FetchOutcome::Fired { result: Err(_), .. }),
            "nothing has come: {outcome:?}"
        );
    }

    let first = rig.add(wanted.clone(), Some(content(90))).callback;
    rig.opened(0);
    rig.fetches.request(first, LINK);
    let begun = rig.fetches.begin(first, LINK, content(90), &mut rig.ops, &mut rig.out);
    assert!(matches!(begun, FetchOutcome::None));
    (0..50).for_each(|index| rig.block(index));
    let late = rig.add(wanted, Some(content(90))).callback;
    let mut over = |id| rig.fetches.window_over(rig.now, id, &rig.limits, &mut rig.ops, &mut rig.out);
    assert!(matches!(over(first), FetchOutcome::None), "all of it has come for this one");
    assert!(matches!(over(late), FetchOutcome::Fired { result: Err(_), .. }), "and nothing since for this");
}
