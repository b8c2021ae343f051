//! `xxnet trace`: the traces of several daemons as one page.

mod writer;

pub(crate) use writer::{TraceArgs, Tracer};

use super::args::duration;
use super::errors::{Failure, Outcome, exit, plain};
use super::{Common, ask};
use std::path::{Path, PathBuf};
use std::time::Duration;
use xxnet_sim::spacetime::read::File;
use xxnet_sim::spacetime::{Story, Wanted, page};

/// The options of `xxnet trace`.
#[derive(Debug, clap::Args)]
#[command(after_help = crate::cli::help::TRACE)]
pub(crate) struct ShowArgs {
    /// What daemons wrote with --trace
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// The page; `-` is standard output
    #[arg(short, long, value_name = "PAGE", default_value = "xxnet-trace.html")]
    output: PathBuf,
    /// Leave out what happened before: 90s, 5m, counted from the first record of all
    #[arg(long, value_name = "D", value_parser = moment)]
    from: Option<Duration>,
    /// Leave out what happened later
    #[arg(long, value_name = "D", value_parser = moment)]
    to: Option<Duration>,
    /// Events on the page at most; of more, the last ones, or with --from the first
    #[arg(long, value_name = "N", default_value_t = Wanted::MOST, value_parser = events)]
    most: usize,
}

/// Largest file that is read: two of what a daemon writes, many times over.
const LARGEST: u64 = 1 << 30;

/// A moment since the beginning, which may be 0.
fn moment(text: &str) -> Result<Duration, String> {
    if matches!(text.trim(), "0" | "0s") { Ok(Duration::ZERO) } else { duration(text) }
}

fn events(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(number @ 1..=1_000_000) => Ok(number),
        _ => Err("it must be between 1 and 1000000".to_owned()),
    }
}

/// Reads, merges, writes.
pub(crate) fn trace(common: &Common, args: &ShowArgs) -> Outcome<u8> {
    if let (Some(from), Some(to)) = (args.from, args.to)
        && from > to
    {
        return Err(Failure::usage("--from is behind --to; nothing would be left"));
    }
    let mut files = Vec::new();
    for path in &args.files {
        if same_file(path, &args.output) {
            return Err(Failure::usage(format!(
                "{} would be overwritten by the page; name another with -o PAGE",
                path.display()
            )));
        }
        let file = read(path)?;
        files.extend(older_part(path, &file));
        files.push((path.display().to_string(), file));
    }
    let micros = |span: Duration| u64::try_from(span.as_micros()).unwrap_or(u64::MAX);
    let names: Vec<String> = files.iter().flat_map(|(_, file)| names(file)).collect();
    let wanted = Wanted {
        title: title(&names),
        from: args.from.map(micros),
        to: args.to.map(micros),
        most: args.most,
    };
    let story = Story::new(files, &wanted);
    let page = page::page(&story);
    if args.output == Path::new("-") {
        ask::print(&page)?;
        return Ok(exit::OK);
    }
    std::fs::write(&args.output, page).map_err(|error| {
        Failure::new(format!(
            "cannot write {}: {}; name another with -o PAGE",
            args.output.display(),
            plain(&error)
        ))
    })?;
    if !common.loudness().is_quiet() {
        let mut lines = String::new();
        for line in story.facts.iter().chain(&story.notes) {
            lines.push_str(&format!("{line}\n"));
        }
        ask::print(&format!("{lines}{}: open it in a browser\n", args.output.display()))?;
    }
    Ok(exit::OK)
}

fn read(path: &Path) -> Outcome<File> {
    let cannot =
        |error: &std::io::Error| Failure::new(format!("cannot read {}: {}", path.display(), plain(error)));
    let size = path.metadata().map_err(|error| cannot(&error))?.len();
    if size > LARGEST {
        return Err(Failure::new(format!(
            "{} has {} MB, more than any trace; cut out the lines that you want, and keep its first",
            path.display(),
            size >> 20
        )));
    }
    let text = std::fs::read(path).map_err(|error| cannot(&error))?;
    File::read(&text).map_err(|error| Failure::new(format!("{} {error}", path.display())))
}

/// The file beside it that holds what the very same run wrote before.
fn older_part(path: &Path, file: &File) -> Option<(String, File)> {
    let beside = writer::older(path);
    let instance = &file.parts.first()?.header.instance;
    let older = read(&beside).ok().filter(|_| !instance.is_empty())?;
    let same = older.parts.first().is_some_and(|part| part.header.instance == *instance);
    same.then(|| (beside.display().to_string(), older))
}

fn same_file(one: &Path, other: &Path) -> bool {
    match (one.canonicalize(), other.canonicalize()) {
        (Ok(one), Ok(other)) => one == other,
        _ => false,
    }
}

fn names(file: &File) -> impl Iterator<Item = String> + '_ {
    file.parts.iter().map(|part| part.header.node.clone())
}

fn title(names: &[String]) -> String {
    let mut once = Vec::<&str>::new();
    for name in names {
        if !once.contains(&&**name) {
            once.push(name);
        }
    }
    match once.len() {
        0..=6 => format!("xxnet trace of {}", once.join(", ")),
        more => format!("xxnet trace of {} and {} more", once[..5].join(", "), more - 5),
    }
}
