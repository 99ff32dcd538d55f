//! The endpoint's side of a connection: how it is made, what it carries, when it ends.

mod counts;

use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use codec::Connection as Codec;
use config::cluster::UpstreamProtocol;
use telemetry::stats::{Shard, cluster as stat};
use tls::TlsError;
use upstream::breaker::Permit;
use upstream::cluster::ClusterHandle;
use upstream::endpoint::{ActiveConnection, EndpointState};
use upstream::health_flags::Health;
use upstream::transport::Transport;

use crate::codec_options;
use crate::connection::{self, Connection, Ending, Role};
use crate::dedicated_connection::{self, connect_failed};
use crate::dial::{dial, is_local, tls_peer};
use crate::failure::{Failure, TransportFailure};
use crate::pool::{self, Pool};
use crate::slab::Key;
use crate::socket::Socket;
use crate::stream::Stream;
use crate::worker::{Worker, WorkerCell};

mod ending;

pub(crate) use ending::{close, drain, on_codec_error, on_goaway};

/// The addresses at both ends of a connection; none of a Unix socket.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Ends {
    /// The endpoint's: of several the one that answered.
    pub(crate) remote: Option<SocketAddr>,
    /// The proxy's own.
    pub(crate) local: Option<SocketAddr>,
}

impl Ends {
    /// Those of a connected socket.
    pub(crate) fn of(socket: &Socket) -> Self {
        match socket {
            Socket::Tcp(stream) => Ends {
                remote: stream.peer_addr().ok(),
                local: stream.local_addr().ok(),
            },
            Socket::Unix(_) => Ends::default(),
        }
    }
}

/// The upstream part of a connection's record.
pub(crate) struct Upstream {
    endpoint: Arc<EndpointState>,
    cluster: Arc<ClusterHandle>,
    pool: Key<Pool>,
    shard: Shard,
    /// Both its ends, once it is connected.
    pub(crate) ends: Option<Rc<Ends>>,
    /// Until the handshake is done.
    connecting: bool,
    connect_deadline: Instant,
    opened: Instant,
    active_streams: u32,
    requests: u64,
    idle_since: Instant,
    draining: bool,
    is_http2: bool,
    /// The set of endpoints that the cluster had when it was opened ([`ClusterState::host_set`]).
    ///
    /// [`ClusterState::host_set`]: upstream::cluster_state::ClusterState::host_set
    host_set: u32,
    /// The stream that has this connection to itself, for a tunnel without HTTP.
    pub(crate) tunnel_of: Option<Key<Stream>>,
    /// It is or was such a connection: nobody else waits for it.
    pub(crate) is_dedicated: bool,
    // Permits: the breaker and the endpoint count this connection until its record is dropped.
    _connection: ActiveConnection,
    _permit: Permit,
}

impl Upstream {
    /// Whether requests of it are under way.
    pub(crate) fn has_streams(&self) -> bool {
        self.active_streams > 0
    }

    pub(crate) fn shard(&self) -> Shard {
        self.shard
    }

    /// Whether the connection is to end at once, with all that goes on on it: its endpoint was found unhealthy
    /// (`close_connections_on_host_health_failure`).
    pub(crate) fn should_close(&self) -> bool {
        self.cluster.config().close_connections_on_host_health_failure && self.endpoint.health() == Health::Unhealthy
    }

    /// Whether the connection is to take no new requests: its endpoint has gone or failed its health checks, or the set of
    /// endpoints has changed (`close_connections_on_host_set_change`).
    pub(crate) fn should_drain(&self) -> bool {
        self.endpoint.should_drain() || self.host_set != self.cluster.state().host_set()
    }

    pub(crate) fn stream_began(&mut self) {
        self.active_streams += 1;
        self.requests += 1;
    }

