//! What publishers were told about why their tasks wait (ledger T4).
//!
//! Only the first [`TOLD`] open tasks of each publisher are told of, so that one member more or less does not send a message a
//! waiting task; the others wait behind them for the same or a better reason.

use crate::message::WaitReason;
use crate::{InstanceId, TaskId};
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;
use serde::{Deserialize, Serialize};

/// Open tasks of one publisher that it is told of at most.
pub(super) const TOLD: usize = 8;

/// What each publisher was told last, and who has to be looked at again.
#[derive(Clone, Debug, Default, Hash, Serialize, Deserialize)]
pub(super) struct Waits {
    told: BTreeMap<InstanceId, Vec<(TaskId, WaitReason)>>,
    dirty: BTreeSet<InstanceId>,
}

impl Waits {
    /// Something about this publisher's tasks has changed.
    pub(super) fn touch(&mut self, publisher: InstanceId) {
        self.dirty.insert(publisher);
    }

    /// Takes the next publisher to look at.
    pub(super) fn next(&mut self) -> Option<InstanceId> {
        self.dirty.pop_first()
    }

    /// The publisher's first open tasks and why they wait; what it has to be told of that.
    pub(super) fn update(
        &mut self,
        publisher: InstanceId,
        current: Vec<(TaskId, WaitReason)>,
    ) -> Vec<(TaskId, WaitReason)> {
        let told = self.told.get(&publisher).map(Vec::as_slice).unwrap_or_default();
        let news = current.iter().filter(|entry| !told.contains(entry)).copied().collect();
        if current.is_empty() {
            self.told.remove(&publisher);
        } else {
            self.told.insert(publisher, current);
        }
        news
    }

    /// The publisher is gone, or knows nothing any more.
    pub(super) fn forget(&mut self, publisher: InstanceId) {
        self.told.remove(&publisher);
    }

    /// What the publisher believes.
    pub(super) fn told(&self, publisher: InstanceId) -> &[(TaskId, WaitReason)] {
        self.told.get(&publisher).map(Vec::as_slice).unwrap_or_default()
    }

    /// Publishers that believe something, or are to be looked at.
    pub(super) fn len(&self) -> usize {
        self.told.len() + self.dirty.len()
    }

    pub(super) fn is_settled(&self) -> bool {
        self.dirty.is_empty()
    }
}
