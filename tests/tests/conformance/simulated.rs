//! What every runtime owes, of the simulator.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::net::IpAddr;
use std::rc::Rc;
use std::time::Duration;
use xxnet_core::{Action, Actions, Event, Instant, Machine};
use xxnet_sim::calm::Calm;
use xxnet_sim::context::ProcId;
use xxnet_sim::machine::{self, Brain};
use xxnet_tests::conformance::{Command, Node, Notice, Runtime, SCENARIOS, Subject, run};

/// What waits for a machine of the world, and what it has told: its own words, of which the world knows nothing.
#[derive(Debug, Default)]
struct Doors {
    commands: VecDeque<Command>,
    notices: VecDeque<Notice>,
}

/// The suite's machine in the world.
#[derive(Debug)]
struct Wired {
    subject: Subject,
    actions: Actions<Notice>,
    doors: Rc<RefCell<Doors>>,
}

impl Wired {
    fn feed(&mut self, now: Instant, event: Event<Command>, out: &mut Vec<Action<machine::Notice>>) {
        self.subject.handle(now, event, &mut self.actions);
        for action in self.actions.drain() {
            match action {
                Action::Net(action) => out.push(Action::Net(action)),
                Action::Disk(action) => out.push(Action::Disk(action)),
                Action::Process(action) => out.push(Action::Process(action)),
                Action::Notify(notice) => self.doors.borrow_mut().notices.push_back(notice),
            }
        }
    }
}

impl Brain for Wired {
    fn handle(
        &mut self,
        now: Instant,
        event: Event<machine::Command>,
        out: &mut Vec<Action<machine::Notice>>,
    ) {
        let event = match event {
            Event::Net(event) => Event::Net(event),
            Event::Disk(event) => Event::Disk(event),
            Event::Process(event) => Event::Process(event),
            Event::Tick | Event::Command(_) => {
                while let Some(command) = self.take() {
                    self.feed(now, Event::Command(command), out);
                }
                // A poke is no tick; only the machine's own deadline is.
                if self.subject.deadline().is_none_or(|deadline| deadline > now) {
                    return;
                }
                Event::Tick
            }
        };
        self.feed(now, event, out);
    }

    fn deadline(&self) -> Option<Instant> {
        self.subject.deadline()
    }

    fn check_invariants(&self) {
        self.subject.check_invariants();
    }

    fn census(&self) -> [usize; 4] {
        [0; 4]
    }

    fn unfinished(&self) -> Vec<(&'static str, usize)> {
        Vec::new()
    }
}

impl Wired {
    fn take(&self) -> Option<Command> {
        self.doors.borrow_mut().commands.pop_front()
    }
}

/// The simulator as a runtime under test.
pub(crate) struct Simulated {
    world: Calm,
    nodes: Vec<(ProcId, Rc<RefCell<Doors>>)>,
}

impl Simulated {
    pub(crate) fn new(seed: u64) -> Self {
        Self { world: Calm::new(seed), nodes: Vec::new() }
    }
}

impl Runtime for Simulated {
    fn start(&mut self, subject: Subject) {
        let doors = Rc::new(RefCell::new(Doors::default()));
        let wired = Wired { subject, actions: Actions::new(), doors: Rc::clone(&doors) };
        let proc = self.world.start(format!("node-{}", self.nodes.len()), Box::new(wired));
        self.nodes.push((proc, doors));
    }

    fn command(&mut self, node: Node, command: Command) {
        let (proc, doors) = &self.nodes[node];
        doors.borrow_mut().commands.push_back(command);
        self.world.poke(*proc);
    }

    fn next(&mut self, node: Node, within: Duration) -> Option<Notice> {
        let doors = &self.nodes[node].1;
        self.world.run(within, || doors.borrow_mut().notices.pop_front())
    }

    fn stop(&mut self, node: Node) {
        self.world.kill(self.nodes[node].0);
    }

    fn now(&self) -> Duration {
        Duration::from_micros(self.world.now())
    }

    fn ip(&self) -> IpAddr {
        self.world.ip()
    }

    fn has_ipv6(&self) -> bool {
        false
    }
}

xxnet_tests::for_each_scenario! { xxnet_tests::conformance_tests! [Simulated::new(1)] }

#[test]
fn the_same_in_other_orders_and_with_other_delays() {
    for seed in 2..5 {
        for (name, _) in SCENARIOS {
            run(name, &mut Simulated::new(seed));
        }
    }
}
