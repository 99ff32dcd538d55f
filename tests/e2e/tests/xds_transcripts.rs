//! What a management server is asked and told: by remora as by Envoy, where the protocol leaves no choice.

use e2e::dynamic::{CLUSTER, ENDPOINTS, LISTENER, ROUTES, cluster, endpoints, listener, routes, set_mesh, start};
use e2e::proxy::Kind;
use testkit::backend::Backend;
use testkit::http1::Client;
use testkit::{Directory, ManagementServer, ports, wait_until};

/// A step of the script with the requests that it led to.
type Step = (&'static str, Vec<String>);

/// Drives one proxy through the script.
fn transcript(kind: Kind, delta: bool) -> Vec<Step> {
    let directory = Directory::new("transcripts");
    let backend = Backend::start("one");
    let port = ports::free_port();
    let server = ManagementServer::start();
    let (control_plane, mut steps) = (server.port(), Vec::new());
    set_mesh(&server, "1", port, backend.port());
    let proxy = start(kind, &directory, control_plane, delta);
    wait_until(10, "traffic flows", || {
        Client::get(port, "/").is_some_and(|answer| answer.status() == 200)
    });
    let mut said = |server: &ManagementServer, step: &'static str, last: &str| {
        let mut lines = Vec::new();
        wait_until(
            10,
            &format!("{} says {last:?} in {step}: {lines:?}", kind.name()),
            || {
                lines.extend(server.transcript());
                lines.iter().any(|line: &String| line.starts_with(last))
            },
        );
        steps.push((step, lines));
    };
    said(&server, "initial", "RouteConfiguration ACK");

    server.set(CLUSTER, "2", &[cluster("one", "2s"), cluster("two", "1s")]);
    server.set(
        ENDPOINTS,
        "2",
        &[endpoints("one", backend.port()), endpoints("two", backend.port())],
    );
    said(&server, "a second cluster", "ClusterLoadAssignment ACK");
    wait_until(10, "the second cluster is there", || {
        proxy.stat("cluster_manager.active_clusters") == 3
    });
    drop(server.transcript());

    server.set(ROUTES, "3", &[routes("table", "two")]);
    said(&server, "other routes", "RouteConfiguration ACK");

    let bad = "name: bad\ntype: EDS\nconnect_timeout: -1s\n".to_owned();
    server.set(CLUSTER, "4", &[cluster("one", "2s"), cluster("two", "1s"), bad]);
    said(&server, "a bad cluster", "Cluster NACK");

    server.set(CLUSTER, "5", &[cluster("two", "1s")]);
    said(&server, "the first cluster is gone", "ClusterLoadAssignment ");

    server.set(
        LISTENER,
        "6",
        &[
            listener("in", port, "table"),
            listener("in-2", ports::free_port(), "table-2"),
        ],
    );
    server.set(ROUTES, "6", &[routes("table", "two"), routes("table-2", "two")]);
    said(&server, "a second listener", "RouteConfiguration ACK");

    drop(server);
    let server = ManagementServer::at(control_plane);
    server.set(CLUSTER, "5", &[cluster("two", "1s")]);
    server.set(ENDPOINTS, "2", &[endpoints("two", backend.port())]);
    said(&server, "a new stream", "RouteConfiguration ");
    assert!(Client::get(port, "/").is_some_and(|answer| answer.status() == 200));
    steps
}

/// One type's requests: between types a proxy is free to be early or late.
fn of_type(lines: &[String], of: &str) -> Vec<String> {
    lines
        .iter()
        .filter(|line| line.split(' ').next() == Some(of))
        .cloned()
        .collect()
}

#[test]
fn print_transcripts() {
    for delta in [false, true] {
        for kind in [Kind::Envoy, Kind::Remora] {
            for (step, lines) in transcript(kind, delta) {
                println!("== {} delta {delta} {step}", kind.name());
                for of in ["Cluster", "ClusterLoadAssignment", "Listener", "RouteConfiguration"] {
                    for line in of_type(&lines, of) {
                        println!("   {line}");
                    }
                }
            }
        }
    }
}

#[test]
fn loads_are_reported_as_envoy_reports_them() {
    for kind in [Kind::Envoy, Kind::Remora] {
        let directory = Directory::new("loads");
        let backend = Backend::start("one");
        let port = ports::free_port();
        let server = ManagementServer::start();
        set_mesh(&server, "1", port, backend.port());
        let _proxy = start(kind, &directory, server.port(), true);
        wait_until(10, "traffic flows", || {
            Client::get(port, "/").is_some_and(|answer| answer.status() == 200)
        });
        for report in server.load_reports() {
            println!("{} {report:?}", kind.name());
        }
        for _ in 0..5 {
            let _ = Client::get(port, "/");
        }
        std::thread::sleep(std::time::Duration::from_millis(700));
        for report in server.load_reports() {
            println!("{} {report:?}", kind.name());
        }
    }
}
