//! The one clock: monotone, in microseconds, counting the time that the host sleeps.

use xxnet_core::Instant;

/// Counts time asleep, so that a lease cannot outlive a suspended host (PROTOCOL A, assumptions).
#[cfg(target_os = "linux")]
pub(crate) const CLOCK: libc::clockid_t = libc::CLOCK_BOOTTIME;
/// On macOS this clock counts time asleep, other than on Linux.
#[cfg(not(target_os = "linux"))]
pub(crate) const CLOCK: libc::clockid_t = libc::CLOCK_MONOTONIC;

/// Now. All processes of a host agree on it, so a deadline can be handed to a supervisor as it is.
pub fn now() -> Instant {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is a valid place for the answer; the clock exists on every supported system.
    let failed = unsafe { libc::clock_gettime(CLOCK, &raw mut time) } != 0;
    assert!(!failed, "the system has no monotone clock");
    let (seconds, nanos) = (time.tv_sec.unsigned_abs(), time.tv_nsec.unsigned_abs());
    Instant::from_micros(seconds * 1_000_000 + nanos / 1_000)
}

#[cfg(test)]
mod tests {
    use super::now;

    #[test]
    fn never_goes_back() {
        let mut last = now();
        for _ in 0..10_000 {
            let next = now();
            assert!(next >= last);
            last = next;
        }
    }
}
