//! Requests that are tried again, under remora and under Envoy: answers, what the backend saw, access logs, statistics.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::{Duration, Instant};

use e2e::differential::{Known, Ports, Side, compare};
use e2e::proxy::{Kind, Proxy};
use serde_json::{Value, json};
use testkit::backend::Backend;
use testkit::http1::Client;
use testkit::{Directory, ports};

const TRAILERS: &str =
    "a gRPC status in trailers that come with the head is as good a reason to try again as one in it";
const PUSHBACK: &str = "a server that pushes back is heard (gRFC A6)";

/// Where remora differs from Envoy, callers.
const KNOWN: &[Known] = &[
    Known {
        names: &["grpc trail14 once", "grpc trail14 twice"],
        reason: TRAILERS,
    },
    Known {
        names: &["grpc nopushback"],
        reason: PUSHBACK,
    },
];

/// The same, what the backend saw.
const KNOWN_BACKEND: &[Known] = &[
    KNOWN[0],
    KNOWN[1],
    Known {
        names: &[
            "mirror",
            "mirror with a body",
            "mirror by header",
            "mirror by no header",
            "mirror by a header of nothing",
        ],
        reason: "a copy has the x-forwarded-for of the original: the proxy is no client of its own",
    },
];

/// Name, path and more of each exchange. The names are the cases the backend counts by.
fn exchanges() -> Value {
    let grpc = json!([["content-type", "application/grpc"], ["te", "trailers"]]);
    let mut list = Vec::new();
    for (name, path) in [
        ("5xx once", "/5xx/fail-1-503"),
        ("5xx three times", "/5xx/fail-3-500"),
        ("5xx too often", "/5xx/fail-9-502"),
        ("5xx reset", "/5xx/fail-2-reset2"),
        ("5xx hang is not asked", "/5xx/fail-0-503"),
        ("5xx 429", "/5xx/fail-1-429"),
        ("gateway 500", "/gateway/fail-1-500"),
        ("gateway 504", "/gateway/fail-1-504"),
        ("gateway 504 twice", "/gateway/fail-2-504"),
        ("reset", "/reset/fail-1-reset2"),
        ("reset 503", "/reset/fail-1-503"),
        ("reset too often", "/reset/fail-3-reset11"),
        ("reset on refused-stream", "/refused/fail-1-reset2"),
        ("before request", "/before/fail-1-reset2"),
        ("dead", "/dead/x"),
        ("dead before request", "/dead-before/x"),
        ("empty", "/empty/x"),
        ("refused once", "/refused/fail-1-reset7"),
        ("refused too often", "/refused/fail-5-reset7"),
        ("codes", "/codes/fail-2-418"),
        ("codes others", "/codes/fail-1-503"),
        ("headers", "/headers/fail-1-404"),
        ("some without", "/some/fail-1-503"),
        ("4xx of the virtual host", "/else/fail-1-409"),
        ("4xx twice", "/else/fail-2-409"),
        ("limited", "/limited/fail-1-limited"),
        ("try once", "/try/fail-1-hang"),
        ("try too often", "/try/fail-5-hang"),
        ("try idle", "/try-idle/fail-1-hang"),
        ("try idle too often", "/try-idle/fail-5-hang"),
        ("try not", "/try-not/fail-1-hang"),
        ("hedge once", "/hedge/fail-1-hang"),
        ("hedge too often", "/hedge/fail-9-hang"),
        ("hedge not", "/hedge/fail-1-503"),
        ("no permit", "/no-permit/fail-1-503"),
        ("no permit reset", "/no-permit/fail-1-reset2"),
        ("timeout while waiting", "/while-waiting/fail-1-503"),
        ("stream", "/stream/hang"),
        ("try stream", "/try-stream/fail-1-hang"),
        ("try stream too often", "/try-stream/fail-5-hang"),
    ] {
        list.push(json!({"name": name, "path": path}));
    }
    for (name, path) in [("mirror", "/mirror/echo"), ("mirror of nothing", "/mirror-dead/echo")] {
        list.push(json!({"name": name, "path": path}));
    }
    for (name, cluster) in [
        ("mirror by header", "copies"),
        ("mirror by no header", ""),
        ("mirror by a header of nothing", "nosuch"),
    ] {
        let headers = if cluster.is_empty() {
            json!([])
        } else {
            json!([["x-copy-to", cluster]])
        };
        list.push(json!({"name": name, "path": "/mirror-more/echo", "headers": headers}));
    }
    let mut post = |name: &str, path: &str, headers: &Value, length: usize| {
        list.push(json!({"name": name, "method": "POST", "path": path, "headers": headers, "body_length": length}));
    };
    let none = json!([]);
    post("a body again", "/5xx/fail-2-503", &none, 100_000);
    post("a body again after a reset", "/5xx/fail-2-reset2", &none, 30_000);
    post("a body within the limit", "/buffer/fail-1-503", &none, 1000);
    post("a body over the limit", "/buffer/fail-1-503", &none, 1001);
    post("a body that hangs", "/try/fail-1-hang", &none, 20_000);
    post("mirror with a body", "/mirror/echo", &none, 30_000);
    post("some with", "/some/fail-1-503", &json!([["x-idempotent", "1"]]), 10);
    for (name, path) in [
        ("istio grpc14 twice", "/istio/fail-2-grpc14"),
        ("istio grpc14 too often", "/istio/fail-3-grpc14"),
        ("istio grpc13", "/istio/fail-1-grpc13"),
        ("istio 503", "/istio/fail-1-503"),
        ("istio 500", "/istio/fail-1-500"),
        ("istio refused", "/istio/fail-2-reset7"),
        ("grpc trail14 twice", "/better/fail-2-trail14"),
        ("istio reset", "/istio/fail-1-reset2"),
        ("istio echo", "/istio/echo"),
        ("grpc 1", "/grpc/fail-1-grpc1"),
        ("grpc 2", "/grpc/fail-1-grpc2"),
        ("grpc 4", "/grpc/fail-1-grpc4"),
        ("grpc 8", "/grpc/fail-1-grpc8"),
        ("grpc 13", "/grpc/fail-1-grpc13"),
        ("grpc 14 twice", "/grpc/fail-2-grpc14"),
        ("grpc trail14 once", "/better/fail-1-trail14"),
        ("grpc trail5", "/grpc/fail-1-trail5"),
        ("grpc rest14", "/grpc/fail-1-rest14"),
        ("grpc pushback", "/better/fail-1-pushback"),
        ("grpc nopushback", "/better/fail-1-nopushback"),
        ("grpc dead", "/dead/x"),
        ("grpc try too often", "/try/fail-5-hang"),
        ("grpc stream", "/stream/hang"),
        ("grpc stream without header", "/stream-grpc/echo"),
    ] {
        post(name, path, &grpc, 6);
    }
    for (name, path, timeout) in [
        ("grpc stream honoured", "/stream-grpc/hang", "200m"),
        ("grpc stream capped", "/stream-grpc/hang", "5S"),
        ("grpc stream in time", "/stream-grpc/echo", "5S"),
        ("max grpc capped", "/max-grpc/hang", "5S"),
        ("max grpc honoured", "/max-grpc/hang", "200m"),
        ("max grpc in time", "/max-grpc/echo", "5S"),
        ("max grpc odd", "/max-grpc/echo", "soon"),
    ] {
        let headers = json!([
            ["content-type", "application/grpc"],
            ["te", "trailers"],
            ["grpc-timeout", timeout]
        ]);
        post(name, path, &headers, 6);
    }
    Value::from(list)
}

