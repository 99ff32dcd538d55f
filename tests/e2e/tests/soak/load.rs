//! What callers do in a soak: each function is a caller of one kind, going on until it is told to stop. Callers behave
//! well, slowly or badly; what they get is counted, not judged, for endpoints go away under them.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use e2e::h2_wire::{
    ACK, DATA, END_STREAM, Fields, GET, GOAWAY, HEADERS, PING, RST_STREAM, Wire, data, frame, headers, ping, rst,
    window_update,
};
use testkit::http1::Client;

/// What all callers of a round share.
#[derive(Debug, Default)]
pub(crate) struct Load {
    stop: AtomicBool,
    /// Requests that were answered as they should be.
    pub(crate) answered: [AtomicU64; KINDS.len()],
    /// Requests that failed, were cut off or abandoned.
    pub(crate) failed: [AtomicU64; KINDS.len()],
}

/// A caller: what it is called, and what it does.
type Kind = (&'static str, fn(&Load, usize));

/// Every kind of caller.
pub(crate) const KINDS: [Kind; 9] = [
    ("HTTP/1.1, one after the other", http1_unary),
    ("HTTP/1.1, reading slowly", http1_slow_reader),
    ("HTTP/1.1, going away", http1_aborter),
    ("HTTP/2, many at once", http2_unary),
    ("HTTP/2, streaming", http2_streaming),
    ("HTTP/2, resetting", http2_resetting),
    ("HTTP/2, reading slowly", http2_slow_reader),
    ("HTTP/2, uploading in pieces", http2_uploading),
    ("HTTP/2, hostile", http2_hostile),
];

/// Where the proxy listens; set once for all callers.
static PORT: AtomicU64 = AtomicU64::new(0);

/// Tells callers where the proxy is.
pub(crate) fn set_port(port: u16) {
    PORT.store(u64::from(port), Ordering::Relaxed);
}

fn port() -> u16 {
    PORT.load(Ordering::Relaxed) as u16
}

impl Load {
    /// Makes all callers stop.
    pub(crate) fn stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
    }

    fn goes_on(&self) -> bool {
        !self.stop.load(Ordering::Relaxed)
    }

    fn count(&self, kind: usize, is_good: bool) {
        let counts = if is_good { &self.answered } else { &self.failed };
        counts[kind].fetch_add(1, Ordering::Relaxed);
    }
}

fn http1_unary(load: &Load, kind: usize) {
    let paths = ["page", "chunked", "hints", "nobody", "unchanged", "repeated", "error"];
    while load.goes_on() {
        let mut client = Client::connect(port());
        for (number, path) in paths.iter().cycle().enumerate().take(100) {
            if !load.goes_on() {
                return;
            }
            let (method, body) = match number % 4 {
                0 => ("POST", "x".repeat(number * 100)),
                1 => ("HEAD", String::new()),
                _ => ("GET", String::new()),
            };
            let path = if method == "POST" { "echo" } else { path };
            let length = body.len();
            client.send(
                format!("{method} /{path} HTTP/1.1\r\nhost: soak\r\ncontent-length: {length}\r\n\r\n{body}").as_bytes(),
            );
            let Some(answer) = client.response(method) else {
                load.count(kind, false);
                break;
            };
            load.count(kind, answer.status() < 503 && !answer.cut);
        }
    }
}

fn http1_slow_reader(load: &Load, kind: usize) {
    while load.goes_on() {
        let mut socket = TcpStream::connect(("127.0.0.1", port())).expect("the proxy listens");
        let _ = socket.set_read_timeout(Some(Duration::from_secs(1)));
        let _ = socket.write_all(b"GET /large HTTP/1.1\r\nhost: soak\r\n\r\n");
        let mut buffer = [0; 4096];
        let mut read = 0;
        for _ in 0..40 {
            match socket.read(&mut buffer) {
                Ok(length) if length > 0 => read += length,
                _ => break,
            }
            pause(5);
        }
        load.count(kind, read > 0);
    }
}

fn http1_aborter(load: &Load, kind: usize) {
    let requests: [&[u8]; 7] = [
        b"POST /echo HTTP/1.1\r\nhost: soak\r\ncontent-length: 100000\r\n\r\nonly this",
        b"POST /echo HTTP/1.1\r\nhost: soak\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n",
        b"GET /hang HTTP/1.1\r\nhost: soak\r\n\r\n",
        b"GET /middle HTTP/1.1\r\nhost: soak\r\n\r\n",
        b"GET /close HTTP/1.1\r\nhost: soak\r\n\r\n",
        b"GET /page HTTP/1.1\r\nhost: soak\r\nbroken\r\n\r\n",
        b"GET /pa",
    ];
    for request in requests.iter().cycle() {
        if !load.goes_on() {
            return;
        }
        let mut socket = TcpStream::connect(("127.0.0.1", port())).expect("the proxy listens");
        let _ = socket.set_read_timeout(Some(Duration::from_millis(20)));
        let _ = socket.write_all(request);
        let _ = socket.read(&mut [0; 1024]);
        load.count(kind, true);
    }
}

/// A client with windows that never close.
fn open() -> Wire {
    let mut wire = Wire::client(port(), &[(4, 0x7fff_ffff)]);
    wire.send(&window_update(0, 0x7fff_0000));
    wire
}

fn path(path: &'static str, method: &'static str) -> [(&'static str, &'static str); 6] {
    [
        (":method", method),
        (":scheme", "http"),
        (":path", path),
        (":authority", "soak"),
        ("content-type", "application/grpc"),
        ("te", "trailers"),
    ]
}

