//! Documents to messages and back: places of errors, printing, wrappers, walking, and input that is none of it.

use proptest::prelude::*;
use xds_api::envoy::config::bootstrap::v3::Bootstrap;
use xds_api::envoy::config::cluster::v3::Cluster;
use xds_api::envoy::config::core::v3::{DataSource, data_source};
use xds_api::envoy::config::listener::v3::Listener;
use xds_api::envoy::extensions::transport_sockets::tls::v3::{Secret, TlsCertificate, secret};
use xds_api::google::protobuf::{Any, Struct, Value, value::Kind};
use xds_api::prost::{Message, Name};
use xds_api::schema::MessageType;
use xds_api::{
    FieldError, JsonStyle, SetField, UnknownFields, Walk, any_to_json, from_document, json, pack, set_fields, to_json,
    to_json_styled, unwrap_any, walk_set_fields, yaml,
};

const BOOTSTRAP: &str = r#"
node: {id: sidecar, cluster: greeter}
static_resources:
  listeners:
  - name: ingress
    address: {socket_address: {address: 127.0.0.1, port_value: 8080}}
    filter_chains:
    - filters:
      - name: http
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: ingress
          codec_type: HTTP2
          route_config:
            virtual_hosts:
            - name: all
              domains: ["*"]
              routes:
              - match: {prefix: /}
                route: {cluster: greeter, timeout: 1.5s}
  clusters:
  - name: greeter
    connect_timeout: 0.25s
    metadata: {filter_metadata: {a.b: {x: 1}}}
"#;

fn bootstrap(text: &str) -> Result<Bootstrap, Vec<FieldError>> {
    from_document(&yaml::parse(text, "test.yaml").expect("YAML"), UnknownFields::Reject)
}

#[test]
fn every_error_of_a_document_is_reported_with_path_and_line() {
    let text = BOOTSTRAP
        .replace("port_value: 8080", "port_value: 80800000000")
        .replace("timeout: 1.5s", "timeout: 250ms")
        .replace("codec_type: HTTP2", "codec_type: HTTP9")
        .replace("connect_timeout", "conect_timeout");
    let errors = bootstrap(&text).expect_err("four faults");
    let places: Vec<(&str, u32)> = errors.iter().map(|error| (error.path.as_str(), error.line)).collect();
    let chain = "static_resources.listeners[0].filter_chains[0].filters[0].typed_config";
    assert_eq!(
        places,
        [
            ("static_resources.listeners[0].address.socket_address.port_value", 6),
            (format!("{chain}.codec_type").as_str(), 13),
            (
                format!("{chain}.route_config.virtual_hosts[0].routes[0].route.timeout").as_str(),
                20
            ),
            ("static_resources.clusters[0]", 23),
        ]
    );
    assert_eq!(errors[0].expected, "an integer from 0 to 4294967295");
    assert_eq!(
        errors[1].to_string(),
        format!("{chain}.codec_type (line 13): found string \"HTTP9\", expected one of AUTO, HTTP1, HTTP2, HTTP3")
    );
    assert_eq!(errors[2].expected, "a duration in seconds such as 0.25s");
    assert_eq!(errors[3].found, "field `conect_timeout`");
    assert_eq!(
        errors[3].expected,
        "a field of envoy.config.cluster.v3.Cluster; did you mean `connect_timeout`?"
    );
}

#[test]
fn unknown_fields_are_listed_where_they_are_allowed() {
    let document = yaml::parse("name: a\nbogus: {x: 1}\nmetadata: {more: 1}\n", "test.yaml").expect("YAML");
    let mut unknown = Vec::new();
    let cluster: Cluster = from_document(&document, UnknownFields::Allow(&mut unknown)).expect("allowed");
    assert_eq!(cluster.name, "a");
    let found: Vec<_> = unknown
        .iter()
        .map(|error| (error.path.as_str(), error.found.as_str(), error.line))
        .collect();
    assert_eq!(found, [("", "field `bogus`", 2), ("metadata", "field `more`", 3)]);
}

