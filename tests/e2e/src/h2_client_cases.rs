//! What a client of HTTP/2 must do, as far as a server can see it: RFC 9113 and RFC 7541 section by section, from the
//! other side. Each case begins when the client's request, a GET on stream 1, has come.

use crate::h2_case::Then::{Alive, Connection, Stream};
use crate::h2_case::{Case, case};
use crate::h2_wire::{
    ACK, CONTINUATION, DATA, END_HEADERS, END_STREAM, Fields, GET, GOAWAY, HEADERS, PADDED, PING, PRIORITY,
    PUSH_PROMISE, RST_STREAM, SETTINGS, WINDOW_UPDATE, WITH_PRIORITY, block, data, frame, goaway, headers, ping,
    priority, rst, settings, window_update,
};

const PROTOCOL: &[&str] = &["PROTOCOL_ERROR"];
const SIZE: &[&str] = &["FRAME_SIZE_ERROR"];
const FLOW: &[&str] = &["FLOW_CONTROL_ERROR"];
const COMPRESSION: &[&str] = &["COMPRESSION_ERROR"];
const PROTOCOL_OR_CLOSED: &[&str] = &["PROTOCOL_ERROR", "STREAM_CLOSED"];
const MAX_31: u32 = 0x7fff_ffff;

const OK: Fields<'static> = &[(":status", "200")];

fn ok_and(more: Fields<'static>) -> Vec<(&'static str, &'static str)> {
    [OK, more].concat()
}

fn raw_headers(flags: u8, payload: &[u8]) -> Vec<u8> {
    frame(HEADERS, flags, 1, payload)
}

/// All of them: what it does, and what the client must do then.
#[must_use]
pub fn all() -> Vec<Case> {
    let mut all = answers();
    all.extend(frames());
    all.extend(settings_and_windows());
    all.extend(messages());
    all.extend(compression());
    all
}

/// What every client takes.
fn answers() -> Vec<Case> {
    vec![
        case("8 an answer", Alive, [headers(1, OK, false), data(1, b"ok", true)]),
        case("8 an answer without content", Alive, [headers(1, OK, true)]),
        case(
            "8 an answer with trailers",
            Alive,
            [
                headers(1, OK, false),
                data(1, b"ok", false),
                headers(1, &[("t", "1")], true),
            ],
        ),
        case(
            "8 interim answers",
            Alive,
            [
                headers(1, &[(":status", "103"), ("link", "</a>")], false),
                headers(1, &[(":status", "100")], false),
                headers(1, OK, false),
                data(1, b"ok", true),
            ],
        ),
        case(
            "6.1 padded DATA",
            Alive,
            [
                headers(1, OK, false),
                frame(DATA, PADDED | END_STREAM, 1, b"\x02ok\0\0"),
            ],
        ),
        case(
            "6.2 padded HEADERS with priority",
            Alive,
            [raw_headers(
                END_HEADERS | END_STREAM | PADDED | WITH_PRIORITY,
                &[&[3, 0, 0, 0, 0, 9], &block(OK)[..], &[0; 3]].concat(),
            )],
        ),
        case(
            "6.10 CONTINUATION",
            Alive,
            [
                raw_headers(END_STREAM, &block(OK)),
                frame(CONTINUATION, END_HEADERS, 1, &block(&[("a", "b")])),
            ],
        ),
        case(
            "5.5 extension frames",
            Alive,
            [frame(0xbe, 0xff, 1, b"octets"), headers(1, OK, true)],
        ),
        case("6.3 PRIORITY", Alive, [priority(1, 0, 9), headers(1, OK, true)]),
        case("6.4 RST_STREAM", Alive, [rst(1, 2)]),
        case("6.4 RST_STREAM with an unknown code", Alive, [rst(1, 0xffff)]),
        case(
            "6.5 an unknown setting",
            Alive,
            [settings(&[(0xff, 1)]), headers(1, OK, true)],
        ),
        case(
            "6.7 an answer nobody waits for",
            Alive,
            [frame(PING, ACK, 0, b"unasked!"), headers(1, OK, true)],
        ),
        case(
            "6.9 WINDOW_UPDATE",
            Alive,
            [window_update(1, 9), window_update(0, 9), headers(1, OK, true)],
        ),
        case(
            "6.8 GOAWAY without an error, then the answer",
            Alive,
            [goaway(1, 0), headers(1, OK, false)],
        ),
        case(
            "6.8 GOAWAY with an unknown code, then the answer",
            Alive,
            [goaway(1, 0xff), headers(1, OK, false)],
        ),
    ]
}

