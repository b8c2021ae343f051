//! Runs a machine over a recording, and compares.

use super::digest::{ActionDigest, StateHash, words};
use super::frame::{Record, Tail};
use super::header::Header;
use super::part::Part;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::io::{self, Read};
use std::panic::{AssertUnwindSafe, catch_unwind};
use xxnet_core::machine::{Action, Actions, Event, Machine};
use xxnet_core::state::Kept;
use xxnet_core::{ClusterKey, Instant};

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// Events that the machine was given before those that are held.
    pub before: u64,
    /// Events that the machine was given.
    pub events: u64,
    /// Actions that were compared.
    pub actions: u64,
    /// States that were compared.
    pub states: u64,
    /// When the first event came, and the last.
    pub span: Option<(Instant, Instant)>,
    /// The machine's state behind the last event; `None` if it panicked.
    pub state: Option<StateHash>,
    /// Whether it did the same.
    pub verdict: Verdict,
    /// How the newest part that was read ends; up to there all was compared, unless the verdict says otherwise.
    pub tail: Tail,
    /// How a part before that ends, if it does not lead to the next: the machine went on there with the state that was recorded.
    pub gap: Option<Tail>,
}

/// Whether a machine did what was recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It did, all that was recorded.
    Same,
    /// It did not; nothing was tried behind that.
    Diverged(Divergence),
    /// The event of that number is none that this version knows.
    Unreadable(u64),
    /// The state before the event of that number is none that this version knows.
    UnreadableState(u64),
}

/// The first place at which the machine did something else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Divergence {
    /// The event's number, from 1 at the beginning of the daemon's life; 0 before the first.
    pub event: u64,
    /// When it came.
    pub at: Instant,
    /// Its first words.
    pub words: String,
    /// What differs.
    pub difference: Difference,
}

/// What a machine did otherwise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Difference {
    /// An action of the event.
    Action {
        /// Which, from 1.
        number: usize,
        /// What was recorded; `None`: nothing more.
        recorded: Option<String>,
        /// What it asks for now; `None`: nothing more.
        now: Option<String>,
    },
    /// All actions are the same, and the state behind the event is another one.
    State {
        /// What was recorded.
        recorded: StateHash,
        /// What it is now.
        now: StateHash,
    },
    /// The machine panicked; as it did when it was recorded, perhaps, if nothing stands behind the event.
    Panic {
        /// With these words.
        text: String,
    },
}

/// The event that the machine was given last.
struct Last<N> {
    at: Instant,
    words: String,
    /// Until they are compared.
    actions: Vec<Action<N>>,
}

/// Gives a machine everything that the parts hold, oldest first, and compares what it does with what it did. It begins as `new`
/// builds it, or with the state that the first part has; a part that follows on another must begin with the state at its end.
///
/// # Errors
/// The files' own.
pub fn replay<M, R>(new: impl FnOnce() -> M, key: &ClusterKey, parts: Vec<Part<R>>) -> io::Result<Report>
where
    M: Kept,
    M::Command: Serialize + DeserializeOwned,
    M::Notice: Serialize,
    R: Read,
{
    let first = parts.first().filter(|part| part.header.part == 0);
    let mut run = Run::new(first.is_some().then(new), parts.first().map_or(0, |part| part.header.events));
    let (mut verdict, mut tail, mut gap, mut last) = (Verdict::Same, Tail::Cut(0), None, None);
    for mut part in parts {
        if let Some(last) = &last
            && !(tail == Tail::Turned && Header::leads_to(last, &part.header))
        {
            gap = Some(tail);
            run.machine = None;
        }
        run.number = part.header.events;
        while let Some(record) = part.reader.read()? {
            // How the file ends is worth knowing all the same.
            if verdict == Verdict::Same
                && let Err(other) = run.take(record, key)
            {
                verdict = other;
            }
        }
        // A reader without another frame knows why.
        tail = part.reader.tail().unwrap_or(Tail::Cut(0));
        if verdict != Verdict::Same {
            break;
        }
        last = Some(part.header);
    }
    let panicked =
        matches!(&verdict, Verdict::Diverged(Divergence { difference: Difference::Panic { .. }, .. }));
    Ok(Report {
        before: run.before,
        events: run.events,
        actions: run.actions,
        states: run.states,
        span: run.span,
        state: run.machine.as_ref().filter(|_| !panicked).map(StateHash::of),
        verdict,
        tail,
        gap,
    })
}

