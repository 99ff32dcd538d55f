//! What is known of a request when it has ended, for statistics and access logs.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use codec::headers::HeaderBlock;
use telemetry::access_log::{ResponseFlag, ResponseFlags};
use upstream::endpoint::EndpointState;

use crate::failure::TransportFailure;
use crate::manager::Manager;
use crate::upstream_connection::Ends;

/// What the records (stats, access log) need to know in the end.
pub(crate) struct Record {
    pub(crate) started: Instant,
    pub(crate) request_received_at: Option<Instant>,
    pub(crate) sent_upstream_at: Option<Instant>,
    pub(crate) response_started_at: Option<Instant>,
    /// The endpoint of the last attempt.
    pub(crate) endpoint: Option<Arc<EndpointState>>,
    /// Both ends of the connection it went out on.
    pub(crate) ends: Option<Rc<Ends>>,
    pub(crate) attempts: u32,
    /// Whether the endpoint is spoken to in HTTP/2; none before it is.
    pub(crate) upstream_is_http2: Option<bool>,
    /// The answer's head as it went downstream, where something is logged.
    pub(crate) response_head: Option<Box<HeaderBlock>>,
    pub(crate) response_trailers: Option<Box<HeaderBlock>>,
    pub(crate) status: u16,
    pub(crate) grpc_status: Option<u32>,
    pub(crate) flag: Option<ResponseFlag>,
    /// What filters did to it.
    pub(crate) filter_flags: ResponseFlags,
    /// A filter found it to be a health check: it is not counted among the answers.
    pub(crate) health_check: bool,
    /// It was redirected and went on as another one: that one is counted.
    pub(crate) went_on: bool,
    /// The router took it: its cluster's statistics count what becomes of it.
    pub(crate) reached_router: bool,
    /// Status of an answer made here, before it took its gRPC form.
    pub(crate) counted_status: u16,
    /// How often the cluster's statistics count the answer: Envoy counts one made here for each attempt given up.
    pub(crate) counted_times: u64,
    /// The cluster's own statistics do not count its answer by its status.
    pub(crate) hides_status: bool,
    /// Why it was not tried once more, where a retry was wanted.
    pub(crate) retry_flag: Option<ResponseFlag>,
    pub(crate) details: &'static str,
    /// Why no connection could be made, where that ended the request.
    pub(crate) transport_failure: Option<TransportFailure>,
    pub(crate) bytes_sent: u64,
    /// Whether the proxy itself answered.
    pub(crate) local_reply: bool,
}

impl Record {
    pub(crate) fn new(started: Instant) -> Record {
        Record {
            started,
            request_received_at: None,
            sent_upstream_at: None,
            response_started_at: None,
            endpoint: None,
            ends: None,
            attempts: 0,
            upstream_is_http2: None,
            response_head: None,
            response_trailers: None,
            status: 0,
            grpc_status: None,
            flag: None,
            filter_flags: ResponseFlags::default(),
            health_check: false,
            went_on: false,
            reached_router: false,
            counted_status: 0,
            counted_times: 1,
            hides_status: false,
            retry_flag: None,
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
