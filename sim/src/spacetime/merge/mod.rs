//! From traces to a story: which message arrived where, what became of the others, and when, on one clock.

mod clocks;
mod facts;
mod fates;
mod links;
mod procs;
mod tell;

use super::read::File;
use links::Links;
use procs::Procs;
use serde::Serialize;

/// What is to be shown of the traces.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    /// What the page is called.
    pub title: String,
    /// From here on, in microseconds since the first record.
    pub from: Option<u64>,
    /// Up to here.
    pub to: Option<u64>,
    /// Events at most.
    pub most: usize,
}

impl Wanted {
    /// Events that a page holds unless more are asked for.
    pub const MOST: usize = 20_000;

    /// All, under this title.
    pub fn all(title: impl Into<String>) -> Self {
        Self { title: title.into(), from: None, to: None, most: Self::MOST }
    }
}

/// Everything that a page shows.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Story {
    /// What it is called.
    pub title: String,
    /// What happened, in a few sentences.
    pub facts: Vec<String>,
    /// What a reader must know of the traces themselves: clocks that were moved, lines that are missing.
    pub notes: Vec<String>,
    /// Microseconds since 1970 at time 0; none in a simulated world.
    pub wall: Option<u64>,
    /// The nodes, a lane each.
    pub lanes: Vec<Lane>,
    /// In order.
    pub events: Vec<Happened>,
    /// Messages and dials.
    pub arrows: Vec<Arrow>,
}

/// One node.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Lane {
    /// Its name.
    pub name: String,
    /// "registry", …
    pub role: String,
    /// Its instances, in order.
    pub instances: Vec<String>,
    /// From when until when it was what: "up", "frozen", "asleep".
    pub spans: Vec<(u64, u64, &'static str)>,
    /// Commands that it ran: from when until when, and what.
    pub runs: Vec<(u64, u64, String)>,
}

/// One thing that happened.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Happened {
    /// When, in microseconds.
    pub t: u64,
    /// On which lane; none: in the world.
    #[serde(rename = "l", skip_serializing_if = "Option::is_none")]
    pub lane: Option<usize>,
    /// Of which sort: "sent", "got", "link", "timer", "command", "notice", "disk", "run", "life", "fault", "failure", "remark", "damage".
    #[serde(rename = "c")]
    pub class: &'static str,
    /// In a word or two.
    #[serde(rename = "n")]
    pub name: String,
    /// As a sentence whose subject is the node.
    #[serde(rename = "s", skip_serializing_if = "String::is_empty")]
    pub say: String,
    /// 0: routine; 1: worth a look; 2: something went wrong.
    #[serde(rename = "w")]
    pub weight: u8,
    /// The arrow that begins or ends here.
    #[serde(rename = "a", skip_serializing_if = "Option::is_none")]
    pub arrow: Option<usize>,
    /// The connection's kind, for what happens to a link.
    #[serde(rename = "k", skip_serializing_if = "String::is_empty")]
    pub kind: String,
}

/// What became of a message or a dial.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Fate {
    /// It arrived.
    Arrived,
    /// It never arrived, and the network told nobody.
    Lost,
    /// Its link broke or was closed while it was under way.
    Cut,
    /// It arrived with other bytes than were sent.
    Damaged,
    /// A dial that was refused or not answered.
    Failed,
    /// It was still under way when the trace ends.
    Open,
    /// There is no trace of the other end.
    Beyond,
    /// It came from somebody who is no node here.
    Stranger,
}

/// A message or a dial, from one lane to another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Arrow {
    /// The event of its sending, if it is known.
    #[serde(rename = "a")]
    pub from: Option<usize>,
    /// The event of its arrival, if it is known.
    #[serde(rename = "b")]
    pub to: Option<usize>,
    /// The lane at the end that is not known, if it can be told.
    #[serde(rename = "o", skip_serializing_if = "Option::is_none")]
    pub other: Option<usize>,
    /// Who is there, if that is no lane.
    #[serde(rename = "p", skip_serializing_if = "String::is_empty")]
    pub whom: String,
    /// Which link of the story it went over.
    #[serde(rename = "i")]
    pub link: usize,
    /// What became of it.
    #[serde(rename = "f")]
    pub fate: Fate,
    /// The connection's kind.
    #[serde(rename = "k")]
    pub kind: String,
    /// What it is called.
    #[serde(rename = "n")]
    pub name: String,
    /// Its fields.
    #[serde(rename = "m", skip_serializing_if = "Vec::is_empty")]
    pub more: Vec<(String, String)>,
    /// Why it did not arrive.
    #[serde(rename = "y", skip_serializing_if = "String::is_empty")]
    pub why: String,
}

