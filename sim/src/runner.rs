//! Many seeds, on some threads; one seed with its trace; a plan.

use crate::choices::{Choices, Driver};
use crate::cluster::{Cluster, Report};
use crate::failure::{self, Failure};
use crate::fault::Swarm;
use crate::faults::Injection;
use crate::marks::Reached;
use crate::mesh::Mesh;
use crate::messengers::Messengers;
use crate::plan::{Kind, Plan, Scenario};
use crate::setup::Setup;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc;
use std::time::Instant;

/// What came of one run.
#[derive(Debug)]
pub struct Outcome {
    /// The seed.
    pub seed: u64,
    /// What broke, if anything.
    pub result: Result<(), Failure>,
    /// What the run did.
    pub report: Report,
    /// The readable trace, if it was asked for.
    pub trace: Vec<String>,
    /// What was run, with the faults that were injected: it can be run again.
    pub plan: Plan,
}

/// Runs one seed.
pub fn run_one(seed: u64, trace: bool) -> Outcome {
    run_seed(seed, None, None, trace)
}

/// Runs one seed of a scenario of this kind, with the faults that it draws, or of these kinds alone.
pub fn run_kind(seed: u64, kind: Kind, swarm: Option<Swarm>) -> Outcome {
    run_seed(seed, Some(kind), swarm.as_ref(), false)
}

/// Runs one seed, of the kind of scenario that it draws or of this one, with the faults that it draws or of these kinds alone.
pub fn run_seed(seed: u64, kind: Option<Kind>, swarm: Option<&Swarm>, trace: bool) -> Outcome {
    let mut plan = Plan::draw(seed, kind.unwrap_or_else(|| Kind::of_seed(seed)));
    if let Some(swarm) = swarm {
        plan.scenario.set_swarm(swarm.clone());
    }
    run_drawn(plan, trace)
}

/// Runs one seed of a cluster in a given setup: its nodes and the faults that may be injected. It gets some tasks.
pub fn run_setup(seed: u64, mut setup: Setup) -> Outcome {
    setup.draw_tasks(&mut Choices::seeded(seed, "plan"));
    run_drawn(
        Plan { why: String::new(), seed, scenario: Scenario::Cluster(setup), faults: Vec::new() },
        false,
    )
}

/// Runs a plan, with exactly its faults. What it does is a function of the plan alone.
pub fn run_plan(plan: &Plan, trace: bool) -> Outcome {
    let injection = Injection::Planned(plan.faults.clone());
    run(plan.clone(), injection, Choices::seeded(plan.seed, "world"), trace)
}

/// What applications do in a run that bytes decide: where the bytes end every pause is the shortest, and a minute would be sixty
/// thousand acts of each. More than these teach a fuzzer nothing, and fill queues that are looked through after each event.
const DRIVEN_ACTS: u64 = 100;

/// Runs what a driver draws: the scenario first, then its life. The plan of such a run has its faults, and other delays.
pub fn run_driven(kind: Kind, driver: impl Driver + Send + 'static) -> Outcome {
    let mut choices = Choices::new(driver, "plan");
    let mut scenario = Scenario::draw(kind, &mut choices);
    if let Scenario::Connections(nodes) | Scenario::Messages(nodes) = &mut scenario {
        nodes.acts = Some(DRIVEN_ACTS);
    }
    let injection = Injection::Drawn(scenario.swarm().clone());
    run(Plan { why: String::new(), seed: 0, scenario, faults: Vec::new() }, injection, choices, false)
}

fn run_drawn(plan: Plan, trace: bool) -> Outcome {
    let injection = Injection::Drawn(plan.scenario.swarm().clone());
    let choices = Choices::seeded(plan.seed, "world");
    run(plan, injection, choices, trace)
}

fn run(mut plan: Plan, injection: Injection, choices: Choices, keep: bool) -> Outcome {
    let (result, report, trace);
    match &plan.scenario {
        Scenario::Cluster(setup) => {
            let mut cluster = Cluster::new(choices, setup.clone(), injection.clone(), keep);
            cluster.world.watch();
            result = failure::guard(|| cluster.play(&injection));
            (report, trace) = cluster.report_and_trace();
            plan.faults = cluster.injected();
        }
        Scenario::Connections(nodes) => {
            let mut mesh = Mesh::new(choices, nodes, injection, keep);
            mesh.watch();
            result = failure::guard(|| mesh.live());
            (report, trace) = mesh.report();
            plan.faults = mesh.injected();
        }
        Scenario::Messages(nodes) => {
            let mut messengers = Messengers::new(choices, nodes, injection, keep);
            messengers.watch();
            result = failure::guard(|| messengers.live());
            (report, trace) = messengers.report();
            plan.faults = messengers.injected();
        }
    }
    Outcome { seed: plan.seed, result, report, trace, plan }
}

