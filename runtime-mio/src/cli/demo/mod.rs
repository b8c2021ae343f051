//! `xxnet demo`: a whole cluster at work, step by step, as its own daemons tell it.

mod steps;

use super::children::{ChildId, Children, Heard, text};
use super::errors::{Failure, Outcome, exit, plain};
use super::run::signal_code;
use super::scratch::{Scratch, words};
use super::style::{Style, Tone};
use super::table::bytes;
use super::{Common, ask, keys};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use steps::Story;

/// The options of `xxnet demo`.
#[derive(Debug, clap::Args)]
#[command(after_help = crate::cli::help::DEMO)]
pub(crate) struct DemoArgs {}

/// The task's inputs, in MiB.
const FILES: [(&str, usize); 3] = [("spring.txt", 2), ("summer.txt", 3), ("autumn.txt", 5)];
/// What the story calls the process that publishes.
const PUBLISHER: &str = "publisher";
const RESULT: &str = "result.txt";
/// Only what every system has.
const SCRIPT: &str = "sha256sum spring.txt summer.txt autumn.txt | tee result.txt";

/// Everything takes well under a second; this is for machines under heavy load.
const LONGEST: Duration = Duration::from_secs(60);
/// The daemons' logs come over several pipes; what is this old is printed, in the order of its time.
const SETTLED: Duration = Duration::from_millis(40);

/// Starts, publishes, tells, checks.
pub(crate) fn demo(common: &Common, _: &DemoArgs) -> Outcome<u8> {
    let style = Style::stdout();
    // Dropped last: the children's folders are in it.
    let scratch = Scratch::new(None)?;
    let key = scratch.at("key");
    keys::create(&key)?;
    write_files(&scratch)?;

    let mut children = Children::new(Some(key))?;
    let mut story = Story::new();
    let registry = start_cluster(&mut children, &mut story, &scratch, style)?;
    show_files(style)?;

    let publisher = publish(&mut children, &scratch, &registry, style)?;
    let verbose = common.loudness().is_verbose();
    let code = listen(&mut children, &mut story, publisher, style, verbose)?;
    children.end();
    story.settle(&mut children, style)?;

    if code != 0 {
        return Err(Failure::new(format!(
            "the demo's task exited with {code}; run it again with -v to see more"
        )));
    }
    check_result(&scratch, style)?;
    story.tell_times(style)?;
    story.check()?;
    say(&format!(
        "\n{} all ten steps of the task and all four of each file happened; nothing is left behind\n",
        style.paint(Tone::Good, "ok:")
    ))?;
    Ok(exit::OK)
}

fn say(text: &str) -> Outcome {
    ask::print(text)
}

fn write_files(scratch: &Scratch) -> Outcome {
    for (number, (name, mib)) in (0..).zip(FILES) {
        std::fs::write(scratch.at(name), words(number * 77 + 7, mib << 20))
            .map_err(|error| Failure::new(format!("cannot write the demo's files: {}", plain(&error))))?;
    }
    Ok(())
}

fn start_cluster(
    children: &mut Children,
    story: &mut Story,
    scratch: &Scratch,
    style: Style,
) -> Outcome<String> {
    say(&format!(
        "{}\n",
        style.paint(Tone::Bold, "A registry and three executors, each a process of its own:")
    ))?;
    let words = |words: &[&str]| words.iter().map(ToString::to_string).collect::<Vec<_>>();
    let reg =
        children.daemon("registry", &words(&["-v", "reg", "--name=registry", "--listen=127.0.0.1:0"]))?;
    let line = children.wait_for(reg, "listening", |children, heard| story.hear(children, heard))?;
    let registry = text(&line, "address").to_owned();
    say(&format!("  {:<10} {:<16} process {}\n", "registry", registry, children.process(reg)))?;
    let mut executors: Vec<ChildId> = Vec::new();
    for number in 1..=3 {
        let name = format!("node-{number}");
        let work = scratch.at(&format!("work-{number}"));
        executors.push(children.daemon(
            &name,
            &words(&[
                "-v",
                "exe",
                &format!("--reg={registry}"),
                &format!("--name={name}"),
                "--slots=1",
                "--listen=127.0.0.1:0",
                &format!("--work-dir={}", work.display()),
            ]),
        )?);
    }
    let lines =
        children.wait_for_all(&executors, "registered", |children, heard| story.hear(children, heard))?;
    for (executor, line) in executors.iter().zip(lines) {
        let (name, process) = (children.name(*executor), children.process(*executor));
        say(&format!("  {name:<10} {:<16} process {process}\n", text(&line, "address")))?;
    }
    Ok(registry)
}

