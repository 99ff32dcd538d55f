//! One request from its head to its end: the record that the pipeline works on.
//!
//! ```text
//!          head              filters               connection            head of the answer
//!  (none) ------> Filtering ---------> Connecting ------------> Waiting --------------------> Responding
//!                    |                    |   ^                    |  |                           |
//!                    |                    |   +---- another try ---+  |                           |
//!                    |                    |   |                    |  |                           |
//!                    |                    |   +--- BackingOff <----+  |                           |
//!                    | local              | failure    |  a retry     | failure                   | end, reset
//!                    v reply              v            v              v                           v
//!          +------------------------------------- finish, exactly once ----------------------------------+
//! ```
//! Data and trailers of the request are passed on in every phase (kept in `body` while there is no
//! connection, or a filter holds the head); data of the answer only in `Responding`. The phase is that of
//! the latest attempt: with hedging, earlier ones may still be answered beside it (`Rare::beside`).

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use codec::event::StreamId;
use codec::headers::HeaderBlock;
use codec::names::KnownName;
use config::route::{Action, HostRewrite, RetryPolicy, RouteAction};
use telemetry::stats::{Counter, Shard};
use upstream::balancer::{PreviousPriorities, SubsetCriteria};
use upstream::breaker::{Permit, RoutingPriority};
use upstream::cluster::ClusterHandle;
use upstream::endpoint::EndpointState;

use crate::access_log::AttemptLog;
use crate::connection::Connection;
use crate::filters::exchange::FilterProgress;
use crate::manager::Manager;
use crate::pipeline::internal_redirect::Redirects;
use crate::retry::Retries;
use crate::route_rewrites;
use crate::route_stats::RouteStats;
use crate::route_table::{RouteRef, RouteTable};
use crate::route_timeouts::Timeouts;
use crate::slab::Key;
use crate::snapshot::Snapshot;
use crate::timer_wheel::TimerKey;
use crate::upgrade::Upgrade;
use crate::worker::Local;

mod attempt;
mod record;

pub(crate) use attempt::Attempt;
pub(crate) use record::Record;

/// Body bytes kept so that a request without retry policy which was provably not processed can be sent
/// again. A longer body gives up the replay, not the request.
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
    /// Waits for the time of the next attempt.
    BackingOff,
    /// The head of the answer has been passed on.
    Responding,
    /// The endpoint agreed to an upgrade or CONNECT: octets go both ways until each side has ended.
    Tunnel,
}

