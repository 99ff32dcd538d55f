//! Requests that end early, from either side and in every phase: nothing of them may stay behind.

use e2e::differential::{Ports, Side};
use e2e::proxy::Kind;
use serde_json::{Value, json};
use testkit::http1::Client;
use testkit::{Directory, wait_until};

fn bootstrap(ports: &Ports) -> String {
    include_str!("../src/retries.yaml")
        .replace("{listener}", &ports.listener.to_string())
        .replace("{http2}", &ports.http2.to_string())
}

/// Requests that their caller gives up: as soon as they are sent, after some time, with the head of the answer, or by
/// closing the connection; to endpoints that answer, hang, refuse, fail or are not there; with and without a body.
fn storm() -> Value {
    let paths = [
        "/echo",
        "/hang",
        "/endless",
        "/dead/x",
        "/while-waiting/fail-9-503",
        "/try/fail-9-hang",
        "/hedge/fail-9-hang",
        "/5xx/fail-9-reset2",
        "/istio/fail-9-reset7",
        "/mirror/hang",
        "/mirror/endless",
        "/buffer/hang",
        "/tight/hang",
        "/tight/fail-9-503",
        "/refuse-once",
        "/goaway-once",
        "/better/fail-9-trail14",
    ];
    let cancels = [json!("sent"), json!("close"), json!("head"), json!(0.03), json!(0.2)];
    let mut list = Vec::new();
    for path in paths {
        for cancel in &cancels {
            // What never has a head can't be given up with it.
            if cancel == "head" && !["/echo", "/endless", "/mirror/endless"].contains(&path) {
                continue;
            }
            for end in [true, false] {
                let name = format!("{path} {cancel} {end}");
                let body = if end { 0 } else { 40_000 };
                list.push(json!({"name": name, "method": "POST", "path": path, "cancel": cancel, "end": end, "body_length": body}));
            }
        }
    }
    Value::from(list)
}

#[test]
fn nothing_stays_behind_of_requests_that_are_given_up() {
    let directory = Directory::new("cancels");
    let side = Side::start(Kind::Remora, &directory, bootstrap);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| side.call_http2(&storm()));
        }
    });
    let gauges = || -> Vec<String> {
        let stats = Client::get(side.proxy.admin, "/stats?type=Gauges").expect("the admin endpoint answers");
        let names = [
            "downstream_rq_active",
            "downstream_cx_active",
            "upstream_rq_active",
            "upstream_rq_pending_active",
            "http2.streams_active",
        ];
        let stats = String::from_utf8_lossy(&stats.body).into_owned();
        stats
            .lines()
            .filter(|line| names.iter().any(|name| line.contains(name)) && !line.starts_with("listener.admin"))
            .filter(|line| !line.ends_with(": 0"))
            .map(str::to_owned)
            .collect()
    };
    wait_until(10, "all gauges are back at zero", || gauges().is_empty());
    let endpoints = Client::get(side.proxy.admin, "/clusters").expect("the admin endpoint answers");
    let endpoints = String::from_utf8_lossy(&endpoints.body).into_owned();
    let active: Vec<&str> = endpoints
        .lines()
        .filter(|line| line.contains("::rq_active::") && !line.ends_with("::0"))
        .collect();
    assert!(active.is_empty(), "{active:?}");
    // One permit of each kind is all there is: were one lost, this could not be answered.
    for name in ["first", "second", "third"] {
        let once = json!([{"name": name, "path": "/tight/fail-1-503"}]);
        let answer = side.call_http2(&once);
        assert!(answer[name].contains(r#""status":"200""#), "{answer:?}");
    }
    assert_eq!(side.proxy.stat("cluster.tight.upstream_rq_retry_success"), 3);
}
