//! Plans that reach certain marks: those that do so by themselves, and those in which a fault strikes at the very moment at which
//! something is in a state.
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
use crate::marks::{Mark, Moment, Seen};
use crate::plan::{Kind, Plan, Scenario};
use crate::runner;
use std::collections::BTreeSet;
use xxnet_core::states::State;

/// Strikes that a plan gets at most.
const MOST: usize = 12;
/// Between two of them: the first one has begun to tell.
const PAUSE: Micros = 2 * SECOND;
/// How long each lasts.
const LASTS: Micros = 3 * SECOND;

/// Three plans of a seed: a cluster without any fault, one with those that have no time, and whatever the seed draws.
pub fn bases(seed: u64) -> Vec<Plan> {
    let calm = runner::run_seed(seed, Some(Kind::Cluster), Some(&Swarm::none()), false).plan;
    let mut untimed = runner::run_seed(seed, Some(Kind::Cluster), None, false).plan;
    untimed.faults.retain(|fault| fault.at_us.is_none());
    vec![calm, untimed, runner::run_one(seed, false).plan]
}

/// A plan made of this one for as many of these marks as it can reach, and which; those are taken out of what is wanted.
pub fn plan(base: Plan, wanted: &mut BTreeSet<Mark>) -> Option<(Plan, BTreeSet<Mark>)> {
    let own = run(&base)?.seen;
    let mut reached: BTreeSet<Mark> =
        wanted.iter().filter(|mark| own.0.contains_key(mark)).copied().collect();
    let plan = aim(base, wanted, &mut reached)?;
    if reached.is_empty() {
        return None;
    }
    reached.iter().for_each(|mark| _ = wanted.remove(mark));
    let names: Vec<String> = reached.iter().map(ToString::to_string).collect();
    let why = format!("What chance rarely brings about: {}.", names.join("; "));
    Some((Plan { why, ..thinner(plan, &reached) }, reached))
}

/// The fault and the state of a mark that a strike at some time can reach.
fn aimed(mark: Mark) -> Option<(Fault, State)> {
    match mark {
        Mark::Strike(fault, state) if crate::cluster::is_strike(fault) => Some((fault, state)),
        _ => None,
    }
}

/// The plan with strikes for as much of what is wanted as it offers; what they reach is noted.
fn aim(mut plan: Plan, wanted: &BTreeSet<Mark>, reached: &mut BTreeSet<Mark>) -> Option<Plan> {
    let mut from = 0;
    for _ in 0..MOST {
        let run = run(&plan)?;
        let next = run.moments.iter().filter(|(at, ..)| *at >= from).find_map(|(at, name, state)| {
            let fits = |mark: &&Mark| {
                !reached.contains(*mark)
                    && aimed(**mark).is_some_and(|(fault, of)| of == *state && suits(fault, name))
            };
            Some((*wanted.iter().find(fits)?, *at, name.clone()))
        });
        let Some((mark, at, place)) = next else { break };
        from = at + PAUSE;
        let Some((fault, _)) = aimed(mark) else { break };
        let values = match fault {
            Fault::Partition | Fault::OneWayPartition => vec![LASTS, 0, 0],
            _ => vec![LASTS],
        };
        let strike = PlannedFault { fault, place, nth: None, at_us: Some(at + 1), values };
        let mut with = plan.clone();
        with.faults.push(strike);
        // Something else may have come first in that microsecond; and what was reached later must not be lost.
        let all = |seen: &Seen| reached.iter().chain([&mark]).all(|mark| seen.0.contains_key(mark));
        if self::run(&with).is_some_and(|run| all(&run.seen)) {
            reached.insert(mark);
            plan = with;
        }
    }
    Some(plan)
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
    // Many at a time first, for most of them are of no account.
    let mut part = plan.faults.len().div_ceil(2);
    while part > 0 {
        let mut at = 0;
        while at < plan.faults.len() {
            let mut without = plan.clone();
            without.faults.drain(at..(at + part).min(plan.faults.len()));
            if enough(&without) {
                plan = without;
            } else {
                at += part;
            }
        }
        part = if part == 1 { 0 } else { part.div_ceil(2) };
    }
    let mut at = tasks(&mut plan).map_or(0, |tasks| tasks.len());
    while at > 0 {
        at -= 1;
        let mut without = plan.clone();
        tasks(&mut without).map(|tasks| tasks.remove(at));
        if enough(&without) {
            plan = without;
        }
    }
    // What is left comes about.
    runner::run_plan(&plan, false).plan
}

fn tasks(plan: &mut Plan) -> Option<&mut Vec<crate::task::Task>> {
    match &mut plan.scenario {
        Scenario::Cluster(setup) => Some(&mut setup.tasks),
        Scenario::Connections(_) | Scenario::Messages(_) => None,
    }
}

struct Run {
    /// When a row of which node came to which state, while faults are on.
    moments: Vec<(Micros, String, State)>,
    seen: Seen,
}

/// Runs a plan; `None` if it fails. Moments are those of clusters.
fn run(plan: &Plan) -> Option<Run> {
    let Scenario::Cluster(setup) = &plan.scenario else {
        let outcome = runner::run_plan(plan, false);
        return outcome.result.ok().map(|()| Run { moments: Vec::new(), seen: outcome.report.marks });
    };
    let injection = Injection::Planned(plan.faults.clone());
    let choices = Choices::seeded(plan.seed, "world");
    let mut cluster = Cluster::new(choices, setup.clone(), injection.clone(), false);
    cluster.world.keep_moments();
    failure::guard(|| cluster.play(&injection)).ok()?;
    let moments = cluster.world.moments();
    let name = |moment: Moment| (moment.at, cluster.world.name(moment.proc).to_owned(), moment.state);
    let moments = moments.into_iter().filter(|moment| moment.at < setup.horizon_us).map(name).collect();
    Some(Run { moments, seen: cluster.world.seen() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use xxnet_core::states::AttemptState;

    #[test]
    fn a_plan_is_aimed_at_a_moment_and_has_nothing_else() {
        let mark = Mark::Strike(Fault::ProcessFreeze, AttemptState::Folder.into());
        let mut wanted = BTreeSet::from([mark]);
        let calm = bases(0).swap_remove(0);
        let (plan, reached) = plan(calm, &mut wanted).expect("an attempt of some task has a folder made");
        assert!(reached.contains(&mark) && wanted.is_empty());
        assert_eq!(plan.faults.len(), 1, "{}", plan.text());
        assert!(runner::run_plan(&plan, false).report.marks.0.contains_key(&mark));
    }
}
