//! T: who gets which proposal, and what publishers are told.

use crate::world::*;
use xxnet_core::message::*;
use xxnet_core::registry::RegistryNotice;
use xxnet_core::*;

#[test]
fn t1_publish_accept_assign() {
    let mut world = World::new();
    let (publisher, one) = (world.executor("p", 0), world.executor("one", 1));
    world.notices();
    let task = world.publish(publisher);
    let heard = world.heard(publisher);
    let proposed = Waits { task, reason: WaitReason::Proposed(instance(one)) };
    assert_eq!(heard, [Accepted { task }.into(), proposed.into()]);
    let claims_at: Address = "10.0.0.11:7700".parse().unwrap();
    assert_eq!(world.heard(one), [Assign { task, publisher: claims_at }.into()]);
    assert_eq!(
        world.notices(),
        [
            RegistryNotice::TaskPublished { task, again: false },
            RegistryNotice::TaskProposed { task, to: instance(one), name: "one".into() }
        ]
    );
    world.take(task, one, 1);
    world.end(task);
    assert_eq!(
        world.notices(),
        [
            RegistryNotice::TaskTaken { task, by: instance(one), attempt: AttemptNumber(1) },
            RegistryNotice::TaskEnded(task, Some(EndKind::Done))
        ]
    );
    assert_eq!(world.heard(one), [], "its executor hears it from the publisher");
}

#[test]
fn t3_publishing_twice_is_publishing_once() {
    let mut world = World::new();
    let (publisher, one) = (world.executor("p", 0), world.executor("one", 2));
    let publication = world.publication(publisher);
    world.say(publisher, publication.clone());
    world.say(publisher, publication.clone());
    assert_eq!(world.assigned(one), [publication.task]);
    let accepted = Message::from(Accepted { task: publication.task });
    assert_eq!(world.heard(publisher).iter().filter(|message| **message == accepted).count(), 2);
    world.end(publication.task);
    world.say(publisher, publication);
    assert_eq!(world.assigned(one), [], "an ended task stays ended");
}

#[test]
fn t3_late_and_doubled_words_about_a_task_change_nothing() {
    let mut world = World::new();
    let (publisher, one) = (world.executor("p", 0), world.executor("one", 1));
    let task = world.publish(publisher);
    world.end(task);
    world.notices();
    world.heard(one);
    world.end(task);
    world.take(task, one, 1);
    world.say(publisher, Open { task, avoid: Vec::new() });
    world.say(one, Decline { task, why: DeclineReason::Busy });
    assert_eq!(world.notices(), []);
    assert_eq!(world.heard(one), []);
    let unknown = TaskId { publisher: task.publisher, number: 999 };
    world.end(unknown);
    world.take(unknown, one, 1);
    world.say(one, Decline { task: unknown, why: DeclineReason::Unreachable });
    assert_eq!(world.notices(), []);
}

#[test]
fn t4_without_an_executor_the_task_waits_says_so_and_starts_when_one_comes() {
    let mut world = World::new();
    let publisher = world.executor("p", 0);
    let task = world.publish(publisher);
    assert_eq!(world.waits(publisher), [(task, WaitReason::NoExecutor)]);
    let one = world.stranger();
    world.say(one, register("one", 1));
    assert_eq!(world.assigned(one), [task]);
    assert_eq!(world.waits(publisher), [(task, WaitReason::Proposed(instance(one)))]);
}

#[test]
fn t4_each_reason_is_told_when_it_changes_and_only_then() {
    let mut world = World::with(|limits| limits.proposals_ahead = 0);
    let (publisher, one) = (world.executor("p", 0), world.executor("one", 1));
    let tasks: Vec<TaskId> = (0..3).map(|_| world.publish(publisher)).collect();
    let one_id = WaitReason::Proposed(instance(one));
    assert_eq!(
        world.waits(publisher),
        [(tasks[0], one_id), (tasks[1], one_id), (tasks[2], WaitReason::NoFreeSlot)]
    );
    world.say(one, Heartbeat { free: 1 });
    assert_eq!(world.waits(publisher), []);
    world.kill(one);
    let none: Vec<_> = tasks.iter().map(|task| (*task, WaitReason::NoExecutor)).collect();
    assert_eq!(world.waits(publisher), none);
    // One that every task has to avoid.
    let two = world.executor("two", 1);
    world.heard(publisher);
    for task in &tasks {
        world.say(publisher, Open { task: *task, avoid: vec![instance(two)] });
    }
    let avoided: Vec<_> = tasks.iter().map(|task| (*task, WaitReason::AllAvoided)).collect();
    let told = world.waits(publisher);
    assert!(avoided.iter().all(|entry| told.contains(entry)), "{told:?}");
}

