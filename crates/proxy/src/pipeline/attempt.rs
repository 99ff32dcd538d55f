//! One try at one endpoint: choice, breaker, connection, sending, and what follows a failure.

use std::sync::Arc;

use codec::event::{ErrorCode, ResetReason, StreamId};
use telemetry::stats::{Shard, cluster as stat, route as route_stat};
use upstream::balancer::{Omitted, PickContext};
use upstream::drops::Dropped;
use upstream::transport::Transport;

use super::closing::{Closing, close_latest};
use super::try_again::{self, Wish};
use super::{finish, logging};
use crate::access_log::AttemptLog;
use crate::connection::{Connection, Role};
use crate::failure::Failure;
use crate::pickers;
use crate::pool::{self, Acquired};
use crate::slab::Key;
use crate::stream::{Attempt, Phase, Stream};
use crate::worker::Worker;

/// Other endpoints, or connections, tried for a request that provably was not processed.
const TRANSPARENT_RETRIES: u8 = 3;

/// How often a pick that was tried already is thrown back, where no policy says so.
const RESELECTIONS: u32 = 16;

/// Why an attempt is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Why {
    /// It is the first.
    First,
    /// The one before was provably not processed.
    Unprocessed,
    /// The route's retry policy has it so.
    Policy,
}

/// Chooses an endpoint and sends the request, or queues it for a connection.
pub(crate) fn start(worker: &mut Worker, key: Key<Stream>, why: Why) {
    if let Err(failure) = try_start(worker, key, why) {
        on_attempt_failure(worker, key, failure);
    }
}

fn try_start(worker: &mut Worker, key: Key<Stream>, why: Why) -> Result<(), Failure> {
    let now = worker.now;
    let Some(cluster) = worker.streams.get(key).map(|stream| stream.cluster.clone()) else {
        return Ok(());
    };
    let Some(cluster) = cluster else {
        return Err(Failure::NoCluster);
    };
    if why == Why::First
        && let Some(dropped) = cluster.drop_overload()
    {
        return Err(match dropped {
            Dropped::Share => Failure::DropOverload,
            Dropped::All => Failure::UnconditionalDropOverload,
        });
    }
    let original_destination = pickers::original_destination(worker, key, &cluster);
    let Some(stream) = worker.streams.get_mut(key) else {
        return Ok(());
    };
    let priority = stream.routing_priority();
    if let Some(retry) = &mut stream.retry
        && let Some(previous) = &mut retry.previous_priorities
    {
        previous.update();
    }
    let context = PickContext {
        original_destination,
        ..pick_context(stream, why)
    };
    let endpoint = worker.pickers.pick(&cluster, &context);
    stream.phase = Phase::Connecting;
    if why != Why::First {
        try_again::renew_headers(stream, now, why == Why::Policy);
    }
    // As in Envoy, an attempt that finds no endpoint is one.
    stream.record.attempts += 1;
    let endpoint = endpoint.map_err(|_| Failure::NoHealthyUpstream)?;
    if let Some(retry) = &mut stream.retry
        && let Some(previous) = &mut retry.previous_priorities
    {
        previous.note(&cluster.table(), &endpoint);
    }
    if stream.manager.logs_requests() {
        stream.record.endpoint = Some(Arc::clone(&endpoint));
    }
    stream.record.ends = None;
    let mut attempt = Attempt::new(Arc::clone(&endpoint), now);
    if stream.manager.logs_attempts() && !stream.is_mirror {
        let interval = stream.manager.chain.router.upstream_log_flush_interval;
        let mut log = Box::new(AttemptLog::new(now));
        log.next_at = interval.map(|interval| now + interval);
        attempt.log = Some(log);
    }
    stream.attempt = Some(attempt);
    if stream.upgrade().is_some_and(|upgrade| upgrade.ends_here) {
        return pool::open_tunnel(worker, key, &endpoint, &cluster, priority);
    }
    match pool::acquire(worker, key, &endpoint, &cluster, priority)? {
        Acquired::Ready(connection) => on_connection_ready(worker, key, connection),
        Acquired::Pending(permit) => {
            if let Some(stream) = worker.streams.get_mut(key)
                && let Some(attempt) = &mut stream.attempt
            {
                attempt.pending = Some(permit);
            }
        }
    }
    Ok(())
}

