//! A plan: all that a run needs, as a file that people can read and write.
//!
//! A seed only draws a plan; what is kept, made smaller and replayed is the plan. The seed in it draws what a plan does not say:
//! delays, orders, the ids of instances.

use crate::choices::Choices;
use crate::clock::{Micros, SECOND};
use crate::fault::{Fault, Swarm};
use crate::faults::PlannedFault;
use crate::setup::Setup;
use crate::talk::Talk;
use serde::{Deserialize, Serialize};

/// A run to be.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    /// Why it is kept.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub why: String,
    /// Draws delays and orders.
    pub seed: u64,
    /// Who is there, and what they do.
    pub scenario: Scenario,
    /// What goes wrong.
    #[serde(default)]
    pub faults: Vec<PlannedFault>,
}

/// Who is there, and what they do.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Scenario {
    /// Registries, publishers and executors.
    Cluster(Setup),
    /// Nodes that have nothing but connections.
    Connections(Nodes),
    /// Nodes that send messages by address.
    Messages(Nodes),
}

/// Nodes that are all alike.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Nodes {
    /// How many.
    pub nodes: usize,
    /// Faults stop then, and so do the applications.
    pub horizon_us: Micros,
    /// Whether all of them begin by turning to all others, in the same moment.
    #[serde(default)]
    pub together: bool,
    /// How often their applications do something, all of them together; without it, for as long as the horizon says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub acts: Option<u64>,
    /// What they talk about, where they do not send to whomever they know of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub talk: Option<Talk>,
    /// Which faults chance may inject; no part of a plan, which has its own.
    #[serde(skip)]
    pub swarm: Swarm,
}

impl Nodes {
    /// Some nodes.
    pub(crate) fn draw(choices: &mut Choices) -> Self {
        Self {
            swarm: Swarm::draw(choices),
            nodes: choices.between(2, 4) as usize,
            horizon_us: choices.between(10, 60) * SECOND,
            together: choices.chance(500),
            acts: None,
            talk: None,
        }
    }
}

/// The kinds of scenario, by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Kind {
    /// [`Scenario::Cluster`].
    Cluster,
    /// [`Scenario::Connections`].
    Connections,
    /// [`Scenario::Messages`].
    Messages,
    /// Messages in rooms: what one says there goes to all others.
    Chat,
    /// Messages so large that a link is busy with them, and small ones beside them.
    Bulk,
    /// Messages of all to all, and nobody takes them as fast as they are sent.
    SlowReaders,
    /// A cluster without a registry for an hour.
    NoRegistry,
    /// A cluster in which one registry takes the place of another, which lives on.
    TwoRegistries,
    /// A cluster to which hundreds of executors come at once.
    Storm,
}

/// Kinds that some seeds are about, and how many of a thousand. Each seed is asked for each of them at a place of its own, in this
/// order: one more, put in front, takes its seeds from all others alike and shifts none of the rest.
const SOME: [(Kind, &str, u64); 6] = [
    (Kind::Storm, "storm", 3),
    (Kind::NoRegistry, "no registry", 20),
    (Kind::TwoRegistries, "two registries", 30),
    (Kind::Chat, "chat", 30),
    (Kind::Bulk, "bulk", 20),
    (Kind::SlowReaders, "slow readers", 30),
];

impl Kind {
    /// What a seed is about, unless it is told: some are of a special kind; of the others most are clusters, one in four connections
    /// alone, one in eight messages.
    pub fn of_seed(seed: u64) -> Self {
        let mut choices = Choices::seeded(seed, "kind");
        let special =
            SOME.into_iter().find(|(_, name, share)| choices.aside(name, |choices| choices.chance(*share)));
        if let Some((kind, ..)) = special {
            return kind;
        }
        match seed % 8 {
            3 | 7 => Self::Connections,
            5 => Self::Messages,
            _ => Self::Cluster,
        }
    }
}

