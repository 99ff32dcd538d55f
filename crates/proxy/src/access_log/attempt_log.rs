//! What is kept of one try for the router's own logs (`Router.upstream_log`).

use std::rc::Rc;
use std::time::Instant;

use codec::headers::HeaderBlock;
use telemetry::access_log::ResponseFlag;

use crate::failure::TransportFailure;
use crate::upstream_connection::Ends;

/// What one try was like, where it is logged.
pub(crate) struct AttemptLog {
    pub(crate) started: Instant,
    /// When it began to be sent.
    pub(crate) sent_at: Option<Instant>,
    /// When the head of its answer came.
    pub(crate) head_at: Option<Instant>,
    /// Whether its connection is of HTTP/2; none before it has one.
    pub(crate) is_http2: Option<bool>,
    /// Both ends of that connection.
    pub(crate) ends: Option<Rc<Ends>>,
    /// The head of the answer as it came.
    pub(crate) head: Option<Box<HeaderBlock>>,
    /// Its trailers.
    pub(crate) trailers: Option<Box<HeaderBlock>>,
    /// Bytes of its body.
    pub(crate) received: u64,
    /// How it failed.
    pub(crate) flag: Option<ResponseFlag>,
    /// Why there was no connection.
    pub(crate) transport_failure: Option<TransportFailure>,
    /// When it is next to be written while it goes on.
    pub(crate) next_at: Option<Instant>,
}

impl AttemptLog {
    /// Of a try that begins.
    pub(crate) fn new(started: Instant) -> Self {
        AttemptLog {
            started,
            sent_at: None,
            head_at: None,
            is_http2: None,
            ends: None,
            head: None,
            trailers: None,
            received: 0,
            flag: None,
            transport_failure: None,
            next_at: None,
        }
    }

    /// The status of the answer; 0 before there is one.
    pub(crate) fn status(&self) -> u16 {
        self.head.as_ref().and_then(|head| head.status()).unwrap_or(0)
    }
}
