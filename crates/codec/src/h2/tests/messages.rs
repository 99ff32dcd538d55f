//! RFC 9113 section 8: what makes a message, and what makes it malformed.

use super::script::*;
use crate::event::ErrorCode;
use crate::h2::Config;

fn server_stream_error(fields: Fields<'_>) {
    Script::server().feed_stream_error(&headers(1, fields, true), 1, ErrorCode::PROTOCOL_ERROR);
    // Without the override the same ends the connection, as in Envoy.
    Script::server_with(Config::default()).feed_error(&headers(1, fields, true), ErrorCode::PROTOCOL_ERROR);
}

fn client_stream_error(fields: Fields<'_>) {
    let mut script = Script::client();
    script.request(GET, true);
    assert_eq!(
        script.feed(&headers(1, fields, true)),
        ["RESET 1 PROTOCOL_ERROR local"],
        "{fields:?}"
    );
    assert!(script.sent().contains(&"RST_STREAM 1 PROTOCOL_ERROR".into()));
    script.assert_usable();
}

/// Section 8.1.
#[test]
fn a_request_and_a_response_with_content_and_trailers_pass() {
    let mut script = Script::server();
    assert_eq!(script.feed(&headers(1, POST, false)), ["HEAD 1 POST http a /"]);
    assert_eq!(script.feed(&data(1, b"hello", false)), ["DATA 1 hello"]);
    assert_eq!(script.feed(&headers(1, &[("t", "1")], true)), ["TRAILERS 1 t=1"]);
    script.connection.release_credit(crate::event::StreamId(1), 5);
    script.respond(1, OK, false);
    assert_eq!(
        script.connection.send_data(crate::event::StreamId(1), b"world", false),
        Ok(5)
    );
    script
        .connection
        .send_trailers(crate::event::StreamId(1), &header_block(&[("grpc-status", "0")]))
        .unwrap();
    assert_eq!(
        script.sent(),
        ["HEADERS 1 200", "DATA 1 5", "HEADERS 1 grpc-status=0 END"]
    );
    assert_eq!(script.connection.active_streams(), 0);

    let mut script = Script::client();
    let stream = script.request(POST, false);
    assert_eq!(
        script
            .connection
            .send_data(crate::event::StreamId(stream), b"hello", true),
        Ok(5)
    );
    assert_eq!(script.sent(), ["HEADERS 1 POST http a /", "DATA 1 5 END"]);
    assert_eq!(script.feed(&headers(1, OK, false)), ["HEAD 1 200"]);
    assert_eq!(script.feed(&data(1, b"world", false)), ["DATA 1 world"]);
    assert_eq!(script.feed(&headers(1, &[("t", "1")], true)), ["TRAILERS 1 t=1"]);
}

/// Section 8.1.
#[test]
fn trailers_end_the_stream_and_have_no_pseudo_headers() {
    for (fields, end) in [
        (&[("t", "1")][..], false),
        (&[(":path", "/")], true),
        (&[(":status", "200")], true),
    ] {
        let mut script = Script::server();
        script.feed(&headers(1, POST, false));
        script.feed_stream_error(&headers(1, fields, end), 1, ErrorCode::PROTOCOL_ERROR);
        let mut script = Script::client();
        script.request(GET, true);
        script.feed(&headers(1, OK, false));
        script.feed_stream_error(&headers(1, fields, end), 1, ErrorCode::PROTOCOL_ERROR);
    }
}

/// Section 8.1.
#[test]
fn interim_responses_come_before_the_final_one() {
    let mut script = Script::client();
    script.request(GET, true);
    assert_eq!(script.feed(&headers(1, &[(":status", "100")], false)), ["INFO 1 100"]);
    assert_eq!(
        script.feed(&headers(1, &[(":status", "103"), ("link", "x")], false)),
        ["INFO 1 103 link=x"]
    );
    assert_eq!(script.feed(&headers(1, OK, true)), ["HEAD 1 200 END"]);
    // An interim response can't end the stream, nor be 101 (section 8.6).
    for (status, end) in [("100", true), ("101", false)] {
        let mut script = Script::client();
        script.request(GET, true);
        script.feed_stream_error(&headers(1, &[(":status", status)], end), 1, ErrorCode::PROTOCOL_ERROR);
    }
    let mut script = Script::server();
    script.feed(&headers(1, GET, true));
    script
        .connection
        .send_informational(crate::event::StreamId(1), &header_block(&[(":status", "103")]))
        .unwrap();
    script.respond(1, OK, true);
    assert_eq!(script.sent(), ["HEADERS 1 103", "HEADERS 1 200 END"]);
}

