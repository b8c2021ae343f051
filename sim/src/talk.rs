//! What nodes that have nothing but messages talk about: a plan says it, a seed draws it.

use crate::choices::Choices;
use crate::clock::{MILLI, Micros, SECOND};
use crate::fault::Swarm;
use crate::plan::Nodes;
use core::fmt;
use serde::{Deserialize, Serialize};

/// What they talk about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Talk {
    /// Rooms, each a list of nodes: what one says in a room goes to all others there.
    Chat(Vec<Vec<usize>>),
    /// The first node sends the second messages of up to so many bytes, and all send each other small ones.
    Bulk(usize),
    /// Everybody sends to everybody, and takes a message or a few each time that so many microseconds are over.
    SlowReaders(Micros),
}

/// A bulk message at most, so that it fits with its number.
const LARGEST: usize = (4 << 20) - 64;
/// Members of a room at most.
const MOST: u64 = 24;

impl Talk {
    /// A few rooms with two to dozens of members, some of whom are in several.
    pub(crate) fn draw_chat(choices: &mut Choices) -> Nodes {
        let nodes = choices.scaled(3, MOST) as usize;
        let mut rooms = vec![(0..nodes).collect::<Vec<usize>>()];
        for _ in 0..choices.below(4) {
            let mut room: Vec<usize> = (0..nodes).filter(|_| choices.chance(500)).collect();
            if room.len() < 2 {
                room = vec![0, 1];
            }
            rooms.push(room);
        }
        // Not everybody is in one room in each run.
        if rooms.len() > 2 {
            rooms.remove(0);
        }
        let horizon = choices.between(3, 10) * SECOND;
        Self::Chat(rooms).among(nodes, horizon, choices)
    }

    /// A pair that moves bulk, and some others.
    pub(crate) fn draw_bulk(choices: &mut Choices) -> Nodes {
        let nodes = choices.between(2, 4) as usize;
        let largest = *choices.pick(&[LARGEST, 64 << 10, 1 << 20]);
        let horizon = choices.between(8, 15) * SECOND;
        let mut all = Self::Bulk(largest).among(nodes, horizon, choices);
        // How long a message takes is promised where nothing is broken.
        if choices.chance(600) {
            all.swarm = Swarm::none();
        }
        all
    }

    /// A handful that nobody can make read faster.
    pub(crate) fn draw_slow_readers(choices: &mut Choices) -> Nodes {
        let nodes = choices.between(2, 6) as usize;
        let horizon = choices.between(10, 30) * SECOND;
        let pause = choices.scaled(20 * MILLI, 5 * SECOND);
        Self::SlowReaders(pause).among(nodes, horizon, choices)
    }

    fn among(self, nodes: usize, horizon_us: Micros, choices: &mut Choices) -> Nodes {
        Nodes {
            nodes,
            horizon_us,
            together: choices.chance(500),
            acts: None,
            talk: Some(self),
            swarm: Swarm::draw(choices),
        }
    }

    /// A room less, a member less, half the bulk: whether there is something to leave out.
    pub(crate) fn plainer(&mut self) -> bool {
        match self {
            Self::Chat(rooms) if rooms.len() > 1 => rooms.pop().is_some(),
            Self::Chat(rooms) => rooms.first_mut().filter(|room| room.len() > 2).and_then(Vec::pop).is_some(),
            Self::Bulk(largest) if *largest > 1 => {
                *largest /= 2;
                true
            }
            Self::Bulk(_) | Self::SlowReaders(_) => false,
        }
    }

    /// Whether so many nodes can talk so.
    pub(crate) fn check(&self, nodes: usize) -> Result<(), String> {
        match self {
            Self::Chat(rooms) => {
                if let Some(member) = rooms.iter().flatten().find(|member| **member >= nodes) {
                    return Err(format!("node {member} is in a room, and there are {nodes} nodes"));
                }
                let small =
                    rooms.iter().any(|room| room.iter().collect::<std::collections::BTreeSet<_>>().len() < 2);
                if small || rooms.is_empty() {
                    return Err("a chat needs rooms, and a room two members".to_owned());
                }
                Ok(())
            }
            Self::Bulk(largest) if (1..=LARGEST).contains(largest) => Ok(()),
            Self::Bulk(largest) => Err(format!("bulk is {largest}; it must be from 1 to {LARGEST}")),
            Self::SlowReaders(pause) if *pause > 0 => Ok(()),
            Self::SlowReaders(_) => Err("slow readers need a pause".to_owned()),
        }
    }
}

impl fmt::Display for Talk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Chat(rooms) => write!(f, "they chat in rooms {rooms:?}"),
            Self::Bulk(largest) => {
                write!(f, "node-0 sends node-1 up to {largest} bytes at once, and all send small messages")
            }
            Self::SlowReaders(pause) => {
                write!(f, "all send to all, and each takes a few messages every {} ms", pause / MILLI)
            }
        }
    }
}
