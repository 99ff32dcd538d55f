//! A worker's upstream connections, one pool for each endpoint.
//!
//! HTTP/2: streams share a connection until the peer's limit on concurrent streams, then another
//! one is opened. HTTP/1.1: one request at a time on a connection. Requests without a connection
//! wait in the pool; their number is bounded by the cluster's `max_pending_requests`.

use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasherDefault, Hasher};
use std::net::IpAddr;
use std::sync::Arc;

use config::cluster::UpstreamProtocol;
use telemetry::stats::{Shard, cluster as stat};
use upstream::breaker::{Permit, RoutingPriority};
use upstream::cluster::ClusterHandle;
use upstream::endpoint::EndpointState;

use crate::connection::Connection;
use crate::failure::Failure;
use crate::filters::istio_alpn::Protocols;
use crate::slab::{Key, Slab};
use crate::stream::Stream;
use crate::worker::Worker;

mod growth;
mod pending;

use growth::{grow, predict};
use pending::Pending;
pub(crate) use pending::PendingPermit;

/// What connections to one endpoint may differ in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Kind<'a> {
    /// Whether HTTP/2 is spoken, where the caller decides that (`use_downstream_protocol_config`).
    pub(crate) http2: Option<bool>,
    /// The server name of TLS, where the request decides that (`auto_sni`).
    pub(crate) server_name: Option<&'a str>,
    /// What TLS offers, where the request's filters decide that (`istio.alpn`).
    pub(crate) alpn: Option<&'a Arc<Protocols>>,
    /// The caller's connection, where each has connections of its own (`connection_pool_per_downstream_connection`).
    pub(crate) caller: Option<Key<Connection>>,
}

impl<'a> Kind<'a> {
    /// What a request of this caller needs.
    fn of(stream: &'a Stream, connections: &'a Slab<Connection>, cluster: &ClusterHandle) -> Kind<'a> {
        let options = &cluster.config().http_protocol_options;
        let follows = matches!(options.upstream_protocol, UpstreamProtocol::UseDownstream { .. });
        let overrides = stream.manager.chain.alpn_overrides(stream.filters.skipped);
        let of_caller = cluster.config().connection_pool_per_downstream_connection;
        if !follows && !options.upstream.auto_sni && overrides.is_none() && !of_caller {
            return Kind::default();
        }
        let caller = connections.get(stream.downstream);
        let codec = caller.and_then(|caller| caller.codec.as_ref());
        let host = match &options.upstream.override_auto_sni_header {
            Some(header) => stream.request.get_bytes(header.as_bytes()),
            None => None,
        };
        let host = host.or_else(|| stream.request.authority()).unwrap_or_default();
        let http2 = follows.then(|| codec.is_some_and(codec::Connection::is_h2));
        let overrides = overrides.filter(|_| cluster.allows_alpn_override());
        Kind {
            http2,
            server_name: options.upstream.auto_sni.then(|| server_name(host)).flatten(),
            alpn: overrides.and_then(|overrides| overrides.of(http2.unwrap_or_else(|| may_speak_http2(cluster)))),
            caller: of_caller.then_some(stream.downstream),
        }
    }
}

/// The server name in a host: without its port, and none for an address (RFC 6066 section 3).
fn server_name(host: &[u8]) -> Option<&str> {
    let host = std::str::from_utf8(host).ok()?;
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    let is_address = name.starts_with('[') || [host, name].iter().any(|text| text.parse::<IpAddr>().is_ok());
    (!name.is_empty() && !is_address).then_some(name)
}

/// Connections of one kind to one endpoint.
pub(crate) struct Pool {
    pub(crate) endpoint: Arc<EndpointState>,
    http2: Option<bool>,
    server_name: Option<Box<str>>,
    alpn: Option<Arc<Protocols>>,
    caller: Option<Key<Connection>>,
    /// The endpoint's next pool, of another kind. Nearly every endpoint has one pool.
    next: Key<Pool>,
    /// Its place among the cluster's pools, where their number is limited.
    _permit: Option<Permit>,
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
    /// The pools of callers that have their own, by the caller's key. Some of them may be gone.
    by_caller: HashMap<u64, Vec<Key<Pool>>>,
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
            by_caller: HashMap::new(),
        }
    }

    /// The endpoint's pool of a kind, made if there is none. A pool keeps its endpoint alive, so an address in memory
    /// names it for as long as the pool lives. `None` if the cluster may have no more pools.
    fn of_endpoint(
        &mut self,
        endpoint: &Arc<EndpointState>,
        cluster: &Arc<ClusterHandle>,
        kind: Kind<'_>,
        priority: RoutingPriority,
        shard: Shard,
    ) -> Option<Key<Pool>> {
        let pointer = Arc::as_ptr(endpoint) as usize;
        let first = self.by_endpoint.get(&pointer).copied().unwrap_or(Key::NONE);
        let mut at = first;
        while let Some(pool) = self.pools.get(at) {
            if pool.kind() == kind {
                return Some(at);
            }
            at = pool.next;
        }
        let permit = match cluster.limits().thresholds(priority).max_connection_pools {
            None => None,
            Some(_) => Some(cluster.try_acquire_pool(shard, priority)?),
        };
        let key = self.pools.insert(Pool {
            endpoint: Arc::clone(endpoint),
            http2: kind.http2,
            server_name: kind.server_name.map(Into::into),
            alpn: kind.alpn.cloned(),
            caller: kind.caller,
            next: first,
            _permit: permit,
            cluster: Arc::clone(cluster),
            ready: Vec::new(),
            connecting: Vec::new(),
            connections: 0,
            pending: VecDeque::new(),
        });
        self.by_endpoint.insert(pointer, key);
        if let Some(caller) = kind.caller {
            self.by_caller.entry(caller.to_bits()).or_default().push(key);
        }
        Some(key)
    }

    /// What the connections of a pool have in common.
    pub(crate) fn kind(&self, key: Key<Pool>) -> Kind<'_> {
        self.pools.get(key).map(Pool::kind).unwrap_or_default()
    }

    fn remove_if_unused(&mut self, key: Key<Pool>) {
        let Some(pool) = self.pools.get(key) else { return };
        if pool.connections > 0 || !pool.pending.is_empty() {
            return;
        }
        let (pointer, next) = (Arc::as_ptr(&pool.endpoint) as usize, pool.next);
        match self.by_endpoint.get(&pointer).copied() {
            Some(first) if first == key => {
                if self.pools.get(next).is_some() {
                    self.by_endpoint.insert(pointer, next);
                } else {
                    self.by_endpoint.remove(&pointer);
                }
            }
            Some(mut at) => {
                while let Some(pool) = self.pools.get_mut(at) {
                    if pool.next == key {
                        pool.next = next;
                        break;
                    }
                    at = pool.next;
                }
            }
            None => {}
        }
        if let Some(caller) = self.pools.remove(key).and_then(|pool| pool.caller)
            && let Some(pools) = self.by_caller.get_mut(&caller.to_bits())
        {
            pools.retain(|other| *other != key);
        }
    }
}

