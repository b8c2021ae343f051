//! Makes a failing plan smaller: as few faults as still bring the same failure about, then as little workload, then the
//! plainest parameters.
//!
//! Delta debugging (Zeller, Hildebrandt 2002). Only the same failure counts, that of the same kind seen by the same oracle:
//! a smaller plan that fails in another way is another bug.

use crate::failure::{Failure, FailureKind};
use crate::faults::PlannedFault;
use crate::plan::{Nodes, Plan, Scenario};
use crate::runner::run_plan;
use crate::setup::Setup;
use crate::talk::Talk;
use crate::task::Task;
use std::time::{Duration, Instant};

/// What came of it.
#[derive(Debug)]
pub struct Shrunk {
    /// The smallest plan that was found.
    pub plan: Plan,
    /// How it fails.
    pub failure: Failure,
    /// Runs that it took.
    pub runs: u64,
    /// Whether nothing more can be left out by itself; otherwise the time was up.
    pub done: bool,
}

/// Makes a plan smaller for so long at most; `None` if it does not fail.
pub fn shrink(plan: &Plan, most: Duration) -> Option<Shrunk> {
    shrink_by(plan, most, |plan| {
        let outcome = run_plan(plan, false);
        // Its own list of faults, without those that never came about.
        outcome.result.err().map(|failure| (failure, outcome.plan))
    })
}

/// The same, with some way to run a plan: how it fails, if it does, and what was run.
fn shrink_by(plan: &Plan, most: Duration, run: impl Fn(&Plan) -> Option<(Failure, Plan)>) -> Option<Shrunk> {
    let until = Instant::now() + most;
    let (failure, plan) = run(plan)?;
    let mut search = Search { run, plan, target: (failure.kind, failure.oracle), failure, until, runs: 1 };
    loop {
        let before = search.runs;
        let smaller = search.faults() | search.workload() | search.parameters() | search.values();
        let in_time = search.in_time();
        if !smaller || !in_time || search.runs == before {
            let Search { plan, failure, runs, .. } = search;
            return Some(Shrunk { plan, failure, runs, done: in_time });
        }
    }
}

struct Search<R> {
    run: R,
    plan: Plan,
    target: (FailureKind, &'static str),
    failure: Failure,
    until: Instant,
    runs: u64,
}

impl<R: Fn(&Plan) -> Option<(Failure, Plan)>> Search<R> {
    fn in_time(&self) -> bool {
        Instant::now() < self.until
    }

    /// Takes a smaller plan if it fails in the same way.
    fn accepts(&mut self, smaller: Plan) -> bool {
        if !self.in_time() {
            return false;
        }
        self.runs += 1;
        match (self.run)(&smaller) {
            Some((failure, plan)) if (failure.kind, failure.oracle) == self.target => {
                (self.plan, self.failure) = (plan, failure);
                true
            }
            Some(_) | None => false,
        }
    }

    fn faults(&mut self) -> bool {
        let keep = |plan: &mut Plan, faults: Vec<PlannedFault>| plan.faults = faults;
        self.fewer(|plan| Some(plan.faults.clone()), keep)
    }

    fn workload(&mut self) -> bool {
        let tasks = |plan: &Plan| match &plan.scenario {
            Scenario::Cluster(setup) => Some(setup.tasks.clone()),
            Scenario::Connections(_) | Scenario::Messages(_) => None,
        };
        let keep = |plan: &mut Plan, tasks: Vec<Task>| {
            if let Scenario::Cluster(setup) = &mut plan.scenario {
                setup.tasks = tasks;
            }
        };
        self.fewer(tasks, keep) | self.fewer_acts()
    }

    /// As few acts of applications as will do, by halves.
    fn fewer_acts(&mut self) -> bool {
        let of = |plan: &Plan| match &plan.scenario {
            Scenario::Connections(nodes) | Scenario::Messages(nodes) => Some(nodes.acts),
            Scenario::Cluster(_) => None,
        };
        let Some(most) = of(&self.plan) else { return false };
        // How many there were is not known at first: the first power of two that is enough.
        let (mut low, mut high) = (0, most);
        while high.is_none() && low < 1 << 16 {
            let try_acts = (low * 2).max(1);
            if self.with_acts(try_acts) {
                high = Some(try_acts);
            } else {
                low = try_acts;
            }
        }
        let Some(mut high) = high else { return false };
        while low + 1 < high {
            let middle = low.midpoint(high);
            if self.with_acts(middle) {
                high = middle;
            } else {
                low = middle;
            }
        }
        Some(high) != most
    }

