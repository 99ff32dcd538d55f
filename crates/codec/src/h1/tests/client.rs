//! RFC 9112 as a server sees it of our client, by section.

use super::*;

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";

fn refused(response: impl AsRef<[u8]>) -> Refusal {
    Peer::client_after("GET").refuse(response)
}

fn written(head: &HeaderBlock, end_stream: bool) -> String {
    let mut client = Peer::client_with(Config::default());
    client.request(head, end_stream);
    client.flush()
}

#[test]
fn section_2_1_a_request_is_written_and_a_response_read() {
    let mut client = Peer::client_with(Config::default());
    assert_eq!(client.connection.streams_available(), 1);
    let stream = client.request(
        &with(head("POST", "/p?q"), &[("x-name", "1"), ("content-length", "2")]),
        false,
    );
    assert_eq!((stream, client.connection.streams_available()), (StreamId(1), 0));
    assert_eq!(client.connection.open_stream(), Err(OpenError::Busy));
    client.connection.send_data(stream, b"hi", true).unwrap();
    assert_eq!(
        client.flush(),
        "POST /p?q HTTP/1.1\nhost: a.example\nx-name: 1\ncontent-length: 2\n\nhi"
    );
    let events = client.accept("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX-A: b\r\n\r\nhello");
    assert_eq!(
        events,
        [
            got(1, "200|content-length: 5|x-a: b", false),
            data("hello", true),
            StreamsAvailable
        ]
    );
    assert_eq!(client.connection.open_stream(), Ok(StreamId(3)));
}

#[test]
fn section_3_2_host_comes_first_and_always() {
    assert_eq!(
        written(&with(head("GET", "/"), &[("host", "other")]), true),
        "GET / HTTP/1.1\nhost: a.example\n\n"
    );
    let mut bare = head("GET", "/");
    bare.remove_pseudo(KnownName::Authority);
    assert_eq!(written(&bare, true), "GET / HTTP/1.1\nhost: \n\n");
    let with_host = with(bare, &[("x", "1"), ("host", "b")]);
    assert_eq!(written(&with_host, true), "GET / HTTP/1.1\nx: 1\nhost: b\n\n");
}

#[test]
fn section_3_2_2_targets_can_be_fully_qualified() {
    let mut client = Peer::client_with(Config {
        send_fully_qualified_url: true,
        ..Config::default()
    });
    client.request(&head("GET", "/p"), true);
    assert_eq!(client.flush(), "GET http://a.example/p HTTP/1.1\nhost: a.example\n\n");
}

#[test]
fn requests_that_cannot_be_written_are_not() {
    let check = |change: &dyn Fn(&mut HeaderBlock)| {
        let mut client = Peer::client_with(Config::default());
        let mut head = head("GET", "/");
        change(&mut head);
        let stream = client.connection.open_stream().unwrap();
        let result = client.connection.send_head(stream, &head, true);
        assert_eq!(client.flush(), "");
        result
    };
    let invalid = Err(SendError::InvalidHead);
    assert_eq!(check(&|head| head.set_method(b"G ET")), invalid);
    assert_eq!(check(&|head| head.remove_pseudo(KnownName::Method)), invalid);
    assert_eq!(check(&|head| head.set_path(b"")), invalid);
    assert_eq!(check(&|head| head.set_path(b"/a b")), invalid);
    assert_eq!(check(&|head| head.set_path(b"/ HTTP/1.1\r\nx: y")), invalid);
    assert_eq!(check(&|head| head.set_authority(b"a\r\nx: y")), invalid);
    assert_eq!(check(&|head| head.append("x", b"a\r\nb")), invalid);
    assert_eq!(check(&|head| head.append("content-length", b"x")), invalid);
    assert_eq!(
        check(&|head| head.append("content-length", b"1")),
        Err(SendError::LengthMismatch)
    );
}

#[test]
fn section_6_requests_are_framed_by_length_or_chunks() {
    // RFC 9110 section 8.6: a length of 0 where the method anticipates content.
    assert_eq!(
        written(&head("POST", "/"), true),
        "POST / HTTP/1.1\nhost: a.example\ncontent-length: 0\n\n"
    );
    assert_eq!(written(&head("GET", "/"), true), "GET / HTTP/1.1\nhost: a.example\n\n");
    let chunked = "POST / HTTP/1.1\nhost: a.example\ntransfer-encoding: chunked\n\n";
    assert_eq!(written(&head("POST", "/"), false), chunked);
    let hop_by_hop = [
        ("connection", "x"),
        ("keep-alive", "1"),
        ("transfer-encoding", "gzip"),
        ("proxy-connection", "x"),
        ("http2-settings", "x"),
    ];
    assert_eq!(written(&with(head("POST", "/"), &hop_by_hop), false), chunked);
    // RFC 9110 section 10.1.4.
    let te = with(head("GET", "/"), &[("te", "trailers")]);
    assert_eq!(
        written(&te, true),
        "GET / HTTP/1.1\nhost: a.example\nte: trailers\nconnection: te\n\n"
    );
}

