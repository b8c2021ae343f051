//! Whatever breaks in whatever order: once it stops, every task ends, and nothing is left over (ledger X2, for the registry).
//!
//! The publishers here are the lock servers that PROTOCOL A describes, boiled down to one table; executors are scripted as an
//! executor behaves towards its registry.

use crate::world::*;
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use xxnet_core::message::*;
use xxnet_core::*;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Truth {
    Open,
    Held(Node, u64),
    Ended,
}

#[derive(Debug, Default)]
struct Hands {
    slots: u32,
    proposals: BTreeSet<TaskId>,
    running: BTreeMap<TaskId, u64>,
}

struct Model {
    world: World,
    publishers: Vec<Node>,
    executors: Vec<Node>,
    hands: BTreeMap<Node, Hands>,
    truth: BTreeMap<TaskId, Truth>,
    attempts: BTreeMap<TaskId, u64>,
}

#[derive(Clone, Debug)]
enum Op {
    Publish(usize),
    Work(usize),
    Finish(usize),
    Decline(usize, DeclineReason),
    Beat,
    Cut(usize),
    Link,
    Crash(usize),
    Lose(usize),
    Restart,
    Pass(f64),
}

fn op() -> impl Strategy<Value = Op> {
    let why = prop_oneof![
        Just(DeclineReason::Busy),
        Just(DeclineReason::Refused),
        Just(DeclineReason::Unreachable)
    ];
    prop_oneof![
        6 => (0..2usize).prop_map(Op::Publish),
        6 => (0..3usize).prop_map(Op::Work),
        4 => (0..3usize).prop_map(Op::Finish),
        2 => ((0..3usize), why).prop_map(|(e, why)| Op::Decline(e, why)),
        3 => Just(Op::Beat),
        2 => (0..5usize).prop_map(Op::Cut),
        3 => Just(Op::Link),
        1 => (0..3usize).prop_map(Op::Crash),
        1 => (0..3usize).prop_map(Op::Lose),
        1 => Just(Op::Restart),
        3 => (0.0..20.0f64).prop_map(Op::Pass),
    ]
}

impl Model {
    fn new() -> Self {
        let mut world = World::new();
        let publishers = vec![world.executor("p", 0), world.executor("q", 0)];
        let mut model = Self {
            world,
            publishers,
            executors: Vec::new(),
            hands: BTreeMap::new(),
            truth: BTreeMap::new(),
            attempts: BTreeMap::new(),
        };
        for slots in 1..=3 {
            model.hire(slots);
        }
        model
    }

    fn hire(&mut self, slots: u32) {
        let node = self.world.executor("e", slots);
        self.hands.insert(node, Hands { slots, ..Hands::default() });
        self.executors.push(node);
    }

    fn publisher_of(&self, task: TaskId) -> Node {
        *self.publishers.iter().find(|node| instance(**node) == task.publisher).unwrap()
    }

    fn tell(&mut self, task: TaskId, message: impl Into<Message>) {
        let publisher = self.publisher_of(task);
        if self.world.is_linked(publisher) {
            self.world.say(publisher, message);
        }
    }

    fn step(&mut self, op: Op) {
        match op {
            Op::Publish(p) => {
                let node = self.publishers[p];
                let publication = self.world.publication(node);
                self.truth.insert(publication.task, Truth::Open);
                self.tell(publication.task, publication);
            }
            Op::Work(e) => self.work(self.executors[e]),
            Op::Finish(e) => self.finish(self.executors[e]),
            Op::Decline(e, why) => {
                let node = self.executors[e];
                self.listen(node);
                if let Some(task) = self.hands.get_mut(&node).unwrap().proposals.pop_last() {
                    self.say(node, Decline { task, why });
                }
            }
            Op::Beat => self.beat(),
            Op::Cut(n) => {
                let node = self.publishers.iter().chain(&self.executors).copied().nth(n).unwrap();
                self.listen(node);
                self.world.cut(node);
            }
            Op::Link => self.link_all(),
            Op::Crash(e) => {
                let node = self.executors.remove(e);
                self.world.kill(node);
                let hands = self.hands.remove(&node).unwrap();
                for task in hands.running.into_keys() {
                    self.truth.insert(task, Truth::Open);
                    self.tell(task, Open { task, avoid: vec![instance(node)] });
                }
                self.hire(hands.slots);
            }
            // An entry is forgotten without a word: what a proposal that arrives at the wrong moment looks like.
            Op::Lose(e) => {
                let node = self.executors[e];
                self.listen(node);
                self.hands.get_mut(&node).unwrap().proposals.pop_first();
            }
            Op::Restart => self.world.restart_registry(),
            Op::Pass(seconds) => self.world.pass(seconds, &[]),
        }
    }

    fn say(&mut self, node: Node, message: impl Into<Message>) {
        if self.world.is_linked(node) {
            self.world.say(node, message);
        }
    }