impl Scenario {
    /// Some scenario of a kind.
    pub fn draw(kind: Kind, choices: &mut Choices) -> Self {
        match kind {
            Kind::Cluster => Self::Cluster(Setup::draw(choices)),
            Kind::Connections => Self::Connections(Nodes::draw(choices)),
            Kind::Messages => Self::Messages(Nodes::draw(choices)),
            Kind::Chat => Self::Messages(Talk::draw_chat(choices)),
            Kind::Bulk => Self::Messages(Talk::draw_bulk(choices)),
            Kind::SlowReaders => Self::Messages(Talk::draw_slow_readers(choices)),
            Kind::NoRegistry => Self::Cluster(Setup::draw_no_registry(choices)),
            Kind::TwoRegistries => Self::Cluster(Setup::draw_two_registries(choices)),
            Kind::Storm => Self::Cluster(Setup::draw_storm(choices)),
        }
    }

    /// Which faults chance may inject.
    pub fn swarm(&self) -> &Swarm {
        match self {
            Self::Cluster(setup) => &setup.swarm,
            Self::Connections(nodes) | Self::Messages(nodes) => &nodes.swarm,
        }
    }

    /// Only these.
    pub fn set_swarm(&mut self, swarm: Swarm) {
        match self {
            Self::Cluster(setup) => {
                setup.lease_only = swarm.enabled(Fault::DialRefused);
                setup.swarm = swarm;
            }
            Self::Connections(nodes) | Self::Messages(nodes) => nodes.swarm = swarm,
        }
    }
}

/// Nodes of one kind at most: a plan is read by people.
const MOST: usize = 250;
/// Executors of a crowd at most.
const LARGEST_CROWD: usize = 2000;
/// Simulated time at most.
const LONGEST: Micros = 24 * 3600 * SECOND;

impl Plan {
    /// What a seed is about; its faults are not drawn yet.
    pub fn draw(seed: u64, kind: Kind) -> Self {
        let scenario = Scenario::draw(kind, &mut Choices::seeded(seed, "plan"));
        Self { why: String::new(), seed, scenario, faults: Vec::new() }
    }

    /// From its text.
    ///
    /// # Errors
    /// What is wrong with it, in words.
    pub fn parse(text: &str) -> Result<Self, String> {
        let plan: Self = serde_json::from_str(text).map_err(|error| error.to_string())?;
        plan.check()?;
        Ok(plan)
    }

    /// As its text.
    pub fn text(&self) -> String {
        // What it consists of are names, numbers and lists: that cannot fail.
        serde_json::to_string_pretty(self).unwrap_or_default()
    }

    /// Whether it can be run.
    fn check(&self) -> Result<(), String> {
        let horizon = match &self.scenario {
            Scenario::Cluster(setup) => {
                check_setup(setup)?;
                setup.horizon_us
            }
            Scenario::Connections(nodes) => {
                within("nodes", nodes.nodes, 2, MOST)?;
                if nodes.talk.is_some() {
                    return Err(
                        "nodes that have nothing but connections have nothing to talk about".to_owned()
                    );
                }
                nodes.horizon_us
            }
            Scenario::Messages(nodes) => {
                within("nodes", nodes.nodes, 2, MOST)?;
                nodes.talk.as_ref().map_or(Ok(()), |talk| talk.check(nodes.nodes))?;
                nodes.horizon_us
            }
        };
        within("horizon_us", horizon, 1, LONGEST)?;
        let cluster = matches!(self.scenario, Scenario::Cluster(_));
        for (index, fault) in self.faults.iter().enumerate() {
            let which = || format!("fault {} ({} at {:?})", index + 1, fault.fault, fault.place);
            match (fault.nth, fault.at_us) {
                (Some(0), None) => return Err(format!("{}: nth counts from 1", which())),
                (Some(_), None) => {}
                (None, Some(_)) if cluster && crate::cluster::is_strike(fault.fault) => {}
                (None, Some(_)) => {
                    return Err(format!(
                        "{}: only what strikes nodes of a cluster has a time; give nth",
                        which()
                    ));
                }
                (Some(_), Some(_)) | (None, None) => {
                    return Err(format!("{}: give one of nth and at_us", which()));
                }
            }
        }
        Ok(())
    }
}

fn within<T: PartialOrd + core::fmt::Display>(what: &str, value: T, low: T, high: T) -> Result<(), String> {
    if value < low || value > high {
        return Err(format!("{what} is {value}; it must be from {low} to {high}"));
    }
    Ok(())
}

