//! Blocks that were verified and written, of contents that did not come whole: for the next one who receives the same from the
//! same publisher on this host. Bounded, as on any disk.

use super::tree::TargetTree;
use crate::clock::{Micros, SECOND};
use crate::context::HostId;
use bytes::Bytes;
use std::collections::BTreeMap;
use xxnet_core::disk::{Hash, Origin};

/// Bytes that are kept at most, on each host.
const MOST: usize = 64 << 20;
/// For so long at most.
const LONGEST: Micros = 3600 * SECOND;

/// Which content, and where.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Key {
    pub(super) host: HostId,
    pub(super) origin: Origin,
    pub(super) stream_len: u64,
    pub(super) manifest_len: u64,
}

pub(super) type Blocks = BTreeMap<u64, (Bytes, Hash)>;

#[derive(Debug, Default)]
pub(super) struct KeptBlocks {
    /// With when they were put there.
    contents: BTreeMap<Key, (Micros, Blocks)>,
}

impl KeptBlocks {
    /// A tree is received no more. Of one that is not known by its origin, or is a single block, nothing is kept.
    pub(super) fn put(&mut self, now: Micros, tree: TargetTree) {
        let Some(key) = tree.key.filter(|_| tree.is_of_many_blocks()) else { return };
        let blocks = tree.into_blocks();
        if !blocks.is_empty() {
            self.contents.insert(key, (now, blocks));
        }
        self.forget(now, key.host);
    }

    /// Somebody receives the same again.
    pub(super) fn take(&mut self, now: Micros, key: Key) -> Blocks {
        self.forget(now, key.host);
        self.contents.remove(&key).map(|(_, blocks)| blocks).unwrap_or_default()
    }

    /// What is too old goes, and then the oldest of what is too much.
    fn forget(&mut self, now: Micros, host: HostId) {
        self.contents.retain(|key, (since, _)| key.host != host || now < *since + LONGEST);
        while self.bytes(host) > MOST {
            let of_host = self.contents.iter().filter(|(key, _)| key.host == host);
            let Some(oldest) = of_host.min_by_key(|(_, (since, _))| *since).map(|(key, _)| *key) else {
                break;
            };
            self.contents.remove(&oldest);
        }
    }

    fn bytes(&self, host: HostId) -> usize {
        let of_host = self.contents.iter().filter(|(key, _)| key.host == host);
        of_host.flat_map(|(_, (_, blocks))| blocks.values()).map(|(data, _)| data.len()).sum()
    }

    /// Blocks that are kept on a host.
    pub(super) fn on(&self, host: HostId) -> usize {
        let of_host = self.contents.iter().filter(|(key, _)| key.host == host);
        of_host.map(|(_, (_, blocks))| blocks.len()).sum()
    }

    pub(super) fn tear(&mut self, host: HostId) {
        for (key, (_, blocks)) in &mut self.contents {
            if let Some(mut last) = blocks.last_entry().filter(|_| key.host == host) {
                last.get_mut().0 = Bytes::new();
            }
        }
    }

    pub(super) fn is_within_bounds(&self) -> bool {
        self.contents.keys().all(|key| self.bytes(key.host) <= MOST)
    }
}
