//! What happened, in a few sentences.

use super::{Fate, Story};
use crate::spacetime::words::{clip, counted};
use std::collections::BTreeMap;

/// Tasks that are named.
const TASKS: usize = 4;

pub(super) fn facts(story: &Story) -> Vec<String> {
    let mut facts = Vec::new();
    for event in story.events.iter().filter(|event| event.class == "failure") {
        let who = event.lane.map_or("the world", |lane| &story.lanes[lane].name);
        let when = event.t as f64 / 1e6;
        facts.push(format!("FAILED: {} on {who} at {when:.6} s: {}", event.name, clip(&event.say, 400)));
    }
    facts.push(messages(story));
    let mut faults = BTreeMap::<&str, usize>::new();
    for event in story.events.iter().filter(|event| event.class == "fault") {
        *faults.entry(&event.name).or_default() += 1;
    }
    if !faults.is_empty() {
        let each = |(name, count): (&&str, &usize)| match count {
            1 => (*name).to_owned(),
            _ => format!("{name} ×{count}"),
        };
        facts.push(format!("Faults injected: {}.", faults.iter().map(each).collect::<Vec<_>>().join(", ")));
    }
    let ends =
        story.events.iter().filter(|event| event.class == "notice" && event.name.starts_with("ended: "));
    let ends: Vec<_> = ends.collect();
    for end in ends.iter().take(TASKS) {
        let who = end.lane.map_or("", |lane| &story.lanes[lane].name);
        facts.push(format!("{who} {}.", end.say));
    }
    if ends.len() > TASKS {
        facts.push(format!("{} more tasks ended.", ends.len() - TASKS));
    }
    let gone = story.events.iter().filter(|event| event.class == "life" && event.name == "gone").count();
    if gone > 0 {
        facts.push(format!(
            "{} ended without a goodbye.",
            counted(gone, "process").replace("processs", "processes")
        ));
    }
    facts
}

fn messages(story: &Story) -> String {
    let is_dial = |name: &str| name == "dial";
    let mut counts = BTreeMap::<u8, usize>::new();
    let (mut messages, mut dials, mut failed) = (0, 0, 0);
    for arrow in &story.arrows {
        if is_dial(&arrow.name) {
            dials += 1;
            failed += usize::from(arrow.fate != Fate::Arrived);
            continue;
        }
        messages += 1;
        *counts.entry(arrow.fate as u8).or_default() += 1;
    }
    let span = story.events.last().map_or(0, |last| last.t) as f64 / 1e6;
    let mut text = format!(
        "{} within {span:.1} s: {}",
        counted(story.lanes.len(), "node"),
        counted(messages, "message")
    );
    let of = |fate: Fate| counts.get(&(fate as u8)).copied().unwrap_or(0);
    let mut became = vec![format!("{} arrived", of(Fate::Arrived))];
    for (fate, words) in [
        (Fate::Lost, "lost without anybody being told"),
        (Fate::Cut, "cut off by the end of a link"),
        (Fate::Damaged, "damaged on the way"),
        (Fate::Open, "still under way at the end"),
        (Fate::Beyond, "to or from nodes without a trace here"),
        (Fate::Stranger, "from strangers"),
    ] {
        if of(fate) > 0 {
            became.push(format!("{} {words}", of(fate)));
        }
    }
    text.push_str(&format!(" ({})", became.join(", ")));
    text.push_str(&format!("; {}", counted(dials, "dial")));
    if failed > 0 {
        text.push_str(&format!(", {failed} of them without success"));
    }
    text.push('.');
    text
}
