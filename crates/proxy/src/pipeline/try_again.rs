//! Another try by the route's retry policy: after an answer, a failure or a timeout of the try, now or after a pause.
//! What is wanted is decided in `retry.rs`; here it is done.

use std::time::{Duration, SystemTime};

use codec::headers::HeaderBlock;
use codec::names::KnownName;
use telemetry::access_log::ResponseFlag;
use telemetry::stats::{Shard, cluster as stat, cluster_origin as origin_stat, route as route_stat};
use upstream::balancer::PreviousPriorities;
use upstream::outlier::Outcome;

use super::{attempt, closing, finish};
use crate::failure::Failure;
use crate::request_headers::decimal;
use crate::retry::{self, Pushback, Retries};
use crate::route_timeouts::{self, Timeouts};
use crate::slab::Key;
use crate::stream::{Attempt, Retrying, Stream};
use crate::worker::Worker;

/// The longest pause that an answer may ask for where the policy says nothing of it: Envoy's default.
const LONGEST_PUSHBACK: Duration = Duration::from_secs(300);

/// Sets what the route, and the headers of an internal request, say of timeouts and retries.
/// `connection_buffer_limit` is the listener's.
pub(crate) fn prepare(stream: &mut Stream, connection_buffer_limit: u32) {
    let snapshot = std::rc::Rc::clone(&stream.snapshot);
    let manager = std::rc::Rc::clone(&stream.manager);
    let (Some(table), Some(at)) = (manager.route_table(&snapshot), stream.route) else {
        return;
    };
    let config::route::Action::Route(action) = &table.route(at).action else {
        return;
    };
    let host = table.virtual_host(at);
    let policy = action.retry_policy.as_deref().or(host.retry_policy.as_deref());
    // The connection manager has removed it from the requests of external callers.
    let is_internal = stream.request.contains(KnownName::XEnvoyInternal);
    let respects_expected = manager.chain.router.respect_expected_rq_timeout;
    let limits = Timeouts::of(
        action,
        policy,
        &mut stream.request,
        stream.is_grpc,
        is_internal,
        respects_expected,
    );
    stream.timeouts = limits;
    let duration = route_timeouts::stream_duration(
        action,
        &mut stream.request,
        stream.is_grpc,
        manager.max_stream_duration(),
    );
    stream.max_duration = duration.map(|limit| stream.record.started + limit);
    let configured = table.route(at).per_request_buffer_limit_bytes;
    let configured = configured.or(host.per_request_buffer_limit_bytes);
    let configured = configured.map(|limit| usize::try_from(limit).unwrap_or(usize::MAX));
    if let Some(limit) = configured {
        stream.body.limit = stream.body.limit.min(limit);
    }
    if action.internal_redirect_policy.is_some() {
        stream.body.limit = configured.unwrap_or(connection_buffer_limit as usize);
    }
    let mut hedges = false;
    if policy.is_some() || is_internal {
        hedges = hedges_on_timeout(stream, action.hedge_policy.or(host.hedge_policy), is_internal);
        if let Some(retries) = Retries::new(policy, &mut stream.request, is_internal) {
            stream.body.limit = configured.unwrap_or(connection_buffer_limit as usize);
            let update_frequency = policy.and_then(|policy| policy.previous_priorities);
            stream.retry = Some(Retrying {
                retries,
                permit: None,
                due: None,
                is_limited: false,
                after_timeout: false,
                hedges,
                previous_priorities: update_frequency.map(|often| Box::new(PreviousPriorities::new(often))),
            });
        }
    }
    let expected = limits.expected(Duration::ZERO, hedges);
    let (request, suppressed) = (&mut stream.request, manager.suppresses_envoy_headers());
    route_timeouts::announce(request, action, expected, stream.is_grpc, suppressed);
}

fn hedges_on_timeout(stream: &mut Stream, policy: Option<config::route::HedgePolicy>, is_internal: bool) -> bool {
    let configured = policy.is_some_and(|policy| policy.hedge_on_per_try_timeout);
    if !is_internal {
        return configured;
    }
    let asked = match stream.request.get(KnownName::XEnvoyHedgeOnPerTryTimeout) {
        Some(b"true") => true,
        Some(b"false") => false,
        _ => configured,
    };
    stream.request.remove(KnownName::XEnvoyHedgeOnPerTryTimeout);
    asked
}

/// What became of the wish to try again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wish {
    /// There was none.
    None,
    /// It is granted: a permit is held.
    Granted,
    /// No retries are left, or the breaker is open.
    Refused,
}

