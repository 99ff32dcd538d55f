//! What must not be lost, and what must be, when a peer or the proxy itself goes away.

use std::process::Command;

use e2e::proxy::{Kind, Proxy};
use serde_json::{Value, json};
use testkit::{Directory, Process, peers, ports, wait, wait_until};

struct Mesh {
    greeters: [Process; 2],
    scripted: Process,
    proxy: Proxy,
    port: u16,
}

fn bootstrap(address: &str, ports: [u16; 4]) -> String {
    let mut text = include_str!("../src/resilience.yaml").replace("{address}", address);
    for (name, port) in ["listener", "first", "second", "scripted"].into_iter().zip(ports) {
        text = text.replace(&format!("{{{name}}}"), &port.to_string());
    }
    text
}

fn mesh(directory: &Directory) -> Mesh {
    let ports = [(); 4].map(|()| ports::free_port());
    let [port, first, second, scripted] = ports;
    let greeters = [("first", first), ("second", second)].map(|(name, port)| {
        let mut command = Command::new(peers::binary("greeter"));
        command.args(["--listen", &format!("127.0.0.1:{port}"), "--name", name]);
        let process = Process::start(name, directory, &mut command);
        wait::wait_for_port(port);
        process
    });
    let backend = Process::start(
        "scripted",
        directory,
        peers::script("h2_backend.py").arg(scripted.to_string()),
    );
    wait::wait_for_port(scripted);
    Mesh {
        greeters,
        scripted: backend,
        proxy: Proxy::start(Kind::Remora, directory, "proxy", &bootstrap("127.0.0.1", ports)),
        port,
    }
}

/// Starts gRPC calls through the proxy; the caller retries nothing.
fn calls(directory: &Directory, port: u16, arguments: &[&str]) -> Process {
    let mut command = Command::new(peers::binary("frontend"));
    command.args([
        "--target",
        &format!("127.0.0.1:{port}"),
        "--report-every",
        "50",
        "--shape",
        "unary",
    ]);
    Process::start("calls", directory, command.args(arguments))
}

/// The latest report of the calls.
fn report(calls: &Process) -> Value {
    calls
        .output()
        .lines()
        .rev()
        .find_map(|line| serde_json::from_str(line).ok())
        .unwrap_or(Value::Null)
}

fn count(report: &Value, key: &str) -> u64 {
    report[key].as_u64().unwrap_or(0)
}

#[test]
fn a_killed_backend_takes_only_its_calls_in_flight_with_it() {
    let directory = Directory::new("kill");
    let mut mesh = mesh(&directory);
    let concurrency = 8;
    let arguments = [
        "--rate",
        "400",
        "--concurrency",
        "8",
        "--delay-ms",
        "10",
        "--duration",
        "60",
    ];
    let calls = calls(&directory, mesh.port, &arguments);
    wait_until(20, "both greeters have answered", || {
        report(&calls)["by_backend"].as_object().is_some_and(|by| by.len() == 2)
            && count(&report(&calls), "requests") > 200
    });
    assert_eq!(count(&report(&calls), "failures"), 0, "{}", report(&calls));
    mesh.greeters[0].kill();
    let before = count(&report(&calls), "requests");
    wait_until(20, "500 more calls were answered", || {
        count(&report(&calls), "requests") > before + 500
    });
    let last = report(&calls);
    let failures = count(&last, "failures");
    assert!(
        failures <= concurrency,
        "more failed than can have been in flight: {last}"
    );
    let codes = last["by_code"].as_object().expect("codes");
    assert!(codes.keys().all(|code| code == "OK" || code == "UNAVAILABLE"), "{last}");
    assert!(mesh.proxy.process.is_running());
}

#[test]
fn what_a_backend_provably_did_not_process_is_sent_again() {
    let directory = Directory::new("unprocessed");
    let mesh = mesh(&directory);
    let grpc = json!([["content-type", "application/grpc"], ["te", "trailers"]]);
    let exchanges = json!([
        {"name": "refused", "method": "POST", "path": "/2/refuse-once", "headers": grpc, "body": "\u{0}\u{0}\u{0}\u{0}\u{1}a"},
        {"name": "above the last stream", "method": "POST", "path": "/2/goaway-once", "headers": grpc, "body": "\u{0}\u{0}\u{0}\u{0}\u{1}b"},
        {"name": "reset for another reason", "method": "POST", "path": "/2/reset-8", "headers": grpc, "body": "\u{0}\u{0}\u{0}\u{0}\u{1}c"},
    ]);
    let answers = e2e::differential::call_http2(mesh.port, &exchanges);
    for name in ["refused", "above the last stream"] {
        let answer = &answers[name];
        assert!(answer.contains("grpc-status: 0"), "{name}: {answer}");
    }
    assert!(
        answers["reset for another reason"].contains("grpc-status: 14"),
        "{answers:?}"
    );
    let seen = |name: &str| mesh.scripted.output().matches(&format!("\"case\": \"{name}\"")).count();
    assert_eq!(seen("refused"), 2);
    assert_eq!(seen("above the last stream"), 2);
    assert_eq!(
        seen("reset for another reason"),
        1,
        "what may have been processed is not repeated"
    );
}

#[test]
fn sigterm_lets_calls_in_flight_finish_and_ends_with_status_0() {
    let directory = Directory::new("drain");
    let mut mesh = mesh(&directory);
    let arguments = [
        "--rate",
        "10000",
        "--concurrency",
        "8",
        "--requests",
        "8",
        "--delay-ms",
        "1500",
    ];
    let mut calls = calls(&directory, mesh.port, &arguments);
    wait_until(10, "eight calls are in flight", || {
        mesh.proxy.stat("cluster.greeters.upstream_rq_active") == 8
    });
    mesh.proxy.process.signal("TERM");
    wait_until(5, "nobody new is let in", || {
        std::net::TcpStream::connect(("127.0.0.1", mesh.port)).is_err()
    });
    assert_eq!(count(&report(&calls), "requests"), 0, "the calls are still in flight");
    calls.wait(10);
    let last = report(&calls);
    assert_eq!(
        (count(&last["by_code"], "OK"), count(&last, "failures")),
        (8, 0),
        "{last}"
    );
    assert_eq!(mesh.proxy.process.wait(10).code(), Some(0));
}

#[test]
fn an_address_that_is_not_ours_is_named_and_ends_the_process() {
    let directory = Directory::new("address");
    let ports = [(); 4].map(|()| ports::free_port());
    let file = directory.write(
        "bad.yaml",
        &bootstrap("203.0.113.77", ports).replace("{admin}", &ports::free_port().to_string()),
    );
    let mut process = Process::start(
        "proxy",
        &directory,
        Command::new(peers::binary("remora")).arg("-c").arg(file),
    );
    assert_eq!(process.wait(10).code(), Some(1));
    let errors = process.errors();
    assert!(errors.contains(&format!("203.0.113.77:{}", ports[0])), "{errors}");
}