fn bootstrap(ports: &Ports) -> String {
    include_str!("../src/retries.yaml")
        .replace("{listener}", &ports.listener.to_string())
        .replace("{http2}", &ports.http2.to_string())
}

/// Statistics that tell of retries, by cluster.
const STATS: &[&str] = &[
    "retry_or_shadow_abandoned",
    "upstream_rq_retry",
    "upstream_rq_retry_success",
    "upstream_rq_retry_overflow",
    "upstream_rq_retry_limit_exceeded",
    "upstream_rq_retry_backoff_exponential",
    "upstream_rq_retry_backoff_ratelimited",
    "upstream_rq_per_try_timeout",
    "upstream_rq_per_try_idle_timeout",
    "upstream_rq_max_duration_reached",
    "upstream_rq_timeout",
    "upstream_rq_completed",
    "upstream_rq_active",
    "upstream_rq_total",
    "upstream_rq_2xx",
    "upstream_rq_503",
    "upstream_rq_504",
    "upstream_rq_5xx",
    "upstream_rq_rx_reset",
    "upstream_rq_tx_reset",
];

/// What the backend saw, in an order of its own and without what time and chance decide.
fn normal(line: &str) -> String {
    let mut streams: Vec<String> = line
        .split_inclusive(';')
        .map(|stream| {
            // A stream that the proxy gives up is cancelled (RFC 9113 section 7), to Envoy an internal error.
            let stream = stream.replace("\"reset\":2", "\"reset\":8");
            let Some((before, rest)) = stream.split_once("expected-rq-timeout-ms: ") else {
                return stream;
            };
            let digits = rest.find('"').unwrap_or(0);
            // A retry is told what is left: rounded, as it is a matter of milliseconds, or of a random pause.
            let left = match rest[..digits].parse::<u32>().unwrap_or(0) {
                10_000.. => 15_000,
                left => left.div_ceil(150) * 150,
            };
            format!("{before}expected-rq-timeout-ms: {left}{}", &rest[digits..])
        })
        .collect();
    streams.sort();
    streams.concat()
}

