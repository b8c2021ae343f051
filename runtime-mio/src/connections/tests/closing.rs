//! The end of a connection, and of all of them: also from inside a handler.

use super::*;

#[test]
fn k6_close_brings_it_back_and_the_same_id_connects_again() {
    for kind in [MANY, ONE, PAIR] {
        let mut both = Both::new(kind);
        both.near.send(both.id, numbered(1)).unwrap();
        both.near.close(both.id).unwrap();
        // Twice is harmless.
        both.near.close(both.id).unwrap();
        both.until(|near, far| ended(near) && ended(far));
        assert_eq!(both.heard.0.last(), Some(&Heard::Disconnect(both.id, DisconnectReason::Closed)));
        assert_eq!(numbers(&both.heard_far.0), [1], "what was queued was sent first");
        assert_eq!(
            both.heard_far.0.last(),
            Some(&Heard::Disconnect(both.far_id, DisconnectReason::ClosedByPeer))
        );
        assert_eq!(both.near.state(both.id), Some(ConnectionState::Idle));
        assert_eq!((both.far.state(both.far_id), both.far.kind(both.far_id)), (None, None));
        both.clear();
        both.near.connect(both.id).unwrap();
        both.until(|near, far| !near.is_empty() && !far.is_empty());
        assert_eq!(both.heard.0, [Heard::Connect(both.id)]);
        assert!(!matches!(both.heard_far.0[0], Heard::Accept(id, _) if id == both.far_id), "ids are new");
    }
    let mut manager = manager();
    assert_eq!(manager.close(NOBODY), Err(ConnectionError::UnknownConnection(NOBODY)));
    assert_eq!(manager.discard(NOBODY), Err(ConnectionError::UnknownConnection(NOBODY)));
    // While it is connecting.
    let hole = TcpListener::bind("127.0.0.1:0").unwrap();
    let id = manager.create_to(MANY, hole.local_addr().unwrap(), None).unwrap();
    manager.connect(id).unwrap();
    manager.close(id).unwrap();
    assert_eq!(manager.state(id), Some(ConnectionState::Idle));
    let mut heard = Log::default();
    assert_eq!(manager.update(Duration::ZERO, &mut heard).unwrap(), 1);
    assert_eq!(heard.0, [Heard::Disconnect(id, DisconnectReason::Closed)]);
}

#[test]
fn k6_close_from_inside_on_disconnect() {
    let mut both = Both::new(MANY);
    both.far.close(both.far_id).unwrap();
    let mut near = Inside::new("on_disconnect", |connections, id| {
        assert_eq!(connections.state(id), Some(ConnectionState::Idle), "it is as created already");
        connections.close(id).unwrap();
        connections.close(id).unwrap();
        // And at once again.
        connections.connect(id).unwrap();
        assert_eq!(connections.state(id), Some(ConnectionState::Connecting));
    });
    drive((&mut both.near, &mut near), (&mut both.far, &mut both.heard_far), |near, _| near.log.0.len() >= 2);
    assert_eq!(
        near.log.0,
        [Heard::Disconnect(both.id, DisconnectReason::ClosedByPeer), Heard::Connect(both.id)],
        "told once, and up again"
    );
    // Given up and dialled again in one breath: each is told, in order.
    let mut both = Both::new(MANY);
    both.far.close(both.far_id).unwrap();
    let mut near = Inside::new("on_disconnect", |connections, id| {
        connections.connect(id).unwrap();
        connections.close(id).unwrap();
        connections.connect(id).unwrap();
    });
    let ends = |reason| Heard::Disconnect(both.id, reason);
    drive((&mut both.near, &mut near), (&mut both.far, &mut both.heard_far), |near, _| near.log.0.len() >= 3);
    let (theirs, ours) = (ends(DisconnectReason::ClosedByPeer), ends(DisconnectReason::Closed));
    assert_eq!(near.log.0, [theirs, ours, Heard::Connect(both.id)]);
    // An accepted connection is gone in its on_disconnect.
    let mut both = Both::new(MANY);
    both.near.close(both.id).unwrap();
    let mut far = Inside::new("on_disconnect", |connections, id| {
        assert_eq!(connections.close(id), Err(ConnectionError::UnknownConnection(id)));
        assert!(connections.peer(id).is_some(), "who it was is known until this returns");
    });
    drive((&mut both.near, &mut both.heard), (&mut both.far, &mut far), |_, far| ended(&far.log.0));
    assert_eq!(both.far.peer(both.far_id), None);
}

