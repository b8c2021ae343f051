//! What `run` does with each notice, and what it exits with in the end.

use super::super::errors::{Failure, Outcome, exit};
use super::super::host::{self, Door, Flow};
use super::super::table::printable;
use super::super::words::{is_hopeless, no_registry, publish_error};
use super::super::{daemon, eprintln_quietly, notices, say, say_error};
use super::hint::Hint;
use super::input::Input;
use super::output::{Output, Piece, Trouble};
use super::progress::Progress;
use super::signal_code;
use std::collections::BTreeMap;
use std::io::IsTerminal as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};
use xxnet_core::connection::DisconnectReason;
use xxnet_core::disk::{Aside, Beside, FileError, FileErrorKind};
use xxnet_core::executor::{Ending, ExecutorCommand, ExecutorNotice};
use xxnet_core::message::{Exit, WaitReason};
use xxnet_core::needs::Need;
use xxnet_core::process::ExitStatus;
use xxnet_core::{Address, TaskId};

/// One task, from its publication to its end.
pub(super) struct Session {
    /// What runs, for people.
    command: String,
    needs: Vec<Need>,
    quiet: bool,
    logs: bool,
    streams: Option<(Output, Input)>,
    hint: Hint,
    progress: Progress,
    task: Option<TaskId>,
    /// Registries that are not connected now, and why; all of them hopeless is the end.
    lost: BTreeMap<Address, DisconnectReason>,
    registries: usize,
    /// Whether an executor has ever had the task: then a lost registry matters no more.
    granted: bool,
    /// An attempt that is over and whose output was shown; told when the next one begins.
    repeated: Option<String>,
    /// The signal that asked to end; 0 for none.
    interrupted: Arc<AtomicI32>,
    result: Option<Outcome<u8>>,
}

impl Session {
    /// Before anything has happened.
    pub(super) fn new(command: String, quiet: bool, logs: bool, registries: usize, needs: Vec<Need>) -> Self {
        Self {
            command,
            needs,
            quiet,
            logs,
            streams: None,
            hint: Hint::new(quiet),
            progress: Progress::new(quiet),
            task: None,
            lost: BTreeMap::new(),
            registries,
            granted: false,
            repeated: None,
            interrupted: Arc::default(),
            result: None,
        }
    }

    /// The machine is there; nothing was asked of it yet.
    pub(super) fn begin(&mut self, door: &Door<ExecutorCommand>) -> Outcome {
        self.streams = Some((Output::new(door.clone()), Input::new(door.clone())));
        let (door, interrupted) = (door.clone(), Arc::clone(&self.interrupted));
        let quiet = self.quiet;
        host::on_signals(move |signal, count| {
            if count > 1 {
                std::process::exit(i32::from(signal_code(signal)));
            }
            interrupted.store(signal, Ordering::SeqCst);
            if !quiet {
                say_cancelling(signal);
            }
            // Its own task is cancelled with it.
            door.send(ExecutorCommand::Shutdown);
        })
    }

    /// One notice.
    pub(super) fn on(&mut self, notice: ExecutorNotice, commands: &mut Vec<ExecutorCommand>) -> Flow {
        if self.logs {
            notices::log(&notice);
        }
        match notice {
            ExecutorNotice::ListenFailed(address, error) => {
                return self.fail(daemon::listen_failed(address, error));
            }
            ExecutorNotice::Registered { registry, .. } => self.registered(&registry),
            ExecutorNotice::RegistryLost { registry, reason, .. } => {
                return self.registry_lost(registry, reason);
            }
            ExecutorNotice::Published { task, .. } => self.task = Some(task),
            ExecutorNotice::PublishFailed { error, .. } => {
                return self.fail(Failure::new(publish_error(&error)));
            }
            ExecutorNotice::Waiting { reason, .. } => self.waits(reason),
            ExecutorNotice::Granted { attempt, name, .. } => {
                self.granted = true;
                self.hint.over();
                if let Some(lost) = self.repeated.take() {
                    self.progress.clear();
                    say(&format!("{lost}; attempt {} runs on {name}, and its output starts anew", attempt.0));
                }
            }
            ExecutorNotice::AttemptLost { attempt, executor, why, output_shown, .. } => {
                let lost = format!("attempt {} on {executor} is lost: {why}", attempt.0);
                self.hint.waits(format!("{lost}; waiting for another executor"));
                // Said even if quiet: what is on the screen is not the output of one run.
                self.repeated = output_shown.then_some(lost);
            }
            ExecutorNotice::Output { task, attempt, stream, offset, data } => {
                self.progress.clear();
                if let Some((output, _)) = &mut self.streams {
                    output.write(Piece { task, attempt, stream, offset, data });
                }
            }
            ExecutorNotice::InputWanted(task) => {
                if let Some((_, input)) = &mut self.streams {
                    input.wanted(task);
                }
            }
            ExecutorNotice::InputClosed(_) => {
                if let Some((_, input)) = &mut self.streams {
                    input.closed();
                }
            }
            ExecutorNotice::Progress { file, result, done, total, .. } => {
                self.progress.at(&file, result, done, total);
            }
            ExecutorNotice::LandedBeside { beside, .. } => {
                self.progress.clear();
                landed_beside(&beside).iter().for_each(|line| say(line));
            }
            ExecutorNotice::Ended { ending, .. } => {
                self.hint.over();
                self.progress.clear();
                self.result = Some(self.ended(ending));
                commands.push(ExecutorCommand::Shutdown);
            }
            ExecutorNotice::Stopped => return Flow::Stop,
            ExecutorNotice::Listening(_)
            | ExecutorNotice::Registering(_)
            | ExecutorNotice::Step { .. }
            | ExecutorNotice::FileStep { .. }
            | ExecutorNotice::Callback { .. }
            | ExecutorNotice::Running { .. }
            | ExecutorNotice::AttemptGranted { .. }
            | ExecutorNotice::AttemptStarted { .. }
            | ExecutorNotice::AttemptFinished { .. }
            | ExecutorNotice::AttemptStopped { .. }
            | ExecutorNotice::AttemptDone { .. }
            | ExecutorNotice::FolderStays { .. }
            | ExecutorNotice::Unreachable { .. }
            | ExecutorNotice::TurnedAway { .. }
            | ExecutorNotice::Misbehaved { .. }
            | ExecutorNotice::AcceptFailing(_) => {}
        }
        Flow::Continue
    }

