//! How a request ends: complete, by a local reply, by a reset from either side. Whatever way,
//! [`finish`] runs exactly once: it takes the record out of the slab.

use codec::event::{ErrorCode, ResetReason};
use codec::names::KnownName;
use config::access_log::AccessLogType;
use telemetry::access_log::ResponseFlag;
use telemetry::stats::http as stat;

use super::count::{count_failure, count_for_listener, count_response, status_class};
use super::{answer, closing, filtering, mirror};
use crate::access_log::Entry;
use crate::connection::{Connection, Role};
use crate::failure::Failure;
use crate::slab::{Key, Slab};
use crate::stream::Stream;
use crate::worker::Worker;

/// The answer has been passed on to its end.
pub(crate) fn complete(worker: &mut Worker, key: Key<Stream>) {
    closing::end(worker, key, None);
    let Some(stream) = worker.streams.get(key) else {
        return;
    };
    limit_flush(&mut worker.connections, stream);
    if !stream.body.complete {
        // The caller learns that nobody reads the rest (RFC 9113 section 8.1).
        let stats = stream.manager.stats.local(worker.shard);
        stats.add(stat::DOWNSTREAM_RQ_RESPONSE_BEFORE_RQ_COMPLETE, 1);
        // Only an answer that is in the output as a whole: a reset would take back what still
        // waits for the caller's window. HTTP/1.1 closes by itself once the answer has gone out.
        let (connection, id) = (stream.downstream, stream.downstream_id);
        let is_sent = worker
            .connections
            .get(connection)
            .and_then(|found| found.codec.as_ref())
            .is_some_and(|codec| codec.is_h2() && codec.queued_bytes() == 0);
        if is_sent {
            super::reset(worker, connection, id, ErrorCode::NO_ERROR);
        }
    }
    finish(worker, key);
}

/// What is left of the answer waits for the caller's window no longer than the route has it.
fn limit_flush(connections: &mut Slab<Connection>, stream: &Stream) {
    if let Some(codec) = connections.get_mut(stream.downstream).and_then(Connection::open_codec)
        && codec.is_h2()
        && codec.queued_bytes() > 0
        && let Some(timeout) = stream.flush_timeout()
    {
        codec.set_flush_timeout(stream.downstream_id, timeout);
    }
}

/// The proxy ends the request with an error: a local reply, or a reset if an answer has begun.
pub(crate) fn fail(worker: &mut Worker, key: Key<Stream>, failure: Failure) {
    closing::end(worker, key, Some(failure));
    let Some(stream) = worker.streams.get_mut(key) else {
        return;
    };
    let meaning = failure.meaning();
    if stream.is_mirror {
        stream.record.local_reply = true;
        stream.record.status = meaning.status;
        stream.record.counted_status = meaning.status;
        return mirror::end(worker, key);
    }
    stream.record.flag = meaning.flag;
    if matches!(failure, Failure::NotConnected | Failure::TlsHandshake) {
        stream.record.transport_failure = worker.transport_failure;
    }
    // What the connection manager answers is not the router's.
    stream.record.reached_router &= !matches!(
        failure,
        Failure::DownstreamMaxDuration | Failure::StreamIdle | Failure::RequestTimeout
    );
    if failure == Failure::UpstreamMaxDuration {
        stream.record.counted_times = 0;
    }
    count_failure(stream, failure, worker.shard);
    if stream.phase.has_answered() {
        return cut_off(worker, key, failure, ErrorCode::INTERNAL_ERROR);
    }
    answer::local_reply(worker, key, meaning, failure.marking_header());
}

/// An answer that has begun can't be completed: the caller's stream is reset.
pub(crate) fn cut_off(worker: &mut Worker, key: Key<Stream>, failure: Failure, code: ErrorCode) {
    closing::end(worker, key, Some(failure));
    let Some(stream) = worker.streams.get_mut(key) else {
        return;
    };
    if stream.is_mirror {
        return mirror::end(worker, key);
    }
    stream.record.flag = failure.meaning().flag;
    stream.record.details = match failure {
        Failure::ConnectionTermination => "upstream_reset_after_response_started{connection_termination}",
        Failure::UpstreamProtocolError => "upstream_reset_after_response_started{protocol_error}",
        Failure::RemoteReset | Failure::RemoteRefused => "upstream_reset_after_response_started{remote_reset}",
        other => other.meaning().details,
    };
    let stats = stream.manager.stats.local(worker.shard);
    stats.add(stat::DOWNSTREAM_RQ_TX_RESET, 1);
    // The code is carried where it means the same to the caller; anything else is our own fault to him.
    let code = match code {
        ErrorCode::CANCEL | ErrorCode::ENHANCE_YOUR_CALM | ErrorCode::HTTP_1_1_REQUIRED => code,
        _ => ErrorCode::INTERNAL_ERROR,
    };
    let (connection, id) = (stream.downstream, stream.downstream_id);
    super::reset(worker, connection, id, code);
    finish(worker, key);
}

