//! What goes wrong at the command line: one sentence that says what to do, and an exit code.

use std::fmt;

/// The exit codes, as `--help` lists them.
pub(crate) mod exit {
    /// All is well.
    pub(crate) const OK: u8 = 0;
    /// xxnet could not do what it was asked.
    pub(crate) const FAILED: u8 = 1;
    /// The command line is wrong.
    pub(crate) const USAGE: u8 = 2;
    /// `replay` and `sim`: the command line is wrong (`EX_USAGE`); 2 is a divergence there, or a broken promise.
    pub(crate) const OTHER_USAGE: u8 = 64;
    /// `run`: the command ran past its `--timeout`.
    pub(crate) const TIMED_OUT: u8 = 124;
    /// `run`: xxnet itself failed, as `env` and `docker run` have it.
    pub(crate) const RUN_FAILED: u8 = 125;
    /// `run`: the command is there but cannot be executed.
    pub(crate) const NOT_EXECUTABLE: u8 = 126;
    /// `run`: there is no such command.
    pub(crate) const NOT_FOUND: u8 = 127;
    /// Added to the number of the signal that ended the command.
    pub(crate) const SIGNAL: u8 = 128;
    /// Ended by this signal.
    pub(crate) fn of_signal(signal: i32) -> u8 {
        SIGNAL.saturating_add(u8::try_from(signal).unwrap_or(0))
    }

    /// Whoever read our output has gone away (128 + SIGPIPE).
    pub(crate) const BROKEN_PIPE: u8 = 141;
}

/// A failure to be told in one sentence on standard error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    /// What the process exits with.
    pub(crate) code: u8,
    /// The sentence, without the `xxnet: ` before it. Empty: nothing is said.
    pub(crate) text: String,
}

/// What most of the command line returns.
pub(crate) type Outcome<T = ()> = Result<T, Failure>;

impl Failure {
    /// xxnet could not do it.
    pub(crate) fn new(text: impl Into<String>) -> Self {
        Self { code: exit::FAILED, text: text.into() }
    }

    /// The command line is wrong in a way that the parser cannot see.
    pub(crate) fn usage(text: impl Into<String>) -> Self {
        Self { code: exit::USAGE, text: text.into() }
    }

    /// Exits with `code`, silently: all has been said.
    pub(crate) fn silent(code: u8) -> Self {
        Self { code, text: String::new() }
    }

    /// In `run` every failure of xxnet's own is 125, so that it can be told from the command's codes.
    pub(crate) fn in_run(self) -> Self {
        match self.code {
            exit::FAILED | exit::USAGE => Self { code: exit::RUN_FAILED, ..self },
            _ => self,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// The system's words for an error, without Rust's "(os error 2)".
pub(crate) fn plain(error: &std::io::Error) -> String {
    let text = error.to_string();
    let text = text.split(" (os error").next().unwrap_or(&text);
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| first.to_lowercase().chain(letters).collect())
}
