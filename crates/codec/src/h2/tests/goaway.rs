//! RFC 9113 section 6.8: GOAWAY and draining.

use std::time::Duration;

use super::script::*;
use crate::event::{ErrorCode, OpenError, StreamId};
use crate::h2::Config;
use crate::h2::frame;

fn answer_drain_ping(script: &mut Script) -> Vec<String> {
    script.feed(&frame(frame::PING, frame::ACK, 0, b"\0drain\0\0"))
}

#[test]
fn a_server_drains_in_two_phases_and_loses_no_request() {
    let mut script = Script::server();
    script.feed(&headers(1, GET, true));
    script.connection.drain(script.now);
    assert_eq!(script.sent(), ["GOAWAY 2147483647 NO_ERROR", "PING \0drain\0\0"]);
    assert!(script.connection.is_draining());
    // What the client sent before it saw the GOAWAY is taken.
    assert_eq!(script.feed(&headers(3, GET, true)).len(), 1);
    assert!(answer_drain_ping(&mut script).is_empty());
    assert_eq!(script.sent(), ["GOAWAY 3 NO_ERROR"]);
    // What comes now was sent after: it is ignored, but the compression state is kept.
    assert!(script.feed(&headers(5, GET, true)).is_empty());
    assert!(script.feed(&data(5, b"late", true)).is_empty());
    assert!(script.sent().is_empty());
    script.respond(1, OK, true);
    assert!(!script.connection.is_closed());
    script.respond(3, OK, true);
    assert!(script.events().is_empty(), "the output has not been written");
    script.sent();
    assert_eq!(script.events(), ["CLOSED"]);
    assert!(script.connection.is_closed());
}

#[test]
fn the_second_goaway_does_not_wait_for_ever() {
    let mut script = Script::server();
    script.connection.drain(script.now);
    script.sent();
    assert_eq!(script.connection.deadline(), Some(script.now + Duration::from_secs(5)));
    script.sleep(Duration::from_secs(5)).unwrap();
    assert_eq!(script.sent(), ["GOAWAY 0 NO_ERROR"]);
    assert_eq!(script.events(), ["CLOSED"]);
    assert!(script.connection.is_closed());
}

#[test]
fn a_second_drain_changes_nothing() {
    let mut script = Script::server();
    script.connection.drain(script.now);
    script.connection.drain(script.now);
    assert_eq!(script.sent().len(), 2);
    answer_drain_ping(&mut script);
    script.connection.drain(script.now);
    assert_eq!(script.sent(), ["GOAWAY 0 NO_ERROR"]);
}

#[test]
fn go_away_names_the_last_stream_at_once() {
    let mut script = Script::server();
    script.feed(&headers(1, GET, true));
    script.connection.go_away(ErrorCode::ENHANCE_YOUR_CALM, b"enough");
    assert_eq!(script.sent(), ["GOAWAY 1 ENHANCE_YOUR_CALM enough"]);
    assert!(script.feed(&headers(3, GET, true)).is_empty());
    script.respond(1, OK, true);
    script.sent();
    assert_eq!(script.events(), ["CLOSED"]);
}

#[test]
fn streams_above_the_last_one_of_a_goaway_are_refused_and_the_others_go_on() {
    let mut script = Script::client();
    for _ in 0..3 {
        script.request(GET, true);
    }
    script.connection.set_tag(StreamId(5), 55);
    assert_eq!(
        script.feed(&goaway(1, ErrorCode::NO_ERROR, b"bye")),
        [
            "GOAWAY 1 NO_ERROR bye",
            "RESET 3 NO_ERROR remote refused",
            "RESET 5 NO_ERROR remote refused"
        ]
    );
    assert_eq!(script.connection.tag(StreamId(5)), 55);
    assert_eq!(script.connection.open_stream(), Err(OpenError::Draining));
    assert_eq!(script.connection.active_streams(), 1);
    assert_eq!(script.feed(&headers(1, OK, true)), ["HEAD 1 200 END"]);
    script.sent();
}

#[test]
fn a_two_phase_goaway_of_the_peer_refuses_only_by_its_second_one() {
    let mut script = Script::client();
    script.request(GET, true);
    script.request(GET, true);
    assert_eq!(
        script.feed(&goaway(0x7fff_ffff, ErrorCode::NO_ERROR, b"")),
        ["GOAWAY 2147483647 NO_ERROR "]
    );
    assert_eq!(script.feed(&goaway(1, ErrorCode::NO_ERROR, b"")).len(), 2);
    assert_eq!(script.connection.active_streams(), 1);
}

#[test]
fn debug_data_is_delivered_also_when_it_comes_in_pieces() {
    let mut script = Script::client();
    let input = goaway(0, ErrorCode::ENHANCE_YOUR_CALM, b"too_many_pings");
    let mut lines = Vec::new();
    for octet in &input {
        lines.extend(script.feed(&[*octet]));
    }
    assert_eq!(lines, ["GOAWAY 0 ENHANCE_YOUR_CALM too_many_pings"]);
}

/// A server ignores the streams a client names: it has opened none.
#[test]
fn a_server_goes_on_after_a_clients_goaway() {
    let mut script = Script::server();
    script.feed(&headers(1, POST, false));
    assert_eq!(
        script.feed(&goaway(0, ErrorCode::NO_ERROR, b"")),
        ["GOAWAY 0 NO_ERROR "]
    );
    assert_eq!(script.feed(&data(1, b"x", true)), ["DATA 1 x END"]);
    script.respond(1, OK, true);
    assert_eq!(script.sent(), ["HEADERS 1 200 END"]);
}

#[test]
fn a_client_drains_by_opening_no_more_streams() {
    let mut script = Script::client();
    script.request(GET, true);
    script.connection.drain(script.now);
    assert_eq!(script.sent()[1..], ["GOAWAY 0 NO_ERROR"]);
    assert_eq!(script.connection.open_stream(), Err(OpenError::Draining));
    assert_eq!(script.feed(&headers(1, OK, true)), ["HEAD 1 200 END", "CLOSED"]);
    assert!(script.connection.is_closed());
}

#[test]
fn every_goaway_is_counted() {
    let mut script = Script::server_with(Config::default());
    script.connection.drain(script.now);
    answer_drain_ping(&mut script);
    let stats = script.connection.take_stats();
    assert_eq!(stats.value(crate::stats::Stat::GoawaySent), 2);
    assert_eq!(stats.value(crate::stats::Stat::GoawayGracefulSent), 1);
    assert_eq!(script.connection.stats().value(crate::stats::Stat::GoawaySent), 0);
}
