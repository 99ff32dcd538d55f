use std::time::Duration;

use super::*;
use crate::address::CidrRange;
use crate::filter_chain_match::{ConnectionSourceType, ServerName, TransportProtocol};
use crate::listener_filters::{ListenerFilterConfig, ProxyProtocol, TlsInspector, TlvLocation, TlvRule};
use crate::resource::ResourceType;
use crate::testing::{accept, refuse, refuse_each, without_effect};

const ADDRESS: &str = "address: {socket_address: {address: 127.0.0.1, port_value: 8080}}";
const TCP: &str = "{name: tcp, typed_config: {'@type': \
    type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy, stat_prefix: t, cluster: c}}";

fn listener(text: &str) -> Listener {
    accept(Listener::parse, text)
}

/// A listener with one chain, to which fields may be added.
fn with_chain(chain: &str) -> String {
    format!("name: l\n{ADDRESS}\nfilter_chains: [{{filters: [{TCP}]{chain}}}]")
}

#[test]
fn a_listener_has_envoys_defaults() {
    let listener = listener(&with_chain(""));
    assert_eq!(
        (&*listener.name, listener.address.to_string().as_str()),
        ("l", "127.0.0.1:8080")
    );
    assert!(listener.bind_to_port && listener.enable_reuse_port && !listener.use_original_dst);
    assert_eq!(listener.listener_filters_timeout, Some(Duration::from_secs(15)));
    assert_eq!(listener.per_connection_buffer_limit_bytes, 1024 * 1024);
    assert_eq!(listener.connection_balance, ConnectionBalance::Kernel);
    assert_eq!(
        listener.filter_chains[0].filter_chain_match,
        FilterChainMatch::default()
    );
    assert!(listener.filter_chains[0].transport_socket.is_none());
}

#[test]
fn a_listener_has_its_fields() {
    let listener = listener(&format!(
        "{}
additional_addresses: [{{address: {{socket_address: {{address: '::1', port_value: 8080}}}}}}]
bind_to_port: false
use_original_dst: true
listener_filters_timeout: 0s
continue_on_listener_filters_timeout: true
per_connection_buffer_limit_bytes: 32768
connection_balance_config: {{exact_balance: {{}}}}
enable_reuse_port: false
tcp_backlog_size: 5
max_connections_to_accept_per_socket_event: 1
drain_type: MODIFY_ONLY
traffic_direction: OUTBOUND
transparent: true
freebind: true
tcp_keepalive: {{keepalive_time: 60}}
stat_prefix: p
default_filter_chain: {{filters: [{TCP}]}}
listener_filters:
- name: inspector
  typed_config: {{'@type': type.googleapis.com/envoy.extensions.filters.listener.tls_inspector.v3.TlsInspector}}
  filter_disabled: {{or_match: {{rules: [{{destination_port_range: {{start: 80, end: 81}}}}, {{not_match: {{any_match: true}}}}]}}}}",
        with_chain("")
    ));
    assert!(!listener.bind_to_port && listener.use_original_dst && !listener.enable_reuse_port);
    assert_eq!(listener.additional_addresses[0].to_string(), "[::1]:8080");
    assert_eq!(
        (
            listener.listener_filters_timeout,
            listener.continue_on_listener_filters_timeout
        ),
        (None, true)
    );
    assert_eq!(listener.connection_balance, ConnectionBalance::Exact);
    assert_eq!(
        (listener.drain_type, listener.traffic_direction),
        (DrainType::ModifyOnly, TrafficDirection::Outbound)
    );
    assert_eq!(
        listener.tcp_keepalive.unwrap().keepalive_time,
        Some(Duration::from_secs(60))
    );
    assert_eq!(listener.all_filter_chains().count(), 2);
    let disabled = listener.listener_filters[0].filter_disabled.as_ref().unwrap();
    assert!(disabled.matches(Some(80)) && !disabled.matches(Some(81)) && !disabled.matches(None));
}

#[test]
fn a_listener_without_name_is_named_after_its_address() {
    let text = with_chain("").replace("name: l\n", "");
    assert_eq!(&*listener(&text).name, "127.0.0.1:8080");
}

