//! A caller that opens many streams and reads none of the answers: what the proxy holds for it is bounded by the
//! buffers that are configured, not by what the endpoints would send.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use codec::event::Scratch;
use codec::h2::Config;
use codec::headers::HeaderBlock;
use e2e::proxy::{Kind, Proxy};
use testkit::backend::{Backend, LARGE};
use testkit::{Directory, ports, wait_until};

const STREAMS: usize = 100;
/// `per_connection_buffer_limit_bytes` of the cluster.
const LIMIT: usize = 32 * 1024;
/// A read brings up to this much beyond the limit.
const READ: usize = 64 * 1024;

const BOOTSTRAP: &str = r#"
admin: {address: {socket_address: {address: 127.0.0.1, port_value: {admin}}}}
static_resources:
  listeners:
  - name: stalled
    address: {socket_address: {address: 127.0.0.1, port_value: {listener}}}
    filter_chains:
    - filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: stalled
          route_config:
            virtual_hosts: [{name: v, domains: ["*"], routes: [{match: {prefix: /}, route: {cluster: stable}}]}]
          http_filters:
          - name: envoy.filters.http.router
            typed_config: {"@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router}
  clusters:
  - name: stable
    type: STATIC
    connect_timeout: 1s
    per_connection_buffer_limit_bytes: {limit}
    load_assignment: {cluster_name: x, endpoints: [{lb_endpoints: [{endpoint: {address: {socket_address: {address: 127.0.0.1, port_value: {stable}}}}}]}]}
"#;

/// Resident memory of a process in bytes.
fn resident(process: u32) -> usize {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).expect("it runs");
    let line = status
        .lines()
        .find(|line| line.starts_with("VmRSS:"))
        .expect("Linux says so");
    let kilobytes = line
        .split_whitespace()
        .nth(1)
        .and_then(|number| number.parse::<usize>().ok());
    kilobytes.expect("a number") * 1024
}

/// A caller in HTTP/2 that never gives credit back.
struct Caller {
    socket: TcpStream,
    codec: codec::Connection,
    scratch: Scratch,
}

impl Caller {
    /// Connects, and asks for as many large answers.
    fn start(port: u16, streams: usize) -> Self {
        let mut caller = Self::connect(port);
        for _ in 0..streams {
            caller.ask(b"/large", b"");
        }
        caller
    }

    fn connect(port: u16) -> Self {
        let socket = TcpStream::connect(("127.0.0.1", port)).expect("the proxy listens");
        socket
            .set_read_timeout(Some(Duration::from_millis(100)))
            .expect("a timeout can be set");
        let config = Arc::new(Config {
            initial_stream_window_size: 65_535,
            initial_connection_window_size: 65_535,
            ..Config::default()
        });
        let mut caller = Self {
            socket,
            codec: codec::Connection::h2_client(&config, Instant::now()),
            scratch: Scratch::new(),
        };
        caller.turn();
        caller
    }

    /// Makes a request with a body, if that is not empty.
    fn ask(&mut self, path: &[u8], body: &[u8]) {
        let stream = self.codec.open_stream().expect("there is room");
        let mut head = HeaderBlock::new();
        head.set_method(if body.is_empty() { b"GET" } else { b"POST" });
        head.set_scheme(b"http");
        head.set_authority(b"test");
        head.set_path(path);
        self.codec
            .send_head(stream, &head, body.is_empty())
            .expect("it can be sent");
        if !body.is_empty() {
            self.codec.send_data(stream, body, true).expect("it can be sent");
        }
    }

    /// Writes what there is to be written, and reads once.
    fn turn(&mut self) {
        let output = self.codec.output().to_vec();
        self.socket.write_all(&output).expect("the proxy reads");
        self.codec.advance_output(output.len());
        let mut buffer = [0; 16 * 1024];
        if let Ok(length) = self.socket.read(&mut buffer) {
            let mut input = &buffer[..length];
            while let Ok(Some(_)) = self.codec.receive(&mut input, &mut self.scratch, Instant::now()) {}
        }
    }
}

