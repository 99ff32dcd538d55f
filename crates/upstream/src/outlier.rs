//! Outlier detection: what a request's end says about the endpoint it went to.
//!
//! Envoy, "Outlier detection" (arch_overview/upstream/outlier). The consecutive detectors judge on the request that
//! crosses the threshold, on the worker; un-ejection is a sweep on the control thread.

mod rates;

use std::sync::LazyLock;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Instant;

use config::cluster::OutlierDetection;
use rates::Tally;
use telemetry::stats::{self, Shard, cluster_outlier_detection as stat};
use tracing::info;

use crate::balancer::Random;
use crate::endpoint::EndpointState;
use crate::health_flags::HealthFlags;

/// How one attempt ended, as far as it says something about the endpoint. An attempt that the caller gave up says
/// nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The endpoint answered with this HTTP status; for gRPC use [`Outcome::from_grpc_status`].
    Response(u16),
    /// The connection could not be made, or its TLS handshake failed or ran out of time.
    ConnectFailure,
    /// The route's or the try's time ran out.
    Timeout,
    /// The endpoint reset the stream or closed the connection before it had answered.
    Reset,
}

impl Outcome {
    /// What a gRPC status counts as (Envoy `Grpc::Utility::grpcToHttpStatus`; googleapis `google/rpc/code.proto`).
    pub fn from_grpc_status(status: u32) -> Self {
        Self::Response(match status {
            0 => 200,
            1 => 499,
            3 | 9 | 11 => 400,
            4 => 504,
            5 => 404,
            6 | 10 => 409,
            7 => 403,
            8 => 429,
            12 => 501,
            14 => 503,
            16 => 401,
            _ => 500,
        })
    }

    /// The HTTP status it counts as unless errors of local origin are split off.
    pub fn status(self) -> u16 {
        match self {
            Self::Response(status) => status,
            Self::ConnectFailure => 503,
            Self::Timeout => 504,
            Self::Reset => 500,
        }
    }
}

/// One endpoint's record. Survives updates with the endpoint.
#[derive(Debug, Default)]
pub(crate) struct OutlierState {
    consecutive_5xx: AtomicU32,
    consecutive_gateway_failures: AtomicU32,
    consecutive_local_origin_failures: AtomicU32,
    /// How often it was ejected, less what good intervals forgave: what its ejection time is multiplied by.
    backoff: AtomicU32,
    /// When its ejection began, jitter included, in milliseconds of [`millis`].
    ejected_at: AtomicU64,
    /// What it answered in the running interval; while errors of local origin are not split off, those too.
    answers: Tally,
    /// Whether it could be reached in the running interval, where that is split off.
    connects: Tally,
}

/// What a detector found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Detection {
    Consecutive5xx,
    ConsecutiveGatewayFailure,
    ConsecutiveLocalOriginFailure,
    SuccessRate,
    FailurePercentage,
    LocalOriginSuccessRate,
    LocalOriginFailurePercentage,
}

impl Detection {
    /// The chance in percent that it ejects.
    fn enforcing(self, settings: &OutlierDetection) -> u32 {
        match self {
            Self::Consecutive5xx => settings.enforcing_consecutive_5xx,
            Self::ConsecutiveGatewayFailure => settings.enforcing_consecutive_gateway_failure,
            Self::ConsecutiveLocalOriginFailure => settings.enforcing_consecutive_local_origin_failure,
            Self::SuccessRate => settings.enforcing_success_rate,
            Self::FailurePercentage => settings.enforcing_failure_percentage,
            Self::LocalOriginSuccessRate => settings.enforcing_local_origin_success_rate,
            Self::LocalOriginFailurePercentage => settings.enforcing_failure_percentage_local_origin,
        }
    }

    /// The counters of it being detected and of it being enforced.
    fn counters(self) -> (stats::Counter, stats::Counter) {
        match self {
            Self::Consecutive5xx => (
                stat::EJECTIONS_DETECTED_CONSECUTIVE_5XX,
                stat::EJECTIONS_ENFORCED_CONSECUTIVE_5XX,
            ),
            Self::ConsecutiveGatewayFailure => (
                stat::EJECTIONS_DETECTED_CONSECUTIVE_GATEWAY_FAILURE,
                stat::EJECTIONS_ENFORCED_CONSECUTIVE_GATEWAY_FAILURE,
            ),
            Self::ConsecutiveLocalOriginFailure => (
                stat::EJECTIONS_DETECTED_CONSECUTIVE_LOCAL_ORIGIN_FAILURE,
                stat::EJECTIONS_ENFORCED_CONSECUTIVE_LOCAL_ORIGIN_FAILURE,
            ),
            Self::SuccessRate => (
                stat::EJECTIONS_DETECTED_SUCCESS_RATE,
                stat::EJECTIONS_ENFORCED_SUCCESS_RATE,
            ),
            Self::FailurePercentage => (
                stat::EJECTIONS_DETECTED_FAILURE_PERCENTAGE,
                stat::EJECTIONS_ENFORCED_FAILURE_PERCENTAGE,
            ),
            Self::LocalOriginSuccessRate => (
                stat::EJECTIONS_DETECTED_LOCAL_ORIGIN_SUCCESS_RATE,
                stat::EJECTIONS_ENFORCED_LOCAL_ORIGIN_SUCCESS_RATE,
            ),
            Self::LocalOriginFailurePercentage => (
                stat::EJECTIONS_DETECTED_LOCAL_ORIGIN_FAILURE_PERCENTAGE,
                stat::EJECTIONS_ENFORCED_LOCAL_ORIGIN_FAILURE_PERCENTAGE,
            ),
        }
    }
}

