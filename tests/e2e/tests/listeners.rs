//! Listener filters and the choice of a filter chain, under remora and under Envoy.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use e2e::differential::{Known, compare};
use e2e::proxy::{Kind, Proxy};
use e2e::tcp::{Behaviour, Then, backend, client_hello, exchange};
use testkit::wait::wait_for;
use testkit::{Directory, peers, ports};

const KINDS: [Kind; 2] = [Kind::Envoy, Kind::Remora];

/// Every combination of where a connection comes from, where it goes, and what it begins with.
fn connections() -> Vec<(String, Vec<u8>)> {
    let hello = |name, alpn: &[&str]| client_hello(name, alpn);
    let beginnings: [(&str, Vec<u8>); 8] = [
        ("raw", b"\0\x01\x02\x03 neither TLS nor HTTP".to_vec()),
        ("http1", b"GET / HTTP/1.1\r\nhost: a\r\n\r\n".to_vec()),
        ("h2c", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec()),
        ("tls", hello(None, &[])),
        ("a", hello(Some("A.example.com"), &["h2", "http/1.1"])),
        ("c", hello(Some("b.c.example.com"), &["http/1.1", "istio"])),
        ("d", hello(Some("x.d.example.com"), &["h2"])),
        ("other", hello(Some("example.com"), &["h2"])),
    ];
    let destinations = ["10.1.1.1", "10.2.2.2", "20.0.0.1"];
    let sources = ["10.9.9.9", "127.0.0.1", "127.0.0.2", "10.1.1.1", "30.0.0.1"];
    let mut connections = Vec::new();
    for destination in destinations {
        for port in [1000, 2000, 3000, 4000] {
            for source in sources {
                for source_port in [5000, 6000] {
                    for (name, beginning) in &beginnings {
                        let header = format!("PROXY TCP4 {source} {destination} {source_port} {port}\r\n");
                        let bytes = [header.as_bytes(), beginning].concat();
                        let name = format!("{name} {source}:{source_port} to {destination}:{port}");
                        connections.push((name, bytes));
                    }
                }
            }
        }
    }
    for (name, beginning) in &beginnings {
        let header = b"PROXY TCP6 fd00::1 fd00::2 5000 4000\r\n";
        connections.push((format!("{name} v6"), [header, &**beginning].concat()));
    }
    connections
}

#[test]
fn every_connection_gets_the_filter_chain_it_gets_from_envoy() {
    let connections = connections();
    let directory = Directory::new("chains");
    let mut chosen = Vec::new();
    for kind in KINDS {
        let listener = ports::free_port();
        let bootstrap = include_str!("../src/chains.yaml").replace("{listener}", &listener.to_string());
        let proxy = Proxy::start(kind, &directory, kind.name(), &bootstrap);
        for (_, bytes) in &connections {
            let _ = exchange(listener, &[bytes], Then::Wait);
        }
        let lines: Vec<String> = wait_for(10, "every connection is logged", || {
            let lines: Vec<String> = proxy.process.output().lines().map(str::to_owned).collect();
            (lines.len() >= connections.len()).then_some(lines)
        });
        assert_eq!(lines.len(), connections.len(), "{kind:?}");
        let names = connections.iter().map(|(name, _)| name.clone());
        chosen.push(names.zip(lines).collect::<BTreeMap<_, _>>());
    }
    if let Err(faults) = compare("filter chains", &chosen[0], &chosen[1], &[]) {
        panic!("{faults}");
    }
    // Not all the same chain: the comparison would show nothing.
    for chain in [
        "port",
        "port-range",
        "wide",
        "narrow",
        "narrow-exact",
        "narrow-suffix",
        "suffix",
        "deeper",
        "h2",
        "http1-local",
        "http1-outside",
        "http1-port",
        "h2c",
        "direct",
        "source-port",
        "v6",
        "default",
    ] {
        let shown = format!(" {chain} ");
        assert!(
            chosen[0].values().any(|line| line.contains(&shown)),
            "no connection got {chain}"
        );
    }
}

