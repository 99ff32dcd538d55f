//! The listener for connections from a workload, the listeners of clients that speak xDS themselves, and what all
//! connection managers have in common.

use std::net::{IpAddr, Ipv4Addr};

use xds_api::envoy::config::core::v3::TrafficDirection;
use xds_api::envoy::config::listener::v3 as listener;
use xds_api::envoy::config::listener::v3::{FilterChain, Listener};
use xds_api::envoy::extensions::filters::http::router::v3::Router;
use xds_api::envoy::extensions::filters::network::http_connection_manager::v3 as hcm;
use xds_api::envoy::extensions::filters::network::http_connection_manager::v3::HttpConnectionManager;
use xds_api::envoy::extensions::filters::network::http_connection_manager::v3::http_connection_manager::{
    RouteSpecifier, ServerHeaderTransformation,
};

use super::{names, parts};
use crate::model::WorkloadIdentity;

/// The listener that takes connections from the workload. It is on the loopback address:
/// on the Pod's own where that is one (several Pods on one machine), else on 127.0.0.1.
pub(super) fn outbound(identity: &WorkloadIdentity) -> Listener {
    let ip = if identity.ip.is_loopback() {
        identity.ip
    } else {
        IpAddr::V4(Ipv4Addr::LOCALHOST)
    };
    Listener {
        name: names::OUTBOUND_LISTENER.to_owned(),
        address: Some(parts::address(ip, identity.outbound_port)),
        traffic_direction: TrafficDirection::Outbound.into(),
        filter_chains: vec![FilterChain {
            filters: vec![connection_manager(HttpConnectionManager {
                route_specifier: Some(outbound_routes()),
                ..manager("outbound")
            })],
            ..Default::default()
        }],
        ..Default::default()
    }
}

/// The listener of a Service for clients that speak xDS themselves (gRFC A27): its name
/// is what they dial, `xds:///greeter.demo.svc.cluster.local:50051`.
pub(super) fn api(name: String) -> Listener {
    let manager = HttpConnectionManager {
        route_specifier: Some(outbound_routes()),
        stat_prefix: name.clone(),
        http_filters: vec![router()],
        ..Default::default()
    };
    Listener {
        name,
        api_listener: Some(listener::ApiListener {
            api_listener: Some(xds_api::pack(&manager)),
        }),
        ..Default::default()
    }
}

fn outbound_routes() -> RouteSpecifier {
    RouteSpecifier::Rds(hcm::Rds {
        config_source: Some(parts::ads()),
        route_config_name: names::OUTBOUND_ROUTES.to_owned(),
    })
}

pub(super) fn manager(stat_prefix: &str) -> HttpConnectionManager {
    HttpConnectionManager {
        stat_prefix: stat_prefix.to_owned(),
        http_filters: vec![router()],
        // A stream may be silent for longer than Envoy's default of five minutes.
        stream_idle_timeout: Some(parts::duration(std::time::Duration::ZERO)),
        server_header_transformation: ServerHeaderTransformation::PassThrough.into(),
        ..Default::default()
    }
}

pub(super) fn connection_manager(manager: HttpConnectionManager) -> listener::Filter {
    listener::Filter {
        name: "envoy.filters.network.http_connection_manager".to_owned(),
        config_type: Some(listener::filter::ConfigType::TypedConfig(xds_api::pack(&manager))),
    }
}

fn router() -> hcm::HttpFilter {
    hcm::HttpFilter {
        name: "envoy.filters.http.router".to_owned(),
        config_type: Some(hcm::http_filter::ConfigType::TypedConfig(xds_api::pack(
            &Router::default(),
        ))),
        ..Default::default()
    }
}
