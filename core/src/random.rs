//! The generator of a machine, as a part of its state.

use core::hash::{Hash, Hasher};
use core::ops::{Deref, DerefMut};
use rand::SeedableRng;
use rand::rngs::ChaCha8Rng;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The named portable generator, which can also be compared by a hash.
#[derive(Debug)]
pub(crate) struct Random(ChaCha8Rng);

impl Random {
    pub(crate) fn from_seed(seed: [u8; 32]) -> Self {
        Self(ChaCha8Rng::from_seed(seed))
    }

    pub(crate) fn seed_from_u64(seed: u64) -> Self {
        Self(ChaCha8Rng::seed_from_u64(seed))
    }
}

impl Clone for Random {
    fn clone(&self) -> Self {
        let mut copy = ChaCha8Rng::from_seed(self.0.get_seed());
        copy.set_word_pos(self.0.get_word_pos());
        Self(copy)
    }
}

impl Serialize for Random {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        (self.0.get_seed(), self.0.get_word_pos()).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Random {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (seed, drawn) = Deserialize::deserialize(deserializer)?;
        let mut random = Self::from_seed(seed);
        random.0.set_word_pos(drawn);
        Ok(random)
    }
}

impl Hash for Random {
    /// How much was drawn: with the seed, which stays as it is, all that there is to know of what comes next.
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        self.0.get_word_pos().hash(hasher);
    }
}

impl Deref for Random {
    type Target = ChaCha8Rng;

    fn deref(&self) -> &ChaCha8Rng {
        &self.0
    }
}

impl DerefMut for Random {
    fn deref_mut(&mut self) -> &mut ChaCha8Rng {
        &mut self.0
    }
}
