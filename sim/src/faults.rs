//! Which faults happen: drawn by chance as a [`Swarm`] allows, or taken from a list. What was drawn is kept as such a list, so
//! that the same faults can be injected again, and some of them left out.
//!
//! A fault belongs to the place that is at work when it may happen ("the third dial from executor-2 to registry-1"), and it
//! is that place's first, second … opportunity for its kind: so one fault less leaves the others where they are.

use crate::choices::{Choices, Place};
use crate::clock::Micros;
use crate::fault::{Fault, Swarm};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashMap};

/// One fault of a plan.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlannedFault {
    /// What goes wrong.
    pub fault: Fault,
    /// Where: the name of a process, a connection, a direction of one, as a report tells it.
    pub place: String,
    /// At which opportunity of this kind there, from 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nth: Option<u64>,
    /// Or else when, in microseconds from the beginning.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at_us: Option<Micros>,
    /// How badly: for how long, at which byte. What is missing is as mild as can be.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub values: Vec<u64>,
}

/// Where faults come from.
#[derive(Clone, Debug)]
pub enum Injection {
    /// By chance, of these kinds.
    Drawn(Swarm),
    /// Exactly these.
    Planned(Vec<PlannedFault>),
}

impl Injection {
    /// Whether nothing will go wrong.
    pub fn is_calm(&self) -> bool {
        match self {
            Self::Drawn(swarm) => swarm.is_calm(),
            Self::Planned(faults) => faults.is_empty(),
        }
    }
}

/// The kind, the place and the opportunity.
type Key = (Fault, u64, u64);

#[derive(Debug)]
enum Source {
    Drawn(Swarm),
    /// These, and of which kinds they are.
    Planned(BTreeMap<Key, Vec<u64>>, Swarm),
}

/// Decides, and keeps what was decided.
#[derive(Debug)]
pub(crate) struct Faults {
    source: Source,
    /// What places are called.
    names: HashMap<u64, String>,
    /// What was decided so far.
    pub(crate) injected: Vec<PlannedFault>,
    /// Where the values of the last fault come from: its own place, and how many were asked for.
    last: (Place, usize),
}

impl Faults {
    pub(crate) fn new(injection: Injection) -> Self {
        let source = match injection {
            Injection::Drawn(swarm) => Source::Drawn(swarm),
            Injection::Planned(faults) => {
                let kinds: Vec<Fault> = faults.iter().map(|fault| fault.fault).collect();
                let keyed = faults.into_iter().filter_map(|fault| {
                    let key = (fault.fault, Place::of(&fault.place).key(), fault.nth?);
                    Some((key, fault.values))
                });
                Source::Planned(keyed.collect(), Swarm::only(&kinds))
            }
        };
        Self { source, names: HashMap::new(), injected: Vec::new(), last: (Place::of(""), 0) }
    }

    /// A place by its name, which a plan can use.
    pub(crate) fn name(&mut self, name: String) -> Place {
        let place = Place::of(&name);
        self.names.insert(place.key(), name);
        place
    }

    /// What a place is called, if it has a name.
    pub(crate) fn name_of(&self, place: Place) -> &str {
        self.names.get(&place.key()).map_or("", |name| name)
    }

    /// From now on, faults are drawn.
    pub(crate) fn draw(&mut self, swarm: Swarm) {
        self.source = Source::Drawn(swarm);
    }

    /// Whether a kind is among those that can happen.
    pub(crate) fn may(&self, kind: Fault) -> bool {
        match &self.source {
            Source::Drawn(kinds) | Source::Planned(_, kinds) => kinds.enabled(kind),
        }
    }

    /// The place that is at work has an opportunity for a fault: whether it takes it.
    pub(crate) fn decide(&mut self, choices: &mut Choices, kind: Fault, per_mille: u64) -> bool {
        let place = choices.place();
        let (own, nth, values) = match &self.source {
            Source::Drawn(swarm) if swarm.enabled(kind) => {
                let own = place.within(kind.part());
                let nth = choices.visit(own);
                let chance = (per_mille * swarm.eagerness(kind) / 100).max(1);
                if !choices.chance_at(own.within(nth), chance) {
                    return false;
                }
                (own, nth, Vec::new())
            }
            Source::Planned(faults, kinds) if kinds.enabled(kind) => {
                let own = place.within(kind.part());
                let nth = choices.visit(own);
                match faults.get(&(kind, place.key(), nth)) {
                    Some(values) => (own, nth, values.clone()),
                    None => return false,
                }
            }
            Source::Drawn(_) | Source::Planned(..) => return false,
        };
        let name = self.names.get(&place.key()).cloned().unwrap_or_else(|| "somewhere".to_owned());
        self.injected.push(PlannedFault { fault: kind, place: name, nth: Some(nth), at_us: None, values });
        self.last = (own.within(nth).within(1), 0);
        true
    }

    /// How badly the fault strikes that was decided last: the next of its values, from `low` to `high`, drawn by `draw`.
    pub(crate) fn value(
        &mut self,
        choices: &mut Choices,
        (low, high): (u64, u64),
        draw: impl FnOnce(&mut Choices) -> u64,
    ) -> u64 {
        let (own, at) = self.last;
        self.last.1 += 1;
        let Some(fault) = self.injected.last_mut() else { return low };
        match self.source {
            Source::Drawn(_) => {
                let before = choices.enter(own);
                let value = draw(choices);
                choices.enter(before);
                fault.values.push(value);
                value
            }
            Source::Planned(..) => fault.values.get(at).copied().unwrap_or(low).clamp(low, high),
        }
    }
}
