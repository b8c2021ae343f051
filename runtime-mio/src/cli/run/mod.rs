//! `xxnet run`: publishes one task from this process and stands in for its command here: streams, exit code, signals.

mod hint;
mod input;
mod output;
mod progress;
mod session;

use super::args::{self, RegArgs, default_listen, resolve};
use super::daemon::host_name;
use super::errors::{Failure, Outcome, exit, plain};
use super::exe::{default_work_dir, labels};
use super::host::{self, Workshop};
use super::logging::LogFormat;
use super::table::printable;
use super::trace::TraceArgs;
use super::{Common, logging};
use session::Session;
use std::cell::RefCell;
use std::ffi::{CString, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::time::Duration;
use tracing::level_filters::LevelFilter;
use xxnet_core::executor::{ExecutorCommand, InputFile, OutputFile, TaskSpec};
use xxnet_core::message::Placement;
use xxnet_core::needs::Need;
use xxnet_core::{Address, ExecutorConfig, Token};

/// The options of `xxnet run`.
#[derive(Debug, clap::Args)]
#[command(after_help = crate::cli::help::RUN)]
pub(crate) struct RunArgs {
    #[command(flatten)]
    reg: RegArgs,
    /// An input file or folder, and its name there [default: its own name]
    #[arg(short = 'i', long = "in", value_name = "PATH[:NAME]")]
    inputs: Vec<OsString>,
    /// An output file or folder, and where it goes here [default: this folder]
    #[arg(short = 'o', long = "out", value_name = "NAME[:PATH]")]
    outputs: Vec<OsString>,
    /// Ship this folder, run inside it, and bring back what changed
    #[arg(short = 'C', long = "dir", value_name = "DIR")]
    dir: Option<PathBuf>,
    /// Set a variable for the command; without a value, pass on this shell's
    #[arg(short = 'e', long = "env", value_name = "K[=V]")]
    env: Vec<OsString>,
    /// Kill the command if it runs longer: 90s, 5m, 1.5h
    #[arg(long, value_name = "D", value_parser = args::duration)]
    timeout: Option<Duration>,
    /// Give up if no executor has taken it after this long [default: wait]
    #[arg(long, value_name = "D", value_parser = args::duration)]
    patience: Option<Duration>,
    /// Only an executor with this label: a name, or a name and its value; may be given again
    #[arg(long = "need", value_name = "NAME[=VALUE]")]
    needs: Vec<Need>,
    /// Run again so often if an executor is lost; a command that ran and failed is never repeated [default: 4]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(0..=1000))]
    retries: Option<u32>,
    /// Run it here, in a folder of its own, without any registry
    #[arg(long)]
    local: bool,
    /// Do not forward standard input
    #[arg(short = 'n', long)]
    no_stdin: bool,
    /// Where executors reach this process [default: any port, on loopback if every registry is there, else on every
    /// interface]
    #[arg(long, value_name = "ADDR", value_parser = args::listen)]
    listen: Option<Address>,
    /// What executors are told to dial, if that is not where it listens
    #[arg(long, value_name = "ADDR", value_parser = args::advertised)]
    advertise: Option<Address>,
    #[command(flatten)]
    trace: TraceArgs,
    /// The command and its arguments
    #[arg(required = true, value_name = "CMD", trailing_var_arg = true)]
    command: Vec<OsString>,
}

/// Publishes the task, waits for its end, exits as it did.
pub(crate) fn run(common: &Common, args: RunArgs) -> Outcome<u8> {
    // All that can be wrong here is found before anybody is asked.
    let stdin = !args.no_stdin && input::is_forwarded();
    let spec = spec(&args, stdin)?;
    let command = args.command.first().map_or_else(String::new, |word| printable(&word.to_string_lossy()));
    let registries = if args.local { Vec::new() } else { args.reg.registries()? };
    let listen = match &args.listen {
        Some(address) => resolve(address)?,
        None => default_listen(&registries),
    };
    let config = common.config(format!("run-{}@{}", std::process::id(), host_name()))?;
    // Before any thread: it forks, and the child goes on.
    let base = if args.local { default_work_dir()? } else { PathBuf::new() };
    let workshop = if args.local { Some(Workshop::open()?) } else { None };
    let logs = common.loudness().is_verbose() || common.log_format == LogFormat::Json;
    if logs {
        logging::start(&config.name, common.log_format, common.loudness().level(LevelFilter::INFO));
        logging::introduce("publisher", config.instance);
    }
    let executor = ExecutorConfig {
        registries,
        listen,
        advertise: args.advertise,
        slots: u32::from(args.local),
        client: true,
        labels: if args.local { labels(Vec::new()) } else { Vec::new() },
        lease_only: false,
    };
    let tracer = args.trace.begin("publisher", &config.name, config.instance)?;
    let quiet = common.loudness().is_quiet();
    let session = RefCell::new(Session::new(command, quiet, logs, executor.registries.len(), args.needs));
    host::executor(
        config,
        executor,
        workshop.map(|workshop| (workshop, base.as_path())),
        (tracer, None),
        |door| {
            session.borrow_mut().begin(door)?;
            door.send(ExecutorCommand::Start);
            door.send(ExecutorCommand::Publish { token: Token(1), spec });
            Ok(())
        },
        |notice, commands| session.borrow_mut().on(notice, commands),
    )?;
    session.into_inner().end()
}

/// Turns the options into a task, and checks all that can be checked on this machine.
fn spec(args: &RunArgs, stdin: bool) -> Outcome<TaskSpec> {
    let mut inputs = Vec::new();
    let mut outputs = Vec::new();
    if let Some(dir) = &args.dir {
        let metadata = dir.metadata().map_err(|error| {
            Failure::new(format!("cannot ship the folder {}: {}", dir.display(), plain(&error)))
        })?;
        if !metadata.is_dir() {
            return Err(Failure::usage(format!(
                "{} is no folder; -C takes one, -i takes files",
                dir.display()
            )));
        }
        check_writable(dir, "what changes")?;
        inputs.push(InputFile { path: absolute(dir)?, name: b".".to_vec() });
        outputs.push(OutputFile::Changes);
    }
    for text in &args.inputs {
        let input = args::input(text)?;
        if inputs.iter().any(|other| other.name == input.name) {
            let name = String::from_utf8_lossy(&input.name).into_owned();
            return Err(Failure::usage(format!(
                "two inputs would both be called {name} there; give one another name: -i {}:NAME",
                input.path.display()
            )));
        }
        check_name(&input.name)?;
        check_readable(&input.path)?;
        inputs.push(InputFile { path: absolute(&input.path)?, name: input.name });
    }
    for text in &args.outputs {
        let output = args::output(text)?;
        check_name(&output.name)?;
        let path = absolute(&output.path)?;
        let twice =
            |other: &OutputFile| matches!(other, OutputFile::Named { path: taken, .. } if *taken == path);
        if outputs.iter().any(twice) {
            return Err(Failure::usage(format!(
                "two outputs would both become {}; give one another place: -o NAME:PATH",
                output.path.display()
            )));
        }
        let folder = output.path.parent().filter(|folder| !folder.as_os_str().is_empty());
        check_writable(folder.unwrap_or(Path::new(".")), &output.path.display().to_string())?;
        outputs.push(OutputFile::Named { name: output.name, path });
    }
    let env = args.env.iter().filter_map(|text| args::variable(text).transpose()).collect::<Outcome<_>>()?;
    Ok(TaskSpec {
        argv: args.command.iter().cloned().map(OsString::into_vec).collect(),
        env,
        inputs,
        outputs,
        stdin,
        timeout: args.timeout,
        patience: args.patience,
        attempts: args.retries.map(|retries| retries + 1),
        placement: if args.local { Placement::Publisher } else { Placement::Others },
        needs: args.needs.clone(),
    })
}

/// A name must stay within the work folder.
fn check_name(name: &[u8]) -> Outcome {
    let leaves = name.starts_with(b"/") || name.split(|b| *b == b'/').any(|part| part == b"..");
    if !leaves {
        return Ok(());
    }
    Err(Failure::usage(format!(
        "the name '{}' leads out of the work folder; names are relative to it, without ..",
        String::from_utf8_lossy(name)
    )))
}

fn check_readable(path: &Path) -> Outcome {
    access(path, libc::R_OK)
        .map_err(|error| Failure::new(format!("cannot read the input {}: {}", path.display(), plain(&error))))
}

fn check_writable(folder: &Path, what: &str) -> Outcome {
    let shown = folder.display();
    if !folder.is_dir() {
        return Err(Failure::new(format!("there is no folder {shown} to put {what} into; make it first")));
    }
    access(folder, libc::W_OK | libc::X_OK).map_err(|error| {
        Failure::new(format!("cannot put {what} into the folder {shown}: {}", plain(&error)))
    })
}

/// Whether this user may; only a hint, what counts is the attempt itself.
fn access(path: &Path, mode: libc::c_int) -> std::io::Result<()> {
    let path = CString::new(path.as_os_str().as_bytes())?;
    // SAFETY: the path is a string that ends in NUL and lives through the call.
    if unsafe { libc::access(path.as_ptr(), mode) } == 0 {
        Ok(())
    } else {
        Err(std::io::Error::last_os_error())
    }
}

/// Paths stay right whatever the runtime does with its own folder.
fn absolute(path: &Path) -> Outcome<Vec<u8>> {
    std::path::absolute(path)
        .map(|path| path.into_os_string().into_vec())
        .map_err(|error| Failure::new(format!("cannot tell where {} is: {}", path.display(), plain(&error))))
}

/// 128 and the signal's number, as shells have it.
pub(crate) fn signal_code(signal: i32) -> u8 {
    u8::try_from(signal).map_or(exit::RUN_FAILED, |signal| exit::SIGNAL.saturating_add(signal))
}