    /// When this side next wants to be looked at.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        if self.connecting {
            return Some(self.connect_deadline);
        }
        let common = &self.cluster.config().http_protocol_options.common;
        let idle = common
            .idle_timeout
            .filter(|_| self.active_streams == 0)
            .map(|timeout| self.idle_since + timeout);
        let longest = common
            .max_connection_duration
            .filter(|_| !self.draining)
            .map(|limit| self.opened + limit);
        match (idle, longest) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        }
    }

    fn reached_max_requests(&self) -> bool {
        match self
            .cluster
            .config()
            .http_protocol_options
            .common
            .max_requests_per_connection
        {
            None | Some(0) => false,
            Some(limit) => self.requests >= u64::from(limit),
        }
    }

    /// The connection is gone.
    pub(crate) fn closed(self, worker: &mut Worker, key: Key<Connection>, ending: Ending) {
        self.count_end(ending);
        let stats = self.cluster.stats().local(self.shard);
        if !self.connecting {
            let lived = worker.now.saturating_duration_since(self.opened);
            stats.record(stat::UPSTREAM_CX_LENGTH_MS, lived.as_millis() as u64);
        }
        let (pool, tunnel_of) = (self.pool, self.tunnel_of);
        let connecting = self.connecting && (tunnel_of.is_some() || !self.is_dedicated);
        drop(self);
        if connecting {
            connect_failed(worker, tunnel_of, pool, key, Failure::NotConnected);
        }
        pool::on_removed(worker, pool, key);
    }
}

/// Whether connections to a cluster speak HTTP/2, where that is known before the handshake.
fn known_protocol(cluster: &ClusterHandle) -> Option<bool> {
    match cluster.config().http_protocol_options.upstream_protocol {
        UpstreamProtocol::Http1(_) => Some(false),
        UpstreamProtocol::Http2(_) => Some(true),
        UpstreamProtocol::Auto { .. } | UpstreamProtocol::UseDownstream { .. } => None,
    }
}

/// Starts a connection: its record is there at once, its task connects, shakes hands and then
/// carries bytes.
pub(crate) fn open(
    worker: &mut Worker,
    pool: Key<Pool>,
    endpoint: Arc<EndpointState>,
    cluster: Arc<ClusterHandle>,
    permit: Permit,
) -> Key<Connection> {
    let now = worker.now;
    let stats = cluster.stats().local(worker.shard);
    stats.add(stat::UPSTREAM_CX_TOTAL, 1);
    stats.gauge_add(stat::UPSTREAM_CX_ACTIVE, 1);
    let deadline = now + cluster.config().connect_timeout;
    let protocol = known_protocol(&cluster);
    let record = Upstream {
        _connection: endpoint.start_connection(),
        _permit: permit,
        endpoint: Arc::clone(&endpoint),
        cluster: Arc::clone(&cluster),
        pool,
        shard: worker.shard,
        ends: None,
        connecting: true,
        connect_deadline: deadline,
        opened: now,
        active_streams: 0,
        requests: 0,
        idle_since: now,
        draining: false,
        is_http2: false,
        host_set: cluster.state().host_set(),
        tunnel_of: None,
        is_dedicated: false,
    };
    if let Some(is_http2) = protocol {
        record.count_protocol(is_http2);
    }
    let key = worker
        .connections
        .insert(Connection::new(Role::Upstream(Box::new(record)), None, now));
    if let Some(cell) = worker.cell.upgrade() {
        tokio::task::spawn_local(connect(cell, key, cluster, endpoint, deadline));
    }
    key
}

/// The task of an upstream connection.
async fn connect(
    cell: Rc<WorkerCell>,
    key: Key<Connection>,
    cluster: Arc<ClusterHandle>,
    endpoint: Arc<EndpointState>,
    deadline: Instant,
) {
    let shard = cell.worker.borrow().shard;
    let attempt = dial(&cluster, &endpoint, shard);
    let outcome = tokio::time::timeout_at(deadline.into(), attempt).await;
    let ready = {
        let mut worker = cell.worker.borrow_mut();
        worker.begin_turn();
        match outcome {
            Ok(Ok(socket)) => on_connected(&mut worker, key, &socket).then_some(socket),
            Ok(Err(error)) => {
                tracing::debug!(target: "upstream", endpoint = %endpoint.address(), %error, "could not connect");
                if is_local(&error) {
                    fail_connect(&mut worker, key, Failure::NotBegun);
                } else {
                    worker.transport_failure = Some(TransportFailure::from(&error));
                    fail_connect(&mut worker, key, Failure::NotConnected);
                    worker.transport_failure = None;
                }
                None
            }
            Err(_elapsed) => {
                fail_connect(&mut worker, key, Failure::ConnectTimeout);
                None
            }
        }
    };
    if let Some(socket) = ready {
        connection::drive(cell, key, socket).await;
    }
}

