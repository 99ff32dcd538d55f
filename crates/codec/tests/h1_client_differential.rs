//! The same bytes to our HTTP/1.1 client and to hyper's: what both take is the same responses with the same fields,
//! content and trailers. Input comes from fixed seeds. Where we refuse what hyper takes, [`DIVERGENCES`] says why.

#![allow(clippy::unwrap_used, reason = "a panic in a test is its report")]

mod messages;

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;
use std::time::Instant;

use bytes::Bytes;
use codec::event::{Event, Scratch};
use codec::h1::{Config, Connection};
use codec::headers::HeaderBlock;
use http_body_util::{BodyExt, Empty};
use hyper::client::conn::http1;
use hyper::{Request, body};
use hyper_util::rt::TokioIo;
use messages::{
    Comparison, Outcome, Random, Taken, announce_length, chunks, damage, fields_of, fields_of_map, seeds, write_head,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// What we refuse and hyper takes, and why that is meant.
const DIVERGENCES: &[(&str, &str)] = &[
    (
        "LF without CR",
        "RFC 9112 section 2.2: a recipient may take LF alone; two that differ make smuggling",
    ),
    (
        "Content-Length beside",
        "RFC 9112 section 6.3: ought to be handled as an error; theirs removes the length",
    ),
    (
        "more than one Content-Length",
        "RFC 9112 section 6.3: may be rejected even if equal",
    ),
    (
        "invalid Content-Length",
        "RFC 9110 section 8.6: a list of equal lengths may be rejected; theirs takes the one it repeats",
    ),
    (
        "Transfer-Encoding other than chunked",
        "RFC 9112 section 6.3: what another coding means to the next recipient is not known; theirs reads to the close",
    ),
    (
        "Transfer-Encoding in HTTP/1.0",
        "RFC 9112 section 6.1: faulty framing; theirs reads to the close",
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
    (
        "invalid status line",
        "RFC 9112 section 2.2: empty lines are for servers to ignore, before request lines; theirs skips them here, too",
    ),
    (
        "101 without an Upgrade request",
        "RFC 9110 section 15.2.2: a server switches only to what was asked for; theirs leaves that to its user",
    ),
];

/// What a client asks in turn, and what it gets for each request.
struct Exchange {
    method: &'static str,
    response: Vec<u8>,
}

fn ours(exchanges: &[Exchange]) -> Outcome {
    let config = Arc::new(Config {
        enable_trailers: true,
        ..Config::default()
    });
    let now = Instant::now();
    let mut connection = Connection::client(&config, now);
    let mut scratch = Scratch::new();
    let mut outcome = Outcome::default();
    for exchange in exchanges {
        let Ok(stream) = connection.open_stream() else {
            outcome.stopped.get_or_insert_with(|| "closed".to_owned());
            return outcome;
        };
        let mut head = HeaderBlock::new();
        head.set_method(exchange.method.as_bytes());
        head.set_authority(b"a");
        head.set_path(b"/");
        connection.send_head(stream, &head, true).unwrap();
        connection.advance_output(connection.output().len());
        let mut taken = Taken::default();
        let mut complete = false;
        let mut rest = &exchange.response[..];
        loop {
            match connection.receive(&mut rest, &mut scratch, now) {
                Ok(Some(event)) => complete |= note(&mut connection, event, &mut taken),
                Ok(None) => break,
                Err(error) => {
                    outcome.stopped = Some(error.violation.to_owned());
                    break;
                }
            }
        }
        if !complete && outcome.stopped.is_none() {
            while let Ok(Some(event)) = connection.end_of_input(&mut scratch, now) {
                complete |= note(&mut connection, event, &mut taken);
            }
            outcome.stopped = Some("end of input".to_owned());
        }
        if complete {
            outcome.taken.push(taken);
        }
        if outcome.stopped.is_some() {
            break;
        }
    }
    outcome
}

/// Takes note of an event; true if the response is complete.
fn note(connection: &mut Connection, event: Event<'_>, taken: &mut Taken) -> bool {
    match event {
        Event::Head { head, end_stream, .. } => {
            taken.line = head.status().unwrap_or_default().to_string();
            taken.fields = fields_of(head);
            end_stream
        }
        Event::Data {
            stream,
            data,
            credit,
            end_stream,
        } => {
            taken.content.extend_from_slice(data);
            connection.release_credit(stream, credit);
            end_stream
        }
        Event::Trailers { trailers, .. } => {
            taken.trailers = fields_of(trailers);
            true
        }
        _ => false,
    }
}

/// Polls until it is ready or has had every chance to be: everything is in memory.
async fn settle<F: Future>(mut future: Pin<&mut F>) -> Option<F::Output> {
    for _ in 0..60 {
        let polled = poll_fn(|context| Poll::Ready(future.as_mut().poll(context))).await;
        if let Poll::Ready(output) = polled {
            return Some(output);
        }
        tokio::task::yield_now().await;
    }
    None
}

/// Takes the request off the wire, if one comes.
async fn read_request(server: &mut tokio::io::DuplexStream) {
    let mut request = Vec::new();
    let read = pin!(async {
        while !request.ends_with(b"\r\n\r\n") {
            server.read_buf(&mut request).await.unwrap();
        }
    });
    settle(read).await;
}

async fn take(sender: &mut http1::SendRequest<Empty<Bytes>>, method: &str) -> Result<Taken, String> {
    let request = Request::builder()
        .method(method)
        .uri("/")
        .header("host", "a")
        .body(Empty::new())
        .unwrap();
    let text = |error: hyper::Error| format!("{error:?}");
    let (head, mut content) = sender.send_request(request).await.map_err(text)?.into_parts();
    let mut taken = Taken {
        line: head.status.as_u16().to_string(),
        fields: fields_of_map(&head.headers),
        ..Taken::default()
    };
    while let Some(frame) = content.frame().await {
        match frame.map_err(text)?.into_data() {
            Ok(data) => taken.content.extend_from_slice(&data),
            Err(frame) => taken.trailers = body::Frame::trailers_ref(&frame).map(fields_of_map).unwrap_or_default(),
        }
    }
    Ok(taken)
}

async fn theirs(exchanges: &[Exchange]) -> Outcome {
    let mut outcome = Outcome::default();
    let (mut server, client) = tokio::io::duplex(1 << 20);
    let (mut sender, connection) = http1::handshake(TokioIo::new(client)).await.unwrap();
    let connection = tokio::spawn(connection);
    for exchange in exchanges {
        match settle(pin!(sender.ready())).await {
            Some(Ok(())) => {}
            other => {
                outcome.stopped = Some(format!("{other:?}"));
                break;
            }
        }
        let mut exchanged = pin!(take(&mut sender, exchange.method));
        // The request is written while the exchange is polled.
        let (early, _) = tokio::join!(settle(exchanged.as_mut()), read_request(&mut server));
        let taken = match early {
            Some(taken) => taken,
            None => {
                server.write_all(&exchange.response).await.unwrap();
                match settle(exchanged.as_mut()).await {
                    Some(taken) => taken,
                    None => {
                        server.shutdown().await.unwrap();
                        outcome.stopped = Some("end of input".to_owned());
                        exchanged.await
                    }
                }
            }
        };
        match taken {
            Ok(taken) => outcome.taken.push(taken),
            Err(error) => outcome.stopped = Some(error),
        }
        if outcome.stopped.is_some() {
            break;
        }
    }
    connection.abort();
    outcome
}

fn generate(random: &mut Random) -> Vec<Exchange> {
    (0..1 + random.below(3))
        .map(|_| {
            let method = ["GET", "GET", "POST", "HEAD"][random.below(4)];
            let mut response = Vec::new();
            if random.chance(10) {
                response.extend_from_slice(b"HTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\n");
            }
            if random.chance(1) {
                response.extend_from_slice(b"\r\n");
            }
            respond(random, method == "HEAD", &mut response);
            if random.chance(10) {
                damage(random, &mut response);
            }
            if random.chance(3) {
                response.truncate(random.below(response.len()));
            }
            Exchange { method, response }
        })
        .collect()
}

fn respond(random: &mut Random, to_head: bool, input: &mut Vec<u8>) {
    let version = random.pick(
        "HTTP/1.1",
        &["HTTP/1.0", "HTTP/1.2", "HTTP/2.0", "http/1.1", "HTTP/1.1 "],
    );
    let status = random.pick(
        "200",
        &[
            "204", "304", "404", "500", "299", "999", "101", "20", "2000", "099", "0x1",
        ],
    );
    let reason = random.pick(" OK", &["", " ", " Not\tquite (\u{e9})", "\tOK", "  OK"]);
    let mut lines = vec![format!("{version} {status}{reason}")];
    for _ in 0..random.below(4) {
        let name = random.pick(
            "X-One",
            &["x-two", "Content-Type", "X One", "X-One ", "", "x\u{e9}", "Upgrade"],
        );
        let value = random.pick(
            "value",
            &["", "  padded\t ", "a\tb", "\u{e9}", "a\u{1}", "a\r\n folded"],
        );
        lines.push(format!("{name}: {value}"));
    }
    if random.chance(10) {
        let connection = random.pick("Connection: keep-alive", &["Connection: close", "Connection: x-one"]);
        lines.push(connection.to_owned());
    }
    let has_content = !to_head && !matches!(status, "204" | "304" | "101");
    let content = &"0123456789abcdefghij"[..random.below(21)];
    let body = match random.below(8) {
        // Until the connection closes.
        0 => content.to_owned(),
        1..=4 => {
            announce_length(random, content, &mut lines);
            content.to_owned()
        }
        _ => {
            let odd = [
                "Chunked",
                "gzip, chunked",
                "chunked, gzip",
                "identity",
                "chunked, chunked",
                " chunked ",
            ];
            chunks(random, content, &odd, &mut lines)
        }
    };
    write_head(random, lines, input);
    // A server that sends content where there is none is rare, and has to be met.
    if has_content || random.chance(5) {
        input.extend_from_slice(body.as_bytes());
    }
}

#[test]
fn a_client_takes_the_responses_that_hypers_client_takes() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let (seeds, usual) = seeds(1..6_000);
    let mut comparison = Comparison::new(DIVERGENCES);
    for seed in seeds {
        let exchanges = generate(&mut Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1));
        let input: Vec<u8> = exchanges
            .iter()
            .flat_map(|exchange| [exchange.method.as_bytes(), b": ", &exchange.response, b"\r\n"].concat())
            .collect();
        let theirs = runtime.block_on(theirs(&exchanges));
        comparison.add(seed, &input, &ours(&exchanges), &theirs);
    }
    comparison.assert(usual);
}
