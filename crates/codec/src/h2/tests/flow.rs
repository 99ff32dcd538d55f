//! RFC 9113 sections 5.2 and 6.9: flow control in both directions.

use super::script::*;
use crate::event::{ErrorCode, StreamId};
use crate::h2::Config;
use crate::h2::frame;

const ONE: StreamId = StreamId(1);

/// A server that has a request on stream 1 and has sent a response head.
fn responding() -> Script {
    let mut script = Script::server();
    script.feed(&headers(1, GET, true));
    script.respond(1, OK, false);
    script.sent();
    script
}

/// Section 6.9.1.
#[test]
fn no_more_is_sent_than_the_windows_allow_and_the_rest_follows() {
    let mut script = responding();
    assert_eq!(script.connection.send_data(ONE, &[7; 100_000], true), Ok(65_535));
    assert_eq!(
        script.sent(),
        ["DATA 1 16384", "DATA 1 16384", "DATA 1 16384", "DATA 1 16383"]
    );
    assert_eq!(script.connection.queued_bytes(), 34_465);
    assert!(
        script.feed(&window_update(1, 100_000)).is_empty(),
        "the connection's window is still shut"
    );
    assert_eq!(script.feed(&window_update(0, 10)), ["SENT 1 10"]);
    assert_eq!(
        script.feed(&window_update(0, 100_000)),
        ["SENT 1 16384", "SENT 1 16384", "SENT 1 1687"]
    );
    assert_eq!(script.connection.active_streams(), 0);
    assert_eq!(
        script.sent().last().unwrap(),
        "DATA 1 1697 END",
        "data is joined to full frames"
    );
}

/// Section 6.9: END_STREAM without data needs no window.
#[test]
fn the_end_of_a_stream_needs_no_window() {
    let mut script = responding();
    assert_eq!(script.connection.send_data(ONE, &[7; 65_535], false), Ok(65_535));
    script.sent();
    assert_eq!(script.connection.send_data(ONE, b"", true), Ok(0));
    assert_eq!(script.sent(), ["DATA 1 0 END"]);
}

#[test]
fn trailers_wait_for_the_data_before_them() {
    let mut script = responding();
    script.connection.send_data(ONE, &[7; 65_536], false).unwrap();
    script
        .connection
        .send_trailers(ONE, &header_block(&[("grpc-status", "0")]))
        .unwrap();
    script.sent();
    script.feed(&window_update(0, 10));
    assert!(script.sent().is_empty());
    assert_eq!(script.feed(&window_update(1, 10)), ["SENT 1 1"]);
    assert_eq!(script.sent(), ["DATA 1 1", "HEADERS 1 grpc-status=0 END"]);
    assert_eq!(script.connection.active_streams(), 0);
}

/// Section 6.9.
#[test]
fn a_window_update_by_0_is_an_error() {
    let mut script = responding();
    script.feed_stream_error(&window_update(1, 0), 1, ErrorCode::PROTOCOL_ERROR);
    Script::server().feed_error(&window_update(0, 0), ErrorCode::PROTOCOL_ERROR);
    Script::client().feed_error(&window_update(0, 1 << 31), ErrorCode::PROTOCOL_ERROR);
}

/// Section 6.9.1.
#[test]
fn a_window_over_31_bits_is_an_error() {
    let mut script = responding();
    script.feed_stream_error(&window_update(1, 0x7fff_ffff), 1, ErrorCode::FLOW_CONTROL_ERROR);
    Script::server().feed_error(&window_update(0, 0x7fff_ffff), ErrorCode::FLOW_CONTROL_ERROR);
    // Exactly 2^31-1 is fine.
    let mut script = responding();
    script.feed(&window_update(1, 0x7fff_ffff - 65_535));
    script.feed(&window_update(0, 0x7fff_ffff - 65_535));
    script.feed_stream_error(&window_update(1, 1), 1, ErrorCode::FLOW_CONTROL_ERROR);
}

/// Section 6.9.2.
#[test]
fn a_new_initial_window_changes_open_streams_even_below_zero() {
    let mut script = responding();
    assert_eq!(script.connection.send_data(ONE, &[7; 60_000], false), Ok(60_000));
    script.sent();
    script.feed(&window_update(0, 100_000));
    // 65,535 - 60,000 left; minus 65,435 makes -59,900.
    script.feed(&settings(&[(4, 100)]));
    assert_eq!(script.connection.send_data(ONE, &[8; 100], true), Ok(0));
    assert!(script.feed(&window_update(1, 59_900)).is_empty(), "still zero");
    assert_eq!(script.feed(&window_update(1, 1)), ["SENT 1 1"]);
    assert_eq!(script.feed(&settings(&[(4, 150)])), ["SETTINGS", "SENT 1 50"]);
    assert_eq!(script.feed(&settings(&[(4, 1_000)])), ["SETTINGS", "SENT 1 49"]);
    assert_eq!(script.sent().last().unwrap(), "DATA 1 49 END");
    // It does not change the connection's window, which only WINDOW_UPDATE does.
    let mut script = responding();
    script.feed(&settings(&[(4, 1_000_000)]));
    assert_eq!(script.connection.send_data(ONE, &[7; 100_000], false), Ok(65_535));
}