/// The transport is connected: TLS begins, or the codec does. False if the record is gone.
fn on_connected(worker: &mut Worker, key: Key<Connection>, socket: &Socket) -> bool {
    let Some(connection) = worker.connections.get_mut(key) else {
        return false;
    };
    let Role::Upstream(upstream) = &mut connection.role else {
        return false;
    };
    upstream.ends = Some(Rc::new(Ends::of(socket)));
    let (cluster, endpoint) = (Arc::clone(&upstream.cluster), Arc::clone(&upstream.endpoint));
    let kind = worker.pools.kind(upstream.pool);
    match cluster.transport(&endpoint) {
        Transport::RawBuffer => {
            on_secured(worker, key, None);
            true
        }
        Transport::Tls(context) => {
            let offered = kind.alpn.map(|protocols| protocols.offered());
            let peer = tls_peer(&cluster, &endpoint, context, kind, offered.as_deref());
            let begun = connection.begin_tls(context, &peer);
            if let Err(error) = &begun {
                tracing::warn!(target: "upstream", cluster = cluster.name(), %error, "TLS can't be set up");
                worker.transport_failure = Some(TransportFailure::from(error));
                fail_connect(worker, key, Failure::TlsHandshake);
                worker.transport_failure = None;
            }
            begun.is_ok()
        }
        Transport::NotReady { reason } => {
            tracing::debug!(target: "upstream", cluster = cluster.name(), %reason, "TLS is not ready");
            fail_connect(worker, key, Failure::TlsHandshake);
            false
        }
    }
}

/// The TLS handshake is done.
pub(crate) fn on_handshake_done(worker: &mut Worker, key: Key<Connection>) {
    let Some(connection) = worker.connections.get(key) else {
        return;
    };
    let (Role::Upstream(upstream), Some(session)) = (&connection.role, &connection.tls) else {
        return;
    };
    session.count_handshake(upstream.cluster.state().ssl_stats().local(upstream.shard));
    let alpn = session.alpn().map(<[u8]>::to_vec);
    on_secured(worker, key, alpn.as_deref());
}

/// The connection can carry HTTP: the codec starts, and those who wait get it.
fn on_secured(worker: &mut Worker, key: Key<Connection>, alpn: Option<&[u8]>) {
    let now = worker.now;
    let Some(connection) = worker.connections.get_mut(key) else {
        return;
    };
    let Role::Upstream(upstream) = &mut connection.role else {
        return;
    };
    let options = &upstream.cluster.config().http_protocol_options;
    upstream.is_http2 = match &options.upstream_protocol {
        UpstreamProtocol::Http1(_) => false,
        UpstreamProtocol::Http2(_) => true,
        // The caller's version, whatever ALPN says (as in Envoy).
        UpstreamProtocol::UseDownstream { .. } => worker.pools.kind(upstream.pool).http2 == Some(true),
        UpstreamProtocol::Auto { .. } => alpn == Some(b"h2"),
    };
    let tunnel_of = upstream.tunnel_of;
    upstream.is_http2 &= tunnel_of.is_none();
    let stats = upstream.cluster.stats().local(upstream.shard);
    stats.record(
        stat::UPSTREAM_CX_CONNECT_MS,
        now.saturating_duration_since(upstream.opened).as_millis() as u64,
    );
    let codec = if upstream.is_http2 {
        Codec::h2_client(&Arc::new(codec_options::h2_client(options)), now)
    } else {
        let config = Arc::new(codec_options::h1_client(upstream.cluster.config()));
        match tunnel_of {
            None => Codec::h1_client(&config, now),
            Some(_) => Codec::raw_client(&config, now),
        }
    };
    if tunnel_of.is_none() && known_protocol(&upstream.cluster).is_none() {
        upstream.count_protocol(upstream.is_http2);
    }
    upstream.connecting = false;
    upstream.idle_since = now;
    connection.codec = Some(codec);
    let pool = upstream.pool;
    connection.wake();
    match tunnel_of {
        None => pool::on_ready(worker, pool, key),
        Some(stream) => dedicated_connection::on_ready(worker, stream, key),
    }
}

fn fail_connect(worker: &mut Worker, key: Key<Connection>, failure: Failure) {
    let Some(connection) = worker.connections.remove(key) else {
        return;
    };
    worker.disarm(connection.timer);
    if let Role::Upstream(mut upstream) = connection.role {
        upstream.count_connect_failure(failure, worker.now);
        let (pool, tunnel_of) = (upstream.pool, upstream.tunnel_of.take());
        connect_failed(worker, tunnel_of, pool, key, failure);
        // As in Envoy a connection that could not be made was ended by the peer, one that took too long, or could not even
        // be begun, by us.
        let ending = Ending {
            by_peer: !matches!(failure, Failure::ConnectTimeout | Failure::NotBegun),
            cut_requests: false,
        };
        upstream.closed(worker, key, ending);
    }
}

