//! Our codec's side.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use codec::event::{ConnectionError, Event, Scratch};
use codec::h2::{Config, Connection, Limits, Rate};
use codec::headers::HeaderBlock;

use super::generate::Script;
use super::{Outcome, refusals};

fn config() -> Config {
    let unlimited = Rate {
        burst: u32::MAX,
        per_second: 0,
    };
    Config {
        stream_error_on_invalid_http_message: true,
        initial_stream_window_size: 65_535,
        initial_connection_window_size: 65_535,
        max_concurrent_streams: 100,
        limits: Limits {
            max_consecutive_inbound_frames_with_empty_payload: u32::MAX,
            max_inbound_priority_frames_per_stream: u32::MAX,
            max_inbound_window_update_frames_per_data_frame_sent: u32::MAX,
            settings_frames: unlimited,
            ping_frames: unlimited,
            useless_frames: unlimited,
            stream_errors: unlimited,
            premature_reset_total_stream_count: 0,
            ..Limits::default()
        },
        ..Config::default()
    }
}

fn fields(head: &HeaderBlock) -> BTreeMap<String, Vec<Vec<u8>>> {
    let mut fields: BTreeMap<String, Vec<Vec<u8>>> = BTreeMap::new();
    for field in head.iter() {
        fields
            .entry(String::from_utf8_lossy(field.name).into_owned())
            .or_default()
            .push(field.value.to_vec());
    }
    fields
}

fn line(head: &HeaderBlock) -> Vec<String> {
    let mut line: Vec<String> = head.status().iter().map(u16::to_string).collect();
    // `http::Uri` has no scheme without an authority.
    let scheme = head.authority().and(head.scheme());
    for value in [head.method(), scheme, head.authority(), head.path()]
        .into_iter()
        .flatten()
    {
        line.push(String::from_utf8_lossy(value).into_owned());
    }
    line
}

/// Runs a script through our codec.
pub(crate) fn run(script: &Script, server: bool) -> Outcome {
    let now = Instant::now();
    let mut scratch = Scratch::new();
    let mut outcome = Outcome::default();
    let mut connection = if server {
        Connection::server(&Arc::new(config()), now)
    } else {
        let mut connection = Connection::client(&Arc::new(config()), now);
        for method in script.requests() {
            let stream = connection.open_stream().unwrap();
            let mut head = HeaderBlock::new();
            head.set_method(method.as_bytes());
            head.set_scheme(b"http");
            head.set_authority(b"a");
            head.set_path(b"/");
            connection.send_head(stream, &head, true).unwrap();
            outcome.streams.entry(stream.0).or_default();
        }
        connection
    };
    for piece in script.pieces() {
        if let Err(error) = feed(&mut connection, &piece, &mut scratch, now, &mut outcome) {
            outcome.connection_error = Some(error.to_string());
            return outcome;
        }
        // A request that is malformed from its head on is never an event: the frame that refuses it tells.
        for (stream, _) in refusals(connection.output()).0 {
            let reason = connection.last_violation().unwrap_or_default().to_owned();
            outcome.streams.entry(stream).or_default().refused.get_or_insert(reason);
        }
    }
    outcome
}

fn feed(
    connection: &mut Connection,
    mut input: &[u8],
    scratch: &mut Scratch,
    now: Instant,
    outcome: &mut Outcome,
) -> Result<(), ConnectionError> {
    while let Some(event) = connection.receive(&mut input, scratch, now)? {
        match event {
            Event::Head {
                stream,
                head,
                end_stream,
            } => {
                let stream = outcome.streams.entry(stream.0).or_default();
                stream.line = line(head);
                stream.fields = fields(head);
                stream.ended = end_stream;
            }
            Event::Data {
                stream,
                data,
                credit,
                end_stream,
            } => {
                let record = outcome.streams.entry(stream.0).or_default();
                record.body.extend_from_slice(data);
                record.ended = end_stream;
                connection.release_credit(stream, credit);
            }
            Event::Trailers { stream, trailers } => {
                let stream = outcome.streams.entry(stream.0).or_default();
                stream.trailers = Some(fields(trailers));
                stream.ended = true;
            }
            Event::Reset { stream, reason } => {
                let stream = outcome.streams.entry(stream.0).or_default();
                if reason.remote {
                    stream.reset = true;
                } else {
                    stream.refused = reason.violation.map(str::to_owned);
                }
            }
            _ => {}
        }
    }
    Ok(())
}
