//! The events and arrows of a story, in words.

use super::fates::Fates;
use super::links::{End, Links};
use super::procs::Procs;
use super::{Arrow, Fate, Happened, Lane, Story};
use crate::spacetime::record::{Said, What};
use std::collections::BTreeMap;

/// Where a record stands: a process and a place, or the world and a place.
type Source = (Option<usize>, usize);

pub(super) fn tell(procs: &Procs, links: &Links) -> Story {
    let mut teller = Teller { procs, links, names: names(procs) };
    let mut told: Vec<(u64, Source, Happened)> = Vec::new();
    let mut began = Vec::new();
    for (at, proc) in procs.all.iter().enumerate() {
        let t = procs.time(at, proc.header.at);
        let again = procs.all[..at].iter().any(|other| other.lane == proc.lane);
        let say = match (procs.simulated, again) {
            (true, true) => format!("starts again, as instance {}", proc.instance),
            (true, false) => format!("starts, as instance {}", proc.instance),
            (false, _) => format!("begins to be traced, as instance {}", proc.instance),
        };
        began.push(Happened {
            t,
            lane: Some(proc.lane),
            class: "life",
            name: if again { "starts again".to_owned() } else { "starts".to_owned() },
            say: if proc.instance.is_empty() { say.replace(", as instance ", "") } else { say },
            weight: u8::from(again),
            ..Happened::default()
        });
        for (place, (t, what)) in proc.records.iter().enumerate() {
            if let Some(event) = teller.event(at, procs.time(at, *t), what) {
                told.push((event.t, (Some(at), place), event));
            }
        }
    }
    for (place, (t, what)) in procs.world.iter().enumerate() {
        // The world's clock is the first one's: only a simulated one has anything to tell.
        let t = if procs.all.is_empty() { *t } else { procs.time(0, *t) };
        if let Some(event) = of_world(t, what) {
            told.push((event.t, (None, place), event));
        }
    }
    told.extend(ends(procs));
    told.sort_by_key(|(t, ..)| *t);
    let mut events = Vec::with_capacity(told.len() + began.len());
    let mut places = BTreeMap::new();
    began.sort_by_key(|event| event.t);
    let mut began = began.into_iter().peekable();
    for (_, source, event) in told {
        while let Some(begin) = began.next_if(|begin| begin.t <= event.t) {
            events.push(begin);
        }
        places.insert(source, events.len());
        events.push(event);
    }
    events.extend(began);
    let arrows = teller.arrows(&mut events, &places);
    let lanes = lanes(procs, &events);
    let wall = (!procs.simulated).then(|| u64::try_from(procs.origin).ok()).flatten();
    Story { wall, lanes, events, arrows, ..Story::default() }
}

/// A silence at the end of a daemon's trace that means nothing, in microseconds: heartbeats come each 3 s.
const SILENCE: u64 = 3_200_000;

/// Where the trace of a daemon ends before the others do, and it has not said goodbye.
fn ends(procs: &Procs) -> Vec<(u64, Source, Happened)> {
    let last = |at: usize| procs.all[at].records.last().map(|(t, _)| procs.time(at, *t));
    let end = (0..procs.all.len()).filter_map(last).max().unwrap_or(0);
    let quiet = |at: &usize| {
        let stops = |(_, what): &(u64, What)| matches!(what, What::Notice(said) if ["stopped", "down"].contains(&&said.name[..]));
        !procs.simulated && !procs.all[*at].records.iter().rev().take(50).any(stops)
    };
    (0..procs.all.len())
        .filter(quiet)
        .filter_map(|at| {
            let t = last(at).filter(|t| t + SILENCE < end)?;
            let say =
                "says nothing more: it was killed, or stands still, or was not traced any further".to_owned();
            let lane = Some(procs.all[at].lane);
            let name = "trace ends".to_owned();
            Some((
                t,
                (None, usize::MAX - at),
                Happened { t, lane, class: "life", name, say, weight: 1, ..Happened::default() },
            ))
        })
        .collect()
}

/// Who has which instance.
fn names(procs: &Procs) -> BTreeMap<String, String> {
    let named = procs.all.iter().filter(|proc| !proc.instance.is_empty());
    named.map(|proc| (proc.instance.clone(), procs.lanes[proc.lane].clone())).collect()
}

struct Teller<'a> {
    procs: &'a Procs,
    links: &'a Links,
    names: BTreeMap<String, String>,
}

