//! Bytes on links, and how links end.

use crate::conformance::scenarios::listeners::freed;
use crate::conformance::stage::{MOMENT, noise};
use crate::conformance::{Notice, Stage};
use bytes::Bytes;
use std::time::Duration;
use xxnet_core::LinkId;
use xxnet_core::net::{NetAction, NetError, NetEvent};

fn is_net(notice: &Notice) -> bool {
    matches!(notice, Notice::Net(_))
}

pub(crate) fn n5_a_send_completes_when_all_is_taken_and_waits_for_a_slow_reader(stage: &mut Stage<'_>) {
    let pair = stage.pair();
    // Many buffers, some of them empty, more than any system keeps.
    let mut buffers: Vec<Bytes> = (0..300).map(|n| noise(n * 37 % 5000, n as u64)).collect();
    buffers.extend((0..4).map(|n| noise(8 << 20, 1000 + n)));
    let whole = buffers.concat();
    stage.ask(pair.from, [NetAction::Send { link: pair.near, buffers }]);
    stage.quiet(pair.from, MOMENT, is_net);
    // The other direction is another matter.
    stage.sent(pair.to, pair.far, "meanwhile");
    assert_eq!(stage.read(pair.from, pair.near, 9, 100), "meanwhile");
    let got = stage.read(pair.to, pair.far, whole.len(), 1 << 20);
    assert!(got == whole, "every byte once and in order");
    stage.hears(pair.from, NetEvent::Sent { link: pair.near });
    for text in ["next", "and next"] {
        stage.sent(pair.from, pair.near, text);
    }
    assert_eq!(stage.read(pair.to, pair.far, 12, 100), "nextand next");
}

pub(crate) fn n6_no_more_is_read_than_was_asked_for(stage: &mut Stage<'_>) {
    let pair = stage.pair();
    let bytes = noise(1000, 1);
    stage.sent(pair.from, pair.near, bytes.clone());
    stage.quiet(pair.to, MOMENT, is_net);
    // The audit looks at each size.
    let mut got = stage.read(pair.to, pair.far, 10, 1).to_vec();
    got.extend(stage.read(pair.to, pair.far, 300, 7));
    stage.quiet(pair.to, MOMENT, is_net);
    got.extend(stage.read(pair.to, pair.far, 690, 1 << 20));
    assert_eq!(got, bytes);
    // A read that waits gets what comes later.
    stage.ask(pair.to, [NetAction::Recv { link: pair.far, max: 100 }]);
    stage.quiet(pair.to, MOMENT, is_net);
    stage.sent(pair.from, pair.near, "late");
    let data = Bytes::from_static(b"late");
    stage.hears(pair.to, NetEvent::Received { link: pair.far, data });
}

pub(crate) fn small_sends_are_not_held_back(stage: &mut Stage<'_>) {
    let pair = stage.pair();
    // Two sends and then an answer: where the system waits to fill a packet, each round takes 40 ms or more. The first rounds
    // are quick in any case, and one quick one of the others is enough.
    let mut fastest = Duration::MAX;
    for round in 0..40 {
        let begin = stage.report(pair.from).now;
        stage.sent(pair.from, pair.near, "head");
        stage.sent(pair.from, pair.near, "body");
        stage.read(pair.to, pair.far, 8, 8);
        stage.sent(pair.to, pair.far, "answer");
        stage.read(pair.from, pair.near, 6, 6);
        if round >= 25 {
            fastest = fastest.min(stage.report(pair.from).now.since(begin));
        }
    }
    assert!(fastest < Duration::from_millis(35), "no round took less than {fastest:?}");
}

pub(crate) fn k11_each_side_of_a_stream_ends_by_itself(stage: &mut Stage<'_>) {
    let pair = stage.pair();
    stage.sent(pair.from, pair.near, "last words");
    stage.ask(pair.from, [NetAction::Shutdown { link: pair.near }]);
    stage.hears(pair.from, NetEvent::ShutdownDone { link: pair.near });
    assert_eq!(stage.read(pair.to, pair.far, 10, 3), "last words");
    stage.ask(pair.to, [NetAction::Recv { link: pair.far, max: 100 }]);
    stage.hears(pair.to, NetEvent::PeerClosed { link: pair.far });
    // The other side goes on, in peace, with much to say.
    let bytes = noise(3 << 20, 2);
    stage.send(pair.to, pair.far, bytes.clone());
    assert!(stage.read(pair.from, pair.near, bytes.len(), 1 << 20) == bytes);
    stage.hears(pair.to, NetEvent::Sent { link: pair.far });
    stage.ask(pair.to, [NetAction::Shutdown { link: pair.far }]);
    stage.hears(pair.to, NetEvent::ShutdownDone { link: pair.far });
    stage.ask(pair.from, [NetAction::Recv { link: pair.near, max: 100 }]);
    stage.hears(pair.from, NetEvent::PeerClosed { link: pair.near });
    stage.quiet(pair.to, MOMENT, is_net);
    // Both have ended, and each link is there until it is closed.
    for (node, link) in [(pair.from, pair.near), (pair.to, pair.far)] {
        stage.ask(node, [NetAction::Close { link }]);
        stage.hears(node, NetEvent::Closed { link });
        assert_eq!(stage.report(node).owed[0], 0);
    }
}

