//! What `/clusters` shows.

use std::sync::Arc;

use config::cluster::{CircuitBreakers, Thresholds};
use config::endpoint::Locality;
use telemetry::stats::{Shard, cluster_circuit_breakers as stat};

use super::ClustersView;
use crate::breaker::{Resource, RoutingPriority};
use crate::cluster::ClusterHandle;
use crate::endpoint::{EndpointAddress, EndpointStats};
use crate::health_flags::HealthFlags;

/// All active clusters at one moment, by name. The admin endpoint renders it.
#[derive(Clone, Debug, Default)]
pub struct Listing {
    /// The clusters, sorted by name.
    pub clusters: Vec<ClusterListing>,
}

/// One cluster of `/clusters`.
#[derive(Clone, Debug)]
pub struct ClusterListing {
    /// Its name.
    pub name: Arc<str>,
    /// Its thresholds.
    pub circuit_breakers: CircuitBreakers,
    /// Its endpoints, by priority, locality and as configured.
    pub endpoints: Vec<EndpointListing>,
}

/// One endpoint of `/clusters`.
#[derive(Clone, Debug)]
pub struct EndpointListing {
    /// Where it listens.
    pub address: EndpointAddress,
    /// Its name, empty if it has none.
    pub hostname: Arc<str>,
    /// Its counters.
    pub stats: EndpointStats,
    /// Why it is not healthy, if it is not.
    pub health_flags: HealthFlags,
    /// Its share of the load.
    pub weight: u32,
    /// Where it is.
    pub locality: Locality,
    /// Its priority, 0 first.
    pub priority: u32,
}

impl ClustersView {
    /// What `/clusters` shows.
    pub fn listing(&self) -> Listing {
        let mut clusters: Vec<ClusterListing> = self.active().values().map(|handle| cluster_listing(handle)).collect();
        clusters.sort_by(|a, b| a.name.cmp(&b.name));
        Listing { clusters }
    }

    /// Brings the `circuit_breakers.*` gauges up to date. To be called before statistics are read: the counters
    /// themselves change with every request, and nobody but a reader wants to know which way of the limit they are.
    pub fn refresh_gauges(&self) {
        for handle in self.active().values() {
            refresh_breakers(handle);
        }
    }
}

fn cluster_listing(handle: &ClusterHandle) -> ClusterListing {
    let table = handle.table();
    let hosts = table.hosts();
    let mut endpoints = Vec::with_capacity(hosts.len());
    for host in hosts.iter() {
        let (locality, key) = (hosts.locality_of(host), host.state.key());
        endpoints.push(EndpointListing {
            address: key.address,
            hostname: key.hostname,
            stats: host.state.stats(),
            health_flags: host.state.health_flags(),
            weight: host.weight,
            locality: Locality::clone(&locality.locality),
            priority: locality.priority,
        });
    }
    ClusterListing {
        name: handle.config().name.clone(),
        circuit_breakers: *handle.limits(),
        endpoints,
    }
}

fn refresh_breakers(handle: &ClusterHandle) {
    let (state, limits) = (handle.state(), handle.limits());
    let breaker = state.breaker();
    let gauges = [
        (
            RoutingPriority::Default,
            [
                (Resource::Connections, stat::DEFAULT_CX_OPEN, stat::DEFAULT_REMAINING_CX),
                (
                    Resource::PendingRequests,
                    stat::DEFAULT_RQ_PENDING_OPEN,
                    stat::DEFAULT_REMAINING_PENDING,
                ),
                (Resource::Requests, stat::DEFAULT_RQ_OPEN, stat::DEFAULT_REMAINING_RQ),
                (
                    Resource::Retries,
                    stat::DEFAULT_RQ_RETRY_OPEN,
                    stat::DEFAULT_REMAINING_RETRIES,
                ),
                (
                    Resource::ConnectionPools,
                    stat::DEFAULT_CX_POOL_OPEN,
                    stat::DEFAULT_REMAINING_CX_POOLS,
                ),
            ],
        ),
        (
            RoutingPriority::High,
            [
                (Resource::Connections, stat::HIGH_CX_OPEN, stat::HIGH_REMAINING_CX),
                (
                    Resource::PendingRequests,
                    stat::HIGH_RQ_PENDING_OPEN,
                    stat::HIGH_REMAINING_PENDING,
                ),
                (Resource::Requests, stat::HIGH_RQ_OPEN, stat::HIGH_REMAINING_RQ),
                (
                    Resource::Retries,
                    stat::HIGH_RQ_RETRY_OPEN,
                    stat::HIGH_REMAINING_RETRIES,
                ),
                (
                    Resource::ConnectionPools,
                    stat::HIGH_CX_POOL_OPEN,
                    stat::HIGH_REMAINING_CX_POOLS,
                ),
            ],
        ),
    ];
    for (priority, gauges) in gauges {
        let Thresholds { track_remaining, .. } = *limits.thresholds(priority);
        for (resource, open, remaining) in gauges {
            let is_open = u64::from(breaker.is_open(resource, limits, priority));
            // A cluster that never had an open breaker allocates no gauges for one: they read 0 without.
            if state.breaker_stats_if_used().map_or(0, |block| block.gauge(open)) != is_open {
                state.breaker_stats().set(Shard::CONTROL, open, is_open);
            }
            if track_remaining {
                let limit = breaker.limit(resource, limits, priority);
                let left = limit.saturating_sub(breaker.in_use(resource, priority));
                state.breaker_stats().set(Shard::CONTROL, remaining, u64::from(left));
            }
        }
    }
}
