//! One deadline a key, found in order: what a part has to do next, without looking at everything it holds.

use crate::time::Instant;
use alloc::collections::{BTreeMap, BTreeSet};
use serde::{Deserialize, Serialize};

/// Deadlines by key. All operations are logarithmic.
#[derive(Clone, Debug, Hash, Serialize, Deserialize)]
#[serde(bound(deserialize = "K: Ord + Deserialize<'de>"))]
pub struct Timers<K> {
    by_time: BTreeSet<(Instant, K)>,
    by_key: BTreeMap<K, Instant>,
}

impl<K: Ord + Clone> Default for Timers<K> {
    fn default() -> Self {
        Self { by_time: BTreeSet::new(), by_key: BTreeMap::new() }
    }
}

impl<K: Ord + Clone> Timers<K> {
    /// No deadlines.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the key's one deadline, in place of the one it had.
    pub fn set(&mut self, key: K, at: Instant) {
        self.clear(&key);
        self.by_time.insert((at, key.clone()));
        self.by_key.insert(key, at);
    }

    /// Removes the key's deadline, if it has one.
    pub fn clear(&mut self, key: &K) {
        if let Some(at) = self.by_key.remove(key) {
            self.by_time.remove(&(at, key.clone()));
        }
    }

    /// The key's deadline.
    pub fn at(&self, key: &K) -> Option<Instant> {
        self.by_key.get(key).copied()
    }

    /// The earliest deadline.
    pub fn next(&self) -> Option<Instant> {
        self.by_time.first().map(|(at, _)| *at)
    }

    /// Takes the earliest key that is due.
    pub fn pop_due(&mut self, now: Instant) -> Option<K> {
        let (at, key) = self.by_time.first().cloned()?;
        if at > now {
            return None;
        }
        self.by_time.pop_first();
        self.by_key.remove(&key);
        Some(key)
    }

    /// How many deadlines there are.
    pub fn len(&self) -> usize {
        self.by_key.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.by_key.is_empty()
    }

    /// Every key with its deadline, in the keys' order.
    pub fn iter(&self) -> impl Iterator<Item = (&K, Instant)> {
        self.by_key.iter().map(|(key, at)| (key, *at))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_has_one_deadline_and_the_earliest_comes_first() {
        let at = Instant::from_micros;
        let mut timers = Timers::new();
        timers.set("a", at(5));
        timers.set("b", at(3));
        timers.set("a", at(1));
        assert_eq!((timers.len(), timers.next()), (2, Some(at(1))));
        assert_eq!(timers.pop_due(at(2)), Some("a"));
        assert_eq!(timers.pop_due(at(2)), None);
        timers.clear(&"b");
        assert!(timers.is_empty() && timers.next().is_none());
    }
}
