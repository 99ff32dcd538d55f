//! Scheduling of what we send: fair turns, bounded output, and what may be sent when.

use std::time::Duration;

use super::script::*;
use crate::event::{ErrorCode, SendError, StreamId};
use crate::h2::Config;

/// A server with `count` requests answered by a head, and windows that never shut.
fn responding(count: u32) -> Script {
    let mut script = Script::server();
    script.feed(&settings(&[(4, 0x7fff_ffff)]));
    script.feed(&window_update(0, 0x7fff_ffff - 65_535));
    for n in 0..count {
        script.feed(&headers(2 * n + 1, GET, true));
        script.respond(2 * n + 1, OK, false);
    }
    script.sent();
    script
}

#[test]
fn data_stops_at_the_output_cap_and_goes_on_as_the_output_is_written() {
    let mut script = responding(1);
    let sent = script.connection.send_data(StreamId(1), &[7; 2_000_000], true).unwrap();
    assert_eq!(sent, 512 * 1024);
    assert!(script.connection.output().len() < 512 * 1024 + 1_000);
    let mut total = sent;
    while script.connection.wants_write() {
        let step = script.connection.output().len().min(100_000);
        script.connection.advance_output(step);
        assert!(script.connection.output().len() < 512 * 1024 + 1_000);
        for line in script.events() {
            total += line.strip_prefix("SENT 1 ").unwrap().parse::<usize>().unwrap();
        }
    }
    assert_eq!(total, 2_000_000);
    assert_eq!(script.connection.active_streams(), 0);
}

#[test]
fn streams_take_turns_by_frames() {
    let mut script = responding(3);
    script.connection.send_data(StreamId(1), &[7; 600_000], false).unwrap();
    for stream in [1, 3, 5] {
        assert_eq!(
            script.connection.send_data(StreamId(stream), &[8; 100_000], true),
            Ok(0)
        );
    }
    let length = script.connection.output().len();
    script.connection.advance_output(length);
    let events = script.events();
    assert_eq!(
        events[..4],
        ["SENT 1 16384", "SENT 3 16384", "SENT 5 16384", "SENT 1 16384"]
    );
}

/// Heads and control frames never wait for data.
#[test]
fn control_frames_and_heads_do_not_wait_behind_queued_data() {
    let mut script = responding(1);
    script.connection.send_data(StreamId(1), &[7; 2_000_000], true).unwrap();
    script.feed(&ping(b"12345678"));
    script.feed(&headers(3, GET, true));
    script.respond(3, OK, true);
    let sent = script.connection.output().to_vec();
    script.connection.advance_output(sent.len());
    assert!(sent.windows(8).any(|octets| octets == b"12345678"));
    assert_eq!(script.connection.active_streams(), 1);
}

#[test]
fn memory_is_given_back_when_the_output_is_written_and_the_streams_are_gone() {
    let mut script = Script::server();
    let idle = script.connection.heap_bytes();
    script.feed(&settings(&[(4, 0x7fff_ffff)]));
    for n in 0..200 {
        script.feed(&headers(2 * n + 1, POST, false));
        script.feed(&data(2 * n + 1, &[1; 1_000], true));
        script.connection.release_credit(StreamId(2 * n + 1), 1_000);
        script.respond(2 * n + 1, OK, false);
    }
    for n in 0..200 {
        script
            .connection
            .send_data(StreamId(2 * n + 1), &[7; 10_000], true)
            .unwrap();
    }
    script.sent();
    assert!(script.connection.heap_bytes() > 1_000_000);
    script.feed(&window_update(0, 10_000_000));
    script.sent();
    script.events();
    assert_eq!(script.connection.active_streams(), 0);
    // Not at once: a busy connection would only ask for it again.
    script.sleep(Duration::from_secs(1)).unwrap();
    assert_eq!(script.connection.heap_bytes(), idle);
    assert_eq!(script.connection.deadline(), None);
}

/// The whole state of an idle connection.
#[test]
fn an_idle_connection_takes_less_than_1_kib() {
    let mut script = Script::server();
    script.feed(&headers(1, GET, true));
    script.respond(1, OK, true);
    script.sent();
    let total = size_of_val(&script.connection) + script.connection.heap_bytes();
    assert!(
        total < 1024,
        "{total} octets, {} of them inline",
        size_of_val(&script.connection)
    );
}

