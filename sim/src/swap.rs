//! Machines that are replaced by copies of themselves in the middle of a run: written to bytes and read again, as a recording does.
//! Whatever the copy had lost would change what happens next, and with it the trace.

use core::fmt::Debug;
use core::hash::Hash;
use std::cell::{Cell, RefCell};
use std::collections::hash_map::DefaultHasher;
use std::hash::Hasher;
use xxnet_core::ClusterKey;
use xxnet_core::state::Kept;

thread_local! {
    /// One event in so many; 0: none, as in every run but those of [`during`].
    static ONE_IN: Cell<u64> = const { Cell::new(0) };
    static RUN: RefCell<Option<Run>> = const { RefCell::new(None) };
}

struct Run {
    seed: u64,
    /// Events so far.
    events: u64,
    key: ClusterKey,
    swaps: Swaps,
}

/// What was replaced.
#[derive(Clone, Copy, Debug, Default)]
pub struct Swaps {
    /// Machines.
    pub machines: u64,
    /// Bytes of their states.
    pub bytes: u64,
}

/// Runs something on this thread in which before one event in `one_in`, as `seed` draws them, the machine is replaced. All of its
/// machines have this key.
pub fn during<T>(seed: u64, one_in: u64, key: ClusterKey, run: impl FnOnce() -> T) -> (T, Swaps) {
    RUN.set(Some(Run { seed, events: 0, key, swaps: Swaps::default() }));
    ONE_IN.set(one_in);
    let result = run();
    ONE_IN.set(0);
    (result, RUN.take().map_or_else(Swaps::default, |run| run.swaps))
}

/// Whether the machine is to be replaced before this event.
pub(crate) fn is_due() -> bool {
    let one_in = ONE_IN.get();
    one_in > 0
        && RUN.with_borrow_mut(|run| {
            run.as_mut().is_some_and(|run| {
                run.events += 1;
                digest(&(run.seed, run.events)).is_multiple_of(one_in)
            })
        })
}

/// The machine as its bytes say; panics if it is another one.
pub(crate) fn copy<M: Kept + Hash + Debug>(machine: &M) -> Option<M> {
    RUN.with_borrow_mut(|run| {
        let run = run.as_mut()?;
        let bytes = machine.to_state();
        let copy = M::from_state(&bytes, &run.key).expect("a state that was written can be read");
        assert!(digest(&copy) == digest(machine), "another hash");
        assert!(copy.to_state() == bytes, "other bytes");
        assert!(format!("{copy:?}") == format!("{machine:?}"), "another state:\n{machine:?}\n{copy:?}");
        run.swaps.machines += 1;
        run.swaps.bytes += bytes.len() as u64;
        Some(copy)
    })
}

fn digest(what: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    what.hash(&mut hasher);
    hasher.finish()
}