impl Teller<'_> {
    /// One record; `None` if it is nothing to look at.
    fn event(&mut self, proc: usize, t: u64, what: &What) -> Option<Happened> {
        let lane = Some(self.procs.all[proc].lane);
        let event = |class, name: &str, say: String, weight| Happened {
            t,
            lane,
            class,
            name: name.to_owned(),
            say,
            weight,
            ..Happened::default()
        };
        let said = |class, said: &Said| event(class, &said.name, self.named(&said.say), said.weight);
        let end = |link: &u64| self.links.of(proc, *link);
        let link = |link: &u64, name: &str, say: &str, weight| {
            let end = end(link);
            let kind = end.map_or("", |end| &end.kind);
            let whom = end.map_or_else(|| "somebody".to_owned(), |end| self.whom(end));
            let kind_of = if kind.is_empty() { String::new() } else { format!("{kind} ") };
            let say = say.replace("{kind}", &kind_of).replace("{whom}", &whom);
            Happened { kind: kind.to_owned(), ..event("link", name, format!("{say} (link-{link})"), weight) }
        };
        Some(match what {
            What::Dial { link: id, .. } => link(id, "dial", "dials {whom} for a {kind}connection", 0),
            What::Dialed { link: id, .. } => link(id, "connected", "has a {kind}connection to {whom} now", 0),
            What::Accepted { link: id, .. } => {
                link(id, "accepted", "takes a {kind}connection from {whom}", 0)
            }
            What::DialFailed { link: id, why } => {
                // Its dial tells the trouble.
                link(id, "no connection", &format!("gets no connection to {{whom}}: {why}"), 0)
            }
            What::Close { link: id } => link(id, "close", "closes its {kind}link with {whom}", 0),
            What::PeerClosed { link: id } => {
                link(id, "end", "hears that {whom} will send no more on their {kind}link", 0)
            }
            What::Broken { link: id, why } => link(
                id,
                "link broken",
                &format!("is told that its {{kind}}link with {{whom}} is dead: {why}"),
                2,
            ),
            What::Unreadable { link: id, sending: false, why, .. } => {
                let say = format!("cannot read what came from {{whom}} on their {{kind}}link: {why}");
                Happened { class: "damage", ..link(id, "unreadable", &say, 2) }
            }
            What::Sent(passed) => Happened {
                kind: passed.pack.kind.clone(),
                ..event("sent", &passed.pack.label, self.named(&passed.pack.say), 0)
            },
            What::Got(passed) => Happened {
                kind: passed.pack.kind.clone(),
                ..event("got", &passed.pack.label, self.named(&passed.pack.say), 0)
            },
            What::Timer => event("timer", "timer", "acts because a timer of its own was due".to_owned(), 0),
            What::Command(words) => said("command", words),
            What::Notice(words) => said("notice", words),
            What::Disk(words) => said("disk", words),
            What::Spawn { say, .. } => event("run", "command starts", self.named(say), 1),
            What::Exit { say, .. } => event("run", "command ends", self.named(say), 1),
            What::State { state } => {
                let say = match &state[..] {
                    "running" => "goes on".to_owned(),
                    state => format!("is {state}: it does nothing, and what comes for it waits"),
                };
                event("life", state, say, 2)
            }
            What::Gone { why } => event("life", "gone", format!("is no more: {why}"), 2),
            What::Fault(words) => said("fault", words),
            What::Remark(words) => said("remark", words),
            What::Failure(words) => said("failure", words),
            What::Known { .. } | What::Unreadable { sending: true, .. } | What::LeftOut { .. } => {
                return None;
            }
        })
    }

    /// Who is at the other end, in words.
    fn whom(&self, end: &End) -> String {
        let lane = self.links.other_lane(self.procs, end);
        lane.map_or_else(|| end.peer_name(), |lane| self.procs.lanes[lane].clone())
    }

    /// With names for instances. A task is named after its publisher's instance and keeps its name.
    fn named(&self, text: &str) -> String {
        if self.names.is_empty() {
            return text.to_owned();
        }
        let mut out = String::with_capacity(text.len());
        let mut rest = text;
        while !rest.is_empty() {
            let word = rest.find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(rest.len());
            if word == 0 {
                let letter = rest.chars().next().map_or(1, char::len_utf8);
                out.push_str(&rest[..letter]);
                rest = &rest[letter..];
                continue;
            }
            let (head, tail) = rest.split_at(word);
            match self.names.get(head).filter(|_| !tail.starts_with('-')) {
                Some(name) => out.push_str(name),
                None => out.push_str(head),
            }
            rest = tail;
        }
        out
    }

    fn arrows(&self, events: &mut [Happened], places: &BTreeMap<Source, usize>) -> Vec<Arrow> {
        let fates = Fates::new(self.procs, self.links);
        let mut arrows = Vec::new();
        let place = |at: (usize, usize)| places.get(&(Some(at.0), at.1)).copied();
        for (proc, entry) in self.procs.all.iter().enumerate() {
            for (at, (_, what)) in entry.records.iter().enumerate() {
                let Some(here) = place((proc, at)) else { continue };
                let arrow = match what {
                    What::Sent(passed) => {
                        let Some(end) = self.links.of(proc, passed.link) else { continue };
                        let (fate, why, to) = match self.links.arrival.get(&(proc, at)) {
                            Some(got) => (Fate::Arrived, String::new(), Some(*got)),
                            None => fates.of_sent(end, at),
                        };
                        let to = to.and_then(place);
                        Arrow { why, ..self.arrow(end, Some(here), to, fate, &passed.pack) }
                    }
                    What::Got(passed) if !self.links.departure.contains_key(&(proc, at)) => {
                        let Some(end) = self.links.of(proc, passed.link) else { continue };
                        let (fate, why) = fates.of_got(end);
                        Arrow { why, ..self.arrow(end, None, Some(here), fate, &passed.pack) }
                    }
                    What::Dial { link, to } => {
                        let Some(end) = self.links.of(proc, *link) else { continue };
                        let (fate, why, arrived) = fates.of_dial(end, at);
                        Arrow {
                            from: Some(here),
                            to: arrived.and_then(place),
                            other: self.links.other_lane(self.procs, end),
                            whom: String::new(),
                            link: self.links.number(end),
                            fate,
                            kind: end.kind.clone(),
                            name: "dial".to_owned(),
                            more: vec![("to".to_owned(), to.clone())],
                            why,
                        }
                    }
                    _ => continue,
                };
                for end in [arrow.from, arrow.to].into_iter().flatten() {
                    events[end].arrow = Some(arrows.len());
                    // Last words that nobody waits for are no loss.
                    let last = arrow.name == "Goodbye" && arrow.fate == Fate::Cut;
                    if !last && !matches!(arrow.fate, Fate::Arrived | Fate::Beyond | Fate::Open) {
                        events[end].weight = 2;
                    }
                }
                arrows.push(arrow);
            }
        }
        arrows
    }

    fn arrow(
        &self,
        end: &End,
        from: Option<usize>,
        to: Option<usize>,
        fate: Fate,
        pack: &crate::spacetime::record::Pack,
    ) -> Arrow {
        let mut more: Vec<(String, String)> =
            pack.more.iter().map(|(name, value)| (name.clone(), self.named(value))).collect();
        for (name, number) in [("sequence", pack.seq), ("acknowledges", pack.ack)] {
            if number > 0 {
                more.push((name.to_owned(), number.to_string()));
            }
        }
        Arrow {
            from,
            to,
            other: self.links.other_lane(self.procs, end),
            whom: match self.links.other_lane(self.procs, end) {
                Some(_) => String::new(),
                None => end.peer_name(),
            },
            link: self.links.number(end),
            fate,
            kind: if pack.kind.is_empty() { end.kind.clone() } else { pack.kind.clone() },
            name: pack.name.clone(),
            more,
            why: String::new(),
        }
    }
}

