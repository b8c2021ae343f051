//! Writes a recording while a driver runs.

use super::digest::{ActionDigest, StateHash};
use super::frame::{End, FRAME, MAGIC, MOST, Record};
use super::header::Header;
use crate::clock;
use crate::driver::Observer;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fmt;
use std::io::{self, Write};
use std::time::Duration;
use xxnet_core::Instant;
use xxnet_core::machine::{Action, Event};
use xxnet_core::state::Kept;

/// Bytes that a recording is allowed at the least.
pub const LEAST: u64 = 64 << 10;

/// Bytes kept free for the end.
const END: usize = FRAME + 33;
/// Bytes kept free for the actions of a part's last event; in a small part an eighth.
const ACTIONS: u64 = 64 << 10;
/// The state is hashed at most once in so many events, …
const EVENTS_A_STATE: u32 = 1000;
/// … and so that it takes at most one part in so many of the time.
const STATE_SHARE: u32 = 200;
/// Actions of one event from which on their words are left out.
const WORDY: usize = 256;
/// How long a pause is at the least: what made the state large may be over then.
const PAUSE: Duration = Duration::from_secs(10);

/// Where the parts of a recording are kept.
pub trait Shelf {
    /// A part while it is written.
    type Part: Write;

    /// A new part beside the newest. What stood before the newest is gone: there is room for two.
    ///
    /// # Errors
    /// The system's.
    fn begin(&mut self) -> io::Result<Self::Part>;

    /// The part that was begun last can be read from here on: it is the newest, and the newest is the one before.
    ///
    /// # Errors
    /// The system's.
    fn turn(&mut self) -> io::Result<()>;
}

/// What a recorder has to tell; the driver goes on in any case.
#[derive(Debug)]
pub enum Told {
    /// An event of so many bytes does not fit into a part.
    EventTooLarge(u64),
    /// The state has become so large that a part could hold little else.
    StateTooLarge(u64),
    /// It fits again, and what comes is recorded.
    GoesOn,
    /// The file cannot be written: nothing more is recorded.
    Failed(io::Error),
}

/// An [`Observer`] that writes what it is told.
///
/// Each event is with the system before the machine is given it, in one write together with the last event's actions. Nothing
/// that goes wrong here reaches the driver.
pub struct Recorder<S: Shelf> {
    shelf: S,
    out: Out<S::Part>,
    /// Of the newest part.
    header: Header,
    /// Frames that are not written yet.
    buffer: Vec<u8>,
    actions: Vec<ActionDigest>,
    /// Bytes of the part.
    written: u64,
    /// Bytes that a part may have.
    limit: u64,
    /// Bytes that a state or an event may have: one of each always fits into a part.
    most: u64,
    told: Box<dyn FnMut(Told) + Send>,
    /// That the machine was given in all.
    events: u64,
    events_since_state: u32,
    /// No state is hashed before this.
    next_state: Instant,
}

enum Out<P> {
    Part(P),
    /// Nothing is recorded before this.
    Paused(Instant),
    Stopped,
}

/// Bytes of a part that are kept free for the actions of its last event.
fn reserve(limit: u64) -> u64 {
    (limit / 8).min(ACTIONS)
}

impl<S: Shelf> fmt::Debug for Recorder<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Recorder").field("written", &self.written).finish_non_exhaustive()
    }
}

impl<S: Shelf> Recorder<S> {
    /// Begins the first part. Of what comes the newest is kept, in two parts that have at most `limit` bytes together, but never
    /// fewer than [`LEAST`]; `told` hears of what is not recorded.
    ///
    /// # Errors
    /// The system's.
    pub fn new(
        shelf: S,
        header: &Header,
        limit: u64,
        told: impl FnMut(Told) + Send + 'static,
    ) -> io::Result<Self> {
        let limit = limit.max(LEAST) / 2;
        // The numbers in the header grow.
        let beside = MAGIC.len() + header.to_json().len() + 3 * FRAME + END + 64;
        let most = limit.saturating_sub(reserve(limit) + beside as u64) / 2;
        let mut recorder = Self {
            shelf,
            out: Out::Stopped,
            header: header.clone(),
            buffer: Vec::new(),
            actions: Vec::new(),
            written: 0,
            limit,
            most: most.min(MOST as u64 - 64),
            told: Box::new(told),
            events: header.events,
            events_since_state: 0,
            next_state: Instant::ZERO,
        };
        recorder.begin(None)?;
        Ok(recorder)
    }

