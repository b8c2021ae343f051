//! Plans that reach certain marks: a fault of a process, or between hosts, at the very moment at which something is in a state.
//!
//! Chance rarely strikes what lasts for milliseconds. But a run is a function of its plan, and a strike changes nothing before
//! it: so a plan is run, the moment is looked up at which a process has a row in the wanted state, the strike is put right
//! behind it, and the plan is run again; and so on with what is still wanted, later in the same plan. In the end whatever can be
//! left out is.

use crate::choices::Choices;
use crate::clock::{Micros, SECOND};
use crate::cluster::Cluster;
use crate::failure;
use crate::fault::{Fault, Swarm};
use crate::faults::{Injection, PlannedFault};
use crate::marks::{Mark, Seen};
use crate::plan::{Kind, Plan, Scenario};
use crate::runner;
use std::collections::BTreeSet;

/// Strikes that a plan gets at most.
const MOST: usize = 12;
/// Between two of them: the first one has begun to tell.
const PAUSE: Micros = 2 * SECOND;
/// How long each lasts.
const LASTS: Micros = 3 * SECOND;

/// Plans for these marks, of clusters that these seeds draw; what they reach is taken out of what is wanted.
pub fn plans(wanted: &mut BTreeSet<Mark>, seeds: core::ops::Range<u64>) -> Vec<Plan> {
    let mut plans = Vec::new();
    for seed in seeds {
        if !wanted.iter().any(|mark| aimed(*mark).is_some()) {
            break;
        }
        // Some without any other fault: those are the shortest plans.
        let swarm = (seed % 2 == 0).then(Swarm::none);
        let drawn = runner::run_seed(seed, Some(Kind::Cluster), swarm.as_ref(), false).plan;
        let Some((plan, reached)) = aim(drawn, wanted) else { continue };
        reached.iter().for_each(|mark| _ = wanted.remove(mark));
        let names: Vec<String> = reached.iter().map(ToString::to_string).collect();
        let why = format!("It strikes where chance rarely does. {}", names.join("; "));
        plans.push(Plan { why, ..thinner(plan, &reached) });
    }
    plans
}

/// The fault and the state of a mark that a strike at some time can reach.
fn aimed(mark: Mark) -> Option<(Fault, xxnet_core::states::State)> {
    match mark {
        Mark::Strike(fault, state) if crate::cluster::is_strike(fault) => Some((fault, state)),
        _ => None,
    }
}

/// The plan with strikes for as much of what is wanted as it offers, and what they have reached.
fn aim(mut plan: Plan, wanted: &BTreeSet<Mark>) -> Option<(Plan, BTreeSet<Mark>)> {
    plan.faults.retain(|fault| fault.at_us.is_none());
    let mut reached = BTreeSet::new();
    let mut from = 0;
    for _ in 0..MOST {
        let run = run(&plan)?;
        let next = run.moments.iter().find_map(|(at, name, state)| {
            let fits = |mark: &&Mark| {
                !reached.contains(*mark)
                    && aimed(**mark).is_some_and(|(fault, of)| of == *state && suits(fault, name))
            };
            let mark = wanted.iter().find(fits).filter(|_| *at >= from)?;
            Some((*mark, *at, name.clone()))
        });
        let Some((mark, at, place)) = next else { break };
        from = at + PAUSE;
        let Mark::Strike(fault, _) = mark else { break };
        let values = match fault {
            Fault::Partition | Fault::OneWayPartition => vec![LASTS, 0, 0],
            _ => vec![LASTS],
        };
        let strike = PlannedFault { fault, place, nth: None, at_us: Some(at + 1), values };
        let mut with = plan.clone();
        with.faults.push(strike);
        // Something else may have come first in that microsecond.
        if self::run(&with).is_some_and(|run| run.seen.0.contains_key(&mark)) {
            reached.insert(mark);
            plan = with;
        }
    }
    (!reached.is_empty()).then_some((plan, reached))
}

/// Whether such a strike may befall a node of this name.
fn suits(fault: Fault, node: &str) -> bool {
    let role = match fault {
        Fault::ExecutorCrash => "executor-",
        Fault::RegistryCrash => "registry-",
        Fault::PublisherCrash => "publisher-",
        _ => "",
    };
    node.starts_with(role)
}

/// The plan without the faults and tasks that it does not need.
fn thinner(mut plan: Plan, reached: &BTreeSet<Mark>) -> Plan {
    let enough =
        |plan: &Plan| run(plan).is_some_and(|run| reached.iter().all(|mark| run.seen.0.contains_key(mark)));
    let mut at = plan.faults.len();
    while at > 0 {
        at -= 1;
        let mut without = plan.clone();
        without.faults.remove(at);
        if enough(&without) {
            plan = without;
        }
    }
    // What is left comes about.
    runner::run_plan(&plan, false).plan
}

struct Run {
    /// When a row of which node came to which state, while faults are on.
    moments: Vec<(Micros, String, xxnet_core::states::State)>,
    seen: Seen,
}

/// Runs the plan of a cluster; `None` if it fails, or is none.
fn run(plan: &Plan) -> Option<Run> {
    let Scenario::Cluster(setup) = &plan.scenario else { return None };
    let injection = Injection::Planned(plan.faults.clone());
    let choices = Choices::seeded(plan.seed, "world");
    let mut cluster = Cluster::new(choices, setup.clone(), injection.clone(), false);
    cluster.world.keep_moments();
    failure::guard(|| cluster.play(&injection)).ok()?;
    let moments = cluster.world.moments().into_iter().filter(|moment| moment.at < setup.horizon_us);
    let moments = moments.map(|moment| (moment.at, moment.proc, moment.state)).collect::<Vec<_>>();
    let name = |(at, proc, state)| (at, cluster.world.name(proc).to_owned(), state);
    let moments = moments.into_iter().map(name).collect();
    Some(Run { moments, seen: cluster.world.seen() })
}
