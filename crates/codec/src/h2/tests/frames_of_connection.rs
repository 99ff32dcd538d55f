//! RFC 9113 sections 4 to 6 and RFC 7541: what ends the connection, the same tables at a server and at a client.

use super::script::*;
use super::states::*;
use crate::event::ErrorCode;
use crate::h2::frame;

/// Sections 4, 5.1.1 and 6: the frames of the connection, and what holds for frames of any type.
#[test]
fn frames_of_the_connection_are_held_to_their_rules_by_both_roles() {
    let parameter = |id: u16, value: u32| settings(&[(id, value)]);
    let large = |kind, stream| frame(kind, 0, stream, &[0; 16_385]);
    let padded = |kind, payload: &[u8]| frame(kind, frame::PADDED | frame::END_HEADERS, 1, payload);
    let table = [
        (
            "4.1 the reserved bit",
            [&ping(b"reserved")[..5], &[0x80, 0, 0, 0], b"reserved"].concat(),
            Nothing,
        ),
        ("4.1 undefined flags", frame(frame::PING, 0xfe, 0, b"any data"), Nothing),
        (
            "4.2 DATA over the frame size",
            large(frame::DATA, 1),
            EndConnection(SIZE),
        ),
        (
            "4.2 HEADERS over the frame size",
            large(frame::HEADERS, 1),
            EndConnection(SIZE),
        ),
        (
            "4.2 SETTINGS over the frame size",
            large(frame::SETTINGS, 0),
            EndConnection(SIZE),
        ),
        (
            "4.2 an unknown type over the frame size",
            large(0xbe, 0),
            EndConnection(SIZE),
        ),
        (
            "4.3 a block that can't be decoded",
            frame(frame::HEADERS, 5, 1, &[0x80]),
            EndConnection(ErrorCode::COMPRESSION_ERROR),
        ),
        (
            "4.3 a string cut off",
            frame(frame::HEADERS, 5, 1, &[0, 5, b'a']),
            EndConnection(ErrorCode::COMPRESSION_ERROR),
        ),
        (
            "RFC 7541 2.3.3 an index out of range",
            frame(frame::HEADERS, 5, 1, &[0xff, 0x80, 1]),
            EndConnection(ErrorCode::COMPRESSION_ERROR),
        ),
        (
            "RFC 7541 4.2 a size update behind a field",
            frame(frame::HEADERS, 5, 1, &[0x88, 0x20]),
            EndConnection(ErrorCode::COMPRESSION_ERROR),
        ),
        (
            "RFC 7541 5.2 Huffman padding over 7 bits",
            frame(frame::HEADERS, 5, 1, &[0, 0x82, 0x1f, 0xff, 0]),
            EndConnection(ErrorCode::COMPRESSION_ERROR),
        ),
        (
            "RFC 7541 5.2 Huffman padding of zeros",
            frame(frame::HEADERS, 5, 1, &[0, 0x81, 0x18, 0]),
            EndConnection(ErrorCode::COMPRESSION_ERROR),
        ),
        (
            "RFC 7541 5.2 Huffman EOS",
            frame(frame::HEADERS, 5, 1, &[0, 0x84, 0xff, 0xff, 0xff, 0xff, 0]),
            EndConnection(ErrorCode::COMPRESSION_ERROR),
        ),
        (
            "RFC 7541 6.1 index 0",
            frame(frame::HEADERS, 5, 1, &[0x80]),
            EndConnection(ErrorCode::COMPRESSION_ERROR),
        ),
        (
            "RFC 7541 6.3 a size update over the limit",
            frame(frame::HEADERS, 5, 1, &[0x3f, 0xe2, 0x1f]),
            EndConnection(ErrorCode::COMPRESSION_ERROR),
        ),
        (
            "5.1.1 HEADERS on an even stream",
            headers(2, GET, true),
            EndConnection(PROTOCOL),
        ),
        ("6.1 DATA on stream 0", data(0, b"x", false), EndConnection(PROTOCOL)),
        (
            "6.1 DATA with padding over its length",
            padded(frame::DATA, &[6, 1, 2, 3, 4, 5]),
            EndConnection(PROTOCOL),
        ),
        (
            "6.1 DATA without its pad length",
            padded(frame::DATA, b""),
            EndConnection(SIZE),
        ),
        (
            "6.2 HEADERS on stream 0",
            headers(0, GET, true),
            EndConnection(PROTOCOL),
        ),
        (
            "6.2 HEADERS with padding over its length",
            padded(frame::HEADERS, &[6, 1, 2, 3, 4, 5]),
            EndConnection(PROTOCOL),
        ),
        (
            "6.2 HEADERS without its pad length",
            padded(frame::HEADERS, b""),
            EndConnection(SIZE),
        ),
        (
            "6.2 HEADERS without its priority",
            frame(frame::HEADERS, 0x24, 1, &[0; 4]),
            EndConnection(SIZE),
        ),
        (
            "6.3 PRIORITY on stream 0",
            frame(frame::PRIORITY, 0, 0, &[0; 5]),
            EndConnection(PROTOCOL),
        ),
        (
            "6.4 RST_STREAM on stream 0",
            rst(0, ErrorCode::CANCEL),
            EndConnection(PROTOCOL),
        ),
        (
            "6.5 SETTINGS on a stream",
            frame(frame::SETTINGS, 0, 1, b""),
            EndConnection(PROTOCOL),
        ),
        (
            "6.5 SETTINGS of 5 octets",
            frame(frame::SETTINGS, 0, 0, &[0; 5]),
            EndConnection(SIZE),
        ),
        (
            "6.5 an acknowledgment with content",
            frame(frame::SETTINGS, frame::ACK, 0, &[0; 6]),
            EndConnection(SIZE),
        ),
        ("6.5.2 ENABLE_PUSH of 2", parameter(2, 2), EndConnection(PROTOCOL)),
        (
            "6.5.2 INITIAL_WINDOW_SIZE over 2^31-1",
            parameter(4, 1 << 31),
            EndConnection(FLOW),
        ),
        (
            "6.5.2 MAX_FRAME_SIZE below 2^14",
            parameter(5, 16_383),
            EndConnection(PROTOCOL),
        ),
        (
            "6.5.2 MAX_FRAME_SIZE over 2^24-1",
            parameter(5, 1 << 24),
            EndConnection(PROTOCOL),
        ),
        ("6.5.2 an unknown parameter", parameter(0xff, 1), Tell),
        ("6.5.3 the same parameter twice", settings(&[(4, 100), (4, 1)]), Tell),
        (
            "6.5.3 an acknowledgment too many",
            settings_ack(),
            EndConnection(PROTOCOL),
        ),
        (
            "RFC 8441 3 ENABLE_CONNECT_PROTOCOL of 2",
            parameter(8, 2),
            EndConnection(PROTOCOL),
        ),
        (
            "6.6 PUSH_PROMISE on stream 0",
            frame(frame::PUSH_PROMISE, 4, 0, &[0, 0, 0, 2]),
            EndConnection(PROTOCOL),
        ),
        (
            "6.7 PING on a stream",
            frame(frame::PING, 0, 1, &[0; 8]),
            EndConnection(PROTOCOL),
        ),
        (
            "6.7 PING of 6 octets",
            frame(frame::PING, 0, 0, &[0; 6]),
            EndConnection(SIZE),
        ),
        (
            "6.7 an answer nobody waits for",
            frame(frame::PING, frame::ACK, 0, &[0; 8]),
            Tell,
        ),
        (
            "6.8 GOAWAY on a stream",
            frame(frame::GOAWAY, 0, 1, &[0; 8]),
            EndConnection(PROTOCOL),
        ),
        (
            "6.8 GOAWAY of 7 octets",
            frame(frame::GOAWAY, 0, 0, &[0; 7]),
            EndConnection(SIZE),
        ),
        (
            "6.8 GOAWAY with debug data",
            goaway(1, ErrorCode::NO_ERROR, b"bye"),
            Tell,
        ),
        ("6.9 WINDOW_UPDATE of the connection", window_update(0, 1), Nothing),
        (
            "6.9 WINDOW_UPDATE of the connection by 0",
            window_update(0, 0),
            EndConnection(PROTOCOL),
        ),
        (
            "6.9 WINDOW_UPDATE of the connection, 5 octets",
            frame(frame::WINDOW_UPDATE, 0, 0, &[0; 5]),
            EndConnection(SIZE),
        ),
        (
            "6.9.1 the connection's window over 2^31-1",
            window_update(0, 0x7fff_ffff),
            EndConnection(FLOW),
        ),
        (
            "6.10 CONTINUATION on stream 0",
            frame(frame::CONTINUATION, 4, 0, b""),
            EndConnection(PROTOCOL),
        ),
    ];
    for server in [true, false] {
        for (what, input, expected) in &table {
            let what = format!("{what} at a {}", if server { "server" } else { "client" });
            check(reach(State::Open, server), input, *expected, &what);
        }
    }
}

