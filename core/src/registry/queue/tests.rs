use super::*;
use proptest::prelude::*;
use std::{format, vec};

fn node(n: u8) -> InstanceId {
    InstanceId([n; 16])
}

fn id(publisher: u8, number: u64) -> TaskId {
    TaskId { publisher: node(publisher), number }
}

fn at(millis: u64) -> Instant {
    Instant::from_micros(millis * 1000)
}

fn queue(max_tasks: usize) -> Queue {
    let pause = (Duration::from_millis(200), Duration::from_secs(10));
    Queue::new(max_tasks, Duration::from_secs(600), pause)
}

fn published(avoid: &[u8]) -> Published {
    Published {
        title: "true".into(),
        publisher: "p".into(),
        placement: Placement::Others,
        needs: Vec::new(),
        avoid: avoid.iter().copied().map(node).collect(),
    }
}

fn first(queue: &Queue, publisher: u8) -> Option<TaskId> {
    queue.heads(node(publisher)).next().map(|(_, id)| id)
}

#[test]
fn r2_publishing_twice_is_publishing_once() {
    let mut queue = queue(10);
    assert_eq!(queue.publish(at(0), id(1, 1), published(&[])), Publication::New);
    assert_eq!(queue.publish(at(1), id(1, 1), published(&[7])), Publication::Again);
    assert_eq!((queue.live(), queue.len()), (1, 1));
    assert!(queue.class(id(1, 1)).unwrap().avoids(node(7)), "its demands are the latest ones");
    queue.check_invariants(|_| true);
}

#[test]
fn a_full_table_keeps_nothing_of_a_newcomer_and_has_room_after_an_end() {
    let mut queue = queue(2);
    queue.publish(at(0), id(1, 1), published(&[]));
    queue.publish(at(0), id(1, 2), published(&[]));
    assert_eq!(queue.publish(at(0), id(1, 3), published(&[])), Publication::Full);
    assert_eq!(queue.publish(at(0), id(1, 2), published(&[])), Publication::Again);
    queue.set(at(0), id(1, 1), State::Ended(EndKind::Done));
    assert_eq!(queue.publish(at(0), id(1, 3), published(&[])), Publication::New);
    queue.check_invariants(|_| true);
}

#[test]
fn a_task_given_back_keeps_its_place() {
    let mut queue = queue(10);
    for number in 1..=3 {
        queue.publish(at(0), id(1, number), published(&[]));
    }
    queue.set(at(1), id(1, 1), State::Proposed { to: node(5), number: 1 });
    assert_eq!(first(&queue, 1), Some(id(1, 2)));
    queue.set(at(2), id(1, 1), State::Waiting);
    assert_eq!(first(&queue, 1), Some(id(1, 1)));
}

#[test]
fn publishers_come_in_turn() {
    let mut queue = queue(10);
    for publisher in [1, 2, 3] {
        queue.publish(at(0), id(publisher, 1), published(&[]));
    }
    let mut last = InstanceId::NONE;
    let mut seen = Vec::new();
    for _ in 0..4 {
        last = queue.next_publisher(last).unwrap();
        seen.push(last);
    }
    assert_eq!(seen, [1, 2, 3, 1].map(node));
}

#[test]
fn an_ended_task_stays_ended_and_is_forgotten_in_time() {
    let mut queue = queue(10);
    queue.publish(at(0), id(1, 1), published(&[]));
    queue.set(at(0), id(1, 1), State::Ended(EndKind::Cancelled));
    assert_eq!(queue.set(at(1), id(1, 1), State::Waiting), Some(State::Ended(EndKind::Cancelled)));
    assert_eq!(queue.publish(at(1), id(1, 1), published(&[])), Publication::Again);
    assert_eq!(queue.task(id(1, 1)).unwrap().state, State::Ended(EndKind::Cancelled));
    queue.forget_ended(at(599_999));
    assert_eq!((queue.len(), queue.deadline()), (1, Some(at(600_000))));
    queue.forget_ended(at(600_000));
    assert_eq!((queue.len(), queue.deadline()), (0, None));
}