#[test]
fn t4_a_crowd_of_waiting_tasks_is_not_told_one_by_one() {
    let mut world = World::new();
    let publisher = world.executor("p", 0);
    for _ in 0..1_000 {
        world.publish(publisher);
    }
    let told = world.waits(publisher).len();
    assert!((1..=8).contains(&told), "{told}");
    let one = world.stranger();
    world.say(one, register("one", 1));
    let told = world.waits(publisher).len();
    assert!((1..=16).contains(&told), "{told}");
}

#[test]
fn t5_the_publisher_is_not_assigned_its_own_task_unless_it_asks_for_that() {
    let mut world = World::new();
    let publisher = world.executor("p", 4);
    let others = world.publish(publisher);
    assert_eq!(world.waits(publisher), [(others, WaitReason::NoExecutor)]);
    let anyone = Publish { placement: Placement::Anyone, ..world.publication(publisher) };
    world.say(publisher, anyone.clone());
    assert_eq!(world.assigned(publisher), [anyone.task]);
    let two = world.executor("two", 4);
    let own = Publish { placement: Placement::Publisher, ..world.publication(publisher) };
    world.heard(publisher);
    world.say(publisher, own.clone());
    assert_eq!(world.assigned(publisher), [own.task]);
    assert_eq!(world.assigned(two), [], "the first went there with its registration");
}

#[test]
fn t5_a_task_for_its_publisher_alone_waits_if_that_has_no_slots() {
    let mut world = World::new();
    let (publisher, one) = (world.executor("p", 0), world.executor("one", 1));
    let own = Publish { placement: Placement::Publisher, ..world.publication(publisher) };
    world.say(publisher, own.clone());
    assert_eq!(world.waits(publisher), [(own.task, WaitReason::NoExecutor)]);
    assert_eq!(world.assigned(one), []);
}

#[test]
fn t7_an_avoided_executor_does_not_get_the_task_again() {
    let mut world = World::new();
    let (publisher, one) = (world.executor("p", 0), world.executor("one", 1));
    let task = world.publish(publisher);
    world.take(task, one, 1);
    world.heard(one);
    world.say(publisher, Open { task, avoid: vec![instance(one)] });
    assert_eq!(world.assigned(one), []);
    let two = world.stranger();
    world.say(two, register("two", 1));
    assert_eq!(world.assigned(two), [task]);
}

#[test]
fn t4_a_pair_that_cannot_reach_each_other_is_remembered_and_tried_elsewhere() {
    let mut world = World::new();
    let (publisher, one) = (world.executor("p", 0), world.executor("one", 1));
    let task = world.publish(publisher);
    world.heard(one);
    world.say(one, Decline { task, why: DeclineReason::Unreachable });
    assert_eq!(world.assigned(one), []);
    assert_eq!(world.waits(publisher).last(), Some(&(task, WaitReason::AllAvoided)));
    let another = world.publish(publisher);
    assert_eq!(world.assigned(one), [], "it is the pair, not the task");
    let two = world.stranger();
    world.say(two, register("two", 2));
    assert_eq!(world.assigned(two), [task, another]);
    world.take(task, two, 1);
    world.take(another, two, 1);
    world.pass(59.0, &[(publisher, 0), (one, 1), (two, 0)]);
    let third = world.publish(publisher);
    assert_eq!(world.assigned(one), []);
    assert_eq!(world.assigned(two), [third], "it waits there");
    world.pass(2.0, &[(publisher, 0), (one, 1), (two, 0)]);
    assert_eq!(world.assigned(one), [third], "the pair is tried again, and a slot is free there");
}

