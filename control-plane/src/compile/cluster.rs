//! Clusters and their endpoints.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;
use std::time::Duration;

use xds_api::envoy::config::cluster::v3 as cluster;
use xds_api::envoy::config::cluster::v3::Cluster;
use xds_api::envoy::config::core::v3 as core;
use xds_api::envoy::config::endpoint::v3 as endpoint;
use xds_api::envoy::extensions::upstreams::http::v3 as upstream_http;
use xds_api::envoy::extensions::upstreams::http::v3::http_protocol_options as options;
use xds_api::google::protobuf as google;

use super::{Flavor, names, parts, tls};
use crate::model::{Endpoint, MeshSettings, PortRef, Protocol, Service, ServicePort};
use crate::objects::service_policy::{
    Algorithm, CircuitBreaker, HealthCheck, MtlsMode, OutlierDetection, PolicyDuration,
};

const DEFAULT_CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const DEFAULT_HEALTH_CHECK_INTERVAL: Duration = Duration::from_secs(5);
const DEFAULT_HEALTH_CHECK_TIMEOUT: Duration = Duration::from_secs(1);
/// The metadata by which a cluster with endpoints of both kinds tells them apart.
const SOCKET_MATCH: &str = "envoy.transport_socket_match";

/// How an endpoint is reached.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Reach {
    /// Through its sidecar, over mutual TLS.
    Sidecar(u16),
    /// Straight to the application, in cleartext.
    Direct,
}

fn reach(endpoint: &Endpoint, mode: MtlsMode, flavor: Flavor) -> Reach {
    match endpoint.sidecar() {
        Some(sidecar) if mode != MtlsMode::Disable && flavor == Flavor::Sidecar => Reach::Sidecar(sidecar.inbound_port),
        _ => Reach::Direct,
    }
}

/// The cluster of a Service's port.
pub(super) fn outbound(
    settings: &MeshSettings,
    service: &Service,
    port: &ServicePort,
    reference: &PortRef,
    flavor: Flavor,
) -> Cluster {
    let name = names::outbound_cluster(settings, reference);
    let policy = &service.policy;
    let mut built = Cluster {
        name,
        cluster_discovery_type: Some(cluster::cluster::ClusterDiscoveryType::Type(
            cluster::cluster::DiscoveryType::Eds.into(),
        )),
        eds_cluster_config: Some(cluster::cluster::EdsClusterConfig {
            eds_config: Some(parts::ads()),
            ..Default::default()
        }),
        connect_timeout: Some(parts::duration(
            policy
                .connect_timeout
                .map_or(DEFAULT_CONNECT_TIMEOUT, |timeout| timeout.0),
        )),
        lb_policy: lb_policy(
            policy
                .load_balancing
                .map(|balancing| balancing.algorithm)
                .unwrap_or_default(),
            flavor,
        )
        .into(),
        circuit_breakers: policy.circuit_breaker.as_ref().map(circuit_breakers),
        outlier_detection: policy.outlier_detection.as_ref().map(outlier_detection),
        typed_extension_protocol_options: protocol_options(port.protocol),
        ..Default::default()
    };
    if flavor == Flavor::Sidecar {
        // The gRPC health service needs HTTP/2; the model has noted where it is asked for without.
        let checks = policy
            .health_check
            .iter()
            .filter(|check| check.grpc.is_none() || port.protocol == Protocol::Http2);
        built.health_checks = checks
            .map(|check| health_check(check, settings.host(&service.name)))
            .collect();
        add_transport_sockets(&mut built, settings, service, port, reference);
    }
    built
}

fn add_transport_sockets(
    built: &mut Cluster,
    settings: &MeshSettings,
    service: &Service,
    port: &ServicePort,
    reference: &PortRef,
) {
    let mode = service.mtls_mode();
    let mut accounts = BTreeSet::new();
    let mut has_direct = mode == MtlsMode::Disable;
    for endpoint in &port.endpoints {
        match (reach(endpoint, mode, Flavor::Sidecar), endpoint.sidecar()) {
            (Reach::Sidecar(_), Some(sidecar)) => {
                accounts.insert(settings.spiffe_id(&sidecar.account()));
            }
            _ => has_direct = true,
        }
    }
    if accounts.is_empty() && has_direct {
        return;
    }
    let socket = tls::upstream(settings, reference, &accounts, port.protocol);
    if !has_direct {
        built.transport_socket = Some(socket);
        return;
    }
    built.transport_socket_matches = vec![
        cluster::cluster::TransportSocketMatch {
            name: "mtls".to_owned(),
            r#match: Some(mutual_tls_metadata()),
            transport_socket: Some(socket),
        },
        cluster::cluster::TransportSocketMatch {
            name: "cleartext".to_owned(),
            r#match: Some(google::Struct::default()),
            transport_socket: Some(tls::cleartext()),
        },
    ];
}

