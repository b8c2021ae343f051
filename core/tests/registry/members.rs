//! R: members come, fall silent, come back, and leave.

use crate::world::*;
use xxnet_core::message::*;
use xxnet_core::registry::{RegistryCommand, RegistryNotice};
use xxnet_core::*;

fn proposed(notices: &[RegistryNotice]) -> Vec<(TaskId, InstanceId)> {
    let proposed = |notice: &RegistryNotice| match notice {
        RegistryNotice::TaskProposed { task, to, .. } => Some((*task, *to)),
        _ => None,
    };
    notices.iter().filter_map(proposed).collect()
}

fn nodes(world: &mut World) -> Vec<NodeRow> {
    match world.answer(Question::Nodes) {
        Reply::Nodes(rows) => rows,
        other => panic!("{other:?}"),
    }
}

#[test]
fn r1_the_three_steps_of_a_registration() {
    let mut world = World::new();
    let node = world.stranger();
    let notices = world.notices();
    assert!(
        matches!(notices[..], [RegistryNotice::RegistrationLinked { member, .. }] if member == instance(node)),
        "{notices:?}"
    );
    world.say(node, register("one", 2));
    let address: Address = "10.0.0.11:7700".parse().unwrap();
    assert_eq!(world.heard(node), [Registered { address: address.clone() }.into()], "wildcard completed");
    let joined = RegistryNotice::MemberJoined {
        member: instance(node),
        name: "one".into(),
        address: address.clone(),
        slots: 2,
        client: false,
        again: false,
    };
    assert_eq!(world.notices(), [joined]);
    let rows = nodes(&mut world);
    assert_eq!(rows.len(), 1);
    assert_eq!((rows[0].instance, rows[0].name.as_str()), (instance(node), "one"));
    assert_eq!((&rows[0].address, rows[0].slots), (&address, 2));
    assert_eq!((rows[0].client, rows[0].suspect, rows[0].running, rows[0].proposed), (false, false, 0, 0));
}

#[test]
fn r1_a_client_is_listed_as_one_and_gets_no_work() {
    let mut world = World::new();
    let client = world.stranger();
    world.say(client, Register { client: true, ..register("cli", 4) });
    let publisher = world.executor("p", 0);
    world.publish(publisher);
    assert_eq!(world.assigned(client), []);
    assert!(nodes(&mut world).iter().any(|row| row.client && row.name == "cli"));
}

#[test]
fn r2_the_same_executor_registers_twice() {
    let mut world = World::new();
    let node = world.executor("one", 2);
    world.notices();
    world.register(node, "one", 3);
    let notices = world.notices();
    assert!(
        matches!(notices[..], [RegistryNotice::MemberJoined { again: true, slots: 3, .. }]),
        "{notices:?}"
    );
    let rows = nodes(&mut world);
    assert_eq!((rows.len(), rows[0].slots), (1, 3));
}

#[test]
fn r2_a_newer_link_replaces_the_member_s_old_one() {
    let mut world = World::new();
    let node = world.executor("one", 2);
    world.link(node);
    world.register(node, "one", 2);
    assert!(world.is_linked(node));
    world.pass(20.0, &[(node, 2)]);
    let rows = nodes(&mut world);
    assert_eq!((rows.len(), rows[0].suspect), (1, false), "the end of the old link touched nothing");
}

#[test]
fn r2_a_restart_is_another_member_and_the_old_one_ages_out() {
    let mut world = World::new();
    let old = world.executor("one", 2);
    world.kill(old);
    let new = world.executor("one", 2);
    let notices = world.notices();
    assert!(!notices.iter().any(|n| matches!(n, RegistryNotice::NameShared { .. })), "its link is dead");
    world.pass(15.0, &[(new, 2)]);
    let notices = world.notices();
    let gone = RegistryNotice::MemberGone { member: instance(old), name: "one".into(), left: false };
    assert!(notices.contains(&gone), "{notices:?}");
    assert_eq!(nodes(&mut world).len(), 1);
}

#[test]
fn r2_two_living_executors_claim_one_name() {
    let mut world = World::new();
    let first = world.executor("one", 2);
    let second = world.executor("one", 2);
    let shared =
        RegistryNotice::NameShared { name: "one".into(), first: instance(first), second: instance(second) };
    assert!(world.notices().contains(&shared));
    assert_eq!(nodes(&mut world).len(), 2);
}

