//! Requests that a caller's codec refuses: answered where HTTP/1.1 can be, counted and logged as any other.

use std::rc::Rc;
use std::time::Duration;

use codec::event::{ConnectionError, StreamId};
use codec::stats::Stat;
use telemetry::access_log::ResponseFlag;
use telemetry::stats::http as stat;

use super::Protocol;
use crate::access_log::Entry;
use crate::connection::{Connection, Role};
use crate::failure::{Failure, Refusal};
use crate::slab::Key;
use crate::stream::{Phase, Stream};
use crate::worker::Worker;

/// The caller broke the protocol. HTTP/1.1 gets an answer where one is possible; HTTP/2's GOAWAY
/// is in the output already.
pub(crate) fn on_codec_error(worker: &mut Worker, key: Key<Connection>, error: &ConnectionError) {
    let now = worker.now;
    let Some(connection) = worker.connections.get_mut(key) else {
        return;
    };
    let Role::Downstream(downstream) = &mut connection.role else {
        return;
    };
    let manager = Rc::clone(&downstream.manager);
    manager
        .stats
        .local(downstream.shard)
        .add(stat::DOWNSTREAM_CX_PROTOCOL_ERROR, 1);
    let linger = manager.config.delayed_close_timeout.unwrap_or_default();
    let is_h2 = downstream.protocol == Some(Protocol::Http2);
    let refusal = Refusal::of(error, is_h2);
    let under_way = error
        .answer
        .and_then(|answer| crate::pipeline::stream_of(worker, key, answer.stream).map(|stream| (stream, answer)))
        .filter(|(stream, _)| {
            worker
                .streams
                .get(*stream)
                .is_some_and(|stream| stream.phase != Phase::Responding)
        });
    if let Some((stream, answer)) = under_way {
        crate::pipeline::finish::refuse(worker, stream, answer.status, &refusal);
        return end_refused(worker, key, linger);
    }
    let Some(connection) = worker.connections.get_mut(key) else {
        return;
    };
    let Role::Downstream(downstream) = &mut connection.role else {
        return;
    };
    if let Some(answer) = error.answer
        && let Some(codec) = &mut connection.codec
    {
        let stats = manager.stats.local(downstream.shard);
        stats.add(stat::DOWNSTREAM_RQ_TOTAL, 1);
        stats.add(stat::DOWNSTREAM_RQ_HTTP1_TOTAL, 1);
        stats.add(stat::DOWNSTREAM_RQ_4XX, u64::from(answer.status < 500));
        stats.add(stat::DOWNSTREAM_RQ_5XX, u64::from(answer.status >= 500));
        stats.add(stat::DOWNSTREAM_RQ_COMPLETED, 1);
        // As in Envoy, whose codec resets what it has answered.
        stats.add(stat::DOWNSTREAM_RQ_RESPONSE_BEFORE_RQ_COMPLETE, 1);
        stats.add(stat::DOWNSTREAM_RQ_RX_RESET, 1);
        let body = refusal.body;
        let mut head = codec::headers::HeaderBlock::new();
        crate::response_headers::http_reply(&mut head, answer.status, body.as_bytes(), |_| {});
        crate::response_headers::finish(&mut head, &manager, worker.date.value(now), None);
        // Refused only if the connection can't take an answer, and then there is none to send.
        if codec.send_head(answer.stream, &head, body.is_empty()).is_ok() && !body.is_empty() {
            let _ = codec.send_data(answer.stream, body.as_bytes(), true);
        }
    }
    let is_of_a_message = matches!(error.stat, Stat::RxMessagingError | Stat::HeaderOverflow);
    if error.answer.is_some() || (is_h2 && is_of_a_message) {
        record_refusal(worker, key, &refusal, error.answer.map_or(0, |answer| answer.status));
    }
    end_refused(worker, key, linger);
}

fn end_refused(worker: &mut Worker, key: Key<Connection>, linger: Duration) {
    crate::pipeline::on_connection_closed(worker, key, Failure::ConnectionTermination);
    if let Some(connection) = worker.connections.get_mut(key) {
        connection.begin_close(linger);
    }
}

/// A request that the codec refused has no stream; statistics and access logs know of it all the same.
fn record_refusal(worker: &mut Worker, key: Key<Connection>, refusal: &Refusal, status: u16) {
    let (now, block, snapshot) = (worker.now, worker.take_block(), Rc::clone(&worker.snapshot));
    let Some(Connection {
        role: Role::Downstream(downstream),
        ..
    }) = worker.connections.get(key)
    else {
        return worker.give_block(block);
    };
    if status != 0 {
        crate::pipeline::finish::count_for_listener(&downstream.chain, worker.shard, status);
    }
    let manager = Rc::clone(&downstream.manager);
    if !manager.logs_requests() {
        return worker.give_block(block);
    }
    let mut stream = Stream::new((key, StreamId::default()), manager, snapshot, block, now);
    stream.record.status = status;
    stream.record.flag = Some(ResponseFlag::DownstreamProtocolError);
    stream.record.details = refusal.details;
    stream.record.local_reply = true;
    stream.record.bytes_sent = refusal.body.len() as u64;
    let entry = Entry {
        stream: &stream,
        downstream,
        now,
    };
    stream
        .manager
        .access_logs
        .write(&entry, worker.shard, &mut worker.log_line);
    worker.recycle(stream);
}
