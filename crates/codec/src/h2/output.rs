//! What waits for the socket: frames in one buffer, counted.

use super::frame::{self, FrameHeader, HEADER_LEN};
use super::spare;

/// DATA stops being written to the output at this many octets, so that one connection's memory is bounded and the
/// order of streams can still be decided late.
pub(crate) const DATA_CAP: usize = 512 * 1024;
/// Below this room a DATA frame is not worth its header, unless it is all there is to send.
const MIN_ROOM: usize = 4096;
/// Written octets kept at the front before the rest is moved down.
const MAX_DEAD: usize = 256 * 1024;
/// Longest DATA frame written however large the peer's frames may be: streams take turns by frames.
const MAX_DATA_FRAME: usize = 64 * 1024;
/// No DATA frame can be extended.
const NO_FRAME: usize = usize::MAX;

/// The output buffer. Empty connections hold none.
#[derive(Debug)]
pub(crate) struct Output {
    bytes: Vec<u8>,
    /// Octets at the front of `bytes` that have been written.
    start: usize,
    /// Octets ever written by the caller.
    flushed: u64,
    /// Where the last frame begins if it is a DATA frame that could be extended.
    last_data: usize,
    /// Frames waiting: those before and those after `mark`. Counting in two generations needs no memory per frame and
    /// errs by what was written of the older one.
    older: Frames,
    newer: Frames,
    /// `flushed` at which the older generation has been written.
    mark: u64,
}

#[derive(Clone, Copy, Debug, Default)]
struct Frames {
    all: u32,
    control: u32,
}

impl Output {
    pub(crate) const fn new() -> Self {
        let none = Frames { all: 0, control: 0 };
        Self {
            bytes: Vec::new(),
            start: 0,
            flushed: 0,
            last_data: NO_FRAME,
            older: none,
            newer: none,
            mark: 0,
        }
    }

    #[inline]
    pub(crate) fn pending(&self) -> &[u8] {
        &self.bytes[self.start..]
    }

    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.bytes.len() - self.start
    }

    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    pub(crate) fn flushed(&self) -> u64 {
        self.flushed
    }

    pub(crate) fn produced(&self) -> u64 {
        self.flushed + self.len() as u64
    }

    /// Frames waiting.
    #[inline]
    pub(crate) fn frames(&self) -> u32 {
        self.older.all + self.newer.all
    }

    /// PING, SETTINGS and RST_STREAM frames waiting.
    #[inline]
    pub(crate) fn control_frames(&self) -> u32 {
        self.older.control + self.newer.control
    }

    /// How many octets of DATA may be written of `wanted`.
    #[inline]
    pub(crate) fn room(&self, wanted: usize) -> usize {
        let room = DATA_CAP.saturating_sub(self.len());
        if room < MIN_ROOM && room < wanted { 0 } else { room }
    }

    /// The buffer to append one frame to.
    #[inline]
    pub(crate) fn frame(&mut self) -> &mut Vec<u8> {
        self.newer.all += 1;
        self.last_data = NO_FRAME;
        self.buffer()
    }

    /// The buffer to append one PING, SETTINGS or RST_STREAM frame to.
    pub(crate) fn control_frame(&mut self) -> &mut Vec<u8> {
        self.newer.control += 1;
        self.frame()
    }

    #[inline]
    fn buffer(&mut self) -> &mut Vec<u8> {
        if self.bytes.capacity() == 0 {
            self.bytes = spare::take();
        } else if self.start > MAX_DEAD && self.start > self.len() {
            self.compact();
        }
        &mut self.bytes
    }

    #[cold]
    fn compact(&mut self) {
        self.bytes.drain(..self.start);
        if self.last_data != NO_FRAME {
            self.last_data = self.last_data.checked_sub(self.start).unwrap_or(NO_FRAME);
        }
        self.start = 0;
    }

    /// The last DATA frame is not extended any more.
    #[inline]
    pub(crate) fn close_frame(&mut self) {
        self.last_data = NO_FRAME;
    }

    /// Writes DATA, as frames of at most `max_frame` octets; returns how many frames. Data that follows other data of
    /// its stream extends that frame if nothing of it has been written: boundaries of DATA frames mean nothing
    /// (RFC 9113 section 6.1) and the fewer there are, the less the peer has to do.
    #[inline]
    pub(crate) fn data(&mut self, stream: u32, data: &[u8], end: bool, max_frame: u32) -> u32 {
        let max_frame = (max_frame as usize).min(MAX_DATA_FRAME);
        self.buffer();
        let mut rest = data;
        let mut frames = 0;
        if let Some(header) = self.extendable(stream) {
            let room = max_frame.saturating_sub(header.length as usize).min(rest.len());
            if room == rest.len() || room > MIN_ROOM {
                let (more, after) = rest.split_at(room);
                rest = after;
                let flags = if end && rest.is_empty() { frame::END_STREAM } else { 0 };
                let header = FrameHeader {
                    length: header.length + room as u32,
                    flags,
                    ..header
                };
                self.bytes[self.last_data..self.last_data + HEADER_LEN].copy_from_slice(&header.octets());
                self.bytes.extend_from_slice(more);
                frames = 1;
                if rest.is_empty() {
                    if end {
                        self.last_data = NO_FRAME;
                    }
                    return frames;
                }
            }
        }
        loop {
            let (chunk, after) = rest.split_at(rest.len().min(max_frame));
            rest = after;
            let last = rest.is_empty();
            let flags = if end && last { frame::END_STREAM } else { 0 };
            self.last_data = if end && last { NO_FRAME } else { self.bytes.len() };
            self.newer.all += 1;
            frames += 1;
            self.bytes.reserve(HEADER_LEN + chunk.len());
            let header = FrameHeader {
                length: chunk.len() as u32,
                kind: frame::DATA,
                flags,
                stream,
            };
            self.bytes.extend_from_slice(&header.octets());
            self.bytes.extend_from_slice(chunk);
            if last {
                return frames;
            }
        }
    }

    /// The header of the last frame if it is DATA of `stream` and still whole.
    #[inline]
    fn extendable(&self, stream: u32) -> Option<FrameHeader> {
        if self.last_data == NO_FRAME || self.last_data < self.start {
            return None;
        }
        let octets = self.bytes[self.last_data..].first_chunk::<HEADER_LEN>()?;
        let header = FrameHeader::parse(octets);
        (header.stream == stream).then_some(header)
    }

    /// The caller wrote `count` octets.
    #[inline]
    pub(crate) fn advance(&mut self, count: usize) {
        let count = count.min(self.len());
        self.start += count;
        self.flushed += count as u64;
        if self.start == self.bytes.len() {
            self.start = 0;
            self.last_data = NO_FRAME;
            self.older = Frames::default();
            self.newer = Frames::default();
            self.mark = self.flushed;
            spare::give(std::mem::take(&mut self.bytes));
        } else if self.flushed >= self.mark {
            self.older = std::mem::take(&mut self.newer);
            self.mark = self.produced();
        }
    }

    /// Drops what was not written: there is nobody left to read it.
    pub(crate) fn clear(&mut self) {
        let flushed = self.flushed;
        *self = Self::new();
        self.flushed = flushed;
    }

    /// Octets on the heap.
    pub(crate) fn heap_bytes(&self) -> usize {
        self.bytes.capacity()
    }
}

