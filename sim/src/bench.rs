//! How fast the simulator is: delivered messages a second of processor time, and seeds of clusters.

use crate::choices::Choices;
use crate::clock::SECOND;
use crate::failure::Failure;
use crate::faults::Injection;
use crate::mesh::Mesh;
use crate::plan::{Kind, Nodes};
use crate::runner::{Batch, Until, run_batch};
use std::time::{Duration, Instant};

/// What was measured.
#[derive(Clone, Copy, Debug)]
pub struct Measured {
    /// Messages that were delivered, or seeds that were run.
    pub count: u64,
    /// How long it took: of one thread, the processor's time where the system tells it.
    pub took: Duration,
    /// Simulated seconds.
    pub simulated: f64,
}

impl Measured {
    /// A second.
    pub fn rate(&self) -> f64 {
        self.count as f64 / self.took.as_secs_f64().max(1e-9)
    }
}

/// All against all: each pair of peers has a session and plays ping-pong on it with messages of 64 bytes, for some time. One
/// thread. Handshakes, packs, sessions, each machine's invariants, the oracles of sessions and the hash of everything are on.
///
/// # Errors
/// What an oracle has seen.
pub fn ping_pong(peers: usize, messages: u64) -> Result<Measured, Failure> {
    let plan =
        Nodes { nodes: peers, horizon_us: 3600 * SECOND, together: true, acts: Some(0), ..Nodes::default() };
    let choices = Choices::seeded(1, "world");
    let mut mesh = Mesh::playing(choices, &plan, Injection::Planned(Vec::new()));
    // Everybody is connected first.
    mesh.play(10 * peers as u64 * peers as u64)?;
    let (before, began) = (mesh.simulated(), Stopwatch::start());
    mesh.play(messages)?;
    let simulated = (mesh.simulated() - before) as f64 / SECOND as f64;
    Ok(Measured { count: messages, took: began.elapsed(), simulated })
}

/// The processor's time of this thread, or where the system does not tell it, time.
struct Stopwatch(Option<Duration>, Instant);

impl Stopwatch {
    fn start() -> Self {
        Self(Self::processor(), Instant::now())
    }

    fn elapsed(&self) -> Duration {
        let Self(processor, began) = self;
        let used = processor.and_then(|before| Self::processor()?.checked_sub(before));
        used.unwrap_or_else(|| began.elapsed())
    }

    fn processor() -> Option<Duration> {
        let text = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
        Some(Duration::from_nanos(text.split_whitespace().next()?.parse().ok()?))
    }
}

/// Clusters under their storms, each of them at least 60 simulated seconds long.
pub fn clusters(seeds: u64, jobs: usize) -> Measured {
    let batch = Batch {
        start: 0,
        until: Until::Seed(seeds),
        jobs,
        most_failures: 1,
        kind: Some(Kind::Cluster),
        swarm: None,
    };
    let began = Instant::now();
    let summary = run_batch(&batch, |_, _| {});
    let simulated = summary.total.simulated as f64 / SECOND as f64;
    Measured { count: summary.seeds, took: began.elapsed(), simulated }
}
