//! Listeners (`envoy.config.listener.v3.Listener`).

use std::sync::Arc;
use std::time::Duration;

use crate::access_log::AccessLog;
use crate::address::Address;
use crate::connection_limit::ConnectionLimit;
use crate::extensions::ExtensionConfig;
use crate::filter_chain_match::FilterChainMatch;
use crate::fingerprint::Fingerprint;
use crate::http_connection_manager::{HttpConnectionManager, RouteSpecifier};
use crate::listener_filters::ListenerFilter;
use crate::metadata::Metadata;
use crate::resource::References;
use crate::route::UnknownCluster;
use crate::tcp_proxy::TcpProxy;

pub(crate) mod parse;

/// Where connections come in and what becomes of them.
#[derive(Debug, Clone)]
pub struct Listener {
    /// Unique name.
    pub name: Arc<str>,
    /// Where to listen.
    pub address: Address,
    /// More addresses for the same chains.
    pub additional_addresses: Vec<Address>,
    /// Prefix of its statistics in place of the address.
    pub stat_prefix: Option<Arc<str>>,
    /// Whether a socket is bound. Without, connections come from a listener with `use_original_dst`.
    pub bind_to_port: bool,
    /// Whether connections are handed to the listener for their original destination.
    pub use_original_dst: bool,
    /// Filter chains, to be chosen from by their match.
    pub filter_chains: Vec<Arc<FilterChain>>,
    /// The chain for connections that match none.
    pub default_filter_chain: Option<Arc<FilterChain>>,
    /// What looks at a connection before a chain is chosen.
    pub listener_filters: Vec<ListenerFilter>,
    /// How long the listener filters may take. None waits for ever.
    pub listener_filters_timeout: Option<Duration>,
    /// Whether a connection goes on to a chain when they took too long.
    pub continue_on_listener_filters_timeout: bool,
    /// Limit on bytes buffered for a connection, soft.
    pub per_connection_buffer_limit_bytes: u32,
    /// How connections are spread over workers.
    pub connection_balance: ConnectionBalance,
    /// Whether each worker has an accept socket of its own.
    pub enable_reuse_port: bool,
    /// Length of the queue of connections not yet accepted; the system's limit when none.
    pub tcp_backlog_size: Option<u32>,
    /// How many connections are accepted in one go; without limit when none.
    pub max_connections_to_accept_per_socket_event: Option<u32>,
    /// Whether it drains when the health check of the server is failed.
    pub drain_type: DrainType,
    /// Which way its traffic goes.
    pub traffic_direction: TrafficDirection,
    /// IP_TRANSPARENT.
    pub transparent: Option<bool>,
    /// IP_FREEBIND.
    pub freebind: Option<bool>,
    /// Keepalive of accepted connections.
    pub tcp_keepalive: Option<TcpKeepalive>,
    /// Logs of connections that find no chain.
    pub access_log: Vec<AccessLog>,
    /// Metadata of its own.
    pub metadata: Metadata,
    /// Whether the process-wide limit on connections does not count for it.
    pub ignore_global_conn_limit: bool,
    /// Whether the overload manager's limit on connections does not count for it; the runtime's does.
    pub bypass_overload_manager: bool,
    /// Identity of its content.
    pub fingerprint: Fingerprint,
}

impl Listener {
    /// Envoy's default for [`per_connection_buffer_limit_bytes`](Self::per_connection_buffer_limit_bytes): 1 MiB.
    pub const DEFAULT_PER_CONNECTION_BUFFER_LIMIT_BYTES: u32 = 1024 * 1024;
    /// Envoy's default for [`listener_filters_timeout`](Self::listener_filters_timeout).
    pub const DEFAULT_LISTENER_FILTERS_TIMEOUT: Duration = Duration::from_secs(15);

    /// The first cluster that is not known and that a table written into a chain names, unless the table says
    /// `validate_clusters: false`.
    pub fn unknown_cluster(&self, is_known: impl Fn(&str) -> bool) -> Option<UnknownCluster> {
        let mut managers = self
            .all_filter_chains()
            .filter_map(|chain| chain.http_connection_manager());
        managers.find_map(|manager| match &manager.route_specifier {
            RouteSpecifier::RouteConfig(table) if table.validate_clusters.unwrap_or(true) => {
                table.unknown_cluster(&is_known)
            }
            _ => None,
        })
    }

    /// The filter chains and the default one.
    pub fn all_filter_chains(&self) -> impl Iterator<Item = &Arc<FilterChain>> {
        self.filter_chains.iter().chain(&self.default_filter_chain)
    }

