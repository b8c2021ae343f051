//! What has come and was not taken yet.

use super::shared::Shared;
use super::{Message, RecvError};
use crate::alarm::lock;
use std::collections::VecDeque;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;
use xxnet_core::pack::{DataHeader, DataPack};
use xxnet_core::{Address, ConnectionId, InstanceId};

/// Taken bytes that the sender should soon hear of, in a quarter of a default window.
const MUCH: usize = 1 << 20;

/// One session with a peer.
#[derive(Debug)]
pub(super) struct Peer {
    pub(super) on: ConnectionId,
    pub(super) at: Address,
    pub(super) instance: InstanceId,
    pub(super) name: String,
    /// The three below change under the inbox's lock alone: the sequence of the last message that was taken;
    taken: AtomicU64,
    /// bytes that were taken and that the thread has not looked at;
    untold: AtomicUsize,
    /// whether it is among those of whom something was taken.
    noted: AtomicBool,
}

impl Peer {
    pub(super) fn new(on: ConnectionId, at: Address, instance: InstanceId, name: String) -> Self {
        Self {
            on,
            at,
            instance,
            name,
            taken: AtomicU64::new(0),
            untold: AtomicUsize::new(0),
            noted: AtomicBool::new(false),
        }
    }
}

/// Messages on their way to the application; at most a window of each peer's.
#[derive(Debug, Default)]
pub(super) struct Inbox {
    state: Mutex<State>,
    come: Condvar,
}

#[derive(Debug, Default)]
struct State {
    ready: VecDeque<(Arc<Peer>, DataPack)>,
    /// Those who wait.
    waiting: usize,
    /// Peers of whom something was taken.
    taken: Vec<Arc<Peer>>,
    /// The thread sleeps, and would like to hear what was taken.
    asleep: bool,
    closed: bool,
}

impl Inbox {
    pub(super) fn recv(&self, until: Option<Instant>, shared: &Shared) -> Result<Message, RecvError> {
        let mut state = lock(&self.state);
        loop {
            if let Some((peer, pack)) = state.ready.pop_front() {
                return Ok(self.hand_out(state, peer, pack, shared));
            }
            if state.closed {
                return Err(RecvError::Closed);
            }
            state.waiting += 1;
            state = match until {
                None => self.come.wait(state).unwrap_or_else(PoisonError::into_inner),
                Some(until) => {
                    let left = until.saturating_duration_since(Instant::now());
                    if left.is_zero() {
                        state.waiting -= 1;
                        return Err(RecvError::Timeout);
                    }
                    self.come.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0
                }
            };
            state.waiting -= 1;
        }
    }

    pub(super) fn try_recv(&self, shared: &Shared) -> Result<Message, RecvError> {
        let mut state = lock(&self.state);
        match state.ready.pop_front() {
            Some((peer, pack)) => Ok(self.hand_out(state, peer, pack, shared)),
            None if state.closed => Err(RecvError::Closed),
            None => Err(RecvError::Timeout),
        }
    }

    /// The message is taken: that, and nothing before, is what its sender hears.
    fn hand_out(
        &self,
        mut state: MutexGuard<'_, State>,
        peer: Arc<Peer>,
        pack: DataPack,
        shared: &Shared,
    ) -> Message {
        let bytes = DataHeader::WIRE_LEN + pack.data_len();
        let untold = peer.untold.load(Relaxed) + bytes;
        peer.taken.store(pack.sequence, Relaxed);
        peer.untold.store(untold, Relaxed);
        if !peer.noted.load(Relaxed) {
            peer.noted.store(true, Relaxed);
            state.taken.push(Arc::clone(&peer));
        }
        // The thread is not woken for each message, but for the last that is there, and for a good part of a window.
        let wake = state.asleep && (untold >= MUCH || state.ready.is_empty());
        state.asleep &= !wake;
        drop(state);
        if wake {
            shared.ring();
        }
        Message { peer, pack }
    }

    /// Messages have come; `come` lends its memory.
    pub(super) fn deliver(&self, come: &mut VecDeque<(Arc<Peer>, DataPack)>) {
        let mut state = lock(&self.state);
        if state.ready.is_empty() {
            std::mem::swap(&mut state.ready, come);
        } else {
            state.ready.append(come);
        }
        let (waiting, many) = (state.waiting, state.ready.len() > 1);
        drop(state);
        match waiting {
            0 => {}
            _ if many && waiting > 1 => self.come.notify_all(),
            _ => self.come.notify_one(),
        }
    }

    /// Tells the thread what was taken: of which connection, and up to which sequence.
    pub(super) fn taken(&self, mut tell: impl FnMut(ConnectionId, u64)) {
        let mut state = lock(&self.state);
        state.asleep = false;
        for peer in state.taken.drain(..) {
            peer.noted.store(false, Relaxed);
            peer.untold.store(0, Relaxed);
            tell(peer.on, peer.taken.load(Relaxed));
        }
    }

    /// The thread is about to sleep: it wants to hear of what is taken from now on. False if something was just now.
    pub(super) fn sleep(&self) -> bool {
        let mut state = lock(&self.state);
        state.asleep = state.taken.is_empty();
        state.asleep
    }

    /// No more will come.
    pub(super) fn close(&self) {
        lock(&self.state).closed = true;
        self.come.notify_all();
    }
}
