//! What forwarding costs, without sockets: run under callgrind, which counts instructions exactly.
//!
//! `valgrind --tool=callgrind --toggle-collect='exchange::forward*' target/release/examples/exchange unary 2000`
//!
//! Collects only the proxy's own work (`forward`): frames in from a client, out to a backend, and back. Scenarios:
//! `unary` (a 64-octet message each way with trailers), `headers` (the same with 12 more header fields), `stream`
//! (one response of 1,000 messages of 1 KiB), `bulk` (one response of 1 MiB), `decode` (only the decoding and
//! validation of the head of `headers`, 16 times a round). `tests/e2e/tests/codec_budget.rs` holds the counts to a budget.

use std::sync::Arc;
use std::time::Instant;

use codec::event::{Event, Scratch, StreamId};
use codec::h2::{Config, Connection};
use codec::headers::HeaderBlock;
use codec::headers::validate::Kind;
use codec::hpack::{Decoded, Decoder, Encoder, Limits};

/// The proxy between one downstream and one upstream connection.
struct Forwarder {
    downstream: Connection,
    upstream: Connection,
    scratch: Scratch,
    now: Instant,
}

impl Forwarder {
    fn on_request_bytes(&mut self, mut input: &[u8]) {
        while let Ok(Some(event)) = self.downstream.receive(&mut input, &mut self.scratch, self.now) {
            match event {
                Event::Head {
                    stream,
                    head,
                    end_stream,
                } => {
                    let Ok(upstream) = self.upstream.open_stream() else {
                        continue;
                    };
                    self.upstream.set_tag(upstream, u64::from(stream.0));
                    self.downstream.set_tag(stream, u64::from(upstream.0));
                    let _ = self.upstream.send_head(upstream, head, end_stream);
                }
                Event::Data {
                    stream,
                    data,
                    credit,
                    end_stream,
                } => {
                    let upstream = StreamId(self.downstream.tag(stream) as u32);
                    let sent = self.upstream.send_data(upstream, data, end_stream).unwrap_or(0);
                    self.downstream.release_credit(stream, credit.min(sent as u32));
                }
                _ => {}
            }
        }
    }

    fn on_response_bytes(&mut self, mut input: &[u8]) {
        while let Ok(Some(event)) = self.upstream.receive(&mut input, &mut self.scratch, self.now) {
            match event {
                Event::Head {
                    stream,
                    head,
                    end_stream,
                } => {
                    let downstream = StreamId(self.upstream.tag(stream) as u32);
                    let _ = self.downstream.send_head(downstream, head, end_stream);
                }
                Event::Data {
                    stream,
                    data,
                    credit,
                    end_stream,
                } => {
                    let downstream = StreamId(self.upstream.tag(stream) as u32);
                    let sent = self.downstream.send_data(downstream, data, end_stream).unwrap_or(0);
                    self.upstream.release_credit(stream, credit.min(sent as u32));
                }
                Event::Trailers { stream, trailers } => {
                    let downstream = StreamId(self.upstream.tag(stream) as u32);
                    let _ = self.downstream.send_trailers(downstream, trailers);
                }
                _ => {}
            }
        }
    }
}

#[inline(never)]
fn forward_request(proxy: &mut Forwarder, input: &[u8]) {
    proxy.on_request_bytes(input);
}

#[inline(never)]
fn forward_response(proxy: &mut Forwarder, input: &[u8]) {
    proxy.on_response_bytes(input);
}

#[inline(never)]
fn forward_flushed(connection: &mut Connection, count: usize) {
    connection.advance_output(count);
}

#[inline(never)]
fn forward_decode(decoder: &mut Decoder, block: &[u8], head: &mut HeaderBlock) -> bool {
    let kind = Kind::Request {
        extended_connect: false,
    };
    let limits = Limits {
        list_size: 60 * 1024,
        fields: 100,
    };
    decoder.decode(block, kind, limits, head) == Ok(Decoded::Complete)
}