#[test]
fn r3_a_silent_member_is_suspect_then_gone_and_its_proposals_move() {
    let mut world = World::new();
    let (silent, publisher) = (world.executor("silent", 1), world.executor("p", 0));
    let task = world.publish(publisher);
    assert_eq!(world.assigned(silent), [task]);
    let other = world.executor("other", 1);
    world.notices();
    // It still answers pings, so its link lives; but its machine says nothing.
    world.pass(8.9, &[(other, 1), (publisher, 0)]);
    assert_eq!(world.assigned(other), []);
    world.pass(0.2, &[]);
    assert_eq!(world.assigned(other), [task]);
    assert_eq!(world.heard(silent), [Withdraw { task }.into()]);
    let notices = world.notices();
    assert!(notices.contains(&RegistryNotice::MemberSuspect(instance(silent))), "{notices:?}");
    assert!(notices.contains(&RegistryNotice::ProposalReturned { task, from: instance(silent) }));
    world.take(task, other, 1);
    let later = world.publish(publisher);
    assert_eq!(world.assigned(silent), [], "no new work");
    assert_eq!(world.assigned(other), [later]);
    world.pass(6.0, &[(other, 0), (publisher, 0)]);
    let gone = RegistryNotice::MemberGone { member: instance(silent), name: "silent".into(), left: false };
    assert!(world.notices().contains(&gone));
    assert!(!world.is_linked(silent), "its late messages are refused: the connection is closed");
    world.link(silent);
    world.register(silent, "silent", 1);
    let joined =
        |notice: &RegistryNotice| matches!(notice, RegistryNotice::MemberJoined { again: false, .. });
    assert!(world.notices().iter().any(joined));
}

#[test]
fn r3_a_suspect_member_that_speaks_gets_work_again() {
    let mut world = World::new();
    let (node, publisher) = (world.executor("one", 1), world.executor("p", 0));
    world.pass(10.0, &[(publisher, 0)]);
    let task = world.publish(publisher);
    assert_eq!(world.waits(publisher), [(task, WaitReason::NoExecutor)]);
    assert_eq!(world.assigned(node), []);
    world.say(node, Heartbeat { free: 1 });
    assert_eq!(world.assigned(node), [task]);
}

#[test]
fn r3_a_broken_link_returns_proposals_at_once() {
    let mut world = World::new();
    let (one, publisher) = (world.executor("one", 1), world.executor("p", 0));
    let task = world.publish(publisher);
    assert_eq!(world.assigned(one), [task]);
    let two = world.executor("two", 1);
    world.cut(one);
    assert_eq!(world.assigned(two), [task]);
}

#[test]
fn r3_a_held_attempt_outlives_its_executor_s_registration() {
    let mut world = World::new();
    let (one, publisher) = (world.executor("one", 1), world.executor("p", 0));
    let task = world.publish(publisher);
    world.take(task, one, 1);
    let two = world.executor("two", 1);
    world.kill(one);
    world.pass(30.0, &[(two, 1), (publisher, 0)]);
    assert_eq!(world.assigned(two), [], "only the publisher frees a claimed task");
    world.say(publisher, Open { task, avoid: vec![instance(one)] });
    assert_eq!(world.assigned(two), [task]);
}

#[test]
fn r3_a_gone_publisher_s_tasks_end_and_proposals_for_them_are_withdrawn() {
    let mut world = World::new();
    let (one, publisher) = (world.executor("one", 2), world.executor("p", 0));
    let tasks = [world.publish(publisher), world.publish(publisher)];
    world.take(tasks[0], one, 1);
    world.heard(one);
    world.kill(publisher);
    world.notices();
    world.pass(14.9, &[(one, 1)]);
    assert_eq!(world.heard(one), []);
    world.pass(0.2, &[]);
    assert_eq!(world.heard(one), [Withdraw { task: tasks[1] }.into()]);
    let notices = world.notices();
    for task in tasks {
        assert!(notices.contains(&RegistryNotice::TaskEnded(task, None)), "{notices:?}");
    }
    assert_eq!(world.answer(Question::Tasks), Reply::Tasks { rows: Vec::new(), more: 0 });
    let rows = nodes(&mut world);
    assert_eq!((rows[0].running, rows[0].proposed), (0, 0), "no slot leaks");
}

