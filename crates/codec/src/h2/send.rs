//! Sending heads, data and trailers, and deciding whose data goes next.

use std::collections::VecDeque;

use super::connection::{Connection, Pending};
use super::frame::{self, FrameHeader, HEADER_LEN};
use super::stream::{CONNECT_REQUEST, HEAD_REQUEST, READY, SendQueue, Side};
use crate::event::{SendError, StreamId};
use crate::headers::{HeaderBlock, hop_by_hop};

impl Connection {
    /// Sends the head of a message: a request on a stream `open_stream` gave, or the final response to one received.
    /// Connection-specific fields in it are left out (RFC 9113 section 8.2.2).
    ///
    /// # Errors
    /// Nothing was sent: the stream is gone, had its head already, or the head lacks its pseudo-header fields.
    #[inline]
    pub fn send_head(&mut self, stream: StreamId, head: &HeaderBlock, end_stream: bool) -> Result<(), SendError> {
        let slot = self.slot(stream)?;
        let record = self.streams.get_mut(slot);
        if record.local != Side::Head {
            return Err(SendError::OutOfOrder);
        }
        if self.server {
            if head.status().is_none_or(|status| status < 200) {
                return Err(SendError::InvalidHead);
            }
        } else {
            // Streams are opened in order: a later one would have closed this one (RFC 9113 section 5.1.1).
            if stream.0 < self.last_sent_id {
                return Err(SendError::OutOfOrder);
            }
            match head.method() {
                None => return Err(SendError::InvalidHead),
                Some(b"HEAD") => record.flags |= HEAD_REQUEST,
                Some(b"CONNECT") => record.flags |= CONNECT_REQUEST,
                Some(_) => {}
            }
        }
        if self
            .peer
            .max_header_list_size
            .is_some_and(|max| is_over(head, max as usize))
        {
            return Err(SendError::HeadTooLarge);
        }
        self.last_sent_id = stream.0;
        record.local = Side::Body;
        self.write_headers(stream.0, head, end_stream);
        if end_stream {
            self.end_local(slot);
        }
        Ok(())
    }

    /// Sends an interim response (1xx but not 101) before the final one. It is dropped while the peer does not read
    /// (`max_outbound_bytes`, `max_outbound_frames`): a server that sends them without end must not fill our memory.
    ///
    /// # Errors
    /// As `send_head`.
    pub fn send_informational(&mut self, stream: StreamId, head: &HeaderBlock) -> Result<(), SendError> {
        let slot = self.slot(stream)?;
        if !self.server || self.streams.get(slot).local != Side::Head {
            return Err(SendError::OutOfOrder);
        }
        if !head
            .status()
            .is_some_and(|status| (100..200).contains(&status) && status != 101)
        {
            return Err(SendError::InvalidHead);
        }
        if self.check_outbound().is_ok() {
            self.write_headers(stream.0, head, false);
        }
        Ok(())
    }

    /// Sends trailers, which end our side of the stream, behind any data that is queued.
    ///
    /// # Errors
    /// Nothing was sent: the stream is gone, or its head was not sent, or our side has ended.
    #[inline]
    pub fn send_trailers(&mut self, stream: StreamId, trailers: &HeaderBlock) -> Result<(), SendError> {
        let slot = self.slot(stream)?;
        let record = self.streams.get_mut(slot);
        if record.local != Side::Body {
            return Err(SendError::OutOfOrder);
        }
        if let Some(queue) = &mut record.queue {
            record.local = Side::Ending;
            let mut copy = Box::new(HeaderBlock::new());
            copy.copy_from(trailers);
            queue.trailers = Some(copy);
            return Ok(());
        }
        self.finish_with_trailers(slot, stream.0, trailers);
        Ok(())
    }

    fn finish_with_trailers(&mut self, slot: u32, id: u32, trailers: &HeaderBlock) {
        if trailers.is_empty() {
            self.write_data(id, b"", true);
        } else {
            self.write_headers(id, trailers, true);
        }
        self.end_local(slot);
    }