/// What the client asks and the backend answers.
struct Scenario {
    streams: usize,
    fields: Vec<(&'static str, String)>,
    messages: usize,
    size: usize,
    trailers: bool,
}

fn scenario(name: &str) -> Scenario {
    let extra = [
        ("user-agent", "grpc-go/1.68.0"),
        ("x-request-id", "0af76519-16cd-43dd-8448-eb211c80319c"),
        ("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
        (
            "authorization",
            "Bearer eyJhbGciOiJSUzI1NiIsImtpZCI6IjEifQ.eyJzdWIiOiIxMjM0NTY3ODkwIn0.c2lnbmF0dXJl",
        ),
        ("x-forwarded-for", "10.1.2.3, 10.4.5.6"),
        ("x-forwarded-proto", "https"),
        ("grpc-timeout", "1S"),
        ("grpc-accept-encoding", "identity,deflate,gzip"),
        ("x-b3-traceid", "463ac35c9f6413ad48485a3953bb6124"),
        ("cookie", "session=8f14e45fceea167a5a36dedd4bea2543; theme=dark"),
        ("x-tenant", "tenant-0042"),
        ("x-client-version", "2026.11.20-rc1+build.4711"),
    ];
    let base = Scenario {
        streams: 16,
        fields: Vec::new(),
        messages: 1,
        size: 64,
        trailers: true,
    };
    match name {
        "headers" => Scenario {
            fields: extra.map(|(name, value)| (name, value.to_owned())).to_vec(),
            ..base
        },
        "stream" => Scenario {
            streams: 1,
            messages: 1000,
            size: 1024,
            ..base
        },
        "bulk" => Scenario {
            streams: 1,
            messages: 64,
            size: 16_384,
            trailers: false,
            ..base
        },
        _ => base,
    }
}

/// Moves everything a connection has to say into a buffer.
fn take(connection: &mut Connection) -> Vec<u8> {
    let bytes = connection.output().to_vec();
    connection.advance_output(bytes.len());
    bytes
}

fn request(scenario: &Scenario) -> HeaderBlock {
    let mut head = HeaderBlock::new();
    head.set_method(b"POST");
    head.set_scheme(b"http");
    head.set_authority(b"greeter.example:8080");
    head.set_path(b"/helloworld.Greeter/SayHello");
    head.append(&b"content-type"[..], b"application/grpc");
    head.append(&b"te"[..], b"trailers");
    for (name, value) in &scenario.fields {
        head.append(name.as_bytes(), value.as_bytes());
    }
    head
}

/// Decodes the same request again and again, as on a connection whose tables are warm.
fn decode(scenario: &Scenario, rounds: usize) {
    let (mut encoder, mut decoder) = (Encoder::new(4096), Decoder::new(4096));
    let mut head = request(scenario);
    let mut block = Vec::new();
    for _ in 0..rounds * scenario.streams {
        block.clear();
        encoder.encode(&request(scenario), &mut block);
        assert!(
            forward_decode(&mut decoder, &block, &mut head),
            "the encoder's block is well-formed"
        );
    }
}

fn main() {
    let mut arguments = std::env::args().skip(1);
    let name = arguments.next().unwrap_or_default();
    let rounds: usize = arguments.next().and_then(|count| count.parse().ok()).unwrap_or(1000);
    if name == "decode" {
        return decode(&scenario("headers"), rounds);
    }
    let scenario = scenario(&name);
    let config = Arc::new(Config {
        initial_stream_window_size: 0x7fff_ffff,
        initial_connection_window_size: 0x7fff_ffff,
        ..Config::default()
    });
    let now = Instant::now();
    let mut client = Connection::client(&config, now);
    let mut backend = Connection::server(&config, now);
    let mut proxy = Forwarder {
        downstream: Connection::server(&config, now),
        upstream: Connection::client(&config, now),
        scratch: Scratch::new(),
        now,
    };
    let mut scratch = Scratch::new();
    let message = vec![b'x'; scenario.size];
    let mut answered = 0;
    for round in 0..rounds + 2 {
        if round > 1 {
            for _ in 0..scenario.streams {
                let Ok(stream) = client.open_stream() else { break };
                let head = request(&scenario);
                let _ = client.send_head(stream, &head, false);
                let _ = client.send_data(stream, &[b'q'; 64], true);
            }
        }
        let bytes = take(&mut client);
        forward_request(&mut proxy, &bytes);
        let bytes = proxy.upstream.output().to_vec();
        forward_flushed(&mut proxy.upstream, bytes.len());
        let mut input = &bytes[..];
        let mut ended = Vec::new();
        while let Ok(Some(event)) = backend.receive(&mut input, &mut scratch, now) {
            if let Event::Data {
                stream,
                end_stream: true,
                credit,
                ..
            } = event
            {
                backend.release_credit(stream, credit);
                ended.push(stream);
            }
        }
        for stream in ended {
            let mut head = HeaderBlock::new();
            head.set_status(200);
            head.append(&b"content-type"[..], b"application/grpc");
            let _ = backend.send_head(stream, &head, false);
            for n in 0..scenario.messages {
                let last = n + 1 == scenario.messages && !scenario.trailers;
                let _ = backend.send_data(stream, &message, last);
                // Messages come as frames of their own, as from a server that flushes each.
                let bytes = take(&mut backend);
                forward_response(&mut proxy, &bytes);
                if proxy.downstream.output().len() > 256 * 1024 {
                    let length = proxy.downstream.output().len();
                    let bytes = proxy.downstream.output().to_vec();
                    forward_flushed(&mut proxy.downstream, length);
                    feed_client(&mut client, &bytes, &mut scratch, now, &mut answered);
                }
            }
            if scenario.trailers {
                let mut trailers = HeaderBlock::new();
                trailers.append(&b"grpc-status"[..], b"0");
                let _ = backend.send_trailers(stream, &trailers);
            }
        }
        let bytes = take(&mut backend);
        forward_response(&mut proxy, &bytes);
        let bytes = proxy.downstream.output().to_vec();
        forward_flushed(&mut proxy.downstream, bytes.len());
        feed_client(&mut client, &bytes, &mut scratch, now, &mut answered);
    }
    assert_eq!(answered, rounds * scenario.streams, "every request is answered");
}

fn feed_client(client: &mut Connection, bytes: &[u8], scratch: &mut Scratch, now: Instant, answered: &mut usize) {
    let mut input = bytes;
    while let Ok(Some(event)) = client.receive(&mut input, scratch, now) {
        match event {
            Event::Data {
                stream,
                credit,
                end_stream,
                ..
            } => {
                client.release_credit(stream, credit);
                *answered += usize::from(end_stream);
            }
            Event::Trailers { .. } => *answered += 1,
            _ => {}
        }
    }
}
