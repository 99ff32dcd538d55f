use super::*;
use crate::event::{ConnectionError, ErrorCode, Event, OpenError, Scratch, SendError, StreamId};
use crate::headers::HeaderBlock;
use crate::names::KnownName;
use std::sync::Arc;
use std::time::{Duration, Instant};

mod both_roles;
mod chunking;
mod client;
mod flow;
mod fuzz;
mod injection;
mod responses;
mod server;
mod server_exchanges;
mod smuggling;
mod tunnel;

/// An event that borrows nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Seen {
    Head(u32, String, bool),
    Informational(String),
    Data(Vec<u8>, bool),
    Trailers(String),
    Reset { refused: bool },
    Sent(usize),
    StreamsAvailable,
    Closed,
}

use Seen::*;

fn seen(event: Event<'_>) -> Seen {
    match event {
        Event::Head {
            stream,
            head,
            end_stream,
        } => Head(stream.0, text(head), end_stream),
        Event::Informational { head, .. } => Informational(text(head)),
        Event::Data {
            data,
            end_stream,
            credit,
            ..
        } => {
            assert_eq!(credit as usize, data.len());
            Data(data.to_vec(), end_stream)
        }
        Event::Trailers { trailers, .. } => Trailers(text(trailers)),
        Event::Reset { reason, .. } => Reset {
            refused: reason.refused,
        },
        Event::Sent { bytes, .. } => Sent(bytes),
        Event::StreamsAvailable => StreamsAvailable,
        Event::Closed => Closed,
        other => panic!("{other:?}"),
    }
}

/// `GET http://a/ x: 1|y: 2`: the pseudo-headers as a request or status, then the fields.
fn text(block: &HeaderBlock) -> String {
    let text = |bytes: Option<&[u8]>| bytes.unwrap_or(b"-").escape_ascii().to_string();
    let mut line = match (block.status(), block.method()) {
        (Some(status), _) => status.to_string(),
        (None, None) => String::new(),
        (None, method) if block.path().is_none() => format!("{} {}", text(method), text(block.authority())),
        (None, method) => {
            format!(
                "{} {}://{}{}",
                text(method),
                text(block.scheme()),
                text(block.authority()),
                text(block.path())
            )
        }
    };
    for field in block {
        if !line.is_empty() {
            line.push('|');
        }
        line.push_str(&format!(
            "{}: {}",
            field.name.escape_ascii(),
            field.value.escape_ascii()
        ));
    }
    line
}

/// A connection with its scratch buffers and a clock that stands still.
struct Peer {
    connection: Connection,
    scratch: Scratch,
    now: Instant,
}

impl Peer {
    fn server_with(config: Config) -> Self {
        let now = Instant::now();
        Self {
            connection: Connection::server(&Arc::new(config), now),
            scratch: Scratch::new(),
            now,
        }
    }

    fn server() -> Self {
        Self::server_with(Config::default())
    }

    fn client_with(config: Config) -> Self {
        let now = Instant::now();
        Self {
            connection: Connection::client(&Arc::new(config), now),
            scratch: Scratch::new(),
            now,
        }
    }

    /// A client with a request of this method sent and flushed.
    fn client_after(method: &str) -> Self {
        let mut peer = Self::client_with(Config::default());
        peer.request(&head(method, "/"), true);
        peer.flush();
        peer
    }

    fn request(&mut self, head: &HeaderBlock, end_stream: bool) -> StreamId {
        let stream = self.connection.open_stream().unwrap();
        self.connection.send_head(stream, head, end_stream).unwrap();
        stream
    }

    /// All events of `input`, and how it was refused if it was.
    fn feed(&mut self, input: &[u8]) -> (Vec<Seen>, Option<ConnectionError>) {
        let mut input = input;
        let mut events = Vec::new();
        loop {
            match self.connection.receive(&mut input, &mut self.scratch, self.now) {
                Ok(Some(event)) => events.push(seen(event)),
                Ok(None) => break,
                Err(error) => return (events, Some(error)),
            }
        }
        assert!(input.is_empty());
        (events, None)
    }

    /// All events of `input`, which must not be refused.
    fn accept(&mut self, input: impl AsRef<[u8]>) -> Vec<Seen> {
        let (events, error) = self.feed(input.as_ref());
        assert_eq!(error, None, "after {events:?}");
        events
    }

    /// Why `input` is refused; events before that don't matter.
    fn refuse(&mut self, input: impl AsRef<[u8]>) -> Refusal {
        let (events, error) = self.feed(input.as_ref());
        let error =
            error.unwrap_or_else(|| panic!("accepted {:?} as {events:?}", input.as_ref().escape_ascii().to_string()));
        let refusal = self.connection.refusal().unwrap();
        assert_eq!(error.violation, refusal.as_str());
        assert_eq!(self.connection.stats().value(refusal.stat()), 1);
        refusal
    }

    fn end_of_input(&mut self) -> Vec<Seen> {
        let mut events = Vec::new();
        while let Some(event) = self.connection.end_of_input(&mut self.scratch, self.now).unwrap() {
            events.push(seen(event));
        }
        events
    }

    fn next_events(&mut self) -> Vec<Seen> {
        let mut events = Vec::new();
        while let Some(event) = self.connection.next_event(&mut self.scratch) {
            events.push(seen(event));
        }
        events
    }

    /// Takes `count` bytes of the output.
    fn flush_some(&mut self, count: usize) -> String {
        let output = self.connection.output();
        let text = output[..count.min(output.len())]
            .escape_ascii()
            .to_string()
            .replace("\\r\\n", "\n");
        self.connection.advance_output(count);
        text
    }

    /// Takes the output, with CR LF as line ends.
    fn flush(&mut self) -> String {
        self.flush_some(usize::MAX)
    }

    /// Answers the current stream.
    fn respond(&mut self, stream: u32, head: &HeaderBlock, body: &[u8]) {
        self.connection
            .send_head(StreamId(stream), head, body.is_empty())
            .unwrap();
        if !body.is_empty() {
            self.connection.send_data(StreamId(stream), body, true).unwrap();
        }
    }
}

fn head(method: &str, path: &str) -> HeaderBlock {
    let mut head = HeaderBlock::new();
    head.set_method(method.as_bytes());
    head.set_scheme(b"http");
    head.set_authority(b"a.example");
    head.set_path(path.as_bytes());
    head
}

fn status(status: u16, fields: &[(&str, &str)]) -> HeaderBlock {
    let mut head = HeaderBlock::new();
    head.set_status(status);
    for (name, value) in fields {
        head.append(*name, value.as_bytes());
    }
    head
}

fn with(mut head: HeaderBlock, fields: &[(&str, &str)]) -> HeaderBlock {
    for (name, value) in fields {
        head.append(*name, value.as_bytes());
    }
    head
}

fn got(stream: u32, text: &str, end_stream: bool) -> Seen {
    Head(stream, text.to_owned(), end_stream)
}

fn data(bytes: impl AsRef<[u8]>, end_stream: bool) -> Seen {
    Data(bytes.as_ref().to_vec(), end_stream)
}
