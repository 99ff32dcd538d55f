//! What becomes of lists, maps, typed configurations and bytes.

use super::Envoy::{self, *};

pub(super) const LISTS_AND_MAPS: &[(&str, Envoy)] = &[
    (
        "dns_resolvers: {socket_address: {address: 1.1.1.1, port_value: 1}}",
        Is(r#""dns_resolvers":[{"socket_address":{"address":"1.1.1.1","port_value":1}}]"#),
    ),
    ("dns_resolvers: []", Is("")),
    ("dns_resolvers: ~", Is("")),
    ("dns_resolvers: [~]", Refuses),
    ("dns_resolvers: 5", Refuses),
    ("dns_resolvers: ''", Refuses),
    ("dns_resolvers: {}", RefusesLater("an address has a kind")),
    (
        "metadata: {filter_metadata: {a: {b: 1.5, c: on, d: 99999999999, e: [1, {f: ~}], g: 010, h: '1', j: .5, k: -3, n: , o: {}, p: []}}}",
        Is(concat!(
            r#""metadata":{"filter_metadata":{"a":{"b":"1.5","c":true,"d":"99999999999","e":[1,{"f":null}],"g":8,"#,
            r#""h":"1","j":".5","k":-3,"n":null,"o":{},"p":[]}}}"#
        )),
    ),
    (
        "metadata: {filter_metadata: {a: ~}}",
        Is(r#""metadata":{"filter_metadata":{"a":{}}}"#),
    ),
    (
        "metadata: {filter_metadata: {1: {}}}",
        Is(r#""metadata":{"filter_metadata":{"1":{}}}"#),
    ),
    (
        "metadata: {filter_metadata: {on: {}}}",
        Is(r#""metadata":{"filter_metadata":{"on":{}}}"#),
    ),
    (
        "metadata: {filter_metadata: {0x10: {}}}",
        Is(r#""metadata":{"filter_metadata":{"0x10":{}}}"#),
    ),
    (
        "metadata: {filter_metadata: {~: {}}}",
        Is(r#""metadata":{"filter_metadata":{"null":{}}}"#),
    ),
    ("metadata: {filter_metadata: {a: 5}}", Refuses),
    ("metadata: {filter_metadata: [a]}", Refuses),
    ("metadata: {filter_metadata: {[a]: {}}}", Refuses),
    (
        "upstream_connection_options: {tcp_keepalive: {}}",
        Is(r#""upstream_connection_options":{"tcp_keepalive":{}}"#),
    ),
    ("upstream_connection_options: ~", Is("")),
    ("bogus: 1", Refuses),
    ("bogus: ~", Refuses),
    ("<<: {connect_timeout: 1s}", Refuses),
    ("!ignore x: 1", Is("")),
    ("!ignore x: &t 1s\nconnect_timeout: *t", Is(r#""connect_timeout":"1s""#)),
    ("&a alt_stat_name: *a", Is(r#""alt_stat_name":"alt_stat_name""#)),
    (
        "connect_timeout: &t 1s\ncleanup_interval: *t",
        Is(r#""connect_timeout":"1s","cleanup_interval":"1s""#),
    ),
    ("connect_timeout: *t", Refuses),
    ("type: STATIC\ncluster_type: {name: x}", Refuses),
    (
        "connect_timeout: 1s\nconnect_timeout: 2s",
        TakesButWeRefuse("a key that occurs twice is a mistake"),
    ),
    (
        "lb_policy: ROUND_ROBIN\nlbPolicy: RANDOM",
        TakesButWeRefuse("the same field twice, in its two forms"),
    ),
    (
        "metadata: {filter_metadata: {a: {x: 1}, a: {y: 2}}}",
        TakesButWeRefuse("a key that occurs twice is a mistake"),
    ),
];

pub(super) const ANY: &[(&str, Envoy)] = &[
    (
        "transport_socket: {name: x, typed_config: {'@type': type.googleapis.com/envoy.extensions.transport_sockets.raw_buffer.v3.RawBuffer}}",
        Is(concat!(
            r#""transport_socket":{"name":"x","typed_config":{"@type":"#,
            r#""type.googleapis.com/envoy.extensions.transport_sockets.raw_buffer.v3.RawBuffer"}}"#
        )),
    ),
    (
        "transport_socket: {name: x, typed_config: {'@type': foo.com/a/envoy.extensions.transport_sockets.raw_buffer.v3.RawBuffer}}",
        Is(concat!(
            r#""transport_socket":{"name":"x","typed_config":{"@type":"#,
            r#""foo.com/a/envoy.extensions.transport_sockets.raw_buffer.v3.RawBuffer"}}"#
        )),
    ),
    (
        "transport_socket: {name: x, typedConfig: {'@type': envoy.extensions.transport_sockets.raw_buffer.v3.RawBuffer}}",
        Refuses,
    ),
    (
        "transport_socket: {name: x, typed_config: {'@type': /envoy.extensions.transport_sockets.raw_buffer.v3.RawBuffer}}",
        Refuses,
    ),
    ("transport_socket: {name: x, typed_config: {a: b}}", Refuses),
    (
        "transport_socket: {name: x, typed_config: {'@type': type.googleapis.com/envoy.nonexistent.v3.Foo, a: b}}",
        Refuses,
    ),
    (
        "transport_socket: {name: x, typed_config: {'@type': type.googleapis.com/envoy.extensions.transport_sockets.raw_buffer.v3.RawBuffer, bogus: 1}}",
        Refuses,
    ),
    (
        "transport_socket: {name: x, typed_config: {}}",
        RefusesLater("no such transport socket"),
    ),
];

pub(super) const BYTES: &[(&str, Envoy)] = &[
    (
        "health_checks: {tcp_health_check: {send: {binary: AQI=}}}",
        Is(r#""health_checks":[{"tcp_health_check":{"send":{"binary":"AQI="}}}]"#),
    ),
    (
        "health_checks: {tcp_health_check: {send: {binary: AQI}}}",
        Is(r#""health_checks":[{"tcp_health_check":{"send":{"binary":"AQI="}}}]"#),
    ),
    (
        "health_checks: {tcp_health_check: {send: {binary: -_8=}}}",
        Is(r#""health_checks":[{"tcp_health_check":{"send":{"binary":"+/8="}}}]"#),
    ),
    (
        "health_checks: {tcp_health_check: {send: {binary: AB==}}}",
        Is(r#""health_checks":[{"tcp_health_check":{"send":{"binary":"AA=="}}}]"#),
    ),
    ("health_checks: {tcp_health_check: {send: {binary: QQ=}}}", Refuses),
    ("health_checks: {tcp_health_check: {send: {binary: A}}}", Refuses),
    ("health_checks: {tcp_health_check: {send: {binary: '*'}}}", Refuses),
    ("health_checks: {tcp_health_check: {send: {binary: 1234}}}", Refuses),
    ("health_checks: {tcp_health_check: {send: {binary: 'AQ I='}}}", Refuses),
];
