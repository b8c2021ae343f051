//! `explore`: the search at the command line.

use super::{Bounds, Scenario, Search};
use clap::{Args, ValueEnum};
use std::io::{self, Write};
use std::time::{Duration, Instant};

/// Every order of packs, ends of commands and deadlines, with so many faults at any moment.
#[derive(Clone, Debug, Args)]
pub struct Explore {
    /// Which world.
    #[arg(long)]
    scenario: Scenario,
    /// Faults on one way, at most.
    #[arg(long, default_value_t = 1)]
    faults: u8,
    /// How often on one way time may go on although something else could have happened before.
    #[arg(long, default_value_t = 0)]
    late: u8,
    /// Steps of the longest way, at most.
    #[arg(long)]
    depth: Option<usize>,
    /// States, at most.
    #[arg(long)]
    states: Option<usize>,
    /// Seconds, at most.
    #[arg(long)]
    seconds: Option<u64>,
}

impl ValueEnum for Scenario {
    fn value_variants<'a>() -> &'a [Self] {
        &Self::ALL
    }

    fn to_possible_value(&self) -> Option<clap::builder::PossibleValue> {
        Some(clap::builder::PossibleValue::new(self.name()))
    }
}

impl Explore {
    /// Searches, and says what was seen. Answers the exit code: 0 all well, 2 a machine has contradicted itself or what must not
    /// be is, 75 a bound was reached first.
    ///
    /// # Errors
    /// The output's.
    pub fn run(&self, out: &mut impl Write) -> io::Result<u8> {
        let mut bounds = Bounds::default();
        bounds.depth = self.depth.unwrap_or(bounds.depth);
        bounds.states = self.states.unwrap_or(bounds.states);
        bounds.time = self.seconds.map_or(bounds.time, Duration::from_secs);
        let began = Instant::now();
        let (scenario, faults, late) = (self.scenario, self.faults, self.late);
        let seen = Search { scenario, faults, late, bounds }.run();
        let took = began.elapsed().as_secs_f64();
        writeln!(out, "{}: {faults} faults, {late} times late", scenario.name())?;
        writeln!(
            out,
            "{} states by {} steps in {took:.1} s ({:.0} states, {:.0} steps a second); {} settled, longest way {} steps; {} different processes, {} different steps of one",
            seen.states,
            seen.steps,
            seen.states as f64 / took,
            seen.steps as f64 / took,
            seen.settled,
            seen.depth,
            seen.processes.0,
            seen.processes.1
        )?;
        if let Some((what, way)) = &seen.broken {
            writeln!(out, "BROKEN: {what}")?;
            for (number, line) in way.iter().enumerate() {
                writeln!(out, "{:>4} {line}", number + 1)?;
            }
            return Ok(2);
        }
        match seen.bound {
            Some(bound) => {
                writeln!(out, "NOT ALL: the bound on {bound} was reached; all well so far")?;
                Ok(75)
            }
            None => {
                writeln!(out, "that is all there is, and all is well")?;
                Ok(0)
            }
        }
    }
}