#[test]
fn a_path_found_later_leads_back_to_its_line() {
    let document = yaml::parse(BOOTSTRAP, "test.yaml").expect("YAML");
    let line = |path: &str| document.nearest(path).mark.line;
    let chain = "static_resources.listeners[0].filter_chains[0].filters[0].typed_config";
    assert_eq!(
        line(&format!(
            "{chain}.route_config.virtual_hosts[0].routes[0].route.cluster"
        )),
        20
    );
    assert_eq!(
        line("static_resources.clusters[0].metadata.filter_metadata[\"a.b\"].x"),
        24
    );
    // A field that is not there leads to where it is missing.
    assert_eq!(line(&format!("{chain}.stream_idle_timeout")), 11);
    assert_eq!(line("static_resources.clusters[7]"), 22);
    let camel = yaml::parse("connectTimeout: 1s\ndnsResolvers:\n  x: 1\n", "test.yaml").expect("YAML");
    assert_eq!(camel.nearest("dns_resolvers[0].x").mark.line, 3);
}

#[test]
fn what_is_printed_reads_back_the_same() {
    let first = bootstrap(BOOTSTRAP).expect("valid");
    for style in [
        JsonStyle::default(),
        JsonStyle {
            pretty: true,
            ..JsonStyle::default()
        },
        JsonStyle {
            defaults: true,
            ..JsonStyle::default()
        },
    ] {
        let printed = to_json_styled(&first, style);
        let document = json::parse(&printed, "printed").expect("JSON");
        let second: Bootstrap = from_document(&document, UnknownFields::Reject).expect("our own JSON is valid");
        if style.defaults {
            // In an `Any`, defaults that are written stay out of the bytes as well.
            assert_eq!(to_json(&first), to_json(&second));
        } else {
            assert_eq!(first, second);
        }
    }
}

#[test]
fn pretty_json_is_indented_by_one_space_a_level() {
    let cluster: Cluster = from_document(
        &yaml::parse("name: a\ndns_resolvers: {pipe: {path: /x}}\nload_assignment: {}\n", "t").expect("YAML"),
        UnknownFields::Reject,
    )
    .expect("valid");
    let printed = to_json_styled(
        &cluster,
        JsonStyle {
            pretty: true,
            ..JsonStyle::default()
        },
    );
    let expected = "{\n \"name\": \"a\",\n \"dns_resolvers\": [\n  {\n   \"pipe\": {\n    \"path\": \"/x\"\n   }\n  }\n ],\n \"load_assignment\": {}\n}";
    assert_eq!(printed, expected);
}

