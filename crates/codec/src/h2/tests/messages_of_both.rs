//! RFC 9113 section 8.2: what no message may have, as request, as response, as their trailers and as interim response.

use super::script::*;
use crate::event::ErrorCode;
use crate::h2::Config;

/// Fields that make any message malformed.
const FAULTS: &[(&str, &str, &str)] = &[
    ("8.2.1 upper case", "X-Upper", "v"),
    ("8.2.1 one upper-case letter", "x-uppeR", "v"),
    ("8.2.1 an empty name", "", "v"),
    ("8.2.1 a space in a name", "a b", "v"),
    ("8.2.1 a colon within a name", "a:b", "v"),
    ("8.2.1 a line feed in a name", "a\nb", "v"),
    ("8.2.1 a carriage return in a name", "a\rb", "v"),
    ("8.2.1 NUL in a name", "a\0b", "v"),
    ("8.2.1 DEL in a name", "a\u{7f}", "v"),
    ("8.2.1 an octet above ASCII in a name", "\u{e9}", "v"),
    ("8.2.1 a delimiter in a name", "a(b)", "v"),
    ("8.2.1 NUL in a value", "x", "a\0b"),
    ("8.2.1 a line feed in a value", "x", "a\nb"),
    ("8.2.1 a carriage return in a value", "x", "a\rb"),
    ("8.2.1 a line and a field in a value", "x", "a\r\ny: z"),
    ("8.2.1 another control character in a value", "x", "a\u{1}b"),
    ("8.2.1 DEL in a value", "x", "a\u{7f}"),
    ("8.2.1 a space before a value", "x", " v"),
    ("8.2.1 a space behind a value", "x", "v "),
    ("8.2.1 a tab before a value", "x", "\tv"),
    ("8.2.1 a tab behind a value", "x", "v\t"),
    ("8.2.2 connection", "connection", "close"),
    ("8.2.2 proxy-connection", "proxy-connection", "close"),
    ("8.2.2 keep-alive", "keep-alive", "timeout=5"),
    ("8.2.2 transfer-encoding", "transfer-encoding", "chunked"),
    ("8.2.2 upgrade", "upgrade", "websocket"),
    ("8.2.2 te", "te", "gzip"),
    ("8.2.2 te with more than trailers", "te", "trailers, deflate;q=0.5"),
    ("8.3 a pseudo-header field that is not defined", ":test", "v"),
    ("8.3 a pseudo-header field without a name", ":", "v"),
    ("8.3 a pseudo-header field behind a regular one", ":path", "/"),
    ("8.3 :status behind a regular one", ":status", "200"),
    ("8.1.1 a length that is no number", "content-length", "five"),
    ("8.1.1 a negative length", "content-length", "-1"),
    ("8.1.1 a list of lengths", "content-length", "0, 0"),
    (
        "8.1.1 a length beyond 64 bits",
        "content-length",
        "18446744073709551616",
    ),
];

/// A regular field first, so that what follows is not misplaced by accident of the message's start.
fn with(start: Fields<'static>, name: &'static str, value: &'static str) -> Vec<(&'static str, &'static str)> {
    [start, &[("x-first", "1"), (name, value)]].concat()
}

#[test]
fn a_malformed_message_of_any_kind_ends_its_stream() {
    for &(what, name, value) in FAULTS {
        let mut server = Script::server();
        server.feed_stream_error(&headers(1, &with(GET, name, value), true), 1, ErrorCode::PROTOCOL_ERROR);
        server.feed(&headers(3, POST, false));
        server.feed_stream_error(&headers(3, &with(&[], name, value), true), 3, ErrorCode::PROTOCOL_ERROR);
        assert_eq!(server.connection.active_streams(), 0, "{what}");

        let mut client = Script::client();
        for start in [OK, &[(":status", "103")]] {
            let stream = client.request(GET, true);
            let lines = client.feed(&headers(stream, &with(start, name, value), false));
            assert_eq!(lines, [format!("RESET {stream} PROTOCOL_ERROR local")], "{what}");
            client.assert_usable();
        }
        let stream = client.request(GET, true);
        client.feed(&headers(stream, OK, false));
        client.feed_stream_error(
            &headers(stream, &with(&[], name, value), true),
            stream,
            ErrorCode::PROTOCOL_ERROR,
        );
    }
}

/// Without `override_stream_error_on_invalid_http_message`, as in Envoy.
#[test]
fn a_malformed_message_of_any_kind_ends_the_connection_unless_told_otherwise() {
    for &(_, name, value) in FAULTS {
        let mut server = Script::server_with(Config::default());
        server.feed_error(&headers(1, &with(GET, name, value), true), ErrorCode::PROTOCOL_ERROR);
        let mut server = Script::server_with(Config::default());
        server.feed(&headers(1, POST, false));
        server.feed_error(&headers(1, &with(&[], name, value), true), ErrorCode::PROTOCOL_ERROR);
        let mut client = Script::client_with(Config::default());
        client.request(GET, true);
        client.feed_error(&headers(1, &with(OK, name, value), false), ErrorCode::PROTOCOL_ERROR);
        let mut client = Script::client_with(Config::default());
        client.request(GET, true);
        client.feed(&headers(1, OK, false));
        client.feed_error(&headers(1, &with(&[], name, value), true), ErrorCode::PROTOCOL_ERROR);
    }
}

