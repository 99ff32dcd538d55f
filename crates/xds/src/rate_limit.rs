//! `rate_limit_settings`: a token bucket for discovery requests.

use std::time::{Duration, Instant};

use config::config_source::RateLimitSettings;

/// A bucket that starts full. The clock is passed in.
#[derive(Debug)]
pub(crate) struct RateLimit {
    settings: RateLimitSettings,
    tokens: f64,
    filled: Instant,
}

impl RateLimit {
    pub(crate) fn new(settings: RateLimitSettings, now: Instant) -> Self {
        Self {
            tokens: f64::from(settings.max_tokens),
            settings,
            filled: now,
        }
    }

    /// Takes a token, or says when there will be one.
    pub(crate) fn take(&mut self, now: Instant) -> Result<(), Instant> {
        self.fill(now);
        if self.tokens >= 1.0 {
            self.tokens -= 1.0;
            return Ok(());
        }
        Err(self.next(now))
    }

    /// When there is a token at the earliest.
    pub(crate) fn next(&self, now: Instant) -> Instant {
        let missing = 1.0 - self.tokens - self.gained(now);
        if missing <= 0.0 {
            return now;
        }
        // The least rate is a token a year, as in Envoy; a microsecond more, so that rounding never wakes too early.
        let rate = self.settings.fill_rate.max(1.0 / (365.0 * 24.0 * 3600.0));
        now + Duration::from_secs_f64(missing / rate) + Duration::from_micros(1)
    }

    fn fill(&mut self, now: Instant) {
        self.tokens = (self.tokens + self.gained(now)).min(f64::from(self.settings.max_tokens));
        self.filled = self.filled.max(now);
    }

    fn gained(&self, now: Instant) -> f64 {
        now.saturating_duration_since(self.filled).as_secs_f64() * self.settings.fill_rate
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_bucket_is_spent_at_once_and_then_refilled_at_its_rate() {
        let start = Instant::now();
        let mut limit = RateLimit::new(
            RateLimitSettings {
                max_tokens: 3,
                fill_rate: 2.0,
            },
            start,
        );
        assert!((0..3).all(|_| limit.take(start).is_ok()));
        let next = limit.take(start).expect_err("the bucket is empty");
        assert_eq!((next - start).as_millis(), 500);
        assert!(limit.take(next - Duration::from_millis(1)).is_err());
        assert!(limit.take(next).is_ok());
    }

    #[test]
    fn the_bucket_holds_no_more_than_its_size() {
        let start = Instant::now();
        let mut limit = RateLimit::new(
            RateLimitSettings {
                max_tokens: 2,
                fill_rate: 100.0,
            },
            start,
        );
        let later = start + Duration::from_secs(60);
        assert!(limit.take(later).is_ok() && limit.take(later).is_ok() && limit.take(later).is_err());
    }
}