/// What a pick is to go by and which endpoints it is to avoid.
fn pick_context(stream: &Stream, why: Why) -> PickContext<'_> {
    let mut omit = Omitted::default();
    let previous = stream
        .retry
        .as_ref()
        .and_then(|retry| retry.previous_priorities.as_deref());
    let (avoid, reselections) = match (why, stream.retry_policy()) {
        (Why::Policy, Some(policy)) => {
            let avoids = policy.avoid_previous_hosts;
            let avoid = if avoids { &stream.tried[..] } else { &[] };
            omit = Omitted {
                canaries: policy.omit_canary_hosts,
                metadata: &policy.omit_host_metadata,
            };
            (avoid, policy.host_selection_retry_max_attempts)
        }
        (Why::Policy, None) => (&[][..], 0),
        (Why::First | Why::Unprocessed, _) => (&stream.tried[..], RESELECTIONS),
    };
    PickContext {
        hash: stream.hash,
        metadata: stream.subset_criteria(),
        avoid,
        omit,
        reselections,
        previous_priorities: previous.filter(|_| why == Why::Policy),
        ..PickContext::default()
    }
}

/// A connection is there for a stream that asked for one: sends what there is of the request.
pub(crate) fn on_connection_ready(worker: &mut Worker, key: Key<Stream>, connection: Key<Connection>) {
    if let Err(failure) = dispatch(worker, key, connection) {
        on_attempt_failure(worker, key, failure);
    }
}

fn dispatch(worker: &mut Worker, key: Key<Stream>, connection: Key<Connection>) -> Result<(), Failure> {
    let now = worker.now;
    let shard = worker.shard;
    let Some(stream) = worker.streams.get_mut(key) else {
        return Ok(());
    };
    if let Some(attempt) = &stream.attempt {
        let endpoint = Arc::clone(&attempt.endpoint);
        stream.rewrite_host_for(&endpoint);
    }
    let priority = stream.routing_priority();
    let (Some(cluster), Some(attempt)) = (&stream.cluster, &mut stream.attempt) else {
        return Ok(());
    };
    if stream.manager.config.match_upstream_scheme {
        let is_tls = !matches!(cluster.transport(&attempt.endpoint), Transport::RawBuffer);
        stream.request.set_scheme(if is_tls { b"https" } else { b"http" });
    }
    attempt.pending = None;
    let active = cluster
        .try_start_request(shard, &attempt.endpoint, priority)
        .ok_or(Failure::Overflow)?;
    let Some(found) = worker.connections.get_mut(connection) else {
        return Err(Failure::ConnectionTermination);
    };
    let ends = match &found.role {
        Role::Upstream(upstream) => upstream.ends.clone(),
        Role::Downstream(_) => None,
    };
    let Some(codec) = found.open_codec() else {
        return Err(Failure::RemoteRefused);
    };
    let is_raw = codec.is_raw();
    let Ok(id) = codec.open_stream() else {
        return Err(Failure::RemoteRefused);
    };
    attempt.connection = connection;
    attempt.id = id;
    attempt.output_start = codec.output_total();
    stream.record.sent_upstream_at = Some(now);
    let is_http2 = (!is_raw).then(|| codec.is_h2());
    stream.record.upstream_is_http2 = is_http2;
    stream.record.ends.clone_from(&ends);
    if let Some(log) = &mut attempt.log {
        log.sent_at = Some(now);
        log.is_http2 = is_http2;
        log.ends = ends;
    }
    attempt.body_passed = 0;
    attempt.last_activity = now;
    codec.set_tag(id, key.to_bits());
    let body = &stream.body;
    let has_trailers = body.trailers.is_some();
    let ends_with_head = body.complete && body.received == 0 && !has_trailers;
    let upgrade = match &stream.rare {
        Some(rare) if codec.is_h2() => rare.upgrade.as_ref(),
        _ => None,
    };
    if let Some(upgrade) = upgrade {
        upgrade.as_http2(&mut stream.request);
    }
    let sent = is_raw || codec.send_head(id, &stream.request, ends_with_head).is_ok();
    if let Some(upgrade) = upgrade {
        upgrade.as_http1(&mut stream.request);
    }
    if !sent {
        codec.reset(id, ErrorCode::CANCEL);
        return Err(Failure::UpstreamProtocolError);
    }
    attempt.active = Some(active);
    let logs_sending = attempt.log.is_some() && stream.manager.chain.router.flush_upstream_log_on_upstream_stream;
    let longest = cluster.config().http_protocol_options.common.max_stream_duration;
    attempt.max_deadline = longest.map(|limit| now + limit);
    stream.phase = Phase::Waiting;
    let has_own_time = stream
        .timeouts
        .per_try
        .or(stream.timeouts.per_try_idle)
        .or(longest)
        .is_some();
    if body.complete {
        try_again::begin_try_timeout(attempt, &stream.timeouts, now);
    }
    cluster.stats().local(shard).add(stat::UPSTREAM_RQ_TOTAL, 1);
    cluster.stats().local(shard).gauge_add(stat::UPSTREAM_RQ_ACTIVE, 1);
    if let Some(stats) = stream.rare.as_ref().and_then(|rare| rare.route_stats.as_ref()) {
        stats.add(shard, route_stat::UPSTREAM_RQ_TOTAL, 1);
    }
    if !body.kept.is_empty() {
        let ends_with_data = body.complete && !has_trailers;
        let passed = codec.send_data(id, &stream.body.kept, ends_with_data).unwrap_or(0);
        stream.body_passed(passed);
        if stream.is_mirror {
            stream.body.forget();
        }
        if stream.body.kept.len() > stream.body.limit {
            give_up_replay(stream, shard);
        }
    }
    if let Role::Upstream(upstream) = &mut found.role {
        upstream.stream_began();
    }
    found.wake();
    if has_trailers {
        send_trailers(worker, key);
    }
    credit(worker, key);
    if has_own_time {
        super::arm(worker, key);
    }
    if logs_sending {
        logging::attempt_is_sent(worker, key);
    }
    if is_raw {
        // The endpoint is not asked: that it took the connection is its agreement.
        let mut head = worker.take_block();
        head.set_status(200);
        super::response::on_head(worker, key, &mut head, false);
        worker.give_block(head);
    }
    Ok(())
}

