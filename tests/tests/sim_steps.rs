//! Cases that need one certain moment of a task's life, forced: the world is stopped behind one message, and what the case
//! asks for happens there. The oracles watch as in any seed.

use core::time::Duration;
use xxnet_core::AttemptNumber;
use xxnet_core::connection::KindId;
use xxnet_core::executor::ExecutorNotice;
use xxnet_core::message::{Message, Renew, Renewed, StopReason, Withdraw};
use xxnet_core::process::Stream;
use xxnet_sim::Setup;
use xxnet_sim::fault::Fault;
use xxnet_sim::lab::{Door, Given, Lab, Task};
use xxnet_sim::script::{Step, content};

const fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

const SECOND: u64 = 1_000_000;
const REGISTRATION: KindId = KindId::REGISTRATION;
const TASK: KindId = KindId::TASK;
const FILE: KindId = KindId::FILE;

/// Who says a message of a task's life, and to whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    PublisherToRegistry,
    RegistryToPublisher,
    RegistryToAssignee,
    AssigneeToPublisher,
    PublisherToAssignee,
}
use Way::*;

/// Every message of a task's life, in order: the ten steps, the file request's four, the run, the result, the end. Steps 3 and 7
/// (a connection is made) have no message of their own; steps 4 and 8 (it is dialled) go with its Hello.
const LIFE: [(Way, KindId, &str); 31] = [
    (PublisherToRegistry, REGISTRATION, "Publish"),
    (RegistryToPublisher, REGISTRATION, "Accepted"),
    (RegistryToAssignee, REGISTRATION, "Assign"),
    (RegistryToPublisher, REGISTRATION, "Waits"),
    (AssigneeToPublisher, TASK, "Hello"),
    (PublisherToAssignee, TASK, "Welcome"),
    (AssigneeToPublisher, TASK, "Confirm"),
    (AssigneeToPublisher, TASK, "Claim"),
    (PublisherToRegistry, REGISTRATION, "Taken"),
    (PublisherToAssignee, TASK, "GrantedFiles"),
    (PublisherToAssignee, TASK, "Input"),
    (AssigneeToPublisher, FILE, "Hello"),
    (PublisherToAssignee, FILE, "Welcome"),
    (AssigneeToPublisher, FILE, "Confirm"),
    (AssigneeToPublisher, TASK, "FileRequest"),
    (PublisherToAssignee, FILE, "FileBegin"),
    (PublisherToAssignee, FILE, "Block"),
    (PublisherToAssignee, FILE, "FileEnd"),
    (AssigneeToPublisher, TASK, "Started"),
    (AssigneeToPublisher, TASK, "InputTaken"),
    (AssigneeToPublisher, TASK, "Output"),
    (PublisherToAssignee, TASK, "OutputTaken"),
    (AssigneeToPublisher, TASK, "Renew"),
    (PublisherToAssignee, TASK, "Renewed"),
    (AssigneeToPublisher, TASK, "Finished"),
    (PublisherToAssignee, TASK, "FileRequest"),
    (AssigneeToPublisher, FILE, "FileBegin"),
    (AssigneeToPublisher, FILE, "Block"),
    (AssigneeToPublisher, FILE, "FileEnd"),
    (PublisherToAssignee, TASK, "Done"),
    (PublisherToRegistry, REGISTRATION, "Ended"),
];

/// The connections of a task's life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Connection {
    PublishersRegistration,
    AssigneesRegistration,
    Task,
    File,
}

impl Connection {
    const ALL: [Self; 4] =
        [Self::PublishersRegistration, Self::AssigneesRegistration, Self::Task, Self::File];

    /// Who has dialled it, and its kind.
    fn of(self, assignee: &str) -> (&str, KindId) {
        match self {
            Self::PublishersRegistration => ("publisher-1", REGISTRATION),
            Self::AssigneesRegistration => (assignee, REGISTRATION),
            Self::Task => (assignee, TASK),
            Self::File => (assignee, FILE),
        }
    }