#[test]
fn a_filter_chain_match_has_all_its_criteria() {
    let listener = listener(&with_chain(
        ", filter_chain_match: {destination_port: 443, prefix_ranges: [{address_prefix: 10.1.2.3, prefix_len: 8}],
            server_names: [Example.com, '*.Example.com'], transport_protocol: tls, application_protocols: [istio],
            direct_source_prefix_ranges: [{address_prefix: '::1', prefix_len: 128}], source_type: EXTERNAL,
            source_prefix_ranges: [{address_prefix: 0.0.0.0}], source_ports: [1, 2]}",
    ));
    let range = |text: &str, length| CidrRange::new(text.parse().unwrap(), length).unwrap();
    assert_eq!(
        listener.filter_chains[0].filter_chain_match,
        FilterChainMatch {
            destination_port: Some(443),
            prefix_ranges: vec![range("10.0.0.0", 8)],
            server_names: vec![
                ServerName::Exact("example.com".into()),
                ServerName::Suffix(".example.com".into())
            ],
            transport_protocol: TransportProtocol::Tls,
            application_protocols: vec!["istio".into()],
            direct_source_prefix_ranges: vec![range("::1", 128)],
            source_type: ConnectionSourceType::External,
            source_prefix_ranges: vec![range("0.0.0.0", 0)],
            source_ports: vec![1, 2],
        }
    );
}

#[test]
fn what_is_refused_of_a_listener_is_named_with_its_path() {
    refuse_each(
        Listener::parse,
        &with_chain(""),
        &[
            (
                "max_connections_to_accept_per_socket_event: 0",
                "max_connections_to_accept_per_socket_event: is 0, expected at least 1",
            ),
            (
                "udp_listener_config: {}",
                "udp_listener_config: is not supported: listeners are for TCP and Unix sockets",
            ),
            (
                "internal_listener: {}",
                "internal_listener: is not supported: there are no internal listeners",
            ),
            (
                "connection_balance_config: {}",
                "connection_balance_config: has no exact_balance",
            ),
            (
                "listener_filters: [{name: x}]",
                "listener_filters[0].typed_config: is required",
            ),
            (
                "listener_filters: [{name: x, typed_config: {'@type': \
                 type.googleapis.com/envoy.extensions.filters.listener.original_src.v3.OriginalSrc}}]",
                "listener_filters[0].typed_config: listener filter \
                 \"envoy.extensions.filters.listener.original_src.v3.OriginalSrc\" is not supported",
            ),
            ("access_log: [{name: x}]", "access_log[0].typed_config: is required"),
            (
                "socket_options: [{level: 1}]",
                "socket_options: is not supported: raw socket options are not set",
            ),
        ],
    );
    assert_eq!(
        refuse(Listener::parse, "name: l"),
        [
            "address: is required",
            "filter_chains: is empty and there is no default_filter_chain: expected at least one chain",
        ]
    );
}

#[test]
fn what_is_refused_of_a_filter_chain_is_named_with_its_path() {
    let cases = [
        (
            ", filter_chain_match: {destination_port: 0}",
            "filter_chain_match.destination_port: is 0, expected 1 to 65535",
        ),
        (
            ", filter_chain_match: {source_ports: [70000]}",
            "filter_chain_match.source_ports[0]: is 70000, expected 1 to 65535",
        ),
        (
            ", filter_chain_match: {server_names: ['*']}",
            "filter_chain_match.server_names[0]: is \"*\": the only wildcard is the first label, as in \"*.example.com\"",
        ),
        (
            ", filter_chain_match: {server_names: ['a*.b']}",
            "filter_chain_match.server_names[0]: is \"a*.b\": the only wildcard is the first label, as in \"*.example.com\"",
        ),
        (
            ", filter_chain_match: {prefix_ranges: [{address_prefix: x}]}",
            "filter_chain_match.prefix_ranges[0].address_prefix: is \"x\", expected an IP address",
        ),
        (
            ", filter_chain_match: {prefix_ranges: [{address_prefix: 1.2.3.4, prefix_len: 33}]}",
            "filter_chain_match.prefix_ranges[0].prefix_len: is 33, expected at most 32",
        ),
        (
            ", filter_chain_match: {suffix_len: 1}",
            "filter_chain_match.suffix_len: is not supported: Envoy does not implement it either",
        ),
        (
            ", use_proxy_proto: true",
            "use_proxy_proto: is not supported: it is deprecated: write the listener filter \
             envoy.filters.listener.proxy_protocol",
        ),
        (
            ", transport_socket: {name: x}",
            "transport_socket.typed_config: is required",
        ),
    ];
    for (added, fault) in cases {
        assert_eq!(
            refuse(Listener::parse, &with_chain(added)),
            [format!("filter_chains[0].{fault}")]
        );
    }
}

