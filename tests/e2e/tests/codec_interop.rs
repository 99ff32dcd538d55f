//! The codec's `forward` example between peers of other projects, over real sockets: clients before it, servers behind
//! it. Bodies both ways, trailers, many streams at once, resets.

mod peers;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;

use e2e::h2_case::{assert_openings_are_refused, serve_cases};
use e2e::h2_server_cases;
use peers::{Peer, envoy, program, python, run, run_until_killed};
use serde_json::json;
use testkit::Directory;
use testkit::peers::root;

/// What hyper-h2's client checks through `forward` alone.
const ALL_CHECKS: &[&str] = &[
    "echo",
    "trailers",
    "padding",
    "many",
    "large-head",
    "early",
    "server-reset",
    "refused",
    "cancel",
    "small-window",
    "abandon",
    "echo",
];
/// The same where Envoy stands in the way: it has interim responses and codes of resets of its own.
const ENVOY_CHECKS: &[&str] = &[
    "echo",
    "trailers",
    "padding",
    "many",
    "large-head",
    "cancel-any-code",
    "small-window",
];

/// Runs hyper-h2's client.
fn hyper_h2(directory: &Directory, python: &Path, port: u16, checks: &[&str]) {
    let mut command = Command::new(python);
    command
        .arg(root().join("tests/peers/h2_client.py"))
        .arg(port.to_string())
        .args(checks);
    run(directory, &mut command).assert_success("hyper-h2's client");
}

/// Bytes that are not all alike.
fn body(length: usize) -> Vec<u8> {
    (0..length).map(|n| (n * 31 + n / 251) as u8).collect()
}

fn write_body(directory: &Directory, length: usize) -> PathBuf {
    let file = directory.path().join("body");
    std::fs::write(&file, body(length)).expect("a file of the test can be written");
    file
}

fn count(text: &str, part: &str) -> usize {
    text.matches(part).count()
}

#[test]
fn hyper_h2_at_both_ends() {
    let Some(python) = python() else { return };
    let directory = Directory::new("interop");
    let backend = Peer::script(&directory, &python, "h2_server.py");
    let mut forward = Peer::forward(&directory, &[backend.port]);
    hyper_h2(&directory, &python, forward.port, ALL_CHECKS);
    forward.assert_alive();
}

#[test]
fn grpc_at_both_ends() {
    let Some(python) = python() else { return };
    let directory = Directory::new("interop");
    let backend = Peer::script(&directory, &python, "grpc_server.py");
    let mut forward = Peer::forward(&directory, &[backend.port]);
    let mut client = Command::new(&python);
    client
        .arg(root().join("tests/peers/grpc_client.py"))
        .arg(forward.port.to_string());
    run(&directory, &mut client).assert_success("gRPC's client");
    forward.assert_alive();
}

#[test]
fn nghttp_as_client() {
    let (Some(python), Some(nghttp)) = (python(), program("nghttp", "apt-get install nghttp2-client")) else {
        return;
    };
    let directory = Directory::new("interop");
    let backend = Peer::script(&directory, &python, "h2_server.py");
    let mut forward = Peer::forward(&directory, &[backend.port]);
    let url = |path: &str| format!("http://127.0.0.1:{}{path}", forward.port);
    for size in [64, 1 << 20] {
        let sent = body(size);
        let file = write_body(&directory, size);
        let output = run(
            &directory,
            Command::new(&nghttp)
                .arg("-d")
                .arg(&file)
                .args(["--trailer", "x-sum: 17"])
                .arg(url("/echo")),
        );
        output.assert_success("nghttp");
        assert!(
            output.stdout == sent,
            "{} of {size} bytes came back",
            output.stdout.len()
        );
    }

    // Trailers both ways, in what it logs.
    let file = write_body(&directory, 64);
    let output = run(
        &directory,
        Command::new(&nghttp)
            .arg("-nv")
            .arg("-d")
            .arg(&file)
            .args(["--trailer", "x-sum: 17"])
            .arg(url("/echo")),
    );
    output.assert_success("nghttp");
    let log = output.text();
    assert!(
        log.contains("x-echo-x-sum: 17") && log.contains("x-length: 64"),
        "{log}"
    );

    // Many at once, with paddings.
    let file = write_body(&directory, 10_000);
    let output = run(
        &directory,
        Command::new(&nghttp)
            .args(["-nv", "-m", "80", "-b", "255"])
            .arg("-d")
            .arg(&file)
            .arg(url("/echo")),
    );
    output.assert_success("nghttp");
    assert_eq!(count(&output.text(), "x-length: 10000"), 80, "answers");

    // The backend's reset reaches it with its code.
    let output = run(&directory, Command::new(&nghttp).args(["-nv"]).arg(url("/reset")));
    assert!(output.text().contains("INTERNAL_ERROR"), "{}", output.text());
    // Killed in the middle, it takes its stream with it.
    run_until_killed(&directory, Command::new(&nghttp).arg(url("/forever")));
    forward.assert_alive();
    hyper_h2(&directory, &python, forward.port, &["echo", "one-reset"]);
}

