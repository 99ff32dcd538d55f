//! What a server of HTTP/2 must do, section by section of RFC 9113 and RFC 7541, as far as a client can see it: the
//! cases that conformance suites make, and their neighbours.
//!
//! The server answers every request with 200 and some content, once it has the whole of it.

use crate::h2_case::Then::{Alive, Answered, Closed, Connection, Data, Stream};
use crate::h2_case::{Case, Step, case};
use crate::h2_wire::{
    ACK, CONTINUATION, DATA, END_HEADERS, END_STREAM, Fields, GET, GOAWAY, HEADERS, PADDED, PING, POST, PREFACE,
    PRIORITY, PUSH_PROMISE, RST_STREAM, SETTINGS, WINDOW_UPDATE, WITH_PRIORITY, block, data, frame, goaway, headers,
    ping, priority, rst, settings, string, window_update,
};

mod compression;
mod frame_definitions;
mod messages;

const PROTOCOL: &[&str] = &["PROTOCOL_ERROR"];
const SIZE: &[&str] = &["FRAME_SIZE_ERROR"];
const FLOW: &[&str] = &["FLOW_CONTROL_ERROR"];
const CLOSED: &[&str] = &["STREAM_CLOSED"];
const COMPRESSION: &[&str] = &["COMPRESSION_ERROR"];
/// Where the RFC can be read both ways.
const PROTOCOL_OR_CLOSED: &[&str] = &["PROTOCOL_ERROR", "STREAM_CLOSED"];
const REFUSED: &[&str] = &["REFUSED_STREAM", "PROTOCOL_ERROR"];

const MAX_31: u32 = 0x7fff_ffff;
/// Identifiers of settings (RFC 9113 section 6.5.2).
const TABLE_SIZE: u16 = 1;
const ENABLE_PUSH: u16 = 2;
const INITIAL_WINDOW: u16 = 4;
const MAX_FRAME: u16 = 5;

/// HEADERS with flags and octets of one's own.
fn raw_headers(flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    frame(HEADERS, flags, stream, payload)
}

/// GET with these octets behind its own.
fn get_and(octets: &[u8]) -> Vec<u8> {
    raw_headers(END_HEADERS | END_STREAM, 1, &[&block(GET)[..], octets].concat())
}

fn continuation(flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    frame(CONTINUATION, flags, stream, payload)
}

/// A request's fields with more.
fn with(start: Fields<'static>, more: Fields<'static>) -> Vec<(&'static str, &'static str)> {
    [start, more].concat()
}

/// A block of many fields, longer than a frame may be.
fn long_block(length: usize) -> Vec<u8> {
    let mut octets = block(GET);
    let mut number = 0;
    while octets.len() < length {
        octets.push(0);
        string(&mut octets, format!("x-dummy-{number}").as_bytes());
        string(&mut octets, &[b'a'; 1000]);
        number += 1;
    }
    octets
}

/// All of them.
#[must_use]
pub fn all() -> Vec<Case> {
    let mut all = Vec::new();
    all.extend(exchanges());
    all.extend(frames());
    all.extend(streams());
    all.extend(frame_definitions::frame_definitions());
    all.extend(frame_definitions::settings_and_pings());
    all.extend(frame_definitions::windows());
    all.extend(frame_definitions::continuations());
    all.extend(messages::messages());
    all.extend(compression::compression());
    all
}

