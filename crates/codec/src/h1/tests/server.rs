//! RFC 9112 as a client sees it of our server, by section.

use super::*;

const GET: &str = "GET / HTTP/1.1\r\nhost: a\r\n\r\n";

/// What a request head becomes.
fn request(head: &str) -> String {
    match &Peer::server().accept(head)[..] {
        [Head(1, text, _)] => text.clone(),
        other => panic!("{other:?}"),
    }
}

fn refused(head: impl AsRef<[u8]>) -> Refusal {
    Peer::server().refuse(head)
}

#[test]
fn section_2_1_a_request_is_a_head_and_an_answer_is_written() {
    let mut server = Peer::server();
    let events = server.accept("GET /p?q=1 HTTP/1.1\r\nHost: a.example:80\r\nX-Name:  some value \r\n\r\n");
    assert_eq!(
        events,
        [got(1, "GET http://a.example:80/p?q=1|x-name: some value", true)]
    );
    server.respond(1, &status(200, &[("x-answer", "1"), ("content-length", "2")]), b"ok");
    assert_eq!(server.flush(), "HTTP/1.1 200 OK\nx-answer: 1\ncontent-length: 2\n\nok");
    assert_eq!(server.connection.active_streams(), 0);
    assert_eq!(server.accept(GET), [got(3, "GET http://a/", true)]);
}

#[test]
fn section_2_2_empty_lines_before_a_request_are_skipped_within_reason() {
    assert_eq!(request(&format!("\r\n\r\n{GET}")), "GET http://a/");
    assert_eq!(refused(format!("{}{GET}", "\r\n".repeat(5))), Refusal::RequestLine);
}

#[test]
fn section_2_2_bare_cr_and_bare_lf_are_refused() {
    assert_eq!(refused("GET / HTTP/1.1\nhost: a\n\n"), Refusal::BareLf);
    assert_eq!(refused("GET / HTTP/1.1\r\nhost: a\nx: y\r\n\r\n"), Refusal::BareLf);
    for head in [
        "GET / HTTP/1.1\r\nhost: a\r\nx: y\rz\r\n\r\n",
        "GET / HTTP/1.1\rhost: a\r\n\r\n",
    ] {
        let refusal = refused(head);
        assert_eq!(refusal.status(), 400);
        assert!(
            matches!(refusal, Refusal::BareCr | Refusal::HeaderValue | Refusal::Version),
            "{refusal:?}"
        );
    }
}

#[test]
fn section_2_2_white_space_before_the_first_field_is_refused() {
    assert_eq!(refused("GET / HTTP/1.1\r\n host: a\r\n\r\n"), Refusal::ObsFold);
}

#[test]
fn section_2_3_versions() {
    assert_eq!(refused("GET / HTTP/1.0\r\nhost: a\r\n\r\n"), Refusal::Http10);
    assert_eq!(Refusal::Http10.status(), 426);
    assert_eq!(
        refused("GET / HTTP/2.0\r\nhost: a\r\n\r\n"),
        Refusal::VersionNotSupported
    );
    assert_eq!(refused("GET / HTTP/1.2\r\nhost: a\r\n\r\n").status(), 505);
    assert_eq!(refused("GET / http/1.1\r\nhost: a\r\n\r\n"), Refusal::Version);
    assert_eq!(refused("GET / HTTP/1\r\nhost: a\r\n\r\n"), Refusal::Version);
    assert_eq!(refused("GET / HTTP/1.1x\r\nhost: a\r\n\r\n").status(), 400);
    assert_eq!(refused("GET /\r\nhost: a\r\n\r\n").status(), 400);
}

