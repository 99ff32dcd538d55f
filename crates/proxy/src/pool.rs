//! A worker's upstream connections, one pool for each endpoint.
//!
//! HTTP/2: streams share a connection until the peer's limit on concurrent streams, then another
//! one is opened. HTTP/1.1: one request at a time on a connection. Requests without a connection
//! wait in the pool; their number is bounded by the cluster's `max_pending_requests`.

use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::Arc;

use config::cluster::UpstreamProtocol;
use telemetry::stats::cluster as stat;
use upstream::breaker::{Permit, RoutingPriority};
use upstream::cluster::ClusterHandle;
use upstream::endpoint::EndpointState;

use crate::connection::Connection;
use crate::failure::Failure;
use crate::slab::{Key, Slab};
use crate::stream::Stream;
use crate::worker::Worker;

/// A place among the requests that wait for a connection.
pub(crate) type PendingPermit = Permit;

/// Streams that a connection still in its handshake is expected to take before another one is
/// opened beside it (Envoy assumes as much before SETTINGS arrive).
const EXPECTED_HTTP2_STREAMS: usize = 100;

/// Connections to one endpoint.
pub(crate) struct Pool {
    pub(crate) endpoint: Arc<EndpointState>,
    /// The cluster as the last request saw it: what new connections are made from.
    pub(crate) cluster: Arc<ClusterHandle>,
    /// Connections that can take a stream.
    ready: Vec<Key<Connection>>,
    /// Connections on their way.
    connecting: Vec<Key<Connection>>,
    /// Connections of any state.
    pub(crate) connections: usize,
    /// Requests that wait, oldest first. One that ended meanwhile is skipped when its turn comes.
    pending: VecDeque<Key<Stream>>,
}

/// All pools of a worker.
pub(crate) struct Pools {
    pools: Slab<Pool>,
    by_endpoint: HashMap<usize, Key<Pool>, BuildHasherDefault<PointerHasher>>,
}

/// What [`acquire`] found.
pub(crate) enum Acquired {
    /// Send on this connection now.
    Ready(Key<Connection>),
    /// The stream is in the pool's queue; it will be told.
    Pending(PendingPermit),
}

impl Pools {
    pub(crate) fn new() -> Self {
        Pools {
            pools: Slab::new(),
            by_endpoint: HashMap::default(),
        }
    }

    /// The endpoint's pool, made if there is none. A pool keeps its endpoint alive, so an address
    /// in memory names it for as long as the pool lives.
    fn of_endpoint(&mut self, endpoint: &Arc<EndpointState>, cluster: &Arc<ClusterHandle>) -> Key<Pool> {
        let pointer = Arc::as_ptr(endpoint) as usize;
        if let Some(key) = self.by_endpoint.get(&pointer) {
            return *key;
        }
        let key = self.pools.insert(Pool {
            endpoint: Arc::clone(endpoint),
            cluster: Arc::clone(cluster),
            ready: Vec::new(),
            connecting: Vec::new(),
            connections: 0,
            pending: VecDeque::new(),
        });
        self.by_endpoint.insert(pointer, key);
        key
    }

    fn remove_if_unused(&mut self, key: Key<Pool>) {
        if let Some(pool) = self.pools.get(key)
            && pool.connections == 0
            && pool.pending.is_empty()
        {
            let pointer = Arc::as_ptr(&pool.endpoint) as usize;
            self.by_endpoint.remove(&pointer);
            self.pools.remove(key);
        }
    }
}

