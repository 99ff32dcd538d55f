//! Many connection managers in one process, each with requests of its own, written down in one file: what Envoy
//! answers and what remora answers, byte by byte where bytes matter.
//!
//! A section begins with `=== name`, the fields of its connection manager follow as YAML, then `---` and the requests,
//! a line each: `= GET /path ~ field: value` for the usual ones (a host and `connection: close` are added), else the
//! bytes as they are, with `\r`, `\n` and `\x41` for what can't be written, `{port}` for the listener's port and
//! `<until TEXT>` where the caller waits until that came. `! reason` before a request says that remora is known to
//! differ there. `#` begins a comment. In a section whose name begins with `refused_` each request is refused by remora
//! and its connection closed; a path with `smuggled` in it never comes to the backend.
//! There are the clusters `stable`, `two` (another backend), `named` (an endpoint with a hostname), `subsets` (both
//! backends) and `dead`.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

use testkit::{Directory, ports};

use crate::echo_backend::EchoBackend;
use crate::proxy::{Kind, Proxy};

/// How long a caller waits for more when nobody closes.
const QUIET: Duration = Duration::from_millis(250);

/// How long it waits when a difference is looked at again: what a busy machine delayed is not a difference.
const LONG_QUIET: Duration = Duration::from_secs(2);

/// The routes of a section that has none of its own.
const ROUTES: &str = r#"
route_config:
  virtual_hosts:
  - name: v
    domains: ["*"]
    response_headers_to_add:
    - {header: {key: x-path, value: "%REQ(:PATH)%"}}
    - {header: {key: x-host, value: "%REQ(:AUTHORITY)%"}}
    routes:
    - {match: {prefix: /show}, route: {cluster: stable}}
    - {match: {prefix: /dead}, route: {cluster: dead}}
    - {match: {prefix: /}, direct_response: {status: 200}}
"#;

/// A connection manager and the requests made to it.
#[derive(Debug)]
pub struct Section {
    name: String,
    config: String,
    requests: Vec<Request>,
}

#[derive(Debug)]
struct Request {
    line: String,
    known: Option<String>,
}

impl Request {
    /// Makes the request; what came back until nothing came for as long as `quiet`.
    fn observe(&self, port: u16, quiet: Duration) -> String {
        normal(&exchange(port, &request_bytes(&self.line, port), quiet), port)
    }
}

/// Reads the sections of a file.
#[must_use]
pub fn parse(text: &str) -> Vec<Section> {
    let mut sections = Vec::new();
    for block in text.split("\n=== ").skip(1) {
        let (name, rest) = block.split_once('\n').unwrap_or((block, ""));
        let (config, requests) = match rest.strip_prefix("---\n") {
            Some(requests) => ("", requests),
            None => rest.split_once("\n---\n").unwrap_or((rest, "")),
        };
        let mut known = None;
        let mut list = Vec::new();
        for line in requests
            .lines()
            .filter(|line| !line.trim().is_empty() && !line.starts_with('#'))
        {
            match line.strip_prefix("! ") {
                Some(reason) => known = Some(reason.to_owned()),
                None => list.push(Request {
                    line: line.to_owned(),
                    known: known.take(),
                }),
            }
        }
        sections.push(Section {
            name: name.trim().to_owned(),
            config: config.to_owned(),
            requests: list,
        });
    }
    sections
}

impl Section {
    /// Makes the requests; what came back by section and request.
    fn observe(&self, port: u16) -> Vec<(String, String)> {
        self.requests
            .iter()
            .map(|request| (format!("{}: {}", self.name, request.line), request.observe(port, QUIET)))
            .collect()
    }

