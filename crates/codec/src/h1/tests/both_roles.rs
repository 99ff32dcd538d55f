//! RFC 9112 sections 5, 6 and 7: what holds for fields and bodies of requests and responses alike, the same tables at a
//! server and at a client.

use super::*;

/// A server, or a client that has asked; both with small limits on chunk extensions.
fn peer(is_server: bool) -> Peer {
    let config = Config {
        max_chunk_extension_bytes: 20,
        accept_http_10: true,
        ..Config::default()
    };
    if is_server {
        return Peer::server_with(config);
    }
    let mut peer = Peer::client_with(config);
    peer.request(&head("GET", "/"), true);
    peer.flush();
    peer
}

/// The start of a message, to be followed by fields.
fn start(is_server: bool) -> &'static str {
    if is_server {
        "POST / HTTP/1.1\r\nhost: a\r\n"
    } else {
        "HTTP/1.1 200 OK\r\nserver: a\r\n"
    }
}

const FIELD_FAULTS: &[(&str, &str, Refusal)] = &[
    ("5.1 a space before the colon", "x : y", Refusal::SpaceBeforeColon),
    ("5.1 a tab before the colon", "x\t: y", Refusal::SpaceBeforeColon),
    ("5 no colon", "no-colon", Refusal::HeaderName),
    ("5 no name", ": y", Refusal::HeaderName),
    ("5 a space in the name", "x y: z", Refusal::HeaderName),
    ("5 a delimiter in the name", "x(y): z", Refusal::HeaderName),
    ("5 a quote in the name", "\"x\": z", Refusal::HeaderName),
    ("5 NUL in the name", "x\0y: z", Refusal::HeaderName),
    ("5 an octet above ASCII in the name", "x\u{e9}: z", Refusal::HeaderName),
    ("5.5 NUL in the value", "x: y\0z", Refusal::HeaderValue),
    (
        "5.5 a control character in the value",
        "x: y\u{8}z",
        Refusal::HeaderValue,
    ),
    ("5.5 a vertical tab in the value", "x: y\u{b}z", Refusal::HeaderValue),
    ("5.5 DEL in the value", "x: y\u{7f}", Refusal::HeaderValue),
    ("5.2 a folded line", "x: y\r\n z", Refusal::ObsFold),
    ("5.2 a line folded by a tab", "x: y\r\n\tz", Refusal::ObsFold),
    ("5.2 a line of white space", "x: y\r\n ", Refusal::ObsFold),
    ("2.2 LF for CR LF", "x: y\nz: a", Refusal::BareLf),
    ("2.2 CR for CR LF", "x: y\rz: a", Refusal::BareCr),
    ("2.2 CR CR LF", "x: y\r\r\nz: a", Refusal::BareCr),
];

#[test]
fn section_5_faulty_fields_are_refused_in_heads_and_trailers_of_both() {
    for is_server in [true, false] {
        for &(what, line, refusal) in FIELD_FAULTS {
            let start = start(is_server);
            let head = format!("{start}{line}\r\n\r\n");
            assert_eq!(peer(is_server).refuse(head), refusal, "{what}, server: {is_server}");
            let trailers = format!("{start}transfer-encoding: chunked\r\n\r\n0\r\nt: 1\r\n{line}\r\n\r\n");
            assert_eq!(
                peer(is_server).refuse(trailers),
                refusal,
                "{what} in trailers, server: {is_server}"
            );
        }
        let valid = "x:y\r\ny:\t z \t\r\nempty:\r\n!#$%&'*+-.^_`|~0aZ: \u{e9}\ta\r\n";
        let events = peer(is_server).accept(format!("{}{valid}content-length: 0\r\n\r\n", start(is_server)));
        let Head(1, text, true) = &events[0] else {
            panic!("{events:?}")
        };
        assert!(
            text.ends_with("|x: y|y: z|empty: |!#$%&\\'*+-.^_`|~0az: \\xc3\\xa9\\ta|content-length: 0"),
            "{text}"
        );
    }
}

