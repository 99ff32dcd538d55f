//! How endpoints are spoken to beside Envoy: by which version of HTTP, by which name in TLS.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use e2e::differential;
use e2e::proxy::{Kind, Proxy};
use testkit::backend::Backend;
use testkit::certificates::Authority;
use testkit::http1::Client;
use testkit::{Directory, Process, peers, ports, wait, wait_until};

#[test]
fn streams_of_http2_are_counted_while_they_last_and_callers_may_choose_the_version() {
    let directory = Directory::new("upstream-streams");
    for kind in [Kind::Envoy, Kind::Remora] {
        let (listener, port) = (ports::free_port(), ports::free_port());
        let name = format!("{}-h2", kind.name());
        let mut command = peers::script("h2_backend.py");
        let _backend = Process::start(&name, &directory, command.arg(port.to_string()));
        wait::wait_for_port(port);
        let backend = Backend::start("one");
        let (mut clusters, mut routes) = (String::new(), String::new());
        for (name, protocol, port) in [
            ("h2", "explicit_http_config: {http2_protocol_options: {}}", port),
            (
                "as-caller-to-h2",
                "use_downstream_protocol_config: {http2_protocol_options: {}}",
                port,
            ),
            (
                "as-caller-to-h1",
                "use_downstream_protocol_config: {http2_protocol_options: {}}",
                backend.port(),
            ),
        ] {
            let _ = writeln!(
                clusters,
                "  - {{name: {name}, connect_timeout: 1s, typed_extension_protocol_options: \
                 {{envoy.extensions.upstreams.http.v3.HttpProtocolOptions: {{'@type': \
                 type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions, {protocol}}}}}, load_assignment: \
                 {{cluster_name: {name}, endpoints: [{{lb_endpoints: [{{endpoint: {{address: {{socket_address: {{address: \
                 127.0.0.1, port_value: {port}}}}}}}}}]}}]}}}}"
            );
            let _ = writeln!(
                routes,
                "              - {{match: {{prefix: /{name}/}}, route: {{cluster: {name}}}}}"
            );
        }
        let bootstrap = include_str!("../src/clusters.yaml")
            .replace("{listener}", &listener.to_string())
            .replace("{routes}", &routes)
            .replace("{clusters}", &clusters);
        let proxy = Proxy::start(kind, &directory, kind.name(), &bootstrap);
        let mut clients: Vec<Client> = (0..3).map(|_| Client::connect(listener)).collect();
        for client in &mut clients {
            assert!(client.send(b"GET /h2/hang HTTP/1.1\r\nhost: h\r\n\r\n"));
        }
        let active = |streams: u64| {
            wait_until(5, &format!("{} has {streams} streams", kind.name()), || {
                proxy.stat("cluster.h2.http2.streams_active") == streams
            });
        };
        active(3);
        clients.pop();
        active(2);
        drop(clients);
        active(0);
        assert_eq!(
            proxy.stat("cluster.h2.upstream_cx_active"),
            1,
            "one connection carried them all"
        );

        let answer = Client::get(listener, "/as-caller-to-h1/").expect("an answer");
        assert_eq!((answer.status(), answer.body.as_slice()), (200, b"one\n".as_slice()));
        let exchanges = serde_json::json!([{"name": "in HTTP/2", "path": "/as-caller-to-h2/plain"}]);
        let answer = differential::call_http2(listener, &exchanges);
        assert!(answer["in HTTP/2"].contains(r#""status":"200""#), "{answer:?}");
        let made = |cluster: &str| {
            let total = |version: u8| proxy.stat(&format!("cluster.{cluster}.upstream_cx_http{version}_total"));
            (total(1), total(2))
        };
        assert_eq!((made("as-caller-to-h1"), made("as-caller-to-h2")), ((1, 0), (0, 1)));
    }
}

/// Clusters behind TLS: what is said of names in them.
const NAMED: &[(&str, &str, &str)] = &[
    ("plain", "", ""),
    ("fixed", "", "sni: fixed.example"),
    ("of-host", "auto_sni: true", ""),
    ("of-host-beside-fixed", "auto_sni: true", "sni: fixed.example"),
    ("of-header", "auto_sni: true, override_auto_sni_header: x-name", ""),
    ("validated", "auto_sni: true, auto_san_validation: true", ""),
];

fn names(kind: Kind, directory: &Directory) -> BTreeMap<String, String> {
    let authority = Authority::new(directory, &format!("{}-authority", kind.name()));
    let identity = authority.issue(&format!("{}-backend", kind.name()), "spiffe://test/backend");
    let (listener, port) = (ports::free_port(), ports::free_port());
    let mut command = peers::script("tls_backend.py");
    command
        .arg(port.to_string())
        .arg(&identity.certificate)
        .arg(&identity.key);
    let _backend = Process::start(&format!("{}-tls", kind.name()), directory, &mut command);
    wait::wait_for_port(port);
    let (mut clusters, mut routes) = (String::new(), String::new());
    for (name, options, context) in NAMED {
        let _ = writeln!(
            clusters,
            "  - {{name: {name}, connect_timeout: 2s, typed_extension_protocol_options: \
             {{envoy.extensions.upstreams.http.v3.HttpProtocolOptions: {{'@type': \
             type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions, explicit_http_config: \
             {{http_protocol_options: {{}}}}, upstream_http_protocol_options: {{{options}}}}}}}, transport_socket: {{name: \
             t, typed_config: {{'@type': type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext, \
             max_session_keys: 0, common_tls_context: {{validation_context: {{trusted_ca: {{filename: '{}'}}}}}}, {context}}}}}, \
             load_assignment: \
             {{cluster_name: {name}, endpoints: [{{lb_endpoints: [{{endpoint: {{address: {{socket_address: {{address: \
             127.0.0.1, port_value: {port}}}}}}}}}]}}]}}}}",
            authority.certificate.display()
        );
        let _ = writeln!(
            routes,
            "              - {{match: {{prefix: /{name}/}}, route: {{cluster: {name}}}}}"
        );
    }
    let bootstrap = include_str!("../src/clusters.yaml")
        .replace("{listener}", &listener.to_string())
        .replace("{routes}", &routes)
        .replace("{clusters}", &clusters);
    let proxy = Proxy::start(kind, directory, &format!("{}-names", kind.name()), &bootstrap);
    let mut client = Client::connect(listener);
    let mut found = BTreeMap::new();
    for (name, _, _) in NAMED {
        for host in [
            "localhost",
            "localhost:8080",
            "other.example",
            "127.0.0.1",
            "127.0.0.1:8080",
        ] {
            let request = format!("GET /{name}/ HTTP/1.1\r\nhost: {host}\r\nx-name: named.example\r\n\r\n");
            assert!(client.send(request.as_bytes()));
            let answer = client.response("GET").expect("an answer");
            let body = String::from_utf8_lossy(&answer.body).into_owned();
            // What is wrong with a certificate is said in other words.
            let body = if answer.status() == 200 { body } else { String::new() };
            found.insert(format!("{name} {host}"), format!("{} {body}", answer.status()));
        }
        let made = proxy.stat(&format!("cluster.{name}.upstream_cx_http1_total"));
        found.insert(format!("{name}: connections"), made.to_string());
    }
    found
}

#[test]
fn endpoints_are_called_and_validated_by_the_names_that_envoy_uses() {
    let directory = Directory::new("upstream-names");
    let [envoy, remora] = [Kind::Envoy, Kind::Remora].map(|kind| names(kind, &directory));
    differential::compare("names in TLS", &envoy, &remora, &[]).unwrap_or_else(|faults| panic!("{faults}"));
}