/// The caller went away: his stream was reset, or his connection closed.
pub(crate) fn on_downstream_reset(worker: &mut Worker, key: Key<Stream>, reason: &ResetReason) {
    let Some(stream) = worker.streams.get_mut(key) else {
        return;
    };
    let stats = stream.manager.stats.local(worker.shard);
    stats.add(stat::DOWNSTREAM_RQ_RX_RESET, 1);
    let (flag, details) = match (worker.ending_with.is_some(), reason.violation) {
        (true, _) => (
            ResponseFlag::DownstreamConnectionTermination,
            "downstream_remote_disconnect",
        ),
        (false, None) => (ResponseFlag::DownstreamRemoteReset, "http2.remote_reset"),
        (false, Some(_)) => (
            ResponseFlag::DownstreamProtocolError,
            "http2.violation.of.messaging.rule",
        ),
    };
    stream.record.flag = Some(flag);
    stream.record.details = details;
    closing::end(worker, key, Some(Failure::DownstreamGone));
    finish(worker, key);
}

/// Drops a request whose stream is reset already.
pub(super) fn abandon(worker: &mut Worker, key: Key<Stream>) {
    finish(worker, key);
}

/// The end of every request: statistics, access log, and the record is gone.
pub(super) fn finish(worker: &mut Worker, key: Key<Stream>) {
    let Some(mut stream) = worker.streams.remove(key) else {
        return;
    };
    worker.disarm(stream.timer);
    filtering::on_finish(worker, &mut stream);
    let now = worker.now;
    let duration = now.saturating_duration_since(stream.record.started);
    let stats = stream.manager.stats.local(worker.shard);
    stats.gauge_add(stat::DOWNSTREAM_RQ_ACTIVE, -1);
    // Neither the answer to a health check nor one that the caller does not see is counted.
    let is_counted = !stream.record.health_check && !stream.record.went_on;
    stats.add(stat::DOWNSTREAM_RQ_COMPLETED, u64::from(is_counted));
    stats.record(stat::DOWNSTREAM_RQ_TIME, duration.as_millis() as u64);
    if stream.upgrade().is_some_and(|upgrade| upgrade.allowed) {
        stats.gauge_add(stat::DOWNSTREAM_CX_UPGRADES_ACTIVE, -1);
    }
    if stream.record.status != 0 && is_counted {
        stats.add(status_class(stream.record.status), 1);
    }
    // A request that the caller's codec refused says nothing about the cluster.
    let is_refused = stream.record.flag == Some(ResponseFlag::DownstreamProtocolError);
    if let Some(cluster) = &stream.cluster
        && stream.record.status != 0
        && stream.record.reached_router
        && !is_refused
        && is_counted
        && stream.manager.chain.router.dynamic_stats
    {
        stream.record.hides_status =
            stream.is_grpc && stream.manager.chain.router.suppress_grpc_request_failure_code_stats;
        let is_internal = stream.request.get(KnownName::XEnvoyInternal) == Some(b"true");
        let route = stream.rare.as_ref().and_then(|rare| rare.route_stats.as_ref());
        count_response(cluster, worker.shard, &stream.record, route, duration, is_internal);
    }
    if let Some(found) = worker.connections.get_mut(stream.downstream) {
        if let Some(codec) = &mut found.codec {
            codec.set_tag(stream.downstream_id, 0);
        }
        if let Role::Downstream(downstream) = &mut found.role {
            downstream.stream_ended(now);
            if !stream.record.went_on {
                count_for_listener(&downstream.chain, worker.shard, stream.record.status);
            }
            if stream.manager.logs_requests() {
                let entry = Entry::new(&stream, downstream, now).at(AccessLogType::DownstreamEnd);
                let logs = &stream.manager.logs.requests;
                logs.write(&entry, worker.shard, &mut worker.log_line);
            }
        }
        found.wake();
    }
    crate::downstream::after_request(worker, stream.downstream);
    if let Some(rare) = &stream.rare {
        mirror::on_original_ended(worker, &rare.mirrors);
    }
    worker.recycle(stream);
}
