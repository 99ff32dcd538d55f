//! Each limit a hostile peer can run into: what is below it passes, what is above ends the connection and is counted.

use std::time::Duration;

use super::script::*;
use crate::event::{ErrorCode, StreamId};
use crate::h2::frame;
use crate::h2::{Config, Limits, Rate};
use crate::stats::Stat;

const CALM: ErrorCode = ErrorCode::ENHANCE_YOUR_CALM;

fn server(limits: Limits) -> Script {
    Script::server_with(Config {
        limits,
        stream_error_on_invalid_http_message: true,
        ..Config::default()
    })
}

#[track_caller]
fn assert_counted(script: &Script, stat: Stat) {
    assert_eq!(script.connection.stats().value(stat), 1, "{stat:?}");
}

/// CVE-2023-44487, with Envoy's defaults: more than half of 500 streams reset at once.
#[test]
fn rapid_reset_ends_the_connection_once_half_of_the_streams_are_certain_to_be_bad() {
    let mut script = server(Limits::default());
    for n in 0..250 {
        script.feed(&headers(2 * n + 1, GET, true));
        script.feed(&rst(2 * n + 1, ErrorCode::CANCEL));
    }
    script.feed(&headers(501, GET, true));
    script.feed_error(&rst(501, ErrorCode::CANCEL), CALM);
    assert_counted(&script, Stat::RapidReset);
    // Whoever serves it hears of its end.
    assert_eq!(script.events(), ["RESET 501 ENHANCE_YOUR_CALM local"]);
}

#[test]
fn resets_of_answered_or_old_streams_and_of_a_minority_are_no_rapid_reset() {
    let mut script = server(Limits::default());
    for n in 0..3_000 {
        let stream = 2 * n + 1;
        // Slow enough for the number of RST_STREAM frames.
        script.now += Duration::from_millis(30);
        script.feed(&headers(stream, GET, true));
        match n % 5 {
            0 | 1 => {
                script.feed(&rst(stream, ErrorCode::CANCEL));
            }
            2 | 3 => script.respond(stream, OK, true),
            _ => {
                script.respond(stream, OK, false);
                script.feed(&rst(stream, ErrorCode::CANCEL));
            }
        }
        script.sent();
    }
    let mut script = server(Limits::default());
    for n in 0..600 {
        script.feed(&headers(2 * n + 1, GET, true));
        script.now += Duration::from_secs(1);
        script.feed(&rst(2 * n + 1, ErrorCode::CANCEL));
    }
    script.assert_usable();
}

/// CVE-2023-44487, however old or answered the streams are; Envoy's defaults.
#[test]
fn reset_flood_ends_the_connection() {
    let mut script = server(Limits::default());
    let reset = |n: u32, script: &mut Script| {
        let stream = 2 * n + 1;
        script.feed(&headers(stream, POST, false));
        script.respond(stream, OK, false);
        script.sent();
        rst(stream, ErrorCode::CANCEL)
    };
    for n in 0..1_000 {
        let frame = reset(n, &mut script);
        script.feed(&frame);
    }
    // Time makes room for 33 more each second.
    script.now += Duration::from_secs(1);
    for n in 1_000..1_033 {
        let frame = reset(n, &mut script);
        script.feed(&frame);
    }
    let frame = reset(1_033, &mut script);
    script.feed_error(&frame, CALM);
    assert_counted(&script, Stat::InboundResetFlood);
}

/// A server may reset as many streams as it likes: it is who is asked.
#[test]
fn resets_of_a_server_are_not_counted() {
    let mut script = Script::client();
    for _ in 0..1_100 {
        let stream = script.request(GET, true);
        script.feed(&rst(stream, ErrorCode::CANCEL));
        script.sent();
    }
    script.assert_usable();
}

