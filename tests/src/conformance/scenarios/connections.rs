//! The same duties as the machines feel them: connections by id.

use crate::conformance::stage::{MOMENT, noise, over_ip};
use crate::conformance::{Command, Kind, Node, Notice, RelayCommand, Stage};
use bytes::Bytes;
use std::net::SocketAddr;
use std::time::Duration;
use xxnet_core::connection::*;
use xxnet_core::net::NetError;
use xxnet_core::pack::{DataPack, PackType};
use xxnet_core::{Address, Config, ConnectionId, Token};

const MANY: KindId = KindId(1024);
const LISTENER: KindId = KindId(1026);

/// A node of connections.
fn node(stage: &mut Stage<'_>, change: impl FnOnce(&mut Config)) -> Node {
    let config = stage.config(change);
    let node = stage.start(Kind::Connections(config));
    for kind in [
        ConnectionKind::plain(MANY, LinkRule::Many, Role::Both),
        ConnectionKind::plain(LISTENER, LinkRule::Many, Role::Listen),
    ] {
        command(stage, node, ConnectionCommand::Register { token: Token(0), kind });
    }
    node
}

fn command(stage: &mut Stage<'_>, node: Node, command: ConnectionCommand) {
    stage.command(node, Command::Connections(command));
}

fn event(
    stage: &mut Stage<'_>,
    node: Node,
    what: &str,
    mut wanted: impl FnMut(&ConnectionEvent) -> bool,
) -> ConnectionEvent {
    let is_wanted = |notice: &Notice| matches!(notice, Notice::Connections(ConnectionNotice::Event(event)) if wanted(event));
    match stage.wait(node, what, is_wanted) {
        Notice::Connections(ConnectionNotice::Event(event)) => event,
        other => unreachable!("{other:?}"),
    }
}

fn create(stage: &mut Stage<'_>, node: Node, kind: KindId) -> ConnectionId {
    let token = Token(stage.id());
    command(stage, node, ConnectionCommand::Create { token, kind });
    let is_created = |notice: &Notice| matches!(notice, Notice::Connections(ConnectionNotice::Created { token: told, .. }) if *told == token);
    match stage.wait(node, "a connection", is_created) {
        Notice::Connections(ConnectionNotice::Created { id, .. }) => id,
        other => unreachable!("{other:?}"),
    }
}

fn listen(stage: &mut Stage<'_>, node: Node) -> (ConnectionId, SocketAddr) {
    let id = create(stage, node, LISTENER);
    let address = stage.any().into();
    command(stage, node, ConnectionCommand::Listen { token: Token(0), id, address });
    match event(stage, node, "a listener", |event| matches!(event, ConnectionEvent::Listening { .. })) {
        ConnectionEvent::Listening { address, .. } => (id, over_ip(&address)),
        other => unreachable!("{other:?}"),
    }
}

fn connect(stage: &mut Stage<'_>, node: Node, id: ConnectionId, to: impl Into<Address>) {
    let connect = ConnectionCommand::Connect { token: Token(0), id, target: Some(to.into()), expect: None };
    command(stage, node, connect);
}

/// How a connect ends.
fn outcome(stage: &mut Stage<'_>, node: Node, id: ConnectionId) -> Result<(), DisconnectReason> {
    let is_end = |event: &ConnectionEvent| matches!(event, ConnectionEvent::Connected { id: told, .. } | ConnectionEvent::Disconnected { id: told, .. } if *told == id);
    match event(stage, node, "the end of a connect", is_end) {
        ConnectionEvent::Connected { .. } => Ok(()),
        ConnectionEvent::Disconnected { reason, .. } => Err(reason),
        other => unreachable!("{other:?}"),
    }
}

fn connected(
    stage: &mut Stage<'_>,
    node: Node,
    to: impl Into<Address>,
) -> Result<ConnectionId, DisconnectReason> {
    let id = create(stage, node, MANY);
    connect(stage, node, id, to);
    outcome(stage, node, id).map(|()| id)
}

