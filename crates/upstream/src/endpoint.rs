//! What the process knows about one endpoint, whatever configuration comes and goes.

use std::fmt;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use std::time::{Duration, Instant};

use crate::breaker::{CircuitBreakers, Resource, RoutingPriority};
use crate::cluster_state::ClusterState;
use crate::health_flags::{Health, HealthFlags};
use crate::outlier::{Outcome, OutlierState};

mod identity;

use identity::Identity;
pub(crate) use identity::Wanted;
pub use identity::{EndpointAddress, EndpointAddressRef, EndpointKey};

/// The run-time state of one endpoint: health, in-flight requests, counters, outlier state. One per process for each
/// cluster, address and TLS identity (see [`StateRegistry`](crate::registry::StateRegistry)); snapshots and workers'
/// connection pools share it.
///
/// A mesh has a hundred thousand of them and a proxy calls a few dozen, so what only traffic needs is made with the first
/// connection. Counters are shared by all workers, as in Envoy.
pub struct EndpointState {
    health: AtomicU32,
    /// Requests in flight: what a pick of LEAST_REQUEST compares.
    rq_active: AtomicU32,
    identity: Identity,
    cluster: Arc<ClusterState>,
    /// Two in one, of which only the control thread changes either. The lower 16 bits: how many current tables it is in,
    /// usually one, two while an updated cluster warms beside the old one. The others: when it came or was last found
    /// healthy again, in milliseconds of the process's time: slow start begins there.
    standing: AtomicU64,
    /// What only endpoints with traffic have.
    used_state: OnceLock<Box<UsedState>>,
}

/// What an endpoint has once there was traffic to it. Counters and the record of outlier detection are written together.
#[derive(Default)]
struct UsedState {
    rq_pending_active: AtomicU32,
    cx_active: AtomicU32,
    cx_total: AtomicU64,
    cx_connect_fail: AtomicU64,
    rq_total: AtomicU64,
    rq_success: AtomicU64,
    rq_error: AtomicU64,
    rq_timeout: AtomicU64,
    outlier: OutlierState,
}

impl EndpointState {
    /// A new endpoint, which no configuration contains yet. Use [`ClusterState::endpoint`], which gives the same key
    /// the same state.
    pub(crate) fn new(cluster: Arc<ClusterState>, wanted: &Wanted<'_>, neighbour: Option<&Self>) -> Self {
        let identity = Identity::new(wanted, neighbour.map(|neighbour| &neighbour.identity));
        Self {
            health: AtomicU32::new(HealthFlags::REMOVED.bits()),
            rq_active: AtomicU32::new(0),
            identity,
            cluster,
            standing: AtomicU64::new(0),
            used_state: OnceLock::new(),
        }
    }

