//! What goes wrong without a rule of the protocol, where no search in the time that there is comes to it: a run that is forced into
//! that very order. The bug that each of these runs is for is planted, and the run must see it. Slow (it builds the tests once
//! for each): `cargo test -p xxnet-tests --test sim_forced -- --ignored`.

mod planted;

/// A patch in `sim/mutants`, the file and the test that must fail with it.
const MUTANTS: &[(&str, &str, &str)] = &[
    // A4: a grant counts from its claim, or one that is late starts a second copy.
    ("grant-from-receipt", "sim_tasks", "t14_a_late_grant_starts_nothing"),
    // A5: an acknowledgement counts from its own renewal, or two of them under way break the promise.
    ("renewed-from-receipt", "sim_steps", "t14_an_acknowledgement_counts_from_its_own_renewal"),
    // A5: a no is for the attempt that it names, or one attempt is wrongly buried.
    ("wrongly-buried", "sim_steps", "t14_a_no_that_is_late_buries_no_later_attempt"),
    // A6: `Stopped` is sent once everything is reaped, or the task is free while its command lives.
    ("stopped-before-reaped", "sim_steps", "t14_stopped_is_not_said_before_all_is_reaped"),
    // A10: all is told again on each reconnect, or nobody tells a registry that was away that a task is free again.
    ("not-published-again", "sim_tasks", "t14_a_freed_task_is_announced"),
    // B2: a dial is never refused because a link exists, or nobody gets through while one end is half-open.
    ("older-link-kept", "sim_sessions", "n13_a_redial_gets_through_while_the_other_end_is_half_open"),
];

#[test]
fn x_planted_bugs_of_forced_runs_can_be_planted() {
    planted::can_be_planted(MUTANTS.iter().map(|(name, ..)| *name));
}

#[test]
#[ignore = "builds the tests once for each: some minutes"]
fn x_planted_bugs_of_forced_runs_are_found() {
    let copy = planted::Copy::new();
    for (name, file, test) in MUTANTS {
        assert!(copy.passes(None, file, test), "{test} fails without a bug");
        assert!(!copy.passes(Some(name), file, test), "{test} does not see {name}");
    }
}
