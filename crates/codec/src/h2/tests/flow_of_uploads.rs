//! RFC 9113 sections 5.2 and 6.9 at a client: what it sends obeys the server's windows, what it receives its own.

use super::script::*;
use crate::event::{ErrorCode, StreamId};
use crate::h2::Config;

const ONE: StreamId = StreamId(1);

/// A client with a request on stream 1 whose body is to follow.
fn uploading() -> Script {
    let mut script = Script::client();
    script.request(POST, false);
    script.sent();
    script
}

/// Section 6.9.1.
#[test]
fn no_more_is_uploaded_than_both_windows_allow() {
    let mut script = uploading();
    assert_eq!(script.connection.send_data(ONE, &[7; 70_000], true), Ok(65_535));
    script.sent();
    assert!(
        script.feed(&window_update(0, 10_000)).is_empty(),
        "the stream's window is shut"
    );
    assert_eq!(script.feed(&window_update(1, 4_000)), ["SENT 1 4000"]);
    assert_eq!(script.feed(&window_update(1, 465)), ["SENT 1 465"]);
    assert_eq!(script.sent(), ["DATA 1 4465 END"]);
}

/// Section 6.9.2: the initial window changes what is open, below zero too, and not the connection's.
#[test]
fn a_servers_new_initial_window_changes_open_uploads() {
    let mut script = uploading();
    assert_eq!(script.connection.send_data(ONE, &[7; 50_000], false), Ok(50_000));
    script.sent();
    script.feed(&settings(&[(4, 40_000)]));
    assert_eq!(script.connection.send_data(ONE, &[7; 10], false), Ok(0));
    assert!(script.feed(&window_update(1, 10_000)).is_empty(), "still zero");
    assert_eq!(script.feed(&window_update(1, 4)), ["SENT 1 4"]);
    assert_eq!(script.feed(&settings(&[(4, 40_006)])), ["SETTINGS", "SENT 1 6"]);
    // A stream opened now has the new window.
    script.request(POST, false);
    script.feed(&window_update(0, 1_000_000));
    assert_eq!(
        script.connection.send_data(StreamId(3), &[7; 50_000], false),
        Ok(40_006)
    );
}

/// Sections 6.9.1 and 6.9.2.
#[test]
fn windows_of_uploads_do_not_overflow() {
    let mut script = uploading();
    script.feed(&window_update(1, 0x7fff_ffff - 65_535));
    script.feed_error(&settings(&[(4, 65_536)]), ErrorCode::FLOW_CONTROL_ERROR);
    let mut script = uploading();
    script.feed_stream_error(&window_update(1, 0x7fff_ffff), 1, ErrorCode::FLOW_CONTROL_ERROR);
    let mut script = uploading();
    script.feed_error(&window_update(0, 0x7fff_ffff), ErrorCode::FLOW_CONTROL_ERROR);
    // To the lowest a window can be, and back.
    let mut script = uploading();
    script.feed(&settings(&[(4, 0x7fff_ffff)]));
    script.feed(&window_update(0, 0x7fff_ffff - 65_535));
    assert_eq!(script.connection.send_data(ONE, &[7; 500_000], false), Ok(500_000));
    for _ in 0..3 {
        script.feed(&settings(&[(4, 0)]));
        script.feed(&settings(&[(4, 0x7fff_ffff)]));
    }
    script.sent();
    assert_eq!(script.connection.send_data(ONE, &[7; 10], true), Ok(10));
}

/// Section 6.9: data of responses beyond our windows; all of it counts, also on streams that have gone.
#[test]
fn a_server_may_not_send_more_than_our_windows() {
    let config = || Config {
        initial_stream_window_size: 20_000,
        initial_connection_window_size: 65_535,
        ..Config::default()
    };
    let mut script = Script::client_with(config());
    script.request(GET, true);
    script.feed(&headers(1, OK, false));
    script.feed(&data(1, &[0; 16_384], false));
    script.feed_stream_error(&data(1, &[0; 4_000], false), 1, ErrorCode::FLOW_CONTROL_ERROR);
    let mut script = Script::client_with(config());
    for n in 0..3 {
        let stream = script.request(GET, true);
        script.feed(&headers(stream, OK, false));
        script.feed(&data(stream, &[0; 16_384], false));
        assert_eq!(stream, 2 * n + 1);
    }
    for n in 0..3 {
        script.feed(&data(2 * n + 1, &[0; 3_616], false));
    }
    script.request(GET, true);
    script.feed(&headers(7, OK, false));
    script.feed_error(&data(7, &[0; 6_000], false), ErrorCode::FLOW_CONTROL_ERROR);
}

/// Section 6.9: what the consumer takes is given back, for stream and connection.
#[test]
fn what_was_downloaded_and_passed_on_is_given_back() {
    let mut script = Script::client_with(Config {
        initial_stream_window_size: 20_000,
        initial_connection_window_size: 65_535,
        ..Config::default()
    });
    script.request(GET, true);
    script.feed(&headers(1, OK, false));
    script.sent();
    for _ in 0..4 {
        script.feed(&data(1, &[0; 10_000], false));
        script.connection.release_credit(ONE, 10_000);
    }
    assert_eq!(
        script.sent(),
        [
            "WINDOW_UPDATE 1 10000",
            "WINDOW_UPDATE 1 10000",
            "WINDOW_UPDATE 1 10000",
            "WINDOW_UPDATE 1 10000",
            "WINDOW_UPDATE 0 40000"
        ]
    );
}