/// CVE-2025-8671: errors on streams that make us reset them.
#[test]
fn made_you_reset_ends_the_connection() {
    let limits = Limits {
        stream_errors: Rate {
            burst: 10,
            per_second: 5,
        },
        ..Limits::default()
    };
    for provoke in [
        |stream| window_update(stream, 0),
        |stream| window_update(stream, 0x7fff_ffff),
        |stream| headers(stream, &[("t", "1")], false),
        |stream| frame(frame::PRIORITY, 0, stream, &[0; 4]),
    ] {
        let mut script = server(limits.clone());
        for n in 0..10 {
            script.feed(&headers(2 * n + 1, POST, false));
            script.feed(&provoke(2 * n + 1));
            script.sent();
        }
        // Time makes room for a few more.
        script.now += Duration::from_secs(1);
        for n in 10..15 {
            script.feed(&headers(2 * n + 1, POST, false));
            script.feed(&provoke(2 * n + 1));
            script.sent();
        }
        script.feed(&headers(101, POST, false));
        script.feed_error(&provoke(101), CALM);
        assert_counted(&script, Stat::MadeYouReset);
    }
}

/// Streams over our limit cost a refusal each; before our SETTINGS are acknowledged the peer can't know it.
#[test]
fn streams_over_the_limit_count_as_provoked_once_the_limit_is_known() {
    let config = Config {
        max_concurrent_streams: 1,
        limits: Limits {
            stream_errors: Rate {
                burst: 10,
                per_second: 0,
            },
            ..Limits::default()
        },
        ..Config::default()
    };
    let mut script = Script::new_server(config);
    script.feed(&[&frame::PREFACE[..], &settings(&[])].concat());
    for n in 0..100 {
        script.feed(&headers(2 * n + 1, GET, true));
    }
    assert_eq!(
        script
            .sent()
            .iter()
            .filter(|line| line.starts_with("RST_STREAM"))
            .count(),
        99
    );
    script.feed(&settings_ack());
    for n in 100..110 {
        script.feed(&headers(2 * n + 1, GET, true));
    }
    script.feed_error(&headers(221, GET, true), CALM);
    assert_counted(&script, Stat::MadeYouReset);
    assert_eq!(script.connection.stats().value(Stat::StreamRefusedErrors), 109);
}

/// CVE-2024-27316.
#[test]
fn continuation_flood_ends_the_connection_by_count_and_by_size() {
    let mut script = server(Limits::default());
    let piece = frame(frame::CONTINUATION, 0, 1, &block(&[("x", "y")]));
    let begun = frame(frame::HEADERS, 0, 1, &block(GET));
    script.feed(&begun);
    for _ in 0..16 {
        script.feed(&piece);
    }
    script.feed_error(&piece, CALM);
    assert_counted(&script, Stat::InboundContinuationFlood);

    let mut script = server(Limits::default());
    script.feed(&begun);
    let large = frame(frame::CONTINUATION, 0, 1, &[0; 16_384]);
    for _ in 0..7 {
        script.feed(&large);
    }
    assert!(script.connection.heap_bytes() < 200_000);
    script.feed_error(&large, CALM);
    assert_counted(&script, Stat::HeaderOverflow);
}

/// CVE-2019-9518.
#[test]
fn empty_frames_flood_ends_the_connection() {
    for empty in [data(1, b"", false), frame(frame::DATA, frame::PADDED, 1, &[3, 0, 0, 0])] {
        let mut script = server(Limits::default());
        script.feed(&headers(1, POST, false));
        assert!(script.feed(&empty).is_empty());
        script.feed(&data(1, b"x", false));
        assert!(script.feed(&empty).is_empty());
        script.feed_error(&empty, CALM);
        assert_counted(&script, Stat::InboundEmptyFramesFlood);
    }
    let mut script = server(Limits::default());
    script.feed(&frame(frame::HEADERS, 0, 1, b""));
    script.feed_error(&frame(frame::CONTINUATION, 0, 1, b""), CALM);
    let mut script = server(Limits {
        max_consecutive_inbound_frames_with_empty_payload: 0,
        ..Limits::default()
    });
    script.feed(&headers(1, POST, false));
    script.feed_error(&data(1, b"", false), CALM);
}

