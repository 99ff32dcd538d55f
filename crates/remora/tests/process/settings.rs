//! Settings of the bootstrap and the command line about what the process shows: logs, statistics, unknown fields.

use super::*;

#[test]
fn requests_to_the_admin_endpoint_are_logged_where_the_bootstrap_says_so() {
    let folder = Folder::new();
    let log = folder.path("admin.log");
    let config = folder.file(
        "bootstrap.yaml",
        &format!(
            r#"
admin:
  address: {{socket_address: {{address: 127.0.0.1, port_value: 0}}}}
  access_log:
  - name: envoy.access_loggers.file
    filter: {{status_code_filter: {{comparison: {{op: GE, value: {{default_value: 400, runtime_key: x}}}}}}}}
    typed_config:
      "@type": type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog
      path: {log}
      log_format: {{text_format_source: {{inline_string: "%REQ(:METHOD)% %REQ(:PATH)% %PROTOCOL% %RESPONSE_CODE% %BYTES_SENT% %DOWNSTREAM_LOCAL_ADDRESS%\n"}}}}
"#
        ),
    );
    let proxy = Proxy::start_file(folder, &config, &["--file-flush-min-size-kb", "0"]);
    proxy.get("/ready");
    proxy.get("/nowhere?x=1");
    let line = proxy.wait_for("the log", || {
        std::fs::read_to_string(&log).ok().filter(|text| text.ends_with('\n'))
    });
    let words: Vec<&str> = line.split_whitespace().collect();
    assert_eq!(words[..4], ["GET", "/nowhere?x=1", "HTTP/1.1", "404"], "{line}");
    assert_eq!((words[5], words.len()), (proxy.admin.as_str(), 6), "{line}");
}

#[test]
fn statistics_are_chosen_and_labelled_as_the_bootstrap_says() {
    let bootstrap = r#"
stats_config:
  use_all_default_tags: false
  stats_tags: [{tag_name: mesh, fixed_value: blue}, {tag_name: worker, regex: "^server\\.(worker_(\\d+)\\.)"}]
  stats_matcher: {exclusion_list: {patterns: [{prefix: "server.memory"}]}}
"#;
    let proxy = Proxy::start(bootstrap, &["--stats-tag", "zone:a"]);
    let (_, text) = proxy.get("/stats");
    assert!(
        text.contains("server.live: 1\n") && !text.contains("server.memory"),
        "{text}"
    );
    let (_, text) = proxy.get("/stats/prometheus");
    assert!(
        text.contains("envoy_server_live{zone=\"a\",mesh=\"blue\"} 1\n"),
        "{text}"
    );
    for tag in ["nothing", "a.b:c", "a:.c", "a:c.", ":c", "a:"] {
        let refused = remora(&["-c", "x.yaml", "--stats-tag", tag]);
        assert_eq!(refused.status.code(), Some(1), "{tag}");
        assert!(super::text(&refused.stderr).contains("misformatted stats tag"), "{tag}");
    }
}

#[test]
fn fields_of_the_bootstrap_that_do_not_exist_are_counted_where_they_are_allowed() {
    let bootstrap = "no_such_field: 1\nnode: {id: x, neither: 2}\n";
    let proxy = Proxy::start(bootstrap, &["--allow-unknown-static-fields"]);
    assert!(proxy.get("/stats").1.contains("server.static_unknown_fields: 2\n"));
    let log = proxy.log();
    assert!(log.contains("`no_such_field`") && log.contains("`neither`"), "{log}");
}

/// A file with a cluster that has a field nobody knows, and the bootstrap that reads it.
fn newer_control_plane(folder: &Folder) -> String {
    use xds_api::envoy::config::cluster::v3::Cluster;
    use xds_api::envoy::service::discovery::v3::DiscoveryResponse;
    use xds_api::prost::Message as _;
    use xds_api::wire::{WireValue, put_field};

    let mut cluster = xds_api::pack(&Cluster {
        name: "backend".into(),
        ..Cluster::default()
    });
    put_field(&mut cluster.value, 9_999, WireValue::Varint(1));
    let response = DiscoveryResponse {
        version_info: "1".into(),
        type_url: cluster.type_url.clone(),
        resources: vec![cluster],
        ..DiscoveryResponse::default()
    };
    let path = folder.path("clusters.pb");
    std::fs::write(&path, response.encode_to_vec()).expect("a file");
    let source = format!("{{path_config_source: {{path: {path}}}, resource_api_version: V3}}");
    folder.file(
        "bootstrap.yaml",
        &format!("{ADMIN}node: {{id: x, cluster: mesh}}\ndynamic_resources: {{cds_config: {source}}}\n"),
    )
}

#[test]
fn a_field_of_a_dynamic_resource_that_does_not_exist_is_counted_warned_of_and_listed() {
    let folder = Folder::new();
    let config = newer_control_plane(&folder);
    let proxy = Proxy::start_file(folder, &config, &[]);
    let (_, stats) = proxy.get("/stats");
    assert!(stats.contains("server.dynamic_unknown_fields: 1\n"), "{stats}");
    assert!(stats.contains("cluster_manager.cds.update_success: 1\n"), "{stats}");
    assert!(proxy.get("/clusters").1.contains("backend::"));
    let (_, listed) = proxy.get("/without_effect");
    assert!(listed.contains("9999") && listed.contains("backend"), "{listed}");
    let log = proxy.log();
    assert!(
        log.contains("envoy.config.cluster.v3.Cluster has no field with the number 9999"),
        "{log}"
    );
}

