//! How streams and the connection end, and what of a stream is remembered.

use std::time::Instant;

use super::connection::{Connection, Pending};
use super::drain::Drain;
use super::error::Violation;
use super::frame;
use super::recv::Reading;
use super::stream::{READY, Side, Stream};
use super::streams::Streams;
use crate::event::{ConnectionError, ErrorCode, Event, ResetReason, Scratch, StreamId};
use crate::stats::Stat;
use std::collections::VecDeque;

/// Streams we reset whose late frames are remembered exactly.
const REMEMBERED_RESETS: usize = 32;

/// The streams reset last: identifier, and octets the peer might still send on it. A place with identifier 0 is free.
#[derive(Debug, Default)]
pub(super) struct RecentResets {
    streams: [(u32, u32); REMEMBERED_RESETS],
    /// The place to use next: that of the oldest.
    next: usize,
}

impl RecentResets {
    /// Remembers a stream; returns the one forgotten for it, or 0.
    fn insert(&mut self, id: u32, window: u32) -> u32 {
        let place = &mut self.streams[self.next % REMEMBERED_RESETS];
        self.next = (self.next + 1) % REMEMBERED_RESETS;
        std::mem::replace(place, (id, window)).0
    }

    /// What a remembered stream's peer might still send.
    pub(super) fn window(&mut self, id: u32) -> Option<&mut u32> {
        self.streams
            .iter_mut()
            .find(|(reset, _)| *reset == id)
            .map(|(_, window)| window)
    }
}

impl Connection {
    /// Ends a stream with RST_STREAM. Whatever it had queued is dropped and the credit it owes is given back to the
    /// connection. For a stream that has already ended only the latter happens.
    pub fn reset(&mut self, stream: StreamId, code: ErrorCode) {
        let Some(slot) = self.streams.find(stream.0) else {
            return;
        };
        let record = self.streams.get(slot);
        let unused = !self.server && record.is_unused();
        if !record.is_closed() && !unused {
            self.write_reset(stream.0, code);
        }
        self.remove(slot, unused);
    }

    /// Writes RST_STREAM.
    pub(super) fn write_reset(&mut self, stream: u32, code: ErrorCode) {
        frame::write_u32(self.output.control_frame(), frame::RST_STREAM, stream, code.0);
        self.stats.count(Stat::TxReset);
    }

    /// Forgets a stream before or after its end: returns the credit it owes and, if the peer may not know of the end,
    /// remembers that frames may still come.
    pub(super) fn remove(&mut self, slot: u32, peer_knows: bool) -> Stream {
        let stream = self.streams.remove(slot);
        if !stream.is_closed() {
            self.deactivate();
            if stream.remote != Side::Ended && !peer_knows {
                self.remember_reset(stream.id, stream.recv_window.max(0) as u32);
            }
        }
        if stream.unreleased > 0 {
            self.return_to_connection(stream.unreleased);
        }
        if let Some(queue) = &stream.queue {
            self.queued -= queue.len() as u32;
        }
        if stream.has(READY) {
            self.stale_ready += 1;
            if self.stale_ready as usize * 2 > self.ready.len() {
                let streams = &self.streams;
                self.ready.retain(|&id| streams.find(id).is_some());
                self.stale_ready = 0;
            }
        }
        stream
    }

    /// Remembers a stream that was reset while the peer might still send `window` octets on it.
    pub(super) fn remember_reset(&mut self, id: u32, window: u32) {
        let forgotten = self.resets.get_or_insert_default().insert(id, window);
        self.forgotten_reset = self.forgotten_reset.max(forgotten);
    }

    /// One stream less counts as concurrent.
    #[inline]
    pub(super) fn deactivate(&mut self) {
        self.active -= 1;
        self.counters.streams_closed = self.counters.streams_closed.saturating_add(1);
        if self.wants_stream && self.streams_available() > 0 {
            self.wants_stream = false;
            self.pending.push_back(Pending::StreamsAvailable);
        }
        if self.active == 0 {
            self.on_last_stream_ended();
        }
    }

    /// A drained connection is over.
    fn on_last_stream_ended(&mut self) {
        if self.output.is_empty() && self.is_finished() {
            self.push_closed();
        }
    }