fn check_setup(setup: &Setup) -> Result<(), String> {
    within("registries", setup.registries, 1, MOST)?;
    within("publishers", setup.publishers, 1, MOST)?;
    within("the number of executors", setup.executors.len(), 0, MOST)?;
    let mut numbers = std::collections::BTreeSet::new();
    for task in &setup.tasks {
        within(&format!("the publisher of task {}", task.number), task.publisher, 0, setup.publishers - 1)?;
        if !numbers.insert(task.number) {
            return Err(format!("two tasks have the number {}", task.number));
        }
        task.build()?;
    }
    check_comings(setup)?;
    setup.limits().validate().map_err(|error| error.to_string())
}

fn check_comings(setup: &Setup) -> Result<(), String> {
    let who = setup.who_may_go();
    for going in &setup.goings {
        if !who.contains(&going.node) {
            return Err(format!("{:?} cannot go: there is no such publisher or executor", going.node));
        }
    }
    if let Some(away) = setup.away {
        within("the end of the time without a registry", away.end(), 1, setup.horizon_us)?;
    }
    if setup.replaced.is_some() && setup.together {
        return Err("a registry that is replaced cannot be found over loopback".to_owned());
    }
    match setup.crowd {
        Some(crowd) => within("the crowd", crowd.executors, 1, LARGEST_CROWD),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each special kind takes its share, and what is left is divided as before.
    #[test]
    fn every_kind_has_its_share_of_all_seeds() {
        let count = |kind| (0..20_000).filter(|seed| Kind::of_seed(*seed) == kind).count();
        for (kind, _, share) in SOME {
            let (had, due) = (count(kind), share as usize * 20);
            assert!(had * 3 > due && had < due * 2, "{kind:?}: {had} of {due}");
        }
        assert!(count(Kind::Cluster) > 9_000 && count(Kind::Messages) > 1_500);
    }

    #[test]
    fn a_drawn_plan_survives_its_text() {
        let special =
            <Kind as clap::ValueEnum>::value_variants().iter().flat_map(|kind| [(0, *kind), (1, *kind)]);
        for (seed, kind) in (0..64).map(|seed| (seed, Kind::of_seed(seed))).chain(special) {
            let plan = Plan::draw(seed, kind);
            let text = plan.text();
            let again = Plan::parse(&text).unwrap_or_else(|error| panic!("seed {seed}: {error}\n{text}"));
            assert_eq!(again.text(), text);
        }
    }

    #[test]
    fn what_is_wrong_with_a_plan_is_said() {
        let cases = [
            ("{", "EOF"),
            (r#"{"seed": 1, "scenario": {"zoo": {}}}"#, "unknown variant `zoo`"),
            (r#"{"seed": 1, "scenario": {"connections": {"nodes": 1, "horizon_us": 5}}}"#, "nodes is 1"),
            (r#"{"seed": 1, "scenario": {"cluster": {"publishers": 0}}}"#, "publishers is 0"),
            (
                r#"{"seed": 1, "scenario": {"cluster": {"tasks": [{"number": 1, "publisher": 3, "steps": []}]}}}"#,
                "the publisher of task 1 is 3",
            ),
            (
                r#"{"seed": 1, "scenario": {"cluster": {"goings": [{"node": "registry-1", "at_us": 1}]}}}"#,
                "\"registry-1\" cannot go",
            ),
            (
                r#"{"seed": 1, "scenario": {"cluster": {"away": {"at_us": 1, "for_us": 3600000000}}}}"#,
                "the end of the time without a registry",
            ),
            (
                r#"{"seed": 1, "scenario": {"messages": {"nodes": 2, "horizon_us": 5, "talk": {"chat": [[0, 2]]}}}}"#,
                "node 2 is in a room",
            ),
            (
                r#"{"seed": 1, "scenario": {"cluster": {}}, "faults": [{"fault": "rain", "place": "x", "nth": 1}]}"#,
                "no fault is called \"rain\"",
            ),
            (
                r#"{"seed": 1, "scenario": {"cluster": {}}, "faults": [{"fault": "bit flipped", "place": "x"}]}"#,
                "one of nth and at_us",
            ),
        ];
        for (text, part) in cases {
            let error = Plan::parse(text).expect_err("it is wrong");
            assert!(error.contains(part), "{error}");
        }
    }
}