/// Judges an endpoint by how an attempt ended, and ejects it if it crossed a threshold. `members` is how many
/// endpoints its cluster has.
pub(crate) fn record(
    endpoint: &EndpointState,
    outcome: Outcome,
    settings: &OutlierDetection,
    members: usize,
    shard: Shard,
    now: Instant,
) {
    let record = endpoint.outlier();
    let local = matches!(outcome, Outcome::ConnectFailure | Outcome::Timeout);
    if settings.split_external_local_origin_errors {
        record.connects.count(!local);
    }
    if local && settings.split_external_local_origin_errors {
        let crossed = count(
            &record.consecutive_local_origin_failures,
            settings.consecutive_local_origin_failure,
        );
        if crossed {
            detected(
                endpoint,
                Detection::ConsecutiveLocalOriginFailure,
                settings,
                members,
                shard,
                now,
            );
        }
        return;
    }
    clear(&record.consecutive_local_origin_failures);
    let status = outcome.status();
    record.answers.count(status < 500);
    if status < 500 {
        clear(&record.consecutive_5xx);
        clear(&record.consecutive_gateway_failures);
        return;
    }
    if matches!(status, 502..=504) {
        if count(
            &record.consecutive_gateway_failures,
            settings.consecutive_gateway_failure,
        ) {
            detected(
                endpoint,
                Detection::ConsecutiveGatewayFailure,
                settings,
                members,
                shard,
                now,
            );
        }
    } else {
        clear(&record.consecutive_gateway_failures);
    }
    if count(&record.consecutive_5xx, settings.consecutive_5xx) {
        detected(endpoint, Detection::Consecutive5xx, settings, members, shard, now);
    }
}

/// Counts one more; whether that reaches the threshold. Then it begins anew. A threshold of 0 is never reached.
fn count(counter: &AtomicU32, threshold: u32) -> bool {
    if counter.fetch_add(1, Ordering::Relaxed) + 1 != threshold {
        return false;
    }
    counter.store(0, Ordering::Relaxed);
    true
}

/// Writes only if there is something to write: nearly every request is good, and its line is shared.
fn clear(counter: &AtomicU32) {
    if counter.load(Ordering::Relaxed) != 0 {
        counter.store(0, Ordering::Relaxed);
    }
}

fn detected(
    endpoint: &EndpointState,
    detection: Detection,
    settings: &OutlierDetection,
    members: usize,
    shard: Shard,
    now: Instant,
) {
    if endpoint.health_flags().contains(HealthFlags::FAILED_OUTLIER_CHECK) {
        return;
    }
    let count = |counter| {
        if let Some(stats) = endpoint.cluster().outlier_stats() {
            stats.increment(shard, counter);
        }
    };
    let (detected, enforced) = detection.counters();
    count(detected);
    let mut random = Random::from_entropy();
    // Takes the place among the ejected first and gives it back if it is not to be: two workers that eject at once
    // don't exceed the limit.
    let ejected = endpoint.cluster().ejected();
    let before = ejected.fetch_add(1, Ordering::AcqRel);
    let percent = 100.0 * f64::from(before + 1) / members.max(1) as f64;
    let allowed =
        percent <= f64::from(settings.max_ejection_percent) || (settings.always_eject_one_host && before == 0);
    if !allowed || random.below(100) >= detection.enforcing(settings) {
        ejected.fetch_sub(1, Ordering::AcqRel);
        if !allowed {
            count(stat::EJECTIONS_OVERFLOW);
        }
        return;
    }
    let record = endpoint.outlier();
    let jitter = random.duration_below(settings.max_ejection_time_jitter);
    record.ejected_at.store(millis(now + jitter), Ordering::Relaxed);
    let longer = |backoff: u32| {
        let time = settings.base_ejection_time * backoff;
        (time < settings.max_ejection_time + settings.base_ejection_time).then_some(backoff + 1)
    };
    // Past the longest ejection the multiplier grows no more: that it fails then is what is meant.
    let _ = record
        .backoff
        .fetch_update(Ordering::Relaxed, Ordering::Relaxed, longer);
    if endpoint
        .update_health(HealthFlags::FAILED_OUTLIER_CHECK, HealthFlags::NONE)
        .contains(HealthFlags::FAILED_OUTLIER_CHECK)
    {
        // Another worker was faster.
        ejected.fetch_sub(1, Ordering::AcqRel);
        return;
    }
    count(stat::EJECTIONS_ENFORCED_TOTAL);
    count(enforced);
    // Envoy's older counter knows these two alone.
    if matches!(detection, Detection::Consecutive5xx | Detection::SuccessRate) {
        count(stat::EJECTIONS_TOTAL);
    }
    info!(cluster = endpoint.cluster().name(), endpoint = %endpoint.address(), ?detection, "endpoint ejected");
}

