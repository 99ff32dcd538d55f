//! Requests that two recipients could read differently: each is refused, or read in the one way the RFC allows.

use super::*;

/// Heads (after `POST / HTTP/1.1` and `host: a`) followed by a body; none may be accepted.
const REFUSED: &[(&str, &str)] = &[
    (
        "both, either order",
        "Content-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nG",
    ),
    (
        "both, either order",
        "Transfer-Encoding: chunked\r\nContent-Length: 6\r\n\r\n0\r\n\r\nG",
    ),
    (
        "hidden by white space before the colon",
        "Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
    ),
    (
        "hidden by a tab before the colon",
        "Transfer-Encoding\t: chunked\r\n\r\n0\r\n\r\n",
    ),
    (
        "hidden by a vertical tab",
        "Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n",
    ),
    (
        "hidden by a form feed",
        "Transfer-Encoding: chunked\x0c\r\n\r\n0\r\n\r\n",
    ),
    ("hidden by a NUL", "Transfer-Encoding: chunked\0\r\n\r\n0\r\n\r\n"),
    ("hidden by folding", "Transfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n"),
    ("folded length", "Content-Length:\r\n 6\r\n\r\nabcdef"),
    (
        "hidden behind a bare LF",
        "X: y\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ),
    (
        "hidden behind a bare CR",
        "X: y\rTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ),
    ("leading white space", " Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    ("unknown coding", "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n"),
    ("quoted coding", "Transfer-Encoding: \"chunked\"\r\n\r\n0\r\n\r\n"),
    ("coding list", "Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n"),
    ("coding list", "Transfer-Encoding: identity, chunked\r\n\r\n0\r\n\r\n"),
    ("empty coding", "Transfer-Encoding:\r\n\r\n0\r\n\r\n"),
    ("leading comma", "Transfer-Encoding: , chunked\r\n\r\n0\r\n\r\n"),
    (
        "repeated coding",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ),
    (
        "two codings",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n",
    ),
    (
        "name with underscore bytes",
        "Transfer\x00-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ),
    ("two lengths", "Content-Length: 6\r\nContent-Length: 5\r\n\r\nabcdef"),
    ("equal lengths", "Content-Length: 6\r\nContent-Length: 6\r\n\r\nabcdef"),
    ("length list", "Content-Length: 6, 6\r\n\r\nabcdef"),
    ("signed length", "Content-Length: +6\r\n\r\nabcdef"),
    ("negative length", "Content-Length: -6\r\n\r\nabcdef"),
    ("hexadecimal length", "Content-Length: 0x6\r\n\r\nabcdef"),
    ("length with underscore", "Content-Length: 1_0\r\n\r\nabcdefghij"),
    (
        "length beyond 64 bits",
        "Content-Length: 18446744073709551622\r\n\r\nabcdef",
    ),
    ("length in other digits", "Content-Length: \u{666}\r\n\r\nabcdef"),
    ("empty length", "Content-Length:\r\n\r\nabcdef"),
    (
        "chunk size with prefix",
        "Transfer-Encoding: chunked\r\n\r\n0x1\r\na\r\n0\r\n\r\n",
    ),
    (
        "chunk size with sign",
        "Transfer-Encoding: chunked\r\n\r\n+1\r\na\r\n0\r\n\r\n",
    ),
    (
        "chunk size with white space",
        "Transfer-Encoding: chunked\r\n\r\n1 \r\na\r\n0\r\n\r\n",
    ),
    (
        "chunk size that overflows",
        "Transfer-Encoding: chunked\r\n\r\n10000000000000001\r\na\r\n0\r\n\r\n",
    ),
    (
        "chunk size line ended by LF",
        "Transfer-Encoding: chunked\r\n\r\n1\na\r\n0\r\n\r\n",
    ),
    (
        "chunk extension ended by LF",
        "Transfer-Encoding: chunked\r\n\r\n1;x\na\r\n0\r\n\r\n",
    ),
    (
        "chunk extension with a bare CR",
        "Transfer-Encoding: chunked\r\n\r\n1;x\ry\r\na\r\n0\r\n\r\n",
    ),
    (
        "chunk data ended by LF",
        "Transfer-Encoding: chunked\r\n\r\n1\r\na\n0\r\n\r\n",
    ),
    (
        "chunk data ended by anything",
        "Transfer-Encoding: chunked\r\n\r\n1\r\naXX0\r\n\r\n",
    ),
    (
        "trailers ended by LF",
        "Transfer-Encoding: chunked\r\n\r\n0\r\nx: y\n\n",
    ),
    (
        "length in trailers",
        "Transfer-Encoding: chunked\r\n\r\n0\r\nContent-Length: 5\r\n\r\n",
    ),
    (
        "coding in trailers",
        "Transfer-Encoding: chunked\r\n\r\n0\r\nTransfer-Encoding: chunked\r\n\r\n",
    ),
    ("two hosts", "Host: b\r\n\r\n"),
];

#[test]
fn each_of_the_corpus_is_refused() {
    for (what, rest) in REFUSED {
        let input = format!("POST / HTTP/1.1\r\nHost: a\r\n{rest}");
        let mut server = Peer::server();
        let (events, error) = server.feed(input.as_bytes());
        let error = error.unwrap_or_else(|| panic!("{what}: {events:?}"));
        let answer = error.answer.unwrap();
        assert!(matches!(answer.status, 400 | 501), "{what}: {answer:?}");
        // Whatever stands behind it is never read as a request.
        assert!(
            server.feed(b"GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n").1.is_some(),
            "{what}"
        );
        server.respond(answer.stream.0, &status(answer.status, &[]), b"");
        assert!(server.flush().contains("connection: close"), "{what}");
        assert!(server.connection.is_closed(), "{what}");
    }
}

#[test]
fn each_of_the_corpus_is_refused_in_a_response_too() {
    for (what, rest) in REFUSED.iter().filter(|(what, _)| *what != "two hosts") {
        let mut client = Peer::client_after("GET");
        let (events, error) = client.feed(format!("HTTP/1.1 200 OK\r\nServer: a\r\n{rest}").as_bytes());
        assert!(error.is_some(), "{what}: {events:?}");
        assert!(client.connection.is_closed(), "{what}");
        assert_eq!(
            client.end_of_input(),
            [Reset { refused: false }],
            "{what}: the caller's stream is reset"
        );
    }
}

#[test]
fn what_stands_behind_a_body_is_the_next_request_and_nothing_else() {
    let mut server = Peer::server();
    let input =
        "POST /1 HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /2 HTTP/1.1\r\nHost: a\r\n\r\n";
    assert_eq!(server.accept(input), [got(1, "POST http://a/1", false), data("", true)]);
    server.respond(1, &status(200, &[]), b"");
    assert_eq!(server.accept(""), [got(3, "GET http://a/2", true)]);
}
