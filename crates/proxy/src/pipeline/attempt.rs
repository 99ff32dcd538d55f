//! One try at one endpoint: choice, breaker, connection, sending, and what follows a failure.

use std::sync::Arc;

use codec::event::{ErrorCode, ResetReason};
use telemetry::stats::cluster as stat;
use upstream::balancer::PickContext;
use upstream::outlier::Outcome;

use super::finish;
use crate::connection::{Connection, Role};
use crate::failure::Failure;
use crate::pickers;
use crate::pool::{self, Acquired};
use crate::slab::Key;
use crate::stream::{Attempt, Phase, Stream};
use crate::worker::Worker;

/// Other endpoints, or connections, tried for a request that provably was not processed.
const TRANSPARENT_RETRIES: usize = 3;

/// How often a pick that was tried already is thrown back.
const RESELECTIONS: u32 = 16;

/// Chooses an endpoint and sends the request, or queues it for a connection.
pub(crate) fn start(worker: &mut Worker, key: Key<Stream>) {
    if let Err(failure) = try_start(worker, key) {
        finish::fail(worker, key, failure);
    }
}

fn try_start(worker: &mut Worker, key: Key<Stream>) -> Result<(), Failure> {
    let Some(cluster) = worker.streams.get(key).map(|stream| stream.cluster.clone()) else {
        return Ok(());
    };
    let Some(cluster) = cluster else {
        return Err(Failure::NoCluster);
    };
    let original_destination = pickers::original_destination(worker, key, &cluster);
    let Some(stream) = worker.streams.get_mut(key) else {
        return Ok(());
    };
    // As in Envoy, an attempt that finds no endpoint is one.
    stream.record.attempts += 1;
    let priority = stream.routing_priority();
    let context = PickContext {
        hash: stream.hash,
        metadata: None,
        original_destination,
        avoid: &stream.tried,
        reselections: RESELECTIONS,
    };
    let endpoint = worker
        .pickers
        .pick(&cluster, &context)
        .map_err(|_| Failure::NoHealthyUpstream)?;
    stream.phase = Phase::Connecting;
    if stream.manager.logs_requests() {
        stream.record.endpoint = Some(Arc::clone(&endpoint));
    }
    stream.attempt = Some(Attempt::new(Arc::clone(&endpoint)));
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
    attempt.pending = None;
    let active = cluster
        .try_start_request(shard, &attempt.endpoint, priority)
        .ok_or(Failure::Overflow)?;
    let Some(found) = worker.connections.get_mut(connection) else {
        return Err(Failure::ConnectionTermination);
    };
    let Some(codec) = found.open_codec() else {
        return Err(Failure::RemoteRefused);
    };
    let Ok(id) = codec.open_stream() else {
        return Err(Failure::RemoteRefused);
    };
    attempt.connection = connection;
    attempt.id = id;
    attempt.output_start = codec.output_total();
    stream.record.sent_upstream_at = Some(now);
    attempt.body_passed = 0;
    codec.set_tag(id, key.to_bits());
    let body = &stream.body;
    let has_trailers = body.trailers.is_some();
    let ends_with_head = body.complete && body.received == 0 && !has_trailers;
    if codec.send_head(id, &stream.request, ends_with_head).is_err() {
        codec.reset(id, ErrorCode::CANCEL);
        return Err(Failure::UpstreamProtocolError);
    }
    attempt.active = Some(active);
    stream.phase = Phase::Waiting;
    cluster.stats().local(shard).add(stat::UPSTREAM_RQ_TOTAL, 1);
    cluster.stats().local(shard).gauge_add(stat::UPSTREAM_RQ_ACTIVE, 1);
    if !body.kept.is_empty() {
        let ends_with_data = body.complete && !has_trailers;
        let passed = codec.send_data(id, &stream.body.kept, ends_with_data).unwrap_or(0);
        stream.body_passed(passed);
        if stream.body.kept.len() > crate::stream::REPLAY_LIMIT {
            stream.body.forget();
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
    Ok(())
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
pub(crate) fn on_body_passed(worker: &mut Worker, key: Key<Stream>, bytes: usize) {
    let now = worker.now;
    if let Some(stream) = worker.streams.get_mut(key) {
        stream.last_activity = now;
        stream.body_passed(bytes);
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
    if let Some(cluster) = stream.cluster.as_ref().filter(|_| reason.remote) {
        cluster.stats().add(worker.shard, stat::UPSTREAM_RQ_RX_RESET, 1);
    }
    if stream.phase == Phase::Responding {
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

/// An attempt ended before any answer: another one, where that is safe, or an error to the caller.
pub(crate) fn on_attempt_failure(worker: &mut Worker, key: Key<Stream>, failure: Failure) {
    end(worker, key, Some(failure));
    let Some(stream) = worker.streams.get(key) else {
        return;
    };
    if failure.meaning().unprocessed
        && stream.is_replayable()
        && stream.tried.len() <= TRANSPARENT_RETRIES
        && another_endpoint(stream, failure)
    {
        start(worker, key);
    } else {
        finish::fail(worker, key, failure);
    }
}

/// Whether there is a point in another try: a refusal may be repeated on a new connection, but an
/// endpoint that can't be connected to is not tried twice.
fn another_endpoint(stream: &Stream, failure: Failure) -> bool {
    match failure {
        Failure::NotConnected | Failure::ConnectTimeout | Failure::TlsHandshake => stream
            .cluster
            .as_ref()
            .is_some_and(|cluster| cluster.table().membership().total as usize > stream.tried.len()),
        _ => true,
    }
}

/// A timeout of the attempt's ran out.
pub(crate) fn on_timeout(worker: &mut Worker, key: Key<Stream>, failure: Failure) {
    if let Some(stream) = worker.streams.get(key)
        && let Some(cluster) = &stream.cluster
    {
        let counter = match failure {
            Failure::UpstreamMaxDuration => stat::UPSTREAM_RQ_MAX_DURATION_REACHED,
            _ => stat::UPSTREAM_RQ_TIMEOUT,
        };
        cluster.stats().add(worker.shard, counter, 1);
    }
    end(worker, key, Some(failure));
    finish::fail(worker, key, failure);
}

/// Ends the attempt, whatever became of it: the endpoint's stream is reset unless it is complete,
/// permits are given back, the outcome is recorded. `failure` is `None` after a complete answer.
pub(crate) fn end(worker: &mut Worker, key: Key<Stream>, failure: Option<Failure>) {
    let Some(stream) = worker.streams.get_mut(key) else {
        return;
    };
    let Some(attempt) = stream.attempt.take() else {
        return;
    };
    let was_sent = attempt.active.is_some();
    if let Some(cluster) = &stream.cluster {
        let stats = cluster.stats().local(worker.shard);
        if was_sent {
            stats.gauge_add(stat::UPSTREAM_RQ_ACTIVE, -1);
        }
    }
    let outcome = match failure {
        None => Some(match stream.record.grpc_status {
            Some(status) if stream.is_grpc => Outcome::from_grpc_status(status),
            _ => Outcome::Response(stream.record.status),
        }),
        Some(failure) => failure.outcome(),
    };
    if let (Some(outcome), Some(cluster)) = (outcome, &stream.cluster)
        && was_sent
    {
        cluster.record_outcome(worker.shard, &attempt.endpoint, outcome, worker.now);
    }
    if failure.is_some_and(|failure| failure.meaning().unprocessed) {
        stream.tried.push(Arc::clone(&attempt.endpoint));
    }
    if !was_sent {
        let endpoint = Arc::clone(&attempt.endpoint);
        return pool::forget(worker, &endpoint, key);
    }
    if let Some(found) = worker.connections.get_mut(attempt.connection)
        && failure.is_some()
        && found.codec.as_ref().is_some_and(|codec| !codec.is_h2())
    {
        // HTTP/1.1 has no other way to end a request than to end its connection.
        found.note_ending(false);
    }
    if let Some(found) = worker.connections.get_mut(attempt.connection)
        && let Some(codec) = found.open_codec()
    {
        // A no-op where both sides are complete; else the endpoint learns that nobody listens, and
        // whatever credit we still owe goes back to the connection.
        codec.reset(attempt.id, super::request::NOT_WANTED);
        codec.set_tag(attempt.id, 0);
        found.wake();
        crate::upstream_connection::on_stream_ended(worker, attempt.connection);
    }
}
