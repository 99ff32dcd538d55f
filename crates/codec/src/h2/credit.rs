//! Receive windows (RFC 9113 section 6.9): credit comes back from the consumer and goes to the peer in batches.

use super::connection::Connection;
use super::frame::{self, DEFAULT_WINDOW, MAX_31};
use super::stream::Side;
use crate::event::StreamId;

impl Connection {
    /// Gives credit for `count` octets of a stream back: they have been passed on. WINDOW_UPDATE frames follow in
    /// batches of half a window.
    #[inline]
    pub fn release_credit(&mut self, stream: StreamId, count: u32) {
        let Some(slot) = self.streams.find(stream.0) else {
            return;
        };
        let record = self.streams.get_mut(slot);
        let count = count.min(record.unreleased);
        if count == 0 {
            return;
        }
        record.unreleased -= count;
        if record.remote == Side::Ended {
            if record.unreleased == 0 && record.is_closed() {
                self.streams.remove_closed(slot);
            }
        } else {
            self.return_to_stream(slot, count);
        }
        self.return_to_connection(count);
    }

    /// Octets of a stream that still receives have been consumed.
    #[inline]
    pub(super) fn return_to_stream(&mut self, slot: u32, count: u32) {
        let record = self.streams.get_mut(slot);
        record.credit += count;
        if record.credit >= self.config.initial_stream_window_size.div_ceil(2) {
            let credit = std::mem::take(&mut record.credit);
            record.recv_window += credit as i32;
            let id = record.id;
            frame::write_u32(self.output.frame(), frame::WINDOW_UPDATE, id, credit);
        }
    }

    /// Octets of the connection have been consumed.
    #[inline]
    pub(super) fn return_to_connection(&mut self, count: u32) {
        self.credit += count;
        if self.credit >= self.config.initial_connection_window_size.clamp(DEFAULT_WINDOW, MAX_31) / 2 {
            self.announce_credit();
        }
    }

    /// Tells the peer of the connection's credit, if that is half of the window that it has grown to.
    #[inline(never)]
    fn announce_credit(&mut self) {
        if self
            .adaptive
            .as_ref()
            .is_some_and(|measurement| self.credit < measurement.window / 2)
        {
            return;
        }
        let credit = std::mem::take(&mut self.credit);
        self.recv_window += credit as i32;
        frame::write_u32(self.output.frame(), frame::WINDOW_UPDATE, 0, credit);
        self.measure(credit);
    }
}
