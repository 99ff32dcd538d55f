//! RFC 9113 section 6: each type of frame.

use super::*;

/// Sections 6.1 to 6.4 and 8.4: frames that are wrong by themselves.
pub(super) fn frame_definitions() -> Vec<Case> {
    vec![
        case("6.1 DATA on stream 0", Connection(PROTOCOL), [data(0, b"test", true)]),
        case(
            "6.1 DATA on a stream that is not open",
            Stream(CLOSED),
            [headers(1, GET, true), data(1, b"test", true)],
        ),
        case(
            "6.1 padding longer than its DATA",
            Connection(PROTOCOL),
            [
                headers(1, POST, false),
                frame(DATA, PADDED | END_STREAM, 1, b"\x06test"),
            ],
        ),
        case(
            "6.1 padding as long as its DATA",
            Connection(PROTOCOL),
            [
                headers(1, POST, false),
                frame(DATA, PADDED | END_STREAM, 1, b"\x05test"),
            ],
        ),
        case(
            "6.1 padding without its length",
            Connection(SIZE),
            [headers(1, POST, false), frame(DATA, PADDED | END_STREAM, 1, b"")],
        ),
        case(
            "6.2 PRIORITY before END_HEADERS",
            Connection(PROTOCOL),
            [
                raw_headers(END_STREAM, 1, &block(GET)),
                priority(1, 0, 255),
                continuation(4, 1, &[]),
            ],
        ),
        case(
            "6.2 HEADERS of another stream before END_HEADERS",
            Connection(PROTOCOL),
            [
                raw_headers(END_STREAM, 1, &block(GET)),
                raw_headers(END_STREAM, 3, &block(GET)),
            ],
        ),
        case("6.2 HEADERS on stream 0", Connection(PROTOCOL), [headers(0, GET, true)]),
        case(
            "6.2 padding longer than its HEADERS",
            Connection(PROTOCOL),
            [raw_headers(
                END_HEADERS | END_STREAM | PADDED,
                1,
                &[&[255], &block(GET)[..]].concat(),
            )],
        ),
        case(
            "6.2 a priority that does not fit",
            Connection(SIZE),
            [raw_headers(END_HEADERS | END_STREAM | WITH_PRIORITY, 1, &[0; 4])],
        ),
        case("6.3 PRIORITY on stream 0", Connection(PROTOCOL), [priority(0, 1, 255)]),
        case(
            "6.3 PRIORITY of 4 octets",
            Stream(SIZE),
            [headers(1, POST, false), frame(PRIORITY, 0, 1, &[0; 4])],
        ),
        case(
            "6.3 PRIORITY of 6 octets",
            Stream(SIZE),
            [frame(PRIORITY, 0, 1, &[0; 6])],
        ),
        case("6.4 RST_STREAM on stream 0", Connection(PROTOCOL), [rst(0, 8)]),
        case("6.4 RST_STREAM on an idle stream", Connection(PROTOCOL), [rst(3, 8)]),
        case(
            "6.4 RST_STREAM of 3 octets",
            Connection(SIZE),
            [headers(1, POST, false), frame(RST_STREAM, 0, 1, &[0; 3])],
        ),
        case(
            "6.4 RST_STREAM of 5 octets",
            Connection(SIZE),
            [headers(1, POST, false), frame(RST_STREAM, 0, 1, &[0; 5])],
        ),
        case(
            "6.4 RST_STREAM with an unknown code",
            Alive,
            [headers(1, POST, false), rst(1, 0xff)],
        ),
        case(
            "8.4 PUSH_PROMISE of a client",
            Connection(PROTOCOL),
            [
                headers(1, GET, true),
                frame(PUSH_PROMISE, END_HEADERS, 1, &[&[0, 0, 0, 3], &block(GET)[..]].concat()),
            ],
        ),
    ]
}

