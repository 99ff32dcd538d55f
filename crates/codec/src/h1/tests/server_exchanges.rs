//! What a client sees of our server beyond the reading of requests: persistence, responses, refusals, ends.

use super::*;

const GET: &str = "GET / HTTP/1.1\r\nhost: a\r\n\r\n";

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
