//! The command line of the simulator, `xxnet sim` and `xxnet-sim` alike.
//!
//! Exit codes: 0 all well; 1 a machine panicked or contradicted itself; 2 something happened that must never happen; 3 something
//! did not happen although nothing was in its way, or a mark was not reached that used to be; 64 wrong usage; 66 a plan that
//! cannot be read; 73 one that cannot be written; 75 a search came to a bound before it had seen all.

mod bench;
mod many;
mod marks;
mod show;
mod summary;

use crate::explore::Explore;
use crate::failure::Failure;
use crate::fault::{Fault, Swarm};
use crate::plan::{Kind, Plan};
use crate::runner::{self, Outcome};
use crate::shrink::{self, Shrunk};
use crate::spacetime::Chronicle;
use clap::{Args, Subcommand};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Runs clusters, connections and messengers in a deterministic world that breaks in every way that is known.
#[derive(Debug, Args)]
pub struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run many seeds; a failure is made smaller and kept as a plan.
    Run(Run),
    /// Run one plan, or one seed, again.
    Replay(Replay),
    /// Make a failing plan smaller: as few faults and as little workload as still bring the same failure about.
    Shrink(Shrink),
    /// Tell what a plan says, in words.
    Show(Source),
    /// Take a small world through every order of what can happen in it.
    Explore(Explore),
    /// Write plans that reach marks which the list of marks says nobody reaches.
    Aim(marks::Aim),
    /// Measure how fast the simulator is.
    Bench(bench::Bench),
}

#[derive(Debug, Args)]
struct Run {
    /// How many seeds.
    #[arg(long, default_value_t = 200)]
    seeds: u64,
    /// The first seed.
    #[arg(long, default_value_t = 0)]
    start: u64,
    /// Threads; as many as there are processors unless given.
    #[arg(long)]
    jobs: Option<usize>,
    /// Go on with new seeds for so many minutes.
    #[arg(long, conflicts_with = "seeds")]
    minutes: Option<f64>,
    /// Only scenarios of this kind.
    #[arg(long)]
    scenario: Option<Kind>,
    /// Only these faults, by their names, separated by commas; `none` for a calm world.
    #[arg(long, value_parser = parse_faults)]
    faults: Option<Swarm>,
    /// Stop after so many failures.
    #[arg(long, default_value_t = 10)]
    failures: usize,
    /// Where plans of failures are written.
    #[arg(long, default_value = ".", value_name = "FOLDER")]
    out: PathBuf,
    /// Do not make failing plans smaller.
    #[arg(long)]
    no_shrink: bool,
    /// The last line is one JSON object.
    #[arg(long)]
    json: bool,
    /// Tell which marks were not reached, and by which seed those that were rarely.
    #[arg(long)]
    marks: bool,
    /// Compare with this list of marks; the plans in `corpus` beside it are run as well.
    #[arg(long, value_name = "FILE")]
    marks_file: Option<PathBuf>,
    /// Write the list anew.
    #[arg(long, requires = "marks_file")]
    update: bool,
}

#[derive(Debug, Args)]
struct Source {
    /// A file with a plan.
    #[arg(required_unless_present = "seed")]
    plan: Option<PathBuf>,
    /// The plan that this seed draws.
    #[arg(long, conflicts_with = "plan")]
    seed: Option<u64>,
    /// With --seed: of this kind of scenario.
    #[arg(long, requires = "seed")]
    scenario: Option<Kind>,
    /// With --seed: only these faults.
    #[arg(long, value_parser = parse_faults, requires = "seed")]
    faults: Option<Swarm>,
}

#[derive(Debug, Args)]
struct Replay {
    #[command(flatten)]
    source: Source,
    /// Every event and action, readable.
    #[arg(long)]
    trace: bool,
    /// Writes what happened to this file, as a page for a browser.
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
}

#[derive(Debug, Args)]
struct Shrink {
    #[command(flatten)]
    source: Source,
    /// For so many seconds at most.
    #[arg(long, default_value_t = 60)]
    seconds: u64,
    /// Where the smaller plan is written; on standard output unless given.
    #[arg(short, long, value_name = "FILE")]
    out: Option<PathBuf>,
}

/// Why a command cannot do its work: what to say, and its exit code.
struct Refusal(String, u8);

impl From<io::Error> for Refusal {
    fn from(error: io::Error) -> Self {
        Self(error.to_string(), 74)
    }
}

const NO_INPUT: u8 = 66;
const CANNOT_CREATE: u8 = 73;

impl Arguments {
    /// Does what they say, and answers the exit code.
    pub fn run(self) -> u8 {
        let mut out = io::BufWriter::new(io::stdout().lock());
        let result = match self.command {
            Command::Run(run) => many::run(&mut out, &run),
            Command::Replay(replay) => replay.run(&mut out),
            Command::Shrink(shrink) => shrink.run(&mut out),
            Command::Explore(explore) => explore.run(&mut out).map_err(Refusal::from),
            Command::Aim(aim) => aim.run(&mut out),
            Command::Bench(arguments) => bench::run(&mut out, &arguments),
            Command::Show(source) => {
                source.plan().and_then(|plan| Ok(show::plan(&mut out, &plan).map(|()| 0)?))
            }
        };
        let flushed = out.flush().map_err(Refusal::from);
        match result.and_then(|code| flushed.map(|()| code)) {
            Ok(code) => code,
            // A reader that has gone away (`| head`) is no failure.
            Err(Refusal(what, 74)) if what.contains("Broken pipe") => 0,
            Err(Refusal(what, code)) => {
                eprintln!("error: {what}");
                code
            }
        }
    }
}

