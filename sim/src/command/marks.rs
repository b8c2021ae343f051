//! `run --marks`: what was reached, what never, and what the list of marks says to that.

use super::{NO_INPUT, Refusal, Run, write, write_text};
use crate::aim;
use crate::failure::FailureKind;
use crate::marks::{Ledger, Mark, Reached};
use crate::runner::{self, Summary};
use clap::Args;
use std::collections::BTreeSet;
use std::io::{self, Write};
use std::path::PathBuf;

/// What at most so many seeds reach is told with one of them.
const RARE: u64 = 3;

/// Tells of marks what was asked for; answers the exit code.
pub(super) fn tell(out: &mut impl Write, arguments: &Run, summary: &Summary) -> Result<u8, Refusal> {
    if arguments.marks {
        list(out, &summary.marks)?;
    }
    let unlisted = summary.marks.unlisted();
    for (mark, times) in &unlisted {
        writeln!(out, "a step that no table has: {mark} (seed {})", times.first)?;
    }
    match &arguments.marks_file {
        Some(path) => {
            let well = compare(out, path, arguments.update, summary)? && unlisted.is_empty();
            Ok(if well { 0 } else { FailureKind::Liveness.exit_code() })
        }
        None => Ok(0),
    }
}

fn list(out: &mut impl Write, reached: &Reached) -> io::Result<()> {
    writeln!(out, "marks never reached")?;
    reached.never().iter().try_for_each(|mark| writeln!(out, "  {mark}"))?;
    writeln!(out, "marks reached by {RARE} seeds or fewer")?;
    let rare = reached.rare(RARE);
    rare.iter().try_for_each(|(mark, times)| writeln!(out, "  {mark} (seed {})", times.first))
}

/// Holds what was reached against the list, or writes that anew; whether it is right.
fn compare(
    out: &mut impl Write,
    path: &std::path::Path,
    update: bool,
    summary: &Summary,
) -> Result<bool, Refusal> {
    let unread = |what: String| Refusal(format!("{}: {what}", path.display()), NO_INPUT);
    let older = match std::fs::read_to_string(path) {
        Ok(text) => Some(Ledger::parse(&text).map_err(unread)?),
        Err(error) if update && error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => return Err(unread(error.to_string())),
    };
    let corpus = runner::run_corpus(&path.with_file_name("corpus")).map_err(unread)?;
    if update {
        let ledger = Ledger::of(summary.seeds, &summary.marks, &corpus, older.as_ref());
        write_text(path, &ledger.text())?;
        for mark in ledger.unexplained() {
            writeln!(out, "never reached, and nobody says why: {mark}")?;
        }
    }
    let ledger = if update { None } else { older };
    let verdict =
        ledger.map(|ledger| ledger.judge(summary.seeds, &summary.marks, &corpus)).unwrap_or_default();
    write!(out, "{verdict}")?;
    Ok(verdict.is_well())
}

/// For JSON: how many, and what was not or hardly reached.
pub(super) fn json(reached: &Reached) -> serde_json::Value {
    let (count, of) = reached.counts();
    let names = |marks: Vec<Mark>| marks.iter().map(ToString::to_string).collect::<Vec<_>>();
    let rare: serde_json::Map<String, serde_json::Value> =
        reached.rare(RARE).iter().map(|(mark, times)| (mark.to_string(), times.first.into())).collect();
    let unlisted: serde_json::Map<String, serde_json::Value> =
        reached.unlisted().iter().map(|(mark, times)| (mark.to_string(), times.first.into())).collect();
    serde_json::json!({
        "reached": count, "of": of, "never": names(reached.never()), "rare": rare, "unlisted": unlisted,
    })
}

#[derive(Debug, Args)]
pub(super) struct Aim {
    /// The list of marks.
    #[arg(long, value_name = "FILE")]
    marks_file: PathBuf,
    /// Where the plans are written.
    #[arg(long, value_name = "FOLDER")]
    out: PathBuf,
    /// The first seed.
    #[arg(long, default_value_t = 0)]
    start: u64,
    /// How many seeds are tried, behind the plans of the corpus beside the list.
    #[arg(long, default_value_t = 200)]
    seeds: u64,
}

impl Aim {
    pub(super) fn run(&self, out: &mut impl Write) -> Result<u8, Refusal> {
        let unread = |what: String| Refusal(format!("{}: {what}", self.marks_file.display()), NO_INPUT);
        let text = std::fs::read_to_string(&self.marks_file).map_err(|error| unread(error.to_string()))?;
        let ledger = Ledger::parse(&text).map_err(unread)?;
        let folder = self.marks_file.with_file_name("corpus");
        let corpus = runner::corpus(&folder).map_err(unread)?;
        let reached = runner::run_corpus(&folder).map_err(unread)?;
        let never = |mark: &Mark| ledger.is_never(&mark.to_string()) && reached.times(*mark).is_none();
        let mut wanted: BTreeSet<Mark> = Mark::all().into_iter().filter(never).collect();
        let drawn = (self.start..self.start.saturating_add(self.seeds)).flat_map(aim::bases);
        for base in corpus.into_iter().chain(drawn) {
            let Some((plan, _)) = aim::plan(base, &mut wanted) else { continue };
            let name = |number| self.out.join(format!("aimed-{number}.json"));
            let Some(path) = (1..).map(name).find(|path| !path.exists()) else { break };
            write(&path, &plan)?;
            writeln!(out, "{}: {}", path.display(), plan.why)?;
        }
        wanted.iter().try_for_each(|mark| writeln!(out, "not reached: {mark}"))?;
        Ok(0)
    }
}
