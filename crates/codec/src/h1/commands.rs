//! What the caller sends.

use super::connection::{Connection, Exchange, Reading, Writing};
use super::framing::Framing;
use super::write;
use crate::event::{ErrorCode, SendError, StreamId};
use crate::headers::{HeaderBlock, hop_by_hop};
use std::time::Instant;

impl Connection {
    /// Sends a request head (client) or a final response head (server; also 101).
    ///
    /// The framing is decided here: no body with `end_stream` (or where the response can't have one), else by
    /// `content-length` if the head has it, else chunked, else (to HTTP/1.0) until the connection closes. Connection
    /// fields of the head are replaced by our own, except that a response with `connection: close` closes.
    ///
    /// # Errors
    /// Nothing was written: the head can't be one of HTTP/1.1, `content-length` contradicts `end_stream`, or the
    /// stream is not one that waits for its head.
    pub fn send_head(&mut self, stream: StreamId, head: &HeaderBlock, end_stream: bool) -> Result<(), SendError> {
        self.check_stream(stream)?;
        if self.exchange.writing != Writing::Head {
            return Err(SendError::OutOfOrder);
        }
        let buffer = self.output.buffer();
        let start = buffer.len();
        let written = if self.is_server {
            let exchange = &self.exchange;
            let is_101 = head.status() == Some(101);
            let agrees = head.status().is_some_and(|status| (200..300).contains(&status));
            let is_read_up = exchange.is_read || matches!(self.reading, Reading::Hold);
            let close = !exchange.keep_alive
                || self.draining
                || (end_stream && !is_read_up)
                || (exchange.asked.is_connect && !agrees && !self.queue.is_empty())
                || hop_by_hop::has_connection_option(head, b"close");
            let connection = write::Connection {
                close: close && !is_101,
                keep_alive: exchange.is_http_10,
                upgrade: is_101,
            };
            write::response(
                head,
                end_stream,
                exchange.asked,
                exchange.is_http_10,
                &self.config,
                connection,
                buffer,
            )
            .map(|framing| (framing, exchange.asked, close && !is_101))
        } else {
            let close = self.draining || hop_by_hop::has_connection_option(head, b"close");
            write::request(head, end_stream, &self.config, close, buffer)
                .map(|(framing, asked)| (framing, asked, close))
        };
        let (framing, asked, close) = match written {
            Ok(written) => written,
            Err(error) => {
                buffer.truncate(start);
                return Err(error);
            }
        };
        self.exchange.asked = asked;
        self.exchange.keep_alive &= !close;
        self.head_sent(framing, end_stream);
        self.settle();
        Ok(())
    }

    fn head_sent(&mut self, framing: Framing, end_stream: bool) {
        let exchange = &mut self.exchange;
        if framing == Framing::Tunnel {
            if self.is_server {
                exchange.is_tunnel = true;
                exchange.writing = if end_stream { Writing::Done } else { Writing::Tunnel };
                if matches!(self.reading, Reading::Hold) {
                    self.reading = Reading::Tunnel;
                }
                exchange.keep_alive = false;
            } else {
                exchange.writing = Writing::TunnelWait {
                    held: Vec::new(),
                    end: end_stream,
                };
            }
            return;
        }
        if self.is_server && !exchange.is_read && matches!(self.reading, Reading::Hold) {
            // An upgrade or CONNECT that was declined. What already came may have been meant for the tunnel, and must
            // not be taken for a request.
            exchange.is_read = true;
            exchange.keep_alive &= self.queue.is_empty();
        }
        exchange.writing = match framing {
            _ if end_stream => Writing::Done,
            Framing::Length(length) => Writing::Length(length),
            Framing::Chunked => Writing::Chunked,
            Framing::UntilClose => {
                exchange.keep_alive = false;
                Writing::UntilClose
            }
            Framing::None | Framing::Tunnel => Writing::Swallow,
        };
    }

    /// Server: sends an interim response (100, 102, 103). Clients of HTTP/1.0 don't get it (RFC 9110 section 15.2).
    ///
    /// # Errors
    /// Nothing was written: the status is not 1xx or is 101, or the final response has begun.
    pub fn send_informational(&mut self, stream: StreamId, head: &HeaderBlock) -> Result<(), SendError> {
        self.check_stream(stream)?;
        if !self.is_server || self.exchange.writing != Writing::Head {
            return Err(SendError::OutOfOrder);
        }
        if self.exchange.is_http_10 {
            return Ok(());
        }
        let buffer = self.output.buffer();
        let start = buffer.len();
        write::informational(head, &self.config, buffer).inspect_err(|_| buffer.truncate(start))
    }

