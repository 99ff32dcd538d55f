//! RFC 9113 section 5: stream states, identifiers and concurrency.

use super::script::*;
use crate::event::{ErrorCode, OpenError, SendError, StreamId};
use crate::h2::Config;
use crate::h2::frame;

/// Section 5.1, idle.
#[test]
fn an_idle_stream_takes_headers_and_priority_only() {
    for input in [
        data(1, b"x", false),
        rst(1, ErrorCode::CANCEL),
        window_update(1, 1),
        rst(2, ErrorCode::CANCEL),
    ] {
        Script::server().feed_error(&input, ErrorCode::PROTOCOL_ERROR);
        Script::client().feed_error(&input, ErrorCode::PROTOCOL_ERROR);
    }
    // A client that has opened a stream without sending anything on it has not left the idle state.
    let mut script = Script::client();
    script.connection.open_stream().unwrap();
    script.feed_error(&headers(1, OK, true), ErrorCode::PROTOCOL_ERROR);
}

/// Section 5.1, half-closed (remote).
#[test]
fn after_end_stream_only_window_update_priority_and_reset_may_follow() {
    for late in [data(1, b"x", true), headers(1, &[("x", "y")], true)] {
        let mut script = Script::server();
        script.feed(&headers(1, GET, true));
        script.feed_stream_error(&late, 1, ErrorCode::STREAM_CLOSED);
    }
    let mut script = Script::server();
    script.feed(&headers(1, GET, true));
    assert!(script.feed(&window_update(1, 10)).is_empty());
    assert!(script.feed(&frame(frame::PRIORITY, 0, 1, &[0; 5])).is_empty());
    assert_eq!(script.feed(&rst(1, ErrorCode::CANCEL)), ["RESET 1 CANCEL remote"]);
}

/// Section 5.1, closed by END_STREAM on both sides.
#[test]
fn a_stream_closed_by_both_sides_takes_no_more_messages() {
    for (late, code) in [
        (data(1, b"x", false), ErrorCode::STREAM_CLOSED),
        (headers(1, GET, true), ErrorCode::STREAM_CLOSED),
        (frame(frame::HEADERS, 0, 1, &[]), ErrorCode::STREAM_CLOSED),
        (frame(frame::CONTINUATION, 4, 1, &[]), ErrorCode::PROTOCOL_ERROR),
    ] {
        let mut script = Script::server();
        script.feed(&headers(1, GET, true));
        script.respond(1, OK, true);
        script.feed_error(&late, code);
    }
    // What may still be on its way, and PRIORITY, is fine.
    let mut script = Script::server();
    script.feed(&headers(1, GET, true));
    script.respond(1, OK, true);
    script.sent();
    for late in [
        window_update(1, 10),
        rst(1, ErrorCode::NO_ERROR),
        frame(frame::PRIORITY, 0, 1, &[0; 5]),
    ] {
        assert!(script.feed(&late).is_empty());
    }
    script.assert_usable();
}

/// Section 5.1, closed by the peer's RST_STREAM.
#[test]
fn a_stream_the_peer_reset_takes_nothing_more_from_it() {
    for late in [data(1, b"x", false), headers(1, GET, true)] {
        let mut script = Script::server();
        script.feed(&headers(1, POST, false));
        assert_eq!(script.feed(&rst(1, ErrorCode::CANCEL)), ["RESET 1 CANCEL remote"]);
        script.feed_error(&late, ErrorCode::STREAM_CLOSED);
    }
}

/// Section 5.1, closed by our RST_STREAM: what was on its way is dropped and its credit returned.
#[test]
fn late_frames_of_a_stream_we_reset_are_dropped_and_their_credit_given_back() {
    let mut script = Script::server_with(Config {
        initial_stream_window_size: 70_000,
        initial_connection_window_size: 65_535,
        ..Config::default()
    });
    script.feed(&headers(1, POST, false));
    script.connection.reset(StreamId(1), ErrorCode::CANCEL);
    assert_eq!(script.sent(), ["RST_STREAM 1 CANCEL"]);
    for _ in 0..4 {
        assert!(script.feed(&data(1, &[0; 16_384], false)).is_empty());
    }
    assert_eq!(script.sent(), ["WINDOW_UPDATE 0 32768", "WINDOW_UPDATE 0 32768"]);
    for late in [
        window_update(1, 1),
        headers(1, &[("x", "y")], true),
        rst(1, ErrorCode::NO_ERROR),
    ] {
        assert!(script.feed(&late).is_empty());
    }
    script.assert_usable();
    // The peer's window of the stream was 70,000: it can't have sent more than that without knowing of the reset.
    script.feed_error(&data(1, &[0; 16_384], false), ErrorCode::FLOW_CONTROL_ERROR);
}

