//! `xxnet ping ADDR`: who answers there, and how fast.
// The doc comments are help texts, in which [:PORT] is an option and no link.
#![allow(rustdoc::broken_intra_doc_links)]

use super::args::{self, ping_target};
use super::ask::print;
use super::daemon::host_name;
use super::errors::{Failure, Outcome, exit};
use super::host::{self, Door, Flow};
use super::keys::hex;
use super::table::printable;
use super::words::no_peer;
use super::{Common, logging};
use serde_json::json;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};
use tracing::level_filters::LevelFilter;
use xxnet_core::connection::{
    ConnectionCommand, ConnectionError, ConnectionEvent, ConnectionKind, ConnectionNotice, DisconnectReason,
    KindId, LinkRule, PeerInfo, Role,
};
use xxnet_core::{Address, ConnectionId, Token};

/// Round trips that are kept for their median.
const KEPT: usize = 100_000;

/// No command here is answered by its token: there is one of each.
const TOKEN: Token = Token(1);

/// The options of `xxnet ping`.
#[derive(Debug, clap::Args)]
#[command(after_help = crate::cli::help::PING)]
pub(crate) struct PingArgs {
    /// A registry, an executor, a `xxnet listen`, or a program with the library: HOST[:PORT] or unix:/PATH
    #[arg(value_name = "ADDR", value_parser = ping_target)]
    address: Address,
    /// End after so many round trips [default: at Ctrl-C]
    #[arg(short, long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,
    /// From one round trip to the next, if it is not longer itself
    #[arg(short, long, value_name = "D", default_value = "1s", value_parser = args::duration)]
    interval: Duration,
    /// As JSON, one object a line, with field names that stay
    #[arg(long)]
    json: bool,
}

/// Connects, measures, sums up.
pub(crate) fn ping(common: &Common, args: &PingArgs) -> Outcome<u8> {
    let config = common.config(host_name())?;
    logging::start(&config.name, common.log_format, common.loudness().level(LevelFilter::WARN));
    let (ask, asked) = channel();
    let mut pings = Pings::new(args, common.loudness().is_quiet(), ask);
    let signalled = Arc::new(AtomicI32::new(0));
    let mut ended = Ok(());
    host::connections(
        &config,
        |door| {
            let kind = ConnectionKind::plain(KindId::PROBE, LinkRule::Many, Role::Dial);
            door.send(ConnectionCommand::Register { token: TOKEN, kind });
            let target = args.address.clone();
            door.send(ConnectionCommand::CreateTo { token: TOKEN, kind: KindId::PROBE, target, data: None });
            keep_time(door.clone(), asked);
            let (door, signalled) = (door.clone(), Arc::clone(&signalled));
            host::on_signals(move |signal, count| {
                if count > 1 {
                    std::process::exit(128 + signal);
                }
                signalled.store(signal, Ordering::SeqCst);
                door.send(ConnectionCommand::Destroy);
            })
        },
        |notice, commands| {
            pings.hear(notice, commands).unwrap_or_else(|failure| {
                ended = Err(failure);
                Flow::Stop
            })
        },
    )?;
    let gone = ended.as_ref().is_err_and(|failure| failure.code == exit::BROKEN_PIPE);
    if let Some(peer) = pings.peer.as_ref().filter(|_| !gone) {
        print(&pings.summary(peer))?;
    }
    ended?;
    match signalled.load(Ordering::SeqCst) {
        // Without a count this is how it ends.
        signal if signal != 0 && (args.count.is_some() || pings.peer.is_none()) => {
            Err(Failure::silent(exit::of_signal(signal)))
        }
        _ => Ok(exit::OK),
    }
}

/// Asks for the next ping when its time has come.
fn keep_time(door: Door<ConnectionCommand>, asked: Receiver<(ConnectionId, Instant)>) {
    std::thread::spawn(move || {
        for (id, at) in asked {
            std::thread::sleep(at.saturating_duration_since(Instant::now()));
            door.send(ConnectionCommand::Ping { token: TOKEN, id });
        }
    });
}

/// What was measured so far.
struct Pings<'a> {
    args: &'a PingArgs,
    quiet: bool,
    /// Where the next ping is asked for.
    ask: Sender<(ConnectionId, Instant)>,
    /// When the connect began, then when the last ping was to be sent.
    began: Instant,
    connected_in: Duration,
    peer: Option<PeerInfo>,
    count: u64,
    total: Duration,
    least: Duration,
    most: Duration,
    /// The newest ones.
    kept: VecDeque<Duration>,
}

impl<'a> Pings<'a> {
    fn new(args: &'a PingArgs, quiet: bool, ask: Sender<(ConnectionId, Instant)>) -> Self {
        Self {
            args,
            quiet,
            ask,
            began: Instant::now(),
            connected_in: Duration::ZERO,
            peer: None,
            count: 0,
            total: Duration::ZERO,
            least: Duration::MAX,
            most: Duration::ZERO,
            kept: VecDeque::new(),
        }
    }