/// Framing fields, a body, and why it is refused.
const BODY_FAULTS: &[(&str, &str, &str, Refusal)] = &[
    (
        "6.1 both",
        "transfer-encoding: chunked\r\ncontent-length: 1",
        "",
        Refusal::ContentLengthWithTransferEncoding,
    ),
    (
        "6.1 both",
        "content-length: 1\r\ntransfer-encoding: chunked",
        "",
        Refusal::ContentLengthWithTransferEncoding,
    ),
    (
        "6.1 both, an odd coding",
        "content-length: 1\r\ntransfer-encoding: x",
        "",
        Refusal::ContentLengthWithTransferEncoding,
    ),
    (
        "6.1 chunked is not last",
        "transfer-encoding: chunked, gzip",
        "",
        Refusal::TransferEncoding,
    ),
    (
        "6.1 chunked twice",
        "transfer-encoding: chunked, chunked",
        "",
        Refusal::TransferEncoding,
    ),
    (
        "6.1 chunked on two lines",
        "transfer-encoding: chunked\r\ntransfer-encoding: chunked",
        "",
        Refusal::TransferEncoding,
    ),
    (
        "6.1 a coding we don't have",
        "transfer-encoding: gzip, chunked",
        "",
        Refusal::TransferEncoding,
    ),
    (
        "6.1 identity",
        "transfer-encoding: identity",
        "",
        Refusal::TransferEncoding,
    ),
    ("6.1 nothing", "transfer-encoding:", "", Refusal::TransferEncoding),
    (
        "6.1 with a parameter",
        "transfer-encoding: chunked;q=1",
        "",
        Refusal::TransferEncoding,
    ),
    ("6.2 a sign", "content-length: +1", "", Refusal::ContentLength),
    ("6.2 a minus", "content-length: -1", "", Refusal::ContentLength),
    ("6.2 a fraction", "content-length: 1.0", "", Refusal::ContentLength),
    ("6.2 hexadecimal", "content-length: 0x1", "", Refusal::ContentLength),
    ("6.2 a letter", "content-length: 1a", "", Refusal::ContentLength),
    ("6.2 nothing", "content-length:", "", Refusal::ContentLength),
    ("6.2 a list", "content-length: 1, 1", "", Refusal::ContentLength),
    (
        "6.2 beyond 64 bits",
        "content-length: 18446744073709551616",
        "",
        Refusal::ContentLength,
    ),
    (
        "6.3 two that differ",
        "content-length: 1\r\ncontent-length: 2",
        "",
        Refusal::DuplicateContentLength,
    ),
    (
        "6.3 two that agree",
        "content-length: 1\r\ncontent-length: 1",
        "",
        Refusal::DuplicateContentLength,
    ),
    ("7.1 no size", "transfer-encoding: chunked", "\r\n", Refusal::ChunkSize),
    (
        "7.1 no digit",
        "transfer-encoding: chunked",
        "g\r\n",
        Refusal::ChunkSize,
    ),
    (
        "7.1 a prefix",
        "transfer-encoding: chunked",
        "0x1\r\n",
        Refusal::ChunkSize,
    ),
    ("7.1 a sign", "transfer-encoding: chunked", "-1\r\n", Refusal::ChunkSize),
    (
        "7.1 white space before",
        "transfer-encoding: chunked",
        " 1\r\n",
        Refusal::ChunkSize,
    ),
    (
        "7.1 white space behind",
        "transfer-encoding: chunked",
        "1 \r\n",
        Refusal::ChunkSize,
    ),
    (
        "7.1 beyond 64 bits",
        "transfer-encoding: chunked",
        "10000000000000000\r\n",
        Refusal::ChunkSize,
    ),
    (
        "7.1 zeros without end",
        "transfer-encoding: chunked",
        "00000000000000000\r\n",
        Refusal::ChunkSize,
    ),
    (
        "7.1 LF behind the size",
        "transfer-encoding: chunked",
        "1\na\r\n",
        Refusal::BareLf,
    ),
    (
        "7.1 CR behind the size",
        "transfer-encoding: chunked",
        "1\ra\r\n",
        Refusal::BareCr,
    ),
    (
        "7.1 LF behind the data",
        "transfer-encoding: chunked",
        "1\r\na\n0\r\n\r\n",
        Refusal::ChunkEnd,
    ),
    (
        "7.1 more data than the size",
        "transfer-encoding: chunked",
        "1\r\nab\r\n0\r\n\r\n",
        Refusal::ChunkEnd,
    ),
    (
        "7.1.1 an extension ended by LF",
        "transfer-encoding: chunked",
        "1;a\nb\r\n",
        Refusal::BareLf,
    ),
    (
        "7.1.1 a control character",
        "transfer-encoding: chunked",
        "1;a\u{1}\r\n",
        Refusal::ChunkExtension,
    ),
    (
        "7.1.1 too long",
        "transfer-encoding: chunked",
        "1;aaaaaaaaaaaaaaaaaaaaaaaa\r\n",
        Refusal::ChunkExtensionsTooLarge,
    ),
    (
        "7.1.1 too long in sum",
        "transfer-encoding: chunked",
        "1;aaaaaaaaaaa\r\na\r\n1;aaaaaaaaaaa\r\n",
        Refusal::ChunkExtensionsTooLarge,
    ),
    (
        "7.1.2 a length among trailers",
        "transfer-encoding: chunked",
        "0\r\ncontent-length: 1\r\n\r\n",
        Refusal::ForbiddenTrailer,
    ),
    (
        "7.1.2 a coding among trailers",
        "transfer-encoding: chunked",
        "0\r\ntransfer-encoding: chunked\r\n\r\n",
        Refusal::ForbiddenTrailer,
    ),
    (
        "7.1.2 a host among trailers",
        "transfer-encoding: chunked",
        "0\r\nhost: b\r\n\r\n",
        Refusal::ForbiddenTrailer,
    ),
    (
        "7.1.2 a connection option among trailers",
        "transfer-encoding: chunked",
        "0\r\nconnection: close\r\n\r\n",
        Refusal::ForbiddenTrailer,
    ),
];

