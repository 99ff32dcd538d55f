//! Which connections a filter chain is for (`envoy.config.listener.v3.FilterChainMatch`).

use std::sync::Arc;

use xds_api::envoy::config::listener::v3 as pb;

use crate::address::CidrRange;
use crate::context::Context;
use crate::rejected::Reported;
use crate::shared_str::shared;

/// The criteria of a filter chain. An empty criterion matches everything. The most specific chain wins, criterion by
/// criterion in the order of these fields as Envoy documents it: destination port, destination IP, server name,
/// transport protocol, application protocols, directly connected source IP, source type, source IP, source port.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
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

impl FilterChainMatch {
    /// Whether some value of every criterion is in both, so that a connection could belong to either and neither is
    /// the more specific one.
    pub(crate) fn overlaps(&self, other: &Self) -> bool {
        fn shared<T: PartialEq>(ours: &[T], theirs: &[T]) -> bool {
            (ours.is_empty() && theirs.is_empty()) || ours.iter().any(|value| theirs.contains(value))
        }
        self.destination_port == other.destination_port
            && self.transport_protocol == other.transport_protocol
            && self.source_type == other.source_type
            && shared(&self.prefix_ranges, &other.prefix_ranges)
            && shared(&self.server_names, &other.server_names)
            && shared(&self.application_protocols, &other.application_protocols)
            && shared(&self.direct_source_prefix_ranges, &other.direct_source_prefix_ranges)
            && shared(&self.source_prefix_ranges, &other.source_prefix_ranges)
            && shared(&self.source_ports, &other.source_ports)
    }

    /// Parses the criteria of a chain.
    ///
    /// # Errors
    /// When a port, address range or server name is not valid.
    pub(crate) fn parse(context: &mut Context<'_>, message: &pb::FilterChainMatch) -> Result<Self, Reported> {
        use pb::filter_chain_match::ConnectionSourceType as SourceType;
        context.check(message);
        let destination_port = context.in_range("destination_port", message.destination_port.as_ref(), 1..=65535);
        let prefix_ranges = context.each("prefix_ranges", &message.prefix_ranges, CidrRange::parse);
        let server_names = context.each("server_names", &message.server_names, |context, name| {
            let name = name.to_ascii_lowercase();
            match name.strip_prefix('*').unwrap_or(&name) {
                fixed if fixed.contains('*') || (fixed.len() < name.len() && !fixed.starts_with('.')) => Err(context
                    .reject(format!(
                        "is {name:?}: the only wildcard is the first label, as in \"*.example.com\""
                    ))),
                fixed if fixed.len() < name.len() => Ok(ServerName::Suffix(fixed.into())),
                fixed => Ok(ServerName::Exact(fixed.into())),
            }
        });
        let transport_protocol = match message.transport_protocol.as_str() {
            "" => TransportProtocol::Any,
            "tls" => TransportProtocol::Tls,
            "raw_buffer" => TransportProtocol::RawBuffer,
            other => TransportProtocol::Other(other.into()),
        };
        let ranges = &message.direct_source_prefix_ranges;
        let direct_source_prefix_ranges = context.each("direct_source_prefix_ranges", ranges, CidrRange::parse);
        let source_type =
            context
                .enumeration("source_type", message.source_type)
                .map(|source_type| match source_type {
                    SourceType::Any => ConnectionSourceType::Any,
                    SourceType::SameIpOrLoopback => ConnectionSourceType::SameIpOrLoopback,
                    SourceType::External => ConnectionSourceType::External,
                });
        let source_prefix_ranges =
            context.each("source_prefix_ranges", &message.source_prefix_ranges, CidrRange::parse);
        let source_ports = context.each("source_ports", &message.source_ports, |context, port| match *port {
            1..=65535 => Ok(*port as u16),
            port => Err(context.reject(format!("is {port}, expected 1 to 65535"))),
        });
        Ok(Self {
            // The range was checked just above.
            destination_port: destination_port?.map(|port| port as u16),
            prefix_ranges: prefix_ranges?,
            server_names: server_names?,
            transport_protocol,
            application_protocols: message.application_protocols.iter().map(|name| shared(name)).collect(),
            direct_source_prefix_ranges: direct_source_prefix_ranges?,
            source_type: source_type?,
            source_prefix_ranges: source_prefix_ranges?,
            source_ports: source_ports?,
        })
    }
}
