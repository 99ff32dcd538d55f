//! `policy.remora.dev/v1alpha1` ServicePolicy: what the Kubernetes APIs cannot say about
//! traffic to a Service. A direct policy attachment in the sense of GEP-2648.

use std::str::FromStr as _;
use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::{Deserialize, Deserializer, Serialize};

/// The policy object.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ServicePolicy {
    /// Name and namespace; a policy applies to Services of its own namespace.
    pub metadata: ObjectMeta,
    /// What it says.
    pub spec: ServicePolicySpec,
}

/// How traffic to the Services named is treated. What is left out stays at its default.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ServicePolicySpec {
    /// The Services it applies to.
    pub target_refs: Vec<TargetRef>,
    /// Mutual TLS between sidecars.
    pub mtls: Option<Mtls>,
    /// How long a TCP connection to an endpoint may take (default 5 s).
    pub connect_timeout: Option<PolicyDuration>,
    /// How an endpoint is chosen (default: LeastRequest).
    pub load_balancing: Option<LoadBalancing>,
    /// Active health checks from every sidecar that calls the Service.
    pub health_check: Option<HealthCheck>,
    /// Limits on what one sidecar has under way to the Service.
    pub circuit_breaker: Option<CircuitBreaker>,
    /// Passive health checks: endpoints that fail are left out for a time.
    pub outlier_detection: Option<OutlierDetection>,
    /// Retries for calls whose route says nothing about them.
    pub retry: Option<Retry>,
}

/// What a policy is attached to.
#[derive(Clone, Debug, Deserialize)]
pub struct TargetRef {
    /// The API group; empty for Service.
    #[serde(default)]
    pub group: String,
    /// The kind: `Service`.
    #[serde(default = "service_kind")]
    pub kind: String,
    /// The Service's name.
    pub name: String,
}

fn service_kind() -> String {
    "Service".to_owned()
}

/// Mutual TLS settings.
#[derive(Clone, Copy, Debug, Deserialize)]
pub struct Mtls {
    /// The mode.
    pub mode: MtlsMode,
}

/// Whether a Service's sidecars ask for mutual TLS.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
pub enum MtlsMode {
    /// Mutual TLS only; an endpoint without a sidecar is not called.
    Strict,
    /// Sidecars accept both and callers use mutual TLS where the endpoint has a sidecar.
    Permissive,
    /// Cleartext.
    Disable,
    /// Nothing said: sidecars accept mutual TLS only; callers use it where the endpoint
    /// has a sidecar, and cleartext where it has none.
    #[default]
    #[serde(skip)]
    Automatic,
}

/// Load balancing settings.
#[derive(Clone, Copy, Debug, Deserialize)]
pub struct LoadBalancing {
    /// The algorithm.
    pub algorithm: Algorithm,
}

/// How an endpoint is chosen for a request (Envoy, "Supported load balancers").
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
pub enum Algorithm {
    /// The less busy of two chosen at random.
    #[default]
    LeastRequest,
    /// Each in turn.
    RoundRobin,
    /// Any.
    Random,
}

/// Active health checking (Envoy's `core.v3.HealthCheck`). Exactly one of `grpc`, `http`
/// and `tcp` says how.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HealthCheck {
    /// How often each endpoint is asked (default 5 s).
    pub interval: Option<PolicyDuration>,
    /// How long it may take to answer (default 1 s).
    pub timeout: Option<PolicyDuration>,
    /// Failures in a row until an endpoint is left out (default 2).
    pub unhealthy_threshold: Option<u32>,
    /// Successes in a row until it is back (default 1).
    pub healthy_threshold: Option<u32>,
    /// The gRPC health service.
    pub grpc: Option<GrpcHealthCheck>,
    /// An HTTP GET answered with 200.
    pub http: Option<HttpHealthCheck>,
    /// A TCP connection.
    pub tcp: Option<TcpHealthCheck>,
}

/// A check by `grpc.health.v1.Health/Check`.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct GrpcHealthCheck {
    /// The service asked about; empty is the server as a whole.
    #[serde(default)]
    pub service: String,
}

/// A check by HTTP GET.
#[derive(Clone, Debug, Deserialize)]
pub struct HttpHealthCheck {
    /// The path.
    pub path: String,
    /// The Host header (default: the Service's full name).
    #[serde(default)]
    pub host: String,
}

/// A check by connecting.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
pub struct TcpHealthCheck {}

/// Circuit breaker thresholds (Envoy's `CircuitBreakers.Thresholds`, default priority).
/// What is left out keeps Envoy's default: 1024, retries 3.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CircuitBreaker {
    /// Connections at once.
    pub max_connections: Option<u32>,
    /// Requests that wait for a connection.
    pub max_pending_requests: Option<u32>,
    /// Requests under way at once.
    pub max_requests: Option<u32>,
    /// Retries under way at once.
    pub max_retries: Option<u32>,
}

/// Outlier detection (Envoy's `OutlierDetection`); what is left out keeps Envoy's default.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct OutlierDetection {
    /// 5xx answers in a row that eject an endpoint (5); 0 switches the detector off.
    #[serde(rename = "consecutive5xx")]
    pub consecutive_5xx: Option<u32>,
    /// 502, 503 and 504 answers in a row that eject an endpoint (5; off unless given).
    #[serde(rename = "consecutiveGatewayErrors")]
    pub consecutive_gateway_errors: Option<u32>,
    /// How often endpoints are looked over (10 s).
    pub interval: Option<PolicyDuration>,
    /// How long the first ejection lasts; the n-th lasts n times as long (30 s).
    #[serde(rename = "baseEjectionTime")]
    pub base_ejection_time: Option<PolicyDuration>,
    /// The most that may be ejected at once (10 %).
    #[serde(rename = "maxEjectionPercent")]
    pub max_ejection_percent: Option<u32>,
}

