//! Clusters (`envoy.config.cluster.v3.Cluster`).

use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::time::Duration;

use crate::config_source::ConfigSource;
use crate::endpoint::ClusterLoadAssignment;
use crate::fingerprint::Fingerprint;
use crate::http_protocol_options::{
    CommonHttpProtocolOptions, Http1ProtocolOptions, Http2ProtocolOptions, UpstreamHttpProtocolOptions,
};
use crate::listener::{TcpKeepalive, TransportSocket};
use crate::metadata::{Metadata, Struct};
use crate::resource::{References, ResourceType};

mod bind_config;
mod circuit_breakers;
mod connecting;
mod dns;
mod health_check;
mod load_balancing;
mod outlier_detection;
mod parse;

pub use bind_config::{BindConfig, SourceAddress};
pub use circuit_breakers::{CircuitBreakers, RetryBudget, Thresholds};
pub use connecting::HappyEyeballs;
pub use dns::{DnsLookupFamily, DnsOptions, DnsResolver};
pub use health_check::{
    GrpcHealthCheck, HealthCheck, HealthChecker, HttpHealthCheck, Payload, StatusRange, TcpHealthCheck,
};
pub use load_balancing::{
    CommonLbConfig, ConsistentHashing, HashFunction, LbPolicy, LocalityBasis, LocalityConfig, SlowStart, Subset,
    SubsetFallback, SubsetSelector,
};
pub use outlier_detection::OutlierDetection;

/// A group of endpoints that requests are balanced over.
#[derive(Debug, Clone)]
pub struct Cluster {
    /// Unique name.
    pub name: Arc<str>,
    /// Its name in statistics, where that differs.
    pub alt_stat_name: Option<Arc<str>>,
    /// Where its endpoints come from.
    pub discovery: Discovery,
    /// Transport socket; raw TCP when none.
    pub transport_socket: Option<TransportSocket>,
    /// Transport sockets by endpoint metadata; the first that matches takes the place of `transport_socket`.
    pub transport_socket_matches: Vec<TransportSocketMatch>,
    /// Metadata of its own.
    pub metadata: Metadata,
    /// All else, shared with clusters that are alike: those of a big mesh mostly are.
    pub settings: Arc<ClusterSettings>,
    /// Identity of its content.
    pub fingerprint: Fingerprint,
}

impl Deref for Cluster {
    type Target = ClusterSettings;

    fn deref(&self) -> &ClusterSettings {
        &self.settings
    }
}

impl DerefMut for Cluster {
    /// Makes the settings its own first.
    fn deref_mut(&mut self) -> &mut ClusterSettings {
        Arc::make_mut(&mut self.settings)
    }
}

/// What clusters may have in common.
#[derive(Debug, Clone, PartialEq)]
pub struct ClusterSettings {
    /// How long connecting may take. Envoy's default is 5 s.
    pub connect_timeout: Duration,
    /// Limit on bytes buffered for a connection, soft.
    pub per_connection_buffer_limit_bytes: u32,
    /// How endpoints are chosen.
    pub lb_policy: LbPolicy,
    /// What all balancers have in common.
    pub common_lb_config: Arc<CommonLbConfig>,
    /// Choosing among a subset of the endpoints.
    pub lb_subset_config: Option<Arc<Subset>>,
    /// Active health checks; none trusts discovery.
    pub health_checks: Vec<Arc<HealthCheck>>,
    /// Limits.
    pub circuit_breakers: Arc<CircuitBreakers>,
    /// Ejection of endpoints that fail; none when off.
    pub outlier_detection: Option<Arc<OutlierDetection>>,
    /// How HTTP is spoken with the endpoints.
    pub http_protocol_options: Arc<HttpProtocolOptions>,
    /// The address that connections come from.
    pub upstream_bind_config: Option<BindConfig>,
    /// Keepalive of connections; none when off.
    pub tcp_keepalive: Option<TcpKeepalive>,
    /// In which order the addresses of an endpoint are tried.
    pub happy_eyeballs: HappyEyeballs,
    /// How DNS is used.
    pub dns: Arc<DnsOptions>,
    /// Whether an original-destination or static cluster waits for its first health checks before it is warm.
    pub wait_for_warm_on_init: bool,
    /// Whether an endpoint that fails its health checks loses its connections.
    pub close_connections_on_host_health_failure: bool,
    /// Whether a removed endpoint goes at once, healthy or not.
    pub ignore_health_on_host_removal: bool,
    /// Whether each downstream connection has upstream connections of its own.
    pub connection_pool_per_downstream_connection: bool,
    /// Connections opened ahead of need.
    pub preconnect: Preconnect,
    /// How often removed endpoints of an original-destination cluster are looked for.
    pub cleanup_interval: Duration,
    /// Which more statistics are kept.
    pub track_cluster_stats: TrackClusterStats,
}

impl Cluster {
    /// Envoy's default for [`connect_timeout`](ClusterSettings::connect_timeout).
    pub const DEFAULT_CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
    /// Envoy's default for [`per_connection_buffer_limit_bytes`](ClusterSettings::per_connection_buffer_limit_bytes): 1 MiB.
    pub const DEFAULT_PER_CONNECTION_BUFFER_LIMIT_BYTES: u32 = 1024 * 1024;
    /// Envoy's default for [`cleanup_interval`](ClusterSettings::cleanup_interval).
    pub const DEFAULT_CLEANUP_INTERVAL: Duration = Duration::from_secs(5);

