//! The connection: its state, and what can be asked of it.
//!
//! Reading and writing are two machines over one exchange (a request and its response); the exchange ends when both are
//! done and the source of the body has been told that all of it left.
//!
//! ```text
//! reading   server: Head -> Length | Chunked -> Trailers | (none) -> Hold -> Head (next request)
//!           client: Head (1xx: Head again) -> Length | Chunked -> Trailers | UntilClose | (none) -> Hold -> Head
//!           either: Hold | Head -> Tunnel -> Ended
//! writing   Head -> Length | Chunked | UntilClose | Swallow -> Done
//!           Head -> TunnelWait -> Tunnel -> Done
//! ```

use super::chunked::Chunked;
use super::framing::Asked;
use super::output::Output;
use super::scan::Scanner;
use super::{Config, Refusal};
use crate::event::{ConnectionError, Event, OpenError, Scratch, StreamId};
use crate::stats::{Stat, Stats};
use std::sync::Arc;
use std::time::Instant;

/// One HTTP/1.1 connection, as server or client. See the [module](super) for how it is driven.
#[derive(Debug)]
pub struct Connection {
    pub(super) config: Arc<Config>,
    pub(super) is_server: bool,
    /// Client: the one exchange is a tunnel from its first byte, without a head in either direction.
    pub(crate) is_raw: bool,
    pub(super) reading: Reading,
    /// The beginning of a head or trailer section that has not arrived in full. Held only meanwhile.
    pub(super) partial: Vec<u8>,
    pub(super) scanner: Scanner,
    /// Empty lines skipped before the current head.
    pub(super) empty_lines: u8,
    pub(super) queue: Queue,
    pub(super) exchange: Exchange,
    pub(super) output: Output,
    /// Body bytes of the current exchange delivered and not yet given back.
    pub(super) outstanding: u64,
    /// Server: when the first byte of the current head arrived.
    pub(super) head_started: Option<Instant>,
    pub(super) draining: bool,
    /// Nothing more is read or written once the output is flushed.
    pub(super) closed: bool,
    /// The end of the input has been reported.
    pub(super) input_ended: bool,
    pub(super) failed: Option<(Refusal, ConnectionError)>,
    /// `StreamsAvailable` is to be reported.
    pub(super) room_to_report: bool,
    /// `Closed` is to be reported.
    pub(super) close_to_report: bool,
    pub(super) stats: Stats,
}

/// What the next bytes of the input are.
#[derive(Debug)]
pub(super) enum Reading {
    Head,
    /// A body of which so much is left.
    Length(u64),
    Chunked(Chunked),
    /// The section after the last chunk.
    Trailers,
    UntilClose,
    Tunnel,
    /// Not this exchange's: kept at a server, refused at a client.
    Hold,
    /// Nothing any more: discarded.
    Ended,
}

/// What may be sent next.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Writing {
    Head,
    /// A body of which so much is left.
    Length(u64),
    Chunked,
    UntilClose,
    /// A body that must not be sent (to HEAD, with 204 or 304): taken and dropped.
    Swallow,
    /// Client: bytes for a tunnel the server has not agreed to; on the wire they could be taken for a request.
    TunnelWait {
        held: Vec<u8>,
        end: bool,
    },
    Tunnel,
    Done,
}

/// A request and its response.
#[derive(Debug)]
pub(super) struct Exchange {
    pub(super) stream: StreamId,
    pub(super) is_active: bool,
    /// The caller knows the stream: it opened it, or got its head.
    pub(super) is_announced: bool,
    pub(super) asked: Asked,
    /// Server: the client speaks HTTP/1.0.
    pub(super) is_http_10: bool,
    /// The connection can carry another exchange after this one.
    pub(super) keep_alive: bool,
    pub(super) is_tunnel: bool,
    pub(super) writing: Writing,
    pub(super) is_read: bool,
    /// Client: interim responses so far.
    pub(super) informational: u8,
    /// Client: bytes ever put out when the request began; if no more were flushed, it was not seen.
    pub(super) began_at: u64,
    pub(super) tag: u64,
}

/// Server: input that came before its turn.
#[derive(Debug, Default)]
pub(super) struct Queue {
    pub(super) bytes: Vec<u8>,
    pub(super) start: usize,
}

impl Queue {
    pub(super) fn is_empty(&self) -> bool {
        self.start == self.bytes.len()
    }
}

impl Exchange {
    pub(super) fn new(stream: StreamId) -> Self {
        Self {
            stream,
            is_active: true,
            is_announced: true,
            asked: Asked::default(),
            is_http_10: false,
            keep_alive: true,
            is_tunnel: false,
            writing: Writing::Head,
            is_read: false,
            informational: 0,
            began_at: 0,
            tag: 0,
        }
    }

    /// The stream is the current one and not over.
    pub(super) fn is_current(&self, stream: StreamId) -> bool {
        self.is_active && self.stream == stream
    }

    pub(super) fn next_stream(&self) -> Option<StreamId> {
        match self.stream.0 {
            0 => Some(StreamId(1)),
            last => last.checked_add(2).map(StreamId),
        }
    }
}

