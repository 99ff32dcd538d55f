//! RFC 9113 section 8: messages.

use super::*;

/// Section 8.
pub(super) fn messages() -> Vec<Case> {
    let mut cases = vec![
        case(
            "8.1 trailers without END_STREAM",
            Stream(PROTOCOL),
            [
                headers(1, POST, false),
                data(1, b"test", false),
                headers(1, &[("x-trailer", "1")], false),
            ],
        ),
        case(
            "8.3 a pseudo-header field in trailers",
            Stream(PROTOCOL),
            [
                headers(1, POST, false),
                data(1, b"test", false),
                headers(1, &[(":method", "GET")], true),
            ],
        ),
        case(
            "8.1.1 content longer than its length",
            Stream(PROTOCOL),
            [
                headers(1, &with(POST, &[("content-length", "1")]), false),
                data(1, b"test", true),
            ],
        ),
        case(
            "8.1.1 content in parts longer than its length",
            Stream(PROTOCOL),
            [
                headers(1, &with(POST, &[("content-length", "1")]), false),
                data(1, b"t", false),
                data(1, b"t", true),
            ],
        ),
        case(
            "8.1.1 content shorter than its length",
            Stream(PROTOCOL),
            [
                headers(1, &with(POST, &[("content-length", "9")]), false),
                data(1, b"test", true),
            ],
        ),
        case(
            "8.1.1 no content with a length",
            Stream(PROTOCOL),
            [headers(1, &with(POST, &[("content-length", "9")]), true)],
        ),
        case(
            "8.1.1 trailers before the length is reached",
            Stream(PROTOCOL),
            [
                headers(1, &with(POST, &[("content-length", "9")]), false),
                data(1, b"test", false),
                headers(1, &[("t", "1")], true),
            ],
        ),
    ];
    let wrong: &[(&str, Fields<'static>)] = &[
        ("8.2.1 upper case", &[("X-TEST", "1")]),
        ("8.2.1 a space in a name", &[("x test", "1")]),
        ("8.2.1 a colon in a name", &[("x:test", "1")]),
        ("8.2.1 an empty name", &[("", "1")]),
        ("8.2.1 LF in a value", &[("x-test", "a\nb")]),
        ("8.2.1 CR in a value", &[("x-test", "a\rb")]),
        ("8.2.1 NUL in a value", &[("x-test", "a\0b")]),
        ("8.2.1 a value that begins with a space", &[("x-test", " a")]),
        ("8.2.1 a value that ends with a tab", &[("x-test", "a\t")]),
        ("8.2.2 connection", &[("connection", "keep-alive")]),
        ("8.2.2 keep-alive", &[("keep-alive", "5")]),
        ("8.2.2 proxy-connection", &[("proxy-connection", "close")]),
        ("8.2.2 transfer-encoding", &[("transfer-encoding", "chunked")]),
        ("8.2.2 upgrade", &[("upgrade", "h2c")]),
        ("8.2.2 te other than trailers", &[("te", "trailers, deflate;q=0.5")]),
        ("8.3 an unknown pseudo-header field", &[(":test", "1")]),
        ("8.3 a response's pseudo-header field", &[(":status", "200")]),
        ("8.3 a repeated :method", &[(":method", "GET")]),
        ("8.3 a repeated :scheme", &[(":scheme", "http")]),
        ("8.3 a repeated :path", &[(":path", "/")]),
        ("8.3 a repeated :authority", &[(":authority", "test")]),
        ("8.1.1 two lengths", &[("content-length", "0"), ("content-length", "0")]),
        ("8.1.1 a length that is none", &[("content-length", "x")]),
        ("8.1.1 a length with a sign", &[("content-length", "+0")]),
        ("8.1.1 a list of lengths", &[("content-length", "0, 0")]),
        ("8.3 :protocol where it was not offered", &[(":protocol", "websocket")]),
    ];
    for (name, more) in wrong {
        cases.push(case(name, Stream(PROTOCOL), [headers(1, &with(GET, more), true)]));
    }
    let heads: &[(&str, Fields<'static>)] = &[
        (
            "8.3 a pseudo-header field behind others",
            &[
                (":method", "GET"),
                (":scheme", "http"),
                ("x", "1"),
                (":path", "/"),
                (":authority", "test"),
            ],
        ),
        (
            "8.3.1 an empty :path",
            &[
                (":method", "GET"),
                (":scheme", "http"),
                (":path", ""),
                (":authority", "test"),
            ],
        ),
        (
            "8.3.1 no :method",
            &[(":scheme", "http"), (":path", "/"), (":authority", "test")],
        ),
        (
            "8.3.1 no :scheme",
            &[(":method", "GET"), (":path", "/"), (":authority", "test")],
        ),
        (
            "8.3.1 no :path",
            &[(":method", "GET"), (":scheme", "http"), (":authority", "test")],
        ),
        ("8.3.1 an empty head", &[]),
        (
            "8.3.1 :path * of a GET",
            &[
                (":method", "GET"),
                (":scheme", "http"),
                (":path", "*"),
                (":authority", "test"),
            ],
        ),
        (
            "8.3.1 :path without its slash",
            &[
                (":method", "GET"),
                (":scheme", "http"),
                (":path", "a"),
                (":authority", "test"),
            ],
        ),
        (
            "8.3.1 a space in :path",
            &[
                (":method", "GET"),
                (":scheme", "http"),
                (":path", "/a b"),
                (":authority", "test"),
            ],
        ),
        (
            "8.3.1 a space in :method",
            &[
                (":method", "GET /"),
                (":scheme", "http"),
                (":path", "/"),
                (":authority", "test"),
            ],
        ),
        (
            "8.3.1 userinfo in :authority",
            &[
                (":method", "GET"),
                (":scheme", "http"),
                (":path", "/"),
                (":authority", "u:p@test"),
            ],
        ),
        (
            "8.5 CONNECT with :path",
            &[
                (":method", "CONNECT"),
                (":scheme", "http"),
                (":path", "/"),
                (":authority", "a:1"),
            ],
        ),
        ("8.5 CONNECT without :authority", &[(":method", "CONNECT")]),
    ];
    for (name, fields) in heads {
        cases.push(case(name, Stream(PROTOCOL), [headers(1, fields, true)]));
    }
    cases.push(case(
        "8.2.2 te: trailers",
        Answered(1),
        [headers(1, &with(GET, &[("te", "trailers")]), true)],
    ));
    cases.push(case(
        "8.2.3 cookie in crumbs",
        Answered(1),
        [headers(1, &with(GET, &[("cookie", "a=1"), ("cookie", "b=2")]), true)],
    ));
    cases.push(case(
        "8.3.1 Host in place of :authority",
        Answered(1),
        [headers(
            1,
            &[
                (":method", "GET"),
                (":scheme", "http"),
                (":path", "/"),
                ("host", "test"),
            ],
            true,
        )],
    ));
    cases
}
