//! What the HTTP/2 targets share.

use codec::event::{Event, Scratch, StreamId};
use codec::h2::{Config, Connection};
use codec::headers::HeaderBlock;
use std::sync::Arc;
use std::time::{Duration, Instant};

#[allow(dead_code, reason = "each target uses one")]
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    Server,
    Client,
}

/// What `input`, cut into pieces of this length, makes of a connection: its events as text with data joined, and how it
/// was refused. Preface and SETTINGS go before it, so that no octet is wasted on them. Messages are answered, and data
/// echoed with its credit, so that the sending half is exercised too.
pub(crate) fn run(input: &[u8], piece: usize, role: Role) -> String {
    let config = Arc::new(Config {
        stream_error_on_invalid_http_message: true,
        max_header_list_size: 4096,
        initial_stream_window_size: 1000,
        allow_connect: true,
        ..Config::default()
    });
    let now = Instant::now();
    let mut scratch = Scratch::new();
    let mut head = HeaderBlock::new();
    let settings = b"\0\0\0\x04\0\0\0\0\0\0\0\0\x04\x01\0\0\0\0";
    let (mut connection, greeting) = match role {
        Role::Server => {
            head.set_status(200);
            let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
            (Connection::server(&config, now), [&preface[..], settings].concat())
        }
        Role::Client => {
            head.set_method(b"POST");
            head.set_scheme(b"http");
            head.set_path(b"/");
            head.set_authority(b"a");
            let mut connection = Connection::client(&config, now);
            for _ in 0..3 {
                let stream = connection.open_stream().unwrap();
                connection.send_head(stream, &head, false).unwrap();
            }
            (connection, settings.to_vec())
        }
    };
    let input = [greeting, input.to_vec()].concat();
    let mut text = String::new();
    let mut data_of: Option<StreamId> = None;
    let mut rest = &input[..];
    while !rest.is_empty() {
        let (mut part, after) = rest.split_at(piece.min(rest.len()));
        rest = after;
        loop {
            let event = match connection.receive(&mut part, &mut scratch, now) {
                Ok(Some(event)) => event,
                Ok(None) => break,
                Err(error) => {
                    text.push_str(&format!("\n{error}"));
                    return text;
                }
            };
            // Nothing goes out while input comes in: what is sent must not depend on how the input was cut.
            match event {
                Event::Data {
                    stream,
                    data,
                    credit,
                    end_stream,
                } => {
                    if data_of != Some(stream) {
                        text.push_str(&format!("\ndata {stream} "));
                    }
                    text.push_str(&data.escape_ascii().to_string());
                    data_of = Some(stream);
                    if end_stream {
                        text.push_str(" end");
                        data_of = None;
                    }
                    connection.release_credit(stream, credit);
                }
                event => {
                    data_of = None;
                    text.push_str(&format!("\n{event:?}"));
                }
            }
        }
        assert!(part.is_empty(), "input is always used up");
    }
    // The rest only has to survive.
    for id in [1, 3, 5, 7] {
        let stream = StreamId(id);
        let _ = connection.send_head(stream, &head, false);
        let _ = connection.send_data(stream, &input, id % 4 == 1);
        let _ = connection.send_trailers(stream, &head);
        if id == 5 {
            connection.reset(stream, codec::event::ErrorCode::CANCEL);
        }
    }
    connection.drain(now);
    let _ = connection.on_deadline(now + Duration::from_secs(6));
    while connection.wants_write() {
        let half = connection.output().len().div_ceil(2);
        connection.advance_output(half);
        while connection.next_event(&mut scratch).is_some() {}
    }
    while let Ok(Some(_)) = connection.end_of_input(&mut scratch, now) {}
    assert_eq!(connection.active_streams(), 0);
    text
}
