//! What a registry may do and keep when hundreds of executors come at once: no more than so much for each of them and each task.
//!
//! | oracle | promise |
//! | --- | --- |
//! | `crowd` | steps of matching, links, connections and rows of its tables grow with nodes and tasks, and not with their product |

use crate::clock::{Micros, SECOND};

/// So long after the crowd came.
pub(crate) const COME: Micros = 10 * SECOND;

/// Steps of matching for each node and each task.
const STEPS: u64 = 40;
/// Rows for each node and each task, of all tables together.
const ROWS: usize = 8;

/// What a registry did so far, and what it has.
#[derive(Debug)]
pub(crate) struct Load {
    pub(crate) nodes: usize,
    pub(crate) tasks: usize,
    /// As [`Registry::effort`](xxnet_core::registry::Registry::effort).
    pub(crate) effort: u64,
    /// Links, listeners, look-ups, connections.
    pub(crate) census: [usize; 4],
    pub(crate) tables: Vec<(&'static str, usize)>,
}

impl Load {
    /// Whether it is within its bounds.
    pub(crate) fn check(&self) -> Result<(), String> {
        let all = self.nodes + self.tasks;
        let steps = STEPS * all as u64;
        if self.effort > steps {
            return Err(format!("{} steps of matching, of {steps} for {}", self.effort, self.whom()));
        }
        let [links, _, _, connections] = self.census;
        // One that has lost its link is still there beside its next one.
        if links > 3 * self.nodes || connections > 3 * self.nodes + 1 {
            return Err(format!("{links} links and {connections} connections for {}", self.whom()));
        }
        let rows: usize = self.tables.iter().map(|(_, rows)| rows).sum();
        if rows > ROWS * all {
            return Err(format!("{rows} rows for {}: {:?}", self.whom(), self.tables));
        }
        Ok(())
    }

    fn whom(&self) -> String {
        format!("{} nodes and {} tasks", self.nodes, self.tasks)
    }
}