    /// Its name in statistics.
    pub fn stat_name(&self) -> &Arc<str> {
        self.alt_stat_name.as_ref().unwrap_or(&self.name)
    }

    /// Endpoints and secrets it needs.
    pub fn references(&self) -> References {
        let mut references = References::default();
        if let Discovery::Eds { service_name, source } = &self.discovery {
            references.add(ResourceType::ClusterLoadAssignment, service_name, Some(source));
        }
        let sockets = self
            .transport_socket_matches
            .iter()
            .filter_map(|entry| entry.transport_socket.as_ref());
        for socket in self.transport_socket.iter().chain(sockets) {
            socket.config.references(&mut references);
        }
        references
    }
}

/// Where the endpoints of a cluster come from.
#[derive(Debug, Clone)]
pub enum Discovery {
    /// The configuration.
    Static {
        /// The endpoints.
        endpoints: Arc<ClusterLoadAssignment>,
    },
    /// DNS: every address of every name is an endpoint.
    StrictDns {
        /// Names in place of addresses.
        endpoints: Arc<ClusterLoadAssignment>,
    },
    /// DNS: the first address of the one name, whenever a connection is made.
    LogicalDns {
        /// One endpoint with a name.
        endpoints: Arc<ClusterLoadAssignment>,
    },
    /// The control plane.
    Eds {
        /// The name to ask for: that of the cluster unless said otherwise.
        service_name: Arc<str>,
        /// Where it comes from.
        source: Arc<ConfigSource>,
    },
    /// The address that the client was connecting to.
    OriginalDst(OriginalDst),
}

/// How the original destination is found.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct OriginalDst {
    /// A request header that gives the address; none for the connection's own.
    pub http_header_name: Option<Arc<str>>,
    /// A port in place of the original one.
    pub upstream_port_override: Option<u16>,
}

/// How HTTP is spoken with the endpoints of a cluster (`envoy.extensions.upstreams.http.v3.HttpProtocolOptions`).
#[derive(Debug, Clone, PartialEq, Default)]
pub struct HttpProtocolOptions {
    /// Which version.
    pub upstream_protocol: UpstreamProtocol,
    /// Options of every version.
    pub common: CommonHttpProtocolOptions,
    /// Options that concern TLS.
    pub upstream: UpstreamHttpProtocolOptions,
}

/// Which HTTP version is spoken with an endpoint.
#[derive(Debug, Clone, PartialEq)]
pub enum UpstreamProtocol {
    /// HTTP/1.1.
    Http1(Http1ProtocolOptions),
    /// HTTP/2 (with prior knowledge on plaintext).
    Http2(Http2ProtocolOptions),
    /// The version of the downstream request.
    UseDownstream {
        /// Options of HTTP/1.1.
        http1: Http1ProtocolOptions,
        /// Options of HTTP/2.
        http2: Http2ProtocolOptions,
    },
    /// What ALPN settles on; the transport socket must be TLS.
    Auto {
        /// Options of HTTP/1.1.
        http1: Http1ProtocolOptions,
        /// Options of HTTP/2.
        http2: Http2ProtocolOptions,
    },
}

impl Default for UpstreamProtocol {
    fn default() -> Self {
        Self::Http1(Http1ProtocolOptions::default())
    }
}

/// A transport socket for endpoints with certain metadata.
#[derive(Debug, Clone)]
pub struct TransportSocketMatch {
    /// Name, in statistics.
    pub name: Arc<str>,
    /// What the endpoint's metadata under `envoy.transport_socket_match` must hold; empty matches every endpoint.
    pub criteria: Struct,
    /// The transport socket; raw TCP when none.
    pub transport_socket: Option<TransportSocket>,
}

impl TransportSocketMatch {
    /// The filter name under which an endpoint's metadata is compared.
    pub const METADATA: &'static str = "envoy.transport_socket_match";

    /// Whether an endpoint with this metadata (else that of its locality) is meant.
    pub fn matches(&self, endpoint: Option<&Struct>, locality: Option<&Struct>) -> bool {
        let found = |name: &str| {
            endpoint
                .and_then(|fields| fields.get(name))
                .or_else(|| locality.and_then(|fields| fields.get(name)))
        };
        self.criteria.iter().all(|(name, value)| found(name) == Some(value))
    }
}

/// Connections opened ahead of need.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Preconnect {
    /// Streams to be ready for, for each active one, per endpoint and worker. 1 opens none ahead.
    pub per_upstream_ratio: f64,
    /// The same over the whole cluster. 0 opens none ahead.
    pub predictive_ratio: f64,
}

impl Default for Preconnect {
    fn default() -> Self {
        Self {
            per_upstream_ratio: 1.0,
            predictive_ratio: 0.0,
        }
    }
}

/// Which more statistics are kept of a cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TrackClusterStats {
    /// How much of its timeout a request used.
    pub timeout_budgets: bool,
    /// Sizes of requests and responses.
    pub request_response_sizes: bool,
    /// Those of each endpoint.
    pub per_endpoint_stats: bool,
}

#[cfg(test)]
mod tests;