    /// Sends data. All of it is taken: what the windows, the turn of other streams or the room in the output do not let
    /// pass at once is queued, and `Event::Sent` reports it later. Returns how many octets went to the output at once.
    ///
    /// # Errors
    /// Nothing was taken: the stream is gone, or its head was not sent, or our side has ended.
    #[inline]
    pub fn send_data(&mut self, stream: StreamId, data: &[u8], end_stream: bool) -> Result<usize, SendError> {
        let slot = self.slot(stream)?;
        let record = self.streams.get_mut(slot);
        if record.local != Side::Body {
            return Err(SendError::OutOfOrder);
        }
        let mut count = 0;
        if record.queue.is_none() {
            if self.ready.is_empty() {
                let window = record.send_window.min(self.send_window).max(0) as usize;
                count = data.len().min(window);
                count = count.min(self.output.room(count));
            }
            if count == data.len() {
                if count > 0 || end_stream {
                    record.send_window -= count as i32;
                    self.send_window -= count as i32;
                    self.write_data(stream.0, data, end_stream);
                    if end_stream {
                        self.end_local(slot);
                    }
                }
                return Ok(count);
            }
            if count > 0 {
                record.send_window -= count as i32;
                self.send_window -= count as i32;
                self.write_data(stream.0, &data[..count], false);
            }
        }
        self.enqueue(slot, &data[count..], end_stream);
        Ok(count)
    }

    /// Queues what could not be sent.
    fn enqueue(&mut self, slot: u32, data: &[u8], end_stream: bool) {
        let now = self.at(self.now);
        let record = self.streams.get_mut(slot);
        self.queued += data.len() as u32;
        record
            .queue
            .get_or_insert_with(|| Box::new(SendQueue::new(now)))
            .push(data);
        if end_stream {
            record.local = Side::Ending;
        }
        if record.send_window > 0 && !record.has(READY) {
            record.flags |= READY;
            self.ready.push_back(record.id);
        }
    }

    #[inline]
    fn slot(&self, stream: StreamId) -> Result<u32, SendError> {
        match self.streams.find(stream.0) {
            Some(slot) => Ok(slot),
            None if self.failed.is_some() => Err(SendError::Closed),
            None => Err(SendError::StreamGone),
        }
    }

    #[inline]
    fn write_data(&mut self, stream: u32, data: &[u8], end: bool) {
        if !self.config.join_data_frames {
            self.output.close_frame();
        }
        let frames = self.output.data(stream, data, end, self.peer.max_frame_size);
        self.counters.data_frames_sent = self.counters.data_frames_sent.saturating_add(frames);
        self.counters.exchanged_since_ping = self.counters.exchanged_since_ping.saturating_add(frames);
    }

    /// Encodes a header block straight into the output.
    #[inline]
    fn write_headers(&mut self, stream: u32, block: &HeaderBlock, end: bool) {
        if block.has_connection_specific() {
            return self.write_without_hop_by_hop(stream, block, end);
        }
        let max = self.peer.max_frame_size as usize;
        self.counters.exchanged_since_ping = self.counters.exchanged_since_ping.saturating_add(1);
        let out = self.output.frame();
        let at = out.len();
        out.extend_from_slice(&[0; HEADER_LEN]);
        self.encoder.encode(block, out);
        let length = out.len() - at - HEADER_LEN;
        let mut flags = if end { frame::END_STREAM } else { 0 };
        if length <= max {
            flags |= frame::END_HEADERS;
        }
        let header = FrameHeader {
            length: length.min(max) as u32,
            kind: frame::HEADERS,
            flags,
            stream,
        };
        out[at..at + HEADER_LEN].copy_from_slice(&header.octets());
        if length > max {
            self.split_headers(stream, at + HEADER_LEN + max);
        }
    }

