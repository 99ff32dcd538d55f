//! How Envoy 1.39.3 reads YAML and JSON scalars, recorded from the binary: `envoy --mode validate` says which are refused,
//! `/config_dump` what the others became. Each case is what follows `name` in a cluster.
//!
//! Where this crate differs on purpose the case says so.

use xds_api::envoy::config::cluster::v3::Cluster;
use xds_api::{UnknownFields, from_document, json, to_json, yaml};

/// What Envoy did.
enum Envoy {
    /// It printed this, `name` aside.
    Is(&'static str),
    /// It refused it.
    Refuses,
    /// It took it; we refuse it, for this reason.
    TakesButWeRefuse(&'static str),
    /// It refused it only when the value was used, or by a field's rule: a matter for the configuration's types.
    RefusesLater(&'static str),
}
use Envoy::{Is, Refuses, RefusesLater, TakesButWeRefuse};

const STRINGS: &[(&str, Envoy)] = &[
    ("alt_stat_name: 123", Refuses),
    ("alt_stat_name: 12 # with a comment", Refuses),
    ("alt_stat_name: -0", Refuses),
    ("alt_stat_name: -0x10", Refuses),
    ("alt_stat_name: 0x10", Refuses),
    ("alt_stat_name: 010", Refuses),
    ("alt_stat_name: 2147483647", Refuses),
    ("alt_stat_name: -2147483648", Refuses),
    ("alt_stat_name: 2147483648", Is(r#""alt_stat_name":"2147483648""#)),
    ("alt_stat_name: -2147483649", Is(r#""alt_stat_name":"-2147483649""#)),
    ("alt_stat_name: +9999999999", Is(r#""alt_stat_name":"9999999999""#)),
    (
        "alt_stat_name: 0x7fffffffffff",
        Is(r#""alt_stat_name":"140737488355327""#),
    ),
    ("alt_stat_name: -0x1000000000", Is(r#""alt_stat_name":"-68719476736""#)),
    ("alt_stat_name: 0777777777777", Is(r#""alt_stat_name":"68719476735""#)),
    (
        "alt_stat_name: 9223372036854775808",
        Is(r#""alt_stat_name":"9223372036854775808""#),
    ),
    (
        "alt_stat_name: 99999999999999999999999",
        Is(r#""alt_stat_name":"99999999999999999999999""#),
    ),
    (
        "alt_stat_name: 0xFFFFFFFFFFFFFFFFFF",
        Is(r#""alt_stat_name":"0xFFFFFFFFFFFFFFFFFF""#),
    ),
    ("alt_stat_name: 1.50", Is(r#""alt_stat_name":"1.50""#)),
    ("alt_stat_name: 1.", Is(r#""alt_stat_name":"1.""#)),
    ("alt_stat_name: 1e3", Is(r#""alt_stat_name":"1e3""#)),
    ("alt_stat_name: 08", Is(r#""alt_stat_name":"08""#)),
    ("alt_stat_name: 0o17", Is(r#""alt_stat_name":"0o17""#)),
    ("alt_stat_name: 0b11", Is(r#""alt_stat_name":"0b11""#)),
    ("alt_stat_name: 0x", Is(r#""alt_stat_name":"0x""#)),
    ("alt_stat_name: 0x1G", Is(r#""alt_stat_name":"0x1G""#)),
    ("alt_stat_name: 1_000", Is(r#""alt_stat_name":"1_000""#)),
    ("alt_stat_name: 12:30:45", Is(r#""alt_stat_name":"12:30:45""#)),
    ("alt_stat_name: 2001-01-01", Is(r#""alt_stat_name":"2001-01-01""#)),
    ("alt_stat_name: .inf", Is(r#""alt_stat_name":".inf""#)),
    ("alt_stat_name: NaN", Is(r#""alt_stat_name":"NaN""#)),
    ("alt_stat_name: true", Refuses),
    ("alt_stat_name: on", Refuses),
    ("alt_stat_name: y", Refuses),
    ("alt_stat_name: YES", Refuses),
    ("alt_stat_name: yEs", Is(r#""alt_stat_name":"yEs""#)),
    ("alt_stat_name: oN", Is(r#""alt_stat_name":"oN""#)),
    ("alt_stat_name: t", Is(r#""alt_stat_name":"t""#)),
    ("alt_stat_name: 'on'", Is(r#""alt_stat_name":"on""#)),
    ("alt_stat_name: '010'", Is(r#""alt_stat_name":"010""#)),
    ("alt_stat_name: ! 12", Is(r#""alt_stat_name":"12""#)),
    ("alt_stat_name: !foo 12", Refuses),
    ("alt_stat_name: !!str 123", Refuses),
    ("alt_stat_name: !!str on", Refuses),
    ("alt_stat_name: !!int '12'", Refuses),
    ("alt_stat_name: |\n  12", Is(r#""alt_stat_name":"12\n""#)),
    ("alt_stat_name: >-\n  on", Is(r#""alt_stat_name":"on""#)),
    ("alt_stat_name: \"\\u00e9\\x41\"", Is(r#""alt_stat_name":"éA""#)),
    ("alt_stat_name: a b  c", Is(r#""alt_stat_name":"a b  c""#)),
    ("alt_stat_name: =", Is(r#""alt_stat_name":"=""#)),
    ("alt_stat_name: <<", Is("\"alt_stat_name\":\"\\u003c\\u003c\"")),
    ("alt_stat_name: ~", Is("")),
    ("alt_stat_name: null", Is("")),
    ("alt_stat_name:", Is("")),
    ("alt_stat_name: nULL", Is(r#""alt_stat_name":"nULL""#)),
    ("alt_stat_name: '~'", Is(r#""alt_stat_name":"~""#)),
    ("alt_stat_name: [a]", Refuses),
    ("alt_stat_name: {a: b}", Refuses),
];

const NUMBERS: &[(&str, Envoy)] = &[
    (
        "per_connection_buffer_limit_bytes: 1024",
        Is(r#""per_connection_buffer_limit_bytes":1024"#),
    ),
    (
        "per_connection_buffer_limit_bytes: '1024'",
        Is(r#""per_connection_buffer_limit_bytes":1024"#),
    ),
    (
        "per_connection_buffer_limit_bytes: 0x400",
        Is(r#""per_connection_buffer_limit_bytes":1024"#),
    ),
    (
        "per_connection_buffer_limit_bytes: '0x400'",
        Is(r#""per_connection_buffer_limit_bytes":1024"#),
    ),
    (
        "per_connection_buffer_limit_bytes: 010",
        Is(r#""per_connection_buffer_limit_bytes":8"#),
    ),
    (
        "per_connection_buffer_limit_bytes: '010'",
        Is(r#""per_connection_buffer_limit_bytes":10"#),
    ),
    (
        "per_connection_buffer_limit_bytes: 08",
        Is(r#""per_connection_buffer_limit_bytes":8"#),
    ),
    (
        "per_connection_buffer_limit_bytes: 1e3",
        Is(r#""per_connection_buffer_limit_bytes":1000"#),
    ),
    (
        "per_connection_buffer_limit_bytes: '1e3'",
        Is(r#""per_connection_buffer_limit_bytes":1000"#),
    ),
    (
        "per_connection_buffer_limit_bytes: 1.0",
        Is(r#""per_connection_buffer_limit_bytes":1"#),
    ),
    (
        "per_connection_buffer_limit_bytes: '5.'",
        Is(r#""per_connection_buffer_limit_bytes":5"#),
    ),
    (
        "per_connection_buffer_limit_bytes: '.5e1'",
        Is(r#""per_connection_buffer_limit_bytes":5"#),
    ),
    (
        "per_connection_buffer_limit_bytes: +5",
        Is(r#""per_connection_buffer_limit_bytes":5"#),
    ),
    (
        "per_connection_buffer_limit_bytes: '+5'",
        Is(r#""per_connection_buffer_limit_bytes":5"#),
    ),
    (
        "per_connection_buffer_limit_bytes: '-0'",
        Is(r#""per_connection_buffer_limit_bytes":0"#),
    ),
    (
        "per_connection_buffer_limit_bytes: 4294967295",
        Is(r#""per_connection_buffer_limit_bytes":4294967295"#),
    ),
    (
        "per_connection_buffer_limit_bytes: 4294967295.0",
        Is(r#""per_connection_buffer_limit_bytes":4294967295"#),
    ),
    (
        "per_connection_buffer_limit_bytes: {value: 5}",
        Is(r#""per_connection_buffer_limit_bytes":5"#),
    ),
    (
        "per_connection_buffer_limit_bytes: {}",
        Is(r#""per_connection_buffer_limit_bytes":0"#),
    ),
    (
        "per_connection_buffer_limit_bytes: '0x1p4'",
        TakesButWeRefuse("C's hexadecimal floats"),
    ),
    ("per_connection_buffer_limit_bytes: 1.5", Refuses),
    ("per_connection_buffer_limit_bytes: -1", Refuses),
    ("per_connection_buffer_limit_bytes: 4294967296", Refuses),
    ("per_connection_buffer_limit_bytes: 1_000", Refuses),
    ("per_connection_buffer_limit_bytes: ' 5'", Refuses),
    ("per_connection_buffer_limit_bytes: '5 '", Refuses),
    ("per_connection_buffer_limit_bytes: true", Refuses),
    ("per_connection_buffer_limit_bytes: ''", Refuses),
    ("per_connection_buffer_limit_bytes: 0o17", Refuses),
    ("per_connection_buffer_limit_bytes: 0b11", Refuses),
    ("per_connection_buffer_limit_bytes: infinity", Refuses),
    ("per_connection_buffer_limit_bytes: [5]", Refuses),
    ("per_connection_buffer_limit_bytes: []", Refuses),
    (
        "common_lb_config: {healthy_panic_threshold: {value: 50.5}}",
        Is(r#""common_lb_config":{"healthy_panic_threshold":{"value":50.5}}"#),
    ),
    (
        "common_lb_config: {healthy_panic_threshold: {value: '50.5'}}",
        Is(r#""common_lb_config":{"healthy_panic_threshold":{"value":50.5}}"#),
    ),
    (
        "common_lb_config: {healthy_panic_threshold: {value: .5}}",
        Is(r#""common_lb_config":{"healthy_panic_threshold":{"value":0.5}}"#),
    ),
    (
        "common_lb_config: {healthy_panic_threshold: {value: ' 5.0'}}",
        Is(r#""common_lb_config":{"healthy_panic_threshold":{"value":5}}"#),
    ),
    (
        "common_lb_config: {healthy_panic_threshold: {value: '0x10'}}",
        Is(r#""common_lb_config":{"healthy_panic_threshold":{"value":16}}"#),
    ),
    (
        "common_lb_config: {healthy_panic_threshold: {value: 010}}",
        Is(r#""common_lb_config":{"healthy_panic_threshold":{"value":8}}"#),
    ),
    (
        "common_lb_config: {healthy_panic_threshold: {value: 08}}",
        Is(r#""common_lb_config":{"healthy_panic_threshold":{"value":8}}"#),
    ),
    ("common_lb_config: {healthy_panic_threshold: {value: .nan}}", Refuses),
    ("common_lb_config: {healthy_panic_threshold: {value: ''}}", Refuses),
    ("common_lb_config: {healthy_panic_threshold: {value: true}}", Refuses),
    (
        "common_lb_config: {healthy_panic_threshold: {value: Infinity}}",
        RefusesLater("a percentage is at most 100"),
    ),
    ("common_lb_config: {healthy_panic_threshold: 50}", Refuses),
];

const BOOLEANS: &[(&str, Envoy)] = &[
    ("respect_dns_ttl: yes", Is(r#""respect_dns_ttl":true"#)),
    ("respect_dns_ttl: on", Is(r#""respect_dns_ttl":true"#)),
    ("respect_dns_ttl: y", Is(r#""respect_dns_ttl":true"#)),
    ("respect_dns_ttl: Y", Is(r#""respect_dns_ttl":true"#)),
    ("respect_dns_ttl: TRUE", Is(r#""respect_dns_ttl":true"#)),
    ("respect_dns_ttl: tRUE", Is(r#""respect_dns_ttl":true"#)),
    ("respect_dns_ttl: 'true'", Is(r#""respect_dns_ttl":true"#)),
    ("respect_dns_ttl: 'True'", Is(r#""respect_dns_ttl":true"#)),
    ("respect_dns_ttl: 'yes'", Is(r#""respect_dns_ttl":true"#)),
    ("respect_dns_ttl: 't'", Is(r#""respect_dns_ttl":true"#)),
    ("respect_dns_ttl: '1'", Is(r#""respect_dns_ttl":true"#)),
    ("respect_dns_ttl: 'No'", Is("")),
    ("respect_dns_ttl: 'f'", Is("")),
    ("respect_dns_ttl: off", Is("")),
    ("respect_dns_ttl: 'on'", Refuses),
    ("respect_dns_ttl: 1", Refuses),
];

const ENUMS: &[(&str, Envoy)] = &[
    ("type: STATIC", Is("\"type\":\"STATIC\"")),
    ("type: Static", Is("\"type\":\"STATIC\"")),
    ("type: static", Is("\"type\":\"STATIC\"")),
    ("type: 0", Is("\"type\":\"STATIC\"")),
    ("type: '0'", Is("\"type\":\"STATIC\"")),
    ("type: strict_dns", Is("\"type\":\"STRICT_DNS\"")),
    ("lb_policy: least_request", Is("\"lb_policy\":\"LEAST_REQUEST\"")),
    ("lbPolicy: RANDOM", Is("\"lb_policy\":\"RANDOM\"")),
    ("type: strict-dns", Refuses),
    ("lb_policy: LeastRequest", Refuses),
    ("type: FOO", Refuses),
    ("type: 99", Refuses),
    ("lb_policy: 3.0", Refuses),
    ("type: true", Refuses),
];

const DURATIONS: &[(&str, Envoy)] = &[
    ("connect_timeout: 1s", Is(r#""connect_timeout":"1s""#)),
    ("connect_timeout: '1s'", Is(r#""connect_timeout":"1s""#)),
    ("connect_timeout: 1.25s", Is(r#""connect_timeout":"1.250s""#)),
    ("connectTimeout: 0.25s", Is(r#""connect_timeout":"0.250s""#)),
    ("connect_timeout: {seconds: 1}", Is(r#""connect_timeout":"1s""#)),
    ("connect_timeout: ~", Is("")),
    ("connect_timeout:", Is("")),
    ("connect_timeout: 250ms", Refuses),
    ("connect_timeout: 1", Refuses),
    ("connect_timeout: 1.5", Refuses),
    ("connect_timeout: .5s", Refuses),
    ("connect_timeout: 1.s", Refuses),
    ("connect_timeout: +1s", Refuses),
    ("connect_timeout: ' 1s'", Refuses),
    ("connect_timeout: 1S", Refuses),
    ("connect_timeout: 1e1s", Refuses),
    ("connect_timeout: 1.0000000001s", Refuses),
    ("connect_timeout: 315576000001s", Refuses),
    ("connect_timeout: -1s", RefusesLater("a timeout is positive")),
];

const LISTS_AND_MAPS: &[(&str, Envoy)] = &[
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

const ANY: &[(&str, Envoy)] = &[
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

const BYTES: &[(&str, Envoy)] = &[
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

const JSON: &[(&str, Envoy)] = &[
    (r#""type":"STATIC","#, Is("\"type\":\"STATIC\"")),
    ("'type':'STATIC'", Is("\"type\":\"STATIC\"")),
    (r#"type:"STATIC""#, Is("\"type\":\"STATIC\"")),
    (r#""type":0.0"#, Is("\"type\":\"STATIC\"")),
    (
        r#""per_connection_buffer_limit_bytes":1e3"#,
        Is(r#""per_connection_buffer_limit_bytes":1000"#),
    ),
    (
        r#""per_connection_buffer_limit_bytes":-0"#,
        Is(r#""per_connection_buffer_limit_bytes":0"#),
    ),
    (r#""per_connection_buffer_limit_bytes":01"#, Refuses),
    (r#""per_connection_buffer_limit_bytes":0x10"#, Refuses),
    (r#""per_connection_buffer_limit_bytes":+5"#, Refuses),
    (r#""per_connection_buffer_limit_bytes":5."#, Refuses),
    (r#""per_connection_buffer_limit_bytes":.5e1"#, Refuses),
    (r#""alt_stat_name":1.5"#, Refuses),
    (r#""alt_stat_name":"\u00e9""#, Is(r#""alt_stat_name":"é""#)),
    (r#""alt_stat_name":"\ud83d\ude00""#, Is(r#""alt_stat_name":"😀""#)),
    (r#""alt_stat_name":"\ud83d""#, Refuses),
    (r#""alt_stat_name":"\x41""#, Refuses),
    ("\"alt_stat_name\":\"a\tb\"", Is(r#""alt_stat_name":"a\tb""#)),
    ("\"alt_stat_name\":\"a\nb\"", Is(r#""alt_stat_name":"a\nb""#)),
    (r#""respect_dns_ttl":TRUE"#, Refuses),
    (r#""cluster_type":null"#, Is("")),
    (r#"/*c*/"type":"STATIC""#, Refuses),
    (
        r#""metadata":{"filter_metadata":{"a":{"b":1.5}}}"#,
        Is(r#""metadata":{"filter_metadata":{"a":{"b":1.5}}}"#),
    ),
    (r#""metadata":{"filter_metadata":{"a":{"b":1,"b":2}}}"#, Refuses),
    (r#""metadata":{"filter_metadata":{"a":{},"a":{"c":1}}}"#, Refuses),
    (
        r#""alt_stat_name":"a","alt_stat_name":"b""#,
        TakesButWeRefuse("a key that occurs twice is a mistake"),
    ),
    (r#""dns_resolvers":[,]"#, Refuses),
    (r#""bogus":{"a":[1,2]}"#, Refuses),
    (r#""":1"#, Refuses),
];

fn read(text: &str, is_json: bool) -> Result<String, String> {
    let document = if is_json {
        json::parse(text, "case")
    } else {
        yaml::parse(text, "case")
    };
    let document = document.map_err(|error| error.to_string())?;
    let cluster: Cluster = from_document(&document, UnknownFields::Reject)
        .map_err(|errors| errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))?;
    let printed = to_json(&cluster);
    let rest = printed
        .strip_prefix(r#"{"name":"c""#)
        .and_then(|rest| rest.strip_suffix('}'))
        .expect("the name comes first");
    Ok(rest.trim_start_matches(',').to_owned())
}

fn check(cases: &[(&str, Envoy)], is_json: bool) {
    let mut wrong = Vec::new();
    for (case, envoy) in cases {
        let text = if is_json {
            format!("{{\"name\":\"c\",{case}}}")
        } else {
            format!("name: c\n{case}\n")
        };
        let ours = read(&text, is_json);
        let same = match envoy {
            Is(printed) => ours.as_deref() == Ok(printed),
            Refuses | TakesButWeRefuse(_) => ours.is_err(),
            RefusesLater(_) => ours.is_ok(),
        };
        if !same {
            let expected = match envoy {
                Is(printed) => printed,
                Refuses => "refused",
                TakesButWeRefuse(why) | RefusesLater(why) => why,
            };
            wrong.push(format!("{case}\n    ours: {ours:?}\n    expected: {expected}"));
        }
    }
    assert!(
        wrong.is_empty(),
        "{} of {} cases differ:\n{}",
        wrong.len(),
        cases.len(),
        wrong.join("\n")
    );
}

#[test]
fn strings_are_what_envoy_makes_of_them() {
    check(STRINGS, false);
}

#[test]
fn numbers_are_what_envoy_makes_of_them() {
    check(NUMBERS, false);
}

#[test]
fn booleans_are_what_envoy_makes_of_them() {
    check(BOOLEANS, false);
}

#[test]
fn enum_values_are_what_envoy_makes_of_them() {
    check(ENUMS, false);
}

#[test]
fn durations_are_what_envoy_makes_of_them() {
    check(DURATIONS, false);
}

#[test]
fn lists_and_maps_are_what_envoy_makes_of_them() {
    check(LISTS_AND_MAPS, false);
}

#[test]
fn typed_configurations_are_what_envoy_makes_of_them() {
    check(ANY, false);
}

#[test]
fn bytes_are_what_envoy_makes_of_them() {
    check(BYTES, false);
}

#[test]
fn json_is_read_as_envoy_reads_it() {
    check(JSON, true);
}