#[test]
fn section_3_other_protocols_are_told_apart() {
    assert_eq!(refused("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), Refusal::Http2Preface);
    assert_eq!(refused([0x16, 0x03]), Refusal::TlsRecord);
    assert_eq!(refused([0x80, 0x2e]), Refusal::RequestLine);
}

#[test]
fn section_3_request_lines() {
    for line in [
        "GET  / HTTP/1.1",
        "GET /  HTTP/1.1",
        " GET / HTTP/1.1",
        "GET / a HTTP/1.1",
        "G@T / HTTP/1.1",
        "/",
    ] {
        assert_eq!(refused(format!("{line}\r\nhost: a\r\n\r\n")).status(), 400, "{line}");
    }
    // Section 3.1: methods are tokens, and case matters.
    assert_eq!(request("M-SEARCH / HTTP/1.1\r\nhost: a\r\n\r\n"), "M-SEARCH http://a/");
    assert_eq!(request("get / HTTP/1.1\r\nhost: a\r\n\r\n"), "get http://a/");
}

#[test]
fn section_3_2_host_is_required_once_and_valid() {
    assert_eq!(refused("GET / HTTP/1.1\r\n\r\n"), Refusal::MissingHost);
    assert_eq!(
        refused("GET / HTTP/1.1\r\nhost: a\r\nhost: a\r\n\r\n"),
        Refusal::DuplicateHost
    );
    for host in ["a b", "a@b", "a/b", "a,b\\", "http://a", "a?b", "a#b"] {
        assert_eq!(
            refused(format!("GET / HTTP/1.1\r\nhost: {host}\r\n\r\n")),
            Refusal::InvalidHost,
            "{host}"
        );
    }
    // An empty one is valid where the target names no authority.
    assert_eq!(request("GET / HTTP/1.1\r\nhost:\r\n\r\n"), "GET http:///");
    assert_eq!(
        request("GET / HTTP/1.1\r\nhost: [::1]:80\r\n\r\n"),
        "GET http://[::1]:80/"
    );
    // Section 3.2: a missing Host is refused in absolute form, too.
    assert_eq!(refused("GET http://a/ HTTP/1.1\r\n\r\n"), Refusal::MissingHost);
}

#[test]
fn section_3_2_2_absolute_form_overrides_host() {
    let absolute = |target: &str| request(&format!("GET {target} HTTP/1.1\r\nhost: other\r\n\r\n"));
    assert_eq!(absolute("http://a.example/p?q"), "GET http://a.example/p?q");
    assert_eq!(absolute("HTTPS://a.example:8443"), "GET https://a.example:8443/");
    assert_eq!(absolute("http://a.example?q"), "GET http://a.example/?q");
    assert_eq!(
        request("OPTIONS http://a HTTP/1.1\r\nhost: b\r\n\r\n"),
        "OPTIONS http://a*"
    );
    for target in ["http://", "http:///p", "ftp://a/", "a.example/p", "://a/", "http:/a"] {
        let refusal = refused(format!("GET {target} HTTP/1.1\r\nhost: a\r\n\r\n"));
        assert_eq!(refusal, Refusal::Target, "{target}");
    }
    assert_eq!(
        refused("GET http://user@a/ HTTP/1.1\r\nhost: a\r\n\r\n"),
        Refusal::InvalidHost
    );
    let mut server = Peer::server_with(Config {
        allow_absolute_url: false,
        ..Config::default()
    });
    assert_eq!(
        server.refuse("GET http://a/ HTTP/1.1\r\nhost: a\r\n\r\n"),
        Refusal::Target
    );
}

#[test]
fn section_3_2_4_asterisk_form_is_for_options() {
    assert_eq!(request("OPTIONS * HTTP/1.1\r\nhost: a\r\n\r\n"), "OPTIONS http://a*");
    assert_eq!(refused("GET * HTTP/1.1\r\nhost: a\r\n\r\n"), Refusal::Target);
}

#[test]
fn section_5_1_field_names() {
    let field = |line: &str| refused(format!("GET / HTTP/1.1\r\nhost: a\r\n{line}\r\n\r\n"));
    assert_eq!(field("x : y"), Refusal::SpaceBeforeColon);
    assert_eq!(field("x\t: y"), Refusal::SpaceBeforeColon);
    assert_eq!(field("no colon"), Refusal::HeaderName);
    assert_eq!(field(": y"), Refusal::HeaderName);
    assert_eq!(field("x(: y"), Refusal::HeaderName);
    assert_eq!(field("x\0: y"), Refusal::HeaderName);
    assert_eq!(field("x: y\0z"), Refusal::HeaderValue);
    assert_eq!(field("x: y\x01z"), Refusal::HeaderValue);
    assert_eq!(field("x: y\x7fz"), Refusal::HeaderValue);
    assert_eq!(
        request("GET / HTTP/1.1\r\nhost: a\r\nx:\t y z \t\r\nempty:\r\n\r\n"),
        "GET http://a/|x: y z|empty: "
    );
}

#[test]
fn section_5_2_folded_lines_are_refused() {
    assert_eq!(
        refused("GET / HTTP/1.1\r\nhost: a\r\nx: y\r\n z\r\n\r\n"),
        Refusal::ObsFold
    );
    assert_eq!(refused("GET / HTTP/1.1\r\nhost: a\r\n\tz\r\n\r\n"), Refusal::ObsFold);
}

#[test]
fn section_5_4_limits_of_bytes_and_count() {
    let config = Config {
        max_headers_bytes: 200,
        max_headers_count: 3,
        ..Config::default()
    };
    let server = || Peer::server_with(config.clone());
    let padded = |length: usize| {
        let rest = length - "GET / HTTP/1.1\r\nhost: a\r\nx: \r\n\r\n".len();
        format!("GET / HTTP/1.1\r\nhost: a\r\nx: {}\r\n\r\n", "y".repeat(rest))
    };
    server().accept(padded(200));
    assert_eq!(server().refuse(padded(201)), Refusal::HeadersTooLarge);
    assert_eq!(server().refuse(&padded(1000)[..200]), Refusal::HeadersTooLarge);
    assert_eq!(Refusal::HeadersTooLarge.status(), 431);
    server().accept("GET / HTTP/1.1\r\nhost: a\r\nx: 1\r\ny: 1\r\n\r\n");
    assert_eq!(
        server().refuse("GET / HTTP/1.1\r\nhost: a\r\nx: 1\r\ny: 1\r\nz: 1\r\n\r\n"),
        Refusal::TooManyHeaders
    );
    // More than are parsed on the stack.
    let mut server = Peer::server_with(Config {
        max_headers_count: 1000,
        ..Config::default()
    });
    let many: String = (0..900).map(|n| format!("x-{n}: {n}\r\n")).collect();
    let events = server.accept(format!("GET / HTTP/1.1\r\nhost: a\r\n{many}\r\n"));
    assert!(matches!(&events[..], [Head(1, text, true)] if text.ends_with("|x-899: 899")));
}

#[test]
fn section_6_1_transfer_encoding_is_chunked_or_refused() {
    let coding = |lines: &str| refused(format!("POST / HTTP/1.1\r\nhost: a\r\n{lines}\r\n\r\n"));
    for value in [
        "gzip",
        "identity",
        "chunked, chunked",
        "gzip, chunked",
        "chunked, gzip",
        "xchunked",
        "",
        "chunked;a",
    ] {
        assert_eq!(
            coding(&format!("transfer-encoding: {value}")),
            Refusal::TransferEncoding,
            "{value}"
        );
    }
    assert_eq!(Refusal::TransferEncoding.status(), 501);
    assert_eq!(
        coding("transfer-encoding: chunked\r\ntransfer-encoding: chunked"),
        Refusal::TransferEncoding
    );
    assert_eq!(
        coding("transfer-encoding: chunked\r\ncontent-length: 3"),
        Refusal::ContentLengthWithTransferEncoding
    );
    let mut server = Peer::server_with(Config {
        accept_http_10: true,
        ..Config::default()
    });
    let head = "POST / HTTP/1.0\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n";
    assert_eq!(server.refuse(head), Refusal::TransferEncodingInHttp10);
    assert_eq!(
        request("POST / HTTP/1.1\r\nhost: a\r\nTransfer-Encoding: CHUNKED\r\n\r\n"),
        "POST http://a/",
        "and the coding stays on this hop"
    );
}

#[test]
fn section_6_2_content_length() {
    let mut server = Peer::server();
    let events = server.accept("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\n\r\nhello");
    assert_eq!(
        events,
        [got(1, "POST http://a/|content-length: 5", false), data("hello", true)]
    );
    let length = |lines: &str| refused(format!("POST / HTTP/1.1\r\nhost: a\r\n{lines}\r\n\r\n"));
    for value in ["-1", "+1", "0x1", "1 1", "1,1", "", "1.0", "18446744073709551616", "a"] {
        assert_eq!(
            length(&format!("content-length: {value}")),
            Refusal::ContentLength,
            "{value}"
        );
    }
    assert_eq!(
        length("content-length: 1\r\ncontent-length: 1"),
        Refusal::DuplicateContentLength
    );
    assert_eq!(
        length("content-length: 1\r\ncontent-length: 2"),
        Refusal::DuplicateContentLength
    );
    let zero = Peer::server().accept("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 0\r\n\r\n");
    assert_eq!(zero, [got(1, "POST http://a/|content-length: 0", true)]);
}

#[test]
fn section_6_3_a_request_without_framing_has_no_body() {
    let mut server = Peer::server();
    assert_eq!(
        server.accept("POST / HTTP/1.1\r\nhost: a\r\n\r\n"),
        [got(1, "POST http://a/", true)]
    );
}

#[test]
fn section_7_1_chunked_requests_with_and_without_trailers() {
    let head = "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n";
    let events = Peer::server().accept(format!("{head}5;x=y\r\nhello\r\n0\r\n\r\n"));
    assert_eq!(events, [got(1, "POST http://a/", false), data("hello", true)]);
    let events = Peer::server().accept(format!("{head}0\r\n\r\n"));
    assert_eq!(events, [got(1, "POST http://a/", false), data("", true)]);
    // Section 7.1.2: declared or not.
    let events = Peer::server().accept(format!("{head}2\r\nhi\r\n0\r\nX-Sum: 1\r\ny: 2\r\n\r\n"));
    assert_eq!(
        events,
        [
            got(1, "POST http://a/", false),
            data("hi", false),
            Trailers("x-sum: 1|y: 2".to_owned())
        ]
    );
    let mut server = Peer::server_with(Config {
        enable_trailers: false,
        ..Config::default()
    });
    let events = server.accept(format!("{head}2\r\nhi\r\n0\r\nX-Sum: 1\r\n\r\n"));
    assert_eq!(events[1..], [data("hi", false), data("", true)]);
}

#[test]
fn section_7_1_2_trailers_are_bounded_and_decide_nothing() {
    let head = "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n0\r\n";
    for name in [
        "content-length",
        "transfer-encoding",
        "host",
        "connection",
        "te",
        "trailer",
        "authorization",
    ] {
        assert_eq!(
            refused(format!("{head}{name}: 1\r\n\r\n")),
            Refusal::ForbiddenTrailer,
            "{name}"
        );
    }
    assert_eq!(refused(format!("{head}x y: 1\r\n\r\n")), Refusal::HeaderName);
    assert_eq!(refused(format!("{head}x: 1\r\n y\r\n\r\n")), Refusal::ObsFold);
    assert_eq!(refused(format!("{head}x: 1\n\r\n")), Refusal::BareLf);
    assert_eq!(
        refused(format!("{head}{}", "x: 1\r\n".repeat(101))),
        Refusal::TooManyHeaders
    );
    assert_eq!(
        refused(format!("{head}x: {}", "y".repeat(61 * 1024))),
        Refusal::HeadersTooLarge
    );
    let many: String = (0..50).map(|n| format!("x-{n}: {n}\r\n")).collect();
    let events = Peer::server().accept(format!("{head}{many}\r\n"));
    assert!(matches!(&events[1], Trailers(text) if text.ends_with("|x-49: 49")));
}

#[test]
fn section_9_3_persistence() {
    let mut server = Peer::server();
    server.accept("GET / HTTP/1.1\r\nhost: a\r\nConnection: foo, CLOSE\r\n\r\n");
    server.respond(1, &status(204, &[]), b"");
    assert_eq!(server.flush(), "HTTP/1.1 204 No Content\nconnection: close\n\n");
    assert!(server.connection.is_closed());

    let mut server = Peer::server();
    server.accept(GET);
    server.respond(1, &status(204, &[("connection", "close")]), b"");
    assert_eq!(server.flush(), "HTTP/1.1 204 No Content\nconnection: close\n\n");
    assert!(server.connection.is_closed());
}

#[test]
fn section_9_3_http_10_keeps_alive_only_when_asked() {
    let config = Config {
        accept_http_10: true,
        default_host_for_http_10: Some(b"default"[..].into()),
        ..Config::default()
    };
    let mut server = Peer::server_with(config.clone());
    assert_eq!(
        server.accept("GET / HTTP/1.0\r\n\r\n"),
        [got(1, "GET http://default/", true)]
    );
    // Nor is it sent chunks, or interim responses.
    server
        .connection
        .send_informational(StreamId(1), &status(103, &[]))
        .unwrap();
    server.respond(1, &status(200, &[]), b"body");
    assert_eq!(server.flush(), "HTTP/1.1 200 OK\nconnection: close\n\nbody");
    assert!(server.connection.is_closed());

    let mut server = Peer::server_with(config);
    server.accept("GET / HTTP/1.0\r\nhost: a\r\nconnection: Keep-Alive\r\n\r\n");
    server.respond(1, &status(200, &[("content-length", "4")]), b"body");
    assert_eq!(
        server.flush(),
        "HTTP/1.1 200 OK\ncontent-length: 4\nconnection: keep-alive\n\nbody"
    );
    assert!(!server.connection.is_closed());
}

#[test]
fn section_9_3_2_pipelined_requests_are_answered_in_order_and_bounded() {
    let mut server = Peer::server();
    let three = "GET /1 HTTP/1.1\r\nhost: a\r\n\r\nPOST /2 HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\n\r\nhiGET /3 HTTP/1.1\r\nhost: a\r\n\r\n";
    assert_eq!(server.accept(three), [got(1, "GET http://a/1", true)]);
    assert!(!server.connection.wants_read() && !server.connection.wants_receive());
    server.respond(1, &status(200, &[]), b"");
    assert!(server.connection.wants_receive());
    assert_eq!(
        server.accept(""),
        [got(3, "POST http://a/2|content-length: 2", false), data("hi", true)]
    );
    assert!(!server.connection.wants_read() && !server.connection.wants_receive());
    server.respond(3, &status(200, &[]), b"");
    assert_eq!(server.accept("GET /4 HT"), [got(5, "GET http://a/3", true)]);
    server.respond(5, &status(200, &[]), b"");
    assert_eq!(server.accept(""), []);
    assert!(server.connection.wants_read() && !server.connection.wants_receive());
    assert_eq!(
        server.accept("TP/1.1\r\nhost: a\r\n\r\n"),
        [got(7, "GET http://a/4", true)]
    );
    assert_eq!(server.flush(), "HTTP/1.1 200 OK\ncontent-length: 0\n\n".repeat(3));
}

#[test]
fn section_9_3_a_response_before_the_end_of_the_request_closes() {
    let mut server = Peer::server();
    server.accept("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 10\r\n\r\nhel");
    server.respond(1, &status(413, &[]), b"");
    assert_eq!(
        server.flush(),
        "HTTP/1.1 413 Payload Too Large\ncontent-length: 0\nconnection: close\n\n"
    );
    assert!(server.connection.is_closed());
    assert_eq!(server.accept("GET /smuggled HTTP/1.1\r\nhost: a\r\n\r\n"), [Closed]);
}

#[test]
fn section_9_5_a_slow_head_is_refused_after_its_time() {
    let timeout = Duration::from_secs(5);
    let mut server = Peer::server_with(Config {
        request_headers_timeout: Some(timeout),
        ..Config::default()
    });
    assert_eq!(server.connection.deadline(), None);
    server.accept("GET /");
    let deadline = server.now + timeout;
    assert_eq!(server.connection.deadline(), Some(deadline));
    server.now += Duration::from_secs(4);
    server.accept(" HTTP/1.1\r\nhost");
    assert_eq!(server.connection.deadline(), Some(deadline));
    assert_eq!(server.connection.on_deadline(server.now), Ok(()));
    let error = server.connection.on_deadline(deadline).unwrap_err();
    assert_eq!(error.answer.unwrap().status, 408);
    let mut quick = Peer::server_with(Config {
        request_headers_timeout: Some(timeout),
        ..Config::default()
    });
    quick.accept("GET /");
    quick.accept(" HTTP/1.1\r\nhost: a\r\n\r\n");
    assert_eq!(quick.connection.deadline(), None);
}

#[test]
fn a_refusal_names_its_answer_and_the_connection_ends_with_it() {
    let mut server = Peer::server();
    server.accept(GET);
    server.respond(1, &status(200, &[]), b"");
    let (_, error) = server.feed(b"GET / HTTP/1.1\r\nhost: a\r\nhost: b\r\n\r\nGET /next");
    let answer = error.unwrap().answer.unwrap();
    assert_eq!((answer.stream, answer.status), (StreamId(3), 400));
    assert_eq!(server.feed(b"more").1, error, "and every later call says the same");
    assert_eq!(
        server.connection.active_streams(),
        0,
        "the caller was never told of the stream"
    );
    server.flush();
    server.respond(3, &status(400, &[]), b"no");
    assert_eq!(
        server.flush(),
        "HTTP/1.1 400 Bad Request\ntransfer-encoding: chunked\nconnection: close\n\n2\nno\n0\n\n"
    );
    assert!(server.connection.is_closed());
    assert_eq!(server.end_of_input(), []);
}

#[test]
fn a_refusal_within_a_body_can_be_answered_until_the_response_begins() {
    let broken = "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\nzz";
    let mut server = Peer::server();
    let (events, error) = server.feed(broken.as_bytes());
    assert_eq!(events, [got(1, "POST http://a/", false)]);
    assert_eq!(error.unwrap().answer.unwrap().stream, StreamId(1));
    assert_eq!(
        server.end_of_input(),
        [Reset { refused: false }],
        "the caller's stream is reset"
    );
    assert_eq!(server.end_of_input(), []);

    let mut server = Peer::server();
    server.accept(&broken[..broken.len() - 2]);
    server
        .connection
        .send_head(StreamId(1), &status(200, &[]), false)
        .unwrap();
    let (_, error) = server.feed(b"zz");
    assert_eq!(error.unwrap().answer, None);
    assert!(server.connection.is_closed());
}

#[test]
fn a_client_that_leaves_resets_its_request() {
    for input in [GET, "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 10\r\n\r\nhel"] {
        let mut server = Peer::server();
        server.accept(input);
        assert_eq!(server.end_of_input(), [Reset { refused: false }]);
        assert!(server.connection.is_closed());
    }
    let mut server = Peer::server();
    server.accept("GET / HT");
    assert_eq!(server.end_of_input(), []);
    assert_eq!(
        server.connection.stats().value(crate::stats::Stat::IncompleteMessage),
        1
    );
    assert_eq!(Peer::server().end_of_input(), []);
}

#[test]
fn rfc_9110_section_15_2_interim_responses_come_before_the_final_one() {
    let mut server = Peer::server();
    server.accept("POST / HTTP/1.1\r\nhost: a\r\nexpect: 100-continue\r\ncontent-length: 1\r\n\r\n");
    let stream = StreamId(1);
    server.connection.send_informational(stream, &status(100, &[])).unwrap();
    server
        .connection
        .send_informational(stream, &status(103, &[("link", "</a>")]))
        .unwrap();
    assert_eq!(
        server.flush(),
        "HTTP/1.1 100 Continue\n\nHTTP/1.1 103 Early Hints\nlink: </a>\n\n"
    );
    assert_eq!(
        server.connection.send_informational(stream, &status(200, &[])),
        Err(SendError::InvalidHead)
    );
    assert_eq!(
        server.connection.send_informational(stream, &status(101, &[])),
        Err(SendError::InvalidHead)
    );
    assert_eq!(
        server.connection.send_head(stream, &status(100, &[]), true),
        Err(SendError::InvalidHead)
    );
    assert_eq!(server.accept("x"), [data("x", true)]);
    server.respond(1, &status(200, &[]), b"");
    assert_eq!(
        server.connection.send_informational(stream, &status(100, &[])),
        Err(SendError::StreamGone)
    );
}

#[test]
fn rfc_9110_section_8_6_responses_without_body_announce_none() {
    let answer = |request: &str, response: &HeaderBlock, body: &[u8]| {
        let mut server = Peer::server();
        server.accept(request);
        server.respond(1, response, body);
        assert!(!server.connection.is_closed());
        server.accept(GET);
        server.flush()
    };
    let head = "HEAD / HTTP/1.1\r\nhost: a\r\n\r\n";
    assert_eq!(
        answer(head, &status(200, &[("content-length", "5")]), b""),
        "HTTP/1.1 200 OK\ncontent-length: 5\n\n"
    );
    assert_eq!(answer(head, &status(200, &[]), b"swallowed"), "HTTP/1.1 200 OK\n\n");
    assert_eq!(
        answer(GET, &status(204, &[("content-length", "0")]), b""),
        "HTTP/1.1 204 No Content\n\n"
    );
    let not_modified = "HTTP/1.1 304 Not Modified\ncontent-length: 5\n\n";
    assert_eq!(
        answer(GET, &status(304, &[("content-length", "5")]), b"x"),
        not_modified
    );
    assert_eq!(
        answer(GET, &status(200, &[]), b""),
        "HTTP/1.1 200 OK\ncontent-length: 0\n\n"
    );
}

#[test]
fn responses_are_chunked_without_a_length_and_end_with_trailers() {
    let mut server = Peer::server();
    server.accept(GET);
    let stream = StreamId(1);
    server
        .connection
        .send_head(
            stream,
            &status(200, &[("transfer-encoding", "gzip"), ("keep-alive", "x")]),
            false,
        )
        .unwrap();
    assert_eq!(server.connection.send_data(stream, &[b'x'; 26], false), Ok(26));
    assert_eq!(server.connection.send_data(stream, b"", false), Ok(0));
    server
        .connection
        .send_trailers(stream, &with(HeaderBlock::new(), &[("x-sum", "1")]))
        .unwrap();
    let body = "x".repeat(26);
    assert_eq!(
        server.flush(),
        format!("HTTP/1.1 200 OK\ntransfer-encoding: chunked\n\n1a\n{body}\n0\nx-sum: 1\n\n")
    );
    assert_eq!(server.accept(GET).len(), 1);
}

#[test]
fn bodies_that_disagree_with_their_length_are_not_sent() {
    let stream = StreamId(1);
    let mut server = Peer::server();
    server.accept(GET);
    server
        .connection
        .send_head(stream, &status(200, &[("content-length", "3")]), false)
        .unwrap();
    assert_eq!(
        server.connection.send_data(stream, b"four", true),
        Err(SendError::LengthMismatch)
    );
    assert_eq!(server.connection.send_data(stream, b"ab", false), Ok(2));
    assert_eq!(
        server.connection.send_data(stream, b"", true),
        Err(SendError::LengthMismatch)
    );
    assert!(
        server.connection.is_closed(),
        "the client sees a body cut short, not a complete one"
    );

    let mut server = Peer::server();
    server.accept(GET);
    let head = status(200, &[("content-length", "3")]);
    assert_eq!(
        server.connection.send_head(stream, &head, true),
        Err(SendError::LengthMismatch)
    );
    assert_eq!(server.flush(), "");
    let head = status(200, &[("content-length", "3"), ("content-length", "3")]);
    assert_eq!(
        server.connection.send_head(stream, &head, false),
        Err(SendError::InvalidHead)
    );
    server.respond(1, &status(500, &[]), b"");
}

#[test]
fn nothing_that_ends_a_line_gets_into_one() {
    let stream = StreamId(1);
    let mut server = Peer::server();
    server.accept(GET);
    for (name, value) in [
        ("x", "a\r\nb: c"),
        ("x", "a\nb"),
        ("x", "a\0"),
        ("x\r\ny", "1"),
        ("x y", "1"),
        ("cookie", "\r"),
    ] {
        let result = server
            .connection
            .send_head(stream, &status(200, &[(name, value)]), true);
        assert_eq!(result, Err(SendError::InvalidHead), "{name:?}: {value:?}");
        assert_eq!(server.flush(), "");
    }
    server.connection.send_head(stream, &status(200, &[]), false).unwrap();
    server.flush();
    let trailers = with(HeaderBlock::new(), &[("x", "a\r\nb: c")]);
    assert_eq!(
        server.connection.send_trailers(stream, &trailers),
        Err(SendError::InvalidHead)
    );
    assert_eq!(server.flush(), "");
}

#[test]
fn names_are_written_as_configured() {
    let answer = |header_key_format| {
        let mut server = Peer::server_with(Config {
            header_key_format,
            ..Config::default()
        });
        server.accept("GET / HTTP/1.1\r\nHOST: a\r\nX-FooBar: 1\r\n\r\n");
        let mut head = status(200, &[("x-plain-name", "1")]);
        head.append_spelled(b"X-FooBar", b"2");
        server.respond(1, &head, b"");
        server.flush()
    };
    assert_eq!(
        answer(HeaderKeyFormat::LowerCase),
        "HTTP/1.1 200 OK\nx-plain-name: 1\nx-foobar: 2\ncontent-length: 0\n\n"
    );
    assert_eq!(
        answer(HeaderKeyFormat::PreserveCase),
        "HTTP/1.1 200 OK\nx-plain-name: 1\nX-FooBar: 2\ncontent-length: 0\n\n"
    );
    assert_eq!(
        answer(HeaderKeyFormat::ProperCaseWords),
        "HTTP/1.1 200 OK\nX-Plain-Name: 1\nX-Foobar: 2\nContent-Length: 0\n\n"
    );
}

#[test]
fn spellings_are_kept_when_asked() {
    let config = Config {
        header_key_format: HeaderKeyFormat::PreserveCase,
        ..Config::default()
    };
    let mut server = Peer::server_with(config);
    let mut input = &b"GET / HTTP/1.1\r\nHost: a\r\nX-FooBar: 1\r\nuser-AGENT: x\r\n\r\n"[..];
    let event = server
        .connection
        .receive(&mut input, &mut server.scratch, server.now)
        .unwrap();
    let Some(Event::Head { head, .. }) = event else {
        panic!("{event:?}")
    };
    let spellings: Vec<_> = head.iter().map(|field| field.spelling.unwrap()).collect();
    assert_eq!(spellings, [&b"X-FooBar"[..], b"user-AGENT"]);
    assert_eq!(head.get(KnownName::UserAgent), Some(&b"x"[..]));
}

#[test]
fn draining_says_close_with_the_next_response() {
    let mut server = Peer::server();
    server.connection.drain(server.now);
    assert!(
        !server.connection.is_closed(),
        "an idle client may be sending a request just now"
    );
    server.accept(GET);
    server.respond(1, &status(204, &[]), b"");
    assert_eq!(server.flush(), "HTTP/1.1 204 No Content\nconnection: close\n\n");
    assert!(server.connection.is_closed());
    let mut server = Peer::server();
    server.connection.go_away(ErrorCode::NO_ERROR, b"");
    assert!(server.connection.is_closed());
}

#[test]
fn a_reset_closes_without_an_answer() {
    let mut server = Peer::server();
    server.accept(GET);
    server.connection.reset(StreamId(3), ErrorCode::CANCEL);
    assert!(!server.connection.is_closed());
    server.connection.reset(StreamId(1), ErrorCode::CANCEL);
    assert!(server.connection.is_closed());
    assert_eq!(
        server.connection.send_head(StreamId(1), &status(200, &[]), true),
        Err(SendError::Closed)
    );
    assert_eq!(server.end_of_input(), []);
}