#[test]
fn nothing_is_sent_out_of_order_or_on_streams_that_are_gone() {
    let mut script = Script::server();
    let (one, head) = (StreamId(1), header_block(OK));
    assert_eq!(
        script.connection.send_head(one, &head, true),
        Err(SendError::StreamGone)
    );
    script.feed(&headers(1, GET, true));
    assert_eq!(
        script.connection.send_data(one, b"x", false),
        Err(SendError::OutOfOrder)
    );
    assert_eq!(script.connection.send_trailers(one, &head), Err(SendError::OutOfOrder));
    assert_eq!(
        script.connection.send_head(one, &header_block(GET), true),
        Err(SendError::InvalidHead)
    );
    assert_eq!(
        script
            .connection
            .send_head(one, &header_block(&[(":status", "100")]), false),
        Err(SendError::InvalidHead)
    );
    script.connection.send_head(one, &head, false).unwrap();
    assert_eq!(
        script.connection.send_head(one, &head, false),
        Err(SendError::OutOfOrder)
    );
    assert_eq!(
        script
            .connection
            .send_informational(one, &header_block(&[(":status", "103")])),
        Err(SendError::OutOfOrder)
    );
    script.connection.send_data(one, b"x", true).unwrap();
    assert_eq!(script.connection.send_data(one, b"x", true), Err(SendError::StreamGone));
    assert_eq!(script.sent(), ["HEADERS 1 200", "DATA 1 1 END"]);
}

#[test]
fn nothing_follows_an_end_that_is_queued() {
    let mut script = Script::server();
    script.feed(&headers(1, GET, true));
    script.respond(1, OK, false);
    script.connection.send_data(StreamId(1), &[0; 70_000], true).unwrap();
    assert_eq!(
        script.connection.send_data(StreamId(1), b"x", true),
        Err(SendError::OutOfOrder)
    );
    assert_eq!(
        script
            .connection
            .send_trailers(StreamId(1), &header_block(&[("a", "b")])),
        Err(SendError::OutOfOrder)
    );
}

/// Section 8.1: a complete response may be followed by RST_STREAM(NO_ERROR) to stop an upload.
#[test]
fn a_server_can_stop_an_upload_after_its_response() {
    let mut script = Script::server();
    script.feed(&headers(1, POST, false));
    script.respond(1, OK, true);
    script.connection.reset(StreamId(1), ErrorCode::NO_ERROR);
    assert_eq!(script.sent(), ["HEADERS 1 200 END", "RST_STREAM 1 NO_ERROR"]);
    assert!(script.feed(&data(1, b"late", true)).is_empty());
}

#[test]
fn a_reset_drops_what_was_queued() {
    let mut script = Script::server();
    script.feed(&headers(1, GET, true));
    script.respond(1, OK, false);
    script.connection.send_data(StreamId(1), &[0; 100_000], true).unwrap();
    script.sent();
    script.connection.reset(StreamId(1), ErrorCode::INTERNAL_ERROR);
    script.feed(&window_update(0, 100_000));
    assert_eq!(script.sent(), ["RST_STREAM 1 INTERNAL_ERROR"]);
    assert_eq!(script.connection.queued_bytes(), 0);
}

/// Section 6.5.2, MAX_HEADER_LIST_SIZE.
#[test]
fn a_head_larger_than_the_peer_takes_is_not_sent() {
    let mut script = Script::client();
    script.feed(&settings(&[(6, 300)]));
    let stream = script.connection.open_stream().unwrap();
    let long = "v".repeat(300);
    let head = header_block(&[GET, &[("x", &long)]].concat());
    assert_eq!(
        script.connection.send_head(stream, &head, true),
        Err(SendError::HeadTooLarge)
    );
    script.connection.send_head(stream, &header_block(GET), true).unwrap();
}

#[test]
fn totals_tell_whether_an_octet_of_a_request_has_left() {
    let mut script = Script::client();
    let before = script.connection.output_total();
    script.request(GET, true);
    assert!(script.connection.output_total() > before);
    assert_eq!(script.connection.output_flushed(), before);
    script.connection.advance_output(1);
    assert_eq!(script.connection.output_flushed(), before + 1);
}

#[test]
fn huffman_coding_can_be_turned_off() {
    let sends_plain_text = |enable_huffman_encoding| {
        let mut script = Script::client_with(Config {
            enable_huffman_encoding,
            ..Config::default()
        });
        script.request(&[GET, &[("x-plain", "text")]].concat(), true);
        script.connection.output().windows(4).any(|octets| octets == b"text")
    };
    assert!(sends_plain_text(false));
    assert!(!sends_plain_text(true));
}

/// RFC 7541 section 4.2: the encoder follows the peer's table size, and says so in the next block.
#[test]
fn the_peers_header_table_size_is_obeyed() {
    let mut script = Script::client_with(Config::default());
    script.feed(&settings(&[(1, 0)]));
    script.request(&[GET, &[("x", "y")]].concat(), true);
    let output = script.connection.output();
    let at = output.len() - output.iter().rev().position(|&octet| octet == 0x20).unwrap() - 1;
    assert_eq!(output[at], 0x20, "a size update to 0 begins the block");
}
