//! HTTP/2 conformance as a suite from outside sees it: whole proxies behind sockets, at either side, remora judged by
//! the RFCs and compared with Envoy.

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::sync::Mutex;
use std::thread;

use e2e::differential::{Known, compare};
use e2e::echo_backend::EchoBackend;
use e2e::h2_case::{Case, Then, assert_openings_are_refused, in_parallel, note, run, serve_cases};
use e2e::h2_wire::{HEADERS, Wire};
use e2e::proxy::{Kind, Proxy};
use e2e::{h2_client_cases, h2_server_cases};
use testkit::http1::Client;
use testkit::{Directory, ports};

const ONE_STREAM: &str = "the fault of one stream does not end the others (RFC 9113 section 5.4.2)";
const CLOSED: &str = "messages on streams that the peer has ended are a connection error (RFC 9113 section 5.1)";
const PRIORITY: &str = "PRIORITY is ignored and checked (RFC 9113 section 6.3, RFC 7540 section 5.3.1)";
const GOES_ON: &str = "a caller's GOAWAY says nothing of its own streams (RFC 9113 section 6.8)";

/// Where remora does otherwise than Envoy, callers.
const KNOWN_OF_CALLERS: &[Known] = &[
    Known {
        names: &[
            "5.1 DATA on a half-closed (remote) stream",
            "5.1 HEADERS on a half-closed (remote) stream",
            "5.1.2 more streams than allowed",
            "5.3.1 HEADERS that depend on their own stream",
            "6.1 DATA on a stream that is not open",
            "6.3 PRIORITY of 4 octets",
            "6.9 a stream's window by 0",
            "6.9.1 a stream's window above 2^31-1",
        ],
        reason: ONE_STREAM,
    },
    Known {
        names: &[
            "5.1 DATA after RST_STREAM",
            "5.1 DATA on a closed stream",
            "5.1 HEADERS after RST_STREAM",
            "5.1 HEADERS on a closed stream",
        ],
        reason: CLOSED,
    },
    Known {
        names: &["5.1.1 a lower identifier"],
        reason: "a lower identifier is a connection error (RFC 9113 section 5.1.1)",
    },
    Known {
        names: &[
            "5.3.1 PRIORITY on its own open stream",
            "5.3.1 PRIORITY on its own stream",
            "6.3 PRIORITY on stream 0",
        ],
        reason: PRIORITY,
    },
    Known {
        names: &[
            "6.8 GOAWAY without an error",
            "6.8 the stream of before a GOAWAY is answered",
            "7 GOAWAY with an unknown code",
        ],
        reason: GOES_ON,
    },
    Known {
        names: &["6.9.2 SETTINGS that overflow a stream's window"],
        reason: "it is a connection error (RFC 9113 section 6.9.2)",
    },
    Known {
        names: &[
            "8.2.1 a value that begins with a space",
            "8.2.1 a value that begins with a space (tolerant)",
            "8.2.1 a value that ends with a tab",
            "8.2.1 a value that ends with a tab (tolerant)",
        ],
        reason: "white space around a value is malformed (RFC 9113 section 8.2.1)",
    },
];

/// The same, endpoints.
const KNOWN_OF_ENDPOINTS: &[Known] = &[
    Known {
        names: &["5.1 DATA on a closed stream", "5.1 HEADERS on a closed stream"],
        reason: CLOSED,
    },
    Known {
        names: &["6.3 PRIORITY of 4 octets"],
        reason: ONE_STREAM,
    },
    Known {
        names: &["6.3 PRIORITY on stream 0"],
        reason: PRIORITY,
    },
];

