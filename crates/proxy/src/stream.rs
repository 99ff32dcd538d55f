//! One request from its head to its end: the record that the pipeline works on.
//!
//! ```text
//!          head              filters               connection            head of the answer
//!  (none) ------> Filtering ---------> Connecting ------------> Waiting --------------------> Responding
//!                    |                    |   ^                    |  |                           |
//!                    |                    |   +--- another attempt +  |                           |
//!                    | local              | failure                   | failure                   | end, reset
//!                    v reply              v                           v                           v
//!          +------------------------------------- finish, exactly once ----------------------------------+
//! ```
//! Data and trailers of the request are passed on in every phase (kept in `body` while there is no
//! connection, or a filter holds the head); data of the answer only in `Responding`.

use std::sync::Arc;
use std::time::{Duration, Instant};

use codec::event::StreamId;
use codec::headers::HeaderBlock;
use codec::names::KnownName;
use config::route::{Action, HostRewrite, RouteAction};
use telemetry::access_log::{ResponseFlag, ResponseFlags};
use upstream::breaker::RoutingPriority;
use upstream::cluster::ClusterHandle;
use upstream::endpoint::{ActiveRequest, EndpointState};

use crate::connection::Connection;
use crate::failure::TransportFailure;
use crate::filters::exchange::FilterProgress;
use crate::manager::Manager;
use crate::pool::PendingPermit;
use crate::request_headers;
use crate::route_table::{RouteRef, RouteTable};
use crate::slab::Key;
use crate::snapshot::Snapshot;
use crate::timer_wheel::TimerKey;
use crate::worker::Local;

/// Body bytes kept so that a request which was provably not processed can be sent again. A longer
/// body gives up the replay, not the request.
pub(crate) const REPLAY_LIMIT: usize = 64 * 1024;

/// Where a request is; see the drawing above.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// The filters have its head.
    Filtering,
    /// Waits for a connection to the chosen endpoint.
    Connecting,
    /// Sent, or being sent; no answer yet.
    Waiting,
    /// The head of the answer has been passed on.
    Responding,
}

/// Why a stream's timer fires.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum StreamTimer {
    /// The earliest of its deadlines: which one is due is decided when it fires.
    Deadline,
    /// A filter's pause is over.
    Filter {
        /// The filter's place in its chain.
        position: u8,
        side: FilterSide,
    },
}

/// What a filter holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FilterSide {
    Request,
    Response,
}

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
}

/// What few requests have, kept out of the record of every one.
#[derive(Default)]
pub(crate) struct Rare {
    /// Values of `set-cookie` for the answer, made by the hash policy.
    pub(crate) set_cookies: Vec<Box<[u8]>>,
}

/// The body and trailers of a request, as far as they are not passed on or may be needed again.
#[derive(Default)]
pub(crate) struct RequestBody {
    /// From the first byte of the body, or empty once `forgotten`.
    pub(crate) kept: Vec<u8>,
    /// The body is too long to be sent again.
    pub(crate) forgotten: bool,
    /// Bytes received.
    pub(crate) received: u64,
    /// Bytes whose credit was given back to the caller.
    pub(crate) credited: u64,
    /// Trailers of the request.
    pub(crate) trailers: Option<Box<HeaderBlock>>,
    /// The whole request has arrived.
    pub(crate) complete: bool,
}

/// What the records (stats, access log) need to know in the end.
pub(crate) struct Record {
    pub(crate) started: Instant,
    pub(crate) request_received_at: Option<Instant>,
    pub(crate) sent_upstream_at: Option<Instant>,
    pub(crate) response_started_at: Option<Instant>,
    /// The endpoint of the last attempt.
    pub(crate) endpoint: Option<Arc<EndpointState>>,
    pub(crate) attempts: u32,
    /// The answer's head as it went downstream, where something is logged.
    pub(crate) response_head: Option<Box<HeaderBlock>>,
    pub(crate) response_trailers: Option<Box<HeaderBlock>>,
    pub(crate) status: u16,
    pub(crate) grpc_status: Option<u32>,
    pub(crate) flag: Option<ResponseFlag>,
    /// What filters did to it.
    pub(crate) filter_flags: ResponseFlags,
    /// The router took it: its cluster's statistics count what becomes of it.
    pub(crate) reached_router: bool,
    pub(crate) details: &'static str,
    /// Why no connection could be made, where that ended the request.
    pub(crate) transport_failure: Option<TransportFailure>,
    pub(crate) bytes_sent: u64,
    /// Whether the proxy itself answered.
    pub(crate) local_reply: bool,
}

