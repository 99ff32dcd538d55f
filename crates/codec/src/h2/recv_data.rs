//! Receiving DATA (RFC 9113 section 6.1): it streams through, nothing of it is kept.

use super::connection::Connection;
use super::error::Violation;
use super::frame::{self, FrameHeader};
use super::recv::{Handled, Outcome, Reading};
use super::stream::{NO_CONTENT, NO_LENGTH, Side};

impl Connection {
    #[inline]
    pub(super) fn on_data_header<'a>(&mut self, header: FrameHeader, input: &mut &'a [u8]) -> Handled<'a> {
        if header.stream == 0 {
            return Err(Violation::StreamZero);
        }
        if !header.has(frame::PADDED) {
            return self.on_data_frame(header, None, input);
        }
        if header.length == 0 {
            return Err(Violation::FrameLength);
        }
        self.reading = Reading::DataPadding(header);
        let Some((&padding, rest)) = input.split_first() else {
            return Ok(None);
        };
        *input = rest;
        self.on_data_frame(header, Some(padding), input)
    }

    /// Decides about a whole DATA frame before any of its content is delivered.
    #[inline]
    pub(super) fn on_data_frame<'a>(
        &mut self,
        header: FrameHeader,
        padding: Option<u8>,
        input: &mut &'a [u8],
    ) -> Handled<'a> {
        let length = header.length;
        let overhead = padding.map_or(0, |padding| u32::from(padding) + 1);
        let Some(content) = length.checked_sub(overhead) else {
            return Err(Violation::Padding);
        };
        let end = header.has(frame::END_STREAM);
        self.count_empty(content == 0 && !end)?;
        self.counters.exchanged_since_ping = self.counters.exchanged_since_ping.saturating_add(1);
        if i64::from(length) > i64::from(self.recv_window) {
            return Err(Violation::WindowExceeded);
        }
        self.recv_window -= length as i32;
        // What is left to read of the frame if its content does not matter.
        let rest = length - u32::from(padding.is_some());
        let Some(slot) = self.streams.find(header.stream) else {
            self.late_data(header)?;
            self.return_to_connection(length);
            return self.skip(input, rest);
        };
        let is_client = !self.server;
        let stream = self.streams.get_mut(slot);
        // The whole connection need not suffer from content that should not be there; nor does it in Envoy.
        let fault = if stream.remote == Side::Ended {
            if stream.is_closed() {
                return Err(Violation::ClosedStream);
            }
            Some((Violation::HalfClosedRemote, false))
        } else if stream.remote == Side::Head {
            if is_client && stream.is_unused() {
                return Err(Violation::IdleStream);
            }
            Some((Violation::DataBeforeHead, true))
        } else if i64::from(length) > i64::from(stream.recv_window) {
            Some((Violation::WindowExceeded, false))
        } else if stream.flags & NO_CONTENT != 0 && content > 0 {
            Some((Violation::NoContent, false))
        } else if stream.remaining != NO_LENGTH
            && (u64::from(content) > stream.remaining || (end && u64::from(content) != stream.remaining))
        {
            Some((Violation::ContentLength, false))
        } else {
            None
        };
        if let Some((violation, malformed)) = fault {
            let outcome = if malformed {
                self.malformed(header.stream, violation, true)?
            } else {
                self.stream_error(header.stream, violation, true)?
            };
            self.return_to_connection(length);
            self.reading = Reading::Skip { remaining: rest };
            if rest == 0 {
                self.reading = Reading::Header;
            }
            return Ok(outcome);
        }
        stream.recv_window -= length as i32;
        if stream.remaining != NO_LENGTH {
            stream.remaining -= u64::from(content);
        }
        if overhead > 0 {
            // Padding is consumed by arriving.
            self.return_to_connection(overhead);
            if !end {
                self.return_to_stream(slot, overhead);
            }
        }
        let padding = overhead.saturating_sub(1);
        if content == 0 && !end {
            return self.skip(input, padding);
        }
        self.reading = Reading::Data {
            stream: header.stream,
            slot,
            remaining: content,
            padding,
            end,
        };
        if input.is_empty() && content > 0 {
            return Ok(None);
        }
        self.read_data(header.stream, slot, content, padding, end, input)
    }

    /// Delivers what there is of a DATA frame's content.
    #[inline]
    pub(super) fn read_data<'a>(
        &mut self,
        id: u32,
        slot: u32,
        remaining: u32,
        padding: u32,
        end: bool,
        input: &mut &'a [u8],
    ) -> Handled<'a> {
        let Some(stream) = self.streams.at(slot, id) else {
            // The stream was reset while its frame was coming in.
            self.return_to_connection(remaining);
            return self.skip(input, remaining + padding);
        };
        let count = (remaining as usize).min(input.len());
        let (data, rest) = input.split_at(count);
        *input = rest;
        stream.unreleased += count as u32;
        (self.last_event, self.last_tag) = (id, stream.tag);
        let remaining = remaining - count as u32;
        if remaining > 0 {
            self.reading = Reading::Data {
                stream: id,
                slot,
                remaining,
                padding,
                end,
            };
            return Ok(Some(Outcome::Data {
                stream: id,
                data,
                end_stream: false,
            }));
        }
        self.reading = if padding > 0 {
            Reading::Skip { remaining: padding }
        } else {
            Reading::Header
        };
        if end {
            stream.remote = Side::Ended;
            self.close_if_ended(slot);
        }
        Ok(Some(Outcome::Data {
            stream: id,
            data,
            end_stream: end,
        }))
    }

    /// DATA on a stream without a record: late, or wrong.
    #[cold]
    fn late_data(&mut self, header: FrameHeader) -> Result<(), Violation> {
        let id = header.stream;
        if self.is_idle(id) {
            return Err(Violation::IdleStream);
        }
        if let Some(window) = self.resets.as_mut().and_then(|resets| resets.window(id)) {
            // We reset it: the peer may have sent what its window allowed before it knew (RFC 9113 section 5.1).
            let Some(left) = window.checked_sub(header.length) else {
                return Err(Violation::WindowExceeded);
            };
            *window = left;
        } else if id > self.forgotten_reset && !self.is_refused_by_goaway(id) {
            return Err(Violation::ClosedStream);
        }
        self.useless_frame()
    }

    /// Counts frames of a header block or body that carry nothing.
    #[inline]
    pub(super) fn count_empty(&mut self, empty: bool) -> Result<(), Violation> {
        if !empty {
            self.counters.empty_frames = 0;
            return Ok(());
        }
        self.counters.empty_frames += 1;
        if self.counters.empty_frames > self.config.limits.max_consecutive_inbound_frames_with_empty_payload {
            return Err(Violation::EmptyFrames);
        }
        Ok(())
    }
}