/// Sections 4.3, 5.5, 6.2 and 6.10: nothing may stand within a header block, at either role.
#[test]
fn a_header_block_is_not_interrupted() {
    let begun = frame(frame::HEADERS, frame::END_STREAM, 1, &block(&[("t", "1")]));
    for server in [true, false] {
        for (what, next) in [
            ("DATA", data(1, b"x", true)),
            ("HEADERS of the same stream", headers(1, &[("t", "1")], true)),
            ("HEADERS of another stream", headers(3, GET, true)),
            ("PRIORITY", frame(frame::PRIORITY, 0, 1, &[0, 0, 0, 3, 9])),
            ("RST_STREAM", rst(1, ErrorCode::CANCEL)),
            ("SETTINGS", settings(&[])),
            ("PING", ping(b"12345678")),
            ("GOAWAY", goaway(0, ErrorCode::NO_ERROR, b"")),
            ("WINDOW_UPDATE", window_update(0, 1)),
            ("an unknown type", frame(0xbe, 0, 0, b"")),
            ("CONTINUATION of another stream", frame(frame::CONTINUATION, 4, 3, b"")),
        ] {
            let input = [begun.clone(), next].concat();
            check(reach(State::Open, server), &input, EndConnection(PROTOCOL), what);
        }
        // Its own continuations are fine, however many pieces within the limit.
        let mut input = begun.clone();
        for _ in 0..5 {
            input.extend(frame(frame::CONTINUATION, 0, 1, &block(&[("u", "2")])));
        }
        input.extend(frame(frame::CONTINUATION, frame::END_HEADERS, 1, b""));
        check(reach(State::Open, server), &input, Tell, "the whole block");
    }
}