/// `{tlsMode: istio}`, Istio's mark of an endpoint with a sidecar.
fn mutual_tls_metadata() -> google::Struct {
    let value = google::Value {
        kind: Some(google::value::Kind::StringValue("istio".to_owned())),
    };
    google::Struct {
        fields: [("tlsMode".to_owned(), value)].into_iter().collect(),
    }
}

/// The cluster of an application's port, beside its sidecar.
pub(super) fn inbound(ip: IpAddr, app_port: u16, protocol: Protocol) -> Cluster {
    let name = names::inbound_cluster(app_port);
    Cluster {
        load_assignment: Some(endpoint::ClusterLoadAssignment {
            cluster_name: name.clone(),
            endpoints: vec![endpoint::LocalityLbEndpoints {
                lb_endpoints: vec![lb_endpoint(ip, app_port, false)],
                ..Default::default()
            }],
            ..Default::default()
        }),
        name,
        connect_timeout: Some(parts::duration(DEFAULT_CONNECT_TIMEOUT)),
        cluster_discovery_type: Some(cluster::cluster::ClusterDiscoveryType::Type(
            cluster::cluster::DiscoveryType::Static.into(),
        )),
        typed_extension_protocol_options: protocol_options(protocol),
        ..Default::default()
    }
}

/// The cluster without endpoints.
pub(super) fn nowhere() -> Cluster {
    Cluster {
        name: names::NOWHERE_CLUSTER.to_owned(),
        connect_timeout: Some(parts::duration(DEFAULT_CONNECT_TIMEOUT)),
        cluster_discovery_type: Some(cluster::cluster::ClusterDiscoveryType::Type(
            cluster::cluster::DiscoveryType::Static.into(),
        )),
        load_assignment: Some(endpoint::ClusterLoadAssignment {
            cluster_name: names::NOWHERE_CLUSTER.to_owned(),
            ..Default::default()
        }),
        ..Default::default()
    }
}

/// The endpoints of a Service's port, by locality.
pub(super) fn load_assignment(
    settings: &MeshSettings,
    service: &Service,
    port: &ServicePort,
    reference: &PortRef,
    flavor: Flavor,
) -> endpoint::ClusterLoadAssignment {
    let mode = service.mtls_mode();
    let kinds: BTreeSet<bool> = port
        .endpoints
        .iter()
        .map(|endpoint| reach(endpoint, mode, flavor) == Reach::Direct)
        .collect();
    let is_mixed = kinds.len() > 1;
    let mut localities: BTreeMap<_, Vec<endpoint::LbEndpoint>> = BTreeMap::new();
    for address in &port.endpoints {
        let mut built = match reach(address, mode, flavor) {
            Reach::Sidecar(inbound_port) => lb_endpoint(address.ip, inbound_port, address.draining),
            Reach::Direct => lb_endpoint(address.ip, address.port, address.draining),
        };
        if is_mixed && reach(address, mode, flavor) != Reach::Direct {
            built.metadata = Some(core::Metadata {
                filter_metadata: HashMap::from([(SOCKET_MATCH.to_owned(), mutual_tls_metadata())]),
                ..Default::default()
            });
        }
        localities.entry(&address.locality).or_default().push(built);
    }
    let endpoints = localities
        .into_iter()
        .map(|(locality, lb_endpoints)| endpoint::LocalityLbEndpoints {
            locality: Some(core::Locality {
                region: locality.region.to_string(),
                zone: locality.zone.to_string(),
                sub_zone: String::new(),
            }),
            // gRPC clients leave out a locality without a weight (gRFC A27).
            load_balancing_weight: Some(parts::number(u32::try_from(lb_endpoints.len()).unwrap_or(u32::MAX))),
            lb_endpoints,
            ..Default::default()
        });
    endpoint::ClusterLoadAssignment {
        cluster_name: names::outbound_cluster(settings, reference),
        endpoints: endpoints.collect(),
        ..Default::default()
    }
}

fn lb_endpoint(ip: IpAddr, port: u16, draining: bool) -> endpoint::LbEndpoint {
    let health = if draining {
        core::HealthStatus::Draining
    } else {
        core::HealthStatus::Unknown
    };
    endpoint::LbEndpoint {
        host_identifier: Some(endpoint::lb_endpoint::HostIdentifier::Endpoint(endpoint::Endpoint {
            address: Some(parts::address(ip, port)),
            ..Default::default()
        })),
        health_status: health.into(),
        ..Default::default()
    }
}

