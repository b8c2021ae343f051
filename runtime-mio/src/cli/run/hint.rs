//! Says what a task waits for, if it waits for longer than a moment; each thing once.

use super::super::say;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Whatever is over sooner is not worth a word.
const MOMENT: Duration = Duration::from_secs(1);

/// What the task waits for now. A thread says it when it has stood for a moment; there is none until something waits.
pub(super) struct Hint {
    quiet: bool,
    shared: Option<Arc<Shared>>,
}

struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    /// What is waited for, and since when.
    waiting: Option<(String, Instant)>,
    said: Vec<String>,
}

impl Hint {
    /// Says nothing at all if `quiet`.
    pub(super) fn new(quiet: bool) -> Self {
        Self { quiet, shared: None }
    }

    /// From now on it waits for this.
    pub(super) fn waits(&mut self, text: String) {
        if self.quiet {
            return;
        }
        let shared = self.shared.get_or_insert_with(start);
        let mut state = shared.state.lock().unwrap_or_else(PoisonError::into_inner);
        // A reason that takes another's place before that was said does not start the moment anew.
        let unsaid = state.waiting.as_ref().filter(|(before, _)| !state.said.contains(before));
        let since = unsaid.map_or_else(Instant::now, |(_, since)| *since);
        state.waiting = Some((text, since));
        shared.changed.notify_one();
    }

    /// It waits for nothing any more.
    pub(super) fn over(&mut self) {
        if let Some(shared) = &self.shared {
            shared.state.lock().unwrap_or_else(PoisonError::into_inner).waiting = None;
            shared.changed.notify_one();
        }
    }
}

fn start() -> Arc<Shared> {
    let shared = Arc::new(Shared { state: Mutex::new(State::default()), changed: Condvar::new() });
    let mine = Arc::clone(&shared);
    // It ends with the process.
    std::thread::spawn(move || speak(&mine));
    shared
}

fn speak(shared: &Shared) -> ! {
    let mut state = shared.state.lock().unwrap_or_else(PoisonError::into_inner);
    loop {
        let pause = match &state.waiting {
            Some((text, since)) if !state.said.contains(text) => MOMENT.saturating_sub(since.elapsed()),
            _ => Duration::MAX,
        };
        if pause.is_zero() {
            let text = state.waiting.as_ref().map(|(text, _)| text.clone()).unwrap_or_default();
            say(&text);
            state.said.push(text);
        } else if pause == Duration::MAX {
            state = shared.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        } else {
            state = shared
                .changed
                .wait_timeout(state, pause)
                .map_or_else(|e| e.into_inner().0, |(state, _)| state);
        }
    }
}