/// What every server can.
fn exchanges() -> Vec<Case> {
    let get = || headers(1, GET, true);
    vec![
        case(
            "5.1 PRIORITY on an idle stream",
            Answered(1),
            [priority(1, 0, 255), get()],
        ),
        case(
            "5.1 PRIORITY for a stream that never comes",
            Answered(1),
            [priority(3, 0, 255), get()],
        ),
        case(
            "5.1 WINDOW_UPDATE on a half-closed (remote) stream",
            Data(1),
            [get(), window_update(1, 1)],
        )
        .with(&[(INITIAL_WINDOW, 0)]),
        case(
            "5.1 PRIORITY on a half-closed (remote) stream",
            Answered(1),
            [get(), priority(1, 0, 255)],
        ),
        case(
            "5.1 RST_STREAM on a half-closed (remote) stream",
            Alive,
            [get(), rst(1, 8)],
        ),
        case(
            "5.1 PRIORITY on a closed stream",
            Answered(1),
            [get().into(), Step::AwaitEnd, priority(1, 0, 255).into()],
        ),
        case(
            "5.1 WINDOW_UPDATE on a closed stream",
            Answered(1),
            [get().into(), Step::AwaitEnd, window_update(1, 1).into()],
        ),
        case(
            "5.1 RST_STREAM on a closed stream",
            Answered(1),
            [get().into(), Step::AwaitEnd, rst(1, 8).into()],
        ),
        case(
            "6.1 a DATA frame",
            Answered(1),
            [headers(1, POST, false), data(1, b"test", true)],
        ),
        case(
            "6.1 two DATA frames",
            Answered(1),
            [headers(1, POST, false), data(1, b"test", false), data(1, b"test", true)],
        ),
        case(
            "6.1 a padded DATA frame",
            Answered(1),
            [
                headers(1, POST, false),
                frame(DATA, PADDED | END_STREAM, 1, b"\x06test\0\0\0\0\0\0"),
            ],
        ),
        case(
            "6.1 DATA of padding alone",
            Answered(1),
            [
                headers(1, POST, false),
                frame(DATA, PADDED | END_STREAM, 1, b"\x02\0\0"),
            ],
        ),
        case(
            "6.1 an empty DATA frame that ends the stream",
            Answered(1),
            [headers(1, POST, false), data(1, b"", true)],
        ),
        case("6.2 a HEADERS frame", Answered(1), [get()]),
        case(
            "6.2 a padded HEADERS frame",
            Answered(1),
            [raw_headers(
                END_HEADERS | END_STREAM | PADDED,
                1,
                &[&[6], &block(GET)[..], &[0; 6]].concat(),
            )],
        ),
        case(
            "6.2 a HEADERS frame with priority",
            Answered(1),
            [raw_headers(
                END_HEADERS | END_STREAM | WITH_PRIORITY,
                1,
                &[&[0, 0, 0, 0, 255], &block(GET)[..]].concat(),
            )],
        ),
        case(
            "6.2 a HEADERS frame with priority and padding",
            Answered(1),
            [raw_headers(
                END_HEADERS | END_STREAM | WITH_PRIORITY | PADDED,
                1,
                &[&[4, 0x80, 0, 0, 0, 255], &block(GET)[..], &[0; 4]].concat(),
            )],
        ),
        case("6.3 weight 1", Answered(1), [priority(1, 0, 0), get()]),
        case("6.3 weight 256", Answered(1), [priority(1, 0, 255), get()]),
        case(
            "6.3 a dependency",
            Answered(3),
            [priority(1, 0, 9), priority(3, 1, 9), headers(3, GET, true)],
        ),
        case(
            "6.3 an exclusive dependency",
            Answered(3),
            [priority(3, 0x8000_0001, 9), headers(3, GET, true)],
        ),
        case(
            "6.3 PRIORITY for a higher stream, then a lower one",
            Answered(1),
            [priority(5, 0, 9), headers(1, GET, true)],
        ),
        case(
            "6.4 RST_STREAM on an open stream",
            Alive,
            [headers(1, POST, false), rst(1, 8)],
        ),
        case("6.5 SETTINGS", Answered(1), [settings(&[(3, 100)]), get()]),
        case("6.8 GOAWAY without an error", Answered(1), [get(), goaway(0, 0)]),
        case(
            "6.9 WINDOW_UPDATE of the connection",
            Answered(1),
            [window_update(0, 1), get()],
        ),
        case(
            "6.9 WINDOW_UPDATE of a stream",
            Answered(1),
            [headers(1, POST, false), window_update(1, 1), data(1, b"x", true)],
        ),
        case("8 GET", Answered(1), [get()]),
        case(
            "8 HEAD",
            Answered(1),
            [headers(
                1,
                &[
                    (":method", "HEAD"),
                    (":scheme", "http"),
                    (":path", "/"),
                    (":authority", "test"),
                ],
                true,
            )],
        ),
        case("8 POST", Answered(1), [headers(1, POST, false), data(1, b"test", true)]),
        case(
            "8 POST with trailers",
            Answered(1),
            [
                headers(1, POST, false),
                data(1, b"test", false),
                headers(1, &[("x-trailer", "1")], true),
            ],
        ),
        case(
            "8 POST with a length that is right",
            Answered(1),
            [
                headers(1, &with(POST, &[("content-length", "4")]), false),
                data(1, b"te", false),
                data(1, b"st", true),
            ],
        ),
        case(
            "8 several requests at once",
            Answered(5),
            [
                headers(1, GET, true),
                headers(3, POST, false),
                headers(5, GET, true),
                data(3, b"x", true),
            ],
        ),
        case(
            "8 a request after another",
            Answered(3),
            [get().into(), Step::AwaitEnd, headers(3, GET, true).into()],
        ),
    ]
}

