//! `xxnet bench`: figures beside a floor that is measured in the same run, so that the ratio means something on any machine.

mod file;
mod msg;
mod tasks;

use super::args;
use super::children::{ChildId, Children, text};
use super::errors::{Failure, Outcome, exit, plain};
use super::host::{self, Flow};
use super::scratch::Scratch;
use super::{Common, ask, keys};
use clap::Subcommand;
use serde_json::Value;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Instant;
use xxnet_core::executor::{Ending, ExecutorCommand, ExecutorNotice, InputFile, TaskSpec};
use xxnet_core::message::Placement;
use xxnet_core::{Address, ExecutorConfig, TaskId, Token};

/// The options of `xxnet bench`.
#[derive(Debug, clap::Args)]
#[command(after_help = crate::cli::help::BENCH)]
pub(crate) struct BenchArgs {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Many small tasks, the latency of one, and an idle registry; the floor is bare spawn and wait
    Tasks(TasksArgs),
    /// One large input, verified at another executor; the floor is `cp --reflink=never` on the same file system
    File(FileArgs),
    /// Messages between two programs; the floor is a plain length-prefixed program on the same sockets
    Msg(MsgArgs),
}

#[derive(Debug, clap::Args)]
struct TasksArgs {
    /// How many tasks
    #[arg(long, value_name = "N", default_value_t = 2000, value_parser = clap::value_parser!(u32).range(2..=100_000))]
    tasks: u32,
    /// As JSON, with field names that stay
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Args)]
struct FileArgs {
    /// How large: 64M, 2G
    #[arg(long, value_name = "SIZE", default_value = "2G", value_parser = args::size)]
    size: u64,
    /// Where the file, its copy and the executor's folder are, each as large
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// How often; the fastest of each counts
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=100))]
    rounds: u32,
    /// As JSON, with field names that stay
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Args)]
struct MsgArgs {
    /// Only rows whose name contains this
    #[arg(long, value_name = "TEXT")]
    only: Option<String>,
    /// So many times as many messages
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=100))]
    scale: u32,
    /// As JSON, with field names that stay
    #[arg(long)]
    json: bool,
}

/// Measures and prints.
pub(crate) fn bench(_: &Common, args: &BenchArgs) -> Outcome<u8> {
    match &args.what {
        What::Tasks(args) => tasks::tasks(args)?,
        What::File(args) => file::file(args)?,
        What::Msg(args) => msg::msg(args)?,
    }
    Ok(exit::OK)
}

/// A registry and one executor, in a folder of their own.
struct Cluster {
    // Children first: they end before their folder goes.
    children: Children,
    scratch: Scratch,
    key: PathBuf,
    registry: Address,
    registry_id: ChildId,
}

impl Cluster {
    /// A registry alone.
    fn start(scratch: Scratch) -> Outcome<Self> {
        let key = scratch.at("key");
        keys::create(&key)?;
        let mut children = Children::new(Some(key.clone()))?;
        let args = ["reg", "-q", "--name=registry", "--listen=127.0.0.1:0"].map(ToString::to_string);
        let registry_id = children.daemon("registry", &args)?;
        let line = children.wait_for(registry_id, "listening", |_, _| {})?;
        let registry = text(&line, "address")
            .parse()
            .map_err(|_| Failure::new("the registry does not say where it listens"))?;
        Ok(Self { children, scratch, key, registry, registry_id })
    }

    /// An executor that says nothing more than it must.
    fn executor(&mut self, slots: u32) -> Outcome {
        let work = self.scratch.at("work");
        let args = [
            "exe".to_owned(),
            "-q".to_owned(),
            format!("--reg={}", self.registry),
            "--name=node-1".to_owned(),
            format!("--slots={slots}"),
            format!("--work-dir={}", work.display()),
        ];
        let executor = self.children.daemon("node-1", &args)?;
        self.children.wait_for(executor, "registered", |_, _| {}).map(drop)
    }

