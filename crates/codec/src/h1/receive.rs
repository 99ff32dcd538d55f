//! What the peer sends.

use super::chunked::{Chunked, Part};
use super::connection::{Connection, Exchange, Queue, Reading, Writing};
use super::framing::{self, Asked, Framing};
use super::scan::Scanner;
use super::{Refusal, head};
use crate::event::{ConnectionError, ErrorCode, Event, MAX_INFORMATIONAL, ResetReason, Scratch, StreamId};
use crate::h2::spare;
use crate::headers::{HeaderBlock, hop_by_hop, validate};
use crate::names::KnownName;
use crate::stats::Stat;
use std::time::Instant;

/// Empty lines tolerated before a request (RFC 9112 section 2.2 asks for one at least).
const MAX_EMPTY_LINES: u8 = 4;

/// An event before it knows its stream and its place in memory.
enum Outcome<'x> {
    Head { end_stream: bool },
    Informational,
    Data { data: &'x [u8], end_stream: bool },
    Trailers,
}

impl Connection {
    /// Takes bytes from the front of `input` up to the next event. Call until `Ok(None)`: then all of it was taken.
    ///
    /// # Errors
    /// The input was refused and nothing more will be read. A server can answer as the error says; then flush the
    /// output and close. Every later call returns the same error.
    pub fn receive<'i: 's, 's>(
        &mut self,
        input: &mut &'i [u8],
        scratch: &'s mut Scratch,
        now: Instant,
    ) -> Result<Option<Event<'s>>, ConnectionError> {
        if let Some((_, error)) = self.failed {
            *input = &[];
            return Err(error);
        }
        if self.room_to_report || self.close_to_report {
            return Ok(self.notice());
        }
        if !self.queue.is_empty() {
            self.queue.bytes.extend_from_slice(input);
            *input = &[];
            return self.receive_queued(scratch, now);
        }
        let Scratch { head, .. } = scratch;
        // The stream an event belongs to may be over, and another not yet begun, by the time it is reported.
        let stream = self.exchange.stream;
        match self.step(input, head, now) {
            Ok(Some(outcome)) => Ok(Some(self.event(stream, outcome, head))),
            Ok(None) => {
                if !input.is_empty() {
                    self.queue.bytes.extend_from_slice(input);
                    *input = &[];
                }
                Ok(self.notice())
            }
            Err(refusal) => {
                *input = &[];
                Err(self.fail(refusal))
            }
        }
    }

    /// As `receive`, from the bytes that waited for their turn.
    fn receive_queued<'s>(
        &mut self,
        scratch: &'s mut Scratch,
        now: Instant,
    ) -> Result<Option<Event<'s>>, ConnectionError> {
        let mut queue = std::mem::take(&mut self.queue);
        let mut source = &queue.bytes[queue.start..];
        let Scratch { head, bytes } = scratch;
        let stream = self.exchange.stream;
        let outcome = match self.step(&mut source, head, now) {
            // Events don't borrow from the connection.
            Ok(Some(Outcome::Data { data, end_stream })) => {
                bytes.clear();
                bytes.extend_from_slice(data);
                Ok(Some(Outcome::Data {
                    data: &bytes[..],
                    end_stream,
                }))
            }
            Ok(Some(Outcome::Head { end_stream })) => Ok(Some(Outcome::Head { end_stream })),
            Ok(Some(Outcome::Informational)) => Ok(Some(Outcome::Informational)),
            Ok(Some(Outcome::Trailers)) => Ok(Some(Outcome::Trailers)),
            Ok(None) => Ok(None),
            Err(refusal) => Err(refusal),
        };
        queue.start = queue.bytes.len() - source.len();
        // Closing within the step means that nobody wants the rest.
        if !queue.is_empty() && !self.closed {
            self.queue = queue;
        }
        match outcome {
            Ok(Some(outcome)) => Ok(Some(self.event(stream, outcome, head))),
            Ok(None) => Ok(self.notice()),
            Err(refusal) => Err(self.fail(refusal)),
        }
    }

    fn event<'s>(&mut self, stream: StreamId, outcome: Outcome<'s>, head: &'s mut HeaderBlock) -> Event<'s> {
        match outcome {
            // A request's head begins the exchange.
            Outcome::Head { end_stream } => Event::Head {
                stream: self.exchange.stream,
                head,
                end_stream,
            },
            Outcome::Informational => Event::Informational { stream, head },
            Outcome::Data { data, end_stream } => {
                // The last data of an exchange that is over with it is the caller's own affair.
                if self.exchange.is_current(stream) {
                    self.outstanding += data.len() as u64;
                }
                Event::Data {
                    stream,
                    data,
                    credit: data.len() as u32,
                    end_stream,
                }
            }
            Outcome::Trailers => Event::Trailers { stream, trailers: head },
        }
    }

    /// The transport has no more input. Call until `Ok(None)`.
    ///
    /// Ends a response that lasts until the close and our peer's side of a tunnel; any other message that is not
    /// complete is a `Reset`, and so is, at a server, a request that has not been answered in full: a client that
    /// closed does not wait for it. After a tunnel's end was reported, a later call resets what is left of it.
    ///
    /// # Errors
    /// None so far; the signature is the one both protocols share.
    pub fn end_of_input<'s>(
        &mut self,
        _scratch: &'s mut Scratch,
        _now: Instant,
    ) -> Result<Option<Event<'s>>, ConnectionError> {
        let stream = self.exchange.stream;
        let had_ended = self.input_ended;
        if self.failed.is_none() && matches!(self.reading, Reading::UntilClose | Reading::Tunnel) {
            self.exchange.is_read = true;
            self.exchange.keep_alive = false;
            self.reading = Reading::Ended;
            self.settle();
            return Ok(Some(Event::Data {
                stream,
                data: &[],
                credit: 0,
                end_stream: true,
            }));
        }
        self.input_ended = true;
        let exchange = &self.exchange;
        if exchange.is_active && exchange.is_tunnel && exchange.is_read && !had_ended && self.failed.is_none() {
            return Ok(None);
        }
        if exchange.is_active && exchange.is_announced {
            let refused = !self.is_server && self.output.flushed() <= exchange.began_at;
            self.stats.count(Stat::IncompleteMessage);
            self.abort();
            let reason = ResetReason {
                code: ErrorCode::CANCEL,
                remote: true,
                refused,
                violation: Some("connection closed within an exchange (RFC 9112 section 9.5)"),
            };
            return Ok(Some(Event::Reset { stream, reason }));
        }
        if !self.partial.is_empty() {
            self.stats.count(Stat::IncompleteMessage);
        }
        self.close();
        self.close_to_report = false;
        Ok(None)
    }

    /// Reads up to the next event; `None` when `source` is used up, or holds what has to wait.
    fn step<'x>(
        &mut self,
        source: &mut &'x [u8],
        block: &mut HeaderBlock,
        now: Instant,
    ) -> Result<Option<Outcome<'x>>, Refusal> {
        while !source.is_empty() {
            match &mut self.reading {
                Reading::Head => {
                    if let Some(outcome) = self.head(source, block, now)? {
                        return Ok(Some(outcome));
                    }
                }
                Reading::Length(left) => {
                    let length = usize::try_from(*left).unwrap_or(usize::MAX).min(source.len());
                    let (data, rest) = source.split_at(length);
                    *source = rest;
                    *left -= length as u64;
                    let end_stream = *left == 0 && self.body_ends();
                    return Ok(Some(Outcome::Data { data, end_stream }));
                }
                Reading::Chunked(chunked) => match chunked.next(source)? {
                    Part::Data(data) => {
                        let end_stream = chunked.ends_here(source) && self.body_ends();
                        return Ok(Some(Outcome::Data { data, end_stream }));
                    }
                    Part::Last => {
                        self.reading = Reading::Trailers;
                        self.scanner = Scanner::default();
                    }
                    Part::More => {}
                },
                Reading::Trailers => {
                    if let Some(outcome) = self.trailers(source, block)? {
                        return Ok(Some(outcome));
                    }
                }
                Reading::UntilClose | Reading::Tunnel => {
                    let data = std::mem::take(source);
                    return Ok(Some(Outcome::Data {
                        data,
                        end_stream: false,
                    }));
                }
                Reading::Hold if self.is_server => return Ok(None),
                Reading::Hold => return Err(Refusal::UnsolicitedResponse),
                Reading::Ended => *source = &[],
            }
        }
        Ok(None)
    }

    /// The body is complete; returns whether the message is, too: behind a request for a tunnel more may come.
    fn body_ends(&mut self) -> bool {
        let exchange = &mut self.exchange;
        let awaits_tunnel = self.is_server && (exchange.asked.is_connect || exchange.asked.is_upgrade);
        if awaits_tunnel && exchange.is_tunnel {
            self.reading = Reading::Tunnel;
            return false;
        }
        self.reading = Reading::Hold;
        if awaits_tunnel && exchange.writing == Writing::Head {
            return false;
        }
        exchange.is_read = true;
        self.settle();
        true
    }

    fn head<'x>(
        &mut self,
        source: &mut &'x [u8],
        block: &mut HeaderBlock,
        now: Instant,
    ) -> Result<Option<Outcome<'x>>, Refusal> {
        if self.is_server {
            if self.partial.is_empty() {
                first_byte(source[0])?;
            }
        } else {
            if !self.exchange.is_active || self.exchange.writing == Writing::Head {
                return Err(Refusal::UnsolicitedResponse);
            }
            status_line_begins(self.partial.len(), source)?;
        }
        let max_lines = self.config.max_headers_count + 1;
        let parse = |connection: &mut Self, section: &[u8], lines| {
            if connection.is_server {
                connection.request(section, lines, block)
            } else {
                connection.response(section, lines, block)
            }
        };
        let outcome = self.section(source, max_lines, parse)?;
        self.head_started = if self.partial.is_empty() {
            None
        } else {
            self.head_started.or(Some(now))
        };
        Ok(outcome.flatten())
    }

    fn trailers<'x>(&mut self, source: &mut &'x [u8], block: &mut HeaderBlock) -> Result<Option<Outcome<'x>>, Refusal> {
        let max_lines = self.config.max_headers_count;
        self.section(source, max_lines, |connection, section, lines| {
            head::trailers(section, lines, &connection.config, block)?;
            let end_stream = connection.body_ends();
            // Behind trailers there is no tunnel to wait for that could not wait for the end as well.
            Ok(if !block.is_empty() && connection.config.enable_trailers {
                Outcome::Trailers
            } else {
                Outcome::Data { data: &[], end_stream }
            })
        })
    }

    /// Collects a head or trailer section and hands it to `parse` with its number of lines. A section that lies in
    /// `source` as a whole is not copied.
    fn section<T>(
        &mut self,
        source: &mut &[u8],
        max_lines: u32,
        parse: impl FnOnce(&mut Self, &[u8], usize) -> Result<T, Refusal>,
    ) -> Result<Option<T>, Refusal> {
        let max_bytes = self.config.max_headers_bytes as usize;
        if self.partial.is_empty() {
            if let Some(length) = self.scanner.scan(source, max_bytes, max_lines)? {
                let (section, rest) = source.split_at(length);
                *source = rest;
                let lines = std::mem::take(&mut self.scanner).lines();
                return parse(self, section, lines).map(Some);
            }
            self.partial = spare::take();
            self.partial.extend_from_slice(source);
            *source = &[];
            return Ok(None);
        }
        // Line by line, so that nothing behind the section is taken.
        while !source.is_empty() {
            let length = source
                .iter()
                .position(|&byte| byte == b'\n')
                .map_or(source.len(), |lf| lf + 1);
            let (line, rest) = source.split_at(length);
            self.partial.extend_from_slice(line);
            *source = rest;
            if self.scanner.scan(&self.partial, max_bytes, max_lines)?.is_some() {
                let section = std::mem::take(&mut self.partial);
                let lines = std::mem::take(&mut self.scanner).lines();
                let parsed = parse(self, &section, lines);
                spare::give(section);
                return parsed.map(Some);
            }
        }
        Ok(None)
    }

    /// A complete request head, or an empty line before one.
    fn request<'x>(
        &mut self,
        section: &[u8],
        lines: usize,
        block: &mut HeaderBlock,
    ) -> Result<Option<Outcome<'x>>, Refusal> {
        if lines == 0 {
            self.empty_lines += 1;
            return if self.empty_lines > MAX_EMPTY_LINES {
                Err(Refusal::RequestLine)
            } else {
                Ok(None)
            };
        }
        let parsed = head::request(section, lines, &self.config, block)?;
        if block
            .get(KnownName::Upgrade)
            .is_some_and(|protocol| protocol.eq_ignore_ascii_case(b"h2c"))
        {
            // RFC 9113 section 3.1 has taken this upgrade back; a server ignores it.
            block.remove(KnownName::Upgrade);
            block.remove(KnownName::Http2Settings);
        }
        let asked = Asked {
            is_head: block.method() == Some(b"HEAD"),
            is_connect: block.method() == Some(b"CONNECT"),
            // RFC 9110 section 7.8: ignored in HTTP/1.0.
            is_upgrade: !parsed.is_http_10 && hop_by_hop::upgrade(block).is_some(),
        };
        let framing = framing::request(block, parsed.is_http_10, asked)?;
        let stream = self.exchange.next_stream().ok_or(Refusal::RequestLine)?;
        self.exchange = Exchange::new(stream);
        self.exchange.asked = asked;
        self.exchange.is_http_10 = parsed.is_http_10;
        self.exchange.keep_alive = parsed.keep_alive;
        let end_stream = self.begin_body(framing);
        Ok(Some(Outcome::Head { end_stream }))
    }

    /// A complete response head, interim or final.
    fn response<'x>(
        &mut self,
        section: &[u8],
        lines: usize,
        block: &mut HeaderBlock,
    ) -> Result<Option<Outcome<'x>>, Refusal> {
        let parsed = head::response(section, lines, &self.config, block)?;
        let status = block.status().unwrap_or_default();
        let asked = self.exchange.asked;
        if status == 101 {
            if !asked.is_upgrade {
                return Err(Refusal::UnexpectedUpgrade);
            }
            self.begin_tunnel();
            return Ok(Some(Outcome::Head { end_stream: false }));
        }
        if status < 200 {
            self.exchange.informational += 1;
            return if self.exchange.informational > MAX_INFORMATIONAL {
                Err(Refusal::TooManyInformational)
            } else {
                Ok(Some(Outcome::Informational))
            };
        }
        let framing = framing::response(block, parsed.is_http_10, asked)?;
        self.exchange.keep_alive &= parsed.keep_alive;
        if framing == Framing::Tunnel {
            self.begin_tunnel();
            return Ok(Some(Outcome::Head { end_stream: false }));
        }
        if let Writing::TunnelWait { .. } = self.exchange.writing {
            // Declined: what was held for the tunnel has nowhere to go, and its source is told so.
            self.exchange.writing = Writing::Done;
            self.output.advance(0, usize::MAX);
        }
        let end_stream = self.begin_body(framing);
        Ok(Some(Outcome::Head { end_stream }))
    }

    /// Returns whether the message ends with its head.
    fn begin_body(&mut self, framing: Framing) -> bool {
        self.reading = match framing {
            Framing::None | Framing::Length(0) => return self.body_ends(),
            Framing::Length(length) => Reading::Length(length),
            Framing::Chunked => Reading::Chunked(Chunked::new(self.config.max_chunk_extension_bytes)),
            Framing::UntilClose => {
                self.exchange.keep_alive = false;
                Reading::UntilClose
            }
            Framing::Tunnel => Reading::Tunnel,
        };
        false
    }

    /// Client: the server has agreed.
    fn begin_tunnel(&mut self) {
        self.reading = Reading::Tunnel;
        self.exchange.is_tunnel = true;
        self.exchange.keep_alive = false;
        match std::mem::replace(&mut self.exchange.writing, Writing::Tunnel) {
            Writing::TunnelWait { held, end } => {
                self.output.buffer().extend_from_slice(&held);
                self.output.advance(0, self.config.output_cap as usize);
                if end {
                    self.exchange.writing = Writing::Done;
                }
            }
            Writing::Done => self.exchange.writing = Writing::Done,
            _ => {}
        }
    }
}

