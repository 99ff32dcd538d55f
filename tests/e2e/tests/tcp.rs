//! The TCP proxy under remora and under Envoy: what callers get, what is counted, what is logged.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use e2e::differential::{Known, compare};
use e2e::proxy::{Kind, Proxy};
use e2e::tcp::{Behaviour, Then, backend, exchange};
use testkit::certificates::Authority;
use testkit::wait::wait_for;
use testkit::{Directory, ports, wait_until};

const LISTENERS: [&str; 16] = [
    "echo",
    "greet",
    "count",
    "reset",
    "dead",
    "hole",
    "empty",
    "missing",
    "over",
    "idle",
    "duration",
    "connected",
    "limited",
    "weighted",
    "tls",
    "secure",
];

/// What is counted, compared after all exchanges. Levels are of the moment and all zero then.
const STATS: &[&str] = &[
    "tcp.echo.downstream_cx_total",
    "tcp.echo.downstream_cx_rx_bytes_total",
    "tcp.echo.downstream_cx_tx_bytes_total",
    "tcp.missing.downstream_cx_no_route",
    "tcp.idle.idle_timeout",
    "tcp.duration.max_downstream_connection_duration",
    "tcp.limited.downstream_cx_total",
    "tcp.count.downstream_cx_rx_bytes_total",
    "connection_limit.limited.limited_connections",
    "connection_limit.limited.active_connections",
    "listener.echo.downstream_cx_total",
    "listener.echo.downstream_cx_active",
    "listener.echo.downstream_cx_destroy",
    "listener.limited.downstream_cx_total",
    "cluster.greet.upstream_cx_active",
    "cluster.greet.upstream_rq_active",
    "cluster.count.upstream_cx_total",
    "cluster.count.upstream_cx_active",
    "cluster.count.upstream_rq_total",
    "cluster.count.upstream_rq_active",
    "cluster.count.upstream_rq_pending_total",
    "cluster.count.upstream_rq_pending_active",
    "cluster.count.upstream_cx_tx_bytes_total",
    "cluster.count.upstream_cx_rx_bytes_total",
    "cluster.count.upstream_cx_destroy",
    "cluster.count.upstream_cx_destroy_remote",
    "cluster.count.upstream_cx_destroy_local",
    "cluster.count.upstream_cx_destroy_with_active_rq",
    "cluster.count.upstream_cx_destroy_remote_with_active_rq",
    "cluster.reset.upstream_cx_destroy_remote",
    "cluster.reset.upstream_cx_destroy_remote_with_active_rq",
    "cluster.dead.upstream_cx_connect_fail",
    "cluster.dead.upstream_cx_connect_attempts_exceeded",
    "cluster.dead.upstream_cx_total",
    "cluster.dead.upstream_rq_total",
    "cluster.dead.upstream_rq_pending_failure_eject",
    "cluster.dead.upstream_rq_pending_total",
    "cluster.dead.upstream_cx_destroy",
    "cluster.dead.upstream_cx_destroy_remote",
    "cluster.dead.upstream_cx_destroy_local",
    "cluster.hole.upstream_cx_connect_timeout",
    "cluster.hole.upstream_cx_connect_fail",
    "cluster.hole.upstream_cx_destroy_local",
    "cluster.empty.upstream_cx_none_healthy",
    "cluster.over.upstream_cx_overflow",
    "cluster.over.upstream_cx_total",
    "cluster.secure.upstream_cx_total",
    "cluster.secure.upstream_cx_active",
];