/// Sections 3.4 and 4.
fn frames() -> Vec<Case> {
    let largest = [0; 16_384];
    let too_large = [0; 16_385];
    vec![
        case(
            "4.1 an unknown type",
            Answered(1),
            [frame(0x16, 0, 0, &[0; 8]), headers(1, GET, true)],
        ),
        case("4.1 unknown flags", Alive, [frame(PING, 0x16, 0, &[0; 8])]),
        case("4.1 the reserved bit", Alive, [frame(PING, 0, 0x8000_0000, &[0; 8])]),
        case(
            "4.1 the reserved bit of a stream",
            Answered(1),
            [frame(HEADERS, END_HEADERS | END_STREAM, 0x8000_0001, &block(GET))],
        ),
        case(
            "4.2 DATA of the largest size",
            Answered(1),
            [headers(1, POST, false), data(1, &largest, true)],
        ),
        case(
            "4.2 DATA above it",
            Stream(SIZE),
            [headers(1, POST, false), data(1, &too_large, true)],
        ),
        case(
            "4.2 HEADERS above it",
            Connection(SIZE),
            [raw_headers(END_HEADERS | END_STREAM, 1, &long_block(16_385))],
        ),
        case(
            "4.2 an unknown type above it",
            Connection(SIZE),
            [frame(0x16, 0, 0, &too_large)],
        ),
        case(
            "4.2 SETTINGS above it",
            Connection(SIZE),
            [settings(&[(0x1000, 1); 2731])],
        ),
        case(
            "4.3 a block that is none",
            Connection(COMPRESSION),
            [raw_headers(5, 1, &[0x40, 0x7f])],
        ),
        case(
            "4.3 PRIORITY within a block",
            Connection(PROTOCOL),
            [
                raw_headers(END_STREAM, 1, &block(GET)),
                priority(1, 0, 255),
                continuation(4, 1, &[]),
            ],
        ),
        case(
            "4.3 HEADERS of another stream within a block",
            Connection(PROTOCOL),
            [raw_headers(END_STREAM, 1, &block(GET)), headers(3, GET, true)],
        ),
        case(
            "4.3 PING within a block",
            Connection(PROTOCOL),
            [raw_headers(END_STREAM, 1, &block(GET)), ping(&[0; 8])],
        ),
        case(
            "4.3 CONTINUATION of another stream within a block",
            Connection(PROTOCOL),
            [
                raw_headers(END_STREAM, 1, &block(GET)),
                continuation(END_HEADERS, 3, &[]),
            ],
        ),
    ]
}

