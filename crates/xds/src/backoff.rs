//! How long to wait before the next attempt at a stream.

use std::time::Duration;

/// Exponential back-off with full jitter: the wait is uniform between nothing and a ceiling that doubles with every
/// attempt (Envoy: `JitteredExponentialBackOffStrategy`, 500 ms to 30 s by default; gRFC A57).
#[derive(Debug, Clone)]
pub struct Backoff {
    initial: Duration,
    maximum: Duration,
    ceiling: Duration,
    /// State of a xorshift generator: spreading reconnects needs no better one.
    random: u64,
}

impl Backoff {
    /// Envoy's first ceiling for an xDS stream (`RetryInitialDelayMs`).
    pub const INITIAL: Duration = Duration::from_millis(500);
    /// Envoy's last ceiling (`RetryMaxDelayMs`).
    pub const MAXIMUM: Duration = Duration::from_secs(30);

    /// A back-off between the given ceilings. Two proxies must be given different seeds, or they return together.
    pub fn new(initial: Duration, maximum: Duration, seed: u64) -> Self {
        let initial = initial.max(Duration::from_millis(1));
        Self {
            initial,
            maximum: maximum.max(initial),
            ceiling: initial,
            random: seed | 1,
        }
    }

    /// The wait before the next attempt; the one after may be twice as long.
    pub fn next_delay(&mut self) -> Duration {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        let span = u64::try_from(self.ceiling.as_micros()).unwrap_or(u64::MAX);
        let delay = Duration::from_micros(self.random % (span + 1));
        self.ceiling = (self.ceiling * 2).min(self.maximum);
        delay
    }

    /// Starts over: called after the first response of a stream, not after a mere connect, so that a server that
    /// accepts and closes is not hammered.
    pub fn reset(&mut self) {
        self.ceiling = self.initial;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn backoff(seed: u64) -> Backoff {
        Backoff::new(Backoff::INITIAL, Backoff::MAXIMUM, seed)
    }

    #[test]
    fn the_ceiling_doubles_from_half_a_second_to_thirty_seconds_and_every_wait_is_below_it() {
        for seed in 0..200 {
            let mut backoff = backoff(seed);
            for ceiling in [500, 1000, 2000, 4000, 8000, 16_000, 30_000, 30_000, 30_000] {
                assert!(backoff.next_delay() <= Duration::from_millis(ceiling));
            }
        }
    }

    #[test]
    fn jitter_is_full_so_that_a_fleet_spreads_over_the_whole_window() {
        let firsts: Vec<_> = (0..1000u64)
            .map(|seed| backoff(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15)).next_delay())
            .collect();
        let below_half = firsts
            .iter()
            .filter(|delay| **delay < Duration::from_millis(250))
            .count();
        assert!(
            (400..600).contains(&below_half),
            "{below_half} of 1000 in the lower half"
        );
        assert!(firsts.iter().any(|delay| *delay < Duration::from_millis(20)));
        assert!(firsts.iter().any(|delay| *delay > Duration::from_millis(480)));
    }

    #[test]
    fn a_response_starts_the_back_off_over() {
        let mut backoff = backoff(7);
        for _ in 0..10 {
            backoff.next_delay();
        }
        backoff.reset();
        assert!(backoff.next_delay() <= Backoff::INITIAL);
    }
}
