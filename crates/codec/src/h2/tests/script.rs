//! One connection under a script: frames are written by hand, events and frames come out as short lines of text.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::event::{ConnectionError, ErrorCode, Event, Scratch, StreamId};
use crate::h2::frame::{self, FrameHeader, HEADER_LEN};
use crate::h2::{Config, Connection};
use crate::headers::HeaderBlock;
use crate::headers::validate::Kind;
use crate::hpack;

pub(super) type Fields<'a> = &'a [(&'a str, &'a str)];

pub(super) const GET: Fields<'static> = &[
    (":method", "GET"),
    (":scheme", "http"),
    (":path", "/"),
    (":authority", "a"),
];
pub(super) const POST: Fields<'static> = &[
    (":method", "POST"),
    (":scheme", "http"),
    (":path", "/"),
    (":authority", "a"),
];
pub(super) const OK: Fields<'static> = &[(":status", "200")];

/// A frame.
pub(super) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let header = FrameHeader {
        length: payload.len() as u32,
        kind,
        flags,
        stream,
    };
    [&header.octets()[..], payload].concat()
}

/// A header block of literals that leave the dynamic table alone.
pub(super) fn block(fields: Fields<'_>) -> Vec<u8> {
    let mut block = Vec::new();
    let string = |block: &mut Vec<u8>, text: &str| {
        let mut length = text.len();
        if length < 127 {
            block.push(length as u8);
        } else {
            block.push(127);
            length -= 127;
            while length >= 128 {
                block.push((length % 128) as u8 | 128);
                length /= 128;
            }
            block.push(length as u8);
        }
        block.extend_from_slice(text.as_bytes());
    };
    for (name, value) in fields {
        block.push(0);
        string(&mut block, name);
        string(&mut block, value);
    }
    block
}

pub(super) fn headers(stream: u32, fields: Fields<'_>, end: bool) -> Vec<u8> {
    let flags = frame::END_HEADERS | if end { frame::END_STREAM } else { 0 };
    frame(frame::HEADERS, flags, stream, &block(fields))
}

pub(super) fn data(stream: u32, content: &[u8], end: bool) -> Vec<u8> {
    frame(frame::DATA, if end { frame::END_STREAM } else { 0 }, stream, content)
}

pub(super) fn rst(stream: u32, code: ErrorCode) -> Vec<u8> {
    frame(frame::RST_STREAM, 0, stream, &code.0.to_be_bytes())
}

pub(super) fn window_update(stream: u32, increment: u32) -> Vec<u8> {
    frame(frame::WINDOW_UPDATE, 0, stream, &increment.to_be_bytes())
}

pub(super) fn settings(parameters: &[(u16, u32)]) -> Vec<u8> {
    let payload: Vec<u8> = parameters
        .iter()
        .flat_map(|(id, value)| [&id.to_be_bytes()[..], &value.to_be_bytes()[..]].concat())
        .collect();
    frame(frame::SETTINGS, 0, 0, &payload)
}

pub(super) fn settings_ack() -> Vec<u8> {
    frame(frame::SETTINGS, frame::ACK, 0, b"")
}

pub(super) fn ping(payload: &[u8; 8]) -> Vec<u8> {
    frame(frame::PING, 0, 0, payload)
}

pub(super) fn goaway(last: u32, code: ErrorCode, debug: &[u8]) -> Vec<u8> {
    frame(
        frame::GOAWAY,
        0,
        0,
        &[&last.to_be_bytes()[..], &code.0.to_be_bytes()[..], debug].concat(),
    )
}

pub(super) fn header_block(fields: Fields<'_>) -> HeaderBlock {
    let mut head = HeaderBlock::new();
    for (name, value) in fields {
        match *name {
            ":method" => head.set_method(value.as_bytes()),
            ":scheme" => head.set_scheme(value.as_bytes()),
            ":path" => head.set_path(value.as_bytes()),
            ":authority" => head.set_authority(value.as_bytes()),
            ":protocol" => head.set_protocol(value.as_bytes()),
            ":status" => head.set_status(value.parse().unwrap()),
            name => head.append(name.as_bytes(), value.as_bytes()),
        }
    }
    head
}

/// A head or trailers as text: pseudo-headers, then fields.
pub(super) fn describe(head: &HeaderBlock) -> String {
    let mut parts = Vec::new();
    let text = |octets: &[u8]| String::from_utf8_lossy(octets).into_owned();
    if let Some(status) = head.status() {
        parts.push(status.to_string());
    }
    for value in [
        head.method(),
        head.scheme(),
        head.authority(),
        head.path(),
        head.protocol(),
    ]
    .into_iter()
    .flatten()
    {
        parts.push(text(value));
    }
    for field in head.iter() {
        parts.push(format!("{}={}", text(field.name), text(field.value)));
    }
    parts.join(" ")
}

fn end(end: bool) -> &'static str {
    if end { " END" } else { "" }
}

