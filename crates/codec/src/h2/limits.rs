//! Counting what a peer does, against what it may do.

use super::config::Rate;

/// A token bucket that is refilled by time and, where the caller says so, by useful traffic.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Bucket {
    used: u32,
    /// Milliseconds after the start of the connection up to which time has been credited.
    at: u32,
}

impl Bucket {
    /// Takes one token; false if there is none left.
    pub(crate) fn take(&mut self, rate: Rate, now: u32) -> bool {
        let refill = u64::from(now.wrapping_sub(self.at)) * u64::from(rate.per_second) / 1000;
        if refill > 0 {
            self.give(u32::try_from(refill).unwrap_or(u32::MAX));
            self.at = now;
        }
        self.used = self.used.saturating_add(1);
        self.used <= rate.burst
    }

    /// Gives back up to `count` tokens.
    pub(crate) fn give(&mut self, count: u32) {
        self.used = self.used.saturating_sub(count);
    }
}

/// Lifetime counters of what has limits.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    /// Streams opened by either side.
    pub(crate) streams_opened: u32,
    /// Streams the peer opened that have ended, however.
    pub(crate) streams_closed: u32,
    /// Of those, reset by the peer before they could be answered.
    pub(crate) premature_resets: u32,
    pub(crate) data_frames_sent: u32,
    pub(crate) window_updates_received: u32,
    pub(crate) priority_received: u32,
    /// HEADERS, CONTINUATION and DATA frames without payload, in a row.
    pub(crate) empty_frames: u32,
    /// DATA and HEADERS frames received or sent since the last PING.
    pub(crate) exchanged_since_ping: u32,
    pub(crate) settings: Bucket,
    pub(crate) pings: Bucket,
    /// Of what most connections never see.
    provoked: Option<Box<Provoked>>,
}

/// Buckets for what a peer does that is of no use, or worse.
#[derive(Debug, Default)]
pub(crate) struct Provoked {
    pub(crate) useless: Bucket,
    pub(crate) stream_errors: Bucket,
    pub(crate) resets: Bucket,
}

impl Counters {
    /// Made when they are first asked for.
    pub(crate) fn provoked(&mut self) -> &mut Provoked {
        self.provoked.get_or_insert_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_allows_its_burst_and_then_its_rate() {
        let rate = Rate {
            burst: 3,
            per_second: 2,
        };
        let mut bucket = Bucket::default();
        assert!((0..3).all(|_| bucket.take(rate, 10)));
        assert!(!bucket.take(rate, 10));
        // One token more was asked for than there were: a second pays that debt and one more.
        assert!(bucket.take(rate, 1_010));
        assert!(!bucket.take(rate, 1_010));
    }

    #[test]
    fn time_is_not_lost_to_rounding_by_frequent_requests() {
        let rate = Rate {
            burst: 1,
            per_second: 1,
        };
        let mut bucket = Bucket::default();
        assert!(bucket.take(rate, 0));
        for now in (100..1000).step_by(100) {
            let mut look = bucket;
            assert!(!look.take(rate, now));
        }
        assert!(bucket.take(rate, 1000));
    }
}