#[test]
fn chains_overlap_when_any_value_of_every_criterion_is_in_both() {
    let chains = |first: &str, second: &str| {
        format!(
            "name: l\n{ADDRESS}\nfilter_chains: [{{filters: [{TCP}], filter_chain_match: {{{first}}}}}, \
             {{filters: [{TCP}], filter_chain_match: {{{second}}}}}]"
        )
    };
    let overlap = [
        ("source_ports: [1, 2]", "source_ports: [2, 3]"),
        (
            "server_names: [a, b], destination_port: 1",
            "server_names: [c, B], destination_port: 1",
        ),
    ];
    for (first, second) in overlap {
        assert_eq!(
            refuse(Listener::parse, &chains(first, second)),
            ["filter_chains[1].filter_chain_match: is for the same connections as that of filter_chains[0]"]
        );
    }
    let apart = [
        ("source_ports: [1, 2]", "source_ports: [3]"),
        ("source_ports: [1, 2]", ""),
        (
            "server_names: [a, b], destination_port: 1",
            "server_names: [b], destination_port: 2",
        ),
        ("server_names: [a]", "server_names: ['*.a']"),
    ];
    for (first, second) in apart {
        assert_eq!(listener(&chains(first, second)).filter_chains.len(), 2);
    }
}

#[test]
fn listener_filters_have_their_fields() {
    let with = |filter: &str| {
        format!(
            "{}\nlistener_filters: [{{name: f, typed_config: {{'@type': type.googleapis.com/{filter}}}}}]",
            with_chain("")
        )
    };
    let one = |filter: &str| listener(&with(filter)).listener_filters[0].config.clone();
    let inspector = "envoy.extensions.filters.listener.tls_inspector.v3.TlsInspector";
    assert_eq!(
        one(&format!("{inspector}, max_client_hello_size: 4096")),
        ListenerFilterConfig::TlsInspector(TlsInspector {
            max_client_hello_size: 4096,
            close_connection_on_client_hello_parsing_errors: false,
        })
    );
    let proxy_protocol = "envoy.extensions.filters.listener.proxy_protocol.v3.ProxyProtocol";
    assert_eq!(
        one(&format!(
            "{proxy_protocol}, allow_requests_without_proxy_protocol: true, disallowed_versions: [V2], stat_prefix: p"
        )),
        ListenerFilterConfig::ProxyProtocol(Arc::new(ProxyProtocol {
            allow_requests_without_proxy_protocol: true,
            disallows_v1: false,
            disallows_v2: true,
            stat_prefix: Some("p".into()),
            ..ProxyProtocol::default()
        }))
    );
    let rules = "tlv_location: FILTER_STATE, rules: [{tlv_type: 1, on_tlv_present: {key: a}}, {tlv_type: 2}, {tlv_type: 1, \
                 on_tlv_present: {key: b, metadata_namespace: ns, value_string_encoding: BASE64}}]";
    let rule = |namespace: &str, key: &str, is_base64| TlvRule {
        metadata_namespace: namespace.into(),
        key: key.into(),
        is_base64,
    };
    let nameless = rule(ProxyProtocol::METADATA_NAMESPACE, "", false);
    assert_eq!(
        one(&format!("{proxy_protocol}, {rules}")),
        ListenerFilterConfig::ProxyProtocol(Arc::new(ProxyProtocol {
            rules: [(1, rule("ns", "b", true)), (2, nameless)].into(),
            tlv_location: TlvLocation::FilterState,
            ..ProxyProtocol::default()
        }))
    );
    let at = "listener_filters[0].typed_config";
    for (filter, fault) in [
        (
            format!("{inspector}, max_client_hello_size: 16385"),
            ".max_client_hello_size: is 16385, expected 1 to 16384",
        ),
        (
            format!("{proxy_protocol}, rules: [{{tlv_type: 256}}]"),
            ".rules[0].tlv_type: is 256, expected 0 to 255",
        ),
        (
            format!("{proxy_protocol}, rules: [{{tlv_type: 1, on_tlv_present: {{metadata_namespace: ns}}}}]"),
            ".rules[0].on_tlv_present.key: is required and must not be empty",
        ),
        (
            format!("{proxy_protocol}, pass_through_tlvs: {{match_type: INCLUDE, tlv_type: [1, 300]}}"),
            ".pass_through_tlvs.tlv_type[1]: is 300, expected 0 to 255",
        ),
        (
            "google.protobuf.Empty".to_owned(),
            ": listener filter \"google.protobuf.Empty\" is not supported",
        ),
    ] {
        assert_eq!(refuse(Listener::parse, &with(&filter)), [format!("{at}{fault}")]);
    }
}

