//! RFC 9113 section 8 as a client is to read its server: the order and the content of responses.

use super::script::*;
use crate::event::{ErrorCode, StreamId};
use crate::h2::Config;
use crate::h2::frame;
use crate::stats::Stat;

const PROTOCOL: ErrorCode = ErrorCode::PROTOCOL_ERROR;

fn method(method: &'static str) -> Vec<(&'static str, &'static str)> {
    vec![
        (":method", method),
        (":scheme", "http"),
        (":path", "/"),
        (":authority", "a"),
    ]
}

/// A client that has sent a whole request.
fn asked(with: &'static str) -> Script {
    let mut script = Script::client();
    script.request(&method(with), true);
    script.sent();
    script
}

fn status(code: &'static str, end: bool) -> Vec<u8> {
    headers(1, &[(":status", code)], end)
}

fn status_of_length(code: &'static str, length: &'static str, end: bool) -> Vec<u8> {
    headers(1, &[(":status", code), ("content-length", length)], end)
}

/// Section 8.1: interim responses, a final one, content, trailers.
#[test]
fn every_valid_order_of_a_response_is_told_as_it_comes() {
    let trailers = headers(1, &[("t", "1")], true);
    for (what, input, expected) in [
        ("a head alone", vec![status("200", true)], &["HEAD 1 200 END"][..]),
        (
            "an empty body",
            vec![status("200", false), data(1, b"", true)],
            &["HEAD 1 200", "DATA 1  END"],
        ),
        (
            "content",
            vec![status("200", false), data(1, b"abc", true)],
            &["HEAD 1 200", "DATA 1 abc END"],
        ),
        (
            "trailers alone",
            vec![status("200", false), trailers.clone()],
            &["HEAD 1 200", "TRAILERS 1 t=1"],
        ),
        (
            "content and trailers",
            vec![status("200", false), data(1, b"abc", false), trailers.clone()],
            &["HEAD 1 200", "DATA 1 abc", "TRAILERS 1 t=1"],
        ),
        (
            "100, then final",
            vec![status("100", false), status("200", true)],
            &["INFO 1 100", "HEAD 1 200 END"],
        ),
        (
            "several interim responses",
            vec![
                status("100", false),
                status("102", false),
                status("103", false),
                status("199", false),
                status("404", true),
            ],
            &["INFO 1 100", "INFO 1 102", "INFO 1 103", "INFO 1 199", "HEAD 1 404 END"],
        ),
        ("a code of its own", vec![status("799", true)], &["HEAD 1 799 END"]),
        (
            "a length that fits",
            vec![status_of_length("200", "3", false), data(1, b"abc", true)],
            &["HEAD 1 200 content-length=3", "DATA 1 abc END"],
        ),
        (
            "a length that fits, trailers",
            vec![status_of_length("200", "3", false), data(1, b"abc", false), trailers],
            &["HEAD 1 200 content-length=3", "DATA 1 abc", "TRAILERS 1 t=1"],
        ),
        (
            "length 0",
            vec![status_of_length("200", "0", true)],
            &["HEAD 1 200 content-length=0 END"],
        ),
        ("204", vec![status("204", true)], &["HEAD 1 204 END"]),
        (
            "205 of length 0",
            vec![status_of_length("205", "0", true)],
            &["HEAD 1 205 content-length=0 END"],
        ),
        (
            "304 with a length",
            vec![status_of_length("304", "10", true)],
            &["HEAD 1 304 content-length=10 END"],
        ),
        (
            "interim length",
            vec![status_of_length("103", "10", false), status("200", true)],
            &["INFO 1 103 content-length=10", "HEAD 1 200 END"],
        ),
        (
            "a reset after the end",
            vec![status("200", true), rst(1, ErrorCode::NO_ERROR)],
            &["HEAD 1 200 END"],
        ),
    ] {
        let mut script = asked("GET");
        assert_eq!(script.feed(&input.concat()), expected, "{what}");
        script.assert_usable();
    }
}