struct Run<M: Machine> {
    /// `None`: its state is to come.
    machine: Option<M>,
    sink: Actions<M::Notice>,
    last: Option<Last<M::Notice>>,
    /// The newest event's.
    number: u64,
    before: u64,
    events: u64,
    actions: u64,
    states: u64,
    span: Option<(Instant, Instant)>,
}

impl<M> Run<M>
where
    M: Kept,
    M::Command: Serialize + DeserializeOwned,
    M::Notice: Serialize,
{
    fn new(machine: Option<M>, before: u64) -> Self {
        Self {
            machine,
            sink: Actions::new(),
            last: None,
            number: before,
            before,
            events: 0,
            actions: 0,
            states: 0,
            span: None,
        }
    }

    fn take(&mut self, record: Record, key: &ClusterKey) -> Result<(), Verdict> {
        match record {
            // Was read before; a second one means nothing.
            Record::Header(_) => Ok(()),
            Record::Machine(state) => self.begin(&state, key),
            Record::Event { now, bytes } => self.event(now, &bytes),
            Record::Actions(recorded) => self.compare(&recorded),
            Record::State(state) | Record::End { state, .. } => self.compare_state(state),
        }
    }

    /// A part begins with this state.
    fn begin(&mut self, state: &[u8], key: &ClusterKey) -> Result<(), Verdict> {
        if self.machine.is_some() {
            return self.compare_state(StateHash::of_state(state));
        }
        let machine = M::from_state(state, key).map_err(|_| Verdict::UnreadableState(self.number + 1))?;
        self.machine = Some(machine);
        self.last = None;
        Ok(())
    }

    fn event(&mut self, now: Instant, bytes: &[u8]) -> Result<(), Verdict> {
        let Some(machine) = &mut self.machine else { return Err(Verdict::UnreadableState(self.number + 1)) };
        (self.events, self.number) = (self.events + 1, self.number + 1);
        let event: Event<M::Command> =
            Event::from_bytes(bytes).map_err(|_| Verdict::Unreadable(self.number))?;
        self.span = Some((self.span.map_or(now, |(first, _)| first), now));
        self.last = Some(Last { at: now, words: words(&event), actions: Vec::new() });
        let sink = &mut self.sink;
        // A machine that has panicked is not used again.
        let handled = catch_unwind(AssertUnwindSafe(|| machine.handle(now, event, sink)));
        if let Err(panic) = handled {
            let text = panic.downcast_ref::<String>().map(String::as_str);
            let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("without a word");
            return Err(self.diverged(Difference::Panic { text: text.to_owned() }));
        }
        let actions = self.sink.drain();
        if let Some(last) = &mut self.last {
            last.actions.extend(actions);
        }
        Ok(())
    }

    fn compare(&mut self, recorded: &[ActionDigest]) -> Result<(), Verdict> {
        let actions = self.last.as_mut().map(|last| std::mem::take(&mut last.actions)).unwrap_or_default();
        for index in 0..recorded.len().max(actions.len()) {
            let (was, is) = (recorded.get(index), actions.get(index));
            let is = is.map(|action| ActionDigest::of(action, true));
            if was.map(|was| was.hash) != is.as_ref().map(|is| is.hash) {
                let recorded = was.map(|was| was.words.clone());
                let now = is.map(|is| is.words);
                return Err(self.diverged(Difference::Action { number: index + 1, recorded, now }));
            }
            self.actions += 1;
        }
        Ok(())
    }

    fn compare_state(&mut self, recorded: StateHash) -> Result<(), Verdict> {
        let Some(machine) = &self.machine else { return Ok(()) };
        let now = StateHash::of(machine);
        if now != recorded {
            return Err(self.diverged(Difference::State { recorded, now }));
        }
        self.states += 1;
        Ok(())
    }

    fn diverged(&self, difference: Difference) -> Verdict {
        let (at, words) =
            self.last.as_ref().map_or((Instant::ZERO, String::new()), |last| (last.at, last.words.clone()));
        Verdict::Diverged(Divergence { event: self.number, at, words, difference })
    }
}
