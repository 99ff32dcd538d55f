//! A drain under way: which requests ask their connection to end.

use std::time::{Duration, Instant};

use config::listener::TrafficDirection;

use crate::connection::{Connection, Role};
use crate::slab::Key;
use crate::worker::Worker;

/// How fast connections are asked to end (Envoy: `--drain-strategy`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DrainPace {
    /// All at once, idle ones too.
    AtOnce,
    /// With a request, at a probability that rises to certainty over this time: callers come back spread over it.
    Over(Duration),
}

/// A drain that has begun and not ended the process: of a worker, or of a connection whose filter chain is gone.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Draining {
    /// The listeners it is for; all without it.
    pub(crate) only: Option<TrafficDirection>,
    pub(crate) since: Instant,
    pub(crate) over: Duration,
}

impl Draining {
    /// Whether a request at `now` ends its connection. `random` is a number of its own.
    pub(crate) fn closes(&self, now: Instant, random: u64) -> bool {
        let elapsed = now.saturating_duration_since(self.since);
        let whole = self.over.as_millis();
        elapsed >= self.over || u128::from(random) % whole.max(1) < elapsed.as_millis()
    }
}

/// A request begins while its worker drains: its connection may be asked to end with it.
pub(crate) fn on_request(worker: &mut Worker, draining: Draining, key: Key<Connection>) {
    let Some(Connection {
        role: Role::Downstream(downstream),
        ..
    }) = worker.connections.get(key)
    else {
        return;
    };
    let goes = worker
        .snapshot
        .listener(&downstream.slot)
        .map(|listener| listener.config.traffic_direction);
    if (draining.only.is_none() || goes == draining.only) && draining.closes(worker.now, telemetry::random::next()) {
        crate::downstream::drain(worker, key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn closing(elapsed: Duration, over: Duration) -> usize {
        let since = Instant::now();
        let draining = Draining {
            only: None,
            since,
            over,
        };
        // Every millisecond of the drain once.
        (0..10_000)
            .filter(|random| draining.closes(since + elapsed, *random))
            .count()
    }

    #[test]
    fn the_probability_rises_with_the_time_that_has_passed() {
        let over = Duration::from_secs(10);
        assert_eq!(closing(Duration::ZERO, over), 0);
        assert_eq!(closing(Duration::from_secs(1), over), 1_000);
        assert_eq!(closing(Duration::from_secs(5), over), 5_000);
        assert_eq!(closing(over, over), 10_000);
        assert_eq!(closing(over * 2, over), 10_000);
    }

    #[test]
    fn without_a_time_every_request_ends_its_connection() {
        assert_eq!(closing(Duration::ZERO, Duration::ZERO), 10_000);
    }
}
