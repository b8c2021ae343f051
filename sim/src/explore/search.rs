//! Breadth first, so that what is found is found by the shortest way.

use super::engine::Engine;
use super::hash::{Set, fingerprint};
use super::scenario::Scenario;
use super::world::{Choice, World};
use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Where the search ends, if it does not end by itself.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Steps of the longest way.
    pub depth: usize,
    /// Different states.
    pub states: usize,
    /// Time.
    pub time: Duration,
}

impl Default for Bounds {
    fn default() -> Self {
        Self { depth: usize::MAX, states: 50_000_000, time: Duration::from_secs(3600) }
    }
}

/// What is searched.
#[derive(Clone, Copy, Debug)]
pub struct Search {
    /// Which world.
    pub scenario: Scenario,
    /// Faults on one way, at most.
    pub faults: u8,
    /// How often on one way time goes on although something else could have happened before, at most.
    pub late: u8,
    /// Where it ends.
    pub bounds: Bounds,
}

/// What a search has seen.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// Different states.
    pub states: usize,
    /// Steps between them: each state was reached by one or more.
    pub steps: usize,
    /// States in which everything has ended well.
    pub settled: usize,
    /// Steps of the longest of all shortest ways.
    pub depth: usize,
    /// Different processes, and different steps of one.
    pub processes: (usize, usize),
    /// The bound that ended it; `None`: that was all.
    pub bound: Option<&'static str>,
    /// What must not be, and the shortest way to it, a step a line.
    pub broken: Option<(String, Vec<String>)>,
}

/// Simulated time by which everything must have ended well, long after the last fault.
const END_OF_TIME: Duration = Duration::from_secs(400);
/// The state before the first.
const ROOT: u32 = u32::MAX;

struct Frontier {
    queue: VecDeque<(u32, World)>,
    known: Set<u64>,
    /// Of each state, the one before it and the choice between them.
    ways: Vec<(u32, Choice)>,
}

impl Search {
    /// Searches all there is, until something is wrong or a bound is reached.
    pub fn run(&self) -> Seen {
        let began = Instant::now();
        let mut engine = Engine::new(self.scenario);
        let mut seen = Seen::default();
        let first = match World::new(&mut engine, self.faults, self.late) {
            Ok(first) => first,
            Err(what) => return Seen { broken: Some((what, Vec::new())), ..seen },
        };
        let mut frontier =
            Frontier { queue: VecDeque::new(), known: Set::default(), ways: vec![(ROOT, Choice::Wait)] };
        frontier.known.insert(fingerprint(&first));
        frontier.queue.push_back((0, first));
        let (mut level_ends, mut choices) = (1, Vec::new());
        while let Some((number, world)) = frontier.queue.pop_front() {
            if number as usize >= level_ends {
                seen.depth += 1;
                level_ends = frontier.ways.len();
            }
            if let Some(what) = self.wrong(&engine, &world) {
                seen.broken = Some((what, self.tell(&frontier.ways, number, None)));
                break;
            }
            seen.bound = self.reached(&frontier, &seen, began);
            if seen.bound.is_some() {
                break;
            }
            let settled = self.scenario.settled(&engine, &world);
            seen.settled += usize::from(settled);
            if settled && !self.scenario.goes_on() {
                continue;
            }
            world.choices(&engine, settled, &mut choices);
            if choices.is_empty() && !settled {
                seen.broken =
                    Some(("nothing can happen".to_owned(), self.tell(&frontier.ways, number, None)));
                break;
            }
            for choice in &choices {
                let mut next = world.clone();
                seen.steps += 1;
                if let Err(what) = next.take(&mut engine, *choice) {
                    seen.broken = Some((what, self.tell(&frontier.ways, number, Some(*choice))));
                    break;
                }
                if frontier.known.insert(fingerprint(&next)) {
                    let fresh = frontier.ways.len() as u32;
                    frontier.ways.push((number, *choice));
                    frontier.queue.push_back((fresh, next));
                }
            }
            if seen.broken.is_some() {
                break;
            }
        }
        seen.states = frontier.known.len();
        seen.processes = engine.counts();
        seen
    }

    fn wrong(&self, engine: &Engine, world: &World) -> Option<String> {
        let late = world.now.as_micros() > END_OF_TIME.as_micros() as u64;
        let stuck = || late.then(|| format!("{} by the end of time", self.scenario.liveness()));
        self.scenario.safety(engine, world).or_else(stuck)
    }

    fn reached(&self, frontier: &Frontier, seen: &Seen, began: Instant) -> Option<&'static str> {
        let bounds = &self.bounds;
        [
            (frontier.known.len() >= bounds.states, "states"),
            (seen.depth >= bounds.depth, "depth"),
            (seen.steps.is_multiple_of(64) && began.elapsed() >= bounds.time, "time"),
        ]
        .into_iter()
        .find_map(|(reached, bound)| reached.then_some(bound))
    }

    /// The way to a state, and one step more, for people: it is gone again, and each step said.
    fn tell(&self, ways: &[(u32, Choice)], to: u32, last: Option<Choice>) -> Vec<String> {
        let mut back: Vec<Choice> = last.into_iter().collect();
        let mut at = to;
        while at != 0 {
            let (before, choice) = ways[at as usize];
            back.push(choice);
            at = before;
        }
        let mut engine = Engine::new(self.scenario);
        let Ok(mut world) = World::new(&mut engine, self.faults, self.late) else { return Vec::new() };
        let mut lines = Vec::new();
        for choice in back.into_iter().rev() {
            lines.push(world.describe(&engine, choice));
            if world.take(&mut engine, choice).is_err() {
                break;
            }
        }
        lines
    }
}