#[test]
fn h2load_as_client_before_two_backends() {
    let (Some(python), Some(h2load)) = (python(), program("h2load", "apt-get install nghttp2-client")) else {
        return;
    };
    let directory = Directory::new("interop");
    let backends: Vec<Peer> = (0..2)
        .map(|_| Peer::script(&directory, &python, "h2_server.py"))
        .collect();
    let mut forward = Peer::forward(&directory, &[backends[0].port, backends[1].port]);
    let load = |arguments: &[&str], body_size: Option<usize>, path: &str| {
        let mut command = Command::new(&h2load);
        command.args(arguments);
        if let Some(size) = body_size {
            command.arg("-d").arg(write_body(&directory, size));
        }
        run(
            &directory,
            command.arg(format!("http://127.0.0.1:{}{path}", forward.port)),
        )
        .text()
    };
    let report = load(&["-n", "1600", "-c", "8", "-m", "50"], Some(64), "/echo");
    assert!(
        report.contains("1600 succeeded, 0 failed, 0 errored, 0 timeout"),
        "{report}"
    );
    let report = load(
        &["-n", "24", "-c", "3", "-m", "8", "-w", "14", "-W", "16"],
        Some(1 << 20),
        "/echo",
    );
    assert!(
        report.contains("24 succeeded, 0 failed, 0 errored, 0 timeout"),
        "{report}"
    );
    assert!(report.contains("(25165824) data"), "{report}");
    // Resets reach the client that is due, and its connection goes on.
    let report = load(&["-n", "40", "-c", "2", "-m", "5"], None, "/reset");
    assert!(report.contains("0 succeeded, 40 failed, 40 errored"), "{report}");
    forward.assert_alive();
    hyper_h2(&directory, &python, forward.port, &["echo"]);
}

#[test]
fn curl_as_client() {
    let (Some(python), Some(curl)) = (python(), program("curl", "apt-get install curl")) else {
        return;
    };
    let directory = Directory::new("interop");
    let backend = Peer::script(&directory, &python, "h2_server.py");
    let mut forward = Peer::forward(&directory, &[backend.port]);
    let url = |path: &str| format!("http://127.0.0.1:{}{path}", forward.port);
    let curl = |arguments: &[&str], path: &str| {
        let mut command = Command::new(&curl);
        command.args(["-sS", "--noproxy", "*", "--http2-prior-knowledge"]);
        run(&Directory::new("curl"), command.args(arguments).arg(url(path)))
    };
    let heads = directory.path().join("heads");
    for size in [64, 1 << 20] {
        let sent = body(size);
        let file = write_body(&directory, size);
        let data = format!("@{}", file.display());
        let output = curl(&["-D", &heads.display().to_string(), "--data-binary", &data], "/echo");
        output.assert_success("curl");
        assert!(
            output.stdout == sent,
            "{} of {size} bytes came back",
            output.stdout.len()
        );
        let heads = std::fs::read_to_string(&heads).expect("curl writes heads");
        assert!(heads.starts_with("HTTP/2 200"), "{heads}");
        assert!(heads.contains(&format!("x-length: {size}")), "{heads}");
    }

    let early = curl(&["-i"], "/early");
    assert!(early.text().starts_with("HTTP/2 103"), "{}", early.text());

    // Eight at once. Each has a connection of its own: curl 7.88 cannot use one again, with any server.
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                let output = curl(&[], "/bytes/500000");
                output.assert_success("curl");
                assert_eq!(output.stdout.len(), 500_000);
            });
        }
    });

    // A reset is an error of the stream (92); a client that stops in the middle (28) disturbs nobody.
    assert_eq!(curl(&[], "/reset").code, Some(92));
    assert_eq!(
        curl(&["--max-time", "0.5", "-o", "/dev/null"], "/forever").code,
        Some(28)
    );
    forward.assert_alive();
    hyper_h2(&directory, &python, forward.port, &["echo", "one-reset"]);
}