#[test]
fn streams_that_nobody_reads_hold_no_more_than_the_configured_buffers() {
    let directory = Directory::new("stalled_streams");
    let backend = Backend::start("stable");
    let listener = ports::free_port();
    let bootstrap = BOOTSTRAP
        .replace("{listener}", &listener.to_string())
        .replace("{stable}", &backend.port().to_string())
        .replace("{limit}", &LIMIT.to_string());
    let proxy = Proxy::start(Kind::Remora, &directory, "remora", &bootstrap);
    let before = resident(proxy.process.id());

    let mut caller = Caller::start(listener, STREAMS);
    wait_until(20, "the backend has seen all requests", || {
        caller.turn();
        backend.seen_count() == STREAMS
    });
    // What is still on its way arrives while nothing changes any more.
    let mut last = 0;
    wait_until(20, "memory is steady", || {
        caller.turn();
        let now = resident(proxy.process.id());
        std::mem::replace(&mut last, now) == now
    });
    assert_eq!(proxy.stat("http.stalled.downstream_rq_active"), STREAMS as u64);
    let grown = last.saturating_sub(before);
    // Codec, record and allocator take their part; without the limit it would be all of the answers.
    let bound = STREAMS * (LIMIT + READ + 64 * 1024);
    assert!(
        grown < bound,
        "{STREAMS} stalled streams hold {grown} bytes, expected less than {bound}"
    );
    assert!(bound < STREAMS * LARGE / 4, "the bound says something");
}

/// What waits for a caller's window is in a gauge, to Envoy and to remora, until it has gone or its stream has.
#[test]
fn the_octets_that_wait_for_a_window_are_counted_as_envoy_counts_them() {
    const GAUGE: &str = "http2.pending_send_bytes";
    let directory = Directory::new("pending_send");
    let backend = Backend::start("stable");
    for kind in [Kind::Envoy, Kind::Remora] {
        let listener = ports::free_port();
        let bootstrap = BOOTSTRAP
            .replace("{listener}", &listener.to_string())
            .replace("{stable}", &backend.port().to_string())
            .replace("{limit}", &LIMIT.to_string());
        let proxy = Proxy::start(kind, &directory, kind.name(), &bootstrap);
        assert_eq!(proxy.stat(GAUGE), 0);
        let mut caller = Caller::start(listener, 3);
        wait_until(20, &format!("{} holds octets of each stream", kind.name()), || {
            caller.turn();
            proxy.stat(GAUGE) as usize > 2 * LIMIT
        });
        drop(caller);
        wait_until(20, &format!("{} holds nothing any more", kind.name()), || {
            proxy.stat(GAUGE) == 0
        });
    }
}

/// How long the rest of a finished answer waits for the caller's window: as long as the route says, whatever its idle timeout
/// is, or else the connection manager; to Envoy and to remora.
#[test]
fn a_finished_answer_waits_for_the_window_as_long_as_its_route_says() {
    const COUNTER: &str = "http2.tx_flush_timeout";
    let directory = Directory::new("flush_timeout");
    let backend = Backend::start("stable");
    for kind in [Kind::Envoy, Kind::Remora] {
        let listener = ports::free_port();
        let bootstrap = BOOTSTRAP
            .replace("{listener}", &listener.to_string())
            .replace("{stable}", &backend.port().to_string())
            .replace("{limit}", "1048576")
            .replace("stat_prefix: stalled", "stat_prefix: stalled\n          stream_idle_timeout: 600s")
            .replace(
                "routes: [",
                "routes: [{match: {prefix: /flush}, route: {cluster: stable, flush_timeout: 0.2s}}, {match: {prefix: /idle}, \
                 route: {cluster: stable, idle_timeout: 0.2s}}, {match: {prefix: /never}, route: {cluster: stable, \
                 idle_timeout: 0.2s, flush_timeout: 0s}}, ",
            );
        let proxy = Proxy::start(kind, &directory, kind.name(), &bootstrap);
        let body = [7; 100_000];
        let mut callers: Vec<Caller> = ["/never/echo", "/plain/echo", "/flush/echo", "/idle/echo"]
            .iter()
            .map(|path| {
                let mut caller = Caller::connect(listener);
                caller.ask(path.as_bytes(), &body);
                caller
            })
            .collect();
        wait_until(20, &format!("{} gives one answer up", kind.name()), || {
            callers.iter_mut().for_each(Caller::turn);
            proxy.stat(COUNTER) >= 1
        });
        // The others wait longer than yet another one.
        let mut caller = Caller::connect(listener);
        caller.ask(b"/flush/echo", &body);
        wait_until(20, &format!("{} gives another answer up", kind.name()), || {
            caller.turn();
            proxy.stat(COUNTER) >= 2
        });
        assert_eq!(proxy.stat(COUNTER), 2, "{kind:?}");
    }
}
