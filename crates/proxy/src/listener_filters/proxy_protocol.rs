//! `proxy_protocol`: who a load balancer before us speaks for (haproxy.org, "The PROXY protocol", versions 1 and 2).
//!
//! What is refused was read off Envoy 1.39: besides broken headers, addresses that nobody can call from.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use telemetry::stats::{Block, Counter, Registry, Scope, Shard};
use telemetry::stats::{proxy_protocol as stat, proxy_protocol_errors};

use super::{Inspector, Look};
use crate::accepted::Accepted;

mod tlvs;

const V1_SIGNATURE: &[u8] = b"PROXY ";
/// Longest line of version 1, its end included.
const V1_LONGEST: usize = 107;
const V2_SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
const V2_HEADER: usize = 16;

/// The filter.
#[derive(Debug)]
pub(super) struct ProxyProtocol {
    settings: Arc<config::listener_filters::ProxyProtocol>,
    stats: Arc<Block>,
    errors: Arc<Block>,
}

impl ProxyProtocol {
    pub(super) fn new(settings: &Arc<config::listener_filters::ProxyProtocol>, stats: &Arc<Registry>) -> Self {
        let prefix = match &settings.stat_prefix {
            Some(prefix) => format!("proxy_proto.{prefix}."),
            None => "proxy_proto.".to_owned(),
        };
        ProxyProtocol {
            settings: Arc::clone(settings),
            stats: stats.block(Scope::Process(&prefix), &stat::TABLE),
            errors: stats.block(Scope::Process(""), &proxy_protocol_errors::TABLE),
        }
    }

    fn refuse(&self, counter: Counter, shard: Shard) -> Look {
        self.stats.add(shard, counter, 1);
        self.errors
            .add(shard, proxy_protocol_errors::DOWNSTREAM_CX_PROXY_PROTO_ERROR, 1);
        Look::Close
    }
}