    /// Publishes all from this process, and waits until all have ended well.
    fn publish(&self, specs: Vec<TaskSpec>) -> Outcome<Published> {
        let common = Common::quiet(&self.key);
        let executor = ExecutorConfig {
            registries: vec![self.registry.clone()],
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            advertise: None,
            slots: 0,
            client: true,
            labels: Vec::new(),
            lease_only: false,
        };
        let mut left = specs.len();
        let mut specs = Some(specs);
        let mut published =
            Published { began: Instant::now(), all: Instant::now(), running: BTreeMap::new() };
        let mut failure = None;
        host::executor(
            common.config("bench")?,
            executor,
            None,
            (None, None),
            |door| {
                door.send(ExecutorCommand::Start);
                Ok(())
            },
            |notice, commands| {
                match notice {
                    ExecutorNotice::Registered { .. } => {
                        // The figure is about tasks, not about starting.
                        published.began = Instant::now();
                        let specs = (1..).zip(specs.take().unwrap_or_default());
                        commands.extend(
                            specs.map(|(n, spec)| ExecutorCommand::Publish { token: Token(n), spec }),
                        );
                    }
                    ExecutorNotice::Running { task, .. } => {
                        published.running.insert(task, Instant::now());
                    }
                    ExecutorNotice::Ended { ending, .. } => {
                        if let Some(why) = went_wrong(&ending) {
                            failure = Some(why);
                            left = 1;
                        }
                        left -= 1;
                        if left == 0 {
                            published.all = Instant::now();
                            commands.push(ExecutorCommand::Shutdown);
                        }
                    }
                    ExecutorNotice::PublishFailed { error, .. } => {
                        failure = Some(super::words::publish_error(&error));
                        return Flow::Stop;
                    }
                    ExecutorNotice::RegistryLost { registry, reason, .. } => {
                        failure = Some(super::words::no_registry(&registry, &reason));
                        return Flow::Stop;
                    }
                    ExecutorNotice::Stopped => return Flow::Stop,
                    _ => {}
                }
                Flow::Continue
            },
        )?;
        failure.map_or(Ok(published), |why| {
            Err(Failure::new(format!("a task of the measurement failed: {why}")))
        })
    }
}

/// What a measurement needs to know.
struct Published {
    began: Instant,
    all: Instant,
    running: BTreeMap<TaskId, Instant>,
}

fn went_wrong(ending: &Ending) -> Option<String> {
    use xxnet_core::message::Exit;
    use xxnet_core::process::ExitStatus;
    match ending {
        Ending::Done { exit: Exit::Status(ExitStatus::Code(0)), .. } => None,
        Ending::Done { exit, .. } => Some(super::words::exit_words(*exit)),
        Ending::Failed { attempts, .. } => Some(attempts.join("; ")),
        Ending::Cancelled => Some("it was cancelled".to_owned()),
        Ending::Expired => Some("nobody took it".to_owned()),
    }
}

/// A task with these inputs, run elsewhere.
fn task(argv: &[&str], inputs: Vec<InputFile>) -> TaskSpec {
    TaskSpec {
        argv: argv.iter().map(|word| word.as_bytes().to_vec()).collect(),
        env: Vec::new(),
        inputs,
        outputs: Vec::new(),
        stdin: false,
        timeout: None,
        patience: None,
        attempts: Some(1),
        placement: Placement::Others,
        needs: Vec::new(),
    }
}

/// Prints the JSON or the text.
fn show(json: bool, value: &Value, text: &str) -> Outcome {
    ask::print(&if json { format!("{value:#}\n") } else { text.to_owned() })
}

fn cannot(what: &str) -> impl Fn(std::io::Error) -> Failure {
    let what = what.to_owned();
    move |error| Failure::new(format!("cannot {what}: {}", plain(&error)))
}

/// To a few digits that mean something.
fn rounded(value: f64, digits: i32) -> f64 {
    let scale = 10f64.powi(digits);
    (value * scale).round() / scale
}