/// Tells other protocols apart at once, and not when they happen to send an end of line.
fn first_byte(byte: u8) -> Result<(), Refusal> {
    match byte {
        b'\r' | b'\n' => Ok(()),
        0x16 => Err(Refusal::TlsRecord),
        _ if validate::is_token(&[byte]) => Ok(()),
        _ => Err(Refusal::RequestLine),
    }
}

/// The same for a client. `before` bytes of the head have been seen.
fn status_line_begins(before: usize, source: &[u8]) -> Result<(), Refusal> {
    const BEGIN: &[u8] = b"HTTP/1.";
    let expected = BEGIN.get(before..).unwrap_or_default();
    for (offset, (&expected, &byte)) in expected.iter().zip(source).enumerate() {
        if expected != byte {
            return Err(match (before + offset, byte) {
                // A TLS alert, a handshake record, and the length of a SETTINGS frame.
                (0, 0x15 | 0x16) => Refusal::TlsRecord,
                (0, 0x00) => Refusal::Http2Preface,
                (5, b'0'..=b'9') => Refusal::VersionNotSupported,
                _ => Refusal::StatusLine,
            });
        }
    }
    Ok(())
}

impl Drop for Queue {
    fn drop(&mut self) {
        spare::give(std::mem::take(&mut self.bytes));
    }
}
