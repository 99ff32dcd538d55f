//! RFC 9113 sections 3, 4 and 6: the preface, frames, and each frame type's own rules.

use super::script::*;
use crate::event::{ErrorCode, StreamId};
use crate::h2::Config;
use crate::h2::frame;

/// Section 3.4.
#[test]
fn a_server_says_settings_first_and_takes_the_preface_in_pieces() {
    let mut script = Script::new_server(Config::default());
    assert_eq!(
        script.sent(),
        ["SETTINGS 3=1024 4=16777216 6=61440", "WINDOW_UPDATE 0 25100289",]
    );
    for octet in frame::PREFACE {
        assert!(script.feed(&[*octet]).is_empty());
    }
    assert_eq!(script.feed(&settings(&[])), ["SETTINGS"]);
    assert_eq!(script.sent(), ["SETTINGS ACK"]);
}

/// Section 3.4.
#[test]
fn a_client_says_preface_and_settings_first() {
    let script = Script::new_client(Config::default());
    let output = script.connection.output();
    assert!(output.starts_with(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"));
    let mut script = Script::new_client(Config::default());
    assert_eq!(script.sent()[0], "SETTINGS 2=0 4=16777216 6=61440");
}

/// Section 3.4.
#[test]
fn a_wrong_preface_is_refused_at_its_first_wrong_octet() {
    for input in [
        &b"GET / HTTP/1.1\r\n"[..],
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\t",
        b"\x16\x03\x01",
    ] {
        Script::new_server(Config::default()).feed_error(input, ErrorCode::PROTOCOL_ERROR);
    }
}

/// Section 3.4.
#[test]
fn the_first_frame_must_be_settings() {
    for first in [
        ping(b"12345678"),
        headers(1, GET, true),
        settings_ack(),
        window_update(0, 1),
    ] {
        let input = [&frame::PREFACE[..], &first].concat();
        Script::new_server(Config::default()).feed_error(&input, ErrorCode::PROTOCOL_ERROR);
        Script::new_client(Config::default()).feed_error(&first, ErrorCode::PROTOCOL_ERROR);
    }
}

/// Section 4.1 and 5.5.
#[test]
fn unknown_frames_flags_and_the_reserved_bit_are_ignored() {
    let mut script = Script::server();
    assert!(script.feed(&frame(0x16, 0xff, 0, &[0; 300])).is_empty());
    assert!(script.feed(&frame(0x10, 0, 77, b"")).is_empty());
    let mut request = headers(1, GET, true);
    request[4] |= 0x40 | 0x80 | 0x10;
    request[5] |= 0x80;
    assert_eq!(script.feed(&request), ["HEAD 1 GET http a / END"]);
    let mut ping = ping(b"12345678");
    ping[4] |= 0xfe;
    script.feed(&ping);
    assert_eq!(script.sent(), ["PING ACK 12345678"]);
}

/// Section 4.2.
#[test]
fn frames_over_the_announced_size_are_refused_and_up_to_it_taken() {
    let mut script = Script::server();
    script.feed(&headers(1, POST, false));
    assert_eq!(script.feed(&data(1, &[1; 16_384], false)), ["DATA 1 16384"]);
    script.feed_error(&data(1, &[1; 16_385], false), ErrorCode::FRAME_SIZE_ERROR);
    for kind in [frame::HEADERS, frame::PING, frame::SETTINGS, 0x77] {
        Script::server().feed_error(&frame(kind, 0, 0, &[0; 16_385]), ErrorCode::FRAME_SIZE_ERROR);
    }
    let mut script = Script::server_with(Config {
        max_frame_size: 20_000,
        ..Config::default()
    });
    script.feed(&headers(1, POST, false));
    assert_eq!(script.feed(&data(1, &[1; 20_000], false)), ["DATA 1 20000"]);
    script.feed_error(&data(1, &[1; 20_001], false), ErrorCode::FRAME_SIZE_ERROR);
}

/// Section 4.3.
#[test]
fn a_header_block_that_cannot_be_decoded_ends_the_connection() {
    for block in [
        &[0x80][..],
        &[0xff, 0xff, 0xff, 0xff, 0xff, 0x7f],
        &[0x00, 0x85, 0xff],
        &[0x3f, 0xe2, 0x1f],
    ] {
        let input = frame(frame::HEADERS, frame::END_HEADERS, 1, block);
        Script::server().feed_error(&input, ErrorCode::COMPRESSION_ERROR);
    }
}

/// Sections 4.3, 5.5 and 6.10.
#[test]
fn nothing_but_its_continuation_may_follow_an_open_header_block() {
    let begun = frame(frame::HEADERS, 0, 1, &block(GET));
    for next in [
        data(1, b"x", false),
        headers(3, GET, true),
        ping(b"12345678"),
        settings(&[]),
        window_update(0, 1),
        frame(0x16, 0, 0, b""),
        frame(frame::CONTINUATION, frame::END_HEADERS, 3, b""),
        frame(frame::CONTINUATION, frame::END_HEADERS, 0, b""),
    ] {
        Script::server().feed_error(&[begun.clone(), next].concat(), ErrorCode::PROTOCOL_ERROR);
    }
}

/// Section 6.1 and 6.2: padding carries nothing but counts for flow control.
#[test]
fn padding_is_removed_and_given_back() {
    let mut script = Script::server_with(Config {
        initial_stream_window_size: 100,
        initial_connection_window_size: 65_535,
        ..Config::default()
    });
    let padded = [&[4][..], &block(POST), &[0; 4]].concat();
    let head = frame(frame::HEADERS, frame::END_HEADERS | frame::PADDED, 1, &padded);
    assert_eq!(script.feed(&head), ["HEAD 1 POST http a /"]);
    let content = [&[60][..], b"abc", &[0; 60]].concat();
    assert_eq!(
        script.feed(&frame(frame::DATA, frame::PADDED, 1, &content)),
        ["DATA 1 abc"]
    );
    // 61 octets of overhead are more than half of the window.
    assert_eq!(script.sent(), ["WINDOW_UPDATE 1 61"]);
    assert_eq!(
        script.feed(&frame(frame::DATA, frame::PADDED | frame::END_STREAM, 1, &[0])),
        ["DATA 1  END"]
    );
}

/// Sections 6.1 and 6.2.
#[test]
fn padding_longer_than_its_frame_is_refused() {
    for (kind, payload) in [
        (frame::DATA, &[5, 0, 0, 0, 0][..]),
        (frame::HEADERS, &[5, 0, 0, 0, 0]),
        (frame::DATA, &[1]),
    ] {
        let mut script = Script::server();
        script.feed(&headers(1, POST, false));
        let input = frame(kind, frame::PADDED | frame::END_HEADERS, 1, payload);
        script.feed_error(&input, ErrorCode::PROTOCOL_ERROR);
    }
    for kind in [frame::DATA, frame::HEADERS] {
        let mut script = Script::server();
        script.feed(&headers(1, POST, false));
        script.feed_error(&frame(kind, frame::PADDED, 1, b""), ErrorCode::FRAME_SIZE_ERROR);
    }
}

/// Section 6.2: the priority fields are skipped.
#[test]
fn headers_with_padding_and_priority_are_taken() {
    let mut script = Script::server();
    let payload = [&[3][..], &[0x80, 0, 0, 7, 200], &block(GET), &[0; 3]].concat();
    let flags = frame::END_HEADERS | frame::END_STREAM | frame::PADDED | frame::PRIORITY_FLAG;
    assert_eq!(
        script.feed(&frame(frame::HEADERS, flags, 1, &payload)),
        ["HEAD 1 GET http a / END"]
    );
    let flags = frame::END_HEADERS | frame::PRIORITY_FLAG;
    script.feed_error(&frame(frame::HEADERS, flags, 3, &[0; 4]), ErrorCode::FRAME_SIZE_ERROR);
}

/// Sections 6.1 to 6.4 and 6.10.
#[test]
fn frames_of_a_stream_are_refused_on_stream_0() {
    for (kind, payload) in [
        (frame::DATA, &b"x"[..]),
        (frame::HEADERS, &[0x82]),
        (frame::PRIORITY, &[0; 5]),
        (frame::RST_STREAM, &[0; 4]),
        (frame::CONTINUATION, &[]),
    ] {
        Script::server().feed_error(&frame(kind, frame::END_HEADERS, 0, payload), ErrorCode::PROTOCOL_ERROR);
        Script::client().feed_error(&frame(kind, frame::END_HEADERS, 0, payload), ErrorCode::PROTOCOL_ERROR);
    }
}

/// Sections 6.5, 6.7 and 6.8.
#[test]
fn frames_of_the_connection_are_refused_on_a_stream() {
    for (kind, payload) in [
        (frame::SETTINGS, &[][..]),
        (frame::PING, &[0; 8]),
        (frame::GOAWAY, &[0; 8]),
    ] {
        let mut script = Script::server();
        script.feed(&headers(1, POST, false));
        script.feed_error(&frame(kind, 0, 1, payload), ErrorCode::PROTOCOL_ERROR);
    }
}

/// Sections 6.4, 6.5, 6.7, 6.8 and 6.9.
#[test]
fn frames_of_a_wrong_length_are_refused() {
    for (kind, flags, stream, length) in [
        (frame::RST_STREAM, 0, 1, 3),
        (frame::RST_STREAM, 0, 1, 5),
        (frame::SETTINGS, 0, 0, 3),
        (frame::SETTINGS, frame::ACK, 0, 6),
        (frame::PING, 0, 0, 6),
        (frame::PING, frame::ACK, 0, 9),
        (frame::GOAWAY, 0, 0, 7),
        (frame::WINDOW_UPDATE, 0, 0, 3),
        (frame::WINDOW_UPDATE, 0, 1, 5),
    ] {
        let mut script = Script::server();
        script.feed(&headers(1, POST, false));
        script.feed_error(
            &frame(kind, flags, stream, &vec![0; length]),
            ErrorCode::FRAME_SIZE_ERROR,
        );
    }
}

/// Section 6.3: a wrong length is a stream error; on a stream that can't be reset it ends the connection.
#[test]
fn priority_is_ignored_in_every_state_unless_its_length_is_wrong() {
    let mut script = Script::server();
    assert!(script.feed(&frame(frame::PRIORITY, 0, 1, &[0, 0, 0, 0, 9])).is_empty());
    script.feed(&headers(1, POST, false));
    assert!(script.feed(&frame(frame::PRIORITY, 0, 1, &[0, 0, 0, 3, 9])).is_empty());
    script.feed(&rst(1, ErrorCode::CANCEL));
    assert!(script.feed(&frame(frame::PRIORITY, 0, 1, &[0, 0, 0, 3, 9])).is_empty());
    script.feed(&headers(3, POST, false));
    script.feed_stream_error(&frame(frame::PRIORITY, 0, 3, &[0; 4]), 3, ErrorCode::FRAME_SIZE_ERROR);
    script.feed_error(&frame(frame::PRIORITY, 0, 5, &[0; 6]), ErrorCode::FRAME_SIZE_ERROR);
}

/// Section 6.5.2 and RFC 8441 section 3.
#[test]
fn settings_out_of_range_end_the_connection() {
    for (id, value, code) in [
        (2, 2, ErrorCode::PROTOCOL_ERROR),
        (4, 1 << 31, ErrorCode::FLOW_CONTROL_ERROR),
        (5, 16_383, ErrorCode::PROTOCOL_ERROR),
        (5, 1 << 24, ErrorCode::PROTOCOL_ERROR),
        (8, 2, ErrorCode::PROTOCOL_ERROR),
    ] {
        Script::server().feed_error(&settings(&[(id, value)]), code);
    }
    Script::client().feed_error(&settings(&[(2, 1)]), ErrorCode::PROTOCOL_ERROR);
}

/// Section 6.5.3.
#[test]
fn settings_are_acknowledged_once_each_and_unknown_ones_ignored() {
    let mut script = Script::server();
    assert_eq!(script.feed(&settings(&[(0x99, 1), (4, 5), (4, 70_000)])), ["SETTINGS"]);
    assert_eq!(script.sent(), ["SETTINGS ACK"]);
    assert_eq!(script.connection.peer_settings().initial_window_size, 70_000);
    script.feed_error(&settings_ack(), ErrorCode::PROTOCOL_ERROR);
}

/// Section 6.7.
#[test]
fn a_ping_is_answered_and_an_answer_is_not() {
    let mut script = Script::server();
    assert!(script.feed(&ping(b"any data")).is_empty());
    assert_eq!(script.sent(), ["PING ACK any data"]);
    assert_eq!(
        script.feed(&frame(frame::PING, frame::ACK, 0, b"any data")),
        ["PINGACK any data"]
    );
    assert!(script.sent().is_empty());
    script.connection.ping(*b"question");
    assert_eq!(script.sent(), ["PING question"]);
}

/// Sections 6.6 and 8.4: we never allow push, and clients can't.
#[test]
fn push_promise_is_refused_in_both_roles() {
    let promise = frame(
        frame::PUSH_PROMISE,
        frame::END_HEADERS,
        1,
        &[&2_u32.to_be_bytes()[..], &block(GET)].concat(),
    );
    let mut script = Script::client();
    script.request(GET, true);
    script.feed_error(&promise, ErrorCode::PROTOCOL_ERROR);
    let mut script = Script::server();
    script.feed(&headers(1, POST, false));
    script.feed_error(&promise, ErrorCode::PROTOCOL_ERROR);
}

/// Section 6.10.
#[test]
fn a_header_block_may_be_split_anywhere() {
    let whole = block(&[GET, &[("x", "yz")]].concat());
    for at in 0..=whole.len() {
        let mut script = Script::server();
        let (first, second) = whole.split_at(at);
        let mut input = frame(frame::HEADERS, frame::END_STREAM, 1, first);
        input.extend(frame(frame::CONTINUATION, frame::END_HEADERS, 1, second));
        assert_eq!(script.feed(&input), ["HEAD 1 GET http a / x=yz END"], "{at}");
    }
    let mut script = Script::server();
    let mut input = frame(frame::HEADERS, 0, 1, &whole[..3]);
    input.extend(frame(frame::CONTINUATION, 0, 1, &whole[3..9]));
    input.extend(frame(frame::CONTINUATION, frame::END_HEADERS, 1, &whole[9..]));
    assert_eq!(script.feed(&input), ["HEAD 1 GET http a / x=yz"]);
    // Nothing of the pieces is kept.
    let mut unsplit = Script::server();
    unsplit.feed(&headers(1, GET, false));
    assert_eq!(script.connection.heap_bytes(), unsplit.connection.heap_bytes());
}

/// Section 6.10.
#[test]
fn continuation_without_an_open_header_block_is_refused() {
    let lone = frame(frame::CONTINUATION, frame::END_HEADERS, 1, &block(GET));
    Script::server().feed_error(&lone, ErrorCode::PROTOCOL_ERROR);
    let mut script = Script::server();
    script.feed(&headers(1, POST, false));
    script.feed_error(&lone, ErrorCode::PROTOCOL_ERROR);
    let mut script = Script::server();
    script.feed(&headers(1, POST, false));
    script.feed(&data(1, b"x", false));
    script.feed_error(&lone, ErrorCode::PROTOCOL_ERROR);
}

/// Section 6.2: a large head of ours is split by the peer's frame size.
#[test]
fn a_head_over_the_frame_size_is_continued() {
    let mut script = Script::client();
    let long = "v".repeat(40_000);
    let stream = script.connection.open_stream().unwrap();
    let fields = [GET, &[("x", &long)]].concat();
    script
        .connection
        .send_head(stream, &header_block(&fields), true)
        .unwrap();
    let output = script.connection.output().to_vec();
    assert_eq!(script.sent(), [format!("HEADERS 1 GET http a / x={long} END")]);
    let mut kinds = Vec::new();
    let mut rest = &output[..];
    while let Some(octets) = rest.first_chunk::<9>() {
        let header = frame::FrameHeader::parse(octets);
        assert!(header.length <= 16_384);
        kinds.push((header.kind, header.flags));
        rest = &rest[9 + header.length as usize..];
    }
    assert_eq!(kinds[0], (frame::HEADERS, frame::END_STREAM));
    assert_eq!(
        kinds[1..kinds.len() - 1],
        vec![(frame::CONTINUATION, 0); kinds.len() - 2]
    );
    assert_eq!(*kinds.last().unwrap(), (frame::CONTINUATION, frame::END_HEADERS));
    assert_eq!(stream, StreamId(1));
}