pub(crate) fn a_reset_is_told_once(stage: &mut Stage<'_>) {
    // With a read outstanding, a send, or both.
    for (reads, sends) in [(true, false), (false, true), (true, true)] {
        let pair = stage.pair();
        let (node, link) = (pair.from, pair.near);
        // Closing with bytes unread is a reset.
        stage.sent(node, link, "read and unread");
        stage.read(pair.to, pair.far, 4, 4);
        let mut asked = Vec::new();
        if reads {
            asked.push(NetAction::Recv { link, max: 100 });
        }
        if sends {
            asked.push(NetAction::Send { link, buffers: vec![noise(32 << 20, 3)] });
        }
        stage.ask(node, asked);
        stage.quiet(node, MOMENT, is_net);
        stage.close(pair.to, pair.far);
        stage.hears(node, NetEvent::Broken { link, error: NetError::Reset });
        stage.quiet(node, MOMENT, is_net);
        assert_eq!(stage.report(node).owed[0], 0);
    }
}

pub(crate) fn k10_nothing_is_told_of_a_link_after_its_close(stage: &mut Stage<'_>) {
    // With everything outstanding and everything on its way: what crosses with the close is dropped.
    for round in 0..20 {
        let pair = stage.pair();
        let (node, link) = (pair.from, pair.near);
        let buffers = vec![noise(if round % 2 == 0 { 32 << 20 } else { 100 }, 4)];
        stage.send(pair.to, pair.far, noise(200_000, 5));
        stage.ask(node, [NetAction::Recv { link, max: 100 }, NetAction::Send { link, buffers }]);
        stage.ask(node, [NetAction::Close { link }]);
        stage.net(node, "the end of a link", |event| *event == NetEvent::Closed { link });
        // The other end is not left in the dark: what was sent, and then the end or a reset.
        loop {
            stage.ask(pair.to, [NetAction::Recv { link: pair.far, max: 1 << 20 }]);
            let heard = stage.net(pair.to, "the end", |event| !matches!(event, NetEvent::Sent { .. }));
            match heard {
                NetEvent::Received { .. } => {}
                NetEvent::PeerClosed { .. } => {
                    stage.close(pair.to, pair.far);
                    break;
                }
                NetEvent::Broken { error: NetError::Reset, .. } => break,
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(stage.report(node).owed[0], 0);
        stage.stop(pair.from);
        stage.stop(pair.to);
    }
    // All at once, in one turn.
    let pair = stage.pair();
    let (node, link) = (pair.from, pair.near);
    stage.sent(pair.to, pair.far, "unread");
    let buffers = vec![noise(100, 6)];
    stage.ask(
        node,
        [NetAction::Recv { link, max: 100 }, NetAction::Send { link, buffers }, NetAction::Close { link }],
    );
    stage.hears(node, NetEvent::Closed { link });
    stage.quiet(node, MOMENT, is_net);
}

pub(crate) fn a_close_that_crosses_with_the_end_is_completed_once(stage: &mut Stage<'_>) {
    let (from, to) = (stage.raw(), stage.raw());
    let any = stage.any();
    let place = stage.listen(to, any).expect("a free port");
    let refusing = freed(stage, to);
    for _ in 0..60 {
        let pair = stage.link(from, to, place);
        let (link, far) = (pair.near, pair.far);
        stage.sent(from, link, "read and unread");
        stage.read(to, far, 4, 4);
        stage.ask(from, [NetAction::Recv { link, max: 100 }]);
        // Whichever comes first is the only one; the audit counts.
        stage.ask(to, [NetAction::Close { link: far }]);
        stage.close(from, link);
        stage.net(to, "the end of a link", |event| *event == NetEvent::Closed { link: far });
        // The same with a dial that fails.
        let link = LinkId(stage.id());
        stage.ask(from, [NetAction::Dial { link, address: refusing.into() }]);
        stage.ask(from, [NetAction::Close { link }]);
        stage.net(from, "the end of a dial", |event| {
            matches!(event, NetEvent::Closed { link: told } | NetEvent::DialFailed { link: told, .. } if *told == link)
        });
    }
    stage.quiet(from, MOMENT, is_net);
    assert_eq!((stage.report(from).owed[0], stage.report(to).owed[0]), (0, 0));
}

pub(crate) fn many_links_stay_apart(stage: &mut Stage<'_>) {
    let (from, to) = (stage.raw(), stage.raw());
    let any = stage.any();
    let place = stage.listen(to, any).expect("a free port");
    let pairs: Vec<_> = (0..50).map(|_| stage.link(from, to, place)).collect();
    let size = |n: usize| 1 + n * 7919 % 60_000;
    for (n, pair) in pairs.iter().enumerate() {
        stage.send(from, pair.near, noise(size(n), n as u64));
    }
    for (n, pair) in pairs.iter().enumerate().rev() {
        assert!(stage.read(to, pair.far, size(n), 4096) == noise(size(n), n as u64));
        stage.net(from, "the end of a send", |event| *event == NetEvent::Sent { link: pair.near });
    }
    // Each second one is closed; the others do not notice.
    for pair in pairs.iter().step_by(2) {
        stage.close(from, pair.near);
    }
    for (n, pair) in pairs.iter().enumerate().skip(1).step_by(2) {
        stage.sent(to, pair.far, noise(100, n as u64));
        assert!(stage.read(from, pair.near, 100, 100) == noise(100, n as u64));
    }
    // At the other end a close may be a reset, which is told, or the end of a stream, which nobody has asked for yet.
    assert_eq!(stage.report(from).owed[0], 25);
    assert!((25..=50).contains(&stage.report(to).owed[0]));
}
