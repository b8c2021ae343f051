//! `xxnet reg`: the registry.
// The doc comments are help texts, in which [:PORT] is an option and no link.
#![allow(rustdoc::broken_intra_doc_links)]

use super::args::{listen, resolve};
use super::daemon::{ChildArgs, end_when_told, host_name, listen_failed, warn_if_readable};
use super::errors::{Outcome, exit};
use super::host::{self, Flow};
use super::record::RecordArgs;
use super::trace::TraceArgs;
use super::{Common, logging, notices};
use tracing::level_filters::LevelFilter;
use xxnet_core::Address;
use xxnet_core::registry::{RegistryCommand, RegistryNotice};

/// The options of `xxnet reg`.
#[derive(Debug, clap::Args)]
#[command(after_help = crate::cli::help::REG)]
pub(crate) struct RegistryArgs {
    /// Where to listen: HOST[:PORT], IPv4 or IPv6; port 0 takes any free one
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:7700", value_parser = listen)]
    listen: Address,
    /// Its name in logs [default: this host's name]
    #[arg(long)]
    name: Option<String>,
    #[command(flatten)]
    trace: TraceArgs,
    #[command(flatten)]
    record: RecordArgs,
    #[command(flatten)]
    child: ChildArgs,
}

/// Runs until told to end.
pub(crate) fn reg(common: &Common, args: &RegistryArgs) -> Outcome<u8> {
    let address = resolve(&args.listen)?;
    let name = args.name.clone().unwrap_or_else(|| format!("registry@{}", host_name()));
    let config = common.config(name)?;
    logging::start(&config.name, common.log_format, common.loudness().level(LevelFilter::INFO));
    logging::introduce("registry", config.instance);
    let tracer = args.trace.begin("registry", &config.name, config.instance)?;
    let mut ended = Ok(exit::OK);
    host::registry(
        config,
        (tracer, &args.record),
        |door| {
            door.send(RegistryCommand::Listen(address));
            end_when_told(door, RegistryCommand::Shutdown, &args.child)
        },
        |notice, _| {
            notices::log(&notice);
            if matches!(notice, RegistryNotice::Listening(_)) {
                args.child.announce(&notice);
            }
            match notice {
                RegistryNotice::Listening(address) => warn_if_readable(address),
                RegistryNotice::ListenFailed(address, error) => {
                    ended = Err(listen_failed(address, error));
                    return Flow::Stop;
                }
                RegistryNotice::Stopped => return Flow::Stop,
                _ => {}
            }
            Flow::Continue
        },
    )?;
    ended
}