fn accepted(stage: &mut Stage<'_>, node: Node) -> ConnectionId {
    match event(stage, node, "an accept", |event| matches!(event, ConnectionEvent::Accepted { .. })) {
        ConnectionEvent::Accepted { id, .. } => id,
        other => unreachable!("{other:?}"),
    }
}

/// The end at a node of a connection that has this id where it was dialled: newcomers may come in any order.
fn other_end(stage: &mut Stage<'_>, node: Node, dialled: ConnectionId) -> ConnectionId {
    let is_end = |event: &ConnectionEvent| matches!(event, ConnectionEvent::Accepted { peer, .. } if peer.connection == dialled);
    match event(stage, node, "the accept of it", is_end) {
        ConnectionEvent::Accepted { id, .. } => id,
        other => unreachable!("{other:?}"),
    }
}

fn disconnected(stage: &mut Stage<'_>, node: Node, id: ConnectionId) -> DisconnectReason {
    let is_end = |event: &ConnectionEvent| matches!(event, ConnectionEvent::Disconnected { id: told, .. } if *told == id);
    match event(stage, node, "an end", is_end) {
        ConnectionEvent::Disconnected { reason, .. } => reason,
        other => unreachable!("{other:?}"),
    }
}

fn send(stage: &mut Stage<'_>, node: Node, id: ConnectionId, bytes: Bytes) {
    let pack = DataPack::new(PackType::RAW, bytes);
    command(stage, node, ConnectionCommand::SendPack { token: Token(0), id, pack });
}

fn received(stage: &mut Stage<'_>, node: Node, id: ConnectionId) -> Bytes {
    let is_pack =
        |event: &ConnectionEvent| matches!(event, ConnectionEvent::Received { id: told, .. } if *told == id);
    match event(stage, node, "a pack", is_pack) {
        ConnectionEvent::Received { pack, .. } => pack.head,
        other => unreachable!("{other:?}"),
    }
}

fn close(stage: &mut Stage<'_>, node: Node, id: ConnectionId) {
    command(stage, node, ConnectionCommand::Close { token: Token(0), id });
}

pub(crate) fn connections_refused_unknown_and_by_name(stage: &mut Stage<'_>) {
    let (server, client) = (node(stage, |_| {}), node(stage, |_| {}));
    let (listener, at) = listen(stage, server);
    let name = stage.name();
    connected(stage, client, Address::Name(name.clone(), at.port())).expect("by name");
    accepted(stage, server);
    let unknown = Address::Name("x".repeat(64), at.port());
    let unknown = connected(stage, client, unknown).map(|_| ());
    assert_eq!(unknown, Err(DisconnectReason::Net(NetError::NameNotFound)));
    // Twice on one address: the second is the caller's fault, and the first unharmed.
    let second = create(stage, server, LISTENER);
    let address = at.into();
    command(stage, server, ConnectionCommand::Listen { token: Token(77), id: second, address });
    let rejected = |notice: &Notice| {
        matches!(
            notice,
            Notice::Connections(ConnectionNotice::Rejected {
                token: Token(77),
                error: ConnectionError::AlreadyListening(_)
            })
        )
    };
    stage.wait(server, "a rejection", rejected);
    connected(stage, client, at).expect("the listener lives");
    close(stage, server, listener);
    disconnected(stage, server, listener);
    for to in [Address::from(at), Address::Name(name, at.port())] {
        let refused = connected(stage, client, to).map(|_| ());
        assert_eq!(refused, Err(DisconnectReason::Net(NetError::Refused)));
    }
}

