//! One connection of either protocol: the same methods, so that whoever forwards messages does not care which it has.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::event::{ConnectionError, ErrorCode, Event, OpenError, Scratch, SendError, StreamId};
use crate::headers::HeaderBlock;
use crate::stats::Stats;
use crate::{h1, h2};

/// The protocol of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// HTTP/1.1 (RFC 9112).
    Http1,
    /// HTTP/2 (RFC 9113).
    Http2,
}

/// An HTTP/1.1 or HTTP/2 connection, as server or client. The methods are described at [`h2::Connection`] and
/// [`h1::Connection`]; here only what differs between them.
#[derive(Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "most connections are HTTP/2; a box would cost them a cache line each"
)]
pub enum Connection {
    /// HTTP/1.1 (RFC 9112).
    H1(h1::Connection),
    /// HTTP/2 (RFC 9113).
    H2(h2::Connection),
}

/// Calls the same method of whichever connection it is.
macro_rules! either {
    ($self:ident, $connection:ident => $call:expr) => {
        match $self {
            Connection::H2($connection) => $call,
            Connection::H1($connection) => $call,
        }
    };
}

impl Connection {
    /// An HTTP/1.1 server's end of a connection.
    #[must_use]
    pub fn h1_server(config: &Arc<h1::Config>, now: Instant) -> Self {
        Self::H1(h1::Connection::server(config, now))
    }

    /// An HTTP/1.1 client's end of a connection.
    #[must_use]
    pub fn h1_client(config: &Arc<h1::Config>, now: Instant) -> Self {
        Self::H1(h1::Connection::client(config, now))
    }

    /// A client's end of a connection that carries bytes without HTTP.
    #[must_use]
    pub fn raw_client(config: &Arc<h1::Config>, now: Instant) -> Self {
        Self::H1(h1::Connection::raw_client(config, now))
    }

    /// An HTTP/2 server's end of a connection.
    #[must_use]
    pub fn h2_server(config: &Arc<h2::Config>, now: Instant) -> Self {
        Self::H2(h2::Connection::server(config, now))
    }

    /// An HTTP/2 client's end of a connection.
    #[must_use]
    pub fn h2_client(config: &Arc<h2::Config>, now: Instant) -> Self {
        Self::H2(h2::Connection::client(config, now))
    }

    /// Which protocol it speaks.
    #[inline]
    #[must_use]
    pub fn protocol(&self) -> Protocol {
        match self {
            Self::H1(_) => Protocol::Http1,
            Self::H2(_) => Protocol::Http2,
        }
    }

    /// Whether this is HTTP/2: streams are concurrent, and bodies have no framing of their own.
    #[inline]
    #[must_use]
    pub fn is_h2(&self) -> bool {
        matches!(self, Self::H2(_))
    }

