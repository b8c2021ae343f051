//! The one source of decisions of a simulated run.
//!
//! Everything that could have gone another way is drawn here: delays, orders, faults, workloads. A choice of 0 is always the
//! plainest one (no fault, the shortest delay), so a driver that has run out of material gives a run without surprises.
//! Today there is one driver, a seed; a fuzzer's bytes, a recording and an odometer fit the same door.

use rand::rngs::ChaCha8Rng;
use rand::{Rng as _, SeedableRng as _};

/// Where choices come from.
pub trait Driver {
    /// One of `0..bound`; `bound` is at least 1.
    fn draw(&mut self, bound: u64) -> u64;
}

/// A named portable generator: the same seed gives the same run on every machine.
#[derive(Debug)]
pub struct Seeded(ChaCha8Rng);

impl Seeded {
    /// The stream of a seed. `label` keeps the streams of one seed apart, so that a draw more in one of them does not shift
    /// the others.
    pub fn new(seed: u64, label: u64) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        rng.set_stream(label);
        Self(rng)
    }
}

impl Driver for Seeded {
    fn draw(&mut self, bound: u64) -> u64 {
        // Multiply-shift: a bias of at most bound / 2^64, and one word a draw whatever the bound.
        ((u128::from(self.0.next_u64()) * u128::from(bound)) >> 64) as u64
    }
}

/// Choices in the shapes that a world needs them in.
pub struct Choices {
    driver: Box<dyn Driver + Send>,
}

impl core::fmt::Debug for Choices {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Choices(..)")
    }
}

impl Choices {
    /// From a seed.
    pub fn seeded(seed: u64, label: u64) -> Self {
        Self { driver: Box::new(Seeded::new(seed, label)) }
    }

    /// From any driver.
    pub fn new(driver: impl Driver + Send + 'static) -> Self {
        Self { driver: Box::new(driver) }
    }

    /// One of `0..bound`; 0 if there is no choice.
    pub fn below(&mut self, bound: u64) -> u64 {
        if bound <= 1 { 0 } else { self.driver.draw(bound) }
    }

    /// One of `low..=high`; the plainest is `low`.
    pub fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.below(high.saturating_sub(low) + 1)
    }

    /// True `per_mille` times in a thousand; the plainest is false.
    pub fn chance(&mut self, per_mille: u64) -> bool {
        per_mille > 0 && self.below(1000) >= 1000 - per_mille.min(1000)
    }

    /// One of a list that is not empty; the plainest is the first.
    pub fn pick<'a, T>(&mut self, list: &'a [T]) -> &'a T {
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
        self.driver.draw(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn x1_golden_values_of_the_seeded_driver() {
        let mut choices = Choices::seeded(42, 0);
        let first: Vec<u64> = (0..6).map(|_| choices.below(1000)).collect();
        let mut other = Choices::seeded(42, 1);
        let second: Vec<u64> = (0..6).map(|_| other.below(1000)).collect();
        assert_eq!((first, second), (GOLDEN_0.to_vec(), GOLDEN_1.to_vec()));
    }

    const GOLDEN_0: [u64; 6] = [681, 950, 427, 627, 288, 149];
    const GOLDEN_1: [u64; 6] = [716, 166, 482, 846, 66, 773];

    #[test]
    fn a_driver_without_material_is_plain() {
        struct Plain;
        impl Driver for Plain {
            fn draw(&mut self, _: u64) -> u64 {
                0
            }
        }
        let mut choices = Choices::new(Plain);
        assert!(!choices.chance(999));
        assert_eq!(choices.between(3, 9), 3);
        assert_eq!(*choices.pick(&["plain", "odd"]), "plain");
        assert_eq!(choices.scaled(16, 4096), 16);
    }

    #[test]
    fn ranges_hold() {
        let mut choices = Choices::seeded(7, 0);
        for _ in 0..2000 {
            assert!((5..=9).contains(&choices.between(5, 9)));
            assert!((16..=5000).contains(&choices.scaled(16, 5000)));
            assert!(choices.below(3) < 3);
        }
        let hits = (0..10_000).filter(|_| choices.chance(100)).count();
        assert!((800..1200).contains(&hits), "{hits}");
    }
}
