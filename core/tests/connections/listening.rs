//! N2: listening, once, twice, where it cannot be, and again.

use crate::world::*;
use xxnet_core::connection::*;
use xxnet_core::net::NetError;
use xxnet_core::*;

/// Another listening connection on the same node; what its listen is answered.
fn second(world: &mut World, at: &str) -> Result<ConnectionId, ConnectionError> {
    let id = world.create(0, LISTENER).unwrap();
    let answer = world.listen(0, id, at);
    if answer.is_err() {
        assert_eq!(world.state(0, id), Some(ConnectionState::Idle));
    }
    world.run();
    answer.map(|()| id)
}

fn taken(at: &str) -> Result<ConnectionId, ConnectionError> {
    Err(ConnectionError::AlreadyListening(socket(at)))
}

#[test]
fn n2_twice_on_one_address_leaves_the_first_unharmed() {
    let mut world = World::new(2);
    let at = "10.0.0.1:7000";
    let first = world.listener(0, at);
    assert_eq!(second(&mut world, at), taken(at));
    assert!(world.take(0).is_empty());
    assert_eq!(world.state(0, first), Some(ConnectionState::Listening));
    world.join(1, 0, MANY, at);
    assert_eq!(world.census(0)[1], 1);
    // Also while the system has yet to answer the first.
    let opening = world.create(0, LISTENER).unwrap();
    world.listen(0, opening, "10.0.0.1:7001").unwrap();
    assert_eq!(second(&mut world, "10.0.0.1:7001"), taken("10.0.0.1:7001"));
}

#[test]
fn n2_wildcard_against_specific() {
    let mut world = World::new(1);
    world.listener(0, "10.0.0.1:7000");
    assert_eq!(second(&mut world, "0.0.0.0:7000"), taken("10.0.0.1:7000"));
    // Two specific addresses on one port do not collide; nor does a wildcard of the other family.
    second(&mut world, "10.0.0.2:7000").unwrap();
    second(&mut world, "[::1]:7000").unwrap();
    assert_eq!(second(&mut world, "[::]:7000"), taken("[::1]:7000"));
    assert_eq!(world.take(0).len(), 2);
    world.listener(0, "0.0.0.0:8000");
    assert_eq!(second(&mut world, "10.0.0.1:8000"), taken("0.0.0.0:8000"));
    assert_eq!(second(&mut world, "[::ffff:10.0.0.1]:8000"), taken("0.0.0.0:8000"));
    second(&mut world, "[::]:8000").unwrap();
    assert_eq!(second(&mut world, "[::1]:8000"), taken("[::]:8000"));
}

#[test]
fn n2_a_path_is_in_the_way_of_itself_alone() {
    let mut world = World::new(1);
    world.listener(0, "unix:/run/x.sock");
    assert_eq!(second(&mut world, "unix:/run/x.sock"), taken("unix:/run/x.sock"));
    // Neither has a port, and both are of this host.
    second(&mut world, "unix:/run/y.sock").unwrap();
    second(&mut world, "127.0.0.1:7000").unwrap();
    // A connected peer's name is no place to listen at.
    assert_eq!(second(&mut world, "unix:#1"), Err(ConnectionError::NotASocketAddress));
}

#[test]
fn n2_who_dials_a_path_has_a_name_while_it_is_connected() {
    let mut world = World::new(3);
    let at = "unix:/run/x.sock";
    world.listener(0, at);
    let mut names = std::collections::BTreeSet::new();
    for node in [1, 2, 1] {
        let id = world.create_to(node, MANY, at, None).unwrap();
        world.connect(node, id, None).unwrap();
        world.run();
        let dialled = world.take(node);
        let [ConnectionEvent::Connected { peer, .. }] = &dialled[..] else { panic!("{dialled:?}") };
        assert_eq!(peer.socket, socket(at));
        let accepted = world.take(0);
        let [ConnectionEvent::Accepted { peer, .. }] = &accepted[..] else { panic!("{accepted:?}") };
        assert_eq!(peer.local, socket(at));
        let name: Address = peer.socket.clone().into();
        assert!(name.is_passing() && names.insert(name.clone()), "{name}");
        assert_eq!(name.to_string().parse(), Ok(name));
    }
    // The name is nowhere to dial: that fails without a word to the network.
    let name = names.first().unwrap().to_string();
    let id = world.create_to(0, MANY, &name, None).unwrap();
    world.log.clear();
    world.connect(0, id, None).unwrap();
    world.run();
    assert_eq!(world.take_reason(0, id), DisconnectReason::Net(NetError::AddressNotAvailable));
    assert_eq!(world.log, []);
}