#[test]
fn k6_close_from_inside_every_other_handler() {
    for at in ["on_connect", "on_accept", "on_receive"] {
        let (mut near, mut far) = (manager(), manager());
        let (_, to) = listening(&mut far);
        let first = Dict::from([("n", 1.into())]);
        let id = near.create_to(MANY, to, first).unwrap();
        near.connect(id).unwrap();
        let close = |connections: &mut ConnectionManager, id| connections.close(id).unwrap();
        let (mut client, mut server) = (Inside::new(at, close), Inside::new(at, close));
        drive((&mut near, &mut client), (&mut far, &mut server), |client, server| {
            ended(&client.log.0) && ended(&server.log.0)
        });
        let ends = |log: &Log| log.0.iter().filter(|heard| matches!(heard, Heard::Disconnect(..))).count();
        assert_eq!((ends(&client.log), ends(&server.log)), (1, 1), "closed in {at}");
        assert_eq!((near.state(id), near.peer(id)), (Some(ConnectionState::Idle), None));
    }
}

#[test]
fn k6_connecting_again_and_again_from_inside_does_not_hold_an_update() {
    struct Again(usize);
    impl Handler for Again {
        fn on_disconnect(
            &mut self,
            connections: &mut ConnectionManager,
            id: ConnectionId,
            _: DisconnectReason,
        ) {
            self.0 += 1;
            // Both answered at once: it would never end if this update told what it brings about.
            connections.connect(id).unwrap();
            connections.close(id).unwrap();
        }
    }
    let hole = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut manager = manager();
    let id = manager.create_to(MANY, hole.local_addr().unwrap(), None).unwrap();
    manager.connect(id).unwrap();
    manager.close(id).unwrap();
    let mut again = Again(0);
    for round in 1..=100 {
        assert_eq!(manager.update(PATIENCE, &mut again).unwrap(), 1);
        assert_eq!(again.0, round);
    }
}

#[test]
fn k7_destroy_ends_everything_once_and_then_all_is_destroyed() {
    let mut both = Both::new(PAIR);
    both.near.send(both.id, numbered(1)).unwrap();
    let dialling = both.near.create_to(MANY, both.at, None).unwrap();
    both.near.connect(dialling).unwrap();
    let (door, at) = listening(&mut both.near);
    let idle = both.near.create(MANY).unwrap();
    both.near.destroy();
    both.near.destroy();
    assert_eq!(both.near.update(Duration::ZERO, &mut both.heard).unwrap(), 4);
    assert_eq!(both.near.update(Duration::ZERO, &mut both.heard).unwrap(), 0, "and nothing more");
    let ends = |id| Heard::Disconnect(id, DisconnectReason::Closed);
    assert!(matches!(&both.heard.0[0], Heard::Undelivered(id, messages)
        if *id == both.id && messages.iter().map(number).eq([1]) && messages[0].sequence() == 1));
    assert_eq!(both.heard.0[1..], [ends(both.id), ends(dialling), ends(door)]);
    let (near, id) = (&mut both.near, both.id);
    let destroyed = || ConnectionError::Destroyed;
    let kind = ConnectionKind::plain(KindId(2000), LinkRule::Many, Role::Both);
    assert_eq!(near.register(kind), Err(destroyed()));
    assert_eq!(near.create(MANY), Err(destroyed()));
    assert_eq!(near.create_to(MANY, at, None), Err(destroyed()));
    for id in [id, dialling, door, idle, NOBODY] {
        assert!(matches!(near.listen(id, at), Err(ListenError::Refused(error)) if error == destroyed()));
        assert_eq!(near.connect(id), Err(destroyed()));
        assert_eq!(near.connect_to(id, at), Err(destroyed()));
        assert_eq!(near.connect_expecting(id, InstanceId([1; 16])), Err(destroyed()));
        assert_eq!(near.send(id, numbered(1)), Err(destroyed()));
        assert_eq!(near.send_pack(id, DataPack::new(PackType::RAW, Vec::new())), Err(destroyed()));
        assert_eq!(near.ping(id), Err(destroyed()));
        assert_eq!(near.pause(id), Err(destroyed()));
        assert_eq!(near.resume(id), Err(destroyed()));
        assert_eq!(near.close(id), Err(destroyed()));
        assert_eq!(near.discard(id), Err(destroyed()));
        assert_eq!((near.state(id), near.kind(id), near.peer(id)), (None, None, None));
        assert!(!near.writable(id));
    }
    // The listener's address is free.
    TcpListener::bind(at).unwrap();
}

