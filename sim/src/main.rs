//! `xxnet-sim`: runs seeds of a simulated cluster, or replays one.
//!
//! Exit codes: 0 all well; 1 a machine panicked or contradicted itself; 2 something happened that must never happen; 3 something
//! did not happen although nothing was in its way; 64 wrong usage.

use clap::Parser;
use std::io::Write as _;
use std::process::ExitCode;
use std::time::Instant;
use xxnet_sim::explore::Explore;
use xxnet_sim::fault::Fault;
use xxnet_sim::runner::{Outcome, Summary, run_many, run_one};

/// Runs the cluster in a deterministic world that breaks in every way that is known.
#[derive(Debug, Parser)]
#[command(version, about)]
struct Arguments {
    /// How many seeds to run.
    #[arg(long, default_value_t = 200, conflicts_with = "seed")]
    seeds: u64,
    /// The first seed.
    #[arg(long, default_value_t = 0)]
    start: u64,
    /// Threads; as many as there are processors unless given.
    #[arg(long)]
    jobs: Option<usize>,
    /// Stop after so many failures.
    #[arg(long, default_value_t = 10)]
    failures: u64,
    /// Run only this seed and tell what it did.
    #[arg(long)]
    seed: Option<u64>,
    /// With --seed: every event and action, readable.
    #[arg(long, requires = "seed")]
    trace: bool,
    /// The last line is one JSON object.
    #[arg(long)]
    json: bool,
    #[command(subcommand)]
    command: Option<Subcommand>,
}

#[derive(Debug, clap::Subcommand)]
enum Subcommand {
    Explore(Explore),
}

fn main() -> ExitCode {
    let arguments = Arguments::try_parse().unwrap_or_else(|error| {
        let _ = error.print();
        std::process::exit(if error.use_stderr() { 64 } else { 0 });
    });
    let mut out = std::io::BufWriter::new(std::io::stdout().lock());
    let code = match (&arguments.command, arguments.seed) {
        (Some(Subcommand::Explore(explore)), _) => explore.run(&mut out),
        (None, Some(seed)) => replay(&mut out, &run_one(seed, arguments.trace)),
        (None, None) => many(&mut out, &arguments),
    };
    // A reader that has gone away (`| head`) is no failure.
    let _ = out.flush();
    ExitCode::from(code.unwrap_or(0))
}

fn replay(out: &mut impl std::io::Write, outcome: &Outcome) -> std::io::Result<u8> {
    for line in &outcome.trace {
        writeln!(out, "{line}")?;
    }
    let report = &outcome.report;
    writeln!(
        out,
        "seed {}: {} tasks, {} commands, {} files, {} events in {} s; trace hash {:016x}",
        outcome.seed,
        report.tasks,
        report.runs,
        report.files,
        report.events,
        report.simulated / 1_000_000,
        report.hash
    )?;
    match &outcome.result {
        Ok(()) => Ok(0),
        Err(failure) => {
            writeln!(out, "{failure}")?;
            Ok(failure.kind.exit_code())
        }
    }
}

fn many(out: &mut impl std::io::Write, arguments: &Arguments) -> std::io::Result<u8> {
    let began = Instant::now();
    let jobs = arguments.jobs.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from));
    let summary = run_many(arguments.start, arguments.seeds, jobs, arguments.failures);
    let took = began.elapsed().as_secs_f64();
    tell(out, &summary, took)?;
    if arguments.json {
        writeln!(out, "{}", json(&summary, took))?;
    }
    // The worst kind decides: a contradiction before a broken promise before a stall.
    Ok(summary.failures.iter().map(|(_, failure)| failure.kind.exit_code()).min().unwrap_or(0))
}

fn tell(out: &mut impl std::io::Write, summary: &Summary, took: f64) -> std::io::Result<()> {
    let total = &summary.total;
    writeln!(out, "faults injected")?;
    for fault in Fault::ALL {
        writeln!(out, "  {:<32}{:>9}", fault.name(), total.faults.of(*fault))?;
    }
    let [done, failed, cancelled, expired] = total.endings;
    writeln!(
        out,
        "tasks {} (done {done}, failed {failed}, cancelled {cancelled}, expired {expired}, with their publisher {}), commands {}, files {}; connections alone {}, packs {}",
        total.tasks,
        total.tasks.saturating_sub(total.endings.iter().sum()),
        total.runs,
        total.files,
        total.connections,
        total.packs
    )?;
    let sessions = &total.sessions;
    writeln!(
        out,
        "sessions {} (expired {}, stale {}, with another instance {}), links lost {} and found again {}, messages reported undelivered {}",
        sessions.begun,
        sessions.expired,
        sessions.stale,
        sessions.replaced,
        sessions.broken,
        sessions.resumed,
        sessions.undelivered
    )?;
    let messages = &total.messages;
    writeln!(
        out,
        "messages by address {} (received {}, undelivered {}, never sent {}, rejected {}), shutdowns {}",
        messages.sent,
        messages.received,
        messages.undelivered,
        messages.given_up,
        messages.rejected,
        messages.downs
    )?;
    writeln!(
        out,
        "seeds {} in {took:.1} s ({:.0} a second), {} s simulated, {} events, hash {:016x}",
        summary.seeds,
        summary.seeds as f64 / took.max(0.001),
        total.simulated / 1_000_000,
        total.events,
        total.hash
    )?;
    for (seed, failure) in &summary.failures {
        writeln!(out, "seed {seed} FAILED\n  {failure}")?;
        writeln!(out, "  replay: cargo run --release -p xxnet-sim -- --seed {seed} --trace")?;
    }
    if summary.failures.is_empty() {
        writeln!(out, "all well")?;
    }
    Ok(())
}

fn json(summary: &Summary, took: f64) -> serde_json::Value {
    let total = &summary.total;
    let faults: serde_json::Map<String, serde_json::Value> =
        Fault::ALL.iter().map(|fault| (fault.name().to_owned(), total.faults.of(*fault).into())).collect();
    let failures: Vec<serde_json::Value> = summary
        .failures
        .iter()
        .map(|(seed, failure)| {
            serde_json::json!({
                "seed": seed, "kind": format!("{:?}", failure.kind), "oracle": failure.oracle,
                "node": failure.node, "at_us": failure.at, "what": failure.what,
            })
        })
        .collect();
    serde_json::json!({
        "seeds": summary.seeds, "seconds": took, "tasks": total.tasks, "endings": total.endings,
        "commands": total.runs, "files": total.files, "simulated_us": total.simulated,
        "events": total.events, "hash": format!("{:016x}", total.hash), "faults": faults, "failures": failures,
    })
}