    fn listener(&self, port: u16) -> String {
        let routes = if self.config.contains("route_config:") {
            ""
        } else {
            ROUTES
        };
        let mut text = format!(
            r#"  - name: {name}
    address: {{socket_address: {{address: 127.0.0.1, port_value: {port}}}}}
    filter_chains:
    - filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: {name}
          # Envoy waits a second before it closes: many requests are made here.
          delayed_close_timeout: 0s
"#,
            name = self.name
        );
        if !self.config.contains("http_filters:") {
            text.push_str(
                r#"          http_filters:
          - name: envoy.filters.http.router
            typed_config: {"@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router}
"#,
            );
        }
        for line in self.config.lines().chain(routes.lines()) {
            let _ = writeln!(text, "          {line}");
        }
        text
    }
}

/// A proxy that went through the sections.
struct Side {
    proxy: Proxy,
    /// What came back, by section and request.
    observed: BTreeMap<String, String>,
    /// The listener of each section.
    listeners: Vec<u16>,
    backend: EchoBackend,
    _other: EchoBackend,
}

impl Side {
    /// Nothing that was refused reached the backend.
    fn assert_nothing_smuggled(&self) {
        let mut seen = self.backend.request_lines();
        seen.retain(|line| line.contains("smuggled"));
        assert!(seen.is_empty(), "the backend saw {seen:?}");
    }
}

/// Starts a proxy with a listener for each section and makes the requests.
fn observe(kind: Kind, directory: &Directory, sections: &[Section]) -> Side {
    let backend = EchoBackend::start();
    let two = EchoBackend::named("two");
    let listeners: Vec<u16> = sections.iter().map(|_| ports::free_port()).collect();
    let mut bootstrap = String::from(
        "admin: {address: {socket_address: {address: 127.0.0.1, port_value: {admin}}}}\nstatic_resources:\n  listeners:\n",
    );
    for (section, port) in sections.iter().zip(&listeners) {
        bootstrap.push_str(&section.listener(*port));
    }
    bootstrap.push_str("  clusters:\n");
    let one = (
        "metadata: {filter_metadata: {envoy.lb: {version: v1}}}",
        "",
        backend.port(),
    );
    let other = (
        "metadata: {filter_metadata: {envoy.lb: {version: v2, stage: prod}}}",
        "",
        two.port(),
    );
    let subsets = "\n    lb_subset_config: {fallback_policy: NO_FALLBACK, subset_selectors: [{keys: [version]}, {keys: [version, \
                   stage]}]}";
    bootstrap.push_str(&cluster("stable", &[one], ""));
    bootstrap.push_str(&cluster("two", &[other], ""));
    bootstrap.push_str(&cluster(
        "named",
        &[("", "hostname: endpoint.host, ", backend.port())],
        "",
    ));
    bootstrap.push_str(&cluster("subsets", &[one, other], subsets));
    bootstrap.push_str(&cluster("dead", &[("", "", 1)], ""));
    for (section, port) in sections.iter().zip(&listeners) {
        let options = "\n    typed_extension_protocol_options: {envoy.extensions.upstreams.http.v3.HttpProtocolOptions: \
             {\"@type\": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions, \
             explicit_http_config: {http2_protocol_options: {}}}}";
        bootstrap.push_str(&cluster(&format!("to_{}", section.name), &[("", "", *port)], options));
    }
    let proxy = Proxy::start(kind, directory, kind.name(), &bootstrap);
    // Many of the requests wait for an answer that never comes: sections wait side by side.
    let observed = std::thread::scope(|scope| {
        let threads: Vec<_> = sections
            .iter()
            .zip(&listeners)
            .map(|(section, port)| scope.spawn(|| section.observe(*port)))
            .collect();
        threads
            .into_iter()
            .flat_map(|thread| thread.join().expect("a section is observed"))
            .collect()
    });
    Side {
        proxy,
        observed,
        listeners,
        backend,
        _other: two,
    }
}

/// A cluster; of each endpoint its own fields, those of its address, and its port.
fn cluster(name: &str, endpoints: &[(&str, &str, u16)], more: &str) -> String {
    let endpoints: Vec<String> = endpoints
        .iter()
        .map(|(own, of_address, port)| {
            format!(
                "{{endpoint: {{{of_address}address: {{socket_address: {{address: 127.0.0.1, port_value: {port}}}}}}}, {own}}}"
            )
        })
        .collect();
    format!(
        "  - name: {name}\n    type: STATIC\n    connect_timeout: 1s\n    load_assignment: {{cluster_name: {name}, \
         endpoints: [{{lb_endpoints: [{}]}}]}}{more}\n",
        endpoints.join(", ")
    )
}

/// What is sent, in parts between which the caller waits.
fn request_bytes(line: &str, port: u16) -> Vec<Part> {
    let text = match line.strip_prefix("= ") {
        Some(short) => {
            let mut parts = short.split(" ~ ");
            let start = parts.next().unwrap_or_default();
            let fields: Vec<&str> = parts.collect();
            let mut text = format!("{start} HTTP/1.1\\r\\n");
            if !fields.iter().any(|field| field.starts_with("host:")) {
                text.push_str("host: test\\r\\n");
            }
            for field in fields {
                let _ = write!(text, "{field}\\r\\n");
            }
            text + "connection: close\\r\\n\\r\\n"
        }
        None => line.to_owned(),
    };
    let text = text.replace("{port}", &port.to_string());
    let mut pieces = text.split("<until ");
    let first = Part {
        until: Vec::new(),
        bytes: unescape(pieces.next().unwrap_or_default()),
    };
    let rest = pieces.map(|piece| {
        // What is waited for may end with the same sign.
        let end = piece.find('>').expect("<until TEXT>");
        let end = end + usize::from(piece[end + 1..].starts_with('>'));
        Part {
            until: unescape(&piece[..end]),
            bytes: unescape(&piece[end + 1..]),
        }
    });
    std::iter::once(first).chain(rest).collect()
}

/// What is sent when the bytes `until` came.
struct Part {
    until: Vec<u8>,
    bytes: Vec<u8>,
}

fn unescape(text: &str) -> Vec<u8> {
    let mut out = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((byte, after)) = rest.split_first() {
        rest = after;
        match (byte, after) {
            (b'\\', [b'r', ..]) => out.push(b'\r'),
            (b'\\', [b'n', ..]) => out.push(b'\n'),
            (b'\\', [b'x', high, low, ..]) => {
                let digit = |byte: &u8| (*byte as char).to_digit(16).expect("two hexadecimal digits");
                out.push((digit(high) * 16 + digit(low)) as u8);
                rest = &after[2..];
            }
            _ => {
                out.push(*byte);
                continue;
            }
        }
        rest = &rest[1..];
    }
    out
}

/// Sends the parts and reads until the peer closes, or is quiet. The end is told.
fn exchange(port: u16, parts: &[Part], quiet: Duration) -> Vec<u8> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).expect("the proxy listens");
    let mut received = Vec::new();
    for part in parts {
        receive_until(&mut stream, &mut received, &part.until);
        if part.bytes == b"<end>" {
            let _ = stream.shutdown(Shutdown::Write);
        } else {
            let _ = stream.write_all(&part.bytes);
        }
    }
    let end = receive(&mut stream, &mut received, quiet);
    received.extend_from_slice(end.as_bytes());
    received
}

