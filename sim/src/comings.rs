//! What befalls a cluster besides faults: nodes that go and come back, an hour without a registry, a registry that takes the
//! place of another one, hundreds of executors at once. None of it is a fault: a cluster is promised to bear it.

use crate::choices::Choices;
use crate::clock::{MILLI, Micros, SECOND};
use serde::{Deserialize, Serialize};

/// A publisher or an executor that goes by itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Going {
    /// Who: `publisher-1`, `executor-2`.
    pub node: String,
    /// When.
    pub at_us: Micros,
    /// How long after it has gone it comes back; with the peace unless given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub back_after_us: Option<Micros>,
    /// Without a word, and not by a shutdown.
    #[serde(default, skip_serializing_if = "is_false")]
    pub vanishes: bool,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde wants it so")]
fn is_false(flag: &bool) -> bool {
    !*flag
}

/// All registries are away for a while.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Away {
    /// From then on.
    pub at_us: Micros,
    /// For so long.
    pub for_us: Micros,
}

impl Away {
    /// When they are back.
    pub fn end(self) -> Micros {
        self.at_us.saturating_add(self.for_us)
    }
}

/// Another process takes the place and the name of the first registry, and the old one lives on until the peace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Replaced {
    /// When.
    pub at_us: Micros,
    /// The old one is stopped then, and goes on after so long.
    #[serde(default)]
    pub frozen_us: Micros,
    /// From then on the name means the one and the other by turns, each for so long.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub turns_us: Option<Micros>,
}

/// So many executors of one slot, besides the others, that all start in the same moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Crowd {
    /// How many.
    pub executors: usize,
    /// When.
    pub at_us: Micros,
}

impl Going {
    /// Some of them, for nodes of these names.
    pub(crate) fn draw(choices: &mut Choices, names: &[String], horizon: Micros) -> Vec<Self> {
        let one = |choices: &mut Choices| Self {
            node: choices.pick(names).clone(),
            at_us: choices.below(horizon),
            back_after_us: choices.chance(700).then(|| choices.scaled(MILLI, 30 * SECOND)),
            vanishes: choices.chance(300),
        };
        (0..choices.between(1, 6)).map(|_| one(choices)).collect()
    }
}

impl Away {
    /// An hour, more or less, beginning when tasks run.
    pub(crate) fn draw(choices: &mut Choices) -> Self {
        Self {
            at_us: choices.between(20, 60) * SECOND,
            for_us: choices.between(3_600 * SECOND, 3_900 * SECOND),
        }
    }
}

impl Replaced {
    /// One, in the first half of the storm.
    pub(crate) fn draw(choices: &mut Choices, horizon: Micros) -> Self {
        Self {
            at_us: choices.between(3 * SECOND, horizon / 2),
            frozen_us: *choices.pick(&[20 * SECOND, 0, 6 * SECOND, 40 * SECOND]),
            turns_us: choices.chance(400).then(|| choices.scaled(SECOND, 20 * SECOND)),
        }
    }
}

impl Crowd {
    /// Some hundreds.
    pub(crate) fn draw(choices: &mut Choices) -> Self {
        Self { executors: choices.between(200, 600) as usize, at_us: choices.between(1, 5) * SECOND }
    }
}