/// Finds a connection to `endpoint` for `stream`, or queues the stream and sees to it that a
/// connection is on its way.
///
/// # Errors
/// [`Failure::Overflow`] when `max_pending_requests` is reached.
pub(crate) fn acquire(
    worker: &mut Worker,
    stream: Key<Stream>,
    endpoint: &Arc<EndpointState>,
    cluster: &Arc<ClusterHandle>,
    priority: RoutingPriority,
) -> Result<Acquired, Failure> {
    let key = worker.pools.of_endpoint(endpoint, cluster);
    let Some(pool) = worker.pools.pools.get_mut(key) else {
        return Err(Failure::NoHealthyUpstream);
    };
    if !Arc::ptr_eq(&pool.cluster, cluster) {
        pool.cluster = Arc::clone(cluster);
    }
    while let Some(candidate) = pool.ready.last().copied() {
        let usable = worker
            .connections
            .get_mut(candidate)
            .and_then(Connection::open_codec)
            .is_some_and(|codec| codec.streams_available() > 0);
        if usable {
            return Ok(Acquired::Ready(candidate));
        }
        pool.ready.pop();
    }
    let permit = cluster
        .try_acquire_pending(worker.shard, priority)
        .ok_or(Failure::Overflow)?;
    cluster
        .stats()
        .local(worker.shard)
        .add(stat::UPSTREAM_RQ_PENDING_TOTAL, 1);
    pool.pending.push_back(stream);
    grow(worker, key, priority);
    Ok(Acquired::Pending(permit))
}

/// Opens a connection that one stream has to itself, for a tunnel without HTTP; the stream will be told.
///
/// # Errors
/// [`Failure::Overflow`] when `max_connections` is reached.
pub(crate) fn open_tunnel(
    worker: &mut Worker,
    stream: Key<Stream>,
    endpoint: &Arc<EndpointState>,
    cluster: &Arc<ClusterHandle>,
    priority: RoutingPriority,
) -> Result<(), Failure> {
    let key = worker.pools.of_endpoint(endpoint, cluster);
    let Some(pool) = worker.pools.pools.get_mut(key) else {
        return Err(Failure::NoHealthyUpstream);
    };
    let permit = cluster
        .try_acquire_connection(worker.shard, priority, pool.connections == 0)
        .ok_or(Failure::Overflow)?;
    pool.connections += 1;
    let (endpoint, cluster) = (Arc::clone(endpoint), Arc::clone(cluster));
    let connection = crate::upstream_connection::open(worker, key, endpoint, cluster, permit);
    crate::dedicated_connection::dedicate(worker, connection, stream);
    Ok(())
}

/// Whether connections to a cluster can carry many requests at a time.
fn may_speak_http2(cluster: &ClusterHandle) -> bool {
    !matches!(
        cluster.config().http_protocol_options.upstream_protocol,
        UpstreamProtocol::Http1(_)
    )
}

/// Opens a connection if those on their way will not take all that wait.
fn grow(worker: &mut Worker, key: Key<Pool>, priority: RoutingPriority) {
    let Some(pool) = worker.pools.pools.get_mut(key) else {
        return;
    };
    let expected = if may_speak_http2(&pool.cluster) {
        EXPECTED_HTTP2_STREAMS
    } else {
        1
    };
    if pool.pending.len() <= pool.connecting.len() * expected {
        return;
    }
    // As in Envoy, a pool that has no connection may always open one.
    let Some(permit) = pool
        .cluster
        .try_acquire_connection(worker.shard, priority, pool.connections == 0)
    else {
        return;
    };
    pool.connections += 1;
    let endpoint = Arc::clone(&pool.endpoint);
    let cluster = Arc::clone(&pool.cluster);
    let connection = crate::upstream_connection::open(worker, key, endpoint, cluster, permit);
    if let Some(pool) = worker.pools.pools.get_mut(key) {
        pool.connecting.push(connection);
    }
}

/// A connection finished its handshake: those who wait get it.
pub(crate) fn on_ready(worker: &mut Worker, key: Key<Pool>, connection: Key<Connection>) {
    if let Some(pool) = worker.pools.pools.get_mut(key) {
        pool.connecting.retain(|other| *other != connection);
        pool.ready.push(connection);
    }
    serve_pending(worker, key);
}

