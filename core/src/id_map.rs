//! What is kept by an id that was counted up: in order, and close together in memory.

use alloc::boxed::Box;
use alloc::vec::Vec;
use serde::{Deserialize, Serialize};

/// An id that a counter gave.
pub(crate) trait Counted: Copy + Ord {
    /// Its number.
    fn number(self) -> u64;
}

/// Values by id, oldest first. A new id nearly always comes last, and is found where it would be if none between the oldest
/// and it were gone: mostly at once, else by halves. To remove one moves those behind it, sixteen bytes each; the values,
/// boxed, stay where they are.
#[derive(Clone, Debug, Hash, Serialize, Deserialize)]
pub(crate) struct IdMap<K, V>(Vec<(K, Box<V>)>);

impl<K, V> Default for IdMap<K, V> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<K: Counted, V> IdMap<K, V> {
    /// Nothing.
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// Where it is, or would be put.
    fn place(&self, id: K) -> Result<usize, usize> {
        let Some((first, _)) = self.0.first() else { return Err(0) };
        // Ids grow by one at the least from each to the next: it cannot be further back than this.
        let furthest = id.number().saturating_sub(first.number());
        let furthest = usize::try_from(furthest).unwrap_or(usize::MAX).min(self.0.len() - 1);
        if self.0[furthest].0 == id {
            return Ok(furthest);
        }
        self.0[..=furthest].binary_search_by(|(own, _)| own.cmp(&id))
    }

    pub(crate) fn get(&self, id: &K) -> Option<&V> {
        self.place(*id).ok().map(|at| &*self.0[at].1)
    }

    pub(crate) fn get_mut(&mut self, id: &K) -> Option<&mut V> {
        self.place(*id).ok().map(|at| &mut *self.0[at].1)
    }

    pub(crate) fn contains_key(&self, id: &K) -> bool {
        self.place(*id).is_ok()
    }

    /// Puts a value in; answers the one that was there.
    pub(crate) fn insert(&mut self, id: K, value: V) -> Option<V> {
        let value = Box::new(value);
        match self.place(id) {
            Ok(at) => Some(*core::mem::replace(&mut self.0[at].1, value)),
            Err(at) => {
                self.0.insert(at, (id, value));
                None
            }
        }
    }

    /// Takes a value out.
    pub(crate) fn remove(&mut self, id: &K) -> Option<V> {
        let at = self.place(*id).ok()?;
        let (_, value) = self.0.remove(at);
        // Memory goes back once three quarters of it are of no use.
        if self.0.len() < self.0.capacity() / 4 {
            self.0.shrink_to(self.0.capacity() / 2);
        }
        Some(*value)
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// All of them, oldest first, and the map is no more.
    pub(crate) fn into_all(self) -> impl Iterator<Item = (K, V)> {
        self.0.into_iter().map(|(id, value)| (id, *value))
    }

    /// All of them, oldest first.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (K, &V)> {
        self.0.iter().map(|(id, value)| (*id, &**value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::LinkId;
    use alloc::collections::BTreeMap;

    impl Counted for u64 {
        fn number(self) -> u64 {
            self
        }
    }

    #[test]
    fn it_is_a_map_in_order_whatever_is_put_in_and_taken_out() {
        let (mut map, mut model) = (IdMap::new(), BTreeMap::new());
        // A small generator: ids come in order, out of order and twice, and leave anywhere.
        let mut state = 7_u64;
        for step in 0..20_000_u64 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let near = (state >> 33) % 40;
            let id = step / 8 + near;
            if state >> 63 == 0 {
                assert_eq!(map.insert(id, step), model.insert(id, step));
            } else {
                assert_eq!(map.remove(&id), model.remove(&id));
            }
            // As a client that stays while others come and go: the oldest is far behind.
            if step % 1_000 != 0 && model.len() > 30 {
                let oldest = *model.keys().nth(1).unwrap();
                assert_eq!(map.remove(&oldest), model.remove(&oldest));
            }
            assert_eq!((map.get(&id), map.contains_key(&id)), (model.get(&id), model.contains_key(&id)));
            assert!(map.get(&(id + 1_000)).is_none());
            assert_eq!((map.len(), map.is_empty()), (model.len(), model.is_empty()));
            assert!(map.iter().eq(model.iter().map(|(id, value)| (*id, value))));
        }
    }

    #[test]
    fn an_id_before_the_first_or_far_behind_the_last_is_not_there() {
        let mut map = IdMap::new();
        assert!(map.get(&LinkId(1)).is_none() && map.remove(&LinkId(1)).is_none());
        map.insert(LinkId(5), "five");
        assert!(map.get(&LinkId(1)).is_none() && map.get(&LinkId(u64::MAX)).is_none());
        map.insert(LinkId(2), "two");
        *map.get_mut(&LinkId(5)).unwrap() = "FIVE";
        assert!(map.iter().eq([(LinkId(2), &"two"), (LinkId(5), &"FIVE")]));
    }

    #[test]
    fn memory_goes_back() {
        let mut map = IdMap::new();
        for id in 0..10_000_u64 {
            map.insert(id, ());
        }
        for id in 0..9_990 {
            map.remove(&id);
        }
        assert!(map.0.capacity() < 100, "{}", map.0.capacity());
    }
}
