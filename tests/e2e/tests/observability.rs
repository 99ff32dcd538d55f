//! What an operator sees, of the same requests, under remora and under Envoy: names and values of statistics, labels for
//! Prometheus, log lines of refused requests, and the fields of the admin endpoint's JSON.

use std::collections::{BTreeMap, BTreeSet};

use e2e::differential::{Ports, Side, compare};
use e2e::proxy::{Kind, Proxy};
use serde_json::{Value, json};
use testkit::backend::Backend;
use testkit::http1::Client;
use testkit::{Directory, ports, wait_until};

/// Statistics of Envoy's that are not here, by what their names begin with.
const LEFT_OUT: &[(&str, &str)] = &[
    (
        "cluster_manager.cds_",
        "of the xDS cluster source that Envoy makes in any case",
    ),
    ("dns.", "there is no c-ares; a cluster counts its resolutions"),
    ("envoy.overload_actions.", "there is no overload manager"),
    ("overload.", "there is no overload manager"),
    ("http.admin.", "requests to the admin endpoint are logged, not counted"),
    ("listener.admin.", "the admin endpoint is no listener of the data path"),
    (
        "http.async-client.",
        "requests of the proxy's own count in their clusters",
    ),
    ("main_thread.watchdog", "no watchdog watches the threads"),
    ("server.main_thread.watchdog", "no watchdog watches the threads"),
    ("server.worker_0.watchdog", "no watchdog watches the threads"),
    ("workers.watchdog", "no watchdog watches the threads"),
    ("runtime.", "runtime values are read and kept, nothing changes them"),
    ("thread_local_cluster_manager.", "clusters are not made for each thread"),
];

/// The same, by what they end with.
const LEFT_OUT_ENDS: &[(&str, &str)] = &[(
    ".default.total_match_count",
    "how often the transport socket was looked up is of no use to anybody",
)];

/// Statistics of ours that Envoy has under another configuration only, or not at all.
const OURS: &[(&str, &str)] = &[
    ("cluster_manager.cds.", "shown without dynamic clusters too"),
    ("listener_manager.lds.", "shown without dynamic listeners too"),
    ("control_plane.", "shown without a control plane too"),
    (
        "filesystem.write_dropped",
        "log lines dropped because the disk is slower than the requests",
    ),
];

/// Counters whose values may differ, by what they end with.
const OTHER_VALUES: &[(&str, &str)] = &[
    (
        "_bytes_buffered",
        "what is left in a buffer when nothing happens any more is a matter of its workings",
    ),
    (
        ".downstream_cx_destroy_local",
        "who is first to close after a last answer is a matter of time",
    ),
    (
        ".downstream_cx_destroy_remote",
        "who is first to close after a last answer is a matter of time",
    ),
    ("lb_healthy_panic", "a cluster without endpoints is not in panic"),
    (
        "circuit_breakers.default.rq_open",
        "a breaker that lets nothing through is open from the start",
    ),
    (
        "_bytes_total",
        "the length of header lines differs with the order of fields",
    ),
    ("max_host_weight", "of static clusters too"),
    (
        "downstream_cx_delayed_close_timeout",
        "callers are told of the end at once",
    ),
    (
        "upstream_rq_pending_total",
        "a request that finds a connection being made waits for it, or not",
    ),
];

fn bootstrap(ports: &Ports) -> String {
    include_str!("../src/answers.yaml")
        .replace("{listener}", &ports.listener.to_string())
        .replace("{stable}", &ports.stable.to_string())
        .replace("{http2}", &ports.http2.to_string())
        .replace("{blackhole}", "9")
}

