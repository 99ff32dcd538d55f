//! What a management server is asked and told: by remora as by Envoy, request by request.
//!
//! Requests of one type are compared in their order; between types a proxy is free to be early or late.
//!
//! Known differences, which the script steps around: Envoy acknowledges clusters only when they are warm, and in delta waits
//! for the endpoints of a cluster that was updated, which a server that sent them does not send again; remora acknowledges
//! what it has validated and warms from the endpoints it holds. The error of a NACK has code 3 (INVALID_ARGUMENT) where Envoy
//! sends 13 (INTERNAL), which would blame the client.

use std::time::{Duration, Instant};

use e2e::dynamic::{CLUSTER, ENDPOINTS, LISTENER, ROUTES, cluster, endpoints, listener, routes, set_mesh, start};
use e2e::proxy::Kind;
use testkit::backend::Backend;
use testkit::http1::Client;
use testkit::{Directory, ManagementServer, ports, wait_until};

/// A step of the script with the requests that it led to, by type.
type Step = (&'static str, Vec<String>);

struct Script {
    kind: Kind,
    delta: bool,
    steps: Vec<Step>,
}

impl Script {
    /// Ends a step when a line that begins so has come for each of `last`.
    fn ends(&mut self, server: &ManagementServer, step: &'static str, sotw: &[&str], delta: &[&str]) {
        let last = if self.delta { delta } else { sotw };
        let (mut lines, deadline) = (Vec::<String>::new(), Instant::now() + Duration::from_secs(10));
        while !last.iter().all(|last| lines.iter().any(|line| line.starts_with(last))) {
            assert!(
                Instant::now() < deadline,
                "{} does not say {last:?} in {step:?}, but {lines:#?}",
                self.kind.name()
            );
            std::thread::sleep(Duration::from_millis(2));
            lines.extend(server.transcript());
        }
        let mut sorted = Vec::new();
        for of in ["Cluster", "ClusterLoadAssignment", "Listener", "RouteConfiguration"] {
            sorted.extend(lines.iter().filter(|line| line.split(' ').next() == Some(of)).cloned());
        }
        self.steps.push((step, sorted));
    }
}

/// Drives one proxy through the script.
fn transcript(kind: Kind, delta: bool) -> Vec<Step> {
    let directory = Directory::new("transcripts");
    let backend = Backend::start("one");
    let (port, second) = (ports::free_port(), ports::free_port());
    let server = ManagementServer::start();
    let control_plane = server.port();
    let mut script = Script {
        kind,
        delta,
        steps: Vec::new(),
    };
    set_mesh(&server, "1", port, backend.port());
    let proxy = start(kind, &directory, control_plane, delta);
    wait_until(10, "traffic flows", || {
        Client::get(port, "/").is_some_and(|answer| answer.status() == 200)
    });
    script.ends(
        &server,
        "initial",
        &["RouteConfiguration ACK"],
        &["RouteConfiguration ACK"],
    );

    let both = [endpoints("one", backend.port()), endpoints("two", backend.port())];
    server.set(ENDPOINTS, "2", &both);
    if !delta {
        script.ends(
            &server,
            "endpoints",
            &["ClusterLoadAssignment ACK [one] version \"2\""],
            &[],
        );
    }
    server.set(CLUSTER, "3", &[cluster("one", "1s"), cluster("two", "1s")]);
    script.ends(
        &server,
        "a second cluster",
        &["Cluster ACK", "ClusterLoadAssignment ACK [one two]"],
        &[
            "Cluster ACK",
            "ClusterLoadAssignment asks +[two]",
            "ClusterLoadAssignment ACK",
        ],
    );
    wait_until(10, "the second cluster is there", || {
        proxy.stat("cluster_manager.active_clusters") == 3
    });

    server.set(ROUTES, "4", &[routes("table", "two")]);
    script.ends(
        &server,
        "other routes",
        &["RouteConfiguration ACK"],
        &["RouteConfiguration ACK"],
    );

    let bad = "name: bad\ntype: EDS\nconnect_timeout: 1s\n".to_owned();
    server.set(CLUSTER, "5", &[cluster("one", "1s"), cluster("two", "1s"), bad]);
    wait_until(10, "the bad cluster is refused", || {
        proxy.stat("cluster_manager.cds.update_rejected") == 1
    });

    server.set(CLUSTER, "6", &[cluster("two", "1s")]);
    script.ends(
        &server,
        "a bad cluster, and then the first is gone",
        &["Cluster NACK", "Cluster ACK", "ClusterLoadAssignment ACK [two]"],
        &["Cluster NACK", "Cluster ACK", "ClusterLoadAssignment asks +[] -[one]"],
    );

    server.set(ROUTES, "7", &[routes("table", "two"), routes("table-2", "two")]);
    if !delta {
        script.ends(
            &server,
            "tables",
            &["RouteConfiguration ACK [table] version \"7\""],
            &[],
        );
    }
    let listeners = [listener("in", port, "table"), listener("in-2", second, "table-2")];
    server.set(LISTENER, "8", &listeners);
    script.ends(
        &server,
        "a second listener",
        &["Listener ACK", "RouteConfiguration ACK [table table-2]"],
        &["RouteConfiguration asks +[table-2]", "RouteConfiguration ACK"],
    );
    wait_until(10, "the second listener is there", || {
        Client::get(proxy.admin, "/listeners")
            .is_some_and(|answer| String::from_utf8_lossy(&answer.body).contains("in-2"))
    });

    unknown_clusters(&mut script, &server, &listeners);

    drop(server);
    let server = ManagementServer::at(control_plane);
    script.ends(
        &server,
        "a new stream",
        &["Cluster", "ClusterLoadAssignment", "Listener", "RouteConfiguration"],
        &["Cluster", "ClusterLoadAssignment", "Listener", "RouteConfiguration"],
    );
    assert!(Client::get(port, "/").is_some_and(|answer| answer.status() == 200));
    script.steps
}

/// Tables that name a cluster that there is not: refused where they are written into their listener, or say so.
fn unknown_clusters(script: &mut Script, server: &ManagementServer, listeners: &[String]) {
    let checked = |cluster| routes("table", cluster) + "validate_clusters: true\n";
    let other = routes("table-2", "two");
    server.set(ROUTES, "9", &[checked("nobody"), other.clone()]);
    let refused = &["RouteConfiguration NACK"];
    script.ends(server, "a checked table without its cluster", refused, refused);
    let accepted = &["RouteConfiguration ACK"];
    server.set(ROUTES, "10", &[checked("two"), other.clone()]);
    script.ends(server, "a checked table with its cluster", accepted, accepted);
    server.set(ROUTES, "11", &[routes("table", "nobody"), other.clone()]);
    script.ends(server, "a table as it comes", accepted, accepted);
    server.set(ROUTES, "12", &[routes("table", "two"), other]);
    script.ends(server, "a table with its cluster", accepted, accepted);

    let inline = |cluster: &str, more: &str| {
        let rds = "rds: {route_config_name: table, config_source: {ads: {}, resource_api_version: V3}}";
        let table = format!(
            "route_config: {{{more}virtual_hosts: [{{name: all, domains: ['*'], routes: [{{match: {{prefix: /}}, route: \
             {{cluster: {cluster}}}}}]}}]}}"
        );
        let third = listener("in-3", ports::free_port(), "table").replace(rds, &table);
        [listeners, &[third]].concat()
    };
    let cases = [
        ("13", "its own table without its cluster", "nobody", "", "Listener NACK"),
        (
            "14",
            "its own table, unchecked",
            "nobody",
            "validate_clusters: false, ",
            "Listener ACK",
        ),
        ("15", "its own table with its cluster", "two", "", "Listener ACK"),
    ];
    for (version, step, cluster, more, end) in cases {
        server.set(LISTENER, version, &inline(cluster, more));
        script.ends(server, step, &[end], &[end]);
    }
}

fn compare(delta: bool) {
    let (envoy, remora) = (transcript(Kind::Envoy, delta), transcript(Kind::Remora, delta));
    let mut found = Vec::new();
    for ((step, envoy), (_, remora)) in envoy.iter().zip(&remora) {
        if envoy != remora {
            found.push(format!("{step}:\n  envoy  {envoy:#?}\n  remora {remora:#?}"));
        }
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn a_server_of_the_state_of_the_world_is_asked_what_envoy_asks() {
    compare(false);
}

#[test]
fn a_delta_server_is_asked_what_envoy_asks() {
    compare(true);
}

/// What is reported of one cluster, added up: sent, succeeded, failed; and where.
#[derive(Debug, Default, PartialEq, Eq)]
struct Told {
    issued: u64,
    succeeded: u64,
    failed: u64,
    places: Vec<String>,
    endpoints: Vec<String>,
}

#[test]
fn loads_are_reported_as_envoy_reports_them() {
    let told = [Kind::Envoy, Kind::Remora].map(|kind| {
        let directory = Directory::new("loads");
        let backend = Backend::start("one");
        let port = ports::free_port();
        let server = ManagementServer::start();
        set_mesh(&server, "1", port, backend.port());
        let proxy = start(kind, &directory, server.port(), true);
        wait_until(10, "traffic flows", || {
            Client::get(port, "/").is_some_and(|answer| answer.status() == 200)
        });
        let mut reports = Vec::new();
        let look = |reports: &mut Vec<_>| {
            for report in server.load_reports() {
                assert!(report.node.is_some_and(|node| {
                    node.id == "dynamic"
                        && node
                            .client_features
                            .iter()
                            .any(|f| f == "envoy.lrs.supports_send_all_clusters")
                }));
                reports.extend(
                    report
                        .cluster_stats
                        .into_iter()
                        .filter(|cluster| cluster.cluster_name == "one"),
                );
            }
        };
        // Envoy counts a cluster from the first report that it is in; remora from its beginning.
        wait_until(10, "the calls before are reported", || {
            look(&mut reports);
            reports.len() >= 2
        });
        reports.clear();
        for path in ["/", "/nobody", "/", "/close", "/"] {
            assert!(Client::get(port, path).is_some());
        }
        let mut told = Told::default();
        wait_until(10, "the calls are reported", || {
            look(&mut reports);
            for cluster in reports.drain(..) {
                assert_eq!(cluster.cluster_service_name, "");
                let interval = cluster.load_report_interval.as_ref().expect("an interval");
                assert!(interval.seconds == 0 && interval.nanos > 50_000_000, "{interval:?}");
                for place in cluster.upstream_locality_stats {
                    told.issued += place.total_issued_requests;
                    told.succeeded += place.total_successful_requests;
                    told.failed += place.total_error_requests;
                    let locality = place.locality.unwrap_or_default();
                    told.places
                        .push(format!("{}/{} {}", locality.region, locality.zone, place.priority));
                    for endpoint in place.upstream_endpoint_stats {
                        let address = format!("{:?}", endpoint.address);
                        told.endpoints
                            .push(address.replace(&backend.port().to_string(), "PORT"));
                    }
                }
            }
            told.succeeded + told.failed >= 5
        });
        told.places.dedup();
        told.endpoints.dedup();
        assert_eq!(proxy.stat("load_reporter.requests"), 1, "what the server asked");
        assert!(proxy.stat("load_reporter.responses") >= 3, "what it was sent");
        told
    });
    let [envoy, remora] = &told;
    assert_eq!(envoy, remora);
    assert_eq!(remora.issued, 5);
}