fn show_files(style: Style) -> Outcome {
    let mut lines =
        format!("\n{}\n", style.paint(Tone::Bold, "A task that reads real files and writes one:"));
    for (name, mib) in FILES {
        lines.push_str(&format!("  {name:<12} {}\n", bytes((mib as u64) << 20)));
    }
    say(&lines)
}

fn publish(children: &mut Children, scratch: &Scratch, registry: &str, style: Style) -> Outcome<ChildId> {
    let mut options: Vec<String> = FILES.iter().map(|(name, _)| format!("-i{name}")).collect();
    options.push(format!("-o{RESULT}"));
    let shown = options.join(" ").replace("-i", "-i ").replace("-o", "-o ");
    say(&format!(
        "\n  {}\n\n{}\n",
        style.paint(Tone::Bold, format_args!("$ xxnet run {shown} -- sh -c '{SCRIPT}'")),
        style.paint(
            Tone::Bold,
            "What happens, as the daemons tell it (seconds since the publisher was started):"
        ),
    ))?;
    let mut command = children.command();
    command.arg("-v").arg("run").arg(format!("--reg={registry}")).args(options);
    command.args(["--timeout=50s", "--", "sh", "-c", SCRIPT]);
    command.current_dir(scratch.at("")).stdin(Stdio::null()).stdout(Stdio::piped());
    children.start(PUBLISHER, command)
}

/// Tells the story until the publisher has ended; returns its exit code.
fn listen(
    children: &mut Children,
    story: &mut Story,
    publisher: ChildId,
    style: Style,
    verbose: bool,
) -> Outcome<i32> {
    let until = Instant::now() + LONGEST;
    story.begin();
    loop {
        match children.next(SETTLED / 2) {
            Some(Heard::Signal(signal, _)) => return Err(Failure::silent(signal_code(signal))),
            Some(Heard::Gone(child, status)) if child == publisher => {
                story.ended();
                return Ok(status.code().unwrap_or(-1));
            }
            Some(Heard::Gone(child, status)) => {
                return Err(Failure::new(format!(
                    "{} has died in the demo ({status})",
                    children.name(child)
                )));
            }
            Some(heard) => {
                if let (Heard::Text(_, line), true) = (&heard, verbose) {
                    super::eprintln_quietly(line);
                }
                story.hear(children, &heard);
            }
            None => {}
        }
        story.tell(SETTLED, style)?;
        if Instant::now() > until {
            story.tell(Duration::ZERO, style)?;
            return Err(Failure::new(format!(
                "the demo's task has not ended within {} s; {}",
                LONGEST.as_secs(),
                story.missing().unwrap_or_else(|| "every step happened".to_owned())
            )));
        }
    }
}

/// The same command on the same files, here: it must give the same bytes.
fn check_result(scratch: &Scratch, style: Style) -> Outcome {
    let cannot =
        |what: &str, error: &std::io::Error| Failure::new(format!("cannot {what}: {}", plain(error)));
    let result =
        std::fs::read_to_string(scratch.at(RESULT)).map_err(|error| cannot("read the result", &error))?;
    let here = Command::new("sha256sum")
        .args(FILES.map(|(name, _)| name))
        .current_dir(scratch.at(""))
        .output()
        .map_err(|error| cannot("run sha256sum", &error))?;
    let mut lines = format!("\n{}\n", style.paint(Tone::Bold, format_args!("The result, {RESULT}:")));
    for line in result.lines() {
        lines.push_str(&format!("  {line}\n"));
    }
    say(&lines)?;
    if here.stdout == result.as_bytes() {
        return Ok(());
    }
    Err(Failure::new(format!(
        "the result in {} is not what the same command gives here",
        Path::new(RESULT).display()
    )))
}
