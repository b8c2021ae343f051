//! `xxnet send ADDR JSON…`: sends messages, and says which were not acknowledged.

use super::args::{self, message_target};
use super::ask::print_bytes;
use super::daemon::host_name;
use super::errors::{Failure, Outcome, exit, plain};
use super::words::no_peer;
use super::{Common, host, json, logging, messages, notices, say};
use std::ffi::OsString;
use std::io::{self, BufRead as _};
use std::os::unix::ffi::OsStringExt as _;
use std::sync::mpsc::{Receiver, Sender as Door, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;
use tracing::level_filters::LevelFilter;
use xxnet_core::Address;
use xxnet_core::connection::DisconnectReason;
use xxnet_runtime_mio::Net;
use xxnet_runtime_mio::messages::{Events, FlushError, NetEvent, Payload, SendError, Sender};

/// For the goodbye, once all is acknowledged.
const LAST: Duration = Duration::from_secs(1);

/// The options of `xxnet send`.
#[derive(Debug, clap::Args)]
#[command(after_help = crate::cli::help::SEND)]
pub(crate) struct SendArgs {
    /// Where `xxnet listen`, or a program with the library, listens: HOST:PORT or unix:/PATH
    #[arg(value_name = "ADDR", value_parser = message_target)]
    address: Address,
    /// Messages, each a JSON object [default: the lines of standard input]
    #[arg(value_name = "JSON")]
    messages: Vec<OsString>,
    /// Give up after so long without a peer that can be reached, or with one that takes nothing
    #[arg(long, value_name = "D", default_value = "60s", value_parser = args::duration)]
    timeout: Duration,
    /// Send what is given as bytes, not as JSON
    #[arg(long)]
    raw: bool,
    /// Its name, which the peer is told [default: this host's name]
    #[arg(long)]
    name: Option<String>,
}

/// Sends all, and waits until all is acknowledged.
pub(crate) fn send(common: &Common, args: &SendArgs) -> Outcome<u8> {
    let mut options = common.messages(args.name.clone())?;
    options.limits.session_timeout = args.timeout;
    logging::start(&host_name(), common.log_format, common.loudness().level(LevelFilter::WARN));
    // All that is given is looked at before the first of it is sent.
    let given = args.messages.iter().cloned().map(OsString::into_vec).enumerate();
    let given = given.map(|(at, text)| read("message", at + 1, &text, args.raw));
    let given = given.collect::<Result<Vec<_>, _>>().map_err(Failure::usage)?;
    let net = messages::start(options)?;
    let (door, news) = channel();
    let watcher = watch(net.events(), args, common.loudness().is_quiet(), door.clone());
    take_replies(net.clone());
    let (interrupted, told) = (door.clone(), net.clone());
    host::on_signals(move |signal, count| {
        if count > 1 {
            std::process::exit(128 + signal);
        }
        let _ = interrupted.send(News::Signal(signal));
        // Whoever waits for room or for acknowledgements goes on at once.
        told.shutdown(Duration::ZERO);
    })?;
    let sender = net.to(&args.address).map_err(|error| Failure::usage(error.to_string()))?;
    let last = Arc::new(Mutex::new(0));
    let feeder = Feeder { sender, timeout: args.timeout, last: Arc::clone(&last), door };
    let raw = args.raw;
    // On a thread of its own: it may wait for standard input for ever.
    std::thread::spawn(move || match given.is_empty() {
        true => feeder.feed("line", lines(raw)),
        false => feeder.feed("message", given.into_iter().map(Ok)),
    });
    let ended = wait(&net, &news, args);
    let lost = watcher.join().unwrap_or_default();
    let last = *last.lock().unwrap_or_else(PoisonError::into_inner);
    report(args, lost, ended, last)
}

/// A message, and the number of its line.
type Numbered = (usize, Payload);

fn read(place: &str, at: usize, text: &[u8], raw: bool) -> Result<Numbered, String> {
    if raw {
        return Ok((at, Payload::Raw(text.to_vec().into())));
    }
    json::dict_of(text).map(|dict| (at, Payload::Dict(dict))).map_err(|error| error.at(place, at))
}

/// The messages on standard input.
fn lines(raw: bool) -> impl Iterator<Item = Result<Numbered, String>> {
    let lines = io::stdin().lock().split(b'\n').enumerate();
    let lines =
        lines.filter(move |(_, line)| raw || !line.as_ref().is_ok_and(|line| line.trim_ascii().is_empty()));
    lines.map(move |(at, line)| match line {
        Ok(line) => read("line", at + 1, &line, raw),
        Err(error) => Err(format!("cannot read standard input: {}", plain(&error))),
    })
}

/// What becomes of it all.
enum News {
    /// Everything was sent.
    All,
    /// This is no message.
    Wrong(String),
    /// The peer takes nothing.
    Stuck,
    /// Something was not delivered.
    Lost,
    Signal(i32),
}

/// Sends one message after the other.
struct Feeder {
    sender: Sender,
    timeout: Duration,
    /// The number of the last one that was sent; locked while one is.
    last: Arc<Mutex<usize>>,
    door: Door<News>,
}

impl Feeder {
    fn feed(&self, place: &str, messages: impl Iterator<Item = Result<Numbered, String>>) {
        let end = messages.map(|message| self.send(place, message)).find_map(Result::err);
        // Nobody hears it if all is over already.
        let _ = self.door.send(end.unwrap_or(News::All));
    }

    fn send(&self, place: &str, message: Result<Numbered, String>) -> Result<(), News> {
        let (at, payload) = message.map_err(News::Wrong)?;
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        match self.sender.send_timeout(payload, self.timeout) {
            Ok(()) => {
                *last = at;
                Ok(())
            }
            Err(SendError::Full(_)) => Err(News::Stuck),
            Err(SendError::Closed) => Err(News::Lost),
            Err(error @ (SendError::Address(_) | SendError::Data(_) | SendError::TooLarge { .. })) => {
                Err(News::Wrong(format!("{place} {at}: {error}")))
            }
        }
    }
}

/// Until everything is acknowledged, or there is a reason why not.
fn wait(net: &Net, news: &Receiver<News>, args: &SendArgs) -> News {
    let mut ended = news.recv().unwrap_or(News::Lost);
    let mut drain = Duration::ZERO;
    // What stands before a wrong one is sent nevertheless.
    if matches!(ended, News::All | News::Wrong(_)) {
        if flush(net, args.timeout) {
            drain = LAST;
        } else if matches!(ended, News::All) {
            ended = News::Stuck;
        }
    }
    net.shutdown(drain);
    let signal = news.try_iter().find(|news| matches!(news, News::Signal(_)));
    signal.unwrap_or(ended)
}

/// Waits as long as the peer takes something now and then; whether all is settled.
fn flush(net: &Net, patience: Duration) -> bool {
    let mut before = u64::MAX;
    loop {
        match net.flush(patience) {
            Ok(()) => return true,
            Err(FlushError { outstanding }) if outstanding < before => before = outstanding,
            Err(_) => return false,
        }
    }
}

/// Messages that were not acknowledged, and why the first of them was not.
type Lost = (Vec<Payload>, Option<String>);

/// Says what goes wrong when it does, and collects what is not delivered, until the end of it all.
fn watch(events: Events, args: &SendArgs, quiet: bool, door: Door<News>) -> JoinHandle<Lost> {
    let (to, patience) = (args.address.clone(), humantime::format_duration(args.timeout));
    std::thread::spawn(move || {
        let mut lost = Lost::default();
        // What keeps the peer away at this moment.
        let mut trouble = None;
        while let Ok(event) = events.next() {
            let (reason, messages) = match event {
                NetEvent::Retrying { reason, .. } | NetEvent::Interrupted { reason, .. } => {
                    let why = no_peer(&to, &reason);
                    if !quiet {
                        say(&format!("{why}; trying for {patience}"));
                    }
                    trouble = Some(why);
                    continue;
                }
                NetEvent::Undelivered {
                    reason: DisconnectReason::Closed | DisconnectReason::Expired,
                    messages,
                    ..
                } => (None, messages),
                NetEvent::Undelivered { reason, messages, .. } => (Some(no_peer(&to, &reason)), messages),
                NetEvent::Refused { error, message, .. } => {
                    (Some(format!("cannot send to {to}: {error}")), vec![message])
                }
                other => {
                    if matches!(other, NetEvent::Connected { .. } | NetEvent::Resumed { .. }) {
                        trouble = None;
                    }
                    notices::log(&other);
                    continue;
                }
            };
            lost.0.extend(messages);
            // The first is the cause of the others.
            lost.1 = lost.1.or(reason).or_else(|| trouble.clone());
            let _ = door.send(News::Lost);
        }
        lost
    })
}

/// What comes back is taken, so that its sender need not wait; with `-v` it is shown.
fn take_replies(net: Net) {
    std::thread::spawn(move || {
        for message in net.iter() {
            let line = json::line_of(&message);
            tracing::info!(event = "reply", fields = String::from_utf8_lossy(&line).trim_end());
        }
    });
}

/// Says how it ended, and prints what was not acknowledged.
fn report(args: &SendArgs, (messages, why): Lost, ended: News, last: usize) -> Outcome<u8> {
    for message in &messages {
        print_bytes(&json::sent_line(message))?;
    }
    let count = match messages.len() {
        0 => String::new(),
        1 => "; 1 message was not acknowledged and is on standard output".to_owned(),
        count => format!("; {count} messages were not acknowledged and are on standard output"),
    };
    // Lines that were not even read are not on standard output.
    let rest = if args.messages.is_empty() && !matches!(ended, News::All | News::Wrong(_)) {
        format!("; no line after line {last} was sent")
    } else {
        String::new()
    };
    let (to, patience) = (&args.address, humantime::format_duration(args.timeout));
    let code = if messages.is_empty() { exit::USAGE } else { exit::FAILED };
    match ended {
        News::Signal(signal) => {
            Err(Failure { code: exit::of_signal(signal), text: format!("interrupted{count}{rest}") })
        }
        News::Wrong(what) => {
            Err(Failure { code, text: format!("{what}; what stands before it was sent{count}") })
        }
        News::All | News::Lost | News::Stuck if !messages.is_empty() || !matches!(ended, News::All) => {
            let stuck = || format!("{to} did not take everything within {patience}");
            Err(Failure::new(format!("{}{count}{rest}", why.unwrap_or_else(stuck))))
        }
        News::All | News::Lost | News::Stuck => Ok(exit::OK),
    }
}
