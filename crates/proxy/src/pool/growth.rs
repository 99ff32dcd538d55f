//! When a pool opens more connections: for the requests that wait, and ahead of need (`preconnect_policy`).

use std::sync::Arc;

use upstream::breaker::RoutingPriority;
use upstream::cluster::ClusterHandle;
use upstream::health_flags::Health;

use super::{Pool, Pools, may_speak_http2, pool_for};
use crate::slab::Key;
use crate::stream::Stream;
use crate::worker::Worker;

/// Streams that a connection still in its handshake is expected to take before another one is
/// opened beside it (Envoy assumes as much before SETTINGS arrive).
const EXPECTED_HTTP2_STREAMS: usize = 100;

/// Connections opened ahead of need in one go, at most (Envoy's bound).
const PRECONNECT_AT_ONCE: usize = 3;

/// The streams of one or several pools.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Demand {
    /// Those that wait for a connection.
    waiting: usize,
    /// Those on a connection.
    active: usize,
    /// Those that connections, made or on their way, can take besides.
    capacity: usize,
}

impl Demand {
    /// Whether another connection is called for, so that there are `ratio` streams' worth of connections for each stream
    /// that is there or `anticipated` (Envoy's `shouldConnect`).
    fn calls_for_more(self, ratio: f64, anticipated: usize) -> bool {
        (self.waiting + self.active + anticipated) as f64 * ratio > (self.capacity + self.active) as f64
    }
}

impl Pool {
    /// Streams that one connection is expected to take at a time.
    pub(super) fn expected_streams(&self) -> usize {
        let http2 = self.http2.unwrap_or_else(|| may_speak_http2(&self.cluster));
        if http2 { EXPECTED_HTTP2_STREAMS } else { 1 }
    }

    /// Whether the connections there are, with those on their way, are too few for the streams that are there or
    /// anticipated.
    fn wants_connection(&self) -> bool {
        let expected = self.expected_streams();
        let waiting = self.pending.len();
        if waiting > self.connecting.len() * expected {
            return true;
        }
        let ratio = self.cluster.config().preconnect.per_upstream_ratio;
        if ratio <= 1.0 {
            return false;
        }
        let active = match expected {
            1 => self
                .connections
                .saturating_sub(self.ready.len() + self.connecting.len()),
            _ => self.endpoint.active_requests() as usize,
        };
        let capacity = (self.connecting.len() + self.ready.len()) * expected;
        (waiting + active) as f64 * ratio > (capacity + if expected == 1 { active } else { 0 }) as f64
    }
}

/// Opens connections if those there are will not do.
pub(super) fn grow(worker: &mut Worker, key: Key<Pool>, priority: RoutingPriority) {
    for _ in 0..PRECONNECT_AT_ONCE {
        let wants = worker.pools.pools.get(key).is_some_and(Pool::wants_connection);
        if !wants || !open_one(worker, key, priority) {
            return;
        }
    }
}

/// Opens a connection; false if the limits don't allow it.
fn open_one(worker: &mut Worker, key: Key<Pool>, priority: RoutingPriority) -> bool {
    let Some(pool) = worker.pools.pools.get_mut(key) else {
        return false;
    };
    // As in Envoy, a pool that has no connection may always open one.
    let has_none = pool.connections == 0;
    let Some(permit) = pool
        .cluster
        .try_connect(worker.shard, &pool.endpoint, priority, has_none)
    else {
        return false;
    };
    pool.connections += 1;
    let endpoint = Arc::clone(&pool.endpoint);
    let cluster = Arc::clone(&pool.cluster);
    let connection = crate::upstream_connection::open(worker, key, endpoint, cluster, permit);
    if let Some(pool) = worker.pools.pools.get_mut(key) {
        pool.connecting.push(connection);
    }
    true
}

/// Opens connections to the endpoints whose turn comes next, so that the streams to come find them made
/// (`predictive_preconnect_ratio`). To be called before a stream looks for its own.
pub(super) fn predict(
    worker: &mut Worker,
    stream: Key<Stream>,
    cluster: &Arc<ClusterHandle>,
    priority: RoutingPriority,
) {
    let ratio = cluster.config().preconnect.predictive_ratio;
    if ratio <= 1.0 {
        return;
    }
    for _ in 0..PRECONNECT_AT_ONCE {
        if !demand_of_cluster(worker, cluster).calls_for_more(ratio, 1) {
            return;
        }
        let Some(next) = worker.pickers.peek(cluster) else {
            return;
        };
        if next.health() != Health::Healthy {
            return;
        }
        let Ok(key) = pool_for(worker, stream, &next, cluster, priority) else {
            return;
        };
        if !demand_of_pool(worker, key).calls_for_more(ratio, 1) || !open_one(worker, key, priority) {
            return;
        }
    }
}

/// The streams of all pools of a cluster. Costs in proportion to its endpoints, of clusters that predict alone.
fn demand_of_cluster(worker: &Worker, cluster: &ClusterHandle) -> Demand {
    let table = cluster.table();
    let mut sum = Demand::default();
    for host in table.hosts().iter() {
        for key in worker.pools.keys_of(&host.state) {
            let demand = demand_of_pool(worker, key);
            sum.waiting += demand.waiting;
            sum.active += demand.active;
            sum.capacity += demand.capacity;
        }
    }
    sum
}

fn demand_of_pool(worker: &Worker, key: Key<Pool>) -> Demand {
    let Some(pool) = worker.pools.pools.get(key) else {
        return Demand::default();
    };
    let expected = pool.expected_streams();
    let free = |connection| {
        let found = worker.connections.get(connection)?;
        Some(found.codec.as_ref()?.streams_available())
    };
    let unused = pool.ready.iter().filter_map(|connection| free(*connection));
    let (free_streams, free_connections) = unused.fold((0, 0), |(streams, connections), free| {
        (streams + free.min(expected), connections + usize::from(free > 0))
    });
    Demand {
        waiting: pool.pending.len(),
        active: match expected {
            1 => pool
                .connections
                .saturating_sub(free_connections + pool.connecting.len()),
            _ => pool.endpoint.active_requests() as usize,
        },
        capacity: free_streams + pool.connecting.len() * expected,
    }
}

impl Pools {
    /// The pools of an endpoint, whatever their kind.
    fn keys_of(&self, endpoint: &Arc<upstream::endpoint::EndpointState>) -> Vec<Key<Pool>> {
        let pointer = Arc::as_ptr(endpoint) as usize;
        let mut at = self.by_endpoint.get(&pointer).copied().unwrap_or(Key::NONE);
        let mut keys = Vec::new();
        while let Some(pool) = self.pools.get(at) {
            keys.push(at);
            at = pool.next;
        }
        keys
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_are_opened_ahead_in_proportion_to_streams() {
        let demand = |waiting, active, capacity| Demand {
            waiting,
            active,
            capacity,
        };
        assert!(demand(1, 0, 0).calls_for_more(1.0, 0));
        assert!(!demand(1, 0, 1).calls_for_more(1.0, 0), "one is on its way");
        assert!(
            demand(0, 2, 0).calls_for_more(1.5, 0),
            "two streams want three connections"
        );
        assert!(!demand(0, 2, 1).calls_for_more(1.5, 0));
        assert!(demand(0, 0, 0).calls_for_more(1.5, 1), "the stream that comes counts");
        assert!(demand(0, 0, 1).calls_for_more(1.5, 1));
        assert!(!demand(0, 0, 2).calls_for_more(1.5, 1));
    }
}