    /// RFC 9113 section 8.2.2: an endpoint must not send connection-specific fields, whoever made the message.
    #[cold]
    fn write_without_hop_by_hop(&mut self, stream: u32, block: &HeaderBlock, end: bool) {
        let mut clean = HeaderBlock::new();
        clean.copy_from(block);
        hop_by_hop::remove(&mut clean);
        self.write_headers(stream, &clean, end);
    }

    /// Turns what a HEADERS frame had too much, from `at` on, into CONTINUATION frames.
    #[cold]
    fn split_headers(&mut self, stream: u32, at: usize) {
        let max = self.peer.max_frame_size as usize;
        let out = self.output.frame();
        let rest = out.split_off(at);
        let mut chunks = rest.chunks(max).peekable();
        while let Some(chunk) = chunks.next() {
            let flags = if chunks.peek().is_none() { frame::END_HEADERS } else { 0 };
            let header = FrameHeader {
                length: chunk.len() as u32,
                kind: frame::CONTINUATION,
                flags,
                stream,
            };
            out.extend_from_slice(&header.octets());
            out.extend_from_slice(chunk);
        }
    }

    /// Our side of the stream has ended.
    #[inline]
    fn end_local(&mut self, slot: u32) {
        self.streams.get_mut(slot).local = Side::Ended;
        self.close_if_ended(slot);
    }

    /// Lets queued data go, one frame of each stream in turn, as far as windows and output allow.
    pub(super) fn pump(&mut self) {
        while let Some(&id) = self.ready.front() {
            let Some(slot) = self.streams.find(id) else {
                self.ready.pop_front();
                self.stale_ready = self.stale_ready.saturating_sub(1);
                continue;
            };
            if !self.pump_one(slot, id) {
                break;
            }
        }
        if self.ready.is_empty() && self.ready.capacity() > 64 {
            self.ready = VecDeque::new();
        }
    }

    /// One frame of the stream at the front; false if nothing can be written now.
    fn pump_one(&mut self, slot: u32, id: u32) -> bool {
        let limit = self.config.limits.max_outbound_frames / 2;
        let max_frame = self.peer.max_frame_size.min(64 * 1024) as usize;
        let record = self.streams.get_mut(slot);
        let Some(queue) = &mut record.queue else {
            record.flags &= !READY;
            self.ready.pop_front();
            return true;
        };
        let waiting = queue.len();
        let window = record.send_window.min(self.send_window).max(0) as usize;
        let wanted = waiting.min(window).min(max_frame);
        if wanted == 0 && record.send_window <= 0 {
            record.flags &= !READY;
            self.ready.pop_front();
            return true;
        }
        let count = wanted.min(self.output.room(wanted));
        if count == 0 || self.output.frames() > limit {
            return false;
        }
        self.ready.pop_front();
        let last = count == waiting;
        let ends = last && record.local == Side::Ending && queue.trailers.is_none();
        let frames = self
            .output
            .data(id, &queue.data()[..count], ends, self.peer.max_frame_size);
        self.counters.data_frames_sent = self.counters.data_frames_sent.saturating_add(frames);
        queue.advance(count);
        self.queued -= count as u32;
        record.send_window -= count as i32;
        self.send_window -= count as i32;
        self.pending.push_back(Pending::Sent {
            stream: id,
            tag: record.tag,
            bytes: count,
        });
        if !last {
            if record.send_window > 0 {
                self.ready.push_back(id);
            } else {
                record.flags &= !READY;
            }
            return true;
        }
        record.flags &= !READY;
        let ending = record.local == Side::Ending;
        let queue = record.queue.take();
        if ends {
            self.end_local(slot);
        } else if ending && let Some(trailers) = queue.and_then(|mut queue| queue.trailers.take()) {
            self.finish_with_trailers(slot, id, &trailers);
        }
        true
    }
}

/// Whether a head is larger than the peer takes. Mostly a bound that costs nothing says no.
#[inline]
fn is_over(head: &HeaderBlock, max: usize) -> bool {
    // Names that are not among the stored octets are those of `KnownName`, none of which is longer than 64.
    head.bytes.len() + head.len() * (32 + 64) > max && head.list_size() > max
}
