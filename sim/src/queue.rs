//! What will happen, in order of time, and what was put in first at one moment first.
//!
//! A radix heap (Ahuja, Mehlhorn, Orlin, Tarjan 1990): time only goes on, so an entry is kept by the highest bit in which its
//! time differs from that of the last one, and comes nearer bit by bit. All entries of one time are always in one bucket,
//! which keeps their order.

use crate::clock::Micros;
use std::collections::VecDeque;

/// A number of buckets that no time outgrows.
const BUCKETS: usize = Micros::BITS as usize;

/// Things that happen at their times.
#[derive(Debug)]
pub(crate) struct Queue<T> {
    /// The time of the last one that was taken: nothing may be put in before it.
    last: Micros,
    /// What happens at that time, by its slot.
    now: VecDeque<u32>,
    /// Bucket `n`: what differs from that time in bit `n` and in none above.
    buckets: [Vec<(Micros, u32)>; BUCKETS],
    /// Which buckets are not empty, a bit each.
    filled: u64,
    slots: Vec<Option<T>>,
    free: Vec<u32>,
}

impl<T> Default for Queue<T> {
    fn default() -> Self {
        Self {
            last: 0,
            now: VecDeque::new(),
            buckets: [const { Vec::new() }; BUCKETS],
            filled: 0,
            slots: Vec::new(),
            free: Vec::new(),
        }
    }
}

impl<T> Queue<T> {
    /// Puts something in; what is late happens next.
    pub(crate) fn put(&mut self, time: Micros, thing: T) {
        let slot = match self.free.pop() {
            Some(slot) => {
                self.slots[slot as usize] = Some(thing);
                slot
            }
            None => {
                self.slots.push(Some(thing));
                self.slots.len() as u32 - 1
            }
        };
        self.file(time.max(self.last), slot);
    }

    /// Takes the next one, if it happens by `limit`, and its time.
    pub(crate) fn take(&mut self, limit: Micros) -> Option<(Micros, T)> {
        if self.now.is_empty() {
            self.advance(limit)?;
        } else if self.last > limit {
            return None;
        }
        let slot = self.now.pop_front()?;
        self.free.push(slot);
        let thing = self.slots[slot as usize].take()?;
        Some((self.last, thing))
    }

    fn file(&mut self, time: Micros, slot: u32) {
        match (time ^ self.last).checked_ilog2() {
            None => self.now.push_back(slot),
            Some(bit) => {
                self.filled |= 1 << bit;
                self.buckets[bit as usize].push((time, slot));
            }
        }
    }

    /// Goes on to the next time at which something happens: the least of the nearest bucket.
    fn advance(&mut self, limit: Micros) -> Option<()> {
        let nearest = self.filled.trailing_zeros() as usize;
        let bucket = self.buckets.get_mut(nearest)?;
        let time = bucket.iter().map(|(time, _)| *time).min().filter(|time| *time <= limit)?;
        let mut nearer = core::mem::take(bucket);
        self.filled &= !(1 << nearest);
        self.last = time;
        nearer.drain(..).for_each(|(time, slot)| self.file(time, slot));
        // Nothing has gone back into it; its memory is of use again.
        self.buckets[nearest] = nearer;
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    proptest! {
        /// As an ordered map of time and number does it.
        #[test]
        fn things_happen_in_order_of_time_and_then_of_putting_in(
            puts in prop::collection::vec((0..60u32, any::<u64>(), 0..4usize), 1..300),
        ) {
            let (mut queue, mut model) = (Queue::default(), BTreeMap::new());
            let mut last = 0;
            for (number, (bits, word, takes)) in puts.into_iter().enumerate() {
                // Delays of every size, many of them the same.
                let time = last + (word & ((1 << bits) - 1));
                queue.put(time, number);
                model.insert((time, number), number);
                for _ in 0..takes {
                    let limit = last + (word >> (64 - bits.max(1)));
                    let first = model.first_key_value().map(|(key, _)| *key).filter(|(at, _)| *at <= limit);
                    prop_assert_eq!(queue.take(limit), first);
                    if let Some(key) = first {
                        model.remove(&key);
                        last = key.0;
                    }
                }
            }
            while let Some(((time, _), number)) = model.pop_first() {
                prop_assert_eq!(queue.take(u64::MAX), Some((time, number)));
            }
            prop_assert_eq!(queue.take(u64::MAX), None);
        }
    }

    #[test]
    fn what_is_late_happens_next() {
        let mut queue = Queue::default();
        queue.put(500, "later");
        queue.put(100, "first");
        assert_eq!(queue.take(1000), Some((100, "first")));
        queue.put(20, "late");
        assert_eq!(queue.take(1000), Some((100, "late")));
        assert_eq!(queue.take(499), None);
        assert_eq!(queue.take(500), Some((500, "later")));
    }
}
