//! Mixed load, good and bad, while endpoints come and go: memory stays flat, and nothing that is counted as active is
//! left when everybody has gone. A few seconds in every run; `make soak` for as long as is wanted.

#[path = "soak/load.rs"]
mod load;

use std::process::Command;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::{Duration, Instant};

use e2e::dynamic::{self, CLUSTER, ENDPOINTS, LISTENER, ROUTES};
use e2e::proxy::{Kind, Proxy};
use load::{KINDS, Load};
use testkit::backend::Backend;
use testkit::http1::Client;
use testkit::{Directory, ManagementServer, Process, peers, ports, wait};

/// The load comes in rounds; memory is looked at between them, when nobody calls.
const ROUNDS: u32 = 5;
/// After this many the allocator has what it needs.
const WARM: usize = 2;

/// What memory may grow by between the warm rounds and the last: noise of the allocator, in percent and in KiB. In a
/// short run the allocator has not met everything at once yet.
const SLACK_PERCENT: u64 = 10;
const SLACK_KIB: u64 = 4 * 1024;
const SLACK_OF_SHORT_RUNS_KIB: u64 = 16 * 1024;
const SHORT_SECONDS: u64 = 60;

/// Between two updates of endpoints.
const CHURN: Duration = Duration::from_millis(100);

fn seconds() -> u64 {
    std::env::var("SOAK_SECONDS")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(5)
}

/// Proportional set size in KiB.
fn memory(process: u32) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/{process}/smaps_rollup")).expect("it runs");
    let line = text
        .lines()
        .find(|line| line.starts_with("Pss:"))
        .expect("Linux says so");
    line.split_whitespace()
        .nth(1)
        .and_then(|number| number.parse().ok())
        .expect("a number")
}

/// An endpoint in a process of its own, which can be killed.
struct Endpoint {
    process: Process,
    port: u16,
}

impl Endpoint {
    fn start(directory: &Directory) -> Self {
        let port = ports::free_port();
        let mut command = Command::new(peers::binary("bench-backend"));
        command.args(["--listen", &format!("127.0.0.1:{port}")]);
        let process = Process::start(&format!("endpoint-{port}"), directory, &mut command);
        wait::wait_for_port(port);
        Self { process, port }
    }
}

/// A mesh whose endpoints change.
struct Mesh {
    server: ManagementServer,
    http1: [Backend; 2],
    http2: Vec<Endpoint>,
    version: u64,
    kills: u64,
}

impl Mesh {
    fn start(directory: &Directory, listener: u16) -> Self {
        let mesh = Self {
            server: ManagementServer::start(),
            http1: [Backend::start("one"), Backend::start("two")],
            http2: vec![Endpoint::start(directory), Endpoint::start(directory)],
            version: 0,
            kills: 0,
        };
        let http2 = "typed_extension_protocol_options:\n  envoy.extensions.upstreams.http.v3.HttpProtocolOptions:\n    \
             '@type': type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions\n    \
             explicit_http_config: {http2_protocol_options: {}}\n";
        let clusters = [dynamic::cluster("http1", "1s"), dynamic::cluster("http2", "1s") + http2];
        mesh.server.set(CLUSTER, "1", &clusters);
        mesh.server
            .set(LISTENER, "1", &[dynamic::listener("soak", listener, "table")]);
        mesh.server.set(
            ROUTES,
            "1",
            &[
                "name: table\nvirtual_hosts: [{name: all, domains: ['*'], routes: [{match: {prefix: /bench.Bench}, \
               route: {cluster: http2, timeout: 10s}}, {match: {prefix: /}, route: {cluster: http1, timeout: 10s}}]}]\n"
                    .to_owned(),
            ],
        );
        mesh
    }

    /// Says which endpoints there are.
    fn set(&mut self, http1: &[u16], http2: &[u16]) {
        self.version += 1;
        let named = [assignment("http1", http1), assignment("http2", http2)];
        self.server.set(ENDPOINTS, &self.version.to_string(), &named);
    }

    /// Another set of endpoints; every tenth time one is killed and another begins.
    fn churn(&mut self, directory: &Directory) {
        let http1 = self.http1.each_ref().map(Backend::port);
        if self.version % 10 == 9 {
            let mut killed = self.http2.remove(0);
            killed.process.kill();
            self.http2.push(Endpoint::start(directory));
            self.kills += 1;
        }
        let http2: Vec<u16> = self.http2.iter().map(|endpoint| endpoint.port).collect();
        match self.version % 3 {
            0 => self.set(&http1, &http2),
            1 => self.set(&http1[..1], &http2),
            _ => self.set(&http1, &http2[1..]),
        }
    }
}