#[test]
fn two_chains_for_the_same_connections_are_refused() {
    let chain = |port: u16| format!("{{filters: [{TCP}], filter_chain_match: {{destination_port: {port}}}}}");
    let text = format!(
        "name: l\n{ADDRESS}\nfilter_chains: [{}, {}, {}]",
        chain(1),
        chain(2),
        chain(1)
    );
    assert_eq!(
        refuse(Listener::parse, &text),
        ["filter_chains[2].filter_chain_match: is for the same connections as that of filter_chains[0]"]
    );
}

#[test]
fn a_chain_has_one_terminal_filter_at_its_end() {
    let text = format!("name: l\n{ADDRESS}\nfilter_chains: [{{filters: [{TCP}, {TCP}]}}]");
    assert_eq!(
        refuse(Listener::parse, &text),
        ["filter_chains[0].filters[0]: is a terminal filter, which must be the last of its chain"]
    );
}

#[test]
fn what_has_no_effect_in_a_listener_is_listed() {
    let text = format!("{}\nreuse_port: true\ntcp_fast_open_queue_length: 3", with_chain(""));
    assert_eq!(
        without_effect(Listener::parse, &text),
        ["tcp_fast_open_queue_length", "reuse_port"]
    );
}

#[test]
fn a_filter_chain_is_the_same_whatever_the_order_of_its_metadata() {
    let keys: Vec<_> = (0..20).map(|key| format!("k{key}: {{a: {key}}}")).collect();
    let chain = |keys: &[String]| {
        let text = with_chain(&format!(", metadata: {{filter_metadata: {{{}}}}}", keys.join(", ")));
        listener(&text).filter_chains[0].fingerprint
    };
    let reversed: Vec<_> = keys.iter().rev().cloned().collect();
    assert_eq!(chain(&keys), chain(&reversed));
    assert_ne!(chain(&keys), chain(&keys[1..]));
    assert_ne!(chain(&keys), listener(&with_chain("")).filter_chains[0].fingerprint);
}

#[test]
fn a_listener_needs_the_route_tables_and_clusters_that_its_filters_name() {
    let manager = "{name: http, typed_config: {'@type': \
        type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager, \
        stat_prefix: h, rds: {route_config_name: r, config_source: {ads: {}}}, http_filters: [{name: router, typed_config: \
        {'@type': type.googleapis.com/envoy.extensions.filters.http.router.v3.Router}}]}}";
    let listener = listener(&format!(
        "{}\ndefault_filter_chain: {{filters: [{manager}]}}",
        with_chain("")
    ));
    let references: Vec<_> = listener
        .references()
        .iter()
        .map(|reference| (reference.resource_type, reference.name.to_string()))
        .collect();
    assert_eq!(
        references,
        [
            (ResourceType::Cluster, "c".into()),
            (ResourceType::RouteConfiguration, "r".into())
        ]
    );
    assert!(
        listener
            .default_filter_chain
            .as_ref()
            .unwrap()
            .http_connection_manager()
            .is_some()
    );
}