/// The body has become too long to be sent again: the request goes on, without another try.
pub(crate) fn give_up_replay(stream: &mut Stream, shard: Shard) {
    stream.body.forget();
    let follows = stream
        .route_action()
        .is_some_and(|action| action.internal_redirect_policy.is_some());
    if (stream.retry.take().is_some() || follows)
        && let Some(cluster) = &stream.cluster
    {
        cluster.stats().add(shard, stat::RETRY_OR_SHADOW_ABANDONED, 1);
    }
}

/// Makes the attempt that something happened to the latest one; false if it is none of the stream's any more.
pub(crate) fn bring_forward(worker: &mut Worker, key: Key<Stream>, connection: Key<Connection>, id: StreamId) -> bool {
    let now = worker.now;
    let Some(stream) = worker.streams.get_mut(key) else {
        return false;
    };
    if let Some(attempt) = &mut stream.attempt
        && attempt.is_on(connection, id)
    {
        attempt.last_activity = now;
        return true;
    }
    let Some(rare) = &mut stream.rare else {
        return false;
    };
    let Some(at) = rare.beside.iter().position(|attempt| attempt.is_on(connection, id)) else {
        return false;
    };
    let forward = rare.beside.swap_remove(at);
    rare.beside.extend(stream.attempt.replace(forward));
    stream.settle_phase();
    true
}

/// Passes part of the request's body on.
pub(crate) fn send_data(worker: &mut Worker, key: Key<Stream>, data: &[u8], end_stream: bool) {
    let Some(stream) = worker.streams.get_mut(key) else {
        return;
    };
    let Some(attempt) = &stream.attempt else {
        return;
    };
    if let Some(found) = worker.connections.get_mut(attempt.connection)
        && let Some(codec) = found.open_codec()
    {
        let passed = codec.send_data(attempt.id, data, end_stream).unwrap_or(0);
        found.wake();
        stream.body_passed(passed);
    }
    credit(worker, key);
}

/// Passes the request's trailers on.
pub(crate) fn send_trailers(worker: &mut Worker, key: Key<Stream>) {
    let Some(stream) = worker.streams.get(key) else {
        return;
    };
    let (Some(attempt), Some(trailers)) = (&stream.attempt, &stream.body.trailers) else {
        return;
    };
    if let Some(found) = worker.connections.get_mut(attempt.connection)
        && let Some(codec) = found.open_codec()
    {
        // Refused only if the stream has gone, which its own event tells.
        let _ = codec.send_trailers(attempt.id, trailers);
        found.wake();
    }
}

/// Body bytes that were queued for the endpoint have left: the caller may send as many more.
pub(crate) fn on_body_passed(
    worker: &mut Worker,
    key: Key<Stream>,
    (connection, id): (Key<Connection>, StreamId),
    bytes: usize,
) {
    let now = worker.now;
    if let Some(stream) = worker.streams.get_mut(key) {
        stream.last_activity = now;
        if let Some(attempt) = stream.attempt_on(connection, id) {
            attempt.last_activity = now;
            attempt.body_passed += bytes as u64;
        }
    }
    credit(worker, key);
}

/// Gives the caller credit for what this attempt has passed on and no earlier one had.
fn credit(worker: &mut Worker, key: Key<Stream>) {
    let Some(stream) = worker.streams.get_mut(key) else {
        return;
    };
    let Some(attempt) = &stream.attempt else {
        return;
    };
    let due = attempt.body_passed.saturating_sub(stream.body.credited);
    if due > 0 {
        stream.body.credited += due;
        let (connection, id) = (stream.downstream, stream.downstream_id);
        super::release(worker, connection, id, due as usize);
    }
}

