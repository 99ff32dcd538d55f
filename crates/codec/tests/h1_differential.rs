//! The same bytes to our HTTP/1.1 server and to hyper's, which also stands on `httparse`: what both take is the same
//! requests with the same fields, content and trailers. Input comes from fixed seeds. Where we refuse what hyper takes,
//! [`DIVERGENCES`] says why.

#![allow(clippy::unwrap_used, reason = "a panic in a test is its report")]

mod messages;

use std::cell::RefCell;
use std::convert::Infallible;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use codec::event::{Event, Scratch, StreamId};
use codec::h1::{Config, Connection};
use codec::headers::HeaderBlock;
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use messages::{
    Comparison, Outcome, Random, Taken, announce_length, chunks, damage, fields_of, fields_of_map, seeds, write_head,
};
use tokio::io::AsyncWriteExt;

/// What we refuse and hyper takes, and why that is meant. There is nothing that hyper refuses and we take.
const DIVERGENCES: &[(&str, &str)] = &[
    (
        "LF without CR",
        "RFC 9112 section 2.2: a recipient may take LF alone; two that differ make smuggling",
    ),
    (
        "Content-Length beside",
        "RFC 9112 section 6.1: a server may reject it; theirs removes the length",
    ),
    (
        "more than one Content-Length",
        "RFC 9110 section 8.6: may be rejected even if equal",
    ),
    (
        "Transfer-Encoding other than chunked",
        "RFC 9112 section 6.1: a coding that is not understood gets a 501",
    ),
    (
        "no Host",
        "RFC 9112 section 3.2: must be answered with 400; theirs leaves that to its user",
    ),
    (
        "more than one Host",
        "RFC 9112 section 3.2: must be answered with 400; theirs leaves that to its user",
    ),
    (
        "invalid Host",
        "RFC 9112 section 3.2: must be answered with 400; theirs leaves that to its user",
    ),
    (
        "invalid request target",
        "RFC 9112 section 3.2: each form for its methods; theirs takes any URI",
    ),
    (
        "Connection names",
        "RFC 9110 section 7.6.1: what is for every recipient is no connection option; theirs passes options over",
    ),
    (
        "trailer field not allowed",
        "RFC 9110 section 6.5.1: fields that frame or route are no trailers",
    ),
    (
        "invalid chunk extension",
        "RFC 9112 section 7.1.1: control characters are in no extension",
    ),
    (
        "invalid chunk size",
        "RFC 9112 section 7.1: white space after the size is not in the grammar",
    ),
];

fn ours(input: &[u8]) -> Outcome {
    let config = Arc::new(Config {
        accept_http_10: true,
        default_host_for_http_10: Some(b"default.test".to_vec().into()),
        enable_trailers: true,
        ..Config::default()
    });
    let now = Instant::now();
    let mut connection = Connection::server(&config, now);
    let mut scratch = Scratch::new();
    let mut outcome = Outcome::default();
    let mut current = Taken::default();
    let mut rest = input;
    loop {
        let mut complete = None;
        match connection.receive(&mut rest, &mut scratch, now) {
            Ok(Some(Event::Head {
                stream,
                head,
                end_stream,
            })) => {
                let text = |part: Option<&[u8]>| String::from_utf8_lossy(part.unwrap_or_default()).into_owned();
                current = Taken {
                    line: format!("{} {}", text(head.method()), text(head.path())),
                    fields: fields_of(head),
                    ..Taken::default()
                };
                complete = end_stream.then_some(stream);
            }
            Ok(Some(Event::Data {
                stream,
                data,
                credit,
                end_stream,
            })) => {
                current.content.extend_from_slice(data);
                connection.release_credit(stream, credit);
                complete = end_stream.then_some(stream);
            }
            Ok(Some(Event::Trailers { stream, trailers })) => {
                current.trailers = fields_of(trailers);
                complete = Some(stream);
            }
            Ok(Some(_)) => {}
            Ok(None) if connection.wants_receive() => {}
            Ok(None) => return outcome,
            Err(error) => {
                outcome.stopped = Some(error.violation.to_owned());
                return outcome;
            }
        }
        if let Some(stream) = complete {
            outcome.taken.push(std::mem::take(&mut current));
            answer(&mut connection, stream);
        }
    }
}

fn answer(connection: &mut Connection, stream: StreamId) {
    let mut head = HeaderBlock::new();
    head.set_status(200);
    head.append("content-length", b"0");
    connection.send_head(stream, &head, true).unwrap();
    connection.advance_output(connection.output().len());
}

