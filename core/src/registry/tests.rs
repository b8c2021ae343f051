//! Efficiency, counted and not timed: what the registry hears is put to it without a network.

use super::sessions::{Session, Standing};
use super::{Registry, Stage};
use crate::machine::Actions;
use crate::message::{EndKind, Ended, Heartbeat, Message, Placement, Publish, Register, Taken};
use crate::net::Endpoint;
use crate::{AttemptNumber, ClusterKey, Config, ConnectionId, InstanceId, Instant, TaskId};
use alloc::collections::VecDeque;
use alloc::vec::Vec;

/// A registry with members that are linked by word alone; what it sends is lost, its tables are the truth.
struct Bench {
    registry: Registry,
    actions: Actions<super::RegistryNotice>,
    members: u64,
}

fn node(n: u64) -> InstanceId {
    let mut id = [0; 16];
    id[..8].copy_from_slice(&n.to_be_bytes());
    InstanceId(id)
}

impl Bench {
    fn new() -> Self {
        let mut registry = Registry::new(Config::new(node(u64::MAX), "registry", ClusterKey([0; 32]), 1));
        registry.stage = Stage::Running;
        Self { registry, actions: Actions::new(), members: 0 }
    }

    fn join(&mut self, slots: u32) -> InstanceId {
        self.members += 1;
        let member = node(self.members);
        let [socket, local] = ["10.0.0.9:5000", "10.0.0.1:7000"].map(|at| Endpoint::Ip(at.parse().unwrap()));
        let session = Session { peer: member, socket, local, standing: Standing::Newcomer };
        let id = ConnectionId(self.members);
        assert!(self.registry.sessions.open(id, session, Instant::FAR_FUTURE));
        let register = Register {
            name: "member".into(),
            address: "10.0.0.9:7000".parse().unwrap(),
            slots,
            client: false,
            labels: Vec::new(),
            running: Vec::new(),
            proposed: Vec::new(),
        };
        self.hear(member, register);
        member
    }

    fn hear(&mut self, member: InstanceId, message: impl Into<Message>) {
        let number = u64::from_be_bytes(member.0[..8].try_into().unwrap());
        let id = ConnectionId(number);
        let session = self.registry.sessions.session(id).unwrap();
        self.registry.message(Instant::ZERO, id, session, message.into(), &mut self.actions);
        self.registry.work(Instant::ZERO, &mut self.actions);
        self.actions.drain().for_each(drop);
    }

    fn publish(&mut self, publisher: InstanceId, number: u64) -> TaskId {
        let task = TaskId { publisher, number };
        let publish = Publish {
            task,
            title: "true".into(),
            placement: Placement::Others,
            publisher: "10.0.0.9:7000".parse().unwrap(),
            taken: None,
            avoid: Vec::new(),
        };
        self.hear(publisher, publish);
        task
    }

    /// Runs everything that is proposed, until nothing is left. How many attempts there were.
    fn run_out(&mut self, executors: &[InstanceId]) -> u64 {
        let mut attempts = 0;
        let mut turn: VecDeque<InstanceId> = executors.iter().copied().collect();
        let mut idle = 0;
        while idle < turn.len() {
            let by = turn.pop_front().unwrap();
            turn.push_back(by);
            let Some(task) = self.registry.capacity.proposals(by).first().copied() else {
                idle += 1;
                continue;
            };
            idle = 0;
            attempts += 1;
            self.hear(task.publisher, Taken { task, by, attempt: AttemptNumber(1) });
            self.hear(task.publisher, Ended { task, how: EndKind::Done });
        }
        attempts
    }
}

#[test]
fn fifty_thousand_tasks_cost_a_few_steps_each() {
    let mut bench = Bench::new();
    let publisher = bench.join(0);
    let executors: Vec<InstanceId> = (0..200).map(|_| bench.join(2)).collect();
    let tasks = 50_000;
    (1..=tasks).for_each(|number| {
        bench.publish(publisher, number);
    });
    assert_eq!(bench.run_out(&executors), tasks, "each once");
    let each = bench.registry.effort() / tasks;
    assert!(each <= 8, "{each} steps a task");
}

#[test]
fn tasks_that_nobody_may_run_cost_nothing_while_others_work() {
    let mut bench = Bench::new();
    // The publisher has the most free slots of all, and may not run its own tasks.
    let publisher = bench.join(1_000);
    let stuck = 10_000;
    (1..=stuck).for_each(|number| {
        bench.publish(publisher, number);
    });
    let other = bench.join(0);
    let before = bench.registry.effort();
    let rounds = 10_000;
    for number in 1..=rounds {
        let task = bench.publish(other, number);
        bench.hear(other, Taken { task, by: publisher, attempt: AttemptNumber(1) });
        bench.hear(other, Ended { task, how: EndKind::Done });
    }
    let each = (bench.registry.effort() - before) / rounds;
    assert!(each <= 24, "{each} steps a task");
}

#[test]
fn heartbeats_of_a_full_cluster_cost_nothing() {
    let mut bench = Bench::new();
    let publisher = bench.join(0);
    let executors: Vec<InstanceId> = (0..100).map(|_| bench.join(1)).collect();
    (1..=10_000).for_each(|number| {
        bench.publish(publisher, number);
    });
    let before = bench.registry.effort();
    for executor in &executors {
        bench.hear(*executor, Heartbeat { free: 1 });
    }
    assert_eq!(bench.registry.effort() - before, 0);
}
