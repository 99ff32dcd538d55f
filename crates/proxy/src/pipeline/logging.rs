//! Entries in access logs, whenever one is due: of the request when it comes, every so often and at its end; of each try
//! likewise.

use std::time::Instant;

use config::access_log::AccessLogType;

use crate::access_log::Entry;
use crate::connection::Connection;
use crate::slab::Key;
use crate::stream::{Attempt, Stream};
use crate::upgrade::Upgrade;
use crate::worker::Worker;

/// Begins what is written while the request goes on, and writes that it has come, where that is configured.
pub(super) fn begin(worker: &mut Worker, key: Key<Stream>) {
    let Some(stream) = worker.streams.get_mut(key) else {
        return;
    };
    let manager = std::rc::Rc::clone(&stream.manager);
    if !manager.logs_requests() {
        return;
    }
    if let Some(interval) = manager.config.access_log_flush_interval {
        stream.rare.get_or_insert_default().log_at = Some(stream.record.started + interval);
    }
    if manager.config.flush_access_log_on_new_request {
        request(worker, key, AccessLogType::DownstreamStart);
    }
}

/// Writes that the endpoint has agreed to CONNECT, where that is configured.
pub(super) fn tunnel(worker: &mut Worker, key: Key<Stream>) {
    if let Some(stream) = worker.streams.get(key)
        && stream.manager.config.flush_log_on_tunnel_successfully_established
        && stream.upgrade().is_some_and(Upgrade::is_connect)
    {
        request(worker, key, AccessLogType::DownstreamTunnelSuccessfullyEstablished);
    }
}

/// Writes of the request.
fn request(worker: &mut Worker, key: Key<Stream>, moment: AccessLogType) {
    if let Some(stream) = worker.streams.get(key)
        && stream.manager.logs_requests()
        && let Some(downstream) = worker
            .connections
            .get(stream.downstream)
            .and_then(Connection::downstream)
    {
        let entry = Entry::new(stream, downstream, worker.now).at(moment);
        let logs = &stream.manager.logs.requests;
        logs.write(&entry, worker.shard, &mut worker.log_line);
    }
}

/// Writes of one try, where tries are logged.
pub(super) fn attempt(worker: &mut Worker, key: Key<Stream>, attempt: &Attempt, moment: AccessLogType) {
    if let Some(log) = &attempt.log
        && let Some(stream) = worker.streams.get(key)
        && let Some(downstream) = worker
            .connections
            .get(stream.downstream)
            .and_then(Connection::downstream)
    {
        let entry = Entry::new(stream, downstream, worker.now)
            .at(moment)
            .of_attempt(attempt, log);
        let logs = &stream.manager.logs.attempts;
        logs.write(&entry, worker.shard, &mut worker.log_line);
    }
}

/// Writes that the latest try has its connection.
pub(super) fn attempt_is_sent(worker: &mut Worker, key: Key<Stream>) {
    let taken = worker.streams.get_mut(key).and_then(|stream| stream.attempt.take());
    if let Some(latest) = taken {
        attempt(worker, key, &latest, AccessLogType::UpstreamPoolReady);
        if let Some(stream) = worker.streams.get_mut(key) {
            stream.attempt = Some(latest);
        }
    }
}

/// Writes what is due of a request that goes on.
pub(super) fn on_timer(worker: &mut Worker, key: Key<Stream>) {
    let now = worker.now;
    let is_due = |at: Option<Instant>| at.is_some_and(|at| at <= now);
    let Some(stream) = worker.streams.get_mut(key) else {
        return;
    };
    let manager = std::rc::Rc::clone(&stream.manager);
    if let Some(rare) = &mut stream.rare
        && is_due(rare.log_at)
    {
        rare.log_at = manager.config.access_log_flush_interval.map(|interval| now + interval);
        request(worker, key, AccessLogType::DownstreamPeriodic);
    }
    let Some(stream) = worker.streams.get(key) else {
        return;
    };
    if let Some(downstream) = worker
        .connections
        .get(stream.downstream)
        .and_then(Connection::downstream)
    {
        for attempt in stream.attempts() {
            if let Some(log) = &attempt.log
                && is_due(log.next_at)
            {
                let entry = Entry::new(stream, downstream, now)
                    .at(AccessLogType::UpstreamPeriodic)
                    .of_attempt(attempt, log);
                manager.logs.attempts.write(&entry, worker.shard, &mut worker.log_line);
            }
        }
    }
    let interval = manager.chain.router.upstream_log_flush_interval;
    if let Some(stream) = worker.streams.get_mut(key) {
        for log in stream.attempts_mut().filter_map(|attempt| attempt.log.as_mut()) {
            if is_due(log.next_at) {
                log.next_at = interval.map(|interval| now + interval);
            }
        }
    }
}
