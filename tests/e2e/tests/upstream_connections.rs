//! Connections to endpoints beside Envoy's: when they are made, how many, where to, and when they end.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};

use e2e::differential::{self, Known};
use e2e::dynamic;
use e2e::proxy::{Kind, Proxy};
use testkit::backend::{Backend, Blackhole};
use testkit::http1::Client;
use testkit::{Directory, ManagementServer, ports, wait_until};

/// A cluster whose endpoint is the backend, unless its fields say `{endpoints}`. In the fields stand `{backend}`,
/// `{other}`, `{v6}`, `{closed}` and `{blackhole}` for ports.
const CLUSTERS: &[(&str, &str)] = &[
    ("usual", ""),
    ("refused-first", "{endpoints: closed v6}"),
    ("slow-first", "connect_timeout: 5s, {endpoints: blackhole v6}"),
    (
        "v6-first",
        "upstream_connection_options: {happy_eyeballs_config: {first_address_family_version: V6}}, {endpoints: backend v6}",
    ),
    ("all-refuse", "{endpoints: closed closed-v6}"),
    (
        "requests-per-connection",
        "typed_extension_protocol_options: {http: {common_http_protocol_options: {max_requests_per_connection: 2}}}",
    ),
    (
        "idle",
        "typed_extension_protocol_options: {http: {common_http_protocol_options: {idle_timeout: 0.2s}}}",
    ),
    (
        "duration",
        "typed_extension_protocol_options: {http: {common_http_protocol_options: {max_connection_duration: 0.2s}}}",
    ),
    ("per-caller", "connection_pool_per_downstream_connection: true"),
    ("ahead", "preconnect_policy: {per_upstream_preconnect_ratio: 2}"),
    (
        "predicted",
        "preconnect_policy: {predictive_preconnect_ratio: 2}, {endpoints: four}",
    ),
    (
        "one-each",
        "circuit_breakers: {per_host_thresholds: [{max_connections: 1}]}",
    ),
    ("no-answer", "connect_timeout: 0.3s, {endpoints: blackhole}"),
    ("waiting", "connect_timeout: 3s, {endpoints: blackhole}"),
    (
        "options",
        "upstream_bind_config: {socket_options: [{level: 6, name: 2, int_value: 1000}, {level: 1, name: 7, int_value: 65536}]}",
    ),
    (
        "bad-option",
        "upstream_bind_config: {socket_options: [{level: 1, name: 25, buf_value: bm9zdWNoMA==}]}",
    ),
    (
        "bound",
        "upstream_bind_config: {source_address: {address: '::1', port_value: 0}, extra_source_addresses: [{address: \
         {address: 127.0.0.9, port_value: 0}, socket_options: {socket_options: [{level: 0, name: 2, int_value: 9}]}}]}",
    ),
    (
        "cannot-bind",
        "upstream_bind_config: {source_address: {address: 192.0.2.9, port_value: 0}}",
    ),
    ("dropped", "{drop: 100}"),
    ("kept", "{drop: 0}"),
];

/// The ports that clusters lead to.
struct Targets {
    backend: Backend,
    others: [Backend; 3],
    v6: u16,
    closed: u16,
    closed_v6: u16,
    blackhole: Blackhole,
}

impl Targets {
    fn start() -> Self {
        Self {
            backend: Backend::start("first"),
            others: ["second", "third", "fourth"].map(Backend::start),
            v6: start_v6(),
            closed: ports::free_port(),
            closed_v6: ports::free_port(),
            blackhole: Blackhole::start(),
        }
    }

    fn endpoints(&self, what: &str) -> String {
        let socket =
            |address: &str, port: u16| format!("{{socket_address: {{address: '{address}', port_value: {port}}}}}");
        let of = |name: &str| match name {
            "closed" => socket("127.0.0.1", self.closed),
            "closed-v6" => socket("::1", self.closed_v6),
            "v6" => socket("::1", self.v6),
            "blackhole" => socket("127.0.0.1", self.blackhole.port()),
            _ => socket("127.0.0.1", self.backend.port()),
        };
        if what == "four" {
            let all = std::iter::once(&self.backend).chain(&self.others);
            let each = all.map(|backend| format!("{{endpoint: {{address: {}}}}}", socket("127.0.0.1", backend.port())));
            return each.collect::<Vec<_>>().join(", ");
        }
        let mut names = what.split(' ').map(of);
        let first = names.next().unwrap_or_default();
        let more: Vec<String> = names.map(|address| format!("{{address: {address}}}")).collect();
        format!(
            "{{endpoint: {{address: {first}, additional_addresses: [{}]}}}}",
            more.join(", ")
        )
    }
}