/// Asks for one more try; says in the record why there is none.
fn claim(shard: Shard, stream: &mut Stream) -> Wish {
    let priority = stream.routing_priority();
    let (Some(retry), Some(cluster)) = (&mut stream.retry, &stream.cluster) else {
        return Wish::None;
    };
    retry.permit = None;
    let stats = cluster.stats().local(shard);
    if !retry.retries.take() {
        stats.add(stat::UPSTREAM_RQ_RETRY_LIMIT_EXCEEDED, 1);
        stream.count_at_route(shard, route_stat::UPSTREAM_RQ_RETRY_LIMIT_EXCEEDED, 1);
        stream.record.retry_flag = Some(ResponseFlag::UpstreamRetryLimitExceeded);
        return Wish::Refused;
    }
    match cluster.try_acquire_retry(shard, priority) {
        None => {
            stream.count_at_route(shard, route_stat::UPSTREAM_RQ_RETRY_OVERFLOW, 1);
            stream.record.retry_flag = Some(ResponseFlag::UpstreamOverflow);
            Wish::Refused
        }
        Some(permit) => {
            retry.permit = Some(permit);
            Wish::Granted
        }
    }
}

/// The head of an answer is there, for the latest attempt. True if it goes no further: another try follows, or others
/// are still to be waited for. False if it is the answer; then there will be no other attempt.
pub(crate) fn takes_answer(worker: &mut Worker, key: Key<Stream>, head: &HeaderBlock, ended: bool) -> bool {
    let Some(stream) = worker.streams.get(key) else {
        return true;
    };
    let Some(retry) = &stream.retry else {
        return false;
    };
    let policy = stream.retry_policy();
    let wanted = retry.retries.wants_after_answer(policy, head);
    decide(worker, key, (head, ended), wanted)
}

/// The gRPC status of an answer whose head was held back is there. As [`takes_answer`].
pub(crate) fn takes_trailers(worker: &mut Worker, key: Key<Stream>, trailers: &HeaderBlock) -> bool {
    let Some(Some(retry)) = worker.streams.get(key).map(|stream| &stream.retry) else {
        return false;
    };
    let status = trailers.get(KnownName::GrpcStatus).and_then(retry::grpc_status);
    let wanted = status.is_some_and(|status| retry.retries.wants_after_grpc_status(status));
    decide(worker, key, (trailers, true), wanted)
}

/// Whether the head of an answer is held back until its trailers have come with it or the end of what was read: a
/// server that fails a call before its first message sends both at once, if not as one block.
pub(crate) fn may_follow_status(stream: &Stream, head: &HeaderBlock) -> bool {
    stream.is_grpc
        && stream
            .retry
            .as_ref()
            .is_some_and(|retry| retry.retries.looks_at_grpc_status())
        && head.status() == Some(200)
        && !head.contains(KnownName::GrpcStatus)
}

fn decide(worker: &mut Worker, key: Key<Stream>, (answer, ended): (&HeaderBlock, bool), wanted: bool) -> bool {
    let shard = worker.shard;
    let Some(stream) = worker.streams.get_mut(key) else {
        return true;
    };
    let was_hedged = stream.attempt.as_ref().is_some_and(|attempt| attempt.was_hedged);
    let longest = stream
        .retry_policy()
        .and_then(|policy| policy.rate_limited_retry_back_off.as_ref())
        .map_or(LONGEST_PUSHBACK, |limited| limited.max_interval);
    let pushback = retry::pushback(answer, longest).filter(|_| stream.is_grpc);
    let wanted = wanted && pushback != Some(Pushback::Never);
    let status = answer.status().unwrap_or(200);
    let outcome = match answer.get(KnownName::GrpcStatus).and_then(retry::grpc_status) {
        Some(status) if stream.is_grpc => Outcome::from_grpc_status(status),
        _ => Outcome::Response(status),
    };
    let mut refused = wanted;
    if wanted && !was_hedged {
        let wish = claim(shard, stream);
        if wish == Wish::Granted {
            count_retried(shard, stream, status);
            let asked = match pushback {
                Some(Pushback::After(pause)) => Some(pause),
                _ => None,
            };
            closing::close_latest(worker, key, closing::Closing::Retried(outcome, ended));
            pause(worker, key, Some(answer), asked);
            return true;
        }
        refused = wish == Wish::Refused;
    }
    let Some(stream) = worker.streams.get_mut(key) else {
        return true;
    };
    if !wanted
        && let Some(cluster) = &stream.cluster
        && stream.retry.as_ref().is_some_and(|retry| retry.permit.is_some())
    {
        cluster.stats().add(shard, stat::UPSTREAM_RQ_RETRY_SUCCESS, 1);
        stream.count_at_route(shard, route_stat::UPSTREAM_RQ_RETRY_SUCCESS, 1);
    }
    if refused && stream.has_other_attempts() {
        // A bad answer, and a better one may still come.
        closing::close_latest(worker, key, closing::Closing::Retried(outcome, ended));
        promote(worker, key);
        return true;
    }
    stream.retry = None;
    closing::close_beside(worker, key);
    false
}

