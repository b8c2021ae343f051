//! Writes a recording while a driver runs.

use super::digest::{ActionDigest, StateHash};
use super::frame::{FRAME, MAGIC, Record};
use super::header::Header;
use crate::clock;
use crate::driver::Observer;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fmt::{self, Debug};
use std::io::{self, Write};
use std::time::Duration;
use xxnet_core::Instant;
use xxnet_core::machine::{Action, Event, Machine};

/// Bytes that a recording is allowed at the least.
pub const LEAST: u64 = 64 << 10;

/// Bytes kept free for the end.
const END: usize = FRAME + 33;
/// The state is hashed at most once in so many events, …
const EVENTS_A_STATE: u32 = 1000;
/// … and so that it takes at most one part in so many of the time.
const STATE_SHARE: u32 = 200;
/// Actions of one event from which on their words are left out.
const WORDY: usize = 256;

/// Why nothing more is recorded, although the driver goes on.
#[derive(Debug)]
pub enum Stopped {
    /// The file has reached its limit.
    Full,
    /// One event is larger than a recording can hold.
    TooLarge,
    /// The file cannot be written.
    Failed(io::Error),
}

/// An [`Observer`] that writes what it is told.
///
/// Each event is with the system before the machine is given it, in one write together with the last event's actions. Nothing
/// that goes wrong here reaches the driver: the recording stops, and says so once.
pub struct Recorder<W> {
    /// `None`: stopped.
    out: Option<W>,
    /// Frames that are not written yet.
    buffer: Vec<u8>,
    actions: Vec<ActionDigest>,
    written: u64,
    limit: u64,
    told: Box<dyn FnMut(Stopped) + Send>,
    events_since_state: u32,
    /// Not before this.
    next_state: Instant,
}

impl<W> Debug for Recorder<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Recorder").field("written", &self.written).finish_non_exhaustive()
    }
}

impl<W: Write> Recorder<W> {
    /// Writes the beginning. At most `limit` bytes are written in all, but never fewer than [`LEAST`]; `told` hears it if the
    /// recording stops before the driver does.
    ///
    /// # Errors
    /// The system's.
    pub fn new(
        mut out: W,
        header: &Header,
        limit: u64,
        told: impl FnMut(Stopped) + Send + 'static,
    ) -> io::Result<Self> {
        let mut begin = MAGIC.to_vec();
        if !Record::Header(header.to_json()).put(&mut begin) {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        out.write_all(&begin)?;
        Ok(Self {
            out: Some(out),
            buffer: Vec::new(),
            actions: Vec::new(),
            written: begin.len() as u64,
            limit: limit.max(LEAST),
            told: Box::new(told),
            events_since_state: 0,
            next_state: Instant::ZERO,
        })
    }

    /// Adds a frame; `false`: there is no room for it and an end.
    fn put(&mut self, record: &Record) -> Result<bool, Stopped> {
        let before = self.buffer.len();
        if !record.put(&mut self.buffer) {
            return Err(Stopped::TooLarge);
        }
        let fits = self.written + self.buffer.len() as u64 + END as u64 <= self.limit;
        if !fits {
            self.buffer.truncate(before);
        }
        Ok(fits)
    }

    fn flush(&mut self) -> Result<(), Stopped> {
        let Some(out) = &mut self.out else { return Ok(()) };
        out.write_all(&self.buffer).map_err(Stopped::Failed)?;
        self.written += self.buffer.len() as u64;
        self.buffer.clear();
        Ok(())
    }

    /// The end, for which there is always room.
    fn end(&mut self, full: bool, machine: &impl Debug) -> Result<(), Stopped> {
        if !(Record::End { full, state: StateHash::of(machine) }.put(&mut self.buffer)) {
            return Err(Stopped::TooLarge);
        }
        self.flush()
    }

    fn stop(&mut self, why: Stopped) {
        self.out = None;
        self.buffer = Vec::new();
        self.actions = Vec::new();
        (self.told)(why);
    }

    fn full(&mut self, machine: &impl Debug) -> Result<(), Stopped> {
        self.end(true, machine)?;
        Err(Stopped::Full)
    }

    fn given(&mut self, now: Instant, machine: &impl Debug, bytes: Vec<u8>) -> Result<(), Stopped> {
        if !self.put(&Record::Event { now, bytes })? {
            return self.full(machine);
        }
        self.flush()
    }

    fn answered(&mut self, machine: &impl Debug) -> Result<(), Stopped> {
        let actions = Record::Actions(std::mem::take(&mut self.actions));
        let fits = self.put(&actions)?;
        if let Record::Actions(mut actions) = actions {
            actions.clear();
            self.actions = actions;
        }
        if !fits {
            return self.full(machine);
        }
        self.events_since_state += 1;
        if self.events_since_state >= EVENTS_A_STATE {
            self.hash_state(machine)?;
        }
        Ok(())
    }

    fn hash_state(&mut self, machine: &impl Debug) -> Result<(), Stopped> {
        let began = clock::now();
        if began < self.next_state {
            return Ok(());
        }
        self.events_since_state = 0;
        let state = Record::State(StateHash::of(machine));
        let took = clock::now().since(began).max(Duration::from_micros(1));
        self.next_state = began + took * STATE_SHARE;
        // If there is no room for it there is none for the next event either.
        self.put(&state).map(|_| ())
    }
}

impl<M, W> Observer<M> for Recorder<W>
where
    M: Machine + Debug,
    M::Command: Serialize + DeserializeOwned,
    M::Notice: Serialize,
    W: Write,
{
    fn event(&mut self, now: Instant, machine: &M, event: &Event<M::Command>) {
        if self.out.is_some()
            && let Err(why) = self.given(now, machine, event.to_bytes())
        {
            self.stop(why);
        }
    }

    fn action(&mut self, _now: Instant, action: &Action<M::Notice>) {
        if self.out.is_some() {
            let wordy = self.actions.len() < WORDY;
            self.actions.push(ActionDigest::of(action, wordy));
        }
    }

    fn finished(&mut self, _now: Instant, machine: &M) {
        if self.out.is_some()
            && let Err(why) = self.answered(machine)
        {
            self.stop(why);
        }
    }

    fn ended(&mut self, machine: &M) {
        // A machine that has panicked is in no state that could be compared; what it was given last is written.
        if self.out.is_some()
            && !std::thread::panicking()
            && let Err(why) = self.end(false, machine)
        {
            self.stop(why);
        }
    }
}