    /// Begins a part, with a machine's state unless it is the first.
    fn begin(&mut self, state: Option<Vec<u8>>) -> io::Result<()> {
        let mut begin = MAGIC.to_vec();
        let mut fits = Record::Header(self.header.to_json()).put(&mut begin);
        if let Some(state) = state {
            fits &= Record::Machine(state).put(&mut begin);
        }
        if !fits {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let mut part = self.shelf.begin()?;
        part.write_all(&begin)?;
        self.shelf.turn()?;
        self.written = begin.len() as u64;
        self.out = Out::Part(part);
        Ok(())
    }

    /// Adds a frame; `false`: there is no room for it and as many bytes more, and an end.
    fn put(&mut self, record: &Record, more: u64) -> bool {
        let before = self.buffer.len();
        let fits = record.put(&mut self.buffer)
            && self.written + self.buffer.len() as u64 + more + END as u64 <= self.limit;
        if !fits {
            self.buffer.truncate(before);
        }
        fits
    }

    fn flush(&mut self) -> io::Result<()> {
        let Out::Part(out) = &mut self.out else { return Ok(()) };
        out.write_all(&self.buffer)?;
        self.written += self.buffer.len() as u64;
        self.buffer.clear();
        Ok(())
    }

    /// The end, for which there is always room.
    fn end(&mut self, end: End, state: StateHash) -> io::Result<()> {
        let fits = Record::End { end, state }.put(&mut self.buffer);
        debug_assert!(fits, "a few bytes");
        self.flush()
    }

    fn stop(&mut self, error: io::Error) {
        self.out = Out::Stopped;
        self.buffer = Vec::new();
        self.actions = Vec::new();
        (self.told)(Told::Failed(error));
    }

    fn pause(&mut self, now: Instant, state: &[u8], why: Told) -> io::Result<()> {
        if let Out::Part(_) = self.out {
            self.end(End::Pause, StateHash::of_state(state))?;
            (self.told)(why);
        }
        self.out = Out::Paused(now + PAUSE);
        Ok(())
    }

    fn given<M: Kept>(&mut self, now: Instant, machine: &M, bytes: Vec<u8>) -> io::Result<()> {
        let size = bytes.len() as u64;
        let event = Record::Event { now, bytes };
        let paused = match self.out {
            Out::Paused(until) if now < until => return Ok(()),
            Out::Paused(_) => true,
            Out::Part(_) | Out::Stopped => false,
        };
        if size > self.most {
            return self.pause(now, &machine.to_state(), Told::EventTooLarge(size));
        }
        if paused || !self.put(&event, reserve(self.limit)) {
            if !self.turn(now, machine)? {
                return Ok(());
            }
            if paused {
                (self.told)(Told::GoesOn);
            }
            let fits = self.put(&event, reserve(self.limit));
            debug_assert!(fits, "a state and an event fit into a part");
        }
        self.flush()
    }

    /// Goes on in a new part. `false`: the state is too large for one.
    fn turn<M: Kept>(&mut self, now: Instant, machine: &M) -> io::Result<bool> {
        let state = machine.to_state();
        let size = state.len() as u64;
        if size > self.most {
            self.pause(now, &state, Told::StateTooLarge(size))?;
            return Ok(false);
        }
        if let Out::Part(_) = self.out {
            self.end(End::Turn, StateHash::of_state(&state))?;
        }
        self.header = self.header.next(self.events);
        self.begin(Some(state))?;
        Ok(true)
    }

    fn answered<M: Kept>(&mut self, machine: &M) {
        let actions = Record::Actions(std::mem::take(&mut self.actions));
        // If there is no room for them, the state that the next part begins with tells enough.
        let _ = self.put(&actions, 0);
        if let Record::Actions(mut actions) = actions {
            actions.clear();
            self.actions = actions;
        }
        self.events_since_state += 1;
        if self.events_since_state >= EVENTS_A_STATE {
            self.hash_state(machine);
        }
    }

    fn hash_state<M: Kept>(&mut self, machine: &M) {
        let began = clock::now();
        if began < self.next_state {
            return;
        }
        self.events_since_state = 0;
        let state = Record::State(StateHash::of(machine));
        let took = clock::now().since(began).max(Duration::from_micros(1));
        self.next_state = began + took * STATE_SHARE;
        // If there is no room for it there is none for the next event either.
        let _ = self.put(&state, 0);
    }
}

impl<M, S> Observer<M> for Recorder<S>
where
    M: Kept,
    M::Command: Serialize + DeserializeOwned,
    M::Notice: Serialize,
    S: Shelf,
{
    fn event(&mut self, now: Instant, machine: &M, event: &Event<M::Command>) {
        if !matches!(self.out, Out::Stopped)
            && let Err(error) = self.given(now, machine, event.to_bytes())
        {
            self.stop(error);
        }
        self.events += 1;
    }

    fn action(&mut self, _now: Instant, action: &Action<M::Notice>) {
        if matches!(self.out, Out::Part(_)) {
            let wordy = self.actions.len() < WORDY;
            self.actions.push(ActionDigest::of(action, wordy));
        }
    }

    fn finished(&mut self, _now: Instant, machine: &M) {
        if matches!(self.out, Out::Part(_)) {
            self.answered(machine);
        }
    }

    fn ended(&mut self, machine: &M) {
        // A machine that has panicked is in no state that could be compared; what it was given last is written.
        if matches!(self.out, Out::Part(_))
            && !std::thread::panicking()
            && let Err(error) = self.end(End::Daemon, StateHash::of(machine))
        {
            self.stop(error);
        }
    }
}