    /// Takes octets from the front of `input` up to the next event. Call until `Ok(None)`.
    ///
    /// # Errors
    /// The connection is over: flush the output and close. At HTTP/1.1 the error may name an answer to send first.
    #[inline]
    pub fn receive<'a, 'i: 'a>(
        &mut self,
        input: &mut &'i [u8],
        scratch: &'a mut Scratch,
        now: Instant,
    ) -> Result<Option<Event<'a>>, ConnectionError> {
        either!(self, connection => connection.receive(input, scratch, now))
    }

    /// The transport has no more input. Call until `Ok(None)`: streams that were not complete end with `Reset`.
    ///
    /// # Errors
    /// As `receive`.
    pub fn end_of_input<'a>(
        &mut self,
        scratch: &'a mut Scratch,
        now: Instant,
    ) -> Result<Option<Event<'a>>, ConnectionError> {
        either!(self, connection => connection.end_of_input(scratch, now))
    }

    /// Whether to read from the transport. HTTP/1.1 has no flow control but not reading.
    #[inline]
    #[must_use]
    pub fn wants_read(&self) -> bool {
        match self {
            Self::H2(connection) => connection.wants_read(),
            Self::H1(connection) => connection.wants_read(),
        }
    }

    /// Whether `receive` has something to do without new input: pipelined requests at HTTP/1.1.
    #[inline]
    #[must_use]
    pub fn wants_receive(&self) -> bool {
        match self {
            Self::H2(_) => false,
            Self::H1(connection) => connection.wants_receive(),
        }
    }

    /// HTTP/1.1: our side of a tunnel has ended; shut down the writing side of the transport once the output is
    /// written.
    #[must_use]
    pub fn half_closed(&self) -> bool {
        match self {
            Self::H2(_) => false,
            Self::H1(connection) => connection.half_closed(),
        }
    }

    /// HTTP/1.1: the exchange in progress is a tunnel, either side of which may end before the other.
    #[must_use]
    pub fn is_tunnel(&self) -> bool {
        match self {
            Self::H2(_) => false,
            Self::H1(connection) => connection.is_tunnel(),
        }
    }

    /// Whether this connection carries bytes without HTTP, see [`h1::Connection::raw_client`].
    #[must_use]
    pub fn is_raw(&self) -> bool {
        match self {
            Self::H2(_) => false,
            Self::H1(connection) => connection.is_raw,
        }
    }

    /// An event that arose without input.
    #[inline]
    pub fn next_event<'a>(&mut self, scratch: &'a mut Scratch) -> Option<Event<'a>> {
        either!(self, connection => connection.next_event(scratch))
    }

    /// Opens a stream at a client.
    ///
    /// # Errors
    /// Whether to wait for `StreamsAvailable` or to use another connection.
    #[inline]
    pub fn open_stream(&mut self) -> Result<StreamId, OpenError> {
        either!(self, connection => connection.open_stream())
    }

    /// How many streams a client can open now.
    #[inline]
    #[must_use]
    pub fn streams_available(&self) -> usize {
        either!(self, connection => connection.streams_available())
    }

    /// Streams in progress.
    #[inline]
    #[must_use]
    pub fn active_streams(&self) -> usize {
        either!(self, connection => connection.active_streams())
    }

    /// Sends the head of a request or the final head of a response.
    ///
    /// # Errors
    /// Nothing was sent.
    #[inline]
    pub fn send_head(&mut self, stream: StreamId, head: &HeaderBlock, end_stream: bool) -> Result<(), SendError> {
        either!(self, connection => connection.send_head(stream, head, end_stream))
    }

    /// Sends an interim response.
    ///
    /// # Errors
    /// Nothing was sent.
    pub fn send_informational(&mut self, stream: StreamId, head: &HeaderBlock) -> Result<(), SendError> {
        either!(self, connection => connection.send_informational(stream, head))
    }

    /// Sends data; all of it is taken. Returns how much left for the output at once; `Event::Sent` reports the rest.
    ///
    /// # Errors
    /// Nothing was taken.
    #[inline]
    pub fn send_data(&mut self, stream: StreamId, data: &[u8], end_stream: bool) -> Result<usize, SendError> {
        either!(self, connection => connection.send_data(stream, data, end_stream))
    }

    /// Sends trailers and ends the message.
    ///
    /// # Errors
    /// Nothing was sent.
    #[inline]
    pub fn send_trailers(&mut self, stream: StreamId, trailers: &HeaderBlock) -> Result<(), SendError> {
        either!(self, connection => connection.send_trailers(stream, trailers))
    }

    /// Gives credit of received data back.
    #[inline]
    pub fn release_credit(&mut self, stream: StreamId, count: u32) {
        either!(self, connection => connection.release_credit(stream, count));
    }

    /// Ends a stream. At HTTP/1.1 that ends the connection, unless its exchange is complete.
    pub fn reset(&mut self, stream: StreamId, code: ErrorCode) {
        either!(self, connection => connection.reset(stream, code));
    }

    /// Ends the connection without losing a request.
    pub fn drain(&mut self, now: Instant) {
        either!(self, connection => connection.drain(now));
    }

    /// Takes no further streams from now on.
    pub fn go_away(&mut self, code: ErrorCode, debug: &[u8]) {
        either!(self, connection => connection.go_away(code, debug));
    }

    /// HTTP/2: sends a PING; HTTP/1.1 has none.
    pub fn ping(&mut self, payload: [u8; 8]) {
        if let Self::H2(connection) = self {
            connection.ping(payload);
        }
    }

    /// What waits to be written to the transport.
    #[inline]
    #[must_use]
    pub fn output(&self) -> &[u8] {
        either!(self, connection => connection.output())
    }

    /// The first `count` octets of the output were written.
    #[inline]
    pub fn advance_output(&mut self, count: usize) {
        either!(self, connection => connection.advance_output(count));
    }

    /// Whether anything waits to be written.
    #[inline]
    #[must_use]
    pub fn wants_write(&self) -> bool {
        either!(self, connection => connection.wants_write())
    }

    /// Octets ever produced into the output.
    #[must_use]
    pub fn output_total(&self) -> u64 {
        either!(self, connection => connection.output_total())
    }

    /// Octets of the output ever written.
    #[must_use]
    pub fn output_flushed(&self) -> u64 {
        either!(self, connection => connection.output_flushed())
    }

    /// Octets `send_data` took that have not been reported as sent.
    #[must_use]
    pub fn queued_bytes(&self) -> usize {
        either!(self, connection => connection.queued_bytes())
    }

    /// Lets what is queued of a stream that was ended stall for `timeout` (`None` for ever), instead of the time that is
    /// configured. HTTP/1.1 queues nothing for a stream of its own.
    pub fn set_flush_timeout(&mut self, stream: StreamId, timeout: Option<Duration>) {
        match self {
            Connection::H2(connection) => connection.set_flush_timeout(stream, timeout),
            Connection::H1(_) => {}
        }
    }

    /// Attaches the caller's own key to a stream.
    #[inline]
    pub fn set_tag(&mut self, stream: StreamId, tag: u64) {
        either!(self, connection => connection.set_tag(stream, tag));
    }

    /// The key `set_tag` attached, 0 if none.
    #[inline]
    #[must_use]
    pub fn tag(&self, stream: StreamId) -> u64 {
        either!(self, connection => connection.tag(stream))
    }

    /// When `on_deadline` wants to be called at the latest.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        either!(self, connection => connection.deadline())
    }

    /// Does what is due.
    ///
    /// # Errors
    /// The peer took too long for something.
    pub fn on_deadline(&mut self, now: Instant) -> Result<(), ConnectionError> {
        either!(self, connection => connection.on_deadline(now))
    }

    /// Whether the transport can be closed, once the output is written.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        either!(self, connection => connection.is_closed())
    }

    /// Whether no new streams should be counted on.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        either!(self, connection => connection.is_draining())
    }

    /// The connection's counters.
    #[must_use]
    pub fn stats(&self) -> &Stats {
        either!(self, connection => connection.stats())
    }

    /// Returns the counters and starts again from 0.
    pub fn take_stats(&mut self) -> Stats {
        either!(self, connection => connection.take_stats())
    }

    /// Octets held on the heap, HPACK tables left out.
    #[must_use]
    pub fn heap_bytes(&self) -> usize {
        either!(self, connection => connection.heap_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The same commands and events carry a request and its response over either protocol.
    fn exchange(mut client: Connection, mut server: Connection) {
        let now = Instant::now();
        let (mut client_scratch, mut server_scratch) = (Scratch::new(), Scratch::new());
        let stream = client.open_stream().unwrap();
        let mut head = HeaderBlock::new();
        head.set_method(b"POST");
        head.set_scheme(b"http");
        head.set_authority(b"a");
        head.set_path(b"/x");
        client.send_head(stream, &head, false).unwrap();
        client.send_data(stream, b"question", true).unwrap();
        let mut seen = Vec::new();
        for _ in 0..6 {
            let bytes = client.output().to_vec();
            client.advance_output(bytes.len());
            let mut input = &bytes[..];
            let mut ended = None;
            while let Some(event) = server.receive(&mut input, &mut server_scratch, now).unwrap() {
                match event {
                    Event::Head { head, .. } => seen.extend_from_slice(head.path().unwrap()),
                    Event::Data {
                        stream,
                        data,
                        end_stream,
                        ..
                    } => {
                        seen.extend_from_slice(data);
                        ended = end_stream.then_some(stream);
                    }
                    _ => {}
                }
            }
            if let Some(stream) = ended {
                let mut head = HeaderBlock::new();
                head.set_status(200);
                server.send_head(stream, &head, false).unwrap();
                server.send_data(stream, b"answer", true).unwrap();
            }
            let bytes = server.output().to_vec();
            server.advance_output(bytes.len());
            let mut input = &bytes[..];
            while let Some(event) = client.receive(&mut input, &mut client_scratch, now).unwrap() {
                match event {
                    Event::Head { head, .. } => seen.extend_from_slice(head.status().unwrap().to_string().as_bytes()),
                    Event::Data { data, .. } => seen.extend_from_slice(data),
                    _ => {}
                }
            }
        }
        assert_eq!(seen, b"/xquestion200answer");
        assert_eq!((client.active_streams(), server.active_streams()), (0, 0));
    }

    #[test]
    fn both_protocols_speak_through_the_same_methods() {
        let now = Instant::now();
        let h1 = Arc::new(h1::Config::default());
        exchange(Connection::h1_client(&h1, now), Connection::h1_server(&h1, now));
        let h2 = Arc::new(h2::Config::default());
        exchange(Connection::h2_client(&h2, now), Connection::h2_server(&h2, now));
    }
}
