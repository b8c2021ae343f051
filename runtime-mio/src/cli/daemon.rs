//! What the two daemons share: their end, and the words when they cannot listen.

use super::errors::{Failure, Outcome};
use super::host::{self, Door};
use super::notices::Notable;
use std::io::{Read as _, Write as _};
use std::net::SocketAddr;
use xxnet_core::net::NetError;

/// Options of daemons that other subcommands start as their children.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct ChildArgs {
    /// Shut down when standard input ends (a child that outlives its parent would be left behind), and tell the parent on
    /// standard output when all is ready.
    #[arg(long, hide = true)]
    pub(crate) until_stdin_closes: bool,
}

impl ChildArgs {
    /// Tells a parent on standard output how far we have got; a user reads it in the log.
    pub(crate) fn announce(&self, notice: &impl Notable) {
        if !self.until_stdin_closes {
            return;
        }
        let (event, mut fields) = notice.describe();
        fields["event"] = event.into();
        // A parent that is gone is noticed at standard input.
        let _ = std::io::stdout().lock().write_all(format!("{fields}\n").as_bytes());
    }
}

/// Shuts down in order at the first signal (or at the end of standard input, if asked), and leaves at once at the second.
pub(crate) fn end_when_told<C: Clone + Send + 'static>(
    door: &Door<C>,
    shutdown: C,
    child: &ChildArgs,
) -> Outcome {
    if child.until_stdin_closes {
        let (door, shutdown) = (door.clone(), shutdown.clone());
        std::thread::spawn(move || {
            // Whatever is written there means nothing; only the end does.
            let mut nothing = [0; 64];
            while matches!(std::io::stdin().lock().read(&mut nothing), Ok(1..)) {}
            door.send(shutdown);
        });
    }
    let door = door.clone();
    host::on_signals(move |signal, count| {
        if count > 1 {
            std::process::exit(128 + signal);
        }
        tracing::info!(event = "shutting-down", signal);
        door.send(shutdown.clone());
    })
}

/// Why nothing can be listened on there, and what to do.
pub(crate) fn listen_failed(address: SocketAddr, error: NetError) -> Failure {
    Failure::new(format!("cannot listen on {address}: {error}; {} with --listen", listen_advice(error)))
}

/// What to do where nothing can be listened on.
pub(crate) fn listen_advice(error: NetError) -> &'static str {
    match error {
        NetError::AddressInUse => "stop the other program, or choose another port",
        NetError::AddressNotAvailable => "choose one of this host's own addresses",
        NetError::PermissionDenied => "choose a port from 1024 on",
        _ => "choose another address",
    }
}

/// What to do where no Unix socket can be made.
pub(crate) fn socket_advice(error: NetError) -> &'static str {
    match error {
        NetError::AddressInUse => "stop the other program, or choose a path where no file is",
        _ => "choose a short path in a folder that is there and that you may write to",
    }
}

/// Warns once that nothing is encrypted yet, where others can read it.
pub(crate) fn warn_if_readable(address: SocketAddr) {
    if !address.ip().is_loopback() {
        tracing::warn!(
            event = "not-encrypted",
            address = %address,
            "what travels can be read on the network; the cluster key keeps strangers out, but encryption is still to come"
        );
    }
}

/// This host's name.
pub(crate) fn host_name() -> String {
    std::fs::read_to_string("/proc/sys/kernel/hostname")
        .ok()
        .or_else(|| std::env::var("HOSTNAME").ok())
        .map(|name| name.trim().chars().filter(|c| !c.is_control()).take(60).collect::<String>())
        .filter(|name| !name.is_empty())
        .unwrap_or_else(|| "host".to_owned())
}