/// What came of many seeds.
#[derive(Debug, Default)]
pub struct Summary {
    /// Seeds that were run.
    pub seeds: u64,
    /// What they did together; its hash combines theirs, whatever order they ended in.
    pub total: Report,
    /// What they reached.
    pub marks: Reached,
    /// The plans of those that failed, by seed.
    pub failures: Vec<(Plan, Failure)>,
}

impl Summary {
    fn add(&mut self, outcome: Outcome) {
        let Outcome { seed, result, report, plan, .. } = outcome;
        self.seeds += 1;
        self.marks.add(seed, &report.marks);
        let total = &mut self.total;
        total.faults.merge(&report.faults);
        total.tasks += report.tasks;
        total.runs += report.runs;
        total.files += report.files;
        total.shared += report.shared;
        total.resumed += report.resumed;
        total.connections += report.connections;
        total.packs += report.packs;
        total.sessions.merge(&report.sessions);
        total.messages.merge(&report.messages);
        total.simulated += report.simulated;
        total.events += report.events;
        total.endings.iter_mut().zip(report.endings).for_each(|(mine, theirs)| *mine += theirs);
        total.hash ^= report.hash.rotate_left((seed % 64) as u32);
        if let Err(failure) = result {
            self.failures.push((plan, failure));
        }
    }
}

/// Which seeds are run, and how.
#[derive(Debug)]
pub struct Batch {
    /// The first seed.
    pub start: u64,
    /// The end.
    pub until: Until,
    /// Threads.
    pub jobs: usize,
    /// It ends early after so many failures.
    pub most_failures: usize,
    /// Only scenarios of this kind.
    pub kind: Option<Kind>,
    /// Only faults of these kinds.
    pub swarm: Option<Swarm>,
}

/// When a batch ends.
#[derive(Clone, Copy, Debug)]
pub enum Until {
    /// Before this seed.
    Seed(u64),
    /// No seed begins later.
    Time(Instant),
}

/// Runs a batch; `progress` is told after each run how many there were, and how many failed.
pub fn run_batch(batch: &Batch, mut progress: impl FnMut(u64, usize)) -> Summary {
    let next = AtomicU64::new(batch.start);
    let enough = AtomicBool::new(false);
    let (sender, receiver) = mpsc::channel();
    let mut summary = Summary::default();
    std::thread::scope(|scope| {
        for _ in 0..batch.jobs.max(1) {
            let sender = sender.clone();
            let (next, enough) = (&next, &enough);
            scope.spawn(move || {
                while !enough.load(Ordering::Relaxed) {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    let over = match batch.until {
                        Until::Seed(end) => seed >= end,
                        Until::Time(end) => Instant::now() >= end,
                    };
                    if over || sender.send(run_seed(seed, batch.kind, batch.swarm.as_ref(), false)).is_err() {
                        return;
                    }
                }
            });
        }
        drop(sender);
        for outcome in receiver {
            summary.add(outcome);
            progress(summary.seeds, summary.failures.len());
            if summary.failures.len() >= batch.most_failures {
                enough.store(true, Ordering::Relaxed);
            }
        }
    });
    summary.failures.sort_by_key(|(plan, _)| plan.seed);
    summary
}

/// The plans of a folder, by name.
///
/// # Errors
/// One that cannot be read.
pub fn corpus(folder: &Path) -> Result<Vec<Plan>, String> {
    let wrong = |path: &Path, what: &dyn core::fmt::Display| format!("{}: {what}", path.display());
    let entries = std::fs::read_dir(folder).map_err(|error| wrong(folder, &error))?;
    let mut paths: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    paths.sort();
    let read = |path: PathBuf| {
        let text = std::fs::read_to_string(&path).map_err(|error| wrong(&path, &error))?;
        Plan::parse(&text).map_err(|error| wrong(&path, &error))
    };
    paths.into_iter().map(read).collect()
}

/// Runs the plans of a folder; what they have reached together.
///
/// # Errors
/// A plan that cannot be read.
pub fn run_corpus(folder: &Path) -> Result<Reached, String> {
    let mut reached = Reached::default();
    for plan in corpus(folder)? {
        reached.add(plan.seed, &run_plan(&plan, false).report.marks);
    }
    Ok(reached)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a seed drew, given as a list of faults, is the same run, event by event.
    #[test]
    fn x1_the_plan_of_a_seed_is_the_run_of_the_seed() {
        for seed in 0..48 {
            let drawn = run_one(seed, false);
            let again = run_plan(&drawn.plan, false);
            assert_eq!(again.report.hash, drawn.report.hash, "seed {seed}");
            assert_eq!(again.plan.faults, drawn.plan.faults, "seed {seed}");
            let text = Plan::parse(&drawn.plan.text()).expect("it is a plan");
            assert_eq!(run_plan(&text, false).report.hash, drawn.report.hash, "seed {seed}, from its text");
        }
    }
}
