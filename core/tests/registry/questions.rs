//! What the command line asks, and the machine that asks it.

use crate::world::*;
use xxnet_core::client::ClientNotice;
use xxnet_core::connection::{DisconnectReason, KindId};
use xxnet_core::message::*;
use xxnet_core::net::NetError;
use xxnet_core::registry::{RegistryCommand, RegistryNotice};
use xxnet_core::*;

fn name(task: TaskId) -> TaskName {
    TaskName::parse(&task.to_string()).unwrap()
}

fn asks(heard: &[Message]) -> Vec<Ask> {
    let asked = |message: &Message| match message {
        Message::Ask(ask) => Some(ask.clone()),
        _ => None,
    };
    heard.iter().filter_map(asked).collect()
}

#[test]
fn a_question_about_a_task_goes_to_its_publisher_and_the_answer_back() {
    let mut world = World::new();
    let publisher = world.executor("p", 0);
    let task = world.publish(publisher);
    world.heard(publisher);
    let client = world.client();
    world.ask(client, Question::Cancel(name(task)));
    assert_eq!(world.answers(client), []);
    let asked = asks(&world.heard(publisher));
    let [Ask { request, question: Question::Cancel(full) }] = &asked[..] else { panic!("{asked:?}") };
    assert!(full.publisher.len() == 32 && full.matches(task), "{full:?}");
    let answer = Answer { request: *request, reply: Reply::Cancelled(task) };
    world.say(publisher, answer.clone());
    assert_eq!(world.answers(client), [ClientNotice::Answered(Reply::Cancelled(task))]);
    assert_eq!(world.client_census(client), [0; 4], "it has closed");
    world.say(publisher, answer);
    assert_eq!(world.answers(client), [], "once");
    assert!(world.is_linked(publisher), "an answer too late is no crime");
}

#[test]
fn a_silent_publisher_is_said_to_be() {
    let mut world = World::new();
    let publisher = world.executor("p", 0);
    let task = world.publish(publisher);
    let client = world.client();
    world.ask(client, Question::Why(name(task)));
    world.pass(9.9, &[(publisher, 0)]);
    assert_eq!(world.answers(client), []);
    world.pass(0.2, &[]);
    assert_eq!(world.answers(client), [ClientNotice::Answered(Reply::PublisherSilent(task))]);
}

#[test]
fn a_publisher_that_registers_again_is_asked_again() {
    let mut world = World::new();
    let publisher = world.executor("p", 0);
    let task = world.publish(publisher);
    world.cut(publisher);
    let client = world.client();
    world.ask(client, Question::Cancel(name(task)));
    world.link(publisher);
    world.say(publisher, register("p", 0));
    let asked = asks(&world.heard(publisher));
    assert_eq!(asked.len(), 1);
    world.say(publisher, Answer { request: asked[0].request, reply: Reply::Cancelled(task) });
    assert_eq!(world.answers(client), [ClientNotice::Answered(Reply::Cancelled(task))]);
}

#[test]
fn a_publisher_that_leaves_answers_nothing() {
    let mut world = World::new();
    let publisher = world.executor("p", 0);
    let task = world.publish(publisher);
    let client = world.client();
    world.ask(client, Question::Cancel(name(task)));
    world.say(publisher, Leave {});
    assert_eq!(world.answers(client), [ClientNotice::Answered(Reply::PublisherSilent(task))]);
}

#[test]
fn names_that_mean_nothing_several_or_something_over() {
    let mut world = World::new();
    let publisher = world.executor("p", 0);
    let task = world.publish(publisher);
    assert_eq!(world.answer(Question::Cancel(TaskName::parse("ff-1").unwrap())), Reply::NoSuchTask);
    world.end(task);
    assert_eq!(world.answer(Question::Cancel(name(task))), Reply::AlreadyEnded(task, EndKind::Done));
    assert_eq!(world.answer(Question::Why(name(task))), Reply::AlreadyEnded(task, EndKind::Done));
    // Every instance here begins with a 0.
    let other = world.executor("q", 0);
    let same = TaskId { publisher: instance(other), number: task.number };
    world.say(other, publication(same));
    let short = TaskName { publisher: "0".into(), number: task.number };
    assert_eq!(world.answer(Question::Why(short)), Reply::Ambiguous(vec![task, same]));
}