fn listener(name: &str, port: u16, options: &str, routes: &str) -> String {
    format!(
        r#"  - name: {name}
    address: {{socket_address: {{address: 127.0.0.1, port_value: {port}}}}}
    filter_chains:
    - filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: {name}
          # Envoy waits for so long before it closes.
          delayed_close_timeout: 0.1s
          {options}
          route_config:
            virtual_hosts: [{{name: v, domains: ["*"], routes: [{routes}]}}]
          http_filters:
          - name: envoy.filters.http.router
            typed_config: {{"@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router}}
"#
    )
}

fn cluster(name: &str, port: u16, is_http2: bool) -> String {
    let options = if is_http2 {
        "\n    typed_extension_protocol_options: {envoy.extensions.upstreams.http.v3.HttpProtocolOptions: \
         {\"@type\": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions, \
         explicit_http_config: {http2_protocol_options: {}}}}"
    } else {
        ""
    };
    format!(
        "  - name: {name}\n    type: STATIC\n    connect_timeout: 1s\n    load_assignment: {{cluster_name: {name}, \
         endpoints: [{{lb_endpoints: [{{endpoint: {{address: {{socket_address: {{address: 127.0.0.1, port_value: \
         {port}}}}}}}}}]}}]}}{options}\n"
    )
}

const START: &str =
    "admin: {address: {socket_address: {address: 127.0.0.1, port_value: {admin}}}}\nstatic_resources:\n";

/// A proxy's answers to callers: with the defaults, and with streams ending by themselves.
fn as_a_server(kind: Kind, directory: &Directory, backend: u16) -> (BTreeMap<String, String>, String) {
    let [strict, tolerant] = [ports::free_port(), ports::free_port()];
    let route = "{match: {prefix: /}, route: {cluster: echo}}";
    let bootstrap = [
        START,
        "  listeners:\n",
        &listener("strict", strict, "http2_protocol_options: {max_concurrent_streams: 100}", route),
        &listener(
            "tolerant",
            tolerant,
            "http2_protocol_options: {max_concurrent_streams: 100, override_stream_error_on_invalid_http_message: true}",
            route,
        ),
        "  clusters:\n",
        &cluster("echo", backend, false),
    ]
    .concat();
    let proxy = Proxy::start(kind, directory, &format!("{}-server", kind.name()), &bootstrap);
    let cases = h2_server_cases::all();
    let (mut kinds, mut faults) = serve_cases(strict, &cases);
    let messages: Vec<Case> = cases.into_iter().filter(|case| case.name.starts_with('8')).collect();
    let (tolerated, more) = serve_cases(tolerant, &messages);
    kinds.extend(
        tolerated
            .into_iter()
            .map(|(name, did)| (format!("{name} (tolerant)"), did)),
    );
    faults.push_str(&more);
    if kind == Kind::Remora {
        assert_openings_are_refused(strict);
        assert_eq!(proxy.stat("http.strict.downstream_rq_active"), 0);
        assert_eq!(proxy.stat("http.tolerant.downstream_rq_active"), 0);
    }
    (kinds, faults)
}

#[test]
fn callers_see_a_conformant_server() {
    let directory = Directory::new("h2_conformance");
    let backend = EchoBackend::start();
    let [envoy, remora] = thread::scope(|scope| {
        [Kind::Envoy, Kind::Remora]
            .map(|kind| {
                let (directory, port) = (&directory, backend.port());
                scope.spawn(move || as_a_server(kind, directory, port))
            })
            .map(|thread| thread.join().expect("a side is observed"))
    });
    let differences = compare("callers", &envoy.0, &remora.0, KNOWN_OF_CALLERS)
        .err()
        .unwrap_or_default();
    assert!(
        remora.1.is_empty() && differences.is_empty(),
        "{}\n{differences}",
        remora.1
    );
}

/// An endpoint that does a case once a request has come; what the proxy did, and what its caller got.
fn as_an_endpoint(case: &Case, endpoint: &TcpListener, proxy: u16, path: &str, faults: &Mutex<String>) -> String {
    thread::scope(|scope| {
        let caller = scope.spawn(|| {
            let mut client = Client::connect(proxy);
            client.send(format!("GET {path} HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\r\n").as_bytes());
            match client.response("GET") {
                Some(answer) if answer.cut => format!("{} cut short", answer.status()),
                Some(answer) => answer.status().to_string(),
                None => "nothing".to_owned(),
            }
        });
        let (socket, _) = endpoint.accept().expect("the proxy connects");
        let mut wire = Wire::server(socket, &case.settings);
        wire.wait(5, |frame| frame.kind == HEADERS);
        let did = run(case, &mut wire);
        note(case, &did, faults);
        drop(wire);
        let answer = caller.join().expect("the caller is answered");
        let is_whole = matches!(case.then, Then::Alive);
        if is_whole {
            format!("{}, the caller got {answer}", did.kind())
        } else {
            format!("{} ({answer})", did.kind())
        }
    })
}

fn as_a_client(kind: Kind, directory: &Directory) -> (BTreeMap<String, String>, String) {
    let cases: Vec<(Case, TcpListener, String)> = h2_client_cases::all()
        .into_iter()
        .enumerate()
        .map(|(number, case)| (case, ports::listener(), format!("/{number}/")))
        .collect();
    let port = ports::free_port();
    let routes: Vec<String> = (0..cases.len())
        .map(|number| format!("{{match: {{prefix: /{number}/}}, route: {{cluster: c{number}, timeout: 4s}}}}"))
        .collect();
    let mut bootstrap = [
        START,
        "  listeners:\n",
        &listener("in", port, "", &routes.join(", ")),
        "  clusters:\n",
    ]
    .concat();
    for (number, (_, endpoint, _)) in cases.iter().enumerate() {
        let address = endpoint.local_addr().expect("it is bound");
        bootstrap.push_str(&cluster(&format!("c{number}"), address.port(), true));
    }
    let proxy = Proxy::start(kind, directory, &format!("{}-client", kind.name()), &bootstrap);
    let faults = Mutex::new(String::new());
    let kinds = in_parallel(
        &cases,
        |(case, ..)| case.name.clone(),
        |(case, endpoint, path)| as_an_endpoint(case, endpoint, port, path, &faults),
    );
    if kind == Kind::Remora {
        assert_eq!(proxy.stat("http.in.downstream_rq_active"), 0);
    }
    (kinds, faults.into_inner().expect("no thread panics"))
}

#[test]
fn endpoints_see_a_conformant_client() {
    let directory = Directory::new("h2_conformance");
    let [envoy, remora] = thread::scope(|scope| {
        [Kind::Envoy, Kind::Remora]
            .map(|kind| {
                let directory = &directory;
                scope.spawn(move || as_a_client(kind, directory))
            })
            .map(|thread| thread.join().expect("a side is observed"))
    });
    let differences = compare("endpoints", &envoy.0, &remora.0, KNOWN_OF_ENDPOINTS)
        .err()
        .unwrap_or_default();
    assert!(
        remora.1.is_empty() && differences.is_empty(),
        "{}\n{differences}",
        remora.1
    );
}
