//! What an application may want to know beside its messages.

use super::shared::Shared;
use super::{Payload, RecvError};
use crate::alarm::lock;
use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};
use xxnet_core::Address;
use xxnet_core::connection::DisconnectReason;
use xxnet_core::messenger::MessengerError;
use xxnet_core::net::NetError;

/// Events that wait to be looked at, at most; of more the oldest that are no reports are dropped, and counted.
const KEPT: usize = 1024;

/// What happened.
#[derive(Clone, Debug, PartialEq)]
pub enum NetEvent {
    /// A session with a peer has begun.
    Connected {
        /// Where it can be sent to.
        at: Address,
        /// Its name for people.
        name: String,
    },
    /// The session's link broke; it goes on with the next one.
    Interrupted {
        /// Whose.
        at: Address,
        /// Why.
        reason: DisconnectReason,
    },
    /// The session has a link again.
    Resumed {
        /// Whose.
        at: Address,
    },
    /// The session is over.
    Disconnected {
        /// Whose.
        at: Address,
        /// Why.
        reason: DisconnectReason,
    },
    /// Nobody can be reached at an address; it is tried again. Told once.
    Retrying {
        /// Where.
        to: Address,
        /// What went wrong first.
        reason: DisconnectReason,
    },
    /// These messages were sent and not acknowledged: they may or may not have been delivered.
    Undelivered {
        /// To whom.
        to: Address,
        /// Why.
        reason: DisconnectReason,
        /// The messages, oldest first.
        messages: Vec<Payload>,
    },
    /// This message was not even queued.
    Refused {
        /// To whom.
        to: Address,
        /// Why.
        error: MessengerError,
        /// The message.
        message: Payload,
    },
    /// A newcomer was turned away.
    TurnedAway {
        /// Where it came from.
        from: Address,
        /// Why.
        reason: DisconnectReason,
    },
    /// Accepting fails, and is tried again.
    AcceptFailing(NetError),
    /// So many events were dropped here, because nobody looked at them.
    Missed(u64),
}

impl NetEvent {
    /// Whether it tells of messages that did not arrive: these are never dropped.
    fn is_report(&self) -> bool {
        matches!(self, Self::Undelivered { .. } | Self::Refused { .. })
    }
}

/// Events that nobody has looked at.
#[derive(Debug, Default)]
pub(super) struct EventQueue {
    state: Mutex<State>,
    come: Condvar,
}

#[derive(Debug, Default)]
struct State {
    events: VecDeque<NetEvent>,
    missed: u64,
    closed: bool,
}

impl EventQueue {
    pub(super) fn put(&self, event: NetEvent) {
        let mut state = lock(&self.state);
        if state.events.len() >= KEPT
            && let Some(oldest) = state.events.iter().position(|event| !event.is_report())
        {
            state.events.remove(oldest);
            state.missed += 1;
        }
        state.events.push_back(event);
        drop(state);
        self.come.notify_all();
    }

    pub(super) fn close(&self) {
        lock(&self.state).closed = true;
        self.come.notify_all();
    }

    fn next(&self, until: Option<Instant>) -> Result<NetEvent, RecvError> {
        let mut state = lock(&self.state);
        loop {
            if state.missed > 0 {
                return Ok(NetEvent::Missed(std::mem::take(&mut state.missed)));
            }
            if let Some(event) = state.events.pop_front() {
                return Ok(event);
            }
            if state.closed {
                return Err(RecvError::Closed);
            }
            state = match until {
                None => self.come.wait(state).unwrap_or_else(PoisonError::into_inner),
                Some(until) => {
                    let left = until.saturating_duration_since(Instant::now());
                    if left.is_zero() {
                        return Err(RecvError::Timeout);
                    }
                    self.come.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0
                }
            };
        }
    }
}

/// A door to the events of a [`Net`](super::Net). Each event is told once, through whichever door asks first.
#[derive(Clone)]
pub struct Events {
    shared: Arc<Shared>,
}

impl std::fmt::Debug for Events {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Events")
    }
}

impl Events {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    /// The next event; waits for one.
    ///
    /// # Errors
    /// [`RecvError::Closed`] once it is shut down and all were told.
    pub fn next(&self) -> Result<NetEvent, RecvError> {
        self.shared.events.next(None)
    }

    /// The next event; waits for one, but not longer than that.
    ///
    /// # Errors
    /// [`RecvError`].
    pub fn next_timeout(&self, timeout: Duration) -> Result<NetEvent, RecvError> {
        self.shared.events.next(Instant::now().checked_add(timeout))
    }

    /// The next event, if one is there.
    ///
    /// # Errors
    /// [`RecvError`]; `Timeout`: none is.
    pub fn try_next(&self) -> Result<NetEvent, RecvError> {
        self.next_timeout(Duration::ZERO)
    }
}