/// What is done once an interval: ends ejections whose time has passed, then ejects endpoints that did worse than the
/// others in the interval.
pub(crate) fn sweep(endpoints: &[&EndpointState], settings: &OutlierDetection, now: Instant) {
    for endpoint in endpoints {
        sweep_ejection(endpoint, settings, now);
    }
    let not_ejected = |endpoint: &&&EndpointState| !endpoint.health_flags().contains(HealthFlags::FAILED_OUTLIER_CHECK);
    let judged: Vec<&EndpointState> = endpoints.iter().filter(not_ejected).copied().collect();
    let answers: Vec<_> = judged
        .iter()
        .map(|endpoint| {
            endpoint
                .outlier_if_used()
                .map(|record| record.answers.take())
                .unwrap_or_default()
        })
        .collect();
    let connects: Vec<_> = judged
        .iter()
        .map(|endpoint| {
            endpoint
                .outlier_if_used()
                .map(|record| record.connects.take())
                .unwrap_or_default()
        })
        .collect();
    let eject = |outliers: Vec<usize>, detection| {
        for at in outliers {
            detected(judged[at], detection, settings, endpoints.len(), Shard::CONTROL, now);
        }
    };
    eject(rates::below_success_rate(&answers, settings), Detection::SuccessRate);
    eject(
        rates::above_failure_percentage(&answers, settings),
        Detection::FailurePercentage,
    );
    eject(
        rates::below_success_rate(&connects, settings),
        Detection::LocalOriginSuccessRate,
    );
    eject(
        rates::above_failure_percentage(&connects, settings),
        Detection::LocalOriginFailurePercentage,
    );
}

/// Ends the endpoint's ejection if its time has passed; an interval without ejection makes the next one shorter.
fn sweep_ejection(endpoint: &EndpointState, settings: &OutlierDetection, now: Instant) {
    // What was never called was never ejected.
    let Some(record) = endpoint.outlier_if_used() else {
        return;
    };
    let backoff = record.backoff.load(Ordering::Relaxed);
    if !endpoint.health_flags().contains(HealthFlags::FAILED_OUTLIER_CHECK) {
        // Only the control thread sweeps, and a worker that ejects meanwhile finds the multiplier it would have found
        // a moment later.
        record.backoff.store(backoff.saturating_sub(1), Ordering::Relaxed);
        return;
    }
    let time = (settings.base_ejection_time * backoff.max(1)).min(settings.max_ejection_time);
    let ejected_at = record.ejected_at.load(Ordering::Relaxed);
    if millis(now).saturating_sub(ejected_at) >= time.as_millis() as u64 {
        uneject(endpoint);
    }
}

/// Ends the endpoint's ejection, if it is ejected.
pub(crate) fn uneject(endpoint: &EndpointState) {
    let record = endpoint.outlier();
    // Else the counter that did not eject may be one short of its own threshold.
    for counter in [
        &record.consecutive_5xx,
        &record.consecutive_gateway_failures,
        &record.consecutive_local_origin_failures,
    ] {
        clear(counter);
    }
    // What it did before it was ejected is paid for.
    record.answers.take();
    record.connects.take();
    let before = endpoint.update_health(HealthFlags::NONE, HealthFlags::FAILED_OUTLIER_CHECK);
    if before.contains(HealthFlags::FAILED_OUTLIER_CHECK) {
        endpoint.cluster().ejected().fetch_sub(1, Ordering::AcqRel);
        info!(cluster = endpoint.cluster().name(), endpoint = %endpoint.address(), "endpoint's ejection ended");
    }
}

/// An instant as a number that fits an atomic.
fn millis(instant: Instant) -> u64 {
    static START: LazyLock<Instant> = LazyLock::new(Instant::now);
    // Offset, so that an instant shortly before the first use is not cut off.
    const OFFSET: u64 = 1 << 40;
    let after = instant.saturating_duration_since(*START).as_millis() as u64;
    let before = START.saturating_duration_since(instant).as_millis() as u64;
    OFFSET + after - before.min(OFFSET)
}

#[cfg(test)]
mod tests;