/// CVE-2019-9513.
#[test]
fn priority_flood_ends_the_connection() {
    let mut script = server(Limits {
        max_inbound_priority_frames_per_stream: 10,
        ..Limits::default()
    });
    let priority = frame(frame::PRIORITY, 0, 1, &[0, 0, 0, 3, 9]);
    script.feed(&headers(1, GET, true));
    for _ in 0..20 {
        script.feed(&priority);
    }
    script.feed_error(&priority, CALM);
    assert_counted(&script, Stat::InboundPriorityFramesFlood);
}

/// Envoy's formula: 5 + 2 * (streams + n * DATA frames sent).
#[test]
fn window_update_flood_ends_the_connection() {
    let limits = Limits {
        max_inbound_window_update_frames_per_data_frame_sent: 3,
        ..Limits::default()
    };
    let mut script = server(limits);
    script.feed(&headers(1, GET, true));
    script.respond(1, OK, false);
    script.connection.send_data(StreamId(1), b"x", false).unwrap();
    for _ in 0..5 + 2 * (1 + 3) {
        script.feed(&window_update(0, 1));
    }
    script.feed_error(&window_update(1, 1), CALM);
    assert_counted(&script, Stat::InboundWindowUpdateFramesFlood);
}

/// CVE-2019-9515: even for a peer that reads every acknowledgment.
#[test]
fn settings_flood_ends_the_connection() {
    let mut script = server(Limits {
        settings_frames: Rate {
            burst: 20,
            per_second: 1,
        },
        ..Limits::default()
    });
    for _ in 0..19 {
        script.feed(&settings(&[(4, 100)]));
        script.sent();
    }
    script.feed_error(&settings(&[]), CALM);
    assert_counted(&script, Stat::InboundSettingsFlood);
    let many = settings(&vec![(0x99, 1); 65]);
    Script::server().feed_error(&many, CALM);
}

/// CVE-2019-9512: even for a peer that reads every answer. Traffic allows more, as bandwidth estimators use PING.
#[test]
fn ping_flood_ends_the_connection() {
    let limits = Limits {
        ping_frames: Rate {
            burst: 10,
            per_second: 1,
        },
        ..Limits::default()
    };
    let mut script = server(limits.clone());
    script.feed(&headers(1, POST, false));
    for _ in 0..1_000 {
        script.feed(&data(1, b"x", false));
        script.feed(&ping(b"estimate"));
        script.sent();
    }
    let mut script = server(limits);
    for _ in 0..10 {
        script.feed(&ping(b"12345678"));
        script.sent();
    }
    script.feed_error(&ping(b"12345678"), CALM);
    assert_counted(&script, Stat::InboundPingFlood);
}

/// RST_STREAM of closed streams, unknown frames, answers to PINGs nobody sent.
#[test]
fn floods_of_useless_frames_end_the_connection() {
    let limits = Limits {
        useless_frames: Rate {
            burst: 10,
            per_second: 1,
        },
        ..Limits::default()
    };
    for useless in [
        rst(1, ErrorCode::CANCEL),
        frame(0x42, 0, 0, b"x"),
        frame(frame::PING, frame::ACK, 0, b"12345678"),
        goaway(0, ErrorCode::NO_ERROR, b""),
    ] {
        let mut script = server(limits.clone());
        script.feed(&headers(1, GET, true));
        script.respond(1, OK, true);
        for _ in 0..10 {
            script.feed(&useless);
        }
        script.feed_error(&useless, CALM);
        assert_counted(&script, Stat::InboundUselessFramesFlood);
    }
}

/// CVE-2019-9512 and its kin: a peer that makes us answer and reads nothing.
#[test]
fn answers_that_are_not_read_end_the_connection() {
    let mut script = server(Limits {
        max_outbound_control_frames: 50,
        ..Limits::default()
    });
    for _ in 0..50 {
        script.feed(&ping(b"12345678"));
    }
    let error = script.try_feed(&ping(b"12345678")).unwrap_err().1;
    assert_eq!((error.code, error.stat), (CALM, Stat::OutboundControlFlood));
    assert_counted(&script, Stat::OutboundControlFlood);
    // Whoever reads is not affected.
    let mut script = server(Limits {
        max_outbound_control_frames: 50,
        ..Limits::default()
    });
    for _ in 0..500 {
        script.feed(&ping(b"12345678"));
        script.sent();
    }
}