#[test]
fn t3_a_proposal_given_back_goes_to_somebody_else_first() {
    let mut world = World::new();
    let (publisher, one) = (world.executor("p", 0), world.executor("one", 2));
    let task = world.publish(publisher);
    let two = world.executor("two", 1);
    world.heard(one);
    world.say(one, Decline { task, why: DeclineReason::Busy });
    assert_eq!(world.assigned(two), [task]);
    world.say(two, Decline { task, why: DeclineReason::Busy });
    assert_eq!((world.assigned(one), world.assigned(two)), (Vec::new(), Vec::new()), "neither at once");
    world.pass(0.5, &[]);
    let again = [world.assigned(one), world.assigned(two)].concat();
    assert_eq!(again, [task]);
}

#[test]
fn t3_a_decliner_that_is_alone_is_asked_again_with_growing_pauses() {
    let mut world = World::new();
    let (publisher, one) = (world.executor("p", 0), world.executor("one", 1));
    let task = world.publish(publisher);
    let mut asked = 0;
    for _ in 0..600 {
        asked += world.assigned(one).len();
        world.say(one, Decline { task, why: DeclineReason::Refused });
        world.say(publisher, Heartbeat { free: 0 });
        world.pass(0.1, &[]);
    }
    assert!((8..14).contains(&asked), "{asked} times in a minute");
}

#[test]
fn t2_a_proposal_that_is_ignored_is_taken_back() {
    let mut world = World::new();
    let (publisher, one) = (world.executor("p", 0), world.executor("one", 1));
    let task = world.publish(publisher);
    assert_eq!(world.assigned(one), [task]);
    let two = world.executor("two", 1);
    world.pass(14.9, &[(publisher, 0), (one, 1), (two, 1)]);
    assert_eq!(world.heard(one), []);
    world.pass(0.2, &[]);
    assert_eq!(world.heard(one), [Withdraw { task }.into()]);
    assert_eq!(world.assigned(two), [task]);
}

#[test]
fn t13_four_tasks_on_two_idle_executors_go_two_and_two() {
    let mut world = World::new();
    let publisher = world.executor("p", 0);
    let (one, two) = (world.executor("one", 2), world.executor("two", 2));
    for _ in 0..4 {
        world.publish(publisher);
    }
    assert_eq!((world.assigned(one).len(), world.assigned(two).len()), (2, 2));
}

#[test]
fn t13_proposals_run_ahead_of_the_slots_and_are_bounded() {
    let mut world = World::new();
    let (publisher, one) = (world.executor("p", 0), world.executor("one", 2));
    let tasks: Vec<TaskId> = (0..50).map(|_| world.publish(publisher)).collect();
    assert_eq!(world.assigned(one), tasks[..6], "two slots, one more each, and two");
    world.take(tasks[0], one, 1);
    world.take(tasks[1], one, 1);
    assert_eq!(world.assigned(one), [], "held ones count too");
    world.end(tasks[0]);
    assert_eq!(world.assigned(one), [tasks[6]], "one for one, in order");
}

#[test]
fn t13_an_idle_member_is_given_what_waits_elsewhere() {
    let mut world = World::new();
    let (publisher, one) = (world.executor("p", 0), world.executor("one", 1));
    let tasks: Vec<TaskId> = (0..4).map(|_| world.publish(publisher)).collect();
    assert_eq!(world.assigned(one), tasks);
    world.take(tasks[0], one, 1);
    let two = world.stranger();
    world.say(two, register("two", 1));
    assert_eq!(world.assigned(two), [tasks[3]], "the one that would have waited longest");
    assert_eq!(world.heard(one), [Withdraw { task: tasks[3] }.into()]);
    world.take(tasks[3], two, 1);
    assert_eq!((world.heard(one), world.heard(two)), (Vec::new(), Vec::new()), "no flapping");
    world.end(tasks[3]);
    assert_eq!(world.assigned(two), [tasks[2]]);
}

