//! `bench`: how fast the simulator is.

use super::Refusal;
use crate::bench::{self, Measured};
use clap::Args;
use std::io::Write;

#[derive(Debug, Args)]
pub(super) struct Bench {
    /// The last line is one JSON object.
    #[arg(long)]
    json: bool,
    /// How many peers play, a row each.
    #[arg(long, value_delimiter = ',', default_value = "10,100")]
    peers: Vec<usize>,
    /// Messages a row.
    #[arg(long, default_value_t = 2_000_000)]
    messages: u64,
    /// Seeds of clusters; 0: none.
    #[arg(long, default_value_t = 1_000)]
    seeds: u64,
}

pub(super) fn run(out: &mut impl Write, arguments: &Bench) -> Result<u8, Refusal> {
    let mut rows = Vec::new();
    for peers in arguments.peers.iter().copied() {
        let bar = if peers <= 10 { 1_500_000.0 } else { 1_000_000.0 };
        let measured = bench::ping_pong(peers, arguments.messages)
            .map_err(|failure| Refusal(failure.to_string(), failure.kind.exit_code()))?;
        rows.push((format!("messages a second, one thread, {peers} peers"), measured, measured.rate(), bar));
    }
    let jobs = std::thread::available_parallelism().map_or(1, usize::from);
    if arguments.seeds > 0 {
        let measured = bench::clusters(arguments.seeds, jobs);
        let what = format!("seeds of clusters a minute, {jobs} threads");
        rows.push((what, measured, measured.rate() * 60.0, 2_000.0));
    }
    for (what, measured, rate, bar) in &rows {
        let Measured { took, simulated, .. } = measured;
        let took = took.as_secs_f64();
        writeln!(
            out,
            "{what:<44}{rate:>12.0}  wanted {bar:>9.0}  ({took:.1} s, {simulated:.0} s simulated)"
        )?;
    }
    if arguments.json {
        let json: serde_json::Map<String, serde_json::Value> =
            rows.iter().map(|(what, _, rate, _)| (what.clone(), (*rate).into())).collect();
        writeln!(out, "{}", serde_json::Value::Object(json))?;
    }
    Ok(0)
}
