//! Sessions over links that break: what a user of messages is promised.

use crate::conformance::stage::{LONG, over_ip};
use crate::conformance::{Command, Kind, Node, Notice, RelayNotice, Stage};
use std::net::SocketAddr;
use std::time::Duration;
use xxnet_core::messenger::{MessengerCommand, MessengerNotice};
use xxnet_core::pack::{DataPack, PackType};
use xxnet_core::{Config, ConnectionId, Token};

fn messenger(stage: &mut Stage<'_>, change: impl FnOnce(&mut Config)) -> Node {
    let config = stage.config(|config| {
        // Links that are cut one after the other are made again at once.
        config.limits.backoff = (Duration::from_millis(1), Duration::from_millis(20));
        change(config);
    });
    stage.start(Kind::Messenger(config))
}

fn command(stage: &mut Stage<'_>, node: Node, command: MessengerCommand) {
    stage.command(node, Command::Messenger(command));
}

fn notice(
    stage: &mut Stage<'_>,
    node: Node,
    what: &str,
    mut wanted: impl FnMut(&MessengerNotice) -> bool,
) -> MessengerNotice {
    let is_wanted = |notice: &Notice| matches!(notice, Notice::Messenger(told) if wanted(told));
    match stage.wait(node, what, is_wanted) {
        Notice::Messenger(told) => told,
        other => unreachable!("{other:?}"),
    }
}

fn listen(stage: &mut Stage<'_>, node: Node) -> SocketAddr {
    let address = stage.any();
    command(stage, node, MessengerCommand::Listen { token: Token(1), address: address.into() });
    let told = notice(stage, node, "a listener", |told| matches!(told, MessengerNotice::Listening { .. }));
    match told {
        MessengerNotice::Listening { address, .. } => over_ip(&address),
        other => unreachable!("{other:?}"),
    }
}

fn open(stage: &mut Stage<'_>, node: Node, to: SocketAddr) -> Token {
    let token = Token(stage.id() + 10);
    command(stage, node, MessengerCommand::Open { token, to: to.into() });
    token
}

fn numbered(n: u64, size: usize) -> DataPack {
    let mut bytes = n.to_le_bytes().to_vec();
    bytes.resize(8 + size, n as u8);
    DataPack::new(PackType::RAW, bytes)
}

fn number(pack: &DataPack) -> u64 {
    let (number, rest) = pack.head.split_at(8);
    let n = number.iter().rev().fold(0, |n, byte| n << 8 | u64::from(*byte));
    assert!(rest.iter().all(|byte| *byte == n as u8), "the bytes of message {n}");
    n
}

fn send(stage: &mut Stage<'_>, node: Node, token: Token, numbers: std::ops::Range<u64>, size: usize) {
    let packs = numbers.map(|n| numbered(n, size)).collect();
    command(stage, node, MessengerCommand::Send { token, packs });
}

/// The next message, taken.
fn take(stage: &mut Stage<'_>, node: Node) -> (ConnectionId, u64) {
    let told = notice(stage, node, "a message", |told| matches!(told, MessengerNotice::Received { .. }));
    match told {
        MessengerNotice::Received { on, pack } => {
            command(stage, node, MessengerCommand::Taken { on, sequence: pack.sequence });
            (on, number(&pack))
        }
        other => unreachable!("{other:?}"),
    }
}

/// Waits until so many messages are settled.
fn settled(stage: &mut Stage<'_>, node: Node, mut count: u64) {
    while count > 0 {
        match notice(stage, node, "an acknowledgement", |told| {
            matches!(told, MessengerNotice::Settled { .. } | MessengerNotice::Undelivered { .. })
        }) {
            MessengerNotice::Settled { count: settled, .. } => count -= settled,
            other => panic!("{other:?}"),
        }
    }
}

/// Ends a messenger in peace.
fn shut_down(stage: &mut Stage<'_>, node: Node) {
    command(stage, node, MessengerCommand::Shutdown { drain: LONG });
    notice(stage, node, "the end", |told| *told == MessengerNotice::Down);
    stage.until(node, "nothing left", |report| report.census == [0; 4] && report.owed == [0; 4]);
}

