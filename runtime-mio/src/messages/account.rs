//! What waits to be taken by one peer, and those who wait for room.

use super::shared::Shared;
use super::{IntoPayload, Payload, SendError};
use crate::alarm::lock;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};
use xxnet_core::pack::{DataHeader, DataPack};
use xxnet_core::{Address, Token};

/// One address that is sent to.
#[derive(Debug)]
pub(super) struct Account {
    pub(super) token: Token,
    pub(super) to: Address,
    /// Wire bytes that were sent and are not settled.
    queued: AtomicUsize,
    sent: AtomicU64,
    settled: AtomicU64,
    /// Of the settled ones those that were refused, and so did not wait for those before them.
    refused: AtomicU64,
    /// Whether somebody waits for room.
    waited_for: AtomicBool,
    gate: Mutex<()>,
    room: Condvar,
}

impl Account {
    pub(super) fn new(token: Token, to: Address) -> Self {
        Self {
            token,
            to,
            queued: AtomicUsize::new(0),
            sent: AtomicU64::new(0),
            settled: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            waited_for: AtomicBool::new(false),
            gate: Mutex::new(()),
            room: Condvar::new(),
        }
    }

    /// Takes room for a message: always if nothing else is queued.
    fn reserve(&self, bytes: usize, limit: usize) -> bool {
        // In one step, so that nobody is ever refused because of what another one was refused.
        let fits = |queued| (queued == 0 || queued + bytes <= limit).then_some(queued + bytes);
        self.queued.fetch_update(Ordering::AcqRel, Ordering::Acquire, fits).is_ok()
    }

    /// One more message is on its way; under the queue's lock, so that `flush` sees it with its place in the queue.
    pub(super) fn count(&self) {
        self.sent.store(self.sent.load(Ordering::Relaxed) + 1, Ordering::Release);
    }

    /// As [`reserve`](Self::reserve), but waits for room; false if there was none by then, or will be none.
    fn reserve_waiting(&self, bytes: usize, shared: &Shared, until: Option<Instant>) -> bool {
        let mut gate = lock(&self.gate);
        loop {
            if shared.is_closed() {
                return false;
            }
            self.waited_for.store(true, Ordering::SeqCst);
            if self.reserve(bytes, shared.queue) {
                // Others may wait, too: each that goes passes the word on.
                self.room.notify_one();
                return true;
            }
            gate = match until {
                None => self.room.wait(gate).unwrap_or_else(PoisonError::into_inner),
                Some(until) => {
                    let left = until.saturating_duration_since(Instant::now());
                    if left.is_zero() {
                        return false;
                    }
                    self.room.wait_timeout(gate, left).unwrap_or_else(PoisonError::into_inner).0
                }
            };
        }
    }

    /// So many messages are no longer queued.
    pub(super) fn settle(&self, count: u64, bytes: usize) {
        self.queued.fetch_sub(bytes, Ordering::AcqRel);
        self.settled.fetch_add(count, Ordering::Release);
        if self.waited_for.swap(false, Ordering::SeqCst) {
            self.wake();
        }
    }

    /// Whoever waits looks again.
    pub(super) fn wake(&self) {
        drop(lock(&self.gate));
        self.room.notify_all();
    }

    /// Whether nothing of it is on its way.
    pub(super) fn is_settled(&self) -> bool {
        self.queued.load(Ordering::Acquire) == 0 && self.sent() == self.settled()
    }

    /// Messages that were sent so far.
    pub(super) fn sent(&self) -> u64 {
        self.sent.load(Ordering::Acquire)
    }

    /// Messages that are settled so far.
    fn settled(&self) -> u64 {
        self.settled.load(Ordering::Acquire)
    }

    /// A message is refused; that it is settled is told next.
    pub(super) fn count_refused(&self) {
        self.refused.fetch_add(1, Ordering::AcqRel);
    }

    /// Messages that were refused so far.
    pub(super) fn refused(&self) -> u64 {
        self.refused.load(Ordering::Acquire)
    }

    /// Messages that were settled in the order in which they were sent.
    pub(super) fn settled_in_order(&self) -> u64 {
        self.settled().saturating_sub(self.refused())
    }
}

/// A door to one address.
#[derive(Clone)]
pub struct Sender {
    shared: Arc<Shared>,
    account: Arc<Account>,
}

impl std::fmt::Debug for Sender {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Sender({})", self.account.to)
    }
}

impl Sender {
    pub(super) fn new(shared: Arc<Shared>, account: Arc<Account>) -> Self {
        Self { shared, account }
    }

    /// Where it sends to.
    pub fn address(&self) -> &Address {
        &self.account.to
    }

    /// As [`Net::send`](super::Net::send).
    ///
    /// # Errors
    /// [`SendError`], but for `Full`.
    pub fn send(&self, payload: impl IntoPayload) -> Result<(), SendError> {
        let (pack, bytes) = self.pack(payload)?;
        if !self.account.reserve(bytes, self.shared.queue)
            && !self.account.reserve_waiting(bytes, &self.shared, None)
        {
            return Err(SendError::Closed);
        }
        self.shared.send(&self.account, pack)
    }

    /// As [`Net::send_timeout`](super::Net::send_timeout).
    ///
    /// # Errors
    /// [`SendError`].
    pub fn send_timeout(&self, payload: impl IntoPayload, timeout: Duration) -> Result<(), SendError> {
        let (pack, bytes) = self.pack(payload)?;
        let until = || Instant::now().checked_add(timeout);
        if !self.account.reserve(bytes, self.shared.queue)
            && !self.account.reserve_waiting(bytes, &self.shared, until())
        {
            if self.shared.is_closed() {
                return Err(SendError::Closed);
            }
            return Err(SendError::Full(Payload::of(pack).map_err(SendError::Data)?));
        }
        self.shared.send(&self.account, pack)
    }

    /// As [`Net::try_send`](super::Net::try_send).
    ///
    /// # Errors
    /// [`SendError`].
    pub fn try_send(&self, payload: impl IntoPayload) -> Result<(), SendError> {
        let (pack, bytes) = self.pack(payload)?;
        if !self.account.reserve(bytes, self.shared.queue) {
            return Err(SendError::Full(Payload::of(pack).map_err(SendError::Data)?));
        }
        self.shared.send(&self.account, pack)
    }

    fn pack(&self, payload: impl IntoPayload) -> Result<(DataPack, usize), SendError> {
        let pack = payload.into_pack()?;
        let (size, limit) = (pack.data_len(), self.shared.max_data);
        if size > limit as usize {
            return Err(SendError::TooLarge { size, limit });
        }
        Ok((pack, DataHeader::WIRE_LEN + size))
    }
}