impl Drop for Output {
    fn drop(&mut self) {
        spare::give(std::mem::take(&mut self.bytes));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(output: &Output) -> Vec<FrameHeader> {
        let mut bytes = output.pending();
        let mut headers = Vec::new();
        while let Some(octets) = bytes.first_chunk::<HEADER_LEN>() {
            let header = FrameHeader::parse(octets);
            bytes = &bytes[HEADER_LEN + header.length as usize..];
            headers.push(header);
        }
        assert!(bytes.is_empty());
        headers
    }

    #[test]
    fn data_that_follows_data_of_its_stream_extends_the_frame() {
        let mut output = Output::new();
        output.data(1, b"abc", false, 16_384);
        output.data(1, b"def", false, 16_384);
        output.data(3, b"ghi", false, 16_384);
        output.data(1, b"", true, 16_384);
        let lengths: Vec<_> = headers(&output).iter().map(|h| (h.stream, h.length, h.flags)).collect();
        assert_eq!(lengths, [(1, 6, 0), (3, 3, 0), (1, 0, frame::END_STREAM)]);
    }

    #[test]
    fn a_frame_that_has_begun_to_leave_is_never_changed() {
        let mut output = Output::new();
        output.data(1, b"abc", false, 16_384);
        output.advance(1);
        output.data(1, b"def", true, 16_384);
        assert_eq!(output.pending().len(), 11 + 12);
        output.advance(11);
        assert_eq!(headers(&output)[0].length, 3);
        assert!(headers(&output)[0].has(frame::END_STREAM));
    }

    #[test]
    fn frames_are_never_longer_than_the_peer_takes() {
        let mut output = Output::new();
        assert_eq!(output.data(1, &[7; 40_000], true, 16_384), 3);
        assert_eq!(
            headers(&output).iter().map(|h| h.length).collect::<Vec<_>>(),
            [16_384, 16_384, 7_232]
        );
        // Extending stops at the limit too.
        let mut output = Output::new();
        output.data(1, &[7; 10_000], false, 16_384);
        output.data(1, &[7; 10_000], false, 16_384);
        assert!(headers(&output).iter().all(|h| h.length <= 16_384));
        assert_eq!(headers(&output).iter().map(|h| h.length).sum::<u32>(), 20_000);
    }

    #[test]
    fn waiting_frames_are_counted_until_they_have_been_written() {
        let mut output = Output::new();
        for _ in 0..10 {
            frame::write_ping(output.control_frame(), frame::ACK, [0; 8]);
        }
        assert_eq!((output.frames(), output.control_frames()), (10, 10));
        output.advance(17 * 10 - 1);
        assert!(output.control_frames() > 0);
        output.advance(1);
        assert_eq!((output.frames(), output.control_frames()), (0, 0));
        assert_eq!(output.heap_bytes(), 0);
        assert_eq!((output.produced(), output.flushed()), (170, 170));
        // A reader that is always a little behind is not taken for one that does not read.
        for _ in 0..10_000 {
            frame::write_ping(output.control_frame(), frame::ACK, [0; 8]);
            frame::write_ping(output.control_frame(), frame::ACK, [0; 8]);
            output.advance(if output.len() > 100 { 2 * 17 } else { 17 });
            assert!(output.control_frames() < 30, "{}", output.control_frames());
        }
    }
}
