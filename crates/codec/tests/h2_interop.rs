//! HTTP/2 over real sockets with the `h2` crate at the other end, in both roles.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a panic is a test's report")]

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use codec::Connection;
use codec::event::{ErrorCode, Event, Scratch, StreamId};
use codec::h2::Config;
use codec::headers::HeaderBlock;
use tokio::io::Interest;
use tokio::net::{TcpListener, TcpStream};

/// Reads and writes until the connection is over, handing each event to `on_event`.
async fn drive(mut connection: Connection, socket: TcpStream, mut on_event: impl FnMut(&mut Connection, Event<'_>)) {
    let mut scratch = Scratch::new();
    let mut buffer = vec![0; 64 * 1024];
    loop {
        while let Some(event) = connection.next_event(&mut scratch) {
            on_event(&mut connection, event);
        }
        if connection.is_closed() && !connection.wants_write() {
            return;
        }
        let interest = if connection.wants_write() {
            Interest::READABLE | Interest::WRITABLE
        } else {
            Interest::READABLE
        };
        let ready = socket.ready(interest).await.unwrap();
        if ready.is_writable()
            && let Ok(count) = socket.try_write(connection.output())
        {
            connection.advance_output(count);
        }
        if ready.is_readable() {
            match socket.try_read(&mut buffer) {
                Ok(0) => {
                    while let Ok(Some(event)) = connection.end_of_input(&mut scratch, Instant::now()) {
                        on_event(&mut connection, event);
                    }
                    return;
                }
                Ok(count) => {
                    let mut input = &buffer[..count];
                    while let Ok(Some(event)) = connection.receive(&mut input, &mut scratch, Instant::now()) {
                        on_event(&mut connection, event);
                    }
                }
                Err(_) => {}
            }
        }
    }
}

fn run<T>(test: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let local = tokio::task::LocalSet::new();
    runtime.block_on(local.run_until(async {
        tokio::time::timeout(std::time::Duration::from_secs(60), test)
            .await
            .expect("the test ends in time")
    }))
}

async fn sockets() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (client, server) = tokio::join!(TcpStream::connect(listener.local_addr().unwrap()), listener.accept());
    let (client, server) = (client.unwrap(), server.unwrap().0);
    client.set_nodelay(true).unwrap();
    server.set_nodelay(true).unwrap();
    (client, server)
}

fn status(status: u16) -> HeaderBlock {
    let mut head = HeaderBlock::new();
    head.set_status(status);
    head
}

fn request(method: &str, path: &str) -> HeaderBlock {
    let mut head = HeaderBlock::new();
    head.set_method(method.as_bytes());
    head.set_scheme(b"http");
    head.set_authority(b"test");
    head.set_path(path.as_bytes());
    head
}

fn content(length: usize) -> Vec<u8> {
    (0..length).map(|n| (n / 7 + n * 31) as u8).collect()
}

/// A server that echoes bodies as they come, credit given back only as the echo leaves, and has a few odd paths.
fn echo() -> impl FnMut(&mut Connection, Event<'_>) {
    let mut received: BTreeMap<StreamId, usize> = BTreeMap::new();
    move |connection, event| match event {
        Event::Head {
            stream,
            head,
            end_stream,
        } => {
            let path = String::from_utf8(head.path().unwrap().to_vec()).unwrap();
            received.insert(stream, 0);
            if path == "/reset" {
                connection.reset(stream, ErrorCode::ENHANCE_YOUR_CALM);
                return;
            }
            if path == "/drain" {
                connection.drain(Instant::now());
            }
            let mut head = status(200);
            head.append(&b"x-path"[..], path.as_bytes());
            if let Some(length) = path.strip_prefix("/big/") {
                let length: usize = length.parse().unwrap();
                connection.send_head(stream, &head, false).unwrap();
                connection.send_data(stream, &content(length), true).unwrap();
                return;
            }
            connection.send_head(stream, &head, end_stream).unwrap();
        }
        Event::Data {
            stream,
            data,
            end_stream,
            ..
        } => {
            *received.get_mut(&stream).unwrap() += data.len();
            let sent = connection.send_data(stream, data, false).unwrap();
            connection.release_credit(stream, sent as u32);
            if end_stream {
                let mut trailers = HeaderBlock::new();
                trailers.append(&b"x-length"[..], received[&stream].to_string().as_bytes());
                connection.send_trailers(stream, &trailers).unwrap();
            }
        }
        Event::Trailers { stream, trailers } => {
            let mut echoed = HeaderBlock::new();
            echoed.copy_from(trailers);
            connection.send_trailers(stream, &echoed).unwrap();
        }
        Event::Sent { stream, bytes } => connection.release_credit(stream, bytes as u32),
        _ => {}
    }
}

