//! Listening, accepting, dialling and names.

use crate::conformance::stage::{MOMENT, Place, noise};
use crate::conformance::{Notice, Stage};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use xxnet_core::net::{Endpoint, NetAction, NetError, NetEvent};
use xxnet_core::{LinkId, ListenerId, QueryId};

pub(crate) fn n2_port_0_takes_a_free_one_and_tells_it(stage: &mut Stage<'_>) {
    let (node, other) = (stage.raw(), stage.raw());
    let any = stage.any();
    let places: Vec<Place> = (0..3).map(|_| stage.listen(node, any).expect("a free port")).collect();
    assert!(places.iter().all(|place| place.address.port() != 0));
    assert_ne!(places[0].address, places[1].address);
    for place in places {
        stage.link(other, node, place);
    }
    // Whoever has the port may say it.
    let free = freed(stage, node);
    let again = stage.listen(other, free).expect("the port is free again");
    stage.link(node, other, again);
}

/// An address that was free a moment ago.
pub(super) fn freed(stage: &mut Stage<'_>, node: usize) -> SocketAddr {
    let any = stage.any();
    let place = stage.listen(node, any).expect("a free port");
    stage.unlisten(node, place.listener);
    place.address
}

pub(crate) fn n2_addresses_that_the_system_refuses_and_why(stage: &mut Stage<'_>) {
    let (one, two) = (stage.raw(), stage.raw());
    let any = stage.any();
    let place = stage.listen(one, any).expect("a free port");
    for node in [one, two] {
        let again = stage.listen(node, place.address).map(|place| place.address);
        assert_eq!(again, Err(NetError::AddressInUse));
        let wildcard = SocketAddr::from((Ipv4Addr::UNSPECIFIED, place.address.port()));
        let wide = stage.listen(node, wildcard).map(|place| place.address);
        assert_eq!(wide, Err(NetError::AddressInUse));
    }
    // A documentation address that no host has.
    let nowhere = SocketAddr::from((Ipv4Addr::new(192, 0, 2, 1), 0));
    let nowhere = stage.listen(one, nowhere).map(|place| place.address);
    assert_eq!(nowhere, Err(NetError::AddressNotAvailable));
    // The one that is there is unharmed.
    stage.link(two, one, place);
}

pub(crate) fn n2_after_unlisten_the_address_is_free_although_old_links_live(stage: &mut Stage<'_>) {
    let (node, other) = (stage.raw(), stage.raw());
    let any = stage.any();
    let mut place = stage.listen(node, any).expect("a free port");
    let address = place.address;
    let mut pairs = Vec::new();
    for _ in 0..5 {
        pairs.push(stage.link(other, node, place));
        // An accept is armed when the listener goes: `Unlistened` completes that, too.
        let link = LinkId(stage.id());
        stage.ask(node, [NetAction::Accept { listener: place.listener, link }]);
        stage.unlisten(node, place.listener);
        assert_eq!(stage.dial(other, address).map(|_| ()), Err(NetError::Refused));
        place = stage.listen(node, address).expect("free at once, with old links alive");
        assert_eq!(place.address, address);
    }
    // One of those is closed by the listening end, and lingers in the system.
    stage.close(node, pairs[0].far);
    stage.unlisten(node, place.listener);
    stage.listen(node, address).expect("free at once, with an old link lingering");
    for pair in &pairs[1..] {
        stage.sent(pair.from, pair.near, "alive");
        assert_eq!(stage.read(pair.to, pair.far, 5, 10), "alive");
    }
}

pub(crate) fn n2_an_ipv6_wildcard_leaves_ipv4_alone(stage: &mut Stage<'_>) {
    if !stage.has_ipv6() {
        return;
    }
    let (node, other) = (stage.raw(), stage.raw());
    let wide = stage.listen(node, (Ipv6Addr::UNSPECIFIED, 0).into()).expect("a free port");
    let narrow = stage.listen(other, (Ipv4Addr::UNSPECIFIED, wide.address.port()).into());
    assert!(narrow.is_ok(), "the same port of the other family is another address");
    let link = LinkId(stage.id());
    stage.ask(node, [NetAction::Accept { listener: wide.listener, link }]);
    stage.dial(other, (Ipv6Addr::LOCALHOST, wide.address.port()).into()).expect("it listens");
    stage.net(node, "a newcomer", |event| matches!(event, NetEvent::Accepted { .. }));
}

pub(crate) fn n2_unix_sockets_work_or_are_said_not_to_be_there(stage: &mut Stage<'_>) {
    let (node, other) = (stage.raw(), stage.raw());
    let Some(file) = stage.socket_file() else {
        let nowhere = Endpoint::Unix("/nowhere/x.sock".into());
        let listened = stage.listen_at(node, nowhere.clone());
        assert_eq!(listened.err(), Some(NetError::AddressNotAvailable));
        assert_eq!(stage.dial_to(node, nowhere).err(), Some(NetError::AddressNotAvailable));
        return;
    };
    let place = Endpoint::Unix(file);
    assert_eq!(stage.dial_to(other, place.clone()).err(), Some(NetError::Refused));
    for _ in 0..2 {
        let (listener, _) = stage.listen_at(node, place.clone()).expect("the path is free");
        let (near, _) = stage.dial_to(other, place.clone()).expect("somebody listens");
        let far = LinkId(stage.id());
        stage.ask(node, [NetAction::Accept { listener, link: far }]);
        match stage.net(node, "a newcomer", |event| matches!(event, NetEvent::Accepted { .. })) {
            NetEvent::Accepted { peer, local, .. } => {
                assert_eq!((peer, local), (Endpoint::Unix(String::new()), place.clone()));
            }
            other => unreachable!("{other:?}"),
        }
        let bytes = noise(3 << 20, 1);
        for (from, to, here, there) in [(other, node, near, far), (node, other, far, near)] {
            stage.send(from, here, bytes.clone());
            assert!(stage.read(to, there, bytes.len(), 100_000) == bytes);
            stage.net(from, "the end of a send", |event| *event == NetEvent::Sent { link: here });
        }
        // Behind the newcomer, because a runtime may find out by a call whether anybody listens.
        assert_eq!(stage.listen_at(other, place.clone()).err(), Some(NetError::AddressInUse));
        stage.unlisten(node, listener);
        // The file has gone with the listener, and the link lives.
        assert_eq!(stage.dial_to(other, place.clone()).err(), Some(NetError::Refused));
        stage.ask(other, [NetAction::Shutdown { link: near }]);
        stage.ask(node, [NetAction::Recv { link: far, max: 10 }]);
        stage.hears(node, NetEvent::PeerClosed { link: far });
    }
}

