//! The mesh that is fed: clusters with endpoints, virtual hosts, one listener.

use xds_api::envoy::config::cluster::v3::cluster::{ClusterDiscoveryType, DiscoveryType, EdsClusterConfig};
use xds_api::envoy::config::cluster::v3::{CircuitBreakers, Cluster, circuit_breakers};
use xds_api::envoy::config::core::v3::address::Address as AddressKind;
use xds_api::envoy::config::core::v3::config_source::ConfigSourceSpecifier;
use xds_api::envoy::config::core::v3::socket_address::PortSpecifier;
use xds_api::envoy::config::core::v3::{
    Address, AggregatedConfigSource, ApiVersion, ConfigSource, HealthStatus, SocketAddress,
};
use xds_api::envoy::config::endpoint::v3::lb_endpoint::HostIdentifier;
use xds_api::envoy::config::endpoint::v3::{ClusterLoadAssignment, Endpoint, LbEndpoint, LocalityLbEndpoints};
use xds_api::envoy::config::listener::v3::filter::ConfigType as FilterConfig;
use xds_api::envoy::config::listener::v3::{Filter, FilterChain, Listener};
use xds_api::envoy::config::route::v3::route::Action;
use xds_api::envoy::config::route::v3::route_action::ClusterSpecifier;
use xds_api::envoy::config::route::v3::route_match::PathSpecifier;
use xds_api::envoy::config::route::v3::{Route, RouteAction, RouteConfiguration, RouteMatch, VirtualHost};
use xds_api::envoy::extensions::filters::http::router::v3::Router;
use xds_api::envoy::extensions::filters::network::http_connection_manager::v3::http_connection_manager::{
    CodecType, RouteSpecifier,
};
use xds_api::envoy::extensions::filters::network::http_connection_manager::v3::http_filter::ConfigType;
use xds_api::envoy::extensions::filters::network::http_connection_manager::v3::{
    HttpConnectionManager, HttpFilter, Rds,
};
use xds_api::google::protobuf::{Any, Duration, UInt32Value};
use xds_api::pack;

/// Size of the mesh, and where its parts are.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shape {
    pub(crate) clusters: usize,
    pub(crate) endpoints: usize,
    /// Where the proxy listens.
    pub(crate) listener: u16,
    /// The two backends between which endpoints move.
    pub(crate) backends: [u16; 2],
}

impl Shape {
    /// Name of a cluster.
    pub(crate) fn cluster_name(index: usize) -> String {
        format!("outbound|8080||service-{index}.mesh.svc.cluster.local")
    }

    /// Host that is routed to a cluster.
    pub(crate) fn host(index: usize) -> String {
        format!("service-{index}.mesh.svc.cluster.local")
    }

    /// Every cluster.
    pub(crate) fn clusters(&self) -> Vec<(String, Any)> {
        (0..self.clusters)
            .map(|index| {
                let name = Self::cluster_name(index);
                let many = circuit_breakers::Thresholds {
                    max_connections: Some(UInt32Value { value: 100_000 }),
                    max_pending_requests: Some(UInt32Value { value: 100_000 }),
                    max_requests: Some(UInt32Value { value: 100_000 }),
                    ..Default::default()
                };
                let cluster = Cluster {
                    name: name.clone(),
                    cluster_discovery_type: Some(ClusterDiscoveryType::Type(DiscoveryType::Eds.into())),
                    eds_cluster_config: Some(EdsClusterConfig {
                        eds_config: Some(ads()),
                        service_name: String::new(),
                    }),
                    connect_timeout: Some(Duration { seconds: 1, nanos: 0 }),
                    circuit_breakers: Some(CircuitBreakers {
                        thresholds: vec![many],
                        ..Default::default()
                    }),
                    ..Default::default()
                };
                (name, pack(&cluster))
            })
            .collect()
    }

