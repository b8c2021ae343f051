//! `xxnet why TASK`: what it waits for, since when, until when, and what then.

use super::Common;
use super::args::RegArgs;
use super::ask::{ambiguous, ask, no_such_task, print, publisher_silent, seconds, task_name, wrong_answer};
use super::errors::{Outcome, exit};
use super::style::{Style, Tone};
use super::table::{printable, span};
use super::words::end_kind;
use serde_json::{Value, json};
use std::fmt::Write as _;
use xxnet_core::TaskName;
use xxnet_core::message::{Question, Reply, WhyRow};

/// The options of `xxnet why`.
#[derive(Debug, clap::Args)]
#[command(after_help = crate::cli::help::WHY)]
pub(crate) struct WhyArgs {
    #[command(flatten)]
    reg: RegArgs,
    /// As JSON, with field names that stay
    #[arg(long)]
    json: bool,
    /// The task, as `xxnet tasks` lists it
    #[arg(value_name = "TASK", value_parser = task_name)]
    task: TaskName,
}

/// Asks and prints.
pub(crate) fn why(common: &Common, args: &WhyArgs) -> Outcome<u8> {
    let (json, text) = match ask(common, &args.reg, &Question::Why(args.task.clone()))? {
        Reply::Why(row) => (as_json(&row), as_text(&row, Style::stdout())),
        Reply::AlreadyEnded(task, how) => {
            let how = end_kind(how);
            (json!({ "task": task.to_string(), "state": how }), format!("{task} has ended: {how}\n"))
        }
        Reply::NoSuchTask => return Err(no_such_task(&args.task)),
        Reply::Ambiguous(tasks) => return Err(ambiguous(&args.task, &tasks)),
        Reply::PublisherSilent(task) => return Err(publisher_silent(task)),
        Reply::Nodes(_) | Reply::Tasks { .. } | Reply::Labels(_) | Reply::Cancelled(_) => {
            return Err(wrong_answer());
        }
    };
    print(&if args.json { format!("{json:#}\n") } else { text })?;
    Ok(exit::OK)
}

fn as_json(row: &WhyRow) -> Value {
    json!({
        "task": row.task.to_string(),
        "state": row.state,
        "waits_for": row.waits_for,
        "since_seconds": seconds(row.since),
        "until_seconds": row.until.map(seconds),
        "then": row.then,
        "attempts": row.attempts,
    })
}

fn as_text(row: &WhyRow, style: Style) -> String {
    let mut text = String::new();
    let mut line = |name: &str, value: String| {
        let _ =
            writeln!(text, "{} {}", style.paint(Tone::Bold, format_args!("{name:<10}")), printable(&value));
    };
    line("task", row.task.to_string());
    line("state", format!("{}, for {}", row.state, span(row.since)));
    if !row.waits_for.is_empty() {
        line("waits for", row.waits_for.clone());
    }
    match row.until {
        Some(until) => line("until", format!("{} from now", span(until))),
        None => line("until", "it happens: there is no deadline".to_owned()),
    }
    if !row.then.is_empty() {
        line("then", row.then.clone());
    }
    for (at, attempt) in row.attempts.iter().enumerate() {
        line(if at == 0 { "attempts" } else { "" }, attempt.clone());
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use xxnet_core::{InstanceId, TaskId};

    #[test]
    fn all_of_the_answer_is_shown() {
        let row = WhyRow {
            task: TaskId { publisher: InstanceId([0xab; 16]), number: 7 },
            state: "running on node-2".into(),
            waits_for: "the command to end".into(),
            since: 12_000_000,
            until: Some(3_000_000),
            then: "it is killed".into(),
            attempts: vec!["attempt 1 on node-1: it died".into(), "attempt 2".into()],
        };
        assert_eq!(
            as_text(&row, Style::plain()),
            "task       abababab-7\nstate      running on node-2, for 12s\nwaits for  the command to end\n\
             until      3.0s from now\nthen       it is killed\nattempts   attempt 1 on node-1: it died\n           attempt 2\n"
        );
        let json = as_json(&row);
        let names: Vec<&String> = json.as_object().unwrap().keys().collect();
        assert_eq!(
            names,
            ["attempts", "since_seconds", "state", "task", "then", "until_seconds", "waits_for"]
        );
    }
}