    fn listen(&mut self, node: Node) {
        let heard = self.world.heard(node);
        let Some(hands) = self.hands.get_mut(&node) else { return };
        for message in heard {
            match message {
                Message::Assign(Assign { task, .. }) if !hands.running.contains_key(&task) => {
                    hands.proposals.insert(task);
                }
                Message::Withdraw(Withdraw { task }) => {
                    hands.proposals.remove(&task);
                }
                _ => {}
            }
        }
    }

    /// Claims while slots are free; the publishers decide.
    fn work(&mut self, node: Node) {
        self.listen(node);
        loop {
            let hands = self.hands.get_mut(&node).unwrap();
            if hands.running.len() >= hands.slots as usize {
                self.say(node, Heartbeat { free: 0 });
                break;
            }
            let Some(task) = hands.proposals.pop_first() else { break };
            if self.truth[&task] == Truth::Open {
                let attempt = self.attempts.entry(task).or_default();
                *attempt += 1;
                let attempt = *attempt;
                hands.running.insert(task, attempt);
                self.truth.insert(task, Truth::Held(node, attempt));
                self.tell(task, Taken { task, by: instance(node), attempt: AttemptNumber(attempt) });
            } else {
                self.say(node, Decline { task, why: DeclineReason::Refused });
            }
            self.listen(node);
        }
    }

    fn finish(&mut self, node: Node) {
        let hands = self.hands.get_mut(&node).unwrap();
        let Some((task, attempt)) = hands.running.pop_first() else { return };
        assert_eq!(self.truth[&task], Truth::Held(node, attempt));
        self.truth.insert(task, Truth::Ended);
        self.tell(task, Ended { task, how: EndKind::Done });
        self.beat();
    }

    fn beat(&mut self) {
        for node in self.publishers.clone() {
            self.say(node, Heartbeat { free: 0 });
        }
        for node in self.executors.clone() {
            let hands = &self.hands[&node];
            let free = hands.slots - u32::try_from(hands.running.len()).unwrap();
            self.say(node, Heartbeat { free });
        }
    }

    /// Whoever has lost its registry finds it again, and says all that it has to (PROTOCOL A10).
    fn link_all(&mut self) {
        for node in self.executors.clone() {
            self.listen(node);
            if !self.world.is_linked(node) {
                self.world.link(node);
                let hands = &self.hands[&node];
                let running = hands.running.iter().map(|(task, n)| (*task, AttemptNumber(*n))).collect();
                let proposed = hands.proposals.iter().copied().collect();
                self.world.say(node, Register { running, proposed, ..register("e", hands.slots) });
            }
        }
        for node in self.publishers.clone() {
            self.world.heard(node);
            if self.world.is_linked(node) {
                continue;
            }
            self.world.link(node);
            self.world.register(node, "p", 0);
            for (task, truth) in self.truth.clone() {
                if task.publisher != instance(node) {
                    continue;
                }
                match truth {
                    Truth::Open => self.world.say(node, publication(task)),
                    Truth::Held(by, attempt) => {
                        let taken = Some((instance(by), AttemptNumber(attempt)));
                        self.world.say(node, Publish { taken, ..publication(task) });
                    }
                    // Not even that is said again: the word of it may have been lost with any link.
                    Truth::Ended => {}
                }
            }
        }
    }

    fn heal(&mut self) {
        for _ in 0..200 {
            self.link_all();
            for node in self.executors.clone() {
                self.work(node);
                while !self.hands[&node].running.is_empty() {
                    self.finish(node);
                }
                self.work(node);
            }
            self.beat();
            self.world.pass(0.5, &[]);
            if self.truth.values().all(|truth| *truth == Truth::Ended) {
                return;
            }
        }
        let left: Vec<_> = self.truth.iter().filter(|(_, truth)| **truth != Truth::Ended).collect();
        panic!("{left:?} after 100 s without a fault; {:?}", self.world.answer(Question::Tasks));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, ..ProptestConfig::default() })]

    #[test]
    fn x2_after_any_faults_every_task_ends(ops in proptest::collection::vec(op(), 1..60)) {
        let mut model = Model::new();
        for op in ops {
            model.step(op);
        }
        model.heal();
        for _ in 0..10 {
            model.beat();
            model.world.pass(2.0, &[]);
        }
        let mut world = model.world;
        let Reply::Tasks { rows, .. } = world.answer(Question::Tasks) else { panic!() };
        prop_assert!(rows.iter().all(|row| matches!(row.state, TaskState::Ended(_))), "{rows:?}");
        let Reply::Nodes(rows) = world.answer(Question::Nodes) else { panic!() };
        prop_assert!(rows.iter().all(|row| row.proposed == 0), "{rows:?}");
        // Nobody says a word any more: all age out, and no timer is left.
        for node in model.publishers.into_iter().chain(model.executors) {
            world.kill(node);
        }
        world.pass(700.0, &[]);
        prop_assert_eq!(world.deadline(), None);
        prop_assert_eq!(world.census(), [0, 1, 0, 1]);
    }
}
