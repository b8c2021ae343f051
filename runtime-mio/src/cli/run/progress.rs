//! A bar for files that take longer than a moment; only on a terminal.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::io::IsTerminal as _;
use std::time::{Duration, Instant};

const MOMENT: Duration = Duration::from_secs(1);

/// The bar of the file that moves now.
pub(super) struct Progress {
    wanted: bool,
    current: Option<Current>,
}

struct Current {
    file: String,
    result: bool,
    since: Instant,
    bar: Option<ProgressBar>,
}

impl Progress {
    /// Shows nothing if `quiet`, or if standard error is no terminal.
    pub(super) fn new(quiet: bool) -> Self {
        Self { wanted: !quiet && std::io::stderr().is_terminal(), current: None }
    }

    /// So much of a file is here (or there).
    pub(super) fn at(&mut self, file: &str, result: bool, done: u64, total: u64) {
        if !self.wanted {
            return;
        }
        if self.current.as_ref().is_none_or(|current| current.file != file || current.result != result) {
            self.clear();
            self.current = Some(Current { file: file.to_owned(), result, since: Instant::now(), bar: None });
        }
        if done >= total {
            self.clear();
            return;
        }
        if let Some(current) = self.current.as_mut().filter(|current| current.since.elapsed() > MOMENT) {
            let bar = current.bar.get_or_insert_with(|| bar(file, result, total));
            bar.set_length(total);
            bar.set_position(done);
        }
    }

    /// Takes the bar off the terminal, before anything else is written there.
    pub(super) fn clear(&mut self) {
        if let Some(bar) = self.current.take().and_then(|current| current.bar) {
            bar.finish_and_clear();
        }
    }
}

fn bar(file: &str, result: bool, total: u64) -> ProgressBar {
    let arrow = if result { '<' } else { '>' };
    let template = "{prefix} [{bar:30}] {bytes}/{total_bytes} {bytes_per_sec} {eta}";
    let bar = ProgressBar::with_draw_target(Some(total), ProgressDrawTarget::stderr_with_hz(10));
    bar.set_prefix(format!("{arrow} {}", super::super::table::printable(file)));
    bar.with_style(
        ProgressStyle::with_template(template)
            .unwrap_or_else(|_| ProgressStyle::default_bar())
            .progress_chars("=> "),
    )
}
