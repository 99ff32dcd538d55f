//! What is wrong with a response is said wherever one looks: all of it in its NACK, in the log once, in the dumps of the
//! admin endpoint and in the counter of the type; and what is good in it takes effect.

use e2e::dynamic::{CLUSTER, ENDPOINTS, LISTENER, ROUTES, cluster, endpoints, listener, routes, set_mesh, start};
use e2e::proxy::{Kind, Proxy};
use serde_json::Value;
use testkit::backend::Backend;
use testkit::http1::Client;
use testkit::{Directory, ManagementServer, ports, wait_until};

/// The faults of [`bad_clusters`], with the resource and the field of each.
const FAULTS: [&str; 4] = [
    "Cluster \"bad-1\": cluster_type: is not supported: only the types of the field type are known",
    "connect_timeout: is -1s, expected a duration",
    "Cluster \"bad-2\": load_assignment.endpoints[0].lb_endpoints[1].endpoint.address",
    "connect_timeout: is 0s, expected a duration",
];

/// Clusters with faults. The mark makes them differ from others with the same faults.
fn bad_clusters(mark: &str) -> [String; 2] {
    [
        format!("name: bad-1\nalt_stat_name: {mark}\nconnect_timeout: -1s\ncluster_type: {{name: other}}\n"),
        format!(
            "name: bad-2\nalt_stat_name: {mark}\ntype: STATIC\nconnect_timeout: 0s\nload_assignment: {{cluster_name: bad-2, \
             endpoints: [{{lb_endpoints: [{{endpoint: {{address: {{pipe: {{path: /a}}}}}}}}, {{endpoint: {{address: \
             {{envoy_internal_address: {{server_listener_name: l}}}}}}}}]}}]}}\n"
        ),
    ]
}

fn json(proxy: &Proxy, path: &str) -> Value {
    let answer = Client::get(proxy.admin, path).expect("the admin endpoint answers");
    serde_json::from_slice(&answer.body).expect("JSON")
}

/// What `/config_dump` says is wrong with clusters of which there is no good value.
fn dumped_errors(proxy: &Proxy) -> String {
    let dump = json(proxy, "/config_dump?resource=dynamic_warming_clusters");
    let clusters = dump["configs"].as_array().expect("a list");
    let errors = clusters
        .iter()
        .map(|cluster| cluster["error_state"]["details"].as_str().unwrap_or_default());
    errors.collect::<Vec<_>>().join("; ")
}

fn faults_are_said(delta: bool) {
    let directory = Directory::new("faults");
    let backend = Backend::start("one");
    let (port, second) = (ports::free_port(), ports::free_port());
    let server = ManagementServer::start();
    set_mesh(&server, "1", port, backend.port());
    let proxy = start(Kind::Remora, &directory, server.port(), delta);
    let serves = || Client::get(port, "/").is_some_and(|answer| answer.status() == 200);
    wait_until(10, "traffic flows", serves);

    // Two bad clusters beside two good ones, of which one is new.
    let [one, two] = bad_clusters("first");
    server.set(
        ENDPOINTS,
        "2",
        &[endpoints("one", backend.port()), endpoints("two", backend.port())],
    );
    server.set(CLUSTER, "2", &[cluster("one", "1s"), one, cluster("two", "1s"), two]);
    let rejected = || proxy.stat("cluster_manager.cds.update_rejected");
    wait_until(10, "the clusters are refused", || rejected() == 1);
    let mut refusals = Vec::new();
    wait_until(10, "the server is told", || {
        refusals.extend(server.refusals());
        !refusals.is_empty()
    });
    let [nack] = &*refusals else {
        panic!("one response has one NACK: {refusals:#?}")
    };
    let log = proxy.process.errors();
    for fault in FAULTS {
        assert!(nack.contains(fault), "{fault} is not in {nack}");
        assert!(log.contains(fault), "{fault} is not in {log}");
    }
    // Each with the name of its resource, as in the NACK.
    let dumped = dumped_errors(&proxy);
    let init = json(&proxy, "/init_dump?mask=cluster")
        .to_string()
        .replace('\\', "")
        .replace("refused: ", "");
    for fault in FAULTS {
        assert!(dumped.contains(fault), "{fault} is not in {dumped}");
        assert!(init.contains(fault), "{fault} is not in {init}");
    }
    wait_until(10, "the new cluster is there", || {
        proxy.stat("cluster_manager.active_clusters") == 3
    });
    assert!(serves());

    // The same faults again are another NACK, and no other line of the log.
    let [one, two] = bad_clusters("again");
    server.set(CLUSTER, "3", &[cluster("one", "1s"), one, cluster("two", "1s"), two]);
    wait_until(10, "the clusters are refused again", || rejected() == 2);
    wait_until(10, "the server is told again", || {
        refusals.extend(server.refusals());
        refusals.len() == 2
    });
    assert_eq!(refusals[0], refusals[1]);
    assert_eq!(proxy.process.errors().matches(FAULTS[1]).count(), 1);

    // A new listener whose routes cannot be had does not wait for them, as in Envoy; why there are none is said.
    let bad = "name: broken\nvirtual_hosts: []\nvhds: {config_source: {ads: {}}}\n".to_owned();
    server.set(ROUTES, "4", &[routes("table", "one"), bad]);
    server.set(
        LISTENER,
        "4",
        &[listener("in", port, "table"), listener("in-2", second, "broken")],
    );
    let why = "RouteConfiguration \"broken\": refused: vhds: is not supported: virtual hosts cannot be discovered one by one \
               (VHDS)";
    wait_until(10, "the routes are refused", || {
        let dump = json(&proxy, "/init_dump?mask=route");
        dump["unready_targets_dumps"][0]["target_names"][0] == why
    });
    wait_until(10, "the listener is there", || {
        std::net::TcpStream::connect(("127.0.0.1", second)).is_ok()
    });
    assert_eq!(Client::get(second, "/").map(|answer| answer.status()), Some(404));
    assert_eq!(proxy.stat("http.in-2.rds.broken.update_rejected"), 1);
    assert!(serves());
}

#[test]
fn faults_in_the_state_of_the_world_are_all_said_and_what_is_good_takes_effect() {
    faults_are_said(false);
}

#[test]
fn faults_in_a_delta_are_all_said_and_what_is_good_takes_effect() {
    faults_are_said(true);
}
