//! Time: keepalive PINGs, and everything that may not last for ever.

use std::time::{Duration, Instant};

use super::config::Keepalive;
use super::connection::{Connection, NEVER, Pending};
use super::drain::Drain;
use super::error::Violation;
use super::frame;
use super::stream::FlushLimit;
use crate::event::{ConnectionError, ResetReason, StreamId};

/// Payload of keepalive PINGs.
pub(super) const KEEPALIVE_PING: [u8; 8] = *b"\0alive\0\0";

/// Milliseconds without input after which a connection without streams gives back the memory they needed.
const IDLE_AFTER: u64 = 1_000;

/// The state of keepalive PINGs.
#[derive(Debug)]
pub(super) struct KeepaliveState {
    /// When the next periodic PING is due.
    next: Option<Instant>,
    /// When the PING without an answer was sent.
    sent: Option<Instant>,
    /// A PING was sent by a command, which does not tell the time: the next one that does starts the clock.
    unstamped: bool,
    /// The peer has been silent for `connection_idle_interval`.
    idle: bool,
    random: u64,
}

impl KeepaliveState {
    pub(super) fn new(config: &Keepalive, now: Instant) -> Self {
        let mut state = Self {
            next: None,
            sent: None,
            unstamped: false,
            idle: false,
            random: config.jitter_seed | 1,
        };
        state.schedule(config, now);
        state
    }

    fn schedule(&mut self, config: &Keepalive, now: Instant) {
        self.next = (!config.interval.is_zero()).then(|| now + config.interval + self.jitter(config));
    }

    /// A part of the interval between nothing and the configured percentage.
    fn jitter(&mut self, config: &Keepalive) -> Duration {
        // xorshift64*: spreads timers, nothing depends on its quality.
        self.random ^= self.random >> 12;
        self.random ^= self.random << 25;
        self.random ^= self.random >> 27;
        let fraction = (self.random.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 40) as f64 / (1_u64 << 24) as f64;
        config
            .interval
            .mul_f64((fraction * config.interval_jitter_percent / 100.0).clamp(0.0, 1.0))
    }
}

impl Connection {
    /// Mixes a value of this connection's own into the jitter of its keepalive PINGs.
    pub fn seed_jitter(&mut self, seed: u64) {
        let now = self.at(self.now);
        if let (Some(state), Some(config)) = (&mut self.keepalive, &self.config.keepalive) {
            state.random = (state.random ^ seed.wrapping_mul(0x9e37_79b9_7f4a_7c15)) | 1;
            state.schedule(config, now);
        }
    }

    /// Sends a PING with a payload of the caller's; `PingAck` brings it back.
    pub fn ping(&mut self, payload: [u8; 8]) {
        if self.failed.is_none() {
            frame::write_ping(self.output.frame(), 0, payload);
        }
    }

    /// A new stream is about to be opened after a long silence: find out at once whether the peer is still there.
    pub(super) fn ping_if_idle(&mut self) {
        if let Some(state) = &mut self.keepalive
            && state.idle
        {
            state.idle = false;
            if state.sent.is_none() && !state.unstamped {
                state.unstamped = true;
                frame::write_ping(self.output.frame(), 0, KEEPALIVE_PING);
            }
        }
    }

    pub(super) fn on_keepalive_answer(&mut self) {
        let now = self.at(self.now);
        if let (Some(state), Some(config)) = (&mut self.keepalive, &self.config.keepalive)
            && (state.sent.take().is_some() || std::mem::take(&mut state.unstamped))
        {
            state.schedule(config, now);
        }
    }

