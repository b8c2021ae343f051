//! Peers that hold the key and still break the protocol: their connection ends, and nothing else is touched.

use crate::world::*;
use xxnet_core::connection::KindId;
use xxnet_core::message::*;
use xxnet_core::pack::{DataPack, PackType};
use xxnet_core::registry::RegistryNotice;
use xxnet_core::*;

/// Says something it must not, beside a task that runs and one that waits.
fn is_thrown_out(registered: bool, pack: impl FnOnce(&mut World, Node) -> DataPack) {
    let mut world = World::new();
    let (publisher, one) = (world.executor("p", 0), world.executor("one", 1));
    let tasks = [world.publish(publisher), world.publish(publisher)];
    world.take(tasks[0], one, 1);
    let bad = if registered { world.executor("bad", 0) } else { world.stranger() };
    world.heard(one);
    world.heard(publisher);
    world.notices();
    let before = world.answer(Question::Tasks);
    let pack = pack(&mut world, bad);
    world.say_pack(bad, pack);
    let notices = world.notices();
    assert!(
        matches!(notices[..], [RegistryNotice::Misbehaved { member, .. }] if member == instance(bad)),
        "{notices:?}"
    );
    assert!(!world.is_linked(bad));
    assert_eq!((world.heard(one), world.heard(publisher)), (Vec::new(), Vec::new()));
    assert_eq!(world.answer(Question::Tasks), before);
    assert!(world.is_linked(one) && world.is_linked(publisher));
}

fn own_task(world: &mut World) -> TaskId {
    TaskId { publisher: instance(1), number: world.now.as_micros().min(1) }
}

#[test]
fn r1_nothing_may_be_said_before_register() {
    is_thrown_out(false, |_, _| Message::from(Heartbeat { free: 1 }).into_pack());
    is_thrown_out(false, |world, bad| Message::from(world.publication(bad)).into_pack());
    is_thrown_out(false, |_, _| Message::from(Leave {}).into_pack());
}

#[test]
fn r1_registrations_beyond_all_bounds_are_refused() {
    is_thrown_out(false, |_, _| Message::from(register("", 1)).into_pack());
    is_thrown_out(false, |_, _| Message::from(register(&"n".repeat(129), 1)).into_pack());
    is_thrown_out(false, |_, _| Message::from(register("bad", u32::MAX)).into_pack());
    is_thrown_out(false, |_, _| {
        let labels = vec![("k".into(), "v".into()); 65];
        Message::from(Register { labels, ..register("bad", 1) }).into_pack()
    });
}

#[test]
fn r1_a_unix_socket_is_no_address_for_others() {
    let address = || "unix:/run/x.sock".parse().unwrap();
    is_thrown_out(false, |_, _| {
        Message::from(Register { address: address(), ..register("bad", 1) }).into_pack()
    });
    is_thrown_out(true, |world, bad| {
        Message::from(Publish { publisher: address(), ..world.publication(bad) }).into_pack()
    });
}

#[test]
fn p6_what_is_no_message_is_refused() {
    is_thrown_out(true, |_, _| DataPack::new(PackType(31_000), Vec::new()));
    is_thrown_out(true, |_, _| DataPack::new(PackType(34), vec![1]));
    is_thrown_out(true, |_, _| DataPack::new(PackType(34), vec![0; 5]));
    is_thrown_out(false, |_, _| DataPack::new(PackType(32), vec![255; 300]));
}

#[test]
fn r1_messages_of_other_connections_are_refused() {
    is_thrown_out(true, |world, _| {
        let (task, claim) = (own_task(world), ClaimNumber(1));
        Message::from(Claim { task, claim, stamp: world.now }).into_pack()
    });
    is_thrown_out(true, |_, _| Message::from(Ask { request: 1, question: Question::Nodes }).into_pack());
    is_thrown_out(true, |_, _| Message::from(Registered { address: AT.parse().unwrap() }).into_pack());
}