impl Connection {
    /// The server side of a new connection.
    pub fn server(config: &Arc<Config>, _now: Instant) -> Self {
        Self::new(config, true)
    }

    /// The client side of a new connection.
    pub fn client(config: &Arc<Config>, _now: Instant) -> Self {
        Self::new(config, false)
    }

    /// The client side of a connection that does not speak HTTP: its one stream carries bytes both ways, as if a
    /// CONNECT had been answered already.
    pub fn raw_client(config: &Arc<Config>, _now: Instant) -> Self {
        Self {
            is_raw: true,
            ..Self::new(config, false)
        }
    }

    fn new(config: &Arc<Config>, is_server: bool) -> Self {
        let mut exchange = Exchange::new(StreamId(0));
        exchange.is_active = false;
        Self {
            config: Arc::clone(config),
            is_server,
            is_raw: false,
            reading: Reading::Head,
            partial: Vec::new(),
            scanner: Scanner::default(),
            empty_lines: 0,
            queue: Queue::default(),
            exchange,
            output: Output::default(),
            outstanding: 0,
            head_started: None,
            draining: false,
            closed: false,
            input_ended: false,
            failed: None,
            room_to_report: false,
            close_to_report: false,
            stats: Stats::default(),
        }
    }

    /// Client: begins the next exchange.
    ///
    /// # Errors
    /// `Busy` while a request is in progress; `Draining` or `Closed` if there won't be another; `Server` at a server.
    pub fn open_stream(&mut self) -> Result<StreamId, OpenError> {
        if self.is_server {
            return Err(OpenError::Server);
        }
        if self.closed {
            return Err(OpenError::Closed);
        }
        if self.exchange.is_active {
            return Err(OpenError::Busy);
        }
        if self.draining {
            return Err(OpenError::Draining);
        }
        let stream = self.exchange.next_stream().ok_or(OpenError::IdsExhausted)?;
        self.exchange = Exchange::new(stream);
        self.exchange.began_at = self.output.produced();
        self.room_to_report = false;
        if self.is_raw {
            self.exchange.is_tunnel = true;
            self.exchange.keep_alive = false;
            self.exchange.writing = Writing::Tunnel;
            self.reading = Reading::Tunnel;
        }
        Ok(stream)
    }

    /// Client: 1 if a stream can be opened now, else 0.
    pub fn streams_available(&self) -> usize {
        usize::from(!self.is_server && !self.closed && !self.draining && !self.exchange.is_active)
    }

    /// 1 while an exchange is in progress, else 0.
    pub fn active_streams(&self) -> usize {
        usize::from(self.exchange.is_active && self.exchange.is_announced)
    }

    /// Keeps a number of the caller's beside a stream.
    pub fn set_tag(&mut self, stream: StreamId, tag: u64) {
        if self.exchange.stream == stream {
            self.exchange.tag = tag;
        }
    }

    /// The number kept by [`set_tag`](Self::set_tag); 0 if there is none.
    pub fn tag(&self, stream: StreamId) -> u64 {
        if self.exchange.stream == stream {
            self.exchange.tag
        } else {
            0
        }
    }

    /// The bytes to write to the transport.
    #[inline]
    pub fn output(&self) -> &[u8] {
        self.output.pending()
    }

    /// True if there is output.
    #[inline]
    pub fn wants_write(&self) -> bool {
        !self.output.pending().is_empty()
    }

    /// The first `count` bytes of the output have been written. Ask [`next_event`](Self::next_event) afterwards.
    #[inline]
    pub fn advance_output(&mut self, count: usize) {
        self.output.advance(count, self.config.output_cap as usize);
    }

    /// Bytes ever put into the output.
    pub fn output_total(&self) -> u64 {
        self.output.produced()
    }

    /// Bytes ever written to the transport.
    pub fn output_flushed(&self) -> u64 {
        self.output.flushed()
    }

    /// Body bytes taken by `send_data` and not yet reported as sent.
    pub fn queued_bytes(&self) -> usize {
        self.output.unreported()
    }

    /// Whether to read from the transport: false once the credit window is used up, while pipelined input waits for
    /// its turn, and after the end.
    #[inline]
    pub fn wants_read(&self) -> bool {
        !self.closed
            && !self.input_ended
            && !matches!(self.reading, Reading::Ended)
            && self.queue.is_empty()
            && self.outstanding < u64::from(self.config.credit_window)
    }

    /// Whether `receive` has something to do without new input: pipelined bytes whose turn has come.
    #[inline]
    pub fn wants_receive(&self) -> bool {
        !self.queue.is_empty()
            && !self.closed
            && !matches!(self.reading, Reading::Hold | Reading::Ended)
            && self.outstanding < u64::from(self.config.credit_window)
    }

    /// The exchange in progress is a tunnel: either side may end before the other.
    pub fn is_tunnel(&self) -> bool {
        self.exchange.is_active && self.exchange.is_tunnel
    }

