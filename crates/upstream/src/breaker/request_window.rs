//! How many requests began within the last moment: what a retry budget with an interval is a share of.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Parts of the interval: a request is forgotten within this fraction of it.
const PARTS: usize = 32;

/// Counts of the parts of an interval, written by all workers without a lock. Each part is the number of the tick that
/// it counts (high half) and how many there were (low half): one that comes round again begins anew.
#[derive(Debug, Default)]
pub(super) struct RequestWindow {
    parts: [AtomicU64; PARTS],
}

impl RequestWindow {
    /// A request began.
    pub(super) fn count(&self, now: Instant, interval: Duration) {
        let tick = tick(now, interval);
        let part = &self.parts[tick as usize % PARTS];
        let add = |part: u64| {
            Some(if (part >> 32) as u32 == tick {
                // A full count stays full.
                part + u64::from(part as u32 != u32::MAX)
            } else {
                u64::from(tick) << 32 | 1
            })
        };
        // Never refused: the function always gives a value.
        let _ = part.fetch_update(Ordering::Relaxed, Ordering::Relaxed, add);
    }

    /// How many requests began within the interval that ends now.
    pub(super) fn sum(&self, now: Instant, interval: Duration) -> u64 {
        let tick = tick(now, interval);
        self.parts
            .iter()
            .map(|part| part.load(Ordering::Relaxed))
            .filter(|part| tick.wrapping_sub((part >> 32) as u32) < PARTS as u32)
            .map(|part| u64::from(part as u32))
            .sum()
    }
}

/// The number of the part that `now` is in. Numbers begin far enough from 0 that an untouched part is long past.
fn tick(now: Instant, interval: Duration) -> u32 {
    static START: OnceLock<Instant> = OnceLock::new();
    let start = *START.get_or_init(|| now);
    let width = (interval / PARTS as u32).max(Duration::from_micros(1));
    let passed = now.saturating_duration_since(start).as_nanos() / width.as_nanos();
    (passed as u32).wrapping_add(PARTS as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_count_for_the_interval_and_not_longer() {
        let window = RequestWindow::default();
        let (start, interval) = (Instant::now(), Duration::from_millis(320));
        let at = |milliseconds| start + Duration::from_millis(milliseconds);
        assert_eq!(window.sum(at(0), interval), 0);
        for _ in 0..10 {
            window.count(at(1), interval);
        }
        window.count(at(200), interval);
        assert_eq!(window.sum(at(200), interval), 11);
        assert_eq!(window.sum(at(300), interval), 11);
        assert_eq!(window.sum(at(340), interval), 1, "the ten have expired");
        assert_eq!(window.sum(at(600), interval), 0);
        window.count(at(10_000), interval);
        assert_eq!(
            window.sum(at(10_000), interval),
            1,
            "a part that came round again begins anew"
        );
    }
}