/// Resets that are not read pile up: the stream whose reset was one too many ends with an event, too.
#[test]
fn no_stream_is_forgotten_when_its_own_error_ends_the_connection() {
    for provoke in [
        |stream| window_update(stream, 0),
        |stream| data(stream, b"abcd", false),
        |stream| headers(stream, &[("t", "1")], false),
    ] {
        let mut script = server(Limits {
            max_outbound_control_frames: 10,
            ..Limits::default()
        });
        let short: Vec<_> = [POST, &[("content-length", "3")]].concat();
        for n in 0..10 {
            script.feed(&headers(2 * n + 1, &short, false));
            assert_eq!(script.feed(&provoke(2 * n + 1)).len(), 1);
        }
        script.feed(&headers(21, &short, false));
        let error = script.try_feed(&provoke(21)).unwrap_err().1;
        assert_eq!(error.stat, Stat::OutboundControlFlood);
        assert_eq!(script.events(), ["RESET 21 ENHANCE_YOUR_CALM local"]);
    }
}

/// Responses pile up under a peer that asks and does not read.
#[test]
fn output_that_is_not_read_ends_the_connection_by_frames_and_by_octets() {
    let ask = |limits: Limits, field: &str| {
        let mut script = server(limits);
        for n in 0..10_000 {
            if let Err((_, error)) = script.try_feed(&headers(2 * n + 1, GET, true)) {
                assert_eq!((error.code, error.stat), (CALM, Stat::OutboundFlood));
                return n;
            }
            script.respond(2 * n + 1, &[OK, &[("x", &format!("{n}{field}"))]].concat(), true);
        }
        panic!("no limit");
    };
    assert_eq!(
        ask(
            Limits {
                max_outbound_frames: 100,
                ..Limits::default()
            },
            ""
        ),
        101
    );
    let long = "v".repeat(1_000);
    assert!(
        ask(
            Limits {
                max_outbound_bytes: 10_000,
                ..Limits::default()
            },
            &long
        ) < 30
    );
}

/// Data never counts: it waits in its stream and its source gets no credit.
#[test]
fn data_for_a_peer_that_does_not_read_is_bounded_by_the_output_cap() {
    let mut script = Script::server();
    script.feed(&settings(&[(4, 0x7fff_ffff)]));
    script.feed(&window_update(0, 0x7fff_ffff - 65_535));
    for n in 0..100 {
        script.feed(&headers(2 * n + 1, GET, true));
        script.respond(2 * n + 1, OK, false);
        script
            .connection
            .send_data(StreamId(2 * n + 1), &[0; 20_000], true)
            .unwrap();
    }
    assert!(script.connection.output().len() < 600_000);
    assert!(script.feed(&headers(1_001, GET, true)).len() == 1);
}

/// HPACK bomb: a few octets that refer to a large entry of the dynamic table again and again.
#[test]
fn an_hpack_bomb_is_measured_and_not_stored() {
    let mut script = Script::server();
    let long = "v".repeat(4_000);
    let mut bomb = block(GET);
    bomb.push(0x40); // Literal with incremental indexing.
    bomb.extend_from_slice(&block(&[("x", &long)])[1..]);
    bomb.extend_from_slice(&[0x80 | 62; 10_000]);
    let input = frame(frame::HEADERS, frame::END_HEADERS | frame::END_STREAM, 1, &bomb);
    script.feed_stream_error(&input, 1, CALM);
    assert_eq!(script.connection.stats().value(Stat::HeaderOverflow), 1);
    // The table is still in step: its entry can be used.
    let good = [&block(GET)[..], &[0x80 | 62]].concat();
    let lines = script.feed(&frame(frame::HEADERS, frame::END_HEADERS | frame::END_STREAM, 3, &good));
    assert_eq!(lines, [format!("HEAD 3 GET http a / x={long} END")]);
}
