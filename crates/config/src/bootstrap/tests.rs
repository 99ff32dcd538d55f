use super::*;
use crate::extensions::{ExtensionConfig, ExtensionKind, Extensions};
use crate::rejected::{Parsed, Rejected};

const MINIMAL: &str = r#"
node: {id: sidecar, cluster: greeter, locality: {region: r, zone: z}, metadata: {a: 1}}
admin:
  address: {socket_address: {address: 127.0.0.1, port_value: 9901}}
layered_runtime:
  layers:
  - name: static
    static_layer: {a: {b: 5}}
  - name: admin
    admin_layer: {}
stats_flush_interval: 1s
dynamic_resources:
  lds_config: {ads: {}, resource_api_version: V3}
  cds_config: {ads: {}, resource_api_version: V3, initial_fetch_timeout: 0s}
  ads_config:
    api_type: DELTA_GRPC
    transport_api_version: V3
    grpc_services: [{envoy_grpc: {cluster_name: xds}}]
static_resources:
  clusters:
  - name: xds
    type: STATIC
    connect_timeout: 1s
    load_assignment:
      cluster_name: xds
      endpoints:
      - lb_endpoints:
        - endpoint: {address: {socket_address: {address: 127.0.0.1, port_value: 15010}}}
  secrets:
  - name: default
    generic_secret: {secret: {inline_string: s}}
"#;

#[derive(Debug)]
struct AnySecret;

impl ExtensionConfig for AnySecret {
    fn as_any(&self) -> &dyn std::any::Any {
        self
    }
}

fn extensions() -> Extensions {
    let mut extensions = Extensions::new();
    let secret = "envoy.extensions.transport_sockets.tls.v3.Secret";
    extensions.register(ExtensionKind::Secret, secret, |_, _| Ok(Arc::new(AnySecret)));
    extensions
}

fn source(texts: &[&str]) -> Result<BootstrapSource, ReadError> {
    let mut source = BootstrapSource::new();
    for text in texts {
        source.merge(text.as_bytes(), "b.yaml", Format::Yaml, false)?;
    }
    Ok(source)
}

fn parse(text: &str) -> Result<Parsed<Bootstrap>, Vec<Rejected>> {
    source(&[text]).expect("a bootstrap").parse(&extensions())
}

/// `path: reason` of every fault, with its line in front.
fn faults(text: &str) -> Vec<String> {
    let faults = match source(&[text]) {
        Ok(source) => source.parse(&extensions()).expect_err("faults"),
        Err(ReadError::Fields(faults)) => faults,
        Err(syntax) => panic!("{syntax}"),
    };
    faults
        .iter()
        .map(|fault| format!("{} {}: {}", fault.line.unwrap_or(0), fault.path, fault.reason))
        .collect()
}

#[test]
fn a_bootstrap_is_read_with_everything_in_it() {
    let bootstrap = parse(MINIMAL).expect("valid").value;
    assert_eq!(bootstrap.node.id, "sidecar");
    let admin = bootstrap.admin.expect("set");
    assert_eq!(admin.address.expect("set").to_string(), "127.0.0.1:9901");
    assert_eq!(bootstrap.clusters.len(), 1);
    assert_eq!(&*bootstrap.secrets[0].name, "default");
    assert_eq!(bootstrap.stats.flush_interval, Duration::from_secs(1));
    assert_eq!(bootstrap.layered_runtime.len(), 2);
    assert!(bootstrap.layered_runtime[1].values.is_none());
    let dynamic = bootstrap.dynamic_resources;
    assert!(dynamic.ads_config.expect("set").api_type.is_delta());
    assert_eq!(dynamic.cds_config.expect("set").initial_fetch_timeout, Duration::ZERO);
    assert_eq!(
        dynamic.lds_config.expect("set").initial_fetch_timeout,
        Duration::from_secs(15)
    );
}

#[test]
fn without_admin_address_there_is_no_admin_endpoint() {
    assert!(parse("node: {id: a}").expect("valid").value.admin.is_none());
    assert!(
        parse("admin: {}")
            .expect("valid")
            .value
            .admin
            .expect("set")
            .address
            .is_none()
    );
}