#[test]
fn requests_are_tried_again_as_under_envoy() {
    let directory = Directory::new("retries");
    let sides = [Kind::Envoy, Kind::Remora].map(|kind| Side::start(kind, &directory, bootstrap));
    let answers = std::thread::scope(|scope| {
        sides
            .each_ref()
            .map(|side| scope.spawn(move || side.call_http2(&exchanges())))
            .map(|thread| thread.join().expect("a side is observed"))
    });
    let names = exchanges();
    let asked = names.as_array().map_or(0, Vec::len);
    assert_eq!(answers[0].len(), asked, "Envoy answered all: {:?}", answers[0].keys());
    let seen = sides.each_ref().map(|side| {
        let seen = side.http2_seen();
        seen.into_iter().map(|(name, line)| (name, normal(&line))).collect()
    });
    let read = || {
        sides.each_ref().map(|side| {
            let mut stats = BTreeMap::new();
            for cluster in ["backend", "dead", "no-retries", "short-streams", "copies"] {
                for name in STATS {
                    let name = format!("cluster.{cluster}.{name}");
                    stats.insert(name.clone(), side.proxy.stat(&name).to_string());
                }
            }
            stats
        })
    };
    // An attempt nobody waits for any more ends a moment after its caller saw the answer.
    let mut stats = read();
    let settling = Instant::now();
    while stats[0] != stats[1] && settling.elapsed() < Duration::from_secs(5) {
        stats = read();
    }
    let logs = sides.map(|side| {
        let mut lines: BTreeMap<String, String> = BTreeMap::new();
        for line in side.proxy.end().lines().filter(|line| line.starts_with("LOG ")) {
            let words: Vec<&str> = line.splitn(9, ' ').collect();
            // Why the connection was refused is in our log.
            let line = words[1..8]
                .join(" ")
                .replace("|delayed_connect_error:_Connection_refused", "");
            lines.insert(words[8].to_owned(), line);
        }
        lines
    });
    let faults: Vec<String> = [
        ("callers", &answers[0], &answers[1], KNOWN),
        ("backend", &seen[0], &seen[1], KNOWN_BACKEND),
        ("access logs", &logs[0], &logs[1], KNOWN),
        ("statistics", &stats[0], &stats[1], &[][..]),
    ]
    .into_iter()
    .filter_map(|(what, envoy, remora, known)| compare(what, envoy, remora, known).err())
    .collect();
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

/// How often a request may be tried again in [`priorities`].
const MOST_RETRIES: usize = 8;

/// Clusters of three priorities whose endpoints all refuse connections (each on a port of its own): what is configured of
/// each priority's endpoint.
const LEVELS: &[(&str, [&str; 3])] = &[
    ("healthy", ["", "", ""]),
    ("second-unhealthy", ["", "health_status: UNHEALTHY, ", ""]),
    (
        "last-degraded",
        ["", "health_status: UNHEALTHY, ", "health_status: DEGRADED, "],
    ),
];

/// A route for each cluster, each frequency of updates and each number of retries.
fn priorities(listener: u16) -> String {
    let (mut routes, mut clusters) = (String::new(), String::new());
    for (cluster, levels) in LEVELS {
        for frequency in 0..=2 {
            for retries in 0..=MOST_RETRIES {
                let priority = match frequency {
                    0 => String::new(),
                    _ => format!(
                        ", retry_priority: {{name: p, typed_config: {{'@type': type.googleapis.com/envoy.extensions.retry.\
                         priority.previous_priorities.v3.PreviousPrioritiesConfig, update_frequency: {frequency}}}}}"
                    ),
                };
                let _ = writeln!(
                    routes,
                    "              - {{match: {{path: /{cluster}/{frequency}/{retries}}}, route: {{cluster: {cluster}, \
                     retry_policy: {{retry_on: connect-failure, num_retries: {retries}, retry_back_off: {{base_interval: \
                     0.001s}}{priority}}}}}}}"
                );
            }
        }
        let endpoints: Vec<String> = levels
            .iter()
            .enumerate()
            .map(|(at, more)| {
                format!(
                    "{{priority: {at}, lb_endpoints: [{{{more}endpoint: {{address: {{socket_address: {{address: 127.0.0.1, \
                     port_value: {}}}}}}}}}]}}",
                    at + 1
                )
            })
            .collect();
        let _ = writeln!(
            clusters,
            "  - {{name: {cluster}, type: STATIC, connect_timeout: 1s, load_assignment: {{cluster_name: x, endpoints: [{}]}}}}",
            endpoints.join(", ")
        );
    }
    include_str!("../src/clusters.yaml")
        .replace("{listener}", &listener.to_string())
        .replace("{routes}", &routes)
        .replace("{clusters}", &clusters)
        .replace(
            "stat_prefix:",
            "access_log: [{name: l, typed_config: {'@type': type.googleapis.com/envoy.extensions.access_loggers.stream.v3.\
             StdoutAccessLog, log_format: {text_format_source: {inline_string: \"LOG %REQ(:PATH)% %UPSTREAM_HOST% \
             %UPSTREAM_REQUEST_ATTEMPT_COUNT% %RESPONSE_FLAGS%\\n\"}}}}]\n          stat_prefix:",
        )
}

#[test]
fn retries_leave_the_priorities_alone_that_were_tried() {
    let directory = Directory::new("retry-priorities");
    let [envoy, remora] = [Kind::Envoy, Kind::Remora].map(|kind| {
        let listener = ports::free_port();
        let proxy = Proxy::start(kind, &directory, kind.name(), &priorities(listener));
        let mut client = Client::connect(listener);
        for (cluster, _) in LEVELS {
            for frequency in 0..=2 {
                for retries in 0..=MOST_RETRIES {
                    let request = format!("GET /{cluster}/{frequency}/{retries} HTTP/1.1\r\nhost: h\r\n\r\n");
                    assert!(client.send(request.as_bytes()));
                    assert_eq!(client.response("GET").expect("an answer").status(), 503);
                }
            }
        }
        let output = proxy.end();
        let lines = output
            .lines()
            .filter_map(|line| line.strip_prefix("LOG ")?.split_once(' '));
        lines
            .map(|(path, line)| (path.to_owned(), line.to_owned()))
            .collect::<BTreeMap<_, _>>()
    });
    assert_eq!(envoy.len(), LEVELS.len() * 3 * (MOST_RETRIES + 1), "{envoy:?}");
    compare("last tries", &envoy, &remora, &[]).unwrap_or_else(|faults| panic!("{faults}"));
    for (case, host) in [("/healthy/0/8", 1), ("/healthy/1/1", 2), ("/healthy/2/4", 3)] {
        assert!(
            envoy[case].starts_with(&format!("127.0.0.1:{host} ")),
            "{case}: {}",
            envoy[case]
        );
    }
}

/// Where a budget allows something else.
const KNOWN_BUDGETS: &[Known] = &[Known {
    names: &[
        "in-flight-all 0",
        "in-flight-all 1",
        "in-flight-all 2",
        "in-flight-all 3",
        "in-flight-all 4",
        "in-flight-all 5",
        "in-flight-all 6",
        "in-flight-all 7",
    ],
    reason: "a request whose connection has ended is in flight no longer when its retry is decided on",
}];

/// Clusters by the retry budget they have.
const BUDGETS: &[(&str, &str)] = &[
    ("in-flight", "budget_percent: {value: 50}, min_retry_concurrency: 0"),
    (
        "in-flight-all",
        "budget_percent: {value: 100}, min_retry_concurrency: 0",
    ),
    (
        "window",
        "budget_percent: {value: 30}, min_retry_concurrency: 0, budget_interval: 600s",
    ),
    (
        "window-least",
        "budget_percent: {value: 0}, min_retry_concurrency: 1, budget_interval: 600s",
    ),
    (
        "window-none",
        "budget_percent: {value: 0}, min_retry_concurrency: 0, budget_interval: 600s",
    ),
];

/// One request after the other, each of which fails and would be tried again: what a budget allows is told by the requests
/// in flight, or by those of an interval.
#[test]
fn a_retry_budget_allows_what_it_allows_in_envoy() {
    let directory = Directory::new("retry-budgets");
    let backend = Backend::start("backend");
    let [envoy, remora] = [Kind::Envoy, Kind::Remora].map(|kind| {
        let listener = ports::free_port();
        let (mut routes, mut clusters) = (String::new(), String::new());
        for (name, budget) in BUDGETS {
            let _ = writeln!(
                routes,
                "              - {{match: {{prefix: /{name}/}}, route: {{cluster: {name}, retry_policy: {{retry_on: reset, \
                 num_retries: 1, retry_back_off: {{base_interval: 0.001s}}}}}}}}"
            );
            let _ = writeln!(
                clusters,
                "  - {{name: {name}, type: STATIC, connect_timeout: 1s, circuit_breakers: {{thresholds: [{{retry_budget: \
                 {{{budget}}}}}]}}, load_assignment: {{cluster_name: x, endpoints: [{{lb_endpoints: [{{endpoint: {{address: \
                 {{socket_address: {{address: 127.0.0.1, port_value: {}}}}}}}}}]}}]}}}}",
                backend.port()
            );
        }
        let bootstrap = include_str!("../src/clusters.yaml")
            .replace("{listener}", &listener.to_string())
            .replace("{routes}", &routes)
            .replace("{clusters}", &clusters);
        let proxy = Proxy::start(kind, &directory, kind.name(), &bootstrap);
        let mut client = Client::connect(listener);
        let mut told = BTreeMap::new();
        for (name, _) in BUDGETS {
            for number in 0..8 {
                assert!(client.send(format!("GET /{name}/close HTTP/1.1\r\nhost: h\r\n\r\n").as_bytes()));
                assert_eq!(client.response("GET").expect("an answer").status(), 503);
                let counted = ["upstream_rq_retry", "upstream_rq_retry_overflow"]
                    .map(|stat| proxy.stat(&format!("cluster.{name}.{stat}")).to_string());
                told.insert(format!("{name} {number}"), counted.join(" "));
            }
        }
        told
    });
    compare("retries and refusals", &envoy, &remora, KNOWN_BUDGETS).unwrap_or_else(|faults| panic!("{faults}"));
    assert_ne!(
        envoy["window 7"], envoy["in-flight 7"],
        "an interval counts for something"
    );
}
