//! What goes on while no registry is there, and what must be well once it is back (ledger R5). Asked only where nothing else has
//! disturbed the run: what is lost then, nobody but the registry's absence can have lost.
//!
//! | oracle | promise |
//! | --- | --- |
//! | `meantime` | a task that an executor has been granted ends while no registry is there: its publisher needs none for that |
//! | `restored` | what waited for a registry has ended within a bound after its return |

use super::Published;
use crate::clock::{Micros, SECOND};
use crate::fault::{Counts, Fault};
use std::collections::BTreeMap;
use xxnet_core::TaskId;

/// After so long without a registry, what had been granted before has ended.
pub(crate) const MEANTIME: Micros = 90 * SECOND;
/// So long after the return, what was open then has ended.
pub(crate) const RETURNED: Micros = 400 * SECOND;

/// Faults that lose nothing and hold nothing up for long.
const HARMLESS: [Fault; 9] = [
    Fault::OddPieces,
    Fault::SmallWindow,
    Fault::SlowDisk,
    Fault::FolderStays,
    Fault::SlowApplication,
    Fault::DoubledCommand,
    Fault::SpuriousTick,
    Fault::Replay,
    Fault::Cancel,
];

/// What was open when the registries went, and when they came back.
#[derive(Debug, Default)]
pub(crate) struct Outage {
    granted: Vec<TaskId>,
    waiting: Vec<TaskId>,
    /// How often it was asked.
    pub(crate) asked: u64,
}

impl Outage {
    /// They are gone now.
    pub(crate) fn begins(&mut self, tasks: &BTreeMap<TaskId, Published>) {
        let held = tasks.iter().filter(|(_, task)| task.granted.is_some() && task.ended.is_none());
        self.granted = held.map(|(id, _)| *id).collect();
    }

    /// They are back.
    pub(crate) fn ends(&mut self, tasks: &BTreeMap<TaskId, Published>) {
        self.waiting = tasks.iter().filter(|(_, task)| task.ended.is_none()).map(|(id, _)| *id).collect();
    }

    /// What was granted when they went has ended by now.
    pub(crate) fn meantime(
        &mut self,
        tasks: &BTreeMap<TaskId, Published>,
        counts: &Counts,
    ) -> Result<(), String> {
        let open = self.open_of(&self.granted.clone(), tasks, counts);
        if open.is_empty() {
            return Ok(());
        }
        Err(format!(
            "{} s without a registry, and these, granted before, have not ended: {open:?}",
            MEANTIME / SECOND
        ))
    }

    /// What waited for their return has ended by now.
    pub(crate) fn restored(
        &mut self,
        tasks: &BTreeMap<TaskId, Published>,
        counts: &Counts,
    ) -> Result<(), String> {
        let open = self.open_of(&self.waiting.clone(), tasks, counts);
        if open.is_empty() {
            return Ok(());
        }
        Err(format!("{} s after the registry's return these have not ended: {open:?}", RETURNED / SECOND))
    }

    fn open_of(
        &mut self,
        these: &[TaskId],
        tasks: &BTreeMap<TaskId, Published>,
        counts: &Counts,
    ) -> Vec<TaskId> {
        let harmless: u64 = HARMLESS.iter().map(|kind| counts.of(*kind)).sum();
        if counts.total() > harmless {
            return Vec::new();
        }
        self.asked += these.len() as u64;
        let open = |id: &&TaskId| tasks.get(*id).is_some_and(|task| task.ended.is_none());
        these.iter().filter(open).copied().collect()
    }
}
