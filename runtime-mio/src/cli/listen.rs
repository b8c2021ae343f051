//! `xxnet listen ADDR`: prints the messages that come.

use super::args::message_listen;
use super::daemon::{host_name, listen_advice, socket_advice, warn_if_readable};
use super::errors::{Failure, Outcome, exit, plain};
use super::{Common, host, json, logging, messages, notices};
use std::io::{self, ErrorKind, Write as _};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;
use tracing::level_filters::LevelFilter;
use xxnet_core::Address;
use xxnet_runtime_mio::Net;
use xxnet_runtime_mio::messages::ListenError;

/// At the end: for what is being written, and again for peers to hear what was taken.
const LAST: Duration = Duration::from_secs(1);

/// The options of `xxnet listen`.
#[derive(Debug, clap::Args)]
#[command(after_help = crate::cli::help::LISTEN)]
pub(crate) struct ListenArgs {
    /// Where to listen: HOST:PORT, IPv4 or IPv6, port 0 takes any free one; or unix:/PATH, for this host and user alone
    #[arg(value_name = "ADDR", value_parser = message_listen)]
    address: Address,
    /// End after so many messages
    #[arg(short, long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,
    /// Send each message back to where it came from
    #[arg(long)]
    reply: bool,
    /// Its name, which peers are told [default: this host's name]
    #[arg(long)]
    name: Option<String>,
}

/// Prints until told to end.
pub(crate) fn listen(common: &Common, args: &ListenArgs) -> Outcome<u8> {
    let options = common.messages(args.name.clone())?;
    logging::start(&host_name(), common.log_format, common.loudness().level(LevelFilter::INFO));
    let net = messages::start(options)?;
    let at = net.listen(&args.address).map_err(|error| listen_failed(&error))?;
    tracing::info!(event = "listening", address = %at);
    if let Address::Socket(at) = at {
        warn_if_readable(at);
    }
    let events = net.events();
    std::thread::spawn(move || {
        while let Ok(event) = events.next() {
            notices::log(&event);
        }
    });
    let desk = Arc::new(Desk::default());
    let (counted, told) = (args.count.is_some(), (Arc::clone(&desk), net.clone()));
    host::on_signals(move |signal, _| {
        // What is being written is written and taken before the end, unless nobody reads it.
        told.0.close(LAST);
        told.1.shutdown(LAST);
        std::process::exit(if counted { 128 + signal } else { exit::OK.into() });
    })?;
    let ended = print_all(&net, args, &desk);
    net.shutdown(LAST);
    ended
}

fn print_all(net: &Net, args: &ListenArgs, desk: &Desk) -> Outcome<u8> {
    let mut left = args.count;
    while left != Some(0) {
        let held = net.recv_held();
        desk.begin();
        let Ok(held) = held else { return Err(messages::broke_off()) };
        write(&json::line_of(&held))?;
        // Only what is written is taken.
        let message = held.take();
        desk.done();
        left = left.map(|left| left - 1);
        if args.reply {
            // Waits while the peer takes nothing: then nothing more of it is taken either.
            let to = message.from().clone();
            let sent = message.into_payload().map(|payload| net.send(&to, payload));
            if let Ok(Err(error)) = sent {
                tracing::warn!(event = "no-reply", to = %to, why = %error);
            }
        }
    }
    Ok(exit::OK)
}

fn write(line: &[u8]) -> Outcome {
    let mut out = io::stdout().lock();
    out.write_all(line).and_then(|()| out.flush()).map_err(|error| match error.kind() {
        ErrorKind::BrokenPipe => Failure::silent(exit::BROKEN_PIPE),
        _ => Failure::new(format!("cannot write what has come: {}", plain(&error))),
    })
}

/// Who may write: nobody begins another line once it is closed.
#[derive(Debug, Default)]
struct Desk {
    state: Mutex<DeskState>,
    changed: Condvar,
}

#[derive(Debug, Default, PartialEq, Eq)]
enum DeskState {
    #[default]
    Idle,
    Writing,
    Closed,
}

impl Desk {
    /// A line is about to be written; [`done`](Self::done) is to follow. Never returns once it is closed: the process ends.
    fn begin(&self) {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let closed = |state: &mut DeskState| *state == DeskState::Closed;
        *self.changed.wait_while(state, closed).unwrap_or_else(PoisonError::into_inner) = DeskState::Writing;
    }

    fn done(&self) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if *state == DeskState::Writing {
            *state = DeskState::Idle;
        }
        self.changed.notify_all();
    }

    /// Waits for the line that is being written, but not longer than that.
    fn close(&self, patience: Duration) {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let writing = |state: &mut DeskState| *state == DeskState::Writing;
        let waited = self.changed.wait_timeout_while(state, patience, writing);
        *waited.unwrap_or_else(PoisonError::into_inner).0 = DeskState::Closed;
    }
}

fn listen_failed(error: &ListenError) -> Failure {
    match error {
        ListenError::System(address, error) => {
            let advice = if address.is_unix() { socket_advice(*error) } else { listen_advice(*error) };
            Failure::new(format!("cannot listen on {address}: {error}; {advice}"))
        }
        ListenError::Name(address @ Address::Name(name, _), _) => {
            Failure::new(format!("cannot listen on {address}: the name {name} has no address"))
        }
        other => Failure::new(other.to_string()),
    }
}
