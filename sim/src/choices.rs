//! The one source of decisions of a simulated run.
//!
//! Everything that could have gone another way is drawn here: delays, orders, faults, workloads. A draw belongs to a [`Place`]
//! (a process, a connection, a disk), and the draws of one place do not shift those of another: taking one fault out of a run
//! leaves the rest where it was, unless it follows from that fault.
//!
//! Four drivers make the draws: [`Seeded`] hashes seed, place and number; [`Recorded`] repeats what was drawn; [`Bytes`] is
//! led by a fuzzer; [`Odometer`] counts through all of them. A draw of 0 is always the plainest (no fault, the shortest
//! delay), so a driver that has run out of material gives a run without surprises.

use core::fmt;
use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Where a draw belongs: the hash of a logical name that is the same in every run in which the thing exists.
#[derive(Clone, Copy, Debug)]
pub struct Place {
    hash: u64,
    /// Where its draws are counted, if it was [noted](Choices::note).
    row: u32,
}

/// Nobody has looked yet where a place's draws are counted.
const UNKNOWN: u32 = u32::MAX;

impl Place {
    /// By name.
    pub const fn of(name: &str) -> Self {
        let (mut hash, mut at) = (0xcbf2_9ce4_8422_2325_u64, 0);
        while at < name.len() {
            hash = (hash ^ name.as_bytes()[at] as u64).wrapping_mul(0x0100_0000_01b3);
            at += 1;
        }
        Self { hash: mix(hash), row: UNKNOWN }
    }

    /// A place within this one.
    #[must_use]
    pub fn within(self, part: u64) -> Self {
        Self { hash: mix(self.hash ^ mix(part.wrapping_add(GAMMA))), row: UNKNOWN }
    }

    /// As a key of a table.
    pub const fn key(self) -> u64 {
        self.hash
    }
}

/// Makes draws.
pub trait Driver {
    /// One of `0..bound`, for the draw number `nth` of a place; `bound` is at least 1.
    fn draw(&mut self, place: Place, nth: u64, bound: u64) -> u64;
}

const GAMMA: u64 = 0x9e37_79b9_7f4a_7c15;

/// The finalizer of SplitMix64 (Steele, Lea, Flood 2014; variant 13 of Stafford).
const fn mix(mut word: u64) -> u64 {
    word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ (word >> 31)
}

/// A word onto `0..bound` by multiply-shift: a bias of at most bound / 2^64.
fn scale(word: u64, bound: u64) -> u64 {
    ((u128::from(word) * u128::from(bound)) >> 64) as u64
}

/// Each draw is a hash of seed, place and number: the same on every machine.
#[derive(Clone, Copy, Debug)]
pub struct Seeded(u64);

impl Seeded {
    /// The draws of a seed.
    pub fn new(seed: u64) -> Self {
        Self(mix(seed.wrapping_add(GAMMA)))
    }
}

impl Driver for Seeded {
    fn draw(&mut self, place: Place, nth: u64, bound: u64) -> u64 {
        let stream = mix(self.0 ^ place.hash);
        scale(mix(stream.wrapping_add(nth.wrapping_mul(GAMMA))), bound)
    }
}

/// A fuzzer's bytes, as few for a draw as its bound needs; none left means 0.
#[derive(Clone, Debug)]
pub struct Bytes {
    bytes: Vec<u8>,
    at: usize,
}

impl Bytes {
    /// In their order.
    pub fn new(bytes: impl Into<Vec<u8>>) -> Self {
        Self { bytes: bytes.into(), at: 0 }
    }
}

impl Driver for Bytes {
    fn draw(&mut self, _: Place, _: u64, bound: u64) -> u64 {
        let needed = (u64::BITS - (bound - 1).leading_zeros()).div_ceil(8) as usize;
        let begin = self.at.min(self.bytes.len());
        let end = (begin + needed).min(self.bytes.len());
        self.at = end;
        self.bytes[begin..end].iter().fold(0, |word, byte| word << 8 | u64::from(*byte)) % bound
    }
}

/// Repeats draws in their order, whatever their places; none left means 0.
#[derive(Clone, Debug)]
pub struct Recorded {
    values: Vec<u64>,
    at: usize,
}

impl Recorded {
    /// These.
    pub fn new(values: impl Into<Vec<u64>>) -> Self {
        Self { values: values.into(), at: 0 }
    }
}

impl Driver for Recorded {
    fn draw(&mut self, _: Place, _: u64, bound: u64) -> u64 {
        let value = self.values.get(self.at).copied().unwrap_or(0);
        self.at += 1;
        // A recording that was made smaller may ask for more than there is.
        value.min(bound - 1)
    }
}

