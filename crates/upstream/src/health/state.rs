//! What the results of health checks make of an endpoint, and when to check again. No I/O.
//!
//! Envoy, "Health checking" (arch_overview/upstream/health_checking), `core.v3.HealthCheck`, and the transitions of its
//! `HealthCheckerImplBase`:
//!
//! ```text
//!                 first success, or healthy_threshold successes in a row
//!           ┌───────────────────────────────────────────────────────────────┐
//!           │                                                               ▼
//!      unhealthy (all begin here, pending)                               healthy
//!           ▲                                                               │
//!           └───────────────────────────────────────────────────────────────┘
//!            a bad answer, or unhealthy_threshold timeouts and network failures in a row
//! ```

use std::time::Duration;

use config::cluster::HealthCheck;

use crate::balancer::Random;
use crate::health_flags::HealthFlags;

/// How one health check ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CheckResult {
    /// The endpoint says it is well.
    Success {
        /// The answer carried `x-envoy-degraded`.
        degraded: bool,
    },
    /// The endpoint answered, and not well: that needs no second opinion.
    Failure,
    /// The endpoint answered with a status among `retriable_statuses`: counts towards the threshold.
    RetriableFailure,
    /// There was no answer: not connected, reset, or closed.
    NetworkFailure,
    /// There was no answer in time.
    Timeout,
}

/// How long to wait before the first check of an endpoint.
pub fn initial_delay(settings: &HealthCheck, random: &mut Random) -> Duration {
    random.duration_below(settings.initial_jitter)
}

/// How long to wait after a check that ended like this.
fn delay(
    settings: &HealthCheck,
    success: bool,
    transition: Transition,
    has_traffic: bool,
    random: &mut Random,
) -> Duration {
    let edge = transition == Transition::Pending;
    let unhealthy = settings.unhealthy_interval.unwrap_or(settings.interval);
    let base = match (has_traffic, success) {
        (false, false) => settings.no_traffic_interval,
        (false, true) => settings
            .no_traffic_healthy_interval
            .unwrap_or(settings.no_traffic_interval),
        (true, false) if edge => settings.unhealthy_edge_interval.unwrap_or(unhealthy),
        (true, false) => unhealthy,
        (true, true) if edge => settings.healthy_edge_interval.unwrap_or(settings.interval),
        (true, true) => settings.interval,
    };
    let percent = base.mul_f64(f64::from(settings.interval_jitter_percent) / 100.0);
    base + random.duration_below(percent) + random.duration_below(settings.interval_jitter)
}

/// What a result did to an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transition {
    /// Nothing.
    Unchanged,
    /// Nothing yet: the threshold is not reached.
    Pending,
    /// Its health flags change.
    Changed,
}

/// What follows from a result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// What the result did.
    pub transition: Transition,
    /// Flags to set on the endpoint.
    pub set: HealthFlags,
    /// Flags to clear on the endpoint.
    pub clear: HealthFlags,
    /// How long to wait before the next check.
    pub next_check_in: Duration,
}

/// The flags of an endpoint that is to be checked and never was: not usable, and known to be only pending.
pub const UNCHECKED: HealthFlags =
    HealthFlags::FAILED_ACTIVE_HEALTH_CHECK.union(HealthFlags::PENDING_ACTIVE_HEALTH_CHECK);

/// What is remembered between the checks of one endpoint. Whether it is healthy is not remembered here: that is in
/// its flags, and survives a change of the health check's configuration.
#[derive(Clone, Debug)]
pub struct State {
    first_check: bool,
    successes: u32,
    failures: u32,
}

impl Default for State {
    fn default() -> Self {
        Self {
            first_check: true,
            successes: 0,
            failures: 0,
        }
    }
}

