//! Who the caller is taken for: the peer of the connection, or whom the proxies in front of it say
//! (Envoy: HTTP header manipulation, x-forwarded-for).

use std::net::IpAddr;

use codec::headers::HeaderBlock;
use codec::names::KnownName;
use config::address::CidrRange;
use config::http_connection_manager::{HttpConnectionManager, XffDetection};

/// How callers are told apart, compiled from a connection manager.
#[derive(Clone, Debug)]
pub(crate) struct ClientAddresses {
    use_remote_address: bool,
    hops: u32,
    detection: Option<XffDetection>,
    internal: Vec<CidrRange>,
    unix_sockets_are_internal: bool,
    /// What stands for a caller of this machine in `x-forwarded-for`.
    own_address: IpAddr,
    map_ipv4: bool,
}

/// What is known of a caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Client {
    /// The address that a header named, where that counts and not the peer's.
    pub(crate) named: Option<IpAddr>,
    /// Whether the caller is internal: the proxy believes what it asks for.
    pub(crate) is_internal: bool,
    /// Whether the peer's address is to be added to `x-forwarded-for`.
    pub(crate) append: bool,
}

impl ClientAddresses {
    pub(crate) fn new(config: &HttpConnectionManager, own_address: IpAddr) -> ClientAddresses {
        let internal = config.internal_address_config.clone().unwrap_or_default();
        ClientAddresses {
            use_remote_address: config.use_remote_address,
            hops: config.xff_num_trusted_hops,
            detection: config.original_ip_detection.clone(),
            internal: internal.cidr_ranges,
            unix_sockets_are_internal: internal.unix_sockets,
            own_address,
            map_ipv4: config.represent_ipv4_remote_address_as_ipv4_mapped_ipv6,
        }
    }

    /// Judges a request by its headers, before any is changed, and the peer's address; a Unix socket has none.
    pub(crate) fn judge(&self, request: &HeaderBlock, peer: Option<IpAddr>, skip_append: bool) -> Client {
        let (named, trusted, append) = if self.use_remote_address {
            let named = (self.hops > 0)
                .then(|| last_address(request, self.hops - 1))
                .flatten()
                .map(|(address, _)| address);
            (named, !request.contains(KnownName::XForwardedFor), !skip_append)
        } else {
            let found = match &self.detection {
                None => last_address(request, self.hops).map(|found| (found, false)),
                Some(detection) => detect(detection, request, peer),
            };
            match found {
                Some(((address, single), append)) => (Some(address), single, append),
                None => (
                    None,
                    false,
                    self.detection
                        .as_ref()
                        .is_some_and(|detection| !detection.skip_xff_append && detection.trusted_cidrs.is_none()),
                ),
            }
        };
        let is_internal = trusted
            && match named.or(peer) {
                Some(address) => self.internal.iter().any(|range| range.contains(address)),
                None => self.unix_sockets_are_internal,
            };
        Client {
            named,
            is_internal,
            append,
        }
    }

    /// What stands for the peer in `x-forwarded-for`.
    pub(crate) fn shown(&self, peer: IpAddr) -> IpAddr {
        if peer.is_loopback() {
            return self.own_address;
        }
        match peer {
            IpAddr::V4(address) if self.map_ipv4 => IpAddr::V6(address.to_ipv6_mapped()),
            other => other,
        }
    }
}

/// The address of the configured detection, whether it is the only one, and whether the peer is added.
fn detect(detection: &XffDetection, request: &HeaderBlock, peer: Option<IpAddr>) -> Option<((IpAddr, bool), bool)> {
    let append = !detection.skip_xff_append;
    let Some(trusted) = &detection.trusted_cidrs else {
        return last_address(request, detection.num_trusted_hops).map(|found| (found, append));
    };
    let is_trusted = |address: IpAddr| trusted.iter().any(|range| range.contains(address));
    if !peer.is_some_and(is_trusted) {
        return None;
    }
    let list = joined(request)?;
    let mut found = None;
    for part in list.split(|byte| *byte == b',').rev() {
        let address = parse(part)?;
        found = Some(address);
        if !is_trusted(address) {
            break;
        }
    }
    found.map(|address| ((address, !list.contains(&b',')), append))
}