struct Ports(Vec<(&'static str, u16)>);

impl Ports {
    fn of(&self, name: &str) -> u16 {
        self.0
            .iter()
            .find(|(other, _)| *other == name)
            .expect("it is a listener")
            .1
    }
}

fn start(kind: Kind, directory: &Directory) -> (Proxy, Ports) {
    let authority = Authority::new(directory, &format!("{}-authority", kind.name()));
    let identity = authority.issue(&format!("{}-secure", kind.name()), "spiffe://test/secure");
    let ports = Ports(LISTENERS.iter().map(|name| (*name, ports::free_port())).collect());
    let backends = [
        ("echo-backend", backend(Behaviour::Echo)),
        ("greet-backend", backend(Behaviour::Greet("greet"))),
        ("other-backend", backend(Behaviour::Greet("other"))),
        ("count-backend", backend(Behaviour::Count)),
        ("reset-backend", backend(Behaviour::Reset)),
    ];
    let mut bootstrap = include_str!("../src/tcp.yaml").to_owned();
    for (name, port) in ports.0.iter().chain(&backends) {
        bootstrap = bootstrap.replace(&format!("{{{name}}}"), &port.to_string());
    }
    for (name, path) in [
        ("certificate", &identity.certificate),
        ("key", &identity.key),
        ("authority", &authority.certificate),
    ] {
        bootstrap = bootstrap.replace(&format!("{{{name}}}"), &path.display().to_string());
    }
    let hole = testkit::backend::Blackhole::start();
    bootstrap = bootstrap.replace("{hole-backend}", &hole.port().to_string());
    // It lives as long as the test's process.
    std::mem::forget(hole);
    (Proxy::start(kind, directory, kind.name(), &bootstrap), ports)
}

fn observe(kind: Kind, directory: &Directory) -> BTreeMap<String, String> {
    let (proxy, ports) = start(kind, directory);
    let large = vec![b'x'; 3_000_000];
    let cases: [(&str, &str, Vec<&[u8]>, Then); 17] = [
        ("echo", "echo", vec![b"hello"], Then::End),
        ("echo in pieces", "echo", vec![b"he", b"l", b"lo"], Then::End),
        ("nothing but an end", "echo", vec![], Then::End),
        ("closed by the caller", "echo", vec![b"hello"], Then::One),
        ("the endpoint ends first", "greet", vec![b"ignored"], Then::Wait),
        ("large", "count", vec![&large], Then::End),
        ("large echo", "echo", vec![&large[..100_000]], Then::End),
        ("reset by the endpoint", "reset", vec![b"hello"], Then::Wait),
        ("refused", "dead", vec![], Then::Wait),
        ("no answer", "hole", vec![], Then::Wait),
        ("no endpoint", "empty", vec![], Then::Wait),
        ("no cluster", "missing", vec![], Then::Wait),
        ("no connection allowed", "over", vec![], Then::Wait),
        ("idle", "idle", vec![b"hello"], Then::Wait),
        ("long", "duration", vec![b"hello"], Then::Wait),
        ("logged when connected", "connected", vec![b"hello"], Then::End),
        ("TLS on both sides", "tls", vec![&large[..200_000]], Then::End),
    ];
    let mut seen = BTreeMap::new();
    for (name, listener, pieces, then) in cases {
        seen.insert(name.to_owned(), exchange(ports.of(listener), &pieces, then));
    }
    // One that stays open keeps another out.
    let mut first = TcpStream::connect(("127.0.0.1", ports.of("limited"))).expect("the proxy listens");
    first.write_all(b"x").expect("it is open");
    first.read_exact(&mut [0]).expect("it is echoed");
    seen.insert(
        "beyond the limit".into(),
        exchange(ports.of("limited"), &[], Then::Wait),
    );
    drop(first);
    wait_until(10, "the first connection is over", || {
        proxy.stat("connection_limit.limited.active_connections") == 0
    });
    let greeted = (0..200)
        .filter(|_| exchange(ports.of("weighted"), &[], Then::End).contains("greet"))
        .count();
    let is_weighted = (120..=180).contains(&greeted);
    seen.insert(
        "three in four go to one cluster".into(),
        if is_weighted { "yes".into() } else { greeted.to_string() },
    );

    let mut lines = wait_for(10, "every connection is logged", || {
        let lines: Vec<String> = proxy.process.output().lines().map(str::to_owned).collect();
        // One for each exchange, another of the one that is logged twice, one of the listener behind `tls`.
        (lines.len() >= cases_logged()).then_some(lines)
    });
    lines.sort();
    for (index, line) in lines.into_iter().enumerate() {
        seen.insert(format!("log {index:02}"), line);
    }
    for name in STATS {
        seen.insert((*name).to_owned(), proxy.stat(name).to_string());
    }
    seen
}

fn cases_logged() -> usize {
    17 + 1 + 1
}

/// Where remora differs from Envoy.
const KNOWN: &[Known] = &[];

#[test]
fn connections_are_carried_counted_and_logged_as_by_envoy() {
    let directory = Directory::new("tcp");
    let envoy = observe(Kind::Envoy, &directory);
    let remora = observe(Kind::Remora, &directory);
    if let Err(faults) = compare("TCP", &envoy, &remora, KNOWN) {
        panic!("{faults}");
    }
    assert_eq!(remora["echo"], "\"hellobye\" end");
    assert_eq!(remora["the endpoint ends first"], "\"greet\" end");
    assert_eq!(remora["large"], "\"3000000 bytes\" end");
    assert_eq!(remora["TLS on both sides"], "200003 bytes end");
}

/// A caller that does not read stops its sender: the proxy holds no more than it may.
#[test]
fn a_slow_reader_slows_its_sender() {
    let directory = Directory::new("tcp-slow");
    let (proxy, ports) = start(Kind::Remora, &directory);
    let mut caller = TcpStream::connect(("127.0.0.1", ports.of("echo"))).expect("the proxy listens");
    caller.set_nonblocking(true).expect("it is a socket");
    let chunk = vec![b'x'; 64 * 1024];
    let mut sent = 0_usize;
    // What is echoed is not read: at some point the sender is stopped, by the buffers of four sockets.
    let mut stopped = 0;
    while stopped < 50 {
        match caller.write(&chunk) {
            Ok(length) => {
                sent += length;
                stopped = 0;
            }
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                stopped += 1;
                std::thread::sleep(Duration::from_millis(10));
            }
            Err(error) => panic!("{error}"),
        }
        assert!(sent < 256 << 20, "the sender is never stopped");
    }
    let received = usize::try_from(proxy.stat("tcp.echo.downstream_cx_rx_bytes_total")).expect("it fits");
    let passed = usize::try_from(proxy.stat("cluster.echo.upstream_cx_tx_bytes_total")).expect("it fits");
    assert!(
        received - passed <= 64 * 1024,
        "{received} received, {passed} passed on"
    );
    assert!(proxy.stat("tcp.echo.downstream_flow_control_paused_reading_total") > 0);
    // And then everything arrives.
    caller.set_nonblocking(false).expect("it is a socket");
    caller
        .set_read_timeout(Some(Duration::from_secs(10)))
        .expect("the time is not zero");
    caller.shutdown(std::net::Shutdown::Write).expect("it is open");
    let mut answer = Vec::new();
    caller.read_to_end(&mut answer).expect("the answer comes to its end");
    assert_eq!(answer.len(), sent + 3);
}
