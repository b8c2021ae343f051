//! What a run costs beside the floor: a bare spawn and wait, two in flight both.

use crate::Inside;
use crate::look;
use crate::rig::{Rig, spec};
use std::process::{Command, Stdio};
use std::time::Instant as Wall;
use xxnet_core::process::{ProcessEvent, Stream};

pub(crate) const CASES: &[(&str, Inside)] = &[("spawn_cost", spawn_cost)];

const RUNS: usize = 2_000;

fn spawn_cost(mut rig: Rig) {
    ours(&mut rig);
    let mut best = [Cost { time: f64::MAX, cpu: f64::MAX }; 2];
    for _ in 0..5 {
        best[0] = best[0].min(Cost::of(&mut floor));
        best[1] = best[1].min(Cost::of(&mut || ours(&mut rig)));
    }
    let [floor, ours] = best;
    println!("floor {:.3} ms a run, {:.3} ms of processor", floor.time, floor.cpu);
    println!("ours  {:.3} ms a run, {:.3} ms of processor", ours.time, ours.cpu);
    println!("ratio {:.2}, {:.2} of processor", ours.time / floor.time, ours.cpu / floor.cpu);
}

/// Milliseconds a run.
#[derive(Clone, Copy)]
struct Cost {
    time: f64,
    /// Of this process, the supervisor and the keepers, with all the commands that they have reaped.
    cpu: f64,
}

impl Cost {
    fn of(work: &mut dyn FnMut()) -> Self {
        let (cpu, began) = (processor_ms(), Wall::now());
        work();
        let each = |ms: f64| ms / RUNS as f64;
        Self { time: each(began.elapsed().as_secs_f64() * 1e3), cpu: each(processor_ms() - cpu) }
    }

    fn min(self, other: Self) -> Self {
        Self { time: self.time.min(other.time), cpu: self.cpu.min(other.cpu) }
    }
}

fn processor_ms() -> f64 {
    let supervisor = std::os::unix::process::parent_id().cast_signed();
    let all = look::below(supervisor).into_iter().map(|process| process.pid).chain([supervisor]);
    let ticks = all.map(|pid| {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
        let fields = stat.rsplit_once(") ").unwrap().1.split(' ');
        // utime, stime, cutime, cstime: proc(5), fields 14 to 17.
        fields.skip(11).take(4).map(|field| field.parse::<f64>().unwrap()).sum::<f64>()
    });
    ticks.sum::<f64>() * 10.0
}

fn floor() {
    let spawn = || {
        let mut command = Command::new("/bin/true");
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
    };
    let mut flying = std::collections::VecDeque::from([spawn(), spawn()]);
    for started in 2..RUNS + 2 {
        flying.pop_front().unwrap().wait().unwrap();
        if started < RUNS {
            flying.push_back(spawn());
        }
    }
}

fn ours(rig: &mut Rig) {
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
}
