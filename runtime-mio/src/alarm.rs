//! How other threads bring something back to the loop.

use mio::{Registry, Token, Waker};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use xxnet_core::disk::DiskEvent;
use xxnet_core::net::NetEvent;

/// The waker's own token.
pub(crate) const WAKE: Token = Token(usize::MAX);

/// Wakes the loop, once however many ring before it looks.
#[derive(Debug)]
pub(crate) struct Alarm {
    waker: Waker,
    rung: AtomicBool,
}

impl Alarm {
    pub(crate) fn new(registry: &Registry) -> io::Result<Arc<Self>> {
        Ok(Arc::new(Self { waker: Waker::new(registry, WAKE)?, rung: AtomicBool::new(false) }))
    }

    /// Wakes the loop if nobody has since it last looked.
    pub(crate) fn ring(&self) {
        if !self.rung.swap(true, Ordering::AcqRel) {
            // It can fail only if the loop's own descriptor is gone, and then nobody listens.
            let _ = self.waker.wake();
        }
    }

    /// The loop is about to look: whatever comes from now on must ring again.
    pub(crate) fn silence(&self) {
        self.rung.store(false, Ordering::Release);
    }
}

/// What a pool's thread has completed.
#[derive(Debug)]
pub(crate) enum Completion {
    Net(NetEvent),
    Disk(DiskEvent),
}

/// Completions on their way to the loop. Bounded by one a request.
#[derive(Debug, Clone)]
pub(crate) struct Outbox {
    done: Arc<Mutex<Vec<Completion>>>,
    alarm: Arc<Alarm>,
}

impl Outbox {
    pub(crate) fn new(alarm: Arc<Alarm>) -> Self {
        Self { done: Arc::default(), alarm }
    }

    pub(crate) fn put(&self, completion: Completion) {
        lock(&self.done).push(completion);
        self.alarm.ring();
    }

    /// Takes all that is done; `into` is empty and lends its memory.
    pub(crate) fn take(&self, into: &mut Vec<Completion>) {
        std::mem::swap(&mut *lock(&self.done), into);
    }
}

/// Locks, also after a thread that held the lock panicked: what these locks guard is whole between any two statements.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