/// Waits until all streams have ended; how many ended well.
fn ended(wire: &mut Wire, streams: usize) -> usize {
    let ends = |frame: &e2e::h2_wire::Frame| {
        frame.kind == RST_STREAM || matches!(frame.kind, DATA | HEADERS) && frame.has(END_STREAM)
    };
    wire.wait_for(Duration::from_secs(10), |frames| {
        frames.iter().filter(|frame| ends(frame)).count() >= streams || frames.iter().any(|frame| frame.kind == GOAWAY)
    });
    let good = wire
        .frames
        .iter()
        .filter(|frame| frame.kind != RST_STREAM && ends(frame))
        .count();
    wire.frames.clear();
    good
}

fn http2_unary(load: &Load, kind: usize) {
    while load.goes_on() {
        let mut wire = open();
        let mut stream = 1;
        for _ in 0..50 {
            if !load.goes_on() {
                return;
            }
            let mut batch = Vec::new();
            for number in 0..10 {
                let to = if number % 2 == 0 { "/bench.Bench/Unary" } else { "/echo" };
                batch.extend(headers(stream, &path(to, "POST"), false));
                batch.extend(data(stream, &[b'x'; 64], true));
                stream += 2;
            }
            wire.send(&batch);
            let good = ended(&mut wire, 10);
            (0..10).for_each(|number| load.count(kind, number < good));
            if good == 0 {
                break;
            }
        }
    }
}

fn http2_streaming(load: &Load, kind: usize) {
    while load.goes_on() {
        let mut wire = open();
        for number in 0..20 {
            if !load.goes_on() {
                return;
            }
            let to = ["/bench.Bench/Stream", "/bench.Bench/Body", "/large"][number % 3];
            wire.send(&headers(number as u32 * 2 + 1, &path(to, "GET"), true));
            load.count(kind, ended(&mut wire, 1) == 1);
        }
    }
}

/// Fewer and slower than the proxy takes for an attack.
fn http2_resetting(load: &Load, kind: usize) {
    while load.goes_on() {
        let mut wire = open();
        for number in 0..100 {
            if !load.goes_on() {
                return;
            }
            let stream = number * 2 + 1;
            let to = if number % 2 == 0 {
                "/bench.Bench/Stream"
            } else {
                "/hang"
            };
            wire.send(&headers(stream, &path(to, "GET"), true));
            wire.wait_for(Duration::from_millis(5), |frames| {
                frames
                    .iter()
                    .any(|frame| frame.kind == HEADERS && frame.stream == stream)
            });
            let is_sent = wire.send(&rst(stream, 8));
            wire.frames.clear();
            load.count(kind, is_sent);
            if !is_sent {
                break;
            }
        }
    }
}

fn http2_slow_reader(load: &Load, kind: usize) {
    while load.goes_on() {
        let mut wire = Wire::client(port(), &[(4, 1024)]);
        for stream in [1, 3, 5, 7, 9] {
            let to = if stream % 4 == 1 { "/bench.Bench/Body" } else { "/large" };
            wire.send(&headers(stream, &path(to, "GET"), true));
        }
        for _ in 0..20 {
            wire.wait_for(Duration::from_millis(10), |_| false);
            let read = wire.frames.iter().any(|frame| frame.kind == DATA);
            wire.frames.clear();
            for stream in [1, 3, 5] {
                wire.send(&window_update(stream, 1024));
            }
            load.count(kind, read);
        }
    }
}

fn http2_uploading(load: &Load, kind: usize) {
    while load.goes_on() {
        let mut wire = open();
        for number in 0..20 {
            if !load.goes_on() {
                return;
            }
            let stream = number * 2 + 1;
            wire.send(&headers(stream, &path("/echo", "POST"), false));
            for _ in 0..10 {
                wire.send(&data(stream, &[b'u'; 4096], false));
                wire.wait_for(Duration::from_millis(1), |_| false);
            }
            match number % 4 {
                // Some are given up, some end with trailers.
                0 => drop(wire.send(&rst(stream, 8))),
                1 => drop(wire.send(&headers(stream, &[("x-sum", "1")], true))),
                _ => drop(wire.send(&data(stream, b"", true))),
            }
            load.count(kind, number % 4 == 0 || ended(&mut wire, 1) == 1);
        }
    }
}

fn http2_hostile(load: &Load, kind: usize) {
    let upper: Fields<'_> = &[("X-UPPER", "1")];
    let attacks: [Vec<u8>; 6] = [
        (0..300)
            .flat_map(|n| [headers(2 * n + 1, GET, true), rst(2 * n + 1, 8)].concat())
            .collect(),
        (0..2_000).flat_map(|_| ping(b"12345678")).collect(),
        headers(1, &[GET, upper].concat(), true),
        frame(HEADERS, END_STREAM, 1, &[0; 10_000]),
        (0..200)
            .flat_map(|n| [headers(2 * n + 1, GET, false), window_update(2 * n + 1, 0)].concat())
            .collect(),
        frame(0, 0, 1, &[0; 16_385]),
    ];
    for attack in attacks.iter().cycle() {
        if !load.goes_on() {
            return;
        }
        let mut wire = open();
        wire.send(attack);
        wire.send(&ping(b"the end!"));
        wire.wait_for(Duration::from_millis(500), |frames| {
            frames.iter().any(|frame| {
                frame.kind == GOAWAY || frame.kind == PING && frame.has(ACK) && frame.payload == b"the end!"
            })
        });
        load.count(kind, true);
    }
}

/// Time that a slow caller takes: load, not synchronisation.
fn pause(milliseconds: u64) {
    std::thread::sleep(Duration::from_millis(milliseconds));
}
