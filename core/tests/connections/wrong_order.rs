//! A peer whose bytes are all valid, and wrong in order: each case, and what `WIRE.md` says is answered (sections 4 and 5).

use crate::peer::*;
use crate::world::*;
use std::time::Duration;
use xxnet_core::connection::*;
use xxnet_core::handshake::RefuseCode;
use xxnet_core::pack::{DataPack, PackType};
use xxnet_core::*;

const B: &str = "10.0.0.2:7000";
const STRANGER: &str = "10.0.0.9:7000";

/// Larger than any node's: it follows, and the node chooses.
const BAD: InstanceId = InstanceId([0x66; 16]);

/// What a Welcome or a Confirm says of the session: generation, known, received.
fn standing(head: &[u8]) -> (u64, u64, u64) {
    let at = head.len() - 64;
    let number = |n: usize| u64::from_le_bytes(head[at + 8 * n..at + 8 * n + 8].try_into().unwrap());
    (number(0), number(1), number(2))
}

fn hello(epoch: u64) -> Hello {
    Hello { instance: BAD, ..Hello::new(PAIR, epoch) }
}

/// The bad peer dials node 1 and says where its session stands; what the Welcome said of it.
fn dial(world: &mut World, epoch: u64, says: (u64, u64, u64)) -> (Raw, (u64, u64, u64)) {
    let hello = hello(epoch);
    let (raw, welcome) = world.raw_hello(B, &hello);
    assert_eq!(welcome.pack_type, PackType::WELCOME);
    let resume = resume(says.0, says.1, says.2);
    world.raw_pack(&raw, &confirm_with(&KEY, &hello.bytes(), &welcome.head, &resume));
    (raw, standing(&welcome.head))
}

/// A session with node 1, in which the bad peer has said one message and heard one, which it has not acknowledged.
fn joined() -> (World, Raw, ConnectionId) {
    let mut world = crate::sessions::two();
    let (mut raw, welcomed) = dial(&mut world, 1, (1, 1, 0));
    assert_eq!(welcomed, (1, 0, 0));
    let id = world.take_accepted(1);
    assert_eq!(world.raw_next(&mut raw).map(|pack| pack.pack_type), Some(PackType::USE));
    world.raw_pack(&raw, &message(1, 0));
    assert_eq!(world.texts(1), ["1"]);
    world.send(1, id, "back").unwrap();
    world.run();
    let back = world.raw_next(&mut raw).unwrap();
    assert_eq!((back.pack_type, back.sequence, back.acknowledgement), (PackType::DICT, 1, 1));
    (world, raw, id)
}

fn message(sequence: u64, acknowledgement: u64) -> DataPack {
    let mut pack = dict(&sequence.to_string()).to_pack().unwrap();
    (pack.sequence, pack.acknowledgement) = (sequence, acknowledgement);
    pack
}

fn ack(acknowledgement: u64) -> DataPack {
    DataPack { acknowledgement, ..DataPack::new(PackType::ACK, Vec::new()) }
}

/// The link has ended with this refusal and nothing before it.
fn refused(world: &mut World, raw: &mut Raw, code: RefuseCode) {
    let answer = world.raw_next(raw).expect("an answer");
    assert_eq!(refusal(&answer), code as u16);
    assert_eq!(world.raw_next(raw), None);
    assert!(world.raw_ended(raw), "the link goes on");
}

/// The session has lost its link and nothing else: on the next it goes on with what it had.
fn goes_on(world: &mut World, id: ConnectionId, epoch: u64) {
    let told = world.take(1);
    let lost = |event: &ConnectionEvent| matches!(event, ConnectionEvent::Interrupted { id: lost, reason: DisconnectReason::Malformed(_) } if *lost == id);
    assert!(matches!(&told[..], [event] if lost(event)), "{told:?}");
    let (mut raw, welcomed) = dial(world, epoch, (1, 1, 0));
    assert_eq!(welcomed, (1, 1, 1), "the session as it was");
    assert_eq!(world.take(1), [ConnectionEvent::Resumed { id }]);
    // Its message comes again, for it was never acknowledged.
    let mut next = || world.raw_next(&mut raw).expect("USE and the message").pack_type;
    let mut came = [next(), next()];
    came.sort_unstable();
    assert_eq!(came, [PackType::USE, PackType::DICT]);
    world.raw_pack(&raw, &message(2, 1));
    let (texts, told) = world.receive(1);
    assert_eq!((texts, told), (vec!["2".into()], vec![ConnectionEvent::Acknowledged { id, sequence: 1 }]));
}

