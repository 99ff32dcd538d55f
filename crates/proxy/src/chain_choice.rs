//! Which filter chain a connection gets (Envoy: FilterChainMatch).
//!
//! Criterion by criterion, in Envoy's order, the chains whose value fits best stay and the others
//! go; there is no way back, so a chain that fits worse in an early criterion never wins by a late
//! one.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use config::address::CidrRange;
use config::filter_chain_match::{ConnectionSourceType, FilterChainMatch, ServerName, TransportProtocol};

/// What is known of a connection when its chain is chosen.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Facts<'a> {
    /// Where it was going: the original destination where it was redirected.
    pub(crate) destination: Option<SocketAddr>,
    /// Where it comes from, by PROXY protocol where that is spoken.
    pub(crate) source: Option<SocketAddr>,
    /// The peer of the socket.
    pub(crate) direct_source: Option<SocketAddr>,
    /// SNI, lower case; needs a listener filter that looks.
    pub(crate) server_name: Option<&'a str>,
    /// Whether a listener filter found TLS.
    pub(crate) is_tls: bool,
    /// Protocols a listener filter found, by ALPN or by looking.
    pub(crate) application_protocols: &'a [Box<str>],
}

/// Position of the chain for a connection; `None` leaves it to the default chain.
pub(crate) fn choose<'a>(chains: impl Iterator<Item = &'a FilterChainMatch>, facts: &Facts<'_>) -> Option<usize> {
    let mut candidates: Vec<(usize, &FilterChainMatch)> = chains.enumerate().collect();
    let destination = facts.destination.map(|address| address.ip());
    let source = facts.source.map(|address| address.ip());
    let direct = facts.direct_source.map(|address| address.ip());
    let is_local = match (source, destination) {
        (Some(source), Some(destination)) => source == destination || is_loopback(source),
        (Some(source), None) => is_loopback(source),
        // A Unix domain socket.
        (None, _) => true,
    };
    narrow(&mut candidates, |wanted| match wanted.destination_port {
        None => Some(0),
        Some(port) => (facts.destination.map(|address| address.port()) == Some(port)).then_some(1),
    });
    narrow(&mut candidates, |wanted| ranges(&wanted.prefix_ranges, destination));
    narrow(&mut candidates, |wanted| {
        server_names(&wanted.server_names, facts.server_name)
    });
    narrow(&mut candidates, |wanted| {
        match (&wanted.transport_protocol, facts.is_tls) {
            (TransportProtocol::Any, _) => Some(0),
            (TransportProtocol::Tls, true) | (TransportProtocol::RawBuffer, false) => Some(1),
            _ => None,
        }
    });
    narrow(&mut candidates, |wanted| {
        if wanted.application_protocols.is_empty() {
            return Some(0);
        }
        // The earlier in the caller's list, the better.
        let position = facts.application_protocols.iter().position(|offered| {
            wanted
                .application_protocols
                .iter()
                .any(|protocol| **protocol == **offered)
        })?;
        Some(u32::MAX - position as u32)
    });
    narrow(&mut candidates, |wanted| {
        ranges(&wanted.direct_source_prefix_ranges, direct)
    });
    narrow(&mut candidates, |wanted| match (wanted.source_type, is_local) {
        (ConnectionSourceType::Any, _) => Some(0),
        (ConnectionSourceType::SameIpOrLoopback, true) | (ConnectionSourceType::External, false) => Some(1),
        _ => None,
    });
    narrow(&mut candidates, |wanted| ranges(&wanted.source_prefix_ranges, source));
    narrow(&mut candidates, |wanted| {
        if wanted.source_ports.is_empty() {
            return Some(0);
        }
        let port = facts.source?.port();
        wanted.source_ports.contains(&port).then_some(1)
    });
    candidates.first().map(|(index, _)| *index)
}

/// As Envoy has it: of the loopback addresses only the one everybody uses.
fn is_loopback(address: IpAddr) -> bool {
    address == Ipv4Addr::LOCALHOST || address == Ipv6Addr::LOCALHOST
}

/// Keeps the candidates with the highest score; `None` does not fit at all.
fn narrow(candidates: &mut Vec<(usize, &FilterChainMatch)>, score: impl Fn(&FilterChainMatch) -> Option<u32>) {
    let best = candidates.iter().filter_map(|(_, wanted)| score(wanted)).max();
    candidates.retain(|(_, wanted)| {
        let score = score(wanted);
        score.is_some() && score == best
    });
}

fn ranges(ranges: &[CidrRange], address: Option<IpAddr>) -> Option<u32> {
    if ranges.is_empty() {
        return Some(0);
    }
    let address = address?;
    ranges
        .iter()
        .filter(|range| range.contains(address))
        .map(|range| u32::from(range.length()) + 1)
        .max()
}

fn server_names(names: &[ServerName], found: Option<&str>) -> Option<u32> {
    if names.is_empty() {
        return Some(0);
    }
    let found = found?;
    names
        .iter()
        .filter_map(|name| match name {
            ServerName::Exact(exact) => (**exact == *found).then_some(u32::MAX),
            // The wildcard stands for at least one character.
            ServerName::Suffix(suffix) => {
                (found.len() > suffix.len() && found.ends_with(&**suffix)).then_some(suffix.len() as u32)
            }
        })
        .max()
}

#[cfg(test)]
mod tests;