/// An event as a line of text. Long data is shown by its length.
pub(super) fn line(event: &Event<'_>) -> String {
    match event {
        Event::Head {
            stream,
            head,
            end_stream,
        } => format!("HEAD {stream} {}{}", describe(head), end(*end_stream)),
        Event::Informational { stream, head } => format!("INFO {stream} {}", describe(head)),
        Event::Data {
            stream,
            data,
            credit,
            end_stream,
        } => {
            assert_eq!(*credit as usize, data.len());
            let shown = if data.len() > 20 {
                data.len().to_string()
            } else {
                String::from_utf8_lossy(data).into_owned()
            };
            format!("DATA {stream} {shown}{}", end(*end_stream))
        }
        Event::Trailers { stream, trailers } => format!("TRAILERS {stream} {}", describe(trailers)),
        Event::Reset { stream, reason } => {
            let side = if reason.remote { "remote" } else { "local" };
            format!(
                "RESET {stream} {} {side}{}",
                reason.code.name(),
                if reason.refused { " refused" } else { "" }
            )
        }
        Event::Sent { stream, bytes } => format!("SENT {stream} {bytes}"),
        Event::Goaway {
            last_stream,
            code,
            debug,
        } => {
            format!(
                "GOAWAY {last_stream} {} {}",
                code.name(),
                String::from_utf8_lossy(debug)
            )
        }
        Event::Settings => "SETTINGS".into(),
        Event::StreamsAvailable => "STREAMS".into(),
        Event::PingAck { payload } => format!("PINGACK {}", String::from_utf8_lossy(payload)),
        Event::Closed => "CLOSED".into(),
        #[allow(unreachable_patterns)]
        other => format!("{other:?}"),
    }
}

/// A connection, its clock, and a decoder for what it says.
pub(super) struct Script {
    pub(super) connection: Connection,
    pub(super) now: Instant,
    pub(super) scratch: Scratch,
    decoder: hpack::Decoder,
    server: bool,
}

impl Script {
    /// A server before anything came in.
    pub(super) fn new_server(config: Config) -> Self {
        let now = Instant::now();
        Self::new(Connection::server(&Arc::new(config), now), now, true)
    }

    /// A client before anything came in.
    pub(super) fn new_client(config: Config) -> Self {
        let now = Instant::now();
        Self::new(Connection::client(&Arc::new(config), now), now, false)
    }

    fn new(connection: Connection, now: Instant, server: bool) -> Self {
        Self {
            connection,
            now,
            scratch: Scratch::new(),
            decoder: hpack::Decoder::new(4096),
            server,
        }
    }

    /// A server after the exchange of settings, its output read.
    pub(super) fn server() -> Self {
        Self::server_with(Config {
            stream_error_on_invalid_http_message: true,
            ..Config::default()
        })
    }

    pub(super) fn server_with(config: Config) -> Self {
        let mut script = Self::new_server(config);
        assert_eq!(
            script.feed(&[&frame::PREFACE[..], &settings(&[]), &settings_ack()].concat()),
            ["SETTINGS"]
        );
        script.sent();
        script
    }

    /// A client after the exchange of settings, its output read.
    pub(super) fn client() -> Self {
        Self::client_with(Config {
            stream_error_on_invalid_http_message: true,
            ..Config::default()
        })
    }

    pub(super) fn client_with(config: Config) -> Self {
        let mut script = Self::new_client(config);
        assert_eq!(script.feed(&[settings(&[]), settings_ack()].concat()), ["SETTINGS"]);
        script.sent();
        script
    }

    /// Feeds input; the events until it is used up.
    pub(super) fn try_feed(&mut self, mut input: &[u8]) -> Result<Vec<String>, (Vec<String>, ConnectionError)> {
        let mut lines = Vec::new();
        loop {
            match self.connection.receive(&mut input, &mut self.scratch, self.now) {
                Ok(Some(event)) => lines.push(line(&event)),
                Ok(None) => {
                    assert!(input.is_empty());
                    return Ok(lines);
                }
                Err(error) => return Err((lines, error)),
            }
        }
    }

    #[track_caller]
    pub(super) fn feed(&mut self, input: &[u8]) -> Vec<String> {
        self.try_feed(input)
            .unwrap_or_else(|(lines, error)| panic!("{error:?} after {lines:?}"))
    }

    /// Feeds input that ends the connection with `code`; GOAWAY says so.
    #[track_caller]
    pub(super) fn feed_error(&mut self, input: &[u8], code: ErrorCode) -> ConnectionError {
        match self.try_feed(input) {
            Ok(lines) => panic!("no connection error but {lines:?} and {:?}", self.sent()),
            Err((_, error)) => {
                assert_eq!(error.code, code, "{error}");
                assert!(self.connection.stats().value(error.stat) > 0, "{error} is not counted");
                let sent = self.sent();
                let last = sent.last().expect("a GOAWAY");
                assert!(last.starts_with("GOAWAY") && last.contains(code.name()), "{sent:?}");
                assert!(self.connection.is_closed());
                error
            }
        }
    }

