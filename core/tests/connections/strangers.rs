//! N9, N10, N12: peers that are slow, foreign, ourselves, or without the key.

use crate::peer::{self, Hello};
use crate::world::*;
use std::time::Duration;
use xxnet_core::connection::*;
use xxnet_core::net::NetError;
use xxnet_core::pack::{DataPack, PackType, encode};
use xxnet_core::*;

const AT: &str = "10.0.0.1:7000";
const OTHER: &str = "10.0.0.9:1";
const SECOND: Duration = Duration::from_secs(1);

fn turned_away(world: &mut World) -> DisconnectReason {
    let events = world.take(0);
    let [ConnectionEvent::TurnedAway { reason, .. }] = &events[..] else { panic!("{events:?}") };
    reason.clone()
}

/// Nothing is left of any stranger.
fn nothing_left(world: &mut World) {
    world.pass(3 * SECOND);
    assert_eq!(world.census(0), [0, 1, 0, 1]);
}

/// Node 0 dials a stranger at [`OTHER`] and says Hello.
fn dialled(world: &mut World) -> (ConnectionId, Raw, DataPack) {
    world.raw_listen(OTHER);
    let id = world.create_to(0, MANY, OTHER, None).unwrap();
    world.connect(0, id, None).unwrap();
    world.run();
    let mut raw = world.raw_accept(OTHER);
    let hello = world.raw_next(&mut raw).unwrap();
    (id, raw, hello)
}

// ---- N9: slow handshakes ----

#[test]
fn n9_a_silent_newcomer_is_dropped_at_the_deadline() {
    let mut world = World::new(1);
    world.listener(0, AT);
    let raw = world.raw_dial(AT);
    world.pass(5 * SECOND - Duration::from_micros(1));
    assert!(!world.raw_ended(&raw));
    world.pass(Duration::from_micros(1));
    assert!(world.raw_ended(&raw));
    assert_eq!(turned_away(&mut world), DisconnectReason::Silent);
    nothing_left(&mut world);
}

#[test]
fn n9_a_byte_a_second_does_not_move_the_deadline() {
    let mut world = World::new(1);
    world.listener(0, AT);
    let raw = world.raw_dial(AT);
    let bytes = encode(&Hello::new(MANY, 1).pack()).unwrap().concat();
    for byte in &bytes[..4] {
        world.raw_send(&raw, &[*byte]);
        world.pass(SECOND);
        assert!(!world.raw_ended(&raw));
    }
    world.pass(SECOND);
    assert!(world.raw_ended(&raw));
    assert_eq!(turned_away(&mut world), DisconnectReason::Silent);
    // Nor does a Hello: the deadline is for the whole handshake.
    let mut raw = world.raw_dial(AT);
    world.pass(4 * SECOND);
    world.raw_pack(&raw, &Hello::new(MANY, 1).pack());
    assert_eq!(world.raw_next(&mut raw).unwrap().pack_type, PackType::WELCOME);
    world.pass(SECOND);
    assert_eq!(turned_away(&mut world), DisconnectReason::Silent);
    nothing_left(&mut world);
}

#[test]
fn n9_handshakes_are_bounded_and_their_slots_come_back() {
    let mut world = World::new(0);
    world.add(|config| config.limits.max_handshakes = 3);
    world.add(|_| {});
    world.listener(0, AT);
    let silent: Vec<_> = (0..3).map(|_| world.raw_dial(AT)).collect();
    assert!(world.take(0).is_empty());
    let fourth = world.raw_dial(AT);
    assert!(world.raw_ended(&fourth) && !world.raw_ended(&silent[0]));
    assert_eq!(turned_away(&mut world), DisconnectReason::Full);
    world.pass(5 * SECOND);
    assert!(silent.iter().all(|raw| world.raw_ended(raw)));
    assert_eq!(world.take(0).len(), 3);
    world.join(1, 0, MANY, AT);
}