/// Requests that the codec or the connection manager refuses, one connection each.
fn refusals() -> Vec<(&'static str, Vec<u8>)> {
    let head = |text: &str| text.as_bytes().to_vec();
    let fields: String = (0..200).map(|number| format!("a{number}: b\r\n")).collect();
    let long = "b".repeat(70_000);
    vec![
        ("HTTP/1.0", head("GET /1/page HTTP/1.0\r\n\r\n")),
        ("HTTP/1.2", head("GET /1/page HTTP/1.2\r\nhost: test\r\n\r\n")),
        ("HTTP/3.1", head("GET /1/page HTTP/3.1\r\nhost: test\r\n\r\n")),
        ("no host", head("GET /1/page HTTP/1.1\r\naccept: */*\r\n\r\n")),
        ("an odd host", head("GET /1/page HTTP/1.1\r\nhost: a b\r\n\r\n")),
        ("an odd method", head("G@(T /1/page HTTP/1.1\r\nhost: test\r\n\r\n")),
        ("no target", head("GET  HTTP/1.1\r\nhost: test\r\n\r\n")),
        (
            "a control character",
            head("GET /1/page HTTP/1.1\r\nhost: test\r\na: b\u{1}c\r\n\r\n"),
        ),
        (
            "many fields",
            format!("GET /1/page HTTP/1.1\r\nhost: test\r\n{fields}\r\n").into_bytes(),
        ),
        (
            "a long field",
            format!("GET /1/page HTTP/1.1\r\nhost: test\r\na: {long}\r\n\r\n").into_bytes(),
        ),
        (
            "length and chunks",
            head("POST /1/echo HTTP/1.1\r\nhost: test\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n"),
        ),
        (
            "an odd coding",
            head("POST /1/echo HTTP/1.1\r\nhost: test\r\ntransfer-encoding: gzip\r\n\r\n"),
        ),
        (
            "an odd chunk",
            head("POST /1/echo HTTP/1.1\r\nhost: test\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n"),
        ),
        ("TLS", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".to_vec()),
    ]
}

struct Seen {
    names: BTreeSet<String>,
    values: BTreeMap<String, String>,
    labels: BTreeSet<String>,
    shapes: BTreeMap<&'static str, BTreeSet<String>>,
    log: BTreeMap<String, String>,
}

/// The same requests for both.
fn drive(side: &Side) {
    for path in ["direct", "1/page", "1/error", "none", "empty", "dead", "nowhere"] {
        let answer = Client::get(side.port, &format!("/{path}"));
        assert!(answer.is_some(), "{path}: {:?}", side.proxy.kind);
    }
    let http2 = json!([
        {"name": "page", "path": "/2/page"},
        {"name": "reset", "path": "/2/reset-8"},
        {"name": "unary", "method": "POST", "path": "/2/echo", "body": "\u{0}\u{0}\u{0}\u{0}\u{0}",
         "headers": [["content-type", "application/grpc"], ["te", "trailers"]]},
    ]);
    assert_eq!(side.call_http2(&http2).len(), 3);
}

fn refuse(side: &Side) {
    for (name, bytes) in refusals() {
        let mut client = Client::connect(side.port);
        client.send(&bytes);
        assert!(client.response("GET").is_some(), "{name}: {:?}", side.proxy.kind);
    }
}

fn admin(side: &Side, path: &str) -> String {
    let answer = Client::get(side.proxy.admin, path).expect("the admin endpoint answers");
    String::from_utf8_lossy(&answer.body).replace(&format!("_{}", side.port), "_PORT")
}

/// The paths of all fields, list positions left out.
fn shape(value: &Value, path: &str, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                shape(value, &format!("{path}.{name}"), found);
            }
        }
        Value::Array(values) => {
            for value in values {
                let kind = value["@type"]
                    .as_str()
                    .and_then(|url| url.rsplit('.').next())
                    .unwrap_or("");
                shape(value, &format!("{path}[{kind}]"), found);
            }
        }
        _ => {
            found.insert(path.to_owned());
        }
    }
}