#[test]
fn sections_6_and_7_ambiguous_bodies_are_refused_by_both() {
    for is_server in [true, false] {
        for &(what, fields, body, refusal) in BODY_FAULTS {
            let input = format!("{}{fields}\r\n\r\n{body}", start(is_server));
            let mut peer = peer(is_server);
            assert_eq!(peer.refuse(&input), refusal, "{what}, server: {is_server}");
            // Nothing behind it is ever read as a message.
            assert!(peer.feed(b"HTTP/1.1 200 OK\r\n\r\n").1.is_some(), "{what}");
            assert!(
                !peer.connection.wants_read() && peer.connection.open_stream().is_err(),
                "{what}"
            );
        }
    }
}

/// Bodies that are fine, and what they are.
#[test]
fn sections_6_and_7_valid_bodies_are_read_by_both() {
    for is_server in [true, false] {
        for (fields, body, expected) in [
            ("content-length: 0", "", &[][..]),
            ("content-length: 3", "abc", &[data("abc", true)]),
            ("Content-Length: 003", "abc", &[data("abc", true)]),
            ("transfer-encoding: chunked", "0\r\n\r\n", &[data("", true)]),
            ("Transfer-Encoding: Chunked", "000\r\n\r\n", &[data("", true)]),
            (
                "transfer-encoding: chunked",
                "3\r\nabc\r\n0\r\n\r\n",
                &[data("abc", true)],
            ),
            (
                "transfer-encoding: chunked",
                "003;x\r\nabc\r\n0;y=\"z\"\r\n\r\n",
                &[data("abc", false), data("", true)],
            ),
            (
                "transfer-encoding: chunked",
                "1\r\na\r\nA\r\n0123456789\r\n0\r\n\r\n",
                &[data("a", false), data("0123456789", true)],
            ),
            (
                "transfer-encoding: chunked\r\ntrailer: t",
                "1\r\n\n\r\n0\r\nt: 1\r\nu: 2\r\n\r\n",
                &[data("\n", false), Trailers("t: 1|u: 2".to_owned())],
            ),
        ] {
            let events = peer(is_server).accept(format!("{}{fields}\r\n\r\n{body}", start(is_server)));
            let events: Vec<Seen> = events.into_iter().filter(|event| *event != StreamsAvailable).collect();
            assert_eq!(events[1..], *expected, "{fields}, {body:?}, server: {is_server}");
        }
        // Section 6.1: the coding is that of this hop alone.
        let events = peer(is_server).accept(format!("{}transfer-encoding: chunked\r\n\r\n", start(is_server)));
        let Head(1, text, false) = &events[0] else {
            panic!("{events:?}")
        };
        assert!(!text.contains("transfer-encoding"), "{text}");
    }
}

/// Section 8: a message that is cut off is never taken for a whole one.
#[test]
fn section_8_a_message_that_is_cut_off_is_reset_in_both() {
    for is_server in [true, false] {
        for rest in [
            "content-length: 3\r\n\r\n",
            "content-length: 3\r\n\r\nab",
            "transfer-encoding: chunked\r\n\r\n",
            "transfer-encoding: chunked\r\n\r\n3\r\nabc",
            "transfer-encoding: chunked\r\n\r\n3\r\nabc\r\n",
            "transfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n",
            "transfer-encoding: chunked\r\n\r\n0\r\nt: 1\r\n",
        ] {
            let mut peer = peer(is_server);
            peer.accept(format!("{}{rest}", start(is_server)));
            assert_eq!(
                peer.end_of_input(),
                [Reset { refused: false }],
                "{rest:?}, server: {is_server}"
            );
            assert!(peer.connection.is_closed());
        }
    }
}

/// Section 9.6: nothing is read behind a message that closes.
#[test]
fn section_9_6_what_follows_a_message_that_closes_is_not_read() {
    let mut server = peer(true);
    server.accept("GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\nGET /2 HTTP/1.1\r\nhost: a\r\n\r\n");
    server.respond(1, &status(200, &[]), b"");
    assert!(server.connection.is_closed() && server.accept("").is_empty() | !server.connection.wants_receive());
    let mut client = peer(false);
    let response = "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";
    let events = client.accept(format!("{response}{response}"));
    assert_eq!(events.iter().filter(|event| matches!(event, Head(..))).count(), 1);
    assert!(client.connection.is_closed() && client.connection.open_stream().is_err());
}
