//! What a registry may do and keep when hundreds of executors come at once: no more than so much for each of them and each task.
//!
//! | oracle | promise |
//! | --- | --- |
//! | `crowd` | steps of matching, links, connections and rows of its tables grow with nodes and tasks, and not with their product |

use crate::clock::{Micros, SECOND};

/// It is looked at so long after the crowd came.
pub(crate) const LOOKS: [Micros; 5] = [SECOND / 4, SECOND, 3 * SECOND, 6 * SECOND, 10 * SECOND];

/// Steps of matching for each node and each task; three for a task are usual, and none for a node.
const STEPS: u64 = 10;
/// Rows for each node and each task, of all tables together.
const ROWS: usize = 8;
/// Bytes to be sent for each node and each task: a handshake or a few words.
const BYTES: usize = 2 << 10;

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
        let sum = |bytes: bool| -> usize {
            let tables = self.tables.iter().filter(|(name, _)| name.starts_with("bytes") == bytes);
            tables.map(|(_, count)| count).sum()
        };
        let rows = sum(false);
        if sum(true) > BYTES * all {
            return Err(format!("{} bytes to be sent for {}", sum(true), self.whom()));
        }
        if rows > ROWS * all {
            return Err(format!("{rows} rows for {}: {:?}", self.whom(), self.tables));
        }
        Ok(())
    }

    fn whom(&self) -> String {
        format!("{} nodes and {} tasks", self.nodes, self.tasks)
    }
}
