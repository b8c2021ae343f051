//! `xxnet replay`: the machine of a recording runs again, and is compared.

use super::Common;
use super::ask::print;
use super::errors::{Failure, Outcome, exit, plain};
use super::{keys, say};
use crate::cli::table::printable;
use serde_json::{Value, json};
use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, BufReader, ErrorKind};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};
use xxnet_core::Instant;
use xxnet_core::executor::Executor;
use xxnet_core::registry::Registry;
use xxnet_runtime_mio::recording::files::before;
use xxnet_runtime_mio::recording::{
    Difference, Divergence, Header, HeaderError, Part, PartError, Report, Tail, Verdict, replay as run,
};

/// The machine did something else.
const DIVERGED: u8 = 2;
/// The file is none, or damaged (`EX_DATAERR`).
const DAMAGED: u8 = 65;

/// The options of `xxnet replay`.
#[derive(Debug, clap::Args)]
#[command(after_help = crate::cli::help::REPLAY)]
pub(crate) struct ReplayArgs {
    /// A recording that `xxnet reg`, `exe` or `up` has made with --record; what FILE.before holds comes first
    file: PathBuf,
    /// As JSON, with field names that stay
    #[arg(long)]
    json: bool,
}

/// Replays, prints, exits by what came of it.
pub(crate) fn replay(common: &Common, args: &ReplayArgs) -> Outcome<u8> {
    let path = &args.file;
    let Parts { parts, header, left_out } = Parts::open(path)?;
    if header.version != env!("CARGO_PKG_VERSION") {
        say(&format!(
            "recorded by xxnet {}, and this is {}: what has changed between them may show as a divergence",
            printable(&header.version),
            env!("CARGO_PKG_VERSION")
        ));
    }
    if let Some(why) = &left_out {
        say(&format!("{} is left out: {why}", before(path).display()));
    }
    let report = again(common, path, &header, parts)?.map_err(|error| cannot(path, &error))?;
    print(&if args.json { format!("{:#}\n", as_json(&header, &report)) } else { as_text(&header, &report) })?;
    let damaged =
        [Some(report.tail), report.gap].iter().flatten().any(|tail| matches!(tail, Tail::Damaged(_)));
    Ok(match &report.verdict {
        Verdict::Diverged(_) => DIVERGED,
        Verdict::Unreadable(_) | Verdict::UnreadableState(_) => DAMAGED,
        Verdict::Same if damaged || left_out.is_some() => DAMAGED,
        Verdict::Same => exit::OK,
    })
}

fn cannot(path: &Path, error: &io::Error) -> Failure {
    Failure::new(format!("cannot read {}: {}", path.display(), plain(error)))
}

fn damaged(path: &Path, why: &impl ToString) -> Failure {
    Failure { code: DAMAGED, text: format!("cannot replay {}: {}", path.display(), why.to_string()) }
}

type Open = Part<BufReader<File>>;

/// What there is of a recording, oldest first.
struct Parts {
    parts: Vec<Open>,
    /// Of the newest.
    header: Header,
    /// Why the part before the newest cannot be one of them.
    left_out: Option<String>,
}

impl Parts {
    fn open(path: &Path) -> Outcome<Self> {
        // The older one first: a daemon that turns meanwhile puts the newest into its place, and not the other way round.
        let older = open(&before(path));
        let newest = match (open(path), older) {
            // A daemon that was killed between two renames.
            (Err(error), Ok(Ok(newest))) if error.kind() == ErrorKind::NotFound => {
                return Ok(Self { header: newest.header.clone(), parts: vec![newest], left_out: None });
            }
            (newest, older) => (newest.map_err(|error| cannot(path, &error))?, older),
        };
        let (newest, older) = (newest.0.map_err(|error| damaged(path, &error))?, newest.1);
        let header = newest.header.clone();
        let (older, left_out) = match older {
            Ok(Ok(older)) if older.header.leads_to(&header) => (Some(older), None),
            // Of another run, or the daemon has turned while we looked.
            Ok(Ok(_)) => (None, None),
            Ok(Err(error)) => (None, Some(error.to_string())),
            Err(error) if error.kind() == ErrorKind::NotFound => (None, None),
            Err(error) => (None, Some(plain(&error))),
        };
        Ok(Self { header, parts: older.into_iter().chain([newest]).collect(), left_out })
    }
}

fn open(path: &Path) -> io::Result<Result<Open, PartError>> {
    Part::open(BufReader::with_capacity(1 << 20, File::open(path)?))
}

/// Builds the machine and runs it.
fn again(common: &Common, path: &Path, header: &Header, parts: Vec<Open>) -> Outcome<io::Result<Report>> {
    let settings = header.subject.settings().map_err(|error| damaged(path, &error))?;
    let key = keys::find(common.key_file())?;
    let config = header.config(key.clone()).map_err(|error| match error {
        HeaderError::WrongKey => Failure::new(format!(
            "cannot replay {}: the recorded {} had another cluster key; name its key file with --key-file FILE",
            path.display(),
            header.subject.role()
        )),
        HeaderError::Unreadable => damaged(path, &error),
    })?;
    Ok(match settings {
        None => run(|| Registry::new(config), &key, parts),
        Some(settings) => run(|| Executor::new(config, settings), &key, parts),
    })
}

fn span(report: &Report) -> Duration {
    report.span.map_or(Duration::ZERO, |(first, last)| last.since(first))
}

/// How long after the first event.
fn after(report: &Report, at: Instant) -> f64 {
    report.span.map_or(0.0, |(first, _)| at.since(first).as_secs_f64())
}