    /// Whether it is there once this message of [`LIFE`] was sent.
    fn is_there(self, message: usize) -> bool {
        let hello = |kind| {
            LIFE.iter().position(|(_, of, name)| (*of, *name) == (kind, "Hello")).expect("it is dialled")
        };
        match self {
            Self::PublishersRegistration | Self::AssigneesRegistration => true,
            Self::Task => message >= hello(TASK),
            Self::File => message >= hello(FILE),
        }
    }
}

/// A task with everything that a task can have; two executors could run it.
fn life() -> (Lab, Given) {
    let mut lab = Lab::settled(20, Setup::calm(1, &[1, 1]));
    let copy = Step::Copy(b"in".to_vec(), b"out".to_vec());
    let script = vec![copy, Step::Cat, Step::Sleep(4 * SECOND), Step::Who];
    let task =
        Task::new(script).input(b"in", content(1, 1_500_000)).output(b"out").stdin(content(2, 100_000));
    let task = lab.publish("publisher-1", task);
    (lab, task)
}

/// Who gets the task if nothing disturbs it; every message that then is said on these connections stands in [`LIFE`].
fn undisturbed() -> String {
    let (mut lab, task) = life();
    lab.done(task, secs(30));
    let assignee = lab.holder(task).expect("held").1;
    for (node, kind) in Connection::ALL.map(|connection| connection.of(&assignee)) {
        for (_, name) in
            Message::ALL.iter().filter(|(_, name)| !["Register", "Registered", "Heartbeat"].contains(name))
        {
            let said = Door::BOTH.iter().any(|door| lab.passed(node, *door, kind, name) > 0);
            let known = LIFE.iter().any(|(_, of, message)| (*of, message) == (kind, name));
            assert!(known || !said, "{name} is said on a {kind} connection and does not stand in LIFE");
        }
    }
    lab.finish();
    assignee
}

/// Stops the world behind a message of [`LIFE`].
fn stop_behind(lab: &mut Lab, assignee: &str, message: usize, door: Door) {
    let (way, kind, name) = LIFE[message];
    let (speaker, hearer) = match way {
        PublisherToRegistry => ("publisher-1", "registry-1"),
        RegistryToPublisher => ("registry-1", "publisher-1"),
        RegistryToAssignee => ("registry-1", assignee),
        AssigneeToPublisher => (assignee, "publisher-1"),
        PublisherToAssignee => ("publisher-1", assignee),
    };
    let at = if door == Door::Sent { speaker } else { hearer };
    lab.catch(Some(at), door, kind, name, secs(20));
}

/// One link breaks behind one message; the task is done all the same, by its one attempt.
fn breaks_and_is_done(assignee: &str, message: usize, door: Door, connection: Connection, how: Fault) {
    println!("{how}: {connection:?}, behind {:?} {door:?}", LIFE[message]);
    let (mut lab, task) = life();
    stop_behind(&mut lab, assignee, message, door);
    let (node, kind) = connection.of(assignee);
    let broken = lab.break_link(node, kind, how);
    assert!(broken || !connection.is_there(message), "there is no such link to break");
    lab.done(task, secs(60));
    assert_eq!((lab.runs(task), lab.holder(task).expect("held").0), (1, 1), "it is run once");
    let misbehaved = |n: &ExecutorNotice| matches!(n, ExecutorNotice::Misbehaved { .. });
    assert_eq!([lab.count("publisher-1", misbehaved), lab.count(assignee, misbehaved)], [0, 0]);
    for node in ["publisher-1", assignee] {
        let asked = lab.passed(node, Door::Sent, TASK, "FileRequest");
        assert!(asked <= 4, "{node} asks {asked} times for its file");
    }
    assert!(lab.output_file(task, 0));
    assert_eq!(lab.output(task, Stream::Stdout), [content(2, 100_000), b"attempt 1\n".to_vec()].concat());
    lab.finish();
}

/// Behind each single message, sent and not received, or received and not answered, each of the connections breaks.
fn each_connection_breaks_behind_each_step(ways: &[Fault]) {
    let assignee = undisturbed();
    for how in ways {
        for message in 0..LIFE.len() {
            for (door, connection) in
                Door::BOTH.into_iter().flat_map(|door| Connection::ALL.map(|of| (door, of)))
            {
                breaks_and_is_done(&assignee, message, door, connection, *how);
            }
        }
    }
}

