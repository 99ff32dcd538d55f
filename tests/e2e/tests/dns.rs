//! Discovery by DNS beside Envoy's, with a name server of the test's own.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, Ipv6Addr, TcpListener, UdpSocket};
use std::sync::{Arc, Mutex, PoisonError};

use e2e::differential::{self, Known};
use e2e::proxy::{Kind, Proxy};
use testkit::backend::Backend;
use testkit::http1::Client;
use testkit::{Directory, ports, wait_until};

const A: u16 = 1;
const AAAA: u16 = 28;

/// A name server on 127.0.0.1 that knows a few names below `test`: `four` and `six` have one address, `both` has one of
/// each family, `short` lives for a second, `none` exists without addresses, `broken` makes the server fail, and all
/// others do not exist.
#[derive(Clone)]
struct NameServer {
    port: u16,
    asked: Arc<Mutex<BTreeMap<String, usize>>>,
}

impl NameServer {
    fn start() -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("there is a port");
        let server = Self {
            port: socket.local_addr().expect("it is bound").port(),
            asked: Arc::default(),
        };
        let serving = server.clone();
        std::thread::spawn(move || {
            let mut packet = [0; 1500];
            while let Ok((length, from)) = socket.recv_from(&mut packet) {
                if let Some(answer) = serving.answer(&packet[..length]) {
                    let _ = socket.send_to(&answer, from);
                }
            }
        });
        server
    }

    /// How often a name was asked for.
    fn asked(&self, name: &str) -> usize {
        let asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        asked.get(name).copied().unwrap_or(0)
    }

    /// The answer to a query with one question (RFC 1035 section 4).
    fn answer(&self, query: &[u8]) -> Option<Vec<u8>> {
        let mut at = 12;
        let mut labels = Vec::new();
        loop {
            let length = usize::from(*query.get(at)?);
            at += 1;
            if length == 0 {
                break;
            }
            labels.push(String::from_utf8_lossy(query.get(at..at + length)?).to_ascii_lowercase());
            at += length;
        }
        let kind = u16::from_be_bytes([*query.get(at)?, *query.get(at + 1)?]);
        let question = query.get(12..at + 4)?;
        let name = match labels.as_slice() {
            [name, domain] if domain == "test" => name.as_str(),
            _ => "",
        };
        *self
            .asked
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .entry(name.to_owned())
            .or_default() += 1;
        let (code, time): (u8, u32) = match name {
            "four" | "six" | "both" | "none" => (0, 300),
            "short" => (0, 1),
            "broken" => (2, 0),
            _ => (3, 0),
        };
        let data: Option<Vec<u8>> = match (name, kind) {
            ("four" | "both" | "short", A) => Some(Ipv4Addr::LOCALHOST.octets().to_vec()),
            ("six" | "both", AAAA) => Some(Ipv6Addr::LOCALHOST.octets().to_vec()),
            _ => None,
        };
        let mut answer = query[..2].to_vec();
        answer.extend([0x81, 0x80 | code, 0, 1, 0, u8::from(data.is_some()), 0, 0, 0, 0]);
        answer.extend(question);
        if let Some(data) = data {
            // The name is that of the question, at octet 12.
            answer.extend([0xc0, 12]);
            answer.extend(kind.to_be_bytes());
            answer.extend([0, 1]);
            answer.extend(time.to_be_bytes());
            answer.extend((data.len() as u16).to_be_bytes());
            answer.extend(data);
        }
        Some(answer)
    }
}

/// A backend that has the same port on `::1` that nobody has on 127.0.0.1.
fn start_v6() -> u16 {
    let listener = TcpListener::bind("[::1]:0").expect("there is an IPv6 loopback");
    let port = listener.local_addr().expect("it is bound").port();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            std::thread::spawn(move || {
                let mut buffer = [0; 4096];
                while let Ok(1..) = stream.read(&mut buffer) {
                    if stream
                        .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nv6\n")
                        .is_err()
                    {
                        return;
                    }
                }
            });
        }
    });
    port
}