/// Section 8.1.
#[test]
fn data_before_the_response_head_is_malformed() {
    let mut script = Script::client();
    script.request(GET, true);
    script.feed_stream_error(&data(1, b"x", false), 1, ErrorCode::PROTOCOL_ERROR);
    let mut script = Script::client();
    script.request(GET, true);
    script.feed(&headers(1, &[(":status", "100")], false));
    script.feed_stream_error(&data(1, b"x", false), 1, ErrorCode::PROTOCOL_ERROR);
}

/// Section 8.1.1: content-length and the content agree.
#[test]
fn content_must_be_as_long_as_content_length_says() {
    let with = |length: &'static str| [POST, &[("content-length", length)]].concat();
    for (length, parts, good) in [
        ("5", &[&b"hello"[..]][..], true),
        ("5", &[b"hel", b"lo"], true),
        ("5", &[b"hell"], false),
        ("5", &[b"hel", b"lo!"], false),
        ("0", &[b""], true),
        ("0", &[b"x"], false),
    ] {
        let mut script = Script::server();
        let mut input = headers(1, &with(length), false);
        for (n, part) in parts.iter().enumerate() {
            input.extend(data(1, part, n + 1 == parts.len()));
        }
        if good {
            assert!(script.feed(&input).last().unwrap().ends_with("END"));
        } else {
            script.feed_stream_error(&input, 1, ErrorCode::PROTOCOL_ERROR);
        }
    }
    // Trailers end the content too.
    let mut script = Script::server();
    script.feed(&[headers(1, &with("5"), false), data(1, b"hell", false)].concat());
    script.feed_stream_error(&headers(1, &[("t", "1")], true), 1, ErrorCode::PROTOCOL_ERROR);
    // And so does a head that ends the stream.
    Script::server().feed_stream_error(&headers(1, &with("5"), true), 1, ErrorCode::PROTOCOL_ERROR);
    client_stream_error(&[(":status", "200"), ("content-length", "5")]);
    for invalid in ["-1", "+5", "5, 5", "", "5 5", "0x5", "99999999999999999999"] {
        server_stream_error(&[POST, &[("content-length", invalid)]].concat());
    }
    server_stream_error(&[POST, &[("content-length", "0"), ("content-length", "1")]].concat());
}

/// Section 8.1.1 and RFC 9110 section 6.4.1: some responses have no content whatever content-length says.
#[test]
fn responses_to_head_and_204_and_304_have_no_content() {
    for (method, status) in [("HEAD", "200"), ("GET", "304"), ("GET", "204")] {
        let request: Fields<'_> = &[
            (":method", method),
            (":scheme", "http"),
            (":path", "/"),
            (":authority", "a"),
        ];
        let response: Fields<'_> = &[(":status", status), ("content-length", "10")];
        let mut script = Script::client();
        script.request(request, true);
        assert_eq!(script.feed(&headers(1, response, true)).len(), 1);
        script.request(request, true);
        script.feed(&headers(3, response, false));
        assert_eq!(script.feed(&data(3, b"", true)), ["DATA 3  END"]);
        script.request(request, true);
        script.feed(&headers(5, response, false));
        script.feed_stream_error(&data(5, b"x", true), 5, ErrorCode::PROTOCOL_ERROR);
    }
}

/// Section 8.2.1.
#[test]
fn field_names_and_values_have_no_forbidden_characters() {
    for (name, value) in [
        ("X-Upper", "v"),
        ("", "v"),
        ("a b", "v"),
        ("a\u{1}", "v"),
        ("a\u{7f}", "v"),
        ("a:b", "v"),
        ("x", "a\nb"),
        ("x", "a\rb"),
        ("x", "a\0b"),
        ("x", " v"),
        ("x", "v\t"),
    ] {
        server_stream_error(&[GET, &[(name, value)]].concat());
        client_stream_error(&[OK, &[(name, value)]].concat());
    }
    let mut script = Script::server();
    let fine = [GET, &[("x", ""), ("y!#$%&'*+-.^_`|~9", "a\tb c"), ("z", "\u{fc}")]].concat();
    assert_eq!(script.feed(&headers(1, &fine, true)).len(), 1);
}

/// Section 8.2.2.
#[test]
fn connection_specific_fields_are_malformed() {
    for (name, value) in [
        ("connection", "close"),
        ("proxy-connection", "close"),
        ("keep-alive", "1"),
        ("transfer-encoding", "chunked"),
        ("upgrade", "h2c"),
        ("te", "gzip"),
        ("te", "trailers, gzip"),
    ] {
        server_stream_error(&[GET, &[(name, value)]].concat());
    }
    let mut script = Script::server();
    assert_eq!(
        script.feed(&headers(1, &[GET, &[("te", "trailers")]].concat(), true)),
        ["HEAD 1 GET http a / te=trailers END"]
    );
}