    /// Feeds input that ends `stream` with `code`, and only that.
    #[track_caller]
    pub(super) fn feed_stream_error(&mut self, input: &[u8], stream: u32, code: ErrorCode) {
        let lines = self.feed(input);
        let sent = self.sent();
        assert!(
            sent.contains(&format!("RST_STREAM {stream} {}", code.name())),
            "no RST_STREAM {stream} {code} but {lines:?} and {sent:?}"
        );
        self.assert_usable();
    }

    /// The connection still answers a PING.
    #[track_caller]
    pub(super) fn assert_usable(&mut self) {
        self.feed(&ping(b"alive? !"));
        assert!(self.sent().contains(&"PING ACK alive? !".to_string()));
    }

    /// Events that did not come from input.
    pub(super) fn events(&mut self) -> Vec<String> {
        let mut lines = Vec::new();
        while let Some(event) = self.connection.next_event(&mut self.scratch) {
            lines.push(line(&event));
        }
        lines
    }

    /// Takes the output as frames, a line each.
    pub(super) fn sent(&mut self) -> Vec<String> {
        let mut lines = Vec::new();
        while self.connection.wants_write() {
            let bytes = self.connection.output().to_vec();
            self.connection.advance_output(bytes.len());
            lines.extend(self.frames(&bytes));
        }
        lines
    }

    /// Frames as lines; the preface is skipped.
    fn frames(&mut self, bytes: &[u8]) -> Vec<String> {
        let mut bytes = bytes.strip_prefix(&frame::PREFACE[..]).unwrap_or(bytes);
        let mut lines = Vec::new();
        let mut collected = Vec::new();
        let mut ends = false;
        while let Some((octets, rest)) = bytes.split_first_chunk::<HEADER_LEN>() {
            let header = FrameHeader::parse(octets);
            let (payload, rest) = rest.split_at(header.length as usize);
            bytes = rest;
            let stream = header.stream;
            lines.push(match header.kind {
                frame::DATA => format!("DATA {stream} {}{}", payload.len(), end(header.has(frame::END_STREAM))),
                frame::HEADERS | frame::CONTINUATION => {
                    collected.extend_from_slice(payload);
                    ends |= header.has(frame::END_STREAM);
                    if !header.has(frame::END_HEADERS) {
                        continue;
                    }
                    let mut head = HeaderBlock::new();
                    let limits = hpack::Limits {
                        list_size: u32::MAX,
                        fields: u32::MAX,
                    };
                    let kind = if self.server {
                        Kind::Response
                    } else {
                        Kind::Request { extended_connect: true }
                    };
                    self.decoder
                        .decode(&std::mem::take(&mut collected), kind, limits, &mut head)
                        .unwrap();
                    format!("HEADERS {stream} {}{}", describe(&head), end(std::mem::take(&mut ends)))
                }
                frame::RST_STREAM => format!("RST_STREAM {stream} {}", ErrorCode(frame::u32_at(payload, 0)).name()),
                frame::SETTINGS if header.has(frame::ACK) => "SETTINGS ACK".into(),
                frame::SETTINGS => {
                    let parameters: Vec<String> = payload
                        .chunks_exact(6)
                        .map(|p| format!(" {}={}", u16::from_be_bytes([p[0], p[1]]), frame::u32_at(p, 2)))
                        .collect();
                    format!("SETTINGS{}", parameters.concat())
                }
                frame::PING => {
                    let ack = if header.has(frame::ACK) { " ACK" } else { "" };
                    format!("PING{ack} {}", String::from_utf8_lossy(payload))
                }
                frame::GOAWAY => {
                    let debug = String::from_utf8_lossy(&payload[8..]);
                    let code = ErrorCode(frame::u32_at(payload, 4)).name();
                    format!("GOAWAY {} {code} {debug}", frame::u32_at(payload, 0))
                        .trim_end()
                        .into()
                }
                frame::WINDOW_UPDATE => format!("WINDOW_UPDATE {stream} {}", frame::u32_at(payload, 0)),
                kind => panic!("frame of type {kind} sent"),
            });
        }
        assert!(bytes.is_empty(), "output ends within a frame");
        lines
    }

    pub(super) fn sleep(&mut self, time: Duration) -> Result<(), ConnectionError> {
        self.now += time;
        self.connection.on_deadline(self.now)
    }

    /// Opens a stream at a client and sends `fields`.
    pub(super) fn request(&mut self, fields: Fields<'_>, end: bool) -> u32 {
        let stream = self.connection.open_stream().unwrap();
        self.connection.send_head(stream, &header_block(fields), end).unwrap();
        stream.0
    }

    /// Sends a final response head at a server.
    pub(super) fn respond(&mut self, stream: u32, fields: Fields<'_>, end: bool) {
        self.connection
            .send_head(StreamId(stream), &header_block(fields), end)
            .unwrap();
    }
}
