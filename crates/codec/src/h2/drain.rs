//! GOAWAY (RFC 9113 section 6.8): draining in two phases, and what the peer's GOAWAY does.

use std::time::Instant;

use super::connection::{Connection, Pending};
use super::frame::{self, MAX_31};
use crate::event::{ErrorCode, ResetReason};
use crate::stats::Stat;

/// Payload of the PING whose answer shows that the peer has seen the first GOAWAY.
pub(super) const DRAIN_PING: [u8; 8] = *b"\0drain\0\0";

/// How far the end of the connection has come.
///
/// ```text
///   No ──drain()──> Announced ──PING answered, or too late──> Final ──last stream ended, output written──> Closed event
///    └──go_away(), or drain() of a client────────────────────^
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Drain {
    No,
    /// The peer said GOAWAY; we have not.
    Peer,
    /// GOAWAY(2^31-1) and a PING are on their way; new streams are still taken.
    Announced {
        /// Milliseconds after the beginning.
        until: u64,
    },
    /// GOAWAY with the last stream was sent. `told`: the `Closed` event was given.
    Final {
        told: bool,
    },
}

impl Connection {
    /// Ends the connection without losing a request. A server announces it with GOAWAY(2^31-1), takes what is already
    /// on its way for one round trip, then names the last stream it takes. A client opens no more streams. `Closed`
    /// follows when the last stream has ended and the output is written.
    pub fn drain(&mut self, now: Instant) {
        if self.failed.is_some() || !matches!(self.drain, Drain::No | Drain::Peer) {
            return;
        }
        self.tell_time(now);
        if !self.server {
            self.final_goaway(ErrorCode::NO_ERROR, b"");
            return;
        }
        frame::write_goaway(self.output.frame(), MAX_31, ErrorCode::NO_ERROR, b"");
        frame::write_ping(self.output.frame(), 0, DRAIN_PING);
        self.stats.count(Stat::GoawaySent);
        self.stats.count(Stat::GoawayGracefulSent);
        self.drain = Drain::Announced {
            until: self.now + self.config.drain_round_trip_timeout.as_millis() as u64,
        };
    }

    /// Sends GOAWAY that names the last stream taken, at once: later ones are not processed. Streams that are open go
    /// on. `debug` is cut at 1 KiB.
    pub fn go_away(&mut self, code: ErrorCode, debug: &[u8]) {
        if self.failed.is_none() && !matches!(self.drain, Drain::Final { .. }) {
            self.final_goaway(code, debug);
        }
    }

    /// Whether no new streams should be counted on: either side has said GOAWAY.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.drain != Drain::No
    }

    /// The highest identifier of the peer's that was or might be processed.
    pub(super) fn last_processed(&self) -> u32 {
        self.last_id
    }

    pub(super) fn final_goaway(&mut self, code: ErrorCode, debug: &[u8]) {
        let last = if self.server { self.last_processed() } else { 0 };
        frame::write_goaway(self.output.frame(), last, code, debug);
        self.stats.count(Stat::GoawaySent);
        self.drain = Drain::Final { told: false };
    }

    /// The round trip after the first GOAWAY is over.
    pub(super) fn finish_drain(&mut self) {
        if matches!(self.drain, Drain::Announced { .. }) {
            self.final_goaway(ErrorCode::NO_ERROR, b"");
        }
    }

    /// The peer processes no stream above `last`: a client's streams above it can be retried elsewhere.
    pub(super) fn on_goaway(&mut self, last: u32, code: ErrorCode) {
        if self.drain == Drain::No {
            self.drain = Drain::Peer;
        }
        if self.server {
            return; // It would name streams of ours, of which there are none.
        }
        let refused: Vec<u32> = self
            .streams
            .iter()
            .filter(|stream| stream.id > last && !stream.is_closed())
            .map(|stream| stream.id)
            .collect();
        for id in refused {
            let Some(slot) = self.streams.find(id) else { continue };
            let tag = self.streams.get(slot).tag;
            self.remove(slot, true);
            let reason = ResetReason {
                code,
                remote: true,
                refused: true,
                violation: None,
            };
            self.pending.push_back(Pending::Reset {
                stream: id,
                tag,
                reason,
            });
        }
    }
}
