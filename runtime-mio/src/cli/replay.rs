//! `xxnet replay`: the machine of a recording runs again, and is compared.

use super::Common;
use super::ask::print;
use super::errors::{Failure, Outcome, exit, plain};
use super::{keys, say};
use crate::cli::table::printable;
use serde_json::{Value, json};
use std::fmt::Write as _;
use std::fs::File;
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};
use xxnet_core::Instant;
use xxnet_core::executor::Executor;
use xxnet_core::registry::Registry;
use xxnet_runtime_mio::recording::{
    Difference, Divergence, Header, HeaderError, Reader, Record, Report, Tail, Verdict, replay as run,
};

/// The machine did something else.
const DIVERGED: u8 = 2;
/// The file is none, or damaged (`EX_DATAERR`).
const DAMAGED: u8 = 65;

/// The options of `xxnet replay`.
#[derive(Debug, clap::Args)]
#[command(after_help = crate::cli::help::REPLAY)]
pub(crate) struct ReplayArgs {
    /// A recording that `xxnet reg` or `xxnet exe` has made with --record
    file: PathBuf,
    /// As JSON, with field names that stay
    #[arg(long)]
    json: bool,
}

/// Replays, prints, exits by what came of it.
pub(crate) fn replay(common: &Common, args: &ReplayArgs) -> Outcome<u8> {
    let path = &args.file;
    let cannot = |error| Failure::new(format!("cannot read {}: {}", path.display(), plain(&error)));
    let file = File::open(path).map_err(cannot)?;
    let mut reader = Reader::new(BufReader::with_capacity(1 << 20, file))
        .map_err(cannot)?
        .ok_or_else(|| damaged(path, "it is no recording of xxnet"))?;
    let header = header(path, reader.read().map_err(cannot)?)?;
    if header.version != env!("CARGO_PKG_VERSION") {
        say(&format!(
            "recorded by xxnet {}, and this is {}: what has changed between them may show as a divergence",
            printable(&header.version),
            env!("CARGO_PKG_VERSION")
        ));
    }
    let report = again(common, path, &header, &mut reader)?.map_err(cannot)?;
    print(&if args.json { format!("{:#}\n", as_json(&header, &report)) } else { as_text(&header, &report) })?;
    Ok(match (&report.verdict, report.tail) {
        (Verdict::Diverged(_), _) => DIVERGED,
        (Verdict::Unreadable(_), _) | (_, Tail::Damaged(_)) => DAMAGED,
        (Verdict::Same, _) => exit::OK,
    })
}

fn damaged(path: &Path, why: &str) -> Failure {
    Failure { code: DAMAGED, text: format!("cannot replay {}: {why}", path.display()) }
}

fn header(path: &Path, first: Option<Record>) -> Outcome<Header> {
    match first {
        Some(Record::Header(json)) => {
            Header::from_json(&json).map_err(|error| damaged(path, &error.to_string()))
        }
        Some(_) => Err(damaged(path, "it does not say of which machine it is")),
        None => Err(damaged(path, "its beginning is damaged or not there")),
    }
}

/// Builds the machine and runs it.
fn again<R: Read>(
    common: &Common,
    path: &Path,
    header: &Header,
    reader: &mut Reader<R>,
) -> Outcome<std::io::Result<Report>> {
    let unusable = |error: HeaderError| damaged(path, &error.to_string());
    let settings = header.subject.settings().map_err(unusable)?;
    let config = header.config(keys::find(common.key_file())?).map_err(|error| match error {
        HeaderError::WrongKey => Failure::new(format!(
            "cannot replay {}: the recorded {} had another cluster key; name its key file with --key-file FILE",
            path.display(),
            header.subject.role()
        )),
        HeaderError::Unreadable => unusable(error),
    })?;
    Ok(match settings {
        None => run(Registry::new(config), reader),
        Some(settings) => run(Executor::new(config, settings), reader),
    })
}

fn span(report: &Report) -> Duration {
    report.span.map_or(Duration::ZERO, |(first, last)| last.since(first))
}

/// How long after the first event.
fn after(report: &Report, at: Instant) -> f64 {
    report.span.map_or(0.0, |(first, _)| at.since(first).as_secs_f64())
}

fn began(header: &Header) -> Option<String> {
    let at = SystemTime::UNIX_EPOCH.checked_add(Duration::from_micros(header.began))?;
    // The year 10000 and what comes behind it cannot be written.
    (header.began < 253_402_300_800_000_000).then(|| humantime::format_rfc3339_seconds(at).to_string())
}

fn as_text(header: &Header, report: &Report) -> String {
    let mut text = format!(
        "{} {}, recorded by xxnet {} from {} on\n",
        header.subject.role(),
        printable(header.name()),
        printable(&header.version),
        began(header).as_deref().unwrap_or("an unknown time")
    );
    let _ = writeln!(
        text,
        "{} events in {:.3} s; {} actions and {} states compared",
        report.events,
        span(report).as_secs_f64(),
        report.actions,
        report.states
    );
    match &report.verdict {
        Verdict::Same => text.push_str("all the same\n"),
        Verdict::Diverged(divergence) => text.push_str(&divergence_text(report, divergence)),
        Verdict::Unreadable(event) => {
            let _ =
                writeln!(text, "event {event} is none that this version knows: nothing behind it was tried");
        }
    }
    if let Some(state) = report.state {
        let _ = writeln!(text, "state {state}");
    }
    match report.tail {
        Tail::Whole => {}
        Tail::Full => text.push_str("the recording had reached its limit there; the daemon went on\n"),
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
    };
    let (tail, at) = match report.tail {
        Tail::Whole => ("whole", None),
        Tail::Full => ("full", None),
        Tail::Cut(at) => ("cut", Some(at)),
        Tail::Damaged(at) => ("damaged", Some(at)),
    };
    json!({
        "machine": header.subject.role(),
        "name": header.name(),
        "version": header.version,
        "began": began(header),
        "events": report.events,
        "seconds": span(report).as_secs_f64(),
        "actions": report.actions,
        "states": report.states,
        "state": report.state.map(|state| state.to_string()),
        "verdict": verdict,
        "divergence": divergence,
        "tail": tail,
        "tail_at": at,
    })
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
