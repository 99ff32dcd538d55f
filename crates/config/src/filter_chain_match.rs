//! Which connections a filter chain is for (`envoy.config.listener.v3.FilterChainMatch`).

use std::sync::Arc;

use crate::address::CidrRange;

/// The criteria of a filter chain. An empty criterion matches everything. The most specific chain wins, criterion by
/// criterion in the order of these fields as Envoy documents it: destination port, destination IP, server name,
/// transport protocol, application protocols, directly connected source IP, source type, source IP, source port.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct FilterChainMatch {
    /// Destination port (the original one, where it was redirected).
    pub destination_port: Option<u16>,
    /// Destination address ranges.
    pub prefix_ranges: Vec<CidrRange>,
    /// Names from TLS server name indication: exact, or a suffix wildcard.
    pub server_names: Vec<ServerName>,
    /// The transport protocol that a listener filter found; empty matches any.
    pub transport_protocol: TransportProtocol,
    /// Application protocols (ALPN) of which the client offers at least one.
    pub application_protocols: Vec<Arc<str>>,
    /// Ranges of the directly connected peer's address.
    pub direct_source_prefix_ranges: Vec<CidrRange>,
    /// Whether the peer is local.
    pub source_type: ConnectionSourceType,
    /// Ranges of the source address.
    pub source_prefix_ranges: Vec<CidrRange>,
    /// Source ports.
    pub source_ports: Vec<u16>,
}

/// A server name of a filter chain, lower case.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ServerName {
    /// Exactly this name.
    Exact(Arc<str>),
    /// Any name that ends with this suffix, which begins with a dot: `*.example.com` is `.example.com`.
    Suffix(Arc<str>),
}

/// The transport protocol of a connection.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub enum TransportProtocol {
    /// Not a criterion.
    #[default]
    Any,
    /// TLS, as `tls_inspector` found it.
    Tls,
    /// Anything that no listener filter recognised (`raw_buffer`).
    RawBuffer,
    /// A name that no listener filter here ever reports: never matches.
    Other(Arc<str>),
}

/// Whether the peer of a connection is local.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub enum ConnectionSourceType {
    /// Not a criterion.
    #[default]
    Any,
    /// From this host: the same IP address or loopback.
    SameIpOrLoopback,
    /// From anywhere else.
    External,
}
