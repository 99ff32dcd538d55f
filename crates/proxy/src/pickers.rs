//! A worker's balancing state, one for each cluster it sends to.

use std::collections::HashMap;
use std::hash::BuildHasherDefault;
use std::net::SocketAddr;
use std::sync::{Arc, Weak};

use config::cluster::Discovery;
use telemetry::stats::Shard;
use upstream::balancer::{NoEndpoint, PickContext, WorkerLb};
use upstream::cluster::ClusterHandle;
use upstream::cluster_state::ClusterState;
use upstream::endpoint::EndpointState;

use crate::connection::Role;
use crate::pool::PointerHasher;
use crate::slab::Key;
use crate::stream::Stream;
use crate::worker::Worker;

/// Entries whose cluster is gone are looked for when the table has grown to this many.
const FIRST_SWEEP: usize = 64;

struct Entry {
    /// Keeps the address in memory from naming another cluster.
    cluster: Weak<ClusterState>,
    balancer: WorkerLb,
}

/// Balancing state by cluster.
pub(crate) struct Pickers {
    shard: Shard,
    entries: HashMap<usize, Entry, BuildHasherDefault<PointerHasher>>,
    sweep_at: usize,
}

impl Pickers {
    pub(crate) fn new(shard: Shard) -> Self {
        Pickers {
            shard,
            entries: HashMap::default(),
            sweep_at: FIRST_SWEEP,
        }
    }

    /// The endpoint for one attempt.
    ///
    /// # Errors
    /// Why there is none.
    pub(crate) fn pick(
        &mut self,
        cluster: &Arc<ClusterHandle>,
        context: &PickContext<'_>,
    ) -> Result<Arc<EndpointState>, NoEndpoint> {
        cluster.pick(context, self.balancer(cluster))
    }

    /// The endpoint whose turn comes after those that were peeked at before. `None` where the balancer can't tell.
    pub(crate) fn peek(&mut self, cluster: &Arc<ClusterHandle>) -> Option<Arc<EndpointState>> {
        cluster.peek(self.balancer(cluster))
    }

    fn balancer(&mut self, cluster: &ClusterHandle) -> &mut WorkerLb {
        let state = cluster.state();
        let shard = self.shard;
        if self.entries.len() >= self.sweep_at {
            self.entries.retain(|_, entry| entry.cluster.strong_count() > 0);
            self.sweep_at = (self.entries.len() * 2).max(FIRST_SWEEP);
        }
        let entry = self
            .entries
            .entry(Arc::as_ptr(state) as usize)
            .or_insert_with(|| Entry {
                cluster: Arc::downgrade(state),
                balancer: WorkerLb::new(shard, telemetry::random::next()),
            });
        &mut entry.balancer
    }
}

/// Where a request to an ORIGINAL_DST cluster is to go: where its connection was going before it was redirected here, or
/// what the header says that the cluster names. `None` for clusters of any other type, and where nothing says it.
pub(crate) fn original_destination(
    worker: &Worker,
    stream: Key<Stream>,
    cluster: &ClusterHandle,
) -> Option<SocketAddr> {
    let Discovery::OriginalDst(settings) = &cluster.config().discovery else {
        return None;
    };
    let stream = worker.streams.get(stream)?;
    if let Some(header) = &settings.http_header_name {
        let value = stream.request.get_bytes(header.as_bytes())?;
        return std::str::from_utf8(value).ok()?.trim().parse().ok();
    }
    match &worker.connections.get(stream.downstream)?.role {
        Role::Downstream(downstream) => downstream.original_destination,
        Role::Upstream(_) => None,
    }
}
