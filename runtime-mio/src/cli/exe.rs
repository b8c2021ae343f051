//! `xxnet exe`: an executor.

use super::args::{self, RegArgs, default_listen, resolve};
use super::daemon::{ChildArgs, end_when_told, host_name, listen_failed, warn_if_readable};
use super::errors::{Failure, Outcome, exit};
use super::host::{self, Flow, Workshop};
use super::record::RecordArgs;
use super::trace::TraceArgs;
use super::{Common, logging, notices};
use std::path::PathBuf;
use tracing::level_filters::LevelFilter;
use xxnet_core::executor::{ExecutorCommand, ExecutorNotice};
use xxnet_core::needs::{Label, Need};
use xxnet_core::{Address, ExecutorConfig};

/// The options of `xxnet exe`.
#[derive(Debug, clap::Args)]
#[command(after_help = crate::cli::help::EXE)]
pub(crate) struct ExecutorArgs {
    #[command(flatten)]
    reg: RegArgs,
    /// Its name in lists and logs [default: this host's name]
    #[arg(long)]
    name: Option<String>,
    /// Where to listen [default: any port, on loopback if every registry is there, else on every interface]
    #[arg(long, value_name = "ADDR", value_parser = args::listen)]
    listen: Option<Address>,
    /// What others are told to dial, if that is not where it listens
    #[arg(long, value_name = "ADDR", value_parser = args::advertised)]
    advertise: Option<Address>,
    /// Commands to run at once [default: one a core]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    slots: Option<u32>,
    /// What this executor has, for `xxnet run --need`: a name, or a name and a value; `os` and `arch` are known by themselves
    #[arg(long = "label", value_name = "NAME[=VALUE]")]
    labels: Vec<Need>,
    /// Where tasks get their folders [default: ~/.cache/xxnet/work]
    #[arg(long, value_name = "DIR")]
    work_dir: Option<PathBuf>,
    /// Never take a refused connection as proof that a peer is dead; for networks where an address may answer for another
    /// host. Tasks of a dead executor then start again only when its lease is over (15 s)
    #[arg(long)]
    lease_only: bool,
    #[command(flatten)]
    trace: TraceArgs,
    #[command(flatten)]
    record: RecordArgs,
    #[command(flatten)]
    child: ChildArgs,
}

/// Runs until told to end.
pub(crate) fn exe(common: &Common, args: ExecutorArgs) -> Outcome<u8> {
    let registries = args.reg.registries()?;
    let listen = match &args.listen {
        Some(address) => resolve(address)?,
        None => default_listen(&registries),
    };
    let config = common.config(args.name.unwrap_or_else(host_name))?;
    let work = args.work_dir.map_or_else(default_work_dir, Ok)?;
    // What comes from here on is another process than the one that was started; that one stays above it.
    let workshop = Workshop::open()?;
    logging::start(&config.name, common.log_format, common.loudness().level(LevelFilter::INFO));
    logging::introduce("executor", config.instance);
    let executor = ExecutorConfig {
        registries,
        listen,
        advertise: args.advertise,
        slots: args.slots.unwrap_or_else(cores),
        client: false,
        labels: labels(args.labels),
        lease_only: args.lease_only,
    };
    let tracer = args.trace.begin("executor", &config.name, config.instance)?;
    let mut ended = Ok(exit::OK);
    host::executor(
        config,
        executor,
        Some((workshop, &work)),
        (tracer, Some(&args.record)),
        |door| {
            door.send(ExecutorCommand::Start);
            end_when_told(door, ExecutorCommand::Shutdown, &args.child)
        },
        |notice, _| {
            notices::log(&notice);
            if matches!(notice, ExecutorNotice::Registered { .. }) {
                args.child.announce(&notice);
            }
            match notice {
                ExecutorNotice::Listening(address) => warn_if_readable(address),
                ExecutorNotice::ListenFailed(address, error) => {
                    ended = Err(listen_failed(address, error));
                    return Flow::Stop;
                }
                ExecutorNotice::Stopped => return Flow::Stop,
                _ => {}
            }
            Flow::Continue
        },
    )?;
    ended
}

/// What an executor on this machine says of itself.
pub(crate) fn labels(given: Vec<Need>) -> Vec<Label> {
    let known = [("os", std::env::consts::OS), ("arch", std::env::consts::ARCH)];
    let known = known.map(|(name, value)| (name.to_owned(), value.to_owned()));
    known
        .into_iter()
        .chain(given.into_iter().map(|label| (label.name, label.value.unwrap_or_default())))
        .collect()
}

/// How many cores this process may use.
pub(crate) fn cores() -> u32 {
    std::thread::available_parallelism().ok().and_then(|cores| u32::try_from(cores.get()).ok()).unwrap_or(1)
}

/// `$XDG_CACHE_HOME/xxnet/work`, else `~/.cache/xxnet/work`.
pub(crate) fn default_work_dir() -> Outcome<PathBuf> {
    let absolute = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let cache = absolute("XDG_CACHE_HOME").or_else(|| absolute("HOME").map(|home| home.join(".cache")));
    cache.map(|cache| cache.join("xxnet/work")).ok_or_else(|| {
        Failure::new("HOME is not set, so there is no place for work folders; name one with --work-dir DIR")
    })
}
