//! The names resources have. Cluster names are Istio's, which dashboards know.

use std::net::IpAddr;

use crate::model::{MeshSettings, PortRef, Service};

/// The listener that takes connections for the workload.
pub const INBOUND_LISTENER: &str = "inbound";
/// The listener that takes connections from the workload.
pub const OUTBOUND_LISTENER: &str = "outbound";
/// The route table of the outbound listener.
pub const OUTBOUND_ROUTES: &str = "outbound";
/// A cluster without endpoints, for references that lead nowhere.
pub const NOWHERE_CLUSTER: &str = "nowhere";
/// The workload's own certificate.
pub const IDENTITY_SECRET: &str = "default";
/// The trust domain's root certificate.
pub const ROOT_SECRET: &str = "ROOTCA";

/// `outbound|50051||greeter.demo.svc.cluster.local`.
pub fn outbound_cluster(settings: &MeshSettings, port: &PortRef) -> String {
    format!("outbound|{}||{}", port.port, settings.host(&port.service))
}

/// `inbound|50051||`.
pub fn inbound_cluster(app_port: u16) -> String {
    format!("inbound|{app_port}||")
}

/// The server name by which a caller's sidecar tells the called one which Service's port
/// it wants: `outbound_.50051_._.greeter.demo.svc.cluster.local`.
pub fn server_name(settings: &MeshSettings, port: &PortRef) -> String {
    format!("outbound_.{}_._.{}", port.port, settings.host(&port.service))
}

/// The names by which a caller in a namespace may call a Service, without a port.
pub fn hosts(settings: &MeshSettings, service: &Service, caller_namespace: &str) -> Vec<String> {
    let name = &service.name;
    let mut hosts = Vec::with_capacity(4 + service.cluster_ips.len());
    if *name.namespace == *caller_namespace {
        hosts.push(name.name.to_string());
    }
    hosts.push(format!("{}.{}", name.name, name.namespace));
    hosts.push(format!("{}.{}.svc", name.name, name.namespace));
    hosts.push(settings.host(name));
    hosts.extend(service.cluster_ips.iter().map(|address| match address {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => format!("[{address}]"),
    }));
    hosts
}

/// The port that a name without a port means: 80 as in HTTP, else the lowest.
pub fn default_port(service: &Service) -> Option<u16> {
    let ports = &service.ports;
    if ports.contains_key(&80) {
        Some(80)
    } else {
        ports.keys().next().copied()
    }
}
