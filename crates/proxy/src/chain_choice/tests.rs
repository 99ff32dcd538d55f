use proptest::prelude::*;

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

/// One value of every criterion, or none of it: a chain is as many of these as its lists have combinations.
#[derive(Clone, Debug)]
struct Leaf {
    chain: usize,
    port: Option<u16>,
    range: Option<CidrRange>,
    name: Option<ServerName>,
    transport: TransportProtocol,
    protocol: Option<String>,
    direct: Option<CidrRange>,
    source_type: ConnectionSourceType,
    source: Option<CidrRange>,
    source_port: Option<u16>,
}

fn optional<T: Clone>(values: &[T]) -> Vec<Option<T>> {
    if values.is_empty() {
        vec![None]
    } else {
        values.iter().cloned().map(Some).collect()
    }
}

fn leaves(chains: &[FilterChainMatch]) -> Vec<Leaf> {
    let mut leaves = Vec::new();
    for (chain, wanted) in chains.iter().enumerate() {
        let protocols: Vec<String> = wanted.application_protocols.iter().map(ToString::to_string).collect();
        for range in optional(&wanted.prefix_ranges) {
            for name in optional(&wanted.server_names) {
                for protocol in optional(&protocols) {
                    for direct in optional(&wanted.direct_source_prefix_ranges) {
                        for source in optional(&wanted.source_prefix_ranges) {
                            for source_port in optional(&wanted.source_ports) {
                                leaves.push(Leaf {
                                    chain,
                                    port: wanted.destination_port,
                                    range,
                                    name: name.clone(),
                                    transport: wanted.transport_protocol.clone(),
                                    protocol: protocol.clone(),
                                    direct,
                                    source_type: wanted.source_type,
                                    source,
                                    source_port,
                                });
                            }
                        }
                    }
                }
            }
        }
    }
    leaves
}

/// Envoy's tree, level by level: of the values that a connection could go by, in their order, the first that any leaf
/// left has; the other leaves fall off. There is no way back.
fn level<V: PartialEq>(leaves: &mut Vec<Leaf>, order: &[V], value: impl Fn(&Leaf) -> V) {
    let taken = order
        .iter()
        .find(|wanted| leaves.iter().any(|leaf| value(leaf) == **wanted));
    match taken {
        Some(taken) => leaves.retain(|leaf| value(leaf) == *taken),
        None => leaves.clear(),
    }
}

fn every_range(address: Option<IpAddr>) -> Vec<Option<CidrRange>> {
    let mut ranges = Vec::new();
    if let Some(address) = address {
        let longest = if address.is_ipv4() { 32 } else { 128 };
        ranges.extend((0..=longest).rev().map(|length| CidrRange::new(address, length)));
    }
    ranges.push(None);
    ranges
}

fn every_name(found: Option<&str>) -> Vec<Option<ServerName>> {
    let mut names = Vec::new();
    if let Some(found) = found {
        names.push(Some(ServerName::Exact(found.into())));
        let dots = found.char_indices().skip(1).filter(|(_, letter)| *letter == '.');
        names.extend(dots.map(|(at, _)| Some(ServerName::Suffix(found[at..].into()))));
    }
    names.push(None);
    names
}

fn by_tree(chains: &[FilterChainMatch], facts: &Facts<'_>) -> Option<usize> {
    let ip = |address: Option<SocketAddr>| address.map(|address| address.ip());
    let port = |address: Option<SocketAddr>| address.map(|address| address.port());
    let mut left = leaves(chains);
    level(&mut left, &[port(facts.destination), None], |leaf| leaf.port);
    level(&mut left, &every_range(ip(facts.destination)), |leaf| leaf.range);
    level(&mut left, &every_name(facts.server_name), |leaf| leaf.name.clone());
    let transport = if facts.is_tls {
        TransportProtocol::Tls
    } else {
        TransportProtocol::RawBuffer
    };
    level(&mut left, &[transport, TransportProtocol::Any], |leaf| {
        leaf.transport.clone()
    });
    let offered = facts
        .application_protocols
        .iter()
        .map(|protocol| Some(protocol.to_string()));
    let protocols: Vec<_> = offered.chain([None]).collect();
    level(&mut left, &protocols, |leaf| leaf.protocol.clone());
    level(&mut left, &every_range(ip(facts.direct_source)), |leaf| leaf.direct);
    let source = ip(facts.source);
    let is_local = source == ip(facts.destination) || source == Some([127, 0, 0, 1].into());
    let kind = if is_local {
        ConnectionSourceType::SameIpOrLoopback
    } else {
        ConnectionSourceType::External
    };
    level(&mut left, &[kind, ConnectionSourceType::Any], |leaf| leaf.source_type);
    level(&mut left, &every_range(source), |leaf| leaf.source);
    level(&mut left, &[port(facts.source), None], |leaf| leaf.source_port);
    left.first().map(|leaf| leaf.chain)
}