#[test]
fn t2_each_connection_breaks_behind_each_step() {
    each_connection_breaks_behind_each_step(&[Fault::ResetBoth, Fault::ResetSender, Fault::ResetReceiver]);
}

#[test]
fn t2_each_connection_falls_silent_behind_each_step() {
    each_connection_breaks_behind_each_step(&[Fault::HalfOpen, Fault::OneWay]);
}

/// A command that writes all the time: on a new link nothing of it goes out before the publisher has said how much it has.
#[test]
fn t2_output_goes_on_behind_a_break_without_a_gap() {
    let mut lab = Lab::settled(21, Setup::calm(1, &[1]));
    let script = (0..200).flat_map(|seed| [Step::Out(seed, 2_000), Step::Sleep(SECOND / 200)]).collect();
    let task = lab.publish("publisher-1", Task::new(script));
    for _ in 0..3 {
        lab.catch(Some("executor-1"), Door::Sent, TASK, "Output", secs(5));
        assert!(lab.break_link("executor-1", TASK, Fault::ResetBoth));
        // The grant of the new link takes its time, and the command does not wait for it.
        lab.catch(Some("executor-1"), Door::Sent, TASK, "Claim", secs(5));
        lab.cut("publisher-1", "executor-1");
        lab.run_for(Duration::from_millis(50));
        lab.mend();
    }
    lab.done(task, secs(30));
    assert_eq!(lab.runs(task), 1);
    assert_eq!(lab.count("publisher-1", |n| matches!(n, ExecutorNotice::Misbehaved { .. })), 0);
    lab.finish();
}

/// An assignment and a grant, each said twice at once and once more while the command runs: one claim, one attempt, one run.
#[test]
fn t3_an_assignment_and_a_grant_said_twice_start_nothing_twice() {
    let mut lab = Lab::settled(30, Setup::calm(1, &[2]));
    let script = vec![Step::Out(1, 50_000), Step::Sleep(2 * SECOND), Step::Who];
    let task = lab.publish("publisher-1", Task::new(script).input(b"in", content(3, 1000)));
    let assign = lab.catch(Some("registry-1"), Door::Sent, REGISTRATION, "Assign", secs(1));
    lab.say(&assign, assign.message());
    let grant = lab.catch(Some("publisher-1"), Door::Sent, TASK, "GrantedFiles", secs(1));
    lab.say(&grant, grant.message());
    lab.run_until("its command runs", secs(1), |lab| lab.alive().len() == 1);
    lab.run_for(secs(1));
    lab.say(&assign, assign.message());
    lab.say(&grant, grant.message());
    lab.done(task, secs(5));
    let heard = |kind, name| lab.passed("executor-1", Door::Received, kind, name);
    assert_eq!(
        (heard(REGISTRATION, "Assign"), heard(TASK, "GrantedFiles")),
        (3, 3),
        "each was said three times"
    );
    assert_eq!(lab.passed("executor-1", Door::Sent, TASK, "Claim"), 1);
    assert_eq!(lab.count("executor-1", |n| matches!(n, ExecutorNotice::AttemptGranted { .. })), 1);
    assert_eq!((lab.runs(task), lab.holder(task).expect("held").0), (1, 1));
    assert_eq!(lab.output(task, Stream::Stdout), [content(1, 50_000), b"attempt 1\n".to_vec()].concat());
    lab.finish();
}

