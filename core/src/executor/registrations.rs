//! The registration connections (the seed's Exe2Reg): one a registry, dialled again for ever.

use crate::backoff::Backoff;
use crate::connection::DisconnectReason;
use crate::message::EndKind;
use crate::states::{Key, RegistrationState, Row};
use crate::timers::Timers;
use crate::{Address, ConnectionId, Instant, TaskId};
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;
use serde::{Deserialize, Serialize};

/// Publishes under way to one registry before it has accepted them.
const WINDOW: usize = 256;

/// Where a registration stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(super) enum Stage {
    /// A pause before the next dial.
    Waiting,
    /// Dialling or shaking hands.
    Dialling,
    /// `Register` is sent.
    Linked,
    /// The registry has us.
    Registered,
}

/// One registry, as we see it.
#[derive(Clone, Debug, Hash, Serialize, Deserialize)]
pub(super) struct Registration {
    pub(super) address: Address,
    pub(super) stage: Stage,
    pub(super) backoff: Backoff,
    /// What was last told about its absence; told again only when it changes.
    pub(super) told: Option<DisconnectReason>,
    /// Tasks it must still be told of since it is registered.
    unpublished: BTreeSet<TaskId>,
    /// Tasks it was told of and has not accepted.
    outstanding: BTreeSet<TaskId>,
    /// Ends that it could not be told of.
    missed: BTreeMap<TaskId, EndKind>,
}

/// Ends that are kept for a registry at most; it finds out about older ones by a refused claim.
const MISSED: usize = 10_000;

/// All registries, by the id of our connection to each.
#[derive(Clone, Debug, Default, Hash, Serialize, Deserialize)]
pub(super) struct Registrations {
    rows: BTreeMap<ConnectionId, Registration>,
    /// Next dial, or next heartbeat.
    pub(super) timers: Timers<ConnectionId>,
}

impl Registrations {
    pub(super) fn add(&mut self, id: ConnectionId, address: Address, backoff: Backoff) {
        let row = Registration {
            address,
            stage: Stage::Waiting,
            backoff,
            told: None,
            unpublished: BTreeSet::new(),
            outstanding: BTreeSet::new(),
            missed: BTreeMap::new(),
        };
        self.rows.insert(id, row);
    }

    pub(super) fn row(&mut self, id: ConnectionId) -> Option<&mut Registration> {
        self.rows.get_mut(&id)
    }

    pub(super) fn ids(&self) -> Vec<ConnectionId> {
        self.rows.keys().copied().collect()
    }

    /// The connections on which we are registered.
    pub(super) fn registered(&self) -> Vec<ConnectionId> {
        self.rows.iter().filter(|(_, row)| row.stage == Stage::Registered).map(|(id, _)| *id).collect()
    }

    /// A registry has us: it is to be told of all these tasks.
    pub(super) fn publish_all(&mut self, id: ConnectionId, tasks: impl Iterator<Item = TaskId>) {
        if let Some(row) = self.rows.get_mut(&id) {
            row.outstanding.clear();
            row.unpublished = tasks.collect();
        }
    }

    /// A new task: every registry is to be told of it.
    pub(super) fn publish(&mut self, task: TaskId) {
        for row in self.rows.values_mut().filter(|row| row.stage == Stage::Registered) {
            row.unpublished.insert(task);
        }
    }

    /// The next task to publish to this registry, within the window.
    pub(super) fn next_to_publish(&mut self, id: ConnectionId) -> Option<TaskId> {
        let row = self.rows.get_mut(&id)?;
        if row.stage != Stage::Registered || row.outstanding.len() >= WINDOW {
            return None;
        }
        let task = row.unpublished.pop_first()?;
        row.outstanding.insert(task);
        Some(task)
    }

    /// The registry has the task. Whether it was waited for.
    pub(super) fn accepted(&mut self, id: ConnectionId, task: TaskId) -> bool {
        self.rows.get_mut(&id).is_some_and(|row| row.outstanding.remove(&task))
    }

    /// The task has ended: a registry that is away is told when it is back.
    pub(super) fn ended(&mut self, task: TaskId, how: EndKind) {
        self.forget(task);
        for row in
            self.rows.values_mut().filter(|row| row.stage != Stage::Registered && row.missed.len() < MISSED)
        {
            row.missed.insert(task, how);
        }
    }

    /// Ends that this registry is to be told of now.
    pub(super) fn missed(&mut self, id: ConnectionId) -> BTreeMap<TaskId, EndKind> {
        self.rows.get_mut(&id).map(|row| core::mem::take(&mut row.missed)).unwrap_or_default()
    }

    /// Nobody needs to be told of this task any more.
    pub(super) fn forget(&mut self, task: TaskId) {
        for row in self.rows.values_mut() {
            row.unpublished.remove(&task);
            row.outstanding.remove(&task);
        }
    }

    /// Where each stands.
    pub(super) fn rows(&self) -> impl Iterator<Item = Row> {
        self.rows.iter().map(|(id, row)| {
            let state = match row.stage {
                Stage::Waiting => RegistrationState::Waiting,
                Stage::Dialling => RegistrationState::Dialling,
                Stage::Linked => RegistrationState::Linked,
                Stage::Registered => RegistrationState::Registered,
            };
            Row::new(Key::Connection(*id), state).on(*id)
        })
    }

    /// For leak checks; all zero once every registry has been told everything.
    pub(super) fn unfinished(&self) -> [(&'static str, usize); 2] {
        let rows = || self.rows.values();
        [
            ("registries that do not have us", rows().filter(|row| row.stage != Stage::Registered).count()),
            (
                "words owed to registries",
                rows().map(|row| row.unpublished.len() + row.outstanding.len() + row.missed.len()).sum(),
            ),
        ]
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        self.timers.next()
    }
}