/// The TLS session failed, in its handshake or later.
pub(crate) fn on_tls_error(worker: &mut Worker, key: Key<Connection>, error: &TlsError) {
    let now = worker.now;
    let Some(Connection {
        role: Role::Upstream(upstream),
        ..
    }) = worker.connections.get_mut(key)
    else {
        return;
    };
    let ssl = upstream.cluster.state().ssl_stats().local(upstream.shard);
    ssl.add(error.stat(), 1);
    tracing::warn!(target: "upstream", cluster = upstream.cluster.name(), endpoint = %upstream.endpoint.address(), %error, "TLS with an endpoint failed");
    if upstream.connecting {
        upstream.count_connect_failure(Failure::TlsHandshake, now);
        let (pool, tunnel_of) = (upstream.pool, upstream.tunnel_of.take());
        worker.transport_failure = Some(TransportFailure::from(error));
        connect_failed(worker, tunnel_of, pool, key, Failure::TlsHandshake);
        worker.transport_failure = None;
    } else {
        crate::pipeline::on_connection_closed(worker, key, Failure::ConnectionTermination);
    }
}

/// The connection's timer fired.
pub(crate) fn on_timer(worker: &mut Worker, key: Key<Connection>) {
    let now = worker.now;
    let Some(connection) = worker.connections.get_mut(key) else {
        return;
    };
    let Role::Upstream(upstream) = &mut connection.role else {
        return;
    };
    if upstream.connecting {
        if upstream.connect_deadline <= now {
            upstream.count_connect_failure(Failure::ConnectTimeout, now);
            let (pool, tunnel_of) = (upstream.pool, upstream.tunnel_of.take());
            connect_failed(worker, tunnel_of, pool, key, Failure::ConnectTimeout);
            if let Some(connection) = worker.connections.get_mut(key) {
                connection.begin_close(Duration::ZERO);
            }
        }
        return;
    }
    if let Some(codec) = &mut connection.codec
        && codec.deadline().is_some_and(|deadline| deadline <= now)
        && let Err(error) = codec.on_deadline(now)
    {
        return crate::pipeline::on_codec_error(worker, key, &error);
    }
    let Role::Upstream(upstream) = &mut connection.role else {
        return;
    };
    let common = &upstream.cluster.config().http_protocol_options.common;
    let stats = upstream.cluster.stats().local(upstream.shard);
    if upstream.active_streams == 0
        && common
            .idle_timeout
            .is_some_and(|timeout| upstream.idle_since + timeout <= now)
    {
        stats.add(stat::UPSTREAM_CX_IDLE_TIMEOUT, 1);
        return drain(worker, key);
    }
    if !upstream.draining
        && common
            .max_connection_duration
            .is_some_and(|limit| upstream.opened + limit <= now)
    {
        stats.add(stat::UPSTREAM_CX_MAX_DURATION_REACHED, 1);
        drain(worker, key);
    }
}

/// A stream of this connection ended: the connection can take another, or ends if it drains.
pub(crate) fn on_stream_ended(worker: &mut Worker, key: Key<Connection>) {
    let now = worker.now;
    let Some(connection) = worker.connections.get_mut(key) else {
        return;
    };
    let Role::Upstream(upstream) = &mut connection.role else {
        return;
    };
    upstream.active_streams = upstream.active_streams.saturating_sub(1);
    upstream.idle_since = now;
    let pool = upstream.pool;
    if !upstream.draining && upstream.reached_max_requests() {
        upstream
            .cluster
            .stats()
            .local(upstream.shard)
            .add(stat::UPSTREAM_CX_MAX_REQUESTS, 1);
        return drain(worker, key);
    }
    if upstream.draining {
        if upstream.active_streams == 0 {
            connection.begin_close(Duration::ZERO);
        }
        return;
    }
    if connection
        .open_codec()
        .is_some_and(|codec| codec.streams_available() > 0)
    {
        pool::on_capacity(worker, pool, key);
    }
}

/// The peer's SETTINGS arrived or it allows more streams.
pub(crate) fn on_streams_available(worker: &mut Worker, key: Key<Connection>) {
    if let Some(Connection {
        role: Role::Upstream(upstream),
        ..
    }) = worker.connections.get(key)
        && !upstream.draining
        && !upstream.connecting
    {
        let pool = upstream.pool;
        pool::on_capacity(worker, pool, key);
    }
}
