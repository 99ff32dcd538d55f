//! The connection's window that grows with its path, where that is configured.

use std::time::Duration;

use super::script::*;
use crate::h2::Config;

const PING: &str = "PING \0window\0";

/// A server with a stream that may send much more than the connection.
fn uploading(limit: Option<u32>) -> Script {
    let mut script = Script::server_with(Config {
        initial_connection_window_size: 100_000,
        max_connection_window_size: limit,
        ..Config::default()
    });
    script.feed(&headers(1, POST, false));
    script
}

/// Sends `octets` of DATA and answers the PING that came of it; what the server said.
fn round_trip(script: &mut Script, octets: usize) -> Vec<String> {
    let mut said = Vec::new();
    for chunk in vec![0; octets].chunks(10_000) {
        script.feed(&data(1, chunk, false));
        said.extend(script.sent());
    }
    if said.contains(&PING.to_owned()) {
        script.feed(&frame(crate::h2::frame::PING, crate::h2::frame::ACK, 0, b"\0window\0"));
        said.extend(script.sent());
    }
    // What came is passed on, so that the sender is held back by nothing else.
    script
        .connection
        .release_credit(crate::event::StreamId(1), octets as u32);
    script.sent();
    script.now += Duration::from_millis(100);
    said
}

#[test]
fn a_window_that_holds_the_sender_back_grows_up_to_its_limit() {
    let mut script = uploading(Some(300_000));
    assert_eq!(round_trip(&mut script, 80_000), [PING, "WINDOW_UPDATE 0 60000"]);
    assert_eq!(round_trip(&mut script, 150_000), [PING, "WINDOW_UPDATE 0 140000"]);
    // The limit is reached: nothing is measured any more.
    assert!(round_trip(&mut script, 290_000).is_empty());
}

#[test]
fn a_window_that_is_wide_enough_stays_and_is_measured_less_often() {
    let mut script = uploading(Some(1_000_000));
    assert_eq!(round_trip(&mut script, 50_000), [PING]);
    // The next measurement waits for twice as long.
    assert!(round_trip(&mut script, 50_000).is_empty());
    assert_eq!(round_trip(&mut script, 50_000), [PING]);
    assert!(round_trip(&mut script, 90_000).is_empty());
    script.now += Duration::from_secs(10);
    assert_eq!(round_trip(&mut script, 90_000), [PING, "WINDOW_UPDATE 0 80000"]);
}

#[test]
fn without_a_limit_the_window_is_as_configured() {
    let mut script = uploading(None);
    assert!(round_trip(&mut script, 100_000).is_empty());
    // An answer to a PING that was not sent is one of no use, as any other.
    let lines = script.feed(&frame(crate::h2::frame::PING, crate::h2::frame::ACK, 0, b"\0window\0"));
    assert_eq!(lines, ["PINGACK \0window\0"]);
}
