//! How a caller's connection ends: asked to, once it has served enough or its filter chain is gone.

use std::time::{Duration, Instant};

use telemetry::stats::http as stat;

use super::Protocol;
use crate::connection::{Connection, Role};
use crate::drain::Draining;
use crate::slab::Key;
use crate::worker::Worker;

/// The rest of a connection whose filter chain is gone.
#[derive(Debug)]
pub(super) struct Retired {
    draining: Draining,
    /// When it is closed whatever it still does.
    pub(super) close_at: Instant,
}

/// The connection's filter chain is gone: its answers ask it to end as `draining` says, and it is closed at `close_at`
/// whatever it still does. As in Envoy an idle one of HTTP/1.1 stays open until then, so that no caller's request meets
/// a close; HTTP/2 can be told at once.
pub(crate) fn retire(worker: &mut Worker, key: Key<Connection>, draining: Draining, close_at: Instant) {
    let Some(connection) = worker.connections.get_mut(key) else {
        return;
    };
    let Role::Downstream(downstream) = &mut connection.role else {
        return;
    };
    if downstream.retired.is_some() {
        return;
    }
    downstream.retired = Some(Box::new(Retired { draining, close_at }));
    let is_http2 = downstream.protocol == Some(Protocol::Http2);
    connection.wake();
    if is_http2 {
        drain(worker, key);
    }
}

/// Before the head of an answer: a connection whose filter chain is gone may be asked to end with it.
pub(crate) fn before_answer(worker: &mut Worker, key: Key<Connection>) {
    let now = worker.now;
    if let Some(downstream) = worker.connections.get(key).and_then(Connection::downstream)
        && let Some(retired) = &downstream.retired
        && retired.draining.closes(now, telemetry::random::next())
    {
        drain(worker, key);
    }
}

/// Lets a connection end when its requests have: GOAWAY for HTTP/2 (in two phases), `connection:
/// close` with the next answer for HTTP/1.1.
pub(crate) fn drain(worker: &mut Worker, key: Key<Connection>) {
    let now = worker.now;
    let Some(connection) = worker.connections.get_mut(key) else {
        return;
    };
    let Role::Downstream(downstream) = &mut connection.role else {
        return;
    };
    if downstream.draining {
        return;
    }
    downstream.draining = true;
    downstream
        .manager
        .stats
        .local(downstream.shard)
        .add(stat::DOWNSTREAM_CX_DRAIN_CLOSE, 1);
    let idle = downstream.active_streams == 0;
    match (&mut connection.codec, downstream.protocol) {
        (Some(codec), Some(Protocol::Http2)) => {
            downstream.drain_started = Some(now);
            codec.drain(now);
            connection.wake();
        }
        (Some(codec), _) => {
            codec.drain(now);
            if idle {
                connection.begin_close(Duration::ZERO);
            }
        }
        (None, _) => connection.begin_close(Duration::ZERO),
    }
}

/// After each request: a connection that has served enough drains.
pub(crate) fn after_request(worker: &mut Worker, key: Key<Connection>) {
    if let Some(Connection {
        role: Role::Downstream(downstream),
        ..
    }) = worker.connections.get(key)
        && !downstream.draining
        && downstream.reached_max_requests()
    {
        downstream
            .manager
            .stats
            .local(downstream.shard)
            .add(stat::DOWNSTREAM_CX_MAX_REQUESTS_REACHED, 1);
        drain(worker, key);
    }
}