    /// When `on_deadline` wants to be called at the latest, if nothing else happens before.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        if self.failed.is_some() {
            return None;
        }
        let mut earliest = self
            .settings_deadline
            .min(self.header_deadline())
            .min(self.stalls.check_at)
            .min(self.flush_deadline());
        if self.stalls.check_at == NEVER && self.config.stall_timeout.is_some() && self.has_backlog() {
            earliest = earliest.min(self.now);
        }
        if let Drain::Announced { until } = self.drain {
            earliest = earliest.min(until);
        }
        if self.can_shrink() {
            earliest = earliest.min(self.last_input + IDLE_AFTER);
        }
        let earliest = (earliest != NEVER).then(|| self.at(earliest));
        match (earliest, self.keepalive_deadline()) {
            (Some(one), Some(other)) => Some(one.min(other)),
            (one, other) => one.or(other),
        }
    }

    /// When the incomplete frame or header block is overdue.
    fn header_deadline(&self) -> u64 {
        match self.config.header_timeout {
            Some(timeout) => self.incomplete_since.saturating_add(milliseconds(timeout)),
            None => NEVER,
        }
    }

    fn keepalive_deadline(&self) -> Option<Instant> {
        let (state, config) = (self.keepalive.as_ref()?, self.config.keepalive.as_ref()?);
        if state.unstamped {
            return Some(self.at(self.now));
        }
        let last_input = self.at(self.last_input);
        if let Some(sent) = state.sent {
            return Some(sent.max(last_input) + config.timeout);
        }
        let idle = (!config.connection_idle_interval.is_zero() && !state.idle)
            .then(|| last_input + config.connection_idle_interval);
        match (state.next, idle) {
            (Some(next), Some(idle)) => Some(next.min(idle)),
            (next, idle) => next.or(idle),
        }
    }

    /// Does what is due at `now`.
    ///
    /// # Errors
    /// The peer took too long for something; GOAWAY is in the output.
    pub fn on_deadline(&mut self, now: Instant) -> Result<(), ConnectionError> {
        if let Some(error) = self.failed {
            return Err(error.into());
        }
        self.tell_time(now);
        if self.settings_deadline <= self.now {
            return Err(self.fail(Violation::SettingsNotAcknowledged));
        }
        if self.header_deadline() <= self.now {
            return Err(self.fail(Violation::SlowHeaders));
        }
        if let Drain::Announced { until } = self.drain
            && until <= self.now
        {
            self.finish_drain();
        }
        if self.last_input + IDLE_AFTER <= self.now && self.can_shrink() {
            self.shrink();
        }
        self.check_keepalive()?;
        self.check_flushes();
        self.check_stalls()
    }

    fn check_keepalive(&mut self) -> Result<(), ConnectionError> {
        let (now, last_input) = (self.at(self.now), self.at(self.last_input));
        let (Some(state), Some(config)) = (&mut self.keepalive, &self.config.keepalive) else {
            return Ok(());
        };
        if std::mem::take(&mut state.unstamped) {
            state.sent = Some(now);
        }
        match state.sent {
            Some(sent) if sent.max(last_input) + config.timeout <= now => {
                return Err(self.fail(Violation::KeepaliveTimeout));
            }
            Some(_) => {}
            None => {
                if state.next.is_some_and(|next| next <= now) {
                    state.sent = Some(now);
                    state.next = None;
                    frame::write_ping(self.output.frame(), 0, KEEPALIVE_PING);
                } else if !config.connection_idle_interval.is_zero()
                    && last_input + config.connection_idle_interval <= now
                {
                    state.idle = true;
                }
            }
        }
        Ok(())
    }

    /// Input came: the peer is there.
    #[inline]
    pub(super) fn on_input(&mut self) {
        self.last_input = self.now;
        if let Some(state) = &mut self.keepalive {
            state.idle = false;
        }
    }

    /// Whether anything waits for the peer.
    fn has_backlog(&self) -> bool {
        self.queued > 0 || !self.output.is_empty()
    }

    /// Looks whether all that waits has moved since the last look, one timeout ago. What has not moved for a whole
    /// period ends: a stream whose window stays closed, or the connection whose output nobody reads.
    fn check_stalls(&mut self) -> Result<(), ConnectionError> {
        let Some(timeout) = self.config.stall_timeout else {
            return Ok(());
        };
        if !self.has_backlog() {
            self.stalls.check_at = NEVER;
            return Ok(());
        }
        let first_look = self.stalls.check_at == NEVER;
        if !first_look && self.stalls.check_at > self.now {
            return Ok(());
        }
        if !first_look && !self.output.is_empty() && self.stalls.flushed == self.output.flushed() {
            return Err(self.fail(Violation::StalledConnection));
        }
        self.stalls.flushed = self.output.flushed();
        self.stalls.check_at = self.now + milliseconds(timeout);
        if !first_look && self.queued > 0 {
            self.end_stalled_streams(timeout);
        }
        Ok(())
    }

    fn end_stalled_streams(&mut self, timeout: Duration) {
        let now = self.at(self.now);
        let mut stalled = Vec::new();
        for (_, stream) in self.streams.iter_mut() {
            let Some(queue) = &mut stream.queue else {
                continue;
            };
            if queue.flush.is_some() {
                continue;
            }
            if std::mem::take(&mut queue.progress) {
                queue.since = now;
            } else if queue.since + timeout <= now {
                stalled.push(stream.id);
            }
        }
        for id in stalled {
            self.end_stalled(id);
        }
    }

    /// Lets what is queued of a stream, which our side has ended, stall for `timeout` (`None` for ever) instead of
    /// `stall_timeout`. Nothing happens if nothing is queued.
    pub fn set_flush_timeout(&mut self, stream: StreamId, timeout: Option<Duration>) {
        let timeout = timeout.map_or(NEVER, milliseconds);
        let until = self.now.saturating_add(timeout);
        let Some(slot) = self.streams.find(stream.0) else {
            return;
        };
        if let Some(queue) = &mut self.streams.get_mut(slot).queue {
            let left = queue.len();
            queue.flush = Some(FlushLimit { timeout, until, left });
            self.has_flush_limits = true;
        }
    }

    /// When the first of the times is over that were set for streams.
    fn flush_deadline(&self) -> u64 {
        if !self.has_flush_limits {
            return NEVER;
        }
        let limits = self.streams.iter().filter_map(|stream| stream.queue.as_ref()?.flush);
        limits.map(|limit| limit.until).min().unwrap_or(NEVER)
    }

    /// Ends the streams of which nothing has left for the time that was set for them.
    fn check_flushes(&mut self) {
        let now = self.now;
        if !self.has_flush_limits {
            return;
        }
        let mut stalled = Vec::new();
        self.has_flush_limits = false;
        for (_, stream) in self.streams.iter_mut() {
            let Some(queue) = &mut stream.queue else { continue };
            let waiting = queue.len();
            let Some(limit) = &mut queue.flush else { continue };
            if waiting < limit.left {
                limit.left = waiting;
                limit.until = now.saturating_add(limit.timeout);
            }
            match limit.until <= now {
                true => stalled.push(stream.id),
                false => self.has_flush_limits = true,
            }
        }
        for id in stalled {
            self.end_stalled(id);
        }
    }

    fn end_stalled(&mut self, id: u32) {
        let Some(slot) = self.streams.find(id) else {
            return;
        };
        let violation = Violation::StalledStream;
        self.stats.count(violation.stat());
        self.write_reset(id, violation.code());
        let tag = self.remove(slot, false).tag;
        let reason = ResetReason {
            code: violation.code(),
            remote: false,
            refused: false,
            violation: Some(violation.text()),
        };
        self.pending.push_back(Pending::Reset {
            stream: id,
            tag,
            reason,
        });
    }
}

/// A duration in the unit of this connection's clock, rounded up.
fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos().div_ceil(1_000_000)).unwrap_or(NEVER)
}