    /// Where to connect.
    pub fn address(&self) -> EndpointAddressRef<'_> {
        self.identity.address()
    }

    /// Addresses beside the first, to be tried with it (`additional_addresses`, or what else a logical name resolved
    /// to). Nearly always none.
    pub fn more_addresses(&self) -> Option<Arc<[SocketAddr]>> {
        self.cluster.more_addresses()?.of(self)
    }

    /// What identifies it in its cluster.
    pub fn key(&self) -> EndpointKey {
        self.identity.key()
    }

    /// Whether this is what identifies it.
    pub(crate) fn is(&self, wanted: &Wanted<'_>) -> bool {
        self.identity.is(wanted)
    }

    /// The name of its transport ([`EndpointKey::transport`]), empty for its cluster's own.
    pub fn transport(&self) -> &str {
        self.identity.names().map_or("", |names| &names.transport)
    }

    /// The name it was configured or resolved by, for `auto_host_rewrite` and as the default SNI of a name; empty if
    /// it has none. (`Endpoint.hostname`, or for a DNS cluster the name that was resolved.)
    pub fn hostname(&self) -> &str {
        self.identity.names().map_or("", |names| &names.hostname)
    }

    /// The cluster it belongs to.
    pub fn cluster(&self) -> &Arc<ClusterState> {
        &self.cluster
    }

    /// All health flags at this moment.
    pub fn health_flags(&self) -> HealthFlags {
        HealthFlags::from_bits(self.health.load(Ordering::Relaxed) & !USED)
    }

    /// Healthy, degraded or unhealthy: what the flags amount to.
    pub fn health(&self) -> Health {
        self.health_flags().health()
    }

    /// Whether new requests and new connections may go to it: it is still part of the cluster and nobody found it
    /// unhealthy. A pooled connection for which this is false should take no new request (panic mode aside).
    pub fn is_usable(&self) -> bool {
        let flags = self.health_flags();
        !flags.contains(HealthFlags::REMOVED) && flags.health() != Health::Unhealthy
    }

    /// Whether no current configuration contains it any more: pooled connections should finish what is in flight and
    /// close. It may come back; a pool asks again before each use.
    pub fn is_removed(&self) -> bool {
        self.health_flags().contains(HealthFlags::REMOVED)
    }

    /// Whether a pool should finish what is in flight on its connections to this endpoint and then close them:
    /// removed, or failed by active health checking (Envoy drains its pools in both cases, and keeps them for an
    /// endpoint ejected as an outlier).
    pub fn should_drain(&self) -> bool {
        self.health_flags()
            .intersects(HealthFlags::REMOVED | HealthFlags::FAILED_ACTIVE_HEALTH_CHECK)
    }

    /// Sets and clears flags in one step, and asks for new balancer tables if that changed anything. Returns the
    /// flags before.
    pub(crate) fn update_health(&self, set: HealthFlags, clear: HealthFlags) -> HealthFlags {
        let before = self.update_health_quietly(set, clear);
        if before != (before - clear) | set {
            self.cluster.mark_dirty();
        }
        before
    }

    /// As [`update_health`](Self::update_health), for a caller that rebuilds the tables itself.
    pub(crate) fn update_health_quietly(&self, set: HealthFlags, clear: HealthFlags) -> HealthFlags {
        let update = |bits| Some((bits & !clear.bits()) | set.bits());
        match self.health.fetch_update(Ordering::AcqRel, Ordering::Relaxed, update) {
            Ok(before) | Err(before) => HealthFlags::from_bits(before & !USED),
        }
    }

    /// A table that will be current contains it. Returns whether it is new: no current table contained it before; the
    /// caller then clears [`HealthFlags::REMOVED`] with what else the new member begins with.
    pub(crate) fn join(&self) -> bool {
        self.standing.fetch_add(1, Ordering::Relaxed) & MEMBERSHIPS == 0
    }

    /// A table that contained it is no longer current.
    pub(crate) fn leave(&self) {
        if self.standing.fetch_sub(1, Ordering::Relaxed) & MEMBERSHIPS == 1 {
            self.update_health_quietly(HealthFlags::REMOVED, HealthFlags::NONE);
        }
    }

    /// Slow start begins at `now`: it is new, or was found healthy again.
    pub(crate) fn begin_slow_start(&self, now: Instant) {
        let memberships = self.standing.load(Ordering::Relaxed) & MEMBERSHIPS;
        let since = milliseconds(now).cast_unsigned() << MEMBERSHIPS.count_ones();
        self.standing.store(since | memberships, Ordering::Relaxed);
    }

    /// For how long it has been there and healthy.
    pub(crate) fn healthy_for(&self, now: Instant) -> Duration {
        let since = self.standing.load(Ordering::Relaxed).cast_signed() >> MEMBERSHIPS.count_ones();
        Duration::from_millis(milliseconds(now).saturating_sub(since).try_into().unwrap_or(0))
    }

    /// It was picked.
    pub(crate) fn set_used(&self) {
        // Read first: a write would take the line from the other workers.
        if self.health.load(Ordering::Relaxed) & USED == 0 {
            self.health.fetch_or(USED, Ordering::Relaxed);
        }
    }

    /// Whether it was picked since the last call.
    pub(crate) fn take_used(&self) -> bool {
        self.health.fetch_and(!USED, Ordering::Relaxed) & USED != 0
    }

    /// Whether it has connections or requests.
    pub(crate) fn is_busy(&self) -> bool {
        self.used_state()
            .is_some_and(|used| used.cx_active.load(Ordering::Relaxed) > 0)
            || self.active_requests() > 0
    }

    /// Requests in flight from this process, over all workers: what LEAST_REQUEST compares.
    pub fn active_requests(&self) -> u32 {
        self.rq_active.load(Ordering::Relaxed)
    }

    /// Counts a request to this endpoint against its cluster's `max_requests` and its own load, until the guard
    /// drops. `None` if the breaker of `priority` is open.
    pub fn try_start_request(
        self: &Arc<Self>,
        limits: &CircuitBreakers,
        priority: RoutingPriority,
    ) -> Option<ActiveRequest> {
        if !self.cluster.breaker().try_acquire(Resource::Requests, limits, priority) {
            return None;
        }
        self.rq_active.fetch_add(1, Ordering::Relaxed);
        self.in_use().rq_total.fetch_add(1, Ordering::Relaxed);
        Some(ActiveRequest {
            endpoint: self.clone(),
            priority,
        })
    }

    /// Counts a connection attempt that begins now, and the connection until the guard drops. Also tells the health
    /// checker that the cluster has traffic (`no_traffic_interval` ends).
    pub fn start_connection(self: &Arc<Self>) -> ActiveConnection {
        self.in_use().cx_active.fetch_add(1, Ordering::Relaxed);
        self.in_use().cx_total.fetch_add(1, Ordering::Relaxed);
        self.cluster.set_has_traffic();
        ActiveConnection { endpoint: self.clone() }
    }

    /// Counts one more attempt of a connection that was counted: another address of the endpoint is tried.
    pub fn count_another_attempt(&self) {
        self.in_use().cx_total.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a request that waits for a connection, until the guard drops.
    pub fn start_pending(self: &Arc<Self>) -> PendingRequest {
        self.in_use().rq_pending_active.fetch_add(1, Ordering::Relaxed);
        PendingRequest { endpoint: self.clone() }
    }

    /// Counts a connection that could not be made (`cx_connect_fail`), including a connect timeout. Outlier detection
    /// learns of it by the outcome of the requests that waited for the connection.
    pub fn record_connect_failure(&self) {
        self.in_use().cx_connect_fail.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts how an attempt ended; what it means for outlier detection is
    /// [`ClusterHandle::record_outcome`](crate::cluster::ClusterHandle::record_outcome), which calls this.
    pub(crate) fn count_outcome(&self, outcome: Outcome) {
        let counter = match outcome {
            Outcome::Timeout => &self.in_use().rq_timeout,
            _ if outcome.status() < 500 => &self.in_use().rq_success,
            _ => &self.in_use().rq_error,
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    /// Its record for outlier detection, if there ever was traffic to it.
    pub(crate) fn outlier_if_used(&self) -> Option<&OutlierState> {
        self.used_state().map(|used| &used.outlier)
    }

    fn used_state(&self) -> Option<&UsedState> {
        self.used_state.get().map(|used| &**used)
    }

    fn in_use(&self) -> &UsedState {
        self.used_state.get_or_init(Box::default)
    }

    /// Its record for outlier detection.
    pub(crate) fn outlier(&self) -> &OutlierState {
        &self.in_use().outlier
    }

    /// The counters as `/clusters` prints them.
    pub fn stats(&self) -> EndpointStats {
        let none = UsedState::default();
        let used = self.used_state().unwrap_or(&none);
        EndpointStats {
            cx_active: u64::from(used.cx_active.load(Ordering::Relaxed)),
            cx_connect_fail: used.cx_connect_fail.load(Ordering::Relaxed),
            cx_total: used.cx_total.load(Ordering::Relaxed),
            rq_active: u64::from(self.rq_active.load(Ordering::Relaxed)),
            rq_error: used.rq_error.load(Ordering::Relaxed),
            rq_pending_active: u64::from(used.rq_pending_active.load(Ordering::Relaxed)),
            rq_success: used.rq_success.load(Ordering::Relaxed),
            rq_timeout: used.rq_timeout.load(Ordering::Relaxed),
            rq_total: used.rq_total.load(Ordering::Relaxed),
        }
    }
}

impl fmt::Debug for EndpointState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EndpointState")
            .field("cluster", &self.cluster.name())
            .field("key", &self.key())
            .field("health", &self.health_flags())
            .field("stats", &self.stats())
            .finish_non_exhaustive()
    }
}

/// Beside the flags of an endpoint's health, none of which it is: whether the endpoint was picked since that was last
/// asked (ORIGINAL_DST).
const USED: u32 = 1 << 30;

/// Which part of [`EndpointState::standing`] counts memberships.
const MEMBERSHIPS: u64 = 0xffff;

/// A point in time as a number: milliseconds since the first one asked for, negative before it.
fn milliseconds(at: Instant) -> i64 {
    static START: OnceLock<Instant> = OnceLock::new();
    let start = *START.get_or_init(|| at);
    let whole = |duration: Duration| i64::try_from(duration.as_millis()).unwrap_or(i64::MAX);
    match at.checked_duration_since(start) {
        Some(after) => whole(after),
        None => -whole(start.duration_since(at)),
    }
}

/// The per-endpoint counters of `/clusters`, by Envoy's names.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EndpointStats {
    /// Connections open or being opened.
    pub cx_active: u64,
    /// Connections that could not be made.
    pub cx_connect_fail: u64,
    /// Connections ever tried.
    pub cx_total: u64,
    /// Requests in flight.
    pub rq_active: u64,
    /// Requests that ended in a reset, a failed connection or a 5xx (for gRPC: a failing `grpc-status`).
    pub rq_error: u64,
    /// Requests that wait for a connection.
    pub rq_pending_active: u64,
    /// Requests that were answered with anything else.
    pub rq_success: u64,
    /// Requests that ran out of time.
    pub rq_timeout: u64,
    /// Requests ever sent.
    pub rq_total: u64,
}

