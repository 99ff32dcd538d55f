//! A cluster as a snapshot holds it: its configuration compiled, bound to the state that outlives it.

use std::sync::Arc;
use std::time::Instant;

use arc_swap::{ArcSwap, Guard};
use config::cluster::{BindConfig, Cluster, Discovery, HealthCheck, OriginalDst, TransportSocketMatch};
use config::metadata::Value;
use telemetry::stats::{self, Shard, cluster as stat};

use crate::balancer::{LbTable, NoEndpoint, PickContext, WorkerLb};
use crate::breaker::{CircuitBreakers, Permit, Resource, RoutingPriority};
use crate::cluster_state::ClusterState;
use crate::drops::Dropped;
use crate::endpoint::{ActiveRequest, EndpointState};
use crate::health_flags::HealthFlags;
use crate::outlier::{self, Outcome};
use crate::transport::{Transport, Transports};

/// One cluster of one configuration. The configuration in it never changes; its table of endpoints follows discovery
/// and health for as long as the configuration is current.
#[derive(Debug)]
pub struct ClusterHandle {
    config: Arc<Cluster>,
    state: Arc<ClusterState>,
    table: ArcSwap<LbTable>,
    transports: Transports,
    allows_alpn_override: bool,
}

impl ClusterHandle {
    pub(crate) fn new(
        config: Arc<Cluster>,
        state: Arc<ClusterState>,
        table: Arc<LbTable>,
        transports: Transports,
    ) -> Self {
        if transports.use_tls() {
            // Shown from now on, as in Envoy.
            state.ssl_stats();
        }
        // Istio's word for clusters whose own protocols are to be offered.
        let alpn_override = config.metadata.value("istio", &["alpn_override"]);
        let allows_alpn_override = !matches!(alpn_override, Some(Value::String(text)) if **text == *"false");
        Self {
            config,
            state,
            table: ArcSwap::new(table),
            transports,
            allows_alpn_override,
        }
    }

    /// The cluster's name.
    pub fn name(&self) -> &str {
        &self.config.name
    }

    /// What it was told: timeouts, protocol options, limits.
    pub fn config(&self) -> &Arc<Cluster> {
        &self.config
    }

    /// Where its connections come from, if that is said.
    pub fn bind_config(&self) -> Option<&BindConfig> {
        self.config
            .upstream_bind_config
            .as_ref()
            .or(self.state.place().bind_config.as_ref())
    }

    /// Whether a request's filters may change which application protocols TLS offers (`istio.alpn_override` in the
    /// cluster's metadata is not `"false"`).
    pub fn allows_alpn_override(&self) -> bool {
        self.allows_alpn_override
    }

    /// What outlives this configuration.
    pub fn state(&self) -> &Arc<ClusterState> {
        &self.state
    }

    /// `cluster.<name>.upstream_*` and the like.
    pub fn stats(&self) -> &stats::Block {
        self.state.stats()
    }

    /// Its circuit breakers' thresholds.
    pub fn limits(&self) -> &CircuitBreakers {
        &self.config.circuit_breakers
    }

    /// The endpoints as they are now.
    pub fn table(&self) -> Guard<Arc<LbTable>> {
        self.table.load()
    }

    pub(crate) fn set_table(&self, table: Arc<LbTable>) {
        self.table.store(table);
    }

    /// Whether a request is dropped before an endpoint is chosen for it (`drop_overloads`). Ask once for each request.
    pub fn drop_overload(&self) -> Option<Dropped> {
        self.state.drops_if_used()?.draw(telemetry::random::next)
    }

    /// Counts a request that was dropped, by [`drop_overload`](Self::drop_overload) or by an open breaker: load reports
    /// tell.
    pub fn count_dropped(&self) {
        self.state.drops().count();
    }

    /// The endpoint for one attempt. Counts `lb_*` and `upstream_cx_none_healthy`.
    pub fn pick(&self, context: &PickContext<'_>, worker: &mut WorkerLb) -> Result<Arc<EndpointState>, NoEndpoint> {
        let result = match &self.config.discovery {
            Discovery::OriginalDst(settings) => self.pick_original(settings, context, worker),
            _ => {
                let table = self.table.load();
                if let Some(peeked) = worker.take_peeked(&table, context) {
                    return Ok(peeked);
                }
                let (result, notes) = table.pick(context, worker);
                if !notes.is_empty() {
                    notes.iter().for_each(|note| note.count(&self.state, worker.shard()));
                }
                result.cloned()
            }
        };
        if result.is_err() {
            self.stats().increment(worker.shard(), stat::UPSTREAM_CX_NONE_HEALTHY);
        }
        result
    }

    /// The endpoint whose turn comes after those that were peeked at before: what will be picked for the streams to come.
    /// `None` where the policy can't tell, or enough was peeked at.
    pub fn peek(&self, worker: &mut WorkerLb) -> Option<Arc<EndpointState>> {
        match &self.config.discovery {
            Discovery::OriginalDst(_) => None,
            _ => worker.peek(&self.table.load()),
        }
    }