#[test]
fn r3_leaving_is_at_once() {
    let mut world = World::new();
    let (one, publisher) = (world.executor("one", 1), world.executor("p", 0));
    let task = world.publish(publisher);
    let two = world.executor("two", 1);
    world.say(one, Leave {});
    assert_eq!(world.assigned(two), [task]);
    let left = RegistryNotice::MemberGone { member: instance(one), name: "one".into(), left: true };
    assert!(world.notices().contains(&left));
    assert!(!world.is_linked(one));
    world.say(publisher, Leave {});
    assert!(world.notices().contains(&RegistryNotice::TaskEnded(task, None)));
    assert_eq!(nodes(&mut world).len(), 1);
}

#[test]
fn r4_a_restarted_registry_learns_everything_again_and_proposes_nothing_twice() {
    let mut world = World::new();
    let publisher = world.executor("p", 0);
    let one = world.executor("one", 1);
    let running = world.publish(publisher);
    world.take(running, one, 1);
    let kept = world.publish(publisher);
    let two = world.executor("two", 0);
    let waiting = world.publish(publisher);
    let finished = world.publish(publisher);
    world.end(finished);
    world.heard(one);

    world.restart_registry();
    world.link(one);
    let inventory = Register {
        running: vec![(running, AttemptNumber(1))],
        proposed: vec![kept, waiting],
        ..register("one", 1)
    };
    world.say(one, inventory);
    world.link(two);
    world.register(two, "two", 2);
    world.link(publisher);
    world.register(publisher, "p", 0);
    // Published again: what is held, and what waits; what has ended is not.
    world.say(publisher, Publish { taken: Some((instance(one), AttemptNumber(1))), ..publication(running) });
    world.say(publisher, publication(kept));
    let notices = world.notices();
    assert!(notices.contains(&RegistryNotice::TaskTaken {
        task: running,
        by: instance(one),
        attempt: AttemptNumber(1)
    }));
    // `two` is idle and `one` is busy, so what waits there may move; but the running one is touched by nobody.
    assert!(proposed(&notices).iter().all(|(task, _)| *task != running && *task != finished), "{notices:?}");
    assert!(!world.heard(one).contains(&Assign { task: kept, publisher: AT.parse().unwrap() }.into()));
}

#[test]
fn r4_a_listed_proposal_is_adopted_without_another_word() {
    let mut world = World::new();
    let publisher = world.stranger();
    let one = world.stranger();
    let task = TaskId { publisher: instance(publisher), number: 1 };
    world.say(one, Register { proposed: vec![task], ..register("one", 1) });
    world.register(publisher, "p", 0);
    world.heard(one);
    world.notices();
    world.say(publisher, publication(task));
    assert_eq!(proposed(&world.notices()), [(task, instance(one))]);
    assert_eq!(world.heard(one), [], "it has it already");
    assert_eq!(world.waits(publisher), [(task, WaitReason::Proposed(instance(one)))]);
}

#[test]
fn r6_a_proposal_that_never_arrived_is_made_anew() {
    let mut world = World::new();
    let (one, publisher) = (world.executor("one", 1), world.executor("p", 0));
    let (lost, kept) = (world.publish(publisher), world.publish(publisher));
    world.heard(one);
    world.notices();
    // Registers again on the same link, and lists only one of them.
    world.say(one, Register { proposed: vec![kept], ..register("one", 1) });
    let notices = world.notices();
    assert!(notices.contains(&RegistryNotice::ProposalReturned { task: lost, from: instance(one) }));
    assert_eq!(world.assigned(one), [lost], "and the other one is not told again");
}

#[test]
fn r6_what_was_settled_meanwhile_is_withdrawn() {
    let mut world = World::new();
    let (one, publisher) = (world.executor("one", 3), world.executor("p", 0));
    let tasks = [world.publish(publisher), world.publish(publisher), world.publish(publisher)];
    world.cut(one);
    let two = world.executor("two", 3);
    assert_eq!(world.assigned(two), [], "they came with the registration's answer");
    world.take(tasks[0], two, 1);
    world.end(tasks[1]);
    world.heard(one);
    world.link(one);
    world.say(one, Register { proposed: tasks.to_vec(), ..register("one", 3) });
    let heard = world.heard(one);
    for task in tasks {
        assert!(heard.contains(&Withdraw { task }.into()), "{task}: {heard:?}");
    }
}

