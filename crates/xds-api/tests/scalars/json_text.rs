//! What becomes of JSON.

use super::Envoy::{self, *};

pub(super) const JSON: &[(&str, Envoy)] = &[
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