/// Clusters by name: type, name to resolve, whether the port is that of the IPv6 backend, and more fields.
const CLUSTERS: &[(&str, &str, &str, bool, &str)] = &[
    ("four", "STRICT_DNS", "four.test", false, "dns_lookup_family: V4_ONLY"),
    ("four-by-default", "STRICT_DNS", "four.test", false, ""),
    ("six", "STRICT_DNS", "six.test", true, "dns_lookup_family: V6_ONLY"),
    ("six-preferred", "STRICT_DNS", "both.test", true, ""),
    (
        "four-preferred",
        "STRICT_DNS",
        "both.test",
        false,
        "dns_lookup_family: V4_PREFERRED",
    ),
    (
        "wrong-family",
        "STRICT_DNS",
        "four.test",
        false,
        "dns_lookup_family: V6_ONLY",
    ),
    ("either", "LOGICAL_DNS", "both.test", true, "dns_lookup_family: ALL"),
    ("all", "STRICT_DNS", "both.test", true, "dns_lookup_family: ALL"),
    // What of it is left depends on the machine's interfaces.
    (
        "routable",
        "STRICT_DNS",
        "both.test",
        true,
        "{routable} dns_lookup_family: ALL",
    ),
    (
        "routable-four",
        "STRICT_DNS",
        "four.test",
        false,
        "{routable} dns_lookup_family: V4_ONLY",
    ),
    (
        "short",
        "STRICT_DNS",
        "short.test",
        false,
        "dns_lookup_family: V4_ONLY, respect_dns_ttl: true, dns_refresh_rate: 60s",
    ),
    (
        "none",
        "STRICT_DNS",
        "none.test",
        false,
        "dns_lookup_family: V4_ONLY, dns_refresh_rate: 60s",
    ),
    (
        "unknown",
        "STRICT_DNS",
        "unknown.test",
        false,
        "dns_lookup_family: V4_ONLY, dns_refresh_rate: 60s",
    ),
    (
        "broken",
        "STRICT_DNS",
        "broken.test",
        false,
        "dns_lookup_family: V4_ONLY, dns_refresh_rate: 60s, dns_failure_refresh_rate: {base_interval: 0.2s, max_interval: 0.4s}",
    ),
];

fn bootstrap(listener: u16, server: &NameServer, backend: u16, v6: u16) -> String {
    let (mut clusters, mut routes) = (String::new(), String::new());
    for (name, kind, host, is_v6, more) in CLUSTERS {
        let port = if *is_v6 { v6 } else { backend };
        let (routable, more) = match more.strip_prefix("{routable} ") {
            Some(more) => (true, more),
            None => (false, *more),
        };
        let more = if more.is_empty() {
            String::new()
        } else {
            format!("{more}, ")
        };
        let _ = writeln!(
            clusters,
            "  - {{name: {name}, type: {kind}, connect_timeout: 1s, {more}typed_dns_resolver_config: {{name: c, typed_config: \
             {{'@type': type.googleapis.com/envoy.extensions.network.dns_resolver.cares.v3.CaresDnsResolverConfig, resolvers: \
             [{{socket_address: {{address: 127.0.0.1, port_value: {}}}}}], filter_unroutable_families: {routable}, \
             dns_resolver_options: {{no_default_search_domain: true}}}}}}, load_assignment: {{cluster_name: {name}, endpoints: [{{lb_endpoints: [{{endpoint: {{address: \
             {{socket_address: {{address: {host}, port_value: {port}}}}}}}}}]}}]}}}}",
            server.port
        );
        let _ = writeln!(
            routes,
            "              - {{match: {{prefix: /{name}/}}, route: {{cluster: {name}}}}}"
        );
    }
    include_str!("../src/clusters.yaml")
        .replace("{listener}", &listener.to_string())
        .replace("{routes}", &routes)
        .replace("{clusters}", &clusters)
}

fn observe(kind: Kind, directory: &Directory) -> BTreeMap<String, String> {
    let (server, backend, v6) = (NameServer::start(), Backend::start("v4"), start_v6());
    let listener = ports::free_port();
    let bootstrap = bootstrap(listener, &server, backend.port(), v6);
    let proxy = Proxy::start(kind, directory, kind.name(), &bootstrap);
    let mut client = Client::connect(listener);
    let mut found = BTreeMap::new();
    for (name, ..) in CLUSTERS {
        assert!(client.send(format!("GET /{name}/ HTTP/1.1\r\nhost: h\r\n\r\n").as_bytes()));
        let answer = client.response("GET").expect("an answer");
        // With an endpoint for each address it is chance which one has its turn.
        if !["all", "routable"].contains(name) {
            let body = String::from_utf8_lossy(&answer.body).into_owned();
            found.insert((*name).to_owned(), format!("{} {body}", answer.status()));
        }
        for stat in ["membership_total", "membership_healthy"] {
            let value = proxy.stat(&format!("cluster.{name}.{stat}"));
            found.insert(format!("{name}: {stat}"), value.to_string());
        }
    }
    for name in ["none", "unknown"] {
        let counted = ["update_attempt", "update_success", "update_empty", "update_failure"]
            .map(|stat| format!("{stat} {}", proxy.stat(&format!("cluster.{name}.{stat}"))));
        found.insert(format!("{name}: statistics"), counted.join(", "));
    }
    let asks_again = |name: &str, times: usize| {
        wait_until(10, &format!("{} asks for {name} again", kind.name()), || {
            server.asked(name) >= times
        });
    };
    asks_again("short", 3);
    asks_again("broken", 12);
    wait_until(5, "failures are counted", || {
        proxy.stat("cluster.broken.update_failure") >= 2
    });
    found
}

const KNOWN: &[Known] = &[];

#[test]
fn names_are_resolved_as_envoy_resolves_them() {
    let directory = Directory::new("dns");
    let [envoy, remora] = [Kind::Envoy, Kind::Remora].map(|kind| observe(kind, &directory));
    differential::compare("names", &envoy, &remora, KNOWN).unwrap_or_else(|faults| panic!("{faults}"));
}