    /// Route tables, clusters and secrets it needs.
    pub fn references(&self) -> References {
        let mut references = References::default();
        for chain in self.all_filter_chains() {
            chain.add_references(&mut references);
        }
        for log in &self.access_log {
            log.add_references(&mut references);
        }
        references
    }
}

/// Filters and transport for some of a listener's connections.
#[derive(Debug, Clone)]
pub struct FilterChain {
    /// Name, may be empty.
    pub name: Arc<str>,
    /// Which connections it is for.
    pub filter_chain_match: FilterChainMatch,
    /// Network filters in order; the last one is terminal.
    pub filters: Vec<NetworkFilter>,
    /// Transport socket; raw TCP when none.
    pub transport_socket: Option<TransportSocket>,
    /// How long the transport handshake may take. None waits for ever.
    pub transport_socket_connect_timeout: Option<Duration>,
    /// Metadata of its own.
    pub metadata: Metadata,
    /// Identity of its content: a chain that stays the same keeps its connections.
    pub fingerprint: Fingerprint,
}

impl FilterChain {
    /// The HTTP connection manager, when the chain ends in one.
    pub fn http_connection_manager(&self) -> Option<&Arc<HttpConnectionManager>> {
        match &self.filters.last()?.config {
            NetworkFilterConfig::HttpConnectionManager(manager) => Some(manager),
            _ => None,
        }
    }

    /// The TCP proxy, when the chain ends in one.
    pub fn tcp_proxy(&self) -> Option<&Arc<TcpProxy>> {
        match &self.filters.last()?.config {
            NetworkFilterConfig::TcpProxy(proxy) => Some(proxy),
            _ => None,
        }
    }

    /// The bounds on connections before its terminal filter.
    pub fn connection_limits(&self) -> impl Iterator<Item = &Arc<ConnectionLimit>> {
        self.filters.iter().filter_map(|filter| match &filter.config {
            NetworkFilterConfig::ConnectionLimit(limit) => Some(limit),
            _ => None,
        })
    }

    fn add_references(&self, references: &mut References) {
        if let Some(socket) = &self.transport_socket {
            socket.config.references(references);
        }
        for filter in &self.filters {
            match &filter.config {
                NetworkFilterConfig::HttpConnectionManager(manager) => manager.add_references(references),
                NetworkFilterConfig::TcpProxy(proxy) => proxy.add_references(references),
                NetworkFilterConfig::ConnectionLimit(_) => {}
                NetworkFilterConfig::Extension(config) => config.references(references),
            }
        }
    }
}

/// A network filter of a chain.
#[derive(Debug, Clone)]
pub struct NetworkFilter {
    /// Name, as written.
    pub name: Arc<str>,
    /// What it does.
    pub config: NetworkFilterConfig,
}

/// The network filters.
#[derive(Debug, Clone)]
pub enum NetworkFilterConfig {
    /// HTTP; terminal.
    HttpConnectionManager(Arc<HttpConnectionManager>),
    /// TCP to a cluster; terminal.
    TcpProxy(Arc<TcpProxy>),
    /// A bound on connections.
    ConnectionLimit(Arc<ConnectionLimit>),
    /// A filter of another crate.
    Extension(Arc<dyn ExtensionConfig>),
}

/// A transport socket: what stands between the bytes on the wire and those of the filters.
#[derive(Debug, Clone)]
pub struct TransportSocket {
    /// Name, as written.
    pub name: Arc<str>,
    /// What it does.
    pub config: Arc<dyn ExtensionConfig>,
    /// Identity of its content.
    pub fingerprint: Fingerprint,
}

/// How connections are spread over workers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ConnectionBalance {
    /// As the kernel hands them out.
    #[default]
    Kernel,
    /// To the worker with the fewest.
    Exact,
}

/// When a listener drains.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum DrainType {
    /// On health-check failure, removal and modification.
    #[default]
    Default,
    /// On removal and modification only.
    ModifyOnly,
}

/// Which way the traffic of a listener goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TrafficDirection {
    /// Not said.
    #[default]
    Unspecified,
    /// To the workload beside the proxy.
    Inbound,
    /// From it.
    Outbound,
}

/// TCP keepalive (`envoy.config.core.v3.TcpKeepalive`). Absent values are the system's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TcpKeepalive {
    /// Probes without an answer before the connection is dropped.
    pub keepalive_probes: Option<u32>,
    /// Idle time before the first probe.
    pub keepalive_time: Option<Duration>,
    /// Time between probes.
    pub keepalive_interval: Option<Duration>,
}

#[cfg(test)]
mod tests;
