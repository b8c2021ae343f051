//! `xxnet cancel TASK…`: ends tasks, wherever they run.

use super::args::RegArgs;
use super::ask::{ambiguous, ask, no_such_task, print, publisher_silent, task_name, typed, wrong_answer};
use super::errors::{Outcome, exit};
use super::words::end_kind;
use super::{Common, say_error};
use serde_json::{Value, json};
use xxnet_core::TaskName;
use xxnet_core::message::{Question, Reply};

/// The options of `xxnet cancel`.
#[derive(Debug, clap::Args)]
#[command(after_help = crate::cli::help::CANCEL)]
pub(crate) struct CancelArgs {
    #[command(flatten)]
    reg: RegArgs,
    /// As JSON, with field names that stay
    #[arg(long)]
    json: bool,
    /// The tasks, as `xxnet tasks` lists them
    #[arg(required = true, value_name = "TASK", value_parser = task_name)]
    tasks: Vec<TaskName>,
}

/// Cancels one after the other; one that cannot be cancelled does not keep the others.
pub(crate) fn cancel(common: &Common, args: &CancelArgs) -> Outcome<u8> {
    let mut code = exit::OK;
    let mut rows = Vec::new();
    for name in &args.tasks {
        match cancel_one(common, args, name) {
            Ok((row, text)) if !args.json => {
                rows.push(row);
                print(&format!("{text}\n"))?;
            }
            Ok((row, _)) => rows.push(row),
            Err(failure) => {
                code = failure.code;
                say_error(&failure.text);
                rows.push(json!({ "task": typed(name), "result": "error", "error": failure.text }));
            }
        }
    }
    if args.json {
        print(&format!("{:#}\n", json!({ "tasks": rows })))?;
    }
    Ok(code)
}

fn cancel_one(common: &Common, args: &CancelArgs, name: &TaskName) -> Outcome<(Value, String)> {
    let told = |task: String, result: &str, text: String| (json!({ "task": task, "result": result }), text);
    match ask(common, &args.reg, &Question::Cancel(name.clone()))? {
        Reply::Cancelled(task) => Ok(told(task.to_string(), "cancelled", format!("{task} is cancelled"))),
        Reply::AlreadyEnded(task, how) => {
            let how = end_kind(how);
            Ok(told(task.to_string(), how, format!("{task} had ended before ({how})")))
        }
        Reply::NoSuchTask => Err(no_such_task(name)),
        Reply::Ambiguous(tasks) => Err(ambiguous(name, &tasks)),
        Reply::PublisherSilent(task) => Err(publisher_silent(task)),
        Reply::Nodes(_) | Reply::Tasks { .. } | Reply::Labels(_) | Reply::Why(_) => Err(wrong_answer()),
    }
}