/// Sections 3.4, 6.5, 6.7, 6.8 and 7.
pub(super) fn settings_and_pings() -> Vec<Case> {
    vec![
        case(
            "6.5 an acknowledgment with a payload",
            Connection(SIZE),
            [frame(SETTINGS, ACK, 0, &[0; 6])],
        ),
        case(
            "6.5 an acknowledgment with an octet",
            Connection(SIZE),
            [frame(SETTINGS, ACK, 0, &[0])],
        ),
        case(
            "6.5 SETTINGS on a stream",
            Connection(PROTOCOL),
            [frame(SETTINGS, 0, 1, &[0, 3, 0, 0, 0, 100])],
        ),
        case(
            "6.5 SETTINGS of 3 octets",
            Connection(SIZE),
            [frame(SETTINGS, 0, 0, &[0, 3, 0])],
        ),
        case(
            "6.5 an acknowledgment nobody waits for",
            Closed,
            [frame(SETTINGS, ACK, 0, &[]), frame(PING, 0, 1, &[0; 8])],
        ),
        case(
            "6.5.2 ENABLE_PUSH 2",
            Connection(PROTOCOL),
            [settings(&[(ENABLE_PUSH, 2)])],
        ),
        case("6.5.2 ENABLE_PUSH 1", Alive, [settings(&[(ENABLE_PUSH, 1)])]),
        case(
            "6.5.2 INITIAL_WINDOW_SIZE 2^31",
            Connection(FLOW),
            [settings(&[(INITIAL_WINDOW, MAX_31 + 1)])],
        ),
        case(
            "6.5.2 INITIAL_WINDOW_SIZE 2^31-1",
            Alive,
            [settings(&[(INITIAL_WINDOW, MAX_31)])],
        ),
        case(
            "6.5.2 MAX_FRAME_SIZE 2^14-1",
            Connection(PROTOCOL),
            [settings(&[(MAX_FRAME, 16_383)])],
        ),
        case(
            "6.5.2 MAX_FRAME_SIZE 2^24",
            Connection(PROTOCOL),
            [settings(&[(MAX_FRAME, 1 << 24)])],
        ),
        case(
            "6.5.2 MAX_FRAME_SIZE 2^24-1",
            Alive,
            [settings(&[(MAX_FRAME, (1 << 24) - 1)])],
        ),
        case("6.5.2 an unknown setting", Alive, [settings(&[(0xff, 1)])]),
        case(
            "6.5.2 ENABLE_CONNECT_PROTOCOL 2",
            Connection(PROTOCOL),
            [settings(&[(8, 2)])],
        ),
        case(
            "6.5.2 a table of no octets",
            Answered(1),
            [settings(&[(TABLE_SIZE, 0)]), headers(1, GET, true)],
        ),
        case(
            "6.5.2 the smallest of all settings",
            Data(1),
            [headers(1, GET, true), window_update(1, 1)],
        )
        .with(&[(TABLE_SIZE, 0), (INITIAL_WINDOW, 0), (MAX_FRAME, 16_384), (6, 65_536)]),
        case(
            "6.5.3 values in their order",
            Data(1),
            [
                settings(&[(INITIAL_WINDOW, 100), (INITIAL_WINDOW, 1)]).into(),
                Step::AwaitSettings(2),
                headers(1, GET, true).into(),
            ],
        ),
        case(
            "6.5.3 each is acknowledged",
            Alive,
            [
                settings(&[]).into(),
                settings(&[(TABLE_SIZE, 100)]).into(),
                Step::AwaitSettings(3),
            ],
        ),
        case(
            "6.7 PING on a stream",
            Connection(PROTOCOL),
            [frame(PING, 0, 1, &[0; 8])],
        ),
        case("6.7 PING of 6 octets", Connection(SIZE), [frame(PING, 0, 0, &[0; 6])]),
        case("6.7 PING of 9 octets", Connection(SIZE), [frame(PING, 0, 0, &[0; 9])]),
        case(
            "6.7 an answer nobody waits for",
            Alive,
            [frame(PING, ACK, 0, b"unasked!")],
        ),
        case(
            "6.8 GOAWAY on a stream",
            Connection(PROTOCOL),
            [frame(GOAWAY, 0, 1, &[0; 8])],
        ),
        case(
            "6.8 GOAWAY of 7 octets",
            Connection(SIZE),
            [frame(GOAWAY, 0, 0, &[0; 7])],
        ),
        case(
            "6.8 the stream of before a GOAWAY is answered",
            Answered(1),
            [headers(1, POST, false), goaway(0, 0), data(1, b"x", true)],
        ),
        case("7 GOAWAY with an unknown code", Alive, [goaway(0, 0xff)]),
        case(
            "7 RST_STREAM with an unknown code",
            Alive,
            [headers(1, POST, false), rst(1, 0xffff)],
        ),
    ]
}

