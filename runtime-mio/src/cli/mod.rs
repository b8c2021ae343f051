//! The command line: one file a subcommand.

mod args;
mod ask;
mod bench;
mod cancel;
mod children;
mod daemon;
mod demo;
mod errors;
mod exe;
mod help;
mod host;
mod json;
mod keys;
mod listen;
mod logging;
mod messages;
mod nodes;
mod notices;
mod ping;
mod record;
mod reg;
mod replay;
mod run;
mod scratch;
mod send;
mod style;
mod table;
mod tasks;
mod trace;
mod up;
mod why;
mod words;

use clap::error::ErrorKind;
use clap::{ArgAction, Parser, Subcommand};
use errors::{Failure, Outcome, exit};
use logging::{LogFormat, Loudness};
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use style::{Style, Tone};
use xxnet_core::{ClusterKey, Config, InstanceId};

/// Run a command on another machine, with its files, and bring the results back.
#[derive(Debug, Parser)]
#[command(name = "xxnet", version, after_help = help::XXNET, arg_required_else_help = true)]
struct Cli {
    #[command(flatten)]
    common: Common,
    #[command(subcommand)]
    command: Command,
}

/// What every subcommand takes.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Common {
    /// Say more; twice, even more
    #[arg(short, long, global = true, action = ArgAction::Count)]
    #[arg(help_heading = help::EVERYWHERE, display_order = 900)]
    verbose: u8,
    /// Say less; twice, nothing but errors
    #[arg(short, long, global = true, action = ArgAction::Count)]
    #[arg(help_heading = help::EVERYWHERE, display_order = 901)]
    quiet: u8,
    /// The cluster key [default: ~/.config/xxnet/key, made on first use]
    #[arg(long, global = true, value_name = "FILE", env = "XXNET_KEY_FILE", hide_env_values = true)]
    #[arg(help_heading = help::EVERYWHERE, display_order = 902)]
    key_file: Option<PathBuf>,
    /// How logs are written to standard error: text or json
    #[arg(
        long,
        global = true,
        value_enum,
        value_name = "FORMAT",
        default_value_t,
        hide_possible_values = true
    )]
    #[arg(help_heading = help::EVERYWHERE, display_order = 903)]
    log_format: LogFormat,
}

impl Common {
    /// For machines that this process runs beside its own purpose.
    fn quiet(key: &Path) -> Self {
        Self { verbose: 0, quiet: 0, key_file: Some(key.to_path_buf()), log_format: LogFormat::Text }
    }

    fn loudness(&self) -> Loudness {
        Loudness::new(self.verbose, self.quiet)
    }

    fn key(&self) -> Outcome<ClusterKey> {
        keys::load(self.key_file())
    }

    /// The key file that was named; an empty name is as good as none.
    fn key_file(&self) -> Option<&Path> {
        self.key_file.as_deref().filter(|path| !path.as_os_str().is_empty())
    }

    /// A node of that name: a new instance, the cluster's key, a seed from the system.
    fn config(&self, name: impl Into<String>) -> Outcome<Config> {
        let name = name.into();
        if name.is_empty() || name.len() > Config::MAX_NAME || name.chars().any(char::is_control) {
            return Err(Failure::usage(format!(
                "a name has 1 to {} bytes and no control characters",
                Config::MAX_NAME
            )));
        }
        let mut random = [0; 24];
        getrandom::fill(&mut random)
            .map_err(|error| Failure::new(format!("the system gives no random numbers: {error}")))?;
        let (instance, seed) = random.split_at(16);
        let instance = InstanceId(instance.try_into().unwrap_or_default());
        let seed = u64::from_le_bytes(seed.try_into().unwrap_or_default());
        Ok(Config::new(instance, name, self.key()?, seed))
    }
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Show a whole cluster at work on this machine: a task with real files, step by step
    Demo(demo::DemoArgs),
    /// Start a registry and executors on this machine, until Ctrl-C
    Up(up::UpArgs),
    /// Run a command on another executor, with its files
    Run(run::RunArgs),
    /// Be the registry: knows who is there, assigns tasks
    Reg(reg::RegistryArgs),
    /// Be an executor: runs tasks
    Exe(exe::ExecutorArgs),
    /// List the executors and clients
    Nodes(nodes::NodesArgs),
    /// List the tasks
    Tasks(tasks::TasksArgs),
    /// End tasks, wherever they run
    Cancel(cancel::CancelArgs),
    /// Say what a task waits for, since when, until when, and what then
    Why(why::WhyArgs),
    /// Say who answers at an address, and how fast
    Ping(ping::PingArgs),
    /// Print the messages that come, one JSON object a line
    Listen(listen::ListenArgs),
    /// Send messages, and say which were not acknowledged
    Send(send::SendArgs),
    /// Show what daemons traced, as a page for a browser
    Trace(trace::ShowArgs),
    /// Run a recorded registry or executor again, and say whether it does the same
    Replay(replay::ReplayArgs),
    /// Measure, beside a floor measured in the same run
    Bench(bench::BenchArgs),
    /// Run the same machines in a simulated world of faults
    Sim(xxnet_sim::command::Arguments),
}