/// The endpoint (or our codec, for a fault of the endpoint's) ended the stream.
pub(crate) fn on_reset(worker: &mut Worker, key: Key<Stream>, reason: &ResetReason) {
    let failure = classify(worker, key, reason);
    let Some(stream) = worker.streams.get(key) else {
        return;
    };
    if let Some(cluster) = stream.cluster.as_ref().filter(|_| reason.remote && !reason.refused) {
        cluster.stats().add(worker.shard, stat::UPSTREAM_RQ_RX_RESET, 1);
    }
    if stream.phase.has_answered() {
        // A code the endpoint did not send says nothing to the caller: CANCEL would be a lie, he did not cancel.
        let code = match failure {
            Failure::RemoteReset => reason.code,
            _ => ErrorCode::INTERNAL_ERROR,
        };
        finish::cut_off(worker, key, failure, code);
    } else {
        on_attempt_failure(worker, key, failure);
    }
}

fn classify(worker: &Worker, key: Key<Stream>, reason: &ResetReason) -> Failure {
    if reason.refused || untouched(worker, key) {
        return Failure::RemoteRefused;
    }
    if let Some(failure) = worker.ending_with {
        return failure;
    }
    match (reason.remote, reason.violation) {
        // The endpoint says that we broke the protocol: to the caller the same as if it had (as Envoy has it).
        (true, _) if reason.code == ErrorCode::PROTOCOL_ERROR => Failure::UpstreamProtocolError,
        (true, _) => Failure::RemoteReset,
        (false, Some(_)) => Failure::UpstreamProtocolError,
        (false, None) => Failure::ConnectionTermination,
    }
}

/// Whether no byte of the request has left for the endpoint.
fn untouched(worker: &Worker, key: Key<Stream>) -> bool {
    let Some(attempt) = worker.streams.get(key).and_then(|stream| stream.attempt.as_ref()) else {
        return false;
    };
    worker
        .connections
        .get(attempt.connection)
        .and_then(|found| found.codec.as_ref())
        .is_some_and(|codec| codec.output_flushed() <= attempt.output_start)
}

/// The latest attempt ended before any answer: another one, where that is safe or wanted, or an error to the caller.
pub(crate) fn on_attempt_failure(worker: &mut Worker, key: Key<Stream>, failure: Failure) {
    let Some(stream) = worker.streams.get(key) else {
        return;
    };
    let attempt = stream.attempt.as_ref();
    let was_sent = attempt.is_some_and(Attempt::is_sent);
    let was_hedged = attempt.is_some_and(|attempt| attempt.was_hedged);
    let had_endpoint = attempt.is_some();
    close_latest(worker, key, Closing::Failed(failure));
    // Without an endpoint there is no try to repeat.
    let wish = if had_endpoint {
        try_again::after_failure(worker, key, failure, was_sent, was_hedged)
    } else {
        Wish::None
    };
    let Some(stream) = worker.streams.get_mut(key) else {
        return;
    };
    match wish {
        Wish::Granted => {}
        _ if stream.has_other_attempts() => try_again::promote(worker, key),
        Wish::None
            if failure.meaning().unprocessed
                && stream.is_replayable()
                && stream.transparent_retries < TRANSPARENT_RETRIES
                && another_endpoint(stream, failure) =>
        {
            stream.transparent_retries += 1;
            start(worker, key, Why::Unprocessed);
        }
        Wish::None | Wish::Refused => finish::fail(worker, key, failure),
    }
}

/// Whether there is a point in another try: a refusal may be repeated on a new connection, but an
/// endpoint that can't be connected to is not tried twice.
fn another_endpoint(stream: &Stream, failure: Failure) -> bool {
    match failure {
        Failure::NotConnected | Failure::NotBegun | Failure::ConnectTimeout | Failure::TlsHandshake => stream
            .cluster
            .as_ref()
            .is_some_and(|cluster| cluster.table().membership().total as usize > stream.tried.len()),
        _ => true,
    }
}

/// The route's timeout ran out, for all attempts.
pub(crate) fn on_timeout(worker: &mut Worker, key: Key<Stream>) {
    if let Some(stream) = worker.streams.get_mut(key)
        && let Some(cluster) = &stream.cluster
    {
        // As in Envoy: for each attempt that is given up, and so for none during a pause.
        let beside = stream.rare.as_ref().map_or(0, |rare| rare.beside.len());
        let attempts = (beside + usize::from(stream.attempt.is_some())) as u64;
        cluster.stats().add(worker.shard, stat::UPSTREAM_RQ_TIMEOUT, attempts);
        stream.count_at_route(worker.shard, route_stat::UPSTREAM_RQ_TIMEOUT, 1);
        stream.record.counted_times = attempts;
    }
    finish::fail(worker, key, Failure::RouteTimeout);
}