    /// Sends body bytes, all of them. Returns how many went out within the output's cap; the others are reported by
    /// `Event::Sent` as the output drains.
    ///
    /// # Errors
    /// Nothing was written. `LengthMismatch` if it is more than `content-length` announced; if it is less, with
    /// `end_stream`, the connection is closed as well, for the peer must not take the message as complete.
    pub fn send_data(&mut self, stream: StreamId, data: &[u8], end_stream: bool) -> Result<usize, SendError> {
        self.check_stream(stream)?;
        let cap = self.config.output_cap as usize;
        let at_once = match &mut self.exchange.writing {
            Writing::Head | Writing::Done => return Err(SendError::OutOfOrder),
            Writing::Length(left) => {
                let Some(rest) = left.checked_sub(data.len() as u64) else {
                    return Err(SendError::LengthMismatch);
                };
                if end_stream && rest > 0 {
                    self.abort();
                    return Err(SendError::LengthMismatch);
                }
                *left = rest;
                let at_once = self.output.account(data.len(), cap);
                self.output.buffer().extend_from_slice(data);
                at_once
            }
            Writing::Chunked => {
                let at_once = self.output.account(data.len(), cap);
                write::chunk(data, self.output.buffer());
                if end_stream {
                    self.output.buffer().extend_from_slice(b"0\r\n\r\n");
                }
                at_once
            }
            Writing::UntilClose | Writing::Tunnel => {
                let at_once = self.output.account(data.len(), cap);
                self.output.buffer().extend_from_slice(data);
                at_once
            }
            Writing::Swallow => data.len(),
            Writing::TunnelWait { held, end } => {
                if *end {
                    return Err(SendError::OutOfOrder);
                }
                held.extend_from_slice(data);
                *end = end_stream;
                // Over any cap: none of it has gone out.
                self.output.account(data.len(), 0);
                return Ok(0);
            }
        };
        if end_stream {
            self.exchange.writing = Writing::Done;
            self.settle();
        }
        Ok(at_once)
    }

    /// Ends the body with trailers. Where the framing has no place for them, or without `enable_trailers`, the body
    /// ends without (RFC 9110 section 6.5.1).
    ///
    /// # Errors
    /// Nothing was written; `LengthMismatch` closes, see [`send_data`](Self::send_data).
    pub fn send_trailers(&mut self, stream: StreamId, trailers: &HeaderBlock) -> Result<(), SendError> {
        self.check_stream(stream)?;
        if self.exchange.writing != Writing::Chunked || !self.config.enable_trailers {
            return self.send_data(stream, b"", true).map(|_| ());
        }
        let buffer = self.output.buffer();
        let start = buffer.len();
        write::last_chunk(Some(trailers), &self.config, buffer).inspect_err(|_| buffer.truncate(start))?;
        self.exchange.writing = Writing::Done;
        self.settle();
        Ok(())
    }

    /// The consumer has passed on `count` bytes of a body. For an exchange that is over that means nothing.
    #[inline]
    pub fn release_credit(&mut self, stream: StreamId, count: u32) {
        if self.exchange.stream == stream {
            self.outstanding = self.outstanding.saturating_sub(u64::from(count));
        }
    }

    /// Gives a stream up. HTTP/1.1 can't say so within a connection: it closes, unless nothing of the request was sent.
    pub fn reset(&mut self, stream: StreamId, _code: ErrorCode) {
        if !self.exchange.is_current(stream) {
            return;
        }
        if !self.is_server && self.exchange.writing == Writing::Head {
            self.exchange.is_active = false;
            self.room_to_report = !self.draining;
            if self.draining {
                self.close();
            }
            return;
        }
        self.abort();
    }

    /// No further exchange: the next response says `connection: close`; an idle client connection closes.
    pub fn drain(&mut self, _now: Instant) {
        self.draining = true;
        if !self.is_server && !self.exchange.is_active {
            self.close();
        }
    }

    /// As [`drain`](Self::drain), and an idle connection closes at once at a server, too. Code and text have no place
    /// in HTTP/1.1.
    pub fn go_away(&mut self, _code: ErrorCode, _debug: &[u8]) {
        self.draining = true;
        if !self.exchange.is_active {
            self.close();
        }
    }

    fn check_stream(&self, stream: StreamId) -> Result<(), SendError> {
        if self.exchange.is_current(stream) && !self.closed {
            Ok(())
        } else if self.closed {
            Err(SendError::Closed)
        } else {
            Err(SendError::StreamGone)
        }
    }

    /// Ends exchange and connection; what is in the output already may still be flushed.
    pub(super) fn abort(&mut self) {
        let Exchange { is_active, writing, .. } = &mut self.exchange;
        *is_active = false;
        *writing = Writing::Done;
        self.output.forget_deferred();
        self.close();
    }
}
