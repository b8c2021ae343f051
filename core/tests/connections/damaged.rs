//! P2 to P8 on a link that is up: what is cut is put together, what is damaged ends that link, and nothing else happens.

use crate::peer::Hello;
use crate::world::*;
use std::time::Duration;
use xxnet_core::connection::{ConnectionEvent, DisconnectReason};
use xxnet_core::pack::{DataHeader, DataPack, PackType, encode};

const AT: &str = "10.0.0.1:7000";

fn raw_bytes(text: &str) -> Vec<u8> {
    encode(&DataPack::new(PackType::RAW, text.as_bytes().to_vec())).unwrap().concat()
}

#[test]
fn p2_p3_packs_arrive_however_they_are_cut() {
    let mut world = World::new(1);
    world.listener(0, AT);
    let raw = world.raw_join(AT, &Hello::new(MANY, 1));
    world.take_accepted(0);
    let bytes = [raw_bytes("one"), raw_bytes("two"), raw_bytes("three")].concat();
    for byte in &bytes {
        world.raw_send(&raw, &[*byte]);
    }
    world.raw_send(&raw, &bytes);
    let cut = raw_bytes("one").len() + 5;
    world.raw_send(&raw, &bytes[..cut]);
    world.raw_send(&raw, &bytes[cut..]);
    let received: Vec<_> = world
        .take(0)
        .into_iter()
        .map(|event| match event {
            ConnectionEvent::Received { pack, .. } => pack.head,
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(received, ["one", "two", "three"].repeat(3));
}

#[test]
fn p4_p5_p8_a_damaged_pack_ends_its_link_and_nothing_else() {
    let changed = |at: usize, bytes: &[u8]| {
        let mut pack = raw_bytes("damaged");
        pack[at..at + bytes.len()].copy_from_slice(bytes);
        pack
    };
    let too_large = (64_u32 << 20).to_le_bytes();
    let cases = [
        (changed(0, &[31, 0]), "header size"),
        (changed(0, &[0, 0]), "header size"),
        (changed(0, &[1, 2]), "header size"),
        (changed(0, &[255, 255]), "header size"),
        (changed(2, &too_large), "more data than is taken"),
        (changed(6, &[8]), "checked size"),
        (changed(12, &[1]), "unknown flags"),
        (changed(10, &[18]), "checksum"),
        (changed(DataHeader::WIRE_LEN, b"D"), "checksum"),
    ];
    for (bytes, what) in cases {
        let mut world = World::new(2);
        world.listener(0, AT);
        let (_, living) = world.join(1, 0, MANY, AT);
        let raw = world.raw_join(AT, &Hello::new(MANY, 1));
        let id = world.take_accepted(0);
        // What came before the damage is delivered; what comes behind it is not.
        world.raw_send(&raw, &[raw_bytes("before"), bytes, raw_bytes("behind")].concat());
        let events = world.take(0);
        let [ConnectionEvent::Received { pack, .. }, ConnectionEvent::Disconnected { id: ended, reason, .. }] =
            &events[..]
        else {
            panic!("{what}: {events:?}");
        };
        assert_eq!((&pack.head[..], *ended), (&b"before"[..], id));
        assert_eq!(*reason, DisconnectReason::Malformed(what));
        assert!(world.raw_ended(&raw), "{what}");
        world.send(0, living, "unharmed").unwrap();
        world.run();
        assert!(matches!(world.take(1)[..], [ConnectionEvent::Received { .. }]), "{what}");
        world.pass(Duration::from_secs(3));
        assert_eq!(world.census(0)[0], 1, "one link is left");
    }
}
