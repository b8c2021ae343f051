//! What a simulated cluster consists of.

use crate::choices::Choices;
use crate::clock::{Micros, SECOND};
use crate::comings::{Away, Crowd, Going, Replaced};
use crate::fault::{Fault, Swarm};
use crate::task::Task;
use core::time::Duration;
use serde::{Deserialize, Serialize};
use xxnet_core::config::Limits;
use xxnet_core::needs::{Label, Need};

/// A cluster: its nodes, how long faults befall it, what it is asked.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Setup {
    /// How many registries.
    pub registries: usize,
    /// How many nodes that only publish.
    pub publishers: usize,
    /// Slots of each executor.
    pub executors: Vec<u32>,
    /// What each executor says of itself, as `NAME` or `NAME=VALUE`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub labels: Vec<Vec<String>>,
    /// Faults stop then.
    pub horizon_us: Micros,
    /// Whether clocks differ.
    pub clocks: bool,
    /// Whether the first publisher lives on the first registry's host and registers there over loopback.
    pub together: bool,
    /// Whether executors wait for the end of a lease even where a refused dial seems to prove a death. What refuses may be a
    /// firewall: such faults need it.
    pub lease_only: bool,
    /// The longest file window, unless it is the usual one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file_window_us: Option<Micros>,
    /// The credit of a command's output, unless it is the usual one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub output_credit: Option<u64>,
    /// What the cluster is asked.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tasks: Vec<Task>,
    /// Publishers and executors that go and come back.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub goings: Vec<Going>,
    /// No registry for a while.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub away: Option<Away>,
    /// Two registries at once, under one name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replaced: Option<Replaced>,
    /// Many executors at once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub crowd: Option<Crowd>,
    /// Which faults chance may inject; no part of a plan, which has its own.
    #[serde(skip)]
    pub swarm: Swarm,
}

impl Default for Setup {
    fn default() -> Self {
        Self::calm(1, &[1])
    }
}

impl Setup {
    /// A small cluster without faults, and without tasks.
    pub fn calm(publishers: usize, executors: &[u32]) -> Self {
        Self {
            registries: 1,
            publishers,
            executors: executors.to_vec(),
            labels: Vec::new(),
            horizon_us: 60 * SECOND,
            clocks: false,
            together: false,
            lease_only: false,
            file_window_us: None,
            output_credit: None,
            tasks: Vec::new(),
            goings: Vec::new(),
            away: None,
            replaced: None,
            crowd: None,
            swarm: Swarm::none(),
        }
    }

    /// With these faults.
    #[must_use]
    pub fn with(mut self, kinds: &[Fault]) -> Self {
        self.swarm = Swarm::only(kinds);
        self
    }

    /// Some cluster.
    pub(crate) fn draw(choices: &mut Choices) -> Self {
        let swarm = Swarm::draw(choices);
        let executors: Vec<u32> = (0..choices.between(2, 5)).map(|_| choices.between(1, 3) as u32).collect();
        let mut setup = Self {
            registries: if choices.chance(250) { 2 } else { 1 },
            horizon_us: choices.between(60, 90) * SECOND,
            clocks: choices.chance(600),
            // A refused redial proves a death only where what answers at an address is that host (PROTOCOL A8): a firewall
            // that refuses is not.
            lease_only: swarm.enabled(Fault::DialRefused) || choices.chance(100),
            file_window_us: choices.chance(500).then(|| choices.between(10, 60) * SECOND),
            output_credit: choices.chance(300).then(|| choices.scaled(4 << 10, 256 << 10)),
            swarm,
            ..Self::calm(choices.between(1, 3) as usize, &executors)
        };
        if choices.chance(300) {
            // One of them has it in any case: what a task needs is somewhere.
            setup.labels = vec![vec![LABEL.to_owned()]];
            setup.labels.extend(executors.iter().skip(1).map(|_| {
                let labelled = choices.chance(500);
                labelled.then(|| LABEL.to_owned()).into_iter().collect()
            }));
        }
        setup.draw_tasks(choices);
        choices.aside("goings", |choices| {
            if choices.chance(300) {
                setup.goings = Going::draw(choices, &setup.who_may_go(), setup.horizon_us);
            }
        });
        setup
    }