/// An assignment, a grant and a withdrawal of a task that has ended, behind its `Done` at once and a second later: nothing is
/// started, and no slot, folder or word is owed for it.
#[test]
fn t3_assign_grant_and_withdraw_behind_the_end_start_nothing() {
    for (seed, later) in [(31, Duration::ZERO), (32, secs(1))] {
        let mut lab = Lab::settled(seed, Setup::calm(1, &[1]));
        let task = Task::new(vec![Step::Make(b"out".to_vec(), 1, 100)]).output(b"out");
        let task = lab.publish("publisher-1", task);
        let assign = lab.catch(Some("registry-1"), Door::Sent, REGISTRATION, "Assign", secs(1));
        let grant = lab.catch(Some("publisher-1"), Door::Sent, TASK, "Granted", secs(1));
        lab.catch(Some("executor-1"), Door::Received, TASK, "Done", secs(5));
        assert!(lab.ending(task).is_some());
        lab.run_until("its folder is gone", secs(1), |lab| lab.held_on_disk("executor-1") == (0, 0));
        lab.run_for(later);
        let withdraw = Message::Withdraw(Withdraw { task: lab.id(task).expect("published") });
        lab.say(&grant, grant.message());
        for message in [withdraw.clone(), assign.message(), withdraw] {
            lab.say(&assign, message);
        }
        lab.run_for(secs(5));
        let heard = |kind, name| lab.passed("executor-1", Door::Received, kind, name);
        assert_eq!(
            [heard(REGISTRATION, "Assign"), heard(REGISTRATION, "Withdraw"), heard(TASK, "Granted")],
            [2; 3]
        );
        assert_eq!(lab.passed("executor-1", Door::Sent, TASK, "Stopped"), 1, "the grant is given back");
        assert_eq!(lab.passed("executor-1", Door::Sent, REGISTRATION, "Decline"), 1, "so is the assignment");
        assert_eq!(lab.count("executor-1", |n| matches!(n, ExecutorNotice::AttemptGranted { .. })), 1);
        assert_eq!((lab.runs(task), lab.held_on_disk("executor-1")), (1, (0, 0)));
        // The one slot is free.
        let next = lab.publish("publisher-1", Task::sleeping(secs(1)));
        lab.done(next, secs(5));
        lab.finish();
    }
}

/// The publisher dies behind its grant, before the command has started: with an input that never comes nothing starts; without one
/// the command starts and is ended with the lease. No folder stays in either case.
#[test]
fn t6_a_publisher_that_goes_between_grant_and_start_ends_its_attempt_and_folder() {
    let input = |task: Task| task.input(b"in", content(4, 3 << 20));
    let moments = [
        (TASK, "Granted", false),
        (TASK, "GrantedFiles", true),
        (FILE, "FileBegin", true),
        (FILE, "Block", true),
    ];
    for (seed, (kind, name, with_input)) in (60..).zip(moments) {
        let mut lab = Lab::settled(seed, Setup::calm(1, &[1]));
        let task = Task::sleeping(secs(100));
        let task = lab.publish("publisher-1", if with_input { input(task) } else { task });
        lab.catch(Some("executor-1"), Door::Received, kind, name, secs(1));
        assert_eq!((lab.runs(task), lab.alive().len()), (0, 0), "it has not started");
        lab.kill("publisher-1");
        lab.run_for(secs(1));
        assert_eq!(lab.held_on_disk("executor-1").0, 1, "the attempt is there for as long as its lease");
        let over = |n: &ExecutorNotice| {
            matches!(n, ExecutorNotice::AttemptStopped { why: StopReason::LeaseOver, .. })
        };
        lab.run_until("the attempt is ended", secs(12), |lab| lab.count("executor-1", over) == 1);
        lab.run_until("nothing of it is left", secs(1), |lab| {
            lab.alive().is_empty() && lab.held_on_disk("executor-1") == (0, 0)
        });
        assert_eq!(lab.runs(task), u32::from(!with_input), "seed {seed}");
        lab.finish();
    }
}

