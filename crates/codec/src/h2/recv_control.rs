//! Receiving everything that carries no message: RST_STREAM, SETTINGS, PING, GOAWAY, WINDOW_UPDATE, PRIORITY.

use super::adaptive::WINDOW_PING;
use super::connection::{Connection, NEVER, Pending};
use super::drain::DRAIN_PING;
use super::error::Violation;
use super::frame::{self, DEFAULT_WINDOW, FrameHeader, MAX_31};
use super::keepalive::KEEPALIVE_PING;
use super::recv::{Handled, Outcome};
use super::stream::{READY, Side};
use crate::event::{ErrorCode, ResetReason};
use crate::stats::Stat;

impl Connection {
    /// RFC 9113 section 6.4.
    pub(super) fn on_rst_stream<'a>(&mut self, header: FrameHeader, payload: &[u8]) -> Handled<'a> {
        if header.stream == 0 {
            return Err(Violation::StreamZero);
        }
        if payload.len() != 4 {
            return Err(Violation::FrameLength);
        }
        if self.is_idle(header.stream) {
            return Err(Violation::IdleStream);
        }
        self.stats.count(Stat::RxReset);
        if self.server {
            let now = self.milliseconds();
            if !self
                .counters
                .provoked()
                .resets
                .take(self.config.limits.reset_frames, now)
            {
                return Err(Violation::ResetFlood);
            }
        }
        let Some(slot) = self.streams.find(header.stream) else {
            self.useless_frame()?;
            return Ok(None);
        };
        let stream = self.streams.get(slot);
        if stream.is_closed() {
            self.useless_frame()?;
            return Ok(None);
        }
        if !self.server && stream.is_unused() {
            return Err(Violation::IdleStream);
        }
        let unanswered = stream.local == Side::Head;
        let started = stream.started;
        if self.server && unanswered {
            // Before the stream goes: if this ends the connection, it is one of those that are told of.
            self.count_premature_reset(started)?;
        }
        let tag = self.remove(slot, true).tag;
        (self.last_event, self.last_tag) = (header.stream, tag);
        let code = ErrorCode(frame::u32_at(payload, 0));
        let reason = ResetReason {
            code,
            remote: true,
            refused: code == ErrorCode::REFUSED_STREAM,
            violation: None,
        };
        Ok(Some(Outcome::Reset {
            stream: header.stream,
            reason,
        }))
    }

    /// Rapid reset (CVE-2023-44487), judged as Envoy does: once a number of streams is complete, no more than half
    /// may have been reset right after their start; before that, as soon as that half is certain. The stream at hand
    /// has not been closed yet.
    fn count_premature_reset(&mut self, started: u32) -> Result<(), Violation> {
        let limits = &self.config.limits;
        let lifetime = u128::from(self.milliseconds().saturating_sub(started));
        if limits.premature_reset_total_stream_count == 0
            || lifetime >= limits.premature_reset_min_stream_lifetime.as_millis()
        {
            return Ok(());
        }
        self.counters.premature_resets += 1;
        let total = self
            .counters
            .streams_closed
            .saturating_add(1)
            .max(limits.premature_reset_total_stream_count);
        if u64::from(self.counters.premature_resets) * 2 > u64::from(total) {
            return Err(Violation::RapidReset);
        }
        Ok(())
    }

