//! What a failed run says: what broke, where, when.

use crate::clock::Micros;
use core::cell::{Cell, RefCell};
use core::fmt;

/// Which promise was broken; each has an exit code of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum FailureKind {
    /// A machine panicked, contradicted itself, or asked a runtime for what the contract forbids.
    Crash,
    /// Something happened that must never happen.
    Safety,
    /// Something did not happen although nothing was in its way.
    Liveness,
}

impl FailureKind {
    /// The exit code of the program.
    pub fn exit_code(self) -> u8 {
        match self {
            Self::Crash => 1,
            Self::Safety => 2,
            Self::Liveness => 3,
        }
    }
}

/// A broken promise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// Which one.
    pub kind: FailureKind,
    /// The oracle that saw it, in one word.
    pub oracle: &'static str,
    /// What it saw.
    pub what: String,
    /// On which node.
    pub node: String,
    /// When.
    pub at: Micros,
    /// How many events machines had handled until then.
    pub event: u64,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (seconds, micros) = (self.at / 1_000_000, self.at % 1_000_000);
        let Self { kind, oracle, node, event, .. } = self;
        write!(f, "{kind:?} ({oracle}) on {node} at {seconds}.{micros:06} s, event {event}: ")?;
        f.write_str(&self.what)
    }
}

thread_local! {
    /// Which node this thread's world handles now, and when: for the report of a panic.
    static WATCHED: RefCell<String> = const { RefCell::new(String::new()) };
    static WATCHED_AT: Cell<(Micros, u64)> = const { Cell::new((0, 0)) };
    static LAST_PANIC: RefCell<Option<String>> = const { RefCell::new(None) };
    static GUARDED: Cell<bool> = const { Cell::new(false) };
}

/// Notes which node is handled now, and the number of the event.
pub(crate) fn watch(node: &str, at: Micros, event: u64) {
    WATCHED_AT.set((at, event));
    WATCHED.with_borrow_mut(|watched| {
        if watched != node {
            node.clone_into(watched);
        }
    });
}

/// Runs `body`; a panic in it is a failure of kind `Crash`, and prints nothing.
pub(crate) fn guard<T>(body: impl FnOnce() -> Result<T, Failure>) -> Result<T, Failure> {
    static HOOK: std::sync::Once = std::sync::Once::new();
    HOOK.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            if GUARDED.get() {
                LAST_PANIC.set(Some(info.to_string()));
            } else {
                before(info);
            }
        }));
    });
    watch("the world", 0, 0);
    GUARDED.set(true);
    let result = std::panic::catch_unwind(core::panic::AssertUnwindSafe(body));
    GUARDED.set(false);
    result.unwrap_or_else(|_| {
        let (at, event) = WATCHED_AT.get();
        Err(Failure {
            kind: FailureKind::Crash,
            oracle: "panic",
            what: LAST_PANIC.take().unwrap_or_default(),
            node: WATCHED.with_borrow(Clone::clone),
            at,
            event,
        })
    })
}