/// Listeners with one filter each, whose connections go to an echo.
fn filters_bootstrap(listeners: &[(&str, u16, &str)], echo: u16) -> String {
    let mut text = String::from(
        "admin: {address: {socket_address: {address: 127.0.0.1, port_value: {admin}}}}\nstatic_resources:\n  listeners:\n",
    );
    for (name, port, more) in listeners {
        let _ = write!(
            text,
            "  - name: {name}\n    address: {{socket_address: {{address: 127.0.0.1, port_value: {port}}}}}\n    stat_prefix: {name}\n    {more}\n    filter_chains:\n    - name: {name}\n      filters:\n      - name: tcp\n        typed_config:\n          \"@type\": type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy\n          stat_prefix: {name}\n          cluster: echo\n          access_log:\n          - name: envoy.access_loggers.stdout\n            typed_config:\n              \"@type\": type.googleapis.com/envoy.extensions.access_loggers.stream.v3.StdoutAccessLog\n              log_format: {{text_format_source: {{inline_string: \"{name} %BYTES_RECEIVED% %BYTES_SENT% %RESPONSE_FLAGS%\\n\"}}}}\n",
        );
    }
    let _ = write!(
        text,
        "  clusters:\n  - {{name: echo, type: STATIC, load_assignment: {{cluster_name: x, endpoints: [{{lb_endpoints: [{{endpoint: {{address: {{socket_address: {{address: 127.0.0.1, port_value: {echo}}}}}}}}}]}}]}}}}\n",
    );
    text
}

const FILTER: &str = "type.googleapis.com/envoy.extensions.filters.listener";

