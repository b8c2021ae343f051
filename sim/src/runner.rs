//! Many seeds, on some threads; or one seed with its trace.

use crate::cluster::{self, Report, Setup};
use crate::failure::{self, Failure};
use crate::fault::Swarm;
use crate::mesh::Mesh;
use crate::messengers::Messengers;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc;

/// What came of one seed.
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
}

/// Runs one seed.
pub fn run_one(seed: u64, trace: bool) -> Outcome {
    // One seed in four is about connections alone, one in eight about messages by address.
    match seed % 8 {
        3 | 7 => return live(seed, Mesh::draw(seed, None, trace)),
        5 => return talk(seed, Messengers::draw(seed, None, trace)),
        _ => {}
    }
    let (result, report, trace) = cluster::run_seed(seed, trace);
    Outcome { seed, result, report, trace }
}

/// Runs one seed of a cluster in a given setup: its nodes and the faults that may be injected.
pub fn run_setup(seed: u64, setup: Setup) -> Outcome {
    let (result, report) = cluster::run_setup(seed, setup);
    Outcome { seed, result, report, trace: Vec::new() }
}

/// Runs one seed of connections alone.
pub fn run_connections(seed: u64) -> Outcome {
    live(seed, Mesh::draw(seed, None, false))
}

/// Runs one seed of connections alone, with these faults and no others.
pub fn run_connections_under(seed: u64, swarm: Swarm) -> Outcome {
    live(seed, Mesh::draw(seed, Some(swarm), false))
}

fn live(seed: u64, mut mesh: Mesh) -> Outcome {
    let result = failure::guard(|| mesh.live());
    let (report, trace) = mesh.report();
    Outcome { seed, result, report, trace }
}

/// Runs one seed of messages by address.
pub fn run_messages(seed: u64, trace: bool) -> Outcome {
    talk(seed, Messengers::draw(seed, None, trace))
}

/// Runs one seed of messages by address, with these faults and no others.
pub fn run_messages_under(seed: u64, swarm: Swarm) -> Outcome {
    talk(seed, Messengers::draw(seed, Some(swarm), false))
}

fn talk(seed: u64, mut messengers: Messengers) -> Outcome {
    let result = failure::guard(|| messengers.live());
    let (report, trace) = messengers.report();
    Outcome { seed, result, report, trace }
}

/// What came of many seeds.
#[derive(Debug, Default)]
pub struct Summary {
    /// Seeds that were run.
    pub seeds: u64,
    /// What they did together; its hash combines theirs, whatever order they ended in.
    pub total: Report,
    /// Those that failed, by seed.
    pub failures: Vec<(u64, Failure)>,
}

impl Summary {
    fn add(&mut self, outcome: Outcome) {
        let Outcome { seed, result, report, .. } = outcome;
        self.seeds += 1;
        let total = &mut self.total;
        total.faults.merge(&report.faults);
        total.tasks += report.tasks;
        total.runs += report.runs;
        total.files += report.files;
        total.connections += report.connections;
        total.packs += report.packs;
        total.sessions.merge(&report.sessions);
        total.messages.merge(&report.messages);
        total.simulated += report.simulated;
        total.events += report.events;
        total.endings.iter_mut().zip(report.endings).for_each(|(mine, theirs)| *mine += theirs);
        total.hash ^= report.hash.rotate_left((seed % 64) as u32);
        if let Err(failure) = result {
            self.failures.push((seed, failure));
        }
    }
}

/// Runs the seeds `start .. start + count` on `jobs` threads; stops early after `most_failures` failures.
pub fn run_many(start: u64, count: u64, jobs: usize, most_failures: u64) -> Summary {
    let next = AtomicU64::new(start);
    let enough = AtomicBool::new(false);
    let (sender, receiver) = mpsc::channel();
    let mut summary = Summary::default();
    std::thread::scope(|scope| {
        for _ in 0..jobs.max(1) {
            let sender = sender.clone();
            let (next, enough) = (&next, &enough);
            scope.spawn(move || {
                while !enough.load(Ordering::Relaxed) {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= start + count || sender.send(run_one(seed, false)).is_err() {
                        return;
                    }
                }
            });
        }
        drop(sender);
        for outcome in receiver {
            summary.add(outcome);
            if summary.failures.len() as u64 >= most_failures {
                enough.store(true, Ordering::Relaxed);
            }
        }
    });
    summary.failures.sort_by_key(|(seed, _)| *seed);
    summary
}