    fn with_acts(&mut self, acts: u64) -> bool {
        let mut plan = self.plan.clone();
        if let Scenario::Connections(nodes) | Scenario::Messages(nodes) = &mut plan.scenario {
            nodes.acts = Some(acts);
        }
        self.accepts(plan)
    }

    /// Each parameter as plain as it can be, one after the other.
    fn parameters(&mut self) -> bool {
        let mut any = false;
        for change in SETUP {
            while self.accepts_change(|plan| match &mut plan.scenario {
                Scenario::Cluster(setup) => change(setup),
                Scenario::Connections(_) | Scenario::Messages(_) => false,
            }) {
                any = true;
            }
        }
        for change in NODES {
            while self.accepts_change(|plan| match &mut plan.scenario {
                Scenario::Connections(nodes) | Scenario::Messages(nodes) => change(nodes),
                Scenario::Cluster(_) => false,
            }) {
                any = true;
            }
        }
        let tasks = match &self.plan.scenario {
            Scenario::Cluster(setup) => setup.tasks.len(),
            Scenario::Connections(_) | Scenario::Messages(_) => 0,
        };
        for index in 0..tasks {
            for change in TASK {
                while self.accepts_change(|plan| match &mut plan.scenario {
                    Scenario::Cluster(setup) => setup.tasks.get_mut(index).is_some_and(change),
                    Scenario::Connections(_) | Scenario::Messages(_) => false,
                }) {
                    any = true;
                }
            }
        }
        any
    }

    /// `change` makes a plan plainer, and answers whether it could.
    fn accepts_change(&mut self, change: impl Fn(&mut Plan) -> bool) -> bool {
        let mut plan = self.plan.clone();
        change(&mut plan) && self.accepts(plan)
    }

    /// Each fault as mild as it can be.
    fn values(&mut self) -> bool {
        let mut any = false;
        for index in 0..self.plan.faults.len() {
            any |= self.accepts_change(|plan| match plan.faults.get_mut(index) {
                Some(fault) if fault.values.iter().any(|value| *value > 0) => {
                    fault.values.clear();
                    true
                }
                Some(_) | None => false,
            });
        }
        any
    }

