//! What several unit tests of this crate begin with.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use config::Fingerprint;
use config::address::Address;
use config::cluster::{
    Cluster, ClusterSettings, Discovery, GrpcHealthCheck, HappyEyeballs, HealthCheck, HealthChecker, LbPolicy,
    Preconnect, TrackClusterStats,
};
use config::endpoint::{ClusterLoadAssignment, Endpoint, Locality, LocalityEndpoints};
use config::metadata::Metadata;

use crate::cluster_state::ClusterState;
use crate::endpoint::EndpointAddress;
use crate::health_flags::HealthFlags;
use crate::hosts::{Host, HostSet};
use crate::registry::StateRegistry;

pub(crate) type Members = LocalityEndpoints;

pub(crate) fn registry() -> StateRegistry {
    StateRegistry::new(telemetry::stats::Registry::new(1))
}

pub(crate) fn cluster_of(registry: &StateRegistry, name: &str) -> Arc<ClusterState> {
    registry.cluster(&name.into(), name)
}

pub(crate) fn endpoint(address: SocketAddr, weight: u32) -> Endpoint {
    let mut endpoint = Endpoint::new(Address::Socket(address));
    endpoint.load_balancing_weight = weight;
    endpoint
}

pub(crate) fn assignment(endpoints: Vec<LocalityEndpoints>) -> Arc<ClusterLoadAssignment> {
    Arc::new(ClusterLoadAssignment {
        cluster_name: "c".into(),
        fingerprint: Fingerprint::of(format!("{endpoints:?}").as_bytes()),
        endpoints,
        overprovisioning_factor: ClusterLoadAssignment::DEFAULT_OVERPROVISIONING_FACTOR,
        weighted_priority_health: false,
        drop_overloads: Vec::new(),
        endpoint_stale_after: None,
    })
}

/// One locality of priority `priority`, called by its subnet: endpoints from 10.0.`subnet`.1 on.
pub(crate) fn locality(priority: u32, subnet: u8, weight: u32, weights: &[u32]) -> LocalityEndpoints {
    let address = |i| SocketAddr::from(([10, 0, subnet, i as u8 + 1], 80));
    LocalityEndpoints {
        locality: Arc::new(Locality {
            zone: subnet.to_string().into(),
            ..Locality::default()
        }),
        priority,
        load_balancing_weight: (weight > 0).then_some(weight),
        metadata: Arc::default(),
        endpoints: weights
            .iter()
            .enumerate()
            .map(|(i, &weight)| endpoint(address(i), weight))
            .collect(),
    }
}

/// The endpoints of `localities`, all of them healthy unless they were something else before.
pub(crate) fn host_set(cluster: &Arc<ClusterState>, localities: Vec<LocalityEndpoints>) -> Arc<HostSet> {
    Arc::new(HostSet::new(assignment(localities), |_, endpoint| {
        let address = EndpointAddress::Socket(endpoint.address().socket_addr().unwrap());
        let state = cluster.endpoint(address, "", "");
        state.update_health(HealthFlags::NONE, HealthFlags::REMOVED);
        vec![state]
    }))
}

/// Endpoints of one locality.
pub(crate) fn hosts(cluster: &Arc<ClusterState>, subnet: u8, weights: &[u32]) -> Vec<Host> {
    host_set(cluster, vec![locality(0, subnet, 0, weights)])
        .iter()
        .cloned()
        .collect()
}

/// A STATIC cluster, all else as Envoy has it by default.
pub(crate) fn cluster(name: &str, localities: Vec<LocalityEndpoints>) -> Cluster {
    Cluster {
        name: name.into(),
        alt_stat_name: None,
        discovery: Discovery::Static {
            endpoints: assignment(localities),
        },
        transport_socket: None,
        transport_socket_matches: Vec::new(),
        metadata: Metadata::default(),
        settings: Arc::new(ClusterSettings {
            connect_timeout: Cluster::DEFAULT_CONNECT_TIMEOUT,
            per_connection_buffer_limit_bytes: Cluster::DEFAULT_PER_CONNECTION_BUFFER_LIMIT_BYTES,
            lb_policy: LbPolicy::default(),
            common_lb_config: Arc::default(),
            lb_subset_config: None,
            health_checks: Vec::new(),
            circuit_breakers: Arc::default(),
            outlier_detection: None,
            http_protocol_options: Arc::default(),
            upstream_bind_config: None,
            tcp_keepalive: None,
            happy_eyeballs: HappyEyeballs::default(),
            dns: Arc::default(),
            wait_for_warm_on_init: true,
            close_connections_on_host_health_failure: false,
            ignore_health_on_host_removal: false,
            connection_pool_per_downstream_connection: false,
            preconnect: Preconnect::default(),
            cleanup_interval: Cluster::DEFAULT_CLEANUP_INTERVAL,
            track_cluster_stats: TrackClusterStats::default(),
        }),
        fingerprint: Fingerprint::of(name.as_bytes()),
    }
}

/// A gRPC health check with a timeout of 1 s and an interval of 5 s, all else as Envoy has it by default.
pub(crate) fn health_check(unhealthy_threshold: u32, healthy_threshold: u32) -> HealthCheck {
    HealthCheck {
        checker: HealthChecker::Grpc(GrpcHealthCheck::default()),
        timeout: Duration::from_secs(1),
        interval: Duration::from_secs(5),
        initial_jitter: Duration::ZERO,
        interval_jitter: Duration::ZERO,
        interval_jitter_percent: 0,
        unhealthy_threshold,
        healthy_threshold,
        alt_port: None,
        reuse_connection: true,
        no_traffic_interval: HealthCheck::DEFAULT_NO_TRAFFIC_INTERVAL,
        no_traffic_healthy_interval: None,
        unhealthy_interval: None,
        unhealthy_edge_interval: None,
        healthy_edge_interval: None,
        always_log_health_check_failures: false,
        alpn_protocols: Vec::new(),
        transport_socket_match_criteria: None,
    }
}