/// Sections 8.3 and 8.3.1.
#[test]
fn request_pseudo_headers_are_complete_known_unique_and_first() {
    for fields in [
        &[(":method", "GET"), (":scheme", "http"), (":authority", "a")][..],
        &[(":method", "GET"), (":path", "/"), (":authority", "a")],
        &[(":scheme", "http"), (":path", "/"), (":authority", "a")],
        &[
            (":method", "GET"),
            (":scheme", "http"),
            (":path", ""),
            (":authority", "a"),
        ],
        &[
            (":method", "GET"),
            (":scheme", "http"),
            (":path", "nothing"),
            (":authority", "a"),
        ],
        &[
            (":method", "GET"),
            (":scheme", "http"),
            (":path", "*"),
            (":authority", "a"),
        ],
        &[(":method", "GET"), (":scheme", "http"), (":path", "/"), (":path", "/")],
        &[
            (":method", "GET"),
            (":method", "GET"),
            (":scheme", "http"),
            (":path", "/"),
        ],
        &[
            (":method", "GET"),
            (":scheme", "http"),
            (":scheme", "http"),
            (":path", "/"),
        ],
        &[
            (":method", "GET"),
            (":scheme", "http"),
            (":path", "/"),
            (":authority", "a"),
            (":authority", "a"),
        ],
        &[
            (":method", "GET"),
            (":scheme", "http"),
            (":path", "/"),
            (":status", "200"),
        ],
        &[
            (":method", "GET"),
            (":scheme", "http"),
            (":path", "/"),
            (":unknown", "x"),
        ],
        &[(":method", "GET"), (":scheme", "http"), (":path", "/"), (":", "x")],
        &[(":method", "GET"), (":scheme", "http"), ("x", "y"), (":path", "/")],
        &[
            (":method", "GET"),
            (":scheme", "http"),
            (":path", "/a b"),
            (":authority", "a"),
        ],
        &[
            (":method", "G T"),
            (":scheme", "http"),
            (":path", "/"),
            (":authority", "a"),
        ],
        &[
            (":method", "GET"),
            (":scheme", "http"),
            (":path", "/"),
            (":authority", "a"),
            ("host", "b"),
        ],
        &[
            (":method", "GET"),
            (":scheme", "http"),
            (":path", "/"),
            (":authority", "user@a"),
        ],
    ] {
        server_stream_error(fields);
    }
    let mut script = Script::server();
    let options: Fields<'_> = &[
        (":method", "OPTIONS"),
        (":scheme", "https"),
        (":path", "*"),
        (":authority", "a"),
    ];
    assert_eq!(
        script.feed(&headers(1, options, true)),
        ["HEAD 1 OPTIONS https a * END"]
    );
    let host: Fields<'_> = &[
        (":method", "GET"),
        (":scheme", "http"),
        (":path", "/"),
        ("host", "b:80"),
    ];
    assert_eq!(
        script.feed(&headers(3, host, true)),
        ["HEAD 3 GET http b:80 / END"],
        "host stands for :authority"
    );
}

/// Section 8.3.2.
#[test]
fn a_response_has_exactly_one_valid_status() {
    for fields in [
        &[("x", "y")][..],
        &[(":status", "200"), (":status", "200")],
        &[(":status", "20")],
        &[(":status", "2000")],
        &[(":status", "abc")],
        &[(":status", "099")],
        &[(":status", "200"), (":path", "/")],
        &[(":status", "200"), (":method", "GET")],
        &[("x", "y"), (":status", "200")],
    ] {
        client_stream_error(fields);
    }
}

/// Section 8.5.
#[test]
fn connect_has_method_and_authority_only_and_makes_a_tunnel() {
    let connect: Fields<'_> = &[(":method", "CONNECT"), (":authority", "a:443")];
    let mut script = Script::server();
    assert_eq!(script.feed(&headers(1, connect, false)), ["HEAD 1 CONNECT a:443"]);
    assert_eq!(script.feed(&data(1, b"octets", false)), ["DATA 1 octets"]);
    server_stream_error(&[(":method", "CONNECT")]);
    server_stream_error(&[(":method", "CONNECT"), (":authority", "a:1"), (":path", "/")]);
    server_stream_error(&[(":method", "CONNECT"), (":authority", "a:1"), (":scheme", "http")]);
    // A 2xx answer has no content-length that could count.
    let mut script = Script::client();
    let stream = script.request(connect, false);
    assert_eq!(
        script
            .feed(&headers(stream, &[(":status", "200"), ("content-length", "1")], false))
            .len(),
        1
    );
    assert_eq!(script.feed(&data(stream, b"more", true)), ["DATA 1 more END"]);
}