/// Counts an answer that is not passed on.
fn count_retried(shard: Shard, stream: &Stream, status: u16) {
    let Some(cluster) = &stream.cluster else {
        return;
    };
    let stats = cluster.state().retry_stats().local(shard);
    stats.add(origin_stat::UPSTREAM_RQ_COMPLETED, 1);
    let class = match status / 100 {
        2 => origin_stat::UPSTREAM_RQ_2XX,
        3 => origin_stat::UPSTREAM_RQ_3XX,
        4 => origin_stat::UPSTREAM_RQ_4XX,
        _ => origin_stat::UPSTREAM_RQ_5XX,
    };
    stats.add(class, 1);
    stats.count_code(origin_stat::UPSTREAM_RQ_CODE, status);
}

/// The latest attempt failed before an answer and is closed.
pub(crate) fn after_failure(
    worker: &mut Worker,
    key: Key<Stream>,
    failure: Failure,
    was_sent: bool,
    was_hedged: bool,
) -> Wish {
    let shard = worker.shard;
    let Some(stream) = worker.streams.get_mut(key) else {
        return Wish::None;
    };
    let wanted = stream
        .retry
        .as_ref()
        .is_some_and(|retry| retry.retries.wants_after_failure(failure, was_sent));
    if !wanted || was_hedged || !stream.is_replayable() {
        return Wish::None;
    }
    let wish = claim(shard, stream);
    if wish == Wish::Granted {
        if let Some(retry) = worker.streams.get_mut(key).and_then(|stream| stream.retry.as_mut()) {
            retry.after_timeout = matches!(failure, Failure::PerTryTimeout | Failure::PerTryIdleTimeout);
        }
        pause(worker, key, None, None);
    }
    wish
}

/// Makes one of the attempts beside the latest.
pub(crate) fn promote(worker: &mut Worker, key: Key<Stream>) {
    if let Some(stream) = worker.streams.get_mut(key) {
        if stream.attempt.is_none() {
            stream.attempt = stream.rare.as_mut().and_then(|rare| rare.beside.pop());
        }
        stream.settle_phase();
    }
    super::arm(worker, key);
}

/// The next try is due after a pause: that which `asked` for, or the answer's headers by the policy, or a random one.
fn pause(worker: &mut Worker, key: Key<Stream>, answer: Option<&HeaderBlock>, asked: Option<Duration>) {
    let (now, random) = (worker.now, telemetry::random::next());
    let Some(stream) = worker.streams.get_mut(key) else {
        return;
    };
    let policy = stream.retry_policy();
    let limited = policy.and_then(|policy| policy.rate_limited_retry_back_off.as_ref());
    let asked = asked.or_else(|| {
        let unix = SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap_or_default();
        retry::pause_asked_for(limited?, answer?, unix.as_secs(), random)
    });
    let back_off = policy.map(|policy| policy.retry_back_off).unwrap_or_default();
    let Some(retry) = &mut stream.retry else { return };
    retry.is_limited = asked.is_some();
    retry.due = Some(now + asked.unwrap_or_else(|| retry.retries.pause(&back_off, random)));
    promote(worker, key);
}

/// The pause is over: begins the try that was granted. An attempt that is still there goes on beside it.
pub(crate) fn on_pause_over(worker: &mut Worker, key: Key<Stream>) {
    let shard = worker.shard;
    let Some(stream) = worker.streams.get_mut(key) else {
        return;
    };
    if let (Some(retry), Some(cluster)) = (&mut stream.retry, &stream.cluster) {
        retry.due = None;
        let stats = cluster.stats().local(shard);
        stats.add(stat::UPSTREAM_RQ_RETRY, 1);
        let kind = match retry.is_limited {
            true => stat::UPSTREAM_RQ_RETRY_BACKOFF_RATELIMITED,
            false => stat::UPSTREAM_RQ_RETRY_BACKOFF_EXPONENTIAL,
        };
        stats.add(kind, 1);
        stream.count_at_route(shard, route_stat::UPSTREAM_RQ_RETRY, 1);
    }
    if let Some(earlier) = stream.attempt.take() {
        stream.rare.get_or_insert_default().beside.push(earlier);
    }
    attempt::start(worker, key, attempt::Why::Policy);
    super::arm(worker, key);
}