    /// Our side of a tunnel has ended: shut down the transport's writing side once the output is flushed.
    pub fn half_closed(&self) -> bool {
        self.exchange.is_active && self.exchange.is_tunnel && self.exchange.writing == Writing::Done
    }

    /// Nothing more will be read, and nothing written but the output: flush it and close the transport.
    pub fn is_closed(&self) -> bool {
        self.closed
    }

    /// No further exchange will begin after the current one.
    pub fn is_draining(&self) -> bool {
        self.draining || self.closed || (self.exchange.is_active && !self.exchange.keep_alive)
    }

    /// Why input was refused, if it was.
    pub fn refusal(&self) -> Option<Refusal> {
        self.failed.map(|(refusal, _)| refusal)
    }

    /// What was counted.
    pub fn stats(&self) -> &Stats {
        &self.stats
    }

    /// What was counted since the last call.
    pub fn take_stats(&mut self) -> Stats {
        std::mem::take(&mut self.stats)
    }

    /// Memory held on the heap.
    pub fn heap_bytes(&self) -> usize {
        self.partial.capacity() + self.queue.bytes.capacity() + self.output.capacity()
    }

    /// When [`on_deadline`](Self::on_deadline) wants to be called, if nothing happens before.
    pub fn deadline(&self) -> Option<Instant> {
        Some(self.head_started? + self.config.request_headers_timeout?)
    }

    /// Server: refuses a head that has not arrived in time.
    ///
    /// # Errors
    /// The refusal, to be answered with 408.
    pub fn on_deadline(&mut self, now: Instant) -> Result<(), ConnectionError> {
        match self.deadline() {
            Some(deadline) if deadline <= now && self.failed.is_none() => Err(self.fail(Refusal::HeadersTimeout)),
            _ => Ok(()),
        }
    }

    /// Events that arise without input.
    pub fn next_event<'s>(&mut self, _scratch: &'s mut Scratch) -> Option<Event<'s>> {
        let sent = self.output.take_report();
        if sent > 0 {
            let stream = self.exchange.stream;
            self.settle();
            return Some(Event::Sent { stream, bytes: sent });
        }
        self.notice()
    }

    pub(super) fn notice(&mut self) -> Option<Event<'static>> {
        if std::mem::take(&mut self.room_to_report) {
            return Some(Event::StreamsAvailable);
        }
        std::mem::take(&mut self.close_to_report).then_some(Event::Closed)
    }

    /// Takes the step that reading or writing has made possible: the end of the exchange.
    pub(super) fn settle(&mut self) {
        let exchange = &mut self.exchange;
        if !exchange.is_active {
            return;
        }
        let is_written = exchange.writing == Writing::Done;
        if !exchange.is_tunnel {
            if self.is_server && is_written && !exchange.is_read {
                // RFC 9112 section 9.3: the rest of the request would have to be read to reach the next one; closing
                // is what a client that still sends can be sure of.
                exchange.is_read = true;
                exchange.keep_alive = false;
                self.reading = Reading::Ended;
            } else if !self.is_server && exchange.is_read && !is_written {
                exchange.keep_alive = false;
            }
        }
        if !(is_written && exchange.is_read) || self.output.unreported() > 0 {
            return;
        }
        exchange.is_active = false;
        // Whoever had the rest of the body may have dropped it: the next exchange does not pay for that.
        self.outstanding = 0;
        if !exchange.keep_alive || self.draining || self.failed.is_some() || self.input_ended {
            self.close();
        } else {
            self.reading = Reading::Head;
            self.scanner = Scanner::default();
            self.empty_lines = 0;
            self.room_to_report = !self.is_server;
        }
    }

    pub(super) fn close(&mut self) {
        self.reading = Reading::Ended;
        self.queue = Queue::default();
        self.partial = Vec::new();
        self.head_started = None;
        self.close_to_report |= !self.closed;
        self.closed = true;
    }

    /// Ends reading because of `refusal`; a server may still answer if it has not begun to.
    #[cold]
    pub(super) fn fail(&mut self, refusal: Refusal) -> ConnectionError {
        let mut error = refusal.error();
        self.stats.count(refusal.stat());
        if refusal.stat() != Stat::RxMessagingError {
            self.stats.count(Stat::RxMessagingError);
        }
        if self.is_server && !self.exchange.is_active {
            // A head that was refused gets a stream to be answered on; the caller has not heard of it before.
            let stream = self.exchange.next_stream().unwrap_or_default();
            self.exchange = Exchange::new(stream);
            self.exchange.is_announced = false;
        }
        self.exchange.keep_alive = false;
        if self.is_server && self.exchange.writing == Writing::Head {
            self.exchange.is_read = true;
            self.reading = Reading::Ended;
            self.queue = Queue::default();
            self.partial = Vec::new();
            self.head_started = None;
            let stream = self.exchange.stream;
            error.answer = Some(crate::event::Answer {
                stream,
                status: refusal.status(),
            });
        } else {
            self.close();
        }
        self.failed = Some((refusal, error));
        error
    }
}