/// The body and trailers of a message the `h2` crate receives.
async fn collect(mut body: h2::RecvStream) -> Result<(Vec<u8>, Option<http::HeaderMap>), h2::Error> {
    let mut collected = Vec::new();
    while let Some(data) = body.data().await {
        let data = data?;
        body.flow_control().release_capacity(data.len())?;
        collected.extend_from_slice(&data);
    }
    Ok((collected, body.trailers().await?))
}

/// Sends a body through the `h2` crate as its flow control allows.
async fn send_body(mut sender: h2::SendStream<Bytes>, body: Vec<u8>, trailers: Option<http::HeaderMap>) {
    let mut body = Bytes::from(body);
    while !body.is_empty() {
        sender.reserve_capacity(body.len());
        let Some(Ok(capacity)) = std::future::poll_fn(|context| sender.poll_capacity(context)).await else {
            return;
        };
        let piece = body.split_to(capacity.min(body.len()));
        let last = body.is_empty() && trailers.is_none();
        if sender.send_data(piece, last).is_err() {
            return;
        }
    }
    if let Some(trailers) = trailers {
        let _ = sender.send_trailers(trailers);
    }
}

fn h2_request(method: &str, path: &str) -> http::Request<()> {
    http::Request::builder()
        .method(method)
        .uri(format!("http://test{path}"))
        .body(())
        .unwrap()
}

async fn h2_client(socket: TcpStream, window: u32) -> h2::client::SendRequest<Bytes> {
    let (client, connection) = h2::client::Builder::new()
        .initial_window_size(window)
        .handshake(socket)
        .await
        .unwrap();
    tokio::task::spawn_local(async move {
        let _ = connection.await;
    });
    client
}

#[test]
fn many_streams_with_bodies_both_ways_and_trailers_to_our_server() {
    run(async {
        let (client, server) = sockets().await;
        let config = Arc::new(Config {
            initial_stream_window_size: 70_000,
            ..Config::default()
        });
        let connection = Connection::h2_server(&config, Instant::now());
        tokio::task::spawn_local(drive(connection, server, echo()));
        let client = h2_client(client, 65_535).await;
        let tasks: Vec<_> = (0..20)
            .map(|n| {
                let mut client = client.clone();
                tokio::task::spawn_local(async move {
                    client = client.ready().await.unwrap();
                    let length = n * 30_001 + 1;
                    let (response, sender) = client.send_request(h2_request("POST", "/echo"), false).unwrap();
                    let trailers = (n % 2 == 0).then(|| {
                        let mut trailers = http::HeaderMap::new();
                        trailers.insert("x-check", "sum".parse().unwrap());
                        trailers
                    });
                    let sending = send_body(sender, content(length), trailers);
                    let receiving = async {
                        let response = response.await.unwrap();
                        assert_eq!(response.headers()["x-path"], "/echo");
                        collect(response.into_body()).await.unwrap()
                    };
                    let ((), (body, trailers)) = tokio::join!(sending, receiving);
                    assert!(body == content(length));
                    let trailers = trailers.unwrap();
                    if n % 2 == 0 {
                        assert_eq!(trailers["x-check"], "sum");
                    } else {
                        assert_eq!(trailers["x-length"], length.to_string());
                    }
                })
            })
            .collect();
        for task in tasks {
            task.await.unwrap();
        }
    });
}