/// Parses, runs, and says in one sentence what went wrong.
pub(crate) fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return usage(&error),
    };
    let outcome = match cli.command {
        Command::Demo(args) => demo::demo(&cli.common, &args),
        Command::Up(args) => up::up(&cli.common, &args),
        Command::Run(args) => run::run(&cli.common, args).map_err(Failure::in_run),
        Command::Reg(args) => reg::reg(&cli.common, &args),
        Command::Exe(args) => exe::exe(&cli.common, args),
        Command::Nodes(args) => nodes::nodes(&cli.common, &args),
        Command::Tasks(args) => tasks::tasks(&cli.common, &args),
        Command::Cancel(args) => cancel::cancel(&cli.common, &args),
        Command::Why(args) => why::why(&cli.common, &args),
        Command::Ping(args) => ping::ping(&cli.common, &args),
        Command::Listen(args) => listen::listen(&cli.common, &args),
        Command::Send(args) => send::send(&cli.common, &args),
        Command::Trace(args) => trace::trace(&cli.common, &args),
        Command::Replay(args) => replay::replay(&cli.common, &args),
        Command::Bench(args) => bench::bench(&cli.common, &args),
        Command::Sim(args) => Ok(args.run()),
    };
    ExitCode::from(outcome.unwrap_or_else(|failure| {
        if !failure.text.is_empty() {
            say_error(&failure.text);
        }
        failure.code
    }))
}

/// One sentence on standard error.
pub(crate) fn say_error(text: &str) {
    eprintln_quietly(&format!("{} {text}", Style::stderr().paint(Tone::Bad, "xxnet:")));
}

/// One hint on standard error.
pub(crate) fn say(text: &str) {
    eprintln_quietly(&format!("{} {text}", Style::stderr().paint(Tone::Bold, "xxnet:")));
}

/// As `eprintln!`, but a standard error that is closed is no reason to die.
pub(crate) fn eprintln_quietly(line: &str) {
    use std::io::Write as _;
    let _ = std::io::stderr().lock().write_all(format!("{line}\n").as_bytes());
}

/// Help and version go where they should; `run` has 125 for a wrong command line, as `env` and `docker run` have it, so
/// that it can be told from the command's own 2; `replay` and `sim`, where 2 is a finding, have 64.
fn usage(error: &clap::Error) -> ExitCode {
    if !error.use_stderr() {
        let _ = error.print();
        return ExitCode::from(exit::OK);
    }
    if error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        let _ = error.print();
    } else {
        say_error(&sentence(&error.render().to_string()));
    }
    let command = subcommand(std::env::args_os().skip(1));
    ExitCode::from(match command.as_ref().and_then(|command| command.to_str()) {
        Some("run") => exit::RUN_FAILED,
        Some("replay" | "sim") => exit::OTHER_USAGE,
        _ => exit::USAGE,
    })
}

/// The parser's message as one sentence: what is wrong, its tip, and where to read on.
fn sentence(rendered: &str) -> String {
    let usage = rendered.lines().find_map(|line| line.strip_prefix("Usage: xxnet "));
    let command =
        usage.and_then(|usage| usage.split(' ').next()).filter(|word| word.starts_with(char::is_lowercase));
    let told: Vec<&str> = rendered
        .lines()
        .take_while(|line| !line.starts_with("Usage:") && !line.starts_with("For more information"))
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .collect();
    let told = told.join(" ").replacen("error: ", "", 1).replace(" tip:", "; tip:");
    let help = command.map_or_else(|| "xxnet --help".to_owned(), |command| format!("xxnet {command} --help"));
    format!("{told}; see `{help}`")
}

/// The first word that is neither an option nor an option's value.
fn subcommand(words: impl Iterator<Item = OsString>) -> Option<OsString> {
    let mut value = false;
    for word in words {
        if std::mem::replace(&mut value, word == "--key-file" || word == "--log-format") {
            continue;
        }
        if !word.as_encoded_bytes().starts_with(b"-") {
            return Some(word);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn a_wrong_command_line_is_one_sentence() {
        let told = |words: &[&str]| sentence(&Cli::try_parse_from(words).unwrap_err().render().to_string());
        assert_eq!(
            told(&["xxnet", "run"]),
            "the following required arguments were not provided: <CMD>...; see `xxnet run --help`"
        );
        let wrong = told(&["xxnet", "nodes", "--reg", "a b"]);
        assert!(wrong.contains("'a b' is no address") && wrong.ends_with("; see `xxnet --help`"), "{wrong}");
        assert!(told(&["xxnet", "node"]).contains("; tip: "), "{}", told(&["xxnet", "node"]));
    }

    #[test]
    fn a_wrong_command_line_of_run_is_told_apart() {
        let is =
            |line: &str| subcommand(line.split(' ').map(OsString::from)).is_some_and(|word| word == "run");
        assert!(is("run --bogus"));
        assert!(is("-v --key-file nodes run"));
        assert!(!is("nodes run"));
        assert!(!is("--key-file run nodes"));
        assert!(!is("--bogus"));
    }
}
