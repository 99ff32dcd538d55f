//! How an endpoint's connection ends: drained, closed at once, or broken by the endpoint.

use std::time::Duration;

use codec::event::ConnectionError;
use telemetry::stats::cluster as stat;

use crate::connection::{Connection, Role};
use crate::failure::Failure;
use crate::pool;
use crate::slab::Key;
use crate::worker::Worker;

/// The peer sent GOAWAY: nothing new goes here, what it still answers is awaited.
pub(crate) fn on_goaway(worker: &mut Worker, key: Key<Connection>) {
    drain(worker, key);
}

/// Takes the connection out of its pool and closes it when its streams have ended.
pub(crate) fn drain(worker: &mut Worker, key: Key<Connection>) {
    let Some(connection) = worker.connections.get_mut(key) else {
        return;
    };
    let Role::Upstream(upstream) = &mut connection.role else {
        return;
    };
    if upstream.draining || upstream.connecting {
        return;
    }
    upstream.draining = true;
    let (pool, idle) = (upstream.pool, upstream.active_streams == 0);
    if idle {
        connection.begin_close(Duration::ZERO);
    }
    pool::on_draining(worker, pool, key);
}

/// Ends the connection at once, and what goes on on it.
pub(crate) fn close(worker: &mut Worker, key: Key<Connection>) {
    drain(worker, key);
    crate::pipeline::on_connection_closed(worker, key, Failure::ConnectionTermination);
    if let Some(connection) = worker.connections.get_mut(key) {
        connection.begin_close(Duration::ZERO);
        connection.wake();
    }
}

/// The endpoint broke the protocol: its streams end with that, and the connection is closed.
pub(crate) fn on_codec_error(worker: &mut Worker, key: Key<Connection>, error: &ConnectionError) {
    if let Some(Connection {
        role: Role::Upstream(upstream),
        ..
    }) = worker.connections.get_mut(key)
    {
        upstream
            .cluster
            .stats()
            .local(upstream.shard)
            .add(stat::UPSTREAM_CX_PROTOCOL_ERROR, 1);
        upstream.draining = true;
        let pool = upstream.pool;
        tracing::debug!(target: "upstream", violation = error.violation, "an endpoint broke the protocol");
        pool::on_draining(worker, pool, key);
    }
    crate::pipeline::on_connection_closed(worker, key, Failure::UpstreamProtocolError);
    if let Some(connection) = worker.connections.get_mut(key) {
        connection.begin_close(Duration::ZERO);
    }
}
