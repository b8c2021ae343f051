//! What a run costs beside the floor: a bare spawn and wait, two in flight both.

use crate::rig::{Rig, spec};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant as Wall};
use xxnet_core::process::{ProcessEvent, Stream};

pub(crate) const CASES: &[(&str, fn(Rig))] = &[("spawn_cost", spawn_cost)];

const RUNS: usize = 2_000;

fn spawn_cost(mut rig: Rig) {
    let mut best = (Duration::MAX, Duration::MAX);
    for _ in 0..3 {
        best.0 = best.0.min(floor());
        best.1 = best.1.min(ours(&mut rig));
    }
    let each = |time: Duration| time.as_secs_f64() * 1e3 / RUNS as f64;
    println!(
        "floor {:.3} ms a run, ours {:.3} ms: ratio {:.2}",
        each(best.0),
        each(best.1),
        best.1.as_secs_f64() / best.0.as_secs_f64()
    );
}

fn floor() -> Duration {
    let spawn = || {
        let mut command = Command::new("/bin/true");
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
    };
    let began = Wall::now();
    let mut flying = std::collections::VecDeque::from([spawn(), spawn()]);
    for started in 2..RUNS + 2 {
        flying.pop_front().unwrap().wait().unwrap();
        if started < RUNS {
            flying.push_back(spawn());
        }
    }
    began.elapsed()
}

fn ours(rig: &mut Rig) -> Duration {
    let began = Wall::now();
    let (mut started, mut over, mut ends) = (0, 0, 0);
    while over < RUNS || ends < 2 * RUNS {
        while started < RUNS && started < over + 2 {
            rig.spawn(spec(&["/bin/true"]));
            started += 1;
        }
        match rig.event() {
            ProcessEvent::Spawned { run } => Stream::BOTH.into_iter().for_each(|stream| rig.arm(run, stream)),
            ProcessEvent::Exited { .. } => over += 1,
            ProcessEvent::OutputEnded { .. } => ends += 1,
            other => panic!("unexpected {other:?}"),
        }
    }
    began.elapsed()
}