/// A timeout of the latest attempt's own ran out.
pub(crate) fn on_try_timeout(worker: &mut Worker, key: Key<Stream>, failure: Failure) {
    let (shard, now) = (worker.shard, worker.now);
    let Some(stream) = worker.streams.get_mut(key) else {
        return;
    };
    let hedges = stream.retry.as_ref().is_some_and(|retry| retry.hedges);
    if hedges && failure != Failure::UpstreamMaxDuration && !stream.phase.has_answered() {
        let (Some(attempt), Some(cluster)) = (&mut stream.attempt, &stream.cluster) else {
            return;
        };
        attempt.try_deadline = None;
        attempt.last_activity = now;
        if let Some(log) = &mut attempt.log {
            log.flag = failure.flag_of_attempt();
        }
        cluster.record_outcome(shard, &attempt.endpoint, Outcome::Timeout, now);
        if attempt.was_hedged {
            return super::arm(worker, key);
        }
        let wish = claim(shard, stream);
        if wish != Wish::Granted {
            return super::arm(worker, key);
        }
        if let Some(stream) = worker.streams.get_mut(key) {
            if let Some(attempt) = &mut stream.attempt {
                attempt.was_hedged = true;
            }
            if let Some(retry) = &mut stream.retry {
                retry.after_timeout = true;
            }
        }
        return pause(worker, key, None, None);
    }
    if let Some(cluster) = &stream.cluster {
        let counter = match failure {
            Failure::PerTryIdleTimeout => stat::UPSTREAM_RQ_PER_TRY_IDLE_TIMEOUT,
            Failure::UpstreamMaxDuration => stat::UPSTREAM_RQ_MAX_DURATION_REACHED,
            _ => stat::UPSTREAM_RQ_PER_TRY_TIMEOUT,
        };
        cluster.stats().add(shard, counter, 1);
    }
    if stream.phase.has_answered() {
        return finish::fail(worker, key, failure);
    }
    attempt::on_attempt_failure(worker, key, failure);
    super::arm(worker, key);
}

/// Tells the endpoint of a repeated try which one it is and how long it has.
pub(crate) fn renew_headers(stream: &mut Stream, now: std::time::Instant, by_policy: bool) {
    let snapshot = std::rc::Rc::clone(&stream.snapshot);
    let manager = std::rc::Rc::clone(&stream.manager);
    let (Some(table), Some(at)) = (manager.route_table(&snapshot), stream.route) else {
        return;
    };
    let host = table.virtual_host(at);
    if host.include_request_attempt_count {
        let mut text = [0_u8; 20];
        let count = decimal(u64::from(stream.record.attempts) + 1, &mut text);
        stream.request.set(KnownName::XEnvoyAttemptCount, count);
    }
    let retry = stream.retry.as_ref();
    if by_policy && host.include_is_timeout_retry_header {
        let after_timeout = retry.is_some_and(|retry| retry.after_timeout);
        let value: &[u8] = if after_timeout { b"true" } else { b"false" };
        stream.request.set(KnownName::XEnvoyIsTimeoutRetry, value);
    }
    let hedges = retry.is_some_and(|retry| retry.hedges);
    let elapsed = stream
        .record
        .request_received_at
        .map_or(Duration::ZERO, |received| now.saturating_duration_since(received));
    if let config::route::Action::Route(action) = &table.route(at).action {
        let expected = stream.timeouts.expected(elapsed, hedges);
        let (request, suppressed) = (&mut stream.request, manager.suppresses_envoy_headers());
        route_timeouts::announce(request, action, expected, stream.is_grpc, suppressed);
    }
}

/// Begins the time of an attempt, once it is sent and the request complete.
pub(crate) fn begin_try_timeout(attempt: &mut Attempt, timeouts: &Timeouts, now: std::time::Instant) {
    if attempt.is_sent() && attempt.try_deadline.is_none() {
        attempt.try_deadline = timeouts.per_try.map(|limit| now + limit);
    }
}
