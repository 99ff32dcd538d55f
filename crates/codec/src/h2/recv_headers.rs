//! Receiving HEADERS and CONTINUATION (RFC 9113 sections 6.2, 6.10 and 8).

use super::connection::{Connection, NEVER};
use super::drain::Drain;
use super::error::Violation;
use super::frame::{self, FrameHeader};
use super::recv::{Handled, Outcome};
use super::stream::{CONNECT_REQUEST, HEAD_REQUEST, NO_CONTENT, NO_LENGTH, Side};
use crate::event::MAX_INFORMATIONAL;
use crate::headers::HeaderBlock;
use crate::headers::validate::{Kind, Malformed};
use crate::hpack::{Decoded, Limits};
use crate::stats::Stat;

/// A header block that is still to be continued.
#[derive(Debug)]
pub(super) struct Block {
    pub(super) stream: u32,
    flags: u8,
    /// The stream is said to depend on itself.
    self_dependent: bool,
    /// CONTINUATION frames so far.
    frames: u32,
    pub(super) bytes: Vec<u8>,
}

/// What a header block is for.
#[derive(Clone, Copy)]
enum Target {
    /// A request on a new stream.
    Request,
    /// A response, or an interim one.
    Response(u32),
    Trailers(u32),
    /// The peer had ended the stream.
    Ended,
    /// Late, or above the last stream of our GOAWAY: only the compression state matters.
    Ignored,
}