#[test]
fn t13_a_heartbeat_of_a_claim_under_way_moves_nothing() {
    let mut world = World::new();
    let publisher = world.executor("p", 0);
    let (one, two) = (world.executor("one", 1), world.executor("two", 1));
    let task = world.publish(publisher);
    assert_eq!(world.assigned(one), [task]);
    world.say(one, Heartbeat { free: 0 });
    assert_eq!((world.heard(one), world.heard(two)), (Vec::new(), Vec::new()));
    world.take(task, one, 1);
    assert_eq!((world.heard(one), world.heard(two)), (Vec::new(), Vec::new()));
}

#[test]
fn t13_moves_of_one_task_are_bounded() {
    let mut world = World::new();
    let publisher = world.executor("p", 0);
    let members = [world.executor("one", 1), world.executor("two", 1)];
    // Something else fills the slot of whoever has the task, just when the other one's slot becomes free: for ever.
    let fill = |world: &mut World, member: Node| {
        let taken = Some((instance(member), AttemptNumber(1)));
        let filler = Publish { taken, ..world.publication(publisher) };
        world.say(publisher, filler.clone());
        filler.task
    };
    let mut filler = fill(&mut world, members[1]);
    let task = world.publish(publisher);
    assert_eq!(world.assigned(members[0]), [task]);
    let mut moves = 0;
    for round in 0..20 {
        let holder = members[moves % 2];
        let next = fill(&mut world, holder);
        world.end(filler);
        filler = next;
        let moved = world.assigned(members[(moves + 1) % 2]) == [task];
        assert_eq!(moved, round < 4, "in round {round}");
        moves += usize::from(moved);
    }
}

#[test]
fn t13_fairness_a_small_publisher_does_not_wait_behind_a_large_one() {
    let mut world = World::new();
    let (large, small) = (world.executor("large", 0), world.executor("small", 0));
    for _ in 0..100 {
        world.publish(large);
    }
    let few = [world.publish(small), world.publish(small)];
    let one = world.stranger();
    world.say(one, register("one", 2));
    let assigned = world.assigned(one);
    assert_eq!(assigned.len(), 6);
    assert!(few.iter().all(|task| assigned[..4].contains(task)), "in turn: {assigned:?}");
}

#[test]
fn t13_beyond_the_bound_a_task_is_not_accepted_until_there_is_room() {
    let mut world = World::with(|limits| limits.max_tasks = 10);
    let publisher = world.executor("p", 0);
    let large = world.executor("large", 0);
    let tasks: Vec<TaskId> = (0..10).map(|_| world.publish(large)).collect();
    world.notices();
    let late = world.publication(publisher);
    world.say(publisher, late.clone());
    world.say(publisher, late.clone());
    assert_eq!(world.heard(publisher), [], "not accepted");
    assert_eq!(world.notices(), [RegistryNotice::TasksFull(instance(publisher))]);
    // It is not left to wait for ever: once there is room it is made to register and publish again.
    world.end(tasks[0]);
    assert!(!world.is_linked(publisher) && world.is_linked(large));
    world.link(publisher);
    world.register(publisher, "p", 0);
    world.say(publisher, late.clone());
    assert_eq!(world.heard(publisher)[0], Accepted { task: late.task }.into());
    world.end(tasks[1]);
    assert!(world.is_linked(publisher), "once");
}

#[test]
fn t13_taken_by_another_than_it_was_proposed_to_withdraws_it_there() {
    let mut world = World::new();
    let publisher = world.executor("p", 0);
    let (one, two) = (world.executor("one", 1), world.executor("two", 0));
    let task = world.publish(publisher);
    world.heard(one);
    world.take(task, two, 1);
    assert_eq!(world.heard(one), [Withdraw { task }.into()]);
    let again = world.publish(publisher);
    assert_eq!(world.assigned(one), [again], "its slot is free");
}

#[test]
fn t14_a_freed_task_is_proposed_again_as_soon_as_its_publisher_says_so() {
    let mut world = World::new();
    let (publisher, one) = (world.executor("p", 0), world.executor("one", 1));
    let task = world.publish(publisher);
    world.take(task, one, 1);
    world.heard(one);
    world.notices();
    world.say(publisher, Open { task, avoid: Vec::new() });
    assert_eq!(world.assigned(one), [task]);
    assert_eq!(world.notices()[0], RegistryNotice::TaskOpen(task));
}

