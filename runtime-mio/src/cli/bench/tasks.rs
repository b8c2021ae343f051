//! Many small tasks beside bare spawn and wait; one task's latency; an idle registry.

use super::super::errors::{Failure, Outcome};
use super::super::scratch::Scratch;
use super::{Cluster, TasksArgs, cannot, rounded, show, task};
use serde_json::json;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// Commands in flight, on both sides of the comparison.
const SLOTS: u32 = 2;
/// How often `xxnet run -- true` is started.
const LATENCIES: usize = 50;
/// How long the idle registry is watched.
const IDLE: Duration = Duration::from_secs(4);

pub(super) fn tasks(args: &TasksArgs) -> Outcome {
    let mut cluster = Cluster::start(Scratch::new(None)?)?;
    let idle = idle(cluster.children.process(cluster.registry_id))?;
    cluster.executor(SLOTS)?;
    // Page caches and branch predictors warm up on both sides.
    cluster.publish(vec![task(&["true"], Vec::new()); 50])?;

    // The floor on both sides of the figure: a machine whose speed drifts shows in both.
    let before = spawn_and_wait(args.tasks)?;
    let count = usize::try_from(args.tasks).unwrap_or(usize::MAX);
    let published = cluster.publish(vec![task(&["true"], Vec::new()); count])?;
    let took = published.all.duration_since(published.began);
    let after = spawn_and_wait(args.tasks)?;
    let floor = (before + after) / 2;
    let ratio = took.as_secs_f64() / floor.as_secs_f64();
    let (latency, worst) = latency(&cluster)?;

    let each = |all: Duration| all.as_secs_f64() * 1000.0 / f64::from(args.tasks);
    let value = json!({
        "tasks": args.tasks,
        "slots": SLOTS,
        "seconds": rounded(took.as_secs_f64(), 4),
        "task_ms": rounded(each(took), 4),
        "floor_seconds": rounded(floor.as_secs_f64(), 4),
        "floor_task_ms": rounded(each(floor), 4),
        "ratio": rounded(ratio, 3),
        "run_true_p50_ms": rounded(latency, 2),
        "run_true_worst_ms": rounded(worst, 2),
        "idle_registry_rss_mib": rounded(idle.rss_mib, 2),
        "idle_registry_switches_per_second": rounded(idle.switches, 2),
    });
    let text = format!(
        "{} x `true` on {SLOTS} slots   {:7.3} s   {:6.3} ms a task   {:5.0} tasks/s\n\
         floor: spawn and wait      {:7.3} s   {:6.3} ms a task\n\
         ratio                      {ratio:7.2} x\n\
         `xxnet run -- true`        {latency:7.1} ms (median of {LATENCIES}; worst {worst:.1} ms)\n\
         idle registry              {:7.1} MiB resident, {:.2} context switches a second\n",
        args.tasks,
        took.as_secs_f64(),
        each(took),
        f64::from(args.tasks) / took.as_secs_f64(),
        floor.as_secs_f64(),
        each(floor),
        idle.rss_mib,
        idle.switches,
    );
    show(args.json, &value, &text)
}

/// As many bare commands, as many in flight.
fn spawn_and_wait(count: u32) -> Outcome<Duration> {
    let began = Instant::now();
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..SLOTS)
            .map(|at| {
                scope.spawn(move || {
                    (0..count).filter(|number| number % SLOTS == at).try_for_each(|_| {
                        Command::new("true").stdin(Stdio::null()).stdout(Stdio::null()).status().map(drop)
                    })
                })
            })
            .collect();
        threads.into_iter().try_for_each(|thread| {
            thread
                .join()
                .map_err(|_| Failure::new("the floor could not be measured"))?
                .map_err(cannot("run `true`"))
        })
    })?;
    Ok(began.elapsed())
}

/// Median and worst of `xxnet run -- true`, from before its start until after its end, in milliseconds.
fn latency(cluster: &Cluster) -> Outcome<(f64, f64)> {
    let mut times = Vec::with_capacity(LATENCIES);
    for _ in 0..LATENCIES {
        let mut command = cluster.children.plain_command();
        command.arg("run").arg(format!("--reg={}", cluster.registry)).args(["--", "true"]);
        let began = Instant::now();
        let status = command.stdin(Stdio::null()).status().map_err(cannot("start xxnet"))?;
        times.push(began.elapsed().as_secs_f64() * 1000.0);
        if !status.success() {
            return Err(Failure::new(format!("`xxnet run -- true` failed ({status})")));
        }
    }
    times.sort_by(f64::total_cmp);
    let middle = times.get(times.len() / 2).copied().unwrap_or_default();
    Ok((middle, times.last().copied().unwrap_or_default()))
}

/// A registry that has nothing to do.
struct Idle {
    rss_mib: f64,
    switches: f64,
}

fn idle(process: u32) -> Outcome<Idle> {
    // What it does to start is not what it does when idle.
    std::thread::sleep(Duration::from_millis(500));
    let began = Instant::now();
    let before = switches(process)?;
    std::thread::sleep(IDLE);
    // Counters are whole, and far below 2^52.
    let switched = switches(process)?.saturating_sub(before) as f64;
    let status = read(&format!("/proc/{process}/status"))?;
    Ok(Idle {
        rss_mib: field(&status, "VmRSS:").unwrap_or(0) as f64 / 1024.0,
        switches: switched / began.elapsed().as_secs_f64(),
    })
}

/// Context switches of all threads of a process so far.
fn switches(process: u32) -> Outcome<u64> {
    let threads =
        std::fs::read_dir(format!("/proc/{process}/task")).map_err(cannot("look at the registry"))?;
    let mut all = 0;
    for thread in threads.flatten() {
        let status = read(&thread.path().join("status").to_string_lossy())?;
        all += field(&status, "voluntary_ctxt_switches:").unwrap_or(0);
        all += field(&status, "nonvoluntary_ctxt_switches:").unwrap_or(0);
    }
    Ok(all)
}

fn read(path: &str) -> Outcome<String> {
    std::fs::read_to_string(path).map_err(cannot("look at the registry"))
}

fn field(status: &str, name: &str) -> Option<u64> {
    status.lines().find_map(|line| line.strip_prefix(name))?.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_of_a_status_are_told_apart() {
        let status = "VmRSS:\t  2048 kB\nvoluntary_ctxt_switches:\t7\nnonvoluntary_ctxt_switches:\t9\n";
        assert_eq!(field(status, "VmRSS:"), Some(2048));
        assert_eq!(field(status, "voluntary_ctxt_switches:"), Some(7));
        assert_eq!(field(status, "nonvoluntary_ctxt_switches:"), Some(9));
        assert_eq!(field(status, "none:"), None);
    }
}
