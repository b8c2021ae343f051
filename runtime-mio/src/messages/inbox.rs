//! What has come and was not taken yet.

use super::shared::Shared;
use super::{Message, RecvError};
use crate::alarm::lock;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;
use xxnet_core::pack::{DataHeader, DataPack};
use xxnet_core::{Address, ConnectionId, InstanceId};

/// Taken bytes that the sender should soon hear of, in a quarter of a default window.
const MUCH: usize = 1 << 20;

/// The thread looks by itself at what was taken.
const AWAKE: u8 = 0;
/// It looks again soon: only the last that is there and a good part of a window are worth a call.
const BRIEFLY: u8 = 1;
/// It sleeps until it is called.
const ASLEEP: u8 = 2;

/// One session with a peer.
#[derive(Debug)]
pub(super) struct Peer {
    pub(super) on: ConnectionId,
    pub(super) at: Address,
    pub(super) instance: InstanceId,
    pub(super) name: String,
    /// The sequence of the last message that was taken.
    taken: AtomicU64,
    /// Bytes that were taken and that the thread has not looked at.
    untold: AtomicUsize,
    /// Whether it is among those that have taken something.
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

    /// What the machine is to be told.
    pub(super) fn tell(&self) -> u64 {
        self.noted.store(false, Ordering::SeqCst);
        self.untold.store(0, Ordering::Relaxed);
        self.taken.load(Ordering::SeqCst)
    }
}

/// Messages on their way to the application; at most a window of each peer's.
#[derive(Debug, Default)]
pub(super) struct Inbox {
    state: Mutex<State>,
    come: Condvar,
    /// Whether the thread sleeps, and what it would like to hear: [`AWAKE`], [`BRIEFLY`] or [`ASLEEP`].
    sleep: AtomicU8,
}

#[derive(Debug, Default)]
struct State {
    ready: VecDeque<(Arc<Peer>, DataPack)>,
    /// Those who wait.
    waiting: usize,
    /// Peers of whom something was taken.
    taken: Vec<Arc<Peer>>,
    closed: bool,
}

/// A message, and the state that it was taken out of.
type Next<'a> = (MutexGuard<'a, State>, Arc<Peer>, DataPack);

impl Inbox {
    pub(super) fn recv(&self, until: Option<Instant>, shared: &Shared) -> Result<Message, RecvError> {
        let (state, peer, pack) = self.next(until)?;
        Ok(self.hand_out(state, peer, pack, shared))
    }

    /// The next message, which is not taken yet; [`take`](Self::take) is to follow.
    pub(super) fn hold(&self) -> Result<(Arc<Peer>, DataPack), RecvError> {
        self.next(None).map(|(_, peer, pack)| (peer, pack))
    }

    fn next(&self, until: Option<Instant>) -> Result<Next<'_>, RecvError> {
        let mut state = lock(&self.state);
        loop {
            if let Some((peer, pack)) = state.ready.pop_front() {
                return Ok((state, peer, pack));
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
        state: MutexGuard<'_, State>,
        peer: Arc<Peer>,
        pack: DataPack,
        shared: &Shared,
    ) -> Message {
        self.note(state, &peer, &pack, shared);
        Message { peer, pack }
    }

    /// A message that was held is taken.
    pub(super) fn take(&self, peer: &Arc<Peer>, pack: &DataPack, shared: &Shared) {
        self.note(lock(&self.state), peer, pack, shared);
    }

    fn note(&self, mut state: MutexGuard<'_, State>, peer: &Arc<Peer>, pack: &DataPack, shared: &Shared) {
        // What was held may be taken after what came behind it.
        peer.taken.fetch_max(pack.sequence, Ordering::SeqCst);
        let bytes = DataHeader::WIRE_LEN + pack.data_len();
        let untold = peer.untold.fetch_add(bytes, Ordering::Relaxed) + bytes;
        if !peer.noted.swap(true, Ordering::SeqCst) {
            state.taken.push(Arc::clone(peer));
        }
        let last = state.ready.is_empty();
        drop(state);
        // The thread is not woken for each message: for the first that is taken while it sleeps; and, as long as it has not
        // fallen asleep again behind that, for the last that is there, and for a good part of a window.
        let wanted = match self.sleep.load(Ordering::SeqCst) {
            AWAKE => false,
            ASLEEP => true,
            _ => last || untold >= MUCH,
        };
        if wanted && self.sleep.swap(AWAKE, Ordering::SeqCst) != AWAKE {
            shared.ring();
        }
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

    /// The thread takes the peers of whom something was taken.
    pub(super) fn taken(&self) -> Vec<Arc<Peer>> {
        std::mem::take(&mut lock(&self.state).taken)
    }

    /// The thread is about to sleep, `briefly` or until it is called: it wants to hear of what is taken from now on. False if
    /// something was just now.
    pub(super) fn sleep(&self, briefly: bool) -> bool {
        self.sleep.store(if briefly { BRIEFLY } else { ASLEEP }, Ordering::SeqCst);
        lock(&self.state).taken.is_empty()
    }

    /// No more will come.
    pub(super) fn close(&self) {
        lock(&self.state).closed = true;
        self.come.notify_all();
    }
}