/// A stream ended on a connection, or the peer allows more: it can be used again.
pub(crate) fn on_capacity(worker: &mut Worker, key: Key<Pool>, connection: Key<Connection>) {
    let Some(pool) = worker.pools.pools.get_mut(key) else {
        return;
    };
    if !pool.ready.contains(&connection) && !pool.connecting.contains(&connection) {
        pool.ready.push(connection);
    }
    if !pool.pending.is_empty() {
        serve_pending(worker, key);
    }
}

/// Gives connections to waiting streams, oldest first.
fn serve_pending(worker: &mut Worker, key: Key<Pool>) {
    loop {
        let Some(pool) = worker.pools.pools.get_mut(key) else {
            return;
        };
        if pool.pending.is_empty() {
            return;
        }
        let Some(connection) = pool.ready.last().copied() else {
            break;
        };
        let usable = worker
            .connections
            .get_mut(connection)
            .and_then(Connection::open_codec)
            .is_some_and(|codec| codec.streams_available() > 0);
        if !usable {
            pool.ready.pop();
            continue;
        }
        let Some(stream) = pool.pending.pop_front() else {
            return;
        };
        crate::pipeline::on_connection_ready(worker, stream, connection);
    }
    grow(worker, key, RoutingPriority::Default);
}

/// A connection could not be made: everything that waits in the pool fails with it, as in Envoy.
pub(crate) fn on_connect_failure(worker: &mut Worker, key: Key<Pool>, connection: Key<Connection>, failure: Failure) {
    let Some(pool) = worker.pools.pools.get_mut(key) else {
        return;
    };
    pool.connecting.retain(|other| *other != connection);
    let failed = std::mem::take(&mut pool.pending);
    let stats = pool.cluster.stats().local(worker.shard);
    stats.add(stat::UPSTREAM_RQ_PENDING_FAILURE_EJECT, failed.len() as u64);
    for stream in failed {
        crate::pipeline::on_attempt_failure(worker, stream, failure);
    }
}

/// A connection takes no new streams (GOAWAY, drain, limit reached).
pub(crate) fn on_draining(worker: &mut Worker, key: Key<Pool>, connection: Key<Connection>) {
    if let Some(pool) = worker.pools.pools.get_mut(key) {
        pool.ready.retain(|other| *other != connection);
    }
}

/// A connection is gone.
pub(crate) fn on_removed(worker: &mut Worker, key: Key<Pool>, connection: Key<Connection>) {
    let Some(pool) = worker.pools.pools.get_mut(key) else {
        return;
    };
    pool.ready.retain(|other| *other != connection);
    pool.connecting.retain(|other| *other != connection);
    pool.connections -= 1;
    if pool.pending.is_empty() {
        worker.pools.remove_if_unused(key);
    } else {
        grow(worker, key, RoutingPriority::Default);
    }
}

/// Takes a stream that ended out of the queue.
pub(crate) fn forget(worker: &mut Worker, endpoint: &Arc<EndpointState>, stream: Key<Stream>) {
    let pointer = Arc::as_ptr(endpoint) as usize;
    if let Some(key) = worker.pools.by_endpoint.get(&pointer)
        && let Some(pool) = worker.pools.pools.get_mut(*key)
    {
        let before = pool.pending.len();
        pool.pending.retain(|other| *other != stream);
        let stats = pool.cluster.stats().local(worker.shard);
        stats.add(stat::UPSTREAM_RQ_CANCELLED, (before - pool.pending.len()) as u64);
    }
}

/// Hashes the address of an endpoint: distinct, aligned, and not chosen by a peer.
#[derive(Default)]
pub(crate) struct PointerHasher(u64);

impl Hasher for PointerHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_usize(usize::from(*byte));
        }
    }

    fn write_usize(&mut self, value: usize) {
        self.0 = (self.0 ^ value as u64)
            .wrapping_mul(0x9e37_79b9_7f4a_7c15)
            .rotate_left(26);
    }
}
