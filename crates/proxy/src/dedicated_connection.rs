//! Upstream connections that one stream has to itself: tunnels that go to the endpoint without HTTP.

use std::time::Duration;

use crate::connection::{Connection, Role};
use crate::failure::Failure;
use crate::pool::{self, Pool};
use crate::slab::Key;
use crate::stream::Stream;
use crate::worker::Worker;

/// Gives a connection that is on its way to one stream alone.
pub(crate) fn dedicate(worker: &mut Worker, key: Key<Connection>, stream: Key<Stream>) {
    if let Some(Connection {
        role: Role::Upstream(upstream),
        ..
    }) = worker.connections.get_mut(key)
    {
        upstream.tunnel_of = Some(stream);
        upstream.is_dedicated = true;
    }
}

/// The connection is there: its stream gets it.
pub(crate) fn on_ready(worker: &mut Worker, stream: Key<Stream>, key: Key<Connection>) {
    if worker.streams.get(stream).is_some() {
        crate::pipeline::on_connection_ready(worker, stream, key);
    } else if let Some(connection) = worker.connections.get_mut(key) {
        // Whoever asked for it has gone.
        connection.begin_close(Duration::ZERO);
    }
}

/// Tells those who wait for a connection that it could not be made.
pub(crate) fn connect_failed(
    worker: &mut Worker,
    tunnel_of: Option<Key<Stream>>,
    pool: Key<Pool>,
    key: Key<Connection>,
    failure: Failure,
) {
    match tunnel_of {
        None => pool::on_connect_failure(worker, pool, key, failure),
        Some(stream) => crate::pipeline::on_attempt_failure(worker, stream, failure),
    }
}
