//! Ports nobody listens on.

use std::net::TcpListener;
use std::sync::atomic::{AtomicU16, Ordering};

/// Below the range from which the system takes ports for outgoing connections, so that none of those can take a
/// port between our look at it and its use.
const FIRST: u16 = 21_000;

/// How many ports there are to choose from.
const COUNT: u16 = 9_000;

static NEXT: AtomicU16 = AtomicU16::new(0);

/// A port of 127.0.0.1 nobody listens on, another one at each call: for programs that are told their port.
///
/// # Panics
/// All are taken.
#[must_use]
pub fn free_port() -> u16 {
    listener().local_addr().expect("it is bound").port()
}

/// A listener on such a port.
///
/// # Panics
/// All are taken.
#[must_use]
pub fn listener() -> TcpListener {
    // Test programs that run at the same time start in different places.
    let start = (std::process::id() % u32::from(COUNT)) as u16;
    for _ in 0..COUNT {
        let step = NEXT.fetch_add(1, Ordering::Relaxed);
        let port = FIRST + ((u32::from(start) * 37 + u32::from(step)) % u32::from(COUNT)) as u16;
        if let Ok(listener) = TcpListener::bind(("127.0.0.1", port)) {
            return listener;
        }
    }
    panic!("no free port between {FIRST} and {}", FIRST + COUNT);
}