#[test]
fn n2_port_zero_never_collides_until_it_is_a_port() {
    let mut world = World::new(1);
    let mut ports = std::collections::BTreeSet::new();
    for at in ["10.0.0.1:0", "10.0.0.1:0", "0.0.0.0:0"] {
        second(&mut world, at).unwrap();
        let events = world.take(0);
        let [ConnectionEvent::Listening { address, .. }] = &events[..] else { panic!("{events:?}") };
        assert!(address.port() != 0 && ports.insert(address.clone()));
    }
    // Not even while the system has yet to choose.
    for _ in 0..2 {
        let id = world.create(0, LISTENER).unwrap();
        world.listen(0, id, "10.0.0.1:0").unwrap();
    }
    world.run();
    assert_eq!(world.take(0).len(), 2);
    let chosen = ports.first().unwrap().to_string();
    assert_eq!(second(&mut world, &chosen), taken(&chosen));
}

#[test]
fn n2_what_the_system_refuses_is_told_by_its_reason() {
    let mut world = World::new(1);
    for (error, at) in [
        (NetError::AddressInUse, "10.0.0.1:1"),
        (NetError::AddressNotAvailable, "10.0.0.1:2"),
        (NetError::PermissionDenied, "10.0.0.1:3"),
    ] {
        world.listening.insert(socket(at), error);
        let id = second(&mut world, at).unwrap();
        assert_eq!(world.take(0), [ConnectionEvent::ListenFailed { id, address: socket(at), error }]);
        assert_eq!(world.state(0, id), Some(ConnectionState::Idle));
        // The same id can try again.
        world.listening.clear();
        world.listen(0, id, at).unwrap();
        world.run();
        assert!(matches!(world.take(0)[..], [ConnectionEvent::Listening { .. }]));
    }
}

#[test]
fn n2_after_close_it_works_again() {
    let mut world = World::new(2);
    let at = "10.0.0.1:7000";
    let first = world.listener(0, at);
    world.close(0, first).unwrap();
    // Even before the system has answered: it does what it is asked in order.
    let other = world.create(0, LISTENER).unwrap();
    world.listen(0, other, at).unwrap();
    world.run();
    let events = world.take(0);
    assert!(matches!(
        events[..],
        [
            ConnectionEvent::Disconnected { reason: DisconnectReason::Closed, .. },
            ConnectionEvent::Listening { .. }
        ]
    ));
    world.close(0, other).unwrap();
    world.close(0, other).unwrap();
    world.run();
    assert_eq!(world.take_reason(0, other), DisconnectReason::Closed);
    assert_eq!(world.census(0)[1], 0);
    // And on the first id.
    world.listen(0, first, at).unwrap();
    world.run();
    assert!(matches!(world.take(0)[..], [ConnectionEvent::Listening { .. }]));
    world.join(1, 0, MANY, at);
}

#[test]
fn n2_closed_before_it_was_open() {
    let mut world = World::new(1);
    let at = "10.0.0.1:7000";
    let id = world.create(0, LISTENER).unwrap();
    world.listen(0, id, at).unwrap();
    world.close(0, id).unwrap();
    // Until then it stands in the way.
    let early = world.create(0, LISTENER).unwrap();
    assert_eq!(world.listen(0, early, at), Err(ConnectionError::AlreadyListening(socket(at))));
    world.run();
    assert_eq!(world.take_reason(0, id), DisconnectReason::Closed);
    assert_eq!((world.state(0, id), world.census(0)[1]), (Some(ConnectionState::Idle), 0));
    // The same, and the system refuses.
    world.listening.insert(socket(at), NetError::AddressInUse);
    world.listen(0, id, at).unwrap();
    world.close(0, id).unwrap();
    world.run();
    assert_eq!(world.take_reason(0, id), DisconnectReason::Closed);
    assert_eq!(world.census(0)[1], 0);
}

#[test]
fn n2_a_newcomer_that_crosses_with_the_close_is_dropped() {
    let mut world = World::new(2);
    let at = "10.0.0.1:7000";
    let listener = world.listener(0, at);
    let id = world.create_to(1, MANY, at, None).unwrap();
    world.connect(1, id, None).unwrap();
    // `Accepted` is on its way while the listener is closed.
    world.close(0, listener).unwrap();
    world.run();
    assert_eq!(world.take_reason(0, listener), DisconnectReason::Closed);
    assert_eq!(world.census(0), [0, 0, 0, 1]);
    let reason = world.take_reason(1, id);
    assert!(matches!(reason, DisconnectReason::Net(NetError::Reset)), "{reason:?}");
}
