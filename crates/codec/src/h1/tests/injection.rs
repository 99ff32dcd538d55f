//! Nothing in a block, wherever it came from (HTTP/2, a filter, configuration), can become a line, a field or a message
//! of its own on HTTP/1.1.

use super::*;

/// Octets that end lines, words or strings somewhere.
const SHARP: &[u8] = b"\r\n\0\x0b\x0c\x01\x1f\x7f";

/// Puts octets into a place of a block.
type Place = (&'static str, fn(&mut HeaderBlock, &[u8]));

const REQUEST_PLACES: &[Place] = &[
    ("method", |head, octets| head.set_method(octets)),
    ("path", |head, octets| head.set_path(&[b"/", octets].concat())),
    ("authority", |head, octets| head.set_authority(octets)),
    ("scheme", |head, octets| head.set_scheme(octets)),
    ("protocol", |head, octets| {
        head.set_method(b"CONNECT");
        head.set_protocol(octets);
    }),
    ("connect", |head, octets| {
        head.set_method(b"CONNECT");
        head.set_authority(octets);
    }),
    ("host", |head, octets| {
        head.remove_pseudo(KnownName::Authority);
        head.append("host", octets);
    }),
];

const FIELD_PLACES: &[Place] = &[
    ("name", |head, octets| head.append(octets, b"v")),
    ("value", |head, octets| head.append("x", octets)),
    ("known value", |head, octets| {
        head.append(KnownName::ContentType, octets)
    }),
    ("second cookie", |head, octets| {
        head.append("cookie", b"a=b");
        head.append("cookie", octets);
    }),
    ("te", |head, octets| head.append("te", octets)),
    ("upgrade", |head, octets| {
        head.append("connection", b"upgrade");
        head.append("upgrade", octets);
    }),
    ("connection", |head, octets| head.append("connection", octets)),
    ("content-length", |head, octets| head.append("content-length", octets)),
    ("transfer-encoding", |head, octets| {
        head.append("transfer-encoding", octets)
    }),
    ("spelled name", |head, octets| head.append_spelled(octets, b"v")),
];

/// Attempts: each sharp octet within a word, and a whole message.
fn attempts() -> Vec<Vec<u8>> {
    let mut attempts: Vec<Vec<u8>> = SHARP.iter().map(|&octet| vec![b'a', octet, b'b']).collect();
    attempts.push(b"a\r\nx-injected: 1".to_vec());
    attempts.push(b"a HTTP/1.1\r\nhost: b\r\n\r\nGET /injected HTTP/1.1\r\nx: ".to_vec());
    attempts.push(b"a\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 0\r\nx-injected: 1".to_vec());
    attempts
}

/// Nothing was written, or nothing of the attempt.
fn assert_harmless(written: &[u8], refused: bool, what: &str) {
    if refused {
        assert!(written.is_empty(), "{what}: {}", written.escape_ascii());
        return;
    }
    assert!(
        written.windows(8).filter(|window| window == b"injected").count() == 0,
        "{what}: {}",
        written.escape_ascii()
    );
    let text = written.escape_ascii().to_string().replace("\\r\\n", "");
    for octet in ["\\r", "\\n", "\\x"] {
        assert!(!text.contains(octet), "{what}: {text}");
    }
}

fn configs() -> [Config; 3] {
    let config = Config::default;
    [
        config(),
        Config {
            send_fully_qualified_url: true,
            header_key_format: HeaderKeyFormat::PreserveCase,
            ..config()
        },
        Config {
            header_key_format: HeaderKeyFormat::ProperCaseWords,
            ..config()
        },
    ]
}

#[test]
fn nothing_gets_into_a_request() {
    for config in configs() {
        for (place, put) in REQUEST_PLACES.iter().chain(FIELD_PLACES) {
            for octets in attempts() {
                let mut client = Peer::client_with(config.clone());
                let stream = client.connection.open_stream().unwrap();
                let mut head = head("GET", "/");
                put(&mut head, &octets);
                let refused = client.connection.send_head(stream, &head, true).is_err();
                assert_harmless(client.connection.output(), refused, place);
            }
        }
    }
}

#[test]
fn nothing_gets_into_a_response_nor_into_interim_ones_and_trailers() {
    for config in configs() {
        for (place, put) in FIELD_PLACES {
            for octets in attempts() {
                let mut server = Peer::server_with(config.clone());
                server.accept("GET / HTTP/1.1\r\nhost: a\r\n\r\n");
                let mut interim = status(103, &[]);
                put(&mut interim, &octets);
                let refused = server.connection.send_informational(StreamId(1), &interim).is_err();
                assert_harmless(server.connection.output(), refused, place);
                server.connection.advance_output(usize::MAX);
                let mut response = status(200, &[]);
                put(&mut response, &octets);
                let refused = server.connection.send_head(StreamId(1), &response, true).is_err();
                assert_harmless(server.connection.output(), refused, place);

                let mut server = Peer::server_with(Config {
                    enable_trailers: true,
                    ..config.clone()
                });
                server.accept("GET / HTTP/1.1\r\nhost: a\r\n\r\n");
                server
                    .connection
                    .send_head(StreamId(1), &status(200, &[]), false)
                    .unwrap();
                server.connection.advance_output(usize::MAX);
                let mut trailers = HeaderBlock::new();
                put(&mut trailers, &octets);
                let refused = server.connection.send_trailers(StreamId(1), &trailers).is_err();
                assert_harmless(server.connection.output(), refused, place);
            }
        }
    }
}