pub(crate) fn k4_a_dial_connects_or_says_why_not(stage: &mut Stage<'_>) {
    let (node, other) = (stage.raw(), stage.raw());
    let free = freed(stage, node);
    assert_eq!(stage.dial(other, free).map(|_| ()), Err(NetError::Refused));
    let place = stage.listen(node, free).expect("it is free");
    // It is connected although nobody accepts yet: that is the system's backlog.
    let (link, local) = stage.dial(other, free).expect("somebody listens");
    assert_ne!(local.port(), 0);
    stage.sent(other, link, "early");
    let accepted = LinkId(stage.id());
    stage.ask(node, [NetAction::Accept { listener: place.listener, link: accepted }]);
    stage.net(node, "a newcomer", |event| matches!(event, NetEvent::Accepted { .. }));
    assert_eq!(stage.read(node, accepted, 5, 100), "early");
}

pub(crate) fn k6_a_dial_under_way_can_be_closed(stage: &mut Stage<'_>) {
    let (node, other) = (stage.raw(), stage.raw());
    let any = stage.any();
    let place = stage.listen(node, any).expect("a free port");
    let free = freed(stage, node);
    for address in [place.address, free] {
        let link = LinkId(stage.id());
        stage.ask(other, [NetAction::Dial { link, address: address.into() }, NetAction::Close { link }]);
        stage.hears(other, NetEvent::Closed { link });
    }
    stage.quiet(other, MOMENT, |notice| matches!(notice, Notice::Net(_)));
    assert_eq!(stage.report(other).owed, [0; 4]);
}

pub(crate) fn names_are_found_or_do_not_exist(stage: &mut Stage<'_>) {
    let (node, other) = (stage.raw(), stage.raw());
    let any = stage.any();
    let place = stage.listen(other, any).expect("a free port");
    let port = place.address.port();
    let (known, unknown, endless) = (QueryId(1), QueryId(2), QueryId(3));
    // No label may be that long, so no server is asked.
    let [long, longer] = [64, 300].map(|len| "x".repeat(len));
    let host = stage.name();
    stage.ask(
        node,
        [
            NetAction::Resolve { query: known, host, port },
            NetAction::Resolve { query: unknown, host: long, port },
            NetAction::Resolve { query: endless, host: longer, port },
        ],
    );
    let mut found = Vec::new();
    for _ in 0..3 {
        match stage.any_net(node) {
            NetEvent::Resolved { query, result } if query == known => {
                found = result.expect("the name exists");
            }
            NetEvent::Resolved { result, .. } => assert_eq!(result, Err(NetError::NameNotFound)),
            other => panic!("{other:?}"),
        }
    }
    assert!(found.iter().all(|address| address.port() == port));
    let connected = found.into_iter().any(|address| stage.dial(node, address).is_ok());
    assert!(connected, "one of the addresses is the right one");
}

pub(crate) fn one_newcomer_for_each_accept(stage: &mut Stage<'_>) {
    let (node, other) = (stage.raw(), stage.raw());
    let any = stage.any();
    let place = stage.listen(node, any).expect("a free port");
    let mut dialled = Vec::new();
    for _ in 0..5 {
        dialled.push(stage.dial(other, place.address).expect("the system's backlog takes it"));
    }
    stage.quiet(node, MOMENT, |notice| matches!(notice, Notice::Net(_)));
    let mut accepted = Vec::new();
    for _ in 0..5 {
        let link = LinkId(stage.id());
        stage.ask(node, [NetAction::Accept { listener: place.listener, link }]);
        match stage.any_net(node) {
            NetEvent::Accepted { listener, link: told, peer, local } => {
                assert_eq!((listener, told, local), (place.listener, link, place.address.into()));
                accepted.push((link, peer));
            }
            other => panic!("{other:?}"),
        }
        stage.quiet(node, MOMENT / 5, |notice| matches!(notice, Notice::Net(_)));
    }
    // Each is one of those that have dialled: its bytes are the other end's.
    for (number, (link, local)) in dialled.into_iter().enumerate() {
        let text = format!("from number {number}");
        stage.sent(other, link, text.clone());
        let far = accepted.iter().find(|(_, peer)| *peer == local.into()).expect("it was accepted").0;
        assert_eq!(stage.read(node, far, text.len(), 100), text);
    }
    stage.unlisten(node, ListenerId(place.listener.0));
    assert_eq!(stage.report(node).owed, [5, 0, 0, 0]);
}