    /// A part of a list that will do, from which nothing more can be left out by itself.
    fn fewer<T: Clone>(
        &mut self,
        list: impl Fn(&Plan) -> Option<Vec<T>>,
        keep: impl Fn(&mut Plan, Vec<T>),
    ) -> bool {
        let Some(all) = list(&self.plan) else { return false };
        let before = all.len();
        let least = minimise(all, |part| {
            let mut plan = self.plan.clone();
            keep(&mut plan, part);
            self.accepts(plan).then(|| list(&self.plan).unwrap_or_default())
        });
        least.len() < before
    }
}

/// A part of a list from which nothing more can be left out by itself. `accepts` answers what is left of a part that will do.
fn minimise<T: Clone>(mut all: Vec<T>, mut accepts: impl FnMut(Vec<T>) -> Option<Vec<T>>) -> Vec<T> {
    let mut parts = 1;
    while !all.is_empty() {
        let size = all.len().div_ceil(parts);
        let smaller = (0..all.len()).step_by(size).find_map(|begin| {
            let end = (begin + size).min(all.len());
            accepts([&all[..begin], &all[end..]].concat())
        });
        match smaller {
            Some(smaller) => {
                all = smaller;
                parts = (parts - 1).max(2);
            }
            None if size <= 1 => break,
            None => parts *= 2,
        }
    }
    all
}

/// What makes a cluster plainer by one step, if it is not as plain as can be.
const SETUP: [fn(&mut Setup) -> bool; 14] = [
    |setup| {
        let last = setup.executors.len() > 1;
        if last {
            setup.executors.pop();
            setup.labels.truncate(setup.executors.len());
            only_who_is_there(setup);
        }
        last
    },
    |setup| {
        let used = setup.tasks.iter().map(|task| task.publisher + 1).max().unwrap_or(1);
        let fewer = core::mem::replace(&mut setup.publishers, used) > used;
        only_who_is_there(setup);
        fewer
    },
    |setup| setup.goings.pop().is_some(),
    |setup| setup.replaced.take().is_some(),
    |setup| setup.away.take().is_some(),
    |setup| match &mut setup.crowd {
        Some(crowd) if crowd.executors > 1 => {
            crowd.executors /= 2;
            true
        }
        Some(_) => setup.crowd.take().is_some(),
        None => false,
    },
    |setup| core::mem::replace(&mut setup.registries, 1) > 1,
    |setup| core::mem::take(&mut setup.clocks),
    |setup| core::mem::take(&mut setup.together),
    |setup| setup.file_window_us.take().is_some(),
    |setup| setup.output_credit.take().is_some(),
    |setup| !core::mem::take(&mut setup.labels).is_empty(),
    |setup| {
        let more = setup.executors.iter().any(|slots| *slots > 1);
        setup.executors.iter_mut().for_each(|slots| *slots = 1);
        more
    },
    |setup| shorter(&mut setup.horizon_us),
];

/// The same for nodes that are all alike.
const NODES: [fn(&mut Nodes) -> bool; 4] = [
    |nodes| nodes.talk.as_mut().is_some_and(Talk::plainer),
    |nodes| {
        let suits = |talk: &Talk| talk.check(nodes.nodes - 1).is_ok();
        let more = nodes.nodes > 2 && nodes.talk.as_ref().is_none_or(suits);
        nodes.nodes -= usize::from(more);
        more
    },
    |nodes| core::mem::take(&mut nodes.together),
    |nodes| shorter(&mut nodes.horizon_us),
];

/// The same for a task.
const TASK: [fn(&mut Task) -> bool; 7] = [
    |task| task.oddity.take().is_some(),
    |task| task.stdin.take().is_some(),
    |task| task.cancel_after_us.take().is_some(),
    |task| !core::mem::take(&mut task.needs).is_empty(),
    |task| task.outputs.pop().is_some(),
    |task| task.inputs.pop().is_some(),
    |task| task.steps.pop().is_some(),
];

/// Nobody else can go.
fn only_who_is_there(setup: &mut Setup) {
    let who = setup.who_may_go();
    setup.goings.retain(|going| who.contains(&going.node));
}

fn shorter(horizon: &mut u64) -> bool {
    let before = *horizon;
    *horizon = before / 2;
    before > 1_000_000
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_two_that_matter_are_left_of_many() {
        let mut tries = 0;
        let least = minimise((0..120).collect(), |part: Vec<u32>| {
            tries += 1;
            (part.contains(&17) && part.contains(&99)).then_some(part)
        });
        assert_eq!(least, [17, 99]);
        assert!(tries < 120, "{tries} tries");
    }

    #[test]
    fn nothing_is_left_of_what_does_not_matter_and_all_of_what_does() {
        assert_eq!(minimise(vec![1, 2, 3], Some), Vec::<u32>::new());
        assert_eq!(minimise(vec![1, 2, 3], |_| None), [1, 2, 3]);
    }

    /// Two faults together bring a failure about, and one of them alone another one, which does not count; a third task is
    /// needed, and no more than one executor.
    #[test]
    fn only_the_same_failure_counts() {
        let mut plan = Plan::draw(4, crate::plan::Kind::Cluster);
        plan.faults = (0..60)
            .map(|nth| PlannedFault {
                fault: crate::fault::Fault::SynLost,
                place: "here".to_owned(),
                nth: Some(nth + 1),
                at_us: None,
                values: vec![7],
            })
            .collect();
        let fails = |oracle| Failure {
            kind: FailureKind::Safety,
            oracle,
            what: String::new(),
            node: String::new(),
            at: 0,
            event: 0,
        };
        let shrunk = shrink_by(&plan, Duration::from_secs(60), |plan| {
            let has = |nth| plan.faults.iter().any(|fault| fault.nth == Some(nth));
            let Scenario::Cluster(setup) = &plan.scenario else { return None };
            let oracle = match (has(17), has(42), setup.tasks.is_empty()) {
                (true, true, false) => "meant",
                (true, false, _) => "other",
                _ => return None,
            };
            Some((fails(oracle), plan.clone()))
        });
        let shrunk = shrunk.expect("it fails");
        let left: Vec<_> = shrunk.plan.faults.iter().map(|fault| (fault.nth, fault.values.len())).collect();
        assert_eq!((left, shrunk.failure.oracle), (vec![(Some(17), 0), (Some(42), 0)], "meant"));
        let Scenario::Cluster(setup) = &shrunk.plan.scenario else { panic!("another scenario") };
        assert_eq!(
            (setup.tasks.len(), setup.executors.len(), setup.publishers),
            (1, 1, setup.tasks[0].publisher + 1)
        );
        assert!(shrunk.done && setup.tasks[0].steps.is_empty());
    }

    #[test]
    fn a_plan_that_runs_well_has_nothing_to_shrink() {
        let plan = crate::runner::run_one(3, false).plan;
        assert!(shrink(&plan, Duration::from_secs(1)).is_none());
    }
}
