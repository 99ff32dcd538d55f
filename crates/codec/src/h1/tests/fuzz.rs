//! Random and damaged input: nothing panics, nothing grows, and the state stays usable or ends.

use super::*;

/// A small generator with a fixed seed, so that a failure repeats.
struct Random(u64);

impl Random {
    fn next(&mut self, below: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as usize % below
    }
}

const REQUESTS: &[&[u8]] = &[
    b"GET / HTTP/1.1\r\nHost: a\r\nUser-Agent: x\r\nCookie: a=b\r\n\r\n",
    b"POST /p?q HTTP/1.1\r\nHost: a\r\nContent-Length: 11\r\n\r\nhello world",
    b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5;x=y\r\nhello\r\n0\r\nSum: 1\r\n\r\n",
    b"CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\ntunnel",
    b"GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n\x81\x05hello",
    b"OPTIONS * HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
    b"GET http://b/p HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
];

const RESPONSES: &[&[u8]] = &[
    b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
    b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nSum: 1\r\n\r\n",
    b"HTTP/1.0 200 OK\r\n\r\nuntil close",
    b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n\x81\x05hello",
    b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n",
];

const TOKENS: &[&[u8]] = &[
    b"\r\n",
    b"\n",
    b"\r",
    b" ",
    b"\t",
    b":",
    b"\0",
    b"Content-Length: 3\r\n",
    b"Transfer-Encoding: chunked\r\n",
    b"Connection: close\r\n",
    b"Host: b\r\n",
    b"0\r\n\r\n",
    b"ffffffffffffffff\r\n",
    b"HTTP/1.1",
    b"\xff",
];

/// Several messages, damaged here and there.
fn input(random: &mut Random, corpus: &[&[u8]]) -> Vec<u8> {
    let mut input = Vec::new();
    for _ in 0..1 + random.next(3) {
        input.extend_from_slice(corpus[random.next(corpus.len())]);
    }
    for _ in 0..random.next(4) {
        let at = random.next(input.len());
        match random.next(5) {
            0 => input[at] = random.next(256) as u8,
            1 => drop(input.remove(at)),
            2 => {
                let token = TOKENS[random.next(TOKENS.len())];
                input.splice(at..at, token.iter().copied());
            }
            3 => input.truncate(at.max(1)),
            _ => {
                let end = (at + random.next(20)).min(input.len());
                let copy = input[at..end].to_vec();
                input.splice(at..at, copy);
            }
        }
        if input.is_empty() {
            input.push(b'x');
        }
    }
    input
}

/// Feeds a connection in random pieces, with a caller that answers or resets at random; returns how many heads came.
fn drive(peer: &mut Peer, input: &[u8], random: &mut Random) -> usize {
    let mut heads = 0;
    let mut rest = input;
    let mut ended = false;
    for _ in 0..input.len() * 2 + 20 {
        let length = if peer.connection.wants_receive() {
            0
        } else {
            (1 + random.next(40)).min(rest.len())
        };
        let (piece, after) = rest.split_at(length);
        rest = after;
        let (events, error) = peer.feed(piece);
        for event in events {
            assert!(!ended, "{event:?} after the end");
            match event {
                Head(..) => heads += 1,
                Data(data, _) => peer.connection.release_credit(StreamId(0), data.len() as u32),
                _ => {}
            }
        }
        if peer.connection.is_server {
            let stream = peer.connection.exchange.stream;
            match random.next(6) {
                0 => drop(
                    peer.connection
                        .send_head(stream, &status(200, &[]), random.next(2) == 0),
                ),
                1 => drop(peer.connection.send_data(stream, b"data", random.next(2) == 0)),
                2 => drop(
                    peer.connection
                        .send_head(stream, &status(101, &[("upgrade", "websocket")]), false),
                ),
                3 if random.next(10) == 0 => peer.connection.reset(stream, ErrorCode::CANCEL),
                4 => drop(
                    peer.connection
                        .send_trailers(stream, &with(HeaderBlock::new(), &[("x", "y")])),
                ),
                _ => {}
            }
        } else if let Ok(stream) = peer.connection.open_stream() {
            let head = match random.next(3) {
                0 => head("HEAD", "/"),
                1 => with(head("GET", "/"), &[("connection", "upgrade"), ("upgrade", "websocket")]),
                _ => head("GET", "/"),
            };
            peer.connection.send_head(stream, &head, true).unwrap();
        }
        peer.flush_some(1 + random.next(200));
        peer.next_events();
        if error.is_some() || (rest.is_empty() && !peer.connection.wants_receive()) {
            if ended {
                break;
            }
            ended = true;
            peer.end_of_input();
        }
    }
    peer.flush();
    peer.end_of_input();
    assert!(peer.connection.is_closed());
    assert_eq!(peer.connection.active_streams(), 0);
    assert_eq!(peer.connection.heap_bytes(), 0);
    heads
}

#[test]
fn a_server_survives_damaged_requests() {
    let mut random = Random(0x5eed_0001);
    let mut heads = 0;
    for _ in 0..6_000 {
        let input = input(&mut random, REQUESTS);
        let mut server = Peer::server_with(Config {
            accept_http_10: random.next(2) == 0,
            ..Config::default()
        });
        heads += drive(&mut server, &input, &mut random);
    }
    assert!(heads > 2_000, "{heads}: the corpus is damaged beyond use");
}

#[test]
fn a_client_survives_damaged_responses() {
    let mut random = Random(0x5eed_0002);
    let mut heads = 0;
    for _ in 0..6_000 {
        let input = input(&mut random, RESPONSES);
        let mut client = Peer::client_with(Config::default());
        client.request(&head("GET", "/"), true);
        heads += drive(&mut client, &input, &mut random);
    }
    assert!(heads > 2_000, "{heads}: the corpus is damaged beyond use");
}

#[test]
fn either_role_survives_noise() {
    let mut random = Random(0x5eed_0003);
    for _ in 0..3_000 {
        let noise: Vec<u8> = (0..1 + random.next(100)).map(|_| random.next(256) as u8).collect();
        drive(&mut Peer::server(), &noise, &mut random);
        drive(&mut Peer::client_after("GET"), &noise, &mut random);
    }
}