#[test]
fn k7_destroy_from_inside_a_handler_and_a_drop_close_everything() {
    let mut both = Both::new(MANY);
    both.far.send(both.far_id, numbered(1)).unwrap();
    both.far.send(both.far_id, numbered(2)).unwrap();
    let mut near = Inside::new("on_receive", |connections: &mut ConnectionManager, _| connections.destroy());
    drive((&mut both.near, &mut near), (&mut both.far, &mut both.heard_far), |near, far| {
        ended(&near.log.0) && ended(&far.0)
    });
    assert_eq!(near.log.0.last(), Some(&Heard::Disconnect(both.id, DisconnectReason::Closed)));
    let Both { near, mut far, mut heard_far, far_id, at, .. } = Both::new(ONE);
    drop(near);
    while !ended(&heard_far.0) {
        far.update(PATIENCE, &mut heard_far).unwrap();
    }
    assert!(matches!(heard_far.0[..], [Heard::Disconnect(id, _)] if id == far_id));
    drop(far);
    TcpListener::bind(at).unwrap();
}

#[test]
fn k7_discard_forgets_what_was_not_told_yet() {
    let mut both = Both::new(MANY);
    for n in 0..10 {
        both.far.send(both.far_id, numbered(n)).unwrap();
    }
    both.far.close(both.far_id).unwrap();
    // All of it is on its way, and comes to the other end at once.
    for _ in 0..10 {
        both.far.update(Duration::from_millis(1), &mut both.heard_far).unwrap();
    }
    let mut near = Inside::new("on_receive", |connections: &mut ConnectionManager, id| {
        connections.discard(id).unwrap();
        assert_eq!((connections.state(id), connections.kind(id), connections.peer(id)), (None, None, None));
        assert_eq!(connections.discard(id), Err(ConnectionError::UnknownConnection(id)));
    });
    drive((&mut both.near, &mut near), (&mut both.far, &mut both.heard_far), |near, far| {
        !near.log.0.is_empty() && ended(&far.0)
    });
    for _ in 0..10 {
        both.near.update(Duration::from_millis(1), &mut near).unwrap();
    }
    assert_eq!(numbers(&near.log.0), [0]);
    assert_eq!(near.log.0.len(), 1, "without a word: {:?}", near.log.0);
}

#[test]
fn an_update_from_inside_a_handler_is_an_error_and_does_nothing() {
    let mut both = Both::new(MANY);
    both.far.send(both.far_id, numbered(1)).unwrap();
    let mut near = Inside::new("on_receive", |connections: &mut ConnectionManager, _| {
        let mut inner = Log::default();
        let error = connections.update(PATIENCE, &mut inner).unwrap_err();
        assert_eq!((error.kind(), inner.0.len()), (io::ErrorKind::Other, 0));
    });
    drive((&mut both.near, &mut near), (&mut both.far, &mut both.heard_far), |near, _| near.act.is_none());
    // Afterwards, and also after a panic in a handler, it works again.
    both.far.send(both.far_id, numbered(2)).unwrap();
    let mut panics = Inside::new("on_receive", |_: &mut ConnectionManager, _| panic!("in a handler"));
    let updates = std::panic::AssertUnwindSafe(|| {
        drive((&mut both.near, &mut panics), (&mut both.far, &mut both.heard_far), |_, _| false);
    });
    assert!(std::panic::catch_unwind(updates).is_err());
    both.far.send(both.far_id, numbered(3)).unwrap();
    both.until(|near, _| numbers(near) == [3]);
}