    /// All that is left: the rest of the output, then the exit code.
    pub(super) fn end(mut self) -> Outcome<u8> {
        self.hint.over();
        self.progress.clear();
        let mut trouble = None;
        if let Some((output, _)) = &mut self.streams {
            output.finish();
            trouble = output.trouble().cloned();
        }
        match (self.interrupted.load(Ordering::SeqCst), trouble) {
            (0, Some(Trouble::BrokenPipe)) => Err(Failure::silent(exit::BROKEN_PIPE)),
            (0, Some(Trouble::Other(why))) => {
                Err(Failure::new(format!("cannot write the command's output: {why}; the task is cancelled")))
            }
            (0, None) => self
                .result
                .unwrap_or_else(|| Err(Failure::new("it was broken off before the task had ended"))),
            (signal, _) => match self.result {
                // It had ended before the signal could change anything.
                Some(result @ (Ok(_) | Err(_))) if !cancelled(&result) => result,
                _ => Err(Failure::silent(signal_code(signal))),
            },
        }
    }

    fn fail(&mut self, failure: Failure) -> Flow {
        self.result = Some(Err(failure));
        Flow::Stop
    }

    fn registered(&mut self, registry: &Address) {
        self.lost.remove(registry);
        if !self.granted {
            self.hint.waits(format!("waiting for the registry {registry} to find an executor"));
        }
    }

    fn registry_lost(&mut self, registry: Address, reason: DisconnectReason) -> Flow {
        if self.granted {
            return Flow::Continue;
        }
        self.lost.insert(registry.clone(), reason.clone());
        if self.lost.len() >= self.registries && self.lost.values().all(is_hopeless) {
            return self.fail(Failure::new(no_registry(&registry, &reason)));
        }
        if is_hopeless(&reason) {
            say_error(&no_registry(&registry, &reason));
        } else {
            self.hint.waits(format!(
                "no registry at {registry} yet ({reason}); trying again until it is there (is `xxnet up` running?)"
            ));
        }
        Flow::Continue
    }

    fn waits(&mut self, reason: WaitReason) {
        let why = self.task.map_or_else(String::new, |task| format!(" (more: xxnet why {task})"));
        self.hint.waits(match reason {
            WaitReason::NoExecutor => {
                "waiting: no other executor is registered; start one with `xxnet exe` or `xxnet up`"
                    .to_owned()
            }
            WaitReason::NoFreeSlot => format!("waiting: all slots are taken{why}"),
            WaitReason::Proposed(_) => format!("waiting: the task stands in line at an executor{why}"),
            WaitReason::AllAvoided => {
                format!("waiting: every executor has died under this task or cannot reach this machine{why}")
            }
            WaitReason::NeedsUnmet => {
                let needs: Vec<_> = self.needs.iter().map(ToString::to_string).collect();
                format!(
                    "waiting: no executor that is there has {}; `xxnet nodes` lists their labels, `xxnet exe --label` gives one",
                    needs.join(" and ")
                )
            }
        });
    }

