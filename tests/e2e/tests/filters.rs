//! The HTTP filters under remora and under Envoy: answers, what backends saw, access logs, statistics.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use e2e::differential::{Known, Ports, Side, compare, describe};
use e2e::proxy::Kind;
use serde_json::{Value, json};
use testkit::Directory;
use testkit::http1::Client;

const ENCODED: &str = "a query stays encoded, or the request line would be broken by a space";

/// Where remora differs from Envoy, HTTP/1.1 callers.
const KNOWN_HTTP1: &[Known] = &[
    Known {
        names: &["mutated"],
        reason: ENCODED,
    },
    Known {
        names: &["preflight from the wrong origin", "preflight without method"],
        reason: "a method that expects no content is sent without a length (RFC 9110 section 8.6)",
    },
];

/// The same, HTTP/2 callers.
const KNOWN_HTTP2: &[Known] = &[];

/// The same, what HTTP/2 backends saw.
const KNOWN_BACKEND: &[Known] = &[];

/// The same, access logs.
const KNOWN_LOG: &[Known] = &[Known {
    names: &["mutated"],
    reason: ENCODED,
}];

/// The same, statistics.
const KNOWN_STATS: &[Known] = &[];

fn bootstrap(ports: &Ports) -> String {
    include_str!("../src/filters.yaml")
        .replace("{listener}", &ports.listener.to_string())
        .replace("{stable}", &ports.stable.to_string())
        .replace("{canary}", &ports.canary.to_string())
        .replace("{http2}", &ports.http2.to_string())
}

/// Name, request line and headers, body.
const HTTP1: &[(&str, &str, &str)] = &[
    ("abort", "GET /fault/abort", ""),
    ("abort with a body", "POST /fault/abort|content-length: 3", "abc"),
    ("abort for HEAD", "HEAD /fault/abort", ""),
    ("abort with a gRPC status", "GET /fault/grpc", ""),
    ("delay", "GET /fault/delay", ""),
    ("delay with a body", "POST /fault/delay/echo|content-length: 3", "abc"),
    (
        "delay with chunks",
        "POST /fault/delay/echo|transfer-encoding: chunked|trailer: x-t",
        "3\r\nabc\r\n0\r\nx-t: 1\r\n\r\n",
    ),
    ("delay and abort", "GET /fault/both", ""),
    ("nothing asked for", "GET /fault/asked", ""),
    (
        "a delay asked for",
        "GET /fault/asked|x-envoy-fault-delay-request: 20",
        "",
    ),
    (
        "a delay asked for none",
        "GET /fault/asked|x-envoy-fault-delay-request: 5000|x-envoy-fault-delay-request-percentage: 0",
        "",
    ),
    (
        "an abort asked for",
        "GET /fault/asked|x-envoy-fault-abort-request: 410",
        "",
    ),
    (
        "an abort out of range",
        "GET /fault/asked|x-envoy-fault-abort-request: 700",
        "",
    ),
    (
        "a gRPC abort asked for",
        "GET /fault/asked|x-envoy-fault-abort-grpc-request: 7",
        "",
    ),
    (
        "a limit asked for",
        "GET /fault/asked/large|x-envoy-fault-throughput-response: 8192",
        "",
    ),
    ("another cluster", "GET /fault/other-cluster", ""),
    (
        "this cluster",
        "GET /fault/this-cluster|x-fault: yes|x-envoy-downstream-service-node: two",
        "",
    ),
    (
        "another node",
        "GET /fault/this-cluster|x-fault: yes|x-envoy-downstream-service-node: three",
        "",
    ),
    (
        "another header",
        "GET /fault/this-cluster|x-fault: no|x-envoy-downstream-service-node: two",
        "",
    ),
    ("no percentage", "GET /fault/no-percentage", ""),
    ("limited", "GET /fault/limited/large", ""),
    ("limited with trailers", "GET /fault/limited/chunked", ""),
    ("overflow", "GET /fault/overflow", ""),
    ("origin", "GET /1/page|origin: https://good", ""),
    ("origin by suffix", "GET /1/page|origin: https://a.example", ""),
    ("wrong origin", "GET /1/page|origin: https://bad", ""),
    ("empty origin", "GET /1/page|origin:", ""),
    (
        "preflight",
        "OPTIONS /1/page|origin: https://good|access-control-request-method: PUT",
        "",
    ),
    (
        "preflight from the wrong origin",
        "OPTIONS /1/page|origin: https://bad|access-control-request-method: PUT",
        "",
    ),
    ("preflight without method", "OPTIONS /1/page|origin: https://good", ""),
    ("origin of a route", "GET /cors/route|origin: https://route", ""),
    (
        "origin of the host on a route",
        "GET /cors/route|origin: https://good",
        "",
    ),
    (
        "preflight of a route",
        "OPTIONS /cors/route|origin: https://route|access-control-request-method: PUT|access-control-request-private-network: true",
        "",
    ),
    (
        "origin at a direct response",
        "GET /cors/direct|origin: https://good",
        "",
    ),
    ("any origin", "GET /cors/any|origin: null", ""),
    (
        "preflight at a direct response",
        "OPTIONS /cors/direct|origin: https://good|access-control-request-method: PUT",
        "",
    ),
    (
        "preflight not forwarded",
        "OPTIONS /cors/strict|origin: https://bad|access-control-request-method: PUT|access-control-request-private-network: true",
        "",
    ),
    ("shadowed", "GET /cors/shadow|origin: https://good", ""),
    ("origin and nowhere", "GET /nowhere|origin: https://good", ""),
    (
        "mutated",
        "GET /mutated/page?gone=1&kept=2&b=%20x&a|x-drop: 1|x-many-a: 1|x-many-b: 2|x-order: caller",
        "",
    ),
    ("mutated trailers", "GET /mutated/chunked", ""),
    (
        "mutated request trailers",
        "POST /mutated/echo|transfer-encoding: chunked|trailer: x-t",
        "3\r\nabc\r\n0\r\nx-t: 1\r\n\r\n",
    ),
    ("off", "GET /off/page", ""),
    ("weighted", "GET /weighted/page", ""),
    ("buffered", "POST /buffered/echo|content-length: 3", "abc"),
    (
        "buffered chunks",
        "POST /buffered/echo|transfer-encoding: chunked",
        "3\r\nabc\r\n4\r\ndefg\r\n0\r\n\r\n",
    ),
    (
        "buffered chunks and trailers",
        "POST /buffered/echo|transfer-encoding: chunked|trailer: x-t",
        "3\r\nabc\r\n0\r\nx-t: 1\r\n\r\n",
    ),
    ("buffered without body", "GET /buffered/page", ""),
    (
        "not buffered",
        "POST /unbuffered/echo|content-length: 12",
        "abcdefghijkl",
    ),
    ("direct", "GET /direct", ""),
    ("redirect", "GET /redirect", ""),
    ("nowhere", "GET /nowhere", ""),
    ("no cluster", "GET /none", ""),
    ("dead", "GET /dead", ""),
    ("health", "GET /health", ""),
    ("health by POST", "POST /health|content-length: 3", "abc"),
    ("health of clusters", "GET /health/clusters", ""),
    ("health of empty", "GET /health/empty", ""),
    ("health of nothing", "GET /health/none", ""),
    ("health let through", "GET /1/cached", ""),
    ("health from the cache", "GET /1/cached", ""),
    ("error", "GET /1/error", ""),
];

