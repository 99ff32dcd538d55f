//! Where run-time state lives: interned by what identifies it, not by the configuration that mentions it.

use std::sync::{Arc, Weak};

use config::cluster::BindConfig;
use config::endpoint::Locality;
use dashmap::DashMap;
use dashmap::mapref::entry::Entry;
use telemetry::stats;

use crate::cluster_state::{ClusterState, Signals, Surroundings};

/// Where this proxy is, and what holds for all its clusters: what a bootstrap says beside them.
#[derive(Clone, Debug, Default)]
pub struct Place {
    /// The proxy's own locality (`node.locality`): its zone is preferred by zone aware balancing.
    pub locality: Locality,
    /// The cluster that the proxy itself belongs to (`cluster_manager.local_cluster_name`).
    pub local_cluster: Option<Arc<str>>,
    /// Where connections come from, unless their cluster says so (`cluster_manager.upstream_bind_config`).
    pub bind_config: Option<BindConfig>,
}

/// Gives the same cluster name the same [`ClusterState`], and that the same address and TLS identity the same
/// [`EndpointState`](crate::endpoint::EndpointState), for as long as anything (a snapshot, a pool, a request) holds
/// it. So an update of a threshold, a route or a neighbouring endpoint never resets a health bit, an average, an
/// ejection or a connection.
///
/// It holds nothing alive itself: what no snapshot uses goes away, and [`prune`](Self::prune) forgets its name.
#[derive(Debug)]
pub struct StateRegistry {
    clusters: DashMap<Arc<str>, Weak<ClusterState>>,
    surroundings: Arc<Surroundings>,
}

impl StateRegistry {
    /// A registry whose clusters count in `stats`, of a proxy that nothing is known about.
    pub fn new(stats: Arc<stats::Registry>) -> Self {
        Self::at(Place::default(), stats)
    }

    /// A registry of the proxy at `place`, whose clusters count in `stats`.
    pub fn at(place: Place, stats: Arc<stats::Registry>) -> Self {
        Self {
            clusters: DashMap::new(),
            surroundings: Arc::new(Surroundings {
                stats,
                signals: Signals::default(),
                place,
            }),
        }
    }

    /// The state of the cluster called `name`, which counts under `stat_name`.
    pub fn cluster(&self, name: &Arc<str>, stat_name: &str) -> Arc<ClusterState> {
        if let Some(state) = self.clusters.get(&**name).and_then(|weak| weak.upgrade()) {
            return state;
        }
        let make = || Arc::new(ClusterState::new(name.clone(), stat_name, self.surroundings.clone()));
        // The entry stays locked while the state is made, so that two callers get the same.
        match self.clusters.entry(name.clone()) {
            Entry::Occupied(mut occupied) => occupied.get().upgrade().unwrap_or_else(|| {
                let state = make();
                occupied.insert(Arc::downgrade(&state));
                state
            }),
            Entry::Vacant(vacant) => {
                let state = make();
                vacant.insert(Arc::downgrade(&state));
                state
            }
        }
    }

    /// Where its clusters count.
    pub fn stats(&self) -> &Arc<stats::Registry> {
        &self.surroundings.stats
    }

    /// Another number whenever any cluster's endpoints or their health have changed: what a worker compares to learn,
    /// at the cost of one load, whether it has to look at its pools
    /// ([`EndpointState::should_drain`](crate::endpoint::EndpointState::should_drain)). To be told of one cluster's
    /// changes, [subscribe](ClusterState::subscribe).
    pub fn generation(&self) -> u64 {
        self.surroundings.signals.generation()
    }

    /// Where this proxy is.
    pub fn place(&self) -> &Place {
        &self.surroundings.place
    }

    /// What changes of state report to.
    pub(crate) fn signals(&self) -> &Signals {
        &self.surroundings.signals
    }

    /// Forgets the clusters that nothing holds any more. Costs in proportion to the clusters there are: call it after
    /// an update that removed some.
    pub fn prune(&self) {
        self.clusters.retain(|_, weak| weak.strong_count() > 0);
    }

    /// How many clusters it knows by name, alive or not.
    pub fn len(&self) -> usize {
        self.clusters.len()
    }

    /// Whether it knows no cluster.
    pub fn is_empty(&self) -> bool {
        self.clusters.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use crate::endpoint::EndpointAddress;
    use crate::health_flags::HealthFlags;
    use crate::testing;

    use super::*;

    fn address(port: u16) -> EndpointAddress {
        SocketAddr::from(([127, 0, 0, 1], port)).into()
    }

    #[test]
    fn the_same_key_gives_the_same_state() {
        let registry = testing::registry();
        let (a, b) = (testing::cluster_of(&registry, "a"), testing::cluster_of(&registry, "b"));
        assert!(Arc::ptr_eq(&a, &testing::cluster_of(&registry, "a")));
        let endpoint = a.endpoint(address(1), "", "");
        assert!(Arc::ptr_eq(&endpoint, &a.endpoint(address(1), "", "")));
        assert!(
            !Arc::ptr_eq(&endpoint, &b.endpoint(address(1), "", "")),
            "another cluster"
        );
        assert!(
            !Arc::ptr_eq(&endpoint, &a.endpoint(address(2), "", "")),
            "another address"
        );
        assert!(
            !Arc::ptr_eq(&endpoint, &a.endpoint(address(1), "tls", "")),
            "another TLS identity"
        );
    }

    #[test]
    fn what_nothing_holds_goes_away_and_comes_back_fresh() {
        let registry = testing::registry();
        let cluster = testing::cluster_of(&registry, "c");
        let endpoint = cluster.endpoint(address(1), "", "");
        endpoint.update_health(HealthFlags::FAILED_OUTLIER_CHECK, HealthFlags::NONE);
        cluster.prune();
        assert_eq!(cluster.endpoints_known(), 1);
        drop(endpoint);
        assert_eq!(
            cluster.endpoint(address(1), "", "").health_flags(),
            HealthFlags::REMOVED,
            "in no table yet"
        );
        cluster.prune();
        assert_eq!(cluster.endpoints_known(), 0);
        drop(cluster);
        registry.prune();
        assert!(registry.is_empty());
    }

    #[test]
    fn an_endpoint_keeps_its_cluster() {
        let registry = testing::registry();
        let cluster = testing::cluster_of(&registry, "c");
        let endpoint = cluster.endpoint(address(1), "", "");
        drop(cluster);
        registry.prune();
        assert!(Arc::ptr_eq(endpoint.cluster(), &testing::cluster_of(&registry, "c")));
    }
}