/// Record of one request.
pub(crate) struct Stream {
    pub(crate) phase: Phase,
    pub(crate) downstream: Key<Connection>,
    pub(crate) downstream_id: StreamId,
    pub(crate) manager: Local<Manager>,
    /// Taken once, when the request began; nothing else is consulted for it.
    pub(crate) snapshot: Local<Snapshot>,
    pub(crate) route: Option<RouteRef>,
    pub(crate) cluster: Option<Arc<ClusterHandle>>,
    /// Position of the cluster among the route's weighted ones.
    pub(crate) weighted: Option<u32>,
    /// The head as it goes upstream.
    pub(crate) request: Box<HeaderBlock>,
    pub(crate) is_grpc: bool,
    pub(crate) is_head: bool,
    /// The hash by the route's hash policy, where the cluster's balancer asks for one.
    pub(crate) hash: Option<u64>,
    /// What few requests have.
    pub(crate) rare: Option<Box<Rare>>,
    /// What its HTTP filters keep.
    pub(crate) filters: FilterProgress,
    pub(crate) body: RequestBody,
    pub(crate) attempt: Option<Attempt>,
    /// Endpoints that were tried and did not process the request.
    pub(crate) tried: Vec<Arc<EndpointState>>,
    pub(crate) timer: TimerKey,
    pub(crate) timer_at: Instant,
    /// When the route's timeout runs out; set when the request is complete.
    pub(crate) route_deadline: Option<Instant>,
    /// When the upstream side's longest duration is reached (route, or `grpc-timeout` where honoured).
    pub(crate) upstream_max_duration: Option<Instant>,
    /// When the longest duration of a stream is reached.
    pub(crate) max_duration: Option<Instant>,
    /// When the whole request must have arrived.
    pub(crate) request_deadline: Option<Instant>,
    pub(crate) last_activity: Instant,
    pub(crate) record: Record,
}

impl Stream {
    /// The record of a request of which nothing is known but its head. `at` says whose stream it is.
    pub(crate) fn new(
        at: (Key<Connection>, StreamId),
        manager: Local<Manager>,
        snapshot: Local<Snapshot>,
        request: Box<HeaderBlock>,
        now: Instant,
    ) -> Stream {
        Stream {
            phase: Phase::Filtering,
            downstream: at.0,
            downstream_id: at.1,
            max_duration: manager.max_stream_duration().map(|limit| now + limit),
            request_deadline: manager.request_timeout().map(|limit| now + limit),
            manager,
            snapshot,
            route: None,
            cluster: None,
            weighted: None,
            is_head: request.method() == Some(b"HEAD"),
            request,
            is_grpc: false,
            hash: None,
            rare: None,
            filters: FilterProgress::default(),
            body: RequestBody::default(),
            attempt: None,
            tried: Vec::new(),
            timer: TimerKey::NONE,
            timer_at: now,
            route_deadline: None,
            upstream_max_duration: None,
            last_activity: now,
            record: Record::new(now),
        }
    }

    /// Whether the request can be sent again from its first byte.
    pub(crate) fn is_replayable(&self) -> bool {
        !self.body.forgotten
    }

    /// The request's id, for answers that repeat it.
    pub(crate) fn request_id(&self) -> Option<&[u8]> {
        self.request.get(KnownName::XRequestId)
    }

    /// The table its route is in.
    pub(crate) fn route_table(&self) -> Option<&RouteTable> {
        self.manager.route_table(&self.snapshot)
    }

