use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::address::Address;
use crate::testing::{accept, refuse, refuse_each, without_effect};

mod connecting;
mod health_checks;
mod load_balancing;

fn cluster(text: &str) -> Cluster {
    accept(Cluster::parse, text)
}

fn endpoints(addresses: &[(&str, u16)]) -> String {
    let endpoint = |(address, port): &(&str, u16)| {
        format!("    - endpoint: {{address: {{socket_address: {{address: {address}, port_value: {port}}}}}}}\n")
    };
    let endpoints: String = addresses.iter().map(endpoint).collect();
    format!("load_assignment:\n  cluster_name: c\n  endpoints:\n  - lb_endpoints:\n{endpoints}")
}

#[test]
fn a_name_alone_is_a_static_cluster_with_envoys_defaults() {
    let cluster = cluster("name: c");
    assert_eq!(&*cluster.name, "c");
    assert!(matches!(&cluster.discovery, Discovery::Static { endpoints } if endpoints.is_empty()));
    assert_eq!(cluster.connect_timeout, Duration::from_secs(5));
    assert_eq!(cluster.per_connection_buffer_limit_bytes, 1024 * 1024);
    assert_eq!(cluster.lb_policy, LbPolicy::RoundRobin { slow_start: None });
    assert_eq!(cluster.circuit_breakers.default.max_requests, 1024);
    assert_eq!(cluster.circuit_breakers.high.max_retries, 3);
    assert_eq!(cluster.common_lb_config.healthy_panic_threshold, 50.0);
    assert_eq!(cluster.common_lb_config.update_merge_window, Duration::from_secs(1));
    assert!(matches!(
        cluster.http_protocol_options.upstream_protocol,
        UpstreamProtocol::Http1(_)
    ));
    assert_eq!(
        cluster.http_protocol_options.common.idle_timeout,
        Some(Duration::from_secs(3600))
    );
    assert!(cluster.outlier_detection.is_none() && cluster.tcp_keepalive.is_none());
    assert!(cluster.references().is_empty());
}

#[test]
fn a_static_cluster_has_its_endpoints() {
    let cluster = cluster(&format!(
        "name: c\ntype: STATIC\n{}",
        endpoints(&[("127.0.0.1", 80), ("\"::1\"", 81)])
    ));
    let Discovery::Static { endpoints } = &cluster.discovery else {
        panic!("{:?}", cluster.discovery)
    };
    let addresses: Vec<_> = endpoints.endpoints[0]
        .endpoints
        .iter()
        .map(|endpoint| endpoint.address().to_string())
        .collect();
    assert_eq!(addresses, ["127.0.0.1:80", "[::1]:81"]);
}

#[test]
fn names_are_for_dns_clusters_only() {
    let names = endpoints(&[("greeter.example", 80)]);
    assert_eq!(
        refuse(Cluster::parse, &format!("name: c\n{names}")),
        [
            "load_assignment.endpoints[0].lb_endpoints[0].endpoint.address.socket_address.address: is \"greeter.example\", \
          expected an IP address (names need a cluster of type STRICT_DNS or LOGICAL_DNS)"
        ]
    );
    let strict = cluster(&format!("name: c\ntype: STRICT_DNS\n{names}"));
    let Discovery::StrictDns { endpoints } = &strict.discovery else {
        panic!("{:?}", strict.discovery)
    };
    assert_eq!(
        endpoints.endpoints[0].endpoints[0].address(),
        Address::Name {
            host: "greeter.example".into(),
            port: 80
        }
    );
    let logical = cluster(&format!("name: c\ntype: LOGICAL_DNS\n{names}"));
    assert!(matches!(logical.discovery, Discovery::LogicalDns { .. }));
}

#[test]
fn a_logical_dns_cluster_has_exactly_one_endpoint() {
    let two = endpoints(&[("a.example", 80), ("b.example", 80)]);
    let fault = ["load_assignment: has 2 endpoints, a cluster of type LOGICAL_DNS has exactly 1"];
    assert_eq!(
        refuse(Cluster::parse, &format!("name: c\ntype: LOGICAL_DNS\n{two}")),
        fault
    );
}