/// Sections 4 to 6.
fn frames() -> Vec<Case> {
    let too_large = [0; 16_385];
    let on_zero = |kind: u8, payload: &[u8]| frame(kind, END_HEADERS, 0, payload);
    vec![
        case(
            "4.2 DATA that is too large",
            Stream(SIZE),
            [headers(1, OK, false), data(1, &too_large, true)],
        ),
        case(
            "4.2 HEADERS that are too large",
            Connection(SIZE),
            [raw_headers(END_HEADERS, &too_large)],
        ),
        case(
            "4.3 PING within a block",
            Connection(PROTOCOL),
            [raw_headers(0, &block(OK)), ping(&[0; 8])],
        ),
        case(
            "4.3 HEADERS of another stream within a block",
            Connection(PROTOCOL),
            [raw_headers(0, &block(OK)), headers(3, OK, true)],
        ),
        case(
            "5.1 DATA on an idle stream",
            Connection(PROTOCOL_OR_CLOSED),
            [data(99, b"x", true)],
        ),
        case(
            "5.1 HEADERS on an idle stream",
            Connection(PROTOCOL),
            [headers(99, OK, true)],
        ),
        case("5.1 RST_STREAM on an idle stream", Connection(PROTOCOL), [rst(99, 8)]),
        case(
            "5.1 WINDOW_UPDATE on an idle stream",
            Connection(PROTOCOL),
            [window_update(99, 1)],
        ),
        case(
            "5.1.1 HEADERS of a server's own stream",
            Connection(PROTOCOL),
            [headers(2, OK, true)],
        ),
        case(
            "5.1 DATA on a closed stream",
            Stream(&["STREAM_CLOSED"]),
            [headers(1, OK, true), data(1, b"x", true)],
        ),
        case(
            "5.1 HEADERS on a closed stream",
            Stream(&["STREAM_CLOSED"]),
            [headers(1, OK, true), headers(1, OK, true)],
        ),
        case("6.1 DATA on stream 0", Connection(PROTOCOL), [on_zero(DATA, b"x")]),
        case(
            "6.1 padding longer than its DATA",
            Connection(PROTOCOL),
            [headers(1, OK, false), frame(DATA, PADDED, 1, b"\x06test")],
        ),
        case(
            "6.2 HEADERS on stream 0",
            Connection(PROTOCOL),
            [on_zero(HEADERS, &block(OK))],
        ),
        case(
            "6.2 padding longer than its HEADERS",
            Connection(PROTOCOL),
            [raw_headers(END_HEADERS | PADDED, &[9, 0x88])],
        ),
        case("6.3 PRIORITY on stream 0", Connection(PROTOCOL), [priority(0, 1, 9)]),
        case(
            "6.3 PRIORITY of 4 octets",
            Stream(SIZE),
            [frame(PRIORITY, 0, 1, &[0; 4])],
        ),
        case("6.4 RST_STREAM on stream 0", Connection(PROTOCOL), [rst(0, 8)]),
        case(
            "6.4 RST_STREAM of 3 octets",
            Connection(SIZE),
            [frame(RST_STREAM, 0, 1, &[0; 3])],
        ),
        case(
            "6.6 PUSH_PROMISE",
            Connection(PROTOCOL),
            [frame(
                PUSH_PROMISE,
                END_HEADERS,
                1,
                &[&[0, 0, 0, 2], &block(GET)[..]].concat(),
            )],
        ),
        case(
            "6.10 CONTINUATION alone",
            Connection(PROTOCOL),
            [frame(CONTINUATION, END_HEADERS, 1, &block(OK))],
        ),
        case(
            "6.10 CONTINUATION after END_HEADERS",
            Connection(PROTOCOL),
            [
                headers(1, OK, false),
                frame(CONTINUATION, END_HEADERS, 1, &block(&[("a", "b")])),
            ],
        ),
    ]
}

/// Sections 6.5 to 6.9.
fn settings_and_windows() -> Vec<Case> {
    vec![
        case(
            "6.5 SETTINGS on a stream",
            Connection(PROTOCOL),
            [frame(SETTINGS, 0, 1, &[])],
        ),
        case(
            "6.5 SETTINGS of 3 octets",
            Connection(SIZE),
            [frame(SETTINGS, 0, 0, &[0; 3])],
        ),
        case(
            "6.5 an acknowledgment with a payload",
            Connection(SIZE),
            [frame(SETTINGS, ACK, 0, &[0; 6])],
        ),
        case(
            "6.5.2 a server's ENABLE_PUSH 1",
            Connection(PROTOCOL),
            [settings(&[(2, 1)])],
        ),
        case(
            "6.5.2 INITIAL_WINDOW_SIZE 2^31",
            Connection(FLOW),
            [settings(&[(4, MAX_31 + 1)])],
        ),
        case(
            "6.5.2 MAX_FRAME_SIZE 2^14-1",
            Connection(PROTOCOL),
            [settings(&[(5, 16_383)])],
        ),
        case(
            "6.5.2 MAX_FRAME_SIZE 2^24",
            Connection(PROTOCOL),
            [settings(&[(5, 1 << 24)])],
        ),
        case(
            "6.7 PING on a stream",
            Connection(PROTOCOL),
            [frame(PING, 0, 1, &[0; 8])],
        ),
        case("6.7 PING of 6 octets", Connection(SIZE), [frame(PING, 0, 0, &[0; 6])]),
        case(
            "6.8 GOAWAY on a stream",
            Connection(PROTOCOL),
            [frame(GOAWAY, 0, 1, &[0; 8])],
        ),
        case(
            "6.9 the connection's window by 0",
            Connection(PROTOCOL),
            [window_update(0, 0)],
        ),
        case(
            "6.9 WINDOW_UPDATE of 3 octets",
            Connection(SIZE),
            [frame(WINDOW_UPDATE, 0, 0, &[0; 3])],
        ),
        case(
            "6.9.1 the connection's window above 2^31-1",
            Connection(FLOW),
            [window_update(0, MAX_31), window_update(0, MAX_31)],
        ),
    ]
}

