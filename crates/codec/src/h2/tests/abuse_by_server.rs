//! The limits at a client: a hostile server runs into them as a hostile client does.

use super::script::*;
use crate::event::{ErrorCode, StreamId};
use crate::h2::frame;
use crate::h2::{Config, Limits, Rate};
use crate::stats::Stat;

const TEN: Rate = Rate {
    burst: 10,
    per_second: 0,
};

/// A client with a request on stream 1.
fn client(limits: Limits) -> Script {
    let mut script = Script::client_with(Config {
        limits,
        stream_error_on_invalid_http_message: true,
        ..Config::default()
    });
    script.request(POST, false);
    script.feed(&headers(1, OK, false));
    script.sent();
    script
}

#[test]
fn floods_of_a_server_end_the_connection_each_with_its_own_count() {
    let limits = || Limits {
        max_inbound_priority_frames_per_stream: 5,
        max_inbound_window_update_frames_per_data_frame_sent: 1,
        max_continuation_frames: 10,
        settings_frames: Rate {
            burst: 11,
            per_second: 0,
        },
        ping_frames: TEN,
        useless_frames: TEN,
        ..Limits::default()
    };
    let begun = frame(frame::HEADERS, 0, 1, &block(&[("t", "1")]));
    for (what, before, flood, allowed, stat) in [
        (
            "CVE-2019-9515",
            vec![],
            settings(&[(4, 100)]),
            10,
            Stat::InboundSettingsFlood,
        ),
        // Two more for the HEADERS frames exchanged, each way.
        ("CVE-2019-9512", vec![], ping(b"12345678"), 10, Stat::InboundPingFlood),
        (
            "CVE-2019-9513",
            vec![],
            frame(frame::PRIORITY, 0, 1, &[0, 0, 0, 3, 9]),
            10,
            Stat::InboundPriorityFramesFlood,
        ),
        (
            "CVE-2019-9517",
            vec![],
            window_update(0, 1),
            7,
            Stat::InboundWindowUpdateFramesFlood,
        ),
        (
            "CVE-2019-9518",
            vec![],
            data(1, b"", false),
            1,
            Stat::InboundEmptyFramesFlood,
        ),
        (
            "CVE-2024-27316",
            begun,
            frame(frame::CONTINUATION, 0, 1, &block(&[("u", "2")])),
            10,
            Stat::InboundContinuationFlood,
        ),
        (
            "10.5 unknown frames",
            vec![],
            frame(0xbe, 0, 0, b"x"),
            10,
            Stat::InboundUselessFramesFlood,
        ),
        (
            "10.5 late resets",
            rst(1, ErrorCode::CANCEL),
            rst(1, ErrorCode::CANCEL),
            10,
            Stat::InboundUselessFramesFlood,
        ),
        (
            "10.5 GOAWAY",
            vec![],
            goaway(0x7fff_ffff, ErrorCode::NO_ERROR, b""),
            10,
            Stat::InboundUselessFramesFlood,
        ),
        (
            "10.5 answers to no PING",
            vec![],
            frame(frame::PING, frame::ACK, 0, b"12345678"),
            10,
            Stat::InboundUselessFramesFlood,
        ),
    ] {
        let mut script = client(limits());
        script.feed(&before);
        let mut count = 0;
        let error = loop {
            match script.try_feed(&flood) {
                Ok(_) => count += 1,
                Err((_, error)) => break error,
            }
            script.sent();
            assert!(count < 100, "{what}: no limit");
        };
        assert_eq!((error.code, error.stat), (ErrorCode::ENHANCE_YOUR_CALM, stat), "{what}");
        assert!(count >= allowed && count <= allowed + 4, "{what}: after {count}");
        assert_eq!(script.connection.stats().value(stat), 1, "{what}");
    }
}

/// CVE-2025-8671 the other way round: a server that makes us reset stream after stream.
#[test]
fn a_server_that_provokes_resets_ends_the_connection() {
    for provoke in [
        |stream| window_update(stream, 0),
        |stream| headers(stream, &[("x", "y")], true),
        |stream| data(stream, b"x", false),
    ] {
        let mut script = client(Limits {
            stream_errors: TEN,
            ..Limits::default()
        });
        for _ in 0..10 {
            let stream = script.request(GET, true);
            script.feed_stream_error(&provoke(stream), stream, ErrorCode::PROTOCOL_ERROR);
        }
        let stream = script.request(GET, true);
        script.feed_error(&provoke(stream), ErrorCode::ENHANCE_YOUR_CALM);
        assert_eq!(script.connection.stats().value(Stat::MadeYouReset), 1);
    }
}

