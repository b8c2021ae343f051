//! Whoever reads along at the machine's two doors.

use xxnet_core::{Action, Event, Instant, Machine};

/// Is shown everything that enters and leaves a driver's machine, in order, and changes nothing of it. It is called on the
/// driver's own thread: what it takes long for, all wait for.
pub trait Observer<M: Machine> {
    /// The machine is about to handle this.
    fn event(&mut self, now: Instant, event: &Event<M::Command>);

    /// The machine has asked for this while it handled the last event; it is about to be done.
    fn action(&mut self, now: Instant, action: &Action<M::Notice>);

    /// All is done, and the driver is about to wait: a moment for what takes longer.
    fn idle(&mut self) {}
}
