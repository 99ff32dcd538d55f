//! Finding an endpoint for a carried connection and connecting to it, as often as `max_connect_attempts` says.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use telemetry::access_log::ResponseFlag;
use telemetry::stats::{Shard, cluster as stat, tcp as tcp_stat};
use tls::Peer;
use upstream::balancer::PickContext;
use upstream::breaker::{Permit, RoutingPriority};
use upstream::cluster::ClusterHandle;
use upstream::endpoint::{ActiveConnection, ActiveRequest, EndpointAddressRef, EndpointState, PendingRequest};
use upstream::outlier::Outcome;
use upstream::transport::Transport;
use upstream::xx_hash::xx_hash_64;

use super::leg::{Broken, Leg};
use super::{Session, Target, TcpProxy};
use crate::dial::dial;
use crate::upstream_connection::Ends;

/// The endpoint's side, with what it takes of the cluster. Dropping it counts its end.
pub(super) struct Upstream {
    pub(super) leg: Leg,
    count: Count,
    _request: Option<ActiveRequest>,
}

impl Upstream {
    pub(super) fn count_sent(&self, bytes: u64) {
        let stats = self.count.cluster.stats().local(self.count.shard);
        stats.add(stat::UPSTREAM_CX_TX_BYTES_TOTAL, bytes);
    }

    pub(super) fn count_received(&self, bytes: u64) {
        let stats = self.count.cluster.stats().local(self.count.shard);
        stats.add(stat::UPSTREAM_CX_RX_BYTES_TOTAL, bytes);
    }

    /// Says who ended it; us, if nothing is said.
    pub(super) fn ended_by_endpoint(&mut self, is_theirs: bool) {
        self.count.is_remote_end = is_theirs;
    }
}

/// A connection among the cluster's, from the attempt to its end.
struct Count {
    cluster: Arc<ClusterHandle>,
    shard: Shard,
    opened: Instant,
    is_connected: bool,
    is_remote_end: bool,
    _connection: ActiveConnection,
    _permit: Permit,
}

impl Drop for Count {
    fn drop(&mut self) {
        let stats = self.cluster.stats().local(self.shard);
        stats.gauge_add(stat::UPSTREAM_CX_ACTIVE, -1);
        stats.add(stat::UPSTREAM_CX_DESTROY, 1);
        let (by, with_request) = if self.is_remote_end {
            (
                stat::UPSTREAM_CX_DESTROY_REMOTE,
                stat::UPSTREAM_CX_DESTROY_REMOTE_WITH_ACTIVE_RQ,
            )
        } else {
            (
                stat::UPSTREAM_CX_DESTROY_LOCAL,
                stat::UPSTREAM_CX_DESTROY_LOCAL_WITH_ACTIVE_RQ,
            )
        };
        stats.add(by, 1);
        if self.is_connected {
            stats.gauge_add(stat::UPSTREAM_RQ_ACTIVE, -1);
            stats.add(with_request, 1);
            stats.add(stat::UPSTREAM_CX_DESTROY_WITH_ACTIVE_RQ, 1);
            let lived = self.opened.elapsed().as_millis() as u64;
            stats.record(stat::UPSTREAM_CX_LENGTH_MS, lived);
        }
    }
}

/// A place among the connections that wait to be made; dropped when it is, or is not.
struct Pending {
    cluster: Arc<ClusterHandle>,
    shard: Shard,
    _permit: Permit,
    _request: PendingRequest,
}

impl Drop for Pending {
    fn drop(&mut self) {
        let stats = self.cluster.stats().local(self.shard);
        stats.gauge_add(stat::UPSTREAM_RQ_PENDING_ACTIVE, -1);
    }
}

/// Everything an attempt needs before it can wait.
struct Attempt {
    endpoint: Arc<EndpointState>,
    count: Count,
    pending: Pending,
}

/// Why an attempt failed, to the statistics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Failed {
    Refused,
    TimedOut,
}