const FAILING: &[(&str, &str, &str)] = &[
    ("failing health", "GET /health", ""),
    ("failing health of clusters", "GET /health/clusters", ""),
    ("failing health from the cache", "GET /1/cached", ""),
    ("failing page", "GET /1/page", ""),
];

fn call(side: &Side, name: &str, head: &str, body: &str) -> String {
    let mut parts = head.split('|');
    let line = parts.next().expect("a request line");
    let fields: String = parts.map(|field| format!("{field}\r\n")).collect();
    let text = format!(
        "{line} HTTP/1.1\r\nhost: test\r\nx-case: {}\r\n{fields}\r\n{body}",
        name.replace(' ', "-")
    );
    let mut client = Client::connect(side.port);
    client.send(text.as_bytes());
    let method = line.split(' ').next().expect("a method");
    let answer = client.response(method);
    let mut lines = vec![answer.map_or_else(|| "no answer".to_owned(), |answer| describe(&answer))];
    lines.extend(side.take_seen());
    lines.join("\n          ")
}

fn http2_exchanges() -> Value {
    let grpc = json!([["content-type", "application/grpc"], ["te", "trailers"]]);
    let message = "\u{0}\u{0}\u{0}\u{0}\u{1}a";
    let two = format!("{message}{message}");
    json!([
        {"name": "grpc abort", "method": "POST", "path": "/fault/abort", "headers": grpc, "body": message},
        {"name": "grpc abort with status", "method": "POST", "path": "/fault/grpc", "headers": grpc, "body": message},
        {"name": "grpc delay", "method": "POST", "path": "/fault/delay", "headers": grpc, "body": message, "trailers": [["x-t", "1"]]},
        {"name": "grpc call", "method": "POST", "path": "/test.Service/echo", "headers": grpc, "body": two},
        {"name": "grpc error", "method": "POST", "path": "/test.Service/error", "headers": grpc, "body": message},
        {"name": "grpc no method", "method": "POST", "path": "/2/a/echo", "headers": grpc, "body": message},
        {"name": "grpc nowhere", "method": "POST", "path": "/nowhere", "headers": grpc, "body": message},
        {"name": "h2 limited", "path": "/2/fault/limited/large"},
        {"name": "h2 mutated trailers", "method": "POST", "path": "/mutated/echo", "body": "abc", "trailers": [["x-t", "1"]]},
        {"name": "h2 buffered", "method": "POST", "path": "/2/buffered/echo", "body_length": 90_000},
        {"name": "h2 buffered with trailers", "method": "POST", "path": "/2/buffered/echo", "body": "abc", "trailers": [["x-t", "1"]]},
        {"name": "h2 too much to buffer", "method": "POST", "path": "/2/buffered/echo", "body_length": 110_000},
        {"name": "grpc too much to buffer", "method": "POST", "path": "/2/buffered/echo", "headers": grpc, "body_length": 110_000},
        {"name": "h2 health", "path": "/health"},
        {"name": "h2 preflight", "method": "OPTIONS", "path": "/2/page", "headers": [["origin", "https://good"], ["access-control-request-method", "PUT"]]},
    ])
}