#[test]
fn listener_filters_pass_refuse_and_give_up_as_in_envoy() {
    let directory = Directory::new("listener-filters");
    let mut observed = Vec::new();
    for kind in KINDS {
        let echo = backend(Behaviour::Echo);
        let proxy_protocol = format!("name: f, typed_config: {{\"@type\": {FILTER}.proxy_protocol.v3.ProxyProtocol");
        let inspector = format!("name: f, typed_config: {{\"@type\": {FILTER}.tls_inspector.v3.TlsInspector");
        let filters = [
            ("strict", format!("listener_filters: [{{{proxy_protocol}}}}}]")),
            (
                "lenient",
                format!(
                    "listener_filters: [{{{proxy_protocol}, allow_requests_without_proxy_protocol: true, disallowed_versions: [V2], stat_prefix: len}}}}]"
                ),
            ),
            (
                "careful",
                format!("listener_filters: [{{{inspector}, close_connection_on_client_hello_parsing_errors: true}}}}]"),
            ),
            (
                "hasty",
                format!("listener_filters_timeout: 0.2s\n    listener_filters: [{{{inspector}}}}}]"),
            ),
            (
                "hasty-on",
                format!(
                    "listener_filters_timeout: 0.2s\n    continue_on_listener_filters_timeout: true\n    listener_filters: [{{{inspector}}}}}]"
                ),
            ),
            (
                "left-alone",
                format!("listener_filters: [{{{proxy_protocol}}}, filter_disabled: {{any_match: true}}}}]"),
            ),
        ];
        let listeners: Vec<(&str, u16, &str)> = filters
            .iter()
            .map(|(name, more)| (*name, ports::free_port(), more.as_str()))
            .collect();
        let port = |name: &str| {
            listeners
                .iter()
                .find(|listener| listener.0 == name)
                .expect("it is listed")
                .1
        };
        let proxy = Proxy::start(kind, &directory, kind.name(), &filters_bootstrap(&listeners, echo));
        let v1: &[u8] = b"PROXY TCP4 1.2.3.4 5.6.7.8 1000 2000\r\n";
        let v2: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\x01\x02\x03\x04\x05\x06\x07\x08\x03\xe8\x07\xd0";
        let hello = client_hello(Some("a.example.com"), &["h2"]);
        let long: Vec<String> = (0..1400).map(|n| format!("protocol-{n}")).collect();
        let long = client_hello(None, &long.iter().map(String::as_str).collect::<Vec<_>>());
        let split = v1.split_at(9);
        let cases: [(&str, &str, Vec<&[u8]>, Then); 17] = [
            ("v1", "strict", vec![v1, b"hello"], Then::One),
            ("v1 in one piece", "strict", vec![b"PROXY UNKNOWN\r\nhello"], Then::One),
            ("v1 in pieces", "strict", vec![split.0, split.1, b"hello"], Then::One),
            ("v2", "strict", vec![v2, b"hello"], Then::One),
            (
                "v2 in pieces",
                "strict",
                vec![&v2[..5], &v2[5..20], &v2[20..], b"hello"],
                Then::One,
            ),
            ("none", "strict", vec![b"hello, this is no header"], Then::Wait),
            ("broken", "strict", vec![b"PROXY TCP4 1.2.3.4 x 1 2\r\n"], Then::Wait),
            ("none allowed", "lenient", vec![b"hello"], Then::One),
            ("v1 allowed", "lenient", vec![v1, b"hello"], Then::One),
            ("v2 not looked for", "lenient", vec![v2], Then::One),
            (
                "a hello",
                "careful",
                vec![&hello[..3], &hello[3..50], &hello[50..]],
                Then::One,
            ),
            ("not TLS", "careful", vec![b"hello, this is no TLS"], Then::Wait),
            ("too long", "careful", vec![&long], Then::Wait),
            ("silence", "hasty", vec![], Then::Wait),
            ("part of a hello", "hasty", vec![&hello[..20]], Then::Wait),
            ("part of a hello, on", "hasty-on", vec![&hello[..20]], Then::One),
            ("disabled", "left-alone", vec![b"hello"], Then::One),
        ];
        let mut seen = BTreeMap::new();
        for (name, listener, pieces, then) in cases {
            seen.insert(name.to_owned(), exchange(port(listener), &pieces, then));
        }
        // The end of what is not closed yet is counted with the last of the logs.
        wait_for(10, "connections are logged", || {
            (proxy.process.output().lines().count() >= 10).then_some(())
        });
        for name in [
            "tls_inspector.tls_found",
            "tls_inspector.tls_not_found",
            "tls_inspector.client_hello_too_large",
            "tls_inspector.alpn_found",
            "tls_inspector.sni_found",
            "tls_inspector.sni_not_found",
            "proxy_proto.versions.v1.found",
            "proxy_proto.versions.v1.error",
            "proxy_proto.versions.v2.found",
            "proxy_proto.not_found_disallowed",
            "proxy_proto.len.not_found_allowed",
            "proxy_proto.len.versions.v1.found",
            "proxy_proto.len.versions.v2.disallowed",
            "downstream_cx_proxy_proto_error",
            "listener.hasty.downstream_pre_cx_timeout",
            "listener.hasty-on.downstream_pre_cx_timeout",
            "listener.hasty-on.downstream_cx_total",
            "listener.strict.downstream_cx_total",
            "listener.strict.downstream_pre_cx_active",
            "listener.careful.downstream_cx_total",
            "listener.strict.no_filter_chain_match",
        ] {
            seen.insert(name.to_owned(), proxy.stat(name).to_string());
        }
        observed.push(seen);
    }
    if let Err(faults) = compare("listener filters", &observed[0], &observed[1], &[]) {
        panic!("{faults}");
    }
    assert_eq!(observed[1]["v1"], "\"hello\"");
    assert_eq!(observed[1]["silence"], "\"\" end");
}

