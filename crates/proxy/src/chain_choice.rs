//! Which filter chain a connection gets (Envoy: FilterChainMatch).
//!
//! Criterion by criterion, in Envoy's order, the chains whose value fits best stay and the others
//! go; there is no way back, so a chain that fits worse in an early criterion never wins by a late
//! one.

use std::net::{IpAddr, SocketAddr};

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
    pub(crate) application_protocols: &'a [&'a str],
}

/// Position of the chain for a connection; `None` leaves it to the default chain.
pub(crate) fn choose<'a>(chains: impl Iterator<Item = &'a FilterChainMatch>, facts: &Facts<'_>) -> Option<usize> {
    let mut candidates: Vec<(usize, &FilterChainMatch)> = chains.enumerate().collect();
    let destination = facts.destination.map(|address| address.ip());
    let source = facts.source.map(|address| address.ip());
    let direct = facts.direct_source.map(|address| address.ip());
    let is_local = match (source, destination) {
        (Some(source), Some(destination)) => source == destination || source.is_loopback(),
        (Some(source), None) => source.is_loopback(),
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
            ServerName::Suffix(suffix) => found.ends_with(&**suffix).then_some(suffix.len() as u32),
        })
        .max()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(text: &str) -> CidrRange {
        let (address, length) = text.split_once('/').unwrap();
        CidrRange::new(address.parse().unwrap(), length.parse().unwrap()).unwrap()
    }

    fn to(destination: &str) -> Facts<'static> {
        let source = Some("10.9.9.9:1234".parse().unwrap());
        Facts {
            destination: Some(destination.parse().unwrap()),
            source,
            direct_source: source,
            ..Facts::default()
        }
    }

    #[test]
    fn a_port_that_fits_beats_an_address_range_that_fits() {
        let by_range = FilterChainMatch {
            prefix_ranges: vec![range("10.0.0.0/8")],
            ..Default::default()
        };
        let by_port = FilterChainMatch {
            destination_port: Some(80),
            ..Default::default()
        };
        let chains = [by_range, by_port];
        assert_eq!(choose(chains.iter(), &to("10.1.1.1:80")), Some(1));
        assert_eq!(choose(chains.iter(), &to("10.1.1.1:81")), Some(0));
        assert_eq!(choose(chains.iter(), &to("11.1.1.1:81")), None);
    }

    #[test]
    fn the_longest_range_and_the_most_exact_name_win() {
        let wide = FilterChainMatch {
            prefix_ranges: vec![range("10.0.0.0/8")],
            ..Default::default()
        };
        let narrow = FilterChainMatch {
            prefix_ranges: vec![range("10.1.0.0/16")],
            ..Default::default()
        };
        assert_eq!(choose([&wide, &narrow].into_iter(), &to("10.1.1.1:80")), Some(1));

        let named = |name| FilterChainMatch {
            server_names: vec![name],
            ..Default::default()
        };
        let chains = [
            named(ServerName::Suffix(".example.com".into())),
            named(ServerName::Exact("a.example.com".into())),
            named(ServerName::Suffix(".b.example.com".into())),
        ];
        let with_name = |name| Facts {
            server_name: Some(name),
            ..to("10.1.1.1:80")
        };
        assert_eq!(choose(chains.iter(), &with_name("a.example.com")), Some(1));
        assert_eq!(choose(chains.iter(), &with_name("x.b.example.com")), Some(2));
        assert_eq!(choose(chains.iter(), &with_name("x.example.com")), Some(0));
        assert_eq!(choose(chains.iter(), &with_name("example.com")), None);
    }

    #[test]
    fn there_is_no_way_back_from_an_early_criterion() {
        let port_and_tls = FilterChainMatch {
            destination_port: Some(80),
            transport_protocol: TransportProtocol::Tls,
            ..Default::default()
        };
        let anything = FilterChainMatch::default();
        // The port leads to the first chain, which then wants TLS: Envoy does not fall back to the second.
        assert_eq!(choose([&port_and_tls, &anything].into_iter(), &to("10.1.1.1:80")), None);
    }
}
