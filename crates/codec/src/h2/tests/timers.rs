//! Everything that may not last for ever: settings, headers, keepalive, stalls. No test waits.

use std::time::Duration;

use super::script::*;
use crate::event::{ErrorCode, StreamId};
use crate::h2::frame;
use crate::h2::{Config, Keepalive};
use crate::stats::Stat;

const SECOND: Duration = Duration::from_secs(1);

/// RFC 9113 section 6.5.3.
#[test]
fn settings_must_be_acknowledged_in_time_from_the_peers_first_frame_on() {
    let mut script = Script::new_server(Config {
        stall_timeout: None,
        ..Config::default()
    });
    script.sent();
    assert_eq!(
        script.connection.deadline(),
        None,
        "a silent connection is its owner's affair"
    );
    script.feed(&[&frame::PREFACE[..], &settings(&[])].concat());
    script.sent();
    assert_eq!(script.connection.deadline(), Some(script.now + 30 * SECOND));
    script.sleep(29 * SECOND).unwrap();
    let error = script.sleep(SECOND).unwrap_err();
    assert_eq!(
        (error.code, error.stat),
        (ErrorCode::SETTINGS_TIMEOUT, Stat::SettingsTimeout)
    );
    assert!(script.sent()[0].starts_with("GOAWAY 0 SETTINGS_TIMEOUT"));
    let mut script = Script::server();
    script.sleep(60 * SECOND).unwrap();
    assert_eq!(script.connection.deadline(), None);
}

#[test]
fn slow_headers_end_the_connection() {
    let begun = frame(frame::HEADERS, 0, 1, &block(GET));
    let piece = frame(frame::CONTINUATION, 0, 1, &block(&[("x", "y")]));
    let whole = headers(1, GET, true);
    // A block that is not continued, one that is but never ends, and a frame that trickles in.
    for (first, later) in [
        (&begun[..], &b""[..]),
        (&begun, &piece),
        (&whole[..20], &whole[20..21]),
        (&whole[..3], b""),
    ] {
        let mut script = Script::server();
        script.feed(first);
        let deadline = script.now + 30 * SECOND;
        script.sleep(20 * SECOND).unwrap();
        script.feed(later);
        assert_eq!(script.connection.deadline(), Some(deadline));
        let error = script.sleep(10 * SECOND).unwrap_err();
        assert_eq!(
            (error.code, error.stat),
            (ErrorCode::ENHANCE_YOUR_CALM, Stat::HeadersTimeout)
        );
    }
    // Input that always ends within a frame, but not the same one, is fine.
    let mut script = Script::server();
    let ping = ping(b"12345678");
    script.feed(&ping[..5]);
    for _ in 0..100 {
        script.sleep(20 * SECOND).unwrap();
        script.feed(&[&ping[5..], &ping[..5]].concat());
        script.sent();
    }
    script.feed(&ping[5..]);
    script.sent();
    assert_eq!(script.connection.deadline(), None);
}

/// The rest of a frame ends its clock also if nothing comes after it.
#[test]
fn a_frame_in_two_pieces_is_not_slow_headers() {
    let mut script = Script::server();
    let whole = headers(1, GET, true);
    script.feed(&whole[..20]);
    script.sleep(SECOND).unwrap();
    assert_eq!(script.feed(&whole[20..]).len(), 1);
    assert_eq!(script.connection.deadline(), None);
    script.sleep(60 * SECOND).unwrap();
}

/// DATA has flow control; how slow it may be is its reader's decision.
#[test]
fn a_slow_data_frame_is_not_slow_headers() {
    let mut script = Script::server();
    script.feed(&headers(1, POST, false));
    script.feed(&data(1, &[0; 100], false)[..50]);
    assert_eq!(script.connection.deadline(), None);
}

fn keepalive(interval: u64, idle: u64) -> Config {
    let keepalive = Keepalive {
        interval: Duration::from_secs(interval),
        timeout: 5 * SECOND,
        interval_jitter_percent: 0.0,
        connection_idle_interval: Duration::from_secs(idle),
        ..Keepalive::default()
    };
    Config {
        keepalive: Some(keepalive),
        ..Config::default()
    }
}

fn answer(script: &mut Script) {
    script.feed(&frame(frame::PING, frame::ACK, 0, b"\0alive\0\0"));
}

#[test]
fn keepalive_pings_go_out_on_their_period_and_want_an_answer() {
    let mut script = Script::client_with(keepalive(10, 0));
    assert_eq!(script.connection.deadline(), Some(script.now + 10 * SECOND));
    script.sleep(9 * SECOND).unwrap();
    assert!(script.sent().is_empty());
    script.sleep(SECOND).unwrap();
    assert_eq!(script.sent(), ["PING \0alive\0\0"]);
    script.sleep(4 * SECOND).unwrap();
    answer(&mut script);
    assert_eq!(script.connection.deadline(), Some(script.now + 10 * SECOND));
    script.sleep(10 * SECOND).unwrap();
    script.sent();
    let error = script.sleep(5 * SECOND).unwrap_err();
    assert_eq!(error.stat, Stat::KeepaliveTimeout);
}

/// Envoy: any frame received while waiting shows that the peer is there.
#[test]
fn any_input_extends_the_keepalive_timeout() {
    let mut script = Script::client_with(keepalive(10, 0));
    script.sleep(10 * SECOND).unwrap();
    for _ in 0..10 {
        script.sleep(4 * SECOND).unwrap();
        script.feed(&settings(&[]));
        script.sent();
    }
    assert!(script.sleep(5 * SECOND).is_err());
}

