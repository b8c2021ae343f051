//! What machines say and are told, in words for people who have never seen the code.

mod messages;
mod notices;
mod packs;
mod world;

pub(super) use packs::{LISTENS_AT, pack};
pub(super) use world::{disk_done, disk_request, exit, spawn};

use super::record::Said;
use core::fmt::{self, Write as _};

/// How much something matters to a reader.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Weight {
    /// It is as it should be.
    Routine = 0,
    /// A step that a reader looks for.
    Step = 1,
    /// Something went wrong.
    Wrong = 2,
}

/// What is told of something: in a word, as a sentence, and how much it matters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Words {
    name: String,
    say: String,
    weight: Weight,
}

impl Words {
    /// As it should be.
    pub fn routine(name: impl Into<String>, say: impl Into<String>) -> Self {
        Self { name: name.into(), say: say.into(), weight: Weight::Routine }
    }

    /// A step that a reader looks for.
    pub fn step(name: impl Into<String>, say: impl Into<String>) -> Self {
        Self { name: name.into(), say: say.into(), weight: Weight::Step }
    }

    /// Something went wrong.
    pub fn wrong(name: impl Into<String>, say: impl Into<String>) -> Self {
        Self { name: name.into(), say: say.into(), weight: Weight::Wrong }
    }
}

impl From<Words> for Said {
    fn from(words: Words) -> Self {
        Self { name: words.name, say: clip(&words.say, SAID), weight: words.weight as u8 }
    }
}

/// A command or a notice that can be told.
pub trait InWords {
    /// In words; `None`: it is of no interest, because a message says the same.
    fn in_words(&self) -> Option<Words>;
}

impl InWords for () {
    fn in_words(&self) -> Option<Words> {
        None
    }
}

/// Characters of a sentence.
const SAID: usize = 300;
/// Characters of a field.
const FIELD: usize = 240;

/// At most so many bytes, and a mark where it was cut. Control characters are no letters.
pub(super) fn clip(text: &str, most: usize) -> String {
    let mut clipped: String = text
        .char_indices()
        .take_while(|(at, _)| *at < most)
        .map(|(_, letter)| if letter.is_control() { ' ' } else { letter })
        .collect();
    if clipped.len() < text.len() {
        clipped.push('…');
    }
    clipped
}

/// What `Debug` writes, cut: no more of it is made than is kept.
pub(super) fn field(value: &dyn fmt::Debug) -> String {
    struct Room(String);
    impl fmt::Write for Room {
        fn write_str(&mut self, text: &str) -> fmt::Result {
            self.0.push_str(&clip(text, FIELD + 1));
            if self.0.len() > FIELD { Err(fmt::Error) } else { Ok(()) }
        }
    }
    let mut room = Room(String::new());
    // It fails when there is enough.
    let _ = write!(room, "{value:?}");
    clip(&room.0, FIELD)
}

/// Bytes as people write them.
pub(super) fn bytes(count: u64) -> String {
    match count {
        0..=9_999 => format!("{count} B"),
        10_000..=999_999 => format!("{:.1} kB", count as f64 / 1e3),
        _ => format!("{:.1} MB", count as f64 / 1e6),
    }
}

/// A span as people write it.
pub(super) fn span(micros: u64) -> String {
    match micros {
        0..=999 => format!("{micros} µs"),
        1_000..=999_999 => format!("{:.1} ms", micros as f64 / 1e3),
        _ => format!("{:.3} s", micros as f64 / 1e6),
    }
}

/// A command line.
pub(super) fn command_line<'a>(words: impl Iterator<Item = &'a [u8]>) -> String {
    let words: Vec<_> = words.take(40).map(|word| String::from_utf8_lossy(word)).collect();
    clip(&words.join(" "), FIELD)
}

/// One or several.
pub(super) fn counted(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_long_is_cut_between_letters() {
        assert_eq!(clip("äöü", 3), "äö…");
        assert_eq!(clip("a\nb", 9), "a b");
        assert_eq!(clip("", 3), "");
        let long = field(&vec![0_u8; 1 << 20]);
        assert!(long.ends_with('…') && long.len() < FIELD + 4, "{}", long.len());
    }

    #[test]
    fn sizes_and_spans_are_written_as_people_do() {
        assert_eq!([bytes(70), bytes(70_000), bytes(1 << 20)], ["70 B", "70.0 kB", "1.0 MB"]);
        assert_eq!([span(7), span(1_500), span(2_500_000)], ["7 µs", "1.5 ms", "2.500 s"]);
    }
}