#[test]
fn tasks_are_listed_newest_first_with_where_they_stand() {
    let mut world = World::new();
    let publisher = world.executor("p", 0);
    let one = world.executor("one", 1);
    let tasks: Vec<TaskId> = (0..3).map(|_| world.publish(publisher)).collect();
    world.end(tasks[0]);
    world.take(tasks[1], one, 4);
    world.pass(2.0, &[]);
    let Reply::Tasks { rows, more } = world.answer(Question::Tasks) else { panic!() };
    let told: Vec<_> = rows.iter().map(|row| (row.task, row.state, row.executor.as_deref())).collect();
    assert_eq!(
        told,
        [
            (tasks[2], TaskState::Waiting(WaitReason::Proposed(instance(one))), Some("one")),
            (tasks[1], TaskState::Running(AttemptNumber(4)), Some("one")),
            (tasks[0], TaskState::Ended(EndKind::Done), None),
        ]
    );
    assert_eq!(more, 0);
    assert!(rows.iter().all(|row| row.publisher == "p" && row.title == "true" && row.since == 2_000_000));
}

#[test]
fn ended_tasks_are_forgotten_after_a_while() {
    let mut world = World::with(|limits| limits.remember = std::time::Duration::from_secs(60));
    let publisher = world.executor("p", 0);
    let task = world.publish(publisher);
    world.end(task);
    world.pass(59.0, &[(publisher, 0)]);
    assert_eq!(world.answer(Question::Why(name(task))), Reply::AlreadyEnded(task, EndKind::Done));
    world.pass(1.0, &[(publisher, 0)]);
    assert_eq!(world.answer(Question::Why(name(task))), Reply::NoSuchTask);
}

#[test]
fn a_list_too_long_for_one_pack_is_cut_and_counted() {
    let mut world = World::new();
    let publisher = world.executor(&"n".repeat(128), 0);
    let count = 5_000;
    world.checking = false;
    for _ in 0..count {
        let publication = Publish { title: "t".repeat(200), ..world.publication(publisher) };
        world.say(publisher, publication);
    }
    world.checking = true;
    let Reply::Tasks { rows, more } = world.answer(Question::Tasks) else { panic!() };
    assert!(rows.len() > 4_000, "{}", rows.len());
    assert_eq!(rows.len() as u64 + more, count);
    assert!(more > 0);
}

#[test]
fn an_asker_that_goes_away_is_forgotten() {
    let mut world = World::new();
    let publisher = world.executor("p", 0);
    let task = world.publish(publisher);
    let client = world.client();
    world.ask(client, Question::Cancel(name(task)));
    let asked = asks(&world.heard(publisher));
    world.kill(client);
    let census = world.census();
    world.say(publisher, Answer { request: asked[0].request, reply: Reply::Cancelled(task) });
    assert_eq!(world.census(), census);
    assert!(world.is_linked(publisher));
}

#[test]
fn a_registry_that_is_not_there_is_told_once() {
    let mut world = World::new();
    world.command(RegistryCommand::Shutdown);
    let client = world.client();
    world.ask(client, Question::Nodes);
    let refused = DisconnectReason::Net(NetError::Refused);
    assert_eq!(world.answers(client), [ClientNotice::Failed(refused)]);
    assert_eq!(world.client_census(client), [0; 4]);
}

#[test]
fn a_registry_that_never_answers_is_given_up_at_the_deadline() {
    let mut world = World::new();
    world.freeze(0);
    let client = world.client();
    world.ask(client, Question::Nodes);
    world.pass(15.1, &[]);
    let answers = world.answers(client);
    assert!(matches!(answers[..], [ClientNotice::Failed(_)]), "{answers:?}");
    world.pass(30.0, &[]);
    assert_eq!(world.answers(client), []);
    assert_eq!(world.client_census(client), [0; 4]);
}

#[test]
fn n9_an_asker_that_asks_nothing_or_does_not_close_is_closed() {
    let mut world = World::new();
    let peer = world.executor("p", 0);
    let silent = world.dial(peer, KindId::QUERY);
    let lingering = world.dial(peer, KindId::QUERY);
    let ask = Ask { request: 3, question: Question::Nodes };
    world.say_on(peer, lingering, Message::from(ask).into_pack());
    assert!(matches!(world.heard(peer)[..], [.., Message::Answer(Answer { request: 3, .. })]));
    let before = world.census();
    world.notices();
    world.pass(10.0, &[(peer, 0)]);
    assert_eq!(world.census()[3], before[3] - 2, "{silent} and {lingering} are closed");
    let turned = |n: &RegistryNotice| matches!(n, RegistryNotice::TurnedAway { .. });
    assert_eq!(world.notices().iter().filter(|notice| turned(notice)).count(), 2);
}
