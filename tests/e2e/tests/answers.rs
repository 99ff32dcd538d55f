//! Every way in which a request can end, under remora and under Envoy: answers, what backends saw, access logs.

use std::collections::BTreeMap;
use std::time::Duration;

use e2e::differential::{Known, Ports, Side, compare, describe};
use e2e::proxy::Kind;
use serde_json::{Value, json};
use testkit::backend::Blackhole;
use testkit::http1::Client;
use testkit::{Directory, wait_until};

const NOT_SAID: &str =
    "a body that HEAD leaves out is announced by content-length or not at all (RFC 9110 section 9.3.2)";
const HINTS: &str = "a proxy passes on 1xx answers (RFC 9110 section 15.2)";
const UNPROCESSED: &str = "what an endpoint provably did not process is sent again without a retry policy";
const SAME_CODE: &str = "a CANCEL stays a CANCEL on its way, so that a cancelled call is one on both sides";
const GOAWAY: &str = "a connection error says so in a GOAWAY before the connection ends (RFC 9113 section 5.4.1)";
const CUT: &str = "an HTTP/1.1 answer cut short is a connection that ended, whatever Content-Length said";

/// Where remora differs from Envoy, HTTP/1.1 callers.
const KNOWN_HTTP1: &[Known] = &[
    Known {
        names: &["HEAD 1/chunked", "HEAD 2/page", "HEAD nowhere"],
        reason: NOT_SAID,
    },
    Known {
        names: &["1/hints"],
        reason: HINTS,
    },
    Known {
        names: &["fields that are not passed on"],
        reason: "cookie lines are joined, which every receiver must treat alike (RFC 6265 section 5.4)",
    },
];

/// The same, HTTP/2 callers.
const KNOWN_HTTP2: &[Known] = &[
    Known {
        names: &["grpc 1/hints", "h2 1/hints"],
        reason: HINTS,
    },
    Known {
        names: &[
            "grpc 2/goaway-once",
            "grpc 2/refuse-once",
            "h2 2/goaway-once",
            "h2 2/refuse-once",
        ],
        reason: UNPROCESSED,
    },
    Known {
        names: &["grpc 2/reset-after-8", "h2 2/reset-after-8"],
        reason: SAME_CODE,
    },
    Known {
        names: &["h2 connection field", "h2 te", "h2 upper case"],
        reason: GOAWAY,
    },
];

/// The same, what backends saw.
const KNOWN_BACKEND: &[Known] = &[
    Known {
        names: &[
            "2/reset-7",
            "grpc 2/goaway-once",
            "grpc 2/refuse-once",
            "h2 2/goaway-once",
            "h2 2/refuse-once",
        ],
        reason: UNPROCESSED,
    },
    Known {
        names: &["grpc open and cancelled", "h2 cancelled after head"],
        reason: SAME_CODE,
    },
];

/// The same, access logs.
const KNOWN_LOG: &[Known] = &[
    Known {
        names: &["1/middle", "grpc 1/middle", "h2 1/middle"],
        reason: CUT,
    },
    Known {
        names: &[
            "2/reset-7",
            "grpc 2/goaway-once",
            "grpc 2/refuse-once",
            "h2 2/goaway-once",
            "h2 2/refuse-once",
        ],
        reason: UNPROCESSED,
    },
    Known {
        names: &["h2 length too long"],
        reason: "the violation is named, which the caller's codec found, not a reset that the caller never sent",
    },
];

/// Requests whose answer comes before their end: how much of them was received is a matter of time.
const ANSWERED_EARLY: &[&str] = &[
    "grpc-early",
    "grpc early",
    "h2 refuse",
    "h2 large to nowhere",
    "an-upload-that-is-refused",
    "a-large-body-to-nowhere",
    "a-large-body-to-direct",
];

/// How much of its answer had been sent when its caller cancelled it is a matter of time as well.
const CANCELLED: &str = "grpc open and cancelled";

fn bootstrap(ports: &Ports, blackhole: u16) -> String {
    include_str!("../src/answers.yaml")
        .replace("{listener}", &ports.listener.to_string())
        .replace("{stable}", &ports.stable.to_string())
        .replace("{http2}", &ports.http2.to_string())
        .replace("{blackhole}", &blackhole.to_string())
}

