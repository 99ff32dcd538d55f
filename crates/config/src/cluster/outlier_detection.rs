//! Ejection of endpoints that fail (`envoy.config.cluster.v3.OutlierDetection`).

use std::time::Duration;

/// When an endpoint is ejected and for how long. Percentages are from 0 to 100.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutlierDetection {
    /// Consecutive 5xx (and failures to connect, unless split) that eject.
    pub consecutive_5xx: u32,
    /// Time between sweeps.
    pub interval: Duration,
    /// Time of the first ejection; multiplied by the number of ejections.
    pub base_ejection_time: Duration,
    /// Longest ejection.
    pub max_ejection_time: Duration,
    /// Added to it at random at most.
    pub max_ejection_time_jitter: Duration,
    /// Percent of a cluster's endpoints that may be ejected at a time.
    pub max_ejection_percent: u32,
    /// Whether one may be, whatever the percentage.
    pub always_eject_one_host: bool,
    /// Chance that consecutive 5xx eject.
    pub enforcing_consecutive_5xx: u32,
    /// Chance that a low success rate ejects.
    pub enforcing_success_rate: u32,
    /// Endpoints with enough requests for the success rate to be looked at.
    pub success_rate_minimum_hosts: u32,
    /// Requests in an interval that are enough.
    pub success_rate_request_volume: u32,
    /// Standard deviations below the mean, in thousandths, that eject.
    pub success_rate_stdev_factor: u32,
    /// Consecutive 502, 503, 504 that eject.
    pub consecutive_gateway_failure: u32,
    /// Chance that they do.
    pub enforcing_consecutive_gateway_failure: u32,
    /// Whether failures of this side (to connect, resets, timeouts) are counted by themselves.
    pub split_external_local_origin_errors: bool,
    /// Consecutive ones that eject.
    pub consecutive_local_origin_failure: u32,
    /// Chance that they do.
    pub enforcing_consecutive_local_origin_failure: u32,
    /// Chance that a low success rate of them ejects.
    pub enforcing_local_origin_success_rate: u32,
    /// Percent of failures in an interval that ejects.
    pub failure_percentage_threshold: u32,
    /// Chance that it does.
    pub enforcing_failure_percentage: u32,
    /// Chance that failures of this side do.
    pub enforcing_failure_percentage_local_origin: u32,
    /// Endpoints with enough requests for the percentage to be looked at.
    pub failure_percentage_minimum_hosts: u32,
    /// Requests in an interval that are enough.
    pub failure_percentage_request_volume: u32,
    /// Whether a successful active health check ends an ejection.
    pub successful_active_health_check_uneject_host: bool,
}

impl Default for OutlierDetection {
    /// Envoy's defaults.
    fn default() -> Self {
        Self {
            consecutive_5xx: 5,
            interval: Duration::from_secs(10),
            base_ejection_time: Duration::from_secs(30),
            max_ejection_time: Duration::from_secs(300),
            max_ejection_time_jitter: Duration::ZERO,
            max_ejection_percent: 10,
            always_eject_one_host: false,
            enforcing_consecutive_5xx: 100,
            enforcing_success_rate: 100,
            success_rate_minimum_hosts: 5,
            success_rate_request_volume: 100,
            success_rate_stdev_factor: 1900,
            consecutive_gateway_failure: 5,
            enforcing_consecutive_gateway_failure: 0,
            split_external_local_origin_errors: false,
            consecutive_local_origin_failure: 5,
            enforcing_consecutive_local_origin_failure: 100,
            enforcing_local_origin_success_rate: 100,
            failure_percentage_threshold: 85,
            enforcing_failure_percentage: 0,
            enforcing_failure_percentage_local_origin: 0,
            failure_percentage_minimum_hosts: 5,
            failure_percentage_request_volume: 50,
            successful_active_health_check_uneject_host: true,
        }
    }
}