#[test]
fn a_fault_deep_inside_has_its_whole_path() {
    let route = "{match: {prefix: /}, route: {cluster: c, timeout: -1s}}";
    let manager = format!(
        "{{name: http, typed_config: {{'@type': \
         type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager, stat_prefix: h, \
         route_config: {{virtual_hosts: [{{name: v, domains: ['*'], routes: [{route}]}}]}}, http_filters: [{{name: router, \
         typed_config: {{'@type': type.googleapis.com/envoy.extensions.filters.http.router.v3.Router}}}}]}}}}"
    );
    let text = format!("name: l\n{ADDRESS}\nfilter_chains: [{{filters: [{manager}]}}]");
    assert_eq!(
        refuse(Listener::parse, &text),
        [
            "filter_chains[0].filters[0].typed_config.route_config.virtual_hosts[0].routes[0].route.timeout: is -1s, expected a \
          duration of zero or more"
        ]
    );
}

#[test]
fn what_is_refused_of_a_tcp_proxy_is_named_with_its_path() {
    let tcp = |fields: &str| {
        format!(
            "name: l\n{ADDRESS}\nfilter_chains: [{{filters: [{{name: tcp, typed_config: {{'@type': \
             type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy, {fields}}}}}]}}]"
        )
    };
    let cases = [
        ("cluster: c", "stat_prefix: is required and must not be empty"),
        ("stat_prefix: s", "has no cluster or weighted_clusters"),
        (
            "stat_prefix: s, weighted_clusters: {}",
            "weighted_clusters.clusters: is required and must not be empty",
        ),
        (
            "stat_prefix: s, weighted_clusters: {clusters: [{name: a}]}",
            "weighted_clusters.clusters[0].weight: is 0, expected at least 1",
        ),
        (
            "stat_prefix: s, weighted_clusters: {clusters: [{name: a, weight: 4294967295}, {name: b, weight: 1}]}",
            "weighted_clusters: has weights that add up to more than 4294967295",
        ),
        (
            "stat_prefix: s, cluster: c, max_connect_attempts: 0",
            "max_connect_attempts: is 0, expected at least 1",
        ),
        (
            "stat_prefix: s, cluster: c, hash_policy: [{filter_state: {key: k}}]",
            "hash_policy[0].filter_state: is not supported: there is no filter state to hash",
        ),
        (
            "stat_prefix: s, cluster: c, upstream_connect_mode: ON_DOWNSTREAM_DATA",
            "upstream_connect_mode: is ON_DOWNSTREAM_DATA, only IMMEDIATE is supported",
        ),
        (
            "stat_prefix: s, cluster: c, access_log_options: {access_log_flush_interval: 0.0001s}",
            "access_log_options.access_log_flush_interval: is less than the least interval, 0.001s",
        ),
    ];
    for (fields, fault) in cases {
        let colon = if fault.starts_with("has no") { ": " } else { "." };
        assert_eq!(
            refuse(Listener::parse, &tcp(fields)),
            [format!("filter_chains[0].filters[0].typed_config{colon}{fault}")]
        );
    }
}

#[test]
fn weighted_clusters_are_picked_by_their_weight() {
    let text = with_chain("").replace(
        "cluster: c",
        "weighted_clusters: {clusters: [{name: a, weight: 1}, {name: b, weight: 3}]}",
    );
    let listener = listener(&text);
    let NetworkFilterConfig::TcpProxy(proxy) = &listener.filter_chains[0].filters[0].config else {
        panic!()
    };
    let picked: String = (0..8)
        .map(|random| {
            proxy.clusters.clusters[proxy.clusters.pick_index(random)]
                .name
                .to_string()
        })
        .collect();
    assert_eq!(picked, "abbbabbb");
    assert_eq!(
        (proxy.idle_timeout, proxy.max_connect_attempts),
        (Some(Duration::from_secs(3600)), 1)
    );
}