/// Counts through every sequence of draws, the last one fastest: run, [`step`](Self::step), run again, until that says `false`.
/// Clones share one count: one of them drives, another steps.
#[derive(Clone, Debug, Default)]
pub struct Odometer(Arc<Mutex<Wheels>>);

#[derive(Debug, Default)]
struct Wheels {
    /// What was drawn, and how many there were to draw from.
    digits: Vec<(u64, u64)>,
    at: usize,
}

impl Odometer {
    /// Sets it to the next sequence; `false` if the last one was the last of all.
    pub fn step(&self) -> bool {
        let mut wheels = self.wheels();
        let used = core::mem::take(&mut wheels.at);
        wheels.digits.truncate(used);
        while let Some((value, bound)) = wheels.digits.pop() {
            if value + 1 < bound {
                wheels.digits.push((value + 1, bound));
                return true;
            }
        }
        false
    }

    /// The draws of this sequence so far, for a [`Recorded`] run of it.
    pub fn sequence(&self) -> Vec<u64> {
        let wheels = self.wheels();
        wheels.digits[..wheels.at].iter().map(|(value, _)| *value).collect()
    }

    fn wheels(&self) -> MutexGuard<'_, Wheels> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Driver for Odometer {
    fn draw(&mut self, _: Place, _: u64, bound: u64) -> u64 {
        let mut wheels = self.wheels();
        let at = wheels.at;
        wheels.at += 1;
        if at == wheels.digits.len() {
            wheels.digits.push((0, bound));
        }
        wheels.digits[at].0.min(bound - 1)
    }
}

/// Keys are hashes already.
#[derive(Clone, Copy, Debug, Default)]
struct Plain(u64);

impl Hasher for Plain {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.0 = self.0 << 8 | u64::from(*byte));
    }

    fn write_u64(&mut self, word: u64) {
        self.0 = word;
    }
}

/// How many draws each place has had.
#[derive(Debug, Default)]
struct Counters {
    /// Never walked through, so its order decides nothing.
    rows: HashMap<u64, u32, BuildHasherDefault<Plain>>,
    counts: Vec<u64>,
}

impl Counters {
    /// The row of a place.
    fn row(&mut self, place: Place) -> usize {
        if place.row != UNKNOWN {
            return place.row as usize;
        }
        let new = self.counts.len();
        let row = *self.rows.entry(place.hash).or_insert(new as u32) as usize;
        if row == new {
            self.counts.push(0);
        }
        row
    }
}

/// Choices in the shapes that a world needs them in.
pub struct Choices {
    driver: Box<dyn Driver + Send>,
    counters: Counters,
    place: Place,
    /// Its row.
    row: usize,
}

impl fmt::Debug for Choices {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Choices")
            .field("place", &self.place)
            .field("nth", &self.counters.counts[self.row])
            .finish_non_exhaustive()
    }
}

impl Choices {
    /// From a seed; its first place has this name.
    pub fn seeded(seed: u64, name: &str) -> Self {
        Self::new(Seeded::new(seed), name)
    }

    /// From any driver; its first place has this name.
    pub fn new(driver: impl Driver + Send + 'static, name: &str) -> Self {
        let (mut counters, place) = (Counters::default(), Place::of(name));
        let row = counters.row(place);
        Self { driver: Box::new(driver), counters, place, row }
    }

    /// From now on, draws belong to another place. Answers the one before.
    pub fn enter(&mut self, place: Place) -> Place {
        let before = self.place;
        if place.hash != before.hash {
            (self.place, self.row) = (place, self.counters.row(place));
        }
        before
    }

    /// Draws at a place of its own, which shifts nothing here.
    pub(crate) fn aside<T>(&mut self, name: &str, draw: impl FnOnce(&mut Self) -> T) -> T {
        let here = self.enter(self.place.within(Place::of(name).key()));
        let drawn = draw(self);
        self.enter(here);
        drawn
    }

    /// A place that is entered often: from now on without a look into a table. Of these choices alone.
    #[must_use]
    pub fn note(&mut self, place: Place) -> Place {
        Place { row: self.counters.row(place) as u32, ..place }
    }

    /// Where draws belong now.
    pub fn place(&self) -> Place {
        self.place
    }

    /// The number of this visit to a place that only counts, from 1.
    pub fn visit(&mut self, place: Place) -> u64 {
        let row = self.counters.row(place);
        self.counters.counts[row] += 1;
        self.counters.counts[row]
    }

    /// One of `0..bound`; 0 if there is no choice.
    pub fn below(&mut self, bound: u64) -> u64 {
        if bound <= 1 {
            return 0;
        }
        let nth = &mut self.counters.counts[self.row];
        *nth += 1;
        self.driver.draw(self.place, *nth, bound)
    }