fn any_ranges() -> impl Strategy<Value = Vec<CidrRange>> {
    let range = prop_oneof![
        Just("10.0.0.0/8"),
        Just("10.1.0.0/16"),
        Just("10.1.1.1/32"),
        Just("0.0.0.0/0"),
        Just("127.0.0.0/8")
    ];
    proptest::collection::vec(range.prop_map(range_of), 0..3)
}

fn range_of(text: &str) -> CidrRange {
    range(text)
}

fn any_criteria() -> impl Strategy<Value = FilterChainMatch> {
    let name = prop_oneof![
        Just(ServerName::Exact("a.b.c".into())),
        Just(ServerName::Suffix(".b.c".into())),
        Just(ServerName::Suffix(".c".into()))
    ];
    let transport = prop_oneof![
        Just(TransportProtocol::Any),
        Just(TransportProtocol::Tls),
        Just(TransportProtocol::RawBuffer)
    ];
    let protocol = prop_oneof![Just("h2"), Just("http/1.1"), Just("istio")];
    let source_type = prop_oneof![
        Just(ConnectionSourceType::Any),
        Just(ConnectionSourceType::SameIpOrLoopback),
        Just(ConnectionSourceType::External)
    ];
    (
        proptest::option::of(prop_oneof![Just(80_u16), Just(443)]),
        any_ranges(),
        proptest::collection::vec(name, 0..2),
        transport,
        proptest::collection::vec(protocol, 0..3),
        any_ranges(),
        source_type,
        any_ranges(),
        proptest::collection::vec(prop_oneof![Just(1_u16), Just(2)], 0..2),
    )
        .prop_map(
            |(port, ranges, names, transport, protocols, direct, source_type, sources, ports)| FilterChainMatch {
                destination_port: port,
                prefix_ranges: ranges,
                server_names: names,
                transport_protocol: transport,
                application_protocols: protocols.into_iter().map(Into::into).collect(),
                direct_source_prefix_ranges: direct,
                source_type,
                source_prefix_ranges: sources,
                source_ports: ports,
            },
        )
}

fn any_address() -> impl Strategy<Value = SocketAddr> {
    let ip = prop_oneof![
        Just([10, 1, 1, 1]),
        Just([10, 1, 2, 3]),
        Just([10, 9, 9, 9]),
        Just([127, 0, 0, 1]),
        Just([8, 8, 8, 8])
    ];
    let port = prop_oneof![Just(80_u16), Just(443), Just(1), Just(2)];
    (ip, port).prop_map(Into::into)
}

proptest! {
    #[test]
    fn the_chain_is_the_one_that_envoys_tree_of_criteria_leads_to(
        chains in proptest::collection::vec(any_criteria(), 1..8),
        (destination, source, direct) in (any_address(), any_address(), any_address()),
        name in proptest::option::of(prop_oneof![Just("a.b.c"), Just("x.b.c"), Just("y.c"), Just("b.c"), Just("z")]),
        is_tls in any::<bool>(),
        protocols in proptest::collection::vec(prop_oneof![Just("h2"), Just("http/1.1"), Just("other")], 0..3),
    ) {
        let protocols: Vec<Box<str>> = protocols.into_iter().map(Into::into).collect();
        let facts = Facts {
            destination: Some(destination),
            source: Some(source),
            direct_source: Some(direct),
            server_name: name,
            is_tls,
            application_protocols: &protocols,
        };
        // Chains that overlap are refused with their listener; of such, either may be found here.
        let found = choose(chains.iter(), &facts);
        let expected = by_tree(&chains, &facts);
        prop_assert_eq!(found.is_some(), expected.is_some());
        if let (Some(found), Some(expected)) = (found, expected) && found != expected {
            prop_assert!(by_tree(&[chains[found].clone()], &facts).is_some());
            prop_assert!(by_tree(&[chains[expected].clone(), chains[found].clone()], &facts) == Some(0));
            prop_assert!(by_tree(&[chains[found].clone(), chains[expected].clone()], &facts) == Some(0));
        }
    }
}
