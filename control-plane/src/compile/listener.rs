//! A sidecar's two listeners, and the listeners of clients that speak xDS themselves.

use std::net::{IpAddr, Ipv4Addr};

use xds_api::envoy::config::core::v3::TrafficDirection;
use xds_api::envoy::config::listener::v3 as listener;
use xds_api::envoy::config::listener::v3::{FilterChain, FilterChainMatch, Listener, ListenerFilter};
use xds_api::envoy::config::route::v3::RouteConfiguration;
use xds_api::envoy::extensions::filters::http::router::v3::Router;
use xds_api::envoy::extensions::filters::listener::tls_inspector::v3::TlsInspector;
use xds_api::envoy::extensions::filters::network::http_connection_manager::v3 as hcm;
use xds_api::envoy::extensions::filters::network::http_connection_manager::v3::HttpConnectionManager;
use xds_api::envoy::extensions::filters::network::http_connection_manager::v3::http_connection_manager::{
    ForwardClientCertDetails, RouteSpecifier, ServerHeaderTransformation, SetCurrentClientCertDetails,
};

use super::{names, parts, route, tls};
use crate::model::{AppPort, MeshSettings, Workload, WorkloadIdentity};
use crate::objects::service_policy::MtlsMode;

/// The listener that takes connections for the workload: one filter chain per port of the
/// application, told apart by the server name that callers' sidecars send. There is none
/// if the workload serves nothing.
pub(super) fn inbound(settings: &MeshSettings, workload: &Workload) -> Option<Listener> {
    let takes_tls = |port: &AppPort| port.mtls != MtlsMode::Disable;
    let takes_cleartext = |port: &AppPort| matches!(port.mtls, MtlsMode::Disable | MtlsMode::Permissive);
    let tls_ports: Vec<_> = workload.app_ports.iter().filter(|(_, port)| takes_tls(port)).collect();
    // Cleartext names no port, so one application port at most can have it.
    let cleartext_port = workload.app_ports.iter().find(|(_, port)| takes_cleartext(port));
    if tls_ports.is_empty() && cleartext_port.is_none() {
        return None;
    }
    let has_both = !tls_ports.is_empty() && cleartext_port.is_some();
    let has_names = tls_ports.len() > 1;
    let mut filter_chains = Vec::new();
    for (number, port) in &tls_ports {
        let names = port
            .services
            .iter()
            .map(|service| names::server_name(settings, service));
        let condition = FilterChainMatch {
            server_names: if has_names { names.collect() } else { Vec::new() },
            transport_protocol: if has_both { "tls".to_owned() } else { String::new() },
            ..Default::default()
        };
        filter_chains.push(FilterChain {
            name: names::inbound_cluster(**number),
            filter_chain_match: (has_names || has_both).then_some(condition),
            filters: vec![connection_manager(inbound_manager(**number))],
            transport_socket: Some(tls::downstream(settings)),
            ..Default::default()
        });
    }
    if let Some((number, _)) = cleartext_port {
        let condition = FilterChainMatch {
            transport_protocol: "raw_buffer".to_owned(),
            ..Default::default()
        };
        filter_chains.push(FilterChain {
            name: format!("{} cleartext", names::inbound_cluster(*number)),
            filter_chain_match: has_both.then_some(condition),
            filters: vec![connection_manager(inbound_manager(*number))],
            ..Default::default()
        });
    }
    Some(Listener {
        name: names::INBOUND_LISTENER.to_owned(),
        address: Some(parts::address(workload.identity.ip, workload.identity.inbound_port)),
        traffic_direction: TrafficDirection::Inbound.into(),
        listener_filters: if has_names || has_both {
            vec![tls_inspector()]
        } else {
            Vec::new()
        },
        filter_chains,
        ..Default::default()
    })
}

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

fn inbound_manager(app_port: u16) -> HttpConnectionManager {
    let name = names::inbound_cluster(app_port);
    let routes = RouteConfiguration {
        virtual_hosts: vec![route::virtual_host(
            name.clone(),
            vec!["*".to_owned()],
            route::inbound_routes(app_port),
        )],
        name,
        ..Default::default()
    };
    HttpConnectionManager {
        route_specifier: Some(RouteSpecifier::RouteConfig(routes)),
        // The application learns who calls from us alone, never from the caller.
        forward_client_cert_details: ForwardClientCertDetails::SanitizeSet.into(),
        set_current_client_cert_details: Some(SetCurrentClientCertDetails {
            uri: true,
            ..Default::default()
        }),
        ..manager("inbound")
    }
}

fn manager(stat_prefix: &str) -> HttpConnectionManager {
    HttpConnectionManager {
        stat_prefix: stat_prefix.to_owned(),
        http_filters: vec![router()],
        // A stream may be silent for longer than Envoy's default of five minutes.
        stream_idle_timeout: Some(parts::duration(std::time::Duration::ZERO)),
        server_header_transformation: ServerHeaderTransformation::PassThrough.into(),
        ..Default::default()
    }
}

fn connection_manager(manager: HttpConnectionManager) -> listener::Filter {
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

fn tls_inspector() -> ListenerFilter {
    ListenerFilter {
        name: "envoy.filters.listener.tls_inspector".to_owned(),
        config_type: Some(listener::listener_filter::ConfigType::TypedConfig(xds_api::pack(
            &TlsInspector::default(),
        ))),
        ..Default::default()
    }
}