#[test]
fn n9_refused_newcomers_that_stay_are_bounded_too() {
    let mut world = World::new(0);
    world.add(|config| config.limits.max_handshakes = 3);
    world.listener(0, AT);
    for n in 0..20 {
        let (_, answer) = world.raw_hello(AT, &Hello { kind: KindId(9), ..Hello::new(MANY, n) });
        assert_eq!(peer::refusal(&answer), 3);
        assert!(world.census(0)[0] <= 5);
    }
    world.take(0);
    nothing_left(&mut world);
}

#[test]
fn n9_a_dialled_peer_that_says_nothing() {
    let mut world = World::new(1);
    let (id, raw, _) = dialled(&mut world);
    world.pass(5 * SECOND - Duration::from_micros(1));
    assert!(world.take(0).is_empty());
    world.pass(Duration::from_micros(1));
    assert_eq!(world.take_reason(0, id), DisconnectReason::Silent);
    assert!(world.raw_ended(&raw));
    assert_eq!(world.census(0), [0, 0, 0, 1]);
}

#[test]
fn n9_a_stranger_makes_us_keep_little() {
    let mut world = World::new(1);
    world.listener(0, AT);
    let raw = world.raw_dial(AT);
    // A Hello that claims a megabyte is refused at its header.
    let bytes = encode(&DataPack::new(PackType::HELLO, vec![0; 1 << 20])).unwrap().concat();
    world.raw_send(&raw, &bytes[..34]);
    assert_eq!(turned_away(&mut world), DisconnectReason::Malformed("more data than is taken"));
}

// ---- N10: who answers ----

#[test]
fn n10_oneself_is_refused_unless_the_kind_allows_it() {
    let mut world = World::new(1);
    world.listener(0, AT);
    let id = world.create_to(0, MANY, AT, None).unwrap();
    world.connect(0, id, None).unwrap();
    world.run();
    let events = world.take(0);
    assert!(events.contains(&ConnectionEvent::TurnedAway {
        from: world.address_of(0),
        reason: DisconnectReason::Myself
    }));
    assert!(events.contains(&ConnectionEvent::Disconnected {
        id,
        kind: MANY,
        reason: DisconnectReason::Myself
    }));
    assert_eq!(events.len(), 2);
    world.pass(3 * SECOND);
    assert_eq!(world.census(0)[0], 0);

    let id = world.create_to(0, SELF, AT, None).unwrap();
    world.connect(0, id, None).unwrap();
    world.run();
    let events = world.take(0);
    let accepted = events.iter().find_map(|event| match event {
        ConnectionEvent::Accepted { id, .. } => Some(*id),
        _ => None,
    });
    world.send(0, id, "to myself").unwrap();
    world.run();
    assert!(matches!(&world.take(0)[..], [ConnectionEvent::Received { id, .. }] if Some(*id) == accepted));
}

#[test]
fn n10_a_loopback_self_connect_is_noticed() {
    // The system can connect a socket to itself: our own Hello comes back.
    let mut world = World::new(1);
    let (id, raw, hello) = dialled(&mut world);
    world.raw_pack(&raw, &hello);
    assert_eq!(world.take_reason(0, id), DisconnectReason::Myself);
    // Another one's Hello is no Welcome either.
    let (id, raw, _) = dialled(&mut world);
    world.raw_pack(&raw, &Hello::new(MANY, 1).pack());
    assert_eq!(world.take_reason(0, id), DisconnectReason::Malformed("two diallers"));
}