#[test]
fn an_eds_cluster_needs_its_service_name_over_ads() {
    let cluster = cluster("name: c\ntype: EDS\neds_cluster_config:\n  service_name: s\n  eds_config: {ads: {}}");
    let references: Vec<_> = cluster.references().iter().cloned().collect();
    assert_eq!(references.len(), 1);
    assert_eq!(
        (references[0].resource_type, &*references[0].name),
        (ResourceType::ClusterLoadAssignment, "s")
    );
    assert_eq!(references[0].source.as_deref(), Some(&ConfigSource::ads()));
}

#[test]
fn an_eds_cluster_without_service_name_asks_for_its_own_name() {
    let cluster = cluster("name: c\ntype: EDS\neds_cluster_config: {eds_config: {ads: {}, initial_fetch_timeout: 0s}}");
    let Discovery::Eds { service_name, source } = &cluster.discovery else {
        panic!("{:?}", cluster.discovery)
    };
    assert_eq!((&**service_name, source.initial_fetch_timeout), ("c", Duration::ZERO));
}

#[test]
fn an_original_destination_cluster_chooses_for_itself() {
    let cluster = cluster("name: c\ntype: ORIGINAL_DST\nlb_policy: CLUSTER_PROVIDED");
    assert!(matches!(
        cluster.discovery,
        Discovery::OriginalDst(OriginalDst {
            http_header_name: None,
            ..
        })
    ));
    assert_eq!(
        refuse(Cluster::parse, "name: c\ntype: ORIGINAL_DST"),
        ["lb_policy: must be CLUSTER_PROVIDED for a cluster of type ORIGINAL_DST"]
    );
}