/// Section 8.
fn messages() -> Vec<Case> {
    let answer = |name: &str, fields: Fields<'_>| case(name, Stream(PROTOCOL), [headers(1, fields, false)]);
    let mut cases = vec![
        answer("8.3.2 no :status", &[("a", "b")]),
        answer("8.3.2 a :status of two digits", &[(":status", "20")]),
        answer("8.3.2 a :status that is none", &[(":status", "abc")]),
        answer("8.3.2 two :status", &[(":status", "200"), (":status", "200")]),
        answer(
            "8.3 a request's pseudo-header field",
            &[(":status", "200"), (":path", "/")],
        ),
        answer(
            "8.3 a pseudo-header field behind others",
            &[("a", "b"), (":status", "200")],
        ),
        case("8.1 DATA before HEADERS", Stream(PROTOCOL), [data(1, b"x", true)]),
        case(
            "8.1 an interim answer that ends the stream",
            Stream(PROTOCOL),
            [headers(1, &[(":status", "103")], true)],
        ),
        case(
            "8.1 trailers without END_STREAM",
            Stream(PROTOCOL),
            [
                headers(1, OK, false),
                data(1, b"x", false),
                headers(1, &[("t", "1")], false),
            ],
        ),
        case(
            "8.3 a pseudo-header field in trailers",
            Stream(PROTOCOL),
            [headers(1, OK, false), data(1, b"x", false), headers(1, OK, true)],
        ),
        case(
            "8.1.1 content longer than its length",
            Stream(PROTOCOL),
            [
                headers(1, &ok_and(&[("content-length", "1")]), false),
                data(1, b"xy", true),
            ],
        ),
        case(
            "8.1.1 content shorter than its length",
            Stream(PROTOCOL),
            [
                headers(1, &ok_and(&[("content-length", "3")]), false),
                data(1, b"xy", true),
            ],
        ),
        case(
            "8.1.1 a length without content",
            Stream(PROTOCOL),
            [headers(1, &ok_and(&[("content-length", "3")]), true)],
        ),
        case(
            "8.1.1 content of a 204",
            Stream(PROTOCOL),
            [headers(1, &[(":status", "204")], false), data(1, b"xy", true)],
        ),
    ];
    let wrong: &[(&str, Fields<'static>)] = &[
        ("8.2.1 upper case", &[("X-Test", "1")]),
        ("8.2.1 LF in a value", &[("x", "a\nb")]),
        ("8.2.1 NUL in a value", &[("x", "a\0b")]),
        ("8.2.2 connection", &[("connection", "close")]),
        ("8.2.2 transfer-encoding", &[("transfer-encoding", "chunked")]),
        ("8.2.2 upgrade", &[("upgrade", "h2c")]),
        ("8.1.1 two lengths", &[("content-length", "1"), ("content-length", "1")]),
        ("8.1.1 a length with a sign", &[("content-length", "-1")]),
    ];
    for (name, more) in wrong {
        cases.push(answer(name, &ok_and(more)));
    }
    cases
}

/// RFC 7541.
fn compression() -> Vec<Case> {
    let bad = |name: &str, octets: &[u8]| {
        let head = [&block(OK)[..], octets].concat();
        case(name, Connection(COMPRESSION), [raw_headers(END_HEADERS, &head)])
    };
    vec![
        bad("2.3.3 an index beyond both tables", &[0xc6]),
        bad("4.2 a size update at the end", &[0x20]),
        bad("5.2 padding of zeros", &[0, 1, b'x', 0x83, 0x49, 0x50, 0x90]),
        bad("6.1 index 0", &[0x80]),
        case(
            "6.3 a size above the limit",
            Connection(COMPRESSION),
            [raw_headers(
                END_HEADERS,
                &[&[0x3f, 0xe2, 0x1f], &block(OK)[..]].concat(),
            )],
        ),
    ]
}
