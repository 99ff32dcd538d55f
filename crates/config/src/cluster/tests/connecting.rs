//! How names are resolved and connections made.

use super::*;
use crate::socket_option::{IpFamily, SocketOption, SocketSetting};

const CARES: &str =
    "'@type': type.googleapis.com/envoy.extensions.network.dns_resolver.cares.v3.CaresDnsResolverConfig";

#[test]
fn what_istio_says_of_the_resolver_is_the_resolver_there_is() {
    let text = format!(
        "name: c\ntype: STRICT_DNS\ntyped_dns_resolver_config: {{name: cares, typed_config: {{{CARES}, udp_max_queries: 100}}}}"
    );
    assert_eq!(cluster(&text).dns.resolver, None);
    assert_eq!(
        without_effect(Cluster::parse, &text),
        ["typed_dns_resolver_config.typed_config.udp_max_queries"]
    );
}

#[test]
fn a_cluster_may_have_name_servers_of_its_own() {
    let servers = "resolvers: [{socket_address: {address: 10.0.0.1, port_value: 5353}}]";
    let options = "dns_resolver_options: {use_tcp_for_dns_lookups: true, no_default_search_domain: true}";
    let typed = format!(
        "typed_dns_resolver_config: {{name: r, typed_config: {{{CARES}, {servers}, {options}, query_tries: 2}}}}"
    );
    let older = format!("dns_resolution_config: {{{servers}, {options}}}");
    let oldest =
        "dns_resolvers: [{socket_address: {address: 10.0.0.1, port_value: 5353}}]\nuse_tcp_for_dns_lookups: true";
    let resolver = |text: &str| {
        let cluster = cluster(&format!("name: c\n{text}"));
        let resolver = cluster.dns.resolver.clone().expect("it has settings");
        assert_eq!(resolver.servers, ["10.0.0.1:5353".parse().expect("an address")]);
        assert!(resolver.use_tcp);
        resolver
    };
    assert_eq!(resolver(&typed).tries, Some(2));
    assert!(resolver(&typed).no_search_domains && resolver(&older).no_search_domains);
    assert!(!resolver(oldest).no_search_domains);
    assert_eq!(
        resolver(&format!("{typed}\n{oldest}")).tries,
        Some(2),
        "the typed one counts"
    );
    refuse_each(
        Cluster::parse,
        "name: c\n",
        &[
            (
                "typed_dns_resolver_config: {name: r}",
                "typed_dns_resolver_config.typed_config: is required",
            ),
            (
                "dns_resolution_config: {resolvers: [{socket_address: {address: a, port_value: 1}}]}",
                "dns_resolution_config.resolvers[0].socket_address.address: is \"a\", expected an IP address (names need a \
                 cluster of type STRICT_DNS or LOGICAL_DNS)",
            ),
        ],
    );
}

#[test]
fn socket_options_are_known_by_their_numbers() {
    let options = |text: &str| {
        let cluster = cluster(&format!("name: c\nupstream_bind_config: {{socket_options: [{text}]}}"));
        cluster
            .upstream_bind_config
            .clone()
            .expect("it was written")
            .socket_options
    };
    assert_eq!(
        options(
            "{level: 1, name: 36, int_value: 7}, {level: 6, name: 18, int_value: 250, ip_version: SOCKET_IP_VERSION_IPV6}"
        ),
        [
            SocketOption {
                setting: SocketSetting::Mark(7),
                only_for: None
            },
            SocketOption {
                setting: SocketSetting::UserTimeout(Duration::from_millis(250)),
                only_for: Some(IpFamily::V6)
            },
        ]
    );
    assert_eq!(options("{level: 6, name: 1, int_value: 1, state: STATE_LISTENING}"), []);
    assert_eq!(options("{level: 6, name: 1, int_value: 1, type: {datagram: {}}}"), []);
    refuse_each(
        Cluster::parse,
        "name: c\n",
        &[
            (
                "upstream_bind_config: {socket_options: [{level: 6, name: 30, int_value: 1}]}",
                "upstream_bind_config.socket_options[0]: is option 30 of level 6, which cannot be set here: known are the \
                 usual ones of SOL_SOCKET (1), IPPROTO_TCP (6), IPPROTO_IP (0) and IPPROTO_IPV6 (41)",
            ),
            (
                "upstream_bind_config: {socket_options: [{level: 6, name: 1}]}",
                "upstream_bind_config.socket_options[0]: has no int_value or buf_value",
            ),
            (
                "upstream_bind_config: {socket_options: [{level: 1, name: 36, int_value: -1}]}",
                "upstream_bind_config.socket_options[0].int_value: is -1, expected 0 to 4294967295",
            ),
        ],
    );
}

#[test]
fn an_endpoint_may_have_several_ip_addresses() {
    let endpoint = |more: &str| {
        format!(
            "name: c\nload_assignment: {{cluster_name: c, endpoints: [{{lb_endpoints: [{{endpoint: {{address: \
             {{socket_address: {{address: 127.0.0.1, port_value: 80}}}}, additional_addresses: [{more}]}}}}]}}]}}"
        )
    };
    let text = endpoint("{address: {socket_address: {address: '::1', port_value: 80}}}");
    let Discovery::Static { endpoints } = cluster(&text).discovery else {
        panic!("it is static")
    };
    let more = &endpoints.endpoints[0].endpoints[0].details().additional_addresses;
    assert_eq!(more.iter().map(ToString::to_string).collect::<Vec<_>>(), ["[::1]:80"]);
    assert_eq!(
        refuse(Cluster::parse, &endpoint("{address: {pipe: {path: /a}}}")),
        [
            "load_assignment.endpoints[0].lb_endpoints[0].endpoint.additional_addresses[0].address: is \"/a\", expected an \
             IP address and port"
        ]
    );
}