    /// The endpoint at the address that the client chose: an ORIGINAL_DST cluster has a table for show alone.
    fn pick_original(
        &self,
        settings: &OriginalDst,
        context: &PickContext<'_>,
        worker: &mut WorkerLb,
    ) -> Result<Arc<EndpointState>, NoEndpoint> {
        let mut address = context.original_destination.ok_or(NoEndpoint::Empty)?;
        if let Some(port) = settings.upstream_port_override {
            address.set_port(port);
        }
        let find = || {
            let make = || {
                let transport = self.config.transport_socket_matches.iter();
                let transport = transport.clone().find(|entry| entry.matches(None, None));
                let transport = transport.map_or("", |entry| &entry.name);
                let endpoint = self.state.endpoint(address.into(), transport, "");
                endpoint.update_health_quietly(HealthFlags::NONE, HealthFlags::REMOVED);
                endpoint
            };
            let (endpoint, is_new) = self.state.originals().endpoint(address, make)?;
            if is_new {
                // The control thread makes a member of it.
                self.state.mark_dirty();
            }
            Some(endpoint)
        };
        worker
            .originals
            .endpoint(address, find)
            .cloned()
            .ok_or(NoEndpoint::Empty)
    }

    /// How connections to `endpoint` are secured.
    pub fn transport(&self, endpoint: &EndpointState) -> &Transport {
        self.transports.named(endpoint.transport())
    }

    /// How health checks of `endpoint` are secured: by the first `transport_socket_matches` entry that the check's own
    /// criteria meet, else as other connections (`HealthCheck.transport_socket_match_criteria`).
    pub(crate) fn transport_for_check(&self, endpoint: &EndpointState, check: &HealthCheck) -> &Transport {
        let Some(criteria) = &check.transport_socket_match_criteria else {
            return self.transport(endpoint);
        };
        let matches = |entry: &&TransportSocketMatch| entry.matches(Some(criteria), None);
        let entry = self.config.transport_socket_matches.iter().find(matches);
        self.transports.named(entry.map_or("", |entry| &entry.name))
    }

    /// Counts a request to `endpoint` against `max_requests` and the endpoint's load until the guard drops. `None`,
    /// and `upstream_rq_active_overflow`, if the breaker is open.
    pub fn try_start_request(
        &self,
        shard: Shard,
        endpoint: &Arc<EndpointState>,
        priority: RoutingPriority,
    ) -> Option<ActiveRequest> {
        let request = endpoint.try_start_request(self.limits(), priority);
        self.count_overflow(shard, request.is_none(), stat::UPSTREAM_RQ_ACTIVE_OVERFLOW);
        request
    }

    /// A place among the requests that wait for a connection. `None`, and `upstream_rq_pending_overflow`, if the
    /// breaker is open.
    pub fn try_acquire_pending(&self, shard: Shard, priority: RoutingPriority) -> Option<Permit> {
        let permit = Permit::try_acquire(&self.state, Resource::PendingRequests, self.limits(), priority);
        self.count_overflow(shard, permit.is_none(), stat::UPSTREAM_RQ_PENDING_OVERFLOW);
        permit
    }

    /// A place among the retries in flight. `None`, and `upstream_rq_retry_overflow`, if the breaker or the budget is
    /// used up.
    pub fn try_acquire_retry(&self, shard: Shard, priority: RoutingPriority) -> Option<Permit> {
        let permit = Permit::try_acquire(&self.state, Resource::Retries, self.limits(), priority);
        self.count_overflow(shard, permit.is_none(), stat::UPSTREAM_RQ_RETRY_OVERFLOW);
        permit
    }

    /// A place among the connections. If the breaker is open, `upstream_cx_overflow` is counted, and only a worker
    /// whose pool has no connection (`has_none`) gets one all the same, so that no worker starves (Envoy, "Circuit
    /// breaking").
    pub fn try_acquire_connection(&self, shard: Shard, priority: RoutingPriority, has_none: bool) -> Option<Permit> {
        let permit = Permit::try_acquire(&self.state, Resource::Connections, self.limits(), priority);
        self.count_overflow(shard, permit.is_none(), stat::UPSTREAM_CX_OVERFLOW);
        permit.or_else(|| has_none.then(|| Permit::acquire(&self.state, Resource::Connections, priority)))
    }

    /// As [`try_acquire_connection`](Self::try_acquire_connection), for a connection to `endpoint`, which may have a limit
    /// of its own (`per_host_thresholds`).
    pub fn try_connect(
        &self,
        shard: Shard,
        endpoint: &EndpointState,
        priority: RoutingPriority,
        has_none: bool,
    ) -> Option<Permit> {
        let own = self.limits().per_host_max_connections;
        let is_full = own.is_some_and(|most| endpoint.stats().cx_active >= u64::from(most));
        if is_full && !has_none {
            self.stats().increment(shard, stat::UPSTREAM_CX_OVERFLOW);
            return None;
        }
        self.try_acquire_connection(shard, priority, has_none)
    }

    /// A place among the connection pools. `None`, and `upstream_cx_pool_overflow`, if the breaker is open.
    pub fn try_acquire_pool(&self, shard: Shard, priority: RoutingPriority) -> Option<Permit> {
        let permit = Permit::try_acquire(&self.state, Resource::ConnectionPools, self.limits(), priority);
        self.count_overflow(shard, permit.is_none(), stat::UPSTREAM_CX_POOL_OVERFLOW);
        permit
    }

    /// Counts how an attempt ended and lets outlier detection judge it. Call once per attempt that said something
    /// about the endpoint: not for one that the caller gave up, nor for one that an open breaker kept from starting.
    pub fn record_outcome(&self, shard: Shard, endpoint: &EndpointState, outcome: Outcome, now: Instant) {
        endpoint.count_outcome(outcome);
        if let Some(detection) = &self.config.outlier_detection {
            let members = self.table.load().membership().total as usize;
            outlier::record(endpoint, outcome, detection, members, shard, now);
        }
    }

    fn count_overflow(&self, shard: Shard, overflow: bool, counter: stats::Counter) {
        if overflow {
            self.stats().increment(shard, counter);
        }
    }
}
