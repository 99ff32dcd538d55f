//! Listeners that change while connections are open, and their sockets, under remora and under Envoy.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use e2e::differential::compare;
use e2e::proxy::{Kind, Proxy};
use e2e::tcp::{Behaviour, backend};
use socket2::{Domain, Socket, Type};
use testkit::http1::Client;
use testkit::wait::wait_for;
use testkit::{Directory, ports, wait_until};

/// A listener whose chains are told apart by the direct source: 127.0.0.1 and 127.0.0.2.
fn lds(port: u16, chains: &[(&str, &str)]) -> String {
    let chain = |(source, prefix): &(&str, &str)| {
        format!(
            "{{name: c{source}, filter_chain_match: {{source_prefix_ranges: [{{address_prefix: {source}, prefix_len: 32}}]}}, \
             filters: [{{name: tcp, typed_config: {{'@type': type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy, \
             stat_prefix: {prefix}, cluster: echo}}}}]}}"
        )
    };
    let chains: Vec<String> = chains.iter().map(chain).collect();
    format!(
        "resources:\n- '@type': type.googleapis.com/envoy.config.listener.v3.Listener\n  name: changing\n  \
         address: {{socket_address: {{address: 127.0.0.1, port_value: {port}}}}}\n  filter_chains: [{}]\n",
        chains.join(", ")
    )
}

/// An open connection through the proxy, from 127.0.0.1 or 127.0.0.2, that has been used.
fn connect_from(source: [u8; 4], port: u16) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket can be made");
    socket
        .bind(&SocketAddr::from((source, 0)).into())
        .expect("all of 127.0.0.0/8 is local");
    socket
        .connect(&SocketAddr::from(([127, 0, 0, 1], port)).into())
        .expect("the proxy listens");
    let mut stream: TcpStream = socket.into();
    stream
        .set_read_timeout(Some(Duration::from_secs(10)))
        .expect("the time is not zero");
    assert!(is_open(&mut stream), "a new connection is echoed");
    stream
}

fn is_open(stream: &mut TcpStream) -> bool {
    stream.write_all(b"x").is_ok() && stream.read_exact(&mut [0]).is_ok()
}