pub(crate) fn thousands_of_packs_of_mixed_sizes_in_order_both_ways(stage: &mut Stage<'_>) {
    const ALL: usize = 4000;
    let (server, client) = (node(stage, |_| {}), node(stage, |_| {}));
    let (_, at) = listen(stage, server);
    let id = connected(stage, client, at).expect("a connection");
    let far = accepted(stage, server);
    // Mostly small, some of 60 KB; each begins with its number.
    let pack = |n: usize, way: u64| {
        let size = if n.is_multiple_of(97) { 60_000 } else { n * 31 % 700 };
        Bytes::from([&n.to_le_bytes()[..], &noise(size, n as u64 + way)].concat())
    };
    for n in 0..ALL {
        send(stage, client, id, pack(n, 0));
        send(stage, server, far, pack(n, 1 << 32));
    }
    for n in 0..ALL {
        assert!(received(stage, server, far) == pack(n, 0), "pack {n} there");
        assert!(received(stage, client, id) == pack(n, 1 << 32), "pack {n} back");
    }
    let whole = |report: &crate::conformance::Report| report.unfinished.is_empty();
    stage.until(client, "an empty outbox", whole);
    stage.until(server, "an empty outbox", whole);
}

pub(crate) fn n8_bulk_waits_for_a_reader_that_pauses(stage: &mut Stage<'_>) {
    const PIECE: usize = 8 << 20;
    let large = |config: &mut Config| {
        config.limits.max_data = 9 << 20;
        config.limits.max_outbox = 40 << 20;
    };
    let (server, client) = (node(stage, large), node(stage, large));
    let (_, at) = listen(stage, server);
    let id = connected(stage, client, at).expect("a connection");
    let far = accepted(stage, server);
    command(stage, server, ConnectionCommand::Pause { id: far });
    for n in 0..4 {
        send(stage, client, id, noise(PIECE, n));
    }
    let waits = |report: &crate::conformance::Report| {
        report.unfinished.iter().any(|(what, bytes)| *what == "bytes to be sent" && *bytes > PIECE)
    };
    // It cannot be on its way, so it waits here; and the other end is asked for nothing.
    let is_pack = |notice: &Notice| {
        matches!(notice, Notice::Connections(ConnectionNotice::Event(ConnectionEvent::Received { .. })))
    };
    stage.quiet(server, MOMENT * 2, is_pack);
    stage.until(client, "an outbox that waits", waits);
    // The other direction is not held up.
    send(stage, server, far, noise(1 << 20, 9));
    assert!(received(stage, client, id) == noise(1 << 20, 9));
    command(stage, server, ConnectionCommand::Resume { id: far });
    for n in 0..4 {
        assert!(received(stage, server, far) == noise(PIECE, n), "piece {n}");
    }
    let is_writable = |event: &ConnectionEvent| matches!(event, ConnectionEvent::Writable { .. });
    event(stage, client, "a writable connection", is_writable);
    stage.until(client, "an empty outbox", |report| report.unfinished.is_empty());
}

pub(crate) fn keepalive_holds_an_idle_link_and_finds_a_silent_one(stage: &mut Stage<'_>) {
    let quick = |config: &mut Config| {
        config.limits.heartbeat = Duration::from_millis(100);
        config.limits.suspect = Duration::from_millis(1500);
    };
    let (server, client) = (node(stage, quick), node(stage, quick));
    let (_, at) = listen(stage, server);
    let (relay, by_relay) = stage.relay(at, Vec::new());
    let (direct, through) = (connected(stage, client, at), connected(stage, client, by_relay));
    let (direct, through) = (direct.expect("a connection"), through.expect("a connection"));
    let ends = [accepted(stage, server), accepted(stage, server)];
    // From here on nothing passes, and nobody is told.
    stage.command(relay, Command::Relay(RelayCommand::Mute));
    assert_eq!(disconnected(stage, client, through), DisconnectReason::Silent);
    let is_silent = |event: &ConnectionEvent| matches!(event, ConnectionEvent::Disconnected { .. });
    match event(stage, server, "the end of the silent one", is_silent) {
        ConnectionEvent::Disconnected { id, reason, .. } => {
            assert!(ends.contains(&id));
            assert!(matches!(
                reason,
                DisconnectReason::Silent | DisconnectReason::Net(_) | DisconnectReason::ClosedByPeer
            ));
        }
        other => unreachable!("{other:?}"),
    }
    // The other one has been idle for as long, and lives.
    let is_end = |notice: &Notice| matches!(notice, Notice::Connections(ConnectionNotice::Event(event)) if is_silent(event));
    stage.quiet(client, MOMENT, |notice| is_end(notice));
    send(stage, client, direct, "alive".into());
    event(
        stage,
        server,
        "a pack",
        |event| matches!(event, ConnectionEvent::Received { pack, .. } if pack.head == "alive"),
    );
}

