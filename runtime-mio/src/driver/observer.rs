//! Who watches what a machine is given and what it asks for.

use std::fmt;
use xxnet_core::Instant;
use xxnet_core::machine::{Action, Event, Machine};

/// Told everything that passes the two doors of a driver's machine, on the driver's thread, in order.
///
/// Whoever knows how the machine was built and has heard all of it can run the machine again.
pub trait Observer<M: Machine> {
    /// The machine is about to be given `event`, at `now`.
    fn event(&mut self, now: Instant, machine: &M, event: &Event<M::Command>);

    /// The event asked for this; called in order, before any of it is done.
    fn action(&mut self, now: Instant, action: &Action<M::Notice>);

    /// All that the event asked for has been told; `machine` is as the event left it.
    fn finished(&mut self, now: Instant, machine: &M) {
        let _ = (now, machine);
    }

    /// All is done, and the driver is about to wait: a moment for what takes longer.
    fn idle(&mut self) {}

    /// The driver is dropped: nothing else will come.
    fn ended(&mut self, machine: &M) {
        let _ = machine;
    }
}

/// All that watch one driver.
pub(super) struct Observers<M>(Vec<Box<dyn Observer<M> + Send>>);

impl<M> Default for Observers<M> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<M> fmt::Debug for Observers<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Observers").field(&self.0.len()).finish()
    }
}

impl<M: Machine> Observers<M> {
    pub(super) fn add(&mut self, observer: Box<dyn Observer<M> + Send>) {
        self.0.push(observer);
    }

    pub(super) fn event(&mut self, now: Instant, machine: &M, event: &Event<M::Command>) {
        for observer in &mut self.0 {
            observer.event(now, machine, event);
        }
    }

    pub(super) fn finished(&mut self, now: Instant, machine: &M, actions: &[Action<M::Notice>]) {
        for observer in &mut self.0 {
            for action in actions {
                observer.action(now, action);
            }
            observer.finished(now, machine);
        }
    }

    pub(super) fn idle(&mut self) {
        self.0.iter_mut().for_each(|observer| observer.idle());
    }

    pub(super) fn ended(&mut self, machine: &M) {
        for observer in &mut self.0 {
            observer.ended(machine);
        }
    }
}