fn protocol_options(protocol: Protocol) -> HashMap<String, google::Any> {
    use options::explicit_http_config::ProtocolConfig;
    let protocol_config = match protocol {
        Protocol::Http1 => ProtocolConfig::HttpProtocolOptions(core::Http1ProtocolOptions::default()),
        Protocol::Http2 => ProtocolConfig::Http2ProtocolOptions(core::Http2ProtocolOptions::default()),
    };
    let options = upstream_http::HttpProtocolOptions {
        upstream_protocol_options: Some(options::UpstreamProtocolOptions::ExplicitHttpConfig(
            options::ExplicitHttpConfig {
                protocol_config: Some(protocol_config),
            },
        )),
        ..Default::default()
    };
    HashMap::from([(
        "envoy.extensions.upstreams.http.v3.HttpProtocolOptions".to_owned(),
        xds_api::pack(&options),
    )])
}

fn lb_policy(algorithm: Algorithm, flavor: Flavor) -> cluster::cluster::LbPolicy {
    match (algorithm, flavor) {
        // gRPC clients know round robin and the ring hash (gRFC A27, A42).
        (_, Flavor::Proxyless) | (Algorithm::RoundRobin, _) => cluster::cluster::LbPolicy::RoundRobin,
        (Algorithm::LeastRequest, _) => cluster::cluster::LbPolicy::LeastRequest,
        (Algorithm::Random, _) => cluster::cluster::LbPolicy::Random,
    }
}

fn circuit_breakers(limits: &CircuitBreaker) -> cluster::CircuitBreakers {
    cluster::CircuitBreakers {
        thresholds: vec![cluster::circuit_breakers::Thresholds {
            priority: core::RoutingPriority::Default.into(),
            max_connections: limits.max_connections.map(parts::number),
            max_pending_requests: limits.max_pending_requests.map(parts::number),
            max_requests: limits.max_requests.map(parts::number),
            max_retries: limits.max_retries.map(parts::number),
            ..Default::default()
        }],
        ..Default::default()
    }
}

fn given(duration: Option<PolicyDuration>) -> Option<google::Duration> {
    duration.map(|duration| parts::duration(duration.0))
}

fn outlier_detection(outlier: &OutlierDetection) -> cluster::OutlierDetection {
    let is_off = outlier.consecutive_5xx == Some(0);
    cluster::OutlierDetection {
        consecutive_5xx: outlier.consecutive_5xx.filter(|_| !is_off).map(parts::number),
        enforcing_consecutive_5xx: is_off.then(|| parts::number(0)),
        consecutive_gateway_failure: outlier.consecutive_gateway_errors.map(parts::number),
        enforcing_consecutive_gateway_failure: outlier.consecutive_gateway_errors.map(|_| parts::number(100)),
        // Off until asked for: Envoy switches this detector on by default.
        enforcing_success_rate: Some(parts::number(0)),
        interval: given(outlier.interval),
        base_ejection_time: given(outlier.base_ejection_time),
        max_ejection_percent: outlier.max_ejection_percent.map(parts::number),
        ..Default::default()
    }
}

/// `host` is what is asked for: Envoy would ask for the cluster's name, whose `|` no
/// authority may contain (RFC 3986, section 3.2), and strict servers would refuse it.
fn health_check(check: &HealthCheck, host: String) -> core::HealthCheck {
    use core::health_check::{GrpcHealthCheck, HealthChecker, HttpHealthCheck, TcpHealthCheck};
    let checker = if let Some(http) = &check.http {
        HealthChecker::HttpHealthCheck(HttpHealthCheck {
            path: http.path.clone(),
            host: if http.host.is_empty() { host } else { http.host.clone() },
            ..Default::default()
        })
    } else if check.tcp.is_some() {
        HealthChecker::TcpHealthCheck(TcpHealthCheck::default())
    } else {
        HealthChecker::GrpcHealthCheck(GrpcHealthCheck {
            service_name: check.grpc.as_ref().map(|grpc| grpc.service.clone()).unwrap_or_default(),
            authority: host,
            ..Default::default()
        })
    };
    let interval = check
        .interval
        .map_or(DEFAULT_HEALTH_CHECK_INTERVAL, |interval| interval.0);
    core::HealthCheck {
        interval: Some(parts::duration(interval)),
        timeout: Some(parts::duration(
            check.timeout.map_or(DEFAULT_HEALTH_CHECK_TIMEOUT, |timeout| timeout.0),
        )),
        // Envoy's default is a minute, which is how long a cluster would wait that failed its first check, before
        // anything called it.
        no_traffic_interval: Some(parts::duration(interval.max(DEFAULT_HEALTH_CHECK_INTERVAL))),
        unhealthy_threshold: Some(parts::number(check.unhealthy_threshold.unwrap_or(2))),
        healthy_threshold: Some(parts::number(check.healthy_threshold.unwrap_or(1))),
        health_checker: Some(checker),
        ..Default::default()
    }
}