/// Reads until the text came, or nothing comes any more.
fn receive_until(stream: &mut TcpStream, received: &mut Vec<u8>, text: &[u8]) {
    let _ = stream.set_read_timeout(Some(Duration::from_secs(5)));
    let mut buffer = [0; 65536];
    while !text.is_empty() && !received.windows(text.len()).any(|window| window == text) {
        match stream.read(&mut buffer) {
            Ok(0) | Err(_) => return,
            Ok(length) => received.extend_from_slice(&buffer[..length]),
        }
    }
}

/// Reads until the peer closes, or is quiet.
fn receive(stream: &mut TcpStream, received: &mut Vec<u8>, quiet: Duration) -> &'static str {
    let _ = stream.set_read_timeout(Some(quiet * 4));
    let mut buffer = [0; 65536];
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => return "[closed]",
            Ok(length) => {
                received.extend_from_slice(&buffer[..length]);
                let _ = stream.set_read_timeout(Some(quiet));
            }
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => return "[open]",
            // An answer that came before the whole request was read: the rest is a matter of timing.
            Err(_) => return "[closed]",
        }
    }
}

/// What came back without what differs from one run to the next; fields are sorted.
fn normal(answer: &[u8], port: u16) -> String {
    let text = String::from_utf8_lossy(answer)
        .replace(&format!(":{port}"), ":PORT")
        .replace(&format!(": {port}\r\n"), ": PORT\r\n");
    let mut starts: Vec<usize> = text
        .match_indices("HTTP/1.1 ")
        .map(|(at, _)| at)
        .filter(|at| text[at + 9..].starts_with(|character: char| character.is_ascii_digit()))
        .collect();
    starts.push(text.len());
    let before = &text[..starts[0]];
    let messages: Vec<String> = starts
        .windows(2)
        .map(|range| message(&text[range[0]..range[1]]))
        .collect();
    format!("{before}{}", messages.join(" ++ "))
}

