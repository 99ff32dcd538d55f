//! docs/quickstart/bootstrap.yaml, as it is, under remora and under Envoy: the same answers to the same requests.

use std::collections::BTreeMap;
use std::process::Command;

use e2e::differential::{Ports, Side, compare, describe};
use e2e::proxy::Kind;
use serde_json::json;
use testkit::http1::Client;
use testkit::{Directory, peers};

fn file() -> String {
    std::fs::read_to_string(peers::root().join("docs/quickstart/bootstrap.yaml")).expect("the quickstart's bootstrap")
}

/// Only the ports differ, so that two proxies can run at once.
fn with_ports(ports: &Ports) -> String {
    let mut text = file();
    for (from, to) in [
        (10_000, ports.listener.to_string()),
        (9901, "{admin}".to_owned()),
        (8081, ports.stable.to_string()),
        (8082, ports.canary.to_string()),
        (50_051, ports.http2.to_string()),
    ] {
        let from = format!("port_value: {from}}}");
        assert!(text.contains(&from), "the quickstart has no {from}");
        text = text.replace(&from, &format!("port_value: {to}}}"));
    }
    text
}

#[test]
fn check_accepts_it() {
    let output = Command::new(peers::binary("remora"))
        .arg("check")
        .arg(peers::root().join("docs/quickstart/bootstrap.yaml"))
        .output()
        .expect("remora runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
}

#[test]
fn both_proxies_give_the_same_answers() {
    let directory = Directory::new("quickstart");
    let sides = [Kind::Envoy, Kind::Remora].map(|kind| Side::start(kind, &directory, with_ports));
    let http2 = json!([
        {"name": "hello", "path": "/hello"},
        {"name": "page", "path": "/page?x=1"},
        {"name": "upload", "method": "POST", "path": "/echo", "body": "some words"},
        {"name": "slow", "path": "/slow/hang"},
        {"name": "unary", "method": "POST", "path": "/greeter.v1.Greeter/SayHello", "body": "\u{0}\u{0}\u{0}\u{0}\u{0}",
         "headers": [["content-type", "application/grpc"], ["te", "trailers"], ["grpc-timeout", "5S"]]},
        {"name": "not found by the service", "method": "POST", "path": "/greeter.v1.Greeter/error",
         "headers": [["content-type", "application/grpc"], ["te", "trailers"]]},
    ]);
    let mut observed = Vec::new();
    for side in &sides {
        let mut answers = BTreeMap::new();
        for path in ["/hello", "/hello?query", "/page", "/slow/hang", "/chunked"] {
            let answer = Client::get(side.port, path).map_or_else(|| "none".to_owned(), |answer| describe(&answer));
            answers.insert(
                format!("HTTP/1.1 {path}"),
                format!("{answer}; {}", side.take_seen().join("; ")),
            );
        }
        for (name, answer) in side.call_http2(&http2) {
            answers.insert(format!("HTTP/2 {name}"), answer);
        }
        answers.insert("seen from HTTP/2".to_owned(), side.take_seen().join("; "));
        answers.extend(side.http2_seen());
        observed.push(answers);
    }
    compare("answers", &observed[0], &observed[1], &[]).unwrap_or_else(|faults| panic!("{faults}"));
    for side in &sides {
        let total = 500;
        let mut client = Client::connect(side.port);
        let mut canary = 0;
        for _ in 0..total {
            client.send(b"GET /split HTTP/1.1\r\nhost: test\r\n\r\n");
            let answer = client.response("GET").expect("an answer");
            canary += usize::from(answer.field("x-backend") == Some("canary"));
        }
        // Five standard deviations around one in five.
        assert!(
            (55..=145).contains(&canary),
            "{}: {canary} of {total}",
            side.proxy.kind.name()
        );
    }
    let logs = sides.map(|side| {
        let log = side.proxy.end();
        // The time in brackets differs; the 500 of the split are random.
        log.lines()
            .filter(|line| line.starts_with('[') && !line.contains("/split"))
            .filter_map(|line| Some(line.split_once("] ")?.1.to_owned()))
            .filter(|line| line.starts_with("HTTP/"))
            .enumerate()
            .map(|(number, line)| (format!("line {number:02}"), line))
            .collect::<BTreeMap<_, _>>()
    });
    assert_eq!(logs[0].len(), 11, "{logs:?}");
    compare("access logs", &logs[0], &logs[1], &[]).unwrap_or_else(|faults| panic!("{faults}"));
}