fn observe(kind: Kind, directory: &Directory) -> BTreeMap<String, String> {
    let (changing, limited, additional, http) = (
        ports::free_port(),
        ports::free_port(),
        ports::free_port(),
        ports::free_port(),
    );
    let pipe = directory.path().join(format!("{}.sock", kind.name()));
    let name = format!("{}-lds.yaml", kind.name());
    let path = directory.write(
        &name,
        &lds(changing, &[("127.0.0.1", "first"), ("127.0.0.2", "second")]),
    );
    let mut bootstrap = include_str!("../src/updates.yaml").to_owned();
    for (name, value) in [
        ("lds", path.display().to_string()),
        ("pipe", pipe.display().to_string()),
        ("limited", limited.to_string()),
        ("additional", additional.to_string()),
        ("http", http.to_string()),
        ("echo", backend(Behaviour::Echo).to_string()),
    ] {
        bootstrap = bootstrap.replace(&format!("{{{name}}}"), &value);
    }
    let proxy = Proxy::start(kind, directory, kind.name(), &bootstrap);
    wait_until(10, "the discovered listener accepts", || {
        TcpStream::connect(("127.0.0.1", changing)).is_ok()
    });
    let mut seen = BTreeMap::new();
    let mut saw = |name: &str, value: String| seen.insert(name.to_owned(), value);

    let mut kept = connect_from([127, 0, 0, 1], changing);
    let mut changed = connect_from([127, 0, 0, 2], changing);
    // The new file takes the old one's place as a whole (Envoy: watched by renaming).
    let new = directory.write(
        "new.yaml",
        &lds(changing, &[("127.0.0.1", "first"), ("127.0.0.2", "other")]),
    );
    std::fs::rename(new, &path).expect("both are in the test's directory");
    wait_until(10, "the new chain is in force", || {
        let _ = connect_from([127, 0, 0, 2], changing);
        proxy.stat("tcp.other.downstream_cx_total") > 0
    });
    let began = Instant::now();
    saw("open while its chain drains", is_open(&mut changed).to_string());
    // What it is not given any more ends it: `--drain-time-s 5`.
    let closed = wait_for(15, "the connection of the changed chain ends", || {
        (!is_open(&mut changed)).then(|| began.elapsed())
    });
    let in_time = (Duration::from_secs(3)..Duration::from_secs(8)).contains(&closed);
    saw(
        "closed when the drain time is over",
        if in_time { "yes".into() } else { format!("{closed:?}") },
    );
    saw("the other chain's connection stays", is_open(&mut kept).to_string());

    let first = connect_from([127, 0, 0, 1], limited);
    let mut second = TcpStream::connect(("127.0.0.1", limited)).expect("the system accepts for the proxy");
    let mut nothing = [0];
    let read = second.read(&mut nothing);
    saw(
        "beyond the listener's limit",
        matches!(read, Ok(0) | Err(_)).to_string(),
    );
    // Envoy closes before it counts.
    let overflow = "listener.limited.downstream_cx_overflow";
    wait_until(10, "the refusal is counted", || proxy.stat(overflow) == 1);
    drop(first);

    let mut local = UnixStream::connect(&pipe).expect("the proxy listens");
    local.write_all(b"hello").expect("it is open");
    let mut answer = [0; 5];
    local.read_exact(&mut answer).expect("it is echoed");
    saw("through a Unix socket", String::from_utf8_lossy(&answer).into_owned());
    let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&pipe).expect("it is a file").permissions());
    saw("its mode", format!("{:o}", mode & 0o777));
    saw(
        "on the additional address",
        is_open(&mut connect_from([127, 0, 0, 1], additional)).to_string(),
    );

    let mut caller = TcpStream::connect(("127.0.0.1", http)).expect("the proxy listens");
    let request = "PROXY TCP4 1.2.3.4 5.6.7.8 1000 2000\r\nGET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";
    caller.write_all(request.as_bytes()).expect("it is open");
    let mut answer = String::new();
    caller.read_to_string(&mut answer).expect("the answer is text");
    saw(
        "HTTP behind a header in one piece",
        answer.lines().next().unwrap_or("").to_owned(),
    );
    let line = wait_for(10, "the request is logged", || {
        proxy.process.output().lines().next().map(str::to_owned)
    });
    saw("and in the log", line);
    seen
}

#[test]
fn a_changed_chain_ends_its_own_connections_and_no_others() {
    let directory = Directory::new("updates");
    let envoy = observe(Kind::Envoy, &directory);
    let remora = observe(Kind::Remora, &directory);
    if let Err(faults) = compare("listeners", &envoy, &remora, &[]) {
        panic!("{faults}");
    }
    assert_eq!(remora["the other chain's connection stays"], "true");
    assert_eq!(remora["and in the log"], "1.2.3.4:1000 127.0.0.1 5.6.7.8:2000 200");
}

/// The overload manager allows one connection.
const OVERLOAD: &str = r#"
admin: {ignore_global_conn_limit: true, address: {socket_address: {address: 127.0.0.1, port_value: {admin}}}}
overload_manager:
  resource_monitors:
  - name: envoy.resource_monitors.global_downstream_max_connections
    typed_config: {"@type": type.googleapis.com/envoy.extensions.resource_monitors.downstream_connections.v3.DownstreamConnectionsConfig, max_active_downstream_connections: 1}
static_resources:
  listeners:
  - name: bounded
    stat_prefix: bounded
    address: {socket_address: {address: 127.0.0.1, port_value: {bounded}}}
    filter_chains: &chains [{filters: [{name: tcp, typed_config: {"@type": type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy, stat_prefix: tcp, cluster: echo}}]}]
  - name: bypassing
    bypass_overload_manager: true
    address: {socket_address: {address: 127.0.0.1, port_value: {bypassing}}}
    filter_chains: *chains
  clusters:
  - {name: echo, type: STATIC, load_assignment: {cluster_name: x, endpoints: [{lb_endpoints: [{endpoint: {address: {socket_address: {address: 127.0.0.1, port_value: {echo}}}}}]}]}}
"#;