impl Connection {
    #[inline]
    pub(super) fn on_headers<'a>(
        &mut self,
        header: FrameHeader,
        payload: &[u8],
        head: &mut HeaderBlock,
    ) -> Handled<'a> {
        if header.stream == 0 {
            return Err(Violation::StreamZero);
        }
        let mut fragment = payload;
        let mut self_dependent = false;
        if header.flags & (frame::PADDED | frame::PRIORITY_FLAG) != 0 {
            (fragment, self_dependent) = strip(header, payload)?;
        }
        self.count_empty(fragment.is_empty() && !header.has(frame::END_STREAM))?;
        if header.has(frame::END_HEADERS) {
            return self.on_block(header.stream, header.flags, self_dependent, fragment, head);
        }
        // Even the first frame of a block must be for a stream that can have one, so that no block is collected for
        // a stream that can't.
        self.target(header.stream)?;
        let mut bytes = Vec::with_capacity(fragment.len());
        bytes.extend_from_slice(fragment);
        self.block = Some(Box::new(Block {
            stream: header.stream,
            flags: header.flags,
            self_dependent,
            frames: 0,
            bytes,
        }));
        self.incomplete_since = self.incomplete_since.min(self.now);
        Ok(None)
    }

    pub(super) fn on_continuation<'a>(
        &mut self,
        header: FrameHeader,
        payload: &[u8],
        head: &mut HeaderBlock,
    ) -> Handled<'a> {
        let Some(block) = &mut self.block else {
            return Err(Violation::Continuation);
        };
        block.frames += 1;
        if block.frames > self.config.limits.max_continuation_frames {
            return Err(Violation::ContinuationFlood);
        }
        // Encoded, a list is hardly ever longer than decoded; what is can't be decoded within bounds.
        if block.bytes.len() + payload.len() > 2 * self.config.max_header_list_size as usize {
            return Err(Violation::HeaderBlock);
        }
        block.bytes.extend_from_slice(payload);
        self.count_empty(payload.is_empty())?;
        if !header.has(frame::END_HEADERS) {
            return Ok(None);
        }
        let Some(block) = self.block.take() else {
            return Ok(None);
        };
        self.incomplete_since = NEVER;
        self.on_block(block.stream, block.flags, block.self_dependent, &block.bytes, head)
    }

    /// What a header block on `id` would be for.
    #[inline]
    fn target(&mut self, id: u32) -> Result<Target, Violation> {
        if let Some(slot) = self.streams.find(id) {
            let stream = self.streams.get(slot);
            return match stream.remote {
                Side::Head if stream.local == Side::Head => Err(Violation::IdleStream),
                Side::Head => Ok(Target::Response(slot)),
                Side::Body | Side::Ending => Ok(Target::Trailers(slot)),
                Side::Ended if stream.is_closed() => Err(Violation::ClosedStream),
                Side::Ended => Ok(Target::Ended),
            };
        }
        if self.is_idle(id) {
            if !self.server || id.is_multiple_of(2) {
                return Err(Violation::StreamIdentifier);
            }
            return Ok(Target::Request);
        }
        if self.skipped.0 < id && id < self.skipped.1 {
            return Err(Violation::StreamIdentifier);
        }
        if self.resets.as_mut().is_some_and(|resets| resets.window(id).is_some())
            || id <= self.forgotten_reset
            || self.is_refused_by_goaway(id)
        {
            return Ok(Target::Ignored);
        }
        Err(Violation::ClosedStream)
    }

    /// Whether our final GOAWAY told the peer that the stream is not processed.
    pub(super) fn is_refused_by_goaway(&self, id: u32) -> bool {
        self.server && id > self.last_processed() && !id.is_multiple_of(2) && matches!(self.drain, Drain::Final { .. })
    }

    /// Handles a complete header block. Whatever it is for, it is decoded: the compression state depends on it.
    #[inline]
    fn on_block<'a>(
        &mut self,
        id: u32,
        flags: u8,
        self_dependent: bool,
        fragment: &[u8],
        head: &mut HeaderBlock,
    ) -> Handled<'a> {
        self.counters.exchanged_since_ping = self.counters.exchanged_since_ping.saturating_add(1);
        let target = self.target(id)?;
        let kind = match target {
            Target::Request => Kind::Request {
                extended_connect: self.config.allow_connect,
            },
            Target::Response(_) => Kind::Response,
            Target::Trailers(_) | Target::Ended | Target::Ignored => Kind::Trailers,
        };
        let limits = Limits {
            list_size: self.config.max_header_list_size,
            fields: self.config.max_headers_count,
        };
        let Ok(decoded) = self.decoder.decode(fragment, kind, limits, head) else {
            return Err(Violation::HeaderCompression);
        };
        let end_stream = flags & frame::END_STREAM != 0;
        match target {
            Target::Request => self.on_request(id, end_stream, self_dependent, decoded, head),
            Target::Response(slot) => self.check_known(id, self_dependent, decoded)?.map_or_else(
                || self.on_response(slot, id, end_stream, head),
                |outcome| Ok(Some(outcome)),
            ),
            Target::Trailers(slot) => self
                .check_known(id, self_dependent, decoded)?
                .map_or_else(|| self.on_trailers(slot, id, end_stream), |outcome| Ok(Some(outcome))),
            Target::Ended => self.stream_error(id, Violation::HalfClosedRemote, true),
            Target::Ignored => {
                self.stats.count(Stat::HeadersCbNoStream);
                self.useless_frame()?;
                Ok(None)
            }
        }
    }

    /// What the decoder says of a block of a stream the caller knows: an event if the stream ends by it.
    #[inline]
    fn check_known<'a>(&mut self, id: u32, self_dependent: bool, decoded: Decoded) -> Handled<'a> {
        match decoded {
            _ if self_dependent => self.stream_error(id, Violation::SelfDependency, true),
            Decoded::Complete => Ok(None),
            Decoded::TooLarge => self.stream_error(id, Violation::HeaderList, true),
            Decoded::Malformed(malformed) => self.malformed(id, violation(malformed), true),
        }
    }

    #[inline]
    fn on_request<'a>(
        &mut self,
        id: u32,
        end_stream: bool,
        self_dependent: bool,
        decoded: Decoded,
        head: &mut HeaderBlock,
    ) -> Handled<'a> {
        let expected = if self.last_id == 0 { 1 } else { self.last_id + 2 };
        if id > expected {
            self.skipped = (self.last_id, id);
        }
        self.last_id = id;
        self.check_outbound()?;
        let length = match head.content_length() {
            Some(Ok(length)) => length,
            _ => NO_LENGTH,
        };
        match decoded {
            _ if self_dependent => return self.stream_error(id, Violation::SelfDependency, false),
            Decoded::Complete => {}
            Decoded::TooLarge => return self.stream_error(id, Violation::HeaderList, false),
            Decoded::Malformed(malformed) => return self.malformed(id, violation(malformed), false),
        }
        if end_stream && length != 0 && length != NO_LENGTH {
            return self.malformed(id, Violation::ContentLength, false);
        }
        if self.active >= self.config.max_concurrent_streams {
            return self.stream_error(id, Violation::TooManyStreams, false);
        }
        let slot = self.insert(id);
        let stream = self.streams.get_mut(slot);
        stream.remote = if end_stream { Side::Ended } else { Side::Body };
        stream.remaining = length;
        (self.last_event, self.last_tag) = (id, 0);
        Ok(Some(Outcome::Head { stream: id, end_stream }))
    }

    #[inline]
    fn on_response<'a>(&mut self, slot: u32, id: u32, end_stream: bool, head: &mut HeaderBlock) -> Handled<'a> {
        let status = head.status().unwrap_or_default();
        let stream = self.streams.get_mut(slot);
        (self.last_event, self.last_tag) = (id, stream.tag);
        if status < 200 {
            if end_stream {
                return self.malformed(id, Violation::InformationalEnd, true);
            }
            stream.informational += 1;
            if stream.informational > MAX_INFORMATIONAL {
                return self.stream_error(id, Violation::TooManyInformational, true);
            }
            return Ok(Some(Outcome::Informational { stream: id }));
        }
        if stream.has(CONNECT_REQUEST) && status < 300 {
            // A tunnel: RFC 9110 section 9.3.6 says that content-length means nothing here.
        } else if stream.has(HEAD_REQUEST) || status == 204 || status == 304 {
            stream.flags |= NO_CONTENT;
        } else if let Some(Ok(length)) = head.content_length() {
            stream.remaining = length;
            if end_stream && length != 0 {
                return self.malformed(id, Violation::ContentLength, true);
            }
        }
        stream.remote = Side::Body;
        if end_stream {
            stream.remote = Side::Ended;
            self.close_if_ended(slot);
        }
        Ok(Some(Outcome::Head { stream: id, end_stream }))
    }

    #[inline]
    fn on_trailers<'a>(&mut self, slot: u32, id: u32, end_stream: bool) -> Handled<'a> {
        if !end_stream {
            return self.malformed(id, Violation::TrailersWithoutEnd, true);
        }
        let stream = self.streams.get_mut(slot);
        if stream.remaining != NO_LENGTH && stream.remaining != 0 {
            return self.malformed(id, Violation::ContentLength, true);
        }
        (self.last_event, self.last_tag) = (id, stream.tag);
        stream.remote = Side::Ended;
        self.close_if_ended(slot);
        self.stats.count(Stat::Trailers);
        Ok(Some(Outcome::Trailers { stream: id }))
    }
}