/// Name, the bytes of the requests, and their methods in order: one connection each.
fn http1_exchanges() -> Vec<(String, Vec<u8>, Vec<&'static str>)> {
    let mut list: Vec<(String, Vec<u8>, Vec<&'static str>)> = Vec::new();
    let mut add = |name: &str, text: String, methods: &[&'static str]| {
        let text = text.replacen("\r\n", &format!("\r\nx-case: {}\r\n", name.replace(' ', "-")), 1);
        list.push((name.to_owned(), text.into_bytes(), methods.to_vec()));
    };
    for path in [
        "direct",
        "dead",
        "none",
        "empty",
        "short/hang",
        "1/close",
        "1/garbage",
        "1/middle",
        "over",
        "mismatch",
        "blackhole",
        "nowhere",
        "1/page",
        "1/chunked",
        "1/large",
        "1/nobody",
        "1/unchanged",
        "1/hints",
        "1/until-close",
        "1/repeated",
        "1/error",
        "2/page",
        "2/reset-1",
        "2/reset-7",
        "2/reset-8",
        "2/reset-after-2",
        "2/error",
        "short2/hang",
        "2/large",
    ] {
        add(path, format!("GET /{path} HTTP/1.1\r\nhost: test\r\n\r\n"), &["GET"]);
    }
    for path in ["direct", "dead", "nowhere", "1/page", "1/chunked", "2/page"] {
        add(
            &format!("HEAD {path}"),
            format!("HEAD /{path} HTTP/1.1\r\nhost: test\r\n\r\n"),
            &["HEAD"],
        );
    }
    let mut post = |name: &str, path: &str, fields: &str, body: &str| {
        add(
            name,
            format!("POST /{path} HTTP/1.1\r\nhost: test\r\n{fields}\r\n{body}"),
            &["POST"],
        );
    };
    post("a body", "1/echo", "content-length: 5\r\n", "hello");
    post("a body to HTTP/2", "2/echo", "content-length: 5\r\n", "hello");
    post("no body", "1/echo", "content-length: 0\r\n", "");
    post("nothing said of a body", "1/echo", "", "");
    let chunks = "5\r\nhello\r\n7;x=y\r\n, world\r\n0\r\n\r\n";
    post("chunks", "1/echo", "transfer-encoding: chunked\r\n", chunks);
    post("chunks to HTTP/2", "2/echo", "transfer-encoding: chunked\r\n", chunks);
    post(
        "a large body",
        "1/echo",
        "content-length: 1048576\r\n",
        &"q".repeat(1 << 20),
    );
    post(
        "a large body to HTTP/2",
        "2/echo",
        "content-length: 1048576\r\n",
        &"q".repeat(1 << 20),
    );
    post(
        "a large body to nowhere",
        "nowhere",
        "content-length: 300000\r\n",
        &"q".repeat(300_000),
    );
    post(
        "a large body to direct",
        "direct",
        "content-length: 300000\r\n",
        &"q".repeat(300_000),
    );
    post(
        "an upload that is refused",
        "1/refuse",
        "content-length: 300000\r\n",
        &"q".repeat(300_000),
    );
    post(
        "an expectation",
        "1/echo",
        "expect: 100-continue\r\ncontent-length: 5\r\n",
        "hello",
    );
    post(
        "an odd expectation",
        "1/echo",
        "expect: 200-ok\r\ncontent-length: 5\r\n",
        "hello",
    );
    post(
        "length and chunks",
        "1/echo",
        "content-length: 5\r\ntransfer-encoding: chunked\r\n",
        chunks,
    );
    post("an odd coding", "1/echo", "transfer-encoding: gzip\r\n", "hello");
    post(
        "two lengths",
        "1/echo",
        "content-length: 5\r\ncontent-length: 5\r\n",
        "hello",
    );
    post("a length that is none", "1/echo", "content-length: five\r\n", "hello");
    let mut raw = |name: &str, text: &str, methods: &[&'static str]| add(name, text.to_owned(), methods);
    let one = "GET /1/page HTTP/1.1\r\nhost: test\r\n\r\n";
    raw("kept alive and pipelined", &one.repeat(3), &["GET", "GET", "GET"]);
    raw(
        "close asked for",
        "GET /1/page HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\r\n",
        &["GET"],
    );
    raw("HTTP/1.0", "GET /1/page HTTP/1.0\r\nhost: test\r\n\r\n", &["GET"]);
    raw("no host", "GET /1/page HTTP/1.1\r\naccept: */*\r\n\r\n", &["GET"]);
    raw(
        "a name with a space",
        "GET /1/page HTTP/1.1\r\nhost: test\r\na b: c\r\n\r\n",
        &["GET"],
    );
    raw(
        "a method with a slash",
        "G/T /1/page HTTP/1.1\r\nhost: test\r\n\r\n",
        &["GET"],
    );
    raw(
        "a method of its own",
        "BREW /1/page HTTP/1.1\r\nhost: test\r\n\r\n",
        &["BREW"],
    );
    raw(
        "a whole URI",
        "GET http://other/1/page?q HTTP/1.1\r\nhost: test\r\n\r\n",
        &["GET"],
    );
    raw("OPTIONS *", "OPTIONS * HTTP/1.1\r\nhost: test\r\n\r\n", &["OPTIONS"]);
    raw(
        "a path without a slash",
        "GET page HTTP/1.1\r\nhost: test\r\n\r\n",
        &["GET"],
    );
    raw(
        "an upgrade",
        "GET /1/page HTTP/1.1\r\nhost: test\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n",
        &["GET"],
    );
    raw(
        "fields that are not passed on",
        "GET /1/page HTTP/1.1\r\nHost: test\r\nConnection: keep-alive, x-hop\r\nX-Hop: 1\r\nKeep-Alive: 5\r\n\
         Proxy-Connection: keep-alive\r\nTE: trailers\r\nX-Envoy-Retry-On: 5xx\r\n\
         X-Envoy-Upstream-Rq-Timeout-Ms: 5\r\nX-Forwarded-For: 10.0.0.1\r\nX-Forwarded-Proto: https\r\n\
         X-Request-Id: mine\r\nCookie: a=1\r\nCookie: b=2\r\nX-Twice: 1\r\nX-Twice: 2\r\nX-Empty:\r\n\r\n",
        &["GET"],
    );
    list
}

fn http2_exchanges() -> Value {
    let grpc = json!([["content-type", "application/grpc"], ["te", "trailers"]]);
    let mut list = vec![
        json!({"name": "h2 post with trailers", "method": "POST", "path": "/2/echo", "body": "abc", "trailers": [["x-t", "1"]]}),
        json!({"name": "h2 post to h1 with trailers", "method": "POST", "path": "/1/echo", "body": "abc", "trailers": [["x-t", "1"]]}),
        json!({"name": "h2 large both ways", "method": "POST", "path": "/2/echo", "body_length": 1 << 20}),
        json!({"name": "h2 large to h1", "method": "POST", "path": "/1/echo", "body_length": 1 << 20}),
        json!({"name": "h2 head", "method": "HEAD", "path": "/1/page"}),
        json!({"name": "h2 head direct", "method": "HEAD", "path": "/direct"}),
        json!({"name": "h2 continue", "method": "POST", "path": "/1/echo", "body": "abc", "headers": [["expect", "100-continue"]]}),
        json!({"name": "h2 length too long", "method": "POST", "path": "/1/echo", "body": "abc", "headers": [["content-length", "5"]]}),
        json!({"name": "h2 refuse", "method": "POST", "path": "/1/refuse", "body_length": 300_000}),
        json!({"name": "h2 large to nowhere", "method": "POST", "path": "/nowhere", "body_length": 300_000}),
        json!({"name": "h2 cookies", "path": "/1/page", "headers": [["cookie", "a=1"], ["cookie", "b=2"]]}),
        json!({"name": "h2 connection field", "path": "/1/page", "headers": [["connection", "close"]]}),
        json!({"name": "h2 upper case", "path": "/1/page", "headers": [["X-Upper", "1"]]}),
        json!({"name": "h2 te", "path": "/2/page", "headers": [["te", "gzip"]]}),
        json!({"name": "h2 cancelled after head", "path": "/2/endless", "cancel": "head"}),
        json!({"name": "grpc open and cancelled", "method": "POST", "path": "/2/bidi", "headers": grpc, "body": "abc", "end": false, "cancel": "head"}),
        json!({"name": "grpc early", "method": "POST", "path": "/2/early", "headers": grpc, "body_length": 300_000}),
        json!({"name": "grpc web", "method": "POST", "path": "/dead", "headers": [["content-type", "application/grpc-web+proto"]]}),
        json!({"name": "grpc proto", "method": "POST", "path": "/dead", "headers": [["content-type", "application/grpc+proto"]]}),
        json!({"name": "grpc large", "method": "POST", "path": "/2/large", "headers": grpc, "body_length": 1 << 20}),
        json!({"name": "grpc timeout header", "method": "POST", "path": "/2/echo", "headers": [["content-type", "application/grpc"], ["te", "trailers"], ["grpc-timeout", "3S"]]}),
    ];
    for path in [
        "direct",
        "dead",
        "none",
        "empty",
        "short/hang",
        "short2/hang",
        "1/close",
        "1/garbage",
        "1/middle",
        "over",
        "mismatch",
        "blackhole",
        "nowhere",
        "1/page",
        "1/error",
        "1/chunked",
        "1/repeated",
        "1/hints",
        "2/echo",
        "2/error",
        "2/reset-0",
        "2/reset-1",
        "2/reset-2",
        "2/reset-8",
        "2/reset-11",
        "2/reset-after-2",
        "2/reset-after-8",
        "2/refuse-once",
        "2/goaway-once",
        "2/bidi",
    ] {
        list.push(json!({"name": format!("grpc {path}"), "method": "POST", "path": format!("/{path}"), "headers": grpc, "body": "\u{0}\u{0}\u{0}\u{0}\u{1}a"}));
        list.push(json!({"name": format!("h2 {path}"), "path": format!("/{path}")}));
    }
    Value::from(list)
}

fn observe_http1(side: &Side) -> BTreeMap<String, String> {
    let mut observed = BTreeMap::new();
    for (name, bytes, methods) in http1_exchanges() {
        let mut client = Client::connect(side.port);
        let sent = client.send(&bytes);
        let mut lines = Vec::new();
        for method in &methods {
            lines.push(
                client
                    .response(method)
                    .map_or_else(|| "no answer".to_owned(), |answer| describe(&answer)),
            );
        }
        // Asking whether it stays open costs time: only where something was wrong or closing was asked for.
        // Where the backend answers an upload early, either side closes if the answer overtakes the rest of it.
        let asked = lines.iter().any(|line| line.starts_with("HTTP/1.1 4")) || name.contains("close");
        if asked && name != "an upload that is refused" {
            // Envoy takes a second to do what it announced.
            let announced = lines.iter().any(|line| line.contains("connection: close"));
            let patience = Duration::from_secs(if announced { 5 } else { 1 });
            lines.push(format!("closed: {}", client.closed_within(patience)));
        }
        if !sent {
            lines.push("not all was taken".to_owned());
        }
        lines.extend(side.take_seen());
        observed.insert(name, lines.join("\n          "));
    }
    observed
}

#[test]
fn every_ending_is_the_same_as_envoys() {
    let directory = Directory::new("answers");
    let blackhole = Blackhole::start();
    let sides = [Kind::Envoy, Kind::Remora]
        .map(|kind| Side::start(kind, &directory, |ports| bootstrap(ports, blackhole.port())));
    let observed = std::thread::scope(|scope| {
        sides
            .each_ref()
            .map(|side| {
                scope.spawn(move || {
                    let http1 = observe_http1(side);
                    let http2 = side.call_http2(&http2_exchanges());
                    (http1, http2, side.take_seen())
                })
            })
            .map(|thread| thread.join().expect("a side is observed"))
    });
    let seen = sides.each_ref().map(|side| {
        // The cancelled streams end a moment after their caller has.
        wait_until(5, "the backend saw all streams end", || {
            side.http2_seen().contains_key("grpc open and cancelled")
                && side.http2_seen().contains_key("h2 cancelled after head")
        });
        let mut seen = side.http2_seen();
        let mut from_http2: BTreeMap<String, String> = BTreeMap::new();
        for line in &observed[usize::from(side.proxy.kind == Kind::Remora)].2 {
            let case = line
                .split("x-case: ")
                .nth(1)
                .and_then(|rest| rest.split(" | ").next())
                .unwrap_or("?");
            from_http2
                .entry(format!("HTTP/1.1: {case}"))
                .or_default()
                .push_str(line);
        }
        seen.append(&mut from_http2);
        seen
    });
    let logs = sides.map(|side| {
        let mut lines: BTreeMap<String, String> = BTreeMap::new();
        for line in side
            .proxy
            .end()
            .lines()
            .filter(|line| line.starts_with("HTTP/") || line.starts_with("- "))
        {
            let mut words: Vec<&str> = line.splitn(15, ' ').collect();
            let case = words.last().copied().unwrap_or("").to_owned();
            if ANSWERED_EARLY.contains(&case.as_str()) && words.len() > 8 {
                words[8] = "*";
            }
            if case == CANCELLED && words.len() > 9 {
                words[9] = "*";
            }
            lines
                .entry(case)
                .or_default()
                .push_str(&format!("{};", words[..words.len() - 1].join(" ")));
        }
        lines
    });
    let [envoy, remora] = &observed;
    let faults: Vec<String> = [
        ("HTTP/1.1 callers", &envoy.0, &remora.0, KNOWN_HTTP1),
        ("HTTP/2 callers", &envoy.1, &remora.1, KNOWN_HTTP2),
        ("backends", &seen[0], &seen[1], KNOWN_BACKEND),
        ("access logs", &logs[0], &logs[1], KNOWN_LOG),
    ]
    .into_iter()
    .filter_map(|(what, envoy, remora, known)| {
        assert!(envoy.len() > 20, "{what}: hardly anything was observed: {envoy:?}");
        compare(what, envoy, remora, known).err()
    })
    .collect();
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}