/// A backend on `::1` that answers every request alike.
fn start_v6() -> u16 {
    let listener = TcpListener::bind("[::1]:0").expect("there is an IPv6 loopback");
    let port = listener.local_addr().expect("it is bound").port();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            std::thread::spawn(move || answer(stream));
        }
    });
    port
}

fn answer(mut stream: TcpStream) {
    let mut buffer = [0; 4096];
    let mut seen = Vec::new();
    while let Ok(read @ 1..) = stream.read(&mut buffer) {
        seen.extend_from_slice(&buffer[..read]);
        while let Some(end) = seen.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
            seen.drain(..end + 4);
            if stream
                .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nv6\n")
                .is_err()
            {
                return;
            }
        }
    }
}

fn bootstrap(listener: u16, targets: &Targets) -> String {
    let (mut clusters, mut routes) = (String::new(), String::new());
    for (name, fields) in CLUSTERS {
        let special = |key: &str| {
            let start = fields.find(&format!("{{{key}: "))?;
            let rest = &fields[start + key.len() + 3..];
            Some((start, rest[..rest.find('}')?].to_owned()))
        };
        let endpoints = special("endpoints");
        let dropped = special("drop");
        let own = [&endpoints, &dropped]
            .into_iter()
            .flatten()
            .map(|(start, _)| *start)
            .min();
        let mut fields = fields[..own.unwrap_or(fields.len())]
            .trim_end_matches([',', ' '])
            .to_owned();
        fields = fields.replace(
            "{http: {",
            "{envoy.extensions.upstreams.http.v3.HttpProtocolOptions: {'@type': \
             type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions, explicit_http_config: \
             {http_protocol_options: {}}, ",
        );
        if !fields.contains("connect_timeout") {
            fields = format!(
                "connect_timeout: 2s{}{fields}",
                if fields.is_empty() { "" } else { ", " }
            );
        }
        let endpoints = targets.endpoints(endpoints.as_ref().map_or("backend", |(_, what)| what));
        let policy = dropped.map_or(String::new(), |(_, percent)| {
            format!("policy: {{drop_overloads: [{{category: lb, drop_percentage: {{numerator: {percent}}}}}]}}, ")
        });
        let _ = writeln!(
            clusters,
            "  - {{name: {name}, {fields}, load_assignment: {{cluster_name: {name}, {policy}endpoints: [{{lb_endpoints: \
             [{endpoints}]}}]}}}}"
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

struct Side {
    proxy: Proxy,
    port: u16,
    /// Held: the queue that takes no more connections is among them.
    _targets: Targets,
    found: BTreeMap<String, String>,
}

impl Side {
    fn start(kind: Kind, directory: &Directory) -> Self {
        let (port, targets) = (ports::free_port(), Targets::start());
        let bootstrap = bootstrap(port, &targets);
        Self {
            proxy: Proxy::start(kind, directory, kind.name(), &bootstrap),
            port,
            _targets: targets,
            found: BTreeMap::new(),
        }
    }

    fn client(&self) -> Client {
        Client::connect(self.port)
    }

    fn stat(&self, cluster: &str, name: &str) -> u64 {
        self.proxy.stat(&format!("cluster.{cluster}.{name}"))
    }

    /// Waits until a statistic has a value, which both are to reach.
    fn wait_for(&self, cluster: &str, name: &str, value: u64) {
        let what = format!("{} has {name} {value} of {cluster}", self.proxy.kind.name());
        wait_until(5, &what, || self.stat(cluster, name) == value);
    }

    /// Notes the statistics of a cluster, all that are not zero and not of time, buffers or bytes.
    fn note(&mut self, cluster: &str) {
        let answer = Client::get(self.proxy.admin, "/stats").expect("the admin endpoint answers");
        let prefix = format!("cluster.{cluster}.");
        let text = String::from_utf8_lossy(&answer.body).into_owned();
        let counted = text
            .lines()
            .filter_map(|line| line.strip_prefix(&prefix))
            .filter(|line| (line.starts_with("upstream_") || line.starts_with("bind")) && !line.ends_with(": 0"))
            .filter(|line| !["bytes", "_ms", "_time", "per_cx"].iter().any(|not| line.contains(not)));
        let counted: Vec<&str> = counted.collect();
        self.found.insert(format!("{cluster}: statistics"), counted.join(", "));
    }

    fn call(&mut self, client: &mut Client, what: &str, path: &str) {
        let found = call(client, path);
        self.found.insert(what.to_owned(), found);
    }
}

/// What answered a request: status, what marks it, and body.
fn call(client: &mut Client, path: &str) -> String {
    assert!(client.send(format!("GET {path} HTTP/1.1\r\nhost: h\r\n\r\n").as_bytes()));
    let answer = client.response("GET").expect("an answer");
    let marks: Vec<&str> = answer
        .fields
        .iter()
        .filter(|(name, _)| name.contains("overload"))
        .map(|(name, _)| name.as_str())
        .collect();
    format!(
        "{} {marks:?} {}",
        answer.status(),
        String::from_utf8_lossy(&answer.body)
    )
}

fn observe(kind: Kind, directory: &Directory) -> BTreeMap<String, String> {
    let mut side = Side::start(kind, directory);
    addresses(&mut side);
    lives(&mut side);
    numbers(&mut side);
    settings(&mut side);
    side.found
}

/// Endpoints with several addresses.
fn addresses(side: &mut Side) {
    let mut client = side.client();
    for name in ["refused-first", "slow-first", "v6-first", "all-refuse"] {
        side.call(&mut client, name, &format!("/{name}/"));
        side.note(name);
    }
}

/// What ends a connection.
fn lives(side: &mut Side) {
    let mut client = side.client();
    for at in 0..5 {
        side.call(&mut client, &format!("request {at}"), "/requests-per-connection/");
    }
    side.wait_for("requests-per-connection", "upstream_cx_active", 1);
    side.note("requests-per-connection");

    side.call(&mut client, "idle", "/idle/");
    side.wait_for("idle", "upstream_cx_idle_timeout", 1);
    side.wait_for("idle", "upstream_cx_active", 0);
    side.note("idle");

    side.call(&mut client, "duration", "/duration/");
    side.wait_for("duration", "upstream_cx_max_duration_reached", 1);
    side.wait_for("duration", "upstream_cx_active", 0);
    side.call(&mut client, "duration again", "/duration/");
    side.wait_for("duration", "upstream_cx_max_duration_reached", 2);
    side.wait_for("duration", "upstream_cx_active", 0);
    side.note("duration");

    let mut other = side.client();
    for at in 0..2 {
        side.call(&mut client, &format!("one caller, {at}"), "/per-caller/");
        side.call(&mut other, &format!("another caller, {at}"), "/per-caller/");
    }
    side.note("per-caller");
}

/// How many connections there are.
fn numbers(side: &mut Side) {
    let mut client = side.client();
    side.call(&mut client, "ahead", "/ahead/");
    let mut hanging = side.client();
    assert!(hanging.send(b"GET /ahead/hang HTTP/1.1\r\nhost: h\r\n\r\n"));
    side.wait_for("ahead", "upstream_rq_active", 1);
    side.wait_for("ahead", "upstream_cx_total", 2);
    side.call(&mut client, "ahead again", "/ahead/");
    side.note("ahead");

    for _ in 0..6 {
        // Whose turn is first is chance.
        assert!(call(&mut client, "/predicted/").starts_with("200 "));
    }
    let name = "predicted: connections";
    let total = side.stat("predicted", "upstream_cx_total").to_string();
    side.found.insert(name.to_owned(), total);

    let mut held = side.client();
    assert!(held.send(b"GET /one-each/hang HTTP/1.1\r\nhost: h\r\n\r\n"));
    side.wait_for("one-each", "upstream_rq_active", 1);
    assert!(client.send(b"GET /one-each/ HTTP/1.1\r\nhost: h\r\n\r\n"));
    side.wait_for("one-each", "upstream_rq_pending_active", 1);
    side.note("one-each");
    drop((held, hanging));
    let answer = client.response("GET").map(|answer| answer.status());
    side.found
        .insert("one-each: afterwards".to_owned(), format!("{answer:?}"));
}

/// Connect timeouts, those who wait, sockets.
fn settings(side: &mut Side) {
    let mut client = side.client();
    side.call(&mut client, "no-answer", "/no-answer/");
    side.note("no-answer");

    let mut waiting = side.client();
    assert!(waiting.send(b"GET /waiting/ HTTP/1.1\r\nhost: h\r\n\r\n"));
    side.wait_for("waiting", "upstream_rq_pending_active", 1);
    let listed = Client::get(side.proxy.admin, "/clusters").expect("the admin endpoint answers");
    let listed = String::from_utf8_lossy(&listed.body).into_owned();
    let mine = listed
        .lines()
        .filter(|line| line.starts_with("waiting::127.0.0.1") && line.contains("_active::"))
        .map(|line| line.split("::").skip(2).collect::<Vec<_>>().join(" "));
    let mine = mine.collect::<Vec<_>>().join(", ");
    side.found.insert("waiting: the endpoint".to_owned(), mine);
    drop(waiting);
    side.wait_for("waiting", "upstream_rq_pending_active", 0);
    side.note("waiting");

    for name in ["options", "bad-option", "bound", "cannot-bind", "dropped", "kept"] {
        side.call(&mut client, name, &format!("/{name}/"));
        side.note(name);
    }
}

const KNOWN: &[Known] = &[];

#[test]
fn connections_are_made_and_end_as_envoys_do() {
    let directory = Directory::new("upstream-connections");
    let found = [Kind::Envoy, Kind::Remora].map(|kind| {
        let directory = &directory;
        std::thread::scope(|scope| scope.spawn(move || observe(kind, directory)).join())
    });
    let [Ok(envoy), Ok(remora)] = found else {
        panic!("a side could not be observed")
    };
    differential::compare("upstream connections", &envoy, &remora, KNOWN).unwrap_or_else(|faults| panic!("{faults}"));
}

/// What the control plane says of its endpoints besides where they are.
fn told(kind: Kind, directory: &Directory) -> Vec<String> {
    let backends = ["one", "two"].map(Backend::start);
    let listener = ports::free_port();
    let server = ManagementServer::start();
    dynamic::set_mesh(&server, "1", listener, backends[0].port());
    let cluster = format!(
        "{}common_lb_config: {{close_connections_on_host_set_change: true}}\n",
        dynamic::cluster("one", "1s")
    );
    server.set(dynamic::CLUSTER, "2", &[cluster]);
    let proxy = dynamic::start(kind, directory, server.port(), false);
    let answers = |status: u16| {
        wait_until(10, &format!("{} answers {status}", kind.name()), || {
            Client::get(listener, "/").is_some_and(|answer| answer.status() == status)
        });
    };
    let counted = |name: &str, value: u64| {
        wait_until(10, &format!("{} has {name} {value}", kind.name()), || {
            proxy.stat(&format!("cluster.one.{name}")) == value
        });
    };
    answers(200);
    counted("upstream_cx_active", 1);
    let one = dynamic::endpoints("one", backends[0].port());
    let two = one.replace(
        "lb_endpoints: [",
        &format!(
            "lb_endpoints: [{{endpoint: {{address: {{socket_address: {{address: 127.0.0.1, port_value: {}}}}}}}}}, ",
            backends[1].port()
        ),
    );
    server.set(dynamic::ENDPOINTS, "2", &[two]);
    counted("membership_total", 2);
    counted("upstream_cx_active", 0);
    let mut told = vec![format!(
        "drained by us: {}",
        proxy.stat("cluster.one.upstream_cx_destroy_local")
    )];

    server.set(
        dynamic::ENDPOINTS,
        "3",
        &[format!("{one}policy: {{endpoint_stale_after: 0.5s}}\n")],
    );
    counted("assignment_stale", 1);
    counted("membership_total", 0);
    let show = || {
        let answer = Client::get(listener, "/").expect("an answer");
        let marks = answer.fields.iter().filter(|(name, _)| name.contains("overload"));
        let marks: Vec<String> = marks.map(|(name, value)| format!("{name}: {value}")).collect();
        format!(
            "{} {marks:?} {}",
            answer.status(),
            String::from_utf8_lossy(&answer.body)
        )
    };
    told.push(show());
    told.push(format!(
        "timed: {}",
        proxy.stat("cluster.one.assignment_timeout_received")
    ));

    server.set(dynamic::ENDPOINTS, "4", std::slice::from_ref(&one));
    answers(200);
    // Envoy takes up what is to be dropped when the endpoints change with it.
    let other = dynamic::endpoints("one", backends[1].port());
    let drop =
        "policy: {drop_overloads: [{category: lb, drop_percentage: {numerator: 1000000, denominator: MILLION}}]}";
    server.set(dynamic::ENDPOINTS, "5", &[format!("{other}{drop}\n")]);
    answers(503);
    told.push(show());
    server.set(dynamic::ENDPOINTS, "6", &[one]);
    answers(200);
    told
}

#[test]
fn endpoints_go_stale_are_dropped_for_and_replaced_as_with_envoy() {
    let directory = Directory::new("upstream-told");
    let [envoy, remora] = [Kind::Envoy, Kind::Remora].map(|kind| told(kind, &directory));
    assert_eq!(remora, envoy);
}