#[test]
fn a_big_response_passes_small_windows_and_resets_carry_their_code() {
    run(async {
        let (client, server) = sockets().await;
        let connection = Connection::h2_server(&Arc::new(Config::default()), Instant::now());
        tokio::task::spawn_local(drive(connection, server, echo()));
        let client = h2_client(client, 20_000).await;
        let mut client = client.ready().await.unwrap();
        let (response, _) = client.send_request(h2_request("GET", "/big/5000000"), true).unwrap();
        let (body, _) = collect(response.await.unwrap().into_body()).await.unwrap();
        assert!(body == content(5_000_000));
        let (response, _) = client.send_request(h2_request("GET", "/reset"), true).unwrap();
        let error = response.await.unwrap_err();
        assert_eq!(error.reason(), Some(h2::Reason::ENHANCE_YOUR_CALM));
    });
}

#[test]
fn a_drained_server_answers_what_it_took_and_closes() {
    run(async {
        let (client, server) = sockets().await;
        let connection = Connection::h2_server(&Arc::new(Config::default()), Instant::now());
        let driver = tokio::task::spawn_local(drive(connection, server, echo()));
        let client = h2_client(client, 65_535).await;
        let mut client = client.ready().await.unwrap();
        let (first, sender) = client.send_request(h2_request("POST", "/echo"), false).unwrap();
        let (second, _) = client.send_request(h2_request("GET", "/drain"), true).unwrap();
        assert_eq!(second.await.unwrap().status(), 200);
        send_body(sender, content(100_000), None).await;
        let (body, _) = collect(first.await.unwrap().into_body()).await.unwrap();
        assert!(body == content(100_000));
        // The client learns of it, and the connection ends by itself.
        driver.await.unwrap();
        assert!(client.ready().await.is_err());
    });
}

/// What our client has seen of a stream.
#[derive(Default)]
struct Response {
    status: u16,
    body: Vec<u8>,
    trailers: Option<String>,
    ended: bool,
    reset: Option<(ErrorCode, bool)>,
}

/// A server of the `h2` crate: echoes bodies, resets `/reset`, drains after `/drain`.
async fn h2_server(socket: TcpStream, max_streams: u32) {
    let mut connection = h2::server::Builder::new()
        .max_concurrent_streams(max_streams)
        .handshake::<_, Bytes>(socket)
        .await
        .unwrap();
    while let Some(accepted) = connection.accept().await {
        let Ok((request, mut respond)) = accepted else { return };
        match request.uri().path() {
            "/reset" => respond.send_reset(h2::Reason::ENHANCE_YOUR_CALM),
            "/refuse" => respond.send_reset(h2::Reason::REFUSED_STREAM),
            path => {
                if path == "/drain" {
                    connection.graceful_shutdown();
                }
                tokio::task::spawn_local(async move {
                    let (body, trailers) = match collect(request.into_body()).await {
                        Ok(collected) => collected,
                        Err(_) => return,
                    };
                    let response = http::Response::builder().status(201).body(()).unwrap();
                    let sender = respond
                        .send_response(response, body.is_empty() && trailers.is_none())
                        .unwrap();
                    send_body(sender, body, trailers).await;
                });
            }
        }
    }
}