#[test]
fn a_dynamic_resource_with_a_field_that_does_not_exist_is_refused_where_that_is_asked_for() {
    let folder = Folder::new();
    let config = newer_control_plane(&folder);
    let proxy = Proxy::start_file(folder, &config, &["--reject-unknown-dynamic-fields"]);
    let (_, stats) = proxy.get("/stats");
    assert!(stats.contains("cluster_manager.cds.update_rejected: 1\n"), "{stats}");
    assert!(stats.contains("server.dynamic_unknown_fields: 0\n"), "{stats}");
    assert!(!proxy.get("/clusters").1.contains("backend::"));
    let log = proxy.log();
    assert!(
        log.contains("envoy.config.cluster.v3.Cluster has no field with the number 9999"),
        "{log}"
    );
}

const DIRECT: &str = r#"
static_resources:
  listeners:
  - name: direct
    address: {socket_address: {address: 127.0.0.1, port_value: 0}}
    filter_chains:
    - filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: direct
          route_config:
            virtual_hosts:
            - {name: all, domains: ["*"], routes: [{match: {prefix: /}, direct_response: {status: 200}}]}
          http_filters:
          - name: envoy.filters.http.router
            typed_config: {"@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router}
"#;

/// The head of the answer to a request of its own connection.
fn answer_head(address: &str) -> String {
    let mut stream = TcpStream::connect(address).expect("it is listened on");
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    stream
        .write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
        .expect("it is taken");
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).expect("an answer") == 1 {
        head.push(byte[0]);
    }
    text(&head)
}

#[test]
fn a_drain_goes_at_once_or_over_its_time_as_the_command_line_says() {
    for (strategy, closes) in [("immediate", true), ("gradual", false)] {
        let proxy = Proxy::start(DIRECT, &["--drain-strategy", strategy, "--drain-time-s", "100000"]);
        let address = proxy.listener();
        assert!(!answer_head(&address).contains("connection: close"));
        assert_eq!(proxy.post("/drain_listeners?graceful&skip_exit").0, 200);
        if closes {
            // The command is taken a moment after it was answered.
            proxy.wait_for("connections that close", || {
                answer_head(&address).contains("connection: close").then_some(())
            });
        } else {
            proxy.wait_for("the drain", || {
                proxy.log().contains("draining all listeners").then_some(())
            });
            // A second into a day of draining, hardly one request in a hundred thousand closes its connection.
            assert!(!answer_head(&address).contains("connection: close"));
        }
    }
}

#[test]
fn intervals_of_histograms_end_at_the_flush_interval_or_when_they_are_asked_for() {
    // Interval and total, both in milliseconds. The total is that of the moment; Envoy's waits for the flush, too.
    let shown = |proxy: &Proxy| proxy.get("/stats?filter=http.direct.downstream_rq_time$").1;
    let start = |setting: &str| Proxy::start(&format!("{setting}{DIRECT}"), &[]);

    let often = start("stats_flush_interval: 0.05s");
    often.wait_for("an interval with a request", || {
        answer_head(&often.listener());
        (!shown(&often).contains("P0(nan,") && shown(&often).contains("P0(")).then_some(())
    });

    let on_admin = start("stats_flush_on_admin: true");
    answer_head(&on_admin.listener());
    on_admin.wait_for("the interval of the request", || {
        let shown = shown(&on_admin);
        (shown.contains("P0(") && !shown.contains("P0(nan,")).then_some(())
    });
    assert!(shown(&on_admin).contains("P0(nan,"), "asking ended the interval");

    let seldom = start("stats_flush_interval: 299s");
    answer_head(&seldom.listener());
    seldom.wait_for("the request", || shown(&seldom).contains("P0(").then_some(()));
    for _ in 0..2 {
        assert!(shown(&seldom).contains("P0(nan,"), "{}", shown(&seldom));
    }
}

#[test]
fn callers_on_the_machine_are_known_by_its_address_of_the_version_that_was_chosen() {
    for (version, is_v6) in [("v4", false), ("v6", true)] {
        let backend = TcpListener::bind("127.0.0.1:0").expect("a port");
        let bootstrap = listener(backend.local_addr().expect("bound").port()).replace(
            "stat_prefix: ingress",
            "stat_prefix: ingress\n          use_remote_address: true",
        );
        let proxy = Proxy::start(&bootstrap, &["--local-address-ip-version", version]);
        let mut caller = TcpStream::connect(proxy.listener()).expect("it is listened on");
        caller
            .write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
            .expect("it is taken");
        let (mut upstream, _) = backend.accept().expect("the proxy connects");
        let mut head = [0; 4096];
        let length = upstream.read(&mut head).expect("a request");
        let head = text(&head[..length]);
        let address = head
            .lines()
            .find_map(|line| line.strip_prefix("x-forwarded-for: "))
            .unwrap_or_else(|| panic!("{head}"));
        let address: std::net::IpAddr = address.parse().expect("an address");
        assert_eq!(address.is_ipv6(), is_v6, "{version}: {address}");
    }
}