    /// One of `low..=high`; the plainest is `low`.
    pub fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.below(high.saturating_sub(low).saturating_add(1))
    }

    /// True `per_mille` times in a thousand; the plainest is false.
    pub fn chance(&mut self, per_mille: u64) -> bool {
        per_mille > 0 && self.below(1000) >= 1000 - per_mille.min(1000)
    }

    /// The same, as the one draw of a place of its own.
    pub fn chance_at(&mut self, place: Place, per_mille: u64) -> bool {
        self.driver.draw(place, 1, 1000) >= 1000 - per_mille.min(1000)
    }

    /// One of a list that is not empty; the plainest is the first.
    pub fn pick<'b, T>(&mut self, list: &'b [T]) -> &'b T {
        let at = self.below(list.len() as u64) as usize;
        &list[at]
    }

    /// Between `low` and `high`, small values as likely as large ones: each power of two has the same weight.
    pub fn scaled(&mut self, low: u64, high: u64) -> u64 {
        let low = low.max(1);
        let span = (high.max(low) / low).ilog2();
        let base = low << self.below(u64::from(span) + 1);
        self.between(base, (base * 2).min(high.max(base)))
    }

    /// A word, for seeds of things inside.
    pub fn word(&mut self) -> u64 {
        self.below(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn six(choices: &mut Choices) -> Vec<u64> {
        (0..6).map(|_| choices.below(1000)).collect()
    }

    #[test]
    fn x1_golden_values_of_the_seeded_driver() {
        let mut choices = Choices::seeded(42, "here");
        let first = six(&mut choices);
        choices.enter(Place::of("there"));
        let second = six(&mut choices);
        assert_eq!((first, second), (GOLDEN_HERE.to_vec(), GOLDEN_THERE.to_vec()));
    }

    const GOLDEN_HERE: [u64; 6] = [925, 618, 221, 252, 303, 947];
    const GOLDEN_THERE: [u64; 6] = [476, 192, 823, 946, 475, 565];

    #[test]
    fn a_draw_more_in_one_place_shifts_no_other() {
        let (here, there) = (Place::of("here"), Place::of("there"));
        let mut one = Choices::seeded(7, "here");
        let mut other = Choices::seeded(7, "here");
        let _ = (one.below(9), one.below(9));
        let _ = other.below(9);
        one.enter(there);
        other.enter(there);
        assert_eq!(six(&mut one), six(&mut other));
        one.enter(here);
        other.enter(here);
        let _ = other.below(9);
        assert_eq!(six(&mut one), six(&mut other));
    }

    #[test]
    fn drivers_without_material_are_plain() {
        for mut choices in [Choices::new(Bytes::new([]), ""), Choices::new(Recorded::new([]), "")] {
            assert!(!choices.chance(999));
            assert_eq!(choices.between(3, 9), 3);
            assert_eq!(*choices.pick(&["plain", "odd"]), "plain");
            assert_eq!(choices.scaled(16, 4096), 16);
        }
    }

    #[test]
    fn golden_values_of_bytes_and_of_a_recording() {
        let mut bytes = Choices::new(Bytes::new([7, 1, 2, 255]), "");
        assert_eq!([bytes.below(5), bytes.below(1000), bytes.below(256), bytes.below(9)], [2, 258, 255, 0]);
        let mut recorded = Choices::new(Recorded::new([3, 8, 500]), "");
        assert_eq!([recorded.below(5), recorded.below(5), recorded.below(1000)], [3, 4, 500]);
    }

    #[test]
    fn an_odometer_counts_through_all() {
        let odometer = Odometer::default();
        let mut all = Vec::new();
        loop {
            let mut choices = Choices::new(odometer.clone(), "");
            // The second draw depends on the first.
            let first = choices.below(3);
            let second = if first == 1 { choices.below(2) } else { 9 };
            all.push((first, second));
            let mut again = Choices::new(Recorded::new(odometer.sequence()), "");
            assert_eq!(again.below(3), first);
            if !odometer.step() {
                break;
            }
        }
        assert_eq!(all, [(0, 9), (1, 0), (1, 1), (2, 9)]);
    }

    #[test]
    fn ranges_hold() {
        let mut choices = Choices::seeded(7, "");
        for _ in 0..2000 {
            assert!((5..=9).contains(&choices.between(5, 9)));
            assert!((16..=5000).contains(&choices.scaled(16, 5000)));
            assert!(choices.below(3) < 3);
        }
        let hits = (0..10_000).filter(|_| choices.chance(100)).count();
        assert!((800..1200).contains(&hits), "{hits}");
    }
}
