//! How a request ends: complete, by a local reply, by a reset from either side. Whatever way,
//! [`finish`] runs exactly once: it takes the record out of the slab.

use std::sync::Arc;
use std::time::Duration;

use codec::event::{ErrorCode, ResetReason, StreamId};
use codec::headers::HeaderBlock;
use codec::names::KnownName;
use telemetry::access_log::ResponseFlag;
use telemetry::stats::{
    Shard, cluster as cluster_stat, cluster_origin as origin_stat, http as stat, listener_http as listener_stat,
};
use upstream::cluster::ClusterHandle;

use super::{closing, filtering, mirror, response};
use crate::access_log::Entry;
use crate::chain::Chain;
use crate::connection::{Connection, Role};
use crate::failure::{Failure, Meaning, Refusal, grpc_status_of_http};
use crate::filters::http_filter::{LocalReply, ReplyKind};
use crate::local_reply;
use crate::response_headers;
use crate::slab::Key;
use crate::stream::{Phase, Record, Stream};
use crate::worker::Worker;

/// The answer has been passed on to its end.
pub(crate) fn complete(worker: &mut Worker, key: Key<Stream>) {
    closing::end(worker, key, None);
    let Some(stream) = worker.streams.get(key) else {
        return;
    };
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
    count(stream, failure, worker.shard);
    if stream.phase.has_answered() {
        return cut_off(worker, key, failure, ErrorCode::INTERNAL_ERROR);
    }
    local_reply(worker, key, meaning, failure.marking_header());
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

/// The caller's codec found fault with the rest of a request that has begun: it is answered, and ends.
pub(crate) fn refuse(worker: &mut Worker, key: Key<Stream>, status: u16, refusal: &Refusal) {
    closing::end(worker, key, Some(Failure::DownstreamGone));
    let Some(stream) = worker.streams.get_mut(key) else {
        return;
    };
    stream.record.flag = Some(ResponseFlag::DownstreamProtocolError);
    stream.record.details = refusal.details;
    let stats = stream.manager.stats.local(worker.shard);
    stats.add(stat::DOWNSTREAM_RQ_RX_RESET, 1);
    let form = (status, None, ReplyKind::Local);
    send_reply(worker, key, form, refusal.body.as_bytes(), |_| {});
}

/// Answers with what the route says, without an endpoint.
pub(crate) fn respond_directly(worker: &mut Worker, key: Key<Stream>, status: u16, body: Arc<[u8]>) {
    let Some(stream) = worker.streams.get_mut(key) else {
        return;
    };
    stream
        .manager
        .stats
        .local(worker.shard)
        .add(stat::RQ_DIRECT_RESPONSE, 1);
    stream.record.details = "direct_response";
    let reply = (status, None, ReplyKind::Local);
    send_reply(worker, key, reply, &body, |_| {});
}

/// Answers with what a filter says.
pub(super) fn reply(worker: &mut Worker, key: Key<Stream>, reply: LocalReply) {
    // An endpoint that has part of the request already learns that nobody waits for its answer.
    closing::end(worker, key, Some(Failure::DownstreamGone));
    let Some(stream) = worker.streams.get_mut(key) else {
        return;
    };
    if let Some(flag) = reply.flag {
        stream.record.filter_flags.set(flag);
    }
    stream.record.details = reply.details;
    if stream.phase.has_answered() {
        let (connection, id) = (stream.downstream, stream.downstream_id);
        super::reset(worker, connection, id, ErrorCode::INTERNAL_ERROR);
        return finish(worker, key);
    }
    let form = (reply.status, reply.grpc_status, reply.kind);
    send_reply(worker, key, form, &reply.body, |head| {
        for (name, value) in &reply.headers {
            head.append(name.as_bytes(), value);
        }
    });
}

/// Sends the caller to the path that the one it asked for stands for.
pub(crate) fn redirect_to_path(worker: &mut Worker, key: Key<Stream>, path: &[u8]) {
    let Some(stream) = worker.streams.get_mut(key) else {
        return;
    };
    let stats = stream.manager.stats.local(worker.shard);
    stats.add(stat::DOWNSTREAM_RQ_REDIRECTED_WITH_NORMALIZED_PATH, 1);
    stream.record.details = Failure::PathNotNormal.meaning().details;
    send_reply(worker, key, (307, None, ReplyKind::Local), b"", |head| {
        head.append(KnownName::Location, path);
    });
}

/// Refuses a request for the name of a header: as Envoy does, HTTP/2 resets the stream and HTTP/1.1 answers.
pub(crate) fn refuse_name(worker: &mut Worker, key: Key<Stream>) {
    let Some(stream) = worker.streams.get_mut(key) else {
        return;
    };
    let (connection, id) = (stream.downstream, stream.downstream_id);
    let is_http2 = worker
        .connections
        .get(connection)
        .and_then(|found| found.codec.as_ref())
        .is_some_and(codec::Connection::is_h2);
    if !is_http2 {
        return fail(worker, key, Failure::UnderscoreInName);
    }
    let meaning = Failure::UnderscoreInName.meaning();
    stream.record.flag = meaning.flag;
    stream.record.details = meaning.details;
    super::reset(worker, connection, id, ErrorCode::PROTOCOL_ERROR);
    finish(worker, key);
}

/// Sends the caller elsewhere.
pub(crate) fn redirect(worker: &mut Worker, key: Key<Stream>, status: u16, location: &[u8]) {
    let Some(stream) = worker.streams.get_mut(key) else {
        return;
    };
    let stats = stream.manager.stats.local(worker.shard);
    // Envoy counts redirects so, and never as `rq_redirect`.
    stats.add(stat::RQ_DIRECT_RESPONSE, 1);
    stream.record.details = "direct_response";
    send_reply(worker, key, (status, None, ReplyKind::Local), b"", |head| {
        head.append(KnownName::Location, location);
    });
}

fn local_reply(worker: &mut Worker, key: Key<Stream>, meaning: Meaning, marking: Option<&'static [u8]>) {
    let Some(stream) = worker.streams.get_mut(key) else {
        return;
    };
    stream.record.details = match stream.record.transport_failure {
        Some(cause) => cause.details(),
        None => meaning.details,
    };
    let status = match (meaning.flag, stream.cluster_not_found_status()) {
        (Some(ResponseFlag::NoClusterFound), Some(status)) => status,
        // Envoy: it is the caller who was slow as long as his request is not complete.
        _ if meaning.details == Failure::DownstreamMaxDuration.meaning().details && stream.body.complete => 504,
        _ => meaning.status,
    };
    let of_retry = match meaning.body.split_once("reset reason") {
        // What was sent again because it was provably not processed is no retry of the route's.
        Some((before, after)) if stream.record.attempts > 1 + u32::from(stream.transparent_retries) => {
            Some([before, "retried and the latest reset reason", after].concat())
        }
        _ => None,
    };
    send_reply(
        worker,
        key,
        (status, meaning.grpc_status, ReplyKind::Local),
        of_retry.as_deref().unwrap_or(meaning.body).as_bytes(),
        |head| {
            if let Some(name) = marking {
                head.append(name, b"true");
            }
        },
    );
}

/// Sends an answer made here, in the caller's own form: to a gRPC caller always a gRPC answer.
fn send_reply(
    worker: &mut Worker,
    key: Key<Stream>,
    (status, grpc_status, kind): (u16, Option<u8>, ReplyKind),
    body: &[u8],
    add: impl FnOnce(&mut HeaderBlock),
) {
    let mut head = worker.take_block();
    let Some(stream) = worker.streams.get_mut(key) else {
        return worker.give_block(head);
    };
    stream.phase = Phase::Responding;
    stream.record.local_reply = true;
    let is_own = kind == ReplyKind::Own;
    let is_grpc = stream.is_grpc && !is_own;
    head.clear();
    head.set_status(if is_grpc { 200 } else { status });
    add(&mut head);
    // As in Envoy, the route's headers are made before the status is known.
    if !is_own {
        response_headers::apply_route_lists(worker, key, &mut head);
    }
    if let Some(stream) = worker.streams.get_mut(key) {
        stream.record.status = status;
        stream.record.counted_status = status;
    }
    let reply = match is_own {
        true => local_reply::Reply::unchanged(status, body),
        false => local_reply::rewrite(worker, key, &mut head, status, body),
    };
    let Some(stream) = worker.streams.get_mut(key) else {
        return worker.give_block(head);
    };
    let body = &*reply.body;
    let end_with_head = if is_grpc {
        let code = grpc_status
            .filter(|_| reply.status == status)
            .unwrap_or_else(|| grpc_status_of_http(reply.status));
        stream.record.status = 200;
        stream.record.grpc_status = Some(code.into());
        response_headers::grpc_reply(&mut head, code, reply.grpc_message());
        true
    } else {
        stream.record.status = reply.status;
        head.set_status(reply.status);
        response_headers::http_body(&mut head, body, reply.content_type.as_deref());
        body.is_empty() || stream.is_head
    };
    filtering::on_response_head(worker, key, &mut head, end_with_head);
    let Some(stream) = worker.streams.get_mut(key) else {
        return worker.give_block(head);
    };
    stream.record.status = head.status().unwrap_or(status);
    response_headers::finish(
        &mut head,
        &stream.manager,
        worker.date.value(worker.now),
        stream.request_id(),
    );
    stream.record.keep_head(&stream.manager, &head);
    let ends_connection = [
        Failure::UpgradeNotAllowed,
        Failure::MissingHost,
        Failure::UnderscoreInName,
    ]
    .iter()
    .any(|failure| stream.record.details == failure.meaning().details);
    if (ends_connection || !stream.body.complete)
        && worker
            .connections
            .get(stream.downstream)
            .and_then(|found| found.codec.as_ref())
            .is_some_and(|codec| !codec.is_h2())
    {
        // Nobody reads what still comes, or it may be of another protocol: the connection ends with this answer.
        head.append(KnownName::Connection, b"close");
    }
    response::send_head(worker, key, &head, end_with_head);
    worker.give_block(head);
    if !end_with_head && let Some(stream) = worker.streams.get_mut(key) {
        stream.record.bytes_sent += body.len() as u64;
        let (connection, id) = (stream.downstream, stream.downstream_id);
        send_body(worker, connection, id, body);
    }
    complete(worker, key);
}

fn send_body(worker: &mut Worker, connection: Key<Connection>, id: StreamId, body: &[u8]) {
    if let Some(found) = worker.connections.get_mut(connection)
        && let Some(codec) = found.open_codec()
    {
        // Refused only if the stream has gone, which its own event tells.
        let _ = codec.send_data(id, body, true);
        found.wake();
    }
}

/// Drops a request whose stream is reset already.
pub(super) fn abandon(worker: &mut Worker, key: Key<Stream>) {
    finish(worker, key);
}

/// The end of every request: statistics, access log, and the record is gone.
fn finish(worker: &mut Worker, key: Key<Stream>) {
    let Some(mut stream) = worker.streams.remove(key) else {
        return;
    };
    worker.disarm(stream.timer);
    filtering::on_finish(worker, &mut stream);
    let now = worker.now;
    let duration = now.saturating_duration_since(stream.record.started);
    let stats = stream.manager.stats.local(worker.shard);
    stats.gauge_add(stat::DOWNSTREAM_RQ_ACTIVE, -1);
    stats.add(stat::DOWNSTREAM_RQ_COMPLETED, u64::from(!stream.record.health_check));
    stats.record(stat::DOWNSTREAM_RQ_TIME, duration.as_millis() as u64);
    if stream.upgrade().is_some_and(|upgrade| upgrade.allowed) {
        stats.gauge_add(stat::DOWNSTREAM_CX_UPGRADES_ACTIVE, -1);
    }
    if stream.record.status != 0 && !stream.record.health_check {
        stats.add(status_class(stream.record.status), 1);
    }
    // A request that the caller's codec refused says nothing about the cluster.
    let is_refused = stream.record.flag == Some(ResponseFlag::DownstreamProtocolError);
    if let Some(cluster) = &stream.cluster
        && stream.record.status != 0
        && stream.record.reached_router
        && !is_refused
        && !stream.record.health_check
    {
        let is_internal = stream.request.get(KnownName::XEnvoyInternal) == Some(b"true");
        count_response(cluster, worker.shard, &stream.record, duration, is_internal);
    }
    if let Some(found) = worker.connections.get_mut(stream.downstream) {
        if let Some(codec) = &mut found.codec {
            codec.set_tag(stream.downstream_id, 0);
        }
        if let Role::Downstream(downstream) = &mut found.role {
            downstream.stream_ended(now);
            count_for_listener(&downstream.chain, worker.shard, stream.record.status);
            if stream.manager.logs_requests() {
                let entry = Entry {
                    stream: &stream,
                    downstream,
                    response: None,
                    now,
                };
                stream
                    .manager
                    .access_logs
                    .write(&entry, worker.shard, &mut worker.log_line);
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

/// A copy of a request has ended: its cluster counts the answer.
pub(super) fn count_mirror(worker: &Worker, copy: &Stream) {
    if let Some(cluster) = &copy.cluster
        && copy.record.status != 0
    {
        let duration = worker.now.saturating_duration_since(copy.record.started);
        count_response(cluster, worker.shard, &copy.record, duration, true);
    }
}

fn count(stream: &Stream, failure: Failure, shard: Shard) {
    let stats = stream.manager.stats.local(shard);
    match failure {
        Failure::NoRoute => stats.add(stat::NO_ROUTE, 1),
        Failure::NoCluster => stats.add(stat::NO_CLUSTER, 1),
        Failure::StreamIdle => stats.add(stat::DOWNSTREAM_RQ_IDLE_TIMEOUT, 1),
        Failure::RequestTimeout => stats.add(stat::DOWNSTREAM_RQ_TIMEOUT, 1),
        Failure::PathNotNormal => stats.add(stat::DOWNSTREAM_RQ_FAILED_PATH_NORMALIZATION, 1),
        Failure::PathNotAbsolute => stats.add(stat::DOWNSTREAM_RQ_NON_RELATIVE_PATH, 1),
        Failure::DownstreamMaxDuration => stats.add(stat::DOWNSTREAM_RQ_MAX_DURATION_REACHED, 1),
        Failure::Overflow | Failure::DropOverload | Failure::UnconditionalDropOverload => {
            if let Some(cluster) = &stream.cluster {
                cluster.count_dropped();
            }
        }
        _ => {}
    }
}

/// The listener's share of what became of a request.
pub(crate) fn count_for_listener(chain: &Chain, shard: Shard, status: u16) {
    let Some(stats) = &chain.listener_http_stats else {
        return;
    };
    let stats = stats.local(shard);
    stats.add(listener_stat::DOWNSTREAM_RQ_COMPLETED, 1);
    match status / 100 {
        0 => {}
        1 => stats.add(listener_stat::DOWNSTREAM_RQ_1XX, 1),
        2 => stats.add(listener_stat::DOWNSTREAM_RQ_2XX, 1),
        3 => stats.add(listener_stat::DOWNSTREAM_RQ_3XX, 1),
        4 => stats.add(listener_stat::DOWNSTREAM_RQ_4XX, 1),
        _ => stats.add(listener_stat::DOWNSTREAM_RQ_5XX, 1),
    }
}

/// The cluster's share of what became of a request; answers made here count, as in Envoy.
fn count_response(cluster: &ClusterHandle, shard: Shard, record: &Record, duration: Duration, is_internal: bool) {
    let status = if record.local_reply {
        record.counted_status
    } else {
        record.status
    };
    let (stats, times) = (cluster.stats().local(shard), record.counted_times);
    let (class, origin_class) = match status / 100 {
        1 => (cluster_stat::UPSTREAM_RQ_1XX, origin_stat::UPSTREAM_RQ_1XX),
        2 => (cluster_stat::UPSTREAM_RQ_2XX, origin_stat::UPSTREAM_RQ_2XX),
        3 => (cluster_stat::UPSTREAM_RQ_3XX, origin_stat::UPSTREAM_RQ_3XX),
        4 => (cluster_stat::UPSTREAM_RQ_4XX, origin_stat::UPSTREAM_RQ_4XX),
        _ => (cluster_stat::UPSTREAM_RQ_5XX, origin_stat::UPSTREAM_RQ_5XX),
    };
    let origin = cluster.state().origin_stats(is_internal).local(shard);
    stats.add(class, times);
    stats.add(cluster_stat::UPSTREAM_RQ_COMPLETED, times);
    origin.add(origin_stat::UPSTREAM_RQ_COMPLETED, times);
    origin.add(origin_class, times);
    for _ in 0..times {
        stats.count_code(cluster_stat::UPSTREAM_RQ_CODE, status);
        origin.count_code(origin_stat::UPSTREAM_RQ_CODE, status);
    }
    if !record.local_reply {
        stats.record(cluster_stat::UPSTREAM_RQ_TIME, duration.as_millis() as u64);
        origin.record(origin_stat::UPSTREAM_RQ_TIME, duration.as_millis() as u64);
    }
}

fn status_class(status: u16) -> telemetry::stats::Counter {
    match status / 100 {
        1 => stat::DOWNSTREAM_RQ_1XX,
        2 => stat::DOWNSTREAM_RQ_2XX,
        3 => stat::DOWNSTREAM_RQ_3XX,
        4 => stat::DOWNSTREAM_RQ_4XX,
        _ => stat::DOWNSTREAM_RQ_5XX,
    }
}
