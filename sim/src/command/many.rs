//! `run`: many seeds, their summary, and what came of those that failed.

use super::{Refusal, Run, how_small, shown, summary, write};
use crate::failure::Failure;
use crate::plan::Plan;
use crate::runner::{self, Batch, Until};
use crate::shrink;
use indicatif::{ProgressBar, ProgressStyle};
use std::io::Write;
use std::time::{Duration, Instant};

/// How long a failing plan is made smaller.
const SHRINKING: Duration = Duration::from_secs(45);

pub(super) fn run(out: &mut impl Write, arguments: &Run) -> Result<u8, Refusal> {
    let began = Instant::now();
    let until = match arguments.minutes {
        Some(minutes) => Until::Time(
            began
                + Duration::try_from_secs_f64(minutes * 60.0)
                    .map_err(|_| Refusal(format!("--minutes {minutes} is no time"), 64))?,
        ),
        None => Until::Seed(arguments.start.saturating_add(arguments.seeds)),
    };
    let batch = Batch {
        start: arguments.start,
        until,
        jobs: arguments.jobs.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from)),
        most_failures: arguments.failures,
        kind: arguments.scenario,
        swarm: arguments.faults.clone(),
    };
    let bar = progress(arguments);
    let summary = runner::run_batch(&batch, |seeds, failures| {
        bar.set_position(seeds);
        if failures > 0 {
            bar.set_message(format!(", {failures} failed"));
        }
    });
    bar.finish_and_clear();
    let took = began.elapsed().as_secs_f64();
    summary::many(out, &summary, took)?;
    let marks = super::marks::tell(out, arguments, &summary)?;
    for (plan, failure) in &summary.failures {
        tell(out, arguments, plan, failure)?;
    }
    if summary.failures.is_empty() && marks == 0 {
        writeln!(out, "all well")?;
    }
    if arguments.json {
        writeln!(out, "{}", summary::json(&summary, took))?;
    }
    // The worst kind decides: a contradiction before a broken promise before a stall.
    Ok(summary.failures.iter().map(|(_, failure)| failure.kind.exit_code()).min().unwrap_or(marks))
}

/// Drawn on a terminal only.
fn progress(arguments: &Run) -> ProgressBar {
    let style = match arguments.minutes {
        Some(_) => "{spinner} {elapsed_precise} {pos} seeds, {per_sec}{msg}",
        None => "{bar:40} {pos}/{len} seeds, {per_sec}, {eta} left{msg}",
    };
    let bar = match arguments.minutes {
        Some(_) => ProgressBar::new_spinner(),
        None => ProgressBar::new(arguments.seeds),
    };
    bar.with_style(ProgressStyle::with_template(style).unwrap_or_else(|_| ProgressStyle::default_bar()))
}

/// A failure, its plan made smaller and kept, and how to see it again.
fn tell(out: &mut impl Write, arguments: &Run, plan: &Plan, failure: &Failure) -> Result<(), Refusal> {
    let seed = plan.seed;
    writeln!(out, "seed {seed} FAILED\n  {failure}")?;
    let mut kept = plan.clone();
    if !arguments.no_shrink
        && let Some(shrunk) = shrink::shrink(plan, SHRINKING)
    {
        writeln!(out, "  {}", how_small(plan.faults.len(), &shrunk))?;
        writeln!(out, "  {}", shrunk.failure)?;
        kept = shrunk.plan;
    }
    let path = arguments.out.join(format!("seed-{seed}.json"));
    write(&path, &kept)?;
    let page = path.with_extension("html");
    shown(&page, || Ok((runner::run_plan(&kept, false), 0)))?;
    writeln!(out, "  what happened: {}", page.display())?;
    writeln!(out, "  replay: xxnet sim replay {} --trace", path.display())?;
    Ok(())
}