#[test]
fn inline_yaml_is_merged_over_the_file_as_protobuf_merges() {
    let overlay = "node: {id: other}\nadmin: {address: {socket_address: {port_value: 1}}}\n\
                   static_resources: {clusters: [{name: more, connect_timeout: 1s}, {name: bad, lb_policy: MAGLEV, type: 9}]}";
    let Err(ReadError::Fields(faults)) = source(&[MINIMAL, overlay]) else {
        panic!("9 is no type")
    };
    assert_eq!(faults[0].path.as_str(), "static_resources.clusters[1].type");

    let mut merged = source(&[MINIMAL, &overlay.replace(", type: 9", "")]).expect("a bootstrap");
    let node = merged.message().node.clone().expect("set");
    assert_eq!((node.id.as_str(), node.cluster.as_str()), ("other", "greeter"));
    let clusters = &merged.message().static_resources.as_ref().expect("set").clusters;
    assert_eq!(
        clusters.iter().map(|cluster| cluster.name.as_str()).collect::<Vec<_>>(),
        ["xds", "more", "bad"]
    );

    // Lines are those of the text that set a field.
    assert_eq!(merged.line("node.id"), Some(1));
    assert_eq!(merged.line("node.cluster"), Some(2));
    assert_eq!(merged.line("static_resources.clusters[2].lb_policy"), Some(3));
    assert_eq!(merged.line("static_resources.clusters[0].connect_timeout"), Some(23));

    merged.set_node(&NodeOptions {
        id: Some("flag".into()),
        cluster: None,
        zone: Some("zz".into()),
    });
    let node = merged.message().node.clone().expect("set");
    assert_eq!((node.id.as_str(), node.cluster.as_str()), ("flag", "greeter"));
    let locality = node.locality.expect("set");
    assert_eq!((locality.region.as_str(), locality.zone.as_str()), ("r", "zz"));
}

#[test]
fn unknown_fields_are_faults_unless_allowed() {
    let text = "node: {idd: a}\nbogus: 1\n";
    let found = faults(text);
    assert!(
        found[0].starts_with("1 node: is field `idd`, expected a field of envoy.config.core.v3.Node"),
        "{found:?}"
    );
    assert!(found[1].starts_with("2 : is field `bogus`"), "{found:?}");
    let mut source = BootstrapSource::new();
    source
        .merge(text.as_bytes(), "b.yaml", Format::Yaml, true)
        .expect("allowed");
    assert_eq!(source.unknown().len(), 2);
    assert!(source.parse(&extensions()).is_ok());
}

#[test]
fn every_fault_names_its_field_and_line() {
    let text = r#"
stats_flush_interval: 0s
flags_path: /etc/flags
stats_sinks: [{name: statsd}]
cluster_manager: {load_stats_config: {}}
layered_runtime:
  layers:
  - {name: a, static_layer: {}}
  - {name: a, static_layer: {}}
  - {name: d, disk_layer: {}}
  - {name: e}
admin: {allow_paths: [{exact: /ready}, {}]}
static_resources:
  clusters:
  - {name: one, connect_timeout: 1s}
  - {name: one, connect_timeout: 1s}
"#;
    let found = faults(text);
    let has = |start: &str| {
        assert!(
            found.iter().any(|fault| fault.starts_with(start)),
            "{start} in {found:#?}"
        )
    };
    has("2 stats_flush_interval: is 0ns, expected at least 1 ms");
    has("3 flags_path: is not supported");
    has("4 stats_sinks: is not supported");
    has("5 cluster_manager.load_stats_config.api_type: is required");
    has("9 layered_runtime.layers[1].name: is \"a\"");
    has("10 layered_runtime.layers[2].disk_layer: is not supported");
    has("11 layered_runtime.layers[3]: has no static_layer");
    has("12 admin.allow_paths[1]");
    has("15 static_resources.clusters: holds \"one\" twice");
}

#[test]
fn a_management_server_needs_a_node_and_a_known_cluster() {
    let found = faults(
        &MINIMAL
            .replace("id: sidecar, ", "")
            .replace("cluster_name: xds}", "cluster_name: other}"),
    );
    assert_eq!(found.len(), 2, "{found:#?}");
    assert!(found[0].starts_with("2 node: has no id or no cluster"), "{found:#?}");
    let path =
        "18 dynamic_resources.ads_config.grpc_services[0].envoy_grpc.cluster_name: is \"other\", expected the name";
    assert!(found[1].starts_with(path), "{found:#?}");

    let ads = "  ads_config:\n    api_type: DELTA_GRPC\n    transport_api_version: V3\n    grpc_services: [{envoy_grpc: {cluster_name: xds}}]\n";
    let found = faults(&MINIMAL.replace(ads, ""));
    assert!(
        found[0].starts_with("13 dynamic_resources.lds_config: is ads, but there is no ads_config"),
        "{found:#?}"
    );
}

