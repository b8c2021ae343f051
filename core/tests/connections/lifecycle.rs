//! K: connections by id.

use crate::world::*;
use xxnet_core::connection::*;
use xxnet_core::*;

const AT: &str = "10.0.0.2:7000";

#[test]
fn k9_connect_send_reply_close() {
    let mut world = World::new(2);
    world.listener(1, AT);
    let (a, b) = world.join(0, 1, MANY, AT);
    world.send(0, a, "hello").unwrap();
    world.run();
    let events = world.take(1);
    let [ConnectionEvent::Received { id, pack }] = &events[..] else { panic!("{events:?}") };
    assert_eq!((*id, Dict::from_pack(pack).unwrap()), (b, dict("hello")));
    world.send(1, b, "back").unwrap();
    world.close(0, a).unwrap();
    world.run();
    assert_eq!(world.take_reason(0, a), DisconnectReason::Closed);
    assert_eq!(world.take_reason(1, b), DisconnectReason::ClosedByPeer);
    assert_eq!(world.census(0), [0, 0, 0, 1]);
    assert_eq!(world.census(1), [0, 1, 0, 1]);
}