#[test]
fn rfc_9113_section_8_2_3_cookies_are_joined() {
    let cookies = with(
        head("GET", "/"),
        &[("cookie", "a=1"), ("x", "1"), ("cookie", "b=2"), ("cookie", "c=3")],
    );
    assert_eq!(
        written(&cookies, true),
        "GET / HTTP/1.1\nhost: a.example\ncookie: a=1; b=2; c=3\nx: 1\n\n"
    );
}

#[test]
fn section_4_status_lines() {
    for (line, refusal) in [
        ("HTTP/2.0 200 OK", Refusal::VersionNotSupported),
        ("http/1.1 200 OK", Refusal::StatusLine),
        ("HTTP/1.1 20 OK", Refusal::StatusLine),
        ("HTTP/1.1 abc OK", Refusal::StatusLine),
        ("HTTP/1.1 099 OK", Refusal::StatusLine),
        ("HTTP/1.1  200 OK", Refusal::StatusLine),
        ("HTTP/1.1 2000 OK", Refusal::StatusLine),
        ("ICY 200 OK", Refusal::StatusLine),
    ] {
        assert_eq!(refused(format!("{line}\r\n\r\n")), refusal, "{line}");
    }
    assert_eq!(refused([0x15, 0x03, 0x03]), Refusal::TlsRecord);
    assert_eq!(refused([0x00, 0x00, 0x12, 0x04]), Refusal::Http2Preface);
    // Without a reason, and without the space before it, as section 4 tells clients to accept.
    for line in ["HTTP/1.1 299 ", "HTTP/1.1 299"] {
        let events = Peer::client_after("GET").accept(format!("{line}\r\ncontent-length: 0\r\n\r\n"));
        assert_eq!(events[0], got(1, "299|content-length: 0", true));
    }
}

#[test]
fn section_5_faulty_fields_are_refused() {
    let field = |line: &str| refused(format!("HTTP/1.1 200 OK\r\n{line}\r\n\r\n"));
    assert_eq!(field("x : y"), Refusal::SpaceBeforeColon);
    assert_eq!(field("x: y\r\n z"), Refusal::ObsFold);
    assert_eq!(field("x: y\nz: a"), Refusal::BareLf);
    assert_eq!(field("no colon"), Refusal::HeaderName);
    assert_eq!(field("x: \0"), Refusal::HeaderValue);
    assert_eq!(
        refused(format!("HTTP/1.1 200 OK\r\n{}", "x: y\r\n".repeat(101))),
        Refusal::TooManyHeaders
    );
    assert_eq!(
        refused(format!("HTTP/1.1 200 OK\r\nx: {}", "y".repeat(61 * 1024))),
        Refusal::HeadersTooLarge
    );
}

#[test]
fn section_6_3_rule_1_responses_without_body() {
    for response in [
        "204 No Content\r\n",
        "304 Not Modified\r\ncontent-length: 5\r\n",
        "304 x\r\ntransfer-encoding: chunked\r\n",
    ] {
        let mut client = Peer::client_after("GET");
        let events = client.accept(format!("HTTP/1.1 {response}\r\n"));
        assert!(
            matches!(&events[..], [Head(1, _, true), StreamsAvailable]),
            "{events:?}"
        );
    }
    // RFC 9110 section 8.6: a 204 has no length.
    let events = Peer::client_after("GET").accept("HTTP/1.1 204 x\r\ncontent-length: 5\r\n\r\n");
    assert_eq!(events[0], got(1, "204", true));
    let mut client = Peer::client_after("HEAD");
    let events = client.accept("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n");
    assert_eq!(events, [got(1, "200|content-length: 5", true), StreamsAvailable]);
}

#[test]
fn section_6_3_rules_3_to_6_lengths() {
    let field = |lines: &str| refused(format!("HTTP/1.1 200 OK\r\n{lines}\r\n\r\n"));
    assert_eq!(
        field("content-length: 5\r\ntransfer-encoding: chunked"),
        Refusal::ContentLengthWithTransferEncoding
    );
    assert_eq!(field("transfer-encoding: gzip, chunked"), Refusal::TransferEncoding);
    assert_eq!(
        field("content-length: 5\r\ncontent-length: 5"),
        Refusal::DuplicateContentLength
    );
    assert_eq!(field("content-length: 5, 5"), Refusal::ContentLength);
    assert_eq!(
        refused("HTTP/1.0 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"),
        Refusal::TransferEncodingInHttp10
    );
}

#[test]
fn section_6_3_rule_8_a_response_may_last_until_the_close() {
    let mut client = Peer::client_after("GET");
    let events = client.accept("HTTP/1.1 200 OK\r\n\r\nhello");
    assert_eq!(events, [got(1, "200", false), data("hello", false)]);
    assert_eq!(client.accept("more"), [data("more", false)]);
    assert_eq!(client.end_of_input(), [data("", true)]);
    assert!(client.connection.is_closed());
}

#[test]
fn section_7_1_chunked_responses_with_trailers() {
    let mut client = Peer::client_after("GET");
    let events =
        client.accept("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\ngrpc-status: 0\r\n\r\n");
    assert_eq!(
        events,
        [
            got(1, "200", false),
            data("abc", false),
            Trailers("grpc-status: 0".to_owned()),
            StreamsAvailable
        ]
    );
    assert_eq!(
        refused("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nabc\r\n0\r\n\r\n"),
        Refusal::ChunkEnd
    );
}