/// Section 8.2.1 forbids no more than that.
#[test]
fn unusual_fields_that_are_valid_pass_in_both_directions() {
    let unusual: Fields<'_> = &[
        ("x", ""),
        ("!#$%&'*+-.^_`|~0a", "v"),
        ("x", "a\tb"),
        ("x", "\u{e9}\u{fc}"),
        ("x", "a  b"),
        ("te", "trailers"),
    ];
    let mut server = Script::server();
    assert_eq!(server.feed(&headers(1, &[POST, unusual].concat(), false)).len(), 1);
    assert_eq!(server.feed(&headers(1, unusual, true)).len(), 1);
    let mut client = Script::client();
    client.request(GET, true);
    assert_eq!(client.feed(&headers(1, &[OK, unusual].concat(), false)).len(), 1);
    assert_eq!(client.feed(&headers(1, unusual, true)).len(), 1);
}

/// Section 8.2.2: what is sent has no connection-specific fields, whoever made the message.
#[test]
fn connection_specific_fields_are_never_sent() {
    let hop: Fields<'_> = &[
        ("connection", "x-hop"),
        ("x-hop", "1"),
        ("keep-alive", "5"),
        ("proxy-connection", "close"),
        ("transfer-encoding", "chunked"),
        ("upgrade", "h2c"),
        ("x-end", "1"),
    ];
    let mut client = Script::client();
    client.request(&[POST, hop].concat(), false);
    client
        .connection
        .send_trailers(crate::event::StreamId(1), &header_block(hop))
        .unwrap();
    assert_eq!(
        client.sent(),
        ["HEADERS 1 POST http a / x-end=1", "HEADERS 1 x-end=1 END"]
    );
    let mut server = Script::server();
    server.feed(&headers(1, GET, true));
    let interim = header_block(&[&[(":status", "103")], hop].concat());
    server
        .connection
        .send_informational(crate::event::StreamId(1), &interim)
        .unwrap();
    server.respond(1, &[OK, hop].concat(), true);
    assert_eq!(server.sent(), ["HEADERS 1 103 x-end=1", "HEADERS 1 200 x-end=1 END"]);
}

/// Section 8.1.1: content that disagrees with its length ends its stream only, whatever is configured; a head or
/// trailers that do are malformed as any other message. Envoy has it so.
#[test]
fn content_that_does_not_fit_never_ends_the_connection() {
    let with_length: Fields<'_> = &[POST, &[("content-length", "3")]].concat();
    for rest in [data(1, b"abcd", false), data(1, b"ab", true)] {
        let mut server = Script::server_with(Config::default());
        server.feed(&headers(1, with_length, false));
        server.feed_stream_error(&rest, 1, ErrorCode::PROTOCOL_ERROR);
        assert_eq!(server.connection.stats().value(crate::stats::Stat::RxMessagingError), 1);
        let mut client = Script::client_with(Config::default());
        client.request(GET, true);
        client.feed(&headers(1, &[(":status", "200"), ("content-length", "3")], false));
        client.feed_stream_error(&rest, 1, ErrorCode::PROTOCOL_ERROR);
    }
    for status in ["204", "304"] {
        let mut client = Script::client_with(Config::default());
        client.request(GET, true);
        client.feed(&headers(1, &[(":status", status)], false));
        client.feed_stream_error(&data(1, b"x", true), 1, ErrorCode::PROTOCOL_ERROR);
    }

    let of_three: Fields<'_> = &[(":status", "200"), ("content-length", "3")];
    let trailers = headers(1, &[("t", "1")], true);
    for is_tolerant in [true, false] {
        let config = || Config {
            stream_error_on_invalid_http_message: is_tolerant,
            ..Config::default()
        };
        let ends = |mut script: Script, input: &[u8]| {
            if is_tolerant {
                script.feed_stream_error(input, 1, ErrorCode::PROTOCOL_ERROR);
            } else {
                script.feed_error(input, ErrorCode::PROTOCOL_ERROR);
            }
        };
        ends(Script::server_with(config()), &headers(1, with_length, true));
        let mut server = Script::server_with(config());
        server.feed(&headers(1, with_length, false));
        ends(server, &trailers);
        let client = || {
            let mut client = Script::client_with(config());
            client.request(GET, true);
            client
        };
        ends(client(), &headers(1, of_three, true));
        let mut answered = client();
        answered.feed(&headers(1, of_three, false));
        ends(answered, &trailers);
    }
}