impl Phase {
    /// Whether the caller has got the head of an answer.
    pub(crate) fn has_answered(self) -> bool {
        matches!(self, Phase::Responding | Phase::Tunnel)
    }
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

/// The retries of a request that may be tried again.
pub(crate) struct Retrying {
    pub(crate) retries: Retries,
    /// Counts against the breaker from the decision to try again until the next one, or the answer.
    pub(crate) permit: Option<Permit>,
    /// When the next attempt is due.
    pub(crate) due: Option<Instant>,
    /// The pause was asked for by an answer.
    pub(crate) is_limited: bool,
    /// The next attempt follows a timeout.
    pub(crate) after_timeout: bool,
    /// An attempt whose own time is over goes on beside the next one.
    pub(crate) hedges: bool,
    /// The priorities tried, where the policy leaves those alone.
    pub(crate) previous_priorities: Option<Box<PreviousPriorities>>,
}

/// What few requests have, kept out of the record of every one.
#[derive(Default)]
pub(crate) struct Rare {
    /// Values of `set-cookie` for the answer, made by the hash policy.
    pub(crate) set_cookies: Vec<Box<[u8]>>,
    /// Attempts whose own time is over and that may still be answered, beside the latest one.
    pub(crate) beside: Vec<Attempt>,
    /// What the stream is to become, where that is allowed.
    pub(crate) upgrade: Option<Upgrade>,
    /// The body of an answer made here, before it was formatted.
    pub(crate) reply_body: Option<Box<str>>,
    /// Copies of the request to other clusters; those that have ended are among them.
    pub(crate) mirrors: Vec<Key<Stream>>,
    /// Where it is counted besides its cluster.
    pub(crate) route_stats: Option<RouteStats>,
    /// When it is next to be logged while it goes on.
    pub(crate) log_at: Option<Instant>,
    /// How it was redirected until now.
    pub(crate) redirects: Option<Box<Redirects>>,
}

/// The body and trailers of a request, as far as they are not passed on or may be needed again.
pub(crate) struct RequestBody {
    /// From the first byte of the body, or empty once `forgotten`.
    pub(crate) kept: Vec<u8>,
    /// The body is too long to be sent again.
    pub(crate) forgotten: bool,
    /// How much of it is kept to be sent again.
    pub(crate) limit: usize,
    /// Bytes received.
    pub(crate) received: u64,
    /// Bytes whose credit was given back to the caller.
    pub(crate) credited: u64,
    /// Trailers of the request.
    pub(crate) trailers: Option<Box<HeaderBlock>>,
    /// The whole request has arrived.
    pub(crate) complete: bool,
}

/// Record of one request.
pub(crate) struct Stream {
    pub(crate) phase: Phase,
    pub(crate) downstream: Key<Connection>,
    pub(crate) downstream_id: StreamId,
    /// It is a copy of a request: it has no caller, and nobody waits for its answer.
    pub(crate) is_mirror: bool,
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
    /// The caller is one whose headers steer the proxy (`internal_address_config`).
    pub(crate) is_internal: bool,
    /// Whom a trusted proxy in front named as the caller.
    pub(crate) named_client: Option<IpAddr>,
    /// The hash by the route's hash policy, where the cluster's balancer asks for one.
    pub(crate) hash: Option<u64>,
    /// What few requests have.
    pub(crate) rare: Option<Box<Rare>>,
    /// What its HTTP filters keep.
    pub(crate) filters: FilterProgress,
    pub(crate) body: RequestBody,
    /// The latest attempt.
    pub(crate) attempt: Option<Attempt>,
    /// Endpoints of the attempts that failed.
    pub(crate) tried: Vec<Arc<EndpointState>>,
    /// Attempts that followed one which was provably not processed.
    pub(crate) transparent_retries: u8,
    /// None where it may not be tried again, or no longer.
    pub(crate) retry: Option<Retrying>,
    /// Head of an answer whose trailers may come with it and ask for another attempt.
    pub(crate) held_head: Option<Box<HeaderBlock>>,
    pub(crate) timeouts: Timeouts,
    pub(crate) timer: TimerKey,
    pub(crate) timer_at: Instant,
    /// When the route's timeout runs out; set when the request is complete.
    pub(crate) route_deadline: Option<Instant>,
    /// When the longest duration of the stream is reached, by the route, `grpc-timeout` or the connection manager.
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
            is_mirror: false,
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
            is_internal: false,
            named_client: None,
            hash: None,
            rare: None,
            filters: FilterProgress::default(),
            body: RequestBody::default(),
            attempt: None,
            tried: Vec::new(),
            transparent_retries: 0,
            retry: None,
            held_head: None,
            timeouts: Timeouts::default(),
            timer: TimerKey::NONE,
            timer_at: now,
            route_deadline: None,
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

    /// What it is to become.
    pub(crate) fn upgrade(&self) -> Option<&Upgrade> {
        self.rare.as_ref()?.upgrade.as_ref()
    }

    /// The table its route is in.
    pub(crate) fn route_table(&self) -> Option<&RouteTable> {
        self.manager.route_table(&self.snapshot)
    }

    /// How its route forwards; `None` before it has one.
    pub(crate) fn route_action(&self) -> Option<&RouteAction> {
        self.route_action_in(&self.manager, &self.snapshot)
    }

    /// The same, for its own manager and snapshot held elsewhere.
    pub(crate) fn route_action_in<'a>(&self, manager: &'a Manager, snapshot: &'a Snapshot) -> Option<&'a RouteAction> {
        match &manager.route_table(snapshot)?.route(self.route?).action {
            Action::Route(action) => Some(action),
            Action::Redirect(_) | Action::DirectResponse(_) | Action::NonForwarding => None,
        }
    }

    /// What the route, or else its virtual host, says of retries.
    pub(crate) fn retry_policy(&self) -> Option<&RetryPolicy> {
        let table = self.route_table()?;
        self.route_action()?
            .retry_policy
            .as_deref()
            .or_else(|| table.virtual_host(self.route?).retry_policy.as_deref())
    }

    /// What its route asks of an endpoint's metadata.
    pub(crate) fn subset_criteria(&self) -> Option<&SubsetCriteria> {
        self.route_table()?.criteria(self.route?, self.weighted)
    }

    /// Counts something at its route and virtual cluster, where those are counted.
    pub(crate) fn count_at_route(&self, shard: Shard, counter: Counter, n: u64) {
        if let Some(stats) = self.rare.as_ref().and_then(|rare| rare.route_stats.as_ref()) {
            stats.add(shard, counter, n);
        }
    }