#[test]
fn n13_packs_that_are_wrong_in_order_end_their_link_and_the_session_goes_on() {
    for (what, pack) in [
        ("a gap", message(3, 0)),
        ("no sequence", message(0, 0)),
        ("an acknowledgement of what was never sent", ack(2)),
        ("the same along with a message", message(2, 2)),
        ("an acknowledgement with data", DataPack::new(PackType::ACK, vec![0])),
        ("the chooser's word", DataPack::new(PackType::USE, 2_u64.to_le_bytes().to_vec())),
        ("agreement to what was never said", DataPack::new(PackType::USING, 9_u64.to_le_bytes().to_vec())),
        ("a second handshake", hello(2).pack()),
        ("an unknown control pack", DataPack::new(PackType(11), Vec::new())),
    ] {
        println!("{what}");
        let (mut world, mut raw, id) = joined();
        world.raw_pack(&raw, &pack);
        refused(&mut world, &mut raw, RefuseCode::Malformed);
        goes_on(&mut world, id, 2);
    }
}

#[test]
fn n8_more_than_the_window_ends_the_link_and_is_not_received() {
    let mut world = World::new(1);
    // Each message crosses such a window, and is taken before the next may come.
    world.add(|config| config.limits.session_window = 1);
    world.listener(1, B);
    let (mut raw, _) = dial(&mut world, 1, (1, 1, 0));
    let id = world.take_accepted(1);
    assert_eq!(world.raw_next(&mut raw).map(|pack| pack.pack_type), Some(PackType::USE));
    for sequence in [1, 2] {
        world.raw_pack(&raw, &message(sequence, 0));
        assert_eq!(world.texts(1), [sequence.to_string()]);
        let taken = world.raw_next(&mut raw).expect("an acknowledgement");
        assert_eq!((taken.pack_type, taken.acknowledgement), (PackType::ACK, sequence), "at once");
    }
    world.raw_pack(&raw, &message(3, 0));
    world.raw_pack(&raw, &message(4, 0));
    refused(&mut world, &mut raw, RefuseCode::Malformed);
    let (texts, told) = world.receive(1);
    assert_eq!(texts, ["3"]);
    assert!(matches!(&told[..], [ConnectionEvent::Interrupted { id: lost, .. }] if *lost == id), "{told:?}");
    let (_, welcomed) = dial(&mut world, 2, (1, 1, 0));
    assert_eq!(welcomed, (1, 1, 3));
}

#[test]
fn n13_what_came_before_is_acknowledged_again_and_old_acknowledgements_mean_nothing() {
    let (mut world, mut raw, id) = joined();
    world.raw_pack(&raw, &ack(1));
    assert_eq!(world.take(1), [ConnectionEvent::Acknowledged { id, sequence: 1 }]);
    world.raw_pack(&raw, &message(1, 0));
    world.pass(Duration::from_millis(2));
    assert_eq!(world.take(1), []);
    let again = world.raw_next(&mut raw).expect("an acknowledgement");
    assert_eq!((again.pack_type, again.acknowledgement), (PackType::ACK, 1));
    assert!(!world.raw_ended(&raw));
}

#[test]
fn n13_a_dialler_that_resumes_with_a_wrong_standing_is_turned_away_and_the_session_waits() {
    for (what, says, code) in [
        ("more received than was sent", (1, 1, 2), RefuseCode::Malformed),
        ("another generation of ours", (1, 2, 0), RefuseCode::Stale),
        ("a generation of ours from before the first", (1, 0, 0), RefuseCode::Stale),
        ("no generation: of the past", (0, 1, 0), RefuseCode::Stale),
    ] {
        println!("{what}");
        let (mut world, raw, id) = joined();
        world.raw_close(&raw);
        assert!(matches!(world.take(1)[..], [ConnectionEvent::Interrupted { .. }]));
        let (mut raw, welcomed) = dial(&mut world, 2, says);
        assert_eq!(welcomed, (1, 1, 1));
        refused(&mut world, &mut raw, code);
        assert!(matches!(world.take(1)[..], [ConnectionEvent::TurnedAway { .. }]));
        assert_eq!(world.state(1, id), Some(ConnectionState::Connected), "the session waits");
        // An epoch that was refused is not a confirmed one.
        let (raw, _) = dial(&mut world, 2, (1, 1, 1));
        assert_eq!(world.take(1), [ConnectionEvent::Resumed { id }]);
        assert!(!world.raw_ended(&raw));
    }
}