/// The executor dies behind the end of its command, before the publisher has its result: the task is granted anew to the other one,
/// and ends once.
#[test]
fn t7_an_assignee_that_dies_between_run_and_result_is_replaced() {
    let finished = |n: &ExecutorNotice| matches!(n, ExecutorNotice::AttemptFinished { .. });
    // Its outputs are being scanned; its result is under way; the publisher has the result and pulls the files.
    for (seed, moment) in [(70, "scanning"), (71, "under way"), (72, "pulling")] {
        let mut lab = Lab::settled(seed, Setup::calm(1, &[1, 1]));
        let script = vec![Step::Sleep(SECOND), Step::Sign(b"out".to_vec()), Step::Who];
        let task = lab.publish("publisher-1", Task::new(script).output(b"out"));
        lab.run_until("its command runs", secs(5), |lab| lab.alive().len() == 1);
        let node = lab.holder(task).expect("held").1;
        lab.run_until("its command has ended", secs(5), |lab| lab.count(&node, finished) == 1);
        assert_eq!(lab.passed(&node, Door::Sent, TASK, "Finished"), 0, "the outputs are scanned first");
        match moment {
            "scanning" => {}
            "under way" => {
                lab.catch(Some(&node), Door::Sent, TASK, "Finished", secs(1));
                // Lost with the link: the last word of a dead process is no more than that.
                assert!(lab.break_link(&node, TASK, Fault::HalfOpen));
            }
            _ => {
                lab.catch(Some(&node), Door::Received, TASK, "FileRequest", secs(1));
            }
        }
        assert_eq!(
            lab.passed("publisher-1", Door::Received, TASK, "Finished"),
            usize::from(moment == "pulling")
        );
        lab.kill(&node);
        assert!(lab.ending(task).is_none());
        // Its death is proven at once, unless the link broke before it.
        let most = secs(if moment == "under way" { 20 } else { 5 });
        lab.run_until("it is granted anew", most, |lab| {
            lab.holder(task).is_some_and(|(attempt, _)| attempt == 2)
        });
        lab.done(task, secs(10));
        let (attempt, second) = lab.holder(task).expect("held");
        assert_eq!((lab.runs(task), attempt), (2, 2), "{moment}");
        assert_ne!(second, node);
        assert_eq!(lab.output(task, Stream::Stdout), b"attempt 2\n");
        lab.finish();
    }
}

/// Somebody's command that runs for long, with its executor's next renewal: when that was sent, and when it has come.
fn renewing(seed: u64) -> (Lab, Given, String, [u64; 2]) {
    let mut lab = Lab::settled(seed, Setup::calm(1, &[1, 1]));
    let task = lab.publish("publisher-1", Task::sleeping(secs(60)));
    lab.run_until("its command runs", secs(5), |lab| lab.alive().len() == 1);
    let node = lab.holder(task).expect("held").1;
    lab.catch(Some(&node), Door::Sent, TASK, "Renew", secs(4));
    let sent = lab.now();
    lab.catch(Some("publisher-1"), Door::Received, TASK, "Renew", secs(1));
    let come = lab.now();
    (lab, task, node, [sent, come])
}

/// Two renewals under way, the first one's acknowledgement held back until the second is sent, the second one lost: the executor
/// ends its attempt 12 s behind the first, and the publisher grants anew 15 s behind the coming of the first.
#[test]
fn t14_an_acknowledgement_counts_from_its_own_renewal() {
    let (mut lab, task, node, [sent, come]) = renewing(150);
    lab.part("publisher-1", &node);
    lab.catch(Some(&node), Door::Sent, TASK, "Renew", secs(4));
    assert!(lab.now() >= sent + 3 * SECOND && lab.passed(&node, Door::Received, TASK, "Renewed") == 0);
    lab.mend();
    lab.cut(&node, "publisher-1");
    lab.catch(Some(&node), Door::Received, TASK, "Renewed", secs(3));
    lab.run_for(Duration::from_micros(sent + 12 * SECOND - 50_000 - lab.now()));
    assert_eq!(lab.alive().len(), 1, "it runs until its deadline");
    lab.run_for(Duration::from_millis(100));
    assert_eq!(lab.alive().len(), 0, "and not a moment longer");
    lab.run_until("it is granted anew", secs(5), |lab| {
        lab.holder(task).is_some_and(|(attempt, _)| attempt == 2)
    });
    assert!(
        (come + 15 * SECOND..come + 16 * SECOND).contains(&lab.now()),
        "granted anew at {}, {come}",
        lab.now()
    );
    assert_eq!(lab.passed("publisher-1", Door::Received, TASK, "Renew"), 1, "the second is lost");
    lab.mend();
    lab.done(task, secs(90));
    lab.finish();
}