/// Removes padding and priority from a HEADERS payload; says whether the stream depends on itself.
#[cold]
fn strip(header: FrameHeader, payload: &[u8]) -> Result<(&[u8], bool), Violation> {
    let mut fragment = payload;
    if header.has(frame::PADDED) {
        let (&padding, rest) = fragment.split_first().ok_or(Violation::FrameLength)?;
        let length = rest.len().checked_sub(usize::from(padding)).ok_or(Violation::Padding)?;
        fragment = &rest[..length];
    }
    let mut self_dependent = false;
    if header.has(frame::PRIORITY_FLAG) {
        let (priority, rest) = fragment.split_at_checked(5).ok_or(Violation::FrameLength)?;
        self_dependent = frame::u32_at(priority, 0) & frame::MAX_31 == header.stream;
        fragment = rest;
    }
    Ok((fragment, self_dependent))
}

fn violation(malformed: Malformed) -> Violation {
    match malformed {
        Malformed::Name | Malformed::Value => Violation::MalformedField,
        Malformed::ConnectionSpecific => Violation::ConnectionSpecificField,
        Malformed::UnknownPseudo | Malformed::LatePseudo | Malformed::DuplicatePseudo | Malformed::PseudoInTrailers => {
            Violation::PseudoHeader
        }
        Malformed::MissingPseudo | Malformed::Method | Malformed::Scheme | Malformed::Authority | Malformed::Path => {
            Violation::RequestPseudoHeaders
        }
        Malformed::HostMismatch => Violation::HostMismatch,
        Malformed::Status => Violation::ResponseStatus,
        Malformed::Protocol => Violation::ExtendedConnect,
        Malformed::ContentLength => Violation::ContentLengthField,
    }
}