/// Section 6.9.
pub(super) fn windows() -> Vec<Case> {
    vec![
        case(
            "6.9 the connection's window by 0",
            Connection(PROTOCOL),
            [window_update(0, 0)],
        ),
        case(
            "6.9 a stream's window by 0",
            Stream(PROTOCOL),
            [headers(1, POST, false), window_update(1, 0)],
        ),
        case(
            "6.9 WINDOW_UPDATE of 3 octets",
            Connection(SIZE),
            [frame(WINDOW_UPDATE, 0, 0, &[0; 3])],
        ),
        case(
            "6.9 WINDOW_UPDATE of 5 octets",
            Connection(SIZE),
            [frame(WINDOW_UPDATE, 0, 0, &[0, 0, 0, 1, 0])],
        ),
        case(
            "6.9 the reserved bit of an increment",
            Alive,
            [window_update(0, 0x8000_0001)],
        ),
        case("6.9.1 a window of 1", Data(1), [headers(1, GET, true)]).with(&[(INITIAL_WINDOW, 1)]),
        case(
            "6.9.1 the connection's window above 2^31-1",
            Connection(FLOW),
            [window_update(0, MAX_31), window_update(0, MAX_31)],
        ),
        case(
            "6.9.1 a stream's window above 2^31-1",
            Stream(FLOW),
            [
                headers(1, POST, false),
                window_update(1, MAX_31),
                window_update(1, MAX_31),
            ],
        ),
        case(
            "6.9.2 a window opened by SETTINGS",
            Data(1),
            [
                settings(&[(INITIAL_WINDOW, 0)]).into(),
                Step::AwaitSettings(2),
                headers(1, GET, true).into(),
                settings(&[(INITIAL_WINDOW, 1)]).into(),
            ],
        ),
        case(
            "6.9.2 a window below 0",
            Data(3),
            [
                headers(1, GET, true).into(),
                Step::AwaitData(3),
                settings(&[(INITIAL_WINDOW, 2)]).into(),
                window_update(1, 2).into(),
                Step::AwaitData(1),
            ],
        )
        .with(&[(INITIAL_WINDOW, 3)]),
        case(
            "6.9.2 SETTINGS that overflow a stream's window",
            Connection(FLOW),
            [
                headers(1, POST, false),
                window_update(1, MAX_31 - 65_535),
                settings(&[(INITIAL_WINDOW, MAX_31)]),
            ],
        ),
        case(
            "6.9.2 INITIAL_WINDOW_SIZE 2^31",
            Connection(FLOW),
            [settings(&[(INITIAL_WINDOW, MAX_31 + 1)])],
        ),
    ]
}

/// Section 6.10.
pub(super) fn continuations() -> Vec<Case> {
    let octets = block(GET);
    let (first, rest) = octets.split_at(10);
    let open = || raw_headers(END_STREAM, 1, first);
    vec![
        case(
            "6.10 one CONTINUATION",
            Answered(1),
            [open(), continuation(END_HEADERS, 1, rest)],
        ),
        case(
            "6.10 several",
            Answered(1),
            [
                open(),
                continuation(0, 1, &rest[..5]),
                continuation(0, 1, &rest[5..6]),
                continuation(END_HEADERS, 1, &rest[6..]),
            ],
        ),
        case(
            "6.10 an empty last one",
            Answered(1),
            [raw_headers(END_STREAM, 1, &octets), continuation(END_HEADERS, 1, b"")],
        ),
        case(
            "6.10 DATA after CONTINUATION without END_HEADERS",
            Connection(PROTOCOL),
            [open(), continuation(0, 1, &rest[..5]), data(1, b"test", true)],
        ),
        case(
            "6.10 CONTINUATION on stream 0",
            Connection(PROTOCOL),
            [open(), continuation(END_HEADERS, 0, rest)],
        ),
        case(
            "6.10 CONTINUATION after HEADERS with END_HEADERS",
            Connection(PROTOCOL),
            [
                headers(1, POST, false),
                continuation(END_HEADERS, 1, &block(&[("t", "1")])),
            ],
        ),
        case(
            "6.10 CONTINUATION after one with END_HEADERS",
            Connection(PROTOCOL),
            [
                open(),
                continuation(END_HEADERS, 1, rest),
                continuation(END_HEADERS, 1, &block(&[("t", "1")])),
            ],
        ),
        case(
            "6.10 CONTINUATION after DATA",
            Connection(PROTOCOL),
            [
                headers(1, POST, false),
                data(1, b"test", false),
                continuation(END_HEADERS, 1, &block(&[("t", "1")])),
            ],
        ),
        case(
            "6.10 a head of four frames' size",
            Answered(1),
            [
                raw_headers(END_STREAM, 1, &long_block(40_000)[..16_384]),
                continuation(0, 1, &long_block(40_000)[16_384..32_768]),
                continuation(END_HEADERS, 1, &long_block(40_000)[32_768..]),
            ],
        ),
    ]
}
