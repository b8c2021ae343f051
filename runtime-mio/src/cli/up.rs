//! `xxnet up`: a whole cluster on this machine, in the foreground.

use super::args::{PORT, listen, resolve};
use super::children::{ChildId, Children, Heard, text};
use super::errors::{Failure, Outcome, exit};
use super::logging::{self, LogFormat};
use super::record::limit;
use super::style::{Style, Tone};
use super::{Common, ask, eprintln_quietly, exe, say_error};
use std::ffi::OsStr;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tracing::level_filters::LevelFilter;
use xxnet_core::Address;
use xxnet_core::needs::Need;

/// The options of `xxnet up`.
#[derive(Debug, clap::Args)]
#[command(after_help = crate::cli::help::UP)]
pub(crate) struct UpArgs {
    /// How many executors
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=1000))]
    executors: u32,
    /// Commands that each executor runs at once [default: the cores, shared out]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    slots: Option<u32>,
    /// What each executor has, for `xxnet run --need`
    #[arg(long = "label", value_name = "NAME[=VALUE]")]
    labels: Vec<Need>,
    /// Where the registry listens; port 0 takes any free one
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:7700", value_parser = listen)]
    listen: Address,
    /// Write down what passes, for `xxnet trace`, each in a file of its own: t.jsonl becomes t-registry.jsonl, t-node-1.jsonl …
    #[arg(long, value_name = "FILE")]
    trace: Option<PathBuf>,
    /// Keep the newest of what each is given, for `xxnet replay`, each in a file of its own: r.rec becomes r-registry.rec,
    /// r-node-1.rec …
    #[arg(long, value_name = "FILE")]
    record: Option<PathBuf>,
    /// Bytes that each recording has at most, FILE.before included: 64K at the least
    #[arg(long, value_name = "SIZE", default_value = "256M", requires = "record", value_parser = limit)]
    record_size: u64,
}

/// Starts all, says how to use it, waits.
pub(crate) fn up(common: &Common, args: &UpArgs) -> Outcome<u8> {
    let address = resolve(&args.listen)?;
    // Made before the first child needs it, and its errors are told once.
    common.key()?;
    let mut children = Children::new(common.key_file().map(Path::to_path_buf))?;
    let shown = Shown { format: common.log_format, style: Style::stderr() };
    let level = common.loudness().level(LevelFilter::WARN);
    let loud = loudness(level);

    let words =
        |words: &[&str]| words.iter().map(ToString::to_string).chain(loud.clone()).collect::<Vec<_>>();
    let mut registry = words(&["reg", "--name=registry", &format!("--listen={address}")]);
    registry.extend(watched(args, "registry")?);
    let registry = children.daemon("registry", &registry)?;
    let line = children.wait_for(registry, "listening", |_, heard| shown.show(heard, level))?;
    let at: SocketAddr = text(&line, "address")
        .parse()
        .map_err(|_| Failure::new("the registry does not say where it listens"))?;
    let slots = args.slots.unwrap_or_else(|| (exe::cores() / args.executors).max(1));
    let dialled = reachable(at);
    let mut executors = Vec::new();
    for number in 1..=args.executors {
        let name = format!("node-{number}");
        let listen = SocketAddr::new(at.ip(), 0);
        let mut words = words(&[
            "exe",
            &format!("--reg={dialled}"),
            &format!("--name={name}"),
            &format!("--slots={slots}"),
            &format!("--listen={listen}"),
        ]);
        words.extend(args.labels.iter().map(|label| format!("--label={label}")));
        words.extend(watched(args, &name)?);
        executors.push(children.daemon(&name, &words)?);
    }
    children.wait_for_all(&executors, "registered", |_, heard| shown.show(heard, level))?;
    greet(dialled, args.executors, slots)?;
    watch(&mut children, registry, &shown, level)
}

/// What tells a child to trace and to record, into files of its own.
fn watched(args: &UpArgs, name: &str) -> Outcome<Vec<String>> {
    let mut words = Vec::new();
    if let Some(path) = &args.trace {
        words.push(format!("--trace={}", own(path, name, "trace")?));
    }
    if let Some(path) = &args.record {
        words.push(format!("--record={}", own(path, name, "record")?));
        words.push(format!("--record-size={}", args.record_size));
    }
    Ok(words)
}

