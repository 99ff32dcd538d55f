//! Requests that a caller's codec refuses: answered where HTTP/1.1 can be, counted and logged as any other.

use std::rc::Rc;
use std::time::Duration;

use codec::event::{ConnectionError, StreamId};
use codec::stats::Stat;
use config::access_log::AccessLogType;
use telemetry::access_log::ResponseFlag;
use telemetry::stats::http as stat;

use super::Protocol;
use crate::access_log::Entry;
use crate::connection::{Connection, Role};
use crate::failure::{Failure, Refusal};
use crate::slab::Key;
use crate::stream::Stream;
use crate::worker::Worker;

/// The caller broke the protocol. HTTP/1.1 gets an answer where one is possible; HTTP/2's GOAWAY
/// is in the output already.
pub(crate) fn on_codec_error(worker: &mut Worker, key: Key<Connection>, error: &ConnectionError) {
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
    if error.stat == Stat::RapidReset {
        let stats = manager.stats.local(downstream.shard);
        stats.add(stat::DOWNSTREAM_RQ_TOO_MANY_PREMATURE_RESETS, 1);
    }
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
                .is_some_and(|stream| !stream.phase.has_answered())
        });
    if let Some((stream, answer)) = under_way {
        crate::pipeline::answer::refuse(worker, stream, answer.status, &refusal);
        return end_refused(worker, key, linger);
    }
    let is_of_a_message = matches!(error.stat, Stat::RxMessagingError | Stat::HeaderOverflow);
    if let Some(answer) = error.answer {
        crate::pipeline::request::refuse(worker, key, answer, &refusal);
    } else if is_h2 && is_of_a_message {
        record_refusal(worker, key, &refusal);
    }
    end_refused(worker, key, linger);
}

fn end_refused(worker: &mut Worker, key: Key<Connection>, linger: Duration) {
    crate::pipeline::on_connection_closed(worker, key, Failure::ConnectionTermination);
    if let Some(connection) = worker.connections.get_mut(key) {
        connection.begin_close(linger);
    }
}

/// A request that HTTP/2's codec refused has no stream and no answer; access logs know of it all the same.
fn record_refusal(worker: &mut Worker, key: Key<Connection>, refusal: &Refusal) {
    let (now, block, snapshot) = (worker.now, worker.take_block(), Rc::clone(&worker.snapshot));
    let Some(Connection {
        role: Role::Downstream(downstream),
        ..
    }) = worker.connections.get(key)
    else {
        return worker.give_block(block);
    };
    let manager = Rc::clone(&downstream.manager);
    if !manager.logs_requests() {
        return worker.give_block(block);
    }
    let mut stream = Stream::new((key, StreamId::default()), manager, snapshot, block, now);
    stream.record.flag = Some(ResponseFlag::DownstreamProtocolError);
    stream.record.details = refusal.details;
    stream.record.local_reply = true;
    stream.record.bytes_sent = refusal.body.len() as u64;
    let entry = Entry::new(&stream, downstream, now).at(AccessLogType::DownstreamEnd);
    let logs = &stream.manager.logs.requests;
    logs.write(&entry, worker.shard, &mut worker.log_line);
    worker.recycle(stream);
}