/// Sections 8.1, 8.1.1, 8.3.2 and 8.6.
#[test]
fn every_invalid_order_of_a_response_ends_its_stream() {
    for (what, with, input) in [
        ("content before the head", "GET", vec![data(1, b"x", false)]),
        ("an end before the head", "GET", vec![data(1, b"", true)]),
        (
            "content before the final head",
            "GET",
            vec![status("100", false), data(1, b"x", false)],
        ),
        (
            "an interim response that ends the stream",
            "GET",
            vec![status("100", true)],
        ),
        ("101", "GET", vec![status("101", false)]),
        (
            "a head behind the head",
            "GET",
            vec![status("200", false), status("200", true)],
        ),
        (
            "an interim head behind the final one",
            "GET",
            vec![status("200", false), status("103", false)],
        ),
        (
            "a head behind content",
            "GET",
            vec![status("200", false), data(1, b"x", false), status("200", true)],
        ),
        (
            "trailers that do not end",
            "GET",
            vec![status("200", false), headers(1, &[("t", "1")], false)],
        ),
        ("trailers without a head", "GET", vec![headers(1, &[("t", "1")], true)]),
        (
            "more than the length",
            "GET",
            vec![status_of_length("200", "1", false), data(1, b"ab", true)],
        ),
        (
            "less than the length",
            "GET",
            vec![status_of_length("200", "3", false), data(1, b"ab", true)],
        ),
        (
            "less than the length, trailers",
            "GET",
            vec![status_of_length("200", "3", false), headers(1, &[("t", "1")], true)],
        ),
        ("nothing of the length", "GET", vec![status_of_length("200", "3", true)]),
        (
            "content to HEAD",
            "HEAD",
            vec![status_of_length("200", "3", false), data(1, b"abc", true)],
        ),
        (
            "content to HEAD without a length",
            "HEAD",
            vec![status("200", false), data(1, b"abc", true)],
        ),
        (
            "content of a 204",
            "GET",
            vec![status("204", false), data(1, b"x", true)],
        ),
        (
            "content of a 304",
            "GET",
            vec![status("304", false), data(1, b"x", true)],
        ),
        ("no status", "GET", vec![headers(1, &[("x", "y")], true)]),
        ("an empty status", "GET", vec![status("", true)]),
        ("a status of two digits", "GET", vec![status("20", true)]),
        ("a status of four digits", "GET", vec![status("2000", true)]),
        ("a status below 100", "GET", vec![status("099", true)]),
        ("a status with a sign", "GET", vec![status("+20", true)]),
        ("a status with a space", "GET", vec![status("20 ", true)]),
        ("a status in other digits", "GET", vec![status("\u{662}0", true)]),
        (
            "two statuses",
            "GET",
            vec![headers(1, &[(":status", "200"), (":status", "200")], true)],
        ),
        (
            "a request's pseudo-header field",
            "GET",
            vec![headers(1, &[(":status", "200"), (":path", "/")], true)],
        ),
        (
            ":protocol",
            "GET",
            vec![headers(1, &[(":status", "200"), (":protocol", "x")], true)],
        ),
    ] {
        let mut script = asked(with);
        script.feed_stream_error(&input.concat(), 1, PROTOCOL);
        assert_eq!(script.connection.active_streams(), 0, "{what}");
        // The stream beside it is not touched.
        let next = script.request(GET, true);
        assert_eq!(
            script.feed(&headers(next, OK, true)),
            [format!("HEAD {next} 200 END")],
            "{what}"
        );
    }
}

/// Section 8.1.1 and RFC 9110 section 6.4.1: a head, and its end in a frame of its own.
#[test]
fn a_response_without_content_may_end_in_any_way() {
    for (with, code) in [("HEAD", "200"), ("GET", "204"), ("GET", "304"), ("HEAD", "404")] {
        for end in [data(1, b"", true), headers(1, &[("t", "1")], true)] {
            let mut script = asked(with);
            script.feed(&status_of_length(code, "7", false));
            assert_eq!(script.feed(&end).len(), 1, "{with} {code}");
            assert_eq!(script.connection.active_streams(), 0);
        }
    }
}

/// Section 8.1: a whole response may come before the request is complete, and a reset without an error behind it.
#[test]
fn a_response_may_overtake_its_request() {
    let mut script = Script::client();
    script.request(POST, false);
    assert_eq!(script.feed(&status("413", true)), ["HEAD 1 413 END"]);
    assert_eq!(script.feed(&rst(1, ErrorCode::NO_ERROR)), ["RESET 1 NO_ERROR remote"]);
    assert_eq!(script.connection.active_streams(), 0);
    let mut script = Script::client();
    script.request(POST, false);
    script.feed(&status("200", true));
    script.sent();
    assert_eq!(script.connection.send_data(StreamId(1), b"rest", true), Ok(4));
    assert_eq!(script.sent(), ["DATA 1 4 END"]);
}

