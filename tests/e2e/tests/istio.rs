//! A mesh of the shape that istiod sends to default sidecars: everything in it is taken, and traffic goes where it goes in
//! Istio. Envoy as it can be installed lacks Istio's own filters; it stands in for Istio's proxy without them.

use e2e::istio::Sidecar;
use e2e::pods::{self, PodSidecar};
use e2e::proxy::{Kind, Proxy};
use serde_json::{Value, json};
use testkit::certificates::Authority;
use testkit::http1::Client;
use testkit::{Directory, ports};

const SERVER: &str = "10.10.2.1";
const PLAIN: &str = "10.10.3.1";

/// Where the sidecar's connections to its application come from.
const SIDECAR: &str = "127.0.0.6";

/// The sidecar of a pod, of which these statistics are asked.
fn of_pod<'a>(pod: &'a str, sidecar: &'a Sidecar, stats: &'a [&'a str]) -> PodSidecar<'a> {
    PodSidecar {
        pod,
        command: sidecar.command(),
        beside: Vec::new(),
        folder: &sidecar.folder,
        stats,
    }
}

/// An answer of a pod's application.
fn answered(pod: &str, port: u16, from: &str) -> Value {
    json!({"status": 200, "body": {"pod": pod, "port": port, "from": from, "xfcc": ""}})
}

/// Takes who called, as the application was told by its sidecar, out of an answer.
fn take_caller(answer: &mut Value) -> String {
    let told = answer["body"]["xfcc"].take().as_str().unwrap_or_default().to_owned();
    answer["body"]["xfcc"] = "".into();
    let uri = told.split([';', ',']).find_map(|part| part.strip_prefix("URI="));
    uri.unwrap_or(&told).to_owned()
}

fn calls() -> Value {
    json!({
        "client": [
            ["http", "get", "10.96.0.10", 9080, "/ reviews:9080", true],
            ["http again", "get", "10.96.0.10", 9080, "/ reviews.default.svc.cluster.local", true],
            ["http to a pod without a sidecar", "get", "10.96.0.11", 9080, "/ ratings:9080", true],
            ["strict", "get", "10.96.0.15", 9081, "/ payments", true],
            ["to http2", "get", "10.96.0.12", 7070, "/ echo", true],
            ["tcp", "tcp", "10.96.0.13", 3306, "hello", true],
            ["not named, http", "get", "10.96.0.14", 8000, "/ auto:8000", true],
            ["not named, tcp", "tcp", "10.96.0.14", 8000, "neither HTTP nor TLS \r\n", true],
            ["nobody's address", "tcp", PLAIN, 8081, "hello", true],
            ["nobody's host", "get", PLAIN, 9080, "/ unknown.example", true],
            ["nobody's port of a sidecar", "get", SERVER, 9999, "/ unknown.example", true],
            ["names from DNS", "tcp", "10.96.0.20", 9999, "hello", true],
            ["by server name", "hello", PLAIN, 443, "secure.example", true],
            ["black hole", "get", "10.96.0.16", 9080, "/ blocked", true],
            ["straight to outbound", "tcp", "127.0.0.1", 15001, "hello", false],
            ["straight to inbound", "tcp", "127.0.0.1", 15006, "hello", false],
        ],
        "plain": [
            ["cleartext http", "get", SERVER, 9080, "/ reviews", false],
            ["cleartext tcp", "tcp", SERVER, 3306, "hello", false],
            ["cleartext, not named, http", "get", SERVER, 8000, "/ auto", false],
            ["cleartext, not named, tcp", "tcp", SERVER, 8000, "neither HTTP nor TLS \r\n", false],
            ["cleartext to strict", "get", SERVER, 9081, "/ payments", false],
            ["a port without a service, http", "get", SERVER, 9999, "/ unknown", false],
            ["a port without a service, tcp", "tcp", SERVER, 8081, "neither HTTP nor TLS \r\n", false],
            ["the inbound port", "tcp", SERVER, 15006, "hello", false],
            ["statistics", "get", SERVER, 15090, "/stats/prometheus reviews", false],
        ],
    })
}

#[test]
fn what_istiod_sends_a_default_sidecar_is_taken_and_traffic_flows() {
    if !pods::can_be_had() {
        return;
    }
    for kind in [Kind::Remora, Kind::Envoy] {
        let directory = Directory::new(&format!("istio-{}", kind.name()));
        let authority = Authority::new(&directory, "root");
        let client = Sidecar::new(Kind::Remora, &directory, &authority, "client", "10.10.1.1");
        let server = Sidecar::new(kind, &directory, &authority, "server", SERVER);
        let rejections = [
            "cluster_manager.cds.update_rejected",
            "listener_manager.lds.update_rejected",
        ];
        let handshakes = [
            "cluster.outbound|9080||reviews.default.svc.cluster.local.ssl.handshake",
            "cluster.outbound|9080||ratings.default.svc.cluster.local.ssl.handshake",
            "cluster.outbound|3306||mysql.default.svc.cluster.local.ssl.handshake",
        ];
        let stats = [&rejections[..], &handshakes].concat();
        let sidecars = [
            of_pod("client", &client, &stats),
            of_pod("server", &server, &rejections),
        ];
        let mut result = pods::run(&sidecars, &calls()).unwrap_or_else(|errors| {
            panic!("{errors}\nclient {:#?}\nserver {:#?}", client.asked(), server.asked());
        });
        for sidecar in [&client, &server] {
            let asked = sidecar.asked();
            let refused: Vec<_> = asked.iter().filter(|line| line.contains("NACK")).collect();
            assert!(refused.is_empty(), "{refused:#?}");
            assert!(
                asked.len() >= 10,
                "all types were asked for and acknowledged: {asked:#?}"
            );
        }
        for name in rejections {
            assert_eq!(result["stats"]["client"][name], 0, "{name}");
            assert_eq!(result["stats"]["server"][name], 0, "{name}");
        }
        assert_eq!(
            result["stats"]["client"][handshakes[0]], 1,
            "both calls took one connection"
        );
        assert_eq!(
            result["stats"]["client"][handshakes[1]], 0,
            "there is nobody who speaks TLS"
        );
        assert_eq!(result["stats"]["client"][handshakes[2]], 1);

        let made = &mut result["calls"]["client"];
        for (name, port) in [
            ("http", 9080),
            ("http again", 9080),
            ("strict", 9081),
            ("to http2", 7070),
            ("not named, http", 8000),
        ] {
            let caller = take_caller(&mut made[name]);
            assert_eq!(
                caller, "spiffe://cluster.local/ns/default/sa/client",
                "{name}: {}",
                made[name]
            );
            assert_eq!(made[name], answered("server", port, SIDECAR), "{name}");
        }
        assert_eq!(
            made["http to a pod without a sidecar"],
            answered("plain", 9080, "10.10.1.1")
        );
        assert_eq!(made["tcp"], format!("server {SIDECAR} hello"));
        assert_eq!(
            made["not named, tcp"],
            format!("server {SIDECAR} neither HTTP nor TLS \r\n")
        );
        assert_eq!(made["nobody's address"], "plain 10.10.1.1 hello");
        assert_eq!(made["nobody's host"], answered("plain", 9080, "10.10.1.1"));
        assert_eq!(made["nobody's port of a sidecar"], answered("server", 9999, SIDECAR));
        assert_eq!(made["names from DNS"], "client 127.0.0.1 hello");
        assert_eq!(made["by server name"], "plain 10.10.1.1 hello");
        assert_eq!(
            made["black hole"],
            json!({"status": 503, "body": "no healthy upstream"})
        );
        assert_eq!(made["straight to outbound"], "closed");
        assert_eq!(made["straight to inbound"], "closed");

        let made = &mut result["calls"]["plain"];
        for (name, port) in [
            ("cleartext http", 9080),
            ("cleartext, not named, http", 8000),
            ("a port without a service, http", 9999),
        ] {
            assert_eq!(made[name], answered("server", port, SIDECAR), "{name}");
        }
        assert_eq!(made["cleartext tcp"], format!("server {SIDECAR} hello"));
        assert_eq!(
            made["cleartext, not named, tcp"],
            format!("server {SIDECAR} neither HTTP nor TLS \r\n")
        );
        assert_eq!(
            made["a port without a service, tcp"],
            format!("server {SIDECAR} neither HTTP nor TLS \r\n")
        );
        assert_eq!(made["cleartext to strict"], "closed");
        assert_eq!(made["the inbound port"], "closed");
        assert_eq!(made["statistics"]["status"], 200);

        // What was agreed on by ALPN shows in the chains that the server chose.
        let log = std::fs::read_to_string(server.folder.join("access.log")).expect("it was written");
        for (chain, protocol) in [
            ("0.0.0.0_9080", "HTTP/1.1"),
            ("0.0.0.0_7070", "HTTP/2"),
            ("0.0.0.0_8000", "HTTP/1.1"),
            ("0.0.0.0_8000", "-"),
            ("0.0.0.0_3306", "-"),
        ] {
            let is_it = |line: &&str| {
                line.starts_with(&format!("{chain} {protocol} "))
                    && line.contains("spiffe://cluster.local/ns/default/sa/client")
            };
            assert!(log.lines().any(|line| is_it(&line)), "{chain} {protocol}:\n{log}");
        }
        for name in ["client", "server"] {
            assert_eq!(result[format!("exit of {name}")], 0);
        }
    }
}

/// A chain of the backend for TLS in which this protocol is offered.
fn backend_chain(authority: &Authority<'_>, protocol: &str) -> String {
    let name = protocol.replace('/', "-");
    let own = authority.issue(&name, "spiffe://cluster.local/ns/default/sa/backend");
    format!(
        r#"    - filter_chain_match: {{transport_protocol: tls, application_protocols: ["{protocol}"]}}
      transport_socket:
        name: envoy.transport_sockets.tls
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext
          common_tls_context: {{alpn_protocols: [h2, http/1.1], tls_certificates: [{{certificate_chain: {{filename: "{}"}}, private_key: {{filename: "{}"}}}}]}}
      filters:
      - name: http
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: backend
          route_config: {{virtual_hosts: [{{name: all, domains: ["*"], routes: [{{match: {{prefix: /}}, direct_response: {{status: 200, body: {{inline_string: "{protocol}"}}}}}}]}}]}}
          http_filters: [{{name: router, typed_config: {{"@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router}}}}]
"#,
        own.certificate.display(),
        own.key.display()
    )
}

#[test]
fn a_requests_filter_decides_what_tls_offers_and_no_connection_serves_two_offers() {
    let directory = Directory::new("istio-alpn");
    let authority = Authority::new(&directory, "root");
    let chains: String = ["istio-http/1.1", "istio-h2", "own"]
        .map(|protocol| backend_chain(&authority, protocol))
        .concat();
    let backend_port = ports::free_port();
    let backend = include_str!("../src/istio/alpn_backend.yaml")
        .replace("{listener}", &backend_port.to_string())
        .replace("{chains}", &chains);
    let _backend = Proxy::start(Kind::Envoy, &directory, "backend", &backend);
    let (with, without) = (ports::free_port(), ports::free_port());
    let bootstrap = include_str!("../src/istio/alpn.yaml")
        .replace("{with}", &with.to_string())
        .replace("{without}", &without.to_string())
        .replace("{backend}", &backend_port.to_string())
        .replace("{authority}", &authority.certificate.display().to_string());
    let proxy = Proxy::start(Kind::Remora, &directory, "remora", &bootstrap);
    let get = |port, path: &str| {
        let answer = Client::get(port, path).expect("there is an answer");
        String::from_utf8_lossy(&answer.body).into_owned()
    };
    for _ in 0..3 {
        assert_eq!(get(with, "/http1"), "istio-http/1.1");
        assert_eq!(get(without, "/http1"), "own");
        assert_eq!(get(with, "/off"), "own", "the route turns the filter off");
        assert_eq!(get(with, "/http2"), "istio-h2");
        assert_eq!(get(with, "/follow"), "istio-http/1.1", "the caller speaks HTTP/1.1");
        assert_eq!(get(with, "/own"), "own", "the cluster's metadata keeps the filter away");
    }
    for (cluster, connections) in [("http1", 2), ("http2", 1), ("follow", 1), ("own", 1)] {
        let made = proxy.stat(&format!("cluster.{cluster}.upstream_cx_total"));
        assert_eq!(made, connections, "{cluster}");
    }
}