/// Redirected by iptables, in a network namespace: the system may not allow either, which is said and is no fault.
#[test]
fn captured_connections_go_where_they_go_under_envoy() {
    let unshare = |command: &mut std::process::Command| {
        let mut all = std::process::Command::new("unshare");
        all.args(["--user", "--map-root-user", "--net"])
            .arg(command.get_program())
            .args(command.get_args());
        all
    };
    let mut probe = std::process::Command::new("iptables");
    let probed = unshare(probe.args(["-t", "nat", "-L", "-n"])).output();
    if !probed.as_ref().is_ok_and(|output| output.status.success()) {
        eprintln!("skipped: no network namespace with iptables: {probed:?}");
        return;
    }
    let directory = Directory::new("captured");
    let bootstrap = directory.write("captured.yaml", include_str!("../src/captured.yaml"));
    let mut observed = Vec::new();
    for kind in KINDS {
        let mut script = peers::script("captured.py");
        script.arg(kind.binary()).arg(&bootstrap);
        let output = unshare(&mut script).output().expect("it was started before");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let result: BTreeMap<String, serde_json::Value> =
            serde_json::from_slice(&output.stdout).expect("the script prints an object");
        observed.push(
            result
                .into_iter()
                .map(|(name, value)| (name, value.to_string()))
                .collect::<BTreeMap<_, _>>(),
        );
    }
    // The log differs in the line of this connection only.
    for observed in &mut observed {
        let log = observed.remove("log").unwrap_or_default();
        let lines: Vec<String> = serde_json::from_str(&log).expect("it is a list");
        let lines = lines.into_iter().filter(|line| !line.contains(":15001"));
        observed.extend(lines.enumerate().map(|(index, line)| (format!("log {index}"), line)));
    }
    let known = [Known {
        names: &["straight to the proxy"],
        reason: "a proxy that connects to itself would do so without end: there is no original destination",
    }];
    if let Err(faults) = compare("captured connections", &observed[0], &observed[1], &known) {
        panic!("{faults}");
    }
    assert_eq!(observed[1]["passed through"], "\"10.1.1.1 one\"");
    assert_eq!(observed[1]["a service's own listener"], "\"10.1.1.9 two\"");
    assert_eq!(observed[1]["straight to the proxy"], "\"\"");
}

/// A header of version 2 from port `source` with these type-length-values.
fn proxy_header(source: u16, command: u8, tlvs: &[Tlv<'_>]) -> Vec<u8> {
    let mut body = vec![1, 2, 3, 4, 5, 6, 7, 8];
    body.extend(source.to_be_bytes());
    body.extend(2000_u16.to_be_bytes());
    for (kind, value) in tlvs {
        body.push(*kind);
        body.extend(u16::try_from(value.len()).expect("it is short").to_be_bytes());
        body.extend_from_slice(value);
    }
    let length = u16::try_from(body.len()).expect("it is short").to_be_bytes();
    [b"\r\n\r\n\0\r\nQUIT\n", &[command, 0x11][..], &length, &body].concat()
}

/// A TLV of a PROXY header: its type and value.
type Tlv<'a> = (u8, &'a [u8]);

