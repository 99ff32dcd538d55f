//! A proxy that gets everything from a scripted management server.

use testkit::{Directory, ManagementServer};

use crate::proxy::{Kind, Proxy};

/// Type URLs of the resources.
pub const CLUSTER: &str = "type.googleapis.com/envoy.config.cluster.v3.Cluster";
/// See [`CLUSTER`].
pub const ENDPOINTS: &str = "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment";
/// See [`CLUSTER`].
pub const LISTENER: &str = "type.googleapis.com/envoy.config.listener.v3.Listener";
/// See [`CLUSTER`].
pub const ROUTES: &str = "type.googleapis.com/envoy.config.route.v3.RouteConfiguration";

/// A cluster whose endpoints come by EDS.
#[must_use]
pub fn cluster(name: &str, connect_timeout: &str) -> String {
    format!(
        "name: {name}\ntype: EDS\nconnect_timeout: {connect_timeout}\n\
         eds_cluster_config: {{eds_config: {{ads: {{}}, resource_api_version: V3}}}}\n"
    )
}

/// One endpoint in zone `zone`.
#[must_use]
pub fn endpoints(cluster: &str, port: u16) -> String {
    format!(
        "cluster_name: {cluster}\nendpoints: [{{locality: {{region: r, zone: zone}}, lb_endpoints: [{{endpoint: {{address: \
         {{socket_address: {{address: 127.0.0.1, port_value: {port}}}}}}}}}]}}]\n"
    )
}

/// A listener whose routes come by RDS.
#[must_use]
pub fn listener(name: &str, port: u16, routes: &str) -> String {
    format!(
        "name: {name}\n\
         address: {{socket_address: {{address: 127.0.0.1, port_value: {port}}}}}\n\
         filter_chains:\n\
         - filters:\n\
         \x20 - name: envoy.filters.network.http_connection_manager\n\
         \x20   typed_config:\n\
         \x20     '@type': type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager\n\
         \x20     stat_prefix: {name}\n\
         \x20     rds: {{route_config_name: {routes}, config_source: {{ads: {{}}, resource_api_version: V3}}}}\n\
         \x20     http_filters:\n\
         \x20     - name: envoy.filters.http.router\n\
         \x20       typed_config: {{'@type': type.googleapis.com/envoy.extensions.filters.http.router.v3.Router}}\n"
    )
}

/// A table that sends everything to one cluster.
#[must_use]
pub fn routes(name: &str, cluster: &str) -> String {
    format!(
        "name: {name}\nvirtual_hosts: [{{name: all, domains: ['*'], routes: [{{match: {{prefix: /}}, route: {{cluster: \
         {cluster}}}}}]}}]\n"
    )
}

/// Says that there is one listener on `port`, whose routes lead to one cluster with one endpoint on `backend`.
pub fn set_mesh(server: &ManagementServer, version: &str, port: u16, backend: u16) {
    server.set(CLUSTER, version, &[cluster("one", "1s")]);
    server.set(ENDPOINTS, version, &[endpoints("one", backend)]);
    server.set(LISTENER, version, &[listener("in", port, "table")]);
    server.set(ROUTES, version, &[routes("table", "one")]);
}

/// Starts a proxy of the management server on `control_plane`.
#[must_use]
pub fn start(kind: Kind, directory: &Directory, control_plane: u16, delta: bool) -> Proxy {
    let api_type = if delta { "DELTA_GRPC" } else { "GRPC" };
    let bootstrap = include_str!("dynamic.yaml")
        .replace("{api_type}", api_type)
        .replace("{control_plane}", &control_plane.to_string());
    Proxy::start(kind, directory, &format!("{}-{api_type}", kind.name()), &bootstrap)
}
