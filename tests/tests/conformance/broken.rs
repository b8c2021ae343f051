//! The suite can fail: whatever a runtime does wrong, some scenario sees it.

use crate::simulated::Simulated;
use std::cell::Cell;
use std::panic::{self, AssertUnwindSafe};
use std::sync::Once;
use xxnet_tests::conformance::{Broken, Fault, Runtime, SCENARIOS, run};

#[cfg(feature = "tokio")]
use xxnet_tests::conformance::Real;

thread_local! {
    /// This thread's panics are expected, and nobody needs to read them.
    static EXPECTED: Cell<bool> = const { Cell::new(false) };
}

/// Whether a scenario sees that a runtime has this fault.
fn sees(name: &str, runtime: impl Runtime, fault: Fault) -> bool {
    static QUIET: Once = Once::new();
    QUIET.call_once(|| {
        let loud = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if !EXPECTED.get() {
                loud(info);
            }
        }));
    });
    EXPECTED.set(true);
    let seen = panic::catch_unwind(AssertUnwindSafe(|| run(name, &mut Broken::new(runtime, fault)))).is_err();
    EXPECTED.set(false);
    seen
}

#[test]
fn each_fault_is_seen_by_some_scenario() {
    for fault in Fault::ALL {
        let seen = SCENARIOS.iter().any(|(name, _)| sees(name, Simulated::new(1), *fault));
        assert!(seen, "no scenario sees {fault:?}");
    }
}

/// On real sockets too; here the scenario is named that sees it soon.
#[cfg(feature = "tokio")]
#[test]
fn faults_are_seen_on_real_sockets() {
    for (fault, name) in [
        (Fault::NoTick, "a_deadline_can_move_and_go"),
        (Fault::DoublesSent, "k4_a_dial_connects_or_says_why_not"),
        (Fault::ReordersSends, "n6_no_more_is_read_than_was_asked_for"),
        (Fault::TellsAfterClose, "k6_a_dial_under_way_can_be_closed"),
        (Fault::LosesClosed, "k6_a_dial_under_way_can_be_closed"),
        (Fault::NoShutdown, "k11_each_side_of_a_stream_ends_by_itself"),
        (Fault::NoUnlisten, "n2_port_0_takes_a_free_one_and_tells_it"),
        (Fault::UntypedDialErrors, "k4_a_dial_connects_or_says_why_not"),
    ] {
        assert!(sees(name, Real::new(crate::on_tokio::start), fault), "{name} does not see {fault:?}");
    }
}