    fn route_action(&self) -> Option<&RouteAction> {
        match &self.route_table()?.route(self.route?).action {
            Action::Route(action) => Some(action),
            Action::Redirect(_) | Action::DirectResponse(_) | Action::NonForwarding => None,
        }
    }

    /// The route's timeout.
    pub(crate) fn route_timeout(&self) -> Option<Duration> {
        self.route_action()?.timeout
    }

    /// Takes the endpoint's name as the host, where the route says so (`auto_host_rewrite`) and it has one.
    pub(crate) fn rewrite_host_for(&mut self, endpoint: &EndpointState) {
        let Some(action) = self.route_action() else {
            return;
        };
        let (automatic, keep) = (
            action.host_rewrite == Some(HostRewrite::Auto),
            action.append_x_forwarded_host,
        );
        let host = endpoint.hostname().as_bytes();
        if automatic && !host.is_empty() && self.request.authority() != Some(host) {
            request_headers::set_host(&mut self.request, host, keep);
        }
    }

    /// Which breaker thresholds count.
    pub(crate) fn routing_priority(&self) -> RoutingPriority {
        self.route_action().map(|action| action.priority).unwrap_or_default()
    }

    /// Status for a cluster that does not exist, as the route has it.
    pub(crate) fn cluster_not_found_status(&self) -> Option<u16> {
        self.route_action()
            .map(|action| action.cluster_not_found_response_code.status())
    }

    /// How long it may be without activity.
    pub(crate) fn idle_timeout(&self) -> Option<Duration> {
        match self.route_action().and_then(|action| action.idle_timeout) {
            Some(of_route) => of_route,
            None => self.manager.config.stream_idle_timeout,
        }
    }

    /// The earliest of its deadlines.
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        let idle = self.idle_timeout().map(|timeout| self.last_activity + timeout);
        [
            idle,
            self.route_deadline,
            self.upstream_max_duration,
            self.max_duration,
            self.request_deadline,
        ]
        .into_iter()
        .flatten()
        .min()
    }

    /// The endpoint has sent all of its answer, which may still wait at a filter.
    pub(crate) fn upstream_is_complete(&mut self) {
        self.route_deadline = None;
        self.upstream_max_duration = None;
    }

    /// Counts body bytes that have gone into the endpoint's connection.
    pub(crate) fn body_passed(&mut self, bytes: usize) {
        if let Some(attempt) = &mut self.attempt {
            attempt.body_passed += bytes as u64;
        }
    }
}

impl Attempt {
    /// A try at `endpoint` that has no connection yet.
    pub(crate) fn new(endpoint: Arc<EndpointState>) -> Attempt {
        Attempt {
            endpoint,
            active: None,
            pending: None,
            connection: Key::NONE,
            id: StreamId::default(),
            output_start: 0,
            body_passed: 0,
        }
    }
}

impl RequestBody {
    /// Gives up sending the body again.
    pub(crate) fn forget(&mut self) {
        self.forgotten = true;
        self.kept = Vec::new();
    }
}

impl Record {
    pub(crate) fn new(started: Instant) -> Record {
        Record {
            started,
            request_received_at: None,
            sent_upstream_at: None,
            response_started_at: None,
            endpoint: None,
            attempts: 0,
            response_head: None,
            response_trailers: None,
            status: 0,
            grpc_status: None,
            flag: None,
            filter_flags: ResponseFlags::default(),
            reached_router: false,
            details: "",
            transport_failure: None,
            bytes_sent: 0,
            local_reply: false,
        }
    }

    /// Keeps the answer's head if somebody will log it.
    pub(crate) fn keep_head(&mut self, manager: &Manager, head: &HeaderBlock) {
        if manager.logs_requests() {
            self.response_head = Some(Box::new(head.clone()));
        }
    }

    /// Keeps the answer's trailers if somebody will log them.
    pub(crate) fn keep_trailers(&mut self, manager: &Manager, trailers: &HeaderBlock) {
        if manager.logs_requests() {
            self.response_trailers = Some(Box::new(trailers.clone()));
        }
    }
}