impl State {
    /// Takes the result of a check. `flags` are the endpoint's at this moment; `has_traffic` is whether its cluster
    /// ever had a connection.
    pub fn on_result(
        &mut self,
        result: CheckResult,
        flags: HealthFlags,
        settings: &HealthCheck,
        has_traffic: bool,
        random: &mut Random,
    ) -> Verdict {
        let failed = flags.contains(HealthFlags::FAILED_ACTIVE_HEALTH_CHECK);
        let first = std::mem::replace(&mut self.first_check, false);
        let success = matches!(result, CheckResult::Success { .. });
        // Any result ends the wait for the first one.
        let (mut set, mut clear) = (HealthFlags::NONE, HealthFlags::PENDING_ACTIVE_HEALTH_CHECK);
        let mut pending = false;
        match result {
            CheckResult::Success { degraded } => {
                self.failures = 0;
                clear = clear | HealthFlags::EXCLUDED_BY_IMMEDIATE_HEALTH_CHECK_FAIL;
                if degraded {
                    set = HealthFlags::DEGRADED_ACTIVE_HEALTH_CHECK;
                } else {
                    clear = clear | HealthFlags::DEGRADED_ACTIVE_HEALTH_CHECK;
                }
                if failed {
                    self.successes += 1;
                    if first || self.successes >= settings.healthy_threshold {
                        clear = clear | HealthFlags::FAILED_ACTIVE_HEALTH_CHECK;
                        clear = clear | HealthFlags::ACTIVE_HEALTH_CHECK_TIMEOUT;
                    } else {
                        pending = true;
                    }
                }
            }
            CheckResult::Failure
            | CheckResult::RetriableFailure
            | CheckResult::NetworkFailure
            | CheckResult::Timeout => {
                self.successes = 0;
                if !failed {
                    self.failures += 1;
                    if result == CheckResult::Failure || self.failures >= settings.unhealthy_threshold {
                        set = HealthFlags::FAILED_ACTIVE_HEALTH_CHECK;
                    } else {
                        pending = true;
                    }
                }
                let unhealthy = failed || set != HealthFlags::NONE;
                if unhealthy && result == CheckResult::Timeout {
                    set = set | HealthFlags::ACTIVE_HEALTH_CHECK_TIMEOUT;
                } else {
                    clear = clear | HealthFlags::ACTIVE_HEALTH_CHECK_TIMEOUT;
                }
            }
        }
        if set != HealthFlags::NONE || clear.contains(HealthFlags::FAILED_ACTIVE_HEALTH_CHECK) {
            self.successes = 0;
            self.failures = 0;
        }
        let transition = if ((flags - clear) | set) != flags {
            Transition::Changed
        } else if pending {
            Transition::Pending
        } else {
            Transition::Unchanged
        };
        let next_check_in = delay(settings, success, transition, has_traffic, random);
        Verdict {
            transition,
            set,
            clear,
            next_check_in,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;

    const SECOND: Duration = Duration::from_secs(1);
    const SUCCESS: CheckResult = CheckResult::Success { degraded: false };

    struct Checked {
        state: State,
        flags: HealthFlags,
        settings: HealthCheck,
        has_traffic: bool,
        random: Random,
    }

    impl Checked {
        fn new(unhealthy_threshold: u32, healthy_threshold: u32) -> Self {
            Self {
                state: State::default(),
                flags: UNCHECKED,
                settings: testing::health_check(unhealthy_threshold, healthy_threshold),
                has_traffic: true,
                random: Random::new(1),
            }
        }

        fn healthy(unhealthy_threshold: u32, healthy_threshold: u32) -> Self {
            let mut checked = Self::new(unhealthy_threshold, healthy_threshold);
            checked.check(SUCCESS);
            checked
        }

        fn check(&mut self, result: CheckResult) -> Verdict {
            let Self {
                state,
                flags,
                settings,
                has_traffic,
                random,
            } = self;
            let verdict = state.on_result(result, *flags, settings, *has_traffic, random);
            *flags = (*flags - verdict.clear) | verdict.set;
            verdict
        }

        fn is_healthy(&self) -> bool {
            self.flags == HealthFlags::NONE
        }
    }

    #[test]
    fn the_first_success_is_enough_to_begin_with() {
        let mut checked = Checked::new(3, 3);
        assert_eq!(checked.check(SUCCESS).transition, Transition::Changed);
        assert!(checked.is_healthy());
    }

    #[test]
    fn a_first_failure_ends_the_wait_but_not_the_illness() {
        let mut checked = Checked::new(3, 2);
        assert_eq!(
            checked.check(CheckResult::NetworkFailure).transition,
            Transition::Changed
        );
        assert_eq!(checked.flags, HealthFlags::FAILED_ACTIVE_HEALTH_CHECK);
        assert_eq!(checked.check(SUCCESS).transition, Transition::Pending);
        assert!(!checked.is_healthy());
        assert_eq!(checked.check(SUCCESS).transition, Transition::Changed);
        assert!(checked.is_healthy());
    }

    #[test]
    fn timeouts_and_network_failures_count_towards_the_threshold_together() {
        let mut checked = Checked::healthy(3, 1);
        assert_eq!(
            checked.check(CheckResult::NetworkFailure).transition,
            Transition::Pending
        );
        assert_eq!(checked.check(CheckResult::Timeout).transition, Transition::Pending);
        assert!(checked.is_healthy());
        assert_eq!(
            checked.check(CheckResult::RetriableFailure).transition,
            Transition::Changed
        );
        assert!(!checked.is_healthy());
    }

    #[test]
    fn a_success_starts_the_count_anew() {
        let mut checked = Checked::healthy(2, 1);
        for _ in 0..5 {
            checked.check(CheckResult::Timeout);
            assert_eq!(checked.check(SUCCESS).transition, Transition::Unchanged);
        }
        assert!(checked.is_healthy());
    }

    #[test]
    fn a_bad_answer_ejects_at_once() {
        let mut checked = Checked::healthy(10, 1);
        assert_eq!(checked.check(CheckResult::Failure).transition, Transition::Changed);
        assert_eq!(checked.flags, HealthFlags::FAILED_ACTIVE_HEALTH_CHECK);
    }

    #[test]
    fn successes_must_be_in_a_row() {
        let mut checked = Checked::healthy(1, 2);
        checked.check(CheckResult::Failure);
        checked.check(SUCCESS);
        checked.check(CheckResult::Failure);
        assert_eq!(checked.check(SUCCESS).transition, Transition::Pending);
        assert_eq!(checked.check(SUCCESS).transition, Transition::Changed);
    }

    #[test]
    fn an_illness_by_timeout_is_marked_as_such_until_it_has_another_cause() {
        let mut checked = Checked::healthy(1, 1);
        checked.check(CheckResult::Timeout);
        assert_eq!(checked.flags.to_string(), "/failed_active_hc/active_hc_timeout");
        checked.check(CheckResult::Failure);
        assert_eq!(checked.flags.to_string(), "/failed_active_hc");
        checked.check(CheckResult::Timeout);
        checked.check(SUCCESS);
        assert!(checked.is_healthy());
    }

    #[test]
    fn a_degraded_answer_is_a_success_that_degrades() {
        let mut checked = Checked::healthy(1, 1);
        let degraded = CheckResult::Success { degraded: true };
        assert_eq!(checked.check(degraded).transition, Transition::Changed);
        assert_eq!(checked.flags, HealthFlags::DEGRADED_ACTIVE_HEALTH_CHECK);
        assert_eq!(checked.check(degraded).transition, Transition::Unchanged);
        assert_eq!(checked.check(SUCCESS).transition, Transition::Changed);
        assert!(checked.is_healthy());
    }

    #[test]
    fn the_next_check_follows_health_and_edges() {
        let mut checked = Checked::healthy(2, 2);
        checked.settings.unhealthy_interval = Some(7 * SECOND);
        checked.settings.unhealthy_edge_interval = Some(2 * SECOND);
        checked.settings.healthy_edge_interval = Some(3 * SECOND);
        let mut wait = |result| checked.check(result).next_check_in.as_secs();
        assert_eq!(wait(SUCCESS), 5);
        assert_eq!(wait(CheckResult::Timeout), 2, "on the edge of unhealthy");
        assert_eq!(wait(CheckResult::Timeout), 7, "unhealthy");
        assert_eq!(wait(CheckResult::Timeout), 7);
        assert_eq!(wait(SUCCESS), 3, "on the edge of healthy");
        assert_eq!(wait(SUCCESS), 5, "healthy");
    }

    #[test]
    fn a_cluster_without_traffic_is_checked_seldom() {
        let mut checked = Checked::new(2, 2);
        checked.has_traffic = false;
        checked.settings.no_traffic_healthy_interval = Some(90 * SECOND);
        assert_eq!(checked.check(SUCCESS).next_check_in, 90 * SECOND);
        assert_eq!(checked.check(CheckResult::Failure).next_check_in, 60 * SECOND);
        checked.has_traffic = true;
        assert_eq!(checked.check(CheckResult::Failure).next_check_in, 5 * SECOND);
    }

    #[test]
    fn jitter_is_added_and_bounded() {
        let mut checked = Checked::healthy(1, 1);
        checked.settings.interval_jitter = SECOND;
        checked.settings.interval_jitter_percent = 20;
        let waits: Vec<Duration> = (0..500).map(|_| checked.check(SUCCESS).next_check_in).collect();
        assert!(waits.iter().all(|w| (5 * SECOND..7 * SECOND).contains(w)));
        let (min, max) = (waits.iter().min().unwrap(), waits.iter().max().unwrap());
        assert!(
            *min < Duration::from_millis(5_200) && *max > Duration::from_millis(6_700),
            "{min:?} {max:?}"
        );
        assert_eq!(initial_delay(&checked.settings, &mut Random::new(1)), Duration::ZERO);
    }
}