fn of_world(t: u64, what: &What) -> Option<Happened> {
    let (class, said) = match what {
        What::Fault(said) => ("fault", said),
        What::Remark(said) => ("remark", said),
        What::Failure(said) => ("failure", said),
        _ => return None,
    };
    let (name, say, weight) = (said.name.clone(), said.say.clone(), said.weight);
    Some(Happened { t, class, name, say, weight, ..Happened::default() })
}

/// What each lane was, and what ran there.
fn lanes(procs: &Procs, events: &[Happened]) -> Vec<Lane> {
    let end = events.last().map_or(0, |event| event.t);
    let mut lanes: Vec<Lane> =
        procs.lanes.iter().map(|name| Lane { name: name.clone(), ..Lane::default() }).collect();
    for (at, proc) in procs.all.iter().enumerate() {
        let lane = &mut lanes[proc.lane];
        lane.role.clone_from(&proc.header.role);
        if !proc.instance.is_empty() && !lane.instances.contains(&proc.instance) {
            lane.instances.push(proc.instance.clone());
        }
        let mut state = (procs.time(at, proc.header.at), "up");
        let mut runs = BTreeMap::new();
        let mut over = None;
        for (t, what) in &proc.records {
            let t = procs.time(at, *t);
            match what {
                What::State { state: new } => {
                    lane.spans.push((state.0, t, state.1));
                    let known = ["frozen", "asleep"].into_iter().find(|known| known == new);
                    state = (t, known.unwrap_or("up"));
                }
                What::Gone { .. } => over = Some(t),
                What::Spawn { run, say } => {
                    runs.insert(*run, (t, say.clone()));
                }
                What::Exit { run, .. } => {
                    if let Some((from, say)) = runs.remove(run) {
                        lane.runs.push((from, t, say));
                    }
                }
                _ => {}
            }
        }
        let over = over.unwrap_or_else(|| match (procs.simulated, proc.records.last()) {
            (false, Some((t, _))) => procs.time(at, *t),
            _ => end,
        });
        lane.spans.push((state.0, over, state.1));
        lane.runs.extend(runs.into_values().map(|(from, say)| (from, over, say)));
    }
    lanes
}