    /// Whether memory is held that only streams need, and there are none.
    pub(super) fn can_shrink(&self) -> bool {
        self.active == 0
            && (self.streams.can_shrink()
                || self.resets.is_some()
                || (self.ready.is_empty() && self.ready.capacity() > 0)
                || (self.pending.is_empty() && self.pending.capacity() > 0))
    }

    /// Gives that memory back after a while without input: a busy connection would only ask for it again.
    pub(super) fn shrink(&mut self) {
        self.streams.shrink();
        if self.ready.is_empty() {
            self.ready = VecDeque::new();
        }
        if self.pending.is_empty() {
            self.pending = VecDeque::new();
        }
        if self.resets.take().is_some() {
            // Frames of streams we reset can no longer be told from others of closed streams.
            self.forgotten_reset = self.last_id;
        }
    }

    /// Both sides have ended: the record goes unless its consumer owes credit.
    #[inline]
    pub(super) fn close_if_ended(&mut self, slot: u32) {
        let stream = self.streams.get(slot);
        if !stream.is_closed() {
            return;
        }
        if stream.unreleased == 0 {
            self.streams.remove_closed(slot);
        }
        self.deactivate();
    }

    /// Ends the connection: GOAWAY goes to the output, and a `Reset` for each stream that was open to `next_event`.
    pub(super) fn fail(&mut self, violation: Violation) -> ConnectionError {
        let error = ConnectionError::from(violation);
        self.stats.count(error.stat);
        let last = if self.server { self.last_processed() } else { 0 };
        frame::write_goaway(self.output.frame(), last, error.code, violation.text().as_bytes());
        self.stats.count(Stat::GoawaySent);
        self.failed = Some(violation);
        self.end_all_streams(error.code, Some(violation.text()));
        self.partial = Vec::new();
        self.block = None;
        self.reading = Reading::Skip { remaining: u32::MAX };
        error
    }

    /// Whether the connection is over and everything has been written: close the transport.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.output.is_empty() && self.is_finished()
    }

    /// Nothing more will be said in either direction.
    pub(super) fn is_finished(&self) -> bool {
        self.failed.is_some() || (self.active == 0 && matches!(self.drain, Drain::Final { .. }))
    }

    pub(super) fn push_closed(&mut self) {
        if !matches!(self.drain, Drain::Final { told: true }) && self.failed.is_none() {
            self.drain = Drain::Final { told: true };
            self.pending.push_back(Pending::Closed);
        }
    }

    /// The transport has no more input: every stream that is not complete ends with `Reset` (local, without a
    /// violation unless an error came before). Call until `Ok(None)`; the connection is of no use then.
    ///
    /// # Errors
    /// None; the signature is that of HTTP/1.1, where a body may be cut off.
    pub fn end_of_input(
        &mut self,
        _scratch: &mut Scratch,
        now: Instant,
    ) -> Result<Option<Event<'static>>, ConnectionError> {
        if self.failed.is_none() {
            self.tell_time(now);
            self.failed = Some(Violation::TransportClosed);
            // To a server it means that nobody waits for the answer; to a client that none will come.
            let code = if self.server {
                ErrorCode::CANCEL
            } else {
                ErrorCode::INTERNAL_ERROR
            };
            self.end_all_streams(code, None);
            self.output.clear();
        }
        Ok(self.pop_pending())
    }

    /// Drops all streams; those that were open are told of by a pending `Reset` each.
    fn end_all_streams(&mut self, code: ErrorCode, violation: Option<&'static str>) {
        for stream in self.streams.iter().filter(|stream| !stream.is_closed()) {
            let reason = ResetReason {
                code,
                remote: false,
                // The peer has never seen the head of this request.
                refused: !self.server && stream.is_unused(),
                violation,
            };
            self.pending.push_back(Pending::Reset {
                stream: stream.id,
                tag: stream.tag,
                reason,
            });
        }
        self.streams = Streams::new();
        self.active = 0;
        self.queued = 0;
        self.ready = VecDeque::new();
        self.stale_ready = 0;
        self.resets = None;
    }
}
