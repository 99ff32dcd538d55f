use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::cluster_state::ClusterState;
use crate::hosts::Host;
use crate::registry::StateRegistry;
use crate::testing;

const SECOND: Duration = Duration::from_secs(1);

struct Detected {
    registry: StateRegistry,
    cluster: Arc<ClusterState>,
    hosts: Vec<Host>,
    settings: OutlierDetection,
    now: Instant,
}

impl Detected {
    fn new(endpoints: usize) -> Self {
        let registry = testing::registry();
        let cluster = testing::cluster_of(&registry, "c");
        let scope = stats::Scope::Cluster("c");
        cluster.set_outlier_stats(|| registry.stats().block(scope, &stat::TABLE));
        let hosts = testing::hosts(&cluster, 0, &vec![1; endpoints]);
        let settings = OutlierDetection {
            max_ejection_percent: 100,
            ..OutlierDetection::default()
        };
        Self {
            registry,
            cluster,
            hosts,
            settings,
            now: Instant::now(),
        }
    }

    fn record(&self, host: usize, outcomes: &[Outcome]) {
        for &outcome in outcomes {
            record(
                &self.hosts[host].state,
                outcome,
                &self.settings,
                self.hosts.len(),
                Shard::CONTROL,
                self.now,
            );
        }
    }

    fn is_ejected(&self, host: usize) -> bool {
        self.hosts[host]
            .state
            .health_flags()
            .contains(HealthFlags::FAILED_OUTLIER_CHECK)
    }

    fn sweep(&self) {
        let endpoints: Vec<&EndpointState> = self.hosts.iter().map(|host| &*host.state).collect();
        sweep(&endpoints, &self.settings, self.now);
    }

    fn counter(&self, counter: stats::Counter) -> u64 {
        self.registry
            .stats()
            .block(stats::Scope::Cluster("c"), &stat::TABLE)
            .counter(counter)
    }
}

const BAD: Outcome = Outcome::Response(500);
const GATEWAY: Outcome = Outcome::Response(503);
const GOOD: Outcome = Outcome::Response(200);

#[test]
fn consecutive_5xx_eject_on_the_request_that_crosses_the_threshold() {
    let detected = Detected::new(2);
    detected.record(0, &[BAD; 4]);
    assert!(!detected.is_ejected(0));
    detected.record(0, &[GOOD]);
    detected.record(0, &[BAD, GATEWAY, Outcome::Reset, Outcome::Timeout]);
    assert!(!detected.is_ejected(0), "a good answer begins the count anew");
    detected.record(0, &[Outcome::ConnectFailure]);
    assert!(detected.is_ejected(0) && !detected.is_ejected(1));
    assert_eq!(detected.counter(stat::EJECTIONS_ENFORCED_CONSECUTIVE_5XX), 1);
    assert_eq!(detected.counter(stat::EJECTIONS_ENFORCED_TOTAL), 1);
}

#[test]
fn ejection_asks_for_new_tables() {
    let detected = Detected::new(1);
    detected.registry.signals().take_dirty();
    detected.cluster.clear_dirty();
    detected.record(0, &[BAD; 5]);
    assert!(detected.registry.signals().take_dirty().contains("c"));
}

#[test]
fn gateway_failures_have_a_threshold_of_their_own_which_ejects_only_if_enforced() {
    let mut detected = Detected::new(1);
    detected.settings.consecutive_gateway_failure = 2;
    detected.settings.consecutive_5xx = 100;
    detected.record(0, &[GATEWAY, GATEWAY]);
    assert!(!detected.is_ejected(0), "not enforced by default");
    assert_eq!(
        detected.counter(stat::EJECTIONS_DETECTED_CONSECUTIVE_GATEWAY_FAILURE),
        1
    );
    detected.settings.enforcing_consecutive_gateway_failure = 100;
    detected.record(0, &[GATEWAY, BAD, GATEWAY]);
    assert!(!detected.is_ejected(0), "a 500 is no gateway failure");
    detected.record(0, &[GATEWAY]);
    assert!(detected.is_ejected(0));
}

#[test]
fn split_off_errors_of_local_origin_are_counted_by_themselves() {
    let mut detected = Detected::new(1);
    detected.settings.split_external_local_origin_errors = true;
    detected.record(
        0,
        &[
            Outcome::ConnectFailure,
            BAD,
            Outcome::Timeout,
            BAD,
            Outcome::ConnectFailure,
        ],
    );
    assert!(!detected.is_ejected(0), "an answer proves that connecting works");
    detected.record(0, &[Outcome::ConnectFailure; 4]);
    assert!(detected.is_ejected(0));
    assert_eq!(
        detected.counter(stat::EJECTIONS_ENFORCED_CONSECUTIVE_LOCAL_ORIGIN_FAILURE),
        1
    );
}

#[test]
fn no_more_are_ejected_than_the_percentage_allows() {
    let mut detected = Detected::new(10);
    detected.settings.max_ejection_percent = 25;
    for host in 0..4 {
        detected.record(host, &[BAD; 5]);
    }
    let ejected = (0..10).filter(|&host| detected.is_ejected(host)).count();
    assert_eq!(ejected, 2, "a third would be 30 %");
    assert_eq!(detected.counter(stat::EJECTIONS_OVERFLOW), 2);
}

