//! The listener that takes connections for a workload.
//!
//! Sidecars of this mesh connect to its port straight and say by the server name of TLS which Service's port they want.
//! Cleartext, where a policy takes it, comes from those that are in no mesh: either redirected here on its way to a port of
//! the application (the original destination says which), or straight, where the request's host says it.

use std::collections::BTreeSet;

use xds_api::envoy::config::core::v3::TrafficDirection;
use xds_api::envoy::config::listener::v3 as listener;
use xds_api::envoy::config::listener::v3::{FilterChain, FilterChainMatch, Listener, ListenerFilter};
use xds_api::envoy::config::route::v3::{RouteConfiguration, VirtualHost};
use xds_api::envoy::extensions::filters::listener::original_dst::v3::OriginalDst;
use xds_api::envoy::extensions::filters::listener::tls_inspector::v3::TlsInspector;
use xds_api::envoy::extensions::filters::network::http_connection_manager::v3::HttpConnectionManager;
use xds_api::envoy::extensions::filters::network::http_connection_manager::v3::http_connection_manager::{
    ForwardClientCertDetails, RouteSpecifier, SetCurrentClientCertDetails,
};
use xds_api::prost::{Message, Name as MessageName};

use super::listener::{connection_manager, manager};
use super::{names, parts, route, tls};
use crate::model::{AppPort, MeshSettings, Name, Workload};
use crate::objects::service_policy::MtlsMode;

/// A port of the application, by number.
type NumberedPort<'a> = (u16, &'a AppPort);

fn takes_tls(port: &AppPort) -> bool {
    port.mtls != MtlsMode::Disable
}

fn takes_cleartext(port: &AppPort) -> bool {
    matches!(port.mtls, MtlsMode::Disable | MtlsMode::Permissive)
}

/// The listener; there is none if the workload serves nothing.
pub(super) fn inbound(settings: &MeshSettings, workload: &Workload) -> Option<Listener> {
    let ports = || workload.app_ports.iter().map(|(number, port)| (*number, port));
    let secured: Vec<NumberedPort<'_>> = ports().filter(|(_, port)| takes_tls(port)).collect();
    let cleartext: Vec<NumberedPort<'_>> = ports().filter(|(_, port)| takes_cleartext(port)).collect();
    let own_port = workload.identity.inbound_port;
    let (listener_filters, filter_chains) = match (&*secured, &*cleartext) {
        ([], []) => return None,
        // Nothing but TLS: a connection that is none ends in its handshake, wherever it was going.
        (_, []) => {
            let filters = if secured.len() > 1 {
                vec![tls_inspector()]
            } else {
                Vec::new()
            };
            (filters, by_server_name(settings, &secured, None))
        }
        _ => {
            let has_tls = !secured.is_empty();
            let mut filters = vec![original_destination()];
            if has_tls {
                filters.push(tls_inspector());
            }
            let mut chains = by_server_name(settings, &secured, Some(own_port));
            chains.push(cleartext_chain(
                "cleartext".to_owned(),
                own_port,
                has_tls,
                by_host(settings, &cleartext),
            ));
            for (number, port) in ports().filter(|(number, _)| *number != own_port) {
                chains.extend(redirected(settings, number, port));
            }
            (filters, chains)
        }
    };
    Some(Listener {
        name: names::INBOUND_LISTENER.to_owned(),
        address: Some(parts::address(workload.identity.ip, own_port)),
        traffic_direction: TrafficDirection::Inbound.into(),
        listener_filters,
        filter_chains,
        ..Default::default()
    })
}

/// A chain for each port that takes TLS, told apart by the server name that callers' sidecars send. `destination` is
/// given where chains are told apart by destinations too: then a connection's own is looked for first, and no further
/// (Envoy, `FilterChainMatch`).
fn by_server_name(settings: &MeshSettings, ports: &[NumberedPort<'_>], destination: Option<u16>) -> Vec<FilterChain> {
    let has_names = ports.len() > 1;
    let chain = |(number, port): &NumberedPort<'_>| {
        let services = port.services.iter();
        let condition = FilterChainMatch {
            destination_port: destination.map(|port| parts::number(port.into())),
            server_names: services
                .filter(|_| has_names)
                .map(|service| names::server_name(settings, service))
                .collect(),
            transport_protocol: if destination.is_some() {
                "tls".to_owned()
            } else {
                String::new()
            },
            ..Default::default()
        };
        FilterChain {
            name: names::inbound_cluster(*number),
            filter_chain_match: (has_names || destination.is_some()).then_some(condition),
            filters: vec![connection_manager(to_port(*number))],
            transport_socket: Some(tls::downstream(settings)),
            ..Default::default()
        }
    };
    ports.iter().map(chain).collect()
}