/// They have no flow control: only their number bounds what they cost whoever passes them on.
#[test]
fn interim_responses_without_end_end_their_stream() {
    let mut script = asked("GET");
    for _ in 0..100 {
        assert_eq!(script.feed(&status("103", false)), ["INFO 1 103"]);
    }
    script.feed_stream_error(&status("103", false), 1, ErrorCode::ENHANCE_YOUR_CALM);
    assert_eq!(script.connection.stats().value(Stat::RxMessagingError), 1);
    // Under a peer that reads nothing they are not even kept.
    let mut server = Script::server();
    server.feed(&headers(1, GET, true));
    let interim = header_block(&[(":status", "103"), ("link", &"x".repeat(50_000))]);
    for _ in 0..1_000 {
        server.connection.send_informational(StreamId(1), &interim).unwrap();
    }
    assert!(server.connection.output().len() < 17 * 1024 * 1024);
    server.respond(1, OK, true);
    assert_eq!(server.sent().last().unwrap(), "HEADERS 1 200 END");
}

/// Sections 6.4, 6.8 and 8.7: which requests can be sent again elsewhere.
#[test]
fn only_what_was_provably_not_processed_is_refused() {
    for (what, input, expected) in [
        (
            "REFUSED_STREAM",
            rst(3, ErrorCode::REFUSED_STREAM),
            "RESET 3 REFUSED_STREAM remote refused",
        ),
        ("CANCEL", rst(3, ErrorCode::CANCEL), "RESET 3 CANCEL remote"),
        (
            "above a GOAWAY",
            goaway(1, ErrorCode::NO_ERROR, b""),
            "RESET 3 NO_ERROR remote refused",
        ),
        (
            "above a GOAWAY with an error",
            goaway(1, ErrorCode::INTERNAL_ERROR, b""),
            "RESET 3 INTERNAL_ERROR remote refused",
        ),
    ] {
        let mut script = Script::client();
        script.request(GET, true);
        script.request(GET, true);
        let lines = script.feed(&input);
        assert_eq!(lines.last().map(String::as_str), Some(expected), "{what}");
        // The stream below goes on to its end.
        assert_eq!(script.feed(&status("200", true)), ["HEAD 1 200 END"], "{what}");
    }
}

/// Section 6.8: frames of streams that a GOAWAY let go are late, not wrong.
#[test]
fn frames_of_streams_above_a_goaway_are_late() {
    let mut script = Script::client();
    script.request(GET, true);
    script.request(GET, true);
    script.feed(&goaway(1, ErrorCode::NO_ERROR, b""));
    for late in [
        window_update(3, 1),
        rst(3, ErrorCode::REFUSED_STREAM),
        frame(frame::PRIORITY, 0, 3, &[0; 5]),
    ] {
        assert!(script.feed(&late).is_empty());
    }
    script.assert_usable();
    assert_eq!(script.feed(&status("200", true)), ["HEAD 1 200 END"]);
}

/// Sections 3.4 and 6.5.3: a client acknowledges, and takes up what the server says, at any time.
#[test]
fn a_client_takes_up_settings_as_they_come() {
    let mut script = Script::new_client(Config::default());
    script.sent();
    // Before the server's settings are known a request may go out.
    script.request(GET, true);
    assert_eq!(script.sent(), ["HEADERS 1 GET http a / END"]);
    assert_eq!(
        script.feed(&settings(&[(1, 0), (3, 1), (4, 10), (5, 20_000), (6, 100_000)])),
        ["SETTINGS"]
    );
    assert_eq!(script.sent(), ["SETTINGS ACK"]);
    assert_eq!(script.connection.streams_available(), 0);
    let peer = *script.connection.peer_settings();
    assert_eq!((peer.header_table_size, peer.max_frame_size), (0, 20_000));
    assert_eq!(
        (peer.initial_window_size, peer.max_header_list_size),
        (10, Some(100_000))
    );
    script.feed(&settings_ack());
    script.feed(&status("200", true));
    script.request(POST, false);
    assert_eq!(script.connection.send_data(StreamId(3), &[0; 11], true), Ok(10));
    assert_eq!(script.feed(&window_update(3, 1)), ["SENT 3 1"]);
    script.feed_error(&settings(&[(2, 1)]), PROTOCOL);
}

/// Section 8.5: a tunnel has neither content-length nor trailers; a refusal is a response like any other.
#[test]
fn a_connect_is_a_tunnel_if_the_server_agrees() {
    let connect: Fields<'_> = &[(":method", "CONNECT"), (":authority", "a:443")];
    let mut script = Script::client();
    script.request(connect, false);
    script.feed(&status_of_length("200", "1", false));
    assert_eq!(script.feed(&data(1, b"any number", false)), ["DATA 1 any number"]);
    assert_eq!(script.feed(&data(1, b"", true)), ["DATA 1  END"]);
    let mut script = Script::client();
    script.request(connect, false);
    script.feed(&status_of_length("403", "1", false));
    script.feed_stream_error(&data(1, b"ab", true), 1, PROTOCOL);
}