fn observe(side: Side) -> Seen {
    drive(&side);
    refuse(&side);
    // Both tear down connections and refused requests a moment after their callers saw the end; Envoy takes a connection
    // out of its listener before it ends its connection manager.
    let listener = format!("listener.127.0.0.1_{}.downstream_cx_active", side.port);
    for settled in [listener.as_str(), "http.answers.downstream_cx_active"] {
        wait_until(10, "all callers are gone", || side.proxy.stat(settled) == 0);
    }
    let text = admin(&side, "/stats?type=Counters");
    let gauges = admin(&side, "/stats?type=Gauges");
    let all = admin(&side, "/stats");
    let names = all
        .lines()
        .filter_map(|line| Some(line.split_once(": ")?.0.to_owned()))
        .collect();
    let counted = [
        "http.answers.",
        "cluster.",
        "listener.127.0.0.1_PORT.",
        "http1.",
        "http2.",
    ];
    let values = text
        .lines()
        .chain(gauges.lines())
        .filter(|line| counted.iter().any(|prefix| line.starts_with(prefix)))
        .filter_map(|line| line.split_once(": "))
        .filter(|(name, _)| !OTHER_VALUES.iter().any(|(end, _)| name.ends_with(end)))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    let labels = admin(&side, "/stats/prometheus")
        .lines()
        .filter(|line| !line.starts_with('#') && !line.contains("le=\""))
        .filter_map(|line| Some(line.rsplit_once(' ')?.0.to_owned()))
        .collect();
    let shapes = [
        "/server_info",
        "/clusters?format=json",
        "/listeners?format=json",
        "/config_dump?include_eds",
    ]
    .map(|path| {
        let value: Value = serde_json::from_str(&admin(&side, path)).expect("it is JSON");
        let mut found = BTreeSet::new();
        shape(&value, "", &mut found);
        (path, found)
    })
    .into();
    let output = side.proxy.end();
    let lines: Vec<&str> = output.lines().filter(|line| line.starts_with("HTTP/")).collect();
    let refused = refusals();
    let first = lines.len() - refused.len();
    let log = refused
        .iter()
        .zip(&lines[first..])
        .map(|((name, _), line)| ((*name).to_owned(), (*line).to_owned()))
        .collect();
    Seen {
        names,
        values,
        labels,
        shapes,
        log,
    }
}

/// What is only on one side and not explained, and explanations that explain nothing.
fn unexplained(only: &[&String], begins: &[(&'static str, &str)], ends: &[(&'static str, &str)]) -> Vec<String> {
    let explained = |name: &str| {
        begins.iter().any(|(prefix, _)| name.starts_with(prefix)) || ends.iter().any(|(end, _)| name.ends_with(end))
    };
    only.iter()
        .filter(|name| !explained(name))
        .map(|name| (*name).clone())
        .collect()
}