/// Retries (Envoy's `RetryPolicy`).
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Retry {
    /// Attempts after the first.
    pub attempts: u32,
    /// What is retried, in the words of Envoy's `x-envoy-retry-on` and
    /// `x-envoy-retry-grpc-on` (default: `connect-failure`, `refused-stream`).
    pub on: Option<Vec<String>>,
    /// How long each attempt may take.
    pub per_try_timeout: Option<PolicyDuration>,
    /// The wait before the first retry; it doubles from there (25 ms).
    pub base_interval: Option<PolicyDuration>,
    /// The longest wait (ten times the first).
    pub max_interval: Option<PolicyDuration>,
}

/// A duration as the Gateway API writes it (GEP-2257): `1h30m`, `500ms`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PolicyDuration(pub Duration);

impl<'de> Deserialize<'de> for PolicyDuration {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        parse_duration(&text).map(Self).map_err(serde::de::Error::custom)
    }
}

/// Reads a GEP-2257 duration.
///
/// # Errors
/// What was found and what is expected.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let parsed = gateway_api::Duration::from_str(text);
    let parsed = parsed.map(|duration| Duration::from_millis(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)));
    parsed.map_err(|_| {
        format!(
            "found \"{text}\", expected a duration such as 250ms, 10s or 1h30m (GEP-2257: up to four whole numbers, \
             each with h, m, s or ms)"
        )
    })
}

impl ServicePolicy {
    /// What the types alone cannot rule out, by field.
    pub(super) fn faults(&self) -> Vec<(String, String)> {
        let mut faults = Vec::new();
        let mut wrong = |path: &str, reason: &str| faults.push((format!("spec.{path}"), reason.to_owned()));
        let spec = &self.spec;
        if spec.target_refs.is_empty() {
            wrong("targetRefs", "empty: a policy is attached to at least one Service");
        }
        for (index, target) in spec.target_refs.iter().enumerate() {
            if !target.group.is_empty() || target.kind != "Service" {
                let reason = format!(
                    "found {}/{}, expected a Service (group \"\")",
                    target.group, target.kind
                );
                wrong(&format!("targetRefs[{index}]"), &reason);
            }
        }
        let mut positive = |path: &str, duration: &Option<PolicyDuration>| {
            if duration.is_some_and(|duration| duration.0.is_zero()) {
                wrong(path, "found 0, expected more");
            }
        };
        positive("connectTimeout", &spec.connect_timeout);
        if let Some(check) = &spec.health_check {
            positive("healthCheck.interval", &check.interval);
            positive("healthCheck.timeout", &check.timeout);
        }
        if let Some(outlier) = &spec.outlier_detection {
            positive("outlierDetection.interval", &outlier.interval);
            positive("outlierDetection.baseEjectionTime", &outlier.base_ejection_time);
        }
        if let Some(retry) = &spec.retry {
            positive("retry.perTryTimeout", &retry.per_try_timeout);
            positive("retry.baseInterval", &retry.base_interval);
        }
        if let Some(check) = &spec.health_check {
            let ways = [check.grpc.is_some(), check.http.is_some(), check.tcp.is_some()];
            if ways.into_iter().filter(|given| *given).count() != 1 {
                wrong("healthCheck", "exactly one of grpc, http and tcp is needed");
            }
            if check.http.as_ref().is_some_and(|http| !http.path.starts_with('/')) {
                wrong("healthCheck.http.path", "expected a path that starts with \"/\"");
            }
            for (field, threshold) in [
                ("unhealthyThreshold", check.unhealthy_threshold),
                ("healthyThreshold", check.healthy_threshold),
            ] {
                if threshold == Some(0) {
                    wrong(&format!("healthCheck.{field}"), "found 0, expected 1 or more");
                }
            }
        }
        if let Some(outlier) = &spec.outlier_detection
            && outlier.max_ejection_percent.is_some_and(|percent| percent > 100)
        {
            wrong("outlierDetection.maxEjectionPercent", "expected 0 to 100");
        }
        if let Some(retry) = &spec.retry {
            for (index, condition) in retry.on.iter().flatten().enumerate() {
                if !RETRY_CONDITIONS.contains(&condition.as_str()) {
                    let expected = RETRY_CONDITIONS.join(", ");
                    wrong(
                        &format!("retry.on[{index}]"),
                        &format!("found \"{condition}\", expected one of {expected}"),
                    );
                }
            }
            if let (Some(base), Some(max)) = (retry.base_interval, retry.max_interval)
                && max.0 < base.0
            {
                wrong("retry.maxInterval", "shorter than retry.baseInterval");
            }
        }
        faults
    }
}

/// What `retry.on` may name (Envoy, "Router", `x-envoy-retry-on` and `x-envoy-retry-grpc-on`).
const RETRY_CONDITIONS: [&str; 13] = [
    "5xx",
    "gateway-error",
    "reset",
    "reset-before-request",
    "connect-failure",
    "envoy-ratelimited",
    "retriable-4xx",
    "refused-stream",
    "cancelled",
    "deadline-exceeded",
    "internal",
    "resource-exhausted",
    "unavailable",
];