#[test]
fn section_8_an_incomplete_response_is_a_reset() {
    for response in [
        "",
        "HTTP/1.1 2",
        "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhel",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\nx: 1\r\n",
        "HTTP/1.1 100 Continue\r\n\r\n",
    ] {
        let mut client = Peer::client_after("GET");
        client.accept(response);
        assert_eq!(client.end_of_input(), [Reset { refused: false }], "{response}");
        assert!(client.connection.is_closed());
    }
}

#[test]
fn a_request_of_which_nothing_was_flushed_was_not_processed() {
    let mut client = Peer::client_with(Config::default());
    client.request(&head("GET", "/"), true);
    assert_eq!(client.end_of_input(), [Reset { refused: true }]);
    let mut client = Peer::client_with(Config::default());
    client.request(&head("GET", "/"), true);
    client.flush_some(1);
    assert_eq!(client.end_of_input(), [Reset { refused: false }]);
}

#[test]
fn section_9_2_bytes_without_a_request_are_refused() {
    assert_eq!(
        Peer::client_with(Config::default()).refuse(OK),
        Refusal::UnsolicitedResponse
    );
    let mut client = Peer::client_after("GET");
    assert_eq!(client.refuse(format!("{OK}{OK}")), Refusal::UnsolicitedResponse);
    assert!(client.connection.is_closed());
    assert_eq!(
        Peer::client_after("HEAD").refuse("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi"),
        Refusal::UnsolicitedResponse
    );
    // A stream that is open but has not sent its head has asked for nothing.
    let mut client = Peer::client_with(Config::default());
    client.connection.open_stream().unwrap();
    assert_eq!(client.refuse(OK), Refusal::UnsolicitedResponse);
}

#[test]
fn section_9_3_persistence() {
    let after = |response: &str| {
        let mut client = Peer::client_after("GET");
        let events = client.accept(response);
        (client.connection.is_closed(), events.contains(&StreamsAvailable))
    };
    assert_eq!(after(OK), (false, true));
    assert_eq!(
        after("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"),
        (true, false)
    );
    assert_eq!(after("HTTP/1.0 200 OK\r\ncontent-length: 0\r\n\r\n"), (true, false));
    assert_eq!(
        after("HTTP/1.0 200 OK\r\nconnection: keep-alive\r\ncontent-length: 0\r\n\r\n"),
        (false, true)
    );
}

#[test]
fn a_response_before_the_end_of_the_request_lets_it_finish_and_closes() {
    let mut client = Peer::client_with(Config::default());
    let stream = client.request(&head("POST", "/"), false);
    assert_eq!(
        client.accept("HTTP/1.1 413 x\r\ncontent-length: 0\r\n\r\n"),
        [got(1, "413|content-length: 0", true)]
    );
    assert!(!client.connection.is_closed() && client.connection.is_draining());
    client.connection.send_data(stream, b"rest", true).unwrap();
    assert!(client.connection.is_closed());
    assert!(client.flush().ends_with("4\nrest\n0\n\n"));
}

#[test]
fn rfc_9110_section_15_2_any_number_of_interim_responses_within_reason() {
    let mut client = Peer::client_after("GET");
    let events = client.accept(format!(
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 x\r\nlink: a\r\n\r\n{OK}"
    ));
    assert_eq!(
        events,
        [
            Informational("100".to_owned()),
            Informational("103|link: a".to_owned()),
            got(1, "200|content-length: 0", true),
            StreamsAvailable
        ]
    );
    assert_eq!(
        refused("HTTP/1.1 102 x\r\n\r\n".repeat(101)),
        Refusal::TooManyInformational
    );
}

#[test]
fn a_reset_closes_unless_nothing_was_sent() {
    let mut client = Peer::client_after("GET");
    client.connection.reset(StreamId(1), ErrorCode::CANCEL);
    assert!(client.connection.is_closed());
    assert_eq!(client.connection.open_stream(), Err(OpenError::Closed));
    let mut client = Peer::client_with(Config::default());
    let stream = client.connection.open_stream().unwrap();
    client.connection.reset(stream, ErrorCode::CANCEL);
    assert_eq!(client.next_events(), [StreamsAvailable]);
    assert_eq!(client.connection.open_stream(), Ok(StreamId(3)));
}

#[test]
fn draining_ends_with_the_exchange_in_progress() {
    let mut client = Peer::client_after("GET");
    client.connection.drain(client.now);
    assert!(!client.connection.is_closed());
    assert_eq!(client.accept(OK), [got(1, "200|content-length: 0", true), Closed]);
    assert_eq!(client.connection.open_stream(), Err(OpenError::Closed));
    let mut idle = Peer::client_with(Config::default());
    idle.connection.drain(idle.now);
    assert!(idle.connection.is_closed());
    assert_eq!(Peer::server().connection.open_stream(), Err(OpenError::Server));
}