/// A server that makes us answer and does not read.
#[test]
fn answers_a_server_does_not_read_end_the_connection() {
    let mut script = client(Limits {
        max_outbound_control_frames: 20,
        ..Limits::default()
    });
    let error = (0..100)
        .find_map(|_| script.try_feed(&ping(b"12345678")).err())
        .unwrap()
        .1;
    assert_eq!(error.stat, Stat::OutboundControlFlood);
}

/// HPACK bombs in responses and trailers: measured, not stored, and the table stays in step.
#[test]
fn an_hpack_bomb_in_a_response_ends_its_stream() {
    let long = "v".repeat(4_000);
    let entry = [&[0x40][..], &block(&[("x", &long)])[1..]].concat();
    let bomb = |start: &[u8]| [start, &entry, &[0x80 | 62; 10_000]].concat();
    let mut script = client(Limits::default());
    let trailers = frame(frame::HEADERS, frame::END_HEADERS | frame::END_STREAM, 1, &bomb(&[]));
    script.feed_stream_error(&trailers, 1, ErrorCode::ENHANCE_YOUR_CALM);
    let stream = script.request(GET, true);
    let head = frame(frame::HEADERS, frame::END_HEADERS, stream, &bomb(&block(OK)));
    script.feed_stream_error(&head, stream, ErrorCode::ENHANCE_YOUR_CALM);
    assert_eq!(script.connection.stats().value(Stat::HeaderOverflow), 2);
    let stream = script.request(GET, true);
    let head = frame(
        frame::HEADERS,
        frame::END_HEADERS,
        stream,
        &[&block(OK)[..], &[0x80 | 62]].concat(),
    );
    assert_eq!(script.feed(&head), [format!("HEAD {stream} 200 x={long}")]);
}

/// Credit of streams that a server breaks off comes back to the connection, so that none is lost over time.
#[test]
fn no_credit_is_lost_by_streams_that_end_early() {
    let mut script = Script::client_with(Config {
        initial_connection_window_size: 65_535,
        stream_error_on_invalid_http_message: true,
        limits: Limits {
            stream_errors: Rate {
                burst: 1_000,
                per_second: 0,
            },
            ..Limits::default()
        },
        ..Config::default()
    });
    let mut announced = 0;
    for n in 0..300_u32 {
        let stream = script.request(GET, true);
        script.feed(&headers(
            stream,
            &[(":status", "200"), ("content-length", "20000")],
            false,
        ));
        script.feed(&data(stream, &[0; 10_000], false));
        let id = StreamId(stream);
        match n % 6 {
            0 => drop(script.feed(&rst(stream, ErrorCode::CANCEL))),
            1 => script.connection.reset(id, ErrorCode::CANCEL),
            // More than the length.
            2 => drop(script.feed(&data(stream, &[0; 10_001], true))),
            // The end, and a consumer that takes nothing of it.
            3 => {
                script.feed(&data(stream, &[0; 10_000], true));
                script.connection.reset(id, ErrorCode::CANCEL);
            }
            // A frame of which half has come when the stream is reset.
            4 => {
                let input = data(stream, &[0; 10_000], true);
                script.feed(&input[..5_000]);
                script.connection.reset(id, ErrorCode::CANCEL);
                script.feed(&input[5_000..]);
            }
            _ => {
                script.connection.release_credit(id, 10_000);
                let padded = [&[200][..], &[0; 10_200]].concat();
                script.feed(&frame(frame::DATA, frame::PADDED | frame::END_STREAM, stream, &padded));
                script.connection.release_credit(id, 10_000);
            }
        }
        for line in script.sent() {
            let update = line.strip_prefix("WINDOW_UPDATE 0 ");
            announced += update.map_or(0, |octets| octets.parse::<u32>().unwrap());
        }
    }
    // All that came has been given back but what does not fill a batch.
    let received = 50 * (10_000 * 10 + 1 + 201);
    assert!(received - announced < 32_768, "{announced} of {received}");
    script.assert_usable();
}