    /// The endpoints of a cluster: one that is healthy, at one of the backends, and others beside it.
    pub(crate) fn endpoints(&self, index: usize, backend: usize) -> (String, Any) {
        let name = Self::cluster_name(index);
        let lb_endpoints = (0..self.endpoints)
            .map(|number| {
                // Addresses of the loopback network, each only once in a cluster.
                let (address, port, health) = match number {
                    0 => ("127.0.0.1".to_owned(), self.backends[backend], HealthStatus::Healthy),
                    n => (
                        format!("127.{}.{}.{}", 1 + index / 250, index % 250, n),
                        8080,
                        HealthStatus::Draining,
                    ),
                };
                let address = Address {
                    address: Some(AddressKind::SocketAddress(SocketAddress {
                        address,
                        port_specifier: Some(PortSpecifier::PortValue(port.into())),
                        ..Default::default()
                    })),
                };
                LbEndpoint {
                    host_identifier: Some(HostIdentifier::Endpoint(Endpoint {
                        address: Some(address),
                        ..Default::default()
                    })),
                    health_status: health.into(),
                    ..Default::default()
                }
            })
            .collect();
        let assignment = ClusterLoadAssignment {
            cluster_name: name.clone(),
            endpoints: vec![LocalityLbEndpoints {
                lb_endpoints,
                ..Default::default()
            }],
            ..Default::default()
        };
        (name, pack(&assignment))
    }

    /// The route table: a virtual host for each cluster.
    pub(crate) fn routes(&self) -> (String, Any) {
        let virtual_hosts = (0..self.clusters)
            .map(|index| VirtualHost {
                name: Self::host(index),
                domains: vec![Self::host(index), format!("{}:8080", Self::host(index))],
                routes: vec![Route {
                    r#match: Some(RouteMatch {
                        path_specifier: Some(PathSpecifier::Prefix("/".to_owned())),
                        ..Default::default()
                    }),
                    action: Some(Action::Route(RouteAction {
                        cluster_specifier: Some(ClusterSpecifier::Cluster(Self::cluster_name(index))),
                        ..Default::default()
                    })),
                    ..Default::default()
                }],
                ..Default::default()
            })
            .collect();
        let table = RouteConfiguration {
            name: "mesh".to_owned(),
            virtual_hosts,
            ..Default::default()
        };
        ("mesh".to_owned(), pack(&table))
    }

    /// The listener, which takes its routes from the control plane.
    pub(crate) fn listener(&self) -> (String, Any) {
        let manager = HttpConnectionManager {
            stat_prefix: "mesh".to_owned(),
            codec_type: CodecType::Http1.into(),
            route_specifier: Some(RouteSpecifier::Rds(Rds {
                config_source: Some(ads()),
                route_config_name: "mesh".to_owned(),
            })),
            http_filters: vec![HttpFilter {
                name: "envoy.filters.http.router".to_owned(),
                config_type: Some(ConfigType::TypedConfig(pack(&Router::default()))),
                ..Default::default()
            }],
            ..Default::default()
        };
        let address = Address {
            address: Some(AddressKind::SocketAddress(SocketAddress {
                address: "127.0.0.1".to_owned(),
                port_specifier: Some(PortSpecifier::PortValue(self.listener.into())),
                ..Default::default()
            })),
        };
        let listener = Listener {
            name: "mesh".to_owned(),
            address: Some(address),
            filter_chains: vec![FilterChain {
                filters: vec![Filter {
                    name: "envoy.filters.network.http_connection_manager".to_owned(),
                    config_type: Some(FilterConfig::TypedConfig(pack(&manager))),
                }],
                ..Default::default()
            }],
            ..Default::default()
        };
        ("mesh".to_owned(), pack(&listener))
    }
}

fn ads() -> ConfigSource {
    ConfigSource {
        config_source_specifier: Some(ConfigSourceSpecifier::Ads(AggregatedConfigSource {})),
        resource_api_version: ApiVersion::V3.into(),
        ..Default::default()
    }
}