impl Pool {
    fn kind(&self) -> Kind<'_> {
        Kind {
            http2: self.http2,
            server_name: self.server_name.as_deref(),
            alpn: self.alpn.as_ref(),
            caller: self.caller,
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
    predict(worker, stream, cluster, priority);
    let key = pool_for(worker, stream, endpoint, cluster, priority)?;
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
            if cluster.config().preconnect.per_upstream_ratio > 1.0 {
                if pool.expected_streams() == 1 {
                    pool.ready.pop();
                }
                grow(worker, key, priority);
            }
            return Ok(Acquired::Ready(candidate));
        }
        pool.ready.pop();
    }
    let permit = cluster
        .try_acquire_pending(worker.shard, priority)
        .ok_or(Failure::Overflow)?;
    pool.pending.push_back(stream);
    grow(worker, key, priority);
    Ok(Acquired::Pending(Pending::begin(
        cluster,
        endpoint,
        permit,
        worker.shard,
    )))
}

/// The pool of the connections that a stream needs.
fn pool_for(
    worker: &mut Worker,
    stream: Key<Stream>,
    endpoint: &Arc<EndpointState>,
    cluster: &Arc<ClusterHandle>,
    priority: RoutingPriority,
) -> Result<Key<Pool>, Failure> {
    let stream = worker.streams.get(stream);
    let kind = stream.map(|stream| Kind::of(stream, &worker.connections, cluster));
    let kind = kind.unwrap_or_default();
    worker
        .pools
        .of_endpoint(endpoint, cluster, kind, priority, worker.shard)
        .ok_or(Failure::Overflow)
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
    let key = pool_for(worker, stream, endpoint, cluster, priority)?;
    let Some(pool) = worker.pools.pools.get_mut(key) else {
        return Err(Failure::NoHealthyUpstream);
    };
    let permit = cluster
        .try_connect(worker.shard, endpoint, priority, pool.connections == 0)
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

/// A connection finished its handshake: those who wait get it.
pub(crate) fn on_ready(worker: &mut Worker, key: Key<Pool>, connection: Key<Connection>) {
    let mut is_orphaned = false;
    if let Some(pool) = worker.pools.pools.get_mut(key) {
        pool.connecting.retain(|other| *other != connection);
        pool.ready.push(connection);
        is_orphaned = pool
            .caller
            .is_some_and(|caller| worker.connections.get(caller).is_none());
    }
    if is_orphaned {
        return crate::upstream_connection::drain(worker, connection);
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

/// A caller's connection is gone: nobody will use the connections that were its own.
pub(crate) fn on_caller_gone(worker: &mut Worker, caller: Key<Connection>) {
    if worker.pools.by_caller.is_empty() {
        return;
    }
    for key in worker.pools.by_caller.remove(&caller.to_bits()).unwrap_or_default() {
        let Some(pool) = worker.pools.pools.get(key) else {
            continue;
        };
        for connection in pool.ready.clone() {
            crate::upstream_connection::drain(worker, connection);
        }
    }
}

/// Takes a stream that ended out of the queue.
pub(crate) fn forget(worker: &mut Worker, endpoint: &Arc<EndpointState>, stream: Key<Stream>) {
    let pointer = Arc::as_ptr(endpoint) as usize;
    let pools = &mut worker.pools;
    let mut at = pools.by_endpoint.get(&pointer).copied().unwrap_or(Key::NONE);
    while let Some(pool) = pools.pools.get_mut(at) {
        let before = pool.pending.len();
        pool.pending.retain(|other| *other != stream);
        let stats = pool.cluster.stats().local(worker.shard);
        stats.add(stat::UPSTREAM_RQ_CANCELLED, (before - pool.pending.len()) as u64);
        at = pool.next;
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_name_is_a_host_without_its_port_and_never_an_address() {
        for (host, expected) in [
            ("a.example", Some("a.example")),
            ("a.example:443", Some("a.example")),
            ("10.0.0.1:80", None),
            ("10.0.0.1", None),
            ("[::1]:80", None),
            ("::1", None),
            ("", None),
            (":80", None),
        ] {
            assert_eq!(server_name(host.as_bytes()), expected, "{host:?}");
        }
    }
}
