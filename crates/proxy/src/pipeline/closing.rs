//! How attempts end: whatever became of one, its endpoint's stream is reset unless it is complete, permits are given back,
//! and the outcome is recorded, once.

use std::sync::Arc;

use config::access_log::AccessLogType;
use telemetry::stats::cluster as stat;
use upstream::outlier::Outcome;

use crate::failure::Failure;
use crate::pool;
use crate::slab::Key;
use crate::stream::{Attempt, Stream};
use crate::worker::Worker;

/// How an attempt ends.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Closing {
    /// With a complete answer, which was passed on.
    Answered,
    /// With an answer that was not passed on, of which all has come or not: another attempt follows.
    Retried(Outcome, bool),
    /// Without an answer, or cut off in it.
    Failed(Failure),
    /// Another one was answered first.
    Outrun,
}

impl Closing {
    /// Whether it is the proxy or the caller who gives the endpoint's stream up.
    fn is_ours(self) -> bool {
        match self {
            Self::Failed(failure) => failure.is_ours(),
            Self::Outrun | Self::Retried(_, false) => true,
            Self::Answered | Self::Retried(_, true) => false,
        }
    }
}

/// Ends all attempts, whatever became of them. `failure` is `None` after a complete answer.
pub(crate) fn end(worker: &mut Worker, key: Key<Stream>, failure: Option<Failure>) {
    close_latest(worker, key, failure.map_or(Closing::Answered, Closing::Failed));
    close_beside(worker, key);
}

/// Ends the attempts beside the latest.
pub(crate) fn close_beside(worker: &mut Worker, key: Key<Stream>) {
    while let Some(attempt) = worker
        .streams
        .get_mut(key)
        .and_then(|stream| stream.rare.as_mut()?.beside.pop())
    {
        close(worker, key, attempt, Closing::Outrun);
    }
}

/// Ends the latest attempt.
pub(crate) fn close_latest(worker: &mut Worker, key: Key<Stream>, closing: Closing) {
    if let Some(attempt) = worker.streams.get_mut(key).and_then(|stream| stream.attempt.take()) {
        close(worker, key, attempt, closing);
    }
}

/// Ends an attempt: the endpoint's stream is reset unless it is complete, permits are given back, the outcome is
/// recorded.
fn close(worker: &mut Worker, key: Key<Stream>, mut attempt: Attempt, closing: Closing) {
    if let Some(log) = &mut attempt.log {
        if let Closing::Failed(failure) = closing {
            log.flag = failure.flag_of_attempt().or(log.flag);
            if matches!(failure, Failure::NotConnected | Failure::TlsHandshake) {
                log.transport_failure = worker.transport_failure;
            }
        }
        super::logging::attempt(worker, key, &attempt, AccessLogType::UpstreamEnd);
    }
    let Some(stream) = worker.streams.get_mut(key) else {
        return;
    };
    let was_sent = attempt.is_sent();
    if let Some(cluster) = &stream.cluster
        && was_sent
    {
        let stats = cluster.stats().local(worker.shard);
        stats.gauge_add(stat::UPSTREAM_RQ_ACTIVE, -1);
    }
    let outcome = match closing {
        Closing::Answered => Some(match stream.record.grpc_status {
            Some(status) if stream.is_grpc => Outcome::from_grpc_status(status),
            _ => Outcome::Response(stream.record.status),
        }),
        Closing::Retried(outcome, _) => Some(outcome),
        // That it took too long was recorded when another one was begun beside it.
        Closing::Failed(Failure::RouteTimeout) if attempt.was_hedged => None,
        Closing::Failed(failure) => failure.outcome(),
        Closing::Outrun => None,
    };
    if let (Some(outcome), Some(cluster)) = (outcome, &stream.cluster)
        && was_sent
    {
        cluster.record_outcome(worker.shard, &attempt.endpoint, outcome, worker.now);
    }
    if matches!(closing, Closing::Failed(_) | Closing::Retried(..)) {
        stream.tried.push(Arc::clone(&attempt.endpoint));
    }
    if !was_sent {
        let endpoint = Arc::clone(&attempt.endpoint);
        return pool::forget(worker, &endpoint, key);
    }
    let is_cut = !matches!(closing, Closing::Answered | Closing::Retried(_, true));
    if let Some(found) = worker.connections.get_mut(attempt.connection)
        && is_cut
        && let Some(is_h2) = found.codec.as_ref().map(|codec| codec.is_h2())
    {
        if !is_h2 {
            // HTTP/1.1 has no other way to end a request than to end its connection.
            found.note_ending(false);
        } else if closing.is_ours()
            && let Some(cluster) = &stream.cluster
        {
            // As in Envoy, of HTTP/2 only: it has a frame for that.
            cluster.stats().local(worker.shard).add(stat::UPSTREAM_RQ_TX_RESET, 1);
        }
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