#[test]
fn a_data_frame_whose_stream_is_reset_halfway_is_dropped_from_there() {
    let mut script = Script::server_with(Config {
        initial_connection_window_size: 65_535,
        ..Config::default()
    });
    script.feed(&headers(1, POST, false));
    let input = data(1, &[0; 16_000], false);
    assert_eq!(script.feed(&input[..5_009]), ["DATA 1 5000"]);
    script.connection.reset(StreamId(1), ErrorCode::CANCEL);
    assert!(script.feed(&input[5_009..]).is_empty());
    assert!(script.feed(&data(1, &[0; 16_383], false)).is_empty());
    assert!(script.feed(&data(1, &[0; 384], false)).is_empty());
    assert_eq!(script.sent(), ["RST_STREAM 1 CANCEL", "WINDOW_UPDATE 0 32767"]);
}

/// A peer can't make us remember more than a fixed number of streams, and late frames of forgotten ones do no harm.
#[test]
fn the_memory_of_streams_we_reset_is_bounded() {
    let mut script = Script::server();
    for id in 0..1_000 {
        script.feed(&headers(2 * id + 1, POST, false));
        script.connection.reset(StreamId(2 * id + 1), ErrorCode::CANCEL);
        script.sent();
    }
    assert!(
        script.connection.heap_bytes() < 1_000,
        "{}",
        script.connection.heap_bytes()
    );
    for id in [1, 1_001, 1_999] {
        assert!(script.feed(&data(id, b"late", false)).is_empty());
        assert!(script.feed(&headers(id, &[("late", "")], true)).is_empty());
    }
}

/// Section 5.1.1.
#[test]
fn identifiers_must_be_odd_and_grow() {
    Script::server().feed_error(&headers(2, GET, true), ErrorCode::PROTOCOL_ERROR);
    let mut script = Script::server();
    assert_eq!(script.feed(&headers(5, GET, true)), ["HEAD 5 GET http a / END"]);
    // 1 and 3 were closed by the use of 5 without ever having been open.
    script.feed_error(&headers(3, GET, true), ErrorCode::PROTOCOL_ERROR);
}

/// Section 5.1.1.
#[test]
fn a_server_cannot_open_streams() {
    for id in [2, 3] {
        let mut script = Script::client();
        script.request(GET, true);
        script.feed_error(&headers(id, OK, true), ErrorCode::PROTOCOL_ERROR);
    }
    assert_eq!(Script::server().connection.open_stream(), Err(OpenError::Server));
}

/// Section 5.1.1: using an identifier closes all lower ones that were not used.
#[test]
fn heads_are_sent_in_the_order_of_their_streams() {
    let mut script = Script::client();
    let first = script.connection.open_stream().unwrap();
    let second = script.connection.open_stream().unwrap();
    let head = header_block(GET);
    script.connection.send_head(second, &head, true).unwrap();
    assert_eq!(
        script.connection.send_head(first, &head, true),
        Err(SendError::OutOfOrder)
    );
    script.connection.reset(first, ErrorCode::CANCEL);
    assert_eq!(
        script.sent(),
        ["HEADERS 3 GET http a / END"],
        "nothing is said of a stream that was never used"
    );
    assert_eq!(script.connection.active_streams(), 1);
}

/// Section 5.1.2.
#[test]
fn streams_over_our_limit_are_refused_and_room_is_made_by_ends() {
    let mut script = Script::server_with(Config {
        max_concurrent_streams: 2,
        ..Config::default()
    });
    script.feed(&headers(1, GET, true));
    script.feed(&headers(3, POST, false));
    script.feed_stream_error(&headers(5, GET, true), 5, ErrorCode::REFUSED_STREAM);
    script.respond(1, OK, true);
    assert_eq!(script.feed(&headers(7, GET, true)), ["HEAD 7 GET http a / END"]);
    assert_eq!(script.connection.active_streams(), 2);
}

