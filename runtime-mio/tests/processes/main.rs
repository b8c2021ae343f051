//! Supervisor, keepers and process backend on real processes.
//!
//! `supervisor::start` forks, so it must run before any thread exists: this binary is its own harness. Each case runs in a
//! process of its own, which is this binary again: the case's body runs in the executor below a real supervisor. Cases that
//! kill executors and supervisors stay outside and start a small daemon (`daemon.rs`) the same way.
#![allow(missing_docs, clippy::unwrap_used)]

mod cost;
mod daemon;
mod inside;
mod look;
mod outside;
mod rig;

use std::process::{Command, ExitCode, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::RecvTimeoutError;
use std::time::Duration;

/// The body of a case that is the executor itself.
type Inside = fn(rig::Rig);

/// A case, and where its body runs.
#[derive(Clone, Copy)]
enum Case {
    Inside(Inside),
    Outside(fn()),
    /// Only with `--ignored`: a measurement.
    Measure(Inside),
}

fn cases() -> Vec<(&'static str, Case)> {
    let mut all = Vec::new();
    all.extend(inside::CASES.iter().map(|(name, body)| (*name, Case::Inside(*body))));
    all.extend(outside::CASES.iter().map(|(name, body)| (*name, Case::Outside(*body))));
    all.extend(cost::CASES.iter().map(|(name, body)| (*name, Case::Measure(*body))));
    all
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.first().map(String::as_str) {
        Some("--inside") => run_inside(&arguments[1]),
        Some("--outside") => run_outside(&arguments[1]),
        Some("--daemon") => daemon::run(&arguments),
        Some("--hop") => inside::hop(),
        _ => harness(&arguments),
    }
}

fn run_inside(name: &str) -> ExitCode {
    let supervisor = xxnet_runtime_mio::supervisor::start().unwrap();
    for (case, body) in cases() {
        if case == name
            && let Case::Inside(body) | Case::Measure(body) = body
        {
            body(rig::Rig::new(supervisor));
            return ExitCode::SUCCESS;
        }
    }
    ExitCode::FAILURE
}

fn run_outside(name: &str) -> ExitCode {
    for (case, body) in cases() {
        if case == name
            && let Case::Outside(body) = body
        {
            body();
            return ExitCode::SUCCESS;
        }
    }
    ExitCode::FAILURE
}

/// The part of the standard harness's command line that people and tools use.
fn harness(arguments: &[String]) -> ExitCode {
    let has = |flag: &str| arguments.iter().any(|argument| argument == flag);
    let mut skip_value = false;
    let filters: Vec<&String> = arguments
        .iter()
        .filter(|argument| {
            let value = std::mem::replace(
                &mut skip_value,
                ["--test-threads", "--format", "--skip"].contains(&argument.as_str()),
            );
            !value && !argument.starts_with("--")
        })
        .collect();
    let wanted = |name: &str| {
        filters.is_empty()
            || filters
                .iter()
                .any(|filter| if has("--exact") { name == *filter } else { name.contains(*filter) })
    };
    let measures = has("--ignored") || has("--include-ignored");
    let chosen: Vec<(&str, Case)> = cases()
        .into_iter()
        .filter(|(name, case)| wanted(name) && (measures || !matches!(case, Case::Measure(_))))
        .filter(|(_, case)| !has("--ignored") || matches!(case, Case::Measure(_)))
        .collect();
    if has("--list") {
        chosen.iter().for_each(|(name, _)| println!("{name}: test"));
        return ExitCode::SUCCESS;
    }
    println!("\nrunning {} tests", chosen.len());
    let next = AtomicUsize::new(0);
    let failed = Mutex::new(Vec::new());
    let workers = if measures { 1 } else { std::thread::available_parallelism().map_or(2, usize::from) * 2 };
    std::thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| {
                while let Some((name, case)) = chosen.get(next.fetch_add(1, Ordering::Relaxed)) {
                    if !run_case(name, *case) {
                        failed.lock().unwrap().push(*name);
                    }
                }
            });
        }
    });
    let failed = failed.into_inner().unwrap();
    let verdict = if failed.is_empty() { "ok" } else { "FAILED" };
    println!("\ntest result: {verdict}. {} passed; {} failed\n", chosen.len() - failed.len(), failed.len());
    if failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(101) }
}

/// A case that takes longer hangs.
const LIMIT: Duration = Duration::from_secs(120);

fn run_case(name: &str, case: Case) -> bool {
    let place = if matches!(case, Case::Outside(_)) { "--outside" } else { "--inside" };
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args([place, name]).stdin(Stdio::null());
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let child = command.spawn().unwrap();
    let pid = child.id().cast_signed();
    let (over, is_over) = std::sync::mpsc::channel::<()>();
    let watch = std::thread::spawn(move || {
        // What it started ends with it: runs with their supervisor, daemons with their standard input.
        if is_over.recv_timeout(LIMIT) == Err(RecvTimeoutError::Timeout) {
            look::signal(pid, libc::SIGKILL);
        }
    });
    let output = child.wait_with_output().unwrap();
    drop(over);
    watch.join().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    let shown = String::from_utf8_lossy(&output.stdout);
    if output.status.success() {
        println!("test {name} ... ok");
        if matches!(case, Case::Measure(_)) {
            println!("{shown}");
        }
        true
    } else {
        println!("test {name} ... FAILED ({})\n---- {name} ----\n{shown}{said}", output.status);
        false
    }
}