    /// Whether copies of it were made.
    pub(crate) fn is_mirrored(&self) -> bool {
        self.rare.as_ref().is_some_and(|rare| !rare.mirrors.is_empty())
    }

    /// Whether the latest attempt has been sent, or is being sent.
    pub(crate) fn is_sending(&self) -> bool {
        self.attempt.as_ref().is_some_and(Attempt::is_sent)
    }

    /// The latest attempt, then those beside it.
    pub(crate) fn attempts(&self) -> impl Iterator<Item = &Attempt> {
        let beside = self.rare.as_ref().map_or(&[][..], |rare| &rare.beside);
        self.attempt.iter().chain(beside)
    }

    /// The same, to be changed.
    pub(crate) fn attempts_mut(&mut self) -> impl Iterator<Item = &mut Attempt> {
        let beside = self.rare.as_mut().map_or(&mut [][..], |rare| &mut rare.beside);
        self.attempt.iter_mut().chain(beside)
    }

    /// What is kept of the latest attempt for its log.
    pub(crate) fn attempt_log(&mut self) -> Option<&mut AttemptLog> {
        self.attempt.as_mut()?.log.as_deref_mut()
    }

    /// How long its finished answer may wait for the caller's window, where the route says so. The idle timeout of a route
    /// is none for this, as in Envoy.
    pub(crate) fn flush_timeout(&self) -> Option<Option<Duration>> {
        self.route_action()?.flush_timeout
    }

    /// The attempt that is stream `id` of a connection.
    pub(crate) fn attempt_on(&mut self, connection: Key<Connection>, id: StreamId) -> Option<&mut Attempt> {
        self.attempts_mut().find(|attempt| attempt.is_on(connection, id))
    }

    /// Whether another attempt than the latest may still be answered, or one is due.
    pub(crate) fn has_other_attempts(&self) -> bool {
        self.rare.as_ref().is_some_and(|rare| !rare.beside.is_empty())
            || self.retry.as_ref().is_some_and(|retry| retry.due.is_some())
    }

    /// Sets the phase that follows from the latest attempt, before an answer.
    pub(crate) fn settle_phase(&mut self) {
        self.phase = match &self.attempt {
            Some(attempt) if attempt.is_sent() => Phase::Waiting,
            Some(_) => Phase::Connecting,
            None => Phase::BackingOff,
        };
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
            let tells = !self.manager.suppresses_envoy_headers();
            route_rewrites::set_host(&mut self.request, host, keep, tells);
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
        let attempt = self.attempt.as_ref().filter(|attempt| attempt.is_sent());
        [
            idle,
            self.route_deadline,
            self.max_duration,
            self.request_deadline,
            self.retry.as_ref().and_then(|retry| retry.due),
            attempt.and_then(|attempt| attempt.try_deadline),
            attempt.and_then(|attempt| attempt.max_deadline),
            self.try_idle_deadline(),
            self.log_deadline(),
        ]
        .into_iter()
        .flatten()
        .min()
    }

    /// When something is next to be logged of it while it goes on.
    fn log_deadline(&self) -> Option<Instant> {
        let of_request = self.rare.as_ref().and_then(|rare| rare.log_at);
        let of_attempts = self.attempts().filter_map(|attempt| attempt.log.as_ref()?.next_at);
        of_attempts.chain(of_request).min()
    }

    /// The endpoint has sent all of its answer, which may still wait at a filter.
    pub(crate) fn upstream_is_complete(&mut self) {
        self.route_deadline = None;
        self.timeouts.per_try_idle = None;
        if let Some(attempt) = &mut self.attempt {
            attempt.max_deadline = None;
        }
    }

    /// When the latest attempt has been without activity for too long (`per_try_idle_timeout`).
    pub(crate) fn try_idle_deadline(&self) -> Option<Instant> {
        let attempt = self.attempt.as_ref().filter(|attempt| attempt.is_sent())?;
        Some(attempt.last_activity + self.timeouts.per_try_idle?)
    }

    /// Counts body bytes that have gone into the endpoint's connection.
    pub(crate) fn body_passed(&mut self, bytes: usize) {
        if let Some(attempt) = &mut self.attempt {
            attempt.body_passed += bytes as u64;
        }
    }
}

impl Default for RequestBody {
    fn default() -> Self {
        RequestBody {
            kept: Vec::new(),
            forgotten: false,
            limit: REPLAY_LIMIT,
            received: 0,
            credited: 0,
            trailers: None,
            complete: false,
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