#[test]
fn the_overload_manager_bounds_connections_of_listeners_that_do_not_bypass_it() {
    for kind in [Kind::Envoy, Kind::Remora] {
        let directory = Directory::new("overload");
        let (bounded, bypassing) = (ports::free_port(), ports::free_port());
        let bootstrap = OVERLOAD
            .replace("{bounded}", &bounded.to_string())
            .replace("{bypassing}", &bypassing.to_string())
            .replace("{echo}", &backend(Behaviour::Echo).to_string());
        let proxy = Proxy::start(kind, &directory, kind.name(), &bootstrap);
        let first = connect_from([127, 0, 0, 1], bounded);
        let mut second = TcpStream::connect(("127.0.0.1", bounded)).expect("the system accepts for the proxy");
        assert!(
            !matches!(second.read(&mut [0]), Ok(1..)),
            "{}: one too many is closed",
            kind.name()
        );
        let _other = connect_from([127, 0, 0, 1], bypassing);
        assert_eq!(
            proxy.stat("listener.bounded.downstream_global_cx_overflow"),
            1,
            "{}",
            kind.name()
        );
        drop(first);
    }
}

/// A discovered listener of HTTP/1.1.
const HTTP: &str = r#"
admin: {address: {socket_address: {address: 127.0.0.1, port_value: {admin}}}}
node: {id: test, cluster: test}
dynamic_resources:
  lds_config: {path_config_source: {path: "{lds}"}, resource_api_version: V3}
"#;

fn http_lds(port: u16, prefix: &str) -> String {
    format!(
        "resources:\n- '@type': type.googleapis.com/envoy.config.listener.v3.Listener\n  name: changing\n  \
         address: {{socket_address: {{address: 127.0.0.1, port_value: {port}}}}}\n  filter_chains: [{{filters: [{{name: http, typed_config: \
         {{'@type': type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager, \
         stat_prefix: {prefix}, route_config: {{virtual_hosts: [{{name: all, domains: ['*'], routes: [{{match: {{prefix: /}}, \
         direct_response: {{status: 200}}}}]}}]}}, http_filters: [{{name: router, typed_config: \
         {{'@type': type.googleapis.com/envoy.extensions.filters.http.router.v3.Router}}}}]}}}}]}}]\n"
    )
}

/// A request in an open connection: its status, and whether its answer ends the connection.
fn request_in(client: &mut Client) -> Option<(u16, bool)> {
    client.send(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n");
    let answer = client.response("GET")?;
    Some((answer.status(), answer.field("connection") == Some("close")))
}

#[test]
fn kept_connections_of_a_changed_listener_are_asked_to_end_and_none_is_cut_before_the_drain_time() {
    for kind in [Kind::Envoy, Kind::Remora] {
        let directory = Directory::new("kept");
        let port = ports::free_port();
        let path = directory.write("lds.yaml", &http_lds(port, "before"));
        let bootstrap = HTTP.replace("{lds}", &path.display().to_string());
        let proxy = Proxy::start(kind, &directory, kind.name(), &bootstrap);
        wait_until(10, "the discovered listener accepts", || {
            TcpStream::connect(("127.0.0.1", port)).is_ok()
        });
        let (mut idle, mut busy) = (Client::connect(port), Client::connect(port));
        for client in [&mut idle, &mut busy] {
            assert_eq!(request_in(client), Some((200, false)), "{kind:?}");
        }
        let new = directory.write("new.yaml", &http_lds(port, "after"));
        std::fs::rename(new, &path).expect("both are in the test's directory");
        wait_until(10, "the new chain is in force", || {
            let _ = request_in(&mut Client::connect(port));
            proxy.stat("http.after.downstream_cx_total") > 0
        });
        let began = Instant::now();
        // The probability of being asked rises to certainty in 5 s, and is next to nothing for the first.
        let mut answers = Vec::new();
        loop {
            let answer = request_in(&mut busy);
            assert!(
                matches!(answer, Some((200, _))),
                "{kind:?}: {answer:?} after {answers:?}"
            );
            answers.extend(answer);
            if answer == Some((200, true)) {
                break;
            }
        }
        assert!(busy.closed_within(Duration::from_secs(10)), "{kind:?}");
        assert!(
            began.elapsed() < Duration::from_secs(6),
            "{kind:?}: {:?}",
            began.elapsed()
        );
        assert!(idle.closed_within(Duration::from_secs(15)), "{kind:?}");
        let closed = began.elapsed();
        assert!(
            (Duration::from_secs(3)..Duration::from_secs(8)).contains(&closed),
            "{kind:?}: the idle one was closed after {closed:?}"
        );
    }
}
