//! `xxnet tasks`: which tasks there are.

use super::Common;
use super::args::RegArgs;
use super::ask::{ask, print, seconds, wrong_answer};
use super::errors::{Outcome, exit};
use super::style::{Style, Tone};
use super::table::{Table, span};
use super::words::{end_kind, wait_reason};
use serde_json::{Value, json};
use xxnet_core::message::{EndKind, Question, Reply, TaskRow, TaskState};

/// The options of `xxnet tasks`.
#[derive(Debug, clap::Args)]
#[command(after_help = crate::cli::help::TASKS)]
pub(crate) struct TasksArgs {
    #[command(flatten)]
    reg: RegArgs,
    /// As JSON, with field names that stay
    #[arg(long)]
    json: bool,
}

/// Asks and prints.
pub(crate) fn tasks(common: &Common, args: &TasksArgs) -> Outcome<u8> {
    let Reply::Tasks { rows, more } = ask(common, &args.reg, &Question::Tasks)? else {
        return Err(wrong_answer());
    };
    print(&if args.json {
        format!("{:#}\n", as_json(&rows, more))
    } else {
        as_text(&rows, more, Style::stdout())
    })?;
    Ok(exit::OK)
}

fn state(row: &TaskRow) -> &'static str {
    match row.state {
        TaskState::Waiting(_) => "waiting",
        TaskState::Running(_) => "running",
        TaskState::Ended(kind) => end_kind(kind),
    }
}

fn as_json(rows: &[TaskRow], more: u64) -> Value {
    let tasks: Vec<Value> = rows
        .iter()
        .map(|row| {
            let (waits_for, attempt) = match &row.state {
                TaskState::Waiting(reason) => (Some(wait_reason(reason)), None),
                TaskState::Running(attempt) => (None, Some(attempt.0)),
                TaskState::Ended(_) => (None, None),
            };
            json!({
                "task": row.task.to_string(),
                "command": row.title,
                "state": state(row),
                "waits_for": waits_for,
                "attempt": attempt,
                "since_seconds": seconds(row.since),
                "executor": row.executor,
                "publisher": row.publisher,
            })
        })
        .collect();
    json!({ "tasks": tasks, "more": more })
}

fn as_text(rows: &[TaskRow], more: u64, style: Style) -> String {
    if rows.is_empty() {
        return "no tasks; publish one with `xxnet run -- COMMAND`\n".to_owned();
    }
    let mut table = Table::new(&["TASK", "STATE", "SINCE", "EXECUTOR", "PUBLISHER", "COMMAND"]);
    for row in rows {
        let tone = match &row.state {
            TaskState::Waiting(_) => Tone::Warn,
            TaskState::Running(_) => Tone::Good,
            TaskState::Ended(EndKind::Done) => Tone::Dim,
            TaskState::Ended(EndKind::Failed | EndKind::Cancelled | EndKind::Expired) => Tone::Bad,
        };
        let executor = row.executor.clone().unwrap_or_else(|| "-".to_owned());
        let cells = [row.task.to_string(), state(row).to_owned(), span(row.since), executor];
        table.row(tone, cells.into_iter().chain([row.publisher.clone(), row.title.clone()]));
    }
    let mut text = table.render(style);
    if more > 0 {
        text.push_str(&format!("and {more} more\n"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use xxnet_core::message::WaitReason;
    use xxnet_core::{InstanceId, TaskId};

    fn row(state: TaskState) -> TaskRow {
        TaskRow {
            task: TaskId { publisher: InstanceId([0xab; 16]), number: 7 },
            title: "make -j\x1b[2J".into(),
            state,
            since: 61_000_000,
            executor: None,
            publisher: "run-9@here".into(),
        }
    }

    #[test]
    fn json_keeps_its_field_names() {
        let json = as_json(&[row(TaskState::Waiting(WaitReason::NoFreeSlot))], 3);
        let names: Vec<&String> = json["tasks"][0].as_object().unwrap().keys().collect();
        let expected =
            ["attempt", "command", "executor", "publisher", "since_seconds", "state", "task", "waits_for"];
        assert_eq!(names, expected);
        assert_eq!(json["more"], 3);
        assert_eq!(json["tasks"][0]["waits_for"], "all slots are taken");
    }

    #[test]
    fn text_aligns_and_says_what_is_left_out() {
        assert!(as_text(&[], 0, Style::plain()).contains("no tasks"));
        let text = as_text(&[row(TaskState::Ended(EndKind::Done))], 3, Style::plain());
        assert_eq!(
            text,
            "TASK        STATE  SINCE  EXECUTOR  PUBLISHER   COMMAND\n\
             abababab-7  done   1m 1s  -         run-9@here  make -j\\u{1b}[2J\nand 3 more\n"
        );
    }
}
