//! A request's place among those that wait for a connection.

use std::sync::Arc;

use telemetry::stats::{Shard, cluster as stat};
use upstream::breaker::Permit;
use upstream::cluster::ClusterHandle;
use upstream::endpoint::{EndpointState, PendingRequest};

/// A place among the requests that wait for a connection, given back on drop. Boxed: few requests wait.
pub(crate) type PendingPermit = Box<Pending>;

/// See [`PendingPermit`].
pub(crate) struct Pending {
    cluster: Arc<ClusterHandle>,
    shard: Shard,
    _permit: Permit,
    _request: PendingRequest,
}

impl Pending {
    /// Counts a request that waits for a connection to `endpoint`.
    pub(super) fn begin(
        cluster: &Arc<ClusterHandle>,
        endpoint: &Arc<EndpointState>,
        permit: Permit,
        shard: Shard,
    ) -> PendingPermit {
        let stats = cluster.stats().local(shard);
        stats.add(stat::UPSTREAM_RQ_PENDING_TOTAL, 1);
        stats.gauge_add(stat::UPSTREAM_RQ_PENDING_ACTIVE, 1);
        Box::new(Self {
            cluster: Arc::clone(cluster),
            shard,
            _permit: permit,
            _request: endpoint.start_pending(),
        })
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        let stats = self.cluster.stats().local(self.shard);
        stats.gauge_add(stat::UPSTREAM_RQ_PENDING_ACTIVE, -1);
    }
}