/// The first of two renewals comes once more behind the second, so its acknowledgement does too: the deadline stays where the second
/// one's has put it.
#[test]
fn t14_an_acknowledgement_behind_a_later_one_moves_no_deadline_back() {
    let (mut lab, task, node, [first, _]) = renewing(151);
    let acknowledged = lab.catch(Some(&node), Door::Received, TASK, "Renewed", secs(1)).message();
    let second = lab.catch(Some(&node), Door::Sent, TASK, "Renew", secs(4));
    let sent = lab.now();
    let (Message::Renewed(Renewed { stamp, current, .. }), Message::Renew(renew)) =
        (acknowledged, second.message())
    else {
        panic!("a renewal and its acknowledgement");
    };
    assert!(stamp < renew.stamp && current == renew.attempts && sent >= first + 3 * SECOND);
    lab.say(&second, Message::Renew(Renew { stamp, ..renew }));
    for _ in 0..2 {
        lab.catch(Some(&node), Door::Received, TASK, "Renewed", secs(1));
    }
    // No word gets through any more: what counts now is the deadline as it stands.
    lab.part("publisher-1", &node);
    lab.run_for(Duration::from_micros(sent + 12 * SECOND - 50_000 - lab.now()));
    assert_eq!(lab.alive().len(), 1, "it runs until 12 s behind the second renewal");
    lab.run_for(Duration::from_millis(100));
    assert_eq!(lab.alive().len(), 0);
    lab.mend();
    lab.done(task, secs(90));
    lab.finish();
}

/// The publisher's next word to a command's executor is a no for another attempt of its task: that one is not there, and the one that
/// is goes on.
#[test]
fn t14_a_no_that_is_late_buries_no_later_attempt() {
    let (mut lab, task, node, _) = renewing(152);
    let renewed = lab.catch(Some("publisher-1"), Door::Sent, TASK, "Renewed", secs(4));
    let Message::Renewed(Renewed { stamp, current, not }) = renewed.message() else { panic!("an answer") };
    let [(id, held)] = current[..] else { panic!("one attempt") };
    assert!(not.is_empty());
    let other = AttemptNumber(held.0 + 1);
    lab.say(&renewed, Message::Renewed(Renewed { stamp, current: Vec::new(), not: vec![(id, other)] }));
    let before = lab.passed(&node, Door::Received, TASK, "Renewed");
    lab.run_for(secs(1));
    assert_eq!(lab.passed(&node, Door::Received, TASK, "Renewed"), before + 2);
    assert_eq!(lab.alive().len(), 1, "the attempt that nobody spoke of was stopped");
    lab.done(task, secs(90));
    assert_eq!((lab.runs(task), lab.holder(task).expect("held").0), (1, 1));
    lab.finish();
}

/// An attempt that is told to stop says that it has once its last process is reaped, three seconds later: until then nobody else may
/// run the task.
#[test]
fn t14_stopped_is_not_said_before_all_is_reaped() {
    let mut lab = Lab::settled(153, Setup::calm(1, &[1, 1]));
    let task = lab.publish(
        "publisher-1",
        Task::new(vec![Step::Stubborn(3 * SECOND), Step::Sleep(20 * SECOND), Step::Who]),
    );
    lab.run_until("its command runs", secs(5), |lab| lab.alive().len() == 1);
    let node = lab.holder(task).expect("held").1;
    let renewed = lab.catch(Some("publisher-1"), Door::Sent, TASK, "Renewed", secs(5));
    let Message::Renewed(Renewed { stamp, current, .. }) = renewed.message() else { panic!("an answer") };
    lab.say(&renewed, Message::Renewed(Renewed { stamp, current: Vec::new(), not: current }));
    let told = lab.now();
    lab.catch(Some(&node), Door::Sent, TASK, "Stopped", secs(6));
    assert!(lab.now() >= told + 3 * SECOND, "it was said while the command lived");
    assert_eq!(lab.alive().len(), 0);
    lab.done(task, secs(60));
    lab.finish();
}