async fn theirs(input: &[u8]) -> Outcome {
    let taken = Rc::new(RefCell::new(Vec::new()));
    let stopped = Rc::new(RefCell::new(None));
    let service = hyper::service::service_fn(|request: Request<Incoming>| {
        let (taken, stopped) = (taken.clone(), stopped.clone());
        async move {
            let (head, mut body) = request.into_parts();
            let target = head.uri.path_and_query().map_or("", |target| target.as_str());
            let mut request = Taken {
                // RFC 9110 section 4.2.3: an empty path is the same as a slash.
                line: format!(
                    "{} {}{target}",
                    head.method,
                    if target.starts_with('?') { "/" } else { "" }
                ),
                fields: fields_of_map(&head.headers),
                ..Taken::default()
            };
            while let Some(frame) = body.frame().await {
                match frame.map(hyper::body::Frame::into_data) {
                    Ok(Ok(data)) => request.content.extend_from_slice(&data),
                    Ok(Err(frame)) => request.trailers = frame.trailers_ref().map(fields_of_map).unwrap_or_default(),
                    Err(error) => {
                        *stopped.borrow_mut() = Some(format!("content: {error:?}"));
                        return Ok(Response::new(Empty::<Bytes>::new()));
                    }
                }
            }
            taken.borrow_mut().push(request);
            Ok::<_, Infallible>(Response::new(Empty::<Bytes>::new()))
        }
    });
    let (mut client, server) = tokio::io::duplex(1 << 20);
    client.write_all(input).await.unwrap();
    client.shutdown().await.unwrap();
    let connection = hyper::server::conn::http1::Builder::new()
        .half_close(true)
        .serve_connection(TokioIo::new(server), service);
    let ended = tokio::time::timeout(Duration::from_secs(5), connection).await;
    let error = ended
        .expect("hyper ends after its input")
        .err()
        .map(|error| format!("{error:?}"));
    let stopped = stopped.take().or(error);
    Outcome {
        taken: taken.take(),
        stopped,
    }
}

/// Up to three requests, mostly right.
fn generate(random: &mut Random) -> Vec<u8> {
    let mut input = Vec::new();
    for _ in 0..1 + random.below(3) {
        request(random, &mut input);
    }
    if random.chance(15) {
        for _ in 0..1 + random.below(3) {
            damage(random, &mut input);
        }
    }
    if random.chance(5) {
        input.truncate(random.below(input.len()));
    }
    input
}

fn request(random: &mut Random, input: &mut Vec<u8>) {
    let method = ["GET", "POST", "PUT", "HEAD", "OPTIONS", "DELETE", "BREW"][random.below(7)];
    let target = random.pick(
        "/a/b?c=d",
        &["/", "*", "http://h.test/x?y", "/%zz", "//", "/\u{e9}", "/a b", "x", ""],
    );
    let version = random.pick(
        "HTTP/1.1",
        &["HTTP/1.0", "HTTP/1.2", "HTTP/2.0", "http/1.1", "HTTP/1.1 "],
    );
    let mut lines = vec![format!("{method} {target} {version}")];
    if !random.chance(3) {
        lines.push(
            random
                .pick(
                    "Host: h.test",
                    &["host:h.test:80", "Host: ", "Host: a b", "HOST: [::1]"],
                )
                .to_owned(),
        );
    }
    for _ in 0..random.below(4) {
        let name = random.pick(
            "X-One",
            &["x-two", "Content-Type", "X One", "X-One ", "", "x\u{e9}", "Host"],
        );
        let value = random.pick(
            "value",
            &["", "  padded\t ", "a\tb", "\u{e9}", "a\u{1}", "\"q\"", "a\r\n folded"],
        );
        lines.push(format!("{name}: {value}"));
    }
    if random.chance(10) {
        lines.push(
            random
                .pick(
                    "Connection: keep-alive",
                    &["Connection: close", "Connection: :path", "Connection: Host"],
                )
                .to_owned(),
        );
    }
    let content = &"0123456789abcdefghij"[..random.below(21)];
    let mut body = String::new();
    match random.below(3) {
        0 => {}
        1 => {
            announce_length(random, content, &mut lines);
            body = content.to_owned();
        }
        _ => {
            let odd = [
                "Chunked",
                "gzip, chunked",
                "chunked, gzip",
                "identity",
                "chunked, chunked",
                " chunked ",
                "xchunked",
            ];
            body = chunks(random, content, &odd, &mut lines);
        }
    }
    write_head(random, lines, input);
    input.extend_from_slice(body.as_bytes());
}

#[test]
fn a_server_takes_the_requests_that_hypers_server_takes() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let (seeds, usual) = seeds(1..6_000);
    let mut comparison = Comparison::new(DIVERGENCES);
    for seed in seeds {
        let input = generate(&mut Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1));
        comparison.add(seed, &input, &ours(&input), &runtime.block_on(theirs(&input)));
    }
    comparison.assert(usual);
}
