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
use xxnet_core::pack::DataPack;

/// Events that wait to be looked at, at most, reports apart; of more the oldest are dropped, and counted.
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
    /// Events were dropped here, because nobody looked at them.
    Missed {
        /// How many.
        events: u64,
        /// How many messages they told of that were not delivered.
        messages: u64,
    },
}

/// What an event says of messages that were not delivered, and what that holds.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Report {
    pub(super) messages: u64,
    pub(super) bytes: usize,
}

impl Report {
    /// Of these. A dict takes more room than its bytes, and an empty message some.
    pub(super) fn of(packs: &[DataPack]) -> Self {
        let bytes = packs.iter().map(|pack| 64 + 2 * pack.data_len()).sum();
        Self { messages: packs.len() as u64, bytes }
    }

    /// Whether it says anything.
    fn is_one(self) -> bool {
        self.messages > 0
    }
}

/// Events that nobody has looked at.
#[derive(Debug)]
pub(super) struct EventQueue {
    state: Mutex<State>,
    come: Condvar,
    /// Bytes of reports that are kept, but for the newest.
    room: usize,
}

#[derive(Debug, Default)]
struct State {
    events: VecDeque<(NetEvent, Report)>,
    /// How many of them are reports, and what all of these hold.
    reports: usize,
    held: usize,
    /// Events that were dropped, and the messages that they told of.
    missed: (u64, u64),
    closed: bool,
}

impl State {
    fn pop(&mut self) -> Option<NetEvent> {
        let (event, report) = self.events.pop_front()?;
        self.let_go(report);
        Some(event)
    }

    /// Drops the oldest that is a report, or that is none.
    fn drop_oldest(&mut self, is_report: bool) {
        let oldest = self.events.iter().position(|(_, report)| report.is_one() == is_report);
        if let Some((_, report)) = oldest.and_then(|oldest| self.events.remove(oldest)) {
            self.missed = (self.missed.0 + 1, self.missed.1 + report.messages);
            self.let_go(report);
        }
    }

    fn let_go(&mut self, report: Report) {
        self.reports -= usize::from(report.is_one());
        self.held -= report.bytes;
    }
}

impl EventQueue {
    pub(super) fn new(room: usize) -> Self {
        Self { state: Mutex::default(), come: Condvar::new(), room }
    }

    /// A report never makes way for other events, nor they for it.
    pub(super) fn put(&self, event: NetEvent, report: Report) {
        let mut state = lock(&self.state);
        if !report.is_one() && state.events.len() - state.reports >= KEPT {
            state.drop_oldest(false);
        }
        while report.is_one() && state.reports > 0 && state.held + report.bytes > self.room {
            state.drop_oldest(true);
        }
        state.reports += usize::from(report.is_one());
        state.held += report.bytes;
        state.events.push_back((event, report));
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
            let (events, messages) = std::mem::take(&mut state.missed);
            if events > 0 {
                return Ok(NetEvent::Missed { events, messages });
            }
            if let Some(event) = state.pop() {
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

#[cfg(test)]
mod tests {
    use super::*;

    fn report(n: u64) -> (NetEvent, Report) {
        let message = Payload::Raw(n.to_le_bytes().to_vec().into());
        let (to, error) = (Address::Name("there".into(), 1), MessengerError::Closed);
        (NetEvent::Refused { to, error, message }, Report { messages: 1, bytes: 100 })
    }

    #[test]
    fn n8_reports_that_nobody_reads_are_bounded_and_counted() {
        let queue = EventQueue::new(1000);
        for n in 0..1000 {
            let (event, cost) = report(n);
            queue.put(event, cost);
            queue.put(NetEvent::AcceptFailing(NetError::Exhausted), Report::default());
        }
        for _ in 0..1000 {
            queue.put(NetEvent::AcceptFailing(NetError::Exhausted), Report::default());
        }
        let next = || queue.next(Some(Instant::now()));
        let missed = 990 + 2000 - KEPT as u64;
        assert_eq!(next(), Ok(NetEvent::Missed { events: missed, messages: 990 }));
        let rest: Vec<_> = std::iter::from_fn(|| next().ok()).collect();
        let reports: Vec<_> = rest.iter().filter(|event| matches!(event, NetEvent::Refused { .. })).collect();
        // The newest, in order.
        assert_eq!((rest.len(), reports.len()), (KEPT + 10, 10));
        assert_eq!((reports[0], reports[9]), (&report(990).0, &report(999).0));
    }

    #[test]
    fn one_report_is_kept_however_large_it_is() {
        let queue = EventQueue::new(10);
        let (event, cost) = report(1);
        queue.put(event.clone(), cost);
        assert_eq!(queue.next(Some(Instant::now())), Ok(event));
        assert_eq!(queue.next(Some(Instant::now())), Err(RecvError::Timeout));
    }
}
