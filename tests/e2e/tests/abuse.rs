//! Peers that mean harm, over sockets: each runs into a limit that `Http2ProtocolOptions` or the connection manager
//! sets, and is counted in a statistic; what remora and Envoy do is compared.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::thread;

use e2e::differential::{Known, compare};
use e2e::echo_backend::EchoBackend;
use e2e::h2_case::Then::{Connection, Stream};
use e2e::h2_case::{Case, Then, case, judge, run};
use e2e::h2_wire::{
    CONTINUATION, END_STREAM, GET, HEADERS, POST, Wire, block, data, frame, headers, ping, priority, rst, settings,
    window_update,
};
use e2e::proxy::{Kind, Proxy};
use testkit::{Directory, ports, wait_until};

/// Where remora does otherwise.
const KNOWN: &[Known] = &[
    Known {
        names: &[
            "PING, each answer read",
            "SETTINGS, each acknowledgment read",
            "frames of unknown types",
        ],
        reason: "answering costs time even if the answers are read: there is a limit for each second",
    },
    Known {
        names: &["a head of too many fields", "a head that is too large"],
        reason: "the code says that it was too much (RFC 9113 section 7)",
    },
    Known {
        names: &[
            "a head that does not end",
            "a header block without end",
            "streams opened and reset",
            "streams that make the server reset them",
        ],
        reason: "Envoy has no statistic for it",
    },
    Known {
        names: &["a window that stays shut"],
        reason: "nothing went wrong inside: the stream is cancelled",
    },
];

/// With limits that are quickly reached.
const LOW: &str = "
          request_headers_timeout: 0.5s
          stream_idle_timeout: 1s
          max_request_headers_kb: 8
          common_http_protocol_options: {max_headers_count: 20}
          http2_protocol_options:
            max_outbound_frames: 200
            max_outbound_control_frames: 50
            max_consecutive_inbound_frames_with_empty_payload: 3
            max_inbound_priority_frames_per_stream: 10
            max_inbound_window_update_frames_per_data_frame_sent: 1
            stream_reset_burst: 20
            stream_reset_rate: 1
            override_stream_error_on_invalid_http_message: true";

const CALM: &[&str] = &["ENHANCE_YOUR_CALM"];

/// Somebody who means harm.
struct Attack {
    case: Case,
    /// With the limits of [`LOW`], or with the defaults.
    low: bool,
    /// What counts it, here and in Envoy.
    stat: &'static str,
}

fn attack(low: bool, stat: &'static str, name: &str, then: Then, steps: Vec<Vec<u8>>) -> Attack {
    Attack {
        case: case(name, then, steps),
        low,
        stat,
    }
}

/// Many of a frame in one write.
fn many(count: u32, each: impl Fn(u32) -> Vec<u8>) -> Vec<u8> {
    (0..count).flat_map(each).collect()
}

fn attacks() -> Vec<Attack> {
    let reset = |n: u32| [headers(2 * n + 1, POST, false), rst(2 * n + 1, 8)].concat();
    let large: Vec<(&str, &str)> = [GET, &[("x", LONG); 9]].concat();
    let several: Vec<(&str, &str)> = [GET, &[("x", "y"); 20]].concat();
    let over = Connection(CALM);
    let mut stalled = attack(
        true,
        "http2.tx_flush_timeout",
        "a window that stays shut",
        Stream(&["CANCEL", "NO_ERROR", "INTERNAL_ERROR"]),
        vec![headers(1, GET, true)],
    );
    stalled.case = stalled.case.with(&[(4, 0)]);
    vec![
        attack(
            true,
            "http2.inbound_reset_flood",
            "streams opened and reset",
            over,
            vec![many(21, reset)],
        ),
        attack(
            false,
            "http.default.downstream_rq_too_many_premature_resets",
            "most streams reset at once",
            over,
            vec![many(251, reset)],
        ),
        attack(
            false,
            "http2.made_you_reset",
            "streams that make the server reset them",
            over,
            vec![many(120, |n| {
                [headers(2 * n + 1, POST, false), window_update(2 * n + 1, 0)].concat()
            })],
        ),
        attack(
            true,
            "http2.inbound_continuation_flood",
            "a header block without end",
            over,
            vec![
                frame(HEADERS, END_STREAM, 1, &block(GET)),
                many(17, |_| frame(CONTINUATION, 0, 1, &block(&[("a", "b")]))),
            ],
        ),
        attack(
            true,
            "http2.inbound_settings_flood",
            "SETTINGS, each acknowledgment read",
            over,
            (0..101).map(|_| settings(&[(3, 100)])).collect(),
        ),
        attack(
            false,
            "http2.inbound_ping_flood",
            "PING, each answer read",
            over,
            (0..15).map(|_| many(70, |_| ping(b"12345678"))).collect(),
        ),
        attack(
            true,
            "http2.outbound_control_flood",
            "PING, no answer read",
            over,
            vec![many(100, |_| ping(b"12345678"))],
        ),
        attack(
            true,
            "http2.inbound_priority_frames_flood",
            "PRIORITY",
            over,
            vec![many(11, |n| priority(2 * n + 1, 0, 9))],
        ),
        attack(
            true,
            "http2.inbound_window_update_frames_flood",
            "WINDOW_UPDATE",
            over,
            vec![many(10, |_| window_update(0, 1))],
        ),
        attack(
            true,
            "http2.inbound_empty_frames_flood",
            "DATA without content",
            over,
            vec![headers(1, POST, false), many(4, |_| data(1, b"", false))],
        ),
        attack(
            false,
            "http2.inbound_useless_frames_flood",
            "frames of unknown types",
            over,
            vec![many(10_001, |_| frame(0xbe, 0, 0, b""))],
        ),
        attack(
            true,
            "http2.outbound_flood",
            "requests, no answer read",
            over,
            vec![many(150, |n| headers(2 * n + 1, HERE, true))],
        ),
        attack(
            true,
            "http2.header_overflow",
            "a head that is too large",
            Stream(CALM),
            vec![headers(1, &large, true)],
        ),
        attack(
            true,
            "http2.header_overflow",
            "a head of too many fields",
            Stream(CALM),
            vec![headers(1, &several, true)],
        ),
        attack(
            true,
            "http2.headers_timeout",
            "a head that does not end",
            over,
            vec![frame(HEADERS, END_STREAM, 1, &block(GET))],
        ),
        stalled,
    ]
}

