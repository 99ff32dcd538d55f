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

/// Passes on what came until credit goes back, which begins a measurement, lets `octets` of DATA come during the round
/// trip and answers the PING; what the server said.
fn round_trip(script: &mut Script, before: usize, octets: usize) -> Vec<String> {
    let stream = crate::event::StreamId(1);
    upload(script, before);
    script.connection.release_credit(stream, before as u32);
    let mut said = script.sent();
    upload(script, octets);
    if said.contains(&PING.to_owned()) {
        script.feed(&frame(crate::h2::frame::PING, crate::h2::frame::ACK, 0, b"\0window\0"));
    }
    said.extend(script.sent());
    script.connection.release_credit(stream, octets as u32);
    script.sent();
    script.now += Duration::from_millis(100);
    said
}

fn upload(script: &mut Script, octets: usize) {
    for chunk in vec![0; octets].chunks(10_000) {
        script.feed(&data(1, chunk, false));
    }
}

#[test]
fn a_window_that_holds_the_sender_back_grows_up_to_its_limit() {
    let mut script = uploading(Some(300_000));
    assert_eq!(
        round_trip(&mut script, 60_000, 80_000),
        ["WINDOW_UPDATE 0 60000", PING, "WINDOW_UPDATE 0 60000"]
    );
    // 80,000 octets that were passed on after the answer are half of what it has grown to.
    assert_eq!(
        round_trip(&mut script, 80_000, 150_000),
        ["WINDOW_UPDATE 0 80000", PING, "WINDOW_UPDATE 0 140000"]
    );
    // The limit is reached: nothing is measured any more.
    assert_eq!(round_trip(&mut script, 150_000, 100_000), ["WINDOW_UPDATE 0 150000"]);
}

#[test]
fn a_window_that_is_wide_enough_stays_and_is_measured_less_often() {
    let mut script = uploading(Some(1_000_000));
    let given = "WINDOW_UPDATE 0 50000";
    assert_eq!(round_trip(&mut script, 50_000, 50_000), [given, PING]);
    // The next measurement waits for twice as long.
    assert_eq!(round_trip(&mut script, 50_000, 50_000), [given]);
    assert_eq!(round_trip(&mut script, 50_000, 50_000), [given, PING]);
    assert_eq!(round_trip(&mut script, 50_000, 90_000), [given]);
    script.now += Duration::from_secs(10);
    assert_eq!(
        round_trip(&mut script, 50_000, 90_000),
        [given, PING, "WINDOW_UPDATE 0 80000"]
    );
}

#[test]
fn without_a_limit_the_window_is_as_configured() {
    let mut script = uploading(None);
    assert_eq!(round_trip(&mut script, 50_000, 90_000), ["WINDOW_UPDATE 0 50000"]);
    // An answer to a PING that was not sent is one of no use, as any other.
    let lines = script.feed(&frame(crate::h2::frame::PING, crate::h2::frame::ACK, 0, b"\0window\0"));
    assert_eq!(lines, ["PINGACK \0window\0"]);
}