    fn hear(&mut self, notice: ConnectionNotice, commands: &mut Vec<ConnectionCommand>) -> Outcome<Flow> {
        let to = &self.args.address;
        match notice {
            ConnectionNotice::Created { id, .. } => {
                self.began = Instant::now();
                commands.push(ConnectionCommand::Connect { token: TOKEN, id, target: None, expect: None });
            }
            ConnectionNotice::Event(ConnectionEvent::Connected { id, peer, .. }) => {
                self.connected_in = self.began.elapsed();
                if !self.quiet && !self.args.json {
                    let (name, took) = (printable(&peer.name), millis(self.connected_in));
                    print(&format!("{name} ({}) at {to}, connected in {took}\n", peer.instance))?;
                }
                self.peer = Some(*peer);
                self.began = Instant::now();
                commands.push(ConnectionCommand::Ping { token: TOKEN, id });
            }
            ConnectionNotice::Event(ConnectionEvent::Pong { id, round_trip }) => {
                self.note(round_trip)?;
                if self.args.count.is_some_and(|count| count <= self.count) {
                    commands.push(ConnectionCommand::Destroy);
                    return Ok(Flow::Continue);
                }
                self.began = Instant::now().max(self.began + self.args.interval);
                // The one who keeps the time ends with us.
                let _ = self.ask.send((id, self.began));
            }
            // It was destroyed: all is measured, or Ctrl-C.
            ConnectionNotice::Event(ConnectionEvent::Disconnected {
                reason: DisconnectReason::Closed,
                ..
            })
            | ConnectionNotice::Rejected { error: ConnectionError::Destroyed, .. } => return Ok(Flow::Stop),
            ConnectionNotice::Event(ConnectionEvent::Disconnected { reason, .. }) => {
                return Err(Failure::new(no_peer(to, &reason)));
            }
            ConnectionNotice::Rejected { error, .. } => {
                return Err(Failure::new(format!("cannot ping {to}: {error}")));
            }
            ConnectionNotice::Event(_) => {}
        }
        Ok(Flow::Continue)
    }

    fn note(&mut self, round_trip: Duration) -> Outcome {
        self.count += 1;
        self.total += round_trip;
        self.least = self.least.min(round_trip);
        self.most = self.most.max(round_trip);
        if self.kept.len() == KEPT {
            self.kept.pop_front();
        }
        self.kept.push_back(round_trip);
        if self.quiet {
            return Ok(());
        }
        print(&match self.args.json {
            true => format!(
                "{}\n",
                json!({ "number": self.count, "round_trip_seconds": round_trip.as_secs_f64() })
            ),
            false => format!("{:>4}  {}\n", self.count, millis(round_trip)),
        })
    }

    /// The middle one of those that are kept.
    fn median(&self) -> Duration {
        let mut sorted: Vec<_> = self.kept.iter().copied().collect();
        sorted.sort_unstable();
        sorted.get(sorted.len() / 2).copied().unwrap_or_default()
    }

    fn average(&self) -> Duration {
        // Fewer than 2^53 pings, for sure.
        self.total.div_f64(self.count.max(1) as f64)
    }

    fn summary(&self, peer: &PeerInfo) -> String {
        if self.args.json {
            let seconds = |span: Duration| (self.count > 0).then_some(span.as_secs_f64());
            let summary = json!({
                "address": self.args.address.to_string(),
                "name": peer.name,
                "instance": hex(&peer.instance.0),
                "connect_seconds": self.connected_in.as_secs_f64(),
                "round_trips": self.count,
                "min_seconds": seconds(self.least),
                "avg_seconds": seconds(self.average()),
                "p50_seconds": seconds(self.median()),
                "max_seconds": seconds(self.most),
            });
            return format!("{summary}\n");
        }
        match self.count {
            0 => "no round trip\n".to_owned(),
            1 => format!("1 round trip: {}\n", millis(self.least)),
            count => format!(
                "{count} round trips: min {}, avg {}, p50 {}, max {}\n",
                millis(self.least),
                millis(self.average()),
                millis(self.median()),
                millis(self.most)
            ),
        }
    }
}

fn millis(span: Duration) -> String {
    format!("{:.3} ms", span.as_secs_f64() * 1e3)
}

#[cfg(test)]
mod tests {
    use super::*;
    use xxnet_core::net::Endpoint;

    #[test]
    fn the_summary_is_of_what_was_measured() {
        let args = PingArgs {
            address: "127.0.0.1:7700".parse().unwrap(),
            count: None,
            interval: Duration::from_secs(1),
            json: false,
        };
        let peer = PeerInfo {
            instance: xxnet_core::InstanceId([7; 16]),
            name: "node".into(),
            address: None,
            socket: Endpoint::Ip(([127, 0, 0, 1], 7700).into()),
            local: Endpoint::Ip(([127, 0, 0, 1], 7700).into()),
            connection: ConnectionId(1),
        };
        let mut pings = Pings::new(&args, true, channel().0);
        assert_eq!(pings.summary(&peer), "no round trip\n");
        for millis in [4, 1, 2, 3, 10] {
            pings.note(Duration::from_millis(millis)).unwrap();
        }
        assert_eq!(
            pings.summary(&peer),
            "5 round trips: min 1.000 ms, avg 4.000 ms, p50 3.000 ms, max 10.000 ms\n"
        );
    }
}
