//! Time: keepalive PINGs, and everything that may not last for ever.

use std::time::{Duration, Instant};

use super::config::Keepalive;
use super::connection::{Connection, Pending};
use super::drain::Drain;
use super::error::Violation;
use super::frame;
use crate::event::{ConnectionError, ResetReason};

/// Payload of keepalive PINGs.
pub(super) const KEEPALIVE_PING: [u8; 8] = *b"\0alive\0\0";

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
        if let (Some(state), Some(config)) = (&mut self.keepalive, &self.config.keepalive) {
            state.random = (state.random ^ seed.wrapping_mul(0x9e37_79b9_7f4a_7c15)) | 1;
            state.schedule(config, self.now);
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
        if let (Some(state), Some(config)) = (&mut self.keepalive, &self.config.keepalive)
            && (state.sent.take().is_some() || std::mem::take(&mut state.unstamped))
        {
            state.schedule(config, self.now);
        }
    }

    /// When `on_deadline` wants to be called at the latest, if nothing else happens before.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        if self.failed.is_some() {
            return None;
        }
        let mut earliest: Option<Instant> = self.settings_deadline;
        let mut add = |at: Instant| earliest = Some(earliest.map_or(at, |earliest| earliest.min(at)));
        if let (Some(since), Some(timeout)) = (self.incomplete_since, self.config.header_timeout) {
            add(since + timeout);
        }
        if let Some(timeout) = self.config.stall_timeout {
            match self.stalls.check_at {
                Some(at) => add(at),
                None if self.has_backlog() => add(self.now + timeout),
                None => {}
            }
        }
        if let Drain::Announced { until } = self.drain {
            add(until);
        }
        if let (Some(state), Some(config)) = (&self.keepalive, &self.config.keepalive) {
            match state.sent {
                _ if state.unstamped => add(self.now),
                Some(sent) => add(sent.max(self.last_input) + config.timeout),
                None => {
                    if let Some(next) = state.next {
                        add(next);
                    }
                    if !config.connection_idle_interval.is_zero() && !state.idle {
                        add(self.last_input + config.connection_idle_interval);
                    }
                }
            }
        }
        earliest
    }

    /// Does what is due at `now`.
    ///
    /// # Errors
    /// The peer took too long for something; GOAWAY is in the output.
    pub fn on_deadline(&mut self, now: Instant) -> Result<(), ConnectionError> {
        if let Some(error) = self.failed {
            return Err(error);
        }
        self.now = self.now.max(now);
        let now = self.now;
        if self.settings_deadline.is_some_and(|at| at <= now) {
            return Err(self.fail(Violation::SettingsNotAcknowledged));
        }
        if let (Some(since), Some(timeout)) = (self.incomplete_since, self.config.header_timeout)
            && since + timeout <= now
        {
            return Err(self.fail(Violation::SlowHeaders));
        }
        if let Drain::Announced { until } = self.drain
            && until <= now
        {
            self.finish_drain();
        }
        self.check_keepalive(now)?;
        self.check_stalls(now)
    }

    fn check_keepalive(&mut self, now: Instant) -> Result<(), ConnectionError> {
        let (Some(state), Some(config)) = (&mut self.keepalive, &self.config.keepalive) else {
            return Ok(());
        };
        if std::mem::take(&mut state.unstamped) {
            state.sent = Some(now);
        }
        match state.sent {
            Some(sent) if sent.max(self.last_input) + config.timeout <= now => {
                return Err(self.fail(Violation::KeepaliveTimeout));
            }
            Some(_) => {}
            None => {
                if state.next.is_some_and(|next| next <= now) {
                    state.sent = Some(now);
                    state.next = None;
                    frame::write_ping(self.output.frame(), 0, KEEPALIVE_PING);
                } else if !config.connection_idle_interval.is_zero()
                    && self.last_input + config.connection_idle_interval <= now
                {
                    state.idle = true;
                }
            }
        }
        Ok(())
    }

    /// Input came: the peer is there.
    #[inline]
    pub(super) fn on_input(&mut self, now: Instant) {
        self.last_input = now;
        if let Some(state) = &mut self.keepalive {
            state.idle = false;
        }
    }

    /// Whether anything waits for the peer.
    fn has_backlog(&self) -> bool {
        self.queues > 0 || !self.output.is_empty()
    }

    /// Looks whether all that waits has moved since the last look, one timeout ago. What has not moved for a whole
    /// period ends: a stream whose window stays closed, or the connection whose output nobody reads.
    fn check_stalls(&mut self, now: Instant) -> Result<(), ConnectionError> {
        let Some(timeout) = self.config.stall_timeout else {
            return Ok(());
        };
        if !self.has_backlog() {
            self.stalls.check_at = None;
            return Ok(());
        }
        let Some(at) = self.stalls.check_at else {
            self.stalls.check_at = Some(now + timeout);
            self.stalls.flushed = self.output.flushed();
            return Ok(());
        };
        if at > now {
            return Ok(());
        }
        if !self.output.is_empty() && self.stalls.flushed == self.output.flushed() {
            return Err(self.fail(Violation::StalledConnection));
        }
        self.stalls.flushed = self.output.flushed();
        self.stalls.check_at = Some(now + timeout);
        if self.queues > 0 {
            self.end_stalled_streams(now, timeout);
        }
        Ok(())
    }

    fn end_stalled_streams(&mut self, now: Instant, timeout: Duration) {
        let mut stalled = Vec::new();
        for (_, stream) in self.streams.iter_mut() {
            let Some(queue) = &mut stream.queue else { continue };
            if std::mem::take(&mut queue.progress) {
                queue.since = now;
            } else if queue.since + timeout <= now {
                stalled.push(stream.id);
            }
        }
        for id in stalled {
            let Some(slot) = self.streams.find(id) else { continue };
            let violation = Violation::StalledStream;
            self.stats.count(violation.stat());
            self.write_reset(id, violation.code());
            let tag = self.remove(slot).tag;
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
}
