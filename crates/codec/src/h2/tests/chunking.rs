//! However input is cut into pieces, the events are the same.

use proptest::prelude::*;

use super::script::*;
use crate::event::{ErrorCode, Event, StreamId};
use crate::h2::Config;
use crate::h2::frame;

/// Runs input in pieces of the given sizes; data of a stream that follows data of the same stream is joined.
fn run(input: &[u8], pieces: &[usize]) -> (Vec<String>, Vec<String>) {
    let config = Config {
        stream_error_on_invalid_http_message: true,
        ..Config::default()
    };
    let mut script = Script::new_server(config);
    let mut lines: Vec<String> = Vec::new();
    let mut body: Option<(u32, Vec<u8>)> = None;
    let mut rest = input;
    let mut sizes = pieces.iter().cycle();
    while !rest.is_empty() {
        let size = (*sizes.next().unwrap()).clamp(1, rest.len());
        let (mut piece, after) = rest.split_at(size);
        rest = after;
        loop {
            match script.connection.receive(&mut piece, &mut script.scratch, script.now) {
                Ok(Some(Event::Data {
                    stream,
                    data,
                    credit,
                    end_stream,
                })) => {
                    match &mut body {
                        Some((same, content)) if *same == stream.0 => content.extend_from_slice(data),
                        _ => {
                            if let Some((stream, content)) = body.take() {
                                lines.push(format!("{stream} {content:?}"));
                            }
                            body = Some((stream.0, data.to_vec()));
                        }
                    }
                    if end_stream {
                        let (stream, content) = body.take().unwrap();
                        lines.push(format!("{stream} {content:?} END"));
                    }
                    script.connection.release_credit(stream, credit);
                }
                Ok(Some(event)) => {
                    if let Some((stream, content)) = body.take() {
                        lines.push(format!("{stream} {content:?}"));
                    }
                    lines.push(line(&event));
                }
                Ok(None) => break,
                Err(error) => {
                    lines.push(error.to_string());
                    return (lines, script.sent());
                }
            }
        }
    }
    (lines, script.sent())
}

/// A conversation with every kind of frame in it.
fn conversation() -> Vec<u8> {
    let request = block(&[POST, &[("content-length", "7"), ("x", "y")]].concat());
    let padded = [&[4][..], b"abc", &[0; 4]].concat();
    [
        &frame::PREFACE[..],
        &settings(&[(4, 100_000), (0x77, 1)]),
        &settings_ack(),
        &headers(1, GET, true),
        &frame(frame::HEADERS, 0, 3, &request[..10]),
        &frame(frame::CONTINUATION, 0, 3, &request[10..30]),
        &frame(frame::CONTINUATION, frame::END_HEADERS, 3, &request[30..]),
        &data(3, b"hell", false),
        &ping(b"12345678"),
        &frame(frame::DATA, frame::PADDED, 3, &padded),
        &headers(3, &[("trailer", "1")], true),
        &headers(5, &[GET, &[("X", "bad")]].concat(), false),
        &data(5, b"late", true),
        &frame(0x55, 0, 9, b"unknown"),
        &headers(7, POST, false),
        &data(7, &[9; 300], false),
        &window_update(0, 9),
        &window_update(7, 9),
        &rst(7, ErrorCode::CANCEL),
        &frame(frame::PRIORITY, 0, 9, &[0, 0, 0, 1, 1]),
        &goaway(0, ErrorCode::NO_ERROR, b"debug data"),
        &data(1, b"wrong", false),
        &headers(9, GET, true),
    ]
    .concat()
}

#[test]
fn one_octet_at_a_time_gives_the_same_events() {
    let input = conversation();
    let whole = run(&input, &[input.len()]);
    assert!(whole.0.len() > 10, "{whole:?}");
    assert_eq!(run(&input, &[1]), whole);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_cut_gives_the_same_events(pieces in prop::collection::vec(1..200_usize, 1..30)) {
        let input = conversation();
        prop_assert_eq!(run(&input, &pieces), run(&input, &[input.len()]));
    }

    /// Also for input that is damaged somewhere: the same events up to the same error.
    #[test]
    fn any_cut_of_damaged_input_gives_the_same_events(
        pieces in prop::collection::vec(1..100_usize, 1..10),
        damage in prop::collection::vec((24..700_usize, any::<u8>()), 1..6),
    ) {
        let mut input = conversation();
        for (at, octet) in damage {
            if let Some(place) = input.get_mut(at) {
                *place = octet;
            }
        }
        prop_assert_eq!(run(&input, &pieces), run(&input, &[input.len()]));
    }

    /// No input makes the codec panic, whatever is sent meanwhile.
    #[test]
    fn any_octets_are_survived(input in prop::collection::vec(any::<u8>(), 0..600), client in any::<bool>()) {
        let mut script = if client { Script::client() } else { Script::server() };
        if client {
            script.request(GET, true);
        }
        let _ = script.try_feed(&input);
        let _ = script.connection.send_head(StreamId(1), &header_block(OK), false);
        let _ = script.connection.send_data(StreamId(1), &input, true);
        script.connection.reset(StreamId(1), ErrorCode::CANCEL);
        script.connection.drain(script.now);
        let _ = script.connection.on_deadline(script.now + std::time::Duration::from_secs(1_000));
        let length = script.connection.output().len();
        script.connection.advance_output(length);
    }
}