impl Source {
    /// The plan, with the faults that its seed draws.
    fn plan(&self) -> Result<Plan, Refusal> {
        match (&self.plan, self.seed) {
            (Some(path), _) => read(path),
            (None, seed) => Ok(self.drawn(seed.unwrap_or(0), false).plan),
        }
    }

    /// What came of it, and how many faults the plan has that never came about.
    fn outcome(&self, trace: bool) -> Result<(Outcome, usize), Refusal> {
        let Some(path) = &self.plan else { return Ok((self.drawn(self.seed.unwrap_or(0), trace), 0)) };
        let plan = read(path)?;
        let outcome = runner::run_plan(&plan, trace);
        let missing = plan.faults.len().saturating_sub(outcome.plan.faults.len());
        Ok((outcome, missing))
    }

    fn drawn(&self, seed: u64, trace: bool) -> Outcome {
        runner::run_seed(seed, self.scenario, self.faults.as_ref(), trace)
    }
}

fn read(path: &Path) -> Result<Plan, Refusal> {
    let shown = path.display();
    let text =
        std::fs::read_to_string(path).map_err(|error| Refusal(format!("{shown}: {error}"), NO_INPUT))?;
    Plan::parse(&text).map_err(|what| Refusal(format!("{shown} is no plan: {what}"), NO_INPUT))
}

fn write(path: &Path, plan: &Plan) -> Result<(), Refusal> {
    write_text(path, &(plan.text() + "\n"))
}

fn write_text(path: &Path, text: &str) -> Result<(), Refusal> {
    let written = std::fs::write(path, text);
    written.map_err(|error| Refusal(format!("{}: {error}", path.display()), CANNOT_CREATE))
}

impl Replay {
    fn run(&self, out: &mut impl Write) -> Result<u8, Refusal> {
        let (outcome, missing) = match &self.html {
            None => self.source.outcome(self.trace)?,
            Some(path) => shown(path, || self.source.outcome(self.trace))?,
        };
        for line in &outcome.trace {
            writeln!(out, "{line}")?;
        }
        summary::one(out, &outcome)?;
        if missing > 0 {
            writeln!(out, "{missing} of the plan's faults never came about")?;
        }
        Ok(told(out, &outcome.result)?)
    }
}

/// A run, and its space-time diagram.
fn shown(
    path: &Path,
    run: impl FnOnce() -> Result<(Outcome, usize), Refusal>,
) -> Result<(Outcome, usize), Refusal> {
    let (result, chronicle) = Chronicle::of(run);
    let (outcome, missing) = result?;
    let page = chronicle.page(&format!("seed {}", outcome.seed), outcome.result.as_ref().err());
    let written = std::fs::write(path, page);
    written.map_err(|error| Refusal(format!("{}: {error}", path.display()), CANNOT_CREATE))?;
    Ok((outcome, missing))
}

fn told(out: &mut impl Write, result: &Result<(), Failure>) -> io::Result<u8> {
    match result {
        Ok(()) => writeln!(out, "all well").map(|()| 0),
        Err(failure) => writeln!(out, "{failure}").map(|()| failure.kind.exit_code()),
    }
}

impl Shrink {
    fn run(&self, out: &mut impl Write) -> Result<u8, Refusal> {
        let plan = self.source.plan()?;
        let before = plan.faults.len();
        let Some(shrunk) = shrink::shrink(&plan, Duration::from_secs(self.seconds)) else {
            writeln!(out, "all well: there is nothing to make smaller")?;
            return Ok(0);
        };
        eprintln!("{}", how_small(before, &shrunk));
        match &self.out {
            Some(path) => {
                write(path, &shrunk.plan)?;
                writeln!(out, "{}", shrunk.failure)?;
                writeln!(out, "replay: xxnet sim replay {}", path.display())?;
            }
            None => writeln!(out, "{}", shrunk.plan.text())?,
        }
        Ok(shrunk.failure.kind.exit_code())
    }
}

fn how_small(before: usize, shrunk: &Shrunk) -> String {
    let after = shrunk.plan.faults.len();
    let end = if shrunk.done { "nothing more can be left out by itself" } else { "the time is up" };
    format!("{before} faults became {after} in {} runs: {end}", shrunk.runs)
}

/// Faults by their names, in which `-` stands for a space or a comma.
fn parse_faults(text: &str) -> Result<Swarm, String> {
    if text == "none" {
        return Ok(Swarm::none());
    }
    let plain = |name: &str| name.replace([' ', ','], "-").replace("--", "-");
    let kinds: Result<Vec<Fault>, String> = text
        .split(',')
        .map(|word| {
            let wanted = plain(word.trim());
            Fault::ALL.iter().copied().find(|fault| plain(fault.name()) == wanted).ok_or_else(|| {
                let all: Vec<String> = Fault::ALL.iter().map(|fault| plain(fault.name())).collect();
                format!("no fault is called {word:?}; these are: {}", all.join(", "))
            })
        })
        .collect();
    Ok(Swarm::only(&kinds?))
}
