//! Clocks that drift: each host counts time from a zero of its own, at a rate of its own.

use crate::choices::Choices;
use xxnet_core::Instant;

/// Simulated time in microseconds since the run began. Only the world sees it; a machine sees its host's clock.
pub type Micros = u64;

/// A second, in [`Micros`].
pub const SECOND: Micros = 1_000_000;
/// A millisecond, in [`Micros`].
pub const MILLI: Micros = 1_000;

/// The clock of a host.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    offset: u64,
    /// Local microseconds in a million.
    rate: u64,
}

impl Clock {
    /// Slowest and fastest rate: any two clocks differ by less than a fifth, as the leases assume (PROTOCOL A).
    const RATES: (u64, u64) = (900_000, 1_100_000);

    /// A clock that shows the world's time.
    pub fn exact() -> Self {
        Self { offset: 0, rate: 1_000_000 }
    }

    /// Some clock.
    pub fn draw(choices: &mut Choices) -> Self {
        let rate = *choices.pick(&[1_000_000, Self::RATES.0, Self::RATES.1, 1_000_100]);
        Self { offset: choices.below(1 << 40), rate }
    }

    /// What it shows.
    pub fn local(&self, now: Micros) -> Instant {
        // Within some months, in one word: a division of two costs a hundred times as much.
        let passed = match now.checked_mul(self.rate) {
            Some(product) => product / 1_000_000,
            None => (u128::from(now) * u128::from(self.rate) / 1_000_000) as u64,
        };
        Instant::from_micros(self.offset + passed)
    }

    /// The first moment at which it shows `local` or later.
    pub fn global(&self, local: Instant) -> Micros {
        let passed = local.as_micros().saturating_sub(self.offset);
        if let Some(product) = passed.checked_mul(1_000_000) {
            return product.div_ceil(self.rate);
        }
        let at = (u128::from(passed) * 1_000_000).div_ceil(u128::from(self.rate));
        u64::try_from(at).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deadline_is_reached_exactly_and_not_before() {
        let mut choices = Choices::seeded(3, "clocks");
        for _ in 0..500 {
            let clock = Clock::draw(&mut choices);
            let deadline = Instant::from_micros(clock.offset + choices.below(1 << 36));
            let at = clock.global(deadline);
            assert!(clock.local(at) >= deadline);
            assert!(at == 0 || clock.local(at - 1) < deadline);
        }
    }
}