/// RFC 8441 section 4.
#[test]
fn extended_connect_is_taken_only_where_it_was_offered() {
    let websocket: Fields<'_> = &[
        (":method", "CONNECT"),
        (":protocol", "websocket"),
        (":scheme", "https"),
        (":path", "/chat"),
        (":authority", "a"),
    ];
    server_stream_error(websocket);
    let offering = || Config {
        allow_connect: true,
        stream_error_on_invalid_http_message: true,
        ..Config::default()
    };
    let mut script = Script::new_server(offering());
    assert!(script.sent()[0].ends_with(" 8=1"));
    let mut script = Script::server_with(offering());
    assert_eq!(
        script.feed(&headers(1, websocket, false)),
        ["HEAD 1 CONNECT https a /chat websocket"]
    );
    for fields in [&websocket[..4], &[&[(":method", "GET")], &websocket[1..]].concat()] {
        let mut script = Script::server_with(offering());
        script.feed_stream_error(&headers(1, fields, false), 1, ErrorCode::PROTOCOL_ERROR);
    }
    let mut script = Script::client();
    assert!(!script.connection.peer_settings().enable_connect_protocol);
    script.feed(&settings(&[(8, 1)]));
    assert!(script.connection.peer_settings().enable_connect_protocol);
    script.request(websocket, false);
    assert_eq!(
        script.sent().last().unwrap(),
        "HEADERS 1 CONNECT https a /chat websocket"
    );
    // Section 3: it can't be withdrawn.
    script.feed_error(&settings(&[(8, 0)]), ErrorCode::PROTOCOL_ERROR);
}

/// Section 8.7.
#[test]
fn a_refused_stream_is_told_apart_from_any_other_reset() {
    let mut script = Script::client();
    script.request(GET, true);
    script.request(GET, true);
    assert_eq!(
        script.feed(&rst(1, ErrorCode::REFUSED_STREAM)),
        ["RESET 1 REFUSED_STREAM remote refused"]
    );
    assert_eq!(
        script.feed(&rst(3, ErrorCode::INTERNAL_ERROR)),
        ["RESET 3 INTERNAL_ERROR remote"]
    );
}

/// Section 7: unknown codes mean nothing special.
#[test]
fn unknown_error_codes_are_passed_on() {
    let mut script = Script::client();
    script.request(GET, true);
    assert_eq!(script.feed(&rst(1, ErrorCode(0x1234))), ["RESET 1 unknown remote"]);
    assert_eq!(script.feed(&goaway(1, ErrorCode(0x99), b"")), ["GOAWAY 1 unknown "]);
    script.assert_usable();
}

/// Section 10.5.1: the block over the limit is still decoded, so that the next one is understood.
#[test]
fn a_header_list_over_the_limit_ends_its_stream_only() {
    let config = Config {
        max_header_list_size: 1_000,
        max_headers_count: 10,
        ..Config::default()
    };
    let mut script = Script::server_with(config);
    let long = "v".repeat(900);
    let large = [GET, &[("x", &long)]].concat();
    script.feed_stream_error(&headers(1, &large, true), 1, ErrorCode::ENHANCE_YOUR_CALM);
    let many = [GET, &[("x", "y"); 7]].concat();
    script.feed_stream_error(&headers(3, &many, true), 3, ErrorCode::ENHANCE_YOUR_CALM);
    assert_eq!(
        script.feed(&headers(5, &[GET, &[("x", "y"); 6]].concat(), true)).len(),
        1
    );
    assert_eq!(script.connection.stats().value(crate::stats::Stat::HeaderOverflow), 2);
    // In a response it is an event, as the caller waits for one.
    let mut script = Script::client_with(Config {
        max_header_list_size: 100,
        ..Config::default()
    });
    script.request(GET, true);
    assert_eq!(
        script.feed(&headers(1, &[OK, &[("x", &long)]].concat(), true)),
        ["RESET 1 ENHANCE_YOUR_CALM local"]
    );
}

/// Envoy ends the connection for any other malformed message unless told otherwise.
#[test]
fn a_malformed_message_ends_the_connection_by_default() {
    let mut script = Script::server_with(Config::default());
    let error = script.feed_error(
        &headers(1, &[GET, &[("te", "x")]].concat(), false),
        ErrorCode::PROTOCOL_ERROR,
    );
    assert!(error.violation.contains("8.2.2"), "{error}");
    let mut script = Script::client_with(Config::default());
    script.request(GET, true);
    script.feed_error(&headers(1, &[("X", "y")], false), ErrorCode::PROTOCOL_ERROR);
    // A late HEADERS frame of another stream is no message: flags of the frame type do not matter.
    let mut script = Script::server_with(Config::default());
    assert!(script.feed(&frame(0x20, 0xff, 3, b"x")).is_empty());
}
