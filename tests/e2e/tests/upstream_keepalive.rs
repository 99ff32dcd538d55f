//! Keepalive of the system on connections to endpoints, beside Envoy's.

use std::fmt::Write as _;

use e2e::proxy::{Kind, Proxy};
use testkit::backend::Backend;
use testkit::http1::Client;
use testkit::{Directory, ports};

/// When the system next asks the endpoints at `port` whether they are still there, in seconds, of each connection to it;
/// `None` if it never does (proc(5), /proc/net/tcp: a timer of kind 2 is that of keepalive).
fn keepalive_timers(port: u16) -> Vec<Option<u64>> {
    let table = std::fs::read_to_string("/proc/net/tcp").expect("Linux says so");
    let remote = format!(":{port:04X}");
    let lines = table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    let connected = lines.filter(|words| words.len() > 5 && words[2].ends_with(&remote) && words[3] == "01");
    connected
        .map(|words| {
            let (kind, ticks) = words[5].split_once(':').expect("a kind and a time");
            let ticks = u64::from_str_radix(ticks, 16).expect("a number");
            (kind == "02").then_some(ticks / 100)
        })
        .collect()
}

#[test]
fn the_system_asks_after_endpoints_as_often_as_under_envoy() {
    let directory = Directory::new("keepalive");
    let options = [
        "",
        "upstream_connection_options: {tcp_keepalive: {}}, ",
        "upstream_connection_options: {tcp_keepalive: {keepalive_time: 30, keepalive_interval: 5, keepalive_probes: 4}}, ",
    ];
    let [envoy, remora] = [Kind::Envoy, Kind::Remora].map(|kind| {
        let backends = options.map(|_| Backend::start("backend"));
        let (mut routes, mut clusters) = (String::new(), String::new());
        for (at, (backend, options)) in backends.iter().zip(options).enumerate() {
            let _ = writeln!(routes, "              - {{match: {{prefix: /{at}/}}, route: {{cluster: c{at}}}}}");
            let _ = writeln!(
                clusters,
                "  - {{name: c{at}, type: STATIC, connect_timeout: 1s, {options}load_assignment: {{cluster_name: x, endpoints: \
                 [{{lb_endpoints: [{{endpoint: {{address: {{socket_address: {{address: 127.0.0.1, port_value: {}}}}}}}}}]}}]}}}}",
                backend.port()
            );
        }
        let listener = ports::free_port();
        let bootstrap = include_str!("../src/clusters.yaml")
            .replace("{listener}", &listener.to_string())
            .replace("{routes}", &routes)
            .replace("{clusters}", &clusters);
        let _proxy = Proxy::start(kind, &directory, kind.name(), &bootstrap);
        let mut client = Client::connect(listener);
        backends
            .iter()
            .enumerate()
            .map(|(at, backend)| {
                assert!(client.send(format!("GET /{at}/ HTTP/1.1\r\nhost: h\r\n\r\n").as_bytes()));
                assert_eq!(client.response("GET").expect("an answer").status(), 200);
                let timers = keepalive_timers(backend.port());
                assert_eq!(timers.len(), 1, "{kind:?} {at}");
                // Some of the time has passed.
                timers[0].map(|seconds| seconds.div_ceil(15) * 15)
            })
            .collect::<Vec<_>>()
    });
    assert_eq!(envoy, remora);
    assert_eq!(remora[2], Some(30));
}