#[test]
fn our_client_keeps_the_peers_stream_limit_and_loses_nothing() {
    run(async {
        let (client, server) = sockets().await;
        let server = tokio::task::spawn_local(h2_server(server, 5));
        let config = Arc::new(Config {
            initial_stream_window_size: 65_535,
            ..Config::default()
        });
        let connection = Connection::h2_client(&config, Instant::now());
        let total = 30;
        let mut waiting: Vec<usize> = (0..total).map(|n| n * 10_001).collect();
        let mut expected: BTreeMap<StreamId, usize> = BTreeMap::new();
        let mut responses: BTreeMap<StreamId, Response> = BTreeMap::new();
        let mut most = 0;
        let mut open = move |connection: &mut Connection, expected: &mut BTreeMap<StreamId, usize>| {
            while let Some(&length) = waiting.last() {
                let Ok(stream) = connection.open_stream() else { break };
                waiting.pop();
                expected.insert(stream, length);
                connection.send_head(stream, &request("POST", "/echo"), false).unwrap();
                connection.send_data(stream, &content(length), false).unwrap();
                let mut trailers = HeaderBlock::new();
                trailers.append(&b"x-check"[..], b"sum");
                connection.send_trailers(stream, &trailers).unwrap();
                most = most.max(connection.active_streams());
            }
            most
        };
        let mut greeted = false;
        let mut most = 0;
        drive(connection, client, |connection, event| {
            match event {
                Event::Settings => greeted = true,
                Event::Head {
                    stream,
                    head,
                    end_stream,
                } => {
                    let response = responses.entry(stream).or_default();
                    response.status = head.status().unwrap();
                    response.ended = end_stream;
                }
                Event::Data {
                    stream,
                    data,
                    credit,
                    end_stream,
                } => {
                    let response = responses.get_mut(&stream).unwrap();
                    response.body.extend_from_slice(data);
                    response.ended = end_stream;
                    connection.release_credit(stream, credit);
                }
                Event::Trailers { stream, trailers } => {
                    let response = responses.get_mut(&stream).unwrap();
                    response.trailers = trailers
                        .get_bytes(b"x-check")
                        .map(|value| String::from_utf8_lossy(value).into_owned());
                    response.ended = true;
                }
                _ => {}
            }
            if greeted {
                most = open(connection, &mut expected);
            }
            if responses.len() == total && responses.values().all(|response| response.ended) {
                connection.drain(Instant::now());
            }
        })
        .await;
        assert_eq!(most, 5);
        assert_eq!(responses.len(), total);
        for (stream, response) in &responses {
            assert_eq!(response.status, 201);
            assert!(response.body == content(expected[stream]));
            assert_eq!(response.trailers.as_deref(), Some("sum"));
        }
        server.await.unwrap();
    });
}

#[test]
fn our_client_tells_resets_refusals_and_a_draining_server_apart() {
    run(async {
        let (client, server) = sockets().await;
        tokio::task::spawn_local(h2_server(server, 100));
        let mut connection = Connection::h2_client(&Arc::new(Config::default()), Instant::now());
        let mut responses: BTreeMap<StreamId, Response> = BTreeMap::new();
        for path in ["/reset", "/refuse", "/drain"] {
            let stream = connection.open_stream().unwrap();
            connection.send_head(stream, &request("GET", path), true).unwrap();
        }
        let mut goaway = None;
        drive(connection, client, |connection, event| match event {
            Event::Head { stream, head, .. } => {
                responses.entry(stream).or_default().status = head.status().unwrap();
            }
            Event::Reset { stream, reason } => {
                assert!(reason.remote);
                responses.entry(stream).or_default().reset = Some((reason.code, reason.refused));
            }
            Event::Goaway { code, .. } => {
                goaway = Some(code);
                connection.drain(Instant::now());
            }
            _ => {}
        })
        .await;
        assert_eq!(
            responses[&StreamId(1)].reset,
            Some((ErrorCode::ENHANCE_YOUR_CALM, false))
        );
        assert_eq!(responses[&StreamId(3)].reset, Some((ErrorCode::REFUSED_STREAM, true)));
        assert_eq!(responses[&StreamId(5)].status, 201);
        assert_eq!(goaway, Some(ErrorCode::NO_ERROR));
    });
}