/// The statistics of the filters, and of what they keep from the router.
fn stats(side: &Side) -> BTreeMap<String, String> {
    let answer = Client::get(side.proxy.admin, "/stats").expect("the admin endpoint answers");
    String::from_utf8_lossy(&answer.body)
        .lines()
        .filter_map(|line| line.split_once(": "))
        // A caller that is gone before its answer's end is a matter of time.
        .filter(|(name, _)| !name.contains("rx_reset") && !name.contains(".external."))
        .filter(|(name, _)| {
            [
                "http.filters.fault.",
                "http.filters.cors.",
                "http.filters.downstream_rq_",
                "http.filters.no_",
                "http.filters.rq_",
            ]
            .iter()
            .any(|prefix| name.starts_with(prefix))
                || name.contains(".grpc.")
                || name.contains(".upstream_rq_") && name.starts_with("cluster.") && name.ends_with("xx")
        })
        .filter(|(name, value)| *value != "0" && !name.contains("rq_time") && !name.contains("http1"))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}

struct Observed {
    http1: BTreeMap<String, String>,
    http2: BTreeMap<String, String>,
    stats: BTreeMap<String, String>,
    slowed: [Duration; 2],
}

fn observe(side: &Side) -> Observed {
    let all = |list: &[(&str, &str, &str)]| -> BTreeMap<String, String> {
        list.iter()
            .map(|(name, head, body)| ((*name).to_owned(), call(side, name, head, body)))
            .collect()
    };
    let mut http1 = all(HTTP1);
    let http2 = side.call_http2(&http2_exchanges());
    let stats = stats(side);
    let timed = |path: &str| {
        let start = Instant::now();
        let _ = call(side, "timed", path, "");
        start.elapsed()
    };
    let slowed = [timed("GET /fault/delay"), timed("GET /fault/limited/large")];
    let post = |path: &str| {
        let mut client = Client::connect(side.proxy.admin);
        client.send(format!("POST {path} HTTP/1.1\r\nhost: admin\r\ncontent-length: 0\r\n\r\n").as_bytes());
        assert_eq!(
            client.response("POST").map(|answer| answer.status()),
            Some(200),
            "{path}"
        );
    };
    post("/healthcheck/fail");
    http1.append(&mut all(FAILING));
    post("/healthcheck/ok");
    http1.append(&mut all(&[("healthy again", "GET /health", "")]));
    Observed {
        http1,
        http2,
        stats,
        slowed,
    }
}

#[test]
fn filters_do_what_envoys_do() {
    let directory = Directory::new("filters");
    let sides = [Kind::Envoy, Kind::Remora].map(|kind| Side::start(kind, &directory, bootstrap));
    let [envoy, remora] = std::thread::scope(|scope| {
        sides
            .each_ref()
            .map(|side| scope.spawn(move || observe(side)))
            .map(|thread| thread.join().expect("a side is observed"))
    });
    let seen = sides.each_ref().map(Side::http2_seen);
    let logs = sides.map(|side| {
        let mut lines: BTreeMap<String, String> = BTreeMap::new();
        for line in side.proxy.end().lines().filter(|line| line.starts_with("HTTP/")) {
            let (line, case) = line.rsplit_once(' ').unwrap_or((line, ""));
            lines.entry(case.to_owned()).or_default().push_str(&format!("{line};"));
        }
        lines
    });
    let faults: Vec<String> = [
        ("HTTP/1.1 callers", &envoy.http1, &remora.http1, KNOWN_HTTP1),
        ("HTTP/2 callers", &envoy.http2, &remora.http2, KNOWN_HTTP2),
        ("backends", &seen[0], &seen[1], KNOWN_BACKEND),
        ("access logs", &logs[0], &logs[1], KNOWN_LOG),
        ("statistics", &envoy.stats, &remora.stats, KNOWN_STATS),
    ]
    .into_iter()
    .filter_map(|(what, envoy, remora, known)| {
        assert!(envoy.len() > 5, "{what}: hardly anything was observed: {envoy:?}");
        compare(what, envoy, remora, known).err()
    })
    .collect();
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    for (side, [delayed, limited]) in [("envoy", envoy.slowed), ("remora", remora.slowed)] {
        // Of 50 ms, less the age of the clock reading that Envoy's timer starts from.
        assert!(delayed >= Duration::from_millis(40), "{side}: {delayed:?}");
        // A megabyte at 4 MiB/s, of which the first slice goes at once.
        assert!(limited >= Duration::from_millis(150), "{side}: {limited:?}");
    }
}