#[test]
fn what_is_refused_of_a_cluster_is_named_with_its_path() {
    refuse_each(
        Cluster::parse,
        "name: c",
        &[
            (
                "connect_timeout: 0s",
                "connect_timeout: is 0s, expected a duration of more than zero",
            ),
            (
                "connect_timeout: -1s",
                "connect_timeout: is -1s, expected a duration of zero or more",
            ),
            (
                "type: EDS\neds_cluster_config: {service_name: 'xdstp://a/t/e', eds_config: {ads: {}}}",
                "eds_cluster_config.service_name: is \"xdstp://a/t/e\": resource names of the form xdstp:// are not supported",
            ),
            ("type: EDS", "eds_cluster_config: is required"),
            (
                "type: EDS\neds_cluster_config: {}",
                "eds_cluster_config.eds_config: is required",
            ),
            (
                "eds_cluster_config: {eds_config: {ads: {}}}",
                "eds_cluster_config: is for type EDS, this is STATIC",
            ),
            (
                "eds_cluster_config: {eds_config: {}}\ntype: EDS",
                "eds_cluster_config.eds_config: has no ads, api_config_source, path_config_source or self",
            ),
            (
                "load_assignment: {cluster_name: c}\ntype: EDS\neds_cluster_config: {eds_config: {ads: {}}}",
                "load_assignment: is for types STATIC, STRICT_DNS and LOGICAL_DNS, this is EDS",
            ),
            (
                "load_assignment: {}",
                "load_assignment.cluster_name: is required and must not be empty",
            ),
            (
                "common_lb_config: {consistent_hashing_lb_config: {use_hostname_for_hashing: true}}",
                "common_lb_config.consistent_hashing_lb_config.use_hostname_for_hashing: is for clusters of type \
                 STRICT_DNS alone, as in Envoy",
            ),
            (
                "upstream_bind_config: {extra_source_addresses: [{address: {address: '::1', port_value: 0}}]}",
                "upstream_bind_config.source_address: is required beside extra_source_addresses",
            ),
            (
                "lb_policy: RING_HASH\nring_hash_lb_config: {minimum_ring_size: 9, maximum_ring_size: 8}",
                "ring_hash_lb_config.minimum_ring_size: is 9, expected at most maximum_ring_size, 8",
            ),
            (
                "lb_policy: MAGLEV\nmaglev_lb_config: {table_size: 15}",
                "maglev_lb_config.table_size: is 15, expected a prime of at most 5000011",
            ),
            (
                "lb_policy: CLUSTER_PROVIDED",
                "lb_policy: is CLUSTER_PROVIDED, which only a cluster of type ORIGINAL_DST can be",
            ),
            (
                "lb_policy: LOAD_BALANCING_POLICY_CONFIG",
                "lb_policy: is LOAD_BALANCING_POLICY_CONFIG, yet there is no load_balancing_policy",
            ),
            (
                "lb_policy: LEAST_REQUEST\nleast_request_lb_config: {choice_count: 1}",
                "least_request_lb_config.choice_count: is 1, expected at least 2",
            ),
            (
                "common_lb_config: {healthy_panic_threshold: {value: 101}}",
                "common_lb_config.healthy_panic_threshold: is 101, expected a percentage from 0 to 100",
            ),
            (
                "circuit_breakers: {thresholds: [{retry_budget: {budget_percent: {value: -1}}}]}",
                "circuit_breakers.thresholds[0].retry_budget.budget_percent: is -1, expected a percentage from 0 to 100",
            ),
            (
                "circuit_breakers: {per_host_thresholds: [{max_requests: 1}]}",
                "circuit_breakers.per_host_thresholds[0]: has more than max_connections, which is all an endpoint can be \
                 limited in",
            ),
            (
                "outlier_detection: {max_ejection_percent: 101}",
                "outlier_detection.max_ejection_percent: is 101, expected 0 to 100",
            ),
            (
                "outlier_detection: {interval: 0s}",
                "outlier_detection.interval: is 0s, expected a duration of more than zero",
            ),
            (
                "dns_refresh_rate: 0.001s",
                "dns_refresh_rate: is 1ms, expected more than 1ms",
            ),
            (
                "dns_failure_refresh_rate: {base_interval: 2s, max_interval: 1s}",
                "dns_failure_refresh_rate.max_interval: is 1s, expected at least base_interval, 2s",
            ),
            (
                "dns_resolvers: [{pipe: {path: /a}}]",
                "dns_resolvers[0]: is \"/a\", expected an IP address and port",
            ),
            (
                "transport_socket: {name: tls}",
                "transport_socket.typed_config: is required",
            ),
            (
                "transport_socket: {name: t, typed_config: {'@type': type.googleapis.com/envoy.extensions.transport_sockets.tap.v3.Tap}}",
                "transport_socket.typed_config: upstream transport socket \"envoy.extensions.transport_sockets.tap.v3.Tap\" is not supported",
            ),
            (
                "transport_socket_matches: [{match: {a: b}}]",
                "transport_socket_matches[0].name: is required and must not be empty",
            ),
            (
                "upstream_bind_config: {source_address: {address: localhost, port_value: 0}}",
                "upstream_bind_config.source_address.address: is \"localhost:0\", expected an IP address",
            ),
            (
                "preconnect_policy: {per_upstream_preconnect_ratio: 4}",
                "preconnect_policy.per_upstream_preconnect_ratio: is 4, expected 1 to 3",
            ),
            (
                "lb_subset_config: {subset_selectors: [{keys: [v], fallback_policy: KEYS_SUBSET}]}",
                "lb_subset_config.subset_selectors[0].fallback_keys_subset: must be some, not all, of keys",
            ),
            (
                "cluster_type: {name: x}",
                "cluster_type: is not supported: only the types of the field type are known",
            ),
            (
                "typed_extension_protocol_options: {x: {'@type': type.googleapis.com/envoy.extensions.upstreams.tcp.v3.TcpProtocolOptions}}",
                "typed_extension_protocol_options[\"x\"]: protocol options \
                 \"envoy.extensions.upstreams.tcp.v3.TcpProtocolOptions\" are not supported, only \
                 \"envoy.extensions.upstreams.http.v3.HttpProtocolOptions\"",
            ),
            (
                "http_protocol_options: {}\nhttp2_protocol_options: {}",
                "http_protocol_options: and http2_protocol_options may both be set only with protocol_selection: \
                 USE_DOWNSTREAM_PROTOCOL",
            ),
            (
                "http2_protocol_options: {initial_stream_window_size: 65534}",
                "http2_protocol_options.initial_stream_window_size: is 65534, expected 65535 to 2147483647",
            ),
            (
                "http2_protocol_options: {connection_keepalive: {interval: 30s}}",
                "http2_protocol_options.connection_keepalive.timeout: is required",
            ),
        ],
    );
    assert_eq!(
        refuse(Cluster::parse, "{}"),
        ["name: is required and must not be empty"]
    );
}