#[test]
fn n13_a_newer_generation_ends_the_session_and_an_older_one_is_of_the_past() {
    let (mut world, raw, id) = joined();
    world.raw_close(&raw);
    world.take(1);
    // The peer has ended the session: ours is over, and the next one begins on this very link. Its count is of no session.
    let (raw, _) = dial(&mut world, 2, (2, 1, 0));
    let told = world.take(1);
    assert!(
        matches!(&told[..], [
            ConnectionEvent::Undelivered { id: lost, packs },
            ConnectionEvent::Disconnected { reason: DisconnectReason::Stale, .. },
            ConnectionEvent::Accepted { .. },
        ] if *lost == id && packs.len() == 1),
        "{told:?}"
    );
    world.raw_pack(&raw, &message(1, 0));
    assert_eq!(world.texts(1), ["1"], "numbers begin anew");
    // And its former generation is of the past.
    let (mut raw, welcomed) = dial(&mut world, 3, (1, 1, 0));
    assert_eq!(welcomed, (1, 2, 1));
    refused(&mut world, &mut raw, RefuseCode::Stale);
}

#[test]
fn n13_an_epoch_that_was_confirmed_is_a_duplicate() {
    let (mut world, raw, id) = joined();
    let (mut late, answer) = world.raw_hello(B, &hello(1));
    assert_eq!(refusal(&answer), RefuseCode::Duplicate as u16);
    assert_eq!((world.raw_next(&mut late), world.raw_ended(&late)), (None, true));
    assert!(!world.raw_ended(&raw), "the link that is there does not notice");
    assert_eq!(world.state(1, id), Some(ConnectionState::Connected));
}

/// The bad peer answers a dial of node 0 and says where its session stands. The Confirm, or a refusal.
fn answer(world: &mut World, says: (u64, u64, u64)) -> (Raw, DataPack) {
    let mut raw = world.raw_accept(STRANGER);
    let hello = world.raw_next(&mut raw).expect("a Hello");
    assert_eq!(hello.pack_type, PackType::HELLO);
    let mut bytes = welcome_body(BAD, [8; 32]);
    bytes.truncate(bytes.len() - 32);
    bytes.extend(resume(says.0, says.1, says.2));
    let proof = proof(&KEY, b"xxnet welcome", &[&hello.head, &bytes]);
    bytes.extend(proof);
    world.raw_pack(&raw, &DataPack::new(PackType::WELCOME, bytes));
    let confirm = world.raw_next(&mut raw).expect("an answer");
    (raw, confirm)
}

#[test]
fn n13_an_acceptor_that_welcomes_with_a_wrong_standing_is_refused_and_dialled_again() {
    for (what, says, code) in [
        ("more received than was sent", (5, 1, 2), RefuseCode::Malformed),
        ("an older generation", (4, 1, 0), RefuseCode::Stale),
        ("no session", (0, 1, 0), RefuseCode::Malformed),
    ] {
        println!("{what}");
        let mut world = crate::sessions::two();
        world.raw_listen(STRANGER);
        let id = world.create_to(0, PAIR, STRANGER, None).unwrap();
        world.connect(0, id, None).unwrap();
        world.run();
        let (raw, confirm) = answer(&mut world, (5, 0, 0));
        assert_eq!((confirm.pack_type, standing(&confirm.head)), (PackType::CONFIRM, (1, 5, 0)));
        world.send(0, id, "1").unwrap();
        world.run();
        world.take(0);
        world.raw_close(&raw);
        world.pass(Duration::from_secs(1));
        let (mut raw, refusal_pack) = answer(&mut world, says);
        assert_eq!(refusal(&refusal_pack), code as u16);
        assert_eq!((world.raw_next(&mut raw), world.raw_ended(&raw)), (None, true));
        // Dialled again after a pause, and the session goes on: one has come, says the peer, and it is not sent again.
        world.pass(Duration::from_secs(1));
        let (mut raw, confirm) = answer(&mut world, (5, 1, 1));
        assert_eq!((confirm.pack_type, standing(&confirm.head)), (PackType::CONFIRM, (1, 5, 0)));
        assert_eq!(world.raw_next(&mut raw).map(|pack| pack.pack_type), Some(PackType::USE));
        assert_eq!(world.raw_next(&mut raw), None);
        let told = world.take(0);
        assert!(
            matches!(told[..], [ConnectionEvent::Interrupted { .. }, ConnectionEvent::Resumed { .. }]),
            "{told:?}"
        );
    }
}

/// Says goodbye after its Confirm: a session that was, of one more pair.
fn come_and_go(world: &mut World, connection: u64) {
    let hello = Hello { connection, ..Hello::new(SESSIONS, 1) };
    let (raw, welcome) = world.raw_hello(B, &hello);
    let (mine, ..) = standing(&welcome.head);
    let resume = resume(1, mine, 0);
    world.raw_pack(&raw, &confirm_with(&KEY, &hello.bytes(), &welcome.head, &resume));
    world.raw_pack(&raw, &DataPack::new(PackType::GOODBYE, Vec::new()));
    world.raw_close(&raw);
}