/// The chains for connections that were going to a port of the application. One in cleartext to a port that takes none
/// has no chain, and is closed.
fn redirected(settings: &MeshSettings, number: u16, port: &AppPort) -> Vec<FilterChain> {
    let name = format!("{} redirected", names::inbound_cluster(number));
    let mut chains = Vec::new();
    if takes_tls(port) {
        chains.push(FilterChain {
            name: name.clone(),
            filter_chain_match: Some(FilterChainMatch {
                destination_port: Some(parts::number(number.into())),
                transport_protocol: "tls".to_owned(),
                ..Default::default()
            }),
            filters: vec![connection_manager(to_port(number))],
            transport_socket: Some(tls::downstream(settings)),
            ..Default::default()
        });
    }
    if takes_cleartext(port) {
        let name = format!("{name} cleartext");
        chains.push(cleartext_chain(name, number, takes_tls(port), to_port(number)));
    }
    chains
}

fn cleartext_chain(name: String, destination: u16, beside_tls: bool, manager: HttpConnectionManager) -> FilterChain {
    FilterChain {
        name,
        filter_chain_match: Some(FilterChainMatch {
            destination_port: Some(parts::number(destination.into())),
            transport_protocol: if beside_tls {
                "raw_buffer".to_owned()
            } else {
                String::new()
            },
            ..Default::default()
        }),
        filters: vec![connection_manager(manager)],
        ..Default::default()
    }
}

/// Everything to one port.
fn to_port(number: u16) -> HttpConnectionManager {
    let name = names::inbound_cluster(number);
    with_routes(name.clone(), vec![everything_to(name, vec!["*".to_owned()], number)])
}

/// Requests of which only the host says which port they are for: that of a Service that leads to it. With one port there
/// is nothing to be said.
fn by_host(settings: &MeshSettings, ports: &[NumberedPort<'_>]) -> HttpConnectionManager {
    if let [(number, _)] = ports {
        return to_port(*number);
    }
    let mut taken = BTreeSet::new();
    let mut virtual_hosts = Vec::new();
    for (number, port) in ports {
        let mut domains = Vec::new();
        for service in &port.services {
            // Without a port a Service's name says enough where it leads to one of these ports alone.
            let leads = |other: &&NumberedPort<'_>| other.1.services.iter().any(|it| it.service == service.service);
            let is_enough = ports.iter().filter(leads).count() == 1;
            for host in hosts(settings, &service.service) {
                domains.push(format!("{host}:{}", service.port));
                if is_enough {
                    domains.push(host);
                }
            }
        }
        domains.retain(|domain| taken.insert(domain.clone()));
        if !domains.is_empty() {
            virtual_hosts.push(everything_to(names::inbound_cluster(*number), domains, *number));
        }
    }
    with_routes("inbound cleartext".to_owned(), virtual_hosts)
}

/// The names of a Service for callers anywhere.
fn hosts(settings: &MeshSettings, service: &Name) -> [String; 4] {
    let (name, namespace) = (&service.name, &service.namespace);
    [
        name.to_string(),
        format!("{name}.{namespace}"),
        format!("{name}.{namespace}.svc"),
        settings.host(service),
    ]
}

fn everything_to(name: String, domains: Vec<String>, number: u16) -> VirtualHost {
    route::virtual_host(name, domains, route::inbound_routes(number))
}

fn with_routes(name: String, virtual_hosts: Vec<VirtualHost>) -> HttpConnectionManager {
    HttpConnectionManager {
        route_specifier: Some(RouteSpecifier::RouteConfig(RouteConfiguration {
            name,
            virtual_hosts,
            ..Default::default()
        })),
        // The application learns who calls from us alone, never from the caller.
        forward_client_cert_details: ForwardClientCertDetails::SanitizeSet.into(),
        set_current_client_cert_details: Some(SetCurrentClientCertDetails {
            uri: true,
            ..Default::default()
        }),
        ..manager("inbound")
    }
}

fn tls_inspector() -> ListenerFilter {
    listener_filter("envoy.filters.listener.tls_inspector", &TlsInspector::default())
}

fn original_destination() -> ListenerFilter {
    listener_filter("envoy.filters.listener.original_dst", &OriginalDst {})
}

fn listener_filter<M: Message + MessageName>(name: &str, message: &M) -> ListenerFilter {
    ListenerFilter {
        name: name.to_owned(),
        config_type: Some(listener::listener_filter::ConfigType::TypedConfig(xds_api::pack(
            message,
        ))),
        ..Default::default()
    }
}