#[test]
fn all_faults_of_a_cluster_are_found_at_once() {
    let text = "connect_timeout: 0s\nlb_policy: CLUSTER_PROVIDED\nhealth_checks: [{tcp_health_check: {}}]\nqueuing_policies: {}";
    assert_eq!(
        refuse(Cluster::parse, text),
        [
            "queuing_policies: is not supported: requests wait in the order in which they came",
            "name: is required and must not be empty",
            "connect_timeout: is 0s, expected a duration of more than zero",
            "lb_policy: is CLUSTER_PROVIDED, which only a cluster of type ORIGINAL_DST can be",
            "health_checks[0].timeout: is required",
            "health_checks[0].interval: is required",
            "health_checks[0].unhealthy_threshold: is required",
            "health_checks[0].healthy_threshold: is required",
        ]
    );
}

#[test]
fn what_has_no_effect_in_a_cluster_is_listed() {
    let text = "name: c\nlrs_server: {self: {}}\nhttp_protocol_options: {use_balsa_parser: true}\n\
                outlier_detection: {}\ncircuit_breakers: {thresholds: [{max_requests: 1}, {max_requests: 2}]}";
    assert_eq!(
        without_effect(Cluster::parse, text),
        [
            "lrs_server",
            "circuit_breakers.thresholds[1]",
            "http_protocol_options.use_balsa_parser"
        ]
    );
}

const HTTP: &str = "'@type': type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions";

fn protocol(options: &str) -> Arc<HttpProtocolOptions> {
    cluster(&format!(
        "name: c\ntyped_extension_protocol_options:\n  envoy.extensions.upstreams.http.v3.HttpProtocolOptions:\n    \
         {HTTP}\n    {options}"
    ))
    .http_protocol_options
    .clone()
}

#[test]
fn the_upstream_protocol_is_explicit_or_that_of_the_client_or_settled_by_alpn() {
    let explicit = protocol("explicit_http_config: {http2_protocol_options: {max_concurrent_streams: 7}}");
    let UpstreamProtocol::Http2(options) = explicit.upstream_protocol.clone() else {
        panic!("{explicit:?}")
    };
    assert_eq!(options.max_concurrent_streams, Some(7));
    let explicit = protocol("explicit_http_config: {http_protocol_options: {}}");
    assert!(matches!(explicit.upstream_protocol, UpstreamProtocol::Http1(_)));
    let downstream = protocol("use_downstream_protocol_config: {http2_protocol_options: {}}");
    assert!(matches!(
        downstream.upstream_protocol,
        UpstreamProtocol::UseDownstream { .. }
    ));
    let auto = protocol("auto_config: {}");
    assert!(matches!(auto.upstream_protocol, UpstreamProtocol::Auto { .. }));
    let deprecated = cluster("name: c\nhttp2_protocol_options: {}\nmax_requests_per_connection: 3");
    assert!(matches!(
        deprecated.http_protocol_options.upstream_protocol,
        UpstreamProtocol::Http2(_)
    ));
    assert_eq!(
        deprecated.http_protocol_options.common.max_requests_per_connection,
        Some(3)
    );
}

#[test]
fn transport_sockets_are_chosen_by_metadata_of_the_endpoint_then_of_its_locality() {
    let cluster = cluster(
        "name: c\ntransport_socket_matches:\n- name: tls\n  match: {tlsMode: istio}\n  transport_socket: {name: t, \
         typed_config: {'@type': type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext}}\n- \
         {name: plain}",
    );
    let metadata = |mode: &str| Struct::from([("tlsMode".into(), crate::metadata::Value::String(mode.into()))]);
    let (istio, other) = (metadata("istio"), metadata("disabled"));
    let [tls, plain] = cluster.transport_socket_matches.as_slice() else {
        panic!()
    };
    assert!(tls.matches(Some(&istio), None) && tls.matches(None, Some(&istio)));
    assert!(!tls.matches(Some(&other), Some(&istio)) && !tls.matches(None, None));
    assert!(plain.matches(None, None) && plain.transport_socket.is_none());
    assert!(tls.transport_socket.is_some());
}

#[test]
fn the_same_content_has_the_same_fingerprint() {
    let first = cluster("name: c\ntype: EDS\neds_cluster_config: {eds_config: {ads: {}}}");
    let second = cluster("eds_cluster_config: {eds_config: {ads: {}}}\ntype: EDS\nname: c");
    let other = cluster("name: c\ntype: EDS\neds_cluster_config: {eds_config: {self: {}}}");
    assert_eq!(first.fingerprint, second.fingerprint);
    assert_ne!(first.fingerprint, other.fingerprint);
}