impl EndpointStats {
    /// Names and values in the order in which `/clusters` prints them.
    pub fn named(&self) -> [(&'static str, u64); 9] {
        [
            ("cx_active", self.cx_active),
            ("cx_connect_fail", self.cx_connect_fail),
            ("cx_total", self.cx_total),
            ("rq_active", self.rq_active),
            ("rq_error", self.rq_error),
            ("rq_pending_active", self.rq_pending_active),
            ("rq_success", self.rq_success),
            ("rq_timeout", self.rq_timeout),
            ("rq_total", self.rq_total),
        ]
    }
}

/// A request in flight to an endpoint: its place in the cluster's `max_requests` and in the endpoint's load, given
/// back on drop, whatever ended the request.
#[derive(Debug)]
#[must_use = "dropping it at once ends the request"]
pub struct ActiveRequest {
    endpoint: Arc<EndpointState>,
    priority: RoutingPriority,
}

impl ActiveRequest {
    /// Where the request went.
    pub fn endpoint(&self) -> &Arc<EndpointState> {
        &self.endpoint
    }
}

impl Drop for ActiveRequest {
    fn drop(&mut self) {
        self.endpoint.rq_active.fetch_sub(1, Ordering::Relaxed);
        self.endpoint
            .cluster
            .breaker()
            .release(Resource::Requests, self.priority);
    }
}

/// A request that waits for a connection to an endpoint (`rq_pending_active`), until drop.
#[derive(Debug)]
#[must_use = "dropping it at once ends the wait"]
pub struct PendingRequest {
    endpoint: Arc<EndpointState>,
}

impl Drop for PendingRequest {
    fn drop(&mut self) {
        self.endpoint.in_use().rq_pending_active.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A connection to an endpoint, open or being opened (`cx_active`), until drop.
#[derive(Debug)]
#[must_use = "dropping it at once ends the connection"]
pub struct ActiveConnection {
    endpoint: Arc<EndpointState>,
}

impl ActiveConnection {
    /// Where the connection goes.
    pub fn endpoint(&self) -> &Arc<EndpointState> {
        &self.endpoint
    }
}

impl Drop for ActiveConnection {
    fn drop(&mut self) {
        self.endpoint.in_use().cx_active.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests;