#[test]
fn ended_tasks_are_remembered_up_to_their_bound() {
    let mut queue = queue(10);
    for number in 0..=MAX_REMEMBERED as u64 {
        queue.publish(at(0), id(1, number), published(&[]));
        queue.set(at(0), id(1, number), State::Ended(EndKind::Done));
    }
    assert_eq!(queue.len(), MAX_REMEMBERED);
    assert!(queue.task(id(1, 0)).is_none() && queue.task(id(1, 1)).is_some());
}

#[test]
fn a_decliner_is_left_alone_for_a_pause_that_grows() {
    let mut queue = queue(10);
    queue.publish(at(0), id(1, 1), published(&[]));
    queue.declined(at(0), id(1, 1), node(5));
    assert!(queue.class(id(1, 1)).unwrap().avoids(node(5)));
    assert_eq!(queue.deadline(), Some(at(200)));
    assert_eq!(queue.due(at(199)), None);
    assert_eq!(queue.due(at(200)), Some(id(1, 1)));
    assert!(!queue.class(id(1, 1)).unwrap().avoids(node(5)));
    queue.declined(at(200), id(1, 1), node(5));
    assert_eq!(queue.deadline(), Some(at(600)));
    for _ in 0..100 {
        queue.declined(at(600), id(1, 1), node(5));
    }
    assert_eq!(queue.deadline(), Some(at(10_600)), "never longer than the longest");
    queue.check_invariants(|_| true);
}

#[test]
fn a_task_that_many_gave_back_rests() {
    let mut queue = queue(10);
    queue.publish(at(0), id(1, 1), published(&[]));
    for member in 10..18 {
        queue.declined(at(0), id(1, 1), node(member));
    }
    assert_eq!(first(&queue, 1), None);
    assert_eq!(queue.waiting_publishers(), 0);
    assert_eq!(queue.open(node(1)).count(), 1, "and is still known to be open");
    assert_eq!(queue.due(at(200)), Some(id(1, 1)));
    assert_eq!(first(&queue, 1), Some(id(1, 1)));
    queue.check_invariants(|_| true);
}

#[test]
fn r3_a_gone_publisher_takes_its_tasks_along_but_not_what_had_ended() {
    let mut queue = queue(10);
    for number in 1..=3 {
        queue.publish(at(0), id(1, number), published(&[]));
    }
    queue.publish(at(0), id(2, 1), published(&[]));
    queue.set(at(0), id(1, 2), State::Taken { by: node(5), attempt: AttemptNumber(1) });
    queue.set(at(0), id(1, 3), State::Ended(EndKind::Done));
    let gone: Vec<_> = queue.remove_publisher(node(1)).into_iter().map(|(id, _)| id).collect();
    assert_eq!(gone, [id(1, 1), id(1, 2)]);
    assert_eq!((queue.live(), queue.len(), queue.held(node(5))), (1, 2, 0));
    queue.check_invariants(|publisher| publisher == node(2));
}

#[test]
fn a_name_finds_what_it_can_mean() {
    let mut queue = queue(10);
    for publisher in [0x1a, 0x1b, 0x2c] {
        for number in 1..=2 {
            queue.publish(at(0), id(publisher, number), published(&[]));
        }
    }
    let named = |text: &str| queue.named(&TaskName::parse(text).unwrap(), 16);
    assert_eq!(named("1a-2"), [id(0x1a, 2)]);
    assert_eq!(named("1-1"), [id(0x1a, 1), id(0x1b, 1)]);
    assert_eq!(named("3-1"), []);
    assert_eq!(named("1a-3"), []);
    assert_eq!(queue.named(&TaskName::parse("1-1").unwrap(), 1).len(), 1);
}

#[test]
fn a_long_title_is_cut_between_characters() {
    let mut queue = queue(10);
    let long = Published { title: "ä".repeat(101) + "x", ..published(&[]) };
    queue.publish(at(0), id(1, 1), Published { title: format!("x{}", long.title), ..long });
    assert_eq!(queue.task(id(1, 1)).unwrap().title.len(), 199);
}