pub(crate) fn n3_both_dial_at_once_and_one_link_is_left(stage: &mut Stage<'_>) {
    for _ in 0..5 {
        let (one, two) = (messenger(stage, |_| {}), messenger(stage, |_| {}));
        let (at_one, at_two) = (listen(stage, one), listen(stage, two));
        let (to_two, to_one) = (open(stage, one, at_two), open(stage, two, at_one));
        send(stage, one, to_two, 0..300, 20);
        send(stage, two, to_one, 0..300, 20);
        for n in 0..300 {
            assert_eq!(take(stage, one).1, n);
            assert_eq!(take(stage, two).1, n);
        }
        settled(stage, one, 300);
        settled(stage, two, 300);
        for node in [one, two] {
            stage.until(node, "one link", |report| report.census[0] == 1 && report.owed[0] == 1);
        }
        shut_down(stage, one);
        shut_down(stage, two);
    }
}

pub(crate) fn n4_a_link_that_breaks_again_and_again_and_each_message_once_in_order(stage: &mut Stage<'_>) {
    const ALL: u64 = 3000;
    let (server, client) = (messenger(stage, |_| {}), messenger(stage, |_| {}));
    let at = listen(stage, server);
    // In the handshake, in the middle of a message, and further on.
    let cuts = [0, 40, 700, 5000, 20_000, 20_001, 60_000, 100, 3000, 100_000];
    let (relay, at) = stage.relay(at, cuts.to_vec());
    let there = open(stage, client, at);
    for first in (0..ALL).step_by(500) {
        send(stage, client, there, first..first + 500, 90);
    }
    for n in 0..ALL {
        assert_eq!(take(stage, server).1, n);
    }
    settled(stage, client, ALL);
    for _ in cuts {
        stage.wait(relay, "a cut", |notice| matches!(notice, Notice::Relay(RelayNotice::Cut)));
    }
    // And back, over the session that is there.
    let from = notice(stage, server, "a session", |told| matches!(told, MessengerNotice::Connected { .. }));
    let MessengerNotice::Connected { at, .. } = from else { unreachable!("{from:?}") };
    let back = Token(stage.id() + 10);
    command(stage, server, MessengerCommand::Open { token: back, to: at });
    send(stage, server, back, 0..100, 10);
    for n in 0..100 {
        assert_eq!(take(stage, client).1, n);
    }
    settled(stage, server, 100);
    shut_down(stage, client);
    shut_down(stage, server);
}

pub(crate) fn n13_shutdown_waits_until_all_is_acknowledged(stage: &mut Stage<'_>) {
    let (server, client) = (messenger(stage, |_| {}), messenger(stage, |_| {}));
    let at = listen(stage, server);
    let to = open(stage, client, at);
    send(stage, client, to, 0..500, 1000);
    command(stage, client, MessengerCommand::Shutdown { drain: LONG });
    for n in 0..500 {
        assert_eq!(take(stage, server).1, n);
    }
    let mut count = 0;
    loop {
        let told = notice(stage, client, "the end", |told| {
            !matches!(told, MessengerNotice::Connected { .. } | MessengerNotice::Disconnected { .. })
        });
        match told {
            MessengerNotice::Settled { count: settled, .. } => count += settled,
            MessengerNotice::Down => break,
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(count, 500);
    stage.until(client, "nothing left", |report| report.census == [0; 4] && report.owed == [0; 4]);
    shut_down(stage, server);
}

pub(crate) fn n11_what_an_instance_that_is_gone_had_not_taken_is_told(stage: &mut Stage<'_>) {
    let quick = |config: &mut Config| config.limits.session_timeout = Duration::from_millis(800);
    let (server, client) = (messenger(stage, quick), messenger(stage, quick));
    let at = listen(stage, server);
    let to = open(stage, client, at);
    send(stage, client, to, 0..100, 10);
    let mut on = None;
    for n in 0..100 {
        let told =
            notice(stage, server, "a message", |told| matches!(told, MessengerNotice::Received { .. }));
        let MessengerNotice::Received { on: connection, pack } = told else { unreachable!("{told:?}") };
        assert_eq!(number(&pack), n);
        on = Some(connection);
        if n == 39 {
            command(stage, server, MessengerCommand::Taken { on: connection, sequence: pack.sequence });
        }
    }
    assert!(on.is_some());
    settled(stage, client, 40);
    stage.stop(server);
    let gone =
        notice(stage, client, "the report", |told| matches!(told, MessengerNotice::Disconnected { .. }));
    let MessengerNotice::Disconnected { undelivered, .. } = gone else { unreachable!("{gone:?}") };
    let told: Vec<u64> = undelivered.iter().map(number).collect();
    assert!(told.iter().copied().eq(40..100), "exactly what was not taken: {told:?}");
    shut_down(stage, client);
}