#[test]
fn private_keys_are_not_printed_when_redacting() {
    let inline = |text: &str| {
        Some(DataSource {
            specifier: Some(data_source::Specifier::InlineString(text.into())),
            ..DataSource::default()
        })
    };
    let certificate = TlsCertificate {
        certificate_chain: inline("public"),
        private_key: inline("hush"),
        ..TlsCertificate::default()
    };
    let secret = Secret {
        name: "s".into(),
        r#type: Some(secret::Type::TlsCertificate(certificate)),
    };
    let any = pack(&secret);
    assert!(any_to_json(&any, JsonStyle::default()).contains("hush"));
    let redacted = any_to_json(
        &any,
        JsonStyle {
            redact: true,
            ..JsonStyle::default()
        },
    );
    assert!(!redacted.contains("hush"), "{redacted}");
    assert!(
        redacted.contains(r#""private_key":{"inline_string":"[redacted]"}"#),
        "{redacted}"
    );
    assert!(redacted.contains("public"), "{redacted}");
}

#[test]
fn an_any_that_cannot_be_expanded_is_printed_as_base64() {
    let unknown = Any {
        type_url: "type.googleapis.com/no.such.Type".into(),
        value: vec![1, 2],
    };
    assert_eq!(
        to_json(&unknown),
        r#"{"@type":"type.googleapis.com/no.such.Type","value":"AQI="}"#
    );
    let broken = Any {
        type_url: xds_api::type_url(&Cluster::full_name()),
        value: vec![0x0a, 0x7f],
    };
    assert_eq!(
        to_json(&broken),
        r#"{"@type":"type.googleapis.com/envoy.config.cluster.v3.Cluster","value":"Cn8="}"#
    );
}

#[test]
fn set_fields_are_walked_through_lists_maps_and_any() {
    let first = bootstrap(BOOTSTRAP).expect("valid");
    let fields = set_fields(&Bootstrap::full_name(), &first.encode_to_vec()).expect("a message");
    let paths: Vec<&str> = fields.iter().map(|field| field.path.as_str()).collect();
    let chain = "static_resources.listeners[0].filter_chains[0].filters[0].typed_config";
    for path in [
        "node.id".to_owned(),
        format!("{chain}.route_config.virtual_hosts[0].domains[0]"),
        format!("{chain}.route_config.virtual_hosts[0].routes[0].route.timeout"),
        "static_resources.clusters[0].metadata.filter_metadata[\"a.b\"]".to_owned(),
    ] {
        assert!(paths.contains(&path.as_str()), "{path} is missing in {paths:#?}");
    }
    let timeout = fields
        .iter()
        .find(|field| field.path.ends_with("route.timeout"))
        .expect("set");
    assert_eq!(
        (timeout.message, timeout.field),
        ("envoy.config.route.v3.RouteAction", "timeout")
    );
    assert!(
        !paths.iter().any(|path| path.contains("seconds")),
        "well-known types are leaves"
    );

    let listener = first.static_resources.expect("set").listeners.remove(0);
    let mut top = Vec::new();
    let kind = MessageType::named(&Listener::full_name()).expect("known");
    walk_set_fields(kind, &listener.encode_to_vec(), |field: &SetField| {
        top.push(field.field);
        Walk::Over
    })
    .expect("a message");
    assert_eq!(top, ["name", "address", "filter_chains"]);
}

#[test]
fn a_typed_struct_is_the_message_it_describes() {
    let text = |text: &str| Value {
        kind: Some(Kind::StringValue(text.into())),
    };
    let fields = [
        ("name".to_owned(), text("a")),
        ("connect_timeout".to_owned(), text("2s")),
        (
            "type".to_owned(),
            Value {
                kind: Some(Kind::NumberValue(3.0)),
            },
        ),
    ];
    let structure = Struct {
        fields: fields.into_iter().collect(),
    };
    let wrap = |name: &str, url: &str, structure: &Struct| {
        let mut value = Vec::new();
        xds_api::prost::encoding::string::encode(1, &url.to_owned(), &mut value);
        xds_api::prost::encoding::message::encode(2, structure, &mut value);
        Any {
            type_url: xds_api::type_url(name),
            value,
        }
    };
    for name in ["xds.type.v3.TypedStruct", "udpa.type.v1.TypedStruct"] {
        let any = wrap(name, "type.googleapis.com/envoy.config.cluster.v3.Cluster", &structure);
        let inner = unwrap_any(&any).expect("a wrapper");
        let cluster = Cluster::decode(inner.value.as_slice()).expect("a cluster");
        assert_eq!(to_json(&cluster), r#"{"name":"a","type":"EDS","connect_timeout":"2s"}"#);
    }
    let errors = unwrap_any(&wrap(
        "xds.type.v3.TypedStruct",
        "type.googleapis.com/no.such.Type",
        &structure,
    ))
    .expect_err("unknown");
    assert_eq!(errors[0].path, "type_url");
    let plain = pack(&Cluster::default());
    assert_eq!(*unwrap_any(&plain).expect("no wrapper"), plain);
}

#[test]
fn texts_are_limited_in_depth_and_in_copies_made_by_aliases() {
    let deep = format!("x: {}1{}", "[".repeat(500), "]".repeat(500));
    assert!(yaml::parse(&deep, "deep").is_err());
    assert!(json::parse(&format!("{}{}", "[".repeat(100_000), "]".repeat(100_000)), "deep").is_err());
    let mut bomb = String::from("a0: &a0 [x]\n");
    for level in 1..12 {
        let copies = vec![format!("*a{}", level - 1); 10].join(",");
        bomb += &format!("a{level}: &a{level} [{copies}]\n");
    }
    let error = yaml::parse(&bomb, "bomb").expect_err("too many values");
    assert!(error.message.contains("aliases"), "{error}");
}

#[test]
fn several_documents_keep_the_lines_of_the_whole_text() {
    let documents = yaml::parse_all("name: a\n---\n# nothing\n---\nname: b\n", "many").expect("YAML");
    let lines: Vec<u32> = documents.iter().map(|document| document.root.mark.line).collect();
    assert_eq!(lines, [1, 5]);
    let first = yaml::parse("\u{feff}---\nname: a\n---\nnot: read\n", "many").expect("YAML");
    assert_eq!(
        from_document::<Cluster>(&first, UnknownFields::Reject)
            .expect("valid")
            .name,
        "a"
    );
}

#[test]
fn syntax_errors_name_file_line_and_column() {
    let error = yaml::parse("a: 1\nb: {c: 1\n", "b.yaml").expect_err("unterminated");
    assert!(error.to_string().starts_with("b.yaml:"), "{error}");
    let error = json::parse("{\"a\": 1,\n \"b\" 2}", "b.json").expect_err("no colon");
    assert_eq!(error.to_string(), "b.json:2:6: found '2', expected `:`");
    let error = yaml::parse("a: 1\nb: 2\na: 3\n", "c.yaml").expect_err("twice");
    assert_eq!(
        error.to_string(),
        "c.yaml:3:1: found key `a` again, expected it once (first on line 1)"
    );
}

#[test]
fn an_empty_text_is_not_a_message() {
    for text in ["", "# a comment\n", "~", "[]", "foo"] {
        let errors = bootstrap(text).expect_err("no map");
        assert_eq!(errors[0].path, "");
        assert!(errors[0].expected.contains("a map"), "{}", errors[0]);
    }
}

#[test]
fn the_tables_are_made_from_the_envoy_types_that_are_linked() {
    let lock = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../Cargo.lock")).expect("Cargo.lock");
    let locked = lock
        .split("[[package]]")
        .find(|package| package.contains("name = \"envoy-types\""))
        .expect("a dependency");
    assert!(
        locked.contains(&format!("version = \"{}\"", xds_api::schema::ENVOY_TYPES_VERSION)),
        "envoy-types changed after crates/xds-api was built: touch crates/xds-api/build.rs"
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn no_text_makes_the_readers_panic(text in "[ -~\\n\\t\u{e9}]{0,80}") {
        for document in [yaml::parse(&text, "p"), json::parse(&text, "p")].into_iter().flatten() {
            let _ = from_document::<Bootstrap>(&document, UnknownFields::Reject);
        }
    }

    #[test]
    fn no_yaml_like_text_makes_the_readers_panic(parts in prop::collection::vec(
        prop::sample::select(vec!["a", ": ", "\n", "  ", "- ", "{", "}", "[", "]", ",", "\"", "'", "&x ", "*x", "!t ", "|", ">", "---\n", "? ", "#", "<<", "0x", "@type", "\\", "%", "\u{0}"]), 0..24)) {
        let text = parts.concat();
        for document in [yaml::parse(&text, "p"), json::parse(&text, "p")].into_iter().flatten() {
            let _ = from_document::<Cluster>(&document, UnknownFields::Reject);
        }
        let _ = yaml::parse_all(&text, "p");
    }

    #[test]
    fn no_bytes_make_the_walker_or_the_printer_panic(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
        let kind = MessageType::named("envoy.config.cluster.v3.Cluster").expect("known");
        let _ = walk_set_fields(kind, &bytes, |_| Walk::Into);
        let _ = xds_api::message_to_json(kind, &bytes, JsonStyle { redact: true, pretty: true, defaults: true });
        let _ = unwrap_any(&Any { type_url: "a/xds.type.v3.TypedStruct".into(), value: bytes });
    }

    #[test]
    fn printed_strings_read_back_the_same(name in "\\PC{0,20}") {
        let cluster = Cluster { name, ..Cluster::default() };
        let document = json::parse(&to_json(&cluster), "p").expect("our own JSON");
        prop_assert_eq!(from_document::<Cluster>(&document, UnknownFields::Reject).expect("valid"), cluster);
    }
}
