//! The contract: one door in, one door out.

use crate::disk::{DiskAction, DiskEvent};
use crate::net::{NetAction, NetEvent};
use crate::process::{ProcessAction, ProcessEvent};
use crate::time::Instant;
use crate::wire::{self, WireError};
use alloc::vec::Vec;
use core::fmt::Debug;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// A pure state machine. The crate's front page states the rules that every one keeps.
pub trait Machine {
    /// What the application asks.
    type Command: Debug;
    /// What the application is told.
    type Notice: Debug;

    /// Takes one event and says what to do. Infallible, never blocks; when it returns, all that can be done now is in
    /// `actions`, in the order in which it must be done.
    fn handle(&mut self, now: Instant, event: Event<Self::Command>, actions: &mut Actions<Self::Notice>);

    /// When the next [`Event::Tick`] is wanted; cheap. `None`: only another event can change anything.
    fn deadline(&self) -> Option<Instant>;

    /// Panics if the machine contradicts itself. The simulator calls it after every step; a daemon never does.
    fn check_invariants(&self);
}

/// What enters a machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Event<C> {
    /// The deadline is reached (or anything else happened: a tick too many is harmless).
    Tick,
    /// The network completed or reports something.
    Net(NetEvent),
    /// The disk completed something.
    Disk(DiskEvent),
    /// A process completed or reports something.
    Process(ProcessEvent),
    /// The application asks for something.
    Command(C),
}

impl<C: Serialize + DeserializeOwned> Event<C> {
    /// Bytes to keep, for a machine of the same version; never on the wire.
    pub fn to_bytes(&self) -> Vec<u8> {
        wire::encode(self)
    }

    /// The event that exactly these bytes stand for.
    ///
    /// # Errors
    /// They are no event, or another version's.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, WireError> {
        wire::decode(bytes)
    }
}

/// What leaves a machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub enum Action<N> {
    /// A request to the network.
    Net(NetAction),
    /// A request to the disk.
    Disk(DiskAction),
    /// A request about a process.
    Process(ProcessAction),
    /// The application is told something.
    Notify(N),
}

impl<N: Serialize> Action<N> {
    /// Bytes that are the same for the same action, for whoever compares.
    pub fn to_bytes(&self) -> Vec<u8> {
        wire::encode(self)
    }
}

/// The sink that actions go into; the caller owns and reuses it.
#[derive(Debug)]
pub struct Actions<N> {
    queue: Vec<Action<N>>,
}

impl<N> Default for Actions<N> {
    fn default() -> Self {
        Self { queue: Vec::new() }
    }
}

impl<N> Actions<N> {
    /// An empty sink.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a request to the network.
    pub fn net(&mut self, action: NetAction) {
        self.queue.push(Action::Net(action));
    }

    /// Adds a request to the disk.
    pub fn disk(&mut self, action: DiskAction) {
        self.queue.push(Action::Disk(action));
    }

    /// Adds a request about a process.
    pub fn process(&mut self, action: ProcessAction) {
        self.queue.push(Action::Process(action));
    }

    /// Tells the application.
    pub fn notify(&mut self, notice: N) {
        self.queue.push(Action::Notify(notice));
    }

    /// Takes everything, in order; the sink keeps its memory.
    pub fn drain(&mut self) -> impl Iterator<Item = Action<N>> + '_ {
        self.queue.drain(..)
    }

    /// Everything, in order, to look at.
    pub fn as_slice(&self) -> &[Action<N>] {
        &self.queue
    }

    /// Whether nothing is to be done.
    pub fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }
}
