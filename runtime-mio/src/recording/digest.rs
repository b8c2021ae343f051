//! What is compared: hashes of actions and states, and the words that people read when they differ.

use serde::Serialize;
use std::fmt::{self, Debug, Write};
use xxnet_core::machine::Action;
use xxnet_core::state::Kept;

/// Bytes of words about an event or an action.
const WORDS: usize = 200;

/// One action: enough to compare, and to read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ActionDigest {
    /// Of all of it.
    pub hash: [u8; 8],
    /// Its first words.
    pub words: String,
}

impl ActionDigest {
    /// Without its words, if there are too many already.
    pub(super) fn of<N: Serialize + Debug>(action: &Action<N>, wordy: bool) -> Self {
        let hash = blake3::hash(&action.to_bytes());
        let mut short = [0; 8];
        short.copy_from_slice(&hash.as_bytes()[..8]);
        Self { hash: short, words: if wordy { words(action) } else { String::new() } }
    }
}

/// The hash of a machine's whole state; of all but its key.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct StateHash(pub [u8; 32]);

impl StateHash {
    /// Of this machine, now. Takes as long as the state is large.
    pub fn of(machine: &impl Kept) -> Self {
        Self::of_state(&machine.to_state())
    }

    /// Of the machine with this state.
    pub(super) fn of_state(state: &[u8]) -> Self {
        Self(*blake3::hash(state).as_bytes())
    }
}

impl fmt::Display for StateHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().take(16).try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl Debug for StateHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The first words of something, however large it is.
pub(super) fn words(thing: &impl Debug) -> String {
    struct First(String);
    impl Write for First {
        fn write_str(&mut self, text: &str) -> fmt::Result {
            let room = WORDS - self.0.len();
            if text.len() <= room {
                self.0.push_str(text);
                return Ok(());
            }
            let end = (0..=room).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
            self.0.push_str(&text[..end]);
            // Ends the formatting: a block of a file would take its time.
            Err(fmt::Error)
        }
    }
    let mut first = First(String::new());
    if write!(first, "{thing:?}").is_err() {
        first.0.push('…');
    }
    first.0
}
