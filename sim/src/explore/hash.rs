//! A fast hash of 64 bits, the same in every process.

use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasherDefault, Hash, Hasher};

const K: u64 = 0x9e37_79b9_7f4a_7c15;

/// Folds the product of 128 bits: every bit of the input reaches every bit of the result.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Fold(u64);

impl Fold {
    fn mix(&mut self, word: u64) {
        let product =
            u128::from(self.0 ^ word ^ K).wrapping_mul(0xd6e8_feb8_6659_fd93_a076_1d64_78bd_642f_u128);
        self.0 = (product as u64).rotate_left(23) ^ (product >> 64) as u64;
    }
}

impl Hasher for Fold {
    fn finish(&self) -> u64 {
        let mut last = *self;
        last.mix(0x0123_4567_89ab_cdef);
        last.0
    }

    fn write(&mut self, bytes: &[u8]) {
        let mut words = bytes.chunks_exact(8);
        for word in &mut words {
            self.mix(word.iter().rev().fold(0, |all, byte| all << 8 | u64::from(*byte)));
        }
        let rest = words.remainder().iter().fold(bytes.len() as u64, |all, byte| all << 8 | u64::from(*byte));
        self.mix(rest);
    }

    fn write_u8(&mut self, n: u8) {
        self.mix(u64::from(n));
    }

    fn write_u16(&mut self, n: u16) {
        self.mix(u64::from(n));
    }

    fn write_u32(&mut self, n: u32) {
        self.mix(u64::from(n));
    }

    fn write_u64(&mut self, n: u64) {
        self.mix(n);
    }

    fn write_usize(&mut self, n: usize) {
        self.mix(n as u64);
    }
}

/// The fingerprint of anything.
pub(super) fn fingerprint(what: &impl Hash) -> u64 {
    let mut hasher = Fold::default();
    what.hash(&mut hasher);
    hasher.finish()
}

pub(super) type Map<K, V> = HashMap<K, V, BuildHasherDefault<Fold>>;
pub(super) type Set<K> = HashSet<K, BuildHasherDefault<Fold>>;
