//! Less load for endpoints that are new or have just recovered.
//!
//! Envoy, "Slow start mode" (arch_overview/upstream/load_balancing/slow_start). The factors are worked into a table
//! when it is built; while some endpoint warms up, the control thread builds tables anew.

use std::time::{Duration, Instant};

use config::cluster::SlowStart;

use crate::hosts::Host;

/// Envoy counts no time below this.
const SHORTEST: Duration = Duration::from_millis(1);

/// How much of its weight each endpoint has at `now`; `None` if none is warming up.
pub(super) fn factors(hosts: &[Host], settings: &SlowStart, now: Instant) -> Option<Vec<f64>> {
    let factors: Vec<f64> = hosts
        .iter()
        .map(|host| {
            let age = host.state.healthy_for(now);
            if age >= settings.window || !host.state.is_usable() {
                return 1.0;
            }
            let time = age.max(SHORTEST).as_secs_f64() / settings.window.as_secs_f64();
            let ramp = if settings.aggression == 1.0 {
                time
            } else {
                time.powf(1.0 / settings.aggression)
            };
            ramp.max(settings.min_weight_percent / 100.0)
        })
        .collect();
    factors.iter().any(|factor| *factor < 1.0).then_some(factors)
}