fn assignment(cluster: &str, ports: &[u16]) -> String {
    let endpoints: Vec<String> = ports
        .iter()
        .map(|port| {
            format!("{{endpoint: {{address: {{socket_address: {{address: 127.0.0.1, port_value: {port}}}}}}}}}")
        })
        .collect();
    format!(
        "cluster_name: {cluster}\nendpoints: [{{locality: {{zone: z}}, lb_endpoints: [{}]}}]\n",
        endpoints.join(", ")
    )
}

/// Gauges of what is active that are not 0. The way to the control plane stays.
fn active(proxy: &Proxy) -> Vec<String> {
    let Some(answer) = Client::get(proxy.admin, "/stats") else {
        return vec!["no answer".to_owned()];
    };
    String::from_utf8_lossy(&answer.body)
        .lines()
        .filter(|line| {
            line.split_once(": ").is_some_and(|(name, value)| {
                name.ends_with("_active")
                    && value != "0"
                    && !name.starts_with("cluster.control-plane.")
                    && !name.starts_with("http.admin.")
                    && !name.starts_with("listener.admin.")
                    && !name.starts_with("listener_manager.")
            })
        })
        .map(ToOwned::to_owned)
        .collect()
}

/// Waits until nothing is active, then until memory is what it was a moment before, and returns it.
fn settle(proxy: &Proxy) -> u64 {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        let active = active(proxy);
        if active.is_empty() {
            break;
        }
        assert!(Instant::now() < deadline, "still active: {active:?}");
        thread::sleep(Duration::from_millis(50));
    }
    let (mut last, mut same) = (0, 0);
    let deadline = Instant::now() + Duration::from_secs(5);
    while same < 3 && Instant::now() < deadline {
        thread::sleep(Duration::from_millis(200));
        let now = memory(proxy.process.id());
        same = if now == last { same + 1 } else { 0 };
        last = now;
    }
    last
}

#[test]
#[allow(clippy::print_stderr, reason = "a long run tells how far it is")]
fn memory_stays_flat_and_nothing_stays_active_under_mixed_load() {
    let directory = Directory::new("soak");
    let listener = ports::free_port();
    let mut mesh = Mesh::start(&directory, listener);
    mesh.churn(&directory);
    let mut proxy = dynamic::start(Kind::Remora, &directory, mesh.server.port(), false);
    wait::wait_for_port(listener);
    load::set_port(listener);
    let round = Duration::from_secs(seconds()) / ROUNDS;
    let mut memories = Vec::new();
    let mut totals = [(0, 0); KINDS.len()];
    for number in 1..=ROUNDS {
        let load = Load::default();
        thread::scope(|scope| {
            for (kind, (_, call)) in KINDS.iter().enumerate() {
                let load = &load;
                scope.spawn(move || call(load, kind));
            }
            let end = Instant::now() + round;
            while Instant::now() < end {
                mesh.churn(&directory);
                proxy.process.expect_running();
                thread::sleep(CHURN.min(end.saturating_duration_since(Instant::now())));
            }
            load.stop();
        });
        // Connections to endpoints that are gone end; callers of them have gone before.
        mesh.set(&[], &[]);
        let held = settle(&proxy);
        memories.push(held);
        for (kind, total) in totals.iter_mut().enumerate() {
            total.0 += load.answered[kind].load(Ordering::Relaxed);
            total.1 += load.failed[kind].load(Ordering::Relaxed);
        }
        eprintln!(
            "round {number} of {ROUNDS}: {held} KiB held, {} endpoints killed",
            mesh.kills
        );
        mesh.churn(&directory);
    }
    for ((name, _), (answered, failed)) in KINDS.iter().zip(totals) {
        eprintln!("{name}: {answered} answered, {failed} failed");
        assert!(answered > 0, "{name}: nothing was answered");
        assert!(
            answered * 4 > failed,
            "{name}: {failed} of {} failed",
            answered + failed
        );
    }
    assert!(mesh.version > 5);
    let (warm, last) = (
        memories[..WARM].iter().copied().max().unwrap_or(0),
        memories[memories.len() - 1],
    );
    let slack = if seconds() < SHORT_SECONDS {
        SLACK_OF_SHORT_RUNS_KIB
    } else {
        SLACK_KIB
    };
    assert!(
        last <= warm + warm * SLACK_PERCENT / 100 + slack,
        "memory grows: {memories:?} KiB after each round"
    );
    proxy.process.expect_running();
}