const LONG: &str = match std::str::from_utf8(&[b'v'; 1024]) {
    Ok(text) => text,
    Err(_) => "",
};

/// Answered by the proxy itself.
const HERE: e2e::h2_wire::Fields<'static> = &[
    (":method", "GET"),
    (":scheme", "http"),
    (":path", "/here"),
    (":authority", "test"),
];

fn listener(name: &str, port: u16, options: &str) -> String {
    format!(
        r#"
  - name: {name}
    address: {{socket_address: {{address: 127.0.0.1, port_value: {port}}}}}
    filter_chains:
    - filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: {name}{options}
          # Envoy waits for so long before it closes.
          delayed_close_timeout: 0.1s
          route_config:
            virtual_hosts:
            - name: v
              domains: ["*"]
              routes:
              - {{match: {{prefix: /here}}, direct_response: {{status: 200, body: {{inline_string: here}}}}}}
              - {{match: {{prefix: /}}, route: {{cluster: echo}}}}
          http_filters:
          - name: envoy.filters.http.router
            typed_config: {{"@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router}}"#
    )
}

/// Waits for an answer to everything but the attacks whose point is that nothing is read.
fn reads(attack: &Attack) -> bool {
    attack.case.name.contains("read") && !attack.case.name.contains("no answer")
}

fn observe(kind: Kind, directory: &Directory, backend: u16) -> (BTreeMap<String, String>, String) {
    let [low, default] = [ports::free_port(), ports::free_port()];
    let bootstrap = format!(
        "admin: {{address: {{socket_address: {{address: 127.0.0.1, port_value: {{admin}}}}}}}}\nstatic_resources:\n  \
         listeners:{}{}\n  clusters:\n  - name: echo\n    type: STATIC\n    connect_timeout: 1s\n    load_assignment: \
         {{cluster_name: echo, endpoints: [{{lb_endpoints: [{{endpoint: {{address: {{socket_address: {{address: \
         127.0.0.1, port_value: {backend}}}}}}}}}]}}]}}\n",
        listener("low", low, LOW),
        listener("default", default, ""),
    );
    let proxy = Proxy::start(kind, directory, kind.name(), &bootstrap);
    let mut observed = BTreeMap::new();
    let mut faults = String::new();
    for attack in attacks() {
        let counted = proxy.stat(attack.stat);
        let mut wire = Wire::client(if attack.low { low } else { default }, &attack.case.settings);
        let mut attacked = attack.case.clone();
        if reads(&attack) {
            for step in attacked.steps.drain(..) {
                if let e2e::h2_case::Step::Send(octets) = step {
                    wire.send(&octets);
                    wire.read_what_is_there();
                }
            }
        }
        if attack.case.name.contains("does not end") || attack.case.name.contains("stays shut") {
            // Whatever is done about it is done after a time.
            for step in attacked.steps.drain(..) {
                if let e2e::h2_case::Step::Send(octets) = step {
                    wire.send(&octets);
                }
            }
            wire.wait(4, |frame| {
                matches!(frame.kind, e2e::h2_wire::GOAWAY | e2e::h2_wire::RST_STREAM)
            });
        }
        let did = run(&attacked, &mut wire);
        let mut what = did.kind();
        if kind == Kind::Remora {
            if let Err(fault) = judge(&attack.case, &did) {
                let _ = writeln!(faults, "{fault}");
            }
            // A connection adds its counts when it ends.
            drop(wire);
            wait_until(5, &format!("{} counts {}", attack.stat, attack.case.name), || {
                proxy.stat(attack.stat) > counted
            });
            what.push_str(", counted");
        } else {
            drop(wire);
            if proxy.stat(attack.stat) > counted {
                what.push_str(", counted");
            }
        }
        observed.insert(attack.case.name, what);
    }
    if kind == Kind::Remora {
        wait_until(5, "nothing is left of the attacks", || {
            ["low", "default"].iter().all(|name| {
                proxy.stat(&format!("http.{name}.downstream_rq_active")) == 0
                    && proxy.stat(&format!("http.{name}.downstream_cx_active")) == 0
            })
        });
    }
    (observed, faults)
}

#[test]
fn each_abuse_ends_at_its_limit_and_is_counted() {
    let directory = Directory::new("abuse");
    let backend = EchoBackend::start();
    let [envoy, remora] = thread::scope(|scope| {
        [Kind::Envoy, Kind::Remora]
            .map(|kind| {
                let (directory, port) = (&directory, backend.port());
                scope.spawn(move || observe(kind, directory, port))
            })
            .map(|thread| thread.join().expect("a side is observed"))
    });
    let differences = compare("abuse", &envoy.0, &remora.0, KNOWN).err().unwrap_or_default();
    assert!(
        remora.1.is_empty() && differences.is_empty(),
        "{}\n{differences}",
        remora.1
    );
}