/// An executor that says this of itself.
fn labelled(world: &mut World, name: &str, labels: &[(&str, &str)]) -> Node {
    let node = world.stranger();
    let labels = labels.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
    world.say(node, Register { labels, ..register(name, 1) });
    node
}

fn publish_needing(world: &mut World, publisher: Node, needs: &[&str]) -> TaskId {
    let publish = world.publication(publisher);
    let task = publish.task;
    let needs = needs.iter().map(|need| need.parse().unwrap()).collect();
    world.say(publisher, PublishNeeding { publish, needs });
    task
}

#[test]
fn t12_what_nobody_there_has_is_said_at_once_and_waits_for_one_that_has_it() {
    let mut world = World::new();
    let publisher = world.executor("p", 0);
    let task = publish_needing(&mut world, publisher, &["gpu=a100", "os=linux"]);
    assert_eq!(world.waits(publisher), [(task, WaitReason::NoExecutor)]);
    // Neither one that has nothing, nor one that has a part, nor one whose value is another.
    let one = labelled(&mut world, "one", &[]);
    let two = labelled(&mut world, "two", &[("os", "linux")]);
    let three = labelled(&mut world, "three", &[("os", "linux"), ("gpu", "t4")]);
    for other in [one, two, three] {
        assert_eq!(world.assigned(other), []);
    }
    assert_eq!(world.waits(publisher), [(task, WaitReason::NeedsUnmet)]);
    let four = labelled(&mut world, "four", &[("gpu", "a100"), ("os", "linux")]);
    assert_eq!(world.assigned(four), [task]);
    assert_eq!(world.waits(publisher), [(task, WaitReason::Proposed(instance(four)))]);
    // It is gone again: nobody else will do.
    world.kill(four);
    assert_eq!(world.waits(publisher), [(task, WaitReason::NeedsUnmet)]);
}

#[test]
fn t12_one_that_is_busy_is_waited_for_and_tasks_without_needs_pass() {
    let mut world = World::with(|limits| limits.proposals_ahead = 0);
    let publisher = world.executor("p", 0);
    let gpu = labelled(&mut world, "gpu", &[("gpu", "")]);
    let plain = labelled(&mut world, "plain", &[]);
    let tasks = [(); 3].map(|()| publish_needing(&mut world, publisher, &["gpu"]));
    let waits = world.waits(publisher);
    assert_eq!(waits.last(), Some(&(tasks[2], WaitReason::NoFreeSlot)), "it is there, and has enough to do");
    assert_eq!(world.assigned(plain), []);
    // Nor are they moved to who has nothing to do.
    world.say(plain, Heartbeat { free: 1 });
    assert_eq!(world.assigned(plain), []);
    let any = world.publish(publisher);
    assert_eq!(world.assigned(plain), [any], "behind them, and not held up by them");
    assert!(!world.assigned(gpu).contains(&any));
}

#[test]
fn t12_needs_may_change_with_a_further_publication_and_labels_with_a_further_registration() {
    let mut world = World::new();
    let publisher = world.executor("p", 0);
    let one = labelled(&mut world, "one", &[]);
    let publish = world.publication(publisher);
    let needs = vec!["gpu".parse().unwrap()];
    world.say(publisher, PublishNeeding { publish: publish.clone(), needs });
    assert_eq!(world.assigned(one), []);
    world.say(one, Register { labels: vec![("gpu".into(), "any".into())], ..register("one", 1) });
    assert_eq!(world.assigned(one), [publish.task]);
}

#[test]
fn t12_too_many_and_too_long_needs_end_the_link_and_nothing_else() {
    for needs in [vec!["x".parse().unwrap(); 17], vec![needs::Need { name: "x".repeat(300), value: None }]] {
        let mut world = World::new();
        let publisher = world.executor("p", 0);
        let publish = world.publication(publisher);
        world.notices();
        world.say(publisher, PublishNeeding { publish, needs });
        assert!(matches!(world.notices()[0], RegistryNotice::Misbehaved { .. }));
        world.executor("q", 1);
    }
}