/// Connects the session to an endpoint. `None` when that is not possible; the record says why.
pub(super) async fn connect(session: &mut Session) -> Option<Upstream> {
    let proxy = Arc::clone(&session.proxy);
    let target = proxy.choose_target();
    let Some(cluster) = cluster_of(session, target) else {
        session.record.flags.push(ResponseFlag::NoClusterFound);
        let stats = &session.proxy.stats;
        stats.increment(session.shard, tcp_stat::DOWNSTREAM_CX_NO_ROUTE);
        return None;
    };
    session.record.cluster = Some(Arc::clone(&cluster.config().name));
    loop {
        let attempt = match begin(session, &cluster, target) {
            Ok(attempt) => attempt,
            Err(flag) => {
                session.record.flags.push(flag);
                return None;
            }
        };
        session.record.attempts += 1;
        session.record.endpoint = Some(Arc::clone(&attempt.endpoint));
        let Attempt {
            endpoint,
            mut count,
            pending,
        } = attempt;
        let deadline = count.opened + cluster.config().connect_timeout;
        let made = make(session, &cluster, &endpoint);
        let failed = match tokio::time::timeout_at(deadline.into(), made).await {
            Ok(Ok(leg)) => {
                drop(pending);
                return Some(succeed(session, &endpoint, count, leg));
            }
            Ok(Err(error)) => {
                tracing::debug!(target: "upstream", endpoint = %endpoint.address(), %error, "could not connect");
                Failed::Refused
            }
            Err(_elapsed) => Failed::TimedOut,
        };
        count.is_remote_end = failed == Failed::Refused;
        fail(session, &cluster, &endpoint, failed);
        drop(pending);
        drop(count);
        if session.record.attempts >= session.proxy.config.max_connect_attempts {
            let stats = cluster.stats().local(session.shard);
            stats.add(stat::UPSTREAM_CX_CONNECT_ATTEMPTS_EXCEEDED, 1);
            session.record.flags.push(ResponseFlag::UpstreamConnectionFailure);
            session.record.flags.push(ResponseFlag::UpstreamRetryLimitExceeded);
            return None;
        }
    }
}

impl TcpProxy {
    /// By weight, where there are several.
    fn choose_target(&self) -> Option<&Target> {
        let index = match self.clusters.len() {
            1 => 0,
            _ => self.config.clusters.pick_index(telemetry::random::next()),
        };
        self.clusters.get(index)
    }
}

fn cluster_of(session: &Session, target: Option<&Target>) -> Option<Arc<ClusterHandle>> {
    let mut worker = session.cell.worker.borrow_mut();
    worker.begin_turn();
    worker.snapshot.cluster(&target?.slot).cloned()
}

/// Picks the endpoint and takes the permits, in Envoy's order: connections, endpoint, those that wait.
fn begin(session: &Session, cluster: &Arc<ClusterHandle>, target: Option<&Target>) -> Result<Attempt, ResponseFlag> {
    let mut worker = session.cell.worker.borrow_mut();
    worker.begin_turn();
    let (shard, now) = (worker.shard, worker.now);
    let source = session.accepted.peer.filter(|_| session.proxy.config.hash_source_ip);
    let hash = source.map(|source| xx_hash_64(source.ip().to_string().as_bytes(), 0));
    let permit = cluster
        .try_acquire_connection(shard, RoutingPriority::Default, false)
        .ok_or(ResponseFlag::UpstreamOverflow)?;
    let context = PickContext {
        hash,
        metadata: target.and_then(|target| target.criteria.as_ref()),
        original_destination: session.accepted.original_destination(),
        ..PickContext::default()
    };
    let endpoint = worker
        .pickers
        .pick(cluster, &context)
        .map_err(|_| ResponseFlag::NoHealthyUpstream)?;
    let waits = cluster
        .try_acquire_pending(shard, RoutingPriority::Default)
        .ok_or(ResponseFlag::UpstreamOverflow)?;
    let stats = cluster.stats().local(shard);
    stats.add(stat::UPSTREAM_RQ_PENDING_TOTAL, 1);
    stats.gauge_add(stat::UPSTREAM_RQ_PENDING_ACTIVE, 1);
    stats.add(stat::UPSTREAM_CX_TOTAL, 1);
    stats.gauge_add(stat::UPSTREAM_CX_ACTIVE, 1);
    Ok(Attempt {
        count: Count {
            cluster: Arc::clone(cluster),
            shard,
            opened: now,
            is_connected: false,
            is_remote_end: false,
            _connection: endpoint.start_connection(),
            _permit: permit,
        },
        pending: Pending {
            cluster: Arc::clone(cluster),
            shard,
            _permit: waits,
            _request: endpoint.start_pending(),
        },
        endpoint,
    })
}