#[test]
fn what_proxy_headers_carry_beyond_addresses_is_kept_as_in_envoy() {
    const PROXY: u8 = 0x21;
    const LOCAL: u8 = 0x20;
    let directory = Directory::new("tlvs");
    let cases: [(u8, &[Tlv<'_>]); 8] = [
        (PROXY, &[(2, b"a.example")]),
        (PROXY, &[(234, b"x"), (2, b"one"), (2, b"two"), (3, b"not kept")]),
        (PROXY, &[(234, b"\xff\xfebin"), (5, b""), (6, b"without a key")]),
        (PROXY, &[(2, b"\xc3\xa9\"\xff\xf0\x9f\x98\x80\xf0\x9f\xed\xa0\x80")]),
        (PROXY, &[]),
        (PROXY, &[(3, b"not kept")]),
        (LOCAL, &[(2, b"a.example")]),
        (PROXY, &[(2, b"a\x01b\x7f")]),
    ];
    let known = [Known {
        names: &["state 7"],
        reason: "Envoy puts octets into a header that HTTP does not allow in it: the header is left out",
    }];
    let mut observed = Vec::new();
    for kind in KINDS {
        let listeners = ["metadata", "state", "tcp"].map(|name| (name, ports::free_port()));
        let mut bootstrap = include_str!("../src/tlvs.yaml").to_owned();
        for (name, port) in listeners {
            bootstrap = bootstrap.replace(&format!("{{{name}}}"), &port.to_string());
        }
        let proxy = Proxy::start(kind, &directory, kind.name(), &bootstrap);
        let mut seen = BTreeMap::new();
        let request = b"GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";
        let mut lines = 0;
        for (name, port) in listeners {
            for (index, (command, tlvs)) in cases.iter().enumerate() {
                // Its place is its port, by which its log lines are told apart.
                let source = 1000 + u16::try_from(index).expect("there are few");
                let header = proxy_header(source, *command, tlvs);
                if name == "tcp" {
                    let _ = exchange(port, &[&header], Then::Wait);
                    lines += 1;
                } else {
                    let answer = answered(port, &[&header[..], request].concat());
                    seen.insert(format!("{name} {index}"), answer);
                    lines += 2;
                }
                let logged = wait_for(10, "it is logged", || {
                    let output = proxy.process.output();
                    (output.lines().count() >= lines).then_some(output)
                });
                let last = logged.lines().skip(lines - if name == "tcp" { 1 } else { 2 });
                for line in last {
                    let entry: serde_json::Value = serde_json::from_str(line).expect("it is an object");
                    let of = entry["of"].as_str().unwrap_or_default();
                    let of = if *command == LOCAL {
                        of.rsplit(' ').next()
                    } else {
                        Some(of)
                    };
                    let at = format!("{name} {index} {}", of.unwrap_or_default());
                    let mut entry = entry;
                    entry["of"] = serde_json::Value::Null;
                    seen.insert(at, entry.to_string());
                }
            }
        }
        observed.push(seen);
    }
    if let Err(faults) = compare("PROXY headers", &observed[0], &observed[1], &known) {
        panic!("{faults}");
    }
    let shown = |name: &str, text: &str| assert!(observed[1][name].contains(text), "{:?}", observed[1]);
    shown("metadata 1 1.2.3.4:1001 5.6.7.8:2000 0", r#""own":{"authority":"one"}"#);
    shown("tcp 2 1.2.3.4:1002 5.6.7.8:2000 0", r#""other":"//5iaW4=""#);
    shown(
        "state 1 1.2.3.4:1001 5.6.7.8:2000 200",
        r#""state":{"authority":"two","base":"eA=="}"#,
    );
    shown("state 1", "x-state: two");
    shown("state 7", "HTTP/1.1 200 OK");
    assert!(!observed[1]["state 7"].contains("x-state"), "{observed:?}");
}

/// The answer to what is sent, without its date, to the end of the connection.
fn answered(port: u16, sent: &[u8]) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).expect("the proxy listens");
    let timeout = Some(Duration::from_secs(10));
    stream.set_read_timeout(timeout).expect("the time is not zero");
    stream.write_all(sent).expect("the proxy reads");
    let mut answer = String::new();
    stream
        .read_to_string(&mut answer)
        .expect("the proxy answers and closes");
    let mut lines: Vec<&str> = answer.lines().collect();
    lines.retain(|line| !line.starts_with("date:") && !line.starts_with("server:"));
    // Their order says nothing.
    lines.sort_unstable();
    lines.join("\n")
}

/// Envoy takes the place of whatever has the name when it begins to listen, and leaves its own socket behind at its end.
#[test]
fn the_file_of_a_unix_socket_is_replaced_and_left_behind_as_by_envoy() {
    let directory = Directory::new("pipe");
    for kind in KINDS {
        let path = directory.write(&format!("{}.sock", kind.name()), "left behind");
        let bootstrap = filters_bootstrap(&[], 1).replace(
            "  listeners:\n",
            &format!(
                "  listeners:\n  - name: pipe\n    address: {{pipe: {{path: {}}}}}\n    filter_chains: [{{filters: [{{name: tcp, \
                 typed_config: {{'@type': type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy, \
                 stat_prefix: t, cluster: echo}}}}]}}]\n",
                path.display()
            ),
        );
        let proxy = Proxy::start(kind, &directory, kind.name(), &bootstrap);
        let connected = std::os::unix::net::UnixStream::connect(&path);
        assert!(connected.is_ok(), "{kind:?}: {connected:?}");
        drop(connected);
        let _ = proxy.end();
        assert!(path.exists(), "{kind:?}");
        assert!(std::os::unix::net::UnixStream::connect(&path).is_err(), "{kind:?}");
    }
}