/// A moment as people write it.
fn moment(micros: u64) -> Option<String> {
    let at = SystemTime::UNIX_EPOCH.checked_add(Duration::from_micros(micros))?;
    // The year 10000 and what comes behind it cannot be written.
    (micros < 253_402_300_800_000_000).then(|| humantime::format_rfc3339_seconds(at).to_string())
}

/// From when to when there is something.
fn held(header: &Header, report: &Report) -> Option<(String, String)> {
    let (first, last) = report.span?;
    Some((moment(header.wall(first))?, moment(header.wall(last))?))
}

fn as_text(header: &Header, report: &Report) -> String {
    let mut text = format!(
        "{} {}, recorded by xxnet {} from {} on\n",
        header.subject.role(),
        printable(header.name()),
        printable(&header.version),
        moment(header.began).as_deref().unwrap_or("an unknown time")
    );
    if report.before > 0 {
        let _ = writeln!(text, "{} events before those below are not held any more", report.before);
    }
    if let Some((from, to)) = held(header, report) {
        let _ = writeln!(text, "held from {from} to {to}");
    }
    let _ = writeln!(
        text,
        "{} events in {:.3} s; {} actions and {} states compared",
        report.events,
        span(report).as_secs_f64(),
        report.actions,
        report.states
    );
    if let Some(gap) = report.gap {
        text.push_str(&gap_text(gap));
    }
    match &report.verdict {
        Verdict::Same => text.push_str("all the same\n"),
        Verdict::Diverged(divergence) => text.push_str(&divergence_text(report, divergence)),
        Verdict::Unreadable(event) => {
            let _ =
                writeln!(text, "event {event} is none that this version knows: nothing behind it was tried");
        }
        Verdict::UnreadableState(event) => {
            let _ = writeln!(
                text,
                "the state before event {event} is none that this version knows: nothing behind it was tried"
            );
        }
    }
    if let Some(state) = report.state {
        let _ = writeln!(text, "state {state}");
    }
    match report.tail {
        Tail::Whole => {}
        Tail::Paused => text.push_str("what came then did not fit into the recording; the daemon went on\n"),
        Tail::Turned => text.push_str("it goes on in the next part of the recording\n"),
        Tail::Cut(at) => {
            let _ = writeln!(
                text,
                "the recording has no end: the daemon was killed, is still there, or the file was cut; whole up to \
                 byte {at}"
            );
        }
        Tail::Damaged(at) => {
            let _ = writeln!(text, "the file is damaged from byte {at} on: nothing behind that was read");
        }
    }
    text
}

/// Between two parts something is missing.
fn gap_text(older: Tail) -> String {
    let why = match older {
        Tail::Damaged(at) => format!("is damaged from byte {at} on"),
        Tail::Cut(at) => format!("ends in its midst, at byte {at}"),
        Tail::Paused => "ends where something did not fit".to_owned(),
        Tail::Whole | Tail::Turned => "does not lead to what follows".to_owned(),
    };
    format!("the part before the newest {why}: the newest was run from the state that it begins with\n")
}

fn divergence_text(report: &Report, divergence: &Divergence) -> String {
    let mut text = format!(
        "diverged at event {}, {:.6} s after the first: {}\n",
        divergence.event,
        after(report, divergence.at),
        divergence.words
    );
    let or_nothing = |words: &Option<String>| words.clone().unwrap_or_else(|| "nothing more".to_owned());
    let _ = match &divergence.difference {
        Difference::Action { number, recorded, now } => writeln!(
            text,
            "  action {number} was    {}\n  action {number} is now {}",
            or_nothing(recorded),
            or_nothing(now)
        ),
        Difference::State { recorded, now } => {
            writeln!(text, "  the same actions, but the state was {recorded} and is now {now}")
        }
        Difference::Panic { text: why } => writeln!(text, "  the machine panicked: {why}"),
    };
    text
}

fn as_json(header: &Header, report: &Report) -> Value {
    let (verdict, divergence) = match &report.verdict {
        Verdict::Same => ("same", Value::Null),
        Verdict::Diverged(divergence) => ("diverged", divergence_json(report, divergence)),
        Verdict::Unreadable(event) => ("unreadable", json!({ "event": event })),
        Verdict::UnreadableState(event) => ("unreadable-state", json!({ "event": event })),
    };
    let (tail, at) = tail_json(report.tail);
    let (from, to) = held(header, report).unzip();
    json!({
        "machine": header.subject.role(),
        "name": header.name(),
        "version": header.version,
        "began": moment(header.began),
        "from": from,
        "to": to,
        "before": report.before,
        "events": report.events,
        "seconds": span(report).as_secs_f64(),
        "actions": report.actions,
        "states": report.states,
        "state": report.state.map(|state| state.to_string()),
        "verdict": verdict,
        "divergence": divergence,
        "tail": tail,
        "tail_at": at,
        "gap": report.gap.map(|gap| tail_json(gap).0),
    })
}

fn tail_json(tail: Tail) -> (&'static str, Option<u64>) {
    match tail {
        Tail::Whole => ("whole", None),
        Tail::Paused => ("paused", None),
        Tail::Turned => ("turned", None),
        Tail::Cut(at) => ("cut", Some(at)),
        Tail::Damaged(at) => ("damaged", Some(at)),
    }
}

fn divergence_json(report: &Report, divergence: &Divergence) -> Value {
    let difference = match &divergence.difference {
        Difference::Action { number, recorded, now } => {
            json!({ "action": number, "recorded": recorded, "now": now })
        }
        Difference::State { recorded, now } => {
            json!({ "recorded_state": recorded.to_string(), "state_now": now.to_string() })
        }
        Difference::Panic { text } => json!({ "panic": text }),
    };
    json!({
        "event": divergence.event,
        "seconds": after(report, divergence.at),
        "what": divergence.words,
        "difference": difference,
    })
}