/// Connects the socket, and TLS on it where the cluster has it.
async fn make(session: &Session, cluster: &Arc<ClusterHandle>, endpoint: &Arc<EndpointState>) -> Result<Leg, Broken> {
    let socket = dial(cluster, endpoint, session.shard).await?;
    let mut leg = Leg::connected(socket);
    match cluster.transport(endpoint) {
        Transport::RawBuffer => return Ok(leg),
        Transport::Tls(context) => {
            let mut hello = Vec::new();
            let peer = peer(endpoint);
            let tls = context.connect(&peer, &mut hello).map_err(Broken::Tls)?;
            leg.secure(tls, hello, cluster.state().ssl_stats());
        }
        Transport::NotReady { reason } => {
            tracing::debug!(target: "upstream", cluster = cluster.name(), %reason, "TLS is not ready");
            return Err(std::io::Error::from(std::io::ErrorKind::NotConnected).into());
        }
    }
    let cell = Rc::clone(&session.cell);
    std::future::poll_fn(|context| leg.poll_handshake(&mut cell.buffers.borrow_mut(), session.shard, context)).await?;
    Ok(leg)
}

/// Whom the TLS session is made to; only the protocols of the TLS context are offered.
fn peer(endpoint: &EndpointState) -> Peer<'_> {
    let host = endpoint.hostname();
    Peer {
        address: match endpoint.address() {
            EndpointAddressRef::Socket(address) => address.ip(),
            EndpointAddressRef::Pipe(_) => std::net::Ipv4Addr::UNSPECIFIED.into(),
        },
        host: (!host.is_empty()).then_some(host),
        server_name: None,
        alpn: None,
    }
}

fn succeed(session: &mut Session, endpoint: &Arc<EndpointState>, mut count: Count, leg: Leg) -> Upstream {
    let now = session.now();
    let cluster = &count.cluster;
    let stats = cluster.stats().local(count.shard);
    let took = now.saturating_duration_since(count.opened).as_millis() as u64;
    stats.record(stat::UPSTREAM_CX_CONNECT_MS, took);
    stats.add(stat::UPSTREAM_RQ_TOTAL, 1);
    stats.gauge_add(stat::UPSTREAM_RQ_ACTIVE, 1);
    // What outlier detection counts against an endpoint ends with a connection that could be made.
    cluster.record_outcome(count.shard, endpoint, Outcome::Response(200), now);
    count.is_connected = true;
    session.record.ends = Some(Ends::of(leg.socket()));
    Upstream {
        // The endpoint's load. The bound on requests is not for connections (Envoy: max_connections is).
        _request: endpoint.try_start_request(cluster.limits(), RoutingPriority::Default),
        leg,
        count,
    }
}

fn fail(session: &Session, cluster: &Arc<ClusterHandle>, endpoint: &Arc<EndpointState>, failed: Failed) {
    let stats = cluster.stats().local(session.shard);
    stats.add(stat::UPSTREAM_CX_CONNECT_FAIL, 1);
    stats.add(stat::UPSTREAM_RQ_PENDING_FAILURE_EJECT, 1);
    if failed == Failed::TimedOut {
        stats.add(stat::UPSTREAM_CX_CONNECT_TIMEOUT, 1);
    }
    endpoint.record_connect_failure();
    cluster.record_outcome(session.shard, endpoint, Outcome::ConnectFailure, session.now());
}
