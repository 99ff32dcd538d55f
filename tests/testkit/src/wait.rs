//! Waiting for a condition, with a deadline and without fixed sleeps.

use std::net::TcpStream;
use std::time::{Duration, Instant};

/// How long there is between two looks at a condition.
const INTERVAL: Duration = Duration::from_millis(5);

/// Waits until `condition` holds.
///
/// # Panics
/// It does not within `seconds`; `what` names it.
pub fn wait_until(seconds: u64, what: &str, mut condition: impl FnMut() -> bool) {
    wait_for(seconds, what, || condition().then_some(()));
}

/// Waits until `look` finds something, and returns that.
///
/// # Panics
/// It does not within `seconds`; `what` names it.
pub fn wait_for<T>(seconds: u64, what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + Duration::from_secs(seconds);
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "waited {seconds} s in vain until {what}");
        std::thread::sleep(INTERVAL);
    }
}

/// Waits until something listens on `127.0.0.1:port`.
///
/// # Panics
/// Nothing does within ten seconds.
pub fn wait_for_port(port: u16) {
    wait_until(10, &format!("something listens on port {port}"), || {
        TcpStream::connect(("127.0.0.1", port)).is_ok()
    });
}
