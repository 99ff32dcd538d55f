//! One stream: its two sides, its windows, and what waits to be sent on it.

use std::time::Instant;

use crate::headers::HeaderBlock;

/// How far one side of a stream has come.
///
/// ```text
///   Head ──final head──> Body ──end asked for, data queued──> Ending ──last octet left──> Ended
///                          └───────────────END_STREAM written or received──────────────────^
/// ```
///
/// Both sides together are the states of RFC 9113 section 5.1: a stream is *open* while neither side is `Ended`,
/// *half-closed (local)* once the local side is, *half-closed (remote)* once the remote side is, *closed* with both.
/// Idle streams have no record: they are the identifiers above the highest one used. A closed stream keeps its record
/// only while its consumer owes credit; a reset one never does. `Ending` exists on the local side only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub(crate) enum Side {
    Head,
    Body,
    Ending,
    Ended,
}

/// The request was HEAD: its response has no content whatever content-length says.
pub(crate) const HEAD_REQUEST: u8 = 1;
/// The request was CONNECT: a 2xx makes it a tunnel, whose octets have no content-length.
pub(crate) const CONNECT_REQUEST: u8 = 2;
/// The message received can't have content (RFC 9110 section 6.4.1).
pub(crate) const NO_CONTENT: u8 = 4;
/// The stream is in the list of those that could send.
pub(crate) const READY: u8 = 8;

/// `remaining` of a message without content-length.
pub(crate) const NO_LENGTH: u64 = u64::MAX;

/// The record of a stream.
#[derive(Debug)]
pub(crate) struct Stream {
    /// Identifier; 0 marks a free slot.
    pub(crate) id: u32,
    pub(crate) local: Side,
    pub(crate) remote: Side,
    pub(crate) flags: u8,
    /// Interim responses received.
    pub(crate) informational: u8,
    /// Octets the peer lets us send; below zero after it shrank the initial window (RFC 9113 section 6.9.2).
    pub(crate) send_window: i32,
    /// Octets we let the peer send.
    pub(crate) recv_window: i32,
    /// Octets delivered whose credit the consumer has not given back.
    pub(crate) unreleased: u32,
    /// Octets given back that no WINDOW_UPDATE has announced yet.
    pub(crate) credit: u32,
    /// Milliseconds after the start of the connection at which the stream began.
    pub(crate) started: u32,
    /// Octets of content still to come by content-length, or `NO_LENGTH`.
    pub(crate) remaining: u64,
    /// The caller's own key; in a free slot the next free one.
    pub(crate) tag: u64,
    /// What `send_data` took and flow control holds back.
    pub(crate) queue: Option<Box<SendQueue>>,
}

impl Stream {
    #[inline]
    pub(crate) fn new(id: u32, send_window: i32, recv_window: i32, started: u32) -> Self {
        Self {
            id,
            local: Side::Head,
            remote: Side::Head,
            flags: 0,
            informational: 0,
            send_window,
            recv_window,
            unreleased: 0,
            credit: 0,
            started,
            remaining: NO_LENGTH,
            tag: 0,
            queue: None,
        }
    }

    #[inline]
    pub(crate) fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }

    /// At a client: the stream was opened and nothing was sent on it, so that to the server it is idle.
    #[inline]
    pub(crate) fn is_unused(&self) -> bool {
        self.local == Side::Head
    }

    /// Both sides have ended.
    #[inline]
    pub(crate) fn is_closed(&self) -> bool {
        self.local == Side::Ended && self.remote == Side::Ended
    }
}

/// Data, and what follows it, that could not be written at once.
#[derive(Debug)]
pub(crate) struct SendQueue {
    bytes: Vec<u8>,
    start: usize,
    /// Sent once the data has left.
    pub(crate) trailers: Option<Box<HeaderBlock>>,
    /// Since when nothing has left.
    pub(crate) since: Instant,
    /// Whether something has left since the last look at `since`.
    pub(crate) progress: bool,
    /// How long the rest may stall, where that is not as for all streams.
    pub(crate) flush: Option<FlushLimit>,
}

/// How long what is left of a stream that we have ended may stall.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FlushLimit {
    /// In the connection's milliseconds, as `until`; `NEVER` for ever.
    pub(crate) timeout: u64,
    pub(crate) until: u64,
    /// How much there was at the last look.
    pub(crate) left: usize,
}

impl SendQueue {
    /// `now` may be old: the first look at the clock replaces it.
    pub(crate) fn new(now: Instant) -> Self {
        Self {
            bytes: super::spare::take(),
            start: 0,
            trailers: None,
            since: now,
            progress: true,
            flush: None,
        }
    }

    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.bytes.len() - self.start
    }

    #[inline]
    pub(crate) fn data(&self) -> &[u8] {
        &self.bytes[self.start..]
    }

    pub(crate) fn push(&mut self, data: &[u8]) {
        // Move the rest to the front once it is the smaller part: each octet moves once on average.
        if self.start > self.len() {
            self.bytes.drain(..self.start);
            self.start = 0;
        }
        self.bytes.extend_from_slice(data);
    }

    pub(crate) fn advance(&mut self, count: usize) {
        self.start += count;
        self.progress = true;
    }
}

impl Drop for SendQueue {
    fn drop(&mut self) {
        super::spare::give(std::mem::take(&mut self.bytes));
    }
}