/// The address in `x-forwarded-for` before the last `skip` ones, and whether it is the only one.
fn last_address(request: &HeaderBlock, skip: u32) -> Option<(IpAddr, bool)> {
    if !request.contains(KnownName::XForwardedFor) {
        return None;
    }
    let list = joined(request)?;
    let mut parts = list.rsplit(|byte| *byte == b',').skip(skip as usize);
    let address = parse(parts.next()?)?;
    Some((address, skip == 0 && parts.next().is_none()))
}

/// The list as one value; a request rarely has more than one line of it.
fn joined(request: &HeaderBlock) -> Option<std::borrow::Cow<'_, [u8]>> {
    let mut lines = request.get_all(&KnownName::XForwardedFor);
    let first = lines.next()?;
    let mut all = std::borrow::Cow::Borrowed(first);
    for line in lines {
        let all = all.to_mut();
        all.push(b',');
        all.extend_from_slice(line);
    }
    Some(all)
}

/// An address, with or without a port.
fn parse(text: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(text.trim_ascii()).ok()?;
    text.parse()
        .ok()
        .or_else(|| text.parse::<std::net::SocketAddr>().ok().map(|address| address.ip()))
        .or_else(|| text.strip_prefix('[')?.strip_suffix(']')?.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(lines: &[&str]) -> HeaderBlock {
        let mut block = HeaderBlock::new();
        for line in lines {
            block.append(KnownName::XForwardedFor, line.as_bytes());
        }
        block
    }

    fn addresses(hops: u32, use_remote_address: bool) -> ClientAddresses {
        ClientAddresses {
            use_remote_address,
            hops,
            detection: None,
            internal: vec![CidrRange::new("10.0.0.0".parse().unwrap(), 8).unwrap()],
            unix_sockets_are_internal: false,
            own_address: "192.0.2.7".parse().unwrap(),
            map_ipv4: false,
        }
    }

    fn named(addresses: &ClientAddresses, lines: &[&str]) -> (String, bool) {
        let client = addresses.judge(&request(lines), Some("10.9.9.9".parse().unwrap()), false);
        let named = client.named.map_or("-".to_owned(), |address| address.to_string());
        (named, client.is_internal)
    }

    #[test]
    fn the_caller_is_whom_trusted_proxies_name() {
        let plain = addresses(0, false);
        assert_eq!(
            named(&plain, &[]),
            ("-".into(), false),
            "nobody is internal without a header"
        );
        assert_eq!(named(&plain, &["10.0.0.1"]), ("10.0.0.1".into(), true));
        assert_eq!(named(&plain, &["11.0.0.1"]), ("11.0.0.1".into(), false));
        assert_eq!(named(&plain, &["10.0.0.1, 10.0.0.2"]), ("10.0.0.2".into(), false));
        assert_eq!(named(&plain, &["10.0.0.1", "10.0.0.2"]), ("10.0.0.2".into(), false));
        assert_eq!(named(&plain, &["bogus"]), ("-".into(), false));
        let behind_one = addresses(1, false);
        assert_eq!(named(&behind_one, &["1.2.3.4"]), ("-".into(), false));
        assert_eq!(named(&behind_one, &["::1, 5.6.7.8"]), ("::1".into(), false));
    }

    #[test]
    fn an_edge_proxy_believes_its_own_eyes() {
        let edge = addresses(0, true);
        assert_eq!(named(&edge, &[]), ("-".into(), true));
        assert_eq!(named(&edge, &["10.0.0.1"]), ("-".into(), false));
        let behind_one = addresses(1, true);
        assert_eq!(named(&behind_one, &["1.2.3.4, 5.6.7.8"]), ("5.6.7.8".into(), false));
        assert_eq!(edge.shown("127.0.0.1".parse().unwrap()), edge.own_address);
    }

    #[test]
    fn ranges_of_trusted_proxies_are_passed_over() {
        let mut with_ranges = addresses(0, false);
        with_ranges.detection = Some(XffDetection {
            num_trusted_hops: 0,
            skip_xff_append: true,
            trusted_cidrs: Some(vec![CidrRange::new("10.0.0.0".parse().unwrap(), 8).unwrap()]),
        });
        assert_eq!(named(&with_ranges, &["1.2.3.4, 10.1.1.1"]).0, "1.2.3.4");
        assert_eq!(named(&with_ranges, &["10.2.2.2, 10.1.1.1"]).0, "10.2.2.2");
        assert_eq!(named(&with_ranges, &["1.1.1.1, x, 10.1.1.1"]).0, "-");
    }
}
