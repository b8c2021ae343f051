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

/// Whether the thread sleeps, and what it would like to hear.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Sleep {
    /// It looks by itself at what was taken.
    #[default]
    Awake,
    /// It looks again soon: only the last that is there and a good part of a window are worth a call.
    Briefly,
    /// It sleeps until it is called.
    Long,
}

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

/// Messages on their way to the application: at most a window of each peer's, and of peers that have gone no more than `room`.
#[derive(Debug)]
pub(super) struct Inbox {
    state: Mutex<State>,
    come: Condvar,
    /// Wire bytes above which no new peer is let in.
    room: usize,
}

#[derive(Debug, Default)]
struct State {
    ready: VecDeque<(Arc<Peer>, DataPack)>,
    /// Wire bytes of them.
    bytes: usize,
    /// Whether the thread knows that there are too many.
    full: bool,
    /// Those who wait.
    waiting: usize,
    /// Peers of whom something was taken.
    taken: Vec<Arc<Peer>>,
    sleep: Sleep,
    closed: bool,
}

/// A message, and the state that it was taken out of.
type Next<'a> = (MutexGuard<'a, State>, Arc<Peer>, DataPack);

impl State {
    fn pop(&mut self) -> Option<(Arc<Peer>, DataPack)> {
        let next = self.ready.pop_front()?;
        self.bytes -= cost(&next.1);
        Some(next)
    }
}

/// What a message counts: its bytes on the wire.
fn cost(pack: &DataPack) -> usize {
    DataHeader::WIRE_LEN + pack.data_len()
}

impl Inbox {
    pub(super) fn new(room: usize) -> Self {
        Self { state: Mutex::default(), come: Condvar::new(), room }
    }

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
            if let Some((peer, pack)) = state.pop() {
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
        match state.pop() {
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
        let untold = peer.untold.load(Relaxed) + cost(pack);
        // What was held may be taken after what came behind it.
        peer.taken.store(peer.taken.load(Relaxed).max(pack.sequence), Relaxed);
        peer.untold.store(untold, Relaxed);
        if !peer.noted.load(Relaxed) {
            peer.noted.store(true, Relaxed);
            state.taken.push(Arc::clone(peer));
        }
        // The thread is not woken for each message: for the first that is taken while it sleeps; and, as long as it has not
        // fallen asleep again behind that, for the last that is there, and for a good part of a window.
        let wake = match state.sleep {
            Sleep::Awake => false,
            Sleep::Briefly => untold >= MUCH || state.ready.is_empty(),
            Sleep::Long => true,
        };
        if wake {
            state.sleep = Sleep::Awake;
        }
        drop(state);
        if wake {
            shared.ring();
        }
    }

    /// Messages have come; `come` lends its memory.
    pub(super) fn deliver(&self, come: &mut VecDeque<(Arc<Peer>, DataPack)>) {
        let bytes = come.iter().map(|(_, pack)| cost(pack)).sum::<usize>();
        let mut state = lock(&self.state);
        state.bytes += bytes;
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

    /// Whether new peers may be let in, if that has changed: not while there is too much, and then only once half of it is gone.
    pub(super) fn turned(&self) -> Option<bool> {
        let mut state = lock(&self.state);
        let full = state.bytes > if state.full { self.room / 2 } else { self.room };
        (std::mem::replace(&mut state.full, full) != full).then_some(!full)
    }

    /// Tells the thread, which is awake, what was taken: of which connection, and up to which sequence. Answers whether
    /// anything was.
    pub(super) fn taken(&self, mut tell: impl FnMut(ConnectionId, u64)) -> bool {
        let mut state = lock(&self.state);
        state.sleep = Sleep::Awake;
        let any = !state.taken.is_empty();
        for peer in state.taken.drain(..) {
            peer.noted.store(false, Relaxed);
            peer.untold.store(0, Relaxed);
            tell(peer.on, peer.taken.load(Relaxed));
        }
        any
    }

    /// The thread is about to sleep, `briefly` or until it is called: it wants to hear of what is taken from now on. False, and
    /// it does not sleep, if something was just now.
    pub(super) fn sleep(&self, briefly: bool) -> bool {
        let mut state = lock(&self.state);
        state.sleep = match (state.taken.is_empty(), briefly) {
            (false, _) => Sleep::Awake,
            (true, true) => Sleep::Briefly,
            (true, false) => Sleep::Long,
        };
        state.taken.is_empty()
    }

    /// No more will come.
    pub(super) fn close(&self) {
        lock(&self.state).closed = true;
        self.come.notify_all();
    }
}
