//! What runs did, in a table or as JSON.

use crate::fault::Fault;
use crate::runner::{Outcome, Summary};
use std::io::{self, Write};

pub(super) fn one(out: &mut impl Write, outcome: &Outcome) -> io::Result<()> {
    let report = &outcome.report;
    writeln!(
        out,
        "seed {}: {} tasks, {} commands, {} files, {} faults, {} events in {} s; trace hash {:016x}",
        outcome.seed,
        report.tasks,
        report.runs,
        report.files,
        outcome.plan.faults.len(),
        report.events,
        report.simulated / 1_000_000,
        report.hash
    )
}

pub(super) fn many(out: &mut impl Write, summary: &Summary, took: f64) -> io::Result<()> {
    let total = &summary.total;
    writeln!(out, "faults injected")?;
    for fault in Fault::ALL {
        writeln!(out, "  {:<32}{:>9}", fault.name(), total.faults.of(*fault))?;
    }
    let [done, failed, cancelled, expired] = total.endings;
    writeln!(
        out,
        "tasks {} (done {done}, failed {failed}, cancelled {cancelled}, expired {expired}, with their publisher {}), commands {}, files {} (shared {}, resumed {}); connections alone {}, packs {}",
        total.tasks,
        total.tasks.saturating_sub(total.endings.iter().sum()),
        total.runs,
        total.files,
        total.shared,
        total.resumed,
        total.connections,
        total.packs
    )?;
    let sessions = &total.sessions;
    writeln!(
        out,
        "sessions {} (expired {}, stale {}, with another instance {}), links lost {} and found again {}, messages reported undelivered {}",
        sessions.begun,
        sessions.expired,
        sessions.stale,
        sessions.replaced,
        sessions.broken,
        sessions.resumed,
        sessions.undelivered
    )?;
    let messages = &total.messages;
    writeln!(
        out,
        "messages by address {} (received {}, undelivered {}, never sent {}, rejected {}), shutdowns {}",
        messages.sent,
        messages.received,
        messages.undelivered,
        messages.given_up,
        messages.rejected,
        messages.downs
    )?;
    let (reached, all) = summary.marks.counts();
    writeln!(out, "marks reached: {reached} of {all}")?;
    writeln!(
        out,
        "seeds {} in {took:.1} s ({:.0} a second), {} s simulated, {} events, hash {:016x}",
        summary.seeds,
        summary.seeds as f64 / took.max(0.001),
        total.simulated / 1_000_000,
        total.events,
        total.hash
    )?;
    Ok(())
}

pub(super) fn json(summary: &Summary, took: f64) -> serde_json::Value {
    let total = &summary.total;
    let faults: serde_json::Map<String, serde_json::Value> =
        Fault::ALL.iter().map(|fault| (fault.name().to_owned(), total.faults.of(*fault).into())).collect();
    let failures: Vec<serde_json::Value> = summary
        .failures
        .iter()
        .map(|(plan, failure)| {
            serde_json::json!({
                "seed": plan.seed, "kind": format!("{:?}", failure.kind), "oracle": failure.oracle,
                "node": failure.node, "at_us": failure.at,
                "event": failure.event, "what": failure.what,
            })
        })
        .collect();
    serde_json::json!({
        "seeds": summary.seeds, "seconds": took, "tasks": total.tasks, "endings": total.endings,
        "commands": total.runs, "files": total.files, "simulated_us": total.simulated,
        "events": total.events, "hash": format!("{:016x}", total.hash), "faults": faults, "failures": failures,
        "marks": super::marks::json(&summary.marks),
    })
}
