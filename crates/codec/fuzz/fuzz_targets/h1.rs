//! What the HTTP/1.1 targets share.

use codec::event::{ConnectionError, Event, Scratch, StreamId};
use codec::h1::{Config, Connection};
use codec::headers::HeaderBlock;
use std::sync::Arc;
use std::time::Instant;

#[allow(dead_code, reason = "each target uses one")]
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    Server,
    Client,
}

/// All events of `input` cut into pieces of this length as text, with data joined, and how the input was refused.
/// A server answers each request at its end.
pub(crate) fn run(input: &[u8], piece: usize, role: Role) -> (String, Option<ConnectionError>) {
    let config = Arc::new(Config {
        accept_http_10: true,
        max_headers_bytes: 4096,
        ..Config::default()
    });
    let now = Instant::now();
    let mut scratch = Scratch::new();
    let mut head = HeaderBlock::new();
    let mut connection = match role {
        Role::Server => {
            head.set_status(200);
            Connection::server(&config, now)
        }
        Role::Client => {
            head.set_method(b"GET");
            head.set_path(b"/");
            head.set_authority(b"a");
            let mut connection = Connection::client(&config, now);
            let stream = connection.open_stream().unwrap();
            connection.send_head(stream, &head, true).unwrap();
            connection
        }
    };
    let mut text = String::new();
    let mut in_data = false;
    let mut rest = input;
    while !rest.is_empty() || connection.wants_receive() {
        let length = if connection.wants_receive() {
            0
        } else {
            piece.min(rest.len())
        };
        let (mut now_in, after) = rest.split_at(length);
        rest = after;
        loop {
            let mut ended: Option<StreamId> = None;
            match connection.receive(&mut now_in, &mut scratch, now) {
                Err(error) => return (text, Some(error)),
                Ok(None) => break,
                Ok(Some(event)) => {
                    if let Event::Data {
                        stream,
                        data,
                        credit,
                        end_stream,
                    } = &event
                    {
                        text.push_str(if in_data { "" } else { "\ndata " });
                        text.push_str(&data.escape_ascii().to_string());
                        in_data = !end_stream;
                        if *end_stream {
                            text.push_str(" end");
                            ended = Some(*stream);
                        }
                        let (stream, credit) = (*stream, *credit);
                        connection.release_credit(stream, credit);
                    } else {
                        in_data = false;
                        text.push_str(&format!("\n{event:?}"));
                        match event {
                            Event::Head {
                                stream,
                                end_stream: true,
                                ..
                            }
                            | Event::Trailers { stream, .. } => {
                                ended = Some(stream);
                            }
                            _ => {}
                        }
                    }
                }
            }
            if let (Some(stream), Role::Server) = (ended, role) {
                connection.send_head(stream, &head, true).unwrap();
                connection.advance_output(usize::MAX);
            }
        }
        assert!(connection.heap_bytes() < 2 * input.len() + 16 * 1024);
    }
    while let Ok(Some(event)) = connection.end_of_input(&mut scratch, now) {
        text.push_str(&format!("\n{event:?}"));
    }
    (text, None)
}