/// Section 5.
fn streams() -> Vec<Case> {
    let ended = |then: Vec<u8>| vec![headers(1, GET, true).into(), Step::AwaitEnd, then.into()];
    let reset = |then: Vec<u8>| [headers(1, POST, false), rst(1, 8), then];
    let half = |then: Vec<u8>| [headers(1, GET, true), then];
    let trailer = || block(&[("t", "1")]);
    vec![
        case(
            "5.1 DATA on an idle stream",
            Connection(PROTOCOL_OR_CLOSED),
            [data(1, b"test", true)],
        ),
        case("5.1 RST_STREAM on an idle stream", Connection(PROTOCOL), [rst(1, 8)]),
        case(
            "5.1 WINDOW_UPDATE on an idle stream",
            Connection(PROTOCOL),
            [window_update(1, 100)],
        ),
        case(
            "5.1 CONTINUATION on an idle stream",
            Connection(PROTOCOL),
            [continuation(END_HEADERS, 1, &trailer())],
        ),
        case(
            "5.1 DATA on a half-closed (remote) stream",
            Stream(CLOSED),
            half(data(1, b"test", true)),
        ),
        case(
            "5.1 HEADERS on a half-closed (remote) stream",
            Stream(CLOSED),
            half(headers(1, GET, true)),
        ),
        case(
            "5.1 CONTINUATION on a half-closed (remote) stream",
            Connection(PROTOCOL_OR_CLOSED),
            half(continuation(END_HEADERS, 1, &trailer())),
        ),
        case(
            "5.1 DATA after RST_STREAM",
            Stream(CLOSED),
            reset(data(1, b"test", true)),
        ),
        case(
            "5.1 HEADERS after RST_STREAM",
            Stream(CLOSED),
            reset(headers(1, GET, true)),
        ),
        case(
            "5.1 CONTINUATION after RST_STREAM",
            Connection(PROTOCOL_OR_CLOSED),
            reset(continuation(END_HEADERS, 1, &trailer())),
        ),
        case(
            "5.1 DATA on a closed stream",
            Connection(CLOSED),
            ended(data(1, b"test", true)),
        ),
        case(
            "5.1 HEADERS on a closed stream",
            Connection(CLOSED),
            ended(headers(1, GET, true)),
        ),
        case(
            "5.1 CONTINUATION on a closed stream",
            Connection(PROTOCOL_OR_CLOSED),
            ended(continuation(END_HEADERS, 1, &trailer())),
        ),
        case(
            "5.1.1 an even identifier",
            Connection(PROTOCOL),
            [headers(2, GET, true)],
        ),
        case(
            "5.1.1 a lower identifier",
            Connection(PROTOCOL),
            [headers(5, GET, true), headers(3, GET, true)],
        ),
        case(
            "5.1.2 more streams than allowed",
            Stream(REFUSED),
            (0..=100).map(|n| headers(n * 2 + 1, GET, true)),
        )
        .with(&[(INITIAL_WINDOW, 0)]),
        case(
            "5.3.1 HEADERS that depend on their own stream",
            Stream(PROTOCOL),
            [raw_headers(
                END_HEADERS | END_STREAM | WITH_PRIORITY,
                1,
                &[&[0, 0, 0, 1, 255], &block(GET)[..]].concat(),
            )],
        ),
        case(
            "5.3.1 PRIORITY on its own stream",
            Stream(PROTOCOL),
            [priority(2, 2, 255)],
        ),
        case(
            "5.3.1 PRIORITY on its own open stream",
            Stream(PROTOCOL),
            [headers(1, POST, false), priority(1, 1, 255)],
        ),
        case("5.4.1 a connection error closes", Closed, [frame(PING, 0, 3, &[0; 8])]),
        case(
            "5.4.1 GOAWAY comes first",
            Connection(PROTOCOL),
            [frame(PING, 0, 3, &[0; 8])],
        ),
        case("5.5 an extension frame", Alive, [frame(0xff, 0xff, 0, &[1; 8])]),
        case(
            "5.5 an extension frame on a stream",
            Alive,
            [frame(0xff, 0xff, 7, &[1; 8])],
        ),
        case(
            "5.5 an extension frame within a block",
            Connection(PROTOCOL),
            [raw_headers(END_STREAM, 1, &block(GET)), frame(0xff, 0, 0, &[1; 8])],
        ),
    ]
}

/// Cases that begin before the preface: what is sent first.
#[must_use]
pub fn openings() -> Vec<(&'static str, Vec<u8>)> {
    vec![
        ("3.4 no preface", b"INVALID CONNECTION PREFACE\r\n\r\n".to_vec()),
        (
            "3.4 a preface that breaks off",
            [&PREFACE[..18], b"XX\r\n\r\n", &settings(&[])].concat(),
        ),
        ("3.4 no SETTINGS after it", [PREFACE, &ping(&[0; 8])].concat()),
        (
            "3.4 HEADERS before SETTINGS",
            [PREFACE, &headers(1, GET, true)].concat(),
        ),
        (
            "3.4 an acknowledgment first",
            [PREFACE, &frame(SETTINGS, ACK, 0, &[])].concat(),
        ),
        (
            "3.4 SETTINGS of a wrong size first",
            [PREFACE, &frame(SETTINGS, 0, 0, &[0; 5])].concat(),
        ),
    ]
}
