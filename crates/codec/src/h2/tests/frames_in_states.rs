//! RFC 9113 sections 5.1 and 6: every frame type in every state of its stream, the same table at a server and at a
//! client.

use super::script::*;
use super::states::*;
use crate::event::ErrorCode;
use crate::h2::frame;

/// Section 5.1, the frames of a stream: idle, open, half-closed (local), half-closed (remote), closed by both, by the
/// peer's RST_STREAM, by ours.
#[test]
fn every_frame_type_does_in_every_state_what_section_5_1_says() {
    let in_closed = |both, by_peer, by_us| (both, by_peer, by_us);
    let late_message = in_closed(EndConnection(CLOSED), EndConnection(CLOSED), Nothing);
    let ignored = in_closed(Nothing, Nothing, Nothing);
    let never = |code| in_closed(EndConnection(code), EndConnection(code), EndConnection(code));
    let trailers = headers(1, &[("t", "1")], true);
    let table = [
        (
            "6.1 DATA",
            data(1, b"x", false),
            EndConnection(PROTOCOL),
            [Tell, Tell, EndStream(CLOSED)],
            late_message,
        ),
        (
            "6.1 DATA with END_STREAM",
            data(1, b"x", true),
            EndConnection(PROTOCOL),
            [Tell, Tell, EndStream(CLOSED)],
            late_message,
        ),
        // Without pseudo-header fields it is a malformed request where it could be one.
        (
            "6.2 HEADERS",
            trailers,
            EndStream(PROTOCOL),
            [Tell, Tell, EndStream(CLOSED)],
            late_message,
        ),
        (
            "6.3 PRIORITY",
            frame(frame::PRIORITY, 0, 1, &[0, 0, 0, 3, 9]),
            Nothing,
            [Nothing; 3],
            ignored,
        ),
        (
            "6.3 PRIORITY of 4 octets",
            frame(frame::PRIORITY, 0, 1, &[0; 4]),
            EndConnection(SIZE),
            [EndStream(SIZE); 3],
            never(SIZE),
        ),
        (
            "6.3 PRIORITY on itself",
            frame(frame::PRIORITY, 0, 1, &[0, 0, 0, 1, 9]),
            EndConnection(PROTOCOL),
            [EndStream(PROTOCOL); 3],
            never(PROTOCOL),
        ),
        (
            "6.4 RST_STREAM",
            rst(1, ErrorCode::CANCEL),
            EndConnection(PROTOCOL),
            [Tell; 3],
            ignored,
        ),
        (
            "6.4 RST_STREAM of an unknown code",
            rst(1, ErrorCode(0xffff_ffff)),
            EndConnection(PROTOCOL),
            [Tell; 3],
            ignored,
        ),
        (
            "6.4 RST_STREAM of 3 octets",
            frame(frame::RST_STREAM, 0, 1, &[0; 3]),
            EndConnection(SIZE),
            [EndConnection(SIZE); 3],
            never(SIZE),
        ),
        (
            "6.6 PUSH_PROMISE",
            frame(
                frame::PUSH_PROMISE,
                frame::END_HEADERS,
                1,
                &[&[0, 0, 0, 2], &block(GET)[..]].concat(),
            ),
            EndConnection(PROTOCOL),
            [EndConnection(PROTOCOL); 3],
            never(PROTOCOL),
        ),
        (
            "6.9 WINDOW_UPDATE",
            window_update(1, 1),
            EndConnection(PROTOCOL),
            [Nothing; 3],
            ignored,
        ),
        (
            "6.9 WINDOW_UPDATE by 0",
            window_update(1, 0),
            EndConnection(PROTOCOL),
            [EndStream(PROTOCOL); 3],
            never(PROTOCOL),
        ),
        (
            "6.9 WINDOW_UPDATE of 3 octets",
            frame(frame::WINDOW_UPDATE, 0, 1, &[0; 3]),
            EndConnection(SIZE),
            [EndConnection(SIZE); 3],
            never(SIZE),
        ),
        (
            "6.9.1 WINDOW_UPDATE over 2^31-1",
            window_update(1, 0x7fff_ffff),
            EndConnection(PROTOCOL),
            [EndStream(FLOW); 3],
            ignored,
        ),
        (
            "6.10 CONTINUATION",
            frame(frame::CONTINUATION, frame::END_HEADERS, 1, &block(&[("t", "1")])),
            EndConnection(PROTOCOL),
            [EndConnection(PROTOCOL); 3],
            never(PROTOCOL),
        ),
        (
            "5.5 an unknown type",
            frame(0xbe, 0xff, 1, b"octets"),
            Nothing,
            [Nothing; 3],
            ignored,
        ),
    ];
    for server in [true, false] {
        for (what, input, idle, [open, local, remote], (closed, by_peer, by_us)) in &table {
            for state in STATES {
                let expected = match state {
                    // Servers open no streams: at a client no HEADERS begins one (section 5.1.1).
                    State::Idle if !server && *idle == EndStream(PROTOCOL) => EndConnection(PROTOCOL),
                    State::Idle => *idle,
                    State::Open => *open,
                    State::HalfClosedLocal => *local,
                    State::HalfClosedRemote => *remote,
                    State::Closed => *closed,
                    State::ResetByPeer => *by_peer,
                    State::ResetByUs => *by_us,
                };
                let what = format!("{what}, {state:?}, at a {}", if server { "server" } else { "client" });
                check(reach(state, server), input, expected, &what);
            }
        }
    }
}

/// Section 5.1: a stream a client has opened and not used is idle to the server, which can't know its number.
#[test]
fn a_stream_that_was_opened_and_not_used_is_idle() {
    for input in [
        data(1, b"x", false),
        headers(1, OK, true),
        rst(1, ErrorCode::CANCEL),
        window_update(1, 1),
        window_update(1, 0),
        frame(frame::PRIORITY, 0, 1, &[0, 0, 0, 1, 9]),
    ] {
        let mut script = Script::client();
        script.connection.open_stream().unwrap();
        assert!(!script.feed_error(&input, PROTOCOL).violation.is_empty());
    }
}

/// Section 5.1.1: identifiers of streams grow, and skipped ones are closed.
#[test]
fn identifiers_that_were_passed_over_cannot_be_used_any_more() {
    for (id, code) in [
        (1, CLOSED),
        (3, PROTOCOL),
        (5, PROTOCOL),
        (2, PROTOCOL),
        (0x7fff_fffe, PROTOCOL),
    ] {
        let mut script = Script::server();
        script.feed(&headers(1, GET, true));
        script.respond(1, OK, true);
        script.feed(&headers(7, GET, true));
        script.feed_error(&headers(id, GET, true), code);
    }
    // The highest there is can be used.
    let mut script = Script::server();
    assert_eq!(script.feed(&headers(0x7fff_ffff, GET, true)).len(), 1);
    script.respond(0x7fff_ffff, OK, true);
    assert_eq!(script.sent(), ["HEADERS 2147483647 200 END"]);
}