#[test]
fn inert_extensions_are_noted_and_others_rejected() {
    let extension = |name: &str| {
        format!("bootstrap_extensions: [{{name: x, typed_config: {{'@type': type.googleapis.com/{name}}}}}]")
    };
    let parsed = parse(&extension(
        "envoy.extensions.bootstrap.internal_listener.v3.InternalListener",
    ))
    .expect("inert");
    assert_eq!(
        parsed.without_effect[0].path.as_str(),
        "bootstrap_extensions[0].typed_config"
    );
    let wrapped = extension("udpa.type.v1.TypedStruct").replace(
        "TypedStruct}",
        "TypedStruct, type_url: type.googleapis.com/envoy.extensions.bootstrap.internal_listener.v3.InternalListener, value: \
         {buffer_size_kb: 64}}",
    );
    assert_eq!(parse(&wrapped).expect("inert").without_effect.len(), 1);
    // The URL that Envoy 1.39 has for it; the one of listener.proto it does not know.
    let manager = "type.googleapis.com/envoy.config.bootstrap.v3.ListenerManager";
    let manager = format!("listener_manager: {{name: x, typed_config: {{'@type': {manager}}}}}");
    assert_eq!(
        parse(&manager).expect("inert").without_effect[0].path.as_str(),
        "listener_manager.typed_config"
    );
    let found = faults(&extension("envoy.extensions.wasm.v3.WasmService"));
    assert!(
        found[0].starts_with("1 bootstrap_extensions[0].typed_config: "),
        "{found:?}"
    );

    let resolver = |more: &str| {
        format!(
            "typed_dns_resolver_config: {{name: cares, typed_config: {{'@type': \
             type.googleapis.com/envoy.extensions.network.dns_resolver.cares.v3.CaresDnsResolverConfig{more}}}}}"
        )
    };
    let parsed = parse(&resolver(", udp_max_queries: 100")).expect("inert");
    assert_eq!(parsed.without_effect.len(), 1);
    assert_eq!(parsed.value.dns_resolver, Default::default());
    let text = ", resolvers: [{socket_address: {address: 1.1.1.1, port_value: 53}}], query_tries: 2";
    let resolver_of_all = parse(&resolver(text)).expect("valid").value.dns_resolver;
    assert_eq!(resolver_of_all.servers, ["1.1.1.1:53".parse().expect("an address")]);
    assert_eq!(resolver_of_all.tries, Some(2));
    let found = faults(&resolver(", resolvers: [{pipe: {path: /a}}]"));
    assert!(
        found[0]
            .starts_with("1 typed_dns_resolver_config.typed_config.resolvers[0]: is \"/a\", expected an IP address"),
        "{found:?}"
    );
}

#[test]
fn the_overload_manager_bounds_connections_and_nothing_else() {
    let monitor = |message: &str| {
        format!(
            "overload_manager: {{resource_monitors: [{{name: m, typed_config: {{'@type': \
             type.googleapis.com/envoy.extensions.resource_monitors.{message}}}}}]}}"
        )
    };
    let most = |value: &str| {
        let message = "downstream_connections.v3.DownstreamConnectionsConfig, max_active_downstream_connections: ";
        monitor(&format!("{message}{value}"))
    };
    let bound = |text: &str| parse(text).expect("valid").value.max_downstream_connections;
    assert_eq!(bound("overload_manager: {}"), None);
    assert_eq!(bound(&most("2147483647")), Some(2_147_483_647));
    for (text, expected) in [
        (
            most("0"),
            "overload_manager.resource_monitors[0].typed_config.max_active_downstream_connections: is 0, expected at least 1",
        ),
        (
            monitor("fixed_heap.v3.FixedHeapConfig, max_heap_size_bytes: 5"),
            "overload_manager.resource_monitors[0].typed_config: is \
             \"type.googleapis.com/envoy.extensions.resource_monitors.fixed_heap.v3.FixedHeapConfig\", which is not supported: \
             only downstream connections are bounded",
        ),
        (
            "overload_manager: {actions: [{name: a}]}".to_owned(),
            "overload_manager.actions: is not supported: nothing is done at a level of overload: connections have a bound",
        ),
        (
            "overload_manager: {resource_monitors: [{name: m}]}".to_owned(),
            "overload_manager.resource_monitors[0].typed_config: is required",
        ),
    ] {
        assert_eq!(faults(&text), [format!("1 {expected}")]);
    }
}