#[test]
fn nginx_as_backend() {
    let (Some(python), Some(nginx)) = (python(), program("nginx", "apt-get install nginx-light")) else {
        return;
    };
    let directory = Directory::new("interop");
    std::fs::create_dir(directory.path().join("files")).expect("a folder can be made");
    let backend = Peer::server(&directory, "nginx", 1, |ports| {
        let here = directory.path().join("").display().to_string();
        let configuration = format!(
            "daemon off; master_process off; pid {here}pid; error_log stderr warn;
            events {{ worker_connections 512; }}
            http {{
              access_log off;
              client_body_temp_path {here}body; proxy_temp_path {here}proxy; fastcgi_temp_path {here}fastcgi;
              uwsgi_temp_path {here}uwsgi; scgi_temp_path {here}scgi;
              server {{
                listen 127.0.0.1:{} http2 reuseport;
                http2_max_concurrent_streams 1000;
                client_max_body_size 10m;
                location /files/ {{
                  root {here}; dav_methods PUT; add_trailer x-check trailer;
                }}
              }}
            }}",
            ports[0]
        );
        let file = directory.write("nginx.conf", &configuration);
        let mut command = Command::new(&nginx);
        command.arg("-e").arg("stderr").arg("-c").arg(file);
        command
    });
    let mut forward = Peer::forward(&directory, &[backend.port]);
    hyper_h2(&directory, &python, forward.port, &["files", "files"]);
    forward.assert_alive();
}

/// Starts Envoy with a listener for each cluster, HTTP/2 without TLS on both sides.
fn start_envoy(directory: &Directory, envoy: &Path, upstreams: &[u16]) -> Peer {
    Peer::server(directory, "envoy", upstreams.len(), |ports| {
        let address = |port: u16| json!({"socket_address": {"address": "127.0.0.1", "port_value": port}});
        let listeners: Vec<_> = ports
            .iter()
            .enumerate()
            .map(|(n, &port)| {
                json!({
                    "name": format!("listener {n}"),
                    "address": address(port),
                    "filter_chains": [{"filters": [{
                        "name": "http",
                        "typed_config": {
                            "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
                            "stat_prefix": "http",
                            "codec_type": "HTTP2",
                            "http2_protocol_options": {"max_concurrent_streams": 1000},
                            "server_header_transformation": "PASS_THROUGH",
                            "route_config": {"virtual_hosts": [{
                                "name": "all",
                                "domains": ["*"],
                                "routes": [{
                                    "match": {"prefix": "/"},
                                    "route": {"cluster": format!("cluster {n}"), "timeout": "0s"}
                                }]
                            }]},
                            "http_filters": [{
                                "name": "router",
                                "typed_config": {"@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"}
                            }]
                        }
                    }]}]
                })
            })
            .collect();
        let clusters: Vec<_> = upstreams
            .iter()
            .enumerate()
            .map(|(n, &port)| {
                json!({
                    "name": format!("cluster {n}"),
                    "connect_timeout": "5s",
                    "load_assignment": {
                        "cluster_name": format!("cluster {n}"),
                        "endpoints": [{"lb_endpoints": [{"endpoint": {"address": address(port)}}]}]
                    },
                    "typed_extension_protocol_options": {
                        "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                            "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
                            "explicit_http_config": {"http2_protocol_options": {}}
                        }
                    }
                })
            })
            .collect();
        let bootstrap = json!({"static_resources": {"listeners": listeners, "clusters": clusters}});
        let file = directory.write("envoy.json", &bootstrap.to_string());
        let mut command = Command::new(envoy);
        command.arg("-c").arg(file);
        command.args(["--disable-hot-restart", "--concurrency", "1", "--log-level", "warning"]);
        command
    })
}

#[test]
fn envoy_as_backend_and_as_client() {
    let (Some(python), Some(envoy)) = (python(), envoy()) else {
        return;
    };
    let directory = Directory::new("interop");
    let backend = Peer::script(&directory, &python, "h2_server.py");
    let mut behind = Peer::forward(&directory, &[backend.port]);
    // Its first listener leads to the backend, its second to `forward`.
    let mut envoy = start_envoy(&directory, &envoy, &[backend.port, behind.port]);
    let mut before = Peer::forward(&directory, &[envoy.port]);
    hyper_h2(&directory, &python, before.port, ENVOY_CHECKS);
    hyper_h2(&directory, &python, envoy.more_ports[0], ENVOY_CHECKS);
    for peer in [&mut behind, &mut before, &mut envoy] {
        peer.assert_alive();
    }
}

/// What suites from outside check, on the example they are run on.
#[test]
fn forward_is_a_conformant_server() {
    let Some(python) = python() else { return };
    let directory = Directory::new("interop");
    let backend = Peer::server(&directory, "h2_backend", 1, |ports| {
        let mut command = Command::new(&python);
        command
            .arg(root().join("tests/peers/h2_backend.py"))
            .arg(ports[0].to_string());
        command
    });
    let mut forward = Peer::forward(&directory, &[backend.port]);
    let mut cases = h2_server_cases::all();
    // It allows more streams than that, and this backend's answers to HEAD have content.
    cases.retain(|case| !case.name.starts_with("5.1.2") && case.name != "8 HEAD");
    let (_, faults) = serve_cases(forward.port, &cases);
    assert!(faults.is_empty(), "{faults}");
    assert_openings_are_refused(forward.port);
    forward.assert_alive();
}
