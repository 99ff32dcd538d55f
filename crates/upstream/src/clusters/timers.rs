//! What is due when, for everything the control thread does about clusters.

use std::collections::BTreeMap;
use std::time::Instant;

/// Jobs by the time they are due. A job that no longer means anything is not removed but recognised as stale when it
/// comes due; there is at most one per endpoint, name and cluster.
#[derive(Debug)]
pub(super) struct Timers<J> {
    jobs: BTreeMap<(Instant, u64), J>,
    /// Keeps jobs of the same instant apart and in order.
    next_serial: u64,
}

impl<J> Default for Timers<J> {
    fn default() -> Self {
        Self {
            jobs: BTreeMap::new(),
            next_serial: 0,
        }
    }
}

impl<J> Timers<J> {
    pub(super) fn insert(&mut self, at: Instant, job: J) {
        self.jobs.insert((at, self.next_serial), job);
        self.next_serial += 1;
    }

    /// When the next job is due.
    pub(super) fn next_at(&self) -> Option<Instant> {
        self.jobs.first_key_value().map(|((at, _), _)| *at)
    }

    /// A job that is due at `now`.
    pub(super) fn pop_due(&mut self, now: Instant) -> Option<J> {
        let entry = self.jobs.first_entry()?;
        (entry.key().0 <= now).then(|| entry.remove())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn jobs_come_in_order_and_not_before_their_time() {
        let now = Instant::now();
        let after = |ms| now + Duration::from_millis(ms);
        let mut timers = Timers::default();
        timers.insert(after(5), "later");
        timers.insert(after(1), "first");
        timers.insert(after(1), "second");
        assert_eq!(timers.next_at(), Some(after(1)));
        assert_eq!(timers.pop_due(now), None);
        assert_eq!(timers.pop_due(after(4)), Some("first"));
        assert_eq!(timers.pop_due(after(4)), Some("second"));
        assert_eq!(timers.pop_due(after(4)), None);
        assert_eq!(timers.pop_due(after(5)), Some("later"));
        assert_eq!(timers.next_at(), None);
    }
}
