//! Aligned columns for people.

use super::style::{Style, Tone};
use std::fmt::Write as _;

/// Rows under headings; every column but the last is padded.
pub(crate) struct Table {
    rows: Vec<(Tone, Vec<String>)>,
}

impl Table {
    /// With these headings.
    pub(crate) fn new(headings: &[&str]) -> Self {
        Self { rows: vec![(Tone::Bold, headings.iter().map(ToString::to_string).collect())] }
    }

    /// Adds a row; control characters in it are shown, not obeyed.
    pub(crate) fn row(&mut self, tone: Tone, cells: impl IntoIterator<Item = String>) {
        self.rows.push((tone, cells.into_iter().map(|cell| printable(&cell)).collect()));
    }

    /// The whole table.
    pub(crate) fn render(&self, style: Style) -> String {
        let columns = self.rows.iter().map(|(_, cells)| cells.len()).max().unwrap_or(0);
        let widths: Vec<usize> = (0..columns)
            .map(|at| {
                self.rows
                    .iter()
                    .filter_map(|(_, cells)| cells.get(at))
                    .map(|cell| width(cell))
                    .max()
                    .unwrap_or(0)
            })
            .collect();
        let mut text = String::new();
        for (tone, cells) in &self.rows {
            let mut line = String::new();
            for (at, cell) in cells.iter().enumerate() {
                line.push_str(cell);
                if at + 1 < cells.len() {
                    let gap = widths[at].saturating_sub(width(cell)) + 2;
                    line.extend(std::iter::repeat_n(' ', gap));
                }
            }
            let _ = writeln!(text, "{}", style.paint(*tone, line.trim_end()));
        }
        text
    }
}

/// Columns that a text takes: characters, near enough for names and commands.
fn width(text: &str) -> usize {
    text.chars().count()
}

/// A peer's text cannot move the cursor of who lists it.
pub(crate) fn printable(text: &str) -> String {
    text.chars().flat_map(|c| if c.is_control() { c.escape_default().collect() } else { vec![c] }).collect()
}

/// A span of time at a glance: `0.4s`, `12s`, `3m 20s`, `5h 2m`, `4d 3h`.
pub(crate) fn span(micros: u64) -> String {
    let seconds = micros / 1_000_000;
    match seconds {
        0..10 => format!("{}.{}s", seconds, micros / 100_000 % 10),
        10..60 => format!("{seconds}s"),
        60..3600 => format!("{}m {}s", seconds / 60, seconds % 60),
        3600..86400 => format!("{}h {}m", seconds / 3600, seconds / 60 % 60),
        _ => format!("{}d {}h", seconds / 86400, seconds / 3600 % 24),
    }
}

/// A number of bytes at a glance: `512 B`, `3.4 MiB`.
pub(crate) fn bytes(count: u64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let mut unit = 0;
    // Only for people: what f64 rounds away they would not read.
    let mut value = count as f64;
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    if unit == 0 { format!("{count} B") } else { format!("{value:.1} {}", UNITS[unit]) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_and_lines_have_no_tail() {
        let mut table = Table::new(&["NAME", "SLOTS", ""]);
        table.row(Tone::Plain, ["größer-als".to_owned(), "2".to_owned(), String::new()]);
        assert_eq!(table.render(Style::plain()), "NAME        SLOTS\ngrößer-als  2\n");
    }

    #[test]
    fn what_a_peer_says_cannot_move_the_cursor() {
        assert_eq!(printable("a\x1b[2Jb\n"), "a\\u{1b}[2Jb\\n");
    }

    #[test]
    fn spans_and_sizes_at_a_glance() {
        let texts: Vec<String> = [0, 450_000, 12_000_000, 200_000_000, 18_120_000_000, 360_000_000_000]
            .into_iter()
            .map(span)
            .collect();
        assert_eq!(texts, ["0.0s", "0.4s", "12s", "3m 20s", "5h 2m", "4d 4h"]);
        assert_eq!([bytes(512), bytes(1536), bytes(2 << 30)], ["512 B", "1.5 KiB", "2.0 GiB"]);
    }
}
