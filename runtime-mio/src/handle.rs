//! Commands from other threads.

use crate::alarm::{Alarm, lock};
use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::{self, ThreadId};

/// Commands that wait for the loop, at most; see [`Handle`].
pub const MAILBOX: usize = 1024;

/// A door into a running [`Driver`](crate::Driver), for any thread.
///
/// Commands are handled in the order in which they were sent. At most [`MAILBOX`] wait for the loop: [`send`](Self::send)
/// then waits for room, [`try_send`](Self::try_send) gives the command back. The loop never waits for anybody, so neither
/// does a `send` for long; from the loop's own thread (inside `on_notice`) it never waits at all.
pub struct Handle<C> {
    mailbox: Arc<Mailbox<C>>,
}

impl<C> Clone for Handle<C> {
    fn clone(&self) -> Self {
        Self { mailbox: Arc::clone(&self.mailbox) }
    }
}

impl<C> fmt::Debug for Handle<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Handle")
    }
}

/// A command that was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SendError<C> {
    /// [`MAILBOX`] commands wait already.
    Full(C),
    /// The driver is gone.
    Closed(C),
}

impl<C> fmt::Display for SendError<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Full(_) => "too many commands wait for the loop",
            Self::Closed(_) => "the loop has ended",
        })
    }
}

impl<C: fmt::Debug> std::error::Error for SendError<C> {}

impl<C> Handle<C> {
    pub(crate) fn new(mailbox: Arc<Mailbox<C>>) -> Self {
        Self { mailbox }
    }

    /// Gives the machine a command, and wakes the loop. Waits while the mailbox is full.
    ///
    /// # Errors
    /// [`SendError::Closed`] if the driver is gone.
    pub fn send(&self, command: C) -> Result<(), SendError<C>> {
        self.mailbox.put(command, true)
    }

    /// As [`send`](Self::send), but never waits.
    ///
    /// # Errors
    /// [`SendError::Full`] if the mailbox is full, [`SendError::Closed`] if the driver is gone.
    pub fn try_send(&self, command: C) -> Result<(), SendError<C>> {
        self.mailbox.put(command, false)
    }
}

/// The mailbox behind all handles of a driver.
pub(crate) struct Mailbox<C> {
    state: Mutex<State<C>>,
    room: Condvar,
    alarm: Arc<Alarm>,
}

struct State<C> {
    commands: VecDeque<C>,
    /// The loop's thread, while it runs.
    runner: Option<ThreadId>,
    closed: bool,
}

impl<C> Mailbox<C> {
    pub(crate) fn new(alarm: Arc<Alarm>) -> Arc<Self> {
        let state = State { commands: VecDeque::new(), runner: None, closed: false };
        Arc::new(Self { state: Mutex::new(state), room: Condvar::new(), alarm })
    }

    fn put(&self, command: C, wait: bool) -> Result<(), SendError<C>> {
        let mut state = lock(&self.state);
        while !state.closed && state.commands.len() >= MAILBOX {
            if !wait {
                return Err(SendError::Full(command));
            }
            if state.runner == Some(thread::current().id()) {
                break;
            }
            state = self.room.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        if state.closed {
            return Err(SendError::Closed(command));
        }
        state.commands.push_back(command);
        drop(state);
        self.alarm.ring();
        Ok(())
    }

    /// The loop takes all that has come.
    pub(crate) fn take(&self, into: &mut VecDeque<C>) {
        let mut state = lock(&self.state);
        let was_full = state.commands.len() >= MAILBOX;
        into.append(&mut state.commands);
        drop(state);
        if was_full {
            self.room.notify_all();
        }
    }

    /// The loop runs on this thread, from now on.
    pub(crate) fn run_here(&self) {
        lock(&self.state).runner = Some(thread::current().id());
    }

    /// Nobody will take commands any more.
    pub(crate) fn close(&self) {
        let mut state = lock(&self.state);
        state.closed = true;
        let unread = std::mem::take(&mut state.commands);
        drop(state);
        self.room.notify_all();
        drop(unread);
    }
}