#[test]
fn r6_claimed_and_never_heard_the_publisher_s_word_counts() {
    let mut world = World::new();
    let (one, publisher) = (world.executor("one", 1), world.executor("p", 0));
    let task = world.publish(publisher);
    world.take(task, one, 1);
    world.cut(publisher);
    world.link(publisher);
    world.register(publisher, "p", 0);
    // The attempt was lost meanwhile, and the `Open` with the link.
    world.notices();
    world.heard(one);
    world.say(publisher, publication(task));
    assert!(world.notices().contains(&RegistryNotice::TaskOpen(task)));
    assert_eq!(world.assigned(one), [task]);
}

#[test]
fn r6_finished_and_never_heard_the_publisher_s_silence_about_it_counts() {
    let mut world = World::new();
    let (one, publisher) = (world.executor("one", 1), world.executor("p", 0));
    let (finished, kept) = (world.publish(publisher), world.publish(publisher));
    world.take(finished, one, 1);
    // It ends while the link is dead, and nobody repeats that.
    world.cut(publisher);
    world.link(publisher);
    world.register(publisher, "p", 0);
    world.pass(10.0, &[(publisher, 0), (one, 0)]);
    world.say(publisher, publication(kept));
    world.pass(10.0, &[(publisher, 0), (one, 0)]);
    assert_eq!(nodes(&mut world)[0].running, 1, "as long as it publishes it is not through");
    world.notices();
    world.pass(5.1, &[(publisher, 0), (one, 1)]);
    assert_eq!(world.notices(), [RegistryNotice::TaskEnded(finished, None)]);
    assert_eq!(nodes(&mut world)[0].running, 0, "no slot leaks");
    let Reply::Tasks { rows, .. } = world.answer(Question::Tasks) else { panic!() };
    assert_eq!(rows.iter().map(|row| row.task).collect::<Vec<_>>(), [kept]);
}

#[test]
fn r7_a_task_that_another_registry_s_executor_took_is_not_proposed_again() {
    let mut world = World::new();
    let (one, publisher) = (world.executor("one", 1), world.executor("p", 0));
    let task = world.publish(publisher);
    assert_eq!(world.assigned(one), [task]);
    let elsewhere = InstanceId([200; 16]);
    world.say(publisher, Taken { task, by: elsewhere, attempt: AttemptNumber(1) });
    assert_eq!(world.heard(one), [Withdraw { task }.into()]);
    world.say(one, Decline { task, why: DeclineReason::Refused });
    world.pass(30.0, &[(one, 1), (publisher, 0)]);
    assert_eq!(world.assigned(one), []);
}

#[test]
fn k7_shutdown_closes_everything_and_says_so_once() {
    let mut world = World::new();
    let (one, publisher) = (world.executor("one", 1), world.executor("p", 0));
    world.publish(publisher);
    world.notices();
    world.command(RegistryCommand::Shutdown);
    assert_eq!(world.notices(), [RegistryNotice::Stopped]);
    assert_eq!(world.census(), [0; 4]);
    assert_eq!(world.deadline(), None);
    assert!(!world.is_linked(one) && !world.is_linked(publisher));
    world.command(RegistryCommand::Shutdown);
    assert_eq!(world.notices(), []);
}

#[test]
fn n2_a_second_listen_is_refused_and_the_first_unharmed() {
    let mut world = World::new();
    world.command(RegistryCommand::Listen("10.0.0.1:7001".parse().unwrap()));
    assert!(matches!(world.notices()[..], [RegistryNotice::ListenFailed(..)]));
    world.executor("one", 1);
}

#[test]
fn an_idle_registry_has_no_timer_but_silence() {
    let mut world = World::new();
    assert_eq!(world.deadline(), None);
    let node = world.executor("one", 1);
    world.say(node, Leave {});
    world.pass(10.0, &[]);
    assert_eq!(world.deadline(), None);
    assert_eq!(world.census(), [0, 1, 0, 1], "its listener alone");
}
