//! The connection's receive window grown to what its path holds: a PING tells what comes in during a round trip, and
//! where that is most of the window, the window was what held the sender back.

use super::connection::Connection;
use super::frame::{self, DEFAULT_WINDOW, MAX_31};

/// Payload of the PINGs that measure.
pub(super) const WINDOW_PING: [u8; 8] = *b"\0window\0";

/// Milliseconds between two measurements, at least; twice as many after each that changed nothing, up to `MOST`.
const LEAST: u64 = 100;
const MOST: u64 = 10_000;

/// A measurement.
#[derive(Debug)]
pub(super) struct Measurement {
    /// The size of the connection's window.
    pub(super) window: u32,
    /// It grows no further.
    limit: u32,
    /// The window that was open when the PING was sent, and what was added to it since: what is missing of it later
    /// has been received.
    granted: i64,
    /// The PING is not answered yet.
    waiting: bool,
    /// When the next may begin, in milliseconds since the connection began.
    next: u64,
    pause: u64,
}

impl Measurement {
    pub(super) fn new(window: u32, limit: u32) -> Self {
        Self {
            window,
            limit: limit.clamp(DEFAULT_WINDOW, MAX_31),
            granted: 0,
            waiting: false,
            next: 0,
            pause: LEAST,
        }
    }
}

impl Connection {
    /// The peer is told that it may send `credit` more octets: from now on what comes in is measured.
    pub(super) fn measure(&mut self, credit: u32) {
        let now = self.now;
        let open = i64::from(self.recv_window);
        let Some(measurement) = &mut self.adaptive else { return };
        measurement.granted += i64::from(credit);
        if measurement.waiting || now < measurement.next || measurement.window >= measurement.limit {
            return;
        }
        measurement.waiting = true;
        measurement.granted = open;
        frame::write_ping(self.output.frame(), 0, WINDOW_PING);
    }

    /// A PING that measures was answered; false if there was none.
    pub(super) fn on_measured(&mut self) -> bool {
        let now = self.now;
        let open = i64::from(self.recv_window);
        let Some(measurement) = &mut self.adaptive else {
            return false;
        };
        let window = measurement.window;
        if !std::mem::take(&mut measurement.waiting) {
            return false;
        }
        let received = (measurement.granted - open).max(0) as u64;
        let grown = (2 * received).min(u64::from(measurement.limit)) as u32;
        let held_back = received * 3 > u64::from(window) * 2;
        if !held_back || grown <= window {
            measurement.pause = (2 * measurement.pause).min(MOST);
            measurement.next = now + measurement.pause;
            return true;
        }
        measurement.pause = LEAST;
        measurement.next = now + LEAST;
        let more = grown - window;
        measurement.window = grown;
        self.recv_window += more as i32;
        frame::write_u32(self.output.frame(), frame::WINDOW_UPDATE, 0, more);
        true
    }
}
