//! A calm world for machines of a test's own: one host, the network's real rules, no fault.

use crate::choices::Choices;
use crate::clock::{Clock, Micros};
use crate::context::{Context, HostId, Item, ProcId};
use crate::faults::Injection;
use crate::machine::Brain;
use crate::world::World;
use core::net::IpAddr;
use core::time::Duration;
use xxnet_core::Event;

/// The world. Its one host can be looked up as `localhost`.
#[derive(Debug)]
pub struct Calm {
    world: World,
    host: HostId,
}

impl Calm {
    /// An empty world; `seed` draws delays and orders.
    pub fn new(seed: u64) -> Self {
        let mut ctx = Context::new(Choices::seeded(seed, "calm"), Injection::Planned(Vec::new()), false);
        let host = ctx.add_host("host", Clock::exact());
        let mut world = World::new(ctx);
        world.net.name("localhost", host);
        Self { world, host }
    }

    /// Starts a process. What its machine is asked and tells is the caller's own matter: see [`poke`](Self::poke).
    pub fn start(&mut self, name: impl Into<String>, brain: Box<dyn Brain>) -> ProcId {
        self.world.start(self.host, name, brain, false)
    }

    /// A tick that the machine has not asked for: it may look at what waits for it.
    pub fn poke(&mut self, proc: ProcId) {
        self.world.ctx.after(0, Item::Deliver(proc, Event::Tick));
    }

    /// Kills a process.
    pub fn kill(&mut self, proc: ProcId) {
        self.world.kill(proc);
    }

    /// The world's time.
    pub fn now(&self) -> Micros {
        self.world.ctx.now
    }

    /// Where its processes listen.
    pub fn ip(&self) -> IpAddr {
        self.host.ip()
    }

    /// Lets time pass until something holds, looked at after each step, or the time is up.
    ///
    /// # Panics
    /// If a machine spins or contradicts itself.
    pub fn run<T>(&mut self, most: Duration, mut until: impl FnMut() -> Option<T>) -> Option<T> {
        let limit = self.now() + u64::try_from(most.as_micros()).unwrap_or(u64::MAX / 2);
        loop {
            if let Some(found) = until() {
                return Some(found);
            }
            match self.world.step(limit) {
                Ok(Some(_)) => {}
                Ok(None) => {
                    self.world.ctx.now = limit;
                    return None;
                }
                Err(failure) => panic!("{failure}"),
            }
        }
    }
}
