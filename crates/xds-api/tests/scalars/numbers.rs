//! What becomes of a scalar where a number, a boolean, an enum value or a duration is wanted.

use super::Envoy::{self, *};

pub(super) const NUMBERS: &[(&str, Envoy)] = &[
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

pub(super) const BOOLEANS: &[(&str, Envoy)] = &[
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

pub(super) const ENUMS: &[(&str, Envoy)] = &[
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

pub(super) const DURATIONS: &[(&str, Envoy)] = &[
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
