//! One try of a request.

use std::sync::Arc;
use std::time::Instant;

use codec::event::StreamId;
use upstream::endpoint::{ActiveRequest, EndpointState};

use crate::access_log::AttemptLog;
use crate::connection::Connection;
use crate::pool::PendingPermit;
use crate::slab::Key;

/// One try at one endpoint.
pub(crate) struct Attempt {
    pub(crate) endpoint: Arc<EndpointState>,
    /// Counts against the breaker and the endpoint's load until dropped.
    pub(crate) active: Option<ActiveRequest>,
    /// Counts as pending until a connection is there.
    pub(crate) pending: Option<PendingPermit>,
    pub(crate) connection: Key<Connection>,
    pub(crate) id: StreamId,
    /// The connection's output position before the first byte of this request.
    pub(crate) output_start: u64,
    /// Bytes of the body that have been passed on to the connection's output.
    pub(crate) body_passed: u64,
    /// When its own time is over (`per_try_timeout`); set when it is sent and the request complete.
    pub(crate) try_deadline: Option<Instant>,
    /// When its longest duration is reached (the cluster's `max_stream_duration`).
    pub(crate) max_deadline: Option<Instant>,
    pub(crate) last_activity: Instant,
    /// Its time is over and another one was begun beside it (hedging).
    pub(crate) was_hedged: bool,
    /// What is written of it, where that is logged.
    pub(crate) log: Option<Box<AttemptLog>>,
}

impl Attempt {
    /// A try at `endpoint` that has no connection yet.
    pub(crate) fn new(endpoint: Arc<EndpointState>, now: Instant) -> Attempt {
        Attempt {
            endpoint,
            active: None,
            pending: None,
            connection: Key::NONE,
            id: StreamId::default(),
            output_start: 0,
            body_passed: 0,
            try_deadline: None,
            max_deadline: None,
            last_activity: now,
            was_hedged: false,
            log: None,
        }
    }

    /// Whether it has a connection and has begun to be sent.
    pub(crate) fn is_sent(&self) -> bool {
        self.active.is_some()
    }

    /// Whether it is stream `id` of a connection.
    pub(crate) fn is_on(&self, connection: Key<Connection>, id: StreamId) -> bool {
        self.is_sent() && self.connection == connection && self.id == id
    }
}
