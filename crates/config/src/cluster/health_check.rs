//! Active health checks (`envoy.config.core.v3.HealthCheck`).

use std::sync::Arc;
use std::time::Duration;

use crate::header_mutation::HeaderMutations;
use crate::metadata::Struct;
use crate::string_matcher::StringMatcher;

/// How and how often endpoints are checked.
#[derive(Debug, Clone, PartialEq)]
pub struct HealthCheck {
    /// What is asked.
    pub checker: HealthChecker,
    /// How long an answer is waited for.
    pub timeout: Duration,
    /// Time between checks.
    pub interval: Duration,
    /// Delay of the first check, random up to this.
    pub initial_jitter: Duration,
    /// Added to every interval, random up to this.
    pub interval_jitter: Duration,
    /// Added to every interval, random up to this percent of it.
    pub interval_jitter_percent: u32,
    /// Failures in a row that make an endpoint unhealthy.
    pub unhealthy_threshold: u32,
    /// Successes in a row that make it healthy. The first check needs only one.
    pub healthy_threshold: u32,
    /// A port in place of the endpoint's.
    pub alt_port: Option<u16>,
    /// Whether a connection serves many checks.
    pub reuse_connection: bool,
    /// Time between checks of a cluster that no traffic has been sent to.
    pub no_traffic_interval: Duration,
    /// The same for healthy endpoints; `no_traffic_interval` when none.
    pub no_traffic_healthy_interval: Option<Duration>,
    /// Time between checks of unhealthy endpoints; `interval` when none.
    pub unhealthy_interval: Option<Duration>,
    /// Time after the check that made an endpoint unhealthy; `unhealthy_interval` when none.
    pub unhealthy_edge_interval: Option<Duration>,
    /// Time after the check that made an endpoint healthy; `interval` when none.
    pub healthy_edge_interval: Option<Duration>,
    /// Whether every failure is logged.
    pub always_log_health_check_failures: bool,
    /// Application protocols (ALPN) in place of the transport socket's.
    pub alpn_protocols: Vec<Arc<str>>,
    /// Which transport socket of the cluster is used; by the endpoint's metadata when none.
    pub transport_socket_match_criteria: Option<Struct>,
}

impl HealthCheck {
    /// Envoy's default for [`no_traffic_interval`](Self::no_traffic_interval).
    pub const DEFAULT_NO_TRAFFIC_INTERVAL: Duration = Duration::from_secs(60);
}

/// What is asked.
#[derive(Debug, Clone, PartialEq)]
pub enum HealthChecker {
    /// `grpc.health.v1.Health/Check`.
    Grpc(GrpcHealthCheck),
    /// An HTTP request.
    Http(Box<HttpHealthCheck>),
    /// A connection, and bytes over it.
    Tcp(TcpHealthCheck),
}

/// A gRPC health check.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct GrpcHealthCheck {
    /// The service asked for; empty for the server as a whole.
    pub service_name: Arc<str>,
    /// `:authority`; the cluster's name (or the endpoint's host name) when none.
    pub authority: Option<Arc<str>>,
    /// Metadata sent with it.
    pub initial_metadata: HeaderMutations,
}

/// An HTTP health check.
#[derive(Debug, Clone, PartialEq)]
pub struct HttpHealthCheck {
    /// `:authority`; the cluster's name (or the endpoint's host name) when none.
    pub host: Option<Arc<str>>,
    /// The path, with a slash in front.
    pub path: Arc<str>,
    /// The method; `GET` unless said otherwise.
    pub method: &'static str,
    /// Whether HTTP/2 is spoken.
    pub http2: bool,
    /// Changes to the request's headers.
    pub request_headers: HeaderMutations,
    /// Statuses of success; 200 alone when empty.
    pub expected_statuses: Vec<StatusRange>,
    /// Statuses that count towards `unhealthy_threshold` rather than making unhealthy at once.
    pub retriable_statuses: Vec<StatusRange>,
    /// What the body must hold, in this order.
    pub receive: Vec<Payload>,
    /// How much of the body is looked at, in bytes.
    pub response_buffer_size: u64,
    /// What `x-envoy-upstream-healthchecked-cluster` must be like.
    pub service_name_matcher: Option<StringMatcher>,
}

/// Statuses from `start` (included) to `end` (excluded).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StatusRange {
    /// First status of the range.
    pub start: u16,
    /// First status beyond it.
    pub end: u16,
}

/// A TCP health check.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TcpHealthCheck {
    /// Sent after connecting; nothing when none.
    pub send: Option<Payload>,
    /// What must come back, in this order; connecting is enough when empty.
    pub receive: Vec<Payload>,
}

/// Bytes.
pub type Payload = Arc<[u8]>;