#[test]
fn n13_what_a_welcome_told_holds_whatever_is_forgotten_of_others_meanwhile() {
    let mut world = crate::sessions::two();
    let hello = hello(1);
    let (raw, welcome) = world.raw_hello(B, &hello);
    assert_eq!(standing(&welcome.head), (1, 0, 0));
    // More pairs than are remembered come and go before its Confirm is there.
    (1..1200).for_each(|connection| come_and_go(&mut world, connection));
    world.take(1);
    let resume = resume(1, 1, 0);
    world.raw_pack(&raw, &confirm_with(&KEY, &hello.bytes(), &welcome.head, &resume));
    world.take_accepted(1);
    assert!(!world.raw_ended(&raw), "a session that was about to begin");
}

#[test]
fn n13_a_welcome_means_nothing_once_its_own_pair_was_forgotten() {
    let mut world = crate::sessions::two();
    let late = hello(5);
    let (mut raw, welcome) = world.raw_hello(B, &late);
    // The same pair has a whole session meanwhile, whose end was ours, and is forgotten behind it.
    let (_, welcomed) = dial(&mut world, 4, (1, 1, 0));
    assert_eq!(welcomed, standing(&welcome.head));
    let id = world.take_accepted(1);
    world.close(1, id).unwrap();
    world.pass(Duration::from_secs(1));
    (1..1200).for_each(|connection| come_and_go(&mut world, connection));
    let resume = resume(1, 1, 0);
    world.raw_pack(&raw, &confirm_with(&KEY, &late.bytes(), &welcome.head, &resume));
    refused(&mut world, &mut raw, RefuseCode::Stale);
}

#[test]
fn n8_who_never_chooses_between_its_links_piles_up_only_a_few() {
    let mut world = crate::sessions::two();
    // Smaller than any node's: to choose is its business.
    let instance = InstanceId(1_u128.to_be_bytes());
    let mut links = Vec::new();
    for epoch in 1..=40 {
        let hello = Hello { instance, ..Hello::new(PAIR, epoch) };
        let (raw, welcome) = world.raw_hello(B, &hello);
        let generation = standing(&welcome.head).0;
        let resume = resume(1, generation, 0);
        world.raw_pack(&raw, &confirm_with(&KEY, &hello.bytes(), &welcome.head, &resume));
        links.push(raw);
    }
    let open = links.iter().filter(|raw| !world.raw_ended(raw)).count();
    assert_eq!(open, 8);
    assert!(!world.raw_ended(links.last().unwrap()), "the newest is what it sends on");
    // The session goes on.
    let id = world.take_accepted(1);
    world.raw_pack(links.last().unwrap(), &message(1, 0));
    assert_eq!(world.texts(1), ["1"]);
    assert_eq!(world.state(1, id), Some(ConnectionState::Connected));
}

#[test]
fn n8_who_has_no_room_refuses_new_sessions_and_no_link_of_an_old_one() {
    let (mut world, raw, id) = joined();
    world.command(1, ConnectionCommand::Admit { admits: false });
    let (mut other, answer) = world.raw_hello(B, &Hello::new(SESSIONS, 1));
    assert_eq!(refusal(&answer), RefuseCode::Full as u16);
    assert_eq!(world.raw_next(&mut other), None);
    // One that was welcomed before is judged again.
    world.command(1, ConnectionCommand::Admit { admits: true });
    let hello = Hello::new(SESSIONS, 2);
    let (mut welcomed, welcome) = world.raw_hello(B, &hello);
    world.command(1, ConnectionCommand::Admit { admits: false });
    let confirm = confirm_with(&KEY, &hello.bytes(), &welcome.head, &resume(1, 1, 0));
    world.raw_pack(&welcomed, &confirm);
    refused(&mut world, &mut welcomed, RefuseCode::Full);
    // The session that is there goes on, on another link.
    world.raw_close(&raw);
    let (mut again, welcomed) = dial(&mut world, 2, (1, 1, 1));
    assert_eq!(welcomed, (1, 1, 1));
    assert_eq!(world.raw_next(&mut again).map(|pack| pack.pack_type), Some(PackType::USE));
    world.raw_pack(&again, &message(2, 1));
    assert_eq!(world.texts(1), ["2"]);
    assert_eq!(world.state(1, id), Some(ConnectionState::Connected));
    world.command(1, ConnectionCommand::Admit { admits: true });
    let (_, answer) = world.raw_hello(B, &Hello::new(SESSIONS, 3));
    assert_eq!(answer.pack_type, PackType::WELCOME);
}
