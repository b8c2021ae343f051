//! One question to a registry, one answer: what `nodes`, `tasks`, `cancel` and `why` share.

use super::Common;
use super::args::RegArgs;
use super::errors::{Failure, Outcome};
use super::host;
use super::words::no_registry;
use std::io::Write as _;
use xxnet_core::client::{ClientCommand, ClientNotice};
use xxnet_core::message::{Question, Reply};
use xxnet_core::{Address, TaskId, TaskName};

/// Asks the registries in turn until one answers.
///
/// # Errors
/// None did; says why the first one did not.
pub(crate) fn ask(common: &Common, reg: &RegArgs, question: &Question) -> Outcome<Reply> {
    let mut first = None;
    for registry in &reg.registries()? {
        match ask_one(common, registry, question)? {
            ClientNotice::Answered(reply) => return Ok(reply),
            ClientNotice::Failed(reason) => {
                first.get_or_insert_with(|| no_registry(registry, &reason));
            }
        }
    }
    Err(Failure::new(first.unwrap_or_else(|| "no registry is named; use --reg ADDR or XXNET_REG".to_owned())))
}

fn ask_one(common: &Common, registry: &Address, question: &Question) -> Outcome<ClientNotice> {
    let command = ClientCommand::Ask { registry: registry.clone(), question: question.clone() };
    host::client(common.config("question")?, command)
}

/// A task as people name it: `1a2b3c4d-7`.
pub(crate) fn task_name(text: &str) -> Result<TaskName, String> {
    TaskName::parse(text).ok_or_else(|| {
        format!("'{text}' is no task; tasks look like 1a2b3c4d-7, and `xxnet tasks` lists them")
    })
}

/// As it was typed.
pub(crate) fn typed(name: &TaskName) -> String {
    format!("{}-{}", name.publisher, name.number)
}

/// What to say when a name fits no task.
pub(crate) fn no_such_task(name: &TaskName) -> Failure {
    Failure::new(format!(
        "no task is called {}; `xxnet tasks` lists the tasks (those that ended more than ten minutes ago are forgotten)",
        typed(name)
    ))
}

/// What to say when a name fits several tasks.
pub(crate) fn ambiguous(name: &TaskName, tasks: &[TaskId]) -> Failure {
    // Eight digits are what lists show; whoever is here needs more of them.
    let names: Vec<String> = tasks
        .iter()
        .take(8)
        .map(|task| format!("{}-{}", super::keys::hex(&task.publisher.0), task.number))
        .collect();
    Failure::new(format!("several tasks are called {}; write more digits: {}", typed(name), names.join(", ")))
}

/// What to say when the publisher has the answer and does not give it.
pub(crate) fn publisher_silent(task: TaskId) -> Failure {
    Failure::new(format!(
        "the publisher of {task} does not answer; if it stays away, the task ends when its lease runs out (15 s)"
    ))
}

/// What to say when a registry answers something else than was asked.
pub(crate) fn wrong_answer() -> Failure {
    Failure::new("the registry gave an answer to another question; is it of the same version as this xxnet?")
}

/// Prints to standard output; a reader that has gone away is no error of ours.
///
/// # Errors
/// The output cannot be written, for another reason than a closed pipe.
pub(crate) fn print(text: &str) -> Outcome {
    print_bytes(text.as_bytes())
}

/// As [`print()`], with what need not be text.
///
/// # Errors
/// As [`print()`].
pub(crate) fn print_bytes(bytes: &[u8]) -> Outcome {
    let mut out = std::io::stdout().lock();
    match out.write_all(bytes).and_then(|()| out.flush()) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => {
            Err(Failure::silent(super::errors::exit::BROKEN_PIPE))
        }
        Err(error) => Err(Failure::new(format!("cannot write the answer: {}", super::errors::plain(&error)))),
    }
}

/// Micros as seconds, for JSON.
pub(crate) fn seconds(micros: u64) -> f64 {
    // Far below 2^53 microseconds, which are 285 years.
    micros as f64 / 1e6
}