    /// RFC 9113 section 6.5.
    pub(super) fn on_settings<'a>(&mut self, header: FrameHeader, payload: &[u8]) -> Handled<'a> {
        if header.stream != 0 {
            return Err(Violation::StreamNotZero);
        }
        if header.has(frame::ACK) {
            if !payload.is_empty() {
                return Err(Violation::SettingsLength);
            }
            return self.on_settings_acknowledged();
        }
        let now = self.milliseconds();
        if !self.counters.settings.take(self.config.limits.settings_frames, now) {
            return Err(Violation::SettingsFlood);
        }
        if !self.greeted {
            self.greeted = true;
            if self.settings_unacknowledged {
                self.settings_deadline = self
                    .config
                    .settings_timeout
                    .map_or(NEVER, |timeout| self.now + timeout.as_millis() as u64);
            }
        }
        let before = self.peer;
        let smallest_table = self.peer.apply(payload, !self.server)?;
        if smallest_table != u32::MAX {
            self.encoder.set_max_size(smallest_table as usize);
            self.encoder.set_max_size(self.peer.header_table_size as usize);
        }
        if before.initial_window_size != self.peer.initial_window_size {
            self.shift_send_windows(i64::from(self.peer.initial_window_size) - i64::from(before.initial_window_size))?;
        }
        let ack = FrameHeader {
            length: 0,
            kind: frame::SETTINGS,
            flags: frame::ACK,
            stream: 0,
        };
        self.output.control_frame().extend_from_slice(&ack.octets());
        self.check_outbound()?;
        if self.wants_stream && self.streams_available() > 0 {
            self.wants_stream = false;
            self.pending.push_back(Pending::StreamsAvailable);
        }
        self.pump();
        Ok(Some(Outcome::Settings))
    }

    fn on_settings_acknowledged<'a>(&mut self) -> Handled<'a> {
        if !self.settings_unacknowledged {
            return Err(Violation::SettingsAck);
        }
        let before = self.local_initial_window();
        self.settings_unacknowledged = false;
        self.settings_deadline = NEVER;
        let change = self.local_initial_window() - before;
        if change != 0 {
            for (_, stream) in self.streams.iter_mut() {
                stream.recv_window += change;
            }
        }
        if self.config.hpack_table_size < 4096 {
            self.decoder.set_max_size(self.config.hpack_table_size as usize);
        }
        Ok(None)
    }

    /// RFC 9113 section 6.9.2: a new initial window changes every stream's; below zero too.
    fn shift_send_windows(&mut self, change: i64) -> Result<(), Violation> {
        for (_, stream) in self.streams.iter_mut() {
            let window = i64::from(stream.send_window) + change;
            if window > i64::from(MAX_31) {
                return Err(Violation::WindowOverflow);
            }
            stream.send_window = window as i32;
            let sendable = window > 0 && stream.queue.is_some();
            if sendable && !stream.has(READY) {
                stream.flags |= READY;
                self.ready.push_back(stream.id);
            }
        }
        Ok(())
    }

    /// RFC 9113 section 6.7.
    pub(super) fn on_ping<'a>(&mut self, header: FrameHeader, payload: &[u8]) -> Handled<'a> {
        if header.stream != 0 {
            return Err(Violation::StreamNotZero);
        }
        let Ok(payload) = <[u8; 8]>::try_from(payload) else {
            return Err(Violation::FrameLength);
        };
        if !header.has(frame::ACK) {
            let now = self.milliseconds();
            let exchanged = std::mem::take(&mut self.counters.exchanged_since_ping);
            self.counters.pings.give(exchanged.saturating_mul(2));
            if !self.counters.pings.take(self.config.limits.ping_frames, now) {
                return Err(Violation::PingFlood);
            }
            frame::write_ping(self.output.control_frame(), frame::ACK, payload);
            self.check_outbound()?;
            return Ok(None);
        }
        if payload == KEEPALIVE_PING {
            self.on_keepalive_answer();
            return Ok(None);
        }
        if payload == DRAIN_PING {
            self.finish_drain();
            return Ok(None);
        }
        if payload == WINDOW_PING && self.on_measured() {
            return Ok(None);
        }
        self.useless_frame()?;
        Ok(Some(Outcome::PingAck { payload }))
    }

    /// RFC 9113 section 6.8.
    pub(super) fn on_goaway_frame<'a>(&mut self, header: FrameHeader, payload: &[u8]) -> Handled<'a> {
        if header.stream != 0 {
            return Err(Violation::StreamNotZero);
        }
        if payload.len() < 8 {
            return Err(Violation::FrameLength);
        }
        self.useless_frame()?;
        let last = frame::u32_at(payload, 0) & MAX_31;
        let code = ErrorCode(frame::u32_at(payload, 4));
        self.on_goaway(last, code);
        Ok(Some(Outcome::Goaway {
            last,
            code,
            debug: None,
        }))
    }