/// The file of a child beside those of the others.
fn own(path: &Path, name: &str, what: &str) -> Outcome<String> {
    let part =
        |part: Option<&OsStr>| part.map_or_else(String::new, |part| part.to_string_lossy().into_owned());
    let (stem, end) = (part(path.file_stem()), part(path.extension()));
    if stem.is_empty() {
        return Err(Failure::usage(format!("{} names no file to {what} into", path.display())));
    }
    let dot = if end.is_empty() { "" } else { "." };
    Ok(path.with_file_name(format!("{stem}-{name}{dot}{end}")).display().to_string())
}

/// A wildcard cannot be dialled; loopback reaches it.
fn reachable(at: SocketAddr) -> SocketAddr {
    match at {
        SocketAddr::V4(v4) if v4.ip().is_unspecified() => SocketAddr::from(([127, 0, 0, 1], at.port())),
        SocketAddr::V6(v6) if v6.ip().is_unspecified() => {
            SocketAddr::from(([0, 0, 0, 0, 0, 0, 0, 1], at.port()))
        }
        other => other,
    }
}

fn greet(at: SocketAddr, executors: u32, slots: u32) -> Outcome {
    let style = Style::stdout();
    let usual = at == SocketAddr::from(([127, 0, 0, 1], PORT));
    let plural = |count: u32, what: &str| format!("{count} {what}{}", if count == 1 { "" } else { "s" });
    let mut lines = format!(
        "{} a registry at {at}, {} with {} each\n\nIn another shell:\n",
        style.paint(Tone::Good, "up:"),
        plural(executors, "executor"),
        plural(slots, "slot"),
    );
    if !usual {
        lines.push_str(&format!("  {}\n", style.paint(Tone::Bold, format_args!("export XXNET_REG={at}"))));
    }
    for (command, what) in [
        ("xxnet run -- hostname", "run a command"),
        ("xxnet nodes", "who is here"),
        ("xxnet tasks", "what runs"),
    ] {
        lines.push_str(&format!("  {}  {what}\n", style.paint(Tone::Bold, format_args!("{command:<22}"))));
    }
    lines.push_str("\nCtrl-C ends them all.\n");
    ask::print(&lines)
}

/// Shows what the children say; a child that dies is told, and the registry's death is the end.
fn watch(children: &mut Children, registry: ChildId, shown: &Shown, level: LevelFilter) -> Outcome<u8> {
    loop {
        let Some(heard) = children.next(Duration::from_secs(3600)) else { continue };
        match heard {
            Heard::Signal(..) => {
                // A terminal has just shown ^C: begin on a new line.
                eprintln_quietly("");
                children.end();
                return Ok(exit::OK);
            }
            Heard::Gone(child, status) if child == registry => {
                return Err(Failure::new(format!("the registry has ended ({status}); all is taken down")));
            }
            Heard::Gone(child, status) => {
                say_error(&format!(
                    "{} has ended ({status}); its tasks run again on the others; start it again with `xxnet exe`",
                    children.name(child)
                ));
            }
            other => shown.show(&other, level),
        }
    }
}

/// How children's logs are passed on.
struct Shown {
    format: LogFormat,
    style: Style,
}

impl Shown {
    fn show(&self, heard: &Heard, level: LevelFilter) {
        match heard {
            Heard::Line(_, line) if self.format == LogFormat::Json => {
                eprintln_quietly(&serde_json::Value::Object(line.clone()).to_string());
            }
            Heard::Line(_, line) => {
                if let Some(text) = logging::as_text(line, self.style, level) {
                    eprintln_quietly(&text);
                }
            }
            Heard::Text(_, text) | Heard::Output(text) => eprintln_quietly(text),
            Heard::Ready(..) | Heard::Gone(..) | Heard::Signal(..) => {}
        }
    }
}

/// The children log what is shown, and format nothing else.
fn loudness(level: LevelFilter) -> Vec<String> {
    let flag = match level {
        LevelFilter::OFF => "-qqq",
        LevelFilter::ERROR => "-qq",
        LevelFilter::WARN => "-q",
        LevelFilter::INFO => return Vec::new(),
        LevelFilter::DEBUG => "-v",
        LevelFilter::TRACE => "-vv",
    };
    vec![flag.to_owned()]
}