#[test]
fn an_operator_sees_what_envoy_shows() {
    let directory = Directory::new("observability");
    let [envoy, remora] = std::thread::scope(|scope| {
        [Kind::Envoy, Kind::Remora]
            .map(|kind| {
                let side = Side::start(kind, &directory, bootstrap);
                scope.spawn(move || observe(side))
            })
            .map(|thread| thread.join().expect("a side is observed"))
    });
    let mut faults = Vec::new();
    let missing: Vec<_> = envoy.names.difference(&remora.names).collect();
    for name in unexplained(&missing, LEFT_OUT, LEFT_OUT_ENDS) {
        faults.push(format!("Envoy has the statistic {name}"));
    }
    let own: Vec<_> = remora.names.difference(&envoy.names).collect();
    for name in unexplained(&own, OURS, &[]) {
        faults.push(format!("only remora has the statistic {name}"));
    }
    for (name, ours) in &remora.values {
        if let Some(theirs) = envoy.values.get(name).filter(|theirs| *theirs != ours) {
            faults.push(format!("{name}: Envoy {theirs}, remora {ours}"));
        }
    }
    // Labels, where both have the metric.
    let metric = |sample: &str| sample.split('{').next().unwrap_or_default().to_owned();
    let metrics: BTreeSet<String> = remora.labels.iter().map(|sample| metric(sample)).collect();
    let of_others = ["_prefix=\"admin\"", "_prefix=\"async-client\""];
    for sample in envoy.labels.difference(&remora.labels) {
        if of_others.iter().any(|other| sample.contains(other)) {
            continue;
        }
        if metrics.contains(&metric(sample)) {
            faults.push(format!("Envoy has the sample {sample}"));
        }
    }
    for (path, theirs) in &envoy.shapes {
        let known = |field: &&String| !KNOWN_FIELDS.iter().any(|(part, _)| field.contains(part));
        for field in theirs.difference(&remora.shapes[path]).filter(known) {
            faults.push(format!("{path}: Envoy has {field}"));
        }
        for field in remora.shapes[path].difference(theirs).filter(known) {
            faults.push(format!("{path}: only remora has {field}"));
        }
    }
    if let Err(differences) = compare("refused requests", &envoy.log, &remora.log, &[]) {
        faults.push(differences);
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

/// Fields of the admin endpoint's JSON that differ.
const KNOWN_FIELDS: &[(&str, &str)] = &[
    ("user_agent_build_version", "our own version"),
    (".node.extensions", "the extensions that are compiled in are not listed"),
    (".last_updated", "static endpoints have been there since the start"),
];

/// Requests of [`moments`] by their case: path, more of the head, and a body.
const MOMENTS: &[(&str, &str, &str)] = &[
    ("plain", "/first/page", ""),
    ("a-body", "/first/echo", "0123456789"),
    ("trailers", "/first/chunked", ""),
    ("no-body", "/first/nobody", ""),
    ("again", "/again/close", ""),
    ("dead", "/dead/page", ""),
    ("try", "/try/hang", ""),
    ("late", "/late/hang", ""),
    ("second", "/second/page", ""),
    ("empty", "/empty/page", ""),
    ("direct", "/direct/page", ""),
    ("no-route", "/nowhere", ""),
];

/// Entries by case, those alike once: how often the same is written while nothing happens is a matter of time.
fn moments(kind: Kind, directory: &Directory, backend: &Backend) -> BTreeMap<String, String> {
    let [listener, periods, tcp] = [0; 3].map(|_| ports::free_port());
    let bootstrap = include_str!("../src/logs.yaml")
        .replace("{listener}", &listener.to_string())
        .replace("{periods}", &periods.to_string())
        .replace("{tcp}", &tcp.to_string())
        .replace("{backend}", &backend.port().to_string());
    let proxy = Proxy::start(kind, directory, kind.name(), &bootstrap);
    let mut found = BTreeMap::new();
    let mut ask = |port: u16, case: &str, path: &str, body: &str| {
        let mut client = Client::connect(port);
        let (method, length) = match body.len() {
            0 => ("GET", String::new()),
            length => ("POST", format!("content-length: {length}\r\n")),
        };
        let request = format!("{method} {path} HTTP/1.1\r\nhost: h\r\nx-case: {case}\r\n{length}\r\n{body}");
        assert!(client.send(request.as_bytes()));
        let answer = client.response(method).expect("an answer");
        found.insert(
            format!("{case}: answer"),
            format!("{} {:?}", answer.status(), answer.field("x-moment")),
        );
    };
    for (case, path, body) in MOMENTS {
        ask(listener, case, path, body);
    }
    ask(periods, "periods", "/hang", "");
    ask(tcp, "tcp", "/page", "");
    let mut tunnel = Client::connect(listener);
    assert!(tunnel.send(b"CONNECT h:80 HTTP/1.1\r\nhost: h:80\r\nx-case: connect\r\n\r\n"));
    assert_eq!(tunnel.head().expect("an answer").status(), 200);
    drop(tunnel);
    let mut entries: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for line in proxy.end().lines() {
        let Some((case, line)) = line.strip_prefix("LOG ").and_then(|line| line.split_once(' ')) else {
            continue;
        };
        // Who is said to have ended a tunnel is another matter.
        if case != "connect" || !line.contains("End") {
            let line = line.replace("|delayed_connect_error:_Connection_refused", "");
            entries.entry(case.to_owned()).or_default().insert(line);
        }
    }
    for (case, lines) in entries {
        found.insert(case, lines.into_iter().collect::<Vec<_>>().join("\n"));
    }
    found
}

/// A request, and each of its tries, is logged when it begins, every so often, and at its end, as configured; and what an
/// endpoint's address is is told from which of its addresses is connected.
#[test]
fn requests_and_tries_are_logged_at_the_moments_of_envoy() {
    let directory = Directory::new("moments");
    let backend = Backend::start("backend");
    let [envoy, remora] = [Kind::Envoy, Kind::Remora].map(|kind| moments(kind, &directory, &backend));
    for (case, moment) in [
        ("plain", "DownstreamStart"),
        ("plain", "UpstreamPoolReady"),
        ("again", "UpstreamEnd"),
        ("periods", "DownstreamPeriodic"),
        ("periods", "UpstreamPeriodic"),
        ("connect", "DownstreamTunnelSuccessfullyEstablished"),
    ] {
        assert!(envoy[case].contains(moment), "{case}: {}", envoy[case]);
    }
    compare("entries", &envoy, &remora, &[]).unwrap_or_else(|faults| panic!("{faults}"));
}
