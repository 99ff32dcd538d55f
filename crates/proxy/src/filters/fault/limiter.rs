//! How fast a slowed answer goes on.

use std::time::{Duration, Instant};

use super::super::http_filter::DataVerdict;

/// Slices of a second, as in Envoy: after each of them a slice's bytes may pass.
const SLICES: u64 = 20;
const SLICE: Duration = Duration::from_millis(1000 / SLICES);

/// A token bucket of one answer; a token is a slice's bytes. It begins with one and holds a second's worth.
#[derive(Debug)]
pub(super) struct Limiter {
    bytes_per_slice: u64,
    tokens: u64,
    /// When the last token came.
    filled: Instant,
}

impl Limiter {
    pub(super) fn new(kib_per_second: u64, now: Instant) -> Limiter {
        Limiter {
            bytes_per_slice: (kib_per_second.saturating_mul(1024) / SLICES).max(1),
            tokens: 1,
            filled: now,
        }
    }

    /// How much of `length` bytes may pass now.
    pub(super) fn pass(&mut self, length: usize, now: Instant) -> DataVerdict {
        let slices = now.saturating_duration_since(self.filled).as_nanos() / SLICE.as_nanos();
        // More than a second's worth is not saved up.
        let slices = slices.min(u128::from(SLICES)) as u64;
        if slices > 0 {
            self.tokens = (self.tokens + slices).min(SLICES);
            self.filled += SLICE * slices as u32;
            self.filled = self.filled.max(now.checked_sub(SLICE).unwrap_or(now));
        }
        let needed = (length as u64).div_ceil(self.bytes_per_slice);
        let spent = needed.min(self.tokens);
        self.tokens -= spent;
        if spent == needed {
            return DataVerdict::Continue;
        }
        DataVerdict::Hold {
            pass: (spent * self.bytes_per_slice) as usize,
            until: (self.filled + SLICE).max(now),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slice_passes_at_a_time_and_nothing_is_lost() {
        let start = Instant::now();
        let mut limiter = Limiter::new(1, start);
        let mut left = 1024;
        let mut now = start;
        let mut turns = 0;
        while let DataVerdict::Hold { pass, until } = limiter.pass(left, now) {
            assert!(pass <= 51 || turns == 0, "{pass}");
            left -= pass;
            assert!(until > now);
            now = until;
            turns += 1;
        }
        assert_eq!(turns, 20);
        assert_eq!(now - start, Duration::from_secs(1));
    }

    #[test]
    fn what_was_not_used_is_saved_for_a_second_at_most() {
        let start = Instant::now();
        let mut limiter = Limiter::new(20, start);
        assert_eq!(limiter.pass(1024, start), DataVerdict::Continue);
        let later = start + Duration::from_secs(60);
        let DataVerdict::Hold { pass, .. } = limiter.pass(1 << 20, later) else {
            panic!("a megabyte does not pass at once");
        };
        assert_eq!(pass, 20 * 1024);
    }
}