#[test]
fn after_a_silence_a_ping_goes_ahead_of_the_next_stream() {
    let mut script = Script::client_with(keepalive(0, 60));
    script.sleep(59 * SECOND).unwrap();
    script.request(GET, true);
    assert_eq!(script.sent(), ["HEADERS 1 GET http a / END"]);
    script.sleep(SECOND).unwrap();
    script.sleep(3_600 * SECOND).unwrap();
    assert!(script.sent().is_empty(), "no stream, no PING");
    script.request(GET, true);
    assert_eq!(script.sent(), ["PING \0alive\0\0", "HEADERS 3 GET http a / END"]);
    // The clock starts when the connection is told the time.
    script.sleep(10 * SECOND).unwrap();
    assert_eq!(script.connection.deadline(), Some(script.now + 5 * SECOND));
    answer(&mut script);
    script.request(GET, true);
    assert_eq!(script.sent(), ["HEADERS 5 GET http a / END"]);
}

#[test]
fn keepalive_periods_are_spread_by_the_configured_jitter() {
    let mut deadlines = std::collections::BTreeSet::new();
    for seed in 0..100 {
        let keepalive = Keepalive {
            interval: 100 * SECOND,
            interval_jitter_percent: 15.0,
            ..Keepalive::default()
        };
        let mut script = Script::client_with(Config {
            keepalive: Some(keepalive),
            ..Config::default()
        });
        script.connection.seed_jitter(seed);
        let wait = script.connection.deadline().unwrap() - script.now;
        assert!((100 * SECOND..=115 * SECOND).contains(&wait), "{wait:?}");
        deadlines.insert(wait);
    }
    assert!(deadlines.len() > 90);
    assert!(*deadlines.last().unwrap() - *deadlines.first().unwrap() > 10 * SECOND);
}

/// CVE-2019-9517: a window that stays shut holds data for ever.
#[test]
fn a_stream_whose_window_stays_shut_is_ended() {
    let mut script = Script::server_with(Config {
        stall_timeout: Some(60 * SECOND),
        ..Config::default()
    });
    script.feed(&settings(&[(4, 10)]));
    for stream in [1, 3] {
        script.feed(&headers(stream, GET, true));
        script.respond(stream, OK, false);
        script.connection.send_data(StreamId(stream), &[0; 100], true).unwrap();
    }
    script.connection.set_tag(StreamId(1), 11);
    script.sent();
    // The deadline is always set while something waits; each call may move it.
    for _ in 0..10 {
        let deadline = script.connection.deadline().expect("something waits");
        script.now = deadline;
        script.connection.on_deadline(deadline).unwrap();
        if script.events() == ["RESET 1 CANCEL local"] {
            assert_eq!(script.connection.tag(StreamId(1)), 11);
            assert_eq!(script.sent(), ["RST_STREAM 1 CANCEL"]);
            assert_eq!(script.connection.stats().value(Stat::TxFlushTimeout), 1);
            assert_eq!(script.connection.active_streams(), 1);
            return;
        }
        // The other stream moves, an octet at a time.
        script.feed(&window_update(3, 1));
        script.sent();
    }
    panic!("the stalled stream was not ended");
}

/// What is left of a stream that was ended may have a time of its own: shorter or longer than that of the others.
#[test]
fn a_finished_stream_may_have_its_own_time_for_the_rest() {
    let mut script = Script::server_with(Config {
        stall_timeout: Some(60 * SECOND),
        ..Config::default()
    });
    script.feed(&settings(&[(4, 10)]));
    for stream in [1, 3, 5] {
        script.feed(&headers(stream, GET, true));
        script.respond(stream, OK, false);
        script.connection.send_data(StreamId(stream), &[0; 100], true).unwrap();
    }
    script.sent();
    script.connection.set_flush_timeout(StreamId(1), Some(SECOND));
    script.connection.set_flush_timeout(StreamId(3), Some(2 * SECOND));
    script.connection.set_flush_timeout(StreamId(5), None);
    let began = script.now;
    let mut ended = Vec::new();
    let mut moved = false;
    while let Some(deadline) = script.connection.deadline().filter(|at| *at < began + 300 * SECOND) {
        script.now = deadline;
        script.connection.on_deadline(deadline).unwrap();
        let seconds = (deadline - began).as_secs();
        ended.extend(script.events().into_iter().map(|event| (seconds, event)));
        if seconds >= 1 && !std::mem::replace(&mut moved, true) {
            // What moves has its time anew.
            script.feed(&window_update(3, 1));
        }
        script.sent();
    }
    let expected = [
        (1, "RESET 1 CANCEL local".to_owned()),
        (4, "RESET 3 CANCEL local".to_owned()),
    ];
    assert_eq!(ended, expected);
    assert_eq!(script.connection.active_streams(), 1);
}

#[test]
fn a_connection_whose_output_is_not_read_is_ended() {
    let mut script = Script::server_with(Config {
        stall_timeout: Some(60 * SECOND),
        ..Config::default()
    });
    script.feed(&ping(b"12345678"));
    let mut waited = Duration::ZERO;
    let error = loop {
        let deadline = script.connection.deadline().expect("something waits");
        waited += deadline - script.now;
        script.now = deadline;
        if let Err(error) = script.connection.on_deadline(deadline) {
            break error;
        }
    };
    assert!((60 * SECOND..=120 * SECOND).contains(&waited), "{waited:?}");
    assert_eq!(error.stat, Stat::TxFlushTimeout);
    // A reader that takes one octet per period is alive.
    let mut script = Script::server_with(Config {
        stall_timeout: Some(60 * SECOND),
        ..Config::default()
    });
    script.feed(&ping(b"12345678"));
    for _ in 0..16 {
        script.connection.advance_output(1);
        script.now = script.connection.deadline().expect("something waits");
        script.connection.on_deadline(script.now).unwrap();
    }
}