#[test]
fn stats_settings_are_parsed_and_their_faults_named() {
    let text = r#"
stats_config:
  use_all_default_tags: false
  stats_tags: [{tag_name: a, regex: "^(x)"}, {tag_name: b, fixed_value: v}]
  stats_matcher: {inclusion_list: {patterns: [{prefix: cluster.}]}}
  histogram_bucket_settings: [{match: {prefix: a}, buckets: [5, 1]}]
"#;
    let parsed = parse(text).expect("valid");
    let stats = &parsed.value.stats;
    assert_eq!(stats.tags.len(), 2);
    assert!(matches!(&stats.matcher, Some(StatsMatcher::Include(patterns)) if patterns[0].matches(b"cluster.x")));
    assert_eq!(stats.histogram_buckets[0].limits, [1.0, 5.0]);
    assert!(parsed.without_effect.is_empty(), "{:?}", parsed.without_effect);
    let found = faults("stats_config: {stats_tags: [{tag_name: a, regex: '('}], stats_matcher: {inclusion_list: {}}}");
    assert!(
        found.iter().any(|fault| fault.contains("stats_tags[0].regex")),
        "{found:?}"
    );
    assert!(
        found.iter().any(|fault| fault.contains("inclusion_list.patterns")),
        "{found:?}"
    );
}

#[test]
fn a_tag_that_looks_ahead_is_left_out_as_istios_bootstrap_has_one() {
    let text = r#"
stats_config:
  stats_tags: [{tag_name: a, regex: "^listener(?=\\.).*?\\.http\\.((x)\\.)"}, {tag_name: b, regex: "^(x)"}]
"#;
    let parsed = parse(text).expect("valid");
    let names: Vec<_> = parsed.value.stats.tags.iter().map(|tag| &*tag.name).collect();
    assert_eq!(names, ["b"]);
    assert_eq!(
        parsed.without_effect[0].path.to_string(),
        "stats_config.stats_tags[0].regex"
    );
}

#[test]
fn a_text_that_is_neither_yaml_nor_json_names_its_line() {
    let error = |text: &[u8], format| {
        BootstrapSource::new()
            .merge(text, "f", format, false)
            .expect_err("syntax")
            .to_string()
    };
    assert_eq!(
        error(b"{\"a\": 1,\n ]", Format::Json),
        "f:2:2: found ']', expected a field name in quotes or `}`"
    );
    assert!(error(b"a: ]", Format::Yaml).starts_with("f:1:"));
    assert_eq!(
        error(b"a: 1\nb: \xff", Format::Yaml),
        "f:2:4: found a byte that is not UTF-8"
    );
    assert!(error(b"\xff\xff", Format::Protobuf).starts_with("f:0:0: is not a protobuf message"));
}

#[test]
fn the_form_of_a_file_goes_by_its_name() {
    for (name, format) in [
        ("a.yaml", Format::Yaml),
        ("a.YML", Format::Yaml),
        ("a.pb", Format::Protobuf),
        ("a.json", Format::Json),
        ("a", Format::Json),
    ] {
        assert_eq!(Format::of_file(name), format, "{name}");
    }
}

#[test]
fn a_route_of_a_static_listener_needs_its_cluster() {
    let with = |routes: &str, more: &str| {
        let text = format!(
            "static_resources:
  listeners:
  - name: l
    address: {{socket_address: {{address: 127.0.0.1, port_value: 80}}}}
    filter_chains:
    - filters:
      - name: hcm
        typed_config:
          '@type': type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: s
          route_config: {{{routes} virtual_hosts: [{{name: v, domains: ['*'], routes: [{{match: {{prefix: /}}, route: \
             {{cluster: gone}}}}]}}]}}
          http_filters: [{{name: router, typed_config: {{'@type': \
             type.googleapis.com/envoy.extensions.filters.http.router.v3.Router}}}}]
{more}"
        );
        let parsed = source(&[&text])
            .expect("a bootstrap")
            .parse(&crate::testing::extensions());
        parsed.map(|_| ()).map_err(|faults| {
            faults
                .iter()
                .map(|fault| format!("{}: {}", fault.path, fault.reason))
                .collect::<Vec<_>>()
        })
    };
    assert_eq!(
        with("", ""),
        Err(vec![
            "static_resources.listeners[0]: has the route 0 of virtual host \"v\" to the cluster \"gone\", which \
             static_resources does not have (route_config.validate_clusters)"
                .to_owned()
        ])
    );
    assert_eq!(with("validate_clusters: false,", ""), Ok(()));
    let later = "dynamic_resources: {cds_config: {path_config_source: {path: /nowhere}, resource_api_version: V3}}";
    assert!(
        with("", later).is_err(),
        "static listeners are made before clusters come"
    );
    assert_eq!(with("validate_clusters: false,", later), Ok(()));
    assert_eq!(
        with(
            "request_mirror_policies: [{cluster: mirror}],",
            "  clusters: [{name: gone, type: STATIC, connect_timeout: 1s}]"
        )
        .unwrap_err()
        .len(),
        1
    );
    assert_eq!(
        with("", "  clusters: [{name: gone, type: STATIC, connect_timeout: 1s}]"),
        Ok(())
    );
}
