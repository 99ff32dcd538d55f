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
    assert_eq!(refused("GET / HTTP/1.2\r\nhost: a\r\n\r\n").status(), 426);
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
    let known_only = || {
        Peer::server_with(Config {
            allow_custom_methods: false,
            ..Config::default()
        })
    };
    for method in ["get", "M-SEARCH", "QUERY", "GETX"] {
        let head = format!("{method} / HTTP/1.1\r\nhost: a\r\n\r\n");
        assert_eq!(known_only().refuse(&head), Refusal::Method, "{method}");
    }
}

#[test]
fn section_7_6_1_connection_does_not_name_where_a_message_goes() {
    for option in ["host", "close, HOST"] {
        let head = format!("GET / HTTP/1.1\r\nhost: a\r\nconnection: {option}\r\n\r\n");
        assert_eq!(refused(head), Refusal::MissingHost, "{option}");
    }
    for option in [":path", "x-forwarded-for", "a,X-Forwarded-Proto ,b"] {
        assert_eq!(
            refused(format!("GET / HTTP/1.1\r\nhost: a\r\nconnection: {option}\r\n\r\n")),
            Refusal::ConnectionOption,
            "{option}"
        );
    }
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
    for authority in [
        "user@a", "a_b", "a%41", "a!b", "a:", "a:65536", "a:+80", "a:b", "[::1]:", "[::1", "[a]", "[v1.a]", "::1",
    ] {
        let head = format!("GET http://{authority}/ HTTP/1.1\r\nhost: a\r\n\r\n");
        assert_eq!(refused(head), Refusal::InvalidHost, "{authority}");
    }
    for target in ["/\u{e9}", "/?\u{e9}", "http://a/\u{e9}"] {
        let head = format!("GET {target} HTTP/1.1\r\nhost: a\r\n\r\n");
        assert_eq!(refused(head), Refusal::Target, "{target}");
    }
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
