//! `show`: a plan in words.

use crate::faults::PlannedFault;
use crate::plan::{Nodes, Plan, Scenario};
use crate::setup::Setup;
use crate::task::{Task, Word};
use std::io::{self, Write};

pub(super) fn plan(out: &mut impl Write, plan: &Plan) -> io::Result<()> {
    if !plan.why.is_empty() {
        writeln!(out, "{}\n", plan.why)?;
    }
    match &plan.scenario {
        Scenario::Cluster(setup) => cluster(out, setup)?,
        Scenario::Connections(all) => nodes(out, all, "connections and nothing else")?,
        Scenario::Messages(all) => nodes(out, all, "messages by address")?,
    }
    writeln!(out, "{} faults, delays and orders of seed {}", plan.faults.len(), plan.seed)?;
    plan.faults.iter().try_for_each(|one| fault(out, one))
}

fn seconds(micros: u64) -> f64 {
    micros as f64 / 1e6
}

fn cluster(out: &mut impl Write, setup: &Setup) -> io::Result<()> {
    let slots = &setup.executors;
    writeln!(
        out,
        "a cluster: {} registries, {} publishers, executors with {slots:?} slots; peace after {} s",
        setup.registries,
        setup.publishers,
        seconds(setup.horizon_us)
    )?;
    for (index, labels) in setup.labels.iter().enumerate().filter(|(_, labels)| !labels.is_empty()) {
        writeln!(out, "  executor-{} is {}", index + 1, labels.join(", "))?;
    }
    for (said, what) in [
        (setup.clocks, "clocks that differ"),
        (setup.together, "a publisher beside the registry"),
        (setup.lease_only, "a refused dial proves no death"),
    ] {
        if said {
            writeln!(out, "  {what}")?;
        }
    }
    comings(out, setup)?;
    writeln!(out, "{} tasks", setup.tasks.len())?;
    setup.tasks.iter().try_for_each(|one| task(out, one))
}

/// What befalls it besides faults.
fn comings(out: &mut impl Write, setup: &Setup) -> io::Result<()> {
    if let Some(crowd) = setup.crowd {
        let at = seconds(crowd.at_us);
        writeln!(out, "  {at:>9.3} s  {} executors with one slot come at once", crowd.executors)?;
    }
    if let Some(away) = setup.away {
        let (at, end) = (seconds(away.at_us), seconds(away.end()));
        writeln!(out, "  {at:>9.3} s  all registries go, until {end:.3} s")?;
    }
    if let Some(replaced) = setup.replaced {
        let (at, frozen) = (seconds(replaced.at_us), seconds(replaced.frozen_us));
        write!(
            out,
            "  {at:>9.3} s  another registry takes the name of registry-1, which is stopped for {frozen} s"
        )?;
        match replaced.turns_us {
            Some(turn) => writeln!(out, "; then the name means both by turns of {} s", seconds(turn))?,
            None => writeln!(out)?,
        }
    }
    for going in &setup.goings {
        let how = if going.vanishes { "vanishes" } else { "goes" };
        let back = going.back_after_us.map_or("in peace".to_owned(), |us| format!("after {} s", seconds(us)));
        writeln!(out, "  {:>9.3} s  {} {how}, and comes back {back}", seconds(going.at_us), going.node)?;
    }
    Ok(())
}

fn task(out: &mut impl Write, task: &Task) -> io::Result<()> {
    let words = |words: &[Word]| words.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
    write!(
        out,
        "  {:>9.3} s  task {} of publisher-{}: {}",
        seconds(task.at_us),
        task.number,
        task.publisher + 1,
        words(&task.steps)
    )?;
    for input in &task.inputs {
        let folder = if input.folder { "/" } else { "" };
        write!(out, "; in {}{folder} {} B", input.name, input.content.len)?;
    }
    if !task.outputs.is_empty() {
        write!(out, "; out {}", words(&task.outputs))?;
    }
    if let Some(stdin) = task.stdin {
        write!(out, "; {} B of input", stdin.len)?;
    }
    if let Some(after) = task.cancel_after_us {
        write!(out, "; cancelled after {} s", seconds(after))?;
    }
    if !task.needs.is_empty() {
        write!(out, "; needs {}", task.needs.join(", "))?;
    }
    if let Some(oddity) = task.oddity {
        write!(out, "; {oddity:?}")?;
    }
    writeln!(out)
}

fn nodes(out: &mut impl Write, nodes: &Nodes, what: &str) -> io::Result<()> {
    writeln!(out, "{} nodes with {what}; peace after {} s", nodes.nodes, seconds(nodes.horizon_us))?;
    if nodes.together {
        writeln!(out, "  all of them begin by turning to all others")?;
    }
    if let Some(talk) = &nodes.talk {
        writeln!(out, "  {talk}")?;
    }
    match nodes.acts {
        Some(acts) => writeln!(out, "  their applications act {acts} times"),
        None => Ok(()),
    }
}

fn fault(out: &mut impl Write, fault: &PlannedFault) -> io::Result<()> {
    let when = match (fault.nth, fault.at_us) {
        (Some(nth), _) => format!("#{nth}"),
        (None, at) => format!("{:.3} s", seconds(at.unwrap_or(0))),
    };
    write!(out, "  {:<34} {when:>10} {}", fault.place, fault.fault)?;
    if !fault.values.is_empty() {
        write!(out, " {:?}", fault.values)?;
    }
    writeln!(out)
}