/// A header, or what stands in its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Parsed {
    /// A whole header of that many bytes: the addresses in it, none where the sender speaks for itself.
    Header {
        version: Version,
        length: usize,
        addresses: Option<Addresses>,
        /// Where its type-length-values begin; they go on to its end. At its end where it is to be read over.
        tlvs: usize,
    },
    /// So far it could become one.
    Incomplete,
    /// No header of either version.
    Absent,
    /// A header that makes no sense.
    Broken(Version),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Version {
    V1,
    V2,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Addresses {
    source: SocketAddr,
    destination: SocketAddr,
}

impl Inspector for ProxyProtocol {
    fn look(&self, received: &[u8], accepted: &mut Accepted, shard: Shard) -> Look {
        let settings = &self.settings;
        let allows_without = settings.allow_requests_without_proxy_protocol;
        let disallowed = |version| match version {
            Version::V1 => settings.disallows_v1,
            Version::V2 => settings.disallows_v2,
        };
        let parsed = match parse(received) {
            // What may not be a header is none where connections may have none.
            Parsed::Header { version, .. } | Parsed::Broken(version) if disallowed(version) && allows_without => {
                Parsed::Absent
            }
            parsed => parsed,
        };
        match parsed {
            Parsed::Incomplete => Look::More,
            Parsed::Absent if allows_without => {
                self.stats.add(shard, stat::NOT_FOUND_ALLOWED, 1);
                Look::PEEKED
            }
            Parsed::Absent => self.refuse(stat::NOT_FOUND_DISALLOWED, shard),
            Parsed::Header { version, .. } | Parsed::Broken(version) if disallowed(version) => self.refuse(
                match version {
                    Version::V1 => stat::V1_DISALLOWED,
                    Version::V2 => stat::V2_DISALLOWED,
                },
                shard,
            ),
            Parsed::Broken(Version::V1) => self.refuse(stat::V1_ERROR, shard),
            Parsed::Broken(Version::V2) => self.refuse(stat::V2_ERROR, shard),
            Parsed::Header {
                version,
                length,
                addresses,
                tlvs,
            } => {
                let found = match version {
                    Version::V1 => stat::V1_FOUND,
                    Version::V2 => stat::V2_FOUND,
                };
                self.stats.add(shard, found, 1);
                if let Some(addresses) = addresses {
                    accepted.peer = Some(addresses.source);
                    // Only another destination than the socket's own is one to restore.
                    if accepted.local != Some(addresses.destination) {
                        accepted.local = Some(addresses.destination);
                        accepted.is_restored = true;
                    }
                }
                if !settings.rules.is_empty() && tlvs < length {
                    tlvs::attach(settings, &received[tlvs..length], accepted);
                }
                Look::Done { consumed: length }
            }
        }
    }
}

fn parse(received: &[u8]) -> Parsed {
    let begins = |signature: &[u8]| {
        let length = received.len().min(signature.len());
        (received[..length] == signature[..length], length == signature.len())
    };
    match (begins(V2_SIGNATURE), begins(V1_SIGNATURE)) {
        ((true, true), _) => parse_v2(received),
        (_, (true, true)) => parse_v1(received),
        ((true, false), _) | (_, (true, false)) => Parsed::Incomplete,
        _ => Parsed::Absent,
    }
}

fn parse_v1(received: &[u8]) -> Parsed {
    let shown = &received[..received.len().min(V1_LONGEST)];
    let Some(end) = shown.windows(2).position(|pair| pair == b"\r\n") else {
        return if shown.len() == V1_LONGEST {
            Parsed::Broken(Version::V1)
        } else {
            Parsed::Incomplete
        };
    };
    let header = |addresses| Parsed::Header {
        version: Version::V1,
        length: end + 2,
        addresses,
        tlvs: end + 2,
    };
    let Ok(line) = std::str::from_utf8(&shown[V1_SIGNATURE.len()..end]) else {
        return Parsed::Broken(Version::V1);
    };
    // What follows UNKNOWN is to be ignored.
    if line.starts_with("UNKNOWN") {
        return header(None);
    }
    let parts: Vec<&str> = line.split(' ').collect();
    let [
        family @ ("TCP4" | "TCP6"),
        source,
        destination,
        source_port,
        destination_port,
    ] = parts[..]
    else {
        return Parsed::Broken(Version::V1);
    };
    let address = |ip: &str, port: &str| {
        let ip: IpAddr = ip.parse().ok()?;
        let port: u16 = port.parse().ok()?;
        (ip.is_ipv4() == (family == "TCP4")).then_some(SocketAddr::new(ip, port))
    };
    match (address(source, source_port), address(destination, destination_port)) {
        (Some(source), Some(destination)) if is_unicast(source.ip()) && is_unicast(destination.ip()) => {
            header(Some(Addresses { source, destination }))
        }
        _ => Parsed::Broken(Version::V1),
    }
}

fn parse_v2(received: &[u8]) -> Parsed {
    const LOCAL: u8 = 0x20;
    const PROXY: u8 = 0x21;
    let broken = Parsed::Broken(Version::V2);
    let Some(&[command, family, high, low]) = received.get(V2_SIGNATURE.len()..).and_then(|rest| rest.first_chunk())
    else {
        return Parsed::Incomplete;
    };
    // The upper half is the family (1 IPv4, 2 IPv6, 3 Unix), the lower one the transport (1 stream, 2 datagram).
    let needed = match (command, family) {
        (LOCAL, _) => 0,
        (PROXY, 0x11 | 0x12) => 12,
        (PROXY, 0x21 | 0x22) => 36,
        _ => return broken,
    };
    let length = usize::from(u16::from_be_bytes([high, low]));
    if length < needed {
        return broken;
    }
    let Some(body) = received.get(V2_HEADER..V2_HEADER + length) else {
        return Parsed::Incomplete;
    };
    let addresses = match needed {
        0 => None,
        12 => {
            let ip = |at: usize| IpAddr::V4(Ipv4Addr::new(body[at], body[at + 1], body[at + 2], body[at + 3]));
            Some(pair(ip(0), ip(4), &body[8..12]))
        }
        _ => {
            let ip = |at: usize| {
                let mut octets = [0; 16];
                octets.copy_from_slice(&body[at..at + 16]);
                IpAddr::V6(Ipv6Addr::from(octets))
            };
            Some(pair(ip(0), ip(16), &body[32..36]))
        }
    };
    let unicast =
        addresses.is_none_or(|addresses| is_unicast(addresses.source.ip()) && is_unicast(addresses.destination.ip()));
    let rest_is_whole = needed == 0 || tlvs::are_whole(&body[needed..]);
    if !unicast || !rest_is_whole {
        return broken;
    }
    Parsed::Header {
        version: Version::V2,
        length: V2_HEADER + length,
        addresses,
        tlvs: V2_HEADER + if needed == 0 { length } else { needed },
    }
}

fn pair(source: IpAddr, destination: IpAddr, ports: &[u8]) -> Addresses {
    let port = |at: usize| u16::from_be_bytes([ports[at], ports[at + 1]]);
    Addresses {
        source: SocketAddr::new(source, port(0)),
        destination: SocketAddr::new(destination, port(2)),
    }
}

fn is_unicast(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => !address.is_unspecified() && !address.is_broadcast() && !address.is_multicast(),
        IpAddr::V6(address) => !address.is_unspecified() && !address.is_multicast(),
    }
}

#[cfg(test)]
mod tests;