impl Story {
    /// Merges traces; each file goes by the name that a reader knows it by.
    pub fn new(files: Vec<(String, File)>, wanted: &Wanted) -> Self {
        let mut notes = procs::complaints(&files);
        let mut procs = Procs::new(files);
        let links = Links::new(&procs);
        notes.extend(clocks::align(&mut procs, &links));
        let mut story = tell::tell(&procs, &links);
        story.title.clone_from(&wanted.title);
        story.notes = notes;
        story.facts = facts::facts(&story);
        story.cut_out(wanted);
        story
    }

    /// Keeps what is wanted, and says what is left out.
    fn cut_out(&mut self, wanted: &Wanted) {
        let most = wanted.most.max(1);
        let inside = |event: &Happened| {
            wanted.from.is_none_or(|from| event.t >= from) && wanted.to.is_none_or(|to| event.t <= to)
        };
        let mut keep: Vec<bool> = self.events.iter().map(inside).collect();
        let within = keep.iter().filter(|keep| **keep).count();
        if within > most {
            // Whoever asks from where on sees what comes first; else the end is what the reader wants to know.
            let over = within - most;
            let drop: Vec<usize> = {
                let mut all: Vec<usize> = (0..keep.len()).filter(|at| keep[*at]).collect();
                if wanted.from.is_some() {
                    all.split_off(most)
                } else {
                    all.truncate(over);
                    all
                }
            };
            let edge = if wanted.from.is_some() { drop.first() } else { drop.last() };
            let seconds = edge.map_or(0.0, |at| self.events[*at].t as f64 / 1e6);
            drop.iter().for_each(|at| keep[*at] = false);
            let (which, how) = if wanted.from.is_some() {
                ("later", format!("--from {seconds:.3}s shows them"))
            } else {
                ("earlier", format!("--to {seconds:.3}s shows them"))
            };
            self.notes.push(format!("{over} {which} events are left out, to keep the page quick; {how}."));
        }
        if keep.iter().all(|keep| *keep) {
            return;
        }
        // A message is shown whole or not at all.
        for arrow in &self.arrows {
            let ends = [arrow.from, arrow.to];
            if ends.iter().flatten().any(|at| keep[*at]) {
                ends.iter().flatten().for_each(|at| keep[*at] = true);
            }
        }
        if within < self.events.len() && within <= most {
            let left = keep.iter().filter(|keep| !**keep).count();
            self.notes.push(format!("{left} events outside of the chosen window are left out."));
        }
        self.retain(&keep);
    }

    fn retain(&mut self, keep: &[bool]) {
        let mut place = 0;
        let places: Vec<Option<usize>> = keep
            .iter()
            .map(|keep| {
                keep.then(|| {
                    place += 1;
                    place - 1
                })
            })
            .collect();
        let arrows = core::mem::take(&mut self.arrows);
        let mut new = vec![None; arrows.len()];
        for (at, mut arrow) in arrows.into_iter().enumerate() {
            arrow.from = arrow.from.and_then(|at| places[at]);
            arrow.to = arrow.to.and_then(|at| places[at]);
            if arrow.from.is_some() || arrow.to.is_some() {
                new[at] = Some(self.arrows.len());
                self.arrows.push(arrow);
            }
        }
        let mut at = 0;
        self.events.retain_mut(|event| {
            at += 1;
            event.arrow = event.arrow.and_then(|arrow| new[arrow]);
            keep[at - 1]
        });
    }
}

#[cfg(test)]
mod tests;
