//! Colours: only on a terminal, never with `NO_COLOR`.

use std::fmt;
use std::io::IsTerminal;

/// How a piece of text stands out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tone {
    /// As it is.
    Plain,
    /// Headings and names.
    Bold,
    /// What matters less.
    Dim,
    /// It went well.
    Good,
    /// Look here.
    Warn,
    /// It went wrong.
    Bad,
}

impl Tone {
    fn code(self) -> &'static str {
        match self {
            Self::Plain => "",
            Self::Bold => "1",
            Self::Dim => "2",
            Self::Good => "32",
            Self::Warn => "33",
            Self::Bad => "31",
        }
    }
}

/// Whether one stream gets colours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Style {
    colours: bool,
}

impl Style {
    /// For standard output.
    pub(crate) fn stdout() -> Self {
        Self { colours: wanted(std::io::stdout().is_terminal()) }
    }

    /// For standard error.
    pub(crate) fn stderr() -> Self {
        Self { colours: wanted(std::io::stderr().is_terminal()) }
    }

    /// Without colours.
    #[cfg(test)]
    pub(crate) fn plain() -> Self {
        Self { colours: false }
    }

    /// `text` in that tone, if this stream gets colours.
    pub(crate) fn paint<T: fmt::Display>(self, tone: Tone, text: T) -> Painted<T> {
        Painted { tone: if self.colours { tone } else { Tone::Plain }, text }
    }
}

/// A text with its colour.
pub(crate) struct Painted<T> {
    tone: Tone,
    text: T,
}

impl<T: fmt::Display> fmt::Display for Painted<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.tone {
            Tone::Plain => self.text.fmt(f),
            tone => {
                write!(f, "\x1b[{}m", tone.code())?;
                self.text.fmt(f)?;
                f.write_str("\x1b[0m")
            }
        }
    }
}

/// <https://no-color.org>: set and not empty means none.
fn wanted(terminal: bool) -> bool {
    let refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
    terminal && !refused && !dumb
}