    fn ended(&self, ending: Ending) -> Outcome<u8> {
        match ending {
            Ending::Done { exit, executor, outputs, .. } => self.done(exit, &executor, &outputs),
            Ending::Failed { attempts, set_aside } => Err(failed(&attempts, set_aside)),
            Ending::Cancelled if self.interrupted.load(Ordering::SeqCst) != 0 => {
                Err(Failure::silent(CANCELLED))
            }
            Ending::Cancelled => Err(Failure::new("the task was cancelled")),
            Ending::Expired => Err(Failure::new(
                "no executor took the task within its --patience; `xxnet nodes` lists who is there",
            )),
        }
    }

    fn done(&self, exit: Exit, executor: &str, outputs: &[Result<(), FileError>]) -> Outcome<u8> {
        let code = match exit {
            Exit::Status(ExitStatus::Code(code)) => u8::try_from(code).unwrap_or(exit::RUN_FAILED),
            Exit::Status(ExitStatus::Signal(signal)) => signal_code(signal),
            Exit::TimedOut => {
                say_error(&format!("the command ran longer than its --timeout on {executor} and was killed"));
                exit::TIMED_OUT
            }
            Exit::NotFound => {
                say_error(&format!(
                    "{executor} has no command '{}'; ship it with -i, or install it there",
                    self.command
                ));
                return Err(Failure::silent(exit::NOT_FOUND));
            }
            Exit::NotExecutable => {
                say_error(&format!(
                    "{executor} cannot execute '{}': it is no program, or one for another system",
                    self.command
                ));
                return Err(Failure::silent(exit::NOT_EXECUTABLE));
            }
        };
        let mut missing = false;
        for error in outputs.iter().filter_map(|output| output.as_ref().err()) {
            missing = true;
            say_error(&match error.kind {
                FileErrorKind::NotFound => format!("the command did not make the output {}", error.name),
                _ => format!("an output did not come back: {error}"),
            });
        }
        // The command's own failure says more than a missing output.
        if missing && code == exit::OK { Err(Failure::silent(exit::RUN_FAILED)) } else { Ok(code) }
    }
}

/// One sentence for each that is named. Said even if quiet: it is the user who must bring the two together.
fn landed_beside(beside: &Beside) -> Vec<String> {
    let line = |Aside { own, name }: &Aside| {
        let (own, name) = (printable(own), printable(name));
        format!(
            "{own} has changed here since it was shipped, so yours stays; the command's is beside it as {name}: \
             merge the two, then remove that one"
        )
    };
    let more = beside.count - beside.first.len() as u64;
    let rest = format!("and {more} more, each beside yours as NAME.xxnet-new");
    beside.first.iter().map(line).chain((more > 0).then_some(rest)).collect()
}

fn say_cancelling(signal: i32) {
    if signal != libc::SIGINT {
        return say("cancelling the task");
    }
    if std::io::stderr().is_terminal() {
        // The terminal has just shown ^C.
        eprintln_quietly("");
    }
    say("cancelling the task; Ctrl-C again leaves at once");
}

/// Stands for "cancelled by our own signal" until the signal's code takes its place.
const CANCELLED: u8 = exit::SIGNAL;

fn cancelled(result: &Outcome<u8>) -> bool {
    matches!(result, Err(failure) if failure.code == CANCELLED)
}

/// One sentence if all attempts failed alike, else a line for each.
fn failed(attempts: &[String], set_aside: bool) -> Failure {
    let aside = if set_aside { ": too many executors died under it" } else { "" };
    Failure::new(match attempts {
        [] => format!("the task failed{aside}"),
        [only] => format!("the task failed{aside}: {only}"),
        [first, rest @ ..] if rest.iter().all(|other| other == first) => {
            format!("the task failed in {} attempts{aside}: {first}", attempts.len())
        }
        many => format!("the task failed in {} attempts{aside}:\n  {}", many.len(), many.join("\n  ")),
    })
}

#[cfg(test)]
mod tests {
    use super::failed;

    #[test]
    fn t11_every_attempts_reason_is_told_once() {
        let told = |attempts: &[&str], aside| {
            failed(&attempts.iter().map(ToString::to_string).collect::<Vec<_>>(), aside).text
        };
        assert_eq!(told(&["a: full"], false), "the task failed: a: full");
        assert_eq!(told(&["a: full", "a: full"], false), "the task failed in 2 attempts: a: full");
        assert_eq!(
            told(&["a: full", "b: dead"], false),
            "the task failed in 2 attempts:\n  a: full\n  b: dead"
        );
        assert_eq!(
            told(&["a: died", "b: died"], true),
            "the task failed in 2 attempts: too many executors died under it:\n  a: died\n  b: died"
        );
        assert_eq!(told(&[], false), "the task failed");
    }
}
