//! Pauses between tries: doubled each time, drawn with jitter, so that a thousand nodes do not come back at once.

use core::time::Duration;
use rand::RngExt;
use rand::rngs::ChaCha8Rng;
use serde::{Deserialize, Serialize};

/// The pause before the next try.
#[derive(Clone, Copy, Debug, Hash, Serialize, Deserialize)]
pub(crate) struct Backoff {
    next: Duration,
    bounds: (Duration, Duration),
}

impl Backoff {
    pub(crate) fn new(bounds: (Duration, Duration)) -> Self {
        Self { next: bounds.0, bounds }
    }

    /// Half to the whole of the present pause; the next one is twice as long.
    pub(crate) fn pause(&mut self, rng: &mut ChaCha8Rng) -> Duration {
        let whole = self.next;
        self.next = (whole * 2).min(self.bounds.1);
        let micros = u64::try_from(whole.as_micros()).unwrap_or(u64::MAX);
        Duration::from_micros(rng.random_range(micros / 2..=micros))
    }

    pub(crate) fn reset(&mut self) {
        self.next = self.bounds.0;
    }
}
