//! Clocks of several hosts on one: none may hear a message before it was sent.
//!
//! Each clock is first taken as what its host believes the time to be. Where a message then arrives before it was sent, the clock
//! of its receiver is moved forward, by as little as puts all its messages behind their sending. More cannot be told from a
//! trace: a clock that is too late by less than its messages travel looks right.

use super::links::Links;
use super::procs::Procs;
use crate::spacetime::words::span;

/// Moves clocks, and says which and by how much.
pub(super) fn align(procs: &mut Procs, links: &Links) -> Vec<String> {
    let mut notes = Vec::new();
    if procs.clocks.len() > 1 {
        // The longest way through all that was heard: no clock needs more steps than there are clocks.
        for _ in 0..procs.clocks.len() {
            if !push_forward(procs, links) {
                break;
            }
        }
        if !procs.simulated && procs.clocks.iter().any(|clock| !clock.has_wall) {
            notes
                .push("Not every trace says what time it was; those that do not begin at time 0.".to_owned());
        }
    }
    for (at, clock) in procs.clocks.iter().enumerate().filter(|(_, clock)| clock.shifted > 0) {
        let mut names: Vec<&str> = (0..procs.all.len())
            .filter(|proc| procs.all[*proc].clock == at)
            .map(|proc| procs.lane_name(proc))
            .collect();
        names.dedup();
        notes.push(format!(
            "The clock of {} was moved forward by {}: by its own time it heard messages before they were sent.",
            names.join(", "),
            span(clock.shifted)
        ));
    }
    procs.find_origin();
    notes
}

/// One round; whether anything was moved.
fn push_forward(procs: &mut Procs, links: &Links) -> bool {
    let mut moved = false;
    for (sent, got) in &links.arrival {
        let (from, to) = (procs.all[sent.0].clock, procs.all[got.0].clock);
        if from == to {
            continue;
        }
        let time = |at: &(usize, usize)| {
            let proc = &procs.all[at.0];
            i128::from(proc.records[at.1].0) + procs.clocks[proc.clock].offset
        };
        let early = time(sent) + 1 - time(got);
        if early > 0 {
            procs.clocks[to].offset += early;
            procs.clocks[to].shifted += u64::try_from(early).unwrap_or(0);
            moved = true;
        }
    }
    moved
}