    /// Some cluster that has no registry for an hour. Tasks are given before, during and after it.
    pub(crate) fn draw_no_registry(choices: &mut Choices) -> Self {
        let mut setup = Self::draw(choices);
        choices.aside("no registry", |choices| {
            let away = Away::draw(choices);
            // In a calm one it is known what must happen meanwhile.
            if choices.chance(400) {
                setup.swarm = Swarm::none();
                setup.goings.clear();
            }
            for task in &mut setup.tasks {
                task.at_us = match choices.below(4) {
                    0 | 1 => away.at_us - choices.below(10 * SECOND),
                    2 => away.at_us + choices.below(away.for_us),
                    _ => away.end() - choices.below(20 * SECOND),
                };
            }
            setup.horizon_us = away.end() + choices.between(10, 60) * SECOND;
            for going in &mut setup.goings {
                going.at_us = choices.below(setup.horizon_us);
            }
            setup.away = Some(away);
        });
        setup
    }

    /// Some cluster in which another registry takes the place of the first, which lives on.
    pub(crate) fn draw_two_registries(choices: &mut Choices) -> Self {
        let mut setup = Self::draw(choices);
        setup.replaced =
            Some(choices.aside("two registries", |choices| Replaced::draw(choices, setup.horizon_us)));
        setup
    }

    /// Some cluster to which hundreds of executors come at once, and in which little goes wrong.
    pub(crate) fn draw_storm(choices: &mut Choices) -> Self {
        let mut setup = Self::calm(choices.between(1, 3) as usize, &[1, 2]);
        setup.swarm = if choices.chance(400) { Swarm::none() } else { Swarm::draw(choices).eager(10) };
        setup.lease_only = setup.swarm.enabled(Fault::DialRefused);
        setup.horizon_us = choices.between(15, 25) * SECOND;
        let crowd = Crowd::draw(choices);
        setup.crowd = Some(crowd);
        // Either all tasks wait for the crowd, or they come after it, too.
        let until = if choices.chance(400) { crowd.at_us } else { setup.horizon_us * 2 / 3 };
        for number in 1..=choices.between(50, 300) {
            let mut task = Task::draw(choices, number, 2_000);
            task.publisher = choices.below(setup.publishers as u64) as usize;
            task.at_us = choices.below(until);
            setup.tasks.push(task);
        }
        setup
    }

    /// Everybody but the registries, by name.
    pub(crate) fn who_may_go(&self) -> Vec<String> {
        let publishers = (1..=self.publishers).map(|number| format!("publisher-{number}"));
        publishers.chain((1..=self.executors.len()).map(|number| format!("executor-{number}"))).collect()
    }

    /// The slots of all executors.
    pub(crate) fn slots(&self) -> impl Iterator<Item = u32> + '_ {
        let crowd = self.crowd.map_or(0, |crowd| crowd.executors);
        self.executors.iter().copied().chain(core::iter::repeat_n(1, crowd))
    }

    /// Some tasks for it.
    pub(crate) fn draw_tasks(&mut self, choices: &mut Choices) {
        // Some are of several blocks, so that they can be resumed in the middle.
        let largest = if choices.chance(250) { 5 << 20 } else { 60_000 };
        for number in 1..=choices.between(1, 12) {
            let mut task = Task::draw(choices, number, largest);
            task.publisher = choices.below(self.publishers as u64) as usize;
            task.at_us = choices.below(self.horizon_us * 2 / 3);
            if !self.labels.is_empty() && choices.chance(400) {
                task.needs.push(LABEL.to_owned());
            }
            self.tasks.push(task);
        }
    }

    /// The limits of its nodes.
    pub(crate) fn limits(&self) -> Limits {
        let mut limits = Limits::default();
        if let Some(window) = self.file_window_us {
            limits.file_window = Duration::from_micros(window);
        }
        if let Some(credit) = self.output_credit {
            limits.output_credit = credit;
        }
        limits
    }

    /// What an executor says of itself. A text that is no label is left out.
    pub(crate) fn labels_of(&self, executor: usize) -> Vec<Label> {
        let texts = self.labels.get(executor).into_iter().flatten();
        let needs = texts.filter_map(|text| text.parse::<Need>().ok());
        needs.map(|need| (need.name, need.value.unwrap_or_default())).collect()
    }
}

/// The label of drawn clusters.
const LABEL: &str = "gpu";