#[derive(Clone, Debug)]
enum Op {
    Publish(u8, u64, Vec<u8>),
    Avoid(u8, u64, Vec<u8>),
    Wait(u8, u64),
    Propose(u8, u64, u8),
    Take(u8, u64, u8),
    End(u8, u64),
    Decline(u8, u64, u8),
    Gone(u8),
    Doubt(u8),
    Said(u8),
    Later(u64),
}

fn op() -> impl Strategy<Value = Op> {
    let who = || (1..4u8, 1..6u64);
    let avoid = || proptest::collection::vec(10..20u8, 0..3);
    prop_oneof![
        4 => (who(), avoid()).prop_map(|((p, n), a)| Op::Publish(p, n, a)),
        1 => (who(), avoid()).prop_map(|((p, n), a)| Op::Avoid(p, n, a)),
        2 => who().prop_map(|(p, n)| Op::Wait(p, n)),
        3 => (who(), 10..20u8).prop_map(|((p, n), m)| Op::Propose(p, n, m)),
        2 => (who(), 10..20u8).prop_map(|((p, n), m)| Op::Take(p, n, m)),
        1 => who().prop_map(|(p, n)| Op::End(p, n)),
        6 => (who(), 10..20u8).prop_map(|((p, n), m)| Op::Decline(p, n, m)),
        1 => (1..4u8).prop_map(Op::Gone),
        1 => (1..4u8).prop_map(Op::Doubt),
        1 => (1..4u8).prop_map(Op::Said),
        2 => (0..2_000u64).prop_map(Op::Later),
    ]
}

proptest! {
    /// Whatever happens in whatever order: every index equals a recount, and no waiting task is lost: it heads its class,
    /// stands behind another, or a timer brings it back.
    #[test]
    fn r6_random_operations_keep_the_table_consistent(ops in proptest::collection::vec(op(), 1..200)) {
        let mut queue = queue(10);
        let mut now = at(0);
        let mut number = 0;
        for op in ops {
            match op {
                Op::Publish(p, n, avoid) => { queue.publish(now, id(p, n), published(&avoid)); }
                Op::Avoid(p, n, avoid) => queue.avoid(id(p, n), avoid.into_iter().map(node).collect()),
                Op::Wait(p, n) => { queue.set(now, id(p, n), State::Waiting); }
                Op::Propose(p, n, m) => {
                    number += 1;
                    let task = queue.task(id(p, n)).map(|task| task.state);
                    if task.is_some_and(|state| !matches!(state, State::Ended(_))) {
                        queue.set(now, id(p, n), State::Proposed { to: node(m), number });
                        queue.arm(id(p, n), now + Duration::from_secs(1));
                    }
                }
                Op::Take(p, n, m) => {
                    queue.set(now, id(p, n), State::Taken { by: node(m), attempt: AttemptNumber(1) });
                }
                Op::End(p, n) => { queue.set(now, id(p, n), State::Ended(EndKind::Done)); }
                Op::Decline(p, n, m) => {
                    if queue.task(id(p, n)).is_some_and(|task| task.state == State::Waiting) {
                        queue.declined(now, id(p, n), node(m));
                    }
                }
                Op::Gone(p) => { queue.remove_publisher(node(p)); }
                Op::Doubt(p) => { queue.doubt(node(p)); }
                Op::Said(p) => {
                    queue.remove_doubted(node(p));
                    prop_assert!(!queue.is_in_doubt(node(p)));
                }
                Op::Later(millis) => {
                    now += Duration::from_millis(millis);
                    let mut turns = 0;
                    while let Some(due) = queue.due(now) {
                        turns += 1;
                        prop_assert!(turns < 100, "a timer that never moves on");
                        if queue.task(due).is_some_and(|task| task.state != State::Waiting) {
                            queue.arm(due, now + Duration::from_secs(1));
                        }
                    }
                    queue.forget_ended(now);
                }
            }
            queue.check_invariants(|_| true);
        }
    }
}