    /// RFC 9113 section 6.9.
    #[inline]
    pub(super) fn on_window_update<'a>(&mut self, header: FrameHeader, payload: &[u8]) -> Handled<'a> {
        if payload.len() != 4 {
            return Err(Violation::FrameLength);
        }
        let increment = frame::u32_at(payload, 0) & MAX_31;
        self.counters.window_updates_received = self.counters.window_updates_received.saturating_add(1);
        let per_data = u64::from(self.config.limits.max_inbound_window_update_frames_per_data_frame_sent);
        let allowed =
            5 + 2 * (u64::from(self.counters.streams_opened) + per_data * u64::from(self.counters.data_frames_sent));
        if u64::from(self.counters.window_updates_received) > allowed {
            return Err(Violation::WindowUpdateFlood);
        }
        if header.stream == 0 {
            if increment == 0 {
                return Err(Violation::WindowUpdateZero);
            }
            self.send_window = grow(self.send_window, increment).ok_or(Violation::WindowOverflow)?;
            self.pump();
            return Ok(None);
        }
        let Some(slot) = self.streams.find(header.stream) else {
            // On a closed stream it is late (RFC 9113 section 5.1), but never by nothing.
            return match increment {
                _ if self.is_idle(header.stream) => Err(Violation::IdleStream),
                0 => Err(Violation::WindowUpdateZero),
                _ => Ok(None),
            };
        };
        let is_server = self.server;
        let stream = self.streams.get_mut(slot);
        if !is_server && stream.is_unused() {
            return Err(Violation::IdleStream);
        }
        if stream.is_closed() && increment > 0 {
            return Ok(None);
        }
        if increment == 0 {
            return self.stream_error(header.stream, Violation::WindowUpdateZero, true);
        }
        let Some(window) = grow(stream.send_window, increment) else {
            return self.stream_error(header.stream, Violation::WindowOverflow, true);
        };
        stream.send_window = window;
        if window > 0 && stream.queue.is_some() && !stream.has(READY) {
            stream.flags |= READY;
            self.ready.push_back(header.stream);
            self.pump();
        }
        Ok(None)
    }

    /// Whether RST_STREAM may be sent on a stream that has a record.
    fn can_be_reset(&self, slot: u32) -> bool {
        let stream = self.streams.get(slot);
        !stream.is_closed() && (self.server || !stream.is_unused())
    }

    /// RFC 9113 section 6.3: deprecated, checked and ignored.
    pub(super) fn on_priority<'a>(&mut self, header: FrameHeader, payload: &[u8]) -> Handled<'a> {
        if header.stream == 0 {
            return Err(Violation::StreamZero);
        }
        self.counters.priority_received = self.counters.priority_received.saturating_add(1);
        let per_stream = u64::from(self.config.limits.max_inbound_priority_frames_per_stream);
        if u64::from(self.counters.priority_received) > per_stream * (1 + u64::from(self.counters.streams_opened)) {
            return Err(Violation::PriorityFlood);
        }
        let fault = if payload.len() != 5 {
            Violation::PriorityLength
        } else if frame::u32_at(payload, 0) & MAX_31 == header.stream {
            Violation::SelfDependency
        } else {
            return Ok(None);
        };
        match self.streams.find(header.stream) {
            Some(slot) if self.can_be_reset(slot) => self.stream_error(header.stream, fault, true),
            // RST_STREAM can't be sent on an idle stream (RFC 9113 section 6.4).
            _ => Err(fault),
        }
    }
}

/// A window opened further, unless it would exceed 2^31-1.
#[inline]
fn grow(window: i32, increment: u32) -> Option<i32> {
    let window = i64::from(window) + i64::from(increment);
    (window <= i64::from(MAX_31)).then_some(window as i32)
}

// The window a connection starts with fits the type windows are kept in.
const _: () = assert!(DEFAULT_WINDOW <= MAX_31);
