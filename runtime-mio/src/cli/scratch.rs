//! A temporary folder that is gone when its owner is.

use super::errors::{Failure, Outcome, plain};
use super::keys::hex;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

/// A private folder, removed with all that is in it when this is dropped.
pub(crate) struct Scratch {
    path: PathBuf,
}

impl Scratch {
    /// A new one in `within`, or in the system's folder for such.
    pub(crate) fn new(within: Option<&Path>) -> Outcome<Self> {
        let mut random = [0; 8];
        getrandom::fill(&mut random)
            .map_err(|error| Failure::new(format!("the system gives no random numbers: {error}")))?;
        let within = within.map_or_else(std::env::temp_dir, Path::to_path_buf);
        let path = within.join(format!("xxnet-{}", hex(&random)));
        std::fs::DirBuilder::new().mode(0o700).create(&path).map_err(|error| {
            Failure::new(format!("cannot make a temporary folder in {}: {}", within.display(), plain(&error)))
        })?;
        Ok(Self { path })
    }

    /// Where something in it is.
    pub(crate) fn at(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.path);
    }
}

/// The same bytes in every run: words of a small vocabulary, a line each few of them.
pub(crate) fn words(seed: u64, length: usize) -> Vec<u8> {
    const WORDS: [&str; 16] = [
        "registry", "executor", "task", "lease", "claim", "grant", "renew", "block", "hash", "file", "link",
        "pack", "slot", "attempt", "stream", "callback",
    ];
    let mut numbers = Numbers(seed | 1);
    let mut text = Vec::with_capacity(length + 16);
    while text.len() < length {
        let number = numbers.next();
        text.extend_from_slice(WORDS[usize::try_from(number >> 60).unwrap_or(0)].as_bytes());
        text.push(if number >> 56 & 7 == 0 { b'\n' } else { b' ' });
    }
    text.truncate(length);
    text
}

/// Bytes that no file system can store for less than their length.
pub(crate) fn noise(seed: u64, buffer: &mut [u8]) {
    let mut numbers = Numbers(seed | 1);
    for piece in buffer.chunks_mut(8) {
        piece.copy_from_slice(&numbers.next().to_le_bytes()[..piece.len()]);
    }
}

/// xorshift64*: for filler, nothing else.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn x3_a_scratch_folder_is_removed_with_all_in_it() {
        let scratch = Scratch::new(None).unwrap();
        let path = scratch.at("");
        std::fs::create_dir(scratch.at("deep")).unwrap();
        std::fs::write(scratch.at("deep/file"), words(1, 1000)).unwrap();
        drop(scratch);
        assert!(!path.exists());
    }

    #[test]
    fn filler_is_of_the_length_asked_for() {
        assert_eq!(words(7, 12345).len(), 12345);
        assert_eq!(words(7, 100), words(7, 100));
        assert_ne!(words(7, 100), words(9, 100));
        let mut odd = [0; 13];
        noise(3, &mut odd);
        assert_ne!(odd, [0; 13]);
    }
}