/// One message of an answer.
fn message(text: &str) -> String {
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or((text, ""));
    // The length of a body that repeats the request tells nothing that the body does not.
    let repeats = body.contains(" HTTP/1.1\r\n");
    let mut lines = head.split("\r\n");
    let start = lines.next().unwrap_or_default();
    let mut fields: Vec<String> = lines
        .filter(|line| !(repeats && line.starts_with("content-length")))
        .filter_map(field)
        .collect();
    fields.sort();
    let body: Vec<String> = body.split("\r\n").filter_map(field).collect();
    format!("{start} | {} || {}", fields.join(" | "), body.join(" | "))
}

/// A line of a head, without what differs.
fn field(line: &str) -> Option<String> {
    let Some((name, value)) = line.split_once(": ") else {
        return Some(line.to_owned());
    };
    let loopback = |value: &str| {
        let mut parts = value.split("127.0.0.1:");
        let mut out = parts.next().unwrap_or_default().to_owned();
        for part in parts {
            out.push_str("127.0.0.1:P");
            out.push_str(part.trim_start_matches(|character: char| character.is_ascii_digit()));
        }
        out
    };
    let value = match name.to_ascii_lowercase().as_str() {
        "date" if value.ends_with("GMT") => "*".to_owned(),
        // There only if the request was complete before its answer, which is a matter of microseconds.
        "x-envoy-upstream-service-time" => return None,
        // A sender of `te` names it in `connection` (RFC 9110 section 10.1.4), which Envoy does not.
        "connection" if value == "te" => return None,
        "connection" => value.to_ascii_lowercase(),
        "x-request-id" if value.len() == 36 => "a UUID".to_owned(),
        // A millisecond may have passed.
        "x-envoy-expected-rq-timeout-ms" if value == "14999" => "15000".to_owned(),
        _ => loopback(value),
    };
    Some(format!("{name}: {value}"))
}

/// Has both proxies go through the sections and compares: what is said to differ has to, and nothing else may.
///
/// # Panics
/// They do not compare as said.
pub fn compare(what: &str, text: &str) -> [Proxy; 2] {
    let sections = parse(text);
    assert!(!sections.is_empty(), "{what} has no sections");
    let directory = Directory::new(what);
    let [envoy, remora] = std::thread::scope(|scope| {
        [Kind::Envoy, Kind::Remora]
            .map(|kind| {
                let (directory, sections) = (&directory, &sections);
                scope.spawn(move || observe(kind, directory, sections))
            })
            .map(|thread| thread.join().expect("a side is observed"))
    });
    let mut faults = String::new();
    for (index, section) in sections.iter().enumerate() {
        for request in &section.requests {
            let name = format!("{}: {}", section.name, request.line);
            let mut theirs = envoy.observed[&name].clone();
            let mut ours = remora.observed[&name].clone();
            if (theirs == ours) == request.known.is_some() {
                // Not as expected: looked at again, alone and with more patience.
                theirs = request.observe(envoy.listeners[index], LONG_QUIET);
                ours = request.observe(remora.listeners[index], LONG_QUIET);
            }
            let is_refusal = (ours.starts_with("HTTP/1.1 4") || ours.starts_with("HTTP/1.1 5"))
                && ours.ends_with("[closed]")
                && ours.matches("HTTP/1.1 ").count() == 1;
            if section.name.starts_with("refused_") && !is_refusal {
                let _ = write!(faults, "\n{name} is not refused\n  remora: {ours}\n");
            }
            match (theirs == ours, &request.known) {
                (false, None) => {
                    let _ = write!(faults, "\n{name}\n  envoy:  {theirs}\n  remora: {ours}\n");
                }
                (true, Some(reason)) => {
                    let _ = write!(faults, "\n{name} no longer differs ({reason}): take the reason off\n");
                }
                _ => {}
            }
        }
    }
    remora.assert_nothing_smuggled();
    assert!(faults.is_empty(), "{what}:\n{faults}");
    [envoy.proxy, remora.proxy]
}
