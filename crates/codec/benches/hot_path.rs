//! What the codec costs per header block, per HTTP/1.1 exchange and per byte of Huffman code.
//!
//! `cargo bench -p codec --bench hot_path` prints nanoseconds. With a scenario's name and a number of rounds as
//! arguments it only runs that, for `valgrind --tool=callgrind`, whose counts repeat exactly.

#![allow(clippy::unwrap_used, reason = "a panic here is the report")]
#![allow(clippy::print_stdout, reason = "the report")]

use codec::event::{Event, Scratch, StreamId};
use codec::h1;
use codec::headers::HeaderBlock;
use codec::headers::validate::Kind;
use codec::hpack::{Decoded, Decoder, Encoder, Limits};
use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;

const LIMITS: Limits = Limits {
    list_size: 60 * 1024,
    fields: 100,
};
const REQUEST: Kind = Kind::Request {
    extended_connect: false,
};

/// Name, what one round is divided by, and what prepares the round.
type Scenario = (&'static str, usize, fn() -> Box<dyn FnMut()>);

fn main() {
    let arguments: Vec<String> = std::env::args()
        .skip(1)
        .filter(|argument| argument != "--bench")
        .collect();
    for (name, units, prepare) in scenarios() {
        match &arguments[..] {
            [wanted, rounds] if wanted == name => {
                let mut round = prepare();
                (0..rounds.parse().unwrap()).for_each(|_| round());
            }
            [_, _] => {}
            _ => {
                let mut round = prepare();
                let mut best = f64::MAX;
                for _ in 0..20 {
                    let start = Instant::now();
                    (0..2_000).for_each(|_| round());
                    best = best.min(start.elapsed().as_nanos() as f64 / 2_000.0 / units as f64);
                }
                println!("{name:32} {best:9.2} ns");
            }
        }
    }
}

fn scenarios() -> Vec<Scenario> {
    vec![
        ("huffman_decode_per_output_byte", TEXT.len() * 16, huffman_decode),
        ("huffman_encode_per_input_byte", TEXT.len() * 16, huffman_encode),
        ("unary_request_warm", 1, || forward(&unary_request(), false)),
        ("unary_request_unique_ids", 1, || forward(&unary_request(), true)),
        ("s9_request_warm", 1, || forward(&s9_request(), false)),
        ("s9_request_unique_ids", 1, || forward(&s9_request(), true)),
        ("s9_request_first_of_connection", 1, || {
            first_of_connection(&s9_request())
        }),
        ("h1_exchange", 1, h1_exchange),
    ]
}

const TEXT: &str = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/119.0.0.0";

fn unary_request() -> HeaderBlock {
    let mut block = HeaderBlock::new();
    block.set_method(b"POST");
    block.set_scheme(b"http");
    block.set_authority(b"greeter.default.svc.cluster.local:50051");
    block.set_path(b"/helloworld.Greeter/SayHello");
    block.append("te", b"trailers");
    block.append("content-type", b"application/grpc");
    block.append("user-agent", b"grpc-go/1.60.1");
    block
}

/// The unary request with twelve more fields, 1.1 KiB in all.
fn s9_request() -> HeaderBlock {
    let mut block = unary_request();
    block.append("accept-encoding", b"identity,deflate,gzip");
    block.append("grpc-accept-encoding", b"identity,deflate,gzip");
    block.append("x-forwarded-proto", b"https");
    block.append("x-forwarded-for", b"10.1.2.3, 10.4.5.6");
    block.append("x-envoy-attempt-count", b"1");
    block.append("x-forwarded-client-cert", b"By=spiffe://cluster.local/ns/default/sa/server;Hash=468ed33be74eee6556d90c0149c1309e9ba61d6425303443c0748a02dd8de688;Subject=\"\";URI=spiffe://cluster.local/ns/default/sa/client");
    block.append("x-team", b"payments-and-settlements");
    block.append("x-tenant", b"7f3c9b0e-55d1-4b0c-8f19-0d7a6a2e4c11");
    block.append("x-build", b"2024.11.20-release-candidate-3+5f2d3ce0bd");
    block.append(
        "baggage",
        b"userId=alice,serverNode=DF%2028,isProduction=false,region=eu-central-1,zone=eu-central-1b",
    );
    block.append("x-api-version", b"2024-11-01-preview");
    block.append("authorization", b"Bearer eyJhbGciOiJSUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiIxMjM0NTY3ODkwIiwibmFtZSI6IkpvaG4gRG9lIn0.NHVaYe26MbtOYhSKkoKYdFVomg4i8ZJd8_-RU8VNbftc4TSMb4bXP3l3YlNWACwyXPGffz5aXHc6lty1Y2t4SWRqGteragsVdZufDn5BlnJl9pdR_kdVFUsra2rWKEofkZeIC4yWytE58sMIihvo9H1ScmmVwBcQP6XETqYd0aSHp1gOa9RdUPDvoXQ5oqygTqVtxaDr6wUFKrKItgBMzWIdNZ6y7O9E0DhEPTbE9rfBo6KTFsHAZnMg4k68CDp2woYIaXbmYTWcvbzIuHO7_37GT79XdIwkm95QJ7hYC9RiwrV7mesbY4PAahERJawntho0my942XheVLmGwLMBkQ");
    block
}

/// Decode, validate and encode again, as a proxy does, on two warm connections.
fn forward(block: &HeaderBlock, unique: bool) -> Box<dyn FnMut()> {
    let (mut client, mut decoder, mut encoder) = (Encoder::new(4096), Decoder::new(4096), Encoder::new(4096));
    let mut inputs = Vec::new();
    for n in 0..64u64 {
        let mut block = block.clone();
        if unique {
            let id = n.wrapping_mul(0x9e37_79b9_7f4a_7c15);
            block.append("x-request-id", format!("{id:016x}-9d2b-4a1c-b7f0-{id:012x}").as_bytes());
            block.append("traceparent", format!("00-{id:016x}{id:016x}-{id:016x}-01").as_bytes());
        }
        let mut input = Vec::new();
        client.encode(&block, &mut input);
        inputs.push(input);
    }
    // The first blocks fill the tables; the later ones can be repeated in any order.
    let mut head = HeaderBlock::new();
    let mut output = Vec::new();
    for input in &inputs {
        decoder.decode(input, REQUEST, LIMITS, &mut head).unwrap();
        encoder.encode(&head, &mut output);
    }
    let mut next = 0;
    Box::new(move || {
        next = next % 32 + 1;
        output.clear();
        let decoded = decoder.decode(&inputs[31 + next], REQUEST, LIMITS, &mut head);
        assert_eq!(decoded, Ok(Decoded::Complete));
        encoder.encode(&head, &mut output);
        black_box(&output);
    })
}

/// The same with new tables every time.
fn first_of_connection(block: &HeaderBlock) -> Box<dyn FnMut()> {
    let mut input = Vec::new();
    Encoder::new(4096).encode(block, &mut input);
    let mut head = HeaderBlock::new();
    let mut output = Vec::new();
    Box::new(move || {
        output.clear();
        let decoded = Decoder::new(4096).decode(&input, REQUEST, LIMITS, &mut head);
        assert_eq!(decoded, Ok(Decoded::Complete));
        Encoder::new(4096).encode(&head, &mut output);
        black_box(&output);
    })
}

/// A response whose one field is long, so that all else is small beside its Huffman code.
fn long_literal() -> HeaderBlock {
    let mut block = HeaderBlock::new();
    block.set_status(200);
    block.append_sensitive("x-long", TEXT.repeat(16).as_bytes());
    block
}

fn huffman_decode() -> Box<dyn FnMut()> {
    let mut input = Vec::new();
    Encoder::new(4096).encode(&long_literal(), &mut input);
    let mut decoder = Decoder::new(4096);
    let mut head = HeaderBlock::new();
    Box::new(move || {
        let decoded = decoder.decode(&input, Kind::Response, LIMITS, &mut head);
        assert_eq!(decoded, Ok(Decoded::Complete));
        black_box(&head);
    })
}

fn huffman_encode() -> Box<dyn FnMut()> {
    let block = long_literal();
    let mut encoder = Encoder::new(4096);
    let mut output = Vec::new();
    Box::new(move || {
        output.clear();
        encoder.encode(&block, &mut output);
        black_box(&output);
    })
}

/// A GET through a proxy: server side in, client side out, response back.
fn h1_exchange() -> Box<dyn FnMut()> {
    const REQUEST: &[u8] = b"GET /products/42?verbose=1 HTTP/1.1\r\nHost: shop.example\r\nUser-Agent: curl/8.5.0\r\n\
        Accept: */*\r\nAccept-Encoding: gzip\r\nX-Request-Id: 0f8fad5b-d9cb-469f-a165-70867728950e\r\n\
        Authorization: Bearer abcdefghijklmnopqrstuvwxyz\r\n\r\n";
    const RESPONSE: &[u8] = b"HTTP/1.1 200 OK\r\nServer: nginx\r\nDate: Mon, 21 Oct 2013 20:13:21 GMT\r\n\
        Content-Type: text/plain\r\nContent-Length: 64\r\n\r\n\
        0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
    let now = Instant::now();
    let config = Arc::new(h1::Config::default());
    let mut server = h1::Connection::server(&config, now);
    let mut client = h1::Connection::client(&config, now);
    let mut scratch = Scratch::new();
    Box::new(move || {
        let mut stream = StreamId(0);
        let mut input = REQUEST;
        while let Some(event) = server.receive(&mut input, &mut scratch, now).unwrap() {
            if let Event::Head { head, end_stream, .. } = event {
                stream = client.open_stream().unwrap();
                client.send_head(stream, head, end_stream).unwrap();
            }
        }
        client.advance_output(black_box(client.output()).len());
        let mut input = RESPONSE;
        while let Some(event) = client.receive(&mut input, &mut scratch, now).unwrap() {
            match event {
                Event::Head { head, end_stream, .. } => server.send_head(stream, head, end_stream).unwrap(),
                Event::Data {
                    data,
                    end_stream,
                    credit,
                    stream,
                } => {
                    server.send_data(stream, data, end_stream).unwrap();
                    client.release_credit(stream, credit);
                }
                _ => {}
            }
        }
        server.advance_output(black_box(server.output()).len());
        if stream.0 > 1 << 30 {
            server = h1::Connection::server(&config, now);
            client = h1::Connection::client(&config, now);
        }
    })
}
