//! Reading: bytes to frames, frames to events.

use std::time::Instant;

use super::connection::{Connection, NEVER};
use super::error::Violation;
use super::frame::{self, FrameHeader, HEADER_LEN};
use super::settings;
use super::stream::Side;
use crate::event::{ConnectionError, ErrorCode, Event, ResetReason, Scratch, StreamId};

/// What the next octet of input belongs to.
///
/// ```text
///   Preface ──24 octets──> Header ──9 octets──> Payload ──complete──> Header     (all frames but DATA)
///   (server only)            │  ^─────────────────────────────────────────┐
///                            ├──DATA──> DataPadding ──> Data ──> Skip ────┤      (DATA streams through)
///                            └──unknown type───────────────────> Skip ────┘
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reading {
    /// The client's preface; `matched` octets were right.
    Preface { matched: u8 },
    /// A frame header.
    Header,
    /// The payload of a frame that is handled as a whole.
    Payload(FrameHeader),
    /// The octet that says how much padding a DATA frame has.
    DataPadding(FrameHeader),
    /// Content of a DATA frame: `remaining` octets, then `padding` octets, then the stream ends if `end`.
    Data {
        stream: u32,
        slot: u32,
        remaining: u32,
        padding: u32,
        end: bool,
    },
    /// Octets of a frame that mean nothing. After a connection error all that comes.
    Skip { remaining: u32 },
}

/// An event before it borrows anything.
#[derive(Debug)]
pub(super) enum Outcome<'a> {
    Head {
        stream: u32,
        end_stream: bool,
    },
    Informational {
        stream: u32,
    },
    Trailers {
        stream: u32,
    },
    Data {
        stream: u32,
        data: &'a [u8],
        end_stream: bool,
    },
    Reset {
        stream: u32,
        reason: ResetReason,
    },
    /// `debug: None`: the payload is in the scratch bytes.
    Goaway {
        last: u32,
        code: ErrorCode,
        debug: Option<&'a [u8]>,
    },
    Settings,
    PingAck {
        payload: [u8; 8],
    },
}

/// Result of handling a frame: an event, nothing to tell, or the end of the connection.
pub(super) type Handled<'a> = Result<Option<Outcome<'a>>, Violation>;