#[test]
fn n10_what_answers_in_another_protocol() {
    let answers: [(&[u8], &str); 4] = [
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "HTTP"),
        (&[0x15, 0x03, 0x01, 0x00, 0x02, 0x02, 0x46], "TLS"),
        (&[0xff; 64], ""),
        (&[0x00; 64], ""),
    ];
    for (answer, hint) in answers {
        let mut world = World::new(2);
        world.listener(1, "10.0.0.2:7000");
        let (living, _) = world.join(0, 1, MANY, "10.0.0.2:7000");
        let (id, raw, _) = dialled(&mut world);
        world.raw_send(&raw, answer);
        assert_eq!(world.take_reason(0, id), DisconnectReason::NotOurProtocol { hint });
        assert!(world.raw_ended(&raw));
        world.send(0, living, "unharmed").unwrap();
        world.run();
        assert_eq!(world.take(1).len(), 1);
    }
}

#[test]
fn n10_who_calls_in_another_protocol() {
    let calls: [(&[u8], &str); 4] = [
        (b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", "HTTP"),
        (&[0x16, 0x03, 0x01, 0x02, 0x00, 0x01, 0x00, 0x01], "TLS"),
        (&[0xa5; 100], ""),
        (b"SSH-2.0-OpenSSH_9.6\r\n", "SSH"),
    ];
    for (call, hint) in calls {
        let mut world = World::new(2);
        world.listener(0, AT);
        let (_, living) = world.join(1, 0, MANY, AT);
        let raw = world.raw_dial(AT);
        world.raw_send(&raw, call);
        assert_eq!(turned_away(&mut world), DisconnectReason::NotOurProtocol { hint });
        assert!(world.raw_ended(&raw));
        world.send(0, living, "unharmed").unwrap();
        world.run();
        assert!(matches!(world.take(1)[..], [ConnectionEvent::Received { .. }]));
        assert_eq!(world.census(0)[0], 1);
    }
}

#[test]
fn n10_a_pack_of_another_program_that_happens_to_frame_alike() {
    let mut world = World::new(1);
    world.listener(0, AT);
    let (_, mut bytes) = (0, Hello::new(MANY, 1).bytes());
    bytes[0] = b'y';
    let raw = world.raw_dial(AT);
    world.raw_pack(&raw, &DataPack::new(PackType::HELLO, bytes));
    assert_eq!(turned_away(&mut world), DisconnectReason::NotOurProtocol { hint: "" });
}

#[test]
fn n10_refusals_say_why_at_both_ends() {
    let mut world = World::new(1);
    world.listener(0, AT);
    let me = world.nodes[0].config.instance;
    let good = Hello::new(MANY, 1);
    let other = InstanceId([0x42; 16]);
    for (hello, code, reason) in [
        (Hello { version: 2, ..good.clone() }, 2, DisconnectReason::Version(2)),
        (Hello { kind: KindId(4711), ..good.clone() }, 3, DisconnectReason::KindRefused),
        (Hello { kind: DIAL_ONLY, ..good.clone() }, 3, DisconnectReason::KindRefused),
        (Hello { kind: LISTENER, ..good.clone() }, 3, DisconnectReason::KindRefused),
        (Hello { expected: other, ..good.clone() }, 4, DisconnectReason::OtherInstance(other)),
        (Hello { instance: me, ..good.clone() }, 5, DisconnectReason::Myself),
        (Hello { instance: InstanceId::NONE, ..good.clone() }, 8, DisconnectReason::Malformed("hello")),
        (Hello { name: "n".repeat(129), ..good }, 8, DisconnectReason::Malformed("hello")),
    ] {
        let (mut raw, answer) = world.raw_hello(AT, &hello);
        assert_eq!(peer::refusal(&answer), code, "{hello:?}");
        assert_eq!(turned_away(&mut world), reason);
        assert!(world.raw_next(&mut raw).is_none() && world.raw_ended(&raw));
    }
    nothing_left(&mut world);
    // What each code means to a dialler.
    for (code, reason) in [
        (1u16, DisconnectReason::WrongKey),
        (2, DisconnectReason::Version(3)),
        (3, DisconnectReason::KindRefused),
        (4, DisconnectReason::OtherInstance(other)),
        (5, DisconnectReason::Myself),
        (6, DisconnectReason::Duplicate),
        (7, DisconnectReason::Full),
        (8, DisconnectReason::Malformed("as the peer says of what we sent")),
        (999, DisconnectReason::RefusedByPeer(999)),
    ] {
        let (id, raw, _) = dialled(&mut world);
        let mut bytes = 3u16.to_le_bytes().to_vec();
        bytes.extend(other.0);
        bytes.extend(code.to_le_bytes());
        bytes.extend(0u64.to_le_bytes());
        world.raw_pack(&raw, &DataPack::new(PackType::REFUSE, bytes));
        assert_eq!(world.take_reason(0, id), reason);
        assert!(world.raw_ended(&raw));
    }
}

#[test]
fn n10_a_peer_that_closes_behind_our_hello() {
    let mut world = World::new(1);
    let (id, raw, _) = dialled(&mut world);
    world.raw_close(&raw);
    assert_eq!(world.take_reason(0, id), DisconnectReason::ClosedByPeer);
    assert_eq!(world.census(0), [0, 0, 0, 1]);
}

#[test]
fn n10_a_peer_that_resets_behind_our_hello() {
    let mut world = World::new(1);
    let (id, raw, _) = dialled(&mut world);
    world.break_link(raw.end);
    world.run();
    assert_eq!(world.take_reason(0, id), DisconnectReason::Net(NetError::Reset));
}

#[test]
fn n10_packs_out_of_turn_are_the_peers_fault_alone() {
    let mut world = World::new(2);
    world.listener(0, AT);
    let (_, living) = world.join(1, 0, MANY, AT);
    // Before Hello.
    for own in [2, 3, 5, 6, 7, 9, 16, 17, 96] {
        let raw = world.raw_dial(AT);
        world.raw_pack(&raw, &DataPack::new(PackType(own), vec![]));
        assert!(matches!(turned_away(&mut world), DisconnectReason::Malformed(_)));
    }
    // A payload that is none, and one with bulk.
    let raw = world.raw_dial(AT);
    world.raw_pack(&raw, &DataPack::new(PackType::HELLO, b"xxn1\x01\0short".to_vec()));
    assert_eq!(turned_away(&mut world), DisconnectReason::Malformed("hello"));
    let raw = world.raw_dial(AT);
    let mut pack = Hello::new(MANY, 1).pack();
    pack.bulk = vec![bytes::Bytes::from_static(b"more")];
    world.raw_pack(&raw, &pack);
    assert_eq!(turned_away(&mut world), DisconnectReason::Malformed("bulk in a control pack"));
    // Instead of Confirm: a second Hello, or payload before the key is proven.
    for pack in [Hello::new(MANY, 1).pack(), dict("early").to_pack().unwrap()] {
        let (raw, _) = world.raw_hello(AT, &Hello::new(MANY, 1));
        world.raw_pack(&raw, &pack);
        assert!(matches!(turned_away(&mut world), DisconnectReason::Malformed(_)));
    }
    // On an established link.
    let mut epoch = 1;
    for own in [1, 2, 3, 8, 15] {
        epoch += 1;
        let mut raw = world.raw_join(AT, &Hello::new(MANY, epoch));
        let id = world.take_accepted(0);
        world.raw_pack(&raw, &DataPack::new(PackType(own), vec![]));
        assert!(matches!(world.take_reason(0, id), DisconnectReason::Malformed(_)));
        let answer = world.raw_next(&mut raw).unwrap();
        assert_eq!(peer::refusal(&answer), 8);
    }
    // A flipped bit, once connected.
    let mut raw = world.raw_join(AT, &Hello::new(MANY, 99));
    let id = world.take_accepted(0);
    let mut bytes = encode(&dict("x").to_pack().unwrap()).unwrap().concat();
    *bytes.last_mut().unwrap() ^= 1;
    world.raw_send(&raw, &bytes);
    assert_eq!(world.take_reason(0, id), DisconnectReason::Malformed("checksum"));
    let answer = world.raw_next(&mut raw).unwrap();
    assert_eq!(peer::refusal(&answer), 8);
    world.send(0, living, "unharmed").unwrap();
    world.run();
    assert!(matches!(world.take(1)[..], [ConnectionEvent::Received { .. }]));
}

#[test]
fn n10_the_last_refusal_is_not_destroyed_by_a_reset() {
    let mut world = World::new(1);
    world.listener(0, AT);
    // Hello, and much behind it that will not be read as packs any more.
    let mut raw = world.raw_dial(AT);
    let mut bytes = encode(&Hello { kind: KindId(9), ..Hello::new(MANY, 1) }.pack()).unwrap().concat();
    bytes.extend([0; 100_000]);
    world.raw_send(&raw, &bytes);
    world.raw_send(&raw, &[0; 100_000]);
    let answer = world.raw_next(&mut raw).unwrap();
    assert_eq!(peer::refusal(&answer), 3);
    world.raw_close(&raw);
    world.take(0);
    assert_eq!(world.census(0)[0], 0, "the peer's end ends the draining");
}

#[test]
fn n10_a_ping_flood_from_a_peer_that_does_not_read_costs_nothing() {
    let mut world = World::new(1);
    world.listener(0, AT);
    let raw = world.raw_join(AT, &Hello::new(MANY, 1));
    let id = world.take_accepted(0);
    let other = world.ends[raw.end].other;
    world.stick(other, true);
    let ping = encode(&DataPack::new(PackType::PING, vec![])).unwrap().concat();
    let before = world.wire.len();
    for _ in 0..1000 {
        world.raw_send(&raw, &ping.repeat(10));
    }
    world.stick(other, false);
    world.run();
    assert_eq!(world.wire.len() - before, 2 * ping.len());
    assert_eq!(world.state(0, id), Some(ConnectionState::Connected));
}

// ---- N12: the key ----

#[test]
fn n12_the_right_key_connects_and_is_never_sent() {
    let mut world = World::new(2);
    world.listener(0, AT);
    let (a, _) = world.join(1, 0, MANY, AT);
    world.send(1, a, "payload").unwrap();
    world.pass(10 * SECOND);
    world.close(1, a).unwrap();
    world.run();
    assert!(world.wire.len() > 500);
    for part in [&KEY.0[..], &KEY.0[..16], &KEY.0[16..], &KEY.0[..8]] {
        assert!(!world.wire.windows(part.len()).any(|bytes| bytes == part), "the key is on the wire");
    }
}

#[test]
fn n12_a_dialler_with_a_wrong_key_is_refused_before_any_connection() {
    let mut world = World::new(1);
    world.listener(0, AT);
    let hello = Hello::new(MANY, 1);
    let (mut raw, welcome) = world.raw_hello(AT, &hello);
    let next = world.create(0, MANY).unwrap();
    world.raw_pack(&raw, &peer::confirm(&ClusterKey([1; 32]), &hello.bytes(), &welcome.head));
    let answer = world.raw_next(&mut raw).unwrap();
    assert_eq!(peer::refusal(&answer), 1);
    assert_eq!(turned_away(&mut world), DisconnectReason::WrongKey);
    assert_eq!(world.census(0)[3], 2);
    world.command(0, ConnectionCommand::Discard { id: next });
    nothing_left(&mut world);
    // The failed try did not use the epoch up.
    world.raw_join(AT, &hello);
    world.take_accepted(0);
}

#[test]
fn n12_nodes_with_different_keys_tell_each_other() {
    let mut world = World::new(1);
    world.add(|config| config.key = ClusterKey([9; 32]));
    world.listener(0, AT);
    let id = world.create_to(1, MANY, AT, None).unwrap();
    world.connect(1, id, None).unwrap();
    world.run();
    // The dialler sees it at Welcome, and says so: the acceptor has made no connection.
    assert_eq!(world.take_reason(1, id), DisconnectReason::WrongKey);
    assert_eq!(turned_away(&mut world), DisconnectReason::WrongKey);
    world.pass(3 * SECOND);
    assert_eq!((world.census(0), world.census(1)), ([0, 1, 0, 1], [0, 0, 0, 1]));
}

#[test]
fn n12_a_missing_proof_is_refused() {
    let mut world = World::new(1);
    world.listener(0, AT);
    let hello = Hello::new(MANY, 1);
    for (confirm, reason) in [
        (vec![0; 64], DisconnectReason::WrongKey),
        (vec![0; 32], DisconnectReason::Malformed("confirm")),
        (vec![], DisconnectReason::Malformed("confirm")),
        (vec![0; 57], DisconnectReason::Malformed("confirm")),
    ] {
        let (raw, _) = world.raw_hello(AT, &hello);
        world.raw_pack(&raw, &DataPack::new(PackType::CONFIRM, confirm));
        assert_eq!(turned_away(&mut world), reason);
    }
    nothing_left(&mut world);
    // The same at a dialler.
    let (id, mut raw, _) = dialled(&mut world);
    let mut unsigned = peer::welcome_body(InstanceId([0x77; 16]), [8; 32]);
    unsigned.extend([0; 32]);
    world.raw_pack(&raw, &DataPack::new(PackType::WELCOME, unsigned));
    assert_eq!(world.take_reason(0, id), DisconnectReason::WrongKey);
    let answer = world.raw_next(&mut raw).unwrap();
    assert_eq!(peer::refusal(&answer), 1);
    let (id, raw, _) = dialled(&mut world);
    let body = peer::welcome_body(InstanceId([0x77; 16]), [8; 32]);
    world.raw_pack(&raw, &DataPack::new(PackType::WELCOME, body[..20].to_vec()));
    assert_eq!(world.take_reason(0, id), DisconnectReason::Malformed("welcome"));
}

#[test]
fn n12_an_impostor_that_welcomes_with_another_key_gets_no_confirm() {
    let mut world = World::new(1);
    let (id, mut raw, hello) = dialled(&mut world);
    world.raw_pack(&raw, &peer::welcome(&ClusterKey([1; 32]), &hello.head, InstanceId([0x77; 16])));
    assert_eq!(world.take_reason(0, id), DisconnectReason::WrongKey);
    let answer = world.raw_next(&mut raw).unwrap();
    assert_eq!(peer::refusal(&answer), 1);
    assert_eq!(world.raw_next(&mut raw), None);
}

#[test]
fn n12_replayed_proofs_are_refused() {
    let mut world = World::new(1);
    world.listener(0, AT);
    // What an eavesdropper has of a good conversation.
    let hello = Hello::new(MANY, 1);
    let (raw, welcome) = world.raw_hello(AT, &hello);
    let confirm = peer::confirm(&KEY, &hello.bytes(), &welcome.head);
    world.raw_pack(&raw, &confirm);
    world.take_accepted(0);
    world.raw_close(&raw);
    world.take(0);
    // The same words again: our nonce is another.
    let again = Hello { connection: 10, ..hello.clone() };
    for said in [&again, &Hello { epoch: 2, ..hello.clone() }] {
        let (replay, fresh) = world.raw_hello(AT, said);
        // Behind it stand 32 bytes to resume and the proof.
        let nonce = |pack: &DataPack| pack.head[pack.head.len() - 96..pack.head.len() - 64].to_vec();
        assert_ne!(nonce(&fresh), nonce(&welcome), "a nonce came twice");
        world.raw_pack(&replay, &confirm);
        assert_eq!(turned_away(&mut world), DisconnectReason::WrongKey);
    }
    // A recorded Welcome at a dialler: its nonce is another.
    let (id, raw, first) = dialled(&mut world);
    let recorded = peer::welcome(&KEY, &first.head, InstanceId([0x77; 16]));
    world.raw_pack(&raw, &recorded);
    assert!(matches!(world.take(0)[..], [ConnectionEvent::Connected { .. }]));
    world.raw_close(&raw);
    world.take(0);
    world.connect(0, id, None).unwrap();
    world.run();
    let mut raw = world.raw_accept(OTHER);
    let second = world.raw_next(&mut raw).unwrap();
    assert_ne!(
        first.head[first.head.len() - 32..],
        second.head[second.head.len() - 32..],
        "a nonce came twice"
    );
    world.raw_pack(&raw, &recorded);
    assert_eq!(world.take_reason(0, id), DisconnectReason::WrongKey);
}

#[test]
fn n12_reflected_proofs_are_refused() {
    let mut world = World::new(1);
    world.listener(0, AT);
    // The acceptor's own proof, sent back as the dialler's.
    let hello = Hello::new(MANY, 1);
    let (raw, welcome) = world.raw_hello(AT, &hello);
    let mut confirm = vec![0; 32];
    confirm.extend(&welcome.head[welcome.head.len() - 32..]);
    world.raw_pack(&raw, &DataPack::new(PackType::CONFIRM, confirm));
    assert_eq!(turned_away(&mut world), DisconnectReason::WrongKey);
    // A dialler's Hello, taken to its own listener, to have it sign the Welcome: refused there as oneself.
    let (id, victim, hello) = dialled(&mut world);
    let mut mirror = world.raw_dial(AT);
    world.raw_pack(&mirror, &hello);
    let answer = world.raw_next(&mut mirror).unwrap();
    assert_eq!(peer::refusal(&answer), 5);
    assert_eq!(turned_away(&mut world), DisconnectReason::Myself);
    // Nor does the dialler's word pass for a Welcome.
    world.raw_pack(&victim, &hello);
    assert_eq!(world.take_reason(0, id), DisconnectReason::Myself);
    nothing_left_with(&mut world, 2);
}

#[test]
fn n12_a_welcome_that_is_changed_on_its_way_is_refused() {
    let mut world = World::new(1);
    let (_, _, hello) = dialled(&mut world);
    let len = peer::welcome(&KEY, &hello.head, InstanceId([0x77; 16])).head.len();
    let id = world.create_to(0, MANY, OTHER, None).unwrap();
    world.take(0);
    for at in 0..len {
        world.connect(0, id, None).unwrap();
        world.run();
        let mut raw = world.raw_accept(OTHER);
        let hello = world.raw_next(&mut raw).unwrap();
        let mut bytes = peer::welcome(&KEY, &hello.head, InstanceId([0x77; 16])).head.to_vec();
        bytes[at] ^= 1;
        world.raw_pack(&raw, &DataPack::new(PackType::WELCOME, bytes));
        let reason = world.take_reason(0, id);
        assert!(
            matches!(
                reason,
                DisconnectReason::WrongKey | DisconnectReason::Version(_) | DisconnectReason::Malformed(_)
            ),
            "byte {at}: {reason:?}"
        );
    }
}

#[test]
fn n12_a_hello_that_is_changed_on_its_way_is_refused() {
    let mut world = World::new(1);
    world.listener(0, AT);
    let hello = Hello::new(MANY, 1);
    // The acceptor sees another epoch than the dialler said.
    let (raw, welcome) = world.raw_hello(AT, &Hello { epoch: 7, ..hello.clone() });
    world.raw_pack(&raw, &peer::confirm(&KEY, &hello.bytes(), &welcome.head));
    assert_eq!(turned_away(&mut world), DisconnectReason::WrongKey);
    nothing_left(&mut world);
}

fn nothing_left_with(world: &mut World, connections: usize) {
    world.pass(3 * SECOND);
    assert_eq!(world.census(0), [0, 1, 0, connections]);
}