/// Section 5.1.2.
#[test]
fn a_client_keeps_to_the_peers_limit_and_says_when_there_is_room() {
    let mut script = Script::client();
    script.feed(&settings(&[(3, 2)]));
    assert_eq!(script.connection.streams_available(), 2);
    script.request(GET, true);
    script.request(GET, true);
    assert_eq!(script.connection.open_stream(), Err(OpenError::Busy));
    assert_eq!(script.feed(&headers(1, OK, true)), ["HEAD 1 200 END", "STREAMS"]);
    script.request(GET, true);
    // A limit lowered below what is open only stops new ones; raising it makes room.
    script.feed(&settings(&[(3, 0)]));
    assert_eq!(script.connection.open_stream(), Err(OpenError::Busy));
    assert_eq!(script.feed(&settings(&[(3, 100)])), ["SETTINGS", "STREAMS"]);
    assert_eq!(script.connection.streams_available(), 98);
}

#[test]
fn a_client_opens_no_more_than_its_own_limit_nor_100_before_it_knows_the_peers() {
    let mut script = Script::new_client(Config::default());
    assert_eq!(script.connection.streams_available(), 100);
    script.feed(&settings(&[]));
    assert_eq!(script.connection.streams_available(), 1024);
    let script = Script::client_with(Config {
        max_concurrent_streams: 7,
        ..Config::default()
    });
    assert_eq!(script.connection.streams_available(), 7);
}

/// RFC 7540 section 5.3.1; harmless and still looked for.
#[test]
fn a_stream_that_depends_on_itself_is_refused() {
    let payload = [&1_u32.to_be_bytes()[..], &[9], &block(GET)].concat();
    let input = frame(frame::HEADERS, frame::END_HEADERS | frame::PRIORITY_FLAG, 1, &payload);
    Script::server().feed_stream_error(&input, 1, ErrorCode::PROTOCOL_ERROR);
    let priority = frame(frame::PRIORITY, 0, 1, &[0, 0, 0, 1, 9]);
    Script::server().feed_error(&priority, ErrorCode::PROTOCOL_ERROR);
    let mut script = Script::server();
    script.feed(&headers(1, POST, false));
    script.feed_stream_error(&priority, 1, ErrorCode::PROTOCOL_ERROR);
}

#[test]
fn a_tag_stays_readable_while_the_event_that_ends_its_stream_is_handled() {
    let mut script = Script::server();
    script.feed(&headers(1, POST, false));
    script.feed(&headers(3, POST, false));
    script.connection.set_tag(StreamId(1), 11);
    script.connection.set_tag(StreamId(3), 33);
    script.respond(1, OK, true);
    script.feed(&data(1, b"", true));
    assert_eq!(script.connection.tag(StreamId(1)), 11);
    assert_eq!(script.connection.tag(StreamId(3)), 33);
    script.feed(&rst(3, ErrorCode::CANCEL));
    assert_eq!(script.connection.tag(StreamId(3)), 33);
    assert_eq!(script.connection.tag(StreamId(1)), 0);
}

/// Section 5.4.3: the transport closed, or the connection failed: every open stream is told of, once.
#[test]
fn open_streams_end_with_an_event_when_the_connection_does() {
    let end = |script: &mut Script| {
        let mut lines = Vec::new();
        while let Ok(Some(event)) = script.connection.end_of_input(&mut script.scratch, script.now) {
            lines.push(line(&event));
        }
        lines
    };
    let mut script = Script::server();
    script.feed(&headers(1, POST, false));
    script.feed(&headers(3, GET, true));
    script.respond(3, OK, true);
    assert_eq!(end(&mut script), ["RESET 1 CANCEL local"]);
    assert!(script.connection.is_closed() && end(&mut script).is_empty());
    let mut script = Script::client();
    script.request(GET, true);
    script.connection.open_stream().unwrap();
    assert_eq!(
        end(&mut script),
        ["RESET 1 INTERNAL_ERROR local", "RESET 3 INTERNAL_ERROR local refused"]
    );
    let mut script = Script::client();
    script.request(GET, true);
    script.feed_error(&data(9, b"x", false), ErrorCode::PROTOCOL_ERROR);
    assert_eq!(end(&mut script), ["RESET 1 PROTOCOL_ERROR local"]);
}

/// Section 5.4.1: after a connection error nothing is taken, sent or opened.
#[test]
fn a_connection_that_failed_stays_failed() {
    let mut script = Script::client();
    let stream = script.connection.open_stream().unwrap();
    script.feed_error(&data(9, b"x", false), ErrorCode::PROTOCOL_ERROR);
    assert!(script.try_feed(&settings(&[])).is_err());
    assert_eq!(script.connection.open_stream(), Err(OpenError::Closed));
    assert_eq!(
        script.connection.send_head(stream, &header_block(GET), true),
        Err(SendError::Closed)
    );
    assert_eq!(script.connection.deadline(), None);
    assert!(script.sent().is_empty());
}