impl Connection {
    /// Takes octets from the front of `input` up to the next event. Call until `Ok(None)`: then all of it was taken.
    ///
    /// # Errors
    /// The connection is over (RFC 9113 section 5.4.1): flush the output, GOAWAY is in it, and close. Every later call
    /// returns the same error; `next_event` tells of each stream that was open.
    #[inline]
    pub fn receive<'a, 'i: 'a>(
        &mut self,
        input: &mut &'i [u8],
        scratch: &'a mut Scratch,
        now: Instant,
    ) -> Result<Option<Event<'a>>, ConnectionError> {
        if let Some(error) = self.failed {
            return Err(error.into());
        }
        if !self.pending.is_empty()
            && let Some(event) = self.pop_pending()
        {
            return Ok(Some(event));
        }
        if input.is_empty() {
            // The frame that was incomplete may have been the event before.
            self.note_incomplete();
            return Ok(None);
        }
        self.tell_time(now);
        self.on_input();
        let Scratch { head, bytes } = scratch;
        let outcome = loop {
            match self.step(input, head, bytes) {
                Ok(Some(outcome)) => break outcome,
                Ok(None) if !input.is_empty() => {}
                Ok(None) => {
                    self.note_incomplete();
                    return Ok(self.pop_pending());
                }
                Err(violation) => return Err(self.fail(violation)),
            }
        };
        Ok(Some(match outcome {
            Outcome::Head { stream, end_stream } => Event::Head {
                stream: StreamId(stream),
                head,
                end_stream,
            },
            Outcome::Data {
                stream,
                data,
                end_stream,
            } => Event::Data {
                stream: StreamId(stream),
                data,
                credit: data.len() as u32,
                end_stream,
            },
            Outcome::Trailers { stream } => Event::Trailers {
                stream: StreamId(stream),
                trailers: head,
            },
            Outcome::Informational { stream } => Event::Informational {
                stream: StreamId(stream),
                head,
            },
            Outcome::Reset { stream, reason } => Event::Reset {
                stream: StreamId(stream),
                reason,
            },
            Outcome::Goaway { last, code, debug } => {
                let debug = debug.unwrap_or_else(|| bytes.get(8..).unwrap_or_default());
                Event::Goaway {
                    last_stream: StreamId(last),
                    code,
                    debug,
                }
            }
            Outcome::Settings => Event::Settings,
            Outcome::PingAck { payload } => Event::PingAck { payload },
        }))
    }

    /// Remembers since when the frame or header block at the end of the input has been incomplete. DATA has flow
    /// control and its own timeouts.
    #[inline]
    fn note_incomplete(&mut self) {
        let incomplete = match self.reading {
            Reading::Header => self.header_len > 0 || self.block.is_some(),
            Reading::Payload(_) | Reading::DataPadding(_) => true,
            Reading::Preface { matched } => matched > 0,
            Reading::Data { .. } | Reading::Skip { .. } => false,
        };
        if incomplete {
            self.incomplete_since = self.incomplete_since.min(self.now);
        } else {
            self.incomplete_since = NEVER;
        }
    }

    /// Takes the next piece of input. There is some.
    #[inline]
    fn step<'a>(
        &mut self,
        input: &mut &'a [u8],
        head: &mut crate::headers::HeaderBlock,
        bytes: &mut Vec<u8>,
    ) -> Handled<'a> {
        match self.reading {
            Reading::Header => {
                let header = if self.header_len == 0
                    && let Some((octets, rest)) = input.split_first_chunk::<HEADER_LEN>()
                {
                    *input = rest;
                    FrameHeader::parse(octets)
                } else {
                    match self.collect_header(input) {
                        Some(header) => header,
                        None => return Ok(None),
                    }
                };
                self.check_header(header)?;
                if header.kind == frame::DATA {
                    return self.on_data_header(header, input);
                }
                if header.kind > frame::CONTINUATION {
                    self.useless_frame()?;
                    self.reading = Reading::Skip {
                        remaining: header.length,
                    };
                    return self.skip(input, header.length);
                }
                self.read_payload(header, input, head, bytes)
            }
            Reading::Payload(header) => self.read_payload(header, input, head, bytes),
            Reading::Data {
                stream,
                slot,
                remaining,
                padding,
                end,
            } => self.read_data(stream, slot, remaining, padding, end, input),
            Reading::DataPadding(header) => {
                let Some((&padding, rest)) = input.split_first() else {
                    return Ok(None);
                };
                *input = rest;
                self.on_data_frame(header, Some(padding), input)
            }
            Reading::Skip { remaining } => self.skip(input, remaining),
            Reading::Preface { matched } => self.read_preface(matched, input),
        }
    }

    fn read_preface<'a>(&mut self, matched: u8, input: &mut &'a [u8]) -> Handled<'a> {
        let expected = &frame::PREFACE[matched as usize..];
        let count = expected.len().min(input.len());
        let (octets, rest) = input.split_at(count);
        if octets != &expected[..count] {
            return Err(Violation::Preface);
        }
        *input = rest;
        self.reading = if count == expected.len() {
            Reading::Header
        } else {
            Reading::Preface {
                matched: matched + count as u8,
            }
        };
        Ok(None)
    }

    /// Collects a frame header that comes in pieces.
    #[cold]
    fn collect_header(&mut self, input: &mut &[u8]) -> Option<FrameHeader> {
        let have = usize::from(self.header_len);
        let count = (HEADER_LEN - have).min(input.len());
        let (octets, rest) = input.split_at(count);
        self.header[have..have + count].copy_from_slice(octets);
        *input = rest;
        if have + count < HEADER_LEN {
            self.header_len += count as u8;
            return None;
        }
        self.header_len = 0;
        Some(FrameHeader::parse(&self.header))
    }

    /// What must hold for a frame of any type.
    #[inline]
    fn check_header(&mut self, header: FrameHeader) -> Result<(), Violation> {
        if self.block.is_none() {
            self.incomplete_since = NEVER;
        }
        if header.length > settings::local_max_frame_size(&self.config) {
            return Err(Violation::FrameTooLarge);
        }
        if let Some(block) = &self.block {
            if header.kind != frame::CONTINUATION || header.stream != block.stream {
                return Err(Violation::BlockInterrupted);
            }
        } else if header.kind == frame::CONTINUATION {
            return Err(Violation::Continuation);
        }
        if !self.greeted && (header.kind != frame::SETTINGS || header.has(frame::ACK)) {
            return Err(Violation::FirstFrame);
        }
        Ok(())
    }

    /// Drops octets that mean nothing.
    #[inline]
    pub(super) fn skip<'a>(&mut self, input: &mut &'a [u8], remaining: u32) -> Handled<'a> {
        let count = (remaining as usize).min(input.len());
        *input = &input[count..];
        let remaining = remaining - count as u32;
        self.reading = if remaining == 0 {
            Reading::Header
        } else {
            Reading::Skip { remaining }
        };
        Ok(None)
    }

    /// Handles a frame once its payload is complete: out of the input if it is there, else collected.
    #[inline]
    fn read_payload<'a>(
        &mut self,
        header: FrameHeader,
        input: &mut &'a [u8],
        head: &mut crate::headers::HeaderBlock,
        bytes: &mut Vec<u8>,
    ) -> Handled<'a> {
        let length = header.length as usize;
        if self.partial.is_empty()
            && let Some((payload, rest)) = input.split_at_checked(length)
        {
            *input = rest;
            self.reading = Reading::Header;
            let mut outcome = self.on_frame(header, payload, head)?;
            if let Some(Outcome::Goaway { debug, .. }) = &mut outcome {
                *debug = payload.get(8..);
            }
            return Ok(outcome);
        }
        let count = (length - self.partial.len()).min(input.len());
        let (octets, rest) = input.split_at(count);
        self.partial.extend_from_slice(octets);
        *input = rest;
        if self.partial.len() < length {
            self.reading = Reading::Payload(header);
            return Ok(None);
        }
        self.reading = Reading::Header;
        *bytes = std::mem::take(&mut self.partial);
        self.on_frame(header, bytes, head)
    }

    /// Handles a complete frame other than DATA.
    #[inline]
    fn on_frame<'a>(
        &mut self,
        header: FrameHeader,
        payload: &[u8],
        head: &mut crate::headers::HeaderBlock,
    ) -> Handled<'a> {
        match header.kind {
            frame::HEADERS => self.on_headers(header, payload, head),
            frame::WINDOW_UPDATE => self.on_window_update(header, payload),
            frame::CONTINUATION => self.on_continuation(header, payload, head),
            frame::RST_STREAM => self.on_rst_stream(header, payload),
            frame::PING => self.on_ping(header, payload),
            frame::SETTINGS => self.on_settings(header, payload),
            frame::GOAWAY => self.on_goaway_frame(header, payload),
            frame::PRIORITY => self.on_priority(header, payload),
            frame::PUSH_PROMISE => Err(Violation::PushPromise),
            _ => Ok(None),
        }
    }

    /// A frame that is legal and of no use.
    pub(super) fn useless_frame(&mut self) -> Result<(), Violation> {
        let now = self.milliseconds();
        if self
            .counters
            .provoked()
            .useless
            .take(self.config.limits.useless_frames, now)
        {
            Ok(())
        } else {
            Err(Violation::UselessFrames)
        }
    }

    /// Refuses to let the output grow under a peer that makes us answer and does not read.
    #[inline]
    pub(super) fn check_outbound(&self) -> Result<(), Violation> {
        let limits = &self.config.limits;
        if self.output.control_frames() > limits.max_outbound_control_frames {
            return Err(Violation::OutboundControlFlood);
        }
        if self.output.frames() > limits.max_outbound_frames || self.output.len() > limits.max_outbound_bytes as usize {
            return Err(Violation::OutboundFlood);
        }
        Ok(())
    }

    /// Whether a stream identifier belongs to a stream that has not been opened.
    #[inline]
    pub(super) fn is_idle(&self, stream: u32) -> bool {
        stream.is_multiple_of(2) || (stream > self.last_id && !self.is_refused_by_goaway(stream))
    }

    /// Signals a stream error (RFC 9113 section 5.4.2). `known`: the caller has heard of the stream.
    pub(super) fn stream_error<'a>(&mut self, stream: u32, violation: Violation, known: bool) -> Handled<'a> {
        let now = self.milliseconds();
        let refusal = violation == Violation::TooManyStreams;
        // Before our SETTINGS are acknowledged the peer can't know how many streams it may open.
        let excused = refusal && self.settings_unacknowledged;
        if !excused
            && !self
                .counters
                .provoked()
                .stream_errors
                .take(self.config.limits.stream_errors, now)
        {
            return Err(Violation::MadeYouReset);
        }
        self.stats.count(violation.stat());
        self.last_violation = Some(violation);
        self.write_reset(stream, violation.code());
        // Before the stream goes: if this ends the connection, it is one of those that are told of.
        self.check_outbound()?;
        match self.streams.find(stream) {
            Some(slot) => {
                let record = self.remove(slot, false);
                (self.last_event, self.last_tag) = (stream, record.tag);
                if record.remote == Side::Ended {
                    // It sent after its end; more of that may be on its way.
                    self.remember_reset(stream, record.recv_window.max(0) as u32);
                }
            }
            None => self.remember_reset(stream, self.local_initial_window().max(0) as u32),
        }
        Ok(known.then(|| Outcome::Reset {
            stream,
            reason: ResetReason {
                code: violation.code(),
                remote: false,
                refused: false,
                violation: Some(violation.text()),
            },
        }))
    }

    /// A malformed message (RFC 9113 section 8.1.1): a stream error, or the end of the connection, as configured.
    pub(super) fn malformed<'a>(&mut self, stream: u32, violation: Violation, known: bool) -> Handled<'a> {
        if self.config.stream_error_on_invalid_http_message {
            self.stream_error(stream, violation, known)
        } else {
            Err(violation)
        }
    }
}