pub(crate) fn k12_two_hundred_connections_at_once_leave_nothing(stage: &mut Stage<'_>) {
    const ALL: usize = 200;
    let (server, client) = (node(stage, |_| {}), node(stage, |_| {}));
    let (listener, at) = listen(stage, server);
    let ids: Vec<_> = (0..ALL).map(|_| create(stage, client, MANY)).collect();
    let mut far = Vec::new();
    // A few dials at a time: no more than any backlog holds.
    for ids in ids.chunks(10) {
        ids.iter().for_each(|id| connect(stage, client, *id, at));
        for id in ids {
            outcome(stage, client, *id).expect("a connection");
            far.push(other_end(stage, server, *id));
        }
    }
    for (n, id) in ids.iter().enumerate() {
        send(stage, client, *id, noise(100 + n, n as u64));
        send(stage, server, far[n], noise(100, 7));
    }
    for id in &ids {
        assert!(received(stage, client, *id) == noise(100, 7));
    }
    for id in &far {
        received(stage, server, *id);
    }
    assert_eq!(stage.report(client).census, [ALL, 0, 0, ALL]);
    for (n, id) in ids.iter().enumerate() {
        // Half of them are closed here, and half there.
        if n % 2 == 0 {
            close(stage, client, *id);
        } else {
            close(stage, server, far[n]);
        }
    }
    for (id, far) in ids.iter().zip(&far) {
        disconnected(stage, client, *id);
        disconnected(stage, server, *far);
    }
    close(stage, server, listener);
    disconnected(stage, server, listener);
    stage.until(server, "nothing left", |report| report.census == [0, 0, 0, 1] && report.owed == [0; 4]);
    stage.until(client, "nothing left", |report| report.census == [0, 0, 0, ALL] && report.owed == [0; 4]);
}

pub(crate) fn k9_closed_by_one_end_and_connected_again(stage: &mut Stage<'_>) {
    let (server, client) = (node(stage, |_| {}), node(stage, |_| {}));
    let (_, at) = listen(stage, server);
    let id = create(stage, client, MANY);
    for round in 0..5_u64 {
        connect(stage, client, id, at);
        outcome(stage, client, id).expect("a connection");
        let far = accepted(stage, server);
        // All that was sent comes before the end, from whichever end.
        send(stage, client, id, noise(3 << 20, round));
        if round % 2 == 0 {
            close(stage, client, id);
            assert!(received(stage, server, far) == noise(3 << 20, round));
        } else {
            assert!(received(stage, server, far) == noise(3 << 20, round));
            send(stage, server, far, noise(2 << 20, round));
            close(stage, server, far);
            assert!(received(stage, client, id) == noise(2 << 20, round));
        }
        let (here, there) = (disconnected(stage, client, id), disconnected(stage, server, far));
        let closed = [DisconnectReason::Closed, DisconnectReason::ClosedByPeer];
        let expected = if round % 2 == 0 { closed } else { [closed[1].clone(), closed[0].clone()] };
        assert_eq!([here, there], expected);
    }
    // A dial that is given up.
    connect(stage, client, id, at);
    close(stage, client, id);
    assert_eq!(disconnected(stage, client, id), DisconnectReason::Closed);
    stage.until(client, "no link", |report| report.census[0] == 0 && report.owed[0] == 0);
    stage.until(server, "no link", |report| report.census[0] == 0 && report.owed[0] == 0);
}