#[test]
fn t9_nobody_speaks_for_another_publisher_s_task() {
    let how = EndKind::Done;
    is_thrown_out(true, |world, _| Message::from(Ended { task: own_task(world), how }).into_pack());
    is_thrown_out(true, |world, _| {
        Message::from(Open { task: own_task(world), avoid: Vec::new() }).into_pack()
    });
    is_thrown_out(true, |world, bad| {
        let (task, by) = (own_task(world), instance(bad));
        Message::from(Taken { task, by, attempt: AttemptNumber(9) }).into_pack()
    });
    is_thrown_out(true, |world, _| Message::from(publication(own_task(world))).into_pack());
}

#[test]
fn r1_an_answer_to_what_was_not_asked_reaches_nobody() {
    is_thrown_out(true, |_, _| {
        Message::from(Answer { request: 1, reply: Reply::Nodes(Vec::new()) }).into_pack()
    });
    let mut world = World::new();
    let (publisher, liar) = (world.executor("p", 0), world.executor("liar", 0));
    let task = world.publish(publisher);
    let client = world.client();
    world.ask(client, Question::Why(TaskName::parse(&task.to_string()).unwrap()));
    for request in 0..10 {
        world.say(liar, Answer { request, reply: Reply::Cancelled(task) });
    }
    assert_eq!(world.answers(client), [], "only whoever was asked can answer");
}

#[test]
fn r3_a_decline_of_what_was_not_proposed_takes_nothing_from_others() {
    let mut world = World::new();
    let (publisher, one) = (world.executor("p", 0), world.executor("one", 1));
    let task = world.publish(publisher);
    let other = world.executor("other", 0);
    world.heard(one);
    world.notices();
    for why in [DeclineReason::Busy, DeclineReason::Refused, DeclineReason::Unreachable] {
        world.say(other, Decline { task, why });
    }
    assert_eq!(world.notices(), []);
    assert_eq!(world.heard(one), []);
}

#[test]
fn n9_a_link_that_never_registers_is_closed() {
    let mut world = World::new();
    let node = world.stranger();
    world.notices();
    world.pass(5.1, &[]);
    assert!(!world.is_linked(node));
    assert!(matches!(world.notices()[..], [RegistryNotice::TurnedAway { .. }]));
    assert_eq!(world.census(), [0, 1, 0, 1]);
}

#[test]
fn r1_a_full_house_turns_newcomers_away_and_keeps_members() {
    let mut world = World::with(|limits| limits.max_members = 1);
    let one = world.executor("one", 1);
    let late = world.stranger();
    world.notices();
    world.say(late, register("late", 1));
    assert!(matches!(world.notices()[..], [RegistryNotice::TurnedAway { .. }]));
    assert!(!world.is_linked(late) && world.is_linked(one));
    world.register(one, "one", 2);
}

#[test]
fn r1_asking_twice_at_once_is_refused() {
    let mut world = World::new();
    let (publisher, peer) = (world.executor("p", 0), world.executor("q", 0));
    let task = world.publish(publisher);
    let id = world.dial(peer, KindId::QUERY);
    let ask = |request| {
        let question = Question::Why(TaskName::parse(&task.to_string()).unwrap());
        Message::from(Ask { request, question }).into_pack()
    };
    world.notices();
    world.say_on(peer, id, ask(1));
    world.say_on(peer, id, ask(2));
    assert!(matches!(world.notices()[..], [RegistryNotice::Misbehaved { .. }]));
    assert!(world.is_linked(peer), "its registration is another connection");
}

#[test]
fn r1_absurd_heartbeats_and_inventories_are_borne() {
    let mut world = World::new();
    let (publisher, one) = (world.executor("p", 0), world.executor("one", 1));
    world.say(one, Heartbeat { free: u32::MAX });
    let task = |number| TaskId { publisher: instance(77), number };
    let inventory = Register {
        running: (0..5_000).map(|number| (task(number), AttemptNumber(1))).collect(),
        proposed: (0..5_000).map(task).collect(),
        ..register("one", 1)
    };
    world.say(one, inventory);
    world.heard(one);
    world.say(one, Heartbeat { free: 1 });
    let task = world.publish(publisher);
    assert_eq!(world.assigned(one), [task]);
}