/// Section 6.9.2.
#[test]
fn an_initial_window_that_overflows_a_stream_is_an_error() {
    let mut script = responding();
    script.feed(&window_update(1, 0x7fff_ffff - 65_535));
    script.feed_error(&settings(&[(4, 65_536)]), ErrorCode::FLOW_CONTROL_ERROR);
}

/// Section 6.9.1: what the peer sends beyond its window.
#[test]
fn data_beyond_the_window_is_an_error() {
    let config = || Config {
        initial_stream_window_size: 65_535,
        initial_connection_window_size: 100_000,
        ..Config::default()
    };
    let mut script = Script::server_with(config());
    script.feed(&headers(1, POST, false));
    for _ in 0..3 {
        script.feed(&data(1, &[0; 16_384], false));
    }
    script.feed_stream_error(&data(1, &[0; 16_384], false), 1, ErrorCode::FLOW_CONTROL_ERROR);
    // The connection's, with two streams.
    let mut script = Script::server_with(config());
    script.feed(&headers(1, POST, false));
    script.feed(&headers(3, POST, false));
    for stream in [1, 1, 1, 3, 3, 3] {
        script.feed(&data(stream, &[0; 16_384], false));
    }
    script.feed_error(&data(3, &[0; 16_384], false), ErrorCode::FLOW_CONTROL_ERROR);
}

/// Section 6.9: credit goes back when the consumer gives it, in batches of half a window.
#[test]
fn credit_goes_back_in_batches_once_the_data_was_passed_on() {
    let mut script = Script::server_with(Config {
        initial_stream_window_size: 65_535,
        initial_connection_window_size: 131_070,
        ..Config::default()
    });
    script.feed(&headers(1, POST, false));
    for _ in 0..3 {
        script.feed(&data(1, &[0; 16_000], false));
    }
    assert!(script.sent().is_empty(), "nothing has been consumed");
    script.connection.release_credit(ONE, 16_000);
    script.connection.release_credit(ONE, 16_000);
    assert!(script.sent().is_empty(), "not half a window yet");
    script.connection.release_credit(ONE, 16_000);
    assert_eq!(script.sent(), ["WINDOW_UPDATE 1 48000"]);
    // More than what was delivered can't be given back.
    script.connection.release_credit(ONE, 1_000_000);
    script.feed(&data(1, &[0; 16_384], false));
    script.feed(&data(1, &[0; 1_152], true));
    script.connection.release_credit(ONE, 17_536);
    assert_eq!(
        script.sent(),
        ["WINDOW_UPDATE 0 65536"],
        "a stream that has ended needs no window"
    );
}

/// The credit of a stream that has ended is still owed; `reset` gives it back without a word on the wire.
#[test]
fn credit_of_an_ended_stream_is_kept_for_its_consumer() {
    let mut script = Script::server_with(Config {
        initial_connection_window_size: 65_535,
        ..Config::default()
    });
    for stream in [1, 3] {
        script.feed(&headers(stream, POST, false));
        script.feed(&data(stream, &[0; 16_384], false));
        script.feed(&data(stream, &[0; 16_383], true));
        script.respond(stream, OK, true);
    }
    assert_eq!(script.connection.active_streams(), 0);
    script.sent();
    script.connection.release_credit(ONE, 32_766);
    assert!(script.sent().is_empty());
    script.connection.release_credit(ONE, 1);
    assert_eq!(script.sent(), ["WINDOW_UPDATE 0 32767"]);
    script.connection.reset(StreamId(3), ErrorCode::CANCEL);
    assert_eq!(script.sent(), ["WINDOW_UPDATE 0 32767"]);
    script.connection.release_credit(StreamId(3), 32_767);
    assert!(script.sent().is_empty());
}

/// Section 6.9.2: until our SETTINGS are acknowledged the peer may believe in the initial window.
#[test]
fn a_smaller_window_of_ours_counts_once_it_is_acknowledged() {
    let config = Config {
        initial_stream_window_size: 1_000,
        ..Config::default()
    };
    let mut script = Script::new_server(config);
    script.feed(
        &[
            &frame::PREFACE[..],
            &settings(&[]),
            &headers(1, POST, false),
            &data(1, &[0; 5_000], false),
        ]
        .concat(),
    );
    script.feed(&headers(3, POST, false));
    script.feed(&settings_ack());
    script.sent();
    script.feed_stream_error(&data(3, &[0; 1_001], false), 3, ErrorCode::FLOW_CONTROL_ERROR);
    script.connection.release_credit(ONE, 5_000);
    assert_eq!(script.sent(), ["WINDOW_UPDATE 1 5000"]);
}