#[test]
fn the_only_endpoint_is_ejected_only_if_one_always_may_be() {
    let mut detected = Detected::new(1);
    detected.settings.max_ejection_percent = 10;
    detected.record(0, &[BAD; 5]);
    assert!(!detected.is_ejected(0));
    detected.settings.always_eject_one_host = true;
    detected.record(0, &[BAD; 5]);
    assert!(detected.is_ejected(0));
}

#[test]
fn ejected_endpoint_returns_after_base_ejection_time_and_longer_each_time() {
    let mut detected = Detected::new(2);
    for times in [1, 2, 3] {
        detected.record(0, &[BAD; 5]);
        assert!(detected.is_ejected(0));
        detected.now += 30 * SECOND * times - SECOND;
        detected.sweep();
        assert!(detected.is_ejected(0), "ejection {times}");
        detected.now += SECOND;
        detected.sweep();
        assert!(!detected.is_ejected(0), "ejection {times}");
    }
    assert_eq!(detected.cluster.ejected().load(Ordering::Relaxed), 0);
}

#[test]
fn good_intervals_shorten_the_next_ejection() {
    let mut detected = Detected::new(2);
    for _ in 0..2 {
        detected.record(0, &[BAD; 5]);
        detected.now += 300 * SECOND;
        detected.sweep();
    }
    detected.sweep();
    detected.sweep();
    detected.record(0, &[BAD; 5]);
    detected.now += 30 * SECOND;
    detected.sweep();
    assert!(!detected.is_ejected(0));
}

#[test]
fn an_ejection_never_lasts_longer_than_the_maximum() {
    let mut detected = Detected::new(1);
    detected.settings.max_ejection_time = 45 * SECOND;
    for _ in 0..4 {
        detected.record(0, &[BAD; 5]);
        detected.now += 45 * SECOND;
        detected.sweep();
        assert!(!detected.is_ejected(0));
    }
}

#[test]
fn thresholds_may_change_without_the_record_being_lost() {
    let mut detected = Detected::new(1);
    detected.record(0, &[BAD; 4]);
    detected.settings.consecutive_5xx = 6;
    detected.record(0, &[BAD]);
    assert!(!detected.is_ejected(0));
    detected.record(0, &[BAD]);
    assert!(detected.is_ejected(0));
}

#[test]
fn grpc_statuses_count_as_the_http_statuses_they_stand_for() {
    for (grpc, http) in [
        (0, 200),
        (1, 499),
        (2, 500),
        (4, 504),
        (5, 404),
        (8, 429),
        (12, 501),
        (14, 503),
        (99, 500),
    ] {
        assert_eq!(Outcome::from_grpc_status(grpc), Outcome::Response(http));
    }
}

#[test]
fn an_endpoint_that_does_worse_than_the_others_is_ejected_by_the_sweep() {
    let mut detected = Detected::new(5);
    detected.settings.consecutive_5xx = 1_000;
    for host in 0..5 {
        let bad = if host == 3 { 50 } else { 1 };
        detected.record(host, &vec![BAD; bad]);
        detected.record(host, &vec![GOOD; 100 - bad]);
    }
    detected.sweep();
    assert_eq!(
        (0..5).filter(|&host| detected.is_ejected(host)).collect::<Vec<_>>(),
        [3]
    );
    assert_eq!(detected.counter(stat::EJECTIONS_ENFORCED_SUCCESS_RATE), 1);
    detected.now += 30 * SECOND;
    detected.sweep();
    assert!(!detected.is_ejected(3), "the interval before is forgotten");
}

#[test]
fn a_failure_percentage_ejects_only_if_enforced() {
    let mut detected = Detected::new(5);
    detected.settings.consecutive_5xx = 1_000;
    detected.settings.enforcing_success_rate = 0;
    for enforcing in [0, 100] {
        detected.settings.enforcing_failure_percentage = enforcing;
        for host in 0..5 {
            detected.record(host, &[if host == 0 { BAD } else { GOOD }; 50]);
        }
        detected.sweep();
        assert_eq!(detected.is_ejected(0), enforcing == 100);
    }
    assert_eq!(detected.counter(stat::EJECTIONS_DETECTED_FAILURE_PERCENTAGE), 2);
    assert_eq!(detected.counter(stat::EJECTIONS_ENFORCED_FAILURE_PERCENTAGE), 1);
}

#[test]
fn split_off_errors_of_local_origin_have_rates_of_their_own() {
    let mut detected = Detected::new(5);
    detected.settings.consecutive_5xx = 1_000;
    detected.settings.consecutive_local_origin_failure = 1_000;
    detected.settings.split_external_local_origin_errors = true;
    for host in 0..5 {
        let outcome = if host == 2 { Outcome::ConnectFailure } else { GOOD };
        detected.record(host, &[outcome; 100]);
    }
    detected.sweep();
    assert!(detected.is_ejected(2));
    assert_eq!(detected.counter(stat::EJECTIONS_ENFORCED_LOCAL_ORIGIN_SUCCESS_RATE), 1);
    assert_eq!(detected.counter(stat::EJECTIONS_DETECTED_SUCCESS_RATE), 0);
}
